/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: from guest clusters to places in the file, and compressed clusters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "block/file.h"
#include "block/qcow2.h"
#include "config.h"
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

/* The format packs compressed clusters in sectors. */
#define DEFLATE_WINDOW (-12)

static uint64_t entry_at(const struct qcow2_table *t, uint64_t n)
{
	return be64(t->data + 8 * n);
}

static uint64_t cluster_number(const struct qcow2 *q, uint64_t off)
{
	return off >> q->cluster_bits;
}

void qcow2_compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
			    uint32_t *bytes)
{
	unsigned x = 62 - (q->cluster_bits - 8);
	uint64_t sectors = (entry >> x & ((UINT64_C(1) << (62 - x)) - 1)) + 1;

	*offset = entry & ((UINT64_C(1) << x) - 1);
	*bytes = (uint32_t)(sectors * BLOCK_SECTOR - (*offset & (BLOCK_SECTOR - 1)));
}

/* What an L2 entry says of its cluster; lengths are the caller's. */
static int parse_entry(struct block *b, uint64_t entry, struct extent *e)
{
	struct qcow2 *q = qcow2_of(b);

	*e = (struct extent) { .shared = !(entry & QCOW2_COPIED) };
	if (entry & QCOW2_COMPRESSED) {
		e->kind = EXTENT_COMPRESSED;
		qcow2_compressed_place(q, entry, &e->host, &e->bytes);
		return 0;
	}
	e->host = entry & QCOW2_OFFSET;
	/* The header's cluster is nobody's data. */
	if (e->host % b->cluster)
		return -EIO;
	if (q->version >= 3 && entry & QCOW2_ZERO)
		e->kind = EXTENT_ZERO;
	else
		e->kind = e->host ? EXTENT_DATA : EXTENT_NONE;
	return 0;
}

static bool continues(const struct extent *e, uint64_t done, const struct extent *next)
{
	if (e->kind != next->kind || e->kind == EXTENT_COMPRESSED || e->shared != next->shared)
		return false;
	return e->kind == EXTENT_DATA ? next->host == e->host + done : true;
}

static int map_locked(struct block *b, uint64_t off, uint64_t len, struct extent *e)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t n = cluster_number(q, off), inside = off % b->cluster,
		 entries = qcow2_l2_entries(q);
	uint64_t l1 = n / entries, l2 = n % entries, done, offset;
	struct qcow2_table *t;
	int result;

	len = MIN_OF(len, (entries - l2) * b->cluster - inside);
	offset = l1 < q->l1_size ? q->l1[l1] & QCOW2_OFFSET : 0;
	if (!offset) {
		*e = (struct extent) { .kind = EXTENT_NONE, .len = len };
		return 0;
	}
	result = qcow2_table(b, &q->l2, offset, &t);
	if (!result)
		result = parse_entry(b, entry_at(t, l2), e);
	for (done = b->cluster; !result && done < inside + len && l2 + 1 < entries;
	     done += b->cluster) {
		struct extent next;

		if (parse_entry(b, entry_at(t, ++l2), &next) || !continues(e, done, &next))
			break;
	}
	e->len = MIN_OF(len, done - inside);
	if (e->kind == EXTENT_DATA)
		e->host += inside;
	return result;
}

int qcow2_map(struct block *b, uint64_t off, uint64_t len, struct extent *e)
{
	int result;

	lock_take(&b->lock);
	result = map_locked(b, off, len, e);
	lock_release(&b->lock);
	return result;
}

/* The table is in memory, and nobody is at work on the tables. */
bool qcow2_map_now(struct block *b, uint64_t off, uint64_t len, struct extent *e)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t l1 = cluster_number(q, off) / qcow2_l2_entries(q), offset;
	bool known;

	if (!lock_try(&b->lock))
		return false;
	offset = l1 < q->l1_size ? q->l1[l1] & QCOW2_OFFSET : 0;
	known = offset && qcow2_table_known(&q->l2, offset) && !map_locked(b, off, len, e);
	lock_release(&b->lock);
	return known;
}

int qcow2_allocate(struct block *b, uint64_t off, uint64_t len, struct extent *e)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t offset, got, end;
	int result;

	(void)off;
	lock_take(&b->lock);
	end = q->end;
	result = qcow2_alloc(b, len >> q->cluster_bits, &offset, &got);
	lock_release(&b->lock);
	if (result)
		return result;
	*e = (struct extent) { .kind = EXTENT_DATA,
			       .len = got << q->cluster_bits,
			       .host = offset,
			       .fresh = offset >= end && !file_is_device(b->file) };
	return 0;
}

