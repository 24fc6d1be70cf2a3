/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 9P messages of every type with random contents. Nothing may stop the process, and nothing outside
 * of the folder may change or be read.
 */
#include "fs/p9.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/test.h"

static char base[64];

static size_t put_string(uint8_t *p)
{
	static const char *const names[] = { "a",
					     "b",
					     "dir",
					     "..",
					     ".",
					     "",
					     "/",
					     "../out",
					     "../../etc/passwd",
					     "leak",
					     "away",
					     "secret",
					     "user.x",
					     "user.virtfs.mode",
					     "9P2000.L" };
	const char *s = names[test_below(ARRAY_LEN(names))];
	size_t n = strlen(s);

	store_le(p, test_below(30) ? n : (uint32_t)test_random(), 2);
	memcpy(p + 2, s, n);
	return n + 2;
}

/* Numbers and strings in the order of some message, mostly. */
static size_t fill(uint8_t *m)
{
	static const char *const shapes[] = {
		[8] = "f",	    [12] = "fo",      [14] = "fsooo",  [16] = "fsso",
		[18] = "fsoooo",    [20] = "ffs",     [22] = "f",      [24] = "fq",
		[26] = "foooqqqqq", [30] = "ffs",     [32] = "fsqo",   [40] = "fqo",
		[50] = "f",	    [52] = "fboqqos", [54] = "fbqqos", [70] = "ffs",
		[72] = "fsoo",	    [74] = "fsfs",    [76] = "fso",    [100] = "ms",
		[102] = "fsso",	    [104] = "fnsso",  [108] = "2",     [110] = "ffwsss",
		[116] = "fqo",	    [118] = "fqo.",   [120] = "f",     [122] = "f"
	};
	unsigned type = test_below(123);
	size_t at = 7;

	while ((!shapes[type] || type == 100) && test_below(8))
		type = test_below(123);
	for (const char *c = shapes[type] ? shapes[type] : "oooo"; *c; c++) {
		uint64_t v = test_below(4) ? test_below(16) : test_random() >> test_below(64);

		switch (*c) {
		case 'f':
			v = test_below(20) ? test_below(8) : v;
			/* fallthrough */
		case 'o':
			store_le(m + at, test_below(3) ? v & 0x3ff : v, 4);
			at += 4;
			break;
		case 'n':
			store_le(m + at, UINT32_MAX, 4);
			at += 4;
			break;
		case 'm':
			store_le(m + at, test_below(5) ? 8192 : v, 4);
			at += 4;
			break;
		case 'q':
			store_le(m + at, v, 8);
			at += 8;
			break;
		case 'b':
			m[at++] = (uint8_t)v;
			break;
		case 'w':
			store_le(m + at, test_below(9) ? test_below(4) : v, 2);
			at += 2;
			break;
		case '2':
			store_le(m + at, v, 2);
			at += 2;
			break;
		case 's':
			at += put_string(m + at);
			break;
		default:
			at += test_below(100);
		}
	}
	if (!test_below(20))
		at = test_below((uint32_t)at + 1);
	store_le(m, test_below(30) ? at : (uint32_t)test_random(), 4);
	m[4] = (uint8_t)type;
	store_le(m + 5, test_below(4), 2);
	return at;
}

static void run(const char *text)
{
	if (system(text))
		test_fail(__FILE__, __LINE__, "%s", text);
}

TEST(p9_messages_at_random)
{
	const char *seconds = getenv("MOA_FUZZ_SECONDS"), *seed = getenv("MOA_FUZZ_SEED");
	time_t end = time(NULL) + (seconds ? atol(seconds) : 0);
	g_autofree char *text = NULL, *secret = NULL;
	static struct p9_saved saved;
	static uint8_t out[4096], in[16384];
	struct p9_server *s;
	uint64_t good = 0;

	strcpy(base, "/tmp/moa-fuzz-9p-XXXXXX");
	CHECK(mkdtemp(base));
	text = g_strdup_printf("mkdir -p %s/in/dir %s/out; echo secret >%s/out/secret; chmod 640 "
			       "%s/out/secret; ln -s ../out/secret %s/in/leak; ln -s ../out "
			       "%s/in/away",
			       base, base, base, base, base, base);
	run(text);
	g_free(text);
	text = g_strdup_printf("local,id=f,path=%s/in,security_model=none", base);
	CHECK(folder_new("-fsdev", text, NULL));
	if (seed)
		test_seed(strtoull(seed, NULL, 0));
	if (seconds)
		alarm(0);
	s = p9_new(folder_find("f"));
	for (uint64_t i = 0; seconds ? time(NULL) < end : i < 200000; i++) {
		size_t n = fill(out), room = test_below(20) ? sizeof(in) : test_below(64),
		       cut = n / 2;
		struct iovec iov[2] = { { out, cut }, { out + cut, n - cut } };
		size_t len = p9_handle(s, iov, 2, &(struct iovec) { in, room }, 1);

		CHECK(len <= room);
		good += len && in[4] != 7;
		/* Files must not fill the host's disk. */
		if (i % 5000 == 4999) {
			p9_save(s, &saved);
			CHECK(p9_load(s, &saved));
			p9_reset(s);
			g_free(text);
			text = g_strdup_printf(
				"find %s/in -mindepth 1 -delete; mkdir %s/in/dir; ln -s "
				"../out/secret %s/in/leak; ln -s ../out %s/in/away",
				base, base, base, base);
			run(text);
		}
	}
	p9_free(s);
	CHECK(good > 1000);
	secret = g_strdup_printf(
		"test \"$(cat %s/out/secret)\" = secret && test $(ls %s/out | wc -l) "
		"= 1 && test \"$(stat -c %%a %s/out/secret)\" = 640",
		base, base, base);
	run(secret);
	g_free(text);
	text = g_strdup_printf("rm -rf %s", base);
	run(text);
}
