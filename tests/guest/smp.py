# SPDX-License-Identifier: GPL-2.0-or-later
"""Several vCPUs: atomicity, code that another vCPU writes, interrupts between them; on both engines."""
from moa import *

# All vCPUs come here, the others by SIPI. Counters: 600h those that are done, 604h a failure.
START = """
	.equ CPUS, {cpus}
	cli
	mov al, 0xff			# nothing from the 8259s
	out 0x21, al
	out 0xa1, al
	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov ecx, 0x1b
	rdmsr
	or ax, 0x400			# x2APIC
	wrmsr
	test ax, 0x100			# the bootstrap processor?
	mov sp, 0x7000
	jz secondary
	mov ecx, 0x830			# ICR: INIT, then SIPI to F000:0000, to all but this one
	xor edx, edx
	mov eax, 0xc4500
	wrmsr
	mov eax, 0xc46f0
	wrmsr
	call work
	lock inc dword ptr [0x600]
1:	pause
	cmp dword ptr [0x600], CPUS
	jne 1b
	call check
	mov dx, 0x501
	mov al, 0x10
	cmp byte ptr [0x604], 0
	je 2f
	mov al, [0x604]
2:	out dx, al
	hlt
secondary:
	mov ax, 1			# a stack each
	lock xadd [0x608], ax
	shl ax, 9
	sub sp, ax
	sub sp, 512
	call work
	lock inc dword ptr [0x600]
3:	hlt
	jmp 3b
fail:	mov [0x604], al
	ret
"""

# Counters in one place, over a page's end, and under a lock taken by XCHG.
ATOMICS = START + """
	.equ ROUNDS, {rounds}
work:	mov cx, ROUNDS
1:	lock inc dword ptr [0x1000]
	lock inc dword ptr [0x1ffe]
	mov eax, 1
	lock xadd [0x2fff], eax
2:	mov al, 1
	xchg al, [0x610]
	test al, al
	jz 3f
	pause
	jmp 2b
3:	inc dword ptr [0x614]
	mov byte ptr [0x610], 0
	dec cx
	jnz 1b
	ret
check:	mov ebx, CPUS * ROUNDS
	mov al, 1
	cmp [0x1000], ebx
	jne fail
	inc al
	cmp [0x1ffe], ebx
	jne fail
	inc al
	cmp [0x2fff], ebx
	jne fail
	inc al
	cmp [0x614], ebx
	jne fail
	ret
"""

# One vCPU writes a routine again and again, the others call it: 620h tells which version, 624h how many saw it.
CODE = START + """
	.equ ROUNDS, {rounds}
work:	mov ecx, 0x1b
	rdmsr
	mov cx, 1
	test ax, 0x100
	jz reader
writer:	mov byte ptr [0x3000], 0xb8	# mov ax, imm16
	mov [0x3001], cx
	mov byte ptr [0x3003], 0xc3	# ret
	mov dword ptr [0x624], 0
	mov [0x620], cx
1:	pause
	cmp dword ptr [0x624], CPUS - 1
	jne 1b
	inc cx
	cmp cx, ROUNDS
	jne writer
	ret
reader:	pause
	cmp [0x620], cx
	jne reader
	mov bx, 0x3000
	push cs
	push offset 2f
	push 0
	push bx
	retf
2:	lock inc dword ptr [0x624]
	inc cx
	cmp cx, ROUNDS
	jne reader
	ret
check:	ret
"""
# The routine lies in segment 0, so it is called far.
CODE = CODE.replace("byte ptr [0x3003], 0xc3	# ret", "byte ptr [0x3003], 0xcb	# retf").replace(
    "2:	lock inc", "2:	cmp ax, cx\n	je 3f\n	mov byte ptr [0x604], 1\n3:	lock inc")

# Every vCPU interrupts the next one by a fixed IPI and waits until it was taken: vector 40h counts at 680h.
IPIS = START + """
	.equ ROUNDS, {rounds}
work:	mov word ptr [0x100], offset handler
	mov [0x102], cs
	mov ecx, 0x80f			# spurious vector: APIC on
	mov eax, 0x1ff
	xor edx, edx
	wrmsr
	mov ecx, 0x802			# own id
	rdmsr
	mov esi, eax
	lea edx, [esi + 1]
	cmp edx, CPUS
	jne 1f
	xor edx, edx
1:	lock inc dword ptr [0x640]	# everybody is on
2:	pause
	cmp dword ptr [0x640], CPUS
	jne 2b
	xor edi, edi
	sti
3:	mov ecx, 0x830
	mov eax, 0x40
	wrmsr
	inc edi
4:	pause
	cmp [0x680 + edx * 4], edi
	jb 4b
	cmp edi, ROUNDS
	jne 3b
	ret				# the others may still send: interrupts stay on
handler: push eax
	push ecx
	push edx
	inc dword ptr [0x680 + esi * 4]
	mov ecx, 0x80b			# EOI
	xor eax, eax
	xor edx, edx
	wrmsr
	pop edx
	pop ecx
	pop eax
	iret
check:	ret
"""


def runs(tmp, text, cpus, engines=ENGINES):
    for engine in engines:
        # A software KVM takes a thousand times as long for each.
        rounds = 3000 if engine == "tcg" else 50
        image = bios(tmp, assemble(tmp, text.replace("{cpus}", str(cpus)).replace("{rounds}", str(rounds))))
        status, out, err = run("-accel", engine, "-m", "16", "-display", "none", "-bios", image, "-smp", str(cpus),
                               "-cpu", "max", "-device", "isa-debug-exit")
        assert status == 0x21, (engine, cpus, status, err)


@test
def locked_instructions_are_atomic(tmp):
    # A software KVM's real mode takes locked accesses over two pages apart.
    runs(tmp, ATOMICS, 2, ["tcg"])
    runs(tmp, ATOMICS, 4, ["tcg"])


@test
def code_that_another_vcpu_writes(tmp):
    runs(tmp, CODE, 2)
    runs(tmp, CODE, 3)


@test
def ipis_reach_their_vcpu(tmp):
    runs(tmp, IPIS, 2)
    runs(tmp, IPIS, 3)


main()
