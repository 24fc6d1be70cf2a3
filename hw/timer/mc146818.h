/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MC146818 real-time clock and its CMOS memory. */
#pragma once

#include "core/device.h"

#define RTC_CMOS_SIZE 128

struct mc146818 {
	struct device dev;
	uint16_t iobase;
	uint32_t clock;		   /* host, rt, vm */
	uint32_t lost_tick_policy; /* discard, slew */

	uint8_t index;		     /* port 70h: bit 7 masks NMI */
	uint8_t cmos[RTC_CMOS_SIZE]; /* time registers are current only while SET holds them */
	int64_t base_sec;	     /* seconds since 1970 that the clock showed ... */
	int64_t base_ns;	     /* ... at this time of its clock */
	int64_t seen_sec;	     /* last second whose update set UF and AF */
	int64_t period_ns;	     /* time of the clock at which periods began */
	uint64_t seen_periods;
	uint32_t owed_ticks; /* slew: periodic interrupts to make up for */
	struct timer update_timer, periodic_timer;

	struct irq irq;
	uint64_t injected, dropped, reinjected; /* for `info clocks` */
};

/* base: seconds since 1970 at start. */
struct mc146818 *mc146818_new(struct machine *m, struct bus *isa, int64_t base, unsigned clock_kind,
			      GError **err);
/* Boards set memory that firmware reads. */
void mc146818_set_cmos(struct mc146818 *d, unsigned reg, uint8_t value);
