/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/intc/lines.h"

#include "core/machine.h"

#define D struct irq_lines

#define SOURCE_SHIFT 8

static void set_source(void *opaque, int n, int level)
{
	struct irq_lines *d = opaque;
	unsigned line = n & (BIT(SOURCE_SHIFT) - 1);
	uint32_t before = d->held[line], bit = (uint32_t)BIT(n >> SOURCE_SHIFT);

	d->held[line] = level ? before | bit : before & ~bit;
	if (!before != !d->held[line])
		d->out.set(d->out.to, (int)line, d->held[line] != 0);
}

struct irq irq_line(struct irq_lines *d, unsigned line)
{
	assert(line < MACHINE_GSIS && d->sources[line] < 32);
	return (struct irq) { set_source, d, (int)(line | d->sources[line]++ << SOURCE_SHIFT) };
}

static void lines_reset(void *dev)
{
	struct irq_lines *d = dev;

	memset(d->held, 0, sizeof(d->held));
}

DEVICE(irq_lines,
	.name = "irq-lines",
	.desc = "shared interrupt lines",
	.board_only = true,
	.state = FIELDS(F(held)),
	.host = HOST(sources, out),
	.reset = lines_reset);

struct irq_lines *irq_lines_new(struct machine *m, struct irq out, GError **err)
{
	struct irq_lines *d = device_new(m, &device_irq_lines, NULL);

	d->out = out;
	return device_realize(d, NULL, err) ? d : NULL;
}
