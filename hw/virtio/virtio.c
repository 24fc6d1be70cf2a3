/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio over PCI: see virtio.h. */
#include "hw/virtio/virtio.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "accel/accel.h"
#include "core/log.h"
#include "core/loop.h"

#define D struct virtio_device
FIELD_TABLE(virtio_device_table,
	    HOST(packed, event_idx, indirect_desc, disable_modern, ioeventfd, vectors, iothread,
		 listener, io_off, due, modern_fds, legacy_fds, virtio, host_features, nqueues,
		 legacy, msix, modern, cfg_cap),
	    FO(pci, pci_device_table), F(guest_features), F(host_select), F(guest_select),
	    F(status), F(isr), F(generation), F(config_vector), F(queue_select),
	    FO(queues, virtq_table), F(nkept), F(kept), F(nkept_ring), F(kept_descriptors),
	    F(kept_ring));

#define LEGACY_BAR 0
#define MSIX_BAR 1
#define MODERN_BAR 4
#define LEGACY_BYTES 128
#define LEGACY_NOTIFY 16
#define MODERN_BYTES 0x4000
#define COMMON_AT 0x0000
#define ISR_AT 0x1000
#define CONFIG_AT 0x2000
#define NOTIFY_AT 0x3000
#define NOTIFY_MULTIPLIER 4

#define ISR_QUEUE BIT(0)
#define ISR_CONFIG BIT(1)

/* 4.1.4: types of capabilities. */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI };
#define CAP_ID_VENDOR 9

/* Interrupts. */

static void update_line(struct virtio_device *d)
{
	pci_set_irq(d, d->isr != 0);
}

static void raise_line(struct virtio_device *d, uint8_t reason)
{
	d->isr |= reason;
	update_line(d);
}

static void interrupt_config(struct virtio_device *d)
{
	if (!pci_msix_enabled(&d->pci))
		raise_line(d, ISR_CONFIG);
	else if (d->config_vector != VIRTIO_NO_VECTOR)
		pci_msix_notify(d, d->config_vector);
}

/* Machine lock. */
static void deliver_due(void *opaque)
{
	struct virtio_device *d = opaque;
	bool queue, config;
	uint64_t vectors;

	iothread_lock(d->iothread);
	vectors = d->due.vectors;
	queue = d->due.queue;
	config = d->due.config;
	memset(&d->due, 0, sizeof(d->due));
	iothread_unlock(d->iothread);
	if (queue && !pci_msix_enabled(&d->pci))
		raise_line(d, ISR_QUEUE);
	for (unsigned v = 0; pci_msix_enabled(&d->pci) && v < d->pci.msix.vectors; v++)
		if (vectors >> v & 1)
			pci_msix_notify(d, v);
	if (config)
		interrupt_config(d);
}

static void post_due(struct virtio_device *d)
{
	if (!d->due.posted)
		iothread_defer(d->iothread, deliver_due, d);
	d->due.posted = true;
}

void virtio_interrupt(struct virtio_device *d, uint16_t vector)
{
	if (d->iothread) {
		if (vector < MSIX_MOST_VECTORS) {
			if (pci_irqfd_signal(d, vector))
				return;
			d->due.vectors |= BIT64(vector);
		}
		d->due.queue = true;
		post_due(d);
	} else if (!pci_msix_enabled(&d->pci)) {
		raise_line(d, ISR_QUEUE);
	} else if (vector != VIRTIO_NO_VECTOR) {
		pci_msix_notify(d, vector);
	}
}

void virtio_config_changed(void *dev)
{
	struct virtio_device *d = dev;

	d->generation++;
	if (!(d->status & VIRTIO_STATUS_DRIVER_OK))
		return;
	if (!d->iothread) {
		interrupt_config(d);
		return;
	}
	d->due.config = true;
	post_due(d);
}

void virtio_break(struct virtio_device *d, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (virtio_is_broken(d))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_guest(d, "%s: %s; the device needs a reset", device_name(d), text);
	d->status |= VIRTIO_STATUS_NEEDS_RESET;
	virtio_config_changed(d);
}

static uint8_t read_isr(struct virtio_device *d)
{
	uint8_t isr = d->isr;

	d->isr = 0;
	update_line(d);
	return isr;
}

