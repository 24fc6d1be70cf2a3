/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segments and everything that goes through descriptors: loads, far transfers, IRET, exceptions and
 * interrupts in real, protected and long mode (SDM volume 3, chapters 5 to 8). General registers
 * only.
 */
#include "accel/tcg/segment.h"

static bool long_mode(const struct tcg_env *env)
{
	return env->cpu->efer & EFER_LMA;
}

unsigned tcg_cpl(const struct tcg_env *env)
{
	if (!(env->cpu->cr0 & CR0_PE))
		return 0;
	if (env->eflags & FLAG_VM)
		return 3;
	return DESC_DPL(env->cpu->seg[SEG_SS].rights);
}

static unsigned segment_class(const struct tcg_env *env, unsigned i)
{
	const struct x86_segment *s = &env->cpu->seg[i];

	if (env->mode & MODE_CODE64)
		return i >= SEG_FS ? SEGMENT_BASED : SEGMENT_FLAT;
	if (env->mode & MODE_PROTECTED && (s->rights & SEG_UNUSABLE || s->rights & BIT(3) ||
					   !(s->rights & BIT(1)) || s->rights & BIT(2)))
		return SEGMENT_SLOW;
	if (s->limit < 8)
		return SEGMENT_SLOW;
	return s->base == 0 && s->limit == UINT32_MAX ? SEGMENT_FLAT : SEGMENT_BASED;
}

void tcg_update_mode(struct tcg_env *env)
{
	struct x86_cpu *cpu = env->cpu;
	unsigned mode = env->mode & MODE_OURS, classes = 0, cpl = tcg_cpl(env);

	if (long_mode(env) && cpu->seg[SEG_CS].rights & DESC_L)
		mode |= MODE_CODE64;
	else if (cpu->seg[SEG_CS].rights & DESC_B)
		mode |= MODE_CODE32;
	/* 64-bit code takes no notice of it, so its blocks must not differ by it. */
	if (!(mode & MODE_CODE64) && cpu->seg[SEG_SS].rights & DESC_B)
		mode |= MODE_STACK32;
	if (cpl == 3)
		mode |= MODE_CPL3;
	if (cpu->cr0 & CR0_PE)
		mode |= env->eflags & FLAG_VM ? MODE_V86 : MODE_PROTECTED;
	if (cpu->cr0 & CR0_TS)
		mode |= MODE_TS;
	if (cpu->cr0 & CR0_EM)
		mode |= MODE_EM;
	if (!(cpu->cr4 & CR4_OSFXSR))
		mode |= MODE_NO_SSE;
	if (!(cpu->cr4 & CR4_OSXSAVE) || (cpu->xcr0 & 6) != 6)
		mode |= MODE_NO_AVX;
	env->mode = mode;
	if (mode & MODE_CODE64)
		env->seg_base[SEG_CS] = 0;
	for (unsigned i = mode & MODE_CODE64 ? SEG_FS : 0; i < 6; i++) {
		classes |= segment_class(env, i) << (2 * i);
		env->seg_base[i] = cpu->seg[i].base;
		if (mode & MODE_CODE64)
			continue; /* no limits, and the others are flat */
		for (unsigned k = 0; k < SEG_SIZES; k++)
			env->seg_last[i][k] = cpu->seg[i].limit - ((1u << k) - 1);
	}
	env->mode |= classes << MODE_SEG_SHIFT;
	env->va_unused = cpu->cr4 & CR4_LA57 ? 7 : 16;
	tcg_select(env, cpl == 3, tcg_smap_open(env));
}

/* A descriptor's segment. */
struct x86_segment descriptor_segment(const struct descriptor *d)
{
	struct x86_segment s = { .selector = d->selector, .rights = D_RIGHTS(d) };

	s.base = (d->low >> 16 & 0xffffff) | (d->low >> 32 & 0xff000000);
	s.limit = (uint32_t)((d->low & 0xffff) | (d->low >> 32 & 0xf0000));
	if (s.rights & DESC_G)
		s.limit = s.limit << 12 | 0xfff;
	return s;
}

bool descriptor_read(struct tcg_env *env, uint16_t selector, struct descriptor *d)
{
	const struct x86_cpu *cpu = env->cpu;
	uint64_t base = cpu->gdt.base;
	uint32_t limit = cpu->gdt.limit;

	if (selector & 4) {
		if (cpu->seg[SEG_LDT].rights & SEG_UNUSABLE || !(cpu->seg[SEG_LDT].selector & ~3))
			return false;
		base = cpu->seg[SEG_LDT].base;
		limit = cpu->seg[SEG_LDT].limit;
	}
	if ((selector | 7u) > limit)
		return false;
	d->selector = selector;
	d->address = base + (selector & ~7u);
	d->low = tcg_system_load(env, d->address, 8);
	return true;
}

void descriptor_set_accessed(struct tcg_env *env, struct descriptor *d)
{
	if (d->low & BIT64(40))
		return;
	d->low |= BIT64(40);
	tcg_system_store(env, d->address + 5, d->low >> 40 & 0xff, 1);
}

