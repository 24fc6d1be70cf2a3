/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the PC that are not wiring: memory layout, firmware, what firmware is told. */
#include "hw/board/pc.h"

#include <string.h>

#include "hw/block/pflash.h"
#include "hw/firmware/direct.h"
#include "hw/firmware/loader.h"
#include "hw/firmware/smbios.h"

#define DEFAULT_BIOS "bios-256k.bin"
/*
 * RAM that would reach past 3.5 GiB is cut at 3 GiB, so that the rest lies above 4 GiB in whole
 * GiB.
 */
#define LOW_RAM_LIMIT UINT64_C(0xe0000000)
#define LOW_RAM_SPLIT UINT64_C(0xc0000000)
#define PCI32_END 0xfebfffffu
#define KVM_PAGES_START UINT64_C(0xfeffc000) /* see accel/kvm/kvm.c */
#define KVM_PAGES_SIZE UINT64_C(0x4000)

void pc_config_default(struct pc_config *c)
{
	*c = (struct pc_config) {
		.ram_size = 128 * MIB,
		.smp = { 1, 1, 1, 1, 1 },
		.acpi = true,
		.hpet = true,
		.pit = true,
		.i8042 = true,
		.boot_order = "cad",
	};
}

void pc_free(struct pc *pc)
{
	if (!pc)
		return;
	region_destroy(&pc->low_alias);
	region_destroy(&pc->high_ram);
	g_free(pc);
}

bool pc_add_memory(struct pc *pc, GError **err)
{
	struct machine *m = pc->machine;
	struct ram_block *block = machine_ram(m, "pc.ram", pc->config.ram_size, err);

	if (!block)
		return false;
	pc->ram_below_4g =
		pc->config.ram_size > LOW_RAM_LIMIT ? LOW_RAM_SPLIT : pc->config.ram_size;
	pc->ram_above_4g = pc->config.ram_size - pc->ram_below_4g;
	region_init_ram(&pc->ram, "pc.ram", block);
	region_init_alias(&pc->low_alias, "ram-below-4g", &pc->ram, 0, pc->ram_below_4g);
	region_add(&m->mem.root, 0, 0, &pc->low_alias);
	if (pc->ram_above_4g) {
		region_init_alias(&pc->high_ram, "ram-above-4g", &pc->ram, pc->ram_below_4g,
				  pc->ram_above_4g);
		region_add(&m->mem.root, 4 * GIB, 0, &pc->high_ram);
	}
	return true;
}

/* What a read of the display window and of the option ROM area finds: nothing. */
static void add_isa_hole(struct pc *pc)
{
	struct region *hole = g_new0(struct region, 1);
	static const struct region_ops nothing = { .min = 1, .max = 8 };

	region_init_io(hole, "isa-hole", 0x60000, &nothing, NULL, NULL);
	region_add(&pc->machine->mem.root, 0xa0000, 0, hole);
}

/* A kernel without firmware; where that is named, it boots the kernel. */
static bool boots_directly(const struct pc *pc)
{
	return pc->config.kernel && !pc->config.bios && !pc->config.pflash[0].file;
}

bool pc_add_firmware(struct pc *pc, GError **err)
{
	g_autofree char *path = NULL;
	uint64_t end = 4 * GIB;

	add_isa_hole(pc);
	pc->fw_cfg = fw_cfg_new(pc->machine, err);
	if (!pc->fw_cfg)
		return false;
	if (boots_directly(pc))
		return true;
	if (!pc->config.pflash[0].file) {
		path = firmware_find(pc->config.bios ? pc->config.bios : DEFAULT_BIOS, err);
		return path && firmware_map_bios(pc->machine, path, err);
	}
	for (unsigned i = 0; i < PC_PFLASH_UNITS && pc->config.pflash[i].file; i++) {
		struct pflash *f;

		g_free(path);
		path = firmware_find(pc->config.pflash[i].file, err);
		f = path ? pflash_new(pc->machine, i, path, pc->config.pflash[i].readonly, end, err)
			 : NULL;
		if (!f)
			return false;
		if (i == 0)
			firmware_map_isa_alias(pc->machine, &f->region);
		end -= f->region.size;
	}
	return true;
}

