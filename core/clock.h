/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clocks and timers. Every time a guest or a device sees comes from one of three clocks:
 *
 *	VM        ns the guest has run; stands still while the VM is stopped; saved
 *	HOST      ns of UTC since 1970; may jump with the host
 *	REALTIME  ns of the host's monotonic clock
 *
 * A timer is intrusive and named. Its callback runs in the clock's loop with the machine lock held
 *and is told how late it runs. Tests drive a clock by hand: clock_manual() freezes it, clock_step()
 *moves it and runs the timers that fall due, each at exactly its deadline.
 *
 * Locks: timers may be armed from any thread; callbacks and clock_step run with the machine lock
 *held.
 */
#pragma once

#include <glib.h>
#include <pthread.h>

#include "core/compiler.h"

enum clock_kind { CLOCK_VM, CLOCK_HOST, CLOCK_RT, CLOCK_KINDS };

struct timer;

struct clock {
	enum clock_kind kind;
	const char *name;
	bool manual;
	bool running;	      /* VM clock: counting; the others always are */
	int64_t offset;	      /* added to the host's clock while running */
	int64_t frozen;	      /* the value while stopped or manual */
	struct timer *timers; /* by deadline, then by order of arming */
	pthread_mutex_t lock;
	int fd; /* timerfd, -1 until attached to a loop */
	GSource *source;
};

struct timer {
	const char *name;
	struct clock *clock;
	void (*fire)(void *opaque, int64_t late_ns);
	void *opaque;
	int64_t deadline; /* ns of the clock, -1 when idle */
	struct timer *next;
};

void clock_init(struct clock *c, enum clock_kind kind);
void clock_destroy(struct clock *c);
/* Lets `context` run the clock's timers; false with *err when the host has no timerfd. */
bool clock_attach(struct clock *c, GMainContext *context, GError **err);
int64_t clock_ns(struct clock *c);
/* VM clock only: count or stand still; the value never jumps. */
void clock_run(struct clock *c, bool running);
/* Sets the value, as a load does. */
void clock_set(struct clock *c, int64_t ns);
void clock_manual(struct clock *c, int64_t ns);
void clock_step(struct clock *c, int64_t ns);
/* The nearest deadline, or -1. */
int64_t clock_deadline(struct clock *c);

/*
 * The shortest time between two ticks of a periodic timer that a device asks its clock for. A guest
 * that programs less gets its ticks late: no host could deliver them, and the loop has other work.
 */
#define SHORTEST_PERIOD_NS 20000

/* Times in a saved state beyond this are damage: sums and differences of two must not overflow. */
#define FARTHEST_NS (INT64_C(1) << 61)

void timer_init(struct timer *t, struct clock *c, const char *name,
		void (*fire)(void *opaque, int64_t late_ns), void *opaque);
void timer_arm(struct timer *t, int64_t deadline_ns);
void timer_cancel(struct timer *t);
static inline bool timer_pending(const struct timer *t)
{
	return t->deadline >= 0;
}

/* Host UTC in seconds and broken-down time helpers for RTCs; the only readers of the wall clock. */
int64_t wall_clock_ns(void);
int64_t monotonic_ns(void);
