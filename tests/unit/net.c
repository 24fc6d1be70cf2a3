/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks between two ends of this process: streams, datagrams, hubs, switches, captures, tap. */
#include "net/net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/gro.h"
#include "net/pcap.h"
#include "tests/lib/test.h"

#define FRAME 64

static struct machine machine;
static char folder[64];

/* An end that checks numbered frames, and can be slow. */
struct end {
	struct net_port *port;
	unsigned got, sent;
	bool closed; /* takes nothing */
	bool held;   /* was told to wait */
};

static bool take(void *opaque, const struct iovec *iov, int n)
{
	struct end *e = opaque;
	uint8_t b[FRAME];

	if (e->closed)
		return false;
	CHECK_EQ(iov_bytes(iov, n), FRAME);
	iov_to(iov, n, 0, b, sizeof(b));
	CHECK_EQ(load_le(b + 20, 4), e->got);
	e->got++;
	return true;
}

static void go_on(void *opaque)
{
	((struct end *)opaque)->held = false;
}

static const struct net_ops end_ops = { .take = take, .go_on = go_on };

static void remove_folder(void)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", folder);

	if (system(command))
		fprintf(stderr, "%s is left\n", folder);
}

static void begin(void)
{
	machine_lock();
	machine_init(&machine);
	machine.state = RUN_RUNNING;
	strcpy(folder, "/tmp/moa-net-XXXXXX");
	CHECK(mkdtemp(folder));
}

static void make(const char *fmt, ...)
{
	g_autofree char *text = NULL;
	GError *err = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	if (!net_backend_new(&machine, "-netdev", text, &err))
		test_fail(__FILE__, __LINE__, "%s", err->message);
}

static void attach(struct end *e, const char *netdev)
{
	g_autofree char *id = g_strdup_printf("card-%s", netdev);

	memset(e, 0, sizeof(*e));
	e->port = net_card_new(&machine, id, netdev, &end_ops, e, NULL);
	CHECK(e->port);
}

static void send_one(struct end *e)
{
	uint8_t b[FRAME] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0, 0x88, 0xb5 };

	b[11] = (uint8_t)(uintptr_t)e >> 3;
	store_le(b + 20, e->sent++, 4);
	e->held |= !net_send(e->port, &(struct iovec) { b, sizeof(b) }, 1);
}

static void pump(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

/* Until e has n frames. */
static void wait_frames(struct end *e, unsigned n)
{
	for (unsigned i = 0; e->got < n && i < 5000; i++) {
		pump();
		if (e->got < n)
			g_usleep(1000);
	}
	CHECK_EQ(e->got, n);
}

static void both_ways(struct end *a, struct end *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		send_one(a);
		send_one(b);
		wait_frames(a, i + 1);
		wait_frames(b, i + 1);
	}
}

/* Waits until the two ends of a stream know each other. */
static void settle(void)
{
	for (unsigned i = 0; i < 50; i++) {
		pump();
		g_usleep(1000);
	}
}

TEST(streams_of_each_kind)
{
	struct end a, b;

	begin();
	make("stream,id=s0,server=on,addr.type=unix,addr.path=%s/s", folder);
	make("stream,id=s1,addr.type=unix,addr.path=%s/s", folder);
	attach(&a, "s0");
	attach(&b, "s1");
	settle();
	both_ways(&a, &b, 100);
	make("socket,id=t0,listen=127.0.0.1:47101");
	make("socket,id=t1,connect=127.0.0.1:47101");
	attach(&a, "t0");
	attach(&b, "t1");
	settle();
	both_ways(&a, &b, 100);
	remove_folder();
}

/* The slow side holds everything back; when it goes on nothing is missing. */
TEST(a_slow_side_of_a_stream_loses_nothing)
{
	struct end a, b;
	unsigned sent;

	begin();
	make("stream,id=s0,server=on,addr.type=unix,addr.path=%s/s", folder);
	make("stream,id=s1,addr.type=unix,addr.path=%s/s", folder);
	attach(&a, "s0");
	attach(&b, "s1");
	settle();
	b.closed = true;
	for (unsigned i = 0; i < 200000 && !a.held; i++) {
		send_one(&a);
		if (i % 64 == 0)
			pump();
	}
	CHECK(a.held);
	sent = a.sent;
	CHECK(sent > 1000 && a.port->sent.dropped == 0);
	b.closed = false;
	net_ready(b.port);
	wait_frames(&b, sent);
	settle();
	CHECK(!a.held);
	send_one(&a);
	wait_frames(&b, sent + 1);
	remove_folder();
}

