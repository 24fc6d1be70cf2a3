/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The translator's system side: paging, segments, exceptions, privileged instructions. */
#pragma once

#include <stdio.h>

#include "accel/accel.h"
#include "accel/tcg/tcg.h"
#include "cpu/x86/models.h"

#define CR0_MP BIT64(1)
#define DR6_BT BIT64(15)
#define CR0_EM BIT64(2)
#define CR0_TS BIT64(3)
#define CR0_NE BIT64(5)
#define CR0_WP BIT64(16)
#define CR0_AM BIT64(18)
#define CR4_VME BIT64(0)
#define CR4_PVI BIT64(1)
#define CR4_TSD BIT64(2)
#define CR4_DE BIT64(3)
#define CR4_PGE BIT64(7)
#define CR4_OSFXSR BIT64(9)
#define CR4_UMIP BIT64(11)
#define CR4_FSGSBASE BIT64(16)
#define CR4_PCIDE BIT64(17)
#define CR4_OSXSAVE BIT64(18)
#define CR4_SMEP BIT64(20)
#define CR4_SMAP BIT64(21)
#define CR4_PKE BIT64(22)
#define EFER_SCE BIT64(0)
#define EFER_NXE BIT64(11)
#define FLAG_TF BIT64(8)
#define FLAG_IF BIT64(9)
#define FLAG_DF BIT64(10)
#define FLAG_IOPL (BIT64(12) | BIT64(13))
#define FLAG_NT BIT64(14)
#define FLAG_RF BIT64(16)
#define FLAG_VM BIT64(17)
#define FLAG_AC BIT64(18)
#define FLAG_VIF BIT64(19)
#define FLAG_VIP BIT64(20)
#define FLAG_ID BIT64(21)

enum {
	VECTOR_DE = 0,
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_UD = 6,
	VECTOR_NM = 7,
	VECTOR_DF = 8,
	VECTOR_TS = 10,
	VECTOR_NP = 11,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_MF = 16,
};

/* Descriptor access bytes, as in struct x86_segment.rights. */
#define DESC_S BIT(4)
#define DESC_P BIT(7)
#define DESC_L BIT(13)
#define DESC_B BIT(14)
#define DESC_G BIT(15)
#define DESC_DPL(rights) ((rights) >> 5 & 3)

/* Physical memory that can be reached directly; immutable, replaced whole. */
struct tcg_range {
	uint64_t start, end;
	uint8_t *host;
	struct ram_block *ram;
	uint64_t ram_off;
	bool writable;
};

struct tcg_map {
	size_t count;
	struct tcg_range range[];
};

/* MAXPHYADDR. */
#define TCG_PHYS_BITS 40

/* The engine. */
struct tcg {
	struct accel *accel;
	struct tcg_cache *cache;
	struct tcg_map *map;
	GArray *ranges;	     /* the next map, while it changes */
	GPtrArray *old_maps; /* readers may still be in them */
	struct space_listener listener;
	struct ram_watcher watcher;
	/* The host's TSC and clock at the start, from which its rate is found. */
	uint64_t first_tsc, first_ns;
	uint64_t stopped_tsc; /* the host's, when the VM stopped; 0 while it runs */
	uint64_t started_tsc; /* when it was started last */
	/* The paravirtual clock: its ns are the VM clock's plus this; pvclock.c. */
	uint64_t clock_offset;
	struct {
		bool valid;
		uint64_t tsc, ns; /* the host's TSC; the guest's time */
		uint32_t mul;
		int8_t shift;
	} base;
	FILE *digest;
	struct x86_host_cpuid host;
	struct x86_cpuid leaves[X86_MOST_CPUID];
};

static inline _Noreturn void gp(struct tcg_env *env)
{
	tcg_raise_error(env, VECTOR_GP, 0);
}

/* Model-specific registers (msr.c); #GP where there is none or the value is none. */
#define MSR_CSTAR 0xc0000083
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
uint64_t tcg_read_msr(struct tcg_env *env, uint32_t index);
void tcg_write_msr(struct tcg_env *env, uint32_t index, uint64_t v);
/* One that is in the vCPU's list. */
uint64_t tcg_msr(struct tcg_env *env, uint32_t index);

uint8_t *tcg_ram(struct tcg_env *env, uint64_t phys, bool write);
void tcg_walk(struct tcg_env *env, uint64_t va, enum tcg_access access, bool system,
	      struct tcg_page *page);
/* Supervisor accesses whatever the CPL: descriptor tables, TSS, stacks of inner levels. May raise.
 */