/* Status, features, queues: what both interfaces do. */

static void reset_state(struct virtio_device *d)
{
	eventfd_t unseen;

	if (d->virtio->reset)
		d->virtio->reset(d);
	d->status = d->isr = 0;
	d->due.vectors = 0;
	d->due.queue = d->due.config = false;
	d->guest_features = 0;
	d->host_select = d->guest_select = 0;
	d->config_vector = VIRTIO_NO_VECTOR;
	d->queue_select = 0;
	for (unsigned i = 0; i < VIRTIO_MOST_QUEUES; i++)
		virtq_reset(&d->queues[i]);
	/* Kicks that nobody saw yet are not the next driver's, which may be writing its rings. */
	for (unsigned i = 0; i < d->nqueues; i++)
		if (d->queues[i].kick_fd >= 0)
			(void)eventfd_read(d->queues[i].kick_fd, &unseen);
}

void virtio_reset(void *dev)
{
	struct virtio_device *d = dev;

	iothread_lock(d->iothread);
	reset_state(d);
	iothread_unlock(d->iothread);
}

static void kick(struct virtio_device *d, unsigned n)
{
	struct virtq *q = n < d->nqueues ? &d->queues[n] : NULL;

	/* Old drivers kick before they say that they are ready (3.1.1, legacy). */
	if (!q || !q->enabled || virtio_is_broken(d))
		return;
	if (virtio_has(d, VIRTIO_F_VERSION_1) && !(d->status & VIRTIO_STATUS_DRIVER_OK))
		return;
	q->kicked(d, q);
}

/* Kicks by eventfd. */

static gboolean kick_came(gint fd, GIOCondition condition, gpointer opaque)
{
	struct virtq *q = opaque;
	struct virtio_device *d = q->owner;
	eventfd_t n;

	(void)condition;
	iothread_lock(d->iothread);
	if (eventfd_read(fd, &n) == 0 && !d->io_off)
		kick(d, virtio_queue_index(q));
	iothread_unlock(d->iothread);
	return G_SOURCE_CONTINUE;
}

static bool has_kick_fds(const struct virtio_device *d)
{
	const struct accel *a = machine_accel(d->pci.dev.machine);

	return d->iothread || (d->ioeventfd && a && a->ops->ioeventfd);
}

static void add_kick_fd(struct virtio_device *d, struct virtq *q)
{
	struct machine *m = d->pci.dev.machine;
	unsigned n = virtio_queue_index(q);

	q->kick_fd = has_kick_fds(d) ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	if (q->kick_fd < 0)
		return;
	q->kick_source = loop_watch_fd(d->iothread ? d->iothread->context : m->context, q->kick_fd,
				       G_IO_IN, kick_came, q);
	d->modern_fds[n] = (struct region_eventfd) { .off = NOTIFY_AT + NOTIFY_MULTIPLIER * n,
						     .size = 2,
						     .fd = q->kick_fd };
	d->legacy_fds[n] = (struct region_eventfd) {
		.off = LEGACY_NOTIFY, .size = 2, .match = true, .value = n, .fd = q->kick_fd
	};
	d->modern.eventfds = d->modern_fds;
	d->legacy.eventfds = d->legacy_fds;
	d->modern.neventfds = d->legacy.neventfds = n + 1;
}

/* What came while the VM stood is found in the rings. */
static void run_changed(void *opaque, bool running)
{
	struct virtio_device *d = opaque;

	iothread_lock(d->iothread);
	d->io_off = !running;
	for (unsigned i = 0; running && i < d->nqueues; i++)
		if (d->queues[i].kick_fd >= 0)
			kick(d, i);
	iothread_unlock(d->iothread);
	if (!running)
		iothread_sync(d->iothread);
}

