/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 decoder: prefixes, the table's row, ModRM, displacement, immediates (SDM volume 2,
 * chapter 2). */
#include <string.h>

#include "accel/tcg/frontend/x86/insn.h"
#include "cpu/x86/cpu.h"

#define LONGEST 15

/* Rows by [VEX][map][opcode]: `count` of `rows` from `first` on, in the table's order. */
static struct slot {
	uint16_t first;
	uint8_t count;
	bool has_modrm;
	bool by_reg; /* a row for each of ModRM.reg's values, from 0 on */
	uint8_t pad[3];
} slots[2][MAPS][256];
/* A copy of the table: what decoding looks at is seldom in the cache, so it is one line. */
static struct sorted_row {
	_Alignas(64) struct insn_row row;
	struct insn_row_info info;
} rows[2048];
static_assert(sizeof(struct sorted_row) == 64, "a line of the host's cache");
/* By operand size, REX.W and L. */
static uint16_t sizes_of[4][2][2][32];
static_assert(SZ_CODES <= 32, "size codes");

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
	for (unsigned i = 0; i < 6; i++)
		if (prefix_fits(row->prefix, i < 2 ? 0 : i < 4 ? 0xf2 : 0xf3, i & 1))
			info.prefixes |= (uint8_t)BIT(i);
	find_registers(row, &info);
	find_memory(row, &info);
	info.fits = !(row->attr & (A_I64 | A_O64)) && !row->ext && !row->rm &&
		    row->mod == MOD_ANY && row->w == W_ANY && row->l == L_ANY;
	info.anywhere = !(row->attr & (A_PM | A_L1_AVX2 | A_CPL0 | A_FPU)) && !info.mmx &&
			!info.simd && !row->vex;
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

__attribute__((constructor)) static void sort_rows(void)
{
	unsigned n = 0;

	assert(x86_row_count <= ARRAY_LEN(rows));
	for (unsigned i = 0; i < x86_row_count; i++) {
		const struct insn_row *r = &x86_rows[i];

		slots[r->vex][r->map][r->opcode].count++;
		slots[r->vex][r->map][r->opcode].has_modrm |= row_has_modrm(r);
	}
	for (unsigned i = 0; i < 16 * SZ_CODES; i++) {
		unsigned code = i / 16, size = i / 4 % 4, w = i / 2 % 2, l = i % 2;

		sizes_of[size][w][l][code] = size_of(code, 1u << size, w, l);
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

		s->by_reg = s->count > 1;
		for (unsigned k = 0; k < s->count; k++)
			s->by_reg &= rows[s->first + k].row.ext == k + 1;
	}
}

/* What is read beyond the end is 0; whether that happened is asked once, at the end. */
struct reader {
	uint8_t bytes[48];
	unsigned at;
};

static uint8_t next(struct reader *r)
{
	return r->bytes[r->at++];
}

static uint64_t next_le(struct reader *r, unsigned size)
{
	uint64_t v;

	memcpy(&v, r->bytes + r->at, sizeof(v));
	r->at += size;
	return v & ones(size);
}

static int64_t next_signed(struct reader *r, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return size ? (int64_t)(next_le(r, size) << shift) >> shift : 0;
}

