/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: the header, opening, making and resizing. See qcow2.h. */
#include "block/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block/file.h"
#include "block/nbd.h"
#include "config.h"

#define EXTENSION_END 0
#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_FEATURES 0x6803f857u
#define EXTENSION_FINGERPRINT 0x6d6f6146 /* moa's own: "moaF" */
#define MOST_BACKING_NAME 1023
#define CACHE_BYTES (2 * MIB)

static bool qcow2_probe(const uint8_t *head, size_t len)
{
	return len >= 8 && be32(head) == QCOW2_MAGIC &&
	       (be32(head + 4) == 2 || be32(head + 4) == 3);
}

uint64_t qcow2_l1_entries(const struct qcow2 *q, uint64_t size)
{
	unsigned shift = q->cluster_bits + q->cluster_bits - 3;

	return (size + (UINT64_C(1) << shift) - 1) >> shift;
}

static bool damaged(struct block *b, GError **err, const char *what)
{
	return error(err, "%s: '%s' is damaged or no qcow2 image: %s", b->label, b->path, what);
}

/* Whether a table lies where a table may: clusters of its own, inside what offsets can say. */
static bool table_fits(const struct block *b, uint64_t offset, uint64_t bytes)
{
	return offset && offset % b->cluster == 0 && offset <= QCOW2_OFFSET &&
	       bytes <= QCOW2_OFFSET - offset;
}

static bool read_be64s(struct block *b, uint64_t offset, uint64_t *out, uint64_t n)
{
	if (file_read(b->file, offset, out, 8 * n))
		return false;
	for (uint64_t i = 0; i < n; i++)
		out[i] = be64(&out[i]);
	return true;
}

static bool check_features(struct block *b, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t known = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_COMPRESSION;

	if (q->incompatible & QCOW2_INCOMPAT_DATA_FILE)
		return error(err,
			     "%s: '%s' keeps its data in another file, which moa does not support: "
			     "convert it with qemu-img convert",
			     b->label, b->path);
	if (q->incompatible & QCOW2_INCOMPAT_EXTENDED_L2)
		return error(err,
			     "%s: '%s' has extended L2 entries, which moa does not support: "
			     "convert it with qemu-img convert -o extended_l2=off",
			     b->label, b->path);
	if (q->incompatible & ~known)
		return error(err, "%s: '%s' has features that moa does not know (0x%" PRIx64 ")",
			     b->label, b->path, q->incompatible & ~known);
	if (q->incompatible & QCOW2_INCOMPAT_CORRUPT && !b->options.read_only &&
	    !b->options.force_dirty)
		return error(err,
			     "%s: '%s' is marked corrupt: repair it with moa-img check -r all, or "
			     "open it with read-only=on",
			     b->label, b->path);
#ifndef HAVE_ZSTD
	if (q->compression == QCOW2_ZSTD)
		return error(err,
			     "%s: '%s' is compressed with zstd, which this build of moa lacks: "
			     "install libzstd-dev and build again",
			     b->label, b->path);
#endif
	if (q->compression > QCOW2_ZSTD)
		return error(err, "%s: '%s' is compressed in a way that moa does not know (%u)",
			     b->label, b->path, q->compression);
	return true;
}

static bool read_extensions(struct block *b, uint64_t at, uint64_t end, GError **err)
{
	while (at + 8 <= end) {
		uint8_t head[8];
		uint32_t type, len;

		if (file_read(b->file, at, head, 8))
			return damaged(b, err, "its header cannot be read");
		type = be32(head);
		len = be32(head + 4);
		at += 8;
		if (type == EXTENSION_END)
			return true;
		if (len > end - at)
			return damaged(b, err, "a header extension is longer than the header");
		if (type == EXTENSION_BACKING_FORMAT && len < 64) {
			char name[64] = "";

			if (file_read(b->file, at, name, len))
				return damaged(b, err, "its header cannot be read");
			g_free(b->backing_format);
			b->backing_format = g_strndup(name, len);
		}
		if (type == EXTENSION_FINGERPRINT && len == FINGERPRINT_BYTES) {
			uint8_t raw[FINGERPRINT_BYTES];

			if (file_read(b->file, at, raw, len))
				return damaged(b, err, "its header cannot be read");
			if (!fingerprint_load(&b->fingerprint, raw))
				return damaged(b, err,
					       "its backing file's fingerprint is of no "
					       "known kind");
		}
		at += align_up(len, 8);
	}
	return true;
}

