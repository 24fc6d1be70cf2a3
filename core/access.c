/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses through a memory space: finding the range, splitting, widening, re-entry. See memory.h.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/device.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/rcu.h"

static const struct flat_range *find_range(const struct flat_view *v, uint64_t addr)
{
	size_t lo = 0, hi = v->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct flat_range *r = &v->ranges[mid];

		if (addr < r->start)
			hi = mid;
		else if (addr - r->start >= r->size)
			lo = mid + 1;
		else
			return r;
	}
	return NULL;
}

/* Copies out the range that holds addr, so that no reader section spans a handler. */
static bool lookup(struct space *s, uint64_t addr, struct flat_range *out)
{
	const struct flat_range *r;

	rcu_begin();
	r = find_range(rcu_dereference(s->view), addr);
	if (r)
		*out = *r;
	rcu_end();
	return r != NULL;
}

/* Bytes from addr to the end of the range or of the hole, at most len. */
static size_t stretch(struct space *s, uint64_t addr, size_t len, const struct flat_range *r)
{
	/* Nothing up to the end of the space, which for ports is where addresses wrap. */
	uint64_t room = s->addr_mask - addr;

	if (r)
		return (size_t)MIN_OF((uint64_t)len, r->start + r->size - addr);
	rcu_begin();
	for (size_t i = 0; i < rcu_dereference(s->view)->count; i++) {
		const struct flat_range *f = &rcu_dereference(s->view)->ranges[i];

		if (f->start > addr) {
			room = f->start - addr - 1;
			break;
		}
	}
	rcu_end();
	return (size_t)MIN_OF((uint64_t)len - 1, room) + 1;
}

/*
 * How much of an access a handler gets: to the end of its region, even where another window lies
 * over the middle. A bus access goes to the device that decodes its address, whole: port CF9h
 * inside CF8h's four.
 */
static size_t io_stretch(const struct flat_range *r, uint64_t off, size_t len)
{
	return (size_t)MIN_OF((uint64_t)len, r->region->size - off);
}

/* A device whose own DMA reaches its window is not entered a second time. */
static bool enter(struct region *r)
{
	if (!r->owner)
		return true;
	if (r->owner->entered) {
		log_guest(r->owner, "access to window '%s' from the device's own DMA refused",
			  r->name);
		return false;
	}
	r->owner->entered = true;
	return true;
}

static void leave(struct region *r)
{
	if (r->owner)
		r->owner->entered = false;
}

static uint64_t call_read(struct region *r, uint64_t off, unsigned size)
{
	uint64_t v = ones(size);

	if (!r->ops.read || !enter(r))
		return v;
	v = r->ops.read(r->opaque, off, size);
	leave(r);
	return v & ones(size);
}

static void call_write(struct region *r, uint64_t off, uint64_t value, unsigned size)
{
	if (!r->ops.write || !enter(r))
		return;
	r->ops.write(r->opaque, off, value & ones(size), size);
	leave(r);
}

/* The widest naturally aligned piece at off that fits len and the handler. */
static unsigned piece_size(uint64_t off, size_t len, unsigned max)
{
	unsigned size = max ? max : 1;

	while (size > len || off % size)
		size /= 2;
	return size;
}

static void io_read(struct region *r, uint64_t off, uint8_t *buf, size_t len)
{
	while (len) {
		unsigned size = piece_size(off, len, r->ops.max);
		unsigned wide = MAX_OF(size, r->ops.min);
		uint64_t at = off & ~(uint64_t)(wide - 1);
		uint64_t v = call_read(r, at, wide);

		store_le(buf, v >> (8 * (off - at)), size);
		buf += size;
		off += size;
		len -= size;
	}
}

static void io_write(struct region *r, uint64_t off, const uint8_t *buf, size_t len)
{
	while (len) {
		unsigned size = piece_size(off, len, r->ops.max);
		unsigned wide = MAX_OF(size, r->ops.min);
		uint64_t at = off & ~(uint64_t)(wide - 1);

		call_write(r, at, load_le(buf, size) << (8 * (off - at)), wide);
		buf += size;
		off += size;
		len -= size;
	}
}

