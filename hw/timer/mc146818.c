/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MC146818 real-time clock with 128 bytes of CMOS memory. Source: Motorola MC146818 data sheet
 * (ADI-856); the century byte at 32h is what ACPI's FADT names. The time is a base and a clock:
 * registers are computed when they are read, flags when somebody looks or an interrupt is enabled.
 * Not modelled: square-wave output, daylight saving.
 */
#include "hw/timer/mc146818.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "core/log.h"

enum {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	DAY_OF_WEEK,
	DAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D
};
#define CENTURY 0x32

#define A_UIP BIT(7)
#define A_DIVIDER 0x70
#define A_DIVIDER_32K 0x20
#define A_RATE 0x0f
#define B_SET BIT(7)
#define B_PIE BIT(6)
#define B_AIE BIT(5)
#define B_UIE BIT(4)
#define B_DM BIT(2) /* binary, not BCD */
#define B_24H BIT(1)
#define C_IRQF BIT(7)
#define C_PF BIT(6)
#define C_AF BIT(5)
#define C_UF BIT(4)
#define D_VRT BIT(7)
#define HOUR_PM BIT(7)

#define UIP_NS 244000 /* UIP is up at least this long before an update (table 6) */
#define MOST_OWED_TICKS 100000u

#define D struct mc146818

static struct clock *rtc_clock(const struct mc146818 *d)
{
	static const enum clock_kind kinds[] = { CLOCK_HOST, CLOCK_RT, CLOCK_VM };

	return &d->dev.machine->clocks[kinds[d->clock]];
}

static int64_t now_ns(const struct mc146818 *d)
{
	return clock_ns(rtc_clock(d));
}

/* Updates happen only at the 32 kHz divider setting and without SET. */
static bool divider_runs(const struct mc146818 *d)
{
	return (d->cmos[REG_A] & A_DIVIDER) == A_DIVIDER_32K;
}

