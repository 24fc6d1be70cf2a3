/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Emits one instruction.
 *
 * Flags. Between two instructions the guest's arithmetic flags are in the host's register, in
 * env->cc, or in both (t->flags). What destroys the host's saves them first; blocks begin and end
 * with them in env->cc. Because every access that may fault destroys them, env->cc is right
 * whenever an exception is raised.
 *
 * Flags that nobody will read unless there is an exception are not saved but described: within a
 * block by the sites of its accesses, at its exits by what env->cc holds.
 */
#include "accel/tcg/frontend/x86/translate.h"

static void emit_save(struct emit *e)
{
	e_mov(e, 8, T1, HOST_RAX);
	e_byte(e, 0x9f); /* lahf */
	e_byte(e, 0x0f); /* seto al */
	e_byte(e, 0x90);
	e_byte(e, 0xc0);
	e_store(e, 2, ENV(cc), HOST_RAX);
	e_mov(e, 8, HOST_RAX, T1);
}

void save_flags(struct tr *t)
{
	if (t->flags & FLAGS_SAVED)
		return;
	emit_save(&t->e);
	t->flags = FLAGS_BOTH;
}

void restore_flags(struct emit *e)
{
	e_mov(e, 8, T1, HOST_RAX);
	e_load(e, 2, HOST_RAX, ENV(cc)); /* as wide as it was stored */
	e_byte(e, 0x04); /* add al, 0x7f: O from bit 0 */
	e_byte(e, 0x7f);
	e_byte(e, 0x9e); /* sahf */
	e_mov(e, 8, HOST_RAX, T1);
}

void need_flags(struct tr *t)
{
	if (!(t->flags & FLAGS_HOST))
		restore_flags(&t->e);
	t->flags |= FLAGS_HOST;
}

static unsigned modrm_rm(const struct insn *in)
{
	return in->rm | (in->rex & INSN_REX_B ? 8u : 0);
}

static unsigned modrm_reg(const struct insn *in)
{
	return in->reg | (in->rex & INSN_REX_R ? 8u : 0);
}

static unsigned opcode_reg(const struct insn *in)
{
	return (in->opcode & 7) | (in->rex & INSN_REX_B ? 8u : 0);
}

/* The exception that using the instruction in this mode is, or -1. */
int refused(const struct tr *t, const struct insn *in)
{
	const struct insn_row *row = in->row;
	bool mmx, simd;

	if (row->attr & A_PM && !(t->mode & MODE_PROTECTED))
		return 6;
	if (!(t->env->features >> row->feature & 1))
		return 6;
	if (row->attr & A_L1_AVX2 && in->l && !(t->env->features >> FEAT_AVX2 & 1))
		return 6;
	if (row->attr & A_CPL0 && t->mode & (MODE_CPL3 | MODE_V86))
		return 13;
	if (row->attr & A_FPU)
		return t->mode & (MODE_TS | MODE_EM) ? 7 : -1;
	mmx = x86_row_registers(row) & ROW_MMX;
	simd = x86_row_registers(row) & ROW_SIMD;
	if (in->vex) {
		if (!(t->mode & MODE_PROTECTED))
			return 6;
		if (simd && t->mode & MODE_NO_AVX)
			return 6;
		return simd && t->mode & MODE_TS ? 7 : -1;
	}
	if (simd && t->mode & (MODE_NO_SSE | MODE_EM))
		return 6;
	if (mmx && t->mode & MODE_EM)
		return 6;
	return (simd || mmx) && t->mode & MODE_TS ? 7 : -1;
}

/* The operation as a source of flags, if its operands stay known. */
static struct flag_source flag_source(const struct insn *in)
{
	static const uint8_t kinds[] = { FLAGS_ADD, FLAGS_RESULT, 0,	    0, FLAGS_RESULT,
					 FLAGS_SUB, FLAGS_RESULT, FLAGS_CMP };
	struct flag_source f = { .src = FLAGS_IMMEDIATE, .imm = (int32_t)in->imm };
	unsigned op = in->opcode, reg = in->reg | (in->rex & INSN_REX_R ? 8u : 0),
		 rm = modrm_rm(in);

	if (in->row->map != MAP_1 || in->vex || in->mem || in->row->kind != K_T)
		return f;
	f.size = op & 1 ? in->operand_size : 1;
	if (op < 0x40 && (op & 7) < 6) {
		f.kind = kinds[op >> 3];
		f.dst = (uint8_t)((op & 7) < 2 ? rm : (op & 7) < 4 ? reg : RAX);
		if ((op & 7) < 4)
			f.src = (uint8_t)((op & 7) < 2 ? reg : rm);
	} else if (op >= 0x80 && op <= 0x83) {
		f.kind = kinds[in->reg];
		f.dst = (uint8_t)rm;
	} else if (op == 0x84 || op == 0x85) {
		f.kind = FLAGS_TEST;
		f.dst = (uint8_t)rm;
		f.src = (uint8_t)reg;
	} else if (op == 0xa8 || op == 0xa9 || ((op == 0xf6 || op == 0xf7) && in->reg < 2)) {
		f.kind = FLAGS_TEST;
		f.dst = (uint8_t)(op < 0xf0 ? RAX : rm);
	} else {
		return f;
	}
	/* AH to BH are left out, and a sum with itself, whose carry is lost. */
	if (f.size == 1 && !in->has_rex && (f.dst >= 4 || (f.src != FLAGS_IMMEDIATE && f.src >= 4)))
		f.kind = 0;
	if ((f.kind == FLAGS_ADD || f.kind == FLAGS_SUB) && f.dst == f.src)
		f.kind = 0;
	return f;
}

/* Those that are no operands. */
static unsigned implied_registers(const struct insn *in)
{
	const struct insn_row *row = in->row;

	if (row->kind == K_PUSH || row->kind == K_POP)
		return BIT(RSP);
	if (row->kind == K_CMPXCHG)
		return BIT(RAX);
	if (row->map == MAP_1 && (row->opcode | 1) == 0xf7 && row->ext > 4)
		return BIT(RAX) | BIT(RDX); /* MUL to IDIV */
	if (row->map == MAP_0F3A && (row->opcode == 0x61 || row->opcode == 0x63))
		return BIT(RCX); /* PCMPESTRI, PCMPISTRI */
	return 0;
}

