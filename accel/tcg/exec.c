/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running translated code: finding blocks, leaving on exceptions and requests, host faults that are
 * the guest's. General registers only, but for what is marked.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <asm/prctl.h>

#include "accel/tcg/inspect.h"
#include "accel/tcg/system.h"
#include "core/log.h"

#define FLAG_TRAP FLAG_TF
#define FLAG_RESUME FLAG_RF /* no instruction breakpoint before the next instruction */

/* host/thunks.S knows these. */
static_assert(offsetof(struct tcg_env, gpr) == 0, "thunks.S");
static_assert(offsetof(struct tcg_env, rip) == 128, "thunks.S");
static_assert(offsetof(struct tcg_env, cc) == 136, "thunks.S");
static_assert(offsetof(struct tcg_env, load_base) == 144, "thunks.S");
static_assert(offsetof(struct tcg_env, store_base) == 152, "thunks.S");
static_assert(offsetof(struct tcg_env, jump_cache) == 160, "thunks.S");
static_assert((JUMP_CACHE_ENTRIES - 1) * sizeof(struct jump_cache_entry) == 0x3fff0, "thunks.S");
static_assert(offsetof(struct tcg_env, host_rsp) == 168, "thunks.S");
static_assert(offsetof(struct tcg_env, self) == 176, "thunks.S");
static_assert(offsetof(struct tcg_env, slow_va) == 184, "thunks.S");
static_assert(offsetof(struct tcg_env, ret_rsp) == 192, "thunks.S");
static_assert(offsetof(struct tcg_env, ret_base) == 200, "thunks.S");
static_assert(offsetof(struct tcg_env, return_to) == 208, "thunks.S");
static_assert(offsetof(struct tcg_env, budget) == 216, "thunks.S");
static_assert(offsetof(struct tcg_env, ahead) == 220, "thunks.S");
static_assert(offsetof(struct tcg_env, branch_site) == 224, "thunks.S");

static void save_parts(void *area, uint32_t parts)
{
	__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(parts), "d"(0) : "memory");
}

static void load_parts(const void *area, uint32_t parts)
{
	__asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(parts), "d"(0) : "memory");
}

void tcg_fpu_save(void *area)
{
	save_parts(area, TCG_XSAVE_PARTS);
}

void tcg_fpu_load(const void *area)
{
	load_parts(area, TCG_XSAVE_PARTS);
}

void tcg_fpu_for_c(void)
{
	static const uint32_t mxcsr = 0x1f80;

	__asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
}

void tcg_c_begin(struct tcg_env *env)
{
	tcg_fpu_save(env->fpu);
	tcg_fpu_for_c();
}

void tcg_c_end(struct tcg_env *env)
{
	tcg_fpu_load(env->fpu);
}

void tcg_outside_begin(struct tcg_env *env)
{
	tcg_c_begin(env);
	tcg_step_out(env);
	if (env->count.on)
		tcg_count_clock(env);
}

/*
 * An empty jump cache makes sure that a loop of indirect jumps comes to C too. The order of these
 * stores, and of those in tcg_use_jumps, leaves it in place if a request came last.
 */
void tcg_ask(struct tcg_env *env)
{
	__atomic_store_n(&env->exit_request, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&env->jump_cache, (uint64_t)(uintptr_t)tcg_cache_no_jumps(env->cache),
			 __ATOMIC_SEQ_CST);
}

static void use_jumps(struct tcg_env *env)
{
	__atomic_store_n(&env->jump_cache, (uint64_t)(uintptr_t)env->jumps, __ATOMIC_SEQ_CST);
	if (tcg_asked(env))
		__atomic_store_n(&env->jump_cache,
				 (uint64_t)(uintptr_t)tcg_cache_no_jumps(env->cache),
				 __ATOMIC_SEQ_CST);
}

void tcg_answer(struct tcg_env *env)
{
	__atomic_store_n(&env->exit_request, tcg_exit_none(), __ATOMIC_SEQ_CST);
	use_jumps(env);
}