/* Whether a write goes to an eventfd. */
static bool signal_eventfd(const struct region *r, uint64_t off, const uint8_t *p, size_t len)
{
	for (unsigned i = 0; i < r->neventfds; i++) {
		const struct region_eventfd *e = &r->eventfds[i];

		if (e->off == off && e->size == len &&
		    (!e->match || load_le(p, (unsigned)len) == e->value)) {
			eventfd_write(e->fd, 1);
			return true;
		}
	}
	return false;
}

static bool take_lock(void)
{
	if (machine_locked())
		return false;
	machine_lock();
	return true;
}

bool space_read(struct space *s, uint64_t addr, void *buf, size_t len)
{
	uint8_t *p = buf;
	bool all = true;

	while (len) {
		struct flat_range r;
		uint64_t at = addr & s->addr_mask;
		bool found = lookup(s, at, &r);
		size_t n = stretch(s, at, len, found ? &r : NULL);

		if (!found) {
			memset(p, (int)(s->open_bus & 0xff), n);
			log_printf(UNIMP, "%s: read of nothing at 0x%" PRIx64 ", %zu bytes",
				   s->name, at, n);
			all = false;
		} else if (r.direct_reads) {
			memcpy(p, r.region->ram->host + r.off + (at - r.start), n);
		} else {
			bool locked = take_lock();

			n = io_stretch(&r, r.off + (at - r.start), MIN_OF(len, sizeof(uint64_t)));
			io_read(r.region, r.off + (at - r.start), p, n);
			if (locked)
				machine_unlock();
		}
		p += n;
		addr += n;
		len -= n;
	}
	return all;
}

bool space_write(struct space *s, uint64_t addr, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	bool all = true;

	while (len) {
		struct flat_range r;
		uint64_t at = addr & s->addr_mask;
		bool found = lookup(s, at, &r);
		size_t n = stretch(s, at, len, found ? &r : NULL);

		if (!found) {
			log_printf(UNIMP, "%s: write of nothing at 0x%" PRIx64 ", %zu bytes",
				   s->name, at, n);
			all = false;
		} else if (r.region->kind == REGION_RAM && !r.read_only) {
			uint64_t off = r.off + (at - r.start);

			memcpy(r.region->ram->host + off, p, n);
			ram_mark_dirty(r.region->ram, off, n);
		} else if (r.region->neventfds &&
			   signal_eventfd(r.region, r.off + (at - r.start), p, len)) {
			return all;
		} else if (r.region->kind == REGION_IO || r.region->ops.write) {
			bool locked = take_lock();

			n = io_stretch(&r, r.off + (at - r.start), MIN_OF(len, sizeof(uint64_t)));
			io_write(r.region, r.off + (at - r.start), p, n);
			if (locked)
				machine_unlock();
		}
		p += n;
		addr += n;
		len -= n;
	}
	return all;
}

uint64_t space_read_le(struct space *s, uint64_t addr, unsigned size)
{
	uint8_t b[8];

	space_read(s, addr, b, size);
	return load_le(b, size);
}

void space_write_le(struct space *s, uint64_t addr, uint64_t value, unsigned size)
{
	uint8_t b[8];

	store_le(b, value, size);
	space_write(s, addr, b, size);
}

void *space_map(struct space *s, uint64_t addr, size_t *len, bool write, struct ram_block **block,
		uint64_t *block_off)
{
	struct flat_range r;
	uint64_t at = addr & s->addr_mask;

	if (!lookup(s, at, &r) || !r.direct_reads || (write && r.read_only))
		return NULL;
	*len = stretch(s, at, *len, &r);
	*block = r.region->ram;
	*block_off = r.off + (at - r.start);
	return r.region->ram->host + *block_off;
}

bool space_write_rom(struct space *s, uint64_t addr, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len) {
		struct flat_range r;
		uint64_t off;
		size_t n;

		if (!lookup(s, addr, &r) || !r.region->ram)
			return false;
		n = stretch(s, addr, len, &r);
		off = r.off + (addr - r.start);
		memcpy(r.region->ram->host + off, p, n);
		ram_mark_dirty(r.region->ram, off, n);
		p += n;
		addr += n;
		len -= n;
	}
	return true;
}
