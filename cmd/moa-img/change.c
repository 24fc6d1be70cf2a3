/* SPDX-License-Identifier: GPL-2.0-or-later */
/* moa-img: commands that make and change images. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/file.h"
#include "cmd/moa-img/img.h"
#include "core/clock.h"
#include "core/field.h"

#define COPY_BYTES (2 * MIB)

static const struct option long_options[] = {
	{ "shrink", no_argument, NULL, OPT_SHRINK },
	{ "options", required_argument, NULL, 'o' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "force-share", no_argument, NULL, 'U' },
	{ NULL, 0, NULL, 0 },
};

static bool io_ok(int e, const char *what, const char *path, GError **err)
{
	return !e || error(err, "cannot %s '%s': %s", what, path, strerror(-e));
}

static bool files(int argc, int n, const char *what, GError **err)
{
	return argc - optind == n || error(err, "takes %s; see moa-img --help", what);
}

/* create */

/* The backing file must be there, and gives the size when none is named. */
static bool look_at_backing(const char *path, struct block_create_options *o, bool size_given,
			    GError **err)
{
	g_autofree char *full = block_beside(path, o->backing_file);
	struct block *b;

	if (!o->backing_format)
		return error(err,
			     "backing file '%s': name its format with -F, so that nobody has to "
			     "guess it from what a guest may have written",
			     o->backing_file);
	b = img_open(full, o->backing_format, false, false, true, err);
	if (!b)
		return false;
	if (!size_given)
		o->size = b->size;
	block_close(b);
	return true;
}

int img_create(int argc, char **argv, GError **err)
{
	struct block_create_options o = { 0 };
	const char *format = "raw", *options = NULL, *path;
	bool quiet = false, unsafe = false, size_given;
	int c;

	while ((c = getopt_long(argc, argv, "b:F:f:o:qu", long_options, NULL)) != -1) {
		switch (c) {
		case 'b':
			o.backing_file = optarg;
			break;
		case 'F':
			o.backing_format = optarg;
			break;
		case 'f':
			format = optarg;
			break;
		case 'o':
			options = optarg;
			break;
		case 'q':
			quiet = true;
			break;
		case 'u':
			unsafe = true;
			break;
		default:
			return 1;
		}
	}
	if (argc - optind != 1 && argc - optind != 2 &&
	    !error(err, "takes a file and a size; see moa-img --help"))
		return 1;
	path = argv[optind];
	if (options && !img_create_options(options, &o, err))
		return 1;
	size_given = o.size || argc - optind == 2;
	if (argc - optind == 2 && !img_size(argv[optind + 1], &o.size, err))
		return 1;
	if (!size_given && !o.backing_file && !error(err, "say how large '%s' shall be", path))
		return 1;
	o.size = align_up(o.size, BLOCK_SECTOR);
	if (o.backing_file && !unsafe && !look_at_backing(path, &o, size_given, err))
		return 1;
	if (!quiet)
		printf("Formatting '%s', fmt=%s size=%" PRIu64 "%s%s\n", path, format, o.size,
		       o.backing_file ? " backing_file=" : "",
		       o.backing_file ? o.backing_file : "");
	return block_create(format, path, &o, err) ? 0 : 1;
}

/* convert */

#define MOST_WORKERS 16

/* Chunks of the target are copied by several threads, each the next that nobody has. */
struct copy {
	struct block **sources;
	int nsources;
	struct block *target;
	uint64_t size;
	uint64_t sparse; /* zeros of at least that many bytes become holes; 0: none do */
	bool compress;
	bool target_zero;     /* the target reads as zeros already */
	uint64_t workers;     /* threads */
	bool any_order;	      /* of writes */
	pthread_mutex_t lock; /* what follows, and the progress */
	pthread_cond_t turn;
	uint64_t next, writing; /* chunks: to take, and whose turn to write it is */
	GError *error;		/* the first */
};

