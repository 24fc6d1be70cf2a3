# SPDX-License-Identifier: GPL-2.0-or-later
"""Character devices as a person meets them: terminals, ptys, sockets, telnet, the mux and its Ctrl-A keys."""
import os
import pty
import re
import select
import socket
import subprocess
import termios
import time

from moa import *

# An echo on COM1: wait for LSR bit 0; in; out.
ECHO = bytes.fromhex("bafd03 ec a801 74fb baf803 ec ee ebf1".replace(" ", ""))


def base(tmp):
    need_kvm()
    return ["-accel", "kvm", "-m", "16", "-display", "none", "-bios", bios(tmp, ECHO)]


def talk(read, write, text, expect):
    write(text)
    got = b""
    end = time.time() + LIMIT
    while expect not in got:
        assert time.time() < end, (text, got)
        got += read()
    return got


def fd_pair(fd):
    def read():
        r, _, _ = select.select([fd], [], [], 0.2)
        try:
            return os.read(fd, 4096) if r else b""
        except OSError:
            return b""
    return read, lambda b: os.write(fd, b)


def socket_pair(s):
    s.settimeout(0.2)

    def read():
        try:
            return s.recv(4096)
        except socket.timeout:
            return b""
    return read, s.sendall


@test
def a_pty(tmp):
    with Vm(tmp, *base(tmp), "-serial", "pty") as vm:
        path = re.search(r"redirected to (\S+)", vm.output()).group(1)
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        talk(*fd_pair(fd), b"hello", b"hello")
        os.close(fd)


@test
def a_unix_socket_and_its_reconnection(tmp):
    path = os.path.join(tmp, "s")
    with Vm(tmp, *base(tmp), "-serial", f"unix:{path},server=on,wait=off") as vm:
        for word in (b"one", b"two"):
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            talk(*socket_pair(s), word, word)
            s.close()
        assert "(disconnected)" in wait_for(
            lambda: "(disconnected)" in vm.qmp.hmp("info chardev") and vm.qmp.hmp("info chardev"), "disconnect")


def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1]


@test
def tcp_and_telnet(tmp):
    for kind in ("tcp", "telnet"):
        port = free_port()
        with Vm(tmp, *base(tmp), "-serial", f"{kind}:127.0.0.1:{port},server=on,wait=off") as vm:
            s = socket.create_connection(("127.0.0.1", port))
            # A doubled IAC is one byte of data; options are swallowed.
            text = b"a\xff\xfd\x01b\xff\xffc" if kind == "telnet" else b"abc"
            got = talk(*socket_pair(s), text, b"c")
            assert (got.endswith(b"ab\xffc") and got[0] == 255) if kind == "telnet" else got == b"abc", got
            s.close()
        os.unlink(os.path.join(tmp, "qmp")) if os.path.exists(os.path.join(tmp, "qmp")) else None


@test
def a_file_in_and_a_file_out(tmp):
    open(f"{tmp}/in", "wb").write(b"from a file")
    with Vm(tmp, *base(tmp), "-chardev", f"file,id=f,path={tmp}/out,input-path={tmp}/in", "-serial",
            "chardev:f") as vm:
        wait_for(lambda: open(f"{tmp}/out", "rb").read() == b"from a file", "the echo")


@test
def a_ring_buffer_read_by_the_monitor(tmp):
    with Vm(tmp, *base(tmp), "-chardev", "ringbuf,id=r,size=64", "-serial", "chardev:r", "-S") as vm:
        for c in b"ring":
            vm.qmp.hmp(f"o /b 0x3f8 {c}")
        assert vm.qmp("ringbuf-read", device="r", size=100) == "ring"
        assert vm.qmp("ringbuf-read", device="r", size=100) == ""


@test
def nographic_has_serial_monitor_and_the_keys(tmp):
    need_kvm()
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(MOA, [MOA, "-accel", "kvm", "-m", "16", "-nographic", "-bios", bios(tmp, ECHO)])
    read, write = fd_pair(fd)
    talk(read, write, b"typed", b"typed")
    talk(read, write, b"\x01h", b"Ctrl-A x")
    talk(read, write, b"\x01c", b"(moa) ")
    talk(read, write, b"info status\r", b"VM status: running")
    talk(read, write, b"info sta\t", b"info status")
    talk(read, write, b"\x15p 6*7\r", b"0x2a")
    talk(read, write, b"\x1b[A\r", b"0x2a")
    write(b"\x01c")
    talk(read, write, b"back", b"back")
    talk(read, write, b"\x01x", b"ended by Ctrl-A x")
    deadline = time.time() + LIMIT
    while time.time() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        read()
    assert done and status == 0, status


@test
def a_stuck_reader_does_not_stop_the_monitor(tmp):
    # Nobody reads the pipe that COM1 writes to, and the guest writes without end.
    flood = bytes.fromhex("baf803 b041 ee ebfd".replace(" ", ""))
    need_kvm()
    r, w = os.pipe()
    path = os.path.join(tmp, "q")
    p = subprocess.Popen([MOA, "-accel", "kvm", "-m", "16", "-display", "none", "-bios", bios(tmp, flood), "-serial",
                          "stdio", "-qmp", f"unix:{path},server=on,wait=off"], stdin=subprocess.DEVNULL, stdout=w)
    wait_for(lambda: os.path.exists(path), "QMP")
    q = Qmp(path)
    time.sleep(1)
    for _ in range(20):
        assert q("query-status")["running"]
    q("quit")
    assert p.wait(timeout=LIMIT) == 0
    os.close(r)
    os.close(w)


main()
