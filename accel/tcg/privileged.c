/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System instructions, port I/O, and general instructions too rare for code of their own. */
#include "accel/tcg/segment.h"

#include "core/log.h"
#include "core/machine.h"

#define DR6_BD BIT64(13)
#define DR7_GD BIT64(13)

/* The instruction is done; the dispatcher goes on after it. */
static int leave(struct tcg_env *env, const union insn_arg *a)
{
	env->rip = (env->rip + a->length) & (env->mode & MODE_CODE64 ? UINT64_MAX : UINT32_MAX);
	return 1;
}

static int leave_if_asked(struct tcg_env *env, const union insn_arg *a)
{
	return tcg_asked(env) ? leave(env, a) : 0;
}

static uint64_t get(const struct tcg_env *env, unsigned reg, unsigned size)
{
	return env->gpr[reg] & ones(size);
}

static void put(struct tcg_env *env, unsigned reg, unsigned size, uint64_t v)
{
	if (size == 2)
		env->gpr[reg] = (env->gpr[reg] & ~UINT64_C(0xffff)) | (v & 0xffff);
	else
		env->gpr[reg] = v & ones(size);
}

static uint64_t operand_address(struct tcg_env *env, const union insn_arg *a, unsigned size,
				bool write)
{
	return tcg_linear(env, a->segment, env->tmp[0], size, write);
}

static uint64_t read_rm(struct tcg_env *env, const union insn_arg *a, unsigned size)
{
	return a->mem ? tcg_load(env, operand_address(env, a, size, false), size)
		      : get(env, a->rm, size);
}

/* A register gets the operand size, memory two bytes: SLDT, STR, SMSW, MOV from a segment register.
 */
static void write_rm16(struct tcg_env *env, const union insn_arg *a, uint64_t v)
{
	if (a->mem)
		tcg_store(env, operand_address(env, a, 2, true), v, 2);
	else
		put(env, a->rm, a->size, v);
}

static void set_zero_flag(struct tcg_env *env, bool set)
{
	env->cc = (env->cc & ~(uint64_t)(FLAG_Z << 8)) | (set ? FLAG_Z << 8 : 0);
}

/* The stack, with its own segment's checks. */

static unsigned stack_bytes(const struct tcg_env *env)
{
	return env->mode & MODE_CODE64 ? 8 : env->mode & MODE_STACK32 ? 4 : 2;
}

static uint64_t stack_at(struct tcg_env *env, int64_t offset, unsigned size, bool write)
{
	return tcg_linear(env, SEG_SS, (env->gpr[RSP] + (uint64_t)offset) & ones(stack_bytes(env)),
			  size, write);
}

static void stack_move(struct tcg_env *env, int64_t by)
{
	put(env, RSP, stack_bytes(env), env->gpr[RSP] + (uint64_t)by);
}

static void pusha(struct tcg_env *env, unsigned size)
{
	for (unsigned i = 0; i < 8; i++)
		tcg_store(env, stack_at(env, -(int)((i + 1) * size), size, true), env->gpr[i],
			  size);
	stack_move(env, -8 * (int)size);
}

/* A fault in the middle leaves what was popped before in its registers, as processors do. */
static void popa(struct tcg_env *env, unsigned size)
{
	for (unsigned i = 0; i < 8; i++) {
		uint64_t v = tcg_load(env, stack_at(env, (int)(i * size), size, false), size);

		if (7 - i != RSP)
			put(env, 7 - i, size, v);
	}
	stack_move(env, 8 * (int)size);
}

static void enter(struct tcg_env *env, unsigned size)
{
	unsigned level = env->tmp[1] & 31, bytes = stack_bytes(env);
	uint64_t sp = env->gpr[RSP], bp = env->gpr[RBP];
	uint64_t frame = sp - size; /* all bits, whatever the stack has */
	int64_t at = -(int64_t)size;

	tcg_store(env, stack_at(env, at, size, true), bp, size);
	for (unsigned i = 1; i < level; i++) {
		uint64_t link = tcg_linear(env, SEG_SS, (bp - i * size) & ones(bytes), size, false);

		at -= size;
		tcg_store(env, stack_at(env, at, size, true), tcg_load(env, link, size), size);
	}
	if (level) {
		at -= size;
		tcg_store(env, stack_at(env, at, size, true), frame, size);
	}
	at -= (int64_t)(env->tmp[0] & 0xffff);
	/* Writing where the stack ends now must be possible. */
	tcg_probe_store(env, stack_at(env, at, size, true), size);
	put(env, RBP, size, frame);
	stack_move(env, at);
}

static void push_flags(struct tcg_env *env, unsigned size)
{
	uint64_t flags = (v86_flags(env) & ~(FLAG_VM | FLAG_RF)) | 2;

	v86_check_flags(env, size);
	tcg_store(env, stack_at(env, -(int)size, size, true), flags, size);
	stack_move(env, -(int)size);
}