static bool all_zero(const uint8_t *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

/* Writes buf, leaving out runs of zeros. */
static int write_sparse(struct copy *c, uint64_t off, const uint8_t *buf, size_t len)
{
	size_t at = 0;
	int e = 0;

	if (!c->sparse)
		return block_write(c->target, off, buf, len);
	while (at < len && !e) {
		size_t unit =
			(size_t)MIN_OF((uint64_t)(len - at), c->sparse - (off + at) % c->sparse);
		bool zero = all_zero(buf + at, unit);
		size_t run = unit;

		while (at + run < len) {
			unit = (size_t)MIN_OF((uint64_t)(len - at - run), c->sparse);
			if (all_zero(buf + at + run, unit) != zero)
				break;
			run += unit;
		}
		if (!zero)
			e = block_write(c->target, off + at, buf + at, run);
		else if (!c->target_zero)
			e = block_write_zeroes(c->target, off + at, run, true);
		at += run;
	}
	return e;
}

static int write_compressed(struct copy *c, uint64_t off, const uint8_t *buf, size_t len)
{
	int e = 0;

	for (size_t at = 0, part; at < len && !e; at += part) {
		part = MIN_OF(len - at, (size_t)c->target->cluster);
		if (!all_zero(buf + at, part))
			e = c->target->format->write_compressed(c->target, off + at, buf + at,
								part);
	}
	return e;
}

/* Until all that comes before has been written, unless order does not matter. False: it failed. */
static bool wait_turn(struct copy *c, uint64_t chunk)
{
	bool ok;

	pthread_mutex_lock(&c->lock);
	while (!c->error && !c->any_order && c->writing != chunk)
		pthread_cond_wait(&c->turn, &c->lock);
	ok = !c->error;
	pthread_mutex_unlock(&c->lock);
	return ok;
}

/* [off, end) of a source, which lies at base in the target; inside one chunk. */
static bool copy_part(struct copy *c, struct block *src, uint64_t base, uint64_t off, uint64_t end,
		      uint8_t *buf, GError **err)
{
	for (uint64_t len; off < end; off += len) {
		uint64_t chunk = (base + off) / COPY_BYTES;
		int zero, e = 0;

		len = end - off;
		zero = block_is_zero(src, off, &len);
		/* Whole clusters, or what is compressed would be written twice. */
		if (c->compress && !zero)
			len = end - off;
		else if (c->compress && zero > 0 && (base + off + len) % c->target->cluster) {
			len = MIN_OF(end - off,
				     align_up(base + off + len, c->target->cluster) - base - off);
			zero = 0;
		}
		if (!zero)
			e = block_read(src, off, buf, len);
		if (zero < 0 || e)
			return io_ok(zero < 0 ? zero : e, "read", src->path, err);
		if (!wait_turn(c, chunk))
			return true;
		if (!zero)
			e = c->compress ? write_compressed(c, base + off, buf, len)
					: write_sparse(c, base + off, buf, len);
		else if (!c->target_zero)
			e = block_write_zeroes(c->target, base + off, len, true);
		if (e)
			return io_ok(e, "write", c->target->path, err);
		pthread_mutex_lock(&c->lock);
		progress_add(len);
		pthread_mutex_unlock(&c->lock);
	}
	return true;
}

static bool copy_chunk(struct copy *c, uint64_t chunk, uint8_t *buf, GError **err)
{
	uint64_t from = chunk * COPY_BYTES, to = MIN_OF(from + COPY_BYTES, c->size), base = 0;
	bool ok = true;

	for (int i = 0; i < c->nsources && ok; i++) {
		uint64_t end = base + c->sources[i]->size, first = MAX_OF(from, base),
			 last = MIN_OF(to, end);

		if (first < last)
			ok = copy_part(c, c->sources[i], base, first - base, last - base, buf, err);
		base = end;
	}
	return ok;
}

static void *copy_chunks(void *opaque)
{
	uint8_t *buf = aligned_alloc(4096, COPY_BYTES);
	struct copy *c = opaque;

	pthread_mutex_lock(&c->lock);
	while (!c->error && c->next * COPY_BYTES < c->size) {
		uint64_t chunk = c->next++;
		GError *err = NULL;

		pthread_mutex_unlock(&c->lock);
		copy_chunk(c, chunk, buf, &err);
		wait_turn(c, chunk);
		pthread_mutex_lock(&c->lock);
		if (err && !c->error)
			c->error = g_steal_pointer(&err);
		g_clear_error(&err);
		c->writing = chunk + 1;
		pthread_cond_broadcast(&c->turn);
	}
	pthread_mutex_unlock(&c->lock);
	free(buf);
	return NULL;
}

static bool copy_all(struct copy *c, GError **err)
{
	g_autofree pthread_t *threads = g_new(pthread_t, c->workers);
	unsigned n = 0;

	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->turn, NULL);
	while (n + 1 < c->workers && !pthread_create(&threads[n], NULL, copy_chunks, c))
		n++;
	copy_chunks(c);
	while (n)
		pthread_join(threads[--n], NULL);
	if (c->error) {
		g_propagate_error(err, c->error);
		return false;
	}
	return io_ok(block_flush(c->target), "write", c->target->path, err);
}

