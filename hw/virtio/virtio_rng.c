/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio entropy source: the host's random numbers. Source: Virtual I/O Device (VIRTIO) Version
 * 1.2, 5.4.
 */
#include <sys/random.h>

#include "hw/virtio/virtio.h"

#define QUEUE_SIZE 64
#define CHUNK 4096

struct virtio_rng {
	struct virtio_device vdev;
	uint64_t max_bytes; /* properties: at most so many in each period */
	uint32_t period;    /* ms */

	uint64_t left;
	struct timer timer; /* the next period's start */
};

static void serve(struct virtio_rng *s)
{
	struct virtq *q = &s->vdev.queues[0];
	struct virtq_chain *c;

	while (virtio_is_started(&s->vdev) && s->left && (c = virtq_pop(q))) {
		size_t n = MIN_OF(c->in_len, s->left), at = 0;

		while (at < n) {
			uint8_t b[CHUNK];
			ssize_t got = getrandom(b, MIN_OF(n - at, sizeof(b)), 0);

			if (got <= 0)
				break;
			at += virtq_write(c, at, b, (size_t)got);
		}
		s->left -= at;
		virtq_push(q, c, at);
		virtq_notify(q);
	}
	if (!s->left && !timer_pending(&s->timer))
		timer_arm(&s->timer, clock_ns(vm_clock(s->vdev.pci.dev.machine)) +
					     (int64_t)s->period * 1000000);
}

static void kicked(void *dev, struct virtq *q)
{
	(void)q;
	serve(dev);
}

static void new_period(void *opaque, int64_t late_ns)
{
	struct virtio_rng *s = opaque;

	(void)late_ns;
	s->left = s->max_bytes;
	serve(s);
}

static void rng_reset(void *dev)
{
	struct virtio_rng *s = dev;

	timer_cancel(&s->timer);
	s->left = s->max_bytes;
}

static const struct virtio_info rng_info = { .id = 4, .reset = rng_reset };

#define D struct virtio_rng

static bool rng_realize(void *dev, GError **err)
{
	struct virtio_rng *s = dev;

	(void)err;
	timer_init(&s->timer, vm_clock(s->vdev.pci.dev.machine), "virtio-rng", new_period, s);
	virtio_init(s, &rng_info, 2);
	virtio_add_queue(s, QUEUE_SIZE, kicked);
	return true;
}

static void rng_unrealize(void *dev)
{
	timer_cancel(&((struct virtio_rng *)dev)->timer);
	virtio_destroy(dev);
}

static void rng_reset_device(void *dev)
{
	virtio_reset(dev);
}

static bool rng_loaded(void *dev, GError **err)
{
	struct virtio_rng *s = dev;

	s->left = MIN_OF(s->left, s->max_bytes);
	return virtio_loaded(dev, err);
}

static const struct pci_info rng_pci = VIRTIO_PCI(0x1005, 0x00ff, 4);

DEVICE(virtio_rng,
	.name = "virtio-rng-pci",
	.alias = "virtio-rng",
	.desc = "virtio entropy source",
	.bus = "PCI",
	.bus_info = &rng_pci,
	.props = FIELDS({ .name = "max-bytes", .type = FT_U64,
			  .offset = offsetof(D, max_bytes), .size = 8, .init = INT64_MAX, .min = 1,
			  .max = INT64_MAX, .help = "at most so many in each period" },
			{ .name = "period", .type = FT_U32, .offset = offsetof(D, period),
			  .size = 4, .init = 65536, .min = 1, .help = "its length in ms" },
			VIRTIO_PROPS),
	.state = FIELDS(FO(vdev, virtio_device_table), F(left), F(timer)),
	.host = HOST(max_bytes),
	.realize = rng_realize,
	.unrealize = rng_unrealize,
	.reset = rng_reset_device,
	.loaded = rng_loaded);
