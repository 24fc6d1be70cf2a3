/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86 registers as gdb sees them: one table makes the target description and moves the values. */
#include <string.h>

#include "accel/accel.h"
#include "monitor/gdbstub/gdbstub.h"

/* In the XSAVE area, standard format. */
#define FPU_FCW 0
#define FPU_FSW 2
#define FPU_FTW 4
#define FPU_MXCSR 24
#define FPU_ST 32
#define FPU_XMM 160
#define FPU_YMM 576
#define XSTATE_BV 512

#define CORE_BEGIN                                                                                 \
	"<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"               \
	"<architecture>i386:x86-64</architecture>"                                                 \
	"<feature name=\"org.gnu.gdb.i386.core\">"                                                 \
	"<flags id=\"eflags_t\" size=\"4\">"                                                       \
	"<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"     \
	"<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>"     \
	"<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>"     \
	"<field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"   \
	"<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"NT\" start=\"14\" end=\"14\"/>" \
	"<field name=\"RF\" start=\"16\" end=\"16\"/><field name=\"VM\" start=\"17\" end=\"17\"/>" \
	"<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"ID\" start=\"21\" end=\"21\"/>" \
	"</flags>"
#define REG(name, bits, type) "<reg name=\"" name "\" bitsize=\"" bits "\" type=\"" type "\"/>"
#define R64(name) REG(name, "64", "int64")
#define R32(name) REG(name, "32", "int32")
#define ST(name) REG(name, "80", "i387_ext")
#define XMM(name) REG(name, "128", "vec128")
#define YMM(name) REG(name, "128", "uint128")
#define EACH16(R, p)                                                                               \
	R(p "0")                                                                                   \
	R(p "1")                                                                                   \
	R(p "2")                                                                                   \
	R(p "3") R(p "4") R(p "5") R(p "6") R(p "7") R(p "8") R(p "9") R(p "10") R(p "11")         \
		R(p "12") R(p "13") R(p "14") R(p "15")
#define YMM_H(n) YMM("ymm" n "h")

const char gdb_target_xml[] = CORE_BEGIN R64("rax") R64("rbx") R64("rcx") R64("rdx") R64("rsi") R64(
	"rdi") REG("rbp", "64", "data_ptr") REG("rsp", "64", "data_ptr") R64("r8") R64("r9")
	R64("r10") R64("r11") R64("r12") R64("r13") R64("r14") R64("r15") REG(
		"rip", "64", "code_ptr") REG("eflags", "32", "eflags_t") R32("cs") R32("ss")
		R32("ds") R32("es") R32("fs") R32("gs") ST("st0") ST("st1") ST("st2") ST("st3") ST(
			"st4") ST("st5") ST("st6") ST("st7") R32("fctrl") R32("fstat") R32("ftag")
			R32("fiseg") R32("fioff") R32("foseg") R32("fooff") R32(
				"fop") "</feature><feature name=\"org.gnu.gdb.i386.sse\">"
				       "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
				       "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
				       "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
				       "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
				       "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
				       "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
				       "<union id=\"vec128\"><field name=\"v4_float\" "
				       "type=\"v4f\"/><field name=\"v2_double\" "
				       "type=\"v2d\"/><field name=\"v16_int8\" "
				       "type=\"v16i8\"/><field name=\"v8_int16\" "
				       "type=\"v8i16\"/><field name=\"v4_int32\" "
				       "type=\"v4i32\"/><field name=\"v2_int64\" "
				       "type=\"v2i64\"/><field name=\"uint128\" "
				       "type=\"uint128\"/></union>" EACH16(XMM, "xmm") R32("mxcsr") "</feature><feature name=\"org.gnu.gdb.i386.avx\">" YMM_H(
					       "0") YMM_H("1") YMM_H("2") YMM_H("3")
					       YMM_H("4") YMM_H("5") YMM_H(
						       "6") YMM_H("7") YMM_H("8")
						       YMM_H("9") YMM_H("10") YMM_H("11") YMM_H(
							       "12") YMM_H("13") YMM_H("14")
							       YMM_H("15") "</feature><feature "
									   "name=\"org.gnu.gdb."
									   "i386.segments\">" R64(
										   "fs_base")
										   R64("gs_base") "</feature><feature name=\"moa.x86.system\">" R64(
											   "k_gs_"
											   "base") R64("cr0")
											   R64("cr"
											       "2") R64("cr3")
												   R64("cr4") R64(
													   "cr8")
													   R64("efer") "</feature></target>";

enum kind {
	GPR,
	RIP,
	EFLAGS,
	SELECTOR,
	STREG,
	FPUREG,
	XMMREG,
	MXCSR,
	YMMREG,
	BASE,
	KERNEL_GS,
	CR0,
	CR2,
	CR3,
	CR4,
	CR8,
	EFER
};

