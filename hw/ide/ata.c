/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATA channels and disks: see ata.h. */
#include "hw/ide/ata.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"

#define D struct ata_device
FIELD_TABLE(ata_device_table,
	    HOST(back, cdrom, serial, model, cylinders, heads, sectors, channel, io, iov, own_iov,
		 epoch, io_epoch, busy_io),
	    F(feature), F(count), F(lba_low), F(lba_mid), F(lba_high), F(device), F(status),
	    F(error), F(command), F(multiple), F(heads_now), F(sectors_now), F(dma_mode),
	    F(write_cache), F(phase), F(lba48), F(stalled), F(sector), F(remaining), F(at), F(len),
	    F(buffer), F(packet), FO(cd, cdrom_table), F(packet_left), F(byte_limit), F(packet_dma),
	    F(packet_read), F(ncq_tag), F(ncq_error), F(ncq_sector));
#undef D
#define D struct ata_channel
FIELD_TABLE(ata_channel_table,
	    HOST(irq, dma_ready, dma_done, irq_changed, progress, queues, opaque, owner),
	    FO(devices, ata_device_table), F(control), F(irq_pending));
#undef D

#define CMD_DSM 0x06
#define CMD_DEVICE_RESET 0x08
#define CMD_READ 0x20
#define CMD_READ_EXT 0x24
#define CMD_READ_DMA_EXT 0x25
#define CMD_READ_NATIVE_MAX_EXT 0x27
#define CMD_READ_MULTIPLE_EXT 0x29
#define CMD_READ_LOG_EXT 0x2f
#define CMD_WRITE 0x30
#define CMD_WRITE_EXT 0x34
#define CMD_WRITE_DMA_EXT 0x35
#define CMD_WRITE_MULTIPLE_EXT 0x39
#define CMD_VERIFY 0x40
#define CMD_VERIFY_EXT 0x42
#define CMD_SEEK 0x70
#define CMD_DIAGNOSTIC 0x90
#define CMD_INIT_PARAMETERS 0x91
#define CMD_PACKET 0xa0
#define CMD_IDENTIFY_PACKET 0xa1
#define CMD_READ_MULTIPLE 0xc4
#define CMD_WRITE_MULTIPLE 0xc5
#define CMD_SET_MULTIPLE 0xc6
#define CMD_READ_DMA 0xc8
#define CMD_WRITE_DMA 0xca
#define CMD_CHECK_POWER 0xe5
#define CMD_FLUSH 0xe7
#define CMD_FLUSH_EXT 0xea
#define CMD_IDENTIFY 0xec
#define CMD_SET_FEATURES 0xef
#define CMD_READ_NATIVE_MAX 0xf8

#define DEVICE_LBA BIT(6)
#define DEVICE_DEV1 BIT(4)
#define LOG_NCQ_ERROR 0x10
#define MOST_LBA28 UINT64_C(0xfffffff)

/* Registers. */

struct ata_device *ata_selected(struct ata_channel *c)
{
	/* Both hold the same DEV bit, as both see each write. */
	return &c->devices[c->devices[0].device & DEVICE_DEV1 ? 1 : 0];
}

static bool is_selected(const struct ata_device *d)
{
	return ata_selected(d->channel) == d;
}

void ata_update_irq(struct ata_channel *c)
{
	bool level = c->irq_pending && !(c->control & ATA_CONTROL_NIEN);

	irq_set(&c->irq, level);
	if (c->irq_changed)
		c->irq_changed(c->opaque, c, level);
}

void ata_raise(struct ata_device *d)
{
	if (!is_selected(d))
		return;
	d->channel->irq_pending = true;
	ata_update_irq(d->channel);
}

static void lower(struct ata_channel *c)
{
	c->irq_pending = false;
	ata_update_irq(c);
}

/* The device has come where the host has something to do. */
static void tell(struct ata_device *d)
{
	if (d->channel->progress)
		d->channel->progress(d->channel->opaque, d->channel);
}

void ata_done(struct ata_device *d)
{
	d->phase = PHASE_IDLE;
	d->status = ATA_SR_DRDY | ATA_SR_DSC;
	d->error = 0;
	ata_raise(d);
	tell(d);
}

void ata_fail(struct ata_device *d, uint8_t error)
{
	d->phase = PHASE_IDLE;
	d->status = ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_ERR;
	d->error = error;
	ata_raise(d);
	tell(d);
}

/* 9.12: what tells disks and packet devices apart after a reset. */
void ata_put_signature(struct ata_device *d)
{
	d->count[0] = d->lba_low[0] = 1;
	if (d->cdrom) {
		d->lba_mid[0] = 0x14;
		d->lba_high[0] = 0xeb;
	} else {
		d->lba_mid[0] = d->lba_high[0] = d->back ? 0 : 0xff;
	}
}