void tcg_check_events(struct tcg_env *env)
{
	if (!env->cpu)
		return;
	uint32_t ev = __atomic_load_n(&env->cpu->vcpu.events, __ATOMIC_ACQUIRE);

	if (env->smm)
		ev &= ~(uint32_t)(EV_SMI | EV_INIT);
	if (ev & ~(uint32_t)EV_INTR || (ev & EV_INTR && env->eflags & BIT64(9)))
		tcg_ask(env);
}

void tcg_outside_end(struct tcg_env *env)
{
	if (env->count.on)
		tcg_count_replan(env);
	tcg_step_in(env);
	tcg_c_end(env);
	/* A device may have posted to this very vCPU. */
	tcg_check_events(env);
}

_Noreturn void tcg_raise(struct tcg_env *env, unsigned vector)
{
	env->fault.vector = vector;
	env->fault.has_error = false;
	__builtin_longjmp(env->escape, 1);
}

_Noreturn void tcg_raise_error(struct tcg_env *env, unsigned vector, uint32_t error)
{
	env->fault.vector = vector;
	env->fault.has_error = true;
	env->fault.error = error;
	__builtin_longjmp(env->escape, 1);
}

/* Forgets predicted returns: they hold as long as what the jump cache has of the same pages. */
static void flush_returns(struct tcg_env *env, unsigned k)
{
	env->code[k].ret_rsp = env->code[k].ret_base;
	if (k == env->user)
		env->ret_rsp = env->ret_base;
}

static void flush_jumps(struct tcg_env *env, unsigned k, bool global)
{
	struct jump_cache_entry *jumps = env->code[k].jumps;
	struct fill_log *log = env->code[k].log;

	flush_returns(env, k);
	if (log[0].n > FILL_LOG || (global && log[1].n > FILL_LOG)) {
		for (unsigned i = 0; i < JUMP_CACHE_ENTRIES; i++)
			jumps[i].rip = jump_cache_none(i);
		log[0].n = log[1].n = 0;
		return;
	}
	for (unsigned g = 0; g <= global; g++) {
		for (unsigned i = 0; i < log[g].n; i++)
			jumps[log[g].entry[i]].rip = jump_cache_none(log[g].entry[i]);
		log[g].n = 0;
	}
}

void tcg_jump_cache_flush(struct tcg_env *env, bool global)
{
	for (unsigned k = 0; k < ARRAY_LEN(env->code); k++)
		flush_jumps(env, k, global);
}

/* Whether code of the page may have run; most pages are data's. */
static bool has_run(const struct tcg_env *env, unsigned k, uint64_t va)
{
	return env->code[k].pages[code_page_bit(va) / 64] >> code_page_bit(va) % 64 & 1;
}

static void will_run(struct tcg_env *env, uint64_t va)
{
	env->code[env->user].pages[code_page_bit(va) / 64] |= BIT64(code_page_bit(va) % 64);
}

void tcg_jump_cache_flush_page(struct tcg_env *env, uint64_t va)
{
	for (unsigned k = 0; k < ARRAY_LEN(env->code); k++) {
		struct jump_cache_entry *jumps = env->code[k].jumps;
		const struct fill_log *log = env->code[k].log;
		uint64_t base = env->mode & MODE_CODE64 ? 0 : env->code[k].cs_base;

		if (!base && !has_run(env, k, va))
			continue;
		flush_returns(env, k);
		if (log[0].n > FILL_LOG || log[1].n > FILL_LOG || base) {
			flush_jumps(env, k, true);
			continue;
		}
		for (unsigned g = 0; g < 2; g++)
			for (unsigned i = 0; i < log[g].n; i++) {
				struct jump_cache_entry *e = &jumps[log[g].entry[i]];

				/* An instruction may begin on the page before. */
				if (e->rip - (va & ~(PAGE_SIZE_4K - 1)) + CROSSING <
				    PAGE_SIZE_4K + CROSSING)
					e->rip = jump_cache_none(log[g].entry[i]);
			}
	}
}

