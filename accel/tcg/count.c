/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counted execution (-icount): the VM clock and the TSC go by the instructions that the one vCPU
 * has executed, so that a run repeats exactly, however it is translated.
 *
 * A block takes its instructions from env->budget when it begins, and gives back what it leaves out
 * at its exits. The budget ends where a timer falls due; near its end instructions go one by one.
 * While C runs in the middle of a block, env->ahead of what was taken are still to come.
 * Instructions that go to C end their block, so that what they bring about comes right behind them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "accel/tcg/system.h"
#include "core/error.h"
#include "core/lock.h"
#include "core/machine.h"

#define MOST_BUDGET (1u << 24)
/* Instructions between two lines of -accel tcg,digest=. */
#define DIGEST_PERIOD (UINT64_C(1) << 16)

static struct clock *vm_clock_of(struct tcg_env *env)
{
	return vm_clock(env->tcg->accel->machine);
}

/* The budget until the next thing that is to happen at its instruction. */
static void plan(struct tcg_env *env)
{
	uint64_t now = tcg_executed(env), end = now + MOST_BUDGET;
	int64_t due = clock_deadline(vm_clock_of(env));

	if (due >= 0) {
		uint64_t at =
			((uint64_t)due + (UINT64_C(1) << env->count.shift) - 1) >> env->count.shift;

		end = MIN_OF(end, MAX_OF(at, now));
	}
	if (env->tcg->digest)
		end = MIN_OF(end, (now / DIGEST_PERIOD + 1) * DIGEST_PERIOD);
	env->count.end = end;
	env->budget = (int32_t)((int64_t)(end - now) - (int64_t)env->ahead);
}

static uint64_t mix(uint64_t h, const void *data, size_t n)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* Registers; the FPU's are in env->fpu, without what tells where the host's code is. */
static void write_digest(struct tcg_env *env)
{
	const struct x86_cpu *cpu = env->cpu;
	uint64_t h = UINT64_C(0xcbf29ce484222325), flags = tcg_flags(env);

	h = mix(h, env->gpr, sizeof(env->gpr));
	h = mix(h, &flags, sizeof(flags));
	for (unsigned i = 0; i < SEGS; i++) {
		h = mix(h, &cpu->seg[i].selector, sizeof(cpu->seg[i].selector));
		h = mix(h, &cpu->seg[i].base, sizeof(cpu->seg[i].base));
	}
	h = mix(h, &cpu->cr0, sizeof(cpu->cr0));
	h = mix(h, &cpu->cr2, sizeof(cpu->cr2));
	h = mix(h, &cpu->cr3, sizeof(cpu->cr3));
	h = mix(h, &cpu->cr4, sizeof(cpu->cr4));
	h = mix(h, env->fpu, 6);
	h = mix(h, env->fpu + 24, 4);
	h = mix(h, env->fpu + 32, 416 - 32);
	h = mix(h, env->fpu + 576, TCG_XSAVE_BYTES - 576);
	fprintf(env->tcg->digest, "%" PRIu64 " %016" PRIx64 " %016" PRIx64 "\n", tcg_executed(env),
		env->rip, h);
}

bool tcg_count_open(struct tcg *t, const char *path, GError **err)
{
	t->digest = fopen(path, "we");
	return t->digest || error(err, "-accel tcg,digest=%s: cannot be written: %m", path);
}

void tcg_count_clock(struct tcg_env *env)
{
	clock_manual(vm_clock_of(env), (int64_t)tcg_count_ns(env));
}

void tcg_count_replan(struct tcg_env *env)
{
	plan(env);
}

static void run_timers(struct tcg_env *env)
{
	bool lock = !machine_locked();

	if (lock)
		machine_lock();
	tcg_count_clock(env);
	clock_step(vm_clock_of(env), 0);
	if (lock)
		machine_unlock();
}

void tcg_count_tick(struct tcg_env *env)
{
	run_timers(env);
	if (env->tcg->digest && tcg_executed(env) % DIGEST_PERIOD == 0)
		write_digest(env);
	plan(env);
}

bool tcg_count_idle(struct tcg_env *env)
{
	int64_t due = clock_deadline(vm_clock_of(env));
	uint64_t at;

	if (due < 0)
		return false;
	at = ((uint64_t)due + (UINT64_C(1) << env->count.shift) - 1) >> env->count.shift;
	env->count.end = MAX_OF(at, tcg_executed(env));
	env->ahead = 0;
	env->budget = 0;
	run_timers(env);
	plan(env);
	return true;
}
