# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian on a disk of its own, booted by SeaBIOS and GRUB from each kind of disk, and what it writes."""
import os
import subprocess

from debian import Console
from debian_disk import log_in, overlay, shut_down, start
from moa import *

IMG = os.path.abspath("moa-img")


def boots_and_writes(tmp, *args):
    path = overlay(tmp)
    with start(tmp, *[a.replace("DISK", path) for a in args]) as vm:
        console = Console(tmp)
        log_in(console)
        console.send("dd if=/dev/urandom of=/root/data bs=1M count=30 status=none; sync; md5sum /root/data; findmnt -no "
                     "SOURCE /; echo sums''-done")
        console.expect("sums-done")
        shut_down(vm, console)
    sum = re.search(r"([0-9a-f]{32})  /root/data", console.text).group(1)
    subprocess.run([IMG, "check", "-q", path], check=True)
    return path, sum, console.text


@test
def debian_boots_from_an_ide_disk(tmp):
    path, sum, text = boots_and_writes(tmp, "DISK")
    assert "/dev/sda1" in text, text[-2000:]


@test
def debian_boots_from_a_sata_disk(tmp):
    path, sum, text = boots_and_writes(tmp, "-drive", "file=DISK,if=none,id=d,format=qcow2", "-device",
                                       "ich9-ahci,id=ahci", "-device", "ide-hd,drive=d,bus=ahci.0")
    assert "/dev/sda1" in text, text[-2000:]


@test
def debian_boots_from_an_nvme_disk(tmp):
    path, sum, text = boots_and_writes(tmp, "-drive", "file=DISK,if=none,id=d,format=qcow2", "-device",
                                       "nvme,drive=d,serial=1")
    assert "/dev/nvme0n1p1" in text, text[-2000:]


@test
def debian_boots_from_a_virtio_scsi_disk(tmp):
    path, sum, text = boots_and_writes(tmp, "-drive", "file=DISK,if=none,id=d,format=qcow2", "-device",
                                       "virtio-scsi-pci,id=scsi0", "-device", "scsi-hd,drive=d,bus=scsi0.0")
    assert "/dev/sda1" in text, text[-2000:]


@test
def debian_boots_from_a_virtio_disk_and_finds_what_it_wrote(tmp):
    path, sum, text = boots_and_writes(tmp, "-drive", "file=DISK,if=virtio,format=qcow2")
    assert "/dev/vda1" in text, text[-2000:]
    with start(tmp, "-drive", f"file={path},if=virtio,format=qcow2,snapshot=on") as vm:
        console = Console(tmp)
        log_in(console)
        console.send("md5sum /root/data; rm /root/data; sync; echo sums''-done")
        console.expect("sums-done")
        assert sum in console.text, console.text[-2000:]
        shut_down(vm, console)


main()
