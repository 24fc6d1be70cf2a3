/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 9P2000.L server: see p9.h. */
#include "fs/p9.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
	R_LERROR = 7,
	T_STATFS = 8,
	T_LOPEN = 12,
	T_LCREATE = 14,
	T_SYMLINK = 16,
	T_MKNOD = 18,
	T_RENAME = 20,
	T_READLINK = 22,
	T_GETATTR = 24,
	T_SETATTR = 26,
	T_XATTRWALK = 30,
	T_XATTRCREATE = 32,
	T_READDIR = 40,
	T_FSYNC = 50,
	T_LOCK = 52,
	T_GETLOCK = 54,
	T_LINK = 70,
	T_MKDIR = 72,
	T_RENAMEAT = 74,
	T_UNLINKAT = 76,
	T_VERSION = 100,
	T_AUTH = 102,
	T_ATTACH = 104,
	T_FLUSH = 108,
	T_WALK = 110,
	T_READ = 116,
	T_WRITE = 118,
	T_CLUNK = 120,
	T_REMOVE = 122,
	MOST_TYPES = 124
};

#define VERSION "9P2000.L"
#define NO_TAG 0xffff
#define NO_FID 0xffffffffu
#define HEADER 7 /* size, type, tag */
#define LEAST_MSIZE 4096u
#define MOST_MSIZE (512u * 1024)
#define MOST_WALK 16
#define QID_DIR 0x80
#define QID_LINK 0x02
#define MOST_XATTR 65536

/* Linux's own numbers, which the wire has whatever the host's are. */
#define L_O_ACCMODE 3u
#define L_O_EXCL 00000200u
#define L_O_TRUNC 00001000u
#define L_O_APPEND 00002000u
#define L_AT_REMOVEDIR 0x200u

#define SET_MODE 1u
#define SET_UID 2u
#define SET_GID 4u
#define SET_SIZE 8u
#define SET_ATIME 16u
#define SET_MTIME 32u
#define SET_ATIME_GIVEN 128u
#define SET_MTIME_GIVEN 256u

#define STAT_BASIC 0x7ffu

struct fid {
	uint32_t id, uid;
	int path;   /* O_PATH */
	char *name; /* from the root on; "" is the root */
	int file;   /* open for I/O, or -1 */
	uint32_t flags;
	DIR *dir;
	/* An extended attribute: being read, or being written. */
	bool xattr_read, xattr_write;
	char *xattr;
	uint8_t *value;
	uint64_t value_len;
	uint32_t value_flags;
};

struct p9_server {
	struct folder *folder;
	uint32_t msize;
	GHashTable *fids;
};

/* A message under way. Reading beyond its end gives zeros and sets `bad`. */
struct message {
	struct p9_server *s;
	const struct iovec *out, *in;
	int nout, nin;
	size_t size, at; /* of the request */
	size_t reply;	 /* bytes of the reply so far */
	size_t room;	 /* most bytes of it */
	bool bad;
};

/* Fields. */

static void get_bytes(struct message *m, void *buf, size_t len)
{
	memset(buf, 0, len);
	if (m->bad || len > m->size - m->at || iov_to(m->out, m->nout, m->at, buf, len) < len)
		m->bad = true;
	else
		m->at += len;
}

static uint64_t get(struct message *m, unsigned size)
{
	uint8_t raw[8];

	get_bytes(m, raw, size);
	return load_le(raw, size);
}

static uint32_t get32(struct message *m)
{
	return (uint32_t)get(m, 4);
}

/* A string without a zero inside, to be freed; "" when it is none. */
static char *get_string(struct message *m)
{
	size_t len = (size_t)get(m, 2);
	char *s = g_malloc0(len + 1);

	get_bytes(m, s, len);
	if (strlen(s) != len)
		m->bad = true;
	return s;
}

static void put_bytes(struct message *m, const void *data, size_t len)
{
	if (m->reply + len > m->room)
		m->bad = true;
	else
		m->reply += iov_from(m->in, m->nin, m->reply, data, len);
}

static void put(struct message *m, uint64_t value, unsigned size)
{
	uint8_t raw[8];

	store_le(raw, value, size);
	put_bytes(m, raw, size);
}

static void put_string(struct message *m, const char *text)
{
	size_t len = strlen(text);

	put(m, len, 2);
	put_bytes(m, text, len);
}