static bool read_backing_name(struct block *b, const uint8_t *h, GError **err)
{
	uint64_t offset = be64(h + 8);
	uint32_t len = be32(h + 16);

	if (!offset || !len)
		return true;
	if (len > MOST_BACKING_NAME || offset > b->cluster || len > b->cluster - offset)
		return damaged(b, err, "its backing file's name is not in the header");
	b->backing_file = g_malloc0(len + 1);
	if (file_read(b->file, offset, b->backing_file, len))
		return damaged(b, err, "its backing file's name cannot be read");
	if (g_str_has_prefix(b->backing_file, "json:") ||
	    (strstr(b->backing_file, "://") && !nbd_is_url(b->backing_file)))
		return error(err, "%s: '%s' is backed by '%s': moa opens files and NBD only",
			     b->label, b->path, b->backing_file);
	return true;
}

static bool load_tables(struct block *b, const uint8_t *h, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t clusters = be32(h + 56), bytes;

	q->l1_size = be32(h + 36);
	q->l1_offset = be64(h + 40);
	bytes = 8 * (uint64_t)q->l1_size;
	if (bytes > QCOW2_MOST_L1_BYTES || (q->l1_size && !table_fits(b, q->l1_offset, bytes)))
		return damaged(b, err, "its L1 table is nowhere");
	if (q->l1_size < qcow2_l1_entries(q, b->size))
		return damaged(b, err, "its L1 table is too short for its size");
	q->l1 = g_new0(uint64_t, q->l1_size + 1);
	if (!read_be64s(b, q->l1_offset, q->l1, q->l1_size))
		return damaged(b, err, "its L1 table cannot be read");
	q->reftable_offset = be64(h + 48);
	bytes = clusters << q->cluster_bits;
	if (!clusters || bytes > QCOW2_MOST_REFTABLE_BYTES ||
	    !table_fits(b, q->reftable_offset, bytes))
		return damaged(b, err, "its refcount table is nowhere");
	q->reftable_size = (uint32_t)(bytes / 8);
	q->reftable = g_new0(uint64_t, q->reftable_size);
	if (!read_be64s(b, q->reftable_offset, q->reftable, q->reftable_size))
		return damaged(b, err, "its refcount table cannot be read");
	return qcow2_load_snapshots(b, be64(h + 64), be32(h + 60), err);
}

static bool parse_header(struct block *b, const uint8_t *h, GError **err)
{
	struct qcow2 *q = qcow2_of(b);

	if (!qcow2_probe(h, 8))
		return damaged(b, err, "it does not begin with the header of version 2 or 3");
	q->version = be32(h + 4);
	q->cluster_bits = be32(h + 20);
	if (q->cluster_bits < 9 || q->cluster_bits > 21)
		return damaged(b, err, "its clusters are not of 512 bytes to 2 MiB");
	b->cluster = 1u << q->cluster_bits;
	b->size = be64(h + 24);
	if (b->size > BLOCK_MOST_BYTES)
		return damaged(b, err, "its size is larger than any disk");
	if (be32(h + 32))
		return error(err, "%s: '%s' is encrypted, which moa does not support", b->label,
			     b->path);
	q->header_len = QCOW2_HEADER_V2;
	q->refcount_order = 4;
	if (q->version >= 3) {
		q->incompatible = be64(h + 72);
		q->compatible = be64(h + 80);
		q->refcount_order = be32(h + 96);
		q->header_len = be32(h + 100);
		if (q->header_len < QCOW2_HEADER_V3 || q->header_len > b->cluster)
			return damaged(b, err, "its header's length is wrong");
		if (q->refcount_order > 6)
			return damaged(b, err, "its counts are wider than 64 bits");
		if (q->header_len > QCOW2_HEADER_V3)
			q->compression = h[104];
	}
	return true;
}

