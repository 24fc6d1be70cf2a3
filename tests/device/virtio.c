/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VIRTIO 1.2: the PCI transport, both kinds of rings, and the disk, as a driver sees them. */
#include "hw/virtio/virtio.h"

#include <sys/socket.h>
#include <unistd.h>

#include "net/net.h"
#include "tests/lib/vdriver.h"

#define DISK_BYTES (4 * MIB)

static void add_disk(struct rig *r, const char *prop, const char *value)
{
	vd_disk = rig_drive(r, DISK_BYTES, true, false);
	vd_add(r, "virtio-blk-pci", prop, value);
}

#define HEADER VD_BUFFERS
#define DATA (VD_BUFFERS + 0x1000)
#define STATUS (VD_BUFFERS + 0x3000)

static void put_header(struct rig *r, uint32_t type, uint32_t sector)
{
	rig_write(r, HEADER, type, 4);
	rig_write(r, HEADER + 4, 0, 4);
	rig_write(r, HEADER + 8, sector, 4);
	rig_write(r, HEADER + 12, 0, 4);
	rig_write(r, STATUS, 0xaa, 1);
}

/* A request of three descriptors; returns the status. */
static uint32_t request(struct rig *r, uint32_t type, uint32_t sector, uint32_t len, bool in)
{
	put_header(r, type, sector);
	vd_put_desc(r, VD_RING, 0, HEADER, 16, 1, 1);
	vd_put_desc(r, VD_RING, 1, DATA, len, in ? 3 : 1, 2);
	vd_put_desc(r, VD_RING, 2, STATUS, 1, 2, 0);
	vd_offer(r, 0, 0);
	return rig_read(r, STATUS, 1);
}

BENCH(virtio_capabilities_lead_to_the_registers)
{
	unsigned at, seen = 0;

	add_disk(r, NULL, NULL);
	CHECK_EQ(rig_pci_read(r, VD_SLOT, 0, 0, 4), 0x10011af4);
	CHECK_EQ(rig_pci_read(r, VD_SLOT, 0, 0x2e, 2), 2);
	for (at = rig_pci_read(r, VD_SLOT, 0, 0x34, 1); at;
	     at = rig_pci_read(r, VD_SLOT, 0, at + 1, 1))
		if (rig_pci_read(r, VD_SLOT, 0, at, 1) == 9)
			seen |= 1u << rig_pci_read(r, VD_SLOT, 0, at + 3, 1);
	CHECK_EQ(seen, 0x3e);
	CHECK_EQ(rig_read(r, VD_COMMON(0x12), 2), 1);
	CHECK_EQ(rig_read(r, VD_COMMON(0x18), 2), 256);
	CHECK_EQ(rig_read(r, VD_MODERN + 0x2000, 4), DISK_BYTES / 512);
	/* 4.1.4.9: the same by way of configuration space. */
	for (at = rig_pci_read(r, VD_SLOT, 0, 0x34, 1);
	     rig_pci_read(r, VD_SLOT, 0, at + 3, 1) != 5;)
		at = rig_pci_read(r, VD_SLOT, 0, at + 1, 1);
	rig_pci_write(r, VD_SLOT, 0, at + 4, 4, 1);
	rig_pci_write(r, VD_SLOT, 0, at + 8, 0x2000, 4);
	rig_pci_write(r, VD_SLOT, 0, at + 12, 4, 4);
	CHECK_EQ(rig_pci_read(r, VD_SLOT, 0, at + 16, 4), DISK_BYTES / 512);
	rig_pci_write(r, VD_SLOT, 0, at + 8, 0x14, 4);
	rig_pci_write(r, VD_SLOT, 0, at + 12, 1, 4);
	rig_pci_write(r, VD_SLOT, 0, at + 16, 1, 1);
	CHECK_EQ(vd_status(r), 1);
}

BENCH(virtio_unknown_features_are_refused)
{
	add_disk(r, NULL, NULL);
	rig_write(r, VD_COMMON(0x14), 3, 1);
	rig_write(r, VD_COMMON(0x08), 0, 4);
	rig_write(r, VD_COMMON(0x0c), 1, 4);
	rig_write(r, VD_COMMON(0x08), 1, 4);
	rig_write(r, VD_COMMON(0x0c), 1, 4);
	rig_write(r, VD_COMMON(0x14), 11, 1);
	CHECK_EQ(vd_status(r), 3);
}

