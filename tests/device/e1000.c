/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 82540EM by its manual (317453), as a driver sees it. */
#include "net/net.h"
#include "tests/lib/rig.h"

#define SLOT 5
#define BASE 0xe0000000u
#define R(reg) (BASE + (reg))
#define TX_RING 0x100000u
#define RX_RING 0x110000u
#define BUFFERS 0x120000u
#define RING_BYTES 128u /* eight descriptors */

static struct net_port *card, *peer;
static unsigned taken;
static uint8_t frames[8][2000];
static size_t lengths[8];

static bool take_frame(void *opaque, const struct iovec *iov, int n)
{
	(void)opaque;
	lengths[taken % 8] = iov_to(iov, n, 0, frames[taken % 8], sizeof(frames[0]));
	taken++;
	return true;
}

static const struct net_ops peer_ops = { .take = take_frame };

static void add_card(struct rig *r)
{
	struct device *d = device_new(&r->m, device_find("e1000", NULL), NULL);

	pci_set_devfn(d, SLOT, 0);
	CHECK(device_set(d, "mac", "52:54:00:12:34:56", NULL));
	CHECK(device_realize(d, &r->pc->host->bus.bus, NULL));
	machine_reset(&r->m);
	rig_pci_write(r, SLOT, 0, 0x10, BASE, 4);
	rig_pci_write(r, SLOT, 0, 0x14, 0xc000, 4);
	rig_pci_write(r, SLOT, 0, 4, 7, 2);
	card = net_nth(0);
	peer = net_card_new(&r->m, "peer", NULL, &peer_ops, NULL, NULL);
	card->peer = peer;
	peer->peer = card;
	r->m.state = RUN_RUNNING;
	rig_write(r, R(0), BIT(6), 4); /* the link is up */
	rig_read(r, R(0xc0), 4);
}

static void set_rings(struct rig *r)
{
	rig_write(r, R(0x3800), TX_RING, 4);
	rig_write(r, R(0x3808), RING_BYTES, 4);
	rig_write(r, R(0x400), BIT(1), 4);
	rig_write(r, R(0x2800), RX_RING, 4);
	rig_write(r, R(0x2808), RING_BYTES, 4);
	for (unsigned i = 0; i < 8; i++) {
		rig_write(r, RX_RING + 16 * i, BUFFERS + 0x8000 + 2048 * i, 4);
		rig_write(r, RX_RING + 16 * i + 4, 0, 4);
		rig_write(r, RX_RING + 16 * i + 12, 0, 4);
	}
	rig_write(r, R(0x2818), 7, 4);
	rig_write(r, R(0x100), BIT(1) | BIT(15), 4); /* enabled, broadcasts */
}

static void put_desc(struct rig *r, unsigned n, uint32_t low, uint32_t high, uint32_t word,
		     uint32_t last)
{
	rig_write(r, TX_RING + 16 * n, low, 4);
	rig_write(r, TX_RING + 16 * n + 4, high, 4);
	rig_write(r, TX_RING + 16 * n + 8, word, 4);
	rig_write(r, TX_RING + 16 * n + 12, last, 4);
}

BENCH(e1000_eeprom_by_both_ways)
{
	uint16_t sum = 0;

	add_card(r);
	for (unsigned word = 0; word < 64; word++) {
		uint32_t v, bits = 0;

		rig_write(r, R(0x14), word << 8 | 1, 4);
		v = rig_read(r, R(0x14), 4);
		CHECK_EQ(v & 0x10, 0x10);
		sum = (uint16_t)(sum + (v >> 16));
		/* 5.6: start bit, READ, six bits of address; then data on each clock. */
		rig_write(r, R(0x10), BIT(6), 4);
		CHECK(rig_read(r, R(0x10), 4) & BIT(7));
		for (int i = 8; i >= 0; i--) {
			uint32_t pins = BIT(6) | BIT(1) | ((6u << 6 | word) >> i & 1 ? BIT(2) : 0);

			rig_write(r, R(0x10), pins, 4);
			rig_write(r, R(0x10), pins | BIT(0), 4);
		}
		for (unsigned i = 0; i < 16; i++) {
			rig_write(r, R(0x10), BIT(6) | BIT(1), 4);
			rig_write(r, R(0x10), BIT(6) | BIT(1) | BIT(0), 4);
			bits = bits << 1 | (rig_read(r, R(0x10), 4) >> 3 & 1);
		}
		CHECK_EQ(bits, v >> 16);
		rig_write(r, R(0x10), 0, 4);
	}
	CHECK_EQ(sum, 0xbaba);
	CHECK_EQ(rig_read(r, R(0x5400), 4), 0x12005452);
	CHECK_EQ(rig_read(r, R(0x5404), 4), 0x80005634);
}