/* Addresses. */

uint64_t ata_disk_sectors(const struct ata_device *d)
{
	return d->back ? drive_size(d->back) / BLOCK_SECTOR : 0;
}

static uint64_t get_address(const struct ata_device *d)
{
	if (d->lba48)
		return d->lba_low[0] | (uint64_t)d->lba_mid[0] << 8 |
		       (uint64_t)d->lba_high[0] << 16 | (uint64_t)d->lba_low[1] << 24 |
		       (uint64_t)d->lba_mid[1] << 32 | (uint64_t)d->lba_high[1] << 40;
	if (d->device & DEVICE_LBA)
		return d->lba_low[0] | (uint64_t)d->lba_mid[0] << 8 |
		       (uint64_t)d->lba_high[0] << 16 | (uint64_t)(d->device & 15) << 24;
	/* Sectors begin at 1. */
	return ((uint64_t)(d->lba_mid[0] | d->lba_high[0] << 8) * d->heads_now + (d->device & 15)) *
		       d->sectors_now +
	       d->lba_low[0] - 1u;
}

static void put_address(struct ata_device *d, uint64_t sector)
{
	if (!d->lba48 && !(d->device & DEVICE_LBA)) {
		uint64_t track = sector / d->sectors_now;

		d->lba_low[0] = (uint8_t)(sector % d->sectors_now + 1);
		d->device = (uint8_t)((d->device & 0xf0) | track % d->heads_now);
		track /= d->heads_now;
		d->lba_mid[0] = (uint8_t)track;
		d->lba_high[0] = (uint8_t)(track >> 8);
		return;
	}
	d->lba_low[0] = (uint8_t)sector;
	d->lba_mid[0] = (uint8_t)(sector >> 8);
	d->lba_high[0] = (uint8_t)(sector >> 16);
	if (d->lba48) {
		d->lba_low[1] = (uint8_t)(sector >> 24);
		d->lba_mid[1] = (uint8_t)(sector >> 32);
		d->lba_high[1] = (uint8_t)(sector >> 40);
	} else {
		d->device = (uint8_t)((d->device & 0xf0) | (sector >> 24 & 15));
	}
}

static uint32_t get_count(const struct ata_device *d)
{
	uint32_t n = d->lba48 ? d->count[0] | (uint32_t)d->count[1] << 8 : d->count[0];

	return n ? n : d->lba48 ? 65536 : 256;
}

/* Reads address and count; false when the disk ends before. */
static bool take_range(struct ata_device *d, bool lba48)
{
	uint64_t sector;

	d->lba48 = lba48;
	sector = get_address(d);
	d->remaining = get_count(d);
	if (sector < ata_disk_sectors(d) && d->remaining <= ata_disk_sectors(d) - sector) {
		d->sector = sector;
		return true;
	}
	d->remaining = 0;
	ata_fail(d, ATA_ER_IDNF);
	return false;
}

/* Work of the drive's. */

static void io_done(struct drive_request *io, int error);

void ata_submit(struct ata_device *d, enum drive_op op, uint64_t offset, uint64_t len)
{
	d->io.op = op;
	d->io.offset = offset;
	d->io.len = len;
	d->io.done = io_done;
	d->io_epoch = d->epoch;
	d->busy_io = true;
	drive_submit(d->back, &d->io);
}

/* The buffer's first `len` bytes. */
static void submit_buffer(struct ata_device *d, enum drive_op op, uint64_t offset, uint32_t len)
{
	d->own_iov = (struct iovec) { d->buffer, len };
	d->io.iov = &d->own_iov;
	d->io.niov = 1;
	ata_submit(d, op, offset, len);
}

static uint32_t block_sectors(const struct ata_device *d)
{
	bool multiple = d->command == CMD_READ_MULTIPLE || d->command == CMD_WRITE_MULTIPLE ||
			d->command == CMD_READ_MULTIPLE_EXT || d->command == CMD_WRITE_MULTIPLE_EXT;

	return MIN_OF(multiple ? (uint32_t)d->multiple : 1u, d->remaining);
}

/* The buffer is the host's to read. */
void ata_give(struct ata_device *d, uint32_t len)
{
	d->phase = PHASE_PIO_IN;
	d->at = 0;
	d->len = len;
	d->status = ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_DRQ;
	d->error = 0;
	ata_raise(d);
	tell(d);
}

static void want_block(struct ata_device *d, bool with_irq)
{
	d->phase = PHASE_PIO_OUT;
	d->at = 0;
	d->len = block_sectors(d) * BLOCK_SECTOR;
	d->status = ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_DRQ;
	if (with_irq)
		ata_raise(d);
	tell(d);
}