BENCH(virtio_disk_reads_and_writes)
{
	uint8_t back[4];

	add_disk(r, NULL, NULL);
	vd_start(r, 0, 1);
	CHECK_EQ(request(r, 0, 300, 1024, true), 0);
	CHECK_EQ(rig_read(r, DATA, 4), 300);
	CHECK_EQ(rig_read(r, DATA + 512, 4), 301);
	CHECK_EQ(rig_read(r, VD_RING + 0x2002, 2), 1);
	CHECK_EQ(rig_read(r, VD_RING + 0x2008, 4), 1025); /* bytes written */
	rig_write(r, DATA, 0x12345678, 4);
	CHECK_EQ(request(r, 1, 9, 512, false), 0);
	CHECK(block_read(vd_disk->block, 9 * 512, back, 4) == 0);
	CHECK_EQ(load_le(back, 4), 0x12345678);
	CHECK_EQ(request(r, 4, 0, 512, false), 0);		      /* flush */
	CHECK_EQ(request(r, 0, DISK_BYTES / 512 - 1, 1024, true), 1); /* beyond the end */
	CHECK_EQ(request(r, 0, 0, 100, true), 1);		      /* no whole sector */
	CHECK_EQ(request(r, 99, 0, 512, true), 2);		      /* unsupported */
	CHECK_EQ(rig_read(r, VD_MODERN + 0x1000, 1), 1);	      /* ISR */
	CHECK_EQ(rig_read(r, VD_MODERN + 0x1000, 1), 0);
}

BENCH(virtio_disk_clears_ranges)
{
	uint8_t back[4];

	add_disk(r, NULL, NULL);
	vd_start(r, 0, 1);
	rig_write(r, DATA, 40, 4);
	rig_write(r, DATA + 4, 0, 4);
	rig_write(r, DATA + 8, 2, 4);
	rig_write(r, DATA + 12, 1, 4);
	CHECK_EQ(request(r, 13, 0, 16, false), 0);
	CHECK(block_read(vd_disk->block, 41 * 512, back, 4) == 0);
	CHECK_EQ(load_le(back, 4), 0);
	CHECK(block_read(vd_disk->block, 42 * 512, back, 4) == 0);
	CHECK_EQ(load_le(back, 4), 42);
	CHECK_EQ(request(r, 11, 0, 16, false), 2); /* a discard has no unmap flag */
	rig_write(r, DATA + 12, 0, 4);
	rig_write(r, DATA, DISK_BYTES / 512, 4);
	CHECK_EQ(request(r, 11, 0, 16, false), 1);
}

BENCH(virtio_indirect_tables)
{
	add_disk(r, NULL, NULL);
	vd_start(r, BIT64(VIRTIO_F_INDIRECT_DESC), 1);
	put_header(r, 0, 7);
	vd_put_desc(r, VD_BUFFERS + 0x4000, 0, HEADER, 16, 1, 1);
	vd_put_desc(r, VD_BUFFERS + 0x4000, 1, DATA, 512, 3, 2);
	vd_put_desc(r, VD_BUFFERS + 0x4000, 2, STATUS, 1, 2, 0);
	vd_put_desc(r, VD_RING, 3, VD_BUFFERS + 0x4000, 48, 4, 0);
	vd_offer(r, 0, 3);
	CHECK_EQ(rig_read(r, STATUS, 1), 0);
	CHECK_EQ(rig_read(r, DATA, 4), 7);
}

BENCH(virtio_event_index_holds_interrupts_back)
{
	add_disk(r, NULL, NULL);
	vd_start(r, BIT64(VIRTIO_F_EVENT_IDX), 1);
	rig_write(r, VD_RING + 0x1004 + 2 * VD_QUEUE, 0, 2); /* used_event: the first */
	request(r, 0, 1, 512, true);
	CHECK_EQ(rig_read(r, VD_MODERN + 0x1000, 1), 1);
	rig_write(r, VD_RING + 0x1004 + 2 * VD_QUEUE, 2, 2); /* not the second, the third */
	request(r, 0, 1, 512, true);
	CHECK_EQ(rig_read(r, VD_MODERN + 0x1000, 1), 0);
	request(r, 0, 1, 512, true);
	CHECK_EQ(rig_read(r, VD_MODERN + 0x1000, 1), 1);
	/* avail_event follows the walker. */
	CHECK_EQ(rig_read(r, VD_RING + 0x2004 + 8 * VD_QUEUE, 2), 3);
}

BENCH(virtio_packed_rings)
{
	add_disk(r, "packed", "on");
	vd_start(r, BIT64(VIRTIO_F_RING_PACKED), 1);
	/* 40 requests of three in a ring of 16: it wraps. */
	for (unsigned i = 0, at = 0; i < 40; i++) {
		unsigned wrap = (i * 3 / VD_QUEUE) & 1, first = at;
		static const uint32_t addr[] = { HEADER, DATA, STATUS }, len[] = { 16, 512, 1 };

		put_header(r, 0, 1000 + i);
		for (unsigned k = 0; k < 3; k++) {
			unsigned lap = (i * 3 + k) / VD_QUEUE & 1;
			uint32_t d = VD_RING + 16 * at;
			uint16_t flags =
				(uint16_t)((k ? 2 : 0) | (k < 2 ? 1 : 0) | (lap ? 0x8000 : 0x80));

			rig_write(r, d, addr[k], 4);
			rig_write(r, d + 4, 0, 4);
			rig_write(r, d + 8, len[k], 4);
			rig_write(r, d + 12, i | (uint32_t)flags << 16, 4);
			at = (at + 1) % VD_QUEUE;
		}
		vd_kick(r, 0);
		CHECK_EQ(rig_read(r, STATUS, 1), 0);
		CHECK_EQ(rig_read(r, DATA, 4), 1000 + i);
		CHECK_EQ(rig_read(r, VD_RING + 16 * first + 12, 2), i);
		CHECK_EQ(rig_read(r, VD_RING + 16 * first + 14, 2) & 0x8080, wrap ? 0 : 0x8080);
	}
}

