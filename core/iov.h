/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory in several pieces: lengths, parts and copies of struct iovec arrays. */
#pragma once

#include <sys/uio.h>

#include "core/compiler.h"

size_t iov_bytes(const struct iovec *iov, int n);
/*
 * Writes bytes [off, off + len) of iov to `part`, which has room for n elements and may be iov
 * itself; returns how many.
 */
int iov_part(const struct iovec *iov, int n, size_t off, size_t len, struct iovec *part);
/* Bytes from `off` on; they stop at the end and return how many they did. */
size_t iov_fill(const struct iovec *iov, int n, size_t off, int byte, size_t len);
size_t iov_from(const struct iovec *iov, int n, size_t off, const void *buf, size_t len);
size_t iov_to(const struct iovec *iov, int n, size_t off, void *buf, size_t len);
