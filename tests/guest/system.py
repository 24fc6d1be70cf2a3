# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs for the bare machine: paging, faults, debug registers."""
from bare import *
from moa import *

# 64-bit code with the first GiB mapped in large pages, an IDT whose handlers note what came and go on at [resume].
HARNESS = """
	.intel_syntax noprefix
	.code32
	.section .header, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002
	.section .text
	.globl start
start:	mov edi, offset pml4
	lea eax, [edi + 0x1007]
	mov [edi], eax
	lea eax, [edi + 0x2007]
	mov [edi + 0x1000], eax
	lea eax, [edi + 0x3007]
	mov [edi + 0x1008], eax		# 1 GiB on: `pd2`
	xor ecx, ecx
1:	mov eax, ecx
	shl eax, 21
	or eax, 0x83
	mov [edi + 0x2000 + ecx * 8], eax
	inc ecx
	cmp ecx, 512
	jne 1b
	mov cr3, edi
	mov eax, 0xa0			# PAE, PGE
	mov cr4, eax
	mov ecx, 0xc0000080
	rdmsr
	or eax, 0x900			# LME, NXE
	wrmsr
	lgdt [gdtr]
	mov eax, 0x80010033		# WP
	mov cr0, eax
	.byte 0xea
	.long wide
	.word 8
	.code64
wide:	mov ax, 16
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov rsp, offset stack_top
	mov rdi, offset idt
	mov rax, offset vectors
	mov ecx, 32
1:	mov rdx, rax
	mov [rdi], dx
	mov word ptr [rdi + 2], 8
	mov word ptr [rdi + 4], 0x8e00
	shr rdx, 16
	mov [rdi + 6], dx
	add rdi, 16
	add rax, 16
	dec ecx
	jnz 1b
	lidt [idtr]
	jmp main
	.align 16
vectors:
	.set n, 0
	.rept 32
	.align 16
	.if n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21
	.else
	push 0
	.endif
	push n
	jmp trap
	.set n, n + 1
	.endr
trap:	push rax
	mov rax, [rsp + 8]
	mov [vector], rax
	mov rax, [rsp + 16]
	mov [code], rax
	mov rax, cr2
	mov [address], rax
	mov rax, [rsp + 24]
	mov [where], rax
	mov rax, [rsp + 40]
	mov [flags], rax
	inc qword ptr [traps]
	cmp qword ptr [vector], 1
	jne 2f
	cmp qword ptr [keep_dr6], 0
	jne 2f
	mov rax, dr6
	mov [status], rax
	mov eax, 0xffff0ff0
	mov dr6, rax
2:	mov rax, [resume]
	test rax, rax
	jz 1f
	mov [rsp + 24], rax
	mov qword ptr [resume], 0
1:	mov rax, [set_flags]
	or [rsp + 40], rax
	mov rax, [clear_flags]
	not rax
	and [rsp + 40], rax
	cmp qword ptr [traps], 100000
	ja fail
	pop rax
	add rsp, 16
	iretq
fail:	mov al, [step]
	jmp out
good:	mov al, 0x10
out:	mov dx, 0x501
	out dx, al
1:	hlt
	jmp 1b
	.data
	.align 8
gdt:	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdtr:	.word 23
	.quad gdt
	.align 8
idtr:	.word 32 * 16 - 1
	.quad idt
	.align 8
vector:	.quad 0
code:	.quad 0
address: .quad 0
where:	.quad 0
flags:	.quad 0
status:	.quad 0
traps:	.quad 0
resume:	.quad 0
set_flags: .quad 0
clear_flags: .quad 0
keep_dr6: .quad 0
step:	.quad 0
variable: .quad 0, 0
	.bss
	.align 4096
pml4:	.skip 0x3000
pd2:	.skip 0x1000
pt:	.skip 0x1000
idt:	.skip 512
stack:	.skip 4096
stack_top:
	.skip 4096
	.section .text
"""

