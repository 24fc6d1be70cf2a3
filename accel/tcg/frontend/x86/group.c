/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups: neighbouring instructions whose memory operands lie a known distance apart (a structure's
 * members, registers pushed or popped) share one check of the whole range. Where it fails, because
 * the range crosses a page's end or the page is not in the TLB, the same instructions follow out of
 * line with a check each; so exceptions come where they belong.
 *
 * Between the check and the group's end T0, or T0 and T1 together, point to the operands. Whatever
 * would need T0 ends the group, as does what writes the registers of the address.
 */
#include "accel/tcg/frontend/x86/translate.h"

#define MOST_MEMBERS 24
#define SPAN 128

/* What the operands of a group have in common. */
struct range {
	int base, index; /* -1 for none */
	uint8_t scale, address_size;
	unsigned segment;
	int64_t low, high;
	bool written;
	unsigned operands;
};

static bool is_stack(const struct insn *in)
{
	return in->row->kind == K_PUSH || in->row->kind == K_POP;
}

static bool in_host_register(int guest)
{
	return guest < 0 || host_reg((unsigned)guest) != HOST_NONE;
}

/*
 * Whether the instruction can be emitted within a group; `stack`: the stack pointer's distance from
 * its value at the group's start, which is not in the register yet.
 */
static bool can_join(const struct insn *in, int64_t stack)
{
	if (in->refused >= 0 || (stack && may_fault_on_host(in)))
		return false;
	switch (in->row->kind) {
	case K_NOP:
		return true;
	case K_LEA:
		if (in->operand_size != in->address_size || in->operand_size < 4 ||
		    !in_host_register(in->reg | (in->rex & INSN_REX_R ? 8 : 0)) ||
		    !in_host_register(in->base) || !in_host_register(in->index))
			return false;
		return !(stack && (in->base == RSP || operand_registers(in) & BIT(RSP)));
	case K_CMPXCHG:
		if (in->opcode == 0xb0 && !in->has_rex && in->reg >= 4)
			return false;
		/* Fall through. */
	case K_T:
	case K_MOVSXD:
	case K_INCDEC:
	case K_BSWAP:
		return !(stack && operand_registers(in) & BIT(RSP));
	case K_PUSH:
		return in->operand_size == 8 && !in->mem &&
		       (OPERAND_KIND(in->row->operand[0]) == OPK_I ||
			OPERAND_KIND(in->row->operand[0]) == OPK_SI || pushed_register(in) != RSP);
	case K_POP:
		return in->operand_size == 8 && !in->mem && pushed_register(in) != RSP;
	default:
		return false;
	}
}

bool can_copy(const struct insn *in)
{
	return can_join(in, 0) && !is_stack(in) && in->row->kind != K_CMPXCHG;
}

int64_t displacement(const struct insn *in, uint64_t next_rip)
{
	return in->disp + (in->rip_relative ? (int64_t)next_rip : 0);
}

/*
 * The operand as part of the range, if it has one; false: it is elsewhere. `stack` is as for
 * can_join.
 */
static bool widen(const struct tr *t, const struct insn *in, uint64_t next_rip, int64_t *stack,
		  struct range *r)
{
	unsigned size = insn_mem_bytes(in), segment = in->segment;
	int base = in->base, index = in->index;
	uint8_t scale = in->scale, address_size = in->address_size;
	int64_t low = displacement(in, next_rip);

	if (is_stack(in)) {
		size = in->operand_size;
		base = RSP;
		index = -1;
		scale = 0;
		address_size = 8;
		segment = SEG_SS;
		low = in->row->kind == K_PUSH ? *stack - (int64_t)size : *stack;
	} else if (!size) {
		return true;
	} else if (base == RSP) {
		low += *stack;
	}
	if (mode_segment(t->mode, segment) != SEGMENT_FLAT || address_size < 4)
		return false;
	if (!r->operands) {
		*r = (struct range) { .base = base,
				      .index = index,
				      .scale = scale,
				      .address_size = address_size,
				      .segment = segment,
				      .low = low,
				      .high = low + size };
	} else if (base != r->base || index != r->index || scale != r->scale ||
		   address_size != r->address_size) {
		return false;
	}
	if (MAX_OF(r->high, low + size) - MIN_OF(r->low, low) > SPAN)
		return false;
	r->low = MIN_OF(r->low, low);
	r->high = MAX_OF(r->high, low + (int64_t)size);
	r->written |= is_stack(in) ? in->row->kind == K_PUSH : insn_mem_written(in);
	r->operands++;
	if (is_stack(in))
		*stack += in->row->kind == K_PUSH ? -(int64_t)size : (int64_t)size;
	return true;
}

/* The end of the group that begins with the current instruction; its operands. */
static unsigned find_end(const struct tr *t, struct range *r)
{
	unsigned end = t->i, i;
	uint64_t rip = t->rip;
	int64_t stack = 0;

	*r = (struct range) { 0 };
	if (!insn_mem_bytes(&t->insn[t->i]) && !is_stack(&t->insn[t->i]))
		return end;
	for (i = t->i; i < t->n && i < t->i + MOST_MEMBERS; i++) {
		const struct insn *in = &t->insn[i];
		struct range wider = *r;
		unsigned key;

		rip += in->len;
		if (!can_join(in, stack) || !widen(t, in, rip, &stack, &wider))
			break;
		if (i == t->i && !wider.operands)
			break;
		if (wider.operands != r->operands)
			end = i + 1;
		*r = wider;
		/* PUSH and POP are reckoned with. */
		key = (r->base >= 0 ? BIT(r->base) : 0) | (r->index >= 0 ? BIT(r->index) : 0);
		if (is_stack(in) ? in->row->kind == K_POP && BIT(pushed_register(in)) & key
				 : written_registers(in) & key)
			break;
	}
	return r->operands < 2 ? t->i : end;
}

