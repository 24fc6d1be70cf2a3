/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVM Express controller with one namespace. Source: NVM Express Base Specification 1.4. Not
 * offered: scatter-gather lists, metadata, several namespaces, firmware downloads, reservations,
 * controller memory buffers, shadow doorbells.
 *
 * A command is fetched only when its completion has a place: completions never wait.
 */
#include "hw/block/nvme.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"

#define BAR_BYTES 0x4000
#define MSIX_TABLE_AT 0x2000
#define MSIX_PENDING_AT 0x3000
#define DOORBELLS_AT 0x1000
#define MOST_TRANSFER (4096u << MDTS)
#define MOST_RANGES 256

enum {
	CAP = 0x00,
	VS = 0x08,
	INTMS = 0x0c,
	INTMC = 0x10,
	CC = 0x14,
	CSTS = 0x1c,
	AQA = 0x24,
	ASQ = 0x28,
	ACQ = 0x30
};
#define CC_EN BIT(0)
#define CC_CSS(v) ((v) >> 4 & 7)
#define CC_SHN_MASK (3u << 14)
#define CC_SHN(v) ((v) >> 14 & 3)
#define CSTS_RDY BIT(0)
#define CSTS_CFS BIT(1)
#define CSTS_SHST (3u << 2)
#define CSTS_SHUTTING_DOWN (1u << 2)
#define CSTS_SHUT_DOWN (2u << 2)
#define MOST_MPS 4

#define CQE_BYTES 16

enum {
	IO_FLUSH = 0x00,
	IO_WRITE = 0x01,
	IO_READ = 0x02,
	IO_COMPARE = 0x05,
	IO_WRITE_ZEROES = 0x08,
	IO_DSM = 0x09
};
#define FUA BIT(30)
#define DEALLOCATE BIT(25)

#define D struct nvme_sq
static FIELD_TABLE(nvme_sq_table, NULL, F(base), F(size), F(head), F(tail), F(cq));
#undef D
#define D struct nvme_cq
static FIELD_TABLE(nvme_cq_table, NULL, F(base), F(size), F(head), F(tail), F(vector), F(phase),
		   F(interrupts), F(in_flight));
#undef D

static void fetch_all(struct nvme *s);

/* Interrupts. */

void nvme_update_line(struct nvme *s)
{
	bool level = false;

	if (pci_msix_enabled(&s->pci))
		return;
	for (unsigned i = 0; i <= MOST_PAIRS; i++) {
		const struct nvme_cq *q = &s->cq[i];

		level |= q->size && q->interrupts && q->head != q->tail && q->vector < 32 &&
			 !(s->mask & BIT(q->vector));
	}
	pci_set_irq(s, level);
}

/* Completions. */

void nvme_complete(struct nvme *s, uint16_t sq, uint16_t cq, uint16_t cid, uint16_t status,
		   uint32_t result)
{
	struct nvme_cq *q = &s->cq[cq];
	uint8_t e[CQE_BYTES] = { 0 };

	store_le(e, result, 4);
	store_le(e + 8, s->sq[sq].head, 2);
	store_le(e + 10, sq, 2);
	store_le(e + 12, cid, 2);
	store_le(e + 14, (uint64_t)status << 1 | q->phase, 2);
	dma_write(s, q->base + (uint64_t)CQE_BYTES * q->tail, e, sizeof(e));
	q->in_flight--;
	if (++q->tail == q->size) {
		q->tail = 0;
		q->phase = !q->phase;
	}
	if (q->interrupts && pci_msix_enabled(&s->pci))
		pci_msix_notify(s, q->vector);
	nvme_update_line(s);
}

void nvme_free_command(struct command *c)
{
	c->s->in_flight--;
	dma_list_end(&c->dma);
	g_free(c->iov);
	g_free(c->ranges);
	g_free(c->compare);
	g_free(c);
}

static void end(struct command *c, uint16_t status, uint32_t result)
{
	struct nvme *s = c->s;
	uint16_t sq = c->sq, cq = c->cq, cid = (uint16_t)load_le(c->sqe + 2, 2);

	nvme_free_command(c); /* what was written is the guest's before it is told */
	nvme_complete(s, sq, cq, cid, status, result);
}

