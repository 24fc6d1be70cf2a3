/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82077AA floppy disk controller with two drives. Source: Intel 82077AA data sheet (290166). Not
 * modelled: the motor's and the head's times, gaps, deleted data marks, scan commands, copy
 * protection.
 */
#pragma once

#include "block/drive.h"
#include "hw/dma/i8237.h"

#define FDC_DRIVES 2
#define FDC_FIFO 16
#define FDC_SECTOR 512u

struct floppy {
	struct fdc *fdc;
	struct drive *back; /* NULL: no drive */
	uint8_t track;
	bool changed; /* the disk change line */
};

struct fdc {
	struct device dev;
	struct floppy drives[FDC_DRIVES];
	uint8_t dor, dsr, tdr, rate;
	uint8_t phase; /* enum fdc_phase, fdc.c */
	uint8_t command[FDC_FIFO], command_len;
	uint8_t result[FDC_FIFO], result_len, result_at;
	uint8_t specify[2], config[3], precomp, perpendicular;
	bool locked, irq_pending;
	uint8_t seek_status[FDC_DRIVES]; /* ST0 of an interrupt that is not sensed yet */
	bool seek_pending[FDC_DRIVES];
	uint8_t polled; /* resets report each of four drives in turn; how many are left */
	/* The transfer. */
	uint8_t cylinder, head, sector, last_sector;
	uint16_t at;
	uint8_t buffer[FDC_SECTOR];

	struct i8237 *dma;
	struct irq irq;
	struct drive_request io;
	struct iovec iov;
	unsigned epoch, io_epoch;
	bool stalled; /* begins again when the VM runs */
};

/* irq: ISA line 6; dma: the 8-bit controller. */
struct fdc *fdc_new(struct machine *m, struct bus *isa, struct i8237 *dma, struct irq irq,
		    GError **err);
bool fdc_attach(struct fdc *f, unsigned n, struct drive *back, GError **err);
/* What CMOS says of a drive: 0 none, 2 1.2 MB, 3 720 KB, 4 1.44 MB, 5 2.88 MB. */
uint8_t fdc_cmos_type(const struct fdc *f, unsigned n);
