/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Local APIC. Source: Intel SDM 3, chapter 11 (xAPIC, x2APIC, timer), 9.4 (INIT and SIPI). The
 * registers are kept in the architecture's own page layout, which KVM uses too. Not modelled: CMCI,
 * thermal and performance interrupts (their LVT entries store), logical clusters of more than 16
 * APICs in xAPIC mode.
 *
 * Messages (MSI, I/O APIC) arrive as writes to the FEE00000h range; a vCPU's own accesses to the
 * page come the same way and are told apart by the register: offsets 0 to Fh are reserved there and
 * carry messages.
 */
#include "hw/intc/lapic.h"

#include <inttypes.h>
#include <string.h>

#include "core/log.h"
#include "cpu/x86/cpu.h"

/* Register offsets (table 11-1). */
#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_TPR 0x80
#define APIC_APR 0x90
#define APIC_PPR 0xa0
#define APIC_EOI 0xb0
#define APIC_LDR 0xd0
#define APIC_DFR 0xe0
#define APIC_SVR 0xf0
#define APIC_SVR_ENABLE BIT(8)
#define APIC_ISR 0x100
#define APIC_TMR 0x180
#define APIC_IRR 0x200
#define APIC_ESR 0x280
#define APIC_ESR_SEND_ILLEGAL BIT(5)
#define APIC_ESR_RECEIVE_ILLEGAL BIT(6)
#define APIC_ESR_REGISTER BIT(7)
#define APIC_ICR 0x300
#define APIC_ICR_HIGH 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_TIMER_MODE (3u << 17)
#define APIC_LVT_TIMER_PERIODIC (1u << 17)
#define APIC_LVT_TIMER_DEADLINE (2u << 17)
#define APIC_LVT_THERMAL 0x330
#define APIC_LVT_PERF 0x340
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LINT1 0x360
#define APIC_LVT_ERROR 0x370
#define APIC_LVT_MASKED BIT(16)
#define APIC_LVT_REMOTE_IRR BIT(14)
#define APIC_LVT_LEVEL BIT(15)
#define APIC_LVT_PENDING BIT(12)
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_CURRENT 0x390
#define APIC_TIMER_DIVIDE 0x3e0
#define APIC_SELF_IPI 0x3f0
#define VERSION_WORD 0x50014 /* integrated APIC, six LVT entries */
#define MSR_X2APIC_FIRST 0x800
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0

enum {
	DELIVER_FIXED,
	DELIVER_LOWEST,
	DELIVER_SMI,
	DELIVER_3,
	DELIVER_NMI,
	DELIVER_INIT,
	DELIVER_SIPI,
	DELIVER_EXTINT
};

#define D struct chip_lapic
static FIELD_TABLE(chip_lapic_table, NULL, F(regs));
#undef D
#define D struct lapic

static uint32_t get(const struct lapic *d, unsigned reg)
{
	return (uint32_t)load_le(d->s.regs + reg, 4);
}

static void set(struct lapic *d, unsigned reg, uint32_t v)
{
	store_le(d->s.regs + reg, v, 4);
}

static bool x2apic(const struct lapic *d)
{
	return (d->base & (APIC_BASE_ENABLE | APIC_BASE_EXTD)) ==
	       (APIC_BASE_ENABLE | APIC_BASE_EXTD);
}

static bool hw_enabled(const struct lapic *d)
{
	return d->base & APIC_BASE_ENABLE;
}

static bool sw_enabled(const struct lapic *d)
{
	return hw_enabled(d) && get(d, APIC_SVR) & APIC_SVR_ENABLE;
}

static uint32_t apic_id(const struct lapic *d)
{
	return x2apic(d) ? get(d, APIC_ID) : get(d, APIC_ID) >> 24;
}

/* The 256-bit registers ISR, TMR and IRR: 32 bits in every 16 bytes. */
static void set_bit(struct lapic *d, unsigned reg, unsigned vector, bool on)
{
	unsigned at = reg + (vector >> 5) * 16;
	uint32_t v = get(d, at), bit = BIT(vector & 31);

	set(d, at, on ? v | bit : v & ~bit);
}

static bool get_bit(const struct lapic *d, unsigned reg, unsigned vector)
{
	return get(d, reg + (vector >> 5) * 16) & BIT(vector & 31);
}

static int highest(const struct lapic *d, unsigned reg)
{
	for (int i = 7; i >= 0; i--) {
		uint32_t v = get(d, reg + (unsigned)i * 16);

		if (v)
			return i * 32 + 31 - __builtin_clz(v);
	}
	return -1;
}

/* 11.8.3.1 */
static uint8_t processor_priority(const struct lapic *d)
{
	int isr = highest(d, APIC_ISR);
	uint8_t tpr = (uint8_t)get(d, APIC_TPR), in_service = isr < 0 ? 0 : (uint8_t)isr;

	return (tpr & 0xf0) >= (in_service & 0xf0) ? tpr : in_service & 0xf0;
}

