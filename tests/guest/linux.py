# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock Debian kernel with a BusyBox initial RAM disk, booted directly under the translator."""
import gzip
import os
import struct

from debian import *
from moa import *


def boot(tmp, *extra, image=None, disk=None):
    return Vm(tmp, "-accel", "tcg", "-m", "512", "-display", "none", "-nodefaults", "-serial",
              f"unix:{tmp}/serial,server=on,wait=off", "-chardev", "null,id=none", "-kernel", image or kernel(), "-initrd",
              disk or initrd(tmp), *extra)


@test
def a_stock_kernel_boots_to_a_shell(tmp):
    import hashlib
    box = open(package_file("busybox-static", "bin/busybox"), "rb").read()
    with boot(tmp, "-append", "console=ttyS0 panic=-1 quiet hello=moa") as vm:
        console = Console(tmp)
        console.expect("COMMANDS DONE")
        for what in ("hello=moa", "SUM 2668667000", hashlib.md5(box[:300000]).hexdigest(), "200 199 198", "SLEPT",
                     "x86_64"):
            assert what in console.text, f"no '{what}' in:\n{console.text}"
        # Interactive, and idle while nothing is typed.
        console.send("grep -m1 flags /proc/cpuinfo; echo fla''gs")
        console.expect("flags\r")
        console.expect("flags\r\n")
        for flag in "vme pcid invpcid la57 smep smap umip xsaves avx2".split():
            assert re.search(rf"\b{flag}\b", console.text), f"no '{flag}' in:\n{console.text}"
        # No work-arounds that cost each system call, on whoever's processors.
        console.send("mkdir -p /sys; mount -t sysfs s /sys; cd /sys/devices/system/cpu/vulnerabilities; grep . *; echo vuln''erable")
        console.expect("vulnerable\r")
        for bug in "meltdown mds spec_rstack_overflow tsa retbleed".split():
            assert f"{bug}:Not affected" in console.text, console.text
        console.send("echo $((6 * 7))-typed")
        console.expect("42-typed")
        console.send("poweroff -f")
        assert vm.wait() == 0


def boot_i386(tmp, flavour):
    image = foreign_file("i386", f"linux-image-6[0-9.-]*-{flavour}", f"boot/vmlinuz-*-{flavour}")
    disk = initrd(tmp, busybox=foreign_file("i386", "busybox-static", "bin/busybox"))
    with boot(tmp, "-append", "console=ttyS0 panic=-1 quiet", image=image, disk=disk) as vm:
        console = Console(tmp)
        console.expect("COMMANDS DONE")
        for what in ("SUM 2668667000", "200 199 198", "SLEPT", "i686"):
            assert what in console.text, f"no '{what}' in:\n{console.text}"
        console.send("poweroff -f")
        assert vm.wait() == 0


@test
def a_32_bit_kernel_boots_to_a_shell(tmp):
    boot_i386(tmp, "686")


@test
def a_32_bit_kernel_with_pae_boots_to_a_shell(tmp):
    boot_i386(tmp, "686-pae")


