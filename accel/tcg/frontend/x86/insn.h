/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86 instructions: one table says for each how it is encoded, what it reads and writes, which
 * flags it touches, which CPUID bit it needs and how it is translated. The decoder, the disassembly
 * and the translator read it. Source: Intel SDM volume 2, appendix A, and AMD APM volume 3,
 * appendix A.
 */
#pragma once

#include "core/compiler.h"

/*
 * Operands are written as in the manuals' opcode maps: a letter for the place, then the size.
 *
 *	E  general register or memory, by ModRM.rm	G  general register, by ModRM.reg
 *	M  memory only					R  general register only, by ModRM.rm
 *	B  general register, by VEX.vvvv		Z  general register, by the opcode's low
 *bits V  XMM/YMM, by ModRM.reg			W  XMM/YMM or memory, by ModRM.rm H  XMM/YMM, by
 *VEX.vvvv				U  XMM/YMM only, by ModRM.rm L  XMM/YMM, by the immediate's
 *high bits	P  MMX, by ModRM.reg
 *	Q  MMX or memory, by ModRM.rm			N  MMX only, by ModRM.rm
 *	S  segment register				C, D  control and debug registers
 *	I  immediate					SI  immediate, sign-extended
 *	J  relative target				A  far pointer
 *	O  memory at an absolute offset			X, Y  string source and destination
 *	F  x87 stack register, by ModRM.rm		K  a fixed general register: a (rAX), c
 *(rCX), d (rDX) ONE  the constant 1
 */
enum {
	OPK_NONE,
	OPK_E,
	OPK_G,
	OPK_M,
	OPK_R,
	OPK_B,
	OPK_Z,
	OPK_V,
	OPK_W,
	OPK_H,
	OPK_U,
	OPK_L,
	OPK_P,
	OPK_Q,
	OPK_N,
	OPK_S,
	OPK_C,
	OPK_D,
	OPK_I,
	OPK_SI,
	OPK_J,
	OPK_A,
	OPK_O,
	OPK_X,
	OPK_Y,
	OPK_F,
	OPK_KA,
	OPK_KC,
	OPK_KD,
	OPK_ONE,
};

/* Sizes; those without a number of bytes of their own depend on prefixes or mode. */
enum {
	SZ_0,	/* none: LEA, prefetches */
	SZ_b,	/* 1 */
	SZ_w,	/* 2 */
	SZ_d,	/* 4 */
	SZ_q,	/* 8 */
	SZ_dq,	/* 16 */
	SZ_qq,	/* 32 */
	SZ_t,	/* 10 */
	SZ_v,	/* 2, 4 or 8: the operand size */
	SZ_y,	/* 4 or 8: by REX.W/VEX.W only */
	SZ_z,	/* 2 or 4: as v, but no more than 4 */
	SZ_x,	/* 16 or 32: by VEX.L */
	SZ_h,	/* half of x */
	SZ_k,	/* a quarter of x */
	SZ_e,	/* an eighth of x */
	SZ_g,	/* 4 or 8: natural width of the mode (control registers) */
	SZ_s,	/* GDT or IDT image: 6 or 10 */
	SZ_p,	/* far pointer: 4, 6 or 10 */
	SZ_a,	/* BOUND's pair: 4 or 8 */
	SZ_env, /* x87 environment: 14 or 28 */
	SZ_fsv, /* x87 state: 94 or 108 */
	SZ_fx,	/* FXSAVE area: 512 */
	SZ_xs,	/* XSAVE area */
	SZ_yy,	/* 8 or 16: CMPXCHG8B/16B */
	SZ_CODES,
};

#define OPERAND(kind, size) ((uint16_t)(OPK_##kind << 8 | SZ_##size))
#define OPERAND_KIND(o) ((o) >> 8)
#define OPERAND_SIZE(o) ((o)&0xff)

enum insn_map { MAP_1, MAP_0F, MAP_0F38, MAP_0F3A, MAPS };
/* What of the prefixes selects the row. */
enum insn_prefix {
	PFX_ANY, /* 66 is the operand size, F2 and F3 mean nothing */
	PFX_NP,	 /* none of 66, F2, F3 */
	PFX_66,
	PFX_F3, /* 66 is the operand size */
	PFX_F2, /* likewise */
	PFX_NF, /* neither F2 nor F3; 66 is the operand size */
};
enum insn_mod { MOD_ANY, MOD_MEM, MOD_REG };

