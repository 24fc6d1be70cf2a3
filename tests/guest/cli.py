# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: help texts, and one line for each mistake that names the option and what is valid."""
import os

from moa import *


def refused(parts, *args):
    status, out, err = run(*args)
    assert status == 1, (args, status, out, err)
    lines = [l for l in err.splitlines() if "warning:" not in l]
    # On a machine without KVM the engine is named first.
    lines = [l for l in lines if "using 'tcg'" not in l and not l.startswith("moa: engine ")]
    assert len(lines) == 1 and lines[0].startswith("moa: "), (args, err)
    for part in parts:
        assert part in err, f"{args}: '{part}' is not in: {err}"


@test
def mistakes_name_the_option_and_the_remedy(tmp):
    refused(["did you mean '-serial'"], "-seriel", "stdio")
    refused(["drive 'ide0-hd0'", "'disk.img'", "No such file"], "disk.img")
    refused(["-m", "'lots'"], "-m", "lots")
    refused(["-m", "1M to 1T"], "-m", "2T")
    refused(["-smp", "1 to 255"], "-smp", "0")
    refused(["-smp", "sockets=2", "maxcpus=3"], "-smp", "3,sockets=2,cores=1")
    refused(["hotplug"], "-smp", "1,maxcpus=4")
    refused(["did you mean 'pc'"], "-M", "pcc")
    refused(["unknown key 'kernel-irqchp'", "kernel-irqchip"], "-M", "pc,kernel-irqchp=off")
    refused(["on, split, off"], "-M", "pc,kernel-irqchip=maybe")
    refused(["no engine 'tgc'", "kvm"], "-accel", "tgc")
    refused(["no model 'qemu46'", "qemu64"], "-cpu", "qemu46")
    refused(["no feature 'avx3'"], "-cpu", "qemu64,+avx3")
    refused(["did you mean 'isa-serial'"], "-device", "isa-serail")
    refused(["none, ide, virtio, floppy, pflash"], "-drive", "file=x.qcow2,if=scsy")
    refused(["no image format 'qcow3'", "raw, qcow2"], "-drive", f"file={__file__},format=qcow3,if=virtio")
    refused(["needs id=ID"], "-drive", "file=x.qcow2,if=none")
    refused(["two drives", "index=0"], "-hda", "x", "-drive", "file=y,index=0")
    refused(["read-onli", "read-only"], "-drive", "file=x,read-onli=on")
    refused(["no drive 'd0'", "-drive if=none,id=ID"], "-device", "virtio-blk-pci,drive=d0")
    refused(["did you mean 'user'"], "-netdev", "usr,id=n")
    refused(["needs id=ID"], "-netdev", "user")
    refused(["tcp::2222-:22"], "-nic", "user,hostfwd=2222:22")
    refused(["no card model 'ne3000'"], "-nic", "user,model=ne3000")
    refused(["even byte"], "-nic", "user,mac=53:54:00:12:34:56")
    refused(["no network 'n1'", "-netdev user,id=n1"], "-device", "virtio-net-pci,netdev=n1")
    refused(["cannot serve network 'h'"], "-object", "iothread,id=t", "-netdev", "hubport,id=h,hubid=1", "-device",
            "virtio-net-pci,netdev=h,iothread=t")
    refused(["-object iothread,id=t"], "-device", "virtio-net-pci,iothread=t")
    refused(["only raw"], "-drive", "if=pflash,format=qcow2,file=x")
    refused(["unit=0"], "-drive", "if=pflash,unit=1,file=x")
    refused(["not a UUID"], "-uuid", "1234")
    refused(["2006-06-17"], "-rtc", "base=yesterday")
    refused(["host, rt, vm"], "-rtc", "clock=sun")
    refused(["order 'x'"], "-boot", "x")
    refused(["name=NAME"], "-fw_cfg", "opt/x")
    refused(["'/nonexistent'", "No such file"], "-fw_cfg", "name=opt/x,file=/nonexistent")
    for engine in ENGINES:
        refused(["'opt/a' is taken"], "-accel", engine, "-display", "none", "-fw_cfg", "opt/a,string=x", "-fw_cfg", "opt/a,string=y")
        refused(["1 to 55"], "-accel", engine, "-display", "none", "-fw_cfg", f"name=opt/{'x' * 60},string=x")
    refused(["did you mean 'guest_errors'"], "-d", "guest_error")
    refused(["no event"], "-trace", "nothing_like_it")
    refused(["no display but none"], "-display", "gtk")
    refused(["needs a value"], "-m")
    refused(["TYPE.PROPERTY=VALUE"], "-global", "x")