# "STEP n" names what follows; "SAME a, b" checks; "FAULTS insn, vector, error" runs one that must.
MACROS = [
    (r"\s*#.*$", ""),
    (r"^\s*STEP (\d+)$", r"mov qword ptr [step], \1\nmov qword ptr [traps], 0"),
    (r"^(\d:)?\s*SAME ([^,\n]+), ([^,\n]+)$", r"\1 mov rax, \2\ncmp rax, \3\njne fail"),
    (r"^\s*FAULTS (.+), (\d+), (\w+)$",
     r"mov qword ptr [resume], offset 77f\n\1\njmp fail\n77:\ncmp qword ptr [vector], \2\njne fail\n"
     r"cmp qword ptr [code], \3\njne fail"),
]

PAGING = HARNESS + """
main:	mov dword ptr [0x400000], 0x11111111
	mov dword ptr [0x405000], 0x11111112
	mov dword ptr [0x600000], 0x22222222
	mov dword ptr [0x605000], 0x22222223
	mov rbx, 0x40000000
	STEP 1				# a large page, invalidated by another of its addresses
	mov qword ptr [pd2], 0x400083
	mov ecx, [rbx]
	cmp ecx, 0x11111111
	jne fail
	cmp dword ptr [rbx + 0x5000], 0x11111112
	jne fail
	mov qword ptr [pd2], 0x600083
	invlpg [rbx + 0x9000]
	cmp dword ptr [rbx + 0x5000], 0x22222223
	jne fail
	cmp dword ptr [rbx], 0x22222222
	jne fail
	STEP 2				# pages of 4 KiB: accessed and dirty bits
	lea rax, [pt]
	or rax, 3
	mov [pd2], rax
	mov qword ptr [pt], 0x400003
	invlpg [rbx]
	cmp dword ptr [rbx], 0x11111111
	jne fail
	cmp qword ptr [pt], 0x400023
	jne fail
	mov dword ptr [rbx], 0x33333333
	cmp qword ptr [pt], 0x400063
	jne fail
	cmp dword ptr [0x400000], 0x33333333
	jne fail
	STEP 3				# not global: gone with CR3
	mov qword ptr [pt], 0x600003
	mov rax, cr3
	mov cr3, rax
	cmp dword ptr [rbx], 0x22222222
	jne fail
	STEP 4				# global: gone with INVLPG, and with CR4.PGE
	mov qword ptr [pt], 0x400103
	invlpg [rbx]
	cmp dword ptr [rbx], 0x33333333
	jne fail
	mov qword ptr [pt], 0x600103
	invlpg [rbx]
	cmp dword ptr [rbx], 0x22222222
	jne fail
	mov qword ptr [pt], 0x400103
	mov rax, cr4
	xor rax, 0x80
	mov cr4, rax
	xor rax, 0x80
	mov cr4, rax
	cmp dword ptr [rbx], 0x33333333
	jne fail
	STEP 5				# read-only pages bind the supervisor by CR0.WP
	mov qword ptr [pt], 0x400001
	invlpg [rbx]
	FAULTS mov dword ptr [rbx + 8], 1, 14, 3
	SAME [address], 0x40000008
	mov rax, cr0
	btr rax, 16
	mov cr0, rax
	mov dword ptr [rbx + 8], 0x44444444
	bts rax, 16
	mov cr0, rax
	FAULTS mov dword ptr [rbx + 8], 1, 14, 3
	STEP 6				# not present; a fault in the middle of the second page
	mov qword ptr [pt], 0x400003
	mov qword ptr [pt + 8], 0
	invlpg [rbx]
	invlpg [rbx + 4096]
	FAULTS mov rcx, [rbx + 4092], 14, 0
	SAME [address], 0x40001000
	FAULTS mov [rbx + 4092], rcx, 14, 2
	SAME [address], 0x40001000
	STEP 7				# no-execute
	mov rax, 0x8000000000400003
	mov [pt], rax
	mov byte ptr [0x400000], 0xc3
	invlpg [rbx]
	mov r9, rsp
	FAULTS call rbx, 14, 0x11
	mov rsp, r9
	SAME [where], 0x40000000
	mov qword ptr [pt], 0x400003
	invlpg [rbx]
	call rbx
	STEP 8				# code that moves: the page under it is another
	mov dword ptr [0x400000], 0x000001b8	# mov eax, 1; ret
	mov word ptr [0x400004], 0xc300
	mov dword ptr [0x600000], 0x000002b8
	mov word ptr [0x600004], 0xc300
	call rbx
	cmp eax, 1
	jne fail
	mov qword ptr [pt], 0x600003
	invlpg [rbx]
	call rbx
	cmp eax, 2
	jne fail
	mov qword ptr [pt], 0x400003
	mov rax, cr3
	mov cr3, rax
	call rbx
	cmp eax, 1
	jne fail
	STEP 30				# an instruction across two pages, of which the second is another
	mov word ptr [0x400ff0], 0x0beb		# jmp to it
	mov byte ptr [0x400ffd], 0xb8		# mov eax, imm32; ret
	mov word ptr [0x400ffe], 1
	mov dword ptr [0x401000], 0x00c30000
	mov dword ptr [0x601000], 0x00c30002
	mov qword ptr [pt], 0x400103
	mov qword ptr [pt + 8], 0x401103
	invlpg [rbx]
	invlpg [rbx + 4096]
	lea r8, [rbx + 0xff0]
	lea r9, [rbx + 0xffd]
	mov r10, 3				# more than once, so that the way there is known
1:	call r8
	cmp eax, 1
	jne fail
	call r9
	cmp eax, 1
	jne fail
	dec r10
	jnz 1b
	mov qword ptr [pt + 8], 0x601103
	invlpg [rbx + 4096]
	mov r10, 3
1:	call r8
	cmp eax, 0x20001
	jne fail
	call r9
	cmp eax, 0x20001
	jne fail
	dec r10
	jnz 1b
	mov qword ptr [pt + 8], 0x401003
	invlpg [rbx + 4096]
	call r8
	cmp eax, 1
	jne fail
	mov qword ptr [pt + 8], 0x601003	# and gone with CR3
	mov rax, cr3
	mov cr3, rax
	call r8
	cmp eax, 0x20001
	jne fail
	mov qword ptr [pt + 8], 0
	invlpg [rbx + 4096]
	mov r9, rsp
	FAULTS call r8, 14, 0x10
	mov rsp, r9
	SAME [address], 0x40001000
	SAME [where], 0x40000ffd
	mov qword ptr [pt], 0x400003
	invlpg [rbx]
	STEP 9				# reserved bits
	mov rax, 0x10000000400003
	mov qword ptr [pt + 16], 0
	mov rax, 0x400083 | (1 << 13)
	mov [pd2 + 8], rax
	FAULTS mov rcx, [rbx + 0x200000], 14, 9
	mov rax, 0x0001000000400083		# an address bit that there is not
	mov [pd2 + 8], rax
	FAULTS mov rcx, [rbx + 0x200000], 14, 9
	STEP 10				# not canonical
	mov rcx, 0x8000000000000000
	FAULTS mov al, [rcx], 13, 0
	FAULTS mov [rsp + rcx], al, 12, 0
	STEP 12				# a page of 1 GiB, where there are such
	mov eax, 0x80000001
	cpuid
	bt edx, 26
	jnc 1f
	mov dword ptr [0x400000], 0x55555555
	mov qword ptr [pml4 + 0x1010], 0x83
	mov r8d, 0x80400000
	cmp dword ptr [r8], 0x55555555
	jne fail
	mov dword ptr [r8 + 4], 0x66666666
	cmp dword ptr [0x400004], 0x66666666
	jne fail
	cmp byte ptr [pml4 + 0x1010], 0xe3
	jne fail
	mov qword ptr [pml4 + 0x1010], 0
	invlpg [r8 + 0x123000]
	FAULTS mov eax{COMMA} [r8], 14, 0
	mov qword ptr [pml4 + 0x1010], 0x100083
	FAULTS mov eax{COMMA} [r8], 14, 9
1:
	STEP 11				# SMAP, where the processor has it
	mov eax, 7
	xor ecx, ecx
	cpuid
	bt ebx, 20
	jnc good
	mov ebx, 0x40000000
	mov qword ptr [pt], 0x400007
	lea rax, [pt]
	or rax, 7
	mov [pd2], rax
	mov rax, cr4
	bts rax, 21
	mov cr4, rax
	FAULTS mov rcx, [rbx], 14, 1
	stac
	mov rcx, [rbx]
	mov [rbx], rcx
	clac
	FAULTS mov rcx, [rbx], 14, 1
	FAULTS mov [rbx], rcx, 14, 3
	pushfq
	or dword ptr [rsp], 1 << 18
	popfq
	mov rcx, [rbx]
	pushfq
	and dword ptr [rsp], ~(1 << 18)
	popfq
	FAULTS mov rcx, [rbx], 14, 1
	mov rax, cr4
	btr rax, 21
	mov cr4, rax
	STEP 20				# PCID and INVPCID
	mov dword ptr [0x400000], 0x55555555
	mov dword ptr [0x600000], 0x22222222
	mov ecx, 1
	mov [variable], rcx
	mov qword ptr [variable + 8], 0
	FAULTS invpcid rcx{COMMA} [variable], 13, 0	# a PCID without CR4.PCIDE
	mov rax, cr4
	bts rax, 17
	mov cr4, rax
	mov rax, cr3
	or rax, 5
	mov cr3, rax
	mov rax, cr3
	and eax, 0xfff
	SAME rax, 5
	mov qword ptr [pd2], 0x400083
	mov ecx, 2
	invpcid rcx, [variable]
	cmp dword ptr [rbx], 0x55555555
	jne fail
	mov qword ptr [pd2], 0x600083
	mov qword ptr [variable], 5
	mov [variable + 8], rbx
	xor ecx, ecx
	invpcid rcx, [variable]
	cmp dword ptr [rbx], 0x22222222
	jne fail
	mov rax, cr3
	bts rax, 63			# leaves them
	mov cr3, rax
	mov rax, cr3
	bt rax, 63
	jc fail
	cmp dword ptr [rbx], 0x22222222
	jne fail
	mov ecx, 4
	FAULTS invpcid rcx{COMMA} [variable], 13, 0
	xor ecx, ecx
	mov rax, 0x8000000000000000
	mov [variable + 8], rax
	FAULTS invpcid rcx{COMMA} [variable], 13, 0
	mov qword ptr [variable], 0x1000
	FAULTS invpcid rcx{COMMA} [variable], 13, 0
	mov rax, cr0
	btr rax, 31
	FAULTS mov cr0{COMMA} rax, 13, 0
	STEP 21				# reserved bits of CR3, targets that are not canonical
	mov rax, cr3
	bts rax, 52
	FAULTS mov cr3{COMMA} rax, 13, 0
	mov rax, 0x0100000000100000
	FAULTS jmp rax, 13, 0
	jmp good
"""