/* Guest registers that an instruction of the plain kinds below writes, or a CMPXCHG. */
unsigned written_registers(const struct insn *in)
{
	unsigned mask = implied_registers(in), access = in->row->access;

	for (unsigned i = 0; i < 2; i++) {
		unsigned kind = OPERAND_KIND(in->row->operand[i]), n;
		bool byte = insn_size(in, OPERAND_SIZE(in->row->operand[i])) == 1;

		if (i == 0 ? access == ACC_R || access == ACC_N
			   : access != ACC_WW && access != ACC_W2)
			continue;
		if (kind == OPK_G)
			n = in->reg | (in->rex & INSN_REX_R ? 8u : 0);
		else if ((kind == OPK_E && !in->mem) || kind == OPK_R)
			n = modrm_rm(in);
		else if (kind == OPK_Z)
			n = opcode_reg(in);
		else if (kind == OPK_B)
			n = in->vvvv;
		else if (kind == OPK_KA || kind == OPK_KD)
			n = kind == OPK_KA ? RAX : RDX;
		else
			continue;
		if (byte && !in->has_rex && n >= 4 && n < 8 && kind != OPK_KA)
			n -= 4;
		mask |= BIT(n);
	}
	return mask;
}

bool may_fault_on_host(const struct insn *in)
{
	return in->row->flags == FL_DIV || in->row->attr & A_FPU || in->row->kind == K_FWAIT ||
	       (in->row->feature >= FEAT_MMX && in->row->feature <= FEAT_GFNI);
}

/* Instructions of which written_registers tells all, and that do nothing else of interest. */
static bool plain(const struct insn *in)
{
	switch (in->row->kind) {
	case K_T:
	case K_MOVSXD:
	case K_INCDEC:
	case K_LEA:
	case K_XCHG:
	case K_MOVBE:
	case K_BSWAP:
	case K_PUSH:
	case K_POP:
	case K_NOP:
		return true;
	default:
		return false;
	}
}

/* What becomes of flags that are described by registers. */
struct flags_watch {
	unsigned watched, written; /* registers */
	bool over, dead;
};

/* The next instruction after them. */
static void watch_flags(const struct tr *t, const struct insn *in, struct flags_watch *w)
{
	struct flag_class f = insn_flags(in);

	w->over = !plain(in) || f.use || may_fault_on_host(in) || refused(t, in) >= 0;
	/* POP to memory and PUSH from memory have two accesses, but change nothing between them. */
	if ((insn_mem_bytes(in) || in->row->kind == K_PUSH || in->row->kind == K_POP) &&
	    w->written & w->watched)
		w->over = true;
	if (w->over)
		return;
	w->dead = f.def == FLAGS_ALL;
	w->over = f.def;
	w->written |= written_registers(in);
}

/* The flags that the host holds come from registers; those written since then. */
static bool described(const struct tr *t, struct flags_watch *w)
{
	const struct flag_source *f = &t->source;

	if (!f->kind || t->flags != FLAGS_HOST || t->mode & MODE_REFERENCE)
		return false;
	*w = (struct flags_watch) { .watched = BIT(f->dst) |
					       (f->src == FLAGS_IMMEDIATE ? 0 : BIT(f->src)) };
	for (unsigned j = t->source_insn + 1; j < t->i; j++) {
		if (!plain(&t->insn[j]) && t->insn[j].row->kind != K_JCC)
			return false;
		w->written |= written_registers(&t->insn[j]);
	}
	return true;
}

/*
 * Whether the flags that the host holds now are overwritten before anything but an exception can
 * see them, and an exception finds their source intact until then.
 */
static bool recoverable(const struct tr *t)
{
	struct flags_watch w;

	if (!described(t, &w))
		return false;
	for (unsigned j = MAX_OF(t->i, t->source_insn + 1); j < t->n && !w.over; j++)
		watch_flags(t, &t->insn[j], &w);
	return w.dead;
}

/* Instructions of a jump's target that are looked at. */
#define LOOK_AHEAD 6

/* The same for what a jump to `target` leads to, on the block's page; then the block depends on
 * those bytes too. */
static bool recoverable_at(struct tr *t, uint64_t target)
{
	int64_t at = (int64_t)(target - t->b->rip);
	struct flags_watch w;

	if (at < -(int64_t)t->before || !described(t, &w) || w.written & w.watched)
		return false;
	for (unsigned n = 0; n < LOOK_AHEAD && !w.over; n++) {
		struct insn in;

		if (at >= (int64_t)t->after ||
		    decode_one(t, &in, t->bytes + at, (size_t)((int64_t)t->after - at)) != INSN_OK)
			return false;
		watch_flags(t, &in, &w);
		at += in.len;
	}
	if (w.dead) {
		t->b->look_first =
			(int16_t)MIN_OF((int64_t)t->b->look_first, (int64_t)(target - t->b->rip));
		t->b->look_end = (int16_t)MAX_OF((int64_t)t->b->look_end, at);
	}
	return w.dead;
}

/* Instead of saving the flags: how they are found. The host's stay. */
static void describe_flags(struct tr *t)
{
	uint32_t cc = cc_describe(&t->source);

	if (cc & CC_WIDE)
		e_store_imm(&t->e, 4, mem_gs(offsetof(struct tcg_env, cc) + 4), t->source.imm);
	e_store_imm(&t->e, 4, ENV(cc), (int32_t)cc);
}

/* Before code that destroys the host's flags for its own purposes. */
void spend_flags(struct tr *t)
{
	if (t->recover)
		return;
	if (recoverable(t)) {
		t->recover = true;
		return;
	}
	save_flags(t);
	t->flags = FLAGS_SAVED;
}

static void set_rip(struct tr *t, uint64_t rip)
{
	if ((int64_t)rip == (int32_t)rip) {
		e_store_imm(&t->e, 8, ENV(rip), (int32_t)rip);
	} else {
		e_mov_imm(&t->e, T1, rip);
		e_store(&t->e, 8, ENV(rip), T1);
	}
}

void call_helper(struct tr *t, tcg_helper fn, uint64_t arg)
{
	spend_flags(t);
	set_rip(t, t->rip);
	t->called = true;
	if (t->mode & MODE_COUNT)
		e_store_imm(&t->e, 4, ENV(ahead), (int32_t)(t->n - t->i));
	e_mov_imm(&t->e, T1, (uint64_t)(uintptr_t)fn);
	e_mov_imm(&t->e, T0, arg);
	e_jump_to(&t->e, E_CALL, thunk(t, THUNK_helper));
}

void raise_here(struct tr *t, unsigned vector)
{
	call_helper(t, helper_raise, vector);
	t->ended = true;
}

