/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The chardev backends that need no network: stdio, pty, file, null, ringbuf. */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "chardev/fd.h"
#include "core/options.h"

/* stdio. */

struct stdio_chr {
	struct chr_fds fds;
	bool signals; /* Ctrl-C ends moa instead of going to the guest */
};

static struct termios saved_tty;
static int saved_flags;
static bool stdio_taken, tty_changed;

static void restore_tty(void)
{
	if (tty_changed)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_tty);
	if (stdio_taken)
		fcntl(STDIN_FILENO, F_SETFL, saved_flags);
	tty_changed = false;
}

/* Raw, but with output processing, so that our own messages keep their line ends. */
static void set_tty(bool signals)
{
	struct termios tty;

	if (tcgetattr(STDIN_FILENO, &tty))
		return;
	if (!tty_changed)
		saved_tty = tty;
	tty_changed = true;
	tty.c_iflag &=
		~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	tty.c_oflag |= OPOST;
	tty.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
	if (!signals)
		tty.c_lflag &= ~(tcflag_t)ISIG;
	tty.c_cc[VMIN] = 1;
	tty.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &tty);
}

static bool stdio_open(struct chardev *chr, struct optlist *l, GError **err)
{
	struct stdio_chr *s;
	bool signals = !chr->mux;

	if (!optlist_bool(l, "signal", &signals, err) || !optlist_finish(l, err))
		return false;
	if (stdio_taken)
		return error(err,
			     "chardev '%s': stdio is in use already; share it with -chardev "
			     "stdio,id=s,mux=on "
			     "or use -serial mon:stdio",
			     chr->id);
	s = g_new0(struct stdio_chr, 1);
	s->fds.in = STDIN_FILENO;
	s->fds.out = STDOUT_FILENO;
	s->signals = signals;
	chr->backend = s;
	saved_flags = fcntl(STDIN_FILENO, F_GETFL);
	stdio_taken = true;
	set_tty(signals);
	atexit(restore_tty);
	chr_fds_start(chr);
	return true;
}

static void stdio_close(struct chardev *chr)
{
	chr_fds_stop(chr);
	restore_tty();
	stdio_taken = false;
	g_clear_pointer(&chr->backend, g_free);
}

const struct chr_backend chr_stdio = {
	.name = "stdio",
	.help = "the terminal: signal=on|off, mux=on|off",
	.open = stdio_open,
	.close = stdio_close,
	.write = chr_fds_write,
	.want_write = chr_fds_want_write,
	.accept_input = chr_fds_accept_input,
};

/* pty. */

struct pty_chr {
	struct chr_fds fds;
	int slave; /* held open, so that the master never reports a hang-up */
	char path[64];
};

static bool pty_open(struct chardev *chr, struct optlist *l, GError **err)
{
	struct pty_chr *p;
	struct termios tty;
	int master, slave;

	if (!optlist_finish(l, err))
		return false;
	if (openpty(&master, &slave, NULL, NULL, NULL))
		return error(err, "chardev '%s': the host has no free pty: %s", chr->id,
			     strerror(errno));
	tcgetattr(slave, &tty);
	cfmakeraw(&tty);
	tcsetattr(slave, TCSAFLUSH, &tty);
	g_unix_set_fd_nonblocking(master, TRUE, NULL);
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	p = g_new0(struct pty_chr, 1);
	p->fds.in = p->fds.out = master;
	p->slave = slave;
	if (ptsname_r(master, p->path, sizeof(p->path)))
		p->path[0] = 0;
	chr->backend = p;
	fprintf(stderr, "char device redirected to %s (label %s)\n", p->path, chr->id);
	chr_fds_start(chr);
	return true;
}

static void pty_close(struct chardev *chr)
{
	struct pty_chr *p = chr->backend;

	chr_fds_stop(chr);
	close(p->fds.in);
	close(p->slave);
	g_clear_pointer(&chr->backend, g_free);
}

static char *pty_describe(struct chardev *chr)
{
	return g_strdup_printf("pty:%s", ((struct pty_chr *)chr->backend)->path);
}

const struct chr_backend chr_pty = {
	.name = "pty",
	.help = "a new pseudo-terminal, whose name is printed",
	.open = pty_open,
	.close = pty_close,
	.write = chr_fds_write,
	.want_write = chr_fds_want_write,
	.accept_input = chr_fds_accept_input,
	.describe = pty_describe,
};

/* file. */

struct file_chr {
	struct chr_fds fds;
	char *path;
};

