/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8042 keyboard controller of the PC/AT and PS/2: ports 60h and 64h. Source: IBM PS/2 technical
 * reference, "Keyboard and auxiliary device controller". Scan codes are translated from set 2 to
 * set 1 as the command byte asks. Not modelled: the clock and data line tests, security.
 */
#include "hw/input/i8042.h"

#include <string.h>

#define STATUS_OBF BIT(0)
#define STATUS_IBF BIT(1)
#define STATUS_SYS BIT(2)
#define STATUS_COMMAND BIT(3)
#define STATUS_UNLOCKED BIT(4)
#define STATUS_MOUSE_OBF BIT(5)
#define MODE_KBD_INT BIT(0)
#define MODE_MOUSE_INT BIT(1)
#define MODE_SYS BIT(2)
#define MODE_DISABLE_KBD BIT(4)
#define MODE_DISABLE_MOUSE BIT(5)
#define MODE_TRANSLATE BIT(6)
#define OUT_RESET BIT(0)
#define OUT_A20 BIT(1)

#define D struct i8042

/* Set 2 to set 1, for the codes below 84h; the rest pass through (table in the reference). */
static const uint8_t set1[128] = {
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29,
	0x59, 0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11,
	0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14,
	0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24,
	0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35,
	0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36,
	0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c,
	0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
	0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

static void update_irq(struct i8042 *d)
{
	bool full = d->status & STATUS_OBF, mouse = d->status & STATUS_MOUSE_OBF;

	irq_set(&d->irq_kbd, full && !mouse && d->mode & MODE_KBD_INT);
	irq_set(&d->irq_mouse, full && mouse && d->mode & MODE_MOUSE_INT);
}

static void fill(struct i8042 *d, uint8_t v, bool mouse)
{
	d->out = v;
	d->status |= STATUS_OBF;
	d->status = (uint8_t)(mouse ? d->status | STATUS_MOUSE_OBF : d->status & ~STATUS_MOUSE_OBF);
	update_irq(d);
}

/* F0h, the release prefix of set 2, becomes bit 7 of the set-1 code. */
static bool translate(struct i8042 *d, uint8_t *v)
{
	if (!(d->mode & MODE_TRANSLATE))
		return true;
	if (*v == 0xf0) {
		d->release = true;
		return false;
	}
	if (*v < 128)
		*v = set1[*v];
	else if (*v == 0x83)
		*v = 0x41;
	else if (*v == 0x84)
		*v = 0x54;
	else
		return true; /* answers and prefixes */
	if (d->release)
		*v |= 0x80;
	d->release = false;
	return true;
}

/* Takes the next byte from a device when the buffer is free. The keyboard goes first. */
static void refill(struct i8042 *d)
{
	if (d->refilling)
		return; /* ps2_read tells us of the byte after */
	d->refilling = true;
	while (!(d->status & STATUS_OBF)) {
		uint8_t v;

		if (ps2_has_data(&d->kbd) && !(d->mode & MODE_DISABLE_KBD)) {
			v = ps2_read(&d->kbd);
			if (translate(d, &v))
				fill(d, v, false);
		} else if (ps2_has_data(&d->mouse) && !(d->mode & MODE_DISABLE_MOUSE)) {
			fill(d, ps2_read(&d->mouse), true);
		} else {
			break;
		}
	}
	d->refilling = false;
}

static void device_changed(void *opaque, int n, int level)
{
	struct i8042 *d = opaque;

	(void)n;
	if (level)
		refill(d);
}

static void write_output_port(struct i8042 *d, uint8_t v)
{
	d->outport = v;
	irq_set(&d->a20, (v & OUT_A20) != 0);
	if (!(v & OUT_RESET))
		machine_request(d->dev.machine, REQ_RESET);
}

static void write_command(struct i8042 *d, uint8_t v)
{
	/* F0h-FFh pulse output bits low; only the reset line matters. */
	if (v >= 0xf0) {
		if (!(v & OUT_RESET))
			machine_request(d->dev.machine, REQ_RESET);
		return;
	}
	switch (v) {
	case 0x20:
		fill(d, d->mode, false);
		return;
	case 0x60: /* these five take a data byte */
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xd4:
		d->command = v;
		return;
	case 0xa7:
		d->mode |= MODE_DISABLE_MOUSE;
		return;
	case 0xa8:
		d->mode &= (uint8_t)~MODE_DISABLE_MOUSE;
		refill(d);
		return;
	case 0xa9: /* both lines are fine */
	case 0xab:
		fill(d, 0, false);
		return;
	case 0xaa:
		d->status |= STATUS_SYS;
		fill(d, 0x55, false);
		return;
	case 0xad:
		d->mode |= MODE_DISABLE_KBD;
		return;
	case 0xae:
		d->mode &= (uint8_t)~MODE_DISABLE_KBD;
		refill(d);
		return;
	case 0xc0:
		fill(d, 0x80, false); /* not locked */
		return;
	case 0xd0:
		fill(d, (uint8_t)(d->outport | (d->status & STATUS_OBF ? 0x10 : 0)), false);
		return;
	case 0xdd:
		write_output_port(d, d->outport & (uint8_t)~OUT_A20);
		return;
	case 0xdf:
		write_output_port(d, d->outport | OUT_A20);
		return;
	default:
		return;
	}
}

static void write_data(struct i8042 *d, uint8_t v)
{
	uint8_t command = d->command;

	d->command = 0;
	switch (command) {
	case 0x60:
		d->mode = v;
		d->status =
			(uint8_t)(v & MODE_SYS ? d->status | STATUS_SYS : d->status & ~STATUS_SYS);
		update_irq(d);
		refill(d);
		return;
	case 0xd1:
		write_output_port(d, v);
		return;
	case 0xd2:
		fill(d, v, false);
		return;
	case 0xd3:
		fill(d, v, true);
		return;
	case 0xd4:
		ps2_write(&d->mouse, v);
		return;
	default:
		/* Data to the keyboard also enables it. */
		d->mode &= (uint8_t)~MODE_DISABLE_KBD;
		ps2_write(&d->kbd, v);
		refill(d);
		return;
	}
}

static uint64_t data_read(void *dev, uint64_t off, unsigned size)
{
	struct i8042 *d = dev;
	uint8_t v = d->out;

	(void)off;
	(void)size;
	d->status &= (uint8_t) ~(STATUS_OBF | STATUS_MOUSE_OBF);
	update_irq(d);
	refill(d);
	return v;
}

static void data_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct i8042 *d = dev;

	(void)off;
	(void)size;
	d->status &= (uint8_t)~STATUS_COMMAND;
	write_data(d, (uint8_t)value);
}