DEBUG = HARNESS + """
main:
	STEP 1				# data written: the trap comes after
	lea rax, [variable]
	mov dr0, rax
	mov eax, 0xd0702		# global, write, 4 bytes
	mov dr7, rax
	mov ecx, [variable]		# not a write
	SAME [traps], 0
	mov dword ptr [variable], 5
1:	SAME [traps], 1
	SAME [vector], 1
	lea rbx, 1b
	SAME [where], rbx
	mov rax, [status]
	and eax, 0xf
	cmp eax, 1
	jne fail
	cmp dword ptr [variable], 5
	jne fail
	mov byte ptr [variable + 3], 1
	SAME [traps], 2
	mov byte ptr [variable + 4], 1
	SAME [traps], 2
	mov qword ptr [variable - 4], 0		# overlaps
	SAME [traps], 3
	STEP 2				# read or written, by string instructions and stacks
	mov eax, 0xf0702
	mov dr7, rax
	mov ecx, [variable]
	SAME [traps], 1
	lea rsi, [variable - 8]
	lea rdi, [stack]
	mov ecx, 4
	rep movsd
	SAME [traps], 2
	lea rax, [stack + 2048]
	mov dr0, rax
	mov r9, rsp
	lea rsp, [stack + 2056]
	push rcx
	mov rsp, r9
	SAME [traps], 3
	STEP 3				# instructions: the fault comes before, RF lets it pass
	lea rax, 2f
	mov dr1, rax
	mov eax, 0x708
	mov dr7, rax
	mov qword ptr [set_flags], 1 << 16
	xor ebx, ebx
	mov ecx, 3
1:	nop
2:	inc ebx
	dec ecx
	jnz 1b
	mov qword ptr [set_flags], 0
	SAME [traps], 3
	cmp ebx, 3
	jne fail
	lea rbx, 2b
	SAME [where], rbx
	mov rax, [status]
	and eax, 0xf
	cmp eax, 2
	jne fail
	STEP 4				# single steps
	mov eax, 0x400
	mov dr7, rax
	xor ebx, ebx
	pushfq
	or dword ptr [rsp], 0x100
	popfq
	inc ebx
	inc ebx
	pushfq
	and dword ptr [rsp], ~0x100
	popfq
	nop
	SAME [traps], 5
	mov rax, [status]
	bt eax, 14
	jnc fail
	STEP 5				# debug registers guarded
	mov eax, 0x2400
	mov dr7, rax
	mov qword ptr [keep_dr6], 1
	FAULTS mov rax{COMMA} dr0, 1, 0
	mov rax, dr7
	bt eax, 13
	jc fail
	mov rax, dr6
	bt eax, 13
	jnc fail
	mov qword ptr [keep_dr6], 0
	mov eax, 0xffff0ff0
	mov dr6, rax
	STEP 6				# an I/O breakpoint, with CR4.DE
	mov rax, cr4
	or rax, 8
	mov cr4, rax
	mov eax, 0x80
	mov dr2, rax
	mov eax, 0x2000720
	mov dr7, rax
	out 0x81, al
	SAME [traps], 0
	out 0x80, al
	SAME [traps], 1
	mov rax, [status]
	and eax, 0xf
	cmp eax, 4
	jne fail
	mov eax, 0x400
	mov dr7, rax
	FAULTS mov rax{COMMA} dr4, 6, 0
	STEP 7				# INT1 and INT3
	.byte 0xf1
	SAME [vector], 1
	int3
1:	SAME [vector], 3
	lea rbx, 1b
	SAME [where], rbx
	jmp good
"""