/* ADD 0, SUB 5; the flags are spent. */
static void change_budget(struct tr *t, unsigned op, unsigned by)
{
	struct host_op alu = host_op(0x81, 4);

	if (!(t->mode & MODE_COUNT) || !by)
		return;
	e_op_mem(&t->e, &alu, op, ENV(budget));
	e_le(&t->e, by, 4);
}

/* At an exit after `done` instructions. */
static void give_back(struct tr *t, unsigned done)
{
	change_budget(t, 0, t->n - MIN_OF(done, t->n));
}

void take_budget(struct tr *t)
{
	struct stub *s;

	change_budget(t, 5, t->n);
	if (!t->n)
		return;
	s = new_stub(t, STUB_BUDGET);
	s->jumps[0] = e_jump(&t->e, 8); /* negative */
	s->rip = t->b->rip;
}

/* T1 = T0's entry in the jump cache, compared with it. */
static void look_up_t0(struct emit *e)
{
	struct host_op xor = host_op(0x33, 4);

	e_mov(e, 4, T1, T0);
	e_shift(e, 5, 4, T1, PAGE_BITS);
	e_op_reg(e, &xor, T1, T0);
	e_shift(e, 4, 4, T1, 4);
	e_movzx16(e, T1, T1);
	e_alu_load(e, 0, 8, T1, ENV(jump_cache));
	e_alu_load(e, 7, 8, T0, mem_at(T1, 0));
}
static_assert(sizeof(struct jump_cache_entry) == 16 && JUMP_CACHE_ENTRIES == 4096, "look_up_t0");

/* Blocks of single instructions: back to C with the target in T0, or given. */
static bool alone(const struct tr *t)
{
	return t->mode & (MODE_STEP | MODE_REFERENCE);
}

void go_to_t0(struct tr *t)
{
	struct emit *e = &t->e;

	spend_flags(t);
	t->ended = true;
	give_back(t, t->i + 1);
	if (alone(t)) {
		e_store(e, 8, ENV(rip), T0);
		e_jump_to(e, E_JMP, thunk(t, THUNK_exit_main));
		return;
	}
	look_up_t0(e);
	e_jump_to(e, 5, thunk(t, THUNK_exit_indirect));
	e_jmp_mem(e, mem_at(T1, 8));
}

/*
 * Other pages may be mapped anew, so their blocks are looked up each time; but it is known where in
 * the jump cache. Leaves the entry's place, a displacement from T1, and a stub for when it is not
 * there.
 */
static struct stub *look_up(struct tr *t, uint64_t target, enum stub_kind kind, int32_t *entry)
{
	struct emit *e = &t->e;
	struct stub *s = new_stub(t, kind);

	s->rip = target;
	*entry = (int32_t)(jump_cache_index(target) * sizeof(struct jump_cache_entry));
	e_load(e, 8, T1, ENV(jump_cache));
	if ((int64_t)target == (int32_t)target) {
		struct host_op cmp = host_op(0x81, 8);

		e_op_mem(e, &cmp, 7, mem_at(T1, *entry));
		e_le(e, target, 4);
		s->has_rip = true;
	} else {
		e_mov_imm(e, T0, target);
		e_alu_load(e, 7, 8, T0, mem_at(T1, *entry));
	}
	s->jumps[0] = e_jump(e, 5);
	return s;
}

static void go_to_other_page(struct tr *t, uint64_t target)
{
	int32_t entry;

	look_up(t, target, STUB_INDIRECT, &entry);
	e_jmp_mem(&t->e, mem_at(T1, entry + 8));
}

/* Whether a jump there is linked: it stays on the page. */
static bool links(const struct tr *t, uint64_t target)
{
	int64_t at = (int64_t)((t->b->phys & (PAGE_SIZE_4K - 1)) + (target - t->b->rip));

	return at >= 0 && at < (int64_t)PAGE_SIZE_4K && t->b->exits < BLOCK_EXITS;
}

/* Compares what says whether somebody wants the guest to leave; equal: nobody. */
static void ask_exit(struct emit *e)
{
	struct host_op cmp = host_op(0x39, 4); /* with a register it is one operation with the jump */

	e_op_mem(e, &cmp, LOAD_TLB, ENV(exit_request));
}

/* `cc`: the jump that leaves. */
static void leave_for(struct tr *t, uint64_t target, int cc)
{
	struct stub *s = new_stub(t, STUB_POLL);

	s->jumps[0] = e_jump(&t->e, cc);
	s->rip = target;
}

/* Where the guest could loop it looks whether somebody wants it to leave. */
static bool polls(const struct tr *t, uint64_t target)
{
	return target <= t->rip;
}

/* The jump, condition or call `cc` to another block on the page. */
static void exit_block(struct tr *t, uint64_t target, int cc)
{
	struct block_exit *x = &t->b->exit[t->b->exits++];
	struct stub *s = new_stub(t, STUB_EXIT);

	*x = (struct block_exit) { .from = t->b, .target = target };
	s->exit = x;
	s->jumps[0] = e_patchable_jump(&t->e, cc);
	x->jump = tcg_code_offset(t->env->cache, s->jumps[0]);
}

/* The end of a way out to another block on the page; the flags are spent. */
static void jump_to_block(struct tr *t, uint64_t target)
{
	if (!polls(t, target)) {
		exit_block(t, target, E_JMP);
		return;
	}
	ask_exit(&t->e);
	exit_block(t, target, 4); /* equal */
	leave_for(t, target, E_JMP);
}

void go_to(struct tr *t, uint64_t target)
{
	struct emit *e = &t->e;

	t->ended = true;
	if (alone(t)) {
		spend_flags(t);
		give_back(t, t->i + 1);
		set_rip(t, target);
		e_jump_to(e, E_JMP, thunk(t, THUNK_exit_main));
		return;
	}
	if (!links(t, target)) {
		spend_flags(t);
		give_back(t, t->i + 1);
		go_to_other_page(t, target);
		return;
	}
	if (!t->recover && recoverable_at(t, target))
		describe_flags(t);
	else
		spend_flags(t);
	give_back(t, t->i + 1);
	jump_to_block(t, target);
}