/* Whatever makes no sense: the device asks for a reset, and works after one. */
static void breaks(struct rig *r, uint16_t head)
{
	vd_offer(r, 0, head);
	CHECK_EQ(vd_status(r) & VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET);
	rig_write(r, VD_RING + 0x1000, 0, 4);
	vd_start(r, BIT64(VIRTIO_F_INDIRECT_DESC), 1);
	CHECK_EQ(request(r, 0, 5, 512, true), 0);
	CHECK_EQ(rig_read(r, DATA, 4), 5);
}

BENCH(virtio_bad_chains_break_the_device_alone)
{
	add_disk(r, NULL, NULL);
	vd_start(r, BIT64(VIRTIO_F_INDIRECT_DESC), 1);
	breaks(r, VD_QUEUE);			      /* no such descriptor */
	vd_put_desc(r, VD_RING, 0, HEADER, 16, 1, 0); /* a circle */
	breaks(r, 0);
	vd_put_desc(r, VD_RING, 0, HEADER, 16, 1, 99); /* on to nowhere */
	breaks(r, 0);
	vd_put_desc(r, VD_RING, 0, 0xd0000000, 16, 0, 0); /* no memory */
	breaks(r, 0);
	vd_put_desc(r, VD_RING, 0, HEADER, 0xffffffff, 0, 0); /* beyond memory */
	breaks(r, 0);
	vd_put_desc(r, VD_RING, 0, STATUS, 1, 3, 1); /* read after written */
	vd_put_desc(r, VD_RING, 1, HEADER, 16, 0, 0);
	breaks(r, 0);
	vd_put_desc(r, VD_RING, 0, VD_BUFFERS + 0x4000, 17, 4, 0); /* no whole table */
	breaks(r, 0);
	vd_put_desc(r, VD_RING, 0, VD_BUFFERS + 0x4000, 16, 4, 0); /* a table in a table */
	vd_put_desc(r, VD_BUFFERS + 0x4000, 0, VD_BUFFERS + 0x4000, 16, 4, 0);
	breaks(r, 0);
	vd_put_desc(r, VD_RING, 0, HEADER, 16, 0, 0); /* no room for a status */
	breaks(r, 0);
	rig_write(r, VD_RING + 0x1002, 100, 2); /* more chains than descriptors */
	breaks(r, 0);
}

BENCH(virtio_old_registers)
{
	add_disk(r, NULL, NULL);
	CHECK_EQ(rig_in(r, VD_IO + 20, 4), DISK_BYTES / 512);
	outb(r, VD_IO + 18, 3);
	rig_out(r, VD_IO + 4, rig_in(r, VD_IO, 4) & BIT(9), 4);
	rig_out(r, VD_IO + 14, 0, 2);
	CHECK_EQ(rig_in(r, VD_IO + 12, 2), 256);
	rig_out(r, VD_IO + 8, VD_RING >> 12, 4);
	outb(r, VD_IO + 18, 7);
	put_header(r, 0, 12);
	vd_put_desc(r, VD_RING, 0, HEADER, 16, 1, 1);
	vd_put_desc(r, VD_RING, 1, DATA, 512, 3, 2);
	vd_put_desc(r, VD_RING, 2, STATUS, 1, 2, 0);
	rig_write(r, VD_RING + 0x1000, 0x10000, 4); /* available: one, the first */
	rig_write(r, VD_RING + 0x1004, 0, 2);
	rig_out(r, VD_IO + 16, 0, 2);
	drive_drain(vd_disk);
	CHECK_EQ(rig_read(r, STATUS, 1), 0);
	CHECK_EQ(rig_read(r, DATA, 4), 12);
	CHECK_EQ(inb(r, VD_IO + 19), 1);
	CHECK_EQ(inb(r, VD_IO + 19), 0);
	rig_out(r, VD_IO + 8, 0, 4);
	CHECK_EQ(rig_in(r, VD_IO + 8, 4), 0);
}

/* A reset while the drive works: nothing is written to the guest's memory after it. */
BENCH(virtio_reset_ends_what_is_under_way)
{
	add_disk(r, NULL, NULL);
	for (unsigned i = 0; i < 50; i++) {
		vd_start(r, 0, 1);
		rig_write(r, VD_RING + 0x1000, 0, 4);
		rig_write(r, VD_RING + 0x2000, 0, 4);
		put_header(r, 0, i);
		vd_put_desc(r, VD_RING, 0, HEADER, 16, 1, 1);
		vd_put_desc(r, VD_RING, 1, DATA, 4096, 3, 2);
		vd_put_desc(r, VD_RING, 2, STATUS, 1, 2, 0);
		rig_write(r, VD_RING + 0x1004, 0, 2);
		rig_write(r, VD_RING + 0x1002, 1, 2);
		rig_write(r, VD_MODERN + 0x3000, 0, 2);
		rig_write(r, VD_COMMON(0x14), 0, 1);
		rig_write(r, DATA, 0xdeadbeef, 4);
		drive_drain(vd_disk);
		CHECK_EQ(rig_read(r, DATA, 4), 0xdeadbeef);
		CHECK_EQ(rig_read(r, VD_RING + 0x2002, 2), 0);
	}
}

