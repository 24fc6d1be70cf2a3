/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PIIX4's power management function: ACPI PM1, PM timer, GPE0, APM ports. */
#pragma once

#include "hw/pci/pci.h"

#define GPE0_BASE 0xafe0
#define APM_CONTROL_PORT 0xb2
#define ACPI_ENABLE_COMMAND 0xf1
#define ACPI_DISABLE_COMMAND 0xf0

struct piix4_pm {
	struct pci_device pci;
	uint16_t pm1_status, pm1_enable, pm1_control;
	uint16_t gpe_status, gpe_enable;
	uint8_t apm_control, apm_status;
	int64_t tmr_overflow; /* PM timer tick whose bit-23 change sets TMR_STS next */
	struct timer tmr_timer;

	uint16_t mapped_base; /* 0: off */
	struct irq sci, smi;
};

/* Without an `smi` wire firmware is told that nothing need be done for it. */
struct piix4_pm *piix4_pm_new(struct machine *m, struct pci_bus *bus, struct irq sci,
			      struct irq smi, GError **err);
/* The front panel's button; a struct machine powerdown callback. */
void piix4_pm_power_button(void *pm);
/* The base that firmware chose, 0 before it did: what the FADT must say. */
uint16_t piix4_pm_base(const struct piix4_pm *d);
/* What firmware does: puts the PM ports at `base`. */
void piix4_pm_enable(struct piix4_pm *d, uint16_t base);
