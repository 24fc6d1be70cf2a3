/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI 3.0: configuration space, BARs, INTx, MSI, MSI-X, with a device made for the test; i440FX,
 * PIIX3.
 */
#include "tests/lib/rig.h"

struct probe {
	struct pci_device pci;
	struct region mmio, io, big;
	uint32_t reg;
};
#define D struct probe

static uint64_t probe_read(void *opaque, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ((struct probe *)opaque)->reg;
}

static void probe_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	(void)off;
	(void)size;
	((struct probe *)opaque)->reg = (uint32_t)value;
}

static bool probe_realize(void *dev, GError **err)
{
	static const struct region_ops ops = { probe_read, probe_write, 4, 4 };
	struct probe *p = dev;

	(void)err;
	region_init_io(&p->mmio, "probe-mmio", 0x1000, &ops, p, NULL);
	region_init_io(&p->io, "probe-io", 0x20, &ops, p, NULL);
	region_init_group(&p->big, "probe-msix", 0x1000);
	pci_add_bar(p, 0, &p->mmio, false, false, false);
	pci_add_bar(p, 1, &p->io, true, false, false);
	pci_add_bar(p, 2, &p->big, false, true, true);
	pci_add_msi(p, 4);
	pci_add_msix(p, 3, &p->big, 0, 0x800);
	return true;
}

static const struct pci_info probe_pci = {
	.vendor = 0x1234, .device = 0x5678, .class = 0xff00, .interrupt_pin = 1
};
static DEVICE(probe, .name = "probe", .bus = "PCI", .bus_info = &probe_pci, .realize = probe_realize,
	      .state = FIELDS(FO(pci, pci_device_table), F(reg)));

static struct probe *add_probe(struct rig *r, unsigned slot)
{
	struct probe *p = device_new(&r->m, &device_probe, NULL);

	pci_set_devfn(p, slot, 0);
	CHECK(device_realize(p, &r->pc->host->bus.bus, NULL));
	machine_reset(&r->m);
	return p;
}

#define cfg(off, size) rig_pci_read(r, 3, 0, off, size)
#define cfg_set(off, v, size) rig_pci_write(r, 3, 0, off, v, size)

BENCH(pci_empty_slots_read_ones)
{
	CHECK_EQ(rig_pci_read(r, 5, 0, 0, 4), 0xffffffff);
	CHECK_EQ(rig_pci_read(r, 0, 0, 0, 4), 0x12378086);
	CHECK_EQ(rig_pci_read(r, 1, 0, 0, 4), 0x70008086);
	CHECK_EQ(rig_pci_read(r, 1, 3, 0, 4), 0x71138086);
	CHECK_EQ(rig_pci_read(r, 1, 0, 0x0e, 1), 0x80); /* multi-function */
	rig_out(r, 0xcf8, 0, 4);			/* not enabled */
	CHECK_EQ(rig_in(r, 0xcfc, 4), 0xffffffff);
	rig_out(r, 0xcf8, 0x80010000, 4); /* bus 1 */
	CHECK_EQ(rig_in(r, 0xcfc, 4), 0xffffffff);
	/* Narrower writes to CF8h are not the register's. */
	rig_out(r, 0xcf8, 0x80000000, 4);
	rig_out(r, 0xcf8, 0x55, 1);
	CHECK_EQ(rig_in(r, 0xcf8, 4), 0x80000000);
}

BENCH(pci_read_only_and_write_one_clear)
{
	add_probe(r, 3);
	cfg_set(0, 0, 4);
	CHECK_EQ(cfg(0, 4), 0x56781234);
	cfg_set(4, 0xffff, 2);
	CHECK_EQ(cfg(4, 2), 0x0547);
	cfg_set(0x3c, 0x1ff, 2);
	CHECK_EQ(cfg(0x3c, 2), 0x01ff);
}

/* 6.2.5: sizing, placing, moving, switching off. */
BENCH(pci_bars)
{
	struct probe *p = add_probe(r, 3);

	cfg_set(0x10, 0xffffffff, 4);
	CHECK_EQ(cfg(0x10, 4), 0xfffff000);
	cfg_set(0x14, 0xffffffff, 4);
	CHECK_EQ(cfg(0x14, 4), 0xffffffe1);
	cfg_set(0x18, 0xffffffff, 4);
	cfg_set(0x1c, 0xffffffff, 4);
	CHECK_EQ(cfg(0x18, 4), 0xfffff00c);
	CHECK_EQ(cfg(0x1c, 4), 0xffffffff);
	CHECK_EQ(cfg(0x20, 4), 0);
	cfg_set(0x10, 0xe0000000, 4);
	cfg_set(0x14, 0xc000, 4);
	p->reg = 0x1357;
	CHECK_EQ(rig_read(r, 0xe0000000, 4), 0xffffffff);
	cfg_set(4, 2, 2);
	CHECK_EQ(rig_read(r, 0xe0000000, 4), 0x1357);
	CHECK_EQ(rig_in(r, 0xc000, 4), 0xffffffff);
	cfg_set(4, 3, 2);
	rig_out(r, 0xc01c, 0x2468, 4);
	CHECK_EQ(rig_read(r, 0xe0000ffc, 4), 0x2468);
	cfg_set(0x10, 0xe1000000, 4);
	CHECK_EQ(rig_read(r, 0xe0000000, 4), 0xffffffff);
	CHECK_EQ(rig_read(r, 0xe1000000, 4), 0x2468);
	cfg_set(0x18, 0, 4);
	cfg_set(0x1c, 0x10, 4);					   /* above 4 GiB */
	CHECK_EQ(rig_read(r, UINT64_C(0x1000000000) + 0xc, 4), 1); /* vector control: masked */
	machine_reset(&r->m);
	CHECK_EQ(cfg(4, 2), 0);
	CHECK_EQ(rig_read(r, 0xe1000000, 4), 0xffffffff);
}

