/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One frame, one read: see packet.h. */
#include "net/packet.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/loop.h"

#define FRAMES_AT_ONCE 64

static ssize_t receive(struct packet_fd *f, int fd)
{
	socklen_t len = sizeof(f->from);

	if (f->out_fd < 0)
		return read(fd, f->frame, sizeof(f->frame));
	return recvfrom(fd, f->frame, sizeof(f->frame), 0, (struct sockaddr *)&f->from, &len);
}

static bool is_own(const struct packet_fd *f)
{
	const struct sockaddr_in *from = (const struct sockaddr_in *)&f->from,
				 *own = (const struct sockaddr_in *)&f->own;

	return from->sin_port == own->sin_port && from->sin_addr.s_addr == own->sin_addr.s_addr;
}

static bool pass_on(struct packet_fd *f, size_t len)
{
	struct net_hdr h;

	if (!f->has_headers)
		return net_send(f->port, &(struct iovec) { f->frame, len }, 1);
	if (len < NET_HDR_BYTES)
		return true;
	net_hdr_load(&h, f->frame);
	return net_send_unfinished(
		f->port, &h, &(struct iovec) { f->frame + NET_HDR_BYTES, len - NET_HDR_BYTES }, 1);
}

static gboolean readable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct packet_fd *f = opaque;

	(void)condition;
	for (unsigned i = 0; i < FRAMES_AT_ONCE; i++) {
		ssize_t n = receive(f, fd);

		if (n <= 0)
			return G_SOURCE_CONTINUE;
		if (f->out_fd >= 0 && is_own(f))
			continue;
		/* The host's buffer holds what comes while the card takes nothing. */
		if (!pass_on(f, (size_t)n)) {
			loop_unwatch(&f->in);
			return G_SOURCE_REMOVE;
		}
	}
	return G_SOURCE_CONTINUE;
}

static void go_on(void *opaque)
{
	struct packet_fd *f = opaque;

	if (!f->in)
		f->in = net_watch_fd(f->port, f->fd, G_IO_IN, readable, f);
}

static gboolean writable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct packet_fd *f = opaque;

	(void)fd;
	(void)condition;
	loop_unwatch(&f->out);
	net_ready(f->port);
	return G_SOURCE_REMOVE;
}

static void move(void *opaque)
{
	struct packet_fd *f = opaque;

	if (f->in) {
		loop_unwatch(&f->in);
		go_on(f);
	}
	if (f->out) {
		loop_unwatch(&f->out);
		f->out = net_watch_fd(f->port, f->fd, G_IO_OUT, writable, f);
	}
}

static bool write_frame(struct packet_fd *f, const struct iovec *iov, int n)
{
	struct msghdr m = { .msg_name = &f->to,
			    .msg_namelen = f->to_len,
			    .msg_iov = (struct iovec *)iov,
			    .msg_iovlen = (size_t)n };
	ssize_t done;

	if (f->read_only)
		return true;
	done = f->to_len ? sendmsg(f->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL)
			 : writev(f->out_fd >= 0 ? f->out_fd : f->fd, iov, n);
	if (done < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
		if (!f->out)
			f->out = net_watch_fd(f->port, f->fd, G_IO_OUT, writable, f);
		return false;
	}
	/* A frame that nobody receives is gone, as on a wire. */
	if (done < 0 && f->port->peer)
		f->port->peer->sent.dropped++;
	return true;
}

static bool take_unfinished(void *opaque, const struct net_hdr *h, const struct iovec *iov, int n)
{
	struct packet_fd *f = opaque;
	g_autofree struct iovec *all = NULL;
	uint8_t raw[NET_HDR_BYTES];

	if (!f->has_headers)
		return write_frame(f, iov, n);
	net_hdr_store(h, raw);
	all = g_new(struct iovec, (size_t)n + 1);
	all[0] = (struct iovec) { raw, sizeof(raw) };
	memcpy(all + 1, iov, (size_t)n * sizeof(*iov));
	return write_frame(f, all, n + 1);
}

static bool take(void *opaque, const struct iovec *iov, int n)
{
	return take_unfinished(opaque, &(struct net_hdr) { 0 }, iov, n);
}

static void peer_takes(void *opaque, unsigned takes)
{
	struct packet_fd *f = opaque;

	if (f->peer_takes)
		f->peer_takes(f, takes);
}

static void close_packets(void *opaque)
{
	struct packet_fd *f = opaque;

	loop_unwatch(&f->in);
	loop_unwatch(&f->out);
	if (f->closing)
		f->closing(f, f->extra);
	close(f->fd);
	if (f->out_fd >= 0)
		close(f->out_fd);
	g_free(f->text);
	g_free(f);
}

static char *describe(void *opaque)
{
	return g_strdup(((struct packet_fd *)opaque)->text);
}

static const struct net_ops packet_ops = { .take = take,
					   .take_unfinished = take_unfinished,
					   .peer_takes = peer_takes,
					   .go_on = go_on,
					   .move = move,
					   .close = close_packets,
					   .describe = describe };

struct packet_fd *packet_fd_new(struct net_port *p, int fd, char *text)
{
	struct packet_fd *f = g_new0(struct packet_fd, 1);

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	f->port = p;
	f->fd = fd;
	f->out_fd = -1;
	f->text = text;
	p->ops = &packet_ops;
	p->opaque = f;
	go_on(f);
	return f;
}

/* Addresses. */

bool net_resolve(const char *option, const char *key, const char *host, const char *port,
		 bool passive, int type, struct sockaddr_storage *a, socklen_t *len, GError **err)
{
	struct addrinfo hints = { .ai_socktype = type, .ai_flags = passive ? AI_PASSIVE : 0 },
			*found = NULL;
	int e = getaddrinfo(*host ? host : "127.0.0.1", port, &hints, &found);

	if (e)
		return error(err, "%s: %s: '%s', port '%s': %s", option, key, host, port,
			     gai_strerror(e));
	memcpy(a, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return true;
}

bool net_resolve_pair(const char *option, const char *key, const char *text, bool passive, int type,
		      struct sockaddr_storage *a, socklen_t *len, GError **err)
{
	const char *colon = strrchr(text, ':');
	g_autofree char *host = colon ? g_strndup(text, (gsize)(colon - text)) : NULL;

	if (!colon)
		return error(err, "%s: %s=%s: takes HOST:PORT", option, key, text);
	return net_resolve(option, key, host, colon + 1, passive, type, a, len, err);
}

bool net_unix_address(const char *option, const char *key, const char *path,
		      struct sockaddr_storage *a, socklen_t *len, GError **err)
{
	struct sockaddr_un *u = (struct sockaddr_un *)a;

	if (strlen(path) >= sizeof(u->sun_path))
		return error(err, "%s: %s=%s: a socket's path has at most %zu characters", option,
			     key, path, sizeof(u->sun_path) - 1);
	memset(u, 0, sizeof(*u));
	u->sun_family = AF_UNIX;
	strcpy(u->sun_path, path);
	*len = sizeof(*u);
	return true;
}

int net_inherited_fd(const char *option, const char *text, GError **err)
{
	char *end;
	long fd = strtol(text, &end, 10);

	if (*end || end == text || fd < 0 || fcntl((int)fd, F_GETFD) < 0) {
		error(err, "%s: fd=%s: no open descriptor of that number was passed to moa", option,
		      text);
		return -1;
	}
	fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	return (int)fd;
}
