/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/mman.h>
#include <unistd.h>

#include "accel/tcg/prefault.h"
#include "tests/lib/test.h"

#define PAGES 64

static size_t page;

static uint8_t *map(size_t pages)
{
	void *p = mmap(NULL, pages * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(p != MAP_FAILED && !madvise(p, pages * page, MADV_NOHUGEPAGE));
	return p;
}

static bool is_there(uint8_t *arena, size_t n)
{
	unsigned char resident;

	CHECK(!mincore(arena + n * page, page, &resident));
	return resident & 1;
}

static void wait_for(uint8_t *arena, size_t n)
{
	for (unsigned ms = 0; !is_there(arena, n); ms++) {
		CHECK(ms < 20000);
		usleep(1000);
	}
}

TEST(arenas_are_kept_ahead_by_twice_what_they_grew)
{
	struct prefault *p = prefault_new();
	uint8_t *a, *b, *probe;

	page = (size_t)sysconf(_SC_PAGESIZE);
	probe = map(1);
	if (madvise(probe, page, MADV_POPULATE_WRITE))
		test_skip("this host's kernel has no MADV_POPULATE_WRITE");
	CHECK(p);
	a = map(PAGES);
	b = map(PAGES);
	prefault_add(p, a, PAGES * page);
	/* The page behind the arena's end stays as it is. */
	prefault_add(p, b, (PAGES - 1) * page);

	prefault_used(p, (size_t[]) { 0, 2 * page + 1 });
	wait_for(b, 6);
	CHECK(is_there(b, 3) && !is_there(b, 2) && !is_there(b, 7));
	CHECK(!is_there(a, 0));

	/* What is there remains, and what has come otherwise is left alone. */
	a[0] = 1;
	b[4 * page] = 2;
	prefault_used(p, (size_t[]) { page, 20 * page });
	wait_for(b, 55);
	CHECK(is_there(a, 1) && is_there(a, 2) && !is_there(a, 3));
	CHECK(a[0] == 1 && b[4 * page] == 2 && b[7 * page] == 0 && !is_there(b, 56));

	/* Shrinking asks for nothing: b, which comes after a, is done. */
	prefault_used(p, (size_t[]) { 0, 60 * page });
	wait_for(b, PAGES - 2);
	CHECK(!is_there(a, 3));

	prefault_used(p, (size_t[]) { 3 * page, 0 });
	wait_for(a, 6);
	prefault_free(p);
	CHECK(!is_there(b, PAGES - 1) && !is_there(a, 7));
}

TEST(without_a_thread_nothing_is_asked)
{
	prefault_add(NULL, NULL, 0);
	prefault_used(NULL, NULL);
	prefault_free(NULL);
}