void tcg_select(struct tcg_env *env, bool user, bool ac)
{
	if (env->code[user].mode != env->mode || env->code[user].cs_base != env->seg_base[SEG_CS]) {
		flush_jumps(env, user, true);
		env->code[user].mode = env->mode;
		env->code[user].cs_base = env->seg_base[SEG_CS];
	}
	env->code[env->user].ret_rsp = env->ret_rsp;
	env->user = user;
	env->ret_rsp = env->code[user].ret_rsp;
	env->ret_base = env->code[user].ret_base;
	env->jumps = env->code[user].jumps;
	use_jumps(env);
	env->data_level = user ? DATA_USER : ac ? DATA_SUPERVISOR_AC : DATA_SUPERVISOR;
	env->load_tlb = env->data[env->data_level].tlb[0];
	env->store_tlb = env->data[env->data_level].tlb[1];
	env->load_base = (uint64_t)(uintptr_t)env->load_tlb + (uint64_t)(int64_t)tcg_tlb_bias();
	env->store_base = (uint64_t)(uintptr_t)env->store_tlb + (uint64_t)(int64_t)tcg_tlb_bias();
}

/* Where an instruction's bytes lie: on one page, or on two. */
struct fetch {
	uint64_t rip;
	unsigned mode;
	uint8_t *host;
	size_t here; /* bytes to the page's end */
	bool crosses, global, device;
	uint8_t *second;
};

/* What C without floating point changes of the guest's: the registers of SSE and AVX. */
#define VECTOR_PARTS 6u

/*
 * Systems allow SSE and AVX soon after they begin, and do most of what they did before again. So
 * blocks that use neither are made, until then, as the mode to come has them. Those of the two
 * modes are not linked to each other, nor is the old mode come back to that way: the blocks may
 * have links by then to others that use the FPU. With several vCPUs one may be behind.
 */
static bool makes_early(struct tcg_env *env)
{
	bool early = (env->mode & MODE_EARLY) == MODE_EARLY;

	return tcg_cache_early(env->cache, early) && early && env->world->envs == 1;
}

/*
 * Translates it, with the lock held and on pages whose stores are watched.
 */
static __attribute__((noinline)) enum tcg_translated
translate(struct tcg_env *env, const struct fetch *f, struct block **block)
{
	enum tcg_translated result = TRANSLATE_FULL;
	const uint8_t *bytes = f->host;
	size_t n = f->here;
	uint8_t both[15];
	bool single, apart = !tcg_frontend_is_plain || tcg_inspecting();
	struct block *b;

	if (apart)
		save_parts(env->fpu, VECTOR_PARTS);
	if (f->crosses) {
		n = sizeof(both);
		for (size_t i = 0; i < n; i++)
			both[i] = i < f->here ? f->host[i] : f->second[i - f->here];
		bytes = both;
	}
	single = env->mode & MODE_ALONE || n < 16;
	b = tcg_block_begin(env->cache);
	if (b) {
		b->rip = f->rip;
		b->phys = (uint64_t)(uintptr_t)f->host;
		b->mode = f->mode;
		b->device = f->device;
		result = tcg_translate(env, b, bytes, single ? 0 : PAGE_SIZE_4K - f->here, n,
				       single ? 1 : BLOCK_INSNS);
	}
	if (result == TRANSLATE_OK) {
		size_t end = MIN_OF(f->here, (size_t)MAX_OF(b->look_end, 1));

		if (!b->uses_fpu && makes_early(env))
			b->mode &= ~MODE_EARLY;
		tcg_block_finish(env->cache, b);
		if (b->mode & MODE_APART)
			tcg_count(env->cache, TCG_COUNT_APART, 1);
		tcg_block_part(env->cache, b, f->host + b->look_first,
			       (size_t)((int64_t)end - b->look_first));
		if (f->second && b->bytes > f->here) {
			b->second = f->second;
			tcg_block_part(env->cache, b, f->second, b->bytes - f->here);
		}
	}
	if (apart)
		load_parts(env->fpu, VECTOR_PARTS);
	*block = b;
	return result;
}

/* The linear address of a code address. */
static uint64_t code_linear(struct tcg_env *env, uint64_t rip)
{
	return env->mode & MODE_CODE64 ? rip : (uint32_t)(rip + env->seg_base[SEG_CS]);
}

static bool watched(struct tcg_env *env, const struct fetch *f)
{
	return tcg_page_has_code_locked(env->cache, f->host) &&
	       (!f->second || tcg_page_has_code_locked(env->cache, f->second));
}

