# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives as options and monitors spell them: -drive, -blockdev in each of its forms, boot order, limits."""
import os
import subprocess

from moa import *

IMG = os.path.abspath("moa-img")
BARE = ["-accel", "tcg", "-display", "none", "-nodefaults", "-S"]


def image(tmp, name="disk.qcow2", format="qcow2", size="10M"):
    path = f"{tmp}/{name}"
    subprocess.run([IMG, "create", "-q", "-f", format, path, size], check=True)
    return path


def drives(vm):
    return {d["device"]: d for d in vm.qmp("query-block")}


@test
def nodes_of_each_form(tmp):
    path, raw = image(tmp), image(tmp, "disk.raw", "raw")
    forms = [
        [f"driver=qcow2,node-name=n0,file.driver=file,file.filename={path}"],
        [f"driver=file,node-name=f0,filename={path}", "driver=qcow2,node-name=n0,file=f0,discard=unmap"],
        [json.dumps({"driver": "qcow2", "node-name": "n0", "cache": {"direct": False}, "read-only": True,
                     "file": {"driver": "file", "filename": path}})],
        [f"driver=file,node-name=n0,filename={raw}"],
    ]
    for form in forms:
        args = [x for node in form for x in ("-blockdev", node)]
        with Vm(tmp, *BARE, *args, "-device", "virtio-blk,drive=n0,bootindex=0") as vm:
            d = drives(vm)["n0"]
            assert d["inserted"]["file"] == (raw if len(form) == 1 and "raw" in form[0] else path), d
            assert d["inserted"]["ro"] == ("read-only" in form[0]), d
            vm.qmp("quit")
            vm.wait()
        os.unlink(f"{tmp}/qmp") if os.path.exists(f"{tmp}/qmp") else None


@test
def mistakes_name_the_remedy(tmp):
    path = image(tmp)
    for args, text in (
            (["-blockdev", "driver=qcow2,node-name=x"], "needs file.filename=FILE"),
            (["-blockdev", "driver=qcow2,node-name=x,file=nobody"], "no such node"),
            (["-blockdev", "driver=bochs,node-name=x"], "no driver 'bochs'"),
            (["-blockdev", f"driver=qcow2,file.filename={path}"], "node-name=ID"),
            (["-blockdev", "{nonsense"], "-blockdev"),
            (["-blockdev", f"driver=qcow2,node-name=x,file.filename={path},wrong=1"], "wrong"),
            (["-drive", f"file={path},if=none,id=a", "-device", "scsi-hd,drive=a"], "no SCSI bus"),
            (["-drive", f"file={path},if=none,id=a", "-device", "ahci,id=s", "-device", "ide-cd,drive=a,bus=s.0"],
             "media=cdrom"),
            (["-drive", f"file={path},if=none,id=a", "-device", "nvme,drive=a,bootindex=3", "-drive",
              f"file={image(tmp, 'other')},if=none,id=b", "-device", "nvme,drive=b,bootindex=3"], "bootindex=3 is taken"),
            (["-drive", f"file={path},bps=1000,bps_rd=10"], "goes not with"),
            ([f"{tmp}"], "is a folder: the guest gets it by -virtfs"),
            (["-fda", path], "no floppy disk"),
            (["-drive", f"file={path},if=none,id=a\"b"], "is no name"),
            (["-blockdev", f"driver=raw,node-name=1,file.filename={path}"], "is no name"),
            (["-device", "virtio-rng-pci,id=-"], "is no name")):
        status, out, err = run(*BARE, *args)
        assert status == 1 and text in err, (args, err)


@test
def a_disc_as_a_node_is_changed(tmp):
    discs = [image(tmp, f"disc{i}.iso", "raw") for i in range(2)]
    with Vm(tmp, *BARE, "-blockdev", f"driver=raw,node-name=cd,read-only=on,file.filename={discs[0]}", "-device",
            "virtio-scsi,id=s", "-device", "scsi-cd,drive=cd,bus=s.0", "-drive", "if=floppy,index=0") as vm:
        assert drives(vm)["cd"]["removable"]
        vm.qmp("blockdev-change-medium", device="cd", filename=discs[1])
        assert drives(vm)["cd"]["inserted"]["file"] == discs[1]
        assert drives(vm)["cd"]["tray_open"] is False
        vm.qmp("eject", device="cd")
        assert drives(vm)["cd"]["tray_open"] and "not locked, tray open" in vm.qmp.hmp("info block")
        assert "inserted" not in drives(vm)["cd"] and "inserted" not in drives(vm)["floppy0"]
        vm.qmp("blockdev-change-medium", device="floppy0", filename=image(tmp, "a.img", "raw", "1440K"))
        assert drives(vm)["floppy0"]["inserted"]["ro"] is False
        assert "no balloon" in vm.qmp.hmp("info balloon").lower()


@test
def drives_that_nobody_asked_for(tmp):
    disc = image(tmp, "disc.iso", "raw")
    with Vm(tmp, *[a for a in BARE if a != "-nodefaults"]) as vm:
        assert set(drives(vm)) == {"ide1-cd0", "floppy0"}
        text = vm.qmp.hmp(f"change ide1-cd0 {disc}") + vm.qmp.hmp("info block")
        assert f"ide1-cd0: {disc} (raw, read-only)" in text and "floppy0: [not inserted]" in text, text
        moved = [e["data"]["tray-open"] for e in vm.qmp.events if e["event"] == "DEVICE_TRAY_MOVED"]
        assert moved == [True, False], moved
    with Vm(tmp, *[a for a in BARE if a != "-nodefaults"], "-device", "ide-cd,id=c") as vm:
        assert set(drives(vm)) == {"floppy0", "c"} and drives(vm)["c"]["qdev"] == "c"
        vm.qmp.hmp(f"change c {disc}")
        assert drives(vm)["c"]["inserted"]["ro"]
    with Vm(tmp, *BARE) as vm:
        assert not drives(vm) and vm.qmp.hmp("info iothreads") == ""


@test
def limits_are_set_at_run_time(tmp):
    path = image(tmp)
    with Vm(tmp, *BARE, "-drive", f"file={path},if=none,id=d,iops=100,iops_max=200", "-device", "nvme,drive=d") as vm:
        for device, answer in (("d", "return"), ("x", "error")):
            limits = {"bps": 0, "bps_rd": 0, "bps_wr": 1000000, "iops": 0, "iops_rd": 10, "iops_wr": 0}
            reply = vm.qmp.raw(json.dumps({"execute": "block_set_io_throttle", "arguments": {"device": device, **limits}}))
            assert answer in reply, reply


main()
