/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups: instructions whose memory operands lie a known distance apart (a structure's members,
 * registers pushed or popped) share one check of the whole range. Others may come between them,
 * with ranges of their own. Where a check fails, because the range crosses a page's end or the page
 * is not in the TLB, control goes to another block, made then, which begins with the instruction
 * and has a check for each operand (MODE_APART); so exceptions come where they belong, and no
 * address that was checked is used after C has run.
 *
 * T0, or T0 and T1 together, point to the operands of the range that was used last; env->kept to
 * those of ranges that come again after another. Whatever would need T0 ends the group; what writes
 * the registers of a range's address ends the range.
 */
#include "accel/tcg/frontend/x86/translate.h"

#define MOST_MEMBERS 24
#define SPAN 128

/* Operands that have one check: what they have in common. */
struct range {
	uint32_t key;
	uint32_t registers; /* of the address */
	int64_t low, high;
	bool written;
	bool closed; /* one of its registers is written */
	bool kept;   /* its address is in env->kept */
	unsigned operands, first, last;
};

/* What is found out about a group before it is emitted. */
struct plan {
	struct range range[TCG_KEPT];
	unsigned ranges, end;
	int8_t of[MOST_MEMBERS]; /* the range of each instruction, from the group's first; -1: none
				  */
};

static bool is_stack(const struct insn *in)
{
	return in->info->join >= JOIN_PUSH;
}

/* What a PUSH or POP that can join adds to the stack pointer. */
static int stack_step(const struct insn *in)
{
	return in->info->join == JOIN_PUSH ? -8 : 8;
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
	/* Most are. */
	if (in->info->join == JOIN_TEMPLATE)
		return !(stack && operand_registers(in) & BIT(RSP));
	switch (in->info->join) {
	case JOIN_NOP:
		return true;
	case JOIN_LEA:
		if (in->operand_size != in->address_size || in->operand_size < 4 ||
		    !in_host_register(in->reg4) || !in_host_register(in->base) ||
		    !in_host_register(in->index))
			return false;
		return !(stack && (in->base == RSP || operand_registers(in) & BIT(RSP)));
	case JOIN_CMPXCHG:
		if (in->opcode == 0xb0 && !in->has_rex && in->reg >= 4)
			return false;
		return !(stack && operand_registers(in) & BIT(RSP));
	case JOIN_PUSH:
		return in->operand_size == 8 && !in->mem &&
		       (OPERAND_KIND(in->row->operand[0]) == OPK_I ||
			OPERAND_KIND(in->row->operand[0]) == OPK_SI || pushed_register(in) != RSP);
	case JOIN_POP:
		return in->operand_size == 8 && !in->mem && pushed_register(in) != RSP;
	default:
		return false;
	}
}

bool can_copy(const struct insn *in)
{
	return can_join(in, 0) && !is_stack(in) && in->info->join != JOIN_CMPXCHG;
}

int64_t displacement(const struct insn *in, uint64_t next_rip)
{
	return in->disp + (in->rip_relative ? (int64_t)next_rip : 0);
}

/* Where an instruction's operand is. */
struct operand {
	uint32_t key; /* equal where only the displacements differ */
	uint32_t registers;
	unsigned segment, size;
	int64_t low;
	bool written;
};

static uint32_t key_of(int base, int index, unsigned scale, unsigned address_size)
{
	return (uint8_t)base | (uint32_t)(uint8_t)index << 8 | scale << 16 | address_size << 24;
}

static struct operand operand_of(const struct insn *in, uint64_t next_rip, int64_t stack)
{
	if (is_stack(in))
		return (struct operand) {
			.key = key_of(RSP, -1, 0, 8),
			.registers = BIT(RSP),
			.segment = SEG_SS,
			.size = 8,
			.low = in->info->join == JOIN_PUSH ? stack - 8 : stack,
			.written = in->info->join == JOIN_PUSH,
		};
	return (struct operand) {
		.key = key_of(in->base, in->index, in->scale, in->address_size),
		.registers =
			(in->base >= 0 ? BIT(in->base) : 0) | (in->index >= 0 ? BIT(in->index) : 0),
		.segment = in->segment,
		.size = insn_mem_bytes(in),
		.low = displacement(in, next_rip) + (in->base == RSP ? stack : 0),
		.written = insn_mem_written(in),
	};
}

/* Its registers; PUSH and POP move the stack pointer, but that is reckoned with. */
static uint32_t written_by(const struct insn *in)
{
	if (!is_stack(in))
		return written_registers(in);
	return in->info->join == JOIN_POP ? BIT(pushed_register(in)) : 0;
}

/*
 * Which operands are followed by another in their range, as far as that can be told from the
 * instructions between them.
 */
