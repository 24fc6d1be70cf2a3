/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8254 programmable interval timer and port 61h. Source: Intel 8254 data sheet (231164); IBM PC/AT
 * technical reference for port 61h. Counts are computed from the VM clock when they are looked at;
 * a timer runs only for channel 0's interrupt. Not modelled: the one-clock delay between writing a
 * count and its load; a new count in modes 2 and 3 starts at once instead of at the end of the
 * period.
 *
 * Under KVM with an in-kernel irqchip the chip and port 61h are the kernel's; this device then
 * holds the state for saving and loading.
 */
#include "hw/timer/i8254.h"

#include <inttypes.h>
#include <string.h>

enum { RW_LATCH, RW_LSB, RW_MSB, RW_WORD };
/* Values of read_state and write_state; the numbering is KVM's. */
enum { STATE_LSB = 1, STATE_MSB, STATE_WORD0, STATE_WORD1 };

#define D struct chip_pit_channel
static FIELD_TABLE(channel_table, NULL, F(count), F(latched_count), F(count_latched),
		   F(status_latched), F(status), F(read_state), F(write_state), F(write_latch),
		   F(rw_mode), F(mode), F(bcd), F(gate), F(load_ns), F(held_ns), F(counting));
#undef D
#define D struct chip_pit
static FIELD_TABLE(chip_pit_table, NULL, FO(channels, channel_table), F(irq_disabled));
#undef D
#define D struct i8254

static int64_t now_ns(const struct i8254 *d)
{
	return clock_ns(vm_clock(d->dev.machine));
}

/* Clocks since the count was loaded. */
static uint64_t ticks(const struct i8254 *d, const struct chip_pit_channel *c)
{
	int64_t ns = c->held_ns >= 0 ? c->held_ns : now_ns(d) - c->load_ns;

	return muldiv64((uint64_t)MAX_OF(ns, INT64_C(0)), PIT_HZ, NS_PER_SEC);
}

static int64_t ticks_to_ns(uint64_t t)
{
	return (int64_t)muldiv64_ceil(t, NS_PER_SEC, PIT_HZ);
}

static uint32_t modulus(const struct chip_pit_channel *c)
{
	return c->bcd ? 10000 : 65536;
}

static uint16_t to_bcd(uint32_t v)
{
	return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint32_t from_bcd(uint16_t v)
{
	return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100u + (v >> 12) * 1000u;
}

/* The counting element as the guest would read it. */
static uint16_t current_count(const struct i8254 *d, const struct chip_pit_channel *c)
{
	uint64_t t = ticks(d, c);
	uint32_t n = c->count, v;

	if (!c->counting) {
		v = n;
	} else if (c->mode == 2) {
		v = n - (uint32_t)(t % n);
	} else if (c->mode == 3) {
		/*
		 * Two by two, and from the even number below: an odd count is high one clock
		 * longer.
		 */
		uint32_t phase = (uint32_t)(t % n), high = (n + 1) / 2;

		v = (n & ~1u) - 2 * (phase < high ? phase : phase - high);
	} else {
		v = (uint32_t)((n + (uint64_t)modulus(c) - t % modulus(c)) % modulus(c));
	}
	v %= modulus(c);
	return c->bcd ? to_bcd(v) : (uint16_t)v;
}

static bool channel_out(const struct i8254 *d, const struct chip_pit_channel *c)
{
	uint64_t t = ticks(d, c);

	if (!c->counting)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1:
		return t >= c->count;
	case 2:
		return !c->gate || t % c->count != c->count - 1;
	case 3:
		return !c->gate || t % c->count < (c->count + 1) / 2;
	default:
		return t != c->count;
	}
}

bool i8254_out(struct i8254 *d, unsigned channel)
{
	return channel_out(d, &d->s.channels[channel]);
}

/* The next clock after t at which channel 0's OUT rises, 0 if it never does. */
static uint64_t next_rise(const struct chip_pit_channel *c, uint64_t t)
{
	if (!c->counting || c->held_ns >= 0)
		return 0;
	switch (c->mode) {
	case 2:
	case 3:
		return (t / c->count + 1) * c->count;
	case 4:
	case 5:
		return t <= c->count ? c->count + UINT64_C(1) : 0;
	default:
		return t < c->count ? c->count : 0;
	}
}

static void arm(struct i8254 *d, uint64_t after)
{
	const struct chip_pit_channel *c = &d->s.channels[0];
	uint64_t rise = next_rise(c, after),
		 shortest = muldiv64(SHORTEST_PERIOD_NS, PIT_HZ, NS_PER_SEC);

	if ((c->mode == 2 || c->mode == 3) && rise && c->count < shortest)
		rise += shortest / c->count * c->count;
	timer_cancel(&d->timer);
	d->next_edge = (int64_t)rise;
	if (rise && !d->s.irq_disabled && !d->in_kernel)
		timer_arm(&d->timer, c->load_ns + ticks_to_ns(rise));
}

