/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/cpu_make.h"

#include "tests/lib/host_cpu.h"
#include "tests/lib/test.h"

struct made_case made;
const uint32_t case_stack_halves[6] = {
	0, 0x10000, 0x2b7c0000, 0x7fff0000, 0x80020000, 0xffff0000
};

/* In cases of neighbours memory operands have this base, one of two, and a small displacement; -1
 * in others. */
static int near_base = -1, near_bases[2] = { -1, -1 };
/* With an index beside it, or without it (then near_base is 0). */
static int near_index = -1;
static unsigned near_scale;
static bool near_absolute;
/* In some cases many instructions name this register, which the translator may hold; 0 in others.
 */
static unsigned favourite;

/* And the displacement behind it. */
static void encode_sib(uint8_t *b)
{
	b[0] = (uint8_t)(near_scale << 6 | (near_index < 0 ? 4 : near_index & 7) << 3 |
			 (near_absolute ? 5 : near_base & 7));
	if (near_absolute)
		store_le(b + 1, SANDBOX - segment_base(SEG_DS) + 8 * test_below(4096), 4);
	else
		b[1] = (uint8_t)(8 * test_below(8));
}

/* An encoding of a row, good or not. */
static unsigned encode(uint8_t *b, const struct insn_row *row)
{
	unsigned n = 0, rex = test_below(3) || code_size() != 8 ? 0 : 0x40 | test_below(16);
	uint8_t modrm = (uint8_t)test_random();
	static const uint8_t pp[] = { [PFX_66] = 1, [PFX_F3] = 2, [PFX_F2] = 3, [PFX_NF] = 0 };
	static const uint8_t legacy[] = {
		[PFX_66] = 0x66, [PFX_F3] = 0xf3, [PFX_F2] = 0xf2, [PFX_NF] = 0
	};

	if (row->mod == MOD_REG || (row->mod == MOD_ANY && test_below(2)))
		modrm |= 0xc0;
	else if (modrm >= 0xc0)
		modrm &= 0xbf;
	if (row->ext)
		modrm = (uint8_t)((modrm & 0xc7) | (row->ext - 1) << 3);
	if (row->rm)
		modrm = (uint8_t)((modrm & 0xf8) | (row->rm - 1));
	if (row->kind == K_GATHER)
		modrm = (uint8_t)((modrm & 0xf8) | 4);
	if (near_base >= 0 && modrm < 0xc0 && row->kind != K_GATHER && !row->rm) {
		bool sib = near_index >= 0 || near_absolute;

		modrm = (uint8_t)((modrm & 0x38) | (near_absolute ? 0 : 0x40) |
				  (sib ? 4 : near_base & 7));
		/* Without REX there are AH to BH. */
		if (code_size() == 8)
			rex = near_base & 8 ? 0x41 | (rex & 0xe) : rex & ~1u;
		if (code_size() == 8 && sib)
			rex = near_index >= 0 && near_index & 8 ? 0x42 | (rex & 0xd) : rex & ~2u;
	}
	if (favourite && code_size() == 8 && !row->ext && !test_below(3)) {
		modrm = (uint8_t)((modrm & ~0x38) | (favourite & 7) << 3);
		rex |= 0x44;
	}
	if (favourite && code_size() == 8 && !row->rm && modrm >= 0xc0 && !test_below(3)) {
		modrm = (uint8_t)((modrm & ~7) | (favourite & 7));
		rex |= 0x41;
	}
	if (row->vex) {
		unsigned w = row->w == W_ANY ? test_below(2) : row->w == W_1,
			 l = row->l == L_ANY ? test_below(2) : row->l == L_1;
		bool vvvv = false;

		for (unsigned i = 0; i < 4; i++)
			vvvv |= OPERAND_KIND(row->operand[i]) == OPK_H ||
				OPERAND_KIND(row->operand[i]) == OPK_B;
		b[n++] = 0xc4;
		/* Elsewhere two bits of it tell VEX from LES and LDS. */
		b[n++] = (uint8_t)((code_size() == 8 ? test_below(8) : 6 + test_below(2)) << 5 |
				   row->map);
		if (near_base >= 0 && code_size() == 8)
			b[n - 1] = (uint8_t)((b[n - 1] & ~0x20) | (near_base & 8 ? 0 : 0x20));
		if (near_index >= 0 && code_size() == 8)
			b[n - 1] = (uint8_t)((b[n - 1] & ~0x40) | (near_index & 8 ? 0 : 0x40));
		b[n++] = (uint8_t)(w << 7 | (vvvv ? test_below(16) : 15) << 3 | l << 2 |
				   pp[row->prefix]);
	} else {
		if (row->attr & A_LOCK && !test_below(4))
			b[n++] = 0xf0;
		if (row->attr & A_REP && test_below(2))
			b[n++] = test_below(2) ? 0xf2 : 0xf3;
		if (legacy[row->prefix])
			b[n++] = legacy[row->prefix];
		else if (row->prefix != PFX_NP && !test_below(5))
			b[n++] = 0x66;
		if (!test_below(16))
			b[n++] = 0x67;
		if (rex)
			b[n++] = (uint8_t)rex;
		if (row->map != MAP_1)
			b[n++] = 0x0f;
		if (row->map >= MAP_0F38)
			b[n++] = row->map == MAP_0F38 ? 0x38 : 0x3a;
	}
	b[n++] = row->opcode;
	b[n++] = modrm;
	for (unsigned i = 0; i < 12; i++)
		b[n++] = test_below(4) ? (uint8_t)test_random() : 0;
	if (near_base >= 0 && (near_index >= 0 || near_absolute))
		encode_sib(b + n - 12);
	else if (near_base >= 0)
		b[n - 12] = (uint8_t)(8 * test_below(8));
	return n;
}

