/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues full of anything: rings, chains, indirect tables and requests at random, split and
 * packed, against each virtio device. Nothing may stop the process; what breaks is reset and goes
 * on.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "hw/virtio/virtio.h"
#include "fs/folder.h"
#include "net/net.h"
#include "tests/lib/rig.h"

#define RING 0x100000u
#define RING_BYTES 0x40000u
#define QUEUE 16u
#define SLOT 5
#define MODERN UINT64_C(0xe0000000)

static uint8_t *ram_at(struct rig *r, uint32_t addr)
{
	return r->pc->ram.ram->host + addr;
}

static struct virtio_device *add(struct rig *r, const char *name, const char *drive)
{
	struct device *d = device_new(&r->m, device_find(name, NULL), NULL);

	pci_set_devfn(d, SLOT, 0);
	CHECK(!drive || device_set(d, "drive", drive, NULL));
	CHECK(device_set(d, "packed", "on", NULL));
	CHECK(device_realize(d, &r->pc->host->bus.bus, NULL));
	machine_reset(&r->m);
	rig_pci_write(r, SLOT, 0, 0x20, (uint32_t)MODERN, 4);
	rig_pci_write(r, SLOT, 0, 4, 7, 2);
	return (struct virtio_device *)d;
}

/* A driver that begins well. */
static void begin(struct rig *r, struct virtio_device *d)
{
	uint64_t features = d->host_features & (test_random() | BIT64(VIRTIO_F_VERSION_1));

	if (test_below(2))
		features &= ~BIT64(VIRTIO_F_RING_PACKED);
	rig_write(r, MODERN + 0x14, 0, 1);
	rig_write(r, MODERN + 0x14, 3, 1);
	for (unsigned i = 0; i < 2; i++) {
		rig_write(r, MODERN + 0x08, i, 4);
		rig_write(r, MODERN + 0x0c, (uint32_t)(features >> 32 * i), 4);
	}
	rig_write(r, MODERN + 0x14, 11, 1);
	for (unsigned n = 0; n < d->nqueues; n++) {
		rig_write(r, MODERN + 0x16, n, 2);
		rig_write(r, MODERN + 0x18, QUEUE, 2);
		for (unsigned k = 0; k < 3; k++)
			rig_write(r, MODERN + 0x20 + 8 * k, RING + 0x8000 * n + 0x1000 * k, 4);
		rig_write(r, MODERN + 0x1c, 1, 2);
	}
	rig_write(r, MODERN + 0x14, 15, 1);
	memset(ram_at(r, RING), 0, RING_BYTES);
}

static void put_random_desc(uint8_t *d, bool packed)
{
	static const uint32_t lengths[] = { 0, 1, 2, 4, 6, 12, 16, 32, 48, 512, 1024, 4096, 70000 };
	uint64_t addr = RING + 0x20000 + test_below(0x20000);
	uint32_t len = lengths[test_below(ARRAY_LEN(lengths))];
	unsigned flags = test_below(4) | (test_below(8) ? 0 : 4), flags_at = packed ? 14 : 12;

	if (!test_below(40))
		addr = test_random() >> test_below(64);
	if (!test_below(40))
		len = (uint32_t)test_random();
	if (packed)
		flags |= (test_below(2) ? 0x80u : 0) | (test_below(2) ? 0x8000u : 0);
	store_le(d, addr, 8);
	store_le(d + 8, len, 4);
	store_le(d + flags_at, flags, 2);
	store_le(d + (packed ? 12 : 14), test_below(20) ? test_below(QUEUE) : test_random(), 2);
}

static void fill(struct rig *r, struct virtio_device *d, unsigned n)
{
	uint8_t *ring = ram_at(r, RING + 0x8000 * n);
	bool packed = virtio_has(d, VIRTIO_F_RING_PACKED);

	for (unsigned i = 0; i < QUEUE; i++)
		if (test_below(2))
			put_random_desc(ring + 16 * i, packed);
	/* Requests and indirect tables, and what looks like them. */
	for (unsigned i = 0; i < 32; i++) {
		uint8_t *at = ram_at(r, RING + 0x20000 + (test_below(0x1ff00) & ~15u));

		store_le(at, test_below(16), 4);
		store_le(at + 8, test_below(4) ? test_below(8000) : test_random(), 8);
		if (!test_below(4)) /* a LUN, and a CDB behind it */
			memcpy(at, "\1\0\100\0\0\0\0\0", 8);
		if (!test_below(3))
			put_random_desc(at, packed);
	}
	if (packed)
		return;
	for (unsigned i = 0; i < QUEUE; i++)
		store_le(ring + 0x1004 + 2 * i, test_below(30) ? test_below(QUEUE) : test_random(),
			 2);
	store_le(ring + 0x1002,
		 load_le(ring + 0x1002, 2) + (test_below(50) ? test_below(4) : test_random()), 2);
	store_le(ring + 0x1000, test_below(2), 2);
}