static void watch(struct tcg_env *env, const void *host)
{
	for (unsigned i = 0; host && i < env->world->envs; i++)
		tcg_tlb_unstore(env->world->env[i], host);
}

/* The block, but not one that holds no longer. */
static struct block *find(struct tcg_env *env, const struct fetch *f)
{
	uint64_t at = (uint64_t)(uintptr_t)f->host;
	struct block *b = NULL;

	if (makes_early(env))
		b = tcg_block_find(env->cache, at, f->rip, f->mode & ~MODE_EARLY);
	if (!b)
		b = tcg_block_find(env->cache, at, f->rip, f->mode);
	if (!b || !(b->device || (f->crosses && b->second && b->second != f->second)))
		return b;
	tcg_block_kill(env->cache, b);
	return NULL;
}

/*
 * Stores to a page go the slow way once code was made from it. Until then other vCPUs' tables may
 * let them through, so they stop meanwhile.
 */
static enum tcg_translated find_or_translate(struct tcg_env *env, const struct fetch *f,
					     struct block **block)
{
	enum tcg_translated result = TRANSLATE_OK;
	bool stopped = false;

	tcg_lock(env->world);
	*block = find(env, f);
	/* Its second page must be known first, and be the one that it was made from. */
	if (*block && (*block)->second && !f->crosses) {
		tcg_unlock(env->world);
		return TRANSLATE_MORE;
	}
	if (!*block && !watched(env, f)) {
		tcg_unlock(env->world);
		tcg_stop_pages(env);
		stopped = true;
		tcg_lock(env->world);
		watch(env, f->host);
		watch(env, f->second);
		tcg_count(env->cache, TCG_COUNT_STOPS, 1);
		*block = find(env, f);
	}
	if (!*block)
		result = translate(env, f, block);
	tcg_unlock(env->world);
	if (stopped)
		tcg_resume(env);
	return result;
}

static __attribute__((noinline)) void log_exec(struct tcg_env *env, const struct block *b)
{
	tcg_c_begin(env);
	log_write("vCPU %u: block 0x%" PRIx64 ", %u instructions, mode 0x%x",
		  env->cpu ? env->cpu->vcpu.index : 0, b->rip, b->insns, b->mode);
	tcg_c_end(env);
}

/*
 * Code in a device's registers: the bytes of one instruction, `at` so much into pages that stand
 * for the device's. They are read each time it runs.
 */
static uint8_t *fetch_device(struct tcg_env *env, struct fetch *f, uint64_t phys, uint64_t at,
			     size_t n)
{
	uint8_t *code = env->device_code + at;

	f->device = true;
	env->io(env, phys, code, (unsigned)MIN_OF(n, 15u), false);
	return code;
}

/* No other block leads to it. */
static void device_code_alone(struct tcg_env *env)
{
	if (env->mode & MODE_STEP)
		return;
	env->debug.alone = true;
	tcg_raise(env, TCG_AGAIN);
}

/*
 * The block at rip in the current mode, and in `apart` (MODE_APART or 0), made if it is not there,
 * and whether it is on a global page. From RUNNING. May raise.
 */
static struct block *block_in(struct tcg_env *env, uint64_t rip, unsigned apart, bool *global)
{
	uint64_t linear = code_linear(env, rip);
	struct fetch f = { .rip = rip,
			   .mode = env->mode | apart,
			   .here = PAGE_SIZE_4K - (linear & (PAGE_SIZE_4K - 1)) };
	struct tcg_page page;
	struct block *b;

