/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images: files that hold a disk. A format is a mapping from guest ranges to extents of its file;
 * data on mapped extents is read and written without the format's help, and only allocation and
 * metadata take its lock.
 *
 *	struct block  an open image: a format over a file, perhaps over a backing image
 *
 * Threads: block_read and the other I/O calls block and may run on any thread, several at a time;
 * they take no lock above RANK_BACKEND, and callers hold the machine lock only where a guest may
 * wait. Opening and closing is the main thread's. Errors of I/O are negative errno values.
 */
#pragma once

#include <glib.h>

#include "block/fingerprint.h"
#include "core/compiler.h"
#include "core/error.h"
#include "core/iov.h"
#include "core/lock.h"

#define BLOCK_SECTOR 512u
/* Larger disks would overflow sums of offsets; the largest that formats here can describe is less.
 */
#define BLOCK_MOST_BYTES (INT64_MAX - (INT64_C(1) << 40))

struct block;
struct block_file;

enum extent_kind {
	EXTENT_DATA,	   /* at `host` in the image's file */
	EXTENT_ZERO,	   /* reads as zeros; `host` may be reserved for it */
	EXTENT_NONE,	   /* not in this image: the backing image's, or zeros */
	EXTENT_COMPRESSED, /* a cluster, `bytes` long at `host` */
};

struct extent {
	enum extent_kind kind;
	uint64_t len;
	uint64_t host;	/* 0 in a ZERO: no place is reserved */
	uint32_t bytes; /* COMPRESSED */
	bool shared;	/* DATA, ZERO: a snapshot's too: a write needs a new place */
	bool fresh;	/* allocated: nothing was ever written there, it reads as zeros */
};

/* What block_create takes beside the size. Strings may be NULL. */
struct block_create_options {
	uint64_t size;
	const char *backing_file, *backing_format;
	const char *preallocation; /* off, metadata, falloc, full */
	const char *compat;	   /* qcow2: 0.10, 1.1 (or v2, v3) */
	const char *compression;   /* qcow2: zlib, zstd */
	uint64_t cluster_size;	   /* 0: the format's own */
	unsigned refcount_bits;	   /* 0: 16 */
	bool lazy_refcounts;
	enum fingerprint_kind fingerprint; /* qcow2: of the backing file */
};

struct block_check {
	uint64_t corruptions, leaks, corruptions_fixed, leaks_fixed, check_errors;
	uint64_t clusters, allocated, fragmented, compressed, end_offset;
	GString *report; /* a line for each thing found, or NULL */
};
#define CHECK_FIX_LEAKS 1
#define CHECK_FIX_ERRORS 2

struct block_snapshot {
	char *id, *name;
	uint64_t vm_state_size, disk_size, vm_clock_ns;
	uint32_t date_sec, date_nsec;
};

/* A format. Functions that are NULL are not offered. I/O functions are called without b->lock. */
struct block_format {
	const char *name, *desc;
	/* Whether a file that begins with these bytes has it. */
	bool (*probe)(const uint8_t *head, size_t len);
	bool (*open)(struct block *b, GError **err);
	/* After a last flush. */
	void (*close)(struct block *b);
	/* One extent from off on; e->len is at most len. */
	int (*map)(struct block *b, uint64_t off, uint64_t len, struct extent *e);
	/* The same without waiting for anything; false: not now. */
	bool (*map_now)(struct block *b, uint64_t off, uint64_t len, struct extent *e);
	/*
	 * Allocating writes. `allocate` finds a place for whole clusters from off on, at most len
	 * bytes of them; once they are written `link` makes them the guest's, or `release` gives
	 * the place back. No other write to these clusters runs meanwhile.
	 */
	int (*allocate)(struct block *b, uint64_t off, uint64_t len, struct extent *e);
	int (*link)(struct block *b, uint64_t off, const struct extent *e);
	void (*release)(struct block *b, const struct extent *e);
	/*
	 * Whole clusters become zeros, or (`none`) the backing image's again. NULL: the file itself
	 * is cleared; -ENOTSUP: zeros must be written.
	 */
	int (*clear)(struct block *b, uint64_t off, uint64_t len, bool none);
	/* The cluster that a COMPRESSED extent is of. */
	int (*read_compressed)(struct block *b, const struct extent *e, void *cluster);
	int (*write_compressed)(struct block *b, uint64_t off, const void *cluster, size_t len);
	/* Everything that was acknowledged is on the disk afterwards. */
	int (*flush)(struct block *b);
	bool (*create)(const char *path, const struct block_create_options *o, GError **err);
	bool (*resize)(struct block *b, uint64_t size, GError **err);
	bool (*check)(struct block *b, unsigned fix, struct block_check *result, GError **err);
	/* Records another backing file. */
	bool (*set_backing)(struct block *b, const char *file, const char *format, GError **err);
	/* struct block_snapshot, with block_snapshot_free. */
	GPtrArray *(*snapshots)(struct block *b);
	bool (*snapshot_create)(struct block *b, const char *name, GError **err);
	bool (*snapshot_apply)(struct block *b, const char *name, GError **err);
	bool (*snapshot_delete)(struct block *b, const char *name, GError **err);
	/* Shows it in the disk's place, of an image that was opened to be read. */
	bool (*snapshot_show)(struct block *b, const char *name, GError **err);
	/* Lines for `moa-img info`: "    key: value\n" and JSON members. */
	void (*describe)(struct block *b, GString *text, GString *json);
};
extern const struct block_format *const block_formats[];
const struct block_format *block_format_find(const char *name);
/* By the first bytes; raw when nothing else fits. NULL: the file cannot be read. */
const struct block_format *block_probe(const char *path, GError **err);