static bool accepts_extint(const struct lapic *d)
{
	uint32_t lvt = get(d, APIC_LVT_LINT0);

	/* A disabled APIC lets LINT0 through as INTR. */
	if (!hw_enabled(d))
		return d->dev.machine && d->vcpu && d->vcpu->index == 0;
	return !(lvt & APIC_LVT_MASKED) && (lvt >> 8 & 7) == DELIVER_EXTINT;
}

static int deliverable(const struct lapic *d)
{
	int v = sw_enabled(d) ? highest(d, APIC_IRR) : -1;

	return v >= 0 && (v & 0xf0) > (processor_priority(d) & 0xf0) ? v : -1;
}

bool lapic_has_interrupt(struct lapic *d)
{
	return deliverable(d) >= 0 || (d->lint & 1 && accepts_extint(d));
}

static void update(struct lapic *d)
{
	if (!d->vcpu)
		return;
	/* The interrupt in service may have ended without a word: the vCPU looks. */
	if (lapic_has_interrupt(d) || (d->pv_eoi_offered && highest(d, APIC_IRR) >= 0))
		vcpu_post(d->vcpu, EV_INTR);
	else
		__atomic_fetch_and(&d->vcpu->events, ~(uint32_t)EV_INTR, __ATOMIC_ACQ_REL);
}

int lapic_ack(struct lapic *d)
{
	int v = deliverable(d);

	if (v >= 0) {
		set_bit(d, APIC_IRR, (unsigned)v, false);
		set_bit(d, APIC_ISR, (unsigned)v, true);
	} else if (d->lint & 1 && accepts_extint(d) && d->bus->pics) {
		v = i8259_pair_ack(d->bus->pics);
	}
	update(d);
	return v;
}

static void raise_error(struct lapic *d, uint8_t bit);

/* Accepts a message at this APIC (11.8.4). */
static void accept(struct lapic *d, unsigned mode, unsigned vector, bool level)
{
	TRACE(lapic_accept, "apic %u mode %u vector 0x%x", apic_id(d), mode, vector);
	switch (mode) {
	case DELIVER_FIXED:
	case DELIVER_LOWEST:
		if (vector < 16) {
			raise_error(d, APIC_ESR_RECEIVE_ILLEGAL);
			return;
		}
		if (!sw_enabled(d))
			return;
		set_bit(d, APIC_IRR, vector, true);
		set_bit(d, APIC_TMR, vector, level);
		update(d);
		return;
	case DELIVER_SMI:
		if (d->vcpu)
			vcpu_post(d->vcpu, EV_SMI);
		return;
	case DELIVER_NMI:
		if (d->vcpu)
			vcpu_post(d->vcpu, EV_NMI);
		return;
	case DELIVER_INIT:
		d->wait_for_sipi = true;
		if (d->vcpu)
			vcpu_post(d->vcpu, EV_INIT);
		return;
	case DELIVER_SIPI:
		if (!d->wait_for_sipi)
			return;
		d->wait_for_sipi = false;
		if (d->vcpu) {
			d->vcpu->sipi_vector = (uint8_t)vector;
			vcpu_post(d->vcpu, EV_SIPI);
		}
		return;
	case DELIVER_EXTINT:
		d->lint |= 1;
		update(d);
		return;
	default:
		return;
	}
}

static bool matches_logical(const struct lapic *d, uint32_t dest)
{
	uint32_t ldr = get(d, APIC_LDR);

	if (x2apic(d))
		return (dest >> 16) == (ldr >> 16) && dest & ldr & 0xffff;
	if (dest == 0xff)
		return true;
	ldr >>= 24;
	if (get(d, APIC_DFR) >> 28 == 0xf)
		return dest & ldr;
	return (dest >> 4) == (ldr >> 4) && dest & ldr & 0xf;
}

static bool matches(const struct lapic *d, uint32_t dest, bool logical, bool wide)
{
	if (dest == (wide ? UINT32_MAX : 0xffu))
		return true;
	return logical ? matches_logical(d, dest) : apic_id(d) == dest;
}

/*
 * Sends to all that match; lowest priority picks one (11.6.2.4: here the least PPR, then the
 * first).
 */
static void deliver(struct apic_bus *b, uint32_t dest, bool logical, bool wide, unsigned mode,
		    unsigned vector, bool level)
{
	struct lapic *best = NULL;

	for (unsigned i = 0; i < b->n; i++) {
		struct lapic *d = b->lapics[i];

		if (!hw_enabled(d) || !matches(d, dest, logical, wide))
			continue;
		if (mode != DELIVER_LOWEST) {
			accept(d, mode, vector, level);
			continue;
		}
		if (sw_enabled(d) && (!best || processor_priority(d) < processor_priority(best)))
			best = d;
	}
	if (best)
		accept(best, mode, vector, level);
}

