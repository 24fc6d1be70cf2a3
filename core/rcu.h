/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Read-copy-update by liburcu. Readers bracket their use of a published pointer with rcu_begin and
 * rcu_end; the writer publishes a new object and hands the old one to rcu_defer, whose function
 * runs on liburcu's thread when no reader can hold it. ThreadSanitizer does not see inside liburcu,
 * so it is told here what the library promises: every read section that began before the call ends
 * before the function runs.
 */
#pragma once

#include <urcu-bp.h>

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
extern char rcu_order; /* stands for the grace periods */
#define RCU_RELEASE() __tsan_release(&rcu_order)
#define RCU_ACQUIRE() __tsan_acquire(&rcu_order)
#else
#define RCU_RELEASE() ((void)0)
#define RCU_ACQUIRE() ((void)0)
#endif

static inline void rcu_begin(void)
{
	urcu_bp_read_lock();
}

static inline void rcu_end(void)
{
	RCU_RELEASE();
	urcu_bp_read_unlock();
}

static inline void rcu_defer(struct rcu_head *head, void (*fn)(struct rcu_head *head))
{
	RCU_RELEASE();
	urcu_bp_call_rcu(head, fn);
}

/* First thing in a deferred function. */
static inline void rcu_deferred(void)
{
	RCU_ACQUIRE();
}
