/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operands: registers, addresses, checked memory accesses, and the re-encoding of templates. */
#include "accel/tcg/frontend/x86/translate.h"

static const int8_t host_of[GPRS] = {
	[RAX] = HOST_RAX,  [RCX] = HOST_RCX,  [RDX] = HOST_RDX,	 [RBX] = HOST_RBX,
	[RSP] = GUEST_RSP, [RBP] = HOST_RBP,  [RSI] = HOST_RSI,	 [RDI] = HOST_RDI,
	[R8] = HOST_R8,	   [R9] = HOST_R9,    [R10] = HOST_NONE, [R11] = HOST_NONE,
	[R12] = HOST_R11,  [R13] = HOST_NONE, [R14] = HOST_NONE, [R15] = HOST_NONE,
};

int host_reg(unsigned guest)
{
	return host_of[guest];
}

/* The compiler does not make the loop a constant, and it is asked for often. */
#define IN_MEMORY (BIT(R10) | BIT(R11) | BIT(R13) | BIT(R14) | BIT(R15))

unsigned registers_in_memory(void)
{
	return IN_MEMORY;
}

__attribute__((constructor)) static void check_registers(void)
{
	for (unsigned i = 0; i < GPRS; i++)
		assert((host_of[i] == HOST_NONE) == (IN_MEMORY >> i & 1));
}

void get_reg(struct tr *t, int dst, unsigned guest)
{
	if (t1_holds(t, (int)guest)) {
		if (dst != T1)
			e_mov(&t->e, 8, dst, T1);
	} else if (host_of[guest] == HOST_NONE) {
		e_load(&t->e, 8, dst, ENV_GPR(guest));
	} else if (host_of[guest] != dst) {
		e_mov(&t->e, 8, dst, host_of[guest]);
	}
}

/* Writes 2, 4 or 8 bytes as an instruction of that size does. */
void put_reg(struct tr *t, unsigned guest, unsigned size, int src)
{
	int host = host_of[guest];

	if (size == 2) {
		struct host_op op = host_op(0x89, 2);

		if (host == HOST_NONE)
			e_store(&t->e, 2, ENV_GPR(guest), src);
		else
			e_op_reg(&t->e, &op, (unsigned)src, (unsigned)host);
	} else if (host == HOST_NONE) {
		if (size == 4)
			e_mov(&t->e, 4, src, src);
		e_store(&t->e, 8, ENV_GPR(guest), src);
	} else {
		e_mov(&t->e, size, host, src);
	}
}

void effective_address(struct tr *t, const struct insn *in, int dst, int64_t extra)
{
	struct emit *e = &t->e;
	unsigned size = in->address_size;
	int64_t disp = in->disp + extra;
	int base = in->base, index = in->index;
	int held = t->held_at == e->at ? (int)t->held : -1;

	if (in->rip_relative) {
		uint64_t va = t->next_rip + (uint64_t)disp;

		e_mov_imm(e, dst, size == 4 ? (uint32_t)va : va);
		return;
	}
	if (base < 0 && index < 0) {
		e_mov_imm(e, dst, (uint64_t)disp & ones(size));
		return;
	}
	if (base >= 0 && base == held &&
	    (index < 0 || index == held || host_of[index] != HOST_NONE)) {
		base = T1;
	} else if (base >= 0 && host_of[base] == HOST_NONE) {
		e_load(e, 8, dst, ENV_GPR(base));
		base = dst;
	} else if (base >= 0) {
		base = host_of[base];
	}
	if (index >= 0 && host_of[index] == HOST_NONE) {
		if (index != held)
			e_load(e, 8, T1, ENV_GPR(index));
		index = T1;
	} else if (index >= 0) {
		index = host_of[index];
	}
	if (disp != (int32_t)disp)
		disp = (int32_t)disp; /* `extra` wrapped around: only the low 32 bits count then */
	if (base >= 0 && index < 0 && disp == 0) {
		if (base != dst || size == 4)
			e_mov(e, size == 8 ? 8 : 4, dst, base);
	} else {
		e_lea(e, size == 8 ? 8 : 4, dst, mem_index(base, index, in->scale, (int32_t)disp));
	}
	if (size == 2)
		e_movzx16(e, dst, dst);
}

