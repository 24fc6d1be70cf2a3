/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory: the software TLB's slow side. Translated code comes here when the page is not in
 * its table, when an access reaches over a page's end, or when it is not plain RAM. General
 * registers only.
 */
#include <inttypes.h>

#include "accel/tcg/system.h"
#include "core/log.h"

#define PAGE_MASK UINT64_C(0xfff)
static unsigned tlb_index(uint64_t va)
{
	return va >> PAGE_BITS & (TLB_ENTRIES - 1);
}

static void forget(struct tlb_table *t, struct fill_log *log)
{
	for (unsigned i = 0; i < log->n; i++)
		t->tag[log->entry[i]] = tlb_none(log->entry[i]);
	log->n = 0;
}

static void flush(struct tlb_table *t, struct fill_log *log, bool global)
{
	if (log[0].n > FILL_LOG || (global && log[1].n > FILL_LOG)) {
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			t->tag[i] = tlb_none(i);
		log[0].n = log[1].n = 0;
		return;
	}
	forget(t, &log[0]);
	if (global)
		forget(t, &log[1]);
}

void tcg_tlb_flush(struct tcg_env *env, bool global)
{
	for (unsigned k = 0; k < ARRAY_LEN(env->data); k++)
		for (unsigned store = 0; store < 2; store++)
			flush(env->data[k].tlb[store], env->data[k].log[store], global);
	/* Large pages that stay are remembered by both halves' ranges, which only grow. */
	if (global)
		for (unsigned half = 0; half < ARRAY_LEN(env->large); half++) {
			env->large[half].first = UINT64_MAX;
			env->large[half].last = 0;
		}
}

static __attribute__((noinline)) void log_flush(struct tcg_env *env, bool global)
{
	tcg_c_begin(env);
	log_write("vCPU %u: TLB emptied%s, rip 0x%" PRIx64, env->cpu ? env->cpu->vcpu.index : 0,
		  global ? "" : " of what is not global", env->rip);
	tcg_c_end(env);
}

void tcg_flush_translations(struct tcg_env *env, bool global)
{
	if (log_enabled(MMU) && env->place != PLACE_OUT)
		log_flush(env, global);
	tcg_tlb_flush(env, global);
	tcg_jump_cache_flush(env, global);
}

static void unstore(struct tlb_table *t, unsigned entry, uint64_t page)
{
	if (t->host[entry] == page)
		t->tag[entry] = tlb_none(entry);
}

void tcg_tlb_unstore(struct tcg_env *env, const void *host)
{
	uint64_t page = (uint64_t)(uintptr_t)host & ~PAGE_MASK;

	for (unsigned k = 0; k < ARRAY_LEN(env->data); k++) {
		struct tlb_table *t = env->data[k].tlb[1];
		const struct fill_log *log = env->data[k].log[1];

		if (log[0].n > FILL_LOG || log[1].n > FILL_LOG) {
			for (unsigned i = 0; i < TLB_ENTRIES; i++)
				unstore(t, i, page);
			continue;
		}
		for (unsigned g = 0; g < 2; g++)
			for (unsigned i = 0; i < log[g].n; i++)
				unstore(t, log[g].entry[i], page);
	}
}

void tcg_flush_page(struct tcg_env *env, uint64_t va)
{
	unsigned half = va >> 63, i = tlb_index(va);

	/* Any of a large page's entries may be in the tables. */
	if (va >= env->large[half].first && va <= env->large[half].last) {
		tcg_flush_translations(env, true);
		return;
	}
	for (unsigned k = 0; k < ARRAY_LEN(env->data); k++)
		env->data[k].tlb[0]->tag[i] = env->data[k].tlb[1]->tag[i] = tlb_none(i);
	tcg_jump_cache_flush_page(env, va);
}

/* A page's translation is going to be kept. */
void tcg_page_kept(struct tcg_env *env, uint64_t va, const struct tcg_page *page)
{
	uint64_t first = va & ~(page->size - 1), last = va | (page->size - 1);
	unsigned half = va >> 63;

	if (page->size <= PAGE_SIZE_4K)
		return;
	if (first < env->large[half].first)
		env->large[half].first = first;
	if (last > env->large[half].last)
		env->large[half].last = last;
}

