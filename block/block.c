/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images: opening them and their backing images, and reading and writing by what the format's map
 * says.
 *
 * Writes that are under way are on a list. One to mapped clusters shares them with other writes;
 * one that allocates, clears or discards has its clusters for itself, so that none of them writes
 * to a place that has gone, and none allocates twice.
 */
#include "block/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/file.h"
#include "block/nbd.h"

#define MOST_BACKING 200 /* images in a chain */
#define BOUNCE_BYTES (UINT64_C(1) << 20)

/* Formats and opening. */

const struct block_format *block_format_find(const char *name)
{
	for (const struct block_format *const *f = block_formats; *f; f++)
		if (!strcmp((*f)->name, name))
			return *f;
	return NULL;
}

static const struct block_format *format_named(const char *label, const char *name, GError **err)
{
	const struct block_format *f = block_format_find(name);
	g_autoptr(GString) all = g_string_new(NULL);

	for (const struct block_format *const *k = block_formats; *k && !f; k++)
		g_string_append_printf(all, "%s%s", all->len ? ", " : "", (*k)->name);
	if (!f)
		error(err, "%s: no image format '%s'; there are: %s", label, name, all->str);
	return f;
}

static const struct block_format *probe_file(struct block_file *file)
{
	uint8_t *head = aligned_alloc(4096, 4096);
	const struct block_format *found = block_format_find("raw");

	memset(head, 0, 4096);
	if (!file_read(file, 0, head, 4096))
		for (const struct block_format *const *f = block_formats; *f; f++)
			if ((*f)->probe && (*f)->probe(head, 4096)) {
				found = *f;
				break;
			}
	free(head);
	return found;
}

const struct block_format *block_probe(const char *path, GError **err)
{
	struct block_options o = { .label = path, .read_only = true, .share = true };
	struct block_file *f = file_open(path, &o, err);
	const struct block_format *found = f ? probe_file(f) : NULL;

	file_close(f);
	return found;
}

char *block_beside(const char *overlay, const char *file)
{
	g_autofree char *dir = g_path_get_dirname(overlay);

	if (g_path_is_absolute(file) || nbd_is_url(file) || !strcmp(dir, "."))
		return g_strdup(file);
	return g_build_filename(dir, file, NULL);
}

static struct block *open_in_chain(const char *path, const struct block_options *o, unsigned depth,
				   GError **err);

static bool open_backing(struct block *b, unsigned depth, GError **err)
{
	g_autofree char *path = NULL;
	struct block_options o = b->options;

	if (!b->backing_file || b->options.no_backing)
		return true;
	if (depth >= MOST_BACKING)
		return error(err, "%s: more than %u images back one another; is '%s' in a circle?",
			     b->label, MOST_BACKING, b->path);
	/* json: and protocols are not files that we know. */
	path = block_beside(b->path, b->backing_file);
	if (b->fingerprint.kind &&
	    !fingerprint_check(&b->fingerprint, b->label, b->path, path, err))
		return false;
	o.read_only = true;
	o.in_chain = true;
	o.force_dirty = false;
	o.format = b->backing_format;
	b->backing = open_in_chain(path, &o, depth + 1, err);
	if (!b->backing) {
		g_prefix_error(err, "the backing file of '%s': ", b->path);
		return false;
	}
	return true;
}

static struct block *open_in_chain(const char *path, const struct block_options *o, unsigned depth,
				   GError **err)
{
	struct block *b = g_new0(struct block, 1);

	b->path = g_strdup(path);
	b->options = *o;
	b->label = g_strdup(o->label ? o->label : path);
	b->options.label = b->label;
	lock_init(&b->lock, RANK_BACKEND, "image");
	lock_init(&b->range_lock, RANK_BACKEND, "image-ranges");
	pthread_cond_init(&b->range_gone, NULL);
	b->file = file_open(path, &b->options, err);
	if (!b->file)
		goto failed;
	if (o->format)
		b->format = format_named(b->label, o->format, err);
	else
		b->format = probe_file(b->file);
	b->probed = !o->format && b->format && !strcmp(b->format->name, "raw");
	/* Strings of the caller's need not live as long. */
	b->options.format = b->format ? b->format->name : NULL;
	if (!b->format)
		goto failed;
	b->cluster = 1;
	if (!b->format->open(b, err)) {
		b->format = NULL;
		goto failed;
	}
	if (b->size > BLOCK_MOST_BYTES) {
		error(err, "%s: '%s' says it is larger than any disk", b->label, path);
		goto failed;
	}
	if (!open_backing(b, depth, err))
		goto failed;
	return b;
failed:
	block_close(b);
	return NULL;
}

