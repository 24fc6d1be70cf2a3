# SPDX-License-Identifier: GPL-2.0-or-later
"""Helpers for tests that run the moa program: starting it, talking QMP, the ok/FAIL/SKIP lines."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback

MOA = os.path.abspath("moa")
SRC = os.environ.get("MOA_SRC", "..")
TESTS = []
LIMIT = 120  # seconds that anything here may take on a busy machine


class Skip(Exception):
    pass


def test(fn):
    TESTS.append(fn)
    return fn


def main():
    failed = False
    for fn in TESTS:
        if sys.argv[1:] and fn.__name__ not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory(prefix="moa-test-") as tmp:
            try:
                fn(tmp)
                print("ok", fn.__name__, flush=True)
            except Skip as e:
                print(f"SKIP {fn.__name__}: {e}", flush=True)
            except Exception:
                traceback.print_exc(file=sys.stdout)
                print("FAIL", fn.__name__, flush=True)
                failed = True
            finally:
                Vm.end_all()
    sys.exit(failed)


def need_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("no /dev/kvm")


def need(path):
    if not os.path.exists(path):
        raise Skip(f"no {path}")


def run(*args, **kw):
    """Runs moa to its end: (status, stdout, stderr)."""
    r = subprocess.run([MOA, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, errors="replace", timeout=LIMIT, **kw)
    return r.returncode, r.stdout, r.stderr


def wait_for(condition, what, limit=LIMIT):
    end = time.time() + limit
    while time.time() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("timed out: " + what)


class Vm:
    """A running moa with a QMP socket. The end of the test ends it."""

    running = []

    @classmethod
    def end_all(cls):
        while cls.running:
            cls.running.pop().__exit__()

    def __init__(self, tmp, *args, qmp=True):
        self.tmp = tmp
        self.events = []
        path = os.path.join(tmp, "qmp")
        extra = ["-qmp", f"unix:{path},server=on,wait=off"] if qmp else []
        self.log = open(os.path.join(tmp, "stderr"), "w+")
        self.process = subprocess.Popen([MOA, *args, *extra], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        Vm.running.append(self)
        if qmp:
            wait_for(lambda: os.path.exists(path) or self.process.poll() is not None, "QMP socket")
            assert self.process.poll() is None, f"moa ended at once: {self.output()}"
            self.qmp = Qmp(path, self)

    def output(self):
        return open(self.log.name).read()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def wait(self):
        return self.process.wait(timeout=LIMIT)


class Qmp:
    def __init__(self, path, vm=None):
        self.vm = vm
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT)
        wait_for(lambda: self.connect(path), f"a connection to {path}")
        self.file = self.socket.makefile("r")
        self.events = []
        self.greeting = json.loads(self.file.readline())
        self("qmp_capabilities")

    def connect(self, path):
        try:
            self.socket.connect(path)
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False

    def raw(self, text):
        self.socket.sendall(text.encode())
        while True:
            line = self.file.readline()
            if not line:
                raise AssertionError("QMP closed: " + (self.vm.output() if self.vm else ""))
            reply = json.loads(line)
            if "event" not in reply:
                return reply
            self.events.append(reply)

    def __call__(self, command, **arguments):
        message = {"execute": command}
        if arguments:
            message["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        reply = self.raw(json.dumps(message))
        if "error" in reply:
            raise AssertionError(f"{command}: {reply['error']}")
        return reply["return"]

    def hmp(self, line):
        return self("human-monitor-command", command_line=line)

    def wait_event(self, name):
        while True:
            for e in self.events:
                if e["event"] == name:
                    self.events.remove(e)
                    return e
            line = self.file.readline()
            if not line:
                raise AssertionError(f"QMP closed while waiting for {name}")
            self.events.append(json.loads(line))


# The engines that run here.
ENGINES = ["tcg"] + (["kvm"] if os.access("/dev/kvm", os.W_OK) else [])
# 32-bit code that goes to 64-bit code at `wide`: with `tables` (three pages of zeros) and `gdtr`, whose first
# descriptor is 64-bit code. The first 2 MiB are mapped.
TO_LONG_MODE = """
	mov edi, offset tables
	lea eax, [edi + 0x1003]
	mov [edi], eax
	lea eax, [edi + 0x2003]
	mov [edi + 0x1000], eax
	mov dword ptr [edi + 0x2000], 0x83
	mov cr3, edi
	mov eax, cr4
	or eax, 0x20
	mov cr4, eax
	mov ecx, 0xc0000080
	rdmsr
	or eax, 0x100
	wrmsr
	lgdt [gdtr]
	mov eax, cr0
	or eax, 0x80000001
	mov cr0, eax
	.byte 0xea
	.long wide
	.word 8
"""


def assemble(tmp, text):
    """16-bit code, in Intel's syntax, at F000:0000."""
    open(f"{tmp}/t.S", "w").write(".intel_syntax noprefix\n.code16\n" + text + "\n")
    subprocess.run(["as", "--32", "-o", f"{tmp}/t.o", f"{tmp}/t.S"], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0", "--oformat", "binary", "-e", "0", "-o", f"{tmp}/t.bin",
                    f"{tmp}/t.o"], check=True)
    return open(f"{tmp}/t.bin", "rb").read()


def bios(tmp, code, name="test.bin"):
    """A 64 KiB firmware image that runs 16-bit `code` at F000:0000."""
    image = bytearray(code.ljust(65536, b"\xf4"))
    image[0xfff0:0xfff5] = b"\xea\x00\x00\x00\xf0"
    path = os.path.join(tmp, name)
    open(path, "wb").write(image)
    return path
