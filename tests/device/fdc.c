/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 82077AA, with its DMA channel and interrupt line. */
#include "hw/block/fdc.h"

#include "tests/lib/rig.h"

#define IRQ 6
#define MEMORY 0x20000u
#define FLOPPY_BYTES (1440 * KIB)
#define SENSE_INTERRUPT 8

static struct drive *disk;

static void add(struct rig *r, bool writable)
{
	disk = rig_drive(r, FLOPPY_BYTES, writable, false);
	CHECK(fdc_attach(r->pc->fdc, 0, disk, NULL));
	machine_reset(&r->m);
	/* The PICs as a BIOS sets them up, IRQ 6 alone let through. */
	outb(r, 0x20, 0x11);
	outb(r, 0x21, 8);
	outb(r, 0x21, 4);
	outb(r, 0x21, 1);
	outb(r, 0x21, (uint8_t)~BIT(IRQ));
}

static bool interrupted(struct rig *r)
{
	bool yes = rig_ack(r) == 8 + IRQ;

	outb(r, 0x20, 0x20);
	return yes;
}

static void command(struct rig *r, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		CHECK_EQ(inb(r, 0x3f4) & 0xc0, 0x80);
		outb(r, 0x3f5, bytes[i]);
	}
	drive_drain(disk);
	/* A sector's end starts the next: until the controller has something to say. */
	while (!(inb(r, 0x3f4) & 0x80))
		drive_drain(disk);
}
#define COMMAND(r, ...)                                                                            \
	command(r, (const uint8_t[]) { __VA_ARGS__ }, sizeof((const uint8_t[]) { __VA_ARGS__ }))

static uint8_t *results(struct rig *r, unsigned n)
{
	static uint8_t b[16];

	for (unsigned i = 0; i < n; i++) {
		CHECK_EQ(inb(r, 0x3f4) & 0xd0, 0xd0);
		b[i] = inb(r, 0x3f5);
	}
	CHECK_EQ(inb(r, 0x3f4), 0x80);
	return b;
}

static void reset(struct rig *r)
{
	outb(r, 0x3f2, 0x08);
	CHECK_EQ(inb(r, 0x3f4), 0);
	outb(r, 0x3f2, 0x1c);
	CHECK(interrupted(r));
	for (unsigned i = 0; i < 4; i++) {
		COMMAND(r, SENSE_INTERRUPT);
		CHECK_EQ(results(r, 2)[0], 0xc0 | i);
	}
	COMMAND(r, 3, 0xaf, 2); /* SPECIFY: DMA */
	outb(r, 0x3f7, 0);	/* 500 kb/s */
	COMMAND(r, 7, 0);
	CHECK(interrupted(r));
	COMMAND(r, SENSE_INTERRUPT);
	CHECK_EQ(results(r, 2)[0], 0x20);
}

static void program_dma(struct rig *r, uint8_t mode, uint16_t bytes)
{
	outb(r, 0x0a, 6);
	outb(r, 0x0c, 0);
	outb(r, 0x04, (uint8_t)MEMORY);
	outb(r, 0x04, (uint8_t)(MEMORY >> 8));
	outb(r, 0x81, MEMORY >> 16);
	outb(r, 0x05, (uint8_t)(bytes - 1));
	outb(r, 0x05, (uint8_t)((bytes - 1) >> 8));
	outb(r, 0x0b, mode | 2);
	outb(r, 0x0a, 2);
}
#define TO_MEMORY 0x44
#define FROM_MEMORY 0x48

static void seek(struct rig *r, uint8_t head, uint8_t track)
{
	COMMAND(r, 0x0f, (uint8_t)(head << 2), track);
	CHECK(interrupted(r));
	COMMAND(r, SENSE_INTERRUPT);
	CHECK_EQ(results(r, 2)[1], track);
}

BENCH(fdc_reset_and_sense)
{
	uint8_t *b;

	add(r, true);
	reset(r);
	COMMAND(r, 0x10);
	CHECK_EQ(results(r, 1)[0], 0x90);
	COMMAND(r, SENSE_INTERRUPT);
	CHECK_EQ(results(r, 1)[0], 0x80); /* nothing is pending */
	COMMAND(r, 4, 0);
	CHECK_EQ(results(r, 1)[0], 0x38);
	COMMAND(r, 0x1f);
	CHECK_EQ(results(r, 1)[0], 0x80);
	COMMAND(r, 0x13, 0, 0x57, 0);
	COMMAND(r, 0x0e);
	b = results(r, 10);
	CHECK_EQ(b[8], 0x57);
	COMMAND(r, 0x94);
	CHECK_EQ(results(r, 1)[0], 0x10);
}

