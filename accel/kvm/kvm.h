/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The KVM engine, for its own files only; everyone else sees accel/accel.h. Source: the Linux
 * kernel's KVM API document and linux/kvm.h.
 *
 * Threads: VM ioctls with the machine lock held, except KVM_IRQ_LINE and KVM_SIGNAL_MSI (any
 * thread); vCPU ioctls on that vCPU's thread.
 */
#pragma once

#include <linux/kvm.h>

#include "accel/accel.h"
#include "cpu/x86/cpu.h"
#include "cpu/x86/models.h"

extern const struct accel_ops accel_kvm;

/* Indices of the capability table in caps.c. */
enum kvm_capability {
	CAP_USER_MEMORY,
	CAP_SYNC_MMU,
	CAP_SET_TSS_ADDR,
	CAP_IDENTITY_MAP,
	CAP_EXT_CPUID,
	CAP_MP_STATE,
	CAP_VCPU_EVENTS,
	CAP_DEBUGREGS,
	CAP_XSAVE,
	CAP_XCRS,
	CAP_IMMEDIATE_EXIT,
	CAP_ADJUST_CLOCK,
	CAP_DESTROY_SLOT,
	CAP_IRQCHIP,
	CAP_PIT2,
	CAP_PIT_STATE2,
	CAP_IRQ_ROUTING,
	CAP_IRQFD,
	CAP_IOEVENTFD,
	CAP_SIGNAL_MSI,
	CAP_SPLIT_IRQCHIP,
	CAP_READONLY_MEM,
	CAP_COALESCED_MMIO,
	CAP_COALESCED_PIO,
	CAP_MCE,
	CAP_TSC_CONTROL,
	CAP_GET_TSC_KHZ,
	CAP_TSC_DEADLINE,
	CAP_KVMCLOCK_CTRL,
	CAP_SET_GUEST_DEBUG,
	CAP_USER_NMI,
	CAP_REINJECT,
	CAP_IRQ_INJECT_STATUS,
	CAP_X86_SMM,
	CAP_X2APIC_API,
	CAP_EXCEPTION_PAYLOAD,
	CAP_TRIPLE_FAULT_EVENT,
	CAP_NR_VCPUS,
	CAP_MAX_VCPUS,
	CAP_MAX_VCPU_ID,
	CAP_NR_MEMSLOTS,
	KVM_CAPS
};

/* Counted exits by reason; the last slot is for reasons we do not know. */
#define KVM_EXIT_REASONS 40

struct kvm_slot {
	uint32_t id;
	uint64_t start, size;
	struct ram_block *ram;
	uint64_t ram_off;
	bool read_only, logging;
	const char *name; /* the region's, for overlap errors */
};

struct kvm {
	struct accel *accel;
	int fd, vm;
	int caps[KVM_CAPS];
	int run_size;

	struct space_listener mem_listener, port_listener;
	GArray *slots;	     /* struct kvm_slot */
	uint64_t *slot_used; /* bitmap of ids */
	GArray *coalesced;   /* struct kvm_coalesced_mmio_zone */
	struct kvm_coalesced_mmio_ring *ring;

	/* The whole GSI table, resent at every change. */
	pthread_mutex_t route_lock;
	GArray *routes; /* struct kvm_irq_routing_entry */
	uint64_t gsi_used[64];

	uint64_t clock_ns; /* kvmclock while stopped */
	bool clock_valid;
	uint32_t *msr_list; /* count first */
	struct x86_host_cpuid supported;
	uint64_t exits[KVM_EXIT_REASONS];
};

struct kvm_vcpu {
	struct kvm *kvm;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	bool io_pending;	 /* the last exit completes on re-entry */
	struct vcpu_debug debug; /* what a debugger wants */
};

static inline struct kvm *kvm_of(const struct accel *a)
{
	return a->engine;
}

static inline struct kvm_vcpu *kvm_vcpu_of(const struct vcpu *v)
{
	return v->engine;
}

/* caps.c: fills kvm->caps; refuses by name what is required and missing. */
bool kvm_check_caps(struct kvm *k, GError **err);
void kvm_print_caps(struct kvm *k, GString *out);

/* kvm.c */
/* An ioctl that must not fail: on failure reports name and errno and asserts. */
#define kvm_must(fd, request, arg) kvm_must_named((fd), (request), #request, (uintptr_t)(arg))
int kvm_must_named(int fd, unsigned long request, const char *name, uintptr_t arg);

/* slots.c */
void kvm_slots_init(struct kvm *k);
void kvm_slots_destroy(struct kvm *k);
void kvm_flush_coalesced(struct kvm *k);

/* chips.c */
bool kvm_chips_init(struct kvm *k, GError **err);
void kvm_set_gsi(struct accel *a, unsigned gsi, int level);
bool kvm_send_msi(struct accel *a, const struct msi_message *msg);
bool kvm_chip_get(struct accel *a, enum chip_kind kind, unsigned index, void *state);
bool kvm_chip_put(struct accel *a, enum chip_kind kind, unsigned index, const void *state);
bool kvm_pit_reinject(struct accel *a, bool on);
void kvm_ioapic_routes(struct accel *a, const struct msi_message *msgs, unsigned n);
int kvm_msi_route_add(struct accel *a, const struct msi_message *msg, int fd);
void kvm_msi_route_set(struct accel *a, int handle, const struct msi_message *msg);
void kvm_msi_route_del(struct accel *a, int handle, int fd);
bool kvm_ioeventfd(struct accel *a, bool pio, uint64_t addr, unsigned size, bool match,
		   uint64_t value, int fd, bool add);

/* clock.c */
bool kvm_clock_get(struct accel *a, uint64_t *ns);
bool kvm_clock_set(struct accel *a, uint64_t ns);
void kvm_clock_run(struct kvm *k, bool running);

/* state_x86.c */
bool kvm_init_cpuid(struct x86_cpu *cpu, GError **err);
bool kvm_init_mce(struct x86_cpu *cpu, GError **err);
const struct x86_host_cpuid *kvm_host_cpuid(struct accel *a);
bool kvm_read_lists(struct kvm *k, GError **err);
void kvm_vcpu_get(struct vcpu *v, unsigned groups);
void kvm_vcpu_put(struct vcpu *v, unsigned groups);
/* After the local APIC was loaded. */
void kvm_put_tsc_deadline(struct vcpu *v);

/* vcpu.c */
bool kvm_vcpu_create(struct vcpu *v, GError **err);
void kvm_vcpu_destroy(struct vcpu *v);
enum vcpu_exit kvm_vcpu_run(struct vcpu *v);
void kvm_vcpu_kick(struct vcpu *v);
void kvm_vcpu_finish_io(struct vcpu *v);
bool kvm_vcpu_nmi(struct vcpu *v);
bool kvm_vcpu_debug(struct vcpu *v, const struct vcpu_debug *d);
void kvm_vcpu_resumed(struct vcpu *v);
void kvm_print_exits(struct accel *a, GString *out);
