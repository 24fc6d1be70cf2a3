/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports, queues and addresses: see net.h. */
#include "net/net.h"

#include <glib-unix.h>
#include <stdio.h>
#include <string.h>

#include "core/options.h"
#include "net/pcap.h"

extern const struct net_backend net_backend_user, net_backend_tap, net_backend_socket,
	net_backend_stream, net_backend_dgram, net_backend_vde, net_backend_hubport,
	net_backend_pcap;
static const struct net_backend *const backends[] = {
	&net_backend_user,  &net_backend_tap, &net_backend_socket,  &net_backend_stream,
	&net_backend_dgram, &net_backend_vde, &net_backend_hubport, &net_backend_pcap,
};

static GPtrArray *ports;
static char *identity;

static struct net_port *new_port(struct machine *m, const char *id)
{
	struct net_port *p = g_new0(struct net_port, 1);

	if (!ports)
		ports = g_ptr_array_new();
	p->id = g_strdup(id);
	p->machine = m;
	g_queue_init(&p->queue);
	g_ptr_array_add(ports, p);
	return p;
}

/* A frame that waits. */
struct net_frame {
	struct net_hdr h;
	size_t len;
	uint8_t data[];
};

static void empty_queue(struct net_port *p)
{
	struct net_frame *f;

	while ((f = g_queue_pop_head(&p->queue)))
		g_free(f);
}

static void free_port(struct net_port *p)
{
	if (p->peer)
		p->peer->peer = NULL;
	empty_queue(p);
	net_dump_free(p->dump);
	g_ptr_array_remove(ports, p);
	g_free(p->id);
	g_free(p);
}

struct net_port *net_find(const char *id)
{
	for (guint i = 0; ports && i < ports->len; i++)
		if (!strcmp(((struct net_port *)ports->pdata[i])->id, id))
			return ports->pdata[i];
	return NULL;
}

struct net_port *net_nth(unsigned n)
{
	return ports && n < ports->len ? ports->pdata[n] : NULL;
}

void net_free_all(void)
{
	while (ports && ports->len) {
		struct net_port *p = ports->pdata[ports->len - 1];

		if (p->ops && p->ops->close)
			p->ops->close(p->opaque);
		free_port(p);
	}
}

char *net_backends_help(void)
{
	GString *s = g_string_new(NULL);

	for (size_t i = 0; i < ARRAY_LEN(backends); i++)
		g_string_append_printf(s, "%-8s %s\n", backends[i]->name, backends[i]->help);
	return g_string_free(s, FALSE);
}

bool net_backend_new(struct machine *m, const char *option, const char *text, GError **err)
{
	struct optlist *l = optlist_parse(option, text, "type");
	const char *type = optlist_get(l, "type"), *id = optlist_get(l, "id");
	const char *names[ARRAY_LEN(backends) + 1] = { NULL }, *near;
	const struct net_backend *b = NULL;
	struct net_port *p;
	bool ok = false;

	for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
		names[i] = backends[i]->name;
		if (type && !strcmp(type, names[i]))
			b = backends[i];
	}
	near = type ? nearest_name(type, names) : NULL;
	if (!b) {
		g_autofree char *all = g_strjoinv(", ", (char **)names);

		error(err, "%s: no network '%s'%s%s%s; there are: %s", option, type ? type : "",
		      near ? "; did you mean '" : "", near ? near : "", near ? "'" : "", all);
	} else if (!id) {
		error(err, "%s %s: needs id=ID, by which a card names it", option, type);
	} else if (net_find(id)) {
		error(err, "%s %s: id '%s' is taken", option, type, id);
	} else {
		uint64_t queues = 1;

		p = new_port(m, id);
		ok = optlist_uint(l, "queues", 1, NET_MOST_QUEUES, &queues, err);
		p->queues = (unsigned)queues;
		ok = ok && b->open(p, l, err) && optlist_finish(l, err);
		if (!ok && !p->ops)
			free_port(p);
	}
	optlist_free(l);
	return ok;
}

struct net_port *net_card_new(struct machine *m, const char *id, const char *netdev,
			      const struct net_ops *ops, void *opaque, GError **err)
{
	struct net_port *p = new_port(m, id);

	p->ops = ops;
	p->opaque = opaque;
	p->is_card = true;
	if (netdev && !net_join(p, netdev, err)) {
		free_port(p);
		return NULL;
	}
	return p;
}

