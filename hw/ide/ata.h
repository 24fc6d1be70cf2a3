/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ATA channel with two devices: registers, commands, disks and CD-ROMs. What carries the data in
 * DMA is the front's (piix_ide.c). Source: ATA/ATAPI-7 volumes 1 and 2 (T13 1532D); packet
 * commands are in atapi.c.
 *
 * Not modelled: overlapped commands, CompactFlash, security, SMART, host protected areas but for
 * READ NATIVE MAX ADDRESS.
 *
 * A device works on one command at a time; what it has in flight is derived from its registers, so
 * that it can be begun again after a load or an error that stopped the VM.
 */
#pragma once

#include "block/drive.h"
#include "core/device.h"
#include "hw/scsi/mmc.h"

/* Task file registers, by their offset in the command block. */
enum {
	ATA_DATA,
	ATA_ERROR, /* written: features */
	ATA_COUNT,
	ATA_LBA_LOW,
	ATA_LBA_MID,
	ATA_LBA_HIGH,
	ATA_DEVICE,
	ATA_STATUS, /* written: command */
	ATA_REGISTERS
};

#define ATA_SR_ERR BIT(0)
#define ATA_SR_DRQ BIT(3)
#define ATA_SR_DSC BIT(4)
#define ATA_SR_DF BIT(5)
#define ATA_SR_DRDY BIT(6)
#define ATA_SR_BSY BIT(7)

#define ATA_ER_ABRT BIT(2)
#define ATA_ER_IDNF BIT(4)
#define ATA_ER_UNC BIT(6)
#define ATA_ER_ICRC BIT(7)

#define ATA_BUFFER 8192u
#define ATA_MOST_MULTIPLE 16
#define ATA_QUEUE_DEPTH 32

/* What a device is at. The data phase of a command goes by these. */
enum ata_phase {
	PHASE_IDLE,
	PHASE_PIO_IN,  /* the host reads the buffer */
	PHASE_PIO_OUT, /* the host fills the buffer */
	PHASE_READING, /* the drive fills the buffer */
	PHASE_WRITING, /* the drive takes the buffer */
	PHASE_DMA,     /* waits for the front, or moves data with it */
	PHASE_FLUSH,
	PHASE_TRIM,
	PHASE_PACKET,	  /* the host writes a packet */
	PHASE_CD_READING, /* the drive fills the buffer for a packet command */
	PHASES
};

struct ata_channel;

struct ata_device {
	/* Set by the machine's owner. */
	struct drive *back; /* NULL: nobody is there */
	bool cdrom;
	char serial[21], model[41];
	unsigned cylinders, heads, sectors; /* the default translation */

	/* Task file; [1] is what was there before the last write (48-bit commands). */
	uint8_t feature[2], count[2], lba_low[2], lba_mid[2], lba_high[2], device;
	uint8_t status, error, command;
	uint8_t multiple; /* sectors in a READ MULTIPLE block; 0: not set */
	uint8_t heads_now, sectors_now;
	uint8_t dma_mode; /* as IDENTIFY has it: 20h + n MWDMA, 40h + n UDMA; 0: none */
	bool write_cache;
	/* The transfer. */
	uint8_t phase;
	bool lba48, stalled; /* stalled: an error stopped the VM, to be tried again */
	uint64_t sector;     /* the next one, of 512 or 2048 bytes */
	uint32_t remaining;  /* sectors */
	uint32_t at, len;    /* the host's place in the buffer, and its end */
	uint8_t buffer[ATA_BUFFER];
	/* Packet devices. */
	uint8_t packet[12];
	struct cdrom cd;
	uint32_t packet_left; /* bytes of the reply that are not in the buffer yet: read commands */
	uint16_t byte_limit;
	bool packet_dma, packet_read; /* packet_read: the reply is the disc's sectors */
	/* The queued command that failed last, which READ LOG EXT tells. */
	uint8_t ncq_tag, ncq_error;
	uint64_t ncq_sector;

