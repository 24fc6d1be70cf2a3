/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory slots: KVM's view of the memory space, kept by a listener. One slot per flat range of host
 * memory; ROM and flash are read-only slots, whose writes come back as MMIO exits. Slots cannot be
 * resized, so a change deletes and adds. Also coalesced MMIO and port writes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "accel/kvm/kvm.h"
#include "core/log.h"

static struct kvm *of_mem(struct space_listener *l)
{
	return container_of(l, struct kvm, mem_listener);
}

static int slot_set(struct kvm *k, const struct kvm_slot *s, bool present)
{
	struct kvm_userspace_memory_region r;

	memset(&r, 0, sizeof(r));
	r.slot = s->id;
	r.guest_phys_addr = s->start;
	r.memory_size = present ? s->size : 0;
	r.userspace_addr = (uintptr_t)(s->ram->host + s->ram_off);
	r.flags =
		(s->read_only ? KVM_MEM_READONLY : 0) | (s->logging ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	return ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &r);
}

static struct kvm_slot *slot_at(struct kvm *k, guint i)
{
	return &g_array_index(k->slots, struct kvm_slot, i);
}

/* A host that refuses a slot leaves the guest without memory it was promised: that is the end. */
static void slot_failed(struct kvm *k, const struct kvm_slot *s, int why)
{
	for (guint i = 0; i < k->slots->len; i++) {
		const struct kvm_slot *o = slot_at(k, i);

		if (o->start < s->start + s->size && s->start < o->start + o->size)
			fprintf(stderr,
				"moa: kvm: memory '%s' at 0x%" PRIx64 "-0x%" PRIx64
				" overlaps '%s' at 0x%" PRIx64 "-0x%" PRIx64 "\n",
				s->name, s->start, s->start + s->size - 1, o->name, o->start,
				o->start + o->size - 1);
	}
	fprintf(stderr,
		"moa: kvm: cannot map memory '%s' at 0x%" PRIx64 ", 0x%" PRIx64 " bytes: %s\n",
		s->name, s->start, s->size, strerror(why));
	abort();
}

static uint32_t take_slot_id(struct kvm *k)
{
	for (uint32_t i = 0; i < (uint32_t)k->caps[CAP_NR_MEMSLOTS]; i++) {
		if (!(k->slot_used[i / 64] & BIT64(i % 64))) {
			k->slot_used[i / 64] |= BIT64(i % 64);
			return i;
		}
	}
	fprintf(stderr, "moa: kvm: all %d memory slots are in use\n", k->caps[CAP_NR_MEMSLOTS]);
	abort();
}

/* Host memory, in whole pages: what a slot can hold. */
static bool wants_slot(const struct flat_range *r)
{
	if (!r->direct_reads || ((r->start | r->size | r->off) & (PAGE_SIZE_4K - 1)))
		return false;
	return true;
}

/* Without KVM's read-only memory the guest runs its ROM from RAM that it may write. */
static bool slot_read_only(struct kvm *k, const struct flat_range *r)
{
	static bool warned;

	if (r->read_only && !k->caps[CAP_READONLY_MEM] && r->region->ops.write && !warned) {
		warned = true;
		fprintf(stderr,
			"moa: warning: kvm: this kernel has no KVM_CAP_READONLY_MEM: writes to the "
			"flash '%s' "
			"are not kept\n",
			r->region->name);
	}
	return r->read_only && k->caps[CAP_READONLY_MEM];
}

/* Writes that end in the kernel. Where it takes no more of them, they come to the handler. */
static void set_eventfds(struct kvm *k, const struct flat_range *r, bool pio, bool add)
{
	for (unsigned i = 0; r->region->kind == REGION_IO && i < r->region->neventfds; i++) {
		const struct region_eventfd *e = &r->region->eventfds[i];

		if (e->off >= r->off && e->off - r->off < r->size)
			kvm_ioeventfd(k->accel, pio, r->start + (e->off - r->off), e->size,
				      e->match, e->value, e->fd, add);
	}
}

static void add_range(struct space_listener *l, const struct flat_range *r)
{
	struct kvm *k = of_mem(l);
	struct kvm_slot s;

	set_eventfds(k, r, false, true);

	if (r->region->kind == REGION_IO && r->region->coalesce && k->caps[CAP_COALESCED_MMIO]) {
		struct kvm_coalesced_mmio_zone z = { .addr = r->start, .size = (uint32_t)r->size };

		if (ioctl(k->vm, KVM_REGISTER_COALESCED_MMIO, &z) == 0)
			g_array_append_val(k->coalesced, z);
	}
	if (!wants_slot(r))
		return;
	s = (struct kvm_slot) {
		.id = take_slot_id(k),
		.start = r->start,
		.size = r->size,
		.ram = r->region->ram,
		.ram_off = r->off,
		.read_only = slot_read_only(k, r),
		.logging = r->region->ram->tracking != 0,
		.name = r->region->name,
	};
	if (slot_set(k, &s, true) < 0)
		slot_failed(k, &s, errno);
	g_array_append_val(k->slots, s);
	log_printf(MEMORY, "kvm slot %u: %s 0x%" PRIx64 "+0x%" PRIx64 "%s", s.id, s.name, s.start,
		   s.size, s.read_only ? " read-only" : "");
}

/* Fetches a slot's log, which also clears it, and ors it into the block's own bitmap. */
static void sync_slot(struct kvm *k, const struct kvm_slot *s)
{
	uint64_t pages = s->size >> PAGE_BITS;
	g_autofree uint64_t *bits = g_new0(uint64_t, (pages + 63) / 64);
	struct kvm_dirty_log log;

	if (!s->logging)
		return;
	memset(&log, 0, sizeof(log));
	log.slot = s->id;
	log.dirty_bitmap = bits;
	kvm_must(k->vm, KVM_GET_DIRTY_LOG, &log);
	ram_merge_dirty(s->ram, s->ram_off >> PAGE_BITS, bits, pages);
}