static void receive_msi(struct apic_bus *b, uint64_t off, uint32_t data)
{
	deliver(b, off >> 12 & 0xff, off & 4, false, data >> 8 & 7, data & 0xff, data & BIT(15));
}

static void send_ipi(struct lapic *d)
{
	uint32_t icr = get(d, APIC_ICR), dest = get(d, APIC_ICR_HIGH);
	unsigned mode = icr >> 8 & 7, vector = icr & 0xff;
	bool logical = icr & BIT(11), assert_level = icr & BIT(14), level = icr & BIT(15);
	bool wide = x2apic(d);

	dest = wide ? dest : dest >> 24;
	if (mode == DELIVER_INIT && level && !assert_level)
		return; /* INIT level de-assert: synchronises arbitration ids, which we do not have
			 */
	if ((mode == DELIVER_FIXED || mode == DELIVER_LOWEST) && vector < 16) {
		raise_error(d, APIC_ESR_SEND_ILLEGAL);
		return;
	}
	switch (icr >> 18 & 3) { /* shorthand */
	case 0:
		deliver(d->bus, dest, logical, wide, mode, vector, false);
		return;
	case 1:
		accept(d, mode, vector, false);
		return;
	default:
		for (unsigned i = 0; i < d->bus->n; i++)
			if (d->bus->lapics[i] != d || (icr >> 18 & 3) == 2)
				accept(d->bus->lapics[i], mode, vector, false);
	}
}

static void deliver_lvt(struct lapic *d, unsigned reg)
{
	uint32_t lvt = get(d, reg);
	unsigned mode =
		reg == APIC_LVT_TIMER || reg == APIC_LVT_ERROR ? DELIVER_FIXED : lvt >> 8 & 7;

	if (lvt & APIC_LVT_MASKED)
		return;
	if (mode == DELIVER_EXTINT) {
		update(d);
		return;
	}
	if (reg == APIC_LVT_LINT0 && lvt & APIC_LVT_LEVEL && mode == DELIVER_FIXED) {
		if (lvt & APIC_LVT_REMOTE_IRR)
			return;
		set(d, reg, lvt | APIC_LVT_REMOTE_IRR);
	}
	accept(d, mode, lvt & 0xff, reg == APIC_LVT_LINT0 && lvt & APIC_LVT_LEVEL);
}

static void raise_error(struct lapic *d, uint8_t bit)
{
	bool first = !(d->esr_pending & bit);

	d->esr_pending |= bit;
	/* The error vector itself may be illegal: it does not raise itself again. */
	if (first && (get(d, APIC_LVT_ERROR) & 0xff) >= 16)
		deliver_lvt(d, APIC_LVT_ERROR);
}

void lapic_set_lint(struct lapic *d, unsigned pin, int level)
{
	bool rises = level && !(d->lint & BIT(pin));

	d->lint = (uint8_t)(level ? d->lint | BIT(pin) : d->lint & ~BIT(pin));
	if (pin == 0) {
		uint32_t lvt = get(d, APIC_LVT_LINT0);
		unsigned mode = lvt >> 8 & 7;

		if (!level && lvt & APIC_LVT_LEVEL)
			set(d, APIC_LVT_LINT0, lvt & ~APIC_LVT_REMOTE_IRR);
		if (hw_enabled(d) && mode != DELIVER_EXTINT && level &&
		    (rises || lvt & APIC_LVT_LEVEL))
			deliver_lvt(d, APIC_LVT_LINT0);
		update(d);
	} else if (rises) {
		deliver_lvt(d, APIC_LVT_LINT1);
	}
}

static void end_of_interrupt(struct lapic *d)
{
	int v = highest(d, APIC_ISR);

	if (v < 0)
		return;
	set_bit(d, APIC_ISR, (unsigned)v, false);
	/* Suppressed broadcasts (SVR bit 12) are not offered in the version register. */
	if (get_bit(d, APIC_TMR, (unsigned)v)) {
		if ((get(d, APIC_LVT_LINT0) & 0xff) == (uint32_t)v)
			set(d, APIC_LVT_LINT0, get(d, APIC_LVT_LINT0) & ~APIC_LVT_REMOTE_IRR);
		if (d->bus->eoi)
			d->bus->eoi(d->bus->eoi_opaque, v);
	}
	update(d);
}

/*
 * Paravirtual EOI (Linux Documentation/virt/kvm/x86/msr.rst, MSR_KVM_EOI_EN): bit 0 of a word in
 * guest memory tells the guest that it may end the interrupt in service by clearing the bit. On the
 * vCPU's thread, or while it does not run: the guest's own access to the word is not atomic.
 */
#define PV_EOI_BIT 1

