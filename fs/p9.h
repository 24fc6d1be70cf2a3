/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server of 9P2000.L for one folder. Source: the 9P manual's version 2000 and its dialect for
 * Linux (diod's protocol.md). Messages are the guest's and may be anything.
 *
 * One thread at a time. p9_handle may block as the host's file system does.
 */
#pragma once

#include "core/iov.h"
#include "fs/folder.h"

#define P9_MOST_FIDS 4096
/* What a saved state holds of them. */
#define P9_SAVED_FIDS 1024
#define P9_SAVED_BYTES 65536

struct p9_server;

struct p9_server *p9_new(struct folder *f);
void p9_free(struct p9_server *s);
/* Forgets the session. */
void p9_reset(struct p9_server *s);
/* Answers one message: bytes of `in` that hold the reply; 0: the message has no header. */
size_t p9_handle(struct p9_server *s, const struct iovec *out, int nout, const struct iovec *in,
		 int nin);

/*
 * Files that the guest knows, over a save: by their paths, which are opened again. What does not
 * fit, or has no name any more, answers with an error afterwards.
 */
struct p9_saved {
	uint32_t msize;
	uint16_t n;
	uint32_t fid[P9_SAVED_FIDS];
	uint32_t flags[P9_SAVED_FIDS]; /* of an open one, plus 1; 0: not open */
	uint32_t uid[P9_SAVED_FIDS];
	uint8_t paths[P9_SAVED_BYTES]; /* each ended by a zero */
};
void p9_save(struct p9_server *s, struct p9_saved *to);
/* False: it makes no sense. */
bool p9_load(struct p9_server *s, const struct p9_saved *from);
