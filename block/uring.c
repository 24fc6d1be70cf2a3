/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/uring.h"

#include "config.h"
#include "core/error.h"
#include "core/thread.h"

#ifdef HAVE_LIBURING
#include <liburing.h>
#include <string.h>
#include <sys/prctl.h>

#define ENTRIES 256

static struct {
	bool started;
	struct io_uring ring;
	pthread_mutex_t mutex; /* of the submission side; the completion side is the thread's */
	unsigned in_flight; /* atomic; at most ENTRIES, for all of which there is room at the end */
} uring = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void *reap(void *unused)
{
	struct io_uring_cqe *cqe;

	prctl(PR_SET_NAME, "io_uring");
	for (;;) {
		struct uring_io *io;
		int result;

		if (io_uring_wait_cqe(&uring.ring, &cqe))
			continue; /* a signal */
#ifdef __SANITIZE_THREAD__
		/* The order that the kernel keeps, for a sanitizer to see. */
		pthread_mutex_lock(&uring.mutex);
		pthread_mutex_unlock(&uring.mutex);
#endif
		io = io_uring_cqe_get_data(cqe);
		result = cqe->res;
		io_uring_cqe_seen(&uring.ring, cqe);
		__atomic_fetch_sub(&uring.in_flight, 1, __ATOMIC_ACQ_REL);
		io->done(io, result);
	}
	return unused;
}

bool uring_start(GError **err)
{
	pthread_t t;
	int e;

	if (uring.started)
		return true;
	e = io_uring_queue_init(ENTRIES, &uring.ring, 0);
	if (e)
		return error(err,
			     "aio=io_uring: this host has no io_uring for us: %s; say aio=threads",
			     strerror(-e));
	io_uring_ring_dontfork(&uring.ring);
	e = thread_start(&t, reap, NULL);
	if (e) {
		io_uring_queue_exit(&uring.ring);
		return error(err, "aio=io_uring: no thread for it: %s", strerror(e));
	}
	pthread_detach(t);
	uring.started = true;
	return true;
}

bool uring_submit(struct uring_io *io, int fd, bool write, uint64_t off, const struct iovec *iov,
		  int n, bool sync)
{
	struct io_uring_sqe *sqe;
	bool ok = false;

	pthread_mutex_lock(&uring.mutex);
	sqe = __atomic_load_n(&uring.in_flight, __ATOMIC_ACQUIRE) < ENTRIES
		      ? io_uring_get_sqe(&uring.ring)
		      : NULL;
	if (sqe) {
		__atomic_fetch_add(&uring.in_flight, 1, __ATOMIC_ACQ_REL);
		if (write)
			io_uring_prep_writev2(sqe, fd, iov, (unsigned)n, off, sync ? RWF_DSYNC : 0);
		else
			io_uring_prep_readv(sqe, fd, iov, (unsigned)n, off);
		io_uring_sqe_set_data(sqe, io);
		/* Once it is in the ring it will end, though the kernel may be told of it later. */
		while (io_uring_submit(&uring.ring) < 0)
			g_usleep(100);
		ok = true;
	}
	pthread_mutex_unlock(&uring.mutex);
	return ok;
}

#else

bool uring_start(GError **err)
{
	return error(err,
		     "aio=io_uring: this moa was built without liburing: install liburing-dev and "
		     "build again, or say aio=threads");
}

bool uring_submit(struct uring_io *io, int fd, bool write, uint64_t off, const struct iovec *iov,
		  int n, bool sync)
{
	(void)io;
	(void)fd;
	(void)write;
	(void)off;
	(void)iov;
	(void)n;
	(void)sync;
	return false;
}

#endif
