/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MC146818 (ADI-856). The bench's clock starts at 2001-09-09 01:46:40 UTC. */
#include "tests/lib/rig.h"

static uint8_t get(struct rig *r, uint8_t reg)
{
	outb(r, 0x70, reg);
	return inb(r, 0x71);
}

static void set(struct rig *r, uint8_t reg, uint8_t v)
{
	outb(r, 0x70, reg);
	outb(r, 0x71, v);
}

static int irq8_rises;
static int irq8_level;

static void see_irq(void *opaque, int n, int level)
{
	(void)opaque;
	(void)n;
	irq8_rises += level && !irq8_level;
	irq8_level = level;
}

static void watch_irq(struct rig *r)
{
	irq_connect(&r->pc->rtc->irq, (struct irq) { see_irq, NULL, 0 });
	irq8_rises = irq8_level = 0;
}

BENCH(rtc_map)
{
	static const struct {
		uint8_t reg, v;
	} expected[] = { { 0, 0x40 }, { 2, 0x46 }, { 4, 0x01 }, { 6, 1 },
			 { 7, 0x09 }, { 8, 0x09 }, { 9, 0x01 }, { 0x32, 0x20 } };

	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		CHECK_EQ(get(r, expected[i].reg), expected[i].v);
	CHECK_EQ(get(r, 0x0d), 0x80);
	rig_step(r, 20 * NS_PER_SEC);
	CHECK_EQ(get(r, 0), 0);
	CHECK_EQ(get(r, 2), 0x47);
}

BENCH(rtc_fmt_all_four)
{
	rig_step(r, 12 * 3600 * NS_PER_SEC); /* 13:46:40 */
	for (int binary = 0; binary < 2; binary++) {
		for (int h24 = 0; h24 < 2; h24++) {
			set(r, 0x0b, (uint8_t)(binary << 2 | h24 << 1));
			CHECK_EQ(get(r, 4), h24 ? (binary ? 13 : 0x13) : 0x81);
			CHECK_EQ(get(r, 2), binary ? 46 : 0x46);
		}
	}
	/* Midnight and noon of the 12-hour clock. */
	set(r, 0x0b, 0x00);
	set(r, 4, 0x12);
	set(r, 0x0b, 0x02);
	CHECK_EQ(get(r, 4), 0x00);
	set(r, 0x0b, 0x00);
	set(r, 4, 0x92);
	set(r, 0x0b, 0x02);
	CHECK_EQ(get(r, 4), 0x12);
}

BENCH(rtc_set_freezes_and_takes_the_registers)
{
	set(r, 0x0b, 0x82);
	set(r, 0, 0x30);
	set(r, 2, 0x59);
	set(r, 4, 0x23);
	set(r, 7, 0x31);
	set(r, 8, 0x12);
	set(r, 9, 0x99);
	set(r, 0x32, 0x19);
	rig_step(r, 100 * NS_PER_SEC);
	CHECK_EQ(get(r, 0), 0x30);
	set(r, 0x0b, 0x02);
	rig_step(r, 30 * NS_PER_SEC);
	/* The century turns. */
	CHECK_EQ(get(r, 9), 0x00);
	CHECK_EQ(get(r, 0x32), 0x20);
	CHECK_EQ(get(r, 7), 0x01);
	CHECK_EQ(get(r, 6), 7); /* a Saturday */
}

BENCH(rtc_century_2099_to_2100)
{
	set(r, 0x0b, 0x82);
	set(r, 0, 0x59);
	set(r, 2, 0x59);
	set(r, 4, 0x23);
	set(r, 7, 0x31);
	set(r, 8, 0x12);
	set(r, 9, 0x99);
	set(r, 0x32, 0x20);
	set(r, 0x0b, 0x02);
	rig_step(r, NS_PER_SEC);
	CHECK_EQ(get(r, 0x32), 0x21);
	CHECK_EQ(get(r, 9), 0);
}

/* SET clears UIE (page 13). */
BENCH(rtc_set_clears_uie)
{
	set(r, 0x0b, 0x12);
	set(r, 0x0b, 0x92);
	CHECK_EQ(get(r, 0x0b), 0x82);
}

/* UIP is up at least 244 us before the update, so a read that sees it down is never torn. */
BENCH(rtc_uip)
{
	rig_step(r, NS_PER_SEC - 244000);
	CHECK_EQ(get(r, 0x0a), 0xa6);
	CHECK_EQ(get(r, 0), 0x40);
	rig_step(r, 243999);
	CHECK(get(r, 0x0a) & 0x80);
	rig_step(r, 1);
	CHECK_EQ(get(r, 0x0a), 0x26);
	CHECK_EQ(get(r, 0), 0x41);
	set(r, 0x0b, 0x82);
	rig_step(r, NS_PER_SEC - 1000);
	CHECK(!(get(r, 0x0a) & 0x80));
}

BENCH(rtc_irq_update)
{
	watch_irq(r);
	set(r, 0x0a, 0x20); /* no periods */
	get(r, 0x0c);
	set(r, 0x0b, 0x12);
	rig_step(r, NS_PER_SEC);
	CHECK_EQ(irq8_rises, 1);
	CHECK_EQ(get(r, 0x0c), 0x90);
	CHECK_EQ(get(r, 0x0c), 0); /* reading clears */
	CHECK_EQ(irq8_level, 0);
	rig_step(r, 3 * NS_PER_SEC);
	CHECK_EQ(irq8_rises, 2); /* not acknowledged: the line stays up */
}