static void take_pv_eoi(struct lapic *d)
{
	struct space *mem = &d->dev.machine->mem;
	bool ended;

	if (!d->pv_eoi_offered)
		return;
	d->pv_eoi_offered = false;
	ended = !(space_read_le(mem, d->pv_eoi_address, 4) & PV_EOI_BIT);
	space_write_le(mem, d->pv_eoi_address, 0, 4);
	if (ended)
		end_of_interrupt(d);
}

/* Not where the end matters to others: to the IOAPIC, or for what waits behind it. */
static void offer_pv_eoi(struct lapic *d, unsigned vector)
{
	unsigned in_service = 0;

	for (unsigned i = 0; i < 8; i++)
		in_service += (unsigned)__builtin_popcount(get(d, APIC_ISR + i * 16));
	if (!d->pv_eoi_address || in_service != 1 || !get_bit(d, APIC_ISR, vector) ||
	    get_bit(d, APIC_TMR, vector) || highest(d, APIC_IRR) >= 0)
		return;
	space_write_le(&d->dev.machine->mem, d->pv_eoi_address, PV_EOI_BIT, 4);
	d->pv_eoi_offered = true;
}

static void intc_pv_eoi(void *opaque, uint64_t address)
{
	struct lapic *d = opaque;

	take_pv_eoi(d);
	d->pv_eoi_address = address;
}

/* timer: the bus clock is 1 GHz, so a count is `divider` ns. */

static unsigned divider(const struct lapic *d)
{
	uint32_t v = get(d, APIC_TIMER_DIVIDE), code = (v & 3) | (v >> 1 & 4);

	return code == 7 ? 1 : 2u << code;
}

static int64_t now_ns(const struct lapic *d)
{
	return clock_ns(vm_clock(d->dev.machine));
}

static uint32_t timer_mode(const struct lapic *d)
{
	return get(d, APIC_LVT_TIMER) & APIC_LVT_TIMER_MODE;
}

static uint32_t current_count(const struct lapic *d)
{
	int64_t left;

	if (timer_mode(d) == APIC_LVT_TIMER_DEADLINE || !timer_pending(&d->timer))
		return 0;
	left = d->timer.deadline - now_ns(d);
	return left <= 0 ? 0 : (uint32_t)((uint64_t)left / divider(d));
}

/* The VM clock's time at which the TSC will be `tsc`. */
static int64_t tsc_to_ns(const struct lapic *d, uint64_t tsc)
{
	struct accel *a = machine_accel(d->dev.machine);
	uint64_t khz = d->tsc_khz, now, ns;

	if (!d->vcpu || !a || !a->ops->tsc)
		return (int64_t)MIN_OF(muldiv64_ceil(tsc, 1000000, khz), (uint64_t)INT64_MAX);
	now = a->ops->tsc(d->vcpu, &khz);
	ns = tsc > now ? muldiv64_ceil(tsc - now, 1000000, khz) : 0;
	return now_ns(d) + (int64_t)MIN_OF(ns, (uint64_t)FARTHEST_NS);
}

static void start_timer(struct lapic *d, uint32_t count)
{
	timer_cancel(&d->timer);
	if (count && timer_mode(d) != APIC_LVT_TIMER_DEADLINE)
		timer_arm(&d->timer, now_ns(d) + (int64_t)count * divider(d));
}

static void start_deadline(struct lapic *d)
{
	timer_cancel(&d->timer);
	if (timer_mode(d) == APIC_LVT_TIMER_DEADLINE && d->tsc_deadline)
		timer_arm(&d->timer, tsc_to_ns(d, d->tsc_deadline));
}

static void timer_fires(void *opaque, int64_t late_ns)
{
	struct lapic *d = opaque;
	int64_t period = (int64_t)get(d, APIC_TIMER_INITIAL) * divider(d);

	if (timer_mode(d) == APIC_LVT_TIMER_DEADLINE) {
		d->tsc_deadline = 0;
	} else if (timer_mode(d) == APIC_LVT_TIMER_PERIODIC && period) {
		/* A period that has passed while the host was late is dropped, the phase is kept.
		 */
		int64_t ahead = (SHORTEST_PERIOD_NS + period - 1) / period * period;

		late_ns %= period;
		timer_arm(&d->timer, now_ns(d) - late_ns + MAX_OF(ahead, period));
	}
	deliver_lvt(d, APIC_LVT_TIMER);
}

/* registers. */

static uint32_t read_register(struct lapic *d, unsigned reg)
{
	switch (reg) {
	case APIC_PPR:
		return processor_priority(d);
	case APIC_TIMER_CURRENT:
		return current_count(d);
	case APIC_EOI:
	case APIC_SELF_IPI:
		return 0;
	default:
		return get(d, reg);
	}
}

static const uint32_t lvt_mask[] = {
	[0] = 0x710ff, /* timer: vector, pending (read only), mask, mode */
	[1] = 0x117ff, [2] = 0x117ff, [3] = 0x1b7ff, [4] = 0x1b7ff, [5] = 0x110ff,
};

