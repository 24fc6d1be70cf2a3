/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User Mode Linux's copy-on-write files, version 3: a header, a bit for each sector that has been
 * written, and the sectors at their places. Source: the layout that UML's ubd driver and
 * uml_utilities share (big-endian header, bits from the lowest).
 *
 * The header has the backing file's size and time of its last change; an image over another file
 * than that would be neither the old disk nor a new one, so it is refused.
 *
 * Bits go to the file at a flush, after the data they vouch for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block/block.h"
#include "block/file.h"

#define MAGIC 0x4f4f4f4d /* "OOOM" */
#define VERSION 3
#define HEADER_BYTES 4128
#define ALIGN_AT 24
#define PATH_AT 32
#define PATH_BYTES 4096
#define SECTOR 512u
#define ALIGN 4096u
#define MOST_BITMAP (256u * 1024 * 1024)
/* The bitmap is written in such pieces. */
#define PIECE 4096u

struct cow {
	uint64_t bitmap_at, data_at, bitmap_bytes;
	uint8_t *bitmap;
	uint8_t *dirty; /* a byte for each piece */
	uint32_t mtime;
	uint64_t backing_size;
};

static struct cow *cow_of(const struct block *b)
{
	return b->state;
}

static bool cow_probe(const uint8_t *head, size_t len)
{
	return len >= 8 && be32(head) == MAGIC && be32(head + 4) == VERSION;
}

/* Sectors of a disk that is not a multiple of eight have a byte that the format's own sum forgets;
 * it lies in the space before the data. */
static bool lay_out(struct cow *c, uint64_t size, uint32_t align)
{
	uint64_t bytes = (size + SECTOR - 1) / (8 * SECTOR);

	c->bitmap_at = align_up(HEADER_BYTES, align);
	c->data_at = align_up(c->bitmap_at + bytes, align);
	c->bitmap_bytes = (size / SECTOR + 7) / 8;
	return c->bitmap_bytes <= c->data_at - c->bitmap_at;
}

/* The backing file must be the one that the header describes. */
static bool check_backing(struct block *b, GError **err)
{
	const struct cow *c = cow_of(b);
	g_autofree char *dir = g_path_get_dirname(b->path);
	g_autofree char *path = g_canonicalize_filename(b->backing_file, dir);
	struct stat st;

	if (b->options.no_backing)
		return true;
	if (stat(path, &st))
		return error(err, "%s: the backing file '%s' of '%s': %s", b->label, path, b->path,
			     strerror(errno));
	if ((uint64_t)st.st_size != c->backing_size)
		return error(err,
			     "%s: the backing file '%s' of '%s' has %" G_GUINT64_FORMAT
			     " bytes, and had %" G_GUINT64_FORMAT " when the image was made",
			     b->label, path, b->path, (uint64_t)st.st_size, c->backing_size);
	if ((uint32_t)st.st_mtime != c->mtime)
		return error(
			err,
			"%s: the backing file '%s' of '%s' was changed at %u, and the image is "
			"for what it was at %u. If you know that it holds the same: moa-img "
			"rebase -u -b '%s' -F raw '%s'",
			b->label, path, b->path, (uint32_t)st.st_mtime, c->mtime, path, b->path);
	return true;
}

static void cow_close(struct block *b)
{
	struct cow *c = cow_of(b);

	if (!c)
		return;
	free(c->bitmap);
	g_free(c->dirty);
	g_free(c);
	b->state = NULL;
}

static bool read_header(struct block *b, struct cow *c, GError **err)
{
	g_autofree uint8_t *h = g_malloc0(HEADER_BYTES);
	uint32_t align;
	int e = file_read(b->file, 0, h, HEADER_BYTES);

	if (e)
		return error(err, "%s: '%s': %s", b->label, b->path, strerror(-e));
	align = be32(h + ALIGN_AT);
	b->size = be64(h + 12);
	c->mtime = be32(h + 8);
	c->backing_size = b->size;
	if (!cow_probe(h, HEADER_BYTES) || be32(h + 20) != SECTOR || be32(h + 28) != 0 || !align ||
	    align & (align - 1) || align > MIB || b->size % SECTOR ||
	    b->size > (uint64_t)MOST_BITMAP * 8 * SECTOR || !memchr(h + PATH_AT, 0, PATH_BYTES) ||
	    !lay_out(c, b->size, align))
		return error(err,
			     "%s: '%s' is no copy-on-write file of User Mode Linux that moa knows "
			     "(version 3, sectors of 512 bytes)",
			     b->label, b->path);
	if (h[PATH_AT]) {
		b->backing_file = g_strdup((char *)h + PATH_AT);
		b->backing_format = g_strdup("raw");
	}
	return true;
}