/* After a write to channel 0: the line follows OUT, the timer the next rise. */
static void update_irq(struct i8254 *d)
{
	if (d->s.irq_disabled || d->in_kernel) {
		d->next_edge = 0;
		/* Cut off, it does not hold the line that the HPET shares. */
		if (!d->in_kernel)
			irq_lower(&d->irq);
		return;
	}
	irq_set(&d->irq, channel_out(d, &d->s.channels[0]));
	arm(d, ticks(d, &d->s.channels[0]));
}

#define MOST_LATE_TICKS 10000u /* a guest clock at 1000 Hz is then ten seconds behind */

/*
 * The edge to go on from. delay: every tick comes, late ones at once, up to a bound. discard: those
 * already past do not.
 */
static uint64_t drop_late_ticks(struct i8254 *d, uint64_t edge)
{
	const struct chip_pit_channel *c = &d->s.channels[0];
	uint64_t now = ticks(d, c), behind = now > edge ? (now - edge) / c->count : 0;
	uint64_t keep = d->lost_tick_policy == TICKS_DISCARD ? 0 : MOST_LATE_TICKS;

	if (behind <= keep)
		return edge;
	d->dropped += behind - keep;
	return edge + (behind - keep) * c->count;
}

static void timer_fires(void *opaque, int64_t late_ns)
{
	struct i8254 *d = opaque;
	uint64_t edge = (uint64_t)d->next_edge;

	(void)late_ns;
	/* OUT rises: what was low before need not have been signalled. */
	irq_lower(&d->irq);
	irq_raise(&d->irq);
	d->injected++;
	arm(d, drop_late_ticks(d, edge));
}

static void load_count(struct i8254 *d, unsigned channel, uint16_t value)
{
	struct chip_pit_channel *c = &d->s.channels[channel];
	uint32_t n = c->bcd ? from_bcd(value) : value;

	c->count = n ? n : modulus(c);
	/*
	 * A count of 1 is illegal in modes 2 and 3 (page 9 and 10); taken as the smallest legal
	 * one.
	 */
	if ((c->mode == 2 || c->mode == 3) && c->count < 2)
		c->count = 2;
	/* Modes 1 and 5 wait for the gate. */
	if (c->mode != 1 && c->mode != 5) {
		c->load_ns = now_ns(d);
		c->held_ns = c->gate ? -1 : 0;
		c->counting = true;
	}
	if (channel == 0)
		update_irq(d);
}

static void set_gate(struct i8254 *d, unsigned channel, bool gate)
{
	struct chip_pit_channel *c = &d->s.channels[channel];
	bool rises = gate && !c->gate;

	if (gate == c->gate)
		return;
	switch (c->mode) {
	case 1:
	case 5:
		if (rises && c->count) {
			c->load_ns = now_ns(d);
			c->held_ns = -1;
			c->counting = true;
		}
		break;
	case 2:
	case 3:
		if (rises)
			c->load_ns = now_ns(d);
		c->held_ns = rises ? -1 : now_ns(d) - c->load_ns;
		break;
	default:
		if (rises)
			c->load_ns = now_ns(d) - MAX_OF(c->held_ns, INT64_C(0));
		c->held_ns = rises ? -1 : now_ns(d) - c->load_ns;
		break;
	}
	c->gate = gate;
}

static void latch_count(struct i8254 *d, struct chip_pit_channel *c)
{
	/* Further latches are ignored until the first is read (page 7). */
	if (c->count_latched)
		return;
	c->latched_count = current_count(d, c);
	c->count_latched = c->rw_mode;
}