static void put_qid(struct message *m, const struct stat *st)
{
	put(m, S_ISDIR(st->st_mode) ? QID_DIR : S_ISLNK(st->st_mode) ? QID_LINK : 0, 1);
	put(m, (uint64_t)st->st_mtim.tv_nsec ^ (uint64_t)st->st_mtim.tv_sec << 8, 4);
	put(m, (uint64_t)st->st_ino ^ (uint64_t)st->st_dev << 48, 8);
}

/* Fids. */

static void free_fid(void *opaque)
{
	struct fid *f = opaque;

	if (f->dir)
		closedir(f->dir); /* its descriptor too */
	else if (f->file >= 0)
		close(f->file);
	if (f->path >= 0)
		close(f->path);
	g_free(f->name);
	g_free(f->xattr);
	g_free(f->value);
	g_free(f);
}

static struct fid *find(struct p9_server *s, uint32_t id)
{
	return g_hash_table_lookup(s->fids, GUINT_TO_POINTER(id));
}

static struct fid *get_fid(struct message *m, int *e)
{
	struct fid *f = find(m->s, get32(m));

	*e = m->bad ? -EPROTO : f ? 0 : -EBADF;
	return *e ? NULL : f;
}

/* Takes path and name over; NULL with an error: too many. */
static struct fid *add_fid(struct p9_server *s, uint32_t id, int path, char *name, uint32_t uid)
{
	struct fid *f;

	if (g_hash_table_size(s->fids) >= P9_MOST_FIDS || id == NO_FID || find(s, id)) {
		close(path);
		g_free(name);
		return NULL;
	}
	f = g_new0(struct fid, 1);
	f->id = id;
	f->uid = uid;
	f->path = path;
	f->name = name;
	f->file = -1;
	g_hash_table_insert(s->fids, GUINT_TO_POINTER(id), f);
	return f;
}

static char *join(const char *dir, const char *name)
{
	return *dir ? g_strdup_printf("%s/%s", dir, name) : g_strdup(name);
}

/* Names of what lies at or below `from` begin with `to` from now on. */
static void rename_fids(struct p9_server *s, const char *from, const char *to)
{
	size_t len = strlen(from);
	GHashTableIter i;
	void *v;

	g_hash_table_iter_init(&i, s->fids);
	while (g_hash_table_iter_next(&i, NULL, &v)) {
		struct fid *f = v;
		char *now;

		if (strncmp(f->name, from, len) || (f->name[len] && f->name[len] != '/'))
			continue;
		now = g_strconcat(to, f->name + len, NULL);
		g_free(f->name);
		f->name = now;
	}
}

/* Messages. Each returns 0 or -errno. */

static int version(struct message *m)
{
	uint32_t msize = get32(m);
	g_autofree char *wanted = get_string(m);

	if (m->bad || msize < LEAST_MSIZE)
		return -EPROTO;
	p9_reset(m->s);
	m->s->msize = MIN_OF(msize, MOST_MSIZE);
	put(m, m->s->msize, 4);
	put_string(m, strcmp(wanted, VERSION) ? "unknown" : VERSION);
	return 0;
}

static int attach(struct message *m)
{
	uint32_t id = get32(m), afid = get32(m), uid;
	g_autofree char *user = get_string(m), *tree = get_string(m);
	struct stat st;
	int fd, e;

	(void)user; /* its number is what counts */
	uid = get32(m);
	if (m->bad || afid != NO_FID)
		return -EPROTO;
	if (*tree && strcmp(tree, "/"))
		return -ENOENT;
	fd = folder_open_path(m->s->folder, "");
	if (fd < 0)
		return fd;
	e = folder_stat(m->s->folder, fd, &st);
	if (!add_fid(m->s, id, fd, g_strdup(""), uid))
		return -EMFILE;
	put_qid(m, &st);
	return e;
}

/* Up is by the path that led here, never by the host's own "..". */
static int walk_one(struct p9_server *s, int *fd, char **name, const char *to)
{
	char *now;
	int next;

	if (!strcmp(to, "..")) {
		now = strchr(*name, '/') ? g_path_get_dirname(*name) : g_strdup("");
		next = folder_open_path(s->folder, now);
	} else if (!strcmp(to, ".")) {
		return 0;
	} else {
		now = join(*name, to);
		next = folder_walk(s->folder, *fd, to);
	}
	if (next < 0) {
		g_free(now);
		return next;
	}
	close(*fd);
	g_free(*name);
	*fd = next;
	*name = now;
	return 0;
}

