# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that fill up, fail or vanish under a running guest: the VM lives, and does what rerror= and werror= say."""
import os
import struct
import subprocess

from debian import *
from moa import *

IMG = os.path.abspath("moa-img")
BYTES = 12_000_000
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
/bin/busybox --install -s /bin
INSMOD
disk=$(sed 's/.*disk=\\([^ ]*\\).*/\\1/' /proc/cmdline)
i=0; while [ ! -b $disk ] && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
echo 1 > /proc/sys/vm/drop_caches
echo READY
exec sh
"""
MODULES = ("virtio_pci", "virtio_blk", "virtio_scsi", "ata_piix", "ahci", "nvme", "sd_mod", "virtio_net", "e1000")
# The guest's name of the disk, and how it is given.
KINDS = {
    "virtio": ("/dev/vda", ["-device", "virtio-blk-pci,drive=d"]),
    "packed": ("/dev/vda", ["-object", "iothread,id=t", "-device", "virtio-blk-pci,drive=d,packed=on,iothread=t"]),
    "virtio-scsi": ("/dev/sda", ["-device", "virtio-scsi-pci,id=s", "-device", "scsi-hd,drive=d,bus=s.0"]),
    "ide": ("/dev/sda", ["-device", "ide-hd,drive=d,bus=ide.0"]),
    "ahci": ("/dev/sda", ["-device", "ich9-ahci,id=a", "-device", "ide-hd,drive=d,bus=a.0"]),
    "nvme": ("/dev/nvme0n1", ["-device", "nvme,drive=d,serial=1"]),
}


class Guest(Vm):
    def __init__(self, tmp, kind, drive, *more):
        disk, device = KINDS[kind]
        for name in ("serial", "qmp"):
            if os.path.exists(f"{tmp}/{name}"):
                os.unlink(f"{tmp}/{name}")
        files, insmod = modules(*MODULES)
        ram = initrd(tmp, INIT.replace("INSMOD", insmod), files)
        super().__init__(tmp, "-accel", "tcg", "-m", "256", "-display", "none", "-nodefaults", "-serial",
                         f"unix:{tmp}/serial,server=on,wait=off", "-kernel", kernel(), "-initrd", ram, "-append",
                         f"console=ttyS0 quiet disk={disk}", "-drive", f"{drive},if=none,id=d", *device, *more)
        self.disk, self.console = disk, Console(tmp)
        self.console.expect("READY")

    def do(self, command):
        """The guest's answer."""
        self.begin(command)
        return self.end()

    def begin(self, command):
        self.console.text = ""
        self.console.send(f"{command}; echo done''-now")

    def end(self):
        self.console.expect("done-now")
        return self.console.text

    def sum(self, size=BYTES):
        """Of what is on the disk, past the guest's cache."""
        return re.search(r"[0-9a-f]{32}", self.do(f"echo 3 > /proc/sys/vm/drop_caches; head -c {size} {self.disk} | md5sum")).group()

    def end_all_well(self):
        self.console.send("poweroff -f")
        assert self.wait() == 0


def make(tmp, path, size="64M"):
    subprocess.run([IMG, "create", "-q", "-f", "qcow2", path, size], check=True)
    return path


def pattern(n):
    return f"(echo {n}; while cat /bin/busybox; do true; done) 2>/dev/null | head -c {BYTES} > /tmp/p; md5sum /tmp/p"


@test
def a_full_host_stops_the_vm_until_there_is_room(tmp):
    small = f"{tmp}/small"
    os.mkdir(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], stderr=subprocess.DEVNULL).returncode:
        raise Skip("no rights to mount a small tmpfs")
    try:
        for n, kind in enumerate(KINDS):
            subprocess.run(["mount", "-o", "remount,size=4m", small], check=True)
            image = make(tmp, f"{small}/image")
            with Guest(tmp, kind, f"file={image},format=qcow2") as vm:
                want = re.search(r"[0-9a-f]{32}", vm.do(pattern(n))).group()
                vm.begin(f"dd if=/tmp/p of={vm.disk} bs=1M conv=fsync 2>/dev/null && echo WRO''TE")
                e = vm.qmp.wait_event("BLOCK_IO_ERROR")["data"]
                assert e["device"] == "d" and e["operation"] == "write" and e["action"] == "stop" and e["nospace"], e
                vm.qmp.wait_event("STOP")
                assert vm.qmp("query-status")["status"] == "io-error", kind
                # Still no room: it stops once more.
                vm.qmp.events.clear()
                vm.qmp("cont")
                vm.qmp.wait_event("STOP")
                subprocess.run(["mount", "-o", "remount,size=32m", small], check=True)
                vm.qmp("cont")
                assert "WROTE" in vm.end(), (kind, vm.console.text)
                assert vm.sum() == want, kind
                vm.end_all_well()
            subprocess.run([IMG, "check", "-q", image], check=True)
            os.unlink(image)
    finally:
        subprocess.run(["umount", "-l", small], check=True)