static uint64_t status_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ((struct i8042 *)dev)->status;
}

static void status_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct i8042 *d = dev;

	(void)off;
	(void)size;
	d->status |= STATUS_COMMAND;
	write_command(d, (uint8_t)value);
}

static bool i8042_realize(void *dev, GError **err)
{
	struct i8042 *d = dev;

	(void)err;
	ps2_init(&d->kbd, false, (struct irq) { device_changed, d, 0 });
	ps2_init(&d->mouse, true, (struct irq) { device_changed, d, 1 });
	irq_connect(&d->irq_kbd, isa_irq(d, 1));
	irq_connect(&d->irq_mouse, isa_irq(d, 12));
	device_map(dev, 0, 0x60);
	device_map(dev, 1, 0x64);
	return true;
}

static void i8042_reset(void *dev)
{
	struct i8042 *d = dev;

	d->mode = MODE_KBD_INT | MODE_MOUSE_INT;
	d->status = STATUS_UNLOCKED | STATUS_COMMAND;
	d->outport = OUT_RESET | OUT_A20 | 0xcc;
	d->command = d->out = 0;
	d->release = false;
	ps2_reset(&d->kbd);
	ps2_reset(&d->mouse);
}

static void i8042_reset_lines(void *dev)
{
	update_irq(dev);
}

static bool i8042_loaded(void *dev, GError **err)
{
	struct i8042 *d = dev;

	if (!ps2_check(&d->kbd) || !ps2_check(&d->mouse))
		return error(err, "saved state: '%s': a queue is longer than it can be",
			     d->dev.path);
	update_irq(d);
	return true;
}

DEVICE(i8042,
	.name = "i8042",
	.desc = "8042 keyboard controller with keyboard and mouse",
	.bus = "ISA",
	.board_only = true,
	.windows = WINDOWS({ "i8042-data", WIN_PIO, 1, 1, 1, data_read, data_write },
			   { "i8042-cmd", WIN_PIO, 1, 1, 1, status_read, status_write }),
	.state = FIELDS(F(mode), F(status), F(out), F(outport), F(command), F(release), FO(kbd, ps2_table),
			FO(mouse, ps2_table)),
	.host = HOST(irq_kbd, irq_mouse, a20, refilling),
	.realize = i8042_realize,
	.reset = i8042_reset,
	.reset_lines = i8042_reset_lines,
	.loaded = i8042_loaded);

struct i8042 *i8042_new(struct machine *m, struct bus *isa, struct irq a20, GError **err)
{
	struct i8042 *d = device_new(m, &device_i8042, NULL);

	irq_connect(&d->a20, a20);
	return device_realize(d, isa, err) ? d : NULL;
}
