/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this kernel's KVM can do, as one table: required capabilities are refused by name when
 * missing.
 */
#include <sys/ioctl.h>

#include "accel/kvm/kvm.h"

enum need { OPTIONAL, REQUIRED };

/* clang-format off */
static const struct {
	const char *name;
	int id;
	enum need need;
	const char *without; /* what moa does when an optional one is missing */
} table[KVM_CAPS] = {
#define CAP(index, kvm_name, need, without) [CAP_##index] = { #kvm_name, kvm_name, need, without }
	CAP(USER_MEMORY, KVM_CAP_USER_MEMORY, REQUIRED, NULL),
	CAP(SYNC_MMU, KVM_CAP_SYNC_MMU, REQUIRED, NULL),
	CAP(DESTROY_SLOT, KVM_CAP_DESTROY_MEMORY_REGION_WORKS, REQUIRED, NULL),
	CAP(SET_TSS_ADDR, KVM_CAP_SET_TSS_ADDR, REQUIRED, NULL),
	CAP(IDENTITY_MAP, KVM_CAP_SET_IDENTITY_MAP_ADDR, REQUIRED, NULL),
	CAP(EXT_CPUID, KVM_CAP_EXT_CPUID, REQUIRED, NULL),
	CAP(MP_STATE, KVM_CAP_MP_STATE, REQUIRED, NULL),
	CAP(VCPU_EVENTS, KVM_CAP_VCPU_EVENTS, REQUIRED, NULL),
	CAP(DEBUGREGS, KVM_CAP_DEBUGREGS, REQUIRED, NULL),
	CAP(IMMEDIATE_EXIT, KVM_CAP_IMMEDIATE_EXIT, REQUIRED, NULL),
	CAP(ADJUST_CLOCK, KVM_CAP_ADJUST_CLOCK, REQUIRED, NULL),
	CAP(XSAVE, KVM_CAP_XSAVE, OPTIONAL, "FPU state by KVM_GET_FPU, no AVX"),
	CAP(XCRS, KVM_CAP_XCRS, OPTIONAL, "XCR0 is not moved"),
	CAP(IRQCHIP, KVM_CAP_IRQCHIP, OPTIONAL, "kernel-irqchip=off"),
	CAP(PIT2, KVM_CAP_PIT2, OPTIONAL, "kernel-irqchip=off"),
	CAP(PIT_STATE2, KVM_CAP_PIT_STATE2, OPTIONAL, "kernel-irqchip=off"),
	CAP(IRQ_ROUTING, KVM_CAP_IRQ_ROUTING, OPTIONAL, "kernel-irqchip=off"),
	CAP(SIGNAL_MSI, KVM_CAP_SIGNAL_MSI, OPTIONAL, "kernel-irqchip=off"),
	CAP(SPLIT_IRQCHIP, KVM_CAP_SPLIT_IRQCHIP, OPTIONAL, "no kernel-irqchip=split"),
	CAP(IRQFD, KVM_CAP_IRQFD, OPTIONAL, "device threads interrupt by message"),
	CAP(IOEVENTFD, KVM_CAP_IOEVENTFD, OPTIONAL, "doorbells exit to the handler"),
	CAP(READONLY_MEM, KVM_CAP_READONLY_MEM, OPTIONAL, "the guest may write its ROM; flash is not kept"),
	CAP(COALESCED_MMIO, KVM_CAP_COALESCED_MMIO, OPTIONAL, "every MMIO write exits"),
	CAP(COALESCED_PIO, KVM_CAP_COALESCED_PIO, OPTIONAL, "every port write exits"),
	CAP(MCE, KVM_CAP_MCE, OPTIONAL, "no machine-check banks"),
	CAP(TSC_CONTROL, KVM_CAP_TSC_CONTROL, OPTIONAL, "the guest's TSC runs at the host's rate"),
	CAP(GET_TSC_KHZ, KVM_CAP_GET_TSC_KHZ, OPTIONAL, "the TSC rate is not saved"),
	CAP(TSC_DEADLINE, KVM_CAP_TSC_DEADLINE_TIMER, OPTIONAL, "no TSC-deadline timer"),
	CAP(KVMCLOCK_CTRL, KVM_CAP_KVMCLOCK_CTRL, OPTIONAL, "the guest is not told of a pause"),
	CAP(SET_GUEST_DEBUG, KVM_CAP_SET_GUEST_DEBUG, OPTIONAL, "no debugger"),
	CAP(USER_NMI, KVM_CAP_USER_NMI, OPTIONAL, "no NMI from the monitor"),
	CAP(REINJECT, KVM_CAP_REINJECT_CONTROL, OPTIONAL, "lost PIT ticks are always made up for"),
	CAP(IRQ_INJECT_STATUS, KVM_CAP_IRQ_INJECT_STATUS, OPTIONAL, "lost ticks are not counted"),
	CAP(X86_SMM, KVM_CAP_X86_SMM, OPTIONAL, "no system management mode"),
	CAP(X2APIC_API, KVM_CAP_X2APIC_API, OPTIONAL, "APIC ids below 256"),
	CAP(EXCEPTION_PAYLOAD, KVM_CAP_EXCEPTION_PAYLOAD, OPTIONAL, "pending exceptions without payload"),
	CAP(TRIPLE_FAULT_EVENT, KVM_CAP_X86_TRIPLE_FAULT_EVENT, OPTIONAL, "pending triple faults are not saved"),
	CAP(NR_VCPUS, KVM_CAP_NR_VCPUS, OPTIONAL, "4"),
	CAP(MAX_VCPUS, KVM_CAP_MAX_VCPUS, OPTIONAL, "the recommended number"),
	CAP(MAX_VCPU_ID, KVM_CAP_MAX_VCPU_ID, OPTIONAL, "the highest number of vCPUs"),
	CAP(NR_MEMSLOTS, KVM_CAP_NR_MEMSLOTS, OPTIONAL, "32"),
#undef CAP
};
/* clang-format on */

bool kvm_check_caps(struct kvm *k, GError **err)
{
	for (int i = 0; i < KVM_CAPS; i++) {
		int r = ioctl(k->fd, KVM_CHECK_EXTENSION, table[i].id);

		k->caps[i] = MAX_OF(r, 0);
		if (!k->caps[i] && table[i].need == REQUIRED)
			return error(
				err,
				"kvm: this kernel lacks %s, which moa needs: use a newer kernel",
				table[i].name);
	}
	if (!k->caps[CAP_NR_VCPUS])
		k->caps[CAP_NR_VCPUS] = 4;
	if (!k->caps[CAP_MAX_VCPUS])
		k->caps[CAP_MAX_VCPUS] = k->caps[CAP_NR_VCPUS];
	if (!k->caps[CAP_MAX_VCPU_ID])
		k->caps[CAP_MAX_VCPU_ID] = k->caps[CAP_MAX_VCPUS];
	if (!k->caps[CAP_NR_MEMSLOTS])
		k->caps[CAP_NR_MEMSLOTS] = 32;
	return true;
}

void kvm_print_caps(struct kvm *k, GString *out)
{
	for (int i = 0; i < KVM_CAPS; i++) {
		g_string_append_printf(out, "  %-40s %d", table[i].name, k->caps[i]);
		if (!k->caps[i] && table[i].without)
			g_string_append_printf(out, "  (%s)", table[i].without);
		g_string_append_c(out, '\n');
	}
}
