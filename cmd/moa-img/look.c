/* SPDX-License-Identifier: GPL-2.0-or-later */
/* moa-img: commands that look at images: info, map, check, compare, measure. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/file.h"
#include "cmd/moa-img/img.h"

static const struct option long_options[] = {
	{ "output", required_argument, NULL, OPT_OUTPUT },
	{ "backing-chain", no_argument, NULL, OPT_BACKING_CHAIN },
	{ "force-share", no_argument, NULL, 'U' },
	{ "repair", required_argument, NULL, 'r' },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "options", required_argument, NULL, 'o' },
	{ "format", required_argument, NULL, 'f' },
	{ "quiet", no_argument, NULL, 'q' },
	{ NULL, 0, NULL, 0 },
};

static bool one_file(int argc, char **argv, GError **err)
{
	return argc - optind == 1 ||
	       error(err, "takes one image, not %d; see moa-img --help", argc - optind);
	(void)argv;
}

/* info */

static void print_snapshot_times(GPtrArray *all)
{
	if (!all->len)
		return;
	printf("Snapshot list:\n%-10s%-17s%8s%20s%13s\n", "ID", "TAG", "VM SIZE", "DATE",
	       "VM CLOCK");
	for (guint i = 0; i < all->len; i++) {
		struct block_snapshot *s = all->pdata[i];
		time_t when = s->date_sec;
		uint64_t ms = s->vm_clock_ns / 1000000;
		g_autofree char *size = img_bytes(s->vm_state_size);
		char date[32];
		struct tm tm;

		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", localtime_r(&when, &tm));
		printf("%-9s %-16s %8s%20s  %02d:%02d:%02d.%03d\n", s->id, s->name, size, date,
		       (int)(ms / 3600000), (int)(ms / 60000 % 60), (int)(ms / 1000 % 60),
		       (int)(ms % 1000));
	}
}

static void info_text(struct block *b)
{
	g_autofree char *virtual = img_bytes(b->size), *disk = img_bytes(file_allocated(b->file));
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GString) json = g_string_new(NULL);

	printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
	       b->path, b->format->name, virtual, b->size, disk);
	if (b->cluster > 1)
		printf("cluster_size: %u\n", b->cluster);
	if (b->backing_file)
		printf("backing file: %s\n", b->backing_file);
	if (b->backing_format)
		printf("backing file format: %s\n", b->backing_format);
	if (b->format->snapshots) {
		g_autoptr(GPtrArray) all = b->format->snapshots(b);

		print_snapshot_times(all);
	}
	if (b->format->describe) {
		b->format->describe(b, text, json);
		printf("Format specific information:\n%s", text->str);
	}
}

static void info_snapshots_json(struct block *b, GString *out)
{
	GPtrArray *all = b->format->snapshots ? b->format->snapshots(b) : NULL;

	if (all && all->len) {
		g_string_append(out, ",\n    \"snapshots\": [");
		for (guint i = 0; i < all->len; i++) {
			struct block_snapshot *s = all->pdata[i];
			g_autofree char *id = img_json(s->id), *name = img_json(s->name);

			g_string_append_printf(
				out,
				"%s{\"id\": %s, \"name\": %s, \"vm-state-size\": %" PRIu64
				", \"date-sec\": %u, \"date-nsec\": %u, \"vm-clock-sec\": %" PRIu64
				", \"vm-clock-nsec\": %" PRIu64 "}",
				i ? ", " : "", id, name, s->vm_state_size, s->date_sec,
				s->date_nsec, s->vm_clock_ns / 1000000000,
				s->vm_clock_ns % 1000000000);
		}
		g_string_append(out, "]");
	}
	if (all)
		g_ptr_array_unref(all);
}

static void info_json(struct block *b)
{
	g_autofree char *path = img_json(b->path);
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GString) json = g_string_new(NULL);
	g_autoptr(GString) out = g_string_new(NULL);

	g_string_append_printf(out,
			       "{\n    \"filename\": %s,\n    \"format\": \"%s\",\n"
			       "    \"virtual-size\": %" PRIu64 ",\n    \"actual-size\": %" PRIu64
			       ",\n    \"dirty-flag\": false",
			       path, b->format->name, b->size, file_allocated(b->file));
	if (b->cluster > 1)
		g_string_append_printf(out, ",\n    \"cluster-size\": %u", b->cluster);
	if (b->backing_file) {
		g_autofree char *backing = img_json(b->backing_file);

		g_string_append_printf(out, ",\n    \"backing-filename\": %s", backing);
	}
	if (b->backing_format)
		g_string_append_printf(out, ",\n    \"backing-filename-format\": \"%s\"",
				       b->backing_format);
	info_snapshots_json(b, out);
	if (b->format->describe) {
		b->format->describe(b, text, json);
		g_string_append_printf(
			out, ",\n    \"format-specific\": {\"type\": \"%s\", \"data\": {%s}}",
			b->format->name, json->str);
	}
	printf("%s\n}", out->str);
}