static void read_block(struct ata_device *d)
{
	d->phase = PHASE_READING;
	d->status = ATA_SR_BSY | ATA_SR_DSC;
	submit_buffer(d, DRIVE_READ, d->sector * BLOCK_SECTOR, block_sectors(d) * BLOCK_SECTOR);
}

static void write_block(struct ata_device *d)
{
	d->phase = PHASE_WRITING;
	d->status = ATA_SR_BSY | ATA_SR_DSC;
	submit_buffer(d, DRIVE_WRITE, d->sector * BLOCK_SECTOR, block_sectors(d) * BLOCK_SECTOR);
}

/* Sectors that are behind us. */
static void advance(struct ata_device *d, uint32_t n)
{
	d->sector += n;
	d->remaining -= n;
	/* The last one's address stays (6.2). */
	put_address(d, d->remaining ? d->sector : d->sector - 1);
	d->count[0] = (uint8_t)d->remaining;
	d->count[1] = (uint8_t)(d->remaining >> 8);
}

static void start_flush(struct ata_device *d)
{
	d->phase = PHASE_FLUSH;
	d->status = ATA_SR_BSY | ATA_SR_DSC;
	d->io.iov = NULL;
	d->io.niov = 0;
	ata_submit(d, DRIVE_FLUSH, 0, 0);
}

/* A write is over: without a cache only once it is on the disk. */
static void write_finished(struct ata_device *d)
{
	if (d->write_cache)
		ata_done(d);
	else
		start_flush(d);
}

static void trim_next(struct ata_device *d)
{
	while (d->at + 8 <= d->len) {
		uint64_t entry = load_le(d->buffer + d->at, 8),
			 sector = entry & ((UINT64_C(1) << 48) - 1), n = entry >> 48;

		d->at += 8;
		if (!n)
			continue;
		if (sector >= ata_disk_sectors(d) || n > ata_disk_sectors(d) - sector) {
			ata_fail(d, ATA_ER_IDNF);
			return;
		}
		d->phase = PHASE_TRIM;
		d->status = ATA_SR_BSY | ATA_SR_DSC;
		ata_submit(d, DRIVE_DISCARD, sector * BLOCK_SECTOR, n * BLOCK_SECTOR);
		return;
	}
	ata_done(d);
}

static void end_dma(struct ata_device *d, bool failed)
{
	g_clear_pointer(&d->iov, g_free);
	if (d->channel->dma_done)
		d->channel->dma_done(d->channel->opaque, d->channel, failed);
}

static bool is_dsm(const struct ata_device *d)
{
	return d->command == CMD_DSM;
}

static void dma_finished(struct ata_device *d, int error)
{
	end_dma(d, error != 0);
	if (error) {
		ata_fail(d, d->io.op == DRIVE_READ ? ATA_ER_UNC : ATA_ER_ABRT);
		return;
	}
	advance(d, d->remaining);
	if (d->io.op == DRIVE_WRITE)
		write_finished(d);
	else
		ata_done(d);
}

static void io_failed(struct ata_device *d, int error)
{
	switch (d->phase) {
	case PHASE_DMA:
		dma_finished(d, error);
		break;
	case PHASE_READING:
		ata_fail(d, ATA_ER_UNC);
		break;
	default:
		ata_fail(d, ATA_ER_ABRT);
	}
}

static void io_done(struct drive_request *io, int error)
{
	struct ata_device *d = container_of(io, struct ata_device, io);

	d->busy_io = false;
	if (d->io_epoch != d->epoch) {
		g_clear_pointer(&d->iov, g_free);
		return;
	}
	if (d->cdrom) {
		if (d->phase == PHASE_DMA)
			atapi_dma_done(d, error);
		else
			atapi_read_done(d, error);
		return;
	}
	if (error) {
		enum drive_on_error action = drive_failed(d->back, io->op, error);

		if (action == ON_ERROR_STOP) {
			d->stalled = true;
			return;
		}
		if (action != ON_ERROR_IGNORE) {
			io_failed(d, error);
			return;
		}
	}
	switch (d->phase) {
	case PHASE_READING:
		ata_give(d, block_sectors(d) * BLOCK_SECTOR);
		break;
	case PHASE_WRITING:
		advance(d, block_sectors(d));
		if (d->remaining)
			want_block(d, true);
		else
			write_finished(d);
		break;
	case PHASE_DMA:
		dma_finished(d, 0);
		break;
	case PHASE_TRIM:
		trim_next(d);
		break;
	default:
		ata_done(d);
	}
}

/* PIO data. */

static void read_over(struct ata_device *d)
{
	d->phase = PHASE_IDLE;
	d->status = ATA_SR_DRDY | ATA_SR_DSC;
	tell(d);
}