/* T0 is the address of an access that failed its check. */
static void slow_access(struct tr *t, struct stub *s)
{
	struct emit *e = &t->e;
	bool store = s->kind == STUB_STORE;
	uint8_t *call = NULL, *from;

	if (s->jumps[1]) {
		e_here(e, s->jumps[1]);
		e_mov_imm(e, T1, s->site | SITE_OFFSET);
		call = e_jump(e, E_JMP);
	}
	e_here(e, s->jumps[0]);
	if (s->xored)
		e_alu_load(e, 6, 8, T0, tlb_tag(s->tlb));
	e_mov_imm(e, T1, s->site);
	if (call)
		e_here(e, call);
	e_jump_to(e, E_CALL, thunk(t, store ? THUNK_store : THUNK_load));
	from = e->at;
	e_le(e, (uint64_t)(s->retry - from), 4);
	if (!store) {
		e_le(e, (uint64_t)(s->after - from), 4);
		return;
	}
	tcg_cold_add(t->env->cache, e->at, s->site);
	s->op(t, s->in, s->arg);
	e_jump_to(e, E_CALL, thunk(t, THUNK_commit));
	e_jump_to(e, E_JMP, s->after);
}

/* Emits what jumps out of line. */
void emit_stubs(struct tr *t)
{
	struct emit *e = &t->e;

	/* Some have others. */
	for (unsigned i = 0; i < t->stubs; i++) {
		struct stub *s = &t->stub[i];

		if (s->kind == STUB_LOAD || s->kind == STUB_STORE) {
			slow_access(t, s);
			continue;
		}
		e_here(e, s->jumps[0]);
		switch (s->kind) {
		case STUB_EXIT:
			s->exit->stub = tcg_code_offset(t->env->cache, e->at);
			e_mov_imm(e, T1, tcg_exit_name(t->env->cache, s->exit));
			e_jump_to(e, E_JMP, thunk(t, THUNK_exit_direct));
			break;
		case STUB_POLL:
			e_mov_imm(e, T0, s->rip);
			e_jump_to(e, E_JMP, thunk(t, THUNK_leave_to_t0));
			break;
		case STUB_BUDGET:
			change_budget(t, 0, t->n);
			e_mov_imm(e, T0, s->rip);
			e_jump_to(e, E_JMP, thunk(t, THUNK_leave_to_t0));
			break;
		case STUB_INDIRECT:
			e_mov_imm(e, T0, s->rip);
			e_jump_to(e, E_JMP, thunk(t, THUNK_exit_indirect));
			break;
		case STUB_CALL:
			if (s->has_rip)
				e_mov_imm(e, T0, s->rip);
			e_jump_to(e, E_CALL, thunk(t, THUNK_exit_indirect));
			e_jump_to(e, E_JMP, s->after);
			break;
		case STUB_SAVE_EXIT:
			if (s->save)
				emit_save(e);
			give_back(t, s->done);
			exit_block(t, s->rip, E_JMP);
			break;
		case STUB_GROUP:
			translate_ungrouped(t, s->group);
			e_jump_to(e, E_JMP, s->after);
			break;
		default: /* STUB_FAR */
			if (s->save)
				emit_save(e);
			give_back(t, s->done);
			go_to_other_page(t, s->rip);
			break;
		}
	}
}

/* Stack. */

unsigned stack_size(const struct tr *t)
{
	return t->code_size == 8 ? 8 : t->mode & MODE_STACK32 ? 4 : 2;
}

/* T0 = stack pointer + disp, an offset in SS. */
void stack_address(struct tr *t, int32_t disp)
{
	unsigned size = stack_size(t);

	e_lea(&t->e, size == 8 ? 8 : 4, T0, mem_at(GUEST_RSP, disp));
	if (size == 2)
		e_movzx16(&t->e, T0, T0);
}

void move_stack(struct tr *t, int32_t by)
{
	unsigned size = stack_size(t);

	if (size == 2) {
		e_lea(&t->e, 4, T1, mem_at(GUEST_RSP, by));
		put_reg(t, RSP, 2, T1);
	} else {
		e_lea(&t->e, size, GUEST_RSP, mem_at(GUEST_RSP, by));
	}
}

static void op_store_reg(struct tr *t, const struct insn *in, int arg)
{
	unsigned size = (unsigned)arg >> 8, guest = arg & 0xff;

	(void)in;
	if (host_reg(guest) == HOST_NONE) {
		e_lea(&t->e, 8, T0, checked_memory(t));
		e_load(&t->e, 8, T1, ENV_GPR(guest));
		e_store(&t->e, size, mem_at(T0, 0), T1);
	} else {
		e_store(&t->e, size, checked_memory(t), host_reg(guest));
	}
}

/* From env->tmp[0]. */
static void op_store_tmp(struct tr *t, const struct insn *in, int size)
{
	(void)in;
	e_lea(&t->e, 8, T0, checked_memory(t));
	e_load(&t->e, 8, T1, ENV(tmp[0]));
	e_store(&t->e, (unsigned)size, mem_at(T0, 0), T1);
}

static void op_load_tmp(struct tr *t, const struct insn *in, int size)
{
	(void)in;
	e_load(&t->e, (unsigned)size, T1, checked_memory(t));
	e_store(&t->e, 8, ENV(tmp[0]), T1);
}

static void op_load_t0(struct tr *t, const struct insn *in, int size)
{
	(void)in;
	e_load(&t->e, (unsigned)size, T0, checked_memory(t));
}

/* What push_value pushes, in 32 bits that are extended. */
void op_store_imm(struct tr *t, const struct insn *in, int imm)
{
	unsigned size = in->operand_size;
	struct host_op op = host_op(0xc7, size);

	e_op_mem(&t->e, &op, 0, checked_memory(t));
	e_le(&t->e, (uint32_t)imm, size == 2 ? 2 : 4);
}

/* Pushes a constant. */
static void push_value(struct tr *t, const struct insn *in, uint64_t v)
{
	unsigned size = in->operand_size;

	spend_flags(t);
	if (size < 8 || (int64_t)v == (int32_t)v) {
		stack_address(t, -(int32_t)size);
		access_memory(t, in, SEG_SS, size, false, true, op_store_imm, (int)(uint32_t)v);
	} else {
		e_mov_imm(&t->e, T1, v);
		e_store(&t->e, 8, ENV(tmp[0]), T1);
		stack_address(t, -(int32_t)size);
		access_memory(t, in, SEG_SS, size, false, true, op_store_tmp, (int)size);
	}
	move_stack(t, -(int32_t)size);
}

unsigned pushed_register(const struct insn *in)
{
	return OPERAND_KIND(in->row->operand[0]) == OPK_Z ? opcode_reg(in) : modrm_rm(in);
}

