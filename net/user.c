/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user network: a small network of its own behind the host's sockets, without rights
 * (libslirp). The guest is 10.0.2.15 by DHCP, the host 10.0.2.2, the name server 10.0.2.3.
 */
#include "net/user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/loop.h"
#include "core/options.h"
#include "net/gro.h"

struct polled {
	int fd;
	gpointer tag;
	GIOCondition events;
};

struct user_net {
	struct net_port *port;
	Slirp *slirp;
	struct gro *gro;
	struct in_addr network, mask, host, dhcp, dns;
	GSource *source;
	GArray *polled; /* struct polled, in slirp's order */
	guint used;	/* of them, in this round */
	GPtrArray *forwards;
};

/* libslirp's view of us. */

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
	struct user_net *u = opaque;

	/* What does not fit is dropped and counted; TCP sends it again. */
	gro_send(u->gro, buf, len);
	return (ssize_t)len;
}

static void guest_error(const char *text, void *opaque)
{
	(void)opaque;
	log_guest(NULL, "user network: %s", text);
}

static int64_t clock_get(void *opaque)
{
	return clock_ns(vm_clock(((struct user_net *)opaque)->port->machine));
}

struct slirp_timer {
	struct user_net *u;
	struct timer timer;
	SlirpTimerCb fire;
	void *opaque;
};

static void timer_fired(void *opaque, int64_t late)
{
	struct slirp_timer *t = opaque;
	struct iothread *thread = t->u->port->iothread;

	(void)late;
	iothread_lock(thread);
	t->fire(t->opaque);
	gro_flush(t->u->gro);
	iothread_unlock(thread);
}

static void *timer_make(SlirpTimerCb fire, void *fire_opaque, void *opaque)
{
	struct user_net *u = opaque;
	struct slirp_timer *t = g_new0(struct slirp_timer, 1);

	t->u = u;
	t->fire = fire;
	t->opaque = fire_opaque;
	timer_init(&t->timer, vm_clock(u->port->machine), "user-network", timer_fired, t);
	return t;
}

static void timer_drop(void *timer, void *opaque)
{
	(void)opaque;
	timer_cancel(&((struct slirp_timer *)timer)->timer);
	g_free(timer);
}

static void timer_set(void *timer, int64_t ms, void *opaque)
{
	(void)opaque;
	timer_arm(&((struct slirp_timer *)timer)->timer, ms * 1000000);
}

static void poll_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void wake(void *opaque)
{
	g_main_context_wakeup(net_context(((struct user_net *)opaque)->port));
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = clock_get,
	.timer_new = timer_make,
	.timer_free = timer_drop,
	.timer_mod = timer_set,
	.register_poll_fd = poll_fd,
	.unregister_poll_fd = poll_fd,
	.notify = wake,
};

/*
 * libslirp says before each sleep what it waits for. The source's descriptors follow that; most
 * rounds change nothing.
 */
struct slirp_source {
	GSource source;
	struct user_net *u;
};

static GIOCondition conditions(int events)
{
	return (GIOCondition)((events & SLIRP_POLL_IN ? G_IO_IN : 0) |
			      (events & SLIRP_POLL_OUT ? G_IO_OUT : 0) |
			      (events & SLIRP_POLL_PRI ? G_IO_PRI : 0) | G_IO_ERR | G_IO_HUP);
}

static int add_poll(int fd, int events, void *opaque)
{
	struct user_net *u = opaque;
	GIOCondition wanted = conditions(events);
	struct polled *p;

	if (u->used == u->polled->len)
		g_array_set_size(u->polled, u->used + 1);
	p = &g_array_index(u->polled, struct polled, u->used);
	if (p->tag && p->fd == fd) {
		if (p->events != wanted)
			g_source_modify_unix_fd(u->source, p->tag, wanted);
	} else {
		if (p->tag)
			g_source_remove_unix_fd(u->source, p->tag);
		p->fd = fd;
		p->tag = g_source_add_unix_fd(u->source, fd, wanted);
	}
	p->events = wanted;
	return (int)u->used++;
}

/* Takes the port's lock; false, without it: the source has gone to another thread. */
static bool begin(GSource *source, struct iothread **t)
{
	struct user_net *u = ((struct slirp_source *)source)->u;

	*t = __atomic_load_n(&u->port->iothread, __ATOMIC_ACQUIRE);
	iothread_lock(*t);
	if (!g_source_is_destroyed(source))
		return true;
	iothread_unlock(*t);
	return false;
}

