# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock Debian kernel and a BusyBox initial RAM disk, and their console."""
import fcntl
import glob
import gzip
import os
import re
import shutil
import socket
import stat
import subprocess
import time

from moa import Skip, wait_for

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
echo "INIT REACHED"
uname -srm
cat /proc/cmdline
grep MemTotal /proc/meminfo
i=0; s=0; while [ $i -lt 2000 ]; do i=$((i+1)); s=$((s+i*i)); done; echo "SUM $s"
head -c 300000 /bin/busybox | md5sum
seq 1 200 | sort -rn | head -3 | tr '\\n' ' '; echo
(sleep 1; echo "SLEPT") & wait
echo "COMMANDS DONE"
exec sh
"""


_nested = 0


def one_at_a_time(fetch):
    """What fills guest-packages, which scripts that run beside each other share."""
    def locked(*args):
        global _nested
        if _nested:
            return fetch(*args)
        os.makedirs("guest-packages", exist_ok=True)
        with open("guest-packages/.lock", "w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            _nested += 1
            try:
                return fetch(*args)
            finally:
                _nested -= 1
    return locked


@one_at_a_time
def package_file(package, pattern):
    """A file of a Debian package: installed, or unpacked beside the build."""
    found = sorted(glob.glob("/" + pattern))
    found = [f for f in found if os.access(f, os.R_OK) and os.path.getsize(f)]
    if found:
        return found[-1]
    cache = os.path.abspath(f"guest-packages/{package}")
    if not os.path.isdir(cache + "/root"):
        os.makedirs(cache, exist_ok=True)
        if not shutil.which("apt-get"):
            raise Skip(f"no {pattern}, and no apt-get to fetch {package}")
        subprocess.run(["apt-get", "download", package], cwd=cache, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for deb in glob.glob(cache + "/*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, cache + "/root"], check=True)
    found = sorted(glob.glob(f"{cache}/root/{pattern}"))
    if not found:
        raise Skip(f"no {pattern} and package {package} cannot be fetched")
    return found[-1]


@one_at_a_time
def foreign_file(arch, package, pattern):
    """A file of the newest package of that name (a pattern) for another architecture, by an apt state of its own."""
    state = os.path.abspath(f"guest-packages/{arch}")
    found = sorted(glob.glob(f"{state}/root/{pattern}"))
    if found:
        return found[-1]
    if not shutil.which("apt-get"):
        raise Skip(f"no apt-get to fetch {package} for {arch}")
    for folder in ("lists/partial", "archives/partial", "root"):
        os.makedirs(f"{state}/{folder}", exist_ok=True)
    options = [f"-oAPT::Architecture={arch}", f"-oAPT::Architectures={arch}", f"-oDir::State={state}",
               "-oDir::State::status=/dev/null", f"-oDir::Cache={state}"]

    def apt(tool, *args):
        return subprocess.run([tool, *options, *args], cwd=state, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True).stdout

    if not glob.glob(f"{state}/lists/*Packages*"):
        apt("apt-get", "update")
    names = re.findall(r"^(\S+) - ", apt("apt-cache", "search", "--names-only", f"^{package}$"), re.M)
    if not names:
        raise Skip(f"no package {package} for {arch} to be fetched")
    apt("apt-get", "download", max(names, key=lambda n: [int(d) for d in re.findall(r"\d+", n)]))
    for deb in glob.glob(f"{state}/*.deb"):
        subprocess.run(["dpkg-deb", "-x", deb, f"{state}/root"], check=True)
        os.unlink(deb)
    found = sorted(glob.glob(f"{state}/root/{pattern}"))
    if not found:
        raise Skip(f"package {package} for {arch} cannot be fetched")
    return found[-1]


def kernel():
    if glob.glob("/boot/vmlinuz-*-amd64"):
        return package_file("linux-image-amd64", "boot/vmlinuz-*-amd64")
    r = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                       text=True) if shutil.which("apt-cache") else None
    names = re.findall(r"(linux-image-\S+-amd64)", r.stdout) if r else []
    if not names:
        raise Skip("no kernel in /boot, and none to be fetched")
    return package_file(names[0] if names[0] != "linux-image-amd64" else names[-1], "boot/vmlinuz-*-amd64")

def modules(*names):
    """Kernel modules with what they need, in an order that works: (files for `initrd`, insmod lines). Those that are
    built in are left out."""
    root = kernel().split("/boot/")[0]
    release = re.search(r"vmlinuz-(.*)", os.path.basename(kernel())).group(1)
    tree = f"{root}/lib/modules/{release}"
    paths = {os.path.basename(p)[:-3].replace("-", "_"): p
             for p in glob.glob(f"{tree}/kernel/**/*.ko", recursive=True)}
    if not paths:
        raise Skip(f"no modules in {tree}")
    order = []

    def add(name):
        path = paths.get(name.replace("-", "_"))
        if not path or path in order:
            return
        info = re.search(rb"\0depends=([^\0]*)\0", b"\0" + open(path, "rb").read())
        for other in info.group(1).decode().split(",") if info else []:
            add(other)
        order.append(path)

    for name in names:
        add(name)
    files = {"lib/" + os.path.basename(p): (0o100644, open(p, "rb").read()) for p in order}
    return files, "".join(f"insmod /lib/{os.path.basename(p)}\n" for p in order)


def cpio(files):
    """A newc archive: {name: (mode, data)}."""
    out = b""
    for i, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))]):
        head = "070701" + "".join(f"{v:08x}" for v in (i + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0,
                                                       len(name) + 1, 0))
        out += head.encode() + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out


def initrd(tmp, init=INIT, more={}, busybox=None):
    """With `more` files: {path: (mode, data)}."""
    path = os.path.join(tmp, "initrd")
    box = open(busybox or package_file("busybox-static", "bin/busybox"), "rb").read()
    folder = stat.S_IFDIR | 0o755
    files = {"bin": (folder, b""), "dev": (folder, b""), "init": (stat.S_IFREG | 0o755, init.encode()),
             "bin/busybox": (stat.S_IFREG | 0o755, box)}
    for name, file in sorted(more.items()):
        parts = name.strip("/").split("/")
        for i in range(1, len(parts)):
            files.setdefault("/".join(parts[:i]), (folder, b""))
        files["/".join(parts)] = file
    with gzip.open(path, "wb", 1) as f:
        f.write(cpio(files))
    return path


class Console:
    def __init__(self, tmp):
        self.socket = socket.socket(socket.AF_UNIX)
        wait_for(lambda: os.path.exists(f"{tmp}/serial"), "the serial socket")
        self.socket.connect(f"{tmp}/serial")
        self.socket.settimeout(0.2)
        self.text = ""

    def shown(self):
        """What has come, without moves of the cursor: SeaBIOS makes them within words too, some by way of column 1."""
        return re.sub(r"\r?\x1b\[[0-9;]*[A-Za-z]", "", self.text)

    def read(self):
        try:
            self.text += self.socket.recv(65536).decode(errors="replace")
        except socket.timeout:
            pass

    def expect(self, what, limit=120, last=""):
        """Waits until `what` has been shown, and `last` is what is shown last."""
        end = time.time() + limit
        while not (what in (shown := self.shown()) and shown.endswith(last)):
            self.read()
            assert time.time() < end, f"no '{what}' in:\n" + self.text[-3000:]

    def send(self, line):
        self.socket.sendall(line.encode() + b"\n")
