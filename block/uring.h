/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads and writes of host files by io_uring, for the whole process: submitted by any thread, and
 * ended on a thread of the ring's own. Source: io_uring(7), liburing.
 */
#pragma once

#include <glib.h>

#include "core/iov.h"

struct uring_io {
	/*
	 * On the ring's thread, which must not be kept: bytes that were moved, or -errno. The next
	 * completion waits for its return.
	 */
	void (*done)(struct uring_io *io, int result);
};

/* Makes the ring, once; an error says why there is none. Machine lock. */
bool uring_start(GError **err);
/* `sync`: what is written is on the disk at the end. False: the ring takes nothing now. */
bool uring_submit(struct uring_io *io, int fd, bool write, uint64_t off, const struct iovec *iov,
		  int n, bool sync);
