# SPDX-License-Identifier: GPL-2.0-or-later
"""SeaBIOS's whole POST, under every irqchip mode, and what it finds."""
import os

from moa import *

BIOS = "/usr/share/seabios/bios-256k.bin"


def boot(tmp, *args):
    need_kvm()
    need(BIOS)
    log = os.path.join(tmp, "log")
    vm = Vm(tmp, "-accel", "kvm", "-m", "256", "-display", "none", "-debugcon", f"file:{log}", *args)
    text = wait_for(lambda: "No bootable device" in open(log).read() and open(log).read(), "SeaBIOS's last line")
    return vm, text


@test
def post_finds_our_devices(tmp):
    vm, text = boot(tmp)
    with vm:
        for line in ("Running on QEMU (i440fx)", "Running on KVM", "QEMU fw_cfg DMA interface supported",
                     "qemu/e820: addr 0x0000000000000000 len 0x0000000010000000 [RAM]", "Moving pm_base to 0x600",
                     "Found 5 PCI devices", "PCI: init bdf=00:00.0 id=8086:1237", "PCI: init bdf=00:01.0 id=8086:7000",
                     "PCI: init bdf=00:01.1 id=8086:7010", "PCI: init bdf=00:01.3 id=8086:7113",
                     "PCI: init bdf=00:02.0 id=8086:100e", "PIIX3/PIIX4 init: elcr=00 0c", "Copying SMBIOS",
                     "table(50434146)=", "Found 1 serial ports", "PS2 keyboard initialized", "All threads complete."):
            assert line in text, f"'{line}' is not in:\n{text}"


@test
def post_with_split_irqchip(tmp):
    vm, text = boot(tmp, "-machine", "kernel-irqchip=split")
    vm.__exit__()


@test
def post_with_userspace_irqchip(tmp):
    vm, text = boot(tmp, "-machine", "kernel-irqchip=off", "-smp", "2")
    with vm:
        assert "Found 2 cpu(s) max supported 2 cpu(s)" in text, text


@test
def post_under_the_translator(tmp):
    need(BIOS)
    log = os.path.join(tmp, "log")
    with Vm(tmp, "-accel", "tcg", "-m", "256", "-display", "none", "-debugcon", f"file:{log}") as vm:
        text = wait_for(lambda: "No bootable device" in open(log).read() and open(log).read(), "SeaBIOS's last line")
        for line in ("Running on QEMU (i440fx)", "Found 5 PCI devices", "Copying SMBIOS", "All threads complete."):
            assert line in text, f"'{line}' is not in:\n{text}"
        vm.qmp("system_reset")
        wait_for(lambda: open(log).read().count("All threads complete.") == 2, "the second POST")


@test
def post_starts_four_processors(tmp):
    vm, text = boot(tmp, "-smp", "4,cores=2")
    with vm:
        assert "Found 4 cpu(s) max supported 4 cpu(s)" in text, text
        cpus = vm.qmp("query-cpus-fast")
        assert len(cpus) == 4 and len({c["thread-id"] for c in cpus}) == 4, cpus


@test
def post_sees_memory_above_4_gib(tmp):
    vm, text = boot(tmp, "-m", "5G")
    with vm:
        assert "addr 0x0000000000000000 len 0x00000000c0000000 [RAM]" in text, text
        assert "addr 0x0000000100000000 len 0x0000000080000000 [RAM]" in text, text


@test
def serial_console_shows_the_banner(tmp):
    need_kvm()
    need(BIOS)
    serial = os.path.join(tmp, "serial")
    # sgabios is not there, so the banner itself comes through -nographic's fw_cfg switch only in the log.
    with Vm(tmp, "-accel", "kvm", "-display", "none", "-serial", f"file:{serial}", "-debugcon",
            f"file:{tmp}/log") as vm:
        wait_for(lambda: "All threads complete" in open(f"{tmp}/log").read(), "POST")
        vm.qmp.hmp("stop")
        vm.qmp.hmp("o /b 0x3f8 0x41")
        assert open(serial, "rb").read().endswith(b"A")


@test
def reset_runs_post_again(tmp):
    vm, text = boot(tmp)
    with vm:
        for _ in range(3):
            before = open(f"{tmp}/log").read().count("No bootable device")
            vm.qmp("system_reset")
            vm.qmp.wait_event("RESET")
            wait_for(lambda: open(f"{tmp}/log").read().count("No bootable device") > before, "POST after reset")


@test
def the_monitor_answers_whatever_the_guest_does(tmp):
    vm, text = boot(tmp)
    with vm:
        q = vm.qmp
        for line, part in (("info registers", "RIP="), ("info mtree", "address-space: memory"),
                           ("info mtree -f", "pc.bios"), ("info qtree", "dev: PIIX3"), ("info pic", "pic0: irr="),
                           ("info irq", "IRQ statistics"), ("info lapic", "apic 0: id 0x0"), ("info clocks", "kvm "),
                           ("info kvm", "KVM_CAP_USER_MEMORY"), ("info exits", "io "), ("info status", "running"),
                           ("info pci", "PCI device 8086:1237"), ("info cpus", "CPU #0"), ("info version", "moa "),
                           ("info chardev", "filename=file:"), ("x /2i $rip", "0x"),
                           ("xp /4xw 0xfffffff0", "00000000fffffff0:"), ("p $cs", "0x"), ("i /b 0x71", "portb"),
                           ("info registers -a", "CPU#0")):
            out = q.hmp(line)
            assert part in out, f"{line}: {out}"


main()
