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
def debian_boots_from_a_virtio_scsi_disk_of_an_io_thread(tmp):
    path, sum, text = boots_and_writes(tmp, "-object", "iothread,id=t0", "-drive",
                                       "file=DISK,if=none,id=d,format=qcow2,aio=io_uring", "-device",
                                       "virtio-scsi-pci,id=scsi0,iothread=t0", "-device",
                                       "scsi-hd,drive=d,bus=scsi0.0")
    assert "/dev/sda1" in text, text[-2000:]


@test
def debian_boots_from_a_virtio_disk_and_finds_what_it_wrote(tmp):
    path, sum, text = boots_and_writes(tmp, "-drive", "file=DISK,if=virtio,format=qcow2")
    assert "/dev/vda1" in text, text[-2000:]
    with start(tmp, "-object", "iothread,id=t0", "-smp", "2", "-drive",
               f"file={path},if=none,id=d,format=qcow2,snapshot=on", "-device",
               "virtio-blk-pci,drive=d,iothread=t0,num-queues=2") as vm:
        console = Console(tmp)
        log_in(console)
        console.send("md5sum /root/data; rm /root/data; sync; echo sums''-done")
        console.expect("sums-done")
        assert sum in console.text, console.text[-2000:]
        shut_down(vm, console)


def blank(tmp, name, size="300M"):
    path = f"{tmp}/{name}.qcow2"
    subprocess.run([IMG, "create", "-q", "-f", "qcow2", path, size], check=True)
    return path


@test
def linux_uses_every_kind_of_disk_and_cdrom(tmp):
    system = overlay(tmp)
    iso = f"{tmp}/cd.iso"
    with open(iso, "wb") as f:
        f.write(bytes(range(256)) * 4096)
    sum = subprocess.run(["md5sum", iso], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[0]
    args = ["-drive", f"file={system},if=none,id=system,format=qcow2", "-device",
            "virtio-blk-pci,drive=system,bootindex=0", "-device", "ich9-ahci,id=ahci", "-device",
            "virtio-scsi-pci,id=scsi,num_queues=2"]
    for name, device in (("sata", "ide-hd,bus=ahci.0"), ("scsi", "scsi-hd,bus=scsi.0"), ("nvme", "nvme,serial=n1")):
        args += ["-drive", f"file={blank(tmp, name)},if=none,id={name},format=qcow2,discard=unmap", "-device",
                 f"{device},drive={name}"]
    for name, device in (("satacd", "ide-cd,bus=ahci.1"), ("scsicd", "scsi-cd,bus=scsi.0")):
        args += ["-drive", f"file={iso},if=none,id={name},format=raw,media=cdrom", "-device", f"{device},drive={name}"]
    floppy = f"{tmp}/floppy"
    with open(floppy, "wb") as f:
        f.write(bytes(range(255, -1, -1)) * 5760)
    floppy_sum = subprocess.run(["md5sum", floppy], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[0]
    with start(tmp, *args, "-drive", f"file={floppy},if=floppy,format=raw") as vm:
        console = Console(tmp)
        log_in(console)
        # Its driver came by itself.
        console.send("md5sum /dev/fd0; head -c 5000 /dev/zero | tr '\\0' x | dd of=/dev/fd0 bs=512 seek=700 conv=fsync "
                     "2>/dev/null; echo floppy''-done")
        console.expect("floppy-done")
        assert floppy_sum in console.text, console.text[-2000:]
        console.send("modprobe -a sd_mod sr_mod; for d in sda sdb nvme0n1; do mkfs.ext4 -q /dev/$d && mount -o discard /dev/$d "
                     "/mnt && dd if=/dev/urandom of=/mnt/a bs=1M count=40 status=none && cp /mnt/a /mnt/b && rm /mnt/a && "
                     "sync && fstrim /mnt && echo 3 >/proc/sys/vm/drop_caches && md5sum </mnt/b >/run/$d && umount /mnt && "
                     "e2fsck -fn /dev/$d >/dev/null 2>&1 && mount /dev/$d /mnt && md5sum </mnt/b | cmp - /run/$d && umount "
                     "/mnt && echo good''-$d; done; for d in sr0 sr1; do md5sum /dev/$d; done; cat "
                     "/sys/block/sd[ab]/device/queue_depth; echo all''-done")
        console.expect("all-done", 200)
        for d in ("sda", "sdb", "nvme0n1"):
            assert f"good-{d}" in console.text, console.text[-3000:]
        assert console.text.count(sum) == 2, console.text[-3000:]
        assert "32" in console.text  # native command queuing
        console.send("dmesg -l err,crit,alert; eject /dev/sr1; echo quiet''-done")
        console.expect("quiet-done")
        assert "I/O error" not in console.text, console.text[-3000:]
        shut_down(vm, console)
    assert open(floppy, "rb").read()[700 * 512:700 * 512 + 5001] == b"x" * 5000 + b"\x77", "the floppy"
    for name in ("sata", "scsi", "nvme"):
        subprocess.run([IMG, "check", "-q", f"{tmp}/{name}.qcow2"], check=True)


main()
