/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames in a stream, each behind its length in four bytes, big-endian. */
#pragma once

#include <sys/socket.h>

#include "net/net.h"

enum stream_role { STREAM_CONNECTED, STREAM_CONNECT, STREAM_LISTEN };

/*
 * Makes it the port's backend; text is taken over, fd too (STREAM_CONNECTED; else -1). A client
 * that loses its server tries again every `reconnect` seconds, 0: never. A server waits for the
 * next client.
 */
bool stream_new(struct net_port *p, enum stream_role role, int fd, const struct sockaddr_storage *a,
		socklen_t len, unsigned reconnect, char *text, GError **err);
