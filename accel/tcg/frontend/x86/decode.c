/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 decoder: prefixes, the table's row, ModRM, displacement, immediates (SDM volume 2,
 * chapter 2). */
#include <string.h>

#include "accel/tcg/frontend/x86/insn.h"
#include "cpu/x86/cpu.h"

#define LONGEST 15

/* What there is to know of an opcode before its rows. */
enum {
	SLOT_PREFIX = BIT(0),	 /* it is none, but a prefix; REX in 64-bit code only */
	SLOT_MODRM = BIT(1),	 /* ModRM follows */
	SLOT_REGISTERS = BIT(2), /* ModRM.mod is taken for 3 */
	SLOT_BY_REG = BIT(3),	 /* a row for each of ModRM.reg's values, from 0 on */
};
/* Rows by [VEX][map][opcode]: `count` of `rows` from `first` on, in the table's order. */
static struct slot {
	uint16_t first;
	uint8_t count;
	uint8_t how; /* SLOT_ bits */
} slots[2][MAPS][256];
/* A copy of the table: what decoding looks at is seldom in the cache, so it is one line. */
static struct sorted_row {
	_Alignas(64) struct insn_row row;
	struct insn_row_info info;
} rows[2048];
static_assert(sizeof(struct sorted_row) == 64, "a line of the host's cache");
/* By operand size (2, 4, 8), REX.W and L. */
static uint16_t sizes_of[3 * 2 * 2][32];
static_assert(SZ_CODES <= 32, "size codes");
/* By code size (2, 4, 8), insn_row_info.wide, REX.W and 66h: the operand size, and the first of
 * sizes_of that have it. */
static struct width {
	uint8_t size, sizes;
} widths[3 * 3 * 2 * 2];

static bool operand_in_modrm(unsigned kind)
{
	return (kind >= OPK_E && kind <= OPK_R) || (kind >= OPK_V && kind <= OPK_W) ||
	       kind == OPK_U || (kind >= OPK_P && kind <= OPK_D) || kind == OPK_F;
}

static bool row_has_modrm(const struct insn_row *r)
{
	if (r->ext || r->mod != MOD_ANY || r->rm)
		return true;
	for (unsigned i = 0; i < 4; i++)
		if (operand_in_modrm(OPERAND_KIND(r->operand[i])))
			return true;
	return false;
}

/* Kinds of what read_operands finds. */
enum { IN_MODRM, ONE_IMMEDIATE, ONE_SIGNED, ONE_JUMP, OTHERS };

static unsigned operands_beside_modrm(const struct insn_row *row)
{
	unsigned found = IN_MODRM;

	for (unsigned i = 0; i < 4; i++) {
		switch (OPERAND_KIND(row->operand[i])) {
		case OPK_I:
			found = found ? OTHERS : ONE_IMMEDIATE;
			break;
		case OPK_SI:
			found = found ? OTHERS : ONE_SIGNED;
			break;
		case OPK_J:
			found = found ? OTHERS : ONE_JUMP;
			break;
		case OPK_L:
		case OPK_A:
		case OPK_O:
		case OPK_X:
		case OPK_H:
		case OPK_B:
		case OPK_S:
		case OPK_C:
		case OPK_D:
			return OTHERS;
		default:
			break;
		}
	}
	return found;
}

static unsigned names(unsigned kind)
{
	switch (kind) {
	case OPK_G:
		return NAMES_REG;
	case OPK_E:
		return NAMES_RM;
	case OPK_R:
		return NAMES_RM_ONLY;
	case OPK_Z:
		return NAMES_OPCODE;
	case OPK_B:
		return NAMES_VVVV;
	default:
		return 0;
	}
}