static void translate_push(struct tr *t, const struct insn *in)
{
	unsigned size = in->operand_size, kind = OPERAND_KIND(in->row->operand[0]);

	if (kind == OPK_I || kind == OPK_SI) {
		push_value(t, in, in->imm);
		return;
	}
	spend_flags(t);
	if (in->mem) {
		effective_address(t, in, T0, 0);
		access_memory(t, in, in->segment, size, true, false, op_load_tmp, (int)size);
	}
	stack_address(t, -(int32_t)size);
	if (in->mem)
		access_memory(t, in, SEG_SS, size, false, true, op_store_tmp, (int)size);
	else
		access_memory(t, in, SEG_SS, size, false, true, op_store_reg,
			      (int)(size << 8 | pushed_register(in)));
	move_stack(t, -(int32_t)size);
}

static void translate_pop(struct tr *t, const struct insn *in)
{
	unsigned size = in->operand_size;
	unsigned guest = pushed_register(in);

	spend_flags(t);
	stack_address(t, 0);
	if (in->mem) {
		access_memory(t, in, SEG_SS, size, true, false, op_load_tmp, (int)size);
		/* The address sees the stack pointer after the pop. */
		effective_address(t, in, T0, in->base == RSP ? (int)size : 0);
		access_memory(t, in, in->segment, size, false, true, op_store_tmp, (int)size);
		move_stack(t, (int32_t)size);
		return;
	}
	access_memory(t, in, SEG_SS, size, true, false, op_load_t0, (int)size);
	move_stack(t, (int32_t)size);
	put_reg(t, guest, size, T0);
}

static void translate_leave(struct tr *t, const struct insn *in)
{
	unsigned size = in->operand_size, stack = stack_size(t);

	spend_flags(t);
	e_mov(&t->e, stack == 8 ? 8 : 4, T0, HOST_RBP);
	if (stack == 2)
		e_movzx16(&t->e, T0, T0);
	access_memory(t, in, SEG_SS, size, true, false, op_load_t0, (int)size);
	if (stack == 2) {
		e_lea(&t->e, 4, T1, mem_at(HOST_RBP, (int)size));
		put_reg(t, RSP, 2, T1);
	} else {
		e_lea(&t->e, stack, GUEST_RSP, mem_at(HOST_RBP, (int)size));
	}
	put_reg(t, RBP, size, T0);
}

/* Control flow. */

/* The block goes on behind it; where it jumps to another page, or has to save flags, that is out of
 * line. */
static void translate_jcc(struct tr *t, const struct insn *in)
{
	uint64_t target = mask_rip(in->operand_size, t->next_rip + in->imm);
	unsigned cc = in->opcode & 15;
	bool in_memory, described;
	struct stub *s;

	need_flags(t);
	if (alone(t)) {
		uint8_t *taken;

		save_flags(t);
		taken = e_jump(&t->e, (int)cc);
		go_to(t, mask_rip(t->code_size, t->next_rip));
		e_here(&t->e, taken);
		go_to(t, target);
		return;
	}
	in_memory = t->flags & FLAGS_SAVED;
	if (!links(t, target)) {
		s = new_stub(t, STUB_FAR);
		s->jumps[0] = e_jump(&t->e, (int)cc);
		s->rip = target;
		s->save = !in_memory;
		s->done = t->i + 1;
		return;
	}
	described = !in_memory && recoverable_at(t, target);
	if (target <= t->rip) {
		uint8_t *over = e_short_jump(&t->e, (int)cc ^ 1);

		if (described)
			describe_flags(t);
		else if (!in_memory)
			emit_save(&t->e);
		give_back(t, t->i + 1);
		jump_to_block(t, target);
		e_here_short(&t->e, over);
	} else {
		if (described)
			describe_flags(t);
		if ((in_memory || described) && !(t->mode & MODE_COUNT)) {
			exit_block(t, target, (int)cc);
			return;
		}
		s = new_stub(t, STUB_SAVE_EXIT);
		s->jumps[0] = e_jump(&t->e, (int)cc);
		s->rip = target;
		s->save = !in_memory && !described;
		s->done = t->i + 1;
	}
}

/* LOOP, LOOPE, LOOPNE and JCXZ; flags stay. */
static void translate_loop(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;
	unsigned size = in->address_size;
	uint64_t target = mask_rip(in->operand_size, t->next_rip + in->imm);
	uint8_t *leave = NULL, *taken;

	if (in->row->kind == K_LOOP) {
		spend_flags(t);
		e_lea(e, size == 8 ? 8 : 4, T0, mem_at(HOST_RCX, -1));
		put_reg(t, RCX, size, T0);
		if (in->opcode != 0xe2) {
			e_test_mem8(e, mem_gs(offsetof(struct tcg_env, cc) + 1), FLAG_Z);
			leave = e_jump(e, in->opcode == 0xe0 ? 5 : 4);
		}
	} else {
		spend_flags(t);
	}
	if (size == 2) {
		e_movzx16(e, T0, HOST_RCX);
	} else {
		e_mov(e, size, T0, HOST_RCX);
	}
	e_byte(e, 0x4d); /* test r13, r13 */
	e_byte(e, 0x85);
	e_byte(e, 0xed);
	taken = e_jump(e, in->row->kind == K_LOOP ? 5 : 4);
	if (leave)
		e_here(e, leave);
	go_to(t, mask_rip(t->code_size, t->next_rip));
	e_here(e, taken);
	go_to(t, target);
}

/* Onto the stack of predicted returns; the host's call follows. */
static void predict_return(struct tr *t, uint64_t rip)
{
	if ((int64_t)rip == (int32_t)rip) {
		e_push_imm(&t->e, (int32_t)rip);
	} else {
		e_mov_imm(&t->e, T1, rip);
		e_push(&t->e, T1);
	}
}

static void translate_call(struct tr *t, const struct insn *in)
{
	uint64_t back = mask_rip(in->operand_size, t->next_rip),
		 target = mask_rip(in->operand_size, t->next_rip + in->imm);

	push_value(t, in, back);
	if (alone(t)) {
		go_to(t, target);
		return;
	}
	spend_flags(t);
	if (links(t, target)) {
		if (polls(t, target)) {
			ask_exit(&t->e);
			leave_for(t, target, 5);
		}
		predict_return(t, back);
		exit_block(t, target, E_CALL);
	} else {
		int32_t entry;
		struct stub *s;

		predict_return(t, back);
		s = look_up(t, target, STUB_CALL, &entry);
		e_call_mem(&t->e, mem_at(T1, entry + 8));
		s->after = t->e.at;
	}
	go_to(t, back);
}