int img_info(int argc, char **argv, GError **err)
{
	const char *format = NULL, *output = "human";
	bool chain = false, share = false, json;
	struct block *b;
	int c;

	while ((c = getopt_long(argc, argv, "f:U", long_options, NULL)) != -1) {
		switch (c) {
		case 'f':
			format = optarg;
			break;
		case 'U':
			share = true;
			break;
		case OPT_OUTPUT:
			output = optarg;
			break;
		case OPT_BACKING_CHAIN:
			chain = true;
			break;
		default:
			return 1;
		}
	}
	if (!img_wants_json(output, &json, err) || !one_file(argc, argv, err))
		return 1;
	b = img_open(argv[optind], format, false, !chain, share, err);
	if (!b)
		return 1;
	if (json && chain)
		printf("[\n");
	for (struct block *n = b; n; n = n->backing) {
		if (n != b)
			printf(json ? ",\n" : "\n");
		if (json)
			info_json(n);
		else
			info_text(n);
	}
	if (json)
		printf(chain ? "\n]\n" : "\n");
	block_close(b);
	return 0;
}

/* map */

struct mapped {
	uint64_t start, len, host;
	unsigned depth;
	bool present, zero, data, has_host, compressed;
	struct block *in;
};

/* What a guest finds at `off`, wherever in the chain it lies. */
static int map_at(struct block *b, uint64_t off, uint64_t len, unsigned depth, struct mapped *m)
{
	struct extent e;
	int result = block_map(b, off, len, &e);

	if (result)
		return result;
	*m = (struct mapped) { .start = off, .len = e.len, .depth = depth, .in = b };
	switch (e.kind) {
	case EXTENT_DATA:
		m->present = m->has_host = m->data = true;
		m->host = e.host;
		/* In formats that allocate, a hole is their own affair. */
		if (b->cluster == 1 && file_is_hole(b->file, e.host, &m->len)) {
			m->zero = true;
			m->data = false;
		}
		break;
	case EXTENT_ZERO:
		m->present = m->zero = true;
		break;
	case EXTENT_COMPRESSED:
		m->present = m->data = m->compressed = true;
		break;
	case EXTENT_NONE:
		if (b->backing && off < b->backing->size)
			return map_at(b->backing, off, MIN_OF(e.len, b->backing->size - off),
				      depth + 1, m);
		m->zero = true;
		break;
	}
	return 0;
}

static bool joins(const struct mapped *a, const struct mapped *b)
{
	return a->depth == b->depth && a->present == b->present && a->zero == b->zero &&
	       a->data == b->data && a->has_host == b->has_host && a->compressed == b->compressed &&
	       (!a->has_host || a->host + a->len == b->host);
}

static void print_mapped(const struct mapped *m, bool json, bool first)
{
	if (json) {
		printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
		       ", \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s",
		       first ? "[" : ",\n", m->start, m->len, m->depth,
		       m->present ? "true" : "false", m->zero ? "true" : "false",
		       m->data ? "true" : "false");
		if (m->has_host)
			printf(", \"offset\": %" PRIu64, m->host);
		printf("}");
	} else if (m->data && m->has_host) {
		printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", m->start, m->len,
		       m->host, m->in->path);
	}
}

int img_map(int argc, char **argv, GError **err)
{
	const char *format = NULL, *output = "human";
	bool share = false, json, first = true;
	struct mapped last = { 0 }, m;
	struct block *b;
	int c, e = 0;

	while ((c = getopt_long(argc, argv, "f:U", long_options, NULL)) != -1) {
		switch (c) {
		case 'f':
			format = optarg;
			break;
		case 'U':
			share = true;
			break;
		case OPT_OUTPUT:
			output = optarg;
			break;
		default:
			return 1;
		}
	}
	if (!img_wants_json(output, &json, err) || !one_file(argc, argv, err))
		return 1;
	b = img_open(argv[optind], format, false, false, share, err);
	if (!b)
		return 1;
	if (!json)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
	for (uint64_t off = 0; off < b->size; off += m.len) {
		e = map_at(b, off, b->size - off, 0, &m);
		if (e)
			break;
		if (last.len && joins(&last, &m)) {
			last.len += m.len;
			continue;
		}
		if (last.len) {
			print_mapped(&last, json, first);
			first = false;
		}
		last = m;
	}
	if (last.len)
		print_mapped(&last, json, first);
	if (json)
		printf(last.len ? "]\n" : "[]\n");
	block_close(b);
	if (e)
		error(err, "cannot read the map: %s", strerror(-e));
	return e ? 1 : 0;
}

