/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: counts every reference to every cluster, compares with what the image says, and mends it.
 * Too high a count is a leak; too low a one is a corruption: the cluster could be given away while
 * it is in use.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block/file.h"
#include "block/qcow2.h"

#define MOST_CLUSTERS (UINT64_C(1) << 27) /* half a GiB of counters; 8 TiB of file */
#define MOST_REPORTED 100		  /* lines of each kind */

struct check {
	struct block *b;
	struct qcow2 *q;
	unsigned fix;
	struct block_check *r;
	GArray *seen; /* uint32_t references by cluster */
	uint64_t file_clusters;
	uint64_t next_host; /* where the next cluster would not be fragmented */
};

static void __attribute__((format(printf, 3, 4)))
report(struct check *c, uint64_t nth, const char *fmt, ...)
{
	va_list ap;

	if (!c->r->report || nth > MOST_REPORTED)
		return;
	va_start(ap, fmt);
	g_string_append_vprintf(c->r->report, fmt, ap);
	g_string_append_c(c->r->report, '\n');
	va_end(ap);
}

/* One more reference to each cluster of a range of the file. False: it lies outside. */
static bool refer(struct check *c, uint64_t offset, uint64_t bytes, const char *what)
{
	uint64_t first = offset >> c->q->cluster_bits,
		 last = bytes ? (offset + bytes - 1) >> c->q->cluster_bits : first;

	if (!bytes)
		return true;
	if (last >= c->file_clusters) {
		report(c, ++c->r->corruptions,
		       "ERROR %s at 0x%" PRIx64 " lies behind the file's end", what, offset);
		return false;
	}
	for (uint64_t n = first; n <= last; n++)
		g_array_index(c->seen, uint32_t, n)++;
	return true;
}

static void count_entry(struct check *c, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET;
	uint32_t bytes;

	if (entry & QCOW2_COMPRESSED) {
		qcow2_compressed_place(c->q, entry, &offset, &bytes);
		/* The last sector may lie in what the file does not have. */
		if (offset >> c->q->cluster_bits < c->file_clusters)
			bytes = (uint32_t)MIN_OF((uint64_t)bytes,
						 (c->file_clusters << c->q->cluster_bits) - offset);
		refer(c, offset, bytes, "compressed cluster");
		return;
	}
	if (!offset)
		return;
	if (offset % c->b->cluster) {
		report(c, ++c->r->corruptions,
		       "ERROR data cluster at 0x%" PRIx64 " begins inside a cluster", offset);
		return;
	}
	refer(c, offset, c->b->cluster, "data cluster");
}

static void count_allocated(struct check *c, uint64_t entry)
{
	struct block_check *r = c->r;

	if (entry & QCOW2_COMPRESSED) {
		r->allocated++;
		r->compressed++;
		r->fragmented++; /* as QEMU counts them */
	} else if (entry & QCOW2_OFFSET && !(entry & QCOW2_ZERO && c->q->version >= 3)) {
		r->allocated++;
		if (c->next_host && (entry & QCOW2_OFFSET) != c->next_host)
			r->fragmented++;
		c->next_host = (entry & QCOW2_OFFSET) + c->b->cluster;
	}
}

static int count_l2(struct check *c, uint64_t offset, bool active)
{
	struct qcow2_table *t;
	int e = qcow2_table(c->b, &c->q->l2, offset, &t);

	for (uint32_t i = 0; !e && i < qcow2_l2_entries(c->q); i++) {
		uint64_t entry = be64(t->data + 8 * (uint64_t)i);

		count_entry(c, entry);
		if (active)
			count_allocated(c, entry);
	}
	return e;
}

/* An L1 table, in host order, and what it leads to. */
static int count_l1(struct check *c, const uint64_t *l1, uint32_t n, bool active)
{
	int e = 0;

	for (uint32_t i = 0; i < n && !e; i++) {
		uint64_t offset = l1[i] & QCOW2_OFFSET;

		if (!offset)
			continue;
		if (offset % c->b->cluster)
			report(c, ++c->r->corruptions,
			       "ERROR L2 table at 0x%" PRIx64 " begins inside a cluster", offset);
		else if (refer(c, offset, c->b->cluster, "L2 table"))
			e = count_l2(c, offset, active);
	}
	return e;
}

