# SPDX-License-Identifier: GPL-2.0-or-later
"""32-bit programs for the bare machine: task switches, task gates, V86 mode and its virtual interrupts, code in devices,
system management mode."""
from bare import *
from moa import *

# Segments: 8 code, 10h data, 18h to 50h TSSs, 58h a task gate, 60h LDT, 6bh user code, 73h user data, 78h and
# 80h 16-bit code and data from 1 MiB on.
HARNESS = """
	.intel_syntax noprefix
	.code32
	.section .header, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002
	# The descriptor of a segment at \\at.
	.macro place selector, at
	mov eax, offset \\at
	mov [gdt + \\selector + 2], ax
	shr eax, 16
	mov [gdt + \\selector + 4], al
	mov [gdt + \\selector + 7], ah
	.endm
	.macro gate vector, selector, offset, rights
	mov eax, offset \\offset
	mov [idt + 8 * \\vector], ax
	mov word ptr [idt + 8 * \\vector + 2], \\selector
	mov word ptr [idt + 8 * \\vector + 4], \\rights
	shr eax, 16
	mov [idt + 8 * \\vector + 6], ax
	.endm
	# The next fault must be this one, and goes on at the label.
	.macro awaits step, vector, code, label
	mov byte ptr [number], \\step
	mov dword ptr [want], \\vector
	mov dword ptr [want_code], \\code
	mov dword ptr [resume], offset \\label
	.endm
	.section .text
	.globl start
start:	lgdt [gdtr]
	.byte 0xea
	.long 1f
	.word 8
1:	mov ax, 0x10
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov fs, ax
	mov gs, ax
	mov esp, offset stack_top
	mov ecx, 32
	mov esi, offset vectors
	mov edi, offset idt
1:	mov eax, esi
	mov [edi], ax
	mov word ptr [edi + 2], 8
	mov word ptr [edi + 4], 0x8e00
	shr eax, 16
	mov [edi + 6], ax
	add esi, 16
	add edi, 8
	loop 1b
	lidt [idtr]
	jmp main
	.align 16
vectors:
	.set n, 0
	.rept 32
	.align 16
	.if n == 8 || (n >= 10 && n <= 14) || n == 17
	.else
	push 0
	.endif
	push n
	jmp trap
	.set n, n + 1
	.endr
trap:	pop eax
	cmp eax, [want]
	jne fail
	pop eax
	cmp eax, [want_code]
	jne fail
	mov eax, [esp]
	mov [where], eax
	mov eax, [esp + 8]
	mov [flags], eax
	mov eax, [resume]
	mov [esp], eax
	mov dword ptr [want], 99
	iretd
fail:	mov al, [number]
	jmp out
good:	mov al, 0x10
out:	mov dx, 0x501
	out dx, al
1:	hlt
	jmp 1b
	.data
	.align 8
gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
	.rept 8				# 18h: TSSs
	.quad 0x0000890000000067
	.endr
	.quad 0x0000850000200000	# 58h: a task gate to 20h
	.quad 0x000082000000000f	# 60h: LDT
	.quad 0x00cffb000000ffff, 0x00cff3000000ffff
	.quad 0x00009b100000ffff, 0x000093100000ffff
gdtr:	.word . - gdt - 1
	.long gdt
	.align 8
idtr:	.word 256 * 8 - 1
	.long idt
	.align 4
want:	.long 99
want_code: .long 0
resume:	.long 0
where:	.long 0
flags:	.long 0
number:	.long 0
	.bss
	.align 4096
idt:	.skip 2048
	.skip 4096
stack_top:
	.skip 4096
stack_b_top:
	.skip 4096
stack_c_top:
	.skip 4096
stack_0_top:
	.align 4096
"""

