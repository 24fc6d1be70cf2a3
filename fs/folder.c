/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Confined folders: see folder.h. */
#include "fs/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/compiler.h"
#include "core/options.h"

#define XATTR_PREFIX "user.virtfs."
#define CONFINED (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

static GPtrArray *folders;

/* Making. */

struct folder *folder_find(const char *id)
{
	for (guint i = 0; folders && i < folders->len; i++)
		if (!strcmp(((struct folder *)folders->pdata[i])->id, id))
			return folders->pdata[i];
	return NULL;
}

/* Descriptors are many: one for each file that the guest knows. */
static void raise_limit(void)
{
	struct rlimit r;

	if (!getrlimit(RLIMIT_NOFILE, &r) && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static bool open_root(struct folder *f, const char *option, GError **err)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = CONFINED };
	long fd;

	f->root = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (f->root < 0)
		return error(err, "%s: path=%s: %s", option, f->path, strerror(errno));
	/* Without it nothing would keep the guest in there. */
	fd = syscall(SYS_openat2, f->root, ".", &how, sizeof(how));
	if (fd < 0)
		return error(err, "%s: path=%s: the host's kernel has no openat2 (Linux 5.6): %s",
			     option, f->path, strerror(errno));
	close((int)fd);
	return true;
}

static bool can_map(struct folder *f, const char *option, GError **err)
{
	char proc[32], value[8];

	if (getxattr(folder_proc_path(f->root, proc), XATTR_PREFIX "mode", value, sizeof(value)) >=
		    0 ||
	    errno != ENOTSUP)
		return true;
	return error(err,
		     "%s: security_model=mapped-xattr: the file system of '%s' has no extended "
		     "attributes of users; use security_model=none",
		     option, f->path);
}

static void free_folder(struct folder *f)
{
	if (f->root >= 0)
		close(f->root);
	g_free(f->id);
	g_free(f->path);
	g_free(f);
}

bool folder_new(const char *option, const char *text, GError **err)
{
	static const char *const models[] = { "none", "passthrough", "mapped-xattr", "mapped",
					      NULL };
	struct optlist *l = optlist_parse(option, text, "fsdriver");
	const char *driver = optlist_get(l, "fsdriver"), *id = optlist_get(l, "id"),
		   *path = optlist_get(l, "path");
	struct folder *f = g_new0(struct folder, 1);
	unsigned model = 0;
	bool ok;

	f->root = -1;
	f->id = g_strdup(id);
	f->path = g_strdup(path);
	if (!driver || strcmp(driver, "local"))
		ok = error(err, "%s: no driver '%s'; there is: local", option,
			   driver ? driver : "");
	else if (!id || !path)
		ok = error(err, "%s local: needs id=ID and path=DIR", option);
	else if (folder_find(id))
		ok = error(err, "%s local: id '%s' is taken", option, id);
	else if (!optlist_get(l, "security_model"))
		ok = error(err,
			   "%s local: needs security_model=none|passthrough|mapped-xattr: who "
			   "owns the files on the host",
			   option);
	else
		ok = optlist_enum(l, "security_model", models, &model, err) &&
		     optlist_bool(l, "readonly", &f->read_only, err) && optlist_finish(l, err) &&
		     open_root(f, option, err);
	f->model = MIN_OF(model, FOLDER_MAPPED);
	ok = ok && (f->model != FOLDER_MAPPED || can_map(f, option, err));
	optlist_free(l);
	if (!ok) {
		free_folder(f);
		return false;
	}
	if (!folders)
		folders = g_ptr_array_new();
	g_ptr_array_add(folders, f);
	raise_limit();
	return true;
}

void folders_free(void)
{
	while (folders && folders->len) {
		free_folder(folders->pdata[folders->len - 1]);
		g_ptr_array_remove_index(folders, folders->len - 1);
	}
}

/* Finding. */

const char *folder_proc_path(int fd, char buf[32])
{
	snprintf(buf, 32, "/proc/self/fd/%d", fd);
	return buf;
}

static int confined(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
				.mode = flags & O_CREAT ? mode : 0,
				.resolve = CONFINED };
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* A name, and nothing that leads anywhere else. */
static bool is_name(const char *name)
{
	return *name && strcmp(name, ".") && strcmp(name, "..") && !strchr(name, '/');
}

int folder_walk(const struct folder *f, int dir, const char *name)
{
	(void)f;
	return is_name(name) ? confined(dir, name, O_PATH, 0) : -EINVAL;
}

int folder_open_path(const struct folder *f, const char *path)
{
	return confined(f->root, *path ? path : ".", O_PATH, 0);
}