static bool set_state_bits(struct block *b, uint64_t incompatible)
{
	struct qcow2 *q = qcow2_of(b);
	uint8_t bits[8];

	q->incompatible = incompatible;
	put_be64(bits, incompatible);
	return !file_write(b->file, 72, bits, 8) && !file_flush(b->file);
}

/* Counts of an image that was not closed (lazy refcounts) cannot be trusted. */
static bool recover(struct block *b, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	struct block_check r = { 0 };

	if (b->options.read_only || b->options.force_dirty ||
	    !(q->incompatible & QCOW2_INCOMPAT_DIRTY))
		return true;
	if (!qcow2_check(b, CHECK_FIX_LEAKS | CHECK_FIX_ERRORS, &r, err))
		return false;
	if (r.corruptions > r.corruptions_fixed || r.check_errors)
		return error(err,
			     "%s: '%s' was not closed and its counts cannot all be mended: run "
			     "moa-img check -r all",
			     b->label, b->path);
	return set_state_bits(b, q->incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY) ||
	       error(err, "%s: cannot write '%s'", b->label, b->path);
}

/* What an unknown writer may have left behind (bitmaps) is no longer true after a write. */
static void clear_autoclear(struct block *b, const uint8_t *h)
{
	static const uint8_t zero[8];

	if (qcow2_of(b)->version >= 3 && be64(h + 88) && !b->options.read_only)
		file_write(b->file, 88, zero, 8);
}

static void qcow2_close(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);

	if (!q)
		return;
	if (q->l2.tables)
		g_hash_table_unref(q->l2.tables);
	if (q->ref.tables)
		g_hash_table_unref(q->ref.tables);
	qcow2_snapshots_clear(q);
	g_array_unref(q->freed);
	g_free(q->l1);
	g_free(q->reftable);
	g_free(q);
	b->state = NULL;
}

static bool qcow2_open(struct block *b, GError **err)
{
	struct qcow2 *q = b->state = g_new0(struct qcow2, 1);
	uint8_t *h = aligned_alloc(4096, 4096);
	bool ok;

	q->freed = g_array_new(FALSE, FALSE, sizeof(struct qcow2_freed));
	q->snapshots = g_ptr_array_new();
	memset(h, 0, 4096);
	ok = !file_read(b->file, 0, h, 512) ||
	     error(err, "%s: cannot read '%s'", b->label, b->path);
	ok = ok && parse_header(b, h, err) && check_features(b, err);
	if (ok) {
		qcow2_cache_init(&q->l2,
				 (unsigned)MAX_OF(CACHE_BYTES >> q->cluster_bits, UINT64_C(8)));
		qcow2_cache_init(&q->ref,
				 (unsigned)MAX_OF(CACHE_BYTES / 2 >> q->cluster_bits, UINT64_C(8)));
		q->end = align_up(file_size(b->file), b->cluster);
	}
	ok = ok && read_extensions(b, q->header_len, b->cluster, err) &&
	     read_backing_name(b, h, err) && load_tables(b, h, err);
	if (ok)
		clear_autoclear(b, h);
	ok = ok && recover(b, err);
	free(h);
	if (!ok)
		qcow2_close(b);
	return ok;
}

static int qcow2_flush(struct block *b)
{
	int e;

	lock_take(&b->lock);
	if (qcow2_has_dirty(qcow2_of(b))) {
		e = qcow2_write_tables(b);
		lock_release(&b->lock);
		return e;
	}
	lock_release(&b->lock);
	return file_flush(b->file);
}

/* Making. */

static size_t put_extension(uint8_t *at, uint32_t type, const void *data, size_t len)
{
	put_be32(at, type);
	put_be32(at + 4, (uint32_t)len);
	if (len)
		memcpy(at + 8, data, len);
	return 8 + align_up(len, 8);
}