static void pop_flags(struct tcg_env *env, unsigned size)
{
	uint64_t flags;

	v86_check_flags(env, size);
	flags = tcg_load(env, stack_at(env, 0, size, false), size);
	if (env->mode & MODE_V86)
		v86_load_flags(env, flags, size);
	else
		tcg_load_flags(env, flags, size, tcg_cpl(env));
	stack_move(env, size);
}

/* Decimal adjustment (SDM volume 2). */
static void bcd(struct tcg_env *env, unsigned opcode)
{
	uint64_t flags = tcg_flags(env);
	uint8_t al = (uint8_t)env->gpr[RAX], ah = (uint8_t)(env->gpr[RAX] >> 8), old = al;
	bool c = flags & FLAG_C, a = flags & FLAG_A, low = (al & 15) > 9 || a;
	uint8_t imm = (uint8_t)env->tmp[0];

	switch (opcode) {
	case 0x27:   /* DAA */
	case 0x2f: { /* DAS */
		int sign = opcode == 0x27 ? 1 : -1;
		bool high = old > 0x99 || c;

		if (low)
			al = (uint8_t)(al + sign * 6);
		if (opcode == 0x2f && low)
			c |= old < 6;
		if (high)
			al = (uint8_t)(al + sign * 0x60);
		c = high || (opcode == 0x2f && c);
		a = low;
		break;
	}
	case 0x37: /* AAA */
	case 0x3f: /* AAS */
		if (low) {
			uint16_t ax = (uint16_t)env->gpr[RAX];

			ax = (uint16_t)(opcode == 0x37 ? ax + 0x106 : ax - 0x106);
			al = (uint8_t)ax;
			ah = (uint8_t)(ax >> 8);
		}
		a = c = low;
		al &= 15;
		break;
	case 0xd4: /* AAM */
		if (!imm)
			tcg_raise(env, VECTOR_DE);
		ah = al / imm;
		al = al % imm;
		a = c = false;
		break;
	default: /* AAD */
		al = (uint8_t)(al + ah * imm);
		ah = 0;
		a = c = false;
		break;
	}
	flags &= ~(uint64_t)(FLAGS_ALL & ~FLAG_O);
	flags |= (c ? FLAG_C : 0) | (a ? FLAG_A : 0) | (al ? 0 : FLAG_Z) |
		 (al & 0x80 ? FLAG_S : 0) | (__builtin_parity(al) ? 0 : FLAG_P);
	tcg_set_flags(env, flags);
	env->gpr[RAX] = (env->gpr[RAX] & ~UINT64_C(0xffff)) | (uint64_t)ah << 8 | al;
}

static void bound(struct tcg_env *env, const union insn_arg *a)
{
	uint64_t second = (env->tmp[0] + a->size) & ones(a->address_size);
	uint64_t at = operand_address(env, a, a->size, false);
	unsigned shift = 64 - 8 * a->size;
	int64_t v = (int64_t)(env->gpr[a->reg] << shift) >> shift;

	/* The second bound is not read if the first decides. */
	if (v < (int64_t)(tcg_load(env, at, a->size) << shift) >> shift)
		tcg_raise(env, 5);
	at = tcg_linear(env, a->segment, second, a->size, false);
	if (v > (int64_t)(tcg_load(env, at, a->size) << shift) >> shift)
		tcg_raise(env, 5);
}

/* Port I/O. */

static void check_io(struct tcg_env *env, uint16_t port, unsigned size)
{
	const struct x86_segment *tss = &env->cpu->seg[SEG_TR];
	unsigned cpl = tcg_cpl(env);
	uint64_t map;

	if (!(env->cpu->cr0 & CR0_PE) ||
	    (cpl <= (env->eflags >> 12 & 3) && !(env->mode & MODE_V86)))
		return;
	if ((tss->rights & 15) < 9 || tss->limit < 103)
		gp(env);
	map = tcg_system_load(env, tss->base + 102, 2) + port / 8;
	if (map + 1 > tss->limit ||
	    tcg_system_load(env, tss->base + map, 2) >> (port & 7) & ((1u << size) - 1))
		gp(env);
}

/* A port that is watched: the trap comes after the instruction. */
static void watch_io(struct tcg_env *env, uint16_t port, unsigned size)
{
	if (unlikely(env->debug.io) && tcg_debug_io(env, port, size))
		tcg_ask(env);
}

static uint64_t port_in(struct tcg_env *env, uint16_t port, unsigned size)
{
	uint64_t v;

	check_io(env, port, size);
	watch_io(env, port, size);
	tcg_outside_begin(env);
	v = space_read_le(&env->cpu->vcpu.dev.machine->ports, port, size);
	tcg_outside_end(env);
	return v;
}

static void port_out(struct tcg_env *env, uint16_t port, uint64_t v, unsigned size)
{
	check_io(env, port, size);
	watch_io(env, port, size);
	tcg_outside_begin(env);
	space_write_le(&env->cpu->vcpu.dev.machine->ports, port, v & ones(size), size);
	tcg_outside_end(env);
}

