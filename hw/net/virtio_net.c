/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio network device: one pair of queues and a control queue. Source: Virtual I/O Device
 * (VIRTIO) Version 1.2, 5.1. Not offered yet: checksum and segmentation offloads (no backend takes
 * such frames), several pairs of queues.
 */
#include <string.h>

#include "core/log.h"
#include "hw/virtio/virtio.h"
#include "net/net.h"

#define F_MTU 3
#define F_MAC 5
#define F_MRG_RXBUF 15
#define F_STATUS 16
#define F_CTRL_VQ 17
#define F_CTRL_RX 18
#define F_CTRL_VLAN 19
#define F_CTRL_RX_EXTRA 20
#define F_CTRL_MAC_ADDR 23

#define STATUS_LINK_UP 1
#define CONFIG_BYTES 12

#define CTRL_RX 0
#define CTRL_MAC 1
#define CTRL_MAC_TABLE_SET 0
#define CTRL_MAC_ADDR_SET 1
#define CTRL_VLAN 2
#define CTRL_VLAN_ADD 0
#define CTRL_VLAN_DEL 1
#define CTRL_OK 0
#define CTRL_ERR 1

#define HEADER_BYTES 12
#define LEGACY_HEADER_BYTES 10
#define MOST_MACS 64
#define VLANS 4096
#define MOST_CHAINS 32 /* that one frame may take */

enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST, RX_MODES };
enum { QUEUE_RX, QUEUE_TX, QUEUE_CTRL };

struct virtio_net {
	struct virtio_device vdev;
	char *netdev, *mac_text; /* properties */
	uint16_t host_mtu;
	uint16_t rx_size, tx_size;

	uint8_t mac[MAC_BYTES];
	bool rx_mode[RX_MODES];
	uint8_t nmacs;
	bool unicast_overflow, multicast_overflow;
	uint8_t macs[MOST_MACS * MAC_BYTES];
	uint8_t vlans[VLANS / 8];

	struct net_port *port;
	unsigned number;
};

static size_t header_bytes(const struct virtio_net *s)
{
	return virtio_has(&s->vdev, VIRTIO_F_VERSION_1) || virtio_has(&s->vdev, F_MRG_RXBUF)
		       ? HEADER_BYTES
		       : LEGACY_HEADER_BYTES;
}

/* Receiving. */

static bool in_table(const struct virtio_net *s, const uint8_t *mac)
{
	for (unsigned i = 0; i < s->nmacs; i++)
		if (!memcmp(s->macs + MAC_BYTES * i, mac, MAC_BYTES))
			return true;
	return false;
}

