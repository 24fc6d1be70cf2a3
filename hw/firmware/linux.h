/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Booting a Linux kernel without firmware. Source: the Linux x86 boot protocol (2.00 to 2.15). */
#pragma once

#include "hw/acpi/piix4_pm.h"
#include "hw/acpi/tables.h"

struct linux_config {
	const char *kernel, *initrd, *append; /* initrd and append may be NULL */
	uint64_t ram_below_4g, ram_above_4g;
	const struct acpi_config *acpi; /* NULL: no tables */
	struct piix4_pm *pm;
	struct vcpu *bsp;
};

/*
 * Reads the files now, so that errors come at start; every reset puts them into RAM and the BSP at the
 * kernel's entry. The config is copied.
 */
bool linux_boot_new(struct machine *m, const struct linux_config *c, GError **err);