@test
def mistakes_that_need_an_engine(tmp):
    need_kvm()
    base = ["-accel", "kvm", "-display", "none"]
    refused(["'/nonexistent/bios.bin'", "No such file"], *base, "-bios", "/nonexistent/bios.bin")
    refused(["not found in", "-L"], *base, "-bios", "nothing.bin")
    odd = os.path.join(tmp, "odd.bin")
    open(odd, "wb").write(b"x" * 70000)
    refused(["70000 bytes", "multiple of 65536"], *base, "-bios", odd)
    refused(["multiple of 4096"], *base, "-drive", f"if=pflash,file={odd}")
    refused(["no chardev 'x'"], *base, "-device", "isa-serial,chardev=x")
    refused(["has no property 'iobas'", "iobase"], *base, "-device", "isa-serial,iobas=1")
    refused(["part of the board"], *base, "-device", "isa-pit")
    refused(["unknown backend 'stdoi'"], *base, "-chardev", "stdoi,id=a")
    refused(["unknown device"], *base, "-serial", "com1")
    refused(["cannot listen"], *base, "-serial", f"unix:{tmp}/no/such,server=on,wait=off")
    refused(["runs at"], *base, "-cpu", "qemu64,tsc-frequency=1000000")


@test
def without_dev_kvm_it_says_what_to_do(tmp):
    if os.geteuid() != 0:
        raise Skip("needs root to become a user without /dev/kvm")
    import subprocess
    os.chmod(tmp, 0o755)
    moa = os.path.join(tmp, "moa")
    shutil.copy(MOA, moa)
    if not os.path.exists("/dev/kvm"):
        raise Skip("no /dev/kvm")
    if os.stat("/dev/kvm").st_mode & 0o006:
        raise Skip("/dev/kvm is open to everyone here")
    r = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", moa, "-accel", "kvm"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert r.returncode == 1 and "group that owns it" in r.stderr, r.stderr


@test
def helps_list_what_exists(tmp):
    for args, part in ((["-help"], "-machine [type=]NAME"), (["-h"], "-qmp DEV"), (["-version"], "moa version "),
                       (["-machine", "help"], "pc-i440fx-0.1"), (["-cpu", "help"], "qemu64"),
                       (["-accel", "help"], "kvm"), (["-device", "help"], 'name "isa-serial", bus ISA'),
                       (["-chardev", "help"], "ringbuf"), (["-d", "help"], "guest_errors"),
                       (["-trace", "help"], "pci_bar"), (["-L", "help"], "/usr/share/seabios")):
        status, out, err = run(*args)
        assert status == 0 and part in out, (args, out, err)


@test
def every_device_describes_itself(tmp):
    _, out, _ = run("-device", "help")
    names = [l.split('"')[1] for l in out.splitlines() if l.startswith("name ")]
    assert len(names) >= 20, names
    for name in names:
        status, out, err = run("-device", name + ",help")
        assert status == 0 and out.startswith(name + ": "), (name, out, err)
        assert "no properties" in out or "=<" in out, out
    table = open(os.path.join(SRC, "docs/hw.md")).read()
    assert not [n for n in names if f"`{n}`" not in table], "a device without a line in docs/hw.md"
    assert "iobase=<uint16 (default 0xe9)" in run("-device", "isa-debugcon,help")[1]


main()
