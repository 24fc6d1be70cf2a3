/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's `info` commands. */
#include <inttypes.h>
#include <string.h>

#include "cpu/x86/cpu.h"
#include "monitor/monitor.h"

static struct accel *engine(struct call *c)
{
	return machine_accel(c->machine);
}

bool info_registers(struct call *c, GError **err)
{
	struct accel *a = engine(c);
	bool all = call_bool(c, "all", false);

	(void)err;
	for (guint i = 0; a && i < a->vcpus->len; i++)
		if (all || i == 0)
			vcpu_print(a->vcpus->pdata[i], c->text);
	return true;
}

static const char *const kind_names[] = { "container", "ram", "rom", "i/o", "alias" };

static void print_region(GString *out, const struct region *r, uint64_t base, unsigned depth)
{
	g_string_append_printf(out,
			       "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s): ", (int)depth * 2,
			       "", base, base + r->size - 1, r->priority, kind_names[r->kind]);
	if (r->kind == REGION_ALIAS)
		g_string_append_printf(out, "alias %s @%s %016" PRIx64 "-%016" PRIx64, r->name,
				       r->target->name, r->target_off, r->target_off + r->size - 1);
	else
		g_string_append(out, r->name);
	g_string_append_printf(out, "%s%s\n", r->enabled ? "" : " [disabled]",
			       r->read_only ? " [read-only]" : "");
	if (r->kind != REGION_GROUP)
		return;
	for (guint i = 0; i < r->children->len; i++) {
		const struct region *child = r->children->pdata[i];

		print_region(out, child, base + child->addr, depth + 1);
	}
}

static void print_flat(GString *out, struct space *s)
{
	struct flat_view *v = space_copy_view(s);

	g_string_append_printf(out, "FlatView of '%s', %zu ranges\n", s->name, v->count);
	for (size_t i = 0; i < v->count; i++) {
		const struct flat_range *r = &v->ranges[i];

		g_string_append_printf(out, "  %016" PRIx64 "-%016" PRIx64 " (%s%s): %s", r->start,
				       r->start + r->size - 1, kind_names[r->region->kind],
				       r->read_only && r->region->kind == REGION_RAM ? ", read-only"
										     : "",
				       r->region->name);
		if (r->off)
			g_string_append_printf(out, " @%016" PRIx64, r->off);
		g_string_append_c(out, '\n');
	}
}

bool info_mtree(struct call *c, GError **err)
{
	struct space *spaces[] = { &c->machine->mem, &c->machine->ports };

	(void)err;
	for (size_t i = 0; i < ARRAY_LEN(spaces); i++) {
		if (call_bool(c, "flat", false)) {
			print_flat(c->text, spaces[i]);
		} else {
			g_string_append_printf(c->text, "address-space: %s\n", spaces[i]->name);
			print_region(c->text, &spaces[i]->root, 0, 1);
		}
	}
	return true;
}

static void print_device(GString *out, const struct device *d, unsigned depth)
{
	g_string_append_printf(out, "%*sdev: %s, id \"%s\"\n", (int)depth * 2, "", d->info->name,
			       d->id ? d->id : "");
	for (const struct field *f = d->info->props; f && !field_end(f); f++) {
		g_autofree char *value = prop_get(f, d);

		g_string_append_printf(out, "%*s%s = %s\n", (int)depth * 2 + 2, "", f->name, value);
	}
}

/* Devices below the bus, and the buses that they own. NULL: what is on no bus. */
static void print_bus(GString *out, struct machine *m, const struct bus *bus, unsigned depth)
{
	for (guint i = 0; i < m->devices->len; i++) {
		const struct device *d = m->devices->pdata[i];

		if (d->bus != bus)
			continue;
		print_device(out, d, depth);
		for (guint b = 0; b < m->buses->len; b++) {
			const struct bus *child = m->buses->pdata[b];

			/* The host bridge sits on the bus it owns. */
			if (child->owner != d || child == bus)
				continue;
			g_string_append_printf(out, "%*sbus: %s, type %s\n", (int)depth * 2 + 2, "",
					       child->name, child->type);
			print_bus(out, m, child, depth + 2);
		}
	}
}

