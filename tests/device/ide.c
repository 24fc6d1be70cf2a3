/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATA/ATAPI-7 and the PIIX3's IDE function, register by register. */
#include "hw/ide/piix_ide.h"

#include "core/device.h"
#include "tests/lib/rig.h"

#define CMD 0x1f0
#define CTL 0x3f6
#define BM 0xc000
#define DISK_BYTES (4 * MIB)

static struct drive *disk;

static void add_disk(struct rig *r)
{
	disk = rig_drive(r, DISK_BYTES, true, false);
	CHECK(piix_ide_attach(r->pc->ide, 0, disk, NULL));
	machine_reset(&r->m);
	rig_pci_write(r, 1, 1, 0x20, BM, 4);
	rig_pci_write(r, 1, 1, 4, 5, 2);
}

static void add_cd(struct rig *r)
{
	disk = rig_drive(r, DISK_BYTES, false, true);
	CHECK(piix_ide_attach(r->pc->ide, 0, disk, NULL));
	machine_reset(&r->m);
	rig_pci_write(r, 1, 1, 0x20, BM, 4);
	rig_pci_write(r, 1, 1, 4, 5, 2);
}

static uint8_t wait_status(struct rig *r)
{
	drive_drain(disk);
	return inb(r, CTL);
}

static void address(struct rig *r, uint32_t lba, uint8_t count)
{
	outb(r, CMD + ATA_COUNT, count);
	outb(r, CMD + ATA_LBA_LOW, (uint8_t)lba);
	outb(r, CMD + ATA_LBA_MID, (uint8_t)(lba >> 8));
	outb(r, CMD + ATA_LBA_HIGH, (uint8_t)(lba >> 16));
	outb(r, CMD + ATA_DEVICE, (uint8_t)(0xe0 | lba >> 24));
}

static uint16_t *take_words(struct rig *r, unsigned n)
{
	static uint16_t words[8192];

	for (unsigned i = 0; i < n; i++)
		words[i] = (uint16_t)rig_in(r, CMD, 2);
	return words;
}

BENCH(ide_an_empty_channel_reads_zero)
{
	CHECK_EQ(inb(r, CMD + ATA_STATUS), 0);
	CHECK_EQ(inb(r, 0x177), 0);
	CHECK_EQ(inb(r, CTL), 0);
}

BENCH(ide_identify)
{
	uint16_t *id;

	add_disk(r);
	CHECK_EQ(inb(r, CMD + ATA_STATUS), ATA_SR_DRDY | ATA_SR_DSC);
	CHECK_EQ(inb(r, CMD + ATA_ERROR), 1); /* the diagnostic passed */
	outb(r, CMD + ATA_DEVICE, 0xe0);
	outb(r, CMD + ATA_STATUS, 0xec);
	CHECK_EQ(inb(r, CTL), ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_DRQ);
	id = take_words(r, 256);
	CHECK_EQ(id[60] | (uint32_t)id[61] << 16, DISK_BYTES / 512);
	CHECK_EQ(id[100] | (uint32_t)id[101] << 16, DISK_BYTES / 512);
	CHECK_EQ(id[49] & 0x0300, 0x0300); /* LBA, DMA */
	CHECK_EQ(id[27], 'M' << 8 | 'O');
	CHECK_EQ(inb(r, CTL), ATA_SR_DRDY | ATA_SR_DSC);
	/* Nobody is the slave. */
	outb(r, CMD + ATA_DEVICE, 0xf0);
	CHECK_EQ(inb(r, CMD + ATA_STATUS), 0);
}

BENCH(ide_reads_by_pio)
{
	add_disk(r);
	outb(r, 0xa1, 0xbf); /* IRQ 14 */
	address(r, 1000, 3);
	outb(r, CMD + ATA_STATUS, 0x20);
	for (unsigned i = 0; i < 3; i++) {
		uint16_t *w;

		CHECK_EQ(wait_status(r), ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_DRQ);
		CHECK(r->pc->ide->channels[0].irq_pending);
		CHECK_EQ(inb(r, CMD + ATA_STATUS), ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_DRQ);
		CHECK(!r->pc->ide->channels[0].irq_pending);
		w = take_words(r, 256);
		CHECK_EQ(w[0], 1000 + i);
		CHECK_EQ(w[255], ((1000 + i) & 0xff) * 0x101);
	}
	CHECK_EQ(wait_status(r), ATA_SR_DRDY | ATA_SR_DSC);
	CHECK_EQ(inb(r, CMD + ATA_LBA_LOW), (1002) & 0xff);
	CHECK_EQ(inb(r, CMD + ATA_COUNT), 0);
}

