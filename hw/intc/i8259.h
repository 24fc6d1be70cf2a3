/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8259A pair. */
#pragma once

#include "accel/accel.h"
#include "core/device.h"

#define MOST_PICS 2

struct i8259 {
	struct device dev;
	uint16_t iobase, elcr_port;
	bool slave;
	struct chip_pic s;

	struct irq out;	       /* INT */
	struct i8259 *cascade; /* master: the slave on IRQ2 */
	bool in_kernel;
};

struct i8259_pair {
	struct i8259 *master, *slave;
};

/* Makes both; their INT goes to `out`. */
bool i8259_pair_new(struct i8259_pair *p, struct machine *m, struct irq out, GError **err);
/* Input line 0 to 15. */
void i8259_pair_set(struct i8259_pair *p, int n, int level);
/* INTA: the vector, spurious IRQ7 when nothing is pending. */
uint8_t i8259_pair_ack(struct i8259_pair *p);
bool i8259_pair_pending(const struct i8259_pair *p);
