/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between translated code and C. Translated code keeps guest rax rcx rdx rbx rbp rsi rdi r8 r9 in the host's
 * registers of that name, guest rsp in r10 and r12 in r11; r12 and r13 are scratch, r14 and r15 the store
 * and load TLB. A thunk puts the guest's registers where C sees them and fetches them back after.
 */
	.intel_syntax noprefix
	.text

	.set	GPR, 0
	.set	GUEST_RIP, 128
	.set	CC, 136
	.set	LOAD_BASE, 144
	.set	STORE_BASE, 152
	.set	JUMP_CACHE, 160
	.set	JUMP_CACHE_MASK, 0x3fff0 /* of an entry's place */
	.set	HOST_RSP, 168
	.set	SELF, 176
	.set	SLOW_VA, 184
	.set	RET_RSP, 192
	.set	RET_BASE, 200
	.set	RETURN_TO, 208
	.set	BUDGET, 216
	.set	AHEAD, 220
	.set	BRANCH_SITE, 224

	.macro	save_guest
	mov	gs:[GPR + 0], rax
	mov	gs:[GPR + 8], rcx
	mov	gs:[GPR + 16], rdx
	mov	gs:[GPR + 24], rbx
	mov	gs:[GPR + 32], r10
	mov	gs:[GPR + 40], rbp
	mov	gs:[GPR + 48], rsi
	mov	gs:[GPR + 56], rdi
	mov	gs:[GPR + 64], r8
	mov	gs:[GPR + 72], r9
	mov	gs:[GPR + 96], r11
	.endm

	.macro	load_guest
	mov	rax, gs:[GPR + 0]
	mov	rcx, gs:[GPR + 8]
	mov	rdx, gs:[GPR + 16]
	mov	rbx, gs:[GPR + 24]
	mov	r10, gs:[GPR + 32]
	mov	rbp, gs:[GPR + 40]
	mov	rsi, gs:[GPR + 48]
	mov	rdi, gs:[GPR + 56]
	mov	r8, gs:[GPR + 64]
	mov	r9, gs:[GPR + 72]
	mov	r11, gs:[GPR + 96]
	mov	r15, gs:[LOAD_BASE]
	mov	r14, gs:[STORE_BASE]
	.endm

	/* C has a stack of its own; on ours are predicted returns, which it may forget. */
	.macro	to_c
	mov	gs:[RET_RSP], rsp
	mov	rsp, gs:[HOST_RSP]
	.endm

	.macro	from_c
	mov	rsp, gs:[RET_RSP]
	load_guest
	.endm

	/* A thunk that is called takes its return address off, and returns as a call does. */
	.macro	called
	pop	qword ptr gs:[RETURN_TO]
	.endm

	.macro	return
	push	qword ptr gs:[RETURN_TO]
	ret
	.endm

	.macro	function name
	.globl	\name
	.type	\name, @function
\name:
	.endm

/* void tcg_enter(struct tcg_env *env, void *code) */
function tcg_enter
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	sub	rsp, 8
	mov	gs:[HOST_RSP], rsp
	mov	r12, rsi
	from_c
	jmp	r12

/* Leaves translated code for guest rip r13. */
function tcg_thunk_leave_to_t0
	mov	gs:[GUEST_RIP], r13
/* Leaves translated code; gs:[GUEST_RIP] says where the guest is. */
function tcg_thunk_exit_main
	save_guest
	to_c
leave:
	mov	rsp, gs:[HOST_RSP]
	add	rsp, 8
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	ret

/*
 * r13: address, r12: site. After the call stand distances from there: to where the TLB is tried again, with
 * the address in r13, and, for loads, to where it goes on, with the bytes at [r13 + r12]. Stores go on behind
 * them.
 */
	.macro	slow_access name fn
function \name
	called
	save_guest
	to_c
	mov	gs:[SLOW_VA], r13
	mov	rdi, gs:[SELF]
	mov	rsi, r13
	mov	edx, r12d
	call	\fn
	mov	r12, rax
	mov	rcx, gs:[RETURN_TO]
	xor	r13d, r13d
	test	rax, rax
	jz	1f
	.ifc	\name, tcg_thunk_load
	movsxd	rdx, dword ptr [rcx + 4]
	add	rcx, rdx
	.else
	add	rcx, 4
	.endif
	jmp	2f
1:	movsxd	rdx, dword ptr [rcx]
	add	rcx, rdx
	mov	r13, gs:[SLOW_VA]
2:	mov	gs:[RETURN_TO], rcx
	from_c
	return
	.endm

slow_access tcg_thunk_load, tcg_slow_load
slow_access tcg_thunk_store, tcg_slow_store

/* After a slow store: keeps everything, or leaves if the code that is running was written to. */
function tcg_thunk_commit
	called
	save_guest
	to_c
	pushfq
	sub	rsp, 8
	mov	rdi, gs:[SELF]
	call	tcg_slow_commit
	test	eax, eax
	jnz	1f
	add	rsp, 8
	popfq
	from_c
	return
1:	cmp	eax, 1
	je	leave
	/* The guest's flags are the host's. */
	mov	rdx, [rsp + 8]
	mov	eax, edx
	shl	eax, 8
	and	eax, 0xd700
	shr	edx, 11
	and	edx, 1
	or	eax, edx
	mov	gs:[CC], rax
	jmp	leave

/* r12: helper, r13: its argument. */
function tcg_thunk_helper
	called
	save_guest
	to_c
	mov	rdi, gs:[SELF]
	mov	rsi, r13
	call	r12
	test	eax, eax
	jnz	1f
	from_c
	return
1:	mov	eax, gs:[AHEAD]		/* it is done; what was to come after it is not */
	dec	eax
	add	gs:[BUDGET], eax
	mov	dword ptr gs:[AHEAD], 0
	jmp	leave

/* To the code that C finds, or out. */
	.macro	find_way name fn argument
function \name
	save_guest
	to_c
	mov	rdi, gs:[SELF]
	mov	rsi, \argument
	call	\fn
	test	rax, rax
	jz	leave
	mov	r12, rax
	from_c
	jmp	r12
	.endm

/* r12: the exit's name. */
find_way tcg_thunk_exit_direct, tcg_exit_direct, r12
/* r13: guest rip. */
find_way tcg_thunk_exit_indirect, tcg_exit_indirect, r13

/* The same of an indirect jump; r12: its site plus 1. */
function tcg_thunk_jump_miss
	mov	gs:[BRANCH_SITE], r12d
	jmp	tcg_thunk_exit_indirect

/* A return to r13 that was predicted otherwise: the call it belongs to is forgotten. r12: its site plus 1. */
function tcg_thunk_ret_miss
	mov	gs:[BRANCH_SITE], r12d
	add	rsp, 16
	cmp	rsp, gs:[RET_BASE]
	ja	2f
1:	mov	r12d, r13d
	shr	r12d, 12
	xor	r12d, r13d
	shl	r12d, 4
	and	r12d, JUMP_CACHE_MASK
	add	r12, gs:[JUMP_CACHE]
	cmp	r13, [r12]
	jne	tcg_thunk_exit_indirect
	mov	dword ptr gs:[BRANCH_SITE], 0
	jmp	[r12 + 8]
2:	mov	rsp, gs:[RET_BASE]
	jmp	1b

	.section .note.GNU-stack, "", @progbits
