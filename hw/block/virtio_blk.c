/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio block device. Source: Virtual I/O Device (VIRTIO) Version 1.2, 5.2. Not offered: zoned
 * devices, secure erase, lifetime.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/drive.h"
#include "core/log.h"
#include "hw/virtio/virtio.h"

#define F_SEG_MAX 2
#define F_RO 5
#define F_BLK_SIZE 6
#define F_FLUSH 9
#define F_TOPOLOGY 10
#define F_CONFIG_WCE 11
#define F_MQ 12
#define F_DISCARD 13
#define F_WRITE_ZEROES 14

#define T_IN 0
#define T_OUT 1
#define T_FLUSH 4
#define T_GET_ID 8
#define T_DISCARD 11
#define T_WRITE_ZEROES 13

#define S_OK 0
#define S_IOERR 1
#define S_UNSUPP 2

#define HEADER_BYTES 16
#define ID_BYTES 20
#define RANGE_BYTES 16
#define CONFIG_BYTES 60
#define CONFIG_WCE_AT 32
#define MOST_RANGES 16
#define MOST_RANGE_SECTORS (UINT32_MAX / BLOCK_SECTOR)
#define MOST_QUEUES 16

struct virtio_blk {
	struct virtio_device vdev;
	char *drive, *serial, *iothread; /* properties */
	uint16_t num_queues, queue_size;
	int32_t bootindex;
	bool write_cache; /* the driver's choice; off: each write is flushed */

	struct drive *back;
	unsigned epoch; /* requests of an earlier one are nobody's */
	GQueue waiting; /* failed requests that are tried again when the VM goes on */
};

struct request {
	struct drive_request io;
	struct virtio_blk *s;
	struct virtq_chain *chain;
	unsigned epoch;
	size_t in_bytes;    /* of data, without the status */
	struct iovec *data; /* part of the chain's */
	uint64_t sector;
	uint32_t type;
	struct drive_range *ranges; /* of a discard or write-zeroes */
};

static void submit(struct request *r);

static void free_request(struct request *r)
{
	g_free(r->data);
	g_free(r->ranges);
	g_free(r);
}

static void complete(struct request *r, uint8_t status)
{
	struct virtq *q = r->chain->q;

	virtq_write(r->chain, r->chain->in_len - 1, &status, 1);
	virtq_push(q, r->chain, (status == S_OK ? r->in_bytes : 0) + 1);
	virtq_notify(q);
	free_request(r);
}

static void done(struct drive_request *io, int e)
{
	struct request *r = container_of(io, struct request, io);
	struct virtio_blk *s = r->s;

	/* The device was reset meanwhile: the guest no longer knows of it. */
	if (r->epoch != s->epoch) {
		virtq_chain_free(r->chain);
		free_request(r);
		return;
	}
	if (e) {
		switch (drive_failed(s->back, io->op, e)) {
		case ON_ERROR_STOP:
			g_queue_push_tail(&s->waiting, r);
			return;
		case ON_ERROR_IGNORE:
			break;
		default:
			complete(r, S_IOERR);
			return;
		}
	}
	complete(r, S_OK);
}

static void submit(struct request *r)
{
	r->io.done = done;
	drive_submit(r->s->back, &r->io);
}

/* Whether `len` bytes from a sector on are on the disk. */
static bool on_disk(const struct virtio_blk *s, uint64_t sector, uint64_t len)
{
	uint64_t size = drive_size(s->back);

	return sector <= size / BLOCK_SECTOR && len <= size - sector * BLOCK_SECTOR;
}

static bool is_write(uint32_t type)
{
	return type == T_OUT || type == T_DISCARD || type == T_WRITE_ZEROES;
}

static void read_write(struct virtio_blk *s, struct request *r)
{
	struct virtq_chain *c = r->chain;
	bool in = r->type == T_IN;
	size_t len = in ? c->in_len - 1 : c->out_len - HEADER_BYTES;
	unsigned n = in ? c->nin : c->nout;

	if (len % BLOCK_SECTOR || !on_disk(s, r->sector, len)) {
		complete(r, S_IOERR);
		return;
	}
	r->data = g_new(struct iovec, n);
	r->io.op = in ? DRIVE_READ : DRIVE_WRITE;
	r->io.offset = r->sector * BLOCK_SECTOR;
	r->io.len = len;
	r->io.iov = r->data;
	r->io.niov = in ? iov_part(c->iov + c->nout, (int)n, 0, len, r->data)
			: iov_part(c->iov, (int)n, HEADER_BYTES, len, r->data);
	r->in_bytes = in ? len : 0;
	r->io.fua = !in && !s->write_cache;
	submit(r);
}

