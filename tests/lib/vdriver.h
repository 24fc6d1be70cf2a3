/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's side of a virtio device on the bench: finding registers, agreeing on features,
 * split rings whose descriptors a test writes itself.
 */
#pragma once

#include "hw/virtio/virtio.h"
#include "tests/lib/rig.h"

#define VD_SLOT 5
#define VD_IO 0xc000
#define VD_MODERN UINT64_C(0xe0000000)
#define VD_COMMON(reg) (VD_MODERN + (reg))
#define VD_CONFIG(off) (VD_MODERN + 0x2000 + (off))
#define VD_RING 0x100000u /* queue n's is 64 KiB further on */
#define VD_BUFFERS 0x400000u
#define VD_QUEUE 16u

#define VD_NEXT 1
#define VD_WRITE 2

/* The disk of the device, drained after each kick, or NULL; set before vd_add. */
extern struct drive *vd_disk;
extern struct virtio_device *vd_dev;

/* Adds the device at VD_SLOT with a property (or NULL) and puts its BARs in place. */
void vd_add(struct rig *r, const char *name, const char *prop, const char *value);
uint8_t vd_status(struct rig *r);
/* As far as queues, with these features beside VERSION_1. */
void vd_negotiate(struct rig *r, uint64_t features);
void vd_set_queue(struct rig *r, unsigned n);
/* All of it, with the first n queues. */
void vd_start(struct rig *r, uint64_t features, unsigned n);
void vd_put_desc(struct rig *r, uint32_t table, unsigned n, uint32_t addr, uint32_t len,
		 uint16_t flags, uint16_t next);
static inline uint32_t vd_table(unsigned queue)
{
	return VD_RING + 0x10000 * queue;
}
void vd_kick(struct rig *r, unsigned queue);
/* Makes chain `head` available and kicks. */
void vd_offer(struct rig *r, unsigned queue, uint16_t head);
/* How many chains came back, modulo 65536. */
uint16_t vd_used(struct rig *r, unsigned queue);
/* Of the chain that came back last: bytes written. */
uint32_t vd_used_len(struct rig *r, unsigned queue);
void vd_put_bytes(struct rig *r, uint32_t addr, const void *data, size_t len);
void vd_get_bytes(struct rig *r, uint32_t addr, void *data, size_t len);
