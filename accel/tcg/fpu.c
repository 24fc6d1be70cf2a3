/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that move FPU state to and from memory. The host's own do the work, on a buffer; the
 * addresses of the last x87 instruction, which would be the host's, are stored as 0. General
 * registers only.
 */
#include "accel/tcg/system.h"

#define FXSAVE_BYTES 512
#define MXCSR_AT 24
#define MXCSR_ALLOWED 0xffffu

static void to_guest(struct tcg_env *env, uint64_t va, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i += 8)
		tcg_store(env, va + i,
			  load_le(bytes + i, MIN_OF(8u, n - i) == 8 ? 8
					     : n - i >= 4	    ? 4
								    : 2),
			  n - i >= 8   ? 8
			  : n - i >= 4 ? 4
				       : 2);
}

static void from_guest(struct tcg_env *env, uint64_t va, uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i += 2)
		store_le(bytes + i, tcg_load(env, va + i, 2), 2);
}

static void check_writable(struct tcg_env *env, uint64_t va, unsigned n)
{
	/* Both ends, so that a fault comes before anything is written. */
	tcg_store(env, va + n - 1, tcg_load(env, va + n - 1, 1), 1);
	tcg_store(env, va, tcg_load(env, va, 1), 1);
}

static void fxsave(struct tcg_env *env, uint64_t va)
{
	uint8_t area[FXSAVE_BYTES] __attribute__((aligned(16)));
	unsigned registers = env->mode & MODE_CODE64 ? 16 : 8;

	check_writable(env, va, FXSAVE_BYTES);
	__asm__ volatile("fxsave64 %0" : "=m"(area));
	for (unsigned i = 6; i < 24; i++)
		area[i] = 0;
	to_guest(env, va, area, 160 + 16 * registers);
}

static void fxrstor(struct tcg_env *env, uint64_t va)
{
	uint8_t area[FXSAVE_BYTES] __attribute__((aligned(16)));
	unsigned registers = env->mode & MODE_CODE64 ? 16 : 8;

	/* The operand is the whole area, also where nothing is loaded from its end. */
	tcg_load(env, va + FXSAVE_BYTES - 1, 1);
	__asm__ volatile("fxsave64 %0" : "=m"(area));
	from_guest(env, va, area, 160 + 16 * registers);
	if (load_le(area + MXCSR_AT, 4) & ~MXCSR_ALLOWED)
		tcg_raise_error(env, VECTOR_GP, 0);
	for (unsigned i = 6; i < 24; i++)
		area[i] = 0;
	__asm__ volatile("fxrstor64 %0" : : "m"(area));
}

bool tcg_host_mxcsr_has_more(void)
{
	static uint32_t mask;

	if (!mask) {
		uint8_t area[FXSAVE_BYTES] __attribute__((aligned(16)));

		__asm__ volatile("fxsave64 %0" : "=m"(area));
		mask = (uint32_t)load_le(area + MXCSR_AT + 4, 4);
	}
	return mask & ~MXCSR_ALLOWED;
}

static void load_mxcsr(struct tcg_env *env, uint64_t va)
{
	uint32_t v = (uint32_t)tcg_load(env, va, 4);

	if (v & ~MXCSR_ALLOWED)
		tcg_raise_error(env, VECTOR_GP, 0);
	__asm__ volatile("ldmxcsr %0" : : "m"(v));
}

/* FNSTENV's image in the host's 32-bit protected format, or the 16-bit one. */
static void store_environment(struct tcg_env *env, const union insn_arg *a, uint64_t va, unsigned n)
{
	uint8_t area[112];
	unsigned head = a->size == 2 ? 14 : 28;

	check_writable(env, va, n);
	if (n > 28 && a->size == 2)
		__asm__ volatile("data16 fnsave %0" : "=m"(area));
	else if (n > 28)
		__asm__ volatile("fnsave %0" : "=m"(area));
	else if (a->size == 2)
		__asm__ volatile("data16 fnstenv %0" : "=m"(area));
	else
		__asm__ volatile("fnstenv %0" : "=m"(area));
	for (unsigned i = a->size == 2 ? 6 : 12; i < head; i++)
		area[i] = 0;
	to_guest(env, va, area, n);
}