/* What XRSTOR and FXRSTOR find: good images of both formats, and damaged ones. */
#define IMAGES (SANDBOX + 0x8000)
#define IMAGE_COUNT 16
static void make_images(uint8_t *memory)
{
	for (unsigned i = 0; i < IMAGE_COUNT; i++) {
		uint8_t *at = memory + (IMAGES - SANDBOX) + 1024 * i;

		random_fpu(at);
		at[XSTATE_BV] = (uint8_t)test_below(8);
		if (i & 1)
			store_le(at + XSTATE_BV + 8, BIT64(63) | at[XSTATE_BV] | test_below(8), 8);
		if (i % 8 == 6)
			at[XSTATE_BV + 8 + test_below(48)] ^= (uint8_t)(1u << test_below(8));
		if (i % 8 == 5)
			at[XSTATE_BV + 7] = 0x80;
	}
}

/* Memory full of selectors, from which whole far pointers are made too. */
static void make_selectors(uint8_t *memory)
{
	for (unsigned i = 0; i < SELECTORS_SIZE; i += 2)
		store_le(memory + (SELECTORS - SANDBOX) + i, test_below(4) ? random_selector() : 0,
			 2);
}

/* False: it would use one that is not from the list. */
static bool aim_selectors(const struct insn *in, uint8_t *bytes)
{
	unsigned kind = in->row->kind;
	uint64_t wanted = SELECTORS + 16 + 2 * test_below((SELECTORS_SIZE - 64) / 2);

	if (kind == K_POPSEG || kind == K_RETF) {
		made.state.gpr[RSP] = (wanted - segment_base(SEG_SS));
		return true;
	}
	if (kind == K_CALLF || kind == K_JMPF) {
		store_le(bytes + in->len - 2, random_selector(), 2);
		return true;
	}
	if (!in->mem) {
		made.state.gpr[in->rm | (in->rex & INSN_REX_B ? 8 : 0)] =
			random_selector() | test_random() << 16;
		return true;
	}
	if (in->base < 0 || in->index >= 0)
		return false;
	made.state.gpr[in->base] = wanted - segment_base(in->segment) - (uint64_t)in->disp;
	return true;
}