/* The disk in the hands of an I/O thread. */

/* Others work for a moment, this thread's loop too. */
static void wait_a_bit(struct rig *r)
{
	machine_unlock();
	g_usleep(200);
	machine_lock();
	g_main_context_iteration(r->m.context, FALSE);
}

/*
 * Guest memory is looked at under the device's lock where the device is on the bench, so that a
 * sanitizer, which sees no fences of a ring, sees an order.
 */
static uint32_t count_used(struct rig *r)
{
	uint32_t n;

	if (!rig_user(r))
		return rig_read(r, VD_RING + 0x2002, 2);
	iothread_lock(vd_dev->iothread);
	n = rig_read(r, VD_RING + 0x2002, 2);
	iothread_unlock(vd_dev->iothread);
	return n;
}

static void wait_used(struct rig *r, uint16_t n)
{
	for (int i = 0; count_used(r) != n; i++) {
		CHECK(i < 20000);
		wait_a_bit(r);
	}
}

static void offer_read(struct rig *r, uint16_t n, uint32_t sector)
{
	put_header(r, 0, sector);
	vd_put_desc(r, VD_RING, 0, HEADER, 16, 1, 1);
	vd_put_desc(r, VD_RING, 1, DATA, 4096, 3, 2);
	vd_put_desc(r, VD_RING, 2, STATUS, 1, 2, 0);
	rig_write(r, VD_RING + 0x1004 + 2 * (n % VD_QUEUE), 0, 2);
	rig_write(r, VD_RING + 0x1002, n + 1u, 2);
	iothread_lock(vd_dev->iothread);
	iothread_unlock(vd_dev->iothread);
	rig_write(r, VD_MODERN + 0x3000, 0, 2);
}

static void add_threaded_disk(struct rig *r)
{
	CHECK(iothread_find("io0") || iothread_new("io0", NULL));
	vd_disk = rig_drive(r, DISK_BYTES, true, false);
	vd_add(r, "virtio-blk-pci", "iothread", "io0");
}

BENCH(virtio_iothread_moves_the_data)
{
	add_threaded_disk(r);
	vd_start(r, 0, 1);
	for (uint16_t i = 0; i < 40; i++) {
		offer_read(r, i, 8u * i);
		wait_used(r, i + 1);
		CHECK_EQ(rig_read(r, STATUS, 1), 0);
		CHECK_EQ(rig_read(r, DATA, 4), 8u * i);
	}
	for (int i = 0; i < 20000 && !vd_dev->isr; i++)
		wait_a_bit(r);
	CHECK_EQ(rig_read(r, VD_MODERN + 0x1000, 1), 1);
	CHECK_EQ(drive_get_stats(vd_disk).ops[DRIVE_READ], 40);
}

BENCH(virtio_iothread_waits_for_the_vm)
{
	uint16_t n = 0;

	add_threaded_disk(r);
	vd_start(r, 0, 1);
	for (uint32_t i = 0; i < 20; i++) {
		machine_start(&r->m);
		offer_read(r, n++, i);
		if (i & 1)
			wait_a_bit(r);
		machine_stop(&r->m, RUN_PAUSED);
		/* What has begun has ended; what comes now begins when the VM goes on. */
		if (count_used(r) == n) {
			CHECK_EQ(rig_read(r, DATA, 4), i);
			offer_read(r, n++, 1000);
		}
		for (int k = 0; k < 20; k++)
			wait_a_bit(r);
		CHECK_EQ(count_used(r), n - 1);
		machine_start(&r->m);
		wait_used(r, n);
		machine_stop(&r->m, RUN_PAUSED);
	}
}

BENCH(virtio_iothread_survives_resets)
{
	add_threaded_disk(r);
	for (unsigned i = 0; i < 100; i++) {
		vd_start(r, 0, 1);
		rig_write(r, VD_RING + 0x1000, 0, 4);
		rig_write(r, VD_RING + 0x2000, 0, 4);
		offer_read(r, 0, i);
		if (i % 3)
			wait_a_bit(r);
		rig_write(r, VD_COMMON(0x14), 0, 1);
		rig_write(r, DATA, 0xdeadbeef, 4);
		wait_a_bit(r);
		CHECK_EQ(rig_read(r, DATA, 4), 0xdeadbeef);
	}
}

/* A queue among its own registers, where its own lock is held. */
BENCH(virtio_iothread_keeps_to_ram)
{
	add_threaded_disk(r);
	vd_negotiate(r, 0);
	rig_write(r, VD_COMMON(0x18), VD_QUEUE, 2);
	rig_write(r, VD_COMMON(0x20), VD_MODERN, 4);
	rig_write(r, VD_COMMON(0x28), VD_MODERN + 0x3000, 4);
	rig_write(r, VD_COMMON(0x30), VD_MODERN + 0x1000, 4);
	rig_write(r, VD_COMMON(0x1c), 1, 2);
	rig_write(r, VD_COMMON(0x14), 15, 1);
	rig_write(r, VD_MODERN + 0x3000, 0, 2);
	for (int i = 0; i < 20000 && !(vd_status(r) & 0x40); i++)
		wait_a_bit(r);
	CHECK_EQ(vd_status(r) & 0x40, 0x40);
	rig_write(r, VD_COMMON(0x14), 0, 1);
	vd_start(r, 0, 1);
	offer_read(r, 0, 7);
	wait_used(r, 1);
}

