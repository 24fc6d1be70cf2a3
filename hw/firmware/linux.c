/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does what a boot loader does with a bzImage: the zero page, command line, initial RAM disk and memory map
 * in RAM, the processor in 64-bit mode (or 32-bit protected mode for kernels without a 64-bit entry).
 * What firmware would have set up and the tables promise is set up too: the PM ports.
 */
#include "hw/firmware/linux.h"

#include <inttypes.h>
#include <string.h>

#include "accel/accel.h"
#include "core/error.h"
#include "core/log.h"
#include "core/machine.h"
#include "cpu/x86/cpu.h"
#include "hw/firmware/loader.h"

/* Offsets in the image's setup header, which is at the same place in the zero page. */
#define SETUP_SECTS 0x1f1
#define BOOT_FLAG 0x1fe
#define HEADER_MAGIC 0x202
#define HEADER_END 0x201 /* its low byte plus 202h is where the header ends */
#define VERSION 0x206
#define TYPE_OF_LOADER 0x210
#define LOADFLAGS 0x211
#define CODE32_START 0x214
#define RAMDISK_IMAGE 0x218
#define RAMDISK_SIZE 0x21c
#define CMD_LINE_PTR 0x228
#define INITRD_ADDR_MAX 0x22c
#define KERNEL_ALIGNMENT 0x230
#define RELOCATABLE 0x234
#define XLOADFLAGS 0x236
#define CMDLINE_SIZE 0x238
#define PREF_ADDRESS 0x258
#define INIT_SIZE 0x260
#define XLF_KERNEL_64 BIT(0)
/* In the zero page only. */
#define ACPI_RSDP_ADDR 0x070
#define EXT_RAMDISK_IMAGE 0x0c0
#define E820_ENTRIES 0x1e8
#define E820_TABLE 0x2d0

#define GDT_AT 0x1000
#define ZERO_PAGE_AT 0x10000
#define PAGE_TABLES_AT 0x11000 /* PML4, PDPT, four directories */
#define CMDLINE_AT 0x20000
#define CMDLINE_ROOM 0x10000
#define ACPI_ROOM (128 * KIB)
#define PM_BASE 0x600
#define ENTRY_64 0x200
#define LOW_RAM_END 0x9fc00

#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLED_WRITE_BACK 0xc06

struct linux_boot {
	struct device dev;
	struct linux_config c;
	uint8_t *kernel, *initrd;
	size_t kernel_size, initrd_size;
	size_t setup_size; /* of the real-mode part in front */
	uint64_t load_at, initrd_at, acpi_at;
	bool wide;
};

static uint32_t header(const struct linux_boot *b, unsigned off, unsigned size)
{
	return (uint32_t)load_le(b->kernel + off, size);
}

static void put(struct linux_boot *b, uint64_t at, const void *data, size_t n)
{
	space_write(&b->dev.machine->mem, at, data, n);
}

static unsigned add_e820(uint8_t *zero_page, unsigned n, uint64_t start, uint64_t end, uint32_t type)
{
	uint8_t *e = zero_page + E820_TABLE + 20 * n;

	store_le(e, start, 8);
	store_le(e + 8, end - start, 8);
	store_le(e + 16, type, 4);
	return n + 1;
}

static void make_zero_page(struct linux_boot *b, uint8_t *page)
{
	enum { RAM = 1, RESERVED, ACPI };
	size_t end = 0x202u + b->kernel[HEADER_END];
	unsigned n = 0;

	memcpy(page + SETUP_SECTS, b->kernel + SETUP_SECTS, end - SETUP_SECTS);
	page[TYPE_OF_LOADER] = 0xff; /* no number of its own */
	store_le(page + CODE32_START, b->load_at, 4);
	store_le(page + CMD_LINE_PTR, CMDLINE_AT, 4);
	store_le(page + RAMDISK_IMAGE, b->initrd ? b->initrd_at : 0, 4);
	store_le(page + RAMDISK_SIZE, b->initrd_size, 4);
	n = add_e820(page, n, 0, LOW_RAM_END, RAM);
	n = add_e820(page, n, LOW_RAM_END, 0x100000, RESERVED);
	n = add_e820(page, n, 0x100000, b->acpi_at, RAM);
	if (b->c.acpi) {
		n = add_e820(page, n, b->acpi_at, b->c.ram_below_4g, ACPI);
		store_le(page + ACPI_RSDP_ADDR, b->acpi_at, 8);
	}
	n = add_e820(page, n, 0xfffc0000, 4 * GIB, RESERVED);
	if (b->c.ram_above_4g)
		n = add_e820(page, n, 4 * GIB, 4 * GIB + b->c.ram_above_4g, RAM);
	page[E820_ENTRIES] = (uint8_t)n;
}