BENCH(e1000_phy_and_link)
{
	add_card(r);
	rig_write(r, R(0x20), 2u << 26 | 1u << 21 | 2u << 16, 4);
	CHECK_EQ(rig_read(r, R(0x20), 4) & 0x1000ffff, 0x10000141);
	rig_write(r, R(0x20), 2u << 26 | 2u << 21, 4); /* another PHY's address */
	CHECK(rig_read(r, R(0x20), 4) & BIT(30));
	CHECK_EQ(rig_read(r, R(0x08), 4) & 2, 2);
	net_set_link(peer, false);
	CHECK_EQ(rig_read(r, R(0x08), 4) & 2, 0);
	CHECK_EQ(rig_read(r, R(0xc0), 4) & 4, 4);
}

BENCH(e1000_sends_legacy_descriptors)
{
	add_card(r);
	set_rings(r);
	rig_write(r, BUFFERS, 0x11223344, 4);
	rig_write(r, BUFFERS + 0x1000, 0x55667788, 4);
	put_desc(r, 0, BUFFERS, 0, 40, 0);
	put_desc(r, 1, BUFFERS + 0x1000, 0, 24 | BIT(24) | BIT(25) | BIT(27), 0);
	rig_write(r, R(0xd0), 1, 4);
	rig_write(r, R(0x3818), 2, 4);
	CHECK_EQ(taken, 1);
	CHECK_EQ(lengths[0], 64);
	CHECK_EQ(load_le(frames[0], 4), 0x11223344);
	CHECK_EQ(load_le(frames[0] + 40, 4), 0x55667788);
	CHECK_EQ(rig_read(r, TX_RING + 16 + 12, 4) & 1, 1);
	CHECK_EQ(rig_read(r, R(0x3810), 4), 2);
	CHECK_EQ(rig_read(r, R(0xc0), 4), 0x80000003); /* asserted, written back, empty */
	CHECK_EQ(rig_read(r, R(0xc0), 4), 0);
	CHECK_EQ(rig_read(r, R(0x4080), 4), 1);
	CHECK_EQ(rig_read(r, R(0x4080), 4), 0); /* read and cleared */
}

static uint16_t checksum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | (i + 1 < len ? p[i + 1] : 0));
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* 3.5: 3000 bytes of TCP in segments of 1400, every header right. */
BENCH(e1000_segments_tcp)
{
	uint8_t head[54] = {
		[12] = 8,  [14] = 0x45, [20] = 0x40, [22] = 64,	  [23] = 6,    [26] = 10,  [29] = 1,
		[30] = 10, [33] = 2,	[37] = 80,   [38] = 0x10, [46] = 0x50, [47] = 0x19
	};
	uint32_t pseudo = 10 * 256 + 1 + 10 * 256 + 2 + 6, total = 0;

	add_card(r);
	set_rings(r);
	head[18] = 0x12;
	head[50] = (uint8_t)(pseudo >> 8);
	head[51] = (uint8_t)pseudo;
	for (unsigned i = 0; i < sizeof(head); i++)
		rig_write(r, BUFFERS + i, head[i], 1);
	for (unsigned i = 0; i < 3000; i++)
		rig_write(r, BUFFERS + 54 + i, i * 7, 1);
	/* The context: IP header at 14, its sum at 24 up to 33; TCP at 34, its sum at 50. */
	put_desc(r, 0, 14 | 24 << 8 | 33 << 16, 34 | 50 << 8,
		 3000 | BIT(29) | BIT(24) | BIT(25) | BIT(26), 54u << 8 | 1400u << 16);
	put_desc(r, 1, BUFFERS, 0, 3054 | 1u << 20 | BIT(24) | BIT(26) | BIT(29) | BIT(27),
		 3u << 8);
	rig_write(r, R(0x3818), 2, 4);
	CHECK_EQ(taken, 3);
	for (unsigned n = 0; n < 3; n++) {
		const uint8_t *f = frames[n];
		size_t data = lengths[n] - 54;

		CHECK_EQ(data, n < 2 ? 1400 : 200);
		CHECK_EQ(f[16] << 8 | f[17], lengths[n] - 14);
		CHECK_EQ(f[18] << 8 | f[19], 0x1200 + n);
		CHECK_EQ(checksum(f + 14, 20, 0), 0);
		CHECK_EQ(checksum(f + 34, 20 + data, pseudo + 20 + (uint32_t)data), 0);
		CHECK_EQ(f[38] << 24 | f[39] << 16 | f[40] << 8 | f[41], 0x10000000 + (int)total);
		CHECK_EQ(f[47], n < 2 ? 0x10 : 0x19); /* FIN and PSH on the last */
		CHECK_EQ(f[54], (uint8_t)(total * 7));
		total += (uint32_t)data;
	}
}