static void write_lvt(struct lapic *d, unsigned reg, uint32_t v)
{
	uint32_t old = get(d, reg),
		 mask = lvt_mask[(reg - APIC_LVT_TIMER) / 16] & ~APIC_LVT_PENDING;

	v &= mask;
	if (!sw_enabled(d))
		v |= APIC_LVT_MASKED;
	set(d, reg, v | (old & APIC_LVT_REMOTE_IRR));
	if (reg == APIC_LVT_TIMER && (old ^ v) & APIC_LVT_TIMER_MODE) {
		/* Changing to or from deadline mode disarms (11.5.4.1). */
		if ((old & APIC_LVT_TIMER_MODE) == APIC_LVT_TIMER_DEADLINE ||
		    timer_mode(d) == APIC_LVT_TIMER_DEADLINE) {
			timer_cancel(&d->timer);
			d->tsc_deadline = 0;
			set(d, APIC_TIMER_INITIAL, 0);
		}
	}
	if (reg == APIC_LVT_LINT0)
		update(d);
}

static void write_svr(struct lapic *d, uint32_t v)
{
	set(d, APIC_SVR, v & 0x1ff);
	/* Disabling by software masks every LVT entry (11.4.7.2). */
	if (!(v & APIC_SVR_ENABLE))
		for (unsigned r = APIC_LVT_TIMER; r <= APIC_LVT_ERROR; r += 16)
			set(d, r, get(d, r) | APIC_LVT_MASKED);
	update(d);
}

static bool write_register(struct lapic *d, unsigned reg, uint32_t v)
{
	switch (reg) {
	case APIC_ID:
		set(d, reg, v & 0xff000000);
		return true;
	case APIC_TPR:
		set(d, reg, v & 0xff);
		update(d);
		return true;
	case APIC_EOI:
		end_of_interrupt(d);
		return true;
	case APIC_LDR:
		set(d, reg, v & 0xff000000);
		return true;
	case APIC_DFR:
		set(d, reg, v | 0x0fffffff);
		return true;
	case APIC_SVR:
		write_svr(d, v);
		return true;
	case APIC_ESR:
		set(d, reg, d->esr_pending);
		d->esr_pending = 0;
		return true;
	case APIC_ICR:
		set(d, reg, v & 0xccfff & ~BIT(12)); /* delivery is at once: never pending */
		send_ipi(d);
		return true;
	case APIC_ICR_HIGH:
		set(d, reg, v & 0xff000000);
		return true;
	case APIC_LVT_TIMER:
	case APIC_LVT_THERMAL:
	case APIC_LVT_PERF:
	case APIC_LVT_LINT0:
	case APIC_LVT_LINT1:
	case APIC_LVT_ERROR:
		write_lvt(d, reg, v);
		return true;
	case APIC_TIMER_INITIAL:
		if (timer_mode(d) == APIC_LVT_TIMER_DEADLINE)
			return true;
		set(d, reg, v);
		start_timer(d, v);
		return true;
	case APIC_TIMER_DIVIDE: {
		uint32_t left = current_count(d);

		set(d, reg, v & 0xb);
		if (left)
			start_timer(d, left);
		return true;
	}
	default:
		return false;
	}
}

static bool register_exists(unsigned reg)
{
	switch (reg) {
	case APIC_ID:
	case APIC_VERSION:
	case APIC_TPR:
	case APIC_APR:
	case APIC_PPR:
	case APIC_EOI:
	case APIC_LDR:
	case APIC_DFR:
	case APIC_SVR:
	case APIC_ESR:
	case APIC_ICR:
	case APIC_ICR_HIGH:
	case APIC_TIMER_INITIAL:
	case APIC_TIMER_CURRENT:
	case APIC_TIMER_DIVIDE:
		return true;
	default:
		return (reg >= APIC_ISR && reg < APIC_ESR) ||
		       (reg >= APIC_LVT_TIMER && reg <= APIC_LVT_ERROR);
	}
}

/* The APIC whose vCPU is accessing the page; devices and tests without one get the first. */
static struct lapic *addressed(struct lapic *any)
{
	struct vcpu *v = vcpu_current();

	return v && v->index < any->bus->n ? any->bus->lapics[v->index] : any;
}

static uint64_t page_read(void *dev, uint64_t off, unsigned size)
{
	struct lapic *d = addressed(dev);
	unsigned reg = off & 0xff0;

	(void)size;
	if (d->vcpu && vcpu_current() == d->vcpu)
		take_pv_eoi(d);
	if (off > 0xfff || !hw_enabled(d) || x2apic(d))
		return UINT32_MAX;
	if (off & 0xf || !register_exists(reg)) {
		raise_error(d, APIC_ESR_REGISTER);
		return 0;
	}
	return read_register(d, reg);
}

