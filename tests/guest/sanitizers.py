# SPDX-License-Identifier: GPL-2.0-or-later
"""The C tests once more: all under AddressSanitizer and UBSan, the threaded ones under ThreadSanitizer. Both
builds check the lock order."""
import glob
import os
import subprocess

from moa import *


def build(tmp, sanitizers, *targets):
    probe = subprocess.run(["sh", "-c", f"echo 'int main(void){{return 0;}}' | gcc -fsanitize={sanitizers} -xc - -o "
                            f"{tmp}/probe && {tmp}/probe"], capture_output=True)
    if probe.returncode:
        raise Skip(f"gcc cannot build or run -fsanitize={sanitizers} here")
    subprocess.run([f"{SRC}/configure", f"--build-dir={tmp}/b", f"--sanitize={sanitizers}", "--disable-sdl2"],
                   check=True, stdout=subprocess.DEVNULL)
    r = subprocess.run(["make", "-C", f"{tmp}/b", "-j2", *targets], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True)
    assert r.returncode == 0, r.stdout[-3000:]


def run_tests(tmp, names, **env):
    for name in names:
        r = subprocess.run([f"./{name}"], cwd=f"{tmp}/b", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           errors="replace", env=dict(os.environ, **env))
        bad = [w for w in ("runtime error:", "ERROR: AddressSanitizer", "WARNING: ThreadSanitizer", "lock order:")
               if w in r.stdout]
        assert r.returncode == 0 and not bad, (name, r.stdout[-4000:])


@test
def address_and_undefined(tmp):
    build(tmp, "address,undefined", "tests")
    names = [os.path.relpath(p, f"{tmp}/b") for p in sorted(glob.glob(f"{tmp}/b/tests/*/*")) if os.access(p, os.X_OK)]
    assert len(names) > 20
    # The test processes end with _exit and leave their machine to the system.
    run_tests(tmp, names, ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1", MOA_DECODE_CASES="20000")


@test
def threads(tmp):
    names = ["tests/cpu/kvm", "tests/unit/block", "tests/unit/clock", "tests/unit/memory", "tests/unit/prefault", "tests/device/drives",
             "tests/device/p9", "tests/device/virtio"]
    build(tmp, "thread", *names)
    # GLib's slices go from thread to thread in a way that the sanitizer cannot see.
    run_tests(tmp, names, G_SLICE="always-malloc")


main()
