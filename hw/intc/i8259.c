/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8259A programmable interrupt controller, with the edge/level control register of the PIIX3.
 * Source: Intel 8259A data sheet (231468); 82371SB data sheet, 2.5.3 (ELCR). Not modelled: the
 * MCS-80/85 CALL mode, buffered mode, masters other than the first. A request stays latched when
 * its line falls before the acknowledgement, as in KVM's chip (the data sheet's would end in a
 * spurious IRQ7).
 *
 * Under KVM with an in-kernel irqchip the chip is the kernel's: this device then holds its state
 * only for saving, loading and `info pic`.
 */
#include "hw/intc/i8259.h"

#include "core/log.h"

#define ICW1_IC4 BIT(0)
#define ICW1_SNGL BIT(1)
#define ICW1_LTIM BIT(3)
#define ICW1_INIT BIT(4)
#define ICW4_AEOI BIT(1)
#define ICW4_SFNM BIT(4)
#define OCW3_SELECT BIT(3)

#define D struct chip_pic
static FIELD_TABLE(chip_pic_table, NULL, F(last_irr), F(irr), F(imr), F(isr), F(priority_add),
		   F(irq_base), F(read_isr), F(poll), F(special_mask), F(init_state), F(auto_eoi),
		   F(rotate_on_auto_eoi), F(special_fully_nested), F(init4), F(elcr), F(elcr_mask));
#undef D
#define D struct i8259

/* Priority of the highest bit in mask: 0 is the highest, 8 means none. */
static unsigned priority_of(const struct chip_pic *s, uint8_t mask)
{
	unsigned p = 0;

	if (!mask)
		return 8;
	while (!(mask & BIT((p + s->priority_add) & 7)))
		p++;
	return p;
}

/* The input to serve next, or -1. */
static int pending_input(const struct i8259 *d)
{
	const struct chip_pic *s = &d->s;
	unsigned want = priority_of(s, s->irr & (uint8_t)~s->imr), current;
	uint8_t in_service = s->isr;

	if (want == 8)
		return -1;
	if (s->special_mask)
		in_service &= (uint8_t)~s->imr;
	/* Special fully nested: the slave may interrupt its own service (page 19). */
	if (s->special_fully_nested && !d->slave)
		in_service &= (uint8_t)~BIT(2);
	current = priority_of(s, in_service);
	return want < current ? (int)((want + s->priority_add) & 7) : -1;
}

static void update_out(struct i8259 *d)
{
	irq_set(&d->out, pending_input(d) >= 0);
}

static void set_input(void *opaque, int n, int level)
{
	struct i8259 *d = opaque;
	struct chip_pic *s = &d->s;
	uint8_t mask = (uint8_t)BIT(n);

	if (s->elcr & mask) {
		if (level) {
			s->irr |= mask;
			s->last_irr |= mask;
		} else {
			s->irr &= (uint8_t)~mask;
			s->last_irr &= (uint8_t)~mask;
		}
	} else if (level) {
		if (!(s->last_irr & mask))
			s->irr |= mask;
		s->last_irr |= mask;
	} else {
		s->last_irr &= (uint8_t)~mask;
	}
	update_out(d);
}

static void acknowledge(struct i8259 *d, int n)
{
	struct chip_pic *s = &d->s;
	uint8_t mask = (uint8_t)BIT(n);

	if (s->auto_eoi) {
		if (s->rotate_on_auto_eoi)
			s->priority_add = (uint8_t)(n + 1) & 7;
	} else {
		s->isr |= mask;
	}
	if (!(s->elcr & mask))
		s->irr &= (uint8_t)~mask;
	update_out(d);
}

uint8_t i8259_pair_ack(struct i8259_pair *p)
{
	struct i8259 *m = p->master, *sl = p->slave;
	int n = pending_input(m), n2;

	if (n < 0)
		return m->s.irq_base + 7;
	if (n == 2) {
		n2 = pending_input(sl);
		if (n2 >= 0)
			acknowledge(sl, n2);
		acknowledge(m, 2);
		return (uint8_t)(sl->s.irq_base + (n2 >= 0 ? n2 : 7));
	}
	acknowledge(m, n);
	return (uint8_t)(m->s.irq_base + n);
}