TASKS = HARNESS + """
	.macro task label, ip, flags, esp, cs, data, ldt
	.align 128
\\label: .long 0, stack_0_top, 0x10, 0, 0, 0, 0, 0, \\ip, \\flags
	.long 0xaaaaaaaa, 0xcccccccc, 0xdddddddd, 0xbbbbbbbb, \\esp, 0xbbbb0000, 0x51515151, 0xd1d1d1d1
	.long \\data, \\cs, \\data, \\data, \\data, \\data, \\ldt
	.word 0, 0x68
	.endm
	.data
	.align 128
main_tss: .skip 128
	task b_tss, b_entry, 2, stack_b_top, 8, 0x10, 0x60
	task c_tss, c_entry, 2, stack_c_top, 8, 0x10, 0
	task user_tss, user_entry, 0x3002, stack_b_top, 0x6b, 0x73, 0
	task bad_tss, b_entry, 2, stack_b_top, 8, 0x10, 0
	.align 128
old_tss: .word 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 3, 4, 0x1000, 6, 7, 8, 0x80, 0x78, 0x10, 0x80, 0
ldt:	.quad 0, 0x00cf93000000ffff
counter: .long 0
	.section .text
b_entry: expect eax, 0xaaaaaaaa, 1
	expect ecx, 0xcccccccc, 1
	expect edi, 0xd1d1d1d1, 1
	expect esp, offset stack_b_top, 2
	pushfd
	pop eax
	and eax, 0x4000
	expect eax, 0x4000, 3			# NT
	str ax
	expect ax, 0x20, 4
	sldt ax
	expect ax, 0x60, 5
	mov eax, cr0
	and eax, 8
	expect eax, 8, 6			# TS
	expect word ptr [b_tss], 0x18, 7
	expect byte ptr [gdt + 0x25], 0x8b, 8
	expect byte ptr [gdt + 0x1d], 0x8b, 9
	clts
	inc dword ptr [counter]
	mov ebx, 0x12345678
	iretd
	# Called again, it goes on here.
	expect ebx, 0x12345678, 10
	expect dword ptr [counter], 1, 11
	inc dword ptr [counter]
	iretd
	inc dword ptr [counter]			# by JMP: no NT
	pushfd
	pop eax
	and eax, 0x4000
	expect eax, 0, 12
	expect byte ptr [gdt + 0x1d], 0x89, 13
	.byte 0xea
	.long 0
	.word 0x18
	inc dword ptr [counter]			# by INT
	iretd
	inc dword ptr [counter]			# by CALL with the trap bit: the trap comes first
	iretd
	hlt
c_entry: pop ebp				# #GP's code
	expect ebp, 0x1234, 40
	expect word ptr [c_tss], 0x18, 41
	mov eax, [main_tss + 0x24]
	and eax, 0x10000
	expect eax, 0x10000, 42			# RF of a fault
	mov eax, [main_tss + 0x20]
	expect eax, offset gp_here, 43
	mov dword ptr [main_tss + 0x20], offset gp_after
	iretd
	jmp c_entry
ts_entry: pop ebp				# #TS's code
	expect ebp, 8, 30
	expect word ptr [c_tss], 0x40, 31	# it came from the new task
	expect dword ptr [bad_tss + 0x20], offset b_entry, 32
	mov word ptr [c_tss], 0x18		# back to the first
	mov byte ptr [gdt + 0x45], 0x89
	mov dword ptr [main_tss + 0x20], offset main2
	iretd
	jmp c_entry
user_entry: mov ax, cs
	expect ax, 0x6b, 50
	int 0x41
	expect dword ptr [counter], 100, 51
	iretd
kernel:	mov ax, ss
	expect ax, 0x10, 52
	expect esp, offset stack_0_top - 20, 53
	mov dword ptr [counter], 100
	iretd
	.code16
old_entry: cmp eax, 0xffff0001
	jne 1f
	cmp sp, 0x1000
	jne 1f
	inc dword ptr [bx]
	iret
1:	hlt
	.code32
main:	place 0x18, main_tss
	place 0x20, b_tss
	place 0x28, c_tss
	place 0x30, user_tss
	place 0x38, old_tss
	place 0x40, bad_tss
	place 0x48, bad_tss
	place 0x60, ldt
	mov byte ptr [gdt + 0x3d], 0x81		# 286
	mov word ptr [gdt + 0x38], 0x2b
	mov eax, offset old_entry
	mov [old_tss + 0x0e], ax
	mov eax, offset counter
	mov [old_tss + 0x18], ax
	mov word ptr [gdt + 0x48], 0x66		# too short
	mov byte ptr [gdt + 0x55], 0x09		# absent
	gate 0x40, 0x20, 0, 0x8500
	gate 0x41, 8, kernel, 0xee00
	mov ax, 0x18
	ltr ax
	mov ebp, 0x87654321
	.byte 0x9a				# CALL to a TSS
	.long 0
	.word 0x20
	expect ebp, 0x87654321, 14
	expect dword ptr [counter], 1, 15
	pushfd
	pop eax
	and eax, 0x4000
	expect eax, 0, 16
	expect byte ptr [gdt + 0x25], 0x89, 17
	str ax
	expect ax, 0x18, 18
	.byte 0x9a				# and through a gate
	.long 0
	.word 0x58
	expect dword ptr [counter], 2, 19
	.byte 0xea				# JMP
	.long 0
	.word 0x58
	expect dword ptr [counter], 3, 20
	expect byte ptr [gdt + 0x25], 0x89, 21
	int 0x40
	expect dword ptr [counter], 4, 22
	awaits 23, 13, 0x18, 1f			# busy
	.byte 0xea
	.long 0
	.word 0x18
	jmp fail
1:	awaits 24, 10, 0x48, 1f			# too short
	.byte 0x9a
	.long 0
	.word 0x48
	jmp fail
1:	awaits 25, 11, 0x50, 1f			# absent
	.byte 0x9a
	.long 0
	.word 0x50
	jmp fail
1:	mov word ptr [b_tss + 0x64], 1
	awaits 26, 1, 0, 2f
	.byte 0x9a
	.long 0
	.word 0x20
	jmp 1f
2:	mov eax, dr6				# in task B, before its first instruction
	and eax, 0x8000
	expect eax, 0x8000, 27
	xor eax, eax
	mov dr6, eax
	str ax
	expect ax, 0x20, 28
	mov word ptr [b_tss + 0x64], 0
	iretd
1:	str ax
	expect ax, 0x18, 29
	mov dword ptr [bad_tss + 0x50], 8	# SS: code
	gate 10, 0x28, 0, 0x8500		# a new task without a stack: its faults have a task too
	mov dword ptr [c_tss + 0x20], offset ts_entry
	.byte 0x9a
	.long 0
	.word 0x40
	jmp fail
main2:	gate 13, 0x28, 0, 0x8500
	mov ax, 0x1234
gp_here: mov fs, ax				# a fault through a task gate
	jmp fail
gp_after: str ax
	expect ax, 0x18, 44
	.byte 0x9a
	.long 0
	.word 0x30				# a user's task
	expect dword ptr [counter], 100, 54
	.byte 0x9a
	.long 0
	.word 0x38				# a 16-bit one
	expect dword ptr [counter], 101, 55
	jmp good
"""