static void load_environment(struct tcg_env *env, const union insn_arg *a, uint64_t va, unsigned n)
{
	uint8_t area[112];
	unsigned head = a->size == 2 ? 14 : 28;

	from_guest(env, va, area, n);
	for (unsigned i = a->size == 2 ? 6 : 12; i < head; i++)
		area[i] = 0;
	if (n > 28 && a->size == 2)
		__asm__ volatile("data16 frstor %0" : : "m"(area));
	else if (n > 28)
		__asm__ volatile("frstor %0" : : "m"(area));
	else if (a->size == 2)
		__asm__ volatile("data16 fldenv %0" : : "m"(area));
	else
		__asm__ volatile("fldenv %0" : : "m"(area));
}

/*
 * The XSAVE family (SDM volume 1, chapter 13). Guests may have x87, SSE and AVX, whose places in
 * the standard and the compacted format are the same, and PKRU. The host's XSAVE moves them to and
 * from a buffer in standard format.
 */
#define XCOMP_COMPACT BIT64(63)
#define XSAVE_HEADER 512
#define XSAVE_YMM 576
#define X87_BIT BIT64(0)
#define SSE_BIT BIT64(1)
#define AVX_BIT BIT64(2)

unsigned tcg_xsave_bytes(uint64_t parts, bool compact)
{
	unsigned bytes = parts & AVX_BIT ? TCG_XSAVE_BYTES : XSAVE_YMM;

	if (!(parts & XSAVE_PKRU_BIT))
		return bytes;
	return (compact ? bytes : XSAVE_PKRU) + XSAVE_PKRU_BYTES;
}

/* Where PKRU is in an area of these parts. */
static unsigned pkru_at(uint64_t parts, bool compact)
{
	return tcg_xsave_bytes(parts | XSAVE_PKRU_BIT, compact) - XSAVE_PKRU_BYTES;
}

void tcg_set_pkru(struct tcg_env *env, uint32_t v)
{
	if (env->pkru == v)
		return;
	env->pkru = v;
	tcg_tlb_flush(env, true);
}

static void xsave_host(uint8_t *area)
{
	for (unsigned i = 0; i < 64; i++)
		area[XSAVE_HEADER + i] = 0;
	__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(TCG_XSAVE_PARTS), "d"(0) : "memory");
	for (unsigned i = 6; i < 24; i++)
		area[i] = 0;
}

uint64_t tcg_xinuse(const struct tcg_env *env)
{
	uint8_t area[TCG_XSAVE_BYTES] __attribute__((aligned(64)));

	xsave_host(area);
	return load_le(area + XSAVE_HEADER, 8) | (env->pkru ? XSAVE_PKRU_BIT : 0);
}

