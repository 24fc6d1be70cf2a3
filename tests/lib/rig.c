/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/rig.h"

#include <stdlib.h>
#include <unistd.h>

#include "gen/mailbox.h"

enum op {
	OP_NONE,
	OP_IN1,
	OP_IN2,
	OP_IN4,
	OP_OUT1,
	OP_OUT2,
	OP_OUT4,
	OP_READ,
	OP_WRITE,
	OP_RDMSR,
	OP_WRMSR,
	OP_CPUID_EAX,
	OP_INSB,
	OP_RDMSR_HIGH,
	OP_CPUID_EBX,
	OP_READ1,
	OP_READ2,
	OP_WRITE1,
	OP_WRITE2,
};

/* The ports through which the guest gets its orders. */
struct mailbox {
	struct region region;
	pthread_cond_t cond;
	uint32_t op, address, value, result;
	bool done;
};

static uint64_t box_read(void *opaque, uint64_t off, unsigned size)
{
	struct mailbox *b = opaque;
	uint32_t op;

	(void)size;
	switch (off) {
	case 0:
		op = b->op;
		b->op = OP_NONE;
		return op;
	case 4:
		return b->address;
	case 8:
		return b->value;
	default:
		return 0;
	}
}

static void box_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct mailbox *b = opaque;

	(void)size;
	if (off != 12)
		return;
	b->result = (uint32_t)value;
	b->done = true;
	pthread_cond_signal(&b->cond);
}

static void add_mailbox(struct rig *r)
{
	static const struct region_ops ops = { box_read, box_write, 4, 4 };

	r->box = g_new0(struct mailbox, 1);
	pthread_cond_init(&r->box->cond, NULL);
	region_init_io(&r->box->region, "mailbox", 16, &ops, r->box, NULL);
	region_add(&r->m.ports.root, 0xf0, 10, &r->box->region);
}

/* Gives the guest an order and waits until it is carried out. The lock is given up meanwhile. */
static uint32_t order(struct rig *r, uint32_t op, uint32_t address, uint32_t value)
{
	struct mailbox *b = r->box;

	b->address = address;
	b->value = value;
	b->done = false;
	b->op = op;
	for (int spins = 0; !b->done; spins++) {
		machine_unlock();
		usleep(spins < 1000 ? 20 : 1000);
		machine_lock();
		if (spins > 20000)
			test_fail(__FILE__, __LINE__,
				  "the guest does not answer (operation %u at 0x%x)", op, address);
	}
	return b->result;
}

static const char *write_bios(enum rig_mode mode)
{
	static char path[32];
	static const uint8_t blank[65536];
	int fd = mkstemp(strcpy(path, "/tmp/moa-rig-XXXXXX"));
	const void *image = mode == RIG_USER ? (const void *)blank : mailbox_bin;

	static_assert(sizeof(mailbox_bin) == sizeof(blank),
		      "the mailbox guest is a 64 KiB firmware image");
	if (fd < 0 || write(fd, image, sizeof(blank)) != sizeof(blank))
		test_fail(__FILE__, __LINE__, "cannot write %s", path);
	close(fd);
	return path;
}

static void start_kvm(struct rig *r)
{
	struct accel_config c = { .max_vcpus = 1 };
	GError *err = NULL;

	c.irqchip = r->mode == RIG_KERNEL  ? IRQCHIP_KERNEL
		    : r->mode == RIG_SPLIT ? IRQCHIP_SPLIT
					   : IRQCHIP_USER;
	if (access("/dev/kvm", R_OK | W_OK))
		test_skip("no /dev/kvm");
	r->accel = accel_new(&r->m, "kvm", &c, &err);
	if (!r->accel)
		test_skip("%s", err->message);
}

struct rig *rig_new_config(enum rig_mode mode, void (*change)(struct pc_config *c))
{
	struct rig *r = g_new0(struct rig, 1);
	struct pc_config config;
	GError *err = NULL;
	const char *bios = write_bios(mode);

	r->mode = mode;
	machine_lock();
	machine_init(&r->m);
	if (mode != RIG_USER)
		start_kvm(r);
	else
		for (int k = 0; k < CLOCK_KINDS; k++)
			clock_manual(&r->m.clocks[k],
				     k == CLOCK_HOST ? INT64_C(1000000000) * NS_PER_SEC : 0);
	pc_config_default(&config);
	config.ram_size = 16 * MIB;
	config.bios = bios;
	config.rtc_base = 1000000000; /* 2001-09-09 01:46:40 */
	x86_cpu_config_parse(&config.cpu, "qemu64,check=off", NULL);
	if (change)
		change(&config);
	r->pc = pc_new(&r->m, &config, &err);
	unlink(bios);
	if (!r->pc)
		test_fail(__FILE__, __LINE__, "pc_new: %s", err->message);
	if (mode != RIG_USER)
		add_mailbox(r);
	machine_reset(&r->m);
	if (mode != RIG_USER)
		machine_start(&r->m);
	return r;
}