static gboolean prepare(GSource *source, gint *timeout)
{
	struct user_net *u = ((struct slirp_source *)source)->u;
	uint32_t ms = UINT32_MAX;
	struct iothread *t;

	if (!begin(source, &t))
		return FALSE;
	u->used = 0;
	slirp_pollfds_fill(u->slirp, &ms, add_poll, u);
	for (guint i = u->used; i < u->polled->len; i++) {
		struct polled *p = &g_array_index(u->polled, struct polled, i);

		if (p->tag)
			g_source_remove_unix_fd(u->source, p->tag);
	}
	g_array_set_size(u->polled, u->used);
	iothread_unlock(t);
	*timeout = ms == UINT32_MAX ? -1 : (gint)MIN_OF(ms, 1000000u);
	return FALSE;
}

/* Its timers run by being asked after every sleep. */
static gboolean check(GSource *source)
{
	(void)source;
	return TRUE;
}

static int get_revents(int index, void *opaque)
{
	struct user_net *u = opaque;
	GIOCondition c;

	if (index < 0 || (guint)index >= u->polled->len)
		return 0;
	c = g_source_query_unix_fd(u->source, g_array_index(u->polled, struct polled, index).tag);
	return (c & G_IO_IN ? SLIRP_POLL_IN : 0) | (c & G_IO_OUT ? SLIRP_POLL_OUT : 0) |
	       (c & G_IO_PRI ? SLIRP_POLL_PRI : 0) | (c & G_IO_ERR ? SLIRP_POLL_ERR : 0) |
	       (c & G_IO_HUP ? SLIRP_POLL_HUP : 0);
}

static gboolean dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
	struct user_net *u = ((struct slirp_source *)source)->u;
	struct iothread *t;

	(void)fn;
	(void)opaque;
	if (!begin(source, &t))
		return G_SOURCE_REMOVE;
	/* While the card cannot take more, the host's sockets hold what comes. */
	if (!u->port->peer || net_may_send(u->port))
		slirp_pollfds_poll(u->slirp, 0, get_revents, u);
	gro_flush(u->gro);
	iothread_unlock(t);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = { .prepare = prepare, .check = check, .dispatch = dispatch };

static void attach(struct user_net *u)
{
	u->source = g_source_new(&source_funcs, sizeof(struct slirp_source));
	((struct slirp_source *)u->source)->u = u;
	g_source_attach(u->source, net_context(u->port));
}

static void move(void *opaque)
{
	struct user_net *u = opaque;

	loop_unwatch(&u->source);
	g_array_set_size(u->polled, 0);
	attach(u);
}

/* Our view of libslirp. */

/* libslirp checks checksums, and takes long segments whole. */
static bool user_take_unfinished(void *opaque, const struct net_hdr *h, const struct iovec *iov,
				 int n)
{
	struct user_net *u = opaque;
	size_t len = iov_bytes(iov, n);
	g_autofree uint8_t *copy = n > 1 || h->flags ? g_malloc(len) : NULL;
	const uint8_t *frame = copy ? copy : iov->iov_base;

	if (copy)
		iov_to(iov, n, 0, copy, len);
	if (copy && !net_checksum(h, copy, len))
		return true;
	slirp_input(u->slirp, frame, (int)len);
	gro_flush(u->gro);
	wake(u);
	return true;
}

static bool user_take(void *opaque, const struct iovec *iov, int n)
{
	const struct net_hdr nothing_left = { 0 };

	return user_take_unfinished(opaque, &nothing_left, iov, n);
}

static void user_go_on(void *opaque)
{
	wake(opaque);
}

static void user_close(void *opaque)
{
	struct user_net *u = opaque;

	loop_unwatch(&u->source);
	slirp_cleanup(u->slirp);
	gro_free(u->gro);
	g_array_unref(u->polled);
	g_ptr_array_unref(u->forwards);
	g_free(u);
}

static char *user_describe(void *opaque)
{
	struct user_net *u = opaque;
	char network[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &u->network, network, sizeof(network));
	return g_strdup_printf("user: net=%s, %u forwarded port(s)", network, u->forwards->len);
}

static const struct net_ops user_ops = { .take = user_take,
					 .take_unfinished = user_take_unfinished,
					 .go_on = user_go_on,
					 .move = move,
					 .close = user_close,
					 .describe = user_describe };

/* Options. */

static bool address(struct optlist *l, const char *key, struct in_addr *a, GError **err)
{
	const char *text = optlist_get(l, key);

	return !text || inet_pton(AF_INET, text, a) == 1 ||
	       error(err, "-netdev user: %s=%s is no IPv4 address", key, text);
}