/*
 * Whether the group does without T1: plain loads and stores. Then the address stays in two
 * registers, which saves an instruction.
 */
static bool spares_t1(const struct tr *t, unsigned end)
{
	bool flags = false;

	for (unsigned i = t->i; i < end; i++) {
		const struct insn *in = &t->insn[i];
		struct flag_class f = insn_flags(in);
		unsigned registers = operand_registers(in);

		if ((in->row->kind != K_T && !is_stack(in)) || f.use ||
		    (f.def && f.def != FLAGS_ALL) || (flags && may_fault_on_host(in)) ||
		    (insn_mem_read(in) && insn_mem_written(in)))
			return false;
		if (registers & registers_in_memory())
			return false;
		flags |= f.def != 0;
	}
	return true;
}

/* PUSH and POP without their check, and without moving the stack pointer. */
static void stack_op(struct tr *t, const struct insn *in)
{
	unsigned kind = OPERAND_KIND(in->row->operand[0]), guest;

	if (kind == OPK_I || kind == OPK_SI) {
		op_store_imm(t, in, (int)(uint32_t)in->imm);
		return;
	}
	guest = pushed_register(in);
	if (host_reg(guest) != HOST_NONE) {
		if (in->row->kind == K_PUSH)
			e_store(&t->e, 8, checked_memory(t), host_reg(guest));
		else
			e_load(&t->e, 8, host_reg(guest), checked_memory(t));
		return;
	}
	if (in->row->kind == K_PUSH) {
		e_load(&t->e, 8, T1, ENV_GPR(guest));
		e_store(&t->e, 8, checked_memory(t), T1);
	} else {
		e_load(&t->e, 8, T1, checked_memory(t));
		e_store(&t->e, 8, ENV_GPR(guest), T1);
	}
}

static void emit_member(struct tr *t, const struct insn *in, int64_t low, int64_t *stack)
{
	if (is_stack(in)) {
		int64_t at = in->row->kind == K_PUSH ? *stack - 8 : *stack;

		t->offset = (int32_t)(at - low);
		stack_op(t, in);
		*stack += in->row->kind == K_PUSH ? -8 : 8;
		return;
	}
	if (may_fault_on_host(in))
		save_flags(t);
	flags_before(t, in);
	t->offset = (int32_t)(displacement(in, t->next_rip) + (in->base == RSP ? *stack : 0) - low);
	if (in->row->kind == K_LEA)
		effective_address(t, in, host_reg(in->reg | (in->rex & INSN_REX_R ? 8u : 0)), 0);
	else if (in->row->kind != K_NOP)
		template_op(t, in, 0);
	finish_flags(t, in);
}

static unsigned start_group(struct tr *t, unsigned end)
{
	struct group *g = &t->group[t->groups++];

	*g = (struct group) {
		.first = t->i,
		.end = end,
		.rip = t->rip,
		.flags = t->flags,
		.source = t->source,
		.source_insn = t->source_insn,
		.recover = t->recover,
	};
	return end - t->i;
}

unsigned translate_group(struct tr *t)
{
	const struct insn *first = &t->insn[t->i];
	struct range r;
	unsigned end, members;
	int64_t stack = 0;
	struct group *g;
	struct stub *s;

	if (t->mode & (MODE_STEP | MODE_REFERENCE) || t->groups == MOST_GROUPS)
		return 0;
	end = find_end(t, &r);
	if (end == t->i)
		return 0;
	spend_flags(t);
	members = start_group(t, end);
	g = &t->group[t->groups - 1];
	if (is_stack(first))
		stack_address(t, (int32_t)r.low);
	else
		effective_address(t, first, T0, r.low - displacement(first, t->rip + first->len));
	s = new_stub(t, STUB_GROUP);
	s->group = g;
	check_access(t, s, r.written ? STORE_TLB : LOAD_TLB, (unsigned)(r.high - r.low));
	t->joined = !spares_t1(t, end);
	if (t->joined)
		e_lea(&t->e, 8, T0, mem_index(T0, T1, 0, 0));
	t->grouped = true;
	for (unsigned i = g->first; i < end; i++) {
		const struct insn *in = &t->insn[i];

		t->i = i;
		t->next_rip = t->rip + in->len;
		set_place(t, i);
		emit_member(t, in, r.low, &stack);
		t->rip = t->next_rip;
	}
	t->grouped = t->joined = false;
	t->offset = 0;
	if (stack)
		move_stack(t, (int32_t)stack);
	s->after = t->e.at;
	forget_held(t);
	g->flags_after = t->flags;
	return members;
}

void translate_ungrouped(struct tr *t, const struct group *g)
{
	t->rip = g->rip;
	t->flags = g->flags;
	t->source = g->source;
	t->source_insn = g->source_insn;
	t->recover = g->recover;
	for (unsigned i = g->first; i < g->end; i++) {
		const struct insn *in = &t->insn[i];

		t->i = i;
		t->next_rip = t->rip + in->len;
		if (may_fault_on_host(in))
			tcg_cold_add(t->env->cache, t->e.at,
				     new_site(t, SEG_DS, 0, false, false, false));
		translate_one(t, in);
		t->rip = t->next_rip;
	}
	if (t->recover)
		return;
	if (g->flags_after & FLAGS_SAVED)
		save_flags(t);
	if (g->flags_after & FLAGS_HOST)
		need_flags(t);
}