void qcow2_release(struct block *b, const struct extent *e)
{
	struct qcow2 *q = qcow2_of(b);

	lock_take(&b->lock);
	qcow2_add_refcount(b, e->host >> q->cluster_bits, e->len >> q->cluster_bits, -1);
	lock_release(&b->lock);
}

/* What an entry referred to is one reference poorer. */
static void drop_entry(struct block *b, uint64_t entry)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t offset;
	uint32_t bytes;

	if (entry & QCOW2_COMPRESSED) {
		qcow2_compressed_place(q, entry, &offset, &bytes);
		for (uint64_t c = offset >> q->cluster_bits;
		     c <= (offset + bytes - 1) >> q->cluster_bits; c++)
			qcow2_free_later(b, c, 1);
	} else if (entry & QCOW2_OFFSET) {
		qcow2_free_later(b, (entry & QCOW2_OFFSET) >> q->cluster_bits, 1);
	}
}

/* The L2 table for guest cluster n, this image's own; made if it must be. */
static int own_l2(struct block *b, uint64_t n, struct qcow2_table **t)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t l1 = n / qcow2_l2_entries(q), old, offset, got;
	g_autofree uint8_t *copy = NULL;
	int e;

	if (l1 >= q->l1_size)
		return -EIO;
	old = q->l1[l1];
	if (old & QCOW2_COPIED)
		return qcow2_table(b, &q->l2, old & QCOW2_OFFSET, t);
	if (old & QCOW2_OFFSET) {
		e = qcow2_table(b, &q->l2, old & QCOW2_OFFSET, t);
		if (e)
			return e;
		copy = g_memdup2((*t)->data, b->cluster);
	}
	e = qcow2_alloc(b, 1, &offset, &got);
	if (!e)
		e = qcow2_table_new(b, &q->l2, offset, t);
	if (e)
		return e;
	if (copy)
		memcpy((*t)->data, copy, b->cluster);
	q->l1[l1] = offset | QCOW2_COPIED;
	q->l1_dirty = true;
	if (old & QCOW2_OFFSET)
		qcow2_free_later(b, (old & QCOW2_OFFSET) >> q->cluster_bits, 1);
	return 0;
}

static int set_entry(struct block *b, uint64_t n, uint64_t entry)
{
	struct qcow2_table *t;
	uint64_t index = n % qcow2_l2_entries(qcow2_of(b)), old;
	int e = own_l2(b, n, &t);

	if (e)
		return e;
	old = entry_at(t, index);
	put_be64(t->data + 8 * index, entry);
	t->dirty = true;
	drop_entry(b, old);
	return 0;
}

int qcow2_link(struct block *b, uint64_t off, const struct extent *e)
{
	struct qcow2 *q = qcow2_of(b);
	int result = 0;

	lock_take(&b->lock);
	for (uint64_t i = 0; i < e->len >> q->cluster_bits && !result; i++)
		result = set_entry(b, cluster_number(q, off) + i,
				   (e->host + (i << q->cluster_bits)) | QCOW2_COPIED);
	lock_release(&b->lock);
	return result;
}

int qcow2_clear(struct block *b, uint64_t off, uint64_t len, bool none)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t n = cluster_number(q, off), end = cluster_number(q, off + len + b->cluster - 1);
	/* Zeros have no entry of their own in version 2; without a backing image none is needed. */
	bool as_none = none || (q->version < 3 && !b->backing);
	int e = 0;

	if (q->version < 3 && !as_none)
		return -ENOTSUP;
	lock_take(&b->lock);
	while (n < end && !e) {
		struct extent x;

		e = map_locked(b, n << q->cluster_bits, (end - n) << q->cluster_bits, &x);
		if (e)
			break;
		if (x.kind == EXTENT_NONE && (as_none || !b->backing)) {
			n += MAX_OF(x.len >> q->cluster_bits, UINT64_C(1));
			continue;
		}
		if (x.kind != EXTENT_ZERO || x.host || as_none)
			e = set_entry(b, n, as_none ? 0 : QCOW2_ZERO);
		n++;
	}
	lock_release(&b->lock);
	return e;
}

/* Compressed clusters. */