static bool cow_open(struct block *b, GError **err)
{
	struct cow *c = g_new0(struct cow, 1);
	uint64_t pieces;
	int e;

	b->state = c;
	b->cluster = SECTOR;
	if (!read_header(b, c, err) || (b->backing_file && !check_backing(b, err))) {
		cow_close(b);
		return false;
	}
	pieces = (c->bitmap_bytes + PIECE - 1) / PIECE;
	c->bitmap = aligned_alloc(PIECE, MAX_OF(pieces, 1u) * PIECE);
	c->dirty = g_malloc0(pieces + 1);
	memset(c->bitmap, 0, MAX_OF(pieces, 1u) * PIECE);
	e = file_read(b->file, c->bitmap_at, c->bitmap, c->bitmap_bytes);
	if (!e)
		return true;
	cow_close(b);
	return error(err, "%s: the bitmap of '%s': %s", b->label, b->path, strerror(-e));
}

static bool is_set(const struct cow *c, uint64_t sector)
{
	return c->bitmap[sector / 8] >> (sector % 8) & 1;
}

static int cow_map(struct block *b, uint64_t off, uint64_t len, struct extent *e)
{
	struct cow *c = cow_of(b);
	uint64_t first = off / SECTOR, end = (off + len + SECTOR - 1) / SECTOR, at = first + 1;
	bool set;

	lock_take(&b->lock);
	set = is_set(c, first);
	while (at < end && is_set(c, at) == set)
		at++;
	lock_release(&b->lock);
	*e = (struct extent) { .kind = set ? EXTENT_DATA : EXTENT_NONE,
			       .len = MIN_OF(len, at * SECTOR - off),
			       .host = set ? c->data_at + off : 0 };
	return 0;
}

static int cow_allocate(struct block *b, uint64_t off, uint64_t len, struct extent *e)
{
	*e = (struct extent) { .kind = EXTENT_DATA, .len = len, .host = cow_of(b)->data_at + off };
	return 0;
}

static void mark(struct cow *c, uint64_t off, uint64_t len, bool set)
{
	for (uint64_t s = off / SECTOR; s < (off + len) / SECTOR; s++) {
		uint8_t bit = (uint8_t)(1u << s % 8);

		c->bitmap[s / 8] =
			(uint8_t)(set ? c->bitmap[s / 8] | bit : c->bitmap[s / 8] & ~bit);
		c->dirty[s / 8 / PIECE] = 1;
	}
}

static int cow_link(struct block *b, uint64_t off, const struct extent *e)
{
	lock_take(&b->lock);
	mark(cow_of(b), off, e->len, true);
	lock_release(&b->lock);
	return 0;
}

static void cow_release(struct block *b, const struct extent *e)
{
	(void)b;
	(void)e;
}

/* There are no zeros but written ones. */
static int cow_clear(struct block *b, uint64_t off, uint64_t len, bool none)
{
	if (!none)
		return -ENOTSUP;
	lock_take(&b->lock);
	mark(cow_of(b), off, len, false);
	lock_release(&b->lock);
	return 0;
}

static int cow_flush(struct block *b)
{
	struct cow *c = cow_of(b);
	uint64_t pieces = (c->bitmap_bytes + PIECE - 1) / PIECE;
	bool any = false;
	int e = file_flush(b->file);

	lock_take(&b->lock);
	for (uint64_t i = 0; i < pieces && !e; i++) {
		if (!c->dirty[i])
			continue;
		e = file_write(b->file, c->bitmap_at + i * PIECE, c->bitmap + i * PIECE,
			       MIN_OF(c->bitmap_bytes - i * PIECE, (uint64_t)PIECE));
		c->dirty[i] = e != 0;
		any = true;
	}
	lock_release(&b->lock);
	return e || !any ? e : file_flush(b->file);
}

