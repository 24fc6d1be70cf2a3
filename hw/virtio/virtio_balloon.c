/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio memory balloon: the guest gives memory back to the host, by the host's wish (inflating)
 * or of itself (free page reporting). Source: Virtual I/O Device (VIRTIO) Version 1.2, 5.5. Not
 * offered: free page hints for migration, page poisoning.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/log.h"
#include "hw/virtio/virtio.h"

#define F_STATS 1
#define F_DEFLATE_ON_OOM 2
#define F_REPORTING 5

/* Queues have places by their features: those not offered are left out (5.5.2). */
#define QUEUE_SIZE 128
#define CONFIG_BYTES 16
#define PAGE_SHIFT 12
#define STAT_BYTES 10

struct virtio_balloon {
	struct virtio_device vdev;
	bool deflate_on_oom, free_page_reporting; /* properties */
	uint32_t polling;			  /* seconds between statistics, 0: never */

	uint32_t wanted, actual; /* pages */
	uint64_t stats[BALLOON_STATS];

	struct timer timer;
	struct virtq *stats_queue, *reporting_queue;
	struct virtq_chain *stats_chain; /* the driver's buffer, which asks for new ones */
	struct balloon ops;
};

/* Gives whole host pages back; they read as zeros when the guest touches them again. */
static void discard(struct virtio_balloon *s, struct dma_map *map)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)map->host,
		  start = align_up(at, page), end = (at + map->len) & ~(page - 1);

	if (start < end && madvise((void *)start, end - start, MADV_DONTNEED))
		log_guest(s, "memory cannot be given back: %m");
}

static void discard_page(struct virtio_balloon *s, uint64_t addr)
{
	struct dma_map map;

	if (!dma_map(s, addr, PAGE_SIZE_4K, true, &map)) {
		log_guest(s, "page 0x%" G_GINT64_MODIFIER "x is no memory", addr);
		return;
	}
	discard(s, &map);
	dma_unmap(&map, map.len);
}

static void take_pages(struct virtio_balloon *s, struct virtq *q, bool inflate)
{
	struct virtq_chain *c;

	while ((c = virtq_pop(q))) {
		uint8_t b[4];

		for (size_t at = 0; inflate && virtq_read(c, at, b, 4) == 4; at += 4)
			discard_page(s, load_le(b, 4) << PAGE_SHIFT);
		virtq_push(q, c, 0);
		virtq_notify(q);
	}
}

static void inflate(void *dev, struct virtq *q)
{
	take_pages(dev, q, true);
}

/* The guest may use pages again whenever it likes: they come as zeros. */
static void deflate(void *dev, struct virtq *q)
{
	take_pages(dev, q, false);
}

static void report(void *dev, struct virtq *q)
{
	struct virtio_balloon *s = dev;
	struct virtq_chain *c;

	while ((c = virtq_pop(q))) {
		for (unsigned i = c->nout; i < c->nout + c->nin; i++)
			discard(s, &c->maps[i]);
		virtq_push(q, c, 0);
		virtq_notify(q);
	}
}

/* Statistics (5.5.6.3): the buffer goes to and fro, full when it comes. */

static void start_timer(struct virtio_balloon *s)
{
	timer_cancel(&s->timer);
	if (s->polling && s->stats_chain)
		timer_arm(&s->timer, clock_ns(vm_clock(s->vdev.pci.dev.machine)) +
					     (int64_t)s->polling * 1000000000);
}

static void drop_stats_chain(struct virtio_balloon *s)
{
	virtq_chain_free(s->stats_chain);
	s->stats_chain = NULL;
}

static void hold_stats(void *dev, struct virtq_chain *c)
{
	struct virtio_balloon *s = dev;

	drop_stats_chain(s);
	s->stats_chain = c;
}

static void stats_came(void *dev, struct virtq *q)
{
	struct virtio_balloon *s = dev;
	struct virtq_chain *c = virtq_pop(q);
	uint8_t b[STAT_BYTES];

	if (!c)
		return;
	if (s->stats_chain) {
		virtio_break(&s->vdev, "a second buffer for statistics");
		virtq_chain_free(c);
		return;
	}
	for (unsigned i = 0; i < BALLOON_STATS; i++)
		s->stats[i] = UINT64_MAX;
	for (size_t at = 0; virtq_read(c, at, b, sizeof(b)) == sizeof(b); at += sizeof(b))
		if (load_le(b, 2) < BALLOON_STATS)
			s->stats[load_le(b, 2)] = load_le(b + 2, 8);
	s->stats_chain = c;
	start_timer(s);
}

static void ask_for_stats(void *opaque, int64_t late_ns)
{
	struct virtio_balloon *s = opaque;
	struct virtq_chain *c = s->stats_chain;

	(void)late_ns;
	if (!c)
		return;
	s->stats_chain = NULL;
	virtq_push(s->stats_queue, c, 0);
	virtq_notify(s->stats_queue);
}

/* Configuration. */

static void get_config(void *dev, uint8_t *config)
{
	struct virtio_balloon *s = dev;

	store_le(config, s->wanted, 4);
	store_le(config + 4, s->actual, 4);
}

static uint64_t ram_bytes(struct machine *m)
{
	struct ram_block *b = machine_find_ram(m, "pc.ram");

	return b ? b->size : 0;
}