static int walk(struct message *m)
{
	int e, fd;
	struct fid *f = get_fid(m, &e);
	uint32_t to = get32(m);
	unsigned n = (unsigned)get(m, 2), done;
	struct stat st[MOST_WALK];
	char *name;

	if (e || m->bad || n > MOST_WALK)
		return e ? e : -EPROTO;
	if (f->file >= 0 || (to != f->id && find(m->s, to)))
		return -EINVAL;
	fd = fcntl(f->path, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	name = g_strdup(f->name);
	for (done = 0; done < n; done++) {
		g_autofree char *part = get_string(m);

		e = m->bad ? -EPROTO : walk_one(m->s, &fd, &name, part);
		if (!e)
			e = folder_stat(m->s->folder, fd, &st[done]);
		if (e)
			break;
	}
	/* Only a whole walk makes a fid; a part of one tells how far it went. */
	if (done < n) {
		close(fd);
		g_free(name);
		if (!done)
			return e;
	} else {
		uint32_t uid = f->uid;

		if (to == f->id)
			g_hash_table_remove(m->s->fids, GUINT_TO_POINTER(to));
		if (!add_fid(m->s, to, fd, name, uid))
			return -EMFILE;
	}
	put(m, done, 2);
	for (unsigned i = 0; i < done; i++)
		put_qid(m, &st[i]);
	return 0;
}

static int host_flags(uint32_t flags)
{
	static const int access_modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR };

	/* Where writes go is the message's business, O_APPEND too: positions are the client's. */
	return access_modes[flags & L_O_ACCMODE] | (flags & L_O_TRUNC ? O_TRUNC : 0) |
	       (flags & L_O_APPEND ? O_APPEND : 0) | (flags & L_O_EXCL ? O_EXCL : 0) | O_NONBLOCK |
	       O_NOCTTY;
}

static int open_fid(struct p9_server *s, struct fid *f, uint32_t flags)
{
	int fd = folder_open(s->folder, f->path, host_flags(flags));
	struct stat st;

	if (fd < 0)
		return fd;
	f->file = fd;
	f->flags = flags;
	if (!fstat(fd, &st) && S_ISDIR(st.st_mode)) {
		f->dir = fdopendir(fd);
		if (!f->dir) {
			close(fd);
			f->file = -1;
			return -ENOMEM;
		}
	}
	return 0;
}

static int lopen(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	uint32_t flags = get32(m);
	struct stat st;

	if (e || m->bad || f->file >= 0)
		return e ? e : m->bad ? -EPROTO : -EINVAL;
	e = open_fid(m->s, f, flags);
	e = e ? e : folder_stat(m->s->folder, f->path, &st);
	if (e)
		return e;
	put_qid(m, &st);
	put(m, 0, 4); /* the client's choice */
	return 0;
}

static int lcreate(struct message *m)
{
	int e, fd, path;
	struct fid *f = get_fid(m, &e);
	g_autofree char *name = get_string(m);
	uint32_t flags = get32(m), mode = get32(m), gid = get32(m);
	struct stat st;
	char *now;

	if (e || m->bad || f->file >= 0)
		return e ? e : m->bad ? -EPROTO : -EINVAL;
	fd = folder_create(m->s->folder, f->path, name, host_flags(flags), mode, f->uid, gid);
	if (fd < 0)
		return fd;
	path = folder_walk(m->s->folder, f->path, name);
	e = path < 0 ? path : folder_stat(m->s->folder, path, &st);
	if (e) {
		close(fd);
		if (path >= 0)
			close(path);
		return e;
	}
	/* The fid is the new file's from here on. */
	close(f->path);
	f->path = path;
	f->file = fd;
	f->flags = flags & ~(L_O_TRUNC | L_O_EXCL);
	now = join(f->name, name);
	g_free(f->name);
	f->name = now;
	put_qid(m, &st);
	put(m, 0, 4);
	return 0;
}

/* After a directory entry was made: its qid. */
static int tell_entry(struct message *m, struct fid *dir, const char *name)
{
	int fd = folder_walk(m->s->folder, dir->path, name), e;
	struct stat st;

	if (fd < 0)
		return fd;
	e = folder_stat(m->s->folder, fd, &st);
	close(fd);
	if (!e)
		put_qid(m, &st);
	return e;
}

