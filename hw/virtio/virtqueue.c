/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtqueues: see virtqueue.h. */
#include "hw/virtio/virtqueue.h"

#include <inttypes.h>
#include <string.h>

#include "hw/virtio/virtio.h"

/* Fences are towards the guest, whom a sanitizer does not see. */
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

#define D struct virtq
FIELD_TABLE(virtq_table, HOST(most, owner, kicked, kick_fd, kick_source), F(size), F(enabled),
	    F(vector), F(desc), F(driver), F(device), F(next_avail), F(next_used), F(avail_wrap),
	    F(used_wrap), F(signalled), F(signalled_valid), F(in_use));

#define DESC_NEXT BIT(0)
#define DESC_WRITE BIT(1)
#define DESC_INDIRECT BIT(2)
#define DESC_AVAIL BIT(7) /* packed */
#define DESC_USED BIT(15)
#define DESC_BYTES 16

#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY 1

/* Packed rings: event suppression areas. */
#define EVENT_ENABLE 0
#define EVENT_DISABLE 1
#define EVENT_DESC 2

static bool is_packed(const struct virtq *q)
{
	return virtio_has(q->owner, VIRTIO_F_RING_PACKED);
}

static bool has_event_idx(const struct virtq *q)
{
	return virtio_has(q->owner, VIRTIO_F_EVENT_IDX);
}

/* Values in the guest's memory. Where there is none, the device is broken. */

static bool get(struct virtq *q, uint64_t addr, void *to, size_t len)
{
	if (dma_read(q->owner, addr, to, len))
		return true;
	virtio_break(q->owner, "a virtqueue lies at 0x%" PRIx64 ", where there is no memory", addr);
	return false;
}

static bool put(struct virtq *q, uint64_t addr, uint64_t value, unsigned size)
{
	uint8_t raw[8];

	store_le(raw, value, size);
	if (dma_write(q->owner, addr, raw, size))
		return true;
	virtio_break(q->owner, "a virtqueue lies at 0x%" PRIx64 ", where there is no memory", addr);
	return false;
}

static bool get16(struct virtq *q, uint64_t addr, uint16_t *value)
{
	uint8_t raw[2];

	if (!get(q, addr, raw, 2))
		return false;
	*value = (uint16_t)load_le(raw, 2);
	return true;
}

static bool get_desc(struct virtq *q, uint64_t addr, struct virtq_desc *d)
{
	uint8_t raw[DESC_BYTES];

	if (!get(q, addr, raw, sizeof(raw)))
		return false;
	d->addr = load_le(raw, 8);
	d->len = (uint32_t)load_le(raw + 8, 4);
	/* The last words change places between the two layouts. */
	d->flags = (uint16_t)load_le(raw + (is_packed(q) ? 14 : 12), 2);
	d->next = (uint16_t)load_le(raw + (is_packed(q) ? 12 : 14), 2);
	return true;
}

/* Chains. */

void virtq_chain_free(struct virtq_chain *c)
{
	if (!c)
		return;
	/* What was written of it, if anything, is not known here. */
	for (unsigned i = 0; i < c->nout + c->nin; i++)
		dma_unmap(&c->maps[i], c->maps[i].len);
	g_free(c->iov);
	g_free(c->maps);
	g_free(c->ring);
	g_free(c);
}

static void grow(struct virtq_chain *c)
{
	if (c->nout + c->nin < c->capacity)
		return;
	c->capacity = c->capacity ? 2 * c->capacity : 8;
	c->iov = g_renew(struct iovec, c->iov, c->capacity);
	c->maps = g_renew(struct dma_map, c->maps, c->capacity);
}

/* A descriptor's memory may lie in several pieces of the host's. */
static bool add_memory(struct virtq *q, struct virtq_chain *c, const struct virtq_desc *d)
{
	bool write = d->flags & DESC_WRITE;
	uint64_t addr = d->addr;
	size_t left = d->len;

	if (!write && c->nin) {
		virtio_break(q->owner, "a chain is read again after it is written (2.6.4.2)");
		return false;
	}
	/* No length of its own goes beyond what the guest can have. */
	if (c->out_len + c->in_len + left > UINT32_MAX) {
		virtio_break(q->owner, "a chain is longer than 4 GiB");
		return false;
	}
	while (left) {
		unsigned n = c->nout + c->nin;

		grow(c);
		if (n >= 2 * VIRTQ_MOST_DESCRIPTORS ||
		    !dma_map(q->owner, addr, left, write, &c->maps[n])) {
			virtio_break(q->owner,
				     "a descriptor points to 0x%" PRIx64
				     ", where there is no memory",
				     addr);
			return false;
		}
		c->iov[n] = (struct iovec) { c->maps[n].host, c->maps[n].len };
		addr += c->maps[n].len;
		left -= c->maps[n].len;
		c->nout += !write;
		c->nin += write;
	}
	c->out_len += write ? 0 : d->len;
	c->in_len += write ? d->len : 0;
	return true;
}