/* Names of the feature bits, for readers that do not know them. */
static size_t put_features(uint8_t *at)
{
	static const struct {
		uint8_t type, bit;
		const char *name;
	} features[] = { { 0, 0, "dirty bit" },		  { 0, 1, "corrupt bit" },
			 { 0, 2, "external data file" },  { 0, 3, "compression type" },
			 { 0, 4, "extended L2 entries" }, { 1, 0, "lazy refcounts" } };
	uint8_t table[48 * ARRAY_LEN(features)] = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(features); i++) {
		table[48 * i] = features[i].type;
		table[48 * i + 1] = features[i].bit;
		memcpy(table + 48 * i + 2, features[i].name, strlen(features[i].name));
	}
	return put_extension(at, EXTENSION_FEATURES, table, sizeof(table));
}

/*
 * Fills the header's cluster from the state; false when the backing file's name does not fit.
 * Extensions that we do not know belong to features that a writer may drop.
 */
static bool fill_header(struct block *b, uint8_t *h)
{
	struct qcow2 *q = qcow2_of(b);
	size_t at = q->version >= 3 ? MAX_OF(q->header_len, 112u) : QCOW2_HEADER_V2;
	const char *format = b->backing_format;

	put_be32(h, QCOW2_MAGIC);
	put_be32(h + 4, q->version);
	put_be32(h + 20, q->cluster_bits);
	put_be64(h + 24, b->size);
	put_be32(h + 36, q->l1_size);
	put_be64(h + 40, q->l1_offset);
	put_be64(h + 48, q->reftable_offset);
	put_be32(h + 56, (uint32_t)(8 * (uint64_t)q->reftable_size >> q->cluster_bits));
	put_be32(h + 60, q->snapshots->len);
	put_be64(h + 64, q->snapshots_offset);
	if (q->version >= 3) {
		put_be64(h + 72, q->incompatible);
		put_be64(h + 80, q->compatible);
		put_be32(h + 96, q->refcount_order);
		q->header_len = (uint32_t)at;
		put_be32(h + 100, q->header_len);
		h[104] = (uint8_t)q->compression;
	}
	if (b->backing_file && format)
		at += put_extension(h + at, EXTENSION_BACKING_FORMAT, format, strlen(format));
	if (b->backing_file && b->fingerprint.kind) {
		uint8_t raw[FINGERPRINT_BYTES];

		fingerprint_store(&b->fingerprint, raw);
		at += put_extension(h + at, EXTENSION_FINGERPRINT, raw, sizeof(raw));
	}
	if (q->version >= 3 && at + 8 + 48 * 6 + 8 <= b->cluster)
		at += put_features(h + at);
	at += put_extension(h + at, EXTENSION_END, NULL, 0);
	if (b->backing_file) {
		size_t len = strlen(b->backing_file);

		if (len > MOST_BACKING_NAME || at + len > b->cluster)
			return false;
		memcpy(h + at, b->backing_file, len);
		put_be64(h + 8, at);
		put_be32(h + 16, (uint32_t)len);
	}
	return true;
}

int qcow2_write_header(struct block *b)
{
	g_autofree uint8_t *h = g_malloc0(b->cluster + 1024);
	int e = fill_header(b, h) ? file_write(b->file, 0, h, b->cluster) : -ENAMETOOLONG;

	return e ? e : file_flush(b->file);
}

