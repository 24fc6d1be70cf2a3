/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The high precision event timer. */
#pragma once

#include "core/device.h"

#define HPET_BASE 0xfed00000
#define HPET_MOST_TIMERS 32
#define HPET_PERIOD_FS 10000000u /* 10 ns */

struct hpet;

struct hpet_timer {
	uint64_t config, comparator, period;
	struct timer timer;
	bool val_set; /* the next comparator write sets the accumulator too */
	bool level;

	struct hpet *hpet;
	unsigned n;
};

struct hpet {
	struct device dev;
	uint8_t timers;
	uint32_t intcap; /* I/O APIC inputs that timers may be routed to */

	uint64_t config, status;
	uint64_t counter; /* when it was last started; its value while stopped */
	int64_t start_ns; /* VM clock at that start */
	bool rtc_level;	  /* what the RTC drives, kept from the bus in legacy mode */
	struct hpet_timer timer[HPET_MOST_TIMERS];

	struct irq gsi[24];	/* by I/O APIC input */
	struct irq legacy_pit;	/* IRQ0 as the PIT would drive it */
	struct irq legacy_rtc;	/* IRQ8 */
	struct irq disable_pit; /* up in legacy mode */
};

/* The RTC's interrupt passes through, so that legacy mode can hold it back. */
void hpet_rtc_input(void *hpet, int n, int level);
struct hpet *hpet_new(struct machine *m, GError **err);