/* Data: physical region pages (4.3). */

/* Pages that follow one another in memory are mapped at once. */
struct run {
	uint64_t addr, len;
};

static bool add_run(struct command *c, struct run *run)
{
	bool ok = !run->len || dma_list_add(c->s, &c->dma, run->addr, run->len);

	run->len = 0;
	return ok;
}

static bool add_page(struct command *c, struct run *run, uint64_t addr, uint64_t *left)
{
	uint64_t n = MIN_OF(nvme_page_size(c->s), *left);

	if (addr & (nvme_page_size(c->s) - 1))
		return false;
	if (addr != run->addr + run->len && !add_run(c, run))
		return false;
	if (!run->len)
		run->addr = addr;
	run->len += n;
	*left -= n;
	return true;
}

/* The last entry of a full list leads to the next. */
static bool add_list(struct command *c, struct run *run, uint64_t list, uint64_t *left)
{
	uint64_t page = nvme_page_size(c->s);

	while (*left) {
		/* A part of it: lists may be as long as a page of 64 KiB. */
		uint8_t entries[8 * 128];
		uint64_t room = (page - (list & (page - 1))) / 8,
			 wanted = (*left + page - 1) / page,
			 n = MIN_OF(MIN_OF(wanted, room), sizeof(entries) / 8);

		if (list & 7 || !dma_read(c->s, list, entries, 8 * n))
			return false;
		for (uint64_t i = 0; i < n; i++) {
			uint64_t addr = load_le(entries + 8 * i, 8);

			list += 8;
			if (i + 1 == room && *left > page) {
				list = addr;
				if (list & (page - 1))
					return false;
			} else if (!add_page(c, run, addr, left)) {
				return false;
			}
		}
	}
	return true;
}

static bool map_data(struct command *c, bool to_guest, uint64_t len)
{
	uint64_t one = load_le(c->sqe + 24, 8), two = load_le(c->sqe + 32, 8),
		 page = nvme_page_size(c->s), first = MIN_OF(page - (one & (page - 1)), len),
		 left = len - first;
	struct run run = { one, first };
	bool ok = !(one & 3);

	dma_list_start(&c->dma, to_guest);
	if (ok && left)
		ok = left <= page ? add_page(c, &run, two, &left) : add_list(c, &run, two, &left);
	ok = ok && add_run(c, &run);
	c->iov = dma_list_iov(&c->dma, &c->io.niov);
	c->io.iov = c->iov;
	return ok;
}

uint16_t nvme_give(struct command *c, const void *data, size_t have, size_t wanted)
{
	if (!map_data(c, true, wanted))
		return DATA_TRANSFER_ERROR;
	iov_fill(c->iov, c->io.niov, 0, 0, wanted);
	iov_from(c->iov, c->io.niov, 0, data, MIN_OF(have, wanted));
	return OK;
}

/* Reads, writes and the like. */

static bool on_disk(const struct nvme *s, uint64_t lba, uint64_t n)
{
	return lba <= nvme_blocks(s) && n <= nvme_blocks(s) - lba;
}

static uint16_t status_of(enum drive_op op, int error)
{
	if (!error)
		return OK;
	if (error == -ENOSPC)
		return CAPACITY_EXCEEDED;
	if (error == -EPERM)
		return READ_ONLY_RANGE;
	return op == DRIVE_READ ? READ_ERROR : WRITE_FAULT;
}

static bool is_equal(const struct command *c)
{
	uint64_t at = 0;

	for (int i = 0; i < c->io.niov; at += c->iov[i].iov_len, i++)
		if (memcmp(c->compare + at, c->iov[i].iov_base, c->iov[i].iov_len))
			return false;
	return true;
}

static void compare_done(struct drive_request *io, int error);

