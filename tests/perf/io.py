#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Usage, in the build directory: ../tests/perf/io.py [ROUNDS [KIND...]]

Disk and network work (tests/perf/io.c, wget) in a Debian kernel's BusyBox guest, under our translator and Debian's
qemu-system-x86_64 -accel tcg with the same options, by turns. Prints medians in seconds and QEMU's over ours."""
import http.server
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", d) for d in ("lib", "guest")]
os.environ.setdefault("MOA_SRC", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
import debian

HERE = os.path.dirname(os.path.abspath(__file__))
NODE = ["-drive", "file=IMAGE,if=none,id=d,format=qcow2", "-device"]
# The disk and how it is given, and the card whose transfers are measured beside it.
KINDS = {
    "virtio": ("/dev/vda", ["-drive", "file=IMAGE,if=virtio,format=qcow2"], "virtio-net-pci"),
    "ide": ("/dev/sda", ["-drive", "file=IMAGE,if=ide,format=qcow2"], "e1000"),
    "ahci": ("/dev/sda", NODE + ["ide-hd,drive=d,bus=a.0"], None),
    "nvme": ("/dev/nvme0n1", NODE + ["nvme,drive=d,serial=1"], None),
    "virtio-scsi": ("/dev/sda", NODE + ["scsi-hd,drive=d,bus=s.0"], None),
}
ADAPTERS = {"ahci": ["-device", "ich9-ahci,id=a"], "virtio-scsi": ["-device", "virtio-scsi-pci,id=s"]}
BIG = random.Random(1).randbytes(100_000_000)


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BIG)))
        self.end_headers()
        self.wfile.write(BIG)

    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


def init(insmod, port):
    return f"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs -o size=300m tmp /tmp
/bin/busybox --install -s /bin
{insmod}
disk=$(sed 's/.*disk=\\([^ ]*\\).*/\\1/' /proc/cmdline)
i=0; while [ ! -b $disk ] && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
/lib/io $disk
grep -q nonet /proc/cmdline && {{ echo ALL DONE; poweroff -f; }}
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; sleep 1
now() {{ cut -d' ' -f1 /proc/uptime; }}
a=$(now); wget -q -O /tmp/big http://10.0.2.2:{port}/big; b=$(now); echo "ROW download 100 MB: $a $b"
a=$(now); wget -q -O /dev/null --post-file=/tmp/big http://10.0.2.2:{port}/; b=$(now); echo "ROW upload 100 MB: $a $b"
echo ALL DONE
poweroff -f
"""


def run(command):
    out = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         timeout=300).stdout.decode(errors="replace")
    assert "ALL DONE" in out, out[-2000:]
    rows = {}
    for name, numbers in re.findall(r"ROW ([^:]*): ([\d. ]+)", out):
        n = [float(x) for x in numbers.split()]
        rows[name] = n[1] - n[0] if len(n) > 1 else n[0]
    return rows


def main():
    rounds = int(sys.argv[1]) if sys.argv[1:] else 3
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    peers = {"moa": ["./moa", "-accel", "tcg", "-cpu", "max"], "qemu": ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"]}
    ratios = []
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run(["gcc", "-O2", "-static", "-o", f"{tmp}/io", f"{HERE}/io.c"], check=True)
        files, insmod = debian.modules("virtio_pci", "virtio_blk", "ata_piix", "sd_mod", "virtio_net", "e1000",
                                       "af_packet", "ahci", "nvme", "virtio_scsi")
        files["lib/io"] = (0o100755, open(f"{tmp}/io", "rb").read())
        disk = debian.initrd(tmp, init(insmod, server.server_address[1]), files)
        for kind, (device, args, card) in KINDS.items():
            if sys.argv[2:] and kind not in sys.argv[2:]:
                continue
            times = {name: [] for name in peers}
            for _ in range(rounds):
                for name, command in peers.items():
                    image = f"{tmp}/disk.qcow2"
                    subprocess.run(["./moa-img", "create", "-q", "-f", "qcow2", image, "1G"], check=True)
                    append = f"console=ttyS0 quiet disk={device}" + ("" if card else " nonet")
                    times[name].append(run(command + [
                        "-m", "768", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel", debian.kernel(),
                        "-initrd", disk, "-append", append, *ADAPTERS.get(kind, []),
                        *[a.replace("IMAGE", image) for a in args],
                        *(["-nic", f"user,model={card}"] if card else [])]))
                    os.unlink(image)
            print(f"{kind}, {card}" if card else kind)
            for row in times["moa"][0]:
                ours, theirs = (statistics.median(t[row] for t in times[name]) for name in peers)
                ratios.append(theirs / max(ours, 0.01))
                print(f"  {row:20} moa {ours:6.2f} s   qemu {theirs:6.2f} s   qemu/moa {ratios[-1]:5.2f}", flush=True)
    print(f"geometric mean of qemu/moa: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}")


if __name__ == "__main__":
    main()