/* Attributes. */

static bool get_number(int fd, const char *name, unsigned size, uint64_t *value)
{
	char proc[32];
	uint8_t raw[8];

	if (getxattr(folder_proc_path(fd, proc), name, raw, sizeof(raw)) != (ssize_t)size)
		return false;
	*value = load_le(raw, size);
	return true;
}

static int set_number(int fd, const char *name, unsigned size, uint64_t value)
{
	char proc[32];
	uint8_t raw[8];

	store_le(raw, value, size);
	return setxattr(folder_proc_path(fd, proc), name, raw, size, 0) ? -errno : 0;
}

int folder_stat(const struct folder *f, int fd, struct stat *st)
{
	uint64_t v;

	if (fstatat(fd, "", st, AT_EMPTY_PATH))
		return -errno;
	if (f->model != FOLDER_MAPPED || S_ISLNK(st->st_mode))
		return 0;
	if (get_number(fd, XATTR_PREFIX "uid", 4, &v))
		st->st_uid = (uid_t)v;
	if (get_number(fd, XATTR_PREFIX "gid", 4, &v))
		st->st_gid = (gid_t)v;
	if (get_number(fd, XATTR_PREFIX "mode", 4, &v))
		st->st_mode = (mode_t)v;
	if (get_number(fd, XATTR_PREFIX "rdev", 8, &v))
		st->st_rdev = (dev_t)v;
	return 0;
}

bool folder_shows_xattr(const struct folder *f, const char *name)
{
	/* The host's own meanings of others are for a guest only where it owns what it touches. */
	return f->model == FOLDER_PASSTHROUGH ||
	       (g_str_has_prefix(name, "user.") && !g_str_has_prefix(name, XATTR_PREFIX));
}

