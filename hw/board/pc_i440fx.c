/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `pc` board: i440FX and PIIX3, wired. Read top to bottom; the order is that of power and
 * wires.
 */
#include "hw/board/pc.h"

#include "hw/ide/piix_ide.h"
#include "hw/misc/misc.h"
#include "hw/timer/timers.h"

/* INTR from the 8259 pair goes to LINT0 of every local APIC, as on real boards. */
static void set_intr(void *opaque, int n, int level)
{
	struct pc *pc = opaque;

	(void)n;
	for (unsigned i = 0; i < pc->apics.n; i++) {
		struct lapic *a = pc->apics.lapics[i];

		if (!a->in_kernel)
			lapic_set_lint(a, 0, level);
		else if (level && i == 0)
			vcpu_post(a->vcpu, EV_INTR);
	}
}

void pc_set_gsi(void *opaque, int gsi, int level)
{
	struct pc *pc = opaque;
	struct accel *a = machine_accel(pc->machine);

	pc->machine->gsi_count[gsi] += level != 0;
	if (accel_kernel_pic(a)) {
		a->ops->set_gsi(a, (unsigned)gsi, level);
		return;
	}
	if (gsi < 16 && gsi != 2)
		i8259_pair_set(&pc->pics, gsi, level);
	/* IRQ0 arrives at pin 2; the cascade's own pin 0 is the 8259's. */
	if (gsi != 2)
		ioapic_set(pc->ioapic, gsi == 0 ? 2 : gsi, level);
}

static struct irq gsi_wire(void *pc, unsigned gsi)
{
	return irq_line(((struct pc *)pc)->lines, gsi);
}

static bool add_cpus(struct pc *pc, GError **err)
{
	struct machine *m = pc->machine;
	static const struct x86_host_cpuid nothing;
	struct accel *a = machine_accel(m);
	const struct x86_host_cpuid *host = a ? a->ops->host_cpuid(a) : &nothing;

	for (unsigned i = 0; i < pc->config.smp.cpus; i++) {
		struct x86_cpu *cpu = device_new(m, &device_x86_cpu, NULL);

		pc->cpus[i] = cpu;
		cpu->vcpu.index = i;
		cpu->vcpu.accel = a;
		cpu->apic_id = x86_apic_id(&pc->config.smp, i);
		if (a && !x86_cpuid_build(cpu, &pc->config.cpu, &pc->config.smp, host, err))
			return false;
		if (!device_realize(cpu, NULL, err))
			return false;
		if (!lapic_new(m, &pc->apics, &cpu->vcpu, cpu->apic_id, err))
			return false;
		if (a && !vcpu_start(&cpu->vcpu, err))
			return false;
	}
	return true;
}

static bool add_interrupt_controllers(struct pc *pc, GError **err)
{
	struct machine *m = pc->machine;

	if (!i8259_pair_new(&pc->pics, m, (struct irq) { set_intr, pc, 0 }, err))
		return false;
	pc->ioapic = ioapic_new(m, err);
	pc->lines = irq_lines_new(m, (struct irq) { pc_set_gsi, pc, 0 }, err);
	pc->apics.pics = &pc->pics;
	pc->apics.eoi = ioapic_eoi;
	pc->apics.eoi_opaque = pc->ioapic;
	return pc->ioapic && pc->lines;
}

/* As QEMU's board: the first CPU alone takes those of the APM port. */
static void raise_smi(void *opaque, int n, int level)
{
	struct pc *pc = opaque;
	struct accel *a = machine_accel(pc->machine);

	(void)n;
	if (level)
		vcpu_post(g_ptr_array_index(a->vcpus, 0), EV_SMI);
}

static bool smi_wire(struct pc *pc, struct irq *wire, GError **err)
{
	struct accel *a = machine_accel(pc->machine);
	bool can = a && a->ops->smm;

	*wire = (struct irq) { 0 };
	if (pc->config.smm == SMM_ON && !can)
		return error(err,
			     "-machine smm=on: the engine '%s' has no system management mode; use "
			     "-accel tcg, or smm=off",
			     a ? a->ops->name : "none");
	if (can && pc->config.smm != SMM_OFF)
		*wire = (struct irq) { raise_smi, pc, 0 };
	return true;
}

