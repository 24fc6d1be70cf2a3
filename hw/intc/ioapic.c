/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82093AA I/O APIC: 24 pins, each with a redirection entry. Source: Intel 82093AA data sheet
 * (290566); version 20h adds the EOI register at offset 40h. An interrupt leaves as a message: a
 * write to the local APICs' address range, as MSI does (SDM 3, 11.11). Under KVM's in-kernel
 * irqchip the kernel's chip is used; with a split irqchip this one is, and tells KVM its messages
 * so that EOIs come back.
 */
#include "hw/intc/ioapic.h"

#include <inttypes.h>

#include "core/log.h"

#define REG_ID 0x00
#define REG_VERSION 0x01
#define REG_ARBITRATION 0x02
#define REG_REDIRECTION 0x10

#define RTE_VECTOR 0xff
#define RTE_DELIVERY_SHIFT 8
#define RTE_LOGICAL BIT64(11)
#define RTE_PENDING BIT64(12)
#define RTE_REMOTE_IRR BIT64(14)
#define RTE_LEVEL BIT64(15)
#define RTE_MASKED BIT64(16)
#define RTE_READ_ONLY (RTE_PENDING | RTE_REMOTE_IRR)

#define D struct chip_ioapic
static FIELD_TABLE(chip_ioapic_table, NULL, F(base), F(ioregsel), F(id), F(irr), F(redirtbl));
#undef D
#define D struct ioapic

static struct msi_message message_of(uint64_t rte)
{
	return (struct msi_message) {
		.address = 0xfee00000 | (rte >> 56) << 12 | (rte & RTE_LOGICAL ? 4 : 0),
		.data = (uint32_t)((rte & RTE_VECTOR) | (rte >> RTE_DELIVERY_SHIFT & 7) << 8 |
				   (rte & RTE_LEVEL ? 0xc000 : 0)),
	};
}

static void send(struct ioapic *d, uint64_t rte)
{
	struct msi_message msg = message_of(rte);

	TRACE(ioapic_send, "0x%" PRIx64 " 0x%x", msg.address, msg.data);
	space_write_le(&d->dev.machine->mem, msg.address, msg.data, 4);
}

/* Sends what is pending and may go. */
static void service(struct ioapic *d)
{
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		uint64_t *rte = &d->s.redirtbl[i];

		if (!(d->s.irr & BIT(i)) || *rte & RTE_MASKED)
			continue;
		if (*rte & RTE_LEVEL) {
			if (*rte & RTE_REMOTE_IRR)
				continue;
			*rte |= RTE_REMOTE_IRR;
		} else {
			d->s.irr &= ~BIT(i);
		}
		send(d, *rte);
	}
}

void ioapic_set(struct ioapic *d, int n, int level)
{
	uint64_t rte = d->s.redirtbl[n];

	if (rte & RTE_LEVEL) {
		d->s.irr = level ? d->s.irr | BIT(n) : d->s.irr & ~BIT(n);
	} else if (level && !(rte & RTE_MASKED)) {
		/* An edge at a masked pin is lost (3.2.4, bit 16). */
		d->s.irr |= BIT(n);
	}
	service(d);
}

void ioapic_eoi(void *opaque, int vector)
{
	struct ioapic *d = opaque;

	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		uint64_t *rte = &d->s.redirtbl[i];

		if ((*rte & RTE_VECTOR) == (uint64_t)vector && *rte & RTE_LEVEL)
			*rte &= ~RTE_REMOTE_IRR;
	}
	service(d);
}

static void tell_routes(struct ioapic *d)
{
	struct accel *a = machine_accel(d->dev.machine);
	struct msi_message msgs[IOAPIC_PINS];

	if (!a || !a->ops->ioapic_routes || a->config.irqchip != IRQCHIP_SPLIT)
		return;
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		msgs[i] = d->s.redirtbl[i] & RTE_MASKED ? (struct msi_message) { 0 }
							: message_of(d->s.redirtbl[i]);
	a->ops->ioapic_routes(a, msgs, IOAPIC_PINS);
}

static uint32_t read_register(struct ioapic *d, uint32_t index)
{
	switch (index) {
	case REG_ID:
	case REG_ARBITRATION:
		return d->s.id << 24;
	case REG_VERSION:
		return d->version | (IOAPIC_PINS - 1) << 16;
	default:
		if (index >= REG_REDIRECTION && index < REG_REDIRECTION + 2 * IOAPIC_PINS) {
			uint64_t rte = d->s.redirtbl[(index - REG_REDIRECTION) / 2];

			return (uint32_t)(index & 1 ? rte >> 32 : rte);
		}
		return 0;
	}
}

static void write_entry(struct ioapic *d, unsigned pin, bool high, uint32_t value)
{
	uint64_t *rte = &d->s.redirtbl[pin];

	if (high)
		*rte = (*rte & 0xffffffff) | (uint64_t)(value & 0xff000000) << 32;
	else
		*rte = (*rte & (UINT64_C(0xff) << 56 | RTE_READ_ONLY)) |
		       (value & 0x1ffff & ~RTE_READ_ONLY);
	/* An edge-triggered entry has no remote IRR. */
	if (!(*rte & RTE_LEVEL))
		*rte &= ~RTE_REMOTE_IRR;
	tell_routes(d);
	service(d);
}

