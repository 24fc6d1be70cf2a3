# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux with a virtio console, a named port, an entropy source and a balloon."""
import os
import socket

from debian import Console
from debian_disk import log_in, overlay, shut_down, start
from moa import *


def resident(vm):
    status = open(f"/proc/{vm.process.pid}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) // 1024


@test
def console_port_entropy_and_balloon(tmp):
    path = overlay(tmp)
    with start(tmp, "-drive", f"file={path},if=virtio,format=qcow2", "-device", "virtio-serial,id=vs", "-chardev",
               f"file,id=hvc,path={tmp}/hvc", "-device", "virtconsole,chardev=hvc", "-chardev",
               f"socket,id=port,path={tmp}/port,server=on,wait=off", "-device",
               "virtserialport,chardev=port,name=org.moa.test", "-device", "virtio-rng", "-device",
               "virtio-balloon,id=b,guest-stats-polling-interval=1,free-page-reporting=on") as vm:
        console = Console(tmp)
        log_in(console)
        console.send("modprobe -a virtio_console virtio-rng virtio_balloon; echo on the console >/dev/hvc0; cat "
                     "/sys/class/misc/hw_random/rng_current; head -c 100000 /dev/hwrng | wc -c; cd /dev/virtio-ports; ls; "
                     "(read x; echo got $x; yes 0123456789abcdef | head -c 3000000) <>org.moa.test 1>&0 & echo begun''-ok")
        console.expect("begun-ok")
        assert "virtio_rng" in console.text and "100000" in console.text and "org.moa.test" in console.text, console.text
        port = socket.socket(socket.AF_UNIX)
        port.connect(f"{tmp}/port")
        port.sendall(b"hello\n")
        port.settimeout(LIMIT)
        got = b""
        while len(got) < 3000010:
            time.sleep(0.001)  # slower than the guest
            got += port.recv(65536)
        assert got.startswith(b"got hello\n"), got[:100]
        assert got[10:] == (b"0123456789abcdef\n" * 180000)[:3000000], "bytes are lost"
        wait_for(lambda: "on the console" in open(f"{tmp}/hvc").read(), "the console's output")
        # The balloon: memory that the guest had used comes back to the host.
        console.send("head -c 400M /dev/zero | tail | wc -c; echo used''-up")
        console.expect("used-up")
        wait_for(lambda: vm.qmp("query-balloon")["stats"].get("stat-total-memory"), "statistics")
        assert vm.qmp("query-balloon")["actual"] == 768 << 20
        before = resident(vm)
        vm.qmp("balloon", value=320 << 20)
        wait_for(lambda: vm.qmp("query-balloon")["actual"] == 320 << 20, "the balloon")
        after = resident(vm)
        print("  resident before and after:", before, after, "MiB", flush=True)
        assert after < before - 100 or after < 420, (before, after)
        console.send("free -m; echo freed''-up")
        console.expect("freed-up")
        vm.qmp("balloon", value=768 << 20)
        wait_for(lambda: vm.qmp("query-balloon")["actual"] == 768 << 20, "the balloon")
        shut_down(vm, console)


main()
