/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82371AB (PIIX4) function 3: power management. Source: Intel 82371AB data sheet (290562), 7; ACPI
 * specification 6.4, 4.8 (fixed hardware). Not modelled: the SMBus host, SMIs but by
 * APMC, device monitors; sleep states other than S5.
 */
#include "hw/acpi/piix4_pm.h"

#include <string.h>

#include "core/log.h"

#define REG_PMBA 0x40
#define REG_DEVACTB 0x5b
#define DEVACTB_APMC_EN BIT(1)
#define REG_PMREGMISC 0x80
#define PM1_TMR_STS BIT(0)
#define PM1_GBL_STS BIT(5)
#define PM1_PWRBTN_STS BIT(8)
#define PM1_RTC_STS BIT(10)
#define PM1_STATUS_BITS (PM1_TMR_STS | PM1_GBL_STS | PM1_PWRBTN_STS | PM1_RTC_STS | BIT(15))
#define PM1_ENABLE_BITS (PM1_TMR_STS | PM1_GBL_STS | PM1_PWRBTN_STS | PM1_RTC_STS)
#define PM1_SCI_EN BIT(0)
#define PM1_SLP_TYP(v) ((v) >> 10 & 7)
#define PM1_SLP_EN BIT(13)
#define SLP_S5 0
#define PM_TIMER_HZ 3579545u

#define D struct piix4_pm

static uint64_t pm_ticks(const struct piix4_pm *d)
{
	return muldiv64((uint64_t)clock_ns(vm_clock(d->pci.dev.machine)), PM_TIMER_HZ, NS_PER_SEC);
}

static void update_sci(struct piix4_pm *d)
{
	bool pm1 = d->pm1_status & d->pm1_enable & PM1_ENABLE_BITS,
	     gpe = d->gpe_status & d->gpe_enable;

	irq_set(&d->sci, d->pm1_control & PM1_SCI_EN && (pm1 || gpe));
}

/* TMR_STS sets whenever bit 23 of the timer changes (ACPI 4.8.3.1). */
static void catch_up_timer(struct piix4_pm *d)
{
	int64_t now = (int64_t)pm_ticks(d), half = INT64_C(1) << 23;

	if (now >= d->tmr_overflow) {
		d->pm1_status |= PM1_TMR_STS;
		d->tmr_overflow = (now / half + 1) * half;
	}
}

static void arm_timer(struct piix4_pm *d)
{
	timer_cancel(&d->tmr_timer);
	if (d->pm1_enable & PM1_TMR_STS && !(d->pm1_status & PM1_TMR_STS))
		timer_arm(&d->tmr_timer, (int64_t)muldiv64_ceil((uint64_t)d->tmr_overflow,
								NS_PER_SEC, PM_TIMER_HZ));
}

static void timer_fires(void *opaque, int64_t late_ns)
{
	struct piix4_pm *d = opaque;

	(void)late_ns;
	catch_up_timer(d);
	update_sci(d);
}

static void write_control(struct piix4_pm *d, uint16_t v)
{
	d->pm1_control = v & ~PM1_SLP_EN;
	update_sci(d);
	if (!(v & PM1_SLP_EN))
		return;
	if (PM1_SLP_TYP(v) == SLP_S5) {
		d->pci.dev.machine->cause = CAUSE_GUEST_SHUTDOWN;
		machine_request(d->pci.dev.machine, REQ_SHUTDOWN);
	} else {
		log_guest(d, "sleep type %u is not offered and not entered", PM1_SLP_TYP(v));
	}
}

static uint64_t pm_read(void *dev, uint64_t off, unsigned size)
{
	struct piix4_pm *d = dev;

	(void)size;
	switch (off & ~1u) {
	case 0:
		catch_up_timer(d);
		return d->pm1_status;
	case 2:
		return d->pm1_enable;
	case 4:
		return d->pm1_control;
	default: /* the timer at 8 has a window of its own */
		return 0;
	}
}

static void pm_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct piix4_pm *d = dev;

	(void)size;
	switch (off & ~1u) {
	case 0:
		catch_up_timer(d);
		d->pm1_status &= (uint16_t) ~(value & PM1_STATUS_BITS);
		break;
	case 2:
		catch_up_timer(d);
		d->pm1_enable = value & PM1_ENABLE_BITS;
		break;
	case 4:
		write_control(d, (uint16_t)value);
		return;
	default:
		return;
	}
	update_sci(d);
	arm_timer(d);
}

/* The 32-bit timer read must be one value: 16-bit halves of it would tear. */
static uint64_t timer_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return pm_ticks(dev) & 0xffffff;
}

static uint64_t gpe_read(void *dev, uint64_t off, unsigned size)
{
	struct piix4_pm *d = dev;

	(void)size;
	return off < 2 ? d->gpe_status >> (8 * off) : d->gpe_enable >> (8 * (off - 2));
}

static void gpe_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct piix4_pm *d = dev;
	unsigned shift = 8 * (off & 1);

	(void)size;
	if (off < 2)
		d->gpe_status &= (uint16_t) ~((value & 0xff) << shift);
	else
		d->gpe_enable =
			(uint16_t)((d->gpe_enable & ~(0xffu << shift)) | (value & 0xff) << shift);
	update_sci(d);
}

static uint64_t apm_read(void *dev, uint64_t off, unsigned size)
{
	struct piix4_pm *d = dev;

	(void)size;
	return off ? d->apm_status : d->apm_control;
}