static void xsave(struct tcg_env *env, const union insn_arg *a, uint64_t va, uint64_t mask)
{
	uint8_t area[TCG_XSAVE_BYTES] __attribute__((aligned(64)));
	bool compact = a->opcode == 0xc7, all = a->opcode == 0xae && (a->reg & 7) == 4;
	unsigned registers = env->mode & MODE_CODE64 ? 16 : 8;
	uint64_t in_use, wanted, old;

	check_writable(env, va, tcg_xsave_bytes(mask, compact));
	xsave_host(area);
	in_use = load_le(area + XSAVE_HEADER, 8) | (env->pkru ? XSAVE_PKRU_BIT : 0);
	if (compact && load_le(area + MXCSR_AT, 4) != 0x1f80)
		in_use |= SSE_BIT;
	/* All but XSAVE leave the memory of parts in their initial state alone. */
	wanted = all ? mask : mask & in_use;
	if (wanted & X87_BIT) {
		to_guest(env, va, area, 24);
		to_guest(env, va + 32, area + 32, 128);
	}
	if (compact ? wanted & SSE_BIT : mask & (SSE_BIT | AVX_BIT))
		to_guest(env, va + MXCSR_AT, area + MXCSR_AT, 8);
	if (wanted & SSE_BIT)
		to_guest(env, va + 160, area + 160, 16 * registers);
	if (wanted & AVX_BIT)
		to_guest(env, va + XSAVE_YMM, area + XSAVE_YMM, 16 * registers);
	if (wanted & XSAVE_PKRU_BIT)
		tcg_store(env, va + pkru_at(mask, compact), env->pkru, XSAVE_PKRU_BYTES);
	old = compact ? 0 : tcg_load(env, va + XSAVE_HEADER, 8);
	tcg_store(env, va + XSAVE_HEADER, (old & ~mask) | (in_use & mask), 8);
	if (compact)
		tcg_store(env, va + XSAVE_HEADER + 8, mask | XCOMP_COMPACT, 8);
}

/* The header's rules; the parts present in memory, and those that a compacted area has room for. */
static uint64_t check_header(struct tcg_env *env, uint64_t va, bool *compact, uint64_t *parts)
{
	uint64_t xcr0 = env->cpu->xcr0, present = tcg_load(env, va + XSAVE_HEADER, 8);
	uint64_t format = tcg_load(env, va + XSAVE_HEADER + 8, 8), reserved = 0;

	*compact = format & XCOMP_COMPACT;
	*parts = format & ~XCOMP_COMPACT;
	for (unsigned i = 16; i < (*compact ? 64 : 24); i += 8)
		reserved |= tcg_load(env, va + XSAVE_HEADER + i, 8);
	if (*compact ? *parts & ~xcr0 || present & ~*parts
		     : format || present & ~xcr0)
		reserved = 1;
	if (reserved)
		tcg_raise_error(env, VECTOR_GP, 0);
	return present;
}

static void xrstor(struct tcg_env *env, const union insn_arg *a, uint64_t va, uint64_t mask)
{
	uint8_t area[TCG_XSAVE_BYTES] __attribute__((aligned(64)));
	unsigned registers = env->mode & MODE_CODE64 ? 16 : 8;
	uint64_t present, old, parts;
	uint32_t pkru = 0;
	bool compact;

	present = check_header(env, va, &compact, &parts);
	if (a->opcode == 0xc7 && !compact)
		tcg_raise_error(env, VECTOR_GP, 0);
	xsave_host(area);
	old = load_le(area + XSAVE_HEADER, 8);
	if (mask & present & X87_BIT) {
		from_guest(env, va, area, 6);
		from_guest(env, va + 32, area + 32, 128);
	}
	/* The standard format's MXCSR counts even where the registers are initialised. */
	if (compact ? mask & present & SSE_BIT : mask & (SSE_BIT | AVX_BIT))
		from_guest(env, va + MXCSR_AT, area + MXCSR_AT, 4);
	else if (mask & SSE_BIT)
		store_le(area + MXCSR_AT, 0x1f80, 4);
	if (load_le(area + MXCSR_AT, 4) & ~MXCSR_ALLOWED)
		tcg_raise_error(env, VECTOR_GP, 0);
	if (mask & present & SSE_BIT)
		from_guest(env, va + 160, area + 160, 16 * registers);
	if (mask & present & AVX_BIT)
		from_guest(env, va + XSAVE_YMM, area + XSAVE_YMM, 16 * registers);
	if (mask & present & XSAVE_PKRU_BIT)
		pkru = (uint32_t)tcg_load(env, va + pkru_at(parts, compact), 4);
	if (registers == 8) {
		/* The other eight stay, so what is initialised is so by hand. */
		for (unsigned i = 0; i < 128; i++) {
			if (mask & ~present & SSE_BIT)
				area[160 + i] = 0;
			if (mask & ~present & AVX_BIT)
				area[XSAVE_YMM + i] = 0;
		}
		present |= mask & old & (SSE_BIT | AVX_BIT);
	}
	store_le(area + XSAVE_HEADER, ((old & ~mask) | (present & mask)) & TCG_XSAVE_PARTS, 8);
	__asm__ volatile("xrstor64 (%0)"
			 :
			 : "r"(area),
			   "a"((mask | (mask & AVX_BIT ? SSE_BIT : 0)) & TCG_XSAVE_PARTS), "d"(0)
			 : "memory");
	__asm__ volatile("ldmxcsr (%0)" : : "r"(area + MXCSR_AT) : "memory");
	if (mask & XSAVE_PKRU_BIT)
		tcg_set_pkru(env, pkru);
}

