/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Model-specific registers (SDM volume 4). General registers only. */
#include "accel/tcg/segment.h"

#include "core/machine.h"

/*
 * What a kernel would work around costs it much and helps nobody: the translator's memory checks
 * are branches, and no page tables of the guest's are the processor's. So it is told that there is
 * none of it: RDCL, MDS, TAA and their like (SDM volume 4, table 2-2), and enhanced IBRS for the
 * rest.
 */
#define MSR_ARCH_CAPABILITIES 0x10a
#define ARCH_CAPABILITIES                                                                          \
	(BIT64(0) | BIT64(1) | BIT64(3) | BIT64(4) | BIT64(5) | BIT64(6) | BIT64(8) | BIT64(13) |  \
	 BIT64(14) | BIT64(15) | BIT64(20) | BIT64(24) | BIT64(26) | BIT64(27) | BIT64(62))

#define MSR_MTRRCAP 0xfe
#define MTRR_VARIABLE_RANGES 8
#define MSR_PLATFORM_ID 0x17
#define MSR_EBL_CR_POWERON 0x2a
#define MSR_SPEC_CTRL 0x48
#define MSR_PRED_CMD 0x49
#define MSR_TSC 0x10
#define MSR_TSC_ADJUST 0x3b
#define MSR_XSS 0xda0
#define MSR_APIC_BASE 0x1b
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX 0xc0000103

static bool intc_msr(struct tcg_env *env, uint32_t index, uint64_t *v, bool write)
{
	const struct vcpu_intc *intc = env->cpu->vcpu.intc;
	bool ok = false;

	if (!intc || !intc->msr_read)
		return false;
	tcg_outside_begin(env);
	machine_lock();
	ok = write ? intc->msr_write(intc->opaque, index, *v)
		   : intc->msr_read(intc->opaque, index, v);
	machine_unlock();
	tcg_outside_end(env);
	return ok;
}

uint64_t tcg_host_tsc(const struct tcg_env *env)
{
	return env->count.on ? tcg_count_ns(env) : __builtin_ia32_rdtsc();
}

uint64_t tcg_guest_tsc(const struct tcg_env *env)
{
	uint64_t stopped = env->count.on ? 0 : env->tcg->stopped_tsc;

	return (stopped ? stopped : tcg_host_tsc(env)) + env->tsc_offset;
}

static uint64_t *msr_slot(struct tcg_env *env, uint32_t index)
{
	struct x86_cpu *cpu = env->cpu;

	for (uint32_t i = 0; i < cpu->msr_count; i++)
		if (cpu->msr_index[i] == index)
			return &cpu->msr_value[i];
	return NULL;
}

uint64_t tcg_msr(struct tcg_env *env, uint32_t index)
{
	uint64_t *slot = msr_slot(env, index);

	return slot ? *slot : 0;
}

/* TSC_ADJUST follows (SDM volume 3, 17.17.3). */
static void set_tsc(struct tcg_env *env, uint64_t v)
{
	uint64_t by = v - tcg_guest_tsc(env), *adjust = msr_slot(env, MSR_TSC_ADJUST);

	env->tsc_offset += by;
	if (adjust)
		*adjust += by;
}

uint64_t tcg_read_msr(struct tcg_env *env, uint32_t index)
{
	struct x86_cpu *cpu = env->cpu;
	uint64_t v = 0, *slot;

	switch (index) {
	case MSR_TSC:
		return tcg_guest_tsc(env);
	case MSR_EFER:
		return cpu->efer;
	case MSR_MTRRCAP:
		return MTRR_VARIABLE_RANGES;
	/* Firmware for Intel's processors reads them without asking. */
	case MSR_PLATFORM_ID:
	case MSR_EBL_CR_POWERON:
		return 0;
	case MSR_SMBASE: /* SDM 32.11; outside of the mode it is not there */
		if (!env->smm)
			gp(env);
		return tcg_msr(env, MSR_SMBASE);
	case MSR_ARCH_CAPABILITIES:
		if (!(env->features >> FEAT_ARCH_CAPABILITIES & 1))
			gp(env);
		return ARCH_CAPABILITIES;
	case MSR_FS_BASE:
		return cpu->seg[SEG_FS].base;
	case MSR_GS_BASE:
		return cpu->seg[SEG_GS].base;
	default:
		if (index == MSR_APIC_BASE || index == 0x6e0 || (index >= 0x800 && index < 0x900)) {
			if (!intc_msr(env, index, &v, false))
				gp(env);
			return v;
		}
		slot = msr_slot(env, index);
		if (!slot)
			gp(env);
		return *slot;
	}
}