# V86 code at 1000:0000, its stack at 2000:1000; the monitor counts the #GPs of what it must not do.
V86 = HARNESS + """
	.section .text
main:	place 0x18, tss
	mov word ptr [gdt + 0x18], 0x68 + 32 + 32	# the last byte of the I/O map
	mov ax, 0x18
	ltr ax
	gate 13, 8, monitor, 0x8e00
	mov esi, offset code86
	mov edi, 0x10000
	mov ecx, offset code86_end
	sub ecx, esi
	rep movsb
	mov word ptr [4 * 0x60], 0x800		# an 8086 handler at 1000:0800
	mov word ptr [4 * 0x60 + 2], 0x1000
	mov edx, 0x20002			# VM
	call enter				# without VME: all of it is the monitor's
	.long no_vme - code86, 1
	mov eax, cr4
	or eax, 1
	mov cr4, eax
	mov edx, 0x20002
	call enter
	.long with_vme - code86, 20
	mov edx, 0x120002			# VIP
	call enter
	.long pending - code86, 40
	mov edx, 0x23002			# IOPL 3: IF is real
	call enter
	.long iopl3 - code86, 60
	# CR4.PVI: CPL 3 has a virtual IF too.
	mov eax, 2
	mov cr4, eax
	gate 0x43, 8, pvi_done, 0xee00
	mov byte ptr [number], 80
	mov [saved], esp
	mov [tss + 4], esp
	push 0x73
	push offset stack_b_top
	push 2
	push 0x6b
	push offset pvi
	iretd
pvi:	sti
	pushfd
	pop ecx
	cli
	pushfd
	pop edx
	int 0x43
pvi_done: mov ax, 0x10
	mov ds, ax
	and ecx, 0x80200
	expect ecx, 0x80000, 81
	and edx, 0x80200
	expect edx, 0, 82
	jmp good
# Runs the V86 code whose offset and first step follow the call, with flags EDX, until it ends with its result in AX: 0
# if all was well.
enter:	pop esi
	mov eax, [esi + 4]
	mov [number], eax
	lea eax, [esi + 8]
	mov [back], eax
	mov [saved], esp
	mov [tss + 4], esp
	push 0
	push 0
	push 0x1000				# DS
	push 0
	push 0x2000
	push 0x1000
	push edx
	push 0x1000
	push dword ptr [esi]
	xor ebp, ebp
	iretd
# Passes over the instruction at fault, whose length is CX, and counts in EBP; HLT is the end.
monitor: mov bx, 0x10
	mov ds, bx
	mov ebx, [esp + 4]
	cmp byte ptr [ebx + 0x10000], 0xf4
	je 1f
	add esp, 4
	inc ebp
	movzx ecx, cx
	add [esp], ecx
	iretd
1:	mov es, [tss + 8]
	mov esp, [saved]
	cmp ax, 0
	jne 1f
	jmp [back]
1:	add al, [number]
	jmp out
	.code16
	.macro check a, b, n
	mov ax, \\n
	cmp \\a, \\b
	jne done
	.endm
code86:
no_vme:	mov cx, 1
	cli
	sti
	pushf
	popf
	iret
	mov cx, 2
	int 0x60
	check bp, 6, 1
	xor ax, ax
done:	hlt
with_vme: mov cx, 1
	sti
	pushf
	pop dx
	and dx, 0x3200
	check dx, 0x3200, 1			# IF is VIF, IOPL 3
	cli
	pushf
	pop dx
	and dx, 0x3200
	check dx, 0x3000, 2
	push 0x200
	popf
	pushf
	pop dx
	and dx, 0x200
	check dx, 0x200, 3
	check bp, 0, 4
	mov bx, 0x5555
	int 0x60				# by the 8086's table
	check bx, 0x6666, 5
	check bp, 0, 6
	pushf
	pop dx
	and dx, 0x200
	check dx, 0x200, 7			# VIF came back with IRET
	mov cx, 2
	int 0x61				# not that one
	check bp, 1, 8
	push 0x100
	mov cx, 1
	popf					# TF is the monitor's
	check bp, 2, 9
	mov cx, 2
	pushfd
	check bp, 3, 10
	xor ax, ax
	jmp done
pending: mov cx, 1
	sti
	check bp, 1, 1
	push 0x200
	popf
	check bp, 2, 2
	xor ax, ax
	jmp done
iopl3:	mov cx, 1
	pushf
	pop dx
	and dx, 0x3200
	check dx, 0x3000, 1
	mov bx, 0x5555
	int 0x60
	check bx, 0x6666, 2
	check bp, 0, 3
	xor ax, ax
	jmp done
	.org code86 + 0x800
	mov bp, sp				# the 8086's handler: flags as INT pushed them
	mov dx, [bp + 4]
	mov bx, 0x6666
	pushf
	pop ax
	test ax, 0x200				# IF off in here
	jz 1f
	mov bx, 1
1:	xor bp, bp
	iret
code86_end:
	.code32
	.data
	.align 128
tss:	.long 0, 0, 0x10
	.skip 0x66 - 12
	.word 0x68 + 32
	.skip 12
	.byte 0xfe				# 60h by the 8086's table
	.skip 19, 0xff
	.skip 33, 0xff
back:	.long 0
saved:	.long 0
"""


