/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network block devices: see nbd.h. */
#include "block/nbd.h"

#include <errno.h>
#include <string.h>

#include "config.h"

bool nbd_is_url(const char *path)
{
	static const char *const schemes[] = { "nbd:", "nbds:", "nbd+unix:", "nbds+unix:" };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (g_str_has_prefix(path, schemes[i]))
			return true;
	return false;
}

#ifdef HAVE_LIBNBD

#include <libnbd.h>

#include "core/library.h"

#define FUNCTIONS(X)                                                                               \
	X(nbd_can_flush)                                                                           \
	X(nbd_can_multi_conn)                                                                      \
	X(nbd_can_zero)                                                                            \
	X(nbd_close)                                                                               \
	X(nbd_connect_tcp)                                                                         \
	X(nbd_connect_unix)                                                                        \
	X(nbd_connect_uri)                                                                         \
	X(nbd_create)                                                                              \
	X(nbd_flush)                                                                               \
	X(nbd_get_errno)                                                                           \
	X(nbd_get_error)                                                                           \
	X(nbd_get_size)                                                                            \
	X(nbd_is_read_only)                                                                        \
	X(nbd_pread)                                                                               \
	X(nbd_pwrite)                                                                              \
	X(nbd_set_export_name)                                                                     \
	X(nbd_set_uri_allow_local_file)                                                            \
	X(nbd_shutdown)                                                                            \
	X(nbd_zero)

LIBRARY(libnbd, LIBNBD_SONAME);

#define CONNECTIONS 4
#define MOST_TRANSFER (32u * 1024 * 1024)
#define MOST_CLEAR (1024u * 1024 * 1024)

struct nbd {
	struct nbd_handle *handles[CONNECTIONS];
	pthread_mutex_t busy[CONNECTIONS]; /* a handle does one thing at a time */
	unsigned n, next;		   /* next: where the search for an idle one begins */
	uint64_t size;
};

/* QEMU's spelling; the strings are the caller's. */
static bool split_old(const char *url, char **host, char **port, char **path, char **name)
{
	g_auto(GStrv) parts = NULL;
	g_autofree char *rest = g_strdup(url + strlen("nbd:"));
	char *export = strstr(rest, ":exportname=");

	if (export) {
		*name = g_strdup(export + strlen(":exportname="));
		*export = 0;
	}
	if (g_str_has_prefix(rest, "unix:")) {
		*path = g_strdup(rest + strlen("unix:"));
		return true;
	}
	parts = g_strsplit(rest, ":", 2);
	if (!parts[0] || !parts[1])
		return false;
	*host = g_strdup(parts[0]);
	*port = g_strdup(parts[1]);
	return true;
}

static int connect_to(struct nbd_handle *h, const char *url)
{
	g_autofree char *host = NULL, *port = NULL, *path = NULL, *name = NULL;

	if (strstr(url, "://"))
		return lib.nbd_connect_uri(h, url);
	if (!split_old(url, &host, &port, &path, &name)) {
		errno = EINVAL;
		return -1;
	}
	if (name && lib.nbd_set_export_name(h, name) < 0)
		return -1;
	return path ? lib.nbd_connect_unix(h, path) : lib.nbd_connect_tcp(h, host, port);
}

static struct nbd_handle *new_connection(const char *url)
{
	struct nbd_handle *h = lib.nbd_create();

	if (h && (lib.nbd_set_uri_allow_local_file(h, true) < 0 || connect_to(h, url) < 0)) {
		lib.nbd_close(h);
		h = NULL;
	}
	return h;
}

struct nbd *nbd_open(const char *url, const char *label, bool read_only, GError **err)
{
	struct nbd_handle *first;
	struct nbd *n;
	int64_t size;

	if (!library_load(&libnbd, err)) {
		g_prefix_error(err, "%s: '%s': ", label, url);
		return NULL;
	}
	first = new_connection(url);
	size = first ? lib.nbd_get_size(first) : -1;
	if (size < 0 || (!read_only && lib.nbd_is_read_only(first) > 0)) {
		error(err, "%s: '%s': %s", label, url,
		      size < 0 ? (lib.nbd_get_error() ? lib.nbd_get_error()
						      : "this is no NBD address")
			       : "the server exports it read-only: add read-only=on");
		if (first)
			lib.nbd_close(first);
		return NULL;
	}
	n = g_new0(struct nbd, 1);
	n->size = (uint64_t)size;
	n->handles[n->n++] = first;
	while (n->n < CONNECTIONS && lib.nbd_can_multi_conn(first) > 0) {
		struct nbd_handle *h = new_connection(url);

		if (!h)
			break;
		n->handles[n->n++] = h;
	}
	for (unsigned i = 0; i < CONNECTIONS; i++)
		pthread_mutex_init(&n->busy[i], NULL);
	return n;
}