BENCH(fdc_reads_by_dma)
{
	uint8_t *b;

	add(r, true);
	reset(r);
	seek(r, 0, 3);
	program_dma(r, TO_MEMORY, 1024);
	COMMAND(r, 0xe6, 4, 3, 1, 17, 2, 18, 0x1b, 0xff);
	CHECK(interrupted(r));
	b = results(r, 7);
	CHECK_EQ(b[0], 0);
	CHECK_EQ(b[1] | b[2], 0);
	CHECK_EQ(rig_read(r, MEMORY, 4), (3 * 2 + 1) * 18 + 16);
	CHECK_EQ(rig_read(r, MEMORY + 512, 4), (3 * 2 + 1) * 18 + 17);
	/* Over to the second head. */
	program_dma(r, TO_MEMORY, 1024);
	COMMAND(r, 0xe6, 0, 3, 0, 18, 2, 18, 0x1b, 0xff);
	b = results(r, 7);
	CHECK_EQ(b[0] & 0xc0, 0);
	CHECK_EQ(rig_read(r, MEMORY + 512, 4), (3 * 2 + 1) * 18);
}

BENCH(fdc_writes_by_dma)
{
	uint8_t back[4];

	add(r, true);
	reset(r);
	seek(r, 0, 0);
	rig_write(r, MEMORY, 0x12345678, 4);
	program_dma(r, FROM_MEMORY, 512);
	COMMAND(r, 0xc5, 0, 0, 0, 5, 2, 18, 0x1b, 0xff);
	CHECK_EQ(results(r, 7)[0], 0);
	CHECK(block_read(disk->block, 4 * 512, back, 4) == 0);
	CHECK_EQ(load_le(back, 4), 0x12345678);
}

BENCH(fdc_errors)
{
	uint8_t *b;

	add(r, false);
	reset(r);
	/* The head is elsewhere. */
	program_dma(r, TO_MEMORY, 512);
	COMMAND(r, 0xe6, 0, 9, 0, 1, 2, 18, 0x1b, 0xff);
	b = results(r, 7);
	CHECK_EQ(b[0] & 0xc0, 0x40);
	CHECK_EQ(b[2], 0x10);
	/* No such sector. */
	COMMAND(r, 0xe6, 0, 0, 0, 19, 2, 19, 0x1b, 0xff);
	CHECK_EQ(results(r, 7)[1], 4);
	/* A write-protected disk. */
	program_dma(r, FROM_MEMORY, 512);
	COMMAND(r, 0xc5, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
	CHECK_EQ(results(r, 7)[1], 2);
	/* The wrong data rate, no disk. */
	outb(r, 0x3f7, 2);
	COMMAND(r, 0x4a, 0);
	CHECK_EQ(results(r, 7)[1], 1);
	COMMAND(r, 0x4a, 1);
	CHECK_EQ(results(r, 7)[1], 5);
	/* No terminal count before the track's end. */
	outb(r, 0x3f7, 0);
	program_dma(r, TO_MEMORY, 4096);
	COMMAND(r, 0x46, 0, 0, 0, 18, 2, 18, 0x1b, 0xff);
	CHECK_EQ(results(r, 7)[1], 0x80);
}

BENCH(fdc_reads_without_dma)
{
	add(r, true);
	reset(r);
	COMMAND(r, 3, 0xaf, 3);
	COMMAND(r, 0x46, 0, 0, 0, 18, 2, 18, 0x1b, 0xff);
	CHECK(interrupted(r));
	for (unsigned i = 0; i < 512; i++) {
		CHECK_EQ(inb(r, 0x3f4), 0xf0);
		CHECK_EQ(inb(r, 0x3f5), i == 0 || i > 3 ? 17 : 0);
	}
	CHECK_EQ(results(r, 7)[1], 0x80);
}

BENCH(fdc_formats_a_track)
{
	uint8_t back[4];

	add(r, true);
	reset(r);
	seek(r, 0, 1);
	for (unsigned i = 0; i < 18; i++)
		rig_write(r, MEMORY + 4 * i, 1 | (i + 1) << 16 | 2 << 24, 4);
	program_dma(r, FROM_MEMORY, 72);
	COMMAND(r, 0x4d, 0, 2, 18, 0x1b, 0xf6);
	CHECK_EQ(results(r, 7)[0], 0);
	CHECK(block_read(disk->block, 36 * 512, back, 4) == 0);
	CHECK_EQ(load_le(back, 4), 0xf6f6f6f6);
	CHECK(block_read(disk->block, 53 * 512, back, 4) == 0);
	CHECK_EQ(load_le(back, 4), 0xf6f6f6f6);
	CHECK(block_read(disk->block, 54 * 512, back, 4) == 0);
	CHECK_EQ(load_le(back, 4), 54);
}

BENCH(fdc_disk_change_line)
{
	add(r, true);
	CHECK_EQ(inb(r, 0x3f7) & 0x80, 0x80);
	reset(r); /* recalibrates */
	CHECK_EQ(inb(r, 0x3f7) & 0x80, 0);
}
