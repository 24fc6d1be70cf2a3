# SPDX-License-Identifier: GPL-2.0-or-later
"""GRUB from SeaBIOS, as a floppy image in the firmware's files, its screen and keyboard on the serial port."""
from debian import *
from moa import *


def boot(tmp, engine, limit, *disk):
    """GRUB's rescue system from a disk, or as a floppy image among the firmware's files."""
    image = package_file("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-floppy.img")
    # SeaBIOS knows floppies by their size.
    open(f"{tmp}/floppy", "wb").write(open(image, "rb").read().ljust(1474560, b"\0"))
    shutil.copy(package_file("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso"), f"{tmp}/cd")
    open(f"{tmp}/sercon", "wb").write((0x3f8).to_bytes(8, "little"))
    disk = [a.replace("FLOPPY", f"{tmp}/floppy").replace("CD", f"{tmp}/cd") for a in disk] or [
        "-fw_cfg", f"name=floppyimg/grub.img,file={tmp}/floppy"]
    with Vm(tmp, "-accel", engine, "-m", "64", "-display", "none", "-nodefaults", "-serial", f"unix:{tmp}/serial,server=on,wait=off",
            "-fw_cfg", f"name=etc/sercon-port,file={tmp}/sercon", *disk):
        console = Console(tmp)
        console.expect("The highlighted entry", limit)
        console.send("c")
        console.expect("grub> ", limit)
        # A BIOS remembers no more than 15 keys.
        for command, answer in (("lsmmap", "base_addr = 0x100000, length = 0x"), ("cpuid -l", "grub>"), ("echo $?:a''b", "0:ab")):
            console.text = ""
            console.socket.sendall(command.encode() + b"\r")
            console.expect(answer, limit, last="grub> ")


# Each kind of disk that the firmware can boot from; the CD's image is a hard disk's too.
DISKS = {
    "floppy": ["-fda", "FLOPPY"],
    "cdrom": ["-cdrom", "CD"],
    "ide": ["-drive", "file=CD,format=raw,snapshot=on"],
    "sata": ["-drive", "file=CD,format=raw,if=none,id=d,snapshot=on", "-device", "ahci,id=a", "-device",
             "ide-hd,drive=d,bus=a.0"],
    "sata_cdrom": ["-drive", "file=CD,format=raw,if=none,id=d,media=cdrom", "-device", "ahci,id=a", "-device",
                   "ide-cd,drive=d,bus=a.0"],
    "nvme": ["-drive", "file=CD,format=raw,if=none,id=d,snapshot=on", "-device", "nvme,drive=d,serial=1"],
    "virtio": ["-drive", "file=CD,format=raw,if=virtio,snapshot=on"],
    "virtio_scsi": ["-drive", "file=CD,format=raw,if=none,id=d,snapshot=on", "-device", "virtio-scsi", "-device",
                    "scsi-hd,drive=d"],
    "scsi_cdrom": ["-drive", "file=CD,format=raw,if=none,id=d,media=cdrom", "-device", "virtio-scsi", "-device",
                   "scsi-cd,drive=d"],
}


@test
def grub_runs_under_the_translator(tmp):
    boot(tmp, "tcg", 120)


@test
def grub_runs_on_kvm(tmp):
    need_kvm()
    boot(tmp, "kvm", 600)


@test
def grub_boots_from_every_disk_under_the_translator(tmp):
    for disk in DISKS.values():
        boot(tmp, "tcg", 120, *disk)


@test
def grub_boots_from_disks_on_kvm(tmp):
    need_kvm()
    # A software KVM takes 15 seconds each, and on a busy host it misses the moments at which SeaBIOS lets the floppy's
    # interrupt in; MOA_ALL_DISKS does all.
    for name in DISKS if "MOA_ALL_DISKS" in os.environ else ("sata", "nvme", "virtio_scsi"):
        boot(tmp, "kvm", 600, *DISKS[name])


main()
