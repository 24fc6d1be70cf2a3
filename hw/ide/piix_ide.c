/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82371SB (PIIX3) function 1: two IDE channels at the legacy ports with a bus master. Source: Intel
 * 82371SB data sheet (290550), 2.3 and 2.7; Programming Interface for Bus Master IDE
 * Controller 1.0. Timing registers are stored and change nothing.
 */
#include "hw/ide/piix_ide.h"

#include <string.h>

#include "core/log.h"

#define BM_BYTES 16
#define BM_COMMAND 0
#define BM_START BIT(0)
#define BM_TO_MEMORY BIT(3)
#define BM_STATUS 2
#define BM_ACTIVE BIT(0)
#define BM_ERROR BIT(1)
#define BM_INTERRUPT BIT(2)
#define BM_CAPABLE (BIT(5) | BIT(6))
#define BM_TABLE 4

#define PRD_BYTES 8
#define PRD_LAST BIT(15)
#define MOST_PRDS 8192 /* a table lies in 64 KiB */

static unsigned index_of(struct piix_ide *s, struct ata_channel *c)
{
	return (unsigned)(c - s->channels);
}

/* What a channel's table names, until it is `wanted` bytes. */
static void gather(struct piix_ide *s, unsigned n, uint32_t wanted)
{
	struct dma_list *l = &s->dma[n];

	for (unsigned i = 0; i < MOST_PRDS && l->len < wanted; i++) {
		uint8_t prd[PRD_BYTES];
		uint32_t addr, len;

		if (!dma_read(s, (s->bm_table[n] & ~3u) + PRD_BYTES * i, prd, sizeof(prd)))
			return;
		addr = (uint32_t)load_le(prd, 4) & ~1u;
		len = (uint32_t)load_le(prd + 4, 2) & 0xfffe;
		if (!dma_list_add(s, l, addr, MIN_OF(len ? len : 65536, wanted - l->len)) ||
		    load_le(prd + 6, 2) & PRD_LAST)
			return;
	}
}

/* Both sides are ready: the device waits and the driver has said start. */
static void run(struct piix_ide *s, unsigned n)
{
	struct ata_channel *c = &s->channels[n];
	bool to_memory;
	uint32_t wanted = ata_dma_wanted(c, &to_memory);
	struct iovec *iov;
	int count;

	if (!wanted || !(s->bm_command[n] & BM_START))
		return;
	dma_list_end(&s->dma[n]);
	dma_list_start(&s->dma[n], to_memory);
	gather(s, n, wanted);
	iov = dma_list_iov(&s->dma[n], &count);
	ata_dma_run(c, iov, count);
}

static void dma_ready(void *opaque, struct ata_channel *c)
{
	run(opaque, index_of(opaque, c));
}

static void dma_done(void *opaque, struct ata_channel *c, bool failed)
{
	struct piix_ide *s = opaque;
	unsigned n = index_of(s, c);

	dma_list_end(&s->dma[n]);
	s->bm_status[n] &= (uint8_t)~BM_ACTIVE;
	if (failed)
		s->bm_status[n] |= BM_ERROR;
}

static void irq_changed(void *opaque, struct ata_channel *c, bool level)
{
	struct piix_ide *s = opaque;

	if (level)
		s->bm_status[index_of(s, c)] |= BM_INTERRUPT;
}

static uint64_t bm_read(void *opaque, uint64_t off, unsigned size)
{
	struct piix_ide *s = opaque;
	unsigned n = off >= 8;
	uint64_t reg = off & 7, value = 0;

	if (reg < BM_STATUS)
		value = s->bm_command[n] >> 8 * reg;
	else if (reg < BM_TABLE)
		value = s->bm_status[n] >> 8 * (reg - BM_STATUS);
	else
		value = s->bm_table[n] >> 8 * (reg - BM_TABLE);
	if (reg == BM_COMMAND && size == 4)
		value |= (uint32_t)s->bm_status[n] << 16;
	return value & ones(size);
}

