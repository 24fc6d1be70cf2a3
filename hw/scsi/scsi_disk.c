/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI disks and CD-ROMs. Source: SPC-4 (T10 1731D), SBC-3 (T10 1799D); the CD's commands are
 * mmc.c's. Not modelled: reservations, protection information, saved mode pages, tagged ordering
 * (requests are not reordered against flushes by anybody but the initiator).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "hw/scsi/scsi.h"

#define OP_TEST_UNIT_READY 0x00
#define OP_REQUEST_SENSE 0x03
#define OP_READ_6 0x08
#define OP_WRITE_6 0x0a
#define OP_INQUIRY 0x12
#define OP_MODE_SELECT_6 0x15
#define OP_MODE_SENSE_6 0x1a
#define OP_START_STOP 0x1b
#define OP_PREVENT_REMOVAL 0x1e
#define OP_READ_CAPACITY_10 0x25
#define OP_READ_10 0x28
#define OP_WRITE_10 0x2a
#define OP_WRITE_VERIFY_10 0x2e
#define OP_VERIFY_10 0x2f
#define OP_SYNCHRONIZE_CACHE_10 0x35
#define OP_WRITE_SAME_10 0x41
#define OP_UNMAP 0x42
#define OP_MODE_SELECT_10 0x55
#define OP_MODE_SENSE_10 0x5a
#define OP_READ_16 0x88
#define OP_WRITE_16 0x8a
#define OP_WRITE_VERIFY_16 0x8e
#define OP_VERIFY_16 0x8f
#define OP_SYNCHRONIZE_CACHE_16 0x91
#define OP_WRITE_SAME_16 0x93
#define OP_SERVICE_ACTION_IN_16 0x9e
#define SERVICE_READ_CAPACITY_16 0x10
#define OP_REPORT_LUNS 0xa0
#define OP_READ_12 0xa8
#define OP_WRITE_12 0xaa

#define MOST_UNMAP_RANGES 256
#define MOST_TRANSFER_BLOCKS 65535
#define MOST_WRITE_SAME_BLOCKS 0x400000
#define PATTERN_BYTES (128 * 1024)
#define REPLY_BYTES 256

struct scsi_unit {
	struct device dev;
	char *drive, *serial, *vendor, *product, *ver; /* properties */
	uint16_t id, lun;
	int32_t bootindex;
	bool removable;

	struct cdrom cd; /* a disk uses no more of it than the tray's lock */
	bool write_cache;
	uint16_t attention; /* the additional sense code of a unit attention, 0: none */

	struct drive *back;
	bool is_cd;
	char own_serial[24];
	unsigned epoch; /* requests of an earlier one end without touching anything */
	GQueue waiting; /* failed ones that are tried again when the VM goes on */
};

#define AUTO_ID 0xffff

unsigned scsi_target(const struct scsi_unit *u)
{
	return u->id;
}

unsigned scsi_lun(const struct scsi_unit *u)
{
	return u->lun;
}

void scsi_choose_target(struct scsi_unit *u, struct scsi_bus *b)
{
	bool exists = true;

	if (u->id != AUTO_ID)
		return;
	for (u->id = 0; exists && u->id <= b->most_target; u->id += exists)
		scsi_find(b, u->id, 0, &exists);
}

static struct scsi_bus *bus_of(const struct scsi_unit *u)
{
	return container_of(u->dev.bus, struct scsi_bus, bus);
}

static uint64_t blocks(const struct scsi_unit *u)
{
	return drive_size(u->back) / BLOCK_SECTOR;
}

/* Ends. */

static void finish(struct scsi_request *r, uint8_t status)
{
	g_clear_pointer(&r->part, g_free);
	g_clear_pointer(&r->ranges, g_free);
	g_clear_pointer(&r->pattern, g_free);
	r->status = status;
	r->done(r);
}

