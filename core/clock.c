/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks and timers: see clock.h. The only file that reads the host's clocks. */
#include "core/clock.h"

#include <glib-unix.h>

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "core/lock.h"

static int64_t read_host_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

int64_t wall_clock_ns(void)
{
	return read_host_clock(CLOCK_REALTIME);
}

int64_t monotonic_ns(void)
{
	return read_host_clock(CLOCK_MONOTONIC);
}

static int64_t host_base(const struct clock *c)
{
	return c->kind == CLOCK_HOST ? wall_clock_ns() : monotonic_ns();
}

void clock_init(struct clock *c, enum clock_kind kind)
{
	static const char *const names[] = { "vm", "host", "rt" };

	memset(c, 0, sizeof(*c));
	c->kind = kind;
	c->name = names[kind];
	c->running = kind != CLOCK_VM;
	c->fd = -1;
	pthread_mutex_init(&c->lock, NULL);
}

void clock_destroy(struct clock *c)
{
	if (c->source) {
		g_source_destroy(c->source);
		g_source_unref(c->source);
		c->source = NULL;
	}
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	pthread_mutex_destroy(&c->lock);
}

static int64_t now_locked(struct clock *c)
{
	if (c->manual || !c->running)
		return c->frozen;
	return host_base(c) + c->offset;
}

int64_t clock_ns(struct clock *c)
{
	int64_t now;

	pthread_mutex_lock(&c->lock);
	now = now_locked(c);
	pthread_mutex_unlock(&c->lock);
	return now;
}

/* A stopped clock's timers wait: the timerfd is armed only while time passes. */
static void rearm_locked(struct clock *c)
{
	struct itimerspec spec = { 0 };
	int flags = 0;

	if (c->fd < 0 || c->manual)
		return;
	if (c->running && c->timers) {
		int64_t host = c->timers->deadline - c->offset;

		/* An all-zero value disarms; 1 ns fires at once. */
		host = MAX_OF(host, INT64_C(1));
		spec.it_value.tv_sec = host / NS_PER_SEC;
		spec.it_value.tv_nsec = host % NS_PER_SEC;
		flags = TFD_TIMER_ABSTIME;
	}
	timerfd_settime(c->fd, flags, &spec, NULL);
}

void clock_run(struct clock *c, bool running)
{
	assert(c->kind == CLOCK_VM);
	pthread_mutex_lock(&c->lock);
	if (running != c->running) {
		int64_t now = now_locked(c);

		c->running = running;
		c->frozen = now;
		c->offset = now - host_base(c);
		rearm_locked(c);
	}
	pthread_mutex_unlock(&c->lock);
}

void clock_set(struct clock *c, int64_t ns)
{
	pthread_mutex_lock(&c->lock);
	c->frozen = ns;
	c->offset = ns - host_base(c);
	rearm_locked(c);
	pthread_mutex_unlock(&c->lock);
}

void clock_manual(struct clock *c, int64_t ns)
{
	pthread_mutex_lock(&c->lock);
	c->manual = true;
	c->frozen = ns;
	pthread_mutex_unlock(&c->lock);
}

/* Takes the first timer that is due at `now` off the list; *late tells by how much. */
static struct timer *take_due(struct clock *c, int64_t now, int64_t *late)
{
	struct timer *t;

	pthread_mutex_lock(&c->lock);
	t = c->timers;
	if (t && t->deadline <= now) {
		*late = now - t->deadline;
		c->timers = t->next;
		t->next = NULL;
		t->deadline = -1;
	} else {
		t = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	return t;
}

void clock_step(struct clock *c, int64_t ns)
{
	int64_t end;

	assert(c->manual && ns >= 0);
	end = c->frozen + ns;
	for (;;) {
		int64_t late, next = clock_deadline(c);
		struct timer *t;

		if (next < 0 || next > end)
			break;
		c->frozen = MAX_OF(c->frozen, next);
		t = take_due(c, c->frozen, &late);
		t->fire(t->opaque, late);
	}
	c->frozen = end;
}

int64_t clock_deadline(struct clock *c)
{
	int64_t d;

	pthread_mutex_lock(&c->lock);
	d = c->timers ? c->timers->deadline : -1;
	pthread_mutex_unlock(&c->lock);
	return d;
}

/*
 * Bounded, so that a timer that re-arms itself in the past cannot keep the loop from its other
 * work.
 */
#define MOST_TIMERS_A_TURN 64

static gboolean clock_dispatch(gint fd, GIOCondition condition, gpointer opaque)
{
	struct clock *c = opaque;
	int64_t now = clock_ns(c), late;
	uint64_t expirations;
	struct timer *t;

	(void)condition;
	if (read(fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		return G_SOURCE_CONTINUE;
	for (int i = 0; i < MOST_TIMERS_A_TURN && (t = take_due(c, now, &late)); i++)
		t->fire(t->opaque, late);
	pthread_mutex_lock(&c->lock);
	rearm_locked(c);
	pthread_mutex_unlock(&c->lock);
	return G_SOURCE_CONTINUE;
}

bool clock_attach(struct clock *c, GMainContext *context, GError **err)
{
	clockid_t id = c->kind == CLOCK_HOST ? CLOCK_REALTIME : CLOCK_MONOTONIC;

	c->fd = timerfd_create(id, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->fd < 0)
		return error(err, "clock '%s': cannot create a timerfd: %s", c->name,
			     strerror(errno));
	c->source = g_unix_fd_source_new(c->fd, G_IO_IN);
	g_source_set_callback(c->source, G_SOURCE_FUNC(clock_dispatch), c, NULL);
	g_source_attach(c->source, context);
	pthread_mutex_lock(&c->lock);
	rearm_locked(c);
	pthread_mutex_unlock(&c->lock);
	return true;
}

void timer_init(struct timer *t, struct clock *c, const char *name,
		void (*fire)(void *opaque, int64_t late_ns), void *opaque)
{
	*t = (struct timer) {
		.name = name, .clock = c, .fire = fire, .opaque = opaque, .deadline = -1
	};
}

static void unlink_locked(struct timer *t)
{
	struct timer **p = &t->clock->timers;

	while (*p && *p != t)
		p = &(*p)->next;
	if (*p)
		*p = t->next;
	t->next = NULL;
}

void timer_arm(struct timer *t, int64_t deadline_ns)
{
	struct clock *c = t->clock;
	struct timer **p;

	pthread_mutex_lock(&c->lock);
	if (timer_pending(t))
		unlink_locked(t);
	t->deadline = MAX_OF(deadline_ns, INT64_C(0));
	for (p = &c->timers; *p && (*p)->deadline <= t->deadline; p = &(*p)->next)
		;
	t->next = *p;
	*p = t;
	if (c->timers == t)
		rearm_locked(c);
	pthread_mutex_unlock(&c->lock);
}

void timer_cancel(struct timer *t)
{
	/* A device that failed before its timers were set up is torn down all the same. */
	if (!t->clock)
		return;
	pthread_mutex_lock(&t->clock->lock);
	if (timer_pending(t)) {
		unlink_locked(t);
		t->deadline = -1;
	}
	pthread_mutex_unlock(&t->clock->lock);
}
