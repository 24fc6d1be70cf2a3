/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums and segmentation: see offload.h. */
#include "net/offload.h"

#include <glib.h>
#include <string.h>

#define ETHERNET 14
#define VLAN_TAG 4
#define MOST_HEADERS 256
#define MOST_PIECES 1100 /* of a frame, and of one that comes of it */

#define IP_TCP 6
#define IP_UDP 17
#define TCP_SEQUENCE 4
#define TCP_OFFSET 12
#define TCP_FLAGS 13
#define TCP_CHECKSUM 16
#define TCP_FIN BIT(0)
#define TCP_PSH BIT(3)
#define TCP_CWR BIT(7)

void net_hdr_load(struct net_hdr *h, const uint8_t raw[NET_HDR_BYTES])
{
	h->flags = raw[0];
	h->gso = raw[1];
	h->hdr_len = (uint16_t)load_le(raw + 2, 2);
	h->gso_size = (uint16_t)load_le(raw + 4, 2);
	h->csum_start = (uint16_t)load_le(raw + 6, 2);
	h->csum_offset = (uint16_t)load_le(raw + 8, 2);
}

void net_hdr_store(const struct net_hdr *h, uint8_t raw[NET_HDR_BYTES])
{
	raw[0] = h->flags;
	raw[1] = h->gso;
	store_le(raw + 2, h->hdr_len, 2);
	store_le(raw + 4, h->gso_size, 2);
	store_le(raw + 6, h->csum_start, 2);
	store_le(raw + 8, h->csum_offset, 2);
}

unsigned net_hdr_needs(const struct net_hdr *h)
{
	unsigned needs = h->flags & NET_NEEDS_CSUM ? NET_TAKES_CSUM : 0;

	switch (h->gso & ~NET_GSO_ECN) {
	case 0:
		break;
	case NET_GSO_TCPV4:
		needs |= NET_TAKES_TSO4;
		break;
	case NET_GSO_TCPV6:
		needs |= NET_TAKES_TSO6;
		break;
	default: /* nobody takes it, and net_finish refuses it */
		return UINT32_MAX;
	}
	return h->gso & NET_GSO_ECN ? needs | NET_TAKES_ECN : needs;
}

/* Sums of 16-bit words in the order of memory, which RFC 1071 allows; `odd`: begun in a word. */
struct sum {
	uint64_t total;
	bool odd;
};

static uint16_t fold(uint64_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)total;
}

static void add(struct sum *s, const uint8_t *p, size_t len)
{
	uint64_t here = 0;
	size_t i = 0;
	uint16_t part;

	for (; i + 4 <= len; i += 4) {
		uint32_t word;

		memcpy(&word, p + i, 4);
		here += word;
	}
	if (i + 2 <= len) {
		uint16_t word;

		memcpy(&word, p + i, 2);
		here += word;
		i += 2;
	}
	if (i < len)
		here += p[i];
	part = fold(here);
	s->total += s->odd ? __builtin_bswap16(part) : part;
	s->odd ^= len & 1;
}

uint16_t net_sum(const uint8_t *p, size_t len)
{
	struct sum s = { 0 };

	add(&s, p, len);
	return __builtin_bswap16(fold(s.total));
}

static void add_be16(struct sum *s, uint16_t value)
{
	s->total += __builtin_bswap16(value);
}

static void put_sum(uint8_t *at, const struct sum *s)
{
	uint16_t v = (uint16_t)~fold(s->total);

	/* 0 would mean that there is none (RFC 768); for TCP both are the same. */
	v = v ? v : 0xffff;
	memcpy(at, &v, 2);
}

/* Where the headers of a TCP segment lie. */
struct layout {
	size_t ip, tcp, data;
	bool v6;
};

static bool find_tcp(const struct net_hdr *h, const uint8_t *f, size_t len, struct layout *l)
{
	l->v6 = (h->gso & ~NET_GSO_ECN) == NET_GSO_TCPV6;
	l->ip = ETHERNET;
	while (l->ip + VLAN_TAG <= len && ((f[l->ip - 2] == 0x81 && f[l->ip - 1] == 0x00) ||
					   (f[l->ip - 2] == 0x88 && f[l->ip - 1] == 0xa8)))
		l->ip += VLAN_TAG;
	l->tcp = h->csum_start;
	if (!(h->flags & NET_NEEDS_CSUM) || h->csum_offset != TCP_CHECKSUM ||
	    l->tcp < l->ip + (l->v6 ? 40u : 20u) || l->tcp + 20 > len || l->tcp > UINT8_MAX)
		return false;
	if (f[l->ip] >> 4 != (l->v6 ? 6 : 4) || (!l->v6 && l->ip + 4u * (f[l->ip] & 15) != l->tcp))
		return false;
	l->data = l->tcp + 4u * (f[l->tcp + TCP_OFFSET] >> 4);
	return l->data >= l->tcp + 20 && l->data <= len && l->data <= MOST_HEADERS;
}

static void add_pseudo_header(struct sum *s, const uint8_t *f, const struct layout *l,
			      size_t tcp_len)
{
	if (l->v6)
		add(s, f + l->ip + 8, 32);
	else
		add(s, f + l->ip + 12, 8);
	add_be16(s, IP_TCP);
	add_be16(s, (uint16_t)tcp_len);
}

