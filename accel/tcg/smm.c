/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System management mode (SDM volume 3, chapter 32; AMD APM volume 2, chapter 10). The saved state
 * is laid out as AMD's processors do where the guest has long mode, else as Intel's P6 with the
 * segments' hidden parts in the reserved area, which is what firmware for this board knows. Not
 * modelled: the restart of I/O instructions, SMRAM that is closed to data (D_CLS).
 */
#include <string.h>

#include "accel/tcg/segment.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/machine.h"

#define STATE_SIZE 0x200 /* at SMBASE + FE00h */
#define STATE_OFFSET 0xfe00
#define REVISION_32 0x00020000u /* SMBASE can be moved */
#define REVISION_64 0x00020064u
#define ENTRY_RIP 0x8000
#define CR0_PG BIT64(31)

/* By their last 12 bits, as the manuals give them: from SMBASE + F000h. */
#define AT(offset) ((offset)-0xe00)

static bool wide(const struct x86_cpu *cpu)
{
	const struct x86_cpuid *c = x86_cpuid_find(cpu, 0x80000001, 0);

	return c && c->edx & BIT(29);
}

static uint64_t *smbase(struct x86_cpu *cpu)
{
	for (uint32_t i = 0; i < cpu->msr_count; i++)
		if (cpu->msr_index[i] == MSR_SMBASE)
			return &cpu->msr_value[i];
	return NULL; /* saved by an engine that does not know of it */
}

/* Registers that both layouts have, with their width in each; 0 for what one does not have. */
struct place {
	uint16_t offset32, offset64, member;
	uint8_t bytes64;
};
#define CPU(m) offsetof(struct x86_cpu, m)
static const struct place places[] = {
	{ 0xffc, 0xf58, CPU(cr0), 8 },	    { 0xff8, 0xf50, CPU(cr3), 8 },
	{ 0xff4, 0xf70, CPU(rflags), 8 },   { 0xff0, 0xf78, CPU(rip), 8 },
	{ 0xfec, 0xfc0, CPU(gpr[RDI]), 8 }, { 0xfe8, 0xfc8, CPU(gpr[RSI]), 8 },
	{ 0xfe4, 0xfd0, CPU(gpr[RBP]), 8 }, { 0xfe0, 0xfd8, CPU(gpr[RSP]), 8 },
	{ 0xfdc, 0xfe0, CPU(gpr[RBX]), 8 }, { 0xfd8, 0xfe8, CPU(gpr[RDX]), 8 },
	{ 0xfd4, 0xff0, CPU(gpr[RCX]), 8 }, { 0xfd0, 0xff8, CPU(gpr[RAX]), 8 },
	{ 0xfcc, 0xf68, CPU(dr6), 8 },	    { 0xfc8, 0xf60, CPU(dr7), 8 },
	{ 0xf74, 0xe68, CPU(gdt.base), 8 }, { 0xf70, 0xe64, CPU(gdt.limit), 2 },
	{ 0xf58, 0xe88, CPU(idt.base), 8 }, { 0xf54, 0xe84, CPU(idt.limit), 2 },
	{ 0xf14, 0xf48, CPU(cr4), 8 },	    { 0, 0xed0, CPU(efer), 8 },
	{ 0, 0xfb8, CPU(gpr[R8]), 8 },	    { 0, 0xfb0, CPU(gpr[R9]), 8 },
	{ 0, 0xfa8, CPU(gpr[R10]), 8 },	    { 0, 0xfa0, CPU(gpr[R11]), 8 },
	{ 0, 0xf98, CPU(gpr[R12]), 8 },	    { 0, 0xf90, CPU(gpr[R13]), 8 },
	{ 0, 0xf88, CPU(gpr[R14]), 8 },	    { 0, 0xf80, CPU(gpr[R15]), 8 },
};