static void page_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct lapic *d = addressed(dev);
	unsigned reg = off & 0xff0;

	(void)size;
	if (off > 0xfff || reg == 0) {
		receive_msi(d->bus, off, (uint32_t)value);
		return;
	}
	if (d->vcpu && vcpu_current() == d->vcpu)
		take_pv_eoi(d);
	if (!hw_enabled(d) || x2apic(d) || off & 0xf)
		return;
	if (!write_register(d, reg, (uint32_t)value) && !register_exists(reg))
		raise_error(d, APIC_ESR_REGISTER);
}

bool lapic_msr_read(struct lapic *d, uint32_t msr, uint64_t *value)
{
	unsigned reg = (msr - MSR_X2APIC_FIRST) << 4;

	if (msr == MSR_TSC_DEADLINE) {
		*value = timer_mode(d) == APIC_LVT_TIMER_DEADLINE ? d->tsc_deadline : 0;
		return true;
	}
	/* 11.12.1.2: no DFR, no high ICR half, EOI and self IPI are write-only. */
	if (!x2apic(d) || reg > 0x3f0 || !register_exists(reg) || reg == APIC_DFR ||
	    reg == APIC_ICR_HIGH || reg == APIC_EOI || reg == APIC_APR)
		return false;
	*value = read_register(d, reg);
	if (reg == APIC_ICR)
		*value |= (uint64_t)get(d, APIC_ICR_HIGH) << 32;
	return true;
}

bool lapic_msr_write(struct lapic *d, uint32_t msr, uint64_t value)
{
	unsigned reg = (msr - MSR_X2APIC_FIRST) << 4;

	if (msr == MSR_TSC_DEADLINE) {
		if (timer_mode(d) == APIC_LVT_TIMER_DEADLINE) {
			d->tsc_deadline = value;
			start_deadline(d);
		}
		return true;
	}
	if (!x2apic(d))
		return false;
	if (reg == APIC_ICR) {
		set(d, APIC_ICR_HIGH, (uint32_t)(value >> 32));
		return write_register(d, reg, (uint32_t)value);
	}
	if (value >> 32)
		return false;
	switch (reg) {
	case APIC_SELF_IPI:
		if ((value & 0xff) < 16)
			raise_error(d, APIC_ESR_SEND_ILLEGAL);
		else
			accept(d, DELIVER_FIXED, value & 0xff, false);
		return true;
	case APIC_EOI:
	case APIC_ESR:
		return !value && write_register(d, reg, 0);
	case APIC_ID:
	case APIC_LDR:
	case APIC_DFR:
	case APIC_ICR_HIGH:
		return false;
	default:
		return write_register(d, reg, (uint32_t)value);
	}
}

/* life. */

/* INIT and power-up clear the same registers but for the id (11.4.7.1). */
static void reset_registers(struct lapic *d)
{
	timer_cancel(&d->timer);
	memset(d->s.regs, 0, sizeof(d->s.regs));
	set(d, APIC_ID, x2apic(d) ? d->initial_id : d->initial_id << 24);
	set(d, APIC_VERSION, VERSION_WORD);
	set(d, APIC_DFR, UINT32_MAX);
	set(d, APIC_SVR, 0xff);
	for (unsigned r = APIC_LVT_TIMER; r <= APIC_LVT_ERROR; r += 16)
		set(d, r, APIC_LVT_MASKED);
	d->tsc_deadline = 0;
	d->esr_pending = 0;
}

static uint32_t x2apic_ldr(uint32_t id)
{
	return (id >> 4) << 16 | BIT(id & 15);
}

bool lapic_set_base(struct lapic *d, uint64_t base)
{
	bool was_x2 = x2apic(d), was_on = hw_enabled(d);
	bool on = base & APIC_BASE_ENABLE, x2 = base & APIC_BASE_EXTD;

	/*
	 * Figure 11-27: x2APIC needs the enable bit, leaves only to off, and is entered only from
	 * xAPIC.
	 */
	if ((x2 && !on) || (was_x2 && on && !x2) || (!was_on && on && x2))
		return false;
	d->base = base;
	if (was_on && !on) {
		reset_registers(d);
	} else if (!was_x2 && x2apic(d)) {
		set(d, APIC_ID, d->initial_id);
		set(d, APIC_LDR, x2apic_ldr(d->initial_id));
	}
	update(d);
	return true;
}

static int intc_ack(void *opaque)
{
	struct lapic *d = opaque;
	int v;

	take_pv_eoi(d);
	v = lapic_ack(d);
	if (v >= 0)
		offer_pv_eoi(d, (unsigned)v);
	return v;
}

static uint8_t intc_get_tpr(void *opaque)
{
	return (uint8_t)(get(opaque, APIC_TPR) >> 4);
}

