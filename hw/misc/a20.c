/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The A20 gate: while it is closed, the second MiB shows the first, as on a PC/AT whose address
 * line 20 is held low. The other odd MiBs are left alone: only programs that were written for 1 MiB
 * of address space close the gate, and they reach no further than FFFF:FFFF. The gate has two
 * drivers, the keyboard controller and port 92h, and obeys the one that moved last.
 */
#include "core/machine.h"
#include "hw/misc/misc.h"

#define MIB (UINT64_C(1) << 20)
/* Over everything that a board maps. */
#define ABOVE_ALL 1000

struct a20 {
	struct device dev;
	bool closed;
	struct region wrap;
};

#define D struct a20

static void apply(struct a20 *d)
{
	region_set_enabled(&d->wrap, d->closed);
}

static void set_a20(void *dev, int n, int level)
{
	struct a20 *d = dev;

	(void)n;
	if (d->closed == !level)
		return;
	d->closed = !level;
	apply(d);
}

static bool a20_realize(void *dev, GError **err)
{
	struct a20 *d = dev;
	struct region *memory = &d->dev.machine->mem.root;

	(void)err;
	region_init_alias(&d->wrap, "a20-wrap", memory, 0, MIB);
	d->wrap.enabled = false;
	region_add(memory, MIB, ABOVE_ALL, &d->wrap);
	return true;
}

static void a20_unrealize(void *dev)
{
	region_remove(&((struct a20 *)dev)->wrap);
}

static void a20_reset(void *dev)
{
	set_a20(dev, 0, 1);
}

static bool a20_loaded(void *dev, GError **err)
{
	(void)err;
	apply(dev);
	return true;
}

DEVICE(a20,
	.name = "a20-gate",
	.desc = "A20 gate",
	.board_only = true,
	.state = FIELDS(F(closed)),
	.host = HOST(wrap),
	.realize = a20_realize,
	.unrealize = a20_unrealize,
	.reset = a20_reset,
	.loaded = a20_loaded);

bool a20_new(struct machine *m, struct irq *a20, GError **err)
{
	struct device *d = device_new(m, &device_a20, NULL);

	*a20 = (struct irq) { set_a20, d, 0 };
	return device_realize(d, NULL, err);
}