_Noreturn void segment_raise(struct tcg_env *env, unsigned vector, uint16_t selector)
{
	tcg_raise_error(env, vector, selector & ~3u);
}

void segment_load_real(struct tcg_env *env, unsigned seg, uint16_t selector)
{
	struct x86_segment *s = &env->cpu->seg[seg];

	s->selector = selector;
	s->base = (uint64_t)selector << 4;
	if (env->eflags & FLAG_VM && env->cpu->cr0 & CR0_PE) {
		s->limit = 0xffff;
		s->rights = 0xf3;
	} else if (s->rights & SEG_UNUSABLE) {
		s->rights = 0x93; /* limits stay: unreal mode */
	}
}

/* MOV, POP and far pointer loads of data and stack segments. */
static void load_data_segment(struct tcg_env *env, unsigned seg, uint16_t selector)
{
	struct x86_cpu *cpu = env->cpu;
	unsigned cpl = tcg_cpl(env), rpl = selector & 3;
	struct descriptor d;

	if (!(cpu->cr0 & CR0_PE) || env->eflags & FLAG_VM) {
		segment_load_real(env, seg, selector);
		return;
	}
	if (!(selector & ~3)) {
		if (seg == SEG_SS && (!(env->mode & MODE_CODE64) || cpl == 3 || rpl != cpl))
			tcg_raise_error(env, VECTOR_GP, 0);
		cpu->seg[seg].selector = selector;
		cpu->seg[seg].rights = SEG_UNUSABLE | (seg == SEG_SS ? cpl << 5 : 0);
		cpu->seg[seg].limit = 0;
		cpu->seg[seg].base = 0;
		return;
	}
	if (!descriptor_read(env, selector, &d) || !(D_RIGHTS(&d) & DESC_S))
		segment_raise(env, VECTOR_GP, selector);
	if (seg == SEG_SS) {
		if (rpl != cpl || D_TYPE(&d) & D_CODE || !(D_TYPE(&d) & D_WRITABLE) ||
		    DESC_DPL(D_RIGHTS(&d)) != cpl)
			segment_raise(env, VECTOR_GP, selector);
		if (!(D_RIGHTS(&d) & DESC_P))
			segment_raise(env, VECTOR_SS, selector);
	} else {
		bool code = D_TYPE(&d) & D_CODE, conforming = code && D_TYPE(&d) & D_CONFORMING;

		if (code && !(D_TYPE(&d) & 2))
			segment_raise(env, VECTOR_GP, selector);
		if (!conforming && (rpl > DESC_DPL(D_RIGHTS(&d)) || cpl > DESC_DPL(D_RIGHTS(&d))))
			segment_raise(env, VECTOR_GP, selector);
		if (!(D_RIGHTS(&d) & DESC_P))
			segment_raise(env, VECTOR_NP, selector);
	}
	descriptor_set_accessed(env, &d);
	cpu->seg[seg] = descriptor_segment(&d);
}

int helper_load_segment(struct tcg_env *env, uint64_t arg)
{
	load_data_segment(env, arg & 7, (uint16_t)env->tmp[0]);
	tcg_update_mode(env);
	return 0;
}

/* Stacks. */

struct stack {
	struct x86_segment ss;
	uint64_t sp;
	uint64_t mask;
	enum {
		STACK_CURRENT,	/* an instruction's: its accesses are as any other of its */
		STACK_DELIVERY, /* an event's that stays at this level */
		STACK_INNER,	/* of an inner level: with a supervisor's rights */
	} use;
	bool flat;
};

static uint64_t stack_mask(const struct x86_segment *ss)
{
	return ss->rights & DESC_B ? UINT32_MAX : 0xffff;
}

static struct stack current_stack(const struct tcg_env *env)
{
	const struct x86_segment *s = &env->cpu->seg[SEG_SS];
	bool flat = env->mode & MODE_CODE64;

	return (struct stack) {
		.ss = *s,
		.sp = env->gpr[RSP],
		.mask = flat ? UINT64_MAX : stack_mask(s),
		.flat = flat,
	};
}

static uint64_t stack_linear(struct tcg_env *env, const struct stack *s, uint64_t sp, unsigned size,
			     bool write)
{
	uint32_t offset = (uint32_t)(sp & s->mask);

	if (s->use == STACK_CURRENT)
		return tcg_linear(env, SEG_SS, sp & s->mask, size, write);
	if (s->flat ? !tcg_canonical(env, sp) || !tcg_canonical(env, sp + size - 1)
		    : !tcg_within_limit(&s->ss, offset, offset + size - 1))
		tcg_raise_error(env, VECTOR_SS,
				s->use == STACK_INNER && !s->flat ? s->ss.selector & ~3u : 0);
	return s->flat ? sp : (uint32_t)(s->ss.base + offset);
}