BENCH(ide_reads_by_cylinder_head_sector)
{
	uint16_t *w;

	add_disk(r);
	outb(r, CMD + ATA_COUNT, 1);
	outb(r, CMD + ATA_LBA_LOW, 5);
	outb(r, CMD + ATA_LBA_MID, 2);
	outb(r, CMD + ATA_LBA_HIGH, 0);
	outb(r, CMD + ATA_DEVICE, 0xa3);
	outb(r, CMD + ATA_STATUS, 0x20);
	wait_status(r);
	w = take_words(r, 256);
	CHECK_EQ(w[0], (2 * 16 + 3) * 63 + 4);
}

BENCH(ide_writes_by_pio_and_multiple)
{
	uint8_t back[512 * 4];

	add_disk(r);
	outb(r, CMD + ATA_COUNT, 4);
	outb(r, CMD + ATA_DEVICE, 0xe0);
	outb(r, CMD + ATA_STATUS, 0xc6); /* SET MULTIPLE */
	CHECK_EQ(inb(r, CTL), ATA_SR_DRDY | ATA_SR_DSC);
	address(r, 77, 4);
	outb(r, CMD + ATA_STATUS, 0xc5);
	CHECK_EQ(inb(r, CTL), ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_DRQ);
	CHECK(!r->pc->ide->channels[0].irq_pending); /* the first block comes without */
	for (unsigned i = 0; i < 512; i++)
		rig_out(r, CMD, 0x10000 * i + i, 4);
	CHECK_EQ(wait_status(r), ATA_SR_DRDY | ATA_SR_DSC);
	CHECK(r->pc->ide->channels[0].irq_pending);
	CHECK(block_read(disk->block, 77 * 512, back, sizeof(back)) == 0);
	CHECK_EQ(load_le(back + 4 * 511, 4), 0x10000 * 511 + 511);
	CHECK_EQ(load_le(back + 4 * 3, 4), 0x30003);
}

BENCH(ide_the_end_of_the_disk_is_an_error)
{
	add_disk(r);
	address(r, DISK_BYTES / 512 - 1, 2);
	outb(r, CMD + ATA_STATUS, 0x20);
	CHECK_EQ(wait_status(r), ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_ERR);
	CHECK_EQ(inb(r, CMD + ATA_ERROR), ATA_ER_IDNF);
	outb(r, CMD + ATA_STATUS, 0xff);
	CHECK_EQ(inb(r, CMD + ATA_ERROR), ATA_ER_ABRT);
}

/* A table of two regions, the second in another page. */
static void put_table(struct rig *r, uint32_t bytes)
{
	rig_write(r, 0x8000, 0x10000, 4);
	rig_write(r, 0x8004, 512, 4);
	rig_write(r, 0x8008, 0x20000, 4);
	rig_write(r, 0x800c, (bytes - 512) | 0x80000000, 4);
	rig_out(r, BM + 4, 0x8000, 4);
}

BENCH(ide_reads_by_dma)
{
	add_disk(r);
	put_table(r, 2048);
	address(r, 500, 4);
	outb(r, CMD + ATA_STATUS, 0xc8);
	CHECK_EQ(inb(r, CTL), ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_DRQ);
	outb(r, BM, 9); /* to memory, start */
	CHECK_EQ(wait_status(r), ATA_SR_DRDY | ATA_SR_DSC);
	CHECK_EQ(inb(r, BM + 2) & 7, 4); /* interrupt, no longer active */
	CHECK_EQ(rig_read(r, 0x10000, 4), 500);
	CHECK_EQ(rig_read(r, 0x20000, 4), 501);
	CHECK_EQ(rig_read(r, 0x20400, 4), 503);
	outb(r, BM, 0);
	outb(r, BM + 2, 4);
	CHECK_EQ(inb(r, BM + 2) & 7, 0);
}

