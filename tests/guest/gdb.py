# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb's remote protocol on both engines: with a client of our own, and with gdb itself."""
import struct

from moa import *

# By multiboot, and on to 64-bit code: a counter, a call, a store. A software KVM has no breakpoints without paging.
KERNEL = """
	.intel_syntax noprefix
	.code32
	.section .header, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002
	.section .text
	.globl start, wide, count, work, counter, other
start:
""" + TO_LONG_MODE + """	.code64
wide:	mov esp, 0x90000
	mov dword ptr [counter], 0
count:	inc dword ptr [counter]
	call work
	mov eax, [counter]
	mov [other], eax
	jmp count
work:	mov ecx, 1000
1:	dec ecx
	jnz 1b
	nop
	ret
	.data
	.align 16
counter: .long 0
	.skip 4096
other:	.long 0
	.align 8
gdt:	.quad 0, 0x00af9b000000ffff
gdtr:	.word 15
	.long gdt
	.align 4096
tables:	.skip 0x3000
"""

# A software KVM's emulator knows no INT3 in kernel mode: breakpoints by debug register there.
KINDS = {"tcg": (0, "T05thread:1;swbreak:;"), "kvm": (1, "T05thread:1;")}
REGISTERS = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"] + [f"r{n}" for n in range(8, 16)] + ["rip"]


