/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stream of frames: see stream.h. */
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/log.h"
#include "core/loop.h"

#define LENGTH_BYTES 4
#define IN_BYTES (128 * 1024)
#define MOST_OUT (1024 * 1024) /* bytes that wait for the other side */

struct stream {
	struct net_port *port;
	int fd, listener; /* -1: none */
	struct sockaddr_storage address;
	socklen_t address_len;
	unsigned reconnect;
	char *text;
	GSource *in, *out, *accepting, *retry;
	bool connecting, held; /* held: the card takes nothing */
	GByteArray *waiting;   /* output */
	size_t have;	       /* bytes in `buffer` */
	uint8_t buffer[IN_BYTES];
};

static void begin(struct stream *s, int fd);
static void lose(struct stream *s, const char *why);

/* Input. */

/* Hands over whole frames; false when the card holds them back, or the stream has gone. */
static bool deliver(struct stream *s)
{
	size_t at = 0;
	bool ok = true;

	while (ok && s->have - at >= LENGTH_BYTES) {
		uint32_t len = be32(s->buffer + at);

		if (len > NET_MOST_FRAME || !len) {
			lose(s, "it sent what is no frame");
			return false;
		}
		if (s->have - at - LENGTH_BYTES < len)
			break;
		ok = net_send(s->port, &(struct iovec) { s->buffer + at + LENGTH_BYTES, len }, 1);
		at += LENGTH_BYTES + len;
	}
	s->have -= at;
	memmove(s->buffer, s->buffer + at, s->have);
	return ok;
}

static gboolean readable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct stream *s = opaque;
	ssize_t n = read(fd, s->buffer + s->have, sizeof(s->buffer) - s->have);

	(void)condition;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0) {
		lose(s, n ? strerror(errno) : "the other side has closed it");
		return G_SOURCE_REMOVE;
	}
	s->have += (size_t)n;
	if (deliver(s))
		return G_SOURCE_CONTINUE;
	s->held = s->fd >= 0;
	loop_unwatch(&s->in);
	return G_SOURCE_REMOVE;
}

static void watch_input(struct stream *s)
{
	if (!s->in && s->fd >= 0 && !s->connecting)
		s->in = net_watch_fd(s->port, s->fd, G_IO_IN, readable, s);
}

static void go_on(void *opaque)
{
	struct stream *s = opaque;

	if (!s->held)
		return;
	s->held = false;
	if (deliver(s))
		watch_input(s);
	else
		s->held = s->fd >= 0;
}

/* Output. */

static gboolean writable(gint fd, GIOCondition condition, gpointer opaque);

static void flush_output(struct stream *s)
{
	while (s->fd >= 0 && !s->connecting && s->waiting->len) {
		ssize_t n =
			send(s->fd, s->waiting->data, s->waiting->len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			lose(s, strerror(errno));
			return;
		}
		if (n <= 0)
			break;
		g_byte_array_remove_range(s->waiting, 0, (guint)n);
	}
	if (s->waiting->len && !s->out && s->fd >= 0)
		s->out = net_watch_fd(s->port, s->fd, G_IO_OUT, writable, s);
}

static gboolean writable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct stream *s = opaque;
	int e = 0;
	socklen_t len = sizeof(e);

	(void)condition;
	loop_unwatch(&s->out);
	if (s->connecting) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
		s->connecting = false;
		if (e) {
			lose(s, strerror(e));
			return G_SOURCE_REMOVE;
		}
		watch_input(s);
	}
	flush_output(s);
	if (s->waiting->len < MOST_OUT / 2)
		net_ready(s->port);
	return G_SOURCE_REMOVE;
}

static bool take(void *opaque, const struct iovec *iov, int n)
{
	struct stream *s = opaque;
	size_t len = iov_bytes(iov, n);
	uint8_t head[LENGTH_BYTES];

	/* Nobody is there: as a wire without an end. */
	if (s->fd < 0) {
		if (s->port->peer)
			s->port->peer->sent.dropped++;
		return true;
	}
	if (s->waiting->len >= MOST_OUT)
		return false;
	put_be32(head, (uint32_t)len);
	g_byte_array_append(s->waiting, head, sizeof(head));
	for (int i = 0; i < n; i++)
		g_byte_array_append(s->waiting, iov[i].iov_base, (guint)iov[i].iov_len);
	flush_output(s);
	return true;
}

/* Connections. */

static gboolean acceptable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct stream *s = opaque;
	int new_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)condition;
	if (new_fd < 0)
		return G_SOURCE_CONTINUE;
	loop_unwatch(&s->accepting); /* one at a time */
	begin(s, new_fd);
	return G_SOURCE_REMOVE;
}