/*
 * Most memory operands should hit something: the base is moved so that they do. Behind the first
 * instruction they are aligned, so that a case gets far.
 */
static void aim(const struct insn *in, bool first)
{
	uint64_t index = 0, wanted = SANDBOX + 64 + (test_random() & (SANDBOX_SIZE - 1));

	if (in->row->attr & A_REP && in->rep)
		made.state.gpr[RCX] = test_below(test_below(4) ? 20 : 200);
	if (in->row->attr & A_REP && test_below(8)) {
		made.state.gpr[RSI] = SANDBOX - segment_base(SEG_DS) + (test_random() & 0xffff);
		made.state.gpr[RDI] = SANDBOX - segment_base(SEG_ES) + (test_random() & 0xffff);
	}
	if (in->row->kind == K_MASKMOV)
		made.state.gpr[RDI] = wanted;
	if (saves_fpu(in->row)) {
		wanted = SANDBOX + 1024 * test_below(SANDBOX_SIZE / 1024) +
			 (test_below(16) ? 0 : test_below(64));
		if (test_below(2))
			wanted = IMAGES + 1024 * test_below(IMAGE_COUNT);
		else if (test_below(16) == 0)
			wanted = SANDBOX + SANDBOX_SIZE - 16 * test_below(64);
	}
	if (in->mem)
		wanted -= segment_base(in->segment);
	if (in->row->kind == K_GATHER) {
		made.state.gpr[in->base < 0 ? 0 : in->base] = wanted - (uint64_t)in->disp;
		return;
	}
	if (!in->mem || in->base < 0 || in->base == in->index || (first && !test_below(12)))
		return;
	if (saves_fpu(in->row))
		;
	else if (!first)
		wanted &= ~UINT64_C(31);
	else if (test_below(4) == 0)
		wanted = (wanted & ~UINT64_C(4095)) - test_below(20); /* around a page's end */
	else if (test_below(3))
		wanted &= ~UINT64_C(31);
	if (in->index >= 0) {
		if (in->index != RSP && !saves_fpu(in->row))
			made.state.gpr[in->index] = test_random() & 0x3ff & (first ? ~0u : ~31u);
		index = made.state.gpr[in->index] << in->scale;
	}
	made.state.gpr[in->base] = wanted - index - (uint64_t)in->disp;
}

static unsigned aimed; /* instructions whose operands are */
static unsigned kept;  /* registers that another state of the case leaves alone */

void list_row(struct row_list *list, const struct insn_row *row)
{
	list->row = g_renew(const struct insn_row *, list->row, list->count + 1);
	list->row[list->count++] = row;
}

const struct insn_row *one_of(const struct row_list *list)
{
	return list->row[test_below(list->count)];
}

static const uint8_t neighbour_kinds[] = { K_PUSH, K_POP, K_JCC, K_INCDEC, K_LEA, K_CMPXCHG };
static struct row_list neighbours[ARRAY_LEN(neighbour_kinds) + 1]; /* the last: simple ones */

/*
 * A row for a case of neighbours: much that moves data, and jumps to what comes next anyway, so
 * that blocks have several ways out.
 */
static const struct insn_row *neighbour(void)
{
	return one_of(&neighbours[test_below(2) ? test_below(ARRAY_LEN(neighbour_kinds))
						: ARRAY_LEN(neighbour_kinds)]);
}

/* The jump leads to the next instruction. */
static bool jump_nowhere(struct insn *in, uint8_t *bytes)
{
	unsigned size =
		in->opcode >= 0x80 && in->row->map == MAP_0F ? MIN_OF(in->operand_size, 4u) : 1;

	if (in->row->kind != K_JCC)
		return false;
	memset(bytes + in->len - size, 0, size);
	return true;
}

static uint64_t linear_operand(const struct insn *in, uint64_t next_rip)
{
	uint64_t at = (uint64_t)in->disp + (in->rip_relative ? next_rip : 0);

	at += in->base >= 0 ? made.state.gpr[in->base] : 0;
	at += in->index >= 0 ? made.state.gpr[in->index] << in->scale : 0;
	return (at & ones(in->address_size)) + segment_base(in->segment);
}

