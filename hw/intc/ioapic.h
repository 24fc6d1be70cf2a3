/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 82093AA I/O APIC. */
#pragma once

#include "accel/accel.h"
#include "core/device.h"

#define IOAPIC_DEFAULT_BASE 0xfec00000

struct ioapic {
	struct device dev;
	struct chip_ioapic s;
	uint8_t version; /* 0x11, or 0x20 with an EOI register */

	bool in_kernel;
};

struct ioapic *ioapic_new(struct machine *m, GError **err);
/* Input pin 0 to 23. */
void ioapic_set(struct ioapic *d, int n, int level);
/* A local APIC's EOI of a level-triggered vector. */
void ioapic_eoi(void *ioapic, int vector);
