/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's own network, by a tap interface: one that moa makes (or finds) by name, or a
 * descriptor that it was given. Source: Linux, Documentation/networking/tuntap.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/options.h"
#include "net/packet.h"

struct tap {
	char *name, *down_script;
};

/* A script of the user's, with the interface's name. */
static bool run_script(const char *key, const char *script, const char *name, GError **err)
{
	char *argv[] = { (char *)script, (char *)name, NULL };
	g_autoptr(GError) e = NULL;
	int status = 0;

	if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status, &e) ||
	    !g_spawn_check_wait_status(status, &e))
		return error(err, "-netdev tap: %s=%s: %s; %s=no goes without one", key, script,
			     e->message, key);
	return true;
}

static bool set_up(int s, struct ifreq *r)
{
	if (ioctl(s, SIOCGIFFLAGS, r))
		return false;
	r->ifr_flags |= IFF_UP;
	return !ioctl(s, SIOCSIFFLAGS, r);
}

/* Into a bridge, and up: what QEMU has a helper for. */
static bool join_bridge(const char *bridge, const char *name, GError **err)
{
	struct ifreq member = { 0 }, r = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok;

	g_strlcpy(member.ifr_name, name, sizeof(member.ifr_name));
	g_strlcpy(r.ifr_name, bridge, sizeof(r.ifr_name));
	ok = s >= 0 && !ioctl(s, SIOCGIFINDEX, &member);
	if (ok) {
		r.ifr_ifindex = member.ifr_ifindex;
		ok = !ioctl(s, SIOCBRADDIF, &r) || errno == EBUSY;
	}
	ok = ok && set_up(s, &member);
	if (!ok)
		error(err, "-netdev tap: br=%s: '%s' cannot be put into it: %s", bridge, name,
		      strerror(errno));
	if (s >= 0)
		close(s);
	return ok;
}

static void closing(struct packet_fd *f, void *extra)
{
	struct tap *t = extra;
	g_autoptr(GError) e = NULL;

	(void)f;
	if (t->down_script && !run_script("downscript", t->down_script, t->name, &e))
		fprintf(stderr, "moa: %s\n", e->message);
	g_free(t->down_script);
	g_free(t->name);
	g_free(t);
}

static int open_tap(const char *ifname, bool headers, char name[IFNAMSIZ], GError **err)
{
	struct ifreq r = { .ifr_flags =
				   (short)(IFF_TAP | IFF_NO_PI | (headers ? IFF_VNET_HDR : 0)) };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (ifname && strlen(ifname) >= IFNAMSIZ) {
		error(err, "-netdev tap: ifname=%s: names have at most %d characters", ifname,
		      IFNAMSIZ - 1);
	} else if (fd < 0) {
		error(err, "-netdev tap: /dev/net/tun: %s; run moa as root, or pass it fd=N",
		      strerror(errno));
	} else {
		g_strlcpy(r.ifr_name, ifname ? ifname : "tap%d", IFNAMSIZ);
		if (!ioctl(fd, TUNSETIFF, &r)) {
			memcpy(name, r.ifr_name, IFNAMSIZ);
			return fd;
		}
		error(err,
		      "-netdev tap: ifname=%s: %s; make it with `ip tuntap add` for your user, "
		      "or run moa as root",
		      ifname ? ifname : "", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* What the host may leave to the guest, as the guest says. */
static void peer_takes(struct packet_fd *f, unsigned takes)
{
	static const struct {
		unsigned takes, host;
	} rows[] = { { NET_TAKES_CSUM, TUN_F_CSUM },
		     { NET_TAKES_TSO4, TUN_F_TSO4 },
		     { NET_TAKES_TSO6, TUN_F_TSO6 },
		     { NET_TAKES_ECN, TUN_F_TSO_ECN } };
	unsigned long host = 0;

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		if (takes & rows[i].takes)
			host |= rows[i].host;
	ioctl(f->fd, TUNSETOFFLOAD, host);
}

/* Headers before frames, of the size that we know. */
static bool use_headers(struct packet_fd *f)
{
	int size = NET_HDR_BYTES;

	if (ioctl(f->fd, TUNSETVNETHDRSZ, &size))
		return false;
	f->has_headers = true;
	f->peer_takes = peer_takes;
	f->port->takes = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6 | NET_TAKES_ECN;
	peer_takes(f, 0);
	return true;
}

static bool has_headers(int fd)
{
	struct ifreq r = { 0 };

	return !ioctl(fd, TUNGETIFF, &r) && r.ifr_flags & IFF_VNET_HDR;
}

static bool wanted_script(const char *text)
{
	return text && *text && strcmp(text, "no");
}

static bool tap_open(struct net_port *p, struct optlist *l, GError **err)
{
	const char *ifname = optlist_get(l, "ifname"), *fd_text = optlist_get(l, "fd"),
		   *script = optlist_get(l, "script"), *down = optlist_get(l, "downscript"),
		   *bridge = optlist_get(l, "br");
	static const char *const off[] = { "off", NULL };
	char name[IFNAMSIZ] = "";
	struct packet_fd *f;
	bool headers = true;
	unsigned none = 0;
	struct tap *t;
	int fd;

	if (!optlist_enum(l, "vhost", off, &none, err) ||
	    !optlist_bool(l, "vnet_hdr", &headers, err))
		return false;
	if (fd_text && (ifname || script || down || bridge))
		return error(err,
			     "-netdev tap: fd=%s is there already: no ifname=, script=, "
			     "downscript=, br=",
			     fd_text);
	fd = fd_text ? net_inherited_fd("-netdev tap", fd_text, err)
		     : open_tap(ifname, headers, name, err);
	if (fd < 0)
		return false;
	t = g_new0(struct tap, 1);
	t->name = g_strdup(name);
	f = packet_fd_new(p, fd,
			  fd_text ? g_strdup_printf("tap: fd=%s", fd_text)
				  : g_strdup_printf("tap: ifname=%s", name));
	f->extra = t;
	f->closing = closing;
	if (has_headers(fd) && !use_headers(f))
		return error(err,
			     "-netdev tap: the host's headers before frames are of no use: %s; "
			     "say vnet_hdr=off",
			     strerror(errno));
	if ((wanted_script(script) && !run_script("script", script, name, err)) ||
	    (bridge && !join_bridge(bridge, name, err)))
		return false;
	if (wanted_script(down))
		t->down_script = g_strdup(down);
	return true;
}

const struct net_backend net_backend_tap = {
	.name = "tap",
	.help = "an interface of the host: ifname=NAME or fd=N, br=BRIDGE, script=FILE|no, "
		"downscript=FILE|no, vnet_hdr=on|off",
	.open = tap_open,
};