	env->rip = rip;
	env->ahead = 0;
	if (env->mode & MODE_CODE64 && !tcg_canonical(env, linear))
		tcg_raise_error(env, 13, 0);
	if (!(env->mode & MODE_CODE64) &&
	    !tcg_within_limit(&env->cpu->seg[SEG_CS], (uint32_t)rip, (uint32_t)rip))
		tcg_raise_error(env, 13, 0);
	env->walk(env, linear, ACCESS_FETCH, false, &page);
	if (!page.host)
		device_code_alone(env);
	f.host = page.host ? page.host : fetch_device(env, &f, page.phys, linear & 4095, f.here);
	f.global = page.global;
	__builtin_prefetch(f.host);
	tcg_page_kept(env, linear, &page);
	for (;;) {
		enum tcg_translated result = find_or_translate(env, &f, &b);

		if (result == TRANSLATE_OK) {
			if (b->device)
				device_code_alone(env);
			if (log_enabled(EXEC))
				log_exec(env, b);
			will_run(env, linear);
			if (b->second)
				will_run(env, linear + f.here);
			/* What lies on a second page is looked up again. */
			*global = f.global && !b->second;
			return b;
		}
		if (result == TRANSLATE_MORE) {
			/* One instruction on two pages. */
			env->walk(env, linear + f.here, ACCESS_FETCH, false, &page);
			f.crosses = true;
			f.second =
				page.host ? page.host : fetch_device(env, &f, page.phys, 4096, 15);
			continue;
		}
		tcg_stop_all(env);
		tcg_lock(env->world);
		tcg_c_begin(env);
		tcg_cache_flush(env->cache);
		tcg_c_end(env);
		for (unsigned i = 0; i < env->world->envs; i++)
			tcg_jump_cache_flush(env->world->env[i], true);
		tcg_unlock(env->world);
		tcg_resume(env);
	}
}

static struct block *block_at(struct tcg_env *env, uint64_t rip, bool *global)
{
	return block_in(env, rip, 0, global);
}

int tcg_must_stop(const struct tcg_env *env)
{
	return env->eflags & (FLAG_TRAP | FLAG_RESUME) || env->shadow || env->debug.code ||
	       env->debug.alone || env->debug.hit || tcg_asked(env);
}

/* Whether env->rip is not to be gone to from block to block. */
static bool must_leave(struct tcg_env *env)
{
	return tcg_asked(env) ||
	       (unlikely(env->debug.code) && tcg_debug_code_page(env, code_linear(env, env->rip)));
}

/*
 * Behind an indirect jump: if its target is not canonical it faults itself, the stack pointer as
 * before (SDM volume 2, JMP, CALL, RET).
 */
static void after_jump(struct tcg_env *env)
{
	const struct site *s = tcg_site(env->cache, env->branch_site - 1);
	const struct block *b = tcg_block(env->cache, s->block);

	env->branch_site = 0;
	if (!(env->mode & MODE_CODE64) || tcg_canonical(env, env->rip))
		return;
	env->rip = b->rip + s->offset;
	env->gpr[RSP] -= (uint64_t)(int64_t)s->flags.imm;
	tcg_set_ahead(env, b, env->rip);
	tcg_raise_error(env, 13, 0);
}

void *tcg_exit_direct(struct tcg_env *env, uint32_t exit)
{
	struct block_exit *x = tcg_exit_named(env->cache, exit);
	const struct block *from = tcg_block(env->cache, x->from);
	uint64_t target = from->rip + (uint64_t)(int64_t)x->target;
	uint64_t generation = tcg_cache_generation(env->cache);
	unsigned apart = x->apart ? MODE_APART : 0;
	struct block *b;
	bool global;

	env->place = PLACE_RUNNING;
	env->rip = target;
	tcg_cc_settle(env);
	if (must_leave(env))
		return NULL;
	b = block_in(env, target, apart, &global);
	tcg_lock(env->world);
	/* A flush in between took the way out with it. A block's second page may be another next
	 * time. */
	if (tcg_cache_generation(env->cache) == generation && !log_enabled(EXEC) && !b->second &&
	    (from->mode & ~MODE_APART) == (b->mode & ~MODE_APART))
		tcg_link(env->cache, x, b);
	tcg_unlock(env->world);
	env->place = PLACE_BLOCK;
	return b->code;
}

/* Puts a block into the jump cache. */
static void remember(struct tcg_env *env, uint64_t rip, const struct block *b, bool global)
{
	if (log_enabled(EXEC))
		return;
	fill_log_add(&env->code[env->user].log[global], jump_cache_index(rip));
	env->jumps[jump_cache_index(rip)] =
		(struct jump_cache_entry) { rip, (uint64_t)(uintptr_t)b->code };
}