bool i8259_pair_pending(const struct i8259_pair *p)
{
	return pending_input(p->master) >= 0;
}

static void write_icw1(struct i8259 *d, uint8_t v)
{
	struct chip_pic *s = &d->s;

	/* Edges are forgotten, mask cleared, IRQ7 lowest, special mask off, IRR selected (page 11).
	 */
	if (v & ICW1_LTIM)
		log_guest(d, "ICW1 asks for level-triggered mode: the PIIX3 has the ELCR instead");
	if (v & ICW1_SNGL)
		log_guest(d, "ICW1 asks for a single 8259A: there are two");
	s->irr &= s->elcr;
	s->last_irr &= s->elcr;
	s->imr = s->isr = 0;
	s->priority_add = 0;
	s->special_mask = s->read_isr = s->poll = false;
	s->auto_eoi = s->rotate_on_auto_eoi = s->special_fully_nested = false;
	s->init4 = v & ICW1_IC4;
	s->init_state = 1;
}

static void write_ocw2(struct i8259 *d, uint8_t v)
{
	struct chip_pic *s = &d->s;
	unsigned p;

	switch (v >> 5) {
	case 0: /* rotate in automatic EOI mode, clear */
	case 4: /* set */
		s->rotate_on_auto_eoi = v >> 7;
		break;
	case 1: /* non-specific EOI */
	case 5: /* and rotate */
		p = priority_of(s, s->isr);
		if (p == 8)
			break;
		p = (p + s->priority_add) & 7;
		s->isr &= (uint8_t)~BIT(p);
		if (v >> 5 == 5)
			s->priority_add = (uint8_t)((p + 1) & 7);
		break;
	case 3: /* specific EOI */
		s->isr &= (uint8_t)~BIT(v & 7);
		break;
	case 6: /* set priority */
		s->priority_add = (uint8_t)((v + 1) & 7);
		break;
	case 7: /* specific EOI and rotate */
		s->isr &= (uint8_t)~BIT(v & 7);
		s->priority_add = (uint8_t)((v + 1) & 7);
		break;
	default:
		break;
	}
}

static void write_command(struct i8259 *d, uint8_t v)
{
	struct chip_pic *s = &d->s;

	if (v & ICW1_INIT) {
		write_icw1(d, v);
	} else if (v & OCW3_SELECT) {
		if (v & 4)
			s->poll = true;
		if (v & 2)
			s->read_isr = v & 1;
		if (v & 0x40)
			s->special_mask = v >> 5 & 1;
	} else {
		write_ocw2(d, v);
	}
	update_out(d);
}

static void write_data(struct i8259 *d, uint8_t v)
{
	struct chip_pic *s = &d->s;

	switch (s->init_state) {
	case 0: /* OCW1 */
		s->imr = v;
		break;
	case 1: /* ICW2 */
		s->irq_base = v & 0xf8;
		s->init_state = 2;
		break;
	case 2: /* ICW3: the cascade is wired and cannot be changed */
		s->init_state = s->init4 ? 3 : 0;
		break;
	default: /* ICW4 */
		s->special_fully_nested = (v & ICW4_SFNM) != 0;
		s->auto_eoi = (v & ICW4_AEOI) != 0;
		s->init_state = 0;
		break;
	}
	update_out(d);
}

static void pic_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	(void)size;
	if (off == 0)
		write_command(dev, (uint8_t)value);
	else
		write_data(dev, (uint8_t)value);
}

/* Poll: reading acknowledges (page 20). */
static uint8_t read_poll(struct i8259 *d)
{
	int n = pending_input(d);

	d->s.poll = false;
	if (n < 0)
		return 0;
	acknowledge(d, n);
	return (uint8_t)(0x80 | n);
}

static uint64_t pic_read(void *dev, uint64_t off, unsigned size)
{
	struct i8259 *d = dev;

	(void)size;
	if (d->s.poll)
		return read_poll(d);
	if (off == 1)
		return d->s.imr;
	return d->s.read_isr ? d->s.isr : d->s.irr;
}

static uint64_t elcr_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return ((struct i8259 *)dev)->s.elcr;
}

