/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 keyboard and mouse. Source: IBM PS/2 hardware interface technical reference, keyboard
 * (101/102 key) and mouse chapters. Not modelled: scan code set 3's per-key settings, the mouse's
 * scroll wheel variants.
 */
#include "hw/input/ps2.h"

#include <string.h>

#define ACK 0xfa
#define RESEND 0xfe
#define SELF_TEST_OK 0xaa
#define ECHO 0xee

#define D struct ps2
FIELD_TABLE(ps2_table, HOST(mouse, changed), F(queue), F(head), F(len), F(last), F(command),
	    F(scanning), F(leds), F(set), F(rate_delay), F(sample_rate), F(resolution), F(id),
	    F(rate_step), F(scaling), F(remote), F(wrap), F(dx), F(dy), F(buttons));

static void put(struct ps2 *p, uint8_t v)
{
	/* A full queue loses: the device would send FFh; drivers resynchronise. */
	if (p->len == PS2_QUEUE)
		return;
	p->queue[(p->head + p->len++) % PS2_QUEUE] = v;
	irq_set(&p->changed, 1);
}

static void defaults(struct ps2 *p)
{
	p->set = 2;
	p->rate_delay = 0x2b;
	p->sample_rate = 100;
	p->resolution = 2;
	p->scaling = p->remote = p->wrap = false;
	p->dx = p->dy = 0;
}

void ps2_reset(struct ps2 *p)
{
	p->head = p->len = p->last = p->command = p->leds = p->rate_step = p->id = p->buttons = 0;
	memset(p->queue, 0, sizeof(p->queue));
	defaults(p);
	p->scanning = !p->mouse;
}

void ps2_init(struct ps2 *p, bool mouse, struct irq changed)
{
	p->mouse = mouse;
	p->changed = changed;
	ps2_reset(p);
}

bool ps2_check(const struct ps2 *p)
{
	return p->head < PS2_QUEUE && p->len <= PS2_QUEUE;
}

bool ps2_has_data(const struct ps2 *p)
{
	return p->len != 0;
}

uint8_t ps2_read(struct ps2 *p)
{
	if (!p->len)
		return p->last;
	p->last = p->queue[p->head];
	p->head = (p->head + 1) % PS2_QUEUE;
	p->len--;
	irq_set(&p->changed, p->len != 0);
	return p->last;
}

static void flush(struct ps2 *p)
{
	p->len = 0;
	irq_set(&p->changed, 0);
}

static void keyboard_data(struct ps2 *p, uint8_t command, uint8_t v)
{
	switch (command) {
	case 0xed:
		p->leds = v & 7;
		break;
	case 0xf3:
		p->rate_delay = v & 0x7f;
		break;
	default: /* 0xf0 */
		if (v > 3) {
			put(p, RESEND);
			return;
		}
		put(p, ACK);
		if (v == 0)
			put(p, p->set);
		else
			p->set = v;
		return;
	}
	put(p, ACK);
}

static void keyboard_command(struct ps2 *p, uint8_t v)
{
	switch (v) {
	case 0xed: /* LEDs */
	case 0xf0: /* scan code set */
	case 0xf3: /* typematic rate */
		p->command = v;
		put(p, ACK);
		return;
	case 0xee:
		put(p, ECHO);
		return;
	case 0xf2:
		put(p, ACK);
		put(p, 0xab);
		put(p, 0x83);
		return;
	case 0xf4:
	case 0xf5:
	case 0xf6:
		flush(p);
		if (v != 0xf4)
			defaults(p);
		p->scanning = v != 0xf5;
		put(p, ACK);
		return;
	case 0xfe:
		put(p, p->last);
		return;
	case 0xff:
		ps2_reset(p);
		put(p, ACK);
		put(p, SELF_TEST_OK);
		return;
	default:
		put(p, v >= 0xf7 && v <= 0xfd ? ACK : RESEND);
		return;
	}
}

static void mouse_packet(struct ps2 *p)
{
	int dx = MAX_OF(MIN_OF(p->dx, 255), -256), dy = MAX_OF(MIN_OF(p->dy, 255), -256);

	put(p, (uint8_t)(8 | (p->buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0)));
	put(p, (uint8_t)dx);
	put(p, (uint8_t)dy);
	p->dx -= dx;
	p->dy -= dy;
}

static void mouse_data(struct ps2 *p, uint8_t command, uint8_t v)
{
	if (command == 0xe8) {
		p->resolution = v & 3;
	} else {
		p->sample_rate = v;
		/*
		 * The rate sequence 200, 100, 80 is how a driver asks for the wheel; this mouse has
		 * none.
		 */
		p->rate_step = 0;
	}
	put(p, ACK);
}

static void mouse_command(struct ps2 *p, uint8_t v)
{
	if (p->wrap && v != 0xec && v != 0xff) {
		put(p, v);
		return;
	}
	switch (v) {
	case 0xe6:
	case 0xe7:
		p->scaling = v & 1;
		break;
	case 0xe8:
	case 0xf3:
		p->command = v;
		break;
	case 0xe9:
		put(p, ACK);
		put(p, (uint8_t)(p->remote << 6 | p->scanning << 5 | p->scaling << 4 |
				 (p->buttons & 7)));
		put(p, p->resolution);
		put(p, p->sample_rate);
		return;
	case 0xea:
	case 0xf0:
		p->remote = v == 0xf0;
		break;
	case 0xeb:
		put(p, ACK);
		mouse_packet(p);
		return;
	case 0xec:
	case 0xee:
		p->wrap = v == 0xee;
		break;
	case 0xf2:
		put(p, ACK);
		put(p, p->id);
		return;
	case 0xf4:
	case 0xf5:
		p->scanning = v == 0xf4;
		break;
	case 0xf6:
		defaults(p);
		p->scanning = false;
		break;
	case 0xfe:
		put(p, p->last);
		return;
	case 0xff:
		ps2_reset(p);
		put(p, ACK);
		put(p, SELF_TEST_OK);
		put(p, 0);
		return;
	default:
		put(p, RESEND);
		return;
	}
	put(p, ACK);
}

void ps2_write(struct ps2 *p, uint8_t v)
{
	uint8_t command = p->command;

	p->command = 0;
	/* A command byte in place of data cancels what waited for it. */
	if (command && v < 0xe0) {
		if (p->mouse)
			mouse_data(p, command, v);
		else
			keyboard_data(p, command, v);
		return;
	}
	if (p->mouse)
		mouse_command(p, v);
	else
		keyboard_command(p, v);
}

void ps2_key(struct ps2 *p, uint8_t set2_code)
{
	if (p->scanning)
		put(p, set2_code);
}

void ps2_move(struct ps2 *p, int dx, int dy, uint8_t buttons)
{
	p->dx += dx;
	p->dy -= dy;
	p->buttons = buttons;
	if (p->scanning && !p->remote && p->len + 3 <= PS2_QUEUE)
		mouse_packet(p);
}
