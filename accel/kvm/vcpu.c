/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A KVM vCPU: making it, the exit loop, kicks, and interrupts for a userspace irqchip.
 *
 * Kicks: `immediate_exit` in the run page makes the next KVM_RUN return at once, a signal (SIGUSR1
 * with an empty handler) makes a running one return. Setting the flag first and then sending the
 * signal leaves no gap. The thread clears the flag before it looks at the control fields, never
 * after.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel/kvm/kvm.h"
#include "core/log.h"

#define SIG_KICK SIGUSR1

static void ignore_signal(int sig)
{
	(void)sig;
}

static void install_kick_handler(void)
{
	struct sigaction sa = { .sa_handler = ignore_signal };

	sigaction(SIG_KICK, &sa, NULL);
}

static bool set_tsc_rate(struct x86_cpu *cpu, struct kvm_vcpu *kv, GError **err)
{
	int now;

	if (!cpu->want_tsc_khz)
		return true;
	if (kv->kvm->caps[CAP_TSC_CONTROL]) {
		if (ioctl(kv->fd, KVM_SET_TSC_KHZ, cpu->want_tsc_khz) == 0)
			return true;
		return error(err, "-cpu: tsc-frequency: the host refuses %" PRIu64 " kHz: %s",
			     cpu->want_tsc_khz, strerror(errno));
	}
	now = kv->kvm->caps[CAP_GET_TSC_KHZ] ? ioctl(kv->fd, KVM_GET_TSC_KHZ, 0) : 0;
	if (now > 0 && (uint64_t)now == cpu->want_tsc_khz)
		return true;
	return error(err,
		     "-cpu: tsc-frequency: this host cannot scale the TSC; it runs at %d000 Hz and "
		     "no other",
		     now);
}

bool kvm_vcpu_create(struct vcpu *v, GError **err)
{
	struct x86_cpu *cpu = (struct x86_cpu *)v;
	struct kvm *k = kvm_of(v->accel);
	struct kvm_vcpu *kv = g_new0(struct kvm_vcpu, 1);

	install_kick_handler();
	kv->kvm = k;
	kv->run_size = (size_t)k->run_size;
	kv->fd = ioctl(k->vm, KVM_CREATE_VCPU, cpu->apic_id);
	if (kv->fd < 0) {
		g_free(kv);
		return error(err, "kvm: the host cannot make vCPU %u: %s", v->index,
			     strerror(errno));
	}
	kv->run = mmap(NULL, kv->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, kv->fd, 0);
	if (kv->run == MAP_FAILED) {
		close(kv->fd);
		g_free(kv);
		return error(err, "kvm: vCPU %u: cannot map its run page: %s", v->index,
			     strerror(errno));
	}
	v->engine = kv;
	if (!kvm_init_cpuid(cpu, err) || !set_tsc_rate(cpu, kv, err) || !kvm_init_mce(cpu, err)) {
		kvm_vcpu_destroy(v);
		return false;
	}
	if (!k->ring && k->caps[CAP_COALESCED_MMIO])
		k->ring = (void *)((char *)kv->run + k->caps[CAP_COALESCED_MMIO] * 4096);
	/* The kernel's list of MSRs gets its slots now, so that a reset zeroes every one. */
	kvm_vcpu_get(v, VS_MSRS);
	return true;
}

void kvm_vcpu_destroy(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(v);

	v->engine = NULL;
	if (kv->kvm->ring && (char *)kv->kvm->ring >= (char *)kv->run &&
	    (char *)kv->kvm->ring < (char *)kv->run + kv->run_size)
		kv->kvm->ring = NULL;
	munmap(kv->run, kv->run_size);
	close(kv->fd);
	g_free(kv);
}

