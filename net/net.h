/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Networks: Ethernet frames between two ports. A card is one; the other is a backend that leads to
 * the host.
 *
 * What a port cannot take now waits in a bounded queue before it, and the sender is told to hold
 * back; what must be dropped all the same is counted. Nobody blocks.
 *
 * Lock: the port's and its peer's, which is the machine lock, or that of the I/O thread whose loop
 * serves them both.
 */
#pragma once

#include <glib.h>

#include "core/error.h"
#include "core/iothread.h"
#include "core/iov.h"
#include "core/machine.h"
#include "net/offload.h"

#define NET_MOST_FRAME 65550 /* with an Ethernet header and a VLAN tag */
#define NET_MOST_QUEUED 512  /* frames before a port that does not take them */
#define NET_MOST_QUEUES 16
#define MAC_BYTES 6

struct optlist;

struct net_ops {
	/* A frame for this port. False: not now; it says so with net_ready when it can again. */
	bool (*take)(void *opaque, const struct iovec *iov, int n);
	/* The same, with what is left to do to it; NULL: frames come finished. */
	bool (*take_unfinished)(void *opaque, const struct net_hdr *h, const struct iovec *iov,
				int n);
	/* What the peer takes has changed. May be NULL. */
	void (*peer_takes)(void *opaque, unsigned takes);
	/* The other port takes frames again. May be NULL. */
	void (*go_on)(void *opaque);
	/* A backend's sources of events go to net_context's loop. NULL: an I/O thread cannot have
	 * it. */
	void (*move)(void *opaque);
	/* The wire was plugged in or pulled, at either end. May be NULL. */
	void (*link_changed)(void *opaque);
	/* Frees the backend. NULL for cards, whose device does so. */
	void (*close)(void *opaque);
	/* "user: ..." for `info network`; to be freed. May be NULL. */
	char *(*describe)(void *opaque);
};

struct net_counters {
	uint64_t frames, bytes, dropped;
};

struct net_port {
	char *id;
	const struct net_ops *ops;
	void *opaque;
	struct machine *machine;
	struct net_port *peer;
	struct iothread *iothread; /* NULL: the main loop; changed under both locks */
	bool is_card;
	bool link_down;
	struct net_counters sent; /* by this port */
	unsigned queues;	  /* pairs that a card may have for it */
	unsigned takes;		  /* NET_TAKES_: what may be left to do to frames for it */
	GQueue queue;		  /* struct net_frame * that this port could not take */
	bool full;		  /* the peer was told to hold back */
	struct net_dump *dump;	  /* where its frames are written down, or NULL; see pcap.h */
};

/* A backend by "user,id=n0,...". */
bool net_backend_new(struct machine *m, const char *option, const char *text, GError **err);
struct net_port *net_find(const char *id);
/* For `info network`: NULL after the last. */
struct net_port *net_nth(unsigned n);
/* "user: what it does\n..." */
char *net_backends_help(void);
void net_free_all(void);

/* A card at the backend `id`; NULL id: one that leads nowhere. */
struct net_port *net_card_new(struct machine *m, const char *id, const char *netdev,
			      const struct net_ops *ops, void *opaque, GError **err);
void net_card_free(struct net_port *p);
/* The card, whose device t serves, and its network are t's from now on. Machine lock. */
bool net_use_iothread(struct net_port *p, struct iothread *t, GError **err);
/* Connects the port with the network `netdev`; refuses one that is connected already. */
bool net_join(struct net_port *p, const char *netdev, GError **err);

/*
 * Sends a frame to the peer. False: it waits before the peer, and further ones should not be sent
 * until go_on; those that are sent beyond the bound are dropped and counted.
 */
bool net_send(struct net_port *p, const struct iovec *iov, int n);
/* The same with something left to do, which is done here if the peer does not take it so. */
bool net_send_unfinished(struct net_port *p, const struct net_hdr *h, const struct iovec *iov,
			 int n);
/* What the port takes from now on; the peer is told. */
void net_set_takes(struct net_port *p, unsigned takes);
/* What this port's peer takes. */
unsigned net_peer_takes(const struct net_port *p);
/* The port can take frames again. */
void net_ready(struct net_port *p);
/* Plugs the wire in, or pulls it, at this port. */
void net_set_link(struct net_port *p, bool up);
/* Whether frames get through from here to the other end. */
bool net_link_up(const struct net_port *p);
/* A stopped VM's backends hold their frames back. */
bool net_may_send(struct net_port *p);

/* Parses "52:54:00:12:34:56"; refuses what is no card's address. */
bool net_parse_mac(const char *text, uint8_t mac[MAC_BYTES], GError **err);
/* The address of the n-th card of this VM: the same each time, and another in another VM. */
void net_default_mac(struct machine *m, unsigned n, uint8_t mac[MAC_BYTES]);
/* What tells VMs without a name or UUID apart: say, their first disk. */
void net_set_identity(const char *text);

/* For backends. */

/* The loop that serves the port. */
GMainContext *net_context(const struct net_port *p);
/*
 * Sources of events there, which are the caller's (loop_unwatch). fn runs with the port's lock; a
 * timeout's descriptor is -1. Destroyed with that lock held, it does not come any more.
 */
typedef gboolean net_event_fn(gint fd, GIOCondition condition, gpointer opaque);
GSource *net_watch_fd(struct net_port *p, int fd, GIOCondition condition, net_event_fn *fn,
		      void *opaque);
GSource *net_watch_timeout(struct net_port *p, unsigned seconds, net_event_fn *fn, void *opaque);

struct net_backend {
	const char *name, *help;
	bool (*open)(struct net_port *p, struct optlist *l, GError **err);
};
