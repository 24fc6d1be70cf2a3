/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files and block devices of the host: see file.h. */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/nbd.h"

/* Bytes that are locked: 100 + p where permission p is used, 200 + p where it is denied to others.
 */
#define LOCK_USED 100
#define LOCK_DENIED 200
#define PERM_READ 0 /* consistent data are read */
#define PERM_WRITE 1
#define PERM_RESIZE 3

#define DIRECT_ALIGN 4096u

struct block_file {
	char *path;
	struct nbd *nbd; /* instead of a descriptor */
	int fd;
	bool read_only, device, direct, locked;
	bool no_punch, no_zero; /* the host's file system cannot; set once, from any thread */
};

/* Whether one of the descriptors in /proc/PID/fd is this file. */
static bool has_open(const char *pid, const struct stat *st)
{
	g_autofree char *fds = g_strdup_printf("/proc/%s/fd", pid);
	GDir *dir = g_dir_open(fds, 0, NULL);
	bool found = false;

	for (const char *n = dir ? g_dir_read_name(dir) : NULL; n && !found;
	     n = g_dir_read_name(dir)) {
		g_autofree char *link = g_strdup_printf("%s/%s", fds, n);
		struct stat other;

		found = !stat(link, &other) && other.st_ino == st->st_ino &&
			other.st_dev == st->st_dev;
	}
	if (dir)
		g_dir_close(dir);
	return found;
}

/* Open file description locks name no process, so: whoever has the file open. 0: cannot be told. */
static long lock_holder(int fd)
{
	GDir *proc = g_dir_open("/proc", 0, NULL);
	struct stat st;
	long holder = 0;

	if (proc && !fstat(fd, &st)) {
		for (const char *n = g_dir_read_name(proc); n && !holder; n = g_dir_read_name(proc))
			if (g_ascii_isdigit(*n) && atol(n) != getpid() && has_open(n, &st))
				holder = atol(n);
	}
	if (proc)
		g_dir_close(proc);
	return holder;
}

static int lock_byte(int fd, int command, short type, off_t byte)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, command, &l) ? -errno : 0;
}

/* Nobody else may hold a lock on this byte. */
static bool byte_is_free(int fd, off_t byte)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, F_OFD_GETLK, &l) || l.l_type == F_UNLCK;
}

static bool refuse_lock(struct block_file *f, const struct block_options *o, bool want_write,
			GError **err)
{
	long pid = lock_holder(f->fd);
	g_autofree char *who =
		pid ? g_strdup_printf("process %ld", pid) : g_strdup("another process");

	return error(err, "%s: cannot open '%s'%s: in use by %s (stop it%s)", o->label, f->path,
		     want_write ? " for writing" : "", who,
		     want_write ? ", or add read-only=on if it only reads" : "");
}

/*
 * Takes the shared locks that say what this process does, then looks whether another has said
 * what rules it out.
 */
static bool take_locks(struct block_file *f, const struct block_options *o, bool read_only,
		       GError **err)
{
	static const unsigned perms[] = { PERM_READ, PERM_WRITE, PERM_RESIZE };

	if (o->share)
		return true;
	for (unsigned i = 0; i < ARRAY_LEN(perms); i++) {
		bool used = !perms[i] || !read_only, denied = perms[i] != PERM_READ;
		int e = lock_byte(f->fd, F_OFD_SETLK, used ? F_RDLCK : F_UNLCK,
				  LOCK_USED + perms[i]);

		if (!e)
			e = lock_byte(f->fd, F_OFD_SETLK, denied ? F_RDLCK : F_UNLCK,
				      LOCK_DENIED + perms[i]);
		/* A file system without locks has none to offend. */
		if (e && e != -EAGAIN && e != -EACCES)
			return true;
		if (e)
			return refuse_lock(f, o, !read_only, err);
	}
	for (unsigned i = 0; i < ARRAY_LEN(perms); i++) {
		bool used = !perms[i] || !read_only, denied = perms[i] != PERM_READ;

		if (used && !byte_is_free(f->fd, LOCK_DENIED + perms[i]) && perms[i] != PERM_READ)
			return refuse_lock(f, o, !read_only, err);
		if (denied && !byte_is_free(f->fd, LOCK_USED + perms[i]))
			return refuse_lock(f, o, !read_only, err);
	}
	f->locked = true;
	return true;
}

struct block_file *file_open(const char *path, const struct block_options *o, GError **err)
{
	struct block_file *f = g_new0(struct block_file, 1);
	struct stat st;