static void set_status(struct virtio_device *d, uint8_t status)
{
	uint8_t set = status & (uint8_t)~d->status;

	if (!status) {
		reset_state(d);
		update_line(d);
		return;
	}
	/* 3.1.1: features that do not go together are refused by not taking the bit. */
	if (set & VIRTIO_STATUS_FEATURES_OK) {
		bool known = !(d->guest_features & ~d->host_features),
		     modern = virtio_has(d, VIRTIO_F_VERSION_1);

		if (!known || !modern || d->disable_modern)
			status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
		else if (d->virtio->features_set)
			d->virtio->features_set(d);
	}
	d->status = status | (d->status & VIRTIO_STATUS_NEEDS_RESET);
	if (!(set & VIRTIO_STATUS_DRIVER_OK) || virtio_is_broken(d))
		return;
	if (d->virtio->started)
		d->virtio->started(d);
	/* Some drivers kicked before, which does not count (3.1.1). */
	for (unsigned i = 0; i < d->nqueues; i++)
		kick(d, i);
}

static struct virtq *selected(struct virtio_device *d)
{
	return d->queue_select < d->nqueues ? &d->queues[d->queue_select] : NULL;
}

static uint16_t known_vector(struct virtio_device *d, uint64_t vector)
{
	return vector < d->pci.msix.vectors ? (uint16_t)vector : VIRTIO_NO_VECTOR;
}

static void enable_queue(struct virtio_device *d, struct virtq *q)
{
	if (!virtq_check(q)) {
		virtio_break(d, "queue %u: size %u or its addresses are not acceptable",
			     virtio_queue_index(q), q->size);
		return;
	}
	q->enabled = true;
}

static void fill_config(struct virtio_device *d, uint8_t *config)
{
	memset(config, 0, VIRTIO_MOST_CONFIG);
	if (d->virtio->get_config)
		d->virtio->get_config(d, config);
}

static uint64_t config_read(struct virtio_device *d, uint64_t off, unsigned size)
{
	uint8_t config[VIRTIO_MOST_CONFIG];

	if (off + size > d->virtio->config_size)
		return 0;
	fill_config(d, config);
	return load_le(config + off, size);
}

static void config_write(struct virtio_device *d, uint64_t off, uint64_t value, unsigned size)
{
	uint8_t config[VIRTIO_MOST_CONFIG];

	if (!d->virtio->set_config || off + size > d->virtio->config_size)
		return;
	fill_config(d, config);
	store_le(config + off, value, size);
	d->virtio->set_config(d, config, (unsigned)off, size);
}

/* 4.1.4.3: the common configuration. */

#define QUEUE_REGISTER(reg, at) ((reg) >= (at) && (reg) < (at) + 8)

static uint64_t common_read(struct virtio_device *d, uint64_t reg)
{
	struct virtq *q = selected(d);

	switch (reg) {
	case 0x00:
		return d->host_select;
	case 0x04:
		return d->host_select < 2 ? (uint32_t)(d->host_features >> 32 * d->host_select) : 0;
	case 0x08:
		return d->guest_select;
	case 0x0c:
		return d->guest_select < 2 ? (uint32_t)(d->guest_features >> 32 * d->guest_select)
					   : 0;
	case 0x10:
		return d->config_vector;
	case 0x12:
		return d->nqueues;
	case 0x14:
		return d->status;
	case 0x15:
		return d->generation;
	case 0x16:
		return d->queue_select;
	case 0x18:
		return q ? q->size : 0;
	case 0x1a:
		return q ? q->vector : VIRTIO_NO_VECTOR;
	case 0x1c:
		return q && q->enabled;
	case 0x1e:
		return d->queue_select;
	case 0x20:
		return q ? (uint32_t)q->desc : 0;
	case 0x24:
		return q ? q->desc >> 32 : 0;
	case 0x28:
		return q ? (uint32_t)q->driver : 0;
	case 0x2c:
		return q ? q->driver >> 32 : 0;
	case 0x30:
		return q ? (uint32_t)q->device : 0;
	case 0x34:
		return q ? q->device >> 32 : 0;
	default:
		return 0;
	}
}

/* Registers are read whole; narrower accesses take their part. */
static uint64_t common_base(uint64_t off)
{
	static const uint8_t starts[] = { 0x00, 0x04, 0x08, 0x0c, 0x10, 0x12, 0x14,
					  0x15, 0x16, 0x18, 0x1a, 0x1c, 0x1e, 0x20,
					  0x24, 0x28, 0x2c, 0x30, 0x34 };
	uint64_t base = 0;

	for (size_t i = 0; i < ARRAY_LEN(starts) && starts[i] <= off; i++)
		base = starts[i];
	return base;
}