int folder_open(const struct folder *f, int fd, int flags)
{
	char proc[32];
	struct stat st;
	int r;

	/* Never a pipe's or a device's other end: only what has contents of its own. */
	if (fstatat(fd, "", &st, AT_EMPTY_PATH))
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -ENXIO;
	if (f->read_only && (flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	r = open(folder_proc_path(fd, proc),
		 (flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

/* Making entries. */

/* Whose a new file is, as the model has it. */
static int set_owner(const struct folder *f, int fd, mode_t mode, uid_t uid, gid_t gid)
{
	int e;

	if (f->model == FOLDER_MAPPED) {
		e = set_number(fd, XATTR_PREFIX "uid", 4, uid);
		e = e ? e : set_number(fd, XATTR_PREFIX "gid", 4, gid);
		return e ? e : set_number(fd, XATTR_PREFIX "mode", 4, mode);
	}
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) && f->model == FOLDER_PASSTHROUGH)
		return -errno;
	return 0;
}

/* The mode that the host's file gets. */
static mode_t host_mode(const struct folder *f, mode_t mode, mode_t mapped)
{
	return f->model == FOLDER_MAPPED ? mapped : mode & 07777;
}

static bool may_make(const struct folder *f, const char *name, int *e)
{
	*e = f->read_only ? -EROFS : is_name(name) ? 0 : -EINVAL;
	return !*e;
}

/* Gives what was just made its owner, or takes it away again. */
static int finish(const struct folder *f, int dir, const char *name, mode_t mode, uid_t uid,
		  gid_t gid, bool is_dir)
{
	int fd = confined(dir, name, O_PATH, 0), e = fd < 0 ? fd : 0;

	if (!e)
		e = set_owner(f, fd, mode, uid, gid);
	if (e)
		unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0);
	if (fd >= 0)
		close(fd);
	return e;
}

int folder_create(const struct folder *f, int dir, const char *name, int flags, mode_t mode,
		  uid_t uid, gid_t gid)
{
	int e, fd;

	if (!may_make(f, name, &e))
		return e;
	fd = confined(dir, name, flags | O_CREAT | O_EXCL, host_mode(f, mode, 0600));
	if (fd == -EEXIST && !(flags & O_EXCL)) {
		int path = folder_walk(f, dir, name);

		fd = path < 0 ? path : folder_open(f, path, flags);
		if (path >= 0)
			close(path);
		return fd;
	}
	if (fd < 0)
		return fd;
	e = finish(f, dir, name, S_IFREG | (mode & 07777), uid, gid, false);
	if (e) {
		close(fd);
		return e;
	}
	return fd;
}

int folder_mkdir(const struct folder *f, int dir, const char *name, mode_t mode, uid_t uid,
		 gid_t gid)
{
	int e;

	if (!may_make(f, name, &e))
		return e;
	if (mkdirat(dir, name, host_mode(f, mode, 0700)))
		return -errno;
	return finish(f, dir, name, S_IFDIR | (mode & 07777), uid, gid, true);
}

/* A plain file that stands for something else. */
static int make_stand_in(int dir, const char *name, const void *data, size_t len)
{
	int fd = confined(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0600), e = 0;

	if (fd < 0)
		return fd;
	if (len && write(fd, data, len) != (ssize_t)len)
		e = -EIO;
	close(fd);
	if (e)
		unlinkat(dir, name, 0);
	return e;
}

int folder_mknod(const struct folder *f, int dir, const char *name, mode_t mode, dev_t dev,
		 uid_t uid, gid_t gid)
{
	int e;

	if (!may_make(f, name, &e))
		return e;
	if (f->model != FOLDER_MAPPED) {
		if (mknodat(dir, name, mode, dev))
			return -errno;
		return finish(f, dir, name, mode, uid, gid, false);
	}
	e = make_stand_in(dir, name, NULL, 0);
	e = e ? e : finish(f, dir, name, mode, uid, gid, false);
	if (!e && (S_ISCHR(mode) || S_ISBLK(mode))) {
		int fd = confined(dir, name, O_PATH, 0);

		e = fd < 0 ? fd : set_number(fd, XATTR_PREFIX "rdev", 8, dev);
		if (fd >= 0)
			close(fd);
	}
	return e;
}

int folder_symlink(const struct folder *f, int dir, const char *name, const char *target, uid_t uid,
		   gid_t gid)
{
	int e;

	if (!may_make(f, name, &e))
		return e;
	if (f->model != FOLDER_MAPPED) {
		if (symlinkat(target, dir, name))
			return -errno;
		return finish(f, dir, name, S_IFLNK | 0777, uid, gid, false);
	}
	e = make_stand_in(dir, name, target, strlen(target));
	return e ? e : finish(f, dir, name, S_IFLNK | 0777, uid, gid, false);
}

ssize_t folder_readlink(const struct folder *f, int fd, char *buf, size_t size)
{
	ssize_t n = readlinkat(fd, "", buf, size);
	struct stat st;
	int file;

	if (n >= 0)
		return n;
	if (f->model != FOLDER_MAPPED || folder_stat(f, fd, &st) || !S_ISLNK(st.st_mode))
		return -EINVAL;
	file = folder_open(f, fd, O_RDONLY);
	if (file < 0)
		return file;
	n = read(file, buf, size);
	n = n < 0 ? -errno : n;
	close(file);
	return n;
}

int folder_link(const struct folder *f, int fd, int dir, const char *name)
{
	char proc[32];
	int e;

	if (!may_make(f, name, &e))
		return e;
	return linkat(AT_FDCWD, folder_proc_path(fd, proc), dir, name, AT_SYMLINK_FOLLOW) ? -errno
											  : 0;
}

/* Changing attributes. */

int folder_chmod(const struct folder *f, int fd, mode_t mode)
{
	struct stat st;
	char proc[32];
	int e = f->read_only ? -EROFS : folder_stat(f, fd, &st);

	if (e)
		return e;
	if (f->model == FOLDER_MAPPED)
		return set_number(fd, XATTR_PREFIX "mode", 4,
				  (st.st_mode & S_IFMT) | (mode & 07777));
	return chmod(folder_proc_path(fd, proc), mode & 07777) ? -errno : 0;
}

int folder_chown(const struct folder *f, int fd, uid_t uid, gid_t gid)
{
	int e = 0;

	if (f->read_only)
		return -EROFS;
	if (f->model == FOLDER_MAPPED) {
		if (uid != (uid_t)-1)
			e = set_number(fd, XATTR_PREFIX "uid", 4, uid);
		if (!e && gid != (gid_t)-1)
			e = set_number(fd, XATTR_PREFIX "gid", 4, gid);
		return e;
	}
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH))
		return f->model == FOLDER_NONE && errno == EPERM ? 0 : -errno;
	return 0;
}

int folder_truncate(const struct folder *f, int fd, uint64_t size)
{
	int file = folder_open(f, fd, O_WRONLY), e;

	if (file < 0)
		return file;
	e = ftruncate(file, (off_t)size) ? -errno : 0;
	close(file);
	return e;
}

int folder_utimes(int fd, const struct timespec times[2])
{
	char proc[32];

	return utimensat(AT_FDCWD, folder_proc_path(fd, proc), times, 0) ? -errno : 0;
}