struct block *block_open(const char *path, const struct block_options *o, GError **err)
{
	return open_in_chain(path, o, 0, err);
}

void block_close(struct block *b)
{
	if (!b)
		return;
	if (b->format) {
		if (!b->options.read_only)
			b->format->flush(b);
		b->format->close(b);
	}
	block_close(b->backing);
	file_close(b->file);
	pthread_cond_destroy(&b->range_gone);
	g_free(b->backing_file);
	g_free(b->backing_format);
	g_free(b->path);
	g_free(b->label);
	g_free(b);
}

bool block_create(const char *format, const char *path, const struct block_create_options *o,
		  GError **err)
{
	const struct block_format *f = format_named("create", format, err);

	if (f && !f->create)
		return error(err, "images of format '%s' cannot be made", format);
	if (f && o->size > BLOCK_MOST_BYTES)
		return error(err, "'%s': %" G_GUINT64_FORMAT " bytes is larger than any disk", path,
			     o->size);
	return f && f->create(path, o, err);
}

void block_snapshot_free(void *snapshot)
{
	struct block_snapshot *s = snapshot;

	g_free(s->id);
	g_free(s->name);
	g_free(s);
}

/* Writes under way. */

static bool range_conflicts(const struct write_range *a, const struct write_range *b)
{
	return a->start < b->end && b->start < a->end && (a->alone || b->alone);
}

static void range_enter(struct block *b, struct write_range *r, uint64_t off, uint64_t len,
			bool alone)
{
	r->start = align_down(off, b->cluster);
	r->end = align_up(off + len, b->cluster);
	r->alone = alone;
	lock_take(&b->range_lock);
	for (struct write_range *o = b->ranges; o;) {
		if (range_conflicts(o, r)) {
			pthread_cond_wait(&b->range_gone, &b->range_lock.mutex);
			o = b->ranges;
		} else {
			o = o->next;
		}
	}
	r->next = b->ranges;
	b->ranges = r;
	lock_release(&b->range_lock);
}

static void range_leave(struct block *b, struct write_range *r)
{
	struct write_range **p = &b->ranges;

	lock_take(&b->range_lock);
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	pthread_cond_broadcast(&b->range_gone);
	lock_release(&b->range_lock);
}

/* Beside others only, and without waiting. */
static bool range_try(struct block *b, struct write_range *r, uint64_t off, uint64_t len)
{
	bool free = true;

	*r = (struct write_range) { align_down(off, b->cluster), align_up(off + len, b->cluster),
				    false, NULL };
	lock_take(&b->range_lock);
	for (struct write_range *o = b->ranges; o && free; o = o->next)
		free = !range_conflicts(o, r);
	if (free) {
		r->next = b->ranges;
		b->ranges = r;
	}
	lock_release(&b->range_lock);
	return free;
}

bool block_direct_begin(struct block_direct *d, struct block *b, bool write, uint64_t off,
			const struct iovec *iov, int n)
{
	size_t len = iov_bytes(iov, n);
	struct extent x = { .len = len };

	d->b = b;
	d->ranged = false;
	if (!len || off > b->size || len > b->size - off || !b->format->map_now ||
	    (write && b->options.read_only))
		return false;
	if (write && !range_try(b, &d->range, off, len))
		return false;
	d->ranged = write;
	if (b->format->map_now(b, off, len, &x) && x.kind == EXTENT_DATA && x.len >= len &&
	    !(write && x.shared)) {
		d->host = x.host;
		d->fd = file_descriptor(b->file, x.host, iov, n);
		if (d->fd >= 0)
			return true;
	}
	block_direct_end(d);
	return false;
}

