/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CR4.VME and CR4.PVI: virtual interrupts of V86 mode and of CPL 3 (SDM volume 3, 20.3). General
 * registers only. */
#include "accel/tcg/segment.h"

/* Where the redirection bits lie: so much below the I/O permission map. */
#define REDIRECTION_BYTES 32
#define TSS_IO_MAP 102

/* V86 mode with VME below IOPL 3: its IF is VIF. */
static bool virtual_flag(const struct tcg_env *env)
{
	return env->mode & MODE_V86 && env->cpu->cr4 & CR4_VME &&
	       (env->eflags & FLAG_IOPL) != FLAG_IOPL;
}

bool v86_set_interrupts(struct tcg_env *env, bool set)
{
	bool pvi = env->mode & MODE_PROTECTED && env->cpu->cr4 & CR4_PVI && tcg_cpl(env) == 3 &&
		   (env->eflags & FLAG_IOPL) != FLAG_IOPL;

	if (!virtual_flag(env) && !pvi)
		return false;
	if (set && env->eflags & FLAG_VIP)
		tcg_raise_error(env, VECTOR_GP, 0);
	env->eflags = (env->eflags & ~FLAG_VIF) | (set ? FLAG_VIF : 0);
	return true;
}

uint64_t v86_flags(const struct tcg_env *env)
{
	uint64_t flags = tcg_flags(env);

	if (!virtual_flag(env))
		return flags;
	return (flags & ~FLAG_IF) | FLAG_IOPL | (flags & FLAG_VIF ? FLAG_IF : 0);
}

void v86_check_flags(struct tcg_env *env, unsigned size)
{
	if (env->mode & MODE_V86 && (env->eflags & FLAG_IOPL) != FLAG_IOPL &&
	    (!(env->cpu->cr4 & CR4_VME) || size != 2))
		tcg_raise_error(env, VECTOR_GP, 0);
}

void v86_load_flags(struct tcg_env *env, uint64_t flags, unsigned size)
{
	bool own = virtual_flag(env);

	if (own && (flags & FLAG_TF || (flags & FLAG_IF && env->eflags & FLAG_VIP)))
		tcg_raise_error(env, VECTOR_GP, 0);
	tcg_load_flags(env, flags, size, 3);
	if (own)
		env->eflags = (env->eflags & ~FLAG_VIF) | (flags & FLAG_IF ? FLAG_VIF : 0);
}

bool v86_interrupt(struct tcg_env *env, uint8_t vector, uint64_t next)
{
	const struct x86_cpu *cpu = env->cpu;
	const struct x86_segment *tss = &cpu->seg[SEG_TR];
	uint64_t flags = v86_flags(env), map;
	uint32_t entry;

	if (!(env->mode & MODE_V86))
		return false;
	if (!(cpu->cr4 & CR4_VME) || (tss->rights & 15) < TYPE_TSS32) {
		v86_check_flags(env, 0);
		return false;
	}
	map = tcg_system_load(env, tss->base + TSS_IO_MAP, 2) - REDIRECTION_BYTES + vector / 8;
	if (map > tss->limit || tcg_system_load(env, tss->base + map, 1) >> (vector & 7) & 1) {
		v86_check_flags(env, 0);
		return false;
	}
	/* As the 8086 does it. */
	entry = (uint32_t)tcg_quiet_load(env, 4u * vector, 4, false);
	stack_push_real(env, flags, cpu->seg[SEG_CS].selector, next);
	env->eflags &=
		~(virtual_flag(env) ? FLAG_VIF | FLAG_TF | FLAG_NT : FLAG_IF | FLAG_TF | FLAG_NT);
	segment_load_real(env, SEG_CS, (uint16_t)(entry >> 16));
	env->rip = entry & 0xffff;
	tcg_update_mode(env);
	return true;
}