/* 5.2.6.1: every range is judged before the first is touched. */
static void clear_ranges(struct virtio_blk *s, struct request *r)
{
	size_t len = r->chain->out_len - HEADER_BYTES;
	unsigned n = (unsigned)MIN_OF(len / RANGE_BYTES, (size_t)MOST_RANGES + 1);

	if (len % RANGE_BYTES || !n || n > MOST_RANGES) {
		complete(r, S_IOERR);
		return;
	}
	r->ranges = g_new(struct drive_range, n);
	for (unsigned i = 0; i < n; i++) {
		uint8_t raw[RANGE_BYTES], status = S_OK;
		uint64_t sector, sectors, flags;

		virtq_read(r->chain, HEADER_BYTES + RANGE_BYTES * (size_t)i, raw, sizeof(raw));
		sector = load_le(raw, 8);
		sectors = load_le(raw + 8, 4);
		flags = load_le(raw + 12, 4);
		if (flags & ~UINT64_C(1) || (r->type == T_DISCARD && flags))
			status = S_UNSUPP;
		else if (sectors > MOST_RANGE_SECTORS ||
			 !on_disk(s, sector, sectors * BLOCK_SECTOR))
			status = S_IOERR;
		if (status != S_OK) {
			complete(r, status);
			return;
		}
		r->ranges[i] = (struct drive_range) { sector * BLOCK_SECTOR, sectors * BLOCK_SECTOR,
						      flags & 1 };
	}
	r->io.op = r->type == T_DISCARD ? DRIVE_DISCARD : DRIVE_ZERO;
	r->io.ranges = r->ranges;
	r->io.nranges = n;
	r->io.fua = r->type == T_WRITE_ZEROES && !s->write_cache;
	submit(r);
}

static void get_id(struct virtio_blk *s, struct request *r)
{
	const char *serial = s->serial ? s->serial : s->back->serial ? s->back->serial : "";
	char id[ID_BYTES] = "";

	/* No zero at the end when it is as long as it may be. */
	memcpy(id, serial, MIN_OF(strlen(serial), sizeof(id)));
	r->in_bytes = MIN_OF(r->chain->in_len - 1, sizeof(id));
	virtq_write(r->chain, 0, id, r->in_bytes);
	complete(r, S_OK);
}

static void start(void *dev, struct virtq_chain *c)
{
	struct virtio_blk *s = dev;
	uint8_t header[HEADER_BYTES];
	struct request *r;

	if (!c->in_len || virtq_read(c, 0, header, sizeof(header)) < sizeof(header)) {
		virtio_break(&s->vdev, "a request without header or status");
		virtq_chain_free(c);
		return;
	}
	r = g_new0(struct request, 1);
	r->s = s;
	r->chain = c;
	r->epoch = s->epoch;
	r->type = (uint32_t)load_le(header, 4);
	r->sector = load_le(header + 8, 8);
	if (is_write(r->type) && s->back->read_only) {
		complete(r, S_IOERR);
		return;
	}
	switch (r->type) {
	case T_IN:
	case T_OUT:
		read_write(s, r);
		break;
	case T_FLUSH:
		r->io.op = DRIVE_FLUSH;
		submit(r);
		break;
	case T_GET_ID:
		get_id(s, r);
		break;
	case T_DISCARD:
	case T_WRITE_ZEROES:
		clear_ranges(s, r);
		break;
	default:
		complete(r, S_UNSUPP);
	}
}

static void kicked(void *dev, struct virtq *q)
{
	(void)dev;
	virtq_take_all(q, start);
}

static void get_config(void *dev, uint8_t *config)
{
	struct virtio_blk *s = dev;

	store_le(config, drive_size(s->back) / BLOCK_SECTOR, 8);
	store_le(config + 12, MIN_OF(s->queue_size, VIRTQ_MOST_DESCRIPTORS) - 2u, 4);
	store_le(config + 20, BLOCK_SECTOR, 4);
	config[CONFIG_WCE_AT] = s->write_cache;
	store_le(config + 34, s->num_queues, 2);
	store_le(config + 36, MOST_RANGE_SECTORS, 4);
	store_le(config + 40, MOST_RANGES, 4);
	store_le(config + 44,
		 MAX_OF(s->back->block ? s->back->block->cluster : 0, BLOCK_SECTOR) / BLOCK_SECTOR,
		 4);
	store_le(config + 48, MOST_RANGE_SECTORS, 4);
	store_le(config + 52, MOST_RANGES, 4);
	config[56] = 1; /* write-zeroes may give places back */
}

static void set_config(void *dev, const uint8_t *config, unsigned off, unsigned size)
{
	struct virtio_blk *s = dev;

	if (off <= CONFIG_WCE_AT && off + size > CONFIG_WCE_AT &&
	    virtio_has(&s->vdev, F_CONFIG_WCE))
		s->write_cache = config[CONFIG_WCE_AT] & 1;
}

