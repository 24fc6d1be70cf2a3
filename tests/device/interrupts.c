/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8259A pair (231468) and I/O APIC (290566), ours and the kernel's. */
#include "tests/lib/rig.h"

static void init_pics(struct rig *r, uint8_t icw4)
{
	outb(r, 0x20, 0x11);
	outb(r, 0x21, 0x20);
	outb(r, 0x21, 4);
	outb(r, 0x21, icw4);
	outb(r, 0xa0, 0x11);
	outb(r, 0xa1, 0x28);
	outb(r, 0xa1, 2);
	outb(r, 0xa1, icw4);
}

static uint8_t irr(struct rig *r, uint16_t port)
{
	outb(r, port, 0x0a);
	return inb(r, port);
}

static uint8_t isr(struct rig *r, uint16_t port)
{
	outb(r, port, 0x0b);
	return inb(r, port);
}

/* The poll command acknowledges like INTA (page 20). */
static uint8_t poll(struct rig *r, uint16_t port)
{
	outb(r, port, 0x0c);
	return inb(r, port);
}

BOTH(pic_initialises_to_a_clean_state)
{
	outb(r, 0x21, 0xff);
	init_pics(r, 1);
	CHECK_EQ(inb(r, 0x21), 0);
	CHECK_EQ(irr(r, 0x20), 0);
	CHECK_EQ(isr(r, 0x20), 0);
	outb(r, 0x21, 0xa5);
	outb(r, 0xa1, 0x5a);
	CHECK_EQ(inb(r, 0x21), 0xa5);
	CHECK_EQ(inb(r, 0xa1), 0x5a);
}

BOTH(pic_edges_latch)
{
	init_pics(r, 1);
	outb(r, 0x21, 0xff);
	rig_gsi(r, 3, 1);
	CHECK_EQ(irr(r, 0x20), 0x08);
	rig_gsi(r, 3, 0);
	CHECK_EQ(irr(r, 0x20), 0x08);
	rig_gsi(r, 3, 1);
	outb(r, 0x21, 0xf7);
	CHECK_EQ(poll(r, 0x20), 0x83);
	CHECK_EQ(irr(r, 0x20), 0x00); /* an edge is used up by its acknowledgement */
	if (rig_user(r))	      /* KVM's poll does not set ISR */
		CHECK_EQ(isr(r, 0x20), 0x08);
	outb(r, 0x20, 0x20);
	CHECK_EQ(isr(r, 0x20), 0);
	CHECK(!(poll(r, 0x20) & 0x80)); /* still high: no new edge */
	rig_gsi(r, 3, 0);
}

/* On the bench: KVM's poll command neither sets ISR nor leaves a level's request. */
BENCH(pic_levels_stay_while_the_line_does)
{
	init_pics(r, 1);
	outb(r, 0x4d0, 0x20); /* IRQ5 */
	outb(r, 0x21, 0xdf);
	rig_gsi(r, 5, 1);
	CHECK_EQ(poll(r, 0x20), 0x85);
	CHECK_EQ(irr(r, 0x20), 0x20);
	outb(r, 0x20, 0x65); /* specific EOI */
	CHECK_EQ(poll(r, 0x20), 0x85);
	outb(r, 0x20, 0x65);
	rig_gsi(r, 5, 0);
	CHECK_EQ(poll(r, 0x20), 0);
}

BOTH(elcr_bits_that_are_always_edge)
{
	outb(r, 0x4d0, 0xff);
	outb(r, 0x4d1, 0xff);
	CHECK_EQ(inb(r, 0x4d0), 0xf8);
	CHECK_EQ(inb(r, 0x4d1), 0xde);
}

BENCH(pic_priorities_nest)
{
	init_pics(r, 1);
	outb(r, 0x21, 0x00);
	rig_gsi(r, 5, 1);
	rig_gsi(r, 3, 1);
	CHECK_EQ(poll(r, 0x20), 0x83);
	CHECK_EQ(poll(r, 0x20), 0); /* 5 is lower than 3, which is in service */
	rig_gsi(r, 1, 1);
	CHECK_EQ(poll(r, 0x20), 0x81);
	CHECK_EQ(isr(r, 0x20), 0x0a);
	outb(r, 0x20, 0x20);
	CHECK_EQ(isr(r, 0x20), 0x08); /* the non-specific EOI ends the highest */
	outb(r, 0x20, 0x20);
	CHECK_EQ(poll(r, 0x20), 0x85);
	rig_gsi(r, 1, 0);
	rig_gsi(r, 3, 0);
	rig_gsi(r, 5, 0);
}

