/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS 2.8 tables for fw_cfg. Source: DSP0134. */
#pragma once

#include "core/machine.h"
#include "hw/firmware/fw_cfg.h"

struct smbios_config {
	const char *product; /* "Standard PC (i440FX + PIIX, 1996)" */
	const char *version;
	const char *cpu_name;
	uint64_t ram_size, ram_below_4g;
	unsigned sockets, cores, threads;
	uint32_t cpu_signature, cpu_features;
};

void smbios_add(struct fw_cfg *f, struct machine *m, const struct smbios_config *c);
