/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Breakpoints and watchpoints of the debug registers (SDM volume 3, chapter 17): the guest's, or a
 * debugger's while it has some. Nothing is compiled into code for them. A page with an instruction
 * breakpoint runs one instruction at a time; a page with watched data stays out of the TLBs, and an
 * instruction that touches the data begins again, alone, so that the trap comes right after it.
 * General registers only.
 */
#include "accel/tcg/system.h"

enum { RW_EXECUTE, RW_WRITE, RW_IO, RW_READ_WRITE };

static uint64_t dr7(const struct tcg_env *env)
{
	return env->debug.wanted.hardware ? env->debug.wanted.dr7 : env->cpu->dr7;
}

static uint64_t address(const struct tcg_env *env, unsigned n)
{
	return env->debug.wanted.hardware ? env->debug.wanted.dr[n] : env->cpu->dr[n];
}

static unsigned kind(uint64_t control, unsigned n)
{
	return control >> (16 + 4 * n) & 3;
}

static unsigned length(uint64_t control, unsigned n)
{
	static const uint8_t bytes[] = { 1, 2, 8, 4 };

	return bytes[control >> (18 + 4 * n) & 3];
}

void tcg_debug_update(struct tcg_env *env)
{
	uint64_t control = dr7(env);

	env->debug.code = env->debug.data = env->debug.io = 0;
	for (unsigned n = 0; n < 4; n++) {
		if (!(control >> (2 * n) & 3))
			continue;
		if (kind(control, n) == RW_EXECUTE)
			env->debug.code |= BIT(n);
		else if (kind(control, n) != RW_IO)
			env->debug.data |= BIT(n);
		else if (env->cpu->cr4 & CR4_DE)
			env->debug.io |= BIT(n);
	}
	tcg_flush_translations(env, true);
}

bool tcg_debug_code_page(const struct tcg_env *env, uint64_t linear)
{
	for (unsigned n = 0; n < 4; n++)
		if (env->debug.code >> n & 1 && (address(env, n) ^ linear) < PAGE_SIZE_4K)
			return true;
	return false;
}

unsigned tcg_debug_code_hit(const struct tcg_env *env, uint64_t linear)
{
	unsigned hit = 0;

	for (unsigned n = 0; n < 4; n++)
		if (env->debug.code >> n & 1 && address(env, n) == linear)
			hit |= BIT(n);
	return hit;
}

bool tcg_debug_data_page(const struct tcg_env *env, uint64_t va)
{
	for (unsigned n = 0; n < 4; n++)
		if (env->debug.data >> n & 1 && (address(env, n) ^ va) < PAGE_SIZE_4K)
			return true;
	return false;
}

/* Which of `mask` the bytes from `at` on touch; a breakpoint is as aligned as it is long. */
static unsigned overlaps(const struct tcg_env *env, unsigned mask, uint64_t at, unsigned size)
{
	uint64_t control = dr7(env);
	unsigned hit = 0;

	for (unsigned n = 0; n < 4; n++) {
		unsigned bytes = length(control, n);
		uint64_t first = address(env, n) & ~(uint64_t)(bytes - 1);

		if (mask >> n & 1 && at - first + size - 1 < bytes + size - 1)
			hit |= BIT(n);
	}
	return hit;
}

void tcg_debug_access(struct tcg_env *env, uint64_t va, unsigned size, bool write)
{
	uint64_t control = dr7(env);
	unsigned mask = env->debug.data, hit;

	for (unsigned n = 0; n < 4; n++)
		if (!write && kind(control, n) == RW_WRITE)
			mask &= ~BIT(n);
	hit = overlaps(env, mask, va, size);
	if (!hit)
		return;
	if (!(env->mode & MODE_STEP)) {
		env->debug.alone = true;
		tcg_raise(env, TCG_AGAIN);
	}
	env->debug.hit |= hit;
}

bool tcg_debug_io(struct tcg_env *env, uint16_t port, unsigned size)
{
	env->debug.hit |= overlaps(env, env->debug.io, port, size);
	return env->debug.hit;
}
