/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CD-ROMs: packet commands. Source: INF-8090 and MMC-5 (T10 1675D); SPC-3 for INQUIRY and sense
 * data. Discs are data discs of one track; audio, writing and regions are not modelled.
 */
#include <errno.h>
#include <string.h>

#include "core/log.h"
#include "hw/ide/ata.h"

#define OP_TEST_UNIT_READY 0x00
#define OP_REQUEST_SENSE 0x03
#define OP_INQUIRY 0x12
#define OP_START_STOP 0x1b
#define OP_PREVENT_REMOVAL 0x1e
#define OP_READ_CAPACITY 0x25
#define OP_READ_10 0x28
#define OP_SEEK_10 0x2b
#define OP_READ_TOC 0x43
#define OP_GET_CONFIGURATION 0x46
#define OP_GET_EVENT_STATUS 0x4a
#define OP_READ_DISC_INFORMATION 0x51
#define OP_MODE_SENSE_10 0x5a
#define OP_READ_12 0xa8
#define OP_SET_SPEED 0xbb
#define OP_MECHANISM_STATUS 0xbd
#define OP_READ_CD 0xbe

#define SENSE_NOT_READY 2
#define SENSE_MEDIUM_ERROR 3
#define SENSE_ILLEGAL_REQUEST 5
#define SENSE_UNIT_ATTENTION 6
#define ASC_LBA_OUT_OF_RANGE 0x21
#define ASC_INVALID_OPCODE 0x20
#define ASC_INVALID_FIELD 0x24
#define ASC_MEDIUM_CHANGED 0x28
#define ASC_NO_MEDIUM 0x3a
#define ASC_REMOVAL_PREVENTED 0x53
#define ASC_READ_ERROR 0x11

/* Interrupt reason, in the count register. */
#define REASON_COMMAND BIT(0)
#define REASON_TO_HOST BIT(1)

static uint16_t get_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void set_be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void set_be32(uint8_t *p, uint32_t v)
{
	set_be16(p, v >> 16);
	set_be16(p + 2, v & 0xffff);
}

static bool has_medium(const struct ata_device *d)
{
	return d->back && d->back->block && !d->tray_open;
}

static uint32_t disc_sectors(const struct ata_device *d)
{
	uint64_t n = has_medium(d) ? drive_size(d->back) / CD_SECTOR : 0;

	return (uint32_t)MIN_OF(n, (uint64_t)UINT32_MAX);
}

/* The end of a command. */
static void finish(struct ata_device *d)
{
	d->sense_key = d->asc = d->ascq = 0;
	d->count[0] = REASON_COMMAND | REASON_TO_HOST;
	d->packet_left = 0;
	ata_done(d);
}

static void check_condition(struct ata_device *d, uint8_t key, uint8_t asc)
{
	d->sense_key = key;
	d->asc = asc;
	d->ascq = 0;
	d->count[0] = REASON_COMMAND | REASON_TO_HOST;
	d->packet_left = 0;
	ata_fail(d, (uint8_t)(key << 4 | ATA_ER_ABRT));
}

void atapi_medium_changed(struct ata_device *d)
{
	d->medium_changed = d->event_pending = true;
}

void atapi_reset(struct ata_device *d)
{
	d->sense_key = d->asc = d->ascq = 0;
	d->tray_locked = false;
	d->packet_left = 0;
	d->packet_dma = false;
	d->phase = PHASE_IDLE;
}

/* Data to the host. */

static void start_dma(struct ata_device *d)
{
	d->phase = PHASE_DMA;
	d->status = ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_DRQ;
	d->count[0] = REASON_TO_HOST;
	if (d->channel->dma_ready)
		d->channel->dma_ready(d->channel->opaque, d->channel);
}

/* The buffer has `have` bytes of the reply: as many as the host takes at once. */
static void give(struct ata_device *d, uint32_t have)
{
	uint32_t limit = d->byte_limit ? d->byte_limit : 0xfffe;

	/* An odd limit holds for the last part only (ATA/ATAPI-7, PACKET). */
	if (limit & 1 && have > limit)
		limit--;
	have = MIN_OF(have, limit);
	d->lba_mid[0] = (uint8_t)have;
	d->lba_high[0] = (uint8_t)(have >> 8);
	d->count[0] = REASON_TO_HOST;
	d->packet_left -= have;
	/* The register is 16 bits wide. */
	ata_give(d, (uint32_t)align_up(have, 2));
}