static int string_io(struct tcg_env *env, const union insn_arg *a)
{
	bool in = a->kind == K_INS;
	unsigned index = in ? RDI : RSI, bytes = a->address_size;
	int64_t step = env->eflags & FLAG_DF ? -(int64_t)a->size : a->size;
	uint16_t port = (uint16_t)env->gpr[RDX];

	check_io(env, port, a->size);
	while (!a->rep || get(env, RCX, bytes)) {
		uint64_t offset = get(env, index, bytes);
		uint64_t at = tcg_linear(env, in ? SEG_ES : a->segment, offset, a->size, in);

		if (in) {
			uint64_t probe = tcg_load(env, at, a->size);

			/* The page must be writable before the device gives its byte away. */
			tcg_store(env, at, probe, a->size);
			tcg_store(env, at, port_in(env, port, a->size), a->size);
		} else {
			port_out(env, port, tcg_load(env, at, a->size), a->size);
		}
		put(env, index, bytes, env->gpr[index] + (uint64_t)step);
		if (!a->rep)
			return leave_if_asked(env, a);
		put(env, RCX, bytes, env->gpr[RCX] - 1);
		if (get(env, RCX, bytes) && (env->mode & MODE_STEP || tcg_asked(env)))
			return 1;
	}
	return leave_if_asked(env, a);
}

/* Control registers. */

static void write_cr0(struct tcg_env *env, uint64_t v)
{
	struct x86_cpu *cpu = env->cpu;
	uint64_t changed;

	if (v >> 32 || (v & CR0_PG && !(v & CR0_PE)) || (v & CR0_NW && !(v & CR0_CD)))
		gp(env);
	v = (v & 0xe005003f) | CR0_ET;
	changed = v ^ cpu->cr0;
	if (changed & CR0_PG && cpu->cr4 & CR4_PCIDE)
		gp(env);
	if (changed & CR0_PG && cpu->efer & EFER_LME) {
		if (v & CR0_PG) {
			if (!(cpu->cr4 & CR4_PAE) || cpu->seg[SEG_CS].rights & DESC_L)
				gp(env);
			cpu->efer |= EFER_LMA;
		} else {
			if (env->mode & MODE_CODE64)
				gp(env);
			cpu->efer &= ~EFER_LMA;
		}
	}
	cpu->cr0 = v;
	if (changed & (CR0_PG | CR0_WP | CR0_PE))
		tcg_flush_translations(env, true);
	tcg_update_mode(env);
}

static void write_cr4(struct tcg_env *env, uint64_t v)
{
	struct x86_cpu *cpu = env->cpu;
	uint64_t changed;

	if (v & ~env->cr4_allowed ||
	    (cpu->efer & EFER_LMA && (v ^ cpu->cr4) & (CR4_PAE | CR4_LA57)))
		gp(env);
	if (v & ~cpu->cr4 & CR4_PCIDE && (!(cpu->efer & EFER_LMA) || cpu->cr3 & 0xfff))
		gp(env);
	changed = cpu->cr4 ^ v;
	cpu->cr4 = v;
	if (changed & CR4_DE)
		tcg_debug_update(env);
	tcg_flush_translations(env, true);
	tcg_update_mode(env);
}

/* One context is kept: another PCID's translations are gone whatever bit 63 says. */
static void write_cr3(struct tcg_env *env, uint64_t v)
{
	bool keep = env->cpu->cr4 & CR4_PCIDE && v >> 63;

	if (env->cpu->cr4 & CR4_PCIDE)
		v &= ~BIT64(63);
	if (env->cpu->efer & EFER_LMA && v >> TCG_PHYS_BITS)
		gp(env);
	if (keep && v == env->cpu->cr3)
		return;
	env->cpu->cr3 = v;
	tcg_flush_translations(env, false);
}

static void invpcid(struct tcg_env *env, const union insn_arg *a)
{
	uint64_t type = get(env, a->reg, env->mode & MODE_CODE64 ? 8 : 4),
		 at = tcg_linear(env, a->segment, env->tmp[0], 16, false),
		 pcid = tcg_load(env, at, 8), va = tcg_load(env, at + 8, 8);
	bool on = env->cpu->cr4 & CR4_PCIDE, current = !on || pcid == (env->cpu->cr3 & 0xfff);

	if (type > 3 || pcid >> 12 || (type < 2 && pcid && !on) ||
	    (type == 0 && !tcg_canonical(env, va)))
		gp(env);
	if (type >= 2)
		tcg_flush_translations(env, type == 2);
	else if (current && type)
		tcg_flush_translations(env, false);
	else if (current)
		tcg_flush_page(env, va);
}

static void write_cr8(struct tcg_env *env, uint64_t v)
{
	const struct vcpu_intc *intc = env->cpu->vcpu.intc;

	if (v & ~UINT64_C(15))
		gp(env);
	env->cpu->cr8 = v;
	if (!intc || !intc->set_tpr)
		return;
	tcg_outside_begin(env);
	machine_lock();
	intc->set_tpr(intc->opaque, (uint8_t)v);
	machine_unlock();
	tcg_outside_end(env);
}

