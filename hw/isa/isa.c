/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/isa/isa.h"

#include <string.h>

void isa_bus_init(struct isa_bus *b, struct machine *m, struct device *owner)
{
	b->bus = (struct bus) { .type = "ISA", .name = g_strdup("isa.0"), .owner = owner };
	g_ptr_array_add(m->buses, &b->bus);
}

void isa_bus_destroy(struct isa_bus *b, struct machine *m)
{
	g_ptr_array_remove(m->buses, &b->bus);
	g_free(b->bus.name);
}

struct irq isa_irq(void *dev, unsigned n)
{
	struct bus *b = as_device(dev)->bus;
	struct isa_bus *isa;

	assert(n < MACHINE_GSIS);
	if (!b || strcmp(b->type, "ISA"))
		return (struct irq) { 0 };
	isa = container_of(b, struct isa_bus, bus);
	return isa->new_wire ? isa->new_wire(isa->wires, n) : (struct irq) { 0 };
}
