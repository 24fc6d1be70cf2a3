/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames between VMs: in datagrams, one each (UDP, multicast, Unix), or in a stream with their
 * length before them (stream.c). `dgram` and `stream` in QEMU's words, and `socket` for both.
 */
#include "net/packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/options.h"
#include "net/stream.h"

static bool fail_fd(int fd, GError **err, const char *what, const char *key, const char *text)
{
	error(err, "%s: %s=%s: %s", what, key, text, strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

/* Everybody in the group hears everybody; the sender's own frames are kept out by their port. */
static bool open_multicast(struct net_port *p, const char *option, const char *text,
			   const char *local, GError **err)
{
	struct sockaddr_storage group;
	struct sockaddr_in *in = (struct sockaddr_in *)&group;
	struct ip_mreq request = { 0 };
	struct packet_fd *f;
	socklen_t len, own_len = sizeof(struct sockaddr_in);
	int fd, out, on = 1;

	if (!net_resolve_pair(option, "mcast", text, false, SOCK_DGRAM, &group, &len, err))
		return false;
	if (group.ss_family != AF_INET || !IN_MULTICAST(ntohl(in->sin_addr.s_addr)))
		return error(err,
			     "%s: %s is no multicast address, which are 224.0.0.0 to "
			     "239.255.255.255",
			     option, text);
	request.imr_multiaddr = in->sin_addr;
	request.imr_interface.s_addr = htonl(INADDR_ANY);
	if (local && inet_pton(AF_INET, local, &request.imr_interface) != 1)
		return error(err, "%s: localaddr=%s: takes the IPv4 address of an interface",
			     option, local);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&group, len) ||
	    setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)))
		return fail_fd(fd, err, option, "mcast", text);
	out = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (out < 0 ||
	    (local && setsockopt(out, IPPROTO_IP, IP_MULTICAST_IF, &request.imr_interface,
				 sizeof(request.imr_interface))) ||
	    connect(out, (struct sockaddr *)&group, len)) {
		close(fd);
		return fail_fd(out, err, option, "mcast", text);
	}
	f = packet_fd_new(p, fd, g_strdup_printf("socket: mcast=%s", text));
	f->out_fd = out;
	getsockname(out, (struct sockaddr *)&f->own, &own_len);
	return true;
}

static bool open_datagrams(struct net_port *p, const char *option,
			   const struct sockaddr_storage *to, socklen_t to_len,
			   const struct sockaddr_storage *from, socklen_t from_len, char *text,
			   GError **err)
{
	int fd = socket(from->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct packet_fd *f;

	if (from->ss_family == AF_UNIX)
		unlink(((const struct sockaddr_un *)from)->sun_path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)from, from_len)) {
		fail_fd(fd, err, option, "local address", text);
		g_free(text);
		return false;
	}
	f = packet_fd_new(p, fd, text);
	f->to = *to;
	f->to_len = to_len;
	return true;
}

static bool socket_open(struct net_port *p, struct optlist *l, GError **err)
{
	static const char option[] = "-netdev socket";
	const char *udp = optlist_get(l, "udp"), *local = optlist_get(l, "localaddr"),
		   *mcast = optlist_get(l, "mcast"), *listen_at = optlist_get(l, "listen"),
		   *connect_to = optlist_get(l, "connect"), *fd_text = optlist_get(l, "fd");
	struct sockaddr_storage to, from;
	socklen_t to_len, from_len;
	unsigned given = !!udp + !!mcast + !!listen_at + !!connect_to + !!fd_text;

	if (given != 1)
		return error(err,
			     "%s: takes one of listen=HOST:PORT, connect=HOST:PORT, "
			     "mcast=GROUP:PORT, udp=HOST:PORT, fd=N",
			     option);
	if (mcast)
		return open_multicast(p, option, mcast, local, err);
	if (udp) {
		if (!local)
			return error(err,
				     "%s: udp=%s needs localaddr=HOST:PORT, where frames come "
				     "in",
				     option, udp);
		return net_resolve_pair(option, "udp", udp, false, SOCK_DGRAM, &to, &to_len, err) &&
		       net_resolve_pair(option, "localaddr", local, true, SOCK_DGRAM, &from,
					&from_len, err) &&
		       open_datagrams(p, option, &to, to_len, &from, from_len,
				      g_strdup_printf("socket: udp=%s", udp), err);
	}
	if (fd_text) {
		int fd = net_inherited_fd(option, fd_text, err);

		return fd >= 0 && stream_new(p, STREAM_CONNECTED, fd, NULL, 0, 0,
					     g_strdup_printf("socket: fd=%s", fd_text), err);
	}
	return net_resolve_pair(option, listen_at ? "listen" : "connect",
				listen_at ? listen_at : connect_to, listen_at, SOCK_STREAM, &to,
				&to_len, err) &&
	       stream_new(p, listen_at ? STREAM_LISTEN : STREAM_CONNECT, -1, &to, to_len, 0,
			  g_strdup_printf("socket: %s=%s", listen_at ? "listen" : "connect",
					  listen_at ? listen_at : connect_to),
			  err);
}

