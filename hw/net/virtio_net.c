/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio network device: pairs of queues and a control queue. Source: Virtual I/O Device (VIRTIO)
 * Version 1.2, 5.1. Not offered: UDP segmentation, receive-side scaling and hashes, coalescing,
 * announcements.
 */
#include <inttypes.h>
#include <string.h>

#include "core/log.h"
#include "hw/virtio/virtio.h"
#include "net/net.h"

#define F_CSUM 0
#define F_GUEST_CSUM 1
#define F_CTRL_GUEST_OFFLOADS 2
#define F_MTU 3
#define F_MAC 5
#define F_GUEST_TSO4 7
#define F_GUEST_TSO6 8
#define F_GUEST_ECN 9
#define F_HOST_TSO4 11
#define F_HOST_TSO6 12
#define F_HOST_ECN 13
#define F_MRG_RXBUF 15
#define F_STATUS 16
#define F_CTRL_VQ 17
#define F_CTRL_RX 18
#define F_CTRL_VLAN 19
#define F_CTRL_RX_EXTRA 20
#define F_MQ 22
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
#define CTRL_MQ 4
#define CTRL_MQ_PAIRS_SET 0
#define CTRL_GUEST_OFFLOADS 5
#define CTRL_GUEST_OFFLOADS_SET 0
#define CTRL_OK 0
#define CTRL_ERR 1

#define HEADER_BYTES 12
#define LEGACY_HEADER_BYTES 10
#define MOST_MACS 64
#define VLANS 4096
#define MOST_CHAINS 64 /* that one frame may take */
#define FLOWS 256      /* that are told apart to choose a queue for */
#define GUEST_OFFLOADS                                                                             \
	(BIT64(F_GUEST_CSUM) | BIT64(F_GUEST_TSO4) | BIT64(F_GUEST_TSO6) | BIT64(F_GUEST_ECN))

enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST, RX_MODES };

struct virtio_net {
	struct virtio_device vdev;
	char *netdev, *mac_text, *iothread; /* properties */
	uint16_t host_mtu;
	uint16_t rx_size, tx_size;
	bool mq, csum, host_tso4, host_tso6, host_ecn, guest_csum, guest_tso4, guest_tso6,
		guest_ecn, mrg_rxbuf;

	uint8_t mac[MAC_BYTES];
	bool rx_mode[RX_MODES];
	uint8_t nmacs;
	bool unicast_overflow, multicast_overflow;
	uint8_t macs[MOST_MACS * MAC_BYTES];
	uint8_t vlans[VLANS / 8];
	uint16_t pairs;		 /* in use */
	uint64_t guest_offloads; /* what the driver wants now, by feature bits */

	uint16_t most_pairs;
	uint8_t flow_pair[FLOWS]; /* where the guest last sent a flow from */
	struct net_port *port;
	unsigned number;
};

static size_t header_bytes(const struct virtio_net *s)
{
	return virtio_has(&s->vdev, VIRTIO_F_VERSION_1) || virtio_has(&s->vdev, F_MRG_RXBUF)
		       ? HEADER_BYTES
		       : LEGACY_HEADER_BYTES;
}

/* 5.1.2: receiveq1, transmitq1, ... and the control queue behind those that are agreed on. */

static struct virtq *rx_queue(struct virtio_net *s, unsigned pair)
{
	return &s->vdev.queues[2 * pair];
}

