/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/loop.h"

#include <glib-unix.h>

#include "core/lock.h"
#include "core/machine.h"

static gint poll_unlocked(GPollFD *fds, guint n, gint timeout)
{
	bool locked = machine_locked();
	gint r;

	if (locked)
		machine_unlock();
	r = g_poll(fds, n, timeout);
	if (locked)
		machine_lock();
	return r;
}

void loop_adopt(GMainContext *context)
{
	g_main_context_set_poll_func(context, poll_unlocked);
}

void loop_run(struct machine *m)
{
	while (machine_handle_requests(m))
		g_main_context_iteration(m->context, TRUE);
}

GSource *loop_watch_fd(GMainContext *context, int fd, GIOCondition condition,
		       gboolean (*fn)(gint fd, GIOCondition condition, gpointer opaque),
		       void *opaque)
{
	GSource *s = g_unix_fd_source_new(fd, condition);

	g_source_set_callback(s, G_SOURCE_FUNC(fn), opaque, NULL);
	g_source_attach(s, context);
	return s;
}

void loop_unwatch(GSource **source)
{
	if (!*source)
		return;
	g_source_destroy(*source);
	g_source_unref(*source);
	*source = NULL;
}

void loop_post(GMainContext *context, GSourceFunc fn, void *opaque)
{
	GSource *s = g_idle_source_new();

	g_source_set_priority(s, G_PRIORITY_DEFAULT);
	g_source_set_callback(s, fn, opaque, NULL);
	g_source_attach(s, context);
	g_source_unref(s);
}
