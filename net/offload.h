/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames that are not finished: a checksum is to be filled in, or a long TCP segment to be cut.
 * What is left to do is told as virtio tells it. Source: VIRTIO 1.2, 5.1.6; RFC 1071, 9293.
 */
#pragma once

#include "core/iov.h"

#define NET_NEEDS_CSUM 1 /* flags */
#define NET_DATA_VALID 2
#define NET_GSO_TCPV4 1 /* gso */
#define NET_GSO_TCPV6 4
#define NET_GSO_ECN 0x80

/* What a port does by itself, or takes. */
#define NET_TAKES_CSUM 1
#define NET_TAKES_TSO4 2
#define NET_TAKES_TSO6 4
#define NET_TAKES_ECN 8

/* What net_look_at_sums finds of an IPv4 packet: its header's, and TCP's or UDP's of a whole one.
 */
#define NET_SUM_IP 1
#define NET_SUM_IP_BAD 2
#define NET_SUM_L4 4
#define NET_SUM_L4_BAD 8

#define NET_HDR_BYTES 10

struct net_hdr {
	uint8_t flags, gso;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

void net_hdr_load(struct net_hdr *h, const uint8_t raw[NET_HDR_BYTES]);
void net_hdr_store(const struct net_hdr *h, uint8_t raw[NET_HDR_BYTES]);
/* NET_TAKES_ bits that whoever gets the frame as it is must have. */
unsigned net_hdr_needs(const struct net_hdr *h);
/* Fills the checksum in, a long segment's as if it were one; false: the frame makes no sense. */
bool net_checksum(const struct net_hdr *h, uint8_t *frame, size_t len);
/* RFC 1071: of words in network order, not inverted; an odd last byte is a word's first. */
uint16_t net_sum(const uint8_t *p, size_t len);
static inline uint16_t net_sum_add(uint16_t sum, uint32_t value)
{
	uint64_t total = (uint64_t)sum + value;

	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)total;
}
/* NET_SUM_ bits of a frame. */
unsigned net_look_at_sums(const uint8_t *frame, size_t len);
/*
 * Finishes a frame: calls `emit` with each that comes of it, in order. The pieces are the caller's
 * memory and a copy of headers. False: the frame makes no sense, and nothing was emitted.
 */
bool net_finish(const struct net_hdr *h, const struct iovec *iov, int n,
		void (*emit)(void *opaque, const struct iovec *iov, int n), void *opaque);
