/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVM Express: admin commands (chapter 5), features, logs and events. */
#include <stdio.h>
#include <string.h>

#include "hw/block/nvme.h"

enum {
	ADMIN_DELETE_SQ = 0x00,
	ADMIN_CREATE_SQ = 0x01,
	ADMIN_GET_LOG = 0x02,
	ADMIN_DELETE_CQ = 0x04,
	ADMIN_CREATE_CQ = 0x05,
	ADMIN_IDENTIFY = 0x06,
	ADMIN_ABORT = 0x08,
	ADMIN_SET_FEATURES = 0x09,
	ADMIN_GET_FEATURES = 0x0a,
	ADMIN_ASYNC_EVENT = 0x0c
};
static const uint32_t changeable[FEATURES] = {
	[0x01] = 0xffffff07, [0x02] = 0,	  [0x04] = 0xffff,
	[0x05] = 0xffff,     [FEATURE_CACHE] = 1, [0x08] = 0xffff,
	[0x09] = 0x1ffff,    [0x0a] = 1,	  [FEATURE_EVENTS] = 0x11f
};

#define EVENT_NAMESPACE 0x00040002 /* a notice: attributes changed, log page 4 */
#define EVENTS_NAMESPACE BIT(8)
#define LOG_CHANGED 4

/* Queues. */

static uint16_t create_cq(struct command *c)
{
	struct nvme *s = c->s;
	uint32_t d10 = nvme_dword(c->sqe, 10), d11 = nvme_dword(c->sqe, 11), id = d10 & 0xffff,
		 size = (d10 >> 16) + 1, vector = d11 >> 16;
	uint64_t base = load_le(c->sqe + 24, 8);

	if (!id || id > s->pairs || s->cq[id].size)
		return INVALID_QID;
	if (size < 2 || size > MOST_ENTRIES)
		return INVALID_QUEUE_SIZE;
	if (vector > s->pairs)
		return INVALID_VECTOR;
	if (!(d11 & 1) || base & (nvme_page_size(s) - 1))
		return INVALID_FIELD;
	s->cq[id] = (struct nvme_cq) { .base = base,
				       .size = (uint16_t)size,
				       .vector = (uint16_t)vector,
				       .phase = true,
				       .interrupts = d11 & 2 };
	return OK;
}

static uint16_t create_sq(struct command *c)
{
	struct nvme *s = c->s;
	uint32_t d10 = nvme_dword(c->sqe, 10), d11 = nvme_dword(c->sqe, 11), id = d10 & 0xffff,
		 size = (d10 >> 16) + 1, cq = d11 >> 16;
	uint64_t base = load_le(c->sqe + 24, 8);

	if (!cq || cq > s->pairs || !s->cq[cq].size)
		return CQ_INVALID;
	if (!id || id > s->pairs || s->sq[id].size)
		return INVALID_QID;
	if (size < 2 || size > MOST_ENTRIES)
		return INVALID_QUEUE_SIZE;
	if (!(d11 & 1) || base & (nvme_page_size(s) - 1))
		return INVALID_FIELD;
	s->sq[id] = (struct nvme_sq) { .base = base, .size = (uint16_t)size, .cq = (uint16_t)cq };
	return OK;
}

static uint16_t delete_cq(struct command *c)
{
	struct nvme *s = c->s;
	uint32_t id = nvme_dword(c->sqe, 10) & 0xffff;

	if (!id || id > s->pairs || !s->cq[id].size)
		return INVALID_QID;
	for (unsigned i = 0; i <= s->pairs; i++)
		if (s->sq[i].size && s->sq[i].cq == id)
			return INVALID_DELETION;
	if (s->cq[id].in_flight)
		return INVALID_DELETION;
	s->cq[id] = (struct nvme_cq) { 0 };
	nvme_update_line(s);
	return OK;
}

/* Commands of the queue that are under way end later, into its completion queue. */
static uint16_t delete_sq(struct command *c)
{
	struct nvme *s = c->s;
	uint32_t id = nvme_dword(c->sqe, 10) & 0xffff;

	if (!id || id > s->pairs || !s->sq[id].size)
		return INVALID_QID;
	s->sq[id].size = s->sq[id].head = s->sq[id].tail = 0;
	return OK;
}

/* Identify (5.15). */

static void put_text(uint8_t *to, size_t len, const char *text)
{
	memset(to, ' ', len);
	memcpy(to, text, MIN_OF(len, strlen(text)));
}