/* T0 = the target of an indirect jump or call. */
static void load_target(struct tr *t, const struct insn *in)
{
	spend_flags(t);
	if (in->mem) {
		effective_address(t, in, T0, 0);
		access_memory(t, in, in->segment, in->operand_size, true, false, op_load_t0,
			      in->operand_size);
	} else {
		get_reg(t, T0, modrm_rm(in));
		if (in->operand_size == 2)
			e_movzx16(&t->e, T0, T0);
		else if (in->operand_size == 4)
			e_mov(&t->e, 4, T0, T0);
	}
}

static void translate_call_r(struct tr *t, const struct insn *in)
{
	uint64_t back = mask_rip(in->operand_size, t->next_rip);
	struct stub *s;

	load_target(t, in);
	e_store(&t->e, 8, ENV(tmp[1]), T0);
	push_value(t, in, back);
	e_load(&t->e, 8, T0, ENV(tmp[1]));
	if (alone(t)) {
		go_to_t0(t);
		return;
	}
	predict_return(t, back);
	look_up_t0(&t->e);
	s = new_stub(t, STUB_CALL);
	s->jumps[0] = e_jump(&t->e, 5);
	e_call_mem(&t->e, mem_at(T1, 8));
	s->after = t->e.at;
	go_to(t, back);
}

static void translate_ret(struct tr *t, const struct insn *in)
{
	unsigned size = in->operand_size;

	spend_flags(t);
	stack_address(t, 0);
	access_memory(t, in, SEG_SS, size, true, false, op_load_t0, (int)size);
	move_stack(t, (int32_t)(size + in->imm));
	if (alone(t)) {
		go_to_t0(t);
		return;
	}
	e_alu_load(&t->e, 7, 8, T0, mem_at(HOST_RSP, 8));
	e_jump_to(&t->e, 5, thunk(t, THUNK_ret_miss));
	e_byte(&t->e, 0xc2); /* ret 8 */
	e_le(&t->e, 8, 2);
	t->ended = true;
}

void go_on_counted(struct tr *t)
{
	uint64_t next = mask_rip(t->code_size, t->rip);

	spend_flags(t);
	give_back(t, t->i + 1);
	ask_exit(&t->e);
	leave_for(t, next, 5);
	t->i = t->n; /* given back already */
	go_to(t, next);
}

/* Others. */

static void translate_xchg(struct tr *t, const struct insn *in)
{
	unsigned a, b;
	struct host_op op = host_op(0x87, in->operand_size);

	if (in->has_modrm) {
		if (in->mem)
			spend_flags(t);
		translate_template(t, in);
		return;
	}
	a = opcode_reg(in);
	b = RAX;
	if (a == b)
		return;
	if (host_reg(a) != HOST_NONE) {
		e_op_reg(&t->e, &op, (unsigned)host_reg(a), (unsigned)host_reg(b));
		return;
	}
	get_reg(t, T1, a);
	e_op_reg(&t->e, &op, T1, HOST_RAX);
	put_reg(t, a, 8, T1);
}

static void translate_lea(struct tr *t, const struct insn *in)
{
	unsigned dst = modrm_reg(in), size = in->operand_size;
	int host = host_reg(dst);

	if (host != HOST_NONE && size == in->address_size && size >= 4) {
		/* The base may be the destination: an address in memory-held registers goes through
		 * T0. */
		bool direct = (in->base < 0 || host_reg((unsigned)in->base) != HOST_NONE) &&
			      (in->index < 0 || host_reg((unsigned)in->index) != HOST_NONE);

		if (direct) {
			effective_address(t, in, host, 0);
			return;
		}
	}
	effective_address(t, in, T0, 0);
	put_reg(t, dst, size, T0);
}

static void translate_moffs(struct tr *t, const struct insn *in)
{
	bool store = OPERAND_KIND(in->row->operand[0]) == OPK_O;
	unsigned size = in->opcode & 1 ? in->operand_size : 1;

	spend_flags(t);
	effective_address(t, in, T0, 0);
	if (store) {
		access_memory(t, in, in->segment, size, false, true, op_store_reg,
			      (int)(size << 8 | RAX));
		return;
	}
	access_memory(t, in, in->segment, size, true, false, op_load_t0, (int)size);
	if (size == 1) {
		struct host_op op = { .opcode = 0x88, .byte_reg = true, .byte_rm = true };

		e_op_reg(&t->e, &op, T0, HOST_RAX);
	} else {
		put_reg(t, RAX, size, T0);
	}
}

static void translate_xlat(struct tr *t, const struct insn *in)
{
	struct host_op movzx = host_op(OPC_0F | 0xb6, 4);
	struct host_op mov8 = { .opcode = 0x88, .byte_reg = true, .byte_rm = true };
	unsigned segment = in->segment_override != 0xff ? in->segment_override : SEG_DS;

	spend_flags(t);
	e_op_reg(&t->e, &movzx, T0, HOST_RAX);
	e_lea(&t->e, in->address_size == 8 ? 8 : 4, T0, mem_index(T0, HOST_RBX, 0, 0));
	if (in->address_size == 2)
		e_movzx16(&t->e, T0, T0);
	access_memory(t, in, segment, 1, true, false, op_load_t0, 1);
	e_op_reg(&t->e, &mov8, T0, HOST_RAX);
}

/* CMPXCHG with AH to BH and memory, where no template fits. */
static void op_cmpxchg_high(struct tr *t, const struct insn *in, int arg)
{
	struct host_op op = { .opcode = OPC_0F | 0xb0,
			      .lock = keeps_lock(t, in),
			      .byte_reg = true };

	(void)arg;
	e_lea(&t->e, 8, T0, checked_memory(t));
	e_store(&t->e, 8, ENV(tmp[0]), in->reg - 4);
	e_load(&t->e, 1, T1, mem_gs(offsetof(struct tcg_env, tmp) + 1));
	e_op_mem(&t->e, &op, T1, mem_at(T0, 0));
}

static void translate_cmpxchg(struct tr *t, const struct insn *in)
{
	if (in->mem && in->opcode == 0xb0 && !in->has_rex && in->reg >= 4) {
		spend_flags(t);
		effective_address(t, in, T0, 0);
		access_memory(t, in, in->segment, 1, true, true, op_cmpxchg_high, 0);
	} else {
		if (in->mem)
			spend_flags(t);
		translate_template(t, in);
	}
	t->flags = FLAGS_HOST;
}