static bool file_open(struct chardev *chr, struct optlist *l, GError **err)
{
	const char *path = optlist_get(l, "path"), *input = optlist_get(l, "input-path");
	bool append = false;
	struct file_chr *f;
	int in = -1, out;

	if (!optlist_bool(l, "append", &append, err) || !optlist_finish(l, err))
		return false;
	if (!path || !*path)
		return error(err, "chardev '%s': file needs path=FILE", chr->id);
	out = open(path,
		   O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | (append ? O_APPEND : O_TRUNC),
		   0666);
	if (out < 0)
		return error(err, "chardev '%s': cannot write '%s': %s", chr->id, path,
			     strerror(errno));
	if (input) {
		in = open(input, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (in < 0) {
			close(out);
			return error(err, "chardev '%s': cannot read '%s': %s", chr->id, input,
				     strerror(errno));
		}
	}
	f = g_new0(struct file_chr, 1);
	f->fds.in = in;
	f->fds.out = out;
	f->path = g_strdup(path);
	chr->backend = f;
	chr_fds_start(chr);
	return true;
}

static void file_close(struct chardev *chr)
{
	struct file_chr *f = chr->backend;

	chr_fds_stop(chr);
	close(f->fds.out);
	if (f->fds.in >= 0)
		close(f->fds.in);
	g_free(f->path);
	g_clear_pointer(&chr->backend, g_free);
}

static char *file_describe(struct chardev *chr)
{
	return g_strdup_printf("file:%s", ((struct file_chr *)chr->backend)->path);
}

const struct chr_backend chr_file = {
	.name = "file",
	.help = "path=FILE for output, input-path=FILE for input, append=on|off",
	.open = file_open,
	.close = file_close,
	.write = chr_fds_write,
	.want_write = chr_fds_want_write,
	.accept_input = chr_fds_accept_input,
	.describe = file_describe,
};

/* null. */

static bool null_open(struct chardev *chr, struct optlist *l, GError **err)
{
	if (!optlist_finish(l, err))
		return false;
	chr->backend = chr; /* something, to say that it is open */
	chr_set_connected(chr, true);
	return true;
}

static void null_close(struct chardev *chr)
{
	chr->backend = NULL;
}

static long null_write(struct chardev *chr, const uint8_t *data, size_t len)
{
	(void)chr;
	(void)data;
	return (long)len;
}

const struct chr_backend chr_null = {
	.name = "null",
	.help = "nothing: output is dropped",
	.open = null_open,
	.close = null_close,
	.write = null_write,
};

/* ringbuf. */

struct ringbuf_chr {
	uint8_t *data;
	size_t size, head, len; /* head: the oldest byte */
};

static bool ringbuf_open(struct chardev *chr, struct optlist *l, GError **err)
{
	uint64_t size = 64 * KIB;
	struct ringbuf_chr *r;

	if (!optlist_uint(l, "size", 1, 64 * MIB, &size, err) || !optlist_finish(l, err))
		return false;
	if (size & (size - 1))
		return error(err, "chardev '%s': size=%" G_GUINT64_FORMAT " must be a power of two",
			     chr->id, size);
	r = g_new0(struct ringbuf_chr, 1);
	r->data = g_malloc(size);
	r->size = size;
	chr->backend = r;
	chr_set_connected(chr, true);
	return true;
}

static void ringbuf_close(struct chardev *chr)
{
	struct ringbuf_chr *r = chr->backend;

	g_free(r->data);
	g_clear_pointer(&chr->backend, g_free);
}

static long ringbuf_write(struct chardev *chr, const uint8_t *data, size_t len)
{
	struct ringbuf_chr *r = chr->backend;

	for (size_t i = 0; i < len; i++) {
		r->data[(r->head + r->len) % r->size] = data[i];
		if (r->len < r->size)
			r->len++;
		else
			r->head = (r->head + 1) % r->size;
	}
	return (long)len;
}

static size_t ringbuf_read_back(struct chardev *chr, uint8_t *data, size_t len)
{
	struct ringbuf_chr *r = chr->backend;
	size_t n = MIN_OF(len, r->len);

	for (size_t i = 0; i < n; i++)
		data[i] = r->data[(r->head + i) % r->size];
	r->head = (r->head + n) % r->size;
	r->len -= n;
	return n;
}

const struct chr_backend chr_ringbuf = {
	.name = "ringbuf",
	.help = "keeps the last size=N bytes for the monitor's ringbuf_read",
	.open = ringbuf_open,
	.close = ringbuf_close,
	.write = ringbuf_write,
	.read_back = ringbuf_read_back,
};
