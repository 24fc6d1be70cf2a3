/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: tables in memory, reference counts, and the order in which both reach the disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/file.h"
#include "block/qcow2.h"

/* Tables. */

static void free_table(void *table)
{
	struct qcow2_table *t = table;

	free(t->data);
	g_free(t);
}

void qcow2_cache_init(struct qcow2_cache *c, unsigned most)
{
	c->tables = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_table);
	c->most = most;
}

void qcow2_cache_clear(struct qcow2_cache *c)
{
	if (c->tables)
		g_hash_table_remove_all(c->tables);
}

static int write_table(struct block *b, struct qcow2_table *t)
{
	int e = file_write(b->file, t->offset, t->data, b->cluster);

	if (!e)
		t->dirty = false;
	return e;
}

static int write_dirty(struct block *b, struct qcow2_cache *c, bool *any)
{
	GHashTableIter i;
	void *table;
	int e = 0;

	g_hash_table_iter_init(&i, c->tables);
	while (!e && g_hash_table_iter_next(&i, NULL, &table)) {
		if (!((struct qcow2_table *)table)->dirty)
			continue;
		e = write_table(b, table);
		*any = true;
	}
	return e;
}

static bool cache_has_dirty(const struct qcow2_cache *c)
{
	GHashTableIter i;
	void *table;

	g_hash_table_iter_init(&i, c->tables);
	while (g_hash_table_iter_next(&i, NULL, &table))
		if (((struct qcow2_table *)table)->dirty)
			return true;
	return false;
}

/* Makes room for one more. */
static int make_room(struct block *b, struct qcow2_cache *c)
{
	struct qcow2 *q = qcow2_of(b);

	while (g_hash_table_size(c->tables) >= c->most) {
		struct qcow2_table *oldest = NULL;
		GHashTableIter i;
		void *table;
		int e = 0;

		g_hash_table_iter_init(&i, c->tables);
		while (g_hash_table_iter_next(&i, NULL, &table)) {
			struct qcow2_table *t = table;

			if (!oldest || t->used < oldest->used)
				oldest = t;
		}
		/* Counts may be written at any time: those in memory are never too low. */
		if (oldest->dirty)
			e = c == &q->ref ? write_table(b, oldest) : qcow2_write_tables(b);
		if (e)
			return e;
		g_hash_table_remove(c->tables, &oldest->offset);
	}
	return 0;
}

static int add_table(struct block *b, struct qcow2_cache *c, uint64_t offset,
		     struct qcow2_table **out)
{
	struct qcow2_table *t;
	int e = make_room(b, c);

	if (e)
		return e;
	t = g_new0(struct qcow2_table, 1);
	t->offset = offset;
	t->data = aligned_alloc(4096, align_up(b->cluster, 4096));
	t->used = ++c->clock;
	if (!t->data) {
		g_free(t);
		return -ENOMEM;
	}
	g_hash_table_insert(c->tables, &t->offset, t);
	*out = t;
	return 0;
}

bool qcow2_table_known(const struct qcow2_cache *c, uint64_t offset)
{
	return g_hash_table_contains(c->tables, &offset);
}

int qcow2_table(struct block *b, struct qcow2_cache *c, uint64_t offset, struct qcow2_table **out)
{
	struct qcow2_table *t = g_hash_table_lookup(c->tables, &offset);
	int e;

	if (t) {
		t->used = ++c->clock;
		*out = t;
		return 0;
	}
	if (!offset || offset % b->cluster)
		return -EIO;
	e = add_table(b, c, offset, &t);
	if (e)
		return e;
	e = file_read(b->file, offset, t->data, b->cluster);
	if (e) {
		g_hash_table_remove(c->tables, &offset);
		return e;
	}
	*out = t;
	return 0;
}

int qcow2_table_new(struct block *b, struct qcow2_cache *c, uint64_t offset,
		    struct qcow2_table **out)
{
	int e;

