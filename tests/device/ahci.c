/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AHCI 1.3.1: registers, FISes, commands of each kind, queued ones. */
#include "core/device.h"
#include "hw/ide/ata.h"
#include "hw/pci/pci.h"
#include "tests/lib/rig.h"

#define SLOT 5
#define ABAR UINT64_C(0xe0000000)
#define PORT (ABAR + 0x100)
#define LIST 0x100000u
#define FIS 0x101000u
#define TABLE 0x102000u
#define DATA 0x200000u
#define DISK_BYTES (4 * MIB)

enum {
	CLB = 0x00,
	FB = 0x08,
	PIS = 0x10,
	PIE = 0x14,
	CMD = 0x18,
	TFD = 0x20,
	SIG = 0x24,
	SSTS = 0x28,
	SCTL = 0x2c,
	SERR = 0x30,
	SACT = 0x34,
	CI = 0x38
};

static struct drive *disk;

static uint32_t get(struct rig *r, unsigned reg)
{
	return rig_read(r, PORT + reg, 4);
}

static void put(struct rig *r, unsigned reg, uint32_t v)
{
	rig_write(r, PORT + reg, v, 4);
}

static void add(struct rig *r, bool cdrom)
{
	struct device *d = device_new(&r->m, device_find("ich9-ahci", NULL), NULL), *u;

	pci_set_devfn(d, SLOT, 0);
	CHECK(device_realize(d, &r->pc->host->bus.bus, NULL));
	disk = rig_drive(r, DISK_BYTES, !cdrom, cdrom);
	u = device_new(&r->m, device_find(cdrom ? "ide-cd" : "ide-hd", NULL), NULL);
	CHECK(device_set(u, "drive", disk->id, NULL));
	CHECK(device_realize(u, machine_find_bus(&r->m, "IDE", "ide.2"), NULL));
	machine_reset(&r->m);
	rig_pci_write(r, SLOT, 0, 0x24, (uint32_t)ABAR, 4);
	rig_pci_write(r, SLOT, 0, 4, 6, 2);
	rig_write(r, ABAR + 4, 0x80000002, 4);
	put(r, CLB, LIST);
	put(r, FB, FIS);
	put(r, PIE, 0x7fffffff);
	put(r, CMD, get(r, CMD) | 0x10);
	put(r, CMD, get(r, CMD) | 1);
}

/* A command's header and table: one piece of memory. */
static void prepare(struct rig *r, unsigned slot, const uint8_t *fis, bool write, uint32_t len)
{
	uint32_t table = TABLE + 0x200 * slot, header = LIST + 32 * slot;

	space_write(&r->m.mem, table, fis, 20);
	rig_write(r, table + 0x80, DATA + 0x10000 * slot, 4);
	rig_write(r, table + 0x84, 0, 4);
	rig_write(r, table + 0x8c, len ? len - 1 : 0, 4);
	rig_write(r, header, 5 | (write ? 0x40 : 0) | (len ? 1u << 16 : 0), 4);
	rig_write(r, header + 4, 0, 4);
	rig_write(r, header + 8, table, 4);
	rig_write(r, header + 12, 0, 4);
}

static void fill_fis(uint8_t *f, uint8_t command, uint64_t lba, unsigned count, unsigned feature)
{
	memset(f, 0, 20);
	f[0] = 0x27;
	f[1] = 0x80;
	f[2] = command;
	f[3] = (uint8_t)feature;
	f[7] = 0x40;
	for (unsigned i = 0; i < 3; i++) {
		f[4 + i] = (uint8_t)(lba >> 8 * i);
		f[8 + i] = (uint8_t)(lba >> (24 + 8 * i));
	}
	f[11] = (uint8_t)(feature >> 8);
	f[12] = (uint8_t)count;
	f[13] = (uint8_t)(count >> 8);
}

/* Runs a command in slot 0; returns the task file. */
static uint32_t command(struct rig *r, uint8_t op, uint64_t lba, unsigned count, bool write,
			uint32_t len)
{
	uint8_t f[20];

	fill_fis(f, op, lba, count, 0);
	prepare(r, 0, f, write, len);
	put(r, PIS, UINT32_MAX);
	put(r, CI, 1);
	drive_drain(disk);
	return get(r, TFD);
}

BENCH(ahci_adapter_and_ports)
{
	add(r, false);
	CHECK_EQ(rig_pci_read(r, SLOT, 0, 8, 4) >> 8, 0x010601);
	CHECK_EQ(rig_read(r, ABAR, 4) & 0x1f1f, 0x1f05);
	CHECK_EQ(rig_read(r, ABAR + 0x0c, 4), 0x3f);
	CHECK_EQ(get(r, SSTS), 0x113);
	CHECK_EQ(get(r, SIG), 0x101);
	CHECK_EQ(get(r, TFD), 0x150);
	CHECK_EQ(rig_read(r, FIS + 0x40, 1), 0x34); /* the signature's */
	CHECK_EQ(rig_read(r, PORT + 0x80 + SSTS, 4), 0);
	CHECK_EQ(rig_read(r, PORT + 0x80 + TFD, 4), 0x7f);
	CHECK_EQ(rig_read(r, PORT + 0x80 + SIG, 4), UINT32_MAX);
}