/* A reply that is in the buffer whole. */
static void reply(struct ata_device *d, uint32_t len, uint32_t allocation)
{
	len = MIN_OF(len, allocation);
	if (!len) {
		finish(d);
		return;
	}
	d->packet_left = len;
	if (d->packet_dma)
		start_dma(d);
	else
		give(d, len);
}

static void read_chunk(struct ata_device *d)
{
	uint32_t sectors = MIN_OF(d->packet_left / CD_SECTOR, ATA_BUFFER / CD_SECTOR);

	d->phase = PHASE_CD_READING;
	d->status = ATA_SR_BSY | ATA_SR_DSC;
	d->own_iov = (struct iovec) { d->buffer, sectors * CD_SECTOR };
	d->io.iov = &d->own_iov;
	d->io.niov = 1;
	ata_submit(d, DRIVE_READ, d->sector * CD_SECTOR, sectors * CD_SECTOR);
	d->sector += sectors;
}

static bool is_read(const struct ata_device *d)
{
	return d->packet[0] == OP_READ_10 || d->packet[0] == OP_READ_12 ||
	       d->packet[0] == OP_READ_CD;
}

/* The drive has filled the buffer, which the host may take in several parts. */
void atapi_read_done(struct ata_device *d, int error)
{
	if (error) {
		check_condition(d, SENSE_MEDIUM_ERROR, ASC_READ_ERROR);
		return;
	}
	d->remaining = (uint32_t)d->own_iov.iov_len; /* bytes of it that are still to be given */
	give(d, d->remaining);
	d->remaining -= d->len;
}

/* The host has taken what was given. */
void atapi_data_read(struct ata_device *d)
{
	if (!d->packet_left) {
		finish(d);
		return;
	}
	if (is_read(d) && !d->remaining) {
		read_chunk(d);
		return;
	}
	/* The next part of what the buffer holds moves to its front. */
	memmove(d->buffer, d->buffer + d->len, ATA_BUFFER - d->len);
	give(d, is_read(d) ? d->remaining : d->packet_left);
	if (is_read(d))
		d->remaining -= d->len;
}

void atapi_dma_done(struct ata_device *d, int error)
{
	g_clear_pointer(&d->iov, g_free);
	if (d->channel->dma_done)
		d->channel->dma_done(d->channel->opaque, d->channel, error != 0);
	if (error)
		check_condition(d, SENSE_MEDIUM_ERROR, ASC_READ_ERROR);
	else
		finish(d);
}

static void read_sectors(struct ata_device *d, uint32_t sector, uint32_t n)
{
	if (sector >= disc_sectors(d) || n > disc_sectors(d) - sector) {
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
		return;
	}
	if (!n) {
		finish(d);
		return;
	}
	if (n > 65536) {
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		return;
	}
	d->sector = sector;
	d->remaining = 0;
	d->packet_left = n * CD_SECTOR;
	if (d->packet_dma)
		start_dma(d);
	else
		read_chunk(d);
}

/* Commands. */

static void inquiry(struct ata_device *d)
{
	uint8_t *b = d->buffer;

	if (d->packet[1] & 1) {
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		return;
	}
	memset(b, 0, 36);
	b[0] = 5;      /* CD-ROM */
	b[1] = BIT(7); /* removable */
	b[3] = 0x21;   /* ATAPI, response data format */
	b[4] = 36 - 5;
	memcpy(b + 8, "MOA     ", 8);
	memcpy(b + 16, "MOA CD-ROM      ", 16);
	memcpy(b + 32, "0.1 ", 4);
	reply(d, 36, d->packet[4]);
}

static void request_sense(struct ata_device *d)
{
	uint8_t *b = d->buffer;

	memset(b, 0, 18);
	b[0] = 0x70;
	b[2] = d->sense_key;
	b[7] = 10;
	b[12] = d->asc;
	b[13] = d->ascq;
	reply(d, 18, d->packet[4]);
}

static void start_stop(struct ata_device *d)
{
	bool load_eject = d->packet[4] & 2, start = d->packet[4] & 1;

	if (load_eject && !start && d->tray_locked) {
		check_condition(d, has_medium(d) ? SENSE_ILLEGAL_REQUEST : SENSE_NOT_READY,
				ASC_REMOVAL_PREVENTED);
		return;
	}
	if (load_eject && d->tray_open == start) {
		d->tray_open = !start;
		atapi_medium_changed(d);
		d->medium_changed = start && has_medium(d);
	}
	finish(d);
}

