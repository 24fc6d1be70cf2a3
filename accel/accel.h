/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an engine must do, and what the rest of moa may ask of it. KVM (accel/kvm) and the
 * translator implement struct accel_ops; devices see this file only.
 *
 * An engine runs vCPUs, one host thread each. The thread's life is in accel/vcpu.c and is the same
 * for every engine: take work, put state, run, handle the exit. An engine's `run` returns when it
 * was kicked or has something for the caller.
 *
 * Threads: `vcpu_*` operations are called on that vCPU's thread. The others are called with the
 * machine lock held, except set_gsi and send_msi, which any thread may call.
 */
#pragma once

#include "accel/chips.h"
#include "cpu/cpu.h"

struct x86_host_cpuid;

enum irqchip_mode { IRQCHIP_KERNEL, IRQCHIP_SPLIT, IRQCHIP_USER };

enum vcpu_exit {
	EXIT_AGAIN,    /* kicked, or an exit that the engine handled: go round */
	EXIT_HALT,     /* the vCPU sleeps until an event */
	EXIT_RESET,    /* triple fault or the like */
	EXIT_SHUTDOWN, /* the guest asked the engine for a power-off */
	EXIT_DEBUG,    /* a breakpoint or step of a debugger's */
	EXIT_ERROR,    /* the engine cannot go on; it has printed why */
};

struct accel_config {
	enum irqchip_mode irqchip;
	bool irqchip_given;
	bool no_pit;	  /* the board has none */
	uint64_t tb_size; /* bytes of the translator's code buffer; 0: its default */
	bool perf_map;	  /* the translator names its code for perf */
	bool reference;	  /* the translator's reference mode */
	/* -icount: the VM clock goes by instructions, 2^count_shift ns each. */
	bool count;
	unsigned count_shift;
	const char *digest; /* a file for digests of the registers of a counted run; may be NULL */
	unsigned max_vcpus;
};

/* A message-signalled interrupt. */
struct msi_message {
	uint64_t address;
	uint32_t data;
};

struct accel_ops {
	const char *name, *desc;
	const char *default_cpu; /* -cpu where none is named */
	bool translates;	 /* guest code: instructions can be counted */
	bool smm;		 /* vCPUs have system management mode */
	/* Opens the host's facility; an error says what a user can do about it. */
	bool (*init)(struct accel *a, GError **err);
	void (*destroy)(struct accel *a);

	/* What this engine can give of CPUID; owned by the engine. */
	const struct x86_host_cpuid *(*host_cpuid)(struct accel *a);

	bool (*vcpu_create)(struct vcpu *v, GError **err);
	void (*vcpu_destroy)(struct vcpu *v);
	enum vcpu_exit (*vcpu_run)(struct vcpu *v);
	/* Makes vcpu_run return soon, or not begin; any thread. */
	void (*vcpu_kick)(struct vcpu *v);
	/* VS_ groups to and from the vCPU's fields. */
	void (*vcpu_get)(struct vcpu *v, unsigned groups);
	void (*vcpu_put)(struct vcpu *v, unsigned groups);
	/* Completes an I/O instruction whose result the engine has not taken yet; before any get.
	 */
	void (*vcpu_finish_io)(struct vcpu *v);
	bool (*vcpu_nmi)(struct vcpu *v);
	/* False when the engine cannot; EXIT_DEBUG tells of hits. */
	bool (*vcpu_debug)(struct vcpu *v, const struct vcpu_debug *d);
	/* The VM starts (no vCPU runs yet) or has stopped. */
	void (*run_changed)(struct accel *a, bool running);
	/*
	 * The vCPU's time-stamp counter now, and its rate; for the TSC deadline of a userspace
	 * local APIC. On the vCPU's thread, or while the VM is stopped. NULL: the VM clock is it.
	 */
	uint64_t (*tsc)(struct vcpu *v, uint64_t *khz);
	/*
	 * Forgets how the guest page at this host address is mapped; test kernels ask for it, to
	 * see the next access go the long way. NULL: nothing is kept.
	 */
	void (*flush_page)(struct accel *a, void *host);
	/* Called on every vCPU after a stop, before the next run: tells a paravirtual clock. */
	void (*vcpu_resumed)(struct vcpu *v);

