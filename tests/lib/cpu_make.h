/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes cases of the translator's test against the bare CPU: code of one or several random
 * instructions, and states in which it runs.
 */
#pragma once

#include "accel/tcg/frontend/x86/translate.h"
#include "tests/lib/cpu_case.h"

#define CASE_INSNS 16

struct made_case {
	uint8_t code[256]; /* HLT follows it */
	unsigned size;	   /* without that */
	uint64_t at;	   /* linear */
	uint64_t end;	   /* rip */
	struct insn insn[CASE_INSNS];
	uint64_t insn_at[CASE_INSNS]; /* linear */
	unsigned insns;
	struct case_state state; /* to begin with */
	uint32_t stack_half;	 /* bits 31 to 16 of ESP where 16-bit stacks do not use them */

	uint16_t undefined, undefined_once;    /* flags at the end, and at any time */
	unsigned gather_masks, gather_results; /* registers */
	bool branches;
	bool reads_ldt;	 /* it may look at descriptors */
	bool reads_code; /* it may look at itself */
	bool partial;	 /* a fault may come after some of the stores */
	bool in_parts;	 /* 80-bit operands, of which each part wraps around in its segment */
	bool any_address, has_mask, has_byte_mask, has_mmx, has_half, has_rep, x87_store;
};
extern struct made_case made;
/* Every case that can be a loop, or one of operands that lie together, is one. */
extern bool make_loops, make_neighbours;

/* stack_half is one of these. */
extern const uint32_t case_stack_halves[6];

struct row_list {
	const struct insn_row **row;
	unsigned count;
};
void list_row(struct row_list *list, const struct insn_row *row);
const struct insn_row *one_of(const struct row_list *list);

/* Once, before the first case. */
void list_neighbours(void);
/* What the sandbox is full of. Selectors lie in a part of it. */
void make_memory(uint8_t *memory);
#define SELECTORS (SANDBOX + 0xe000)
#define SELECTORS_SIZE 2048u

/*
 * Makes a case whose first instruction is of the given row, the others as next() says; `many`: most
 * cases have several. False: try again.
 */
bool make_case(const struct insn_row *first, const struct insn_row *(*next)(void), bool many);
/* Another state for the same code. False: this case has one only. */
bool vary_state(void);
/*
 * Whether it is an XRSTOR whose image, in this process's sandbox, names parts of the state that the
 * host may have and the translator here has not.
 */
bool restores_host_parts(void);
