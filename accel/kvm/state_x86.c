/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86 vCPU state between KVM and struct x86_cpu, both ways, and CPUID. Called on the vCPU's thread.
 *
 * Load order: CPUID at creation, then SREGS (the APIC base among them), REGS, XCRS and XSAVE, MSRs
 * (TSC first, paravirtual clocks after it), DEBUGREGS, MP_STATE, EVENTS. The TSC deadline is armed
 * by the local APIC's load, which is a device of its own and comes later.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "accel/kvm/kvm.h"

#define MSR_TSC 0x10
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_MCG_STATUS 0x17a
#define MSR_MCG_CTL 0x17b
#define MSR_MC0_CTL 0x400
#define MSR_KVM_FIRST 0x4b564d00
#define MSR_KVM_LAST 0x4b564dff

static void keep_supported(struct kvm *k, const struct kvm_cpuid2 *c)
{
	struct x86_cpuid *leaves = g_new0(struct x86_cpuid, c->nent);

	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];

		leaves[i] = (struct x86_cpuid) {
			e->function, e->index, (e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0,
			e->eax,	     e->ebx,   e->ecx,
			e->edx
		};
		if (e->function != 1)
			continue;
		/* The local APIC's own features, which the kernel lists under capabilities. */
		if (k->caps[CAP_TSC_DEADLINE] && k->accel->config.irqchip != IRQCHIP_USER)
			leaves[i].ecx |= BIT(24);
		if (k->accel->config.irqchip == IRQCHIP_USER)
			leaves[i].ecx &= ~(BIT(21) | BIT(24)); /* x2APIC MSRs do not reach us */
		leaves[i].edx |= BIT(9);
	}
	k->supported = (struct x86_host_cpuid) { c->nent, leaves, true };
}

const struct x86_host_cpuid *kvm_host_cpuid(struct accel *a)
{
	return &kvm_of(a)->supported;
}

/* Grows until the kernel says that everything fits. */
static bool read_supported_cpuid(struct kvm *k, GError **err)
{
	for (uint32_t n = 64; n <= 1024; n *= 2) {
		g_autofree struct kvm_cpuid2 *c =
			g_malloc0(sizeof(*c) + n * sizeof(struct kvm_cpuid_entry2));

		c->nent = n;
		if (ioctl(k->fd, KVM_GET_SUPPORTED_CPUID, c) == 0) {
			keep_supported(k, c);
			return true;
		}
		if (errno != E2BIG)
			break;
	}
	return error(err, "kvm: KVM_GET_SUPPORTED_CPUID failed: %s", strerror(errno));
}

static bool read_msr_list(struct kvm *k, GError **err)
{
	struct kvm_msr_list probe = { 0 };
	struct kvm_msr_list *l;

	if (ioctl(k->fd, KVM_GET_MSR_INDEX_LIST, &probe) == 0 || errno != E2BIG)
		return error(err, "kvm: KVM_GET_MSR_INDEX_LIST tells no count: %s",
			     strerror(errno));
	l = g_malloc0(sizeof(*l) + probe.nmsrs * sizeof(uint32_t));
	l->nmsrs = probe.nmsrs;
	if (ioctl(k->fd, KVM_GET_MSR_INDEX_LIST, l) < 0) {
		g_free(l);
		return error(err, "kvm: KVM_GET_MSR_INDEX_LIST failed: %s", strerror(errno));
	}
	k->msr_list = (uint32_t *)l; /* struct kvm_msr_list is a count and that many words */
	return true;
}

bool kvm_read_lists(struct kvm *k, GError **err)
{
	return read_supported_cpuid(k, err) && read_msr_list(k, err);
}

bool kvm_init_cpuid(struct x86_cpu *cpu, GError **err)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(&cpu->vcpu);
	g_autofree struct kvm_cpuid2 *c =
		g_malloc0(sizeof(*c) + X86_MOST_CPUID * sizeof(struct kvm_cpuid_entry2));

	for (unsigned i = 0; i < cpu->ncpuid; i++) {
		const struct x86_cpuid *e = &cpu->cpuid[i];

		c->entries[i] = (struct kvm_cpuid_entry2) {
			.function = e->leaf,
			.index = e->subleaf,
			.flags = e->indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = e->eax,
			.ebx = e->ebx,
			.ecx = e->ecx,
			.edx = e->edx,
		};
	}
	c->nent = cpu->ncpuid;
	if (ioctl(kv->fd, KVM_SET_CPUID2, c) < 0)
		return error(err,
			     "kvm: vCPU %u: the host refuses this CPU model (KVM_SET_CPUID2: %s)",
			     cpu->vcpu.index, strerror(errno));
	return true;
}