static void buffer_read(struct ata_device *d)
{
	if (d->cdrom) {
		atapi_data_read(d);
		return;
	}
	if (d->command == CMD_IDENTIFY || d->command == CMD_READ_LOG_EXT) {
		read_over(d);
		return;
	}
	advance(d, d->len / BLOCK_SECTOR);
	if (d->remaining) {
		read_block(d);
		return;
	}
	read_over(d);
}

static void buffer_filled(struct ata_device *d)
{
	if (d->phase == PHASE_PACKET) {
		memcpy(d->packet, d->buffer, sizeof(d->packet));
		atapi_packet(d);
		return;
	}
	write_block(d);
}

uint32_t ata_read_data(struct ata_channel *c, unsigned size)
{
	struct ata_device *d = ata_selected(c);
	uint32_t value;

	if (d->phase != PHASE_PIO_IN || !(d->status & ATA_SR_DRQ) || d->len - d->at < size)
		return 0;
	value = (uint32_t)load_le(d->buffer + d->at, size);
	d->at += size;
	if (d->at == d->len) {
		d->status &= (uint8_t)~ATA_SR_DRQ;
		buffer_read(d);
	}
	return value;
}

void ata_write_data(struct ata_channel *c, uint32_t value, unsigned size)
{
	struct ata_device *d = ata_selected(c);

	if ((d->phase != PHASE_PIO_OUT && d->phase != PHASE_PACKET) || !(d->status & ATA_SR_DRQ) ||
	    d->len - d->at < size)
		return;
	store_le(d->buffer + d->at, value, size);
	d->at += size;
	if (d->at == d->len) {
		d->status &= (uint8_t)~ATA_SR_DRQ;
		buffer_filled(d);
	}
}

uint32_t ata_pio_wanted(struct ata_channel *c, bool *to_host)
{
	struct ata_device *d = ata_selected(c);

	*to_host = d->phase == PHASE_PIO_IN;
	if ((!*to_host && d->phase != PHASE_PIO_OUT && d->phase != PHASE_PACKET) ||
	    !(d->status & ATA_SR_DRQ))
		return 0;
	return d->len - d->at;
}

void ata_pio_run(struct ata_channel *c, const struct iovec *iov, int n, size_t off)
{
	struct ata_device *d = ata_selected(c);
	bool to_host;
	uint32_t len = ata_pio_wanted(c, &to_host);

	d->status &= (uint8_t)~ATA_SR_DRQ;
	if (to_host) {
		iov_from(iov, n, off, d->buffer + d->at, len);
		d->at = d->len;
		buffer_read(d);
	} else {
		memset(d->buffer + d->at, 0, len);
		iov_to(iov, n, off, d->buffer + d->at, len);
		d->at = d->len;
		buffer_filled(d);
	}
}

/* DMA. */

uint32_t ata_dma_wanted(struct ata_channel *c, bool *to_memory)
{
	struct ata_device *d = ata_selected(c);

	if (d->phase != PHASE_DMA || d->busy_io || d->stalled || !d->back)
		return 0;
	if (d->cdrom) {
		*to_memory = true;
		return d->packet_left;
	}
	*to_memory = d->command == CMD_READ_DMA || d->command == CMD_READ_DMA + 1 ||
		     d->command == CMD_READ_DMA_EXT;
	return d->remaining * BLOCK_SECTOR;
}

void ata_dma_run(struct ata_channel *c, struct iovec *iov, int n)
{
	struct ata_device *d = ata_selected(c);
	bool to_memory = false;
	uint32_t wanted = ata_dma_wanted(c, &to_memory);

	d->iov = iov;
	/* A table that is too short ends the transfer in an error (bus master: 3.1). */
	if (iov_bytes(iov, n) < wanted) {
		end_dma(d, true);
		ata_fail(d, ATA_ER_ABRT);
		return;
	}
	d->io.iov = iov;
	d->io.niov = n;
	if (d->cdrom && !d->packet_read) {
		iov_from(iov, n, 0, d->buffer, wanted);
		atapi_dma_done(d, 0);
		return;
	}
	if (is_dsm(d)) {
		d->len = MIN_OF(wanted, ATA_BUFFER);
		iov_to(iov, n, 0, d->buffer, d->len);
		d->at = 0;
		end_dma(d, false);
		trim_next(d);
		return;
	}
	d->io.niov = iov_part(iov, n, 0, wanted, iov);
	ata_submit(d, to_memory ? DRIVE_READ : DRIVE_WRITE,
		   d->sector * (d->cdrom ? CD_SECTOR : BLOCK_SECTOR), wanted);
}

