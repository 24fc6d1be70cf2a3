/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives: limits on what they do in a second; the ring beside the pool. */
#include "block/drive.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/rig.h"

static unsigned ended;

static void done(struct drive_request *r, int error)
{
	(void)r;
	CHECK_EQ(error, 0);
	ended++;
}

#define BYTES 4096
static struct drive_request requests[400];
static uint8_t buffers[400][BYTES];
static struct iovec iov[400];

static void submit(struct drive *d, unsigned from, unsigned n, enum drive_op op)
{
	for (unsigned i = from; i < from + n; i++) {
		iov[i] = (struct iovec) { buffers[i], BYTES };
		requests[i] = (struct drive_request) {
			.op = op, .len = BYTES, .iov = &iov[i], .niov = 1, .done = done
		};
		drive_submit(d, &requests[i]);
	}
}

static unsigned count_held(const struct drive *d)
{
	unsigned n = 0;

	for (const struct drive_request *q = d->held; q; q = q->next)
		n++;
	return n;
}

/* Until every request is told of but those that are held back. */
static void settle(struct drive *d)
{
	bool settled;

	do {
		machine_unlock();
		g_usleep(500);
		machine_lock();
		pthread_mutex_lock(&d->mutex);
		settled = d->in_flight == count_held(d);
		pthread_mutex_unlock(&d->mutex);
	} while (!settled);
}

BENCH(drive_operations_are_limited)
{
	struct drive *d = rig_drive(r, MIB, true, false);
	struct throttle t = { .rate = { [IOPS_TOTAL] = 100 } };

	drive_set_throttle(d, &t);
	submit(d, 0, 300, DRIVE_WRITE);
	settle(d);
	CHECK_EQ(ended, 11); /* a tenth of a second's, and the one that makes it overflow */
	rig_step(r, 1000000000);
	settle(d);
	CHECK(ended >= 110 && ended <= 112);
	/* Without a limit the rest goes at once. */
	drive_set_throttle(d, &(struct throttle) { 0 });
	settle(d);
	CHECK_EQ(ended, 300);
}

BENCH(drive_bytes_are_limited_one_way)
{
	struct drive *d = rig_drive(r, MIB, true, false);
	struct throttle t = { .rate = { [BPS_WRITE] = 40960 }, .burst = { [BPS_WRITE] = 81920 } };

	drive_set_throttle(d, &t);
	submit(d, 0, 50, DRIVE_READ);
	settle(d);
	CHECK_EQ(ended, 50);
	submit(d, 50, 50, DRIVE_WRITE);
	settle(d);
	CHECK_EQ(ended, 50 + 21);
	/* A flush keeps its place behind them. */
	submit(d, 100, 1, DRIVE_FLUSH);
	settle(d);
	CHECK_EQ(ended, 50 + 21);
	/* Whoever waits for the drive does not wait for that. */
	drive_drain(d);
	CHECK_EQ(ended, 101);
}

/* Random work, many requests at once, against memory. */

#define DISK_BYTES (8 * MIB)
#define SLOTS 48
#define MOST_SECTORS 64u

struct slot {
	struct drive_request io;
	struct iovec iov[3];
	uint8_t data[MOST_SECTORS * BLOCK_SECTOR];
	uint64_t first, n; /* sectors */
	bool busy, write;
};
static struct slot slots[SLOTS];
static uint8_t memory[DISK_BYTES];
static unsigned busy, by_ring;

static bool overlaps(const struct slot *s)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct slot *o = &slots[i];

		if (o != s && o->busy && o->first < s->first + s->n && s->first < o->first + o->n)
			return true;
	}
	return false;
}

static void slot_done(struct drive_request *io, int error)
{
	struct slot *s = container_of(io, struct slot, io);

	CHECK_EQ(error, 0);
	if (io->op == DRIVE_READ)
		CHECK(!memcmp(s->data, memory + s->first * BLOCK_SECTOR, s->n * BLOCK_SECTOR));
	by_ring += io->worked;
	s->busy = false;
	busy--;
}

static void begin(struct drive *d, struct slot *s)
{
	size_t len, cut;

	do {
		s->n = 1 + (uint64_t)random() % MOST_SECTORS;
		s->first = (uint64_t)random() % (DISK_BYTES / BLOCK_SECTOR - s->n);
	} while (overlaps(s));
	len = s->n * BLOCK_SECTOR;
	cut = (size_t)random() % len;
	s->iov[0] = (struct iovec) { s->data, cut };
	s->iov[1] = (struct iovec) { s->data + cut, 0 };
	s->iov[2] = (struct iovec) { s->data + cut, len - cut };
	s->io = (struct drive_request) { .op = random() % 8
						       ? (random() & 1 ? DRIVE_READ : DRIVE_WRITE)
					       : random() & 1 ? DRIVE_ZERO
							      : DRIVE_FLUSH,
					 .fua = random() % 4 == 0,
					 .offset = s->first * BLOCK_SECTOR,
					 .len = len,
					 .iov = s->iov,
					 .niov = 3,
					 .done = slot_done };
	if (s->io.op == DRIVE_WRITE) {
		memset(s->data, (int)random(), len);
		store_le(s->data, (uint64_t)random(), 8);
		memcpy(memory + s->first * BLOCK_SECTOR, s->data, len);
	} else if (s->io.op == DRIVE_ZERO) {
		memset(memory + s->first * BLOCK_SECTOR, 0, len);
	}
	s->busy = true;
	busy++;
	drive_submit(d, &s->io);
}

static void random_work(struct rig *r, const char *format, bool ring, struct iothread *t)
{
	struct block_create_options create = { .size = DISK_BYTES };
	g_autofree char *id = g_strdup_printf("%s-%d-%d", format, ring, t != NULL);
	struct drive_options o = { .id = id, .block = { .format = format, .label = id } };
	g_autofree char *path = NULL;
	GError *err = NULL;
	struct drive *d;

	close(g_file_open_tmp("moa-ring-XXXXXX", &path, NULL));
	CHECK(block_create(format, path, &create, NULL));
	o.file = path;
	o.uring = ring;
	d = drive_new(&r->m, &o, &err);
	unlink(path);
	if (!d)
		test_skip("%s", err->message);
	d->iothread = t;
	memset(memory, 0, sizeof(memory));
	by_ring = 0;
	for (unsigned k = 0; k < 400; k++) {
		iothread_lock(t);
		for (unsigned i = 0; i < SLOTS; i++)
			if (!slots[i].busy)
				begin(d, &slots[i]);
		/* As a reset does it: nothing works on memory after this. */
		if (k % 16 == 0)
			drive_quiesce(d);
		iothread_unlock(t);
		if (k % 3 == 0)
			drive_drain(d);
		machine_unlock();
		if (k % 5 == 0)
			g_usleep(300);
		machine_lock();
	}
	drive_drain(d);
	CHECK_EQ(busy, 0);
	CHECK(ring ? by_ring > 500 : true);
	CHECK(drive_get_stats(d).ops[DRIVE_READ] > 500);
}

BENCH(drive_pool_agrees_with_memory)
{
	random_work(r, "raw", false, NULL);
	random_work(r, "qcow2", false, NULL);
}

BENCH(drive_ring_agrees_with_memory)
{
	random_work(r, "raw", true, NULL);
	random_work(r, "qcow2", true, NULL);
}

BENCH(drive_ring_agrees_with_memory_in_an_iothread)
{
	CHECK(iothread_new("ring", NULL));
	random_work(r, "raw", true, iothread_find("ring"));
	random_work(r, "qcow2", true, iothread_find("ring"));
}
