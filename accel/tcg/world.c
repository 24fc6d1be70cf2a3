/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several vCPUs over one code cache. What changes together is guarded by a lock; what other vCPUs
 * may be in the middle of (an entry of their TLB that lets a store through, a block that is about
 *to be overwritten) needs them stopped.
 *
 * A vCPU stands at one of four places. It is its own to say, and it does not go back in while the
 * world is stopped:
 *
 *	PLACE_OUT	  in no translated code; nothing it holds is lost by anything others do
 *	PLACE_RUNNING	  between blocks: holds host addresses of guest memory, and may read the
 *cache PLACE_BLOCK	  in a block, or in C that goes back into it PLACE_BLOCK_OUT   in C outside
 *(a device, a lock) that goes back into a block
 *
 * tcg_stop_pages waits until all others are at OUT or BLOCK_OUT, tcg_stop_all until they are at
 *OUT. General registers only, and no library calls: the guest's FPU state is live.
 */
#include <linux/futex.h>
#include <sys/syscall.h>

#include "accel/tcg/tcg.h"
#include "accel/tcg/world.h"

enum { STOP_NONE, STOP_PAGES, STOP_ALL };

static void futex(uint32_t *at, int op, uint32_t value)
{
	register long r10 __asm__("r10") = 0;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(SYS_futex), "D"(at), "S"(op | FUTEX_PRIVATE_FLAG), "d"(value),
			   "r"(r10)
			 : "rcx", "r11", "memory");
}

void tcg_yield(void)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(SYS_sched_yield) : "rcx", "r11", "memory");
}

/* 0 free, 1 taken, 2 taken and waited for. */
static void take(uint32_t *lock)
{
	uint32_t v = 0;

	if (__atomic_compare_exchange_n(lock, &v, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	for (unsigned i = 0; i < 100; i++) {
		__builtin_ia32_pause();
		v = 0;
		if (__atomic_compare_exchange_n(lock, &v, 1, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return;
	}
	while (__atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE))
		futex(lock, FUTEX_WAIT, 2);
}

static void give(uint32_t *lock)
{
	if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) == 2)
		futex(lock, FUTEX_WAKE, 1);
}

void tcg_lock(struct tcg_world *w)
{
	take(&w->lock);
}

void tcg_unlock(struct tcg_world *w)
{
	give(&w->lock);
}

bool tcg_world_add(struct tcg_world *w, struct tcg_env *env)
{
	bool room;

	take(&w->stopper);
	room = w->envs < TCG_MOST_VCPUS;
	if (room)
		w->env[w->envs++] = env;
	give(&w->stopper);
	return room;
}

void tcg_world_remove(struct tcg_world *w, struct tcg_env *env)
{
	take(&w->stopper);
	for (unsigned i = 0; i < w->envs; i++)
		if (w->env[i] == env)
			w->env[i--] = w->env[--w->envs];
	give(&w->stopper);
}

/* Whether a stop of this kind keeps a vCPU from going to `place`. */
static bool forbids(uint32_t stop, uint32_t place)
{
	return stop == STOP_PAGES || (stop == STOP_ALL && place == PLACE_RUNNING);
}

static void go(struct tcg_env *env, uint32_t to)
{
	struct tcg_world *w = env->world;

	__atomic_store_n(&env->place, to, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&w->stop, __ATOMIC_SEQ_CST)) {
		__atomic_fetch_add(&w->moves, 1, __ATOMIC_SEQ_CST);
		futex(&w->moves, FUTEX_WAKE, 1);
	}
}

static void come(struct tcg_env *env, uint32_t from, uint32_t to)
{
	struct tcg_world *w = env->world;

	for (;;) {
		uint32_t stop;

		__atomic_store_n(&env->place, to, __ATOMIC_SEQ_CST);
		stop = __atomic_load_n(&w->stop, __ATOMIC_SEQ_CST);
		/* Who stopped the others for one instruction may go to a device in it. */
		if (likely(!forbids(stop, to)) || env->exclusive)
			return;
		go(env, from);
		futex(&w->stop, FUTEX_WAIT, stop);
	}
}

void tcg_go_in(struct tcg_env *env)
{
	come(env, PLACE_OUT, PLACE_RUNNING);
}

void tcg_go_out(struct tcg_env *env)
{
	go(env, PLACE_OUT);
}

void tcg_step_out(struct tcg_env *env)
{
	go(env, env->place == PLACE_BLOCK ? PLACE_BLOCK_OUT : PLACE_OUT);
}

void tcg_step_in(struct tcg_env *env)
{
	if (env->place == PLACE_BLOCK_OUT)
		come(env, PLACE_BLOCK_OUT, PLACE_BLOCK);
	else
		come(env, PLACE_OUT, PLACE_RUNNING);
}

/* With the stopper's lock held. */
static void stop(struct tcg_env *env, uint32_t kind)
{
	struct tcg_world *w = env->world;

	__atomic_store_n(&w->stop, kind, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < w->envs; i++)
		if (w->env[i] != env &&
		    __atomic_load_n(&w->env[i]->place, __ATOMIC_SEQ_CST) != PLACE_OUT)
			tcg_ask(w->env[i]);
	for (unsigned i = 0; i < w->envs; i++) {
		for (;;) {
			uint32_t moves = __atomic_load_n(&w->moves, __ATOMIC_SEQ_CST);
			uint32_t place = __atomic_load_n(&w->env[i]->place, __ATOMIC_SEQ_CST);

			if (w->env[i] == env || place == PLACE_OUT ||
			    (place == PLACE_BLOCK_OUT && kind == STOP_PAGES))
				break;
			futex(&w->moves, FUTEX_WAIT, moves);
		}
	}
}

static void stop_from_between(struct tcg_env *env, uint32_t kind)
{
	struct tcg_world *w = env->world;

	/* Others may be stopping the world already, and wait for this one. */
	tcg_go_out(env);
	take(&w->stopper);
	stop(env, kind);
	__atomic_store_n(&env->place, PLACE_RUNNING, __ATOMIC_SEQ_CST);
}

void tcg_stop_pages(struct tcg_env *env)
{
	stop_from_between(env, STOP_PAGES);
}

void tcg_stop_all(struct tcg_env *env)
{
	stop_from_between(env, STOP_ALL);
}

bool tcg_try_stop_in_block(struct tcg_env *env)
{
	uint32_t v = 0;

	/* Who holds it may be waiting for this vCPU to leave its block. */
	if (!__atomic_compare_exchange_n(&env->world->stopper, &v, 1, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	stop(env, STOP_PAGES);
	return true;
}

void tcg_resume(struct tcg_env *env)
{
	struct tcg_world *w = env->world;

	__atomic_store_n(&w->stop, STOP_NONE, __ATOMIC_SEQ_CST);
	futex(&w->stop, FUTEX_WAKE, INT32_MAX);
	give(&w->stopper);
}
