/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every kernel finds that is booted without firmware: see direct.h. */
#include "hw/ide/piix_ide.h"
#include "hw/firmware/direct.h"

#include <inttypes.h>
#include <string.h>

#include "accel/accel.h"
#include "core/error.h"
#include "core/machine.h"
#include "cpu/x86/cpu.h"
#include "hw/firmware/loader.h"

#define GDT_AT 0x1000
#define PAGE_TABLES_AT 0x11000 /* PML4, PDPT, four directories */
#define ACPI_ROOM (128 * KIB)
#define RSDP_BYTES 36
/* Where kernels look for it that nobody tells. */
#define RSDP_COPY_AT 0xf0000
#define PM_BASE 0x600
#define LOW_RAM_END 0x9fc00

#define I440FX_PAM0 0x59
#define PIIX3_PIRQ 0x60
#define IO_BARS_AT 0xc000
#define IO_BARS_END 0x10000
#define MEMORY_BARS_AT UINT64_C(0xe0000000)
#define MEMORY_BARS_END UINT64_C(0xfec00000)

#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLED_WRITE_BACK 0xc06

void direct_put(struct direct_boot *b, uint64_t at, const void *data, size_t n)
{
	space_write(&b->dev.machine->mem, at, data, n);
}

const char *direct_append(const struct direct_boot *b)
{
	return b->c.append ? b->c.append : "";
}

void direct_put_cmdline(struct direct_boot *b, const char *text)
{
	size_t n = MIN_OF(strlen(text), BOOT_CMDLINE_ROOM - 1u);
	uint8_t end = 0;

	direct_put(b, BOOT_CMDLINE_AT, text, n);
	direct_put(b, BOOT_CMDLINE_AT + n, &end, 1);
}

uint64_t direct_rsdp(const struct direct_boot *b)
{
	return b->c.acpi ? b->acpi_at : 0;
}

static void add_range(struct direct_boot *b, uint64_t start, uint64_t end, uint32_t type)
{
	if (start < end)
		b->map[b->ranges++] = (struct e820_range) { start, end, type };
}

static void make_map(struct direct_boot *b)
{
	uint64_t top = b->c.ram_below_4g;

	b->acpi_at = b->c.acpi && top >= 16 * MIB ? align_down(top - ACPI_ROOM, 4096) : top;
	add_range(b, 0, LOW_RAM_END, E820_RAM);
	add_range(b, LOW_RAM_END, 0x100000, E820_RESERVED);
	add_range(b, 0x100000, b->acpi_at, E820_RAM);
	add_range(b, b->acpi_at, top, E820_ACPI);
	add_range(b, 0xfffc0000, 4 * GIB, E820_RESERVED);
	add_range(b, 4 * GIB, 4 * GIB + b->c.ram_above_4g, E820_RAM);
}

bool direct_check_room(const struct direct_boot *b, GError **err)
{
	if (b->load_at < 0x100000)
		return error(err, "-kernel '%s': wants to lie at 0x%" PRIx64 ", below 1 MiB",
			     b->c.kernel, b->load_at);
	if (b->c.ram_below_4g < 16 * MIB || b->load_end > b->acpi_at)
		return error(err,
			     "-kernel '%s': needs RAM up to 0x%" PRIx64 ", there is 0x%" PRIx64
			     "; use a larger -m",
			     b->c.kernel, b->load_end, b->c.ram_below_4g);
	return true;
}

bool direct_place_initrd(struct direct_boot *b, uint64_t highest, bool from_top, GError **err)
{
	uint64_t start = align_up(b->load_end, 4096);

	if (!b->initrd)
		return true;
	highest = MIN_OF(highest, b->acpi_at);
	if (b->initrd_size > highest || highest - b->initrd_size < start)
		return error(err,
			     "-initrd '%s': %zu bytes do not fit into RAM beside the kernel; use a "
			     "larger -m",
			     b->c.initrd, b->initrd_size);
	b->initrd_at = from_top ? align_down(highest - b->initrd_size, 4096) : start;
	return true;
}

/* The first 4 GiB one to one, in pages of 2 MiB. */
static void put_page_tables(struct direct_boot *b)
{
	enum { PRESENT_WRITABLE = 3, LARGE = 0x80 };
	g_autofree uint8_t *tables = g_malloc0(6 * 4096);

	store_le(tables, PAGE_TABLES_AT + 0x1000 + PRESENT_WRITABLE, 8);
	for (unsigned i = 0; i < 4; i++)
		store_le(tables + 0x1000 + 8 * i,
			 PAGE_TABLES_AT + 0x2000 + 0x1000 * i + PRESENT_WRITABLE, 8);
	for (unsigned i = 0; i < 2048; i++)
		store_le(tables + 0x2000 + 8 * i, i * 2 * MIB + LARGE + PRESENT_WRITABLE, 8);
	direct_put(b, PAGE_TABLES_AT, tables, 6 * 4096);
}

