/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI: logical units on a bus, and the requests that an adapter hands them. Source: SAM-5 (T10
 * 2104D) for the model, SPC-4 and SBC-3 for commands.
 *
 *	adapter (virtio_scsi.c)  has a struct scsi_bus, finds the unit, submits
 *	unit (scsi_disk.c)       a disk or a CD-ROM with its drive
 *
 * Lock: the adapter's, which is its I/O thread's or the machine lock; `done` is called with it
 * held, from any thread or from inside scsi_submit.
 */
#pragma once

#include "block/drive.h"
#include "core/device.h"
#include "hw/scsi/mmc.h"

#define SCSI_MOST_CDB 32
#define SCSI_SENSE_BYTES 18
#define SCSI_MOST_TARGETS 256
#define SCSI_MOST_LUNS 256

struct scsi_unit;

struct scsi_request {
	/* The adapter's, until `done`: what the initiator sends, and where it wants data. */
	uint8_t cdb[SCSI_MOST_CDB]; /* zeros behind a shorter one */
	const struct iovec *out, *in;
	int nout, nin;
	size_t out_len, in_len;
	void (*done)(struct scsi_request *r);
	/* What came of it. */
	uint8_t status; /* SCSI_GOOD and so on */
	bool has_sense;
	uint8_t sense[SCSI_SENSE_BYTES]; /* fixed format */
	size_t moved;			 /* bytes of data */
	bool overrun; /* the adapter's memory is too small for the transfer, nothing was moved */

	/* The unit's. */
	struct scsi_unit *unit;
	struct drive_request io;
	struct iovec *part;
	struct drive_range *ranges;
	uint8_t *pattern;
	unsigned epoch;
	bool cancelled;
};

struct scsi_bus {
	struct bus bus;
	GPtrArray *units; /* struct scsi_unit * by target and LUN */
	void *adapter;
	struct iothread *iothread; /* whose lock is the adapter's; NULL: the machine lock is */
	/* A unit's parameters have changed; `asc` says how. May be NULL. */
	void (*changed)(void *adapter, struct scsi_unit *unit, uint16_t asc);
	/* Where firmware finds a unit, to be freed. */
	char *(*boot_path)(void *adapter, unsigned target, unsigned lun);
	unsigned most_target, most_lun;
};

void scsi_bus_init(struct scsi_bus *b, struct device *owner, const char *name);
void scsi_bus_destroy(struct scsi_bus *b);
/* The unit, or NULL; *target_exists: whether the target has another. */
struct scsi_unit *scsi_find(struct scsi_bus *b, unsigned target, unsigned lun, bool *target_exists);
unsigned scsi_target(const struct scsi_unit *u);
unsigned scsi_lun(const struct scsi_unit *u);
/* The first free target for a unit whose user named none. */
void scsi_choose_target(struct scsi_unit *u, struct scsi_bus *b);

void scsi_submit(struct scsi_unit *u, struct scsi_request *r);
/* A request for a LUN that its target does not have: INQUIRY and REPORT LUNS are answered. */
void scsi_submit_nobody(struct scsi_bus *b, unsigned target, struct scsi_request *r);
/*
 * Requests that wait for the VM to go on, or all of it for the adapter's own reset: those that
 * wait end with TASK ABORTED at once; memory of the others is not touched any more.
 */
void scsi_cancel(struct scsi_unit *u);
/* A reset of the logical unit, which the initiator will be told of. */
void scsi_unit_reset(struct scsi_unit *u);
/* Calls fn for each unit. */
void scsi_each(struct scsi_bus *b, void (*fn)(struct scsi_unit *u));