/* A table of descriptors in its own memory (2.6.5.3, 2.8.8). */
static bool add_indirect(struct virtq *q, struct virtq_chain *c, const struct virtq_desc *table)
{
	unsigned n = table->len / DESC_BYTES, at = 0;
	struct virtq_desc d;

	if (!virtio_has(q->owner, VIRTIO_F_INDIRECT_DESC) || !n || table->len % DESC_BYTES ||
	    n > VIRTQ_MOST_DESCRIPTORS) {
		virtio_break(q->owner, "an indirect table of %u bytes", table->len);
		return false;
	}
	for (unsigned seen = 0; seen < n; seen++) {
		if (at >= n || !get_desc(q, table->addr + (uint64_t)at * DESC_BYTES, &d))
			break;
		if (d.flags & DESC_INDIRECT) {
			virtio_break(q->owner, "an indirect table in an indirect table");
			return false;
		}
		if (!add_memory(q, c, &d))
			return false;
		at = is_packed(q) ? at + 1 : d.next;
		if (is_packed(q) ? at == n : !(d.flags & DESC_NEXT))
			return true;
	}
	virtio_break(q->owner, "an indirect table has no end");
	return false;
}

static bool add_descriptor(struct virtq *q, struct virtq_chain *c, const struct virtq_desc *d)
{
	if (!(d->flags & DESC_INDIRECT))
		return add_memory(q, c, d);
	if (d->flags & DESC_NEXT) {
		virtio_break(q->owner, "an indirect descriptor with a next one (2.6.5.3.1)");
		return false;
	}
	return add_indirect(q, c, d);
}

static struct virtq_chain *new_chain(struct virtq *q, uint16_t head)
{
	struct virtq_chain *c = g_new0(struct virtq_chain, 1);

	c->q = q;
	c->head = head;
	return c;
}

/* Split rings. */

static bool split_follow(struct virtq *q, struct virtq_chain *c)
{
	struct virtq_desc d = { .next = c->head };

	for (unsigned seen = 0; seen < q->size; seen++) {
		if (d.next >= q->size) {
			virtio_break(q->owner, "descriptor %u in a queue of %u", d.next, q->size);
			return false;
		}
		if (!get_desc(q, q->desc + (uint64_t)d.next * DESC_BYTES, &d) ||
		    !add_descriptor(q, c, &d))
			return false;
		if (!(d.flags & DESC_NEXT))
			return true;
	}
	virtio_break(q->owner, "a chain has no end");
	return false;
}

static bool split_has_chain(struct virtq *q)
{
	uint16_t index;

	if (!get16(q, q->driver + 2, &index))
		return false;
	if ((uint16_t)(index - q->next_avail) > q->size) {
		virtio_break(q->owner, "%u chains in a queue of %u",
			     (uint16_t)(index - q->next_avail), q->size);
		return false;
	}
	return index != q->next_avail;
}

static struct virtq_chain *split_pop(struct virtq *q)
{
	struct virtq_chain *c;
	uint16_t head;

	if (!split_has_chain(q))
		return NULL;
	/* The index before the entry (2.6.13.3.1). */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (!get16(q, q->driver + 4 + 2 * (uint64_t)(q->next_avail % q->size), &head))
		return NULL;
	c = new_chain(q, head);
	if (!split_follow(q, c)) {
		virtq_chain_free(c);
		return NULL;
	}
	q->next_avail++;
	q->in_use++;
	if (has_event_idx(q))
		put(q, q->device + 4 + 8 * (uint64_t)q->size, q->next_avail, 2);
	return c;
}

static void split_push(struct virtq *q, uint16_t head, uint32_t written)
{
	uint64_t entry = q->device + 4 + 8 * (uint64_t)(q->next_used % q->size);

	if (!put(q, entry, head | (uint64_t)written << 32, 8))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	q->next_used++;
	put(q, q->device + 2, q->next_used, 2);
	if ((uint16_t)(q->next_used - q->signalled) == 0)
		q->signalled_valid = false;
}

