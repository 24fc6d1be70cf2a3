/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cases of the translator's test against the bare CPU: where their code and data lie, the state
 * that they begin and end with, and segments that the processor and the translator see alike.
 */
#pragma once

#include "accel/tcg/system.h"

#define SANDBOX UINT64_C(0x10000000)
#define SANDBOX_SIZE 65536u
#define CODE UINT64_C(0x2a5f3000)
#define CODE_SIZE 8192u

#define XSAVE_BYTES 832 /* x87, SSE, AVX in standard format */
#define XSTATE_BV 512
#define FCW 0
#define MXCSR 24

#define AT_END 32 /* a vector: no exception */

struct case_state {
	uint64_t gpr[GPRS];
	uint64_t rip, flags;
	uint8_t fpu[XSAVE_BYTES] __attribute__((aligned(64)));
	int vector;	  /* of the exception that ended it */
	uint64_t address; /* page faults */
	uint32_t error;
	uint16_t segment[4]; /* selectors, ES to DS */
};

/* A register's; many are addresses in the sandbox. */
uint64_t random_value(void);
/* An image for XRSTOR in which no exception is pending. */
void random_fpu(uint8_t *image);
/* Another such image, with new values in these vector registers and in some of the x87's. */
void vary_fpu(uint8_t *image, unsigned vectors);
/* Sets what the image leaves out or what no two runs share to the same in all. */
void neutral_fpu(uint8_t *image);

/* Selectors of the host's flat segments. */
#define FLAT_CODE32 0x23
#define FLAT_DATA 0x2b
#define FLAT_CODE64 0x33

/* Where the translator finds the descriptor tables. */
#define TABLES UINT64_C(0x50000)
#define TABLES_SIZE 4096u
extern uint8_t case_tables[TABLES_SIZE];
extern uint16_t selectors[4]; /* of the case, ES to DS */

/* Makes the process's local descriptor table, and the same for the translator. */
void segments_set_up(struct x86_cpu *cpu);
/* The next case's code size and selectors. */
void choose_segments(void);
/* Any selector, one that faults included. */
uint16_t random_selector(void);
struct x86_segment segment_at(uint16_t selector);
/* Bytes: 2, 4 or 8. */
unsigned code_size(void);
/* 0 for ES to DS of 64-bit code, which takes no notice of them. */
uint64_t segment_base(unsigned seg);
bool has_big_stack(void);

/* Whether cases have it: the host has it too, and is an oracle for it. */
bool tested(const struct insn *in);
/* Its image of the x87 state tells addresses, which are the code's. */
bool saves_fpu(const struct insn_row *row);
/* It uses selectors; they come from a list, as the host's own are not known. */
bool reads_selectors(const struct insn_row *row);
bool branches(const struct insn *in);