static bool updates(const struct mc146818 *d)
{
	return divider_runs(d) && !(d->cmos[REG_B] & B_SET);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t second_now(const struct mc146818 *d)
{
	return d->base_sec + floor_div(now_ns(d) - d->base_ns, NS_PER_SEC);
}

/* the formats. */

static uint8_t encode(const struct mc146818 *d, int v)
{
	return (uint8_t)(d->cmos[REG_B] & B_DM ? v : v / 10 << 4 | v % 10);
}

static int decode(const struct mc146818 *d, uint8_t v)
{
	return d->cmos[REG_B] & B_DM ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct mc146818 *d, int hour)
{
	int h12 = hour % 12 ? hour % 12 : 12;

	if (d->cmos[REG_B] & B_24H)
		return encode(d, hour);
	return encode(d, h12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct mc146818 *d, uint8_t v)
{
	int h;

	if (d->cmos[REG_B] & B_24H)
		return decode(d, v);
	h = decode(d, v & 0x7f) % 12;
	return v & HOUR_PM ? h + 12 : h;
}

/* Puts the time of `sec` into the registers. */
static void registers_from(struct mc146818 *d, int64_t sec)
{
	time_t t = sec;
	struct tm tm;
	int year;

	gmtime_r(&t, &tm);
	d->cmos[SECONDS] = encode(d, tm.tm_sec);
	d->cmos[MINUTES] = encode(d, tm.tm_min);
	d->cmos[HOURS] = encode_hour(d, tm.tm_hour);
	d->cmos[DAY_OF_WEEK] = encode(d, tm.tm_wday + 1);
	d->cmos[DAY] = encode(d, tm.tm_mday);
	d->cmos[MONTH] = encode(d, tm.tm_mon + 1);
	/* Two counters of two digits: years beyond them wrap. */
	year = (int)((tm.tm_year + INT64_C(1900)) % 10000 + 10000) % 10000;
	d->cmos[YEAR] = encode(d, year % 100);
	d->cmos[CENTURY] = encode(d, year / 100);
}

/* The time that the registers say. Impossible dates carry over, as counters would. */
static int64_t registers_to(const struct mc146818 *d)
{
	struct tm tm = {
		.tm_sec = decode(d, d->cmos[SECONDS]),
		.tm_min = decode(d, d->cmos[MINUTES]),
		.tm_hour = decode_hour(d, d->cmos[HOURS]),
		.tm_mday = decode(d, d->cmos[DAY]),
		.tm_mon = decode(d, d->cmos[MONTH]) - 1,
		.tm_year = decode(d, d->cmos[CENTURY]) * 100 + decode(d, d->cmos[YEAR]) - 1900,
	};

	return timegm(&tm);
}

/* flags and interrupts. */

static void update_irq(struct mc146818 *d)
{
	bool active = d->cmos[REG_B] & d->cmos[REG_C] & (C_PF | C_AF | C_UF);

	d->cmos[REG_C] = (uint8_t)(active ? d->cmos[REG_C] | C_IRQF : d->cmos[REG_C] & ~C_IRQF);
	irq_set(&d->irq, active);
}

static bool alarm_field(const struct mc146818 *d, unsigned reg, int now, bool hour)
{
	uint8_t v = d->cmos[reg];

	/* C0h to FFh: don't care. */
	if ((v & 0xc0) == 0xc0)
		return true;
	return (hour ? decode_hour(d, v) : decode(d, v)) == now;
}

static bool alarm_at(const struct mc146818 *d, int64_t sec)
{
	time_t t = sec;
	struct tm tm;

	gmtime_r(&t, &tm);
	return alarm_field(d, SECONDS_ALARM, tm.tm_sec, false) &&
	       alarm_field(d, MINUTES_ALARM, tm.tm_min, false) &&
	       alarm_field(d, HOURS_ALARM, tm.tm_hour, true);
}

#define MOST_ALARM_SECONDS 86400 /* a day: the alarm repeats after it */

/* Sets UF and AF for the seconds since we last looked. */
static void catch_up_updates(struct mc146818 *d)
{
	int64_t sec;

	if (!updates(d))
		return;
	sec = second_now(d);
	if (sec <= d->seen_sec)
		return;
	d->cmos[REG_C] |= C_UF;
	for (int64_t s = MAX_OF(d->seen_sec + 1, sec - MOST_ALARM_SECONDS); s <= sec; s++) {
		if (alarm_at(d, s)) {
			d->cmos[REG_C] |= C_AF;
			break;
		}
	}
	d->seen_sec = sec;
}

/*
 * Half the cycle time in 32.768 kHz clocks doubles with each code; 1 and 2 are as 8 and 9 (table
 * 5).
 */
static uint64_t period_clocks(const struct mc146818 *d)
{
	unsigned rate = d->cmos[REG_A] & A_RATE;

	if (!rate || !divider_runs(d))
		return 0;
	return UINT64_C(1) << (rate <= 2 ? rate + 6 : rate - 1);
}

static int64_t period_end(const struct mc146818 *d, uint64_t n)
{
	return d->period_ns + (int64_t)muldiv64_ceil(n * period_clocks(d), NS_PER_SEC, 32768);
}

static uint64_t periods_now(const struct mc146818 *d)
{
	int64_t ns = now_ns(d) - d->period_ns;

	return ns < 0 ? 0 : muldiv64((uint64_t)ns, 32768, NS_PER_SEC) / period_clocks(d);
}

static void catch_up_periods(struct mc146818 *d)
{
	uint64_t n;

	if (!period_clocks(d))
		return;
	n = periods_now(d);
	if (n <= d->seen_periods)
		return;
	/* What the guest has not read yet, or could not take in time, is lost or owed. */
	uint64_t missed = n - d->seen_periods - 1 + (d->cmos[REG_C] & C_PF ? 1 : 0);

	if (d->cmos[REG_B] & B_PIE) {
		if (d->lost_tick_policy)
			d->owed_ticks =
				(uint32_t)MIN_OF(d->owed_ticks + missed, (uint64_t)MOST_OWED_TICKS);
		else
			d->dropped += missed;
	}
	d->cmos[REG_C] |= C_PF;
	d->seen_periods = n;
}

static void arm_timers(struct mc146818 *d)
{
	timer_cancel(&d->update_timer);
	timer_cancel(&d->periodic_timer);
	if (updates(d) && d->cmos[REG_B] & (B_UIE | B_AIE))
		timer_arm(&d->update_timer,
			  d->base_ns + (second_now(d) - d->base_sec + 1) * NS_PER_SEC);
	if (period_clocks(d) && d->cmos[REG_B] & B_PIE)
		timer_arm(&d->periodic_timer, period_end(d, periods_now(d) + 1));
}

static void catch_up(struct mc146818 *d)
{
	catch_up_updates(d);
	catch_up_periods(d);
}

static void timer_fires(void *opaque, int64_t late_ns)
{
	struct mc146818 *d = opaque;

	(void)late_ns;
	catch_up(d);
	d->injected++;
	update_irq(d);
	arm_timers(d);
}

static uint8_t read_c(struct mc146818 *d)
{
	uint8_t v;

	catch_up(d);
	update_irq(d);
	v = d->cmos[REG_C];
	d->cmos[REG_C] = 0;
	update_irq(d);
	/* slew: the next owed tick follows the acknowledgement of the last. */
	if (d->owed_ticks && v & C_PF) {
		d->owed_ticks--;
		d->reinjected++;
		d->cmos[REG_C] |= C_PF;
		update_irq(d);
	}
	return v;
}

/* registers. */

static bool in_update(const struct mc146818 *d)
{
	int64_t into;

	if (!updates(d))
		return false;
	into = (now_ns(d) - d->base_ns) % NS_PER_SEC;
	return into >= NS_PER_SEC - UIP_NS;
}

/* Starts counting from the registers, `into` ns into their second. */
static void restart(struct mc146818 *d, int64_t into)
{
	d->base_sec = registers_to(d);
	d->base_ns = now_ns(d) - into;
	d->seen_sec = d->base_sec;
}

static void write_a(struct mc146818 *d, uint8_t v)
{
	bool ran = divider_runs(d), updated = updates(d);

	catch_up(d);
	if (updated)
		registers_from(d, second_now(d));
	if ((d->cmos[REG_A] ^ v) & (A_DIVIDER | A_RATE)) {
		d->period_ns = now_ns(d);
		d->seen_periods = 0;
	}
	d->cmos[REG_A] = v & (uint8_t)~A_UIP;
	/* The first update comes half a second after the divider is let go (page 12). */
	if (!ran && updates(d))
		restart(d, NS_PER_SEC / 2);
	arm_timers(d);
}

static void write_b(struct mc146818 *d, uint8_t v)
{
	bool updated = updates(d);
	int64_t into = updated ? (now_ns(d) - d->base_ns) % NS_PER_SEC : 0;

	catch_up(d);
	if (updated)
		registers_from(d, second_now(d));
	if (v & B_SET)
		v &= (uint8_t)~B_UIE; /* SET clears UIE (page 13) */
	d->cmos[REG_B] = v;
	/* A change of format is not a change of time, but the registers are read in the new one. */
	if (!updated && updates(d))
		restart(d, 0);
	else if (updated && updates(d))
		d->base_sec = second_now(d), d->base_ns = now_ns(d) - into;
	update_irq(d);
	arm_timers(d);
}

static bool is_time(unsigned reg)
{
	return reg == SECONDS || reg == MINUTES || reg == HOURS ||
	       (reg >= DAY_OF_WEEK && reg <= YEAR) || reg == CENTURY;
}

static void write_register(struct mc146818 *d, unsigned reg, uint8_t v)
{
	if (is_time(reg)) {
		int64_t into = updates(d) ? (now_ns(d) - d->base_ns) % NS_PER_SEC : 0;

		catch_up(d);
		if (updates(d))
			registers_from(d, second_now(d));
		d->cmos[reg] = v;
		if (updates(d))
			restart(d, into);
		arm_timers(d);
		return;
	}
	switch (reg) {
	case REG_A:
		write_a(d, v);
		return;
	case REG_B:
		write_b(d, v);
		return;
	case REG_C:
	case REG_D:
		return;
	default:
		d->cmos[reg] = v;
		return;
	}
}

static uint8_t read_register(struct mc146818 *d, unsigned reg)
{
	if (is_time(reg)) {
		if (updates(d))
			registers_from(d, second_now(d));
		return d->cmos[reg];
	}
	switch (reg) {
	case REG_A:
		return d->cmos[REG_A] | (in_update(d) ? A_UIP : 0);
	case REG_C:
		return read_c(d);
	case REG_D:
		return D_VRT;
	default:
		return d->cmos[reg];
	}
}

static uint64_t rtc_read(void *dev, uint64_t off, unsigned size)
{
	struct mc146818 *d = dev;

	(void)size;
	return off == 0 ? 0xff : read_register(d, d->index & 0x7f);
}

static void rtc_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct mc146818 *d = dev;

	(void)size;
	if (off == 0)
		d->index = (uint8_t)value;
	else
		write_register(d, d->index & 0x7f, (uint8_t)value);
}

void mc146818_set_cmos(struct mc146818 *d, unsigned reg, uint8_t value)
{
	d->cmos[reg] = value;
}

static bool rtc_realize(void *dev, GError **err)
{
	struct mc146818 *d = dev;

	(void)err;
	timer_init(&d->update_timer, rtc_clock(d), "rtc-update", timer_fires, d);
	timer_init(&d->periodic_timer, rtc_clock(d), "rtc-periodic", timer_fires, d);
	d->cmos[REG_A] = A_DIVIDER_32K | 6;
	d->cmos[REG_B] = B_24H;
	device_map(dev, 0, d->iobase);
	return true;
}

/* A reset leaves time and memory; it clears the enables and the flags (page 5). */
static void rtc_reset(void *dev)
{
	struct mc146818 *d = dev;

	d->cmos[REG_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE | BIT(3));
	d->cmos[REG_C] = 0;
	d->index = 0;
	d->owed_ticks = 0;
	arm_timers(d);
}

static void rtc_reset_lines(void *dev)
{
	update_irq(dev);
}

static bool rtc_loaded(void *dev, GError **err)
{
	struct mc146818 *d = dev;
	const int64_t far = INT64_C(1) << 40; /* some 35000 years */

	if (d->base_sec < -far || d->base_sec > far || d->seen_sec < -far || d->seen_sec > far ||
	    d->base_ns < -FARTHEST_NS || d->base_ns > FARTHEST_NS || d->period_ns < -FARTHEST_NS ||
	    d->period_ns > FARTHEST_NS) {
		/* What still runs before the reset computes with them. */
		d->base_sec = d->seen_sec = d->base_ns = d->period_ns = 0;
		return error(err, "saved state: '%s': the time is not on the calendar",
			     d->dev.path);
	}
	d->owed_ticks = MIN_OF(d->owed_ticks, MOST_OWED_TICKS);
	irq_set(&d->irq, d->cmos[REG_B] & d->cmos[REG_C] & (C_PF | C_AF | C_UF));
	return true;
}

static void rtc_print(void *dev, GString *out)
{
	struct mc146818 *d = dev;

	g_string_append_printf(out,
			       "rtc   rate %u; %" PRIu64 " ticks, %" PRIu64 " dropped, %" PRIu64
			       " made up for, %u owed\n",
			       d->cmos[REG_A] & A_RATE, d->injected, d->dropped, d->reinjected,
			       d->owed_ticks);
}

static const char *const clocks[] = { "host", "rt", "vm", NULL };
static const char *const policies[] = { "discard", "slew", NULL };

DEVICE(mc146818,
	.name = "mc146818rtc",
	.desc = "MC146818 real-time clock and CMOS memory",
	.bus = "ISA",
	.board_only = true,
	.props = FIELDS(F(iobase, .init = 0x70), F(clock, .values = clocks, .help = "what drives it"),
			F(lost_tick_policy, .values = policies,
			  .help = "periodic interrupts that were not read in time are lost or made up for")),
	.windows = WINDOWS({ "rtc", WIN_PIO, 2, 1, 1, rtc_read, rtc_write }),
	.state = FIELDS(F(index), F(cmos), F(base_sec), F(base_ns), F(seen_sec), F(period_ns), F(seen_periods),
			F(owed_ticks), F(update_timer), F(periodic_timer)),
	.host = HOST(irq, injected, dropped, reinjected),
	.realize = rtc_realize,
	.reset = rtc_reset,
	.reset_lines = rtc_reset_lines,
	.loaded = rtc_loaded,
	.print = rtc_print);

struct mc146818 *mc146818_new(struct machine *m, struct bus *isa, int64_t base, unsigned clock_kind,
			      GError **err)
{
	struct mc146818 *d = device_new(m, &device_mc146818, NULL);

	device_set_uint(d, "clock", clock_kind);
	if (!device_realize(d, isa, err))
		return NULL;
	d->base_sec = d->seen_sec = base;
	d->base_ns = d->period_ns = now_ns(d);
	return d;
}