bool info_qtree(struct call *c, GError **err)
{
	struct machine *m = c->machine;

	(void)err;
	g_string_append_printf(c->text, "bus: main-system-bus, type System\n");
	print_bus(c->text, m, NULL, 1);
	for (guint b = 0; b < m->buses->len; b++) {
		const struct bus *bus = m->buses->pdata[b];

		if (bus->owner->bus != bus)
			continue;
		g_string_append_printf(c->text, "  bus: %s, type %s\n", bus->name, bus->type);
		print_bus(c->text, m, bus, 2);
	}
	return true;
}

/* Prints every device whose type is one of the names. */
static void print_types(struct call *c, const char *const *names)
{
	for (guint i = 0; i < c->machine->devices->len; i++) {
		struct device *d = c->machine->devices->pdata[i];

		if (g_strv_contains(names, d->info->name) && d->info->print)
			d->info->print(d, c->text);
	}
}

bool info_pic(struct call *c, GError **err)
{
	static const char *const names[] = { "isa-i8259", "ioapic", NULL };

	(void)err;
	print_types(c, names);
	return true;
}

bool info_lapic(struct call *c, GError **err)
{
	static const char *const names[] = { "apic", NULL };

	(void)err;
	print_types(c, names);
	return true;
}

bool info_irq(struct call *c, GError **err)
{
	(void)err;
	g_string_append(
		c->text,
		"IRQ statistics (raised by devices of this process; what the engine's own timers "
		"raise is not in it):\n");
	for (unsigned i = 0; i < MACHINE_GSIS; i++)
		if (c->machine->gsi_count[i])
			g_string_append_printf(c->text, "%2u: %" PRIu64 "\n", i,
					       c->machine->gsi_count[i]);
	return true;
}

bool info_clocks(struct call *c, GError **err)
{
	static const char *const names[] = { "isa-pit", "mc146818rtc", NULL };
	struct accel *a = engine(c);
	uint64_t kvmclock;

	(void)err;
	for (int k = 0; k < CLOCK_KINDS; k++) {
		struct clock *clock = &c->machine->clocks[k];
		int64_t now = clock_ns(clock);

		g_string_append_printf(c->text, "%-5s %20" PRId64 " ns%s\n", clock->name, now,
				       clock->running ? "" : " (stopped)");
		pthread_mutex_lock(&clock->lock);
		for (const struct timer *t = clock->timers; t; t = t->next)
			g_string_append_printf(c->text, "      timer %-14s due in %" PRId64 " ns\n",
					       t->name, t->deadline - now);
		pthread_mutex_unlock(&clock->lock);
	}
	if (a && a->ops->clock_get && a->ops->clock_get(a, &kvmclock))
		g_string_append_printf(c->text, "kvm   %20" PRIu64 " ns\n", kvmclock);
	print_types(c, names);
	return true;
}

bool info_kvm(struct call *c, GError **err)
{
	struct accel *a = engine(c);

	(void)err;
	if (!a || strcmp(a->ops->name, "kvm"))
		g_string_append(c->text, "kvm support: disabled\n");
	else
		a->ops->print(a, c->text);
	return true;
}

/* Of the first vCPU, as the other commands that need one. */
static bool print_pages(struct call *c, bool ranges, GError **err)
{
	struct accel *a = engine(c);

	if (!a || !a->vcpus->len)
		return error(err, "this machine has no engine: there are no vCPUs");
	vcpu_sync(a->vcpus->pdata[0], VS_ALL);
	x86_print_pages(a->vcpus->pdata[0], ranges, c->text);
	return true;
}

bool info_tlb(struct call *c, GError **err)
{
	return print_pages(c, false, err);
}

bool info_mem(struct call *c, GError **err)
{
	return print_pages(c, true, err);
}

bool info_jit(struct call *c, GError **err)
{
	struct accel *a = engine(c);

	if (!a || !a->ops->print_jit)
		return error(err, "this machine's engine translates nothing; -accel tcg does");
	a->ops->print_jit(a, c->text);
	return true;
}

bool info_exits(struct call *c, GError **err)
{
	struct accel *a = engine(c);

	(void)err;
	for (guint i = 0; a && i < a->vcpus->len; i++) {
		struct vcpu *v = a->vcpus->pdata[i];

		g_string_append_printf(c->text, "vCPU %u: %" PRIu64 " entries\n", i,
				       __atomic_load_n(&v->exits, __ATOMIC_RELAXED));
	}
	if (a && a->ops->print_exits)
		a->ops->print_exits(a, c->text);
	return true;
}

bool info_pci(struct call *c, GError **err)
{
	static const char *const names[] = { "i440FX", NULL };

	(void)err;
	print_types(c, names);
	return true;
}
