/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An option ROM that boots the kernel of -kernel through a BIOS: it fetches the parts from fw_cfg by DMA and
 * enters the real-mode part as a boot loader does (Linux boot protocol, "Running the kernel"). Found by its
 * PnP header's boot entry vector (Plug and Play BIOS specification 1.0A, 3.2; BIOS boot specification 1.01, 3.3).
 */
	.intel_syntax noprefix
	.code16
	.text
	.set	DMA_PORT, 0x514		/* address, big-endian: high word here, low word 4 further starts it */
	.set	DMA_READ, 2
	.set	DMA_SELECT, 8
	.set	DMA_ERROR, 1

	.set	SETUP_ADDR, 0x16
	.set	STACK_TOP, 0xfff0	/* in the real-mode part's segment */

rom:	.word	0xaa55
	.byte	(end - rom + 511) / 512
	.byte	0xcb			/* retf: nothing to set up */
	.org	0x1a
	.word	pnp - rom

	.balign	16
pnp:	.ascii	"$PnP"
	.byte	1, 2			/* revision; length in 16 bytes */
	.word	0			/* no other header */
	.byte	0
	.byte	0			/* checksum: scripts/option-rom */
	.long	0
	.word	0, name - rom		/* manufacturer, product */
	.byte	0, 0, 0, 0		/* no device's */
	.word	0, 0, boot - rom	/* connection, disconnection, boot entry */
	.word	0, 0

/* Reads ecx bytes of item ax to address edx. */
dma:	bswap	edx
	push	edx
	xor	ebx, ebx
	push	ebx
	bswap	ecx
	push	ecx
	shl	eax, 16
	mov	ax, DMA_SELECT | DMA_READ
	bswap	eax
	push	eax
	mov	ebx, esp
	bswap	ebx
	xor	eax, eax
	mov	dx, DMA_PORT
	out	dx, eax
	mov	eax, ebx
	mov	dx, DMA_PORT + 4
	out	dx, eax
	mov	bx, sp
1:	mov	eax, ss:[bx]
	bswap	eax
	and	eax, ~DMA_ERROR
	jnz	1b
	add	sp, 16
	ret

/* eax = the number that item ax is. */
number:	push	eax			/* room */
	mov	edx, esp
	mov	ecx, 4
	call	dma
	pop	eax
	ret

/* Items of the parts: size, address, data. */
parts:	.byte	0x17, SETUP_ADDR, 0x18
	.byte	0x08, 0x07, 0x11	/* kernel */
	.byte	0x14, 0x13, 0x15	/* command line */
	.byte	0x0b, 0x0a, 0x12	/* initial RAM disk */
parts_end:

boot:	cli
	cld
	xor	ax, ax
	mov	ss, ax
	mov	esp, 0x7c00		/* so linear addresses on the stack are just esp */
	mov	ax, cs
	mov	ds, ax
	mov	si, offset parts
1:	movzx	eax, byte ptr [si]
	call	number
	mov	edi, eax
	movzx	eax, byte ptr [si + 1]
	call	number
	mov	edx, eax
	movzx	eax, byte ptr [si + 2]
	mov	ecx, edi
	jecxz	2f
	call	dma
2:	add	si, 3
	cmp	si, offset parts_end
	jb	1b
	mov	eax, SETUP_ADDR
	call	number
	shr	eax, 4
	mov	ds, ax
	mov	es, ax
	mov	fs, ax
	mov	gs, ax
	mov	ss, ax
	mov	esp, STACK_TOP
	add	ax, 0x20		/* past the boot sector */
	push	ax
	xor	ax, ax
	push	ax
	.byte	0xcb			/* retf, as assemblers differ on its size */

name:	.asciz	"Linux kernel"
end:
