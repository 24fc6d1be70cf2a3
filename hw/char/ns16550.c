/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16550A UART on the ISA bus. Source: National PC16550D data sheet (DS008652). Characters leave at
 * the line's speed towards the guest's eyes (THRE and the FIFO behave), at once towards the host.
 * Not modelled: the line's timing errors; DMA modes.
 */
#include <string.h>

#include "chardev/chardev.h"
#include "core/log.h"
#include "hw/isa/isa.h"

#define IER_RDA BIT(0)
#define IER_THRE BIT(1)
#define IER_RLS BIT(2)
#define IER_MODEM BIT(3)
#define IIR_NONE 0x01
#define IIR_MODEM 0x00
#define IIR_THRE 0x02
#define IIR_RDA 0x04
#define IIR_RLS 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO_ENABLED 0xc0
#define FCR_ENABLE BIT(0)
#define FCR_CLEAR_RX BIT(1)
#define FCR_CLEAR_TX BIT(2)
#define LCR_DLAB BIT(7)
#define LCR_BREAK BIT(6)
#define MCR_DTR BIT(0)
#define MCR_RTS BIT(1)
#define MCR_OUT1 BIT(2)
#define MCR_OUT2 BIT(3)
#define MCR_LOOP BIT(4)
#define LSR_DR BIT(0)
#define LSR_OE BIT(1)
#define LSR_PE BIT(2)
#define LSR_FE BIT(3)
#define LSR_BI BIT(4)
#define LSR_THRE BIT(5)
#define LSR_TEMT BIT(6)
#define LSR_ERRORS (LSR_OE | LSR_PE | LSR_FE | LSR_BI)
#define MSR_DELTA 0x0f
#define MSR_TERI BIT(2)
#define MSR_CTS BIT(4)
#define MSR_DSR BIT(5)
#define MSR_RI BIT(6)
#define MSR_DCD BIT(7)
#define FIFO_SIZE 16
#define TIMEOUT_NS 350000 /* four characters at 115200 baud (page 20) */

struct serial {
	struct device dev;
	uint16_t iobase;
	uint8_t irqn, index;
	char *chardev;
	uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
	uint16_t divisor;
	uint8_t fifo[FIFO_SIZE], fifo_len;
	bool thre_pending, timed_out;
	struct timer timeout;
	struct irq irq;
	struct chr_front front;
};

#define D struct serial

static unsigned trigger_level(const struct serial *s)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

/* The highest pending interrupt (table III). */
static uint8_t pending(const struct serial *s)
{
	if (s->ier & IER_RLS && s->lsr & LSR_ERRORS)
		return IIR_RLS;
	if (s->ier & IER_RDA && s->fifo_len >= trigger_level(s))
		return IIR_RDA;
	if (s->ier & IER_RDA && s->timed_out)
		return IIR_TIMEOUT;
	if (s->ier & IER_THRE && s->thre_pending)
		return IIR_THRE;
	if (s->ier & IER_MODEM && s->msr & MSR_DELTA)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct serial *s)
{
	/*
	 * PC boards gate this with OUT2; polling firmware leaves it clear, and never enables
	 * interrupts.
	 */
	irq_set(&s->irq, pending(s) != IIR_NONE);
}

static size_t receiver_room(void *opaque)
{
	struct serial *s = opaque;
	unsigned size = s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;

	if (s->mcr & MCR_LOOP)
		return 0;
	return s->fifo_len < size ? size - s->fifo_len : 0;
}

static void receive(struct serial *s, uint8_t c)
{
	unsigned size = s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;

	if (s->fifo_len >= size) {
		s->lsr |= LSR_OE;
		/* Without a FIFO the newest character replaces the last. */
		if (size == 1)
			s->fifo[0] = c;
		return;
	}
	s->fifo[s->fifo_len++] = c;
	s->lsr |= LSR_DR;
	s->timed_out = false;
	if (s->fcr & FCR_ENABLE)
		timer_arm(&s->timeout, clock_ns(vm_clock(s->dev.machine)) + TIMEOUT_NS);
}

static void front_read(void *opaque, const uint8_t *data, size_t len)
{
	struct serial *s = opaque;

	for (size_t i = 0; i < len; i++)
		receive(s, data[i]);
	update_irq(s);
}