@test
def errors_are_reported_ignored_or_wait(tmp):
    if not shutil.which("nbdkit"):
        raise Skip("no nbdkit")
    read_fails, write_fails = f"{tmp}/read-fails", f"{tmp}/write-fails"
    server = subprocess.Popen(["nbdkit", "-f", "-U", f"{tmp}/nbd", "--filter=error", "memory", "64M",
                               "error-pread-rate=100%", f"error-pread-file={read_fails}", "error-pread=EIO",
                               "error-pwrite-rate=100%", f"error-pwrite-file={write_fails}", "error-pwrite=EIO"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: os.path.exists(f"{tmp}/nbd"), "the server's socket")
        drive = f"file=nbd+unix:///?socket={tmp}/nbd,format=raw"

        def write(vm, n):
            return f"yes w{n} | head -c 65536 | dd of={vm.disk} bs=4k conv=fsync 2>&1"

        def fails(path, yes):
            open(path, "w").close() if yes else os.unlink(path)

        for kind in KINDS:
            # The default: EIO goes to the guest.
            with Guest(tmp, kind, drive) as vm:
                fails(read_fails, True)
                assert "I/O error" in vm.do(f"dd if={vm.disk} of=/dev/null bs=4k count=1 skip=1000 2>&1"), (kind, vm.console.text)
                fails(read_fails, False)
                fails(write_fails, True)
                assert "I/O error" in vm.do(write(vm, 1)), (kind, vm.console.text)
                e = vm.qmp.wait_event("BLOCK_IO_ERROR")["data"]
                assert e["action"] == "report" and not e["nospace"], e
                fails(write_fails, False)
                assert "I/O error" not in vm.do(write(vm, 2)), (kind, vm.console.text)
                assert vm.qmp("query-status")["status"] == "running"
                vm.end_all_well()
        for kind in ("virtio", "virtio-scsi", "ide"):
            # Both wait for `cont`.
            with Guest(tmp, kind, drive + ",rerror=stop,werror=stop") as vm:
                for path, command in ((read_fails, f"dd if={vm.disk} of=/dev/null bs=4k count=1 skip=2000 2>&1"),
                                      (write_fails, write(vm, 3))):
                    fails(path, True)
                    vm.begin(command)
                    assert vm.qmp.wait_event("BLOCK_IO_ERROR")["data"]["action"] == "stop"
                    vm.qmp.wait_event("STOP")
                    fails(path, False)
                    vm.qmp.events.clear()
                    vm.qmp("cont")
                    text = vm.end()
                    assert "records out" in text and "I/O error" not in text, (kind, text)
                vm.end_all_well()
        with Guest(tmp, "virtio", drive + ",werror=ignore") as vm:
            fails(write_fails, True)
            assert "I/O error" not in vm.do(write(vm, 4)), vm.console.text
            assert vm.qmp.wait_event("BLOCK_IO_ERROR")["data"]["action"] == "ignore"
            fails(write_fails, False)
            vm.end_all_well()
        # The server goes for good.
        with Guest(tmp, "virtio", drive) as vm:
            server.kill()
            server.wait()
            assert "I/O error" in vm.do(write(vm, 5)), vm.console.text
            assert vm.qmp("query-status")["status"] == "running"
            vm.end_all_well()
    finally:
        server.kill()


@test
def an_image_is_used_by_one_and_may_be_unlinked(tmp):
    image = make(tmp, f"{tmp}/image")
    with Guest(tmp, "virtio", f"file={image},format=qcow2") as vm:
        status, _, err = run("-accel", "tcg", "-display", "none", image)
        assert status == 1 and image in err and f"{vm.process.pid}" in err, err
        r = subprocess.run([IMG, "check", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert r.returncode and f"{vm.process.pid}" in r.stdout, r.stdout
        want = re.search(r"[0-9a-f]{32}", vm.do(pattern(1))).group()
        keep = os.open(image, os.O_RDONLY)
        os.unlink(image)
        assert "I/O error" not in vm.do(f"dd if=/tmp/p of={vm.disk} bs=1M conv=fsync 2>&1"), vm.console.text
        assert vm.sum() == want
        vm.end_all_well()
    # What was acknowledged is in the file that has no name any more.
    with open(f"{tmp}/copy", "wb") as f, open(keep, "rb") as old:
        shutil.copyfileobj(old, f)
    subprocess.run([IMG, "check", "-q", f"{tmp}/copy"], check=True)


@test
def an_image_is_cut_short_under_a_running_vm(tmp):
    image = f"{tmp}/image"
    subprocess.run([IMG, "create", "-q", "-f", "qcow2", "-o", "preallocation=full", image, "64M"], check=True)
    with Guest(tmp, "virtio", f"file={image},format=qcow2,cache=none,aio=threads") as vm:
        os.truncate(image, 1_000_000)
        vm.do(f"dd if={vm.disk} of=/dev/null bs=1M count=40 2>&1; dd if=/dev/zero of={vm.disk} bs=1M count=40 conv=fsync 2>&1")
        assert vm.qmp("query-status")["status"] == "running"
        vm.end_all_well()


def frame(text):
    """As a stream carries it."""
    return struct.pack(">I", len(text)) + text


def ask(peer, address):
    """Whether the guest answers an ARP request for its address; what else comes is read past."""
    peer.settimeout(20)
    question = bytes.fromhex("ffffffffffff 52540000aa01 0806 0001 0800 06 04 0001 52540000aa01 0a000001 000000000000") + address
    peer.sendall(frame(question.ljust(60, b"\0")))
    data = b""
    while True:
        data += peer.recv(65536)
        while len(data) >= 4 and len(data) >= 4 + (n := struct.unpack(">I", data[:4])[0]):
            f, data = data[4:4 + n], data[4 + n:]
            if f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2" and f[28:32] == address:
                return


@test
def a_peer_floods_talks_nonsense_and_vanishes(tmp):
    image = make(tmp, f"{tmp}/image")
    cards = ("e1000", "virtio-net-pci", "virtio-net-pci,iothread=io")
    args = ["-object", "iothread,id=io"]
    for n, card in enumerate(cards):
        args += ["-netdev", f"stream,id=n{n},server=on,addr.type=unix,addr.path={tmp}/n{n}", "-device",
                 f"{card},netdev=n{n},mac=52:54:00:00:00:0{n}"]

    def connect(n):
        s = socket.socket(socket.AF_UNIX)
        s.connect(f"{tmp}/n{n}")
        return s

    with Guest(tmp, "virtio", f"file={image},format=qcow2", *args) as vm:
        # Linux drops what it would send before its queue is there, which the link's coming up leads to later.
        vm.do("for i in /sys/class/net/eth*; do n=${i##*/}; mac=$(cat $i/address); ip link set $n up; "
              "until grep -q up $i/operstate && ! ip link show $n | grep -q noop; do sleep 0.1; done; "
              "ip addr add 10.0.${mac##*:}.2/24 dev $n; done")
        flood = frame(b"\xff" * 6 + b"\x52\x54\0\0\xaa\x01\x88\xb5" + b"x" * 1500) * 40
        for n, card in enumerate(cards):
            address = bytes([10, 0, n, 2])
            peer = connect(n)
            ask(peer, address)
            for i in range(500):
                peer.sendall(flood)
                if i % 100 == 0:
                    assert vm.qmp("query-status")["status"] == "running"
            # It reads nothing while the guest sends, and holds on to what is in the middle of a frame.
            vm.do(f"ping -c 20 -i 0.01 -b -W 1 10.0.{n}.255 > /dev/null 2>&1")
            ask(peer, address)
            peer.sendall(struct.pack(">I", 0x7fffffff) + b"nonsense")
            peer.close()
            peer = connect(n)
            ask(peer, address)
            peer.sendall(flood[:777])
            peer.close()
            ask(connect(n), address)
        assert "0 dropped" in vm.qmp.hmp("info network"), vm.qmp.hmp("info network")
        vm.end_all_well()


main()
