/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI devices and buses: see pci.h. Source: PCI Local Bus Specification 3.0, 6.1 to 6.8. Not
 * modelled: parity, system errors, power management, bridges.
 */
#include "hw/pci/pci.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/log.h"

#define D struct pci_device
FIELD_TABLE(pci_device_table,
	    HOST(dev, bus, devfn, multifunction, writable, write_clear, bars, next_cap, msi_cap,
		 msi_vectors, msix, irqfds, irqfds_live),
	    F(config), F(intx_level), F(msix_table), F(msix_pending));

static const struct pci_info *info_of(const struct pci_device *d)
{
	return d->dev.info->bus_info;
}

static void set_mask(uint8_t *mask, unsigned off, unsigned size, uint64_t bits)
{
	store_le(mask + off, bits, size);
}

/* BARs. */

static unsigned bar_offset(unsigned n)
{
	return PCI_BAR0 + 4 * n;
}

void pci_add_bar(void *dev, unsigned n, struct region *region, bool io, bool prefetch, bool is_64)
{
	struct pci_device *d = dev;
	unsigned off = bar_offset(n);
	uint64_t size = region->size, type = io ? 1 : (prefetch ? 8 : 0) | (is_64 ? 4 : 0);

	assert(size && !(size & (size - 1)) && size >= (io ? 4 : 16));
	d->bars[n] = (struct pci_bar) {
		.region = region, .io = io, .prefetch = prefetch, .is_64 = is_64
	};
	store_le(d->config + off, type, 4);
	set_mask(d->writable, off, is_64 ? 8 : 4, ~(size - 1));
	if (io)
		d->writable[off] &= 0xfc;
}

static uint64_t bar_base(const struct pci_device *d, unsigned n)
{
	const struct pci_bar *b = &d->bars[n];
	uint64_t v = load_le(d->config + bar_offset(n), b->is_64 ? 8 : 4);

	return v & ~(b->io ? UINT64_C(3) : UINT64_C(15));
}

/* Where a BAR should be now; false when it is not to be seen. */
static bool bar_wanted(const struct pci_device *d, unsigned n, uint64_t *addr)
{
	const struct pci_bar *b = &d->bars[n];
	uint16_t enable = b->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	uint64_t last;

	if (!b->region || !(pci_word(d, PCI_COMMAND) & enable))
		return false;
	*addr = bar_base(d, n);
	last = *addr + b->region->size - 1;
	/* An address of 0 or all-ones is what sizing leaves behind, not a place. */
	if (*addr == 0 || last < *addr)
		return false;
	if (b->io)
		return last <= 0xffff;
	return b->is_64 ? last < (UINT64_C(1) << 52) : last < UINT32_MAX;
}

void pci_update_bars(struct pci_device *d)
{
	struct machine *m = d->dev.machine;

	space_begin(&m->mem);
	space_begin(&m->ports);
	for (unsigned n = 0; n < PCI_BARS; n++) {
		struct pci_bar *b = &d->bars[n];
		uint64_t addr = 0;
		bool want = bar_wanted(d, n, &addr);

		if (b->mapped && (!want || addr != b->addr)) {
			region_remove(b->region);
			b->mapped = false;
		}
		if (want && !b->mapped) {
			region_add(b->io ? &m->ports.root : &m->mem.root, addr, 1, b->region);
			b->addr = addr;
			b->mapped = true;
			TRACE(pci_bar, "%s bar %u at 0x%" PRIx64, device_name(d), n, addr);
		}
	}
	space_commit(&m->ports);
	space_commit(&m->mem);
}

/* INTx. */

static void set_line(struct pci_device *d, int level)
{
	struct pci_bus *b = d->bus;
	unsigned pin = d->config[PCI_INTERRUPT_PIN], line;

	if (!pin || !b)
		return;
	line = (pin - 1 + (d->devfn >> 3)) % PCI_PINS;
	b->intx_count[line] = (uint8_t)(b->intx_count[line] + (level ? 1 : -1));
	if (b->set_intx)
		b->set_intx(b->intx_opaque, line, b->intx_count[line] != 0);
}

