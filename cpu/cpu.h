/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vCPU that every engine runs. An architecture's struct (struct x86_cpu) begins with struct
 * vcpu, which begins with struct device, so a vCPU is saved, reset and listed like any other
 * device.
 *
 * Ownership of the registers: while `valid` lacks a group, the engine holds the truth of it.
 * vcpu_sync fetches, vcpu_modified says that the fields are newer; the engine takes them before the
 * next run.
 *
 * Threads: the fields belong to the vCPU's own thread while it runs guest code, and to the machine
 * lock's holder while it is paused or inside vcpu_run_on. `events` and `kick` are for any thread.
 */
#pragma once

#include <pthread.h>

#include "core/device.h"

struct accel;

/* Groups of registers that an engine moves together. */
enum {
	VS_REGS = BIT(0),   /* general registers, pc, flags */
	VS_SREGS = BIT(1),  /* segments, control registers, EFER, APIC base */
	VS_FPU = BIT(2),    /* x87, SSE, AVX, XCR0 */
	VS_DEBUG = BIT(3),  /* debug registers */
	VS_MSRS = BIT(4),   /* model-specific registers, TSC among them */
	VS_EVENTS = BIT(5), /* pending exception, interrupt, NMI, shadow, SIPI */
	VS_MP = BIT(6),	    /* running, halted, waiting for SIPI */
	VS_ALL = BIT(7) - 1,
	/* With a put: replaces also what changes behind a running VM's back (pending NMI, TSC). */
	VS_FULL = BIT(7),
};

/* Bits of vcpu.events; set from any thread, taken by the vCPU. */
enum {
	EV_INTR = BIT(0), /* the interrupt controller has a vector */
	EV_NMI = BIT(1),
	EV_SMI = BIT(2),
	EV_INIT = BIT(3),
	EV_SIPI = BIT(4),
};

struct vcpu_work;

/* What a debugger wants of a vCPU; all off gives the guest its own debug registers back. */
struct vcpu_debug {
	bool step;		   /* one instruction, and no interrupts meanwhile */
	bool software_breakpoints; /* INT3 exits instead of reaching the guest */
	bool hardware;		   /* dr[] and dr7 below are in force */
	uint64_t dr[4], dr7;
};

/* Why a vCPU stopped for a debugger: the exception it would have been, and DR6 with it. */
struct vcpu_debug_exit {
	unsigned vector; /* 1 or 3 */
	uint64_t dr6;	 /* bits 3 to 0: debug registers that hit; bit 14: step */
};

/* What a userspace interrupt controller offers its vCPU. All with the machine lock held. */
struct vcpu_intc {
	/* Acknowledges the highest pending vector; -1 when there is none. */
	int (*ack)(void *opaque);
	uint8_t (*get_tpr)(void *opaque);
	void (*set_tpr)(void *opaque, uint8_t cr8);
	uint64_t (*get_base)(void *opaque);
	void (*set_base)(void *opaque, uint64_t base);
	/* The local APIC's MSRs: base, TSC deadline, x2APIC. False: #GP. */
	bool (*msr_read)(void *opaque, uint32_t msr, uint64_t *value);
	bool (*msr_write)(void *opaque, uint32_t msr, uint64_t value);
	/*
	 * KVM's paravirtual EOI: where in guest memory the guest finds whether an interrupt's end
	 * need not be written to the APIC; 0: nowhere.
	 */
	void (*pv_eoi)(void *opaque, uint64_t address);
	void *opaque;
};

struct vcpu {
	struct device dev;
	unsigned index;
	struct accel *accel;
	void *engine; /* the engine's own data */
	const struct vcpu_intc *intc;

	unsigned valid; /* VS_ groups that the fields hold */
	unsigned dirty; /* VS_ groups to put before the next run */

	uint32_t events;     /* EV_ bits, atomic */
	uint8_t sipi_vector; /* of the EV_SIPI that is posted */
	uint32_t wakes;	     /* the EV_ bits that end `halted`; own thread only */

	/* Thread control; guarded by `mutex`. */
	pthread_t thread;
	int tid; /* the host's thread id, for people */
	pthread_mutex_t mutex;
	pthread_cond_t cond;	  /* wakes the vCPU's thread */
	pthread_cond_t done_cond; /* wakes those who wait for it */
	struct vcpu_work *work;
	unsigned pause_wanted, quit; /* pause_wanted counts */
	bool started, paused, failed;
	bool held;			   /* counts once in pause_wanted */
	bool ending;			   /* the engine's data is going: no more kicks */
	struct vcpu_debug_exit debug_exit; /* of the last EXIT_DEBUG; own thread, or stopped */
	bool halted;			   /* sleeps until an event; userspace irqchip only */
	uint64_t exits;			   /* atomic; for `info exits` */
	char *start_error;
};

/* Architecture: text of all registers, and code bytes at pc, for dumps and `info registers`. */
void vcpu_print(struct vcpu *v, GString *out);
