/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stack: PUSH, POP, LEAVE, and what calls and returns need of it. */
#include "accel/tcg/frontend/x86/translate.h"

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

void op_store_reg(struct tr *t, const struct insn *in, int arg)
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

void op_load_t0(struct tr *t, const struct insn *in, int size)
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
void push_value(struct tr *t, const struct insn *in, uint64_t v)
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
	return OPERAND_KIND(in->row->operand[0]) == OPK_Z ? opcode_reg(in) : in->rm4;
}

void translate_push(struct tr *t, const struct insn *in)
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

void translate_pop(struct tr *t, const struct insn *in)
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

void translate_leave(struct tr *t, const struct insn *in)
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
