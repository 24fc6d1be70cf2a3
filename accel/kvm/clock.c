/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmclock: read when the VM stops, set again before it runs, so that the guest's clock stands
 * still while the VM does and never goes back.
 */
#include <string.h>
#include <sys/ioctl.h>

#include "accel/kvm/kvm.h"

bool kvm_clock_get(struct accel *a, uint64_t *ns)
{
	struct kvm *k = kvm_of(a);
	struct kvm_clock_data d;

	if (k->clock_valid) {
		*ns = k->clock_ns;
		return true;
	}
	memset(&d, 0, sizeof(d));
	if (ioctl(k->vm, KVM_GET_CLOCK, &d) < 0)
		return false;
	*ns = d.clock;
	return true;
}

bool kvm_clock_set(struct accel *a, uint64_t ns)
{
	struct kvm *k = kvm_of(a);

	k->clock_ns = ns;
	k->clock_valid = true;
	return true;
}

void kvm_clock_run(struct kvm *k, bool running)
{
	struct kvm_clock_data d;

	memset(&d, 0, sizeof(d));
	if (!running) {
		if (ioctl(k->vm, KVM_GET_CLOCK, &d) == 0) {
			k->clock_ns = d.clock;
			k->clock_valid = true;
		}
		return;
	}
	if (!k->clock_valid)
		return;
	d.clock = k->clock_ns;
	ioctl(k->vm, KVM_SET_CLOCK, &d);
	k->clock_valid = false;
}
