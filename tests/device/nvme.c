/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVM Express 1.4, register by register and command by command. */
#include "core/device.h"
#include "hw/pci/pci.h"
#include "tests/lib/rig.h"

#define SLOT 5
#define BAR UINT64_C(0xe0000000)
#define ASQ 0x100000u
#define ACQ 0x101000u
#define SQ 0x102000u
#define CQ 0x104000u
#define LIST 0x106000u
#define DATA 0x200000u
#define DISK_BYTES (4 * MIB)

static struct drive *disk;
static struct {
	unsigned tail, head;
	bool phase;
} at[2]; /* the admin queues and pair 1, of 16 entries */

static void add(struct rig *r)
{
	struct device *d = device_new(&r->m, device_find("nvme", NULL), NULL);

	disk = rig_drive(r, DISK_BYTES, true, false);
	pci_set_devfn(d, SLOT, 0);
	CHECK(device_set(d, "drive", disk->id, NULL) && device_set(d, "serial", "abc", NULL));
	CHECK(device_realize(d, &r->pc->host->bus.bus, NULL));
	machine_reset(&r->m);
	rig_pci_write(r, SLOT, 0, 0x10, (uint32_t)BAR, 4);
	rig_pci_write(r, SLOT, 0, 4, 6, 2);
}

static uint32_t status(struct rig *r)
{
	return rig_read(r, BAR + 0x1c, 4);
}

static void enable(struct rig *r)
{
	rig_write(r, BAR + 0x24, 15 << 16 | 15, 4);
	rig_write(r, BAR + 0x28, ASQ, 4);
	rig_write(r, BAR + 0x30, ACQ, 4);
	rig_write(r, BAR + 0x14, 0x00460001, 4);
	CHECK_EQ(status(r), 1);
	memset(at, 0, sizeof(at));
	at[0].phase = at[1].phase = true;
}

struct command {
	uint8_t op;
	uint32_t nsid;
	uint64_t prp1, prp2;
	uint32_t d10, d11, d12;
};

static uint32_t result;

/* Runs a command of pair q and returns its status. */
static unsigned run(struct rig *r, unsigned q, struct command c)
{
	uint8_t e[64] = { c.op, 0, 0x34, 0x12 }, done[16];
	uint32_t sq = q ? SQ : ASQ, cq = q ? CQ : ACQ;

	store_le(e + 4, c.nsid, 4);
	store_le(e + 24, c.prp1, 8);
	store_le(e + 32, c.prp2, 8);
	store_le(e + 40, c.d10, 4);
	store_le(e + 44, c.d11, 4);
	store_le(e + 48, c.d12, 4);
	space_write(&r->m.mem, sq + 64 * at[q].tail, e, sizeof(e));
	at[q].tail = (at[q].tail + 1) % 16;
	rig_write(r, BAR + 0x1000 + 8 * q, at[q].tail, 4);
	drive_drain(disk);
	space_read(&r->m.mem, cq + 16 * at[q].head, done, sizeof(done));
	CHECK_EQ(done[14] & 1, at[q].phase);
	CHECK_EQ(load_le(done + 8, 2), at[q].tail);
	CHECK_EQ(load_le(done + 12, 2), 0x1234);
	result = (uint32_t)load_le(done, 4);
	at[q].head = (at[q].head + 1) % 16;
	at[q].phase ^= !at[q].head;
	rig_write(r, BAR + 0x1004 + 8 * q, at[q].head, 4);
	return (unsigned)load_le(done + 14, 2) >> 1 & 0x7ff;
}

#define RUN(q, ...) run(r, q, (struct command) { __VA_ARGS__ })

static void make_pair(struct rig *r)
{
	CHECK_EQ(RUN(0, 0x05, 0, CQ, .d10 = 15 << 16 | 1, .d11 = 1 << 16 | 3), 0);
	CHECK_EQ(RUN(0, 0x01, 0, SQ, .d10 = 15 << 16 | 1, .d11 = 1 << 16 | 1), 0);
}