static void set_modem(struct serial *s, uint8_t lines)
{
	uint8_t changed = (s->msr ^ lines) & 0xf0, delta = (uint8_t)(changed >> 4);

	/* TERI is the trailing edge of RI only. */
	if (changed & MSR_RI && lines & MSR_RI)
		delta &= (uint8_t)~MSR_TERI;
	s->msr = (uint8_t)((s->msr & MSR_DELTA) | lines | delta);
	update_irq(s);
}

static void front_event(void *opaque, enum chr_event e)
{
	struct serial *s = opaque;

	if (s->mcr & MCR_LOOP)
		return;
	if (e == CHR_BREAK) {
		receive(s, 0);
		s->lsr |= LSR_BI;
		update_irq(s);
	} else if (e == CHR_OPENED) {
		set_modem(s, MSR_CTS | MSR_DSR | MSR_DCD);
	}
}

/* Characters wait in the receiver and nobody came: the FIFO's timeout (page 20). */
static void timeout_fires(void *opaque, int64_t late_ns)
{
	struct serial *s = opaque;

	(void)late_ns;
	s->timed_out = s->fifo_len != 0;
	update_irq(s);
}

static uint8_t read_data(struct serial *s)
{
	uint8_t c = s->fifo[0];

	if (!s->fifo_len)
		return 0;
	memmove(s->fifo, s->fifo + 1, --s->fifo_len);
	s->timed_out = false;
	if (s->fifo_len) {
		timer_arm(&s->timeout, clock_ns(vm_clock(s->dev.machine)) + TIMEOUT_NS);
	} else {
		timer_cancel(&s->timeout);
		s->lsr &= (uint8_t)~LSR_DR;
	}
	update_irq(s);
	chr_accept_input(&s->front);
	return c;
}

static void write_data(struct serial *s, uint8_t c)
{
	s->thre_pending = false;
	update_irq(s);
	if (s->mcr & MCR_LOOP)
		receive(s, c);
	else
		chr_write(&s->front, &c, 1);
	/* The transmitter is always done at once. */
	s->thre_pending = true;
	update_irq(s);
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t iir = pending(s);

	if (iir == IIR_THRE) {
		s->thre_pending = false;
		update_irq(s);
	}
	return iir | (s->fcr & FCR_ENABLE ? IIR_FIFO_ENABLED : 0);
}

static void clear_receiver(struct serial *s)
{
	s->fifo_len = 0;
	s->timed_out = false;
	s->lsr &= (uint8_t) ~(LSR_DR | LSR_BI);
	timer_cancel(&s->timeout);
}

static void write_fcr(struct serial *s, uint8_t v)
{
	/* Switching the FIFOs on or off empties them (page 18). */
	if ((s->fcr ^ v) & FCR_ENABLE || v & FCR_CLEAR_RX)
		clear_receiver(s);
	if (v & FCR_CLEAR_TX && s->ier & IER_THRE)
		s->thre_pending = true;
	s->fcr = v & FCR_ENABLE ? v & 0xc9 : 0;
	update_irq(s);
	chr_accept_input(&s->front);
}

static void write_mcr(struct serial *s, uint8_t v)
{
	s->mcr = v & 0x1f;
	if (v & MCR_LOOP)
		set_modem(s, (uint8_t)((v & MCR_RTS ? MSR_CTS : 0) | (v & MCR_DTR ? MSR_DSR : 0) |
				       (v & MCR_OUT1 ? MSR_RI : 0) | (v & MCR_OUT2 ? MSR_DCD : 0)));
	else
		set_modem(s, MSR_CTS | MSR_DSR | MSR_DCD);
	chr_accept_input(&s->front);
}

static uint64_t serial_read(void *dev, uint64_t off, unsigned size)
{
	struct serial *s = dev;
	uint8_t v;

	(void)size;
	if (s->lcr & LCR_DLAB && off < 2)
		return off ? s->divisor >> 8 : s->divisor & 0xff;
	switch (off) {
	case 0:
		return read_data(s);
	case 1:
		return s->ier;
	case 2:
		return read_iir(s);
	case 3:
		return s->lcr;
	case 4:
		return s->mcr;
	case 5:
		v = s->lsr;
		s->lsr &= (uint8_t)~LSR_ERRORS;
		update_irq(s);
		return v;
	case 6:
		v = s->msr;
		s->msr &= (uint8_t)~MSR_DELTA;
		update_irq(s);
		return v;
	default:
		return s->scr;
	}
}