/* net=10.0.2.0/24; the others' places follow it. */
static bool take_network(struct user_net *u, struct optlist *l, GError **err)
{
	const char *text = optlist_get(l, "net");
	unsigned bits = 24;
	uint32_t base;

	inet_pton(AF_INET, "10.0.2.0", &u->network);
	if (text) {
		g_auto(GStrv) parts = g_strsplit(text, "/", 2);
		char *end = NULL;

		if (parts[1])
			bits = (unsigned)strtoul(parts[1], &end, 10);
		if (inet_pton(AF_INET, parts[0], &u->network) != 1 || (end && *end) || bits < 8 ||
		    bits > 29)
			return error(err, "-netdev user: net=%s is no network, as in 10.0.2.0/24",
				     text);
	}
	u->mask.s_addr = htonl(UINT32_MAX << (32 - bits));
	u->network.s_addr &= u->mask.s_addr;
	base = ntohl(u->network.s_addr);
	u->host.s_addr = htonl(base + 2);
	u->dns.s_addr = htonl(base + 3);
	u->dhcp.s_addr = htonl(base + (bits <= 27 ? 15 : 4));
	return address(l, "host", &u->host, err) && address(l, "dns", &u->dns, err) &&
	       address(l, "dhcpstart", &u->dhcp, err);
}

static bool parse_port(const char *text, int *port)
{
	char *end;
	long n = strtol(text, &end, 10);

	*port = (int)n;
	return *text && !*end && n >= 0 && n <= 65535;
}

/* The host's side of a rule: [tcp|udp]:[hostaddr]:hostport */
struct host_side {
	bool udp;
	struct in_addr addr;
	int port;
};

static bool parse_host_side(const char *text, struct host_side *h)
{
	g_auto(GStrv) parts = g_strsplit(text, ":", 3);

	h->addr.s_addr = htonl(INADDR_ANY);
	if (g_strv_length(parts) != 3 ||
	    (*parts[0] && strcmp(parts[0], "tcp") && strcmp(parts[0], "udp")))
		return false;
	h->udp = !strcmp(parts[0], "udp");
	return (!*parts[1] || inet_pton(AF_INET, parts[1], &h->addr) == 1) &&
	       parse_port(parts[2], &h->port);
}

static bool forward(struct user_net *u, const char *text, GError **err)
{
	g_auto(GStrv) sides = g_strsplit(text, "-", 2);
	g_auto(GStrv) to = sides[1] ? g_strsplit(sides[1], ":", 2) : NULL;
	struct in_addr guest = u->dhcp;
	struct host_side host;
	int port;

	if (!to || g_strv_length(to) != 2 || !parse_host_side(sides[0], &host) ||
	    (*to[0] && inet_pton(AF_INET, to[0], &guest) != 1) || !parse_port(to[1], &port) ||
	    !port)
		return error(err,
			     "-netdev user: hostfwd=%s: takes "
			     "[tcp|udp]:[HOSTADDR]:PORT-[GUESTADDR]:PORT, "
			     "as in tcp::2222-:22",
			     text);
	if (slirp_add_hostfwd(u->slirp, host.udp, host.addr, host.port, guest, port))
		return error(err, "-netdev user: hostfwd=%s: the host's port cannot be had: %s",
			     text, strerror(errno));
	g_ptr_array_add(u->forwards, g_strdup(text));
	return true;
}

static bool forward_no_more(struct user_net *u, const char *text, GError **err)
{
	struct host_side host;

	if (!parse_host_side(text, &host))
		return error(err, "'%s': takes [tcp|udp]:[HOSTADDR]:PORT, as in tcp::2222", text);
	if (slirp_remove_hostfwd(u->slirp, host.udp, host.addr, host.port))
		return error(err, "'%s': no such port is forwarded; `info usernet` lists them",
			     text);
	for (guint i = 0; i < u->forwards->len; i++) {
		g_auto(GStrv) sides = g_strsplit(u->forwards->pdata[i], "-", 2);
		struct host_side h;

		if (parse_host_side(sides[0], &h) && h.udp == host.udp && h.port == host.port &&
		    h.addr.s_addr == host.addr.s_addr) {
			g_ptr_array_remove_index(u->forwards, i);
			break;
		}
	}
	return true;
}

static bool take_tftp(struct optlist *l, SlirpConfig *c, GError **err)
{
	struct stat st;

	c->tftp_path = optlist_get(l, "tftp");
	c->bootfile = optlist_get(l, "bootfile");
	c->tftp_server_name = optlist_get(l, "tftp-server-name");
	if (c->tftp_path && (stat(c->tftp_path, &st) || !S_ISDIR(st.st_mode)))
		return error(err, "-netdev user: tftp=%s is no folder", c->tftp_path);
	return true;
}

