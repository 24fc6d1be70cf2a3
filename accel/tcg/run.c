/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU's loop: interrupts and requests, then translated code until it leaves. General registers
 * only from tcg_fpu_load to tcg_fpu_save.
 */
#include <stdio.h>

#include "accel/tcg/system.h"
#include "core/log.h"
#include "core/machine.h"

#define DR6_BS BIT(14)
#define DR7_GD BIT64(13)

/* One event with the faults of its own delivery; the vector of a fault, or -1. */
static int deliver_once(struct tcg_env *volatile env, const struct tcg_event *e)
{
	if (__builtin_setjmp(env->escape))
		return (int)env->fault.vector;
	tcg_deliver(env, e);
	return -1;
}

static bool contributory(unsigned vector)
{
	return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

static bool pushes_error(unsigned vector)
{
	return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) || vector == 17;
}

/* Delivers an event and what comes of it (SDM volume 3, table 6-5). False: triple fault. */
static bool deliver(struct tcg_env *env, struct tcg_event e)
{
	for (;;) {
		int next;

		if (e.vector == VECTOR_PF && !e.external && !e.software)
			env->cpu->cr2 = env->fault.address;
		next = deliver_once(env, &e);
		if (next < 0)
			return true;
		if (next == TCG_UNSUPPORTED)
			return true;
		if (!e.external && !e.software && e.vector == VECTOR_DF)
			return false;
		if (!e.external && !e.software &&
		    ((contributory(e.vector) && contributory((unsigned)next)) ||
		     (e.vector == VECTOR_PF &&
		      (contributory((unsigned)next) || next == VECTOR_PF))))
			e = (struct tcg_event) { .vector = VECTOR_DF, .has_error = true };
		else
			e = (struct tcg_event) { .vector = (unsigned)next,
						 .has_error = env->fault.has_error,
						 .error = env->fault.error };
	}
}

/* What ends a HLT. */
static void set_wakes(struct vcpu *v, const struct tcg_env *env)
{
	v->wakes = EV_NMI | EV_SIPI | (env->smm ? 0 : EV_INIT | EV_SMI) |
		   (env->eflags & FLAG_IF ? EV_INTR : 0);
}

/* What devices and other vCPUs asked for while nothing ran: true if the vCPU stays asleep. */
static bool take_events(struct vcpu *v, struct tcg_env *env, struct tcg_event *event,
			bool *have_event)
{
	struct x86_cpu *cpu = env->cpu;
	uint32_t ev = __atomic_load_n(&v->events, __ATOMIC_ACQUIRE);
	bool interruptible = env->eflags & FLAG_IF && !env->shadow;

	*have_event = false;
	/* In system management mode INIT waits. */
	if (ev & EV_INIT && !env->smm) {
		__atomic_fetch_and(&v->events, ~(uint32_t)EV_INIT, __ATOMIC_ACQ_REL);
		vcpu_sync(v, VS_ALL);
		x86_cpu_init(cpu);
	}
	if (ev & EV_SIPI) {
		__atomic_fetch_and(&v->events, ~(uint32_t)EV_SIPI, __ATOMIC_ACQ_REL);
		if (cpu->mp_state == MP_INIT_RECEIVED || cpu->mp_state == MP_UNINITIALIZED) {
			vcpu_sync(v, VS_ALL);
			cpu->seg[SEG_CS].selector = (uint16_t)(v->sipi_vector << 8);
			cpu->seg[SEG_CS].base = (uint64_t)v->sipi_vector << 12;
			cpu->rip = 0;
			cpu->mp_state = MP_RUNNABLE;
			cpu->vcpu.halted = env->halted = false;
			v->dirty |= VS_ALL;
		}
	}
	if (cpu->mp_state == MP_INIT_RECEIVED || cpu->mp_state == MP_UNINITIALIZED) {
		v->wakes = EV_INIT | EV_SIPI;
		return true;
	}
	if (v->dirty) {
		v->accel->ops->vcpu_put(v, v->dirty);
		v->dirty = v->valid = 0;
	}
	if (ev & EV_SMI && !env->smm && !env->shadow) {
		__atomic_fetch_and(&v->events, ~(uint32_t)EV_SMI, __ATOMIC_ACQ_REL);
		tcg_smm_enter(env);
		v->accel->ops->vcpu_put(v, v->dirty);
		v->dirty = v->valid = 0;
		tcg_flush_translations(env, true);
		interruptible = false;
	}
	set_wakes(v, env);
	if (ev & EV_NMI && !env->nmi_masked && !env->shadow) {
		__atomic_fetch_and(&v->events, ~(uint32_t)EV_NMI, __ATOMIC_ACQ_REL);
		env->nmi_masked = true;
		*event = (struct tcg_event) { .vector = VECTOR_NMI, .external = true };
		*have_event = true;
	} else if (ev & EV_INTR && interruptible && v->intc && !env->debug.wanted.step) {
		int vector;

		machine_lock();
		vector = v->intc->ack(v->intc->opaque);
		machine_unlock();
		if (vector >= 0) {
			*event =
				(struct tcg_event) { .vector = (unsigned)vector, .external = true };
			*have_event = true;
			log_printf(INT, "vCPU %u: vector 0x%02x", v->index, (unsigned)vector);
		}
	}
	if (*have_event)
		v->halted = env->halted = false;
	return env->halted;
}

enum outcome { OUT_ASKED, OUT_TRIPLE, OUT_UNSUPPORTED, OUT_DEBUG };

