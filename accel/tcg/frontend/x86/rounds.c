/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loops that are one block and whose memory operands each round lie a constant distance from where
 * they lay in the last. What can be checked for many rounds at once is: at the jump back, the pages
 * of all operands are looked up, and so is how many rounds stay on them. So many are done without
 * checks, by a copy of the block that is out of line; then the block itself does one, as any loop
 * does, in which whatever has to happen happens: an access to the next page, an exception, somebody
 * who wants the vCPU, the end of a block that was written over.
 *
 * The copy's operands are [registers + the distance from guest to host]. Nothing in it needs the
 * TLBs, so the registers that hold their addresses hold two of those distances. What the rounds
 * leave alone of an address is added to them before, and what moves is one register then, which the
 * operand names beside them.
 */
#include "accel/tcg/frontend/x86/translate.h"

#define MOST_INSNS 48
#define MOST_STEP 512
#define MOST_WIDTH 256

/* Operands whose addresses are made of the same registers. */
struct stream {
	int base, index; /* -1 for none */
	uint8_t scale;
	bool written;
	bool names_bytes;
	/* Where they are, from the registers as they are when a round begins. */
	int64_t low, high;
	int64_t step; /* from round to round */
	/* The operands name these (-1 for none), if direct beside a TLB's register and no other. */
	bool direct;
	int direct_base, direct_index;
};

struct rounds {
	struct stream stream[TCG_STREAMS];
	unsigned streams;
	int64_t step[GPRS]; /* what a round adds */
	unsigned added;	    /* registers that a round adds to */
	unsigned varying;   /* registers of which that is not known */
};

/* The instruction adds a constant to a register, to all of it. */
static bool adds_constant(const struct tr *t, const struct insn *in, unsigned *reg, int64_t *by)
{
	unsigned op = in->opcode;

	if (in->row->map != MAP_1 || in->vex || in->operand_size != t->code_size)
		return false;
	*by = (int32_t)in->imm;
	if (in->row->kind == K_LEA) {
		*reg = in->reg4;
		*by = in->disp;
		return in->base == (int)*reg && in->index < 0 && in->address_size == t->code_size;
	}
	if (in->row->kind == K_INCDEC && !in->has_modrm) {
		*reg = opcode_reg(in);
		*by = op & 8 ? -1 : 1;
		return true;
	}
	*reg = in->rm4;
	if (in->row->kind == K_INCDEC) {
		*by = in->reg & 1 ? -1 : 1;
		return op == 0xff && !in->mem;
	}
	if (in->row->kind != K_T)
		return false;
	if (op == 0x81 || op == 0x83) {
		if (in->reg == 5)
			*by = -*by;
		return !in->mem && (in->reg == 0 || in->reg == 5);
	}
	*reg = RAX;
	if (op == 0x2d)
		*by = -*by;
	return op == 0x05 || op == 0x2d;
}

/* What the round adds to its registers; false: it has what a copy cannot do. */
static bool look_at_registers(const struct tr *t, unsigned n, struct rounds *r)
{
	for (unsigned i = 0; i < n; i++) {
		const struct insn *in = &t->insn[i];
		unsigned reg;
		int64_t by;

		/* One register that is in memory goes to T1. */
		if (!can_copy(in) || in->lock ||
		    __builtin_popcount(operand_registers(in) & registers_in_memory()) > 1)
			return false;
		if (!adds_constant(t, in, &reg, &by))
			r->varying |= written_registers(in);
		else if (by < -MOST_STEP || by > MOST_STEP)
			r->varying |= BIT(reg);
		else {
			r->step[reg] += by;
			r->added |= BIT(reg);
		}
	}
	return true;
}

static int64_t times(const int64_t *by, int base, int index, unsigned scale)
{
	return (base < 0 ? 0 : by[base]) + (index < 0 ? 0 : by[index] << scale);
}

/* It may name AH to BH, which take the place of AL to BL meanwhile: no register of its
 * operand may be there. */
static bool names_bytes(const struct insn *in)
{
	for (unsigned i = 0; i < 4; i++)
		if (insn_size(in, OPERAND_SIZE(in->row->operand[i])) == 1)
			return !in->has_rex;
	return false;
}

