/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc-testdev, for test kernels: a register that reads back, interrupt lines to drive, a buffer
 * behind MMIO, and a way to make the engine forget a page.
 *
 *	E0h		a register of 4 bytes, any width		E8h	the same, byte by
 *byte E4h		a guest page's address: its mappings are flushed 2000h + n	interrupt
 *line n, n < 24, gets the level written FF000000h	64 KiB of memory (MMIO)
 */
#include "accel/accel.h"
#include "hw/isa/isa.h"

#define LINES 24
#define BUFFER_BYTES 65536u
#define BUFFER_AT UINT64_C(0xff000000)

struct pc_testdev {
	struct device dev;
	uint8_t reg[4];
	uint8_t level[LINES];
	uint8_t buffer[BUFFER_BYTES];
	struct irq line[LINES];
};

#define D struct pc_testdev

static uint64_t reg_read(void *dev, uint64_t off, unsigned size)
{
	return load_le(((struct pc_testdev *)dev)->reg + off, size);
}

static void reg_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	store_le(((struct pc_testdev *)dev)->reg + off, value, size);
}

static uint64_t nothing_read(void *dev, uint64_t off, unsigned size)
{
	(void)dev;
	(void)off;
	return ones(size);
}

static void flush_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct machine *m = as_device(dev)->machine;
	struct accel *a = machine_accel(m);
	struct ram_block *block;
	uint64_t block_off;
	size_t len = 1;
	void *host =
		space_map(&m->mem, value & ~(PAGE_SIZE_4K - 1), &len, true, &block, &block_off);

	(void)off;
	(void)size;
	if (host && a && a->ops->flush_page)
		a->ops->flush_page(a, host);
}

static void line_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct pc_testdev *d = dev;

	(void)size;
	d->level[off] = value != 0;
	irq_set(&d->line[off], d->level[off]);
}

static uint64_t line_read(void *dev, uint64_t off, unsigned size)
{
	(void)size;
	return ((struct pc_testdev *)dev)->level[off];
}

static uint64_t buffer_read(void *dev, uint64_t off, unsigned size)
{
	return load_le(((struct pc_testdev *)dev)->buffer + off, size);
}

static void buffer_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	store_le(((struct pc_testdev *)dev)->buffer + off, value, size);
}

static bool pc_testdev_realize(void *dev, GError **err)
{
	struct pc_testdev *d = dev;

	(void)err;
	for (unsigned n = 0; n < LINES; n++)
		d->line[n] = isa_irq(dev, n);
	device_map(dev, 0, 0xe0);
	device_map(dev, 1, 0xe8);
	device_map(dev, 2, 0xe4);
	device_map(dev, 3, 0x2000);
	device_map_priority(dev, 4, BUFFER_AT, 1);
	return true;
}

static void pc_testdev_reset(void *dev)
{
	struct pc_testdev *d = dev;

	memset(d->reg, 0, sizeof(d->reg));
	memset(d->level, 0, sizeof(d->level));
	memset(d->buffer, 0, sizeof(d->buffer));
}

static void pc_testdev_reset_lines(void *dev)
{
	struct pc_testdev *d = dev;

	for (unsigned n = 0; n < LINES; n++)
		irq_lower(&d->line[n]);
}

DEVICE(pc_testdev,
	.name = "pc-testdev",
	.desc = "register, lines and buffer for test kernels",
	.bus = "ISA",
	.windows = WINDOWS({ "pc-testdev-ioport", WIN_PIO, 4, 1, 4, reg_read, reg_write },
			   { "pc-testdev-ioport-byte", WIN_PIO, 4, 1, 1, reg_read, reg_write },
			   { "pc-testdev-flush-page", WIN_PIO, 4, 4, 4, nothing_read, flush_write },
			   { "pc-testdev-irq-line", WIN_PIO, LINES, 1, 1, line_read, line_write },
			   { "pc-testdev-iomem", WIN_MMIO, BUFFER_BYTES, 1, 8, buffer_read, buffer_write }),
	.state = FIELDS(F(reg), F(level), F(buffer)),
	.host = HOST(line),
	.realize = pc_testdev_realize,
	.reset = pc_testdev_reset,
	.reset_lines = pc_testdev_reset_lines);