static void elcr_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct i8259 *d = dev;

	(void)off;
	(void)size;
	d->s.elcr = (uint8_t)value & d->s.elcr_mask;
}

static bool pic_realize(void *dev, GError **err)
{
	struct i8259 *d = dev;

	(void)err;
	/* IRQ 0, 1, 2, 8 and 13 are always edges (82371SB, 2.5.3). */
	d->s.elcr_mask = d->slave ? 0xde : 0xf8;
	d->in_kernel = accel_kernel_pic(machine_accel(d->dev.machine));
	if (!d->in_kernel) {
		device_map(dev, 0, d->iobase);
		device_map(dev, 1, d->elcr_port);
	}
	return true;
}

static void pic_reset(void *dev)
{
	struct i8259 *d = dev;

	d->s = (struct chip_pic) { .elcr_mask = d->s.elcr_mask };
}

static void put_to_kernel(struct i8259 *d)
{
	struct accel *a = machine_accel(d->dev.machine);

	if (d->in_kernel)
		a->ops->chip_put(a, CHIP_PIC, d->slave, &d->s);
}

static void pic_reset_lines(void *dev)
{
	struct i8259 *d = dev;

	put_to_kernel(d);
	if (!d->in_kernel)
		update_out(d);
}

static void pic_saving(void *dev)
{
	struct i8259 *d = dev;
	struct accel *a = machine_accel(d->dev.machine);

	if (d->in_kernel)
		a->ops->chip_get(a, CHIP_PIC, d->slave, &d->s);
}

static bool pic_loaded(void *dev, GError **err)
{
	struct i8259 *d = dev;

	if (d->s.init_state > 3)
		return error(err, "saved state: '%s': init_state %u is none of an 8259A's",
			     d->dev.path, d->s.init_state);
	d->s.elcr_mask = d->slave ? 0xde : 0xf8;
	d->s.priority_add &= 7;
	/* Whoever hears INT saves the level it heard: driving it again would be an edge. */
	put_to_kernel(d);
	return true;
}

static void pic_print(void *dev, GString *out)
{
	struct i8259 *d = dev;
	const struct chip_pic *s = &d->s;

	pic_saving(dev);
	g_string_append_printf(
		out,
		"pic%d: irr=%02x imr=%02x isr=%02x hprio=%u irq_base=%02x rr_sel=%u elcr=%02x "
		"fnm=%u\n",
		d->slave, s->irr, s->imr, s->isr, s->priority_add, s->irq_base, s->read_isr,
		s->elcr, s->special_fully_nested);
}

DEVICE(i8259,
	.name = "isa-i8259",
	.desc = "8259A interrupt controller",
	.bus = "ISA",
	.board_only = true,
	.load_last = true,
	.props = FIELDS(F(iobase, .init = 0x20), F(elcr_port, .init = 0x4d0), F(slave)),
	.windows = WINDOWS({ "pic", WIN_PIO, 2, 1, 1, pic_read, pic_write },
			   { "elcr", WIN_PIO, 1, 1, 1, elcr_read, elcr_write }),
	.state = FIELDS(FO(s, chip_pic_table)),
	.host = HOST(out, cascade, in_kernel),
	.realize = pic_realize,
	.reset = pic_reset,
	.reset_lines = pic_reset_lines,
	.saving = pic_saving,
	.loaded = pic_loaded,
	.print = pic_print);

bool i8259_pair_new(struct i8259_pair *p, struct machine *m, struct irq out, GError **err)
{
	p->master = device_new(m, &device_i8259, NULL);
	p->slave = device_new(m, &device_i8259, NULL);
	device_set_uint(p->slave, "iobase", 0xa0);
	device_set_uint(p->slave, "elcr_port", 0x4d1);
	device_set_uint(p->slave, "slave", 1);
	p->master->cascade = p->slave;
	irq_connect(&p->master->out, out);
	irq_connect(&p->slave->out, (struct irq) { set_input, p->master, 2 });
	return device_realize(p->master, NULL, err) && device_realize(p->slave, NULL, err);
}

void i8259_pair_set(struct i8259_pair *p, int n, int level)
{
	set_input(n < 8 ? p->master : p->slave, n & 7, level);
}
