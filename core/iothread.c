/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O threads: see iothread.h. */
#include "core/iothread.h"

#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/error.h"
#include "core/loop.h"
#include "core/thread.h"

struct iothread_work {
	void (*fn)(void *opaque);
	void *opaque;
};

static GPtrArray *iothreads;

void iothread_lock_at(struct iothread *t, const char *file, int line)
{
	if (t)
		lock_take_at(&t->lock, file, line);
}

void iothread_unlock(struct iothread *t)
{
	g_autoptr(GArray) work = NULL;
	bool locked;

	if (!t)
		return;
	work = t->deferred;
	t->deferred = NULL;
	lock_release(&t->lock);
	if (!work)
		return;
	locked = machine_locked();
	if (!locked)
		machine_lock();
	for (guint i = 0; i < work->len; i++) {
		const struct iothread_work *w = &g_array_index(work, struct iothread_work, i);

		w->fn(w->opaque);
	}
	if (!locked)
		machine_unlock();
}

void iothread_defer(struct iothread *t, void (*fn)(void *opaque), void *opaque)
{
	struct iothread_work w = { fn, opaque };

	if (!t) {
		fn(opaque);
		return;
	}
	if (!t->deferred)
		t->deferred = g_array_new(FALSE, FALSE, sizeof(w));
	g_array_append_val(t->deferred, w);
}

static void *run(void *opaque)
{
	struct iothread *t = opaque;

	prctl(PR_SET_NAME, t->id);
	__atomic_store_n(&t->tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&t->end, __ATOMIC_ACQUIRE))
		g_main_context_iteration(t->context, TRUE);
	return NULL;
}

bool iothread_new(const char *id, GError **err)
{
	struct iothread *t;
	int e;

	if (iothread_find(id))
		return error(err, "-object iothread: id=%s is taken; give another", id);
	if (!iothreads)
		iothreads = g_ptr_array_new();
	t = g_new0(struct iothread, 1);
	t->id = g_strdup(id);
	t->context = g_main_context_new();
	lock_init(&t->lock, RANK_DEVICE, "iothread");
	pthread_mutex_init(&t->sync_mutex, NULL);
	pthread_cond_init(&t->synced, NULL);
	e = thread_start(&t->thread, run, t);
	t->started = !e;
	g_ptr_array_add(iothreads, t);
	return !e ||
	       error(err, "-object iothread: id=%s: cannot start a thread: %s", id, strerror(e));
}

struct iothread *iothread_nth(unsigned n)
{
	return iothreads && n < iothreads->len ? iothreads->pdata[n] : NULL;
}

struct iothread *iothread_find(const char *id)
{
	struct iothread *t;

	for (unsigned n = 0; (t = iothread_nth(n)); n++)
		if (!strcmp(t->id, id))
			return t;
	return NULL;
}

static gboolean tell_synced(gpointer opaque)
{
	struct iothread *t = opaque;

	pthread_mutex_lock(&t->sync_mutex);
	t->syncs_done++;
	pthread_cond_broadcast(&t->synced);
	pthread_mutex_unlock(&t->sync_mutex);
	return G_SOURCE_REMOVE;
}

void iothread_sync(struct iothread *t)
{
	unsigned mine;

	if (!t || !t->started)
		return;
	pthread_mutex_lock(&t->sync_mutex);
	mine = ++t->syncs_asked;
	loop_post(t->context, tell_synced, t);
	pthread_mutex_unlock(&t->sync_mutex);
	machine_unlock();
	pthread_mutex_lock(&t->sync_mutex);
	while ((int)(t->syncs_done - mine) < 0)
		pthread_cond_wait(&t->synced, &t->sync_mutex);
	pthread_mutex_unlock(&t->sync_mutex);
	machine_lock();
}

void iothreads_stop(void)
{
	struct iothread *t;

	for (unsigned n = 0; (t = iothread_nth(n)); n++) {
		if (!t->started)
			continue;
		__atomic_store_n(&t->end, true, __ATOMIC_RELEASE);
		g_main_context_wakeup(t->context);
		machine_unlock();
		pthread_join(t->thread, NULL);
		machine_lock();
		t->started = false;
	}
}

void iothreads_free(void)
{
	struct iothread *t;

	for (unsigned n = 0; (t = iothread_nth(n)); n++) {
		g_main_context_unref(t->context);
		pthread_mutex_destroy(&t->lock.mutex);
		g_free(t->id);
		g_free(t);
	}
	g_clear_pointer(&iothreads, g_ptr_array_unref);
}
