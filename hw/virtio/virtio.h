/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio devices over PCI, transitional: a driver of version 1.0 or later uses the capabilities in
 * BAR 4, an older one the registers in BAR 0. Source: Virtual I/O Device (VIRTIO) Version 1.2, 2
 * and 4.1.
 *
 * A device's struct begins with struct virtio_device. Its realize calls virtio_init and
 * virtio_add_queue; handlers run with the device's lock held: the machine lock, or that of the I/O
 * thread that virtio_use_iothread gave it. Handlers that serve registers hold the machine lock too.
 * Under KVM kicks come by eventfd (ioeventfd=off: by the write itself), and MSI-X by irqfd.
 */
#pragma once

#include "core/iothread.h"
#include "hw/pci/pci.h"
#include "hw/virtio/virtqueue.h"

#define VIRTIO_MOST_QUEUES 64
#define VIRTIO_NO_VECTOR 0xffff
#define VIRTIO_OWN_VECTORS 0xffff
#define VIRTIO_MOST_CONFIG 64
#define VIRTIO_MOST_KEPT 1024

/* Feature bits of every device (6). */
#define VIRTIO_F_NOTIFY_ON_EMPTY 24
#define VIRTIO_F_ANY_LAYOUT 27
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_ACCESS_PLATFORM 33
#define VIRTIO_F_RING_PACKED 34
#define VIRTIO_F_RING_RESET 40

#define VIRTIO_STATUS_ACKNOWLEDGE BIT(0)
#define VIRTIO_STATUS_DRIVER BIT(1)
#define VIRTIO_STATUS_DRIVER_OK BIT(2)
#define VIRTIO_STATUS_FEATURES_OK BIT(3)
#define VIRTIO_STATUS_NEEDS_RESET BIT(6)
#define VIRTIO_STATUS_FAILED BIT(7)

struct virtio_info {
	uint16_t id;	      /* of the device type (5) */
	uint64_t features;    /* beside the ring's */
	unsigned config_size; /* at most VIRTIO_MOST_CONFIG */
	/* Fills in the device's configuration. */
	void (*get_config)(void *dev, uint8_t *config);
	/* The driver has written [off, off + size) of it. */
	void (*set_config)(void *dev, const uint8_t *config, unsigned off, unsigned size);
	/* The driver's features are final. */
	void (*features_set)(void *dev);
	/* DRIVER_OK came. */
	void (*started)(void *dev);
	/* By the driver or the machine: nothing may touch the guest's memory any more. */
	void (*reset)(void *dev);
};

/* Interrupts that wait for the machine lock: MSI-X vectors, or the line. */
struct virtio_due {
	uint64_t vectors;
	bool queue, config, posted;
};

struct virtio_device {
	struct pci_device pci;
	bool packed, event_idx, indirect_desc, disable_modern, ioeventfd; /* properties */
	uint16_t vectors;

	struct iothread *iothread; /* NULL: the main thread */
	struct machine_listener listener;
	bool io_off; /* the VM stands: kicks that come by eventfd wait for it to go on */
	struct virtio_due due;
	struct region_eventfd modern_fds[VIRTIO_MOST_QUEUES], legacy_fds[VIRTIO_MOST_QUEUES];
	const struct virtio_info *virtio;
	uint64_t host_features, guest_features;
	uint32_t host_select, guest_select; /* which 32 of the features are looked at */
	uint8_t status, isr, generation;
	uint16_t config_vector, queue_select;
	unsigned nqueues;
	struct virtq queues[VIRTIO_MOST_QUEUES];
	/*
	 * Chains that the device holds at a save: queue and head; of packed rings also how many
	 * descriptors each has there, and all of these, in two words each.
	 */
	uint16_t nkept, nkept_ring;
	uint32_t kept[VIRTIO_MOST_KEPT];
	uint16_t kept_descriptors[VIRTIO_MOST_KEPT];
	uint64_t kept_ring[2 * VIRTIO_MOST_KEPT];