static void intc_set_tpr(void *opaque, uint8_t cr8)
{
	struct lapic *d = opaque;

	if (get(d, APIC_TPR) >> 4 == cr8)
		return;
	set(d, APIC_TPR, (uint32_t)(cr8 & 15) << 4);
	update(d);
}

static uint64_t intc_get_base(void *opaque)
{
	return ((struct lapic *)opaque)->base;
}

static void intc_set_base(void *opaque, uint64_t base)
{
	struct lapic *d = opaque;

	if (base != d->base)
		lapic_set_base(d, base);
}

static bool intc_msr_read(void *opaque, uint32_t msr, uint64_t *value)
{
	struct lapic *d = opaque;

	take_pv_eoi(d);
	if (msr != MSR_APIC_BASE)
		return lapic_msr_read(d, msr, value);
	*value = d->base;
	return true;
}

static bool intc_msr_write(void *opaque, uint32_t msr, uint64_t value)
{
	struct lapic *d = opaque;

	take_pv_eoi(d);
	return msr == MSR_APIC_BASE ? lapic_set_base(d, value) : lapic_msr_write(d, msr, value);
}

/* Split irqchip: the local APICs are the kernel's, but ExtINT comes from our PICs. */
static int split_ack(void *opaque)
{
	struct lapic *d = opaque;
	int v = d->bus->pics && i8259_pair_pending(d->bus->pics) ? i8259_pair_ack(d->bus->pics)
								 : -1;

	if (!d->bus->pics || !i8259_pair_pending(d->bus->pics))
		__atomic_fetch_and(&d->vcpu->events, ~(uint32_t)EV_INTR, __ATOMIC_ACQ_REL);
	return v;
}

static uint64_t msi_read(void *opaque, uint64_t off, unsigned size)
{
	(void)opaque;
	(void)off;
	return ones(size);
}

/* The kernel's APICs get messages through it. */
static void kernel_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct lapic *d = dev;
	struct accel *a = machine_accel(d->dev.machine);
	struct msi_message msg = { .address = LAPIC_BASE + off, .data = (uint32_t)value };

	(void)size;
	a->ops->send_msi(a, &msg);
}

static uint64_t window_read(void *dev, uint64_t off, unsigned size)
{
	return ((struct lapic *)dev)->in_kernel ? msi_read(dev, off, size)
						: page_read(dev, off, size);
}

static void window_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	if (((struct lapic *)dev)->in_kernel)
		kernel_write(dev, off, value, size);
	else
		page_write(dev, off, value, size);
}

static bool lapic_realize(void *dev, GError **err)
{
	struct lapic *d = dev;

	(void)err;
	timer_init(&d->timer, vm_clock(d->dev.machine), "lapic", timer_fires, d);
	d->in_kernel = accel_kernel_lapic(machine_accel(d->dev.machine));
	/* An EOI here makes the I/O APIC send its next message here: re-entry is how it works. */
	d->dev.regions[0].owner = NULL;
	/* One window for all: the page is the same address for every vCPU. */
	if (d->bus->n == 1)
		device_map(dev, 0, LAPIC_BASE);
	return true;
}

static void lapic_unrealize(void *dev)
{
	timer_cancel(&((struct lapic *)dev)->timer);
}

static void lapic_reset(void *dev)
{
	struct lapic *d = dev;

	d->base = LAPIC_BASE | APIC_BASE_ENABLE | (d->vcpu && d->vcpu->index ? 0 : APIC_BASE_BSP);
	reset_registers(d);
	d->lint = 0;
	d->pv_eoi_offered = false;
	d->pv_eoi_address = 0;
	d->wait_for_sipi = d->vcpu && d->vcpu->index != 0;
	/* Firmware expects the BSP in virtual wire mode: the PIC's interrupts pass through LINT0.
	 */
	if (!d->wait_for_sipi)
		set(d, APIC_LVT_LINT0, 0x700);
}

static void put_to_kernel(struct lapic *d)
{
	struct accel *a = machine_accel(d->dev.machine);

	if (d->in_kernel && d->vcpu)
		a->ops->chip_put(a, CHIP_LAPIC, d->vcpu->index, &d->s);
}

static void lapic_reset_lines(void *dev)
{
	struct lapic *d = dev;

	if (d->in_kernel)
		put_to_kernel(d);
	else
		update(d);
}

static void lapic_saving(void *dev)
{
	struct lapic *d = dev;
	struct accel *a = machine_accel(d->dev.machine);

	if (d->in_kernel && d->vcpu) {
		a->ops->chip_get(a, CHIP_LAPIC, d->vcpu->index, &d->s);
		vcpu_sync(d->vcpu, VS_SREGS);
		d->base = ((struct x86_cpu *)d->vcpu)->apic_base;
	} else {
		take_pv_eoi(d);
		set(d, APIC_TIMER_CURRENT, current_count(d));
	}
}