static bool is_connected(const char *id)
{
	const struct net_port *p = net_find(id);
	g_autofree char *text = p->ops->describe(p->opaque);

	return strstr(text, ", connected");
}

TEST(a_client_comes_back_to_its_server)
{
	struct end a, b;
	int fds[2];
	char byte[8] = { 0, 0, 0, 0 };

	begin();
	make("stream,id=s1,addr.type=unix,addr.path=%s/s,reconnect=1", folder);
	attach(&b, "s1");
	send_one(&b); /* nobody is there: dropped, and counted */
	CHECK_EQ(b.port->sent.dropped, 1);
	make("stream,id=s0,server=on,addr.type=unix,addr.path=%s/s", folder);
	attach(&a, "s0");
	for (unsigned i = 0; i < 100 && !(is_connected("s0") && is_connected("s1")); i++)
		settle();
	b.sent = 0;
	both_ways(&a, &b, 10);
	/* What is no frame ends a stream, nothing else. */
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	make("stream,id=s2,addr.type=fd,addr.str=%d", fds[0]);
	attach(&a, "s2");
	CHECK_EQ(write(fds[1], byte, sizeof(byte)), sizeof(byte));
	settle();
	CHECK_EQ(a.got, 0);
	CHECK_EQ(read(fds[1], byte, 1), 0);
	remove_folder();
}

TEST(datagrams_of_each_kind)
{
	struct end a, b, c;

	begin();
	make("dgram,id=d0,local.type=unix,local.path=%s/a,remote.type=unix,remote.path=%s/b",
	     folder, folder);
	make("dgram,id=d1,local.type=unix,local.path=%s/b,remote.type=unix,remote.path=%s/a",
	     folder, folder);
	attach(&a, "d0");
	attach(&b, "d1");
	both_ways(&a, &b, 50);
	make("socket,id=u0,udp=127.0.0.1:47202,localaddr=127.0.0.1:47201");
	make("socket,id=u1,udp=127.0.0.1:47201,localaddr=127.0.0.1:47202");
	attach(&a, "u0");
	attach(&b, "u1");
	both_ways(&a, &b, 50);
	/* A group: everybody but the sender. */
	make("socket,id=m0,mcast=230.0.0.1:47301,localaddr=127.0.0.1");
	make("socket,id=m1,mcast=230.0.0.1:47301,localaddr=127.0.0.1");
	attach(&a, "m0");
	attach(&b, "m1");
	/* By the default route, if this machine has one. */
	if (net_backend_new(&machine, "-netdev",
			    "dgram,id=m2,remote.type=inet,remote.host=230.0.0.1,remote.port=47301",
			    NULL))
		attach(&c, "m2");
	for (unsigned i = 0; i < 20; i++)
		send_one(&a);
	wait_frames(&b, 20);
	settle();
	CHECK_EQ(a.got, 0);
	remove_folder();
}

TEST(a_hub_reaches_all_others)
{
	struct end a, b, c, far;

	begin();
	make("hubport,id=h0,hubid=3");
	make("hubport,id=h1,hubid=3");
	make("hubport,id=x,hubid=4");
	make("stream,id=s0,server=on,addr.type=unix,addr.path=%s/s", folder);
	make("stream,id=s1,addr.type=unix,addr.path=%s/s", folder);
	make("hubport,id=h2,hubid=3,netdev=s0");
	attach(&a, "h0");
	attach(&b, "h1");
	attach(&c, "x");
	attach(&far, "s1");
	settle();
	for (unsigned i = 0; i < 10; i++)
		send_one(&a);
	wait_frames(&b, 10);
	wait_frames(&far, 10);
	CHECK_EQ(a.got, 0);
	CHECK_EQ(c.got, 0);
	/* A port that takes nothing holds nobody else back, and what it misses is counted. */
	b.closed = true;
	for (unsigned i = 0; i < 600; i++) {
		send_one(&a);
		pump();
	}
	wait_frames(&far, 610);
	CHECK(net_find("h1")->sent.dropped > 0);
	remove_folder();
}

