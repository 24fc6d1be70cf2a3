/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hardware task switches (SDM volume 3, chapter 7). General registers only. */
#include "accel/tcg/segment.h"

/* Where a TSS has what; a 16-bit one (286) and a 32-bit one. */
struct layout {
	uint8_t word; /* bytes of a register */
	uint8_t slot; /* bytes from one selector to the next */
	uint8_t cr3;  /* 0: none */
	uint8_t ip;   /* then the flags and eight registers */
	uint8_t es, segments;
	uint8_t ldt;
	uint8_t trap; /* bit 0; 0: none */
	uint8_t last; /* the smallest limit */
};
static const struct layout layouts[] = {
	{ .word = 2, .slot = 2, .ip = 0x0e, .es = 0x22, .segments = 4, .ldt = 0x2a, .last = 0x2b },
	{ .word = 4,
	  .slot = 4,
	  .cr3 = 0x1c,
	  .ip = 0x20,
	  .es = 0x48,
	  .segments = 6,
	  .ldt = 0x60,
	  .trap = 0x64,
	  .last = 0x67 },
};

#define LINK 0

/* What is loaded from the new TSS, read before anything changes. */
struct task {
	uint64_t cr3, ip, flags, gpr[8];
	uint16_t seg[6], ldt;
	bool trap;
};

static const struct layout *layout_of(unsigned type)
{
	return &layouts[type >= TYPE_TSS32];
}

static void read_task(struct tcg_env *env, uint64_t base, const struct layout *l, struct task *t)
{
	*t = (struct task) { .ip = tcg_system_load(env, base + l->ip, l->word) };
	if (l->cr3)
		t->cr3 = tcg_system_load(env, base + l->cr3, 4);
	t->flags = tcg_system_load(env, base + l->ip + l->word, l->word);
	for (unsigned i = 0; i < 8; i++)
		t->gpr[i] = tcg_system_load(env, base + l->ip + (2 + i) * l->word, l->word);
	for (unsigned i = 0; i < l->segments; i++)
		t->seg[i] = (uint16_t)tcg_system_load(env, base + l->es + i * l->slot, 2);
	t->ldt = (uint16_t)tcg_system_load(env, base + l->ldt, 2);
	t->trap = l->trap && tcg_system_load(env, base + l->trap, 2) & 1;
}

static void save_task(struct tcg_env *env, uint64_t base, const struct layout *l, uint64_t ip,
		      uint64_t flags)
{
	tcg_system_store(env, base + l->ip, ip, l->word);
	tcg_system_store(env, base + l->ip + l->word, flags, l->word);
	for (unsigned i = 0; i < 8; i++)
		tcg_system_store(env, base + l->ip + (2 + i) * l->word, env->gpr[i], l->word);
	for (unsigned i = 0; i < l->segments; i++)
		tcg_system_store(env, base + l->es + i * l->slot, env->cpu->seg[i].selector, 2);
}

static void set_busy(struct tcg_env *env, uint16_t selector, bool busy)
{
	uint64_t at = env->cpu->gdt.base + (selector & ~7u) + 5;
	uint64_t type = tcg_system_load(env, at, 1) & ~(uint64_t)TYPE_BUSY;

	tcg_system_store(env, at, type | (busy ? TYPE_BUSY : 0), 1);
}

/* The new task's segments: what is wrong with them is #TS, in the new task. */

static void load_ldt(struct tcg_env *env, uint16_t selector)
{
	struct x86_segment *ldt = &env->cpu->seg[SEG_LDT];
	struct descriptor d;

	*ldt = (struct x86_segment) { .selector = selector, .rights = SEG_UNUSABLE };
	if (!(selector & ~3))
		return;
	if (selector & 4 || !descriptor_read(env, selector, &d) ||
	    (D_RIGHTS(&d) & (DESC_P | 0x1f)) != (DESC_P | TYPE_LDT))
		segment_raise(env, VECTOR_TS, selector);
	*ldt = descriptor_segment(&d);
}

static void read_segment(struct tcg_env *env, uint16_t selector, struct descriptor *d)
{
	if (!(selector & ~3) || !descriptor_read(env, selector, d) || !(D_RIGHTS(d) & DESC_S))
		segment_raise(env, VECTOR_TS, selector);
}

static void use_segment(struct tcg_env *env, unsigned seg, struct descriptor *d, unsigned absent)
{
	if (!(D_RIGHTS(d) & DESC_P))
		segment_raise(env, absent, d->selector);
	descriptor_set_accessed(env, d);
	env->cpu->seg[seg] = descriptor_segment(d);
}

static void load_code(struct tcg_env *env, uint16_t selector)
{
	unsigned rpl = selector & 3, dpl;
	struct descriptor d;

	read_segment(env, selector, &d);
	dpl = DESC_DPL(D_RIGHTS(&d));
	if (!(D_TYPE(&d) & D_CODE) || (D_TYPE(&d) & D_CONFORMING ? dpl > rpl : dpl != rpl))
		segment_raise(env, VECTOR_TS, selector);
	use_segment(env, SEG_CS, &d, VECTOR_NP);
}

static void load_stack(struct tcg_env *env, uint16_t selector, unsigned cpl)
{
	struct descriptor d;

	read_segment(env, selector, &d);
	if (D_TYPE(&d) & D_CODE || !(D_TYPE(&d) & D_WRITABLE) || (selector & 3u) != cpl ||
	    DESC_DPL(D_RIGHTS(&d)) != cpl)
		segment_raise(env, VECTOR_TS, selector);
	use_segment(env, SEG_SS, &d, VECTOR_SS);
}

