/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2, versions 2 and 3. Source: QEMU's docs/interop/qcow2.txt, the specification of the format.
 *
 *	L1 table -> L2 tables -> clusters	refcount table -> refcount blocks -> a count each
 *
 * What must not be lost is the order in which things reach the disk: a count goes up before
 * anything refers to the cluster, and down after nothing does. So L2 tables and counts are kept in
 * memory until a flush, which writes counts, then L2 tables, then the L1 table, with a barrier
 * between each; counts go down only after that (qcow2_refcount.c). A crash leaves leaks at worst.
 *
 * Not supported, and refused: external data files, extended L2 entries, encryption. Bitmaps are
 * dropped from images that are written, as their autoclear bit allows.
 */
#pragma once

#include "block/block.h"

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */
#define QCOW2_HEADER_V2 72
#define QCOW2_HEADER_V3 104

#define QCOW2_INCOMPAT_DIRTY BIT(0)
#define QCOW2_INCOMPAT_CORRUPT BIT(1)
#define QCOW2_INCOMPAT_DATA_FILE BIT(2)
#define QCOW2_INCOMPAT_COMPRESSION BIT(3)
#define QCOW2_INCOMPAT_EXTENDED_L2 BIT(4)
#define QCOW2_COMPAT_LAZY_REFCOUNTS BIT(0)

#define QCOW2_COPIED BIT64(63)	   /* of L1 and L2 entries: the count is exactly 1 */
#define QCOW2_COMPRESSED BIT64(62) /* of L2 entries */
#define QCOW2_ZERO BIT64(0)	   /* of L2 entries, version 3 */
#define QCOW2_OFFSET UINT64_C(0x00fffffffffffe00)

#define QCOW2_MOST_L1_BYTES (32 * MIB)
#define QCOW2_MOST_REFTABLE_BYTES (8 * MIB)
#define QCOW2_MOST_SNAPSHOTS 65536

enum { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 };

/* Tables of one cluster each, in memory; big-endian as on the disk. */
struct qcow2_table {
	uint64_t offset;
	bool dirty;
	uint64_t used; /* when, for the choice of what goes */
	uint8_t *data;
};

struct qcow2_cache {
	GHashTable *tables; /* by offset */
	unsigned most;
	uint64_t clock;
};

struct qcow2_snapshot {
	struct block_snapshot info;
	uint64_t l1_offset;
	uint32_t l1_size;
	uint8_t *extra; /* what later versions of the format put behind the known fields */
	uint32_t extra_len;
};

struct qcow2 {
	unsigned version, cluster_bits, refcount_order;
	uint64_t incompatible, compatible;
	uint32_t header_len;
	unsigned compression;

	uint64_t *l1; /* host order */
	uint32_t l1_size;
	uint64_t l1_offset;
	bool l1_dirty;

	uint64_t *reftable; /* host order */
	uint32_t reftable_size;
	uint64_t reftable_offset;

	struct qcow2_cache l2, ref;
	uint64_t free_hint; /* no cluster below is free */
	uint64_t end;	    /* of the file, as far as it is given away */
	GArray *freed;	 /* struct qcow2_freed: counts that go down once nothing refers to them */
	uint64_t packed; /* where the next compressed cluster goes; 0: in a new one */

	GPtrArray *snapshots; /* struct qcow2_snapshot */
	uint64_t snapshots_offset;
	uint64_t snapshots_len; /* bytes of the table on the disk */
	char *unknown_extensions;
};

struct qcow2_freed {
	uint64_t cluster, count;
};

static inline struct qcow2 *qcow2_of(const struct block *b)
{
	return b->state;
}
static inline uint32_t qcow2_l2_entries(const struct qcow2 *q)
{
	return 1u << (q->cluster_bits - 3);
}
static inline uint64_t qcow2_refblock_entries(const struct qcow2 *q)
{
	return UINT64_C(1) << (q->cluster_bits + 3 - q->refcount_order);
}
static inline uint64_t qcow2_most_refcount(const struct qcow2 *q)
{
	return q->refcount_order == 6 ? UINT64_MAX : (UINT64_C(1) << (1u << q->refcount_order)) - 1;
}
/* Clusters that `size` bytes of guest need an L1 table for. */
uint64_t qcow2_l1_entries(const struct qcow2 *q, uint64_t size);

/* Tables and counts (qcow2_refcount.c). All with b->lock held; 0 or -errno. */
void qcow2_cache_init(struct qcow2_cache *c, unsigned most);
void qcow2_cache_clear(struct qcow2_cache *c);
/* Valid until the cache has seen several others. */
/* Whether it is in memory. */
bool qcow2_table_known(const struct qcow2_cache *c, uint64_t offset);
int qcow2_table(struct block *b, struct qcow2_cache *c, uint64_t offset, struct qcow2_table **t);
/* A new one, all zero and dirty. */
int qcow2_table_new(struct block *b, struct qcow2_cache *c, uint64_t offset,
		    struct qcow2_table **t);
void qcow2_table_drop(struct qcow2_cache *c, uint64_t offset);
uint64_t qcow2_count_in(const struct qcow2 *q, const uint8_t *block, uint64_t index);
void qcow2_put_count_in(const struct qcow2 *q, uint8_t *block, uint64_t index, uint64_t count);
int qcow2_refcount(struct block *b, uint64_t cluster, uint64_t *count);
int qcow2_add_refcount(struct block *b, uint64_t cluster, uint64_t n, int64_t change);
/* Up to `want` clusters in a row, at least one; their counts become 1. */
int qcow2_alloc(struct block *b, uint64_t want, uint64_t *offset, uint64_t *got);
/* Exactly n in a row. */
int qcow2_alloc_row(struct block *b, uint64_t n, uint64_t *offset);
/* A count goes down by one with the next flush, when nothing on the disk refers to it. */
void qcow2_free_later(struct block *b, uint64_t cluster, uint64_t count);
/* Writes counts and tables in order. */
int qcow2_write_tables(struct block *b);
bool qcow2_has_dirty(const struct qcow2 *q);

/* Mapping (qcow2_map.c). */
bool qcow2_map_now(struct block *b, uint64_t off, uint64_t len, struct extent *e);
int qcow2_map(struct block *b, uint64_t off, uint64_t len, struct extent *e);
int qcow2_allocate(struct block *b, uint64_t off, uint64_t len, struct extent *e);
int qcow2_link(struct block *b, uint64_t off, const struct extent *e);
void qcow2_release(struct block *b, const struct extent *e);
int qcow2_clear(struct block *b, uint64_t off, uint64_t len, bool none);
int qcow2_read_compressed(struct block *b, const struct extent *e, void *cluster);
int qcow2_write_compressed(struct block *b, uint64_t off, const void *cluster, size_t len);
/* A compressed entry's place in the file, in bytes. */
void qcow2_compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
			    uint32_t *bytes);

/* The header and the snapshot table (qcow2.c, qcow2_snapshot.c). */
int qcow2_write_header(struct block *b);
bool qcow2_load_snapshots(struct block *b, uint64_t offset, uint32_t n, GError **err);
void qcow2_snapshots_clear(struct qcow2 *q);
GPtrArray *qcow2_snapshots(struct block *b);
bool qcow2_snapshot_create(struct block *b, const char *name, GError **err);
bool qcow2_snapshot_apply(struct block *b, const char *name, GError **err);
bool qcow2_snapshot_show(struct block *b, const char *name, GError **err);
bool qcow2_snapshot_delete(struct block *b, const char *name, GError **err);

bool qcow2_check(struct block *b, unsigned fix, struct block_check *r, GError **err);
