/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/iov.h"

#include <string.h>

size_t iov_bytes(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

int iov_part(const struct iovec *iov, int n, size_t off, size_t len, struct iovec *part)
{
	int out = 0;

	for (int i = 0; i < n && len; i++) {
		size_t have = iov[i].iov_len, take;

		if (off >= have) {
			off -= have;
			continue;
		}
		take = MIN_OF(have - off, len);
		part[out++] = (struct iovec) { (uint8_t *)iov[i].iov_base + off, take };
		len -= take;
		off = 0;
	}
	return out;
}

/* Walks bytes [off, off + len): `into` says whether buf is filled or read; NULL buf: memset. */
static size_t iov_copy(const struct iovec *iov, int n, size_t off, void *buf, size_t len, bool into,
		       int byte)
{
	size_t done = 0;

	for (int i = 0; i < n && done < len; i++) {
		size_t have = iov[i].iov_len, take;
		uint8_t *at;

		if (off >= have) {
			off -= have;
			continue;
		}
		take = MIN_OF(have - off, len - done);
		at = (uint8_t *)iov[i].iov_base + off;
		if (!buf)
			memset(at, byte, take);
		else if (into)
			memcpy((uint8_t *)buf + done, at, take);
		else
			memcpy(at, (uint8_t *)buf + done, take);
		done += take;
		off = 0;
	}
	return done;
}

size_t iov_fill(const struct iovec *iov, int n, size_t off, int byte, size_t len)
{
	return iov_copy(iov, n, off, NULL, len, false, byte);
}

size_t iov_from(const struct iovec *iov, int n, size_t off, const void *buf, size_t len)
{
	return iov_copy(iov, n, off, (void *)buf, len, false, 0);
}

size_t iov_to(const struct iovec *iov, int n, size_t off, void *buf, size_t len)
{
	return iov_copy(iov, n, off, buf, len, true, 0);
}
