/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CD-ROMs: how packets and their data move. Source: ATA/ATAPI-7, PACKET; the commands are mmc.c's.
 */
#include <string.h>

#include "hw/ide/ata.h"

/* Interrupt reason, in the count register. */
#define REASON_COMMAND BIT(0)
#define REASON_TO_HOST BIT(1)

/* The end of a command. */
static void finish(struct ata_device *d)
{
	d->count[0] = REASON_COMMAND | REASON_TO_HOST;
	d->packet_left = 0;
	ata_done(d);
}

/* The sense data say why. */
static void fail(struct ata_device *d)
{
	d->count[0] = REASON_COMMAND | REASON_TO_HOST;
	d->packet_left = 0;
	ata_fail(d, (uint8_t)(d->cd.sense_key << 4 | ATA_ER_ABRT));
}

static void fail_read(struct ata_device *d)
{
	cdrom_set_sense(&d->cd, SENSE_MEDIUM_ERROR, ASC_READ_ERROR);
	fail(d);
}

void atapi_reset(struct ata_device *d)
{
	cdrom_reset(&d->cd);
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
static void reply(struct ata_device *d, uint32_t len)
{
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

/* The drive has filled the buffer, which the host may take in several parts. */
void atapi_read_done(struct ata_device *d, int error)
{
	if (error) {
		fail_read(d);
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
	if (d->packet_read && !d->remaining) {
		read_chunk(d);
		return;
	}
	/* The next part of what the buffer holds moves to its front. */
	memmove(d->buffer, d->buffer + d->len, ATA_BUFFER - d->len);
	give(d, d->packet_read ? d->remaining : d->packet_left);
	if (d->packet_read)
		d->remaining -= d->len;
}

void atapi_dma_done(struct ata_device *d, int error)
{
	g_clear_pointer(&d->iov, g_free);
	if (d->channel->dma_done)
		d->channel->dma_done(d->channel->opaque, d->channel, error != 0);
	if (error)
		fail_read(d);
	else
		finish(d);
}

static void read_sectors(struct ata_device *d, uint32_t sector, uint32_t n)
{
	d->sector = sector;
	d->remaining = 0;
	d->packet_left = n * CD_SECTOR;
	if (d->packet_dma)
		start_dma(d);
	else
		read_chunk(d);
}

void atapi_packet(struct ata_device *d)
{
	struct mmc_command m = { .cdb = d->packet };
	enum mmc_result r;

	d->status = ATA_SR_BSY | ATA_SR_DSC;
	r = mmc_run(&d->cd, &m, d->channel->owner);
	d->packet_read = r == MMC_READ;
	switch (r) {
	case MMC_DONE:
		finish(d);
		break;
	case MMC_CHECK:
		fail(d);
		break;
	case MMC_REPLY:
		memcpy(d->buffer, m.reply, sizeof(m.reply));
		reply(d, m.len);
		break;
	case MMC_READ:
		read_sectors(d, m.sector, m.sectors);
		break;
	}
}