BENCH(pci_dma_needs_bus_mastering)
{
	struct probe *p = add_probe(r, 3);
	uint32_t v = 0x11223344;

	CHECK(!dma_write(p, 0x1000, &v, 4));
	CHECK_EQ(rig_read(r, 0x1000, 4), 0);
	cfg_set(4, 4, 2);
	CHECK(dma_write(p, 0x1000, &v, 4));
	CHECK_EQ(rig_read(r, 0x1000, 4), 0x11223344);
}

static int isa_level[16];

static void see_isa(void *opaque, int n, int level)
{
	(void)opaque;
	isa_level[n] = level;
}

/* Slot 3, INTA: PIRQ (3 - 1 + 0) mod 4 is C; shared lines stay up until the last lets go. */
BENCH(pci_intx_swizzle_and_pirq)
{
	struct probe *p = add_probe(r, 3), *q = add_probe(r, 7);

	for (int i = 0; i < 16; i++)
		irq_connect(&r->pc->isa->pirq_out[i], (struct irq) { see_isa, NULL, i });
	rig_pci_write(r, 1, 0, 0x62, 11, 1);
	pci_set_irq(p, 1);
	CHECK_EQ(isa_level[11], 1);
	pci_set_irq(q, 1);
	pci_set_irq(p, 0);
	CHECK_EQ(isa_level[11], 1);
	CHECK_EQ(cfg(6, 2) & 8, 0);
	CHECK_EQ(rig_pci_read(r, 7, 0, 6, 2) & 8, 8);
	rig_pci_write(r, 7, 0, 4, 0x400, 2); /* INTx disable */
	CHECK_EQ(isa_level[11], 0);
	rig_pci_write(r, 7, 0, 4, 0, 2);
	CHECK_EQ(isa_level[11], 1);
	rig_pci_write(r, 1, 0, 0x62, 10, 1); /* routed elsewhere */
	CHECK(!isa_level[11] && isa_level[10]);
	rig_pci_write(r, 1, 0, 0x62, 0x80, 1);
	CHECK(!isa_level[10]);
	pci_set_irq(q, 0);
}

/* A UART on line 11 and a PIRQ routed to it: the level-triggered input falls when both have let go.
 */
BENCH(pci_line_shared_with_an_isa_device)
{
	struct probe *p = add_probe(r, 3);
	struct irq uart = irq_line(r->pc->lines, 11);

	outb(r, 0x4d1, 8);
	outb(r, 0xa0, 0x0a); /* OCW3: read IRR */
	rig_pci_write(r, 1, 0, 0x62, 11, 1);
	irq_raise(&uart);
	pci_set_irq(p, 1);
	CHECK_EQ(inb(r, 0xa0) & 8, 8);
	irq_lower(&uart);
	CHECK_EQ(inb(r, 0xa0) & 8, 8);
	irq_raise(&uart);
	pci_set_irq(p, 0);
	CHECK_EQ(inb(r, 0xa0) & 8, 8);
	irq_lower(&uart);
	CHECK_EQ(inb(r, 0xa0) & 8, 0);
}

static unsigned find_cap(struct rig *r, uint8_t id)
{
	unsigned at = cfg(0x34, 1);

	while (at && cfg(at, 1) != id)
		at = cfg(at + 1, 1);
	CHECK(at);
	return at;
}

/* 6.8.1: address, data, several vectors, masks and pending bits. */
BENCH(pci_msi)
{
	struct probe *p = add_probe(r, 3);
	unsigned cap = find_cap(r, 5);

	outb(r, 0x21, 0xff);
	rig_write(r, LAPIC_BASE + 0xf0, 0x1ff, 4);
	cfg_set(4, 4, 2);
	cfg_set(cap + 4, 0xfee00000, 4);
	cfg_set(cap + 12, 0x40, 2);
	pci_msi_notify(p, 0);
	CHECK_EQ(rig_ack(r), -1); /* not enabled */
	cfg_set(cap + 2, 1 | 2 << 4, 2);
	CHECK_EQ(cfg(cap + 2, 2) & 0x71, 0x21);
	pci_msi_notify(p, 3);
	CHECK_EQ(rig_ack(r), 0x43);
	rig_write(r, LAPIC_BASE + 0xb0, 0, 4);
	cfg_set(cap + 16, 2, 4);
	pci_msi_notify(p, 1);
	CHECK_EQ(rig_ack(r), -1);
	CHECK_EQ(cfg(cap + 20, 4), 2);
	cfg_set(cap + 16, 0, 4);
	CHECK_EQ(rig_ack(r), 0x41);
	CHECK_EQ(cfg(cap + 20, 4), 0);
}