static void set_segment(struct x86_segment *s, uint16_t selector, uint32_t rights)
{
	*s = (struct x86_segment) { .selector = selector, .limit = UINT32_MAX, .rights = rights };
}

struct x86_cpu *direct_enter(struct direct_boot *b, bool wide, uint64_t rip)
{
	struct x86_cpu *cpu = (struct x86_cpu *)b->c.bsp;
	static const uint8_t data[] = { SEG_DS, SEG_ES, SEG_SS, SEG_FS, SEG_GS };
	uint8_t gdt[32] = { 0 };

	store_le(gdt + 16, wide ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff), 8);
	store_le(gdt + 24, UINT64_C(0x00cf93000000ffff), 8);
	direct_put(b, GDT_AT, gdt, sizeof(gdt));
	set_segment(&cpu->seg[SEG_CS], 0x10, wide ? 0xa09b : 0xc09b);
	for (unsigned i = 0; i < ARRAY_LEN(data); i++)
		set_segment(&cpu->seg[data[i]], 0x18, 0xc093);
	cpu->gdt = (struct x86_table_register) { .base = GDT_AT, .limit = 31 };
	cpu->cr0 = CR0_PE | CR0_ET;
	cpu->rip = rip;
	if (wide) {
		put_page_tables(b);
		cpu->cr0 |= CR0_PG;
		cpu->cr3 = PAGE_TABLES_AT;
		cpu->cr4 = CR4_PAE;
		cpu->efer = EFER_LME | EFER_LMA;
	}
	cpu->gpr[RSP] = BOOT_INFO_AT;
	x86_msr_set(cpu, MSR_MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK);
	vcpu_modified(b->c.bsp, VS_ALL);
	return cpu;
}

/* PCI as firmware leaves it. */

static void place_bar(struct pci_device *d, unsigned n, uint64_t *io, uint64_t *memory)
{
	const struct pci_bar *bar = &d->bars[n];
	uint64_t *next = bar->io ? io : memory, size = bar->region->size,
		 end = bar->io ? IO_BARS_END : MEMORY_BARS_END, at = align_up(*next, size);

	if (at + size > end)
		return; /* it stays off, and the kernel may find it a place */
	*next = at + size;
	pci_config_write(d->bus, d->devfn, PCI_BAR0 + 4 * n, (uint32_t)at, 4);
	if (bar->is_64)
		pci_config_write(d->bus, d->devfn, PCI_BAR0 + 4 * n + 4, 0, 4);
}

static void set_up_pci(struct direct_boot *b)
{
	static const uint8_t pirq[PCI_PINS] = { 10, 10, 11, 11 };
	uint64_t io = IO_BARS_AT,
		 memory = MAX_OF(MEMORY_BARS_AT, align_up(b->c.ram_below_4g, 64 * MIB));

	/* The BIOS area is RAM, as shadowed firmware would have it. */
	for (unsigned i = 0; i < 7; i++)
		pci_config_write(b->c.pci, 0, I440FX_PAM0 + i, i ? 0x33 : 0x30, 1);
	for (unsigned i = 0; i < PCI_PINS; i++)
		pci_config_write(b->c.pci, 1 * PCI_FUNCTIONS, PIIX3_PIRQ + i, pirq[i], 1);
	/* Both IDE channels decode their ports. */
	pci_config_write(b->c.pci, 1 * PCI_FUNCTIONS + 1, PIIX3_IDETIM,
			 PIIX3_IDETIM_ENABLE | PIIX3_IDETIM_ENABLE << 16, 4);
	space_write_le(&b->dev.machine->ports, 0x4d1, 0x0c, 1); /* 10 and 11 are level-triggered */
	for (unsigned f = 0; f < PCI_SLOTS * PCI_FUNCTIONS; f++) {
		struct pci_device *d = b->c.pci->devices[f];
		unsigned pin = d ? d->config[PCI_INTERRUPT_PIN] : 0;
		bool any = false;

		if (!d)
			continue;
		if (pin)
			pci_config_write(b->c.pci, d->devfn, PCI_INTERRUPT_LINE,
					 pirq[((f >> 3) - 1 + pin - 1) % PCI_PINS], 1);
		for (unsigned n = 0; n < PCI_BARS; n++) {
			if (d->bars[n].region)
				place_bar(d, n, &io, &memory);
			any |= d->bars[n].region != NULL;
		}
		if (any)
			pci_config_write(
				b->c.pci, d->devfn, PCI_COMMAND,
				pci_word(d, PCI_COMMAND) | PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 2);
	}
}

