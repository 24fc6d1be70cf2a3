/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The translator as an engine: its accel_ops, the memory map, vCPU state to and from the fields. */
#include <cpuid.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>

#include "accel/tcg/engine.h"
#include "accel/tcg/inspect.h"
#include "accel/tcg/system.h"
#include "core/error.h"
#include "core/machine.h"
#include "core/rcu.h"

#define DEFAULT_CODE_BYTES (64 * MIB)

static struct tcg *tcg_of(struct accel *a)
{
	return a->engine;
}

/* What the translator has of CPUID, of what the host has. */
static const struct {
	uint32_t leaf, subleaf;
	uint32_t eax, ebx, ecx, edx; /* masks; the numbers in 0, D and 8000_0008h are the host's */
} offered[] = {
	{ 0, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
	/* 1: no DTES or perfmon. */
	{ 1, 0, UINT32_MAX, UINT32_MAX,
	  0x00d82203 | BIT(12) | BIT(21) | BIT(24) | BIT(25) | BIT(26) | BIT(28) | BIT(29) |
		  BIT(30) | BIT(31),
	  0x078bfbff },
	{ 7, 0, 0,
	  BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(18) | BIT(19) |
		  BIT(20) | BIT(23) | BIT(24) | BIT(29),
	  BIT(2) | BIT(8) | BIT(9) | BIT(10) | BIT(22), 0 },
	{ 0x80000000, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
	{ 0x80000001, 0, UINT32_MAX, UINT32_MAX, BIT(0) | BIT(5) | BIT(8),
	  BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29) },
	{ 0x80000002, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
	{ 0x80000003, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
	{ 0x80000004, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
	{ 0x80000008, 0, UINT32_MAX, 0, 0, 0 },
};

/*
 * Extended features 2 (APM volume 3, E.4.17): a null selector has no base, and for AMD's kernels
 * what ARCH_CAPABILITIES says to Intel's (as does BTC_NO): SRSO_NO; TSA_SQ_NO, TSA_L1_NO
 * ("Technical guidance for mitigating transient scheduler attacks"). Their work-arounds, a detour
 * on each return and a VERW on each way out, reach nothing of the host.
 */
static const struct x86_cpuid features_2 = { .leaf = 0x80000021,
					     .eax = BIT(6) | BIT(29),
					     .ecx = BIT(1) | BIT(2) };

/* x87, SSE and AVX; XSAVEOPT, XSAVEC, XGETBV of 1 and XSAVES are fpu.c's. */
static const struct x86_cpuid xsave_leaves[] = {
	{ .leaf = 0xd,
	  .indexed = true,
	  .eax = TCG_XSAVE_PARTS | XSAVE_PKRU_BIT,
	  .ebx = XSAVE_PKRU + XSAVE_PKRU_BYTES,
	  .ecx = XSAVE_PKRU + XSAVE_PKRU_BYTES },
	{ .leaf = 0xd, .subleaf = 1, .indexed = true, .eax = 15, .ebx = TCG_XSAVE_BYTES },
	{ .leaf = 0xd, .subleaf = 2, .indexed = true, .eax = 256, .ebx = 576 },
	{ .leaf = 0xd, .subleaf = 9, .indexed = true, .eax = XSAVE_PKRU_BYTES, .ebx = XSAVE_PKRU },
};

static void make_host_cpuid(struct tcg *t)
{
	for (unsigned i = 0; i < ARRAY_LEN(offered); i++) {
		struct x86_cpuid *c = &t->leaves[t->host.n];
		unsigned a = 0, b = 0, cx = 0, d = 0;

		if (!__get_cpuid_count(offered[i].leaf, offered[i].subleaf, &a, &b, &cx, &d))
			continue;
		*c = (struct x86_cpuid) {
			.leaf = offered[i].leaf,
			.subleaf = offered[i].subleaf,
			.indexed = offered[i].leaf == 7,
			.eax = a & offered[i].eax,
			.ebx = b & offered[i].ebx,
			.ecx = cx & offered[i].ecx,
			.edx = d & offered[i].edx,
		};
		if (c->leaf == 1) {
			/* What is ours to give whatever the host has: hypervisor, x2APIC, TSC
			 * deadline, PCID, VME. */
			c->ecx |= BIT(31) | BIT(21) | BIT(24) | BIT(17);
			c->edx |= BIT(9) | BIT(1);
		}
		if (c->leaf == 0x80000000)
			c->eax = MAX_OF(c->eax, features_2.leaf);
		/* As many address bits as the walks check, and firmware makes page tables for. */
		if (c->leaf == 0x80000008) {
			c->eax = TCG_PHYS_BITS | 57 << 8;
			c->ebx = BIT(29); /* BTC_NO */
		}
		/* SPEC_CTRL, with a bit against branch history injection, and ARCH_CAPABILITIES are
		 * registers of ours, see ARCH_CAPABILITIES. So are SMEP, INVPCID, SMAP, UMIP, LA57
		 * and PKU. */
		if (c->leaf == 7) {
			c->eax = 2;
			c->ebx |= BIT(7) | BIT(10) | BIT(20);
			c->ecx |= BIT(2) | BIT(3) | BIT(16);
			c->edx |= BIT(26) | BIT(29);
		}
		t->host.n++;
	}
	t->leaves[t->host.n++] = features_2;
	t->leaves[t->host.n++] =
		(struct x86_cpuid) { .leaf = 7, .subleaf = 2, .indexed = true, .edx = BIT(4) };
	/* The local APIC's timer always runs: ARAT. */
	t->leaves[t->host.n++] = (struct x86_cpuid) { .leaf = 6, .eax = BIT(2) };
	for (unsigned i = 0; i < ARRAY_LEN(xsave_leaves); i++)
		t->leaves[t->host.n++] = xsave_leaves[i];
	/* KVM's: both clocks and their stable bit, no delays after port I/O, PV EOI, steal time. */
	t->leaves[t->host.n++] = (struct x86_cpuid) {
		.leaf = 0x40000001,
		.eax = BIT(0) | BIT(1) | BIT(3) | BIT(6) | BIT(24) |
		       (tcg_steal_time_known() && !t->accel->config.count ? BIT(5) : 0),
	};
	t->host.paravirtual = true;
	/* MWAIT does not sleep: guests that idle with it would keep a processor busy. */
	t->host.on_request = BIT(3);
	t->host.leaves = t->leaves;
}

static const struct x86_host_cpuid *tcg_host_cpuid(struct accel *a)
{
	return &tcg_of(a)->host;
}

/* The memory map. */

static void range_add(struct space_listener *l, const struct flat_range *r)
{
	struct tcg *t = container_of(l, struct tcg, listener);
	struct tcg_range n = { .start = r->start, .end = r->start + r->size };
	guint i = 0;

	if (r->region->kind == REGION_IO || !r->direct_reads)
		return;
	n.ram = r->region->ram;
	n.ram->watcher = &t->watcher;
	n.ram_off = r->off;
	n.host = r->region->ram->host + r->off;
	n.writable = r->region->kind == REGION_RAM && !r->read_only;
	while (i < t->ranges->len && g_array_index(t->ranges, struct tcg_range, i).start < n.start)
		i++;
	g_array_insert_val(t->ranges, i, n);
}

/* Code that DMA or a loader overwrites. */
static void ram_written(struct ram_watcher *w, void *host, uint64_t len)
{
	struct tcg *t = container_of(w, struct tcg, watcher);
	uint8_t *at = host;

	while (len) {
		uint64_t n = PAGE_SIZE_4K - ((uintptr_t)at & (PAGE_SIZE_4K - 1));

		n = MIN_OF(n, len);
		tcg_code_written(t->cache, at, (unsigned)n);
		at += n;
		len -= n;
	}
}

static void range_del(struct space_listener *l, const struct flat_range *r)
{
	struct tcg *t = container_of(l, struct tcg, listener);

	for (guint i = 0; i < t->ranges->len; i++) {
		if (g_array_index(t->ranges, struct tcg_range, i).start == r->start) {
			g_array_remove_index(t->ranges, i);
			return;
		}
	}
}

static void flush_all(struct tcg *t)
{
	for (guint i = 0; i < t->accel->vcpus->len; i++) {
		struct vcpu *v = t->accel->vcpus->pdata[i];
		struct tcg_env *env = v->engine;

		if (!env)
			continue;
		__atomic_store_n(&env->flush_wanted, true, __ATOMIC_RELEASE);
		tcg_ask(env);
	}
}

/* The new map is published; vCPUs forget what they know of the old one before they go on. */
static void map_commit(struct space_listener *l)
{
	struct tcg *t = container_of(l, struct tcg, listener);
	struct tcg_map *m = g_malloc(sizeof(*m) + t->ranges->len * sizeof(m->range[0])),
		       *old = t->map;

	m->count = t->ranges->len;
	memcpy(m->range, t->ranges->data, m->count * sizeof(m->range[0]));
	__atomic_store_n(&t->map, m, __ATOMIC_RELEASE);
	g_ptr_array_add(t->old_maps, old);
	flush_all(t);
}

/*
 * The guest's TSC is the host's plus an offset, and stands still with the VM. What a reset or a
 * load left in the fields is true as of the VM's start, so that all vCPUs agree.
 */
#define COUNTED_TSC_KHZ 1000000 /* a tick a ns */
uint64_t tcg_host_tsc_khz(const struct tcg *t)
{
	uint64_t ns;

	if (t->accel->config.count)
		return COUNTED_TSC_KHZ;
	/* A clock's resolution against this: 1 in 20000 at the worst, soon much better. */
	do
		ns = (uint64_t)monotonic_ns() - t->first_ns;
	while (ns < 2000000);
	return muldiv64(__builtin_ia32_rdtsc() - t->first_tsc, 1000000, ns);
}

static void flush_guest_page(struct accel *a, void *host)
{
	(void)host;
	flush_all(tcg_of(a));
}

static bool tcg_init(struct accel *a, GError **err)
{
	struct tcg *t = g_new0(struct tcg, 1);

	t->accel = a;
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("bmi")) {
		g_free(t);
		return error(err,
			     "tcg: this host's processor lacks BMI1, which translated code uses");
	}
	if (a->config.irqchip_given && a->config.irqchip != IRQCHIP_USER) {
		g_free(t);
		return error(
			err,
			"-machine kernel-irqchip: the translator has no kernel irqchip; use 'off'");
	}
	if (a->config.count && a->config.max_vcpus > 1) {
		g_free(t);
		return error(err,
			     "-icount: counts the instructions of one vCPU, not of %u; use -smp 1",
			     a->config.max_vcpus);
	}
	if ((a->config.perf_map && !tcg_perf_map_open(err)) ||
	    (a->config.digest && !tcg_count_open(t, a->config.digest, err))) {
		g_free(t);
		return false;
	}
	t->cache = tcg_cache_new(a->config.tb_size ? a->config.tb_size : DEFAULT_CODE_BYTES, err);
	if (!t->cache) {
		g_free(t);
		return false;
	}
	t->first_ns = (uint64_t)monotonic_ns();
	t->first_tsc = t->stopped_tsc = a->config.count ? 0 : __builtin_ia32_rdtsc();
	if (a->config.count)
		clock_manual(vm_clock(a->machine), 0);
	a->engine = t;
	a->config.irqchip = IRQCHIP_USER;
	t->map = g_new0(struct tcg_map, 1);
	t->ranges = g_array_new(FALSE, FALSE, sizeof(struct tcg_range));
	t->old_maps = g_ptr_array_new_with_free_func(g_free);
	make_host_cpuid(t);
	t->watcher.written = ram_written;
	t->listener = (struct space_listener) { .add = range_add,
						.del = range_del,
						.commit = map_commit };
	space_listen(&a->machine->mem, &t->listener);
	return true;
}

static void tcg_print_jit(struct accel *a, GString *out)
{
	struct tcg_stats s;

	tcg_cache_stats(tcg_of(a)->cache, &s);
	tcg_print_stats(&s, out);
}

static void tcg_destroy(struct accel *a)
{
	struct tcg *t = tcg_of(a);

	for (guint i = 0; i < t->ranges->len; i++)
		g_array_index(t->ranges, struct tcg_range, i).ram->watcher = NULL;
	space_unlisten(&a->machine->mem, &t->listener);
	tcg_perf_map_close();
	if (t->digest)
		fclose(t->digest);
	tcg_cache_free(t->cache);
	g_array_unref(t->ranges);
	g_ptr_array_unref(t->old_maps);
	g_free(t->map);
	g_free(t);
}

/* vCPUs. */

/* The MSRs beside those that have fields of their own; all begin at 0 or as x86_cpu_reset says. */
static const uint32_t msrs[] = {
	MSR_SMBASE,
	MSR_KVM_WALL_CLOCK_OLD,
	MSR_KVM_SYSTEM_TIME_OLD,
	MSR_KVM_WALL_CLOCK,
	MSR_KVM_SYSTEM_TIME,
	MSR_KVM_STEAL_TIME,
	MSR_KVM_PV_EOI,
	0x48,
	0x10,
	0x3b,
	0x8b,
	0x174,
	0x175,
	0x176,
	0x179,
	0x17a,
	0xda0,
	0x1a0,
	0x277,
	0x2ff,
	0x200,
	0x201,
	0x202,
	0x203,
	0x204,
	0x205,
	0x206,
	0x207,
	0x208,
	0x209,
	0x20a,
	0x20b,
	0x20c,
	0x20d,
	0x20e,
	0x20f,
	0x250,
	0x258,
	0x259,
	0x268,
	0x269,
	0x26a,
	0x26b,
	0x26c,
	0x26d,
	0x26e,
	0x26f,
	0xc0000081,
	0xc0000082,
	0xc0000083,
	0xc0000084,
	0xc0000102,
	0xc0000103,
};

static bool has(const struct x86_cpu *cpu, uint32_t leaf, unsigned reg, unsigned bit)
{
	/* XSAVE's features are in its leaf's second part. */
	const struct x86_cpuid *c = x86_cpuid_find(cpu, leaf, leaf == 0xd);
	const uint32_t *r = c ? &c->eax : NULL;

	return r && r[reg] >> bit & 1;
}

enum { EAX_, EBX_, ECX_, EDX_ };

static void set_features(struct tcg_env *env)
{
	static const struct {
		uint8_t feature, reg, bit;
		uint32_t leaf;
	} bits[] = {
		{ FEAT_FPU, EDX_, 0, 1 },
		{ FEAT_TSC, EDX_, 4, 1 },
		{ FEAT_MSR, EDX_, 5, 1 },
		{ FEAT_CX8, EDX_, 8, 1 },
		{ FEAT_SEP, EDX_, 11, 1 },
		{ FEAT_CMOV, EDX_, 15, 1 },
		{ FEAT_CLFLUSH, EDX_, 19, 1 },
		{ FEAT_MMX, EDX_, 23, 1 },
		{ FEAT_FXSR, EDX_, 24, 1 },
		{ FEAT_SSE, EDX_, 25, 1 },
		{ FEAT_SSE2, EDX_, 26, 1 },
		{ FEAT_SSE3, ECX_, 0, 1 },
		{ FEAT_PCLMUL, ECX_, 1, 1 },
		{ FEAT_MONITOR, ECX_, 3, 1 },
		{ FEAT_SSSE3, ECX_, 9, 1 },
		{ FEAT_FMA, ECX_, 12, 1 },
		{ FEAT_CX16, ECX_, 13, 1 },
		{ FEAT_SSE41, ECX_, 19, 1 },
		{ FEAT_SSE42, ECX_, 20, 1 },
		{ FEAT_MOVBE, ECX_, 22, 1 },
		{ FEAT_POPCNT, ECX_, 23, 1 },
		{ FEAT_AES, ECX_, 25, 1 },
		{ FEAT_XSAVE, ECX_, 26, 1 },
		{ FEAT_AVX, ECX_, 28, 1 },
		{ FEAT_F16C, ECX_, 29, 1 },
		{ FEAT_RDRAND, ECX_, 30, 1 },
		{ FEAT_FSGSBASE, EBX_, 0, 7 },
		{ FEAT_BMI1, EBX_, 3, 7 },
		{ FEAT_AVX2, EBX_, 5, 7 },
		{ FEAT_BMI2, EBX_, 8, 7 },
		{ FEAT_INVPCID, EBX_, 10, 7 },
		{ FEAT_RDSEED, EBX_, 18, 7 },
		{ FEAT_ADX, EBX_, 19, 7 },
		{ FEAT_SMAP, EBX_, 20, 7 },
		{ FEAT_CLFLUSHOPT, EBX_, 23, 7 },
		{ FEAT_CLWB, EBX_, 24, 7 },
		{ FEAT_SHA, EBX_, 29, 7 },
		{ FEAT_PKU, ECX_, 3, 7 },
		{ FEAT_GFNI, ECX_, 8, 7 },
		{ FEAT_VAES, ECX_, 9, 7 },
		{ FEAT_VPCLMULQDQ, ECX_, 10, 7 },
		{ FEAT_RDPID, ECX_, 22, 7 },
		{ FEAT_SPEC_CTRL, EDX_, 26, 7 },
		{ FEAT_ARCH_CAPABILITIES, EDX_, 29, 7 },
		{ FEAT_KVMCLOCK, EAX_, 0, 0x40000001 },
		{ FEAT_KVMCLOCK_NEW, EAX_, 3, 0x40000001 },
		{ FEAT_KVMCLOCK_STABLE, EAX_, 24, 0x40000001 },
		{ FEAT_KVM_STEAL_TIME, EAX_, 5, 0x40000001 },
		{ FEAT_KVM_PV_EOI, EAX_, 6, 0x40000001 },
		{ FEAT_XSAVEOPT, EAX_, 0, 0xd },
		{ FEAT_XSAVEC, EAX_, 1, 0xd },
		{ FEAT_XSAVES, EAX_, 3, 0xd },
		{ FEAT_LAHF, ECX_, 0, 0x80000001 },
		{ FEAT_LZCNT, ECX_, 5, 0x80000001 },
		{ FEAT_SYSCALL, EDX_, 11, 0x80000001 },
		{ FEAT_RDTSCP, EDX_, 27, 0x80000001 },
	};
	const struct x86_cpu *cpu = env->cpu;

	env->features = BIT64(FEAT_BASE);
	for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
		if (has(cpu, bits[i].leaf, bits[i].reg, bits[i].bit))
			env->features |= BIT64(bits[i].feature);
	env->cr4_allowed = 0x7ff & ~(CR4_VME | CR4_PVI);
	env->cr4_allowed |= has(cpu, 1, EDX_, 1) ? CR4_VME | CR4_PVI : 0;
	env->cr4_allowed |= has(cpu, 7, EBX_, 0) ? CR4_FSGSBASE : 0;
	env->cr4_allowed |= has(cpu, 7, EBX_, 7) ? CR4_SMEP : 0;
	env->cr4_allowed |= has(cpu, 7, EBX_, 20) ? CR4_SMAP : 0;
	env->cr4_allowed |= has(cpu, 7, ECX_, 2) ? CR4_UMIP : 0;
	env->cr4_allowed |= has(cpu, 7, ECX_, 3) ? CR4_PKE : 0;
	env->cr4_allowed |= has(cpu, 1, ECX_, 26) ? CR4_OSXSAVE : 0;
	env->cr4_allowed |= has(cpu, 1, ECX_, 17) ? CR4_PCIDE : 0;
	env->cr4_allowed |= has(cpu, 7, ECX_, 16) ? CR4_LA57 : 0;
	env->efer_allowed = EFER_LMA;
	env->efer_allowed |= has(cpu, 0x80000001, EDX_, 11) ? EFER_SCE : 0;
	env->efer_allowed |= has(cpu, 0x80000001, EDX_, 20) ? EFER_NXE : 0;
	env->efer_allowed |= has(cpu, 0x80000001, EDX_, 29) ? EFER_LME : 0;
}

static void physical_io(struct tcg_env *env, uint64_t phys, void *data, unsigned size, bool write)
{
	struct space *mem = &env->cpu->vcpu.dev.machine->mem;

	tcg_outside_begin(env);
	if (write)
		space_write(mem, phys, data, size);
	else
		space_read(mem, phys, data, size);
	tcg_outside_end(env);
}

/* Handlers would run on the stack of predicted returns: other threads take what is not a fault. */
static void block_signals(void)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	sigset_t set;

	sigfillset(&set);
	for (unsigned i = 0; i < ARRAY_LEN(faults); i++)
		sigdelset(&set, faults[i]);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static bool tcg_vcpu_create(struct vcpu *v, GError **err)
{
	struct tcg *t = tcg_of(v->accel);
	struct x86_cpu *cpu = (struct x86_cpu *)v;
	struct tcg_env *env;

	env = tcg_env_new(t->cache);
	if (!env)
		return error(err, "-smp: the translator runs %u vCPUs at most", TCG_MOST_VCPUS);
	env->tcg = t;
	env->cpu = cpu;
	env->walk = tcg_walk;
	env->io = physical_io;
	env->count.on = v->accel->config.count;
	env->count.shift = v->accel->config.count_shift;
	if (env->count.on)
		env->mode |= MODE_COUNT;
	if (v->accel->config.reference)
		env->mode |= MODE_REFERENCE;
	for (unsigned i = 0; i < ARRAY_LEN(msrs); i++)
		x86_msr_add(cpu, msrs[i]);
	tcg_find_hot_msrs(env);
	set_features(env);
	v->engine = env;
	block_signals();
	tcg_env_enter_thread(env);
	return true;
}

static void tcg_vcpu_destroy(struct vcpu *v)
{
	tcg_env_free(v->engine);
	v->engine = NULL;
}

static void tcg_vcpu_kick(struct vcpu *v)
{
	tcg_ask(v->engine);
}

static void tcg_run_changed(struct accel *a, bool running)
{
	struct tcg *t = tcg_of(a);
	uint64_t now = a->config.count ? 0 : __builtin_ia32_rdtsc();

	if (!running) {
		t->stopped_tsc = now;
		return;
	}
	for (guint i = 0; i < a->vcpus->len; i++) {
		struct tcg_env *env = ((struct vcpu *)a->vcpus->pdata[i])->engine;

		env->tsc_offset -= now - t->stopped_tsc;
	}
	t->base.tsc += now - t->stopped_tsc;
	t->started_tsc = now;
	t->stopped_tsc = 0;
}

static uint64_t tcg_tsc(struct vcpu *v, uint64_t *khz)
{
	uint64_t tsc;

	*khz = tcg_host_tsc_khz(tcg_of(v->accel));
	if (v->dirty & VS_FULL && x86_msr_find((struct x86_cpu *)v, 0x10, &tsc))
		return tsc;
	return tcg_guest_tsc(v->engine);
}

#define XSAVE_BV 512
static void get_fpu(struct tcg_env *env)
{
	uint8_t *area = env->cpu->xsave;

	memcpy(area, env->fpu, sizeof(env->cpu->xsave));
	store_le(area + XSAVE_PKRU, env->pkru, XSAVE_PKRU_BYTES);
	store_le(area + XSAVE_BV, load_le(area + XSAVE_BV, 8) | (env->pkru ? XSAVE_PKRU_BIT : 0),
		 8);
}

static void put_fpu(struct tcg_env *env)
{
	uint64_t parts = load_le(env->cpu->xsave + XSAVE_BV, 8);

	memcpy(env->fpu, env->cpu->xsave, sizeof(env->cpu->xsave));
	/* The host's XRSTOR takes no others. */
	store_le(env->fpu + XSAVE_BV, parts & TCG_XSAVE_PARTS, 8);
	tcg_set_pkru(env, parts & XSAVE_PKRU_BIT
				  ? (uint32_t)load_le(env->cpu->xsave + XSAVE_PKRU, 4)
				  : 0);
}

static void tcg_vcpu_get(struct vcpu *v, unsigned groups)
{
	struct x86_cpu *cpu = (struct x86_cpu *)v;
	struct tcg_env *env = v->engine;

	if (groups & VS_REGS) {
		memcpy(cpu->gpr, env->gpr, sizeof(cpu->gpr));
		cpu->rip = env->rip;
		cpu->rflags = tcg_flags(env) | 2;
	}
	if (groups & VS_SREGS && v->intc && v->intc->get_tpr)
		cpu->cr8 = v->intc->get_tpr(v->intc->opaque);
	if (groups & VS_FPU)
		get_fpu(env);
	if (groups & VS_MSRS)
		x86_msr_set(cpu, 0x10, tcg_guest_tsc(env));
	if (groups & VS_EVENTS) {
		bool nmi = cpu->events.smm_inside_nmi;

		memset(&cpu->events, 0, sizeof(cpu->events));
		cpu->events.smm_inside_nmi = nmi;
		cpu->events.smm = env->smm;
		cpu->events.nmi_masked = env->nmi_masked;
		cpu->events.shadow = env->shadow ? 2 : 0;
	}
	if (groups & VS_MP && cpu->mp_state <= MP_HALTED && cpu->mp_state != MP_UNINITIALIZED &&
	    cpu->mp_state != MP_INIT_RECEIVED)
		cpu->mp_state = env->halted ? MP_HALTED : MP_RUNNABLE;
}

static void tcg_vcpu_put(struct vcpu *v, unsigned groups)
{
	struct x86_cpu *cpu = (struct x86_cpu *)v;
	struct tcg_env *env = v->engine;
	uint64_t tsc;

	if (groups & VS_REGS) {
		memcpy(env->gpr, cpu->gpr, sizeof(cpu->gpr));
		env->rip = cpu->rip;
		tcg_set_flags(env, cpu->rflags);
	}
	if (groups & VS_FPU)
		put_fpu(env);
	if (groups & VS_FULL && x86_msr_find(cpu, 0x10, &tsc))
		env->tsc_offset = tsc - env->tcg->started_tsc;
	if (groups & VS_FULL)
		tcg_pvclock_refresh(env);
	if (groups & VS_EVENTS) {
		if (env->smm != cpu->events.smm) {
			env->smm = cpu->events.smm;
			tcg_flush_translations(env, true);
		}
		tcg_smm_view(env);
		env->nmi_masked = cpu->events.nmi_masked;
		env->shadow = cpu->events.shadow;
	}
	if (groups & VS_MP)
		env->halted = cpu->mp_state == MP_HALTED;
	tcg_find_hot_msrs(env);
	tcg_update_mode(env);
	tcg_debug_update(env);
}

static bool tcg_vcpu_nmi(struct vcpu *v)
{
	vcpu_post(v, EV_NMI);
	return true;
}

static bool tcg_vcpu_debug(struct vcpu *v, const struct vcpu_debug *d)
{
	struct tcg_env *env = v->engine;

	env->debug.wanted = *d;
	tcg_debug_update(env);
	return true;
}

const struct accel_ops accel_tcg = {
	.name = "tcg",
	.desc = "binary translator",
	.default_cpu = "max",
	.translates = true,
	.smm = true,
	.init = tcg_init,
	.destroy = tcg_destroy,
	.host_cpuid = tcg_host_cpuid,
	.vcpu_create = tcg_vcpu_create,
	.vcpu_destroy = tcg_vcpu_destroy,
	.vcpu_run = tcg_vcpu_run,
	.vcpu_kick = tcg_vcpu_kick,
	.vcpu_get = tcg_vcpu_get,
	.vcpu_put = tcg_vcpu_put,
	.vcpu_nmi = tcg_vcpu_nmi,
	.vcpu_debug = tcg_vcpu_debug,
	.run_changed = tcg_run_changed,
	.tsc = tcg_tsc,
	.print_jit = tcg_print_jit,
	.clock_get = tcg_clock_get,
	.clock_set = tcg_clock_set,
	.flush_page = flush_guest_page,
};
