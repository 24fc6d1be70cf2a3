/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine: spaces, clocks, devices in order of creation, and the run state. Boards fill it,
 * engines run it, monitors ask it.
 *
 * Requests (reset, shutdown, powerdown, stop) may come from any thread; they are carried out by the
 * main loop, in machine_main_loop. State changes happen there with the machine lock held.
 */
#pragma once

#include <glib.h>

#include "core/clock.h"
#include "core/lock.h"
#include "core/memory.h"

struct bus;
struct device;
struct state_section;

/* QMP's names, see run_state_name. */
enum run_state {
	RUN_PRELAUNCH,
	RUN_RUNNING,
	RUN_PAUSED,
	RUN_SHUTDOWN,
	RUN_INTERNAL_ERROR,
	RUN_GUEST_PANICKED,
	RUN_DEBUG,
	RUN_IO_ERROR,
};

enum shutdown_cause {
	CAUSE_NONE,
	CAUSE_HOST_QUIT,
	CAUSE_HOST_SIGNAL,
	CAUSE_GUEST_SHUTDOWN,
	CAUSE_GUEST_RESET,
	CAUSE_GUEST_PANIC
};

enum request_bit {
	REQ_RESET = 1,
	REQ_SHUTDOWN = 2,
	REQ_POWERDOWN = 4,
	REQ_QUIT = 8,
	REQ_ERROR = 16,
	REQ_PANIC = 32,
	REQ_STOP = 64,
	REQ_IO_ERROR = 128
};

/* Called with the machine lock held. */
typedef void (*event_fn)(void *opaque, const char *event, const char *json_data);
struct machine_listener {
	/* The VM is about to run or has stopped. */
	void (*run_changed)(void *opaque, bool running);
	/* QMP events: data is a JSON object text or NULL. */
	event_fn event;
	/* Reset: after the devices. */
	void (*reset)(void *opaque);
	void *opaque;
	struct machine_listener *next;
};

#define MACHINE_GSIS 24

/* Something to boot from: where it is, as firmware names it, and the user's bootindex=. */
struct boot_entry {
	int32_t index;
	char *path;
};

/* RAM that the chipset shows to vCPUs in system management mode, where the space has other things.
 */
struct smm_ram {
	uint64_t base, size;
	struct ram_block *ram; /* NULL: none */
	uint64_t ram_off;
};

/* A memory balloon, for monitors. Statistics by their tags (VIRTIO 1.2, 5.5.6.3); all ones: not
 * told. */
#define BALLOON_STATS 10
struct balloon {
	/* The guest is to have so much of its RAM. */
	void (*set_target)(void *opaque, uint64_t bytes);
	uint64_t (*actual)(void *opaque);
	void (*stats)(void *opaque, uint64_t stats[BALLOON_STATS]);
	void *opaque;
};

struct machine {
	const char *board; /* "pc-i440fx" */
	char *name;	   /* -name */
	uint8_t uuid[16];
	bool uuid_set;
	struct space mem, ports;
	struct smm_ram smm_ram; /* changes under the lock */
	struct clock clocks[CLOCK_KINDS];
	GPtrArray *devices; /* struct device *, owned, in order of creation */
	GPtrArray *buses;   /* struct bus *, owned by their devices */
	GArray *boot;	    /* struct boot_entry, in the order that firmware should try */
	struct ram_block *blocks;
	struct machine_listener *listeners;
	void *accel; /* struct accel, when there is one; the core does not look inside */

	enum run_state state;
	unsigned requests; /* atomic mask of request_bit */
	enum shutdown_cause cause;
	struct balloon *balloon; /* the device's, or NULL */
	int exit_code;
	bool no_reboot, no_shutdown;
	bool quit;
	GMainContext *context;
	uint64_t gsi_count[MACHINE_GSIS]; /* rises, for `info irq` */

	/* Set by the engine: stop and start all vCPUs, wait until they are out of the guest. */
	void (*pause_vcpus)(struct machine *m);
	void (*resume_vcpus)(struct machine *m);
	void (*powerdown)(void *opaque); /* the board's power button */
	void *powerdown_opaque;
};

void machine_init(struct machine *m);
/* Frees devices in reverse order. vCPU threads must be gone. */
void machine_destroy(struct machine *m);
static inline struct clock *vm_clock(struct machine *m)
{
	return &m->clocks[CLOCK_VM];
}

/* A RAM block owned by the machine. */
struct ram_block *machine_ram(struct machine *m, const char *name, uint64_t size, GError **err);
struct ram_block *machine_find_ram(struct machine *m, const char *name);
struct device *machine_find_device(struct machine *m, const char *id_or_type);
/* The bus called `name`, or with NULL the first of `type`. */
struct bus *machine_find_bus(struct machine *m, const char *type, const char *name);

/*
 * The device at `path` (taken over) is to be tried at place `index`; below 0: it was not named, and
 * nothing happens. Fails when another has the place.
 */
bool machine_add_boot(struct machine *m, const char *device, int32_t index, char *path,
		      GError **err);

const char *run_state_name(enum run_state s);
static inline bool machine_running(const struct machine *m)
{
	return __atomic_load_n(&m->state, __ATOMIC_RELAXED) == RUN_RUNNING;
}
/* Asks the main loop; any thread. */
void machine_request(struct machine *m, unsigned request);
/* Guest-caused end with an exit code (isa-debug-exit). */
void machine_exit(struct machine *m, int code);
/* Main thread, lock held. */
void machine_start(struct machine *m);
void machine_stop(struct machine *m, enum run_state why);
void machine_reset(struct machine *m);
/* Carries out pending requests; false when the process should end. Main thread, lock held. */
bool machine_handle_requests(struct machine *m);
void machine_event(struct machine *m, const char *event, const char *json_data);
void machine_listen(struct machine *m, struct machine_listener *l);
void machine_unlisten(struct machine *m, struct machine_listener *l);

/* Every device's section, and back. On failure the machine must be reset. */
void machine_save(struct machine *m, GByteArray *out);
bool machine_load(struct machine *m, const void *data, size_t len, GError **err);