BENCH(ide_a_short_dma_table_is_an_error)
{
	add_disk(r);
	put_table(r, 1024);
	address(r, 500, 4);
	outb(r, CMD + ATA_STATUS, 0xc8);
	outb(r, BM, 9);
	CHECK(wait_status(r) & ATA_SR_ERR);
	CHECK(inb(r, BM + 2) & 2);
}

BENCH(ide_writes_by_dma_with_48_bits)
{
	uint8_t back[8];

	add_disk(r);
	put_table(r, 1024);
	rig_write(r, 0x10000, 0x12345678, 4);
	rig_write(r, 0x20000, 0x9abcdef0, 4);
	for (unsigned i = 0; i < 2; i++) {
		outb(r, CMD + ATA_COUNT, i ? 2 : 0);
		outb(r, CMD + ATA_LBA_LOW, i ? 0x34 : 0);
		outb(r, CMD + ATA_LBA_MID, i ? 0x12 : 0);
		outb(r, CMD + ATA_LBA_HIGH, 0);
	}
	outb(r, CMD + ATA_DEVICE, 0x40);
	outb(r, CMD + ATA_STATUS, 0x35);
	outb(r, BM, 1);
	CHECK_EQ(wait_status(r), ATA_SR_DRDY | ATA_SR_DSC);
	CHECK(block_read(disk->block, 0x1234 * 512, back, 4) == 0);
	CHECK_EQ(load_le(back, 4), 0x12345678);
	CHECK(block_read(disk->block, 0x1235 * 512, back, 4) == 0);
	CHECK_EQ(load_le(back, 4), 0x9abcdef0);
}

BENCH(ide_software_reset_gives_the_signature)
{
	add_disk(r);
	address(r, 0x123456, 7);
	outb(r, CTL, ATA_CONTROL_SRST);
	CHECK_EQ(inb(r, CTL), ATA_SR_BSY);
	outb(r, CTL, 0);
	CHECK_EQ(inb(r, CMD + ATA_COUNT), 1);
	CHECK_EQ(inb(r, CMD + ATA_LBA_LOW), 1);
	CHECK_EQ(inb(r, CMD + ATA_LBA_MID), 0);
	CHECK_EQ(inb(r, CMD + ATA_ERROR), 1);
}

BENCH(ide_nien_keeps_the_line_low)
{
	add_disk(r);
	outb(r, CTL, ATA_CONTROL_NIEN);
	outb(r, CMD + ATA_DEVICE, 0xe0);
	outb(r, CMD + ATA_STATUS, 0xe5);
	CHECK_EQ(inb(r, BM + 2) & 4, 0);
	outb(r, CTL, 0);
	CHECK_EQ(inb(r, BM + 2) & 4, 4);
	CHECK_EQ(inb(r, CMD + ATA_COUNT), 0xff);
}

/* Packet commands. */

static void packet(struct rig *r, const uint8_t *p, uint16_t limit)
{
	outb(r, CMD + ATA_DEVICE, 0xa0);
	outb(r, CMD + ATA_ERROR, 0);
	outb(r, CMD + ATA_LBA_MID, (uint8_t)limit);
	outb(r, CMD + ATA_LBA_HIGH, (uint8_t)(limit >> 8));
	outb(r, CMD + ATA_STATUS, 0xa0);
	CHECK_EQ(inb(r, CMD + ATA_COUNT) & 3, 1);
	for (unsigned i = 0; i < 12; i += 2)
		rig_out(r, CMD, (uint32_t)load_le(p + i, 2), 2);
	drive_drain(disk);
}

BENCH(cdrom_has_the_packet_signature)
{
	add_cd(r);
	CHECK_EQ(inb(r, CMD + ATA_LBA_MID), 0x14);
	CHECK_EQ(inb(r, CMD + ATA_LBA_HIGH), 0xeb);
	outb(r, CMD + ATA_DEVICE, 0xa0);
	outb(r, CMD + ATA_STATUS, 0xec);
	CHECK_EQ(inb(r, CMD + ATA_ERROR), ATA_ER_ABRT);
	outb(r, CMD + ATA_STATUS, 0xa1);
	CHECK_EQ(take_words(r, 256)[0], 0x85c0);
}