static bool choose_layout(struct qcow2 *q, const struct block_create_options *o, GError **err)
{
	uint64_t cluster = o->cluster_size ? o->cluster_size : 65536;
	unsigned bits = o->refcount_bits ? o->refcount_bits : 16;
	const char *compat = o->compat ? o->compat : "1.1";

	if (cluster < 512 || cluster > 2 * MIB || cluster & (cluster - 1))
		return error(err, "cluster_size %" PRIu64 ": takes a power of two from 512 to 2M",
			     cluster);
	if (bits > 64 || bits & (bits - 1))
		return error(err, "refcount_bits %u: takes a power of two up to 64", bits);
	if (!strcmp(compat, "0.10") || !strcmp(compat, "v2"))
		q->version = 2;
	else if (!strcmp(compat, "1.1") || !strcmp(compat, "v3"))
		q->version = 3;
	else
		return error(err, "compat '%s': takes 0.10 or 1.1", compat);
	q->cluster_bits = (unsigned)__builtin_ctzll(cluster);
	q->refcount_order = (unsigned)__builtin_ctz(bits);
	if (o->compression && !strcmp(o->compression, "zstd"))
		q->compression = QCOW2_ZSTD;
	else if (o->compression && strcmp(o->compression, "zlib"))
		return error(err, "compression_type '%s': takes zlib or zstd", o->compression);
#ifndef HAVE_ZSTD
	if (q->compression == QCOW2_ZSTD)
		return error(err, "compression_type zstd: this build of moa lacks it: install "
				  "libzstd-dev and build again");
#endif
	if (q->version == 2 && (bits != 16 || o->lazy_refcounts || q->compression))
		return error(err, "compat 0.10 has no %s: use compat=1.1",
			     bits != 16		 ? "refcount_bits but 16"
			     : o->lazy_refcounts ? "lazy_refcounts"
						 : "compression_type");
	q->incompatible = q->compression ? QCOW2_INCOMPAT_COMPRESSION : 0;
	q->compatible = o->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0;
	return true;
}

/* An empty image: header, refcount table, one refcount block, L1 table. */
static int write_empty(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t l1_bytes = align_up(8 * (uint64_t)q->l1_size, b->cluster);
	uint8_t table[8];
	int e;

	q->reftable_offset = b->cluster;
	q->reftable_size = b->cluster / 8;
	q->reftable = g_new0(uint64_t, q->reftable_size);
	q->reftable[0] = 2 * (uint64_t)b->cluster;
	q->l1_offset = 3 * (uint64_t)b->cluster;
	q->end = q->l1_offset;
	put_be64(table, q->reftable[0]);
	e = file_truncate(b->file, q->end + l1_bytes);
	if (!e)
		e = file_write(b->file, q->reftable_offset, table, 8);
	if (!e)
		e = qcow2_write_header(b);
	if (!e)
		e = qcow2_add_refcount(b, 0, 3, 1);
	/* A long L1 table may need more refcount blocks, which then lie inside its place. */
	if (!e)
		e = qcow2_alloc_row(b, l1_bytes >> q->cluster_bits, &q->l1_offset);
	if (!e && q->l1_offset != 3 * (uint64_t)b->cluster)
		e = qcow2_write_header(b);
	return e ? e : qcow2_write_tables(b);
}

/* Places for everything, so that no write has to find one. */
static int preallocate(struct block *b, const char *how)
{
	uint64_t end = align_up(b->size, b->cluster);
	bool full = !strcmp(how, "full"), reserve = !strcmp(how, "falloc");
	int e = 0;

	for (uint64_t off = 0; off < end && !e;) {
		struct extent x;

		e = qcow2_allocate(b, off, MIN_OF(end - off, 64 * MIB), &x);
		if (!e && full)
			e = file_zero(b->file, x.host, x.len, false);
		if (!e && reserve)
			e = file_reserve(b->file, x.host, x.len);
		if (!e)
			e = qcow2_link(b, off, &x);
		off += x.len;
	}
	return e ? e : qcow2_flush(b);
}

