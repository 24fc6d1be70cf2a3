/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues, split and packed, for every virtio device: takes chains of descriptors from the guest
 * and gives them back. Source: Virtual I/O Device (VIRTIO) Version 1.2, 2.6 to 2.8.
 *
 * All of it is the guest's and may be anything. A descriptor is copied in before it is judged; a
 * chain that makes no sense breaks the device (it asks for a reset), never the VM. Lengths of
 * chains are bounded by the queue's size, and by VIRTQ_MOST_DESCRIPTORS in indirect tables.
 *
 * Lock: the device's, which is its I/O thread's or the machine lock.
 */
#pragma once

#include <glib.h>

#include "core/device.h"
#include "core/iov.h"

#define VIRTQ_MOST_SIZE 1024
#define VIRTQ_MOST_DESCRIPTORS 1024

struct virtio_device;

/* A virtqueue. The first members are what the driver set. */
struct virtq {
	uint16_t size;
	bool enabled;
	uint16_t vector;
	uint64_t desc, driver, device; /* descriptor, available and used areas */

	/* Where the walker is. */
	uint16_t next_avail, next_used;
	bool avail_wrap, used_wrap; /* packed: wrap counters */
	uint16_t signalled;	    /* split: next_used at the last interrupt */
	bool signalled_valid;
	uint16_t in_use; /* chains taken and not given back */

	uint16_t most; /* the device's limit on size */
	struct virtio_device *owner;
	void (*kicked)(void *dev, struct virtq *q);
	int kick_fd; /* kicks come by it, -1: straight from the driver's write */
	GSource *kick_source;
};
extern const struct field_table virtq_table;

struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* packed: the buffer id */
};

/* A chain: what the device reads (out) and then what it writes (in). */
struct virtq_chain {
	struct virtq *q;
	uint16_t head;		 /* split: its first descriptor; packed: its buffer id */
	uint16_t descriptors;	 /* packed: how many it takes in the ring */
	struct virtq_desc *ring; /* packed: those; chains that end before it go over them */
	unsigned nout, nin;	 /* elements of iov */
	size_t out_len, in_len;
	struct iovec *iov;    /* nout, then nin; host memory */
	struct dma_map *maps; /* nout + nin */
	unsigned capacity;
};

/* The next chain, or NULL: there is none, or the device has just been broken. */
struct virtq_chain *virtq_pop(struct virtq *q);
/*
 * A chain that was taken before a save. Split rings know it by its head, packed ones by its n
 * descriptors. NULL: it makes no sense.
 */
struct virtq_chain *virtq_pop_again(struct virtq *q, uint16_t head, const struct virtq_desc *ring,
				    unsigned n);
/* Gives it back, `written` bytes of its in part filled, and frees it. */
void virtq_push(struct virtq *q, struct virtq_chain *c, size_t written);
/* Takes the last chain back: as if it had not been popped. */
void virtq_unpop(struct virtq *q, struct virtq_chain *c);
/* Frees it without giving it back: after a reset. */
void virtq_chain_free(struct virtq_chain *c);
/* Whether there is a chain. */
bool virtq_has_chain(struct virtq *q);
/* An interrupt for what was pushed, unless the driver does not want it now. */
void virtq_notify(struct virtq *q);
/* Asks the driver to kick (or not to) when it adds chains. */
void virtq_want_kicks(struct virtq *q, bool want);
/* Takes every chain there is, without kicks meanwhile. */
void virtq_take_all(struct virtq *q, void (*take)(void *dev, struct virtq_chain *c));
void virtq_reset(struct virtq *q);
/* Whether the driver's addresses and size are acceptable. */
bool virtq_check(const struct virtq *q);

/* Bytes of the out part from `off` on, and into the in part; they return how many there were. */
size_t virtq_read(const struct virtq_chain *c, size_t off, void *buf, size_t len);
size_t virtq_write(const struct virtq_chain *c, size_t off, const void *buf, size_t len);
