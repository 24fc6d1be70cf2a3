/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CD-ROM drives: the commands that they take, whichever way these come (ATAPI packets, SCSI).
 * Source: MMC-5 (T10 1675D), INF-8090; SPC-3 for INQUIRY and sense data. Discs are data discs of
 * one track; audio, writing and regions are not modelled.
 */
#pragma once

#include "block/drive.h"
#include "core/device.h"
#include "hw/scsi/sense.h"

#define CD_SECTOR 2048u
#define MMC_REPLY_BYTES 64
#define MMC_MOST_SECTORS 65536 /* that one command reads */

struct cdrom {
	/* The host's. */
	struct drive *back;
	bool atapi;

	uint8_t sense_key, asc, ascq;
	bool tray_open, tray_locked, medium_changed, event_pending;
};
extern const struct field_table cdrom_table;

enum mmc_result {
	MMC_DONE,
	MMC_CHECK, /* the sense data say why */
	MMC_REPLY, /* the first `len` bytes of the reply */
	MMC_READ,  /* `sectors` sectors, at least 1, from `sector` on */
};
struct mmc_command {
	const uint8_t *cdb;		/* 12 bytes */
	uint8_t reply[MMC_REPLY_BYTES]; /* zeros behind what it holds */
	uint32_t len, sector, sectors;
};

/* The reply is no longer than what the command allows. Unknown commands are logged for `owner`. */
enum mmc_result mmc_run(struct cdrom *c, struct mmc_command *m, void *owner);
void cdrom_set_sense(struct cdrom *c, uint8_t key, uint16_t asc);
void cdrom_reset(struct cdrom *c);
struct drive_tray cdrom_tray(const struct cdrom *c);
/* The user has changed the medium; an empty tray stays open. */
void cdrom_medium_changed(struct cdrom *c);
uint32_t cdrom_sectors(const struct cdrom *c);