static int inflate_cluster(void *out, size_t out_len, const void *in, size_t in_len)
{
	z_stream z = { .next_in = (Bytef *)in,
		       .avail_in = (uInt)in_len,
		       .next_out = out,
		       .avail_out = (uInt)out_len };
	int r;

	if (inflateInit2(&z, DEFLATE_WINDOW) != Z_OK)
		return -ENOMEM;
	r = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* The input may have padding up to its last sector's end. */
	return (r == Z_STREAM_END || r == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
}

static int unpack(struct qcow2 *q, void *out, size_t out_len, const void *in, size_t in_len)
{
	if (q->compression == QCOW2_ZLIB)
		return inflate_cluster(out, out_len, in, in_len);
#ifdef HAVE_ZSTD
	ZSTD_DCtx *d = ZSTD_createDCtx();
	ZSTD_inBuffer from = { in, in_len, 0 };
	ZSTD_outBuffer to = { out, out_len, 0 };
	size_t r = 1;

	while (d && r && to.pos < to.size && from.pos < from.size) {
		r = ZSTD_decompressStream(d, &to, &from);
		if (ZSTD_isError(r))
			break;
	}
	ZSTD_freeDCtx(d);
	return to.pos == to.size ? 0 : -EIO;
#else
	return -ENOTSUP;
#endif
}

int qcow2_read_compressed(struct block *b, const struct extent *e, void *cluster)
{
	uint8_t *packed = malloc(e->bytes);
	int result = packed ? file_read(b->file, e->host, packed, e->bytes) : -ENOMEM;

	if (!result)
		result = unpack(qcow2_of(b), cluster, b->cluster, packed, e->bytes);
	free(packed);
	return result;
}

/* How long it is packed, or 0 when it does not become shorter. */
static size_t pack(struct qcow2 *q, void *out, size_t most, const void *in, size_t len)
{
	z_stream z = { .next_in = (Bytef *)in,
		       .avail_in = (uInt)len,
		       .next_out = out,
		       .avail_out = (uInt)most };
	size_t n = 0;

	if (q->compression == QCOW2_ZSTD) {
#ifdef HAVE_ZSTD
		n = ZSTD_compress(out, most, in, len, ZSTD_CLEVEL_DEFAULT);
		return ZSTD_isError(n) ? 0 : n;
#else
		return 0;
#endif
	}
	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, DEFLATE_WINDOW, 9,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	if (deflate(&z, Z_FINISH) == Z_STREAM_END)
		n = most - z.avail_out;
	deflateEnd(&z);
	return n;
}

/*
 * A place for `len` packed bytes: behind the last one where its cluster has room, and across into
 * the next cluster where that one follows. Each cluster it touches counts it.
 */
static int packed_place(struct block *b, size_t len, uint64_t *place)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t inside = q->packed % b->cluster, fresh, got, count = 0;
	int e = inside ? qcow2_refcount(b, q->packed >> q->cluster_bits, &count) : 0;

	if (e)
		return e;
	/* All that was in it may have gone since, and the cluster with it. */
	if (!count)
		q->packed = 0;
	if (q->packed && inside && inside + len <= b->cluster) {
		e = qcow2_add_refcount(b, q->packed >> q->cluster_bits, 1, 1);
		*place = q->packed;
		q->packed += len;
		return e;
	}
	e = qcow2_alloc(b, 1, &fresh, &got);
	if (e)
		return e;
	*place = fresh;
	if (q->packed && inside && fresh == align_up(q->packed, b->cluster)) {
		e = qcow2_add_refcount(b, q->packed >> q->cluster_bits, 1, 1);
		*place = q->packed;
	}
	q->packed = *place + len;
	return e;
}

int qcow2_write_compressed(struct block *b, uint64_t off, const void *cluster, size_t len)
{
	struct qcow2 *q = qcow2_of(b);
	g_autofree uint8_t *full = g_malloc0(b->cluster), *packed = g_malloc0(b->cluster);
	unsigned x = 62 - (q->cluster_bits - 8);
	uint64_t place, sectors;
	size_t n;
	int e;

	memcpy(full, cluster, len);
	n = pack(q, packed, b->cluster - 1, full, b->cluster);
	if (!n)
		return block_write(b, off, cluster, len);
	lock_take(&b->lock);
	e = packed_place(b, n, &place);
	if (!e && place >> x)
		e = -EFBIG;
	if (!e)
		e = file_write(b->file, place, packed, n);
	if (!e) {
		sectors = ((place + n - 1) >> 9) - (place >> 9);
		e = set_entry(b, cluster_number(q, off), QCOW2_COMPRESSED | sectors << x | place);
	}
	lock_release(&b->lock);
	return e;
}
