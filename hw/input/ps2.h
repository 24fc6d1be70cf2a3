/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PS/2 keyboard and mouse, as the keyboard controller sees them: bytes in both directions. */
#pragma once

#include "core/field.h"
#include "core/irq.h"

#define PS2_QUEUE 64

struct ps2 {
	bool mouse;
	uint8_t queue[PS2_QUEUE];
	uint8_t head, len;
	uint8_t last;	 /* for resend */
	uint8_t command; /* waiting for its data byte; 0: none */
	bool scanning;	 /* keyboard: scanning; mouse: reporting */
	uint8_t leds, set, rate_delay;
	/* mouse */
	uint8_t sample_rate, resolution, id, rate_step;
	bool scaling, remote, wrap;
	int32_t dx, dy;
	uint8_t buttons;

	struct irq changed; /* up while there is something to read */
};

extern const struct field_table ps2_table;

void ps2_init(struct ps2 *p, bool mouse, struct irq changed);
void ps2_reset(struct ps2 *p);
void ps2_write(struct ps2 *p, uint8_t v);
bool ps2_has_data(const struct ps2 *p);
uint8_t ps2_read(struct ps2 *p);
/* A byte of a key's set-2 code, or a mouse movement. */
void ps2_key(struct ps2 *p, uint8_t set2_code);
void ps2_move(struct ps2 *p, int dx, int dy, uint8_t buttons);
bool ps2_check(const struct ps2 *p);