void *tcg_exit_indirect(struct tcg_env *env, uint64_t rip)
{
	struct block *b;
	bool global;

	env->place = PLACE_RUNNING;
	env->rip = rip;
	tcg_cc_settle(env);
	if (unlikely(env->branch_site))
		after_jump(env);
	if (must_leave(env))
		return NULL;
	b = block_at(env, rip, &global);
	remember(env, rip, b, global);
	env->place = PLACE_BLOCK;
	return b->code;
}

void tcg_end_exclusive(struct tcg_env *env)
{
	env->exclusive = false;
	tcg_resume(env);
}

/* From RUNNING through blocks and back; an RF that was set has done its work then. */
static void run_code(struct tcg_env *env, void *code)
{
	uint64_t resumed = env->eflags & FLAG_RESUME;

	env->place = PLACE_BLOCK;
	tcg_enter(env, code);
	env->place = PLACE_RUNNING;
	tcg_cc_settle(env);
	env->eflags &= ~resumed;
	if (unlikely(env->branch_site))
		after_jump(env);
}

/* One instruction, because a debug register or its user wants it so; a vector, or -1. */
static int execute_alone(struct tcg_env *env)
{
	unsigned step = env->mode & MODE_STEP;
	const struct block *b;
	bool global;

	if (!(env->eflags & FLAG_RESUME)) {
		unsigned hit = tcg_debug_code_hit(env, code_linear(env, env->rip));

		if (hit) {
			env->debug.hit = hit;
			return TCG_TRAP;
		}
	}
	env->mode |= MODE_STEP;
	b = block_at(env, env->rip, &global);
	run_code(env, b->code);
	env->mode = (env->mode & ~MODE_STEP) | step;
	env->debug.alone = false;
	return env->debug.hit ? TCG_TRAP : -1;
}

static bool wants_alone(struct tcg_env *env)
{
	return env->debug.alone ||
	       (env->debug.code && tcg_debug_code_page(env, code_linear(env, env->rip)));
}

/* After an exception in an instruction that was to run alone. */
static int escaped(struct tcg_env *env)
{
	unsigned vector = env->fault.vector;

	env->place = PLACE_RUNNING;
	env->budget += (int32_t)env->ahead;
	env->ahead = 0;
	if (env->exclusive)
		tcg_end_exclusive(env);
	if (vector == TCG_AGAIN)
		return -1;
	env->debug.alone = false;
	env->debug.hit = 0;
	return (int)vector;
}

static void run_one(struct tcg_env *env)
{
	unsigned step = env->mode & MODE_STEP;
	bool global;

	env->mode |= MODE_STEP;
	env->shadow = false;
	run_code(env, block_at(env, env->rip, &global)->code);
	env->mode = (env->mode & ~MODE_STEP) | step;
}

/* With a budget: a block, or an instruction, if one may still run. False: none may. */
static bool run_counted(struct tcg_env *env)
{
	const struct block *b;
	bool global;

	if (env->budget <= 0)
		return false;
	b = block_at(env, env->rip, &global);
	if (b->counted > env->budget || env->shadow)
		run_one(env);
	else
		run_code(env, b->code);
	return true;
}

/* The code at env->rip. */
static void *code_here(struct tcg_env *env)
{
	const struct jump_cache_entry *e = &env->jumps[jump_cache_index(env->rip)];
	const struct block *b;
	bool global;

	if (e->rip == env->rip && !(env->mode & MODE_ALONE))
		return (void *)(uintptr_t)e->code;
	b = block_at(env, env->rip, &global);
	if (!(env->mode & MODE_ALONE))
		remember(env, b->rip, b, global);
	return b->code;
}

