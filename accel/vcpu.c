/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads, the same for every engine: work from other threads, pausing, running, the exits.
 *
 * Protocol: v->mutex guards the control fields. It is a leaf: nothing is taken while it is held.
 * Someone who wants the vCPU (work, pause, quit) changes a field under the mutex and kicks; the
 * thread looks at the fields before every run, and the engine's kick makes sure that a run that has
 * not begun returns too.
 */
#include "accel/accel.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "core/log.h"

struct vcpu_work {
	void (*fn)(struct vcpu *v, void *arg);
	void *arg;
	bool done;
	struct vcpu_work *next;
};

static _Thread_local struct vcpu *this_vcpu;

struct vcpu *vcpu_current(void)
{
	return this_vcpu;
}

void vcpu_set_current(struct vcpu *v)
{
	this_vcpu = v;
}

void vcpu_kick(struct vcpu *v)
{
	pthread_mutex_lock(&v->mutex);
	pthread_cond_broadcast(&v->cond);
	if (v->accel && v->started && !v->ending && v->engine)
		v->accel->ops->vcpu_kick(v);
	pthread_mutex_unlock(&v->mutex);
}

void vcpu_post(struct vcpu *v, uint32_t events)
{
	__atomic_fetch_or(&v->events, events, __ATOMIC_ACQ_REL);
	if (v != this_vcpu)
		vcpu_kick(v);
}

static void finish_io(struct vcpu *v)
{
	if (v->accel->ops->vcpu_finish_io)
		v->accel->ops->vcpu_finish_io(v);
}

/* Takes and runs all queued work; called and returns with the mutex held. */
static void run_work(struct vcpu *v)
{
	while (v->work) {
		struct vcpu_work *w = v->work;

		v->work = w->next;
		pthread_mutex_unlock(&v->mutex);
		w->fn(v, w->arg);
		pthread_mutex_lock(&v->mutex);
		w->done = true;
		pthread_cond_broadcast(&v->done_cond);
	}
}

/* Sleeps while there is no reason to run; returns false when the thread should end. */
static bool wait_for_run(struct vcpu *v)
{
	bool go;

	pthread_mutex_lock(&v->mutex);
	for (;;) {
		run_work(v);
		if (v->quit)
			break;
		if (v->pause_wanted) {
			if (!v->paused) {
				pthread_mutex_unlock(&v->mutex);
				finish_io(v);
				pthread_mutex_lock(&v->mutex);
				v->paused = true;
				pthread_cond_broadcast(&v->done_cond);
				continue;
			}
		} else if (!v->halted ||
			   (__atomic_load_n(&v->events, __ATOMIC_ACQUIRE) & v->wakes)) {
			break;
		}
		pthread_cond_wait(&v->cond, &v->mutex);
	}
	v->paused = false;
	go = !v->quit;
	pthread_mutex_unlock(&v->mutex);
	return go;
}

/* Once after a resume, and before every run: what the fields hold newer goes to the engine. */
static void put_state(struct vcpu *v)
{
	if (v->dirty)
		v->accel->ops->vcpu_put(v, v->dirty);
	v->dirty = 0;
	v->valid = 0;
}

/* Returns true if the vCPU must not run on before the main loop has answered with a pause. */
static bool handle_exit(struct vcpu *v, enum vcpu_exit exit)
{
	struct machine *m = v->dev.machine;

	switch (exit) {
	case EXIT_AGAIN:
		break;
	case EXIT_HALT:
		v->halted = true;
		break;
	case EXIT_RESET:
		log_printf(RESET, "vCPU %u: triple fault", v->index);
		machine_request(m, REQ_RESET);
		return true;
	case EXIT_SHUTDOWN:
		m->cause = CAUSE_GUEST_SHUTDOWN;
		machine_request(m, REQ_SHUTDOWN);
		return true;
	case EXIT_DEBUG:
		if (v->accel->debug_stop)
			v->accel->debug_stop(v->accel->debug_opaque, v);
		return true;
	case EXIT_ERROR:
		v->failed = true;
		machine_request(m, REQ_ERROR);
		return true;
	}
	return false;
}

/* A guest that asked for a reset or an end must not run on into what it put after the OUT. */
static bool end_requested(struct vcpu *v)
{
	const unsigned ends = REQ_RESET | REQ_SHUTDOWN | REQ_QUIT | REQ_PANIC | REQ_ERROR;

	return __atomic_load_n(&v->dev.machine->requests, __ATOMIC_ACQUIRE) & ends;
}

/*
 * Does other threads' work until the main loop asks for a pause (or, unless `must`, wants nothing
 * more).
 */
static void wait_for_answer(struct vcpu *v, bool must)
{
	pthread_mutex_lock(&v->mutex);
	for (;;) {
		run_work(v);
		if (v->pause_wanted || v->quit || (!must && !end_requested(v)))
			break;
		pthread_cond_wait(&v->cond, &v->mutex);
	}
	pthread_mutex_unlock(&v->mutex);
}

static void *vcpu_thread(void *opaque)
{
	struct vcpu *v = opaque;
	GError *err = NULL;
	bool ok;

	this_vcpu = v;
	v->tid = gettid();
	ok = v->accel->ops->vcpu_create(v, &err);
	pthread_mutex_lock(&v->mutex);
	v->start_error = ok ? NULL : g_strdup(err->message);
	v->started = true;
	v->pause_wanted++; /* until the machine runs */
	pthread_cond_broadcast(&v->done_cond);
	pthread_mutex_unlock(&v->mutex);
	g_clear_error(&err);
	if (!ok)
		return NULL;
	while (wait_for_run(v)) {
		bool stop;

		put_state(v);
		__atomic_fetch_add(&v->exits, 1, __ATOMIC_RELAXED);
		stop = handle_exit(v, v->accel->ops->vcpu_run(v));
		if (stop || end_requested(v))
			wait_for_answer(v, stop);
	}
	pthread_mutex_lock(&v->mutex);
	v->ending = true;
	pthread_mutex_unlock(&v->mutex);
	v->accel->ops->vcpu_destroy(v);
	return NULL;
}