static int symlink_entry(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	g_autofree char *name = get_string(m), *target = get_string(m);
	uint32_t gid = get32(m);

	if (e || m->bad)
		return e ? e : -EPROTO;
	e = folder_symlink(m->s->folder, f->path, name, target, f->uid, gid);
	return e ? e : tell_entry(m, f, name);
}

static int mknod_entry(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	g_autofree char *name = get_string(m);
	uint32_t mode = get32(m), major_nr = get32(m), minor_nr = get32(m), gid = get32(m);

	if (e || m->bad)
		return e ? e : -EPROTO;
	e = folder_mknod(m->s->folder, f->path, name, mode, makedev(major_nr, minor_nr), f->uid,
			 gid);
	return e ? e : tell_entry(m, f, name);
}

static int mkdir_entry(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	g_autofree char *name = get_string(m);
	uint32_t mode = get32(m), gid = get32(m);

	if (e || m->bad)
		return e ? e : -EPROTO;
	e = folder_mkdir(m->s->folder, f->path, name, mode, f->uid, gid);
	return e ? e : tell_entry(m, f, name);
}

static int link_entry(struct message *m)
{
	int e, e2;
	struct fid *dir = get_fid(m, &e), *f = get_fid(m, &e2);
	g_autofree char *name = get_string(m);

	if (e || e2 || m->bad)
		return e ? e : e2 ? e2 : -EPROTO;
	return folder_link(m->s->folder, f->path, dir->path, name);
}

static int read_link(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	char target[PATH_MAX];
	ssize_t n;

	if (e)
		return e;
	n = folder_readlink(m->s->folder, f->path, target, sizeof(target) - 1);
	if (n < 0)
		return (int)n;
	target[n] = 0;
	put_string(m, target);
	return 0;
}

static bool plain_name(const char *name)
{
	return *name && strcmp(name, ".") && strcmp(name, "..") && !strchr(name, '/');
}

static int move(struct p9_server *s, struct fid *from_dir, const char *from_name, int to_dir,
		const char *to_dir_name, const char *to_name)
{
	g_autofree char *from = join(from_dir->name, from_name), *to = join(to_dir_name, to_name);

	if (s->folder->read_only)
		return -EROFS;
	if (!plain_name(from_name) || !plain_name(to_name))
		return -EINVAL;
	if (renameat(from_dir->path, from_name, to_dir, to_name))
		return -errno;
	rename_fids(s, from, to);
	return 0;
}

static int renameat_entry(struct message *m)
{
	int e, e2;
	struct fid *from = get_fid(m, &e);
	g_autofree char *old = get_string(m);
	struct fid *to = get_fid(m, &e2);
	g_autofree char *name = get_string(m);

	if (e || e2 || m->bad)
		return e ? e : e2 ? e2 : -EPROTO;
	return move(m->s, from, old, to->path, to->name, name);
}

/* The older message names the file, so its directory is found by its path. */
static int rename_entry(struct message *m)
{
	int e, e2;
	struct fid *f = get_fid(m, &e), *to = get_fid(m, &e2), parent;
	g_autofree char *name = get_string(m), *old = NULL, *dir = NULL;

	if (e || e2 || m->bad || !*f->name)
		return e ? e : e2 ? e2 : m->bad ? -EPROTO : -EBUSY;
	old = g_path_get_basename(f->name);
	dir = strchr(f->name, '/') ? g_path_get_dirname(f->name) : g_strdup("");
	parent = (struct fid) { .name = dir, .path = folder_open_path(m->s->folder, dir) };
	if (parent.path < 0)
		return parent.path;
	e = move(m->s, &parent, old, to->path, to->name, name);
	close(parent.path);
	return e;
}

static int unlink_entry(struct message *m)
{
	int e;
	struct fid *dir = get_fid(m, &e);
	g_autofree char *name = get_string(m);
	uint32_t flags = get32(m);

	if (e || m->bad)
		return e ? e : -EPROTO;
	if (m->s->folder->read_only)
		return -EROFS;
	if (!plain_name(name))
		return -EINVAL;
	return unlinkat(dir->path, name, flags & L_AT_REMOVEDIR ? AT_REMOVEDIR : 0) ? -errno : 0;
}

static int write_xattr(struct p9_server *s, struct fid *f)
{
	char proc[32];
	int r;

	if (!f->xattr_write)
		return 0;
	if (s->folder->read_only)
		return -EROFS;
	folder_proc_path(f->path, proc);
	r = f->value_len ? setxattr(proc, f->xattr, f->value, f->value_len, (int)f->value_flags)
			 : removexattr(proc, f->xattr);
	return r ? -errno : 0;
}

