# SPDX-License-Identifier: GPL-2.0-or-later
"""Random code in every mode: moa must live, answer its monitor, and reset when asked. MOA_FUZZ_SECONDS: how long;
MOA_FUZZ_SEED: where to begin."""
import random

from moa import *

# Sets one of eight modes up, loads registers, and goes to random code that was copied to RAM. Which mode and where comes
# from a counter that reset leaves alone, and from the ROM's own noise.
ROM = """
	cli
	cld
	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov sp, 0x7000
	mov eax, ds:[0x7f00]
	imul eax, eax, 1664525
	add eax, 1013904223
	mov ds:[0x7f00], eax
	shr eax, 8
	mov ds:[0x7f04], eax
	# Noise to 1000:0 and 2000:0, from all of this ROM's second half.
	mov ax, 0xf800
	mov ds, ax
	mov ax, 0x1000
	mov es, ax
	xor si, si
	xor di, di
	mov cx, 0x1fc0
	rep movsd
	xor ax, ax
	mov ds, ax
	mov es, ax
	# A page table for the first 4 MiB, all of it the user's, and page directories of all kinds that use it.
	push 0x8000
	pop es
	mov cx, 512
1:	mov di, cx
	dec di
	shl di, 3
	push cx
	movzx ecx, cx
	dec ecx
	shl ecx, 12
	or ecx, 7
	mov es:[di], ecx
	mov dword ptr es:[di + 4], 0
	pop cx
	loop 1b
	mov dword ptr es:[0x1000], 0x80007	# PD
	mov dword ptr es:[0x1004], 0
	mov dword ptr es:[0x1008], 0x200087	# 2 MiB page
	mov dword ptr es:[0x100c], 0
	mov dword ptr es:[0x2000], 0x81007	# PDPT
	mov dword ptr es:[0x2004], 0
	mov dword ptr es:[0x3000], 0x82007	# PML4
	mov dword ptr es:[0x3004], 0
	mov dword ptr es:[0x4000], 0x87		# 32-bit directory: a 4 MiB page
	xor ax, ax
	mov es, ax
	lgdt cs:[gdtr]
	lidt cs:[idtr]
	mov al, ds:[0x7f04]
	and al, 7
	jz real
	cmp al, 1
	je unreal
	mov edx, cr0
	mov ecx, 0x33
	or dl, 1
	cmp al, 4
	jb 2f
	# Long mode.
	mov ecx, 0x6a0
	mov cr4, ecx
	mov ecx, 0x83000
	mov cr3, ecx
	mov ecx, 0xc0000080
	push eax
	xor edx, edx
	mov eax, 0xd01
	wrmsr
	pop eax
	mov edx, 0x80000033
	jmp 3f
2:	cmp al, 2
	je 3f
	mov ecx, 0x610
	mov cr4, ecx
	mov ecx, 0x84000
	mov cr3, ecx
	mov edx, 0x80010033
3:	mov cr0, edx
	.byte 0x66, 0xea
	.long protected + 0xf0000
	.word 8
	.code32
protected:
	mov cx, 0x10
	mov ds, cx
	mov es, cx
	mov ss, cx
	mov esp, 0x7000
	mov dword ptr [0x6004], 0x7000		# a TSS
	mov dword ptr [0x6008], 0x10
	mov cx, 0x28
	ltr cx
	cmp al, 2
	je random
	cmp al, 3
	je user32
	cmp al, 5
	jbe user32				# compatibility mode
	cmp al, 6
	je user64
	.byte 0xea
	.long long + 0xf0000
	.word 0x30
user32:	mov cx, 0x23
	mov ds, cx
	mov es, cx
	push 0x23
	push 0x7000
	push 2
	push 0x1b
	push offset random + 0xf0000
	iretd
user64:	push 0x23
	push 0x7000
	push 0x3b
	push offset long + 0xf0000
	retf
	# Registers from the noise; the code lies somewhere in it.
random:	mov eax, [0x7f04]
	and eax, 0x7ff8
	lea esi, [eax + 0x10000]
	mov edx, [esi]
	mov ebx, [esi + 4]
	movzx ebp, word ptr [esi + 8]
	movzx edi, word ptr [esi + 12]
	add edi, 0x10000
	mov ecx, 3
	jmp esi
	.code64
long:	mov eax, [0x7f04]
	and eax, 0x7ff8
	lea rsi, [rax + 0x10000]
	mov rdx, [rsi]
	mov rbx, [rsi + 8]
	mov r8d, [rsi + 16]
	movzx ebp, word ptr [rsi + 20]
	movzx edi, word ptr [rsi + 22]
	add rdi, 0x10000
	mov r9, rdi
	mov r12, rsi
	mov ecx, 3
	jmp rsi
	.code16
unreal:	mov eax, cr0
	or al, 1
	mov cr0, eax
	mov bx, 0x10
	mov ds, bx
	mov es, bx
	mov fs, bx
	and al, 0xfe
	mov cr0, eax
real:	xor ax, ax
	mov ds, ax
	mov es, ax
	mov si, ds:[0x7f04]
	and si, 0x7ff8
	mov ax, 0x1000
	mov es, ax
	mov bx, es:[si]
	mov bp, es:[si + 2]
	mov di, es:[si + 4]
	mov dx, es:[si + 6]
	push ax
	push si
	retf
	.align 8
gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
	.quad 0x0000890060000067, 0x00af9b000000ffff, 0x00affb000000ffff, 0
gdtr:	.word . - gdt - 1
	.long gdt + 0xf0000
idtr:	.word 0xff
	.long 0x10000
"""