/* Puts the operand, `so_far` after the round's begin, into its stream. */
static bool add_operand(const struct tr *t, const struct insn *in, uint64_t next_rip,
			const int64_t *so_far, struct rounds *r)
{
	int64_t low = displacement(in, next_rip) + times(so_far, in->base, in->index, in->scale),
		high = low + insn_mem_bytes(in);
	struct stream *s;

	if (mode_segment(t->mode, in->segment) != SEGMENT_FLAT || in->address_size != t->code_size)
		return false;
	if ((in->base >= 0 && r->varying & BIT(in->base)) ||
	    (in->index >= 0 && r->varying & BIT(in->index)))
		return false;
	/* Displacements. */
	if ((in->base >= 0 || in->index >= 0) && (low != (int32_t)low || high != (int32_t)high))
		return false;
	for (s = r->stream; s < r->stream + r->streams; s++)
		if (s->base == in->base && s->index == in->index && s->scale == in->scale &&
		    MAX_OF(s->high, high) - MIN_OF(s->low, low) <= MOST_WIDTH)
			break;
	if (s == r->stream + r->streams) {
		if (r->streams == TCG_STREAMS)
			return false;
		r->streams++;
		*s = (struct stream) { .base = in->base,
				       .index = in->index,
				       .scale = in->scale,
				       .low = low,
				       .high = high,
				       .step = times(r->step, in->base, in->index, in->scale) };
	}
	s->low = MIN_OF(s->low, low);
	s->high = MAX_OF(s->high, high);
	s->written |= insn_mem_written(in);
	s->names_bytes |= names_bytes(in);
	return s->step >= -MOST_STEP && s->step <= MOST_STEP;
}

static bool can_name(const struct stream *s, int reg)
{
	return host_reg((unsigned)reg) != HOST_NONE && (reg > RBX || !s->names_bytes);
}

/* There are two registers of TLBs; and offsets of 32 bits wrap. */
static void make_direct(const struct tr *t, const struct rounds *r, struct stream *s)
{
	bool base_moves = s->base >= 0 && r->added & BIT(s->base);
	bool index_moves = s->index >= 0 && r->added & BIT(s->index);

	s->direct_base = base_moves || s->index < 0 ? s->base : -1;
	s->direct_index = base_moves && !index_moves ? -1 : s->index;
	s->direct = s - r->stream < 2 && t->code_size == 8 &&
		    (s->direct_base < 0 || s->direct_index < 0) &&
		    (s->direct_base < 0 || can_name(s, s->direct_base)) &&
		    (s->direct_index < 0 || can_name(s, s->direct_index));
	if (!s->direct) {
		s->direct_base = s->base;
		s->direct_index = s->index;
	}
}

/* The block's first n instructions as a round; false: they are no such loop. */
static bool find_streams(const struct tr *t, unsigned n, struct rounds *r)
{
	int64_t so_far[GPRS] = { 0 };
	uint64_t rip = t->b->rip;
	bool moves = false;

	r->streams = r->added = r->varying = 0;
	for (unsigned i = 0; i < GPRS; i++)
		r->step[i] = 0;
	if (n > MOST_INSNS || !look_at_registers(t, n, r))
		return false;
	for (unsigned i = 0; i < n; i++) {
		const struct insn *in = &t->insn[i];
		unsigned reg;
		int64_t by;

		rip += in->len;
		if (insn_mem_bytes(in) && !add_operand(t, in, rip, so_far, r))
			return false;
		if (adds_constant(t, in, &reg, &by))
			so_far[reg] += by;
	}
	for (unsigned i = 0; i < r->streams; i++) {
		moves |= r->stream[i].step != 0;
		make_direct(t, r, &r->stream[i]);
	}
	return moves;
}

bool translate_rounds(struct tr *t, unsigned cc, bool in_memory)
{
	struct rounds r;
	struct stub *s;

	if (t->looped || t->code_size == 2 || t->mode & MODE_COUNT || !find_streams(t, t->i, &r))
		return false;
	t->looped = true;
	s = new_stub(t, STUB_ROUNDS);
	s->described = !in_memory && recoverable_at(t, t->b->rip);
	if (s->described)
		describe_flags(t);
	else
		save_flags(t);
	s->done = (uint8_t)t->i;
	s->cc = (uint8_t)cc;
	s->jumps[0] = e_jump(&t->e, (int)cc);
	s->after = t->e.at;
	return true;
}

/* T0, where the first round's operands are on their page, becomes the number of rounds that stay.
 */
