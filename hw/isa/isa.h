/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ISA bus: sixteen interrupt lines, of which a device takes some by number. */
#pragma once

#include "core/device.h"

#define ISA_IRQS 16

struct isa_bus {
	struct bus bus;
	/* Makes a new source's wire into line n. */
	struct irq (*new_wire)(void *opaque, unsigned n);
	void *wires;
};

void isa_bus_init(struct isa_bus *b, struct machine *m, struct device *owner);
void isa_bus_destroy(struct isa_bus *b, struct machine *m);
/*
 * A wire of its own into line n of the bus that dev is on. Lines from ISA_IRQS on are the board's
 * other interrupt lines, for test devices.
 */
struct irq isa_irq(void *dev, unsigned n);
