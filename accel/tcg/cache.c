/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The code cache: one memory object mapped twice, where code is written and where it runs, so that
 * no page is ever both. Blocks lie in it in the order they were made. When it is full everything is
 * forgotten.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "accel/tcg/host/emit.h"
#include "accel/tcg/prefault.h"
#include "accel/tcg/tcg.h"
#include "core/error.h"

#define HASH_BITS 17
#define PAGE_HASH_BITS 15
#define MOST_BLOCKS (1u << 18)
#define MOST_SITES (1u << 21)
/* What else there is to say of blocks: exits, places, parts. */
#define NOTES_SIZE (MOST_BLOCKS * UINT64_C(1024))
#define NOTES_ROOM 8192 /* for one block */
#define THUNKS_SIZE (THUNKS * TCG_THUNK_SIZE)
/* With this much new code `prefault` is told. */
#define TELL_BYTES (128 * KIB)

struct tcg_cache {
	struct tcg_world world;
	struct prefault *prefault;
	size_t tell_at; /* `used` from which it is told */
	struct jump_cache_entry *no_jumps;
	uint8_t *write, *run;
	size_t size, used;
	uint8_t *notes;
	size_t notes_used;
	uint64_t generation;
	bool early;
	uint64_t count[TCG_COUNTS];
	struct block *blocks; /* reserved, made as needed */
	uint32_t nblocks;
	struct site *sites;
	uint32_t nsites;
	struct cold {
		uint32_t code; /* where it runs, from the start of all */
		uint32_t site;
	} * cold; /* by address */
	uint32_t ncold;
	uint32_t hash[1u << HASH_BITS];	      /* blocks */
	uint32_t pages[1u << PAGE_HASH_BITS]; /* parts, by host page */
};

/* A block's part on one page of host memory; known by its place in the notes. */
struct code_part {
	uint64_t start; /* its host address */
	uint32_t block;
	uint32_t next;
	uint16_t bytes;
};
#define NO_PART UINT32_MAX

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* The same memory twice, with a file; false: the host has none. */
static bool map_file(size_t bytes, void **w, void **r)
{
	int fd = memfd_create("moa-code", MFD_CLOEXEC);

	*w = *r = MAP_FAILED;
	if (fd < 0)
		return false;
	if (!ftruncate(fd, (off_t)bytes)) {
		*w = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		*r = mmap(NULL, bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	}
	close(fd);
	if (*w != MAP_FAILED && *r != MAP_FAILED)
		return true;
	if (*w != MAP_FAILED)
		munmap(*w, bytes);
	if (*r != MAP_FAILED)
		munmap(*r, bytes);
	return false;
}

/*
 * The same without: perf asks its map (tcg_perf_map_open) about anonymous memory only, and is told
 * of what can be executed by mprotect, not by mremap. Valgrind has no such mremap.
 */
static bool map_anonymous(size_t bytes, void **w, void **r)
{
	*w = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
		  -1, 0);
	if (*w == MAP_FAILED)
		return false;
	*r = mremap(*w, 0, bytes, MREMAP_MAYMOVE);
	if (*r != MAP_FAILED) {
		if (!mprotect(*r, bytes, PROT_READ | PROT_EXEC))
			return true;
		munmap(*r, bytes);
	}
	munmap(*w, bytes);
	return false;
}

/* Each jumps to one of host/thunks.S. */
static void write_thunks(struct tcg_cache *c)
{
	static char *const thunks[] = {
#define X(name) [THUNK_##name] = tcg_thunk_##name,
		TCG_THUNKS(X)
#undef X
	};

	for (unsigned i = 0; i < THUNKS; i++) {
		struct emit e = { .at = c->write + i * TCG_THUNK_SIZE };

		/* jmp [rip + 0], and the address */
		e_le(&e, 0x25ff, 6);
		e_le(&e, (uintptr_t)thunks[i], 8);
	}
	c->used = THUNKS_SIZE;
}

struct tcg_cache *tcg_cache_new(size_t bytes, GError **err)
{
	struct tcg_cache *c = g_new0(struct tcg_cache, 1);
	void *w, *r;

