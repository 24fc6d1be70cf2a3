# SPDX-License-Identifier: GPL-2.0-or-later
"""-kernel with everything that is not a bzImage: multiboot 1 and 2, PVH, plain ELF, on both engines."""
import lzma
import struct

from debian import *
from moa import *

# What every kernel below ends with: AL out of port 501h. "expect A, B, STEP" fails with STEP unless A equals B.
COMMON = """
	.intel_syntax noprefix
	.code32
	.section .text
fail:	mov al, dl
	jmp out
good:	mov al, 0x10
out:	mov dx, 0x501
	out dx, al
	hlt
	jmp out
"""

# A loader may put strings anywhere below 1 MiB; the command line ends with "alpha beta".
CHECK_CMDLINE = """
	mov dl, 90
8:	cmp byte ptr [esi], 0
	je 9f
	inc esi
	jmp 8b
9:	cmp dword ptr [esi - 10], 0x68706c61	# alph
	jne fail
	cmp dword ptr [esi - 4], 0x61746562	# beta
	jne fail
"""

MULTIBOOT = COMMON + """
	.section .header, "a"
	.align 4
	.long 0x1badb002, {flags}, -(0x1badb002 + {flags})
	{addresses}
	.section .text
	.globl start
start:	expect eax, 0x2badb002, 1
	mov ecx, [ebx]
	and ecx, 0x4d
	expect ecx, 0x4d, 2
	expect dword ptr [ebx + 4], 639, 3
	mov esi, [ebx + 16]
""" + CHECK_CMDLINE + """
	expect dword ptr [ebx + 20], 1, 4
	mov esi, [ebx + 24]
	mov edi, [esi]
	expect dword ptr [edi], 0x73696874, 5	# "this"
	sub edi, [esi + 4]
	expect edi, -14, 6
	expect dword ptr [zero + 4000], 0, 7
	# The map has RAM from 1 MiB on.
	mov esi, [ebx + 48]
	mov ecx, [ebx + 44]
	add ecx, esi
1:	mov dl, 8
	cmp esi, ecx
	jae fail
	cmp dword ptr [esi + 4], 0x100000
	je 2f
	add esi, [esi]
	add esi, 4
	jmp 1b
2:	expect dword ptr [esi + 20], 1, 9
	# On to long mode, as 64-bit test kernels do.
""" + TO_LONG_MODE + """	.code64
wide:	mov rax, 0x123456789abcdef0
	shr rax, 60
	add al, 15
	mov dx, 0x501
	out dx, al
	hlt
	.align 8
gdt:	.quad 0, 0x00af9b000000ffff
gdtr:	.word 15
	.long gdt
	.bss
	.align 4096
tables:	.skip 0x3000
zero:	.skip 8192
"""

MULTIBOOT2 = COMMON + """
	.section .header, "a"
	.align 8
header:	.long 0xe85250d6, 0, end - header, -(0xe85250d6 + (end - header))
	.short 1, 0
	.long 16, 6, 1		# the memory map, please
	.short 6, 1
	.long 8			# aligned modules
	.short 0, 0
	.long 8
end:
	.section .text
	.globl start
start:	expect eax, 0x36d76289, 1
	xor ebp, ebp		# tags seen
	lea edi, [ebx + 8]
1:	mov ecx, [edi]
	cmp ecx, 0
	je 3f
	bts ebp, ecx
	cmp ecx, 1
	jne 2f
	lea esi, [edi + 8]
""" + CHECK_CMDLINE + """
2:	cmp dword ptr [edi], 3
	jne 2f
	mov esi, [edi + 8]
	expect dword ptr [esi], 0x73696874, 5
2:	mov eax, [edi + 4]
	add eax, 7
	and eax, -8
	add edi, eax
	jmp 1b
3:	expect ebp, 0x805e, 7		# 1 2 3 4 6 15
	add edi, 8
	sub edi, ebx
	expect edi, [ebx], 8
	jmp good
"""

