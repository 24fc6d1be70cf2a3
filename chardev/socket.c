/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket chardev: TCP and unix, client or server, raw or telnet (RFC 854: only the negotiation
 * that puts a client into character mode). A server takes one client at a time; the next waits in
 * the backlog.
 */
#include <errno.h>
#include <glib-unix.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "chardev/fd.h"
#include "core/loop.h"
#include "core/options.h"

enum telnet_state { TELNET_DATA, TELNET_IAC, TELNET_OPTION, TELNET_SUB, TELNET_SUB_IAC };

struct socket_chr {
	struct chr_fds fds;
	int listener; /* -1: client */
	GSource *listen_watch;
	bool telnet, nodelay;
	enum telnet_state telnet_state;
	char *path; /* unix socket, removed at the end by a server */
	char *what; /* for people */
};

#define IAC 255

static void greet_telnet(struct chardev *chr)
{
	/* WILL ECHO, WILL SUPPRESS-GO-AHEAD, WILL and DO BINARY. */
	static const uint8_t greeting[] = { IAC, 251, 1, IAC, 251, 3, IAC, 251, 0, IAC, 253, 0 };

	chr_fds_write(chr, greeting, sizeof(greeting));
}

static size_t strip_telnet(struct chardev *chr, uint8_t *data, size_t len)
{
	struct socket_chr *s = chr->backend;
	size_t kept = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = data[i];

		switch (s->telnet_state) {
		case TELNET_DATA:
			if (c == IAC)
				s->telnet_state = TELNET_IAC;
			else
				data[kept++] = c;
			break;
		case TELNET_IAC:
			if (c == IAC)
				data[kept++] = c;
			s->telnet_state = c == 250		 ? TELNET_SUB
					  : c >= 251 && c <= 254 ? TELNET_OPTION
								 : TELNET_DATA;
			break;
		case TELNET_OPTION:
			s->telnet_state = TELNET_DATA;
			break;
		case TELNET_SUB:
			if (c == IAC)
				s->telnet_state = TELNET_SUB_IAC;
			break;
		case TELNET_SUB_IAC:
			s->telnet_state = c == 240 ? TELNET_DATA : TELNET_SUB;
			break;
		}
	}
	return kept;
}

static void watch_listener(struct chardev *chr);

static void client_gone(struct chardev *chr)
{
	struct socket_chr *s = chr->backend;

	chr_fds_stop(chr);
	if (s->fds.in >= 0)
		close(s->fds.in);
	s->fds.in = s->fds.out = -1;
	g_byte_array_set_size(chr->out, 0);
	watch_listener(chr);
}

static void client_here(struct chardev *chr, int fd)
{
	struct socket_chr *s = chr->backend;
	int on = 1;

	g_unix_set_fd_nonblocking(fd, TRUE, NULL);
	if (s->nodelay)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->fds.in = s->fds.out = fd;
	s->fds.hangup = client_gone;
	s->fds.filter = s->telnet ? strip_telnet : NULL;
	s->telnet_state = TELNET_DATA;
	if (s->telnet)
		greet_telnet(chr);
	chr_fds_start(chr);
}

static gboolean accept_client(gint listener, GIOCondition condition, gpointer opaque)
{
	struct chardev *chr = opaque;
	struct socket_chr *s = chr->backend;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	(void)condition;
	if (fd < 0)
		return G_SOURCE_CONTINUE;
	loop_unwatch(&s->listen_watch);
	client_here(chr, fd);
	return G_SOURCE_REMOVE;
}

static void watch_listener(struct chardev *chr)
{
	struct socket_chr *s = chr->backend;

	if (s->listener >= 0 && !s->listen_watch)
		s->listen_watch =
			loop_watch_fd(chr->context, s->listener, G_IO_IN, accept_client, chr);
}