	c->size = bytes;
	if (map_anonymous(bytes, &w, &r) || map_file(bytes, &w, &r)) {
		c->write = w;
		c->run = r;
	}
	c->blocks = reserve(MOST_BLOCKS * sizeof(*c->blocks));
	c->sites = reserve(MOST_SITES * sizeof(*c->sites));
	c->cold = reserve(MOST_SITES * sizeof(*c->cold));
	c->notes = reserve(NOTES_SIZE);
	c->no_jumps = reserve(JUMP_CACHE_ENTRIES * sizeof(*c->no_jumps));
	if (!c->write || !c->run || !c->blocks || !c->sites || !c->cold || !c->notes ||
	    !c->no_jumps) {
		error(err, "tcg: the host cannot map %zu bytes of translated code", bytes);
		tcg_cache_free(c);
		return NULL;
	}
	c->tell_at = TELL_BYTES;
	c->prefault = prefault_new();
	/* In the order of tell_prefault. */
	prefault_add(c->prefault, c->write, bytes);
	prefault_add(c->prefault, c->blocks, MOST_BLOCKS * sizeof(*c->blocks));
	prefault_add(c->prefault, c->sites, MOST_SITES * sizeof(*c->sites));
	prefault_add(c->prefault, c->cold, MOST_SITES * sizeof(*c->cold));
	prefault_add(c->prefault, c->notes, NOTES_SIZE);
	memset(c->hash, 0xff, sizeof(c->hash));
	memset(c->pages, 0xff, sizeof(c->pages));
	for (unsigned i = 0; i < JUMP_CACHE_ENTRIES; i++)
		c->no_jumps[i].rip = jump_cache_none(i);
	c->early = true;
	write_thunks(c);
	return c;
}

void tcg_cache_free(struct tcg_cache *c)
{
	prefault_free(c->prefault);
	if (c->write)
		munmap(c->write, c->size);
	if (c->run)
		munmap(c->run, c->size);
	if (c->blocks)
		munmap(c->blocks, MOST_BLOCKS * sizeof(*c->blocks));
	if (c->sites)
		munmap(c->sites, MOST_SITES * sizeof(*c->sites));
	if (c->cold)
		munmap(c->cold, MOST_SITES * sizeof(*c->cold));
	if (c->notes)
		munmap(c->notes, NOTES_SIZE);
	if (c->no_jumps)
		munmap(c->no_jumps, JUMP_CACHE_ENTRIES * sizeof(*c->no_jumps));
	g_free(c);
}

void tcg_count(struct tcg_cache *c, unsigned counter, uint64_t by)
{
	c->count[counter] += by;
}

void tcg_cache_stats(struct tcg_cache *c, struct tcg_stats *s)
{
	tcg_lock(&c->world);
	s->size = c->size;
	s->used = c->used;
	s->blocks = c->nblocks;
	s->sites = c->nsites;
	for (unsigned i = 0; i < TCG_COUNTS; i++)
		s->count[i] = c->count[i];
	tcg_unlock(&c->world);
}

struct tcg_world *tcg_cache_world(struct tcg_cache *c)
{
	return &c->world;
}

struct jump_cache_entry *tcg_cache_no_jumps(const struct tcg_cache *c)
{
	return c->no_jumps;
}

static unsigned hash(uint64_t phys, uint64_t rip, unsigned mode)
{
	uint64_t h = (phys ^ rip << 7 ^ (uint64_t)mode << 40) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)(h >> (64 - HASH_BITS));
}

struct block *tcg_block_find(struct tcg_cache *c, uint64_t phys, uint64_t rip, unsigned mode)
{
	uint32_t i = c->hash[hash(phys, rip, mode)];

	while (i != NO_BLOCK) {
		struct block *b = &c->blocks[i];

		if (b->phys == phys && b->rip == rip && b->mode == mode)
			return b;
		i = b->hash_next;
	}
	return NULL;
}

bool tcg_cache_early(struct tcg_cache *c, bool early)
{
	c->early &= early;
	return c->early;
}

static void tell_prefault(struct tcg_cache *c)
{
	const size_t used[] = {
		c->used,
		c->nblocks * sizeof(*c->blocks),
		c->nsites * sizeof(*c->sites),
		c->ncold * sizeof(*c->cold),
		c->notes_used,
	};

	c->tell_at = c->used + TELL_BYTES;
	prefault_used(c->prefault, used);
}

/* `prefault` may have left them in another core's cache. */
static void prefetch(const void *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch((const uint8_t *)at + i, 1);
}

/* What most blocks take, at most: it comes while the block is decoded. */
static void prefetch_next(struct tcg_cache *c)
{
	prefetch(c->write + c->used, 512);
	prefetch(&c->blocks[c->nblocks], 2 * sizeof(*c->blocks));
	prefetch(&c->sites[c->nsites], 128);
	prefetch(&c->cold[c->ncold], 64);
	prefetch(c->notes + c->notes_used, 192);
}

struct block *tcg_block_begin(struct tcg_cache *c)
{
	struct block *b;

	/* After a flush not until there is more than there ever was: its memory is there. */
	if (unlikely(c->used >= c->tell_at))
		tell_prefault(c);
	if (c->nblocks == MOST_BLOCKS || c->size - c->used < TCG_BLOCK_ROOM ||
	    NOTES_SIZE - c->notes_used < NOTES_ROOM)
		return NULL;
	prefetch_next(c);
	b = &c->blocks[c->nblocks];
	*b = (struct block) {
		.index = c->nblocks,
		.incoming = NO_EXIT,
		.exit = (struct block_exit *)(void *)(c->notes + c->notes_used),
	};
	return b;
}

