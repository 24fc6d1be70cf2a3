# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian guest on the user network: names, apt-get, and files of 100 MB both ways with equal checksums."""
import gzip
import hashlib
import http.server
import os
import random
import threading

from debian import Console, package_file
from debian_disk import log_in, overlay, shut_down, start
from moa import *

BIG = 100_000_000


class Server(http.server.BaseHTTPRequestHandler):
    """GET /big, an apt archive without packages but one, and POST, whose checksum it keeps."""
    big = random.Random(5).randbytes(BIG)
    received = []
    asked = []
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
        Server.asked.append(name)
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
        Server.received.append(sum.hexdigest())
        self.answer(b"thanks\n")

    def log_message(self, *args):
        pass


def serve():
    Server.received.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def transfers(tmp, *card, steps=()):
    path, port = overlay(tmp), serve()
    with start(tmp, path, *card) as vm:
        console = Console(tmp)
        log_in(console)
        for command, want in [
            (f"sed -i s/8000/{port}/ /etc/apt/sources.list; apt-get update && apt-cache policy nothing", "Candidate: 1"),
            (f"wget -q -O big http://10.0.2.2:{port}/big; md5sum big", hashlib.md5(Server.big).hexdigest()),
            (f"wget -q -O - --post-file=big http://10.0.2.2:{port}/", "thanks"),
            ("ip -br addr show eth0", "10.0.2.15/24"),
            *[(command.replace("PORT", str(port)), want) for command, want in steps],
        ]:
            console.send(command + "; echo step''-done")
            console.expect("step-done", 200)
            assert want in console.text, console.text[-2000:]
            console.text = ""
        assert Server.received[0] == hashlib.md5(Server.big).hexdigest()
        net = vm.qmp.hmp("info network")
        assert "user: net=10.0.2.0" in net and "0 dropped" in net, net
        shut_down(vm, console)


@test
def ipxe_drives_the_cards(tmp):
    """iPXE's own drivers, by DHCP, TFTP and HTTP."""
    iso, port = package_file("ipxe", "usr/lib/ipxe/ipxe.iso"), serve()
    os.mkdir(f"{tmp}/tftp")
    with open(f"{tmp}/tftp/script.ipxe", "w") as f:
        f.write(f"#!ipxe\nimgfetch http://10.0.2.2:{port}/Packages && imgfetch http://10.0.2.2:{port}/done-${{net0/chip}}\n")
    for model in ("e1000", "virtio-net-pci"):
        Server.asked.clear()
        with Vm(tmp, "-accel", "tcg", "-m", "256", "-display", "none", "-cdrom", iso, "-nic",
                f"user,model={model},tftp={tmp}/tftp,bootfile=script.ipxe"):
            wait_for(lambda: any(a.startswith("done-") for a in Server.asked), f"{model}'s request")
        assert Server.asked[0] == "Packages", Server.asked


@test
def files_travel_over_an_e1000(tmp):
    transfers(tmp, "-nic", "user,model=e1000")


@test
def files_travel_over_virtio_cards(tmp):
    """Long segments whole on the user network; on the other side of a hub they are cut and summed here, and libslirp checks them."""
    transfers(tmp, "-nic", "user,model=virtio-net-pci", "-netdev", "user,id=u,net=10.0.3.0/24", "-netdev", "hubport,id=h0,hubid=3,netdev=u",
              "-netdev", "hubport,id=h1,hubid=3,queues=2", "-device", "virtio-net-pci,netdev=h1,mq=on,vectors=6", "-smp", "2",
              steps=[("ip link set eth1 up; ip addr add 10.0.3.15/24 dev eth1; ls -d /sys/class/net/eth1/queues/?x-?",
                      "/sys/class/net/eth1/queues/tx-1"),
                     ("head -c 20000000 big > part; md5sum part", hashlib.md5(Server.big[:20_000_000]).hexdigest()),
                     ("wget -q -O - --post-file=part http://10.0.3.2:PORT/", "thanks"),
                     ("wget -q -O part http://10.0.3.2:PORT/big; md5sum part", hashlib.md5(Server.big).hexdigest())])
    assert Server.received[1] == hashlib.md5(Server.big[:20_000_000]).hexdigest()


@test
def files_travel_by_an_io_thread(tmp):
    transfers(tmp, "-object", "iothread,id=io", "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,iothread=io",
              "-smp", "2")


@test
def ports_are_forwarded_while_it_runs(tmp):
    def open_port(port):
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return True
        except ConnectionRefusedError:
            return False

    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with Vm(tmp, "-accel", "tcg", "-display", "none", "-nodefaults", "-S", "-netdev", "user,id=a", "-device", "e1000,netdev=a",
            "-object", "iothread,id=t", "-netdev", "user,id=b", "-device", "virtio-net-pci,netdev=b,iothread=t") as vm:
        assert "which" in vm.qmp.hmp(f"hostfwd_add tcp:127.0.0.1:{port}-:22")
        assert "no user network 'c'" in vm.qmp.hmp(f"hostfwd_add c tcp:127.0.0.1:{port}-:22")
        assert "tcp::2222-:22" in vm.qmp.hmp(f"hostfwd_add a tcp:127.0.0.1:{port}-:port")
        for network in "ab":
            assert vm.qmp.hmp(f"hostfwd_add {network} tcp:127.0.0.1:{port}-:22") == ""
            assert open_port(port) and "1 forwarded" in vm.qmp.hmp("info network")
            assert re.search(rf"{network}:\n(?:.*\n)*?.*127\.0\.0\.1 +{port}", vm.qmp.hmp("info usernet")), vm.qmp.hmp("info usernet")
            assert "cannot be had" in vm.qmp.hmp(f"hostfwd_add {network} tcp:127.0.0.1:{port}-:23")
            assert vm.qmp.hmp(f"hostfwd_remove {network} tcp:127.0.0.1:{port}") == ""
            assert not open_port(port) and "1 forwarded" not in vm.qmp.hmp("info network")
            assert "no such port" in vm.qmp.hmp(f"hostfwd_remove {network} tcp:127.0.0.1:{port}")


main()
