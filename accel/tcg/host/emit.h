/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An assembler for the x86-64 host: just enough for translated code. Bytes go to e->at, without
 * looking whether there is room: callers do, once for many instructions.
 */
#pragma once

#include <string.h>

#include "core/compiler.h"

enum {
	HOST_RAX,
	HOST_RCX,
	HOST_RDX,
	HOST_RBX,
	HOST_RSP,
	HOST_RBP,
	HOST_RSI,
	HOST_RDI,
	HOST_R8,
	HOST_R9,
	HOST_R10,
	HOST_R11,
	HOST_R12,
	HOST_R13,
	HOST_R14,
	HOST_R15,
	HOST_NONE = -1,
};

struct emit {
	uint8_t *at;
};

/* A memory operand: [base + index << scale + disp], or gs:[disp32] without registers. */
struct host_mem {
	int8_t base, index;
	uint8_t scale;
	bool gs;
	int32_t disp;
};

static inline struct host_mem mem_at(int base, int32_t disp)
{
	return (struct host_mem) { .base = (int8_t)base, .index = HOST_NONE, .disp = disp };
}

static inline struct host_mem mem_index(int base, int index, unsigned scale, int32_t disp)
{
	return (struct host_mem) {
		.base = (int8_t)base, .index = (int8_t)index, .scale = (uint8_t)scale, .disp = disp
	};
}

static inline struct host_mem mem_gs(size_t disp)
{
	return (struct host_mem) {
		.base = HOST_NONE, .index = HOST_NONE, .gs = true, .disp = (int32_t)disp
	};
}

static inline void e_byte(struct emit *e, unsigned b)
{
	*e->at++ = (uint8_t)b;
}

static inline void e_le(struct emit *e, uint64_t v, unsigned size)
{
	uint8_t *at = e->at;

	memcpy(at, &v, sizeof(v));
	e->at = at + size;
}

/* What comes before the opcode, and where the opcode lies. */
enum { OPC_1 = 0x000, OPC_0F = 0x100, OPC_0F38 = 0x200, OPC_0F3A = 0x300 };

struct host_op {
	uint16_t opcode; /* OPC_ map and byte */
	uint8_t prefix;	 /* 0, 66h, F2h or F3h */
	bool lock, opsize16, w;
	bool byte_reg, byte_rm; /* 8-bit registers: 4 to 7 need a REX to be SPL to DIL */
	bool no_rex;		/* AH to DH: they must not have one */
	bool vex, l;
	uint8_t vvvv;
};

/* Bytes that are put together in a register, which is faster than one by one in memory. */
struct e_word {
	uint64_t bits;
	unsigned shift;
};

static inline void e_add(struct e_word *w, unsigned byte)
{
	w->bits |= (uint64_t)byte << w->shift;
	w->shift += 8;
}

static ALWAYS_INLINE void e_put(struct emit *e, struct e_word w)
{
	e_le(e, w.bits, w.shift / 8);
}

/* Seven bytes at most. */
static ALWAYS_INLINE struct e_word e_opcode_after(struct e_word w, const struct host_op *op,
						  unsigned rex)
{
	unsigned map = op->opcode >> 8;

	if (op->vex) {
		unsigned pp = op->prefix == 0x66   ? 1
			      : op->prefix == 0xf3 ? 2
			      : op->prefix == 0xf2 ? 3
						   : 0;

		e_add(&w, 0xc4);
		e_add(&w, (~rex & 7) << 5 | map);
		e_add(&w,
		      (unsigned)op->w << 7 | (~op->vvvv & 15u) << 3 | (unsigned)op->l << 2 | pp);
	} else {
		if (op->lock)
			e_add(&w, 0xf0);
		if (op->opsize16)
			e_add(&w, 0x66);
		if (op->prefix && !(op->prefix == 0x66 && op->opsize16))
			e_add(&w, op->prefix);
		if (op->w)
			rex |= 8;
		if (rex && !op->no_rex)
			e_add(&w, 0x40 | (rex & 15));
		if (map)
			e_add(&w, 0x0f);
		if (map >= 2)
			e_add(&w, map == 2 ? 0x38 : 0x3a);
	}
	e_add(&w, op->opcode & 0xff);
	return w;
}

static ALWAYS_INLINE void e_opcode(struct emit *e, const struct host_op *op, unsigned rex)
{
	e_put(e, e_opcode_after((struct e_word) { 0 }, op, rex));
}

/* OP reg, rm with registers; `reg` may be an opcode extension. */
static ALWAYS_INLINE void e_op_reg(struct emit *e, const struct host_op *op, unsigned reg,
				   unsigned rm)
{
	unsigned rex = (reg & 8) >> 1 | (rm & 8) >> 3;
	struct e_word w = { 0 };

	if (!op->no_rex &&
	    ((op->byte_reg && reg >= 4 && reg < 8) || (op->byte_rm && rm >= 4 && rm < 8)))
		rex |= 0x40;
	w = e_opcode_after(w, op, rex);
	e_add(&w, 0xc0 | (reg & 7) << 3 | (rm & 7));
	e_put(e, w);
}