static void *take_notes(struct tcg_cache *c, size_t bytes)
{
	void *at = c->notes + c->notes_used;

	c->notes_used += align_up(bytes, 8);
	return at;
}

void tcg_block_places(struct tcg_cache *c, struct block *b, const struct insn_place *p, unsigned n)
{
	struct insn_place *at;

	take_notes(c, b->exits * sizeof(*b->exit));
	at = take_notes(c, n * sizeof(*p));
	/* Not by memcpy, which uses vector registers. */
	for (unsigned i = 0; i < n; i++)
		at[i] = p[i];
}

void tcg_block_finish(struct tcg_cache *c, struct block *b)
{
	uint32_t *slot = &c->hash[hash(b->phys, b->rip, b->mode)];

	c->used = align_up((uint64_t)(b->code + b->code_size - c->run), 16);
	c->count[TCG_COUNT_TRANSLATIONS]++;
	c->count[TCG_COUNT_INSNS] += b->insns;
	c->count[TCG_COUNT_GUEST_BYTES] += b->bytes;
	c->count[TCG_COUNT_HOST_BYTES] += b->code_size;
	/* The handler of host faults looks without the lock. */
	__atomic_store_n(&c->nblocks, c->nblocks + 1, __ATOMIC_RELEASE);
	b->hash_next = *slot;
	*slot = b->index;
}

uint64_t tcg_cache_generation(const struct tcg_cache *c)
{
	return c->generation;
}

static struct code_part *part(struct tcg_cache *c, uint32_t at)
{
	return at == NO_PART ? NULL : (struct code_part *)(void *)(c->notes + at);
}

static uint32_t *page_slot(struct tcg_cache *c, uint64_t host)
{
	return &c->pages[(host >> PAGE_BITS) * UINT64_C(0x9e3779b97f4a7c15) >>
			 (64 - PAGE_HASH_BITS)];
}

void tcg_block_part(struct tcg_cache *c, struct block *b, const void *host, size_t bytes)
{
	uint64_t at = (uint64_t)(uintptr_t)host;
	struct code_part *p = take_notes(c, sizeof(*p));
	uint32_t *slot = page_slot(c, at);

	*p = (struct code_part) {
		.start = at, .block = b->index, .next = *slot, .bytes = (uint16_t)bytes
	};
	*slot = (uint32_t)((uint8_t *)p - c->notes);
}

bool tcg_page_has_code_locked(struct tcg_cache *c, const void *host)
{
	uint64_t page = (uint64_t)(uintptr_t)host >> PAGE_BITS;

	for (const struct code_part *p = part(c, *page_slot(c, (uint64_t)(uintptr_t)host)); p;
	     p = part(c, p->next))
		if (p->start >> PAGE_BITS == page)
			return true;
	return false;
}

bool tcg_page_has_code(struct tcg_cache *c, const void *host)
{
	bool has;

	tcg_lock(&c->world);
	has = tcg_page_has_code_locked(c, host);
	tcg_unlock(&c->world);
	return has;
}

void tcg_code_written(struct tcg_cache *c, const void *host, unsigned size)
{
	uint64_t start = (uint64_t)(uintptr_t)host, end = start + size;
	uint32_t *slot = page_slot(c, start);
	struct code_part *p;

	tcg_lock(&c->world);
	while ((p = part(c, *slot)) != NULL) {
		if (p->start < end && start < p->start + p->bytes) {
			tcg_block_kill(c, &c->blocks[p->block]);
			*slot = p->next;
		} else {
			slot = &p->next;
		}
	}
	tcg_unlock(&c->world);
}

uint8_t *tcg_code_room(struct tcg_cache *c)
{
	return c->write + c->used;
}

uint32_t tcg_code_offset(const struct tcg_cache *c, const uint8_t *written)
{
	return (uint32_t)(written - c->write);
}

const uint8_t *tcg_code_thunks(const struct tcg_cache *c)
{
	return c->write;
}

uint32_t tcg_exit_name(const struct tcg_cache *c, const struct block_exit *x)
{
	return (uint32_t)((const uint8_t *)x - c->notes);
}

struct block_exit *tcg_exit_named(const struct tcg_cache *c, uint32_t name)
{
	return (struct block_exit *)(void *)(c->notes + name);
}

uint8_t *tcg_code_run(struct tcg_cache *c, uint8_t *written)
{
	return c->run + (written - c->write);
}

uint32_t tcg_site_new(struct tcg_cache *c, const struct site *s)
{
	if (c->nsites == MOST_SITES)
		return UINT32_MAX;
	c->sites[c->nsites] = *s;
	return c->nsites++;
}

const struct site *tcg_site(struct tcg_cache *c, uint32_t n)
{
	assert(n < c->nsites);
	return &c->sites[n];
}

