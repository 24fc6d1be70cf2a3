/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives and the pool of threads that works for them: see drive.h. */
#include "block/drive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "block/nbd.h"
#include "core/device.h"
#include "core/log.h"
#include "core/thread.h"

#define POOL_THREADS 16

static GPtrArray *drives;

/* Requests that nobody works on yet, and the threads: as many as are needed at once, kept. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t more;
	struct drive_request *first, **last;
	unsigned waiting, idle, threads; /* waiting: requests */
} pool = { .mutex = PTHREAD_MUTEX_INITIALIZER,
	   .more = PTHREAD_COND_INITIALIZER,
	   .last = &pool.first };

/* Work. */

/*
 * A raw image whose format nobody named must not become, by the guest's hand, one of another
 * format, which would be believed the next time.
 */
static bool would_change_format(struct drive *d, const struct drive_request *r)
{
	uint8_t head[BLOCK_SECTOR] = { 0 };
	size_t n;

	if (!d->block->probed || r->offset)
		return false;
	n = iov_to(r->iov, r->niov, 0, head, sizeof(head));
	for (const struct block_format *const *f = block_formats; *f; f++)
		if ((*f)->probe && (*f)->probe(head, n))
			return true;
	return false;
}

static bool all_zero(const struct drive_request *r)
{
	for (int i = 0; i < r->niov; i++) {
		const uint8_t *p = r->iov[i].iov_base;
		size_t n = r->iov[i].iov_len;

		if (n && (p[0] || memcmp(p, p + 1, n - 1)))
			return false;
	}
	return true;
}

static int write_request(struct drive *d, struct drive_request *r)
{
	int e;

	if (would_change_format(d, r)) {
		log_write("drive '%s': the guest wrote what makes the image look like another "
			  "format; refused. Name the format: format=raw",
			  d->id);
		return -EPERM;
	}
	if (d->detect_zeroes && r->len >= 4096 && all_zero(r))
		e = block_write_zeroes(d->block, r->offset, r->len, d->unmap_detected);
	else
		e = block_writev(d->block, r->offset, r->iov, r->niov);
	return e || !(d->writethrough || r->fua) ? e : block_flush(d->block);
}

static int clear_request(struct drive *d, struct drive_request *r)
{
	const struct drive_range whole = { r->offset, r->len, false };
	int e = 0;

	for (unsigned i = 0; i < MAX_OF(r->nranges, 1u) && !e; i++) {
		const struct drive_range *g = r->nranges ? &r->ranges[i] : &whole;

		e = r->op == DRIVE_DISCARD
			    ? block_discard(d->block, g->offset, g->len)
			    : block_write_zeroes(d->block, g->offset, g->len, g->unmap);
	}
	return e || !r->fua ? e : block_flush(d->block);
}

static int work(struct drive *d, struct drive_request *r)
{
	if (!d->block)
		return -ENOMEDIUM;
	switch (r->op) {
	case DRIVE_READ:
		return block_readv(d->block, r->offset, r->iov, r->niov);
	case DRIVE_WRITE:
		return write_request(d, r);
	case DRIVE_FLUSH:
		return block_flush(d->block);
	default:
		return clear_request(d, r);
	}
}

static void count_down(struct drive *d, unsigned *count)
{
	pthread_mutex_lock(&d->mutex);
	if (--*count == 0)
		pthread_cond_broadcast(&d->quiet);
	pthread_mutex_unlock(&d->mutex);
}

/* The drive's lock, for threads of the pool. */
static void lock_drive(struct drive *d)
{
	if (d->iothread)
		iothread_lock(d->iothread);
	else
		machine_lock();
}

static void unlock_drive(struct drive *d)
{
	if (d->iothread)
		iothread_unlock(d->iothread);
	else
		machine_unlock();
}

/* The drive's lock is held; it is given up. */
static void tell_done(struct drive *d, struct drive_request *r)
{
	enum drive_op op = r->op;
	uint64_t len = r->nranges ? 0 : r->len;

	for (unsigned i = 0; i < r->nranges; i++)
		len += r->ranges[i].len;
	d->stats.ops[op]++;
	d->stats.bytes[op] += len;
	d->stats.failed[op] += r->error != 0;
	r->done(r, r->error);
	unlock_drive(d);
	count_down(d, &d->in_flight);
}

