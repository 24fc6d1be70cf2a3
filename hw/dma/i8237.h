/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8237A DMA controllers. */
#pragma once

#include "core/device.h"

struct i8237_channel {
	uint16_t base_address, base_count, address, count;
	uint8_t mode, page;
};

struct i8237 {
	struct device dev;
	uint16_t iobase;
	uint8_t wide;

	struct i8237_channel channel[4];
	uint8_t command, status, request, mask;
	bool flip_flop;
	uint8_t latch[16]; /* ports 80h-8Fh */

	struct i8237 *other; /* the 8-bit one holds both page register files */
};

bool i8237_pair_new(struct machine *m, struct bus *isa, struct i8237 *pair[2], GError **err);
/*
 * Moves up to len bytes between memory and buf as the channel's mode says; returns how many, and in
 * *terminal whether the count ran out. 0 while the channel is masked.
 */
size_t i8237_transfer(struct i8237 *d, unsigned channel, uint8_t *buf, size_t len, bool *terminal);
