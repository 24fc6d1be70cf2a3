/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/cpu_case.h"
#include "tests/lib/host_cpu.h"

#include <asm/ldt.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/test.h"

/* A local descriptor table. */

enum { DATA, EXPAND_DOWN, CODE_SEGMENT };
static const struct {
	uint64_t base;
	uint32_t limit;
	unsigned contents;
	bool big, fixed, absent; /* `fixed`: neither written nor, if code, read */
} ldt[] = {
	{ CODE, CODE_SIZE - 1, CODE_SEGMENT, .big = true },
	{ CODE, CODE_SIZE - 1, CODE_SEGMENT },
	{ SANDBOX, 0xffff, DATA, .big = true },
	{ SANDBOX, 0xffff, DATA },
	{ SANDBOX + 0x1234, 0x7ffe, DATA, .big = true },
	{ SANDBOX, 0x3fff, EXPAND_DOWN },
	{ SANDBOX - 0x10000, 0x17fff, EXPAND_DOWN, .big = true },
	{ SANDBOX, 0xffff, DATA, .fixed = true },
	{ SANDBOX, 0xffff, DATA, .absent = true },
	{ CODE, CODE_SIZE - 1, CODE_SEGMENT, .big = true, .fixed = true },
	{ SANDBOX, 3, DATA },
};
#define LOCAL(n) ((n) << 3 | 7)
#define GDT_OFFSET 2048

uint8_t case_tables[TABLES_SIZE] __attribute__((aligned(4096)));
uint16_t selectors[4];

static uint16_t ldt_rights(unsigned n)
{
	return (uint16_t)(0x71 | (ldt[n].absent ? 0 : DESC_P) | ldt[n].contents << 2 |
			  (ldt[n].fixed ? 0 : 2) | (ldt[n].big ? DESC_B : 0));
}

static void make_ldt(void)
{
	for (unsigned n = 0; n < ARRAY_LEN(ldt); n++) {
		struct user_desc d = {
			.entry_number = n,
			.base_addr = (uint32_t)ldt[n].base,
			.limit = ldt[n].limit,
			.seg_32bit = ldt[n].big,
			.contents = ldt[n].contents & 3,
			.read_exec_only = ldt[n].fixed,
			.seg_not_present = ldt[n].absent,
		};
		uint64_t base = ldt[n].base, limit = ldt[n].limit;

		/* 11h: the form that knows of absent segments. */
		CHECK(syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)) == 0);
		store_le(case_tables + 8 * n,
			 (limit & 0xffff) | (base & 0xffffff) << 16 |
				 (uint64_t)ldt_rights(n) << 40 | (limit >> 16 & 15) << 48 |
				 (base >> 24) << 56,
			 8);
	}
}

struct x86_segment segment_at(uint16_t selector)
{
	unsigned n = selector >> 3;

	if (selector & 4)
		return (struct x86_segment) { .selector = selector,
					      .base = ldt[n].base,
					      .limit = ldt[n].limit,
					      .rights = ldt_rights(n) };
	if (selector < 4)
		return (struct x86_segment) { .selector = selector, .rights = SEG_UNUSABLE };
	return (struct x86_segment) {
		.selector = selector,
		.limit = UINT32_MAX,
		.rights = selector == FLAT_CODE64   ? 0xa0fb
			  : selector == FLAT_CODE32 ? 0xc0fb
						    : 0xc0f3,
	};
}

unsigned code_size(void)
{
	uint32_t rights = segment_at(selectors[SEG_CS]).rights;

	return rights & DESC_L ? 8 : rights & DESC_B ? 4 : 2;
}

uint64_t segment_base(unsigned seg)
{
	return code_size() == 8 ? 0 : segment_at(selectors[seg]).base;
}

void choose_segments(void)
{
	static const uint16_t stacks[] = { LOCAL(2), LOCAL(3), LOCAL(5), LOCAL(6), FLAT_DATA },
			      data[] = { LOCAL(2), LOCAL(3), LOCAL(4),	LOCAL(5),  LOCAL(6),
					 LOCAL(7), LOCAL(0), LOCAL(10), FLAT_DATA, 0 };

	if (test_below(2)) {
		selectors[SEG_CS] = FLAT_CODE64;
		selectors[SEG_SS] = FLAT_DATA;
		selectors[SEG_DS] = selectors[SEG_ES] = 0;
		return;
	}
	selectors[SEG_CS] = LOCAL(0);
	selectors[SEG_SS] = LOCAL(2);
	selectors[SEG_DS] = selectors[SEG_ES] = LOCAL(2);
	switch (test_below(4)) {
	case 0:
		for (unsigned i = 0; i < 4; i++)
			selectors[i] = i == SEG_CS ? FLAT_CODE32 : FLAT_DATA;
		return;
	case 1:
		break;
	default:
		selectors[SEG_CS] = LOCAL(1);
		break;
	}
	if (test_below(2))
		selectors[SEG_SS] = stacks[test_below(ARRAY_LEN(stacks))];
	if (test_below(2))
		selectors[SEG_DS] = data[test_below(ARRAY_LEN(data))];
	if (test_below(2))
		selectors[SEG_ES] = data[test_below(ARRAY_LEN(data))];
}

