/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8254 and port 61h. Page numbers are the data sheet's (231164). Both: the kernel's chip must
 * agree.
 */
#include "tests/lib/rig.h"

#define CLOCK_NS(n) ((int64_t)muldiv64_ceil((uint64_t)(n), NS_PER_SEC, PIT_HZ))

static void program(struct rig *r, uint8_t control, unsigned count)
{
	unsigned channel = control >> 6, rw = control >> 4 & 3;

	outb(r, 0x43, control);
	if (rw & 1)
		outb(r, (uint16_t)(0x40 + channel), (uint8_t)count);
	if (rw & 2)
		outb(r, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static unsigned latch(struct rig *r, unsigned channel)
{
	unsigned lo;

	outb(r, 0x43, (uint8_t)(channel << 6));
	lo = inb(r, (uint16_t)(0x40 + channel));
	return lo | (unsigned)inb(r, (uint16_t)(0x40 + channel)) << 8;
}

static uint8_t status(struct rig *r, unsigned channel)
{
	outb(r, 0x43, (uint8_t)(0xe0 | 2u << channel));
	return inb(r, (uint16_t)(0x40 + channel));
}

static bool out2(struct rig *r)
{
	return inb(r, 0x61) & 0x20;
}

/* Status bits 5-4 say what was programmed: 01 is the low byte (page 6). */
BOTH(pit_status_tells_rw_mode_and_bcd)
{
	program(r, 0x14, 0x50);
	CHECK_EQ(status(r, 0) & 0x3f, 0x14);
	program(r, 0x24 | 0x80, 0x1200);
	CHECK_EQ(status(r, 2) & 0x3f, 0x24);
	program(r, 0x36, 0x1234);
	CHECK_EQ(status(r, 0) & 0x3f, 0x36);
	program(r, 0xb1, 0x1234);
	CHECK_EQ(status(r, 2) & 0x3f, 0x31);
}

/* Null count is 1 from the write until the count is in the counting element (page 8). */
BENCH(pit_nullcount)
{
	program(r, 0x30, 0x1234);
	CHECK(status(r, 0) & 0x40);
	rig_step(r, CLOCK_NS(1));
	CHECK(!(status(r, 0) & 0x40));
	outb(r, 0x40, 0x55);
	CHECK(status(r, 0) & 0x40);
}

/* Modes 6 and 7 are 2 and 3 (page 5). */
BENCH(pit_mode67)
{
	program(r, 0x3c, 100);
	CHECK_EQ(status(r, 0) & 0x0e, 0x04);
	program(r, 0x3e, 100);
	CHECK_EQ(status(r, 0) & 0x0e, 0x06);
}

/* 1100 latches both; the status is read first (page 8). */
BOTH(pit_readback_both)
{
	unsigned lo, hi;

	program(r, 0x30, 0xffff);
	outb(r, 0x43, 0xc2);
	CHECK_EQ(inb(r, 0x40) & 0x3f, 0x30);
	lo = inb(r, 0x40);
	hi = inb(r, 0x40);
	CHECK((hi << 8 | lo) <= 0xffff);
	/* Two channels at once. */
	outb(r, 0x43, 0xe6);
	CHECK_EQ(inb(r, 0x40) & 0x3f, 0x30);
	inb(r, 0x41);
}

/* Further latches are ignored until the first is read (page 7). */
BOTH(pit_latch2)
{
	unsigned lo, first, second;

	program(r, 0x34, 0xffff);
	outb(r, 0x43, 0x00);
	rig_step(r, CLOCK_NS(5000));
	outb(r, 0x43, 0x00);
	lo = inb(r, 0x40);
	first = lo | (unsigned)inb(r, 0x40) << 8;
	second = latch(r, 0);
	CHECK(first > second || rig_user(r) == false);
	if (rig_user(r)) {
		CHECK_EQ(first, 0xffff);
		CHECK_EQ(second, 0xffff - 5000);
	}
}

/* LSB then MSB by a flip-flop; one-byte modes force the other byte to zero (page 6). */
BOTH(pit_rw_flip_flop)
{
	unsigned v;

	program(r, 0x38, 0x8000); /* mode 4 */
	v = inb(r, 0x40);
	v |= (unsigned)inb(r, 0x40) << 8;
	CHECK(v <= 0x8000 || v > 0x8000);
	program(r, 0xa8, 0x8000); /* channel 2, MSB only, gate low: it does not count */
	CHECK(inb(r, 0x42) <= 0x80);
	if (!rig_user(r))
		return; /* the kernel's channel 2 counts whatever its gate says */
	CHECK_EQ(inb(r, 0x42), 0x80);
	program(r, 0x98, 0x44);
	CHECK_EQ(inb(r, 0x42), 0x44);
}

BENCH(pit_frequency_is_1193182_hz)
{
	program(r, 0x34, 0);
	rig_step(r, NS_PER_SEC);
	/* 65536 counts and the remainder of 1193182. */
	CHECK_EQ(latch(r, 0), 65536 - 1193182 % 65536);
}

BENCH(pit_m0)
{
	outb(r, 0x61, 1);
	program(r, 0xb0, 10);
	CHECK(!out2(r));
	rig_step(r, CLOCK_NS(9));
	CHECK(!out2(r));
	CHECK_EQ(latch(r, 2), 1);
	rig_step(r, CLOCK_NS(10) - CLOCK_NS(9));
	CHECK(out2(r));
	/* Goes on counting, and wraps. */
	rig_step(r, CLOCK_NS(5));
	CHECK_EQ(latch(r, 2), 0xfffb);
	CHECK(out2(r));
	/* A new count starts anew; its first byte stops the old. */
	outb(r, 0x42, 20);
	rig_step(r, CLOCK_NS(100));
	CHECK(!out2(r));
	outb(r, 0x42, 0);
	CHECK(!out2(r));
	rig_step(r, CLOCK_NS(20));
	CHECK(out2(r));
}

BENCH(pit_m0_gate_holds)
{
	outb(r, 0x61, 1);
	program(r, 0xb0, 100);
	rig_step(r, CLOCK_NS(40));
	outb(r, 0x61, 0);
	rig_step(r, CLOCK_NS(1000));
	CHECK_EQ(latch(r, 2), 60);
	outb(r, 0x61, 1);
	rig_step(r, CLOCK_NS(10));
	CHECK_EQ(latch(r, 2), 50);
}

BENCH(pit_m1)
{
	outb(r, 0x61, 0);
	program(r, 0xb2, 10);
	CHECK(out2(r));
	rig_step(r, CLOCK_NS(100));
	CHECK(out2(r)); /* waits for the gate */
	outb(r, 0x61, 1);
	CHECK(!out2(r));
	outb(r, 0x61, 0); /* which may fall again */
	rig_step(r, CLOCK_NS(9));
	CHECK(!out2(r));
	outb(r, 0x61, 1); /* retriggers */
	rig_step(r, CLOCK_NS(9));
	CHECK(!out2(r));
	rig_step(r, CLOCK_NS(2));
	CHECK(out2(r));
}

BENCH(pit_m2)
{
	outb(r, 0x61, 1);
	program(r, 0xb4, 5);
	for (unsigned i = 0; i < 20; i++) {
		CHECK_EQ(latch(r, 2), 5 - i % 5);
		CHECK_EQ(out2(r), i % 5 != 4);
		rig_step(r, CLOCK_NS(i + 1) - CLOCK_NS(i));
	}
	/* Gate low forces OUT high and stops; rising reloads. */
	outb(r, 0x61, 0);
	rig_step(r, CLOCK_NS(4));
	CHECK(out2(r));
	outb(r, 0x61, 1);
	CHECK_EQ(latch(r, 2), 5);
}

BENCH(pit_m3)
{
	unsigned high[2] = { 0 };

	outb(r, 0x61, 1);
	for (int odd = 0; odd < 2; odd++) {
		unsigned n = 10 + (unsigned)odd;
		int64_t t = 0;

		program(r, 0xb6, n);
		for (unsigned i = 0; i < n; i++) {
			unsigned v = latch(r, 2);

			CHECK(!(v & 1));
			high[odd] += out2(r);
			rig_step(r, CLOCK_NS(i + 1) - t);
			t = CLOCK_NS(i + 1);
		}
	}
	CHECK_EQ(high[0], 5);
	CHECK_EQ(high[1], 6); /* odd: one clock more high than low */
}

BOTH(pit_m3_latches_are_even)
{
	program(r, 0x36, 1000);
	for (int i = 0; i < 200; i++) {
		rig_step(r, rig_user(r) ? 12345 : 0);
		CHECK(!(latch(r, 0) & 1));
	}
}

BENCH(pit_m4)
{
	outb(r, 0x61, 1);
	program(r, 0xb8, 3);
	for (unsigned i = 0; i < 8; i++) {
		CHECK_EQ(out2(r), i != 3);
		rig_step(r, CLOCK_NS(i + 1) - CLOCK_NS(i));
	}
}

BENCH(pit_m5)
{
	outb(r, 0x61, 0);
	program(r, 0xba, 3);
	rig_step(r, CLOCK_NS(10));
	CHECK(out2(r));
	outb(r, 0x61, 1);
	outb(r, 0x61, 0); /* not stopped by it */
	for (unsigned i = 0; i < 8; i++) {
		CHECK_EQ(out2(r), i != 3);
		rig_step(r, CLOCK_NS(i + 1) - CLOCK_NS(i));
	}
}

BENCH(pit_bcd)
{
	program(r, 0x35, 0x1000); /* a thousand, in BCD */
	rig_step(r, CLOCK_NS(1));
	CHECK_EQ(latch(r, 0), 0x0999);
	rig_step(r, CLOCK_NS(1000) - CLOCK_NS(1));
	CHECK_EQ(latch(r, 0), 0x1000);
	program(r, 0x31, 0); /* 10000 */
	rig_step(r, CLOCK_NS(1));
	CHECK_EQ(latch(r, 0), 0x9999);
}

BOTH(pit_gate2_and_speaker_bits)
{
	outb(r, 0x61, 3);
	CHECK_EQ(inb(r, 0x61) & 3, 3);
	outb(r, 0x61, 0);
	CHECK_EQ(inb(r, 0x61) & 3, 0);
}

/* Bit 4 toggles with memory refresh. */
BOTH(port61_refresh_toggles)
{
	uint8_t first = inb(r, 0x61) & 0x10;
	int changes = 0;

	for (int i = 0; i < 2000 && changes < 3; i++) {
		uint8_t now;

		rig_step(r, rig_user(r) ? 5000 : 0);
		now = inb(r, 0x61) & 0x10;
		changes += now != first;
		first = now;
	}
	CHECK_EQ(changes, 3);
}

static unsigned pulses;

static void count_pulse(void *opaque, int n, int level)
{
	(void)opaque;
	(void)n;
	pulses += level != 0;
}

BENCH(pit_irq0_every_period_without_drift)
{
	irq_connect(&r->pc->pit->irq, (struct irq) { count_pulse, NULL, 0 });
	program(r, 0x34, 1193);
	pulses = 0;
	rig_step(r, 10 * NS_PER_SEC);
	CHECK(pulses >= 10 * PIT_HZ / 1193 && pulses <= 10 * PIT_HZ / 1193 + 1);
	program(r, 0x36, 11932);
	pulses = 0;
	rig_step(r, NS_PER_SEC);
	CHECK(pulses >= 99 && pulses <= 101);
	program(r, 0x30, 1000);
	pulses = 0;
	rig_step(r, NS_PER_SEC);
	CHECK_EQ(pulses, 1);
}

/* A host that was late for ten ticks: delay makes up for them, discard drops them. */
BENCH(pit_lost_ticks)
{
	irq_connect(&r->pc->pit->irq, (struct irq) { count_pulse, NULL, 0 });
	program(r, 0x34, 11932);
	pulses = 0;
	vm_clock(&r->m)->frozen += NS_PER_SEC / 10;
	rig_step(r, 0);
	CHECK(pulses >= 9 && pulses <= 11);
	r->pc->pit->lost_tick_policy = TICKS_DISCARD;
	pulses = 0;
	vm_clock(&r->m)->frozen += NS_PER_SEC / 10;
	rig_step(r, 0);
	CHECK(pulses <= 2);
	CHECK(r->pc->pit->dropped >= 7);
}

/* After an hour the backlog is bounded. */
BENCH(pit_backlog_is_bounded)
{
	irq_connect(&r->pc->pit->irq, (struct irq) { count_pulse, NULL, 0 });
	program(r, 0x34, 1193);
	pulses = 0;
	vm_clock(&r->m)->frozen += 3600 * NS_PER_SEC;
	rig_step(r, 0);
	CHECK(pulses > 9000 && pulses < 11000);
	CHECK(r->pc->pit->dropped > 3000000);
}