static unsigned size_index(unsigned size)
{
	return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
}

void add_segment(struct tr *t, unsigned segment, unsigned size, uint8_t **slow)
{
	struct emit *e = &t->e;

	*slow = NULL;
	if (mode_segment(t->mode, segment) == SEGMENT_FLAT)
		return;
	if (t->code_size == 8) {
		e_alu_load(e, 0, 8, T0, mem_gs(offsetof(struct tcg_env, seg_base) + 8 * segment));
		return;
	}
	if (mode_segment(t->mode, segment) == SEGMENT_SLOW || size > 8) {
		*slow = e_jump(e, -1);
		return;
	}
	e_alu_load(
		e, 7, 4, T0,
		mem_gs(offsetof(struct tcg_env, seg_last) + 16 * segment + 4 * size_index(size)));
	*slow = e_jump(e, 7); /* above */
	e_alu_load(e, 0, 4, T0, mem_gs(offsetof(struct tcg_env, seg_base) + 8 * segment));
}

/*
 * LOCK costs, and alone nobody sees it. On the stack it is a barrier, which threads of devices may
 * count on.
 */
bool keeps_lock(const struct tr *t, const struct insn *in)
{
	return in->lock && (t->env->world->envs > 1 || in->base == RSP);
}

struct stub *new_stub(struct tr *t, enum stub_kind kind)
{
	struct stub *s = &t->stub[t->stubs++];

	assert(t->stubs < MOST_STUBS);
	/* Not all of it: there are many, and each kind has its own fields. */
	s->kind = (uint8_t)kind;
	s->jumps[0] = s->jumps[1] = NULL;
	s->done = 0;
	s->xored = s->save = s->described = false;
	return s;
}

static uint32_t add_site(struct tr *t, const struct site *s)
{
	uint32_t n = tcg_site_new(t->env->cache, s);

	t->no_room |= n == UINT32_MAX;
	return n;
}

uint32_t new_site(struct tr *t, unsigned segment, unsigned size, bool read, bool write,
		  bool aligned)
{
	struct site s = {
		.block = t->b->index,
		.offset = (uint16_t)(t->rip - t->b->rip),
		.length = (uint8_t)(t->next_rip - t->rip),
		.size = (uint8_t)size,
		.segment = (uint8_t)segment,
		.read = read,
		.write = write,
		.aligned = aligned,
		.locked = t->insn[t->i].lock || t->insn[t->i].row->kind == K_XCHG,
		.fpu_waits = t->insn[t->i].info->fpu_waits,
		.ends = t->insn[t->i].info->ends,
	};
	if (t->recover)
		s.flags = t->source;
	s.flags_after = insn_flags(&t->insn[t->i]).def != 0;
	return add_site(t, &s);
}

uint32_t branch_site(struct tr *t, int32_t moved)
{
	struct site s = {
		.block = t->b->index,
		.offset = (uint16_t)(t->rip - t->b->rip),
		.length = (uint8_t)(t->next_rip - t->rip),
		.flags.imm = moved,
	};

	return add_site(t, &s);
}

/* T1 = the index of the TLB entry for T0. */
static ALWAYS_INLINE void tlb_index(struct emit *e, int tlb, bool pext)
{
	struct host_op op = { .opcode = OPC_0F38 | 0xf7, .vex = true, .vvvv = (uint8_t)tlb };

	if (pext) {
		op.opcode = OPC_0F38 | 0xf5;
		op.prefix = 0xf3;
		op.vvvv = T0;
		e_op_reg(e, &op, T1, (unsigned)tlb);
	} else {
		e_op_reg(e, &op, T1, T0);
	}
}