/* Both controllers on the vectors of a PC's BIOS, everything masked. */
static void set_up_pics(struct direct_boot *b)
{
	static const uint8_t words[2][4] = { { 0x11, 0x08, 0x04, 0x01 },
					     { 0x11, 0x70, 0x02, 0x01 } };

	for (unsigned i = 0; i < 2; i++) {
		uint16_t at = i ? 0xa0 : 0x20;

		space_write_le(&b->dev.machine->ports, at, words[i][0], 1);
		for (unsigned k = 1; k < 4; k++)
			space_write_le(&b->dev.machine->ports, at + 1, words[i][k], 1);
		space_write_le(&b->dev.machine->ports, at + 1, 0xff, 1);
	}
}

/* After every device's own reset. */
static void direct_boot_reset_lines(void *dev)
{
	struct direct_boot *b = dev;

	piix4_pm_enable(b->c.pm, PM_BASE);
	set_up_pci(b);
	set_up_pics(b);
	if (b->c.acpi) {
		g_autoptr(GByteArray) acpi = g_byte_array_new();

		acpi_link(b->c.acpi, b->acpi_at, acpi);
		assert(acpi->len <= ACPI_ROOM);
		direct_put(b, b->acpi_at, acpi->data, acpi->len);
		/* The bridge shows this RAM only when the reset is over. */
		memcpy(b->c.ram->host + RSDP_COPY_AT, acpi->data, RSDP_BYTES);
		ram_mark_dirty(b->c.ram, RSDP_COPY_AT, RSDP_BYTES);
	}
	b->protocol->put(b);
	if (b->initrd)
		direct_put(b, b->initrd_at, b->initrd, b->initrd_size);
}

static void direct_boot_unrealize(void *dev)
{
	struct direct_boot *b = dev;

	g_free(b->kernel);
	g_free(b->initrd);
}

/* What it holds is the user's files and where they go. */
#define D struct direct_boot
DEVICE(direct_boot,
	.name = "direct-boot",
	.desc = "boot loader for -kernel",
	.board_only = true,
	.host = HOST(c, kernel, initrd, kernel_size, initrd_size, protocol, acpi_at, map, ranges, load_at, load_end,
		     initrd_at, entry, setup_size, wide, segment, segments),
	.unrealize = direct_boot_unrealize,
	.reset_lines = direct_boot_reset_lines);

static bool find_protocol(struct direct_boot *b, GError **err)
{
	static const struct boot_protocol *const protocols[] = { &boot_linux, &boot_multiboot2,
								 &boot_multiboot, &boot_pvh,
								 &boot_elf };

	for (unsigned i = 0; i < ARRAY_LEN(protocols); i++) {
		if (protocols[i]->matches(b)) {
			b->protocol = protocols[i];
			return true;
		}
	}
	return error(err,
		     "-kernel '%s': is none of the kernels that moa boots: a Linux bzImage (no "
		     "'HdrS' at 0x202), "
		     "multiboot 1 or 2, or an ELF file for x86",
		     b->c.kernel);
}

static bool read_files(struct direct_boot *b, const struct direct_config *c, GError **err)
{
	b->c = *c;
	return firmware_read("-kernel", c->kernel, 1, 1 * GIB, 1, &b->kernel, &b->kernel_size,
			     err) &&
	       (!c->initrd || firmware_read("-initrd", c->initrd, 1, 2 * GIB, 1, &b->initrd,
					    &b->initrd_size, err));
}

bool direct_boot_new(struct machine *m, const struct direct_config *c, GError **err)
{
	struct direct_boot *b = device_new(m, &device_direct_boot, NULL);

	if (!read_files(b, c, err))
		return false;
	make_map(b);
	return find_protocol(b, err) && b->protocol->place(b, err) && device_realize(b, NULL, err);
}

bool direct_boot_offer(struct fw_cfg *f, const struct direct_config *c, GError **err)
{
	struct direct_boot b = { 0 };
	bool ok = read_files(&b, c, err) && find_protocol(&b, err);

	if (ok && b.protocol != &boot_linux)
		ok = error(err,
			   "-kernel '%s': a %s kernel boots without firmware only: leave -bios and "
			   "if=pflash out",
			   c->kernel, b.protocol->name);
	ok = ok && linux_offer(&b, f, err);
	g_free(b.kernel);
	g_free(b.initrd);
	return ok;
}