bool kvm_init_mce(struct x86_cpu *cpu, GError **err)
{
	struct kvm_vcpu *kv = kvm_vcpu_of(&cpu->vcpu);
	const struct x86_cpuid *f = x86_cpuid_find(cpu, 1, 0);
	uint64_t cap = 0;

	/* CPUID.1:EDX bits 7 and 14: MCE and MCA. */
	if (!kv->kvm->caps[CAP_MCE] || !f || (f->edx & 0x4080) != 0x4080)
		return true;
	if (ioctl(kv->kvm->fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap) < 0)
		return error(err, "kvm: KVM_X86_GET_MCE_CAP_SUPPORTED failed: %s", strerror(errno));
	cap = (cap & 0x01000100) |
	      MIN_OF(kv->kvm->caps[CAP_MCE], X86_MCE_BANKS); /* MCG_CTL_P, MCG_SER_P */
	if (ioctl(kv->fd, KVM_X86_SETUP_MCE, &cap) < 0)
		return error(err, "kvm: KVM_X86_SETUP_MCE failed: %s", strerror(errno));
	return true;
}

static void segment_from_kvm(struct x86_segment *s, const struct kvm_segment *k)
{
	s->base = k->base;
	s->limit = k->limit;
	s->selector = k->selector;
	s->rights = (uint32_t)(k->type | k->s << 4 | k->dpl << 5 | k->present << 7 | k->avl << 12 |
			       k->l << 13 | k->db << 14 | k->g << 15 |
			       (k->unusable ? SEG_UNUSABLE : 0));
}

static void segment_to_kvm(struct kvm_segment *k, const struct x86_segment *s)
{
	*k = (struct kvm_segment) {
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->rights & 15,
		.s = s->rights >> 4 & 1,
		.dpl = s->rights >> 5 & 3,
		.present = s->rights >> 7 & 1,
		.avl = s->rights >> 12 & 1,
		.l = s->rights >> 13 & 1,
		.db = s->rights >> 14 & 1,
		.g = s->rights >> 15 & 1,
		.unusable = (s->rights & SEG_UNUSABLE) != 0,
	};
}

static void get_regs(struct x86_cpu *cpu, int fd)
{
	struct kvm_regs r;

	kvm_must(fd, KVM_GET_REGS, &r);
	cpu->gpr[RAX] = r.rax;
	cpu->gpr[RBX] = r.rbx;
	cpu->gpr[RCX] = r.rcx;
	cpu->gpr[RDX] = r.rdx;
	cpu->gpr[RSI] = r.rsi;
	cpu->gpr[RDI] = r.rdi;
	cpu->gpr[RSP] = r.rsp;
	cpu->gpr[RBP] = r.rbp;
	memcpy(&cpu->gpr[R8], &r.r8, 8 * sizeof(uint64_t));
	cpu->rip = r.rip;
	cpu->rflags = r.rflags;
}

static void put_regs(const struct x86_cpu *cpu, int fd)
{
	struct kvm_regs r = {
		.rax = cpu->gpr[RAX],
		.rbx = cpu->gpr[RBX],
		.rcx = cpu->gpr[RCX],
		.rdx = cpu->gpr[RDX],
		.rsi = cpu->gpr[RSI],
		.rdi = cpu->gpr[RDI],
		.rsp = cpu->gpr[RSP],
		.rbp = cpu->gpr[RBP],
		.rip = cpu->rip,
		.rflags = cpu->rflags,
	};

	memcpy(&r.r8, &cpu->gpr[R8], 8 * sizeof(uint64_t));
	kvm_must(fd, KVM_SET_REGS, &r);
}

