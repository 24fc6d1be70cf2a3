# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole guests in the translator's two modes: blocks with all that makes them fast, and one instruction at a time. Counted
execution makes both runs the same, so digests of the registers, taken every 65536 instructions, must agree.
MOA_LOCKSTEP_SECONDS sets how long a kernel's boot runs; its end takes minutes."""
import glob

from debian import *
from moa import *

SECONDS = float(os.environ.get("MOA_LOCKSTEP_SECONDS", 12))


def count_lines(path):
    return open(path).read().count("\n") if os.path.exists(path) else 0


def digests(tmp, seconds, *args, enough=None):
    """The digests of both modes' runs, which end by themselves, or are ended after a time when there are enough."""
    runs = []
    for mode in ("fast", "reference"):
        runs.append(subprocess.Popen(
            [MOA, "-accel", f"tcg,mode={mode},digest={tmp}/{mode}", "-icount", "shift=0,sleep=off", "-cpu",
             "max,-rdrand,-rdseed,kvm=off", "-rtc", "base=2026-01-01,clock=vm", "-m", "256", "-display", "none",
             "-nodefaults", "-no-reboot", *(a.replace("MODE", mode) for a in args)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    soon, late = time.time() + seconds, time.time() + seconds + LIMIT
    while any(r.poll() is None for r in runs) and time.time() < late:
        if time.time() > soon and (not enough or all(count_lines(f"{tmp}/{mode}") > enough for mode in ("fast", "reference"))):
            break
        time.sleep(0.1)
    for r in runs:
        r.kill()
        r.wait()
    fast, reference = (open(f"{tmp}/{mode}").read().split("\n")[:-1] for mode in ("fast", "reference"))
    n = min(len(fast), len(reference))
    different = [i for i in range(n) if fast[i] != reference[i]]
    return n, different, fast, reference


@test
def firmware_posts_alike(tmp):
    # With nothing to boot SeaBIOS waits for a minute, which passes at once, and resets.
    n, different, fast, reference = digests(tmp, LIMIT, "-debugcon", f"file:{tmp}/MODE.log")
    assert not different, (fast[different[0]], reference[different[0]])
    assert len(fast) == len(reference) > 60, (len(fast), len(reference))
    log = open(f"{tmp}/fast.log").read()
    assert "Attempting a hard reboot" in log and log == open(f"{tmp}/reference.log").read()


@test
def a_kernel_boots_alike(tmp):
    n, different, fast, reference = digests(tmp, SECONDS, "-serial", f"file:{tmp}/MODE.serial", "-kernel", kernel(), "-initrd",
                                            initrd(tmp), "-append", "console=ttyS0 nokaslr panic=-1", enough=200)
    assert n > 200, n
    # Flags that an instruction leaves undefined may show in a pushed copy; where the guest is may not differ.
    for i in different:
        assert fast[i].split()[:2] == reference[i].split()[:2], (fast[i], reference[i])
    assert len(different) <= n // 500, (len(different), n)


@test
def counted_runs_repeat(tmp):
    args = ("-debugcon", f"file:{tmp}/MODE.log")
    first = digests(tmp, LIMIT, *args)[2]
    assert first == digests(tmp, LIMIT, *args)[2]


@test
def what_cannot_be_counted_is_refused(tmp):
    for args, text in ((("-icount", "shift=0"), "add sleep=off"),
                       (("-icount", "sleep=off"), "shift=N"),
                       (("-icount", "shift=11,sleep=off"), "shift"),
                       (("-icount", "shift=0,sleep=off", "-smp", "2"), "use -smp 1"),
                       (("-accel", f"tcg,digest={tmp}/d"), "add -icount"),
                       (("-accel", "tcg,mode=slow"), "mode")):
        extra = () if "-accel" in args else ("-accel", "tcg")
        status, out, err = run(*extra, "-display", "none", *args)
        assert status == 1 and text in err, (args, err)
    if os.access("/dev/kvm", os.W_OK):
        status, out, err = run("-accel", "kvm", "-icount", "shift=0,sleep=off", "-display", "none")
        assert status == 1 and "-icount" in err, err


main()
