/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What IDENTIFY DEVICE and IDENTIFY PACKET DEVICE say. Source: ATA/ATAPI-7 6.16, 6.17; ATA8-ACS
 * for the Serial ATA words. */
#include <string.h>

#include "hw/ide/ata.h"

#define MOST_LBA28 UINT64_C(0xfffffff)

static void put_word(uint8_t *id, unsigned n, uint64_t value)
{
	store_le(id + 2 * n, value, 2);
}

/* Two characters a word, the first in the high byte; padded with spaces. */
static void put_text(uint8_t *id, unsigned word, unsigned bytes, const char *text)
{
	size_t len = strlen(text);

	for (unsigned i = 0; i < bytes; i++)
		id[2 * word + (i ^ 1)] = i < len ? (uint8_t)text[i] : ' ';
}

static void put_common(struct ata_device *d, uint8_t *id)
{
	memset(id, 0, 512);
	put_text(id, 10, 20, d->serial);
	put_text(id, 23, 8, "0.1");
	put_text(id, 27, 40, d->model);
	put_word(id, 53, 7);
	put_word(id, 63, 7 | (d->dma_mode >> 3 == 4 ? 0x100u << (d->dma_mode & 7) : 0));
	put_word(id, 64, 3);
	for (unsigned w = 65; w <= 68; w++)
		put_word(id, w, 120);
	put_word(id, 88, 0x3f | (d->dma_mode >> 3 == 8 ? 0x100u << (d->dma_mode & 7) : 0));
	put_word(id, 93, 0x600b | (d == &d->channel->devices[1] ? 0x0200 : 0));
}

/* 6.17 */
void ata_identify_disk(struct ata_device *d, uint8_t *id)
{
	uint64_t total = ata_disk_sectors(d), lba28 = MIN_OF(total, MOST_LBA28);
	uint32_t chs = d->heads_now * d->sectors_now;
	uint64_t cylinders = MIN_OF(total / MAX_OF(chs, 1u), UINT64_C(16383));

	put_common(d, id);
	put_word(id, 0, 0x0040);
	put_word(id, 1, d->cylinders);
	put_word(id, 3, d->heads);
	put_word(id, 6, d->sectors);
	put_word(id, 47, 0x8000 | ATA_MOST_MULTIPLE);
	put_word(id, 49, 0x0b00); /* DMA, LBA, IORDY */
	put_word(id, 50, 0x4000);
	put_word(id, 51, 0x0200);
	put_word(id, 54, cylinders);
	put_word(id, 55, d->heads_now);
	put_word(id, 56, d->sectors_now);
	store_le(id + 2 * 57, cylinders * chs, 4);
	put_word(id, 59, d->multiple ? 0x100u | d->multiple : 0);
	store_le(id + 2 * 60, lba28, 4);
	if (d->back->block && d->back->block->options.discard) {
		put_word(id, 69, 0x4020); /* trimmed sectors read as zeros */
		put_word(id, 105, 1);
		put_word(id, 169, 1);
	}
	if (d->channel->queues) {
		put_word(id, 75, ATA_QUEUE_DEPTH - 1);
		put_word(id, 76, 0x0106); /* NCQ, 1.5 and 3 Gb/s */
	}
	put_word(id, 80, 0x00f0);				    /* ATA-4 to ATA-7 */
	put_word(id, 82, 0x4020);				    /* NOP, write cache */
	put_word(id, 83, 0x7400);				    /* FLUSH CACHE (EXT), 48-bit */
	put_word(id, 84, 0x4000 | (d->channel->queues ? 0x20 : 0)); /* general purpose logs */
	put_word(id, 85, 0x4000 | (d->write_cache ? 0x20 : 0));
	put_word(id, 86, 0x3400);
	put_word(id, 87, 0x4000 | (d->channel->queues ? 0x20 : 0));
	store_le(id + 2 * 100, total, 8);
}

/* 6.16 */
void ata_identify_packet(struct ata_device *d, uint8_t *id)
{
	put_common(d, id);
	put_word(id, 0, 0x85c0); /* a CD-ROM, removable, DRQ within 50 us, 12-byte packets */
	put_word(id, 49, 0x0b00);
	put_word(id, 80, 0x001e);
	put_word(id, 82, 0x0210); /* PACKET, DEVICE RESET */
	put_word(id, 83, 0x4000);
	put_word(id, 84, 0x4000);
	put_word(id, 85, 0x0210);
	put_word(id, 87, 0x4000);
}