/*
 * Under KVM: the kick ends in the kernel, the interrupt begins there. `prop`: who is between them,
 * an I/O thread or the main loop.
 */
static void kernel_does_both(struct rig *r, const char *prop, const char *value)
{
	uint64_t msix = UINT64_C(0xe0100000), lapic = UINT64_C(0xfee00000);

	vd_disk = rig_drive(r, DISK_BYTES, true, false);
	vd_add(r, "virtio-blk-pci", prop, value);
	rig_pci_write(r, VD_SLOT, 0, 0x14, (uint32_t)msix, 4);
	rig_write(r, lapic + 0xf0, 0x1ff, 4);
	/* Vector 0 is queue 0's; 0x61 at the local APIC, masked at first. */
	rig_write(r, msix, 0xfee00000, 4);
	rig_write(r, msix + 4, 0, 4);
	rig_write(r, msix + 8, 0x61, 4);
	rig_write(r, msix + 12, 1, 4);
	for (unsigned at = rig_pci_read(r, VD_SLOT, 0, 0x34, 1); at;
	     at = rig_pci_read(r, VD_SLOT, 0, at + 1, 1))
		if (rig_pci_read(r, VD_SLOT, 0, at, 1) == 0x11)
			rig_pci_write(r, VD_SLOT, 0, at + 2, 0x8000, 2);
	vd_negotiate(r, 0);
	vd_set_queue(r, 0);
	rig_write(r, VD_COMMON(0x1a), 0, 2);
	rig_write(r, VD_COMMON(0x14), 15, 1);
	CHECK(!(vd_dev->pci.irqfds_live & 1));
	offer_read(r, 0, 5);
	wait_used(r, 1);
	/* Masked, it is pending; then it comes. */
	for (int i = 0; i < 20000 && !(rig_read(r, msix + 0x800, 4) & 1); i++)
		wait_a_bit(r);
	CHECK_EQ(rig_read(r, msix + 0x800, 4) & 1, 1);
	CHECK_EQ(rig_read(r, lapic + 0x230, 4), 0);
	rig_write(r, msix + 12, 0, 4);
	CHECK_EQ(vd_dev->pci.irqfds_live & 1, 1);
	CHECK_EQ(rig_read(r, msix + 0x800, 4) & 1, 0);
	for (int i = 0; i < 20000 && !rig_read(r, lapic + 0x230, 4); i++)
		wait_a_bit(r);
	CHECK_EQ(rig_read(r, lapic + 0x230, 4), 2);
	/* The next straight away, to another vector. */
	rig_write(r, msix + 8, 0x62, 4);
	offer_read(r, 1, 6);
	wait_used(r, 2);
	CHECK_EQ(rig_read(r, DATA, 4), 6);
	for (int i = 0; i < 20000 && rig_read(r, lapic + 0x230, 4) != 6; i++)
		wait_a_bit(r);
	CHECK_EQ(rig_read(r, lapic + 0x230, 4), 6);
	CHECK_EQ(rig_read(r, VD_MODERN + 0x1000, 1), 0);
}

TEST(virtio_kernel_kicks_and_interrupts)
{
	struct rig *r = rig_new(RIG_KERNEL);

	kernel_does_both(r, NULL, NULL);
	CHECK(vd_dev->queues[0].kick_fd >= 0);
	rig_free(r);
}

TEST(virtio_kernel_kicks_and_interrupts_an_iothread)
{
	struct rig *r = rig_new(RIG_KERNEL);

	CHECK(iothread_new("io1", NULL));
	kernel_does_both(r, "iothread", "io1");
	rig_free(r);
}

TEST(virtio_kernel_without_ioeventfd)
{
	struct rig *r = rig_new(RIG_KERNEL);

	kernel_does_both(r, "ioeventfd", "off");
	CHECK(vd_dev->queues[0].kick_fd < 0);
	rig_free(r);
}

/* The card. */

static unsigned taken;
static uint8_t last_frame[2000];

static bool take_frame(void *opaque, const struct iovec *iov, int n)
{
	(void)opaque;
	taken++;
	iov_to(iov, n, 0, last_frame, sizeof(last_frame));
	return true;
}

static const struct net_ops peer_ops = { .take = take_frame };

