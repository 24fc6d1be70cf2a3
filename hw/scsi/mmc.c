/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CD-ROM drives: see mmc.h. */
#include "hw/scsi/mmc.h"

#include <string.h>

#include "core/log.h"

#define D struct cdrom
FIELD_TABLE(cdrom_table, HOST(back, atapi), F(sense_key), F(asc), F(ascq), F(tray_open),
	    F(tray_locked), F(medium_changed), F(event_pending));

#define OP_TEST_UNIT_READY 0x00
#define OP_REQUEST_SENSE 0x03
#define OP_INQUIRY 0x12
#define OP_MODE_SENSE_6 0x1a
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

static bool has_medium(const struct cdrom *c)
{
	return c->back && c->back->block && !c->tray_open;
}

uint32_t cdrom_sectors(const struct cdrom *c)
{
	uint64_t n = has_medium(c) ? drive_size(c->back) / CD_SECTOR : 0;

	return (uint32_t)MIN_OF(n, (uint64_t)UINT32_MAX);
}

void cdrom_set_sense(struct cdrom *c, uint8_t key, uint16_t asc)
{
	c->sense_key = key;
	c->asc = (uint8_t)(asc >> 8);
	c->ascq = (uint8_t)asc;
}

void cdrom_reset(struct cdrom *c)
{
	cdrom_set_sense(c, SENSE_NONE, 0);
	c->tray_locked = false;
}

static void tell_change(struct cdrom *c)
{
	c->medium_changed = c->event_pending = true;
}

static void move_tray(struct cdrom *c, bool open)
{
	if (c->tray_open == open)
		return;
	c->tray_open = open;
	drive_tray_moved(c->back, open);
}

struct drive_tray cdrom_tray(const struct cdrom *c)
{
	return (struct drive_tray) { c->tray_open, c->tray_locked };
}

void cdrom_medium_changed(struct cdrom *c)
{
	/* The old disc has left by the tray. */
	move_tray(c, true);
	move_tray(c, !c->back->block);
	tell_change(c);
}

static enum mmc_result check(struct cdrom *c, uint8_t key, uint16_t asc)
{
	cdrom_set_sense(c, key, asc);
	return MMC_CHECK;
}

static enum mmc_result reply(struct mmc_command *m, uint32_t len, uint32_t allocation)
{
	m->len = MIN_OF(len, allocation);
	return m->len ? MMC_REPLY : MMC_DONE;
}

static enum mmc_result read_sectors(struct cdrom *c, struct mmc_command *m, uint32_t sector,
				    uint32_t n)
{
	if (sector >= cdrom_sectors(c) || n > cdrom_sectors(c) - sector)
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	if (n > MMC_MOST_SECTORS)
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
	m->sector = sector;
	m->sectors = n;
	return n ? MMC_READ : MMC_DONE;
}

static enum mmc_result inquiry(struct cdrom *c, struct mmc_command *m)
{
	uint8_t *b = m->reply;

	if (m->cdb[1] & 1)
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
	b[0] = 5;		    /* CD-ROM */
	b[1] = BIT(7);		    /* removable */
	b[2] = c->atapi ? 0 : 5;    /* SPC-3 */
	b[3] = c->atapi ? 0x21 : 2; /* ATAPI, response data format */
	b[4] = 36 - 5;
	memcpy(b + 8, "MOA     ", 8);
	memcpy(b + 16, "MOA CD-ROM      ", 16);
	memcpy(b + 32, "0.1 ", 4);
	return reply(m, 36, m->cdb[4]);
}

static enum mmc_result request_sense(struct cdrom *c, struct mmc_command *m)
{
	uint8_t *b = m->reply;

	b[0] = 0x70;
	b[2] = c->sense_key;
	b[7] = 10;
	b[12] = c->asc;
	b[13] = c->ascq;
	return reply(m, 18, m->cdb[4]);
}

static enum mmc_result start_stop(struct cdrom *c, struct mmc_command *m)
{
	bool load_eject = m->cdb[4] & 2, start = m->cdb[4] & 1;

	if (load_eject && !start && c->tray_locked)
		return check(c, has_medium(c) ? SENSE_ILLEGAL_REQUEST : SENSE_NOT_READY,
			     ASC_REMOVAL_PREVENTED);
	if (load_eject && c->tray_open == start) {
		move_tray(c, !start);
		tell_change(c);
		c->medium_changed = start && has_medium(c);
	}
	return MMC_DONE;
}

