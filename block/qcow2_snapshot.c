/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: internal snapshots. A snapshot is an L1 table of its own over clusters that it shares with
 * the others; what is shared has a count above 1 and no COPIED flag, and the next write to it gets
 * a new place.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/file.h"
#include "block/qcow2.h"
#include "core/clock.h"

#define FIXED_BYTES 40
#define EXTRA_BYTES 24 /* vm state size, disk size, icount */
#define MOST_TABLE_BYTES (64 * MIB)

static void free_snapshot(struct qcow2_snapshot *s)
{
	g_free(s->info.id);
	g_free(s->info.name);
	g_free(s->extra);
	g_free(s);
}

void qcow2_snapshots_clear(struct qcow2 *q)
{
	if (!q->snapshots)
		return;
	for (guint i = 0; i < q->snapshots->len; i++)
		free_snapshot(q->snapshots->pdata[i]);
	g_ptr_array_unref(q->snapshots);
	q->snapshots = NULL;
}

static bool damaged(struct block *b, GError **err)
{
	return error(err, "%s: '%s' is damaged: its snapshot table makes no sense", b->label,
		     b->path);
}

static bool load_one(struct block *b, uint64_t *at, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	struct qcow2_snapshot *s = g_new0(struct qcow2_snapshot, 1);
	uint8_t h[FIXED_BYTES];
	uint32_t id_len, name_len;

	g_ptr_array_add(q->snapshots, s);
	if (file_read(b->file, *at, h, sizeof(h)))
		return damaged(b, err);
	s->l1_offset = be64(h);
	s->l1_size = be32(h + 8);
	id_len = be16(h + 12);
	name_len = be16(h + 14);
	s->info.date_sec = be32(h + 16);
	s->info.date_nsec = be32(h + 20);
	s->info.vm_clock_ns = be64(h + 24);
	s->info.vm_state_size = be32(h + 32);
	s->extra_len = be32(h + 36);
	if (s->extra_len > 1024 || 8 * (uint64_t)s->l1_size > QCOW2_MOST_L1_BYTES ||
	    s->l1_offset % b->cluster || s->l1_offset > QCOW2_OFFSET)
		return damaged(b, err);
	s->extra = g_malloc0(s->extra_len + 1);
	s->info.id = g_malloc0(id_len + 1);
	s->info.name = g_malloc0(name_len + 1);
	*at += FIXED_BYTES;
	if (file_read(b->file, *at, s->extra, s->extra_len) ||
	    file_read(b->file, *at + s->extra_len, s->info.id, id_len) ||
	    file_read(b->file, *at + s->extra_len + id_len, s->info.name, name_len))
		return damaged(b, err);
	if (s->extra_len >= 8)
		s->info.vm_state_size = be64(s->extra);
	s->info.disk_size = s->extra_len >= 16 ? be64(s->extra + 8) : b->size;
	if (s->info.disk_size > BLOCK_MOST_BYTES ||
	    qcow2_l1_entries(q, s->info.disk_size) > s->l1_size)
		return damaged(b, err);
	*at = align_up(*at + s->extra_len + id_len + name_len, 8);
	return true;
}

bool qcow2_load_snapshots(struct block *b, uint64_t offset, uint32_t n, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t at = offset;

	if (!n)
		return true;
	if (n > QCOW2_MOST_SNAPSHOTS || offset % b->cluster || !offset || offset > QCOW2_OFFSET)
		return damaged(b, err);
	q->snapshots_offset = offset;
	for (uint32_t i = 0; i < n; i++) {
		if (!load_one(b, &at, err))
			return false;
		if (at - offset > MOST_TABLE_BYTES)
			return damaged(b, err);
	}
	q->snapshots_len = at - offset;
	return true;
}

GPtrArray *qcow2_snapshots(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);
	GPtrArray *all = g_ptr_array_new_with_free_func(block_snapshot_free);

	for (guint i = 0; i < q->snapshots->len; i++) {
		struct qcow2_snapshot *s = q->snapshots->pdata[i];
		struct block_snapshot *copy = g_memdup2(&s->info, sizeof(s->info));

		copy->id = g_strdup(s->info.id);
		copy->name = g_strdup(s->info.name);
		g_ptr_array_add(all, copy);
	}
	return all;
}

