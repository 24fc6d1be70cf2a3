/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See prefault.h. The users' threads store `used`, which may be torn between arenas, and wake the
 * thread by its eventfd; all else is the thread's. It touches no content: the kernel populates.
 */
#include "accel/tcg/prefault.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/compiler.h"
#include "core/thread.h"

struct arena {
	uint8_t *start;
	size_t bytes;
	size_t used;  /* atomic */
	size_t seen;  /* what `used` was */
	size_t ready; /* so many have pages */
};

struct prefault {
	struct arena arena[PREFAULT_ARENAS];
	unsigned arenas;
	pthread_t thread;
	int wake; /* eventfd */
	bool end; /* atomic */
};

static void make_ready(struct arena *a, size_t page)
{
	size_t used = __atomic_load_n(&a->used, __ATOMIC_RELAXED), from, to;

	if (used <= a->seen)
		return;
	from = MAX(a->ready, align_up(used, page));
	to = MIN(align_up(used + 2 * (used - a->seen), page), a->bytes);
	a->seen = used;
	if (from >= to)
		return;
	madvise(a->start + from, to - from, MADV_POPULATE_WRITE);
	a->ready = to;
}

static void *run(void *opaque)
{
	struct prefault *p = opaque;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t times;

	prctl(PR_SET_NAME, "prefault");
	while (read(p->wake, &times, sizeof(times)) == sizeof(times) &&
	       !__atomic_load_n(&p->end, __ATOMIC_ACQUIRE))
		for (unsigned i = 0; i < p->arenas; i++)
			make_ready(&p->arena[i], page);
	return NULL;
}

static void wake(struct prefault *p)
{
	ssize_t n = write(p->wake, &(uint64_t) { 1 }, sizeof(uint64_t));

	g_assert(n == sizeof(uint64_t));
}

struct prefault *prefault_new(void)
{
	struct prefault *p = g_new0(struct prefault, 1);

	p->wake = eventfd(0, EFD_CLOEXEC);
	if (p->wake >= 0 && !thread_start(&p->thread, run, p))
		return p;
	if (p->wake >= 0)
		close(p->wake);
	g_free(p);
	return NULL;
}

void prefault_free(struct prefault *p)
{
	if (!p)
		return;
	__atomic_store_n(&p->end, true, __ATOMIC_RELEASE);
	wake(p);
	pthread_join(p->thread, NULL);
	close(p->wake);
	g_free(p);
}

void prefault_add(struct prefault *p, void *start, size_t bytes)
{
	if (!p)
		return;
	g_assert(p->arenas < PREFAULT_ARENAS);
	p->arena[p->arenas++] = (struct arena) { .start = start, .bytes = bytes };
}

void prefault_used(struct prefault *p, const size_t used[])
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->arenas; i++)
		__atomic_store_n(&p->arena[i].used, used[i], __ATOMIC_RELAXED);
	wake(p);
}
