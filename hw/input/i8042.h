/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8042 keyboard controller. */
#pragma once

#include "hw/input/ps2.h"
#include "hw/isa/isa.h"

struct i8042 {
	struct device dev;
	uint8_t mode; /* the command byte */
	uint8_t status, out, outport;
	uint8_t command; /* waiting for its data byte; 0: none */
	bool release;	 /* F0h seen */
	struct ps2 kbd, mouse;

	struct irq irq_kbd, irq_mouse, a20;
	bool refilling;
};

struct i8042 *i8042_new(struct machine *m, struct bus *isa, struct irq a20, GError **err);