BENCH(virtio_card_sends_receives_and_filters)
{
	struct net_port *card, *peer;
	uint8_t frame[60] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

	vd_disk = NULL;
	vd_add(r, "virtio-net-pci", "mac", "52:54:00:12:34:56");
	card = net_nth(0);
	peer = net_card_new(&r->m, "peer", NULL, &peer_ops, NULL, NULL);
	card->peer = peer;
	peer->peer = card;
	r->m.state = RUN_RUNNING;
	vd_negotiate(r, BIT64(5) | BIT64(17) | BIT64(18));
	for (unsigned i = 0; i < 3; i++)
		vd_set_queue(r, i);
	rig_write(r, VD_COMMON(0x14), 15, 1);
	/* Sent: the header goes, the frame stays. */
	vd_put_desc(r, VD_RING + 0x10000, 0, HEADER, 12, 1, 1);
	vd_put_desc(r, VD_RING + 0x10000, 1, DATA, 60, 0, 0);
	rig_write(r, DATA, 0x11223344, 4);
	rig_write(r, VD_RING + 0x11004, 0, 2);
	rig_write(r, VD_RING + 0x11002, 1, 2);
	rig_write(r, VD_MODERN + 0x3004, 1, 2);
	CHECK_EQ(taken, 1);
	CHECK_EQ(load_le(last_frame, 4), 0x11223344);
	CHECK_EQ(card->sent.bytes, 60);
	/* Received: without buffers it waits, and the sender is told. */
	CHECK(!net_send(peer, &(struct iovec) { frame, sizeof(frame) }, 1));
	CHECK(!net_may_send(peer));
	vd_put_desc(r, VD_RING, 0, DATA, 2000, 2, 0);
	rig_write(r, VD_RING + 0x1004, 0, 2);
	rig_write(r, VD_RING + 0x1002, 1, 2);
	rig_write(r, VD_MODERN + 0x3000, 0, 2);
	CHECK_EQ(rig_read(r, VD_RING + 0x2002, 2), 1);
	CHECK_EQ(rig_read(r, VD_RING + 0x2008, 4), 72);
	CHECK_EQ(rig_read(r, DATA + 12, 4), 0x12005452);
	CHECK(net_may_send(peer));
	/* PROMISC off by the control queue: another's frames are not for it. */
	rig_write(r, HEADER, 0x0000, 4);
	vd_put_desc(r, VD_RING + 0x20000, 0, HEADER, 3, 1, 1);
	vd_put_desc(r, VD_RING + 0x20000, 1, STATUS, 1, 2, 0);
	rig_write(r, STATUS, 0xaa, 1);
	rig_write(r, VD_RING + 0x21002, 1, 2);
	rig_write(r, VD_MODERN + 0x3008, 2, 2);
	CHECK_EQ(rig_read(r, STATUS, 1), 0);
	frame[5] = 0x57;
	rig_write(r, VD_RING + 0x1006, 0, 2);
	rig_write(r, VD_RING + 0x1002, 2, 2);
	CHECK(net_send(peer, &(struct iovec) { frame, sizeof(frame) }, 1));
	CHECK_EQ(rig_read(r, VD_RING + 0x2002, 2), 1);
	frame[5] = 0x56;
	CHECK(net_send(peer, &(struct iovec) { frame, sizeof(frame) }, 1));
	CHECK_EQ(rig_read(r, VD_RING + 0x2002, 2), 2);
}

/* The card and its network in the hands of an I/O thread. */

static int far_end; /* of a datagram network */

/* Buffer n of the receive queue. */
static void offer_buffer(struct rig *r, uint16_t n)
{
	iothread_lock(vd_dev->iothread);
	vd_put_desc(r, VD_RING, n % VD_QUEUE, VD_BUFFERS + 0x1000u * (n % VD_QUEUE), 2000, VD_WRITE,
		    0);
	rig_write(r, VD_RING + 0x1004 + 2u * (n % VD_QUEUE), n % VD_QUEUE, 2);
	rig_write(r, VD_RING + 0x1002, n + 1u, 2);
	iothread_unlock(vd_dev->iothread);
	vd_kick(r, 0);
}

/* Sends a frame of the driver's, the n-th. */
static void transmit(struct rig *r, const uint8_t *f, uint32_t len, uint16_t n)
{
	static const uint8_t header[12];

	iothread_lock(vd_dev->iothread);
	vd_put_bytes(r, DATA, header, sizeof(header));
	vd_put_bytes(r, DATA + sizeof(header), f, len);
	vd_put_desc(r, vd_table(1), 0, DATA, (uint32_t)sizeof(header) + len, 0, 0);
	rig_write(r, vd_table(1) + 0x1004 + 2u * (n % VD_QUEUE), 0, 2);
	rig_write(r, vd_table(1) + 0x1002, n + 1u, 2);
	iothread_unlock(vd_dev->iothread);
	vd_kick(r, 1);
}

static void add_threaded_card(struct rig *r, const char *netdev)
{
	CHECK(iothread_find("io2") || iothread_new("io2", NULL));
	CHECK(net_backend_new(&r->m, "-netdev", netdev, NULL));
	CHECK(device_add_global("virtio-net-pci.iothread=io2", NULL));
	vd_disk = NULL;
	vd_add(r, "virtio-net-pci", "netdev", "n");
	CHECK(net_find("n")->iothread == iothread_find("io2"));
	machine_start(&r->m);
	vd_start(r, BIT64(17), 3);
}