static bool split_wants_interrupt(struct virtq *q)
{
	uint16_t old = q->signalled, event, flags;
	bool valid = q->signalled_valid;

	/* What was pushed is seen before we look whether anybody waits. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!has_event_idx(q))
		return get16(q, q->driver, &flags) && !(flags & AVAIL_NO_INTERRUPT);
	q->signalled = q->next_used;
	q->signalled_valid = true;
	if (!valid)
		return true;
	if (!get16(q, q->driver + 4 + 2 * (uint64_t)q->size, &event))
		return false;
	/* 2.6.7.2: whether `event` was passed since the last interrupt. */
	return (uint16_t)(q->next_used - event - 1) < (uint16_t)(q->next_used - old);
}

/* Packed rings. */

static bool packed_available(const struct virtq *q, uint16_t flags)
{
	return !!(flags & DESC_AVAIL) == q->avail_wrap && !!(flags & DESC_USED) != q->avail_wrap;
}

static bool packed_has_chain(struct virtq *q)
{
	uint16_t flags;

	return get16(q, q->desc + (uint64_t)q->next_avail * DESC_BYTES + 14, &flags) &&
	       packed_available(q, flags);
}

static void packed_advance(const struct virtq *q, uint16_t *at, bool *wrap, unsigned by)
{
	unsigned to = *at + by;

	if (to >= q->size) {
		to -= q->size;
		*wrap = !*wrap;
	}
	*at = (uint16_t)to;
}

static void remember(struct virtq_chain *c, const struct virtq_desc *d)
{
	unsigned n = c->descriptors++;

	if (!(n & (n - 1)))
		c->ring = g_renew(struct virtq_desc, c->ring, n ? 2 * n : 1);
	c->ring[n] = *d;
}

static struct virtq_chain *packed_pop(struct virtq *q)
{
	struct virtq_chain *c;
	uint16_t at = q->next_avail;
	struct virtq_desc d;

	if (!packed_has_chain(q))
		return NULL;
	/* The flags before the rest (2.8.6). */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	c = new_chain(q, 0);
	for (;;) {
		if (c->descriptors == q->size) {
			virtio_break(q->owner, "a chain has no end");
			break;
		}
		if (!get_desc(q, q->desc + (uint64_t)at * DESC_BYTES, &d) ||
		    !add_descriptor(q, c, &d))
			break;
		remember(c, &d);
		at = (uint16_t)((at + 1) % q->size);
		if (d.flags & DESC_NEXT)
			continue;
		c->head = d.next;
		packed_advance(q, &q->next_avail, &q->avail_wrap, c->descriptors);
		q->in_use++;
		return c;
	}
	virtq_chain_free(c);
	return NULL;
}

static void packed_push(struct virtq *q, const struct virtq_chain *c, uint32_t written)
{
	uint64_t at = q->desc + (uint64_t)q->next_used * DESC_BYTES;
	uint16_t flags = q->used_wrap ? DESC_AVAIL | DESC_USED : 0;

	if (c->in_len)
		flags |= DESC_WRITE;
	if (!put(q, at + 8, written | (uint64_t)c->head << 32, 6))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	put(q, at + 14, flags, 2);
	packed_advance(q, &q->next_used, &q->used_wrap, c->descriptors);
}

static bool packed_wants_interrupt(struct virtq *q)
{
	uint16_t old = q->signalled, event, flags, now = q->next_used, where;
	bool valid = q->signalled_valid;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!get16(q, q->driver, &event) || !get16(q, q->driver + 2, &flags))
		return false;
	q->signalled = now;
	q->signalled_valid = true;
	if (flags == EVENT_DISABLE)
		return false;
	if (flags != EVENT_DESC || !valid)
		return true;
	/* Positions on a line where the other lap's lie behind (2.8.10). */
	where = event & 0x7fff;
	if ((event >> 15) != q->used_wrap)
		where = (uint16_t)(where - q->size);
	if (old >= now)
		old = (uint16_t)(old - q->size);
	return (uint16_t)(now - where - 1) < (uint16_t)(now - old);
}

/* Both. */

static bool usable(const struct virtq *q)
{
	return q->enabled && !virtio_is_broken(q->owner);
}

bool virtq_has_chain(struct virtq *q)
{
	if (!usable(q))
		return false;
	return is_packed(q) ? packed_has_chain(q) : split_has_chain(q);
}

