/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images against a plain copy of the disk in memory: random writes, zeros, discards, flushes,
 * snapshots and reopenings, from several threads too. In between the image is checked, by us and by
 * qemu-img where it is installed, which also says what a guest would read.
 */
#include "block/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/lib/test.h"

static char *folder;

static char *in_folder(const char *name)
{
	if (!folder)
		folder = g_dir_make_tmp("moa-block-XXXXXX", NULL);
	return g_build_filename(folder, name, NULL);
}

static void remove_folder(void)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", folder);

	CHECK(system(command) == 0);
	folder = NULL;
}

static void no_error(GError *err)
{
	if (err)
		test_fail(__FILE__, __LINE__, "%s", err->message);
}

static struct block *open_image(const char *path, const char *format)
{
	struct block_options o = { .label = "test", .format = format, .discard = true };
	GError *err = NULL;
	struct block *b = block_open(path, &o, &err);

	no_error(err);
	return b;
}

static bool have_qemu_img(void)
{
	static int have = -1;

	if (have < 0)
		have = !system("qemu-img --version >/dev/null 2>&1");
	return have;
}

static void qemu_img(const char *fmt, ...)
{
	g_autofree char *command = NULL, *line = NULL;
	va_list ap;

	if (!have_qemu_img())
		return;
	va_start(ap, fmt);
	line = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	command = g_strdup_printf("qemu-img %s >'%s/out' 2>&1 || { cat '%s/out' >&2; false; }",
				  line, folder, folder);
	if (system(command))
		test_fail(__FILE__, __LINE__, "qemu-img %s", line);
}

struct model {
	struct block *b;
	uint8_t *disk;
	uint64_t size;
	const char *path, *format;
};

static uint64_t random_place(struct model *m, uint64_t *len)
{
	uint64_t off = test_random() % m->size;
	uint64_t most = test_random() % 4 ? UINT64_C(12288) : 600000;

	/* Often near the last place, and often aligned. */
	if (test_random() % 2)
		off = align_down(off, 4096);
	off = align_down(off, BLOCK_SECTOR);
	*len = align_up(1 + test_random() % most, BLOCK_SECTOR);
	*len = MIN_OF(*len, m->size - off);
	return off;
}

static void write_some(struct model *m)
{
	struct iovec iov[3];
	uint64_t len, off = random_place(m, &len), cut = len / 3;
	uint8_t *data = g_malloc(len);

	for (uint64_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i % 512 ? data[i - 1] + 1u : test_random());
	iov[0] = (struct iovec) { data, cut };
	iov[1] = (struct iovec) { data + cut, cut };
	iov[2] = (struct iovec) { data + 2 * cut, len - 2 * cut };
	CHECK(block_writev(m->b, off, iov, 3) == 0);
	memcpy(m->disk + off, data, len);
	g_free(data);
}

static void zero_some(struct model *m)
{
	uint64_t len, off = random_place(m, &len);

	CHECK(block_write_zeroes(m->b, off, len, test_random() % 2) == 0);
	memset(m->disk + off, 0, len);
}

/* Whole clusters become zeros, and nothing else changes. */
static void discard_some(struct model *m)
{
	uint64_t len, off = random_place(m, &len);
	uint8_t *now;

	CHECK(block_discard(m->b, off, len) == 0);
	now = g_malloc(len);
	CHECK(block_read(m->b, off, now, len) == 0);
	for (uint64_t i = 0; i < len; i++)
		if (now[i] != m->disk[off + i])
			CHECK(now[i] == 0);
	memcpy(m->disk + off, now, len);
	g_free(now);
}

static void compare_all(struct model *m)
{
	uint8_t *now = g_malloc(m->size);

	CHECK(block_read(m->b, 0, now, m->size) == 0);
	for (uint64_t i = 0; i < m->size; i++)
		if (now[i] != m->disk[i])
			test_fail(__FILE__, __LINE__, "byte %lu is %02x, not %02x",
				  (unsigned long)i, now[i], m->disk[i]);
	g_free(now);
}

static void check_image(struct model *m)
{
	struct block_check r = { .report = g_string_new(NULL) };
	GError *err = NULL;

	if (!m->b->format->check)
		return;
	CHECK(block_flush(m->b) == 0);
	CHECK(m->b->format->check(m->b, 0, &r, &err));
	no_error(err);
	if (r.corruptions || r.leaks)
		test_fail(__FILE__, __LINE__, "%lu corruptions, %lu leaks: %s",
			  (unsigned long)r.corruptions, (unsigned long)r.leaks, r.report->str);
	g_string_free(r.report, TRUE);
}