static uint64_t read_cr8(struct tcg_env *env)
{
	const struct vcpu_intc *intc = env->cpu->vcpu.intc;
	uint64_t v = env->cpu->cr8;

	if (!intc || !intc->get_tpr)
		return v;
	tcg_outside_begin(env);
	machine_lock();
	v = intc->get_tpr(intc->opaque);
	machine_unlock();
	tcg_outside_end(env);
	return v;
}

static void write_control(struct tcg_env *env, unsigned n, uint64_t v)
{
	switch (n) {
	case 0:
		write_cr0(env, v);
		break;
	case 2:
		env->cpu->cr2 = v;
		break;
	case 3:
		write_cr3(env, v);
		break;
	case 4:
		write_cr4(env, v);
		break;
	default:
		write_cr8(env, v);
		break;
	}
}

static uint64_t read_control(struct tcg_env *env, unsigned n)
{
	switch (n) {
	case 0:
		return env->cpu->cr0;
	case 2:
		return env->cpu->cr2;
	case 3:
		return env->cpu->cr3;
	case 4:
		return env->cpu->cr4;
	default:
		return read_cr8(env);
	}
}

static unsigned debug_register(struct tcg_env *env, unsigned n)
{
	if (n == 4 || n == 5) {
		if (env->cpu->cr4 & CR4_DE)
			tcg_raise(env, VECTOR_UD);
		n += 2;
	}
	if (env->cpu->dr7 & DR7_GD) {
		env->cpu->dr6 |= DR6_BD;
		tcg_raise(env, VECTOR_DB);
	}
	return n;
}

/* CPUID, with what other registers show in it. */
static void cpuid(struct tcg_env *env)
{
	struct x86_cpu *cpu = env->cpu;
	uint32_t leaf = (uint32_t)env->gpr[RAX], sub = (uint32_t)env->gpr[RCX];
	const struct x86_cpuid *c = x86_cpuid_find(cpu, leaf, sub), *top;
	uint32_t ecx;

	if (!c) {
		/* Beyond the last leaf: Intel's processors answer with the highest basic one. */
		top = x86_cpuid_find(cpu, leaf & 0x80000000, 0);
		if (!top || leaf > top->eax) {
			top = x86_cpuid_find(cpu, 0, 0);
			c = top ? x86_cpuid_find(cpu, top->eax, sub) : NULL;
		}
	}
	ecx = c ? c->ecx : 0;
	if (c && c->leaf == 1)
		ecx = cpu->cr4 & CR4_OSXSAVE ? ecx | BIT(27) : ecx & ~BIT(27);
	if (c && c->leaf == 7 && c->subleaf == 0)
		ecx = cpu->cr4 & CR4_PKE ? ecx | BIT(4) : ecx & ~BIT(4);
	env->gpr[RAX] = c ? c->eax : 0;
	env->gpr[RBX] = c ? c->ebx : 0;
	/* The area's size for what is enabled. */
	if (c && c->leaf == 0xd && c->subleaf < 2 && env->features >> FEAT_XSAVE & 1)
		env->gpr[RBX] = tcg_xsave_bytes(cpu->xcr0, c->subleaf);
	env->gpr[RCX] = ecx;
	env->gpr[RDX] = c ? c->edx : 0;
}

/* Fast system calls. */

static void flat(struct x86_segment *s, uint16_t selector, uint32_t rights)
{
	*s = (struct x86_segment) { .selector = selector, .limit = UINT32_MAX, .rights = rights };
}

/* The code segment has changed. Between 64-bit ones nothing of the mode does but the level. */
static void far_done(struct tcg_env *env, bool user)
{
	if (!(env->mode & MODE_CODE64) || !(env->cpu->seg[SEG_CS].rights & DESC_L)) {
		tcg_update_mode(env);
		return;
	}
	env->mode = user ? env->mode | MODE_CPL3 : env->mode & ~MODE_CPL3;
	tcg_select(env, user, tcg_smap_open(env));
}

static void syscall_(struct tcg_env *env, unsigned length)
{
	struct x86_cpu *cpu = env->cpu;
	uint64_t star = *env->hot_msr[HOT_STAR], next = env->rip + length;
	uint16_t cs = (uint16_t)(star >> 32) & 0xfffc;

	if (!(cpu->efer & EFER_SCE))
		tcg_raise(env, VECTOR_UD);
	if (cpu->efer & EFER_LMA) {
		env->gpr[RCX] = env->mode & MODE_CODE64 ? next : (uint32_t)next;
		env->gpr[R11] = (tcg_flags(env) & ~FLAG_RF) | 2;
		env->rip = env->mode & MODE_CODE64 ? *env->hot_msr[HOT_LSTAR]
						   : tcg_msr(env, MSR_CSTAR);
		tcg_set_flags(env, tcg_flags(env) & ~*env->hot_msr[HOT_SFMASK] & ~FLAG_RF);
		flat(&cpu->seg[SEG_CS], cs, 0xa09b);
	} else {
		env->gpr[RCX] = (uint32_t)next;
		env->rip = (uint32_t)star;
		env->eflags &= ~(FLAG_IF | FLAG_VM | FLAG_RF);
		flat(&cpu->seg[SEG_CS], cs, 0xc09b);
	}
	flat(&cpu->seg[SEG_SS], (uint16_t)(cs + 8), 0xc093);
}

