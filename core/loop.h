/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main loop: one GMainContext. The machine lock is held while sources are dispatched and
 * released while the loop sleeps, so handlers on the main thread need no lock calls. Loops never
 * nest.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"

struct machine;

/* Makes `context` give up the machine lock while it polls. */
void loop_adopt(GMainContext *context);
/* Runs until machine_handle_requests says the end. Called with the lock held. */
void loop_run(struct machine *m);
/*
 * Watches a file descriptor. The returned source is the caller's: loop_unwatch destroys it. `fn`
 * returns G_SOURCE_CONTINUE or G_SOURCE_REMOVE.
 */
GSource *loop_watch_fd(GMainContext *context, int fd, GIOCondition condition,
		       gboolean (*fn)(gint fd, GIOCondition condition, gpointer opaque),
		       void *opaque);
void loop_unwatch(GSource **source);
/* Runs fn once on the main thread, soon; any thread. */
void loop_post(GMainContext *context, GSourceFunc fn, void *opaque);