static void load_data(struct tcg_env *env, unsigned seg, uint16_t selector, unsigned cpl)
{
	struct descriptor d;
	unsigned dpl, type;

	if (!(selector & ~3))
		return;
	read_segment(env, selector, &d);
	dpl = DESC_DPL(D_RIGHTS(&d));
	type = D_TYPE(&d);
	if (type & D_CODE && !(type & D_READABLE))
		segment_raise(env, VECTOR_TS, selector);
	if ((type & (D_CODE | D_CONFORMING)) != (D_CODE | D_CONFORMING) &&
	    (cpl > dpl || (selector & 3u) > dpl))
		segment_raise(env, VECTOR_TS, selector);
	use_segment(env, seg, &d, VECTOR_NP);
}

static void load_segments(struct tcg_env *env, const struct task *t)
{
	static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	unsigned cpl = t->seg[SEG_CS] & 3;

	if (env->eflags & FLAG_VM) {
		for (unsigned i = 0; i < 6; i++)
			segment_load_real(env, i, t->seg[i]);
		load_ldt(env, t->ldt);
		return;
	}
	/* A fault finds them empty, at the new level. */
	for (unsigned i = 0; i < 6; i++)
		env->cpu->seg[i] = (struct x86_segment) {
			.selector = t->seg[i],
			.rights = SEG_UNUSABLE | (i == SEG_CS || i == SEG_SS ? cpl << 5 : 0),
		};
	tcg_update_mode(env);
	load_ldt(env, t->ldt);
	load_code(env, t->seg[SEG_CS]);
	load_stack(env, t->seg[SEG_SS], cpl);
	for (unsigned i = 0; i < ARRAY_LEN(data); i++)
		load_data(env, data[i], t->seg[data[i]], cpl);
}

/* The TSS's descriptor, checked. */
static void read_tss(struct tcg_env *env, uint16_t selector, enum task_switch how,
		     struct descriptor *d)
{
	unsigned type, wrong = how == TASK_RETURN ? VECTOR_TS : VECTOR_GP;

	if (selector & 4 || !(selector & ~3) || !descriptor_read(env, selector, d))
		segment_raise(env, wrong, selector);
	type = D_RIGHTS(d) & 0x1f & ~(how == TASK_RETURN ? (unsigned)TYPE_BUSY : 0);
	if ((type != TYPE_TSS16 && type != TYPE_TSS32) ||
	    (how == TASK_RETURN && !(D_TYPE(d) & TYPE_BUSY)))
		segment_raise(env, wrong, selector);
	if (!(D_RIGHTS(d) & DESC_P))
		segment_raise(env, VECTOR_NP, selector);
	if (descriptor_segment(d).limit < layout_of(type)->last)
		segment_raise(env, VECTOR_TS, selector);
}

void task_switch(struct tcg_env *env, uint16_t selector, enum task_switch how, uint64_t next,
		 const struct tcg_event *event)
{
	struct x86_cpu *cpu = env->cpu;
	struct x86_segment old = cpu->seg[SEG_TR], new;
	const struct layout *from = layout_of(old.rights & 15), *to;
	bool nested = how == TASK_CALL || how == TASK_EVENT;
	uint64_t flags = tcg_flags(env);
	struct descriptor d;
	struct task t;

	read_tss(env, selector, how, &d);
	new = descriptor_segment(&d);
	to = layout_of(new.rights & 15);
	read_task(env, new.base, to, &t);
	if (how == TASK_RETURN)
		flags &= ~FLAG_NT;
	save_task(env, old.base, from, next, flags);
	if (how == TASK_JUMP || how == TASK_RETURN)
		set_busy(env, old.selector, false);
	if (how != TASK_RETURN)
		set_busy(env, selector, true);
	if (nested)
		tcg_system_store(env, new.base + LINK, old.selector, 2);

	/* From here on it is the new task. */
	new.rights |= TYPE_BUSY;
	cpu->seg[SEG_TR] = new;
	cpu->cr0 |= CR0_TS;
	if (to->cr3 && cpu->cr0 & CR0_PG) {
		cpu->cr3 = t.cr3;
		tcg_flush_translations(env, false);
	}
	t.flags &= to->word == 4 ? 0x3f7fd5 : 0x7fd5;
	tcg_set_flags(env, t.flags | 2 | (nested ? FLAG_NT : 0));
	for (unsigned i = 0; i < 8; i++)
		env->gpr[i] = t.gpr[i] | (to->word == 2 ? 0xffff0000 : 0);
	env->rip = t.ip;
	cpu->dr7 &= ~UINT64_C(0x155); /* what is local to a task */
	tcg_debug_update(env);
	load_segments(env, &t);
	tcg_update_mode(env);
	tcg_check_events(env);
	if (event && event->has_error)
		stack_push_event(env, event->error, to->word);
	if (!(env->eflags & FLAG_VM) && env->rip > cpu->seg[SEG_CS].limit)
		tcg_raise_error(env, VECTOR_GP, 0);
	if (t.trap) {
		cpu->dr6 |= DR6_BT;
		tcg_raise(env, VECTOR_DB);
	}
}

void task_return(struct tcg_env *env, uint64_t next)
{
	uint16_t link = (uint16_t)tcg_system_load(env, env->cpu->seg[SEG_TR].base + LINK, 2);

	task_switch(env, link, TASK_RETURN, next, NULL);
}
