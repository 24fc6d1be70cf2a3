/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Damaged and hostile images: sound ones of every format with bytes changed, cut or moved. Opening
 * one may fail with a reason; reading, writing, checking and repairing what did open may fail, and
 * may not crash, hang, or grow without bounds.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "block/block.h"
#include "tests/lib/test.h"

static char *folder, *image_path;
static const char *format;

static struct block *open_image(bool writable)
{
	struct block_options o = { .label = "fuzz",
				   .format = format,
				   .read_only = !writable,
				   .share = true,
				   .discard = true,
				   .force_dirty = test_below(2) };

	return block_open(image_path, &o, NULL);
}

/* A small image with everything in it: data, zeros, compressed clusters, a snapshot. */
static void make_sound_qcow2(gchar **data, gsize *len)
{
	struct block_create_options o = { .size = MIB, .cluster_size = 512u << test_below(4) };
	uint8_t buf[8192];
	struct block *b;

	o.compat = test_below(4) ? "1.1" : "0.10";
	CHECK(block_create("qcow2", image_path, &o, NULL));
	b = open_image(true);
	CHECK(b);
	for (unsigned i = 0; i < 30; i++) {
		uint64_t off = test_below(MIB / 512 - 16) * 512;

		memset(buf, (int)i, sizeof(buf));
		block_write(b, off, buf, 512 * (1 + test_below(16)));
		if (i == 10)
			b->format->snapshot_create(b, "one", NULL);
		if (i % 5 == 0)
			block_write_zeroes(b, off, 4096, true);
		if (i % 7 == 0)
			b->format->write_compressed(b, align_down(off, b->cluster), buf,
						    b->cluster);
	}
	block_close(b);
	CHECK(g_file_get_contents(image_path, data, len, NULL));
}

static void make_sound_cow(gchar **data, gsize *len)
{
	g_autofree char *base = g_build_filename(folder, "base", NULL);
	struct block_create_options o = { .backing_file = base };
	uint8_t buf[8192];
	struct block *b;

	memset(buf, 7, sizeof(buf));
	CHECK(g_file_set_contents(base, (char *)buf, sizeof(buf), NULL));
	CHECK(truncate(base, MIB) == 0);
	CHECK(block_create("cow", image_path, &o, NULL));
	b = open_image(true);
	CHECK(b);
	for (unsigned i = 0; i < 30; i++)
		block_write(b, test_below(MIB / 512 - 16) * 512, buf, 512 * (1 + test_below(16)));
	block_close(b);
	CHECK(g_file_get_contents(image_path, data, len, NULL));
}

static void damage(uint8_t *p, size_t len)
{
	unsigned n = 1 + test_below(4);

	while (n--) {
		/* Mostly where the structure is. */
		size_t at = test_below(2) ? test_below(120)
					  : test_below((uint32_t)MIN_OF(len, (size_t)16384));

		switch (test_below(4)) {
		case 0:
			p[at] ^= (uint8_t)BIT(test_below(8));
			break;
		case 1:
			p[at] = (uint8_t)test_random();
			break;
		case 2: /* a wild number */
			store_le(p + MIN_OF(at, len - 8), test_random() >> test_below(64), 8);
			break;
		default: /* another place's bytes */
			memmove(p + MIN_OF(at, len - 64), p + test_below((uint32_t)len - 64),
				8u << test_below(4));
		}
	}
}

static void use(struct block *b)
{
	struct block_check r = { 0 };
	uint8_t buf[16384];

	if (!b)
		return;
	for (unsigned i = 0; i < 12 && b->size; i++) {
		uint64_t len = 512 * (1 + test_below(32)), off;

		len = MIN_OF(len, b->size);
		off = test_random() % (b->size - len + 1);
		if (test_below(2))
			off = MIN_OF(test_below(MIB), b->size - len);
		memset(buf, (int)i, sizeof(buf));
		switch (b->options.read_only ? 0 : test_below(5)) {
		case 0:
		case 1:
			block_read(b, off, buf, len);
			break;
		case 2:
			block_write(b, off, buf, len);
			break;
		case 3:
			block_write_zeroes(b, off, len, true);
			break;
		default:
			block_discard(b, off, len);
		}
	}
	if (!b->options.read_only && b->format->snapshot_create && test_below(3) == 0) {
		b->format->snapshot_create(b, "two", NULL);
		b->format->snapshot_apply(b, "1", NULL);
		b->format->snapshot_delete(b, "1", NULL);
	}
	if (b->format->check)
		b->format->check(b, b->options.read_only ? 0 : test_below(4), &r, NULL);
	block_close(b);
}

static void fuzz(const char *name, void (*make)(gchar **data, gsize *len))
{
	const char *seconds = getenv("MOA_FUZZ_SECONDS"), *seed = getenv("MOA_FUZZ_SEED");
	time_t end = time(NULL) + (seconds ? atol(seconds) : 0);
	g_autofree char *command = NULL;
	gchar *sound = NULL;
	gsize len = 0;

	format = name;
	folder = g_dir_make_tmp("moa-images-XXXXXX", NULL);
	image_path = g_build_filename(folder, "image", NULL);
	if (seed)
		test_seed(strtoull(seed, NULL, 0));
	if (seconds)
		alarm(0);
	for (uint64_t i = 0; seconds ? time(NULL) < end : i < 1000; i++) {
		uint8_t *copy;
		gsize cut;
		struct stat st;

		if (i % 100 == 0) {
			g_free(sound);
			make(&sound, &len);
		}
		copy = g_memdup2(sound, len);
		damage(copy, len);
		cut = test_below(8) ? len : test_below((uint32_t)len);
		CHECK(g_file_set_contents(image_path, (char *)copy, (gssize)cut, NULL));
		g_free(copy);
		use(open_image(test_below(2)));
		/* A number in the file may not make it use up the host's disk. */
		CHECK(stat(image_path, &st) == 0 && (uint64_t)st.st_blocks * 512 < 64 * MIB);
	}
	command = g_strdup_printf("rm -rf '%s'", folder);
	CHECK(system(command) == 0);
}

TEST(damaged_qcow2_images)
{
	fuzz("qcow2", make_sound_qcow2);
}

TEST(damaged_cow_images)
{
	fuzz("cow", make_sound_cow);
}
