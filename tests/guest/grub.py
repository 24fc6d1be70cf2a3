# SPDX-License-Identifier: GPL-2.0-or-later
"""GRUB from SeaBIOS, as a floppy image in the firmware's files, its screen and keyboard on the serial port."""
from debian import *
from moa import *


def seen(console):
    """What the console shows, without its moves of the cursor."""
    try:
        console.text += console.socket.recv(65536).decode(errors="replace")
    except socket.timeout:
        pass
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", console.text)


def boot(tmp, engine, limit):
    image = open(package_file("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-floppy.img"), "rb").read()
    # SeaBIOS knows floppies by their size.
    open(f"{tmp}/floppy", "wb").write(image.ljust(1474560, b"\0"))
    open(f"{tmp}/sercon", "wb").write((0x3f8).to_bytes(8, "little"))
    with Vm(tmp, "-accel", engine, "-m", "64", "-display", "none", "-serial", f"unix:{tmp}/serial,server=on,wait=off",
            "-fw_cfg", f"name=floppyimg/grub.img,file={tmp}/floppy", "-fw_cfg", f"name=etc/sercon-port,file={tmp}/sercon"):
        console = Console(tmp)
        console.expect("The highlighted entry", limit)
        console.send("c")
        console.expect("grub> ", limit)
        # A BIOS remembers no more than 15 keys.
        for command, answer in (("lsmmap", "base_addr = 0x100000, length = 0x"), ("cpuid -l", "grub>"), ("echo $?:a''b", "0:ab")):
            console.text = ""
            console.socket.sendall(command.encode() + b"\r")
            wait_for(lambda: answer in seen(console) and seen(console).endswith("grub> "), answer)


@test
def grub_runs_under_the_translator(tmp):
    boot(tmp, "tcg", 60)


@test
def grub_runs_on_kvm(tmp):
    need_kvm()
    boot(tmp, "kvm", 200)


main()
