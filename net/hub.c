/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hubs: what comes in at one port goes out at all the others. */
#include <string.h>

#include "core/options.h"
#include "net/net.h"

struct hub_port {
	struct net_port *port;
	uint64_t hub;
};

static GPtrArray *hub_ports;

/* A port that holds back loses frames, counted at the hub: the others do not wait for it. */
static bool take(void *opaque, const struct iovec *iov, int n)
{
	struct hub_port *from = opaque;

	for (guint i = 0; i < hub_ports->len; i++) {
		struct hub_port *h = hub_ports->pdata[i];

		if (h != from && h->hub == from->hub && h->port->peer)
			net_send(h->port, iov, n);
	}
	return true;
}

static void close_port(void *opaque)
{
	g_ptr_array_remove(hub_ports, opaque);
	g_free(opaque);
}

static char *describe(void *opaque)
{
	return g_strdup_printf("hub %" G_GUINT64_FORMAT, ((struct hub_port *)opaque)->hub);
}

static const struct net_ops hub_ops = { .take = take, .close = close_port, .describe = describe };

static bool hub_open(struct net_port *p, struct optlist *l, GError **err)
{
	const char *netdev = optlist_get(l, "netdev");
	struct hub_port *h;
	uint64_t hub = 0;

	if (!optlist_get(l, "hubid"))
		return error(err, "-netdev hubport: needs hubid=N");
	if (!optlist_uint(l, "hubid", 0, INT32_MAX, &hub, err))
		return false;
	h = g_new0(struct hub_port, 1);
	h->port = p;
	h->hub = hub;
	if (!hub_ports)
		hub_ports = g_ptr_array_new();
	g_ptr_array_add(hub_ports, h);
	p->ops = &hub_ops;
	p->opaque = h;
	return !netdev || net_join(p, netdev, err);
}

const struct net_backend net_backend_hubport = {
	.name = "hubport",
	.help = "a port of a hub inside moa: hubid=N, netdev=ID for one that leads to a network",
	.open = hub_open,
};
