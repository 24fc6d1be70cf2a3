/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw images: the file is the disk. A last sector that the file cuts reads as zeros beyond it. */
#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "block/file.h"

static bool raw_open(struct block *b, GError **err)
{
	(void)err;
	b->size = align_up(file_size(b->file), BLOCK_SECTOR);
	return true;
}

static void raw_close(struct block *b)
{
	(void)b;
}

static int raw_map(struct block *b, uint64_t off, uint64_t len, struct extent *e)
{
	(void)b;
	*e = (struct extent) { .kind = EXTENT_DATA, .len = len, .host = off };
	return 0;
}

static bool raw_map_now(struct block *b, uint64_t off, uint64_t len, struct extent *e)
{
	return !raw_map(b, off, len, e);
}

static int raw_flush(struct block *b)
{
	return file_flush(b->file);
}

static bool raw_create(const char *path, const struct block_create_options *o, GError **err)
{
	struct block_options open = { .label = "create" };
	bool full = o->preallocation && !strcmp(o->preallocation, "full"),
	     reserve = o->preallocation && !strcmp(o->preallocation, "falloc");
	struct block_file *f;
	int e = 0;

	if (o->backing_file)
		return error(err, "a raw image has no backing file: use -f qcow2");
	if (o->preallocation && !full && !reserve && strcmp(o->preallocation, "off"))
		return error(err, "preallocation '%s': raw images know off, falloc, full",
			     o->preallocation);
	if (!file_create(path, o->size, err))
		return false;
	if (!o->size || (!full && !reserve))
		return true;
	f = file_open(path, &open, err);
	if (!f)
		return false;
	e = reserve ? file_reserve(f, 0, o->size) : file_zero(f, 0, o->size, false);
	file_close(f);
	return !e || error(err, "'%s': %s", path, strerror(-e));
}

static bool raw_resize(struct block *b, uint64_t size, GError **err)
{
	int e = file_truncate(b->file, size);

	if (e)
		return error(err, "%s: cannot make '%s' %" G_GUINT64_FORMAT " bytes long: %s",
			     b->label, b->path, size, strerror(-e));
	b->size = align_up(size, BLOCK_SECTOR);
	return true;
}

const struct block_format block_format_raw = {
	.name = "raw",
	.desc = "the file is the disk",
	.open = raw_open,
	.close = raw_close,
	.map = raw_map,
	.map_now = raw_map_now,
	.flush = raw_flush,
	.create = raw_create,
	.resize = raw_resize,
};