static void set_half(uint64_t *to, unsigned shift, uint64_t value)
{
	*to = (*to & ~((uint64_t)UINT32_MAX << shift)) | (value & UINT32_MAX) << shift;
}

static void queue_write(struct virtio_device *d, struct virtq *q, uint64_t reg, uint64_t value)
{
	switch (reg) {
	case 0x1a:
		q->vector = known_vector(d, value);
		return;
	case 0x1c:
		if (value == 1 && !q->enabled)
			enable_queue(d, q);
		return;
	}
	/* What follows is fixed once the queue is in use. */
	if (q->enabled)
		return;
	switch (reg) {
	case 0x18:
		q->size = (uint16_t)value;
		break;
	case 0x20:
	case 0x24:
		set_half(&q->desc, reg == 0x24 ? 32 : 0, value);
		break;
	case 0x28:
	case 0x2c:
		set_half(&q->driver, reg == 0x2c ? 32 : 0, value);
		break;
	case 0x30:
	case 0x34:
		set_half(&q->device, reg == 0x34 ? 32 : 0, value);
		break;
	}
}

static void common_write(struct virtio_device *d, uint64_t reg, uint64_t value)
{
	struct virtq *q = selected(d);

	switch (reg) {
	case 0x00:
		d->host_select = (uint32_t)value;
		break;
	case 0x08:
		d->guest_select = (uint32_t)value;
		break;
	case 0x0c:
		if (d->guest_select < 2 && !(d->status & VIRTIO_STATUS_FEATURES_OK))
			set_half(&d->guest_features, 32 * d->guest_select, value);
		break;
	case 0x10:
		d->config_vector = known_vector(d, value);
		break;
	case 0x14:
		set_status(d, (uint8_t)value);
		break;
	case 0x16:
		d->queue_select = (uint16_t)value;
		break;
	default:
		if (q)
			queue_write(d, q, reg, value);
	}
}

static uint64_t modern_read(struct virtio_device *d, uint64_t off, unsigned size)
{
	uint64_t base;

	if (off < ISR_AT) {
		base = common_base(off);
		if (off - base >= 4)
			return 0;
		return common_read(d, base) >> 8 * (off - base) & ones(size);
	}
	if (off < CONFIG_AT)
		return off == ISR_AT ? read_isr(d) : 0;
	if (off < NOTIFY_AT)
		return config_read(d, off - CONFIG_AT, size);
	return 0;
}

static void modern_write(struct virtio_device *d, uint64_t off, uint64_t value, unsigned size)
{
	if (off < ISR_AT)
		common_write(d, off, value);
	else if (off >= NOTIFY_AT)
		kick(d, (unsigned)(off - NOTIFY_AT) / NOTIFY_MULTIPLIER);
	else if (off >= CONFIG_AT)
		config_write(d, off - CONFIG_AT, value, size);
}

/* 4.1.4.8: the registers of old drivers. The configuration follows, behind the MSI-X vectors. */

#define LEGACY_PAGE_SHIFT 12
#define LEGACY_ALIGN 4096

static unsigned legacy_config_at(const struct virtio_device *d)
{
	return pci_msix_enabled(&d->pci) ? 24 : 20;
}

/* 2.6.2: where the parts of a queue of old lie. */
static void set_legacy_queue(struct virtio_device *d, struct virtq *q, uint32_t page)
{
	if (!page) {
		uint16_t vector = q->vector;

		virtq_reset(q);
		q->vector = vector;
		return;
	}
	q->size = q->most;
	q->desc = (uint64_t)page << LEGACY_PAGE_SHIFT;
	q->driver = q->desc + 16 * (uint64_t)q->size;
	q->device = align_up(q->driver + 6 + 2 * (uint64_t)q->size, LEGACY_ALIGN);
	enable_queue(d, q);
}