/* check */

static void check_text(const struct block_check *r)
{
	if (!r->corruptions && !r->leaks && !r->check_errors) {
		printf("No errors were found on the image.\n");
	} else {
		if (r->corruptions)
			printf("\n%" PRIu64
			       " errors were found on the image.\nData may be corrupted, or "
			       "further writes to the image may corrupt it.\n",
			       r->corruptions);
		if (r->leaks)
			printf("\n%" PRIu64
			       " leaked clusters were found on the image.\nThis means waste of "
			       "disk space, but no harm to data.\n",
			       r->leaks);
		if (r->check_errors)
			printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
			       r->check_errors);
	}
	if (r->clusters)
		printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% "
		       "compressed clusters\n",
		       r->allocated, r->clusters,
		       100.0 * (double)r->allocated / (double)r->clusters,
		       r->allocated ? 100.0 * (double)r->fragmented / (double)r->allocated : 0,
		       r->allocated ? 100.0 * (double)r->compressed / (double)r->allocated : 0);
	if (r->end_offset)
		printf("Image end offset: %" PRIu64 "\n", r->end_offset);
}

/* What is zero is left out. */
static void print_count(const char *name, uint64_t n)
{
	if (n)
		printf(",\n    \"%s\": %" PRIu64, name, n);
}

static void check_json(const struct block *b, const struct block_check *r)
{
	g_autofree char *path = img_json(b->path);

	printf("{\n    \"filename\": %s,\n    \"format\": \"%s\",\n    \"check-errors\": %" PRIu64,
	       path, b->format->name, r->check_errors);
	print_count("corruptions", r->corruptions);
	print_count("leaks", r->leaks);
	print_count("corruptions-fixed", r->corruptions_fixed);
	print_count("leaks-fixed", r->leaks_fixed);
	print_count("image-end-offset", r->end_offset);
	print_count("total-clusters", r->clusters);
	print_count("allocated-clusters", r->allocated);
	print_count("fragmented-clusters", r->fragmented);
	print_count("compressed-clusters", r->compressed);
	printf("\n}\n");
}

/* 0 sound, 1 the check failed, 2 corrupt, 3 leaks, 63 the format has no check. */
static int check_status(const struct block_check *r)
{
	if (r->check_errors)
		return 1;
	if (r->corruptions > r->corruptions_fixed)
		return 2;
	return r->leaks > r->leaks_fixed ? 3 : 0;
}

/* Again after repairs, so that the figures are those of the image as it is. */
static bool check_twice(struct block *b, unsigned fix, struct block_check *r, GError **err)
{
	uint64_t corruptions, leaks;
	GString *text = r->report;

	if (!b->format->check(b, fix, r, err))
		return false;
	if (!r->corruptions_fixed && !r->leaks_fixed)
		return true;
	corruptions = r->corruptions_fixed;
	leaks = r->leaks_fixed;
	if (text)
		g_string_append_printf(text,
				       "The following inconsistencies were found and repaired:\n\n"
				       "    %" PRIu64 " leaked clusters\n    %" PRIu64
				       " corruptions\n\nDouble checking the fixed image now...\n",
				       leaks, corruptions);
	*r = (struct block_check) { .report = text };
	if (!b->format->check(b, 0, r, err))
		return false;
	r->corruptions += corruptions;
	r->leaks += leaks;
	r->corruptions_fixed = corruptions;
	r->leaks_fixed = leaks;
	return true;
}