/* KVM's order of segments in struct kvm_sregs. */
static struct kvm_segment *sregs_segment(struct kvm_sregs *s, int i)
{
	switch (i) {
	case SEG_ES:
		return &s->es;
	case SEG_CS:
		return &s->cs;
	case SEG_SS:
		return &s->ss;
	case SEG_DS:
		return &s->ds;
	case SEG_FS:
		return &s->fs;
	case SEG_GS:
		return &s->gs;
	case SEG_LDT:
		return &s->ldt;
	default:
		return &s->tr;
	}
}

static void get_sregs(struct x86_cpu *cpu, int fd)
{
	struct kvm_sregs s;

	kvm_must(fd, KVM_GET_SREGS, &s);
	for (int i = 0; i < SEGS; i++)
		segment_from_kvm(&cpu->seg[i], sregs_segment(&s, i));
	cpu->gdt = (struct x86_table_register) { s.gdt.base, s.gdt.limit };
	cpu->idt = (struct x86_table_register) { s.idt.base, s.idt.limit };
	cpu->cr0 = s.cr0;
	cpu->cr2 = s.cr2;
	cpu->cr3 = s.cr3;
	cpu->cr4 = s.cr4;
	cpu->cr8 = s.cr8;
	cpu->efer = s.efer;
	cpu->apic_base = s.apic_base;
	memcpy(cpu->interrupt_bitmap, s.interrupt_bitmap, sizeof(s.interrupt_bitmap));
}

static bool put_sregs(struct x86_cpu *cpu, int fd)
{
	struct kvm_sregs s;

	memset(&s, 0, sizeof(s));
	for (int i = 0; i < SEGS; i++)
		segment_to_kvm(sregs_segment(&s, i), &cpu->seg[i]);
	s.gdt = (struct kvm_dtable) { .base = cpu->gdt.base, .limit = cpu->gdt.limit };
	s.idt = (struct kvm_dtable) { .base = cpu->idt.base, .limit = cpu->idt.limit };
	s.cr0 = cpu->cr0;
	s.cr2 = cpu->cr2;
	s.cr3 = cpu->cr3;
	s.cr4 = cpu->cr4;
	s.cr8 = cpu->cr8;
	s.efer = cpu->efer;
	s.apic_base = cpu->apic_base;
	memcpy(s.interrupt_bitmap, cpu->interrupt_bitmap, sizeof(s.interrupt_bitmap));
	return ioctl(fd, KVM_SET_SREGS, &s) == 0;
}

static void get_fpu(struct x86_cpu *cpu, struct kvm_vcpu *kv)
{
	if (kv->kvm->caps[CAP_XSAVE]) {
		static_assert(sizeof(struct kvm_xsave) == X86_XSAVE_BYTES,
			      "KVM's XSAVE area is one page");
		kvm_must(kv->fd, KVM_GET_XSAVE, cpu->xsave);
	} else {
		struct kvm_fpu f;

		kvm_must(kv->fd, KVM_GET_FPU, &f);
		memset(cpu->xsave, 0, sizeof(cpu->xsave));
		store_le(cpu->xsave, f.fcw, 2);
		store_le(cpu->xsave + 2, f.fsw, 2);
		store_le(cpu->xsave + 4, f.ftwx, 1);
		store_le(cpu->xsave + 6, f.last_opcode, 2);
		store_le(cpu->xsave + 8, f.last_ip, 8);
		store_le(cpu->xsave + 16, f.last_dp, 8);
		store_le(cpu->xsave + 24, f.mxcsr, 4);
		memcpy(cpu->xsave + 32, f.fpr, sizeof(f.fpr));
		memcpy(cpu->xsave + 160, f.xmm, sizeof(f.xmm));
		store_le(cpu->xsave + 512, 3, 8);
	}
	if (kv->kvm->caps[CAP_XCRS]) {
		struct kvm_xcrs x;

		kvm_must(kv->fd, KVM_GET_XCRS, &x);
		for (uint32_t i = 0; i < x.nr_xcrs; i++)
			if (x.xcrs[i].xcr == 0)
				cpu->xcr0 = x.xcrs[i].value;
	}
}