/* By id first, then by name, as QEMU looks. -1: there is none. */
static int find(struct qcow2 *q, const char *name)
{
	for (guint i = 0; i < q->snapshots->len; i++)
		if (!strcmp(((struct qcow2_snapshot *)q->snapshots->pdata[i])->info.id, name))
			return (int)i;
	for (guint i = 0; i < q->snapshots->len; i++)
		if (!strcmp(((struct qcow2_snapshot *)q->snapshots->pdata[i])->info.name, name))
			return (int)i;
	return -1;
}

static void put_snapshot(GByteArray *out, const struct qcow2_snapshot *s)
{
	uint8_t h[FIXED_BYTES] = { 0 }, extra[EXTRA_BYTES], pad[8] = { 0 };
	size_t id_len = strlen(s->info.id), name_len = strlen(s->info.name);
	uint32_t extra_len = MAX_OF(s->extra_len, (uint32_t)EXTRA_BYTES);

	put_be64(h, s->l1_offset);
	put_be32(h + 8, s->l1_size);
	put_be16(h + 12, (uint16_t)id_len);
	put_be16(h + 14, (uint16_t)name_len);
	put_be32(h + 16, s->info.date_sec);
	put_be32(h + 20, s->info.date_nsec);
	put_be64(h + 24, s->info.vm_clock_ns);
	put_be32(h + 36, extra_len);
	put_be64(extra, s->info.vm_state_size);
	put_be64(extra + 8, s->info.disk_size);
	put_be64(extra + 16, s->extra_len >= 24 ? be64(s->extra + 16) : UINT64_MAX);
	g_byte_array_append(out, h, sizeof(h));
	g_byte_array_append(out, extra, sizeof(extra));
	if (s->extra_len > EXTRA_BYTES)
		g_byte_array_append(out, s->extra + EXTRA_BYTES, s->extra_len - EXTRA_BYTES);
	g_byte_array_append(out, (const uint8_t *)s->info.id, (guint)id_len);
	g_byte_array_append(out, (const uint8_t *)s->info.name, (guint)name_len);
	g_byte_array_append(out, pad, (guint)(align_up(out->len, 8) - out->len));
}

/* The table in a new place, then the header that names it; the old place is free after that. */
static int write_snapshots(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t old = q->snapshots_offset, old_len = q->snapshots_len, offset = 0;
	GByteArray *table = g_byte_array_new();
	int e = 0;

	for (guint i = 0; i < q->snapshots->len; i++)
		put_snapshot(table, q->snapshots->pdata[i]);
	if (table->len) {
		e = qcow2_alloc_row(b, (table->len + b->cluster - 1) >> q->cluster_bits, &offset);
		if (!e)
			e = file_write(b->file, offset, table->data, table->len);
	}
	if (!e)
		e = qcow2_write_tables(b);
	if (!e) {
		q->snapshots_offset = offset;
		q->snapshots_len = table->len;
		e = qcow2_write_header(b);
	}
	if (!e && old_len)
		qcow2_free_later(b, old >> q->cluster_bits,
				 (old_len + b->cluster - 1) >> q->cluster_bits);
	g_byte_array_unref(table);
	return e;
}

/* Counts of what an L2 entry refers to. */
static int change_entry(struct block *b, uint64_t entry, int change)
{
	struct qcow2 *q = qcow2_of(b);
	uint64_t offset = entry & QCOW2_OFFSET, n = 1;
	uint32_t bytes;

	if (entry & QCOW2_COMPRESSED) {
		qcow2_compressed_place(q, entry, &offset, &bytes);
		n = ((offset + bytes - 1) >> q->cluster_bits) - (offset >> q->cluster_bits) + 1;
	} else if (!offset) {
		return 0;
	}
	if (change > 0)
		return qcow2_add_refcount(b, offset >> q->cluster_bits, n, 1);
	qcow2_free_later(b, offset >> q->cluster_bits, n);
	return 0;
}

