/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Emits one instruction. */
#include "accel/tcg/frontend/x86/translate.h"

/* The exception that using the instruction in this mode is, or -1. */
int refused(const struct tr *t, const struct insn *in)
{
	const struct insn_row *row = in->row;
	bool mmx = in->info->mmx, simd = in->info->simd;

	if (in->info->anywhere)
		return t->env->features >> row->feature & 1 ? -1 : 6;
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
	unsigned dst = in->reg4, size = in->operand_size;
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
	get_reg(t, T0, in->reg4);
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
	go_to_t0(t, NO_SITE);
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
	a.reg = in->reg4 & 15;
	for (unsigned i = 0; i < 2; i++)
		if (OPERAND_KIND(in->row->operand[i]) == OPK_S)
			a.reg = in->reg & 7; /* REX.R means nothing */
	a.rm = in->rm4 & 15;
	a.ext = in->reg & 3;
	a.size = (uint8_t)size;
	a.segment = in->mem || in->row->kind == K_OUTS ? in->segment & 15 : SEG_DS;
	a.mem = in->mem;
	a.rex_w = !!(in->rex & INSN_REX_W);
	a.length = in->len & 15;
	a.last = in->row->kind == K_IF && (t->i + 1 == t->n || t->mode & MODE_COUNT);
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
	a.reg = in->reg4 & 15;
	a.rm = in->rm4 & 15;
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

static ALWAYS_INLINE void translate_plain(struct tr *t, const struct insn *in)
{
	/* What may fault has the old flags in memory; with memory, so has the address check. */
	if (insn_mem_bytes(in)) {
		spend_flags(t);
	} else {
		if (may_fault_on_host(in))
			save_flags(t);
		flags_before(t, in);
	}
	translate_template(t, in);
	finish_flags(t, in);
}

void translate_one(struct tr *t, const struct insn *in)
{
	if (in->refused >= 0) {
		raise_here(t, (unsigned)in->refused);
		return;
	}
	/* Most are. */
	if (in->row->kind == K_T) {
		translate_plain(t, in);
		return;
	}
	/* The host would take bits that the guest's CPU does not have. */
	if (in->row->kind == K_LDMXCSR && tcg_host_mxcsr_has_more()) {
		translate_helper(t, in, helper_fpu, GOES_ON);
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
		translate_plain(t, in);
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
		go_to_t0(t, branch_site(t, 0));
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