struct block *tcg_block(struct tcg_cache *c, uint32_t index)
{
	assert(index < c->nblocks);
	return &c->blocks[index];
}

struct block *tcg_block_of_code(struct tcg_cache *c, const void *host_pc)
{
	const uint8_t *pc = host_pc;
	uint32_t low = 0, high = __atomic_load_n(&c->nblocks, __ATOMIC_ACQUIRE);

	if (!high || pc < c->blocks[0].code ||
	    pc >= c->blocks[high - 1].code + c->blocks[high - 1].code_size)
		return NULL;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (c->blocks[middle].code <= pc)
			low = middle;
		else
			high = middle;
	}
	return &c->blocks[low];
}

void tcg_cold_add(struct tcg_cache *c, uint8_t *code, uint32_t site)
{
	/* There are no more of them than sites. */
	if (c->ncold < MOST_SITES)
		c->cold[c->ncold++] = (struct cold) { tcg_code_offset(c, code), site };
}

struct block *tcg_insn_of_code(struct tcg_cache *c, const void *host_pc, uint64_t *rip)
{
	struct block *b = tcg_block_of_code(c, host_pc);
	uint32_t low = 0, high = c->ncold, offset;
	unsigned i = 0;

	if (!b)
		return NULL;
	offset = (uint32_t)((const uint8_t *)host_pc - b->code);
	if (offset < b->hot_size) {
		while (i + 1 < b->insns && block_places(b)[i + 1].host <= offset)
			i++;
		*rip = b->rip + block_places(b)[i].guest;
		return b;
	}
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (c->cold[middle].code <= (uint32_t)((const uint8_t *)host_pc - c->run))
			low = middle;
		else
			high = middle;
	}
	*rip = b->rip + tcg_site(c, c->cold[low].site)->offset;
	return b;
}

/* Points a direct exit's jump. Its displacement is aligned, so other vCPUs see the old or the new.
 */
static void patch(struct tcg_cache *c, const struct block_exit *x, uint32_t to)
{
	__atomic_store_n((uint32_t *)(void *)(c->write + x->jump - 4), to - x->jump,
			 __ATOMIC_RELEASE);
}

void tcg_link(struct tcg_cache *c, struct block_exit *x, struct block *to)
{
	if (x->to != NO_BLOCK || c->blocks[x->from].dead || to->dead)
		return;
	c->count[TCG_COUNT_LINKS]++;
	x->to = to->index;
	x->next = to->incoming;
	to->incoming = tcg_exit_name(c, x);
	patch(c, x, (uint32_t)(to->code - c->run));
}

/* Takes an exit out of the list of those that lead to its block. */
static void unlink_exit(struct tcg_cache *c, struct block_exit *x)
{
	uint32_t name = tcg_exit_name(c, x), *at = &c->blocks[x->to].incoming;

	while (*at != NO_EXIT && *at != name)
		at = &tcg_exit_named(c, *at)->next;
	if (*at == name)
		*at = x->next;
	x->to = NO_BLOCK;
}

void tcg_block_kill(struct tcg_cache *c, struct block *b)
{
	uint32_t *slot = &c->hash[hash(b->phys, b->rip, b->mode)];

	if (b->dead)
		return;
	b->dead = true;
	c->count[TCG_COUNT_KILLS]++;
	/* Jump caches may still lead here: what is found here leads on to the block's successor. */
	__atomic_store_n((uint16_t *)(void *)(c->write + (b->code - c->run)),
			 (uint16_t)(0xeb | (uint8_t)(-(int)b->head - 2) << 8), __ATOMIC_RELEASE);
	while (*slot != NO_BLOCK && *slot != b->index)
		slot = &c->blocks[*slot].hash_next;
	if (*slot == b->index)
		*slot = b->hash_next;
	for (uint32_t name = b->incoming; name != NO_EXIT;) {
		struct block_exit *x = tcg_exit_named(c, name);

		patch(c, x, x->stub);
		x->to = NO_BLOCK;
		name = x->next;
	}
	b->incoming = NO_EXIT;
	for (unsigned i = 0; i < b->exits; i++)
		if (b->exit[i].to != NO_BLOCK)
			unlink_exit(c, &b->exit[i]);
}

void tcg_cache_flush(struct tcg_cache *c)
{
	for (uint32_t i = 0; i < c->nblocks; i++)
		c->hash[hash(c->blocks[i].phys, c->blocks[i].rip, c->blocks[i].mode)] = NO_BLOCK;
	memset(c->pages, 0xff, sizeof(c->pages));
	c->generation++;
	c->early = true;
	c->count[TCG_COUNT_FLUSHES]++;
	c->used = THUNKS_SIZE;
	c->notes_used = 0;
	c->nblocks = c->nsites = c->ncold = 0;
}