/* 6.8.2: the table, per-vector and function masks. */
BENCH(pci_msix)
{
	struct probe *p = add_probe(r, 3);
	unsigned cap = find_cap(r, 0x11);
	const uint64_t table = 0xe2000000;

	outb(r, 0x21, 0xff);
	rig_write(r, LAPIC_BASE + 0xf0, 0x1ff, 4);
	cfg_set(0x18, table, 4);
	cfg_set(0x1c, 0, 4);
	cfg_set(4, 6, 2);
	CHECK_EQ(cfg(cap + 2, 2), 2); /* three vectors */
	CHECK_EQ(cfg(cap + 4, 4), 2);
	CHECK_EQ(cfg(cap + 8, 4), 0x802);
	CHECK_EQ(rig_read(r, table + 12, 4), 1);
	rig_write(r, table + 16, 0xfee00000, 4);
	rig_write(r, table + 24, 0x71, 4);
	cfg_set(cap + 2, 0x8000, 2);
	pci_msix_notify(p, 1);
	CHECK_EQ(rig_ack(r), -1); /* still masked in the table */
	CHECK_EQ(rig_read(r, table + 0x800, 4), 2);
	rig_write(r, table + 28, 0, 4);
	CHECK_EQ(rig_ack(r), 0x71);
	CHECK_EQ(rig_read(r, table + 0x800, 4), 0);
	rig_write(r, LAPIC_BASE + 0xb0, 0, 4);
	cfg_set(cap + 2, 0xc000, 2); /* function mask */
	pci_msix_notify(p, 1);
	CHECK_EQ(rig_ack(r), -1);
	cfg_set(cap + 2, 0x8000, 2);
	CHECK_EQ(rig_ack(r), 0x71);
	pci_msix_notify(p, 3); /* no such vector */
}

/* 290549, 3.2.18: PAM. Write-only copies into the shadow, read-only protects it. */
BENCH(i440fx_pam)
{
	uint8_t rom = (uint8_t)rig_read(r, 0xf0000, 1);

	rig_write(r, 0xf0000, 0x77, 1);
	CHECK_EQ(rig_read(r, 0xf0000, 1), rom);
	rig_pci_write(r, 0, 0, 0x59, 0x30, 1);
	rig_write(r, 0xf0000, 0x77, 1);
	CHECK_EQ(rig_read(r, 0xf0000, 1), 0x77);
	rig_pci_write(r, 0, 0, 0x59, 0x10, 1);
	rig_write(r, 0xf0000, 0x88, 1);
	CHECK_EQ(rig_read(r, 0xf0000, 1), 0x77);
	rig_pci_write(r, 0, 0, 0x59, 0x00, 1);
	CHECK_EQ(rig_read(r, 0xf0000, 1), rom);
	/* Each nibble has its own 16 KiB. */
	CHECK_EQ(rig_read(r, 0xc4000, 1), 0xff);
	rig_pci_write(r, 0, 0, 0x5a, 0x30, 1);
	rig_write(r, 0xc4000, 1, 1);
	CHECK_EQ(rig_read(r, 0xc4000, 1), 1);
	CHECK_EQ(rig_read(r, 0xc0000, 1), 0xff);
	CHECK_EQ(rig_read(r, 0xc8000, 1), 0xff);
}

/* 3.2.20: SMRAM opens, and locks. */
BENCH(i440fx_smram)
{
	CHECK_EQ(rig_read(r, 0xa0000, 1), 0xff);
	rig_pci_write(r, 0, 0, 0x72, 0x4a, 1);
	rig_write(r, 0xa0000, 0x42, 1);
	CHECK_EQ(rig_read(r, 0xa0000, 1), 0x42);
	rig_pci_write(r, 0, 0, 0x72, 0x0a, 1);
	CHECK_EQ(rig_read(r, 0xa0000, 1), 0xff);
	rig_pci_write(r, 0, 0, 0x72, 0x5a, 1); /* D_LCK */
	CHECK_EQ(rig_read(r, 0xa0000, 1), 0xff);
	rig_pci_write(r, 0, 0, 0x72, 0x4a, 1);
	CHECK_EQ(rig_read(r, 0xa0000, 1), 0xff);
	machine_reset(&r->m);
	rig_pci_write(r, 0, 0, 0x72, 0x4a, 1);
	CHECK_EQ(rig_read(r, 0xa0000, 1), 0x42);
}