PVH = COMMON + """
	.section .note, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start
	.section .text
	.globl start
start:	expect dword ptr [ebx], 0x336ec578, 1
	mov esi, [ebx + 24]
""" + CHECK_CMDLINE + """
	expect dword ptr [ebx + 12], 1, 2
	mov esi, [ebx + 16]
	expect dword ptr [esi + 8], 14, 3
	mov esi, [esi]
	expect dword ptr [esi], 0x73696874, 4
	mov esi, [ebx + 32]
	expect dword ptr [esi], 0x20445352, 5	# "RSD "
	expect dword ptr [ebx + 48], 5, 6
	# Who is not told looks for it below 1 MiB.
	expect dword ptr [0xf0000], 0x20445352, 7
	jmp good
"""

PLAIN = COMMON + """
	.globl start
start:	expect dword ptr [esi + 0x202], 0x53726448, 1	# HdrS
	mov esi, [esi + 0x228]
""" + CHECK_CMDLINE + """
	jmp good
"""

# The register and lines of pc-testdev; pci-testdev's BARs, which -kernel has placed.
DEVICES = COMMON + """
	.globl start
start:	mov eax, 0xcafe1234
	mov dx, 0xe0
	out dx, eax
	xor eax, eax
	in eax, dx
	expect eax, 0xcafe1234, 1
	mov dword ptr [0xff000010], 0x55667788
	expect word ptr [0xff000012], 0x5566, 2
	mov eax, 7			# locked, and no RAM
	xchg [0xff000020], eax
	lock inc dword ptr [0xff000020]
	expect dword ptr [0xff000020], 8, 6
	lock inc dword ptr [0xff00fffe - 0xf000]
	mov dword ptr [0x200000], 0x12345678
	mov eax, 0x200000
	mov dx, 0xe4
	out dx, eax
	expect dword ptr [0x200000], 0x12345678, 3
	mov eax, 0x80002000		# slot 4
	mov dx, 0xcf8
	out dx, eax
	mov dx, 0xcfc
	in eax, dx
	expect eax, 0x00051b36, 4
	mov eax, 0x80002010
	mov dx, 0xcf8
	out dx, eax
	mov dx, 0xcfc
	in eax, dx
	and eax, 0xfffffff0
	mov edi, eax
	mov byte ptr [edi], 0
	mov esi, [edi + 4]
	mov al, [edi + 8]
	mov [edi + esi], al
	mov [edi + esi], al
	expect dword ptr [edi + 12], 2, 5
	jmp good
"""


def link(tmp, text, name="kernel", wide=False):
    """An ELF file of either class at 1 MiB, the header in front."""
    text = re.sub(r"expect (.+), ([^,\n]+), (\d+)", r"mov dl, \3\n cmp \1, \2\n jne fail", text)
    open(f"{tmp}/{name}.S", "w").write(text)
    open(f"{tmp}/{name}.ld", "w").write(
        "ENTRY(start) PHDRS { t PT_LOAD; n PT_NOTE; } SECTIONS { . = 0x100000; .text : { *(.header) *(.text) *(.data) } :t"
        " .note : { *(.note) } :t :n .bss : { *(.bss) } :t /DISCARD/ : { *(.note.*) } }")
    run_tool("as", "--64" if wide else "--32", "-o", f"{tmp}/{name}.o", f"{tmp}/{name}.S")
    run_tool("ld", "-m", "elf_x86_64" if wide else "elf_i386", "-T", f"{tmp}/{name}.ld", "-o", f"{tmp}/{name}",
             f"{tmp}/{name}.o")
    return f"{tmp}/{name}"


def run_tool(*args):
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert r.returncode == 0, r.stdout


def boots(tmp, kernel, *extra, engines=ENGINES):
    open(f"{tmp}/initrd", "w").write("this is a file")
    for engine in engines:
        status, out, err = run("-accel", engine, "-m", "32", "-display", "none", "-kernel", kernel, "-initrd",
                               f"{tmp}/initrd", "-append", "alpha beta", "-device", "isa-debug-exit", *extra)
        assert status == 0x21, (engine, status >> 1, err)