bool restores_host_parts(void)
{
	const struct insn *in = &made.insn[0];
	uint64_t at = linear_operand(in, made.end);

	if (in->row->kind != K_XRSTOR || at - SANDBOX > SANDBOX_SIZE - 576)
		return false;
	at += XSTATE_BV;
	return ((load_le((void *)(uintptr_t)at, 8) | load_le((void *)(uintptr_t)(at + 8), 8)) &
		~(BIT64(63) | 7)) != 0;
}

/*
 * An indirect call whose target lies where it pushes the return address: which it does first is the
 * processor's choice.
 */
static bool calls_what_it_pushes(const struct insn *in, uint64_t next_rip)
{
	uint64_t at = linear_operand(in, next_rip), stack;

	if (in->row->kind != K_CALL_R || !in->mem)
		return false;
	stack = made.state.gpr[RSP];
	if (code_size() != 8)
		stack &= has_big_stack() ? UINT32_MAX : 0xffff;
	stack += segment_base(SEG_SS);
	return at + 8 > stack - 8 && at < stack + 8;
}

/*
 * Loops: a case of neighbours whose instructions are done again and again, while the registers of
 * its operands move and another one counts.
 */
struct loop {
	bool on;
	unsigned pointer[2], counter;
	/* Operands of several registers too, two of which never move. */
	bool indexed;
	unsigned array, fixed;
	uint16_t uses, undefined; /* flags, by any of its instructions */
};

static struct loop choose_loop(void)
{
	static const uint8_t pointers[] = { RSI, RDI, RBP, R8, R13, R10, RBX },
			     counters[] = { RBX, R9, R14 }, arrays[] = { RDX, R12, R11 },
			     indices[] = { RCX, R15 };
	bool wide = code_size() == 8;
	struct loop l = { .on = true };

	for (unsigned i = 0; i < 2; i++)
		l.pointer[i] = pointers[test_below(wide ? ARRAY_LEN(pointers) : 3)];
	l.counter = counters[wide ? 1 + test_below(2) : 0];
	made.state.gpr[l.counter] = 1 + test_below(test_below(3) ? 20 : 400);
	for (unsigned i = 0; i < 2; i++)
		made.state.gpr[l.pointer[i]] =
			SANDBOX - segment_base(SEG_DS) + (test_random() & 0xfff8) + test_below(2);
	l.indexed = test_below(2);
	l.array = arrays[test_below(wide ? 3 : 1)];
	l.fixed = indices[test_below(wide ? 2 : 1)];
	if (l.indexed) {
		made.state.gpr[l.array] = SANDBOX - segment_base(SEG_DS) + (test_random() & 0xfff8);
		made.state.gpr[l.fixed] = 8 * test_below(256);
	}
	return l;
}

static unsigned loop_registers(const struct loop *l)
{
	return BIT(l->pointer[0]) | BIT(l->pointer[1]) | BIT(l->counter) |
	       (l->indexed ? BIT(l->array) | BIT(l->fixed) : 0);
}

/* Chooses the registers of an operand. */
static void choose_operand(const struct loop *l)
{
	near_base = (int)l->pointer[test_below(2)];
	near_index = -1;
	near_absolute = false;
	if (!l->indexed)
		return;
	near_scale = test_below(4);
	switch (test_below(8)) {
	case 0:
		near_base = (int)l->array;
		near_index = (int)l->counter;
		break;
	case 1:
		near_index = (int)l->fixed;
		break;
	case 2:
		near_index = (int)l->counter;
		break;
	case 3:
		near_base = 0;
		near_absolute = true;
		near_index = test_below(2) ? (int)l->counter : -1;
		break;
	default:
		break;
	}
}