	f->path = g_strdup(path);
	f->read_only = o->read_only;
	f->fd = -1;
	if (nbd_is_url(path)) {
		f->nbd = nbd_open(path, o->label, o->read_only, err);
		if (f->nbd)
			return f;
		goto failed;
	}
	if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
		error(err,
		      "%s: '%s' is a folder: the guest gets it by -virtfs local,path=%s,"
		      "mount_tag=TAG,security_model=mapped-xattr",
		      o->label, path, path);
		goto failed;
	}
	f->direct = o->direct;
	f->fd = open(path,
		     (o->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | (o->direct ? O_DIRECT : 0));
	if (f->fd < 0) {
		int e = errno;

		if (e == EACCES && !o->read_only && !access(path, R_OK))
			error(err, "%s: cannot write '%s': %s (add read-only=on, or allow it)",
			      o->label, path, strerror(e));
		else if (e == EINVAL && o->direct)
			error(err,
			      "%s: '%s': the host's file system has no direct I/O: leave "
			      "cache=none, cache.direct=on out",
			      o->label, path);
		else
			error(err, "%s: cannot open '%s': %s", o->label, path, strerror(e));
		goto failed;
	}
	if (fstat(f->fd, &st) || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
		error(err, "%s: '%s' is neither a file nor a block device", o->label, path);
		goto failed;
	}
	f->device = S_ISBLK(st.st_mode);
	if (!take_locks(f, o, o->read_only, err))
		goto failed;
	return f;
failed:
	file_close(f);
	return NULL;
}

void file_close(struct block_file *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	if (f->nbd)
		nbd_shut(f->nbd);
	g_free(f->path);
	g_free(f);
}

bool file_reopen(struct block_file *f, bool read_only, GError **err)
{
	struct block_options o = { .label = "commit", .share = !f->locked };
	int fd;

	if (f->nbd) {
		struct nbd *again = nbd_open(f->path, o.label, read_only, err);

		if (!again)
			return false;
		nbd_shut(f->nbd);
		f->nbd = again;
		f->read_only = read_only;
		return true;
	}
	fd = open(f->path,
		  (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | (f->direct ? O_DIRECT : 0));

	if (fd < 0)
		return error(err, "cannot open '%s' for %s: %s", f->path,
			     read_only ? "reading" : "writing", strerror(errno));
	/* The old description's locks go with it. */
	close(f->fd);
	f->fd = fd;
	f->read_only = read_only;
	return take_locks(f, &o, read_only, err);
}

uint64_t file_size(struct block_file *f)
{
	off_t end = f->nbd ? (off_t)nbd_size(f->nbd) : lseek(f->fd, 0, SEEK_END);

	return end < 0 ? 0 : (uint64_t)end;
}

bool file_is_device(const struct block_file *f)
{
	return f->device || f->nbd;
}

/* One call's worth: Linux takes IOV_MAX elements and 2 GiB. */
static int transfer(struct block_file *f, bool write, uint64_t off, struct iovec *iov, int n)
{
	while (n) {
		ssize_t got = write ? pwritev(f->fd, iov, MIN_OF(n, IOV_MAX), (off_t)off)
				    : preadv(f->fd, iov, MIN_OF(n, IOV_MAX), (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0 && write)
			return -EIO;
		if (got == 0) {
			for (; n; iov++, n--)
				memset(iov->iov_base, 0, iov->iov_len);
			return 0;
		}
		off += (uint64_t)got;
		while (n && (size_t)got >= iov->iov_len) {
			got -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n) {
			iov->iov_base = (uint8_t *)iov->iov_base + got;
			iov->iov_len -= (size_t)got;
		}
	}
	return 0;
}

static bool is_aligned(uint64_t off, const struct iovec *iov, int n)
{
	uint64_t all = off;

	for (int i = 0; i < n; i++)
		all |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return !(all & (DIRECT_ALIGN - 1));
}

int file_descriptor(const struct block_file *f, uint64_t off, const struct iovec *iov, int n)
{
	return f->nbd || n > IOV_MAX || (f->direct && !is_aligned(off, iov, n)) ? -1 : f->fd;
}

/* O_DIRECT wants everything aligned: what is not goes by way of a buffer, with its surroundings. */
static int transfer_unaligned(struct block_file *f, bool write, uint64_t off,
			      const struct iovec *iov, int n)
{
	size_t len = iov_bytes(iov, n);
	uint64_t first = align_down(off, DIRECT_ALIGN), end = align_up(off + len, DIRECT_ALIGN);
	void *buf = aligned_alloc(DIRECT_ALIGN, end - first);
	struct iovec whole = { buf, end - first };
	int e = -ENOMEM;

	if (buf) {
		e = transfer(f, false, first, &whole, 1);
		if (!e && write) {
			iov_to(iov, n, 0, (uint8_t *)buf + (off - first), len);
			whole = (struct iovec) { buf, end - first };
			e = transfer(f, true, first, &whole, 1);
		} else if (!e) {
			iov_from(iov, n, 0, (uint8_t *)buf + (off - first), len);
		}
	}
	free(buf);
	return e;
}

static int any_transfer(struct block_file *f, bool write, uint64_t off, const struct iovec *iov,
			int n)
{
	struct iovec copy[64], *all = n <= (int)ARRAY_LEN(copy) ? copy : g_new(struct iovec, n);
	int e = 0;

	if (f->nbd) {
		for (; n && !e; off += iov->iov_len, iov++, n--)
			e = nbd_transfer(f->nbd, write, off, iov->iov_base, iov->iov_len);
		return e;
	}

	if (f->direct && !is_aligned(off, iov, n)) {
		e = transfer_unaligned(f, write, off, iov, n);
	} else {
		memcpy(all, iov, sizeof(*iov) * (size_t)n);
		e = transfer(f, write, off, all, n);
	}
	if (all != copy)
		g_free(all);
	return e;
}

int file_readv(struct block_file *f, uint64_t off, const struct iovec *iov, int n)
{
	return any_transfer(f, false, off, iov, n);
}

int file_writev(struct block_file *f, uint64_t off, const struct iovec *iov, int n)
{
	return f->read_only ? -EROFS : any_transfer(f, true, off, iov, n);
}

int file_read(struct block_file *f, uint64_t off, void *buf, size_t len)
{
	return file_readv(f, off, &(struct iovec) { buf, len }, 1);
}

int file_write(struct block_file *f, uint64_t off, const void *buf, size_t len)
{
	return file_writev(f, off, &(struct iovec) { (void *)buf, len }, 1);
}

int file_flush(struct block_file *f)
{
	if (f->read_only)
		return 0;
	if (f->nbd)
		return nbd_sync(f->nbd);
	return fdatasync(f->fd) ? -errno : 0;
}

int file_truncate(struct block_file *f, uint64_t size)
{
	if (f->device || f->nbd)
		return size <= file_size(f) ? 0 : -ENOSPC;
	return ftruncate(f->fd, (off_t)size) ? -errno : 0;
}

static int write_zeros(struct block_file *f, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[65536] __attribute__((aligned(4096)));
	int e = 0;

	for (size_t part; len && !e; off += part, len -= part) {
		part = MIN_OF(len, sizeof(zeros));
		e = file_write(f, off, zeros, part);
	}
	return e;
}

int file_zero(struct block_file *f, uint64_t off, uint64_t len, bool unmap)
{
	int e;

	if (f->read_only)
		return -EROFS;
	if (f->nbd) {
		e = nbd_clear(f->nbd, off, len, unmap);
		return e == -ENOTSUP ? write_zeros(f, off, len) : e;
	}
	if (unmap && !__atomic_load_n(&f->no_punch, __ATOMIC_RELAXED)) {
		if (!fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
			       (off_t)len))
			return 0;
		__atomic_store_n(&f->no_punch, true, __ATOMIC_RELAXED);
	}
	if (!__atomic_load_n(&f->no_zero, __ATOMIC_RELAXED)) {
		if (!fallocate(f->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)off,
			       (off_t)len))
			return 0;
		__atomic_store_n(&f->no_zero, true, __ATOMIC_RELAXED);
	}
	return write_zeros(f, off, len);
}

