/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82371SB (PIIX3) function 0: the ISA bridge. PIRQ route control (60h-63h) steers the four PCI
 * lines to ISA interrupts; the reset control register is port CF9h. Source: Intel 82371SB data
 * sheet (290550), 2.2 and 2.5. Not modelled: ISA decode enables, the APIC chip select (the IOAPIC
 * is always there).
 */
#include "hw/pci/piix3.h"

#include <string.h>

#define REG_PIRQ_ROUTE 0x60
#define ROUTE_DISABLED BIT(7)
#define RESET_FULL BIT(3)
#define RESET_CPU BIT(2)
#define RESET_SYSTEM BIT(1)

#define D struct piix3

/* Sets every ISA line to what the PIRQs routed to it say. */
static void update_lines(struct piix3 *d)
{
	uint16_t level = 0;

	for (unsigned p = 0; p < PCI_PINS; p++) {
		uint8_t route = d->pci.config[REG_PIRQ_ROUTE + p];

		if (!(route & ROUTE_DISABLED) && d->pirq_level & BIT(p))
			level |= (uint16_t)BIT(route & 15);
	}
	for (unsigned n = 0; n < ISA_IRQS; n++)
		if ((level ^ d->isa_level_from_pirq) & BIT(n))
			irq_set(&d->pirq_out[n], level >> n & 1);
	d->isa_level_from_pirq = level;
}

static void set_pirq(void *opaque, unsigned line, int level)
{
	struct piix3 *d = opaque;

	/* The board wires INTA of slot 1 to PIRQA. */
	line = (line + PCI_PINS - 1) % PCI_PINS;
	d->pirq_level = (uint8_t)(level ? d->pirq_level | BIT(line) : d->pirq_level & ~BIT(line));
	update_lines(d);
}

static void config_written(void *dev, unsigned off, unsigned size)
{
	if (off < REG_PIRQ_ROUTE + PCI_PINS && off + size > REG_PIRQ_ROUTE)
		update_lines(dev);
}

static uint64_t reset_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ((struct piix3 *)dev)->reset_control;
}

static void reset_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct piix3 *d = dev;

	(void)off;
	(void)size;
	/* A rising RCPU resets; SRST only says how hard, and a VM knows one way (2.5.5). */
	if (value & RESET_CPU && !(d->reset_control & RESET_CPU))
		machine_request(d->pci.dev.machine, REQ_RESET);
	d->reset_control = value & (RESET_FULL | RESET_SYSTEM);
}

static bool piix3_realize(void *dev, GError **err)
{
	struct piix3 *d = dev;

	(void)err;
	isa_bus_init(&d->isa, d->pci.dev.machine, &d->pci.dev);
	d->pci.bus->set_intx = set_pirq;
	d->pci.bus->intx_opaque = d;
	memset(d->pci.writable + 0x40, 0xff, 0xb0 - 0x40);
	/* One byte inside the host bridge's address port. */
	device_map_priority(dev, 0, 0xcf9, 1);
	return true;
}

static void piix3_unrealize(void *dev)
{
	struct piix3 *d = dev;

	isa_bus_destroy(&d->isa, d->pci.dev.machine);
}

static void piix3_reset(void *dev)
{
	struct piix3 *d = dev;

	memset(d->pci.config + 0x40, 0, 0xb0 - 0x40);
	pci_set_word(&d->pci, PCI_COMMAND,
		     PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci_set_word(&d->pci, PCI_STATUS, 0x0200); /* medium DEVSEL timing */
	d->pci.config[0x4c] = 0x4d;
	d->pci.config[0x4e] = 0x03;
	memset(d->pci.config + REG_PIRQ_ROUTE, ROUTE_DISABLED, PCI_PINS);
	d->pci.config[0x69] = 0x02;
	d->pci.config[0x70] = 0x80;
	d->pci.config[0x76] = d->pci.config[0x77] = 0x0c;
	d->pci.config[0x78] = 0x02;
	d->pci.config[0xa0] = 0x08;
	d->pci.config[0xa8] = 0x0f;
	d->reset_control = 0;
	d->pirq_level = 0;
}

static void piix3_reset_lines(void *dev)
{
	update_lines(dev);
}

static bool piix3_loaded(void *dev, GError **err)
{
	(void)err;
	update_lines(dev);
	return true;
}

static const struct pci_info piix3_pci = {
	.vendor = 0x8086, .device = 0x7000, .class = 0x0601, .config_written = config_written
};

DEVICE(piix3,
	.name = "PIIX3",
	.desc = "82371SB PCI-to-ISA bridge",
	.bus = "PCI",
	.bus_info = &piix3_pci,
	.board_only = true,
	.windows = WINDOWS({ "reset-control", WIN_PIO, 1, 1, 1, reset_read, reset_write }),
	.state = FIELDS(FO(pci, pci_device_table), F(pirq_level), F(reset_control)),
	.host = HOST(isa, pirq_out, isa_level_from_pirq),
	.realize = piix3_realize,
	.unrealize = piix3_unrealize,
	.reset = piix3_reset,
	.reset_lines = piix3_reset_lines,
	.loaded = piix3_loaded);

struct piix3 *piix3_new(struct machine *m, struct pci_bus *bus, GError **err)
{
	struct piix3 *d = device_new(m, &device_piix3, NULL);

	d->pci.multifunction = true;
	pci_set_devfn(d, 1, 0);
	return device_realize(d, &bus->bus, err) ? d : NULL;
}