static int unix_socket(struct chardev *chr, const char *path, bool server, GError **err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(a.sun_path)) {
		error(err, "chardev '%s': path '%s' is longer than the %zu bytes a socket may have",
		      chr->id, path, sizeof(a.sun_path) - 1);
		return -1;
	}
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server)
		unlink(path);
	if (fd < 0 || (server ? bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1)
			      : connect(fd, (struct sockaddr *)&a, sizeof(a)))) {
		error(err, "chardev '%s': cannot %s '%s': %s", chr->id,
		      server ? "listen on" : "connect to", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static int tcp_socket(struct chardev *chr, const char *host, const char *port, bool server,
		      GError **err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = server ? AI_PASSIVE : 0 },
			*list;
	int fd = -1, on = 1, r;

	r = getaddrinfo(host && *host ? host : NULL, port, &hints, &list);
	if (r) {
		error(err, "chardev '%s': cannot resolve '%s:%s': %s", chr->id, host ? host : "",
		      port, gai_strerror(r));
		return -1;
	}
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (server ? bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 1)
			   : connect(fd, a->ai_addr, a->ai_addrlen)) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		error(err, "chardev '%s': cannot %s '%s:%s': %s", chr->id,
		      server ? "listen on" : "connect to", host ? host : "", port, strerror(errno));
	return fd;
}

static bool socket_open(struct chardev *chr, struct optlist *l, GError **err)
{
	const char *path = optlist_get(l, "path"), *host = optlist_get(l, "host");
	const char *port = optlist_get(l, "port");
	bool server = false, wait = true, telnet = false, nodelay = false;
	struct socket_chr *s;
	int fd;

	if (!optlist_bool(l, "server", &server, err) || !optlist_bool(l, "wait", &wait, err) ||
	    !optlist_bool(l, "telnet", &telnet, err) ||
	    !optlist_bool(l, "nodelay", &nodelay, err) || !optlist_finish(l, err))
		return false;
	if (!path && !port)
		return error(err, "chardev '%s': socket needs path=FILE or host=HOST,port=PORT",
			     chr->id);
	fd = path ? unix_socket(chr, path, server, err) : tcp_socket(chr, host, port, server, err);
	if (fd < 0)
		return false;
	s = g_new0(struct socket_chr, 1);
	s->telnet = telnet;
	s->nodelay = nodelay && !path;
	s->fds.in = s->fds.out = -1;
	s->listener = server ? fd : -1;
	s->path = server ? g_strdup(path) : NULL;
	s->what = path ? g_strdup_printf("unix:%s%s", path, server ? ",server=on" : "")
		       : g_strdup_printf("%s:%s:%s%s", telnet ? "telnet" : "tcp", host ? host : "",
					 port, server ? ",server=on" : "");
	chr->backend = s;
	if (!server) {
		client_here(chr, fd);
	} else if (wait) {
		fprintf(stderr, "moa: waiting for a connection on %s\n", s->what);
		fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			client_here(chr, fd);
		else
			watch_listener(chr);
	} else {
		watch_listener(chr);
	}
	return true;
}

static void socket_close(struct chardev *chr)
{
	struct socket_chr *s = chr->backend;

	loop_unwatch(&s->listen_watch);
	chr_fds_stop(chr);
	if (s->fds.in >= 0)
		close(s->fds.in);
	if (s->listener >= 0)
		close(s->listener);
	if (s->path)
		unlink(s->path);
	g_free(s->path);
	g_free(s->what);
	g_clear_pointer(&chr->backend, g_free);
}

static char *socket_describe(struct chardev *chr)
{
	struct socket_chr *s = chr->backend;

	return g_strdup_printf("%s%s", s->what, s->fds.in >= 0 ? "" : " (disconnected)");
}

const struct chr_backend chr_socket = {
	.name = "socket",
	.help = "path=FILE or host=HOST,port=PORT; server=on|off, wait=on|off, telnet=on|off, "
		"nodelay=on|off",
	.open = socket_open,
	.close = socket_close,
	.write = chr_fds_write,
	.want_write = chr_fds_want_write,
	.accept_input = chr_fds_accept_input,
	.describe = socket_describe,
};
