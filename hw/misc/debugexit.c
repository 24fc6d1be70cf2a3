/* SPDX-License-Identifier: GPL-2.0-or-later */
/* isa-debug-exit: a write of n ends the emulator with status (n << 1) | 1. For test kernels. */
#include "core/device.h"

struct debugexit {
	struct device dev;
	uint16_t iobase;
	uint32_t iosize;
};

#define D struct debugexit

static uint64_t debugexit_read(void *dev, uint64_t off, unsigned size)
{
	(void)dev;
	(void)off;
	(void)size;
	return 0;
}

static void debugexit_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	(void)off;
	(void)size;
	machine_exit(as_device(dev)->machine, (int)(value << 1 & 0xff) | 1);
}

static bool debugexit_realize(void *dev, GError **err)
{
	struct debugexit *d = dev;

	(void)err;
	d->dev.regions[0].size = d->iosize;
	device_map(dev, 0, d->iobase);
	return true;
}

DEVICE(debugexit,
	.name = "isa-debug-exit",
	.desc = "ends the emulator with a status",
	.bus = "ISA",
	.props = FIELDS(F(iobase, .init = 0x501), F(iosize, .init = 2, .min = 1, .max = 8, .help = "ports")),
	.windows = WINDOWS({ "debug-exit", WIN_PIO, 8, 1, 4, debugexit_read, debugexit_write }),
	.realize = debugexit_realize);
