# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian 12 on a disk, as a qcow2 image: debootstrap, a kernel, GRUB, a login on the serial port, DHCP. It is made
once and kept beside the build; it needs root, for debootstrap's chroot."""
import hashlib
import os
import shutil
import struct
import subprocess

from debian import one_at_a_time, package_file
from moa import Skip, Vm

PACKAGES = "linux-image-amd64,systemd-sysv,udev,wget,iproute2,kmod,e2fsprogs"
SIZE = 1800 << 20
PARTITION = 1 << 20  # where the root file system begins
GRUB_MODULES = "biosdisk part_msdos ext2 normal linux serial terminal configfile echo test minicmd".split()
GRUB_CFG = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
linux /vmlinuz root=LABEL=root ro console=ttyS0 net.ifnames=0 quiet
initrd /initrd.img
boot
"""
FILES = {
    "etc/fstab": "LABEL=root / ext4 errors=remount-ro 0 1\n",
    "etc/hostname": "debian\n",
    "etc/hosts": "127.0.0.1 localhost debian\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/apt/sources.list": "deb [trusted=yes] http://10.0.2.2:8000 ./\n",
    "etc/systemd/network/card.network": "[Match]\nName=eth0\n[Network]\nDHCP=yes\n",
    "etc/systemd/system/serial-getty@ttyS0.service.d/login.conf":
        "[Service]\nExecStart=\nExecStart=-/sbin/agetty -o '-p -- \\\\u' --keep-baud 115200 - linux\n",
}


def mirror():
    """The archive of Debian 12 that apt uses."""
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(CODENAME)|$(REPO_URI)"],
                         stdout=subprocess.PIPE, text=True).stdout
    for line in out.splitlines():
        if line.startswith("Debian|bookworm|"):
            return line.split("|")[2]
    return "http://deb.debian.org/debian"


def install(root, log):
    if subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root, mirror()],
                      stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode:
        raise Skip("debootstrap did not succeed; see its log")
    for name, text in FILES.items():
        path = f"{root}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(path):
            os.unlink(path)
        open(path, "w").write(text)
    for command in ("passwd -d root", "systemctl enable systemd-networkd", "systemctl mask apt-daily.timer "
                    "apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer", "apt-get clean"):
        subprocess.run(["chroot", root, "sh", "-c", command], check=True, stdin=subprocess.DEVNULL, stdout=log,
                       stderr=log)
    os.makedirs(f"{root}/boot/grub", exist_ok=True)
    open(f"{root}/boot/grub/grub.cfg", "w").write(GRUB_CFG)


def boot_sectors(tmp):
    """GRUB's boot sector and the core image that it loads from behind it."""
    boot = package_file("grub-pc-bin", "usr/lib/grub/i386-pc/boot.img")
    modules = os.path.dirname(boot)
    subprocess.run(["grub-mkimage", "-d", modules, "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o", f"{tmp}/core",
                    *GRUB_MODULES], check=True)
    core = bytearray(open(f"{tmp}/core", "rb").read())
    core += bytes(-len(core) % 512)
    # The list of blocks at the first sector's end: the rest follows it on the disk.
    struct.pack_into("<QHH", core, 500, 2, len(core) // 512 - 1, 0x820)
    sector = bytearray(open(boot, "rb").read()[:512])
    struct.pack_into("<Q", sector, 0x5c, 1)
    # Any drive that the firmware booted from.
    sector[0x66:0x68] = b"\x90\x90"
    sector[446:510] = bytes(64)  # where it has code for floppies
    struct.pack_into("<B3sB3sII", sector, 446, 0x80, b"\x20\x21\0", 0x83, b"\xfe\xff\xff", PARTITION // 512,
                     (SIZE - PARTITION) // 512)
    sector[510:512] = b"\x55\xaa"
    assert len(core) + 512 < PARTITION
    return bytes(sector + core)


@one_at_a_time
def disk():
    """The image's path. Use overlays of it."""
    for tool in ("debootstrap", "grub-mkimage", "mke2fs"):
        if not shutil.which(tool):
            raise Skip(f"no {tool}; install debootstrap, grub-common and e2fsprogs")
    key = hashlib.sha256((open(__file__).read()).encode()).hexdigest()[:12]
    folder = os.path.abspath("guest-packages")
    path = f"{folder}/debian-disk-{key}.qcow2"
    if os.path.exists(path):
        return path
    if os.geteuid():
        raise Skip("making a Debian disk needs root")
    work = f"{folder}/debian-disk.new"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    with open(f"{folder}/debian-disk.log", "w") as log:
        install(f"{work}/root", log)
        raw = f"{work}/raw"
        with open(raw, "wb") as f:
            f.write(boot_sectors(work))
            f.truncate(SIZE)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-O", "^metadata_csum_seed", "-E",
                        f"offset={PARTITION}", "-d", f"{work}/root", raw, f"{(SIZE - PARTITION) >> 10}k"], check=True,
                       stdout=log, stderr=log)
        subprocess.run([os.path.abspath("moa-img"), "convert", "-f", "raw", "-O", "qcow2", "-c", raw, f"{work}/disk"],
                       check=True, stdout=log, stderr=log)
    os.replace(f"{work}/disk", path)
    shutil.rmtree(work)
    return path


def overlay(tmp):
    """A disk of the test's own, over the common one."""
    path = f"{tmp}/disk.qcow2"
    subprocess.run([os.path.abspath("moa-img"), "create", "-q", "-f", "qcow2", "-b", disk(), "-F", "qcow2", path], check=True)
    return path


def start(tmp, *args):
    return Vm(tmp, "-accel", "tcg", "-m", "768", "-display", "none", "-serial", f"unix:{tmp}/serial,server=on,wait=off",
              *args)


def log_in(console):
    console.expect("login:", 300)
    console.send("root")
    console.expect("root@debian:~#")


def shut_down(vm, console):
    console.send("systemctl poweroff")
    assert vm.process.wait(timeout=200) == 0