static void sysret(struct tcg_env *env, unsigned size)
{
	struct x86_cpu *cpu = env->cpu;
	uint64_t star = *env->hot_msr[HOT_STAR];
	uint16_t base = (uint16_t)(star >> 48) | 3;

	if (!(cpu->efer & EFER_SCE))
		tcg_raise(env, VECTOR_UD);
	if (cpu->efer & EFER_LMA) {
		if (size == 8 && !tcg_canonical(env, env->gpr[RCX]))
			gp(env);
		env->rip = size == 8 ? env->gpr[RCX] : (uint32_t)env->gpr[RCX];
		tcg_set_flags(env, (env->gpr[R11] & 0x3c7fd7) | 2);
		flat(&cpu->seg[SEG_CS], (uint16_t)(size == 8 ? base + 16 : base),
		     size == 8 ? 0xa0fb : 0xc0fb);
	} else {
		env->rip = (uint32_t)env->gpr[RCX];
		env->eflags |= FLAG_IF;
		flat(&cpu->seg[SEG_CS], base, 0xc0fb);
	}
	flat(&cpu->seg[SEG_SS], (uint16_t)(base + 8), 0xc0f3);
}

static void sysenter(struct tcg_env *env)
{
	struct x86_cpu *cpu = env->cpu;
	uint16_t cs = (uint16_t)tcg_msr(env, MSR_SYSENTER_CS) & 0xfffc;
	bool wide = cpu->efer & EFER_LMA;

	if (!cs)
		gp(env);
	env->eflags &= ~(FLAG_VM | FLAG_IF | FLAG_RF);
	env->gpr[RSP] =
		wide ? tcg_msr(env, MSR_SYSENTER_ESP) : (uint32_t)tcg_msr(env, MSR_SYSENTER_ESP);
	env->rip = wide ? tcg_msr(env, MSR_SYSENTER_EIP) : (uint32_t)tcg_msr(env, MSR_SYSENTER_EIP);
	flat(&cpu->seg[SEG_CS], cs, wide ? 0xa09b : 0xc09b);
	flat(&cpu->seg[SEG_SS], (uint16_t)(cs + 8), 0xc093);
}

static void sysexit(struct tcg_env *env, unsigned size)
{
	struct x86_cpu *cpu = env->cpu;
	uint16_t cs = (uint16_t)tcg_msr(env, MSR_SYSENTER_CS) & 0xfffc;

	if (!cs || (size == 8 &&
		    (!tcg_canonical(env, env->gpr[RCX]) || !tcg_canonical(env, env->gpr[RDX]))))
		gp(env);
	cs = (uint16_t)((size == 8 ? cs + 32 : cs + 16) | 3);
	env->rip = size == 8 ? env->gpr[RDX] : (uint32_t)env->gpr[RDX];
	env->gpr[RSP] = size == 8 ? env->gpr[RCX] : (uint32_t)env->gpr[RCX];
	flat(&cpu->seg[SEG_CS], cs, size == 8 ? 0xa0fb : 0xc0fb);
	flat(&cpu->seg[SEG_SS], (uint16_t)(cs + 8), 0xc0f3);
}

static void table_store(struct tcg_env *env, const union insn_arg *a,
			const struct x86_table_register *r)
{
	unsigned wide = env->mode & MODE_CODE64 ? 8 : 4;
	uint64_t at = operand_address(env, a, 2 + wide, true);

	tcg_store(env, at, r->limit, 2);
	tcg_store(env, at + 2, r->base, wide);
}

static void table_load(struct tcg_env *env, const union insn_arg *a, struct x86_table_register *r)
{
	unsigned wide = env->mode & MODE_CODE64 ? 8 : 4;
	uint64_t at = operand_address(env, a, 2 + wide, false), base = tcg_load(env, at + 2, wide);

	if (wide == 8 && !tcg_canonical(env, base))
		gp(env);
	r->limit = (uint16_t)tcg_load(env, at, 2);
	r->base = wide == 4 && a->size == 2 ? base & 0xffffff : base;
}

/* UMIP: these tell a program about the system. */
static void check_umip(struct tcg_env *env)
{
	if (env->cpu->cr4 & CR4_UMIP && tcg_cpl(env))
		gp(env);
}

/* Segment registers. */

static int segment_done(struct tcg_env *env, const union insn_arg *a, unsigned seg)
{
	env->shadow |= seg == SEG_SS;
	return leave(env, a);
}

static int load_segment(struct tcg_env *env, const union insn_arg *a, unsigned seg,
			uint64_t selector)
{
	env->tmp[0] = selector;
	helper_load_segment(env, seg);
	return segment_done(env, a, seg);
}