/* BT and its kin with a register for the bit's number reach memory far from the operand. */
static void op_btm(struct tr *t, const struct insn *in, int size)
{
	struct host_op op = host_op(OPC_0F | in->opcode, (unsigned)size);

	op.lock = keeps_lock(t, in);
	e_lea(&t->e, 8, T0, checked_memory(t));
	restore_flags(&t->e);
	e_load(&t->e, 4, T1, ENV(tmp[0]));
	e_op_mem(&t->e, &op, T1, mem_at(T0, 0));
}

static void translate_btm(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;
	unsigned size = in->operand_size, shift = size == 2 ? 4 : size == 4 ? 5 : 6;
	bool write = in->row->access != ACC_R;

	spend_flags(t);
	/* tmp[0]: the bit in its word; tmp[1]: how far away the word is. */
	get_reg(t, T0, modrm_reg(in));
	e_mov(e, 4, T1, T0);
	e_alu_imm(e, 4, 4, T1, (int)(8 * size - 1));
	e_store(e, 8, ENV(tmp[0]), T1);
	if (size != 8) {
		struct host_op sx = host_op(size == 2 ? OPC_0F | 0xbf : 0x63, 8);

		e_op_reg(e, &sx, T0, T0);
	}
	e_shift(e, 7, 8, T0, shift);
	e_shift(e, 4, 8, T0, shift - 3);
	e_store(e, 8, ENV(tmp[1]), T0);
	effective_address(t, in, T0, 0);
	e_alu_load(e, 0, in->address_size == 8 ? 8 : 4, T0, ENV(tmp[1]));
	if (in->address_size == 2)
		e_movzx16(e, T0, T0);
	access_memory(t, in, in->segment, size, true, write, op_btm, (int)size);
	t->flags = FLAGS_HOST;
}

static void translate_string(struct tr *t, const struct insn *in)
{
	union string_arg a = { .word = 0 };
	unsigned code = OPERAND_SIZE(in->row->operand[0]);

	a.kind = in->row->kind;
	a.size = (uint8_t)insn_size(in, code);
	a.address_size = in->address_size;
	a.rep = in->rep;
	a.segment = in->segment_override != 0xff ? in->segment_override : SEG_DS;
	a.length = in->len;
	call_helper(t, helper_string, a.word);
	/* It may have written to what comes next. */
	if (in->row->kind == K_MOVS || in->row->kind == K_STOS)
		go_to(t, mask_rip(t->code_size, t->next_rip));
}

static void translate_set_df(struct tr *t, const struct insn *in)
{
	struct host_op op = host_op(0x81, 4);

	spend_flags(t);
	e_op_mem(&t->e, &op, in->opcode == 0xfd ? 1 : 4, ENV(eflags));
	e_le(&t->e, in->opcode == 0xfd ? 0x400u : ~0x400u, 4);
}

static void translate_salc(struct tr *t)
{
	struct host_op sbb = { .opcode = 0x18, .byte_reg = true, .byte_rm = true };

	need_flags(t);
	save_flags(t);
	e_op_reg(&t->e, &sbb, HOST_RAX, HOST_RAX);
	t->flags = FLAGS_SAVED;
}

/* C has jumped: on at env->rip, with the new level's tables, if the helper did not say to leave. */
static void follow_jump(struct tr *t)
{
	e_load(&t->e, 8, T0, ENV(rip));
	go_to_t0(t);
}

enum after { GOES_ON, JUMPED, LEAVES };

/* Leaves to C, which does the whole instruction. */
static void translate_helper(struct tr *t, const struct insn *in, tcg_helper fn, enum after after)
{
	unsigned size = in->operand_size;
	union insn_arg a = { .word = 0 };

	for (unsigned i = 0; i < 2; i++)
		if (OPERAND_SIZE(in->row->operand[i]) == SZ_z)
			size = MIN_OF(size, 4u);
		else if (OPERAND_SIZE(in->row->operand[i]) == SZ_b && in->row->kind != K_ENTER &&
			 OPERAND_KIND(in->row->operand[i]) != OPK_I)
			size = 1;
	a.kind = in->row->kind;
	a.opcode = in->opcode;
	a.reg = modrm_reg(in) & 15;
	for (unsigned i = 0; i < 2; i++)
		if (OPERAND_KIND(in->row->operand[i]) == OPK_S)
			a.reg = in->reg & 7; /* REX.R means nothing */
	a.rm = modrm_rm(in) & 15;
	a.ext = in->reg & 3;
	a.size = (uint8_t)size;
	a.segment = in->mem || in->row->kind == K_OUTS ? in->segment & 15 : SEG_DS;
	a.mem = in->mem;
	a.rex_w = !!(in->rex & INSN_REX_W);
	a.length = in->len;
	a.rep = in->rep;
	a.address_size = in->address_size;
	spend_flags(t);
	if (in->mem) {
		effective_address(t, in, T0, 0);
		e_store(&t->e, 8, ENV(tmp[0]), T0);
	} else if (OPERAND_KIND(in->row->operand[0]) == OPK_I ||
		   OPERAND_KIND(in->row->operand[0]) == OPK_A ||
		   OPERAND_KIND(in->row->operand[1]) == OPK_I) {
		e_mov_imm(&t->e, T0, in->imm);
		e_store(&t->e, 8, ENV(tmp[0]), T0);
		e_mov_imm(&t->e, T0, in->imm2);
		e_store(&t->e, 8, ENV(tmp[1]), T0);
	} else if (in->row->kind == K_RETF) {
		e_mov_imm(&t->e, T0, 0);
		e_store(&t->e, 8, ENV(tmp[0]), T0);
	}
	call_helper(t, fn, a.word);
	if (after == JUMPED) {
		follow_jump(t);
	} else if (after == LEAVES) {
		e_jump_to(&t->e, E_JMP, thunk(t, THUNK_exit_main));
		t->ended = true;
	}
}

static void translate_vector(struct tr *t, const struct insn *in)
{
	struct insn base = *in;
	union vector_arg a = { .word = 0 };

	a.kind = in->row->kind;
	a.opcode = in->opcode;
	a.reg = modrm_reg(in) & 15;
	a.rm = modrm_rm(in) & 15;
	a.vvvv = in->vvvv & 15;
	a.l = in->l;
	a.w = in->vex_w;
	a.mmx = OPERAND_KIND(in->row->operand[0]) == OPK_P;
	a.segment = in->mem			   ? in->segment
		    : in->segment_override != 0xff ? in->segment_override
						   : SEG_DS;
	a.address_size = in->address_size;
	spend_flags(t);
	if (in->row->kind == K_GATHER) {
		a.index = in->index & 15;
		a.scale = in->scale & 3;
		base.index = -1;
	}
	if (in->mem) {
		effective_address(t, &base, T0, 0);
		e_store(&t->e, 8, ENV(tmp[0]), T0);
	}
	call_helper(t, helper_vector, a.word);
}

