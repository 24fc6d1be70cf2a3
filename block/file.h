/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file below a format: a regular file or a block device of the host. Calls block, from any
 * thread; lengths are met in full or fail. Short files read as zeros beyond their end.
 *
 * Locks: one byte each of the file is locked (open file description locks) for "it is read" and
 * "it is written", so that two VMs cannot write one image, nor one read what another writes. The
 * bytes lie where QEMU has its own, so that each sees the other's.
 */
#pragma once

#include "block/block.h"

struct block_file;

struct block_file *file_open(const char *path, const struct block_options *o, GError **err);
void file_close(struct block_file *f);
/* Gives up the right to write, or takes it: a backing image that is committed to. */
bool file_reopen(struct block_file *f, bool read_only, GError **err);
uint64_t file_size(struct block_file *f);
bool file_is_device(const struct block_file *f);
/* For I/O that others do on it; -1: this one cannot be done so. */
int file_descriptor(const struct block_file *f, uint64_t off, const struct iovec *iov, int n);
int file_readv(struct block_file *f, uint64_t off, const struct iovec *iov, int n);
int file_writev(struct block_file *f, uint64_t off, const struct iovec *iov, int n);
int file_read(struct block_file *f, uint64_t off, void *buf, size_t len);
int file_write(struct block_file *f, uint64_t off, const void *buf, size_t len);
int file_flush(struct block_file *f);
int file_truncate(struct block_file *f, uint64_t size);
/* Makes a range read as zeros; with `unmap` by giving its blocks back to the host. */
int file_zero(struct block_file *f, uint64_t off, uint64_t len, bool unmap);
/* Reserves blocks of the host. */
int file_reserve(struct block_file *f, uint64_t off, uint64_t len);
/* Whether `off` lies in a hole; *len shrinks to what is alike. */
bool file_is_hole(struct block_file *f, uint64_t off, uint64_t *len);
/* Bytes that the host has given it. */
uint64_t file_allocated(struct block_file *f);
/* Makes an empty file, or empties one that nobody has open. */
bool file_create(const char *path, uint64_t size, GError **err);
