/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio SCSI adapter (VIRTIO 1.2, 5.6) and its units (SPC-4, SBC-3, MMC-5). */
#include "hw/scsi/scsi.h"

#include "tests/lib/vdriver.h"

#define DISK_BYTES (4 * MIB)
#define REQUESTS 2
#define HEAD VD_BUFFERS
#define RESPONSE (VD_BUFFERS + 0x1000)
#define DATA (VD_BUFFERS + 0x2000)

static struct drive *disk;

static void add_unit(struct rig *r, const char *type, const char *lun, struct drive *d)
{
	struct device *u = device_new(&r->m, device_find(type, NULL), NULL);

	CHECK(device_set(u, "drive", d->id, NULL) && device_set(u, "scsi-id", "3", NULL) &&
	      device_set(u, "lun", lun, NULL));
	CHECK(device_realize(u, machine_find_bus(&r->m, "SCSI", NULL), NULL));
}

/* Target 3: a disk, and a CD-ROM at LUN 1. */
static void add_adapter(struct rig *r)
{
	vd_disk = NULL;
	disk = rig_drive(r, DISK_BYTES, true, false);
	vd_add(r, "virtio-scsi-pci", NULL, NULL);
	add_unit(r, "scsi-hd", "0", disk);
	vd_disk = rig_drive(r, DISK_BYTES, false, true);
	add_unit(r, "scsi-cd", "1", vd_disk);
	machine_reset(&r->m);
	rig_pci_write(r, VD_SLOT, 0, 0x20, (uint32_t)VD_MODERN, 4);
	rig_pci_write(r, VD_SLOT, 0, 4, 7, 2);
	vd_start(r, BIT64(2), 3);
}

struct answer {
	uint8_t response, status, key;
	uint16_t asc;
	uint32_t residual;
};

static struct answer command_at(struct rig *r, unsigned target, unsigned lun, const uint8_t *cdb,
				size_t cdb_len, uint32_t out, uint32_t in)
{
	uint8_t head[51] = { 1, (uint8_t)target, 0x40, (uint8_t)lun }, b[108];
	unsigned n = 0;

	memcpy(head + 19, cdb, cdb_len);
	vd_put_bytes(r, HEAD, head, sizeof(head));
	vd_put_desc(r, vd_table(REQUESTS), n, HEAD, sizeof(head), VD_NEXT, 1);
	n++;
	if (out) {
		vd_put_desc(r, vd_table(REQUESTS), n, DATA, out, VD_NEXT, 2);
		n++;
	}
	vd_put_desc(r, vd_table(REQUESTS), n, RESPONSE, sizeof(b), VD_WRITE | (in ? VD_NEXT : 0),
		    (uint16_t)(n + 1));
	if (in)
		vd_put_desc(r, vd_table(REQUESTS), n + 1, DATA, in, VD_WRITE, 0);
	vd_offer(r, REQUESTS, 0);
	drive_drain(disk);
	vd_get_bytes(r, RESPONSE, b, sizeof(b));
	return (struct answer) { b[11], b[10], load_le(b, 4) ? b[12 + 2] & 15 : 0,
				 load_le(b, 4) ? be16(b + 12 + 12) : 0,
				 (uint32_t)load_le(b + 4, 4) };
}

#define COMMAND(r, lun, out, in, ...)                                                              \
	command_at(r, 3, lun, (const uint8_t[]) { __VA_ARGS__ },                                   \
		   sizeof((const uint8_t[]) { __VA_ARGS__ }), out, in)
#define CHECK_GOOD(got)                                                                            \
	do {                                                                                       \
		struct answer a_ = (got);                                                          \
		CHECK_EQ(a_.response, 0);                                                          \
		CHECK_EQ(a_.status, 0);                                                            \
	} while (0)
#define CHECK_SENSE(got, want_key, want_asc)                                                       \
	do {                                                                                       \
		struct answer a_ = (got);                                                          \
		CHECK_EQ(a_.response, 0);                                                          \
		CHECK_EQ(a_.status, SCSI_CHECK_CONDITION);                                         \
		CHECK_EQ(a_.key, want_key);                                                        \
		CHECK_EQ(a_.asc, want_asc);                                                        \
	} while (0)

