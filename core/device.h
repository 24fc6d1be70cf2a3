/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices. A device is one const struct: properties, windows, saved fields and a few functions, all
 *plain data. Its run-time struct begins with struct device (or with a bus's struct that does).
 *Handlers get that struct as void *.
 *
 *	new (properties) -> realize -> reset -> run -> unrealize
 *
 * Lock: handlers, timers and callbacks run with the machine lock held; devices lock nothing
 *themselves.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"
#include "core/error.h"
#include "core/field.h"
#include "core/irq.h"
#include "core/machine.h"
#include "core/memory.h"

enum window_kind { WIN_PIO, WIN_MMIO };

/* A register window. Handlers see naturally aligned accesses of min to max bytes inside the window.
 */
struct window {
	const char *name;
	enum window_kind kind;
	uint64_t size;
	uint8_t min, max;
	uint64_t (*read)(void *dev, uint64_t off, unsigned size);
	void (*write)(void *dev, uint64_t off, uint64_t value, unsigned size);
};
#define WINDOWS(...) ((const struct window[]) { __VA_ARGS__, { .name = NULL } })
#define MOST_WINDOWS 8

struct bus;

struct device_info {
	const char *name, *desc;
	const char *alias; /* another name that users know it by, or NULL */
	const char *bus;   /* type of the bus it plugs into: "ISA", "PCI"; NULL: wired by the board
			      only */
	const void *bus_info; /* what the bus wants to know: struct pci_info for PCI */
	size_t size;
	const char *struct_name;
	const struct field *props;
	const struct window *windows;
	const struct field *state;
	const char *host; /* members that are neither state nor properties, by name */
	unsigned version; /* of the saved section; 0 means 1 */
	bool board_only;  /* -device may not make one */
	/*
	 * It saves the levels of its inputs, so what others drive while they load must not stay:
	 * its section is loaded once more after everybody's `loaded`. Interrupt controllers and
	 * processors.
	 */
	bool load_last;

	/* May fail with an error a user can act on; then unrealize is not called. */
	bool (*realize)(void *dev, GError **err);
	/*
	 * Undoes realize. Timers and mapped windows are the device's own to cancel; windows go by
	 * themselves.
	 */
	void (*unrealize)(void *dev);
	/* Phase 1: own fields only. Phase 2: lines and everybody else. */
	void (*reset)(void *dev);
	void (*reset_lines)(void *dev);
	/* Before a save: bring fields up to date (fetch in-kernel state). */
	void (*saving)(void *dev);
	/* After a load: check, derive lines and timers; may refuse with a reason. */
	bool (*loaded)(void *dev, GError **err);
	/* The VM starts (true) or stops. */
	void (*run_changed)(void *dev, bool running);
	/* Text for `info`; NULL where there is nothing to say. */
	void (*print)(void *dev, GString *out);
};

/* DEVICE(ident, .name = ...), with D defined. scripts/gen-registry finds it by this spelling. */
#define DEVICE(ident, ...)                                                                         \
	const struct device_info device_##ident = { .size = sizeof(D),                             \
						    .struct_name = FIELD_STR(D),                   \
						    __VA_ARGS__ }

struct device {
	const struct device_info *info;
	struct machine *machine;
	char *id;   /* the user's, or NULL */
	char *path; /* unique and stable: names the saved section */
	struct bus *bus;
	struct region regions[MOST_WINDOWS]; /* one per window */
	bool entered;			     /* a handler is running; see access.c */
	bool dma_off;			     /* a bus master that may not; atomic */
	bool dma_ram_only; /* its DMA has no business in other devices' windows: see iothread.h */
	bool realized;
};

/* A place where devices plug in. `attach` runs before realize and may refuse (no free slot). */
struct bus {
	const char *type; /* "PCI" */
	char *name;	  /* "pci.0" */
	struct device *owner;
	bool (*attach)(struct bus *bus, struct device *dev, GError **err);
	void (*detach)(struct bus *bus, struct device *dev);
	/* What the bus itself keeps for the device: cleared at reset, derived again after a load.
	 */
	void (*reset)(struct bus *bus, struct device *dev);
	bool (*loaded)(struct bus *bus, struct device *dev, GError **err);
};

/*
 * A name for the n-th bus of a device, to be freed: ID.n where the user gave an id, else the first
 * STEM.number that no bus has.
 */
char *bus_name(const struct device *owner, const char *stem, unsigned n);

/* All device types in this build, sorted by name and ended by NULL; generated. */
extern const struct device_info *const device_registry[];
const struct device_info *device_find(const char *name, GError **err);

/* -global TYPE.PROP=VALUE: a default for every device of the type made from now on. */
bool device_add_global(const char *text, GError **err);
bool device_has_global(const struct device_info *info, const char *prop);

/*
 * Boards: make, set properties, realize. device_new dies never; a name not in the registry is a
 * bug.
 */
void *device_new(struct machine *m, const struct device_info *info, const char *id);
bool device_set(void *dev, const char *prop, const char *value, GError **err);
void device_set_uint(void *dev, const char *prop, uint64_t value);
bool device_realize(void *dev, struct bus *bus, GError **err);
void device_free(void *dev);
/* Name for messages: id, or else type. */
const char *device_name(const void *dev);
static inline struct device *as_device(void *dev)
{
	return dev;
}

/* Puts window n at addr of the machine's ports or memory. */
void device_map(void *dev, unsigned window, uint64_t addr);
void device_map_priority(void *dev, unsigned window, uint64_t addr, int priority);

void device_save(struct device *dev, GByteArray *out);
bool device_load(struct device *dev, const struct state_section *s, GError **err);

/* After all sections: the bus's part and the device's. */
bool device_loaded(struct device *dev, GError **err);

/* Bounded guest memory access for devices; false when bus mastering is off or a byte met nothing.
 */
bool dma_read(void *dev, uint64_t addr, void *buf, size_t len);
bool dma_write(void *dev, uint64_t addr, const void *buf, size_t len);
/*
 * Maps guest RAM: NULL if it is not RAM or bus mastering is off; *len shrinks to what is
 * contiguous. dma_unmap marks what was written dirty.
 */
struct dma_map {
	void *host;
	size_t len;
	struct ram_block *block;
	uint64_t block_off;
	bool write;
};
bool dma_map(void *dev, uint64_t addr, size_t len, bool write, struct dma_map *map);
void dma_unmap(struct dma_map *map, size_t written);

/* Guest memory in pieces, for one transfer. */
struct dma_list {
	GArray *maps; /* struct dma_map */
	size_t len;
	bool write;
};
/* An empty list; `write`: the device will write there. */
void dma_list_start(struct dma_list *l, bool write);
/* Appends; false (and as much as there is) when some of it is not RAM. */
bool dma_list_add(void *dev, struct dma_list *l, uint64_t addr, size_t len);
/* The pieces, g_malloc. */
struct iovec *dma_list_iov(const struct dma_list *l, int *n);
/* Unmaps everything; what was written is marked dirty. Twice is fine. */
void dma_list_end(struct dma_list *l);