/* The level that reaches the bus: the device's, unless INTx is disabled. */
static bool on_bus(const struct pci_device *d)
{
	return d->intx_level && !(pci_word(d, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);
}

void pci_set_irq(void *dev, int level)
{
	struct pci_device *d = dev;
	bool before = on_bus(d);

	d->intx_level = level != 0;
	if (level)
		d->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	else
		d->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (before != on_bus(d))
		set_line(d, level != 0);
}

/* MSI. */

#define MSI_FLAGS 2
#define MSI_ENABLE BIT(0)
#define MSI_64BIT BIT(7)
#define MSI_MASKING BIT(8)
#define MSI_ADDRESS 4
#define MSI_DATA 12 /* the 64-bit layout is the only one we offer */
#define MSI_MASK 16
#define MSI_PENDING 20
#define MSI_CAP_SIZE 24

static void send_message(struct pci_device *d, uint64_t address, uint32_t data)
{
	TRACE(pci_msi, "%s 0x%" PRIx64 " 0x%x", device_name(d), address, data);
	if (pci_word(d, PCI_COMMAND) & PCI_COMMAND_MASTER)
		space_write_le(&d->dev.machine->mem, address, data, 4);
}

void pci_add_msi(void *dev, unsigned vectors)
{
	struct pci_device *d = dev;
	unsigned cap = pci_add_capability(dev, 0x05, MSI_CAP_SIZE), log2 = 0;

	while ((1u << log2) < vectors)
		log2++;
	d->msi_cap = cap;
	d->msi_vectors = 1u << log2;
	pci_set_word(d, cap + MSI_FLAGS, (uint16_t)(MSI_64BIT | MSI_MASKING | log2 << 1));
	set_mask(d->writable, cap + MSI_FLAGS, 2, MSI_ENABLE | 7 << 4);
	set_mask(d->writable, cap + MSI_ADDRESS, 8, ~UINT64_C(3));
	set_mask(d->writable, cap + MSI_DATA, 2, 0xffff);
	set_mask(d->writable, cap + MSI_MASK, 4,
		 d->msi_vectors == 32 ? UINT32_MAX : BIT(d->msi_vectors) - 1);
}

bool pci_msi_enabled(const struct pci_device *d)
{
	return d->msi_cap && pci_word(d, d->msi_cap + MSI_FLAGS) & MSI_ENABLE;
}

static unsigned msi_allocated(const struct pci_device *d)
{
	return MIN_OF(1u << (pci_word(d, d->msi_cap + MSI_FLAGS) >> 4 & 7), d->msi_vectors);
}

void pci_msi_notify(void *dev, unsigned vector)
{
	struct pci_device *d = dev;
	uint32_t mask, pending, data;

	if (!pci_msi_enabled(d) || vector >= d->msi_vectors)
		return;
	mask = (uint32_t)load_le(d->config + d->msi_cap + MSI_MASK, 4);
	pending = (uint32_t)load_le(d->config + d->msi_cap + MSI_PENDING, 4);
	if (mask & BIT(vector)) {
		store_le(d->config + d->msi_cap + MSI_PENDING, pending | BIT(vector), 4);
		return;
	}
	data = pci_word(d, d->msi_cap + MSI_DATA);
	/* A device with several vectors changes the low bits of the data (6.8.1.6). */
	data = (data & ~(msi_allocated(d) - 1)) | (vector & (msi_allocated(d) - 1));
	send_message(d, load_le(d->config + d->msi_cap + MSI_ADDRESS, 8), data);
}

static void msi_written(struct pci_device *d)
{
	uint32_t mask, pending;

	if (!pci_msi_enabled(d))
		return;
	mask = (uint32_t)load_le(d->config + d->msi_cap + MSI_MASK, 4);
	pending = (uint32_t)load_le(d->config + d->msi_cap + MSI_PENDING, 4);
	for (unsigned v = 0; v < d->msi_vectors; v++) {
		if (pending & ~mask & BIT(v)) {
			pending &= ~BIT(v);
			store_le(d->config + d->msi_cap + MSI_PENDING, pending, 4);
			pci_msi_notify(d, v);
		}
	}
}

/* MSI-X. */

#define MSIX_CONTROL 2
#define MSIX_ENABLE BIT(15)
#define MSIX_MASK_ALL BIT(14)
#define MSIX_ENTRY_MASKED BIT(0)

bool pci_msix_enabled(const struct pci_device *d)
{
	return d->msix.cap && pci_word(d, d->msix.cap + MSIX_CONTROL) & MSIX_ENABLE;
}

static bool msix_masked(const struct pci_device *d, unsigned vector)
{
	return pci_word(d, d->msix.cap + MSIX_CONTROL) & MSIX_MASK_ALL ||
	       d->msix_table[4 * vector + 3] & MSIX_ENTRY_MASKED;
}

void pci_msix_notify(void *dev, unsigned vector)
{
	struct pci_device *d = dev;
	const uint32_t *e = &d->msix_table[4 * vector];

	if (vector >= d->msix.vectors || !pci_msix_enabled(d) || pci_irqfd_signal(d, vector))
		return;
	if (msix_masked(d, vector))
		d->msix_pending |= BIT64(vector);
	else
		send_message(d, (uint64_t)e[1] << 32 | e[0], e[2]);
}

static void msix_send_pending(struct pci_device *d)
{
	for (unsigned v = 0; v < d->msix.vectors && pci_msix_enabled(d); v++) {
		if (d->msix_pending & BIT64(v) && !msix_masked(d, v)) {
			d->msix_pending &= ~BIT64(v);
			pci_msix_notify(d, v);
		}
	}
}

/* irqfds: live while their vector is not masked, with the message that the table has. */

void pci_use_irqfds(void *dev)
{
	struct pci_device *d = dev;
	struct accel *a = machine_accel(d->dev.machine);

	if (!a || !a->ops->msi_route_add)
		return;
	d->irqfds = g_new(struct pci_irqfd, d->msix.vectors);
	for (unsigned v = 0; v < d->msix.vectors; v++)
		d->irqfds[v] = (struct pci_irqfd) { .fd = -1, .handle = -1 };
}

bool pci_irqfd_signal(void *dev, unsigned vector)
{
	struct pci_device *d = dev;

	if (!(__atomic_load_n(&d->irqfds_live, __ATOMIC_ACQUIRE) >> vector & 1))
		return false;
	eventfd_write(d->irqfds[vector].fd, 1);
	return true;
}

/* What was signalled while it went down is pending; the engine looks again when it comes back. */
static void irqfd_end(struct pci_device *d, unsigned v)
{
	struct accel *a = machine_accel(d->dev.machine);
	struct pci_irqfd *q = &d->irqfds[v];
	eventfd_t n;

	if (q->handle < 0)
		return;
	__atomic_fetch_and(&d->irqfds_live, ~BIT64(v), __ATOMIC_ACQ_REL);
	if (a)
		a->ops->msi_route_del(a, q->handle, q->fd);
	q->handle = -1;
	if (!eventfd_read(q->fd, &n))
		d->msix_pending |= BIT64(v);
}

static void irqfd_begin(struct pci_device *d, unsigned v)
{
	const uint32_t *e = &d->msix_table[4 * v];
	const struct msi_message msg = { (uint64_t)e[1] << 32 | e[0], e[2] };
	struct accel *a = machine_accel(d->dev.machine);
	struct pci_irqfd *q = &d->irqfds[v];

	if (q->handle >= 0) {
		if (q->msg.address != msg.address || q->msg.data != msg.data)
			a->ops->msi_route_set(a, q->handle, &msg);
		q->msg = msg;
		return;
	}
	if (q->fd < 0)
		q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->fd < 0)
		return;
	q->msg = msg;
	q->handle = a->ops->msi_route_add(a, &msg, q->fd);
	if (q->handle >= 0)
		__atomic_fetch_or(&d->irqfds_live, BIT64(v), __ATOMIC_ACQ_REL);
}