/* Operand access: what is not named is read. */
enum insn_access {
	ACC_R,	/* reads all */
	ACC_W,	/* writes the first */
	ACC_RW, /* reads and writes the first */
	ACC_WW, /* reads and writes the first and second */
	ACC_W2, /* writes the first and second (MULX) */
	ACC_N,	/* touches no operand's contents (LEA, NOP) */
};

#define FLAG_C 0x001
#define FLAG_P 0x004
#define FLAG_A 0x010
#define FLAG_Z 0x040
#define FLAG_S 0x080
#define FLAG_O 0x800
#define FLAGS_ALL (FLAG_C | FLAG_P | FLAG_A | FLAG_Z | FLAG_S | FLAG_O)

/* How an instruction treats the arithmetic flags; see x86_flag_class. */
enum insn_flags {
	FL_NONE,
	FL_ARITH, /* sets all */
	FL_LOGIC, /* C and O to 0, A undefined */
	FL_CARRY, /* reads C, sets all: ADC */
	FL_INC,	  /* all but C */
	FL_SHIFT, /* a count of 0 leaves all */
	FL_DSHIFT,
	FL_ROT, /* C and O only */
	FL_RCX, /* the same through C */
	FL_MUL,
	FL_DIV, /* all undefined */
	FL_BT,
	FL_BSF,
	FL_ZCNT, /* LZCNT, TZCNT */
	FL_BMI,	 /* ANDN, BLSx, BEXTR, BZHI */
	FL_POPCNT,
	FL_COMI, /* Z, P, C by comparison; O, S, A to 0 */
	FL_STR,	 /* PCMPxSTRx, PTEST */
	FL_CC,	 /* reads what the condition in the opcode says */
	FL_C_RW, /* CMC */
	FL_C_W,	 /* CLC, STC */
	FL_ADCX,
	FL_ADOX,
	FL_Z_W, /* LAR, LSL, VERR, ARPL, CMPXCHG8B */
	FL_RAND,
	FL_BCD,	  /* DAA, DAS: reads C and A; O undefined */
	FL_BCD_A, /* AAA, AAS */
	FL_BCD_M, /* AAM, AAD */
	FL_SAHF,  /* all but O */
	FL_LAHF,  /* reads all but O */
	FL_LOAD,  /* POPF, IRET */
	FL_STORE, /* PUSHF and whatever needs the whole register */
	FL_FCMOV,
	FL_LOOPZ,
	FL_CLASSES,
};

struct flag_class {
	uint16_t def, use, undef;
};
extern const struct flag_class x86_flag_class[FL_CLASSES];

/* CPUID bits, by the names of cpu/x86/features.c where there is one. */
enum insn_feature {
	FEAT_BASE,
	FEAT_FPU,
	FEAT_CX8,
	FEAT_CMOV,
	FEAT_MMX,
	FEAT_FXSR,
	FEAT_SSE,
	FEAT_SSE2,
	FEAT_SSE3,
	FEAT_SSSE3,
	FEAT_SSE41,
	FEAT_SSE42,
	FEAT_POPCNT,
	FEAT_CX16,
	FEAT_MOVBE,
	FEAT_AES,
	FEAT_PCLMUL,
	FEAT_SHA,
	FEAT_AVX,
	FEAT_AVX2,
	FEAT_FMA,
	FEAT_F16C,
	FEAT_VAES,
	FEAT_VPCLMULQDQ,
	FEAT_GFNI,
	FEAT_BMI1,
	FEAT_BMI2,
	FEAT_ADX,
	FEAT_LZCNT,
	FEAT_RDRAND,
	FEAT_RDSEED,
	FEAT_XSAVE,
	FEAT_XSAVEOPT,
	FEAT_XSAVEC,
	FEAT_XSAVES,
	FEAT_CLFLUSH,
	FEAT_CLFLUSHOPT,
	FEAT_CLWB,
	FEAT_FSGSBASE,
	FEAT_RDTSCP,
	FEAT_RDPID,
	FEAT_INVPCID,
	FEAT_SMAP,
	FEAT_PKU,
	FEAT_LAHF,
	FEAT_SYSCALL,
	FEAT_SEP,
	FEAT_MONITOR,
	FEAT_MSR,
	FEAT_TSC,
	FEAT_SPEC_CTRL,
	FEAT_ARCH_CAPABILITIES,
	FEAT_KVMCLOCK,
	FEAT_KVMCLOCK_NEW,
	FEAT_KVMCLOCK_STABLE,
	FEAT_KVM_STEAL_TIME,
	FEAT_KVM_PV_EOI,
	FEATURES, /* 64 at most: env->features */
};
static_assert(FEATURES <= 64, "a bit for each");

