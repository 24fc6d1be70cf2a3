/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The floppy disk controller: see fdc.h. Sections are the data sheet's. */
#include "hw/block/fdc.h"

#include <string.h>

#include "core/log.h"

enum fdc_phase {
	PHASE_COMMAND,
	PHASE_READING,	 /* the drive fills the buffer */
	PHASE_WRITING,	 /* the drive takes it */
	PHASE_TO_HOST,	 /* the host reads it byte by byte */
	PHASE_FROM_HOST, /* the host fills it */
	PHASE_RESULT,
	PHASES
};

#define DOR_RESET BIT(2) /* low: in reset */
#define DOR_GATE BIT(3)	 /* interrupts and DMA */
#define DSR_RESET BIT(7)
#define MSR_RQM BIT(7)
#define MSR_DIO BIT(6)
#define MSR_NON_DMA BIT(5)
#define MSR_BUSY BIT(4)
#define DIR_CHANGED BIT(7)

#define ST0_ABNORMAL 0x40
#define ST0_INVALID 0x80
#define ST0_POLLED 0xc0
#define ST0_SEEK_END BIT(5)
#define ST0_CHECK BIT(4)
#define ST1_NO_MARK BIT(0)
#define ST1_WRITE_PROTECTED BIT(1)
#define ST1_NO_DATA BIT(2)
#define ST1_OVERRUN BIT(4)
#define ST1_DATA_ERROR BIT(5)
#define ST1_END BIT(7)
#define ST2_WRONG_CYLINDER BIT(4)
#define ST3_WRITE_PROTECTED BIT(6)

#define MULTI_TRACK BIT(7)
#define CONFIG_IMPLIED_SEEK BIT(6)
#define CONFIG_NO_POLL BIT(4)
#define SPECIFY_NON_DMA BIT(0)

#define HEADS 2
#define DMA_CHANNEL 2

enum {
	READ_TRACK = 0x02,
	SPECIFY = 0x03,
	SENSE_DRIVE = 0x04,
	WRITE_DATA = 0x05,
	READ_DATA = 0x06,
	RECALIBRATE = 0x07,
	SENSE_INTERRUPT = 0x08,
	READ_ID = 0x0a,
	FORMAT_TRACK = 0x0d,
	DUMPREG = 0x0e,
	SEEK = 0x0f,
	VERSION = 0x10,
	PERPENDICULAR = 0x12,
	CONFIGURE = 0x13,
	LOCK = 0x14
};

/* Disks by their size. `rate` is the data rate register's value for it. */
struct format {
	uint32_t sectors;
	uint8_t cylinders, per_track, rate, cmos;
};
static const struct format formats[] = { { 2880, 80, 18, 0, 4 }, { 5760, 80, 36, 3, 5 },
					 { 2400, 80, 15, 0, 2 }, { 1440, 80, 9, 2, 3 },
					 { 720, 40, 9, 2, 1 },	 { 3360, 80, 21, 0, 4 } };

static const struct format *format_of(const struct floppy *d)
{
	uint64_t n = d->back && d->back->block ? drive_size(d->back) / FDC_SECTOR : 0;

	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (formats[i].sectors == n)
			return &formats[i];
	return NULL;
}

uint8_t fdc_cmos_type(const struct fdc *f, unsigned n)
{
	const struct format *g = format_of(&f->drives[n]);

	return !f->drives[n].back ? 0 : g ? g->cmos : 4;
}

static struct floppy *drive_at(struct fdc *f, unsigned n)
{
	return n < FDC_DRIVES ? &f->drives[n] : NULL;
}

/* Interrupts. */

static void update_irq(struct fdc *f)
{
	irq_set(&f->irq, f->irq_pending && f->dor & DOR_GATE);
}

static void set_irq(struct fdc *f, bool pending)
{
	f->irq_pending = pending;
	update_irq(f);
}

/* Phases. */

static void to_command(struct fdc *f)
{
	f->phase = PHASE_COMMAND;
	f->command_len = 0;
}

static void to_result(struct fdc *f, unsigned n)
{
	f->phase = PHASE_RESULT;
	f->result_len = (uint8_t)n;
	f->result_at = 0;
}

/* The seven bytes at the end of commands that touch the disk. */
static void end_transfer(struct fdc *f, uint8_t st0, uint8_t st1, uint8_t st2)
{
	const uint8_t r[] = { (uint8_t)(st0 | f->head << 2 | (f->command[1] & 3)),
			      st1,
			      st2,
			      f->cylinder,
			      f->head,
			      f->sector,
			      2 };

	memcpy(f->result, r, sizeof(r));
	to_result(f, sizeof(r));
	set_irq(f, true);
}

