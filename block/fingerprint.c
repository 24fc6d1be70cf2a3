/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/fingerprint.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"

#define READ_BYTES (1u << 20)

const char *const fingerprint_names[FINGERPRINTS + 1] = { "off", "mtime", "content", NULL };

void fingerprint_store(const struct fingerprint *f, uint8_t raw[FINGERPRINT_BYTES])
{
	memset(raw, 0, FINGERPRINT_BYTES);
	put_be32(raw, f->kind);
	put_be64(raw + 8, f->size);
	put_be64(raw + 16, (uint64_t)f->mtime_ns);
	memcpy(raw + 24, f->sha256, FINGERPRINT_SHA256);
}

bool fingerprint_load(struct fingerprint *f, const uint8_t raw[FINGERPRINT_BYTES])
{
	uint32_t kind = be32(raw);

	if (!kind || kind >= FINGERPRINTS)
		return false;
	f->kind = (enum fingerprint_kind)kind;
	f->size = be64(raw + 8);
	f->mtime_ns = (int64_t)be64(raw + 16);
	memcpy(f->sha256, raw + 24, FINGERPRINT_SHA256);
	return true;
}

static bool sum_up(int fd, uint8_t sha256[FINGERPRINT_SHA256])
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	g_autofree uint8_t *buf = g_malloc(READ_BYTES);
	gsize len = FINGERPRINT_SHA256;
	ssize_t n;

	while ((n = read(fd, buf, READ_BYTES)) > 0)
		g_checksum_update(sum, buf, n);
	g_checksum_get_digest(sum, sha256, &len);
	return n == 0;
}

bool fingerprint_take(struct fingerprint *f, enum fingerprint_kind kind, const char *path,
		      GError **err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	bool ok;

	memset(f, 0, sizeof(*f));
	f->kind = kind;
	ok = fd >= 0 && !fstat(fd, &st);
	if (ok) {
		f->size = (uint64_t)st.st_size;
		f->mtime_ns = (int64_t)st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec;
		ok = kind != FINGERPRINT_CONTENT || sum_up(fd, f->sha256);
	}
	if (!ok)
		error(err, "the fingerprint of '%s' cannot be taken: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

bool fingerprint_check(const struct fingerprint *f, const char *label, const char *overlay,
		       const char *path, GError **err)
{
	struct fingerprint now;
	bool same;

	if (!fingerprint_take(&now, f->kind, path, err)) {
		g_prefix_error(err, "%s: the backing file of '%s': ", label, overlay);
		return false;
	}
	same = now.size == f->size &&
	       (f->kind == FINGERPRINT_MTIME ? now.mtime_ns == f->mtime_ns
					     : !memcmp(now.sha256, f->sha256, FINGERPRINT_SHA256));
	return same || error(err,
			     "%s: the backing file '%s' of '%s' is not what it was when the "
			     "overlay was made (its %s), and the overlay would show a mixture. If "
			     "you know better: moa-img rebase -u -b '%s' '%s'",
			     label, path, overlay,
			     now.size != f->size	    ? "size"
			     : f->kind == FINGERPRINT_MTIME ? "time of change"
							    : "content",
			     path, overlay);
}