static void read_capacity(struct ata_device *d)
{
	set_be32(d->buffer, disc_sectors(d) - 1);
	set_be32(d->buffer + 4, CD_SECTOR);
	reply(d, 8, 8);
}

static void put_address(uint8_t *p, bool msf, uint32_t sector)
{
	if (!msf) {
		set_be32(p, sector);
		return;
	}
	sector += 150; /* 2 seconds */
	p[0] = 0;
	p[1] = (uint8_t)(sector / 75 / 60);
	p[2] = (uint8_t)(sector / 75 % 60);
	p[3] = (uint8_t)(sector % 75);
}

/* One data track and the lead-out. */
static void read_toc(struct ata_device *d)
{
	uint8_t *b = d->buffer, format = d->packet[2] & 15, track = d->packet[6];
	bool msf = d->packet[1] & 2;
	uint32_t n = 4, allocation = get_be16(d->packet + 7);

	if (!format)
		format = d->packet[9] >> 6;
	memset(b, 0, 64);
	b[2] = b[3] = 1;
	if (format == 1) { /* sessions */
		b[5] = 0x14;
		b[6] = 1;
		put_address(b + 8, msf, 0);
		n = 12;
	} else if (format == 0) {
		if (track > 1 && track != 0xaa) {
			check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
			return;
		}
		if (track <= 1) {
			b[n + 1] = 0x14;
			b[n + 2] = 1;
			put_address(b + n + 4, msf, 0);
			n += 8;
		}
		b[n + 1] = 0x16;
		b[n + 2] = 0xaa;
		put_address(b + n + 4, msf, disc_sectors(d));
		n += 8;
	} else {
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		return;
	}
	set_be16(b, n - 2);
	reply(d, n, allocation);
}

/* Profiles CD-ROM and DVD-ROM, the core and removable-medium features. */
static void get_configuration(struct ata_device *d)
{
	uint8_t *b = d->buffer;
	/* What does not fit on a CD is a DVD. */
	bool dvd = disc_sectors(d) > 80 * 60 * 75;

	memset(b, 0, 48);
	if (has_medium(d))
		set_be16(b + 6, dvd ? 0x10 : 8);
	b[8 + 2] = 3; /* profile list: persistent, current */
	b[8 + 3] = 8;
	set_be16(b + 12, 0x10);
	b[14] = dvd && has_medium(d);
	set_be16(b + 16, 8);
	b[18] = !dvd && has_medium(d);
	set_be16(b + 20, 1); /* core */
	b[22] = 0x0b;
	b[23] = 8;
	set_be32(b + 24, 2); /* ATAPI */
	b[28] = 1;
	set_be16(b + 32, 3); /* removable medium */
	b[34] = 3;
	b[35] = 4;
	b[36] = 0x29; /* a tray, that ejects and locks */
	set_be32(b, 40 - 4);
	reply(d, 40, get_be16(d->packet + 7));
}

static void get_event_status(struct ata_device *d)
{
	uint8_t *b = d->buffer;

	if (!(d->packet[1] & 1)) { /* only polling */
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		return;
	}
	memset(b, 0, 8);
	b[3] = BIT(4); /* media events are all we have */
	if (!(d->packet[4] & BIT(4))) {
		b[2] = BIT(7);
		reply(d, 4, get_be16(d->packet + 7));
		return;
	}
	set_be16(b, 6);
	b[2] = 4;
	if (d->event_pending)
		b[4] = d->tray_open ? 3 : 2; /* removal, new medium */
	d->event_pending = false;
	b[5] = (uint8_t)((has_medium(d) ? 2 : 0) | (d->tray_open ? 1 : 0));
	reply(d, 8, get_be16(d->packet + 7));
}

static void mode_sense(struct ata_device *d)
{
	uint8_t *b = d->buffer, page = d->packet[2] & 0x3f;
	uint32_t n = 8, allocation = get_be16(d->packet + 7);

	if (d->packet[2] >> 6 == 3) {
		check_condition(d, SENSE_ILLEGAL_REQUEST, 0x39); /* no saved pages */
		return;
	}
	memset(b, 0, 64);
	b[2] = 0x70;
	if (page == 0x01 || page == 0x3f) { /* error recovery */
		b[n] = 1;
		b[n + 1] = 6;
		b[n + 3] = 5;
		n += 8;
	}
	if (page == 0x2a || page == 0x3f) { /* capabilities */
		b[n] = 0x2a;
		b[n + 1] = 0x12;
		b[n + 4] = 0x71;
		b[n + 5] = 0x60;
		b[n + 6] = (uint8_t)(0x29 | (d->tray_locked ? 2 : 0));
		set_be16(b + n + 8, 706); /* kB/s */
		set_be16(b + n + 10, 2);
		set_be16(b + n + 12, 512);
		set_be16(b + n + 14, 706);
		n += 20;
	}
	if (n == 8) {
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		return;
	}
	set_be16(b, n - 2);
	reply(d, n, allocation);
}