/* A #DB for the guest; or for the debugger, whose business it is. */
static bool debugger_takes(struct tcg_env *env, unsigned bits)
{
	env->cpu->vcpu.debug_exit = (struct vcpu_debug_exit) { VECTOR_DB, bits };
	return env->debug.wanted.hardware && bits & 15;
}

/* Runs with the guest's FPU state live. */
static __attribute__((noinline)) enum outcome run_guest(struct tcg_env *env,
							const struct tcg_event *event)
{
	if (event && !deliver(env, *event))
		return OUT_TRIPLE;
	for (;;) {
		bool stepping = env->eflags & FLAG_TF || env->debug.wanted.step;
		struct tcg_event e;
		int vector;

		if (__atomic_load_n(&env->flush_wanted, __ATOMIC_ACQUIRE)) {
			__atomic_store_n(&env->flush_wanted, false, __ATOMIC_RELEASE);
			tcg_flush_translations(env, true);
		}
		if (stepping != !!(env->mode & MODE_STEP)) {
			env->mode = (env->mode & ~MODE_STEP) | (stepping ? MODE_STEP : 0);
			tcg_update_mode(env);
		}
		if (env->count.on && env->budget <= 0) {
			tcg_outside_begin(env);
			tcg_count_tick(env);
			tcg_outside_end(env);
			if (tcg_asked(env) && !env->shadow)
				return OUT_ASKED;
		}
		vector = tcg_execute(env);
		if (vector == TCG_UNSUPPORTED)
			return OUT_UNSUPPORTED;
		if (vector == TCG_SHUTDOWN)
			return OUT_TRIPLE;
		if (vector == TCG_DEBUGGER) {
			env->cpu->vcpu.debug_exit = (struct vcpu_debug_exit) { VECTOR_BP, 0 };
			return OUT_DEBUG;
		}
		if (vector < 0) {
			if (!env->debug.alone && tcg_asked(env))
				return OUT_ASKED;
			tcg_check_events(env);
			continue;
		}
		if (vector == TCG_STEPPED && env->debug.wanted.step) {
			debugger_takes(env, DR6_BS | env->debug.hit);
			env->debug.hit = 0;
			return OUT_DEBUG;
		}
		if (vector == TCG_STEPPED || vector == TCG_TRAP) {
			unsigned bits = env->debug.hit | (vector == TCG_STEPPED ? DR6_BS : 0);

			env->debug.hit = 0;
			if (debugger_takes(env, bits))
				return OUT_DEBUG;
			env->cpu->dr6 = (env->cpu->dr6 & ~UINT64_C(15)) | bits;
			vector = VECTOR_DB;
			env->fault.has_error = false;
		}
		if (vector == VECTOR_DB)
			env->cpu->dr7 &= ~DR7_GD;
		e = (struct tcg_event) { .vector = (unsigned)vector,
					 .has_error = env->fault.has_error &&
						      pushes_error((unsigned)vector),
					 .error = env->fault.error };
		if (!deliver(env, e))
			return OUT_TRIPLE;
	}
}

static void report_unsupported(struct vcpu *v, struct tcg_env *env)
{
	g_autoptr(GString) s = g_string_new(NULL);

	vcpu_sync(v, VS_ALL);
	v->dev.info->print(v, s);
	fprintf(stderr, "moa: tcg: vCPU %u: the guest uses %s\n%s", v->index, env->unsupported,
		s->str);
}

/* An INT3 may be the guest's own. */
static enum vcpu_exit debug_exit(struct vcpu *v, struct tcg_env *env)
{
	struct accel *a = v->accel;
	uint64_t linear = env->rip + (env->mode & MODE_CODE64 ? 0 : env->seg_base[SEG_CS]);
	bool owned;

	if (v->debug_exit.vector != VECTOR_BP)
		return EXIT_DEBUG;
	machine_lock();
	owned = !a->debug_owns || a->debug_owns(a->debug_opaque, v, linear);
	machine_unlock();
	env->debug.inject_bp = !owned;
	return owned ? EXIT_DEBUG : EXIT_AGAIN;
}

enum vcpu_exit tcg_vcpu_run(struct vcpu *v)
{
	struct tcg_env *env = v->engine;
	struct tcg_event event;
	enum outcome outcome;
	bool have_event;

	if (env->count.on)
		tcg_count_clock(env);
	if (take_events(v, env, &event, &have_event))
		return env->count.on && tcg_count_idle(env) ? EXIT_AGAIN : EXIT_HALT;
	if (unlikely(env->steal.address))
		tcg_steal_time_update(env);
	if (env->debug.inject_bp) {
		env->debug.inject_bp = false;
		event = (struct tcg_event) { .vector = VECTOR_BP,
					     .software = true,
					     .next_rip = env->rip + 1 };
		have_event = true;
	}
	tcg_go_in(env);
	tcg_fpu_load(env->fpu);
	outcome = run_guest(env, have_event ? &event : NULL);
	tcg_fpu_save(env->fpu);
	tcg_fpu_for_c();
	tcg_go_out(env);
	/* Whoever asked has changed something that is looked at before the next run. */
	tcg_answer(env);
	switch (outcome) {
	case OUT_TRIPLE:
		return EXIT_RESET;
	case OUT_DEBUG:
		return debug_exit(v, env);
	case OUT_UNSUPPORTED:
		report_unsupported(v, env);
		return EXIT_ERROR;
	default:
		/* HLT may have let interrupts in just before. */
		set_wakes(v, env);
		return env->halted && !env->count.on ? EXIT_HALT : EXIT_AGAIN;
	}
}