/* A source that begins inside a cluster could not be compressed. */
static bool can_compress(struct copy *c, GError **err)
{
	if (!c->target->format->write_compressed)
		return error(err, "-c: images of format '%s' are not compressed",
			     c->target->format->name);
	for (int i = 0; i + 1 < c->nsources; i++)
		if (c->sources[i]->size % c->target->cluster)
			return error(err, "-c: the size of '%s' is no multiple of %u bytes",
				     c->sources[i]->path, c->target->cluster);
	return true;
}

static bool convert(struct copy *c, const char *path, const struct block_options *open, bool exists,
		    struct block_create_options *o, bool progress, GError **err)
{
	bool ok = true;

	if (!exists)
		ok = block_create(open->format, path, o, err);
	c->target = ok ? block_open(path, open, err) : NULL;
	if (!c->target)
		return false;
	c->target_zero = !exists && !o->backing_file && !file_is_device(c->target->file);
	if (c->target->size < c->size)
		ok = error(err, "'%s' has %" PRIu64 " bytes, the source %" PRIu64, path,
			   c->target->size, c->size);
	ok = ok && (!c->compress || can_compress(c, err));
	progress_start(progress, c->size);
	ok = ok && copy_all(c, err);
	if (ok)
		progress_end();
	block_close(c->target);
	return ok;
}

/* -t of the target, -T of the sources. */
static bool take_cache(int option, const char *text, struct block_options *o, GError **err)
{
	if (!strcmp(text, "none"))
		o->direct = true;
	else if (!strcmp(text, "unsafe"))
		o->no_flush = true;
	else if (strcmp(text, "writeback"))
		return error(err,
			     "-%c %s: takes none, writeback or unsafe; the copy is flushed at its "
			     "end, so nothing is gained by more",
			     option, text);
	return true;
}

/* Named by itself, or as snapshot.id=ID or snapshot.name=NAME. */
static bool show_snapshot(struct block *b, const char *text, GError **err)
{
	static const char *const keys[] = { "snapshot.id=", "snapshot.name=" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (g_str_has_prefix(text, keys[i]))
			text += strlen(keys[i]);
	if (!b->format->snapshot_show)
		return error(err, "'%s': images of format '%s' have no snapshots", b->path,
			     b->format->name);
	return b->format->snapshot_show(b, text, err);
}

int img_convert(int argc, char **argv, GError **err)
{
	const char *from = NULL, *to = "raw", *options = NULL;
	struct copy copy = { .sparse = 4096, .workers = 8 };
	struct block_options source = { .label = "moa-img" }, target = source;
	struct block_create_options o = { 0 };
	bool progress = false, exists = false, share = false, ok = true;
	const char *snapshot = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "cf:l:nO:o:pqS:Ut:T:m:W", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			copy.compress = true;
			break;
		case 'f':
			from = optarg;
			break;
		case 'l':
			snapshot = optarg;
			break;
		case 'n':
			exists = true;
			break;
		case 'O':
			to = optarg;
			break;
		case 'o':
			options = optarg;
			break;
		case 'p':
			progress = true;
			break;
		case 'q':
			break;
		case 'S':
			if (!img_size(optarg, &copy.sparse, err))
				return 1;
			copy.sparse = align_down(copy.sparse, BLOCK_SECTOR);
			break;
		case 'U':
			share = true;
			break;
		case 't':
		case 'T':
			if (!take_cache(c, optarg, c == 't' ? &target : &source, err))
				return 1;
			break;
		case 'm':
			if (!parse_size(optarg, 1, &copy.workers) || !copy.workers ||
			    copy.workers > MOST_WORKERS) {
				error(err, "-m %s: takes a number of threads from 1 to %d", optarg,
				      MOST_WORKERS);
				return 1;
			}
			break;
		case 'W':
			copy.any_order = true;
			break;
		default:
			return 1;
		}
	}
	if (argc - optind < 2 && !error(err, "takes images and where they go"))
		return 1;
	if (options && !img_create_options(options, &o, err))
		return 1;
	copy.sources = g_new0(struct block *, argc);
	for (int i = optind; i < argc - 1 && ok; i++) {
		struct block *b;

		source.format = from;
		source.read_only = true;
		source.share = share;
		b = block_open(argv[i], &source, err);
		ok = b != NULL;
		if (ok) {
			copy.sources[copy.nsources++] = b;
			ok = !snapshot || show_snapshot(b, snapshot, err);
			copy.size += b->size;
		}
	}
	if (ok && !o.size)
		o.size = copy.size;
	target.format = to;
	target.discard = true;
	target.no_backing = target.force_dirty = o.backing_file == NULL;
	ok = ok && convert(&copy, argv[argc - 1], &target, exists, &o, progress, err);
	for (int i = 0; i < copy.nsources; i++)
		block_close(copy.sources[i]);
	g_free(copy.sources);
	return ok ? 0 : 1;
}