static void serial_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct serial *s = dev;
	uint8_t v = (uint8_t)value;

	(void)size;
	if (s->lcr & LCR_DLAB && off < 2) {
		s->divisor =
			(uint16_t)(off ? (s->divisor & 0xff) | v << 8 : (s->divisor & 0xff00) | v);
		return;
	}
	switch (off) {
	case 0:
		write_data(s, v);
		return;
	case 1:
		/* Enabling THRE with an empty transmitter interrupts at once. */
		if (v & IER_THRE && !(s->ier & IER_THRE))
			s->thre_pending = true;
		s->ier = v & 0x0f;
		update_irq(s);
		return;
	case 2:
		write_fcr(s, v);
		return;
	case 3:
		s->lcr = v;
		return;
	case 4:
		write_mcr(s, v);
		return;
	case 7:
		s->scr = v;
		return;
	default:
		return; /* LSR and MSR: for factory test */
	}
}

static const struct {
	uint16_t iobase;
	uint8_t irqn;
} com_ports[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

static bool serial_realize(void *dev, GError **err)
{
	struct serial *s = dev;
	struct chardev *chr = s->chardev ? chr_find(s->chardev) : NULL;

	if (s->chardev && !chr)
		return error(err, "%s: no chardev '%s'; make it with -chardev BACKEND,id=%s",
			     device_name(s), s->chardev, s->chardev);
	if (!s->iobase)
		s->iobase = com_ports[s->index].iobase;
	if (!s->irqn)
		s->irqn = com_ports[s->index].irqn;
	timer_init(&s->timeout, vm_clock(s->dev.machine), "serial-timeout", timeout_fires, s);
	irq_connect(&s->irq, isa_irq(s, s->irqn));
	s->front = (struct chr_front) { receiver_room, front_read, front_event, s, NULL, false };
	if (chr && !chr_attach(chr, &s->front, err))
		return false;
	device_map(dev, 0, s->iobase);
	return true;
}

static void serial_unrealize(void *dev)
{
	chr_detach(&((struct serial *)dev)->front);
}

static void serial_reset(void *dev)
{
	struct serial *s = dev;

	clear_receiver(s);
	s->ier = s->fcr = s->lcr = s->scr = 0;
	s->mcr = MCR_OUT2;
	s->lsr = LSR_THRE | LSR_TEMT;
	s->msr = MSR_CTS | MSR_DSR | MSR_DCD;
	s->divisor = 12; /* 9600 baud */
	s->thre_pending = false;
	memset(s->fifo, 0, sizeof(s->fifo));
}

static void serial_reset_lines(void *dev)
{
	update_irq(dev);
	chr_accept_input(&((struct serial *)dev)->front);
}

static bool serial_loaded(void *dev, GError **err)
{
	struct serial *s = dev;

	if (s->fifo_len > FIFO_SIZE)
		return error(err, "saved state: '%s': fifo_len %u is more than %d", s->dev.path,
			     s->fifo_len, FIFO_SIZE);
	serial_reset_lines(dev);
	return true;
}

DEVICE(isa_serial,
	.name = "isa-serial",
	.desc = "16550A UART",
	.bus = "ISA",
	.props = FIELDS(F(index, .max = 3, .help = "COM port number minus one: sets iobase and irq"),
			F(iobase, .help = "first of eight ports"), F(irqn, .max = 15, .help = "ISA interrupt"),
			F(chardev, .help = "id of the chardev")),
	.windows = WINDOWS({ "serial", WIN_PIO, 8, 1, 1, serial_read, serial_write }),
	.state = FIELDS(F(ier), F(fcr), F(lcr), F(mcr), F(lsr), F(msr), F(scr), F(divisor), F(fifo), F(fifo_len),
			F(thre_pending), F(timed_out), F(timeout)),
	.host = HOST(irq, front),
	.realize = serial_realize,
	.unrealize = serial_unrealize,
	.reset = serial_reset,
	.reset_lines = serial_reset_lines,
	.loaded = serial_loaded);