/* How it is translated: a template is re-encoded for the host; everything else has code of its own.
 */
enum insn_kind {
	K_T, /* template */
	K_NOP,
	K_UD,
#define KIND(name) K_##name,
#include "accel/tcg/frontend/x86/kinds.h"
#undef KIND
	K_KINDS,
};

/* Attributes. */
#define A_LOCK BIT(0)	 /* LOCK is allowed with a memory destination */
#define A_I64 BIT(1)	 /* invalid in 64-bit mode */
#define A_O64 BIT(2)	 /* 64-bit mode only */
#define A_D64 BIT(3)	 /* operand size 64 by default in 64-bit mode, no 32 */
#define A_F64 BIT(4)	 /* operand size always 64 in 64-bit mode */
#define A_CPL0 BIT(5)	 /* #GP above CPL 0 */
#define A_REP BIT(6)	 /* takes REP */
#define A_PM BIT(7)	 /* #UD in real and V86 mode */
#define A_L1_AVX2 BIT(8) /* VEX.L=1 needs AVX2 */
#define A_FPU BIT(9)	 /* x87: CR0.EM and TS */

enum { W_ANY, W_0, W_1 };
enum { L_ANY, L_0, L_1 };

struct insn_row {
	const char *name;
	uint8_t vex, map, opcode, prefix;
	uint8_t ext, rm; /* ModRM.reg and .rm that select the row, plus 1; 0 for any */
	uint8_t mod, w, l;
	uint8_t access, flags, feature, kind;
	uint16_t attr;
	uint16_t operand[4];
};

enum { INSN_REX_B = 1, INSN_REX_X = 2, INSN_REX_R = 4, INSN_REX_W = 8 };

/* Operands that name a general register. */
enum {
	NAMES_REG = BIT(0),	/* ModRM.reg */
	NAMES_RM = BIT(1),	/* ModRM.rm, unless that is memory */
	NAMES_RM_ONLY = BIT(2), /* ModRM.rm */
	NAMES_OPCODE = BIT(3),	/* the opcode's low bits */
	NAMES_VVVV = BIT(4),
};

/* How an instruction can be part of a group (group.c). */
enum insn_join { JOIN_NOT, JOIN_TEMPLATE, JOIN_CMPXCHG, JOIN_LEA, JOIN_NOP, JOIN_PUSH, JOIN_POP };

/* What follows from a row. */
struct insn_row_info {
	bool mmx : 1, simd : 1;	   /* such registers are among its operands */
	bool by_prefix : 1;	   /* an operand's size depends on 66h */
	bool by_w : 1;		   /* or on REX.W or VEX.W only */
	bool fits : 1;		   /* its prefixes alone tell it from others of its opcode */
	bool special : 1;	   /* not all operands can be together (decode.c) */
	bool has_e : 1, has_g : 1; /* such operands */
	bool simple : 1;	   /* there are no registers of other kinds, nor bytes */
	bool anywhere : 1;	   /* CPUID alone says whether it can be used */
	bool mem_read : 1, mem_written : 1;
	bool flags_vary : 1;   /* not only with the row */
	bool fpu_waits : 1;    /* a pending x87 exception comes first */
	bool ends : 1;	       /* it is over when its memory has been accessed */
	bool always : 1;       /* it can be used everywhere */
	bool fpu : 1;	       /* CR0 and CR4 may refuse it */
	bool host_faults : 1;  /* the host's instruction may fault on its own */
	bool plain : 1;	       /* `written` tells all that it does, beside flags and operands */
	bool writes_bytes : 1; /* and they may be AH to BH */
	bool ends_block : 1;   /* nothing after it is part of the block */
	uint8_t prefixes; /* which fit: a bit for each; with VEX, for each of PFX_ (decode.c) */
	uint8_t operands; /* beside those in ModRM (decode.c) */
	uint8_t imm;	  /* the immediate's size code */
	uint8_t mem;	  /* that of an operand that can be memory; SZ_0: not touched */
	uint8_t names, names_written, names_bytes; /* NAMES_ bits */
	uint16_t written;			   /* general registers that are no operands */
	uint8_t join;				   /* enum insn_join */
	uint8_t wide;				   /* in 64-bit code: 0, or A_D64 is 1, A_F64 2 */
	uint8_t host_prefix;			   /* the row's 66h, F2h or F3h, or 0 */
	/* The escape bytes and the opcode, the first lowest. */
	uint8_t opcode_bytes;
	uint32_t opcode_word;
	struct flag_class flags;
};

