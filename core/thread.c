/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/thread.h"

#include <signal.h>
#include <stddef.h>

int thread_start(pthread_t *thread, void *(*fn)(void *opaque), void *opaque)
{
	sigset_t all, old;
	int e;

	/* Blocked before it begins: it inherits the mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(thread, NULL, fn, opaque);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}
