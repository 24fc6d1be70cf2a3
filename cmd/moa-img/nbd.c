/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * moa-img nbd: serves an image as a network block device. Options are qemu-nbd's. Source: the NBD
 * protocol (NetworkBlockDevice/nbd, doc/proto.md): fixed newstyle handshake, simple replies. Not
 * offered: TLS, structured replies, block status.
 *
 * A thread for each client; the image's own calls may come from any.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/moa-img/img.h"

#define MAGIC UINT64_C(0x4e42444d41474943) /* NBDMAGIC */
#define OPTION_MAGIC UINT64_C(0x49484156454f5054)
#define OPTION_REPLY UINT64_C(0x3e889045565a9)
#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC 0x67446698u

#define HANDSHAKE_FIXED 1
#define HANDSHAKE_NO_ZEROES 2
enum { OPT_EXPORT_NAME = 1, OPT_ABORT = 2, OPT_LIST = 3, OPT_INFO = 6, OPT_GO = 7 };
#define REP_ACK 1u
#define REP_SERVER 2u
#define REP_INFO 3u
#define REP_ERR_UNSUP 0x80000001u
#define REP_ERR_INVALID 0x80000003u
#define REP_ERR_UNKNOWN 0x80000006u
#define REP_ERR_TOO_BIG 0x80000009u
#define INFO_EXPORT 0
#define INFO_BLOCK_SIZE 3

enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_WRITE_ZEROES = 6 };
#define CMD_FUA 1
#define CMD_NO_HOLE 2

#define FLAG_HAS_FLAGS 1
#define FLAG_READ_ONLY 2
#define FLAG_FLUSH 4
#define FLAG_FUA 8
#define FLAG_TRIM 32
#define FLAG_WRITE_ZEROES 64
#define FLAG_MULTI_CONN 256

#define MOST_OPTION 4096u
#define MOST_PAYLOAD (32u * 1024 * 1024)

static struct {
	struct block *image;
	const char *name;
	bool read_only, persistent;
	unsigned most, clients;
	int listener;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool ending;
} server = { .name = "",
	     .most = 1,
	     .mutex = PTHREAD_MUTEX_INITIALIZER,
	     .changed = PTHREAD_COND_INITIALIZER };

/* Sockets. */

