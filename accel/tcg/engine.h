/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The translator, for the registry of engines. */
#pragma once

#include "accel/accel.h"

extern const struct accel_ops accel_tcg;