BENCH(ahci_link_reset)
{
	add(r, false);
	put(r, CMD, get(r, CMD) & ~1u);
	put(r, SCTL, 0x301);
	CHECK_EQ(get(r, SSTS), 0);
	put(r, SCTL, 0x300);
	CHECK_EQ(get(r, SSTS), 0x113);
	CHECK_EQ(get(r, SERR), 1 << 26);
	CHECK_EQ(get(r, PIS) & 0x40, 0x40);
	put(r, SERR, UINT32_MAX);
	CHECK_EQ(get(r, PIS) & 0x40, 0);
}

BENCH(ahci_identify_by_pio)
{
	add(r, false);
	CHECK_EQ(command(r, 0xec, 0, 0, false, 512), 0x50);
	CHECK_EQ(get(r, CI), 0);
	CHECK_EQ(get(r, PIS), 2);
	CHECK_EQ(rig_read(r, FIS + 0x20, 1), 0x5f);
	CHECK_EQ(rig_read(r, LIST + 4, 4), 512);
	CHECK_EQ(rig_read(r, DATA + 2 * 76, 2) & 0x100, 0x100); /* NCQ */
	CHECK_EQ(rig_read(r, DATA + 2 * 100, 4), DISK_BYTES / 512);
	CHECK_EQ(rig_read(r, ABAR + 8, 4), 1);
	CHECK(rig_pci_read(r, SLOT, 0, 6, 2) & PCI_STATUS_INTERRUPT);
	put(r, PIS, UINT32_MAX);
	rig_write(r, ABAR + 8, 1, 4);
	CHECK(!(rig_pci_read(r, SLOT, 0, 6, 2) & PCI_STATUS_INTERRUPT));
}