int img_check(int argc, char **argv, GError **err)
{
	const char *format = NULL, *output = "human", *repair = NULL;
	bool quiet = false, share = false, json, ok;
	struct block_check r = { 0 };
	unsigned fix = 0;
	struct block *b;
	int c;

	while ((c = getopt_long(argc, argv, "f:qr:U", long_options, NULL)) != -1) {
		switch (c) {
		case 'f':
			format = optarg;
			break;
		case 'q':
			quiet = true;
			break;
		case 'r':
			repair = optarg;
			break;
		case 'U':
			share = true;
			break;
		case OPT_OUTPUT:
			output = optarg;
			break;
		default:
			return 1;
		}
	}
	if (repair && !strcmp(repair, "leaks"))
		fix = CHECK_FIX_LEAKS;
	else if (repair && !strcmp(repair, "all"))
		fix = CHECK_FIX_LEAKS | CHECK_FIX_ERRORS;
	else if (repair && !error(err, "-r '%s': takes leaks or all", repair))
		return 1;
	if (!img_wants_json(output, &json, err) || !one_file(argc, argv, err))
		return 1;
	b = img_open(argv[optind], format, fix != 0, true, share, err);
	if (!b)
		return 1;
	if (!b->format->check) {
		error(err, "images of format '%s' have nothing to check", b->format->name);
		block_close(b);
		return 63;
	}
	r.report = json || quiet ? NULL : g_string_new(NULL);
	ok = check_twice(b, fix, &r, err);
	if (r.report) {
		fputs(r.report->str, stdout);
		g_string_free(r.report, TRUE);
	}
	if (ok && json)
		check_json(b, &r);
	else if (ok && !quiet) {
		struct block_check left = r;

		left.corruptions -= r.corruptions_fixed;
		left.leaks -= r.leaks_fixed;
		check_text(&left);
	}
	block_close(b);
	return ok ? check_status(&r) : 1;
}

/* compare */

#define COMPARE_BYTES (2 * MIB)

/* The rest of the longer image must be zeros. */
static int rest_is_zero(struct block *b, uint64_t from, uint8_t *buf, uint64_t *at)
{
	for (uint64_t len; from < b->size; from += len) {
		int e;

		len = MIN_OF(b->size - from, (uint64_t)COMPARE_BYTES);
		e = block_is_zero(b, from, &len);
		if (e < 0)
			return e;
		if (!e) {
			e = block_read(b, from, buf, len);
			if (e)
				return e;
			for (uint64_t i = 0; i < len; i++)
				if (buf[i]) {
					*at = from + i;
					return 1;
				}
		}
		progress_add(len);
	}
	return 0;
}

/* 0 equal, 1 different at *at, <0 error. */
static int compare_images(struct block *a, struct block *b, bool strict, uint64_t *at)
{
	uint64_t common = MIN_OF(a->size, b->size);
	g_autofree uint8_t *x = g_malloc(COMPARE_BYTES), *y = g_malloc(COMPARE_BYTES);

	for (uint64_t off = 0, len; off < common; off += len) {
		uint64_t la, lb;
		int za, zb, e;

		la = lb = MIN_OF(common - off, (uint64_t)COMPARE_BYTES);
		za = block_is_zero(a, off, &la);
		zb = block_is_zero(b, off, &lb);
		if (za < 0 || zb < 0)
			return za < 0 ? za : zb;
		len = MIN_OF(la, lb);
		if (!za || !zb) {
			e = block_read(a, off, x, len);
			if (!e)
				e = block_read(b, off, y, len);
			if (e)
				return e;
			for (uint64_t i = 0; memcmp(x, y, len) && i < len; i++)
				if (x[i] != y[i]) {
					*at = off + i;
					return 1;
				}
		}
		progress_add(len);
	}
	if (a->size == b->size)
		return 0;
	*at = common;
	if (strict)
		return 1;
	return rest_is_zero(a->size > b->size ? a : b, common, x, at);
}

