/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks as a whole: decode up to a branch, a page's end or 64 instructions, then emit one after
 * the other. */
#include "accel/tcg/frontend/x86/translate.h"
#include "accel/tcg/inspect.h"

static ALWAYS_INLINE enum insn_result decode(struct tr *t, struct insn *in, const uint8_t *bytes,
					     size_t n)
{
	enum insn_result r = x86_decode(in, bytes, n, t->code_size);

	/* A processor without TZCNT or LZCNT ignores the F3: the next row is BSF or BSR. */
	if (r == INSN_OK && in->row->flags == FL_ZCNT &&
	    !(t->env->features >> in->row->feature & 1))
		x86_next_row(in);
	if (r == INSN_OK) {
		in->refused = in->info->always ? -1 : (int8_t)refused(t, in);
		t->b->uses_fpu |= in->info->fpu;
	}
	return r;
}

enum insn_result decode_one(struct tr *t, struct insn *in, const uint8_t *bytes, size_t n)
{
	return decode(t, in, bytes, n);
}

/* Decodes the block; the last instruction may be one that does not decode. */
static enum insn_result decode_block(struct tr *t, const uint8_t *bytes, size_t n, unsigned most)
{
	size_t at = 0;
	enum insn_result r = INSN_OK;
	unsigned i, operands = 0, branches = 0;

	for (i = 0; i < most; i++) {
		struct insn *in = &t->insn[i];

		r = decode(t, in, bytes + at, n - at);
		if (r != INSN_OK)
			break;
		at += in->len;
		operands += (in->mem_bytes != 0) | (in->info->join >= JOIN_PUSH);
		branches += in->row->kind == K_JCC;
		if (at >= n || in->info->ends_block || branches == MOST_BRANCHES) {
			i++;
			break;
		}
	}
	t->n = i;
	t->operands = operands;
	return r;
}

/* Where the entry of a dead block jumps: to whoever is at its address now. */
static void emit_head(struct tr *t, uint64_t rip)
{
	struct emit *e = &t->e;

	e_mov_imm(e, T0, rip);
	e_jump_to(e, E_JMP, thunk(t, THUNK_exit_indirect));
	memset(e->at, 0xcc, 16);
	e->at = (uint8_t *)align_up((uintptr_t)e->at, 16);
}

/*
 * An instruction of one byte. The first of a block must be longer: its first two bytes are
 * overwritten when the block dies, and no other vCPU may be between them.
 */
static bool one_byte(uint8_t opcode)
{
	return (opcode >= 0x50 && opcode < 0x60) || (opcode >= 0x90 && opcode < 0xa0) ||
	       (opcode >= 0xf4 && opcode != 0xf6 && opcode != 0xf7 && opcode < 0xfe) ||
	       (opcode >= 0xa4 && opcode < 0xb0 && opcode != 0xa8 && opcode != 0xa9) ||
	       opcode == 0xc3 || opcode == 0xc9 || opcode == 0xcc || opcode == 0xd7;
}

void set_place(struct tr *t, unsigned i)
{
	t->place[i] = (struct insn_place) { .host = (uint16_t)(t->e.at - t->start),
					    .guest = (uint16_t)(t->rip - t->b->rip) };
}

/*
 * A block is done before it could have more code than there is room for: what follows this much is
 * one instruction, or a group of them, and what is out of line.
 */
#define MOST_HOT 8192
#define MOST_COUNTED 24u
static_assert(MOST_HOT + 8192 + MOST_STUBS * 64 < TCG_BLOCK_ROOM, "code of a block");

/* Emits the decoded instructions at `start`; how many. */
static unsigned emit_block(struct tr *t, uint8_t *start, enum insn_result r, bool pad)
{
	struct block *b = t->b;
	unsigned i;

	t->e.at = t->start = start;
	t->stubs = 0;
	t->grouped = t->joined = t->placed = t->looped = false;
	t->offset = 0;
	t->no_room = t->ended = t->recover = false;
	t->flags = FLAGS_SAVED;
	t->source = (struct flag_source) { 0 };
	forget_held(t);
	t->rip = b->rip;
	b->exits = 0;
	b->look_first = b->look_end = 0;
	if (pad) {
		e_byte(&t->e, 0x66);
		e_byte(&t->e, 0x90);
	}
	if (t->mode & MODE_COUNT)
		take_budget(t);
	for (i = 0; i < t->n && !t->ended; i++) {
		const struct insn *in = &t->insn[i];
		unsigned grouped;

		t->i = i;
		t->next_rip = t->rip + in->len;
		set_place(t, i);
		/* STI has been told what follows it. */
		if (t->e.at - start > MOST_HOT && t->insn[i - 1].row->kind != K_IF)
			break;
		grouped = t->neighbours >> i & 1 ? translate_group(t) : 0;
		if (grouped) {
			i += grouped - 1;
			continue;
		}
		t->called = false;
		translate_one(t, in);
		t->rip = t->next_rip;
		if (t->mode & MODE_COUNT && t->called && !t->ended)
			go_on_counted(t);
	}
	if (!t->ended) {
		t->i = i;
		t->next_rip = t->rip;
		set_place(t, i);
		if (i < t->n || r == INSN_OK || r == INSN_NEED_MORE)
			go_to(t, mask_rip(t->code_size, t->rip));
		else
			raise_here(t, r == INSN_UNDEFINED ? 6 : 13);
	}
	return i;
}

enum tcg_translated tcg_translate(struct tcg_env *env, struct block *b, const uint8_t *bytes,
				  size_t before, size_t n, unsigned most)
{
	static _Thread_local struct tr t;
	enum insn_result r;
	uint8_t *head, *start;
	unsigned insns;

	t.env = env;
	t.thunks = tcg_code_thunks(env->cache);
	t.b = b;
	t.mode = b->mode;
	t.code_size = b->mode & MODE_CODE64 ? 8 : b->mode & MODE_CODE32 ? 4 : 2;
	if (b->mode & MODE_COUNT)
		most = MIN_OF(most, MOST_COUNTED); /* it must end where it was decoded to */
	t.bytes = bytes;
	t.before = before;
	t.after = most > 1 ? n : 0;
	r = decode_block(&t, bytes, n, most);
	if (r == INSN_NEED_MORE && !t.n)
		return TRANSLATE_MORE;
	head = tcg_code_room(env->cache);
	t.e.at = head;
	emit_head(&t, b->rip);
	start = t.e.at;
	t.neighbours = 0;
	if (t.operands > 1 && !(t.mode & (MODE_STEP | MODE_REFERENCE | MODE_APART)))
		find_neighbours(&t);
	insns = emit_block(&t, start, r, false);
	if (one_byte(*start))
		insns = emit_block(&t, start, r, true);
	b->bytes = (uint16_t)(t.rip - b->rip);
	b->insns = (uint16_t)insns;
	b->counted = (uint8_t)t.n;
	b->look_end = (int16_t)MAX_OF(b->look_end, (int)b->bytes);
	b->hot_size = (uint32_t)(t.e.at - start);
	emit_stubs(&t);
	b->head = (uint8_t)(start - head);
	b->code = tcg_code_run(env->cache, start);
	b->code_size = (uint32_t)(t.e.at - start);
	assert(t.e.at - head <= TCG_BLOCK_ROOM);
	if (t.no_room)
		return TRANSLATE_FULL;
	tcg_block_places(env->cache, b, t.place, insns + 1);
	if (tcg_inspecting()) {
		tcg_log_block(b, bytes, t.insn, insns);
		tcg_perf_map_add(b);
	}
	return TRANSLATE_OK;
}