/* commit and rebase */

/* Everything that the overlay has of its own goes into `base`. */
static bool commit_data(struct block *top, struct block *base, GError **err)
{
	uint8_t *buf = aligned_alloc(4096, COPY_BYTES);
	bool ok = true;

	for (uint64_t off = 0, len; off < top->size && ok; off += len) {
		struct extent x;
		int e = block_map(top, off, MIN_OF(top->size - off, (uint64_t)COPY_BYTES), &x);

		ok = io_ok(e, "read", top->path, err);
		if (!ok)
			break;
		len = x.len;
		if (x.kind == EXTENT_ZERO) {
			ok = io_ok(block_write_zeroes(base, off, len, true), "write", base->path,
				   err);
		} else if (x.kind != EXTENT_NONE) {
			ok = io_ok(block_read(top, off, buf, len), "read", top->path, err) &&
			     io_ok(block_write(base, off, buf, len), "write", base->path, err);
		}
		progress_add(len);
	}
	free(buf);
	return ok && io_ok(block_flush(base), "write", base->path, err);
}

/* Overlays of `base` beside it would see other data than they were made on. */
static bool find_siblings(const char *top, struct block *base, bool force, GError **err)
{
	g_autofree char *dir = g_path_get_dirname(base->path);
	g_autofree char *real_base = realpath(base->path, NULL), *real_top = realpath(top, NULL);
	g_autoptr(GString) found = g_string_new(NULL);
	GDir *d = force ? NULL : g_dir_open(dir, 0, NULL);

	for (const char *n = d ? g_dir_read_name(d) : NULL; n; n = g_dir_read_name(d)) {
		g_autofree char *path = g_build_filename(dir, n, NULL);
		g_autofree char *real = realpath(path, NULL), *backing = NULL;
		struct block *b;

		if (!real || !g_file_test(real, G_FILE_TEST_IS_REGULAR) ||
		    !g_strcmp0(real, real_top) || !g_strcmp0(real, real_base))
			continue;
		b = img_open(path, NULL, false, true, true, NULL);
		if (b && b->backing_file) {
			g_autofree char *beside = block_beside(path, b->backing_file);

			backing = realpath(beside, NULL);
		}
		block_close(b);
		if (backing && !strcmp(backing, real_base))
			g_string_append_printf(found, "%s'%s'", found->len ? ", " : "", path);
	}
	if (d)
		g_dir_close(d);
	return !found->len ||
	       error(err,
		     "'%s' also backs %s, which would see other data: rebase those first, or say "
		     "--force",
		     base->path, found->str);
}

int img_commit(int argc, char **argv, GError **err)
{
	static const struct option options[] = { { "force", no_argument, NULL, OPT_FORCE },
						 { "quiet", no_argument, NULL, 'q' },
						 { NULL, 0, NULL, 0 } };
	const char *format = NULL;
	bool quiet = false, keep = false, progress = false, force = false, ok;
	struct block *b, *base = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "df:pq", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			keep = true;
			break;
		case 'f':
			format = optarg;
			break;
		case 'p':
			progress = true;
			break;
		case 'q':
			quiet = true;
			break;
		case OPT_FORCE:
			force = true;
			break;
		default:
			return 1;
		}
	}
	if (!files(argc, 1, "one image", err))
		return 1;
	b = img_open(argv[optind], format, true, false, false, err);
	if (!b)
		return 1;
	if (!b->backing) {
		error(err, "'%s' has no backing image", b->path);
		block_close(b);
		return 1;
	}
	ok = find_siblings(b->path, b->backing, force, err);
	if (ok) {
		struct block_options o = b->backing->options;

		/* For writing now; the chain below it stays as it is. */
		o.read_only = false;
		o.in_chain = false;
		o.share = true;
		base = block_open(b->backing->path, &o, err);
		ok = base != NULL;
	}
	if (ok && base->size < b->size)
		ok = block_resize(base, b->size, err);
	progress_start(progress && !quiet, b->size);
	ok = ok && commit_data(b, base, err);
	if (ok)
		progress_end();
	block_close(base);
	/* The backing file is another now, and this overlay knows. */
	if (ok && b->fingerprint.kind)
		ok = b->format->set_backing(b, b->backing_file, b->backing_format, err);
	/* What is in the backing image now need not be in the overlay. */
	if (ok && !keep)
		ok = io_ok(b->format->clear(b, 0, b->size, true), "empty", b->path, err) &&
		     io_ok(block_flush(b), "write", b->path, err);
	block_close(b);
	if (ok && !quiet)
		printf("Image committed.\n");
	return ok ? 0 : 1;
}