int img_compare(int argc, char **argv, GError **err)
{
	const char *formats[2] = { NULL, NULL };
	bool quiet = false, strict = false, progress = false, share = false;
	struct block *a, *b;
	uint64_t at = 0;
	int c, e;

	while ((c = getopt_long(argc, argv, "f:F:pqsU", long_options, NULL)) != -1) {
		switch (c) {
		case 'f':
			formats[0] = optarg;
			break;
		case 'F':
			formats[1] = optarg;
			break;
		case 'p':
			progress = true;
			break;
		case 'q':
			quiet = true;
			break;
		case 's':
			strict = true;
			break;
		case 'U':
			share = true;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 2) {
		error(err, "takes two images");
		return 2;
	}
	a = img_open(argv[optind], formats[0], false, false, share, err);
	b = a ? img_open(argv[optind + 1], formats[1], false, false, share, err) : NULL;
	if (!b) {
		block_close(a);
		return 2;
	}
	progress_start(progress && !quiet, MAX_OF(a->size, b->size));
	e = compare_images(a, b, strict, &at);
	progress_end();
	if (e < 0)
		error(err, "cannot read: %s", strerror(-e));
	else if (!quiet && e)
		printf(a->size != b->size && strict ? "Strict mode: Image size mismatch!\n"
						    : "Content mismatch at offset %" PRIu64 "!\n",
		       at);
	else if (!quiet) {
		if (a->size != b->size)
			printf("Warning: Image size mismatch!\n");
		printf("Images are identical.\n");
	}
	block_close(a);
	block_close(b);
	return e < 0 ? 2 : e;
}

/* measure */

static uint64_t clusters_in(uint64_t bytes, uint64_t cluster)
{
	return (bytes + cluster - 1) / cluster;
}

/* Guest clusters that a copy would have to hold. */
static int count_data(struct block *b, uint64_t cluster, uint64_t *n)
{
	uint64_t next = 0;

	*n = 0;
	for (uint64_t off = 0, len; off < b->size; off += len) {
		int e;

		len = b->size - off;
		e = block_is_zero(b, off, &len);
		if (e < 0)
			return e;
		if (!e) {
			uint64_t first = MAX_OF(off / cluster, next);

			next = clusters_in(off + len, cluster);
			*n += next - MIN_OF(first, next);
		}
	}
	return 0;
}

/* A qcow2 image all of whose clusters are there. */
static uint64_t qcow2_bytes(uint64_t all, uint64_t cluster, unsigned bits)
{
	uint64_t l2 = clusters_in(all, cluster / 8), l1 = clusters_in(l2 * 8, cluster);
	uint64_t used = 1 + l1 + l2 + all, blocks = 0, table = 1, before;

	do {
		before = blocks + table;
		blocks = clusters_in(used + before, cluster * 8 / bits);
		table = clusters_in(blocks * 8, cluster);
	} while (blocks + table != before);
	return (used + blocks + table) * cluster;
}

int img_measure(int argc, char **argv, GError **err)
{
	const char *format = NULL, *to = "raw", *output = "human", *options = NULL, *size = NULL;
	struct block_create_options o = { 0 };
	uint64_t required, full, data, cluster;
	struct block *b = NULL;
	bool json, share = false;
	unsigned bits;
	int c, e = 0;

	while ((c = getopt_long(argc, argv, "f:O:o:U", long_options, NULL)) != -1) {
		switch (c) {
		case 'f':
			format = optarg;
			break;
		case 'O':
			to = optarg;
			break;
		case 'o':
			options = optarg;
			break;
		case 'U':
			share = true;
			break;
		case OPT_SIZE:
			size = optarg;
			break;
		case OPT_OUTPUT:
			output = optarg;
			break;
		default:
			return 1;
		}
	}
	if (!img_wants_json(output, &json, err) ||
	    (options && !img_create_options(options, &o, err)))
		return 1;
	if (strcmp(to, "raw") && strcmp(to, "qcow2") &&
	    !error(err, "images of format '%s' cannot be measured", to))
		return 1;
	if (size ? !img_size(size, &o.size, err) : !one_file(argc, argv, err))
		return 1;
	if (!size) {
		b = img_open(argv[optind], format, false, false, share, err);
		if (!b)
			return 1;
		o.size = b->size;
	}
	cluster = o.cluster_size ? o.cluster_size : 65536;
	bits = o.refcount_bits ? o.refcount_bits : 16;
	if (!strcmp(to, "raw")) {
		data = o.size;
		if (b)
			e = count_data(b, BLOCK_SECTOR, &data);
		required = b ? data * BLOCK_SECTOR : o.size;
		full = o.size;
	} else {
		uint64_t all = clusters_in(o.size, cluster);

		data = 0;
		if (b)
			e = count_data(b, cluster, &data);
		if (o.preallocation && strcmp(o.preallocation, "off"))
			data = all;
		/* Less would do for the tables of a part, but which part is not known. */
		full = qcow2_bytes(all, cluster, bits);
		required = full - (all - data) * cluster;
	}
	block_close(b);
	if (e) {
		error(err, "cannot read the map: %s", strerror(-e));
		return 1;
	}
	printf(json ? "{\n    \"required\": %" PRIu64 ",\n    \"fully-allocated\": %" PRIu64 "\n}\n"
		    : "required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n",
	       required, full);
	return 0;
}
