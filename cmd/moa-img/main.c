/* SPDX-License-Identifier: GPL-2.0-or-later */
/* moa-img: makes, looks at and changes disk images. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/moa-img/img.h"
#include "config.h"
#include "core/field.h"
#include "core/options.h"

/* clang-format off */
static const struct img_command commands[] = {
	{ "bench", "[-f FMT] [-c COUNT] [-s BYTES] [-w] FILE", "time requests", img_bench },
	{ "check", "[-q] [-f FMT] [--output=OFMT] [-r leaks|all] FILE", "find and mend damage", img_check },
	{ "commit", "[-q] [-f FMT] [-d] [-p] FILE", "write an overlay into its backing image", img_commit },
	{ "compare", "[-f FMT] [-F FMT] [-p] [-q] [-s] FILE1 FILE2", "whether guests see the same", img_compare },
	{ "convert", "[-c] [-p] [-q] [-n] [-f FMT] [-l SNAPSHOT] [-O FMT] [-m N] [-W] [-t CACHE] [-T CACHE] [-o OPTIONS] [-S BYTES] FILE [...] OUT", "copy into another format", img_convert },
	{ "create", "[-q] [-f FMT] [-b FILE [-F FMT]] [-u] [-o OPTIONS] FILE [SIZE]", "make an image", img_create },
	{ "info", "[-f FMT] [--output=OFMT] [--backing-chain] [-U] FILE", "what an image is", img_info },
	{ "map", "[-f FMT] [--output=OFMT] [-U] FILE", "where its data lie", img_map },
	{ "measure", "[-f FMT] [-O FMT] [-o OPTIONS] [--output=OFMT] [--size N | FILE]", "how large a copy becomes", img_measure },
	{ "nbd", "[-f FMT] [-k SOCKET | -b ADDRESS -p PORT] [-r] [-t] [-e CLIENTS] [-x NAME] FILE", "serve an image as a network block device", img_nbd },
	{ "rebase", "[-q] [-f FMT] [-p] [-u] -b FILE [-F FMT] FILE", "give it another backing image", img_rebase },
	{ "resize", "[-q] [-f FMT] [--shrink] FILE [+|-]SIZE", "change its size", img_resize },
	{ "snapshot", "[-q] [-f FMT] -l | -a NAME | -c NAME | -d NAME FILE", "internal snapshots", img_snapshot },
};
/* clang-format on */

struct block *img_open(const char *path, const char *format, bool writable, bool no_backing,
		       bool share, GError **err)
{
	struct block_options o = { .label = "moa-img",
				   .format = format,
				   .read_only = !writable,
				   .no_backing = no_backing,
				   .share = share,
				   .discard = true,
				   .force_dirty = no_backing };

	return block_open(path, &o, err);
}

bool img_size(const char *text, uint64_t *size, GError **err)
{
	if (!parse_size(text, 1, size) || *size > BLOCK_MOST_BYTES)
		return error(err, "'%s' is not a size: take bytes, or a number with K, M, G, T",
			     text);
	return true;
}

static bool take_size(struct optlist *l, const char *key, uint64_t *value, GError **err)
{
	const char *text = optlist_get(l, key);

	return !text || img_size(text, value, err);
}