static void add_datagram_card(struct rig *r)
{
	g_autofree char *text = NULL;
	int fds[2];

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds));
	far_end = fds[0];
	text = g_strdup_printf("dgram,id=n,local.type=fd,local.str=%d", fds[1]);
	add_threaded_card(r, text);
}

BENCH(virtio_card_in_an_iothread_sends_and_receives)
{
	uint8_t f[200] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, back[2000];

	add_datagram_card(r);
	for (uint16_t n = 0; n < 100; n++) {
		uint32_t at = VD_BUFFERS + 0x1000u * (n % VD_QUEUE);

		if (n % 3)
			offer_buffer(r, n);
		f[20] = (uint8_t)n;
		CHECK_EQ(write(far_end, f, sizeof(f)), (ssize_t)sizeof(f));
		if (n % 3 == 0)
			offer_buffer(r, n);
		wait_used(r, n + 1);
		iothread_lock(vd_dev->iothread);
		CHECK_EQ(rig_read(r, at + 12 + 20, 1), n);
		iothread_unlock(vd_dev->iothread);
		f[20] = (uint8_t)~n;
		transmit(r, f, sizeof(f), n);
		for (int i = 0; recv(far_end, back, sizeof(back), MSG_DONTWAIT) < 0; i++) {
			CHECK(i < 20000);
			wait_a_bit(r);
		}
		CHECK_EQ(back[20], f[20]);
	}
	close(far_end);
}

BENCH(virtio_card_in_an_iothread_waits_for_the_vm)
{
	const uint8_t f[200] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	add_datagram_card(r);
	for (uint16_t n = 0; n < 20; n++) {
		machine_stop(&r->m, RUN_PAUSED);
		if (n & 1)
			offer_buffer(r, n);
		CHECK_EQ(write(far_end, f, sizeof(f)), (ssize_t)sizeof(f));
		for (int k = 0; k < 10; k++)
			wait_a_bit(r);
		CHECK_EQ(count_used(r), n);
		if (!(n & 1))
			offer_buffer(r, n);
		machine_start(&r->m);
		wait_used(r, n + 1);
	}
	/* Its wire is pulled meanwhile, and the network is asked about. */
	for (uint16_t n = 20; n < 60; n++) {
		struct net_port *p = net_find("n");

		offer_buffer(r, n);
		iothread_lock(p->iothread);
		net_set_link(p, false);
		net_set_link(p, true);
		CHECK_EQ(p->sent.frames, n);
		iothread_unlock(p->iothread);
		CHECK_EQ(write(far_end, f, sizeof(f)), (ssize_t)sizeof(f));
		wait_used(r, n + 1);
	}
	close(far_end);
}

BENCH(virtio_card_in_an_iothread_on_the_user_network)
{
	/* Who has 10.0.2.2? */
	static const uint8_t ask[42] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,
					 0x12, 0x34, 0x56, 8,	 6,    0,    1,	   8,	 0,
					 6,    4,    0,	   1,	 0x52, 0x54, 0,	   0x12, 0x34,
					 0x56, 10,   0,	   2,	 15,   0,    0,	   0,	 0,
					 0,    0,    10,   0,	 2,    2 };

	add_threaded_card(r, "user,id=n");
	for (uint16_t n = 0; n < 50; n++) {
		uint32_t at = VD_BUFFERS + 0x1000u * (n % VD_QUEUE);

		offer_buffer(r, n);
		transmit(r, ask, sizeof(ask), n);
		wait_used(r, n + 1);
		iothread_lock(vd_dev->iothread);
		CHECK_EQ(rig_read(r, at + 12 + 28, 4), 0x0202000a);
		iothread_unlock(vd_dev->iothread);
	}
}

/* Several pairs of queues, of which the driver chooses some. */

static uint8_t control(struct rig *r, unsigned queue, const uint8_t *bytes, uint32_t len)
{
	static uint16_t n;
	uint16_t used = vd_used(r, queue);

	vd_put_bytes(r, HEADER, bytes, len);
	rig_write(r, STATUS, 0xaa, 1);
	vd_put_desc(r, vd_table(queue), 0, HEADER, len, VD_NEXT, 1);
	vd_put_desc(r, vd_table(queue), 1, STATUS, 1, VD_WRITE, 0);
	if (!used)
		n = 0;
	rig_write(r, vd_table(queue) + 0x1004 + 2u * (n % VD_QUEUE), 0, 2);
	rig_write(r, vd_table(queue) + 0x1002, ++n, 2);
	vd_kick(r, queue);
	CHECK_EQ(vd_used(r, queue), (uint16_t)(used + 1));
	return (uint8_t)rig_read(r, STATUS, 1);
}

/* One buffer for a receive queue. */
static void offer_room(struct rig *r, unsigned queue)
{
	vd_put_desc(r, vd_table(queue), 0, DATA + 0x1000 * queue, 2000, VD_WRITE, 0);
	rig_write(r, vd_table(queue) + 0x1004, 0, 2);
	rig_write(r, vd_table(queue) + 0x1002, 1, 2);
	vd_kick(r, queue);
}