uint16_t random_selector(void)
{
	static const uint16_t flat[] = { FLAT_CODE32, FLAT_DATA, FLAT_CODE64, 0, 1, 2, 3 };

	if (test_below(4) == 0)
		return flat[test_below(ARRAY_LEN(flat))];
	return (uint16_t)((LOCAL(test_below(ARRAY_LEN(ldt) + 1)) & ~3u) |
			  (test_below(3) ? 3 : test_below(4)));
}

bool has_big_stack(void)
{
	return segment_at(selectors[SEG_SS]).rights & DESC_B;
}

void segments_set_up(struct x86_cpu *cpu)
{
	make_ldt();
	for (uint16_t flat = FLAT_CODE32; flat <= FLAT_CODE64; flat += 8)
		store_le(case_tables + GDT_OFFSET + (flat & ~7u),
			 UINT64_C(0xffff) | (uint64_t)segment_at(flat).rights << 40 |
				 UINT64_C(0xf) << 48,
			 8);
	cpu->gdt.base = TABLES + GDT_OFFSET;
	cpu->gdt.limit = 0x37;
	cpu->seg[SEG_FS] = cpu->seg[SEG_GS] = segment_at(0);
	cpu->seg[SEG_LDT] = (struct x86_segment) {
		.selector = 8, .base = TABLES, .limit = 8 * ARRAY_LEN(ldt) - 1, .rights = 0x82
	};
}

/* Values. */

uint64_t random_value(void)
{
	uint64_t v = test_random();

	if (code_size() != 8)
		v &= test_below(2) ? 0xffff : UINT32_MAX;
	switch (test_below(8)) {
	case 0:
		return v & 0xff;
	case 1:
		return (uint64_t)(int64_t)(int8_t)v;
	case 2:
		return UINT64_C(1) << (v & 63);
	case 3:
		return v & UINT32_MAX;
	case 4:
	case 5:
		return SANDBOX + (v & (SANDBOX_SIZE - 1));
	default:
		return v;
	}
}

static void random_quadword(uint8_t *lane)
{
	static const uint64_t doubles[] = { 0,
					    0x8000000000000000,
					    0x3ff0000000000000,
					    0x7ff0000000000000,
					    0xfff0000000000000,
					    0x7ff8000000000001,
					    0x7ff0000000000001,
					    0x0000000000000001,
					    0x41e0000000000000,
					    0xc3e0000000000000 };
	static const uint32_t floats[] = { 0,	       0x80000000, 0x3f800000, 0x7f800000,
					   0xff800000, 0x7fc00001, 0x7f800001, 1,
					   0x4f000000, 0x40490fdb };

	if (test_below(3) == 0)
		store_le(lane, doubles[test_below(ARRAY_LEN(doubles))], 8);
	else if (test_below(2))
		store_le(lane,
			 floats[test_below(ARRAY_LEN(floats))] |
				 (uint64_t)floats[test_below(ARRAY_LEN(floats))] << 32,
			 8);
	else
		store_le(lane, test_random(), 8);
}

static void random_vector(uint8_t *f, unsigned reg)
{
	random_quadword(f + 160 + 16 * reg);
	random_quadword(f + 168 + 16 * reg);
	random_quadword(f + 576 + 16 * reg);
	random_quadword(f + 584 + 16 * reg);
}

/* ST(i): 80 bits, most of them a number of middling size. */
static void random_st(uint8_t *f, unsigned i)
{
	uint8_t *st = f + 32 + 16 * i;

	store_le(st, test_random(), 8);
	if (test_below(3))
		st[7] |= 0x80;
	store_le(st + 8,
		 test_below(2) ? (0x3fff + test_below(60)) | (test_below(2) ? 0x8000 : 0)
			       : test_random(),
		 2);
	store_le(st + 10, 0, 6);
}

static void random_control(uint8_t *f)
{
	store_le(f + FCW, 0x7f | test_below(4) << 8 | test_below(4) << 10, 2);
	if (!test_below(16))
		f[FCW] = (uint8_t)(0x40 | test_below(64));
	store_le(f + 2, test_below(8) << 11 | test_below(2) << 14 | test_below(8) << 8,
		 2); /* no pending exception */
	f[4] = (uint8_t)(test_below(3) ? 0xff : test_random());
	store_le(f + MXCSR,
		 0x1f80 | test_below(4) << 13 | (test_below(4) ? 0 : 0x8000) |
			 (test_below(4) ? 0 : 0x40) | test_below(64),
		 4);
	if (!test_below(16))
		store_le(f + MXCSR, test_below(64) << 7 | 0x1f80, 4);
}