static enum mmc_result read_capacity(struct cdrom *c, struct mmc_command *m)
{
	put_be32(m->reply, cdrom_sectors(c) - 1);
	put_be32(m->reply + 4, CD_SECTOR);
	return reply(m, 8, 8);
}

static void put_address(uint8_t *p, bool msf, uint32_t sector)
{
	if (!msf) {
		put_be32(p, sector);
		return;
	}
	sector += 150; /* 2 seconds */
	p[0] = 0;
	p[1] = (uint8_t)(sector / 75 / 60);
	p[2] = (uint8_t)(sector / 75 % 60);
	p[3] = (uint8_t)(sector % 75);
}

/* One data track and the lead-out. */
static enum mmc_result read_toc(struct cdrom *c, struct mmc_command *m)
{
	uint8_t *b = m->reply, format = m->cdb[2] & 15, track = m->cdb[6];
	bool msf = m->cdb[1] & 2;
	uint32_t n = 4, allocation = be16(m->cdb + 7);

	if (!format)
		format = m->cdb[9] >> 6;
	b[2] = b[3] = 1;
	if (format == 1) { /* sessions */
		b[5] = 0x14;
		b[6] = 1;
		put_address(b + 8, msf, 0);
		n = 12;
	} else if (format == 0) {
		if (track > 1 && track != 0xaa)
			return check(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		if (track <= 1) {
			b[n + 1] = 0x14;
			b[n + 2] = 1;
			put_address(b + n + 4, msf, 0);
			n += 8;
		}
		b[n + 1] = 0x16;
		b[n + 2] = 0xaa;
		put_address(b + n + 4, msf, cdrom_sectors(c));
		n += 8;
	} else
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
	put_be16(b, (uint16_t)(n - 2));
	return reply(m, n, allocation);
}

/* Profiles CD-ROM and DVD-ROM, the core and removable-medium features. */
static enum mmc_result get_configuration(struct cdrom *c, struct mmc_command *m)
{
	uint8_t *b = m->reply;
	/* What does not fit on a CD is a DVD. */
	bool dvd = cdrom_sectors(c) > 80 * 60 * 75;

	if (has_medium(c))
		put_be16(b + 6, dvd ? 0x10 : 8);
	b[8 + 2] = 3; /* profile list: persistent, current */
	b[8 + 3] = 8;
	put_be16(b + 12, 0x10);
	b[14] = dvd && has_medium(c);
	put_be16(b + 16, 8);
	b[18] = !dvd && has_medium(c);
	put_be16(b + 20, 1); /* core */
	b[22] = 0x0b;
	b[23] = 8;
	put_be32(b + 24, c->atapi ? 2 : 1); /* interface: ATAPI, SCSI */
	b[28] = 1;
	put_be16(b + 32, 3); /* removable medium */
	b[34] = 3;
	b[35] = 4;
	b[36] = 0x29; /* a tray, that ejects and locks */
	put_be32(b, 40 - 4);
	return reply(m, 40, be16(m->cdb + 7));
}

static enum mmc_result get_event_status(struct cdrom *c, struct mmc_command *m)
{
	uint8_t *b = m->reply;

	if (!(m->cdb[1] & 1)) { /* only polling */
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
	}
	b[3] = BIT(4); /* media events are all we have */
	if (!(m->cdb[4] & BIT(4))) {
		b[2] = BIT(7);
		return reply(m, 4, be16(m->cdb + 7));
	}
	put_be16(b, 6);
	b[2] = 4;
	if (c->event_pending)
		b[4] = c->tray_open ? 3 : 2; /* removal, new medium */
	c->event_pending = false;
	b[5] = (uint8_t)((has_medium(c) ? 2 : 0) | (c->tray_open ? 1 : 0));
	return reply(m, 8, be16(m->cdb + 7));
}

static enum mmc_result mode_sense(struct cdrom *c, struct mmc_command *m)
{
	uint8_t *b = m->reply, page = m->cdb[2] & 0x3f;
	bool short_form = m->cdb[0] == OP_MODE_SENSE_6;
	uint32_t header = short_form ? 4 : 8, n = header;

