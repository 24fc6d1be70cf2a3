/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/workload.h"

#include <string.h>
#include <unistd.h>

#include "block/drive.h"
#include "chardev/chardev.h"
#include "hw/ide/piix_ide.h"

/* Windows as a map of the board; the weight is how often one is picked. */
static const struct {
	uint64_t base, size;
	bool pio;
	unsigned weight;
} places[] = {
	{ 0x000, 0x20, true, 2 },
	{ 0x020, 2, true, 4 },
	{ 0x040, 4, true, 8 },
	{ 0x060, 5, true, 6 },
	{ 0x070, 2, true, 8 },
	{ 0x080, 16, true, 1 },
	{ 0x092, 1, true, 1 },
	{ 0x0a0, 2, true, 4 },
	{ 0x0b2, 2, true, 1 },
	{ 0x0c0, 0x20, true, 2 },
	{ 0x0e0, 12, true, 2 },
	{ 0x0e9, 1, true, 1 },
	{ 0x170, 8, true, 6 },
	{ 0x1f0, 8, true, 10 },
	{ 0x2f8, 8, true, 2 },
	{ 0x376, 1, true, 1 },
	{ 0x3f0, 8, true, 6 },
	{ 0x3f8, 8, true, 4 },
	{ 0x4d0, 2, true, 1 },
	{ 0x505, 1, true, 1 },
	{ 0x510, 12, true, 4 },
	{ 0x600, 64, true, 4 },
	{ 0xcf8, 8, true, 12 },
	{ 0x2000, 24, true, 2 },
	{ 0xafe0, 4, true, 1 },
	{ 0xc000, 0x100, true, 2 },
	{ 0xc100, 0x100, true, 8 },
	{ 0xc200, 0x10, true, 4 },
	{ 0xe0100000, 0x3100, false, 8 },
	{ 0xe0110000, 0x3100, false, 8 },
	{ 0xe0120000, 0x1000, false, 1 },
	{ 0xe0140000, 0x500, false, 6 },
	{ 0xe0142800, 0x20, false, 3 },
	{ 0xe0143800, 0x20, false, 3 },
	{ 0xe0144000, 0x1600, false, 2 },
	{ 0xc240, 8, true, 2 },
	{ 0xc300, 0x80, true, 2 },
	{ 0xe0150000, 0x200, false, 8 },
	{ 0xe0160000, 0x40, false, 4 },
	{ 0xe0161000, 0x20, false, 3 },
	{ 0xe0162000, 0x1100, false, 1 },
	{ 0xe0170000, 0x3100, false, 6 },
	{ 0xe0180000, 0x3100, false, 3 },
	{ 0xe0190000, 0x3100, false, 3 },
	{ 0xe0000000, 0x1000, false, 2 },
	{ 0xff000000, 0x10000, false, 1 },
	{ 0xfec00000, 0x50, false, 6 },
	{ 0xfed00000, 0x180, false, 8 },
	{ 0xfee00000, 0x400, false, 10 },
	{ 0xfffe0000, 0x2000, false, 4 },
	{ 0xa0000, 0x60000, false, 2 },
	{ 0x0, 0x10000, true, 2 },
	{ 0xf0000000, 0x10000000, false, 1 },
};

static const char flash_path[] = "/tmp/moa-workload-flash";

void workload_config(struct pc_config *c)
{
	static uint8_t image[0x20000];
	static char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s-%d", flash_path, getpid());
	f = fopen(path, "wb");
	fwrite(image, 1, sizeof(image), f);
	fclose(f);
	chr_new(NULL, "null,id=com1", NULL);
	chr_new(NULL, "null,id=com2", NULL);
	chr_new(NULL, "null,id=dbg", NULL);
	chr_new(NULL, "null,id=con", NULL);
	chr_new(NULL, "null,id=port", NULL);
	c->smp = (struct x86_topology) { 2, 2, 1, 1, 2 };
	c->serial[0] = "com1";
	c->serial[1] = "com2";
	c->rtc_clock = 2; /* the VM clock */
	c->pflash[0].file = path;
	c->pflash[0].readonly = true; /* the file is gone once it is read */
}