	/* In-kernel interrupt controllers; NULL where there are none. */
	void (*set_gsi)(struct accel *a, unsigned gsi, int level);
	bool (*send_msi)(struct accel *a, const struct msi_message *msg);
	bool (*chip_get)(struct accel *a, enum chip_kind kind, unsigned index, void *state);
	bool (*chip_put)(struct accel *a, enum chip_kind kind, unsigned index, const void *state);
	/* Whether the in-kernel PIT makes up for ticks that the guest was too slow for. */
	bool (*pit_reinject)(struct accel *a, bool on);
	/* The split irqchip's IOAPIC tells which messages its pins send, to learn of their EOIs. */
	void (*ioapic_routes)(struct accel *a, const struct msi_message *msgs, unsigned n);
	/* irqfd: a write to `fd` raises `msg`; returns a handle, -1 if the engine cannot. */
	int (*msi_route_add)(struct accel *a, const struct msi_message *msg, int fd);
	void (*msi_route_set)(struct accel *a, int handle, const struct msi_message *msg);
	void (*msi_route_del)(struct accel *a, int handle, int fd);
	/* ioeventfd: a write of `size` bytes at addr signals fd instead of reaching the handler. */
	bool (*ioeventfd)(struct accel *a, bool pio, uint64_t addr, unsigned size, bool match,
			  uint64_t value, int fd, bool add);

	/* The guest's paravirtual clock in ns; NULL where the VM clock is all there is. */
	bool (*clock_get)(struct accel *a, uint64_t *ns);
	bool (*clock_set)(struct accel *a, uint64_t ns);
	void (*print)(struct accel *a, GString *out);
	/* The translator's counters; NULL where nothing is translated. */
	void (*print_jit)(struct accel *a, GString *out);
	void (*print_exits)(struct accel *a, GString *out);
};

struct accel {
	const struct accel_ops *ops;
	struct machine *machine;
	struct accel_config config;
	void *engine;
	GPtrArray *vcpus; /* struct vcpu * by index */
	struct machine_listener listener;
	/* Called for the split irqchip's EOI exits. */
	void (*eoi)(void *opaque, int vector);
	void *eoi_opaque;
	/*
	 * What a debugger wants to be told: v->debug_exit has why. On the vCPU's thread; the vCPU
	 * stays where it is until the machine has been stopped and started.
	 */
	void (*debug_stop)(void *opaque, struct vcpu *v);
	/* Whether the INT3 at this linear address is the debugger's; else the guest gets its #BP.
	 */
	bool (*debug_owns)(void *opaque, struct vcpu *v, uint64_t linear);
	void *debug_opaque;
};

/* All engines in this build, NULL-terminated. */
extern const struct accel_ops *const accel_registry[];

/*
 * Tries the engines named "kvm:tcg" in order. The first that works is the machine's; if none does,
 * *err tells why each did not. NULL names: KVM if this processor carries it (VMX or SVM), else the
 * translator, and a line that says which and why.
 */
struct accel *accel_new(struct machine *m, const char *names, const struct accel_config *config,
			GError **err);
void accel_free(struct accel *a);
static inline struct accel *machine_accel(const struct machine *m)
{
	return m->accel;
}
/* Whether PIC, IOAPIC and PIT (kernel), or the local APICs (kernel and split) live in the engine.
 */
static inline bool accel_kernel_pic(const struct accel *a)
{
	return a && a->ops->chip_get && a->config.irqchip == IRQCHIP_KERNEL;
}
static inline bool accel_kernel_lapic(const struct accel *a)
{
	return a && a->ops->chip_get && a->config.irqchip != IRQCHIP_USER;
}

/* vCPU threads. Starting waits until the engine has made the vCPU. */
bool vcpu_start(struct vcpu *v, GError **err);
void vcpus_stop_threads(struct accel *a);
/* Stop all at a boundary where their state can be read, and wait for it; counted. Lock held. */
void vcpus_pause(struct machine *m);
void vcpus_resume(struct machine *m);
/* Runs fn on the vCPU's thread and waits. The machine lock is released while waiting. */
void vcpu_run_on(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg);
void vcpu_kick(struct vcpu *v);
/* Sets EV_ bits and wakes the vCPU; any thread. */
void vcpu_post(struct vcpu *v, uint32_t events);
/* Makes the fields of the groups current; the vCPU must be paused or this its thread. */
void vcpu_sync(struct vcpu *v, unsigned groups);
/*
 * Keeps a vCPU from running when the machine starts, or lets it again. The machine is stopped, or
 * (to let go) the vCPU held.
 */
void vcpu_hold(struct vcpu *v, bool hold);
/* The fields of the groups were changed. vcpu_sync first. */
void vcpu_modified(struct vcpu *v, unsigned groups);
bool vcpu_inject_nmi(struct vcpu *v);
/* The vCPU whose thread this is, or NULL. Tests that play a vCPU set it. */
struct vcpu *vcpu_current(void);
void vcpu_set_current(struct vcpu *v);
