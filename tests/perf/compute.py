#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Usage, in the build directory: ../tests/perf/compute.py [ROUNDS [ROW...]]

Runs compute.c's kinds of work (or those that are named) on the bare host, in a Debian guest under our translator,
and in the same guest under Debian's qemu-system-x86_64 -accel tcg, by turns; prints medians, what the guest's time
is of the host's, and how many times longer QEMU takes."""
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "lib")]
os.environ.setdefault("MOA_SRC", os.path.join(here, "..", ".."))
import debian


def rows_of(text):
    return {line.split()[1]: int(line.split()[2]) for line in text.splitlines() if line.startswith("ROW ")}


def guest(command):
    start, seen = time.time(), b""
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while b"ROWS DONE" not in seen and time.time() - start < 400:
        data = os.read(p.stdout.fileno(), 65536)
        if not data:
            break
        seen += data
    p.kill()
    p.wait()
    return rows_of(seen.decode(errors="replace"))


def main():
    rounds = int(sys.argv[1]) if sys.argv[1:] else 3
    names = sys.argv[2:]
    with tempfile.TemporaryDirectory() as tmp:
        program = os.path.join(tmp, "compute")
        subprocess.run(["gcc", "-O2", "-static", "-o", program, os.path.join(here, "compute.c")], check=True)
        known = subprocess.run([program, "names"], stdout=subprocess.PIPE, text=True).stdout.split()
        if set(names) - set(known):
            sys.exit(f"compute.py: no row {', '.join(set(names) - set(known))}: there are {', '.join(known)}")
        box = open(debian.package_file("busybox-static", "bin/busybox"), "rb").read()
        init = ("#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\n"
                f"/compute {' '.join(names)}\n/bin/busybox poweroff -f\n").encode()
        files = {"bin": (0o40755, b""), "dev": (0o40755, b""), "init": (0o100755, init), "bin/busybox": (0o100755, box),
                 "compute": (0o100755, open(program, "rb").read())}
        with gzip.open(os.path.join(tmp, "initrd"), "wb", 1) as f:
            f.write(debian.cpio(files))
        args = ["-m", "512", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel", debian.kernel(),
                "-initrd", os.path.join(tmp, "initrd"), "-append", "console=ttyS0 quiet"]
        runs = {"host": lambda: rows_of(subprocess.run([program, *names], stdout=subprocess.PIPE, text=True).stdout),
                "moa": lambda: guest(["./moa", "-accel", "tcg", *args]),
                "qemu": lambda: guest(["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", *args])}
        times = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                times[name].append(run())
        print(f"{'':12} {'host':>8} {'moa':>8} {'qemu':>8} {'moa/host':>9} {'qemu/moa':>9}")
        means = {"moa/host": [], "qemu/moa": []}
        for row in times["host"][0]:
            h, m, q = (statistics.median(t[row] for t in times[n]) / 1e9 for n in ("host", "moa", "qemu"))
            print(f"{row:12} {h:7.3f}s {m:7.3f}s {q:7.3f}s {m / h:9.2f} {q / m:9.2f}")
            means["moa/host"].append(m / h)
            means["qemu/moa"].append(q / m)
        print(f"{'geometric mean':39} {statistics.geometric_mean(means['moa/host']):9.2f} "
              f"{statistics.geometric_mean(means['qemu/moa']):9.2f}")


if __name__ == "__main__":
    main()