struct host_mem tlb_tag(int tlb)
{
	return mem_index(tlb, T1, 3, -tcg_tlb_bias());
}

/* With constants for `tlb` and `pext` nearly all of the bytes are known. */
static ALWAYS_INLINE uint8_t *emit_check(struct emit *at, int tlb, bool pext, unsigned size)
{
	int32_t bias = pext ? 0 : TLB_BEXTR_BIAS;
	struct emit e = *at;
	uint8_t *jump;

	tlb_index(&e, tlb, pext);
	e_alu_load(&e, 6, 8, T0, mem_index(tlb, T1, 3, -bias));
	e_alu_imm(&e, 7, 8, T0, (int32_t)(4096 - size));
	jump = e_jump(&e, 7); /* above */
	e_load(&e, 8, T1, mem_index(tlb, T1, 3, TLB_ENTRIES * 8 - bias));
	*at = e;
	return jump;
}

void check_access(struct tr *t, struct stub *s, int tlb, unsigned size)
{
	struct emit *e = &t->e;

	s->xored = true;
	if (tcg_pext_is_fast)
		s->jumps[0] = tlb == LOAD_TLB ? emit_check(e, LOAD_TLB, true, size)
					      : emit_check(e, STORE_TLB, true, size);
	else
		s->jumps[0] = tlb == LOAD_TLB ? emit_check(e, LOAD_TLB, false, size)
					      : emit_check(e, STORE_TLB, false, size);
}

void access_memory(struct tr *t, const struct insn *in, unsigned segment, unsigned size, bool read,
		   bool write, memory_op op, int arg)
{
	struct emit *e = &t->e;
	int tlb = write ? STORE_TLB : LOAD_TLB;
	struct stub *s;
	uint8_t *slow;

	add_segment(t, segment, size, &slow);
	s = new_stub(t, write ? STUB_STORE : STUB_LOAD);
	s->jumps[1] = slow;
	s->retry = e->at;
	if (t->mode & MODE_REFERENCE) {
		s->jumps[0] = e_jump(e, -1);
	} else {
		check_access(t, s, tlb, size);
	}
	s->after = e->at;
	s->site = new_site(t, segment, size, read, write, in && in->mem && insn_mem_aligned(in));
	s->op = op;
	s->in = in;
	s->arg = arg;
	op(t, in, arg);
	if (write) {
		s->after = e->at;
		forget_held(t);
	}
}

/* How the operands of a template are laid out for the host. */
struct layout {
	int reg, rm, vvvv; /* host numbers; -1 unused */
	int opcode_reg;
	bool byte_reg, byte_rm, high_reg, high_rm;
	bool is4;
	/* Guest registers that live in temporaries meanwhile. */
	int temp_guest[3], temp_host[3];
	bool temp_write[3], temp_read[3];
	unsigned temps;
	const int8_t *from; /* which those are */
};

static int place(struct layout *l, unsigned guest, bool read, bool write)
{
	if (host_of[guest] != HOST_NONE)
		return host_of[guest];
	for (unsigned i = 0; i < l->temps; i++) {
		if (l->temp_guest[i] == (int)guest) {
			l->temp_read[i] |= read;
			l->temp_write[i] |= write;
			return l->temp_host[i];
		}
	}
	l->temp_guest[l->temps] = (int)guest;
	l->temp_host[l->temps] = l->from[l->temps];
	l->temp_read[l->temps] = read;
	l->temp_write[l->temps] = write;
	return l->temp_host[l->temps++];
}

static void operand_access(const struct insn *in, unsigned i, bool *read, bool *write)
{
	unsigned a = in->row->access;

	*write = (i == 0 && a != ACC_R && a != ACC_N) || (i == 1 && (a == ACC_WW || a == ACC_W2));
	*read = !*write || a == ACC_RW || a == ACC_WW;
}

