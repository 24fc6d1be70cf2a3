/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The timing devices that a board makes and needs nothing else of. */
#pragma once

#include "core/device.h"

bool kvmclock_new(struct machine *m, GError **err);