static bool lapic_loaded(void *dev, GError **err)
{
	struct lapic *d = dev;

	if ((d->base & (APIC_BASE_ENABLE | APIC_BASE_EXTD)) == APIC_BASE_EXTD)
		return error(err,
			     "saved state: '%s': APIC base 0x%" PRIx64 " is no mode of an APIC",
			     d->dev.path, d->base);
	d->lint &= 3;
	d->pv_eoi_offered = false;
	if (d->in_kernel) {
		put_to_kernel(d);
		return true;
	}
	if (timer_mode(d) == APIC_LVT_TIMER_DEADLINE)
		start_deadline(d);
	else
		start_timer(d, get(d, APIC_TIMER_CURRENT));
	update(d);
	return true;
}

static void print_bits(const struct lapic *d, const char *name, unsigned reg, GString *out)
{
	g_string_append_printf(out, "%s", name);
	for (unsigned v = 0; v < 256; v++)
		if (get_bit(d, reg, v))
			g_string_append_printf(out, " %u", v);
	g_string_append_c(out, '\n');
}

static void lapic_print(void *dev, GString *out)
{
	static const char *const lvts[] = { "LVTT", "LVTTHMR", "LVTPC", "LVT0", "LVT1", "LVTERR" };
	struct lapic *d = dev;

	lapic_saving(dev);
	g_string_append_printf(out,
			       "apic %u: id 0x%x SVR 0x%03x TPR 0x%02x PPR 0x%02x ESR 0x%02x LDR "
			       "0x%08x DFR 0x%08x\n",
			       d->vcpu ? d->vcpu->index : 0, apic_id(d), get(d, APIC_SVR),
			       get(d, APIC_TPR), processor_priority(d), get(d, APIC_ESR),
			       get(d, APIC_LDR), get(d, APIC_DFR));
	for (unsigned i = 0; i < ARRAY_LEN(lvts); i++)
		g_string_append_printf(out, " %s 0x%08x", lvts[i], get(d, APIC_LVT_TIMER + 16 * i));
	g_string_append_printf(out, "\n timer divide 0x%x initial %u current %u\n",
			       get(d, APIC_TIMER_DIVIDE), get(d, APIC_TIMER_INITIAL),
			       get(d, APIC_TIMER_CURRENT));
	g_string_append_printf(out, " ICR 0x%08x ICR2 0x%08x\n", get(d, APIC_ICR),
			       get(d, APIC_ICR_HIGH));
	print_bits(d, " ISR", APIC_ISR, out);
	print_bits(d, " IRR", APIC_IRR, out);
}

/* After a load the TSC may be known only now. */
static void lapic_run_changed(void *dev, bool running)
{
	struct lapic *d = dev;

	if (running && !d->in_kernel && d->tsc_deadline)
		start_deadline(d);
}

DEVICE(lapic,
	.name = "apic",
	.desc = "local APIC",
	.board_only = true,
	.load_last = true,
	.props = FIELDS(F(initial_id), F(tsc_khz, .init = 1000000)),
	/* Messages address the whole range; see receive_msi. */
	.windows = WINDOWS({ "apic-msi", WIN_MMIO, 0x100000, 4, 4, window_read, window_write }),
	.state = FIELDS(FO(s, chip_lapic_table), F(base), F(tsc_deadline), F(lint), F(wait_for_sipi),
			F(esr_pending)),
	.host = HOST(timer, vcpu, intc, bus, in_kernel, pv_eoi_address, pv_eoi_offered),
	.realize = lapic_realize,
	.unrealize = lapic_unrealize,
	.reset = lapic_reset,
	.reset_lines = lapic_reset_lines,
	.saving = lapic_saving,
	.loaded = lapic_loaded,
	.run_changed = lapic_run_changed,
	.print = lapic_print);

struct lapic *lapic_new(struct machine *m, struct apic_bus *bus, struct vcpu *v, uint32_t id,
			GError **err)
{
	struct lapic *d = device_new(m, &device_lapic, NULL);
	struct accel *a = machine_accel(m);

	assert(bus->n < MOST_LAPICS);
	device_set_uint(d, "initial_id", id);
	d->bus = bus;
	d->vcpu = v;
	bus->lapics[bus->n++] = d;
	d->intc = (struct vcpu_intc) { .ack = intc_ack,
				       .get_tpr = intc_get_tpr,
				       .set_tpr = intc_set_tpr,
				       .get_base = intc_get_base,
				       .set_base = intc_set_base,
				       .msr_read = intc_msr_read,
				       .msr_write = intc_msr_write,
				       .pv_eoi = intc_pv_eoi,
				       .opaque = d };
	if (accel_kernel_lapic(a))
		d->intc = (struct vcpu_intc) { .ack = split_ack, .opaque = d };
	if (v && !accel_kernel_pic(a))
		v->intc = &d->intc;
	return device_realize(d, NULL, err) ? d : NULL;
}