/* Other addresses are memory like any other (Intel SDM, volume 3, 11.11.1). */
static bool is_interrupt_message(const uint32_t *entry)
{
	return entry[0] >> 20 == 0xfee && !entry[1];
}

static void update_irqfds(struct pci_device *d)
{
	for (unsigned v = 0; d->irqfds && v < d->msix.vectors; v++) {
		if (pci_msix_enabled(d) && !msix_masked(d, v) && !d->dev.dma_off &&
		    is_interrupt_message(&d->msix_table[4 * v]))
			irqfd_begin(d, v);
		else
			irqfd_end(d, v);
	}
}

static void free_irqfds(struct pci_device *d)
{
	for (unsigned v = 0; d->irqfds && v < d->msix.vectors; v++) {
		irqfd_end(d, v);
		if (d->irqfds[v].fd >= 0)
			close(d->irqfds[v].fd);
	}
	g_clear_pointer(&d->irqfds, g_free);
}

static uint64_t msix_read(void *opaque, uint64_t off, unsigned size)
{
	struct pci_device *d = opaque;

	(void)size;
	off += d->msix.from;
	if (off >= d->msix.table_off && off - d->msix.table_off < 16 * d->msix.vectors)
		return d->msix_table[(off - d->msix.table_off) / 4];
	if (off >= d->msix.pba_off && off - d->msix.pba_off < 8)
		return (uint32_t)(d->msix_pending >> (8 * (off - d->msix.pba_off)));
	return 0;
}

