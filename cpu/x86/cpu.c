/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x86 vCPU as a device: reset state, saved fields, register dumps, page-table walks
 * are in pages.c. Source: Intel SDM 3, 10.1.1 (reset state).
 */
#include "cpu/x86/cpu.h"

#include <inttypes.h>
#include <string.h>

#include "accel/accel.h"
#include "core/state.h"

#define D struct x86_segment
static FIELD_TABLE(segment_table, NULL, F(base), F(limit), F(selector), F(rights));
#undef D
#define D struct x86_table_register
static FIELD_TABLE(table_register_table, NULL, F(base), F(limit));
#undef D
#define D struct x86_events
static FIELD_TABLE(events_table, NULL, F(exception_injected), F(exception_pending),
		   F(exception_has_error), F(exception), F(exception_error), F(exception_payload),
		   F(exception_has_payload), F(interrupt_injected), F(interrupt_soft), F(interrupt),
		   F(shadow), F(nmi_injected), F(nmi_pending), F(nmi_masked), F(sipi_vector),
		   F(smm), F(smi_pending), F(smm_inside_nmi), F(latched_init), F(triple_fault));
#undef D
#define D struct x86_cpu
void x86_msr_add(struct x86_cpu *cpu, uint32_t index)
{
	uint64_t value;

	if (!x86_msr_find(cpu, index, &value))
		x86_msr_set(cpu, index, 0);
}

void x86_msr_set(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	for (uint32_t i = 0; i < cpu->msr_count; i++) {
		if (cpu->msr_index[i] == index) {
			cpu->msr_value[i] = value;
			return;
		}
	}
	if (cpu->msr_count < X86_MOST_MSRS) {
		cpu->msr_index[cpu->msr_count] = index;
		cpu->msr_value[cpu->msr_count++] = value;
	}
}

bool x86_msr_find(const struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	for (uint32_t i = 0; i < cpu->msr_count; i++) {
		if (cpu->msr_index[i] == index) {
			*value = cpu->msr_value[i];
			return true;
		}
	}
	return false;
}

const struct x86_cpuid *x86_cpuid_find(const struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < cpu->ncpuid; i++) {
		const struct x86_cpuid *c = &cpu->cpuid[i];

		if (c->leaf == leaf && (!c->indexed || c->subleaf == subleaf))
			return c;
	}
	return NULL;
}

#define XSAVE_FCW 0
#define XSAVE_FTW 4
#define XSAVE_MXCSR 24
#define XSAVE_HEADER 512

static void reset_fpu(struct x86_cpu *cpu)
{
	memset(cpu->xsave, 0, sizeof(cpu->xsave));
	store_le(cpu->xsave + XSAVE_FCW, 0x40, 2);
	store_le(cpu->xsave + XSAVE_FTW, 0xff, 1); /* abridged: eight zeros, valid */
	store_le(cpu->xsave + XSAVE_MXCSR, 0x1f80, 4);
	store_le(cpu->xsave + XSAVE_HEADER, 3, 8); /* x87 and SSE are not in their initial state */
	cpu->xcr0 = 1;
}

/* What INIT and RESET have in common (SDM 3, table 10-1). */
static void reset_registers(struct x86_cpu *cpu)
{
	const struct x86_cpuid *version = x86_cpuid_find(cpu, 1, 0);

	memset(cpu->gpr, 0, sizeof(cpu->gpr));
	cpu->gpr[RDX] = version ? version->eax : 0x600;
	cpu->rip = 0xfff0;
	cpu->rflags = 2;
	for (int s = 0; s < SEGS; s++)
		cpu->seg[s] = (struct x86_segment) { .limit = 0xffff, .rights = 0x93 };
	cpu->seg[SEG_CS] = (struct x86_segment) {
		.base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .rights = 0x9b
	};
	cpu->seg[SEG_LDT].rights = 0x82;
	cpu->seg[SEG_TR].rights = 0x8b;
	cpu->gdt = cpu->idt = (struct x86_table_register) { .limit = 0xffff };
	cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->cr8 = cpu->efer = 0;
	memset(cpu->interrupt_bitmap, 0, sizeof(cpu->interrupt_bitmap));
	memset(cpu->dr, 0, sizeof(cpu->dr));
	cpu->dr6 = 0xffff0ff0;
	cpu->dr7 = 0x400;
	memset(&cpu->events, 0, sizeof(cpu->events));
	cpu->vcpu.valid = cpu->vcpu.dirty = VS_ALL;
}

