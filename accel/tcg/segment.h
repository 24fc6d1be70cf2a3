/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors, for segment.c and task.c. Whatever raises here may. */
#pragma once

#include "accel/tcg/system.h"

struct descriptor {
	uint64_t low, high; /* `high` only of 16-byte ones */
	uint64_t address;
	uint16_t selector;
};

#define D_RIGHTS(d) ((uint32_t)((d)->low >> 40 & 0xf0ff))
#define D_TYPE(d) ((unsigned)((d)->low >> 40 & 15))
#define D_CODE 8u
#define D_CONFORMING 4u
#define D_WRITABLE 2u
#define D_READABLE 2u /* of code */

/* System descriptors: D_TYPE without DESC_S. */
enum {
	TYPE_TSS16 = 1,
	TYPE_LDT = 2,
	TYPE_CALL_GATE16 = 4,
	TYPE_TASK_GATE = 5,
	TYPE_TSS32 = 9,
	TYPE_CALL_GATE32 = 12,
	TYPE_BUSY = 2 /* of a TSS, added */
};

/* False: there is none. */
bool descriptor_read(struct tcg_env *env, uint16_t selector, struct descriptor *d);
struct x86_segment descriptor_segment(const struct descriptor *d);
/* In memory too. */
void descriptor_set_accessed(struct tcg_env *env, struct descriptor *d);
/* Raises with the selector as error code. */
_Noreturn void segment_raise(struct tcg_env *env, unsigned vector, uint16_t selector);
/* As in real and V86 mode. */
void segment_load_real(struct tcg_env *env, unsigned seg, uint16_t selector);
/* An event's push to the stack in use. */
void stack_push_event(struct tcg_env *env, uint64_t v, unsigned size);
/* The three words of an interrupt as the 8086 makes it. */
void stack_push_real(struct tcg_env *env, uint64_t flags, uint16_t cs, uint64_t ip);

/* v86.c */
/* CLI and STI: false if they are not virtual here. */
bool v86_set_interrupts(struct tcg_env *env, bool set);
/* PUSHF's, in any mode, with the virtual IF where there is one. */
uint64_t v86_flags(const struct tcg_env *env);
/* Raises if PUSHF, POPF or IRET of this operand size are the monitor's. */
void v86_check_flags(struct tcg_env *env, unsigned size);
/* POPF and IRET in V86 mode. */
void v86_load_flags(struct tcg_env *env, uint64_t flags, unsigned size);
/* INT n: true if the redirection map let it happen in V86 mode. */
bool v86_interrupt(struct tcg_env *env, uint8_t vector, uint64_t next);

/* task.c */
enum task_switch { TASK_JUMP, TASK_CALL, TASK_EVENT, TASK_RETURN };
/*
 * Switches to the task of a TSS (SDM volume 3, 7.3); the old one goes on at `next` when it is
 * switched to again. Not in long mode. Checks all but the privilege that a descriptor or gate asks
 * for.
 */
void task_switch(struct tcg_env *env, uint16_t tss, enum task_switch how, uint64_t next,
		 const struct tcg_event *event);
/* IRET with EFLAGS.NT. */
void task_return(struct tcg_env *env, uint64_t next);