void block_direct_end(struct block_direct *d)
{
	if (d->ranged)
		range_leave(d->b, &d->range);
	d->ranged = false;
}

/* Reading. */

int block_map(struct block *b, uint64_t off, uint64_t len, struct extent *e)
{
	int result;

	assert(len && off + len <= b->size);
	memset(e, 0, sizeof(*e));
	e->len = len;
	result = b->format->map(b, off, len, e);
	assert(result || (e->len && e->len <= len));
	return result;
}

static int read_part(struct block *b, uint64_t off, const struct iovec *iov, int n, size_t at,
		     size_t len);

static int read_backing(struct block *b, uint64_t off, const struct iovec *iov, int n, size_t at,
			size_t len)
{
	size_t inside = 0;
	int e = 0;

	if (b->backing && off < b->backing->size)
		inside = (size_t)MIN_OF((uint64_t)len, b->backing->size - off);
	if (inside)
		e = read_part(b->backing, off, iov, n, at, inside);
	if (!e && inside < len)
		iov_fill(iov, n, at + inside, 0, len - inside);
	return e;
}

static int read_compressed(struct block *b, const struct extent *e, uint64_t off,
			   const struct iovec *iov, int n, size_t at)
{
	uint8_t *cluster = malloc(b->cluster);
	int result = cluster ? b->format->read_compressed(b, e, cluster) : -ENOMEM;

	if (!result)
		iov_from(iov, n, at, cluster + off % b->cluster, e->len);
	free(cluster);
	return result;
}

/* Bytes [at, at + len) of iov from the image's `off` on. */
static int read_part(struct block *b, uint64_t off, const struct iovec *iov, int n, size_t at,
		     size_t len)
{
	g_autofree struct iovec *part = NULL;
	int e = 0;

	for (struct extent x; len && !e; off += x.len, at += x.len, len -= x.len) {
		e = block_map(b, off, len, &x);
		if (e)
			break;
		switch (x.kind) {
		case EXTENT_DATA:
			if (!part)
				part = g_new(struct iovec, n);
			e = file_readv(b->file, x.host, part, iov_part(iov, n, at, x.len, part));
			break;
		case EXTENT_ZERO:
			iov_fill(iov, n, at, 0, x.len);
			break;
		case EXTENT_NONE:
			e = read_backing(b, off, iov, n, at, x.len);
			break;
		case EXTENT_COMPRESSED:
			e = read_compressed(b, &x, off, iov, n, at);
			break;
		}
	}
	return e;
}

int block_readv(struct block *b, uint64_t off, const struct iovec *iov, int n)
{
	size_t len = iov_bytes(iov, n);

	if (off > b->size || len > b->size - off)
		return -EIO;
	return read_part(b, off, iov, n, 0, len);
}

int block_read(struct block *b, uint64_t off, void *buf, size_t len)
{
	return block_readv(b, off, &(struct iovec) { buf, len }, 1);
}

/* Writing. */

/* Reads [off, off + len) as it was before a write; beyond the image's end there are zeros. */
static int read_old(struct block *b, uint64_t off, void *buf, uint64_t len)
{
	uint64_t inside = off < b->size ? MIN_OF(len, b->size - off) : 0;

	memset((uint8_t *)buf + inside, 0, len - inside);
	return inside ? block_read(b, off, buf, inside) : 0;
}

/* Whether nothing but zeros is there, so that a fresh place needs no copy. */
static bool old_is_zero(struct block *b, uint64_t off, uint64_t len)
{
	if (off >= b->size)
		return true;
	len = MIN_OF(len, b->size - off);
	for (uint64_t part; len; off += part, len -= part) {
		part = len;
		if (block_is_zero(b, off, &part) <= 0)
			return false;
	}
	return true;
}