bool net_join(struct net_port *p, const char *netdev, GError **err)
{
	struct net_port *peer = net_find(netdev);

	if (!peer || peer->is_card || peer == p)
		return error(err, "%s: no network '%s'; make it with -netdev user,id=%s", p->id,
			     netdev, netdev);
	if (peer->peer)
		return error(err, "%s: network '%s' is connected with '%s' already", p->id, netdev,
			     peer->peer->id);
	p->peer = peer;
	peer->peer = p;
	if (peer->ops->go_on)
		peer->ops->go_on(peer->opaque);
	return true;
}

/* I/O threads. */

GMainContext *net_context(const struct net_port *p)
{
	return p->iothread ? p->iothread->context : p->machine->context;
}

struct watch {
	struct net_port *port;
	net_event_fn *fn;
	void *opaque;
};

static gboolean came(gint fd, GIOCondition condition, gpointer opaque)
{
	struct watch *w = opaque;
	struct iothread *t = __atomic_load_n(&w->port->iothread, __ATOMIC_ACQUIRE);
	gboolean stays = G_SOURCE_REMOVE;

	iothread_lock(t);
	/* It may have gone, or gone to another thread, while this one waited for the lock. */
	if (!g_source_is_destroyed(g_main_current_source()))
		stays = w->fn(fd, condition, w->opaque);
	iothread_unlock(t);
	return stays;
}

static gboolean time_came(gpointer opaque)
{
	return came(-1, 0, opaque);
}

static GSource *watch(struct net_port *p, GSource *source, GSourceFunc came_fn, net_event_fn *fn,
		      void *opaque)
{
	struct watch *w = g_new(struct watch, 1);

	*w = (struct watch) { p, fn, opaque };
	g_source_set_callback(source, came_fn, w, g_free);
	g_source_attach(source, net_context(p));
	return source;
}

GSource *net_watch_fd(struct net_port *p, int fd, GIOCondition condition, net_event_fn *fn,
		      void *opaque)
{
	return watch(p, g_unix_fd_source_new(fd, condition), G_SOURCE_FUNC(came), fn, opaque);
}

GSource *net_watch_timeout(struct net_port *p, unsigned seconds, net_event_fn *fn, void *opaque)
{
	return watch(p, g_timeout_source_new_seconds(seconds), time_came, fn, opaque);
}

/* With the locks of the old and the new thread. */
static void move_backend(struct net_port *p, struct iothread *t)
{
	__atomic_store_n(&p->iothread, t, __ATOMIC_RELEASE);
	p->ops->move(p->opaque);
}

bool net_use_iothread(struct net_port *p, struct iothread *t, GError **err)
{
	struct net_port *peer = p->peer;

	if (!t)
		return true;
	if (peer && !peer->ops->move)
		return error(err,
			     "%s: an I/O thread cannot serve network '%s': take iothread= away, or "
			     "give the card a network of another type",
			     p->id, peer->id);
	iothread_lock(t);
	p->iothread = t;
	if (peer)
		move_backend(peer, t);
	iothread_unlock(t);
	return true;
}

void net_card_free(struct net_port *p)
{
	struct iothread *t = p ? p->iothread : NULL;

	if (!p)
		return;
	iothread_lock(t);
	if (t && p->peer)
		move_backend(p->peer, NULL);
	free_port(p);
	iothread_unlock(t);
}

/* Frames. */

static struct net_frame *gather(const struct net_hdr *h, const struct iovec *iov, int n, size_t len)
{
	struct net_frame *f = g_malloc(sizeof(*f) + len);

	f->h = *h;
	f->len = len;
	iov_to(iov, n, 0, f->data, len);
	return f;
}

static bool give(struct net_port *to, const struct net_hdr *h, const struct iovec *iov, int n)
{
	return to->ops->take_unfinished ? to->ops->take_unfinished(to->opaque, h, iov, n)
					: to->ops->take(to->opaque, iov, n);
}

bool net_link_up(const struct net_port *p)
{
	return p->peer && !p->link_down && !p->peer->link_down;
}

bool net_may_send(struct net_port *p)
{
	return net_link_up(p) && !p->peer->full;
}

/* As it is: the peer takes it so. */
static bool send_frame(struct net_port *p, const struct net_hdr *h, const struct iovec *iov, int n)
{
	struct net_port *to = p->peer;
	size_t len = iov_bytes(iov, n);

	if (!to || p->link_down || to->link_down || len > NET_MOST_FRAME) {
		p->sent.dropped++;
		return true;
	}
	if (p->dump)
		net_dump_write(p->dump, iov, n);
	if (to->dump)
		net_dump_write(to->dump, iov, n);
	if (g_queue_is_empty(&to->queue) && give(to, h, iov, n)) {
		p->sent.frames++;
		p->sent.bytes += len;
		return true;
	}
	if (g_queue_get_length(&to->queue) >= NET_MOST_QUEUED) {
		p->sent.dropped++;
		return false;
	}
	g_queue_push_tail(&to->queue, gather(h, iov, n, len));
	p->sent.frames++;
	p->sent.bytes += len;
	to->full = true;
	return false;
}

