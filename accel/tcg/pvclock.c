/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's paravirtual clock for guests of the translator (Linux Documentation/virt/kvm/x86/msr.rst,
 * cpuid.rst): the wall clock and each vCPU's time page, by the old and the new MSRs; the time that
 * others took from a vCPU. All vCPUs count from one reference, so the clock is stable across them.
 * What the MSRs hold is in the vCPU's list of MSRs; the pages are written anew after a load.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accel/tcg/system.h"
#include "core/lock.h"
#include "core/machine.h"

#define FLAG_STABLE 1
#define NS_PER_S UINT64_C(1000000000)

static struct tcg *tcg_of(const struct tcg_env *env)
{
	return env->tcg;
}

static uint64_t guest_ns(struct tcg *t)
{
	return (uint64_t)clock_ns(vm_clock(t->accel->machine)) + t->clock_offset;
}

bool tcg_clock_get(struct accel *a, uint64_t *ns)
{
	*ns = guest_ns(a->engine);
	return true;
}

bool tcg_clock_set(struct accel *a, uint64_t ns)
{
	struct tcg *t = a->engine;

	t->clock_offset = 0;
	t->clock_offset = ns - guest_ns(t);
	t->base.valid = false;
	return true;
}

/* ns = ticks shifted left by `shift`, times mul / 2^32. */
static void find_scale(uint64_t khz, uint32_t *mul, int8_t *shift)
{
	unsigned __int128 one = (unsigned __int128)NS_PER_S << 32;
	uint64_t ratio = (uint64_t)(one / (khz * 1000));

	*shift = 0;
	while (ratio > UINT32_MAX) {
		ratio >>= 1;
		(*shift)++;
	}
	while (*shift > -31 && (unsigned __int128)ratio * khz * 1000 <= one &&
	       ratio <= UINT32_MAX / 2) {
		(*shift)--;
		ratio = (uint64_t)((one << -*shift) / (khz * 1000));
	}
	*mul = (uint32_t)ratio;
}

/* The host's TSC and the guest's ns that belong together; found once for every start of the clock.
 */
static void find_reference(struct tcg_env *env)
{
	struct tcg *t = tcg_of(env);

	if (t->base.valid)
		return;
	t->base.tsc = tcg_host_tsc(env);
	t->base.ns = guest_ns(t);
	find_scale(tcg_host_tsc_khz(t), &t->base.mul, &t->base.shift);
	t->base.valid = true;
}

static void write_time(struct tcg_env *env, uint64_t at)
{
	struct tcg *t = tcg_of(env);
	struct space *mem = &t->accel->machine->mem;
	uint8_t page[32] = { 0 };
	uint32_t version = (uint32_t)space_read_le(mem, at, 4) | 1;

	find_reference(env);
	/* An odd version says that it is being written. */
	space_write_le(mem, at, version, 4);
	store_le(page + 8, t->base.tsc + env->tsc_offset, 8);
	store_le(page + 16, t->base.ns, 8);
	store_le(page + 24, t->base.mul, 4);
	page[28] = (uint8_t)t->base.shift;
	page[29] = env->features >> FEAT_KVMCLOCK_STABLE & 1 ? FLAG_STABLE : 0;
	space_write(mem, at + 4, page + 4, sizeof(page) - 4);
	space_write_le(mem, at, version + 1, 4);
}

/* The time of day at which the clock was 0. */
static void write_wall(struct tcg_env *env, uint64_t at)
{
	struct tcg *t = tcg_of(env);
	struct machine *m = t->accel->machine;
	uint64_t boot = (uint64_t)clock_ns(&m->clocks[CLOCK_HOST]) - guest_ns(t);
	uint32_t version = (uint32_t)space_read_le(&m->mem, at, 4) | 1;

	space_write_le(&m->mem, at, version, 4);
	space_write_le(&m->mem, at + 4, boot / NS_PER_S, 4);
	space_write_le(&m->mem, at + 8, boot % NS_PER_S, 4);
	space_write_le(&m->mem, at, version + 1, 4);
}