static void count_rounds(struct emit *e, const struct stream *s)
{
	struct host_op neg = host_op(0xf7, 4);
	unsigned shift = 0;

	while ((int64_t)1 << shift < (s->step < 0 ? -s->step : s->step))
		shift++;
	if (s->step > 0) {
		e_op_reg(e, &neg, 3, T0);
		e_alu_imm(e, 0, 4, T0, 4096 - (int32_t)(s->high - s->low) + (1 << shift));
	} else {
		e_alu_imm(e, 0, 4, T0, 1 << shift);
	}
	e_shift(e, 5, 4, T0, shift);
}

static struct host_mem distance(unsigned stream)
{
	return mem_gs(offsetof(struct tcg_env, rounds.distance) + 8 * stream);
}

/* T0 = where the first operand is, of these registers only. */
static void stream_address(struct tr *t, const struct stream *s, int base, int index)
{
	struct insn in = { .base = (int8_t)base,
			   .index = (int8_t)index,
			   .scale = s->scale,
			   .address_size = (uint8_t)t->code_size,
			   .disp = s->low };

	effective_address(t, &in, T0, 0);
}

/* A register of a stream that moves. */
static unsigned moving_register(const struct rounds *r)
{
	const struct stream *s = r->stream;

	while (!s->step)
		s++;
	return (unsigned)(s->base >= 0 && r->step[s->base] ? s->base : s->index);
}

/* No operand needs it: it holds what the moving register is at the end. */
static bool t0_is_free(const struct rounds *r)
{
	for (unsigned i = 0; i < r->streams; i++)
		if (!r->stream[i].direct)
			return false;
	return host_reg(moving_register(r)) != HOST_NONE;
}

/*
 * Looks all pages up. The rounds end when a register that moves is what it will be then: nothing is
 * counted, so rounds do not wait for each other.
 */
static void enter(struct tr *t, const struct rounds *r, unsigned moving, uint8_t **fail)
{
	struct emit *e = &t->e;
	struct host_op imul = host_op(0x69, 8), sub = host_op(0x29, 8);
	bool first = true;

	for (unsigned i = 0; i < r->streams; i++) {
		const struct stream *s = &r->stream[i];
		struct stub check = { 0 };
		uint8_t *over = NULL;

		stream_address(t, s, s->base, s->index);
		check_access(t, &check, s->written ? STORE_TLB : LOAD_TLB,
			     (unsigned)(s->high - s->low));
		fail[i] = check.jumps[0];
		e_lea(e, 8, T1, mem_index(T0, T1, 0, 0));
		e_store(e, 8, distance(i), T1);
		if (s->step) {
			count_rounds(e, s);
			if (!first) {
				e_alu_load(e, 7, 4, T0, ENV(rounds.left));
				over = e_short_jump(e, 3); /* not below */
			}
			e_store(e, 4, ENV(rounds.left), T0);
			if (over)
				e_here_short(e, over);
			first = false;
		}
		if (!s->direct || s->direct_base >= 0 || s->direct_index >= 0) {
			stream_address(t, s, s->direct_base, s->direct_index);
			e_op_mem(e, &sub, T0, distance(i));
		}
	}
	e_load(e, 4, T0, ENV(rounds.left));
	e_op_reg(e, &imul, T0, T0);
	e_le(e, (uint64_t)r->step[moving], 4);
	get_reg(t, T1, moving);
	e_lea(e, 8, T0, mem_index(T0, T1, 0, 0));
	if (!t0_is_free(r))
		e_store(e, 8, ENV(rounds.end), T0);
	e_load(e, 8, LOAD_TLB, distance(0));
	if (r->streams > 1)
		e_load(e, 8, STORE_TLB, distance(1));
}

static void restore_tlbs(struct tr *t)
{
	e_load(&t->e, 8, LOAD_TLB, ENV(load_base));
	e_load(&t->e, 8, STORE_TLB, ENV(store_base));
}

/* What T0 holds in the copy: the registers of this address, and its displacement. */
struct held {
	int base, index;
	uint8_t scale;
	int64_t disp;
	bool valid;
};

static const struct stream *stream_of(const struct insn *in, int64_t at, const struct rounds *r)
{
	const struct stream *s = r->stream;

	while (s->base != in->base || s->index != in->index || s->scale != in->scale ||
	       at < s->low || at + (int64_t)insn_mem_bytes(in) > s->high)
		s++;
	return s;
}

/* The instruction's operand, `at` from its registers as the round began; the flags stay. */
static void place_operand(struct tr *t, const struct insn *in, int64_t at, const struct rounds *r,
			  struct held *h)
{
	struct emit *e = &t->e;
	const struct stream *s = stream_of(in, at, r);
	unsigned n = (unsigned)(s - r->stream);
	int reg = n ? STORE_TLB : LOAD_TLB;
	int64_t disp = 0;