/* Prefixes up to the opcode's first byte, which is returned. */
static uint8_t read_prefixes(struct reader *r, struct insn *in, unsigned code_size)
{
	/* Most bytes are none. REX is one in 64-bit code. */
	static const bool prefixes[256] = {
		[0x26] = true, [0x2e] = true,	       [0x36] = true,
		[0x3e] = true, [0x40 ... 0x4f] = true, [0x64 ... 0x67] = true,
		[0xf0] = true, [0xf2] = true,	       [0xf3] = true,
	};

	for (;;) {
		uint8_t b = next(r);

		if (!prefixes[b] || r->at > LONGEST)
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
			if (code_size == 8 && (b & 0xf0) == 0x40) {
				in->rex = b & 15;
				in->has_rex = true;
				continue;
			}
			return b;
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

static bool row_fits(const struct insn_row *row, const struct insn *in, unsigned vex_prefix,
		     unsigned code_size)
{
	if (in->vex ? row->prefix != vex_prefix
		    : !(in->info->prefixes >> prefixes_of(in->rep, in->opsize) & 1))
		return false;
	if (in->info->fits)
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
	unsigned size = in->mod == 1 ? 1 : in->mod == 2 ? 4 : 0;

	in->mem = true;
	in->base = in->index = -1;
	if (in->address_size == 2) {
		read_address16(r, in);
	} else {
		unsigned base = in->rm;

		if (in->rm == 4) {
			uint8_t sib = next(r);
			unsigned index = (sib >> 3 & 7) | (in->rex & INSN_REX_X ? 8 : 0);

			base = sib & 7;
			in->scale = sib >> 6;
			/* Gathers index by a vector register, where 4 is one like any other. */
			if (index != 4 || in->row->kind == K_GATHER)
				in->index = (int8_t)index;
			if (base == 5 && in->mod == 0)
				size = 4;
			else
				in->base = (int8_t)(base | (in->rex & INSN_REX_B ? 8 : 0));
		} else if (in->rm == 5 && in->mod == 0) {
			size = 4;
			in->rip_relative = code_size == 8;
		} else {
			in->base = (int8_t)(base | (in->rex & INSN_REX_B ? 8 : 0));
		}
		in->disp = next_signed(r, size);
	}
	in->segment = in->base == RSP || in->base == RBP ? SEG_SS : SEG_DS;
	if (in->segment_override != 0xff)
		in->segment = in->segment_override;
}

static void set_sizes(struct insn *in, unsigned code_size)
{
	/* By the row, REX.W and 66h. */
	static const uint8_t sizes[3][2][2] = { { { 4, 2 }, { 8, 8 } },
						{ { 8, 2 }, { 8, 8 } },
						{ { 8, 8 }, { 8, 8 } } };
	bool w = in->rex & INSN_REX_W;

	if (code_size == 8) {
		in->operand_size = sizes[in->info->wide][w][in->opsize];
	} else {
		in->operand_size = in->opsize ? (uint8_t)(6 - code_size) : (uint8_t)code_size;
	}
	in->sizes = sizes_of[(in->operand_size >> 2) + 1][w][in->l];
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
			unsigned n = in->reg | (in->rex & INSN_REX_R ? 8 : 0);

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
	const struct insn_row *row = in->row;

	/* Destination, mask and index of a gather must differ. */
	if (row->kind == K_GATHER) {
		unsigned dst = in->reg | (in->rex & INSN_REX_R ? 8 : 0);

		return in->rm == 4 && in->address_size != 2 && dst != in->vvvv &&
		       (int)dst != in->index && (int)in->vvvv != in->index;
	}
	if (in->vex && row->vex && row->l == L_ANY && in->l && row->map == MAP_0F38 &&
	    row->feature != FEAT_AVX && row->feature != FEAT_AVX2 && row->feature != FEAT_FMA &&
	    row->feature != FEAT_F16C)
		return false;
	return !in->lock || (row->attr & A_LOCK && in->mem);
}

static void take_memory(struct insn *in)
{
	/* Without branches, which nobody could predict. */
	in->mem_bytes = (uint16_t)(insn_size(in, in->info->mem) & -(unsigned)in->mem);
	in->mem_written = in->mem & in->info->mem_written;
	in->mem_read = in->mem & in->info->mem_read;
}

/* `bytes`: which are bytes that may be AH to BH, numbered from 4 on. */
static unsigned all_named(const struct insn *in, unsigned names, unsigned bytes)
{
	unsigned b = in->rex & INSN_REX_B ? 8 : 0;
	unsigned reg = in->reg | (in->rex & INSN_REX_R ? 8u : 0), rm = in->rm | b,
		 low = (in->opcode & 7) | b;

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
	unsigned bytes = in->info->names_bytes & names & ((unsigned)(in->has_rex | in->vex) - 1);

	return in->info->written | all_named(in, names, bytes);
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

static bool find_row(struct insn *in, struct slot slot, unsigned vex_prefix, unsigned code_size)
{
	for (unsigned i = slot.by_reg ? in->reg : 0; i < slot.count; i++) {
		const struct insn_row *row = &rows[slot.first + i].row;

		in->row = row;
		in->info = &rows[slot.first + i].info;
		/* MOV to and from control registers ignores mod. */
		if (row->kind >= K_MOVCR_R && row->kind <= K_MOVDR_W)
			in->mod = 3;
		if (row_fits(row, in, vex_prefix, code_size))
			return true;
	}
	return false;
}

enum insn_result x86_decode(struct insn *in, const uint8_t *bytes, size_t n, unsigned code_size)
{
	struct reader r = { .at = 0 };
	unsigned map = MAP_1, vex_prefix = 0;
	unsigned most = (unsigned)MIN_OF(n, (size_t)LONGEST);
	bool good = true;
	uint8_t opcode;

	memset(in, 0, sizeof(*in));
	if (n > LONGEST) {
		memcpy(r.bytes, bytes, LONGEST + 1);
		r.bytes[LONGEST] = 0;
	} else {
		memcpy(r.bytes, bytes, most);
	}
	in->segment_override = 0xff;
	opcode = read_prefixes(&r, in, code_size);
	if ((opcode == 0xc4 || opcode == 0xc5) && r.at <= most &&
	    (code_size == 8 || (r.at < most && r.bytes[r.at] >= 0xc0))) {
		good = read_vex(&r, in, opcode, code_size, &map, &vex_prefix);
		opcode = next(&r);
	} else if (opcode == 0x0f) {
		opcode = next(&r);
		map = MAP_0F;
		if (opcode == 0x38 || opcode == 0x3a) {
			map = opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
			opcode = next(&r);
		}
	}
	in->opcode = opcode;
	if (code_size == 8)
		in->address_size = in->addrsize ? 4 : 8;
	else
		in->address_size = in->addrsize ? (uint8_t)(6 - code_size) : (uint8_t)code_size;
	if (good && r.at <= most) {
		/* A copy, as stores to `in` might change the table for all that the compiler knows.
		 */
		const struct slot slot = slots[in->vex][map][opcode];

		if (slot.has_modrm)
			read_modrm(&r, in);
		good = find_row(in, slot, vex_prefix, code_size);
		if (good) {
			set_sizes(in, code_size);
			if (in->has_modrm && in->mod != 3)
				read_address(&r, in, code_size);
			good = read_operands(&r, in) && special_rules(in);
		}
	}
	if (r.at > most) {
		in->len = (uint8_t)most;
		return most == LONGEST ? INSN_TOO_LONG : INSN_NEED_MORE;
	}
	in->len = (uint8_t)r.at;
	if (!good || in->row->kind == K_UD)
		return INSN_UNDEFINED;
	take_memory(in);
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
