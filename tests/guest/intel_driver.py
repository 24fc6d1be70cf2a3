# SPDX-License-Identifier: GPL-2.0-or-later
"""The e1000 under Intel's own driver code, which its drivers for other systems are made of too: DPDK's net_e1000_em, which
takes the card from the kernel. A program of DPDK's answers what a peer on the wire sends."""
import glob
import struct
import tempfile

from debian import *
from moa import *

LIBRARIES = {"libnuma.so.1": "libnuma1", "libfdt.so.1": "libfdt1", "libbsd.so.0": "libbsd0", "libmd.so.0": "libmd0",
             "libjansson.so.4": "libjansson4", "libelf.so.1": "libelf1", "libpcap.so.0.8": "libpcap0.8",
             "libibverbs.so.1": "libibverbs1", "libmlx5.so.1": "ibverbs-providers", "libnl-3.so.200": "libnl-3-200",
             "libnl-route-3.so.200": "libnl-route-3-200"}
PLUGINS = ("librte_mempool_ring.so.23", "librte_net_e1000.so.23")
START = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt /run /var/run
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
chmod 755 /
INSMOD
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /mnt
echo 48 > /proc/sys/vm/nr_hugepages
mkdir -p /dev/hugepages; mount -t hugetlbfs none /dev/hugepages
echo 8086 100e > /sys/bus/pci/drivers/uio_pci_generic/new_id
cd /mnt
./ld-linux-x86-64.so.2 --library-path /mnt ./dpdk-testpmd -l 0-1 --iova-mode=pa --no-telemetry PLUGINS -- \
--total-num-mbufs=2048 --enable-rx-cksum -i
echo ended; poweroff -f
"""
PEER, CARD, OTHER = b"\x52\x55\0\0\0\1", b"\x52\x54\0\x12\x34\x56", b"\x52\x54\0\x12\x34\x99"


def package_of(library):
    """librte_net_e1000.so.23 is in librte-net-e1000-23, librte_eal.so.23 in librte-eal23."""
    name = library.split(".so")[0].replace("_", "-")
    return LIBRARIES.get(library) or name + ("-23" if name[-1].isdigit() else "23")


@one_at_a_time
def testpmd():
    """A folder with the program, its driver, and every library that they need."""
    share = os.path.abspath("guest-packages/dpdk/share")
    if os.path.exists(f"{share}/complete"):
        return share
    if not shutil.which("apt-get"):
        raise Skip("no apt-get to fetch DPDK")
    root = os.path.abspath("guest-packages/dpdk/root")
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    os.makedirs(share, exist_ok=True)
    wanted = {"dpdk-dev", *(package_of(p) for p in PLUGINS)}
    for _ in range(6):
        folder = tempfile.mkdtemp(dir=f"{share}/..")
        subprocess.run(["apt-get", "download", *sorted(wanted)], cwd=folder, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for deb in glob.glob(f"{folder}/*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
        shutil.rmtree(folder)
        files = [f"{root}/usr/bin/dpdk-testpmd", *(f"{libraries}/{p}" for p in PLUGINS)]
        if not all(os.path.exists(f) for f in files):
            raise Skip("DPDK cannot be fetched")
        out = subprocess.run(["ldd", *files], env={**os.environ, "LD_LIBRARY_PATH": libraries}, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True).stdout
        wanted = {package_of(name) for name in re.findall(r"(\S+) => not found", out)}
        if not wanted:
            break
    else:
        raise Skip(f"libraries of DPDK cannot be fetched: {' '.join(sorted(wanted))}")
    for path in {*files, *re.findall(r"(/\S+) \(0x", out)}:
        shutil.copy(path, share)
    open(f"{share}/complete", "w").close()
    return share


def checksum(data):
    words = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip(protocol, payload, to=CARD, tag=None, header_sum=None):
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    header = header[:10] + struct.pack(">H", checksum(header) if header_sum is None else header_sum) + header[12:]
    vlan = struct.pack(">HH", 0x8100, tag) if tag is not None else b""
    return to + PEER + vlan + b"\x08\0" + header + payload


def echo(n, size):
    payload = struct.pack(">BBHHH", 8, 0, 0, 7, n) + bytes((n + i) & 255 for i in range(size))
    return ip(1, payload[:2] + struct.pack(">H", checksum(payload)) + payload[4:])


def l4_sum(frame, at=14):
    """0 if the checksum of the UDP or TCP part is right."""
    payload = frame[at + 20:at + struct.unpack_from(">H", frame, at + 2)[0]]
    return checksum(frame[at + 12:at + 20] + struct.pack(">HH", frame[at + 9], len(payload)) + payload)


def udp(n, size, **kw):
    body = bytes((n * 3 + i) & 255 for i in range(size))
    frame = ip(17, struct.pack(">HHHH", 1000 + n, 2000, 8 + size, 0) + body, **kw)
    at = 18 if "tag" in kw else 14
    sum = l4_sum(frame, at) or 0xffff
    return frame[:at + 26] + struct.pack(">H", sum) + frame[at + 28:]


class Wire:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def send(self, frame):
        self.socket.sendall(struct.pack(">I", len(frame)) + frame)

    def answer(self, frame):
        self.send(frame)
        return self.file.read(struct.unpack(">I", self.file.read(4))[0])


@test
def intels_code_drives_the_e1000(tmp):
    share = testpmd()
    files, insmod = modules("virtio_pci", "9pnet_virtio", "9p", "uio", "uio_pci_generic")
    init = START.replace("INSMOD", insmod).replace("PLUGINS", " ".join(f"-d /mnt/{p}" for p in PLUGINS))
    with Vm(tmp, "-accel", "tcg", "-m", "512", "-smp", "2", "-display", "none", "-serial",
            f"unix:{tmp}/serial,server=on,wait=off", "-kernel", kernel(), "-initrd", initrd(tmp, init, files), "-append",
            "console=ttyS0 quiet", "-virtfs", f"local,path={share},mount_tag=share,security_model=none,readonly=on",
            "-netdev", f"stream,id=n,server=on,addr.type=unix,addr.path={tmp}/net", "-device",
            "e1000,netdev=n,mac=52:54:00:12:34:56", "-no-reboot") as vm:
        console, wire = Console(tmp), Wire(f"{tmp}/net")
        console.expect("testpmd>")

        def command(*lines):
            for line in lines:
                console.text = ""
                console.send(line)
                console.expect("testpmd>")
            return console.text

        info = command("show port info 0")
        for what in ("net_e1000_em", "52:54:00:12:34:56", "Link status: up", "1 Gbps", "full-duplex"):
            assert what in info, info
        # Every length, data untouched.
        command("set fwd icmpecho", "start")
        for n in range(0, 1473, 13):
            sent = echo(n, n)
            got = wire.answer(sent)
            assert got[:12] == PEER + CARD and got[34] == 0 and got[38:len(sent)] == sent[38:], (n, got[:64].hex())
        # Checksums, by the card: made, and judged.
        command("stop", "port stop 0", "csum set ip hw 0", "csum set udp hw 0", "port start 0", "set fwd csum", "start")
        for n, size in enumerate((0, 1, 18, 19, 777, 1472)):
            got = wire.answer(udp(n, size))
            assert checksum(got[14:34]) == 0 and l4_sum(got) == 0, (size, got[:64].hex())
        # This driver has no judgement of UDP's and TCP's made.
        for n in range(2):
            wire.answer(udp(n, 100, header_sum=0x1234))
        stopped = command("stop")
        assert re.search(r"Bad-ipcsum: 2 +Bad-l4csum: 0", stopped), stopped
        # Tags: taken off, put on.
        command("port stop 0", "csum set ip sw 0", "csum set udp sw 0", "vlan set strip on 0", "tx_vlan set 0 5", "port start 0",
                "set fwd mac", "start")
        sent = udp(1, 200, tag=7)
        got = wire.answer(sent)
        assert got[12:16] == struct.pack(">HH", 0x8100, 5) and got[16:] == sent[16:], got[:64].hex()
        # Addresses: no others', unless asked for.
        command("stop", "port stop 0", "tx_vlan reset 0", "port start 0", "set promisc 0 off", "set fwd mac", "start")
        multicast = b"\x01\0\x5e\1\2\3"
        wire.send(udp(1, 50, to=OTHER))
        wire.send(udp(2, 50, to=multicast))
        assert wire.answer(udp(3, 50))[34:36] == struct.pack(">H", 1003)
        command("mac_addr add 0 52:54:00:12:34:99", "mcast_addr add 0 01:00:5e:01:02:03")
        assert wire.answer(udp(4, 50, to=OTHER))[34:36] == struct.pack(">H", 1004)
        assert wire.answer(udp(5, 50, to=multicast))[34:36] == struct.pack(">H", 1005)
        console.send("quit")
        console.expect("ended")
        assert vm.wait() == 0


main()