# A function in the registers of pc-testdev, over a page's end.
DEVICE_CODE = HARNESS + """
	.section .text
function: mov eax, 5
	mov ecx, 10
1:	inc eax
	loop 1b
	ret
function_end:
main:	mov ebp, 0xff000ff0
1:	mov edi, ebp
	mov esi, offset function
	mov ecx, offset function_end
	sub ecx, esi
	rep movsb
	call ebp
	expect eax, 15, 1
	mov dword ptr [ebp + 1], 70		# now another
	call ebp
	expect eax, 80, 2
	inc ebp
	cmp ebp, 0xff001001
	jb 1b
	mov byte ptr [ebp], 0x0f		# UD2
	mov byte ptr [ebp + 1], 0x0b
	awaits 3, 6, 0, 1f
	call ebp
	jmp fail
1:	pop eax
	expect [where], ebp, 4
	awaits 5, 6, 0, 1f			# nothing there: FFh FFh
	mov ebp, 0xe0000000
	call ebp
	jmp fail
1:	jmp good
"""

# The first SMI comes to 38000h and moves the base to A0000h, which the chipset then closes. WIDE is 1 where the state is
# saved as processors with long mode do.
SMM = HARNESS + """
	.set STATE_EAX, 0x8000 + 0x7ff8 * WIDE + 0x7fd0 * (1 - WIDE)
	.set STATE_EBX, 0x8000 + 0x7fe0 * WIDE + 0x7fdc * (1 - WIDE)
	.set STATE_CR0, 0x8000 + 0x7f58 * WIDE + 0x7ffc * (1 - WIDE)
	.set STATE_BASE, 0x8000 + 0x7f00 * WIDE + 0x7ef8 * (1 - WIDE)
	.set REVISION, 0x20000 + 0x64 * WIDE
	.macro config address, port, value
	mov dx, 0xcf8
	mov eax, \\address
	out dx, eax
	mov dx, \\port
	mov al, \\value
	out dx, al
	.endm
	.macro install handler, size, at
	mov esi, offset \\handler
	mov edi, \\at
	mov ecx, \\size
	rep movsb
	.endm
	.text
main:	awaits 1, 6, 0, 1f			# not here
	.byte 0x0f, 0xaa
	jmp fail
1:	install first, first_end-first, 0x38000
	config 0x80000070, 0xcfe, 0x4a		# SMRAM: open, enabled
	install second, second_end-second, 0xa8000
	mov eax, [0xa8000]
	expect eax, [second], 2
	mov dword ptr [0x600], 0
	config 0x80000b58, 0xcff, 2		# DEVACTB: APMC_EN
	mov al, 1
	out 0xb2, al				# to `first`
	expect dword ptr [0x600], 0x1111, 3
	expect dword ptr [0x604], REVISION, 4
	config 0x80000070, 0xcfe, 0x0a		# closed
	mov eax, [0xa8000]
	mov byte ptr [number], 5
	cmp eax, [second]
	je fail
	mov ebx, 0x12345678
	mov ebp, esp
	mov eax, 0x77
	std
	stc
	out 0xb2, al				# to `second`
	jnc fail
	cld
	expect eax, 0x12345678, 6		# what `second` left for us
	expect ebx, 0x12345678, 7
	expect esp, ebp, 8
	expect dword ptr [0x600], 1, 9
	mov eax, cr0
	expect eax, [0x604], 10
	mov word ptr [gdt + 0x5c], 0x8500	# the segments' hidden parts are back
	push ds
	pop ds
	mov dword ptr [0xfee00310], 0		# by the local APIC
	mov dword ptr [0xfee00300], 0x200
1:	cmp dword ptr [0x600], 2
	jne 1b
	out 0xb2, al
	expect dword ptr [0x600], 3, 13
	config 0x80000070, 0xcfe, 0x1a		# locked: not to be opened any more
	config 0x80000070, 0xcfe, 0x4a
	mov eax, [0xa8000]
	mov byte ptr [number], 14
	cmp eax, [second]
	je fail
	out 0xb2, al
	expect dword ptr [0x600], 4, 15
	jmp good
	.code16
first:	mov dword ptr [0x600], 0x1111
	mov ecx, cs:[0xfefc]
	mov [0x604], ecx
	mov dword ptr cs:[STATE_BASE], 0xa0000
	.byte 0x0f, 0xaa
first_end:
second:	mov ax, cs
	cmp ax, 0xa000
1:	jne 1b
	mov eax, cs:[STATE_CR0]
	mov [0x604], eax
	mov eax, cs:[STATE_EBX]
	mov cs:[STATE_EAX], eax
	inc word ptr counter - second + cs:[0x8000]
	movzx eax, word ptr counter - second + cs:[0x8000]
	mov [0x600], eax
	# Flat data segments, and 32-bit operands and addresses with prefixes.
	mov edi, 0x100000
	cmp dword ptr [edi], 0x1badb002
1:	jne 1b
	.byte 0x0f, 0xaa
counter: .word 0
second_end:
"""