/* It leaves the loop's registers alone, and flags that are nobody's choice. */
static bool suits_loop(struct loop *l, const struct insn *in)
{
	unsigned keep = loop_registers(l) | BIT(RSP);
	unsigned kind = in->row->kind, changed = operand_registers(in);
	struct flag_class f = insn_flags(in);

	if (kind == K_T || kind == K_MOVSXD || kind == K_INCDEC || kind == K_LEA)
		changed = written_registers(in);
	else
		changed |= changed >> 4 & 15; /* AH to BH */
	if (changed & keep || branches(in) || reads_selectors(in->row) || saves_fpu(in->row) ||
	    in->row->attr & A_REP || in->row->kind == K_PUSH || in->row->kind == K_POP ||
	    in->row->kind == K_GATHER || in->row->kind == K_MASKMOV || in->row->kind == K_VMASKMOV)
		return false;
	if (((f.use | l->uses) & (f.undef | l->undefined)) != 0)
		return false;
	l->uses |= f.use;
	l->undefined |= f.undef;
	return true;
}

/* An instruction that moves a pointer, by `by` bytes or one; its length. */
static unsigned encode_step(uint8_t *b, unsigned reg, int by)
{
	unsigned n = 0, kind = test_below(4);

	if (code_size() == 8)
		b[n++] = (uint8_t)(0x48 | reg >> 3 | (kind == 2 ? reg >> 3 << 2 : 0));
	b[n++] = kind == 2 ? 0x8d : kind == 3 ? 0xff : 0x83;
	switch (kind) {
	case 2: /* lea reg, [reg + by] */
		b[n++] = (uint8_t)(0x40 | (reg & 7) << 3 | (reg & 7));
		break;
	case 3: /* inc, dec */
		b[n++] = (uint8_t)(0xc0 | (by < 0) << 3 | (reg & 7));
		return n;
	default: /* add, sub */
		b[n++] = (uint8_t)(0xc0 | kind * 5 << 3 | (reg & 7));
	}
	b[n++] = (uint8_t)by;
	return n;
}

/* Counts, and jumps back to `start`; its length. */
static unsigned encode_back(uint8_t *b, const struct loop *l, unsigned at, unsigned start)
{
	unsigned n = 0;
	bool dec = test_below(2);

	if (code_size() == 8)
		b[n++] = (uint8_t)(0x48 | l->counter >> 3);
	b[n++] = dec ? 0xff : 0x83;
	b[n++] = (uint8_t)((dec ? 0xc8 : 0xe8) | (l->counter & 7));
	if (!dec)
		b[n++] = 1;
	b[n++] = 0x0f;
	b[n++] = dec || test_below(2) ? 0x85 : 0x87; /* JNZ, JA */
	store_le(b + n, (uint64_t)start - (at + n + 4), 4);
	return n + 4;
}

/* What is the same in the first state of a case and in others. False: try again. */
static bool finish_state(void)
{
	const struct insn *first = &made.insn[0];

	for (unsigned i = 0; i < GPRS && code_size() != 8; i++)
		made.state.gpr[i] &= UINT32_MAX;
	if (code_size() != 8 && !has_big_stack())
		made.state.gpr[RSP] = (made.state.gpr[RSP] & 0xffff) | made.stack_half;
	made.state.flags = 0x202 | (test_random() & FLAGS_ALL) | (test_below(4) ? 0 : 0x400);
	/* A gather's indices: most of them small. */
	if (first->row->kind == K_GATHER && test_below(8)) {
		unsigned size = first->row->opcode & 1 ? 8 : 4;

		for (unsigned i = 0; i < 32; i += size) {
			uint8_t *lane = made.state.fpu + (i < 16 ? 160 + i : 576 + i - 16);

			store_le(lane + 16 * first->index,
				 test_below(200) - (test_below(3) ? 0 : 100u), size);
		}
	}
	/* Processors do not store, or fault, what an exception that is not masked forbids. Here it
	 * faults. */
	if (made.x87_store)
		made.state.fpu[FCW] |= 0x3f;
	return !(made.branches && calls_what_it_pushes(first, made.end));
}

