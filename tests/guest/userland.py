# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of a Debian userland, run on the host and in a guest under the translator: they must say the same."""
import random

from debian import *
from moa import *

HERE = os.path.join(os.environ["MOA_SRC"], "tests/guest/userland")
PYTHON = "/usr/bin/python3"
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
echo BEGIN; {command} 2>&1; echo "END $?"
poweroff -f
"""


def with_libraries(*programs):
    """The programs and what they are linked with, as members of an initrd."""
    paths = set()
    for program in programs:
        paths.add(program)
        listing = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        paths.update(re.findall(r"(/\S+) \(0x", listing))
    return {p: (0o100755, open(p, "rb").read()) for p in paths}


def same_in_guest(tmp, host, guest, files, limit=240):
    """The host's command and the guest's print the same lines."""
    expected = subprocess.run(host, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert expected.returncode == 0, expected.stdout
    with Vm(tmp, "-accel", "tcg", "-m", "768", "-display", "none", "-nodefaults", "-serial",
            f"unix:{tmp}/serial,server=on,wait=off", "-kernel", kernel(), "-initrd",
            initrd(tmp, INIT.replace("{command}", guest), files), "-append", "console=ttyS0 panic=-1 quiet"):
        console = Console(tmp)
        console.expect("\nEND ", limit)
        console.expect("Power down")
    said = console.text.replace("\r", "")
    said, status = said[said.index("BEGIN\n") + 6:].split("END ", 1)
    assert said == expected.stdout and status[0] == "0", "\n".join(
        f"host  {a}\nguest {b}" for a, b in zip(expected.stdout.splitlines(), said.splitlines()) if a != b)
    assert len(said.splitlines()) > 4, said


@test
def glibc_computes_the_same(tmp):
    subprocess.run(["gcc", "-O2", "-fno-builtin", "-w", "-static", "-o", f"{tmp}/selftest", f"{HERE}/selftest.c", "-lm"], check=True)
    files = {"selftest": (0o100755, open(f"{tmp}/selftest", "rb").read())}
    same_in_guest(tmp, f"{tmp}/selftest", "/selftest", files)


@test
def protection_keys(tmp):
    # The host need not have them.
    subprocess.run(["gcc", "-O2", "-static", "-o", f"{tmp}/pkeys", f"{HERE}/pkeys.c"], check=True)
    files = {"pkeys": (0o100755, open(f"{tmp}/pkeys", "rb").read())}
    # Beside another that spoils what is not switched.
    same_in_guest(tmp, "printf 'PKEYS OK\\n%.0s' 1 2 3 4 5", "for i in 1 2 3 4 5; do /pkeys & done; wait", files)


@test
def python_computes_the_same(tmp):
    need(PYTHON)
    script = f"{HERE}/selftest.py"
    # All files that the script's imports read.
    listing = subprocess.run([PYTHON, "-I", "-S", "-c", "import sys, runpy, io, contextlib\n"
                              "with contextlib.redirect_stdout(io.StringIO()): runpy.run_path(sys.argv[1])\n"
                              "import encodings.ascii, encodings.latin_1, encodings.idna, zipimport\n"
                              "print(*[m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)], sep='\\n')",
                              script], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    files = with_libraries(os.path.realpath(PYTHON), *[f for f in listing if f.endswith(".so")])
    files |= {f: (0o100644, open(f, "rb").read()) for f in listing if f.endswith(".py") and f != script}
    files["selftest.py"] = (0o100644, open(script, "rb").read())
    same_in_guest(tmp, f"{PYTHON} -I -S {script}", f"{os.path.realpath(PYTHON)} -I -S /selftest.py", files)


@test
def tools_compute_the_same(tmp):
    for tool in ("/usr/bin/openssl", "/usr/bin/xz"):
        need(tool)
    r = random.Random(4)
    data = bytes(r.randrange(256) for _ in range(100000)) + b"".join(b"%d lines of text\n" % r.randrange(3000) for _ in range(30000))
    open(f"{tmp}/data", "wb").write(data)
    tools = ["/usr/bin/" + t for t in ("openssl", "xz", "gzip", "sha256sum", "cmp")]
    files = with_libraries(*tools)
    files |= {"data": (0o100644, data), "selftest.sh": (0o100644, open(f"{HERE}/selftest.sh", "rb").read())}
    same_in_guest(tmp, f"sh {HERE}/selftest.sh {tmp}/data", "sh /selftest.sh /data", files)


main()