static void check(struct scsi_request *r, uint8_t key, uint16_t asc)
{
	r->has_sense = true;
	memset(r->sense, 0, sizeof(r->sense));
	r->sense[0] = 0x70; /* current, fixed format (SPC-4 4.5.3) */
	r->sense[2] = key;
	r->sense[7] = SCSI_SENSE_BYTES - 8;
	r->sense[12] = (uint8_t)(asc >> 8);
	r->sense[13] = (uint8_t)asc;
	r->moved = 0;
	finish(r, SCSI_CHECK_CONDITION);
}

static void check_cd(struct scsi_request *r)
{
	const struct cdrom *cd = &r->unit->cd;

	check(r, cd->sense_key, (uint16_t)(cd->asc << 8 | cd->ascq));
}

static void reply(struct scsi_request *r, const void *data, size_t len, size_t allocation)
{
	r->moved = iov_from(r->in, r->nin, 0, data, MIN_OF(len, allocation));
	finish(r, SCSI_GOOD);
}

static void invalid_field(struct scsi_request *r)
{
	check(r, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
}

/* Work of the drive's. */

static void submit(struct scsi_request *r)
{
	r->epoch = r->unit->epoch;
	drive_submit(r->unit->back, &r->io);
}

static void io_done(struct drive_request *io, int error)
{
	struct scsi_request *r = container_of(io, struct scsi_request, io);
	struct scsi_unit *u = r->unit;
	bool read = io->op == DRIVE_READ;

	if (r->epoch != u->epoch) {
		finish(r, SCSI_TASK_ABORTED);
		return;
	}
	if (error) {
		switch (drive_failed(u->back, io->op, error)) {
		case ON_ERROR_STOP:
			g_queue_push_tail(&u->waiting, r);
			return;
		case ON_ERROR_IGNORE:
			break;
		default:
			if (error == -ENOSPC)
				check(r, SENSE_DATA_PROTECT, ASC_SPACE_PROTECTED);
			else if (error == -EPERM)
				check(r, SENSE_DATA_PROTECT, ASC_WRITE_PROTECTED);
			else
				check(r, SENSE_MEDIUM_ERROR,
				      read ? ASC_READ_ERROR : ASC_WRITE_ERROR);
			return;
		}
	}
	r->moved = read || io->op == DRIVE_WRITE ? io->len : 0;
	finish(r, SCSI_GOOD);
}

static void submit_op(struct scsi_request *r, enum drive_op op)
{
	r->io.op = op;
	r->io.done = io_done;
	submit(r);
}

static void transfer(struct scsi_request *r, bool write, uint64_t offset, uint64_t len)
{
	const struct iovec *iov = write ? r->out : r->in;
	int n = write ? r->nout : r->nin;

	if ((write ? r->out_len : r->in_len) < len) {
		r->overrun = true;
		finish(r, SCSI_GOOD);
		return;
	}
	r->part = g_new(struct iovec, n + 1);
	r->io.niov = iov_part(iov, n, 0, len, r->part);
	r->io.iov = r->part;
	r->io.offset = offset;
	r->io.len = len;
	submit_op(r, write ? DRIVE_WRITE : DRIVE_READ);
}

/* Where a command points to. */

struct range {
	uint64_t lba, n;
};

static struct range take_range(const uint8_t *cdb)
{
	uint32_t low = be32(cdb + 2);

	switch (cdb[0] >> 5) {
	case 0: /* 6 bytes: 0 means 256 */
		return (struct range) { be32(cdb) & 0x1fffff, cdb[4] ? cdb[4] : 256 };
	case 4:
		return (struct range) { be64(cdb + 2), be32(cdb + 10) };
	case 5:
		return (struct range) { low, be32(cdb + 6) };
	default:
		return (struct range) { low, be16(cdb + 7) };
	}
}

static bool on_disk(const struct scsi_unit *u, struct range g)
{
	return g.lba <= blocks(u) && g.n <= blocks(u) - g.lba;
}

/* Reads the range and judges it; false when the command is over. */
static bool good_range(struct scsi_request *r, struct range *g)
{
	*g = take_range(r->cdb);
	if (!on_disk(r->unit, *g)) {
		check(r, SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
		return false;
	}
	return true;
}

static bool may_write(struct scsi_request *r)
{
	if (r->unit->back->read_only)
		check(r, SENSE_DATA_PROTECT, ASC_WRITE_PROTECTED);
	return !r->unit->back->read_only;
}

/* Commands. */

static void nothing(struct scsi_request *r)
{
	finish(r, SCSI_GOOD);
}

static void read_write(struct scsi_request *r, bool write)
{
	struct range g;
	bool six = r->cdb[0] < 0x20;

	if (!six && r->cdb[1] & 0xe0) { /* protection */
		invalid_field(r);
		return;
	}
	if (!good_range(r, &g))
		return;
	if (g.n > MOST_TRANSFER_BLOCKS) {
		invalid_field(r);
		return;
	}
	r->io.fua = write && (!r->unit->write_cache || (!six && r->cdb[1] & BIT(3)));
	if (!g.n)
		finish(r, SCSI_GOOD);
	else
		transfer(r, write, g.lba * BLOCK_SECTOR, g.n * BLOCK_SECTOR);
}

static void read_blocks(struct scsi_request *r)
{
	read_write(r, false);
}

static void write_blocks(struct scsi_request *r)
{
	if (may_write(r))
		read_write(r, true);
}

/* Without the initiator's data there is nothing to compare: what can be read is good. */
static void verify(struct scsi_request *r)
{
	struct range g;

	if (r->cdb[1] & 6)
		invalid_field(r);
	else if (good_range(r, &g))
		finish(r, SCSI_GOOD);
}

static void synchronize(struct scsi_request *r)
{
	struct range g;

	if (good_range(r, &g))
		submit_op(r, DRIVE_FLUSH);
}

static void unmap(struct scsi_request *r)
{
	uint8_t head[8], entry[16];
	size_t len = MIN_OF((size_t)be16(r->cdb + 7), r->out_len);
	unsigned n;

	if (!may_write(r))
		return;
	if (!len) {
		finish(r, SCSI_GOOD);
		return;
	}
	if (len < sizeof(head) || iov_to(r->out, r->nout, 0, head, sizeof(head)) < sizeof(head)) {
		check(r, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
		return;
	}
	n = be16(head + 2) / 16;
	if (n > MOST_UNMAP_RANGES || n > (len - sizeof(head)) / sizeof(entry)) {
		check(r, SENSE_ILLEGAL_REQUEST, ASC_INVALID_PARAMETER);
		return;
	}
	r->ranges = g_new(struct drive_range, n + 1);
	for (unsigned i = 0; i < n; i++) {
		struct range g;

		iov_to(r->out, r->nout, sizeof(head) + sizeof(entry) * (size_t)i, entry,
		       sizeof(entry));
		g = (struct range) { be64(entry), be32(entry + 8) };
		if (!on_disk(r->unit, g)) {
			check(r, SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
			return;
		}
		r->ranges[i] =
			(struct drive_range) { g.lba * BLOCK_SECTOR, g.n * BLOCK_SECTOR, true };
	}
	r->io.ranges = r->ranges;
	r->io.nranges = n;
	if (n)
		submit_op(r, DRIVE_DISCARD);
	else
		finish(r, SCSI_GOOD);
}

/* One block over and over; what is no zero is written from a buffer of copies. */
static void write_same(struct scsi_request *r)
{
	uint8_t block[BLOCK_SECTOR] = { 0 };
	bool no_data = r->cdb[0] == OP_WRITE_SAME_16 && r->cdb[1] & 1;
	struct range g;
	size_t len;

	if (!may_write(r) || !good_range(r, &g))
		return;
	if (r->cdb[1] & 0xe6 || !g.n || g.n > MOST_WRITE_SAME_BLOCKS) {
		invalid_field(r);
		return;
	}
	if (!no_data && iov_to(r->out, r->nout, 0, block, sizeof(block)) < sizeof(block)) {
		r->overrun = true;
		finish(r, SCSI_GOOD);
		return;
	}
	r->io.fua = !r->unit->write_cache;
	if (!block[0] && !memcmp(block, block + 1, sizeof(block) - 1)) {
		r->ranges = g_new(struct drive_range, 1);
		r->ranges[0] = (struct drive_range) { g.lba * BLOCK_SECTOR, g.n * BLOCK_SECTOR,
						      r->cdb[1] & BIT(3) };
		r->io.ranges = r->ranges;
		r->io.nranges = 1;
		submit_op(r, DRIVE_ZERO);
		return;
	}
	len = g.n * BLOCK_SECTOR;
	r->pattern = g_malloc(MIN_OF(len, (size_t)PATTERN_BYTES));
	for (size_t at = 0; at < MIN_OF(len, (size_t)PATTERN_BYTES); at += BLOCK_SECTOR)
		memcpy(r->pattern + at, block, BLOCK_SECTOR);
	r->part = g_new(struct iovec, len / PATTERN_BYTES + 1);
	for (size_t at = 0; at < len; at += PATTERN_BYTES)
		r->part[r->io.niov++] =
			(struct iovec) { r->pattern, MIN_OF(len - at, (size_t)PATTERN_BYTES) };
	r->io.iov = r->part;
	r->io.offset = g.lba * BLOCK_SECTOR;
	r->io.len = len;
	submit_op(r, DRIVE_WRITE);
}

static void read_capacity_10(struct scsi_request *r)
{
	uint8_t b[8];
	uint64_t last = blocks(r->unit) - 1;

	put_be32(b, (uint32_t)MIN_OF(last, (uint64_t)UINT32_MAX));
	put_be32(b + 4, BLOCK_SECTOR);
	reply(r, b, sizeof(b), sizeof(b));
}

static bool unmaps(const struct scsi_unit *u)
{
	return u->back->block && u->back->block->options.discard;
}

static void service_action_in(struct scsi_request *r)
{
	uint8_t b[32] = { 0 };

	if ((r->cdb[1] & 31) != SERVICE_READ_CAPACITY_16) {
		invalid_field(r);
		return;
	}
	put_be64(b, blocks(r->unit) - 1);
	put_be32(b + 8, BLOCK_SECTOR);
	b[14] = unmaps(r->unit) ? BIT(7) : 0; /* LBPME */
	reply(r, b, sizeof(b), be32(r->cdb + 10));
}

static void put_text(uint8_t *to, size_t len, const char *text)
{
	memset(to, ' ', len);
	memcpy(to, text, MIN_OF(len, strlen(text)));
}

static void standard_inquiry(struct scsi_request *r)
{
	const struct scsi_unit *u = r->unit;
	uint8_t b[36] = { 0 };

	b[0] = u->is_cd ? 5 : 0;
	b[1] = u->is_cd || u->removable ? BIT(7) : 0;
	b[2] = 5; /* SPC-3 */
	b[3] = 2;
	b[4] = sizeof(b) - 5;
	b[7] = BIT(1); /* command queuing */
	put_text(b + 8, 8, u->vendor);
	put_text(b + 16, 16, u->product ? u->product : u->is_cd ? "MOA CD-ROM" : "MOA HARDDISK");
	put_text(b + 32, 4, u->ver);
	reply(r, b, sizeof(b), be16(r->cdb + 3));
}

static const char *serial_of(const struct scsi_unit *u)
{
	return u->serial ? u->serial : u->back->serial ? u->back->serial : u->own_serial;
}

/* SPC-4 7.8, SBC-3 6.6: vital product data. */
static void vital_inquiry(struct scsi_request *r)
{
	const struct scsi_unit *u = r->unit;
	const char *serial = serial_of(u);
	uint8_t b[REPLY_BYTES] = { 0 };
	static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2 };
	size_t len = 4, text = MIN_OF(strlen(serial), (size_t)36);

	b[0] = u->is_cd ? 5 : 0;
	b[1] = r->cdb[2];
	switch (u->is_cd && r->cdb[2] >= 0xb0 ? 0xff : r->cdb[2]) {
	case 0x00:
		len += u->is_cd ? 3 : sizeof(pages);
		memcpy(b + 4, pages, sizeof(pages));
		break;
	case 0x80:
		memcpy(b + 4, serial, text);
		len += text;
		break;
	case 0x83: /* one designator: vendor-specific, ASCII */
		b[4] = 2;
		b[7] = (uint8_t)text;
		memcpy(b + 8, serial, text);
		len += 4 + text;
		break;
	case 0xb0: /* block limits */
		len = 64;
		put_be32(b + 8, MOST_TRANSFER_BLOCKS);
		if (unmaps(u)) {
			put_be32(b + 20, UINT32_MAX);
			put_be32(b + 24, MOST_UNMAP_RANGES);
			put_be32(b + 28,
				 MAX_OF(u->back->block->cluster, BLOCK_SECTOR) / BLOCK_SECTOR);
		}
		put_be64(b + 36, MOST_WRITE_SAME_BLOCKS);
		break;
	case 0xb1:
		len = 64;
		put_be16(b + 4, 1); /* does not rotate */
		break;
	case 0xb2:
		len = 8;
		b[5] = unmaps(u) ? BIT(7) | BIT(6) | BIT(5) : 0; /* UNMAP, WRITE SAME (16), (10) */
		b[6] = unmaps(u) ? 2 : 0;			 /* thin */
		break;
	default:
		invalid_field(r);
		return;
	}
	put_be16(b + 2, (uint16_t)(len - 4));
	reply(r, b, len, be16(r->cdb + 3));
}

static void inquiry(struct scsi_request *r)
{
	if (r->cdb[1] & 1)
		vital_inquiry(r);
	else if (r->cdb[2])
		invalid_field(r);
	else
		standard_inquiry(r);
}

static void request_sense(struct scsi_request *r)
{
	uint8_t b[SCSI_SENSE_BYTES] = { 0x70, [7] = SCSI_SENSE_BYTES - 8 };

	b[2] = r->unit->attention ? SENSE_UNIT_ATTENTION : SENSE_NONE;
	put_be16(b + 12, r->unit->attention);
	r->unit->attention = 0;
	reply(r, b, sizeof(b), r->cdb[4]);
}

/* Mode pages: SPC-4 7.5, SBC-3 6.5. `control` 1 asks which bits may be changed. */
static size_t put_page(const struct scsi_unit *u, uint8_t *b, uint8_t page, uint8_t control)
{
	static const uint8_t lengths[] = { [0x01] = 12, [0x08] = 20, [0x0a] = 12 };

	if (page >= sizeof(lengths) || !lengths[page])
		return 0;
	b[0] = page;
	b[1] = lengths[page] - 2;
	if (page == 0x08)
		b[2] = control == 1 || (control == 2 ? !u->back->writethrough : u->write_cache)
			       ? BIT(2)
			       : 0;
	if (page == 0x01 && control != 1)
		b[2] = BIT(7) | BIT(6); /* bad blocks are dealt with by themselves */
	return lengths[page];
}

static void mode_sense(struct scsi_request *r)
{
	const struct scsi_unit *u = r->unit;
	bool short_form = r->cdb[0] == OP_MODE_SENSE_6, descriptor = !(r->cdb[1] & BIT(3));
	uint8_t b[REPLY_BYTES] = { 0 }, page = r->cdb[2] & 0x3f, control = r->cdb[2] >> 6;
	size_t header = short_form ? 4 : 8, n = header, before;

	if (control == 3) {
		check(r, SENSE_ILLEGAL_REQUEST, ASC_NO_SAVED_PAGES);
		return;
	}
	b[short_form ? 2 : 3] = (u->back->read_only ? BIT(7) : 0) | BIT(4); /* WP, DPOFUA */
	if (descriptor) {
		put_be32(b + n, (uint32_t)MIN_OF(blocks(u), (uint64_t)UINT32_MAX));
		put_be32(b + n + 4, BLOCK_SECTOR);
		b[short_form ? 3 : 7] = 8;
		n += 8;
	}
	before = n;
	for (uint8_t p = 0; p < 0x3f; p++)
		if (page == p || page == 0x3f)
			n += put_page(u, b + n, p, control);
	if (n == before) {
		invalid_field(r);
		return;
	}
	if (short_form)
		b[0] = (uint8_t)(n - 1);
	else
		put_be16(b, (uint16_t)(n - 2));
	reply(r, b, n, short_form ? r->cdb[4] : be16(r->cdb + 7));
}

/* Takes the cache switch; other pages must say what they say already. */
static bool select_page(struct scsi_unit *u, const uint8_t *page, size_t len)
{
	uint8_t now[32] = { 0 };
	size_t n = put_page(u, now, page[0] & 0x3f, 0);

	if (!n || n != len)
		return false;
	if ((page[0] & 0x3f) == 0x08) {
		u->write_cache = page[2] & BIT(2);
		return true;
	}
	return !memcmp(page + 2, now + 2, n - 2);
}

static void mode_select(struct scsi_request *r)
{
	bool short_form = r->cdb[0] == OP_MODE_SELECT_6, was = r->unit->write_cache;
	uint8_t b[REPLY_BYTES];
	size_t header = short_form ? 4 : 8, len = short_form ? r->cdb[4] : be16(r->cdb + 7), at;

	if (r->cdb[1] & 1) { /* saving */
		invalid_field(r);
		return;
	}
	len = iov_to(r->out, r->nout, 0, b, MIN_OF(len, sizeof(b)));
	if (!len) {
		finish(r, SCSI_GOOD);
		return;
	}
	at = header;
	if (len >= header)
		at += short_form ? b[3] : be16(b + 6);
	for (; at < len; at += 2u + b[at + 1])
		if (at + 2 > len || at + 2 + b[at + 1] > len ||
		    !select_page(r->unit, b + at, 2u + b[at + 1])) {
			check(r, SENSE_ILLEGAL_REQUEST, ASC_INVALID_PARAMETER);
			return;
		}
	if (at > len && at != header)
		check(r, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
	else if (was && !r->unit->write_cache)
		submit_op(r, DRIVE_FLUSH); /* what the cache holds */
	else
		finish(r, SCSI_GOOD);
}

static void start_stop(struct scsi_request *r)
{
	if (r->cdb[4] & 2 && !r->unit->removable)
		invalid_field(r); /* no tray */
	else if (!(r->cdb[4] & 1))
		submit_op(r, DRIVE_FLUSH);
	else
		finish(r, SCSI_GOOD);
}

static void report_luns(struct scsi_request *r)
{
	scsi_submit_nobody(bus_of(r->unit), r->unit->id, r);
}

static const struct command {
	uint8_t op;
	bool despite_attention;
	void (*run)(struct scsi_request *r);
} disk_commands[] = {
	{ OP_TEST_UNIT_READY, false, nothing },
	{ OP_REQUEST_SENSE, true, request_sense },
	{ OP_READ_6, false, read_blocks },
	{ OP_WRITE_6, false, write_blocks },
	{ OP_INQUIRY, true, inquiry },
	{ OP_MODE_SELECT_6, false, mode_select },
	{ OP_MODE_SENSE_6, false, mode_sense },
	{ OP_START_STOP, false, start_stop },
	{ OP_PREVENT_REMOVAL, false, nothing },
	{ OP_READ_CAPACITY_10, false, read_capacity_10 },
	{ OP_READ_10, false, read_blocks },
	{ OP_WRITE_10, false, write_blocks },
	{ OP_WRITE_VERIFY_10, false, write_blocks },
	{ OP_VERIFY_10, false, verify },
	{ OP_SYNCHRONIZE_CACHE_10, false, synchronize },
	{ OP_WRITE_SAME_10, false, write_same },
	{ OP_UNMAP, false, unmap },
	{ OP_MODE_SELECT_10, false, mode_select },
	{ OP_MODE_SENSE_10, false, mode_sense },
	{ OP_READ_16, false, read_blocks },
	{ OP_WRITE_16, false, write_blocks },
	{ OP_WRITE_VERIFY_16, false, write_blocks },
	{ OP_VERIFY_16, false, verify },
	{ OP_SYNCHRONIZE_CACHE_16, false, synchronize },
	{ OP_WRITE_SAME_16, false, write_same },
	{ OP_SERVICE_ACTION_IN_16, false, service_action_in },
	{ OP_REPORT_LUNS, true, report_luns },
	{ OP_READ_12, false, read_blocks },
	{ OP_WRITE_12, false, write_blocks },
};

/* What a CD-ROM does beside mmc.c's. */
static const struct command cd_commands[] = {
	{ OP_INQUIRY, true, inquiry },
	{ OP_REPORT_LUNS, true, report_luns },
};

static void run_mmc(struct scsi_request *r)
{
	struct scsi_unit *u = r->unit;
	struct mmc_command m = { .cdb = r->cdb };

	switch (mmc_run(&u->cd, &m, u)) {
	case MMC_DONE:
		finish(r, SCSI_GOOD);
		break;
	case MMC_CHECK:
		check_cd(r);
		break;
	case MMC_REPLY:
		reply(r, m.reply, m.len, m.len);
		break;
	case MMC_READ:
		transfer(r, false, (uint64_t)m.sector * CD_SECTOR, (uint64_t)m.sectors * CD_SECTOR);
		break;
	}
}

void scsi_submit(struct scsi_unit *u, struct scsi_request *r)
{
	const struct command *table = u->is_cd ? cd_commands : disk_commands, *c = NULL;
	size_t n = u->is_cd ? ARRAY_LEN(cd_commands) : ARRAY_LEN(disk_commands);

	r->unit = u;
	r->moved = 0;
	r->has_sense = r->overrun = false;
	r->io = (struct drive_request) { .done = io_done };
	for (size_t i = 0; i < n; i++)
		if (table[i].op == r->cdb[0])
			c = &table[i];
	if (u->attention && !(c && c->despite_attention) && r->cdb[0] != OP_REQUEST_SENSE) {
		uint16_t asc = u->attention;

		u->attention = 0;
		check(r, SENSE_UNIT_ATTENTION, asc);
	} else if (c) {
		c->run(r);
	} else if (u->is_cd) {
		run_mmc(r);
	} else {
		log_guest(u, "command 0x%02x is not known", r->cdb[0]);
		check(r, SENSE_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
	}
}

void scsi_cancel(struct scsi_unit *u)
{
	struct scsi_request *r;

	/* Nobody may write to the guest's memory after this. */
	drive_quiesce(u->back);
	u->epoch++;
	while ((r = g_queue_pop_head(&u->waiting)))
		finish(r, SCSI_TASK_ABORTED);
}

void scsi_unit_reset(struct scsi_unit *u)
{
	scsi_cancel(u);
	cdrom_reset(&u->cd);
	u->write_cache = !u->back->writethrough;
	u->attention = ASC_POWER_ON;
}

static void tell(struct scsi_unit *u, uint16_t asc)
{
	struct scsi_bus *b = bus_of(u);

	if (b->changed)
		b->changed(b->adapter, u, asc);
}

static void resized(void *opaque)
{
	struct scsi_unit *u = opaque;

	u->attention = ASC_CAPACITY_CHANGED;
	tell(u, ASC_CAPACITY_CHANGED);
}

static void medium_changed(void *opaque)
{
	struct scsi_unit *u = opaque;

	cdrom_medium_changed(&u->cd);
	tell(u, ASC_MEDIUM_CHANGED);
}

static struct drive_tray tray(void *opaque)
{
	return cdrom_tray(&((struct scsi_unit *)opaque)->cd);
}

/* Life. */

#define D struct scsi_unit

static bool unit_realize(void *dev, GError **err)
{
	static unsigned number;
	struct scsi_unit *u = dev;

	u->back = drive_of_device(u, u->drive, u->is_cd, err);
	if (!u->back)
		return false;
	if (u->is_cd && !drive_become_cdrom(u->back, device_name(u), err))
		return false;
	u->back->iothread = bus_of(u)->iothread;
	u->cd.back = u->back;
	u->back->resized = resized;
	u->back->medium_changed = medium_changed;
	u->back->tray = u->is_cd ? tray : NULL;
	u->back->opaque = u;
	snprintf(u->own_serial, sizeof(u->own_serial), "moa-%u", ++number);
	g_queue_init(&u->waiting);
	return machine_add_boot(u->dev.machine, device_name(u), u->bootindex,
				bus_of(u)->boot_path(bus_of(u)->adapter, u->id, u->lun), err);
}

static bool hd_realize(void *dev, GError **err)
{
	return unit_realize(dev, err);
}

static bool cd_realize(void *dev, GError **err)
{
	((struct scsi_unit *)dev)->is_cd = true;
	return unit_realize(dev, err);
}

static void unit_unrealize(void *dev)
{
	struct scsi_unit *u = dev;

	iothread_lock(bus_of(u)->iothread);
	scsi_cancel(u);
	u->back->opaque = NULL;
	u->back->resized = u->back->medium_changed = NULL;
	u->back->tray = NULL;
	iothread_unlock(bus_of(u)->iothread);
}

static void unit_reset(void *dev)
{
	struct scsi_unit *u = dev;

	iothread_lock(bus_of(u)->iothread);
	scsi_unit_reset(u);
	u->cd.medium_changed = u->cd.event_pending = false;
	u->cd.tray_open = false;
	iothread_unlock(bus_of(u)->iothread);
}

static void unit_run_changed(void *dev, bool running)
{
	struct scsi_unit *u = dev;
	struct scsi_request *r;
	GQueue again;

	if (!running)
		return;
	iothread_lock(bus_of(u)->iothread);
	again = u->waiting;
	g_queue_init(&u->waiting);
	while ((r = g_queue_pop_head(&again)))
		submit(r);
	iothread_unlock(bus_of(u)->iothread);
}

/* clang-format off */
#define UNIT_PROPS                                                                                 \
	F(drive, .help = "the drive's id"), F(serial, .help = "its serial number"),                \
	F(vendor, .init_str = "MOA", .help = "vendor, 8 characters"),                              \
	F(product, .help = "product, 16 characters"),                                              \
	F(ver, .init_str = "0.1", .help = "revision, 4 characters"),                               \
	{ .name = "scsi-id", .type = FT_U16, .offset = offsetof(D, id), .size = 2,                 \
	  .init = AUTO_ID, .help = "target; 65535: the first that is free" },                      \
	F(bootindex, .init = -1, .help = "place in the boot order, from 0"), \
	F(lun, .max = SCSI_MOST_LUNS - 1, .help = "logical unit")
/* clang-format on */

DEVICE(scsi_hd,
	.name = "scsi-hd",
	.desc = "SCSI disk",
	.bus = "SCSI",
	.props = FIELDS(UNIT_PROPS, F(removable, .help = "the disk can be taken out")),
	.state = FIELDS(FO(cd, cdrom_table), F(write_cache), F(attention)),
	.host = HOST(back, is_cd, own_serial, epoch, waiting, id),
	.realize = hd_realize,
	.unrealize = unit_unrealize,
	.reset = unit_reset,
	.run_changed = unit_run_changed);

DEVICE(scsi_cd,
	.name = "scsi-cd",
	.desc = "SCSI CD-ROM",
	.bus = "SCSI",
	.props = FIELDS(UNIT_PROPS),
	.state = FIELDS(FO(cd, cdrom_table), F(write_cache), F(attention)),
	.host = HOST(back, is_cd, own_serial, epoch, waiting, id, removable),
	.realize = cd_realize,
	.unrealize = unit_unrealize,
	.reset = unit_reset,
	.run_changed = unit_run_changed);
