# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs for the bare machine: ELF kernels in assembler that end with 10h at port 501h, or the number of what failed."""
import os
import subprocess

from moa import run


def link(tmp, text, name, bits=64):
    mode = ["--64", "elf_x86_64"] if bits == 64 else ["--32", "elf_i386"]
    open(f"{tmp}/{name}.S", "w").write(text)
    open(f"{tmp}/{name}.ld", "w").write("ENTRY(start) SECTIONS { . = 0x100000; .text : { *(.header) *(.text) } "
                                        ".data : { *(.data) } .bss : { *(.bss) } }")
    subprocess.run(["as", mode[0], "-o", f"{tmp}/{name}.o", f"{tmp}/{name}.S"], check=True)
    subprocess.run(["ld", "-m", mode[1], "--no-warn-rwx-segments", "-T", f"{tmp}/{name}.ld", "-o", f"{tmp}/{name}",
                    f"{tmp}/{name}.o"], check=True)
    return f"{tmp}/{name}"


# The translator's two modes, and KVM where the program is not too much for a software one.
TRANSLATOR = ("tcg", "tcg,mode=reference")


def ends_well(kernel, *extra, engines=(*TRANSLATOR, "kvm")):
    for engine in engines:
        if engine == "kvm" and not os.access("/dev/kvm", os.W_OK):
            continue
        status, out, err = run("-accel", engine, "-m", "32", "-display", "none", "-cpu", "max", "-kernel", kernel, "-device",
                               "isa-debug-exit", *extra)
        assert status == 0x21, (engine, "step", status >> 1, err)