/* Counts of everything under an L1 table, which is in host order. */
static int change_tree(struct block *b, const uint64_t *l1, uint32_t n, int change)
{
	struct qcow2 *q = qcow2_of(b);
	int e = 0;

	for (uint32_t i = 0; i < n && !e; i++) {
		uint64_t offset = l1[i] & QCOW2_OFFSET;

		for (uint32_t k = 0; offset && k < qcow2_l2_entries(q) && !e; k++) {
			struct qcow2_table *t;

			e = qcow2_table(b, &q->l2, offset, &t);
			if (!e)
				e = change_entry(b, be64(t->data + 8 * (uint64_t)k), change);
		}
		if (offset && !e)
			e = change_entry(b, offset, change);
	}
	return e;
}

/* The active tables' COPIED flags by what the counts are now. */
static int refresh_flag(struct block *b, uint64_t *entry, bool *changed)
{
	uint64_t count, wanted;
	int e;

	if (*entry & QCOW2_COMPRESSED || !(*entry & QCOW2_OFFSET))
		return 0;
	e = qcow2_refcount(b, (*entry & QCOW2_OFFSET) >> qcow2_of(b)->cluster_bits, &count);
	wanted = (*entry & ~QCOW2_COPIED) | (count == 1 ? QCOW2_COPIED : 0);
	*changed |= wanted != *entry;
	*entry = wanted;
	return e;
}

static int refresh_flags(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);
	int e = 0;

	for (uint32_t i = 0; i < q->l1_size && !e; i++) {
		uint64_t offset = q->l1[i] & QCOW2_OFFSET;

		if (!offset)
			continue;
		e = refresh_flag(b, &q->l1[i], &q->l1_dirty);
		for (uint32_t k = 0; k < qcow2_l2_entries(q) && !e; k++) {
			struct qcow2_table *t;
			uint64_t entry;

			e = qcow2_table(b, &q->l2, offset, &t);
			if (e)
				break;
			entry = be64(t->data + 8 * (uint64_t)k);
			e = refresh_flag(b, &entry, &t->dirty);
			put_be64(t->data + 8 * (uint64_t)k, entry);
		}
	}
	return e ? e : qcow2_write_tables(b);
}

static int write_copy(struct block *b, uint64_t offset, const uint64_t *l1, uint32_t n)
{
	g_autofree uint8_t *raw = g_malloc0(8 * (size_t)n + 8);

	/* A snapshot's own table has no flags: they speak of the active one. */
	for (uint32_t i = 0; i < n; i++)
		put_be64(raw + 8 * (size_t)i, l1[i] & ~QCOW2_COPIED);
	return file_write(b->file, offset, raw, 8 * (size_t)n);
}

static char *new_id(struct qcow2 *q)
{
	unsigned long most = 0;

	for (guint i = 0; i < q->snapshots->len; i++) {
		struct qcow2_snapshot *s = q->snapshots->pdata[i];

		most = MAX_OF(most, strtoul(s->info.id, NULL, 10));
	}
	return g_strdup_printf("%lu", most + 1);
}

static bool failed(struct block *b, const char *what, int e, GError **err)
{
	return !e || error(err, "%s: cannot %s a snapshot of '%s': %s", b->label, what, b->path,
			   strerror(-e));
}

bool qcow2_snapshot_create(struct block *b, const char *name, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	struct qcow2_snapshot *s;
	int64_t now = wall_clock_ns();
	int e;

	if (find(q, name) >= 0)
		return error(err, "%s: '%s' has a snapshot '%s' already", b->label, b->path, name);
	if (strlen(name) > UINT16_MAX || q->snapshots->len >= QCOW2_MOST_SNAPSHOTS)
		return error(err, "%s: one snapshot too many, or too long a name", b->label);
	s = g_new0(struct qcow2_snapshot, 1);
	s->info.id = new_id(q);
	s->info.name = g_strdup(name);
	s->info.date_sec = (uint32_t)(now / NS_PER_SEC);
	s->info.date_nsec = (uint32_t)(now % NS_PER_SEC);
	s->info.disk_size = b->size;
	s->l1_size = q->l1_size;
	lock_take(&b->lock);
	e = qcow2_write_tables(b);
	if (!e)
		e = change_tree(b, q->l1, q->l1_size, 1);
	if (!e)
		e = qcow2_alloc_row(b,
				    (8 * (uint64_t)q->l1_size + b->cluster - 1) >> q->cluster_bits,
				    &s->l1_offset);
	if (!e)
		e = write_copy(b, s->l1_offset, q->l1, q->l1_size);
	g_ptr_array_add(q->snapshots, s);
	if (!e)
		e = write_snapshots(b);
	if (!e)
		e = refresh_flags(b);
	lock_release(&b->lock);
	return failed(b, "make", e, err);
}

