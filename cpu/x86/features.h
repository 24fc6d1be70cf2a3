/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID feature bits by name: one table for every engine. Names are QEMU's. Source: SDM 2, CPUID.
 */
#pragma once

#include "cpu/x86/cpu.h"

enum cpuid_reg { REG_EAX, REG_EBX, REG_ECX, REG_EDX };

struct x86_feature {
	const char *name;
	uint32_t leaf, subleaf;
	enum cpuid_reg reg;
	unsigned bit;
};

extern const struct x86_feature x86_features[]; /* ended by a NULL name */

/* By name; '_' and '-' are alike. NULL when there is none. */
const struct x86_feature *x86_feature_find(const char *name);
uint32_t *x86_cpuid_reg(struct x86_cpuid *c, enum cpuid_reg reg);
/* Names of the features in a word, for messages: "avx avx2". Bits without a name as "bit 17". */
char *x86_feature_names(uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg, uint32_t bits);
