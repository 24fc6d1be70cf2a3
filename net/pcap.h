/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capture files (libpcap's classic format, draft-ietf-opsawg-pcap): writing what passes a port. */
#pragma once

#include "net/net.h"

struct net_dump;

/* Begins a dump of everything at the network `netdev`, cut at `most` bytes a frame. */
bool net_dump_new(const char *id, const char *netdev, const char *path, uint64_t most,
		  GError **err);
void net_dump_write(struct net_dump *d, const struct iovec *iov, int n);
void net_dump_free(struct net_dump *d);
