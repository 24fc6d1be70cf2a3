/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x86 vCPU: architectural state, as the manuals name it. Sources: Intel SDM volumes 1 to 3, AMD
 * APM volume 2.
 */
#pragma once

#include "cpu/cpu.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPRS };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDT, SEG_TR, SEGS };

/* Access rights as in a descriptor's bytes 5 and 6, with bit 16 for unusable (SDM 3, 25.4.1). */
struct x86_segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint32_t rights;
};
#define SEG_UNUSABLE BIT(16)

struct x86_table_register {
	uint64_t base;
	uint16_t limit;
};

/* Multiprocessing states, in KVM's numbering. */
enum { MP_RUNNABLE, MP_UNINITIALIZED, MP_INIT_RECEIVED, MP_HALTED, MP_SIPI_RECEIVED };

#define CR0_PE BIT64(0)
#define CR0_ET BIT64(4)
#define CR0_NW BIT64(29)
#define CR0_CD BIT64(30)
#define CR0_PG BIT64(31)
#define CR4_PSE BIT64(4)
#define CR4_PAE BIT64(5)
#define CR4_LA57 BIT64(12)
#define EFER_LME BIT64(8)
#define EFER_LMA BIT64(10)
#define APIC_BASE_BSP BIT64(8)
#define APIC_BASE_EXTD BIT64(10)
#define APIC_BASE_ENABLE BIT64(11)

#define X86_SMBASE 0x30000 /* after a reset */

#define X86_MOST_MSRS 384
#define X86_XSAVE_BYTES 4096
#define X86_MOST_CPUID 128
#define X86_MCE_BANKS 10 /* QEMU's number */

struct x86_cpuid {
	uint32_t leaf, subleaf;
	uint32_t indexed; /* subleaf is significant */
	uint32_t eax, ebx, ecx, edx;
};

/* What a pending exception, interrupt or NMI needs to survive a save (KVM's vcpu_events). */
struct x86_events {
	bool exception_injected, exception_pending, exception_has_error;
	uint8_t exception;
	uint32_t exception_error;
	uint64_t exception_payload;
	bool exception_has_payload;
	bool interrupt_injected, interrupt_soft;
	uint8_t interrupt;
	uint8_t shadow; /* bit 0: after MOV SS, bit 1: after STI */
	bool nmi_injected, nmi_pending, nmi_masked;
	uint32_t sipi_vector;
	bool smm, smi_pending, smm_inside_nmi, latched_init;
	bool triple_fault;
};

struct x86_cpu {
	struct vcpu vcpu;

	/* Saved. */
	uint64_t gpr[GPRS];
	uint64_t rip, rflags;
	struct x86_segment seg[SEGS];
	struct x86_table_register gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
	uint64_t interrupt_bitmap[4]; /* acknowledged by the APIC, not yet injected */
	uint64_t dr[4], dr6, dr7;
	uint64_t xcr0;
	uint8_t xsave[X86_XSAVE_BYTES]; /* standard format */
	uint32_t msr_count;
	uint32_t msr_index[X86_MOST_MSRS];
	uint64_t msr_value[X86_MOST_MSRS];
	struct x86_events events;
	uint32_t mp_state;
	uint32_t posted;  /* at the save: vcpu.events, and in bits 15-8 the posted SIPI's vector */
	uint64_t tsc_khz; /* 0: not known */

	/* What the guest's CPUID says; made from the model at start, not saved. */
	uint32_t apic_id;
	unsigned ncpuid;
	struct x86_cpuid cpuid[X86_MOST_CPUID];
	uint64_t want_tsc_khz;
};

extern const struct device_info device_x86_cpu;

/* Power-up and INIT state (SDM 3, table 10-1). Vcpu 0 then runs, the others wait for a SIPI. */
void x86_cpu_reset(struct x86_cpu *cpu);
/* INIT keeps what is posted (a SIPI may wait behind it), the FPU, the MSRs and the APIC base. */
void x86_cpu_init(struct x86_cpu *cpu);
/* The value of an MSR in the saved list; false if it is not there. */
bool x86_msr_find(const struct x86_cpu *cpu, uint32_t index, uint64_t *value);
/* Puts it on the list, with the value 0, if it is not there. */
void x86_msr_add(struct x86_cpu *cpu, uint32_t index);
void x86_msr_set(struct x86_cpu *cpu, uint32_t index, uint64_t value);
const struct x86_cpuid *x86_cpuid_find(const struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf);
/*
 * Walks the guest's page tables (all paging modes) without side effects, for debuggers and dumps:
 * true with *pa when va is mapped.
 */
bool x86_translate(struct x86_cpu *cpu, uint64_t va, uint64_t *pa);
/* Reads through the page tables; false at the first unmapped byte. */
bool x86_read_virtual(struct x86_cpu *cpu, uint64_t va, void *buf, size_t len);
/* Lists what the page tables map, a line a page or (`ranges`) a line for each stretch of equal
 * rights. */
void x86_print_pages(struct x86_cpu *cpu, bool ranges, GString *out);
static inline uint64_t x86_pc_linear(const struct x86_cpu *cpu)
{
	uint64_t base = cpu->efer & EFER_LMA && cpu->seg[SEG_CS].rights & BIT(13)
				? 0
				: cpu->seg[SEG_CS].base;

	return base + cpu->rip;
}