static const struct net_hdr nothing_left;

bool net_send(struct net_port *p, const struct iovec *iov, int n)
{
	return send_frame(p, &nothing_left, iov, n);
}

struct finishing {
	struct net_port *port;
	bool all;
};

static void send_finished(void *opaque, const struct iovec *iov, int n)
{
	struct finishing *f = opaque;

	f->all &= send_frame(f->port, &nothing_left, iov, n);
}

bool net_send_unfinished(struct net_port *p, const struct net_hdr *h, const struct iovec *iov,
			 int n)
{
	struct finishing f = { p, true };
	unsigned needs = net_hdr_needs(h);

	if (!(needs & ~net_peer_takes(p)))
		return send_frame(p, h, iov, n);
	if (!net_finish(h, iov, n, send_finished, &f))
		p->sent.dropped++;
	return f.all;
}

void net_set_takes(struct net_port *p, unsigned takes)
{
	p->takes = takes;
	if (p->peer && p->peer->ops->peer_takes)
		p->peer->ops->peer_takes(p->peer->opaque, takes);
}

unsigned net_peer_takes(const struct net_port *p)
{
	return p->peer ? p->peer->takes : 0;
}

void net_set_link(struct net_port *p, bool up)
{
	struct net_port *ends[] = { p, p->peer };

	if (p->link_down == !up)
		return;
	p->link_down = !up;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (ends[i] && ends[i]->ops->link_changed)
			ends[i]->ops->link_changed(ends[i]->opaque);
}

static void queue_finished(void *opaque, const struct iovec *iov, int n)
{
	g_queue_push_tail(opaque, gather(&nothing_left, iov, n, iov_bytes(iov, n)));
}

/* What the port took when the frame came, it may have stopped taking: another driver, say. */
static void finish_first(struct net_port *p)
{
	struct net_frame *f = g_queue_pop_head(&p->queue), *part;
	GQueue parts = G_QUEUE_INIT;

	if (!net_finish(&f->h, &(struct iovec) { f->data, f->len }, 1, queue_finished, &parts) &&
	    p->peer)
		p->peer->sent.dropped++;
	g_free(f);
	while ((part = g_queue_pop_tail(&parts)))
		g_queue_push_head(&p->queue, part);
}

void net_ready(struct net_port *p)
{
	struct net_frame *f;

	while ((f = g_queue_peek_head(&p->queue))) {
		if (net_hdr_needs(&f->h) & ~p->takes) {
			finish_first(p);
			continue;
		}
		if (!give(p, &f->h, &(struct iovec) { f->data, f->len }, 1))
			return;
		g_free(g_queue_pop_head(&p->queue));
	}
	if (!p->full)
		return;
	p->full = false;
	if (p->peer && p->peer->ops->go_on)
		p->peer->ops->go_on(p->peer->opaque);
}

/* Addresses. */

bool net_parse_mac(const char *text, uint8_t mac[MAC_BYTES], GError **err)
{
	unsigned b[MAC_BYTES];
	char rest;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &rest) != MAC_BYTES)
		return error(err, "'%s' is no Ethernet address, as in 52:54:00:12:34:56", text);
	if (b[0] & 1)
		return error(err,
			     "'%s' is a group's address: a card's begins with an even byte, as in "
			     "52:54:00:12:34:56",
			     text);
	for (unsigned i = 0; i < MAC_BYTES; i++)
		mac[i] = (uint8_t)b[i];
	return true;
}

void net_set_identity(const char *text)
{
	g_free(identity);
	identity = g_strdup(text);
}

void net_default_mac(struct machine *m, unsigned n, uint8_t mac[MAC_BYTES])
{
	static const uint8_t first[MAC_BYTES] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	uint8_t digest[32];
	gsize len = sizeof(digest);
	uint32_t low;

	memcpy(mac, first, MAC_BYTES);
	if (m->uuid_set || m->name || identity) {
		if (m->uuid_set)
			g_checksum_update(sum, m->uuid, sizeof(m->uuid));
		else
			g_checksum_update(sum, (const guchar *)(m->name ? m->name : identity), -1);
		g_checksum_get_digest(sum, digest, &len);
		memcpy(mac + 3, digest, 3);
	}
	low = ((uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 | mac[5]) + n;
	mac[3] = (uint8_t)(low >> 16);
	mac[4] = (uint8_t)(low >> 8);
	mac[5] = (uint8_t)low;
}
