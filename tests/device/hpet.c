/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HPET 1.0a. */
#include "tests/lib/rig.h"

static uint32_t get(struct rig *r, unsigned off)
{
	return rig_read(r, HPET_BASE + off, 4);
}

static void set(struct rig *r, unsigned off, uint32_t v)
{
	rig_write(r, HPET_BASE + off, v, 4);
}

static unsigned rises[24];
static int levels[24];

static void see(void *opaque, int n, int level)
{
	(void)opaque;
	rises[n] += level && !levels[n];
	levels[n] = level;
}

static void watch(struct rig *r)
{
	for (int i = 0; i < 24; i++)
		irq_connect(&r->pc->hpet->gsi[i], (struct irq) { see, NULL, i });
	irq_connect(&r->pc->hpet->legacy_pit, (struct irq) { see, NULL, 0 });
	irq_connect(&r->pc->hpet->legacy_rtc, (struct irq) { see, NULL, 8 });
}

/* 2.3.4: period at most 100 ns, three timers, 64 bits, legacy replacement. */
BENCH(hpet_capabilities)
{
	CHECK(get(r, 4) <= 100000000 && get(r, 4) >= 1000000);
	CHECK_EQ(get(r, 0) >> 8 & 31, 2);
	CHECK_EQ(get(r, 0) & 0xa000, 0xa000);
	CHECK_EQ(get(r, 0x100) & 0x30, 0x30);
	CHECK(get(r, 0x104) != 0);
}

BENCH(hpet_counter_runs_halts_and_is_set)
{
	CHECK_EQ(get(r, 0xf0), 0);
	rig_step(r, 1000);
	CHECK_EQ(get(r, 0xf0), 0);
	set(r, 0x10, 1);
	rig_step(r, 1000);
	CHECK_EQ(get(r, 0xf0), 100);
	set(r, 0xf0, 5); /* not while it runs (2.3.7) */
	CHECK_EQ(get(r, 0xf0), 100);
	set(r, 0x10, 0);
	set(r, 0xf0, 0xfffffff0);
	set(r, 0xf4, 1);
	set(r, 0x10, 1);
	rig_step(r, 320);
	CHECK_EQ(get(r, 0xf0), 16);
	CHECK_EQ(get(r, 0xf4), 2);
	CHECK_EQ(space_read_le(&r->m.mem, HPET_BASE + 0xf0, 8), UINT64_C(0x200000010));
}

BENCH(hpet_one_shot_edge_and_level)
{
	watch(r);
	set(r, 0x10, 1);
	set(r, 0x140, 16u << 9 | 4); /* timer 2, input 16, edge */
	set(r, 0x148, 1000);
	set(r, 0x14c, 0);
	rig_step(r, 9990);
	CHECK_EQ(rises[16], 0);
	rig_step(r, 10);
	CHECK_EQ(rises[16], 1);
	CHECK_EQ(get(r, 0x20), 0); /* edges leave no status */
	set(r, 0x140, 17u << 9 | 4 | 2);
	set(r, 0x148, 2000);
	rig_step(r, 10000);
	CHECK_EQ(levels[17], 1);
	CHECK_EQ(get(r, 0x20), 4);
	set(r, 0x20, 4);
	CHECK_EQ(levels[17], 0);
	CHECK_EQ(get(r, 0x20), 0);
}

/* 2.3.9.2.2: periodic, with the accumulator set first. */
BENCH(hpet_periodic)
{
	watch(r);
	set(r, 0x10, 1);
	set(r, 0x100, 16u << 9 | 4 | 8 | 0x40 | 0x100);
	set(r, 0x108, 5000);
	set(r, 0x108, 10000);
	rig_step(r, 50000);
	CHECK_EQ(rises[16], 1);
	rig_step(r, 1000000);
	CHECK_EQ(rises[16], 11);
	CHECK_EQ(get(r, 0x108), 5000 + 11 * 10000);
}

BENCH(hpet_32_bit_timer_wraps)
{
	watch(r);
	set(r, 0xf0, 0xffffff00);
	set(r, 0x10, 1);
	set(r, 0x140, 16u << 9 | 4 | 0x100);
	set(r, 0x148, 0x100);
	rig_step(r, 0x1ff * 10);
	CHECK_EQ(rises[16], 0);
	rig_step(r, 10);
	CHECK_EQ(rises[16], 1);
}

/* 2.3.5: legacy replacement takes IRQ0 and IRQ8. */
BENCH(hpet_legacy_replacement)
{
	watch(r);
	outb(r, 0x43, 0x34); /* the PIT ticks ... */
	outb(r, 0x40, 0);
	outb(r, 0x40, 0x10);
	set(r, 0x10, 3);
	set(r, 0x100, 4);
	set(r, 0x108, 1000);
	set(r, 0x10c, 0);
	set(r, 0x120, 4);
	set(r, 0x128, 2000);
	set(r, 0x12c, 0);
	rig_step(r, 20000);
	CHECK_EQ(rises[0], 1);
	CHECK_EQ(rises[8], 1);
	CHECK(r->pc->pit->s.irq_disabled &&
	      !timer_pending(&r->pc->pit->timer)); /* ... but not to anybody */
	/* The RTC is held back, and comes through again. */
	irq_raise(&r->pc->rtc->irq);
	CHECK_EQ(levels[8], 0);
	set(r, 0x10, 1);
	CHECK_EQ(levels[8], 1);
	CHECK(!r->pc->pit->s.irq_disabled);
}

static void many_timers(struct pc_config *c)
{
	(void)c;
	device_add_global("hpet.timers=8", NULL);
}

TEST(hpet_timers_property)
{
	struct rig *r = rig_new_config(RIG_USER, many_timers);

	CHECK_EQ(get(r, 0) >> 8 & 31, 7);
	set(r, 0x100 + 7 * 0x20, 4);
	CHECK_EQ(get(r, 0x100 + 7 * 0x20) & 4, 4);
	CHECK_EQ(get(r, 0x100 + 8 * 0x20), 0);
	rig_free(r);
}