static void io_done(struct drive_request *io, int error)
{
	struct command *c = container_of(io, struct command, io);
	struct nvme *s = c->s;

	/* The controller was reset meanwhile: the guest no longer knows of it. */
	if (c->epoch != s->epoch) {
		nvme_free_command(c);
		return;
	}
	if (error) {
		switch (drive_failed(s->back, io->op, error)) {
		case ON_ERROR_STOP:
			g_queue_push_tail(&s->waiting, c);
			return;
		case ON_ERROR_IGNORE:
			error = 0;
			break;
		default:
			break;
		}
	}
	end(c, status_of(io->op, error), 0);
	fetch_all(s);
}

void nvme_submit(struct command *c, enum drive_op op)
{
	c->io.op = op;
	if (!c->io.done)
		c->io.done = io_done;
	drive_submit(c->s->back, &c->io);
}

static uint16_t take_range(struct command *c)
{
	uint64_t lba = load_le(c->sqe + 40, 8), n = (nvme_dword(c->sqe, 12) & 0xffff) + 1;

	if (!on_disk(c->s, lba, n))
		return LBA_OUT_OF_RANGE;
	c->io.offset = lba * BLOCK_SECTOR;
	c->io.len = n * BLOCK_SECTOR;
	return OK;
}

static bool through(const struct command *c)
{
	return nvme_dword(c->sqe, 12) & FUA || !(c->s->features[FEATURE_CACHE] & 1);
}

static uint16_t read_write(struct command *c, bool write)
{
	uint16_t status = take_range(c);

	if (status)
		return status;
	if (c->io.len > MOST_TRANSFER)
		return INVALID_FIELD;
	if (!map_data(c, !write, c->io.len))
		return DATA_TRANSFER_ERROR;
	c->io.fua = write && through(c);
	nvme_submit(c, write ? DRIVE_WRITE : DRIVE_READ);
	return LATER;
}

static void compare_done(struct drive_request *io, int error)
{
	struct command *c = container_of(io, struct command, io);
	bool stale = c->epoch != c->s->epoch;
	struct iovec *whole = io->iov;

	io->iov = c->iov;
	g_free(whole);
	if (!stale && !error) {
		struct nvme *s = c->s;

		c->io.niov = (int)c->dma.maps->len;
		end(c, is_equal(c) ? OK : COMPARE_FAILURE, 0);
		fetch_all(s);
		return;
	}
	io_done(io, error);
}

static uint16_t compare(struct command *c)
{
	uint16_t status = take_range(c);
	struct iovec *whole;

	if (status)
		return status;
	if (c->io.len > MOST_TRANSFER)
		return INVALID_FIELD;
	if (!map_data(c, false, c->io.len))
		return DATA_TRANSFER_ERROR;
	c->compare = g_malloc(c->io.len);
	whole = g_new(struct iovec, 1);
	*whole = (struct iovec) { c->compare, c->io.len };
	c->io.iov = whole;
	c->io.niov = 1;
	c->io.done = compare_done;
	nvme_submit(c, DRIVE_READ);
	return LATER;
}

static void clear(struct command *c, enum drive_op op, unsigned n)
{
	c->io.ranges = c->ranges;
	c->io.nranges = n;
	nvme_submit(c, op);
}

static uint16_t write_zeroes(struct command *c)
{
	uint16_t status = take_range(c);

	if (status)
		return status;
	c->ranges = g_new(struct drive_range, 1);
	c->ranges[0] = (struct drive_range) { c->io.offset, c->io.len,
					      nvme_dword(c->sqe, 12) & DEALLOCATE };
	c->io.fua = through(c);
	clear(c, DRIVE_ZERO, 1);
	return LATER;
}

