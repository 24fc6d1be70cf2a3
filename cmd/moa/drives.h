/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives of the command line: -drive, -hda and its like, -cdrom, a bare file name. */
#pragma once

#include "block/drive.h"
#include "core/options.h"

enum drive_interface { IF_NONE, IF_IDE, IF_VIRTIO, IF_FLOPPY, IF_PFLASH, IF_COUNT };

/* What was asked for, before there is a machine. */
struct drive_wish {
	enum drive_interface interface;
	int index; /* on the interface; -1: the next */
	struct drive_options options;
	/* What options points into. */
	char *id, *file, *format, *serial, *label;
};

struct drive_wishes {
	GPtrArray *all; /* struct drive_wish */
	GPtrArray
		*files; /* struct file_node: -blockdev's files, before a format is put over them */
};

void drive_wishes_init(struct drive_wishes *w);
void drive_wishes_clear(struct drive_wishes *w);
/* The interface a -drive list names; IDE by default. */
bool drive_interface(struct optlist *l, enum drive_interface *interface, GError **err);
bool drive_wish_take(struct drive_wishes *w, struct optlist *l, GError **err);
/* -hda FILE (index 0), -cdrom FILE, -fda FILE. */
bool drive_wish_add(struct drive_wishes *w, enum drive_interface interface, const char *file,
		    int index, bool cdrom, GError **err);
/* Empty drives where nobody asked for another: a CD-ROM at ide1-cd0, and floppy0. */
bool drive_wishes_defaults(struct drive_wishes *w, bool cdrom, GError **err);
/* -blockdev: a file, or a format over one, by a name that devices say in drive=. */
bool blockdev_take(struct drive_wishes *w, const char *text, GError **err);
/* Opens the images, and makes the devices of those that have an interface. */
bool drive_wishes_fulfil(struct drive_wishes *w, struct machine *m, GError **err);