static void identify_controller(struct nvme *s, uint8_t *b)
{
	store_le(b, 0x1b36, 2);
	store_le(b + 2, 0x1af4, 2);
	put_text(b + 4, 20,
		 s->serial	   ? s->serial
		 : s->back->serial ? s->back->serial
				   : s->own_serial);
	put_text(b + 24, 40, s->model);
	put_text(b + 64, 8, "0.1");
	b[72] = 6;
	b[77] = MDTS;
	store_le(b + 80, VERSION, 4);
	store_le(b + 92, EVENTS_NAMESPACE, 4);
	b[111] = 1; /* an I/O controller */
	b[259] = MOST_EVENTS - 1;
	b[260] = 3;		   /* one firmware slot, read only */
	store_le(b + 266, 343, 2); /* temperatures that warn, K */
	store_le(b + 268, 373, 2);
	b[512] = 0x66; /* entries of 64 and 16 bytes */
	b[513] = 0x44;
	store_le(b + 516, 1, 4);
	store_le(b + 520, BIT(0) | BIT(2) | BIT(3), 2); /* compare, DSM, write zeroes */
	b[525] = 7;					/* a write cache; FLUSH takes every NSID */
	snprintf((char *)b + 768, 256, "nqn.2026-11.moa:nvme:%s",
		 s->serial ? s->serial : s->own_serial);
	store_le(b + 2048, 2500, 2);
}

static void identify_namespace(struct nvme *s, uint8_t *b)
{
	for (unsigned i = 0; i < 3; i++)
		store_le(b + 8 * i, nvme_blocks(s), 8);
	b[24] = BIT(4); /* NPWG and so on are there */
	b[33] = BIT(3); /* write zeroes may deallocate; what is read afterwards is not said */
	store_le(b + 64, MAX_OF(s->back->block->cluster, BLOCK_SECTOR) / BLOCK_SECTOR - 1, 2);
	store_le(b + 68, MAX_OF(s->back->block->cluster, BLOCK_SECTOR) / BLOCK_SECTOR - 1, 2);
	b[99] = s->back->read_only;
	b[128 + 2] = 9; /* blocks of 512 bytes */
}

static uint16_t identify(struct command *c)
{
	uint8_t b[4096] = { 0 };
	uint32_t nsid = nvme_dword(c->sqe, 1);

	switch (nvme_dword(c->sqe, 10) & 0xff) {
	case 0:
		if (nsid != 1 && nsid != UINT32_MAX)
			return INVALID_NAMESPACE;
		identify_namespace(c->s, b);
		break;
	case 1:
		identify_controller(c->s, b);
		break;
	case 2: /* those with numbers above */
		if (nsid >= UINT32_MAX - 1)
			return INVALID_NAMESPACE;
		store_le(b, nsid < 1, 4);
		break;
	case 3: /* descriptors: one, a UUID made from the serial number */
		if (nsid != 1)
			return INVALID_NAMESPACE;
		b[0] = 3;
		b[1] = 16;
		for (const char *t = c->s->serial ? c->s->serial : c->s->own_serial; *t; t++)
			for (unsigned i = 0; i < 16; i++)
				b[4 + i] = (uint8_t)(b[4 + i] * 31 + (uint8_t)*t + i);
		break;
	default:
		return INVALID_FIELD;
	}
	return nvme_give(c, b, sizeof(b), sizeof(b));
}

/* Log pages (5.14). */

static uint16_t get_log(struct command *c)
{
	uint32_t d10 = nvme_dword(c->sqe, 10);
	uint64_t len = 4 * ((uint64_t)(d10 >> 16 | (nvme_dword(c->sqe, 11) & 0xffff) << 16) + 1),
		 off = load_le(c->sqe + 48, 8);
	uint8_t b[4096] = { 0 };
	struct nvme *s = c->s;
	const struct drive_stats *t = &s->back->stats;

	if (len > sizeof(b) || off > sizeof(b) - len || off & 3)
		return INVALID_FIELD;
	switch (d10 & 0xff) {
	case 0x01: /* no errors */
		break;
	case 0x02: /* health */
		store_le(b + 1, 300, 2);
		b[3] = 100;
		b[4] = 10;
		store_le(b + 32, t->bytes[DRIVE_READ] / 512000, 8);
		store_le(b + 48, t->bytes[DRIVE_WRITE] / 512000, 8);
		store_le(b + 64, t->ops[DRIVE_READ], 8);
		store_le(b + 80, t->ops[DRIVE_WRITE], 8);
		break;
	case 0x03: /* firmware */
		b[0] = 1;
		put_text(b + 8, 8, "0.1");
		break;
	case LOG_CHANGED:
		store_le(b, s->namespace_changed, 4);
		if (!(d10 & BIT(15))) /* retain the event */
			s->namespace_changed = s->changed_told = false;
		break;
	default:
		return INVALID_LOG_PAGE;
	}
	return nvme_give(c, b + off, len, len);
}

