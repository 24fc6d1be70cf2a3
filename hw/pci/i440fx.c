/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82441FX PCI and memory controller: host bridge 00.0, configuration mechanism 1 at ports CF8h and
 * CFCh, programmable attribute maps, SMRAM control. Source: Intel 82441FX data sheet (290549),
 * chapters 3.2 and
 * 4. Not modelled: D_CLS, DRAM timing registers (they store), the AGP-less error reporting.
 */
#include "hw/pci/i440fx.h"

#include <string.h>

#include "core/log.h"

#define REG_PAM0 0x59
#define REG_SMRAM 0x72
#define SMRAM_C_BASE BIT(1)
#define SMRAM_LOCK BIT(4)
#define SMRAM_ENABLE BIT(3)
#define SMRAM_OPEN BIT(6)
#define PAM_READ BIT(0)
#define PAM_WRITE BIT(1)

#define D struct i440fx

/* PAM0's high nibble governs F0000-FFFFF; PAM1 to PAM6 two 16 KiB segments each from C0000. */
static const struct {
	uint32_t base, size;
	uint8_t reg, shift;
} segments[PAM_REGIONS] = {
	{ 0xf0000, 0x10000, 0x59, 4 }, { 0xc0000, 0x4000, 0x5a, 0 }, { 0xc4000, 0x4000, 0x5a, 4 },
	{ 0xc8000, 0x4000, 0x5b, 0 },  { 0xcc000, 0x4000, 0x5b, 4 }, { 0xd0000, 0x4000, 0x5c, 0 },
	{ 0xd4000, 0x4000, 0x5c, 4 },  { 0xd8000, 0x4000, 0x5d, 0 }, { 0xdc000, 0x4000, 0x5d, 4 },
	{ 0xe0000, 0x4000, 0x5e, 0 },  { 0xe4000, 0x4000, 0x5e, 4 }, { 0xe8000, 0x4000, 0x5f, 0 },
	{ 0xec000, 0x4000, 0x5f, 4 },
};

static void update_pam(struct i440fx *d)
{
	struct space *mem = &d->pci.dev.machine->mem;

	space_begin(mem);
	for (int i = 0; i < PAM_REGIONS; i++) {
		unsigned attr = d->pci.config[segments[i].reg] >> segments[i].shift & 3;

		/*
		 * Write-only shadow (attribute 2) is taken as read-write: firmware uses it only to
		 * fill the shadow, reading the ROM it copies from elsewhere.
		 */
		region_set_enabled(&d->pam[i], attr & PAM_WRITE);
		region_set_enabled(&d->pam_rom[i], attr == PAM_READ);
	}
	/* Open SMRAM shows RAM where the display's window is (3.2.20). */
	region_set_enabled(&d->smram, (d->pci.config[REG_SMRAM] & (SMRAM_OPEN | SMRAM_ENABLE)) ==
					      (SMRAM_OPEN | SMRAM_ENABLE));
	/* Closed, those in system management mode still see it. */
	d->pci.dev.machine->smm_ram = (struct smm_ram) { 0 };
	if (d->pci.config[REG_SMRAM] & SMRAM_ENABLE)
		d->pci.dev.machine->smm_ram =
			(struct smm_ram) { 0xa0000, 0x20000, d->ram->ram, 0xa0000 };
	space_commit(mem);
}

static void config_written(void *dev, unsigned off, unsigned size)
{
	struct i440fx *d = dev;

	if (off <= REG_SMRAM && off + size > REG_SMRAM && d->pci.config[REG_SMRAM] & SMRAM_LOCK) {
		/* D_LCK: D_OPEN is cleared and the register frozen until reset. */
		d->pci.config[REG_SMRAM] &= (uint8_t)~SMRAM_OPEN;
		d->pci.writable[REG_SMRAM] = 0;
	}
	if (off + size > REG_PAM0 && off <= REG_SMRAM)
		update_pam(d);
}

static uint64_t address_read(void *dev, uint64_t off, unsigned size)
{
	struct i440fx *d = dev;

	(void)off;
	return size == 4 ? d->config_address : UINT64_MAX;
}

static void address_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct i440fx *d = dev;

	/* Only a full-width write to CF8h is the register's (3.1.1); others pass to the ISA bus. */
	if (off == 0 && size == 4)
		d->config_address = (uint32_t)value & 0x80fffffc;
}

static bool selected(const struct i440fx *d)
{
	/* Enable bit and bus 0: there is no bridge to another bus. */
	return d->config_address & BIT(31) && !(d->config_address >> 16 & 0xff);
}