static int clunk(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);

	if (e)
		return e;
	e = write_xattr(m->s, f);
	g_hash_table_remove(m->s->fids, GUINT_TO_POINTER(f->id));
	return e;
}

static int remove_fid(struct message *m)
{
	int e, parent;
	struct fid *f = get_fid(m, &e);
	g_autofree char *name = NULL, *dir = NULL;
	struct stat st;

	if (e)
		return e;
	name = g_path_get_basename(f->name);
	dir = strchr(f->name, '/') ? g_path_get_dirname(f->name) : g_strdup("");
	e = !*f->name ? -EBUSY : m->s->folder->read_only ? -EROFS : 0;
	if (!e && fstatat(f->path, "", &st, AT_EMPTY_PATH))
		e = -errno;
	parent = e ? -1 : folder_open_path(m->s->folder, dir);
	if (!e && parent < 0)
		e = parent;
	if (!e && unlinkat(parent, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0))
		e = -errno;
	if (parent >= 0)
		close(parent);
	/* The fid goes in any case. */
	g_hash_table_remove(m->s->fids, GUINT_TO_POINTER(f->id));
	return e;
}

static int getattr(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	struct stat st;

	get(m, 8); /* which: all that there is */
	if (e || m->bad)
		return e ? e : -EPROTO;
	e = folder_stat(m->s->folder, f->path, &st);
	if (e)
		return e;
	put(m, STAT_BASIC, 8);
	put_qid(m, &st);
	put(m, st.st_mode, 4);
	put(m, st.st_uid, 4);
	put(m, st.st_gid, 4);
	put(m, st.st_nlink, 8);
	put(m, st.st_rdev, 8);
	put(m, (uint64_t)st.st_size, 8);
	put(m, (uint64_t)st.st_blksize, 8);
	put(m, (uint64_t)st.st_blocks, 8);
	put(m, (uint64_t)st.st_atim.tv_sec, 8);
	put(m, (uint64_t)st.st_atim.tv_nsec, 8);
	put(m, (uint64_t)st.st_mtim.tv_sec, 8);
	put(m, (uint64_t)st.st_mtim.tv_nsec, 8);
	put(m, (uint64_t)st.st_ctim.tv_sec, 8);
	put(m, (uint64_t)st.st_ctim.tv_nsec, 8);
	for (unsigned i = 0; i < 4; i++)
		put(m, 0, 8);
	return 0;
}

static struct timespec get_time(struct message *m, uint32_t valid, uint32_t set, uint32_t given)
{
	uint64_t sec = get(m, 8), nsec = get(m, 8);

	if (!(valid & set))
		return (struct timespec) { 0, UTIME_OMIT };
	if (!(valid & given))
		return (struct timespec) { 0, UTIME_NOW };
	return (struct timespec) { (time_t)sec, (long)MIN_OF(nsec, UINT64_C(999999999)) };
}

static int setattr(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	uint32_t valid = get32(m), mode = get32(m), uid = get32(m), gid = get32(m);
	uint64_t size = get(m, 8);
	struct timespec times[2];
	struct folder *d = m->s->folder;

	times[0] = get_time(m, valid, SET_ATIME, SET_ATIME_GIVEN);
	times[1] = get_time(m, valid, SET_MTIME, SET_MTIME_GIVEN);
	if (e || m->bad)
		return e ? e : -EPROTO;
	if (d->read_only)
		return -EROFS;
	if (valid & SET_MODE)
		e = folder_chmod(d, f->path, mode);
	if (!e && valid & (SET_UID | SET_GID))
		e = folder_chown(d, f->path, valid & SET_UID ? uid : (uid_t)-1,
				 valid & SET_GID ? gid : (gid_t)-1);
	if (!e && valid & SET_SIZE)
		e = folder_truncate(d, f->path, size);
	if (!e && valid & (SET_ATIME | SET_MTIME))
		e = folder_utimes(f->path, times);
	return e;
}

/* Data. */

static uint32_t most_data(const struct message *m, uint32_t wanted)
{
	size_t room = m->room - HEADER - 4;

	return (uint32_t)MIN_OF((size_t)wanted, room);
}