static void lay_out(const struct insn *in, bool grouped, struct layout *l)
{
	static const int8_t all[] = { T1, T0, STORE_TLB }, not_t0[] = { T1, STORE_TLB, LOAD_TLB };
	l->reg = l->rm = l->vvvv = l->opcode_reg = -1;
	l->byte_reg = l->byte_rm = l->high_reg = l->high_rm = l->is4 = false;
	l->temps = 0;
	l->from = grouped || in->mem ? not_t0 : all;
	for (unsigned i = 0; i < 4 && in->row->operand[i]; i++) {
		unsigned kind = OPERAND_KIND(in->row->operand[i]);
		unsigned size = insn_size(in, OPERAND_SIZE(in->row->operand[i]));
		bool byte = size == 1, read, write;

		operand_access(in, i, &read, &write);
		/* Parts of a register that are not written stay. */
		read |= write && size < 4;
		switch (kind) {
		case OPK_G:
			l->byte_reg = byte;
			if (byte && !in->has_rex && in->reg >= 4) {
				l->high_reg = true;
				l->reg = in->reg;
			} else {
				l->reg = place(l, in->reg4, read, write);
			}
			break;
		case OPK_E:
		case OPK_R:
			if (in->mem)
				break;
			l->byte_rm = byte;
			if (byte && !in->has_rex && in->rm >= 4) {
				l->high_rm = true;
				l->rm = in->rm;
			} else {
				l->rm = place(l, in->rm4, read, write);
			}
			break;
		case OPK_B:
			l->vvvv = place(l, in->vvvv, read, write);
			break;
		case OPK_Z:
			l->byte_rm = byte;
			if (byte && !in->has_rex && (in->opcode & 7) >= 4) {
				l->high_rm = true;
				l->opcode_reg = in->opcode & 7;
			} else {
				l->opcode_reg = place(l, opcode_reg(in), read, write);
			}
			break;
		case OPK_V:
			l->reg = in->reg4;
			break;
		case OPK_P:
			l->reg = in->reg;
			break;
		case OPK_W:
		case OPK_U:
			if (!in->mem)
				l->rm = in->rm4;
			break;
		case OPK_Q:
		case OPK_N:
		case OPK_F:
			if (!in->mem)
				l->rm = in->rm;
			break;
		case OPK_H:
			l->vvvv = in->vvvv;
			break;
		case OPK_L:
			l->is4 = true;
			break;
		default:
			break;
		}
	}
	if (in->has_modrm) {
		if (l->reg < 0)
			l->reg = in->reg; /* an opcode extension */
		if (l->rm < 0 && !in->mem)
			l->rm = in->rm;
	}
}

/* Swaps AL and AH, or the same of rcx, rdx, rbx; flags stay. */
static void swap_bytes(struct tr *t, unsigned high)
{
	struct host_op op = { .opcode = 0x86, .no_rex = true };

	e_op_reg(&t->e, &op, high, high - 4);
}

/* PCMPESTRM and PCMPESTRI: the size of the lengths in rAX and rDX. */
static bool counts_by_w(const struct insn_row *row)
{
	return row->map == MAP_0F3A && (row->opcode == 0x60 || row->opcode == 0x61);
}

/* REX.W or VEX.W of the host's instruction. */
static bool template_w(const struct tr *t, const struct insn *in, bool by_prefix)
{
	if (by_prefix)
		return in->operand_size == 8;
	/* It is part of the opcode unless a general register's size depends on it. */
	if (in->vex && !in->info->by_w && !counts_by_w(in->row))
		return in->vex_w;
	return in->rex & INSN_REX_W && t->code_size == 8;
}