# An interrupt that waits comes between STI's successor and CLI, and not when there is nothing between.
WINDOW = HARNESS + """
	.macro outb port, value
	mov al, \\value
	out \\port, al
	.endm
	.macro tick			# IRQ 0 waits
	outb 0x43, 0x30			# PIT counter 0, mode 0
	outb 0x40, 2
	outb 0x40, 0
	outb 0x20, 0x0a			# the PIC's requests
9:	in al, 0x20
	test al, 1
	jz 9b
	.endm
main:	outb 0x20, 0x11
	outb 0x21, 0x18			# vectors 24 to 31
	outb 0x21, 4
	outb 0x21, 3			# they end by themselves
	outb 0x21, 0xfe
	STEP 1
	tick
	sti
	cli
	nop
	SAME [traps], 0
	STEP 2
	sti
	nop
1:	nop
	cli
	SAME [traps], 1
	SAME [vector], 24
	lea rbx, 1b
	SAME [where], rbx
	STEP 3				# the same in a loop, as firmware waits
	mov ebp, 50
2:	tick
	mov ecx, 3
3:	sti
	nop
	pause
	cli
	dec ecx
	jnz 3b
	dec ebp
	jnz 2b
	SAME [traps], 50
	STEP 4				# a load of SS shuts it out for one more instruction
	tick
	mov ecx, 16
	sti
	mov ss, cx
4:	nop
	cli
	SAME [traps], 1
	STEP 5				# STI ends its page
	mov dword ptr [0x700fff], 0x90c3fafb # sti; cli; ret
	tick
	mov rbp, 0x700fff
	call rbp
	SAME [traps], 0
	mov dword ptr [0x700fff], 0xc3fa90fb # sti; nop; cli; ret
	call rbp
	SAME [traps], 1
	lea rbx, [rbp + 2]
	SAME [where], rbx
	jmp good
"""


