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

	__asm__ volatile("fxsave64 %0" : "=m"(area));
	from_guest(env, va, area, 160 + 16 * registers);
	if (load_le(area + MXCSR_AT, 4) & ~MXCSR_ALLOWED)
		tcg_raise_error(env, VECTOR_GP, 0);
	for (unsigned i = 6; i < 24; i++)
		area[i] = 0;
	__asm__ volatile("fxrstor64 %0" : : "m"(area));
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

int helper_fpu(struct tcg_env *env, uint64_t word)
{
	union insn_arg a = { .word = word };
	bool save = a.kind == K_FNSAVE || a.kind == K_FRSTOR;
	unsigned n = a.kind == K_FXSAVE || a.kind == K_FXRSTOR ? FXSAVE_BYTES
		     : save				       ? (a.size == 2 ? 94 : 108)
							       : (a.size == 2 ? 14 : 28);
	uint64_t va = tcg_linear(env, a.segment, env->tmp[0], n,
				 a.kind == K_FXSAVE || a.kind == K_FNSAVE || a.kind == K_FNSTENV);

	switch (a.kind) {
	case K_FXSAVE:
	case K_FXRSTOR:
		if (env->mode & MODE_EM || env->mode & MODE_TS)
			tcg_raise(env, env->mode & MODE_EM ? VECTOR_UD : VECTOR_NM);
		if (va & 15)
			tcg_raise_error(env, VECTOR_GP, 0);
		if (a.kind == K_FXSAVE)
			fxsave(env, va);
		else
			fxrstor(env, va);
		return 0;
	case K_FNSAVE:
	case K_FNSTENV:
		store_environment(env, &a, va, n);
		return 0;
	case K_FRSTOR:
	case K_FLDENV:
		load_environment(env, &a, va, n);
		return 0;
	default:
		env->unsupported = "an instruction that the translator does not have yet";
		tcg_raise(env, TCG_UNSUPPORTED);
	}
}