static void put_e820(GByteArray *a, uint64_t start, uint64_t size, uint32_t type)
{
	uint8_t e[20];

	store_le(e, start, 8);
	store_le(e + 8, size, 8);
	store_le(e + 16, type, 4);
	g_byte_array_append(a, e, sizeof(e));
}

static void add_e820(struct pc *pc)
{
	g_autoptr(GByteArray) a = g_byte_array_new();

	put_e820(a, KVM_PAGES_START, KVM_PAGES_SIZE, E820_RESERVED);
	put_e820(a, 0, pc->ram_below_4g, E820_RAM);
	if (pc->ram_above_4g)
		put_e820(a, 4 * GIB, pc->ram_above_4g, E820_RAM);
	fw_cfg_set_file(pc->fw_cfg, "etc/e820", a->data, a->len);
}

static void add_acpi(struct pc *pc)
{
	struct acpi_config *c = &pc->acpi;

	c->cpus = pc->config.smp.cpus;
	for (unsigned i = 0; i < c->cpus; i++)
		c->apic_ids[i] = pc->cpus[i]->apic_id;
	c->hpet = pc->hpet != NULL;
	c->i8042 = pc->kbd != NULL;
	for (unsigned i = 0; i < PC_SERIAL_PORTS; i++)
		c->com_ports |= pc->config.serial[i] ? (uint8_t)BIT(i) : 0;
	c->pci32_start = align_up(MAX_OF(pc->ram_below_4g, UINT64_C(0x80000000)), 256 * MIB);
	c->pci32_end = PCI32_END;
	c->pm = pc->pm;
	c->fw_cfg = pc->fw_cfg;
	acpi_add_tables(c);
}

static void add_smbios(struct pc *pc)
{
	const struct x86_cpuid *v = x86_cpuid_find(pc->cpus[0], 1, 0);
	struct smbios_config c = {
		.product = "Standard PC (i440FX + PIIX, 1996)",
		.version = "pc-i440fx",
		.ram_size = pc->config.ram_size,
		.ram_below_4g = pc->ram_below_4g,
		.sockets = pc->config.smp.sockets,
		.cores = pc->config.smp.cores,
		.threads = pc->config.smp.threads,
		.cpu_signature = v ? v->eax : 0,
		.cpu_features = v ? v->edx : 0,
	};

	smbios_add(pc->fw_cfg, pc->machine, &c);
}

/* S3 and S4 are off: bit 7 says enabled, the low bits the sleep type. */
static const uint8_t system_states[6] = { 128, 0, 0, 1, 2, 128 };

static void set_boot_order(struct pc *pc)
{
	const GArray *boot = pc->machine->boot;
	GString *order = g_string_new(NULL);

	/* A kernel comes first, if it is for firmware. */
	if (pc->config.kernel && !boots_directly(pc))
		g_string_append(order, "/rom@" LINUXBOOT_ROM);
	for (guint i = 0; boot && i < boot->len; i++)
		g_string_append_printf(order, "%s%s", order->len ? "\n" : "",
				       g_array_index(boot, struct boot_entry, i).path);
	fw_cfg_set_file(pc->fw_cfg, "bootorder", order->str, order->len + 1);
	g_string_free(order, TRUE);
}

bool pc_add_fw_cfg_files(struct pc *pc, GError **err)
{
	struct fw_cfg *f = pc->fw_cfg;
	uint8_t irq0 = 1;

	fw_cfg_add_u16(f, FW_CFG_NB_CPUS, (uint16_t)pc->config.smp.cpus);
	fw_cfg_add_u16(f, FW_CFG_MAX_CPUS,
		       (uint16_t)(pc->cpus[pc->config.smp.cpus - 1]->apic_id + 1));
	fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, pc->config.ram_size);
	fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, pc->config.nographic);
	fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, pc->config.boot_menu);
	fw_cfg_add(f, FW_CFG_UUID, pc->machine->uuid, 16);
	fw_cfg_add(f, FW_CFG_IRQ0_OVERRIDE, &irq0, 1);
	fw_cfg_set_file(f, "etc/system-states", system_states, sizeof(system_states));
	add_e820(pc);
	if (pc->config.acpi)
		add_acpi(pc);
	add_smbios(pc);
	set_boot_order(pc);
	for (guint i = 0; pc->config.fw_cfg && i < pc->config.fw_cfg->len; i++)
		if (!fw_cfg_add_blob(f, pc->config.fw_cfg->pdata[i], err))
			return false;
	return true;
}

