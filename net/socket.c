/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames over datagrams, one each: another VM, or any program that speaks so. `dgram` in QEMU's
 * words, and `socket,udp=`.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/loop.h"
#include "core/options.h"
#include "net/net.h"

struct datagrams {
	struct net_port *port;
	int fd;
	struct sockaddr_in to;
	char *text;
	GSource *source;
	uint8_t frame[NET_MOST_FRAME];
};

static void watch(struct datagrams *s);

static gboolean readable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct datagrams *s = opaque;

	(void)condition;
	for (unsigned i = 0; i < 64; i++) {
		ssize_t n = recv(fd, s->frame, sizeof(s->frame), MSG_DONTWAIT);

		if (n <= 0)
			return G_SOURCE_CONTINUE;
		/* The socket's buffer holds what comes while the card takes nothing. */
		if (!net_send(s->port, &(struct iovec) { s->frame, (size_t)n }, 1)) {
			loop_unwatch(&s->source);
			return G_SOURCE_REMOVE;
		}
	}
	return G_SOURCE_CONTINUE;
}

static void watch(struct datagrams *s)
{
	if (!s->source)
		s->source = loop_watch_fd(s->port->machine->context, s->fd, G_IO_IN, readable, s);
}

static bool take(void *opaque, const struct iovec *iov, int n)
{
	struct datagrams *s = opaque;
	struct msghdr m = { .msg_name = &s->to,
			    .msg_namelen = sizeof(s->to),
			    .msg_iov = (struct iovec *)iov,
			    .msg_iovlen = (size_t)n };

	/* A datagram that nobody receives is gone, as on a wire. */
	if (sendmsg(s->fd, &m, MSG_DONTWAIT) < 0)
		s->port->peer->sent.dropped++;
	return true;
}

static void go_on(void *opaque)
{
	watch(opaque);
}

static void close_socket(void *opaque)
{
	struct datagrams *s = opaque;

	loop_unwatch(&s->source);
	close(s->fd);
	g_free(s->text);
	g_free(s);
}

static char *describe(void *opaque)
{
	return g_strdup_printf("socket: %s", ((struct datagrams *)opaque)->text);
}

static const struct net_ops socket_ops = {
	.take = take, .go_on = go_on, .close = close_socket, .describe = describe
};

/* "host:port" */
static bool resolve(const char *key, const char *text, struct sockaddr_in *a, GError **err)
{
	const char *colon = strrchr(text, ':');
	g_autofree char *host = colon ? g_strndup(text, (gsize)(colon - text)) : NULL;
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_DGRAM }, *found = NULL;
	int e;

	if (!colon)
		return error(err, "-netdev socket: %s=%s: takes HOST:PORT", key, text);
	e = getaddrinfo(*host ? host : "127.0.0.1", colon + 1, &hints, &found);
	if (e)
		return error(err, "-netdev socket: %s=%s: %s", key, text, gai_strerror(e));
	memcpy(a, found->ai_addr, sizeof(*a));
	freeaddrinfo(found);
	return true;
}

static bool socket_open(struct net_port *p, struct optlist *l, GError **err)
{
	const char *udp = optlist_get(l, "udp"), *local = optlist_get(l, "localaddr");
	struct sockaddr_in from;
	struct datagrams *s;
	int fd;

	if (!udp || !local)
		return error(err, "-netdev socket: needs udp=HOST:PORT (where frames go) and "
				  "localaddr=HOST:PORT (where they come in)");
	s = g_new0(struct datagrams, 1);
	if (!resolve("udp", udp, &s->to, err) || !resolve("localaddr", local, &from, err)) {
		g_free(s);
		return false;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from))) {
		error(err, "-netdev socket: localaddr=%s: %s", local, strerror(errno));
		if (fd >= 0)
			close(fd);
		g_free(s);
		return false;
	}
	s->port = p;
	s->fd = fd;
	s->text = g_strdup_printf("udp=%s", udp);
	p->ops = &socket_ops;
	p->opaque = s;
	watch(s);
	return true;
}

const struct net_backend net_backend_socket = {
	.name = "socket",
	.help = "frames in UDP datagrams: udp=HOST:PORT,localaddr=HOST:PORT",
	.open = socket_open,
};