static void msix_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct pci_device *d = opaque;

	(void)size;
	off += d->msix.from;
	if (off < d->msix.table_off || off - d->msix.table_off >= 16 * d->msix.vectors)
		return;
	d->msix_table[(off - d->msix.table_off) / 4] = (uint32_t)value;
	update_irqfds(d);
	msix_send_pending(d);
}

void pci_add_msix(void *dev, unsigned vectors, struct region *bar, uint32_t table_off,
		  uint32_t pba_off)
{
	static const struct region_ops ops = { msix_read, msix_write, 4, 4 };
	struct pci_device *d = dev;
	unsigned cap = pci_add_capability(dev, 0x11, 12), n = 0;

	assert(vectors && vectors <= MSIX_MOST_VECTORS);
	while (d->bars[n].region != bar)
		n++;
	d->msix.vectors = vectors;
	d->msix.cap = cap;
	d->msix.table_off = table_off;
	d->msix.pba_off = pba_off;
	d->msix.bar = bar;
	pci_set_word(d, cap + MSIX_CONTROL, (uint16_t)(vectors - 1));
	store_le(d->config + cap + 4, table_off | n, 4);
	store_le(d->config + cap + 8, pba_off | n, 4);
	set_mask(d->writable, cap + MSIX_CONTROL, 2, MSIX_ENABLE | MSIX_MASK_ALL);
	/* From the page where it begins to the BAR's end; a device's registers lie before. */
	d->msix.from = MIN_OF(table_off, pba_off) & ~0xfffu;
	region_init_io(&d->msix.region, "msix", bar->size - d->msix.from, &ops, d, NULL);
	region_add(bar, d->msix.from, 1, &d->msix.region);
}

/* config space. */

unsigned pci_add_capability(void *dev, uint8_t id, unsigned size)
{
	struct pci_device *d = dev;
	unsigned at = d->next_cap;

	assert(at + size <= PCI_CONFIG_SIZE);
	d->config[at] = id;
	d->config[at + 1] = d->config[PCI_CAPABILITIES];
	d->config[PCI_CAPABILITIES] = (uint8_t)at;
	d->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	d->next_cap = (uint8_t)align_up(at + size, 4);
	return at;
}

static void init_config(struct pci_device *d)
{
	const struct pci_info *i = info_of(d);

	pci_set_word(d, PCI_VENDOR_ID, i->vendor);
	pci_set_word(d, PCI_DEVICE_ID, i->device);
	d->config[PCI_REVISION] = i->revision;
	d->config[PCI_CLASS_PROG] = i->prog_if;
	pci_set_word(d, PCI_CLASS_DEVICE, i->class);
	pci_set_word(d, PCI_SUBSYSTEM_VENDOR, i->subsystem_vendor ? i->subsystem_vendor : 0x1af4);
	pci_set_word(d, PCI_SUBSYSTEM_ID, i->subsystem ? i->subsystem : 0x1100);
	d->config[PCI_INTERRUPT_PIN] = i->interrupt_pin;
	d->config[PCI_HEADER_TYPE] = d->multifunction ? 0x80 : 0;
	set_mask(d->writable, PCI_COMMAND, 2,
		 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			 PCI_COMMAND_INTX_DISABLE | 0x140);
	set_mask(d->write_clear, PCI_STATUS, 2, 0xf900);
	d->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	d->writable[PCI_INTERRUPT_LINE] = 0xff;
	d->next_cap = 0x40;
}

static void command_written(struct pci_device *d, uint16_t before)
{
	uint16_t now = pci_word(d, PCI_COMMAND);

	d->dev.dma_off = !(now & PCI_COMMAND_MASTER);
	if ((before ^ now) & PCI_COMMAND_INTX_DISABLE && d->intx_level)
		set_line(d, !(now & PCI_COMMAND_INTX_DISABLE));
}