/* VZEROALL and VZEROUPPER: only registers that the code's size has. */
static void translate_vzero(struct tr *t, const struct insn *in)
{
	struct host_op op = { .opcode = OPC_0F | 0x57, .vex = true }; /* VXORPS, 128 bits */

	if (t->code_size == 8) {
		translate_template(t, in);
		return;
	}
	if (!in->l)
		op.opcode = OPC_0F | 0x28; /* VMOVAPS */
	for (unsigned i = 0; i < 8; i++) {
		op.vvvv = in->l ? (uint8_t)i : 0;
		e_op_reg(&t->e, &op, i, i);
	}
}

void flags_before(struct tr *t, const struct insn *in)
{
	struct flag_class f = insn_flags(in);

	if (f.use || (f.def && f.def != FLAGS_ALL))
		need_flags(t);
}

/* The instruction's flags are the host's after it. */
void finish_flags(struct tr *t, const struct insn *in)
{
	if (!insn_flags(in).def)
		return;
	t->flags = FLAGS_HOST;
	t->recover = false;
	t->source = flag_source(in);
	t->source_insn = t->i;
}

void translate_one(struct tr *t, const struct insn *in)
{
	int vector = refused(t, in);

	if (vector >= 0) {
		raise_here(t, (unsigned)vector);
		return;
	}
	switch (in->row->kind) {
	case K_NOP:
		return;
	case K_PAUSE:
		/* Alone, it waits for nobody. */
		if (t->env->world->envs > 1)
			call_helper(t, helper_pause, 0);
		return;
	case K_T:
	case K_MOVSXD:
	case K_INCDEC:
	case K_CMC:
	case K_FLAGBIT:
	case K_SAHF:
	case K_LAHF:
	case K_BSWAP:
	case K_RANDOM:
	case K_MOVBE:
	case K_EMMS:
	case K_CMPXCHG8B:
	case K_FWAIT:
	case K_FLDCW:
	case K_LDMXCSR:
	case K_STMXCSR:
		/* What may fault has the old flags in memory; with memory, so has the address
		 * check. */
		if (insn_mem_bytes(in))
			spend_flags(t);
		else if (may_fault_on_host(in))
			save_flags(t);
		if (!insn_mem_bytes(in))
			flags_before(t, in);
		translate_template(t, in);
		finish_flags(t, in);
		return;
	case K_PUSH:
		translate_push(t, in);
		return;
	case K_POP:
		translate_pop(t, in);
		return;
	case K_LEAVE:
		translate_leave(t, in);
		return;
	case K_JCC:
		translate_jcc(t, in);
		return;
	case K_LOOP:
	case K_JCXZ:
		translate_loop(t, in);
		return;
	case K_CALL:
		translate_call(t, in);
		return;
	case K_JMP:
		go_to(t, mask_rip(in->operand_size, t->next_rip + in->imm));
		return;
	case K_CALL_R:
		translate_call_r(t, in);
		return;
	case K_JMP_R:
		load_target(t, in);
		go_to_t0(t);
		return;
	case K_RET:
		translate_ret(t, in);
		return;
	case K_XCHG:
		translate_xchg(t, in);
		return;
	case K_LEA:
		translate_lea(t, in);
		return;
	case K_MOFFS:
		translate_moffs(t, in);
		return;
	case K_XLAT:
		translate_xlat(t, in);
		return;
	case K_CMPXCHG:
		translate_cmpxchg(t, in);
		return;
	case K_BTM:
		translate_btm(t, in);
		return;
	case K_MOVS:
	case K_CMPS:
	case K_STOS:
	case K_LODS:
	case K_SCAS:
		translate_string(t, in);
		return;
	case K_DF:
		translate_set_df(t, in);
		return;
	case K_SALC:
		translate_salc(t);
		return;
	case K_CALLF:
	case K_CALLF_M:
	case K_JMPF:
	case K_JMPF_M:
	case K_RETF:
	case K_IRET:
		translate_helper(t, in, helper_far, JUMPED);
		return;
	case K_FXSAVE:
	case K_FXRSTOR:
	case K_FLDENV:
	case K_FNSTENV:
	case K_FRSTOR:
	case K_FNSAVE:
	case K_XSAVE:
	case K_XRSTOR:
		translate_helper(t, in, helper_fpu, GOES_ON);
		return;
	case K_MASKMOV:
	case K_VMASKMOV:
	case K_GATHER:
		translate_vector(t, in);
		return;
	case K_VZERO:
		translate_vzero(t, in);
		return;
	case K_HYPERCALL:
		raise_here(t, 6);
		return;
	case K_SETPM:
		return;
	case K_PUSHSEG:
	case K_MOVSEG_R:
	case K_PUSHA:
	case K_POPA:
	case K_ENTER:
	case K_BOUND:
	case K_ARPL:
	case K_BCD:
	case K_PUSHF:
	case K_INTO:
	case K_IN:
	case K_OUT:
	case K_INS:
	case K_OUTS:
	case K_IF:
	case K_SLDT:
	case K_STR:
	case K_LLDT:
	case K_LTR:
	case K_VERX:
	case K_LARLSL:
	case K_SGDT:
	case K_SIDT:
	case K_LGDT:
	case K_LIDT:
	case K_SMSW:
	case K_WBINVD:
	case K_FLUSH:
	case K_MOVCR_R:
	case K_MOVDR_R:
	case K_RDMSR:
	case K_RDTSC:
	case K_RDTSCP:
	case K_RDPID:
	case K_CPUID:
	case K_SWAPGS:
	case K_FSGSBASE:
	case K_XGETBV:
	case K_AC:
	case K_MONITOR:
	case K_MWAIT:
	case K_PKRU:
		translate_helper(t, in, helper_system, GOES_ON);
		return;
	case K_SYSCALL:
	case K_SYSRET:
	case K_SYSENTER:
	case K_SYSEXIT:
		translate_helper(t, in, helper_system, JUMPED);
		return;
	default:
		translate_helper(t, in, helper_system, LEAVES);
	}
}
