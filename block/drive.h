/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives: what a disk device has at its back. A drive is an image and the user's wishes about it.
 * Devices hand requests over and are told of their end; the work is done by threads of the pool,
 * on the guest's memory itself.
 *
 * Locks: drives are made and freed with the machine lock held. A drive's own lock is the machine
 * lock or its device's I/O thread's: requests are submitted with it held, and `done` and the
 * device's callbacks are called with it held, from any thread. The work itself takes neither, so
 * drive_quiesce may wait for it from a register handler.
 *
 * With aio=io_uring, reads and writes that need nothing but the file are the ring's; the pool does
 * the rest.
 */
#pragma once

#include "block/block.h"
#include "block/throttle.h"
#include "block/uring.h"
#include "core/iothread.h"
#include "core/machine.h"

enum drive_op { DRIVE_READ, DRIVE_WRITE, DRIVE_FLUSH, DRIVE_DISCARD, DRIVE_ZERO, DRIVE_OPS };
enum drive_on_error { ON_ERROR_REPORT, ON_ERROR_IGNORE, ON_ERROR_ENOSPC, ON_ERROR_STOP };

struct drive_options {
	struct block_options block;
	const char *id, *file;
	const char *serial;
	enum drive_on_error rerror, werror;
	bool snapshot;		  /* writes go to an image of their own, which ends with the VM */
	bool writethrough;	  /* each write is flushed */
	bool cdrom;		  /* media=cdrom */
	bool removable;		  /* a floppy drive; CD-ROMs are so too */
	bool detect_zeroes;	  /* writes of zeros become such requests */
	bool unmap_detected;	  /* and give places back */
	bool uring;		  /* aio=io_uring */
	struct throttle throttle; /* rates and bursts */
};

struct drive_tray {
	bool open, locked;
};

struct drive_stats {
	uint64_t ops[DRIVE_OPS], bytes[DRIVE_OPS], failed[DRIVE_OPS];
};

struct drive {
	char *id, *serial;
	struct machine *machine;
	struct block *block; /* NULL: no medium */
	enum drive_on_error rerror, werror;
	bool read_only, cdrom, removable, writethrough, detect_zeroes, unmap_detected, uring;
	const void *user; /* the device that has it, and its name */
	char *user_name;
	struct iothread *iothread; /* whose lock is the drive's; NULL: the machine lock is */
	struct drive_stats stats;
	/* The device's, all may be NULL: the image's size or the medium has changed; its tray. */
	void (*resized)(void *opaque);
	void (*medium_changed)(void *opaque);
	struct drive_tray (*tray)(void *opaque);
	void *opaque;

	struct throttle throttle;
	struct drive_request *held, **last_held; /* that wait for their time */
	struct timer timer;			 /* of the first of them */
	unsigned draining;			 /* somebody waits: limits do not count */

	struct machine_listener listener;
	pthread_mutex_t mutex;
	pthread_cond_t quiet;
	unsigned working;   /* requests that the pool has and whose work is not done */
	unsigned in_flight; /* requests whose `done` has not been called */
};

struct drive_range {
	uint64_t offset, len;
	bool unmap; /* DRIVE_ZERO: places may be given back */
};

struct drive_request {
	enum drive_op op;
	bool fua; /* DRIVE_WRITE, DRIVE_ZERO: it is on the disk at the end */
	uint64_t offset, len;
	/* DRIVE_DISCARD, DRIVE_ZERO: instead of offset and len, in order up to the first error. */
	const struct drive_range *ranges;
	unsigned nranges;
	struct iovec *iov; /* the caller's until `done` */
	int niov;
	/* error: 0 or -errno. May submit and free. */
	void (*done)(struct drive_request *r, int error);

	struct drive *drive; /* the pool's */
	struct drive_request *next;
	int error;
	bool worked; /* the ring has done it: what is left is to tell */
	struct uring_io uring;
	struct block_direct direct;
};

struct drive *drive_new(struct machine *m, const struct drive_options *o, GError **err);
/* A drive without a medium. */
struct drive *drive_new_empty(struct machine *m, const struct drive_options *o);
struct drive *drive_find(const char *id);
/* For `info block`: every drive in order, NULL after the last. */
struct drive *drive_nth(unsigned n);
/* Makes it the device's; refuses when another has it. */
bool drive_attach(struct drive *d, const void *device, const char *name, GError **err);
/*
 * The drive that a device's property names, made the device's; NULL with an error: there is none,
 * another has it, or it is empty and no CD-ROM's. A CD-ROM whose drive nobody named has an empty
 * one with the device's name.
 */
struct drive *drive_of_device(void *device, const char *id, bool cdrom, GError **err);
/* A disc for a drive of discs: a read-only image counts as one. */
bool drive_become_cdrom(struct drive *d, const char *device, GError **err);
/*
 * Puts another medium into a drive that takes them, or with a NULL file takes it out; `force`
 * although the guest has locked it. Gives the machine lock up meanwhile.
 */
bool drive_change_medium(struct drive *d, const char *file, const char *format, bool force,
			 GError **err);
/* Machine lock. A device without a tray has it closed and not locked. */
struct drive_tray drive_tray(struct drive *d);
/* By the device, with the drive's lock: the tray has moved. */
void drive_tray_moved(struct drive *d, bool open);
bool drive_resize(struct drive *d, uint64_t size, GError **err);
/* Sets rates (and bursts) for what comes from now on. */
void drive_set_throttle(struct drive *d, const struct throttle *t);
/* Flushes and closes a machine's; no request may be in flight. */
void drives_free(struct machine *m);

static inline uint64_t drive_size(const struct drive *d)
{
	return d->block ? d->block->size : 0;
}

void drive_submit(struct drive *d, struct drive_request *r);
/* A copy of the counts; machine lock. */
struct drive_stats drive_get_stats(struct drive *d);
/* Waits, the drive's lock held, until nobody works on the guest's memory; `done`s may still come.
 */
void drive_quiesce(struct drive *d);
/*
 * Waits until every `done` has been called; gives the machine lock up meanwhile, so: not from a
 * device's handler.
 */
void drive_drain(struct drive *d);
void drives_drain_all(void);

/* What is to be done about a failed request; STOP has asked the machine to stop already. */
enum drive_on_error drive_failed(struct drive *d, enum drive_op op, int error);