static void run_request(struct drive_request *r)
{
	struct drive *d = r->drive;

	if (!r->worked) {
		r->error = work(d, r);
		count_down(d, &d->working);
	}
	lock_drive(d);
	tell_done(d, r);
}

static void *pool_thread(void *unused)
{
	prctl(PR_SET_NAME, "drive-pool");
	pthread_mutex_lock(&pool.mutex);
	for (;;) {
		struct drive_request *r;

		pool.idle++;
		while (!pool.first)
			pthread_cond_wait(&pool.more, &pool.mutex);
		pool.idle--;
		pool.waiting--;
		r = pool.first;
		pool.first = r->next;
		if (!pool.first)
			pool.last = &pool.first;
		pthread_mutex_unlock(&pool.mutex);
		run_request(r);
		pthread_mutex_lock(&pool.mutex);
	}
	return unused;
}

/* One more if all are at work; the first must come to be, the others may fail to. */
static void add_thread(void)
{
	pthread_t t;

	if (!thread_start(&t, pool_thread, NULL)) {
		pthread_detach(t);
		pool.threads++;
	}
	assert(pool.threads);
}

static void pool_push(struct drive_request *r)
{
	r->next = NULL;
	pthread_mutex_lock(&pool.mutex);
	*pool.last = r;
	pool.last = &r->next;
	if (++pool.waiting > pool.idle && pool.threads < POOL_THREADS)
		add_thread();
	pthread_cond_signal(&pool.more);
	pthread_mutex_unlock(&pool.mutex);
}

/* A request of the drive's that nobody works on yet. */
static struct drive_request *pool_take(struct drive *d)
{
	struct drive_request **p = &pool.first, *r;

	pthread_mutex_lock(&pool.mutex);
	while (*p && ((*p)->drive != d || (*p)->worked))
		p = &(*p)->next;
	r = *p;
	if (r) {
		*p = r->next;
		if (pool.last == &r->next)
			pool.last = p;
		pool.waiting--;
	}
	pthread_mutex_unlock(&pool.mutex);
	return r;
}

/* Works in the pool's place, which tells of it later. */
static void work_here(struct drive *d, struct drive_request *r)
{
	r->error = work(d, r);
	r->worked = true;
	count_down(d, &d->working);
	pool_push(r);
}

/*
 * The ring's thread must not wait for a lock, whose holder may wait for what comes behind this in
 * the ring: then, and for what the ring could not do whole, there is the pool. To give up an I/O
 * thread's lock may take the machine lock.
 */
static void ring_done(struct uring_io *io, int result)
{
	struct drive_request *r = container_of(io, struct drive_request, uring);
	struct drive *d = r->drive;

	block_direct_end(&r->direct);
	if (result < 0 || (uint64_t)result != r->len) {
		pool_push(r);
		/* Who waits for the drive may have to do it. */
		pthread_mutex_lock(&d->mutex);
		pthread_cond_broadcast(&d->quiet);
		pthread_mutex_unlock(&d->mutex);
		return;
	}
	r->error = 0;
	r->worked = true;
	count_down(d, &d->working);
	if (!d->iothread && machine_try_lock())
		tell_done(d, r);
	else
		pool_push(r);
}

static bool give_to_ring(struct drive *d, struct drive_request *r)
{
	bool write = r->op == DRIVE_WRITE;
	bool sync =
		write && (d->writethrough || r->fua) && !(d->block && d->block->options.no_flush);

	if (!d->uring || !d->block || (!write && r->op != DRIVE_READ) ||
	    (write && (d->detect_zeroes || d->block->probed)) ||
	    !block_direct_begin(&r->direct, d->block, write, r->offset, r->iov, r->niov))
		return false;
	r->uring.done = ring_done;
	if (uring_submit(&r->uring, r->direct.fd, write, r->direct.host, r->iov, r->niov, sync))
		return true;
	block_direct_end(&r->direct);
	return false;
}

static void hand_over(struct drive *d, struct drive_request *r)
{
	r->worked = false;
	pthread_mutex_lock(&d->mutex);
	d->working++;
	pthread_mutex_unlock(&d->mutex);
	if (!give_to_ring(d, r))
		pool_push(r);
}

/* Throttling: requests keep their order while they wait. */

static bool is_limited(const struct drive *d, const struct drive_request *r)
{
	return (r->op == DRIVE_READ || r->op == DRIVE_WRITE) && throttle_is_on(&d->throttle) &&
	       !d->draining;
}