static void put_fpu(struct x86_cpu *cpu, struct kvm_vcpu *kv)
{
	if (kv->kvm->caps[CAP_XCRS]) {
		struct kvm_xcrs x;

		memset(&x, 0, sizeof(x));
		x.nr_xcrs = 1;
		x.xcrs[0].value = cpu->xcr0;
		/* A model without XSAVE has no XCR0 to set. */
		ioctl(kv->fd, KVM_SET_XCRS, &x);
	}
	if (kv->kvm->caps[CAP_XSAVE]) {
		kvm_must(kv->fd, KVM_SET_XSAVE, cpu->xsave);
	} else {
		struct kvm_fpu f;

		memset(&f, 0, sizeof(f));
		f.fcw = (uint16_t)load_le(cpu->xsave, 2);
		f.fsw = (uint16_t)load_le(cpu->xsave + 2, 2);
		f.ftwx = cpu->xsave[4];
		f.last_opcode = (uint16_t)load_le(cpu->xsave + 6, 2);
		f.last_ip = load_le(cpu->xsave + 8, 8);
		f.last_dp = load_le(cpu->xsave + 16, 8);
		f.mxcsr = (uint32_t)load_le(cpu->xsave + 24, 4);
		memcpy(f.fpr, cpu->xsave + 32, sizeof(f.fpr));
		memcpy(f.xmm, cpu->xsave + 160, sizeof(f.xmm));
		kvm_must(kv->fd, KVM_SET_FPU, &f);
	}
}

static void get_debug(struct x86_cpu *cpu, int fd)
{
	struct kvm_debugregs d;

	kvm_must(fd, KVM_GET_DEBUGREGS, &d);
	memcpy(cpu->dr, d.db, sizeof(cpu->dr));
	cpu->dr6 = d.dr6;
	cpu->dr7 = d.dr7;
}

static void put_debug(const struct x86_cpu *cpu, int fd)
{
	struct kvm_debugregs d;

	memset(&d, 0, sizeof(d));
	memcpy(d.db, cpu->dr, sizeof(cpu->dr));
	d.dr6 = cpu->dr6;
	d.dr7 = cpu->dr7;
	kvm_must(fd, KVM_SET_DEBUGREGS, &d);
}

/* The kernel's list, in its order, and the machine-check banks, which are not in it. */
static uint32_t wanted_msrs(const struct kvm *k, uint32_t *list)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->msr_list[0] && n < X86_MOST_MSRS - 4 * X86_MCE_BANKS - 2; i++)
		list[n++] = k->msr_list[1 + i];
	if (k->caps[CAP_MCE]) {
		list[n++] = MSR_MCG_STATUS;
		list[n++] = MSR_MCG_CTL;
		for (uint32_t i = 0; i < 4 * (uint32_t)MIN_OF(k->caps[CAP_MCE], X86_MCE_BANKS); i++)
			list[n++] = MSR_MC0_CTL + i;
	}
	return n;
}

static struct kvm_msrs *msr_buffer(void)
{
	return g_malloc0(sizeof(struct kvm_msrs) + X86_MOST_MSRS * sizeof(struct kvm_msr_entry));
}

/* GET_MSRS stops at the first that this vCPU does not have: skip that one and go on. */
static void get_msrs(struct x86_cpu *cpu, struct kvm_vcpu *kv)
{
	g_autofree struct kvm_msrs *b = msr_buffer();
	uint32_t list[X86_MOST_MSRS], n = wanted_msrs(kv->kvm, list), from = 0;

	cpu->msr_count = 0;
	while (from < n) {
		int done;

		b->nmsrs = n - from;
		for (uint32_t i = 0; i < b->nmsrs; i++)
			b->entries[i] = (struct kvm_msr_entry) { .index = list[from + i] };
		done = ioctl(kv->fd, KVM_GET_MSRS, b);
		done = MAX_OF(done, 0);
		for (int i = 0; i < done; i++) {
			cpu->msr_index[cpu->msr_count] = b->entries[i].index;
			cpu->msr_value[cpu->msr_count++] = b->entries[i].data;
		}
		from += (uint32_t)done + 1;
	}
	for (uint32_t i = cpu->msr_count; i < X86_MOST_MSRS; i++)
		cpu->msr_index[i] = 0, cpu->msr_value[i] = 0;
}

