/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port 92h, system control port A of the PS/2: fast A20 and fast reset. Source: IBM PS/2 technical
 * reference; 82371SB data sheet 2.5.2. The gate is in a20.c.
 */
#include "hw/misc/misc.h"

#define FAST_RESET BIT(0)
#define FAST_A20 BIT(1)

struct port92 {
	struct device dev;
	uint8_t value;
	struct irq a20;
};

#define D struct port92

static uint64_t port92_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ((struct port92 *)dev)->value;
}

static void port92_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct port92 *d = dev;
	uint8_t old = d->value;

	(void)off;
	(void)size;
	d->value = (uint8_t)value;
	irq_set(&d->a20, (d->value & FAST_A20) != 0);
	/* Only a rising bit 0 resets. */
	if (value & FAST_RESET && !(old & FAST_RESET))
		machine_request(d->dev.machine, REQ_RESET);
}

static bool port92_realize(void *dev, GError **err)
{
	(void)err;
	device_map(dev, 0, 0x92);
	return true;
}

static void port92_reset(void *dev)
{
	((struct port92 *)dev)->value = FAST_A20;
}

static void port92_reset_lines(void *dev)
{
	irq_raise(&((struct port92 *)dev)->a20);
}

DEVICE(port92,
	.name = "port92",
	.desc = "fast A20 and reset",
	.bus = "ISA",
	.board_only = true,
	.windows = WINDOWS({ "port92", WIN_PIO, 1, 1, 1, port92_read, port92_write }),
	.state = FIELDS(F(value)),
	.host = HOST(a20),
	.realize = port92_realize,
	.reset = port92_reset,
	.reset_lines = port92_reset_lines);

bool port92_new(struct machine *m, struct bus *isa, struct irq a20, GError **err)
{
	struct port92 *d = device_new(m, &device_port92, NULL);

	irq_connect(&d->a20, a20);
	return device_realize(d, isa, err);
}
