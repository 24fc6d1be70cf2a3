/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic: a guest kernel that crashes says so by writing to this port. Source: the device's
 * specification (bit 0: panicked, bit 1: a crash kernel was loaded, bit 2: orderly shutdown).
 */
#include "core/device.h"

#define PANICKED BIT(0)
#define CRASH_LOADED BIT(1)
#define SHUTDOWN BIT(2)

struct pvpanic {
	struct device dev;
	uint16_t ioport;
	uint8_t events;
};

#define D struct pvpanic

static uint64_t pvpanic_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ((struct pvpanic *)dev)->events;
}

static void pvpanic_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct pvpanic *d = dev;
	struct machine *m = d->dev.machine;

	(void)off;
	(void)size;
	value &= d->events;
	if (value & PANICKED) {
		machine_event(m, "GUEST_PANICKED", "{\"action\": \"pause\"}");
		m->cause = CAUSE_GUEST_PANIC;
		machine_request(m, REQ_PANIC);
	} else if (value & CRASH_LOADED) {
		machine_event(m, "GUEST_CRASHLOADED", "{\"action\": \"run\"}");
	} else if (value & SHUTDOWN) {
		m->cause = CAUSE_GUEST_SHUTDOWN;
		machine_request(m, REQ_SHUTDOWN);
	}
}

static bool pvpanic_realize(void *dev, GError **err)
{
	(void)err;
	device_map(dev, 0, ((struct pvpanic *)dev)->ioport);
	return true;
}

DEVICE(pvpanic,
	.name = "pvpanic",
	.desc = "reports a guest's crash",
	.bus = "ISA",
	.props = FIELDS(F(ioport, .init = 0x505),
			F(events, .init = PANICKED | CRASH_LOADED, .max = 7, .help = "what the guest may report")),
	.windows = WINDOWS({ "pvpanic", WIN_PIO, 1, 1, 1, pvpanic_read, pvpanic_write }),
	.realize = pvpanic_realize);