/* 6.7: all ranges are judged before the first is touched; hints that are no Deallocate are that. */
static uint16_t dataset_management(struct command *c)
{
	unsigned n = (nvme_dword(c->sqe, 10) & 0xff) + 1;
	uint8_t raw[MOST_RANGES * 16];

	if (!(nvme_dword(c->sqe, 11) & BIT(2)))
		return OK;
	if (!map_data(c, false, 16 * (uint64_t)n))
		return DATA_TRANSFER_ERROR;
	iov_to(c->iov, c->io.niov, 0, raw, 16 * (size_t)n);
	c->ranges = g_new(struct drive_range, n);
	for (unsigned i = 0; i < n; i++) {
		uint64_t len = load_le(raw + 16 * i + 4, 4), lba = load_le(raw + 16 * i + 8, 8);

		if (!on_disk(c->s, lba, len))
			return LBA_OUT_OF_RANGE;
		c->ranges[i] =
			(struct drive_range) { lba * BLOCK_SECTOR, len * BLOCK_SECTOR, true };
	}
	clear(c, DRIVE_DISCARD, n);
	return LATER;
}

static uint16_t run_io(struct command *c)
{
	uint8_t op = c->sqe[0];
	uint32_t nsid = nvme_dword(c->sqe, 1);

	if (nsid != 1 && !(op == IO_FLUSH && nsid == UINT32_MAX))
		return INVALID_NAMESPACE;
	if (c->sqe[1] & 0xc0) /* scatter-gather lists */
		return INVALID_FIELD;
	if ((op == IO_WRITE || op == IO_WRITE_ZEROES || op == IO_DSM) && c->s->back->read_only)
		return READ_ONLY_RANGE;
	switch (op) {
	case IO_FLUSH:
		nvme_submit(c, DRIVE_FLUSH);
		return LATER;
	case IO_WRITE:
	case IO_READ:
		return read_write(c, op == IO_WRITE);
	case IO_COMPARE:
		return compare(c);
	case IO_WRITE_ZEROES:
		return write_zeroes(c);
	case IO_DSM:
		return dataset_management(c);
	default:
		return INVALID_OPCODE;
	}
}

/* Fetching. */

static void start(struct nvme *s, unsigned sq, const uint8_t *sqe)
{
	struct command *c = g_new0(struct command, 1);
	uint32_t result = 0;
	uint16_t status;

	c->s = s;
	c->sq = (uint16_t)sq;
	c->cq = s->sq[sq].cq;
	c->epoch = s->epoch;
	memcpy(c->sqe, sqe, SQE_BYTES);
	s->in_flight++;
	status = sq ? run_io(c) : nvme_run_admin(c, &result);
	if (status != LATER)
		end(c, status, result);
}

static bool has_room(const struct nvme_cq *q)
{
	unsigned used = (unsigned)(q->tail + q->size - q->head) % q->size;

	return used + q->in_flight + 1u < q->size;
}

static void fail_controller(struct nvme *s, const char *why)
{
	log_guest(s, "%s; the controller needs a reset", why);
	s->csts |= CSTS_CFS;
}

static void fetch(struct nvme *s, unsigned n)
{
	struct nvme_sq *q = &s->sq[n];

	while (q->size && q->head != q->tail && s->in_flight < MOST_IN_FLIGHT &&
	       has_room(&s->cq[q->cq]) && !(s->csts & CSTS_CFS)) {
		uint8_t sqe[SQE_BYTES];

		if (!dma_read(s, q->base + (uint64_t)SQE_BYTES * q->head, sqe, sizeof(sqe))) {
			fail_controller(s, "a submission queue lies where there is no memory");
			return;
		}
		q->head = (uint16_t)(q->head + 1u == q->size ? 0 : q->head + 1);
		s->cq[q->cq].in_flight++;
		start(s, n, sqe);
	}
}

static void fetch_all(struct nvme *s)
{
	if (s->fetching || !(s->csts & CSTS_RDY))
		return;
	s->fetching = true;
	for (unsigned i = 0; i <= s->pairs; i++)
		fetch(s, i);
	s->fetching = false;
}

/* Registers (3.1). */

static void doorbell(struct nvme *s, unsigned n, uint32_t value)
{
	unsigned id = n / 2;

	if (id > s->pairs || !(s->csts & CSTS_RDY))
		return;
	if (n & 1) {
		struct nvme_cq *q = &s->cq[id];

		if (!q->size || value >= q->size) {
			log_guest(s, "completion queue %u: head %u", id, value);
			return;
		}
		q->head = (uint16_t)value;
		nvme_update_line(s);
	} else {
		if (!s->sq[id].size || value >= s->sq[id].size) {
			log_guest(s, "submission queue %u: tail %u", id, value);
			return;
		}
		s->sq[id].tail = (uint16_t)value;
	}
	fetch_all(s);
}