	/* The host's. */
	struct ata_channel *channel;
	struct drive_request io;
	struct iovec *iov;
	struct iovec own_iov;
	unsigned epoch, io_epoch;
	bool busy_io;
};
extern const struct field_table ata_device_table;

struct ata_channel {
	struct ata_device devices[2];
	uint8_t control; /* device control: nIEN, SRST, HOB */
	bool irq_pending;

	struct irq irq;
	/* A device is ready to move data by DMA. */
	void (*dma_ready)(void *opaque, struct ata_channel *c);
	/* It has moved `done` bytes; the command is over. */
	void (*dma_done)(void *opaque, struct ata_channel *c, bool failed);
	/* For the front's interrupt status: the line's level. */
	void (*irq_changed)(void *opaque, struct ata_channel *c, bool level);
	/* It has data for the host, wants some, or a command is over. May be called from inside of
	 * what the front calls. */
	void (*progress)(void *opaque, struct ata_channel *c);
	bool queues; /* the front has native command queuing */
	void *opaque;
	void *owner; /* the device struct, for log_guest */
};
extern const struct field_table ata_channel_table;

#define ATA_CONTROL_NIEN BIT(1)
#define ATA_CONTROL_SRST BIT(2)
#define ATA_CONTROL_HOB BIT(7)

void ata_channel_init(struct ata_channel *c, void *owner);
void ata_attach(struct ata_channel *c, unsigned n, struct drive *back);
void ata_channel_reset(struct ata_channel *c);
/* After the lines' owners are reset or loaded. */
void ata_update_irq(struct ata_channel *c);
bool ata_channel_loaded(struct ata_channel *c, const char *path, GError **err);
/* The VM runs again: what an error stopped is tried again. */
void ata_resume(struct ata_channel *c);
void ata_quiesce(struct ata_channel *c);
/* Forgets the commands that are under way. */
void ata_stop(struct ata_channel *c);

uint8_t ata_read(struct ata_channel *c, unsigned reg);
void ata_write(struct ata_channel *c, unsigned reg, uint8_t value);
uint32_t ata_read_data(struct ata_channel *c, unsigned size);
void ata_write_data(struct ata_channel *c, uint32_t value, unsigned size);
uint8_t ata_alternate_status(struct ata_channel *c);
void ata_write_control(struct ata_channel *c, uint8_t value);

/* PIO for fronts that move blocks: bytes of the buffer, and moving all of them from or to `off`. */
uint32_t ata_pio_wanted(struct ata_channel *c, bool *to_host);
void ata_pio_run(struct ata_channel *c, const struct iovec *iov, int n, size_t off);
/* DMA: how many bytes the waiting device wants to move and which way; 0: none waits. */
uint32_t ata_dma_wanted(struct ata_channel *c, bool *to_memory);
/* Moves them; iov (g_malloc) is the channel's from here on and covers what is wanted, or less. */
void ata_dma_run(struct ata_channel *c, struct iovec *iov, int n);

/* 9.12: what tells disks and packet devices apart. */
void ata_put_signature(struct ata_device *d);
uint64_t ata_disk_sectors(const struct ata_device *d);

/* Between ata.c, atapi.c and identify.c. */
void ata_identify_disk(struct ata_device *d, uint8_t *id);
void ata_identify_packet(struct ata_device *d, uint8_t *id);
struct ata_device *ata_selected(struct ata_channel *c);
void ata_raise(struct ata_device *d);
void ata_done(struct ata_device *d);
void ata_fail(struct ata_device *d, uint8_t error);
void ata_submit(struct ata_device *d, enum drive_op op, uint64_t offset, uint64_t len);
void ata_give(struct ata_device *d, uint32_t len);
void atapi_packet(struct ata_device *d);
/* The reply in the buffer (or the read) goes to the host. */
void atapi_data_read(struct ata_device *d);
void atapi_read_done(struct ata_device *d, int error);
void atapi_reset(struct ata_device *d);
void atapi_dma_done(struct ata_device *d, int error);
