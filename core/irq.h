/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A wire: who to call, with which input number. Boards connect an output to an input with
 * irq_connect; an unconnected output goes nowhere. Called with the machine lock held.
 */
#pragma once

#include "core/compiler.h"

struct irq {
	void (*set)(void *to, int n, int level);
	void *to;
	int n;
};

static inline void irq_connect(struct irq *out, struct irq in)
{
	*out = in;
}

static inline void irq_set(const struct irq *irq, int level)
{
	if (irq->set)
		irq->set(irq->to, irq->n, level);
}

static inline void irq_raise(const struct irq *irq)
{
	irq_set(irq, 1);
}

static inline void irq_lower(const struct irq *irq)
{
	irq_set(irq, 0);
}

/* An edge: up and down again. */
static inline void irq_pulse(const struct irq *irq)
{
	irq_set(irq, 1);
	irq_set(irq, 0);
}
