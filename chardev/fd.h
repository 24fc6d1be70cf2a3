/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pair of file descriptors as a chardev backend; what stdio, pty, file and sockets have in
 * common.
 */
#pragma once

#include "chardev/chardev.h"

struct chr_fds {
	int in, out; /* either may be -1; not owned */
	GSource *in_watch, *out_watch;
	bool lost; /* the other end hung up */
	void (*hangup)(struct chardev *chr);
	/* Edits input in place (telnet) and returns what is left; may be NULL. */
	size_t (*filter)(struct chardev *chr, uint8_t *data, size_t len);
};

/* chr->backend must begin with a struct chr_fds. */
void chr_fds_start(struct chardev *chr);
void chr_fds_stop(struct chardev *chr);
long chr_fds_write(struct chardev *chr, const uint8_t *data, size_t len);
void chr_fds_want_write(struct chardev *chr);
void chr_fds_accept_input(struct chardev *chr);