static uint64_t legacy_read(struct virtio_device *d, uint64_t off, unsigned size)
{
	struct virtq *q = selected(d);
	uint64_t value = 0, base = off & ~UINT64_C(3);

	if (off >= legacy_config_at(d))
		return config_read(d, off - legacy_config_at(d), size);
	switch (base) {
	case 0:
		value = (uint32_t)d->host_features;
		break;
	case 4:
		value = (uint32_t)d->guest_features;
		break;
	case 8:
		value = q ? q->desc >> LEGACY_PAGE_SHIFT : 0;
		break;
	case 12:
		value = (q ? q->most : 0) | (uint32_t)d->queue_select << 16;
		break;
	case 16:
		if (off == 19)
			return read_isr(d);
		value = (uint32_t)d->status << 16;
		break;
	case 20:
		value = d->config_vector | (uint32_t)(q ? q->vector : VIRTIO_NO_VECTOR) << 16;
		break;
	}
	return value >> 8 * (off - base) & ones(size);
}

static void legacy_write(struct virtio_device *d, uint64_t off, uint64_t value, unsigned size)
{
	struct virtq *q = selected(d);

	if (off >= legacy_config_at(d)) {
		config_write(d, off - legacy_config_at(d), value, size);
		return;
	}
	switch (off) {
	case 4:
		d->guest_features = value & d->host_features & UINT32_MAX;
		if (d->virtio->features_set)
			d->virtio->features_set(d);
		break;
	case 8:
		if (q)
			set_legacy_queue(d, q, (uint32_t)value);
		break;
	case 14:
		d->queue_select = (uint16_t)value;
		break;
	case LEGACY_NOTIFY:
		kick(d, (unsigned)value);
		break;
	case 18:
		set_status(d, (uint8_t)value & (uint8_t)~VIRTIO_STATUS_FEATURES_OK);
		break;
	case 20:
		d->config_vector = known_vector(d, value);
		break;
	case 22:
		if (q)
			q->vector = known_vector(d, value);
		break;
	}
}

/* What the memory core calls: with the machine lock held. */

static uint64_t locked_read(struct virtio_device *d, uint64_t off, unsigned size,
			    uint64_t (*fn)(struct virtio_device *d, uint64_t off, unsigned size))
{
	uint64_t value;

	iothread_lock(d->iothread);
	value = fn(d, off, size);
	iothread_unlock(d->iothread);
	return value;
}

static uint64_t modern_window_read(void *opaque, uint64_t off, unsigned size)
{
	return locked_read(opaque, off, size, modern_read);
}

static uint64_t legacy_window_read(void *opaque, uint64_t off, unsigned size)
{
	return locked_read(opaque, off, size, legacy_read);
}

static void modern_window_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct virtio_device *d = opaque;

	iothread_lock(d->iothread);
	modern_write(d, off, value, size);
	iothread_unlock(d->iothread);
}

static void legacy_window_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct virtio_device *d = opaque;

	iothread_lock(d->iothread);
	legacy_write(d, off, value, size);
	iothread_unlock(d->iothread);
}

/* Capabilities (4.1.4). */

static unsigned add_cap(struct virtio_device *d, uint8_t type, unsigned len, uint32_t off,
			uint32_t size)
{
	unsigned at = pci_add_capability(d, CAP_ID_VENDOR, len);
	uint8_t *c = d->pci.config + at;

	c[2] = (uint8_t)len;
	c[3] = type;
	c[4] = type == CAP_PCI ? 0 : MODERN_BAR;
	store_le(c + 8, off, 4);
	store_le(c + 12, size, 4);
	return at;
}

static void add_caps(struct virtio_device *d)
{
	unsigned notify;

	add_cap(d, CAP_COMMON, 16, COMMON_AT, 0x1000);
	add_cap(d, CAP_ISR, 16, ISR_AT, 0x1000);
	add_cap(d, CAP_DEVICE, 16, CONFIG_AT, 0x1000);
	notify = add_cap(d, CAP_NOTIFY, 20, NOTIFY_AT, 0x1000);
	store_le(d->pci.config + notify + 16, NOTIFY_MULTIPLIER, 4);
	d->cfg_cap = add_cap(d, CAP_PCI, 20, 0, 0);
	d->pci.writable[d->cfg_cap + 4] = 0xff;
	memset(d->pci.writable + d->cfg_cap + 8, 0xff, 12);
}

