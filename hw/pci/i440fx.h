/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 82441FX host bridge (PMC): configuration mechanism 1, PAM and SMRAM. */
#pragma once

#include "hw/pci/pci.h"

#define PAM_REGIONS 13

struct i440fx {
	struct pci_device pci;
	uint32_t config_address;

	struct pci_bus bus;
	struct region *ram; /* the board's RAM region, whose offset is the guest address */
	/* One alias per PAM segment: RAM over what the PCI bus shows there. */
	struct region pam[PAM_REGIONS];
	struct region pam_rom[PAM_REGIONS]; /* RAM for reads, writes go to the bus: dropped */
	struct region smram;
};

struct i440fx *i440fx_new(struct machine *m, struct region *ram, GError **err);
