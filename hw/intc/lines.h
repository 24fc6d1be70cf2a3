/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A board's shared interrupt lines, GSI 0 to 23. Each is high while any of its sources holds it, as
 * open-collector lines are; every source has a wire of its own. Machine lock.
 */
#pragma once

#include "core/device.h"

struct irq_lines {
	struct device dev;
	uint32_t held[MACHINE_GSIS]; /* by line: one bit per source */

	unsigned sources[MACHINE_GSIS];
	struct irq out; /* n is the line */
};

/* `out` is called with the line's number when a line moves. */
struct irq_lines *irq_lines_new(struct machine *m, struct irq out, GError **err);
/* A new source's wire into a line; at most 32 a line. */
struct irq irq_line(struct irq_lines *d, unsigned line);