BENCH(e1000_receives_and_filters)
{
	uint8_t f[100] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56, [12] = 8 };
	struct iovec iov = { f, sizeof(f) };

	add_card(r);
	set_rings(r);
	rig_write(r, R(0xd0), BIT(7), 4);
	f[99] = 0x77;
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, RX_RING + 8, 4) & 0xffff, 104); /* with its checksum */
	CHECK_EQ(rig_read(r, RX_RING + 12, 4) & 0xff, 7);
	CHECK_EQ(rig_read(r, BUFFERS + 0x8000, 4), 0x12005452);
	CHECK_EQ(rig_read(r, BUFFERS + 0x8000 + 99, 1), 0x77);
	CHECK_EQ(rig_read(r, R(0x2810), 4), 1);
	CHECK(rig_read(r, R(0xc0), 4) & BIT(7));
	/* Another's, a broadcast, a group with and without its bit. */
	f[5] = 0x57;
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, R(0x2810), 4), 1);
	memset(f, 0xff, 6);
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, R(0x2810), 4), 2);
	memcpy(f, "\x01\x00\x5e\x00\x00\x01", 6);
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, R(0x2810), 4), 2);
	rig_write(r, R(0x5200) + 4 * ((0x0100 >> 4) >> 5), 1u << ((0x0100 >> 4) & 31), 4);
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, R(0x2810), 4), 3);
	/* A full ring: what comes waits, and the sender is told. */
	for (unsigned i = 0; i < 4; i++)
		CHECK(net_send(peer, &iov, 1));
	CHECK(!net_send(peer, &iov, 1));
	CHECK(rig_read(r, R(0xc0), 4) & BIT(6));
	rig_write(r, R(0x2818), 2, 4);
	CHECK(net_may_send(peer));
	CHECK_EQ(rig_read(r, R(0x2810), 4), 0);
}

BENCH(e1000_looks_at_checksums)
{
	/* IPv4 and UDP, both right: RFC 1071's sums of it are all ones. */
	uint8_t f[60] = {
		0x52, 0x54, 0,	0x12, 0x34, 0x56, [12] = 8, [14] = 0x45, [17] = 32, [22] = 64, 17,
		0x66, 0xcb, 10, 0,    2,    2,	  10,	    0,		 2,	    15,	       0,
		67,   0,    68, 0,    12,   0,	  0,	    1,		 2,	    3,	       4
	};
	struct iovec iov = { f, sizeof(f) };
	unsigned n = 0, sum = 0;

	for (unsigned i = 14; i < 34; i += 2)
		sum += i == 24 ? 0 : (unsigned)(f[i] << 8 | f[i + 1]);
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	f[24] = (uint8_t)(sum >> 8);
	f[25] = (uint8_t)sum;
	sum = 17 + 12;
	for (unsigned i = 26; i < 46; i += 2)
		sum += (unsigned)(f[i] << 8 | f[i + 1]);
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	f[40] = (uint8_t)(sum >> 8);
	f[41] = (uint8_t)sum;
	add_card(r);
	set_rings(r);
	/* Off; both on and right; the packet's wrong; the header's too; no sum at all. */
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, RX_RING + 16 * n++ + 12, 2) & 0xff64, 0x04);
	rig_write(r, R(0x5000), 0x300, 4);
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, RX_RING + 16 * n++ + 12, 2) & 0xff64, 0x60);
	f[43] ^= 1;
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, RX_RING + 16 * n++ + 12, 2) & 0xff64, 0x2060);
	f[22] ^= 1;
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, RX_RING + 16 * n++ + 12, 2) & 0xff64, 0x6060);
	f[40] = f[41] = 0;
	rig_write(r, R(0x5000), 0x200, 4);
	CHECK(net_send(peer, &iov, 1));
	CHECK_EQ(rig_read(r, RX_RING + 16 * n++ + 12, 2) & 0xff64, 0x04);
}