/*
 * The part of a cluster beside what is written: [from, to) of the image, at `host`. What is fresh
 * and zero stays a hole.
 */
static int copy_old(struct block *b, const struct extent *e, uint64_t base, uint64_t from,
		    uint64_t to)
{
	uint8_t *buf;
	int result;

	if (from == to || (e->fresh && old_is_zero(b, from, to - from)))
		return 0;
	buf = aligned_alloc(4096, align_up(to - from, 4096));
	if (!buf)
		return -ENOMEM;
	result = read_old(b, from, buf, to - from);
	if (!result)
		result = file_write(b->file, e->host + (from - base), buf, to - from);
	free(buf);
	return result;
}

/*
 * Writes [off, off + *len) of new clusters, as many as get a place together; shrinks *len. The
 * caller has the clusters for itself.
 */
static int write_new(struct block *b, uint64_t off, const struct iovec *iov, int n, size_t at,
		     uint64_t *len)
{
	uint64_t base = align_down(off, b->cluster), end = align_up(off + *len, b->cluster);
	struct iovec *part = g_new(struct iovec, n);
	struct extent e = { .kind = EXTENT_DATA };
	int result = b->format->allocate(b, base, end - base, &e);

	if (result) {
		g_free(part);
		return result;
	}
	*len = MIN_OF(*len, base + e.len - off);
	result = copy_old(b, &e, base, base, off);
	if (!result)
		result = copy_old(b, &e, base, off + *len, base + e.len);
	if (!result)
		result = file_writev(b->file, e.host + (off - base), part,
				     iov_part(iov, n, at, *len, part));
	if (!result)
		result = b->format->link(b, base, &e);
	if (result)
		b->format->release(b, &e);
	g_free(part);
	return result;
}

static bool may_overwrite(const struct extent *e)
{
	return e->kind == EXTENT_DATA && !e->shared;
}

/* How much from off on needs a new place. */
static int unmapped_length(struct block *b, uint64_t off, uint64_t len, uint64_t *found)
{
	struct extent x;
	int e = 0;

	*found = 0;
	while (*found < len) {
		e = block_map(b, off + *found, len - *found, &x);
		if (e || may_overwrite(&x))
			break;
		*found += x.len;
	}
	return e;
}

static int write_part(struct block *b, uint64_t off, const struct iovec *iov, int n, size_t at,
		      size_t len, bool alone, size_t *done)
{
	struct iovec *part = g_new(struct iovec, n);
	int e = 0;

	*done = 0;
	while (*done < len && !e) {
		uint64_t here = off + *done, length = len - *done;
		struct extent x;

		e = block_map(b, here, length, &x);
		if (!e && may_overwrite(&x)) {
			length = x.len;
			e = file_writev(b->file, x.host, part,
					iov_part(iov, n, at + *done, length, part));
		} else if (!e) {
			if (!alone)
				break;
			e = unmapped_length(b, here, length, &length);
			if (!e)
				e = write_new(b, here, iov, n, at + *done, &length);
		}
		if (!e)
			*done += length;
	}
	g_free(part);
	return e;
}

int block_writev(struct block *b, uint64_t off, const struct iovec *iov, int n)
{
	size_t len = iov_bytes(iov, n), at = 0, done;
	struct write_range r;
	bool alone = false;
	int e = 0;

	if (off > b->size || len > b->size - off)
		return -EIO;
	if (b->options.read_only)
		return -EROFS;
	/* At first beside others; once something has no place, alone. */
	while (at < len && !e) {
		range_enter(b, &r, off + at, len - at, alone);
		e = write_part(b, off + at, iov, n, at, len - at, alone, &done);
		range_leave(b, &r);
		at += done;
		alone = true;
	}
	return e;
}

int block_write(struct block *b, uint64_t off, const void *buf, size_t len)
{
	return block_writev(b, off, &(struct iovec) { (void *)buf, len }, 1);
}