static struct floppy *transfer_drive(struct fdc *f)
{
	return drive_at(f, f->command[1] & 3);
}

/* Sectors. */

static bool is_dma(const struct fdc *f)
{
	return !(f->specify[1] & SPECIFY_NON_DMA) && f->dor & DOR_GATE;
}

static void io_done(struct drive_request *io, int error);

static void submit_sector(struct fdc *f, enum drive_op op)
{
	struct floppy *d = transfer_drive(f);
	const struct format *g = format_of(d);
	uint64_t n =
		((uint64_t)f->cylinder * HEADS + f->head) * (g ? g->per_track : 0) + f->sector - 1u;

	f->phase = op == DRIVE_READ ? PHASE_READING : PHASE_WRITING;
	f->iov = (struct iovec) { f->buffer, FDC_SECTOR };
	f->io = (struct drive_request) { .op = op,
					 .offset = n * FDC_SECTOR,
					 .len = FDC_SECTOR,
					 .iov = &f->iov,
					 .niov = 1,
					 .done = io_done };
	f->io_epoch = f->epoch;
	drive_submit(d->back, &f->io);
}

/* The sector that comes after; false when it was the last. */
static bool advance(struct fdc *f)
{
	if (f->sector < f->last_sector) {
		f->sector++;
		return true;
	}
	f->sector = 1;
	if (f->command[0] & MULTI_TRACK && !f->head) {
		f->head = 1;
		return true;
	}
	if (f->command[0] & MULTI_TRACK)
		f->head = 0;
	f->cylinder++;
	return false;
}

static bool is_format(const struct fdc *f)
{
	return (f->command[0] & 31) == FORMAT_TRACK;
}

static bool is_read(const struct fdc *f)
{
	return (f->command[0] & 31) == READ_DATA || (f->command[0] & 31) == READ_TRACK;
}

static void begin_sector(struct fdc *f);

/* One sector is over, on the host's side too. */
static void next_sector(struct fdc *f, bool terminal)
{
	bool more = advance(f);

	if (terminal)
		end_transfer(f, 0, 0, 0);
	else if (more)
		begin_sector(f);
	else /* nobody said stop (5.1.1) */
		end_transfer(f, is_format(f) ? 0 : ST0_ABNORMAL, is_format(f) ? 0 : ST1_END, 0);
}

/* What a sector takes from the host: its data, or for a format its address. */
static unsigned wanted(const struct fdc *f)
{
	return is_format(f) ? 4 : FDC_SECTOR;
}