BOTH(pic_rotation)
{
	init_pics(r, 1);
	outb(r, 0x21, 0x00);
	outb(r, 0x20, 0xc3); /* 3 is lowest now, 4 highest */
	rig_gsi(r, 4, 1);
	rig_gsi(r, 1, 1);
	CHECK_EQ(poll(r, 0x20), 0x84);
	outb(r, 0x20, 0xa0); /* rotate on non-specific EOI: 4 is lowest */
	CHECK_EQ(isr(r, 0x20), 0);
	CHECK_EQ(poll(r, 0x20), 0x81);
	outb(r, 0x20, 0x20);
	rig_gsi(r, 4, 0);
	rig_gsi(r, 1, 0);
}

BOTH(pic_special_mask)
{
	init_pics(r, 1);
	outb(r, 0x21, 0x00);
	rig_gsi(r, 1, 1);
	CHECK_EQ(poll(r, 0x20), 0x81);
	outb(r, 0x20, 0x68); /* special mask mode */
	outb(r, 0x21, 0x02);
	rig_gsi(r, 5, 1);
	CHECK_EQ(poll(r, 0x20), 0x85);
	outb(r, 0x20, 0x48);
	rig_gsi(r, 1, 0);
	rig_gsi(r, 5, 0);
}

BOTH(pic_automatic_eoi)
{
	init_pics(r, 3);
	outb(r, 0x21, 0x00);
	rig_gsi(r, 6, 1);
	CHECK_EQ(poll(r, 0x20), 0x86);
	CHECK_EQ(isr(r, 0x20), 0);
	rig_gsi(r, 6, 0);
}

BOTH(pic_slave_reaches_the_master_on_irq2)
{
	init_pics(r, 1);
	outb(r, 0x21, 0xfb);
	outb(r, 0xa1, 0x00);
	rig_gsi(r, 12, 1);
	CHECK_EQ(irr(r, 0xa0), 0x10);
	CHECK_EQ(irr(r, 0x20), 0x04);
	CHECK_EQ(poll(r, 0x20), 0x82);
	CHECK_EQ(poll(r, 0xa0), 0x84);
	outb(r, 0xa0, 0x20);
	outb(r, 0x20, 0x20);
	rig_gsi(r, 12, 0);
}

BENCH(pic_inta_gives_vectors_and_spurious_ones)
{
	init_pics(r, 1);
	outb(r, 0x21, 0x00);
	outb(r, 0xa1, 0x00);
	rig_gsi(r, 4, 1);
	CHECK_EQ(i8259_pair_ack(&r->pc->pics), 0x24);
	outb(r, 0x20, 0x20);
	rig_gsi(r, 14, 1);
	CHECK_EQ(i8259_pair_ack(&r->pc->pics), 0x2e);
	CHECK_EQ(isr(r, 0x20), 0x04);
	outb(r, 0xa0, 0x20);
	outb(r, 0x20, 0x20);
	rig_gsi(r, 14, 0);
	/* Nothing pending at INTA: IRQ7, and no ISR bit (page 18). */
	CHECK_EQ(i8259_pair_ack(&r->pc->pics), 0x27);
	CHECK_EQ(isr(r, 0x20), 0);
}

#define IOAPIC UINT64_C(0xfec00000)

static uint32_t apic_get(struct rig *r, uint32_t reg)
{
	rig_write(r, IOAPIC, reg, 4);
	return rig_read(r, IOAPIC + 0x10, 4);
}

static void apic_set(struct rig *r, uint32_t reg, uint32_t v)
{
	rig_write(r, IOAPIC, reg, 4);
	rig_write(r, IOAPIC + 0x10, v, 4);
}