static void push(struct tcg_env *env, struct stack *s, uint64_t v, unsigned size)
{
	uint64_t sp = (s->sp & ~s->mask) | ((s->sp - size) & s->mask);
	uint64_t at = stack_linear(env, s, sp, size, true);

	if (s->use == STACK_CURRENT)
		tcg_store(env, at, v, size);
	else
		tcg_quiet_store(env, at, v, size, s->use == STACK_INNER);
	s->sp = sp;
}

static void set_stack_pointer(struct tcg_env *env, const struct stack *s)
{
	env->gpr[RSP] = (env->gpr[RSP] & ~s->mask) | (s->sp & s->mask);
	if (s->mask == UINT32_MAX)
		env->gpr[RSP] = (uint32_t)s->sp;
}

void stack_push_event(struct tcg_env *env, uint64_t v, unsigned size)
{
	struct stack s = current_stack(env);

	s.use = STACK_DELIVERY;
	push(env, &s, v, size);
	set_stack_pointer(env, &s);
}

void stack_push_real(struct tcg_env *env, uint64_t flags, uint16_t cs, uint64_t ip)
{
	struct stack s = current_stack(env);

	s.use = STACK_DELIVERY;
	push(env, &s, flags, 2);
	push(env, &s, cs, 2);
	push(env, &s, ip, 2);
	set_stack_pointer(env, &s);
}

/* From the current one. */
static uint64_t pop(struct tcg_env *env, struct stack *s, unsigned size)
{
	uint64_t v = tcg_load(env, stack_linear(env, s, s->sp, size, false), size);

	s->sp = (s->sp & ~s->mask) | ((s->sp + size) & s->mask);
	return v;
}

/* Control transfers. */

static void set_cs(struct tcg_env *env, struct descriptor *d, unsigned cpl, uint64_t rip)
{
	struct x86_segment s = descriptor_segment(d);

	if (!(s.rights & DESC_L && long_mode(env))) {
		rip = (uint32_t)rip;
		if (rip > s.limit)
			tcg_raise_error(env, VECTOR_GP, 0);
	} else if (!tcg_canonical(env, rip)) {
		tcg_raise_error(env, VECTOR_GP, 0);
	}
	descriptor_set_accessed(env, d);
	s = descriptor_segment(d);
	s.selector = (uint16_t)((d->selector & ~3) | cpl);
	env->cpu->seg[SEG_CS] = s;
	env->rip = rip;
}

/* A code segment descriptor for a direct far jump, call or return to the same level. */
static void check_code(struct tcg_env *env, const struct descriptor *d, unsigned cpl, unsigned rpl)
{
	unsigned dpl = DESC_DPL(D_RIGHTS(d));

	if (!(D_RIGHTS(d) & DESC_S) || !(D_TYPE(d) & D_CODE))
		segment_raise(env, VECTOR_GP, d->selector);
	if (D_TYPE(d) & D_CONFORMING ? dpl > cpl : rpl > cpl || dpl != cpl)
		segment_raise(env, VECTOR_GP, d->selector);
	if (long_mode(env) && (D_RIGHTS(d) & (DESC_L | DESC_B)) == (DESC_L | DESC_B))
		segment_raise(env, VECTOR_GP, d->selector);
	if (!(D_RIGHTS(d) & DESC_P))
		segment_raise(env, VECTOR_NP, d->selector);
}

/* The stack for an inner level, from the TSS. */
static struct stack inner_stack(struct tcg_env *env, unsigned level, struct x86_segment *ss)
{
	const struct x86_segment *tss = &env->cpu->seg[SEG_TR];
	bool wide = (tss->rights & 15) >= 9;
	uint64_t at = tss->base + (wide ? 4 + 8 * level : 2 + 4 * level);
	struct descriptor d;
	uint16_t selector;
	uint64_t sp;

	if (at - tss->base + (wide ? 5 : 3) > tss->limit)
		segment_raise(env, VECTOR_TS, tss->selector);
	sp = tcg_system_load(env, at, wide ? 4 : 2);
	selector = (uint16_t)tcg_system_load(env, at + (wide ? 4 : 2), 2);
	if (!(selector & ~3) || !descriptor_read(env, selector, &d) || (selector & 3u) != level ||
	    !(D_RIGHTS(&d) & DESC_S) || D_TYPE(&d) & D_CODE || !(D_TYPE(&d) & D_WRITABLE) ||
	    DESC_DPL(D_RIGHTS(&d)) != level)
		segment_raise(env, VECTOR_TS, selector);
	if (!(D_RIGHTS(&d) & DESC_P))
		segment_raise(env, VECTOR_SS, selector);
	descriptor_set_accessed(env, &d);
	*ss = descriptor_segment(&d);
	return (struct stack) {
		.ss = *ss,
		.sp = sp,
		.mask = stack_mask(ss),
		.use = STACK_INNER,
	};
}

