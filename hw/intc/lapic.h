/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local APIC: xAPIC and x2APIC, timer with TSC deadline, inter-processor interrupts. */
#pragma once

#include "accel/accel.h"
#include "core/device.h"
#include "hw/intc/i8259.h"

#define LAPIC_BASE UINT64_C(0xfee00000)
#define MOST_LAPICS 256

/* What all local APICs of a machine share: the bus that their messages travel on. */
struct apic_bus {
	struct lapic *lapics[MOST_LAPICS];
	unsigned n;
	struct i8259_pair *pics; /* ExtINT comes from here */
	void (*eoi)(void *opaque, int vector);
	void *eoi_opaque;
};

struct lapic {
	struct device dev;
	uint32_t initial_id;
	uint32_t tsc_khz; /* rate of the TSC that the deadline is compared with */

	struct chip_lapic s;
	uint64_t base; /* IA32_APIC_BASE */
	uint64_t tsc_deadline;
	uint8_t lint; /* levels of LINT0 and LINT1 */
	bool wait_for_sipi;
	uint8_t esr_pending; /* errors since the last write of ESR */

	struct timer timer; /* derived from the count and the deadline */
	struct vcpu *vcpu;
	struct vcpu_intc intc;
	struct apic_bus *bus;
	bool in_kernel;
	uint64_t pv_eoi_address; /* what the vCPU's MSR holds; 0: none */
	bool pv_eoi_offered;	 /* the guest was told; what it did is not looked at yet */
};

/* Makes vCPU v's APIC and hands it to the vCPU. */
struct lapic *lapic_new(struct machine *m, struct apic_bus *bus, struct vcpu *v, uint32_t id,
			GError **err);
/* LINT0 (the PIC) or LINT1 (NMI) changes. */
void lapic_set_lint(struct lapic *d, unsigned pin, int level);
/* RDMSR and WRMSR of the x2APIC range and the deadline; false means #GP. */
bool lapic_msr_read(struct lapic *d, uint32_t msr, uint64_t *value);
bool lapic_msr_write(struct lapic *d, uint32_t msr, uint64_t value);
/* IA32_APIC_BASE; false means #GP. */
bool lapic_set_base(struct lapic *d, uint64_t base);
/* The vector to deliver now, or -1; acknowledging moves it to ISR. */
int lapic_ack(struct lapic *d);
bool lapic_has_interrupt(struct lapic *d);