static void latch_status(struct i8254 *d, struct chip_pit_channel *c)
{
	bool null_count = !c->counting || c->write_state == STATE_WORD1 || ticks(d, c) == 0;

	if (c->status_latched)
		return;
	c->status = (uint8_t)(channel_out(d, c) << 7 | null_count << 6 | c->rw_mode << 4 |
			      c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void read_back(struct i8254 *d, uint8_t v)
{
	for (unsigned i = 0; i < PIT_CHANNELS; i++) {
		if (!(v & BIT(i + 1)))
			continue;
		/* Both bits are active low. */
		if (!(v & BIT(5)))
			latch_count(d, &d->s.channels[i]);
		if (!(v & BIT(4)))
			latch_status(d, &d->s.channels[i]);
	}
}

static void write_control(struct i8254 *d, uint8_t v)
{
	unsigned channel = v >> 6, rw = v >> 4 & 3, mode = v >> 1 & 7;
	struct chip_pit_channel *c;

	if (channel == 3) {
		read_back(d, v);
		return;
	}
	c = &d->s.channels[channel];
	if (rw == RW_LATCH) {
		latch_count(d, c);
		return;
	}
	c->rw_mode = (uint8_t)rw;
	c->read_state = c->write_state = (uint8_t)rw;	 /* STATE_LSB, STATE_MSB, STATE_WORD0 */
	c->mode = (uint8_t)(mode > 5 ? mode - 4 : mode); /* 6 and 7 are 2 and 3 */
	c->bcd = v & 1;
	/* OUT goes to its initial state and waits for a count. */
	c->counting = false;
	c->count_latched = 0;
	c->status_latched = false;
	if (channel == 0)
		update_irq(d);
}

static void write_count(struct i8254 *d, unsigned channel, uint8_t v)
{
	struct chip_pit_channel *c = &d->s.channels[channel];

	switch (c->write_state) {
	case STATE_LSB:
		load_count(d, channel, v);
		break;
	case STATE_MSB:
		load_count(d, channel, (uint16_t)(v << 8));
		break;
	case STATE_WORD0:
		c->write_latch = v;
		c->write_state = STATE_WORD1;
		/* In mode 0 the first byte stops the count (page 8). */
		if (c->mode == 0) {
			c->counting = false;
			if (channel == 0)
				update_irq(d);
		}
		break;
	case STATE_WORD1:
		c->write_state = STATE_WORD0;
		load_count(d, channel, (uint16_t)(c->write_latch | v << 8));
		break;
	default:
		break;
	}
}

static void pit_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	(void)size;
	if (off == 3)
		write_control(dev, (uint8_t)value);
	else
		write_count(dev, (unsigned)off, (uint8_t)value);
}

static uint8_t read_latched(struct chip_pit_channel *c)
{
	uint8_t v;

	switch (c->count_latched) {
	case RW_MSB:
		v = (uint8_t)(c->latched_count >> 8);
		c->count_latched = 0;
		return v;
	case RW_WORD:
		c->count_latched = RW_MSB;
		return (uint8_t)c->latched_count;
	default:
		c->count_latched = 0;
		return (uint8_t)c->latched_count;
	}
}

static uint64_t pit_read(void *dev, uint64_t off, unsigned size)
{
	struct i8254 *d = dev;
	struct chip_pit_channel *c;
	uint16_t count;

	(void)size;
	if (off == 3)
		return 0; /* the control word cannot be read */
	c = &d->s.channels[off];
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (c->count_latched)
		return read_latched(c);
	count = current_count(d, c);
	switch (c->read_state) {
	case STATE_MSB:
		return count >> 8;
	case STATE_WORD0:
		c->read_state = STATE_WORD1;
		return count & 0xff;
	case STATE_WORD1:
		c->read_state = STATE_WORD0;
		return count >> 8;
	default:
		return count & 0xff;
	}
}

#define PORT61_GATE2 BIT(0)
#define PORT61_SPEAKER BIT(1)
#define PORT61_REFRESH BIT(4)
#define PORT61_OUT2 BIT(5)
#define REFRESH_NS 15085 /* channel 1's traditional period, 18 clocks */

static uint64_t port61_read(void *dev, uint64_t off, unsigned size)
{
	struct i8254 *d = dev;

	(void)off;
	(void)size;
	return d->speaker | (now_ns(d) / REFRESH_NS & 1 ? PORT61_REFRESH : 0) |
	       (i8254_out(d, 2) ? PORT61_OUT2 : 0);
}

static void port61_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct i8254 *d = dev;

	(void)off;
	(void)size;
	d->speaker = value & (PORT61_GATE2 | PORT61_SPEAKER);
	set_gate(d, 2, value & PORT61_GATE2);
}

static void put_to_kernel(struct i8254 *d)
{
	struct accel *a = machine_accel(d->dev.machine);

	if (d->in_kernel)
		a->ops->chip_put(a, CHIP_PIT, 0, &d->s);
}

static void fetch(struct i8254 *d)
{
	struct accel *a = machine_accel(d->dev.machine);

	if (d->in_kernel)
		a->ops->chip_get(a, CHIP_PIT, 0, &d->s);
}

/*
 * While the VM is stopped the fields are what counts: the kernel's chip goes on with the host's
 * clock.
 */
static void get_from_kernel(struct i8254 *d)
{
	if (machine_running(d->dev.machine))
		fetch(d);
}

static void pit_run_changed(void *dev, bool running)
{
	if (running)
		put_to_kernel(dev);
	else
		fetch(dev);
}

void i8254_disable_irq(void *pit, int n, int disabled)
{
	struct i8254 *d = pit;

	(void)n;
	get_from_kernel(d);
	d->s.irq_disabled = disabled != 0;
	put_to_kernel(d);
	if (disabled)
		timer_cancel(&d->timer);
	update_irq(d);
}

