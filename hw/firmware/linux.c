/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does what a boot loader does with a bzImage: the zero page, command line and initial RAM disk,
 * the processor in 64-bit mode (or 32-bit protected mode for kernels without a 64-bit entry).
 * Source: the Linux x86 boot protocol (2.00 to 2.15).
 */
#include <string.h>

#include "core/error.h"
#include "cpu/x86/cpu.h"
#include "gen/linuxboot.h"
#include "hw/firmware/direct.h"
#include "hw/firmware/fw_cfg.h"

/* Offsets in the image's setup header, which is at the same place in the zero page. */
#define SETUP_SECTS 0x1f1
#define HEADER_MAGIC 0x202
#define HEADER_END 0x201 /* its low byte plus 202h is where the header ends */
#define VERSION 0x206
#define TYPE_OF_LOADER 0x210
#define LOADFLAGS 0x211
#define CODE32_START 0x214
#define RAMDISK_IMAGE 0x218
#define RAMDISK_SIZE 0x21c
#define HEAP_END_PTR 0x224
#define CMD_LINE_PTR 0x228
#define INITRD_ADDR_MAX 0x22c
#define RELOCATABLE 0x234
#define XLOADFLAGS 0x236
#define CMDLINE_SIZE 0x238
#define PREF_ADDRESS 0x258
#define INIT_SIZE 0x260
#define XLF_KERNEL_64 BIT(0)
#define LOADFLAGS_CAN_USE_HEAP BIT(7)
/* In the zero page only. */
#define ACPI_RSDP_ADDR 0x070
#define E820_ENTRIES 0x1e8
#define E820_TABLE 0x2d0

#define ENTRY_64 0x200

static uint32_t header(const struct direct_boot *b, unsigned off, unsigned size)
{
	return (uint32_t)load_le(b->kernel + off, size);
}

void linux_make_zero_page(struct direct_boot *b, uint8_t *page, const uint8_t *setup,
			  size_t setup_size)
{
	if (setup_size)
		memcpy(page + SETUP_SECTS, setup, setup_size);
	page[TYPE_OF_LOADER] = 0xff; /* no number of its own */
	store_le(page + CODE32_START, b->load_at, 4);
	store_le(page + CMD_LINE_PTR, BOOT_CMDLINE_AT, 4);
	store_le(page + RAMDISK_IMAGE, b->initrd ? b->initrd_at : 0, 4);
	store_le(page + RAMDISK_SIZE, b->initrd_size, 4);
	store_le(page + ACPI_RSDP_ADDR, direct_rsdp(b), 8);
	for (unsigned i = 0; i < b->ranges; i++) {
		uint8_t *e = page + E820_TABLE + 20 * i;

		store_le(e, b->map[i].start, 8);
		store_le(e + 8, b->map[i].end - b->map[i].start, 8);
		store_le(e + 16, b->map[i].type, 4);
	}
	page[E820_ENTRIES] = (uint8_t)b->ranges;
}

static bool linux_matches(const struct direct_boot *b)
{
	return b->kernel_size >= 0x1000 && !memcmp(b->kernel + HEADER_MAGIC, "HdrS", 4);
}

static bool check_image(struct direct_boot *b, GError **err)
{
	const char *path = b->c.kernel;
	size_t setup;

	if (header(b, VERSION, 2) < 0x206)
		return error(err, "-kernel '%s': boot protocol %u.%02u is older than 2.06", path,
			     header(b, VERSION, 2) >> 8, header(b, VERSION, 2) & 0xff);
	if (!(header(b, LOADFLAGS, 1) & 1))
		return error(err, "-kernel '%s': a zImage, which loads low; moa boots bzImages",
			     path);
	setup = b->kernel[SETUP_SECTS] ? b->kernel[SETUP_SECTS] : 4;
	b->setup_size = (setup + 1) * 512;
	if (b->setup_size + ENTRY_64 >= b->kernel_size || 0x202u + b->kernel[HEADER_END] > 0x290)
		return error(err, "-kernel '%s': the file ends inside its setup part, at %zu bytes",
			     path, b->kernel_size);
	if (strlen(direct_append(b)) > MIN_OF(header(b, CMDLINE_SIZE, 4), BOOT_CMDLINE_ROOM - 1u))
		return error(err, "-append: %zu characters are more than the %u that '%s' takes",
			     strlen(direct_append(b)), header(b, CMDLINE_SIZE, 4), path);
	return true;
}