bool vcpu_start(struct vcpu *v, GError **err)
{
	char name[16];

	if (pthread_create(&v->thread, NULL, vcpu_thread, v))
		return error(err, "vCPU %u: the host cannot make a thread", v->index);
	snprintf(name, sizeof(name), "vcpu%u", v->index);
	pthread_setname_np(v->thread, name);
	pthread_mutex_lock(&v->mutex);
	while (!v->started)
		pthread_cond_wait(&v->done_cond, &v->mutex);
	pthread_mutex_unlock(&v->mutex);
	if (v->start_error) {
		pthread_join(v->thread, NULL);
		return error(err, "%s", v->start_error);
	}
	g_ptr_array_add(v->accel->vcpus, v);
	return true;
}

void vcpus_stop_threads(struct accel *a)
{
	bool locked = machine_locked();

	for (guint i = 0; i < a->vcpus->len; i++) {
		struct vcpu *v = a->vcpus->pdata[i];

		pthread_mutex_lock(&v->mutex);
		v->quit = 1;
		pthread_mutex_unlock(&v->mutex);
		vcpu_kick(v);
	}
	/* A thread on its way out may be waiting for the lock. */
	if (locked)
		machine_unlock();
	for (guint i = 0; i < a->vcpus->len; i++)
		pthread_join(((struct vcpu *)a->vcpus->pdata[i])->thread, NULL);
	if (locked)
		machine_lock();
	g_ptr_array_set_size(a->vcpus, 0);
}

void vcpus_pause(struct machine *m)
{
	struct accel *a = machine_accel(m);

	for (guint i = 0; i < a->vcpus->len; i++) {
		struct vcpu *v = a->vcpus->pdata[i];

		pthread_mutex_lock(&v->mutex);
		v->pause_wanted++;
		pthread_mutex_unlock(&v->mutex);
		vcpu_kick(v);
	}
	/* A vCPU inside a device's window needs the lock to get out. */
	machine_unlock();
	for (guint i = 0; i < a->vcpus->len; i++) {
		struct vcpu *v = a->vcpus->pdata[i];

		pthread_mutex_lock(&v->mutex);
		while (!v->paused)
			pthread_cond_wait(&v->done_cond, &v->mutex);
		pthread_mutex_unlock(&v->mutex);
	}
	machine_lock();
	if (a->ops->run_changed)
		a->ops->run_changed(a, false);
}

static void tell_resumed(struct vcpu *v, void *arg)
{
	(void)arg;
	v->accel->ops->vcpu_resumed(v);
}

void vcpus_resume(struct machine *m)
{
	struct accel *a = machine_accel(m);

	if (a->ops->run_changed)
		a->ops->run_changed(a, true);
	for (guint i = 0; i < a->vcpus->len; i++) {
		struct vcpu *v = a->vcpus->pdata[i];

		if (a->ops->vcpu_resumed)
			vcpu_run_on(v, tell_resumed, NULL);
		pthread_mutex_lock(&v->mutex);
		assert(v->pause_wanted);
		v->pause_wanted--;
		pthread_cond_broadcast(&v->cond);
		pthread_mutex_unlock(&v->mutex);
	}
}

void vcpu_hold(struct vcpu *v, bool hold)
{
	pthread_mutex_lock(&v->mutex);
	if (hold != v->held) {
		v->held = hold;
		v->pause_wanted += hold ? 1u : -1u;
		pthread_cond_broadcast(&v->cond);
	}
	pthread_mutex_unlock(&v->mutex);
}

void vcpu_run_on(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg)
{
	struct vcpu_work w = { .fn = fn, .arg = arg };
	struct vcpu_work **tail;
	bool locked;

	if (v == this_vcpu || !v->started) {
		fn(v, arg);
		return;
	}
	locked = machine_locked();
	pthread_mutex_lock(&v->mutex);
	for (tail = &v->work; *tail; tail = &(*tail)->next)
		;
	*tail = &w;
	pthread_mutex_unlock(&v->mutex);
	vcpu_kick(v);
	if (locked)
		machine_unlock();
	pthread_mutex_lock(&v->mutex);
	while (!w.done)
		pthread_cond_wait(&v->done_cond, &v->mutex);
	pthread_mutex_unlock(&v->mutex);
	if (locked)
		machine_lock();
}

static void get_state(struct vcpu *v, void *arg)
{
	unsigned groups = *(unsigned *)arg & ~v->valid;

	if (!groups)
		return;
	finish_io(v);
	v->accel->ops->vcpu_get(v, groups);
	v->valid |= groups;
}

void vcpu_sync(struct vcpu *v, unsigned groups)
{
	/* A machine without an engine (a device test) has all there is in the fields. */
	if (!v->accel || (groups & ~v->valid) == 0)
		return;
	vcpu_run_on(v, get_state, &groups);
}

void vcpu_modified(struct vcpu *v, unsigned groups)
{
	v->dirty |= groups;
}

static void nmi_work(struct vcpu *v, void *arg)
{
	*(bool *)arg = v->accel->ops->vcpu_nmi(v);
}

bool vcpu_inject_nmi(struct vcpu *v)
{
	bool ok = false;

	if (v->accel->ops->vcpu_nmi)
		vcpu_run_on(v, nmi_work, &ok);
	return ok;
}