static void fill_level(struct tcg_env *env, unsigned level, uint64_t va, enum tcg_access access,
		       const struct tcg_page *page)
{
	bool store = access == ACCESS_STORE;
	struct tlb_table *t = env->data[level].tlb[store];

	if (env->mode & MODE_REFERENCE || !page->fast)
		return;
	tcg_page_kept(env, va, page);
	fill_log_add(&env->data[level].log[store][page->global], tlb_index(va));
	t->host[tlb_index(va)] = (uint64_t)(uintptr_t)(page->host - (va & PAGE_MASK));
	t->tag[tlb_index(va)] = va & ~PAGE_MASK;
}

static void fill(struct tcg_env *env, uint64_t va, enum tcg_access access,
		 const struct tcg_page *page)
{
	fill_level(env, env->data_level, va, access, page);
}

static _Noreturn void segment_fault(struct tcg_env *env, unsigned segment)
{
	tcg_raise_error(env, segment == SEG_SS ? VECTOR_SS : VECTOR_GP, 0);
}

/* Access checks of protected mode (SDM volume 3, 5.3 and 5.5). */
static bool segment_allows(const struct x86_segment *s, bool write)
{
	bool code = s->rights & BIT(3), readable_or_writable = s->rights & BIT(1);

	if (s->rights & SEG_UNUSABLE)
		return false;
	return write ? !code && readable_or_writable : !code || readable_or_writable;
}

bool tcg_within_limit(const struct x86_segment *s, uint32_t first, uint32_t last)
{
	bool expand_down = (s->rights & 0x1c) == 0x14;

	if (last < first)
		return s->limit == UINT32_MAX && !expand_down; /* Intel's processors wrap */
	if (expand_down)
		return first > s->limit && last <= (s->rights & BIT(14) ? UINT32_MAX : 0xffff);
	return last <= s->limit;
}

uint64_t tcg_linear(struct tcg_env *env, unsigned segment, uint64_t offset, unsigned size,
		    bool write)
{
	const struct x86_segment *s;
	uint64_t va;

	if (env->mode & MODE_CODE64) {
		va = offset + tcg_segment_base(env, segment);
		if (!tcg_canonical(env, va) || !tcg_canonical(env, va + size - 1))
			segment_fault(env, segment);
		return va;
	}
	s = &env->cpu->seg[segment];
	if (env->mode & MODE_PROTECTED && !segment_allows(s, write))
		segment_fault(env, segment);
	if (!tcg_within_limit(s, (uint32_t)offset, (uint32_t)(offset + size - 1)))
		segment_fault(env, segment);
	return (uint32_t)(offset + s->base);
}

/* The flags of an operation, as env->cc has them. */
static uint64_t flags_of(unsigned kind, unsigned size, uint64_t a, uint64_t b)
{
	uint64_t cc = 0;

#define FLAGS(insn, type)                                                                          \
	__asm__(insn " %[b], %[a]; lahf; seto %%al"                                                \
		: "+&a"(cc), [a] "+&r"(*(type *)(void *)&a)                                        \
		: [b] "r"((type)b)                                                                 \
		: "cc")
#define BY_SIZE(insn)                                                                              \
	do {                                                                                       \
		if (size == 1)                                                                     \
			FLAGS(insn "b", uint8_t);                                                  \
		else if (size == 2)                                                                \
			FLAGS(insn "w", uint16_t);                                                 \
		else if (size == 4)                                                                \
			FLAGS(insn "l", uint32_t);                                                 \
		else                                                                               \
			FLAGS(insn "q", uint64_t);                                                 \
	} while (0)
	if (kind == FLAGS_ADD)
		BY_SIZE("add");
	else if (kind == FLAGS_SUB || kind == FLAGS_CMP)
		BY_SIZE("sub");
	else
		BY_SIZE("and");
#undef FLAGS
#undef BY_SIZE
	return cc & 0xffff;
}

