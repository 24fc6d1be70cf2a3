/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug console: a port whose writes go to a chardev. Firmware looks for it by reading back E9h,
 * the port of the original (Bochs); SeaBIOS and OVMF write to 402h.
 */
#include "chardev/chardev.h"
#include "core/device.h"

struct debugcon {
	struct device dev;
	uint16_t iobase;
	uint8_t readback;
	char *chardev;
	struct chr_front front;
};

#define D struct debugcon

static uint64_t debugcon_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ((struct debugcon *)dev)->readback;
}

static void debugcon_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	uint8_t c = (uint8_t)value;

	(void)off;
	(void)size;
	chr_write(&((struct debugcon *)dev)->front, &c, 1);
}

static bool debugcon_realize(void *dev, GError **err)
{
	struct debugcon *d = dev;
	struct chardev *chr = d->chardev ? chr_find(d->chardev) : NULL;

	if (!chr)
		return error(err, "%s: %s; give chardev=ID", device_name(d),
			     d->chardev ? "there is no such chardev"
					: "needs a chardev to write to");
	d->front.opaque = d;
	if (!chr_attach(chr, &d->front, err))
		return false;
	device_map(dev, 0, d->iobase);
	return true;
}

static void debugcon_unrealize(void *dev)
{
	chr_detach(&((struct debugcon *)dev)->front);
}

DEVICE(debugcon,
	.name = "isa-debugcon",
	.desc = "debug console port",
	.bus = "ISA",
	.props = FIELDS(F(iobase, .init = 0xe9, .help = "port; firmware logs to 0x402"),
			F(readback, .init = 0xe9, .help = "what reading the port gives"),
			F(chardev, .help = "id of the chardev")),
	.windows = WINDOWS({ "debugcon", WIN_PIO, 1, 1, 1, debugcon_read, debugcon_write }),
	.host = HOST(front),
	.realize = debugcon_realize,
	.unrealize = debugcon_unrealize);