static bool qcow2_create(const char *path, const struct block_create_options *o, GError **err)
{
	static const char *const ways[] = { "off", "metadata", "falloc", "full", NULL };
	struct block_options open = { .label = "create", .force_dirty = true, .no_backing = true };
	struct block *b = g_new0(struct block, 1);
	struct qcow2 *q = b->state = g_new0(struct qcow2, 1);
	const char *how = o->preallocation ? o->preallocation : "off";
	bool ok = choose_layout(q, o, err);
	int e = 0;

	q->freed = g_array_new(FALSE, FALSE, sizeof(struct qcow2_freed));
	q->snapshots = g_ptr_array_new();
	if (ok && !g_strv_contains(ways, how))
		ok = error(err, "preallocation '%s': takes off, metadata, falloc or full", how);
	b->cluster = 1u << q->cluster_bits;
	b->size = o->size;
	lock_init(&b->lock, RANK_BACKEND, "image");
	if (ok && 8 * qcow2_l1_entries(q, o->size) > QCOW2_MOST_L1_BYTES)
		ok = error(err,
			   "'%s': %" PRIu64 " bytes are too many for clusters of %u: use a larger "
			   "cluster_size",
			   path, o->size, b->cluster);
	if (ok && o->fingerprint) {
		g_autofree char *backing =
			o->backing_file ? block_beside(path, o->backing_file) : NULL;

		ok = backing ? fingerprint_take(&b->fingerprint, o->fingerprint, backing, err)
			     : error(err, "backing_fingerprint: '%s' has no backing file", path);
	}
	if (ok) {
		/* A table of no entries has a place too. */
		q->l1_size = (uint32_t)MAX_OF(qcow2_l1_entries(q, o->size), UINT64_C(1));
		q->l1 = g_new0(uint64_t, q->l1_size);
		b->backing_file = g_strdup(o->backing_file);
		b->backing_format = g_strdup(o->backing_format);
		qcow2_cache_init(&q->l2, 64);
		qcow2_cache_init(&q->ref, 64);
		ok = file_create(path, 0, err);
	}
	if (ok) {
		b->file = file_open(path, &open, err);
		ok = b->file != NULL;
	}
	if (ok) {
		e = write_empty(b);
		if (!e && strcmp(how, "off"))
			e = preallocate(b, how);
		ok = !e || error(err, "cannot write '%s': %s", path, strerror(-e));
	}
	file_close(b->file);
	qcow2_close(b);
	g_free(b->backing_file);
	g_free(b->backing_format);
	g_free(b);
	return ok;
}

/* Changing. */

static int grow_l1(struct block *b, uint64_t entries)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t old_offset = q->l1_offset, old_clusters, offset, clusters;
	int e;

	old_clusters = (8 * (uint64_t)q->l1_size + b->cluster - 1) >> q->cluster_bits;
	clusters = (8 * entries + b->cluster - 1) >> q->cluster_bits;
	e = qcow2_alloc_row(b, clusters, &offset);
	if (e)
		return e;
	q->l1 = g_renew(uint64_t, q->l1, entries + 1);
	memset(q->l1 + q->l1_size, 0, 8 * (entries - q->l1_size));
	q->l1_size = (uint32_t)entries;
	q->l1_offset = offset;
	q->l1_dirty = true;
	e = qcow2_write_tables(b);
	if (!e)
		e = qcow2_write_header(b);
	if (!e)
		qcow2_free_later(b, old_offset >> q->cluster_bits, old_clusters);
	return e;
}

/* What was behind the old end: the rest of its cluster, and the backing image's. */
static int hide_beyond(struct block *b, uint64_t old, uint64_t size)
{
	uint64_t end = MIN_OF(align_up(old, b->cluster), size), part;
	int e = 0;

	if (b->backing && b->backing->size > end)
		end = MIN_OF(b->backing->size, size);
	for (; old < end && !e; old += part) {
		part = end - old;
		e = block_is_zero(b, old, &part);
		e = e < 0 ? e : e ? 0 : block_write_zeroes(b, old, part, true);
	}
	return e;
}

static bool qcow2_resize(struct block *b, uint64_t size, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t entries = qcow2_l1_entries(q, size), old = b->size;
	int e = 0;

	if (8 * entries > QCOW2_MOST_L1_BYTES)
		return error(err, "%s: %" PRIu64 " bytes are too many for clusters of %u", b->label,
			     size, b->cluster);
	if (size < old && q->snapshots->len)
		return error(err,
			     "%s: '%s' has snapshots and cannot become smaller: delete them first",
			     b->label, b->path);
	/* What is cut off must not come back when the image grows again, nor a backing file show.
	 */
	if (size < old) {
		uint64_t first = align_up(size, b->cluster);

		if (first < old)
			e = qcow2_clear(b, first, old - first, true);
	}
	lock_take(&b->lock);
	b->size = size;
	if (!e && entries > q->l1_size)
		e = grow_l1(b, entries);
	if (!e)
		e = qcow2_write_header(b);
	lock_release(&b->lock);
	if (!e && size > old)
		e = hide_beyond(b, old, size);
	if (!e)
		e = qcow2_flush(b);
	return !e || error(err, "%s: cannot resize '%s': %s", b->label, b->path, strerror(-e));
}