/* What a memory operand, and the register beside it, add to REX. */
static ALWAYS_INLINE unsigned e_mem_rex(unsigned reg, struct host_mem m)
{
	unsigned rex = (reg & 8) >> 1;

	if (m.base != HOST_NONE)
		rex |= (m.base & 8) >> 3;
	if (m.index != HOST_NONE)
		rex |= (m.index & 8) >> 2;
	return rex;
}

/* ModRM, SIB and displacement. */
static ALWAYS_INLINE void e_modrm_mem(struct emit *e, unsigned reg, struct host_mem m)
{
	bool sib = m.index != HOST_NONE || m.base == HOST_NONE || (m.base & 7) == 4;
	struct e_word w = { 0 };
	unsigned mod, size;

	if (m.base == HOST_NONE) {
		mod = 0;
		size = 4;
	} else if (m.disp == 0 && (m.base & 7) != 5) {
		mod = 0;
		size = 0;
	} else if (m.disp == (int8_t)m.disp) {
		mod = 1;
		size = 1;
	} else {
		mod = 2;
		size = 4;
	}
	e_add(&w, mod << 6 | (reg & 7) << 3 | (sib ? 4 : m.base & 7));
	if (sib)
		e_add(&w, (unsigned)m.scale << 6 | (m.index == HOST_NONE ? 4u : m.index & 7u) << 3 |
				  (m.base == HOST_NONE ? 5u : m.base & 7u));
	w.bits |= (uint64_t)(uint32_t)m.disp << w.shift;
	e_le(e, w.bits, w.shift / 8 + size);
}

static ALWAYS_INLINE void e_op_mem(struct emit *e, const struct host_op *op, unsigned reg,
				   struct host_mem m)
{
	unsigned rex = e_mem_rex(reg, m);
	struct emit to = *e; /* the bytes might be e->at's own, for all that the compiler knows */
	struct e_word w = { 0 };

	if (m.gs)
		e_add(&w, 0x65);
	if (op->byte_reg && reg >= 4 && reg < 8 && !op->no_rex)
		rex |= 0x40;
	e_put(&to, e_opcode_after(w, op, rex));
	e_modrm_mem(&to, reg, m);
	*e = to;
}

/* Common instructions; `size` is 1, 2, 4 or 8 bytes. */
static inline struct host_op host_op(unsigned opcode, unsigned size)
{
	return (struct host_op) { .opcode = (uint16_t)opcode,
				  .opsize16 = size == 2,
				  .w = size == 8 };
}

static ALWAYS_INLINE void e_load(struct emit *e, unsigned size, int reg, struct host_mem m)
{
	struct host_op op = host_op(size == 1	? OPC_0F | 0xb6
				    : size == 2 ? OPC_0F | 0xb7
						: 0x8b,
				    size == 8 ? 8 : 4);

	e_op_mem(e, &op, (unsigned)reg, m);
}

static ALWAYS_INLINE void e_store(struct emit *e, unsigned size, struct host_mem m, int reg)
{
	struct host_op op = host_op(size == 1 ? 0x88 : 0x89, size);

	op.byte_reg = size == 1;
	e_op_mem(e, &op, (unsigned)reg, m);
}

/* The immediate is 1, 2 or 4 bytes, sign-extended to 8. */
static ALWAYS_INLINE void e_store_imm(struct emit *e, unsigned size, struct host_mem m, int32_t imm)
{
	struct host_op op = host_op(size == 1 ? 0xc6 : 0xc7, size);

	e_op_mem(e, &op, 0, m);
	e_le(e, (uint32_t)imm, size > 4 ? 4 : size);
}

static ALWAYS_INLINE void e_mov(struct emit *e, unsigned size, int dst, int src)
{
	struct host_op op = host_op(0x8b, size == 8 ? 8 : 4);

	e_op_reg(e, &op, (unsigned)dst, (unsigned)src);
}

static ALWAYS_INLINE void e_mov_imm(struct emit *e, int reg, uint64_t v)
{
	struct e_word w = { 0 };

	if (v <= UINT32_MAX) {
		if (reg & 8)
			e_add(&w, 0x41);
		e_add(&w, 0xb8 | (reg & 7));
		w.bits |= v << w.shift;
		w.shift += 32;
		e_put(e, w);
	} else if ((int64_t)v == (int32_t)v) {
		struct host_op op = host_op(0xc7, 8);

		e_op_reg(e, &op, 0, (unsigned)reg);
		e_le(e, v, 4);
	} else {
		e_add(&w, reg & 8 ? 0x49 : 0x48);
		e_add(&w, 0xb8 | (reg & 7));
		e_put(e, w);
		e_le(e, v, 8);
	}
}

static ALWAYS_INLINE void e_lea(struct emit *e, unsigned size, int reg, struct host_mem m)
{
	struct host_op op = host_op(0x8d, size == 8 ? 8 : 4);

	e_op_mem(e, &op, (unsigned)reg, m);
}

static ALWAYS_INLINE void e_movzx16(struct emit *e, int dst, int src)
{
	struct host_op op = host_op(OPC_0F | 0xb7, 4);

	e_op_reg(e, &op, (unsigned)dst, (unsigned)src);
}