/* Register operand numbers: 0 to 15; byte registers 4 to 7 without REX are AH to BH. */
struct insn {
	const struct insn_row *row;
	const struct insn_row_info *info; /* the row's */
	const uint16_t *sizes;		  /* by SZ_, with its prefixes */
	uint8_t len;
	uint8_t opcode;
	uint8_t rex; /* INSN_REX_ bits; for VEX what the bits amount to */
	bool has_rex, lock, opsize, addrsize, vex;
	uint8_t rep;		  /* 0, F2h or F3h */
	uint8_t segment_override; /* SEG_ number, or 0xff */
	uint8_t operand_size;	  /* bytes of v: 2, 4, 8 */
	uint8_t address_size;	  /* 2, 4, 8 */
	uint8_t vvvv, l;
	bool vex_w; /* VEX.W in every mode; general registers have 64 bits only by `rex` */
	bool has_modrm;
	uint8_t mod, reg, rm; /* reg and rm without REX */
	uint8_t reg4, rm4;    /* with it */
	/* The memory operand: registers are numbers, -1 for none. */
	bool mem, rip_relative;
	int8_t base, index;
	uint8_t scale;	 /* shift count */
	uint8_t segment; /* SEG_ number that applies */
	int64_t disp;
	uint64_t imm;
	uint16_t imm2; /* ENTER's second; a far pointer's selector */
	/* What follows from all that; the functions below explain. */
	uint16_t mem_bytes;
	bool mem_read, mem_written;
	struct flag_class flags;
	uint8_t imm_bytes;
	uint16_t written; /* general registers */
	/* The translator's: the exception that its use in this mode is, or -1. */
	int8_t refused;
};

/* Code size of the mode: 2, 4 or 8 bytes. */
enum insn_result {
	INSN_OK,
	INSN_UNDEFINED, /* #UD; len says how far the decoder read */
	INSN_TOO_LONG,	/* #GP: more than 15 bytes */
	INSN_NEED_MORE, /* the bytes given end inside the instruction */
};
enum insn_result x86_decode(struct insn *in, const uint8_t *bytes, size_t n, unsigned code_size);
/* It is the next row of the table instead, which must have the same opcode and operands. */
void x86_next_row(struct insn *in);
/* Bytes of an operand's size code for this instruction; 0 for none. */
static inline unsigned insn_size(const struct insn *in, unsigned size_code)
{
	return in->sizes[size_code];
}
/* Bytes of the memory operand; 0 when there is none or its contents are not touched. */
static inline unsigned insn_mem_bytes(const struct insn *in)
{
	return in->mem_bytes;
}
static inline bool insn_mem_written(const struct insn *in)
{
	return in->mem_written;
}
static inline bool insn_mem_read(const struct insn *in)
{
	return in->mem_read;
}
/* Whether a memory operand that is not naturally aligned is #GP (SDM volume 1, 10.4.1 and 14.9). */
bool insn_mem_aligned(const struct insn *in);
/* The flags that a condition code (0 to 15) reads. */
uint16_t insn_cc_flags(unsigned cc);
/* What it reads, sets and leaves undefined, with the condition and immediate taken into account. */
static inline struct flag_class insn_flags(const struct insn *in)
{
	return in->flags;
}

/* General registers that its operands are, memory's address apart. */
unsigned operand_registers(const struct insn *in);
/* Those that an instruction of a plain kind (flags.c) writes, or a CMPXCHG. */
static inline unsigned written_registers(const struct insn *in)
{
	return in->written;
}

extern const struct insn_row x86_rows[];
extern const unsigned x86_row_count;