static int count_snapshots(struct check *c)
{
	int e = 0;

	refer(c, c->q->snapshots_offset, c->q->snapshots_len, "snapshot table");
	for (guint i = 0; i < c->q->snapshots->len && !e; i++) {
		struct qcow2_snapshot *s = c->q->snapshots->pdata[i];
		g_autofree uint64_t *l1 = g_new0(uint64_t, s->l1_size + 1);

		if (!refer(c, s->l1_offset, 8 * (uint64_t)s->l1_size, "a snapshot's L1 table"))
			continue;
		e = file_read(c->b->file, s->l1_offset, l1, 8 * (size_t)s->l1_size);
		for (uint32_t k = 0; k < s->l1_size; k++)
			l1[k] = be64(&l1[k]);
		if (!e)
			e = count_l1(c, l1, s->l1_size, false);
	}
	return e;
}

static bool refblock_is_sound(struct check *c, uint32_t n)
{
	uint64_t offset = c->q->reftable[n] & ~UINT64_C(511);

	return offset % c->b->cluster == 0 && offset >> c->q->cluster_bits < c->file_clusters;
}

static void count_refblocks(struct check *c)
{
	for (uint32_t n = 0; n < c->q->reftable_size; n++) {
		uint64_t offset = c->q->reftable[n] & ~UINT64_C(511);

		if (!offset)
			continue;
		if (!refblock_is_sound(c, n)) {
			report(c, ++c->r->corruptions,
			       "ERROR refcount block %u at 0x%" PRIx64 " is nowhere", n, offset);
			if (c->fix & CHECK_FIX_ERRORS) {
				c->q->reftable[n] = 0;
				c->r->corruptions_fixed++;
			}
			continue;
		}
		if (g_array_index(c->seen, uint32_t, offset >> c->q->cluster_bits)) {
			report(c, ++c->r->corruptions,
			       "ERROR refcount block %u at 0x%" PRIx64 " is in use otherwise", n,
			       offset);
			if (c->fix & CHECK_FIX_ERRORS) {
				c->q->reftable[n] = 0;
				c->r->corruptions_fixed++;
				continue;
			}
		}
		refer(c, offset, c->b->cluster, "refcount block");
	}
}

static int count_everything(struct check *c)
{
	struct qcow2 *q = c->q;
	int e;

	refer(c, 0, c->b->cluster, "header");
	refer(c, q->reftable_offset, 8 * (uint64_t)q->reftable_size, "refcount table");
	refer(c, q->l1_offset, 8 * (uint64_t)q->l1_size, "L1 table");
	e = count_l1(c, q->l1, q->l1_size, true);
	if (!e)
		e = count_snapshots(c);
	count_refblocks(c);
	return e;
}

/* Refcount blocks that are missing though something is to be counted there: behind the end. */
static int add_refblocks(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t per_block = qcow2_refblock_entries(q);
	int e = 0;

	for (uint64_t n = 0; n * per_block < c->seen->len && n < q->reftable_size && !e; n++) {
		uint32_t one = 1;
		uint64_t offset, used = 0;
		struct qcow2_table *t;
		uint8_t entry[8];

		for (uint64_t i = n * per_block;
		     i < MIN_OF((n + 1) * per_block, (uint64_t)c->seen->len); i++)
			used |= g_array_index(c->seen, uint32_t, i);
		if (q->reftable[n] || !used)
			continue;
		offset = (uint64_t)c->seen->len << q->cluster_bits;
		g_array_append_val(c->seen, one);
		q->end = MAX_OF(q->end, offset + c->b->cluster);
		e = qcow2_table_new(c->b, &q->ref, offset, &t);
		q->reftable[n] = offset;
		put_be64(entry, offset);
		if (!e)
			e = file_write(c->b->file, offset, t->data, c->b->cluster);
		if (!e)
			e = file_write(c->b->file, q->reftable_offset + 8 * n, entry, 8);
	}
	return e;
}

static int set_count(struct check *c, uint64_t cluster, uint64_t count)
{
	struct qcow2 *q = c->q;
	uint64_t n = cluster / qcow2_refblock_entries(q);
	struct qcow2_table *t;
	int e;

	if (n >= q->reftable_size || !q->reftable[n])
		return count ? -EIO : 0;
	e = qcow2_table(c->b, &q->ref, q->reftable[n] & ~UINT64_C(511), &t);
	if (e)
		return e;
	qcow2_put_count_in(q, t->data, cluster % qcow2_refblock_entries(q), count);
	t->dirty = true;
	return 0;
}