/* Misalignment is found after the first byte's place and before the last's. */
static uint64_t aligned_linear(struct tcg_env *env, const union insn_arg *a, unsigned align,
			       unsigned size, bool write)
{
	if (tcg_linear(env, a->segment, env->tmp[0], 1, write) & (align - 1))
		tcg_raise_error(env, VECTOR_GP, 0);
	return tcg_linear(env, a->segment, env->tmp[0], size, write);
}

static void xsave_family(struct tcg_env *env, const union insn_arg *a)
{
	uint64_t mask = ((uint32_t)env->gpr[RAX] | env->gpr[RDX] << 32) & env->cpu->xcr0, va;

	if (!(env->cpu->cr4 & CR4_OSXSAVE))
		tcg_raise(env, VECTOR_UD);
	if (env->mode & MODE_TS)
		tcg_raise(env, VECTOR_NM);
	va = aligned_linear(env, a, 64, XSAVE_YMM, a->kind == K_XSAVE);
	if (a->kind == K_XSAVE)
		xsave(env, a, va, mask);
	else
		xrstor(env, a, va, mask);
}

void tcg_fpu_wait(struct tcg_env *env)
{
	uint16_t status;

	__asm__ volatile("fnstsw %0" : "=a"(status));
	if (status & 0x80)
		tcg_raise(env, VECTOR_MF);
}

int helper_fpu(struct tcg_env *env, uint64_t word)
{
	union insn_arg a = { .word = word };
	bool save = a.kind == K_FNSAVE || a.kind == K_FRSTOR;
	unsigned n = a.kind == K_FXSAVE || a.kind == K_FXRSTOR ? FXSAVE_BYTES
		     : save				       ? (a.size == 2 ? 94 : 108)
							       : (a.size == 2 ? 14 : 28);
	uint64_t va;

	if (a.kind == K_XSAVE || a.kind == K_XRSTOR) {
		xsave_family(env, &a);
		return 0;
	}
	if (a.kind == K_FXSAVE || a.kind == K_FXRSTOR) {
		if (env->mode & MODE_EM || env->mode & MODE_TS)
			tcg_raise(env, env->mode & MODE_EM ? VECTOR_UD : VECTOR_NM);
		va = aligned_linear(env, &a, 16, n, a.kind == K_FXSAVE);
		if (a.kind == K_FXSAVE)
			fxsave(env, va);
		else
			fxrstor(env, va);
		return 0;
	}
	if (a.kind == K_LDMXCSR) {
		load_mxcsr(env, tcg_linear(env, a.segment, env->tmp[0], 4, false));
		return 0;
	}
	if (a.kind == K_FRSTOR || a.kind == K_FLDENV)
		tcg_fpu_wait(env);
	va = tcg_linear(env, a.segment, env->tmp[0], n, a.kind == K_FNSAVE || a.kind == K_FNSTENV);
	switch (a.kind) {
	case K_FNSAVE:
	case K_FNSTENV:
		store_environment(env, &a, va, n);
		return 0;
	case K_FRSTOR:
	default: /* FLDENV */
		load_environment(env, &a, va, n);
		return 0;
	}
}
