/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leaky buckets: see throttle.h. */
#include "block/throttle.h"

#define NS 1000000000.0

const char *const throttle_names[THROTTLES] = { "bps",	"bps_rd",  "bps_wr",
						"iops", "iops_rd", "iops_wr" };

bool throttle_is_on(const struct throttle *t)
{
	for (unsigned i = 0; i < THROTTLES; i++)
		if (t->rate[i])
			return true;
	return false;
}

static bool concerns(unsigned kind, bool write)
{
	return kind == BPS_TOTAL || kind == IOPS_TOTAL ||
	       write == (kind == BPS_WRITE || kind == IOPS_WRITE);
}

static double room(const struct throttle *t, unsigned kind)
{
	return t->burst[kind] ? (double)t->burst[kind] : (double)t->rate[kind] / 10;
}

static void leak(struct throttle *t, int64_t now_ns)
{
	double passed = (double)(now_ns - t->last_ns) / NS;

	t->last_ns = now_ns;
	for (unsigned i = 0; i < THROTTLES; i++)
		t->level[i] = MAX_OF(t->level[i] - passed * (double)t->rate[i], 0.0);
}

bool throttle_may_go(struct throttle *t, int64_t now_ns, bool write, int64_t *wait_ns)
{
	double wait = 0;

	leak(t, now_ns);
	for (unsigned i = 0; i < THROTTLES; i++) {
		double over = t->level[i] - room(t, i);

		if (t->rate[i] && concerns(i, write) && over > 0)
			wait = MAX_OF(wait, over / (double)t->rate[i]);
	}
	*wait_ns = (int64_t)(wait * NS) + 1;
	return wait == 0;
}

void throttle_count(struct throttle *t, bool write, uint64_t bytes)
{
	for (unsigned i = 0; i < THROTTLES; i++)
		if (t->rate[i] && concerns(i, write))
			t->level[i] += i < IOPS_TOTAL ? (double)bytes : 1;
}
