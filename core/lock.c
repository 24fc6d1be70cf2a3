/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/lock.h"

#include <stdio.h>
#include <stdlib.h>

struct lock machine_lock_object = LOCK_INIT(RANK_MACHINE, "machine");
static _Thread_local bool have_machine_lock;

#ifdef MOA_DEBUG
static _Thread_local uint8_t held[RANKS];

static void check_rank(const struct lock *l, const char *file, int line)
{
	for (int r = (int)l->rank; r < RANKS; r++) {
		/* Two device locks may nest only through the machine lock, which keeps them apart.
		 */
		if (!held[r])
			continue;
		fprintf(stderr, "lock order: %s (rank %d) taken at %s:%d with rank %d held\n",
			l->name, (int)l->rank, file, line, r);
		abort();
	}
}
#endif

void lock_init(struct lock *l, enum lock_rank rank, const char *name)
{
	*l = (struct lock)LOCK_INIT(rank, name);
}

void lock_take_at(struct lock *l, const char *file, int line)
{
#ifdef MOA_DEBUG
	check_rank(l, file, line);
	held[l->rank]++;
#endif
	pthread_mutex_lock(&l->mutex);
	l->holder_file = file;
	l->holder_line = line;
}

void lock_release(struct lock *l)
{
	l->holder_file = NULL;
	pthread_mutex_unlock(&l->mutex);
#ifdef MOA_DEBUG
	held[l->rank]--;
#endif
}

bool lock_try(struct lock *l)
{
	if (pthread_mutex_trylock(&l->mutex))
		return false;
#ifdef MOA_DEBUG
	held[l->rank]++;
#endif
	l->holder_file = __FILE__;
	l->holder_line = __LINE__;
	return true;
}

bool machine_try_lock(void)
{
	have_machine_lock = lock_try(&machine_lock_object);
	return have_machine_lock;
}

void machine_lock_at(const char *file, int line)
{
	assert(!have_machine_lock);
	lock_take_at(&machine_lock_object, file, line);
	have_machine_lock = true;
}

void machine_unlock(void)
{
	assert(have_machine_lock);
	have_machine_lock = false;
	lock_release(&machine_lock_object);
}

bool machine_locked(void)
{
	return have_machine_lock;
}
