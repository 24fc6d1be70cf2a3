/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RAM blocks and their dirty bitmaps: see memory.h. Bits are set from any thread, without a lock.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/error.h"
#include "core/memory.h"

#define LARGE_PAGE (2 * MIB)

static size_t bitmap_words(const struct ram_block *b)
{
	return (size_t)((b->size >> PAGE_BITS) + 63) / 64;
}

struct ram_block *ram_new(const char *name, uint64_t size, GError **err)
{
	struct ram_block *b;
	uint64_t mapped = align_up(size, PAGE_SIZE_4K), slack = LARGE_PAGE;
	uint8_t *p, *aligned;

	p = mmap(NULL, mapped + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		 0);
	if (p == MAP_FAILED) {
		error(err, "memory '%s': the host cannot map %" G_GUINT64_FORMAT " bytes: %s", name,
		      size, strerror(errno));
		return NULL;
	}
	/* The low 21 bits of guest and host addresses agree, so that the host can use large pages.
	 */
	aligned = (uint8_t *)align_up((uintptr_t)p, LARGE_PAGE);
	if (aligned > p)
		munmap(p, (size_t)(aligned - p));
	munmap(aligned + mapped, (size_t)(p + mapped + slack - (aligned + mapped)));
	if (mprotect(aligned, mapped, PROT_READ | PROT_WRITE)) {
		munmap(aligned, mapped);
		error(err, "memory '%s': the host refuses %" G_GUINT64_FORMAT " bytes: %s", name,
		      size, strerror(errno));
		return NULL;
	}
	madvise(aligned, mapped, MADV_HUGEPAGE);
	madvise(aligned, mapped, MADV_DONTFORK);
	b = g_new0(struct ram_block, 1);
	b->name = g_strdup(name);
	b->host = aligned;
	b->size = mapped;
	for (int u = 0; u < DIRTY_USERS; u++)
		b->dirty[u] = g_new0(uint64_t, bitmap_words(b));
	return b;
}

void ram_free(struct ram_block *b)
{
	if (!b)
		return;
	munmap(b->host, b->size);
	for (int u = 0; u < DIRTY_USERS; u++)
		g_free(b->dirty[u]);
	g_free(b->name);
	g_free(b);
}

void ram_mark_dirty(struct ram_block *b, uint64_t off, uint64_t len)
{
	unsigned tracking = __atomic_load_n(&b->tracking, __ATOMIC_RELAXED);
	uint64_t last;

	if (!len || off >= b->size)
		return;
	if (b->watcher)
		b->watcher->written(b->watcher, b->host + off, MIN_OF(len, b->size - off));
	if (!tracking)
		return;
	last = MIN_OF(off + len - 1, b->size - 1) >> PAGE_BITS;
	for (uint64_t page = off >> PAGE_BITS; page <= last; page++)
		for (int u = 0; u < DIRTY_USERS; u++)
			if (tracking & BIT(u))
				__atomic_fetch_or(&b->dirty[u][page / 64], BIT64(page % 64),
						  __ATOMIC_RELEASE);
}

void ram_track(struct space *s, struct ram_block *b, enum dirty_user user, bool on)
{
	unsigned old = b->tracking, new = on ? old | BIT(user) : old & ~BIT(user);

	if (old == new)
		return;
	__atomic_store_n(&b->tracking, new, __ATOMIC_RELEASE);
	if (on)
		ram_mark_dirty(b, 0, b->size);
	for (struct space_listener *l = s->listeners; l; l = l->next)
		if (l->log_change)
			l->log_change(l, b);
}

void ram_sync_dirty(struct space *s, struct ram_block *b)
{
	for (struct space_listener *l = s->listeners; l; l = l->next)
		if (l->log_sync)
			l->log_sync(l, b);
}

bool ram_test_clear_dirty(struct ram_block *b, enum dirty_user user, uint64_t off)
{
	uint64_t page = off >> PAGE_BITS, bit = BIT64(page % 64);

	if (off >= b->size)
		return false;
	if (!(__atomic_load_n(&b->dirty[user][page / 64], __ATOMIC_RELAXED) & bit))
		return false;
	return __atomic_fetch_and(&b->dirty[user][page / 64], ~bit, __ATOMIC_ACQ_REL) & bit;
}

void ram_merge_dirty(struct ram_block *b, uint64_t first, const uint64_t *bits, uint64_t pages)
{
	for (uint64_t w = 0; w < (pages + 63) / 64; w++) {
		uint64_t word = bits[w];

		while (word) {
			unsigned bit = (unsigned)__builtin_ctzll(word);

			word &= word - 1;
			if (w * 64 + bit < pages)
				ram_mark_dirty(b, (first + w * 64 + bit) << PAGE_BITS, 1);
		}
	}
}
