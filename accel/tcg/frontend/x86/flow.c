/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control flow: ways out of a block (linked, by the jump cache, predicted returns, back to C), what
 * blocks have out of line, and the instructions that jump.
 */
#include "accel/tcg/frontend/x86/translate.h"

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

void give_back(struct tr *t, unsigned done)
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
	e_alu_imm(e, 4, 4, T1, (JUMP_CACHE_ENTRIES - 1) * 16);
	e_alu_load(e, 0, 8, T1, ENV(jump_cache));
	e_alu_load(e, 7, 8, T0, mem_at(T1, 0));
}
static_assert(sizeof(struct jump_cache_entry) == 16, "look_up_t0");

/* Blocks of single instructions: back to C with the target in T0, or given. */
static bool alone(const struct tr *t)
{
	return t->mode & (MODE_STEP | MODE_REFERENCE);
}

/* A jump that is taken when T0 is not found; `kind` says how it is looked for. */
static struct stub *miss(struct tr *t, enum stub_kind kind, uint32_t site)
{
	struct stub *s = new_stub(t, kind);

	s->jumps[0] = e_jump(&t->e, 5);
	s->site = site;
	return s;
}

void go_to_t0(struct tr *t, uint32_t site)
{
	struct emit *e = &t->e;

	spend_flags(t);
	t->ended = true;
	give_back(t, t->i + 1);
	if (alone(t)) {
		if (site != NO_SITE)
			e_store_imm(e, 4, ENV(branch_site), (int32_t)(site + 1));
		e_store(e, 8, ENV(rip), T0);
		e_jump_to(e, E_JMP, thunk(t, THUNK_exit_main));
		return;
	}
	look_up_t0(e);
	if (site == NO_SITE)
		e_jump_to(e, 5, thunk(t, THUNK_exit_indirect));
	else
		miss(t, STUB_JUMP, site);
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

/* Whether a jump there is linked: it stays on the page, and what is there too. */
static bool links(const struct tr *t, uint64_t target)
{
	int64_t at = (int64_t)((t->b->phys & (PAGE_SIZE_4K - 1)) + (target - t->b->rip));

	return at >= 0 && at < (int64_t)(PAGE_SIZE_4K - CROSSING);
}

/* Compares what says whether somebody wants the guest to leave; equal: nobody. */
static void ask_exit(struct emit *e)
{
	struct host_op cmp =
		host_op(0x39, 4); /* with a register it is one operation with the jump */

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

void exit_block(struct tr *t, uint64_t target, int cc, bool apart)
{
	struct block_exit *x = &t->b->exit[t->b->exits++];
	struct stub *s = new_stub(t, STUB_EXIT);

	*x = (struct block_exit) { .from = t->b->index,
				   .to = NO_BLOCK,
				   .target = (int16_t)(target - t->b->rip),
				   .apart = apart };
	assert(t->b->exits <= BLOCK_EXITS);
	s->exit = x;
	s->jumps[0] = e_patchable_jump(&t->e, cc);
	x->jump = tcg_code_offset(t->env->cache, s->jumps[0]);
}

void jump_to_block(struct tr *t, uint64_t target)
{
	if (!polls(t, target)) {
		exit_block(t, target, E_JMP, false);
		return;
	}
	ask_exit(&t->e);
	exit_block(t, target, 4, false); /* equal */
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

/* Calls C for an access whose address, T0, failed its check. With a constant for `store` nearly all
 * of the bytes are known. */
static ALWAYS_INLINE void call_access(struct tr *t, const struct stub *s, bool store)
{
	struct emit e = t->e;
	uint8_t *call = NULL, *from;

	if (unlikely(s->jumps[1] != NULL)) {
		e_here(&e, s->jumps[1]);
		e_mov_imm(&e, T1, s->site | SITE_OFFSET);
		call = e_jump(&e, E_JMP);
	}
	e_here(&e, s->jumps[0]);
	if (s->xored)
		e_alu_load(&e, 6, 8, T0, tlb_tag(store ? STORE_TLB : LOAD_TLB));
	e_mov_imm(&e, T1, s->site);
	if (unlikely(call != NULL))
		e_here(&e, call);
	e_jump_to(&e, E_CALL, thunk(t, store ? THUNK_store : THUNK_load));
	from = e.at;
	e_le(&e, (uint64_t)(s->retry - from), 4);
	if (!store)
		e_le(&e, (uint64_t)(s->after - from), 4);
	t->e = e;
}

static void slow_store(struct tr *t, struct stub *s)
{
	call_access(t, s, true);
	tcg_cold_add(t->env->cache, t->e.at, s->site);
	s->op(t, s->in, s->arg);
	e_jump_to(&t->e, E_CALL, thunk(t, THUNK_commit));
	e_jump_to(&t->e, E_JMP, s->after);
}

/* Emits what jumps out of line. */
void emit_stubs(struct tr *t)
{
	struct emit *e = &t->e;

	/* Some have others. */
	for (unsigned i = 0; i < t->stubs; i++) {
		struct stub *s = &t->stub[i];

		forget_held(t);
		if (s->kind == STUB_LOAD) {
			call_access(t, s, false);
			continue;
		}
		if (s->kind == STUB_STORE) {
			slow_store(t, s);
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
			e_mov_imm(e, T0, s->rip);
			e_jump_to(e, E_CALL, thunk(t, THUNK_exit_indirect));
			e_jump_to(e, E_JMP, s->after);
			break;
		case STUB_CALL_T0:
			e_mov_imm(e, T1, s->site + 1);
			e_jump_to(e, E_CALL, thunk(t, THUNK_jump_miss));
			e_jump_to(e, E_JMP, s->after);
			break;
		case STUB_JUMP:
		case STUB_RET:
			e_mov_imm(e, T1, s->site + 1);
			e_jump_to(e, E_JMP,
				  thunk(t, s->kind == STUB_RET ? THUNK_ret_miss : THUNK_jump_miss));
			break;
		case STUB_SAVE_EXIT:
			if (s->save)
				emit_save(e);
			give_back(t, s->done);
			exit_block(t, s->rip, E_JMP, false);
			break;
		case STUB_ROUNDS:
			emit_rounds(t, s);
			break;
		case STUB_APART:
			leave_group(t, s);
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

/* The block goes on behind it; where it jumps to another page, or has to save flags, that is out of
 * line. */
void translate_jcc(struct tr *t, const struct insn *in)
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
		s->done = (uint8_t)(t->i + 1);
		return;
	}
	if (target == t->b->rip && !(t->mode & MODE_APART) && translate_rounds(t, cc, in_memory))
		return;
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
			exit_block(t, target, (int)cc, false);
			return;
		}
		s = new_stub(t, STUB_SAVE_EXIT);
		s->jumps[0] = e_jump(&t->e, (int)cc);
		s->rip = target;
		s->save = !in_memory && !described;
		s->done = (uint8_t)(t->i + 1);
	}
}

/* LOOP, LOOPE, LOOPNE and JCXZ; flags stay. */
void translate_loop(struct tr *t, const struct insn *in)
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

void translate_call(struct tr *t, const struct insn *in)
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
		exit_block(t, target, E_CALL, false);
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
void load_target(struct tr *t, const struct insn *in)
{
	spend_flags(t);
	if (in->mem) {
		effective_address(t, in, T0, 0);
		access_memory(t, in, in->segment, in->operand_size, true, false, op_load_t0,
			      in->operand_size);
	} else {
		get_reg(t, T0, in->rm4);
		if (in->operand_size == 2)
			e_movzx16(&t->e, T0, T0);
		else if (in->operand_size == 4)
			e_mov(&t->e, 4, T0, T0);
	}
}

void translate_call_r(struct tr *t, const struct insn *in)
{
	uint64_t back = mask_rip(in->operand_size, t->next_rip);
	struct stub *s;

	load_target(t, in);
	e_store(&t->e, 8, ENV(tmp[1]), T0);
	push_value(t, in, back);
	e_load(&t->e, 8, T0, ENV(tmp[1]));
	if (alone(t)) {
		go_to_t0(t, branch_site(t, -(int32_t)in->operand_size));
		return;
	}
	predict_return(t, back);
	look_up_t0(&t->e);
	s = miss(t, STUB_CALL_T0, branch_site(t, -(int32_t)in->operand_size));
	e_call_mem(&t->e, mem_at(T1, 8));
	s->after = t->e.at;
	go_to(t, back);
}

void translate_ret(struct tr *t, const struct insn *in)
{
	unsigned size = in->operand_size;

	spend_flags(t);
	stack_address(t, 0);
	access_memory(t, in, SEG_SS, size, true, false, op_load_t0, (int)size);
	move_stack(t, (int32_t)(size + in->imm));
	if (alone(t)) {
		go_to_t0(t, branch_site(t, (int32_t)(size + in->imm)));
		return;
	}
	e_alu_load(&t->e, 7, 8, T0, mem_at(HOST_RSP, 8));
	miss(t, STUB_RET, branch_site(t, (int32_t)(size + in->imm)));
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