int file_reserve(struct block_file *f, uint64_t off, uint64_t len)
{
	return f->nbd ? -ENOTSUP : posix_fallocate(f->fd, (off_t)off, (off_t)len) ? -errno : 0;
}

bool file_is_hole(struct block_file *f, uint64_t off, uint64_t *len)
{
	off_t data, hole;

	if (f->device || f->nbd)
		return false;
	data = lseek(f->fd, (off_t)off, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO; /* a hole up to the end, and beyond it */
	if ((uint64_t)data > off) {
		*len = MIN_OF(*len, (uint64_t)data - off);
		return true;
	}
	hole = lseek(f->fd, (off_t)off, SEEK_HOLE);
	if (hole > (off_t)off)
		*len = MIN_OF(*len, (uint64_t)hole - off);
	return false;
}

uint64_t file_allocated(struct block_file *f)
{
	struct stat st;

	if (f->nbd)
		return nbd_size(f->nbd);
	return fstat(f->fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

bool file_create(const char *path, uint64_t size, GError **err)
{
	struct block_options o = { .label = "create" };
	struct block_file *f;
	int fd, e = 0;

	if (!nbd_is_url(path)) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return error(err, "cannot create '%s': %s", path, strerror(errno));
		close(fd);
	}
	/* Not while somebody uses it. */
	f = file_open(path, &o, err);
	if (!f)
		return false;
	if (!f->device && !f->nbd)
		e = file_truncate(f, 0);
	e = e ? e : file_truncate(f, size);
	file_close(f);
	return !e || error(err, "cannot make '%s' %" G_GUINT64_FORMAT " bytes long: %s", path, size,
			   strerror(-e));
}
