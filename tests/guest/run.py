# SPDX-License-Identifier: GPL-2.0-or-later
"""Running, stopping, ending: with small firmware images of our own."""
import os
import signal
import subprocess
import time

from moa import *

LOOP = b"\xeb\xfe"
# mov dx, 501h; mov al, 10h; out dx, al; hlt
EXIT = b"\xba\x01\x05\xb0\x10\xee\xf4"
# An exception in protected mode with an empty IDT: a triple fault.
TRIPLE = """
	cli
	lgdt cs:[gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	.byte 0x66, 0xea
	.long protected + 0xf0000
	.word 8
	.code32
protected:
	lidt cs:[idtr + 0xf0000]
	ud2
	.align 8
gdt:	.quad 0, 0x00cf9b000000ffff
gdtr:	.word 15
	.long gdt + 0xf0000
idtr:	.word 0
	.long 0
"""


def args(tmp, code):
    need_kvm()
    return ["-accel", "kvm", "-m", "16", "-display", "none", "-bios", bios(tmp, code)]


@test
def debug_exit_gives_its_status(tmp):
    status, out, err = run(*args(tmp, EXIT), "-device", "isa-debug-exit")
    assert status == 0x21, (status, err)


# Finds opt/answer in the firmware's files, and gives its only byte.
FW_CFG = """
	mov dx, 0x510
	mov ax, 0x19
	out dx, ax
	inc dx
	call long
	mov ecx, eax
next:	call long
	mov ebp, eax		# its size
	in al, dx
	mov bh, al
	in al, dx
	mov bl, al		# its number
	in al, dx
	in al, dx
	xor si, si
	xor di, di
1:	in al, dx
	cmp al, cs:[si + name]
	jne 2f
	cmp di, si
	jne 2f
	inc di
2:	inc si
	cmp si, 11
	jb 1b
3:	in al, dx
	inc si
	cmp si, 56
	jb 3b
	cmp di, 11
	je found
	loop next
	mov al, 1
	jmp out
found:	dec dx
	mov ax, bx
	out dx, ax
	inc dx
	in al, dx
	cmp ebp, 1
	je out
	mov al, 2
out:	mov dx, 0x501
	out dx, al
	hlt
long:	mov si, 4
1:	shl eax, 8
	in al, dx
	dec si
	jnz 1b
	ret
name:	.asciz "opt/answer"
"""


@test
def files_of_the_users_reach_the_guest(tmp):
    for engine in ENGINES:
        status, out, err = run("-accel", engine, "-m", "16", "-display", "none", "-bios", bios(tmp, assemble(tmp, FW_CFG)), "-device",
                               "isa-debug-exit", "-fw_cfg", "opt/other,string=zz", "-fw_cfg", "name=opt/answer,string=*")
        assert status == (ord("*") << 1 | 1) & 0xff, (engine, status, err)


A20 = """
	xor ax, ax
	mov ds, ax
	dec ax
	mov es, ax
	mov word ptr ds:[0x500], 0x1111
	mov word ptr es:[0x510], 0x2222	# 100500h
	mov bl, 1			# the step that failed
	cmp word ptr ds:[0x500], 0x1111
	jne fail
	inc bx
	xor al, al
	out 0x92, al
	cmp word ptr es:[0x510], 0x1111
	jne fail
	inc bx
	mov al, 2
	out 0x92, al
	cmp word ptr es:[0x510], 0x2222
	jne fail
	inc bx
	mov al, 0xdd
	out 0x64, al
	mov word ptr es:[0x510], 0x3333
	cmp word ptr ds:[0x500], 0x3333
	jne fail
	mov al, 0xdf
	out 0x64, al
	cmp word ptr es:[0x510], 0x2222
	jne fail
	mov bl, 0x20
fail:	mov dx, 0x501
	mov al, bl
	out dx, al
	hlt
"""


@test
def a20_wraps_on_both_engines(tmp):
    for engine in ENGINES:
        status, out, err = run("-accel", engine, "-m", "16", "-display", "none", "-bios",
                               bios(tmp, assemble(tmp, A20)), "-device", "isa-debug-exit")
        assert status == 0x41, (engine, status, err)


# fw_cfg's DMA overwrites an instruction that has run: its signature becomes an immediate.
DMA = """
	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov sp, 0x7000
	mov dword ptr [0x3000], 0x1111b866	# mov eax, 11111111h; retf
	mov dword ptr [0x3004], 0xcb1111
	mov bl, 1
	call 0:0x3000
	cmp eax, 0x11111111
	jne out
	inc bx
	mov dword ptr [0x4000], 0x0a000000	# select item 0, read (big-endian)
	mov dword ptr [0x4004], 0x04000000
	mov dword ptr [0x4008], 0
	mov dword ptr [0x400c], 0x02300000
	mov dx, 0x518
	mov eax, 0x00400000
	out dx, eax
	call 0:0x3000
	cmp eax, 0x554d4551
	jne out
	mov bl, 0x20
out:	mov dx, 0x501
	mov al, bl
	out dx, al
	hlt
"""


@test
def code_that_dma_overwrites(tmp):
    for engine in ENGINES:
        status, out, err = run("-accel", engine, "-m", "16", "-display", "none", "-bios",
                               bios(tmp, assemble(tmp, DMA)), "-device", "isa-debug-exit")
        assert status == 0x41, (engine, status, err)


@test
def a_triple_fault_ends_with_no_reboot(tmp):
    status, out, err = run(*args(tmp, assemble(tmp, TRIPLE)), "-no-reboot")
    assert status == 0, (status, err)