static bool may_go(struct drive *d, struct drive_request *r)
{
	int64_t now = clock_ns(&d->machine->clocks[CLOCK_RT]), wait;

	if (is_limited(d, r)) {
		if (!throttle_may_go(&d->throttle, now, r->op == DRIVE_WRITE, &wait)) {
			timer_arm(&d->timer, now + wait);
			return false;
		}
		throttle_count(&d->throttle, r->op == DRIVE_WRITE, r->len);
	}
	return true;
}

static struct drive_request *next_held(struct drive *d)
{
	struct drive_request *r = d->held;

	d->held = r->next;
	if (!d->held)
		d->last_held = &d->held;
	return r;
}

static void time_has_come(void *opaque, int64_t late_ns)
{
	struct drive *d = opaque;

	(void)late_ns;
	iothread_lock(d->iothread);
	while (d->held && may_go(d, d->held))
		hand_over(d, next_held(d));
	iothread_unlock(d->iothread);
}

/* Whoever waits for the drive does not wait for its limits. */
static void let_all_go(struct drive *d)
{
	timer_cancel(&d->timer);
	while (d->held)
		hand_over(d, next_held(d));
}

void drive_set_throttle(struct drive *d, const struct throttle *t)
{
	iothread_lock(d->iothread);
	d->throttle = (struct throttle) { 0 };
	memcpy(d->throttle.rate, t->rate, sizeof(t->rate));
	memcpy(d->throttle.burst, t->burst, sizeof(t->burst));
	d->throttle.last_ns = clock_ns(&d->machine->clocks[CLOCK_RT]);
	iothread_unlock(d->iothread);
	time_has_come(d, 0);
}

void drive_submit(struct drive *d, struct drive_request *r)
{
	r->drive = d;
	pthread_mutex_lock(&d->mutex);
	d->in_flight++;
	pthread_mutex_unlock(&d->mutex);
	if (!d->held && may_go(d, r)) {
		hand_over(d, r);
		return;
	}
	r->next = NULL;
	*d->last_held = r;
	d->last_held = &r->next;
}

static void wait_for(struct drive *d, const unsigned *count)
{
	pthread_mutex_lock(&d->mutex);
	while (*count)
		pthread_cond_wait(&d->quiet, &d->mutex);
	pthread_mutex_unlock(&d->mutex);
}

/*
 * All threads of the pool may be waiting for the lock that the caller holds, to tell of what they
 * have done: what they would do next is done here.
 */
void drive_quiesce(struct drive *d)
{
	struct drive_request *r;

	let_all_go(d);
	pthread_mutex_lock(&d->mutex);
	while (d->working) {
		r = pool_take(d);
		if (!r) {
			pthread_cond_wait(&d->quiet, &d->mutex);
			continue;
		}
		pthread_mutex_unlock(&d->mutex);
		work_here(d, r);
		pthread_mutex_lock(&d->mutex);
	}
	pthread_mutex_unlock(&d->mutex);
}

static bool is_idle(struct drive *d)
{
	bool idle;

	pthread_mutex_lock(&d->mutex);
	idle = !d->in_flight;
	pthread_mutex_unlock(&d->mutex);
	return idle;
}

/* Returns with the drive's lock held, so that nothing new comes. */
static void drain_and_lock(struct drive *d)
{
	iothread_lock(d->iothread);
	d->draining++;
	while (!is_idle(d)) {
		let_all_go(d);
		iothread_unlock(d->iothread);
		machine_unlock();
		wait_for(d, &d->in_flight);
		machine_lock();
		iothread_lock(d->iothread);
	}
	d->draining--;
}

void drive_drain(struct drive *d)
{
	drain_and_lock(d);
	iothread_unlock(d->iothread);
}

struct drive_stats drive_get_stats(struct drive *d)
{
	struct drive_stats s;

	iothread_lock(d->iothread);
	s = d->stats;
	iothread_unlock(d->iothread);
	return s;
}

void drives_drain_all(void)
{
	for (guint i = 0; drives && i < drives->len; i++)
		drive_drain(drives->pdata[i]);
}

struct event {
	struct machine *machine;
	const char *name;
	char *data;
};

static void tell(void *opaque)
{
	struct event *e = opaque;

	machine_event(e->machine, e->name, e->data);
	g_free(e->data);
	g_free(e);
}

/* Takes the data. The machine lock may not be held yet. */
static void tell_soon(struct drive *d, const char *name, char *data)
{
	struct event *e = g_new(struct event, 1);

	*e = (struct event) { d->machine, name, data };
	iothread_defer(d->iothread, tell, e);
}

