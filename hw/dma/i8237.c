/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's two 8237A DMA controllers and their page registers. Source: Intel 8237A data sheet
 * (231466); 82371SB data sheet 2.5.1. Registers and the transfers of a device that asks through
 * i8237_transfer; not modelled: memory-to-memory transfers, the timing of requests, the
 * low-page/high-page 32-bit extension.
 */
#include "hw/dma/i8237.h"

#include <string.h>

#define D struct i8237_channel
static FIELD_TABLE(channel_table, NULL, F(base_address), F(base_count), F(address), F(count),
		   F(mode), F(page));
#undef D
#define D struct i8237

#define MODE_TYPE(m) ((m) >> 2 & 3)
#define TYPE_WRITE 1 /* to memory */
#define TYPE_READ 2
#define MODE_AUTOINIT BIT(4)
#define MODE_DECREMENT BIT(5)
#define COMMAND_DISABLE BIT(2)

static unsigned reg_of(const struct i8237 *d, uint64_t off)
{
	return (unsigned)(off >> d->wide);
}

/* Address and count go through a flip-flop, low byte first. */
static void put_half(struct i8237 *d, uint16_t *base, uint16_t *current, uint8_t v)
{
	*base = (uint16_t)(d->flip_flop ? (*base & 0x00ff) | v << 8 : (*base & 0xff00) | v);
	*current = *base;
	d->flip_flop = !d->flip_flop;
}

static uint8_t get_half(struct i8237 *d, uint16_t v)
{
	uint8_t b = (uint8_t)(d->flip_flop ? v >> 8 : v);

	d->flip_flop = !d->flip_flop;
	return b;
}

static void master_clear(struct i8237 *d)
{
	d->command = d->status = d->request = 0;
	d->flip_flop = false;
	d->mask = 15;
}

static uint64_t dma_ports_read(void *dev, uint64_t off, unsigned size)
{
	struct i8237 *d = dev;
	unsigned reg = reg_of(d, off);
	uint8_t v;

	(void)size;
	if (reg < 8) {
		const struct i8237_channel *c = &d->channel[reg / 2];

		return get_half(d, reg & 1 ? c->count : c->address);
	}
	switch (reg) {
	case 8:
		v = d->status;
		d->status &= 0xf0; /* terminal counts are cleared by reading (page 10) */
		return v;
	case 15:
		return d->mask;
	default:
		return 0;
	}
}

static void dma_ports_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct i8237 *d = dev;
	unsigned reg = reg_of(d, off), bit = 1u << (value & 3);
	uint8_t v = (uint8_t)value;

	(void)size;
	if (reg < 8) {
		struct i8237_channel *c = &d->channel[reg / 2];

		if (reg & 1)
			put_half(d, &c->base_count, &c->count, v);
		else
			put_half(d, &c->base_address, &c->address, v);
		return;
	}
	switch (reg) {
	case 8:
		d->command = v;
		return;
	case 9:
		d->request = (uint8_t)(v & 4 ? d->request | bit : d->request & ~bit);
		return;
	case 10:
		d->mask = (uint8_t)(v & 4 ? d->mask | bit : d->mask & ~bit);
		return;
	case 11:
		d->channel[v & 3].mode = v;
		return;
	case 12:
		d->flip_flop = false;
		return;
	case 13:
		master_clear(d);
		return;
	case 14:
		d->mask = 0;
		return;
	default:
		d->mask = v & 15;
		return;
	}
}

/* 80h-8Fh: channel by port; the others are plain latches. */
static const int8_t page_channel[2][16] = {
	{ -1, 2, 3, 1, -1, -1, -1, 0, -1, -1, -1, -1, -1, -1, -1, -1 },
	{ -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 3, 1, -1, -1, -1, 0 },
};

static uint64_t page_read(void *dev, uint64_t off, unsigned size)
{
	struct i8237 *d = dev;

	(void)size;
	return d->latch[off];
}

static void page_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct i8237 *d = dev;

	(void)size;
	d->latch[off] = (uint8_t)value;
	if (page_channel[0][off] >= 0)
		d->channel[page_channel[0][off]].page = (uint8_t)value;
	else if (page_channel[1][off] >= 0 && d->other)
		d->other->channel[page_channel[1][off]].page = (uint8_t)value;
}

size_t i8237_transfer(struct i8237 *d, unsigned channel, uint8_t *buf, size_t len, bool *terminal)
{
	struct i8237_channel *c = &d->channel[channel & 3];
	unsigned unit = 1u << d->wide;
	size_t done = 0;

	*terminal = false;
	if (d->mask & BIT(channel & 3) || d->command & COMMAND_DISABLE)
		return 0;
	while (done + unit <= len && !*terminal) {
		uint64_t at = d->wide ? (uint64_t)(c->page & 0xfe) << 16 | (uint64_t)c->address << 1
				      : (uint64_t)c->page << 16 | c->address;

		if (MODE_TYPE(c->mode) == TYPE_WRITE)
			dma_write(d, at, buf + done, unit);
		else if (MODE_TYPE(c->mode) == TYPE_READ)
			dma_read(d, at, buf + done, unit);
		done += unit;
		c->address = (uint16_t)(c->mode & MODE_DECREMENT ? c->address - 1 : c->address + 1);
		/* The count goes below zero on the last transfer. */
		*terminal = c->count-- == 0;
	}
	if (*terminal) {
		d->status |= (uint8_t)BIT(channel & 3);
		if (c->mode & MODE_AUTOINIT) {
			c->address = c->base_address;
			c->count = c->base_count;
		} else {
			d->mask |= (uint8_t)BIT(channel & 3);
		}
	}
	return done;
}

static bool dma_realize(void *dev, GError **err)
{
	struct i8237 *d = dev;

	(void)err;
	d->dev.regions[0].size = 16u << d->wide;
	device_map(dev, 0, d->iobase);
	if (!d->wide)
		device_map(dev, 1, 0x80);
	return true;
}

static void dma_reset(void *dev)
{
	struct i8237 *d = dev;

	master_clear(d);
	memset(d->channel, 0, sizeof(d->channel));
	memset(d->latch, 0, sizeof(d->latch));
}

DEVICE(i8237,
	.name = "i8257",
	.desc = "8237A DMA controller",
	.bus = "ISA",
	.board_only = true,
	.props = FIELDS(F(iobase), F(wide, .max = 1, .help = "16-bit channels: addresses count words")),
	.windows = WINDOWS({ "dma", WIN_PIO, 32, 1, 1, dma_ports_read, dma_ports_write },
			   { "dma-page", WIN_PIO, 16, 1, 1, page_read, page_write }),
	.state = FIELDS(FO(channel, channel_table), F(command), F(status), F(request), F(mask), F(flip_flop),
			F(latch)),
	.host = HOST(other),
	.realize = dma_realize,
	.reset = dma_reset);

bool i8237_pair_new(struct machine *m, struct bus *isa, struct i8237 *pair[2], GError **err)
{
	pair[0] = device_new(m, &device_i8237, NULL);
	pair[1] = device_new(m, &device_i8237, NULL);
	device_set_uint(pair[1], "iobase", 0xc0);
	device_set_uint(pair[1], "wide", 1);
	pair[0]->other = pair[1];
	return device_realize(pair[0], isa, err) && device_realize(pair[1], isa, err);
}