static void start_dma(struct ata_device *d)
{
	d->phase = PHASE_DMA;
	d->status = ATA_SR_DRDY | ATA_SR_DSC | ATA_SR_DRQ;
	if (d->channel->dma_ready)
		d->channel->dma_ready(d->channel->opaque, d->channel);
}

/* Commands. */

static void set_features(struct ata_device *d)
{
	uint8_t mode = d->count[0];

	switch (d->feature[0]) {
	case 0x02:
		d->write_cache = true;
		break;
	case 0x82:
		/* What the cache holds goes to the disk first. */
		d->write_cache = false;
		if (!d->cdrom) {
			start_flush(d);
			return;
		}
		break;
	case 0x03:
		if (mode >> 3 == 4 || mode >> 3 == 8) {
			if ((mode & 7) > (mode >> 3 == 4 ? 2 : 5)) {
				ata_fail(d, ATA_ER_ABRT);
				return;
			}
			d->dma_mode = mode;
		} else if (mode >> 3 > 1) {
			ata_fail(d, ATA_ER_ABRT);
			return;
		}
		break;
	case 0x55:
	case 0xaa: /* look-ahead */
	case 0x66:
	case 0xcc: /* settings after a software reset */
	case 0x05:
	case 0x85: /* power management */
	case 0x42:
	case 0xc2: /* acoustics */
		break;
	default:
		ata_fail(d, ATA_ER_ABRT);
		return;
	}
	ata_done(d);
}

static void read_native_max(struct ata_device *d, bool lba48)
{
	uint64_t last = ata_disk_sectors(d) - 1;

	d->lba48 = lba48;
	d->device |= DEVICE_LBA;
	put_address(d, lba48 ? last : MIN_OF(last, MOST_LBA28));
	ata_done(d);
}

static void set_multiple(struct ata_device *d)
{
	uint8_t n = d->count[0];

	if (n > ATA_MOST_MULTIPLE || n & (n - 1)) {
		ata_fail(d, ATA_ER_ABRT);
		return;
	}
	d->multiple = n;
	ata_done(d);
}

static void init_parameters(struct ata_device *d)
{
	if (!d->count[0]) {
		ata_fail(d, ATA_ER_ABRT);
		return;
	}
	d->heads_now = (uint8_t)((d->device & 15) + 1);
	d->sectors_now = d->count[0];
	ata_done(d);
}

/* 6.10: both answer, device 0 for both. */
static void diagnose(struct ata_channel *c)
{
	for (unsigned i = 0; i < 2; i++) {
		c->devices[i].error = 1;
		c->devices[i].status = c->devices[i].cdrom ? 0 : ATA_SR_DRDY | ATA_SR_DSC;
		c->devices[i].phase = PHASE_IDLE;
		ata_put_signature(&c->devices[i]);
		c->devices[i].device &= (uint8_t)~DEVICE_DEV1;
	}
	ata_raise(&c->devices[0]);
}

static void read_or_write(struct ata_device *d, bool lba48, bool write)
{
	bool multiple = d->command == CMD_READ_MULTIPLE || d->command == CMD_WRITE_MULTIPLE ||
			d->command == CMD_READ_MULTIPLE_EXT || d->command == CMD_WRITE_MULTIPLE_EXT;

	if (multiple && !d->multiple) {
		ata_fail(d, ATA_ER_ABRT);
		return;
	}
	if (write && d->back->read_only) {
		ata_fail(d, ATA_ER_ABRT);
		return;
	}
	if (!take_range(d, lba48))
		return;
	if (write)
		want_block(d, false);
	else
		read_block(d);
}

static void read_or_write_dma(struct ata_device *d, bool lba48, bool write)
{
	if (write && d->back->read_only)
		ata_fail(d, ATA_ER_ABRT);
	else if (take_range(d, lba48))
		start_dma(d);
}

/* Serial ATA: the queued command that failed (ATA8-ACS, NCQ Command Error log). */
static void read_log(struct ata_device *d)
{
	uint8_t *b = d->buffer, sum = 0;

	if (!d->channel->queues || d->lba_low[0] != LOG_NCQ_ERROR || d->lba_mid[0] ||
	    d->count[0] != 1 || d->count[1]) {
		ata_fail(d, ATA_ER_ABRT);
		return;
	}
	memset(b, 0, BLOCK_SECTOR);
	b[0] = d->ncq_tag;
	b[2] = ATA_SR_DRDY | ATA_SR_ERR;
	b[3] = d->ncq_error;
	for (unsigned i = 0; i < 3; i++) {
		b[4 + i] = (uint8_t)(d->ncq_sector >> 8 * i);
		b[8 + i] = (uint8_t)(d->ncq_sector >> (24 + 8 * i));
	}
	b[7] = DEVICE_LBA;
	for (unsigned i = 0; i < BLOCK_SECTOR - 1; i++)
		sum = (uint8_t)(sum + b[i]);
	b[BLOCK_SECTOR - 1] = (uint8_t)-sum;
	ata_give(d, BLOCK_SECTOR);
}