	qcow2_table_drop(c, offset);
	e = add_table(b, c, offset, out);
	if (e)
		return e;
	memset((*out)->data, 0, b->cluster);
	(*out)->dirty = true;
	return 0;
}

void qcow2_table_drop(struct qcow2_cache *c, uint64_t offset)
{
	g_hash_table_remove(c->tables, &offset);
}

/* Counts. */

uint64_t qcow2_count_in(const struct qcow2 *q, const uint8_t *block, uint64_t index)
{
	unsigned bits = 1u << q->refcount_order;

	switch (q->refcount_order) {
	case 6:
		return be64(block + 8 * index);
	case 5:
		return be32(block + 4 * index);
	case 4:
		return be16(block + 2 * index);
	case 3:
		return block[index];
	default:
		return block[index * bits / 8] >> (index * bits % 8) & (BIT(bits) - 1);
	}
}

void qcow2_put_count_in(const struct qcow2 *q, uint8_t *block, uint64_t index, uint64_t count)
{
	unsigned bits = 1u << q->refcount_order, shift;
	uint8_t *byte;

	switch (q->refcount_order) {
	case 6:
		put_be64(block + 8 * index, count);
		break;
	case 5:
		put_be32(block + 4 * index, (uint32_t)count);
		break;
	case 4:
		put_be16(block + 2 * index, (uint16_t)count);
		break;
	case 3:
		block[index] = (uint8_t)count;
		break;
	default:
		byte = &block[index * bits / 8];
		shift = (unsigned)(index * bits % 8);
		*byte = (uint8_t)((*byte & ~((BIT(bits) - 1) << shift)) | count << shift);
	}
}

/* Where the block with a cluster's count is; 0: there is none, the count is 0. */
static uint64_t refblock_offset(const struct qcow2 *q, uint64_t cluster)
{
	uint64_t n = cluster / qcow2_refblock_entries(q);

	return n < q->reftable_size ? q->reftable[n] & ~UINT64_C(511) : 0;
}

int qcow2_refcount(struct block *b, uint64_t cluster, uint64_t *count)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t offset = refblock_offset(q, cluster);
	struct qcow2_table *t;
	int e;

	*count = 0;
	if (!offset)
		return 0;
	e = qcow2_table(b, &q->ref, offset, &t);
	if (!e)
		*count = qcow2_count_in(q, t->data, cluster % qcow2_refblock_entries(q));
	return e;
}

static int write_reftable_entry(struct block *b, uint64_t n)
{
	struct qcow2 *q = qcow2_of(b);
	uint8_t entry[8];

	put_be64(entry, q->reftable[n]);
	return file_write(b->file, q->reftable_offset + 8 * n, entry, 8);
}

/*
 * A refcount block for clusters that have none lies in the first of them, so that it counts
 * itself.
 */
static int new_refblock(struct block *b, uint64_t n)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t cluster = n * qcow2_refblock_entries(q), offset = cluster << q->cluster_bits;
	struct qcow2_table *t;
	int e = qcow2_table_new(b, &q->ref, offset, &t);

	if (e)
		return e;
	qcow2_put_count_in(q, t->data, 0, 1);
	e = write_table(b, t);
	if (e) {
		qcow2_table_drop(&q->ref, offset);
		return e;
	}
	q->reftable[n] = offset;
	q->end = MAX_OF(q->end, offset + b->cluster);
	return write_reftable_entry(b, n);
}

/*
 * A larger refcount table, with room for block n. It lies where no block counts yet, behind the
 * blocks that count it.
 */