static void read_disc_information(struct ata_device *d)
{
	uint8_t *b = d->buffer;

	if (d->packet[1] & 7) {
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		return;
	}
	memset(b, 0, 34);
	set_be16(b, 32);
	b[2] = 0x0e; /* finished, one session */
	b[3] = b[4] = b[5] = b[6] = 1;
	b[7] = 0x20; /* unrestricted use */
	reply(d, 34, get_be16(d->packet + 7));
}

static void mechanism_status(struct ata_device *d)
{
	memset(d->buffer, 0, 8);
	d->buffer[1] = d->tray_open ? BIT(4) : 0;
	d->buffer[5] = 1;
	reply(d, 8, get_be16(d->packet + 8));
}

/* Data of mode 1 sectors only, which is all that such a disc has beside error correction. */
static void read_cd(struct ata_device *d)
{
	uint32_t n = get_be32(d->packet + 5) & 0xffffff;

	switch (d->packet[9] & 0xf8) {
	case 0x00:
		finish(d);
		break;
	case 0x10:
		read_sectors(d, get_be32(d->packet + 2), n);
		break;
	default:
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
	}
}

static void test_unit_ready(struct ata_device *d)
{
	finish(d);
}

static void prevent_removal(struct ata_device *d)
{
	d->tray_locked = d->packet[4] & 1;
	finish(d);
}

static void read_10(struct ata_device *d)
{
	read_sectors(d, get_be32(d->packet + 2), get_be16(d->packet + 7));
}

static void read_12(struct ata_device *d)
{
	read_sectors(d, get_be32(d->packet + 2), get_be32(d->packet + 6));
}

static void seek(struct ata_device *d)
{
	if (get_be32(d->packet + 2) >= disc_sectors(d))
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	else
		finish(d);
}

static const struct packet_command {
	uint8_t op;
	bool needs_medium;
	bool despite_change; /* runs, and tells nothing, while a change is to be told */
	void (*run)(struct ata_device *d);
} commands[] = {
	{ OP_TEST_UNIT_READY, true, false, test_unit_ready },
	{ OP_REQUEST_SENSE, false, true, request_sense },
	{ OP_INQUIRY, false, true, inquiry },
	{ OP_START_STOP, false, false, start_stop },
	{ OP_PREVENT_REMOVAL, false, false, prevent_removal },
	{ OP_READ_CAPACITY, true, false, read_capacity },
	{ OP_READ_10, true, false, read_10 },
	{ OP_READ_12, true, false, read_12 },
	{ OP_READ_CD, true, false, read_cd },
	{ OP_SEEK_10, true, false, seek },
	{ OP_READ_TOC, true, false, read_toc },
	{ OP_GET_CONFIGURATION, false, true, get_configuration },
	{ OP_GET_EVENT_STATUS, false, true, get_event_status },
	{ OP_READ_DISC_INFORMATION, true, false, read_disc_information },
	{ OP_MODE_SENSE_10, false, false, mode_sense },
	{ OP_SET_SPEED, false, false, test_unit_ready },
	{ OP_MECHANISM_STATUS, false, false, mechanism_status },
};

void atapi_packet(struct ata_device *d)
{
	const struct packet_command *p = NULL;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].op == d->packet[0])
			p = &commands[i];
	d->status = ATA_SR_BSY | ATA_SR_DSC;
	if (!p) {
		log_guest(d->channel->owner, "packet command 0x%02x is not known", d->packet[0]);
		check_condition(d, SENSE_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
	} else if (d->medium_changed && !p->despite_change) {
		d->medium_changed = false;
		check_condition(d, SENSE_UNIT_ATTENTION, ASC_MEDIUM_CHANGED);
	} else if (p->needs_medium && !has_medium(d)) {
		check_condition(d, SENSE_NOT_READY, ASC_NO_MEDIUM);
	} else {
		p->run(d);
	}
}