BENCH(ahci_reads_and_writes_by_dma_and_pio)
{
	uint8_t b[8];

	add(r, false);
	CHECK_EQ(command(r, 0x25, 7, 2, false, 1024), 0x50);
	CHECK_EQ(get(r, PIS), 1);
	CHECK_EQ(rig_read(r, LIST + 4, 4), 1024);
	CHECK_EQ(rig_read(r, DATA + 512, 4), 8);
	rig_write(r, DATA, 0x12345678, 4);
	CHECK_EQ(command(r, 0x35, 20, 1, true, 512), 0x50);
	CHECK(block_read(disk->block, 20 * 512, b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 0x12345678);
	CHECK_EQ(command(r, 0x24, 300, 3, false, 1536), 0x50); /* PIO, a block at a time */
	CHECK_EQ(rig_read(r, DATA, 4), 300);
	CHECK_EQ(rig_read(r, DATA + 1024, 4), 302);
	CHECK_EQ(command(r, 0x34, 40, 2, true, 1024), 0x50);
	CHECK(block_read(disk->block, 41 * 512, b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 301);
	CHECK_EQ(command(r, 0xea, 0, 0, false, 0), 0x50);
}

BENCH(ahci_errors_stop_the_port)
{
	add(r, false);
	CHECK_EQ(command(r, 0x25, DISK_BYTES / 512, 1, false, 512), 0x1051);
	CHECK_EQ(get(r, PIS), 0x40000001);
	CHECK_EQ(get(r, CI), 1);
	put(r, CI, 2);
	CHECK_EQ(get(r, CI), 3); /* nothing starts */
	put(r, CMD, get(r, CMD) & ~1u);
	CHECK_EQ(get(r, CI), 0);
	CHECK_EQ(get(r, CMD) & 0x8000, 0);
	put(r, CMD, get(r, CMD) | 1);
	CHECK_EQ(command(r, 0x25, 5, 1, false, 512), 0x50);
	CHECK_EQ(rig_read(r, DATA, 4), 5);
	CHECK_EQ(command(r, 0x25, 5, 2, false, 512), 0x451); /* too little memory */
}

BENCH(ahci_queued_commands)
{
	uint8_t f[20], b[8];

	add(r, false);
	for (unsigned slot = 0; slot < 32; slot++) {
		bool write = slot == 31;

		fill_fis(f, write ? 0x61 : 0x60, 100 + slot, slot << 3, 1);
		prepare(r, slot, f, write, 512);
		rig_write(r, DATA + 0x10000 * slot, 0xabcd, 4);
	}
	put(r, PIS, UINT32_MAX);
	put(r, SACT, UINT32_MAX);
	put(r, CI, UINT32_MAX);
	drive_drain(disk);
	CHECK_EQ(get(r, SACT), 0);
	CHECK_EQ(get(r, CI), 0);
	CHECK_EQ(get(r, PIS), 8);
	CHECK_EQ(rig_read(r, FIS + 0x58, 1), 0xa1);
	for (unsigned slot = 0; slot < 31; slot++)
		CHECK_EQ(rig_read(r, DATA + 0x10000 * slot, 4), 100 + slot);
	CHECK(block_read(disk->block, 131 * 512, b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 0xabcd);
}

/* Its log tells which one. */
BENCH(ahci_a_queued_error_is_logged)
{
	uint8_t f[20];

	add(r, false);
	fill_fis(f, 0x60, DISK_BYTES / 512 + 5, 3 << 3, 1);
	prepare(r, 3, f, false, 512);
	put(r, PIS, UINT32_MAX);
	put(r, SACT, 8);
	put(r, CI, 8);
	drive_drain(disk);
	CHECK_EQ(get(r, PIS) & 0x40000008, 0x40000008);
	CHECK_EQ(get(r, SACT), 8);
	CHECK_EQ(get(r, TFD), 0x1051);
	put(r, CMD, get(r, CMD) & ~1u);
	put(r, CMD, get(r, CMD) | 1);
	CHECK_EQ(command(r, 0x2f, 0x10, 1, false, 512), 0x50);
	CHECK_EQ(rig_read(r, DATA, 1), 3);
	CHECK_EQ(rig_read(r, DATA + 3, 1), ATA_ER_IDNF);
	CHECK_EQ(rig_read(r, DATA + 4, 1), 5);
}

BENCH(ahci_cdrom_takes_packets)
{
	static const uint8_t read[12] = { 0x28, 0, 0, 0, 0, 10, 0, 0, 2 },
			     inquiry[12] = { 0x12, 0, 0, 0, 36 },
			     beyond[12] = { 0x28, 0, 0xff, 0, 0, 0, 0, 0, 1 };
	uint8_t f[20];

	add(r, true);
	CHECK_EQ(get(r, SIG), 0xeb140101);
	CHECK_EQ(command(r, 0xa1, 0, 0, false, 512), 0x50);
	CHECK_EQ(rig_read(r, DATA, 2), 0x85c0);
	fill_fis(f, 0xa0, 0, 0, 1);
	prepare(r, 0, f, false, 4096);
	rig_write(r, LIST, rig_read(r, LIST, 4) | 0x20, 4);
	space_write(&r->m.mem, TABLE + 0x40, read, 12);
	put(r, CI, 1);
	drive_drain(disk);
	CHECK_EQ(get(r, TFD), 0x50);
	CHECK_EQ(rig_read(r, DATA + 2048, 4), 44);
	/* By PIO. */
	fill_fis(f, 0xa0, 36 << 8, 0, 0);
	prepare(r, 0, f, false, 36);
	space_write(&r->m.mem, TABLE + 0x40, inquiry, 12);
	put(r, CI, 1);
	CHECK_EQ(rig_read(r, DATA, 1), 5);
	CHECK_EQ(get(r, CI), 0);
	fill_fis(f, 0xa0, 0, 0, 1);
	prepare(r, 0, f, false, 2048);
	space_write(&r->m.mem, TABLE + 0x40, beyond, 12);
	put(r, CI, 1);
	drive_drain(disk);
	CHECK_EQ(get(r, TFD), 0x5451);
}

BENCH(ahci_soft_reset)
{
	uint8_t f[20] = { 0x27, 0, [15] = 4 };

	add(r, false);
	prepare(r, 0, f, false, 0);
	put(r, CI, 1);
	CHECK_EQ(get(r, CI), 0);
	f[15] = 0;
	prepare(r, 0, f, false, 0);
	put(r, CI, 1);
	CHECK_EQ(get(r, TFD), 0x150);
	CHECK_EQ(get(r, SIG), 0x101);
}

BENCH(ahci_nonsense_is_refused)
{
	uint8_t f[20] = { 0x99 };

	add(r, false);
	prepare(r, 0, f, false, 0);
	put(r, CI, 1);
	CHECK_EQ(get(r, PIS) & BIT(29), BIT(29));
	put(r, CMD, get(r, CMD) & ~1u);
	put(r, CLB, 0xf0000000);
	put(r, CMD, get(r, CMD) | 1);
	put(r, PIS, UINT32_MAX);
	put(r, CI, 1);
	CHECK_EQ(get(r, PIS) & BIT(29), BIT(29));
	rig_write(r, ABAR + 4, 1, 4);
	CHECK_EQ(rig_read(r, ABAR + 4, 4), 0x80000000);
	CHECK_EQ(get(r, PIS), 0);
}