static void add_unit(struct rig *r, const char *name, const char *bus, bool cdrom)
{
	struct device *d = device_new(&r->m, device_find(name, NULL), NULL);

	CHECK(device_set(d, "drive", rig_drive(r, MIB, false, cdrom)->id, NULL));
	CHECK(device_realize(d, machine_find_bus(&r->m, d->info->bus, bus), NULL));
}

static void add_port(struct rig *r, const char *name, const char *chardev)
{
	struct device *d = device_new(&r->m, device_find(name, NULL), NULL);

	CHECK(device_set(d, "chardev", chardev, NULL));
	CHECK(device_realize(d, machine_find_bus(&r->m, "virtio-serial-bus", NULL), NULL));
}

static void add_pci(struct rig *r, const char *name, unsigned slot, const char *drive)
{
	struct device *d = device_new(&r->m, device_find(name, NULL), NULL);

	pci_set_devfn(d, slot, 0);
	if ((drive && !device_set(d, "drive", drive, NULL)) ||
	    !device_realize(d, &r->pc->host->bus.bus, NULL))
		test_fail(__FILE__, __LINE__, "%s", name);
}

/* Disks that nobody writes to, so that a machine and its copy find the same on them. */
static void add_disks_and_cards(struct rig *r)
{
	CHECK(piix_ide_attach(r->pc->ide, 0, rig_drive(r, MIB, false, false), NULL));
	CHECK(piix_ide_attach(r->pc->ide, 2, rig_drive(r, MIB, false, true), NULL));
	CHECK(fdc_attach(r->pc->fdc, 0, rig_drive(r, 1440 * KIB, false, false), NULL));
	add_pci(r, "virtio-blk-pci", 5, rig_drive(r, MIB, false, false)->id);
	add_pci(r, "virtio-net-pci", 6, NULL);
	add_pci(r, "e1000", 7, NULL);
	add_pci(r, "ich9-ahci", 8, NULL);
	add_unit(r, "ide-hd", "ide.2", false);
	add_unit(r, "ide-cd", "ide.3", true);
	add_pci(r, "nvme", 9, rig_drive(r, MIB, false, false)->id);
	add_pci(r, "virtio-scsi-pci", 10, NULL);
	add_unit(r, "scsi-hd", NULL, false);
	add_unit(r, "scsi-cd", NULL, true);
	add_pci(r, "virtio-balloon-pci", 11, NULL);
	add_pci(r, "virtio-serial-pci", 12, NULL);
	add_port(r, "virtconsole", "con");
	add_port(r, "virtserialport", "port");
}

/* What the firmware would do. */
static void place(struct rig *r)
{
	static const struct {
		uint8_t slot, function, bar;
		uint32_t addr;
	} bars[] = { { 1, 1, 4, 0xc200 },      { 4, 0, 0, 0xe0000000 },	 { 4, 0, 1, 0xc000 },
		     { 5, 0, 0, 0xc100 },      { 5, 0, 1, 0xe0121000 },	 { 5, 0, 4, 0xe0100000 },
		     { 6, 0, 0, 0xc180 },      { 6, 0, 1, 0xe0120000 },	 { 6, 0, 4, 0xe0110000 },
		     { 7, 0, 0, 0xe0140000 },  { 7, 0, 1, 0xc240 },	 { 8, 0, 5, 0xe0150000 },
		     { 9, 0, 0, 0xe0160000 },  { 10, 0, 0, 0xc300 },	 { 10, 0, 1, 0xe0122000 },
		     { 10, 0, 4, 0xe0170000 }, { 11, 0, 4, 0xe0180000 }, { 12, 0, 4, 0xe0190000 } };

	for (size_t i = 0; i < ARRAY_LEN(bars); i++) {
		rig_pci_write(r, bars[i].slot, bars[i].function, 0x10 + 4 * bars[i].bar,
			      bars[i].addr, 4);
		rig_pci_write(r, bars[i].slot, bars[i].function, 4, 7, 2);
	}
	rig_pci_write(r, 1, 3, 0x40, 0x601, 4);
	rig_pci_write(r, 1, 3, 0x80, 1, 1);
}