/* 5.2.5.2: a driver that cannot flush gets a disk that needs no flushes. */
static void features_set(void *dev)
{
	struct virtio_blk *s = dev;

	if (!virtio_has(&s->vdev, F_CONFIG_WCE))
		s->write_cache = virtio_has(&s->vdev, F_FLUSH) && !s->back->writethrough;
}

static void blk_reset(void *dev)
{
	struct virtio_blk *s = dev;
	struct request *r;

	/* Nobody may write to the guest's memory after this. */
	drive_quiesce(s->back);
	s->epoch++;
	while ((r = g_queue_pop_head(&s->waiting))) {
		virtq_chain_free(r->chain);
		free_request(r);
	}
	s->write_cache = !s->back->writethrough;
}

static void resized(void *opaque)
{
	virtio_config_changed(opaque);
}

static const struct virtio_info blk_info = {
	.id = 2,
	.features = BIT64(F_SEG_MAX) | BIT64(F_BLK_SIZE) | BIT64(F_FLUSH) | BIT64(F_TOPOLOGY) |
		    BIT64(F_CONFIG_WCE) | BIT64(F_MQ) | BIT64(F_DISCARD) | BIT64(F_WRITE_ZEROES),
	.config_size = CONFIG_BYTES,
	.get_config = get_config,
	.set_config = set_config,
	.features_set = features_set,
	.reset = blk_reset,
};

#define D struct virtio_blk

static bool blk_realize(void *dev, GError **err)
{
	struct virtio_blk *s = dev;

	s->back = drive_of_device(s, s->drive, false, err);
	if (!s->back)
		return false;
	if (!virtio_queue_size_ok(s, s->queue_size, err) ||
	    !virtio_use_iothread(s, s->iothread, err))
		return false;
	s->back->iothread = s->vdev.iothread;
	s->back->resized = resized;
	s->back->opaque = s;
	g_queue_init(&s->waiting);
	virtio_init(s, &blk_info, s->num_queues + 1u);
	if (s->back->read_only)
		s->vdev.host_features |= BIT64(F_RO);
	for (unsigned i = 0; i < s->num_queues; i++)
		virtio_add_queue(s, s->queue_size, kicked);
	if (machine_add_boot(s->vdev.pci.dev.machine, device_name(s), s->bootindex,
			     pci_boot_path(s, "scsi", "/disk@0,0"), err))
		return true;
	virtio_destroy(s);
	return false;
}

static void blk_unrealize(void *dev)
{
	virtio_reset(dev);
	virtio_destroy(dev);
}

static void blk_reset_device(void *dev)
{
	virtio_reset(dev);
}

static void blk_saving(void *dev)
{
	struct virtio_blk *s = dev;

	virtio_keep_none(s);
	for (GList *l = s->waiting.head; l; l = l->next)
		virtio_keep(s, ((struct request *)l->data)->chain);
}

static bool blk_loaded(void *dev, GError **err)
{
	struct virtio_blk *s = dev;
	bool ok;

	iothread_lock(s->vdev.iothread);
	ok = virtio_loaded(dev, err) && virtio_kept(dev, start, err);
	iothread_unlock(s->vdev.iothread);
	return ok;
}

static void blk_run_changed(void *dev, bool running)
{
	struct virtio_blk *s = dev;
	struct request *r;
	GQueue again;

	if (!running)
		return;
	iothread_lock(s->vdev.iothread);
	again = s->waiting;
	g_queue_init(&s->waiting);
	while ((r = g_queue_pop_head(&again)))
		submit(r);
	iothread_unlock(s->vdev.iothread);
}

static const struct pci_info blk_pci = VIRTIO_PCI(0x1001, 0x0100, 2);

DEVICE(virtio_blk,
	.name = "virtio-blk-pci",
	.alias = "virtio-blk",
	.desc = "virtio disk",
	.bus = "PCI",
	.bus_info = &blk_pci,
	.props = FIELDS(F(drive, .help = "the drive's id"), F(serial, .help = "its serial number"),
			F(bootindex, .init = -1, .help = "place in the boot order, from 0"),
			F(iothread, .help = "the -object iothread that moves its data"),
			{ .name = "num-queues", .type = FT_U16,
			  .offset = offsetof(D, num_queues), .size = 2, .init = 1, .min = 1,
			  .max = MOST_QUEUES, .help = "request queues" },
			{ .name = "queue-size", .type = FT_U16,
			  .offset = offsetof(D, queue_size), .size = 2, .init = 256, .min = 4,
			  .max = VIRTQ_MOST_SIZE, .help = "descriptors in each" },
			VIRTIO_PROPS),
	.state = FIELDS(FO(vdev, virtio_device_table), F(write_cache)),
	.host = HOST(back, epoch, waiting, num_queues, queue_size),
	.realize = blk_realize,
	.unrealize = blk_unrealize,
	.reset = blk_reset_device,
	.saving = blk_saving,
	.loaded = blk_loaded,
	.run_changed = blk_run_changed);