@test
def a_triple_fault_resets(tmp):
    with Vm(tmp, *args(tmp, assemble(tmp, TRIPLE))) as vm:
        event = vm.qmp.wait_event("RESET")
        assert event["data"] == {"guest": True, "reason": "guest-reset"}, event


@test
def nothing_runs_after_a_reset_was_asked_for(tmp):
    # Port CF9h, then a write that must never be seen.
    code = b"\xba\xf9\x0c\xb0\x02\xee\xb0\x06\xee" + EXIT
    with Vm(tmp, *args(tmp, code), "-device", "isa-debug-exit") as vm:
        for _ in range(20):
            vm.qmp.wait_event("RESET")
        assert vm.process.poll() is None, vm.output()


@test
def s_waits_for_cont(tmp):
    with Vm(tmp, *args(tmp, LOOP), "-S") as vm:
        q = vm.qmp
        assert q("query-status") == {"running": False, "singlestep": False, "status": "prelaunch"}
        # In the reset state: nothing has run.
        assert "RIP=000000000000fff0" in q.hmp("info registers")
        q("cont")
        q.wait_event("RESUME")
        assert q("query-status")["status"] == "running"
        wait_for(lambda: "RIP=0000000000000000" in q.hmp("info registers"), "the guest's loop")
        q("stop")
        q.wait_event("STOP")
        assert q("query-status")["status"] == "paused"


@test
def quit_ends_with_an_event(tmp):
    with Vm(tmp, *args(tmp, LOOP)) as vm:
        vm.qmp("quit")
        event = vm.qmp.wait_event("SHUTDOWN")
        assert event["data"] == {"guest": False, "reason": "host-qmp-quit"}, event
        assert vm.wait() == 0


@test
def sigterm_ends_cleanly(tmp):
    with Vm(tmp, *args(tmp, LOOP)) as vm:
        vm.process.send_signal(signal.SIGTERM)
        assert vm.qmp.wait_event("SHUTDOWN")["data"]["reason"] == "host-signal"
        assert vm.wait() == 0


@test
def power_button_and_names(tmp):
    with Vm(tmp, *args(tmp, LOOP), "-name", "blue", "-uuid", "550e8400-e29b-41d4-a716-446655440000") as vm:
        q = vm.qmp
        q("system_powerdown")
        q.wait_event("POWERDOWN")
        assert q("query-name") == {"name": "blue"}
        assert q("query-uuid") == {"UUID": "550e8400-e29b-41d4-a716-446655440000"}
        assert q("query-kvm") == {"enabled": True, "present": True}
        q("inject-nmi")


@test
def qmp_lists_agree_with_the_schema(tmp):
    with Vm(tmp, *args(tmp, LOOP)) as vm:
        q = vm.qmp
        schema = q("query-qmp-schema")
        commands = {e["name"] for e in schema if e["meta-type"] == "command"}
        assert commands == {c["name"] for c in q("query-commands")}
        assert {e["name"] for e in schema if e["meta-type"] == "event"} == {e["name"] for e in q("query-events")}
        assert q("query-version")["package"].startswith("moa ")


@test
def two_monitors_see_the_same_machine(tmp):
    path = os.path.join(tmp, "second")
    with Vm(tmp, *args(tmp, LOOP), "-chardev", f"socket,id=c,path={path},server=on,wait=off", "-mon",
            "chardev=c,mode=control") as vm:
        other = Qmp(path)
        vm.qmp("stop")
        other.wait_event("STOP")
        assert other("query-status")["status"] == "paused"


@test
def daemonize_and_pidfile(tmp):
    pidfile, path = os.path.join(tmp, "pid"), os.path.join(tmp, "q")
    status, out, err = run(*args(tmp, LOOP), "-daemonize", "-pidfile", pidfile, "-qmp",
                           f"unix:{path},server=on,wait=off")
    assert status == 0, (status, err)
    pid = int(open(pidfile).read())
    # It is ready when the command returns, and no child of ours.
    q = Qmp(path)
    assert q("query-status")["status"] == "running"
    status, out, err = run(*args(tmp, LOOP), "-pidfile", pidfile)
    assert status == 1 and "belongs to another moa" in err, err
    q("quit")
    wait_for(lambda: not os.path.exists(pidfile), "the pid file's removal")
    status, out, err = run(*args(tmp, LOOP), "-daemonize", "-bios", "/nonexistent")
    assert status == 1 and "'/nonexistent'" in err, (status, err)


@test
def guest_errors_and_traces_are_logged(tmp):
    log = os.path.join(tmp, "log")
    # out dx=43h.. ; ICW1 with LTIM to the userspace PIC is a guest error
    code = b"\xb0\x19\xe6\x20" + EXIT
    status, out, err = run(*args(tmp, code), "-machine", "kernel-irqchip=off", "-device", "isa-debug-exit", "-d",
                           "guest_errors", "-D", log)
    assert status == 0x21, err
    assert "isa-i8259: ICW1 asks for level-triggered mode" in open(log).read(), open(log).read()
    code = b"\xb0\x42\xe6\x80" + EXIT
    status, out, err = run(*args(tmp, code), "-device", "isa-debug-exit", "-trace", "port80*", "-D", log)
    assert "port80 0x42" in open(log).read(), open(log).read()


@test
def rtc_base_reaches_the_guest(tmp):
    with Vm(tmp, *args(tmp, LOOP), "-rtc", "base=1999-12-31T23:59:55,clock=vm", "-S") as vm:
        def cmos(reg):
            vm.qmp.hmp(f"o /b 0x70 {reg}")
            return int(vm.qmp.hmp("i /b 0x71").split("=")[1], 16)
        assert [cmos(r) for r in (0x32, 9, 8, 7, 4, 2, 0)] == [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x55]


main()