static void drop_commands(struct nvme *s)
{
	struct command *c;

	/* Nobody may write to the guest's memory after this. */
	drive_quiesce(s->back);
	s->epoch++;
	while ((c = g_queue_pop_head(&s->waiting)))
		nvme_free_command(c);
	s->nstalled = s->nevents = 0;
}

static void stop(struct nvme *s)
{
	drop_commands(s);
	memset(s->sq, 0, sizeof(s->sq));
	memset(s->cq, 0, sizeof(s->cq));
	for (unsigned i = 0; i < FEATURES; i++)
		s->features[i] = nvme_feature_value(s, i, true);
	s->namespace_changed = s->changed_told = false;
	s->csts &= ~(CSTS_RDY | CSTS_CFS | CSTS_SHST);
	nvme_update_line(s);
}

static void enable(struct nvme *s)
{
	uint64_t page = nvme_page_size(s);

	if (CC_MPS(s->cc) > MOST_MPS || CC_CSS(s->cc) || s->asq & (page - 1) ||
	    s->acq & (page - 1) || !(s->aqa & 0xfff) || !(s->aqa >> 16 & 0xfff)) {
		fail_controller(s, "CC, AQA, ASQ or ACQ make no sense");
		return;
	}
	s->sq[0] = (struct nvme_sq) { .base = s->asq, .size = (uint16_t)((s->aqa & 0xfff) + 1) };
	s->cq[0] = (struct nvme_cq) { .base = s->acq,
				      .size = (uint16_t)((s->aqa >> 16 & 0xfff) + 1),
				      .phase = true,
				      .interrupts = true };
	s->csts |= CSTS_RDY;
}

/* A shutdown waits for what the cache holds. */
struct shutdown {
	struct drive_request io;
	struct nvme *s;
	unsigned epoch;
};

static void shutdown_done(struct drive_request *io, int error)
{
	struct shutdown *d = container_of(io, struct shutdown, io);
	struct nvme *s = d->s;

	(void)error;
	if (d->epoch == s->epoch && (s->csts & CSTS_SHST) == CSTS_SHUTTING_DOWN)
		s->csts = (s->csts & ~CSTS_SHST) | CSTS_SHUT_DOWN;
	g_free(d);
}

static void shut_down(struct nvme *s)
{
	struct shutdown *d = g_new0(struct shutdown, 1);

	s->csts |= CSTS_SHUTTING_DOWN;
	d->s = s;
	d->epoch = s->epoch;
	d->io.op = DRIVE_FLUSH;
	d->io.done = shutdown_done;
	drive_submit(s->back, &d->io);
}

static void write_cc(struct nvme *s, uint32_t value)
{
	uint32_t was = s->cc;

	/* Only a shutdown may be asked for while it is enabled. */
	value &= 0x00fffff1;
	s->cc = was & value & CC_EN ? (was & ~CC_SHN_MASK) | (value & CC_SHN_MASK) : value;
	if (CC_SHN(s->cc) && !CC_SHN(was) && !(s->csts & CSTS_SHST))
		shut_down(s);
	if (s->cc & CC_EN && !(was & CC_EN))
		enable(s);
	else if (!(s->cc & CC_EN) && was & CC_EN)
		stop(s);
}

static uint64_t register_at(struct nvme *s, uint64_t off)
{
	switch (off) {
	case CAP: /* 2048 entries, contiguous; NVM commands; pages of 4 to 64 KiB; 7.5 s */
		return (MOST_ENTRIES - 1) | BIT64(16) | UINT64_C(15) << 24 | BIT64(37) |
		       (uint64_t)MOST_MPS << 52;
	case VS:
		return VERSION | (uint64_t)s->mask << 32;
	case INTMC & ~7:
		return s->mask | (uint64_t)s->cc << 32;
	case CSTS & ~7:
		return (uint64_t)s->csts << 32;
	case AQA & ~7:
		return (uint64_t)s->aqa << 32;
	case ASQ:
		return s->asq;
	case ACQ:
		return s->acq;
	default:
		return 0;
	}
}