static void del_range(struct space_listener *l, const struct flat_range *r)
{
	struct kvm *k = of_mem(l);

	set_eventfds(k, r, false, false);
	if (r->region->kind == REGION_IO && r->region->coalesce) {
		for (guint i = 0; i < k->coalesced->len; i++) {
			struct kvm_coalesced_mmio_zone *z =
				&g_array_index(k->coalesced, struct kvm_coalesced_mmio_zone, i);

			if (z->addr != r->start || z->size != r->size || z->pio)
				continue;
			kvm_flush_coalesced(k);
			ioctl(k->vm, KVM_UNREGISTER_COALESCED_MMIO, z);
			g_array_remove_index_fast(k->coalesced, i);
			break;
		}
	}
	for (guint i = 0; i < k->slots->len; i++) {
		struct kvm_slot *s = slot_at(k, i);

		if (s->start != r->start || s->size != r->size)
			continue;
		sync_slot(k, s);
		kvm_must(k->vm, KVM_SET_USER_MEMORY_REGION,
			 &((struct kvm_userspace_memory_region) { .slot = s->id }));
		k->slot_used[s->id / 64] &= ~BIT64(s->id % 64);
		g_array_remove_index_fast(k->slots, i);
		return;
	}
}

static void log_change(struct space_listener *l, struct ram_block *b)
{
	struct kvm *k = of_mem(l);

	for (guint i = 0; i < k->slots->len; i++) {
		struct kvm_slot *s = slot_at(k, i);
		bool want = b->tracking != 0;

		if (s->ram != b || s->logging == want || s->read_only)
			continue;
		if (!want)
			sync_slot(k, s);
		s->logging = want;
		if (slot_set(k, s, true) < 0)
			slot_failed(k, s, errno);
	}
}

static void log_sync(struct space_listener *l, struct ram_block *b)
{
	struct kvm *k = of_mem(l);

	for (guint i = 0; i < k->slots->len; i++)
		if (slot_at(k, i)->ram == b)
			sync_slot(k, slot_at(k, i));
}

static void add_ports(struct space_listener *l, const struct flat_range *r)
{
	struct kvm *k = container_of(l, struct kvm, port_listener);
	struct kvm_coalesced_mmio_zone z = { .addr = r->start,
					     .size = (uint32_t)r->size,
					     .pio = 1 };

	set_eventfds(k, r, true, true);
	if (!r->region->coalesce || !k->caps[CAP_COALESCED_PIO])
		return;
	if (ioctl(k->vm, KVM_REGISTER_COALESCED_MMIO, &z) == 0)
		g_array_append_val(k->coalesced, z);
}

static void del_ports(struct space_listener *l, const struct flat_range *r)
{
	struct kvm *k = container_of(l, struct kvm, port_listener);

	set_eventfds(k, r, true, false);
	for (guint i = 0; i < k->coalesced->len; i++) {
		struct kvm_coalesced_mmio_zone *z =
			&g_array_index(k->coalesced, struct kvm_coalesced_mmio_zone, i);

		if (z->addr != r->start || z->size != r->size || !z->pio)
			continue;
		kvm_flush_coalesced(k);
		ioctl(k->vm, KVM_UNREGISTER_COALESCED_MMIO, z);
		g_array_remove_index_fast(k->coalesced, i);
		return;
	}
}

/*
 * The ring lies behind vCPU 0's run page and is shared by all. Every vCPU empties it after an exit,
 * before it handles the exit, so that batched writes keep their place in the order.
 */
void kvm_flush_coalesced(struct kvm *k)
{
	struct kvm_coalesced_mmio_ring *ring = k->ring;
	const uint32_t max = (uint32_t)((4096 - sizeof(*ring)) / sizeof(ring->coalesced_mmio[0]));
	bool locked;

	if (!ring || __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) ==
			     __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE))
		return;
	locked = !machine_locked();
	if (locked)
		machine_lock();
	while (ring->first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) {
		struct kvm_coalesced_mmio e = ring->coalesced_mmio[ring->first % max];
		struct space *s = e.pio ? &k->accel->machine->ports : &k->accel->machine->mem;

		__atomic_store_n(&ring->first, (ring->first + 1) % max, __ATOMIC_RELEASE);
		space_write(s, e.phys_addr, e.data, MIN_OF(e.len, 8u));
	}
	if (locked)
		machine_unlock();
}

void kvm_slots_init(struct kvm *k)
{
	k->slots = g_array_new(FALSE, TRUE, sizeof(struct kvm_slot));
	k->coalesced = g_array_new(FALSE, TRUE, sizeof(struct kvm_coalesced_mmio_zone));
	k->slot_used = g_new0(uint64_t, (size_t)(k->caps[CAP_NR_MEMSLOTS] + 63) / 64);
	k->mem_listener = (struct space_listener) {
		.add = add_range, .del = del_range, .log_change = log_change, .log_sync = log_sync
	};
	space_listen(&k->accel->machine->mem, &k->mem_listener);
	k->port_listener = (struct space_listener) { .add = add_ports, .del = del_ports };
	space_listen(&k->accel->machine->ports, &k->port_listener);
}

void kvm_slots_destroy(struct kvm *k)
{
	space_unlisten(&k->accel->machine->mem, &k->mem_listener);
	space_unlisten(&k->accel->machine->ports, &k->port_listener);
	g_array_unref(k->slots);
	g_array_unref(k->coalesced);
	g_free(k->slot_used);
}
