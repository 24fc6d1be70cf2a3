/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network block device as the file below a format: nbd://HOST[:PORT]/EXPORT,
 * nbd+unix:///EXPORT?socket=PATH, and QEMU's nbd:HOST:PORT[:exportname=NAME], nbd:unix:PATH[:...].
 * The protocol is libnbd's. Calls block, from any thread; a server that takes several connections
 * gets some.
 */
#pragma once

#include "block/block.h"

struct nbd;

/* Whether a path names one. */
bool nbd_is_url(const char *path);
struct nbd *nbd_open(const char *url, const char *label, bool read_only, GError **err);
void nbd_shut(struct nbd *n);
uint64_t nbd_size(const struct nbd *n);
/* One contiguous piece each; 0 or -errno. */
int nbd_transfer(struct nbd *n, bool write, uint64_t off, void *buf, size_t len);
int nbd_sync(struct nbd *n);
/* -ENOTSUP: the server cannot, zeros must be written. */
int nbd_clear(struct nbd *n, uint64_t off, uint64_t len, bool unmap);
