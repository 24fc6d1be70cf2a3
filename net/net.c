/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports, queues and addresses: see net.h. */
#include "net/net.h"

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

static void empty_queue(struct net_port *p)
{
	GBytes *b;

	while ((b = g_queue_pop_head(&p->queue)))
		g_bytes_unref(b);
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
		p = new_port(m, id);
		ok = b->open(p, l, err) && optlist_finish(l, err);
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

void net_card_free(struct net_port *p)
{
	if (p)
		free_port(p);
}

/* Frames. */

static GBytes *gather(const struct iovec *iov, int n, size_t len)
{
	uint8_t *all = g_malloc(len);

	iov_to(iov, n, 0, all, len);
	return g_bytes_new_take(all, len);
}

bool net_link_up(const struct net_port *p)
{
	return p->peer && !p->link_down && !p->peer->link_down;
}

bool net_may_send(struct net_port *p)
{
	return net_link_up(p) && !p->peer->full;
}

bool net_send(struct net_port *p, const struct iovec *iov, int n)
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
	if (g_queue_is_empty(&to->queue) && to->ops->take(to->opaque, iov, n)) {
		p->sent.frames++;
		p->sent.bytes += len;
		return true;
	}
	if (g_queue_get_length(&to->queue) >= NET_MOST_QUEUED) {
		p->sent.dropped++;
		return false;
	}
	g_queue_push_tail(&to->queue, gather(iov, n, len));
	p->sent.frames++;
	p->sent.bytes += len;
	to->full = true;
	return false;
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

void net_ready(struct net_port *p)
{
	GBytes *b;

	while ((b = g_queue_peek_head(&p->queue))) {
		struct iovec iov;
		gsize len;

		iov.iov_base = (void *)g_bytes_get_data(b, &len);
		iov.iov_len = len;
		if (!p->ops->take(p->opaque, &iov, 1))
			return;
		g_bytes_unref(g_queue_pop_head(&p->queue));
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
