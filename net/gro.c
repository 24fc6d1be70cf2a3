/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "net/gro.h"

#include <string.h>

#define IP_AT 14
#define TCP_AT (IP_AT + 20)
#define MOST_IP 65535u
#define MOST_SEGMENTS 64

#define TCP_PSH BIT(3)
#define TCP_ACK BIT(4)

struct gro {
	struct net_port *port;
	unsigned segments; /* 0: nothing is held */
	size_t len, data;  /* of all; where the data begin */
	uint32_t next;	   /* sequence number of what would continue it */
	uint16_t mss;
	uint8_t frame[IP_AT + MOST_IP];
};

struct gro *gro_new(struct net_port *p)
{
	struct gro *g = g_new0(struct gro, 1);

	g->port = p;
	return g;
}

void gro_free(struct gro *g)
{
	g_free(g);
}

/* Where the data of a plain segment begin; 0: it is something else. */
static size_t data_of(const uint8_t *f, size_t len, size_t *data_len)
{
	size_t data, end;

	/* IPv4 without options and not a fragment; TCP with nothing but ACK and PSH. */
	if (len < TCP_AT + 20 || f[12] != 0x08 || f[13] != 0x00 || f[IP_AT] != 0x45 ||
	    be16(f + IP_AT + 6) & 0x3fff || f[IP_AT + 9] != 6 ||
	    (f[TCP_AT + 13] & ~TCP_PSH) != TCP_ACK)
		return 0;
	data = TCP_AT + 4u * (f[TCP_AT + 12] >> 4);
	end = IP_AT + be16(f + IP_AT + 2);
	if (data < TCP_AT + 20 || end <= data || end > len)
		return 0;
	*data_len = end - data;
	return data;
}

/* The same stream, acknowledgement, window and options, and the next bytes. */
static bool continues(const struct gro *g, const uint8_t *f, size_t data, size_t data_len)
{
	const uint8_t *held = g->frame;

	return data == g->data && data_len <= g->mss && g->len + data_len <= sizeof(g->frame) &&
	       g->segments < MOST_SEGMENTS && be32(f + TCP_AT + 4) == g->next &&
	       !memcmp(f, held, 12) && f[IP_AT + 1] == held[IP_AT + 1] &&
	       !memcmp(f + IP_AT + 12, held + IP_AT + 12, 12) &&
	       !memcmp(f + TCP_AT + 8, held + TCP_AT + 8, 4) &&
	       !memcmp(f + TCP_AT + 14, held + TCP_AT + 14, 2) &&
	       !memcmp(f + TCP_AT + 18, held + TCP_AT + 18, data - TCP_AT - 18);
}

void gro_flush(struct gro *g)
{
	const struct net_hdr h = { NET_NEEDS_CSUM, NET_GSO_TCPV4,    (uint16_t)g->data,
				   g->mss,	   (uint16_t)TCP_AT, 16 };
	const struct iovec iov = { g->frame, g->len };
	uint8_t *ip = g->frame + IP_AT;

	if (!g->segments)
		return;
	if (g->segments == 1) {
		g->segments = 0;
		net_send(g->port, &iov, 1);
		return;
	}
	g->segments = 0;
	put_be16(ip + 2, (uint16_t)(g->len - IP_AT));
	put_be16(ip + 10, 0);
	put_be16(ip + 10, (uint16_t)~net_sum(ip, 20));
	/* The pseudo header's sum, where the rest is added. */
	put_be16(g->frame + TCP_AT + 16,
		 net_sum_add(net_sum(ip + 12, 8), 6 + (uint32_t)(g->len - TCP_AT)));
	net_send_unfinished(g->port, &h, &iov, 1);
}

void gro_send(struct gro *g, const uint8_t *f, size_t len)
{
	size_t data_len = 0, data = 0;

	if (net_peer_takes(g->port) & NET_TAKES_TSO4)
		data = data_of(f, len, &data_len);
	if (g->segments && data && continues(g, f, data, data_len)) {
		memcpy(g->frame + g->len, f + data, data_len);
		g->len += data_len;
		g->next += (uint32_t)data_len;
		g->segments++;
		g->frame[TCP_AT + 13] |= f[TCP_AT + 13];
	} else {
		gro_flush(g);
		if (!data) {
			net_send(g->port, &(struct iovec) { (void *)f, len }, 1);
			return;
		}
		/* What an Ethernet frame of 60 bytes is filled with stays behind. */
		g->len = data + data_len;
		memcpy(g->frame, f, g->len);
		g->data = data;
		g->mss = (uint16_t)data_len;
		g->next = be32(f + TCP_AT + 4) + (uint32_t)data_len;
		g->segments = 1;
	}
	/* Something ends here: a message, or a segment that is not full. */
	if (data_len < g->mss || f[TCP_AT + 13] & TCP_PSH)
		gro_flush(g);
}
