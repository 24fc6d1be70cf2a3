/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The paravirtual clock's machine-wide value: what kvmclock adds to each vCPU's TSC. The engine
 * holds it while the VM runs; here it is saved and loaded, so that the guest's clock goes on where
 * it stopped.
 */
#include "accel/accel.h"
#include "hw/timer/timers.h"

struct kvmclock {
	struct device dev;
	uint64_t ns;
};

#define D struct kvmclock

static void kvmclock_saving(void *dev)
{
	struct kvmclock *d = dev;
	struct accel *a = machine_accel(d->dev.machine);

	if (a && a->ops->clock_get)
		a->ops->clock_get(a, &d->ns);
}

static bool kvmclock_loaded(void *dev, GError **err)
{
	struct kvmclock *d = dev;
	struct accel *a = machine_accel(d->dev.machine);

	if (d->ns > INT64_MAX)
		return error(err, "saved state: '%s': the clock is past its end", d->dev.path);
	if (a && a->ops->clock_set)
		a->ops->clock_set(a, d->ns);
	return true;
}

DEVICE(kvmclock,
	.name = "kvmclock",
	.desc = "paravirtual clock",
	.board_only = true,
	.state = FIELDS(F(ns)),
	.saving = kvmclock_saving,
	.loaded = kvmclock_loaded);

bool kvmclock_new(struct machine *m, GError **err)
{
	return device_realize(device_new(m, &device_kvmclock, NULL), NULL, err);
}
