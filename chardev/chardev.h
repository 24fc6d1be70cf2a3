/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices: where serial ports, debug consoles and monitors meet the host. A backend
 * (stdio, pty, file, socket, null, ringbuf) moves bytes; a front is one user of it. A mux shares
 * one backend among several fronts and switches with Ctrl-A c.
 *
 * Threads: backends live on the main loop. chr_write may come from any thread that holds the
 * machine lock; it never blocks: what the host does not take is queued up to a bound and then
 * dropped, as a line with nobody at its end would drop it. Fronts that must not lose output ask
 * chr_output_room first.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"
#include "core/error.h"

struct optlist;

enum chr_event { CHR_OPENED, CHR_CLOSED, CHR_BREAK, CHR_FOCUS_IN, CHR_FOCUS_OUT };

/* A user of a chardev. All functions may be NULL. Called with the machine lock held. */
struct chr_front {
	/* How many bytes the user can take now. */
	size_t (*can_read)(void *opaque);
	/* At most what can_read said. */
	void (*read)(void *opaque, const uint8_t *data, size_t len);
	void (*event)(void *opaque, enum chr_event e);
	void *opaque;
	struct chardev *chr;
	bool open;	   /* the other end is there */
	uint8_t typed[64]; /* mux: what was typed ahead of can_read */
	unsigned ntyped;
	/* There is room again, after chr_output_room said that there was too little. */
	void (*can_write)(void *opaque);
};

struct chardev {
	char *id;
	const struct chr_backend *ops;
	void *backend;
	GMainContext *context;
	struct chr_front *fronts[8];
	unsigned nfronts;
	unsigned focus; /* the front that gets input */
	bool mux;
	bool escape; /* the mux saw Ctrl-A */
	bool connected;
	GByteArray *out;	    /* queued output */
	bool crowded;		    /* somebody waits for room in it */
	void (*quit)(void *opaque); /* mux: Ctrl-A x */
	void *quit_opaque;
};

/* One row of the backend table: `-chardev NAME,...`. */
struct chr_backend {
	const char *name, *help;
	/* Reads its keys from the list; sets chr->backend. */
	bool (*open)(struct chardev *chr, struct optlist *l, GError **err);
	void (*close)(struct chardev *chr);
	/* Writes what the host takes now: bytes taken, 0 to be asked again, <0 to drop everything.
	 */
	long (*write)(struct chardev *chr, const uint8_t *data, size_t len);
	/* The front's can_read may have grown. */
	void (*accept_input)(struct chardev *chr);
	/* More of the ring buffer: reads stored output. */
	size_t (*read_back)(struct chardev *chr, uint8_t *data, size_t len);
	/* The output queue is no longer empty: tell chr_flush when the host takes more. */
	void (*want_write)(struct chardev *chr);
	char *(*describe)(struct chardev *chr);
};

/* Parses "socket,id=x,...". The chardev joins the list that chr_find searches. */
struct chardev *chr_new(GMainContext *context, const char *text, GError **err);
/*
 * What -serial, -monitor, -debugcon take: "stdio", "mon:stdio", "tcp:host:port,server",
 * "unix:path", "telnet:...", "pty", "file:path", "null", "none", "ringbuf", "vc", "chardev:id".
 * "none" gives NULL without an error.
 */
struct chardev *chr_new_legacy(GMainContext *context, const char *option, const char *text,
			       const char *id, GError **err);
struct chardev *chr_find(const char *id);
void chr_free_all(void);
/* Calls fn for each chardev. */
void chr_foreach(void (*fn)(struct chardev *chr, void *opaque), void *opaque);
char *chr_describe(struct chardev *chr);
char *chr_help(void);

/* A second user needs a mux; false with *err otherwise. */
bool chr_attach(struct chardev *chr, struct chr_front *front, GError **err);
void chr_detach(struct chr_front *front);
void chr_write(struct chr_front *front, const void *data, size_t len);
/* Whether `len` bytes would be taken now; if not, can_write is called once they are. */
bool chr_output_room(struct chr_front *front, size_t len);
void chr_accept_input(struct chr_front *front);

/* For backends. */
void chr_input(struct chardev *chr, const uint8_t *data, size_t len);
size_t chr_input_room(struct chardev *chr);
void chr_set_connected(struct chardev *chr, bool connected);
void chr_flush(struct chardev *chr);

extern const struct chr_backend chr_stdio, chr_pty, chr_file, chr_socket, chr_null, chr_ringbuf;
