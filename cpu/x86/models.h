/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models: what -cpu names, and the CPUID a vCPU gets from it. */
#pragma once

#include "cpu/x86/features.h"

/* What an engine on this host can give: CPUID leaves as KVM_GET_SUPPORTED_CPUID has them. */
struct x86_host_cpuid {
	unsigned n;
	const struct x86_cpuid *leaves;
	bool paravirtual; /* KVM's leaves may be offered */
	/* Bits of leaf 1's ECX that are there for who asks with +NAME; no model has them. */
	uint32_t on_request;
};

/* -smp */
struct x86_topology {
	unsigned cpus, sockets, cores, threads, max_cpus;
};

struct x86_cpu_config {
	const struct x86_model *model;
	GPtrArray *plus, *minus; /* const struct x86_feature * */
	bool enforce, check, kvm, hypervisor;
	uint64_t tsc_khz;
	char *model_id, *vendor;
	int64_t family, model_nr, stepping; /* -1: the model's */
};

/* Parses "-cpu MODEL,+f,-f,f=on,enforce,...". */
bool x86_cpu_config_parse(struct x86_cpu_config *c, const char *text, GError **err);
void x86_cpu_config_clear(struct x86_cpu_config *c);
char *x86_models_help(void);

/* The APIC id of vCPU `index`: thread, core and socket fields of power-of-two width. */
uint32_t x86_apic_id(const struct x86_topology *t, unsigned index);
/*
 * Fills cpu->cpuid. Bits the host lacks are dropped with a warning each on vCPU 0, or with
 * `enforce` refused.
 */
bool x86_cpuid_build(struct x86_cpu *cpu, const struct x86_cpu_config *c,
		     const struct x86_topology *t, const struct x86_host_cpuid *host, GError **err);