/* 5.1.6.5.1, 5.1.6.5.3 */
static bool wants(const struct virtio_net *s, const uint8_t *frame, size_t len)
{
	static const uint8_t broadcast[MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (len < 14)
		return false;
	if (s->rx_mode[RX_PROMISC])
		return true;
	if (frame[12] == 0x81 && frame[13] == 0 && len >= 16 && virtio_has(&s->vdev, F_CTRL_VLAN)) {
		unsigned vlan = (frame[14] << 8 | frame[15]) & (VLANS - 1);

		if (!(s->vlans[vlan / 8] >> vlan % 8 & 1))
			return false;
	}
	if (!memcmp(frame, broadcast, MAC_BYTES))
		return !s->rx_mode[RX_NOBCAST];
	if (frame[0] & 1)
		return !s->rx_mode[RX_NOMULTI] &&
		       (s->rx_mode[RX_ALLMULTI] || s->multicast_overflow || in_table(s, frame));
	if (s->rx_mode[RX_NOUNI])
		return false;
	return s->rx_mode[RX_ALLUNI] || s->unicast_overflow || !memcmp(frame, s->mac, MAC_BYTES) ||
	       in_table(s, frame);
}

/* Copies bytes of the frame from `at` on into a chain from `to` on; returns how many. */
static size_t fill(struct virtq_chain *c, size_t to, const struct iovec *iov, int n, size_t at)
{
	size_t done = 0;

	for (int i = 0; i < n; i++) {
		size_t len = iov[i].iov_len, put;

		if (at >= len) {
			at -= len;
			continue;
		}
		put = virtq_write(c, to + done, (uint8_t *)iov[i].iov_base + at, len - at);
		done += put;
		if (put < len - at)
			break;
		at = 0;
	}
	return done;
}

/* Chains with room for `need` bytes; fewer only in case there are none: then none are taken. */
static unsigned take_chains(struct virtq *q, size_t need, bool merge, struct virtq_chain **chains)
{
	size_t room = 0;
	unsigned n = 0;

	while (room < need && n < (merge ? MOST_CHAINS : 1u)) {
		chains[n] = virtq_pop(q);
		if (!chains[n])
			break;
		room += chains[n++]->in_len;
	}
	if (room >= need || (n == (merge ? MOST_CHAINS : 1u)))
		return n;
	while (n)
		virtq_unpop(q, chains[--n]);
	return 0;
}

static bool net_take(void *opaque, const struct iovec *iov, int n)
{
	struct virtio_net *s = opaque;
	struct virtq *q = &s->vdev.queues[QUEUE_RX];
	struct virtq_chain *chains[MOST_CHAINS];
	bool merge = virtio_has(&s->vdev, F_MRG_RXBUF);
	size_t len = iov_bytes(iov, n), head = header_bytes(s), at = 0;
	uint8_t header[HEADER_BYTES] = { 0 }, start[18] = { 0 };
	unsigned count;

	if (!virtio_is_started(&s->vdev))
		return true; /* nobody listens: the frame is lost as on a wire */
	if (!machine_running(s->vdev.pci.dev.machine))
		return false;
	iov_to(iov, n, 0, start, sizeof(start));
	if (!wants(s, start, len))
		return true;
	count = take_chains(q, head + len, merge, chains);
	if (!count)
		return virtio_is_broken(&s->vdev);
	store_le(header + 10, count, 2);
	for (unsigned i = 0; i < count; i++) {
		size_t to = i ? 0 : virtq_write(chains[i], 0, header, head), put;

		put = fill(chains[i], to, iov, n, at);
		at += put;
		virtq_push(q, chains[i], to + put);
	}
	if (at < len)
		log_guest(&s->vdev, "a frame of %zu bytes was cut to its buffers' %zu", len, at);
	virtq_notify(q);
	return true;
}

static void rx_kicked(void *dev, struct virtq *q)
{
	(void)q;
	net_ready(((struct virtio_net *)dev)->port);
}

/* Sending. */

static void tx_kicked(void *dev, struct virtq *q)
{
	struct virtio_net *s = dev;
	size_t head = header_bytes(s);
	struct virtq_chain *c;

	do {
		virtq_want_kicks(q, false);
		while ((c = virtq_pop(q))) {
			struct iovec *part;

			if (c->out_len < head) {
				virtio_break(&s->vdev, "a frame without a header");
				virtq_chain_free(c);
				return;
			}
			part = g_new(struct iovec, c->nout);
			net_send(s->port, part,
				 iov_part(c->iov, (int)c->nout, head, c->out_len - head, part));
			g_free(part);
			virtq_push(q, c, 0);
		}
		virtq_want_kicks(q, true);
	} while (virtq_has_chain(q));
	virtq_notify(q);
}

/* The control queue (5.1.6.5). */

static uint8_t set_table(struct virtio_net *s, struct virtq_chain *c)
{
	bool *overflow[] = { &s->unicast_overflow, &s->multicast_overflow };
	size_t at = 2;

	s->nmacs = 0;
	for (unsigned k = 0; k < 2; k++) {
		uint8_t raw[4];
		uint32_t n;

		if (virtq_read(c, at, raw, 4) < 4)
			return CTRL_ERR;
		n = (uint32_t)load_le(raw, 4);
		at += 4;
		if (n > (c->out_len - at) / MAC_BYTES)
			return CTRL_ERR;
		*overflow[k] = n > (uint32_t)(MOST_MACS - s->nmacs);
		if (!*overflow[k]) {
			virtq_read(c, at, s->macs + MAC_BYTES * s->nmacs, MAC_BYTES * (size_t)n);
			s->nmacs = (uint8_t)(s->nmacs + n);
		}
		at += MAC_BYTES * (size_t)n;
	}
	return CTRL_OK;
}

static uint8_t set_vlan(struct virtio_net *s, struct virtq_chain *c, uint8_t command)
{
	uint8_t raw[2];
	unsigned vlan;

	if (virtq_read(c, 2, raw, 2) < 2)
		return CTRL_ERR;
	vlan = (unsigned)load_le(raw, 2);
	if (vlan >= VLANS || command > CTRL_VLAN_DEL)
		return CTRL_ERR;
	if (command == CTRL_VLAN_ADD)
		s->vlans[vlan / 8] |= (uint8_t)BIT(vlan % 8);
	else
		s->vlans[vlan / 8] &= (uint8_t)~BIT(vlan % 8);
	return CTRL_OK;
}

static uint8_t control(struct virtio_net *s, struct virtq_chain *c)
{
	uint8_t head[2], value;

	if (virtq_read(c, 0, head, 2) < 2)
		return CTRL_ERR;
	switch (head[0]) {
	case CTRL_RX:
		if (head[1] >= RX_MODES || !virtq_read(c, 2, &value, 1))
			return CTRL_ERR;
		s->rx_mode[head[1]] = value != 0;
		return CTRL_OK;
	case CTRL_MAC:
		if (head[1] == CTRL_MAC_TABLE_SET)
			return set_table(s, c);
		return head[1] == CTRL_MAC_ADDR_SET && c->out_len >= 2 + MAC_BYTES &&
				       virtq_read(c, 2, s->mac, MAC_BYTES) == MAC_BYTES
			       ? CTRL_OK
			       : CTRL_ERR;
	case CTRL_VLAN:
		return set_vlan(s, c, head[1]);
	default:
		return CTRL_ERR;
	}
}

static void ctrl_kicked(void *dev, struct virtq *q)
{
	struct virtio_net *s = dev;
	struct virtq_chain *c;

	while ((c = virtq_pop(q))) {
		uint8_t status = control(s, c);

		virtq_push(q, c, virtq_write(c, 0, &status, 1));
		virtq_notify(q);
	}
}

/* Life. */

static void get_config(void *dev, uint8_t *config)
{
	struct virtio_net *s = dev;

	memcpy(config, s->mac, MAC_BYTES);
	store_le(config + 6, net_link_up(s->port) ? STATUS_LINK_UP : 0, 2);
	store_le(config + 8, 1, 2);
	store_le(config + 10, s->host_mtu, 2);
}

/* Old drivers set the address so (5.1.4). */
static void set_config(void *dev, const uint8_t *config, unsigned off, unsigned size)
{
	struct virtio_net *s = dev;

	(void)size;
	if (off < MAC_BYTES && !virtio_has(&s->vdev, VIRTIO_F_VERSION_1))
		memcpy(s->mac, config, MAC_BYTES);
}

static void set_first_mac(struct virtio_net *s)
{
	if (!s->mac_text || !net_parse_mac(s->mac_text, s->mac, NULL))
		net_default_mac(s->vdev.pci.dev.machine, s->number, s->mac);
}

static void started(void *dev)
{
	net_ready(((struct virtio_net *)dev)->port);
}

static void net_reset(void *dev)
{
	struct virtio_net *s = dev;

	memset(s->rx_mode, 0, sizeof(s->rx_mode));
	/* 5.1.3: without the control queue it hears everything. */
	s->rx_mode[RX_PROMISC] = true;
	s->nmacs = 0;
	s->unicast_overflow = s->multicast_overflow = false;
	memset(s->vlans, 0, sizeof(s->vlans));
	set_first_mac(s);
}

static const struct virtio_info net_info = {
	.id = 1,
	.features = BIT64(F_MAC) | BIT64(F_MRG_RXBUF) | BIT64(F_STATUS) | BIT64(F_CTRL_VQ) |
		    BIT64(F_CTRL_RX) | BIT64(F_CTRL_VLAN) | BIT64(F_CTRL_RX_EXTRA) |
		    BIT64(F_CTRL_MAC_ADDR),
	.config_size = CONFIG_BYTES,
	.get_config = get_config,
	.set_config = set_config,
	.started = started,
	.reset = net_reset,
};

static void link_changed(void *opaque)
{
	virtio_config_changed(opaque);
}

static const struct net_ops card_ops = { .take = net_take, .link_changed = link_changed };

#define D struct virtio_net

static bool net_realize(void *dev, GError **err)
{
	static unsigned cards;
	struct virtio_net *s = dev;
	const char *id = s->vdev.pci.dev.id;
	g_autofree char *name = NULL;

	s->number = cards++;
	name = id ? g_strdup(id) : g_strdup_printf("virtio-net-pci.%u", s->number);
	if (s->mac_text && !net_parse_mac(s->mac_text, s->mac, err)) {
		g_prefix_error(err, "%s: mac: ", device_name(dev));
		return false;
	}
	if ((s->rx_size & (s->rx_size - 1)) || (s->tx_size & (s->tx_size - 1)))
		return error(err, "%s: rx_queue_size and tx_queue_size are powers of two",
			     device_name(dev));
	if (s->host_mtu && s->host_mtu < 68)
		return error(err, "%s: host_mtu %u: IPv4 needs 68 bytes", device_name(dev),
			     s->host_mtu);
	s->port = net_card_new(s->vdev.pci.dev.machine, name, s->netdev, &card_ops, s, err);
	if (!s->port)
		return false;
	virtio_init(s, &net_info, 4);
	if (s->host_mtu)
		s->vdev.host_features |= BIT64(F_MTU);
	virtio_add_queue(s, s->rx_size, rx_kicked);
	virtio_add_queue(s, s->tx_size, tx_kicked);
	virtio_add_queue(s, 64, ctrl_kicked);
	return true;
}

static void net_unrealize(void *dev)
{
	struct virtio_net *s = dev;

	net_card_free(s->port);
	virtio_destroy(dev);
}

static void net_reset_device(void *dev)
{
	virtio_reset(dev);
}

static bool net_loaded(void *dev, GError **err)
{
	struct virtio_net *s = dev;

	if (s->nmacs > MOST_MACS)
		return error(err, "saved state: '%s': %u addresses in its table",
			     s->vdev.pci.dev.path, s->nmacs);
	return virtio_loaded(dev, err);
}

/* Frames that came while it stood still. */
static void net_run_changed(void *dev, bool running)
{
	if (running)
		net_ready(((struct virtio_net *)dev)->port);
}

static void net_print(void *dev, GString *out)
{
	struct virtio_net *s = dev;

	g_string_append_printf(out, "mac %02x:%02x:%02x:%02x:%02x:%02x, netdev %s\n", s->mac[0],
			       s->mac[1], s->mac[2], s->mac[3], s->mac[4], s->mac[5],
			       s->netdev ? s->netdev : "none");
}

static const struct pci_info net_pci = VIRTIO_PCI(0x1000, 0x0200, 1);

DEVICE(virtio_net,
	.name = "virtio-net-pci",
	.alias = "virtio-net",
	.desc = "virtio network card",
	.bus = "PCI",
	.bus_info = &net_pci,
	.props = FIELDS(F(netdev, .help = "the network's id"),
			{ .name = "mac", .type = FT_STR, .offset = offsetof(D, mac_text),
			  .size = sizeof(char *), .help = "the card's address" },
			F(host_mtu, .help = "MTU that the driver shall use"),
			{ .name = "rx_queue_size", .type = FT_U16, .offset = offsetof(D, rx_size),
			  .size = 2, .init = 256, .min = 64, .max = VIRTQ_MOST_SIZE },
			{ .name = "tx_queue_size", .type = FT_U16, .offset = offsetof(D, tx_size),
			  .size = 2, .init = 256, .min = 64, .max = VIRTQ_MOST_SIZE },
			VIRTIO_PROPS),
	.state = FIELDS(FO(vdev, virtio_device_table), F(mac), F(rx_mode), F(nmacs),
			F(unicast_overflow), F(multicast_overflow), F(macs), F(vlans)),
	.host = HOST(port, number, mac_text, rx_size, tx_size),
	.realize = net_realize,
	.unrealize = net_unrealize,
	.reset = net_reset_device,
	.loaded = net_loaded,
	.run_changed = net_run_changed,
	.print = net_print);
