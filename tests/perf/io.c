/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk work in the guest, timed: "write 1M", "read 1M" in order, "randread 4k", "randwrite 4k",
 * four processes at once, all past the guest's cache. Static; the only argument is the disk.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)
#define SEQUENTIAL_MIB 400
#define RANDOM_REQUESTS 8000
#define WORKERS 4

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void sequential(int fd, char *buf, int write)
{
	for (off_t i = 0; i < SEQUENTIAL_MIB; i++)
		if ((write ? pwrite(fd, buf, MIB, i * MIB) : pread(fd, buf, MIB, i * MIB)) != MIB)
			fail("sequential");
}

static void at_random(int fd, char *buf, int write, unsigned seed, unsigned n)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	while (n--) {
		off_t at;

		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		at = (off_t)((x >> 33) % (SEQUENTIAL_MIB * 256)) * 4096;
		if ((write ? pwrite(fd, buf, 4096, at) : pread(fd, buf, 4096, at)) != 4096)
			fail("random");
	}
}

static void by_several(const char *disk, char *buf, int write)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		if (fork())
			continue;
		at_random(open(disk, O_RDWR | O_DIRECT), buf, write, i, RANDOM_REQUESTS / WORKERS);
		exit(0);
	}
	while (wait(NULL) > 0)
		;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "write 1M",     "read 1M",	       "randread 4k",
					     "randwrite 4k", "randread 4k x4", "randwrite 4k x4" };
	char *buf = aligned_alloc(4096, MIB);
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_DIRECT) : -1;

	if (fd < 0 || !buf)
		fail("disk");
	memset(buf, 0x5a, MIB);
	for (unsigned i = 0; i < 6; i++) {
		double start = now();

		if (i < 2)
			sequential(fd, buf, !i);
		else if (i < 4)
			at_random(fd, buf, i == 3, 1, RANDOM_REQUESTS);
		else
			by_several(argv[1], buf, i == 5);
		if (i & 1 ? i != 1 : i == 0)
			fsync(fd);
		printf("ROW %s: %.3f\n", names[i], now() - start);
	}
	return 0;
}