static void take_from_host(struct fdc *f)
{
	if (is_format(f)) {
		f->sector = f->buffer[2];
		memset(f->buffer, f->command[5], FDC_SECTOR);
		if (f->sector < 1 || f->sector > f->last_sector) {
			end_transfer(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
			return;
		}
	}
	submit_sector(f, DRIVE_WRITE);
}

static void begin_sector(struct fdc *f)
{
	bool terminal = false;

	f->at = 0;
	if (is_read(f)) {
		submit_sector(f, DRIVE_READ);
		return;
	}
	f->phase = PHASE_FROM_HOST;
	if (!is_dma(f)) {
		set_irq(f, true);
		return;
	}
	memset(f->buffer, 0, sizeof(f->buffer));
	if (!i8237_transfer(f->dma, DMA_CHANNEL, f->buffer, wanted(f), &terminal)) {
		end_transfer(f, ST0_ABNORMAL, ST1_OVERRUN, 0);
		return;
	}
	f->at = terminal; /* remembered while the drive works */
	take_from_host(f);
}

static void sector_read(struct fdc *f)
{
	bool terminal = false;

	if (!is_dma(f)) {
		f->phase = PHASE_TO_HOST;
		f->at = 0;
		set_irq(f, true);
		return;
	}
	if (i8237_transfer(f->dma, DMA_CHANNEL, f->buffer, FDC_SECTOR, &terminal))
		next_sector(f, terminal);
	else
		end_transfer(f, ST0_ABNORMAL, ST1_OVERRUN, 0);
}

static void io_done(struct drive_request *io, int error)
{
	struct fdc *f = container_of(io, struct fdc, io);
	bool read = io->op == DRIVE_READ;

	if (f->io_epoch != f->epoch)
		return;
	if (error) {
		enum drive_on_error action = drive_failed(io->drive, io->op, error);

		if (action == ON_ERROR_STOP) {
			f->stalled = true;
			return;
		}
		if (action != ON_ERROR_IGNORE) {
			end_transfer(f, ST0_ABNORMAL, ST1_DATA_ERROR, 0);
			return;
		}
	}
	if (read)
		sector_read(f);
	else if (is_format(f))
		next_sector(f, f->sector == f->last_sector);
	else
		next_sector(f, f->at);
}

/* Commands. */

/* Why the sector under the head cannot be had; 0: it can. */
static uint8_t obstacle(struct fdc *f, const struct floppy *d)
{
	const struct format *g = d ? format_of(d) : NULL;

	if (!g)
		return ST1_NO_MARK | ST1_NO_DATA;
	return g->rate == f->rate ? 0 : ST1_NO_MARK;
}

static void transfer(struct fdc *f)
{
	struct floppy *d = transfer_drive(f);
	const struct format *g = d ? format_of(d) : NULL;
	uint8_t why = obstacle(f, d);

	f->head = f->command[1] >> 2 & 1;
	f->cylinder = f->command[2];
	f->sector = f->command[4];
	f->last_sector = f->command[6];
	if ((f->command[0] & 31) == READ_TRACK)
		f->sector = 1;
	if (why) {
		end_transfer(f, ST0_ABNORMAL, why, 0);
		return;
	}
	if (f->config[1] & CONFIG_IMPLIED_SEEK && f->cylinder < g->cylinders)
		d->track = f->cylinder;
	if (d->track != f->cylinder) {
		end_transfer(f, ST0_ABNORMAL, ST1_NO_DATA, ST2_WRONG_CYLINDER);
		return;
	}
	if (f->command[5] != 2 || f->command[3] != f->head || f->sector < 1 ||
	    f->sector > g->per_track || f->cylinder >= g->cylinders) {
		end_transfer(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
		return;
	}
	f->last_sector = MIN_OF(f->last_sector, g->per_track);
	if (!is_read(f) && d->back->read_only) {
		end_transfer(f, ST0_ABNORMAL, ST1_WRITE_PROTECTED, 0);
		return;
	}
	begin_sector(f);
}

static void format_track(struct fdc *f)
{
	struct floppy *d = transfer_drive(f);
	uint8_t why = obstacle(f, d);

	f->head = f->command[1] >> 2 & 1;
	f->cylinder = d ? d->track : 0;
	f->sector = 1;
	f->last_sector = f->command[3];
	if (!why && d->back->read_only)
		why = ST1_WRITE_PROTECTED;
	if (!why && (f->command[2] != 2 || f->last_sector != format_of(d)->per_track ||
		     f->cylinder >= format_of(d)->cylinders))
		why = ST1_NO_DATA;
	if (why)
		end_transfer(f, ST0_ABNORMAL, why, 0);
	else
		begin_sector(f);
}

static void read_id(struct fdc *f)
{
	struct floppy *d = transfer_drive(f);
	uint8_t why = obstacle(f, d);

	f->head = f->command[1] >> 2 & 1;
	f->cylinder = d ? d->track : 0;
	f->sector = 1;
	end_transfer(f, why ? ST0_ABNORMAL : 0, why, 0);
}

/* Seeks take no time; a step finds out about a new disk (5.2). */
static void move_head(struct fdc *f, unsigned n, uint8_t track, bool recalibrate)
{
	struct floppy *d = drive_at(f, n);

	to_command(f);
	if (!d)
		return;
	if (d->back) {
		d->track = track;
		if (d->back->block)
			d->changed = false;
	}
	f->seek_status[n] = (uint8_t)(ST0_SEEK_END | n |
				      (recalibrate && !d->back ? ST0_ABNORMAL | ST0_CHECK : 0));
	f->seek_pending[n] = true;
	set_irq(f, true);
}

static void recalibrate(struct fdc *f)
{
	move_head(f, f->command[1] & 3, 0, true);
}

static void seek(struct fdc *f)
{
	move_head(f, f->command[1] & 3, f->command[2], false);
}

static void sense_interrupt(struct fdc *f)
{
	set_irq(f, false);
	if (f->polled) {
		uint8_t n = (uint8_t)(4 - f->polled--);

		f->result[0] = ST0_POLLED | n;
		f->result[1] = n < FDC_DRIVES ? f->drives[n].track : 0;
		to_result(f, 2);
		return;
	}
	for (unsigned n = 0; n < FDC_DRIVES; n++) {
		if (!f->seek_pending[n])
			continue;
		f->seek_pending[n] = false;
		f->result[0] = f->seek_status[n];
		f->result[1] = f->drives[n].track;
		to_result(f, 2);
		return;
	}
	f->result[0] = ST0_INVALID;
	to_result(f, 1);
}

static void sense_drive(struct fdc *f)
{
	const struct floppy *d = transfer_drive(f);

	f->result[0] = (uint8_t)((f->command[1] & 7) | BIT(3) | BIT(5));
	if (d && d->back && d->back->read_only)
		f->result[0] |= ST3_WRITE_PROTECTED;
	if (d && d->back && !d->track)
		f->result[0] |= BIT(4);
	to_result(f, 1);
}

static void specify(struct fdc *f)
{
	memcpy(f->specify, f->command + 1, 2);
	to_command(f);
}

static void configure(struct fdc *f)
{
	memcpy(f->config, f->command + 1, 3);
	f->precomp = f->command[3];
	to_command(f);
}

static void perpendicular(struct fdc *f)
{
	if (f->command[1] & BIT(7))
		f->perpendicular = f->command[1] & 0x7f;
	else
		f->perpendicular = (uint8_t)((f->perpendicular & ~3) | (f->command[1] & 3));
	to_command(f);
}

static void version(struct fdc *f)
{
	f->result[0] = 0x90; /* 82077AA */
	to_result(f, 1);
}

static void lock(struct fdc *f)
{
	f->locked = f->command[0] & BIT(7);
	f->result[0] = f->locked ? BIT(4) : 0;
	to_result(f, 1);
}

static void dump_registers(struct fdc *f)
{
	const uint8_t r[] = { f->drives[0].track,
			      f->drives[1].track,
			      0,
			      0,
			      f->specify[0],
			      f->specify[1],
			      f->last_sector,
			      (uint8_t)(f->locked << 7 | f->perpendicular),
			      f->config[1],
			      f->precomp };

	memcpy(f->result, r, sizeof(r));
	to_result(f, sizeof(r));
}

static const struct command {
	uint8_t mask, op, bytes;
	void (*run)(struct fdc *f);
} commands[] = {
	{ 0x1f, READ_DATA, 9, transfer },
	{ 0x3f, WRITE_DATA, 9, transfer },
	{ 0x9f, READ_TRACK, 9, transfer },
	{ 0xbf, READ_ID, 2, read_id },
	{ 0xbf, FORMAT_TRACK, 6, format_track },
	{ 0xff, RECALIBRATE, 2, recalibrate },
	{ 0xff, SENSE_INTERRUPT, 1, sense_interrupt },
	{ 0xff, SPECIFY, 3, specify },
	{ 0xff, SENSE_DRIVE, 2, sense_drive },
	{ 0xff, SEEK, 3, seek },
	{ 0xff, VERSION, 1, version },
	{ 0xff, CONFIGURE, 4, configure },
	{ 0xff, DUMPREG, 1, dump_registers },
	{ 0xff, PERPENDICULAR, 2, perpendicular },
	{ 0x7f, LOCK, 1, lock },
};

static const struct command *find_command(uint8_t op)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if ((op & commands[i].mask) == commands[i].op)
			return &commands[i];
	return NULL;
}

static void command_byte(struct fdc *f, uint8_t value)
{
	const struct command *c;

	f->command[f->command_len++] = value;
	c = find_command(f->command[0]);
	if (!c) {
		log_guest(f, "command 0x%02x is not known", value);
		f->result[0] = ST0_INVALID;
		to_result(f, 1);
	} else if (f->command_len == c->bytes) {
		c->run(f);
	}
}

/* The FIFO. */

static uint8_t fifo_read(struct fdc *f)
{
	uint8_t v = 0;

	if (f->phase == PHASE_TO_HOST) {
		set_irq(f, false);
		v = f->buffer[f->at++ % FDC_SECTOR];
		if (f->at == FDC_SECTOR)
			next_sector(f, false);
	} else if (f->phase == PHASE_RESULT) {
		set_irq(f, false);
		v = f->result[f->result_at++];
		if (f->result_at == f->result_len)
			to_command(f);
	}
	return v;
}

static void fifo_write(struct fdc *f, uint8_t v)
{
	if (f->phase == PHASE_FROM_HOST) {
		set_irq(f, false);
		f->buffer[f->at++ % FDC_SECTOR] = v;
		if (f->at == wanted(f)) {
			f->at = 0;
			take_from_host(f);
		}
	} else if (f->phase == PHASE_COMMAND) {
		command_byte(f, v);
	}
}

/* Registers (2.1). */

static void forget(struct fdc *f)
{
	for (unsigned i = 0; i < FDC_DRIVES; i++)
		if (f->drives[i].back)
			drive_quiesce(f->drives[i].back);
	f->epoch++;
	f->stalled = false;
	to_command(f);
	f->irq_pending = false;
	f->polled = 0;
	memset(f->seek_pending, 0, sizeof(f->seek_pending));
}

/* By DOR or DSR (3.4): the command is lost, settings stay as far as they are locked. */
static void reset_controller(struct fdc *f)
{
	forget(f);
	if (!f->locked) {
		memset(f->config, 0, sizeof(f->config));
		f->precomp = 0;
	}
	f->perpendicular &= 0x3c;
}

static void end_reset(struct fdc *f)
{
	f->polled = f->config[1] & CONFIG_NO_POLL ? 0 : 4;
	set_irq(f, true);
}

static uint8_t main_status(const struct fdc *f)
{
	uint8_t v = 0;

	if (!(f->dor & DOR_RESET))
		return 0;
	switch (f->phase) {
	case PHASE_COMMAND:
		v = MSR_RQM | (f->command_len ? MSR_BUSY : 0);
		break;
	case PHASE_RESULT:
		v = MSR_RQM | MSR_DIO | MSR_BUSY;
		break;
	case PHASE_TO_HOST:
		v = MSR_RQM | MSR_DIO | MSR_NON_DMA | MSR_BUSY;
		break;
	case PHASE_FROM_HOST:
		v = MSR_RQM | MSR_NON_DMA | MSR_BUSY;
		break;
	default:
		v = MSR_BUSY;
	}
	return v;
}

static uint64_t fdc_read(void *dev, uint64_t off, unsigned size)
{
	struct fdc *f = dev;

	(void)size;
	switch (off) {
	case 0: /* status A: interrupt, no second drive when high */
		return (f->irq_pending ? 0x80 : 0) | (f->drives[1].back ? 0 : 0x40);
	case 1:
		return 0xc0 | (f->dor >> 4 & 3) | (f->dor & 1) << 5;
	case 2:
		return f->dor;
	case 3:
		return f->tdr;
	case 4:
		return main_status(f);
	case 5:
		return fifo_read(f);
	default:
		return 0;
	}
}

static void fdc_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct fdc *f = dev;
	uint8_t v = (uint8_t)value, was = f->dor;

	(void)size;
	switch (off) {
	case 2:
		f->dor = v;
		if (was & DOR_RESET && !(v & DOR_RESET))
			reset_controller(f);
		else if (!(was & DOR_RESET) && v & DOR_RESET)
			end_reset(f);
		update_irq(f);
		break;
	case 3:
		f->tdr = v & 3;
		break;
	case 4:
		f->dsr = v & 0x7f;
		f->rate = v & 3;
		if (v & DSR_RESET) {
			reset_controller(f);
			end_reset(f);
		}
		break;
	case 5:
		if (f->dor & DOR_RESET)
			fifo_write(f, v);
		break;
	}
}

