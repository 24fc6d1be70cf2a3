# SPDX-License-Identifier: GPL-2.0-or-later
"""Host folders in a Linux guest by 9P: files both ways, ownership that only the guest sees, a guest's root in one."""
import hashlib
import os
import stat

from debian import *
from moa import *

MODULES = ("virtio_pci", "9pnet_virtio", "9p")
START = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
INSMOD
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /mnt || echo mount failed
"""
WORK = """cd /mnt
md5sum big; wc -l < text
mkdir -p tree/a/b; cp big tree/a/b/copy; cmp big tree/a/b/copy && echo COPIED
mv tree/a tree/moved; ls tree/moved/b
echo one > log; echo two >> log; cat log; chown 12:34 log; chmod 4750 log; stat -c '%a %u:%g' log
ln -s /etc/passwd link; readlink link; ln log hard; stat -c %h log
mknod null c 1 3; stat -c '%F %t,%T' null; mkfifo pipe; stat -c %F pipe
truncate -s 100 log; wc -c < log; touch -d '2001-02-03 04:05:06' log; stat -c %Y log
for i in $(seq 1 300); do echo $i > tree/file$i; done; ls tree | wc -l
rm tree/file1??; ls tree | wc -l
(exec 3>held; rm held; echo gone >&3 && echo STILL OPEN)
cat escape 2>&1; df /mnt | tail -1 | cut -c1-5
echo ALL''DONE
sync; poweroff -f
"""


def boot(tmp, script, *args):
    files, insmod = modules(*MODULES)
    init = START.replace("INSMOD", insmod) + script
    return Vm(tmp, "-accel", "tcg", "-m", "256", "-display", "none", "-serial", f"unix:{tmp}/serial,server=on,wait=off",
              "-kernel", kernel(), "-initrd", initrd(tmp, init, files), "-append", "console=ttyS0 quiet", *args)


@test
def a_guest_works_in_a_folder(tmp):
    share = f"{tmp}/share"
    os.mkdir(share)
    big = os.urandom(5_000_000)
    open(f"{share}/big", "wb").write(big)
    open(f"{share}/text", "w").write("line\n" * 1000)
    open(f"{tmp}/secret", "w").write("SECRET\n")
    os.symlink("../secret", f"{share}/escape")
    with boot(tmp, WORK, "-virtfs", f"local,path={share},mount_tag=share,security_model=mapped-xattr") as vm:
        console = Console(tmp)
        console.expect("ALLDONE")
        text = console.text.replace("\r", "")
        for line in (hashlib.md5(big).hexdigest(), "1000\n", "COPIED", "copy\n", "one\ntwo\n", "4750 12:34", "/etc/passwd\n2\n",
                     "character special file 1,3", "fifo", "100\n", "981173106", "301\n201\n", "STILL OPEN", "share"):
            assert line in text, (line, text)
        assert "SECRET" not in text, text
        assert vm.wait() == 0
    # On the host there is nothing but plain files of our own.
    assert open(f"{share}/tree/moved/b/copy", "rb").read() == big
    for name in ("log", "null", "pipe", "link"):
        st = os.lstat(f"{share}/{name}")
        assert stat.S_ISREG(st.st_mode) and st.st_mode & 0o7777 == 0o600 and st.st_uid == os.geteuid(), (name, st)
    assert int.from_bytes(os.getxattr(f"{share}/log", "user.virtfs.uid"), "little") == 12
    assert open(f"{share}/link").read() == "/etc/passwd"


@test
def a_read_only_folder_stays_as_it_is(tmp):
    share = f"{tmp}/share"
    os.mkdir(share)
    open(f"{share}/text", "w").write("hello\n")
    with boot(tmp, "cat /mnt/text; echo x > /mnt/new; echo y >> /mnt/text; rm /mnt/text; echo ALL''DONE; poweroff -f\n",
              "-virtfs", f"local,path={share},mount_tag=share,security_model=none,readonly=on") as vm:
        console = Console(tmp)
        console.expect("ALLDONE")
        assert "hello" in console.text and console.text.count("Read-only file system") == 3, console.text
        assert vm.wait() == 0
    assert os.listdir(share) == ["text"] and open(f"{share}/text").read() == "hello\n"


@test
def a_guest_lives_in_a_folder(tmp):
    share = f"{tmp}/root"
    for d in ("bin", "proc", "dev", "etc"):
        os.makedirs(f"{share}/{d}")
    shutil.copy(package_file("busybox-static", "bin/busybox"), f"{share}/bin/busybox")
    open(f"{share}/etc/start", "w").write("#!/bin/busybox sh\n/bin/busybox --install -s /bin\nmount -t proc proc /proc\n"
                                          "mount | head -1\nadduser -D -H me 2>/dev/null; echo me:x:1000:1000::/: > /etc/passwd\n"
                                          "touch /etc/mine; chown me /etc/mine; ls -l /etc/mine; ls /bin | wc -l\n"
                                          "echo ALL''DONE\npoweroff -f\n")
    os.chmod(f"{share}/etc/start", 0o755)
    script = "exec switch_root /mnt /bin/busybox sh /etc/start\n"
    with boot(tmp, script, "-virtfs", f"local,path={share},mount_tag=share,security_model=mapped-xattr") as vm:
        console = Console(tmp)
        console.expect("ALLDONE")
        assert re.search(r"me +0 +0 .*/etc/mine|-rw.*\bme\b.*/etc/mine", console.text), console.text
        assert int(re.search(r"\n(\d{3})\r?\nALL", console.text).group(1)) > 200, console.text
        assert vm.wait() == 0


@test
def mistakes_name_the_remedy(tmp):
    for option, text in ((f"local,path={tmp},mount_tag=x", "needs security_model="),
                         (f"local,path={tmp}/no,mount_tag=x,security_model=none", "No such file"),
                         (f"local,path={tmp},security_model=none", "needs mount_tag="),
                         (f"proxy,path={tmp},mount_tag=x,security_model=none", "there is: local")):
        status, out, err = run("-virtfs", option)
        assert status == 1 and text in err, (option, err)


main()