static int read_data(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	uint64_t off = get(m, 8);
	uint32_t count = most_data(m, get32(m));
	struct iovec *part;
	ssize_t n;
	int k;

	if (e || m->bad)
		return e ? e : -EPROTO;
	if (f->xattr_read) {
		count = (uint32_t)MIN_OF((uint64_t)count, f->value_len - MIN_OF(off, f->value_len));
		put(m, count, 4);
		put_bytes(m, f->value + MIN_OF(off, f->value_len), count);
		return 0;
	}
	if (f->file < 0 || f->dir || off > INT64_MAX)
		return f->dir ? -EISDIR : -EBADF;
	part = g_new(struct iovec, m->nin + 1);
	k = iov_part(m->in, m->nin, HEADER + 4, count, part);
	n = preadv(f->file, part, MIN_OF(k, IOV_MAX), (off_t)off);
	e = n < 0 ? -errno : 0;
	g_free(part);
	if (e)
		return e;
	put(m, (uint64_t)n, 4);
	m->reply += (size_t)n;
	return 0;
}

static int write_data(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	uint64_t off = get(m, 8);
	uint32_t count = get32(m);
	struct iovec *part;
	ssize_t n;
	int k;

	if (e || m->bad || count > m->size - m->at)
		return e ? e : -EPROTO;
	if (f->xattr_write) {
		if (off > f->value_len || count > f->value_len - off)
			return -ENOSPC;
		get_bytes(m, f->value + off, count);
		put(m, count, 4);
		return 0;
	}
	if (f->file < 0 || f->dir || off > INT64_MAX)
		return -EBADF;
	part = g_new(struct iovec, m->nout + 1);
	k = iov_part(m->out, m->nout, m->at, count, part);
	n = pwritev(f->file, part, MIN_OF(k, IOV_MAX), (off_t)off);
	e = n < 0 ? -errno : 0;
	g_free(part);
	if (e)
		return e;
	put(m, (uint64_t)n, 4);
	return 0;
}

static int fsync_fid(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);

	if (e)
		return e;
	return f->file >= 0 && fsync(f->file) ? -errno : 0;
}

static uint8_t type_of(const struct dirent *d, const struct stat *st)
{
	return st ? (uint8_t)(st->st_mode >> 12 & 15) : d->d_type;
}

static int readdir_fid(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	uint64_t off = get(m, 8);
	uint32_t count = most_data(m, get32(m));
	size_t start = m->reply, end = start + 4 + count;
	struct dirent *d;
	uint8_t bytes[4];

	if (e || m->bad || !f->dir)
		return e ? e : m->bad ? -EPROTO : -ENOTDIR;
	put(m, 0, 4); /* how many bytes, once it is known */
	if (off)
		seekdir(f->dir, (long)off);
	else
		rewinddir(f->dir);
	while ((errno = 0, d = readdir(f->dir))) {
		struct stat st = { .st_ino = d->d_ino };
		int fd;

		if (m->reply + 13 + 8 + 1 + 2 + strlen(d->d_name) > end)
			break;
		fd = plain_name(d->d_name) ? folder_walk(m->s->folder, f->path, d->d_name) : -1;
		if (fd >= 0) {
			folder_stat(m->s->folder, fd, &st);
			close(fd);
		} else if (plain_name(d->d_name)) {
			continue; /* it has just gone */
		} else {
			st.st_mode = S_IFDIR;
		}
		put_qid(m, &st);
		put(m, (uint64_t)d->d_off, 8);
		put(m, type_of(d, &st), 1);
		put_string(m, d->d_name);
	}
	if (!d && errno)
		return -errno;
	store_le(bytes, m->reply - start - 4, 4);
	iov_from(m->in, m->nin, start, bytes, 4);
	return 0;
}

static int statfs_fid(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	char proc[32];
	struct statfs s;

	if (e)
		return e;
	if (statfs(folder_proc_path(f->path, proc), &s))
		return -errno;
	put(m, (uint32_t)s.f_type, 4);
	put(m, (uint32_t)s.f_bsize, 4);
	put(m, s.f_blocks, 8);
	put(m, s.f_bfree, 8);
	put(m, s.f_bavail, 8);
	put(m, s.f_files, 8);
	put(m, s.f_ffree, 8);
	put(m, 0, 8);
	put(m, NAME_MAX, 4);
	return 0;
}

/* Extended attributes. */

