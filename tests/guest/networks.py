# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian guest on the user network: names, apt-get, and files of 100 MB both ways with equal checksums."""
import gzip
import hashlib
import http.server
import os
import random
import threading

from debian import Console
from debian_disk import log_in, overlay, shut_down, start
from moa import *

BIG = 100_000_000


class Server(http.server.BaseHTTPRequestHandler):
    """GET /big, an apt archive without packages but one, and POST, whose checksum it keeps."""
    big = None
    received = None
    protocol_version = "HTTP/1.1"
    packages = b"Package: nothing\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nFilename: ./nothing.deb\n" \
               b"Size: 0\nSHA256: " + hashlib.sha256(b"").hexdigest().encode() + b"\nDescription: nothing\n\n"

    def answer(self, data, code=200):
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        files = {"big": Server.big, "Packages": Server.packages, "Packages.gz": gzip.compress(Server.packages)}
        self.answer(files.get(name, b""), 200 if name in files else 404)

    def do_POST(self):
        left, sum = int(self.headers["Content-Length"]), hashlib.md5()
        while left:
            data = self.rfile.read(min(left, 1 << 20))
            if not data:
                break
            left -= len(data)
            sum.update(data)
        Server.received = sum.hexdigest()
        self.answer(b"thanks\n")

    def log_message(self, *args):
        pass


def serve():
    Server.big = random.Random(5).randbytes(BIG)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def transfers(tmp, model):
    path, port = overlay(tmp), serve()
    with start(tmp, path, "-nic", f"user,model={model}") as vm:
        console = Console(tmp)
        log_in(console)
        for command, want in [
            (f"sed -i s/8000/{port}/ /etc/apt/sources.list; apt-get update && apt-cache policy nothing", "Candidate: 1"),
            (f"wget -q -O big http://10.0.2.2:{port}/big; md5sum big", hashlib.md5(Server.big).hexdigest()),
            (f"wget -q -O - --post-file=big http://10.0.2.2:{port}/", "thanks"),
            ("ip -br addr show eth0", "10.0.2.15/24"),
        ]:
            console.send(command + "; echo step''-done")
            console.expect("step-done", 200)
            assert want in console.text, console.text[-2000:]
            console.text = ""
        assert Server.received == hashlib.md5(Server.big).hexdigest()
        net = vm.qmp.hmp("info network")
        assert "user: net=10.0.2.0" in net and "0 dropped" in net, net
        shut_down(vm, console)


@test
def files_travel_over_an_e1000(tmp):
    transfers(tmp, "e1000")


@test
def files_travel_over_a_virtio_card(tmp):
    transfers(tmp, "virtio-net-pci")


main()
