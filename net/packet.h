/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backends over a descriptor that moves one frame at each read and write: datagrams, tap. */
#pragma once

#include <sys/socket.h>

#include "net/net.h"

struct packet_fd {
	struct net_port *port;
	int fd;
	struct sockaddr_storage to;
	socklen_t to_len; /* 0: written with write() */
	bool read_only;
	bool has_headers; /* a struct net_hdr before each frame */
	int out_fd; /* a group's: another to send from, so that our own frames are known; or -1 */
	struct sockaddr_storage own, from;
	char *text;						 /* for `info network` */
	void (*closing)(struct packet_fd *f, void *extra);	 /* may be NULL */
	void (*peer_takes)(struct packet_fd *f, unsigned takes); /* may be NULL */
	void *extra;
	GSource *in, *out;
	uint8_t frame[NET_HDR_BYTES + NET_MOST_FRAME];
};

/* Makes it the port's backend; fd, text and extra are taken over. */
struct packet_fd *packet_fd_new(struct net_port *p, int fd, char *text);

/* Reads "host:port"; the host may be empty, which is the loopback. */
bool net_resolve(const char *option, const char *key, const char *host, const char *port,
		 bool passive, int type, struct sockaddr_storage *a, socklen_t *len, GError **err);
bool net_resolve_pair(const char *option, const char *key, const char *text, bool passive, int type,
		      struct sockaddr_storage *a, socklen_t *len, GError **err);
/* A Unix socket's address; false when the path is too long. */
bool net_unix_address(const char *option, const char *key, const char *path,
		      struct sockaddr_storage *a, socklen_t *len, GError **err);
/* A descriptor that the process was started with, or -1. */
int net_inherited_fd(const char *option, const char *text, GError **err);
