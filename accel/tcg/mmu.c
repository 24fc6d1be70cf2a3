/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's page tables (SDM volume 3, chapter 4): all paging modes, with accessed and dirty bits
 * set as a processor does. General registers only.
 */
#include <inttypes.h>

#include "accel/tcg/system.h"
#include "core/log.h"

#define PTE_P BIT64(0)
#define PTE_RW BIT64(1)
#define PTE_US BIT64(2)
#define PTE_A BIT64(5)
#define PTE_D BIT64(6)
#define PTE_PS BIT64(7)
#define PTE_G BIT64(8)
#define PTE_NX BIT64(63)
#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)

#define ERROR_P BIT(0)
#define ERROR_W BIT(1)
#define ERROR_U BIT(2)
#define ERROR_RSVD BIT(3)
#define ERROR_FETCH BIT(4)
#define ERROR_PK BIT(5)

struct walk {
	struct tcg_env *env;
	uint64_t va;
	enum tcg_access access;
	bool user, implicit;
	/* What the entries so far allow. */
	bool rw, us, nx;
	/* What the last entry says. */
	bool global;
	unsigned key;
	uint64_t size;
};

static __attribute__((noinline)) void log_fault(const struct walk *w, uint32_t error)
{
	tcg_c_begin(w->env);
	log_write("vCPU %u: page fault at 0x%" PRIx64 ", error 0x%x, rip 0x%" PRIx64,
		  w->env->cpu->vcpu.index, w->va, error, w->env->rip);
	tcg_c_end(w->env);
}

static _Noreturn void page_fault(const struct walk *w, uint32_t error)
{
	struct x86_cpu *cpu = w->env->cpu;

	if (w->access == ACCESS_STORE)
		error |= ERROR_W;
	if (w->user)
		error |= ERROR_U;
	if (w->access == ACCESS_FETCH &&
	    ((cpu->efer & EFER_NXE && cpu->cr4 & CR4_PAE) || cpu->cr4 & CR4_SMEP))
		error |= ERROR_FETCH;
	if (log_enabled(MMU))
		log_fault(w, error);
	w->env->fault.address = w->va;
	tcg_raise_error(w->env, VECTOR_PF, error);
}

/* Where physical memory is; NULL if it is not RAM or ROM that can be read directly. */
uint8_t *tcg_ram(struct tcg_env *env, uint64_t phys, bool write)
{
	const struct tcg_map *m = __atomic_load_n(&env->tcg->map, __ATOMIC_ACQUIRE);
	size_t low = 0, high = m->count, middle = MIN_OF(env->last_range, high - 1);

	if (unlikely(phys - env->smram.base < env->smram.size))
		return env->smram.host + (phys - env->smram.base);
	for (; low < high; middle = (low + high) / 2) {
		const struct tcg_range *r = &m->range[middle];

		if (phys < r->start) {
			high = middle;
		} else if (phys >= r->end) {
			low = middle + 1;
		} else {
			env->last_range = (uint32_t)middle;
			return write && !r->writable ? NULL : r->host + (phys - r->start);
		}
	}
	return NULL;
}

static uint64_t read_entry(struct tcg_env *env, uint64_t phys, unsigned size)
{
	const uint8_t *p = tcg_ram(env, phys, false);
	uint64_t v = 0;

	if (!p) {
		env->io(env, phys, &v, size, false);
		return v;
	}
	return size == 4 ? __atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_RELAXED)
			 : __atomic_load_n((const uint64_t *)(const void *)p, __ATOMIC_RELAXED);
}