void tcg_cc_recover(struct tcg_env *env, const struct flag_source *f)
{
	uint64_t dst = env->gpr[f->dst],
		 src = f->src == FLAGS_IMMEDIATE ? (uint64_t)(int64_t)f->imm : env->gpr[f->src];

	switch (f->kind) {
	case FLAGS_ADD:
		dst -= src;
		break;
	case FLAGS_SUB:
		dst += src;
		break;
	case FLAGS_RESULT:
		src = dst;
		break;
	default:
		break;
	}
	env->cc = flags_of(f->kind, f->size, dst, src);
}

/* The linear address of a translated access, checked. */
static uint64_t site_linear(struct tcg_env *env, uint64_t va, uint32_t n, const struct site **site)
{
	const struct site *s = tcg_site(env->cache, n & ~SITE_OFFSET);

	*site = s;
	env->rip = tcg_block(env->cache, s->block)->rip + s->offset;
	tcg_set_ahead(env, tcg_block(env->cache, s->block), env->rip);
	if (s->flags.kind)
		tcg_cc_recover(env, &s->flags);
	else
		tcg_cc_settle(env);
	if (s->fpu_waits)
		tcg_fpu_wait(env);
	/* Found before the segment's limit and the page are looked at. */
	if (s->aligned && (va + (n & SITE_OFFSET ? env->seg_base[s->segment] : 0)) & (s->size - 1u))
		tcg_raise_error(env, VECTOR_GP, 0);
	if (n & SITE_OFFSET)
		va = tcg_linear(env, s->segment, va, s->size, s->write);
	if (env->mode & MODE_CODE64 &&
	    (!tcg_canonical(env, va) || !tcg_canonical(env, va + s->size - 1)))
		segment_fault(env, s->segment);
	return va;
}

static void transfer(struct tcg_env *env, const struct tcg_page *page, void *data, unsigned size,
		     bool write)
{
	uint8_t *bytes = data;

	if (!page->host) {
		env->io(env, page->phys, data, size, write);
		return;
	}
	for (unsigned i = 0; i < size; i++) {
		if (write)
			page->host[i] = bytes[i];
		else
			bytes[i] = page->host[i];
	}
	if (write && !page->fast)
		tcg_code_written(env->cache, page->host, size);
}

/* Bytes on this side of the page's end. */
static unsigned on_page(uint64_t va, unsigned size)
{
	uint64_t room = PAGE_SIZE_4K - (va & PAGE_MASK);

	return size < room ? size : (unsigned)room;
}

/* The address after a page's end wraps at 4 GiB outside 64-bit mode. */
static uint64_t next_page(struct tcg_env *env, uint64_t va)
{
	uint64_t next = (va | PAGE_MASK) + 1;

	return env->mode & MODE_CODE64 ? next : (uint32_t)next;
}

/* The one or two pages that an access lies on. */
struct span {
	struct tcg_page page[2];
	unsigned size, first; /* bytes in all, and on the first page */
};

/* The page of one side of an access over a page's end: known, or it will be. */
static void find_side(struct tcg_env *env, uint64_t va, enum tcg_access access,
		      struct tcg_page *page)
{
	const struct tlb_table *t = access == ACCESS_STORE ? env->store_tlb : env->load_tlb;
	unsigned i = tlb_index(va);

	if (t->tag[i] == (va & ~PAGE_MASK) && !(env->mode & MODE_REFERENCE)) {
		*page = (struct tcg_page) {
			.host = (uint8_t *)(uintptr_t)t->host[i] + (va & PAGE_MASK), .fast = true
		};
		return;
	}
	env->walk(env, va, access, false, page);
	if (page->host)
		fill(env, va, access, page);
}

/* May raise, before anything is touched. */
static struct span look(struct tcg_env *env, uint64_t va, unsigned size, enum tcg_access access)
{
	struct span s = { .size = size, .first = on_page(va, size) };