static bool user_open(struct net_port *p, struct optlist *l, GError **err)
{
	struct user_net *u = g_new0(struct user_net, 1);
	SlirpConfig c = {
		.version = 4, .in_enabled = true, .in6_enabled = true, .vprefix_len = 64
	};
	bool restricted = false;

	u->port = p;
	u->gro = gro_new(p);
	u->polled = g_array_new(FALSE, TRUE, sizeof(struct polled));
	u->forwards = g_ptr_array_new_with_free_func(g_free);
	if (!take_network(u, l, err) || !take_tftp(l, &c, err) ||
	    !optlist_bool(l, "restrict", &restricted, err) ||
	    !optlist_bool(l, "ipv4", &c.in_enabled, err) ||
	    !optlist_bool(l, "ipv6", &c.in6_enabled, err))
		goto failed;
	c.restricted = restricted;
	c.vnetwork = u->network;
	c.vnetmask = u->mask;
	c.vhost = u->host;
	c.vdhcp_start = u->dhcp;
	c.vnameserver = u->dns;
	inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &c.vhost6);
	inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
	c.vhostname = optlist_get(l, "hostname");
	c.vdomainname = optlist_get(l, "domainname");
	u->slirp = slirp_new(&c, &callbacks, u);
	if (!u->slirp) {
		error(err,
		      "-netdev user: libslirp refuses: do host, dns and dhcpstart lie in net?");
		goto failed;
	}
	for (guint i = 0; i < l->keys->len; i++) {
		if (strcmp(l->keys->pdata[i], "hostfwd"))
			continue;
		optlist_get(l, "hostfwd");
		if (!forward(u, l->values->pdata[i], err)) {
			slirp_cleanup(u->slirp);
			goto failed;
		}
	}
	attach(u);
	p->ops = &user_ops;
	p->opaque = u;
	p->takes = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6 | NET_TAKES_ECN;
	return true;
failed:
	gro_free(u->gro);
	g_array_unref(u->polled);
	g_ptr_array_unref(u->forwards);
	g_free(u);
	return false;
}

/* Monitors. */

static bool is_user(const struct net_port *p)
{
	return p->ops == &user_ops;
}

static struct user_net *find_user(const char *netdev, GError **err)
{
	struct net_port *p, *found = NULL;
	unsigned n = 0;

	for (unsigned i = 0; (p = net_nth(i)); i++) {
		if (!is_user(p) || (netdev && strcmp(p->id, netdev)))
			continue;
		found = p;
		n++;
	}
	if (n == 1)
		return found->opaque;
	if (netdev)
		error(err, "no user network '%s': `info network` lists networks", netdev);
	else if (!n)
		error(err, "there is no user network; make one with -netdev user,id=ID");
	else
		error(err, "there are %u user networks: say which before the rule", n);
	return NULL;
}

static bool change_forward(const char *netdev, const char *rule, GError **err,
			   bool (*change)(struct user_net *u, const char *rule, GError **err))
{
	struct user_net *u = find_user(netdev, err);
	bool ok;

	if (!u)
		return false;
	iothread_lock(u->port->iothread);
	ok = change(u, rule, err);
	wake(u);
	iothread_unlock(u->port->iothread);
	return ok;
}

bool net_user_forward(const char *netdev, const char *rule, GError **err)
{
	return change_forward(netdev, rule, err, forward);
}

bool net_user_forward_no_more(const char *netdev, const char *rule, GError **err)
{
	return change_forward(netdev, rule, err, forward_no_more);
}

void net_user_print(GString *out)
{
	struct net_port *p;

	for (unsigned i = 0; (p = net_nth(i)); i++) {
		g_autofree char *text = NULL;

		if (!is_user(p))
			continue;
		iothread_lock(p->iothread);
		text = slirp_connection_info(((struct user_net *)p->opaque)->slirp);
		iothread_unlock(p->iothread);
		g_string_append_printf(out, "%s:\n%s", p->id, text);
	}
}

const struct net_backend net_backend_user = {
	.name = "user",
	.help = "a network of the VM's own behind the host's sockets: "
		"[net=A/N][,host=A][,dns=A][,dhcpstart=A][,hostfwd=RULE]...[,restrict=on]"
		"[,tftp=DIR][,bootfile=F][,hostname=N][,ipv4=off][,ipv6=off]",
	.open = user_open,
};
