/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much a drive may do in a second: leaky buckets for bytes and operations, for reads, writes
 * and both. What has gone through fills a bucket, which runs dry at the limit's rate; while it
 * overflows, others wait. Lock: the owner's.
 */
#pragma once

#include "core/compiler.h"

enum throttle_kind { BPS_TOTAL, BPS_READ, BPS_WRITE, IOPS_TOTAL, IOPS_READ, IOPS_WRITE, THROTTLES };

struct throttle {
	uint64_t rate[THROTTLES];  /* a second; 0: no limit */
	uint64_t burst[THROTTLES]; /* what may go at once; 0: a tenth of the rate */
	double level[THROTTLES];
	int64_t last_ns;
};

/* "bps", "bps_rd", ... as options and commands spell them. */
extern const char *const throttle_names[THROTTLES];

bool throttle_is_on(const struct throttle *t);
/* Whether one more may go now; if not, *wait_ns is how long to wait. */
bool throttle_may_go(struct throttle *t, int64_t now_ns, bool write, int64_t *wait_ns);
/* It has gone. */
void throttle_count(struct throttle *t, bool write, uint64_t bytes);
