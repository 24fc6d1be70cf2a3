#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Usage, in the build directory: ../tests/perf/boot.py [ROUNDS]

Boots a stock Debian kernel with a BusyBox initial RAM disk under our translator and under Debian's
qemu-system-x86_64 -accel tcg, by turns, and prints the seconds from the start of the process to the kernel's
first line and to its init, with ratios of the medians."""
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", d) for d in ("lib", "guest")]
os.environ.setdefault("MOA_SRC", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
import debian

MARKS = (b"Linux version", b"INIT REACHED")


def boot(command):
    start, seen, times = time.time(), b"", []
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while len(times) < len(MARKS) and time.time() - start < 120:
        data = os.read(p.stdout.fileno(), 65536)
        if not data:
            break
        seen += data
        if MARKS[len(times)] in seen:
            times.append(time.time() - start)
    p.kill()
    p.wait()
    assert len(times) == len(MARKS), seen[-2000:].decode(errors="replace")
    return times


def main():
    rounds = int(sys.argv[1]) if sys.argv[1:] else 5
    with tempfile.TemporaryDirectory() as tmp:
        args = ["-m", "512", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel", debian.kernel(),
                "-initrd", debian.initrd(tmp), "-append", "console=ttyS0 nokaslr"]
        peers = {"moa": ["./moa", "-accel", "tcg"], "qemu": ["qemu-system-x86_64", "-accel", "tcg"]}
        times = {name: [] for name in peers}
        for _ in range(rounds):
            for name, command in peers.items():
                times[name].append(boot(command + args))
        for i, mark in enumerate(MARKS):
            ours, theirs = (statistics.median(t[i] for t in times[name]) for name in peers)
            print(f"{mark.decode():15} moa {ours:6.2f} s   qemu {theirs:6.2f} s   qemu/moa {theirs / ours:5.2f}")


if __name__ == "__main__":
    main()
