# SPDX-License-Identifier: GPL-2.0-or-later
"""OVMF from flash. A KVM without hardware virtualisation cannot run its FNINIT and reports an internal error;
then the VM must be stopped in internal-error with its monitor alive, as the engine promises."""
import os
import shutil
import time

from moa import *

CODE, VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"


@test
def ovmf_runs_as_far_as_the_host_can(tmp):
    need_kvm()
    need(CODE)
    vars_copy = shutil.copy(VARS, os.path.join(tmp, "vars.fd"))
    log, serial = os.path.join(tmp, "log"), os.path.join(tmp, "serial")
    with Vm(tmp, "-accel", "kvm", "-m", "256", "-display", "none", "-debugcon", f"file:{log}", "-serial",
            f"file:{serial}", "-drive", f"if=pflash,format=raw,readonly=on,file={CODE}", "-drive",
            f"if=pflash,format=raw,file={vars_copy}") as vm:
        def outcome():
            status = vm.qmp("query-status")["status"]
            if status == "internal-error":
                return status
            return "shell" if b"Shell>" in open(serial, "rb").read() else None
        result = wait_for(outcome, "OVMF's shell or an internal error")
        if result == "internal-error":
            # At 32-bit code of the security phase, fetched from flash: FWAIT, then FNINIT.
            assert "KVM internal error" in vm.output(), vm.output()
            assert "RIP=00000000fff" in vm.output() and "<9b> db e3" in vm.output(), vm.output()
            assert "internal-error" in vm.qmp.hmp("info status")
            reply = vm.qmp.raw('{"execute": "cont"}')
            assert "system_reset" in reply["error"]["desc"], reply
            vm.qmp("system_reset")
            vm.qmp.wait_event("RESET")
            assert vm.qmp("query-status")["status"] == "paused"
            raise Skip("this host's KVM cannot execute FNINIT outside paging: OVMF stops in its security phase")


@test
def ovmf_reaches_its_shell_under_the_translator(tmp):
    need(CODE)
    vars_copy = shutil.copy(VARS, os.path.join(tmp, "vars.fd"))
    serial = os.path.join(tmp, "serial")
    # With a card it would try the network for minutes first.
    with Vm(tmp, "-accel", "tcg", "-m", "256", "-display", "none", "-nic", "none", "-serial", f"file:{serial}", "-drive",
            f"if=pflash,format=raw,readonly=on,file={CODE}", "-drive", f"if=pflash,format=raw,file={vars_copy}"):
        wait_for(lambda: b"Shell>" in open(serial, "rb").read(), "OVMF's shell")


main()