void x86_cpu_init(struct x86_cpu *cpu)
{
	bool bsp = cpu->vcpu.index == 0;

	reset_registers(cpu);
	cpu->cr0 = (cpu->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
	cpu->mp_state = bsp ? MP_RUNNABLE : MP_INIT_RECEIVED;
	cpu->vcpu.halted = !bsp;
}

void x86_cpu_reset(struct x86_cpu *cpu)
{
	bool bsp = cpu->vcpu.index == 0;

	reset_registers(cpu);
	cpu->cr0 = CR0_CD | CR0_NW | CR0_ET;
	cpu->vcpu.dirty |= VS_FULL;
	cpu->apic_base = 0xfee00000 | APIC_BASE_ENABLE | (bsp ? APIC_BASE_BSP : 0);
	reset_fpu(cpu);
	/*
	 * Every register in the engine's list goes to 0: paravirtual ones must stop writing to
	 * guest RAM.
	 */
	memset(cpu->msr_value, 0, sizeof(cpu->msr_value));
	x86_msr_set(cpu, 0x1a0, 1);			       /* IA32_MISC_ENABLE: fast strings */
	x86_msr_set(cpu, 0x277, UINT64_C(0x0007040600070406)); /* IA32_PAT */
	for (uint32_t i = 0; i < cpu->msr_count; i++)
		if (cpu->msr_index[i] == 0x9e) /* IA32_SMBASE */
			cpu->msr_value[i] = X86_SMBASE;
	cpu->posted = 0;
	cpu->vcpu.sipi_vector = 0;
	cpu->mp_state = bsp ? MP_RUNNABLE : MP_UNINITIALIZED;
	cpu->vcpu.halted = !bsp;
	__atomic_store_n(&cpu->vcpu.events, 0, __ATOMIC_RELEASE);
}

static void cpu_reset(void *dev)
{
	x86_cpu_reset(dev);
}

static void cpu_saving(void *dev)
{
	struct x86_cpu *cpu = dev;

	vcpu_sync(dev, VS_ALL);
	cpu->posted = __atomic_load_n(&cpu->vcpu.events, __ATOMIC_ACQUIRE) |
		      (uint32_t)cpu->vcpu.sipi_vector << 8;
}

/* What XRSTOR faults at (Intel SDM, volume 1, 13.8). */
static bool fpu_is_sound(const struct x86_cpu *cpu)
{
	for (unsigned i = XSAVE_HEADER + 8; i < XSAVE_HEADER + 64; i++)
		if (cpu->xsave[i])
			return false;
	return !(load_le(cpu->xsave + XSAVE_MXCSR, 4) & ~UINT64_C(0xffff));
}

static bool cpu_loaded(void *dev, GError **err)
{
	struct x86_cpu *cpu = dev;

	if (cpu->msr_count > X86_MOST_MSRS)
		return error(err, "saved state: '%s': %u MSRs are more than %u", cpu->vcpu.dev.path,
			     cpu->msr_count, X86_MOST_MSRS);
	if (cpu->mp_state > MP_SIPI_RECEIVED)
		return error(err, "saved state: '%s': mp_state %u is none", cpu->vcpu.dev.path,
			     cpu->mp_state);
	if (!fpu_is_sound(cpu))
		return error(err, "saved state: '%s': its FPU state makes no sense",
			     cpu->vcpu.dev.path);
	cpu->vcpu.sipi_vector = (uint8_t)(cpu->posted >> 8);
	__atomic_store_n(&cpu->vcpu.events, cpu->posted & 0xff, __ATOMIC_RELEASE);
	cpu->vcpu.halted = cpu->mp_state != MP_RUNNABLE;
	cpu->vcpu.valid = VS_ALL;
	cpu->vcpu.dirty = VS_ALL | VS_FULL;
	return true;
}

static void print_segment(GString *out, const char *name, const struct x86_segment *s)
{
	g_string_append_printf(out, "%-3s=%04x %016" PRIx64 " %08x %05x%s\n", name, s->selector,
			       s->base, s->limit, s->rights & 0xffff,
			       s->rights & SEG_UNUSABLE ? " unusable" : "");
}

static void print_code(struct x86_cpu *cpu, GString *out)
{
	uint64_t pc = x86_pc_linear(cpu);
	uint8_t b;

	g_string_append(out, "Code=");
	for (int i = -8; i < 24; i++) {
		if (x86_read_virtual(cpu, pc + (uint64_t)(int64_t)i, &b, 1))
			g_string_append_printf(out, i ? "%02x " : "<%02x> ", b);
		else
			g_string_append(out, "?? ");
	}
	g_string_append_c(out, '\n');
}

static void cpu_print(void *dev, GString *out)
{
	static const char *const gpr[GPRS] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP",
					       "RSI", "RDI", "R8 ", "R9 ", "R10", "R11",
					       "R12", "R13", "R14", "R15" };
	static const char *const seg[SEGS] = { "ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR" };
	static const uint8_t order[GPRS] = { RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP,
					     8,	  9,   10,  11,	 12,  13,  14,	15 };
	static const char *const mp[] = { "running", "waiting for INIT", "INIT received", "halted",
					  "SIPI received" };
	struct x86_cpu *cpu = dev;

	vcpu_sync(&cpu->vcpu, VS_ALL);
	g_string_append_printf(out, "CPU#%u\n", cpu->vcpu.index);
	for (int i = 0; i < GPRS; i++)
		g_string_append_printf(out, "%s=%016" PRIx64 "%c", gpr[order[i]],
				       cpu->gpr[order[i]], i % 4 == 3 ? '\n' : ' ');
	g_string_append_printf(out, "RIP=%016" PRIx64 " RFL=%08" PRIx64 " [%s]\n", cpu->rip,
			       cpu->rflags, mp[MIN_OF(cpu->mp_state, 4u)]);
	for (int i = 0; i < SEGS; i++)
		print_segment(out, seg[i], &cpu->seg[i]);
	g_string_append_printf(out, "GDT=     %016" PRIx64 " %08x\nIDT=     %016" PRIx64 " %08x\n",
			       cpu->gdt.base, cpu->gdt.limit, cpu->idt.base, cpu->idt.limit);
	g_string_append_printf(
		out, "CR0=%08" PRIx64 " CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08" PRIx64 "\n",
		cpu->cr0, cpu->cr2, cpu->cr3, cpu->cr4);
	for (int i = 0; i < 4; i++)
		g_string_append_printf(out, "DR%d=%016" PRIx64 " ", i, cpu->dr[i]);
	g_string_append_printf(out, "\nDR6=%016" PRIx64 " DR7=%016" PRIx64 "\n", cpu->dr6,
			       cpu->dr7);
	g_string_append_printf(out,
			       "EFER=%016" PRIx64 " APIC_BASE=%016" PRIx64 " XCR0=%" PRIx64 "\n",
			       cpu->efer, cpu->apic_base, cpu->xcr0);
	for (int i = 0; i < 16; i++)
		g_string_append_printf(out, "XMM%02d=%016" PRIx64 "%016" PRIx64 "%c", i,
				       load_le(cpu->xsave + 160 + 16 * i + 8, 8),
				       load_le(cpu->xsave + 160 + 16 * i, 8), i & 1 ? '\n' : ' ');
	g_string_append_printf(
		out, "FCW=%04x FSW=%04x MXCSR=%08x\n", (unsigned)load_le(cpu->xsave, 2),
		(unsigned)load_le(cpu->xsave + 2, 2), (unsigned)load_le(cpu->xsave + 24, 4));
	print_code(cpu, out);
}