BENCH(cdrom_inquiry_and_capacity)
{
	static const uint8_t inquiry[12] = { 0x12, 0, 0, 0, 36 }, capacity[12] = { 0x25 };
	uint16_t *w;

	add_cd(r);
	packet(r, inquiry, 0xfffe);
	CHECK_EQ(inb(r, CMD + ATA_COUNT), 2);
	CHECK_EQ(inb(r, CMD + ATA_LBA_MID), 36);
	w = take_words(r, 18);
	CHECK_EQ(w[0], 0x8005);
	CHECK_EQ(inb(r, CMD + ATA_COUNT), 3);
	packet(r, capacity, 0xfffe);
	w = take_words(r, 4);
	CHECK_EQ(__builtin_bswap32(w[0] | (uint32_t)w[1] << 16), DISK_BYTES / 2048 - 1);
	CHECK_EQ(__builtin_bswap32(w[2] | (uint32_t)w[3] << 16), 2048);
}

/* Eight sectors, in parts of at most 3000 bytes. */
BENCH(cdrom_reads_in_parts)
{
	static const uint8_t read[12] = { 0x28, 0, 0, 0, 0, 100, 0, 0, 8 };
	unsigned total = 0;

	add_cd(r);
	packet(r, read, 3000);
	while (inb(r, CTL) & ATA_SR_DRQ) {
		unsigned n = inb(r, CMD + ATA_LBA_MID) | inb(r, CMD + ATA_LBA_HIGH) << 8;
		uint16_t *w;

		CHECK(n && n <= 3000 && n % 2 == 0);
		w = take_words(r, n / 2);
		for (unsigned i = 0; i < n / 2; i++)
			if ((total + 2 * i) % 512 == 0)
				CHECK_EQ(w[i], 400 + (total + 2 * i) / 512);
		total += n;
		drive_drain(disk);
	}
	CHECK_EQ(total, 8 * 2048);
	CHECK_EQ(inb(r, CMD + ATA_STATUS), ATA_SR_DRDY | ATA_SR_DSC);
}

BENCH(cdrom_tells_of_errors_and_of_its_tray)
{
	static const uint8_t beyond[12] = { 0x28, 0, 0xff, 0, 0, 0, 0, 0, 1 },
			     sense[12] = { 0x03, 0, 0, 0, 18 }, eject[12] = { 0x1b, 0, 0, 0, 2 },
			     load[12] = { 0x1b, 0, 0, 0, 3 }, ready[12] = { 0 },
			     lock[12] = { 0x1e, 0, 0, 0, 1 };
	uint16_t *w;

	add_cd(r);
	packet(r, beyond, 0xfffe);
	CHECK_EQ(inb(r, CMD + ATA_ERROR) >> 4, 5);
	packet(r, sense, 0xfffe);
	w = take_words(r, 9);
	CHECK_EQ(w[1] & 0xff, 5);
	CHECK_EQ(w[6] & 0xff, 0x21);
	packet(r, lock, 0xfffe);
	packet(r, eject, 0xfffe);
	CHECK_EQ(inb(r, CMD + ATA_ERROR) >> 4, 5); /* locked */
	outb(r, CTL, 4);
	outb(r, CTL, 0);
	packet(r, eject, 0xfffe);
	CHECK_EQ(inb(r, CTL) & ATA_SR_ERR, 0);
	packet(r, ready, 0xfffe);
	CHECK_EQ(inb(r, CMD + ATA_ERROR) >> 4, 2); /* no medium */
	packet(r, load, 0xfffe);
	packet(r, ready, 0xfffe);
	CHECK_EQ(inb(r, CMD + ATA_ERROR) >> 4, 6); /* it may have changed */
	packet(r, ready, 0xfffe);
	CHECK_EQ(inb(r, CTL) & ATA_SR_ERR, 0);
}