static uint64_t inner_rsp(struct tcg_env *env, unsigned offset)
{
	const struct x86_segment *tss = &env->cpu->seg[SEG_TR];

	if (offset + 7 > tss->limit)
		segment_raise(env, VECTOR_TS, tss->selector);
	return tcg_system_load(env, tss->base + offset, 8);
}

static void far_real(struct tcg_env *env, uint16_t selector, uint64_t offset, unsigned size,
		     bool call, uint64_t next)
{
	if (call) {
		struct stack s = current_stack(env);

		push(env, &s, env->cpu->seg[SEG_CS].selector, size);
		push(env, &s, next, size);
		set_stack_pointer(env, &s);
	}
	segment_load_real(env, SEG_CS, selector);
	env->rip = offset & ones(size);
}

static void call_gate(struct tcg_env *env, struct descriptor *gate, bool call, uint64_t next)
{
	bool wide = D_TYPE(gate) & 8;
	uint16_t selector = (uint16_t)(gate->low >> 16);
	uint64_t offset = (gate->low & 0xffff) | (gate->low >> 32 & 0xffff0000);
	unsigned size = wide ? 4 : 2, count = gate->low >> 32 & 31, cpl = tcg_cpl(env), dpl;
	struct descriptor d;

	if (long_mode(env)) {
		size = 8;
		offset |= tcg_system_load(env, gate->address + 8, 4) << 32;
		count = 0;
	} else if (!wide) {
		offset &= 0xffff;
	}
	if (!(selector & ~3) || !descriptor_read(env, selector, &d))
		segment_raise(env, VECTOR_GP, selector);
	dpl = DESC_DPL(D_RIGHTS(&d));
	if (!(D_RIGHTS(&d) & DESC_S) || !(D_TYPE(&d) & D_CODE) || dpl > cpl)
		segment_raise(env, VECTOR_GP, selector);
	if (!(D_RIGHTS(&d) & DESC_P))
		segment_raise(env, VECTOR_NP, selector);
	if (call && !(D_TYPE(&d) & D_CONFORMING) && dpl < cpl) {
		struct x86_segment ss = { .rights = SEG_UNUSABLE | dpl << 5,
					  .selector = (uint16_t)dpl };
		struct stack old = current_stack(env), s;
		uint16_t old_ss = env->cpu->seg[SEG_SS].selector;

		if (long_mode(env))
			s = (struct stack) { .sp = inner_rsp(env, 4 + 8 * dpl),
					     .mask = UINT64_MAX,
					     .use = STACK_INNER,
					     .flat = true };
		else
			s = inner_stack(env, dpl, &ss);
		push(env, &s, old_ss, size);
		push(env, &s, env->gpr[RSP], size);
		for (unsigned i = count; i-- > 0;) {
			uint64_t at = stack_linear(env, &old, old.sp + i * size, size, false);

			push(env, &s, tcg_load(env, at, size), size);
		}
		push(env, &s, env->cpu->seg[SEG_CS].selector, size);
		push(env, &s, next, size);
		set_cs(env, &d, dpl, offset);
		env->cpu->seg[SEG_SS] = ss;
		env->gpr[RSP] = s.sp;
		return;
	}
	if (call) {
		struct stack s = current_stack(env);

		push(env, &s, env->cpu->seg[SEG_CS].selector, size);
		push(env, &s, next, size);
		set_stack_pointer(env, &s);
	}
	set_cs(env, &d, cpl, offset);
}

static void far_transfer(struct tcg_env *env, uint16_t selector, uint64_t offset, unsigned size,
			 bool call, uint64_t next)
{
	unsigned cpl = tcg_cpl(env), rpl = selector & 3;
	struct descriptor d;

	if (!(env->cpu->cr0 & CR0_PE) || env->eflags & FLAG_VM) {
		far_real(env, selector, offset, size, call, next);
		return;
	}
	if (!(selector & ~3))
		tcg_raise_error(env, VECTOR_GP, 0);
	if (!descriptor_read(env, selector, &d))
		segment_raise(env, VECTOR_GP, selector);
	if (D_RIGHTS(&d) & DESC_S) {
		check_code(env, &d, cpl, rpl);
		if (call) {
			struct stack s = current_stack(env);

			/* The pushes see the stack of the code that is called. */
			if (long_mode(env) && s.flat != !!(D_RIGHTS(&d) & DESC_L)) {
				s.flat = !s.flat;
				s.mask = s.flat ? UINT64_MAX : stack_mask(&s.ss);
				s.use = STACK_DELIVERY;
			}
			push(env, &s, env->cpu->seg[SEG_CS].selector, size);
			push(env, &s, next, size);
			set_cs(env, &d, cpl, offset & ones(size));
			set_stack_pointer(env, &s);
		} else {
			set_cs(env, &d, cpl, offset & ones(size));
		}
		return;
	}
	if (DESC_DPL(D_RIGHTS(&d)) < cpl || DESC_DPL(D_RIGHTS(&d)) < rpl)
		segment_raise(env, VECTOR_GP, selector);
	switch (D_TYPE(&d)) {
	case TYPE_CALL_GATE32:
	case TYPE_CALL_GATE16:
		if (!(D_RIGHTS(&d) & DESC_P))
			segment_raise(env, VECTOR_NP, selector);
		if (D_TYPE(&d) == TYPE_CALL_GATE16 && long_mode(env))
			segment_raise(env, VECTOR_GP, selector);
		call_gate(env, &d, call, next);
		return;
	case TYPE_TASK_GATE:
	case TYPE_TSS16:
	case TYPE_TSS32:
		if (long_mode(env))
			segment_raise(env, VECTOR_GP, selector);
		if (D_TYPE(&d) == TYPE_TASK_GATE) {
			if (!(D_RIGHTS(&d) & DESC_P))
				segment_raise(env, VECTOR_NP, selector);
			selector = (uint16_t)(d.low >> 16);
		}
		task_switch(env, selector, call ? TASK_CALL : TASK_JUMP, next, NULL);
		return;
	default:
		segment_raise(env, VECTOR_GP, selector);
	}
}