BENCH(virtio_card_has_pairs_of_queues)
{
	static const uint8_t two[] = { 4, 0, 2, 0 }, four[] = { 4, 0, 4, 0 };
	uint8_t f[60] = {
		[12] = 8, [14] = 0x45, [23] = 6, [29] = 7, [33] = 9, [35] = 80, [37] = 5
	};

	CHECK(net_backend_new(&r->m, "-netdev", "hubport,id=h,hubid=7,queues=3", NULL));
	CHECK(device_add_global("virtio-net-pci.mq=on", NULL));
	vd_disk = NULL;
	vd_add(r, "virtio-net-pci", "netdev", "h");
	r->m.state = RUN_RUNNING;
	CHECK_EQ(rig_read(r, VD_COMMON(0x12), 2), 7);
	CHECK_EQ(rig_read(r, VD_CONFIG(8), 2), 3);
	vd_start(r, BIT64(17) | BIT64(22), 7);
	CHECK_EQ(control(r, 6, four, sizeof(four)), 1);
	CHECK_EQ(control(r, 6, two, sizeof(two)), 0);
	offer_room(r, 0);
	offer_room(r, 2);
	/* A conversation that the guest has on its second pair is answered there. */
	rig_write(r, DATA, 0, 4);
	vd_put_bytes(r, DATA + 12, f, sizeof(f));
	vd_put_desc(r, vd_table(3), 0, DATA, 12 + sizeof(f), 0, 0);
	vd_offer(r, 3, 0);
	CHECK_EQ(vd_used(r, 3), 1);
	CHECK(net_send(net_find("h"), &(struct iovec) { f, sizeof(f) }, 1));
	CHECK_EQ(vd_used(r, 2), 1);
	CHECK_EQ(vd_used(r, 0), 0);
	f[37] = 6;
	CHECK(net_send(net_find("h"), &(struct iovec) { f, sizeof(f) }, 1));
	CHECK_EQ(vd_used(r, 0), 1);
	/* A driver that knows of one pair finds the control queue behind it. */
	vd_start(r, BIT64(17), 3);
	CHECK_EQ(control(r, 2, two, sizeof(two)), 1);
}

/* What the driver leaves to do is done for a peer that does not take it; and the other way. */
static unsigned pieces;
static struct net_hdr last_header;

static bool take_piece(void *opaque, const struct iovec *iov, int n)
{
	(void)opaque;
	pieces++;
	iov_to(iov, n, 0, last_frame, sizeof(last_frame));
	return true;
}

static const struct net_ops piece_ops = { .take = take_piece };

BENCH(virtio_card_offloads)
{
	static const uint8_t none[] = { 5, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	/* 3000 bytes of data behind headers of 54, to be cut at 1000. */
	static const struct net_hdr h = { NET_NEEDS_CSUM, NET_GSO_TCPV4, 54, 1000, 34, 16 };
	uint8_t raw[12] = { 0 }, f[54 + 3000] = { [12] = 8, [14] = 0x45, [23] = 6, [46] = 0x50 };
	struct net_port *card, *peer;

	vd_disk = NULL;
	vd_add(r, "virtio-net-pci", NULL, NULL);
	card = net_nth(0);
	peer = net_card_new(&r->m, "peer", NULL, &piece_ops, NULL, NULL);
	card->peer = peer;
	peer->peer = card;
	r->m.state = RUN_RUNNING;
	vd_start(r, BIT64(0) | BIT64(1) | BIT64(2) | BIT64(7) | BIT64(11) | BIT64(15) | BIT64(17),
		 3);
	CHECK_EQ(net_peer_takes(peer), NET_TAKES_CSUM | NET_TAKES_TSO4);
	net_hdr_store(&h, raw);
	vd_put_bytes(r, DATA, raw, sizeof(raw));
	vd_put_bytes(r, DATA + sizeof(raw), f, sizeof(f));
	vd_put_desc(r, vd_table(1), 0, DATA, sizeof(raw) + sizeof(f), 0, 0);
	vd_offer(r, 1, 0);
	CHECK_EQ(pieces, 3);
	CHECK_EQ(last_frame[17], (40 + 1000) & 0xff);
	/* Whole to the guest, over two buffers of 2000; then it wants that no more. */
	for (uint16_t i = 0; i < 2; i++) {
		vd_put_desc(r, vd_table(0), i, VD_BUFFERS + 0x8000 + 0x1000u * i, 2000, VD_WRITE,
			    0);
		rig_write(r, vd_table(0) + 0x1004 + 2u * i, i, 2);
	}
	rig_write(r, vd_table(0) + 0x1002, 2, 2);
	vd_kick(r, 0);
	CHECK(net_send_unfinished(peer, &h, &(struct iovec) { f, sizeof(f) }, 1));
	CHECK_EQ(vd_used(r, 0), 2);
	vd_get_bytes(r, VD_BUFFERS + 0x8000, raw, sizeof(raw));
	net_hdr_load(&last_header, raw);
	CHECK(!memcmp(&last_header, &h, sizeof(h)));
	CHECK_EQ(raw[10], 2);
	CHECK_EQ(control(r, 2, none, sizeof(none)), 0);
	CHECK_EQ(net_peer_takes(peer), 0);
}
