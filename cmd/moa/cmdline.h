/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command line asks for. */
#pragma once

#include "cmd/moa/drives.h"
#include "cmd/moa/nets.h"
#include "hw/board/pc.h"

struct char_request {
	char *option; /* "-serial" */
	char *text;
};

struct vm_config {
	struct pc_config pc;
	struct accel_config accel;
	char *gdb;					  /* -gdb's chardev; NULL: none */
	char *accels;					  /* "kvm:tcg"; NULL: choose */
	GPtrArray *chardevs;				  /* texts of -chardev */
	GPtrArray *serials, *monitors, *qmps, *debugcons; /* texts */
	GPtrArray *mons;				  /* texts of -mon */
	GPtrArray *devices;				  /* texts of -device */
	GPtrArray *objects;				  /* texts of -object */
	GPtrArray *fw_cfg;				  /* struct fw_cfg_blob */
	struct drive_wishes drives;
	struct net_wishes nets;
	bool snapshot; /* -snapshot: of every drive */
	bool nodefaults, nographic, display_given;
	bool stopped, no_reboot, no_shutdown, daemonize, qmp_pretty;
	char *name, *process_name, *pidfile, *cpu;
	uint8_t uuid[16];
	bool uuid_set;
	/* Texts that pc points into. */
	char *digest, *bios, *kernel, *initrd, *append, *boot_order, *pflash_file[PC_PFLASH_UNITS],
		*serial_id[PC_SERIAL_PORTS];
	bool done; /* -help and the like: nothing to run */
};

bool config_parse(struct vm_config *c, int argc, char **argv, GError **err);
void config_clear(struct vm_config *c);
/* Makes the -device devices. */
bool config_add_devices(struct vm_config *c, struct machine *m, GError **err);
