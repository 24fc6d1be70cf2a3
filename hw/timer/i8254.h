/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8254 timer with port 61h: speaker gate and OUT2. */
#pragma once

#include "accel/accel.h"
#include "core/device.h"

#define PIT_HZ 1193182u

enum lost_tick_policy { TICKS_DELAY, TICKS_DISCARD };

struct i8254 {
	struct device dev;
	uint16_t iobase;
	uint32_t lost_tick_policy;

	struct chip_pit s;
	uint8_t speaker; /* port 61h bits 0 and 1 */
	struct timer timer;
	int64_t next_edge; /* tick of channel 0 that the timer waits for */

	struct irq irq;
	bool in_kernel;
	uint64_t injected, dropped; /* for `info clocks` */
};

struct i8254 *i8254_new(struct machine *m, struct irq irq0, GError **err);
/* The HPET takes IRQ0 over, or gives it back. */
void i8254_disable_irq(void *pit, int n, int disabled);
/* OUT of a channel, as port 61h and sound see it. */
bool i8254_out(struct i8254 *d, unsigned channel);