TEST(captures_are_written_and_played)
{
	g_autofree char *path = NULL, *command = NULL, *out = NULL;
	struct end a, b;

	begin();
	path = g_strdup_printf("%s/cap", folder);
	make("hubport,id=h0,hubid=1");
	make("hubport,id=h1,hubid=1");
	CHECK(net_dump_new("f0", "h0", path, 65536, NULL));
	attach(&a, "h0");
	attach(&b, "h1");
	for (unsigned i = 0; i < 25; i++)
		send_one(&a);
	CHECK_EQ(b.got, 25);
	clock_manual(vm_clock(&machine), 0);
	make("pcap,id=p,file=%s", path);
	attach(&b, "p");
	for (unsigned i = 0; i < 1000 && b.got < 25; i++)
		clock_step(vm_clock(&machine), 1000000);
	CHECK_EQ(b.got, 25);
	/* As others see it. */
	command = g_strdup_printf("tcpdump -nr %s 2>/dev/null", path);
	if (!g_find_program_in_path("tcpdump"))
		test_skip("no tcpdump to read the capture");
	CHECK(g_spawn_command_line_sync(g_strdup_printf("sh -c '%s | grep -c \"ethertype Unknown "
							"(0x88b5), length 64\"'",
							command),
					&out, NULL, NULL, NULL));
	CHECK_STR(g_strchomp(out), "25");
	remove_folder();
}

TEST(what_is_no_capture_is_refused)
{
	g_autofree char *path = NULL, *text = NULL;
	GError *err = NULL;

	begin();
	path = g_strdup_printf("%s/cap", folder);
	CHECK(g_file_set_contents(path, "\n\r\r\nsomething else that is long enough", -1, NULL));
	text = g_strdup_printf("pcap,id=p,file=%s", path);
	CHECK(!net_backend_new(&machine, "-netdev", text, &err));
	CHECK_HAS(err->message, "no capture");
	remove_folder();
}