/* A number for a conversation, the same in both directions. */
static unsigned flow_of(const uint8_t *f, size_t len)
{
	unsigned x = 0, from = 26, to = 34, ports = 34;

	if (len >= 54 && f[12] == 0x86 && f[13] == 0xdd) {
		from = 22;
		to = 54;
		ports = 54;
	} else if (len < 34 || f[12] != 0x08 || f[13] != 0x00) {
		return 0;
	}
	for (unsigned i = from; i < to; i++)
		x ^= f[i];
	for (unsigned i = ports; i < ports + 4 && i < len; i++)
		x ^= f[i];
	return x % FLOWS;
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

static bool net_take_unfinished(void *opaque, const struct net_hdr *h, const struct iovec *iov,
				int n)
{
	struct virtio_net *s = opaque;
	struct virtq *q = rx_queue(s, 0);
	struct virtq_chain *chains[MOST_CHAINS];
	bool merge = virtio_has(&s->vdev, F_MRG_RXBUF);
	size_t len = iov_bytes(iov, n), head = header_bytes(s), at = 0;
	uint8_t header[HEADER_BYTES] = { 0 }, start[64] = { 0 };
	unsigned count;

	if (!virtio_is_started(&s->vdev))
		return true; /* nobody listens: the frame is lost as on a wire */
	if (!machine_running(s->vdev.pci.dev.machine))
		return false;
	iov_to(iov, n, 0, start, sizeof(start));
	if (!wants(s, start, len))
		return true;
	if (s->pairs > 1)
		q = rx_queue(s,
			     s->flow_pair[flow_of(start, MIN_OF(len, sizeof(start)))] % s->pairs);
	net_hdr_store(h, header);
	if (!(s->guest_offloads & BIT64(F_GUEST_CSUM)))
		header[0] = 0;
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

static bool net_take(void *opaque, const struct iovec *iov, int n)
{
	return net_take_unfinished(opaque, &(struct net_hdr) { 0 }, iov, n);
}

static void rx_kicked(void *dev, struct virtq *q)
{
	(void)q;
	net_ready(((struct virtio_net *)dev)->port);
}

/* Sending. */

/* False: the peer holds us back. */
static bool send_chain(struct virtio_net *s, struct virtq *q, struct virtq_chain *c)
{
	size_t head = header_bytes(s);
	uint8_t raw[NET_HDR_BYTES], start[64];
	struct iovec *part;
	struct net_hdr h;
	bool more;
	int n;

	virtq_read(c, 0, raw, sizeof(raw));
	net_hdr_load(&h, raw);
	h.flags &= NET_NEEDS_CSUM;
	part = g_new(struct iovec, c->nout);
	n = iov_part(c->iov, (int)c->nout, head, c->out_len - head, part);
	if (s->pairs > 1)
		s->flow_pair[flow_of(start, iov_to(part, n, 0, start, sizeof(start)))] =
			(uint8_t)(virtio_queue_index(q) / 2);
	more = h.flags || h.gso ? net_send_unfinished(s->port, &h, part, n)
				: net_send(s->port, part, n);
	g_free(part);
	virtq_push(q, c, 0);
	return more;
}

/* Until the peer holds us back: then the rest waits in the ring for card_goes_on. */
static void tx_kicked(void *dev, struct virtq *q)
{
	struct virtio_net *s = dev;
	struct virtq_chain *c;
	bool more = true;

	do {
		virtq_want_kicks(q, false);
		while (more && (c = virtq_pop(q))) {
			if (c->out_len < header_bytes(s)) {
				virtio_break(&s->vdev, "a frame without a header");
				virtq_chain_free(c);
				return;
			}
			more = send_chain(s, q, c);
		}
		virtq_want_kicks(q, true);
	} while (more && virtq_has_chain(q));
	virtq_notify(q);
}

static void card_goes_on(void *opaque)
{
	struct virtio_net *s = opaque;

	if (!machine_running(s->vdev.pci.dev.machine))
		return; /* net_run_changed comes back to it */
	for (unsigned i = 0; virtio_is_started(&s->vdev) && i < s->pairs; i++)
		tx_kicked(s, &s->vdev.queues[2 * i + 1]);
}

static void ask_peer(struct virtio_net *s)
{
	static const struct {
		unsigned feature, takes;
	} rows[] = { { F_GUEST_CSUM, NET_TAKES_CSUM },
		     { F_GUEST_TSO4, NET_TAKES_TSO4 },
		     { F_GUEST_TSO6, NET_TAKES_TSO6 },
		     { F_GUEST_ECN, NET_TAKES_ECN } };
	unsigned takes = 0;

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		if (s->guest_offloads >> rows[i].feature & 1)
			takes |= rows[i].takes;
	net_set_takes(s->port, takes);
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

static uint8_t set_pairs(struct virtio_net *s, struct virtq_chain *c, uint8_t command)
{
	uint8_t raw[2];
	unsigned pairs;

	if (command != CTRL_MQ_PAIRS_SET || !virtio_has(&s->vdev, F_MQ) ||
	    virtq_read(c, 2, raw, 2) < 2)
		return CTRL_ERR;
	pairs = (unsigned)load_le(raw, 2);
	if (!pairs || pairs > s->most_pairs)
		return CTRL_ERR;
	s->pairs = (uint16_t)pairs;
	return CTRL_OK;
}

static uint8_t set_offloads(struct virtio_net *s, struct virtq_chain *c, uint8_t command)
{
	uint8_t raw[8];
	uint64_t offloads;

	if (command != CTRL_GUEST_OFFLOADS_SET || !virtio_has(&s->vdev, F_CTRL_GUEST_OFFLOADS) ||
	    virtq_read(c, 2, raw, 8) < 8)
		return CTRL_ERR;
	offloads = load_le(raw, 8);
	if (offloads & ~(s->vdev.guest_features & s->vdev.host_features & GUEST_OFFLOADS))
		return CTRL_ERR;
	s->guest_offloads = offloads;
	ask_peer(s);
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
	case CTRL_MQ:
		return set_pairs(s, c, head[1]);
	case CTRL_GUEST_OFFLOADS:
		return set_offloads(s, c, head[1]);
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
	store_le(config + 8, s->most_pairs, 2);
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

/* Without F_MQ the control queue stands behind the first pair. */
static void assign_queues(struct virtio_net *s)
{
	unsigned control = virtio_has(&s->vdev, F_MQ) ? 2u * s->most_pairs : 2;

	for (unsigned i = 0; i < s->vdev.nqueues; i++)
		s->vdev.queues[i].kicked = i == control ? ctrl_kicked
					   : i & 1	? tx_kicked
							: rx_kicked;
}

static void features_set(void *dev)
{
	struct virtio_net *s = dev;

	s->guest_offloads = s->vdev.guest_features & s->vdev.host_features & GUEST_OFFLOADS;
	ask_peer(s);
	assign_queues(s);
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
	memset(s->flow_pair, 0, sizeof(s->flow_pair));
	s->pairs = 1;
	s->guest_offloads = 0;
	ask_peer(s);
	set_first_mac(s);
}

static const struct virtio_info net_info = {
	.id = 1,
	.features = BIT64(F_MAC) | BIT64(F_STATUS) | BIT64(F_CTRL_GUEST_OFFLOADS) |
		    BIT64(F_CTRL_VQ) | BIT64(F_CTRL_RX) | BIT64(F_CTRL_VLAN) |
		    BIT64(F_CTRL_RX_EXTRA) | BIT64(F_CTRL_MAC_ADDR),
	.config_size = CONFIG_BYTES,
	.get_config = get_config,
	.set_config = set_config,
	.features_set = features_set,
	.started = started,
	.reset = net_reset,
};

static void link_changed(void *opaque)
{
	virtio_config_changed(opaque);
}

static const struct net_ops card_ops = { .take = net_take,
					 .take_unfinished = net_take_unfinished,
					 .go_on = card_goes_on,
					 .link_changed = link_changed };

/* Properties that offer a feature. */
static void offer_features(struct virtio_net *s)
{
	const struct {
		bool on;
		uint8_t feature;
	} rows[] = {
		{ s->csum, F_CSUM },
		{ s->csum && s->host_tso4, F_HOST_TSO4 },
		{ s->csum && s->host_tso6, F_HOST_TSO6 },
		{ s->csum && s->host_ecn && (s->host_tso4 || s->host_tso6), F_HOST_ECN },
		{ s->guest_csum, F_GUEST_CSUM },
		{ s->guest_csum && s->guest_tso4, F_GUEST_TSO4 },
		{ s->guest_csum && s->guest_tso6, F_GUEST_TSO6 },
		{ s->guest_csum && s->guest_ecn && (s->guest_tso4 || s->guest_tso6), F_GUEST_ECN },
		{ s->mrg_rxbuf, F_MRG_RXBUF },
		{ s->host_mtu != 0, F_MTU },
		{ s->most_pairs > 1, F_MQ },
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].on)
			s->vdev.host_features |= BIT64(rows[i].feature);
}

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
	if (!virtio_use_iothread(s, s->iothread, err) ||
	    !net_use_iothread(s->port, s->vdev.iothread, err)) {
		net_card_free(s->port);
		return false;
	}
	s->most_pairs = s->pairs = 1;
	if (s->mq && s->port->peer)
		s->most_pairs = (uint16_t)s->port->peer->queues;
	virtio_init(s, &net_info, 2u * s->most_pairs + 2);
	offer_features(s);
	for (unsigned i = 0; i < s->most_pairs; i++) {
		virtio_add_queue(s, s->rx_size, rx_kicked);
		virtio_add_queue(s, s->tx_size, tx_kicked);
	}
	virtio_add_queue(s, 64, ctrl_kicked);
	assign_queues(s);
	return true;
}

static void net_unrealize(void *dev)
{
	struct virtio_net *s = dev;

	/* Kicks that an I/O thread is about to come to find no card any more. */
	iothread_lock(s->vdev.iothread);
	s->vdev.io_off = true;
	iothread_unlock(s->vdev.iothread);
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
	if (!s->pairs || s->pairs > s->most_pairs)
		return error(err, "saved state: '%s': %u pairs of queues, this card has %u",
			     s->vdev.pci.dev.path, s->pairs, s->most_pairs);
	if (s->guest_offloads & ~GUEST_OFFLOADS)
		return error(err, "saved state: '%s': offloads 0x%" PRIx64 " are unknown",
			     s->vdev.pci.dev.path, s->guest_offloads);
	if (!virtio_loaded(dev, err))
		return false;
	assign_queues(s);
	iothread_lock(s->vdev.iothread);
	ask_peer(s);
	iothread_unlock(s->vdev.iothread);
	return true;
}

/* Frames that came while it stood still. */
static void net_run_changed(void *dev, bool running)
{
	struct virtio_net *s = dev;

	if (!running)
		return;
	iothread_lock(s->vdev.iothread);
	net_ready(s->port);
	card_goes_on(s);
	iothread_unlock(s->vdev.iothread);
}

static void net_print(void *dev, GString *out)
{
	struct virtio_net *s = dev;

	iothread_lock(s->vdev.iothread);
	g_string_append_printf(out, "mac %02x:%02x:%02x:%02x:%02x:%02x, netdev %s\n", s->mac[0],
			       s->mac[1], s->mac[2], s->mac[3], s->mac[4], s->mac[5],
			       s->netdev ? s->netdev : "none");
	iothread_unlock(s->vdev.iothread);
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
			F(iothread, .help = "the -object iothread that moves its data"),
			F(host_mtu, .help = "MTU that the driver shall use"),
			{ .name = "rx_queue_size", .type = FT_U16, .offset = offsetof(D, rx_size),
			  .size = 2, .init = 256, .min = 64, .max = VIRTQ_MOST_SIZE },
			{ .name = "tx_queue_size", .type = FT_U16, .offset = offsetof(D, tx_size),
			  .size = 2, .init = 256, .min = 64, .max = VIRTQ_MOST_SIZE },
			F(mq, .help = "as many pairs of queues as the network has (queues=)"),
			F(csum, .init = 1, .help = "the driver may leave checksums to us"),
			F(host_tso4, .init = 1, .help = "and cutting of long TCP segments, IPv4"),
			F(host_tso6, .init = 1, .help = "IPv6"),
			F(host_ecn, .init = 1, .help = "with ECN"),
			F(guest_csum, .init = 1, .help = "the driver takes frames without checksum"),
			F(guest_tso4, .init = 1, .help = "and long TCP segments, IPv4"),
			F(guest_tso6, .init = 1, .help = "IPv6"),
			F(guest_ecn, .init = 1, .help = "with ECN"),
			F(mrg_rxbuf, .init = 1, .help = "a frame may take several buffers"),
			VIRTIO_PROPS),
	.state = FIELDS(FO(vdev, virtio_device_table), F(mac), F(rx_mode), F(nmacs),
			F(unicast_overflow), F(multicast_overflow), F(macs), F(vlans), F(pairs),
			F(guest_offloads)),
	.host = HOST(port, number, mac_text, iothread, rx_size, tx_size, most_pairs, flow_pair),
	.realize = net_realize,
	.unrealize = net_unrealize,
	.reset = net_reset_device,
	.loaded = net_loaded,
	.run_changed = net_run_changed,
	.print = net_print);
