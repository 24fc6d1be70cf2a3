/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory spaces. A space (physical memory; I/O ports) is a tree of regions:
 *
 *	GROUP  holds others         RAM    host memory             ROM  host memory, writes go to a
 *handler IO     handlers             ALIAS  a stretch of another region
 *
 * Where regions overlap the higher priority wins; among equals the one added last. Changes made
 *between space_begin and space_commit become visible together: commit flattens the tree into an
 *immutable sorted array, publishes it with one pointer store, and tells listeners what went and
 *what came. The old array is freed when no reader can still hold it (RCU).
 *
 * Locks: the tree is changed with the machine lock held. Accesses may come from any thread; the
 *core takes the machine lock around IO handlers when the thread does not hold it.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"
#include "core/lock.h"

struct device;
struct space;

enum region_kind { REGION_GROUP, REGION_RAM, REGION_ROM, REGION_IO, REGION_ALIAS };

/* Who wants to know that a page was written. */
enum dirty_user { DIRTY_MIGRATION, DIRTY_DISPLAY, DIRTY_USERS };
#define PAGE_BITS 12
#define PAGE_SIZE_4K (UINT64_C(1) << PAGE_BITS)

/* Told of every write but the engine's own, after it; any thread. What was made from code forgets
 * it. */
struct ram_watcher {
	void (*written)(struct ram_watcher *w, void *host, uint64_t len);
};

/* Host memory behind RAM and ROM regions. Dirty bits are keyed by the offset in here, one a page.
 */
struct ram_block {
	char *name; /* stable: it names the block in saved state */
	uint8_t *host;
	uint64_t size;
	uint64_t *dirty[DIRTY_USERS]; /* atomic words; a set bit is a dirty page */
	unsigned tracking;	      /* mask of users that follow writes, atomic */
	struct ram_watcher *watcher;  /* the engine's, or NULL */
	struct ram_block *next;
};

/*
 * What an IO region (or a ROM's writes) does. The core hands over accesses of `min` to `max` bytes,
 * naturally aligned and inside the region: it splits wider and unaligned ones, and widens narrower
 * ones (reads are cut out, writes are filled with zeros as a bus without byte enables would).
 */
struct region_ops {
	uint64_t (*read)(void *opaque, uint64_t off, unsigned size);
	void (*write)(void *opaque, uint64_t off, uint64_t value, unsigned size);
	uint8_t min, max; /* powers of two, 1 to 8 */
};

/*
 * A write of `size` bytes at `off`, of `value` if `match`, that signals an eventfd instead of
 * reaching the handler, from any thread and without the machine lock.
 */
struct region_eventfd {
	uint64_t off, value;
	uint8_t size;
	bool match;
	int fd;
};

struct region {
	const char *name;
	enum region_kind kind;
	uint64_t size;
	uint64_t addr; /* in the parent */
	int priority;
	bool enabled;
	bool rom_handler_reads; /* ROM: reads go to the handler too (a flash in command mode) */
	bool read_only;		/* ALIAS: writes through it are dropped */
	bool coalesce;		/* IO: writes may be batched by the engine */
	/* IO; the owner's, and fixed while the region is mapped. */
	const struct region_eventfd *eventfds;
	unsigned neventfds;
	struct region *parent;
	GPtrArray *children; /* of a GROUP, not owned */
	struct ram_block *ram;
	struct region *target; /* ALIAS */
	uint64_t target_off;
	struct region_ops ops;
	void *opaque;
	struct device *owner; /* whose windows may not be re-entered; NULL: nobody's */
	struct space *space;  /* the space this tree belongs to; set on the root */
};

/* One stretch of the flattened space. */
struct flat_range {
	uint64_t start, size;
	struct region *region; /* RAM, ROM or IO */
	uint64_t off;	       /* of `start` in the region */
	bool read_only;	       /* writes do not reach host memory */
	bool direct_reads;     /* host memory may be read directly */
};

struct flat_view {
	size_t count;
	struct flat_range *ranges;
};