/* The unit attention after power on is told once. */
static void power_on(struct rig *r)
{
	CHECK_SENSE(COMMAND(r, 0, 0, 0, 0), SENSE_UNIT_ATTENTION, ASC_POWER_ON);
	CHECK_GOOD(COMMAND(r, 0, 0, 0, 0));
	COMMAND(r, 1, 0, 0, 0);
}

BENCH(scsi_units_are_found_by_target_and_lun)
{
	uint8_t b[64];
	struct answer a;

	add_adapter(r);
	power_on(r);
	CHECK_GOOD(COMMAND(r, 0, 0, 36, 0x12, 0, 0, 0, 36));
	vd_get_bytes(r, DATA, b, 36);
	CHECK_EQ(b[0], 0);
	CHECK(!memcmp(b + 8, "MOA     MOA HARDDISK", 20));
	CHECK_GOOD(COMMAND(r, 1, 0, 36, 0x12, 0, 0, 0, 36));
	CHECK_EQ(rig_read(r, DATA, 1), 5);
	/* A LUN that is not there, of a target that is. */
	CHECK_GOOD(COMMAND(r, 2, 0, 36, 0x12, 0, 0, 0, 36));
	CHECK_EQ(rig_read(r, DATA, 1), 0x7f);
	CHECK_SENSE(COMMAND(r, 2, 0, 0, 0), SENSE_ILLEGAL_REQUEST, ASC_NO_SUCH_LUN);
	a = command_at(r, 4, 0, (const uint8_t[]) { 0 }, 1, 0, 0);
	CHECK_EQ(a.response, 3); /* bad target */
	CHECK_GOOD(COMMAND(r, 0, 0, 64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64));
	vd_get_bytes(r, DATA, b, 64);
	CHECK_EQ(be32(b), 16);
	CHECK_EQ(b[9], 0);
	CHECK_EQ(b[17], 1);
}

