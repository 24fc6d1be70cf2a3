# SPDX-License-Identifier: GPL-2.0-or-later
"""moa's own memory beside the guest's: bounded, whatever the guest did."""
from debian import *
from moa import *


def own_memory(vm, guest_mib):
    """KiB beside the guest's RAM: all that is resident, and without what is only the page cache's (libraries' code).
    The translator's code is mapped twice and counts once."""
    total = clean = 0
    for line in open(f"/proc/{vm.process.pid}/smaps"):
        word = line.split()
        if re.match(r"[0-9a-f]+-[0-9a-f]+$", word[0]):
            first, last = (int(n, 16) for n in word[0].split("-"))
            counts = last - first < guest_mib << 20 and not ("/dev/zero" in line and "x" in word[1])
            is_file = len(word) > 5 and word[5].startswith("/") and "(deleted)" not in line
        elif counts and word[0] == "Rss:":
            total += int(word[1])
        elif counts and is_file and word[0] in ("Shared_Clean:", "Private_Clean:"):
            clean += int(word[1])
    print(f"{total / 1024:.1f} MiB resident, {(total - clean) / 1024:.1f} MiB without files' clean pages")
    return total


VIRTIO = ["-device", "virtio-scsi-pci", "-nic", "user,model=virtio-net-pci", "-device", "virtio-rng-pci", "-device",
          "virtio-balloon-pci", "-device", "virtio-serial-pci", "-chardev", "null,id=null", "-device", "virtconsole,chardev=null"]


@test
def a_virtio_vm_on_kvm_takes_less_than_30_mib(tmp):
    need_kvm()
    shutil.copy(package_file("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso"), f"{tmp}/disk")
    open(f"{tmp}/sercon", "wb").write((0x3f8).to_bytes(8, "little"))
    with Vm(tmp, "-accel", "kvm", "-m", "128", "-display", "none", "-nodefaults", "-serial",
            f"unix:{tmp}/serial,server=on,wait=off", "-fw_cfg", f"name=etc/sercon-port,file={tmp}/sercon", "-drive",
            f"file={tmp}/disk,format=raw,if=virtio,snapshot=on", *VIRTIO) as vm:
        Console(tmp).expect("The highlighted entry", 600)
        resident = own_memory(vm, 128)
        assert resident < 30 << 10


@test
def a_translated_vm_takes_less_than_60_mib_after_a_boot(tmp):
    with Vm(tmp, "-accel", "tcg", "-m", "512", "-display", "none", "-nodefaults", "-serial",
            f"unix:{tmp}/serial,server=on,wait=off", "-kernel", kernel(), "-initrd", initrd(tmp), "-append",
            "console=ttyS0 quiet", *VIRTIO) as vm:
        Console(tmp).expect("COMMANDS DONE")
        resident = own_memory(vm, 512)
        assert resident < 60 << 10


main()