/* "PREFIX.type=inet|unix|fd" and what belongs to it. *fd: -1, or the descriptor. */
static bool take_address(struct optlist *l, const char *option, const char *prefix, bool passive,
			 int type, struct sockaddr_storage *a, socklen_t *len, int *fd, char **text,
			 GError **err)
{
	static const char *const kinds[] = { "inet", "unix", "fd", NULL };
	g_autofree char *kind_key = g_strdup_printf("%s.type", prefix);
	g_autofree char *host_key = g_strdup_printf("%s.host", prefix);
	g_autofree char *port_key = g_strdup_printf("%s.port", prefix);
	g_autofree char *path_key = g_strdup_printf("%s.path", prefix);
	g_autofree char *fd_key = g_strdup_printf("%s.str", prefix);
	const char *host = optlist_get(l, host_key), *port = optlist_get(l, port_key),
		   *path = optlist_get(l, path_key), *name = optlist_get(l, fd_key);
	unsigned kind = 0;

	*fd = -1;
	if (!optlist_enum(l, kind_key, kinds, &kind, err))
		return false;
	if (kind == 2) {
		*fd = name ? net_inherited_fd(option, name, err) : -1;
		*text = g_strdup_printf("fd=%s", name ? name : "");
		return name ? *fd >= 0 : error(err, "%s: needs %s=N", option, fd_key);
	}
	if (kind == 1) {
		*text = g_strdup(path);
		return path ? net_unix_address(option, path_key, path, a, len, err)
			    : error(err, "%s: needs %s=PATH", option, path_key);
	}
	if (!host || !port)
		return error(err, "%s: needs %s=HOST and %s=PORT", option, host_key, port_key);
	*text = g_strdup_printf("%s:%s", host, port);
	return net_resolve(option, host_key, host, port, passive, type, a, len, err);
}

static bool dgram_open(struct net_port *p, struct optlist *l, GError **err)
{
	static const char option[] = "-netdev dgram";
	g_autofree char *to_text = NULL, *from_text = NULL;
	struct sockaddr_storage to = { 0 }, from = { 0 };
	socklen_t to_len = 0, from_len = 0;
	bool has_local = optlist_get(l, "local.type") || optlist_get(l, "local.host") ||
			 optlist_get(l, "local.path");
	int fd;

	if (has_local && !take_address(l, option, "local", true, SOCK_DGRAM, &from, &from_len, &fd,
				       &from_text, err))
		return false;
	if (has_local && fd >= 0) {
		packet_fd_new(p, fd, g_strdup_printf("dgram: %s", from_text));
		return true;
	}
	if (!take_address(l, option, "remote", false, SOCK_DGRAM, &to, &to_len, &fd, &to_text, err))
		return false;
	if (to.ss_family == AF_INET &&
	    IN_MULTICAST(ntohl(((struct sockaddr_in *)&to)->sin_addr.s_addr)))
		return open_multicast(p, option, to_text, NULL, err);
	if (!has_local)
		return error(err, "%s: needs local.type= and where frames come in", option);
	if (to.ss_family != from.ss_family)
		return error(err, "%s: local and remote are of different types", option);
	return open_datagrams(p, option, &to, to_len, &from, from_len,
			      g_strdup_printf("dgram: %s to %s", from_text, to_text), err);
}

static bool stream_open(struct net_port *p, struct optlist *l, GError **err)
{
	static const char option[] = "-netdev stream";
	g_autofree char *text = NULL;
	struct sockaddr_storage a = { 0 };
	socklen_t len = 0;
	uint64_t reconnect = 0;
	bool server = false;
	int fd;

	if (!optlist_bool(l, "server", &server, err) ||
	    !optlist_uint(l, "reconnect", 0, 3600, &reconnect, err) ||
	    !take_address(l, option, "addr", server, SOCK_STREAM, &a, &len, &fd, &text, err))
		return false;
	if (server && reconnect)
		return error(err, "%s: reconnect= is a client's: a server waits anyway", option);
	return stream_new(p,
			  fd >= 0  ? STREAM_CONNECTED
			  : server ? STREAM_LISTEN
				   : STREAM_CONNECT,
			  fd, &a, len, (unsigned)reconnect, g_strdup_printf("stream: %s", text),
			  err);
}

const struct net_backend net_backend_socket = {
	.name = "socket",
	.help = "another VM: listen=HOST:PORT, connect=HOST:PORT, mcast=GROUP:PORT, fd=N, or "
		"udp=HOST:PORT,localaddr=HOST:PORT",
	.open = socket_open,
};
const struct net_backend net_backend_dgram = {
	.name = "dgram",
	.help = "frames in datagrams: local.type=inet|unix|fd, remote.type=..., with .host, .port, "
		".path, .str",
	.open = dgram_open,
};
const struct net_backend net_backend_stream = {
	.name = "stream",
	.help = "frames in a stream: addr.type=inet|unix|fd with addr.host, .port, .path, .str; "
		"server=on, reconnect=SECONDS",
	.open = stream_open,
};
