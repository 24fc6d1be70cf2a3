# SPDX-License-Identifier: GPL-2.0-or-later
"""Looking at the translator: logs, counters, its buffer's size, perf's map."""
from moa import *

# A loop that stores and counts; then the exit.
PROGRAM = """
	mov cx, 300
1:	add ax, cx
	mov [bx], ax
	loop 1b
	mov dx, 0x501
	mov al, 0x10
	out dx, al
	hlt
"""


def args(tmp, text=PROGRAM):
    return ["-accel", "tcg", "-m", "16", "-display", "none", "-bios", bios(tmp, assemble(tmp, text)), "-device",
            "isa-debug-exit"]


@test
def logs_show_guest_and_host_code(tmp):
    status, out, err = run(*args(tmp), "-d", "in_asm,op,out_asm,exec", "-D", f"{tmp}/log")
    log = open(f"{tmp}/log").read()
    assert status == 0x21
    for what in ("IN:", "OP:", "OUT: [size=", "loop         LOOP", "memory 2 bytes written", "vCPU 0: block 0x3, "):
        assert what in log, (what, log[:3000])
    # Nothing is linked while every block is logged: 300 rounds, 300 lines.
    assert log.count("block 0x3, ") == 299, log.count("block 0x3, ")


@test
def the_counters_count(tmp):
    with Vm(tmp, *args(tmp, "1: inc ax\njmp 1b")) as vm:
        text = vm.qmp.hmp("info jit")
        rows = {line.rsplit(None, 1)[0]: int(line.rsplit(None, 1)[1]) for line in text.splitlines()}
        assert rows["blocks translated"] >= 2 and rows["links between blocks"] >= 1, text
        assert rows["code buffer, bytes"] == 64 << 20
    need_kvm()
    with Vm(tmp, "-accel", "kvm", "-m", "16", "-display", "none", "-S") as vm:
        assert "-accel tcg does" in vm.qmp.hmp("info jit")


@test
def the_buffer_may_be_small(tmp):
    # Code that is written anew all the time fills a buffer of 1 MiB again and again.
    text = """
	mov word ptr [0x600], 0xc340	# inc ax; ret
	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov sp, 0x7000
	mov cx, 40000
1:	mov byte ptr [0x1000], 0x40	# inc ax
	mov byte ptr [0x1001], 0xcb	# retf
	push cs
	push offset 2f
	push 0
	push 0x1000
	retf
2:	loop 1b
	mov bl, 1
	cmp ax, 40000
	jne 3f
	mov bl, 0x10
3:	mov dx, 0x501
	mov al, bl
	out dx, al
	hlt
"""
    a = args(tmp, text)
    a[1] = "tcg,tb-size=1"
    status, out, err = run(*a)
    assert status == 0x21, (status, err)
    a[1] = "tcg,tb-size=0"
    status, out, err = run(*a)
    assert status == 1 and "tb-size" in err, (status, err)


@test
def perf_gets_a_map(tmp):
    with Vm(tmp, *args(tmp, "1: inc ax\njmp 1b"), "-perfmap") as vm:
        path = f"/tmp/perf-{vm.process.pid}.map"
        with open(f"/proc/{vm.process.pid}/maps") as f:
            code = [l.split() for l in f if "x" in l.split()[1]]
        vm.qmp("quit")
        vm.wait()
        lines = open(path).read().splitlines()
        os.unlink(path)
        assert lines and all(re.fullmatch(r"[0-9a-f]+ [0-9a-f]+ guest_0x[0-9a-f]+", l) for l in lines), lines[:5]
        # perf asks the map about memory without a file only.
        at = int(lines[0].split()[0], 16)
        names = [m[5] for m in code if at in range(*(int(a, 16) for a in m[0].split("-")))]
        assert names and names[0].startswith("/dev/zero"), (names, code)


main()
