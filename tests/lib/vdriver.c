/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/vdriver.h"

struct drive *vd_disk;
struct virtio_device *vd_dev;

void vd_add(struct rig *r, const char *name, const char *prop, const char *value)
{
	struct device *d = device_new(&r->m, device_find(name, NULL), NULL);

	pci_set_devfn(d, VD_SLOT, 0);
	if (vd_disk)
		CHECK(device_set(d, "drive", vd_disk->id, NULL));
	if (prop)
		CHECK(device_set(d, prop, value, NULL));
	CHECK(device_realize(d, &r->pc->host->bus.bus, NULL));
	machine_reset(&r->m);
	rig_pci_write(r, VD_SLOT, 0, 0x10, VD_IO, 4);
	rig_pci_write(r, VD_SLOT, 0, 0x20, (uint32_t)VD_MODERN, 4);
	rig_pci_write(r, VD_SLOT, 0, 4, 7, 2);
	vd_dev = (struct virtio_device *)d;
}

uint8_t vd_status(struct rig *r)
{
	return (uint8_t)rig_read(r, VD_COMMON(0x14), 1);
}

void vd_negotiate(struct rig *r, uint64_t features)
{
	features |= BIT64(VIRTIO_F_VERSION_1);
	rig_write(r, VD_COMMON(0x14), 0, 1);
	rig_write(r, VD_COMMON(0x14), 3, 1);
	for (unsigned i = 0; i < 2; i++) {
		rig_write(r, VD_COMMON(0x08), i, 4);
		rig_write(r, VD_COMMON(0x0c), (uint32_t)(features >> 32 * i), 4);
	}
	rig_write(r, VD_COMMON(0x14), 11, 1);
	CHECK_EQ(vd_status(r), 11);
}

void vd_set_queue(struct rig *r, unsigned n)
{
	rig_write(r, vd_table(n) + 0x1000, 0, 4);
	rig_write(r, vd_table(n) + 0x2000, 0, 4);
	rig_write(r, VD_COMMON(0x16), n, 2);
	rig_write(r, VD_COMMON(0x18), VD_QUEUE, 2);
	rig_write(r, VD_COMMON(0x20), vd_table(n), 4);
	rig_write(r, VD_COMMON(0x28), vd_table(n) + 0x1000, 4);
	rig_write(r, VD_COMMON(0x30), vd_table(n) + 0x2000, 4);
	rig_write(r, VD_COMMON(0x1c), 1, 2);
}

void vd_start(struct rig *r, uint64_t features, unsigned n)
{
	vd_negotiate(r, features);
	for (unsigned i = 0; i < n; i++)
		vd_set_queue(r, i);
	rig_write(r, VD_COMMON(0x14), 15, 1);
	CHECK_EQ(vd_status(r), 15);
}

void vd_put_desc(struct rig *r, uint32_t table, unsigned n, uint32_t addr, uint32_t len,
		 uint16_t flags, uint16_t next)
{
	rig_write(r, table + 16 * n, addr, 4);
	rig_write(r, table + 16 * n + 4, 0, 4);
	rig_write(r, table + 16 * n + 8, len, 4);
	rig_write(r, table + 16 * n + 12, flags | (uint32_t)next << 16, 4);
}

void vd_kick(struct rig *r, unsigned queue)
{
	rig_write(r, VD_MODERN + 0x3000 + 4 * queue, queue, 2);
	if (vd_disk)
		drive_drain(vd_disk);
}

void vd_offer(struct rig *r, unsigned queue, uint16_t head)
{
	uint32_t avail = vd_table(queue) + 0x1000;
	uint16_t index = (uint16_t)rig_read(r, avail + 2, 2);

	rig_write(r, avail + 4 + 2 * (index % VD_QUEUE), head, 2);
	rig_write(r, avail + 2, (uint16_t)(index + 1), 2);
	vd_kick(r, queue);
}

uint16_t vd_used(struct rig *r, unsigned queue)
{
	return (uint16_t)rig_read(r, vd_table(queue) + 0x2002, 2);
}

uint32_t vd_used_len(struct rig *r, unsigned queue)
{
	return rig_read(r, vd_table(queue) + 0x2004 + 8 * ((vd_used(r, queue) - 1u) % VD_QUEUE) + 4,
			4);
}

void vd_put_bytes(struct rig *r, uint32_t addr, const void *data, size_t len)
{
	space_write(&r->m.mem, addr, data, len);
}

void vd_get_bytes(struct rig *r, uint32_t addr, void *data, size_t len)
{
	space_read(&r->m.mem, addr, data, len);
}