	if (s->direct) {
		if (s->direct_base >= 0)
			t->operand = mem_index(host_reg((unsigned)s->direct_base), reg, 0,
					       (int32_t)in->disp);
		else if (s->direct_index >= 0)
			t->operand = mem_index(reg, host_reg((unsigned)s->direct_index), s->scale,
					       (int32_t)in->disp);
		else
			t->operand = mem_at(reg, (int32_t)(at - s->low));
		return;
	}
	if (h->valid && h->base == in->base && h->index == in->index && h->scale == in->scale &&
	    in->disp - h->disp == (int32_t)(in->disp - h->disp)) {
		disp = in->disp - h->disp;
	} else {
		effective_address(t, in, T0, 0);
		*h = (struct held) { in->base, in->index, in->scale, in->disp, !in->rip_relative };
	}
	if (n > 1) {
		/* T1 may be wanted for a register. */
		e_load(e, 8, T1, distance(n));
		e_lea(e, 8, T0, mem_index(T0, T1, 0, (int32_t)disp));
		h->valid = false;
		t->operand = mem_at(T0, 0);
		return;
	}
	t->operand = mem_index(T0, reg, 0, (int32_t)disp);
}

static void copy_one(struct tr *t, const struct insn *in, const int64_t *so_far,
		     const struct rounds *r, struct held *h)
{
	if (may_fault_on_host(in)) {
		save_flags(t);
		tcg_cold_add(t->env->cache, t->e.at, new_site(t, SEG_DS, 0, false, false, false));
	}
	flags_before(t, in);
	if (in->row->kind == K_LEA) {
		effective_address(t, in, host_reg(in->reg4), 0);
	} else if (in->row->kind != K_NOP) {
		t->placed = insn_mem_bytes(in) != 0;
		if (t->placed)
			place_operand(t, in,
				      displacement(in, t->next_rip) +
					      times(so_far, in->base, in->index, in->scale),
				      r, h);
		t->grouped = true; /* T0 stays */
		template_op(t, in, 0);
		t->grouped = t->placed = false;
	}
	finish_flags(t, in);
	if (h->valid && ((h->base >= 0 && written_registers(in) & BIT(h->base)) ||
			 (h->index >= 0 && written_registers(in) & BIT(h->index))))
		h->valid = false;
}

void emit_rounds(struct tr *t, const struct stub *s)
{
	struct emit *e = &t->e;
	int64_t so_far[GPRS] = { 0 };
	struct held held = { .valid = false };
	uint8_t *fail[TCG_STREAMS], *head, *done;
	struct host_op cmp = host_op(0x39, t->code_size);
	struct rounds r;
	unsigned moving;

	if (!find_streams(t, s->done, &r))
		abort(); /* it was found before */
	tcg_count(t->env->cache, TCG_COUNT_ROUNDS, 1);
	moving = moving_register(&r);
	enter(t, &r, moving, fail);
	e_align_line(e);
	head = e->at;
	if (t0_is_free(&r)) {
		e_op_reg(e, &cmp, T0, host_reg(moving));
	} else if (host_reg(moving) != HOST_NONE) {
		e_alu_load(e, 7, t->code_size, host_reg(moving), ENV(rounds.end));
	} else {
		get_reg(t, T0, moving);
		e_alu_load(e, 7, t->code_size, T0, ENV(rounds.end));
	}
	done = e_jump(e, 4);
	forget_held(t);
	t->flags = FLAGS_SAVED;
	t->recover = t->cc_written = false;
	t->source = (struct flag_source) { 0 };
	t->rip = t->b->rip;
	for (t->i = 0; t->i < s->done; t->i++) {
		const struct insn *in = &t->insn[t->i];
		unsigned reg;
		int64_t by;

		t->next_rip = t->rip + in->len;
		copy_one(t, in, so_far, &r, &held);
		if (adds_constant(t, in, &reg, &by))
			so_far[reg] += by;
		t->rip = t->next_rip;
	}
	need_flags(t);
	if (!s->described)
		save_flags(t);
	else if (t->cc_written)
		describe_flags(t);
	e_jump_to(e, (int)s->cc, head);
	restore_tlbs(t);
	e_jump_to(e, E_JMP, s->after);
	e_here(e, done);
	restore_tlbs(t);
	for (unsigned i = 0; i < r.streams; i++)
		e_here(e, fail[i]);
	jump_to_block(t, t->b->rip);
}
