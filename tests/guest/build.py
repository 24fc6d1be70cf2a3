# SPDX-License-Identifier: GPL-2.0-or-later
"""What the build itself promises: the field check, the layers, configure's answers, make install."""
import os
import re
import subprocess

from moa import *


def sh(*command, **kw):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **kw)


@test
def layers_are_kept(tmp):
    r = sh(f"{SRC}/scripts/check-layers", SRC)
    assert r.returncode == 0, r.stdout


@test
def layers_notice_a_wrong_include(tmp):
    os.makedirs(f"{tmp}/core")
    open(f"{tmp}/core/x.c", "w").write('#include "hw/pci/pci.h"\n')
    r = sh(f"{SRC}/scripts/check-layers", tmp)
    assert r.returncode == 1 and "core may not include hw/pci/pci.h" in r.stdout, r.stdout


@test
def a_forgotten_field_fails_the_build(tmp):
    # fields.txt is what the build made; without a field of the UART the check must name it.
    lines = open("fields.txt").read().splitlines()
    kept = [l for l in lines if l != "member struct serial fcr"]
    assert len(kept) == len(lines) - 1
    open(f"{tmp}/fields.txt", "w").write("\n".join(kept) + "\n")
    r = sh(f"{SRC}/scripts/check-fields", f"{tmp}/fields.txt", "moa")
    assert r.returncode == 1 and "struct serial.fcr is neither saved" in r.stdout, r.stdout
    # A host-side name that is no member is noticed too.
    open(f"{tmp}/fields.txt", "w").write("\n".join(lines + ["host struct serial nothing"]) + "\n")
    r = sh(f"{SRC}/scripts/check-fields", f"{tmp}/fields.txt", "moa")
    assert r.returncode == 1 and "'nothing', which is not a member" in r.stdout, r.stdout


@test
def a_removed_field_fails_make(tmp):
    """The same through make: a copy of the tree whose UART does not save its FCR."""
    # Without what was built in the tree.
    shutil.copytree(SRC, f"{tmp}/src", ignore=lambda d, names: [n for n in names if n == ".git" or
                                                                os.path.exists(f"{d}/{n}/config.mk")])
    path = f"{tmp}/src/hw/char/ns16550.c"
    text = open(path).read()
    assert "F(fcr), " in text
    open(path, "w").write(text.replace("F(fcr), ", ""))
    r = sh("./configure", f"--build-dir={tmp}/b", cwd=f"{tmp}/src")
    assert r.returncode == 0, r.stdout
    r = sh("make", "-C", f"{tmp}/b", "-j2", "CFLAGS=-O0", "all")
    assert r.returncode != 0 and "struct serial.fcr is neither saved" in r.stdout, r.stdout[-2000:]


@test
def configure_answers(tmp):
    for args, part in ((["--sanitise=x"], "unknown option"), (["--sanitize=memory"], "address,undefined"),
                       (["--enable-frobs"], "no such feature"), (["--cc=/nonexistent"], "cannot build"),
                       (["--help"], "--build-dir=DIR")):
        r = sh(f"{SRC}/configure", f"--build-dir={tmp}/b", *args)
        assert part in r.stdout and (r.returncode == 0) == (args == ["--help"]), r.stdout
    r = sh(f"{SRC}/configure", f"--build-dir={tmp}/b", "--disable-sdl2", "--disable-capstone", "--debug")
    assert r.returncode == 0 and re.search(r"sdl2\s+no", r.stdout), r.stdout
    assert "sdl" not in open(f"{tmp}/b/config.mk").read().lower().replace("have_sdl2 := no", "")


@test
def clang_builds_it_without_the_optional_libraries(tmp):
    if not shutil.which("clang"):
        raise Skip("no clang")
    r = sh(f"{SRC}/configure", f"--build-dir={tmp}/b", "--cc=clang", "--disable-sdl2", "--disable-capstone",
           "--disable-zstd", "--disable-png", "--disable-libnbd", "--disable-liburing")
    assert r.returncode == 0, r.stdout
    r = sh("make", "-C", f"{tmp}/b", "-j2")
    assert r.returncode == 0, r.stdout[-3000:]
    assert os.path.exists(f"{tmp}/b/moa")


@test
def install_puts_things_in_place(tmp):
    r = sh("make", "install", f"DESTDIR={tmp}/root")
    assert r.returncode == 0, r.stdout
    found = {os.path.relpath(os.path.join(d, f), f"{tmp}/root") for d, _, fs in os.walk(f"{tmp}/root") for f in fs}
    assert any(f.endswith("bin/moa") for f in found) and any(f.endswith("README.md") for f in found), found


@test
def a_second_make_has_nothing_to_do(tmp):
    r = sh("make", "all")
    assert r.returncode == 0 and "CC" not in r.stdout and "LINK" not in r.stdout, r.stdout


main()