BOTH(ioapic_registers)
{
	CHECK_EQ(apic_get(r, 1) >> 16, 23);
	CHECK(((apic_get(r, 1) & 0xff) | 0x31) == 0x31);
	apic_set(r, 0, 0x0f000000);
	CHECK_EQ(apic_get(r, 0), 0x0f000000);
	CHECK_EQ(apic_get(r, 2) & 0xf0ffffff, 0);
	apic_set(r, 0, 0);
	for (uint32_t pin = 0; pin < 24; pin++) {
		CHECK_EQ(apic_get(r, 0x10 + 2 * pin), 0x00010000);
		apic_set(r, 0x11 + 2 * pin, 0xa5000000);
		CHECK_EQ(apic_get(r, 0x11 + 2 * pin), 0xa5000000);
	}
	CHECK_EQ(rig_read(r, IOAPIC, 4), 0x11 + 46);
}

/* Delivery status and remote IRR are read-only (3.2.4). */
BOTH(ioapic_read_only_bits)
{
	apic_set(r, 0x10 + 2 * 20, 0x0001d0ff);
	CHECK_EQ(apic_get(r, 0x10 + 2 * 20), 0x000180ff);
}

/* A level interrupt sets remote IRR when it is accepted, and an EOI clears it. */
static void enable_lapic(struct rig *r)
{
	rig_write(r, LAPIC_BASE + 0xf0, 0x1ff, 4);
}

static uint32_t lapic_irr(struct rig *r, unsigned vector)
{
	return rig_read(r, LAPIC_BASE + 0x200 + (vector >> 5) * 16, 4) >> (vector & 31) & 1;
}

BOTH(ioapic_level_sets_remote_irr)
{
	enable_lapic(r);
	apic_set(r, 0x11 + 2 * 20, 0);
	apic_set(r, 0x10 + 2 * 20, 0x8050);
	rig_gsi(r, 20, 1);
	CHECK_EQ(apic_get(r, 0x10 + 2 * 20) & 0x4000, 0x4000);
	CHECK_EQ(lapic_irr(r, 0x50), 1);
	rig_gsi(r, 20, 0);
}

BOTH(ioapic_edges_are_lost_while_masked)
{
	enable_lapic(r);
	apic_set(r, 0x10 + 2 * 20, 0x10051);
	rig_gsi(r, 20, 1);
	rig_gsi(r, 20, 0);
	apic_set(r, 0x10 + 2 * 20, 0x51);
	CHECK_EQ(lapic_irr(r, 0x51), 0);
	rig_gsi(r, 20, 1);
	rig_gsi(r, 20, 0);
	CHECK_EQ(lapic_irr(r, 0x51), 1);
}

/* IRQ0 arrives at pin 2. */
BOTH(ioapic_irq0_is_pin_2)
{
	enable_lapic(r);
	outb(r, 0x43, 0x30); /* the PIT's own line rests */
	apic_set(r, 0x10 + 2 * 2, 0x52);
	rig_gsi(r, 0, 0);
	rig_gsi(r, 0, 1);
	CHECK_EQ(lapic_irr(r, 0x52), 1);
	rig_gsi(r, 0, 0);
}

BENCH(ioapic_level_comes_again_after_eoi)
{
	enable_lapic(r);
	outb(r, 0x21, 0xff);
	apic_set(r, 0x10 + 2 * 20, 0x8050);
	rig_gsi(r, 20, 1);
	CHECK_EQ(rig_ack(r), 0x50);
	CHECK_EQ(rig_ack(r), -1);
	rig_write(r, LAPIC_BASE + 0xb0, 0, 4);
	CHECK_EQ(rig_ack(r), 0x50);
	rig_gsi(r, 20, 0);
	rig_write(r, LAPIC_BASE + 0xb0, 0, 4);
	CHECK_EQ(rig_ack(r), -1);
	CHECK_EQ(apic_get(r, 0x10 + 2 * 20) & 0x4000, 0);
	/* Version 20h: the EOI register does the same. */
	rig_gsi(r, 20, 1);
	CHECK_EQ(rig_ack(r), 0x50);
	rig_write(r, IOAPIC + 0x40, 0x50, 4);
	CHECK_EQ(apic_get(r, 0x10 + 2 * 20) & 0x4000, 0x4000); /* still high: sent again */
}