struct rig *rig_new(enum rig_mode mode)
{
	return rig_new_config(mode, NULL);
}

void rig_free(struct rig *r)
{
	if (r->accel)
		vcpus_stop_threads(r->accel);
	if (r->box)
		region_destroy(&r->box->region);
	machine_unlock();
}

uint32_t rig_in(struct rig *r, uint16_t port, unsigned size)
{
	if (r->box)
		return order(r, size == 1 ? OP_IN1 : size == 2 ? OP_IN2 : OP_IN4, port, 0);
	return (uint32_t)space_read_le(&r->m.ports, port, size);
}

void rig_out(struct rig *r, uint16_t port, uint32_t value, unsigned size)
{
	if (r->box)
		order(r, size == 1 ? OP_OUT1 : size == 2 ? OP_OUT2 : OP_OUT4, port, value);
	else
		space_write_le(&r->m.ports, port, value, size);
}

uint32_t rig_read(struct rig *r, uint64_t addr, unsigned size)
{
	if (r->box)
		return order(r,
			     size == 1	 ? OP_READ1
			     : size == 2 ? OP_READ2
					 : OP_READ,
			     (uint32_t)addr, 0);
	return (uint32_t)space_read_le(&r->m.mem, addr, size);
}

void rig_write(struct rig *r, uint64_t addr, uint32_t value, unsigned size)
{
	if (r->box)
		order(r,
		      size == 1	  ? OP_WRITE1
		      : size == 2 ? OP_WRITE2
				  : OP_WRITE,
		      (uint32_t)addr, value);
	else
		space_write_le(&r->m.mem, addr, value, size);
}

uint64_t rig_rdmsr(struct rig *r, uint32_t msr)
{
	uint32_t high, low;

	do {
		high = order(r, OP_RDMSR_HIGH, msr, 0);
		low = order(r, OP_RDMSR, msr, 0);
	} while (high != order(r, OP_RDMSR_HIGH, msr, 0));
	return (uint64_t)high << 32 | low;
}

void rig_wrmsr(struct rig *r, uint32_t msr, uint32_t value)
{
	order(r, OP_WRMSR, msr, value);
}

uint32_t rig_cpuid_eax(struct rig *r, uint32_t leaf)
{
	return order(r, OP_CPUID_EAX, leaf, 0);
}

uint32_t rig_cpuid_ebx(struct rig *r, uint32_t leaf)
{
	return order(r, OP_CPUID_EBX, leaf, 0);
}

void rig_step(struct rig *r, int64_t ns)
{
	if (rig_user(r)) {
		for (int k = 0; k < CLOCK_KINDS; k++)
			clock_step(&r->m.clocks[k], ns);
		return;
	}
	machine_unlock();
	usleep((useconds_t)(ns / 1000 + 1));
	machine_lock();
}

void rig_gsi(struct rig *r, int gsi, int level)
{
	pc_set_gsi(r->pc, gsi, level);
}

int rig_ack(struct rig *r)
{
	struct lapic *a = r->pc->apics.lapics[0];

	assert(rig_user(r));
	return lapic_has_interrupt(a) ? lapic_ack(a) : -1;
}

static void select_config(struct rig *r, unsigned slot, unsigned function, unsigned off)
{
	rig_out(r, 0xcf8, 0x80000000 | slot << 11 | function << 8 | (off & 0xfc), 4);
}

uint32_t rig_pci_read(struct rig *r, unsigned slot, unsigned function, unsigned off, unsigned size)
{
	select_config(r, slot, function, off);
	return rig_in(r, (uint16_t)(0xcfc + (off & 3)), size);
}

void rig_pci_write(struct rig *r, unsigned slot, unsigned function, unsigned off, uint32_t v,
		   unsigned size)
{
	select_config(r, slot, function, off);
	rig_out(r, (uint16_t)(0xcfc + (off & 3)), v, size);
}

struct drive *rig_drive(struct rig *r, uint64_t size, bool writable, bool cdrom)
{
	static unsigned number;
	g_autofree char *id = g_strdup_printf("drive%u", number++), *path = NULL;
	struct drive_options o = { .id = id, .cdrom = cdrom };
	uint8_t sector[BLOCK_SECTOR];
	GError *err = NULL;
	struct drive *d;
	int fd = g_file_open_tmp("moa-disk-XXXXXX", &path, NULL);

	for (uint32_t i = 0; i < size / BLOCK_SECTOR; i++) {
		memset(sector, (int)i, sizeof(sector));
		store_le(sector, i, 4);
		CHECK(write(fd, sector, sizeof(sector)) == sizeof(sector));
	}
	close(fd);
	o.file = path;
	o.block.format = "raw";
	o.block.label = id;
	o.block.read_only = !writable;
	o.block.discard = true;
	d = drive_new(&r->m, &o, &err);
	if (!d)
		test_fail(__FILE__, __LINE__, "%s", err->message);
	unlink(path);
	return d;
}