void find_neighbours(struct tr *t)
{
	struct {
		struct operand operand;
		unsigned insn;
	} open[TCG_KEPT];
	unsigned opened = 0, n;
	uint64_t rip = t->b->rip;
	int64_t stack = 0;
	uint32_t written = 0; /* since the last operand */
	bool apart = false;

	for (unsigned i = 0; i < t->n; i++) {
		const struct insn *in = &t->insn[i];
		unsigned join = in->info->join;
		struct operand o;
		bool joins;

		rip += in->len;
		apart |= (join == JOIN_NOT) | (in->refused >= 0);
		if (join == JOIN_LEA)
			apart |= !can_join(in, 0);
		if (!in->mem_bytes && !is_stack(in)) {
			written |= in->written;
			continue;
		}
		joins = can_join(in, 0);
		if (apart || !joins) {
			opened = 0;
			stack = 0;
			apart = false;
			if (!joins)
				continue;
		}
		for (n = 0; n < opened;)
			if (open[n].operand.registers & written)
				open[n] = open[--opened];
			else
				n++;
		o = operand_of(in, rip, stack);
		n = 0;
		while (n < opened &&
		       (open[n].operand.key != o.key || o.low - open[n].operand.low > SPAN ||
			open[n].operand.low - o.low > SPAN))
			n++;
		if (n < opened)
			t->neighbours |= (uint64_t)1 << open[n].insn;
		else if (opened < TCG_KEPT)
			opened++;
		else
			n = i % TCG_KEPT;
		open[n].operand = o;
		open[n].insn = i;
		if (is_stack(in))
			stack += stack_step(in);
		written = written_by(in);
	}
}

static bool widen(struct range *r, const struct operand *o)
{
	int64_t high = o->low + (int64_t)o->size;

	if (r->closed || o->key != r->key || MAX_OF(r->high, high) - MIN_OF(r->low, o->low) > SPAN)
		return false;
	r->low = MIN_OF(r->low, o->low);
	r->high = MAX_OF(r->high, high);
	r->written |= o->written;
	return true;
}

/* The range of an operand, perhaps a new one; -1: there is no room. */
static int find_range(struct plan *p, const struct operand *o, unsigned member)
{
	unsigned n = 0;

	while (n < p->ranges && !widen(&p->range[n], o))
		n++;
	if (n == TCG_KEPT)
		return -1;
	if (n == p->ranges)
		p->range[p->ranges++] = (struct range) { .key = o->key,
							 .registers = o->registers,
							 .low = o->low,
							 .high = o->low + o->size,
							 .written = o->written,
							 .first = member };
	p->range[n].operands++;
	p->range[n].last = member;
	return (int)n;
}

/*
 * The group that begins with the current instruction: up to the last operand in the first one's
 * range, and in the ranges that begin before that. False: it would be alone.
 */
static bool make_plan(const struct tr *t, struct plan *p)
{
	uint64_t rip = t->rip;
	int64_t stack = 0;
	bool more = true;

	p->ranges = 0;
	for (unsigned n = 0; more && n < MOST_MEMBERS && t->i + n < t->n; n++) {
		const struct insn *in = &t->insn[t->i + n];
		struct operand o;
		uint32_t written;

		rip += in->len;
		if (!can_join(in, stack))
			break;
		p->of[n] = -1;
		if (is_stack(in) || insn_mem_bytes(in)) {
			o = operand_of(in, rip, stack);
			if (mode_segment(t->mode, o.segment) != SEGMENT_FLAT ||
			    in->address_size < 4)
				break;
			p->of[n] = (int8_t)find_range(p, &o, n);
			if (p->of[n] < 0)
				break;
			if (is_stack(in))
				stack += stack_step(in);
		}
		written = written_by(in);
		more = false;
		for (unsigned i = 0; i < p->ranges; i++) {
			struct range *r = &p->range[i];

			r->closed |= (r->registers & written) != 0;
			more |= !r->closed && t->neighbours >> (t->i + r->last) & 1;
		}
	}
	if (!p->ranges || p->range[0].operands < 2)
		return false;
	p->end = p->range[0].last + 1;
	for (unsigned i = 1; i < p->ranges && p->range[i].first < p->end; i++)
		p->end = MAX_OF(p->end, p->range[i].last + 1);
	return true;
}

/* Which addresses are wanted again after another's check. */
static void keep_addresses(struct plan *p)
{
	int at = 0;

	for (unsigned n = 0; n < p->end; n++) {
		int of = p->of[n];

		if (of < 0)
			continue;
		p->range[of].kept |= of != at && p->range[of].first != n;
		at = of;
	}
}

/*
 * Whether the group does without T1: plain loads and stores. Then the address stays in two
 * registers, which saves an instruction.
 */