/* What an engine or vhost does when the map changes. Called with the machine lock held. */
struct space_listener {
	void (*begin)(struct space_listener *l);
	void (*del)(struct space_listener *l, const struct flat_range *r);
	void (*add)(struct space_listener *l, const struct flat_range *r);
	void (*commit)(struct space_listener *l);
	/* Dirty tracking of a block was turned on or off, or its engine-side bits are wanted. */
	void (*log_change)(struct space_listener *l, struct ram_block *b);
	void (*log_sync)(struct space_listener *l, struct ram_block *b);
	struct space_listener *next;
};

struct space {
	const char *name;
	struct region root;
	uint64_t addr_mask;	/* addresses wrap: ports at 64 KiB */
	uint64_t open_bus;	/* what reads of nothing return */
	struct flat_view *view; /* RCU */
	struct space_listener *listeners;
	unsigned depth; /* of space_begin */
	bool changed;
};

void space_init(struct space *s, const char *name, uint64_t size);
void space_destroy(struct space *s);
void space_begin(struct space *s);
void space_commit(struct space *s);
/* A new listener is told of everything that is there. */
void space_listen(struct space *s, struct space_listener *l);
void space_unlisten(struct space *s, struct space_listener *l);

void region_init_group(struct region *r, const char *name, uint64_t size);
void region_init_io(struct region *r, const char *name, uint64_t size, const struct region_ops *ops,
		    void *opaque, struct device *owner);
void region_init_ram(struct region *r, const char *name, struct ram_block *ram);
/* `ops` may be NULL: writes are dropped. */
void region_init_rom(struct region *r, const char *name, struct ram_block *ram,
		     const struct region_ops *ops, void *opaque, struct device *owner);
void region_init_alias(struct region *r, const char *name, struct region *target, uint64_t off,
		       uint64_t size);
/* Adds and removes; both commit at once unless inside begin..commit. Addresses are the parent's. */
void region_add(struct region *parent, uint64_t addr, int priority, struct region *child);
void region_remove(struct region *child);
void region_destroy(struct region *r);
void region_set_enabled(struct region *r, bool enabled);
void region_set_addr(struct region *r, uint64_t addr);
void region_set_rom_reads(struct region *r, bool by_handler);
void region_set_read_only(struct region *r, bool read_only);
static inline bool region_mapped(const struct region *r)
{
	return r->parent != NULL;
}

/*
 * Accesses of any length. They return false if any byte met nothing (reads give the open bus
 * there).
 */
bool space_read(struct space *s, uint64_t addr, void *buf, size_t len);
bool space_write(struct space *s, uint64_t addr, const void *buf, size_t len);
/* 1 to 8 bytes as a little-endian value. */
uint64_t space_read_le(struct space *s, uint64_t addr, unsigned size);
void space_write_le(struct space *s, uint64_t addr, uint64_t value, unsigned size);
/* Writes even into ROM, for loaders. False if not all of it is RAM or ROM. */
bool space_write_rom(struct space *s, uint64_t addr, const void *buf, size_t len);
/*
 * Direct access to RAM: the host address of `addr` and, in *len, how much of the wanted length is
 * contiguous; NULL if it is not RAM. Valid until the block goes. A writer calls ram_mark_dirty
 * after.
 */
void *space_map(struct space *s, uint64_t addr, size_t *len, bool write, struct ram_block **block,
		uint64_t *block_off);
/* A copy of the current view for readers that print it; free with flat_view_free. */
struct flat_view *space_copy_view(struct space *s);
void flat_view_free(struct flat_view *v);

/* RAM blocks. ram_new maps zeroed host memory, aligned for large pages. */
struct ram_block *ram_new(const char *name, uint64_t size, GError **err);
void ram_free(struct ram_block *b);
void ram_mark_dirty(struct ram_block *b, uint64_t off, uint64_t len);
/* Follows writes for `user` from now on; at the start every page counts as dirty. */
void ram_track(struct space *s, struct ram_block *b, enum dirty_user user, bool on);
/* Fetches the engine's bits, so that the bitmap is complete up to now. */
void ram_sync_dirty(struct space *s, struct ram_block *b);
/* Tests and clears one page's bit; off is in bytes. */
bool ram_test_clear_dirty(struct ram_block *b, enum dirty_user user, uint64_t off);
/* Ors bits of an engine's log in: `bits` begins at page `first`. For all users that track. */
void ram_merge_dirty(struct ram_block *b, uint64_t first, const uint64_t *bits, uint64_t pages);
