/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the bare CPU is no oracle: extensions that it lacks, and what AMD's processors do otherwise
 * than Intel's, whom the translator follows. Sources: AMD64 Architecture Programmer's Manual,
 * volume 3; what a Zen 3 was seen to do.
 */
#pragma once

#include "accel/tcg/frontend/x86/insn.h"

bool host_is_amd(void);
/* Whether the CPU lacks the extension (FEAT_). */
bool host_lacks(unsigned feature);
/* Whether AMD's processors do this instruction otherwise. */
bool amd_differs(const struct insn *in, unsigned code_size);
/* Whether the bytes begin with something that AMD's processors alone have. */
bool amd_has(const uint8_t *bytes);