static bool qcow2_set_backing(struct block *b, const char *file, const char *format, GError **err)
{
	char *old_file = b->backing_file, *old_format = b->backing_format;
	struct fingerprint old = b->fingerprint;
	int e;

	if (file && *file && old.kind) {
		g_autofree char *path = block_beside(b->path, file);

		if (!fingerprint_take(&b->fingerprint, old.kind, path, err)) {
			b->fingerprint = old;
			return false;
		}
	}

	b->backing_file = file && *file ? g_strdup(file) : NULL;
	b->backing_format = file && *file ? g_strdup(format) : NULL;
	lock_take(&b->lock);
	e = qcow2_write_header(b);
	lock_release(&b->lock);
	if (e) {
		g_free(b->backing_file);
		g_free(b->backing_format);
		b->backing_file = old_file;
		b->backing_format = old_format;
		b->fingerprint = old;
		return error(err, "%s: cannot write the header of '%s': %s", b->label, b->path,
			     strerror(-e));
	}
	g_free(old_file);
	g_free(old_format);
	return true;
}

static void qcow2_describe(struct block *b, GString *text, GString *json)
{
	struct qcow2 *q = qcow2_of(b);
	const char *compat = q->version >= 3 ? "1.1" : "0.10",
		   *lazy = q->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS ? "true" : "false",
		   *corrupt = q->incompatible & QCOW2_INCOMPAT_CORRUPT ? "true" : "false",
		   *compression = q->compression == QCOW2_ZSTD ? "zstd" : "zlib";

	g_string_append_printf(text, "    compat: %s\n    compression type: %s\n", compat,
			       compression);
	g_string_append_printf(json, "\"compat\": \"%s\", \"compression-type\": \"%s\"", compat,
			       compression);
	if (q->version >= 3)
		g_string_append_printf(text, "    lazy refcounts: %s\n", lazy);
	g_string_append_printf(text, "    refcount bits: %u\n", 1u << q->refcount_order);
	if (b->fingerprint.kind) {
		const char *kind = fingerprint_names[b->fingerprint.kind];

		g_string_append_printf(text, "    backing fingerprint: %s\n", kind);
		g_string_append_printf(json, ", \"backing-fingerprint\": \"%s\"", kind);
	}
	if (q->version >= 3) {
		g_string_append_printf(text, "    corrupt: %s\n    extended l2: false\n", corrupt);
		g_string_append_printf(json,
				       ", \"lazy-refcounts\": %s, \"refcount-bits\": %u, "
				       "\"corrupt\": %s, \"extended-l2\": false",
				       lazy, 1u << q->refcount_order, corrupt);
	} else {
		g_string_append_printf(json, ", \"refcount-bits\": %u", 1u << q->refcount_order);
	}
}

const struct block_format block_format_qcow2 = {
	.name = "qcow2",
	.desc = "QEMU's format: snapshots, backing images, compression",
	.probe = qcow2_probe,
	.open = qcow2_open,
	.close = qcow2_close,
	.map = qcow2_map,
	.map_now = qcow2_map_now,
	.allocate = qcow2_allocate,
	.link = qcow2_link,
	.release = qcow2_release,
	.clear = qcow2_clear,
	.read_compressed = qcow2_read_compressed,
	.write_compressed = qcow2_write_compressed,
	.flush = qcow2_flush,
	.create = qcow2_create,
	.resize = qcow2_resize,
	.check = qcow2_check,
	.set_backing = qcow2_set_backing,
	.snapshots = qcow2_snapshots,
	.snapshot_create = qcow2_snapshot_create,
	.snapshot_apply = qcow2_snapshot_apply,
	.snapshot_delete = qcow2_snapshot_delete,
	.snapshot_show = qcow2_snapshot_show,
	.describe = qcow2_describe,
};
