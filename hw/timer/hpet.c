/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * High precision event timer. Source: IA-PC HPET specification 1.0a. The counter is the VM clock at
 * 100 MHz, so its rate is the same on every host. Not modelled: FSB interrupt delivery (not offered
 * in the capabilities).
 */
#include "hw/timer/hpet.h"

#include <string.h>

#define REG_CAP 0x000
#define REG_CONFIG 0x010
#define REG_STATUS 0x020
#define REG_COUNTER 0x0f0
#define REG_TIMER0 0x100
#define CONFIG_ENABLE BIT64(0)
#define CONFIG_LEGACY BIT64(1)
#define TN_LEVEL BIT64(1)
#define TN_ENABLE BIT64(2)
#define TN_PERIODIC BIT64(3)
#define TN_PERIODIC_CAP BIT64(4)
#define TN_SIZE_CAP BIT64(5)
#define TN_SETVAL BIT64(6)
#define TN_32BIT BIT64(8)
#define TN_ROUTE_MASK (UINT64_C(31) << 9)
#define TN_ROUTE(c) ((unsigned)((c) >> 9) & 31)
#define TN_WRITABLE (TN_LEVEL | TN_ENABLE | TN_PERIODIC | TN_SETVAL | TN_32BIT | TN_ROUTE_MASK)
#define NS_PER_TICK (HPET_PERIOD_FS / 1000000)
#define VENDOR 0x8086u

#define D struct hpet_timer
static FIELD_TABLE(hpet_timer_table, HOST(hpet, n), F(config), F(comparator), F(period), F(timer),
		   F(val_set), F(level));
#undef D
#define D struct hpet

static int64_t now_ns(const struct hpet *d)
{
	return clock_ns(vm_clock(d->dev.machine));
}

static bool enabled(const struct hpet *d)
{
	return d->config & CONFIG_ENABLE;
}

static uint64_t counter_now(const struct hpet *d)
{
	return enabled(d) ? d->counter + (uint64_t)(now_ns(d) - d->start_ns) / NS_PER_TICK
			  : d->counter;
}

static bool legacy(const struct hpet *d)
{
	return d->config & CONFIG_LEGACY;
}

static const struct irq *route_of(const struct hpet *d, const struct hpet_timer *t)
{
	unsigned route = TN_ROUTE(t->config);

	/* Legacy replacement overrides the routing of timers 0 and 1 (2.3.5). */
	if (legacy(d) && t->n < 2)
		return t->n == 0 ? &d->legacy_pit : &d->legacy_rtc;
	return route < ARRAY_LEN(d->gsi) ? &d->gsi[route] : NULL;
}

static void drive(struct hpet *d, struct hpet_timer *t, bool level)
{
	const struct irq *irq = route_of(d, t);

	if (!irq || t->level == level)
		return;
	t->level = level;
	irq_set(irq, level);
}

static void interrupt(struct hpet *d, struct hpet_timer *t)
{
	const struct irq *irq = route_of(d, t);

	if (t->config & TN_LEVEL) {
		/* The status bit is set whether or not the interrupt is enabled (2.3.6). */
		d->status |= BIT64(t->n);
		drive(d, t, t->config & TN_ENABLE);
	} else if (t->config & TN_ENABLE && irq) {
		irq_pulse(irq);
	}
}

static uint64_t width_mask(const struct hpet_timer *t)
{
	return t->config & TN_32BIT ? UINT32_MAX : UINT64_MAX;
}

/* Arms for the next match of the comparator. */
static void arm(struct hpet *d, struct hpet_timer *t)
{
	uint64_t now = counter_now(d), ahead = (t->comparator - now) & width_mask(t);

	timer_cancel(&t->timer);
	if (!enabled(d))
		return;
	/* A full turn for a match that is now; and no further than the clock can count. */
	if (!ahead)
		ahead = t->config & TN_32BIT ? UINT64_C(1) << 32 : UINT64_MAX;
	if (ahead < (uint64_t)(INT64_MAX - now_ns(d)) / NS_PER_TICK)
		timer_arm(&t->timer, now_ns(d) + (int64_t)(ahead * NS_PER_TICK) -
					     (now_ns(d) - d->start_ns) % NS_PER_TICK);
}

static void timer_fires(void *opaque, int64_t late_ns)
{
	struct hpet_timer *t = opaque;
	struct hpet *d = t->hpet;
	uint64_t now = counter_now(d);

	(void)late_ns;
	if (t->config & TN_PERIODIC && t->period) {
		/* Periods that passed while the host was late are skipped; the phase is kept. */
		uint64_t behind = (now - t->comparator) & width_mask(t), ahead = 1;

		if (t->period < SHORTEST_PERIOD_NS / NS_PER_TICK)
			ahead = SHORTEST_PERIOD_NS / NS_PER_TICK / t->period + 1;
		t->comparator =
			(t->comparator + (behind / t->period + ahead) * t->period) & width_mask(t);
	}
	interrupt(d, t);
	arm(d, t);
}