/* 4.1.4.9: registers by way of configuration space. True if the window is at a register. */
static bool config_window(struct virtio_device *d, unsigned off, unsigned size, uint32_t *at,
			  unsigned *width)
{
	const uint8_t *c = d->pci.config + d->cfg_cap;

	if (!d->cfg_cap || off >= d->cfg_cap + 20 || off + size <= d->cfg_cap + 16)
		return false;
	*at = (uint32_t)load_le(c + 8, 4);
	*width = (unsigned)load_le(c + 12, 4);
	return c[4] == MODERN_BAR && (*width == 1 || *width == 2 || *width == 4) &&
	       *at % *width == 0 && *at <= MODERN_BYTES - *width;
}

void virtio_config_reading(void *dev, unsigned off, unsigned size)
{
	struct virtio_device *d = dev;
	unsigned width;
	uint32_t at;

	if (config_window(d, off, size, &at, &width))
		store_le(d->pci.config + d->cfg_cap + 16, modern_window_read(d, at, width), width);
}

void virtio_config_written(void *dev, unsigned off, unsigned size)
{
	struct virtio_device *d = dev;
	unsigned width;
	uint32_t at;

	if (config_window(d, off, size, &at, &width))
		modern_window_write(d, at, load_le(d->pci.config + d->cfg_cap + 16, width), width);
}

bool virtio_use_iothread(void *dev, const char *id, GError **err)
{
	struct virtio_device *d = dev;

	if (!id)
		return true;
	d->iothread = iothread_find(id);
	if (!d->iothread)
		return error(err,
			     "%s: iothread=%s: there is none; make it with -object iothread,id=%s",
			     device_name(dev), id, id);
	d->pci.dev.dma_ram_only = true;
	return true;
}

void virtio_init(void *dev, const struct virtio_info *info, unsigned vectors)
{
	static const struct region_ops legacy_ops = { legacy_window_read, legacy_window_write, 1,
						      4 },
				       modern_ops = { modern_window_read, modern_window_write, 1,
						      4 };
	struct virtio_device *d = dev;

	d->virtio = info;
	d->host_features = info->features | BIT64(VIRTIO_F_ANY_LAYOUT);
	if (d->indirect_desc)
		d->host_features |= BIT64(VIRTIO_F_INDIRECT_DESC);
	if (d->event_idx)
		d->host_features |= BIT64(VIRTIO_F_EVENT_IDX);
	region_init_io(&d->legacy, "virtio-legacy", LEGACY_BYTES, &legacy_ops, d, dev);
	region_init_group(&d->msix, "virtio-msix", 4096);
	pci_add_bar(d, LEGACY_BAR, &d->legacy, true, false, false);
	pci_add_bar(d, MSIX_BAR, &d->msix, false, false, false);
	if (!d->disable_modern) {
		d->host_features |= BIT64(VIRTIO_F_VERSION_1);
		if (d->packed)
			d->host_features |= BIT64(VIRTIO_F_RING_PACKED);
		region_init_io(&d->modern, "virtio-modern", MODERN_BYTES, &modern_ops, d, dev);
		pci_add_bar(d, MODERN_BAR, &d->modern, false, true, true);
	}
	if (d->vectors != VIRTIO_OWN_VECTORS)
		vectors = d->vectors;
	if (vectors) {
		pci_add_msix(d, MIN_OF(vectors, MSIX_MOST_VECTORS), &d->msix, 0, 0x800);
		pci_use_irqfds(d);
	}
	d->listener = (struct machine_listener) { .run_changed = run_changed, .opaque = d };
	machine_listen(d->pci.dev.machine, &d->listener);
	if (!d->disable_modern)
		add_caps(d);
}

struct virtq *virtio_add_queue(void *dev, uint16_t size, void (*kicked)(void *dev, struct virtq *q))
{
	struct virtio_device *d = dev;
	struct virtq *q = &d->queues[d->nqueues++];

	assert(d->nqueues <= VIRTIO_MOST_QUEUES && size <= VIRTQ_MOST_SIZE);
	q->owner = d;
	q->most = size;
	q->kicked = kicked;
	add_kick_fd(d, q);
	return q;
}

void virtio_destroy(void *dev)
{
	struct virtio_device *d = dev;

	machine_unlisten(d->pci.dev.machine, &d->listener);
	for (unsigned i = 0; i < d->nqueues; i++)
		loop_unwatch(&d->queues[i].kick_source);
	iothread_sync(d->iothread);
	region_destroy(&d->legacy);
	region_destroy(&d->msix);
	region_destroy(&d->modern);
	for (unsigned i = 0; i < d->nqueues; i++)
		if (d->queues[i].kick_fd >= 0)
			close(d->queues[i].kick_fd);
}