/* Data segments that an outer level may not keep. */
static void drop_segments(struct tcg_env *env, unsigned cpl)
{
	static const uint8_t segs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned i = 0; i < ARRAY_LEN(segs); i++) {
		struct x86_segment *s = &env->cpu->seg[segs[i]];
		bool conforming = (s->rights & 0xc) == 0xc;

		if (!(s->rights & SEG_UNUSABLE) && !conforming && DESC_DPL(s->rights) < cpl) {
			s->selector = 0;
			s->rights = SEG_UNUSABLE;
		}
	}
}

/* The part of RETF and IRET after the pops: to `selector`:`rip`, perhaps at an outer level. */
static void return_to(struct tcg_env *env, struct stack *s, uint16_t selector, uint64_t rip,
		      unsigned size, unsigned release, bool always_stack)
{
	unsigned cpl = tcg_cpl(env), rpl = selector & 3;
	struct descriptor d, sd;

	if (!(selector & ~3))
		tcg_raise_error(env, VECTOR_GP, 0);
	if (!descriptor_read(env, selector, &d) || rpl < cpl || !(D_RIGHTS(&d) & DESC_S) ||
	    !(D_TYPE(&d) & D_CODE) ||
	    (D_TYPE(&d) & D_CONFORMING ? DESC_DPL(D_RIGHTS(&d)) > rpl
				       : DESC_DPL(D_RIGHTS(&d)) != rpl))
		segment_raise(env, VECTOR_GP, selector);
	if (!(D_RIGHTS(&d) & DESC_P))
		segment_raise(env, VECTOR_NP, selector);
	if (long_mode(env) && D_RIGHTS(&d) & DESC_L && rpl == cpl) {
		/* From a 16-bit stack, processors add this and what was popped in 16 bits. */
		if (s->mask == UINT16_MAX && release + 2 * size > UINT16_MAX)
			release -= UINT16_MAX + 1u;
		s->mask = UINT64_MAX; /* the stack of where it goes */
	}
	s->sp = (s->sp & ~s->mask) | ((s->sp + (int32_t)release) & s->mask);
	if (rpl == cpl && !always_stack) {
		set_cs(env, &d, rpl, rip);
		set_stack_pointer(env, s);
		return;
	}
	uint64_t sp = pop(env, s, size);
	uint16_t ss = (uint16_t)pop(env, s, size);
	bool to64 = long_mode(env) && D_RIGHTS(&d) & DESC_L;
	struct x86_segment stack = { .selector = ss, .rights = SEG_UNUSABLE | rpl << 5 };

	if (!(ss & ~3)) {
		if (!to64 || rpl == 3)
			tcg_raise_error(env, VECTOR_GP, 0);
	} else {
		if (!descriptor_read(env, ss, &sd) || (ss & 3u) != rpl ||
		    !(D_RIGHTS(&sd) & DESC_S) || D_TYPE(&sd) & D_CODE ||
		    !(D_TYPE(&sd) & D_WRITABLE) || DESC_DPL(D_RIGHTS(&sd)) != rpl)
			segment_raise(env, VECTOR_GP, ss);
		if (!(D_RIGHTS(&sd) & DESC_P))
			segment_raise(env, VECTOR_SS, ss);
		descriptor_set_accessed(env, &sd);
		stack = descriptor_segment(&sd);
	}
	set_cs(env, &d, rpl, rip);
	env->cpu->seg[SEG_SS] = stack;
	if (to64 || stack.rights & DESC_B)
		env->gpr[RSP] = to64 ? sp : (uint32_t)sp;
	else
		env->gpr[RSP] = (env->gpr[RSP] & ~UINT64_C(0xffff)) | (sp & 0xffff);
	if (!to64 || size != 8)
		env->gpr[RSP] += release;
	if (rpl > cpl)
		drop_segments(env, rpl);
}