# The same code while SSE and AVX are not allowed, while they are, and again.
SIMD = HARNESS + """
	.macro allow
	mov rax, cr4
	or eax, 0x40600			# OSXSAVE, OSXMMEXCPT, OSFXSR
	mov cr4, rax
	mov ecx, 0
	mov eax, 7
	mov edx, 0
	xsetbv
	.endm
	.macro forbid
	mov rax, cr4
	and eax, ~0x40600
	mov cr4, rax
	.endm
main:	forbid
	STEP 1
	mov ebp, 3
1:
	FAULTS call plain, 6, 0
	dec ebp
	jnz 1b
	STEP 2
	allow
	mov ebp, 3
1:	call plain
	dec ebp
	jnz 1b
	SAME [traps], 0
	STEP 3
	forbid
	FAULTS call plain, 6, 0
	FAULTS call plain, 6, 0
	STEP 4
	allow
	call plain
	SAME [traps], 0
	jmp good
plain:	inc ecx
	jnz 1f
	ret
1:	call simd
	ret
simd:	pxor xmm0, xmm0
	ret
"""


# Loops whose rounds share a check of their pages: what happens at the pages' ends, and to their own code.
LOOPS = HARNESS + """
	.macro quiet_int
	mov al, 0x11			# the PIC's vectors from 24, ended by themselves
	out 0x20, al
	mov al, 24
	out 0x21, al
	mov al, 4
	out 0x21, al
	mov al, 3
	out 0x21, al
	mov al, 0xfe
	out 0x21, al
	mov al, 0x34			# PIT counter 0, mode 2: 1 kHz
	out 0x43, al
	mov al, 0xa9
	out 0x40, al
	mov al, 4
	out 0x40, al
	.endm
	.macro map third		# 1 GiB: four pages, the last first in memory
	mov qword ptr [pt], 0x403003
	mov qword ptr [pt + 8], 0x402003
	mov qword ptr [pt + 16], \\third
	mov qword ptr [pt + 24], 0x400003
	mov rax, cr3
	mov cr3, rax
	.endm
main:	mov rbx, 0x40000000
	lea rax, [pt]
	or rax, 3
	mov [pd2], rax
	map 0
	STEP 1				# the third is not there: the first store to it faults, all before are done
	mov qword ptr [resume], offset 2f
	lea rdi, [rbx + 8]
	lea rsi, [rbx + 0x4000]
	mov ecx, 1
1:	mov [rdi], rcx
	add rcx, 3
	add rdi, 8
	cmp rdi, rsi
	jne 1b
	jmp fail
2:	SAME [vector], 14
	lea rdx, 1b
	SAME [where], rdx
	lea rdx, [rbx + 0x2000]
	SAME [address], rdx
	SAME [code], 2
	SAME rdi, rdx
	SAME rcx, 3070
	mov rax, [flags]		# of the last comparison: below, borrowed
	and eax, 0x8d5
	cmp eax, 0x85
	jne fail
	SAME [traps], 1
	STEP 2				# it goes on where it was
	mov qword ptr [pt + 16], 0x401003
	jmp 1f
1:	mov [rdi], rcx
	add rcx, 3
	add rdi, 8
	cmp rdi, rsi
	jne 1b
	STEP 3				# all is where it should be, and the loop down finds it
	SAME [0x403008], 1
	SAME [0x403ff8], 1531
	SAME [0x402000], 1534
	SAME [0x401000], 3070
	SAME [0x400ff8], 6139
	lea rdi, [rbx + 0x4000]
	xor edx, edx
	mov ecx, 2047
1:	add rdx, [rdi - 8]
	lea rdi, [rdi - 8]
	dec ecx
	jnz 1b
	SAME rdx, 6284290
	STEP 4				# dirty, and no more than that
	map 0x401003
	lea rdi, [rbx + 0xf00]
	lea rsi, [rbx + 0x1100]
	xor edx, edx
1:	mov rax, [rdi + 0x1000]
	mov [rdi], rax
	add rdi, 8
	add rdx, rax
	cmp rdi, rsi
	jb 1b
	SAME [pt], 0x403063
	SAME [pt + 8], 0x402063
	SAME [pt + 16], 0x401023
	SAME [pt + 24], 0x400003
	SAME [0x403f00], [0x402f00]
	SAME [0x4020f8], [0x4010f8]
	STEP 5				# a debug register in the midst of it
	lea rax, [rbx + 0x1800]
	mov dr0, rax
	mov eax, 0xd0001		# writes of 4 bytes
	mov dr7, rax
	lea rdi, [rbx + 0x1000]
	mov ecx, 0x400
1:	mov [rdi], ecx
	add rdi, 4
	dec ecx
	jnz 1b
	xor eax, eax
	mov dr7, rax
	SAME [traps], 1
	SAME [vector], 1
	STEP 6				# rounds that reach code, and change it
	mov dword ptr [0x700000], 0xc3c2ff	# inc edx; ret
	xor edx, edx
	mov rax, 0x700000
	call rax
	SAME rdx, 1
	mov ecx, 0x90909090
	mov rdi, 0x6fff00
	mov rsi, 0x700002
1:	mov [rdi], cl
	add rdi, 1
	cmp rdi, rsi
	jne 1b
	mov rax, 0x700000
	call rax
	SAME rdx, 1
	STEP 7				# a loop that writes over its own next round: ADD to SUB
	mov rsi, offset body
	mov rdi, 0x800000
	mov ecx, 0x40
	rep movsb
	mov rdi, 0x7ff000
	mov rsi, 0x800040
	mov cl, 0x29
	xor edx, edx
	mov ebp, 1
	mov rax, 0x800000
	call rax
	SAME rdx, 64
	SAME [0x7fff80], 0x29
	STEP 8				# interrupts come between two rounds
	quiet_int
	mov rdi, 0x900000
	mov ecx, 6 << 20
	sti
1:	mov [rdi], cl
	inc rdi
	dec ecx
	jnz 1b
	cli
	cmp qword ptr [traps], 0
	je fail
	cmp byte ptr [0x900000 + (6 << 20) - 1], 1
	jne fail
	jmp good
	# The last store but one makes its first instruction SUB.
body:	add edx, ebp
	mov [rdi], cl
	add rdi, 0x40
	cmp rdi, rsi
	jbe body
	ret
"""


def program(tmp, text, name):
    for pattern, by in MACROS:
        text = re.sub(pattern, by, text, flags=re.M)
    text = text.replace("{COMMA}", ",")
    return link(tmp, text, name)


@test
def paging(tmp):
    # A software KVM loses its way in here.
    ends_well(program(tmp, PAGING, "paging"), engines=TRANSLATOR)


@test
def simd_is_refused_and_allowed(tmp):
    # A software KVM runs them whatever CR4 says.
    ends_well(program(tmp, SIMD, "simd"), engines=TRANSLATOR)


@test
def loops(tmp):
    ends_well(program(tmp, LOOPS, "loops"), engines=TRANSLATOR)


@test
def interrupt_windows(tmp):
    # A software KVM does not stop between two instructions for an interrupt.
    ends_well(program(tmp, WINDOW, "window"), engines=TRANSLATOR)


@test
def debug_registers(tmp):
    # A software KVM has no #DB of its own in kernel mode.
    ends_well(program(tmp, DEBUG, "debug"), engines=TRANSLATOR)


main()