static uint64_t nvme_read(void *opaque, uint64_t off, unsigned size)
{
	return register_at(opaque, off & ~UINT64_C(7)) >> 8 * (off & 7) & ones(size);
}

static void set_part(uint64_t *to, uint64_t off, uint64_t value, unsigned size)
{
	uint64_t mask = ones(size) << 8 * (off & 7);

	*to = ((*to & ~mask) | value << 8 * (off & 7)) & ~UINT64_C(0xfff);
}

static void nvme_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct nvme *s = opaque;

	if (off >= DOORBELLS_AT) {
		if (!(off & 3))
			doorbell(s, (unsigned)(off - DOORBELLS_AT) / 4, (uint32_t)value & 0xffff);
		return;
	}
	if (off >= ASQ && off < ASQ + 16) {
		set_part(off < ACQ ? &s->asq : &s->acq, off, value, size);
		return;
	}
	switch (off) {
	case INTMS:
		s->mask |= (uint32_t)value;
		nvme_update_line(s);
		break;
	case INTMC:
		s->mask &= ~(uint32_t)value;
		nvme_update_line(s);
		break;
	case CC:
		write_cc(s, (uint32_t)value);
		break;
	case AQA:
		s->aqa = (uint32_t)value & 0x0fff0fff;
		break;
	}
}

#define D struct nvme

static bool nvme_realize(void *dev, GError **err)
{
	static const struct region_ops ops = { nvme_read, nvme_write, 4, 8 };
	static unsigned number;
	struct nvme *s = dev;

	s->back = drive_of_device(s, s->drive, false, err);
	if (!s->back)
		return false;
	s->back->resized = nvme_resized;
	s->back->opaque = s;
	snprintf(s->own_serial, sizeof(s->own_serial), "moa-nvme-%u", ++number);
	g_queue_init(&s->waiting);
	region_init_group(&s->bar, "nvme", BAR_BYTES);
	region_init_io(&s->registers, "nvme-registers", MSIX_TABLE_AT, &ops, s, dev);
	region_add(&s->bar, 0, 0, &s->registers);
	pci_add_bar(s, 0, &s->bar, false, false, true);
	pci_add_msix(s, s->pairs + 1u, &s->bar, MSIX_TABLE_AT, MSIX_PENDING_AT);
	return machine_add_boot(s->pci.dev.machine, device_name(s), s->bootindex,
				pci_boot_path(s, "nvme", "/namespace@1,0"), err);
}

static void nvme_unrealize(void *dev)
{
	struct nvme *s = dev;

	drop_commands(s);
	region_destroy(&s->registers);
	region_destroy(&s->bar);
}

static void nvme_reset(void *dev)
{
	struct nvme *s = dev;

	stop(s);
	s->cc = s->csts = s->aqa = s->mask = 0;
	s->asq = s->acq = 0;
}

static void nvme_reset_lines(void *dev)
{
	nvme_update_line(dev);
}

/* The VM has stopped and its drives are drained: what is left waits. */
static void nvme_saving(void *dev)
{
	struct nvme *s = dev;

	if ((s->csts & CSTS_SHST) == CSTS_SHUTTING_DOWN)
		s->csts = (s->csts & ~CSTS_SHST) | CSTS_SHUT_DOWN;
	s->nstalled = 0;
	for (GList *l = s->waiting.head; l && s->nstalled < MOST_IN_FLIGHT; l = l->next) {
		const struct command *c = l->data;

		memcpy(s->stalled + SQE_BYTES * s->nstalled, c->sqe, SQE_BYTES);
		s->stalled_sq[s->nstalled++] = c->sq;
	}
}