static void data_set_management(struct ata_device *d)
{
	d->lba48 = true;
	d->remaining = get_count(d);
	if (!(d->feature[0] & 1) || d->back->read_only ||
	    d->remaining > ATA_BUFFER / BLOCK_SECTOR || !d->back->block->options.discard)
		ata_fail(d, ATA_ER_ABRT);
	else
		start_dma(d);
}

static void disk_command(struct ata_device *d)
{
	switch (d->command) {
	case CMD_READ:
	case CMD_READ + 1:
	case CMD_READ_MULTIPLE:
		read_or_write(d, false, false);
		break;
	case CMD_READ_EXT:
	case CMD_READ_MULTIPLE_EXT:
		read_or_write(d, true, false);
		break;
	case CMD_WRITE:
	case CMD_WRITE + 1:
	case CMD_WRITE_MULTIPLE:
		read_or_write(d, false, true);
		break;
	case CMD_WRITE_EXT:
	case CMD_WRITE_MULTIPLE_EXT:
		read_or_write(d, true, true);
		break;
	case CMD_READ_DMA:
	case CMD_READ_DMA + 1:
		read_or_write_dma(d, false, false);
		break;
	case CMD_READ_DMA_EXT:
		read_or_write_dma(d, true, false);
		break;
	case CMD_WRITE_DMA:
	case CMD_WRITE_DMA + 1:
		read_or_write_dma(d, false, true);
		break;
	case CMD_WRITE_DMA_EXT:
		read_or_write_dma(d, true, true);
		break;
	case CMD_VERIFY:
	case CMD_VERIFY + 1:
	case CMD_VERIFY_EXT:
		if (take_range(d, d->command == CMD_VERIFY_EXT)) {
			advance(d, d->remaining);
			ata_done(d);
		}
		break;
	case CMD_READ_LOG_EXT:
		read_log(d);
		break;
	case CMD_DSM:
		data_set_management(d);
		break;
	case CMD_SET_MULTIPLE:
		set_multiple(d);
		break;
	case CMD_INIT_PARAMETERS:
		init_parameters(d);
		break;
	case CMD_READ_NATIVE_MAX:
	case CMD_READ_NATIVE_MAX_EXT:
		read_native_max(d, d->command == CMD_READ_NATIVE_MAX_EXT);
		break;
	case CMD_FLUSH:
	case CMD_FLUSH_EXT:
		start_flush(d);
		break;
	case CMD_IDENTIFY:
		ata_identify_disk(d, d->buffer);
		ata_give(d, 512);
		break;
	default:
		if ((d->command & 0xf0) == 0x10 || (d->command & 0xf0) == CMD_SEEK)
			ata_done(d); /* RECALIBRATE, SEEK */
		else
			ata_fail(d, ATA_ER_ABRT);
	}
}

static void cdrom_command(struct ata_device *d)
{
	switch (d->command) {
	case CMD_PACKET:
		d->packet_dma = d->feature[0] & 1;
		d->byte_limit = (uint16_t)(d->lba_mid[0] | d->lba_high[0] << 8);
		d->phase = PHASE_PACKET;
		d->at = 0;
		d->len = sizeof(d->packet);
		d->count[0] = 1; /* a command packet */
		d->status = ATA_SR_DRDY | ATA_SR_DRQ;
		tell(d);
		break;
	case CMD_IDENTIFY_PACKET:
		ata_identify_packet(d, d->buffer);
		d->packet_left = 0;
		ata_give(d, 512);
		break;
	case CMD_DEVICE_RESET:
		ata_put_signature(d);
		atapi_reset(d);
		d->status = 0;
		d->error = 1;
		break;
	default:
		/* 6.17.5: IDENTIFY DEVICE and reads leave the signature. */
		if (d->command == CMD_IDENTIFY || d->command == CMD_READ)
			ata_put_signature(d);
		ata_fail(d, ATA_ER_ABRT);
	}
}