static void end_with_us(void *unused)
{
	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Two ports of a real switch, which ends with its standard input, or with this process. */
static void through_switch(const char *program, const char *option, const char *name)
{
	g_autofree char *path = g_find_program_in_path(program), *at = NULL;
	struct end a, b;
	GPid pid;
	int input;

	if (!path)
		test_skip("no %s", program);
	begin();
	at = g_build_filename(folder, name, NULL);
	char *argv[] = { path, (char *)option, at, NULL };

	CHECK(g_spawn_async_with_pipes(NULL, argv, NULL,
				       G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL |
					       G_SPAWN_STDERR_TO_DEV_NULL,
				       end_with_us, NULL, &pid, &input, NULL, NULL, NULL));
	for (unsigned i = 0; i < 200 && !g_file_test(at, G_FILE_TEST_EXISTS); i++)
		g_usleep(20000);
	g_usleep(100000);
	make("vde,id=v0,sock=%s", at);
	make("vde,id=v1,sock=%s", at);
	attach(&a, "v0");
	attach(&b, "v1");
	both_ways(&a, &b, 50);
	net_free_all();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(input);
	remove_folder();
}

TEST(ports_of_a_vde_switch)
{
	through_switch("vde_switch", "-s", "vde");
}

TEST(ports_of_a_uml_switch)
{
	through_switch("uml_switch", "-unix", "uml");
}

/* Unfinished frames. */

#define TCP_MOST 40000

static unsigned word_be(const uint8_t *p)
{
	return (unsigned)(p[0] << 8 | p[1]);
}

/* RFC 1071, as it is written there. */
static unsigned slow_sum(unsigned sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (unsigned)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The pseudo header's and the segment's: all ones where the checksum is right. */
static unsigned tcp_sum(const uint8_t *f, size_t len, bool v6)
{
	size_t ip = 14, tcp = v6 ? 54 : 34;
	unsigned sum = slow_sum(0, f + ip + (v6 ? 8 : 12), v6 ? 32 : 8);

	return slow_sum(sum + 6 + (unsigned)(len - tcp), f + tcp, len - tcp);
}

static size_t make_tcp(uint8_t *f, size_t data, bool v6)
{
	size_t tcp = v6 ? 54 : 34, len = tcp + 32 + data;

	for (size_t i = 0; i < len; i++)
		f[i] = (uint8_t)random();
	f[12] = v6 ? 0x86 : 0x08;
	f[13] = v6 ? 0xdd : 0x00;
	f[14] = v6 ? 0x60 : 0x45;
	if (!v6) {
		f[16] = (uint8_t)((len - 14) >> 8);
		f[17] = (uint8_t)(len - 14);
	}
	f[v6 ? 20 : 23] = 6;
	f[tcp + 12] = 0x80; /* 32 bytes of header */
	f[tcp + 13] = 0x99; /* CWR, ACK, PSH, FIN */
	return len;
}

struct cut {
	const uint8_t *all;
	size_t seen, tcp, mss, data;
	unsigned pieces;
	bool v6;
};

static void check_piece(void *opaque, const struct iovec *iov, int n)
{
	static uint8_t f[65536];
	struct cut *c = opaque;
	size_t len = iov_to(iov, n, 0, f, sizeof(f)), head = c->tcp + 32, part = len - head;
	bool last = c->seen + part == c->data;

	CHECK(part == c->mss || last);
	CHECK(!memcmp(f + head, c->all + head + c->seen, part));
	CHECK_EQ(tcp_sum(f, len, c->v6), 0xffff);
	CHECK_EQ((uint32_t)(word_be(f + c->tcp + 4) << 16 | word_be(f + c->tcp + 6)),
		 (uint32_t)((word_be(c->all + c->tcp + 4) << 16 | word_be(c->all + c->tcp + 6)) +
			    c->seen));
	CHECK_EQ(f[c->tcp + 13], (c->pieces ? 0x10 : 0x90) | (last ? 0x09 : 0));
	if (c->v6) {
		CHECK_EQ(word_be(f + 18), len - 54);
	} else {
		CHECK_EQ(word_be(f + 16), len - 14);
		CHECK_EQ(word_be(f + 18), (word_be(c->all + 18) + c->pieces) & 0xffff);
		CHECK_EQ(slow_sum(0, f + 14, 20), 0xffff);
	}
	c->seen += part;
	c->pieces++;
}

TEST(long_segments_are_cut)
{
	static uint8_t f[TCP_MOST + 200];

	for (unsigned round = 0; round < 300; round++) {
		bool v6 = round & 1;
		size_t data = (size_t)random() % TCP_MOST, mss = 60 + (size_t)random() % 3000;
		size_t len = make_tcp(f, data, v6), at = (size_t)random() % len,
		       more = (size_t)random() % (len - at);
		struct cut c = { f, 0, v6 ? 54 : 34, mss, data, 0, v6 };
		const struct net_hdr h = { NET_NEEDS_CSUM,
					   v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4,
					   0,
					   (uint16_t)mss,
					   (uint16_t)c.tcp,
					   16 };
		struct iovec iov[] = { { f, at },
				       { f + at, more },
				       { f + at + more, len - at - more } };

		CHECK(net_finish(&h, iov, 3, check_piece, &c));
		CHECK_EQ(c.seen, data);
		CHECK_EQ(c.pieces, data ? (data + mss - 1) / mss : 1);
		/* The same as one. */
		CHECK(net_checksum(&h, f, len));
		CHECK_EQ(tcp_sum(f, len, v6), 0xffff);
	}
}

static void count_piece(void *opaque, const struct iovec *iov, int n)
{
	(void)iov;
	(void)n;
	++*(unsigned *)opaque;
}

TEST(headers_that_lie_are_refused)
{
	static uint8_t f[2000];
	unsigned count = 0;

	srandom(3);
	for (unsigned round = 0; round < 200000; round++) {
		size_t len = make_tcp(f, 1000, round & 1);
		struct net_hdr h = { (uint8_t)random(),	 (uint8_t)random(),  (uint16_t)random(),
				     (uint16_t)random(), (uint16_t)random(), (uint16_t)random() };

		if (round & 2)
			h.gso = 1 + (random() & 1) * 3;
		if (round & 4)
			h.csum_start = (uint16_t)(random() % 100);
		if (round & 8)
			h.csum_offset = 16;
		for (unsigned k = 0; k < 3; k++)
			f[random() % 80] = (uint8_t)random();
		len = (size_t)random() % len;
		net_finish(&h, &(struct iovec) { f, len }, 1, count_piece, &count);
		net_checksum(&h, f, len);
	}
	CHECK(count > 0);
}

/* With virtio's header before each frame, through the host's own stack of network devices. */
static unsigned long_frames;
static bool take_long(void *opaque, const struct net_hdr *h, const struct iovec *iov, int n)
{
	(void)opaque;
	if (iov_bytes(iov, n) > 5000) {
		CHECK_EQ(h->gso, NET_GSO_TCPV4);
		CHECK_EQ(h->gso_size, 1400);
		long_frames++;
	}
	return true;
}

TEST(a_tap_interface_takes_and_gives_long_segments)
{
	static const struct net_ops ops = { .take = take, .take_unfinished = take_long };
	const struct net_hdr h = { NET_NEEDS_CSUM, NET_GSO_TCPV4, 66, 1400, 34, 16 };
	static uint8_t f[10 + 10000], back[20000];
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct net_port *card;
	GError *err = NULL;
	int s, on = 1;
	size_t len;
	ssize_t got = 0;

	begin();
	if (!net_backend_new(&machine, "-netdev", "tap,id=t,ifname=moatest1,script=no", &err))
		test_skip("%s", err->message);
	if (system("ip link set moatest1 up 2>/dev/null"))
		test_skip("no interface can be brought up here");
	card = net_card_new(&machine, "card", "t", &ops, NULL, NULL);
	s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
	a.sll_ifindex = (int)if_nametoindex("moatest1");
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) ||
	    setsockopt(s, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)))
		test_skip("no packet socket here");
	CHECK_EQ(net_peer_takes(card), 15);
	len = make_tcp(f + 10, 9000, false);
	net_send_unfinished(card, &h, &(struct iovec) { f + 10, len }, 1);
	for (int i = 0; i < 200 && got != (ssize_t)(10 + len); i++) {
		pump();
		got = read(s, back, sizeof(back));
		if (got < 0)
			g_usleep(1000);
	}
	CHECK_EQ(got, 10 + len);
	CHECK_EQ(back[1], NET_GSO_TCPV4);
	/* And from the host: cut, until the guest says that it takes it whole. */
	net_hdr_store(&h, f);
	CHECK(write(s, f, 10 + len) == (ssize_t)(10 + len));
	g_usleep(10000);
	pump();
	CHECK_EQ(long_frames, 0);
	net_set_takes(card, NET_TAKES_CSUM | NET_TAKES_TSO4);
	CHECK(write(s, f, 10 + len) == (ssize_t)(10 + len));
	g_usleep(10000);
	pump();
	CHECK_EQ(long_frames, 1);
	close(s);
	net_card_free(card);
	net_free_all();
	remove_folder();
}