BENCH(e1000_vlan_tags)
{
	uint8_t f[68] = { 0x52, 0x54,	     0,		  0x12,	    0x34,
			  0x56, [12] = 0x81, [14] = 0x20, [15] = 5, [16] = 8 };

	add_card(r);
	set_rings(r);
	rig_write(r, R(0), BIT(6) | BIT(30), 4);
	CHECK(net_send(peer, &(struct iovec) { f, sizeof(f) }, 1));
	CHECK_EQ(rig_read(r, RX_RING + 8, 4) & 0xffff, 68);
	CHECK_EQ(rig_read(r, RX_RING + 12, 4) >> 16, 0x2005);
	CHECK_EQ(rig_read(r, RX_RING + 12, 4) & 8, 8);
	CHECK_EQ(rig_read(r, BUFFERS + 0x8000 + 12, 2), 8);
	/* The filter table knows other tags only. */
	rig_write(r, R(0x100), BIT(1) | BIT(15) | BIT(18), 4);
	CHECK(net_send(peer, &(struct iovec) { f, sizeof(f) }, 1));
	CHECK_EQ(rig_read(r, R(0x2810), 4), 1);
	put_desc(r, 0, BUFFERS, 0, 60 | BIT(24) | BIT(30), 0x3007u << 16);
	rig_write(r, R(0x3818), 1, 4);
	CHECK_EQ(lengths[0], 64);
	CHECK_EQ(load_le(frames[0] + 12, 4), 0x07300081);
}

BENCH(e1000_interrupts_are_throttled)
{
	add_card(r);
	rig_write(r, R(0xc4), 1000, 4); /* 256 us apart */
	rig_write(r, R(0xd0), 1, 4);
	rig_write(r, R(0xc8), 1, 4);
	CHECK(rig_pci_read(r, SLOT, 0, 6, 2) & 8);
	rig_read(r, R(0xc0), 4);
	CHECK(!(rig_pci_read(r, SLOT, 0, 6, 2) & 8));
	rig_write(r, R(0xc8), 1, 4);
	CHECK(!(rig_pci_read(r, SLOT, 0, 6, 2) & 8));
	rig_step(r, 256000);
	CHECK(rig_pci_read(r, SLOT, 0, 6, 2) & 8);
}

BENCH(e1000_rings_that_make_no_sense)
{
	add_card(r);
	set_rings(r);
	rig_write(r, R(0x3800), 0xd0000000, 4);
	rig_write(r, R(0x3818), 5, 4);
	CHECK_EQ(taken, 0);
	rig_write(r, R(0x3800), TX_RING, 4);
	rig_write(r, R(0x3818), 200, 4); /* beyond the ring */
	rig_write(r, R(0x3810), 100, 4);
	rig_write(r, R(0x3818), 5, 4);
	put_desc(r, 0, 0, 0, BIT(29) | BIT(26), 0xffffffff);
	put_desc(r, 1, BUFFERS, 0, 0xfffff | 1u << 20 | BIT(24) | BIT(26) | BIT(29), 3u << 8);
	rig_write(r, R(0x3810), 0, 4);
	rig_write(r, R(0x3818), 2, 4);
	CHECK_EQ(taken, 0);
	/* It goes on after that. */
	put_desc(r, 2, BUFFERS, 0, 60 | BIT(24), 0);
	rig_write(r, R(0x3818), 3, 4);
	CHECK_EQ(taken, 1);
}
