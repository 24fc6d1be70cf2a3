/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PIIX3 PCI-to-ISA bridge: PIRQ routing, the ISA bus, the reset control register. */
#pragma once

#include "hw/isa/isa.h"
#include "hw/pci/pci.h"

struct piix3 {
	struct pci_device pci;
	uint8_t pirq_level; /* one bit per PIRQ line */
	uint8_t reset_control;

	struct isa_bus isa;
	struct irq pirq_out[ISA_IRQS];
	uint16_t isa_level_from_pirq; /* ISA lines that PIRQs hold up */
};

struct piix3 *piix3_new(struct machine *m, struct pci_bus *bus, GError **err);