struct virtq_chain *virtq_pop(struct virtq *q)
{
	if (!usable(q))
		return NULL;
	if (q->in_use >= q->size && !virtq_has_chain(q))
		return NULL;
	if (q->in_use >= q->size) {
		virtio_break(q->owner, "more chains than the queue has room for");
		return NULL;
	}
	return is_packed(q) ? packed_pop(q) : split_pop(q);
}

static bool packed_follow_again(struct virtq *q, struct virtq_chain *c,
				const struct virtq_desc *ring, unsigned n)
{
	if (!n || n > q->size)
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (!add_descriptor(q, c, &ring[i]))
			return false;
		remember(c, &ring[i]);
	}
	return true;
}

struct virtq_chain *virtq_pop_again(struct virtq *q, uint16_t head, const struct virtq_desc *ring,
				    unsigned n)
{
	struct virtq_chain *c;

	if (!usable(q))
		return NULL;
	c = new_chain(q, head);
	if (is_packed(q) ? packed_follow_again(q, c, ring, n) : split_follow(q, c))
		return c;
	virtq_chain_free(c);
	return NULL;
}

void virtq_unpop(struct virtq *q, struct virtq_chain *c)
{
	q->in_use--;
	if (!is_packed(q)) {
		q->next_avail--;
	} else if (q->next_avail >= c->descriptors) {
		q->next_avail = (uint16_t)(q->next_avail - c->descriptors);
	} else {
		q->next_avail = (uint16_t)(q->next_avail + q->size - c->descriptors);
		q->avail_wrap = !q->avail_wrap;
	}
	virtq_chain_free(c);
}

void virtq_push(struct virtq *q, struct virtq_chain *c, size_t written)
{
	size_t left = written;

	for (unsigned i = c->nout; i < c->nout + c->nin; i++) {
		size_t here = MIN_OF(left, c->iov[i].iov_len);

		dma_unmap(&c->maps[i], here);
		left -= here;
	}
	c->nin = 0;
	if (usable(q)) {
		q->in_use--;
		if (is_packed(q))
			packed_push(q, c, (uint32_t)written);
		else
			split_push(q, c->head, (uint32_t)written);
	}
	virtq_chain_free(c);
}

void virtq_notify(struct virtq *q)
{
	if (usable(q) && (is_packed(q) ? packed_wants_interrupt(q) : split_wants_interrupt(q)))
		virtio_interrupt(q->owner, q->vector);
}

void virtq_want_kicks(struct virtq *q, bool want)
{
	if (!usable(q))
		return;
	if (is_packed(q))
		put(q, q->device + 2, want ? EVENT_ENABLE : EVENT_DISABLE, 2);
	else if (has_event_idx(q))
		put(q, q->device + 4 + 8 * (uint64_t)q->size,
		    want ? q->next_avail : (uint16_t)(q->next_avail - 1), 2);
	else
		put(q, q->device, want ? 0 : USED_NO_NOTIFY, 2);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void virtq_reset(struct virtq *q)
{
	q->size = q->most;
	q->enabled = false;
	q->vector = VIRTIO_NO_VECTOR;
	q->desc = q->driver = q->device = 0;
	q->next_avail = q->next_used = q->signalled = q->in_use = 0;
	q->avail_wrap = q->used_wrap = true;
	q->signalled_valid = false;
}

bool virtq_check(const struct virtq *q)
{
	bool power = q->size && !(q->size & (q->size - 1));

	return q->size && q->size <= q->most && (power || is_packed(q)) && !(q->desc & 15) &&
	       !(q->driver & (is_packed(q) ? 3 : 1)) && !(q->device & 3);
}

size_t virtq_read(const struct virtq_chain *c, size_t off, void *buf, size_t len)
{
	return iov_to(c->iov, (int)c->nout, off, buf, len);
}

size_t virtq_write(const struct virtq_chain *c, size_t off, const void *buf, size_t len)
{
	return iov_from(c->iov + c->nout, (int)c->nin, off, buf, len);
}

void virtq_take_all(struct virtq *q, void (*take)(void *dev, struct virtq_chain *c))
{
	struct virtq_chain *c;

	do {
		virtq_want_kicks(q, false);
		while ((c = virtq_pop(q)))
			take(q->owner, c);
		virtq_want_kicks(q, true);
	} while (virtq_has_chain(q));
}