static void store_config(struct pci_device *d, unsigned off, uint32_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++, value >>= 8) {
		uint8_t w = d->writable[off + i], v = (uint8_t)value;

		d->config[off + i] = (uint8_t)((d->config[off + i] & ~w) | (v & w));
		d->config[off + i] &= (uint8_t) ~(d->write_clear[off + i] & v);
	}
}

uint32_t pci_config_read(struct pci_bus *b, uint8_t devfn, unsigned off, unsigned size)
{
	struct pci_device *d = b->devices[devfn];

	if (!d || off + size > PCI_CONFIG_SIZE)
		return (uint32_t)ones(size);
	if (info_of(d)->config_reading)
		info_of(d)->config_reading(d, off, size);
	return (uint32_t)load_le(d->config + off, size);
}

void pci_config_write(struct pci_bus *b, uint8_t devfn, unsigned off, uint32_t value, unsigned size)
{
	struct pci_device *d = b->devices[devfn];
	uint16_t command;

	if (!d || off + size > PCI_CONFIG_SIZE)
		return;
	command = pci_word(d, PCI_COMMAND);
	store_config(d, off, value, size);
	command_written(d, command);
	pci_update_bars(d);
	if (d->msi_cap)
		msi_written(d);
	if (d->msix.cap) {
		update_irqfds(d);
		msix_send_pending(d);
	}
	if (info_of(d)->config_written)
		info_of(d)->config_written(d, off, size);
}

/* the bus. */

static bool take_slot(struct pci_bus *b, struct pci_device *d, GError **err)
{
	if (d->devfn != 0xff) {
		if (!b->devices[d->devfn])
			return true;
		return error(err, "%s: PCI slot %02x.%x is taken by '%s': give another addr=",
			     device_name(d), d->devfn >> 3, d->devfn & 7,
			     device_name(b->devices[d->devfn]));
	}
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		if (!b->devices[slot * PCI_FUNCTIONS]) {
			d->devfn = (uint8_t)(slot * PCI_FUNCTIONS);
			return true;
		}
	}
	return error(err, "%s: all %d PCI slots are taken", device_name(d), PCI_SLOTS);
}

static bool pci_attach(struct bus *bus, struct device *dev, GError **err)
{
	struct pci_bus *b = container_of(bus, struct pci_bus, bus);
	struct pci_device *d = (struct pci_device *)dev;

	if (!d->bus)
		d->devfn = 0xff; /* not placed by pci_set_devfn */
	if (!take_slot(b, d, err))
		return false;
	d->bus = b;
	b->devices[d->devfn] = d;
	init_config(d);
	dev->dma_off = true;
	return true;
}

static void pci_detach(struct bus *bus, struct device *dev)
{
	struct pci_bus *b = container_of(bus, struct pci_bus, bus);
	struct pci_device *d = (struct pci_device *)dev;

	for (unsigned n = 0; n < PCI_BARS; n++)
		if (d->bars[n].mapped)
			region_remove(d->bars[n].region);
	region_destroy(&d->msix.region);
	free_irqfds(d);
	b->devices[d->devfn] = NULL;
}

/* Back to power-up: everything the guest may write is 0, BARs go, lines fall. */
static void pci_reset(struct bus *bus, struct device *dev)
{
	struct pci_device *d = (struct pci_device *)dev;
	struct pci_bus *b = container_of(bus, struct pci_bus, bus);

	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		d->config[i] &= (uint8_t) ~(d->writable[i] | d->write_clear[i]);
	d->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (d->msi_cap)
		store_le(d->config + d->msi_cap + MSI_PENDING, 0, 4);
	d->intx_level = false;
	memset(b->intx_count, 0, sizeof(b->intx_count));
	dev->dma_off = true;
	memset(d->msix_table, 0, sizeof(d->msix_table));
	for (unsigned v = 0; v < d->msix.vectors; v++)
		d->msix_table[4 * v + 3] = MSIX_ENTRY_MASKED;
	update_irqfds(d);
	d->msix_pending = 0;
	pci_update_bars(d);
}

/*
 * What a saved config space may not change is what the device is made of; then BARs and lines
 * follow it. The counts of pulled lines are derived: each device takes its own out and puts the
 * loaded one in.
 */
