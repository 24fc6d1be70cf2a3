/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GDB's remote serial protocol (gdb manual, appendix E) over a chardev: threads are vCPUs,
 * all-stop. Runs on the main thread with the machine lock held, but for what an engine calls on a
 * vCPU's.
 */
#pragma once

#include "chardev/chardev.h"
#include "cpu/x86/cpu.h"

/* Serves gdb on this chardev, once in a process. The machine stops when somebody connects. */
bool gdb_new(struct machine *m, struct chardev *chr, GError **err);
void gdb_free(void);

/* x86.c: registers in the order of the target description. */
extern const char gdb_target_xml[];
unsigned gdb_register_count(void);
/* Bytes of register n, 0 beyond the last; its value in `out`, up to 16 bytes. */
unsigned gdb_register_get(struct x86_cpu *cpu, unsigned n, uint8_t *out);
/* Takes what `gdb_register_get` gave; false beyond the last. */
bool gdb_register_put(struct x86_cpu *cpu, unsigned n, const uint8_t *in);