/* 0: TSC, 1: ordinary ones, 2: paravirtual clocks, which take the TSC as it is then. */
static int msr_turn(uint32_t index)
{
	if (index == MSR_TSC)
		return 0;
	return index >= MSR_KVM_FIRST && index <= MSR_KVM_LAST ? 2 : 1;
}

/* What a running VM's own progress changes is written only with VS_FULL. */
static bool msr_only_full(uint32_t index)
{
	return index == MSR_TSC || index == MSR_TSC_DEADLINE || msr_turn(index) == 2;
}

static void put_msrs(const struct x86_cpu *cpu, struct kvm_vcpu *kv, bool full)
{
	g_autofree struct kvm_msrs *b = msr_buffer();

	for (int turn = 0; turn < 3; turn++) {
		for (uint32_t i = 0; i < cpu->msr_count; i++) {
			uint32_t index = cpu->msr_index[i];

			if (msr_turn(index) != turn || (!full && msr_only_full(index)))
				continue;
			/*
			 * One by one: an MSR that this host refuses (read-only here) must not stop
			 * the rest.
			 */
			b->nmsrs = 1;
			b->entries[0] = (struct kvm_msr_entry) { .index = index,
								 .data = cpu->msr_value[i] };
			ioctl(kv->fd, KVM_SET_MSRS, b);
		}
	}
}

void kvm_put_tsc_deadline(struct vcpu *v)
{
	g_autofree struct kvm_msrs *b = msr_buffer();
	uint64_t deadline;

	if (!x86_msr_find((struct x86_cpu *)v, MSR_TSC_DEADLINE, &deadline))
		return;
	b->nmsrs = 1;
	b->entries[0] = (struct kvm_msr_entry) { .index = MSR_TSC_DEADLINE, .data = deadline };
	ioctl(kvm_vcpu_of(v)->fd, KVM_SET_MSRS, b);
}