	struct region legacy, msix, modern;
	unsigned cfg_cap; /* the configuration access capability */
};
extern const struct field_table virtio_device_table;
/* The properties of every virtio device. */
#define VIRTIO_PROPS                                                                               \
	{ .name = "packed",                                                                        \
	  .type = FT_BOOL,                                                                         \
	  .offset = offsetof(struct virtio_device, packed),                                        \
	  .size = sizeof(bool),                                                                    \
	  .init = 0,                                                                               \
	  .help = "offer packed virtqueues" },                                                     \
		{ .name = "event_idx",                                                             \
		  .type = FT_BOOL,                                                                 \
		  .offset = offsetof(struct virtio_device, event_idx),                             \
		  .size = sizeof(bool),                                                            \
		  .init = 1,                                                                       \
		  .help = "offer event suppression by index" },                                    \
		{ .name = "indirect_desc",                                                         \
		  .type = FT_BOOL,                                                                 \
		  .offset = offsetof(struct virtio_device, indirect_desc),                         \
		  .size = sizeof(bool),                                                            \
		  .init = 1,                                                                       \
		  .help = "offer indirect descriptors" },                                          \
		{ .name = "vectors",                                                               \
		  .type = FT_U16,                                                                  \
		  .offset = offsetof(struct virtio_device, vectors),                               \
		  .size = sizeof(uint16_t),                                                        \
		  .init = VIRTIO_OWN_VECTORS,                                                      \
		  .help = "MSI-X vectors, at most 64; 0: none; else as many as it can use" },      \
		{ .name = "ioeventfd",                                                             \
		  .type = FT_BOOL,                                                                 \
		  .offset = offsetof(struct virtio_device, ioeventfd),                             \
		  .size = sizeof(bool),                                                            \
		  .init = 1,                                                                       \
		  .help = "kicks by eventfd, where the engine can" },                              \
	{                                                                                          \
		.name = "disable-modern", .type = FT_BOOL,                                         \
		.offset = offsetof(struct virtio_device, disable_modern), .size = sizeof(bool),    \
		.init = 0, .help = "old drivers' interface only"                                   \
	}

/* What a PCI function of virtio is, for .bus_info. */
#define VIRTIO_PCI(device_id, class_code, type)                                                    \
	{                                                                                          \
		.vendor = 0x1af4, .device = (device_id), .class = (class_code),                    \
		.subsystem_vendor = 0x1af4, .subsystem = (type), .interrupt_pin = 1,               \
		.config_reading = virtio_config_reading, .config_written = virtio_config_written   \
	}
void virtio_config_reading(void *dev, unsigned off, unsigned size);
void virtio_config_written(void *dev, unsigned off, unsigned size);

/* Before virtio_init: the thread that moves the device's data. NULL: the main thread. */
bool virtio_use_iothread(void *dev, const char *id, GError **err);
void virtio_init(void *dev, const struct virtio_info *info, unsigned vectors);
struct virtq *virtio_add_queue(void *dev, uint16_t size,
			       void (*kicked)(void *dev, struct virtq *q));
void virtio_destroy(void *dev);
/* A reset by the machine; takes the device's lock. */
void virtio_reset(void *dev);
/* Called by the device's `loaded`: judges queues and derives. */
bool virtio_loaded(void *dev, GError **err);
/*
 * Chains that the device holds while it is saved. `saving` names them, none first; `loaded` gets
 * each again, in order. A load of more than VIRTIO_MOST_KEPT is refused.
 */
void virtio_keep_none(void *dev);
void virtio_keep(void *dev, const struct virtq_chain *c);
bool virtio_kept(void *dev, void (*again)(void *dev, struct virtq_chain *c), GError **err);
/* A property's judge: what a driver may be offered is a power of two. */
bool virtio_queue_size_ok(void *dev, uint16_t size, GError **err);

/* Whether both sides have feature bit n. */
static inline bool virtio_has(const struct virtio_device *d, unsigned n)
{
	return (d->guest_features & d->host_features) >> n & 1;
}
static inline bool virtio_is_broken(const struct virtio_device *d)
{
	return d->status & VIRTIO_STATUS_NEEDS_RESET;
}
static inline bool virtio_is_started(const struct virtio_device *d)
{
	return d->status & VIRTIO_STATUS_DRIVER_OK && !virtio_is_broken(d);
}
static inline unsigned virtio_queue_index(const struct virtq *q)
{
	return (unsigned)(q - q->owner->queues);
}
/* The driver did what it must not: the device stands still until it is reset (2.1.2). */
void virtio_break(struct virtio_device *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
void virtio_interrupt(struct virtio_device *d, uint16_t vector);
/* The configuration has changed. */
void virtio_config_changed(void *dev);