static int grow_reftable(struct block *b, uint64_t n)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t per_block = qcow2_refblock_entries(q), per_cluster = b->cluster / 8;
	uint64_t first_block = MAX_OF((uint64_t)q->reftable_size, n), blocks = 1, clusters;
	uint64_t old_offset = q->reftable_offset, old_size = q->reftable_size, at;
	uint64_t *table;
	uint8_t *raw, header[12];
	int e = 0;

	for (;;) {
		clusters = (MAX_OF(first_block + blocks, old_size * 3 / 2) + per_cluster - 1) /
			   per_cluster;
		if (blocks * per_block >= blocks + clusters)
			break;
		blocks++;
	}
	if (clusters * b->cluster > QCOW2_MOST_REFTABLE_BYTES)
		return -EFBIG;
	at = (first_block * per_block) << q->cluster_bits;
	table = g_new0(uint64_t, clusters * per_cluster);
	memcpy(table, q->reftable, sizeof(*table) * old_size);
	for (uint64_t i = 0; i < blocks && !e; i++) {
		uint64_t offset = at + i * b->cluster;
		struct qcow2_table *t;

		table[first_block + i] = offset;
		e = qcow2_table_new(b, &q->ref, offset, &t);
		for (uint64_t k = 0; k < per_block && !e; k++)
			if (i * per_block + k < blocks + clusters)
				qcow2_put_count_in(q, t->data, k, 1);
		if (!e)
			e = write_table(b, t);
	}
	raw = g_malloc0(clusters * b->cluster);
	for (uint64_t i = 0; i < clusters * per_cluster; i++)
		put_be64(raw + 8 * i, table[i]);
	if (!e)
		e = file_write(b->file, at + blocks * b->cluster, raw, clusters * b->cluster);
	if (!e)
		e = file_flush(b->file);
	/* The header names both at once: bytes 48 to 59. */
	put_be64(header, at + blocks * b->cluster);
	put_be32(header + 8, (uint32_t)clusters);
	if (!e)
		e = file_write(b->file, 48, header, sizeof(header));
	g_free(raw);
	if (e) {
		g_free(table);
		return e;
	}
	g_free(q->reftable);
	q->reftable = table;
	q->reftable_size = (uint32_t)(clusters * per_cluster);
	q->reftable_offset = at + blocks * b->cluster;
	q->end = MAX_OF(q->end, q->reftable_offset + clusters * b->cluster);
	qcow2_free_later(b, old_offset >> q->cluster_bits,
			 (old_size * 8 + b->cluster - 1) / b->cluster);
	return 0;
}

static int refblock_for(struct block *b, uint64_t cluster, struct qcow2_table **t)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t n = cluster / qcow2_refblock_entries(q);
	int e = 0;

	if (n >= q->reftable_size)
		e = grow_reftable(b, n);
	if (!e && !refblock_offset(q, cluster))
		e = new_refblock(b, n);
	return e ? e : qcow2_table(b, &q->ref, refblock_offset(q, cluster), t);
}

int qcow2_add_refcount(struct block *b, uint64_t cluster, uint64_t n, int64_t change)
{
	struct qcow2 *q = qcow2_of(b);

	for (uint64_t c = cluster; c < cluster + n; c++) {
		uint64_t index = c % qcow2_refblock_entries(q), count;
		struct qcow2_table *t;
		int e = refblock_for(b, c, &t);

		if (e)
			return e;
		count = qcow2_count_in(q, t->data, index);
		if (change > 0 && count > qcow2_most_refcount(q) - (uint64_t)change)
			return -EFBIG;
		if (change < 0 && count < (uint64_t)-change)
			return -EIO;
		count += (uint64_t)change;
		qcow2_put_count_in(q, t->data, index, count);
		t->dirty = true;
		if (!count && c < q->free_hint)
			q->free_hint = c;
	}
	return 0;
}

/* Free clusters in a row from `first` on, at most `most`. */
static int free_row(struct block *b, uint64_t first, uint64_t most, uint64_t *n)
{
	for (*n = 0; *n < most; (*n)++) {
		uint64_t count;
		struct qcow2_table *t;
		int e = refblock_for(b, first + *n, &t);

		if (!e)
			e = qcow2_refcount(b, first + *n, &count);
		if (e)
			return e;
		if (count)
			break;
	}
	return 0;
}