static uint64_t data_read(void *dev, uint64_t off, unsigned size)
{
	struct i440fx *d = dev;

	if (!selected(d))
		return ones(size);
	return pci_config_read(&d->bus, (uint8_t)(d->config_address >> 8),
			       (d->config_address & 0xfc) + (unsigned)off, size);
}

static void data_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct i440fx *d = dev;

	if (selected(d))
		pci_config_write(&d->bus, (uint8_t)(d->config_address >> 8),
				 (d->config_address & 0xfc) + (unsigned)off, (uint32_t)value, size);
}

static void init_aliases(struct i440fx *d)
{
	struct machine *m = d->pci.dev.machine;

	for (int i = 0; i < PAM_REGIONS; i++) {
		region_init_alias(&d->pam[i], "pam-ram", d->ram, segments[i].base,
				  segments[i].size);
		region_init_alias(&d->pam_rom[i], "pam-rom", d->ram, segments[i].base,
				  segments[i].size);
		d->pam[i].enabled = d->pam_rom[i].enabled = false;
		d->pam_rom[i].read_only = true;
		region_add(&m->mem.root, segments[i].base, 2, &d->pam[i]);
		region_add(&m->mem.root, segments[i].base, 2, &d->pam_rom[i]);
	}
	region_init_alias(&d->smram, "smram", d->ram, 0xa0000, 0x20000);
	d->smram.enabled = false;
	region_add(&m->mem.root, 0xa0000, 2, &d->smram);
}

static bool i440fx_realize(void *dev, GError **err)
{
	struct i440fx *d = dev;

	(void)err;
	for (unsigned r = 0x50; r < 0x80; r++)
		d->pci.writable[r] = 0xff;
	device_map(dev, 0, 0xcf8);
	device_map(dev, 1, 0xcfc);
	init_aliases(d);
	return true;
}

static void i440fx_unrealize(void *dev)
{
	struct i440fx *d = dev;

	for (int i = 0; i < PAM_REGIONS; i++) {
		region_destroy(&d->pam[i]);
		region_destroy(&d->pam_rom[i]);
	}
	region_destroy(&d->smram);
}

static void i440fx_reset(void *dev)
{
	struct i440fx *d = dev;

	d->config_address = 0;
	d->pci.writable[REG_SMRAM] = 0x7a;
	memset(d->pci.config + 0x50, 0, 0x30);
	d->pci.config[REG_SMRAM] = SMRAM_C_BASE;
	d->pci.config[0x57] = 1; /* DRAMC: refresh on */
	update_pam(d);
}

static bool i440fx_loaded(void *dev, GError **err)
{
	struct i440fx *d = dev;

	(void)err;
	d->pci.writable[REG_SMRAM] = d->pci.config[REG_SMRAM] & SMRAM_LOCK ? 0 : 0x7a;
	update_pam(d);
	return true;
}

static void i440fx_print(void *dev, GString *out)
{
	pci_print_bus(&((struct i440fx *)dev)->bus, out);
}

static const struct pci_info i440fx_pci = { .vendor = 0x8086,
					    .device = 0x1237,
					    .class = 0x0600,
					    .revision = 2,
					    .config_written = config_written };

DEVICE(i440fx,
	.name = "i440FX",
	.desc = "82441FX host bridge",
	.bus = "PCI",
	.bus_info = &i440fx_pci,
	.board_only = true,
	.windows = WINDOWS({ "pci-conf-idx", WIN_PIO, 4, 1, 4, address_read, address_write },
			   { "pci-conf-data", WIN_PIO, 4, 1, 4, data_read, data_write }),
	.state = FIELDS(FO(pci, pci_device_table), F(config_address)),
	.host = HOST(bus, ram, pam, pam_rom, smram),
	.realize = i440fx_realize,
	.unrealize = i440fx_unrealize,
	.reset = i440fx_reset,
	.loaded = i440fx_loaded,
	.print = i440fx_print);

/* The bridge owns the bus it sits on, so the bus is made first. */
struct i440fx *i440fx_new(struct machine *m, struct region *ram, GError **err)
{
	struct i440fx *d = device_new(m, &device_i440fx, NULL);

	d->ram = ram;
	pci_bus_init(&d->bus, m, &d->pci.dev, "pci.0");
	pci_set_devfn(d, 0, 0);
	return device_realize(d, &d->bus.bus, err) ? d : NULL;
}
