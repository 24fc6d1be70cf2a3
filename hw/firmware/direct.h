/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Booting a kernel without firmware: what firmware would have left behind (memory map, ACPI tables,
 * PCI resources), and the kernel's own boot protocol (bzImage in linux.c; multiboot 1 and 2, PVH
 * and plain ELF in elf.c).
 */
#pragma once

#include "hw/acpi/piix4_pm.h"
#include "hw/acpi/tables.h"
#include "hw/pci/pci.h"

struct direct_config {
	const char *kernel, *initrd, *append; /* initrd and append may be NULL */
	uint64_t ram_below_4g, ram_above_4g;
	const struct acpi_config *acpi; /* NULL: no tables */
	struct piix4_pm *pm;
	struct pci_bus *pci;
	struct ram_block *ram; /* below 4 GiB, by guest address */
	struct vcpu *bsp;
};

/*
 * Reads the files now, so that errors come at start; every reset puts them into RAM and the BSP at
 * the kernel's entry. The config is copied.
 */
bool direct_boot_new(struct machine *m, const struct direct_config *c, GError **err);

struct fw_cfg;
/*
 * For firmware to boot it instead: a Linux bzImage, taken apart for fw_cfg. UEFI firmware looks
 * there by itself, a BIOS by the option ROM that comes with it.
 */
bool direct_boot_offer(struct fw_cfg *f, const struct direct_config *c, GError **err);
#define LINUXBOOT_ROM "genroms/linuxboot.bin"

/* Between direct.c and the protocols. */

enum { E820_RAM = 1, E820_RESERVED, E820_ACPI };

struct e820_range {
	uint64_t start, end;
	uint32_t type;
};

/* A piece of the kernel's file and where it goes; memory after it up to `size` is zeroed. */
struct boot_segment {
	uint64_t at, size;
	size_t offset, bytes;
};
#define MOST_SEGMENTS 32

struct direct_boot {
	struct device dev;
	struct direct_config c;
	uint8_t *kernel, *initrd;
	size_t kernel_size, initrd_size;
	const struct boot_protocol *protocol;
	uint64_t acpi_at; /* where RAM that the kernel may use ends, below 4 GiB */
	struct e820_range map[8];
	unsigned ranges;
	uint64_t load_at, load_end, initrd_at, entry;
	/* Linux. */
	size_t setup_size; /* of the real-mode part in front */
	bool wide;	   /* 64-bit entry */
	/* ELF and multiboot. */
	struct boot_segment segment[MOST_SEGMENTS];
	unsigned segments;
};

struct boot_protocol {
	const char *name;
	bool (*matches)(const struct direct_boot *b);
	/* Checks the file and finds places: load_at, load_end, initrd_at, entry. */
	bool (*place)(struct direct_boot *b, GError **err);
	/* At reset: puts everything into RAM, and the BSP at the entry (direct_enter). */
	void (*put)(struct direct_boot *b);
};
/* Checks a bzImage and hands its parts over. */
bool linux_offer(struct direct_boot *b, struct fw_cfg *f, GError **err);
extern const struct boot_protocol boot_linux, boot_multiboot, boot_multiboot2, boot_pvh, boot_elf;

/* Low memory that protocols may use for what they hand over. */
#define BOOT_INFO_AT 0x10000
#define BOOT_INFO_ROOM 0x1000
#define BOOT_CMDLINE_AT 0x20000
#define BOOT_CMDLINE_ROOM 0x10000

void direct_put(struct direct_boot *b, uint64_t at, const void *data, size_t n);
const char *direct_append(const struct direct_boot *b);
void direct_put_cmdline(struct direct_boot *b, const char *text);
/*
 * Flat segments, no paging; or, `wide`, 64-bit code with the first 4 GiB one to one. Returns the
 * BSP, for its general registers.
 */
struct x86_cpu *direct_enter(struct direct_boot *b, bool wide, uint64_t rip);
/* initrd_at: as high as below `highest` it can be (from_top), or else behind the kernel. */
bool direct_place_initrd(struct direct_boot *b, uint64_t highest, bool from_top, GError **err);
/* Whether the kernel fits between 1 MiB and the end of its RAM. */
bool direct_check_room(const struct direct_boot *b, GError **err);
/* The RSDP's address, 0 without ACPI. */
uint64_t direct_rsdp(const struct direct_boot *b);

/* linux.c's zero page, for others that are entered as the 64-bit protocol says. */
void linux_make_zero_page(struct direct_boot *b, uint8_t *page, const uint8_t *header,
			  size_t header_size);
