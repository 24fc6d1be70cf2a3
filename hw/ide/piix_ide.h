/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hw/ide/ide_bus.h"
#include "hw/pci/pci.h"

#define IDE_CHANNELS 2

#define PIIX3_IDETIM 0x40 /* timing, 16 bits for each channel */
#define PIIX3_IDETIM_ENABLE BIT(15)

struct piix_ide {
	struct pci_device pci;
	struct ata_channel channels[IDE_CHANNELS];
	/* Bus master registers. */
	uint8_t bm_command[IDE_CHANNELS], bm_status[IDE_CHANNELS];
	uint32_t bm_table[IDE_CHANNELS];
	struct region bus_master;
	struct ide_bus buses[IDE_CHANNELS];
	struct dma_list dma[IDE_CHANNELS]; /* where a transfer is going on */
};

/* irqs: ISA lines 14 and 15. */
struct piix_ide *piix_ide_new(struct machine *m, struct pci_bus *bus, const struct irq *irqs,
			      GError **err);
/* Index 0 to 3: master and slave of the two channels. */
bool piix_ide_attach(struct piix_ide *ide, unsigned index, struct drive *drive, GError **err);
