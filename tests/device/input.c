/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8042, PS/2 keyboard and mouse; 8237A. */
#include "tests/lib/rig.h"

static void command(struct rig *r, uint8_t v)
{
	outb(r, 0x64, v);
}

static uint8_t data(struct rig *r)
{
	CHECK(inb(r, 0x64) & 1);
	return inb(r, 0x60);
}

BENCH(kbd_self_test_and_command_byte)
{
	command(r, 0xaa);
	CHECK_EQ(data(r), 0x55);
	CHECK(inb(r, 0x64) & 4);
	command(r, 0xab);
	CHECK_EQ(data(r), 0);
	command(r, 0x60);
	CHECK(inb(r, 0x64) & 8); /* the last write was a command */
	outb(r, 0x60, 0x65);
	CHECK(!(inb(r, 0x64) & 8));
	command(r, 0x20);
	CHECK_EQ(data(r), 0x65);
	CHECK(!(inb(r, 0x64) & 1));
}

BENCH(kbd_reset_id_and_leds)
{
	outb(r, 0x60, 0xff);
	CHECK_EQ(data(r), 0xfa);
	CHECK_EQ(data(r), 0xaa);
	outb(r, 0x60, 0xf2);
	CHECK_EQ(data(r), 0xfa);
	CHECK_EQ(data(r), 0xab);
	CHECK_EQ(data(r), 0x83);
	outb(r, 0x60, 0xed);
	CHECK_EQ(data(r), 0xfa);
	outb(r, 0x60, 5);
	CHECK_EQ(data(r), 0xfa);
	CHECK_EQ(r->pc->kbd->kbd.leds, 5);
	outb(r, 0x60, 0xee);
	CHECK_EQ(data(r), 0xee);
	outb(r, 0x60, 0x01);
	CHECK_EQ(data(r), 0xfe);
}

BENCH(kbd_keys_translate_to_set_1)
{
	command(r, 0x60);
	outb(r, 0x60, 0x41);
	ps2_key(&r->pc->kbd->kbd, 0x1c); /* A */
	CHECK(r->pc->pics.master->s.last_irr & 2);
	CHECK_EQ(data(r), 0x1e);
	CHECK(!(r->pc->pics.master->s.last_irr & 2));
	ps2_key(&r->pc->kbd->kbd, 0xf0);
	ps2_key(&r->pc->kbd->kbd, 0x1c);
	CHECK_EQ(data(r), 0x9e);
	CHECK(!(inb(r, 0x64) & 1));
	ps2_key(&r->pc->kbd->kbd, 0xe0);
	ps2_key(&r->pc->kbd->kbd, 0x75); /* cursor up */
	CHECK_EQ(data(r), 0xe0);
	CHECK_EQ(data(r), 0x48);
	command(r, 0x60);
	outb(r, 0x60, 0x01);
	ps2_key(&r->pc->kbd->kbd, 0x1c);
	CHECK_EQ(data(r), 0x1c);
}

BENCH(kbd_disabled_holds_its_bytes)
{
	command(r, 0xad);
	ps2_key(&r->pc->kbd->kbd, 0x1c);
	CHECK(!(inb(r, 0x64) & 1));
	command(r, 0xae);
	CHECK(inb(r, 0x64) & 1);
}

BENCH(mouse_commands_and_packets)
{
	command(r, 0xa8);
	command(r, 0xd4);
	outb(r, 0x60, 0xff);
	CHECK_EQ(inb(r, 0x64) & 0x21, 0x21);
	CHECK_EQ(data(r), 0xfa);
	CHECK_EQ(data(r), 0xaa);
	CHECK_EQ(data(r), 0x00);
	command(r, 0xd4);
	outb(r, 0x60, 0xf4);
	CHECK_EQ(data(r), 0xfa);
	ps2_move(&r->pc->kbd->mouse, 5, 3, 1);
	CHECK_EQ(data(r), 0x29);
	CHECK_EQ(data(r), 5);
	CHECK_EQ(data(r), 0xfd); /* up is positive */
	command(r, 0xd4);
	outb(r, 0x60, 0xe9);
	CHECK_EQ(data(r), 0xfa);
	CHECK_EQ(data(r), 0x21);
	CHECK_EQ(data(r), 2);
	CHECK_EQ(data(r), 100);
}

BENCH(kbd_a20_through_output_port)
{
	command(r, 0xd0);
	CHECK_EQ(data(r) & 3, 3);
	command(r, 0xd1);
	outb(r, 0x60, 0xdd);
	command(r, 0xd0);
	CHECK_EQ(data(r) & 2, 0);
	command(r, 0xdf);
	command(r, 0xd0);
	CHECK_EQ(data(r) & 2, 2);
	CHECK(!(r->m.requests & REQ_RESET));
}

BENCH(dma_registers_and_flip_flop)
{
	outb(r, 0x0c, 0);
	outb(r, 0x04, 0x34);
	outb(r, 0x04, 0x12);
	outb(r, 0x0c, 0);
	CHECK_EQ(inb(r, 0x04), 0x34);
	CHECK_EQ(inb(r, 0x04), 0x12);
	outb(r, 0xd8, 0);
	outb(r, 0xc4, 0x78);
	outb(r, 0xc4, 0x56);
	CHECK_EQ(r->pc->dma[1]->channel[1].address, 0x5678);
	outb(r, 0x81, 0xaa);
	CHECK_EQ(r->pc->dma[0]->channel[2].page, 0xaa);
	outb(r, 0x8b, 0xbb);
	CHECK_EQ(r->pc->dma[1]->channel[1].page, 0xbb);
	CHECK_EQ(inb(r, 0x81), 0xaa);
	outb(r, 0x0f, 0x05);
	CHECK_EQ(inb(r, 0x0f), 0x05);
	outb(r, 0x0a, 0x00);
	CHECK_EQ(inb(r, 0x0f), 0x04);
	outb(r, 0x0d, 0);
	CHECK_EQ(inb(r, 0x0f), 0x0f);
}

BENCH(dma_transfers_to_memory_and_counts)
{
	uint8_t buf[] = "abcdefgh";
	bool terminal;

	outb(r, 0x0b, 0x46); /* channel 2: single, increment, to memory */
	outb(r, 0x0c, 0);
	outb(r, 0x04, 0x00);
	outb(r, 0x04, 0x20);
	outb(r, 0x05, 0x05);
	outb(r, 0x05, 0x00);
	outb(r, 0x81, 0x01);
	CHECK_EQ(i8237_transfer(r->pc->dma[0], 2, buf, 8, &terminal), 0); /* masked */
	outb(r, 0x0a, 0x02);
	CHECK_EQ(i8237_transfer(r->pc->dma[0], 2, buf, 4, &terminal), 4);
	CHECK(!terminal);
	CHECK_EQ(i8237_transfer(r->pc->dma[0], 2, buf + 4, 4, &terminal), 2);
	CHECK(terminal);
	CHECK_EQ(rig_read(r, 0x12000, 4), 0x64636261);
	CHECK_EQ(inb(r, 0x08), 0x04);
	CHECK_EQ(inb(r, 0x08), 0x00); /* reading clears the terminal counts */
	CHECK_EQ(i8237_transfer(r->pc->dma[0], 2, buf, 1, &terminal), 0);
}