static uint64_t ioapic_read(void *dev, uint64_t off, unsigned size)
{
	struct ioapic *d = dev;

	(void)size;
	if (off == 0)
		return d->s.ioregsel;
	return off == 0x10 ? read_register(d, d->s.ioregsel) : 0;
}

static void ioapic_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct ioapic *d = dev;
	uint32_t i = d->s.ioregsel, v = (uint32_t)value;

	(void)size;
	if (off == 0)
		d->s.ioregsel = v & 0xff;
	else if (off == 0x40 && d->version >= 0x20)
		ioapic_eoi(d, v & 0xff);
	else if (off == 0x10 && i == REG_ID)
		d->s.id = v >> 24 & 0xf;
	else if (off == 0x10 && i >= REG_REDIRECTION && i < REG_REDIRECTION + 2 * IOAPIC_PINS)
		write_entry(d, (i - REG_REDIRECTION) / 2, i & 1, v);
}

static bool ioapic_realize(void *dev, GError **err)
{
	struct ioapic *d = dev;
	struct accel *a = machine_accel(d->dev.machine);

	(void)err;
	d->in_kernel = accel_kernel_pic(a);
	if (!d->in_kernel)
		device_map(dev, 0, IOAPIC_DEFAULT_BASE);
	if (a && !d->in_kernel) {
		a->eoi = ioapic_eoi;
		a->eoi_opaque = d;
	}
	return true;
}

static void ioapic_reset(void *dev)
{
	struct ioapic *d = dev;

	d->s = (struct chip_ioapic) { .base = IOAPIC_DEFAULT_BASE };
	for (int i = 0; i < IOAPIC_PINS; i++)
		d->s.redirtbl[i] = RTE_MASKED;
}

static void ioapic_reset_lines(void *dev)
{
	struct ioapic *d = dev;
	struct accel *a = machine_accel(d->dev.machine);

	if (d->in_kernel)
		a->ops->chip_put(a, CHIP_IOAPIC, 0, &d->s);
	else
		tell_routes(d);
}

static void ioapic_saving(void *dev)
{
	struct ioapic *d = dev;
	struct accel *a = machine_accel(d->dev.machine);

	if (d->in_kernel)
		a->ops->chip_get(a, CHIP_IOAPIC, 0, &d->s);
}

static bool ioapic_loaded(void *dev, GError **err)
{
	struct ioapic *d = dev;

	(void)err;
	d->s.irr &= BIT(IOAPIC_PINS) - 1;
	d->s.ioregsel &= 0xff;
	ioapic_reset_lines(d);
	return true;
}

static void ioapic_print(void *dev, GString *out)
{
	static const char *const modes[] = { "fixed", "lowest", "SMI", "3",
					     "NMI",   "INIT",	"6",   "ExtINT" };
	struct ioapic *d = dev;

	ioapic_saving(dev);
	g_string_append_printf(out, "ioapic0: ver=0x%x id=0x%02x sel=0x%02x irr=0x%06x\n",
			       d->version, d->s.id, d->s.ioregsel, d->s.irr);
	for (int i = 0; i < IOAPIC_PINS; i++) {
		uint64_t r = d->s.redirtbl[i];

		g_string_append_printf(
			out, "  pin %-2d 0x%016" PRIx64 " dest=%" PRIu64 " vec=%-3u %s %s %s%s%s\n",
			i, r, r >> 56, (unsigned)(r & RTE_VECTOR), modes[r >> 8 & 7],
			r & RTE_LOGICAL ? "logical" : "physical", r & RTE_LEVEL ? "level" : "edge",
			r & RTE_MASKED ? " masked" : "", r & RTE_REMOTE_IRR ? " remote-irr" : "");
	}
}

DEVICE(ioapic,
	.name = "ioapic",
	.desc = "82093AA I/O APIC",
	.board_only = true,
	.load_last = true,
	.props = FIELDS(F(version, .init = 0x20)),
	.windows = WINDOWS({ "ioapic", WIN_MMIO, 0x1000, 4, 4, ioapic_read, ioapic_write }),
	.state = FIELDS(FO(s, chip_ioapic_table)),
	.host = HOST(in_kernel),
	.realize = ioapic_realize,
	.reset = ioapic_reset,
	.reset_lines = ioapic_reset_lines,
	.saving = ioapic_saving,
	.loaded = ioapic_loaded,
	.print = ioapic_print);

struct ioapic *ioapic_new(struct machine *m, GError **err)
{
	struct ioapic *d = device_new(m, &device_ioapic, NULL);

	/* KVM's chip is the older version, without an EOI register. */
	if (accel_kernel_pic(machine_accel(m)))
		device_set_uint(d, "version", 0x11);
	return device_realize(d, NULL, err) ? d : NULL;
}
