/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port 80h: firmware's progress codes, and the delay that old drivers make by writing to it. Reads
 * give the last code, as diagnostic cards do.
 */
#include "core/device.h"
#include "core/log.h"
#include "hw/misc/misc.h"

struct port80 {
	struct device dev;
	uint8_t code;
};

#define D struct port80

static uint64_t port80_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ((struct port80 *)dev)->code;
}

static void port80_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct port80 *d = dev;

	(void)off;
	(void)size;
	if (d->code != (uint8_t)value)
		TRACE(port80, "0x%02x", (unsigned)(value & 0xff));
	d->code = (uint8_t)value;
}

static bool port80_realize(void *dev, GError **err)
{
	(void)err;
	/* Above the DMA controller's page registers, one of which it is. */
	as_device(dev)->regions[0].coalesce = true;
	device_map_priority(dev, 0, 0x80, 1);
	return true;
}

static void port80_reset(void *dev)
{
	((struct port80 *)dev)->code = 0;
}

DEVICE(port80,
	.name = "port80",
	.desc = "progress code port",
	.bus = "ISA",
	.board_only = true,
	.windows = WINDOWS({ "port80", WIN_PIO, 1, 1, 1, port80_read, port80_write }),
	.state = FIELDS(F(code)),
	.realize = port80_realize,
	.reset = port80_reset);

bool port80_new(struct machine *m, struct bus *isa, GError **err)
{
	return device_realize(device_new(m, &device_port80, NULL), isa, err);
}