	if (unlikely(env->debug.data))
		tcg_debug_access(env, va, size, access == ACCESS_STORE);
	if (s.first == size) {
		env->walk(env, va, access, false, &s.page[0]);
	} else {
		find_side(env, va, access, &s.page[0]);
		find_side(env, next_page(env, va), access, &s.page[1]);
	}
	return s;
}

static void transfer_span(struct tcg_env *env, const struct span *s, uint8_t *data, bool write)
{
	transfer(env, &s->page[0], data, s->first, write);
	if (s->first != s->size)
		transfer(env, &s->page[1], data + s->first, s->size - s->first, write);
}

void *tcg_slow_load(struct tcg_env *env, uint64_t va, uint32_t n)
{
	const struct site *s;
	struct span span;
	uint8_t *at;

	va = site_linear(env, va, n, &s);
	span = look(env, va, s->size, ACCESS_LOAD);
	if (span.first == s->size && span.page[0].host) {
		fill(env, va, ACCESS_LOAD, &span.page[0]);
		return span.page[0].host;
	}
	at = env->bounce + (va & 63);
	transfer_span(env, &span, at, false);
	return at;
}

void *tcg_slow_store(struct tcg_env *env, uint64_t va, uint32_t n)
{
	const struct site *s;
	struct span span;
	uint8_t *at;

	va = site_linear(env, va, n, &s);
	span = look(env, va, s->size, ACCESS_STORE);
	env->commit_va = va;
	env->commit_size = s->size;
	env->commit_site = n & ~SITE_OFFSET;
	env->commit_bounced = false;
	env->commit_host = span.page[0].fast ? NULL : span.page[0].host;
	if (span.first == s->size && span.page[0].host) {
		fill(env, va, ACCESS_STORE, &span.page[0]);
		return span.page[0].host;
	}
	env->commit_bounced = true;
	if (s->locked && s->read && span.first != s->size && !env->exclusive) {
		/* No lock of the host's spans the two pages: nobody else runs meanwhile. */
		if (!tcg_try_stop_in_block(env)) {
			tcg_ask(env);
			tcg_raise(env, TCG_AGAIN);
		}
		env->exclusive = true;
	}
	at = env->bounce + (va & 63);
	if (s->read)
		transfer_span(env, &span, at, false);
	return at;
}

int tcg_slow_commit(struct tcg_env *env)
{
	uint64_t va = env->commit_va;
	uint8_t *at = env->bounce + (va & 63);
	const struct site *s;
	struct block *b;

	if (env->commit_bounced) {
		/* Both pages were looked at before the instruction: this does not fault. */
		struct span span = look(env, va, env->commit_size, ACCESS_STORE);

		transfer_span(env, &span, at, true);
		if (env->exclusive)
			tcg_end_exclusive(env);
	} else if (env->commit_host) {
		tcg_code_written(env->cache, env->commit_host, env->commit_size);
	}
	/* What the instruction may have changed of itself comes after it. */
	s = tcg_site(env->cache, env->commit_site);
	b = tcg_block(env->cache, s->block);
	/* Counted, what a device has done comes right behind it too. */
	if (!(b->dead || (env->count.on && env->commit_bounced)) || !s->ends)
		return 0;
	if (env->count.on) {
		tcg_set_ahead(env, b, b->rip + s->offset);
		env->budget += (int32_t)env->ahead - 1;
		env->ahead = 0;
	}
	env->rip = b->rip + s->offset + s->length;
	if (!(env->mode & MODE_CODE64))
		env->rip = (uint32_t)env->rip;
	return s->flags_after ? 2 : 1;
}