static void fill_header(uint8_t *h, uint64_t size, const char *backing, uint32_t mtime)
{
	memset(h, 0, HEADER_BYTES);
	put_be32(h, MAGIC);
	put_be32(h + 4, VERSION);
	put_be32(h + 8, mtime);
	put_be64(h + 12, size);
	put_be32(h + 20, SECTOR);
	put_be32(h + ALIGN_AT, ALIGN);
	g_strlcpy((char *)h + PATH_AT, backing, PATH_BYTES);
}

/* The backing file's header values; it is looked for beside the image. */
static bool look_at_backing(const char *image, const char *file, const char *format,
			    uint8_t *header, uint64_t *size, GError **err)
{
	g_autofree char *dir = g_path_get_dirname(image), *full = NULL, *path = NULL;
	struct stat st;

	if (format && strcmp(format, "raw"))
		return error(err,
			     "a copy-on-write file of User Mode Linux lies over raw images, "
			     "not '%s'",
			     format);
	full = g_canonicalize_filename(dir, NULL);
	path = g_canonicalize_filename(file, full);
	if (strlen(path) >= PATH_BYTES)
		return error(err, "the backing file's name '%s' is too long", path);
	if (stat(path, &st))
		return error(err, "the backing file '%s': %s", path, strerror(errno));
	*size = align_up((uint64_t)st.st_size, SECTOR);
	if ((uint64_t)st.st_size % SECTOR)
		return error(err, "the backing file '%s' is no whole number of sectors", path);
	fill_header(header, *size, path, (uint32_t)st.st_mtime);
	return true;
}

static bool cow_create(const char *path, const struct block_create_options *o, GError **err)
{
	g_autofree uint8_t *h = g_malloc(HEADER_BYTES);
	struct block_options open = { .label = "create" };
	struct block_file *f;
	struct cow c = { 0 };
	uint64_t size;
	int e;

	if (!o->backing_file)
		return error(err, "a copy-on-write file needs a backing file: -b FILE -F raw");
	if (!look_at_backing(path, o->backing_file, o->backing_format, h, &size, err))
		return false;
	if (o->size && o->size != size)
		return error(err,
			     "'%s': a copy-on-write file is as large as its backing file, "
			     "%" G_GUINT64_FORMAT " bytes",
			     path, size);
	if (!lay_out(&c, size, ALIGN))
		return error(err,
			     "'%s': the format has no room for the bits of %" G_GUINT64_FORMAT
			     " bytes; make the backing file a sector longer",
			     path, size);
	if (!file_create(path, c.data_at + size, err))
		return false;
	f = file_open(path, &open, err);
	if (!f)
		return false;
	e = file_write(f, 0, h, HEADER_BYTES);
	file_close(f);
	return !e || error(err, "'%s': %s", path, strerror(-e));
}

static bool cow_set_backing(struct block *b, const char *file, const char *format, GError **err)
{
	g_autofree uint8_t *h = g_malloc(HEADER_BYTES);
	uint64_t size;
	int e;

	if (!file)
		return error(err, "'%s': a copy-on-write file needs a backing file", b->path);
	if (!look_at_backing(b->path, file, format, h, &size, err))
		return false;
	if (size != b->size)
		return error(err,
			     "'%s' is for a file of %" G_GUINT64_FORMAT " bytes, '%s' has "
			     "%" G_GUINT64_FORMAT,
			     b->path, b->size, file, size);
	/* The layout stays, whoever made it. */
	e = file_read(b->file, ALIGN_AT, h + ALIGN_AT, 4);
	e = e ? e : file_write(b->file, 0, h, HEADER_BYTES);
	return !e || error(err, "'%s': %s", b->path, strerror(-e));
}

static void cow_describe(struct block *b, GString *text, GString *json)
{
	const struct cow *c = cow_of(b);

	g_string_append_printf(text, "    backing mtime: %u\n", c->mtime);
	g_string_append_printf(json, "\"backing-mtime\": %u", c->mtime);
}

const struct block_format block_format_cow = {
	.name = "cow",
	.desc = "User Mode Linux's copy-on-write file",
	.probe = cow_probe,
	.open = cow_open,
	.close = cow_close,
	.map = cow_map,
	.allocate = cow_allocate,
	.link = cow_link,
	.release = cow_release,
	.clear = cow_clear,
	.flush = cow_flush,
	.create = cow_create,
	.set_backing = cow_set_backing,
	.describe = cow_describe,
};