void nbd_shut(struct nbd *n)
{
	for (unsigned i = 0; i < n->n; i++) {
		lib.nbd_shutdown(n->handles[i], 0);
		lib.nbd_close(n->handles[i]);
	}
	g_free(n);
}

uint64_t nbd_size(const struct nbd *n)
{
	return n->size;
}

/* An idle connection, or one to wait for. */
static unsigned take(struct nbd *n)
{
	unsigned from = __atomic_fetch_add(&n->next, 1, __ATOMIC_RELAXED);

	for (unsigned i = 0; i < n->n; i++)
		if (!pthread_mutex_trylock(&n->busy[(from + i) % n->n]))
			return (from + i) % n->n;
	pthread_mutex_lock(&n->busy[from % n->n]);
	return from % n->n;
}

static int give_back(struct nbd *n, unsigned i, int result)
{
	int e = result < 0 ? lib.nbd_get_errno() : 0;

	pthread_mutex_unlock(&n->busy[i]);
	/* A connection that has gone has no number of its own. */
	return result < 0 ? -(e ? e : EIO) : 0;
}

int nbd_transfer(struct nbd *n, bool write, uint64_t off, void *buf, size_t len)
{
	unsigned i = take(n);
	struct nbd_handle *h = n->handles[i];
	int r = 0;

	/* Beyond its end a short file reads as zeros. */
	if (!write && off + len > n->size) {
		size_t have = off < n->size ? (size_t)(n->size - off) : 0;

		memset((uint8_t *)buf + have, 0, len - have);
		len = have;
	}
	while (len && r >= 0) {
		size_t part = MIN_OF(len, (size_t)MOST_TRANSFER);

		r = write ? lib.nbd_pwrite(h, buf, part, off, 0)
			  : lib.nbd_pread(h, buf, part, off, 0);
		buf = (uint8_t *)buf + part;
		off += part;
		len -= part;
	}
	return give_back(n, i, r);
}

/* With several connections a flush of one is one of all (the protocol's rule for multi-conn). */
int nbd_sync(struct nbd *n)
{
	unsigned i = take(n);

	return give_back(
		n, i, lib.nbd_can_flush(n->handles[i]) > 0 ? lib.nbd_flush(n->handles[i], 0) : 0);
}

int nbd_clear(struct nbd *n, uint64_t off, uint64_t len, bool unmap)
{
	unsigned i = take(n);
	struct nbd_handle *h = n->handles[i];
	int r = 0;

	if (lib.nbd_can_zero(h) <= 0) {
		pthread_mutex_unlock(&n->busy[i]);
		return -ENOTSUP;
	}
	while (len && r >= 0) {
		uint64_t part = MIN_OF(len, (uint64_t)MOST_CLEAR);

		r = lib.nbd_zero(h, part, off, unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE);
		off += part;
		len -= part;
	}
	return give_back(n, i, r);
}

#else

struct nbd *nbd_open(const char *url, const char *label, bool read_only, GError **err)
{
	(void)read_only;
	error(err,
	      "%s: '%s': this moa was built without libnbd: install libnbd-dev and build again",
	      label, url);
	return NULL;
}

void nbd_shut(struct nbd *n)
{
	(void)n;
}

uint64_t nbd_size(const struct nbd *n)
{
	(void)n;
	return 0;
}

int nbd_transfer(struct nbd *n, bool write, uint64_t off, void *buf, size_t len)
{
	(void)n, (void)write, (void)off, (void)buf, (void)len;
	return -ENOTSUP;
}

int nbd_sync(struct nbd *n)
{
	(void)n;
	return -ENOTSUP;
}

int nbd_clear(struct nbd *n, uint64_t off, uint64_t len, bool unmap)
{
	(void)n, (void)off, (void)len, (void)unmap;
	return -ENOTSUP;
}

#endif
