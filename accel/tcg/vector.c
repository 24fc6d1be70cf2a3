/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Masked moves and gathers: vector instructions whose accesses depend on a mask. They work on the
 * registers' image in env->fpu (standard XSAVE format). General registers only.
 */
#include "accel/tcg/system.h"

#define XMM_AT 160
#define YMM_AT 576 /* the upper halves */
#define ST_AT 32
#define XSTATE_BV_AT 512

/* Element i of `size` bytes of a vector register's image. */
static uint8_t *element(struct tcg_env *env, unsigned reg, unsigned i, unsigned size)
{
	unsigned at = i * size;

	return env->fpu + (at < 16 ? XMM_AT + 16 * reg + at : YMM_AT + 16 * reg + at - 16);
}

static bool chosen(struct tcg_env *env, unsigned mask, unsigned i, unsigned size)
{
	return element(env, mask, i, size)[size - 1] & 0x80;
}

static void clear(struct tcg_env *env, unsigned reg, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		*element(env, reg, i, 1) = 0;
}

static void fetch_registers(struct tcg_env *env)
{
	tcg_fpu_save(env->fpu);
	/* Saved in full; parts in their initial state may be changed below. */
	env->fpu[XSTATE_BV_AT] |= 7;
}

/* Of element i; only the first's offset has the address size. */
static uint64_t address(struct tcg_env *env, const union vector_arg *a, unsigned i, unsigned size,
			bool write)
{
	return tcg_linear(env, a->segment, env->tmp[0] + i * size, size, write);
}

static void masked_load(struct tcg_env *env, const union vector_arg *a, unsigned size, unsigned n)
{
	uint64_t v[8];

	fetch_registers(env);
	for (unsigned i = 0; i < n; i++)
		v[i] = chosen(env, a->vvvv, i, size)
			       ? tcg_load(env, address(env, a, i, size, false), size)
			       : 0;
	/* A device's read goes through env->fpu. */
	fetch_registers(env);
	for (unsigned i = 0; i < n; i++)
		store_le(element(env, a->reg, i, size), v[i], size);
	clear(env, a->reg, n * size, 32);
	tcg_fpu_load(env->fpu);
}

/* Elements of `data` where the mask's are negative, to tmp[0] on. */
static void masked_store(struct tcg_env *env, const union vector_arg *a, unsigned size, unsigned n,
			 const uint64_t *data, unsigned mask)
{
	for (unsigned i = 0; i < n; i++)
		if (mask >> i & 1)
			tcg_probe_store(env, address(env, a, i, size, true), size);
	for (unsigned i = 0; i < n; i++)
		if (mask >> i & 1)
			tcg_store(env, address(env, a, i, size, true), data[i], size);
}

static void vector_store(struct tcg_env *env, const union vector_arg *a, unsigned data_reg,
			 unsigned mask_reg, unsigned size, unsigned n)
{
	uint64_t data[16];
	unsigned mask = 0;

	fetch_registers(env);
	for (unsigned i = 0; i < n; i++) {
		data[i] = load_le(element(env, data_reg, i, size), size);
		mask |= (unsigned)chosen(env, mask_reg, i, size) << i;
	}
	masked_store(env, a, size, n, data, mask);
}

/* MASKMOVQ: MMX registers, which ST(i)'s image holds by the top of stack. */
static void mmx_store(struct tcg_env *env, const union vector_arg *a)
{
	uint64_t data[8];
	unsigned mask = 0;

	tcg_fpu_wait(env);
	/* Any MMX instruction makes the top 0 and all registers valid. */
	__asm__ volatile("movd %%mm0, %%eax" : : : "eax");
	fetch_registers(env);
	for (unsigned i = 0; i < 8; i++) {
		data[i] = env->fpu[ST_AT + 16 * (a->reg & 7) + i];
		mask |= (unsigned)(env->fpu[ST_AT + 16 * (a->rm & 7) + i] >> 7) << i;
	}
	masked_store(env, a, 1, 8, data, mask);
}

/*
 * Elements in order; one that faults leaves those before it done, their masks cleared (SDM volume
 * 2, VGATHERDPS).
 */
static void gather(struct tcg_env *env, const union vector_arg *a)
{
	unsigned size = a->w ? 8 : 4, index_size = a->opcode & 1 ? 8 : 4;
	unsigned n = (a->l ? 32u : 16u) / MAX_OF(size, index_size);
	uint64_t base = env->tmp[0];

	fetch_registers(env);
	/* Processors extend the signs first, even if the first element faults. */
	for (unsigned i = 0; i < (a->l ? 32u : 16u) / size; i++)
		store_le(element(env, a->vvvv, i, size),
			 chosen(env, a->vvvv, i, size) ? UINT64_MAX : 0, size);
	clear(env, a->vvvv, a->l ? 32 : 16, 32);
	for (unsigned i = 0; i < n; i++) {
		uint64_t index = load_le(element(env, a->index, i, index_size), index_size), va, v;
		const void *direct;

		if (!chosen(env, a->vvvv, i, size))
			continue;
		if (index_size == 4)
			index = (uint64_t)(int64_t)(int32_t)index;
		/* What may fault or leave finds all that is done so far in the registers. */
		tcg_fpu_load(env->fpu);
		va = tcg_linear(env, a->segment,
				(base + (index << a->scale)) & ones(a->address_size), size, false);
		direct = tcg_direct(env, va, size, ACCESS_LOAD);
		v = direct ? load_le(direct, size) : tcg_load(env, va, size);
		fetch_registers(env);
		store_le(element(env, a->reg, i, size), v, size);
		clear(env, a->reg, a->l ? 32 : 16, 32);
		store_le(element(env, a->vvvv, i, size), 0, size);
	}
	clear(env, a->vvvv, 0, 32);
	clear(env, a->reg, n * size, 32);
	tcg_fpu_load(env->fpu);
}

int helper_vector(struct tcg_env *env, uint64_t word)
{
	union vector_arg a = { .word = word };
	unsigned size = a.opcode & 0x80 ? (a.w ? 8 : 4) : (a.opcode & 1 ? 8 : 4);
	unsigned n = (a.l ? 32u : 16u) / size;

	switch (a.kind) {
	case K_VMASKMOV:
		/* 2Ch, 2Dh and 8Ch load, 2Eh, 2Fh and 8Eh store. */
		if (a.opcode & 2)
			vector_store(env, &a, a.reg, a.vvvv, size, n);
		else
			masked_load(env, &a, size, n);
		return 0;
	case K_MASKMOV:
		env->tmp[0] = env->gpr[RDI] & ones(a.address_size);
		if (a.mmx)
			mmx_store(env, &a);
		else
			vector_store(env, &a, a.reg, a.rm, 1, 16);
		return 0;
	default:
		gather(env, &a);
		return 0;
	}
}