/* Selector; attributes, limit and base. */
static const struct {
	uint16_t selector32, hidden32, offset64;
} segments[SEGS] = {
	[SEG_ES] = { 0xfa8, 0xf84, 0xe00 },  [SEG_CS] = { 0xfac, 0xf90, 0xe10 },
	[SEG_SS] = { 0xfb0, 0xf9c, 0xe20 },  [SEG_DS] = { 0xfb4, 0xf2c, 0xe30 },
	[SEG_FS] = { 0xfb8, 0xf38, 0xe40 },  [SEG_GS] = { 0xfbc, 0xf44, 0xe50 },
	[SEG_LDT] = { 0xfc0, 0xf78, 0xe70 }, [SEG_TR] = { 0xfc4, 0xf5c, 0xe90 },
};
#define REVISION AT(0xefc)
#define BASE32 AT(0xef8)
#define BASE64 AT(0xf00)
#define HALT32 AT(0xf02)
#define HALT64 AT(0xec9)
/* An attribute bit that descriptors do not have: the segment cannot be used. */
#define STATE_UNUSABLE BIT(8)

/* Limits are smaller than the other members. */
static unsigned member_bytes(const struct place *p)
{
	return p->member == CPU(gdt.limit) || p->member == CPU(idt.limit)
		       ? sizeof(((struct x86_cpu *)0)->gdt.limit)
		       : 8;
}

static void save_state(const struct x86_cpu *cpu, uint8_t *s, bool w)
{
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		const struct place *p = &places[i];
		const uint8_t *member = (const uint8_t *)cpu + p->member;
		uint64_t v = load_le(member, member_bytes(p));

		if (w)
			store_le(s + AT(p->offset64), v, p->bytes64);
		else if (p->offset32)
			store_le(s + AT(p->offset32), v, 4);
	}
	for (unsigned i = 0; i < SEGS; i++) {
		const struct x86_segment *g = &cpu->seg[i];
		uint32_t rights =
			(g->rights & 0xf0ff) | (g->rights & SEG_UNUSABLE ? STATE_UNUSABLE : 0);

		if (w) {
			uint8_t *at = s + AT(segments[i].offset64);

			store_le(at, g->selector, 2);
			store_le(at + 2, rights, 2);
			store_le(at + 4, g->limit, 4);
			store_le(at + 8, g->base, 8);
		} else {
			uint8_t *at = s + AT(segments[i].hidden32);

			store_le(s + AT(segments[i].selector32), g->selector, 4);
			store_le(at, rights, 4);
			store_le(at + 4, g->limit, 4);
			store_le(at + 8, g->base, 4);
		}
	}
}

static void load_state(struct x86_cpu *cpu, const uint8_t *s, bool w)
{
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		const struct place *p = &places[i];
		uint8_t *member = (uint8_t *)cpu + p->member;

		if (w)
			store_le(member, load_le(s + AT(p->offset64), p->bytes64), member_bytes(p));
		else if (p->offset32)
			store_le(member, load_le(s + AT(p->offset32), 4), member_bytes(p));
	}
	for (unsigned i = 0; i < SEGS; i++) {
		struct x86_segment *g = &cpu->seg[i];
		const uint8_t *at = s + (w ? AT(segments[i].offset64) : AT(segments[i].hidden32));
		uint32_t rights;

		g->selector = (uint16_t)load_le(w ? at : s + AT(segments[i].selector32), 2);
		rights = (uint32_t)load_le(w ? at + 2 : at, 2);
		g->limit = (uint32_t)load_le(at + 4, 4);
		g->base = load_le(at + 8, w ? 8 : 4);
		g->rights =
			(uint16_t)(rights & 0xf0ff) | (rights & STATE_UNUSABLE ? SEG_UNUSABLE : 0);
	}
}

/* What the chipset shows to this mode only. */
void tcg_smm_view(struct tcg_env *env)
{
	const struct smm_ram *r = &env->cpu->vcpu.dev.machine->smm_ram;
	bool lock = !machine_locked();

	if (lock)
		machine_lock();
	env->smram.size = env->smm && r->ram ? r->size : 0;
	env->smram.base = r->base;
	env->smram.host = r->ram ? r->ram->host + r->ram_off : NULL;
	if (lock)
		machine_unlock();
}

/* What of the vCPU's state changes on the way in and out. */
#define GROUPS (VS_REGS | VS_SREGS | VS_EVENTS | VS_MP)