void drive_tray_moved(struct drive *d, bool open)
{
	tell_soon(d, "DEVICE_TRAY_MOVED",
		  g_strdup_printf("{\"device\": \"%s\", \"id\": \"%s\", \"tray-open\": %s}", d->id,
				  d->user_name ? d->user_name : d->id, open ? "true" : "false"));
}

enum drive_on_error drive_failed(struct drive *d, enum drive_op op, int e)
{
	bool read = op == DRIVE_READ;
	enum drive_on_error action = read ? d->rerror : d->werror;
	static const char *const names[] = { "report", "ignore", "stop", "stop" };

	if (action == ON_ERROR_ENOSPC)
		action = e == -ENOSPC ? ON_ERROR_STOP : ON_ERROR_REPORT;
	tell_soon(d, "BLOCK_IO_ERROR",
		  g_strdup_printf("{\"device\": \"%s\", \"operation\": \"%s\", \"action\": \"%s\", "
				  "\"nospace\": %s, \"reason\": \"%s\"}",
				  d->id, read ? "read" : "write", names[action],
				  e == -ENOSPC ? "true" : "false", strerror(-e)));
	if (action == ON_ERROR_STOP) {
		fprintf(stderr, "moa: drive '%s': cannot %s: %s; the VM stops until `cont`\n",
			d->id, read ? "read" : "write", strerror(-e));
		machine_request(d->machine, REQ_IO_ERROR);
	}
	return action;
}

/* Making. */

/* Everything that was handed over is done, and on the disk, before the VM counts as stopped. */
static void run_changed(void *opaque, bool running)
{
	struct drive *d = opaque;

	if (running)
		return;
	drive_drain(d);
	if (d->block)
		block_flush(d->block);
}

/* A qcow2 image over the user's, which is unlinked at once: it ends with its last descriptor. */
static struct block *open_snapshot(const struct drive_options *o, GError **err)
{
	struct block_options base = o->block, top = o->block;
	struct block_create_options create = { 0 };
	g_autofree char *full =
		nbd_is_url(o->file) ? g_strdup(o->file) : g_canonicalize_filename(o->file, NULL);
	g_autofree char *path = NULL;
	struct block *b, *image = NULL;
	int fd;

	base.read_only = true;
	b = block_open(o->file, &base, err);
	if (!b)
		return NULL;
	create.size = b->size;
	create.backing_file = full;
	create.backing_format = b->format->name;
	fd = g_file_open_tmp("moa-snapshot-XXXXXX", &path, err);
	if (fd >= 0) {
		close(fd);
		top.format = "qcow2";
		top.read_only = false;
		top.direct = false;
		if (block_create("qcow2", path, &create, err))
			image = block_open(path, &top, err);
		unlink(path);
	}
	block_close(b);
	return image;
}

static struct drive *add(struct machine *m, const struct drive_options *o)
{
	struct drive *d = g_new0(struct drive, 1);

	if (!drives)
		drives = g_ptr_array_new();
	d->id = g_strdup(o->id);
	d->serial = g_strdup(o->serial);
	d->machine = m;
	d->rerror = o->rerror;
	d->werror = o->werror;
	d->read_only = o->block.read_only && !o->snapshot;
	d->cdrom = o->cdrom;
	d->removable = o->cdrom || o->removable;
	d->writethrough = o->writethrough;
	d->detect_zeroes = o->detect_zeroes;
	d->unmap_detected = o->unmap_detected;
	d->uring = o->uring;
	pthread_mutex_init(&d->mutex, NULL);
	pthread_cond_init(&d->quiet, NULL);
	d->last_held = &d->held;
	timer_init(&d->timer, &m->clocks[CLOCK_RT], "throttle", time_has_come, d);
	drive_set_throttle(d, &o->throttle);
	d->listener = (struct machine_listener) { .run_changed = run_changed, .opaque = d };
	machine_listen(m, &d->listener);
	g_ptr_array_add(drives, d);
	return d;
}

struct drive *drive_new(struct machine *m, const struct drive_options *o, GError **err)
{
	struct block *b = o->uring && !uring_start(err) ? NULL
			  : o->snapshot			? open_snapshot(o, err)
							: block_open(o->file, &o->block, err);
	struct drive *d;