def program(tmp, text, name):
    # "expect A, B, STEP" fails with STEP unless A equals B.
    text = re.sub(r"\s*#.*$", "", text, flags=re.M)
    text = re.sub(r"\bexpect ([^,\n]+), ([^,\n]+), (\d+)$", r"mov byte ptr [number], \3\ncmp \1, \2\njne fail", text,
                  flags=re.M)
    return link(tmp, text, name, 32)


@test
def task_switches(tmp):
    # A software KVM hangs in here.
    ends_well(program(tmp, TASKS, "tasks"), engines=TRANSLATOR)


@test
def code_in_a_device(tmp):
    ends_well(program(tmp, DEVICE_CODE, "device"), "-device", "pc-testdev", engines=TRANSLATOR)


@test
def v86_mode(tmp):
    ends_well(program(tmp, V86, "v86"), engines=TRANSLATOR)


@test
def system_management_mode(tmp):
    for wide, cpu in ((1, "max"), (0, "max,-lm")):
        ends_well(program(tmp, SMM.replace("WIDE", str(wide)), f"smm{wide}"), "-cpu", cpu, engines=TRANSLATOR)


@test
def smm_is_refused_where_the_engine_lacks_it(tmp):
    if not os.access("/dev/kvm", os.W_OK):
        raise Skip("no /dev/kvm")
    status, out, err = run("-accel", "kvm", "-machine", "pc,smm=on", "-display", "none")
    assert status == 1 and "smm=on: the engine 'kvm' has no system management mode" in err, err


main()