/* Digital input and configuration control. */
static uint64_t dir_read(void *dev, uint64_t off, unsigned size)
{
	struct fdc *f = dev;
	const struct floppy *d = drive_at(f, f->dor & 3);

	(void)off;
	(void)size;
	return d && d->back && d->changed ? DIR_CHANGED : 0;
}

static void ccr_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	(void)off;
	(void)size;
	((struct fdc *)dev)->rate = value & 3;
}

/* Life. */

static void medium_changed(void *opaque)
{
	struct floppy *d = opaque;

	d->changed = true;
	if (d->back->block && !format_of(d))
		log_write("drive '%s': an image of %" G_GUINT64_FORMAT " bytes is no floppy disk",
			  d->back->id, drive_size(d->back));
}

static bool fdc_realize(void *dev, GError **err)
{
	(void)err;
	device_map(dev, 0, 0x3f0);
	device_map(dev, 1, 0x3f7);
	return true;
}

static void fdc_unrealize(void *dev)
{
	forget(dev);
}

static void fdc_reset(void *dev)
{
	struct fdc *f = dev;

	forget(f);
	f->dor = DOR_RESET | DOR_GATE;
	f->dsr = 2;
	f->rate = 2;
	f->tdr = 0;
	f->locked = false;
	memset(f->command, 0, sizeof(f->command));
	memset(f->result, 0, sizeof(f->result));
	f->result_len = f->result_at = 0;
	memset(f->specify, 0, sizeof(f->specify));
	memset(f->config, 0, sizeof(f->config));
	memset(f->seek_status, 0, sizeof(f->seek_status));
	memset(f->buffer, 0, sizeof(f->buffer));
	f->precomp = f->perpendicular = 0;
	f->cylinder = f->head = f->sector = f->last_sector = 0;
	f->at = 0;
	for (unsigned i = 0; i < FDC_DRIVES; i++) {
		f->drives[i].track = 0;
		f->drives[i].changed = true;
	}
}