void kvm_vcpu_kick(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(v);

	__atomic_store_n(&kv->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(v->thread, SIG_KICK);
}

static void dump_failure(struct vcpu *v, const char *what)
{
	g_autoptr(GString) s = g_string_new(NULL);

	v->valid = 0;
	kvm_vcpu_get(v, VS_ALL);
	v->valid = VS_ALL;
	v->dev.info->print(v, s);
	fprintf(stderr, "moa: kvm: vCPU %u: %s\n%s", v->index, what, s->str);
}

static void handle_io(struct kvm_vcpu *kv)
{
	struct kvm_run *run = kv->run;
	struct space *ports = &kv->kvm->accel->machine->ports;
	uint8_t *p = (uint8_t *)run + run->io.data_offset;

	/* REP INS and OUTS come as one exit with a count. */
	for (uint32_t i = 0; i < run->io.count; i++, p += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			space_write(ports, run->io.port, p, run->io.size);
		else
			space_read(ports, run->io.port, p, run->io.size);
	}
	kv->io_pending = true;
}

static void handle_mmio(struct kvm_vcpu *kv)
{
	struct kvm_run *run = kv->run;
	struct space *mem = &kv->kvm->accel->machine->mem;

	if (run->mmio.is_write)
		space_write(mem, run->mmio.phys_addr, run->mmio.data, MIN_OF(run->mmio.len, 8u));
	else
		space_read(mem, run->mmio.phys_addr, run->mmio.data, MIN_OF(run->mmio.len, 8u));
	kv->io_pending = true;
}

static enum vcpu_exit handle_system_event(struct kvm_vcpu *kv)
{
	switch (kv->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return EXIT_SHUTDOWN;
	case KVM_SYSTEM_EVENT_RESET:
		return EXIT_RESET;
	default:
		machine_request(kv->kvm->accel->machine, REQ_PANIC);
		return EXIT_AGAIN;
	}
}

static enum vcpu_exit internal_error(struct vcpu *v)
{
	struct kvm_run *run = kvm_vcpu_of(v)->run;
	g_autofree char *text =
		g_strdup_printf("KVM internal error, suberror %u", run->internal.suberror);
	g_autoptr(GString) data = g_string_new(text);

	for (uint32_t i = 0; i < MIN_OF(run->internal.ndata, 16u); i++)
		g_string_append_printf(data, " 0x%llx", (unsigned long long)run->internal.data[i]);
	dump_failure(v, data->str);
	return EXIT_ERROR;
}

static enum vcpu_exit unknown_exit(struct vcpu *v)
{
	struct kvm_run *run = kvm_vcpu_of(v)->run;
	g_autofree char *text = NULL;

	switch (run->exit_reason) {
	case KVM_EXIT_UNKNOWN:
		text = g_strdup_printf("unknown hardware exit reason 0x%llx",
				       (unsigned long long)run->hw.hardware_exit_reason);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		text = g_strdup_printf(
			"the hardware refused to enter the guest, reason 0x%llx",
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		text = g_strdup_printf("exit reason %u, which moa does not know", run->exit_reason);
		break;
	}
	dump_failure(v, text);
	return EXIT_ERROR;
}

static bool set_debug(struct kvm_vcpu *kv, uint32_t inject)
{
	const struct vcpu_debug *d = &kv->debug;
	struct kvm_guest_debug g;

	memset(&g, 0, sizeof(g));
	if (d->step || d->software_breakpoints || d->hardware)
		g.control = KVM_GUESTDBG_ENABLE | (d->step ? KVM_GUESTDBG_SINGLESTEP : 0) |
			    (d->software_breakpoints ? KVM_GUESTDBG_USE_SW_BP : 0) |
			    (d->hardware ? KVM_GUESTDBG_USE_HW_BP : 0) | inject;
	memcpy(g.arch.debugreg, d->dr, sizeof(d->dr));
	g.arch.debugreg[7] = d->dr7;
	return ioctl(kv->fd, KVM_SET_GUEST_DEBUG, &g) == 0;
}

bool kvm_vcpu_debug(struct vcpu *v, const struct vcpu_debug *d)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(v);

	if (!kv->kvm->caps[CAP_SET_GUEST_DEBUG])
		return false;
	kv->debug = *d;
	return set_debug(kv, 0);
}

/* An INT3 that is the guest's own goes back to it. */
static enum vcpu_exit handle_debug(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(v);
	const struct kvm_debug_exit_arch *e = &kv->run->debug.arch;
	struct accel *a = v->accel;
	bool owned;

	v->debug_exit = (struct vcpu_debug_exit) { e->exception, e->dr6 };
	if (e->exception != 3)
		return EXIT_DEBUG;
	machine_lock();
	owned = !a->debug_owns || a->debug_owns(a->debug_opaque, v, e->pc);
	machine_unlock();
	if (owned)
		return EXIT_DEBUG;
	set_debug(kv, KVM_GUESTDBG_INJECT_BP);
	return EXIT_AGAIN;
}

static enum vcpu_exit handle_exit(struct vcpu *v, struct kvm_vcpu *kv)
{
	switch (kv->run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(kv);
		return EXIT_AGAIN;
	case KVM_EXIT_MMIO:
		handle_mmio(kv);
		return EXIT_AGAIN;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_INTR:
	case KVM_EXIT_SET_TPR:
	case KVM_EXIT_NMI:
		return EXIT_AGAIN;
	case KVM_EXIT_HLT:
		return EXIT_HALT;
	case KVM_EXIT_SHUTDOWN:
		return EXIT_RESET;
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(kv);
	case KVM_EXIT_IOAPIC_EOI:
		machine_lock();
		if (v->accel->eoi)
			v->accel->eoi(v->accel->eoi_opaque, kv->run->eoi.vector);
		machine_unlock();
		return EXIT_AGAIN;
	case KVM_EXIT_DEBUG:
		return handle_debug(v);
	case KVM_EXIT_INTERNAL_ERROR:
		return internal_error(v);
	default:
		return unknown_exit(v);
	}
}

/* Starts an application processor as its SIPI says (SDM 3, 10.4.4); userspace local APIC only. */
static void take_sipi(struct x86_cpu *cpu)
{
	vcpu_sync(&cpu->vcpu, VS_ALL);
	cpu->seg[SEG_CS].selector = (uint16_t)(cpu->vcpu.sipi_vector << 8);
	cpu->seg[SEG_CS].base = (uint64_t)cpu->vcpu.sipi_vector << 12;
	cpu->rip = 0;
	cpu->mp_state = MP_RUNNABLE;
	cpu->vcpu.halted = false;
	cpu->vcpu.dirty |= VS_ALL;
}

/*
 * What a userspace interrupt controller posted: returns false when the vCPU goes on sleeping.
 * Fields that change are put before the run.
 */
static bool take_events(struct vcpu *v, struct kvm_vcpu *kv)
{
	struct x86_cpu *cpu = (struct x86_cpu *)v;
	uint32_t ev = __atomic_load_n(&v->events, __ATOMIC_ACQUIRE);

	if (ev & EV_INIT) {
		__atomic_fetch_and(&v->events, ~(uint32_t)EV_INIT, __ATOMIC_ACQ_REL);
		vcpu_sync(v, VS_ALL);
		x86_cpu_init(cpu);
	}
	ev = __atomic_load_n(&v->events, __ATOMIC_ACQUIRE);
	if (ev & EV_SIPI) {
		__atomic_fetch_and(&v->events, ~(uint32_t)EV_SIPI, __ATOMIC_ACQ_REL);
		if (cpu->mp_state == MP_INIT_RECEIVED || cpu->mp_state == MP_UNINITIALIZED)
			take_sipi(cpu);
	}
	if (cpu->mp_state == MP_INIT_RECEIVED || cpu->mp_state == MP_UNINITIALIZED)
		return false;
	if (v->dirty) {
		kvm_vcpu_put(v, v->dirty);
		v->dirty = v->valid = 0;
	}
	if (ev & EV_NMI) {
		__atomic_fetch_and(&v->events, ~(uint32_t)EV_NMI, __ATOMIC_ACQ_REL);
		ioctl(kv->fd, KVM_NMI, 0);
		v->halted = false;
	}
	if (ev & EV_SMI)
		__atomic_fetch_and(&v->events, ~(uint32_t)EV_SMI, __ATOMIC_ACQ_REL);
	return true;
}

/* Injects one vector, or asks for an exit as soon as the guest can take one. */
static void inject_interrupt(struct vcpu *v, struct kvm_vcpu *kv)
{
	struct kvm_run *run = kv->run;

	run->request_interrupt_window = 0;
	if (!v->intc || !(__atomic_load_n(&v->events, __ATOMIC_ACQUIRE) & EV_INTR))
		return;
	v->halted = false;
	if (run->ready_for_interrupt_injection && run->if_flag) {
		struct kvm_interrupt in;
		int vector;

		machine_lock();
		vector = v->intc->ack(v->intc->opaque);
		machine_unlock();
		if (vector >= 0) {
			in.irq = (uint32_t)vector;
			ioctl(kv->fd, KVM_INTERRUPT, &in);
			log_printf(INT, "vCPU %u: vector 0x%02x", v->index, vector);
		}
	}
	if (__atomic_load_n(&v->events, __ATOMIC_ACQUIRE) & EV_INTR)
		run->request_interrupt_window = 1;
}

/*
 * Without the kernel's local APIC a halted vCPU sleeps in our loop. What can wake it: always NMI,
 * INIT and SIPI; an interrupt only if it was let in when the vCPU halted.
 */
static bool stays_halted(struct vcpu *v, struct kvm_vcpu *kv)
{
	v->wakes = EV_NMI | EV_INIT | EV_SIPI | EV_SMI | (kv->run->if_flag ? EV_INTR : 0);
	return v->halted && !(__atomic_load_n(&v->events, __ATOMIC_ACQUIRE) & v->wakes);
}

static void before_user_irqchip(struct vcpu *v, struct kvm_vcpu *kv)
{
	inject_interrupt(v, kv);
	if (v->intc && v->intc->get_tpr && !accel_kernel_lapic(v->accel)) {
		machine_lock();
		kv->run->cr8 = v->intc->get_tpr(v->intc->opaque);
		kv->run->apic_base = v->intc->get_base(v->intc->opaque);
		machine_unlock();
	}
}

static void after_user_irqchip(struct vcpu *v, struct kvm_vcpu *kv)
{
	if (v->intc && v->intc->set_tpr && !accel_kernel_lapic(v->accel)) {
		machine_lock();
		v->intc->set_tpr(v->intc->opaque, (uint8_t)kv->run->cr8);
		v->intc->set_base(v->intc->opaque, kv->run->apic_base);
		machine_unlock();
	}
}

enum vcpu_exit kvm_vcpu_run(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(v);
	bool user_lapic = !accel_kernel_lapic(v->accel), user_pic = !accel_kernel_pic(v->accel);
	enum vcpu_exit result;
	uint32_t reason;
	int r;

	if (user_lapic) {
		if (stays_halted(v, kv) || !take_events(v, kv))
			return EXIT_HALT;
	}
	if (user_pic)
		before_user_irqchip(v, kv);
	r = ioctl(kv->fd, KVM_RUN, 0);
	/*
	 * Cleared after the run: whoever set it has changed a control field first, and the fields
	 * are looked at before the next run.
	 */
	__atomic_store_n(&kv->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	kv->io_pending = false;
	if (user_pic)
		after_user_irqchip(v, kv);
	kvm_flush_coalesced(kv->kvm);
	if (r < 0) {
		if (errno == EINTR || errno == EAGAIN)
			return EXIT_AGAIN;
		g_autofree char *text = g_strdup_printf("KVM_RUN failed: %s", strerror(errno));

		dump_failure(v, text);
		return EXIT_ERROR;
	}
	reason = MIN_OF(kv->run->exit_reason, (uint32_t)KVM_EXIT_REASONS - 1);
	__atomic_fetch_add(&kv->kvm->exits[reason], 1, __ATOMIC_RELAXED);
	result = handle_exit(v, kv);
	if (log_enabled(CPU)) {
		g_autoptr(GString) s = g_string_new(NULL);

		kvm_vcpu_finish_io(v);
		v->dev.info->print(v, s);
		log_write("%s", s->str);
	}
	return result;
}

void kvm_vcpu_finish_io(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(v);

	/*
	 * The kernel finishes a pending access before it looks at the flag. One re-entry may bring
	 * another.
	 */
	while (kv->io_pending) {
		kv->io_pending = false;
		__atomic_store_n(&kv->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (ioctl(kv->fd, KVM_RUN, 0) == 0) {
			if (kv->run->exit_reason == KVM_EXIT_IO)
				handle_io(kv);
			else if (kv->run->exit_reason == KVM_EXIT_MMIO)
				handle_mmio(kv);
		}
	}
	__atomic_store_n(&kv->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

bool kvm_vcpu_nmi(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(v);

	return kv->kvm->caps[CAP_USER_NMI] && ioctl(kv->fd, KVM_NMI, 0) == 0;
}

void kvm_vcpu_resumed(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(v);

	/* EINVAL says that the guest has no kvmclock: nobody to tell. */
	if (kv->kvm->caps[CAP_KVMCLOCK_CTRL])
		ioctl(kv->fd, KVM_KVMCLOCK_CTRL, 0);
}

static const char *const exit_names[KVM_EXIT_REASONS] = {
	[KVM_EXIT_UNKNOWN] = "unknown",
	[KVM_EXIT_EXCEPTION] = "exception",
	[KVM_EXIT_IO] = "io",
	[KVM_EXIT_HYPERCALL] = "hypercall",
	[KVM_EXIT_DEBUG] = "debug",
	[KVM_EXIT_HLT] = "hlt",
	[KVM_EXIT_MMIO] = "mmio",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq-window-open",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_FAIL_ENTRY] = "fail-entry",
	[KVM_EXIT_INTR] = "intr",
	[KVM_EXIT_SET_TPR] = "set-tpr",
	[KVM_EXIT_TPR_ACCESS] = "tpr-access",
	[KVM_EXIT_NMI] = "nmi",
	[KVM_EXIT_INTERNAL_ERROR] = "internal-error",
	[KVM_EXIT_SYSTEM_EVENT] = "system-event",
	[KVM_EXIT_IOAPIC_EOI] = "ioapic-eoi",
};

void kvm_print_exits(struct accel *a, GString *out)
{
	struct kvm *k = kvm_of(a);

	for (int i = 0; i < KVM_EXIT_REASONS; i++) {
		uint64_t n = __atomic_load_n(&k->exits[i], __ATOMIC_RELAXED);

		if (n)
			g_string_append_printf(out, "%-18s %" PRIu64 "\n",
					       exit_names[i] ? exit_names[i] : "other", n);
	}
}