BENCH(rtc_flags_set_without_enables)
{
	get(r, 0x0c);
	rig_step(r, NS_PER_SEC);
	CHECK_EQ(get(r, 0x0c), 0x50); /* UF and PF, no IRQF */
}

BENCH(rtc_irq_alarm)
{
	watch_irq(r);
	set(r, 1, 0x05);
	set(r, 3, 0x47);
	set(r, 5, 0x01);
	set(r, 0x0b, 0x22);
	get(r, 0x0c);
	rig_step(r, 24 * NS_PER_SEC);
	CHECK_EQ(irq8_rises, 0);
	rig_step(r, NS_PER_SEC);
	CHECK_EQ(irq8_rises, 1);
	CHECK(get(r, 0x0c) & 0x20);
	/* C0h and above: don't care, so once a minute. */
	set(r, 3, 0xc0);
	set(r, 5, 0xff);
	for (int i = 0; i < 180; i++) {
		rig_step(r, NS_PER_SEC);
		get(r, 0x0c);
	}
	CHECK_EQ(irq8_rises, 4);
}

/* The rates are in ms: 0001 is 256 Hz, 0010 128 Hz, then 8192 Hz down to 2 Hz (table 5). */
BENCH(rtc_rates)
{
	static const unsigned hz[16] = { 0,   256, 128, 8192, 4096, 2048, 1024, 512,
					 256, 128, 64,	32,   16,   8,	  4,	2 };

	for (unsigned rate = 0; rate < 16; rate++) {
		unsigned seen = 0;

		set(r, 0x0a, (uint8_t)(0x20 | rate));
		get(r, 0x0c);
		for (int i = 0; i < 32768; i++) {
			rig_step(r, (int64_t)muldiv64_ceil((uint64_t)i + 1, NS_PER_SEC, 32768) -
					    (int64_t)muldiv64_ceil((uint64_t)i, NS_PER_SEC, 32768));
			seen += (get(r, 0x0c) & 0x40) != 0;
		}
		CHECK_EQ(seen, hz[rate]);
	}
}

BENCH(rtc_irq_periodic)
{
	watch_irq(r);
	set(r, 0x0a, 0x26);
	set(r, 0x0b, 0x42);
	for (int i = 0; i < 1024; i++) {
		rig_step(r, 976563);
		get(r, 0x0c);
	}
	CHECK(irq8_rises >= 1023 && irq8_rises <= 1025);
}

/* Divider 11X stops; let go, the first update comes after 500 ms (page 12). Others do not count. */
BENCH(rtc_div)
{
	uint8_t before;

	set(r, 0x0a, 0x66);
	before = get(r, 0);
	rig_step(r, 10 * NS_PER_SEC);
	CHECK_EQ(get(r, 0), before);
	set(r, 0x0a, 0x26);
	rig_step(r, NS_PER_SEC / 2 - 1000);
	CHECK_EQ(get(r, 0), before);
	rig_step(r, 1000);
	CHECK_EQ(get(r, 0), before + 1);
	set(r, 0x0a, 0x06);
	rig_step(r, 10 * NS_PER_SEC);
	CHECK_EQ(get(r, 0), before + 1);
}

/* A guest that slept two seconds through 1024 Hz ticks: slew delivers every one of them. */
BENCH(rtc_slew)
{
	int got = 0;

	watch_irq(r);
	r->pc->rtc->lost_tick_policy = 1;
	set(r, 0x0a, 0x26);
	set(r, 0x0b, 0x42);
	get(r, 0x0c);
	rig_step(r, 2 * NS_PER_SEC);
	while (irq8_level && got < 10000)
		got += (get(r, 0x0c) & 0x40) != 0;
	CHECK(got >= 2047 && got <= 2049);
	/* discard: one. */
	r->pc->rtc->lost_tick_policy = 0;
	rig_step(r, 2 * NS_PER_SEC);
	for (got = 0; irq8_level && got < 10000;)
		got += (get(r, 0x0c) & 0x40) != 0;
	CHECK_EQ(got, 1);
	CHECK(r->pc->rtc->dropped >= 2000);
}

BENCH(rtc_index_and_memory)
{
	set(r, 0x40, 0x5a);
	CHECK_EQ(get(r, 0x40), 0x5a);
	CHECK_EQ(get(r, 0xc0), 0x5a); /* bit 7 masks NMI */
	set(r, 0x0c, 0xff);
	set(r, 0x0d, 0x00);
	CHECK_EQ(get(r, 0x0d), 0x80);
}

BENCH(rtc_survives_reset)
{
	set(r, 0x50, 0x77);
	set(r, 0x0b, 0x72);
	rig_step(r, 100 * NS_PER_SEC);
	machine_reset(&r->m);
	CHECK_EQ(get(r, 0x50), 0x77);
	CHECK_EQ(get(r, 0x0b), 0x02); /* the enables are cleared (page 5) */
	CHECK_EQ(get(r, 0), 0x20);
}