static void reopen(struct model *m)
{
	g_autofree char *raw = in_folder("model.raw");

	block_close(m->b);
	/* qemu-img knows no cow files. */
	if (strcmp(m->format, "cow") && test_random() % 4 == 0) {
		if (!strcmp(m->format, "qcow2"))
			qemu_img("check -f %s '%s'", m->format, m->path);
		CHECK(g_file_set_contents(raw, (char *)m->disk, (gssize)m->size, NULL));
		qemu_img("compare -f raw -F %s '%s' '%s'", m->format, raw, m->path);
	}
	m->b = open_image(m->path, m->format);
	CHECK(m->b->size == m->size);
}

static void play(struct model *m, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		switch (test_random() % 16) {
		case 0:
			zero_some(m);
			break;
		case 1:
			discard_some(m);
			break;
		case 2:
			CHECK(block_flush(m->b) == 0);
			break;
		case 3:
			if (test_random() % 6 == 0)
				reopen(m);
			break;
		default:
			write_some(m);
			break;
		}
	}
	compare_all(m);
	check_image(m);
}

static void make(struct model *m, const char *format, const char *name, uint64_t size,
		 const struct block_create_options *options)
{
	struct block_create_options o = *options;
	GError *err = NULL;

	o.size = size;
	m->path = in_folder(name);
	m->format = format;
	m->size = size;
	m->disk = g_malloc0(size);
	block_create(format, m->path, &o, &err);
	no_error(err);
	m->b = open_image(m->path, format);
	CHECK(m->b->size == size);
}

static void finish_without_oracle(struct model *m)
{
	reopen(m);
	compare_all(m);
	block_close(m->b);
	g_free(m->disk);
}

static void finish(struct model *m)
{
	reopen(m);
	compare_all(m);
	block_close(m->b);
	g_free(m->disk);
}

static const struct block_create_options layouts[] = {
	{ 0 },
	{ .cluster_size = 512 },
	{ .cluster_size = 4096, .refcount_bits = 1 },
	{ .cluster_size = 4096, .refcount_bits = 8, .lazy_refcounts = true },
	{ .cluster_size = 2 * MIB, .refcount_bits = 64 },
	{ .compat = "0.10", .cluster_size = 8192 },
	{ .preallocation = "metadata", .cluster_size = 16384 },
	{ .preallocation = "full" },
	{ .compression = "zstd", .refcount_bits = 32 },
};

TEST(raw_images_hold_what_is_written)
{
	struct model m;

	make(&m, "raw", "raw", 3 * MIB + 512, &layouts[0]);
	play(&m, 400);
	finish(&m);
	remove_folder();
}

TEST(qcow2_images_hold_what_is_written)
{
	for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
		struct model m;

		make(&m, "qcow2", "image", 5 * MIB + 1024, &layouts[i]);
		play(&m, 400);
		finish(&m);
	}
	remove_folder();
}

TEST(overlays_show_what_they_do_not_have)
{
	struct block_create_options o = { .backing_file = "base", .backing_format = "qcow2" };
	static const char *const versions[] = { "1.1", "0.10" };

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct model base, top;

		make(&base, "qcow2", "base", 3 * MIB, &layouts[0]);
		play(&base, 40);
		block_close(base.b);
		o.compat = versions[i];
		o.cluster_size = i ? 4096 : 65536;
		make(&top, "qcow2", "top", 4 * MIB, &o);
		memcpy(top.disk, base.disk, base.size);
		compare_all(&top);
		play(&top, 200);
		finish(&top);
		base.b = open_image(base.path, "qcow2");
		compare_all(&base);
		finish(&base);
	}
	remove_folder();
}