	if (!b)
		return NULL;
	if (b->probed && !o->block.read_only)
		fprintf(stderr,
			"moa: %s: '%s' is taken for a raw image, as nobody named its format; "
			"writes "
			"to its first sector are limited: say format=raw\n",
			b->label, b->path);
	d = add(m, o);
	d->block = b;
	return d;
}

struct drive *drive_new_empty(struct machine *m, const struct drive_options *o)
{
	return add(m, o);
}

struct drive *drive_find(const char *id)
{
	for (guint i = 0; drives && i < drives->len; i++)
		if (!strcmp(((struct drive *)drives->pdata[i])->id, id))
			return drives->pdata[i];
	return NULL;
}

struct drive *drive_nth(unsigned n)
{
	return drives && n < drives->len ? drives->pdata[n] : NULL;
}

bool drive_attach(struct drive *d, const void *device, const char *name, GError **err)
{
	if (d->user && d->user != device)
		return error(err, "%s: drive '%s' belongs to another device", name, d->id);
	d->user = device;
	g_free(d->user_name);
	d->user_name = g_strdup(name);
	return true;
}

bool drive_become_cdrom(struct drive *d, const char *device, GError **err)
{
	if (!d->cdrom && !d->read_only)
		return error(err,
			     "%s: drive '%s' is a disk that can be written: say media=cdrom, or "
			     "read-only=on",
			     device, d->id);
	d->cdrom = d->removable = true;
	return true;
}

struct drive *drive_of_device(void *device, const char *id, bool cdrom, GError **err)
{
	const char *name = device_name(device);
	struct drive_options empty = { .id = name, .cdrom = true, .block.read_only = true };
	struct drive *d = id ? drive_find(id) : NULL;

	if (!id && cdrom && !drive_find(name))
		d = drive_new_empty(((struct device *)device)->machine, &empty);
	if (!d) {
		error(err, "%s: no drive '%s'; make it with -drive if=none,id=ID,file=FILE", name,
		      id ? id : "");
		return NULL;
	}
	if (!d->block && !cdrom) {
		error(err, "%s: drive '%s' has no medium, and a disk needs one", name, id);
		return NULL;
	}
	return drive_attach(d, device, name, err) ? d : NULL;
}

struct drive_tray drive_tray(struct drive *d)
{
	struct drive_tray t = { 0 };

	iothread_lock(d->iothread);
	if (d->tray)
		t = d->tray(d->opaque);
	iothread_unlock(d->iothread);
	return t;
}

bool drive_change_medium(struct drive *d, const char *file, const char *format, bool force,
			 GError **err)
{
	struct block_options o = { .label = d->id, .format = format, .read_only = d->read_only };
	struct block *b = NULL;

	if (!d->removable)
		return error(err, "drive '%s' has no medium that could be taken out", d->id);
	if (!force && drive_tray(d).locked)
		return error(err,
			     "drive '%s': the guest has locked the tray: have it eject the disc, "
			     "or force it",
			     d->id);
	if (file) {
		b = block_open(file, &o, err);
		if (!b)
			return false;
	}
	drain_and_lock(d);
	block_close(d->block);
	d->block = b;
	if (d->medium_changed)
		d->medium_changed(d->opaque);
	iothread_unlock(d->iothread);
	return true;
}

bool drive_resize(struct drive *d, uint64_t size, GError **err)
{
	bool ok;

	if (!d->block || d->removable)
		return error(err, "drive '%s' has no image that could change its size", d->id);
	if (size < d->block->size)
		return error(err,
			     "drive '%s' has %" G_GUINT64_FORMAT " bytes; it cannot become smaller "
			     "under a guest",
			     d->id, d->block->size);
	drain_and_lock(d);
	ok = block_resize(d->block, align_up(size, BLOCK_SECTOR), err);
	if (ok && d->resized)
		d->resized(d->opaque);
	iothread_unlock(d->iothread);
	return ok;
}

void drives_free(struct machine *m)
{
	for (guint i = drives ? drives->len : 0; i-- > 0;) {
		struct drive *d = drives->pdata[i];

		if (d->machine != m)
			continue;
		timer_cancel(&d->timer);
		g_ptr_array_remove_index(drives, i);
		machine_unlisten(m, &d->listener);
		block_close(d->block);
		pthread_mutex_destroy(&d->mutex);
		pthread_cond_destroy(&d->quiet);
		g_free(d->id);
		g_free(d->serial);
		g_free(d->user_name);
		g_free(d);
	}
}