static unsigned encoded_registers(const struct insn *in)
{
	return BIT(in->reg | (in->rex & INSN_REX_R ? 8u : 0)) |
	       BIT(in->rm | (in->rex & INSN_REX_B ? 8u : 0)) | BIT(in->vvvv & 15);
}

/* Another state for the same code. False: this case has one only. */
bool vary_state(void)
{
	unsigned vectors = 0;

	if (made.reads_ldt)
		return false;
	for (unsigned i = 0; i < GPRS; i++)
		if (!(kept >> i & 1))
			made.state.gpr[i] = random_value();
	for (unsigned i = 0; i < made.insns; i++)
		if (aimed >> i & 1)
			aim(&made.insn[i], i == 0);
	for (unsigned i = 0; i < made.insns; i++)
		if (made.insn[i].row->map != MAP_1)
			vectors |= encoded_registers(&made.insn[i]);
	vary_fpu(made.state.fpu, vectors);
	return finish_state();
}

static unsigned address_registers(const struct insn *in)
{
	unsigned list = in->row->attr & A_REP ? BIT(RSI) | BIT(RDI) | BIT(RCX) : 0;

	if (in->row->kind == K_MASKMOV)
		list |= BIT(RDI);
	if (in->row->kind == K_GATHER)
		return BIT(in->base < 0 ? RAX : (unsigned)in->base);
	if (in->mem && in->base >= 0)
		list |= BIT(in->base);
	if (in->mem && in->index >= 0)
		list |= BIT(in->index);
	return list;
}

static bool stores_x87(const struct insn *in)
{
	return in->row->attr & A_FPU && insn_mem_written(in);
}

/* What judges of the outcome must know of an instruction. */
static void note_properties(const struct insn *in)
{
	/* AMD's calls have pushed when their target turns out to be none. */
	made.partial |= in->row->kind == K_ENTER || (in->row->kind == K_CALL_R && host_is_amd());
	made.partial |= stores_x87(in);
	for (unsigned i = 0; i < 4; i++)
		made.in_parts |= OPERAND_SIZE(in->row->operand[i]) == SZ_t;
	made.x87_store |= stores_x87(in);
	made.reads_code |= in->rip_relative;
	/* Which of several elements or pages is looked at first is the processor's choice. */
	made.has_mask |= in->row->kind == K_MASKMOV || in->row->kind == K_VMASKMOV;
	made.any_address |= saves_fpu(in->row);
	made.has_byte_mask |= in->row->kind == K_MASKMOV;
	made.has_half |= in->row->feature == FEAT_F16C;
	for (unsigned i = 0; i < 4; i++)
		made.has_mmx |= OPERAND_KIND(in->row->operand[i]) == OPK_P ||
				OPERAND_KIND(in->row->operand[i]) == OPK_Q;
	if (in->row->kind == K_GATHER) {
		made.gather_masks |= BIT(in->vvvv & 15);
		made.gather_results |= BIT((in->reg | (in->rex & INSN_REX_R ? 8 : 0)) & 15);
	}
}

/* A state that instructions then move their operands in. */
static void start_case(unsigned at)
{
	made.undefined = made.undefined_once = 0;
	made.gather_masks = made.gather_results = 0;
	made.reads_ldt = made.reads_code = made.partial = made.in_parts = made.any_address = false;
	made.has_mask = made.has_byte_mask = made.has_mmx = made.has_half = made.has_rep = false;
	made.x87_store = made.branches = false;
	made.at = CODE + at;
	made.state.rip = made.at - segment_base(SEG_CS);
	made.insns = aimed = 0;
	kept = BIT(RSP);
	for (unsigned i = 0; i < GPRS; i++)
		made.state.gpr[i] = random_value();
	made.state.gpr[RSP] = SANDBOX - segment_base(SEG_SS) + 8192 +
			      (test_random() & 0x7fff & (test_below(4) ? ~7u : ~0u));
	if (test_below(4) == 0) {
		made.state.gpr[RBP] = made.state.gpr[RSP] + test_below(256);
		kept |= BIT(RBP);
	}
	for (unsigned i = 0; i < 2 && near_bases[i] >= 0; i++) {
		kept |= BIT(near_bases[i]);
		/* The second may be anywhere. */
		if (i && !test_below(8))
			break;
		made.state.gpr[near_bases[i]] =
			SANDBOX - segment_base(SEG_DS) +
			(test_below(4) ? test_random() & 0xfff8
				       : 4096 * (1 + test_below(15)) - test_below(80));
	}
}