static void apm_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct piix4_pm *d = dev;

	(void)size;
	if (off) {
		d->apm_status = (uint8_t)value;
		return;
	}
	d->apm_control = (uint8_t)value;
	/* What an SMI handler of the firmware would do; nobody writes one for this. */
	if (value == ACPI_ENABLE_COMMAND)
		d->pm1_control |= PM1_SCI_EN;
	else if (value == ACPI_DISABLE_COMMAND)
		d->pm1_control &= (uint16_t)~PM1_SCI_EN;
	update_sci(d);
	if (d->pci.config[REG_DEVACTB] & DEVACTB_APMC_EN && d->smi.set)
		irq_set(&d->smi, true);
}

uint16_t piix4_pm_base(const struct piix4_pm *d)
{
	return pci_word(&d->pci, REG_PMBA) & 0xffc0;
}

static void update_mapping(struct piix4_pm *d)
{
	uint16_t base = d->pci.config[REG_PMREGMISC] & 1 ? piix4_pm_base(d) : 0;

	if (base == d->mapped_base)
		return;
	region_remove(&d->pci.dev.regions[0]);
	region_remove(&d->pci.dev.regions[3]);
	if (base) {
		device_map(d, 0, base);
		device_map_priority(d, 3, base + 8u, 1);
	}
	d->mapped_base = base;
}

void piix4_pm_enable(struct piix4_pm *d, uint16_t base)
{
	pci_set_word(&d->pci, REG_PMBA, base | 1);
	d->pci.config[REG_PMREGMISC] = 1;
	pci_set_word(&d->pci, PCI_COMMAND, PCI_COMMAND_IO);
	update_mapping(d);
}

static void config_written(void *dev, unsigned off, unsigned size)
{
	(void)off;
	(void)size;
	update_mapping(dev);
}

void piix4_pm_power_button(void *pm)
{
	struct piix4_pm *d = pm;

	d->pm1_status |= PM1_PWRBTN_STS;
	update_sci(d);
}

static bool pm_realize(void *dev, GError **err)
{
	struct piix4_pm *d = dev;

	(void)err;
	timer_init(&d->tmr_timer, vm_clock(d->pci.dev.machine), "acpi-pm", timer_fires, d);
	memset(d->pci.writable + 0x40, 0xff, 0xc0);
	store_le(d->pci.writable + REG_PMBA, 0xffc0, 4);
	device_map(dev, 1, GPE0_BASE);
	device_map(dev, 2, APM_CONTROL_PORT);
	return true;
}

static void pm_reset(void *dev)
{
	struct piix4_pm *d = dev;

	memset(d->pci.config + 0x40, 0, 0xc0);
	pci_set_word(&d->pci, PCI_STATUS, 0x0280);
	d->pci.config[PCI_INTERRUPT_LINE] = 9;
	d->pci.config[REG_PMBA] = 1; /* an I/O address */
	/* Without the mode APMC_EN as if it were set up already: firmware then leaves it alone. */
	d->pci.config[REG_DEVACTB] = d->smi.set ? 0 : DEVACTB_APMC_EN;
	d->pci.config[0x90] = 1;
	timer_cancel(&d->tmr_timer);
	d->pm1_status = d->pm1_enable = d->pm1_control = 0;
	d->gpe_status = d->gpe_enable = 0;
	d->apm_control = d->apm_status = 0;
	d->tmr_overflow = (int64_t)((pm_ticks(d) >> 23) + 1) << 23;
	update_mapping(d);
}

static void pm_reset_lines(void *dev)
{
	update_sci(dev);
}

static bool pm_loaded(void *dev, GError **err)
{
	struct piix4_pm *d = dev;

	if (d->tmr_overflow < 0 || d->tmr_overflow >= INT64_C(1) << 60)
		return error(err, "saved state: '%s': the PM timer's next overflow is no time",
			     d->pci.dev.path);
	update_mapping(d);
	update_sci(d);
	return true;
}

static const struct pci_info pm_pci = {
	.vendor = 0x8086,
	.device = 0x7113,
	.class = 0x0680,
	.revision = 3,
	.interrupt_pin = 1,
	.config_written = config_written,
};

DEVICE(piix4_pm,
	.name = "PIIX4_PM",
	.desc = "82371AB power management",
	.bus = "PCI",
	.bus_info = &pm_pci,
	.board_only = true,
	.windows = WINDOWS({ "acpi-pm", WIN_PIO, 64, 2, 2, pm_read, pm_write },
			   { "acpi-gpe0", WIN_PIO, 4, 1, 1, gpe_read, gpe_write },
			   { "apm", WIN_PIO, 2, 1, 1, apm_read, apm_write },
			   { "acpi-tmr", WIN_PIO, 4, 4, 4, timer_read, NULL }),
	.state = FIELDS(FO(pci, pci_device_table), F(pm1_status), F(pm1_enable), F(pm1_control), F(gpe_status),
			F(gpe_enable), F(apm_control), F(apm_status), F(tmr_overflow), F(tmr_timer)),
	.host = HOST(mapped_base, sci, smi),
	.realize = pm_realize,
	.reset = pm_reset,
	.reset_lines = pm_reset_lines,
	.loaded = pm_loaded);

struct piix4_pm *piix4_pm_new(struct machine *m, struct pci_bus *bus, struct irq sci,
			      struct irq smi, GError **err)
{
	struct piix4_pm *d = device_new(m, &device_piix4_pm, NULL);

	irq_connect(&d->sci, sci);
	irq_connect(&d->smi, smi);
	pci_set_devfn(d, 1, 3);
	return device_realize(d, &bus->bus, err) ? d : NULL;
}
