/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/host_cpu.h"

#include <cpuid.h>
#include <string.h>

#include "cpu/x86/cpu.h"

/* CPUID is slow under a hypervisor: read once. */
static struct {
	bool read, amd;
	uint64_t lacks; /* by FEAT_ */
} host;

static void read_host(void)
{
	enum { A, B, C, D };
	static const struct {
		uint8_t feature, reg, bit;
		uint32_t leaf, subleaf;
	} bits[] = {
		{ FEAT_SSE3, C, 0, 1, 0 },	     { FEAT_PCLMUL, C, 1, 1, 0 },
		{ FEAT_SSSE3, C, 9, 1, 0 },	     { FEAT_FMA, C, 12, 1, 0 },
		{ FEAT_SSE41, C, 19, 1, 0 },	     { FEAT_SSE42, C, 20, 1, 0 },
		{ FEAT_MOVBE, C, 22, 1, 0 },	     { FEAT_POPCNT, C, 23, 1, 0 },
		{ FEAT_AES, C, 25, 1, 0 },	     { FEAT_AVX, C, 28, 1, 0 },
		{ FEAT_F16C, C, 29, 1, 0 },	     { FEAT_BMI1, B, 3, 7, 0 },
		{ FEAT_AVX2, B, 5, 7, 0 },	     { FEAT_BMI2, B, 8, 7, 0 },
		{ FEAT_ADX, B, 19, 7, 0 },	     { FEAT_SHA, B, 29, 7, 0 },
		{ FEAT_GFNI, C, 8, 7, 0 },	     { FEAT_VAES, C, 9, 7, 0 },
		{ FEAT_VPCLMULQDQ, C, 10, 7, 0 },    { FEAT_RDPID, C, 22, 7, 0 },
		{ FEAT_XSAVEOPT, A, 0, 13, 1 },	     { FEAT_XSAVEC, A, 1, 13, 1 },
		{ FEAT_LZCNT, C, 5, 0x80000001, 0 },
	};
	unsigned r[4] = { 0 };

	__get_cpuid(0, &r[A], &r[B], &r[C], &r[D]);
	host.amd = r[B] == signature_AMD_ebx;
	for (unsigned i = 0; i < ARRAY_LEN(bits); i++) {
		memset(r, 0, sizeof(r));
		__get_cpuid_count(bits[i].leaf, bits[i].subleaf, &r[A], &r[B], &r[C], &r[D]);
		if (!(r[bits[i].reg] >> bits[i].bit & 1))
			host.lacks |= BIT64(bits[i].feature);
	}
	host.read = true;
}

bool host_is_amd(void)
{
	if (!host.read)
		read_host();
	return host.amd;
}

bool host_lacks(unsigned feature)
{
	if (!host.read)
		read_host();
	return host.lacks >> feature & 1;
}

static bool is_near_branch(const struct insn_row *row)
{
	return OPERAND_KIND(row->operand[0]) == OPK_J || row->kind == K_RET ||
	       row->kind == K_CALL_R || row->kind == K_JMP_R;
}

bool amd_differs(const struct insn *in, unsigned code_size)
{
	const struct insn_row *row = in->row;

	/* Operand size prefixes count at near branches of 64-bit code. */
	if (code_size == 8 && in->opsize && is_near_branch(row))
		return true;
	/* F2h turns LOOPE into LOOPNE. */
	if (row->kind == K_LOOP && in->rep)
		return true;
	/* Four bytes are read for two, which shows at a page's end. */
	if (row->kind == K_MOVSXD && in->operand_size == 2 && in->mem)
		return true;
	/* What becomes of half a register is undefined. */
	if (row->kind == K_BSWAP && in->operand_size == 2)
		return true;
	/* A prefetch of a register is undefined. */
	if (!strcmp(row->name, "prefetchw") && !in->mem)
		return true;
	/* SHA's operands need no alignment. */
	if (row->feature == FEAT_SHA && in->mem)
		return true;
	/* VPINSRQ and VPEXTRQ are undefined outside 64-bit code; Intel's lose their W there. */
	for (unsigned i = 0; i < 4 && in->vex && in->vex_w && code_size != 8; i++)
		if (OPERAND_SIZE(row->operand[i]) == SZ_y)
			return true;
	/* Far pointers have no 64-bit offsets. */
	if (in->operand_size == 8 && row->kind == K_LXS)
		return true;
	/* Both bounds are read before either counts. */
	if (row->kind == K_BOUND)
		return true;
	/*
	 * Far transfers look at their operands in another order; stepped over one by one, some of
	 * them never end.
	 */
	if (row->kind == K_RETF || row->kind == K_CALLF || row->kind == K_CALLF_M ||
	    row->kind == K_JMPF || row->kind == K_JMPF_M)
		return true;
	/* Where a 16-bit stack goes round, the frame pointer's upper half is another. */
	if (row->kind == K_ENTER && code_size != 8)
		return true;
	/* A pushed segment register fills all of its four bytes. */
	return row->kind == K_PUSHSEG && in->operand_size == 4;
}

bool amd_has(const uint8_t *b)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36,
					    0x26, 0x3e, 0x64, 0x65, 0xf0 };
	unsigned n = 11; /* an instruction has 15 bytes */
	bool lock = false;

	while (n-- && (memchr(prefixes, *b, sizeof(prefixes)) || (*b & 0xf0) == 0x40))
		lock |= *b++ == 0xf0;
	/* XOP. */
	if (b[0] == 0x8f)
		return true;
	/* VPERMQ and VPERMPD without their W. */
	if (b[0] == 0xc4)
		return (b[1] & 0x1f) == 3 && !(b[2] & 0x80) && (b[3] == 0x00 || b[3] == 0x01);
	/* MOV CR8 as LOCK MOV CR0; VERW lets LOCK pass. */
	if (lock && b[0] == 0x0f)
		return ((b[1] == 0x20 || b[1] == 0x22) && (b[2] & 0x38) == 0) ||
		       (b[1] == 0x00 && (b[2] & 0x38) == 0x28);
	/* MOVNTSS and MOVNTSD; EXTRQ and INSERTQ; 3DNow! */
	return b[0] == 0x0f && (b[1] == 0x2b || b[1] == 0x78 || b[1] == 0x79 || b[1] == 0x0f);
}