void random_fpu(uint8_t *f)
{
	memset(f, 0, XSAVE_BYTES);
	for (unsigned i = 0; i < 16; i++)
		random_vector(f, i);
	for (unsigned i = 0; i < 8; i++)
		random_st(f, i);
	random_control(f);
	f[XSTATE_BV] = 7;
}

void vary_fpu(uint8_t *f, unsigned vectors)
{
	for (unsigned i = 0; i < 16; i++)
		if (vectors >> i & 1)
			random_vector(f, i);
	random_st(f, 0);
	random_st(f, 1 + test_below(7));
	random_control(f);
}

void neutral_fpu(uint8_t *f)
{
	if (!(f[XSTATE_BV] & 1)) {
		memset(f, 0, 24);
		memset(f + 32, 0, 128);
		store_le(f + FCW, 0x37f, 2);
	}
	if (!(f[XSTATE_BV] & 2))
		memset(f + 160, 0, 256);
	if (!(f[XSTATE_BV] & 4))
		memset(f + 576, 0, 256);
	memset(f + 6, 0, 18); /* FOP, FIP, FDP: where the code lies */
	for (unsigned i = 0; i < 8; i++)
		memset(f + 32 + 16 * i + 10, 0, 6);
	memset(f + 28, 0, 4);
	memset(f + 416, 0, 576 - 416);
}

/* Instructions. */

bool tested(const struct insn *in)
{
	if (host_lacks(in->row->feature) || (host_is_amd() && amd_differs(in, code_size())))
		return false;
	if (in->segment_override == SEG_FS || in->segment_override == SEG_GS)
		return false;
	for (unsigned i = 0; i < 4; i++)
		if (OPERAND_KIND(in->row->operand[i]) == OPK_S && (in->reg & 7) >= SEG_FS)
			return false;
	switch (in->row->kind) {
	case K_T:
	case K_NOP:
	case K_INCDEC:
	case K_PUSH:
	case K_POP:
	case K_MOVSXD:
	case K_JCC:
	case K_XCHG:
	case K_LEA:
	case K_SAHF:
	case K_LAHF:
	case K_MOFFS:
	case K_MOVS:
	case K_CMPS:
	case K_STOS:
	case K_LODS:
	case K_SCAS:
	case K_RET:
	case K_LEAVE:
	case K_XLAT:
	case K_LOOP:
	case K_JCXZ:
	case K_CALL:
	case K_JMP:
	case K_CALL_R:
	case K_JMP_R:
	case K_CMC:
	case K_FLAGBIT:
	case K_DF:
	case K_CMPXCHG:
	case K_CMPXCHG8B:
	case K_BT:
	case K_BTM:
	case K_BSWAP:
	case K_MOVBE:
	case K_EMMS:
	case K_VMASKMOV:
	case K_MASKMOV:
	case K_GATHER:
	case K_FXSAVE:
	case K_FXRSTOR:
	case K_VZERO:
	case K_PUSHF:
	case K_PUSHA:
	case K_POPA:
	case K_BOUND:
	case K_ENTER:
	case K_BCD:
	case K_SALC:
	case K_ARPL:
	case K_MOVSEG_R:
		return true;
	case K_MOVSEG_W:
	case K_LARLSL:
	case K_VERX:
	case K_CALLF_M:
	case K_JMPF_M:
	case K_CALLF:
	case K_JMPF:
	case K_RETF:
		return true;
	case K_PUSHSEG:
	case K_POPSEG:
	case K_LXS:
		/* Not FS and GS. */
		return in->row->map == MAP_1 || in->row->opcode == 0xb2;
	case K_XSAVE:
	case K_XRSTOR:
		return !(in->row->attr & A_CPL0);
	default:
		return false;
	}
}

bool saves_fpu(const struct insn_row *row)
{
	return row->kind == K_FXSAVE || row->kind == K_FXRSTOR || row->kind == K_XSAVE ||
	       row->kind == K_XRSTOR;
}

static bool transfers_far(const struct insn_row *row)
{
	return row->kind == K_CALLF || row->kind == K_CALLF_M || row->kind == K_JMPF ||
	       row->kind == K_JMPF_M || row->kind == K_RETF;
}

bool reads_selectors(const struct insn_row *row)
{
	if (transfers_far(row))
		return true;
	switch (row->kind) {
	case K_MOVSEG_W:
	case K_LARLSL:
	case K_VERX:
	case K_POPSEG:
	case K_LXS:
		return true;
	default:
		return false;
	}
}

bool branches(const struct insn *in)
{
	if (transfers_far(in->row))
		return true;
	switch (in->row->kind) {
	case K_JCC:
	case K_RET:
	case K_LOOP:
	case K_JCXZ:
	case K_CALL:
	case K_JMP:
	case K_CALL_R:
	case K_JMP_R:
		return true;
	default:
		return false;
	}
}