/* How an image is opened. */
struct block_options {
	const char *format; /* NULL: by probing */
	const char *label;  /* names it in errors: "drive 'disk0'" */
	bool read_only;
	bool share;	  /* others may write it meanwhile: no lock */
	bool direct;	  /* cache.direct: O_DIRECT */
	bool no_flush;	  /* cache.no-flush: guests' flushes do nothing */
	bool no_backing;  /* moa-img info: the backing image stays shut */
	bool discard;	  /* discard=unmap: guests' discards reach the file */
	bool force_dirty; /* open though the dirty bit is set: for repair */
	bool in_chain;	  /* it is somebody's backing image */
};

/* A write under way: other writes to its clusters wait where one of the two must be alone. */
struct write_range {
	uint64_t start, end; /* whole clusters */
	bool alone;
	struct write_range *next;
};

struct block {
	char *path; /* as the user or the overlay gave it, made absolute where it was relative */
	char *label;
	const struct block_format *format;
	void *state; /* the format's */
	struct block_file *file;
	struct block *backing;
	char *backing_file, *backing_format; /* what the image says, or NULL */
	struct fingerprint fingerprint;	     /* what it says of the backing file */
	bool probed;			     /* a raw image whose format nobody named */
	struct block_options options;
	uint64_t size;	  /* bytes the guest sees */
	uint32_t cluster; /* bytes: what allocation works in; 1 for raw */
	struct lock lock; /* RANK_BACKEND: the format's state */

	/* Writes that are under way, see block.c. */
	struct lock range_lock;
	pthread_cond_t range_gone;
	struct write_range *ranges;
};

struct block *block_open(const char *path, const struct block_options *o, GError **err);
/* Flushes first. */
void block_close(struct block *b);
bool block_create(const char *format, const char *path, const struct block_create_options *o,
		  GError **err);
void block_snapshot_free(void *snapshot);
/* Where an overlay's backing file is, to be freed: a relative one lies beside the overlay. */
char *block_beside(const char *overlay, const char *file);

/* I/O: 0 or -errno. The range must lie inside the image. */
int block_readv(struct block *b, uint64_t off, const struct iovec *iov, int n);
int block_writev(struct block *b, uint64_t off, const struct iovec *iov, int n);
int block_read(struct block *b, uint64_t off, void *buf, size_t len);
int block_write(struct block *b, uint64_t off, const void *buf, size_t len);
/*
 * A read or write that needs nothing but the host's file, for who does not wait: [off, off + len)
 * is at `host` of `fd`. False: it must go the long way. A begun one is ended, which for a write
 * lets others go on.
 */
struct block_direct {
	struct block *b;
	struct write_range range;
	bool ranged;
	int fd;
	uint64_t host;
};
bool block_direct_begin(struct block_direct *d, struct block *b, bool write, uint64_t off,
			const struct iovec *iov, int n);
void block_direct_end(struct block_direct *d);
/* `unmap`: places may be given back. */
int block_write_zeroes(struct block *b, uint64_t off, uint64_t len, bool unmap);
int block_discard(struct block *b, uint64_t off, uint64_t len);
int block_flush(struct block *b);
/* One extent of this image alone. */
int block_map(struct block *b, uint64_t off, uint64_t len, struct extent *e);
/* Whether [off, off + *len) reads as zeros through the whole chain; shrinks *len. <0: error. */
int block_is_zero(struct block *b, uint64_t off, uint64_t *len);
bool block_resize(struct block *b, uint64_t size, GError **err);