static bool pci_loaded(struct bus *bus, struct device *dev, GError **err)
{
	struct pci_device *d = (struct pci_device *)dev;
	struct pci_bus *b = container_of(bus, struct pci_bus, bus);
	const struct pci_info *i = info_of(d);
	bool first = true;

	if (pci_word(d, PCI_VENDOR_ID) != i->vendor || pci_word(d, PCI_DEVICE_ID) != i->device)
		return error(err,
			     "saved state: '%s' is PCI device %04x:%04x, this machine has "
			     "%04x:%04x there",
			     dev->path, pci_word(d, PCI_VENDOR_ID), pci_word(d, PCI_DEVICE_ID),
			     i->vendor, i->device);
	d->config[PCI_INTERRUPT_PIN] = i->interrupt_pin;
	dev->dma_off = !(pci_word(d, PCI_COMMAND) & PCI_COMMAND_MASTER);
	pci_update_bars(d);
	update_irqfds(d);
	/* The first device on the bus starts the counts afresh. */
	for (unsigned n = 0; n < d->devfn; n++)
		first = first && !b->devices[n];
	if (first) {
		memset(b->intx_count, 0, sizeof(b->intx_count));
		for (unsigned n = 0; n < ARRAY_LEN(b->devices); n++)
			if (b->devices[n] && on_bus(b->devices[n]))
				set_line(b->devices[n], 1);
	}
	return true;
}

void pci_set_devfn(void *dev, unsigned slot, unsigned function)
{
	struct pci_device *d = dev;

	d->devfn = (uint8_t)(slot * PCI_FUNCTIONS + function);
	d->bus = (struct pci_bus *)-1; /* placed; attach sets the real one */
}

void pci_bus_init(struct pci_bus *b, struct machine *m, struct device *owner, const char *name)
{
	b->bus = (struct bus) {
		.type = "PCI",
		.name = g_strdup(name),
		.owner = owner,
		.attach = pci_attach,
		.detach = pci_detach,
		.reset = pci_reset,
		.loaded = pci_loaded,
	};
	b->machine = m;
	g_ptr_array_add(m->buses, &b->bus);
}

void pci_bus_destroy(struct pci_bus *b)
{
	g_ptr_array_remove(b->machine->buses, &b->bus);
	g_free(b->bus.name);
}

static void print_device(const struct pci_device *d, GString *out)
{
	g_string_append_printf(
		out,
		"  Bus  0, device %3u, function %u:\n    %s: PCI device %04x:%04x class %04x\n",
		d->devfn >> 3, d->devfn & 7, device_name(d), pci_word(d, PCI_VENDOR_ID),
		pci_word(d, PCI_DEVICE_ID), pci_word(d, PCI_CLASS_DEVICE));
	if (d->config[PCI_INTERRUPT_PIN])
		g_string_append_printf(out, "      IRQ %u, pin %c\n", d->config[PCI_INTERRUPT_LINE],
				       'A' + d->config[PCI_INTERRUPT_PIN] - 1);
	for (unsigned n = 0; n < PCI_BARS; n++) {
		const struct pci_bar *b = &d->bars[n];

		if (b->region)
			g_string_append_printf(
				out, "      BAR%u: %s at 0x%" PRIx64 " [0x%" PRIx64 "]%s\n", n,
				b->io	   ? "I/O"
				: b->is_64 ? "64 bit memory"
					   : "32 bit memory",
				bar_base(d, n), b->region->size, b->mapped ? "" : " (off)");
	}
}

void pci_print_bus(struct pci_bus *b, GString *out)
{
	for (unsigned i = 0; i < ARRAY_LEN(b->devices); i++)
		if (b->devices[i])
			print_device(b->devices[i], out);
}

char *pci_boot_path(const void *dev, const char *name, const char *fmt, ...)
{
	const struct pci_device *d = dev;
	GString *s = g_string_new(NULL);
	va_list ap;

	g_string_printf(s, "/pci@i0cf8/%s@%x", name, d->devfn >> 3);
	if (d->devfn & 7)
		g_string_append_printf(s, ",%x", d->devfn & 7);
	va_start(ap, fmt);
	g_string_append_vprintf(s, fmt, ap);
	va_end(ap);
	return g_string_free(s, FALSE);
}
