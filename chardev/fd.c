/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chardev/fd.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "core/loop.h"

#define READ_AT_ONCE 4096u

static void hang_up(struct chardev *chr)
{
	struct chr_fds *f = chr->backend;

	loop_unwatch(&f->in_watch);
	f->lost = true;
	if (f->hangup)
		f->hangup(chr);
}

static gboolean readable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct chardev *chr = opaque;
	struct chr_fds *f = chr->backend;
	uint8_t buf[READ_AT_ONCE];
	size_t room = MIN_OF(chr_input_room(chr), sizeof(buf));
	ssize_t n;

	(void)condition;
	if (!room) {
		/* The front calls chr_accept_input when it has room again. */
		loop_unwatch(&f->in_watch);
		return G_SOURCE_REMOVE;
	}
	n = read(fd, buf, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0) {
		hang_up(chr);
		return G_SOURCE_REMOVE;
	}
	if (f->filter)
		n = (ssize_t)f->filter(chr, buf, (size_t)n);
	if (n)
		chr_input(chr, buf, (size_t)n);
	return G_SOURCE_CONTINUE;
}

void chr_fds_accept_input(struct chardev *chr)
{
	struct chr_fds *f = chr->backend;

	if (f && f->in >= 0 && !f->in_watch && !f->lost)
		f->in_watch = loop_watch_fd(chr->context, f->in, G_IO_IN | G_IO_HUP | G_IO_ERR,
					    readable, chr);
}

void chr_fds_start(struct chardev *chr)
{
	struct chr_fds *f = chr->backend;

	f->lost = false;
	chr_fds_accept_input(chr);
	chr_set_connected(chr, true);
}

void chr_fds_stop(struct chardev *chr)
{
	struct chr_fds *f = chr->backend;

	loop_unwatch(&f->in_watch);
	loop_unwatch(&f->out_watch);
	chr_set_connected(chr, false);
}

long chr_fds_write(struct chardev *chr, const uint8_t *data, size_t len)
{
	struct chr_fds *f = chr->backend;
	/* A ready pipe or terminal takes this much without blocking, whatever its file flags are.
	 */
	size_t chunk = MIN_OF(len, (size_t)PIPE_BUF);
	struct pollfd ready = { .fd = f->out, .events = POLLOUT };
	ssize_t n;

	if (f->out < 0)
		return -1;
	if (poll(&ready, 1, 0) == 0)
		return 0;
	n = write(f->out, data, chunk);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	return n;
}

static gboolean writable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct chardev *chr = opaque;
	struct chr_fds *f = chr->backend;

	(void)fd;
	(void)condition;
	chr_flush(chr);
	if (chr->out->len)
		return G_SOURCE_CONTINUE;
	loop_unwatch(&f->out_watch);
	return G_SOURCE_REMOVE;
}

void chr_fds_want_write(struct chardev *chr)
{
	struct chr_fds *f = chr->backend;

	if (f && f->out >= 0 && !f->out_watch)
		f->out_watch = loop_watch_fd(chr->context, f->out, G_IO_OUT, writable, chr);
}
