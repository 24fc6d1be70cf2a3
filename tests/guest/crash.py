# SPDX-License-Identifier: GPL-2.0-or-later
"""moa is killed at random instants while a guest writes files, each with fsync. Every file that the guest was told is on
the disk is there afterwards, the image has no corruption and the file system can be mended by its journal alone.
MOA_CRASH_ROUNDS=50 for more than a check's few."""
import os
import random
import subprocess
import time

from debian import *
from moa import *

IMG = os.path.abspath("moa-img")
ROUNDS = int(os.environ.get("MOA_CRASH_ROUNDS", 4))


def init(insmod):
    return f"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
{insmod}
n=$(sed 's/.*first=\\([0-9]*\\).*/\\1/' /proc/cmdline)
mount -t ext4 /dev/vda /mnt || echo CANNOT MOUNT
while true; do
  {{ echo data-$n; head -c $((n * 7919 % 60000)) /dev/zero; }} | dd of=/mnt/f$n conv=fsync 2>/dev/null && echo ACK $n
  n=$((n+1))
done
"""


def check(tmp, image, acknowledged):
    r = subprocess.run([IMG, "check", image], stdout=subprocess.PIPE, text=True)
    assert r.returncode in (0, 3), r.stdout  # sound, or leaks
    subprocess.run([IMG, "check", "-q", "-r", "leaks", image], check=True)
    raw = f"{tmp}/raw"
    subprocess.run([IMG, "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
    # The journal is replayed; after that nothing may be wrong.
    subprocess.run(["e2fsck", "-fp", raw], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    r = subprocess.run(["e2fsck", "-fn", raw], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert r.returncode == 0, r.stdout
    listing = subprocess.run(["debugfs", "-R", "ls -p /", raw], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True).stdout
    sizes = {m[0]: int(m[1]) for m in re.findall(r"/(f\d+)/(\d+)/", listing)}
    for n in acknowledged:
        assert sizes.get(f"f{n}") == len(f"data-{n}\n") + n * 7919 % 60000, (n, sizes.get(f"f{n}"))
    for n in acknowledged[-5:]:
        text = subprocess.run(["debugfs", "-R", f"cat /f{n}", raw], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert text.stdout.startswith(f"data-{n}\n".encode()), n


@test
def what_was_acknowledged_survives_a_kill(tmp):
    for tool in ("mke2fs", "e2fsck", "debugfs"):
        if not shutil.which(tool):
            raise Skip(f"no {tool}; install e2fsprogs")
    rnd = random.Random(os.environ.get("MOA_FUZZ_SEED", 1))
    files, insmod = modules("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
    disk = initrd(tmp, init(insmod), files)
    image, first, acknowledged = f"{tmp}/image", 1, []
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", f"{tmp}/fs", "256m"], check=True)
    subprocess.run([IMG, "convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=16k", f"{tmp}/fs", image], check=True)
    for n in range(ROUNDS):
        with Vm(tmp, "-accel", "tcg", "-m", "256", "-display", "none", "-nodefaults", "-serial",
                f"unix:{tmp}/serial,server=on,wait=off", "-kernel", kernel(), "-initrd", disk, "-append",
                f"console=ttyS0 quiet first={first}", "-drive", f"file={image},format=qcow2,if=virtio") as vm:
            console = Console(tmp)
            console.expect("ACK", 60)
            end = time.time() + rnd.uniform(0.1, 2.5)
            while time.time() < end:
                console.read()
            vm.process.kill()
            vm.process.wait()
        try:
            while data := console.socket.recv(65536):
                console.text += data.decode(errors="replace")
        except (socket.timeout, ConnectionResetError):
            pass
        os.unlink(f"{tmp}/serial")
        assert "CANNOT MOUNT" not in console.text, console.text[-1000:]
        # The last line may be cut.
        new = [int(m) for m in re.findall(r"ACK (\d+)\r?\n", console.text)]
        acknowledged += new
        first = acknowledged[-1] + 2
        check(tmp, image, acknowledged)


main()