int tcg_execute(struct tcg_env *volatile env)
{
	if (__builtin_setjmp(env->escape))
		return escaped(env);
	env->ahead = 0;
	/* After STI or a load of SS at least one instruction runs, whoever waits. */
	while (env->shadow || env->debug.alone || !tcg_asked(env)) {
		/* POPF and IRET may have begun single steps. */
		if (unlikely(env->eflags & FLAG_TRAP) && !(env->mode & MODE_STEP))
			return -1;
		if (unlikely(env->debug.code | env->debug.alone) && wants_alone(env)) {
			int vector;

			env->shadow = false;
			vector = execute_alone(env);
			if (vector >= 0)
				return vector;
			if (env->mode & MODE_STEP)
				return TCG_STEPPED;
			continue;
		}
		if (unlikely(env->count.on)) {
			if (!run_counted(env))
				return -1;
		} else if (unlikely(env->shadow) && tcg_asked(env)) {
			run_one(env); /* or code that shuts out interrupts again would never be
					 interrupted */
		} else {
			env->shadow = false;
			run_code(env, code_here(env));
		}
		if (unlikely(env->debug.hit))
			return TCG_TRAP;
		if (env->mode & MODE_STEP)
			return TCG_STEPPED;
	}
	return -1;
}

/* The instruction at rip is in progress: it and those behind it in the block are still to come. */
void tcg_set_ahead(struct tcg_env *env, const struct block *b, uint64_t rip)
{
	unsigned i = 0;

	if (!env->count.on)
		return;
	while (i + 1 < b->insns && b->rip + block_places(b)[i + 1].guest <= rip)
		i++;
	env->ahead = b->counted - i;
}

/* Host faults. */

static _Thread_local struct tcg_env *this_env;
static struct sigaction old_action[65];

static void raise_from_signal(struct tcg_env *env, unsigned vector, bool has_error)
{
	tcg_cc_settle(env);
	if (has_error)
		tcg_raise_error(env, vector, 0);
	tcg_raise(env, vector);
}

static void on_host_fault(int signal, siginfo_t *info, void *context)
{
	static const int8_t regs[GPRS] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_R10, REG_RBP,
					   REG_RSI, REG_RDI, REG_R8,  REG_R9,  -1,	-1,
					   REG_R11, -1,	     -1,      -1 };
	ucontext_t *u = context;
	greg_t *r = u->uc_mcontext.gregs;
	struct tcg_env *env = this_env;
	const struct block *b;
	uint64_t rip;
	unsigned vector = (unsigned)r[REG_TRAPNO];

	if (env && vector == 14 &&
	    (uint64_t)(uintptr_t)info->si_addr - env->code[env->user].ret_guard < PAGE_SIZE_4K &&
	    tcg_block_of_code(env->cache, (const void *)r[REG_RIP])) {
		/* More calls than the stack has room for: it begins anew, and so does the push. */
		r[REG_RSP] = (greg_t)env->ret_base;
		return;
	}
	b = env ? tcg_insn_of_code(env->cache, (const void *)r[REG_RIP], &rip) : NULL;
	if (!b || (vector != 0 && vector != 6 && vector != 13 && vector != 16 && vector != 19)) {
		/* Not the guest's doing. */
		sigaction(signal, &old_action[signal], NULL);
		return;
	}
	for (unsigned i = 0; i < GPRS; i++)
		if (regs[i] >= 0)
			env->gpr[i] = (uint64_t)r[regs[i]];
	env->rip = rip;
	tcg_set_ahead(env, b, rip);
	env->ret_rsp = (uint64_t)r[REG_RSP];
	r[REG_RIP] = (greg_t)raise_from_signal;
	r[REG_RDI] = (greg_t)env;
	r[REG_RSI] = (greg_t)vector;
	r[REG_RDX] = vector == 13;
	r[REG_RSP] = (greg_t)(env->host_rsp & ~UINT64_C(15)) - 8;
}

void tcg_env_enter_thread(struct tcg_env *env)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	static _Thread_local uint8_t alternate[65536];
	stack_t ss = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	struct sigaction sa = { .sa_sigaction = on_host_fault,
				.sa_flags = SA_SIGINFO | SA_ONSTACK },
			 old;

	if (this_env == env)
		return;
	syscall(SYS_arch_prctl, ARCH_SET_GS, env);
	if (this_env) {
		this_env = env;
		return;
	}
	this_env = env;
	sigaltstack(&ss, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++) {
		sigaction(signals[i], &sa, &old);
		if (old.sa_sigaction != on_host_fault)
			old_action[signals[i]] = old;
	}
}

#define DEVICE_CODE_BYTES 8192 /* two pages */

