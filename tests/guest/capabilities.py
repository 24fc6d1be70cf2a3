# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that lacks a capability: required ones are refused by name, optional ones are done without."""
import os
import re
import subprocess

from moa import *

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <linux/kvm.h>
int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int, unsigned long, ...);
	const char *hide = getenv("HIDE_CAP"), *version = getenv("KVM_VERSION");
	va_list ap;
	void *arg;
	if (!real)
		real = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == KVM_GET_API_VERSION && version)
		return atoi(version);
	if (request == KVM_CHECK_EXTENSION && hide && (long)arg == atoi(hide))
		return 0;
	return real(fd, request, arg);
}
"""

EXIT = b"\xba\x01\x05\xb0\x10\xee\xf4"


def with_shim(tmp, args, **env):
    need_kvm()
    shim = os.path.join(tmp, "shim.so")
    if not os.path.exists(shim):
        open(f"{tmp}/shim.c", "w").write(SHIM)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, f"{tmp}/shim.c", "-ldl"], check=True)
    return run(*args, env=dict(os.environ, LD_PRELOAD=shim, **env))


def numbers():
    text = open("/usr/include/linux/kvm.h").read()
    return {m.group(1): int(m.group(2)) for m in re.finditer(r"#define (KVM_CAP_\w+)\s+(\d+)", text)}


def table(need):
    text = open(os.path.join(SRC, "accel/kvm/caps.c")).read()
    return [m.group(1) for m in re.finditer(r"CAP\(\w+, (KVM_CAP_\w+), " + need, text)]


@test
def required_capabilities_are_refused_by_name(tmp):
    args = ["-accel", "kvm", "-display", "none", "-bios", bios(tmp, EXIT), "-device", "isa-debug-exit"]
    names = table("REQUIRED")
    assert len(names) >= 10
    for name in names:
        status, out, err = with_shim(tmp, args, HIDE_CAP=str(numbers()[name]))
        assert status == 1 and name in err, (name, status, err)


@test
def without_kvm_the_translator_takes_over(tmp):
    args = ["-accel", "kvm:tcg", "-display", "none", "-bios", bios(tmp, EXIT), "-device", "isa-debug-exit"]
    status, out, err = with_shim(tmp, args, KVM_VERSION="11")
    assert status == 0x10 << 1 | 1 and "API version 11" in err and "using 'tcg'" in err, (status, err)
    status, out, err = with_shim(tmp, args)
    assert status == 0x10 << 1 | 1 and "tcg" not in err, (status, err)


@test
def the_engine_is_chosen_by_the_processor(tmp):
    flags = open("/proc/cpuinfo").read()
    carried = re.search(r"\b(vmx|svm)\b", flags) and os.access("/dev/kvm", os.W_OK)
    status, out, err = run("-display", "none", "-bios", bios(tmp, EXIT), "-device", "isa-debug-exit")
    assert status == 0x10 << 1 | 1 and f"engine {'kvm' if carried else 'tcg'}:" in err, (status, err)


@test
def every_model_starts_under_the_translator(tmp):
    status, listing, err = run("-cpu", "help")
    models = [line.split()[0] for line in re.match(r"Models:\n(.*?)Features", listing, re.S).group(1).splitlines()]
    assert {"qemu64", "EPYC", "Skylake-Client-noTSX-IBRS", "max"} <= set(models), models
    for model in models:
        status, out, err = run("-accel", "tcg", "-cpu", f"{model},check", "-display", "none", "-bios", bios(tmp, EXIT), "-device",
                               "isa-debug-exit")
        if model == "host":
            continue
        assert status == 0x21, (model, status, err)
        # What a model has and the translator lacks is the host's to give.
        assert all(re.search(r"warning: this host cannot give CPU feature", x) for x in err.splitlines()), err
    status, out, err = run("-accel", "tcg", "-cpu", "max,+monitor,enforce", "-display", "none", "-bios", bios(tmp, EXIT),
                           "-device", "isa-debug-exit")
    assert status == 0x21, err


@test
def optional_capabilities_are_done_without(tmp):
    args = ["-accel", "kvm", "-display", "none", "-bios", bios(tmp, EXIT), "-device", "isa-debug-exit"]
    # What a default machine cannot be without is refused with another setting's name.
    refused = {"KVM_CAP_PIT2", "KVM_CAP_PIT_STATE2", "KVM_CAP_IRQ_ROUTING", "KVM_CAP_SIGNAL_MSI"}
    for name in table("OPTIONAL"):
        status, out, err = with_shim(tmp, args, HIDE_CAP=str(numbers()[name]))
        if name in refused:
            assert status == 1 and "kernel-irqchip=off" in err, (name, status, err)
            status, out, err = with_shim(tmp, args + ["-machine", "kernel-irqchip=off"], HIDE_CAP=str(numbers()[name]))
        assert status == 0x21, (name, status, err)


@test
def another_api_version_is_refused(tmp):
    status, out, err = with_shim(tmp, ["-accel", "kvm"], KVM_VERSION="11")
    assert status == 1 and "version 11" in err and "needs 12" in err, err


@test
def lost_tick_policy_is_refused_where_the_kernel_cannot(tmp):
    args = ["-accel", "kvm", "-display", "none", "-bios", bios(tmp, EXIT), "-device", "isa-debug-exit", "-global",
            "isa-pit.lost_tick_policy=discard"]
    status, out, err = with_shim(tmp, args)
    assert status == 0x21, err
    status, out, err = with_shim(tmp, args, HIDE_CAP=str(numbers()["KVM_CAP_REINJECT_CONTROL"]))
    assert status == 1 and "lost_tick_policy=discard" in err, err


main()