/* The first 4 GiB one to one, in pages of 2 MiB. */
static void make_page_tables(uint8_t *tables)
{
	enum { PRESENT_WRITABLE = 3, LARGE = 0x80 };

	store_le(tables, PAGE_TABLES_AT + 0x1000 + PRESENT_WRITABLE, 8);
	for (unsigned i = 0; i < 4; i++)
		store_le(tables + 0x1000 + 8 * i, PAGE_TABLES_AT + 0x2000 + 0x1000 * i + PRESENT_WRITABLE, 8);
	for (unsigned i = 0; i < 2048; i++)
		store_le(tables + 0x2000 + 8 * i, i * 2 * MIB + LARGE + PRESENT_WRITABLE, 8);
}

static void set_segment(struct x86_segment *s, uint16_t selector, uint32_t rights)
{
	*s = (struct x86_segment){ .selector = selector, .limit = UINT32_MAX, .rights = rights };
}

static void set_processor(struct linux_boot *b)
{
	struct x86_cpu *cpu = (struct x86_cpu *)b->c.bsp;
	static const uint8_t data[] = { SEG_DS, SEG_ES, SEG_SS };

	set_segment(&cpu->seg[SEG_CS], 0x10, b->wide ? 0xa09b : 0xc09b);
	for (unsigned i = 0; i < ARRAY_LEN(data); i++)
		set_segment(&cpu->seg[data[i]], 0x18, 0xc093);
	cpu->gdt = (struct x86_table_register){ .base = GDT_AT, .limit = 31 };
	cpu->cr0 = CR0_PE | CR0_ET;
	cpu->rip = b->load_at;
	if (b->wide) {
		cpu->cr0 |= CR0_PG;
		cpu->cr3 = PAGE_TABLES_AT;
		cpu->cr4 = CR4_PAE;
		cpu->efer = EFER_LME | EFER_LMA;
		cpu->rip += ENTRY_64;
	}
	cpu->gpr[RSI] = ZERO_PAGE_AT;
	cpu->gpr[RSP] = ZERO_PAGE_AT;
	x86_msr_set(cpu, MSR_MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK);
	vcpu_modified(b->c.bsp, VS_ALL);
}

/* After every device's own reset. */
static void linux_boot_reset_lines(void *dev)
{
	struct linux_boot *b = dev;
	g_autofree uint8_t *page = g_malloc0(4096), *tables = g_malloc0(6 * 4096);
	uint8_t gdt[32] = { 0 };

	store_le(gdt + 16, b->wide ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff), 8);
	store_le(gdt + 24, UINT64_C(0x00cf93000000ffff), 8);
	put(b, GDT_AT, gdt, sizeof(gdt));
	make_page_tables(tables);
	put(b, PAGE_TABLES_AT, tables, 6 * 4096);
	make_zero_page(b, page);
	put(b, ZERO_PAGE_AT, page, 4096);
	put(b, CMDLINE_AT, b->c.append ? b->c.append : "", strlen(b->c.append ? b->c.append : "") + 1);
	put(b, b->load_at, b->kernel + b->setup_size, b->kernel_size - b->setup_size);
	if (b->initrd)
		put(b, b->initrd_at, b->initrd, b->initrd_size);
	piix4_pm_enable(b->c.pm, PM_BASE);
	if (b->c.acpi) {
		g_autoptr(GByteArray) acpi = g_byte_array_new();

		acpi_link(b->c.acpi, b->acpi_at, acpi);
		assert(acpi->len <= ACPI_ROOM);
		put(b, b->acpi_at, acpi->data, acpi->len);
	}
	set_processor(b);
}