bool tcg_pext_is_fast;
/* BEXTR takes Intel's processors two operations; PEXT is slow on AMD's before Zen 3. */
__attribute__((constructor)) static void look_at_host(void)
{
	__builtin_cpu_init();
	tcg_pext_is_fast = __builtin_cpu_is("intel") && __builtin_cpu_supports("bmi2");
}

#define RET_STACK_BYTES 32768
/* What an empty stack of returns has above it: no address that code could return to. */
#define RET_NONE UINT64_C(0x8000000000000001)

/* Below each a page that is not there. */
static void make_ret_stacks(struct tcg_env *env)
{
	size_t each = PAGE_SIZE_4K + RET_STACK_BYTES;
	uint8_t *room = mmap(NULL, ARRAY_LEN(env->code) * each, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		abort();
	env->ret_room = room;
	env->ret_room_size = ARRAY_LEN(env->code) * each;
	for (unsigned k = 0; k < ARRAY_LEN(env->code); k++, room += each) {
		uint64_t *base = (uint64_t *)(void *)(room + each) - 8;

		if (mprotect(room, PAGE_SIZE_4K, PROT_NONE))
			abort();
		for (unsigned i = 0; i < 8; i++)
			base[i] = RET_NONE;
		env->code[k].ret_guard = (uint64_t)(uintptr_t)room;
		env->code[k].ret_base = env->code[k].ret_rsp = (uint64_t)(uintptr_t)base;
	}
	env->ret_rsp = env->ret_base = env->code[0].ret_base;
}
/* A table at an address that ends as it must: in whatever 4 GiB of the address space have room. */
static struct tlb_table *make_tlb(void)
{
	static uint32_t next = 0x33; /* wild pointers are often powers of two */

	for (;;) {
		uint32_t high = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
		void *wanted =
			     (void *)(uintptr_t)((uint64_t)(high & 0x7fff) << 32 | TLB_ADDRESS_LOW),
		     *at = mmap(wanted, sizeof(struct tlb_table), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (at == wanted)
			return at;
		if (at != MAP_FAILED)
			munmap(at, sizeof(struct tlb_table));
		if (high > 1u << 20)
			abort();
	}
}

struct tcg_env *tcg_env_new(struct tcg_cache *c)
{
	struct tcg_env *env = aligned_alloc(4096, align_up(sizeof(*env), 4096));

	if (!env)
		abort();
	memset(env, 0, sizeof(*env));
	env->self = env;
	env->cache = c;
	env->world = tcg_cache_world(c);
	env->device_code = mmap(NULL, DEVICE_CODE_BYTES, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (env->device_code == MAP_FAILED)
		abort();
	for (unsigned k = 0; k < ARRAY_LEN(env->data); k++) {
		env->data[k].tlb[0] = make_tlb();
		env->data[k].tlb[1] = make_tlb();
		env->data[k].log[0][0].n = env->data[k].log[1][0].n = FILL_LOG + 1;
	}
	for (unsigned k = 0; k < ARRAY_LEN(env->code); k++) {
		env->code[k].jumps = aligned_alloc(65536, sizeof(*env->jumps) * JUMP_CACHE_ENTRIES);
		if (!env->code[k].jumps)
			abort();
		env->code[k].log[0].n = FILL_LOG + 1;
	}
	env->cc = CC_SAVED;
	env->exit_request = tcg_exit_none();
	make_ret_stacks(env);
	env->features = UINT64_MAX;
	env->va_unused = 16;
	tcg_select(env, false, false);
	tcg_flush_translations(env, true);
	if (!tcg_world_add(env->world, env)) {
		tcg_env_free(env);
		return NULL;
	}
	return env;
}

void tcg_env_free(struct tcg_env *env)
{
	tcg_world_remove(env->world, env);
	munmap(env->device_code, DEVICE_CODE_BYTES);
	if (env->steal.file > 0)
		close(env->steal.file);
	for (unsigned k = 0; k < ARRAY_LEN(env->data); k++)
		for (unsigned store = 0; store < 2; store++)
			munmap(env->data[k].tlb[store], sizeof(struct tlb_table));
	munmap(env->ret_room, env->ret_room_size);
	for (unsigned k = 0; k < ARRAY_LEN(env->code); k++)
		free(env->code[k].jumps);
	free(env);
}