static bool spares_t1(const struct tr *t, const struct plan *p)
{
	bool flags = false;

	for (unsigned i = 0; i < p->end; i++) {
		const struct insn *in = &t->insn[t->i + i];
		struct flag_class f = insn_flags(in);
		unsigned registers = operand_registers(in);

		if (p->of[i] > 0)
			return false;
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
		if (in->info->join == JOIN_PUSH)
			e_store(&t->e, 8, checked_memory(t), host_reg(guest));
		else
			e_load(&t->e, 8, host_reg(guest), checked_memory(t));
		return;
	}
	if (in->info->join == JOIN_PUSH) {
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
		int64_t at = in->info->join == JOIN_PUSH ? *stack - 8 : *stack;

		t->offset = (int32_t)(at - low);
		stack_op(t, in);
		*stack += stack_step(in);
		return;
	}
	if (may_fault_on_host(in))
		save_flags(t);
	flags_before(t, in);
	t->offset = (int32_t)(displacement(in, t->next_rip) + (in->base == RSP ? *stack : 0) - low);
	if (in->row->kind == K_LEA)
		effective_address(t, in, host_reg(in->reg4), 0);
	else if (in->row->kind != K_NOP)
		template_op(t, in, 0);
	finish_flags(t, in);
}

/* The check of the range that begins with the current instruction. */
static void check_range(struct tr *t, const struct range *r, int64_t stack)
{
	const struct insn *in = &t->insn[t->i];
	struct stub *s = new_stub(t, STUB_APART);

	s->rip = t->rip;
	s->done = (uint8_t)t->i;
	s->source = t->recover ? t->source : (struct flag_source) { 0 };
	s->moved = (int32_t)stack;
	if (is_stack(in))
		stack_address(t, (int32_t)r->low);
	else
		effective_address(t, in, T0, r->low - displacement(in, t->next_rip));
	check_access(t, s, r->written ? STORE_TLB : LOAD_TLB, (unsigned)(r->high - r->low));
}

void leave_group(struct tr *t, struct stub *s)
{
	if (s->moved)
		move_stack(t, s->moved);
	if (s->source.kind) {
		t->source = s->source;
		describe_flags(t);
	}
	give_back(t, s->done);
	exit_block(t, s->rip, E_JMP, true);
}

/* The only operand of its range. */
static void emit_single(struct tr *t, const struct insn *in)
{
	struct flag_class f = insn_flags(in);

	t->grouped = t->joined = false;
	t->offset = 0;
	template_op(t, in, f.use || (f.def && f.def != FLAGS_ALL));
	finish_flags(t, in);
	t->grouped = t->joined = true;
}

static struct host_mem kept(unsigned range)
{
	return mem_gs(offsetof(struct tcg_env, kept) + 8 * range);
}

/* T0 = where the instruction's range begins. True: all is done. */
static bool reach_range(struct tr *t, const struct plan *p, unsigned member, int *at, int64_t stack)
{
	int of = p->of[member];
	const struct range *r = &p->range[of < 0 ? 0 : of];
	const struct insn *in = &t->insn[t->i];

	if (of < 0 || (of == *at && r->first != member))
		return false;
	*at = of;
	if (r->first != member) {
		e_load(&t->e, 8, T0, kept((unsigned)of));
		return false;
	}
	if (member)
		spend_flags(t);
	check_range(t, r, stack);
	if (r->operands == 1 && !is_stack(in)) {
		if (may_fault_on_host(in))
			save_flags(t);
		emit_single(t, in);
		return true;
	}
	if (t->joined)
		e_lea(&t->e, 8, T0, mem_index(T0, T1, 0, 0));
	if (r->kept)
		e_store(&t->e, 8, kept((unsigned)of), T0);
	return false;
}

unsigned translate_group(struct tr *t)
{
	unsigned first = t->i;
	int64_t stack = 0;
	struct plan p;
	int at = -1;

	if (!make_plan(t, &p))
		return 0;
	keep_addresses(&p);
	spend_flags(t);
	t->joined = !spares_t1(t, &p);
	t->grouped = true;
	for (unsigned n = 0; n < p.end; n++) {
		const struct insn *in = &t->insn[first + n];

		t->i = first + n;
		t->next_rip = t->rip + in->len;
		set_place(t, t->i);
		if (!reach_range(t, &p, n, &at, stack))
			emit_member(t, in, p.of[n] < 0 ? 0 : p.range[p.of[n]].low, &stack);
		t->rip = t->next_rip;
	}
	t->grouped = t->joined = false;
	t->offset = 0;
	if (stack)
		move_stack(t, (int32_t)stack);
	forget_held(t);
	return p.end;
}