/* The state's area, which may also lie elsewhere than in SMRAM. */
static void transfer(struct tcg_env *env, uint64_t base, uint8_t *state, bool write)
{
	uint64_t at = (uint32_t)(base + STATE_OFFSET);
	struct space *mem = &env->cpu->vcpu.dev.machine->mem;
	uint8_t *host;

	if (at - env->smram.base >= env->smram.size ||
	    at + STATE_SIZE - env->smram.base > env->smram.size) {
		if (write)
			space_write(mem, at, state, STATE_SIZE);
		else
			space_read(mem, at, state, STATE_SIZE);
		return;
	}
	host = env->smram.host + (at - env->smram.base);
	if (write) {
		memcpy(host, state, STATE_SIZE);
		tcg_code_written(env->cache, host, STATE_SIZE);
	} else {
		memcpy(state, host, STATE_SIZE);
	}
}

static void enter_real_mode(struct x86_cpu *cpu, uint32_t base)
{
	for (unsigned i = 0; i <= SEG_GS; i++)
		cpu->seg[i] = (struct x86_segment) { .limit = UINT32_MAX, .rights = 0x8093 };
	cpu->seg[SEG_CS].selector = (uint16_t)(base >> 4);
	cpu->seg[SEG_CS].base = base;
	cpu->cr0 &= ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
	cpu->cr4 = 0;
	cpu->efer = 0;
	cpu->dr7 = 0x400;
	cpu->rflags = 2;
	cpu->rip = ENTRY_RIP;
}

void tcg_smm_enter(struct tcg_env *env)
{
	struct x86_cpu *cpu = env->cpu;
	struct vcpu *v = &cpu->vcpu;
	uint8_t state[STATE_SIZE] = { 0 };
	bool w = wide(cpu), halted = env->halted;
	uint64_t *base_slot = smbase(cpu);
	uint32_t base = base_slot ? (uint32_t)*base_slot : X86_SMBASE;

	vcpu_sync(v, GROUPS);
	env->smm = cpu->events.smm = true;
	tcg_smm_view(env);
	save_state(cpu, state, w);
	store_le(state + REVISION, w ? REVISION_64 : REVISION_32, 4);
	store_le(state + (w ? BASE64 : BASE32), base, 4);
	store_le(state + (w ? HALT64 : HALT32), halted, w ? 1 : 2);
	transfer(env, base, state, true);
	cpu->events.smm_inside_nmi = cpu->events.nmi_masked;
	cpu->events.nmi_masked = true;
	cpu->events.shadow = 0;
	enter_real_mode(cpu, base);
	cpu->mp_state = MP_RUNNABLE;
	v->halted = env->halted = false;
	v->dirty |= GROUPS;
	log_printf(INT, "vCPU %u: SMI, SMBASE 0x%x", v->index, base);
}

/* What RSM may not load (SDM 32.4.1, 32.10). */
static bool valid(const struct x86_cpu *cpu)
{
	uint64_t cr0 = cpu->cr0;

	if ((cr0 & CR0_PG && !(cr0 & CR0_PE)) || (cr0 & BIT64(29) && !(cr0 & BIT64(30))))
		return false;
	return !(cpu->efer & EFER_LMA) || (cr0 & CR0_PG && cpu->cr4 & BIT64(5));
}

bool tcg_smm_resume(struct tcg_env *env)
{
	struct x86_cpu *cpu = env->cpu;
	struct vcpu *v = &cpu->vcpu;
	uint8_t state[STATE_SIZE];
	bool w = wide(cpu), halted;
	uint64_t *base_slot = smbase(cpu);

	transfer(env, base_slot ? (uint32_t)*base_slot : X86_SMBASE, state, false);
	load_state(cpu, state, w);
	/* What is reserved in the registers stays clear whatever the handler wrote. */
	cpu->rflags = (cpu->rflags & 0x3f7fd5) | 2;
	cpu->cr0 = (uint32_t)cpu->cr0 | BIT64(4);
	cpu->cr4 &= env->cr4_allowed;
	cpu->efer &= env->efer_allowed;
	cpu->cr3 &= w ? (BIT64(TCG_PHYS_BITS) - 1) : UINT32_MAX;
	if (base_slot)
		*base_slot = load_le(state + (w ? BASE64 : BASE32), 4);
	halted = load_le(state + (w ? HALT64 : HALT32), w ? 1 : 2) & 1;
	env->smm = cpu->events.smm = false;
	cpu->events.nmi_masked = cpu->events.smm_inside_nmi;
	cpu->mp_state = halted ? MP_HALTED : MP_RUNNABLE;
	v->accel->ops->vcpu_put(v, GROUPS);
	tcg_smm_view(env);
	tcg_flush_translations(env, true);
	return valid(cpu);
}