class Gdb:
    def __init__(self, tmp):
        self.s = socket.socket(socket.AF_UNIX)
        wait_for(lambda: os.path.exists(f"{tmp}/gdb"), "the gdb socket")
        self.s.connect(f"{tmp}/gdb")
        self.s.settimeout(30)
        self.data = b""

    def byte(self):
        if not self.data:
            self.data = self.s.recv(65536)
            assert self.data, "moa closed the connection"
        b, self.data = self.data[:1], self.data[1:]
        return b

    def receive(self):
        while self.byte() != b"$":
            pass
        body = b""
        while True:
            c = self.byte()
            if c == b"#":
                break
            body += c
        assert int(self.byte() + self.byte(), 16) == sum(body) & 255
        self.s.sendall(b"+")
        return body.decode()

    def send(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.s.sendall(b"$" + data + b"#%02x" % (sum(data) & 255))

    def __call__(self, text):
        self.send(text)
        return self.receive()

    def register(self, name):
        return struct.unpack("<Q", bytes.fromhex(self(f"p{REGISTERS.index(name):x}")))[0]

    def word(self, at):
        return struct.unpack("<I", bytes.fromhex(self(f"m{at:x},4")))[0]


def build(tmp):
    open(f"{tmp}/k.S", "w").write(KERNEL)
    subprocess.run(["as", "--64", "-o", f"{tmp}/k.o", f"{tmp}/k.S"], check=True)
    open(f"{tmp}/k.ld", "w").write("ENTRY(start) SECTIONS { . = 0x100000; .text : { *(.header) *(.text) } .data : { *(.data) } }")
    subprocess.run(["ld", "-m", "elf_x86_64", "--no-warn-rwx-segments", "-T", f"{tmp}/k.ld", "-o", f"{tmp}/k", f"{tmp}/k.o"], check=True)
    names = subprocess.run(["nm", f"{tmp}/k"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines()}


def start(tmp, engine, *extra):
    if os.path.exists(f"{tmp}/gdb"):
        os.unlink(f"{tmp}/gdb")
    return Vm(tmp, "-accel", engine, "-m", "32", "-display", "none", "-kernel", f"{tmp}/k", "-gdb", f"unix:{tmp}/gdb",
              "-S", *extra)


@test
def breakpoints_steps_and_registers(tmp):
    names = build(tmp)
    for engine in ENGINES:
        kind, reply = KINDS[engine]
        with start(tmp, engine) as vm:
            g = Gdb(tmp)
            assert "PacketSize" in g("qSupported:swbreak+")
            assert g("qXfer:features:read:target.xml:0,4000").startswith("l<?xml")
            assert g("?").startswith("T05thread:1;")
            assert g.register("rip") == names["start"]
            # No INT3 before there is paging: steps will do.
            while g.register("rip") != names["wide"]:
                assert g("s").startswith("T05")
            # A breakpoint, twice.
            assert g(f"Z{kind},{names['work']:x},1") == "OK"
            for n in (1, 2):
                assert g("c") == reply, engine
                assert g.register("rip") == names["work"] and g.word(names["counter"]) == n
                assert g(f"z{kind},{names['work']:x},1") == "OK"
                assert g("s").startswith("T05")
                assert g.register("rip") == names["work"] + 5 and g.register("rcx") == 1000
                assert g(f"Z{kind},{names['work']:x},1") == "OK"
            assert g(f"z{kind},{names['work']:x},1") == "OK"
            # Registers and memory are written.
            assert g("P2=" + struct.pack("<Q", 2).hex()) == "OK"  # rcx
            assert g("s").startswith("T05")
            assert g.register("rcx") == 1
            assert g(f"M{names['other']:x},4:78563412") == "OK" and g.word(names["other"]) == 0x12345678
            assert g(b"X%x,2:\x01}\x03" % names["other"]) == "OK" and g.word(names["other"]) == 0x12342301
            # The client interrupts.
            g.send("c")
            time.sleep(0.2)
            g.s.sendall(b"\x03")
            assert g.receive().startswith("T02thread:1;")
            before = g.word(names["counter"])
            assert before > 2
            # A monitor stops it too.
            g.send("c")
            wait_for(lambda: vm.qmp("query-status")["running"], "the guest to run")
            vm.qmp("stop")
            assert g.receive().startswith("T02")
            assert g("D") == "OK"
            assert vm.qmp("query-status")["running"]


@test
def hardware_breakpoints_and_watchpoints(tmp):
    names = build(tmp)
    with start(tmp, "tcg") as vm:
        g = Gdb(tmp)
        g("qSupported")
        assert g(f"Z1,{names['work']:x},1") == "OK"
        for n in (1, 2, 3):
            assert g("c").startswith("T05thread:1;")
            assert g.register("rip") == names["work"] and g.word(names["counter"]) == n, n
            # From a breakpoint's address it goes on past it, as gdb does: without it for a step.
            assert g(f"z1,{names['work']:x},1") == "OK" and g("s").startswith("T05")
            assert g(f"Z1,{names['work']:x},1") == "OK"
        assert g(f"z1,{names['work']:x},1") == "OK"
        # Written: it stops after the store.
        assert g(f"Z2,{names['other']:x},4") == "OK"
        assert g("c") == f"T05thread:1;watch:{names['other']:x};"
        assert g.register("rip") > names["count"] and g.word(names["other"]) == g.word(names["counter"]) == 3
        assert g("c").endswith(f"watch:{names['other']:x};") and g.word(names["other"]) == 4
        assert g(f"z2,{names['other']:x},4") == "OK"
        # Read or written: INC is one, the load is the next.
        assert g(f"Z4,{names['counter']:x},4") == "OK"
        for _ in range(4):
            assert g("c") == f"T05thread:1;awatch:{names['counter']:x};"
        assert g.word(names["counter"]) == 6
        assert g(f"z4,{names['counter']:x},4") == "OK"
        assert g(f"Z3,{names['counter']:x},4") == "E22"  # x86 cannot
        assert g(f"Z2,{names['counter'] + 1:x},4") == "E22"
        vm.qmp("quit")
        vm.wait()


@test
def threads_are_vcpus(tmp):
    names = build(tmp)
    for engine in ENGINES:
        kind, reply = KINDS[engine]
        with start(tmp, engine, "-smp", "2") as vm:
            g = Gdb(tmp)
            g("qSupported:swbreak+")
            assert g("qfThreadInfo") == "m1,2" and g("qsThreadInfo") == "l"
            assert g("T2") == "OK" and g("T3") == "E22" and g("Hg2") == "OK"
            assert g.register("rip") == 0xfff0 and g("Hg1") == "OK"
            assert bytes.fromhex(g("qThreadExtraInfo,1")).startswith(b"CPU#0")
            while g.register("rip") != names["wide"]:
                assert g("vCont;s:1").startswith("T05")
            assert g(f"Z{kind},{names['work']:x},1") == "OK"
            assert g("vCont;c:1") == reply
            assert g(f"z{kind},{names['work']:x},1") == "OK"
            assert g("vCont;s:1;c") == "T05thread:1;"
            assert b"CPU #1" in bytes.fromhex(g("qRcmd," + b"info cpus".hex()))
            # Physical addresses.
            assert g("Qqemu.PhyMemMode:1") == "OK" and g("qqemu.PhyMemMode") == "1"
            assert g.word(names["counter"]) == 1
            vm.qmp("quit")
            vm.wait()


@test
def a_guests_own_int3_reaches_it(tmp):
    """With breakpoints set elsewhere."""
    code = """
	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov sp, 0x7000
	mov word ptr [12], offset handler
	mov [14], cs
	mov cx, 100
1:	int3
	loop 1b
	mov dx, 0x501
	mov al, bl
	out dx, al
	hlt
handler: inc bx
	iret
"""
    for engine in ENGINES:
        image = bios(tmp, assemble(tmp, code))
        if os.path.exists(f"{tmp}/gdb"):
            os.unlink(f"{tmp}/gdb")
        with Vm(tmp, "-accel", engine, "-m", "16", "-display", "none", "-bios", image, "-device", "isa-debug-exit",
                "-gdb", f"unix:{tmp}/gdb", "-S") as vm:
            g = Gdb(tmp)
            g("qSupported:swbreak+")
            assert g("Z0,8000,1") == "OK"
            g.send("c")
            assert vm.wait() == 100 << 1 | 1, engine


@test
def nonsense_is_survived(tmp):
    import random
    build(tmp)
    rnd = random.Random(1)
    with start(tmp, "tcg") as vm:
        g = Gdb(tmp)
        letters = b"?gGpPmMXHTZzqQv,:;=#$}*0123456789abcdef-"
        for _ in range(3000):
            # No k, D, c, s and vCont: what they do is not nonsense.
            data = bytes([rnd.choice(b"?gGpPmMXHTZzqQv")]) + bytes(rnd.choice(letters) for _ in range(rnd.randrange(40)))
            g.s.sendall(b"$" + data.replace(b"#", b"").replace(b"$", b"") + b"#%02x" % rnd.randrange(256))
            if rnd.randrange(8) == 0:
                g.s.sendall(bytes(rnd.randrange(256) for _ in range(rnd.randrange(50))).replace(b"$", b""))
            g.s.setblocking(False)
            try:
                g.s.recv(1 << 20)
            except BlockingIOError:
                pass
            g.s.setblocking(True)
        for data in (b"m0,ffffffffffffffff", b"mffffffffffffffff,10", b"M0,ffffffff:00", b"X0,ffff:", b"pffffffffffffffff",
                     b"Z2,0,ffffffff", b"qXfer:features:read:target.xml:ffffffffffffffff,1", b"vCont;c:-2", b"Hg-1",
                     b"Zffffffffffffffff,0,0", b"qRcmd," + b"3f" * 8000, b"g" * 40000):
            g.s.sendall(b"+$" + data + b"#%02x" % (sum(data) & 255))
        assert vm.qmp("query-status")["status"] in ("prelaunch", "paused")
        g.s.close()
        g = Gdb(tmp)
        assert "PacketSize" in g("qSupported")


@test
def gdb_itself(tmp):
    if not shutil.which("gdb"):
        raise Skip("no gdb")
    names = build(tmp)
    with start(tmp, "tcg") as vm:
        script = ["set confirm off", f"target remote {tmp}/gdb", f"break *{names['work']:#x}", "continue", "continue",
                  f"print/x *(int *){names['counter']:#x}", "info registers rip", f"watch *(int *){names['other']:#x}", "continue", "info threads",
                  "stepi", "print $cr0", "print $xmm0.uint128", "monitor info status", "kill"]
        args = ["gdb", "-batch", "-nx"]
        for line in script:
            args += ["-ex", line]
        out = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout
        for what in (f"Breakpoint 1, 0x{names['work']:016x}", "= 0x2", "Hardware watchpoint 2", "New value = 2", "CPU#0", "paused"):
            assert what in out, (what, out)
        assert vm.wait() == 0


main()