static int compare_counts(struct check *c)
{
	int e = 0;

	if (c->fix & CHECK_FIX_ERRORS)
		e = add_refblocks(c);
	for (uint64_t n = 0; n < c->seen->len && !e; n++) {
		uint64_t wanted = g_array_index(c->seen, uint32_t, n), count;
		bool fix;

		e = qcow2_refcount(c->b, n, &count);
		if (e || count == wanted)
			continue;
		fix = c->fix & (count > wanted ? CHECK_FIX_LEAKS : CHECK_FIX_ERRORS);
		if (count > wanted)
			report(c, ++c->r->leaks,
			       "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
			       fix ? "Repairing" : "Leaked", n, count, wanted);
		else
			report(c, ++c->r->corruptions,
			       "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
			       fix ? "Repairing" : "ERROR", n, count, wanted);
		if (!fix)
			continue;
		e = set_count(c, n, wanted);
		if (!e && count > wanted)
			c->r->leaks_fixed++;
		else if (!e)
			c->r->corruptions_fixed++;
	}
	return e;
}

/* Whether the count that an entry of the active tables speaks of is exactly 1. */
static bool is_single(struct check *c, uint64_t offset)
{
	uint64_t n = offset >> c->q->cluster_bits;

	return n < c->seen->len && g_array_index(c->seen, uint32_t, n) == 1;
}

static bool flag_is_wrong(struct check *c, uint64_t entry, uint64_t at, const char *what)
{
	bool wrong = !!(entry & QCOW2_COPIED) != is_single(c, entry & QCOW2_OFFSET);

	if (!wrong)
		return false;
	report(c, ++c->r->corruptions,
	       "ERROR %s 0x%" PRIx64 " at 0x%" PRIx64 ": its COPIED flag is wrong", what, entry,
	       at);
	if (!(c->fix & CHECK_FIX_ERRORS))
		return false;
	c->r->corruptions_fixed++;
	return true;
}

static int check_flags(struct check *c)
{
	struct qcow2 *q = c->q;
	int e = 0;

	for (uint32_t i = 0; i < q->l1_size && !e; i++) {
		uint64_t offset = q->l1[i] & QCOW2_OFFSET;
		struct qcow2_table *t;

		if (!offset || offset % c->b->cluster ||
		    offset >> q->cluster_bits >= c->file_clusters)
			continue;
		if (flag_is_wrong(c, q->l1[i], q->l1_offset + 8 * (uint64_t)i, "L1 entry")) {
			q->l1[i] ^= QCOW2_COPIED;
			q->l1_dirty = true;
		}
		e = qcow2_table(c->b, &q->l2, offset, &t);
		for (uint32_t k = 0; k < qcow2_l2_entries(q) && !e; k++) {
			uint64_t entry = be64(t->data + 8 * (uint64_t)k);

			if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_OFFSET))
				continue;
			if (flag_is_wrong(c, entry, offset + 8 * (uint64_t)k, "L2 entry")) {
				put_be64(t->data + 8 * (uint64_t)k, entry ^ QCOW2_COPIED);
				t->dirty = true;
			}
		}
	}
	return e;
}

static int finish(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t cleared =
		q->incompatible & ~(uint64_t)(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
	int e;

	if (!c->fix)
		return 0;
	e = qcow2_write_tables(c->b);
	if (!e && c->fix & CHECK_FIX_ERRORS && cleared != q->incompatible &&
	    c->r->corruptions == c->r->corruptions_fixed) {
		q->incompatible = cleared;
		e = qcow2_write_header(c->b);
	}
	return e;
}

bool qcow2_check(struct block *b, unsigned fix, struct block_check *r, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	struct check c = { .b = b, .q = q, .fix = fix, .r = r };
	int e;

	if (fix && b->options.read_only)
		return error(err, "%s: '%s' is open for reading only", b->label, b->path);
	c.file_clusters =
		align_up(MAX_OF(file_size(b->file), q->end), b->cluster) >> q->cluster_bits;
	if (c.file_clusters > MOST_CLUSTERS)
		return error(err, "%s: '%s' has too many clusters to be checked (%" PRIu64 ")",
			     b->label, b->path, c.file_clusters);
	c.seen = g_array_new(FALSE, TRUE, sizeof(uint32_t));
	g_array_set_size(c.seen, (guint)c.file_clusters);
	lock_take(&b->lock);
	e = qcow2_has_dirty(q) && !b->options.read_only ? qcow2_write_tables(b) : 0;
	if (!e)
		e = count_everything(&c);
	if (!e)
		e = compare_counts(&c);
	if (!e)
		e = check_flags(&c);
	if (!e)
		e = finish(&c);
	lock_release(&b->lock);
	g_array_unref(c.seen);
	r->clusters = (b->size + b->cluster - 1) >> q->cluster_bits;
	r->end_offset = q->end;
	if (e)
		r->check_errors++;
	return !e || error(err, "%s: cannot check '%s': %s", b->label, b->path, strerror(-e));
}