static int choose_base(void)
{
	unsigned n = test_below(code_size() == 8 ? 16 : 8);

	return (n & 7) == RSP || code_size() == 2 ? -1 : (int)n;
}

/* A case that is being made, and the instruction that may come next. */
struct draft {
	uint8_t bytes[32];
	struct insn in;
	unsigned n;	    /* the instruction's number */
	unsigned start, at; /* the case's and the instruction's offset in the code */
	unsigned want;	    /* instructions */
	unsigned known;	    /* registers that an instruction before has used */
	bool many;
	bool loads_x87_control; /* which may unmask exceptions */
	bool step;		/* the instruction moves one of the loop's pointers */
	struct loop loop;
};

bool make_loops, make_neighbours;

/* What kind of case it becomes. */
static void begin(struct draft *d)
{
	d->known = BIT(RSP);
	d->want = test_below(3) ? 1 : 1 + test_below(5);
	/* Sometimes the instruction lies across the page's end. */
	if (!test_below(32))
		d->at = 4096 - 1 - test_below(8);
	choose_segments();
	near_bases[0] = near_bases[1] = near_index = -1;
	near_absolute = false;
	if (d->many && !make_loops && !make_neighbours && test_below(8)) {
		d->want = 4 + test_below(9);
	} else if (make_loops || make_neighbours || test_below(3) == 0) {
		near_bases[0] = choose_base();
		near_bases[1] = near_bases[0] < 0 || test_below(3) == 0 ? -1 : choose_base();
		if (near_bases[0] >= 0)
			d->want = 2 + test_below(12);
	}
	near_base = near_bases[0];
	favourite = test_below(3) ? 0 : 8 + test_below(8);
	start_case(d->at);
	if (near_base >= 0 && (make_loops || test_below(4) == 0)) {
		d->loop = choose_loop();
		d->want = 2 + test_below(6);
	}
	d->start = d->at;
}

static void encode_next(struct draft *d, const struct insn_row *row)
{
	const struct loop *l = &d->loop;

	d->step = l->on && d->n && test_below(2);
	if (d->n && near_base >= 0)
		row = neighbour();
	if (near_bases[1] >= 0)
		near_base = near_bases[test_below(3) == 0];
	if (l->on)
		choose_operand(l);
	if (d->step)
		encode_step(d->bytes, l->pointer[test_below(2)], (int)test_below(80) - 16);
	else
		encode(d->bytes, row);
}

/* rdx:rax is the mask of what to save. */
static bool aim_save(struct draft *d)
{
	d->want = d->many ? d->want : 1;
	if (d->in.base < 1 || d->in.base == RDX)
		return false;
	made.state.gpr[RAX] = test_below(4) ? test_below(8) : 7;
	made.state.gpr[RDX] = 0;
	kept |= BIT(RAX) | BIT(RDX);
	return true;
}

/* Whether it can come behind those before. */
static bool can_follow(const struct draft *d)
{
	const struct insn *in = &d->in;

	if (d->many && in->mem && address_registers(in) & (d->known | kept) && near_base < 0 &&
	    test_below(16))
		return false;
	return !reads_selectors(in->row) && !saves_fpu(in->row) &&
	       !(insn_flags(in).use & made.undefined) && !(d->loads_x87_control && stores_x87(in));
}

