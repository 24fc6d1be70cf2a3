/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random accesses to every register window of the PC, of any width at any offset. */
#pragma once

#include "tests/lib/rig.h"

struct access {
	uint64_t addr, value;
	unsigned size;
	bool pio, write;
	int64_t step; /* ns to let pass afterwards */
};

/* A board with everything on it. */
void workload_config(struct pc_config *c);
void workload_add_devices(struct rig *r);
struct access workload_pick(void);
uint64_t workload_do(struct rig *r, const struct access *x);
void workload_run(struct rig *r, unsigned n);