static bool receive(int fd, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool transmit(int fd, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool skip(int fd, uint64_t len)
{
	uint8_t buf[4096];

	for (; len; len -= MIN_OF(len, sizeof(buf)))
		if (!receive(fd, buf, MIN_OF(len, sizeof(buf))))
			return false;
	return true;
}

/* Handshake. */

static uint16_t export_flags(void)
{
	return (uint16_t)(FLAG_HAS_FLAGS | FLAG_FLUSH | FLAG_FUA | FLAG_MULTI_CONN |
			  (server.read_only ? FLAG_READ_ONLY : FLAG_TRIM | FLAG_WRITE_ZEROES));
}

static bool reply_option(int fd, uint32_t option, uint32_t type, const void *data, uint32_t len)
{
	uint8_t h[20];

	put_be64(h, OPTION_REPLY);
	put_be32(h + 8, option);
	put_be32(h + 12, type);
	put_be32(h + 16, len);
	return transmit(fd, h, sizeof(h)) && transmit(fd, data, len);
}

static bool list(int fd, uint32_t len)
{
	size_t n = strlen(server.name);
	g_autofree uint8_t *b = g_malloc(4 + n);

	if (len)
		return skip(fd, len) && reply_option(fd, OPT_LIST, REP_ERR_INVALID, NULL, 0);
	put_be32(b, (uint32_t)n);
	memcpy(b + 4, server.name, n);
	return reply_option(fd, OPT_LIST, REP_SERVER, b, (uint32_t)(4 + n)) &&
	       reply_option(fd, OPT_LIST, REP_ACK, NULL, 0);
}

static bool tell_export(int fd, uint32_t option)
{
	uint8_t b[14];

	put_be16(b, INFO_BLOCK_SIZE);
	put_be32(b + 2, 1);
	put_be32(b + 6, 4096);
	put_be32(b + 10, MOST_PAYLOAD);
	if (!reply_option(fd, option, REP_INFO, b, 14))
		return false;
	put_be16(b, INFO_EXPORT);
	put_be64(b + 2, server.image->size);
	put_be16(b + 10, export_flags());
	return reply_option(fd, option, REP_INFO, b, 12) &&
	       reply_option(fd, option, REP_ACK, NULL, 0);
}

/* INFO and GO: a name and what is wished to be known of it, which is all told anyway. */
static bool info(int fd, uint32_t option, uint32_t len, bool *go)
{
	uint8_t b[MOST_OPTION];
	uint32_t n;

	*go = false;
	if (!receive(fd, b, len))
		return false;
	n = len >= 6 ? be32(b) : UINT32_MAX;
	if (n > len - 6 || len - 6 - n != 2u * be16(b + 4 + n))
		return reply_option(fd, option, REP_ERR_INVALID, NULL, 0);
	if (n != strlen(server.name) || memcmp(b + 4, server.name, n))
		return reply_option(fd, option, REP_ERR_UNKNOWN, NULL, 0);
	*go = option == OPT_GO;
	return tell_export(fd, option);
}

/* The oldest way to begin: no answer but the export itself. */
static bool export_by_name(int fd, uint32_t len, bool zeroes)
{
	uint8_t b[MOST_OPTION], reply[134] = { 0 };

	if (!receive(fd, b, len) || len != strlen(server.name) || memcmp(b, server.name, len))
		return false;
	put_be64(reply, server.image->size);
	put_be16(reply + 8, export_flags());
	return transmit(fd, reply, zeroes ? sizeof(reply) : 10);
}

/* True once requests may come. */
static bool negotiate(int fd)
{
	uint8_t hello[18], flags[4];
	bool zeroes;

	put_be64(hello, MAGIC);
	put_be64(hello + 8, OPTION_MAGIC);
	put_be16(hello + 16, HANDSHAKE_FIXED | HANDSHAKE_NO_ZEROES);
	if (!transmit(fd, hello, sizeof(hello)) || !receive(fd, flags, 4))
		return false;
	zeroes = !(be32(flags) & HANDSHAKE_NO_ZEROES);
	for (;;) {
		uint8_t h[16];
		uint32_t option, len;
		bool go = false, ok;

		if (!receive(fd, h, sizeof(h)) || be64(h) != OPTION_MAGIC)
			return false;
		option = be32(h + 8);
		len = be32(h + 12);
		if (len > MOST_OPTION)
			return reply_option(fd, option, REP_ERR_TOO_BIG, NULL, 0) && false;
		switch (option) {
		case OPT_EXPORT_NAME:
			return export_by_name(fd, len, zeroes);
		case OPT_ABORT:
			return skip(fd, len) && reply_option(fd, option, REP_ACK, NULL, 0) && false;
		case OPT_LIST:
			ok = list(fd, len);
			break;
		case OPT_INFO:
		case OPT_GO:
			ok = info(fd, option, len, &go);
			break;
		default:
			ok = skip(fd, len) && reply_option(fd, option, REP_ERR_UNSUP, NULL, 0);
		}
		if (!ok)
			return false;
		if (go)
			return true;
	}
}

/* Requests. */

/* The protocol's numbers are Linux's for those that it knows. */
static uint32_t wire_error(int e)
{
	switch (-e) {
	case 0:
	case EPERM:
	case EIO:
	case ENOMEM:
	case EINVAL:
	case ENOSPC:
	case EOVERFLOW:
	case ENOTSUP:
		return (uint32_t)-e;
	case EROFS:
		return EPERM;
	default:
		return EIO;
	}
}

static int run(unsigned type, unsigned flags, uint64_t off, uint32_t len, uint8_t *buf)
{
	struct block *b = server.image;
	int e;

	if (type == CMD_FLUSH)
		return block_flush(b);
	if (off > b->size || len > b->size - off)
		return type == CMD_READ ? -EINVAL : -ENOSPC;
	if (type != CMD_READ && server.read_only)
		return -EPERM;
	switch (type) {
	case CMD_READ:
		return block_read(b, off, buf, len);
	case CMD_WRITE:
		e = block_write(b, off, buf, len);
		break;
	case CMD_TRIM:
		e = block_discard(b, off, len);
		break;
	case CMD_WRITE_ZEROES:
		e = block_write_zeroes(b, off, len, !(flags & CMD_NO_HOLE));
		break;
	default:
		return -EINVAL;
	}
	return e || !(flags & CMD_FUA) ? e : block_flush(b);
}

static void serve(int fd)
{
	g_autofree uint8_t *buf = g_malloc(MOST_PAYLOAD);

	for (;;) {
		uint8_t h[28], reply[16];
		unsigned flags, type;
		uint64_t off;
		uint32_t len;
		int e;

		if (!receive(fd, h, sizeof(h)) || be32(h) != REQUEST_MAGIC)
			return;
		flags = be16(h + 4);
		type = be16(h + 6);
		off = be64(h + 16);
		len = be32(h + 24);
		if (type == CMD_DISC)
			return;
		if ((type == CMD_READ || type == CMD_WRITE) && len > MOST_PAYLOAD) {
			/* What follows cannot be told from data. */
			if (type == CMD_WRITE && !skip(fd, len))
				return;
			e = -EINVAL;
		} else if (type == CMD_WRITE && !receive(fd, buf, len)) {
			return;
		} else {
			e = run(type, flags, off, len, buf);
		}
		put_be32(reply, REPLY_MAGIC);
		put_be32(reply + 4, wire_error(e));
		memcpy(reply + 8, h + 8, 8);
		if (!transmit(fd, reply, sizeof(reply)) ||
		    (type == CMD_READ && !e && !transmit(fd, buf, len)))
			return;
	}
}

/* Clients. */

static void *client(void *opaque)
{
	int fd = GPOINTER_TO_INT(opaque), on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (negotiate(fd))
		serve(fd);
	close(fd);
	pthread_mutex_lock(&server.mutex);
	server.clients--;
	/* The last one turns out the light. */
	if (!server.clients && !server.persistent) {
		server.ending = true;
		shutdown(server.listener, SHUT_RDWR);
	}
	pthread_cond_broadcast(&server.changed);
	pthread_mutex_unlock(&server.mutex);
	return NULL;
}

static void accept_clients(void)
{
	for (;;) {
		pthread_t t;
		int fd;

		pthread_mutex_lock(&server.mutex);
		while (server.clients >= server.most && !server.ending)
			pthread_cond_wait(&server.changed, &server.mutex);
		pthread_mutex_unlock(&server.mutex);
		if (server.ending)
			return;
		fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && errno == EINTR && !server.ending)
			continue;
		if (fd < 0)
			return;
		pthread_mutex_lock(&server.mutex);
		server.clients++;
		pthread_mutex_unlock(&server.mutex);
		if (pthread_create(&t, NULL, client, GINT_TO_POINTER(fd))) {
			close(fd);
			pthread_mutex_lock(&server.mutex);
			server.clients--;
			pthread_mutex_unlock(&server.mutex);
		} else {
			pthread_detach(t);
		}
	}
}

static void on_signal(int unused)
{
	(void)unused;
	server.ending = true;
	shutdown(server.listener, SHUT_RDWR);
}

static int listen_unix(const char *path, GError **err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(a.sun_path)) {
		error(err, "-k '%s': a socket's path has at most %zu characters", path,
		      sizeof(a.sun_path) - 1);
	} else {
		strcpy(a.sun_path, path);
		if (!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 16))
			return fd;
		error(err, "-k '%s': %s", path, strerror(errno));
	}
	close(fd);
	return -1;
}

