/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lock ranks. A thread takes locks in ascending rank only:
 *
 *	machine(1) < device(2) < backend(3) < memory-commit(4) < log(5)
 *
 * The machine lock is one per process and not recursive. Debug builds check the order and record
 *the holder. vCPU threads hold nothing while guest code runs.
 */
#pragma once

#include <pthread.h>

#include "core/compiler.h"

enum lock_rank { RANK_MACHINE = 1, RANK_DEVICE, RANK_BACKEND, RANK_MEMORY, RANK_LOG, RANKS };

struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
	const char *name;
	const char *holder_file; /* debug builds: who holds it, for a person with a debugger */
	int holder_line;
};

#define LOCK_INIT(r, n)                                                                            \
	{                                                                                          \
		.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = (r), .name = (n)                       \
	}

void lock_init(struct lock *l, enum lock_rank rank, const char *name);
void lock_take_at(struct lock *l, const char *file, int line);
void lock_release(struct lock *l);
/* Takes it if nobody has it. */
bool lock_try(struct lock *l);
#define lock_take(l) lock_take_at((l), __FILE__, __LINE__)

extern struct lock machine_lock_object;
#define machine_lock() machine_lock_at(__FILE__, __LINE__)
void machine_lock_at(const char *file, int line);
void machine_unlock(void);
bool machine_try_lock(void);
/* Whether this thread holds it. */
bool machine_locked(void);