static bool linux_place(struct direct_boot *b, GError **err)
{
	bool relocatable;

	if (!check_image(b, err))
		return false;
	relocatable = header(b, VERSION, 2) >= 0x20a && header(b, RELOCATABLE, 1);
	b->wide = header(b, VERSION, 2) >= 0x20c && header(b, XLOADFLAGS, 2) & XLF_KERNEL_64;
	b->load_at = relocatable ? load_le(b->kernel + PREF_ADDRESS, 8) : 0x100000;
	if (b->load_at > UINT32_MAX)
		return error(err, "-kernel '%s': its header's preferred address is above 4 GiB",
			     b->c.kernel);
	b->load_end = b->load_at + (relocatable ? header(b, INIT_SIZE, 4) : 2 * b->kernel_size);
	return direct_check_room(b, err) &&
	       direct_place_initrd(b, (uint64_t)header(b, INITRD_ADDR_MAX, 4) + 1, true, err);
}

static void linux_put(struct direct_boot *b)
{
	g_autofree uint8_t *page = g_malloc0(BOOT_INFO_ROOM);
	struct x86_cpu *cpu;

	linux_make_zero_page(b, page, b->kernel + SETUP_SECTS,
			     0x202u + b->kernel[HEADER_END] - SETUP_SECTS);
	direct_put(b, BOOT_INFO_AT, page, BOOT_INFO_ROOM);
	direct_put_cmdline(b, direct_append(b));
	direct_put(b, b->load_at, b->kernel + b->setup_size, b->kernel_size - b->setup_size);
	cpu = direct_enter(b, b->wide, b->load_at + (b->wide ? ENTRY_64 : 0));
	cpu->gpr[RSI] = BOOT_INFO_AT;
}

const struct boot_protocol boot_linux = { "Linux", linux_matches, linux_place, linux_put };

/* A BIOS keeps tables and its own code at the top of RAM below 4 GiB. */
#define BIOS_ROOM (2 * MIB)
/* The real-mode part's heap ends before its stack, which grows down from its segment's end. */
#define HEAP_END 0xfc00

bool linux_offer(struct direct_boot *b, struct fw_cfg *f, GError **err)
{
	const char *append = direct_append(b);

	if (!check_image(b, err))
		return false;
	b->load_at = 0x100000;
	b->load_end = b->load_at + MAX_OF(2 * b->kernel_size, (size_t)header(b, INIT_SIZE, 4));
	b->acpi_at = b->c.ram_below_4g > BIOS_ROOM ? b->c.ram_below_4g - BIOS_ROOM : 0;
	if (!direct_check_room(b, err) ||
	    !direct_place_initrd(b, (uint64_t)header(b, INITRD_ADDR_MAX, 4) + 1, true, err))
		return false;
	b->kernel[TYPE_OF_LOADER] = 0xff;
	b->kernel[LOADFLAGS] |= LOADFLAGS_CAN_USE_HEAP;
	store_le(b->kernel + HEAP_END_PTR, HEAP_END - 0x200, 2);
	store_le(b->kernel + CMD_LINE_PTR, BOOT_CMDLINE_AT, 4);
	store_le(b->kernel + RAMDISK_IMAGE, b->initrd_at, 4);
	store_le(b->kernel + RAMDISK_SIZE, b->initrd_size, 4);
	fw_cfg_add_u32(f, FW_CFG_SETUP_ADDR, BOOT_INFO_AT);
	fw_cfg_add_u32(f, FW_CFG_SETUP_SIZE, (uint32_t)b->setup_size);
	fw_cfg_add(f, FW_CFG_SETUP_DATA, b->kernel, b->setup_size);
	fw_cfg_add_u32(f, FW_CFG_KERNEL_ADDR, (uint32_t)b->load_at);
	fw_cfg_add_u32(f, FW_CFG_KERNEL_SIZE, (uint32_t)(b->kernel_size - b->setup_size));
	fw_cfg_add(f, FW_CFG_KERNEL_DATA, b->kernel + b->setup_size,
		   b->kernel_size - b->setup_size);
	fw_cfg_add_u32(f, FW_CFG_CMDLINE_ADDR, BOOT_CMDLINE_AT);
	fw_cfg_add_u32(f, FW_CFG_CMDLINE_SIZE, (uint32_t)strlen(append) + 1);
	fw_cfg_add(f, FW_CFG_CMDLINE_DATA, append, strlen(append) + 1);
	fw_cfg_add_u32(f, FW_CFG_INITRD_ADDR, (uint32_t)b->initrd_at);
	fw_cfg_add_u32(f, FW_CFG_INITRD_SIZE, (uint32_t)b->initrd_size);
	if (b->initrd)
		fw_cfg_add(f, FW_CFG_INITRD_DATA, b->initrd, b->initrd_size);
	fw_cfg_set_file(f, LINUXBOOT_ROM, linuxboot_rom, sizeof(linuxboot_rom));
	return true;
}
