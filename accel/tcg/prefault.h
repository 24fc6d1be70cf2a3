/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is there before it is used: a page fault costs the thread that has it microseconds,
 * and a thread of its own can have it earlier. Only a hint: where it comes late, or the host's
 * kernel (before Linux 5.14) cannot, pages come when they are used.
 */
#pragma once

#include <stddef.h>

#define PREFAULT_ARENAS 8

struct prefault;

/* Starts the thread; NULL: the host has none, which all functions here take. */
struct prefault *prefault_new(void);
/* Ends the thread. Arenas are unmapped after this. */
void prefault_free(struct prefault *p);
/*
 * One more arena: writable memory of whole pages that is used from its start on. Before the first
 * prefault_used.
 */
void prefault_add(struct prefault *p, void *start, size_t bytes);
/*
 * How many bytes of each arena are in use, in the order of prefault_add. One thread at a time; it
 * does not wait. Each arena is kept ahead by twice what it grew since it was told last.
 */
void prefault_used(struct prefault *p, const size_t used[]);