static uint8_t boot_code(char c)
{
	switch (c) {
	case 'a':
	case 'b':
		return 1;
	case 'c':
		return 2;
	case 'd':
		return 3;
	case 'n':
		return 4;
	default:
		return 0;
	}
}

/* The memory sizes and boot devices as IBM's and SeaBIOS's CMOS layout have them. */
void pc_set_cmos(struct pc *pc)
{
	struct mc146818 *r = pc->rtc;
	uint64_t above_1m = MIN_OF((pc->ram_below_4g - MIB) / KIB, UINT64_C(65535));
	uint64_t above_16m =
		pc->ram_below_4g > 16 * MIB ? (pc->ram_below_4g - 16 * MIB) / (64 * KIB) : 0;
	uint64_t above_4g = pc->ram_above_4g / (64 * KIB);
	const char *order = pc->config.boot_order;
	size_t n = strlen(order);

	above_16m = MIN_OF(above_16m, UINT64_C(65535));
	mc146818_set_cmos(r, 0x15, 640 & 0xff);
	mc146818_set_cmos(r, 0x16, 640 >> 8);
	for (unsigned i = 0; i < 2; i++) {
		mc146818_set_cmos(r, 0x17 + i, (uint8_t)(above_1m >> (8 * i)));
		mc146818_set_cmos(r, 0x30 + i, (uint8_t)(above_1m >> (8 * i)));
		mc146818_set_cmos(r, 0x34 + i, (uint8_t)(above_16m >> (8 * i)));
	}
	for (unsigned i = 0; i < 3; i++)
		mc146818_set_cmos(r, 0x5b + i, (uint8_t)(above_4g >> (8 * i)));
	mc146818_set_cmos(r, 0x5f, (uint8_t)(pc->config.smp.cpus - 1));
	mc146818_set_cmos(r, 0x14, 0x06); /* FPU and mouse */
	mc146818_set_cmos(
		r, 0x3d,
		(uint8_t)(boot_code(n > 0 ? order[0] : 0) | boot_code(n > 1 ? order[1] : 0) << 4));
	mc146818_set_cmos(r, 0x38,
			  (uint8_t)(boot_code(n > 2 ? order[2] : 0) << 4 |
				    1)); /* no floppy signature check */
}

static void set_floppies(struct pc *pc)
{
	uint8_t a = fdc_cmos_type(pc->fdc, 0), b = fdc_cmos_type(pc->fdc, 1);
	unsigned n = (a != 0) + (b != 0);

	pc->acpi.floppies = n;
	mc146818_set_cmos(pc->rtc, 0x10, (uint8_t)(a << 4 | b));
	mc146818_set_cmos(pc->rtc, 0x14, (uint8_t)(0x06 | (n ? (n - 1) << 6 | 1 : 0)));
}

void pc_finish(struct pc *pc)
{
	set_boot_order(pc);
	set_floppies(pc);
}

bool pc_add_kernel(struct pc *pc, GError **err)
{
	struct direct_config c = {
		.kernel = pc->config.kernel,
		.initrd = pc->config.initrd,
		.append = pc->config.append,
		.ram_below_4g = pc->ram_below_4g,
		.ram_above_4g = pc->ram_above_4g,
		.acpi = pc->config.acpi ? &pc->acpi : NULL,
		.pm = pc->pm,
		.pci = &pc->host->bus,
		.ram = pc->ram.ram,
		.bsp = &pc->cpus[0]->vcpu,
	};

	if (!pc->config.kernel)
		return true;
	return boots_directly(pc) ? direct_boot_new(pc->machine, &c, err)
				  : direct_boot_offer(pc->fw_cfg, &c, err);
}
