/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An NVM Express controller: what its queues and reads and writes (nvme.c) share with the admin
 * commands (nvme_admin.c). Source: NVM Express Base Specification 1.4. Lock: the machine lock.
 */
#pragma once

#include "block/drive.h"
#include "hw/pci/pci.h"

#define MOST_PAIRS 63
#define MOST_ENTRIES 2048
#define MOST_IN_FLIGHT 256
#define MOST_EVENTS 4
#define MDTS 7 /* 2^7 pages of 4 KiB */
#define CC_MPS(v) ((v) >> 7 & 15)
#define VERSION 0x00010400
#define SQE_BYTES 64

/* Statuses (figures 127 to 130), with Do Not Retry. */
#define DNR 0x4000
#define OK 0
#define INVALID_OPCODE (0x0001 | DNR)
#define INVALID_FIELD (0x0002 | DNR)
#define DATA_TRANSFER_ERROR 0x0004
#define INVALID_NAMESPACE (0x000b | DNR)
#define LBA_OUT_OF_RANGE (0x0080 | DNR)
#define CAPACITY_EXCEEDED 0x0081
#define CQ_INVALID (0x0100 | DNR)
#define INVALID_QID (0x0101 | DNR)
#define INVALID_QUEUE_SIZE (0x0102 | DNR)
#define TOO_MANY_EVENTS (0x0105 | DNR)
#define INVALID_VECTOR (0x0108 | DNR)
#define INVALID_LOG_PAGE (0x0109 | DNR)
#define INVALID_DELETION (0x010c | DNR)
#define FEATURE_NOT_SAVEABLE (0x010d | DNR)
#define READ_ONLY_RANGE (0x0182 | DNR)
#define WRITE_FAULT 0x0280
#define READ_ERROR 0x0281
#define COMPARE_FAILURE 0x0285
#define LATER 0xffff /* the command ends by itself */

/* Features (5.21.1) up to here are plain values. */
#define FEATURES 0x0c
enum {
	FEATURE_TEMPERATURE = 0x04,
	FEATURE_CACHE = 0x06,
	FEATURE_QUEUES = 0x07,
	FEATURE_EVENTS = 0x0b
};

struct nvme_sq {
	uint64_t base;
	uint16_t size, head, tail, cq; /* size 0: there is none */
};

struct nvme_cq {
	uint64_t base;
	uint16_t size, head, tail, vector;
	bool phase, interrupts;
	uint16_t in_flight; /* commands whose completions will come here */
};

struct nvme {
	struct pci_device pci;
	char *drive, *serial, *model; /* properties */
	uint16_t pairs;
	int32_t bootindex;

	uint32_t mask, cc, csts, aqa;
	uint64_t asq, acq;
	struct nvme_sq sq[MOST_PAIRS + 1];
	struct nvme_cq cq[MOST_PAIRS + 1];
	uint32_t features[FEATURES];
	uint16_t events[MOST_EVENTS], nevents; /* requests for events, by command id */
	bool namespace_changed, changed_told;
	/* Commands that failed and wait for the VM to go on, as the stream has them. */
	uint16_t nstalled, stalled_sq[MOST_IN_FLIGHT];
	uint8_t stalled[MOST_IN_FLIGHT * SQE_BYTES];

	struct drive *back;
	unsigned epoch, in_flight;
	GQueue waiting; /* those commands */
	bool fetching;
	struct region bar;
	struct region registers;
	char own_serial[24];
};

/* A command under way. */
struct command {
	struct drive_request io;
	struct nvme *s;
	uint8_t sqe[SQE_BYTES];
	uint16_t sq, cq;
	unsigned epoch;
	struct dma_list dma;
	struct iovec *iov;
	struct drive_range *ranges;
	uint8_t *compare; /* what the disk has */
};

static inline uint32_t nvme_dword(const uint8_t *sqe, unsigned n)
{
	return (uint32_t)load_le(sqe + 4 * n, 4);
}
static inline uint64_t nvme_page_size(const struct nvme *s)
{
	return UINT64_C(4096) << CC_MPS(s->cc);
}
static inline uint64_t nvme_blocks(const struct nvme *s)
{
	return drive_size(s->back) / BLOCK_SECTOR;
}

/* Posts a completion and interrupts. */
void nvme_complete(struct nvme *s, uint16_t sq, uint16_t cq, uint16_t cid, uint16_t status,
		   uint32_t result);
void nvme_update_line(struct nvme *s);
void nvme_free_command(struct command *c);
/* Data for the guest, zeros behind what there is; a status. */
uint16_t nvme_give(struct command *c, const void *data, size_t have, size_t wanted);
/* Hands its io over to the drive; the command ends by itself. */
void nvme_submit(struct command *c, enum drive_op op);

/* nvme_admin.c: runs a command; its status, or LATER. */
uint16_t nvme_run_admin(struct command *c, uint32_t *result);
uint32_t nvme_feature_value(struct nvme *s, unsigned id, bool initial);
/* The namespace has another size: drive.resized. */
void nvme_resized(void *opaque);
