/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capture files, written and played: see pcap.h. */
#include "net/pcap.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <unistd.h>

#include "core/log.h"
#include "core/options.h"
#include "net/packet.h"

#define MAGIC 0xa1b2c3d4
#define MAGIC_NS 0xa1b23c4d
#define ETHERNET 1
#define FILE_BYTES 24
#define RECORD_BYTES 16

struct net_dump {
	char *id, *path;
	FILE *file;
	uint32_t most;
};

static struct net_port *find_network(const char *id, const char *netdev, GError **err)
{
	struct net_port *p = net_find(netdev);

	if (!p)
		error(err, "-object filter-dump,id=%s: no network '%s'; make it with -netdev", id,
		      netdev);
	else if (p->dump)
		error(err, "-object filter-dump,id=%s: network '%s' is dumped already", id, netdev);
	else
		return p;
	return NULL;
}

bool net_dump_new(const char *id, const char *netdev, const char *path, uint64_t most, GError **err)
{
	struct net_port *p = find_network(id, netdev, err);
	uint8_t head[FILE_BYTES] = { 0 };
	struct net_dump *d;
	FILE *f;

	if (!p)
		return false;
	f = fopen(path, "wbe");
	if (!f)
		return error(err, "-object filter-dump,id=%s: file=%s: %s", id, path,
			     strerror(errno));
	store_le(head, MAGIC, 4);
	store_le(head + 4, 2, 2);
	store_le(head + 6, 4, 2);
	store_le(head + 16, most, 4);
	store_le(head + 20, ETHERNET, 4);
	fwrite(head, 1, sizeof(head), f);
	d = g_new0(struct net_dump, 1);
	d->id = g_strdup(id);
	d->path = g_strdup(path);
	d->file = f;
	d->most = (uint32_t)most;
	iothread_lock(p->iothread);
	p->dump = d;
	iothread_unlock(p->iothread);
	return true;
}

void net_dump_write(struct net_dump *d, const struct iovec *iov, int n)
{
	uint8_t head[RECORD_BYTES];
	size_t len = iov_bytes(iov, n), left = MIN_OF(len, (size_t)d->most);
	int64_t now = wall_clock_ns();

	if (!d->file)
		return;
	store_le(head, (uint64_t)(now / 1000000000), 4);
	store_le(head + 4, (uint64_t)(now % 1000000000 / 1000), 4);
	store_le(head + 8, left, 4);
	store_le(head + 12, len, 4);
	fwrite(head, 1, sizeof(head), d->file);
	for (int i = 0; i < n && left; i++) {
		size_t part = MIN_OF(left, iov[i].iov_len);

		fwrite(iov[i].iov_base, 1, part, d->file);
		left -= part;
	}
	if (fflush(d->file) || ferror(d->file)) {
		log_write("dump '%s': '%s': %s; it ends here", d->id, d->path, strerror(errno));
		fclose(d->file);
		d->file = NULL;
	}
}

void net_dump_free(struct net_dump *d)
{
	if (!d)
		return;
	if (d->file)
		fclose(d->file);
	g_free(d->id);
	g_free(d->path);
	g_free(d);
}

/* Playing a file: each frame as long after the first as it came then, by the VM's clock. */

struct player {
	struct net_port *port;
	FILE *file;
	char *path;
	bool swapped, nanoseconds, held;
	int64_t begin, first; /* the VM's time of the first frame, and its own */
	uint32_t len;	      /* of the frame that is next, in `frame` */
	uint64_t frames;
	struct timer timer;
	uint8_t frame[NET_MOST_FRAME];
};

static uint32_t get32(const struct player *s, const uint8_t *p)
{
	return s->swapped ? be32(p) : (uint32_t)load_le(p, 4);
}