/* Those that the guest may see, each ended by a zero. */
static void hide_names(const struct folder *d, struct fid *f)
{
	char *from = (char *)f->value, *end = from + f->value_len, *to = from;

	while (from < end) {
		size_t n = strnlen(from, (size_t)(end - from)) + 1;

		if (folder_shows_xattr(d, from)) {
			memmove(to, from, MIN_OF(n, (size_t)(end - from)));
			to += n;
		}
		from += n;
	}
	f->value_len = (uint64_t)(to - (char *)f->value);
}

static int xattrwalk(struct message *m)
{
	int e, fd;
	struct fid *f = get_fid(m, &e), *x;
	uint32_t to = get32(m);
	g_autofree char *name = get_string(m);
	char proc[32];
	ssize_t n;

	if (e || m->bad)
		return e ? e : -EPROTO;
	if (*name && !folder_shows_xattr(m->s->folder, name))
		return -ENODATA;
	fd = fcntl(f->path, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	x = add_fid(m->s, to, fd, g_strdup(f->name), f->uid);
	if (!x)
		return -EINVAL;
	x->xattr_read = true;
	x->value = g_malloc(MOST_XATTR);
	folder_proc_path(x->path, proc);
	n = *name ? getxattr(proc, name, x->value, MOST_XATTR)
		  : listxattr(proc, (char *)x->value, MOST_XATTR);
	if (n < 0) {
		e = -errno;
		g_hash_table_remove(m->s->fids, GUINT_TO_POINTER(to));
		return e;
	}
	x->value_len = (uint64_t)n;
	if (!*name)
		hide_names(m->s->folder, x);
	put(m, x->value_len, 8);
	return 0;
}

static int xattrcreate(struct message *m)
{
	int e;
	struct fid *f = get_fid(m, &e);
	g_autofree char *name = get_string(m);
	uint64_t size = get(m, 8);
	uint32_t flags = get32(m);

	if (e || m->bad)
		return e ? e : -EPROTO;
	if (size > MOST_XATTR || f->file >= 0 || f->xattr)
		return size > MOST_XATTR ? -E2BIG : -EINVAL;
	if (!folder_shows_xattr(m->s->folder, name))
		return -EACCES;
	f->xattr_write = true;
	f->xattr = g_steal_pointer(&name);
	f->value = g_malloc0(size + 1);
	f->value_len = size;
	f->value_flags = flags;
	return 0;
}

/* Locks between guests are not held on the host: each is granted, within the guest it holds. */
static int lock_fid(struct message *m)
{
	int e;

	get_fid(m, &e);
	if (!e)
		put(m, 0, 1);
	return e;
}

static int getlock(struct message *m)
{
	int e;
	uint64_t start, length;
	uint32_t proc_id;

	get_fid(m, &e);
	get(m, 1);
	start = get(m, 8);
	length = get(m, 8);
	proc_id = get32(m);
	g_autofree char *client = get_string(m);
	if (e || m->bad)
		return e ? e : -EPROTO;
	put(m, 2, 1); /* unlocked */
	put(m, start, 8);
	put(m, length, 8);
	put(m, proc_id, 4);
	put_string(m, client);
	return 0;
}

static int auth(struct message *m)
{
	(void)m;
	return -EOPNOTSUPP;
}

/* What is to be flushed has ended: messages are answered in order. */
static int flush(struct message *m)
{
	(void)m;
	return 0;
}

static int (*const handlers[MOST_TYPES])(struct message *m) = {
	[T_STATFS] = statfs_fid,
	[T_LOPEN] = lopen,
	[T_LCREATE] = lcreate,
	[T_SYMLINK] = symlink_entry,
	[T_MKNOD] = mknod_entry,
	[T_RENAME] = rename_entry,
	[T_READLINK] = read_link,
	[T_GETATTR] = getattr,
	[T_SETATTR] = setattr,
	[T_XATTRWALK] = xattrwalk,
	[T_XATTRCREATE] = xattrcreate,
	[T_READDIR] = readdir_fid,
	[T_FSYNC] = fsync_fid,
	[T_LOCK] = lock_fid,
	[T_GETLOCK] = getlock,
	[T_LINK] = link_entry,
	[T_MKDIR] = mkdir_entry,
	[T_RENAMEAT] = renameat_entry,
	[T_UNLINKAT] = unlink_entry,
	[T_VERSION] = version,
	[T_AUTH] = auth,
	[T_ATTACH] = attach,
	[T_FLUSH] = flush,
	[T_WALK] = walk,
	[T_READ] = read_data,
	[T_WRITE] = write_data,
	[T_CLUNK] = clunk,
	[T_REMOVE] = remove_fid,
};

static void finish_header(struct message *m, unsigned type, unsigned tag)
{
	uint8_t raw[HEADER];

	store_le(raw, m->reply, 4);
	raw[4] = (uint8_t)type;
	store_le(raw + 5, tag, 2);
	iov_from(m->in, m->nin, 0, raw, sizeof(raw));
}

size_t p9_handle(struct p9_server *s, const struct iovec *out, int nout, const struct iovec *in,
		 int nin)
{
	struct message m = { .s = s, .out = out, .in = in, .nout = nout, .nin = nin };
	size_t have = iov_bytes(out, nout), room = iov_bytes(in, nin);
	unsigned type, tag;
	uint8_t head[HEADER];
	int e;

	if (have < HEADER || room < HEADER + 4)
		return 0;
	iov_to(out, nout, 0, head, sizeof(head));
	type = head[4];
	tag = (unsigned)load_le(head + 5, 2);
	m.size = MIN_OF(have, (size_t)load_le(head, 4));
	m.at = m.reply = HEADER;
	m.room = MIN_OF(room, (size_t)(s->msize ? s->msize : LEAST_MSIZE));
	if (m.size < HEADER)
		e = -EPROTO;
	else if (type >= MOST_TYPES || !handlers[type])
		e = -EOPNOTSUPP;
	else if (!s->msize && type != T_VERSION)
		e = -EPROTO;
	else
		e = handlers[type](&m);
	if (!e && m.bad)
		e = -EPROTO;
	if (e) {
		m.bad = false;
		m.reply = HEADER;
		m.room = room;
		put(&m, (uint64_t)-e, 4);
	}
	finish_header(&m, e ? R_LERROR : type + 1, tag);
	return m.reply;
}

/* Life. */

struct p9_server *p9_new(struct folder *f)
{
	struct p9_server *s = g_new0(struct p9_server, 1);

	s->folder = f;
	s->fids = g_hash_table_new_full(NULL, NULL, NULL, free_fid);
	return s;
}

void p9_reset(struct p9_server *s)
{
	g_hash_table_remove_all(s->fids);
	s->msize = 0;
}

void p9_free(struct p9_server *s)
{
	g_hash_table_unref(s->fids);
	g_free(s);
}

void p9_save(struct p9_server *s, struct p9_saved *to)
{
	size_t at = 0;
	GHashTableIter i;
	void *v;

	memset(to, 0, sizeof(*to));
	to->msize = s->msize;
	g_hash_table_iter_init(&i, s->fids);
	while (g_hash_table_iter_next(&i, NULL, &v)) {
		struct fid *f = v;
		size_t n = strlen(f->name) + 1;

		if (f->xattr_read || f->xattr_write || to->n == P9_SAVED_FIDS ||
		    at + n > P9_SAVED_BYTES)
			continue;
		to->fid[to->n] = f->id;
		to->uid[to->n] = f->uid;
		to->flags[to->n] = f->file >= 0 ? (f->flags & ~(L_O_TRUNC | L_O_EXCL)) + 1 : 0;
		to->n++;
		memcpy(to->paths + at, f->name, n);
		at += n;
	}
}

bool p9_load(struct p9_server *s, const struct p9_saved *from)
{
	size_t at = 0;

	p9_reset(s);
	if (from->n > P9_SAVED_FIDS || from->msize > MOST_MSIZE ||
	    (from->msize && from->msize < LEAST_MSIZE))
		return false;
	s->msize = from->msize;
	for (unsigned i = 0; i < from->n; i++) {
		const char *name = (const char *)from->paths + at;
		size_t n = strnlen(name, P9_SAVED_BYTES - at);
		struct fid *f;
		int fd;

		if (at + n >= P9_SAVED_BYTES)
			return false;
		at += n + 1;
		fd = folder_open_path(s->folder, name);
		if (fd < 0)
			continue;
		f = add_fid(s, from->fid[i], fd, g_strdup(name), from->uid[i]);
		if (!f)
			return false;
		if (from->flags[i] && open_fid(s, f, (from->flags[i] - 1) & ~L_O_TRUNC))
			g_hash_table_remove(s->fids, GUINT_TO_POINTER(from->fid[i]));
	}
	return true;
}