bool img_create_options(const char *text, struct block_create_options *o, GError **err)
{
	struct optlist *l = optlist_parse("-o", text, NULL);
	uint64_t bits = o->refcount_bits;
	unsigned fingerprint = o->fingerprint;
	const struct {
		const char *key, **to;
	} strings[] = { { "backing_file", &o->backing_file },
			{ "backing_fmt", &o->backing_format },
			{ "preallocation", &o->preallocation },
			{ "compat", &o->compat },
			{ "compression_type", &o->compression } };
	bool ok;

	for (size_t i = 0; i < ARRAY_LEN(strings); i++)
		if (optlist_get(l, strings[i].key))
			*strings[i].to = g_intern_string(optlist_get(l, strings[i].key));
	ok = take_size(l, "size", &o->size, err) &&
	     take_size(l, "cluster_size", &o->cluster_size, err) &&
	     optlist_uint(l, "refcount_bits", 1, 64, &bits, err) &&
	     optlist_bool(l, "lazy_refcounts", &o->lazy_refcounts, err) &&
	     optlist_enum(l, "backing_fingerprint", fingerprint_names, &fingerprint, err) &&
	     optlist_finish(l, err);
	o->refcount_bits = (unsigned)bits;
	o->fingerprint = (enum fingerprint_kind)fingerprint;
	optlist_free(l);
	return ok;
}

char *img_bytes(uint64_t n)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)n;
	unsigned u = 0;

	while (v >= 1000 && u + 1 < ARRAY_LEN(units)) {
		v /= 1024;
		u++;
	}
	return g_strdup_printf("%.3g %s", v, units[u]);
}

char *img_json(const char *text)
{
	GString *s = g_string_new("\"");

	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			g_string_append_printf(s, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			g_string_append_printf(s, "\\u%04x", (unsigned char)*text);
		else
			g_string_append_c(s, *text);
	}
	g_string_append_c(s, '"');
	return g_string_free(s, FALSE);
}

bool img_wants_json(const char *output, bool *json, GError **err)
{
	*json = !strcmp(output, "json");
	return *json || !strcmp(output, "human") ||
	       error(err, "--output=%s: takes human or json", output);
}

/* The progress bar: a number on the terminal, as qemu-img's. */

static struct {
	bool shown;
	uint64_t total, done;
	int last; /* hundredths of a percent */
} progress;

void progress_start(bool shown, uint64_t total)
{
	progress.shown = shown;
	progress.total = total;
	progress.done = 0;
	progress.last = -1;
	progress_add(0);
}

void progress_add(uint64_t done)
{
	int now;

	progress.done += done;
	now = progress.total ? (int)(10000.0 * (double)progress.done / (double)progress.total)
			     : 10000;
	if (!progress.shown || now == progress.last)
		return;
	progress.last = now;
	printf("    (%d.%02d/100%%)\r", now / 100, now % 100);
	fflush(stdout);
}

void progress_end(void)
{
	if (progress.shown)
		printf("    (100.00/100%%)\n");
	progress.shown = false;
}

static int usage(FILE *to)
{
	fprintf(to, "moa-img " MOA_VERSION ", disk images\nUsage: moa-img COMMAND ...\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(to, "  %s %s\n        %s\n", commands[i].name, commands[i].args,
			commands[i].help);
	fprintf(to, "Formats:");
	for (const struct block_format *const *f = block_formats; *f; f++)
		fprintf(to, " %s", (*f)->name);
	fprintf(to, "\nOptions of -o: backing_file, backing_fingerprint, backing_fmt, "
		    "cluster_size, compat, "
		    "compression_type,\n  lazy_refcounts, preallocation, refcount_bits, size\n");
	return to == stderr;
}

int main(int argc, char **argv)
{
	const char *names[ARRAY_LEN(commands) + 1] = { NULL }, *near;
	GError *err = NULL;

	if (argc < 2)
		return usage(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return usage(stdout);
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("moa-img version " MOA_VERSION "\n");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		int status;

		names[i] = commands[i].name;
		if (strcmp(argv[1], commands[i].name))
			continue;
		status = commands[i].run(argc - 1, argv + 1, &err);
		if (err)
			fprintf(stderr, "moa-img: %s: %s\n", argv[1], err->message);
		return err && !status ? 1 : status;
	}
	near = nearest_name(argv[1], names);
	fprintf(stderr, "moa-img: no command '%s'%s%s%s\n", argv[1],
		near ? "; did you mean '" : "; see moa-img --help", near ? near : "",
		near ? "'?" : "");
	return 1;
}