TEST(a_tap_interface_of_the_host)
{
	g_autofree char *count = NULL, *text = NULL;
	GError *err = NULL;
	struct end a;

	begin();
	if (!net_backend_new(&machine, "-netdev", "tap,id=t,ifname=moatest0,script=no", &err))
		test_skip("%s", err->message);
	if (system("ip link set moatest0 up 2>/dev/null"))
		test_skip("no interface can be brought up here");
	attach(&a, "t");
	for (unsigned i = 0; i < 10; i++)
		send_one(&a);
	pump();
	if (!g_file_get_contents("/sys/class/net/moatest0/statistics/rx_packets", &count, NULL,
				 NULL))
		test_skip("/sys shows another network namespace");
	CHECK_EQ(atoi(count), 10);
	text = net_find("t")->ops->describe(net_find("t")->opaque);
	CHECK_STR(text, "tap: ifname=moatest0");
	net_free_all();
	remove_folder();
}

/* Segments that come one behind the other, made long ones. */

static struct {
	uint8_t sent[200000], got[200000];
	size_t nsent, ngot;
	unsigned frames, long_ones;
} stream;

static bool take_stream(void *opaque, const struct net_hdr *h, const struct iovec *iov, int n)
{
	static uint8_t f[70000];
	size_t len = iov_to(iov, n, 0, f, sizeof(f)), data = 34 + 4u * (f[46] >> 4);

	(void)opaque;
	stream.frames++;
	if (h->gso) {
		CHECK_EQ(h->gso, NET_GSO_TCPV4);
		CHECK_EQ(word_be(f + 16), len - 14);
		CHECK_EQ(slow_sum(0, f + 14, 20), 0xffff);
		CHECK(h->gso_size < len - data);
		stream.long_ones++;
		CHECK(net_checksum(h, f, len));
	}
	CHECK_EQ(tcp_sum(f, 14 + word_be(f + 16), false), 0xffff);
	len = 14 + word_be(f + 16) - data;
	memcpy(stream.got + stream.ngot, f + data, len);
	stream.ngot += len;
	return true;
}

static const struct net_ops stream_ops = { .take = take, .take_unfinished = take_stream };