/* ALU operation n (0 add, 1 or, 4 and, 5 sub, 6 xor, 7 cmp) with an immediate or memory. */
static ALWAYS_INLINE void e_alu_imm(struct emit *e, unsigned n, unsigned size, int reg, int32_t imm)
{
	struct host_op op = host_op(imm == (int8_t)imm ? 0x83 : 0x81, size);

	e_op_reg(e, &op, n, (unsigned)reg);
	e_le(e, (uint32_t)imm, imm == (int8_t)imm ? 1 : size == 2 ? 2 : 4);
}

static ALWAYS_INLINE void e_alu_load(struct emit *e, unsigned n, unsigned size, int reg,
				     struct host_mem m)
{
	struct host_op op = host_op(n << 3 | 3, size);

	e_op_mem(e, &op, (unsigned)reg, m);
}

static inline void e_test_mem8(struct emit *e, struct host_mem m, unsigned imm)
{
	struct host_op op = host_op(0xf6, 1);

	e_op_mem(e, &op, 0, m);
	e_byte(e, imm);
}

/* SHL 4, SHR 5, SAR 7. */
static inline void e_shift(struct emit *e, unsigned n, unsigned size, int reg, unsigned count)
{
	struct host_op op = host_op(0xc1, size);

	e_op_reg(e, &op, n, (unsigned)reg);
	e_byte(e, count);
}

static ALWAYS_INLINE void e_jmp_mem(struct emit *e, struct host_mem m)
{
	struct host_op op = host_op(0xff, 4);

	e_op_mem(e, &op, 4, m);
}

static inline void e_call_mem(struct emit *e, struct host_mem m)
{
	struct host_op op = host_op(0xff, 4);

	e_op_mem(e, &op, 2, m);
}

/* Jumps whose distance is filled in by e_here or e_link; conditions as in Jcc, or these. */
enum { E_JMP = -1, E_CALL = -2 };
static ALWAYS_INLINE uint8_t *e_jump(struct emit *e, int cc)
{
	if (cc >= 0)
		e_le(e, 0x0f | (0x80 | (unsigned)cc) << 8, 6);
	else
		e_le(e, cc == E_JMP ? 0xe9 : 0xe8, 5);
	return e->at;
}

/* One of so many bytes (SDM volume 2, table 4-12). */
#define LONGEST_NOP 9u
static inline void e_nop(struct emit *e, unsigned n)
{
	static const uint8_t nops[LONGEST_NOP + 1][LONGEST_NOP] = {
		{ 0 },
		{ 0x90 },
		{ 0x66, 0x90 },
		{ 0x0f, 0x1f, 0x00 },
		{ 0x0f, 0x1f, 0x40, 0 },
		{ 0x0f, 0x1f, 0x44, 0, 0 },
		{ 0x66, 0x0f, 0x1f, 0x44, 0, 0 },
		{ 0x0f, 0x1f, 0x80, 0, 0, 0, 0 },
		{ 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 },
		{ 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 },
	};

	memcpy(e->at, nops[n], sizeof(nops[n]));
	e->at += n;
}

/* A jump with its displacement aligned, so that it can change while other threads run here. */
static inline uint8_t *e_patchable_jump(struct emit *e, int cc)
{
	e_nop(e, (4 - (((uintptr_t)e->at + (cc >= 0 ? 2 : 1)) & 3)) & 3);
	return e_jump(e, cc);
}

/* The next instruction begins a line of the cache: a loop's head. */
static inline void e_align_line(struct emit *e)
{
	unsigned pad = -(uintptr_t)e->at & 63;

	for (; pad > LONGEST_NOP; pad -= LONGEST_NOP)
		e_nop(e, LONGEST_NOP);
	e_nop(e, pad);
}

/* Over less than 128 bytes. */
static inline uint8_t *e_short_jump(struct emit *e, int cc)
{
	e_byte(e, cc == E_JMP ? 0xeb : 0x70 | (unsigned)cc);
	e_byte(e, 0);
	return e->at;
}

static inline void e_here_short(const struct emit *e, uint8_t *jump)
{
	assert(e->at - jump < 128);
	jump[-1] = (uint8_t)(e->at - jump);
}

static inline void e_push(struct emit *e, int reg)
{
	if (reg & 8)
		e_byte(e, 0x41);
	e_byte(e, 0x50 | (reg & 7));
}

/* Sign-extended. */
static inline void e_push_imm(struct emit *e, int32_t imm)
{
	e_byte(e, 0x68);
	e_le(e, (uint32_t)imm, 4);
}

static inline void e_link(uint8_t *jump, const uint8_t *target)
{
	int32_t d = (int32_t)(target - jump);

	memcpy(jump - 4, &d, 4);
}

static inline void e_here(const struct emit *e, uint8_t *jump)
{
	e_link(jump, e->at);
}

static ALWAYS_INLINE void e_jump_to(struct emit *e, int cc, const uint8_t *target)
{
	struct emit to = *e;

	e_link(e_jump(&to, cc), target);
	*e = to;
}