static void add(struct rig *r, const char *name, const char *chardev)
{
	struct device *d = device_new(&r->m, device_find(name, NULL), NULL);

	if (chardev)
		device_set(d, "chardev", chardev, NULL);
	if (!device_realize(d, machine_find_bus(&r->m, "ISA", NULL), NULL))
		test_fail(__FILE__, __LINE__, "%s", name);
}

void workload_add_devices(struct rig *r)
{
	struct device *pci;
	char path[64];

	snprintf(path, sizeof(path), "%s-%d", flash_path, getpid());
	unlink(path);
	add(r, "isa-debugcon", "dbg");
	add(r, "isa-debug-exit", NULL);
	add(r, "pvpanic", NULL);
	add(r, "pc-testdev", NULL);
	pci = device_new(&r->m, device_find("pci-testdev", NULL), NULL);
	pci_set_devfn(pci, 4, 0);
	if (!device_realize(pci, &r->pc->host->bus.bus, NULL))
		test_fail(__FILE__, __LINE__, "pci-testdev");
	add_disks_and_cards(r);
	machine_reset(&r->m);
	r->m.requests = 0;
	place(r);
}

struct access workload_pick(void)
{
	static const int64_t steps[] = { 0, 0, 0, 0, 1, 838, 100000, 976562, 5000000, 20000000 };
	unsigned total = 0, at;
	struct access x = { .size = 1u << test_random() % 4 };
	size_t i;

	for (i = 0; i < ARRAY_LEN(places); i++)
		total += places[i].weight;
	at = (unsigned)(test_random() % total);
	for (i = 0; at >= places[i].weight; i++)
		at -= places[i].weight;
	x.pio = places[i].pio;
	x.addr = places[i].base + test_random() % places[i].size;
	if (test_random() % 4)
		x.addr &= ~(uint64_t)(x.size - 1);
	if (x.pio)
		x.size = MIN_OF(x.size, 4u);
	if (x.pio && test_random() % 2)
		x.size = 1;
	x.write = test_random() % 3;
	x.value = test_random() >> test_random() % 64;
	/* Selecting something that exists more often than not. */
	if (x.addr == 0xcf8 && x.pio) {
		x.size = 4;
		x.value = 0x80000000 | (test_random() % 3 << 11) | (test_random() % 4 << 8) |
			  (test_random() % 64 << 2);
	}
	if (x.addr == 0x510 && x.pio) {
		x.size = 2;
		x.value = test_random() % 0x40;
	}
	x.step = steps[test_random() % ARRAY_LEN(steps)];
	return x;
}

uint64_t workload_do(struct rig *r, const struct access *x)
{
	struct space *s = x->pio ? &r->m.ports : &r->m.mem;
	uint64_t v = 0;

	vcpu_set_current(&r->pc->cpus[x->value >> 7 & 1]->vcpu);
	if (x->write)
		space_write_le(s, x->addr, x->value, x->size);
	else
		v = space_read_le(s, x->addr, x->size);
	/* What a drive works at is over before the next access, or no two runs were alike. */
	drives_drain_all();
	if (x->step)
		rig_step(r, x->step);
	/* What the processors would do: take interrupts now and then. */
	if (x->value % 5 == 0)
		for (unsigned i = 0; i < r->pc->apics.n; i++)
			if (lapic_has_interrupt(r->pc->apics.lapics[i]))
				v ^= (uint64_t)lapic_ack(r->pc->apics.lapics[i]) << 32;
	r->m.requests = 0;
	return v;
}

void workload_run(struct rig *r, unsigned n)
{
	while (n--) {
		struct access x = workload_pick();

		workload_do(r, &x);
	}
}