static void get_events(struct x86_cpu *cpu, int fd)
{
	struct kvm_vcpu_events e;
	struct x86_events *x = &cpu->events;

	memset(&e, 0, sizeof(e));
	kvm_must(fd, KVM_GET_VCPU_EVENTS, &e);
	*x = (struct x86_events) {
		.exception_injected = e.exception.injected,
		.exception_pending = e.flags & KVM_VCPUEVENT_VALID_PAYLOAD && e.exception.pending,
		.exception_has_error = e.exception.has_error_code,
		.exception = e.exception.nr,
		.exception_error = e.exception.error_code,
		.exception_payload = e.exception_payload,
		.exception_has_payload = e.exception_has_payload,
		.interrupt_injected = e.interrupt.injected,
		.interrupt_soft = e.interrupt.soft,
		.interrupt = e.interrupt.nr,
		.shadow = e.flags & KVM_VCPUEVENT_VALID_SHADOW ? e.interrupt.shadow : 0,
		.nmi_injected = e.nmi.injected,
		.nmi_pending = e.nmi.pending,
		.nmi_masked = e.nmi.masked,
		.sipi_vector = e.sipi_vector,
	};
	if (e.flags & KVM_VCPUEVENT_VALID_SMM) {
		x->smm = e.smi.smm;
		x->smi_pending = e.smi.pending;
		x->smm_inside_nmi = e.smi.smm_inside_nmi;
		x->latched_init = e.smi.latched_init;
	}
	if (e.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
		x->triple_fault = e.triple_fault.pending;
}

static void put_events(const struct x86_cpu *cpu, struct kvm_vcpu *kv, bool full)
{
	const struct x86_events *x = &cpu->events;
	struct kvm_vcpu_events e, now;

	/* The flags the kernel reports say which parts it knows. */
	memset(&now, 0, sizeof(now));
	kvm_must(kv->fd, KVM_GET_VCPU_EVENTS, &now);
	memset(&e, 0, sizeof(e));
	e.flags = now.flags & (KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_PAYLOAD);
	if (kv->kvm->caps[CAP_X86_SMM])
		e.flags |= now.flags & KVM_VCPUEVENT_VALID_SMM;
	e.flags |= now.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	if (full)
		e.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	e.exception.injected = x->exception_injected;
	e.exception.pending = x->exception_pending;
	e.exception.has_error_code = x->exception_has_error;
	e.exception.nr = x->exception;
	e.exception.error_code = x->exception_error;
	e.exception_payload = x->exception_payload;
	e.exception_has_payload = x->exception_has_payload;
	e.interrupt.injected = x->interrupt_injected;
	e.interrupt.soft = x->interrupt_soft;
	e.interrupt.nr = x->interrupt;
	e.interrupt.shadow = x->shadow;
	e.nmi.injected = x->nmi_injected;
	e.nmi.pending = x->nmi_pending;
	e.nmi.masked = x->nmi_masked;
	e.sipi_vector = x->sipi_vector;
	e.smi.smm = x->smm;
	e.smi.pending = x->smi_pending;
	e.smi.smm_inside_nmi = x->smm_inside_nmi;
	e.smi.latched_init = x->latched_init;
	e.triple_fault.pending = x->triple_fault;
	ioctl(kv->fd, KVM_SET_VCPU_EVENTS, &e);
}

/* Without the kernel's local APIC the multiprocessing state is ours; see vcpu.c. */
static void get_mp(struct x86_cpu *cpu, struct kvm_vcpu *kv)
{
	struct kvm_mp_state s;

	if (!accel_kernel_lapic(cpu->vcpu.accel)) {
		if (cpu->mp_state == MP_RUNNABLE || cpu->mp_state == MP_HALTED)
			cpu->mp_state = cpu->vcpu.halted ? MP_HALTED : MP_RUNNABLE;
		return;
	}
	kvm_must(kv->fd, KVM_GET_MP_STATE, &s);
	cpu->mp_state = s.mp_state;
}

static void put_mp(struct x86_cpu *cpu, struct kvm_vcpu *kv)
{
	struct kvm_mp_state s = { .mp_state = cpu->mp_state };

	if (!accel_kernel_lapic(cpu->vcpu.accel)) {
		cpu->vcpu.halted = cpu->mp_state != MP_RUNNABLE;
		return;
	}
	cpu->vcpu.halted = false; /* the kernel sleeps for us */
	kvm_must(kv->fd, KVM_SET_MP_STATE, &s);
}

void kvm_vcpu_get(struct vcpu *v, unsigned groups)
{
	struct x86_cpu *cpu = (struct x86_cpu *)v;
	struct kvm_vcpu *kv = kvm_vcpu_of(v);

	kvm_flush_coalesced(kv->kvm);
	if (groups & VS_MP)
		get_mp(cpu, kv); /* first: it makes the kernel take INIT and SIPI */
	if (groups & VS_REGS)
		get_regs(cpu, kv->fd);
	if (groups & VS_SREGS)
		get_sregs(cpu, kv->fd);
	if (groups & VS_FPU)
		get_fpu(cpu, kv);
	if (groups & VS_DEBUG)
		get_debug(cpu, kv->fd);
	if (groups & VS_MSRS) {
		get_msrs(cpu, kv);
		if (kv->kvm->caps[CAP_GET_TSC_KHZ])
			cpu->tsc_khz = (uint64_t)MAX_OF(ioctl(kv->fd, KVM_GET_TSC_KHZ, 0), 0);
	}
	if (groups & VS_EVENTS)
		get_events(cpu, kv->fd);
}

void kvm_vcpu_put(struct vcpu *v, unsigned groups)
{
	struct x86_cpu *cpu = (struct x86_cpu *)v;
	struct kvm_vcpu *kv = kvm_vcpu_of(v);
	bool full = groups & VS_FULL;

	if (groups & VS_SREGS && !put_sregs(cpu, kv->fd))
		fprintf(stderr,
			"moa: kvm: vCPU %u: the host refuses the control registers or segments: "
			"%s\n",
			v->index, strerror(errno));
	if (groups & VS_REGS)
		put_regs(cpu, kv->fd);
	if (groups & VS_FPU)
		put_fpu(cpu, kv);
	if (groups & VS_MSRS)
		put_msrs(cpu, kv, full);
	if (groups & VS_DEBUG)
		put_debug(cpu, kv->fd);
	if (groups & VS_MP)
		put_mp(cpu, kv);
	if (groups & VS_EVENTS)
		put_events(cpu, kv, full);
}