static void fdc_reset_lines(void *dev)
{
	update_irq(dev);
}

static bool fdc_loaded(void *dev, GError **err)
{
	struct fdc *f = dev;
	bool works = f->phase == PHASE_READING || f->phase == PHASE_WRITING,
	     moves = works || f->phase == PHASE_TO_HOST || f->phase == PHASE_FROM_HOST;
	const struct floppy *d = transfer_drive(f);
	const struct format *g = d ? format_of(d) : NULL;

	if (f->phase >= PHASES || f->command_len >= FDC_FIFO || f->result_len > FDC_FIFO ||
	    f->polled > 4 || f->at > FDC_SECTOR ||
	    (f->phase == PHASE_RESULT && f->result_at >= f->result_len) ||
	    (f->phase == PHASE_COMMAND && f->command_len &&
	     (!find_command(f->command[0]) ||
	      f->command_len >= find_command(f->command[0])->bytes)) ||
	    (moves && (!g || f->cylinder >= g->cylinders || f->head >= HEADS || f->sector < 1 ||
		       f->sector > g->per_track || f->last_sector > g->per_track)))
		return error(err, "saved state: '%s': the command makes no sense", f->dev.path);
	f->stalled = works;
	return true;
}

static void fdc_run_changed(void *dev, bool running)
{
	struct fdc *f = dev;

	if (!running || !f->stalled)
		return;
	f->stalled = false;
	submit_sector(f, f->phase == PHASE_READING ? DRIVE_READ : DRIVE_WRITE);
}