/* Reads the next frame and arms the timer for it; at the end, or at damage, nothing. */
static void prepare(struct player *s)
{
	uint8_t head[RECORD_BYTES];
	uint32_t len;
	int64_t at;

	if (fread(head, 1, sizeof(head), s->file) < sizeof(head))
		return;
	len = get32(s, head + 8);
	if (len > sizeof(s->frame) || fread(s->frame, 1, len, s->file) < len) {
		log_write("network '%s': '%s' is damaged behind frame %" G_GUINT64_FORMAT,
			  s->port->id, s->path, s->frames);
		return;
	}
	s->len = len;
	at = (int64_t)get32(s, head) * 1000000000 +
	     (int64_t)get32(s, head + 4) * (s->nanoseconds ? 1 : 1000);
	if (!s->frames++) {
		s->first = at;
		s->begin = clock_ns(vm_clock(s->port->machine));
	}
	timer_arm(&s->timer, s->begin + MAX_OF(at - s->first, 0));
}

static void play(void *opaque, int64_t late_ns)
{
	struct player *s = opaque;

	(void)late_ns;
	if (!s->port->peer || !net_may_send(s->port)) {
		s->held = true; /* until the card is ready */
		return;
	}
	net_send(s->port, &(struct iovec) { s->frame, s->len }, 1);
	prepare(s);
}

static void go_on(void *opaque)
{
	struct player *s = opaque;

	if (!s->held)
		return;
	s->held = false;
	timer_arm(&s->timer, clock_ns(vm_clock(s->port->machine)));
}

static bool swallow(void *opaque, const struct iovec *iov, int n)
{
	(void)opaque;
	(void)iov;
	(void)n;
	return true;
}

static void close_player(void *opaque)
{
	struct player *s = opaque;

	timer_cancel(&s->timer);
	fclose(s->file);
	g_free(s->path);
	g_free(s);
}

static char *describe(void *opaque)
{
	struct player *s = opaque;

	return g_strdup_printf("pcap: file=%s, at frame %" G_GUINT64_FORMAT, s->path, s->frames);
}

static const struct net_ops player_ops = { .take = swallow,
					   .go_on = go_on,
					   .link_changed = go_on,
					   .close = close_player,
					   .describe = describe };

static bool play_file(struct net_port *p, const char *path, GError **err)
{
	uint8_t head[FILE_BYTES];
	FILE *f = fopen(path, "rbe");
	struct player *s;
	uint32_t magic;

	if (!f)
		return error(err, "-netdev pcap: file=%s: %s", path, strerror(errno));
	if (fread(head, 1, sizeof(head), f) < sizeof(head))
		memset(head, 0, sizeof(head));
	s = g_new0(struct player, 1);
	magic = (uint32_t)load_le(head, 4);
	s->swapped = magic == __builtin_bswap32(MAGIC) || magic == __builtin_bswap32(MAGIC_NS);
	magic = get32(s, head);
	s->nanoseconds = magic == MAGIC_NS;
	if ((magic != MAGIC && magic != MAGIC_NS) || get32(s, head + 20) != ETHERNET) {
		fclose(f);
		g_free(s);
		return error(err,
			     "-netdev pcap: file=%s: this is no capture of Ethernet frames in "
			     "pcap's format (of pcapng, `editcap -F pcap` makes one)",
			     path);
	}
	s->port = p;
	s->file = f;
	s->path = g_strdup(path);
	timer_init(&s->timer, vm_clock(p->machine), "pcap", play, s);
	p->ops = &player_ops;
	p->opaque = s;
	prepare(s);
	return true;
}

/* Listening at an interface of the host. */
static bool listen_at(struct net_port *p, const char *name, GError **err)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct packet_mreq all = { .mr_type = PACKET_MR_PROMISC };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

	a.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
	if (fd < 0 || !a.sll_ifindex || bind(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all))) {
		error(err, "-netdev pcap: ifname=%s: %s", name, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	packet_fd_new(p, fd, g_strdup_printf("pcap: ifname=%s", name))->read_only = true;
	return true;
}

static bool pcap_open(struct net_port *p, struct optlist *l, GError **err)
{
	const char *file = optlist_get(l, "file"), *name = optlist_get(l, "ifname");

	if (!file == !name)
		return error(err,
			     "-netdev pcap: takes file=FILE (plays it) or ifname=NAME (listens "
			     "there)");
	return file ? play_file(p, file, err) : listen_at(p, name, err);
}

const struct net_backend net_backend_pcap = {
	.name = "pcap",
	.help = "a read-only source of frames: file=FILE plays a capture, ifname=NAME listens",
	.open = pcap_open,
};