static int take(struct block *b, uint64_t cluster, uint64_t n, uint64_t *offset)
{
	struct qcow2 *q = qcow2_of(b);
	int e = qcow2_add_refcount(b, cluster, n, 1);

	*offset = cluster << q->cluster_bits;
	if (*offset + n * b->cluster > QCOW2_OFFSET)
		return -EFBIG;
	q->end = MAX_OF(q->end, *offset + n * b->cluster);
	return e;
}

int qcow2_alloc(struct block *b, uint64_t want, uint64_t *offset, uint64_t *got)
{
	struct qcow2 *q = qcow2_of(b);
	int e;

	for (*got = 0; !*got; q->free_hint += !*got) {
		e = free_row(b, q->free_hint, want, got);
		if (e)
			return e;
	}
	e = take(b, q->free_hint, *got, offset);
	if (!e)
		q->free_hint += *got;
	return e;
}

int qcow2_alloc_row(struct block *b, uint64_t n, uint64_t *offset)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t at = q->free_hint, got = 0;

	/* Making a refcount block takes a cluster, perhaps one of the row: look again. */
	while (got < n) {
		int e = free_row(b, at, n, &got);

		if (e)
			return e;
		if (got < n)
			at += got + 1;
	}
	return take(b, at, n, offset);
}

void qcow2_free_later(struct block *b, uint64_t cluster, uint64_t count)
{
	struct qcow2 *q = qcow2_of(b);
	struct qcow2_freed *last =
		q->freed->len ? &g_array_index(q->freed, struct qcow2_freed, q->freed->len - 1)
			      : NULL;

	if (last && last->cluster + last->count == cluster) {
		last->count += count;
		return;
	}
	g_array_append_vals(q->freed, &(struct qcow2_freed) { cluster, count }, 1);
}

static int write_l1(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);
	g_autofree uint8_t *raw = g_malloc0(align_up(8 * (uint64_t)q->l1_size + 1, 512));
	int e;

	for (uint32_t i = 0; i < q->l1_size; i++)
		put_be64(raw + 8 * (uint64_t)i, q->l1[i]);
	e = file_write(b->file, q->l1_offset, raw, 8 * (uint64_t)q->l1_size);
	if (!e)
		q->l1_dirty = false;
	return e;
}

/* Nothing on the disk refers to them any more. */
static int lower_counts(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);
	int e = 0;

	for (guint i = 0; i < q->freed->len && !e; i++) {
		struct qcow2_freed f = g_array_index(q->freed, struct qcow2_freed, i);

		for (uint64_t c = f.cluster; c < f.cluster + f.count && !e; c++) {
			uint64_t count;

			e = qcow2_refcount(b, c, &count);
			if (!e && count)
				e = qcow2_add_refcount(b, c, 1, -1);
			if (!e && count == 1 && b->options.discard)
				file_zero(b->file, c << q->cluster_bits, b->cluster, true);
		}
	}
	g_array_set_size(q->freed, 0);
	return e;
}

bool qcow2_has_dirty(const struct qcow2 *q)
{
	return q->l1_dirty || q->freed->len || cache_has_dirty(&q->l2) || cache_has_dirty(&q->ref);
}

int qcow2_write_tables(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);
	bool counts = false, tables = false, again = q->freed->len;
	int e = write_dirty(b, &q->ref, &counts);

	if (!e && !file_is_device(b->file) && file_size(b->file) < q->end)
		e = file_truncate(b->file, q->end);
	/* Data too: nothing may refer to a place before what belongs there. */
	if (!e)
		e = file_flush(b->file);
	if (!e)
		e = write_dirty(b, &q->l2, &tables);
	if (!e && tables)
		e = file_flush(b->file);
	if (!e && q->l1_dirty) {
		e = write_l1(b);
		if (!e)
			e = file_flush(b->file);
	}
	if (!e && again) {
		e = lower_counts(b);
		if (!e)
			e = write_dirty(b, &q->ref, &counts);
	}
	return e;
}