static void far_return(struct tcg_env *env, unsigned size, unsigned release)
{
	struct stack s = current_stack(env);
	uint64_t rip = pop(env, &s, size);
	uint16_t selector = (uint16_t)pop(env, &s, size);

	if (!(env->cpu->cr0 & CR0_PE) || env->eflags & FLAG_VM) {
		segment_load_real(env, SEG_CS, selector);
		env->rip = rip;
		s.sp = (s.sp & ~s.mask) | ((s.sp + release) & s.mask);
		set_stack_pointer(env, &s);
		return;
	}
	return_to(env, &s, selector, rip, size, release, false);
}

/* The bits that IRET and POPF at this level may change. */
void tcg_load_flags(struct tcg_env *env, uint64_t flags, unsigned size, unsigned cpl)
{
	uint64_t may = FLAGS_ALL | FLAG_TF | FLAG_DF | FLAG_NT, old = tcg_flags(env);

	if (size > 2)
		may |= FLAG_AC | FLAG_ID;
	if (cpl == 0)
		may |= FLAG_IOPL;
	if (cpl <= (old >> 12 & 3))
		may |= FLAG_IF;
	if (size > 2 && !(env->eflags & FLAG_VM))
		old &= ~(FLAG_VIF | FLAG_VIP);
	tcg_set_flags(env, (old & ~may & ~FLAG_RF) | (flags & may) | 2);
	tcg_check_events(env);
	tcg_select(env, env->user, tcg_smap_open(env));
}

