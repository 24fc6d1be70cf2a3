/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives: limits on what they do in a second. */
#include "block/drive.h"

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

/* Lets the pool's threads end what they have; what is held back stays. */
static void settle(struct drive *d)
{
	unsigned working;

	do {
		machine_unlock();
		g_usleep(500);
		machine_lock();
		pthread_mutex_lock(&d->mutex);
		working = d->working;
		pthread_mutex_unlock(&d->mutex);
	} while (working);
	machine_unlock();
	g_usleep(5000);
	machine_lock();
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