static int far_pointer(struct tcg_env *env, const union insn_arg *a)
{
	unsigned seg = a->opcode == 0xc4   ? SEG_ES
		       : a->opcode == 0xc5 ? SEG_DS
		       : a->opcode == 0xb2 ? SEG_SS
		       : a->opcode == 0xb4 ? SEG_FS
					   : SEG_GS;
	uint64_t at = operand_address(env, a, a->size + 2u, false);
	uint64_t offset = tcg_load(env, at, a->size), selector = tcg_load(env, at + a->size, 2);

	load_segment(env, a, seg, selector);
	put(env, a->reg, a->size, offset);
	return 1;
}

static unsigned named_segment(unsigned opcode)
{
	/* PUSH and POP: 06 0E 16 1E in the one-byte map, A0 and A8 after 0F. */
	return opcode == 0xa0 || opcode == 0xa1 ? SEG_FS
	       : opcode >= 0xa8			? SEG_GS
						: opcode >> 3 & 3;
}

static int set_interrupts(struct tcg_env *env, const union insn_arg *a)
{
	if (env->cpu->cr0 & CR0_PE && tcg_cpl(env) > (env->eflags >> 12 & 3)) {
		if (!v86_set_interrupts(env, a->opcode == 0xfb))
			gp(env);
		return 0;
	}
	if (a->opcode == 0xfa) {
		env->eflags &= ~FLAG_IF;
		return 0;
	}
	if (env->eflags & FLAG_IF)
		return leave_if_asked(env, a);
	env->eflags |= FLAG_IF;
	tcg_check_events(env);
	/* Nobody looks for interrupts before the next instruction of the block is done. */
	if (!a->last && !tcg_must_stop(env))
		return 0;
	env->shadow = true;
	return leave(env, a);
}

static int software_interrupt(struct tcg_env *env, const union insn_arg *a)
{
	struct tcg_event e = { .vector = 3, .software = true };

	if (a->kind == K_INT3 && env->debug.wanted.software_breakpoints)
		tcg_raise(env, TCG_DEBUGGER);
	e.next_rip = (env->rip + a->length) & (env->mode & MODE_CODE64 ? UINT64_MAX : UINT32_MAX);
	if (a->kind == K_INTO) {
		if (!(tcg_flags(env) & FLAG_O))
			return 0;
		e.vector = VECTOR_OF;
	} else if (a->kind == K_INT) {
		e.vector = env->tmp[0] & 0xff;
		if (v86_interrupt(env, (uint8_t)e.vector, e.next_rip))
			return 1;
	} else if (a->kind == K_INT1) {
		e.vector = VECTOR_DB;
	}
	tcg_deliver(env, &e);
	return 1;
}

static void rdtsc(struct tcg_env *env)
{
	uint64_t v = tcg_guest_tsc(env);

	if (env->cpu->cr4 & CR4_TSD && tcg_cpl(env))
		gp(env);
	env->gpr[RAX] = (uint32_t)v;
	env->gpr[RDX] = v >> 32;
}

static uint64_t xcr0_allowed(const struct tcg_env *env)
{
	return (env->features >> FEAT_AVX & 1 ? TCG_XSAVE_PARTS : 3) |
	       (env->features >> FEAT_PKU & 1 ? XSAVE_PKRU_BIT : 0);
}

/* RSM. */
static void resume(struct tcg_env *env)
{
	bool good;

	tcg_outside_begin(env);
	good = tcg_smm_resume(env);
	tcg_outside_end(env);
	if (!good)
		tcg_raise(env, TCG_SHUTDOWN);
	if (env->halted)
		tcg_ask(env);
}