TEST(cow_files_hold_what_is_written)
{
	struct block_create_options o = { .backing_file = "base", .backing_format = "raw" };
	struct model base, top;
	GError *err = NULL;

	make(&base, "raw", "base", 3 * MIB + 512, &layouts[0]);
	play(&base, 40);
	block_close(base.b);
	make(&top, "cow", "top", 3 * MIB + 512, &o);
	memcpy(top.disk, base.disk, base.size);
	compare_all(&top);
	play(&top, 300);
	finish_without_oracle(&top);
	/* Another file than the one it was made for. */
	base.b = open_image(base.path, "raw");
	CHECK(block_write(base.b, 0, "changed", 7) == 0);
	block_close(base.b);
	CHECK(utimes(base.path, (struct timeval[]) { { 1000, 0 }, { 1000, 0 } }) == 0);
	CHECK(!block_open(top.path, &(struct block_options) { .label = "drive", .format = "cow" },
			  &err));
	CHECK_HAS(err->message, "was changed at 1000");
	g_free(base.disk);
	remove_folder();
}

TEST(snapshots_keep_the_disk_as_it_was)
{
	uint8_t *kept[4] = { NULL };
	GError *err = NULL;
	struct model m;

	make(&m, "qcow2", "snapshots", 3 * MIB,
	     &(struct block_create_options) { .cluster_size = 8192 });
	for (unsigned i = 0; i < 40; i++) {
		unsigned n = (unsigned)(test_random() % ARRAY_LEN(kept));
		g_autofree char *name = g_strdup_printf("s%u", n);

		play(&m, 12);
		if (!kept[n]) {
			m.b->format->snapshot_create(m.b, name, &err);
			kept[n] = g_memdup2(m.disk, m.size);
		} else if (test_random() % 2) {
			m.b->format->snapshot_apply(m.b, name, &err);
			memcpy(m.disk, kept[n], m.size);
		} else {
			m.b->format->snapshot_delete(m.b, name, &err);
			g_clear_pointer(&kept[n], g_free);
		}
		no_error(err);
		compare_all(&m);
		check_image(&m);
	}
	finish(&m);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		g_free(kept[i]);
	remove_folder();
}

TEST(images_grow_and_shrink)
{
	GError *err = NULL;
	struct model m;

	make(&m, "qcow2", "resized", 2 * MIB + 512, &layouts[1]);
	for (unsigned i = 0; i < 12; i++) {
		uint64_t size = align_up(1 + test_random() % (8 * MIB), BLOCK_SECTOR);

		play(&m, 20);
		block_resize(m.b, size, &err);
		no_error(err);
		m.disk = g_realloc(m.disk, size);
		if (size > m.size)
			memset(m.disk + m.size, 0, size - m.size);
		m.size = size;
		compare_all(&m);
		check_image(&m);
	}
	finish(&m);
	remove_folder();
}

#define WRITERS 4
#define EACH (2 * MIB)

static void *writer(void *opaque)
{
	struct model *m = opaque;
	static unsigned number;
	uint64_t base = __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED) % WRITERS * 512;
	uint8_t buf[512];
	uint64_t state = base + 1;

	/* Neighbouring sectors of the same clusters. */
	for (unsigned i = 0; i < 500; i++) {
		uint64_t off;

		state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
		off = (state >> 33) % (EACH / (WRITERS * 512)) * (WRITERS * 512) + base;
		memset(buf, (int)(state >> 56), sizeof(buf));
		if (block_write(m->b, off, buf, sizeof(buf)))
			abort();
		memcpy(m->disk + off, buf, sizeof(buf));
		if (i % 64 == 0 && block_flush(m->b))
			abort();
	}
	return NULL;
}

TEST(writes_from_several_threads_do_not_lose_each_other)
{
	pthread_t threads[WRITERS];
	struct model m;

	make(&m, "qcow2", "threads", EACH, &(struct block_create_options) { .cluster_size = 4096 });
	for (unsigned i = 0; i < WRITERS; i++)
		CHECK(pthread_create(&threads[i], NULL, writer, &m) == 0);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	compare_all(&m);
	check_image(&m);
	finish(&m);
	remove_folder();
}

TEST(two_writers_of_one_image_are_told_of_each_other)
{
	struct block_options o = { .label = "drive 'b'", .format = "qcow2" };
	GError *err = NULL;
	struct model m;

	make(&m, "qcow2", "locked", MIB, &layouts[0]);
	CHECK(!block_open(m.path, &o, &err));
	CHECK_HAS(err->message, "in use by");
	g_clear_error(&err);
	o.read_only = true;
	CHECK(!block_open(m.path, &o, &err));
	g_clear_error(&err);
	o.share = true;
	block_close(block_open(m.path, &o, &err));
	no_error(err);
	finish(&m);
	remove_folder();
}
