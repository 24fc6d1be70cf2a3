# SPDX-License-Identifier: GPL-2.0-or-later
"""moa-img against qemu-img: what one makes the other reads, and both say the same of it."""
import json
import os
import random
import shutil
import socket
import subprocess
import time

from moa import *

IMG = os.path.abspath("moa-img")


def need_qemu_img():
    if not shutil.which("qemu-img"):
        raise Skip("no qemu-img; install qemu-utils")


def call(program, *args, status=0):
    r = subprocess.run([program, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert r.returncode == status, (program, args, r.returncode, r.stdout, r.stderr)
    return r.stdout if status == 0 else r.stdout + r.stderr


def ours(*args, **kw):
    return call(IMG, *args, **kw)


def theirs(*args, **kw):
    return call("qemu-img", *args, **kw)


def make_disk(path, size, seed, holes=True):
    """A raw disk with data, zeros that were written, and holes."""
    rnd = random.Random(seed)
    with open(path, "wb") as f:
        f.truncate(size)
        for _ in range(60):
            f.seek(rnd.randrange(size // 512) * 512)
            n = min(rnd.choice([512, 4096, 65536, 200000]), size - f.tell())
            f.write(rnd.choice([rnd.randbytes(n), b"abc " * (n // 4), bytes(n)]))


SIZE = 20 * 1024 * 1024 + 512


@test
def conversions_agree(tmp):
    need_qemu_img()
    disk = f"{tmp}/disk.raw"
    make_disk(disk, SIZE, 1)
    for n, options in enumerate([["-O", "qcow2"], ["-O", "qcow2", "-c"], ["-O", "raw"],
                                 ["-O", "qcow2", "-c", "-o", "compression_type=zstd"],
                                 ["-O", "qcow2", "-o", "compat=0.10,cluster_size=4096"],
                                 ["-O", "qcow2", "-o", "preallocation=metadata"],
                                 ["-O", "qcow2", "-c", "-o", "cluster_size=2M"],
                                 ["-O", "qcow2", "-S", "0"]]):
        format = options[1]
        mine, other = f"{tmp}/mine{n}", f"{tmp}/other{n}"
        ours("convert", "-f", "raw", *options, disk, mine)
        theirs("convert", "-f", "raw", *options, disk, other)
        for image in (mine, other):
            assert "identical" in theirs("compare", "-f", "raw", "-F", format, disk, image)
            assert "identical" in ours("compare", "-f", "raw", "-F", format, disk, image)
            if format == "qcow2":
                theirs("check", "-f", format, image)
                assert "No errors" in ours("check", "-f", format, image)
        # And back, each by the other.
        theirs("convert", "-f", format, "-O", "raw", mine, f"{tmp}/back1")
        ours("convert", "-f", format, "-O", "raw", other, f"{tmp}/back2")
        subprocess.run(["cmp", disk, f"{tmp}/back1"], check=True)
        subprocess.run(["cmp", disk, f"{tmp}/back2"], check=True)


def known(info):
    """What both print of an image, less what each measures or names in its own way."""
    for key in ("filename", "actual-size", "children", "full-backing-filename", "dirty-flag"):
        info.pop(key, None)
    for s in info.get("snapshots", []):
        s.pop("icount", None)
        s.pop("date-nsec", None)
    return info


@test
def info_map_check_and_measure_agree(tmp):
    need_qemu_img()
    make_disk(f"{tmp}/disk.raw", SIZE, 2)
    theirs("convert", "-f", "raw", "-O", "qcow2", f"{tmp}/disk.raw", f"{tmp}/base.qcow2")
    theirs("create", "-q", "-f", "qcow2", "-b", f"{tmp}/base.qcow2", "-F", "qcow2", f"{tmp}/top.qcow2", "30M")
    theirs("snapshot", "-c", "before", f"{tmp}/top.qcow2")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write 1M 320k", "-c", "write -z 5M 64k", "-c", "write 25M 1M",
                    f"{tmp}/top.qcow2"], check=True, stdout=subprocess.DEVNULL)
    for image in ("base.qcow2", "top.qcow2"):
        path = f"{tmp}/{image}"
        a, b = (json.loads(f("info", "--output=json", path)) for f in (ours, theirs))
        assert known(a) == known(b), (a, b)
        a, b = (json.loads(f("check", "--output=json", path)) for f in (ours, theirs))
        assert a == b, (a, b)
        a, b = (json.loads(f("map", "--output=json", path)) for f in (ours, theirs))
        for m in b:
            m.pop("compressed", None)
        differ = [(x, y) for x, y in zip(flat(a), flat(b)) if x != y]
        assert not differ, (image, differ[0])
    for options in (["-O", "qcow2"], ["-O", "raw"], ["-O", "qcow2", "-o", "cluster_size=4k"]):
        a, b = (json.loads(f("measure", "--output=json", *options, f"{tmp}/top.qcow2")) for f in (ours, theirs))
        assert a["fully-allocated"] == b["fully-allocated"], (options, a, b)
        a, b = (json.loads(f("measure", "--output=json", *options, "--size", "3G")) for f in (ours, theirs))
        b.pop("bitmaps", None)
        assert a == b, (options, a, b)


def flat(ranges):
    """Joined where nothing but the cut differs."""
    out = []
    for r in ranges:
        last = out[-1] if out else None
        if last and all(last[k] == r[k] for k in ("depth", "present", "zero", "data")) and (
                ("offset" in last) == ("offset" in r)) and (
                "offset" not in r or last["offset"] + last["length"] == r["offset"]):
            last["length"] += r["length"]
        else:
            out.append(dict(r))
    return out


@test
def overlays_are_committed_and_rebased(tmp):
    need_qemu_img()
    make_disk(f"{tmp}/disk.raw", SIZE, 3)
    base, other, top, saved = (f"{tmp}/{n}.qcow2" for n in ("base", "other", "top", "saved"))
    ours("convert", "-f", "raw", "-O", "qcow2", f"{tmp}/disk.raw", base)
    make_disk(f"{tmp}/disk2.raw", SIZE, 4)
    ours("convert", "-f", "raw", "-O", "qcow2", f"{tmp}/disk2.raw", other)
    ours("create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", top)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 300k", "-c", "write -z 5M 64k", top], check=True,
                   stdout=subprocess.DEVNULL)
    theirs("convert", "-O", "raw", top, f"{tmp}/wanted.raw")
    # On another base it reads the same, and that base stays what it was.
    ours("rebase", "-b", "other.qcow2", "-F", "qcow2", top)
    theirs("check", top)
    assert "identical" in theirs("compare", "-f", "qcow2", "-F", "raw", top, f"{tmp}/wanted.raw")
    assert json.loads(theirs("info", "--output=json", top))["backing-filename"] == "other.qcow2"
    ours("rebase", "-b", "base.qcow2", "-F", "qcow2", top)
    # Two overlays: the other one would be spoilt.
    ours("create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", saved)
    text = ours("commit", top, status=1)
    assert "saved.qcow2" in text and "--force" in text, text
    os.unlink(saved)
    assert "committed" in ours("commit", top)
    theirs("check", base)
    theirs("check", top)
    for image in (base, top):
        assert "identical" in theirs("compare", "-f", "qcow2", "-F", "raw", image, f"{tmp}/wanted.raw")
    # Without any base.
    ours("rebase", "-b", "", top)
    os.rename(base, f"{tmp}/away")
    assert "identical" in theirs("compare", "-f", "qcow2", "-F", "raw", top, f"{tmp}/wanted.raw")


@test
def overlays_know_their_backing_file(tmp):
    need_qemu_img()
    for kind in ("mtime", "content"):
        base, over = f"{tmp}/{kind}.raw", f"{tmp}/{kind}.qcow2"
        make_disk(base, 2 << 20, 4)
        os.utime(base, (1000000000, 1000000000))
        ours("create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", "-o", f"backing_fingerprint={kind}", over)
        assert f"backing fingerprint: {kind}" in ours("info", over)
        theirs("check", "-q", over)
        ours("map", over)
        os.utime(base, (1000000000, 1000000001))
        text = ours("map", over, status=1 if kind == "mtime" else 0)
        assert kind != "mtime" or "is not what it was" in text and "rebase -u" in text, text
        ours("rebase", "-u", "-b", base, "-F", "raw", over)
        ours("map", over)
        # A commit changes it by the overlay's own hand.
        ours("commit", "-q", over)
        ours("map", over)
        time.sleep(0.05)  # times of change have the kernel's tick
        with open(base, "r+b") as f:
            f.seek(70000)
            f.write(b"something else")
        text = ours("map", over, status=1)
        assert "content" in text or "time of change" in text, text
        with open(base, "ab") as f:
            f.truncate(3 << 20)
        assert "(its size)" in ours("map", over, status=1)


@test
def snapshots_are_read_by_both(tmp):
    need_qemu_img()
    image = f"{tmp}/s.qcow2"
    ours("create", "-q", "-f", "qcow2", image, "10M")
    contents = {}
    for n, (who, name) in enumerate([(ours, "one"), (theirs, "two"), (ours, "three")]):
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -P {n + 1} {n}M 2M", image], check=True,
                       stdout=subprocess.DEVNULL)
        who("snapshot", "-c", name, image)
        theirs("check", image)
        theirs("convert", "-O", "raw", image, f"{tmp}/{name}")
    assert [s["name"] for s in json.loads(ours("info", "--output=json", image))["snapshots"]] == ["one", "two", "three"]
    for who, name in [(theirs, "one"), (ours, "two"), (ours, "one"), (theirs, "three")]:
        who("snapshot", "-a", name, image)
        theirs("check", image)
        ours("check", image)
        assert "identical" in theirs("compare", "-f", "qcow2", "-F", "raw", image, f"{tmp}/{name}")
    for who, name in [(ours, "two"), (theirs, "one"), (ours, "three")]:
        who("snapshot", "-d", name, image)
        theirs("check", image)
        ours("check", image)
    assert "identical" in theirs("compare", "-f", "qcow2", "-F", "raw", image, f"{tmp}/three")


@test
def copies_by_several_threads_agree(tmp):
    need_qemu_img()
    for name, seed in ("a", 21), ("b", 22):
        make_disk(f"{tmp}/{name}", SIZE + 3 * 512, seed)
    with open(f"{tmp}/wanted", "wb") as f:
        f.write(open(f"{tmp}/a", "rb").read() + open(f"{tmp}/b", "rb").read())
    ours("convert", "-f", "raw", "-O", "qcow2", f"{tmp}/wanted", f"{tmp}/whole.qcow2")
    for args in (["-m", "1"], ["-m", "16"], ["-m", "16", "-W"], ["-W", "-c"], ["-m", "3", "-c", "-o", "compression_type=zstd"],
                 ["-t", "none", "-T", "none"], ["-t", "unsafe", "-T", "writeback"]):
        out = f"{tmp}/out"
        # Two sources, the second of which begins inside a chunk; compressed ones must not.
        sources = [f"{tmp}/whole.qcow2"] if "-c" in args else [f"{tmp}/a", f"{tmp}/b"]
        ours("convert", *args, "-f", "qcow2" if "-c" in args else "raw", "-O", "qcow2", *sources, out)
        theirs("check", "-q", out)
        assert "identical" in theirs("compare", "-f", "qcow2", "-F", "raw", out, f"{tmp}/wanted"), args
        os.unlink(out)
    assert "1 to 16" in ours("convert", "-m", "17", f"{tmp}/a", f"{tmp}/out", status=1)
    assert "none, writeback or unsafe" in ours("convert", "-t", "directsync", f"{tmp}/a", f"{tmp}/out", status=1)


@test
def snapshots_are_converted(tmp):
    need_qemu_img()
    image = f"{tmp}/i.qcow2"
    make_disk(f"{tmp}/first", SIZE, 8)
    ours("convert", "-O", "qcow2", f"{tmp}/first", image)
    ours("snapshot", "-c", "before", image)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 3M", "-c", "discard 4M 2M", image], check=True,
                   stdout=subprocess.DEVNULL)
    for name in ("before", "snapshot.name=before", "snapshot.id=1"):
        ours("convert", "-l", name, "-O", "raw", image, f"{tmp}/out")
        theirs("convert", "-l", name, "-O", "raw", image, f"{tmp}/wanted")
        assert "identical" in ours("compare", f"{tmp}/out", f"{tmp}/first")
        assert "identical" in theirs("compare", "-f", "raw", "-F", "raw", f"{tmp}/out", f"{tmp}/wanted")
    assert "no snapshot 'later'" in ours("convert", "-l", "later", image, f"{tmp}/out", status=1)
    assert "have no snapshots" in ours("convert", "-f", "raw", "-l", "x", f"{tmp}/first", f"{tmp}/out", status=1)


@test
def uml_files_are_read_by_both(tmp):
    if not shutil.which("uml_mkcow"):
        raise Skip("no uml_mkcow; install uml-utilities")
    base, theirs_, mine = f"{tmp}/base", f"{tmp}/theirs", f"{tmp}/mine"
    make_disk(base, 3 * 1024 * 1024, 9)
    call("uml_mkcow", theirs_, base)
    ours("create", "-q", "-f", "cow", "-b", base, "-F", "raw", mine)
    assert open(theirs_, "rb").read(4128) == open(mine, "rb").read(4128)
    data = f"{tmp}/data"
    make_disk(data, 3 * 1024 * 1024, 10)
    for cow in (mine, theirs_):
        assert json.loads(ours("info", "--output=json", cow))["format"] == "cow"
        ours("compare", "-q", "-f", "raw", "-F", "cow", base, cow)
        # What we write their tool merges, into the same disk.
        ours("rebase", "-u", "-f", "cow", "-b", base, "-F", "raw", cow)
        ours("convert", "-n", "-f", "raw", "-O", "cow", data, cow)
        ours("compare", "-q", "-f", "raw", "-F", "cow", data, cow)
        call("uml_moo", cow, f"{tmp}/merged")
        assert open(f"{tmp}/merged", "rb").read() == open(data, "rb").read()
        os.unlink(f"{tmp}/merged")
    os.utime(base, (1, 1))
    assert "was changed at 1" in ours("info", "--backing-chain", mine, status=1)
    ours("rebase", "-u", "-f", "cow", "-b", base, "-F", "raw", mine)
    ours("commit", "-q", "-f", "cow", "--force", mine)
    assert open(base, "rb").read() == open(data, "rb").read()


def serve_nbd(tmp, *command):
    """A server on {tmp}/nbd; its address."""
    if not shutil.which(command[0]):
        raise Skip(f"no {command[0]}")
    if os.path.exists(f"{tmp}/nbd"):
        os.unlink(f"{tmp}/nbd")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for(lambda: os.path.exists(f"{tmp}/nbd"), "the server's socket")
    return process, f"nbd+unix:///?socket={tmp}/nbd"


@test
def disks_of_nbd_servers(tmp):
    need_qemu_img()
    disk, size = f"{tmp}/disk.raw", 20 * 1024 * 1024
    make_disk(disk, size, 11)
    process, url = serve_nbd(tmp, "nbdkit", "-f", "-U", f"{tmp}/nbd", "memory", str(size))
    try:
        assert json.loads(ours("info", "--output=json", "-f", "raw", url))["virtual-size"] == size
        ours("convert", "-n", "-f", "raw", "-O", "raw", disk, url)
        ours("compare", "-q", "-f", "raw", "-F", "raw", disk, url)
        theirs("compare", "-q", "-f", "raw", "-F", "raw", disk, url)
        # A qcow2 image over the network, and one whose backing image is there.
        ours("create", "-q", "-f", "qcow2", "-b", url, "-F", "raw", f"{tmp}/over.qcow2")
        theirs("compare", "-q", "-f", "raw", "-F", "qcow2", disk, f"{tmp}/over.qcow2")
        ours("compare", "-q", "-f", "raw", "-F", "qcow2", disk, f"{tmp}/over.qcow2")
        ours("convert", "-n", "-f", "raw", "-O", "raw", disk, f"nbd:unix:{tmp}/nbd")
    finally:
        process.kill()
    image = f"{tmp}/image.qcow2"
    theirs("create", "-q", "-f", "qcow2", image, str(size))
    os.truncate(image, 2 * size)  # a server's file does not grow
    process, url = serve_nbd(tmp, "qemu-nbd", "-t", "-e", "8", "-f", "raw", "-k", f"{tmp}/nbd", image)
    try:
        ours("convert", "-n", "-f", "raw", "-O", "qcow2", disk, url)
        ours("check", "-q", "-f", "qcow2", url)
    finally:
        process.terminate()
        process.wait()
    theirs("check", "-q", image)
    theirs("compare", "-q", "-f", "raw", "-F", "qcow2", disk, image)
    # And the other way round: our server, their client, several connections at once.
    process, url = serve_nbd(tmp, IMG, "nbd", "-t", "-e", "8", "-x", "disk one", "-f", "qcow2", "-k", f"{tmp}/nbd", image)
    try:
        url = f"nbd+unix:///disk%20one?socket={tmp}/nbd"
        theirs("compare", "-q", "-f", "raw", "-F", "raw", disk, url)
        make_disk(disk, size, 12)
        theirs("convert", "-n", "-f", "raw", "-O", "raw", "-m", "8", "-W", disk, url)
        ours("compare", "-q", "-f", "raw", "-F", "raw", disk, url)
        assert "not available" in theirs("info", f"nbd+unix:///other?socket={tmp}/nbd", status=1)
        # What is no client, or ends in the middle, harms nobody.
        for junk in (b"", b"x" * 100, b"\0\0\0\3IHAVEOPT\0\0\0\7\xff\xff\xff\xff", b"\0\0\0\3IHAVEOPT\0\0\0\7\0\0\0\2ab"):
            s = socket.socket(socket.AF_UNIX)
            s.connect(f"{tmp}/nbd")
            s.sendall(junk)
            s.close()
        theirs("compare", "-q", "-f", "raw", "-F", "raw", disk, url)
    finally:
        process.terminate()
        assert process.wait() == 0
    theirs("check", "-q", image)
    theirs("compare", "-q", "-f", "raw", "-F", "qcow2", disk, image)
    assert "Connection refused" in ours("info", url, status=1) or "No such file" in ours("info", url, status=1)


@test
def damage_is_found_and_mended(tmp):
    need_qemu_img()
    image = f"{tmp}/d.qcow2"
    ours("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", image, "8M")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 3M", image], check=True, stdout=subprocess.DEVNULL)
    theirs("convert", "-O", "raw", image, f"{tmp}/wanted")
    with open(image, "r+b") as f:
        f.seek(48)
        table = int.from_bytes(f.read(8), "big")
        f.seek(table)
        block = int.from_bytes(f.read(8), "big")
        f.seek(block + 2 * 20)
        f.write(bytes(20))  # too low
        f.seek(block + 2 * 300)
        f.write(b"\0\2" * 5)  # leaks
    r = json.loads(call(IMG, "check", "--output=json", image, status=2))
    other = json.JSONDecoder().raw_decode(call("qemu-img", "check", "--output=json", image, status=2))[0]
    assert r["leaks"] == other["leaks"] == 5 and r["corruptions"] >= 10, (r, other)
    ours("check", "-r", "all", image)
    theirs("check", image)
    assert "identical" in theirs("compare", "-f", "qcow2", "-F", "raw", image, f"{tmp}/wanted")
    # An image that a writer with lazy counts did not close is mended when it is opened.
    theirs("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", image, "8M")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 1M", "-c", "flush", "-c", "sigraise 9", image],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert theirs("info", image) and "dirty" not in ours("info", image)
    ours("resize", image, "+1M")
    theirs("check", image)
    with open(image, "rb") as f:
        f.seek(72)
        assert f.read(8) == bytes(8), "the dirty bit is still set"


@test
def mistakes_name_the_remedy(tmp):
    image = f"{tmp}/m.qcow2"
    for args, parts in [(["creat", "x"], ["did you mean 'create'"]),
                        (["create", "-f", "qcow3", image, "1M"], ["no image format 'qcow3'", "raw, qcow2"]),
                        (["create", "-f", "qcow2", image], ["how large"]),
                        (["create", "-f", "qcow2", image, "lots"], ["'lots'", "K, M, G, T"]),
                        (["create", "-f", "qcow2", "-o", "cluster_size=1000", image, "1M"], ["power of two"]),
                        (["create", "-f", "qcow2", "-o", "clustersize=4k", image, "1M"], ["cluster_size"]),
                        (["create", "-f", "qcow2", "-o", "compat=0.10,refcount_bits=1", image, "1M"], ["compat=1.1"]),
                        (["create", "-f", "qcow2", "-b", "none.qcow2", "-F", "qcow2", image], ["none.qcow2", "No such"]),
                        (["create", "-f", "qcow2", "-b", "none.qcow2", image, "1M"], ["-F"]),
                        (["info", f"{tmp}/nothing"], ["nothing", "No such file"]),
                        (["convert", "-c", "-O", "raw", "/dev/null", f"{tmp}/x"], ["/dev/null"])]:
        text = ours(*args, status=1)
        for part in parts:
            assert part in text, (args, part, text)
    ours("create", "-q", "-f", "qcow2", image, "1M")
    assert "--shrink" in ours("resize", image, "512k", status=1)
    ours("resize", "--shrink", image, "512k")
    assert "no backing image" in ours("commit", image, status=1)
    assert "no snapshot 'x'" in ours("snapshot", "-a", "x", image, status=1)
    assert "-l" in ours("snapshot", "-U", "-c", "x", image, status=1)
    assert "resize" in ours("resize", "--preallocation=full", image, "2M", status=1)


main()