static bool cpu_realize(void *dev, GError **err)
{
	struct vcpu *v = dev;

	(void)err;
	v->wakes = ~0u;
	pthread_mutex_init(&v->mutex, NULL);
	pthread_cond_init(&v->cond, NULL);
	pthread_cond_init(&v->done_cond, NULL);
	return true;
}

static void cpu_unrealize(void *dev)
{
	struct vcpu *v = dev;

	pthread_mutex_destroy(&v->mutex);
	pthread_cond_destroy(&v->cond);
	pthread_cond_destroy(&v->done_cond);
	g_free(v->start_error);
}

DEVICE(x86_cpu,
	.name = "x86-cpu",
	.desc = "x86 processor",
	.board_only = true,
	.load_last = true,
	.state = FIELDS(F(gpr), F(rip), F(rflags), FO(seg, segment_table), FO(gdt, table_register_table),
			FO(idt, table_register_table), F(cr0), F(cr2), F(cr3), F(cr4), F(cr8), F(efer),
			F(apic_base), F(interrupt_bitmap), F(dr), F(dr6), F(dr7), F(xcr0), F(xsave),
			F(msr_count), F(msr_index), F(msr_value), FO(events, events_table), F(mp_state),
			F(posted), F(tsc_khz)),
	.host = HOST(vcpu, cpuid, ncpuid, apic_id, want_tsc_khz),
	.realize = cpu_realize,
	.unrealize = cpu_unrealize,
	.reset = cpu_reset,
	.saving = cpu_saving,
	.loaded = cpu_loaded,
	.print = cpu_print);