static const struct group {
	uint8_t kind, count, bytes;
	int8_t map[16]; /* which of ours the n-th of theirs is */
} groups[] = {
	{ GPR,
	  16,
	  8,
	  { RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8, R9, R10, R11, R12, R13, R14, R15 } },
	{ RIP, 1, 8, { 0 } },
	{ EFLAGS, 1, 4, { 0 } },
	{ SELECTOR, 6, 4, { SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS } },
	{ STREG, 8, 10, { 0, 1, 2, 3, 4, 5, 6, 7 } },
	{ FPUREG, 8, 4, { 0, 1, 2, 3, 4, 5, 6, 7 } },
	{ XMMREG, 16, 16, { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } },
	{ MXCSR, 1, 4, { 0 } },
	{ YMMREG, 16, 16, { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } },
	{ BASE, 2, 8, { SEG_FS, SEG_GS } },
	{ KERNEL_GS, 1, 8, { 0 } },
	{ CR0, 1, 8, { 0 } },
	{ CR2, 1, 8, { 0 } },
	{ CR3, 1, 8, { 0 } },
	{ CR4, 1, 8, { 0 } },
	{ CR8, 1, 8, { 0 } },
	{ EFER, 1, 8, { 0 } },
};

unsigned gdb_register_count(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_LEN(groups); i++)
		n += groups[i].count;
	return n;
}

static const struct group *group_of(unsigned *n)
{
	for (unsigned i = 0; i < ARRAY_LEN(groups); i++) {
		if (*n < groups[i].count)
			return &groups[i];
		*n -= groups[i].count;
	}
	return NULL;
}

/* The two-bit tags that FXSAVE's abridged ones stand for, as far as they tell: empty or not. */
static uint16_t full_tags(const struct x86_cpu *cpu)
{
	unsigned tags = 0;

	for (unsigned i = 0; i < 8; i++)
		if (!(cpu->xsave[FPU_FTW] >> i & 1))
			tags |= 3u << (2 * i);
	return (uint16_t)tags;
}

/* Where a register's value is as it stands, or NULL. */
static void *place(struct x86_cpu *cpu, unsigned kind, unsigned n)
{
	switch (kind) {
	case GPR:
		return &cpu->gpr[n];
	case RIP:
		return &cpu->rip;
	case EFLAGS:
		return &cpu->rflags;
	case STREG:
		return cpu->xsave + FPU_ST + 16 * n;
	case XMMREG:
		return cpu->xsave + FPU_XMM + 16 * n;
	case YMMREG:
		return cpu->xsave + FPU_YMM + 16 * n;
	case MXCSR:
		return cpu->xsave + FPU_MXCSR;
	case BASE:
		return &cpu->seg[n].base;
	case CR0:
		return &cpu->cr0;
	case CR2:
		return &cpu->cr2;
	case CR3:
		return &cpu->cr3;
	case CR4:
		return &cpu->cr4;
	case CR8:
		return &cpu->cr8;
	case EFER:
		return &cpu->efer;
	default:
		return NULL;
	}
}

#define MSR_KERNEL_GS_BASE 0xc0000102

unsigned gdb_register_get(struct x86_cpu *cpu, unsigned n, uint8_t *out)
{
	const struct group *g = group_of(&n);
	const void *at;
	uint64_t v = 0;

	if (!g)
		return 0;
	vcpu_sync(&cpu->vcpu, VS_ALL);
	at = place(cpu, g->kind, (unsigned)g->map[n]);
	if (at) {
		memcpy(out, at, g->bytes);
		return g->bytes;
	}
	if (g->kind == SELECTOR)
		v = cpu->seg[g->map[n]].selector;
	else if (g->kind == KERNEL_GS)
		x86_msr_find(cpu, MSR_KERNEL_GS_BASE, &v);
	else if (n < 2) /* fctrl, fstat */
		v = load_le(cpu->xsave + (n ? FPU_FSW : FPU_FCW), 2);
	else if (n == 2)
		v = full_tags(cpu);
	store_le(out, v, g->bytes);
	return g->bytes;
}

bool gdb_register_put(struct x86_cpu *cpu, unsigned n, const uint8_t *in)
{
	const struct group *g = group_of(&n);
	void *at;

	if (!g)
		return false;
	vcpu_sync(&cpu->vcpu, VS_ALL);
	at = place(cpu, g->kind, (unsigned)g->map[n]);
	if (at) {
		memcpy(at, in, g->bytes);
		/* Parts of the FPU state that were in their initial state have a value now. */
		cpu->xsave[XSTATE_BV] |= 7;
	} else if (g->kind == KERNEL_GS) {
		x86_msr_set(cpu, MSR_KERNEL_GS_BASE, load_le(in, 8));
	} else if (g->kind == SELECTOR) {
		struct x86_segment *s = &cpu->seg[g->map[n]];

		s->selector = (uint16_t)load_le(in, 2);
		if (!(cpu->cr0 & CR0_PE))
			s->base = (uint64_t)s->selector << 4;
	} else if (n < 2) {
		store_le(cpu->xsave + (n ? FPU_FSW : FPU_FCW), load_le(in, 2), 2);
	}
	vcpu_modified(&cpu->vcpu, VS_ALL);
	return true;
}