static int listen_tcp(const char *host, const char *port, GError **err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found;
	int e = getaddrinfo(host, port, &hints, &found), fd = -1, on = 1;

	if (e) {
		error(err, "address '%s', port '%s': %s", host, port, gai_strerror(e));
		return -1;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 16)) {
		error(err, "address '%s', port '%s': %s", host, port, strerror(errno));
		close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	return fd;
}

static bool take_count(const char *text, unsigned *n, GError **err)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*end || end == text || v > 1000)
		return error(err, "-e '%s': takes how many clients at once, at most 1000", text);
	*n = v ? (unsigned)v : 1000;
	return true;
}

int img_nbd(int argc, char **argv, GError **err)
{
	static const struct option longs[] = { { "format", required_argument, NULL, 'f' },
					       { "socket", required_argument, NULL, 'k' },
					       { "port", required_argument, NULL, 'p' },
					       { "bind", required_argument, NULL, 'b' },
					       { "read-only", no_argument, NULL, 'r' },
					       { "persistent", no_argument, NULL, 't' },
					       { "shared", required_argument, NULL, 'e' },
					       { "export-name", required_argument, NULL, 'x' },
					       { NULL, 0, NULL, 0 } };
	const char *format = NULL, *path = NULL, *port = "10809", *host = "127.0.0.1";
	struct sigaction end = { .sa_handler = on_signal };
	int c, e;

	while ((c = getopt_long(argc, argv, "f:k:p:b:rte:x:", longs, NULL)) >= 0) {
		switch (c) {
		case 'f':
			format = optarg;
			break;
		case 'k':
			path = optarg;
			break;
		case 'p':
			port = optarg;
			break;
		case 'b':
			host = optarg;
			break;
		case 'r':
			server.read_only = true;
			break;
		case 't':
			server.persistent = true;
			break;
		case 'e':
			if (!take_count(optarg, &server.most, err))
				return 1;
			break;
		case 'x':
			server.name = optarg;
			break;
		default:
			return 1;
		}
	}
	if (argc - optind != 1 && !error(err, "takes one image; see moa-img --help"))
		return 1;
	server.image = img_open(argv[optind], format, !server.read_only, false, false, err);
	if (!server.image)
		return 1;
	server.listener = path ? listen_unix(path, err) : listen_tcp(host, port, err);
	if (server.listener < 0) {
		block_close(server.image);
		return 1;
	}
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGTERM, &end, NULL);
	accept_clients();
	close(server.listener);
	if (path)
		unlink(path);
	/* Clients that are still there may be in the middle of a request: it ends with us. */
	e = block_flush(server.image);
	pthread_mutex_lock(&server.mutex);
	if (!server.clients)
		block_close(server.image);
	pthread_mutex_unlock(&server.mutex);
	if (e)
		error(err, "'%s': %s", argv[optind], strerror(-e));
	return e ? 1 : 0;
}