/* Sets A and D bits; another vCPU may change the entry meanwhile: then the walk begins again. */
static bool set_bits(struct tcg_env *env, uint64_t phys, unsigned size, uint64_t old, uint64_t bits)
{
	uint32_t old32 = (uint32_t)old;
	uint8_t *p;
	bool done;

	if ((old & bits) == bits)
		return true;
	p = tcg_ram(env, phys, true);
	if (!p)
		return true;
	if (size == 4)
		done = __atomic_compare_exchange_n((uint32_t *)(void *)p, &old32,
						   old32 | (uint32_t)bits, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_RELAXED);
	else
		done = __atomic_compare_exchange_n((uint64_t *)(void *)p, &old, old | bits, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	tcg_code_written(env->cache, p, size);
	return done;
}

/* Data on user pages of long mode (SDM volume 3, 4.6.2). */
static bool denied_by_key(const struct walk *w)
{
	const struct x86_cpu *cpu = w->env->cpu;
	unsigned rights;

	if (!(cpu->cr4 & CR4_PKE) || !(cpu->efer & EFER_LMA) || !w->us || w->access == ACCESS_FETCH)
		return false;
	rights = w->env->pkru >> (2 * w->key);
	return rights & 1 ||
	       (rights & 2 && w->access == ACCESS_STORE && (w->user || cpu->cr0 & CR0_WP));
}

static void check(const struct walk *w)
{
	const struct x86_cpu *cpu = w->env->cpu;
	bool allowed = true;

	if (w->access == ACCESS_FETCH && w->nx)
		allowed = false;
	if (w->user) {
		allowed &= w->us && (w->access != ACCESS_STORE || w->rw);
	} else {
		if (w->access == ACCESS_STORE && !w->rw && cpu->cr0 & CR0_WP)
			allowed = false;
		if (w->access == ACCESS_FETCH && w->us && cpu->cr4 & CR4_SMEP)
			allowed = false;
		if (w->access != ACCESS_FETCH && w->us && cpu->cr4 & CR4_SMAP &&
		    (w->implicit || !(w->env->eflags & FLAG_AC)))
			allowed = false;
	}
	if (!allowed || denied_by_key(w))
		page_fault(w, ERROR_P | (denied_by_key(w) ? ERROR_PK : 0));
}

/* Entries of 8 bytes: PAE, 4 and 5 levels. `level` is that of the table at `table`. */
static bool walk_long(struct walk *w, uint64_t table, unsigned level, uint64_t *phys)
{
	struct tcg_env *env = w->env;
	const struct x86_cpu *cpu = env->cpu;
	uint64_t reserved = PTE_ADDRESS & ~((UINT64_C(1) << TCG_PHYS_BITS) - 1);
	uint64_t entry, at, low;

	reserved |= cpu->efer & EFER_NXE ? 0 : PTE_NX;
	for (;; level--) {
		at = table + 8 * (w->va >> (12 + 9 * (level - 1)) & 511);
		entry = read_entry(env, at, 8);
		if (!(entry & PTE_P))
			page_fault(w, 0);
		if (entry & reserved || (level > 3 && entry & PTE_PS))
			page_fault(w, ERROR_P | ERROR_RSVD);
		w->rw &= !!(entry & PTE_RW);
		w->us &= !!(entry & PTE_US);
		w->nx |= !!(entry & PTE_NX);
		if (level == 1 || entry & PTE_PS)
			break;
		if (!set_bits(env, at, 8, entry, PTE_A))
			return false;
		table = entry & PTE_ADDRESS;
	}
	low = (UINT64_C(1) << (12 + 9 * (level - 1))) - 1;
	/* In large pages bit 12 is PAT, the others below the address are reserved. */
	if (level > 1 && entry & low & ~UINT64_C(0x1fff))
		page_fault(w, ERROR_P | ERROR_RSVD);
	w->key = entry >> 59 & 15;
	check(w);
	w->global = entry & PTE_G && cpu->cr4 & CR4_PGE;
	w->size = low + 1;
	*phys = (entry & PTE_ADDRESS & ~low) | (w->va & low);
	return set_bits(env, at, 8, entry, w->access == ACCESS_STORE ? PTE_A | PTE_D : PTE_A);
}

static bool walk_pae(struct walk *w, uint64_t *phys)
{
	uint64_t pdpte =
		read_entry(w->env, (w->env->cpu->cr3 & 0xffffffe0) + 8 * (w->va >> 30 & 3), 8);

	if (!(pdpte & PTE_P))
		page_fault(w, 0);
	return walk_long(w, pdpte & PTE_ADDRESS, 2, phys);
}

static bool walk_32bit(struct walk *w, uint64_t *phys)
{
	struct tcg_env *env = w->env;
	uint64_t at = (env->cpu->cr3 & 0xfffff000) + 4 * (w->va >> 22 & 1023), entry, used;
	uint64_t dirty = w->access == ACCESS_STORE ? PTE_A | PTE_D : PTE_A;

	entry = read_entry(env, at, 4);
	if (!(entry & PTE_P))
		page_fault(w, 0);
	w->rw &= !!(entry & PTE_RW);
	w->us &= !!(entry & PTE_US);
	if (entry & PTE_PS && env->cpu->cr4 & CR4_PSE) {
		/* PSE-36: bits 20 to 13 are address bits 39 to 32. */
		if (entry & BIT(21))
			page_fault(w, ERROR_P | ERROR_RSVD);
		check(w);
		w->global = entry & PTE_G && env->cpu->cr4 & CR4_PGE;
		w->size = 4 * MIB;
		*phys = (entry & 0xffc00000) | (entry & 0x1fe000) << 19 | (w->va & 0x3fffff);
		return set_bits(env, at, 4, entry, dirty);
	}
	if (!set_bits(env, at, 4, entry, PTE_A))
		return false;
	at = (entry & 0xfffff000) + 4 * (w->va >> 12 & 1023);
	used = read_entry(env, at, 4);
	if (!(used & PTE_P))
		page_fault(w, 0);
	w->rw &= !!(used & PTE_RW);
	w->us &= !!(used & PTE_US);
	check(w);
	w->global = used & PTE_G && env->cpu->cr4 & CR4_PGE;
	*phys = (used & 0xfffff000) | (w->va & 0xfff);
	return set_bits(env, at, 4, used, dirty);
}

void tcg_walk(struct tcg_env *env, uint64_t va, enum tcg_access access, bool system,
	      struct tcg_page *page)
{
	const struct x86_cpu *cpu = env->cpu;
	struct walk w = {
		.env = env,
		.va = va,
		.access = access,
		.user = !system && env->mode & MODE_CPL3,
		.implicit = system,
		.size = PAGE_SIZE_4K,
	};
	bool done = false;

	page->phys = va;
	while (!done && cpu->cr0 & CR0_PG) {
		w.rw = w.us = true;
		w.nx = w.global = false;
		w.size = PAGE_SIZE_4K;
		if (cpu->efer & EFER_LMA)
			done = walk_long(&w, cpu->cr3 & PTE_ADDRESS, cpu->cr4 & CR4_LA57 ? 5 : 4,
					 &page->phys);
		else if (cpu->cr4 & CR4_PAE)
			done = walk_pae(&w, &page->phys);
		else
			done = walk_32bit(&w, &page->phys);
	}
	page->global = w.global;
	page->size = w.size;
	page->host = tcg_ram(env, page->phys, access == ACCESS_STORE);
	page->fast = page->host && !(env->debug.data && tcg_debug_data_page(env, va)) &&
		     !(access == ACCESS_STORE && tcg_page_has_code(env->cache, page->host));
}
