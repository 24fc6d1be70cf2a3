/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest of tests/lib/rig.c: a 64 KiB firmware image that enters 32-bit mode and then does what the
 * mailbox ports say. F0h: operation (0: none), F4h: address, F8h: value; the result goes to FCh.
 */
	.intel_syntax noprefix
	.text
	.code16
	.org 0
start:
	cli
	lgdt	cs:[gdt_pointer]
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	.byte	0x66, 0xea
	.long	protected + 0xf0000
	.word	8

	.code32
protected:
	mov	eax, 16
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	mov	esp, 0x7000
loop:
	mov	edx, 0xf0
	in	eax, dx
	test	eax, eax
	jz	loop
	mov	ecx, eax
	mov	edx, 0xf4
	in	eax, dx
	mov	esi, eax
	mov	edx, 0xf8
	in	eax, dx
	mov	edx, esi
	cmp	ecx, 1
	je	inb_
	cmp	ecx, 2
	je	inw_
	cmp	ecx, 3
	je	inl_
	cmp	ecx, 4
	je	outb_
	cmp	ecx, 5
	je	outw_
	cmp	ecx, 6
	je	outl_
	cmp	ecx, 7
	je	read_
	cmp	ecx, 8
	je	write_
	cmp	ecx, 9
	je	rdmsr_
	cmp	ecx, 10
	je	wrmsr_
	cmp	ecx, 11
	je	cpuid_
	cmp	ecx, 12
	je	insb_
	cmp	ecx, 13
	je	rdmsrh_
	cmp	ecx, 14
	je	cpuidb_
	cmp	ecx, 15
	je	readb_
	cmp	ecx, 16
	je	readw_
	cmp	ecx, 17
	je	writeb_
	cmp	ecx, 18
	je	writew_
	jmp	done
inb_:	xor	eax, eax
	in	al, dx
	jmp	done
inw_:	xor	eax, eax
	in	ax, dx
	jmp	done
inl_:	in	eax, dx
	jmp	done
outb_:	out	dx, al
	jmp	done
outw_:	out	dx, ax
	jmp	done
outl_:	out	dx, eax
	jmp	done
read_:	mov	eax, [esi]
	jmp	done
write_:	mov	[esi], eax
	jmp	done
readb_:	movzx	eax, byte ptr [esi]
	jmp	done
readw_:	movzx	eax, word ptr [esi]
	jmp	done
writeb_: mov	[esi], al
	jmp	done
writew_: mov	[esi], ax
	jmp	done
rdmsr_:	mov	ecx, esi
	rdmsr
	jmp	done
wrmsr_:	mov	ecx, esi
	xor	edx, edx
	wrmsr
	jmp	done
cpuid_:	mov	ecx, eax
	mov	eax, esi
	cpuid
	jmp	done
rdmsrh_: mov	ecx, esi
	rdmsr
	mov	eax, edx
	jmp	done
cpuidb_: mov	ecx, eax
	mov	eax, esi
	cpuid
	mov	eax, ebx
	jmp	done
insb_:	mov	ecx, eax
	mov	edi, 0x8000
	rep insb
done:
	mov	edx, 0xfc
	out	dx, eax
	jmp	loop

	.align	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdt_pointer:
	.word	23
	.long	gdt + 0xf0000

	.org 0xfff0
	.code16
	/* Reset: F000:FFF0. A far jump loads the base below 1 MiB. */
	.byte	0xea
	.word	start
	.word	0xf000
	.org 0xffff
	.byte	0
