/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host folder that a guest may use: every name is resolved beneath it, without following
 * symbolic links (openat2), whatever the guest asks for.
 *
 * Who owns a file is either the host's business (passthrough, none), or written in the extended
 * attributes user.virtfs.* (mapped-xattr, QEMU's names), so that a process without privileges can
 * hold a guest's system: files are then its own, 0600, and special files and links are plain files.
 *
 * Descriptors are of O_PATH. Errors are negative errno values.
 */
#pragma once

#include <glib.h>
#include <sys/stat.h>

#include "core/error.h"

enum folder_model { FOLDER_NONE, FOLDER_PASSTHROUGH, FOLDER_MAPPED };

struct folder {
	char *id, *path;
	enum folder_model model;
	bool read_only;
	int root; /* O_PATH */
};

/* "local,id=f,path=DIR,security_model=M,readonly=on" of -fsdev or -virtfs (`option`). */
bool folder_new(const char *option, const char *text, GError **err);
struct folder *folder_find(const char *id);
void folders_free(void);

/* One name, no path, in a directory; O_PATH. */
int folder_walk(const struct folder *f, int dir, const char *name);
/* A path from the root on, as it was walked. */
int folder_open_path(const struct folder *f, const char *path);
int folder_stat(const struct folder *f, int fd, struct stat *st);
/* Opens what an O_PATH descriptor is of, for I/O. */
int folder_open(const struct folder *f, int fd, int flags);
/* Makes an entry; a regular file comes back open. */
int folder_create(const struct folder *f, int dir, const char *name, int flags, mode_t mode,
		  uid_t uid, gid_t gid);
int folder_mkdir(const struct folder *f, int dir, const char *name, mode_t mode, uid_t uid,
		 gid_t gid);
int folder_mknod(const struct folder *f, int dir, const char *name, mode_t mode, dev_t dev,
		 uid_t uid, gid_t gid);
int folder_symlink(const struct folder *f, int dir, const char *name, const char *target, uid_t uid,
		   gid_t gid);
ssize_t folder_readlink(const struct folder *f, int fd, char *buf, size_t size);
int folder_link(const struct folder *f, int fd, int dir, const char *name);
int folder_chmod(const struct folder *f, int fd, mode_t mode);
/* -1: leave it. */
int folder_chown(const struct folder *f, int fd, uid_t uid, gid_t gid);
int folder_truncate(const struct folder *f, int fd, uint64_t size);
int folder_utimes(int fd, const struct timespec times[2]);
/* "/proc/self/fd/N": for calls that want a path. */
const char *folder_proc_path(int fd, char buf[32]);
/* Whether the guest may see an extended attribute. */
bool folder_shows_xattr(const struct folder *f, const char *name);