static void command(struct ata_channel *c, uint8_t value)
{
	struct ata_device *d = ata_selected(c);

	if (value == CMD_DIAGNOSTIC) {
		ata_channel_reset(c);
		diagnose(c);
		return;
	}
	if (!d->back || (d->status & (ATA_SR_BSY | ATA_SR_DRQ) && value != CMD_DEVICE_RESET))
		return;
	lower(c);
	d->command = value;
	d->error = 0;
	d->status = ATA_SR_DRDY | ATA_SR_DSC;
	switch (value) {
	case CMD_SET_FEATURES:
		set_features(d);
		break;
	case CMD_CHECK_POWER:
	case 0x98:
		d->count[0] = 0xff; /* active */
		ata_done(d);
		break;
	case 0x94:
	case 0x95:
	case 0x96:
	case 0x97:
	case 0x99:
	case 0xe0:
	case 0xe1:
	case 0xe2:
	case 0xe3:
	case 0xe6:
		ata_done(d); /* STANDBY, IDLE, SLEEP: it is always awake */
		break;
	default:
		if (d->cdrom)
			cdrom_command(d);
		else
			disk_command(d);
	}
}

static void push(uint8_t reg[2], uint8_t value)
{
	reg[1] = reg[0];
	reg[0] = value;
}

void ata_write(struct ata_channel *c, unsigned reg, uint8_t value)
{
	c->control &= (uint8_t)~ATA_CONTROL_HOB;
	/* Both devices see it, unless one is at work. */
	for (unsigned i = 0; i < 2 && reg < ATA_STATUS; i++) {
		struct ata_device *d = &c->devices[i];

		if (d->status & (ATA_SR_BSY | ATA_SR_DRQ) && reg != ATA_DEVICE)
			continue;
		switch (reg) {
		case ATA_ERROR:
			push(d->feature, value);
			break;
		case ATA_COUNT:
			push(d->count, value);
			break;
		case ATA_LBA_LOW:
			push(d->lba_low, value);
			break;
		case ATA_LBA_MID:
			push(d->lba_mid, value);
			break;
		case ATA_LBA_HIGH:
			push(d->lba_high, value);
			break;
		case ATA_DEVICE:
			d->device = value | 0xa0;
			break;
		}
	}
	if (reg == ATA_STATUS)
		command(c, value);
}

static bool nobody(const struct ata_channel *c)
{
	return !c->devices[0].back && !c->devices[1].back;
}

uint8_t ata_alternate_status(struct ata_channel *c)
{
	struct ata_device *d = ata_selected(c);

	/* Pull-downs, and device 0 answers for a device 1 that is not there (9.16). */
	if (nobody(c) || !d->back)
		return 0;
	return d->status;
}

uint8_t ata_read(struct ata_channel *c, unsigned reg)
{
	struct ata_device *d = ata_selected(c);
	unsigned hob = c->control & ATA_CONTROL_HOB ? 1 : 0;

	if (nobody(c))
		return reg == ATA_STATUS ? 0 : 0xff;
	if (!d->back && reg != ATA_DEVICE)
		return 0;
	switch (reg) {
	case ATA_ERROR:
		return hob ? d->feature[1] : d->error;
	case ATA_COUNT:
		return d->count[hob];
	case ATA_LBA_LOW:
		return d->lba_low[hob];
	case ATA_LBA_MID:
		return d->lba_mid[hob];
	case ATA_LBA_HIGH:
		return d->lba_high[hob];
	case ATA_DEVICE:
		return d->device;
	default:
		lower(c);
		return d->status;
	}
}

void ata_write_control(struct ata_channel *c, uint8_t value)
{
	bool was = c->control & ATA_CONTROL_SRST;

	c->control = value;
	if (value & ATA_CONTROL_SRST && !was) {
		ata_channel_reset(c);
		c->control = value;
		for (unsigned i = 0; i < 2; i++)
			c->devices[i].status = ATA_SR_BSY;
	} else if (was && !(value & ATA_CONTROL_SRST)) {
		for (unsigned i = 0; i < 2; i++)
			c->devices[i].status = c->devices[i].cdrom ? 0 : ATA_SR_DRDY | ATA_SR_DSC;
	}
	ata_update_irq(c);
}

/* Life. */

void ata_channel_init(struct ata_channel *c, void *owner)
{
	c->owner = owner;
	for (unsigned i = 0; i < 2; i++)
		c->devices[i].channel = c;
}

/* By the user: an empty tray stays open. */
static void medium_changed(void *opaque)
{
	cdrom_medium_changed(&((struct ata_device *)opaque)->cd);
}

static struct drive_tray tray(void *opaque)
{
	return cdrom_tray(&((struct ata_device *)opaque)->cd);
}

void ata_attach(struct ata_channel *c, unsigned n, struct drive *back)
{
	static unsigned number;
	struct ata_device *d = &c->devices[n];
	uint64_t total = drive_size(back) / BLOCK_SECTOR;

	d->back = back;
	d->cdrom = back->cdrom;
	d->cd.back = back;
	d->cd.atapi = true;
	back->opaque = d;
	back->medium_changed = medium_changed;
	back->tray = back->cdrom ? tray : NULL;
	d->heads = 16;
	d->sectors = 63;
	d->cylinders = (unsigned)MIN_OF(total / (16 * 63), UINT64_C(16383));
	g_strlcpy(d->model, d->cdrom ? "MOA CD-ROM" : "MOA HARDDISK", sizeof(d->model));
	if (back->serial)
		g_strlcpy(d->serial, back->serial, sizeof(d->serial));
	else
		snprintf(d->serial, sizeof(d->serial), "MM%05u", ++number);
}

