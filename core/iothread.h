/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O threads (-object iothread): a thread with a loop of its own, and the lock under which the
 * devices that were given to it move data, so that they need not wait for the machine lock.
 *
 * A device and its backends share one `struct iothread *`, or NULL, which is the main thread and
 * the machine lock. Under an I/O thread's lock nothing may take the machine lock (it ranks before
 * it); what needs that is put off with iothread_defer until the lock is given up.
 */
#pragma once

#include <glib.h>

#include "core/lock.h"

struct iothread {
	char *id;
	GMainContext *context;
	struct lock lock;
	GArray *deferred; /* of struct iothread_work; under the lock */
	pthread_t thread;
	int tid; /* the host's thread id; 0 until the thread runs */
	bool started, end;
	/* iothread_sync's: calls, and how many of them the thread has come to. */
	pthread_mutex_t sync_mutex;
	pthread_cond_t synced;
	unsigned syncs_asked, syncs_done;
};

/* Makes and starts one; refuses an id that is taken. Main thread. */
bool iothread_new(const char *id, GError **err);
struct iothread *iothread_find(const char *id);
/* For monitors: NULL after the last. */
struct iothread *iothread_nth(unsigned n);
/* Ends the threads; their locks stay. The machine lock is given up meanwhile. */
void iothreads_stop(void);
void iothreads_free(void);

/* Both do nothing for NULL, whose lock is the machine's: the caller holds it. */
void iothread_lock_at(struct iothread *t, const char *file, int line);
#define iothread_lock(t) iothread_lock_at((t), __FILE__, __LINE__)
void iothread_unlock(struct iothread *t);
/*
 * Calls fn with the machine lock held and t's not: at once for NULL, else when this holder gives
 * t's lock up.
 */
void iothread_defer(struct iothread *t, void (*fn)(void *opaque), void *opaque);
/*
 * Waits until the thread has ended what it was at, deferred calls too. The machine lock, which the
 * caller holds, is given up meanwhile; t's must not be held.
 */
void iothread_sync(struct iothread *t);