def noise(r):
    """Half plain bytes, half what processors often meet."""
    common = [0x0f, 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0xc4, 0xc5, 0x8b, 0x89, 0xe8, 0xeb, 0x74, 0xcd, 0xcf, 0xcb, 0x8e, 0x00,
              0x01, 0xff, 0x20, 0x22, 0xae, 0xc7, 0x9a, 0xea, 0xa4, 0xa5, 0xab, 0x6c, 0x6e, 0xe4, 0xe6, 0xec, 0xee, 0xfb, 0x9d]
    data = bytearray()
    while len(data) < 32768:
        if r.random() < 0.5:
            data += bytes(r.randrange(256) for _ in range(r.randrange(1, 9)))
        else:
            data += bytes([r.choice(common)])
    return bytes(data[:32768 - 256])


def image(tmp, r, name):
    code = assemble(tmp, ROM)
    assert len(code) < 32768
    return bios(tmp, code.ljust(32768, b"\xf4") + noise(r), name)


def lives(tmp, seed, seconds, *extra):
    r = random.Random(seed)
    with Vm(tmp, "-accel", "tcg", "-m", "16", "-display", "none", "-bios", image(tmp, r, f"noise{seed}"), *extra) as vm:
        end = time.time() + seconds
        resets = 0
        while time.time() < end:
            time.sleep(0.01)
            status = vm.qmp("query-status")
            assert status["status"] in ("running", "shutdown"), (seed, resets, status, vm.output())
            vm.qmp("system_reset")
            resets += 1
        assert vm.process.poll() is None, (seed, vm.output())
        vm.qmp("quit")
        assert vm.wait() == 0, (seed, vm.output())
    return resets


@test
def random_code_does_no_harm(tmp):
    seed = int(os.environ.get("MOA_FUZZ_SEED", 1))
    end = time.time() + float(os.environ.get("MOA_FUZZ_SECONDS", 6))
    resets = 0
    while time.time() < end:
        os.makedirs(f"{tmp}/{seed}")
        extra = ["-smp", "2"] if seed % 3 == 0 else []
        resets += lives(f"{tmp}/{seed}", seed, 1, "-device", "pc-testdev", "-device", "pci-testdev", *extra)
        seed += 1
    assert resets > 50, resets


main()