BENCH(nvme_registers)
{
	add(r);
	CHECK_EQ(rig_pci_read(r, SLOT, 0, 8, 4), 0x01080202);
	CHECK_EQ(rig_read(r, BAR, 4), 0x0f0107ff);
	CHECK_EQ(rig_read(r, BAR + 4, 4), 0x00400020);
	CHECK_EQ(rig_read(r, BAR + 8, 4), 0x00010400);
	rig_write(r, BAR + 0x0c, 5, 4);
	rig_write(r, BAR + 0x10, 1, 4);
	CHECK_EQ(rig_read(r, BAR + 0x0c, 4), 4);
	rig_write(r, BAR + 0x14, 1, 4); /* no queues */
	CHECK_EQ(status(r) & 3, 2);
	rig_write(r, BAR + 0x14, 0, 4);
	CHECK_EQ(status(r), 0);
	enable(r);
}

BENCH(nvme_identify)
{
	char text[32] = { 0 };

	add(r);
	enable(r);
	CHECK_EQ(RUN(0, 0x06, 0, DATA, .d10 = 1), 0);
	space_read(&r->m.mem, DATA + 4, text, 20);
	CHECK_STR(text, "abc                 ");
	CHECK_EQ(rig_read(r, DATA + 516, 4), 1);
	CHECK_EQ(RUN(0, 0x06, 1, DATA, .d10 = 0), 0);
	CHECK_EQ(rig_read(r, DATA, 4), DISK_BYTES / 512);
	CHECK_EQ(rig_read(r, DATA + 130, 1), 9);
	CHECK_EQ(RUN(0, 0x06, 0, DATA, .d10 = 2), 0);
	CHECK_EQ(rig_read(r, DATA, 4), 1);
	CHECK_EQ(RUN(0, 0x06, 2, DATA, .d10 = 0), 0x0b); /* no such namespace */
	CHECK_EQ(RUN(0, 0x7f, 0, DATA), 0x01);
	/* Over the end of a page, by both pointers. */
	CHECK_EQ(RUN(0, 0x06, 0, DATA + 0xf00, DATA + 0x4000, .d10 = 1), 0);
	CHECK_EQ(rig_read(r, DATA + 0x4000 + 516 - 0x100, 4), 1);
}