/* `reserved` bits are #GP. */
static void write_clock_msr(struct tcg_env *env, unsigned feature, uint64_t reserved,
			    uint32_t index, uint64_t v)
{
	if (!(env->features >> feature & 1) || v & reserved)
		gp(env);
	tcg_outside_begin(env);
	tcg_pvclock_written(env, index, v);
	tcg_outside_end(env);
}

void tcg_write_msr(struct tcg_env *env, uint32_t index, uint64_t v)
{
	struct x86_cpu *cpu = env->cpu;
	uint64_t *slot, may;

	switch (index) {
	case MSR_TSC:
		set_tsc(env, v);
		return;
	case MSR_TSC_ADJUST:
		env->tsc_offset += v - tcg_msr(env, MSR_TSC_ADJUST);
		break;
	case MSR_EFER:
		may = env->efer_allowed;
		if (v & ~may & ~EFER_LMA || (cpu->cr0 & CR0_PG && (v ^ cpu->efer) & EFER_LME))
			gp(env);
		cpu->efer = (v & ~EFER_LMA) | (cpu->efer & EFER_LMA);
		tcg_flush_translations(env, true);
		return;
	case MSR_FS_BASE:
	case MSR_GS_BASE:
		if (!tcg_canonical(env, v))
			gp(env);
		cpu->seg[index == MSR_FS_BASE ? SEG_FS : SEG_GS].base = v;
		env->seg_base[index == MSR_FS_BASE ? SEG_FS : SEG_GS] = v;
		return;
	case MSR_SMBASE:
		gp(env);
	case MSR_SPEC_CTRL: {
		const struct x86_cpuid *c = x86_cpuid_find(cpu, 7, 2);

		if (v & ~(c && c->edx & BIT(4) ? UINT64_C(0x407) : UINT64_C(7)))
			gp(env);
		break;
	}
	case MSR_PRED_CMD:
		if (!(env->features >> FEAT_SPEC_CTRL & 1) || v & ~UINT64_C(1))
			gp(env);
		return;
	case MSR_KVM_WALL_CLOCK_OLD:
	case MSR_KVM_SYSTEM_TIME_OLD:
		write_clock_msr(env, FEAT_KVMCLOCK, 0, index, v);
		break;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_SYSTEM_TIME:
		write_clock_msr(env, FEAT_KVMCLOCK_NEW, 0, index, v);
		break;
	case MSR_KVM_STEAL_TIME:
		write_clock_msr(env, FEAT_KVM_STEAL_TIME, 0x3e, index, v);
		break;
	case MSR_KVM_PV_EOI:
		write_clock_msr(env, FEAT_KVM_PV_EOI, 2, index, v);
		break;
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_KERNEL_GS_BASE:
	case MSR_SYSENTER_ESP:
	case MSR_SYSENTER_EIP:
		if (!tcg_canonical(env, v))
			gp(env);
		break;
	default:
		if (index == MSR_APIC_BASE || index == 0x6e0 || (index >= 0x800 && index < 0x900)) {
			if (!intc_msr(env, index, &v, true))
				gp(env);
			return;
		}
		break;
	}
	slot = msr_slot(env, index);
	if (!slot || (index == MSR_XSS && v))
		gp(env);
	*slot = v;
}

void tcg_find_hot_msrs(struct tcg_env *env)
{
	static const uint32_t index[HOT_MSRS] = {
		[HOT_STAR] = MSR_STAR,	     [HOT_LSTAR] = MSR_LSTAR,
		[HOT_SFMASK] = MSR_SFMASK,   [HOT_KERNEL_GS_BASE] = MSR_KERNEL_GS_BASE,
		[HOT_TSC_AUX] = MSR_TSC_AUX,
	};

	for (unsigned i = 0; i < HOT_MSRS; i++) {
		x86_msr_add(env->cpu, index[i]);
		env->hot_msr[i] = msr_slot(env, index[i]);
	}
}
