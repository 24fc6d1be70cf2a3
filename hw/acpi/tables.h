/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables for the PC, handed to firmware through fw_cfg with the table-loader script that links
 * them. Source: ACPI specification 6.4, chapter 5; the loader's commands as SeaBIOS and OVMF run
 * them.
 */
#pragma once

#include "hw/acpi/piix4_pm.h"
#include "hw/firmware/fw_cfg.h"

struct acpi_config {
	unsigned cpus;
	uint32_t apic_ids[256];
	bool hpet, i8042;
	bool floppies; /* there are drives; may be set until firmware or a kernel runs */
	uint8_t com_ports;		 /* bit n: COMn+1 */
	uint64_t pci32_start, pci32_end; /* inclusive; the windows for PCI */
	uint64_t pci64_start, pci64_end; /* end 0: none */
	struct piix4_pm *pm;
	struct fw_cfg *fw_cfg;
};

/*
 * Adds the three files. The config must live as long as fw_cfg: tables are made anew when they are
 * read.
 */
void acpi_add_tables(struct acpi_config *c);
/*
 * The tables linked in place at `base` with the RSDP in front, for boots without firmware and for
 * tests.
 */
void acpi_link(const struct acpi_config *c, uint64_t base, GByteArray *out);