static bool add_bridges(struct pc *pc, GError **err)
{
	struct irq smi;

	if (!smi_wire(pc, &smi, err))
		return false;
	pc->host = i440fx_new(pc->machine, &pc->ram, err);
	pc->isa = pc->host ? piix3_new(pc->machine, &pc->host->bus, err) : NULL;
	if (!pc->isa)
		return false;
	pc->isa->isa.new_wire = gsi_wire;
	pc->isa->isa.wires = pc;
	for (unsigned n = 0; n < ISA_IRQS; n++)
		irq_connect(&pc->isa->pirq_out[n], gsi_wire(pc, n));
	pc->ide = piix_ide_new(pc->machine, &pc->host->bus,
			       (struct irq[]) { gsi_wire(pc, 14), gsi_wire(pc, 15) }, err);
	if (!pc->ide)
		return false;
	pc->pm = piix4_pm_new(pc->machine, &pc->host->bus, gsi_wire(pc, 9), smi, err);
	if (!pc->pm)
		return false;
	pc->machine->powerdown = piix4_pm_power_button;
	pc->machine->powerdown_opaque = pc->pm;
	return true;
}

static bool add_timers(struct pc *pc, GError **err)
{
	struct machine *m = pc->machine;
	struct bus *isa = &pc->isa->isa.bus;

	pc->rtc = mc146818_new(m, isa, pc->config.rtc_base, pc->config.rtc_clock, err);
	if (!pc->rtc)
		return false;
	pc->rtc->lost_tick_policy = pc->config.rtc_slew;
	irq_connect(&pc->rtc->irq, gsi_wire(pc, 8));
	if (pc->config.pit) {
		pc->pit = i8254_new(m, gsi_wire(pc, 0), err);
		if (!pc->pit)
			return false;
	}
	if (pc->config.hpet) {
		pc->hpet = hpet_new(m, err);
		if (!pc->hpet)
			return false;
		for (unsigned n = 0; n < IOAPIC_PINS; n++)
			irq_connect(&pc->hpet->gsi[n], gsi_wire(pc, n));
		/* In legacy replacement it takes the PIT's and the RTC's place. */
		irq_connect(&pc->hpet->legacy_pit, gsi_wire(pc, 0));
		irq_connect(&pc->hpet->legacy_rtc, gsi_wire(pc, 8));
		irq_connect(&pc->rtc->irq, (struct irq) { hpet_rtc_input, pc->hpet, 0 });
		if (pc->pit)
			irq_connect(&pc->hpet->disable_pit,
				    (struct irq) { i8254_disable_irq, pc->pit, 0 });
	}
	return kvmclock_new(m, err);
}

static bool add_isa_devices(struct pc *pc, GError **err)
{
	struct machine *m = pc->machine;
	struct bus *isa = &pc->isa->isa.bus;
	struct irq a20;

	if (!a20_new(m, &a20, err))
		return false;
	if (pc->config.i8042) {
		pc->kbd = i8042_new(m, isa, a20, err);
		if (!pc->kbd)
			return false;
	}
	if (!port92_new(m, isa, a20, err) || !port80_new(m, isa, err) ||
	    !i8237_pair_new(m, isa, pc->dma, err))
		return false;
	pc->fdc = fdc_new(m, isa, pc->dma[0], gsi_wire(pc, 6), err);
	if (!pc->fdc)
		return false;
	for (unsigned i = 0; i < PC_SERIAL_PORTS; i++) {
		struct device *serial;

		if (!pc->config.serial[i])
			continue;
		serial = device_new(m, device_find("isa-serial", NULL), NULL);
		device_set_uint(serial, "index", i);
		if (!device_set(serial, "chardev", pc->config.serial[i], err) ||
		    !device_realize(serial, isa, err))
			return false;
	}
	return true;
}

struct pc *pc_new(struct machine *m, const struct pc_config *config, GError **err)
{
	struct pc *pc = g_new0(struct pc, 1);

	pc->machine = m;
	pc->config = *config;
	m->board = "pc-i440fx";
	space_begin(&m->mem);
	space_begin(&m->ports);
	if (pc_add_memory(pc, err) && add_interrupt_controllers(pc, err) && add_cpus(pc, err) &&
	    add_bridges(pc, err) && add_timers(pc, err) && add_isa_devices(pc, err) &&
	    pc_add_firmware(pc, err)) {
		bool ok = pc_add_fw_cfg_files(pc, err);

		pc_set_cmos(pc);
		ok = ok && pc_add_kernel(pc, err);
		space_commit(&m->ports);
		space_commit(&m->mem);
		return ok ? pc : NULL;
	}
	space_commit(&m->ports);
	space_commit(&m->mem);
	return NULL;
}