static void arm_all(struct hpet *d)
{
	for (unsigned i = 0; i < d->timers; i++)
		arm(d, &d->timer[i]);
}

static void set_legacy(struct hpet *d, bool on)
{
	if (on) {
		irq_raise(&d->disable_pit);
		irq_lower(&d->legacy_rtc);
	} else {
		irq_lower(&d->disable_pit);
		irq_set(&d->legacy_rtc, d->rtc_level);
	}
}

static void write_config(struct hpet *d, uint64_t v)
{
	uint64_t old = d->config;

	v &= CONFIG_ENABLE | CONFIG_LEGACY;
	if (v & CONFIG_ENABLE && !(old & CONFIG_ENABLE)) {
		d->start_ns = now_ns(d);
	} else if (!(v & CONFIG_ENABLE) && old & CONFIG_ENABLE) {
		d->counter = counter_now(d);
		for (unsigned i = 0; i < d->timers; i++)
			drive(d, &d->timer[i], false);
	}
	if ((v ^ old) & CONFIG_LEGACY) {
		for (unsigned i = 0; i < 2; i++)
			drive(d, &d->timer[i], false);
		d->config = v;
		set_legacy(d, v & CONFIG_LEGACY);
	}
	d->config = v;
	arm_all(d);
}

static void write_status(struct hpet *d, uint64_t v)
{
	for (unsigned i = 0; i < d->timers; i++) {
		if (v & d->status & BIT64(i)) {
			d->status &= ~BIT64(i);
			drive(d, &d->timer[i], false);
		}
	}
}

static void write_timer_config(struct hpet *d, struct hpet_timer *t, uint64_t v)
{
	if (t->level)
		drive(d, t, false);
	/* A route that the capabilities do not offer is not taken (2.3.8, field Tn_INT_ROUTE_CNF).
	 */
	if (!(d->intcap & BIT(TN_ROUTE(v))))
		v = (v & ~TN_ROUTE_MASK) | (t->config & TN_ROUTE_MASK);
	t->config = (t->config & ~TN_WRITABLE) | (v & TN_WRITABLE & ~TN_SETVAL);
	if (v & TN_SETVAL)
		t->val_set = true;
	if (t->config & TN_32BIT) {
		t->comparator = (uint32_t)t->comparator;
		t->period = (uint32_t)t->period;
	}
	if (t->config & TN_LEVEL && t->config & TN_ENABLE && d->status & BIT64(t->n))
		drive(d, t, true);
	arm(d, t);
}

/*
 * 2.3.9.2.2: in periodic mode a write sets the period, and the accumulator too when TN_SETVAL was
 * set.
 */
static void write_comparator(struct hpet *d, struct hpet_timer *t, uint64_t v)
{
	v &= width_mask(t);
	if (!(t->config & TN_PERIODIC) || t->val_set)
		t->comparator = v;
	if (t->config & TN_PERIODIC)
		t->period = v;
	t->val_set = false;
	arm(d, t);
}

static uint64_t capabilities(const struct hpet *d)
{
	return (uint64_t)HPET_PERIOD_FS << 32 | VENDOR << 16 | BIT(15) | BIT(13) |
	       (uint64_t)(d->timers - 1) << 8 | 1;
}

static uint64_t read64(struct hpet *d, unsigned reg)
{
	unsigned n = (reg - REG_TIMER0) / 0x20;

	switch (reg) {
	case REG_CAP:
		return capabilities(d);
	case REG_CONFIG:
		return d->config;
	case REG_STATUS:
		return d->status;
	case REG_COUNTER:
		return counter_now(d);
	default:
		if (reg < REG_TIMER0 || n >= d->timers)
			return 0;
		if ((reg & 0x1f) == 0)
			return d->timer[n].config;
		return (reg & 0x1f) == 8 ? d->timer[n].comparator : 0;
	}
}

static void write64(struct hpet *d, unsigned reg, uint64_t v)
{
	unsigned n = (reg - REG_TIMER0) / 0x20;

	switch (reg) {
	case REG_CONFIG:
		write_config(d, v);
		return;
	case REG_STATUS:
		write_status(d, v);
		return;
	case REG_COUNTER:
		/* Writable only while halted (2.3.7). */
		if (!enabled(d))
			d->counter = v;
		return;
	default:
		if (reg < REG_TIMER0 || n >= d->timers)
			return;
		if ((reg & 0x1f) == 0)
			write_timer_config(d, &d->timer[n], v);
		else if ((reg & 0x1f) == 8)
			write_comparator(d, &d->timer[n], v);
	}
}