static bool check_image(struct linux_boot *b, GError **err)
{
	const char *path = b->c.kernel;
	size_t setup;

	if (b->kernel_size < 0x1000 || memcmp(b->kernel + HEADER_MAGIC, "HdrS", 4)) {
		const char *what = b->kernel_size >= 4 && !memcmp(b->kernel, "\177ELF", 4) ?
					   "is an ELF file; moa boots bzImage kernels so far" :
					   "is not a Linux bzImage (no 'HdrS' at 0x202)";

		return error(err, "-kernel '%s': %s", path, what);
	}
	if (header(b, VERSION, 2) < 0x206)
		return error(err, "-kernel '%s': boot protocol %u.%02u is older than 2.06", path,
			     header(b, VERSION, 2) >> 8, header(b, VERSION, 2) & 0xff);
	if (!(header(b, LOADFLAGS, 1) & 1))
		return error(err, "-kernel '%s': a zImage, which loads low; moa boots bzImages", path);
	setup = b->kernel[SETUP_SECTS] ? b->kernel[SETUP_SECTS] : 4;
	b->setup_size = (setup + 1) * 512;
	if (b->setup_size + ENTRY_64 >= b->kernel_size || 0x202u + b->kernel[HEADER_END] > 0x290)
		return error(err, "-kernel '%s': the file ends inside its setup part, at %zu bytes", path,
			     b->kernel_size);
	if (strlen(b->c.append ? b->c.append : "") > MIN_OF(header(b, CMDLINE_SIZE, 4), CMDLINE_ROOM - 1u))
		return error(err, "-append: %zu characters are more than the %u that '%s' takes",
			     strlen(b->c.append), header(b, CMDLINE_SIZE, 4), path);
	return true;
}

static bool place(struct linux_boot *b, GError **err)
{
	bool relocatable = header(b, VERSION, 2) >= 0x20a && header(b, RELOCATABLE, 1);
	uint64_t top = b->c.ram_below_4g, needed, highest = header(b, INITRD_ADDR_MAX, 4);

	b->wide = header(b, VERSION, 2) >= 0x20c && header(b, XLOADFLAGS, 2) & XLF_KERNEL_64;
	b->load_at = relocatable ? load_le(b->kernel + PREF_ADDRESS, 8) : 0x100000;
	needed = relocatable ? header(b, INIT_SIZE, 4) : 2 * b->kernel_size;
	b->acpi_at = b->c.acpi ? align_down(top - ACPI_ROOM, 4096) : top;
	if (top < 16 * MIB || b->load_at + needed > b->acpi_at)
		return error(err, "-kernel '%s': needs RAM up to 0x%" PRIx64 ", there is 0x%" PRIx64 "; use a larger -m",
			     b->c.kernel, b->load_at + needed, top);
	if (!b->initrd)
		return true;
	highest = MIN_OF(highest + 1, b->acpi_at);
	if (b->initrd_size > highest || highest - b->initrd_size < b->load_at + needed)
		return error(err, "-initrd '%s': %zu bytes do not fit into RAM beside the kernel; use a larger -m",
			     b->c.initrd, b->initrd_size);
	b->initrd_at = align_down(highest - b->initrd_size, 4096);
	return true;
}

static void linux_boot_unrealize(void *dev)
{
	struct linux_boot *b = dev;

	g_free(b->kernel);
	g_free(b->initrd);
}

/* What it holds is the user's files and where they go. */
#define D struct linux_boot
DEVICE(linux_boot,
	.name = "linux-boot",
	.desc = "boot loader for -kernel",
	.board_only = true,
	.host = HOST(c, kernel, initrd, kernel_size, initrd_size, setup_size, load_at, initrd_at, acpi_at, wide),
	.unrealize = linux_boot_unrealize,
	.reset_lines = linux_boot_reset_lines);

bool linux_boot_new(struct machine *m, const struct linux_config *c, GError **err)
{
	struct linux_boot *b = device_new(m, &device_linux_boot, NULL);

	b->c = *c;
	if (!firmware_read("-kernel", c->kernel, 1, 1 * GIB, 1, &b->kernel, &b->kernel_size, err))
		return false;
	if (c->initrd && !firmware_read("-initrd", c->initrd, 1, 2 * GIB, 1, &b->initrd, &b->initrd_size, err))
		return false;
	return check_image(b, err) && place(b, err) && device_realize(b, NULL, err);
}