unsigned net_look_at_sums(const uint8_t *f, size_t len)
{
	const uint8_t *ip = f + ETHERNET, *l4;
	size_t head, total;
	struct sum s = { 0 };
	unsigned found;

	if (len < ETHERNET + 20 || f[12] != 0x08 || f[13] != 0x00 || ip[0] >> 4 != 4)
		return 0;
	head = 4u * (ip[0] & 15);
	total = be16(ip + 2);
	if (head < 20 || total < head || total > len - ETHERNET)
		return 0;
	add(&s, ip, head);
	found = NET_SUM_IP | (fold(s.total) == 0xffff ? 0 : NET_SUM_IP_BAD);
	l4 = ip + head;
	/* Fragments have a part of it only; UDP may have none. */
	if ((be16(ip + 6) & 0x3fff) || (ip[9] != IP_TCP && ip[9] != IP_UDP) ||
	    total - head < (ip[9] == IP_TCP ? 20 : 8) || (ip[9] == IP_UDP && !(l4[6] | l4[7])))
		return found;
	s = (struct sum) { 0 };
	add(&s, ip + 12, 8);
	add_be16(&s, ip[9]);
	add_be16(&s, (uint16_t)(total - head));
	add(&s, l4, total - head);
	return found | NET_SUM_L4 | (fold(s.total) == 0xffff ? 0 : NET_SUM_L4_BAD);
}

bool net_checksum(const struct net_hdr *h, uint8_t *frame, size_t len)
{
	size_t at = (size_t)h->csum_start + h->csum_offset;
	struct sum s = { 0 };
	struct layout l;

	if (h->gso) {
		if (!find_tcp(h, frame, len, &l))
			return false;
		memset(frame + at, 0, 2);
		add_pseudo_header(&s, frame, &l, len - l.tcp);
	} else if (!(h->flags & NET_NEEDS_CSUM)) {
		return true;
	}
	if (at + 2 > len)
		return false;
	/* Elsewhere the driver has put the pseudo header's sum where the checksum goes. */
	add(&s, frame + h->csum_start, len - h->csum_start);
	put_sum(frame + at, &s);
	return true;
}

/* Only a checksum: the frame is made whole up to it. */
static bool finish_checksum(const struct net_hdr *h, const struct iovec *iov, int n,
			    void (*emit)(void *opaque, const struct iovec *iov, int n),
			    void *opaque)
{
	size_t len = iov_bytes(iov, n);
	g_autofree uint8_t *frame = g_malloc(len);

	iov_to(iov, n, 0, frame, len);
	if (!net_checksum(h, frame, len))
		return false;
	emit(opaque, &(struct iovec) { frame, len }, 1);
	return true;
}

/* The headers of the k-th segment, whose data begin at `off` of all. */
static void fill_headers(uint8_t *f, const uint8_t *first, const struct layout *l, unsigned k,
			 size_t off, size_t part, bool last)
{
	uint32_t sequence = be32(first + l->tcp + TCP_SEQUENCE) + (uint32_t)off;
	struct sum s = { 0 };

	memcpy(f, first, l->data);
	if (l->v6) {
		put_be16(f + l->ip + 4, (uint16_t)(l->data + part - l->ip - 40));
	} else {
		put_be16(f + l->ip + 2, (uint16_t)(l->data + part - l->ip));
		put_be16(f + l->ip + 4, (uint16_t)(be16(first + l->ip + 4) + k));
		put_be16(f + l->ip + 10, 0);
		add(&s, f + l->ip, l->tcp - l->ip);
		put_sum(f + l->ip + 10, &s);
	}
	put_be32(f + l->tcp + TCP_SEQUENCE, sequence);
	if (!last)
		f[l->tcp + TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (k)
		f[l->tcp + TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	put_be16(f + l->tcp + TCP_CHECKSUM, 0);
}

bool net_finish(const struct net_hdr *h, const struct iovec *iov, int n,
		void (*emit)(void *opaque, const struct iovec *iov, int n), void *opaque)
{
	uint8_t first[MOST_HEADERS], headers[MOST_HEADERS];
	size_t len = iov_bytes(iov, n), have = iov_to(iov, n, 0, first, sizeof(first)), part;
	g_autofree struct iovec *out = NULL;
	struct layout l;

	if (!h->gso)
		return finish_checksum(h, iov, n, emit, opaque);
	if (!find_tcp(h, first, have, &l) || !h->gso_size || n > MOST_PIECES ||
	    len / h->gso_size > MOST_PIECES)
		return false;
	out = g_new(struct iovec, (size_t)n + 1);
	for (size_t off = 0, k = 0; !k || off < len - l.data; off += part, k++) {
		struct sum s = { 0 };
		int pieces;

		part = MIN_OF((size_t)h->gso_size, len - l.data - off);
		fill_headers(headers, first, &l, (unsigned)k, off, part,
			     off + part == len - l.data);
		pieces = iov_part(iov, n, l.data + off, part, out + 1);
		out[0] = (struct iovec) { headers, l.data };
		add_pseudo_header(&s, headers, &l, l.data - l.tcp + part);
		add(&s, headers + l.tcp, l.data - l.tcp);
		for (int i = 1; i <= pieces; i++)
			add(&s, out[i].iov_base, out[i].iov_len);
		put_sum(headers + l.tcp + TCP_CHECKSUM, &s);
		emit(opaque, out, pieces + 1);
	}
	return true;
}
