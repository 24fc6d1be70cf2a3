/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PC16550D. */
#include "chardev/chardev.h"
#include "tests/lib/rig.h"

#define P(n) ((uint16_t)(0x3f8 + (n)))

static struct chardev *chr;

static void with_serial(struct pc_config *c)
{
	chr = chr_new(NULL, "ringbuf,id=s,size=4096", NULL);
	c->serial[0] = "s";
}

#define SERIAL(id)                                                                                 \
	static void body_##id(struct rig *r);                                                      \
	TEST(id)                                                                                   \
	{                                                                                          \
		struct rig *r = rig_new_config(RIG_USER, with_serial);                             \
		body_##id(r);                                                                      \
		rig_free(r);                                                                       \
	}                                                                                          \
	static void body_##id(struct rig *r)

static char *sent(void)
{
	static char text[4097];
	size_t n = chr->ops->read_back(chr, (uint8_t *)text, 4096);

	text[n] = 0;
	return text;
}

static void type(const char *text)
{
	chr_input(chr, (const uint8_t *)text, strlen(text));
}

static bool irq4(struct rig *r)
{
	return r->pc->pics.master->s.last_irr & 0x10;
}

SERIAL(serial_reset_values)
{
	CHECK_EQ(inb(r, P(1)), 0);
	CHECK_EQ(inb(r, P(2)), 0x01);
	CHECK_EQ(inb(r, P(3)), 0);
	CHECK_EQ(inb(r, P(5)), 0x60);
	CHECK_EQ(inb(r, P(6)) & 0xf0, 0xb0);
}

SERIAL(serial_transmits)
{
	for (const char *p = "hello"; *p; p++)
		outb(r, P(0), (uint8_t)*p);
	CHECK_STR(sent(), "hello");
	CHECK_EQ(inb(r, P(5)) & 0x60, 0x60);
}

SERIAL(serial_divisor_latch)
{
	outb(r, P(3), 0x83);
	outb(r, P(0), 0x34);
	outb(r, P(1), 0x12);
	CHECK_EQ(inb(r, P(0)), 0x34);
	CHECK_EQ(inb(r, P(1)), 0x12);
	outb(r, P(3), 0x03);
	CHECK_EQ(inb(r, P(1)), 0);
	CHECK_STR(sent(), "");
	outb(r, P(7), 0xa5);
	CHECK_EQ(inb(r, P(7)), 0xa5);
}

SERIAL(serial_receives_without_fifo)
{
	CHECK_EQ(chr_input_room(chr), 1);
	type("a");
	CHECK_EQ(chr_input_room(chr), 0);
	CHECK_EQ(inb(r, P(5)) & 1, 1);
	type("b"); /* overrun: the newest stays */
	CHECK_EQ(inb(r, P(5)) & 3, 3);
	CHECK_EQ(inb(r, P(5)) & 2, 0);
	CHECK_EQ(inb(r, P(0)), 'b');
	CHECK_EQ(inb(r, P(5)) & 1, 0);
}

/* Table III and the trigger level. */
SERIAL(serial_fifo_trigger_and_timeout)
{
	outb(r, P(2), 0x81); /* 8 characters */
	outb(r, P(1), 0x01);
	CHECK_EQ(inb(r, P(2)), 0xc1);
	type("1234567");
	CHECK(!irq4(r));
	rig_step(r, 1000000);
	CHECK(irq4(r));
	CHECK_EQ(inb(r, P(2)), 0xcc); /* timeout */
	CHECK_EQ(inb(r, P(0)), '1');
	CHECK(!irq4(r));
	type("89");
	CHECK_EQ(inb(r, P(2)), 0xc4);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(inb(r, P(0)), '2' + i);
	CHECK_EQ(inb(r, P(2)), 0xc1);
	CHECK_EQ(chr_input_room(chr), 16);
}

SERIAL(serial_fifo_overrun_keeps_the_oldest)
{
	outb(r, P(2), 0x01);
	type("0123456789abcdefX");
	CHECK_EQ(inb(r, P(5)) & 2, 2);
	CHECK_EQ(inb(r, P(0)), '0');
	outb(r, P(2), 0x03); /* clear the receiver */
	CHECK_EQ(inb(r, P(5)) & 1, 0);
}

SERIAL(serial_thre_interrupt)
{
	outb(r, P(1), 0x02);
	CHECK(irq4(r));
	CHECK_EQ(inb(r, P(2)), 0x02);
	CHECK(!irq4(r)); /* reading IIR clears it */
	CHECK_EQ(inb(r, P(2)), 0x01);
	outb(r, P(0), 'x');
	CHECK_EQ(inb(r, P(2)), 0x02);
}

SERIAL(serial_line_status_has_priority)
{
	outb(r, P(1), 0x07);
	type("ab");
	CHECK_EQ(inb(r, P(2)), 0x06);
	inb(r, P(5));
	CHECK_EQ(inb(r, P(2)), 0x04);
	inb(r, P(0));
	CHECK_EQ(inb(r, P(2)), 0x02);
}

/* Loop-back: MCR's outputs are MSR's inputs, characters come back. */
SERIAL(serial_loopback)
{
	outb(r, P(4), 0x10);
	CHECK_EQ(inb(r, P(6)) & 0xf0, 0);
	outb(r, P(4), 0x1f);
	CHECK_EQ(inb(r, P(6)), 0xfb); /* TERI counts the fall of RI only */
	outb(r, P(4), 0x1b);
	CHECK_EQ(inb(r, P(6)), 0xb4);
	outb(r, P(0), 'q');
	CHECK_EQ(inb(r, P(0)), 'q');
	CHECK_STR(sent(), "");
}

SERIAL(serial_break)
{
	chr->mux = true;
	type("\001b");
	CHECK_EQ(inb(r, P(5)) & 0x10, 0x10);
	CHECK_EQ(inb(r, P(0)), 0);
}

static void two_serials(struct pc_config *c)
{
	with_serial(c);
	chr_new(NULL, "null,id=n", NULL);
	c->serial[1] = "n";
}

TEST(serial_ports_have_their_places)
{
	struct rig *r = rig_new_config(RIG_USER, two_serials);

	outb(r, 0x2ff, 0x5a);
	CHECK_EQ(inb(r, 0x2ff), 0x5a);
	CHECK_EQ(inb(r, 0x3ef), 0xff);
	rig_free(r);
}