def boots_by_firmware(tmp, *firmware):
    with boot(tmp, *firmware, "-append", "console=ttyS0 panic=-1 quiet hello=moa") as vm:
        console = Console(tmp)
        console.expect("COMMANDS DONE")
        for what in ("hello=moa", "SUM 2668667000"):
            assert what in console.text, f"no '{what}' in:\n{console.text}"
        # Page tables as people see them.
        vm.qmp("stop")
        lines = vm.qmp.hmp("info tlb").splitlines()
        assert len(lines) > 100 and all(re.fullmatch(r"[0-9a-f]{16}: [0-9a-f]{16} [-X][-G][-P][-D][-A][-C][-T][-U][-W]|\.\.\. and more", x)
                                        for x in lines), lines[:3]
        lines = vm.qmp.hmp("info mem").splitlines()
        assert lines and all(re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{16} [0-9a-f]{16} [-u]r[-w]|\.\.\. and more", x) for x in lines), lines[:3]


@test
def a_bios_boots_the_kernel(tmp):
    boots_by_firmware(tmp, "-bios", "bios-256k.bin")


@test
def uefi_boots_the_kernel(tmp):
    need("/usr/share/OVMF/OVMF_CODE_4M.fd")
    boots_by_firmware(tmp, "-drive", "if=pflash,format=raw,readonly=on,file=OVMF_CODE_4M.fd")


@test
def the_guest_sees_stolen_time(tmp):
    need_file = "/proc/self/schedstat"
    if not os.path.exists(need_file):
        raise Skip(f"no {need_file}: this host does not tell how long threads wait")
    # Everything on one processor, beside a process that never sleeps.
    cpu = {sorted(os.sched_getaffinity(0))[0]}
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"], preexec_fn=lambda: os.sched_setaffinity(0, cpu))
    try:
        with boot(tmp, "-append", "console=ttyS0 panic=-1 quiet") as vm:
            for task in os.listdir(f"/proc/{vm.process.pid}/task"):
                os.sched_setaffinity(int(task), cpu)
            console = Console(tmp)
            console.expect("COMMANDS DONE", 200)
            console.send("(while :; do :; done) & sleep 2; set -- $(head -1 /proc/stat); echo $9 STOLE\"\"N")
            console.expect("STOLEN")
            stolen = int(re.findall(r"(\d+) STOLEN", console.text)[-1])
            assert stolen > 20, console.text[-300:]
    finally:
        busy.kill()
        busy.wait()


@test
def the_paravirtual_clock_stands_still_with_the_vm(tmp):
    with boot(tmp, "-append", "console=ttyS0 panic=-1 quiet", "-smp", "2") as vm:
        console = Console(tmp)
        console.expect("COMMANDS DONE")

        def ask(command, n):
            console.send(f"echo answer{n}=$({command})")
            console.expect(f"answer{n}=")
            while not re.search(rf"answer{n}=([^$\r\n]+)[\r\n]", console.text):
                console.read()
            return re.search(rf"answer{n}=([^$\r\n]+)[\r\n]", console.text).group(1)

        source = ask("cat /sys/devices/system/clocksource/clocksource0/current_clocksource", 1)
        assert source == "kvm-clock", source
        assert abs(int(ask("date +%s", 2)) - time.time()) < 5
        before = float(ask("cut -d' ' -f1 /proc/uptime", 3))
        vm.qmp("stop")
        time.sleep(3)
        vm.qmp("cont")
        after = float(ask("cut -d' ' -f1 /proc/uptime", 4))
        assert before <= after < before + 2.5, (before, after)


@test
def bad_kernels_are_named(tmp):
    path = os.path.join(tmp, "k")
    for data, what in ((b"\x7fELF" + b"\0" * 8192, "none of the kernels"), (b"\0" * 8192, "no 'HdrS'"), (b"", "0 bytes")):
        open(path, "wb").write(data)
        status, _, stderr = run("-accel", "tcg", "-display", "none", "-kernel", path)
        assert status == 1 and path in stderr and what in stderr, stderr
    k = kernel()
    status, _, stderr = run("-accel", "tcg", "-display", "none", "-m", "32", "-kernel", k)
    assert status == 1 and "larger -m" in stderr, stderr
    status, _, stderr = run("-accel", "tcg", "-display", "none", "-append", "x")
    assert status == 1 and "-kernel" in stderr, stderr
    data = bytearray(open(k, "rb").read()[:0x1000])
    data[0x1f1] = 200
    open(path, "wb").write(data)
    status, _, stderr = run("-accel", "tcg", "-display", "none", "-kernel", path)
    assert status == 1 and "ends inside" in stderr, stderr


@test
def four_vcpus_work_side_by_side(tmp):
    with boot(tmp, "-append", "console=ttyS0 panic=-1 quiet", "-smp", "4") as vm:
        console = Console(tmp)
        console.expect("COMMANDS DONE")
        console.send("echo cpus=$(nproc)")
        console.expect("cpus=4")
        console.send("for i in 1 2 3 4 5 6; do (head -c 2000000 /dev/zero | md5sum) & done; wait; echo ALL-$((40+2))")
        console.expect("ALL-42")
        assert console.text.count("6bde2aa6394fde37e21748bc0578113b") == 6, console.text
        console.send("poweroff -f")
        assert vm.wait() == 0


@test
def quickstart_ends_in_a_shell(tmp):
    src = os.environ["MOA_SRC"]
    if os.path.realpath("moa") != os.path.realpath(f"{src}/build/moa"):
        raise Skip("this is not the build folder that quickstart uses")
    if re.search(r"\b(vmx|svm)\b", open("/proc/cpuinfo").read()) and os.access("/dev/kvm", os.W_OK):
        raise Skip("quickstart shows SeaBIOS on this KVM")
    p = subprocess.Popen([f"{src}/quickstart"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text, end = b"", time.time() + 120
    while b"/ # " not in text and time.time() < end:
        text += os.read(p.stdout.fileno(), 65536)
    p.stdin.write(b"echo $((6 * 7))-typed; poweroff -f\n")
    p.stdin.flush()
    text += p.stdout.read()
    assert p.wait() == 0 and b"42-typed" in text, text.decode(errors="replace")


if __name__ == "__main__":
    main()
