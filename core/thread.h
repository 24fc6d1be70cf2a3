/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <pthread.h>

/* As pthread_create; the new thread takes no signals: they are the main thread's. 0, or an errno.
 */
int thread_start(pthread_t *thread, void *(*fn)(void *opaque), void *opaque);