@test
def multiboot_elf_that_goes_to_long_mode(tmp):
    boots(tmp, link(tmp, MULTIBOOT.replace("{flags}", "3").replace("{addresses}", "")), "-cpu", "max")


@test
def multiboot_by_addresses(tmp):
    kernel = link(tmp, MULTIBOOT.replace("{flags}", "0x10003").replace(
        "{addresses}", ".long 0x100000, 0x100000, 0, zero + 8192, start"))
    run_tool("objcopy", "-O", "binary", kernel, kernel + ".bin")
    boots(tmp, kernel + ".bin", "-cpu", "max")


@test
def multiboot2(tmp):
    boots(tmp, link(tmp, MULTIBOOT2))


@test
def pvh_note(tmp):
    boots(tmp, link(tmp, PVH))
    boots(tmp, link(tmp, PVH, wide=True))


@test
def firmware_boots_linux_only(tmp):
    kernel = f"{tmp}/kernel"
    open(kernel, "wb").write(b"\0" * 64 + struct.pack("<III", 0x1badb002, 0x10000, (-0x1badb002 - 0x10000) & 0xffffffff) + b"\0" * 4096)
    status, out, err = run("-accel", "tcg", "-display", "none", "-bios", "bios-256k.bin", "-kernel", kernel)
    assert status == 1 and "boots without firmware only: leave -bios and if=pflash out" in err, err


@test
def plain_elf(tmp):
    boots(tmp, link(tmp, PLAIN))


@test
def test_devices(tmp):
    boots(tmp, link(tmp, DEVICES), "-device", "pc-testdev", "-device", "pci-testdev,addr=4")


@test
def bad_images_are_named(tmp):
    good = open(link(tmp, MULTIBOOT.replace("{flags}", "3").replace("{addresses}", "")), "rb").read()
    at = good.index(struct.pack("<I", 0x1badb002))

    def refused(data, what):
        open(f"{tmp}/bad", "wb").write(data)
        status, out, err = run("-accel", "tcg", "-m", "32", "-display", "none", "-kernel", f"{tmp}/bad")
        assert status == 1 and what in err and f"{tmp}/bad" in err, (status, err)

    def with_flags(flags, *words):
        return good[:at] + struct.pack("<III", 0x1badb002, flags, -(0x1badb002 + flags) & 0xffffffff) + \
            b"".join(struct.pack("<I", w) for w in words) + good[at + 12 + 4 * len(words):]

    refused(with_flags(0x9), "requires 0x8")
    refused(with_flags(0x10000, 0x100000, 0x200000, 0, 0, 0), "load address")
    refused(with_flags(0x10000, 0x100000, 0x100000, 0x900000, 0, 0), "ends before")
    refused(good[:80], "ends inside")
    refused(good[:at + 16], "ends inside a segment")


@test
def a_vmlinux_by_its_pvh_note(tmp):
    image = open(kernel(), "rb").read()
    start = (image[0x1f1] + 1) * 512 + struct.unpack("<I", image[0x248:0x24c])[0]
    payload = image[start:start + struct.unpack("<I", image[0x24c:0x250])[0]]
    if payload[:6] != b"\xfd7zXZ\0":
        raise Skip("the kernel's payload is not xz")
    open(f"{tmp}/vmlinux", "wb").write(lzma.LZMADecompressor().decompress(payload))
    with Vm(tmp, "-accel", "tcg", "-m", "512", "-display", "none", "-nodefaults", "-serial",
            f"unix:{tmp}/serial,server=on,wait=off", "-kernel", f"{tmp}/vmlinux", "-initrd", initrd(tmp),
            "-append", "console=ttyS0 panic=-1 quiet hello=pvh") as vm:
        console = Console(tmp)
        console.expect("COMMANDS DONE")
        assert "hello=pvh" in console.text
        console.send("poweroff -f")
        assert vm.wait() == 0


main()