static int read_l1(struct block *b, const struct qcow2_snapshot *s, uint64_t **l1)
{
	int e;

	*l1 = g_new0(uint64_t, s->l1_size + 1);
	e = file_read(b->file, s->l1_offset, *l1, 8 * (size_t)s->l1_size);
	for (uint32_t i = 0; i < s->l1_size; i++)
		(*l1)[i] = be64(&(*l1)[i]);
	return e;
}

bool qcow2_snapshot_apply(struct block *b, const char *name, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	int n = find(q, name), e;
	struct qcow2_snapshot *s = n < 0 ? NULL : q->snapshots->pdata[n];
	g_autofree uint64_t *old = NULL, *l1 = NULL;
	uint32_t old_size = q->l1_size;

	if (!s)
		return error(err, "%s: '%s' has no snapshot '%s'", b->label, b->path, name);
	if (s->info.disk_size != b->size && !b->format->resize(b, s->info.disk_size, NULL))
		return error(err,
			     "%s: '%s' had another size at snapshot '%s' (%" G_GUINT64_FORMAT
			     "): resize it first",
			     b->label, b->path, name, s->info.disk_size);
	old_size = q->l1_size;
	lock_take(&b->lock);
	e = qcow2_write_tables(b);
	if (!e)
		e = read_l1(b, s, &l1);
	if (!e && s->l1_size > q->l1_size)
		e = -EFBIG;
	if (!e)
		e = change_tree(b, l1, s->l1_size, 1);
	if (!e) {
		old = g_memdup2(q->l1, 8 * (size_t)old_size);
		memset(q->l1, 0, 8 * (size_t)q->l1_size);
		memcpy(q->l1, l1, 8 * (size_t)s->l1_size);
		q->l1_dirty = true;
		e = qcow2_write_tables(b);
	}
	if (!e)
		e = change_tree(b, old, old_size, -1);
	if (!e)
		e = qcow2_write_tables(b);
	if (!e)
		e = refresh_flags(b);
	lock_release(&b->lock);
	return failed(b, "apply", e, err);
}

bool qcow2_snapshot_show(struct block *b, const char *name, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	int n = find(q, name), e;
	struct qcow2_snapshot *s = n < 0 ? NULL : q->snapshots->pdata[n];
	uint64_t *l1 = NULL;

	assert(b->options.read_only);
	if (!s)
		return error(err, "%s: '%s' has no snapshot '%s'", b->label, b->path, name);
	lock_take(&b->lock);
	e = read_l1(b, s, &l1);
	if (!e) {
		g_free(q->l1);
		q->l1 = l1;
		q->l1_size = s->l1_size;
		b->size = s->info.disk_size;
	}
	lock_release(&b->lock);
	return failed(b, "show", e, err);
}

bool qcow2_snapshot_delete(struct block *b, const char *name, GError **err)
{
	struct qcow2 *q = qcow2_of(b);
	int n = find(q, name), e;
	struct qcow2_snapshot *s = n < 0 ? NULL : q->snapshots->pdata[n];
	g_autofree uint64_t *l1 = NULL;

	if (!s)
		return error(err, "%s: '%s' has no snapshot '%s'", b->label, b->path, name);
	lock_take(&b->lock);
	e = read_l1(b, s, &l1);
	if (!e) {
		g_ptr_array_remove_index(q->snapshots, (guint)n);
		e = write_snapshots(b);
	}
	if (!e)
		e = change_tree(b, l1, s->l1_size, -1);
	if (!e) {
		qcow2_free_later(b, s->l1_offset >> q->cluster_bits,
				 (8 * (uint64_t)s->l1_size + b->cluster - 1) >> q->cluster_bits);
		e = qcow2_write_tables(b);
	}
	if (!e)
		e = refresh_flags(b);
	lock_release(&b->lock);
	free_snapshot(s);
	return failed(b, "delete", e, err);
}