static void iret_to_v86(struct tcg_env *env, struct stack *s, uint64_t rip, uint16_t cs,
			uint64_t flags)
{
	static const uint8_t order[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	uint64_t sp = pop(env, s, 4), value[4];
	uint16_t ss = (uint16_t)pop(env, s, 4);

	for (unsigned i = 0; i < 4; i++)
		value[i] = pop(env, s, 4);
	tcg_set_flags(env, (flags & 0x3f7fd5) | 2);
	segment_load_real(env, SEG_CS, cs);
	segment_load_real(env, SEG_SS, ss);
	for (unsigned i = 0; i < 4; i++)
		segment_load_real(env, order[i], (uint16_t)value[i]);
	env->gpr[RSP] = sp;
	env->rip = rip & 0xffff;
}

static void interrupt_return(struct tcg_env *env, unsigned size, uint64_t next)
{
	struct stack s = current_stack(env);
	unsigned cpl = tcg_cpl(env);
	uint64_t rip, flags;
	uint16_t cs;

	if (env->mode & MODE_PROTECTED && env->eflags & FLAG_NT) {
		if (long_mode(env))
			tcg_raise_error(env, VECTOR_GP, 0);
		env->nmi_masked = false;
		task_return(env, next);
		return;
	}
	v86_check_flags(env, size);
	rip = pop(env, &s, size);
	cs = (uint16_t)pop(env, &s, size);
	flags = pop(env, &s, size);
	if (!(env->cpu->cr0 & CR0_PE) || env->eflags & FLAG_VM) {
		if (env->mode & MODE_V86)
			v86_load_flags(env, flags, size);
		else
			tcg_load_flags(env, flags, size, 0);
		segment_load_real(env, SEG_CS, cs);
		env->rip = rip;
		set_stack_pointer(env, &s);
		env->nmi_masked = false;
		return;
	}
	if (flags & FLAG_VM && size == 4 && cpl == 0 && !long_mode(env)) {
		iret_to_v86(env, &s, rip, cs, flags);
		return;
	}
	return_to(env, &s, cs, rip, size, 0, env->mode & MODE_CODE64);
	tcg_load_flags(env, flags, size, cpl);
	if (size > 2)
		env->eflags |= flags & FLAG_RF;
	if (size > 2 && cpl == 0)
		env->eflags |= flags & (FLAG_VIF | FLAG_VIP);
	env->nmi_masked = false;
}

int helper_far(struct tcg_env *env, uint64_t word)
{
	union insn_arg a = { .word = word };
	uint64_t next = (env->rip + a.length) & (env->mode & MODE_CODE64 ? UINT64_MAX : UINT32_MAX);

	switch (a.kind) {
	case K_JMPF:
	case K_JMPF_M:
	case K_CALLF:
	case K_CALLF_M: {
		bool call = a.kind == K_CALLF || a.kind == K_CALLF_M;

		if (a.kind == K_JMPF_M || a.kind == K_CALLF_M) {
			uint64_t at = tcg_linear(env, a.segment, env->tmp[0], a.size + 2u, false);

			env->tmp[0] = tcg_load(env, at, a.size);
			env->tmp[1] = tcg_load(env, at + a.size, 2);
		}
		far_transfer(env, (uint16_t)env->tmp[1], env->tmp[0], a.size, call, next);
		break;
	}
	case K_RETF:
		far_return(env, a.size, (unsigned)env->tmp[0]);
		break;
	default:
		interrupt_return(env, a.size, next);
		break;
	}
	tcg_update_mode(env);
	return tcg_must_stop(env);
}

/* Exceptions and interrupts. */

static void deliver_real(struct tcg_env *env, const struct tcg_event *e)
{
	const struct x86_cpu *cpu = env->cpu;
	uint32_t entry;

	if (4 * e->vector + 3 > cpu->idt.limit)
		tcg_raise_error(env, VECTOR_GP, 0);
	entry = (uint32_t)tcg_system_load(env, cpu->idt.base + 4 * e->vector, 4);
	stack_push_real(env, tcg_flags(env), cpu->seg[SEG_CS].selector,
			e->software ? e->next_rip : env->rip);
	env->eflags &= ~(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
	segment_load_real(env, SEG_CS, (uint16_t)(entry >> 16));
	env->rip = entry & 0xffff;
}

/* Exceptions that leave the instruction to be done again. */
#define FAULTS                                                                                     \
	(BIT64(0) | BIT64(5) | BIT64(6) | BIT64(7) | UINT64_C(0x7c00) | BIT64(16) | BIT64(17) |    \
	 BIT64(19) | BIT64(21))

static void deliver_protected(struct tcg_env *env, const struct tcg_event *e)
{
	struct x86_cpu *cpu = env->cpu;
	bool long_idt = long_mode(env), inner, v86 = env->eflags & FLAG_VM;
	unsigned step = long_idt ? 16 : 8, type, cpl = tcg_cpl(env), dpl, size;
	uint32_t error = e->vector << 3 | 2 | (e->external ? 1 : 0);
	uint64_t gate, high = 0, offset, flags = tcg_flags(env), old_sp = env->gpr[RSP];

	/* A handler that returns to a faulting instruction gets past its breakpoint (17.3.1.1). */
	if (!e->external && !e->software && FAULTS >> e->vector & 1)
		flags |= FLAG_RF;
	uint64_t rip = e->software ? e->next_rip : env->rip;
	uint16_t selector, old_ss = cpu->seg[SEG_SS].selector, old_cs = cpu->seg[SEG_CS].selector;
	struct x86_segment ss = cpu->seg[SEG_SS];
	struct stack s = current_stack(env);
	struct descriptor d;

	s.use = STACK_DELIVERY;
	if (e->vector * step + step - 1 > cpu->idt.limit)
		tcg_raise_error(env, VECTOR_GP, error);
	gate = tcg_system_load(env, cpu->idt.base + e->vector * step, 8);
	if (long_idt)
		high = tcg_system_load(env, cpu->idt.base + e->vector * step + 8, 8);
	type = gate >> 40 & 0x1f;
	if (type != 14 && type != 15 &&
	    (long_idt || (type != 6 && type != 7 && type != TYPE_TASK_GATE)))
		tcg_raise_error(env, VECTOR_GP, error);
	if (e->software && (gate >> 45 & 3) < cpl)
		tcg_raise_error(env, VECTOR_GP, error);
	if (!(gate >> 47 & 1))
		tcg_raise_error(env, VECTOR_NP, error);
	selector = (uint16_t)(gate >> 16);
	if (type == TYPE_TASK_GATE) {
		tcg_set_flags(env, flags);
		task_switch(env, selector, TASK_EVENT, rip, e);
		return;
	}
	offset = (gate & 0xffff) | (type & 8 ? gate >> 32 & 0xffff0000 : 0) | high << 32;
	size = long_idt ? 8 : type & 8 ? 4 : 2;
	if (!(selector & ~3))
		tcg_raise_error(env, VECTOR_GP, e->external);
	if (!descriptor_read(env, selector, &d))
		tcg_raise_error(env, VECTOR_GP, (selector & ~3u) | e->external);
	dpl = DESC_DPL(D_RIGHTS(&d));
	if (!(D_RIGHTS(&d) & DESC_S) || !(D_TYPE(&d) & D_CODE) || dpl > cpl ||
	    (long_idt && !(D_RIGHTS(&d) & DESC_L)))
		tcg_raise_error(env, VECTOR_GP, (selector & ~3u) | e->external);
	if (!(D_RIGHTS(&d) & DESC_P))
		tcg_raise_error(env, VECTOR_NP, (selector & ~3u) | e->external);
	if (D_TYPE(&d) & D_CONFORMING)
		dpl = cpl;
	inner = dpl < cpl;
	if (v86 && dpl != 0)
		tcg_raise_error(env, VECTOR_GP, (selector & ~3u) | e->external);
	if (long_idt) {
		unsigned ist = gate >> 32 & 7;

		s.flat = true;
		s.mask = UINT64_MAX;
		s.use = inner ? STACK_INNER : STACK_DELIVERY;
		if (ist)
			s.sp = inner_rsp(env, 36 + 8 * (ist - 1));
		else if (inner)
			s.sp = inner_rsp(env, 4 + 8 * dpl);
		s.sp &= ~UINT64_C(15);
		if (inner)
			ss = (struct x86_segment) { .selector = (uint16_t)dpl,
						    .rights = SEG_UNUSABLE | dpl << 5 };
	} else if (inner) {
		s = inner_stack(env, dpl, &ss);
	}
	if (v86) {
		push(env, &s, cpu->seg[SEG_GS].selector, size);
		push(env, &s, cpu->seg[SEG_FS].selector, size);
		push(env, &s, cpu->seg[SEG_DS].selector, size);
		push(env, &s, cpu->seg[SEG_ES].selector, size);
	}
	if (inner || long_idt) {
		push(env, &s, old_ss, size);
		push(env, &s, old_sp, size);
	}
	push(env, &s, flags, size);
	push(env, &s, old_cs, size);
	push(env, &s, rip, size);
	if (e->has_error)
		push(env, &s, e->error, size);
	set_cs(env, &d, dpl, offset);
	if (inner)
		cpu->seg[SEG_SS] = ss;
	if (inner || long_idt)
		env->gpr[RSP] = s.sp;
	else
		set_stack_pointer(env, &s);
	if (v86) {
		static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

		for (unsigned i = 0; i < 4; i++)
			cpu->seg[data[i]] = (struct x86_segment) { .rights = SEG_UNUSABLE };
	}
	env->eflags &= ~(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM);
	if (!(type & 1))
		env->eflags &= ~FLAG_IF;
}

void tcg_deliver(struct tcg_env *env, const struct tcg_event *e)
{
	if (env->cpu->cr0 & CR0_PE)
		deliver_protected(env, e);
	else
		deliver_real(env, e);
	tcg_update_mode(env);
}

/* Descriptor tables' own instructions. */

void tcg_load_ldt(struct tcg_env *env, uint16_t selector)
{
	struct descriptor d;

	if (!(selector & ~3)) {
		env->cpu->seg[SEG_LDT] =
			(struct x86_segment) { .selector = selector, .rights = SEG_UNUSABLE };
		return;
	}
	if (selector & 4 || !descriptor_read(env, selector, &d) || (D_RIGHTS(&d) & 0x1f) != 2)
		segment_raise(env, VECTOR_GP, selector);
	if (!(D_RIGHTS(&d) & DESC_P))
		segment_raise(env, VECTOR_NP, selector);
	env->cpu->seg[SEG_LDT] = descriptor_segment(&d);
	if (long_mode(env))
		env->cpu->seg[SEG_LDT].base |= tcg_system_load(env, d.address + 8, 4) << 32;
}

void tcg_load_tr(struct tcg_env *env, uint16_t selector)
{
	struct descriptor d;
	unsigned type;

	if (!(selector & ~3))
		tcg_raise_error(env, VECTOR_GP, 0);
	if (selector & 4 || !descriptor_read(env, selector, &d))
		segment_raise(env, VECTOR_GP, selector);
	type = D_RIGHTS(&d) & 0x1f;
	if (type != 9 && (type != 1 || long_mode(env)))
		segment_raise(env, VECTOR_GP, selector);
	if (!(D_RIGHTS(&d) & DESC_P))
		segment_raise(env, VECTOR_NP, selector);
	d.low |= BIT64(41); /* busy */
	tcg_system_store(env, d.address + 5, d.low >> 40 & 0xff, 1);
	env->cpu->seg[SEG_TR] = descriptor_segment(&d);
	if (long_mode(env))
		env->cpu->seg[SEG_TR].base |= tcg_system_load(env, d.address + 8, 4) << 32;
}

/* LAR, LSL, VERR, VERW: whether the selector passes, with what LAR or LSL give. */
bool tcg_probe_segment(struct tcg_env *env, unsigned kind, bool write_or_limit, uint16_t selector,
		       uint64_t *value)
{
	/* System types that LAR and LSL accept: bit per type. */
	uint32_t lar = long_mode(env) ? 0x1a04 : 0x1a3e, lsl = long_mode(env) ? 0x0a04 : 0x0a0e;
	unsigned cpl = tcg_cpl(env), rpl = selector & 3, dpl;
	struct descriptor d;
	bool conforming;

	if (!(selector & ~3) || !descriptor_read(env, selector, &d))
		return false;
	dpl = DESC_DPL(D_RIGHTS(&d));
	conforming = (D_RIGHTS(&d) & (DESC_S | D_CODE | D_CONFORMING)) ==
		     (DESC_S | D_CODE | D_CONFORMING);
	if (!conforming && (cpl > dpl || rpl > dpl))
		return false;
	if (kind == K_VERX) {
		if (!(D_RIGHTS(&d) & DESC_S))
			return false;
		if (write_or_limit)
			return !(D_TYPE(&d) & D_CODE) && D_TYPE(&d) & D_WRITABLE;
		return !(D_TYPE(&d) & D_CODE) || D_TYPE(&d) & 2;
	}
	if (!(D_RIGHTS(&d) & DESC_S) && !((write_or_limit ? lsl : lar) >> D_TYPE(&d) & 1))
		return false;
	*value = write_or_limit ? descriptor_segment(&d).limit : (d.low >> 32 & 0x00ffff00);
	return true;
}