BENCH(nvme_reads_and_writes)
{
	uint8_t b[8];

	add(r);
	enable(r);
	make_pair(r);
	CHECK_EQ(RUN(1, 0x02, 1, DATA, .d10 = 7, .d12 = 1), 0);
	CHECK_EQ(rig_read(r, DATA, 4), 7);
	CHECK_EQ(rig_read(r, DATA + 512, 4), 8);
	rig_write(r, DATA, 0x12345678, 4);
	CHECK_EQ(RUN(1, 0x01, 1, DATA, .d10 = 20, .d12 = 1u << 30), 0);
	CHECK(block_read(disk->block, 20 * 512, b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 0x12345678);
	CHECK_EQ(RUN(1, 0x00, 1), 0);
	/* A list of pages: 64 KiB. */
	for (unsigned i = 0; i < 15; i++) {
		rig_write(r, LIST + 8 * i, DATA + 0x2000 * (i + 1), 4);
		rig_write(r, LIST + 8 * i + 4, 0, 4);
	}
	CHECK_EQ(RUN(1, 0x02, 1, DATA, LIST, .d10 = 256, .d12 = 127), 0);
	CHECK_EQ(rig_read(r, DATA + 0x2000 * 15, 4), 256 + 8 * 15);
	/* One that begins at its page's end and leads to another; pages in no order. */
	for (unsigned i = 0; i < 128; i++) {
		uint32_t entry = i ? LIST + 0x1000 + 8 * (i - 1) : LIST + 0xff0;

		rig_write(r, entry, DATA + 0x1000 * (i ^ 1), 4);
		rig_write(r, entry + 4, 0, 4);
	}
	rig_write(r, LIST + 0xff8, LIST + 0x1000, 4);
	rig_write(r, LIST + 0xffc, 0, 4);
	CHECK_EQ(RUN(1, 0x02, 1, DATA + 0x100000, LIST + 0xff0, .d10 = 0, .d12 = 1023), 0);
	CHECK_EQ(rig_read(r, DATA + 0x100000, 4), 0);
	for (unsigned i = 0; i < 127; i++)
		CHECK_EQ(rig_read(r, DATA + 0x1000 * (i ^ 1), 4), 8 * (i + 1));
	CHECK_EQ(RUN(1, 0x02, 1, DATA, .d10 = DISK_BYTES / 512 - 1, .d12 = 1), 0x80);
	CHECK_EQ(RUN(1, 0x02, 1, DATA, .d11 = UINT32_MAX), 0x80);
	CHECK_EQ(RUN(1, 0x02, 2, DATA), 0x0b);
	CHECK_EQ(RUN(1, 0x02, 1, DATA, LIST + 3, .d12 = 15), 0x04);
	CHECK_EQ(RUN(1, 0x02, 1, 0xf0000000), 0x04);
}

BENCH(nvme_compare_zero_and_deallocate)
{
	uint8_t b[8];

	add(r);
	enable(r);
	make_pair(r);
	CHECK_EQ(RUN(1, 0x02, 1, DATA, .d10 = 30), 0);
	CHECK_EQ(RUN(1, 0x05, 1, DATA, .d10 = 30), 0);
	CHECK_EQ(RUN(1, 0x05, 1, DATA, .d10 = 31), 0x285);
	CHECK_EQ(RUN(1, 0x08, 1, 0, .d10 = 40, .d12 = 3), 0);
	CHECK(block_read(disk->block, 43 * 512, b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 0);
	CHECK(block_read(disk->block, 44 * 512, b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 44);
	rig_write(r, DATA + 4, 8, 4);
	rig_write(r, DATA + 8, 100, 4);
	rig_write(r, DATA + 12, 0, 4);
	rig_write(r, DATA + 20, 8, 4);
	rig_write(r, DATA + 24, 200, 4);
	rig_write(r, DATA + 28, 0, 4);
	CHECK_EQ(RUN(1, 0x09, 1, DATA, .d10 = 1, .d11 = 4), 0);
	CHECK(block_read(disk->block, 200 * 512, b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 0);
	rig_write(r, DATA + 24, 0x7fffffff, 4);
	CHECK_EQ(RUN(1, 0x09, 1, DATA, .d10 = 1, .d11 = 4), 0x80);
}

BENCH(nvme_queues_are_checked)
{
	add(r);
	enable(r);
	CHECK_EQ(RUN(0, 0x01, 0, SQ, .d10 = 15 << 16 | 1, .d11 = 1 << 16 | 1), 0x100);
	CHECK_EQ(RUN(0, 0x05, 0, CQ, .d10 = 15 << 16 | 99, .d11 = 3), 0x101);
	CHECK_EQ(RUN(0, 0x05, 0, CQ, .d10 = 1, .d11 = 3), 0x102);
	CHECK_EQ(RUN(0, 0x05, 0, CQ, .d10 = 15 << 16 | 1, .d11 = 99 << 16 | 3), 0x108);
	CHECK_EQ(RUN(0, 0x05, 0, CQ + 8, .d10 = 15 << 16 | 1, .d11 = 3), 0x02);
	make_pair(r);
	CHECK_EQ(RUN(0, 0x04, 0, .d10 = 1), 0x10c); /* somebody uses it */
	CHECK_EQ(RUN(0, 0x00, 0, .d10 = 1), 0);
	CHECK_EQ(RUN(0, 0x04, 0, .d10 = 1), 0);
	CHECK_EQ(RUN(0, 0x04, 0, .d10 = 1), 0x101);
}

BENCH(nvme_features_logs_and_events)
{
	add(r);
	enable(r);
	CHECK_EQ(RUN(0, 0x09, 0, .d10 = 7, .d11 = 0x00ff00ff), 0);
	CHECK_EQ(result, 0x000f000f);
	CHECK_EQ(RUN(0, 0x0a, 0, .d10 = 6), 0);
	CHECK_EQ(result, 1);
	CHECK_EQ(RUN(0, 0x09, 0, .d10 = 6, .d11 = 0), 0);
	CHECK_EQ(RUN(0, 0x0a, 0, .d10 = 6), 0);
	CHECK_EQ(result, 0);
	CHECK_EQ(RUN(0, 0x0a, 0, .d10 = 0x99), 0x02);
	CHECK_EQ(RUN(0, 0x02, 0, DATA, .d10 = 127 << 16 | 2), 0);
	CHECK_EQ(rig_read(r, DATA + 3, 1), 100);
	CHECK_EQ(RUN(0, 0x02, 0, DATA, .d10 = 127 << 16 | 0x99), 0x109);
	/* An event waits until the namespace grows. */
	CHECK_EQ(RUN(0, 0x09, 0, .d10 = 11, .d11 = 0x100), 0);
	rig_write(r, ASQ + 64 * at[0].tail, 0x1234000c, 4);
	at[0].tail++;
	rig_write(r, BAR + 0x1000, at[0].tail, 4);
	CHECK_EQ(rig_read(r, ACQ + 16 * at[0].head + 14, 2) & 1, 0);
	CHECK(drive_resize(disk, 2 * DISK_BYTES, NULL));
	CHECK_EQ(rig_read(r, ACQ + 16 * at[0].head, 4), 0x00040002);
	CHECK_EQ(rig_read(r, ACQ + 16 * at[0].head + 14, 2) & 1, 1);
}

BENCH(nvme_interrupts_and_shutdown)
{
	add(r);
	enable(r);
	rig_write(r, BAR + 0x0c, 1, 4);
	RUN(0, 0x06, 0, DATA, .d10 = 1);
	CHECK(!(rig_pci_read(r, SLOT, 0, 6, 2) & PCI_STATUS_INTERRUPT));
	/* One that is not taken yet holds the line. */
	rig_write(r, BAR + 0x10, 1, 4);
	rig_write(r, ASQ + 64 * at[0].tail, 0x06, 4);
	rig_write(r, BAR + 0x1000, at[0].tail + 1, 4);
	CHECK(rig_pci_read(r, SLOT, 0, 6, 2) & PCI_STATUS_INTERRUPT);
	rig_write(r, BAR + 0x1004, at[0].head + 1, 4);
	CHECK(!(rig_pci_read(r, SLOT, 0, 6, 2) & PCI_STATUS_INTERRUPT));
	rig_write(r, BAR + 0x14, 0x00464001, 4);
	drive_drain(disk);
	CHECK_EQ(status(r), 1 | 2 << 2);
	rig_write(r, BAR + 0x14, 0, 4);
	CHECK_EQ(status(r), 0);
}

/* Nothing is fetched while its completion would have no place. */
BENCH(nvme_a_full_completion_queue_holds_commands_back)
{
	unsigned n = 0;

	add(r);
	enable(r);
	for (unsigned i = 0; i < 16; i++) {
		uint8_t e[64] = { 0x0a, [40] = 6 };

		space_write(&r->m.mem, ASQ + 64 * i, e, sizeof(e));
	}
	rig_write(r, BAR + 0x1000, 15, 4);
	rig_write(r, BAR + 0x1000, 2, 4); /* round the corner: 18 in all */
	for (unsigned i = 0; i < 16; i++)
		n += rig_read(r, ACQ + 16 * i + 14, 2) & 1;
	CHECK_EQ(n, 15);
	rig_write(r, BAR + 0x1004, 15, 4);
	CHECK_EQ(rig_read(r, ACQ + 16 * 15 + 14, 2) & 1, 1);
	CHECK_EQ(rig_read(r, ACQ + 14, 2) & 1, 0);
}