TEST(segments_are_joined)
{
	static uint8_t f[2000];
	struct net_port *card, *port;
	struct gro *g;
	uint32_t sequence = 0xffff0000;

	begin();
	make("hubport,id=h,hubid=9");
	port = net_find("h");
	card = net_card_new(&machine, "c", "h", &stream_ops, NULL, NULL);
	net_set_takes(card, NET_TAKES_CSUM | NET_TAKES_TSO4);
	g = gro_new(port);
	for (unsigned i = 0; i < 120; i++) {
		size_t data = random() % 4 ? 1400 : 1 + (size_t)random() % 1460, len;
		unsigned ip_sum;
		const struct net_hdr sum = { .flags = NET_NEEDS_CSUM,
					     .csum_start = 34,
					     .csum_offset = 16,
					     .gso = NET_GSO_TCPV4,
					     .gso_size = 1500 };

		memset(f, 0, sizeof(f));
		len = make_tcp(f, data, false);
		memset(f, 2, 12);
		memset(f + 14, 0, 52);
		f[14] = 0x45;
		f[16] = (uint8_t)((len - 14) >> 8);
		f[17] = (uint8_t)(len - 14);
		f[23] = 6;
		f[26] = f[30] = 10; /* addresses */
		f[29] = 2;
		f[33] = 15;
		f[46] = 0x80;
		f[47] = random() % 9 ? 0x10 : 0x18;
		if (i == 60) /* the ACK moves on */
			f[45] = 1;
		for (unsigned k = 0; k < 4; k++)
			f[38 + k] = (uint8_t)(sequence >> (24 - 8 * k));
		ip_sum = ~slow_sum(0, f + 14, 20);
		f[24] = (uint8_t)(ip_sum >> 8);
		f[25] = (uint8_t)ip_sum;
		CHECK(net_checksum(&sum, f, len));
		memcpy(stream.sent + stream.nsent, f + 66, data);
		stream.nsent += data;
		sequence += (uint32_t)data;
		gro_send(g, f, len);
		if (random() % 20 == 0)
			gro_flush(g);
	}
	gro_flush(g);
	gro_flush(g);
	CHECK_EQ(stream.ngot, stream.nsent);
	CHECK(!memcmp(stream.got, stream.sent, stream.nsent));
	CHECK(stream.long_ones > 5 && stream.frames < 100);
	gro_free(g);
	net_card_free(card);
	net_free_all();
	remove_folder();
}

/* A long segment that waits, and a driver that takes no such ones when its turn comes. */

static struct {
	struct cut cut;
	bool open;
	unsigned long_ones;
} waiting;

static bool take_pieces(void *opaque, const struct net_hdr *h, const struct iovec *iov, int n)
{
	(void)opaque;
	if (!waiting.open)
		return false;
	if (h->gso)
		waiting.long_ones++;
	else
		check_piece(&waiting.cut, iov, n);
	waiting.open = waiting.cut.pieces != 2; /* and full again in the middle */
	return true;
}

TEST(a_segment_that_waits_is_cut_for_another_driver)
{
	static const struct net_ops ops = { .take = take, .take_unfinished = take_pieces };
	const struct net_hdr h = { NET_NEEDS_CSUM, NET_GSO_TCPV4, 66, 1400, 34, 16 },
			     lies = { NET_NEEDS_CSUM, NET_GSO_TCPV4, 66, 1400, 3, 16 };
	static uint8_t f[6000];
	struct iovec iov = { f, make_tcp(f, 5000, false) };
	struct net_port *card, *port;

	begin();
	make("hubport,id=h,hubid=9");
	port = net_find("h");
	card = net_card_new(&machine, "c", "h", &ops, NULL, NULL);
	net_set_takes(card, NET_TAKES_CSUM | NET_TAKES_TSO4);
	waiting.cut = (struct cut) { f, 0, 34, 1400, 5000, 0, false };
	for (unsigned i = 0; i < 2; i++)
		CHECK(!net_send_unfinished(port, i ? &lies : &h, &iov, 1));
	net_set_takes(card, 0);
	waiting.open = true;
	net_ready(card);
	CHECK_EQ(waiting.cut.pieces, 2);
	CHECK(card->full);
	waiting.open = true;
	net_ready(card);
	CHECK_EQ(waiting.cut.pieces, 4);
	CHECK_EQ(waiting.cut.seen, 5000);
	CHECK_EQ(waiting.long_ones, 0);
	CHECK_EQ(port->sent.dropped, 1);
	CHECK(!card->full && g_queue_is_empty(&card->queue));
	net_card_free(card);
	net_free_all();
	remove_folder();
}