static uint64_t hpet_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t v = read64(dev, off & ~7u);

	return size == 8 ? v : v >> (8 * (off & 4));
}

/* One half of a register: the other keeps its value, except where a write is an act (status). */
static uint64_t merge_half(uint64_t old, uint64_t value, bool high)
{
	return high ? (old & UINT32_MAX) | value << 32 : (old & ~(uint64_t)UINT32_MAX) | value;
}

/*
 * A periodic comparator is two registers behind one address; a half goes to both it would go to
 * whole.
 */
static void write_periodic_half(struct hpet *d, struct hpet_timer *t, uint64_t value, bool high)
{
	if (t->val_set)
		t->comparator = merge_half(t->comparator, value, high) & width_mask(t);
	t->period = merge_half(t->period, value, high) & width_mask(t);
	/* The halves of one setting come low first. */
	if (high || t->config & TN_32BIT)
		t->val_set = false;
	arm(d, t);
}

static void hpet_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct hpet *d = dev;
	unsigned reg = off & ~7u, n = (reg - REG_TIMER0) / 0x20;
	bool high = off & 4;

	if (size == 8)
		write64(d, reg, value);
	else if (reg >= REG_TIMER0 && n < d->timers && (reg & 0x1f) == 8 &&
		 d->timer[n].config & TN_PERIODIC)
		write_periodic_half(d, &d->timer[n], value, high);
	else
		write64(d, reg, merge_half(reg == REG_STATUS ? 0 : read64(d, reg), value, high));
}

void hpet_rtc_input(void *hpet, int n, int level)
{
	struct hpet *d = hpet;

	(void)n;
	d->rtc_level = level != 0;
	if (!legacy(d))
		irq_set(&d->legacy_rtc, level);
}

static bool hpet_realize(void *dev, GError **err)
{
	struct hpet *d = dev;

	(void)err;
	for (unsigned i = 0; i < HPET_MOST_TIMERS; i++) {
		d->timer[i].hpet = d;
		d->timer[i].n = i;
		timer_init(&d->timer[i].timer, vm_clock(d->dev.machine), "hpet", timer_fires,
			   &d->timer[i]);
	}
	device_map(dev, 0, HPET_BASE);
	return true;
}

static void hpet_reset(void *dev)
{
	struct hpet *d = dev;

	for (unsigned i = 0; i < HPET_MOST_TIMERS; i++) {
		struct hpet_timer *t = &d->timer[i];

		timer_cancel(&t->timer);
		t->config = TN_PERIODIC_CAP | TN_SIZE_CAP | (uint64_t)d->intcap << 32;
		t->comparator = UINT64_MAX;
		t->period = 0;
		t->val_set = t->level = false;
	}
	d->config = d->status = d->counter = 0;
	d->start_ns = 0;
	d->rtc_level = false;
}

static void hpet_reset_lines(void *dev)
{
	set_legacy(dev, false);
}

static bool hpet_loaded(void *dev, GError **err)
{
	struct hpet *d = dev;

	if (d->start_ns < 0 || d->start_ns > now_ns(d))
		return error(err, "saved state: '%s': the counter would run backwards",
			     d->dev.path);
	d->config &= CONFIG_ENABLE | CONFIG_LEGACY;
	for (unsigned i = 0; i < d->timers; i++) {
		struct hpet_timer *t = &d->timer[i];
		const struct irq *irq = route_of(d, t);

		if (t->level && irq)
			irq_set(irq, 1);
	}
	return true;
}

DEVICE(hpet,
	.name = "hpet",
	.desc = "high precision event timer",
	.board_only = true,
	.props = FIELDS(F(timers, .init = 3, .min = 3, .max = HPET_MOST_TIMERS), F(intcap, .init = 0xff0104)),
	.windows = WINDOWS({ "hpet", WIN_MMIO, 0x400, 4, 8, hpet_read, hpet_write }),
	.state = FIELDS(F(config), F(status), F(counter), F(start_ns), F(rtc_level), FO(timer, hpet_timer_table)),
	.host = HOST(gsi, legacy_pit, legacy_rtc, disable_pit),
	.realize = hpet_realize,
	.reset = hpet_reset,
	.reset_lines = hpet_reset_lines,
	.loaded = hpet_loaded);

struct hpet *hpet_new(struct machine *m, GError **err)
{
	struct hpet *d = device_new(m, &device_hpet, NULL);

	return device_realize(d, NULL, err) ? d : NULL;
}
