/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small board devices that need nothing but their bus. */
#pragma once

#include "core/device.h"

/* The A20 gate; *a20 becomes its input: high lets address line 20 through. */
bool a20_new(struct machine *m, struct irq *a20, GError **err);
bool port80_new(struct machine *m, struct bus *isa, GError **err);
/* Port 92h: `a20` follows bit 1. */
bool port92_new(struct machine *m, struct bus *isa, struct irq a20, GError **err);