	if (m->cdb[2] >> 6 == 3)
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_NO_SAVED_PAGES);
	b[short_form ? 1 : 2] = 0x70;
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
		b[n + 6] = (uint8_t)(0x29 | (c->tray_locked ? 2 : 0));
		put_be16(b + n + 8, 706); /* kB/s */
		put_be16(b + n + 10, 2);
		put_be16(b + n + 12, 512);
		put_be16(b + n + 14, 706);
		n += 20;
	}
	if (n == header)
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
	if (short_form)
		b[0] = (uint8_t)(n - 1);
	else
		put_be16(b, (uint16_t)(n - 2));
	return reply(m, n, short_form ? m->cdb[4] : be16(m->cdb + 7));
}

static enum mmc_result read_disc_information(struct cdrom *c, struct mmc_command *m)
{
	uint8_t *b = m->reply;

	if (m->cdb[1] & 7)
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
	put_be16(b, 32);
	b[2] = 0x0e; /* finished, one session */
	b[3] = b[4] = b[5] = b[6] = 1;
	b[7] = 0x20; /* unrestricted use */
	return reply(m, 34, be16(m->cdb + 7));
}

static enum mmc_result mechanism_status(struct cdrom *c, struct mmc_command *m)
{
	m->reply[1] = c->tray_open ? BIT(4) : 0;
	m->reply[5] = 1;
	return reply(m, 8, be16(m->cdb + 8));
}

/* Data of mode 1 sectors only, which is all that such a disc has beside error correction. */
static enum mmc_result read_cd(struct cdrom *c, struct mmc_command *m)
{
	uint32_t n = be32(m->cdb + 5) & 0xffffff;

	switch (m->cdb[9] & 0xf8) {
	case 0x00:
		return MMC_DONE;
	case 0x10:
		return read_sectors(c, m, be32(m->cdb + 2), n);
	default:
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
	}
}

static enum mmc_result test_unit_ready(struct cdrom *c, struct mmc_command *m)
{
	(void)c;
	(void)m;
	return MMC_DONE;
}

static enum mmc_result prevent_removal(struct cdrom *c, struct mmc_command *m)
{
	c->tray_locked = m->cdb[4] & 1;
	return MMC_DONE;
}

static enum mmc_result read_10(struct cdrom *c, struct mmc_command *m)
{
	return read_sectors(c, m, be32(m->cdb + 2), be16(m->cdb + 7));
}

static enum mmc_result read_12(struct cdrom *c, struct mmc_command *m)
{
	return read_sectors(c, m, be32(m->cdb + 2), be32(m->cdb + 6));
}

static enum mmc_result seek(struct cdrom *c, struct mmc_command *m)
{
	if (be32(m->cdb + 2) >= cdrom_sectors(c))
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	return MMC_DONE;
}

static const struct packet_command {
	uint8_t op;
	bool needs_medium;
	bool despite_change; /* runs, and tells nothing, while a change is to be told */
	enum mmc_result (*run)(struct cdrom *c, struct mmc_command *m);
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
	{ OP_MODE_SENSE_6, false, false, mode_sense },
	{ OP_MODE_SENSE_10, false, false, mode_sense },
	{ OP_SET_SPEED, false, false, test_unit_ready },
	{ OP_MECHANISM_STATUS, false, false, mechanism_status },
};

enum mmc_result mmc_run(struct cdrom *c, struct mmc_command *m, void *owner)
{
	const struct packet_command *p = NULL;
	enum mmc_result r;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].op == m->cdb[0])
			p = &commands[i];
	memset(m->reply, 0, sizeof(m->reply));
	if (!p) {
		log_guest(owner, "packet command 0x%02x is not known", m->cdb[0]);
		return check(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
	}
	if (c->medium_changed && !p->despite_change) {
		c->medium_changed = false;
		return check(c, SENSE_UNIT_ATTENTION, ASC_MEDIUM_CHANGED);
	}
	if (p->needs_medium && !has_medium(c))
		return check(c, SENSE_NOT_READY, ASC_NO_MEDIUM);
	r = p->run(c, m);
	if (r != MMC_CHECK)
		cdrom_set_sense(c, SENSE_NONE, 0);
	return r;
}