uint64_t tcg_system_load(struct tcg_env *env, uint64_t va, unsigned size);
void tcg_system_store(struct tcg_env *env, uint64_t va, uint64_t value, unsigned size);
/* The same with the rights of the CPL, unless `system`; no watchpoint sees them. */
uint64_t tcg_quiet_load(struct tcg_env *env, uint64_t va, unsigned size, bool system);
void tcg_quiet_store(struct tcg_env *env, uint64_t va, uint64_t value, unsigned size, bool system);
/* Whether offsets `first` to `last` lie in the segment. */
bool tcg_within_limit(const struct x86_segment *s, uint32_t first, uint32_t last);

/* segment.c */
/* Recomputes what env keeps of segments, CPL and control registers. */
void tcg_update_mode(struct tcg_env *env);
unsigned tcg_cpl(const struct tcg_env *env);
/* Whether EFLAGS.AC suspends SMAP's protection of user pages. */
static inline bool tcg_smap_open(const struct tcg_env *env)
{
	return env->cpu->cr4 & CR4_SMAP && env->eflags & FLAG_AC;
}
/* Delivers an exception or interrupt; may raise. */
struct tcg_event {
	unsigned vector;
	bool has_error, software, external;
	uint32_t error;
	uint64_t next_rip; /* software: where to return to */
};
void tcg_deliver(struct tcg_env *env, const struct tcg_event *e);
void tcg_load_flags(struct tcg_env *env, uint64_t flags, unsigned size, unsigned cpl);
void tcg_load_ldt(struct tcg_env *env, uint16_t selector);
void tcg_load_tr(struct tcg_env *env, uint16_t selector);
bool tcg_probe_segment(struct tcg_env *env, unsigned kind, bool write_or_limit, uint16_t selector,
		       uint64_t *value);
int helper_load_segment(struct tcg_env *env, uint64_t arg);

/* smm.c; anything may be called there. An SMI, between two runs; RSM: false if it ends in shutdown.
 */
#define MSR_SMBASE 0x9e
void tcg_smm_enter(struct tcg_env *env);
bool tcg_smm_resume(struct tcg_env *env);
/* env->smram, after env->smm changed. */
void tcg_smm_view(struct tcg_env *env);

/* The vCPU's events: interrupts, requests. EXIT_AGAIN: run on. */
enum vcpu_exit tcg_vcpu_run(struct vcpu *v);
/* Where the fields have env->hot_msr; whenever the list of MSRs may have changed. */
void tcg_find_hot_msrs(struct tcg_env *env);
uint64_t tcg_host_tsc_khz(const struct tcg *t);
/* What the guest's TSC is an offset from; goes by env's instructions where they are counted. */
uint64_t tcg_host_tsc(const struct tcg_env *env);
/* Counted execution (count.c); anything may be called there. */
bool tcg_count_open(struct tcg *t, const char *path, GError **err);
static inline uint64_t tcg_executed(const struct tcg_env *env)
{
	return env->count.end - (uint64_t)(int64_t)env->budget - env->ahead;
}
static inline uint64_t tcg_count_ns(const struct tcg_env *env)
{
	return tcg_executed(env) << env->count.shift;
}
/* The VM clock shows the instruction that runs. */
void tcg_count_clock(struct tcg_env *env);
/* Timers may have been set. */
void tcg_count_replan(struct tcg_env *env);
/* The budget is used up: timers, and a new one. */
void tcg_count_tick(struct tcg_env *env);
/* Nothing runs until the next timer: on to it. False: there is none. */
bool tcg_count_idle(struct tcg_env *env);
/* pvclock.c; anything may be called there. An MSR of the clock's was written, or all of them
 * loaded. */
#define MSR_KVM_WALL_CLOCK_OLD 0x11
#define MSR_KVM_SYSTEM_TIME_OLD 0x12
#define MSR_KVM_WALL_CLOCK 0x4b564d00
#define MSR_KVM_SYSTEM_TIME 0x4b564d01
#define MSR_KVM_STEAL_TIME 0x4b564d03
#define MSR_KVM_PV_EOI 0x4b564d04
/* Whether the host tells how long a thread waited for a processor. */
bool tcg_steal_time_known(void);
/* Tells the guest how long the vCPU waited, if it wants to know and the last time is a while ago.
 */
void tcg_steal_time_update(struct tcg_env *env);
void tcg_pvclock_written(struct tcg_env *env, uint32_t index, uint64_t v);
void tcg_pvclock_refresh(struct tcg_env *env);
bool tcg_clock_get(struct accel *a, uint64_t *ns);
bool tcg_clock_set(struct accel *a, uint64_t ns);
uint64_t tcg_guest_tsc(const struct tcg_env *env);
