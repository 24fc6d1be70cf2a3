/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions as text, for people: the monitor's x /i, -d in_asm. capstone does it. */
#pragma once

#include <glib.h>
#include <stdint.h>

#include "core/compiler.h"

struct disassembler;

/* Bytes of an address in this code: 2, 4 or 8. NULL: there is no capstone. */
struct disassembler *disassembler_new(unsigned code_size, GError **err);
void disassembler_free(struct disassembler *d);

/*
 * Appends a line for the instruction at `bytes`, of which there are `n` (one at least), and which
 * lies at guest address `at`. Returns its length; what is none is a .byte.
 */
size_t disassemble(struct disassembler *d, const uint8_t *bytes, size_t n, uint64_t at,
		   GString *out);