/* Whether a case can begin with it. */
static bool can_begin(struct draft *d)
{
	if (reads_selectors(d->in.row)) {
		if (!aim_selectors(&d->in, d->bytes))
			return false;
		made.reads_ldt = true;
		d->want = 1; /* what follows may load registers */
	}
	return !saves_fpu(d->in.row) || aim_save(d);
}

/* Whether the instruction fits. Its operands may be aimed then. */
static bool fits(struct draft *d)
{
	struct insn *in = &d->in;

	if (x86_decode(in, d->bytes, 15, code_size()) != INSN_OK || !tested(in))
		return false;
	if (d->loop.on && !d->step && !suits_loop(&d->loop, in))
		return false;
	if (!(d->n ? can_follow(d) : can_begin(d)))
		return false;
	if (near_base >= 0 && jump_nowhere(in, d->bytes))
		return true;
	made.branches = d->n == 0 && branches(in);
	return made.branches || !branches(in);
}

/* What it does to flags. */
static void note_flags(struct draft *d)
{
	struct flag_class f = insn_flags(&d->in);

	/* REP may compare nothing. */
	if (d->in.row->attr & A_REP && d->in.rep) {
		f.def = 0;
		made.has_rep = true;
		/* AMD's may leave the registers' upper halves: nothing may use them. */
		if (host_is_amd() && d->in.address_size == 4 && code_size() == 8)
			d->want = d->n + 1;
	}
	made.undefined = (uint16_t)((made.undefined & ~f.def) | f.undef);
	made.undefined_once |= f.undef;
}

static void append(struct draft *d)
{
	struct insn *in = &d->in;

	note_flags(d);
	note_properties(in);
	d->loads_x87_control |= saves_fpu(in->row) || !strcmp(in->row->name, "fldcw");
	memcpy(made.code + d->at - d->start, d->bytes, in->len);
	made.insn_at[made.insns] = CODE + d->at;
	d->at += in->len;
	if (!made.reads_ldt && (near_base < 0 || in->row->attr & A_REP) &&
	    !(address_registers(in) & (d->known | kept))) {
		aimed |= BIT(made.insns);
		aim(in, made.insns == 0);
	}
	d->known |= address_registers(in) | operand_registers(in);
	made.insn[made.insns++] = *in;
}

static void end(struct draft *d)
{
	const struct loop *l = &d->loop;

	if (l->on) {
		d->at += encode_back(made.code + d->at - d->start, l, d->at, d->start);
		kept |= loop_registers(l);
	}
	made.end = CODE + d->at - segment_base(SEG_CS);
	made.size = d->at - d->start;
	/* HLT, which faults here: hypervisors have a look at each UD2. */
	made.code[made.size] = 0xf4;
}

bool make_case(const struct insn_row *row, const struct insn_row *(*next)(void), bool many)
{
	struct draft d = { .many = many };

	begin(&d);
	for (d.n = 0; d.n < d.want && !made.branches; d.n++, row = next()) {
		encode_next(&d, row);
		if (fits(&d))
			append(&d);
		else if (d.n == 0)
			return false;
	}
	end(&d);
	made.stack_half = case_stack_halves[test_below(ARRAY_LEN(case_stack_halves))];
	random_fpu(made.state.fpu);
	return finish_state();
}

void make_memory(uint8_t *memory)
{
	for (unsigned i = 0; i < SANDBOX_SIZE; i += 8)
		store_le(memory + i, test_below(3) ? test_random() : test_random() & 0xff00ff00ff,
			 8);
	make_images(memory);
	make_selectors(memory);
}

void list_neighbours(void)
{
	for (unsigned i = 0; i < x86_row_count; i++) {
		const struct insn_row *row = &x86_rows[i];

		for (unsigned k = 0; k < ARRAY_LEN(neighbour_kinds); k++)
			if (row->kind == neighbour_kinds[k])
				list_row(&neighbours[k], row);
		if (row->map == MAP_1 && !row->vex && row->kind == K_T && !(row->attr & A_FPU))
			list_row(&neighbours[ARRAY_LEN(neighbour_kinds)], row);
	}
}
