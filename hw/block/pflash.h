/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parallel NOR flash with the Intel command set. */
#pragma once

#include "core/device.h"

struct pflash {
	struct device dev;
	char *file;
	bool readonly;
	uint32_t sector;

	uint8_t command; /* the first cycle of what is going on; 0: reading the array */
	uint8_t cycle;	 /* of the write sequence */
	uint8_t status;
	uint32_t buffer_count; /* bytes still to come of a buffer write */
	uint64_t buffer_base;
	uint32_t buffer_len;
	uint8_t buffer[64];

	struct region region;
	struct ram_block *array;
	int fd;
};

/* Maps the chip so that it ends at `end`. */
struct pflash *pflash_new(struct machine *m, unsigned unit, const char *file, bool readonly,
			  uint64_t end, GError **err);