static bool queues_ok(const struct nvme *s)
{
	for (unsigned i = 0; i <= MOST_PAIRS; i++) {
		const struct nvme_sq *q = &s->sq[i];
		const struct nvme_cq *c = &s->cq[i];

		if ((q->size || c->size || c->in_flight) && i > s->pairs)
			return false;
		if (q->size > MOST_ENTRIES * 2 || c->size > MOST_ENTRIES * 2 || q->cq > s->pairs ||
		    (q->size && (q->head >= q->size || q->tail >= q->size || !s->cq[q->cq].size)) ||
		    (c->size && (c->head >= c->size || c->tail >= c->size)))
			return false;
	}
	return s->nstalled <= MOST_IN_FLIGHT && s->nevents <= MOST_EVENTS &&
	       (CC_MPS(s->cc) <= MOST_MPS || !(s->csts & CSTS_RDY));
}

static bool nvme_loaded(void *dev, GError **err)
{
	struct nvme *s = dev;
	unsigned counted[MOST_PAIRS + 1] = { [0] = s->nevents };

	if (!queues_ok(s))
		return error(err, "saved state: '%s': its queues make no sense", s->pci.dev.path);
	for (unsigned i = 0; i < s->nstalled; i++) {
		if (s->stalled_sq[i] > s->pairs || !s->cq[s->sq[s->stalled_sq[i]].cq].size)
			return error(err,
				     "saved state: '%s': command %u of those that wait makes "
				     "no sense",
				     s->pci.dev.path, i);
		counted[s->sq[s->stalled_sq[i]].cq]++;
	}
	/* Each completion that is promised has somebody who will make it. */
	for (unsigned i = 0; i <= s->pairs; i++)
		if (s->cq[i].in_flight != counted[i])
			return error(err, "saved state: '%s': completion queue %u makes no sense",
				     s->pci.dev.path, i);
	return true;
}

static void nvme_run_changed(void *dev, bool running)
{
	struct nvme *s = dev;
	unsigned n = s->nstalled;
	GQueue again = s->waiting;
	struct command *c;

	if (!running)
		return;
	s->nstalled = 0;
	g_queue_init(&s->waiting);
	if (again.length) { /* not loaded: they are here still */
		while ((c = g_queue_pop_head(&again)))
			drive_submit(s->back, &c->io);
	} else {
		for (unsigned i = 0; i < n; i++)
			start(s, s->stalled_sq[i], s->stalled + SQE_BYTES * i);
	}
	fetch_all(s);
}

static const struct pci_info nvme_pci = { .vendor = 0x1b36,
					  .device = 0x0010,
					  .class = 0x0108,
					  .prog_if = 2,
					  .revision = 2,
					  .interrupt_pin = 1 };

DEVICE(nvme,
	.name = "nvme",
	.desc = "NVM Express controller with a namespace",
	.bus = "PCI",
	.bus_info = &nvme_pci,
	.props = FIELDS(F(drive, .help = "the drive's id"),
			F(serial, .help = "its serial number, 20 characters"),
			F(bootindex, .init = -1, .help = "place in the boot order, from 0"),
			F(model, .init_str = "MOA NVMe disk", .help = "its model, 40 characters"),
			{ .name = "max_ioqpairs", .type = FT_U16, .offset = offsetof(D, pairs),
			  .size = 2, .init = 16, .min = 1, .max = MOST_PAIRS,
			  .help = "pairs of queues for I/O" }),
	.state = FIELDS(FO(pci, pci_device_table), F(mask), F(cc), F(csts), F(aqa), F(asq), F(acq),
			FO(sq, nvme_sq_table), FO(cq, nvme_cq_table), F(features), F(events),
			F(nevents), F(namespace_changed), F(changed_told), F(nstalled),
			F(stalled_sq), F(stalled)),
	.host = HOST(back, epoch, in_flight, waiting, fetching, bar,
		     registers, own_serial, pairs),
	.realize = nvme_realize,
	.unrealize = nvme_unrealize,
	.reset = nvme_reset,
	.reset_lines = nvme_reset_lines,
	.saving = nvme_saving,
	.loaded = nvme_loaded,
	.run_changed = nvme_run_changed);