/* Written registers that are no operands. */
static unsigned implied_registers(const struct insn_row *row)
{
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

/* The prefixes that count for a row, as a number. */
static unsigned prefixes_of(unsigned rep, bool opsize)
{
	return (rep ? (rep & 1) + 1 : 0) << 1 | opsize;
}

static bool prefix_fits(unsigned prefix, unsigned rep, bool opsize)
{
	switch (prefix) {
	case PFX_ANY:
		return true;
	case PFX_NP:
		return !rep && !opsize;
	case PFX_66:
		return !rep && opsize;
	case PFX_F3:
		return rep == 0xf3;
	case PFX_F2:
		return rep == 0xf2;
	default:
		return !rep;
	}
}

static void find_registers(const struct insn_row *row, struct insn_row_info *info)
{
	info->written = (uint16_t)implied_registers(row);
	for (unsigned i = 0; i < 4; i++) {
		unsigned kind = OPERAND_KIND(row->operand[i]), access = row->access;
		uint8_t name = (uint8_t)names(kind);

		info->names |= name;
		if (OPERAND_SIZE(row->operand[i]) == SZ_b)
			info->names_bytes |= name;
		if (i == 0 ? access != ACC_R && access != ACC_N
			   : i == 1 && (access == ACC_WW || access == ACC_W2)) {
			info->names_written |= name;
			if (kind == OPK_KA || kind == OPK_KD)
				info->written |= BIT(kind == OPK_KA ? RAX : RDX);
		}
	}
}

static void find_memory(const struct insn_row *row, struct insn_row_info *info)
{
	unsigned access = row->access;

	for (unsigned i = 0; i < 4 && access != ACC_N; i++) {
		unsigned kind = OPERAND_KIND(row->operand[i]);

		if (kind != OPK_E && kind != OPK_M && kind != OPK_W && kind != OPK_Q &&
		    kind != OPK_O)
			continue;
		info->mem = OPERAND_SIZE(row->operand[i]);
		info->mem_written = (i == 0 && access != ACC_R) ||
				    (i == 1 && (access == ACC_WW || access == ACC_W2));
		info->mem_read = !(i == 0 && access == ACC_W);
		return;
	}
}

static unsigned find_join(const struct insn_row *row)
{
	switch (row->kind) {
	case K_NOP:
		return JOIN_NOP;
	case K_LEA:
		return JOIN_LEA;
	case K_CMPXCHG:
		return JOIN_CMPXCHG;
	case K_T:
	case K_MOVSXD:
	case K_INCDEC:
	case K_BSWAP:
		return JOIN_TEMPLATE;
	case K_PUSH:
		return JOIN_PUSH;
	case K_POP:
		return JOIN_POP;
	default:
		return JOIN_NOT;
	}
}

/* FNSTCW and FNSTSW do not wait; CVTPI2PS and CVTPI2PD from memory are no MMX instructions. */
static bool waits_for_fpu(const struct insn_row *row)
{
	if (row->attr & A_FPU)
		return strncmp(row->name, "fn", 2) != 0;
	return !(row->map == MAP_0F && row->opcode == 0x2a) &&
	       (OPERAND_KIND(row->operand[0]) == OPK_P || OPERAND_KIND(row->operand[1]) == OPK_P ||
		OPERAND_KIND(row->operand[1]) == OPK_Q);
}

/* Instructions of which written_registers tells all, and that do nothing else of interest. */
static bool is_plain(unsigned kind)
{
	switch (kind) {
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

static bool ends_block(unsigned kind)
{
	switch (kind) {
	case K_JMP:
	case K_JMP_R:
	case K_CALL:
	case K_CALL_R:
	case K_RET:
	case K_LOOP:
	case K_JCXZ:
	case K_JMPF:
	case K_JMPF_M:
	case K_CALLF:
	case K_CALLF_M:
	case K_IRET:
	case K_RETF:
	case K_SYSCALL:
	case K_SYSRET:
	case K_HLT:
	case K_MOVS:
	case K_STOS:
		return true;
	default:
		return false;
	}
}

static void find_opcode(const struct insn_row *row, struct insn_row_info *info)
{
	static const uint8_t prefixes[] = {
		[PFX_66] = 0x66, [PFX_F3] = 0xf3, [PFX_F2] = 0xf2, [PFX_NF] = 0
	};
	/* 82h is an alias that 64-bit mode lacks. */
	unsigned opcode = row->map == MAP_1 && row->opcode == 0x82 ? 0x80 : row->opcode;

	info->host_prefix = prefixes[row->prefix];
	switch (row->map) {
	case MAP_1:
		info->opcode_word = opcode;
		info->opcode_bytes = 1;
		break;
	case MAP_0F:
		info->opcode_word = 0x0f | opcode << 8;
		info->opcode_bytes = 2;
		break;
	default:
		info->opcode_word =
			0x0f | (row->map == MAP_0F38 ? 0x38u : 0x3au) << 8 | opcode << 16;
		info->opcode_bytes = 3;
	}
}

static struct insn_row_info find_info(const struct insn_row *row)
{
	struct insn_row_info info = {
		.mmx = row->feature == FEAT_MMX,
		.simd = row->kind == K_LDMXCSR || row->kind == K_STMXCSR || row->kind == K_VZERO,
		.simple = true,
		.operands = (uint8_t)operands_beside_modrm(row),
		.flags = x86_flag_class[row->flags],
		.flags_vary = row->flags == FL_CC || row->flags == FL_SHIFT ||
			      row->flags == FL_DSHIFT || row->flags == FL_ROT ||
			      row->flags == FL_RCX,
		.join = (uint8_t)find_join(row),
		.wide = row->attr & A_F64   ? 2
			: row->attr & A_D64 ? 1
					    : 0,
		.fpu_waits = waits_for_fpu(row),
		.ends = row->kind == K_T || row->kind == K_MOVBE || row->kind == K_CMPXCHG8B ||
			row->kind == K_MOFFS,
		.host_faults = row->flags == FL_DIV || row->attr & A_FPU || row->kind == K_FWAIT ||
			       (row->feature >= FEAT_MMX && row->feature <= FEAT_GFNI),
		.plain = is_plain(row->kind),
		.ends_block = ends_block(row->kind),
	};

	for (unsigned i = 0; i < 4; i++) {
		unsigned kind = OPERAND_KIND(row->operand[i]), size = OPERAND_SIZE(row->operand[i]);
		info.mmx |= kind == OPK_P || kind == OPK_Q || kind == OPK_N;
		info.simd |= kind == OPK_V || kind == OPK_W || kind == OPK_U || kind == OPK_H;
		info.has_e |= kind == OPK_E;
		info.has_g |= kind == OPK_G;
		if (kind == OPK_E || kind == OPK_G)
			info.simple &= size != SZ_b;
		else
			info.simple &= kind == OPK_NONE || kind == OPK_M || kind == OPK_I ||
				       kind == OPK_SI || kind == OPK_KC || kind == OPK_ONE;
		info.by_prefix |= size == SZ_v || size == SZ_z;
		info.by_w |= size == SZ_y;
		if (kind == OPK_I || kind == OPK_SI || kind == OPK_J)
			info.imm = (uint8_t)size;
	}
	for (unsigned i = 0; i < 6 && !row->vex; i++)
		if (prefix_fits(row->prefix, i < 2 ? 0 : i < 4 ? 0xf2 : 0xf3, i & 1))
			info.prefixes |= (uint8_t)BIT(i);
	if (row->vex)
		info.prefixes = (uint8_t)BIT(row->prefix);
	find_registers(row, &info);
	info.writes_bytes = info.names_bytes & info.names_written;
	find_memory(row, &info);
	find_opcode(row, &info);
	info.fits = !(row->attr & (A_I64 | A_O64)) && !row->ext && !row->rm &&
		    row->mod == MOD_ANY && row->w == W_ANY && row->l == L_ANY;
	info.special =
		row->kind == K_GATHER || (row->vex && row->l == L_ANY && row->map == MAP_0F38 &&
					  row->feature != FEAT_AVX && row->feature != FEAT_AVX2 &&
					  row->feature != FEAT_FMA && row->feature != FEAT_F16C);
	info.anywhere = !(row->attr & (A_PM | A_L1_AVX2 | A_CPL0 | A_FPU)) && !info.mmx &&
			!info.simd && !row->vex;
	info.always = info.anywhere && row->feature == FEAT_BASE;
	info.fpu = info.simd || info.mmx || row->attr & A_FPU;
	return info;
}

static uint16_t size_of(unsigned code, unsigned operand_size, bool w, unsigned l)
{
	static const uint8_t fixed[] = { [SZ_b] = 1,   [SZ_w] = 2,   [SZ_d] = 4, [SZ_q] = 8,
					 [SZ_dq] = 16, [SZ_qq] = 32, [SZ_t] = 10 };

	switch (code) {
	case SZ_v:
		return (uint16_t)operand_size;
	case SZ_z:
		return (uint16_t)MIN_OF(operand_size, 4u);
	case SZ_y:
		return w ? 8 : 4;
	case SZ_x:
		return (uint16_t)(16u << l);
	case SZ_h:
		return (uint16_t)(8u << l);
	case SZ_k:
		return (uint16_t)(4u << l);
	case SZ_e:
		return (uint16_t)(2u << l);
	case SZ_g:
		return operand_size == 8 ? 8 : 4;
	case SZ_s:
		return 10;
	case SZ_p:
		return (uint16_t)(operand_size + 2u);
	case SZ_a:
		return (uint16_t)(operand_size * 2u);
	case SZ_env:
		return operand_size == 2 ? 14 : 28;
	case SZ_fsv:
		return operand_size == 2 ? 94 : 108;
	case SZ_fx:
		return 512;
	case SZ_xs:
		return 576;
	case SZ_yy:
		return w ? 16 : 8;
	default:
		return code < ARRAY_LEN(fixed) ? fixed[code] : 0;
	}
}

/* The operand size of 64-bit code. */
static unsigned wide_size(unsigned wide, bool w, bool opsize)
{
	return w || wide == 2 ? 8 : opsize ? 2 : wide ? 8 : 4;
}

__attribute__((constructor)) static void sort_rows(void)
{
	static const uint8_t prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
					    0x66, 0x67, 0xf0, 0xf2, 0xf3 };
	unsigned n = 0;

	assert(x86_row_count <= ARRAY_LEN(rows));
	for (unsigned i = 0; i < x86_row_count; i++) {
		const struct insn_row *r = &x86_rows[i];
		struct slot *s = &slots[r->vex][r->map][r->opcode];

		s->count++;
		s->how |= row_has_modrm(r) ? SLOT_MODRM : 0;
		s->how |= r->kind >= K_MOVCR_R && r->kind <= K_MOVDR_W ? SLOT_REGISTERS : 0;
	}
	for (unsigned i = 0; i < ARRAY_LEN(prefixes); i++)
		slots[0][MAP_1][prefixes[i]].how |= SLOT_PREFIX;
	for (unsigned i = 0x40; i < 0x50; i++)
		slots[0][MAP_1][i].how |= SLOT_PREFIX;
	for (unsigned i = 0; i < ARRAY_LEN(sizes_of) * SZ_CODES; i++) {
		unsigned code = i % SZ_CODES, of = i / SZ_CODES;

		sizes_of[of][code] = size_of(code, 2u << of / 4, of >> 1 & 1, of & 1);
	}
	for (unsigned i = 0; i < ARRAY_LEN(widths); i++) {
		bool opsize = i & 1, w = i & 2, code64 = i / 12 == 2;
		unsigned size = code64	 ? wide_size(i / 4 % 3, w, opsize)
				: opsize ? 4 - 2 * (i / 12)
					 : 2 + 2 * (i / 12);

		widths[i] = (struct width) { (uint8_t)size, (uint8_t)(size / 4 * 4 + w * 2u) };
	}
	for (unsigned i = 0; i < 2 * MAPS * 256; i++) {
		unsigned vex = i / (MAPS * 256), map = i / 256 % MAPS, opcode = i % 256;

		slots[vex][map][opcode].first = (uint16_t)n;
		n += slots[vex][map][opcode].count;
		slots[vex][map][opcode].count = 0;
	}
	for (unsigned i = 0; i < x86_row_count; i++) {
		const struct insn_row *r = &x86_rows[i];
		struct slot *s = &slots[r->vex][r->map][r->opcode];

		rows[s->first + s->count++] =
			(struct sorted_row) { .row = *r, .info = find_info(r) };
	}
	for (unsigned i = 0; i < 2 * MAPS * 256; i++) {
		struct slot *s = &slots[i / (MAPS * 256)][i / 256 % MAPS][i % 256];
		bool by_reg = s->count > 1;

		for (unsigned k = 0; k < s->count; k++)
			by_reg &= rows[s->first + k].row.ext == k + 1;
		s->how |= by_reg ? SLOT_BY_REG : 0;
	}
}

/* What is read beyond the end is 0; whether that happened is asked once, at the end: up to there
 * an instruction with all that it can have reads so much. */
#define MOST_READ 48
struct reader {
	const uint8_t *at;
};

static uint8_t next(struct reader *r)
{
	return *r->at++;
}

static int32_t next_4(struct reader *r)
{
	int32_t v;

	memcpy(&v, r->at, sizeof(v));
	r->at += sizeof(v);
	return v;
}

/* Not wider than need be: the processor finds two stores in one load only when they are done. */
static uint64_t next_le(struct reader *r, unsigned size)
{
	uint64_t v;

	if (likely(size == 1))
		return next(r);
	if (likely(size == 4))
		return (uint32_t)next_4(r);
	memcpy(&v, r->at, sizeof(v));
	r->at += size;
	return v & ones(size);
}

static int64_t next_signed(struct reader *r, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	if (likely(size == 1))
		return (int8_t)next(r);
	if (likely(size == 4))
		return next_4(r);
	return size ? (int64_t)(next_le(r, size) << shift) >> shift : 0;
}

/* Prefixes from `b` on, which is one of them or, outside of 64-bit code, the opcode 40h to 4Fh; up
 * to the opcode's first byte, which is returned. */
static uint8_t read_prefixes(struct reader *r, struct insn *in, uint8_t b, unsigned code_size,
			     const uint8_t *longest)
{
	for (;; b = next(r)) {
		if (!(slots[0][MAP_1][b].how & SLOT_PREFIX) || r->at > longest)
			return b;
		switch (b) {
		case 0x66:
			in->opsize = true;
			break;
		case 0x67:
			in->addrsize = true;
			break;
		case 0xf0:
			in->lock = true;
			break;
		case 0xf2:
		case 0xf3:
			in->rep = b;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			if (code_size != 8)
				in->segment_override = (b >> 3) & 3;
			break;
		case 0x64:
		case 0x65:
			in->segment_override = b == 0x64 ? SEG_FS : SEG_GS;
			break;
		default:
			if (code_size != 8)
				return b;
			in->rex = b & 15;
			in->has_rex = true;
			continue;
		}
		/* A REX that is not the last prefix is ignored. */
		in->rex = 0;
		in->has_rex = false;
	}
}

/* After C4 or C5; false if it is not a VEX prefix or one that cannot be. */
static bool read_vex(struct reader *r, struct insn *in, uint8_t first, unsigned code_size,
		     unsigned *map, unsigned *prefix)
{
	static const uint8_t prefixes[] = { PFX_NP, PFX_66, PFX_F3, PFX_F2 };
	uint8_t a = next(r), b;

	in->vex = true;
	if (first == 0xc5) {
		b = a;
		*map = MAP_0F;
		in->rex = ~a >> 5 & INSN_REX_R;
	} else {
		b = next(r);
		*map = a & 31;
		in->rex = (uint8_t)((~a >> 5 & 7) | (b >> 4 & INSN_REX_W));
		in->vex_w = b >> 7;
	}
	in->vvvv = ~b >> 3 & 15;
	in->l = b >> 2 & 1;
	*prefix = prefixes[b & 3];
	if (code_size != 8) {
		in->rex = 0;
		in->vvvv &= 7;
	}
	return !in->opsize && !in->rep && !in->lock && !in->has_rex && *map >= MAP_0F &&
	       *map < MAPS;
}

/* `prefix`: a bit of insn_row_info.prefixes. */
static bool row_fits(const struct sorted_row *r, const struct insn *in, unsigned prefix,
		     unsigned code_size)
{
	const struct insn_row *row = &r->row;

	if (!(r->info.prefixes & prefix))
		return false;
	if (r->info.fits)
		return true;
	if (row->attr & (code_size == 8 ? A_I64 : A_O64))
		return false;
	if (row->ext && row->ext != in->reg + 1)
		return false;
	if (row->rm && row->rm != in->rm + 1)
		return false;
	if (row->mod != MOD_ANY && (row->mod == MOD_REG) != (in->mod == 3))
		return false;
	if (row->w != W_ANY && (row->w == W_1) != (in->vex ? in->vex_w : !!(in->rex & INSN_REX_W)))
		return false;
	return row->l == L_ANY || (row->l == L_1) == in->l;
}

static void read_modrm(struct reader *r, struct insn *in)
{
	uint8_t b = next(r);

	in->has_modrm = true;
	in->mod = b >> 6;
	in->reg = b >> 3 & 7;
	in->rm = b & 7;
}

static void read_address16(struct reader *r, struct insn *in)
{
	static const int8_t bases[] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
	static const int8_t indexes[] = { RSI, RDI, RSI, RDI, -1, -1, -1, -1 };

	in->base = bases[in->rm];
	in->index = indexes[in->rm];
	if (in->mod == 0 && in->rm == 6) {
		in->base = -1;
		in->disp = next_signed(r, 2);
	} else if (in->mod) {
		in->disp = next_signed(r, in->mod);
	}
}

static void read_address(struct reader *r, struct insn *in, unsigned code_size)
{
	unsigned base = in->rm4, mod = in->mod;

	in->mem = true;
	in->index = -1;
	if (unlikely(in->address_size == 2)) {
		read_address16(r, in);
	} else {
		if (in->rm == 4) {
			uint8_t sib = next(r);
			unsigned index = (sib >> 3 & 7) | (in->rex & INSN_REX_X) << 2;

			base = (sib & 7) | (in->rex & INSN_REX_B) << 3;
			in->scale = sib >> 6;
			/* Gathers index by a vector register, where 4 is one like any other. */
			if (index != 4 || in->row->kind == K_GATHER)
				in->index = (int8_t)index;
		} else if (mod == 0 && in->rm == 5) {
			in->rip_relative = code_size == 8;
		}
		in->base = (int8_t)base;
		if (mod == 1) {
			in->disp = (int8_t)next(r);
		} else if (mod == 2) {
			in->disp = next_4(r);
		} else if ((base & 7) == 5) {
			in->base = -1;
			in->disp = next_4(r);
		}
	}
	in->segment = in->base == RSP || in->base == RBP ? SEG_SS : SEG_DS;
	if (unlikely(in->segment_override != 0xff))
		in->segment = in->segment_override;
}

static void set_sizes(struct insn *in, unsigned code_size)
{
	struct width w = widths[code_size / 4 * 12 + in->info->wide * 4u +
				(in->rex & INSN_REX_W) / 4 + in->opsize];

	in->operand_size = w.size;
	in->sizes = sizes_of[w.sizes + in->l];
}

/* How much of the memory operand is accessed. */
static void take_memory(struct insn *in)
{
	in->mem_bytes = in->sizes[in->info->mem];
	in->mem_written = in->info->mem_written;
	in->mem_read = in->info->mem_read;
}

static bool read_operands(struct reader *r, struct insn *in)
{
	bool vvvv_used = false;
	unsigned imm = insn_size(in, in->info->imm);

	switch (in->info->operands) {
	case IN_MODRM:
		return !in->vvvv;
	case ONE_SIGNED:
		imm = MIN_OF(imm, 4u);
		in->imm_bytes = (uint8_t)imm;
		/* Fall through. */
	case ONE_JUMP:
		in->imm = (uint64_t)next_signed(r, imm);
		return !in->vvvv;
	case ONE_IMMEDIATE:
		in->imm = next_le(r, imm);
		in->imm_bytes = (uint8_t)imm;
		return !in->vvvv;
	default:
		break;
	}
	for (unsigned i = 0; i < 4 && in->row->operand[i]; i++) {
		unsigned kind = OPERAND_KIND(in->row->operand[i]);
		unsigned size = insn_size(in, OPERAND_SIZE(in->row->operand[i]));

		switch (kind) {
		case OPK_I:
			if (in->row->kind == K_ENTER && i == 1)
				in->imm2 = (uint16_t)next_le(r, 1);
			else
				in->imm = next_le(r, size);
			in->imm_bytes += (uint8_t)size;
			break;
		case OPK_SI:
			in->imm = (uint64_t)next_signed(r, size > 4 ? 4 : size);
			in->imm_bytes += (uint8_t)MIN_OF(size, 4u);
			break;
		case OPK_J:
			in->imm = (uint64_t)next_signed(r, size);
			break;
		case OPK_L:
			in->imm = next_le(r, 1);
			in->imm_bytes++;
			break;
		case OPK_A:
			in->imm = next_le(r, in->operand_size);
			in->imm2 = (uint16_t)next_le(r, 2);
			break;
		case OPK_O:
			in->mem = true;
			in->base = in->index = -1;
			in->disp = (int64_t)next_le(r, in->address_size);
			take_memory(in);
			in->segment = in->segment_override != 0xff ? in->segment_override : SEG_DS;
			break;
		case OPK_X:
			in->segment = in->segment_override != 0xff ? in->segment_override : SEG_DS;
			break;
		case OPK_H:
		case OPK_B:
			vvvv_used = true;
			break;
		case OPK_S:
			if (in->reg > SEG_GS || (in->row->kind == K_MOVSEG_W && in->reg == SEG_CS))
				return false;
			break;
		case OPK_C: {
			unsigned n = in->reg4;

			if (n != 0 && n != 2 && n != 3 && n != 4 && n != 8)
				return false;
			break;
		}
		case OPK_D:
			if (in->rex & INSN_REX_R)
				return false;
			break;
		default:
			break;
		}
	}
	return !in->vex || vvvv_used || !in->vvvv;
}

/* Things that single rows forbid. */
static bool special_rules(const struct insn *in)
{
	/* Destination, mask and index of a gather must differ. */
	if (in->row->kind == K_GATHER)
		return in->rm == 4 && in->address_size != 2 && in->reg4 != in->vvvv &&
		       in->reg4 != in->index && in->vvvv != in->index;
	return !in->l;
}

/* `bytes`: which are bytes that may be AH to BH, numbered from 4 on. */
static unsigned all_named(const struct insn *in, unsigned names, unsigned bytes)
{
	unsigned reg = in->reg4, rm = in->rm4, low = (in->opcode & 7) | (in->rex & INSN_REX_B) << 3;

	if (unlikely(bytes)) {
		reg &= bytes & NAMES_REG ? ~4u : ~0u;
		rm &= bytes & (NAMES_RM | NAMES_RM_ONLY) ? ~4u : ~0u;
		low &= bytes & NAMES_OPCODE ? ~4u : ~0u;
	}
	return (names & 1) << reg | ((names >> 1 | names >> 2) & 1) << rm |
	       (names >> 3 & 1) << low | (names >> 4 & 1) << in->vvvv;
}

unsigned operand_registers(const struct insn *in)
{
	return all_named(in, in->info->names & ~(in->mem * (unsigned)NAMES_RM), 0);
}

static unsigned find_written(const struct insn *in)
{
	unsigned names = in->info->names_written & ~(in->mem * (unsigned)NAMES_RM);
	unsigned written = in->info->written;

	if (likely(!in->info->writes_bytes)) {
		if (likely(names == NAMES_REG))
			return written | 1u << in->reg4;
		if (likely(names == NAMES_RM))
			return written | 1u << in->rm4;
		if (!names)
			return written;
	}
	return written |
	       all_named(in, names, (in->has_rex | in->vex) ? 0 : in->info->names_bytes & names);
}

bool insn_mem_aligned(const struct insn *in)
{
	unsigned op = in->row->map << 8 | in->opcode, bytes = insn_mem_bytes(in);
	bool move = op == (MAP_0F << 8 | 0x28) || op == (MAP_0F << 8 | 0x29) ||
		    op == (MAP_0F << 8 | 0x2b) || op == (MAP_0F << 8 | 0xe7) ||
		    op == (MAP_0F38 << 8 | 0x2a);
	bool movdq = op == (MAP_0F << 8 | 0x6f) || op == (MAP_0F << 8 | 0x7f);

	if (in->row->kind == K_CMPXCHG8B)
		return bytes == 16;
	if (bytes < 16 || in->row->feature < FEAT_SSE)
		return false;
	if (in->vex)
		return move || (movdq && in->row->prefix == PFX_66);
	/* MOVUPS and MOVUPD, MOVDQU, LDDQU, the string comparisons. */
	return op != (MAP_0F << 8 | 0x10) && op != (MAP_0F << 8 | 0x11) &&
	       !(movdq && in->row->prefix == PFX_F3) && op != (MAP_0F << 8 | 0xf0) &&
	       !(in->row->map == MAP_0F3A && in->opcode >= 0x60 && in->opcode <= 0x63);
}

uint16_t insn_cc_flags(unsigned cc)
{
	static const uint16_t used[] = {
		FLAG_O, FLAG_C, FLAG_Z,		 FLAG_C | FLAG_Z,
		FLAG_S, FLAG_P, FLAG_S | FLAG_O, FLAG_S | FLAG_O | FLAG_Z
	};

	return used[cc >> 1 & 7];
}

static struct flag_class find_flags(const struct insn *in)
{
	struct flag_class f = in->info->flags;
	const struct insn_row *row = in->row;

	if (!in->info->flags_vary)
		return f;
	switch (row->flags) {
	case FL_CC:
		f.use = insn_cc_flags(in->opcode);
		break;
	case FL_SHIFT:
	case FL_DSHIFT:
	case FL_ROT:
	case FL_RCX: {
		unsigned kind = 0, count = 1, size = insn_size(in, OPERAND_SIZE(row->operand[0]));

		for (unsigned i = 1; i < 4 && row->operand[i]; i++)
			kind = OPERAND_KIND(row->operand[i]);
		if (kind == OPK_I)
			count = in->imm & (size == 8 ? 63 : 31);
		if (kind == OPK_KC) {
			/* The count may be 0: then everything stays. */
			f.use |= f.def;
		} else if (count == 0) {
			return (struct flag_class) { 0 };
		} else if (count == 1) {
			f.undef &= (uint16_t)~FLAG_O;
		} else if (row->flags == FL_SHIFT && count >= 8 * size) {
			f.undef |= FLAG_C;
		} else if (row->flags == FL_DSHIFT && count > 8 * size) {
			f.undef = FLAGS_ALL;
		}
		if (kind == OPK_KC && row->flags == FL_SHIFT)
			f.undef |= size < 4 ? FLAG_C : 0;
		if (kind == OPK_KC && row->flags == FL_DSHIFT && size == 2)
			f.undef = FLAGS_ALL;
		break;
	}
	default:
		break;
	}
	return f;
}

/* In as many stores as there are words: compilers make loops of it. */
static ALWAYS_INLINE void clear_words(void *p, size_t bytes)
{
	uint64_t *w = p;

#pragma GCC unroll 16
	for (size_t i = 0; i < bytes / sizeof(*w); i++)
		w[i] = 0;
}

static bool find_row(struct insn *in, struct slot slot, unsigned prefix, unsigned code_size)
{
	const struct sorted_row *r = &rows[slot.first], *end = r + slot.count;

	for (r += slot.how & SLOT_BY_REG ? in->reg : 0; r < end; r++)
		if (likely(row_fits(r, in, prefix, code_size))) {
			in->row = &r->row;
			in->info = &r->info;
			return true;
		}
	return false;
}

static bool decode_operands(struct reader *r, struct insn *in, struct slot slot, unsigned prefix,
			    unsigned code_size)
{
	if (slot.how & SLOT_MODRM)
		read_modrm(r, in);
	if (unlikely(slot.how & SLOT_REGISTERS))
		in->mod = 3;
	in->reg4 = in->reg | (uint8_t)((in->rex & INSN_REX_R) << 1);
	in->rm4 = in->rm | (uint8_t)((in->rex & INSN_REX_B) << 3);
	if (!find_row(in, slot, prefix, code_size))
		return false;
	set_sizes(in, code_size);
	if (in->has_modrm && in->mod != 3) {
		read_address(r, in, code_size);
		take_memory(in);
	}
	if (!read_operands(r, in) || (unlikely(in->info->special) && !special_rules(in)))
		return false;
	return likely(!in->lock) || (in->row->attr & A_LOCK && in->mem);
}

enum insn_result x86_decode(struct insn *in, const uint8_t *bytes, size_t n, unsigned code_size)
{
	_Alignas(uint64_t) uint8_t copy[MOST_READ];
	struct reader r = { .at = copy };
	const uint8_t *end = copy + MIN_OF(n, (size_t)LONGEST);
	unsigned map = MAP_1, prefix = 0;
	struct slot slot; /* a copy: stores to `in` might change the table, for all that the
			     compiler knows */
	bool good = true;
	uint8_t opcode;

	clear_words(in, sizeof(*in));
	clear_words(copy, sizeof(copy));
	if (likely(n > LONGEST)) {
		memcpy(copy, bytes, LONGEST + 1);
		copy[LONGEST] = 0;
	} else {
		/* Not by memcpy, which uses vector registers. */
		for (size_t i = 0; i < n; i++)
			copy[i] = bytes[i];
	}
	in->segment_override = 0xff;
	opcode = next(&r);
	if (code_size == 8 && (opcode & 0xf0) == 0x40) {
		in->rex = opcode & 15;
		in->has_rex = true;
		opcode = next(&r);
	}
	slot = slots[0][MAP_1][opcode];
	if (slot.how & SLOT_PREFIX) {
		opcode = read_prefixes(&r, in, opcode, code_size, copy + LONGEST);
		slot = slots[0][MAP_1][opcode];
	}
	prefix = BIT(prefixes_of(in->rep, in->opsize));
	if (opcode == 0x0f) {
		opcode = next(&r);
		map = MAP_0F;
		if (opcode == 0x38 || opcode == 0x3a) {
			map = opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
			opcode = next(&r);
		}
		slot = slots[0][map][opcode];
	} else if (unlikely((opcode == 0xc4 || opcode == 0xc5) && r.at <= end &&
			    (code_size == 8 || (r.at < end && *r.at >= 0xc0)))) {
		good = read_vex(&r, in, opcode, code_size, &map, &prefix);
		prefix = BIT(prefix);
		opcode = next(&r);
		slot = slots[1][map & (MAPS - 1)][opcode];
	}
	in->opcode = opcode;
	in->address_size = (uint8_t)(in->addrsize ? (code_size == 4 ? 2 : 4) : code_size);
	if (good && r.at <= end)
		good = decode_operands(&r, in, slot, prefix, code_size);
	if (unlikely(r.at > end)) {
		in->len = (uint8_t)(end - copy);
		return in->len == LONGEST ? INSN_TOO_LONG : INSN_NEED_MORE;
	}
	in->len = (uint8_t)(r.at - copy);
	if (!good || in->row->kind == K_UD)
		return INSN_UNDEFINED;
	in->written = (uint16_t)find_written(in);
	in->flags = find_flags(in);
	return INSN_OK;
}

void x86_next_row(struct insn *in)
{
	const struct sorted_row *next = container_of(in->row, struct sorted_row, row) + 1;

	in->row = &next->row;
	in->info = &next->info;
	in->flags = next->info.flags;
}