static uint64_t actual_bytes(void *opaque)
{
	struct virtio_balloon *s = opaque;
	uint64_t ram = ram_bytes(s->vdev.pci.dev.machine);

	return ram - MIN_OF(ram, (uint64_t)s->actual << PAGE_SHIFT);
}

static void set_config(void *dev, const uint8_t *config, unsigned off, unsigned size)
{
	struct virtio_balloon *s = dev;
	uint32_t was = s->actual;
	g_autofree char *data = NULL;

	if (off + size <= 4 || off >= 8)
		return;
	s->actual = (uint32_t)load_le(config + 4, 4);
	if (s->actual == was)
		return;
	data = g_strdup_printf("{\"actual\": %" G_GUINT64_FORMAT "}", actual_bytes(s));
	machine_event(s->vdev.pci.dev.machine, "BALLOON_CHANGE", data);
}

/* For monitors: so much is to be left to the guest. */
static void set_target(void *opaque, uint64_t bytes)
{
	struct virtio_balloon *s = opaque;
	uint64_t ram = ram_bytes(s->vdev.pci.dev.machine);

	s->wanted = (uint32_t)((ram - MIN_OF(bytes, ram)) >> PAGE_SHIFT);
	virtio_config_changed(s);
}

static void get_stats(void *opaque, uint64_t *stats)
{
	struct virtio_balloon *s = opaque;

	memcpy(stats, s->stats, sizeof(s->stats));
}

static void balloon_reset(void *dev)
{
	struct virtio_balloon *s = dev;

	drop_stats_chain(s);
	timer_cancel(&s->timer);
	s->actual = 0;
	for (unsigned i = 0; i < BALLOON_STATS; i++)
		s->stats[i] = UINT64_MAX;
}

static const struct virtio_info balloon_info = {
	.id = 5,
	.features = BIT64(F_STATS),
	.config_size = CONFIG_BYTES,
	.get_config = get_config,
	.set_config = set_config,
	.reset = balloon_reset,
};

#define D struct virtio_balloon

static bool balloon_realize(void *dev, GError **err)
{
	struct virtio_balloon *s = dev;
	struct machine *m = s->vdev.pci.dev.machine;

	if (m->balloon)
		return error(err, "%s: the machine has a balloon already", device_name(dev));
	timer_init(&s->timer, vm_clock(m), "virtio-balloon", ask_for_stats, s);
	virtio_init(s, &balloon_info, 5);
	if (s->deflate_on_oom)
		s->vdev.host_features |= BIT64(F_DEFLATE_ON_OOM);
	virtio_add_queue(s, QUEUE_SIZE, inflate);
	virtio_add_queue(s, QUEUE_SIZE, deflate);
	s->stats_queue = virtio_add_queue(s, QUEUE_SIZE, stats_came);
	if (s->free_page_reporting) {
		s->vdev.host_features |= BIT64(F_REPORTING);
		s->reporting_queue = virtio_add_queue(s, 32, report);
	}
	s->ops = (struct balloon) { set_target, actual_bytes, get_stats, s };
	m->balloon = &s->ops;
	return true;
}

static void balloon_unrealize(void *dev)
{
	struct virtio_balloon *s = dev;

	balloon_reset(s);
	s->vdev.pci.dev.machine->balloon = NULL;
	virtio_destroy(dev);
}

static void balloon_reset_device(void *dev)
{
	virtio_reset(dev);
	((struct virtio_balloon *)dev)->wanted = 0;
}

static void balloon_saving(void *dev)
{
	struct virtio_balloon *s = dev;

	virtio_keep_none(s);
	if (s->stats_chain)
		virtio_keep(s, s->stats_chain);
}

static bool balloon_loaded(void *dev, GError **err)
{
	struct virtio_balloon *s = dev;

	drop_stats_chain(s);
	return virtio_loaded(dev, err) && virtio_kept(dev, hold_stats, err);
}

static const struct pci_info balloon_pci = VIRTIO_PCI(0x1002, 0x00ff, 5);

DEVICE(virtio_balloon,
	.name = "virtio-balloon-pci",
	.alias = "virtio-balloon",
	.desc = "virtio memory balloon",
	.bus = "PCI",
	.bus_info = &balloon_pci,
	.props = FIELDS({ .name = "deflate-on-oom", .type = FT_BOOL,
			  .offset = offsetof(D, deflate_on_oom), .size = 1,
			  .help = "the guest takes memory back when it runs out" },
			{ .name = "free-page-reporting", .type = FT_BOOL,
			  .offset = offsetof(D, free_page_reporting), .size = 1,
			  .help = "the guest gives free memory back of itself" },
			{ .name = "guest-stats-polling-interval", .type = FT_U32,
			  .offset = offsetof(D, polling), .size = 4, .max = 86400,
			  .help = "seconds between the guest's statistics; 0: none" },
			VIRTIO_PROPS),
	.state = FIELDS(FO(vdev, virtio_device_table), F(wanted), F(actual), F(stats), F(timer)),
	.host = HOST(deflate_on_oom, free_page_reporting, polling, stats_queue, reporting_queue,
		     stats_chain, ops),
	.realize = balloon_realize,
	.unrealize = balloon_unrealize,
	.reset = balloon_reset_device,
	.saving = balloon_saving,
	.loaded = balloon_loaded);