static bool swallow(void *opaque, const struct iovec *iov, int n)
{
	(void)opaque;
	(void)iov;
	(void)n;
	return test_below(4);
}

static const struct net_ops peer_ops = { .take = swallow };

/* With a disk of its own, or one behind it. */
enum disk { NO_DISK, OWN_DISK, SCSI_DISK, FOLDER };

static void make_folder(void)
{
	g_autofree char *dir = g_dir_make_tmp("moa-virtqueue-XXXXXX", NULL);
	g_autofree char *text =
		g_strdup_printf("local,id=f,path=%s,security_model=none,readonly=on", dir);

	CHECK(folder_new("-fsdev", text, NULL));
	rmdir(dir); /* its descriptor is enough */
	device_add_global("virtio-9p-pci.fsdev=f", NULL);
	device_add_global("virtio-9p-pci.mount_tag=t", NULL);
}

static void fuzz(const char *name, enum disk kind)
{
	const char *seconds = getenv("MOA_FUZZ_SECONDS"), *seed = getenv("MOA_FUZZ_SEED");
	time_t end = time(NULL) + (seconds ? atol(seconds) / 2 : 0);
	struct rig *r = rig_new(RIG_USER);
	struct drive *disk =
		kind == OWN_DISK || kind == SCSI_DISK ? rig_drive(r, 4 * MIB, true, false) : NULL;
	struct virtio_device *d;
	struct net_port *card, *peer = NULL;
	unsigned resets = 0;

	if (kind == FOLDER)
		make_folder();
	d = add(r, name, kind == OWN_DISK ? disk->id : NULL);
	card = net_nth(0);
	if (kind == SCSI_DISK) {
		struct device *u = device_new(&r->m, device_find("scsi-hd", NULL), NULL);

		CHECK(device_set(u, "drive", disk->id, NULL));
		CHECK(device_realize(u, machine_find_bus(&r->m, "SCSI", NULL), NULL));
	}
	for (unsigned i = 0; i < 2 && !strcmp(name, "virtio-serial-pci"); i++) {
		struct device *p = device_new(
			&r->m, device_find(i ? "virtserialport" : "virtconsole", NULL), NULL);

		CHECK(chr_new(NULL, i ? "ringbuf,id=c1" : "ringbuf,id=c0", NULL));
		CHECK(device_set(p, "chardev", i ? "c1" : "c0", NULL));
		CHECK(device_realize(p, machine_find_bus(&r->m, "virtio-serial-bus", NULL), NULL));
	}
	if (seed)
		test_seed(strtoull(seed, NULL, 0));
	if (seconds)
		alarm(0);
	if (card) {
		peer = net_card_new(&r->m, "peer", NULL, &peer_ops, NULL, NULL);
		card->peer = peer;
		peer->peer = card;
	}
	r->m.state = RUN_RUNNING;
	begin(r, d);
	for (uint64_t i = 0; seconds ? time(NULL) < end : i < 200000; i++) {
		unsigned n = test_below(d->nqueues);

		fill(r, d, n);
		rig_write(r, MODERN + 0x3000 + 4 * n, n, 2);
		if (peer && test_below(2)) {
			uint8_t frame[1514];

			memset(frame, (int)i, sizeof(frame));
			net_send(peer, &(struct iovec) { frame, test_below(sizeof(frame) + 1) }, 1);
			net_ready(peer);
		}
		if (chr_find("c0") && test_below(2))
			chr_input(chr_find(test_below(2) ? "c0" : "c1"), (uint8_t *)&i,
				  test_below(9));
		if (kind == FOLDER) { /* its thread gives chains back */
			machine_unlock();
			sched_yield();
			machine_lock();
		}
		if (test_below(4) == 0)
			drives_drain_all();
		if (virtio_is_broken(d) || test_below(50) == 0) {
			resets++;
			begin(r, d);
		}
	}
	drives_drain_all();
	CHECK(resets);
	rig_free(r);
}

TEST(disk_queues_at_random)
{
	fuzz("virtio-blk-pci", OWN_DISK);
}

TEST(card_queues_at_random)
{
	fuzz("virtio-net-pci", NO_DISK);
}

TEST(scsi_queues_at_random)
{
	fuzz("virtio-scsi-pci", SCSI_DISK);
}

TEST(rng_queue_at_random)
{
	fuzz("virtio-rng-pci", NO_DISK);
}

TEST(balloon_queues_at_random)
{
	fuzz("virtio-balloon-pci", NO_DISK);
}

TEST(serial_queues_at_random)
{
	fuzz("virtio-serial-pci", NO_DISK);
}

TEST(folder_queue_at_random)
{
	fuzz("virtio-9p-pci", FOLDER);
}