/* Implicit accesses of a supervisor's have the rights of its code while EFLAGS.AC is clear. */
static void *direct(struct tcg_env *env, uint64_t va, unsigned size, enum tcg_access access,
		    bool system)
{
	unsigned level = system ? DATA_SUPERVISOR : env->data_level, i = tlb_index(va);
	const struct tlb_table *t = env->data[level].tlb[access == ACCESS_STORE];
	struct tcg_page page;

	if ((va & PAGE_MASK) + size > PAGE_SIZE_4K)
		return NULL;
	if (t->tag[i] == (va & ~PAGE_MASK))
		return (uint8_t *)(uintptr_t)t->host[i] + (va & PAGE_MASK);
	env->walk(env, va, access, system, &page);
	if (page.host)
		fill_level(env, level, va, access, &page);
	return page.fast ? page.host : NULL;
}

void *tcg_direct(struct tcg_env *env, uint64_t va, unsigned size, enum tcg_access access)
{
	return direct(env, va, size, access, false);
}

uint64_t tcg_load(struct tcg_env *env, uint64_t va, unsigned size)
{
	const uint8_t *p = tcg_direct(env, va, size, ACCESS_LOAD);
	struct span span;
	uint8_t bytes[8];

	if (p)
		return load_le(p, size);
	span = look(env, va, size, ACCESS_LOAD);
	transfer_span(env, &span, bytes, false);
	return load_le(bytes, size);
}

void tcg_probe_store(struct tcg_env *env, uint64_t va, unsigned size)
{
	if (!tcg_direct(env, va, size, ACCESS_STORE))
		look(env, va, size, ACCESS_STORE);
}

void tcg_store(struct tcg_env *env, uint64_t va, uint64_t value, unsigned size)
{
	uint8_t *p = tcg_direct(env, va, size, ACCESS_STORE);
	struct span span;
	uint8_t bytes[8];

	if (p) {
		store_le(p, value, size);
		return;
	}
	span = look(env, va, size, ACCESS_STORE);
	store_le(bytes, value, size);
	transfer_span(env, &span, bytes, true);
}

/* Outside long mode sums of bases and offsets wrap. */
static uint64_t linear(const struct tcg_env *env, uint64_t va)
{
	return env->cpu->efer & EFER_LMA ? va : (uint32_t)va;
}

/* Byte i of an access, whose page is `page` unless a new one begins. */
static void byte_at(struct tcg_env *env, uint64_t va, unsigned i, enum tcg_access access,
		    bool system, struct tcg_page *page)
{
	uint64_t at = linear(env, va + i);

	if (i == 0 || (at & PAGE_MASK) == 0)
		env->walk(env, at, access, system, page);
	else if (page->host)
		page->host++;
	else
		page->phys++;
}

uint64_t tcg_quiet_load(struct tcg_env *env, uint64_t va, unsigned size, bool system)
{
	const uint8_t *p = direct(env, linear(env, va), size, ACCESS_LOAD, system);
	struct tcg_page page;
	uint64_t v = 0;

	if (p)
		return load_le(p, size);
	for (unsigned i = 0; i < size; i++) {
		uint8_t b = 0;

		byte_at(env, va, i, ACCESS_LOAD, system, &page);
		if (page.host)
			b = *page.host;
		else
			env->io(env, page.phys, &b, 1, false);
		v |= (uint64_t)b << (8 * i);
	}
	return v;
}

void tcg_quiet_store(struct tcg_env *env, uint64_t va, uint64_t value, unsigned size, bool system)
{
	uint8_t *p = direct(env, linear(env, va), size, ACCESS_STORE, system);
	struct tcg_page page;

	if (p) {
		store_le(p, value, size);
		return;
	}
	for (unsigned i = 0; i < size; i++) {
		uint8_t b = (uint8_t)(value >> (8 * i));

		byte_at(env, va, i, ACCESS_STORE, system, &page);
		if (page.host) {
			*page.host = b;
			tcg_code_written(env->cache, page.host, 1);
		} else {
			env->io(env, page.phys, &b, 1, true);
		}
	}
}

uint64_t tcg_system_load(struct tcg_env *env, uint64_t va, unsigned size)
{
	return tcg_quiet_load(env, va, size, true);
}

void tcg_system_store(struct tcg_env *env, uint64_t va, uint64_t value, unsigned size)
{
	tcg_quiet_store(env, va, value, size, true);
}