/* Zeros by writing them. */
static int write_zeros(struct block *b, uint64_t off, uint64_t len)
{
	size_t most = (size_t)MIN_OF(len, BOUNCE_BYTES);
	void *zeros;
	int e = 0;

	if (!len)
		return 0;
	zeros = aligned_alloc(4096, align_up(most, 4096));
	if (!zeros)
		return -ENOMEM;
	memset(zeros, 0, most);
	for (size_t part; len && !e; off += part, len -= part) {
		part = (size_t)MIN_OF(len, most);
		e = block_write(b, off, zeros, part);
	}
	free(zeros);
	return e;
}

/* The whole clusters inside a range; a last one that the image's end cuts counts as whole. */
static void whole_clusters(const struct block *b, uint64_t off, uint64_t len, uint64_t *first,
			   uint64_t *end)
{
	*first = align_up(off, b->cluster);
	*end = off + len == b->size ? b->size : align_down(off + len, b->cluster);
	if (*end < *first)
		*first = *end = off;
}

static int clear_clusters(struct block *b, uint64_t first, uint64_t end, bool none)
{
	struct write_range r;
	int e;

	range_enter(b, &r, first, end - first, true);
	e = b->format->clear(b, first, end - first, none);
	range_leave(b, &r);
	return e;
}

/* Where the file is the disk. */
static int clear_file(struct block *b, uint64_t off, uint64_t len, bool unmap)
{
	struct write_range r;
	int e;

	range_enter(b, &r, off, len, true);
	e = file_zero(b->file, off, len, unmap);
	range_leave(b, &r);
	return e;
}

int block_write_zeroes(struct block *b, uint64_t off, uint64_t len, bool unmap)
{
	uint64_t first, end;
	int e;

	if (off > b->size || len > b->size - off)
		return -EIO;
	if (b->options.read_only)
		return -EROFS;
	if (!len)
		return 0;
	if (!b->format->clear)
		return clear_file(b, off, len, unmap);
	whole_clusters(b, off, len, &first, &end);
	if (first == end)
		return write_zeros(b, off, len);
	e = clear_clusters(b, first, end, false);
	if (e == -ENOTSUP)
		return write_zeros(b, off, len);
	if (!e)
		e = write_zeros(b, off, first - off);
	return e ? e : write_zeros(b, end, off + len - end);
}

/* A hint: what is not a whole cluster stays. */
int block_discard(struct block *b, uint64_t off, uint64_t len)
{
	uint64_t first, end;
	int e;

	if (off > b->size || len > b->size - off)
		return -EIO;
	if (b->options.read_only)
		return -EROFS;
	if (!b->options.discard || !len)
		return 0;
	if (!b->format->clear)
		return clear_file(b, off, len, true);
	whole_clusters(b, off, len, &first, &end);
	/* Zeros, never what the backing image has: the guest must not see old data again. */
	e = first == end ? 0 : clear_clusters(b, first, end, !b->backing);
	return e == -ENOTSUP ? 0 : e;
}

int block_flush(struct block *b)
{
	return b->options.no_flush || b->options.read_only ? 0 : b->format->flush(b);
}

int block_is_zero(struct block *b, uint64_t off, uint64_t *len)
{
	struct extent e;
	int result = block_map(b, off, *len, &e);

	if (result)
		return result;
	*len = e.len;
	if (e.kind == EXTENT_DATA)
		return file_is_hole(b->file, e.host, len);
	if (e.kind != EXTENT_NONE)
		return e.kind == EXTENT_ZERO;
	if (!b->backing || off >= b->backing->size)
		return 1;
	*len = MIN_OF(*len, b->backing->size - off);
	return block_is_zero(b->backing, off, len);
}

bool block_resize(struct block *b, uint64_t size, GError **err)
{
	if (!b->format->resize)
		return error(err, "%s: images of format '%s' cannot change their size", b->label,
			     b->format->name);
	if (b->options.read_only)
		return error(err, "%s: '%s' is open for reading only", b->label, b->path);
	if (size > BLOCK_MOST_BYTES)
		return error(err, "%s: %" G_GUINT64_FORMAT " bytes is larger than any disk",
			     b->label, size);
	return b->format->resize(b, size, err);
}