void ata_quiesce(struct ata_channel *c)
{
	for (unsigned i = 0; i < 2; i++)
		if (c->devices[i].back)
			drive_quiesce(c->devices[i].back);
}

/* What it is at is forgotten. */
static void stop_device(struct ata_device *d)
{
	/* Nobody may write to the guest's memory after this. */
	if (d->back)
		drive_quiesce(d->back);
	d->epoch++;
	if (!d->busy_io)
		g_clear_pointer(&d->iov, g_free);
	d->phase = PHASE_IDLE;
	d->stalled = false;
	d->status = ATA_SR_DRDY | ATA_SR_DSC;
}

void ata_stop(struct ata_channel *c)
{
	for (unsigned i = 0; i < 2; i++)
		stop_device(&c->devices[i]);
}

static void reset_device(struct ata_device *d)
{
	stop_device(d);
	d->lba48 = false;
	d->status = d->cdrom ? 0 : ATA_SR_DRDY | ATA_SR_DSC;
	d->error = 1;
	d->command = d->multiple = 0;
	d->sector = 0;
	d->remaining = d->at = d->len = 0;
	d->device = 0xa0;
	d->heads_now = (uint8_t)MAX_OF(d->heads, 1u);
	d->sectors_now = (uint8_t)MAX_OF(d->sectors, 1u);
	d->write_cache = true;
	memset(d->feature, 0, 2);
	memset(d->count, 0, 2);
	memset(d->lba_low, 0, 2);
	memset(d->lba_mid, 0, 2);
	memset(d->lba_high, 0, 2);
	ata_put_signature(d);
	atapi_reset(d);
}

void ata_channel_reset(struct ata_channel *c)
{
	for (unsigned i = 0; i < 2; i++)
		reset_device(&c->devices[i]);
	c->control = 0;
	c->irq_pending = false;
}

/* Begins again what was under way. */
static void restart(struct ata_device *d)
{
	d->stalled = false;
	switch (d->phase) {
	case PHASE_READING:
		read_block(d);
		break;
	case PHASE_WRITING:
		write_block(d);
		break;
	case PHASE_FLUSH:
		start_flush(d);
		break;
	case PHASE_TRIM:
		d->at -= MIN_OF(d->at, 8u);
		trim_next(d);
		break;
	case PHASE_DMA:
		g_clear_pointer(&d->iov, g_free);
		if (d->channel->dma_ready)
			d->channel->dma_ready(d->channel->opaque, d->channel);
		break;
	}
}

void ata_resume(struct ata_channel *c)
{
	for (unsigned i = 0; i < 2; i++)
		if (c->devices[i].stalled)
			restart(&c->devices[i]);
}

bool ata_channel_loaded(struct ata_channel *c, const char *path, GError **err)
{
	for (unsigned i = 0; i < 2; i++) {
		struct ata_device *d = &c->devices[i];
		uint64_t total = d->cdrom ? UINT64_MAX : ata_disk_sectors(d);
		bool ok = d->phase < PHASES && d->at <= d->len && d->len <= ATA_BUFFER &&
			  d->multiple <= ATA_MOST_MULTIPLE && d->heads_now && d->sectors_now &&
			  d->remaining <= 65536 && d->sector <= total &&
			  (d->cdrom || d->remaining <= total - d->sector ||
			   d->phase == PHASE_IDLE || is_dsm(d)) &&
			  (d->back || d->phase == PHASE_IDLE);

		/* What would wait for a drive that is at work is begun again. */
		if (!ok)
			return error(err, "saved state: '%s': IDE device %u makes no sense", path,
				     i);
		if (d->phase == PHASE_READING || d->phase == PHASE_WRITING ||
		    d->phase == PHASE_FLUSH || d->phase == PHASE_TRIM)
			d->stalled = true;
		if (d->cdrom &&
		    (d->phase == PHASE_CD_READING ||
		     d->packet_left > MMC_MOST_SECTORS * CD_SECTOR ||
		     (d->packet_read ? d->phase != PHASE_DMA && d->remaining > ATA_BUFFER
				     : d->packet_left > ATA_BUFFER)))
			return error(err, "saved state: '%s': CD-ROM %u makes no sense", path, i);
		d->device |= 0xa0;
	}
	return true;
}