static ALWAYS_INLINE struct host_op template(const struct tr *t, const struct insn *in)
{
	static const uint16_t maps[] = { OPC_1, OPC_0F, OPC_0F38, OPC_0F3A };
	bool by_prefix = in->info->by_prefix;

	return (struct host_op) {
		.opcode = (uint16_t)(maps[in->row->map] |
				     (uint8_t)(in->info->opcode_word >>
					       8 * (in->info->opcode_bytes - 1))),
		.prefix = in->info->host_prefix,
		.lock = keeps_lock(t, in),
		.opsize16 = by_prefix && in->operand_size == 2,
		.w = template_w(t, in, by_prefix),
		.vex = in->vex,
		.l = in->l,
	};
}

/* The same as bytes, up to ModRM; no VEX. */
static ALWAYS_INLINE struct e_word template_bytes(const struct tr *t, const struct insn *in,
						  unsigned rex)
{
	const struct insn_row_info *info = in->info;
	bool opsize16 = info->by_prefix && in->operand_size == 2;
	struct e_word w = { 0 };

	if (unlikely(keeps_lock(t, in)))
		e_add(&w, 0xf0);
	if (opsize16)
		e_add(&w, 0x66);
	if (info->host_prefix && !(info->host_prefix == 0x66 && opsize16))
		e_add(&w, info->host_prefix);
	if (template_w(t, in, info->by_prefix))
		rex |= 8;
	if (rex)
		e_add(&w, 0x40 | rex);
	w.bits |= (uint64_t)info->opcode_word << w.shift;
	w.shift += 8 * info->opcode_bytes;
	return w;
}

/* Most instructions have operands that ModRM names and the host's registers hold; false: this has
 * others. */
static ALWAYS_INLINE bool simple_op(struct tr *t, const struct insn *in, bool with_flags)
{
	const struct insn_row_info *info = in->info;
	unsigned reg = in->reg, rm = in->rm;
	bool memory = insn_mem_bytes(in), held = t->held_at == t->e.at && (!memory || t->joined);
	struct emit *e = &t->e;
	struct e_word w;

	if (!info->simple || !in->has_modrm || in->vex)
		return false;
	if (info->has_g) {
		if (host_of[in->reg4] == HOST_NONE)
			return false;
		reg = (unsigned)host_of[in->reg4];
	}
	if (info->has_e && !in->mem) {
		if (host_of[in->rm4] == HOST_NONE)
			return false;
		rm = (unsigned)host_of[in->rm4];
	}
	if (memory) {
		/* Processors recognize stores that are read again by a base register alone. */
		bool joined = !t->grouped && (with_flags || insn_mem_written(in));
		struct host_mem m = mem_at(T0, 0);

		if (joined)
			e_lea(e, 8, T0, mem_index(T0, T1, 0, 0));
		else
			m = checked_memory(t);
		if (with_flags)
			restore_flags(e);
		e_put(e, template_bytes(t, in, e_mem_rex(reg, m)));
		e_modrm_mem(e, reg, m);
	} else {
		if (with_flags)
			restore_flags(e);
		w = template_bytes(t, in, (reg & 8) >> 1 | (rm & 8) >> 3);
		e_add(&w, 0xc0 | (reg & 7) << 3 | (rm & 7));
		e_put(e, w);
	}
	e_le(e, in->imm, in->imm_bytes);
	if (held && !with_flags)
		t->held_at = e->at;
	return true;
}