static bool start_connect(struct stream *s)
{
	int fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	if (connect(fd, (struct sockaddr *)&s->address, s->address_len) && errno != EINPROGRESS) {
		int e = errno;

		close(fd);
		errno = e;
		return false;
	}
	s->connecting = true;
	s->fd = fd;
	s->out = net_watch_fd(s->port, fd, G_IO_OUT, writable, s);
	return true;
}

static gboolean try_again(gint fd, GIOCondition condition, gpointer opaque);

static void plan_retry(struct stream *s)
{
	if (!s->reconnect || s->retry)
		return;
	s->retry = net_watch_timeout(s->port, s->reconnect, try_again, s);
}

static gboolean try_again(gint fd, GIOCondition condition, gpointer opaque)
{
	struct stream *s = opaque;

	(void)fd;
	(void)condition;
	loop_unwatch(&s->retry);
	if (!start_connect(s))
		plan_retry(s);
	return G_SOURCE_REMOVE;
}

static void wait_for_client(struct stream *s)
{
	s->accepting = net_watch_fd(s->port, s->listener, G_IO_IN, acceptable, s);
}

static void begin(struct stream *s, int fd)
{
	int on = 1;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->fd = fd;
	s->have = 0;
	s->held = false;
	watch_input(s);
}

/* What waited for a side that has gone is gone too. */
static void lose(struct stream *s, const char *why)
{
	log_write("network '%s': the stream has ended: %s", s->port->id, why);
	loop_unwatch(&s->in);
	loop_unwatch(&s->out);
	close(s->fd);
	s->fd = -1;
	s->connecting = s->held = false;
	s->have = 0;
	g_byte_array_set_size(s->waiting, 0);
	if (s->listener >= 0)
		wait_for_client(s);
	else
		plan_retry(s);
	net_ready(s->port);
}

static void move(void *opaque)
{
	struct stream *s = opaque;

	if (s->in) {
		loop_unwatch(&s->in);
		watch_input(s);
	}
	if (s->out) {
		loop_unwatch(&s->out);
		s->out = net_watch_fd(s->port, s->fd, G_IO_OUT, writable, s);
	}
	if (s->accepting) {
		loop_unwatch(&s->accepting);
		wait_for_client(s);
	}
	if (s->retry) {
		loop_unwatch(&s->retry);
		plan_retry(s);
	}
}

static void close_stream(void *opaque)
{
	struct stream *s = opaque;

	loop_unwatch(&s->in);
	loop_unwatch(&s->out);
	loop_unwatch(&s->accepting);
	loop_unwatch(&s->retry);
	if (s->fd >= 0)
		close(s->fd);
	if (s->listener >= 0) {
		close(s->listener);
		if (s->address.ss_family == AF_UNIX)
			unlink(((struct sockaddr_un *)&s->address)->sun_path);
	}
	g_byte_array_unref(s->waiting);
	g_free(s->text);
	g_free(s);
}

static char *describe(void *opaque)
{
	struct stream *s = opaque;

	return g_strdup_printf("%s, %s", s->text,
			       s->fd < 0       ? "nobody is there"
			       : s->connecting ? "connecting"
					       : "connected");
}

static const struct net_ops stream_ops = {
	.take = take, .go_on = go_on, .move = move, .close = close_stream, .describe = describe
};

static bool start_listening(struct stream *s)
{
	int on = 1;

	s->listener = socket(s->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listener < 0)
		return false;
	setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (s->address.ss_family == AF_UNIX)
		unlink(((struct sockaddr_un *)&s->address)->sun_path);
	if (bind(s->listener, (struct sockaddr *)&s->address, s->address_len) ||
	    listen(s->listener, 1))
		return false;
	wait_for_client(s);
	return true;
}

bool stream_new(struct net_port *p, enum stream_role role, int fd, const struct sockaddr_storage *a,
		socklen_t len, unsigned reconnect, char *text, GError **err)
{
	struct stream *s = g_new0(struct stream, 1);
	bool ok = true;

	s->port = p;
	s->fd = s->listener = -1;
	s->reconnect = reconnect;
	s->text = text;
	s->waiting = g_byte_array_new();
	if (a)
		s->address = *a;
	s->address_len = len;
	p->ops = &stream_ops;
	p->opaque = s;
	if (role == STREAM_CONNECTED)
		begin(s, fd);
	else if (role == STREAM_LISTEN)
		ok = start_listening(s);
	else if (!start_connect(s) && reconnect)
		plan_retry(s);
	else
		ok = s->fd >= 0;
	return ok || error(err, "-netdev %s: %s", text, strerror(errno));
}