static void command_write(struct piix_ide *s, unsigned n, uint8_t value)
{
	bool was = s->bm_command[n] & BM_START;

	s->bm_command[n] = value & (BM_START | BM_TO_MEMORY);
	if (value & BM_START && !was) {
		s->bm_status[n] |= BM_ACTIVE;
		run(s, n);
	} else if (!(value & BM_START)) {
		s->bm_status[n] &= (uint8_t)~BM_ACTIVE;
	}
}

static void bm_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct piix_ide *s = opaque;
	unsigned n = off >= 8;
	uint64_t reg = off & 7;

	if (reg == BM_STATUS) {
		uint8_t v = (uint8_t)value;

		/* 2.1: active is read-only, error and interrupt are cleared by 1. */
		s->bm_status[n] =
			(uint8_t)((s->bm_status[n] & (BM_ACTIVE | BM_ERROR | BM_INTERRUPT) &
				   ~(v & (BM_ERROR | BM_INTERRUPT))) |
				  (v & BM_CAPABLE));
	} else if (reg == BM_COMMAND) {
		command_write(s, n, (uint8_t)value);
	} else if (reg >= BM_TABLE) {
		unsigned shift = 8 * (unsigned)(reg - BM_TABLE);

		s->bm_table[n] =
			(uint32_t)((s->bm_table[n] & ~(ones(size) << shift)) | value << shift) &
			~3u;
	}
}

/* Legacy ports. */

static uint64_t command_block_read(struct piix_ide *s, unsigned n, uint64_t off, unsigned size)
{
	struct ata_channel *c = &s->channels[n];
	uint64_t value = 0;

	if (off == ATA_DATA)
		return ata_read_data(c, size < 2 ? 2 : size);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)ata_read(c, (unsigned)(off + i) & 7) << 8 * i;
	return value;
}

static void command_block_write(struct piix_ide *s, unsigned n, uint64_t off, uint64_t value,
				unsigned size)
{
	if (off == ATA_DATA) {
		ata_write_data(&s->channels[n], (uint32_t)value, size < 2 ? 2 : size);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		ata_write(&s->channels[n], (unsigned)(off + i) & 7, (uint8_t)(value >> 8 * i));
}

static uint64_t primary_read(void *dev, uint64_t off, unsigned size)
{
	return command_block_read(dev, 0, off, size);
}

static void primary_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	command_block_write(dev, 0, off, value, size);
}

static uint64_t secondary_read(void *dev, uint64_t off, unsigned size)
{
	return command_block_read(dev, 1, off, size);
}

static void secondary_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	command_block_write(dev, 1, off, value, size);
}

static uint64_t primary_control_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ata_alternate_status(&((struct piix_ide *)dev)->channels[0]);
}

static void primary_control_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	(void)off;
	(void)size;
	ata_write_control(&((struct piix_ide *)dev)->channels[0], (uint8_t)value);
}

static uint64_t secondary_control_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ata_alternate_status(&((struct piix_ide *)dev)->channels[1]);
}

static void secondary_control_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	(void)off;
	(void)size;
	ata_write_control(&((struct piix_ide *)dev)->channels[1], (uint8_t)value);
}

#define D struct piix_ide

static bool piix_ide_realize(void *dev, GError **err)
{
	static const struct region_ops ops = { bm_read, bm_write, 1, 4 };
	struct piix_ide *s = dev;

	(void)err;
	region_init_io(&s->bus_master, "piix-ide-bm", BM_BYTES, &ops, s, dev);
	pci_add_bar(s, 4, &s->bus_master, true, false, false);
	memset(s->pci.writable + PIIX3_IDETIM, 0xff, 4);
	for (unsigned i = 0; i < IDE_CHANNELS; i++) {
		struct ata_channel *c = &s->channels[i];

		ata_channel_init(c, s);
		c->dma_ready = dma_ready;
		c->dma_done = dma_done;
		c->irq_changed = irq_changed;
		c->opaque = s;
		ide_bus_init(&s->buses[i], dev, c, 2, i, i ? "ide.1" : "ide.0");
	}
	device_map(dev, 0, 0x1f0);
	device_map(dev, 1, 0x3f6);
	device_map(dev, 2, 0x170);
	device_map(dev, 3, 0x376);
	return true;
}

