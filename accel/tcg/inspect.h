/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at the translator (inspect.c). */
#pragma once

#include <glib.h>
#include <stdio.h>

#include "accel/tcg/tcg.h"
#include "core/log.h"

extern FILE *tcg_perf_map; /* NULL if there is none */
/* Whether somebody wants to see each block. */
static inline bool tcg_inspecting(void)
{
	return log_enabled(IN_ASM) || log_enabled(OP) || log_enabled(OUT_ASM) || tcg_perf_map;
}
void tcg_log_block(const struct block *b, const uint8_t *bytes, const struct insn *insns,
		   unsigned n);
bool tcg_perf_map_open(GError **err);
void tcg_perf_map_add(const struct block *b);
void tcg_perf_map_close(void);
void tcg_print_stats(const struct tcg_stats *s, GString *out);