static __attribute__((noinline)) void other_op(struct tr *t, const struct insn *in, int with_flags)
{
	struct emit *e = &t->e;
	const struct insn_row *row = in->row;
	bool memory = insn_mem_bytes(in) != 0, needs_rex, joined;
	struct host_op op;
	struct layout l;
	int swapped = 0, held = t->held_at == e->at && (!memory || t->joined) ? (int)t->held : -1;

	op = template(t, in);
	lay_out(in, t->grouped, &l);
	/* Processors recognize stores that are read again by a base register alone. */
	joined = !t->grouped && (l.temps || with_flags || insn_mem_written(in));
	if (memory && joined)
		e_lea(e, 8, T0, mem_index(T0, T1, 0, 0));
	if (with_flags)
		restore_flags(e);
	for (unsigned i = 0; i < l.temps; i++)
		if (l.temp_read[i] && !(l.temp_host[i] == T1 && t1_holds(t, l.temp_guest[i])))
			e_load(e, 8, l.temp_host[i], ENV_GPR(l.temp_guest[i]));
	/* AH to BH cannot be named beside registers that need a REX. */
	needs_rex = memory || op.w || l.reg >= 8 || l.rm >= 8 || l.opcode_reg >= 8 ||
		    (l.byte_reg && !l.high_reg && l.reg >= 4) ||
		    (l.byte_rm && !l.high_rm && l.rm >= 4);
	if (l.high_reg && needs_rex) {
		swapped = l.reg;
		l.reg -= 4;
	} else if (l.high_rm && needs_rex) {
		swapped = l.rm;
		l.rm -= 4;
	}
	op.no_rex = (l.high_reg || l.high_rm) && !needs_rex;
	op.byte_reg = l.byte_reg;
	op.byte_rm = l.byte_rm;
	op.vvvv = l.vvvv >= 0 ? (uint8_t)l.vvvv : 0;
	if (swapped)
		swap_bytes(t, (unsigned)swapped);
	if (row->kind == K_INCDEC && !in->has_modrm) {
		/* 40h to 4Fh are REX here. */
		op.opcode = 0xff;
		e_op_reg(e, &op, in->opcode >> 3 & 1, (unsigned)l.opcode_reg);
	} else if (!in->has_modrm) {
		unsigned rex = 0;

		if (l.opcode_reg >= 0) {
			op.opcode = (uint16_t)((op.opcode & ~7u) | (l.opcode_reg & 7));
			rex = l.opcode_reg >= 8;
			if (l.byte_rm && !l.high_rm && l.opcode_reg >= 4)
				rex |= 0x40;
		}
		e_opcode(e, &op, rex);
	} else if (memory) {
		e_op_mem(e, &op, (unsigned)l.reg, joined ? mem_at(T0, 0) : checked_memory(t));
	} else {
		e_op_reg(e, &op, (unsigned)l.reg, (unsigned)l.rm);
	}
	/* Only 64-bit mode has registers 8 to 15 to name here. */
	e_le(e, l.is4 && t->code_size != 8 ? in->imm & 0x7f : in->imm, in->imm_bytes);
	if (swapped)
		swap_bytes(t, (unsigned)swapped);
	for (unsigned i = 0; i < l.temps; i++)
		if (l.temp_write[i])
			e_store(e, 8, ENV_GPR(l.temp_guest[i]), l.temp_host[i]);
	for (unsigned i = 0; i < l.temps; i++) {
		if (l.temp_host[i] == STORE_TLB)
			e_load(e, 8, STORE_TLB, ENV(store_base));
		if (l.temp_host[i] == LOAD_TLB)
			e_load(e, 8, LOAD_TLB, ENV(load_base));
	}
	if (l.temps && l.from[0] == T1)
		held = l.temp_guest[0];
	else if (with_flags)
		held = -1;
	if (held >= 0) {
		t->held = (unsigned)held;
		t->held_at = e->at;
	}
}

void template_op(struct tr *t, const struct insn *in, int with_flags)
{
	if (!simple_op(t, in, with_flags))
		other_op(t, in, with_flags);
}

void translate_template(struct tr *t, const struct insn *in)
{
	unsigned bytes = insn_mem_bytes(in);
	struct flag_class f = insn_flags(in);

	if (!bytes) {
		template_op(t, in, 0);
		return;
	}
	effective_address(t, in, T0, 0);
	access_memory(t, in, in->segment, bytes, insn_mem_read(in), insn_mem_written(in),
		      template_op, f.use || (f.def && f.def != FLAGS_ALL));
}