static void piix_ide_unrealize(void *dev)
{
	struct piix_ide *s = dev;

	for (unsigned i = 0; i < IDE_CHANNELS; i++) {
		ata_channel_reset(&s->channels[i]);
		dma_list_end(&s->dma[i]);
		ide_bus_destroy(&s->buses[i]);
	}
	region_destroy(&s->bus_master);
}

static void piix_ide_reset(void *dev)
{
	struct piix_ide *s = dev;

	pci_set_word(&s->pci, PCI_COMMAND, 0);
	pci_set_word(&s->pci, PCI_STATUS, 0x0280);
	for (unsigned i = 0; i < IDE_CHANNELS; i++) {
		ata_channel_reset(&s->channels[i]);
		dma_list_end(&s->dma[i]);
		for (unsigned k = 0; k < 2; k++)
			s->channels[i].devices[k].dma_mode = 0;
		s->bm_command[i] = s->bm_status[i] = 0;
		s->bm_table[i] = 0;
	}
}

static void piix_ide_reset_lines(void *dev)
{
	for (unsigned i = 0; i < IDE_CHANNELS; i++)
		ata_update_irq(&((struct piix_ide *)dev)->channels[i]);
}

static bool piix_ide_loaded(void *dev, GError **err)
{
	struct piix_ide *s = dev;

	for (unsigned i = 0; i < IDE_CHANNELS; i++) {
		if (!ata_channel_loaded(&s->channels[i], s->pci.dev.path, err))
			return false;
		irq_set(&s->channels[i].irq,
			s->channels[i].irq_pending && !(s->channels[i].control & ATA_CONTROL_NIEN));
	}
	return true;
}

static void piix_ide_run_changed(void *dev, bool running)
{
	for (unsigned i = 0; running && i < IDE_CHANNELS; i++)
		ata_resume(&((struct piix_ide *)dev)->channels[i]);
}

static const struct pci_info piix_ide_pci = {
	.vendor = 0x8086, .device = 0x7010, .class = 0x0101, .prog_if = 0x80
};

DEVICE(piix_ide,
	.name = "piix3-ide",
	.desc = "82371SB IDE controller",
	.bus = "PCI",
	.bus_info = &piix_ide_pci,
	.board_only = true,
	.windows = WINDOWS({ "primary", WIN_PIO, 8, 1, 4, primary_read, primary_write },
			   { "primary-control", WIN_PIO, 1, 1, 1, primary_control_read, primary_control_write },
			   { "secondary", WIN_PIO, 8, 1, 4, secondary_read, secondary_write },
			   { "secondary-control", WIN_PIO, 1, 1, 1, secondary_control_read,
			     secondary_control_write }),
	.state = FIELDS(FO(pci, pci_device_table), FO(channels, ata_channel_table), F(bm_command),
			F(bm_status), F(bm_table)),
	.host = HOST(bus_master, buses, dma),
	.realize = piix_ide_realize,
	.unrealize = piix_ide_unrealize,
	.reset = piix_ide_reset,
	.reset_lines = piix_ide_reset_lines,
	.loaded = piix_ide_loaded,
	.run_changed = piix_ide_run_changed);

struct piix_ide *piix_ide_new(struct machine *m, struct pci_bus *bus, const struct irq *irqs,
			      GError **err)
{
	struct piix_ide *s = device_new(m, &device_piix_ide, NULL);

	pci_set_devfn(s, 1, 1);
	for (unsigned i = 0; i < IDE_CHANNELS; i++)
		irq_connect(&s->channels[i].irq, irqs[i]);
	return device_realize(s, &bus->bus, err) ? s : NULL;
}

bool piix_ide_attach(struct piix_ide *s, unsigned index, struct drive *drive, GError **err)
{
	if (index >= 2 * IDE_CHANNELS)
		return error(err, "drive '%s': IDE has places 0 to 3, not %u", drive->id, index);
	if (!drive_attach(drive, s, device_name(s), err))
		return false;
	ata_attach(&s->channels[index / 2], index % 2, drive);
	return true;
}