bool virtio_loaded(void *dev, GError **err)
{
	struct virtio_device *d = dev;

	if (d->status & VIRTIO_STATUS_FEATURES_OK && d->guest_features & ~d->host_features)
		return error(err,
			     "saved state: '%s' uses features 0x%" PRIx64
			     " that this one does not offer",
			     d->pci.dev.path, d->guest_features & ~d->host_features);
	for (unsigned i = 0; i < VIRTIO_MOST_QUEUES; i++) {
		struct virtq *q = &d->queues[i];

		if (q->enabled && (i >= d->nqueues || !virtq_check(q) || q->in_use > q->size ||
				   (virtio_has(d, VIRTIO_F_RING_PACKED) &&
				    (q->next_avail >= q->size || q->next_used >= q->size))))
			return error(err, "saved state: '%s': virtqueue %u makes no sense",
				     d->pci.dev.path, i);
		q->vector = known_vector(d, q->vector);
	}
	d->config_vector = known_vector(d, d->config_vector);
	return true;
}

void virtio_keep_none(void *dev)
{
	struct virtio_device *d = dev;

	d->nkept = d->nkept_ring = 0;
}

void virtio_keep(void *dev, const struct virtq_chain *c)
{
	struct virtio_device *d = dev;

	if (d->nkept >= VIRTIO_MOST_KEPT || d->nkept_ring + c->descriptors > VIRTIO_MOST_KEPT) {
		d->nkept = VIRTIO_MOST_KEPT + 1;
		return;
	}
	d->kept[d->nkept] = virtio_queue_index(c->q) << 16 | c->head;
	d->kept_descriptors[d->nkept++] = c->descriptors;
	for (unsigned i = 0; i < c->descriptors; i++) {
		const struct virtq_desc *from = &c->ring[i];
		uint64_t *to = &d->kept_ring[2 * d->nkept_ring++];

		to[0] = from->addr;
		to[1] = from->len | (uint64_t)from->flags << 32 | (uint64_t)from->next << 48;
	}
}

/* Those of one chain, from `at` on; false: there are not that many. */
static bool kept_descriptors(const struct virtio_device *d, unsigned at, unsigned n,
			     struct virtq_desc *ring)
{
	if (at + n > d->nkept_ring || d->nkept_ring > VIRTIO_MOST_KEPT)
		return false;
	for (unsigned i = 0; i < n; i++) {
		const uint64_t *from = &d->kept_ring[2 * (at + i)];

		ring[i] =
			(struct virtq_desc) { from[0], (uint32_t)from[1], (uint16_t)(from[1] >> 32),
					      (uint16_t)(from[1] >> 48) };
	}
	return true;
}

bool virtio_kept(void *dev, void (*again)(void *dev, struct virtq_chain *c), GError **err)
{
	struct virtio_device *d = dev;
	g_autofree struct virtq_desc *ring = g_new(struct virtq_desc, VIRTIO_MOST_KEPT);
	unsigned n = d->nkept, at = 0;

	d->nkept = 0;
	if (n > VIRTIO_MOST_KEPT)
		return error(err, "saved state: '%s': %u requests wait", d->pci.dev.path, n);
	for (unsigned i = 0; i < n; i++) {
		unsigned queue = d->kept[i] >> 16, own = d->kept_descriptors[i];
		struct virtq_chain *c = NULL;

		if (queue < d->nqueues && kept_descriptors(d, at, own, ring))
			c = virtq_pop_again(&d->queues[queue], (uint16_t)d->kept[i], ring, own);
		at += own;
		if (!c)
			return error(err,
				     "saved state: '%s': request %u of those that wait makes no "
				     "sense",
				     d->pci.dev.path, i);
		again(d, c);
	}
	return true;
}

bool virtio_queue_size_ok(void *dev, uint16_t size, GError **err)
{
	if (size & (size - 1))
		return error(err, "%s: queue-size %u is no power of two", device_name(dev), size);
	return true;
}