/* Features (5.21). */

uint32_t nvme_feature_value(struct nvme *s, unsigned id, bool initial)
{
	static const uint32_t start[FEATURES] = { [FEATURE_TEMPERATURE] = 343 };

	if (id == FEATURE_QUEUES)
		return (s->pairs - 1u) * 0x10001;
	if (id == FEATURE_CACHE && initial)
		return !s->back->writethrough;
	return initial ? start[id] : s->features[id];
}

static uint16_t get_features(struct command *c, uint32_t *result)
{
	uint32_t d10 = nvme_dword(c->sqe, 10), id = d10 & 0xff;

	if (!id || id >= FEATURES || id == 0x03)
		return INVALID_FIELD;
	switch (d10 >> 8 & 7) {
	case 0:
		*result = nvme_feature_value(c->s, id, false);
		return OK;
	case 1:
	case 2:
		*result = nvme_feature_value(c->s, id, true);
		return OK;
	case 3:
		*result = changeable[id] || id == FEATURE_QUEUES ? BIT(2) : 0;
		return OK;
	default:
		return INVALID_FIELD;
	}
}

static uint16_t set_features(struct command *c, uint32_t *result)
{
	uint32_t d10 = nvme_dword(c->sqe, 10), id = d10 & 0xff;
	struct nvme *s = c->s;
	bool had_cache = s->features[FEATURE_CACHE] & 1;

	if (d10 & BIT(31))
		return FEATURE_NOT_SAVEABLE;
	if (!id || id >= FEATURES || id == 0x03)
		return INVALID_FIELD;
	if (id == FEATURE_QUEUES) {
		*result = nvme_feature_value(s, id, false);
		return OK;
	}
	s->features[id] = nvme_dword(c->sqe, 11) & changeable[id];
	if (had_cache && !(s->features[FEATURE_CACHE] & 1)) {
		nvme_submit(c, DRIVE_FLUSH);
		return LATER;
	}
	return OK;
}

/* Events (5.2). */

static void tell_events(struct nvme *s)
{
	if (!s->namespace_changed || s->changed_told || !s->nevents ||
	    !(s->features[FEATURE_EVENTS] & EVENTS_NAMESPACE))
		return;
	s->changed_told = true;
	nvme_complete(s, 0, 0, s->events[--s->nevents], OK, EVENT_NAMESPACE);
}

void nvme_resized(void *opaque)
{
	struct nvme *s = opaque;

	s->namespace_changed = true;
	tell_events(s);
}

static uint16_t async_event(struct command *c)
{
	struct nvme *s = c->s;

	if (s->nevents == MOST_EVENTS)
		return TOO_MANY_EVENTS;
	s->events[s->nevents++] = (uint16_t)load_le(c->sqe + 2, 2);
	nvme_free_command(c);
	tell_events(s);
	return LATER;
}

uint16_t nvme_run_admin(struct command *c, uint32_t *result)
{
	if (c->sqe[1] & 0xc0)
		return INVALID_FIELD;
	switch (c->sqe[0]) {
	case ADMIN_DELETE_SQ:
		return delete_sq(c);
	case ADMIN_CREATE_SQ:
		return create_sq(c);
	case ADMIN_GET_LOG:
		return get_log(c);
	case ADMIN_DELETE_CQ:
		return delete_cq(c);
	case ADMIN_CREATE_CQ:
		return create_cq(c);
	case ADMIN_IDENTIFY:
		return identify(c);
	case ADMIN_ABORT:
		*result = 1; /* not aborted: it will end soon anyway */
		return OK;
	case ADMIN_SET_FEATURES:
		return set_features(c, result);
	case ADMIN_GET_FEATURES:
		return get_features(c, result);
	case ADMIN_ASYNC_EVENT:
		return async_event(c);
	default:
		return INVALID_OPCODE;
	}
}