static bool pit_realize(void *dev, GError **err)
{
	struct i8254 *d = dev;
	struct accel *a = machine_accel(d->dev.machine);

	timer_init(&d->timer, vm_clock(d->dev.machine), "pit", timer_fires, d);
	d->in_kernel = accel_kernel_pic(a);
	if (d->in_kernel && !a->ops->pit_reinject(a, d->lost_tick_policy == TICKS_DELAY) &&
	    d->lost_tick_policy != TICKS_DELAY)
		return error(err,
			     "%s: lost_tick_policy=discard: this kernel's PIT cannot: use "
			     "-machine kernel-irqchip=off",
			     device_name(d));
	if (!d->in_kernel) {
		device_map(dev, 0, d->iobase);
		device_map(dev, 1, 0x61);
	}
	return true;
}

static void pit_reset(void *dev)
{
	struct i8254 *d = dev;

	timer_cancel(&d->timer);
	memset(&d->s, 0, sizeof(d->s));
	for (unsigned i = 0; i < PIT_CHANNELS; i++) {
		struct chip_pit_channel *c = &d->s.channels[i];

		/* Undefined in the data sheet (page 5); this is what firmware has always found. */
		c->mode = 3;
		c->rw_mode = RW_WORD;
		c->read_state = c->write_state = STATE_WORD0;
		c->gate = i != 2;
		c->count = 65536;
		c->load_ns = now_ns(d);
		c->held_ns = c->gate ? -1 : 0;
		c->counting = true;
	}
	d->speaker = 0;
	d->next_edge = 0;
}

static void pit_reset_lines(void *dev)
{
	put_to_kernel(dev);
	update_irq(dev);
}

static void pit_saving(void *dev)
{
	get_from_kernel(dev);
}

static bool pit_loaded(void *dev, GError **err)
{
	struct i8254 *d = dev;

	if (d->next_edge < 0 || d->next_edge > FARTHEST_NS)
		return error(err, "saved state: '%s': the next edge is never", d->dev.path);
	for (unsigned i = 0; i < PIT_CHANNELS; i++) {
		struct chip_pit_channel *c = &d->s.channels[i];

		if (c->count < 1 || c->count > 65536 || c->mode > 5 || c->rw_mode > RW_WORD ||
		    c->count_latched > RW_WORD || c->load_ns < -FARTHEST_NS ||
		    c->load_ns > FARTHEST_NS || c->held_ns < -1 || c->held_ns > FARTHEST_NS ||
		    c->read_state > STATE_WORD1 || c->write_state > STATE_WORD1)
			return error(err, "saved state: '%s': channel %u holds values no 8254 has",
				     d->dev.path, i);
	}
	/* An edge that is further off than any count allows is damage: take the next real one. */
	if (timer_pending(&d->timer) &&
	    (uint64_t)d->next_edge > ticks(d, &d->s.channels[0]) +
					     2 * (modulus(&d->s.channels[0]) + UINT64_C(65536)))
		arm(d, ticks(d, &d->s.channels[0]));
	put_to_kernel(d);
	return true;
}

static void pit_print(void *dev, GString *out)
{
	struct i8254 *d = dev;

	get_from_kernel(d);
	g_string_append_printf(out,
			       "pit   channel 0 mode %u every %u clocks of %u Hz; %" PRIu64
			       " ticks, %" PRIu64 " dropped%s\n",
			       d->s.channels[0].mode, d->s.channels[0].count, PIT_HZ, d->injected,
			       d->dropped,
			       d->in_kernel ? " (in the kernel: not counted here)" : "");
}

static const char *const policies[] = { "delay", "discard", NULL };

DEVICE(i8254,
	.name = "isa-pit",
	.desc = "8254 interval timer and port 61h",
	.bus = "ISA",
	.board_only = true,
	.props = FIELDS(F(iobase, .init = 0x40),
			F(lost_tick_policy, .values = policies,
			  .help = "ticks the guest was too slow for come late or not at all")),
	.windows = WINDOWS({ "pit", WIN_PIO, 4, 1, 1, pit_read, pit_write },
			   { "pcspk", WIN_PIO, 1, 1, 1, port61_read, port61_write }),
	.state = FIELDS(FO(s, chip_pit_table), F(speaker), F(timer), F(next_edge)),
	.host = HOST(irq, in_kernel, injected, dropped),
	.realize = pit_realize,
	.reset = pit_reset,
	.reset_lines = pit_reset_lines,
	.saving = pit_saving,
	.run_changed = pit_run_changed,
	.loaded = pit_loaded,
	.print = pit_print);

struct i8254 *i8254_new(struct machine *m, struct irq irq0, GError **err)
{
	struct i8254 *d = device_new(m, &device_i8254, NULL);

	irq_connect(&d->irq, irq0);
	return device_realize(d, NULL, err) ? d : NULL;
}