/* What reads differently on the new backing image is copied into the overlay. */
static bool rebase_data(struct block *b, struct block *new, GError **err)
{
	uint8_t *x = aligned_alloc(4096, COPY_BYTES), *y = aligned_alloc(4096, COPY_BYTES);
	bool ok = true;

	for (uint64_t off = 0, len; off < b->size && ok; off += len) {
		struct extent e;
		uint64_t inside;

		ok = io_ok(block_map(b, off, MIN_OF(b->size - off, (uint64_t)COPY_BYTES), &e),
			   "read", b->path, err);
		if (!ok)
			break;
		len = e.len;
		progress_add(len);
		if (e.kind != EXTENT_NONE)
			continue;
		inside = new &&off < new->size ? MIN_OF(len, new->size - off) : 0;
		memset(y, 0, len);
		ok = io_ok(block_read(b, off, x, len), "read", b->path, err) &&
		     (!inside || io_ok(block_read(new, off, y, inside), "read", new->path, err));
		if (ok && memcmp(x, y, len))
			ok = io_ok(block_write(b, off, x, len), "write", b->path, err);
	}
	free(x);
	free(y);
	return ok && io_ok(block_flush(b), "write", b->path, err);
}

int img_rebase(int argc, char **argv, GError **err)
{
	const char *format = NULL, *file = NULL, *backing_format = NULL;
	bool quiet = false, unsafe = false, progress = false, ok = true;
	struct block *b, *new = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "b:F:f:pqu", long_options, NULL)) != -1) {
		switch (c) {
		case 'b':
			file = optarg;
			break;
		case 'F':
			backing_format = optarg;
			break;
		case 'f':
			format = optarg;
			break;
		case 'p':
			progress = true;
			break;
		case 'q':
			quiet = true;
			break;
		case 'u':
			unsafe = true;
			break;
		default:
			return 1;
		}
	}
	if (!files(argc, 1, "one image", err) ||
	    (!file && !error(err, "say the new backing image with -b; -b '' for none")))
		return 1;
	if (*file && !backing_format &&
	    !error(err, "backing file '%s': name its format with -F", file))
		return 1;
	b = img_open(argv[optind], format, true, unsafe, false, err);
	if (!b)
		return 1;
	if (!b->format->set_backing)
		ok = error(err, "images of format '%s' have no backing image", b->format->name);
	if (ok && !unsafe) {
		g_autofree char *full = block_beside(b->path, file);

		if (*file) {
			new = img_open(full, backing_format, false, false, true, err);
			ok = new != NULL;
		}
		progress_start(progress && !quiet, b->size);
		ok = ok && rebase_data(b, new, err);
		if (ok)
			progress_end();
		block_close(new);
	}
	ok = ok && b->format->set_backing(b, file, backing_format, err);
	block_close(b);
	return ok ? 0 : 1;
}

/* resize */

int img_resize(int argc, char **argv, GError **err)
{
	const char *format = NULL, *text;
	bool quiet = false, shrink = false, ok;
	struct block *b;
	uint64_t size;
	int c;

	/* "-1G" is a size, not an option. */
	while ((c = getopt_long(argc, argv, "+f:q", long_options, NULL)) != -1) {
		switch (c) {
		case 'f':
			format = optarg;
			break;
		case 'q':
			quiet = true;
			break;
		case OPT_SHRINK:
			shrink = true;
			break;
		default:
			return 1;
		}
	}
	if (!files(argc, 2, "an image and a size", err))
		return 1;
	text = argv[optind + 1];
	if (!img_size(text + (*text == '+' || *text == '-'), &size, err))
		return 1;
	b = img_open(argv[optind], format, true, false, false, err);
	if (!b)
		return 1;
	if (*text == '+')
		size = b->size + size;
	else if (*text == '-')
		size = b->size > size ? b->size - size : 0;
	ok = size || error(err, "nothing would be left of '%s'", b->path);
	if (ok && size < b->size && !shrink)
		ok = error(err,
			   "'%s' would lose what lies behind %" PRIu64
			   " bytes: say --shrink if that is meant",
			   b->path, size);
	ok = ok && block_resize(b, align_up(size, BLOCK_SECTOR), err);
	block_close(b);
	if (ok && !quiet)
		printf("Image resized.\n");
	return ok ? 0 : 1;
}