/*
 * Steal time. Linux tells of each thread how long it ran and how long it waited to run, in ns
 * (Documentation/scheduler/sched-stats.rst).
 */

#define SCHEDSTAT "/proc/thread-self/schedstat"
/* struct kvm_steal_time: steal, version, flags, preempted. */
#define STEAL_VERSION 8
#define STEAL_BYTES 64u
#define STEAL_UPDATE_MS 4

bool tcg_steal_time_known(void)
{
	return access(SCHEDSTAT, R_OK) == 0;
}

static uint64_t waited_ns(struct tcg_env *env)
{
	char text[96], *end;
	ssize_t n = pread(env->steal.file, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return env->steal.told_ns;
	text[n] = 0;
	strtoull(text, &end, 10);
	return strtoull(end, NULL, 10);
}

static void set_steal_time(struct tcg_env *env, uint64_t v)
{
	env->steal.address = v & 1 ? v & ~(uint64_t)(STEAL_BYTES - 1) : 0;
	if (!env->steal.address)
		return;
	/* On the vCPU's own thread. What it waited before is not this guest's. */
	if (!env->steal.file)
		env->steal.file = open(SCHEDSTAT, O_RDONLY | O_CLOEXEC);
	env->steal.told_ns = waited_ns(env);
	env->steal.tsc = __builtin_ia32_rdtsc();
}

void tcg_steal_time_update(struct tcg_env *env)
{
	struct space *mem = &env->tcg->accel->machine->mem;
	uint64_t at = env->steal.address, now = __builtin_ia32_rdtsc(), waited;
	uint32_t version;

	if (!at || now - env->steal.tsc < tcg_host_tsc_khz(env->tcg) * STEAL_UPDATE_MS)
		return;
	env->steal.tsc = now;
	waited = waited_ns(env);
	version = (uint32_t)space_read_le(mem, at + STEAL_VERSION, 4) | 1;
	space_write_le(mem, at + STEAL_VERSION, version, 4);
	space_write_le(mem, at, space_read_le(mem, at, 8) + waited - env->steal.told_ns, 8);
	space_write_le(mem, at + STEAL_VERSION, version + 1, 4);
	env->steal.told_ns = waited;
}

static void set_pv_eoi(struct tcg_env *env, uint64_t v)
{
	const struct vcpu_intc *intc = env->cpu->vcpu.intc;
	bool lock = !machine_locked();

	if (!intc || !intc->pv_eoi)
		return;
	if (lock)
		machine_lock();
	intc->pv_eoi(intc->opaque, v & 1 ? v & ~UINT64_C(3) : 0);
	if (lock)
		machine_unlock();
}

void tcg_pvclock_written(struct tcg_env *env, uint32_t index, uint64_t v)
{
	if (index == MSR_KVM_WALL_CLOCK || index == MSR_KVM_WALL_CLOCK_OLD)
		write_wall(env, v);
	else if (index == MSR_KVM_STEAL_TIME)
		set_steal_time(env, v);
	else if (index == MSR_KVM_PV_EOI)
		set_pv_eoi(env, v);
	else if (v & 1)
		write_time(env, v & ~UINT64_C(1));
}

void tcg_pvclock_refresh(struct tcg_env *env)
{
	static const uint32_t time[] = { MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_OLD };
	uint64_t v;

	for (unsigned i = 0; i < ARRAY_LEN(time); i++)
		if (x86_msr_find(env->cpu, time[i], &v) && v & 1)
			write_time(env, v & ~UINT64_C(1));
	if (x86_msr_find(env->cpu, MSR_KVM_STEAL_TIME, &v))
		set_steal_time(env, v);
	if (x86_msr_find(env->cpu, MSR_KVM_PV_EOI, &v))
		set_pv_eoi(env, v);
}