BENCH(scsi_reads_and_writes_with_each_length_of_command)
{
	uint8_t b[8];

	add_adapter(r);
	power_on(r);
	CHECK_GOOD(COMMAND(r, 0, 0, 512, 0x08, 0, 0, 7, 1));
	CHECK_EQ(rig_read(r, DATA, 4), 7);
	CHECK_GOOD(COMMAND(r, 0, 0, 1024, 0x28, 0, 0, 0, 1, 0, 0, 0, 2));
	CHECK_EQ(rig_read(r, DATA + 512, 4), 257);
	CHECK_GOOD(COMMAND(r, 0, 0, 512, 0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 1));
	CHECK_EQ(rig_read(r, DATA, 4), 9);
	CHECK_GOOD(COMMAND(r, 0, 0, 512, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 1));
	CHECK_EQ(rig_read(r, DATA, 4), 10);
	rig_write(r, DATA, 0x12345678, 4);
	CHECK_GOOD(COMMAND(r, 0, 512, 0, 0x2a, 0x08, 0, 0, 0, 20, 0, 0, 1));
	CHECK(block_read(disk->block, 20 * 512, b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 0x12345678);
	CHECK_GOOD(COMMAND(r, 0, 512, 0, 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 21, 0, 0, 0, 1));
	CHECK(block_read(disk->block, 21 * 512, b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 0x12345678);
	CHECK_GOOD(COMMAND(r, 0, 0, 0, 0x35));
	CHECK_GOOD(COMMAND(r, 0, 0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32));
	vd_get_bytes(r, DATA, b, 8);
	CHECK_EQ(be64(b), DISK_BYTES / 512 - 1);
}

BENCH(scsi_refuses_what_is_not_on_the_disk_or_makes_no_sense)
{
	struct answer a;

	add_adapter(r);
	power_on(r);
	CHECK_SENSE(COMMAND(r, 0, 0, 1024, 0x28, 0, 0, 0, 0x1f, 0xff, 0, 0, 2),
		    SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	CHECK_SENSE(COMMAND(r, 0, 0, 512, 0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			    0, 0, 0, 1),
		    SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	CHECK_SENSE(COMMAND(r, 0, 0, 0, 0xff), SENSE_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
	CHECK_SENSE(COMMAND(r, 0, 0, 255, 0x12, 1, 0x77, 0, 255), SENSE_ILLEGAL_REQUEST,
		    ASC_INVALID_FIELD);
	a = COMMAND(r, 0, 0, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 2);
	CHECK_EQ(a.response, 1); /* overrun */
	CHECK_EQ(a.residual, 512);
}

BENCH(scsi_unmap_and_write_same)
{
	uint8_t list[40] = { 0, 38, 0, 32 }, b[512];

	add_adapter(r);
	power_on(r);
	put_be64(list + 8, 100);
	put_be32(list + 16, 8);
	put_be64(list + 24, 200);
	put_be32(list + 32, 8);
	vd_put_bytes(r, DATA, list, sizeof(list));
	CHECK_GOOD(COMMAND(r, 0, 40, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 40));
	for (unsigned i = 0; i < 2; i++) {
		CHECK(block_read(disk->block, 512 * (i ? 207 : 100), b, 4) == 0);
		CHECK_EQ(load_le(b, 4), 0);
	}
	put_be64(list + 24, 1u << 30);
	vd_put_bytes(r, DATA, list, sizeof(list));
	CHECK_SENSE(COMMAND(r, 0, 40, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 40), SENSE_ILLEGAL_REQUEST,
		    ASC_LBA_OUT_OF_RANGE);
	/* A pattern longer than the buffer of copies. */
	memset(b, 0x5a, sizeof(b));
	vd_put_bytes(r, DATA, b, sizeof(b));
	CHECK_GOOD(COMMAND(r, 0, 512, 0, 0x41, 0, 0, 0, 0, 50, 0, 2, 0));
	CHECK(block_read(disk->block, 512 * (50 + 511), b, 512) == 0);
	CHECK_EQ(b[511], 0x5a);
	CHECK(block_read(disk->block, 512 * (50 + 512), b, 4) == 0);
	CHECK_EQ(load_le(b, 4), 562);
}

BENCH(scsi_mode_pages_have_the_cache_switch)
{
	static const uint8_t off[24] = { 0, 0, 0, 0, 0x08, 18 };
	uint8_t b[64];

	add_adapter(r);
	power_on(r);
	CHECK_GOOD(COMMAND(r, 0, 0, 64, 0x1a, 8, 0x08, 0, 64));
	vd_get_bytes(r, DATA, b, 64);
	CHECK_EQ(b[0], 23);
	CHECK_EQ(b[4], 0x08);
	CHECK_EQ(b[6], 4);
	vd_put_bytes(r, DATA, off, sizeof(off));
	CHECK_GOOD(COMMAND(r, 0, 24, 0, 0x15, 0x10, 0, 0, 24));
	CHECK_GOOD(COMMAND(r, 0, 0, 64, 0x5a, 8, 0x3f, 0, 0, 0, 0, 0, 64));
	vd_get_bytes(r, DATA, b, 64);
	CHECK_EQ(be16(b), 6 + 12 + 20 + 12);
	CHECK_EQ(b[8 + 12 + 2], 0);
	CHECK_SENSE(COMMAND(r, 0, 0, 64, 0x1a, 8, 0xc8, 0, 64), SENSE_ILLEGAL_REQUEST,
		    ASC_NO_SAVED_PAGES);
	rig_write(r, DATA + 4, 0x1203, 2); /* no such page */
	CHECK_SENSE(COMMAND(r, 0, 24, 0, 0x15, 0x10, 0, 0, 24), SENSE_ILLEGAL_REQUEST,
		    ASC_INVALID_PARAMETER);
}

BENCH(scsi_cdrom_reads_sectors_of_2048_bytes)
{
	uint8_t b[8];

	add_adapter(r);
	power_on(r);
	CHECK_GOOD(COMMAND(r, 1, 0, 8, 0x25));
	vd_get_bytes(r, DATA, b, 8);
	CHECK_EQ(be32(b), DISK_BYTES / 2048 - 1);
	CHECK_EQ(be32(b + 4), 2048);
	CHECK_GOOD(COMMAND(r, 1, 0, 4096, 0x28, 0, 0, 0, 0, 10, 0, 0, 2));
	CHECK_EQ(rig_read(r, DATA, 4), 40);
	CHECK_EQ(rig_read(r, DATA + 2048, 4), 44);
	CHECK_GOOD(COMMAND(r, 1, 0, 0, 0x1b, 0, 0, 0, 2));
	CHECK_SENSE(COMMAND(r, 1, 0, 0, 0), SENSE_NOT_READY, ASC_NO_MEDIUM);
	CHECK_GOOD(COMMAND(r, 1, 0, 36, 0x1a, 0, 0x2a, 0, 36));
}

static uint8_t task(struct rig *r, uint32_t function, unsigned target, unsigned lun)
{
	uint8_t b[24] = { [4] = (uint8_t)function, [8] = 1, (uint8_t)target, 0x40, (uint8_t)lun };

	vd_put_bytes(r, HEAD, b, sizeof(b));
	rig_write(r, RESPONSE, 0xaa, 1);
	vd_put_desc(r, vd_table(0), 0, HEAD, sizeof(b), VD_NEXT, 1);
	vd_put_desc(r, vd_table(0), 1, RESPONSE, 1, VD_WRITE, 0);
	vd_offer(r, 0, 0);
	return (uint8_t)rig_read(r, RESPONSE, 1);
}

BENCH(scsi_task_management_and_events)
{
	add_adapter(r);
	power_on(r);
	CHECK_EQ(task(r, 5, 3, 0), 10); /* logical unit reset */
	CHECK_SENSE(COMMAND(r, 0, 0, 0, 0), SENSE_UNIT_ATTENTION, ASC_POWER_ON);
	CHECK_EQ(task(r, 5, 3, 9), 12);
	CHECK_EQ(task(r, 5, 8, 0), 3);
	CHECK_EQ(task(r, 7, 3, 0), 0); /* query: nothing is there */
	CHECK_EQ(task(r, 2, 3, 0), 11);
	/* A disk that grows tells of it. */
	vd_put_desc(r, vd_table(1), 0, DATA, 16, VD_WRITE, 0);
	vd_offer(r, 1, 0);
	CHECK(drive_resize(disk, 2 * DISK_BYTES, NULL));
	CHECK_EQ(vd_used(r, 1), 1);
	CHECK_EQ(rig_read(r, DATA, 4), 3);
	CHECK_EQ(rig_read(r, DATA + 4, 4), 0x00400301);
	CHECK_EQ(rig_read(r, DATA + 12, 4), 0x092a);
	CHECK_SENSE(COMMAND(r, 0, 0, 0, 0), SENSE_UNIT_ATTENTION, ASC_CAPACITY_CHANGED);
}

BENCH(scsi_a_request_without_a_response_breaks_the_adapter)
{
	add_adapter(r);
	vd_put_desc(r, vd_table(REQUESTS), 0, HEAD, 51, 0, 0);
	vd_offer(r, REQUESTS, 0);
	CHECK_EQ(vd_status(r) & VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET);
	vd_start(r, 0, 3);
	CHECK_GOOD(COMMAND(r, 0, 0, 36, 0x12, 0, 0, 0, 36));
}

BENCH(scsi_places_are_checked)
{
	struct device *u;
	GError *err = NULL;

	add_adapter(r);
	u = device_new(&r->m, device_find("scsi-hd", NULL), NULL);
	CHECK(device_set(u, "drive", rig_drive(r, MIB, true, false)->id, NULL));
	CHECK(device_set(u, "scsi-id", "3", NULL));
	CHECK(!device_realize(u, machine_find_bus(&r->m, "SCSI", NULL), &err));
	CHECK_HAS(err->message, "scsi-id=3,lun=0 is taken");
}