#define D struct floppy
static FIELD_TABLE(floppy_table, HOST(fdc, back), F(track), F(changed));
#undef D
#define D struct fdc

DEVICE(fdc,
	.name = "isa-fdc",
	.desc = "82077AA floppy disk controller",
	.bus = "ISA",
	.board_only = true,
	.windows = WINDOWS({ "fdc", WIN_PIO, 6, 1, 1, fdc_read, fdc_write },
			   { "fdc-dir", WIN_PIO, 1, 1, 1, dir_read, ccr_write }),
	.state = FIELDS(FO(drives, floppy_table), F(dor), F(dsr), F(tdr), F(rate), F(phase),
			F(command), F(command_len), F(result), F(result_len), F(result_at),
			F(specify), F(config), F(precomp), F(perpendicular), F(locked),
			F(irq_pending), F(seek_status), F(seek_pending), F(polled), F(cylinder),
			F(head), F(sector), F(last_sector), F(at), F(buffer)),
	.host = HOST(dma, irq, io, iov, epoch, io_epoch, stalled),
	.realize = fdc_realize,
	.unrealize = fdc_unrealize,
	.reset = fdc_reset,
	.reset_lines = fdc_reset_lines,
	.loaded = fdc_loaded,
	.run_changed = fdc_run_changed);

struct fdc *fdc_new(struct machine *m, struct bus *isa, struct i8237 *dma, struct irq irq,
		    GError **err)
{
	struct fdc *f = device_new(m, &device_fdc, NULL);

	f->dma = dma;
	irq_connect(&f->irq, irq);
	return device_realize(f, isa, err) ? f : NULL;
}

bool fdc_attach(struct fdc *f, unsigned n, struct drive *back, GError **err)
{
	struct floppy *d;

	if (n >= FDC_DRIVES)
		return error(err, "drive '%s': the controller has floppy drives 0 and 1, not %u",
			     back->id, n);
	d = &f->drives[n];
	if (!drive_attach(back, d, device_name(f), err))
		return false;
	d->fdc = f;
	d->back = back;
	back->opaque = d;
	back->medium_changed = medium_changed;
	if (back->block && !format_of(d))
		return error(err,
			     "drive '%s': an image of %" G_GUINT64_FORMAT
			     " bytes is no floppy disk; they have 360, 720, 1200, 1440, 1680 or "
			     "2880 KiB",
			     back->id, drive_size(back));
	return true;
}