int helper_system(struct tcg_env *env, uint64_t word)
{
	union insn_arg a = { .word = word };
	struct x86_cpu *cpu = env->cpu;
	uint64_t v;

	switch (a.kind) {
	case K_PUSHSEG: {
		/* With 32-bit operands Intel's processors write 16 bits. */
		unsigned bytes = a.size == 4 ? 2 : a.size;

		tcg_store(env, stack_at(env, -(int)a.size, bytes, true),
			  cpu->seg[named_segment(a.opcode)].selector, bytes);
		stack_move(env, -(int)a.size);
		return 0;
	}
	case K_POPSEG:
		v = tcg_load(env, stack_at(env, 0, a.size, false), a.size);
		env->tmp[0] = (uint16_t)v;
		helper_load_segment(env, named_segment(a.opcode));
		stack_move(env, a.size);
		return segment_done(env, &a, named_segment(a.opcode));
	case K_MOVSEG_R:
		write_rm16(env, &a, cpu->seg[a.reg].selector);
		return 0;
	case K_MOVSEG_W:
		return load_segment(env, &a, a.reg, read_rm(env, &a, 2));
	case K_LXS:
		return far_pointer(env, &a);
	case K_PUSHA:
		pusha(env, a.size);
		return 0;
	case K_POPA:
		popa(env, a.size);
		return 0;
	case K_ENTER:
		enter(env, a.size);
		return 0;
	case K_BOUND:
		bound(env, &a);
		return 0;
	case K_ARPL:
		v = read_rm(env, &a, 2);
		a.size = 2; /* of a register too */
		if ((v & 3) < (env->gpr[a.reg] & 3))
			write_rm16(env, &a, (uint16_t)((v & ~3u) | (env->gpr[a.reg] & 3)));
		set_zero_flag(env, (v & 3) < (env->gpr[a.reg] & 3));
		return 0;
	case K_BCD:
		bcd(env, a.opcode);
		return 0;
	case K_PUSHF:
		push_flags(env, a.size);
		return 0;
	case K_POPF:
		pop_flags(env, a.size);
		return leave(env, &a);
	case K_INT3:
	case K_INT:
	case K_INTO:
	case K_INT1:
		return software_interrupt(env, &a);
	case K_IN:
		v = port_in(env, a.opcode & 8 ? (uint16_t)env->gpr[RDX] : env->tmp[0] & 0xff,
			    a.size);
		if (a.size == 1)
			env->gpr[RAX] = (env->gpr[RAX] & ~UINT64_C(0xff)) | v;
		else
			put(env, RAX, a.size, v);
		return leave_if_asked(env, &a);
	case K_OUT:
		port_out(env, a.opcode & 8 ? (uint16_t)env->gpr[RDX] : env->tmp[0] & 0xff,
			 env->gpr[RAX], a.size);
		return leave_if_asked(env, &a);
	case K_INS:
	case K_OUTS:
		return string_io(env, &a);
	case K_IF:
		return set_interrupts(env, &a);
	case K_HLT:
		env->halted = true;
		tcg_ask(env);
		return leave(env, &a);
	case K_SLDT:
		check_umip(env);
		write_rm16(env, &a, cpu->seg[SEG_LDT].selector);
		return 0;
	case K_STR:
		check_umip(env);
		write_rm16(env, &a, cpu->seg[SEG_TR].selector);
		return 0;
	case K_LLDT:
		tcg_load_ldt(env, (uint16_t)read_rm(env, &a, 2));
		return 0;
	case K_LTR:
		tcg_load_tr(env, (uint16_t)read_rm(env, &a, 2));
		return 0;
	case K_VERX:
		set_zero_flag(env, tcg_probe_segment(env, K_VERX, a.ext & 1,
						     (uint16_t)read_rm(env, &a, 2), &v));
		return 0;
	case K_LARLSL: {
		bool ok = tcg_probe_segment(env, K_LARLSL, a.opcode == 3,
					    (uint16_t)read_rm(env, &a, 2), &v);

		set_zero_flag(env, ok);
		if (ok)
			put(env, a.reg, a.size, v);
		return 0;
	}
	case K_SGDT:
		check_umip(env);
		table_store(env, &a, &cpu->gdt);
		return 0;
	case K_SIDT:
		check_umip(env);
		table_store(env, &a, &cpu->idt);
		return 0;
	case K_LGDT:
		table_load(env, &a, &cpu->gdt);
		return 0;
	case K_LIDT:
		table_load(env, &a, &cpu->idt);
		return 0;
	case K_SMSW:
		check_umip(env);
		write_rm16(env, &a, cpu->cr0);
		return 0;
	case K_LMSW:
		v = read_rm(env, &a, 2);
		write_cr0(env, (cpu->cr0 & ~UINT64_C(14)) | (v & 15) | (cpu->cr0 & CR0_PE));
		return leave(env, &a);
	case K_CLTS:
		cpu->cr0 &= ~CR0_TS;
		tcg_update_mode(env);
		return leave(env, &a);
	case K_INVLPG:
		tcg_flush_page(env, env->mode & MODE_CODE64
					    ? env->tmp[0] + tcg_segment_base(env, a.segment)
					    : (uint32_t)(env->tmp[0] + env->seg_base[a.segment]));
		return leave(env, &a);
	case K_INVPCID:
		if (!(env->mode & MODE_PROTECTED) && cpu->cr0 & CR0_PE)
			gp(env);
		invpcid(env, &a);
		return leave(env, &a);
	case K_WBINVD:
	case K_FLUSH:
		return 0;
	case K_MOVCR_R:
		env->gpr[a.rm] = read_control(env, a.reg);
		return 0;
	case K_MOVCR_W:
		write_control(env, a.reg,
			      env->mode & MODE_CODE64 ? env->gpr[a.rm] : (uint32_t)env->gpr[a.rm]);
		return leave(env, &a);
	case K_MOVDR_R:
		v = debug_register(env, a.reg);
		env->gpr[a.rm] = v == 6 ? cpu->dr6 : v == 7 ? cpu->dr7 : cpu->dr[v];
		return 0;
	case K_MOVDR_W:
		v = debug_register(env, a.reg);
		if (v >= 6 && env->gpr[a.rm] >> 32)
			gp(env);
		if (v == 6)
			cpu->dr6 = (env->gpr[a.rm] & 0xe00f) | 0xffff0ff0;
		else if (v == 7)
			cpu->dr7 = (env->gpr[a.rm] & 0xffff2fff) | 0x400;
		else
			cpu->dr[v] = env->gpr[a.rm];
		if (v != 6)
			tcg_debug_update(env);
		return leave(env, &a);
	case K_RDMSR:
		v = tcg_read_msr(env, (uint32_t)env->gpr[RCX]);
		env->gpr[RAX] = (uint32_t)v;
		env->gpr[RDX] = v >> 32;
		return 0;
	case K_WRMSR:
		tcg_write_msr(env, (uint32_t)env->gpr[RCX],
			      (uint32_t)env->gpr[RAX] | env->gpr[RDX] << 32);
		return leave(env, &a);
	case K_RDTSC:
		rdtsc(env);
		return 0;
	case K_RDTSCP:
		rdtsc(env);
		env->gpr[RCX] = (uint32_t)*env->hot_msr[HOT_TSC_AUX];
		return 0;
	case K_RDPID:
		env->gpr[a.rm] = (uint32_t)*env->hot_msr[HOT_TSC_AUX];
		return 0;
	case K_RDPMC:
		gp(env);
	case K_CPUID:
		cpuid(env);
		/* It serializes: requests of other vCPUs come before what follows. */
		return leave_if_asked(env, &a);
	case K_SYSCALL:
		syscall_(env, a.length);
		far_done(env, false);
		return tcg_must_stop(env);
	case K_SYSRET:
		sysret(env, a.size);
		tcg_check_events(env);
		far_done(env, true);
		return tcg_must_stop(env);
	case K_SYSENTER:
		sysenter(env);
		tcg_update_mode(env);
		return tcg_must_stop(env);
	case K_SYSEXIT:
		sysexit(env, a.rex_w ? 8 : 4);
		tcg_update_mode(env);
		return tcg_must_stop(env);
	case K_SWAPGS: {
		uint64_t *slot = env->hot_msr[HOT_KERNEL_GS_BASE];

		v = cpu->seg[SEG_GS].base;
		cpu->seg[SEG_GS].base = env->seg_base[SEG_GS] = *slot;
		*slot = v;
		return 0;
	}
	case K_FSGSBASE: {
		unsigned seg = a.reg & 1 ? SEG_GS : SEG_FS, size = a.rex_w ? 8 : 4;

		if (!(cpu->cr4 & CR4_FSGSBASE))
			tcg_raise(env, VECTOR_UD);
		if (a.reg < 2) {
			env->gpr[a.rm] = cpu->seg[seg].base & ones(size);
			return 0;
		}
		v = env->gpr[a.rm] & ones(size);
		if (!tcg_canonical(env, v))
			gp(env);
		cpu->seg[seg].base = env->seg_base[seg] = v;
		return 0;
	}
	case K_XGETBV:
		if (!(cpu->cr4 & CR4_OSXSAVE))
			tcg_raise(env, VECTOR_UD);
		if ((uint32_t)env->gpr[RCX] > 1)
			gp(env);
		v = cpu->xcr0;
		if ((uint32_t)env->gpr[RCX] == 1)
			v &= tcg_xinuse(env);
		env->gpr[RAX] = (uint32_t)v;
		env->gpr[RDX] = v >> 32;
		return 0;
	case K_XSETBV:
		if (!(cpu->cr4 & CR4_OSXSAVE))
			tcg_raise(env, VECTOR_UD);
		v = (uint32_t)env->gpr[RAX] | env->gpr[RDX] << 32;
		if (tcg_cpl(env) || (uint32_t)env->gpr[RCX] || !(v & 1) || v & ~xcr0_allowed(env) ||
		    (v & 6) == 4)
			gp(env);
		cpu->xcr0 = v;
		tcg_update_mode(env);
		return leave(env, &a);
	case K_AC:
		if (tcg_cpl(env))
			tcg_raise(env, VECTOR_UD);
		env->eflags = a.rm == 3 ? env->eflags | FLAG_AC : env->eflags & ~FLAG_AC;
		tcg_select(env, env->user, tcg_smap_open(env));
		return 0;
	case K_PKRU:
		if (!(cpu->cr4 & CR4_PKE))
			tcg_raise(env, VECTOR_UD);
		if ((uint32_t)env->gpr[RCX] || (a.rm == 7 && (uint32_t)env->gpr[RDX]))
			gp(env);
		if (a.rm == 7) {
			tcg_set_pkru(env, (uint32_t)env->gpr[RAX]);
		} else {
			env->gpr[RAX] = env->pkru;
			env->gpr[RDX] = 0;
		}
		return 0;
	case K_RSM:
		if (!env->smm)
			tcg_raise(env, VECTOR_UD);
		resume(env);
		return 1;
	case K_MONITOR:
		if (tcg_cpl(env))
			tcg_raise(env, VECTOR_UD);
		if ((uint32_t)env->gpr[RCX])
			gp(env);
		return 0;
	case K_MWAIT:
		if (tcg_cpl(env))
			tcg_raise(env, VECTOR_UD);
		if (env->gpr[RCX] & ~UINT64_C(1))
			gp(env);
		/* A hint: others may run, then it is as if something had woken it. */
		tcg_yield();
		return leave_if_asked(env, &a);
	default:
		env->unsupported = "an instruction that the translator does not have yet";
		tcg_raise(env, TCG_UNSUPPORTED);
	}
	tcg_update_mode(env);
	return 1;
}