/* snapshot */

static bool list_snapshots(struct block *b)
{
	GPtrArray *all = b->format->snapshots(b);

	if (all->len)
		printf("Snapshot list:\n%-10s%-17s%8s%20s\n", "ID", "TAG", "VM SIZE", "DATE");
	for (guint i = 0; i < all->len; i++) {
		struct block_snapshot *s = all->pdata[i];
		g_autofree char *size = img_bytes(s->vm_state_size);
		g_autoptr(GDateTime) when = g_date_time_new_from_unix_local(s->date_sec);
		g_autofree char *date = g_date_time_format(when, "%Y-%m-%d %H:%M:%S");

		printf("%-9s %-16s %8s%20s\n", s->id, s->name, size, date);
	}
	g_ptr_array_unref(all);
	return true;
}

int img_snapshot(int argc, char **argv, GError **err)
{
	const char *format = NULL, *name = NULL;
	int c, action = 0;
	bool ok, share = false;
	struct block *b;

	while ((c = getopt_long(argc, argv, "a:c:d:f:lqU", long_options, NULL)) != -1) {
		switch (c) {
		case 'a':
		case 'c':
		case 'd':
		case 'l':
			if (action && !error(err, "takes one of -a, -c, -d, -l"))
				return 1;
			action = c;
			name = optarg;
			break;
		case 'f':
			format = optarg;
			break;
		case 'q':
			break;
		case 'U':
			share = true;
			break;
		default:
			return 1;
		}
	}
	if (!files(argc, 1, "one image", err))
		return 1;
	if (share && action && action != 'l' &&
	    !error(err, "-U: an image that others use may be looked at (-l), not changed"))
		return 1;
	b = img_open(argv[optind], format, action && action != 'l', true, share, err);
	if (!b)
		return 1;
	if (!b->format->snapshots)
		ok = error(err, "images of format '%s' have no snapshots", b->format->name);
	else if (action == 'a')
		ok = b->format->snapshot_apply(b, name, err);
	else if (action == 'c')
		ok = b->format->snapshot_create(b, name, err);
	else if (action == 'd')
		ok = b->format->snapshot_delete(b, name, err);
	else
		ok = list_snapshots(b);
	block_close(b);
	return ok ? 0 : 1;
}

/* bench */

int img_bench(int argc, char **argv, GError **err)
{
	const char *format = NULL;
	uint64_t count = 75000, size = 4096, off = 0;
	bool write = false;
	int64_t began;
	struct block *b;
	void *buf;
	int c, e = 0;

	while ((c = getopt_long(argc, argv, "c:f:qs:w", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			count = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			format = optarg;
			break;
		case 's':
			if (!img_size(optarg, &size, err))
				return 1;
			break;
		case 'w':
			write = true;
			break;
		case 'q':
			break;
		default:
			return 1;
		}
	}
	if (!files(argc, 1, "one image", err))
		return 1;
	b = img_open(argv[optind], format, write, false, false, err);
	if (!b)
		return 1;
	if ((!size || size > b->size) &&
	    !error(err, "-s: '%s' is smaller than one request", b->path)) {
		block_close(b);
		return 1;
	}
	printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each\n", count,
	       write ? "write" : "read", size);
	buf = aligned_alloc(4096, align_up(size, 4096));
	memset(buf, 0, size);
	began = monotonic_ns();
	for (uint64_t i = 0; i < count && !e; i++, off += size) {
		if (off + size > b->size)
			off = 0;
		e = write ? block_write(b, off, buf, size) : block_read(b, off, buf, size);
	}
	if (!e && write)
		e = block_flush(b);
	free(buf);
	block_close(b);
	if (!io_ok(e, write ? "write" : "read", argv[optind], err))
		return 1;
	printf("Run completed in %3.3f seconds.\n", (double)(monotonic_ns() - began) / 1e9);
	return 0;
}
