/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest's programs do: each row runs one kind of work for a fixed number of rounds and
 * prints its name and nanoseconds. Built statically; see compute.py.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t sink;

static void integer(void)
{
	uint64_t x = 1, sum = 0;

	for (unsigned i = 0; i < 60000000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		sum += x % 1000;
	}
	sink = sum;
}

static void sieve(void)
{
	enum { N = 4000000 };
	static uint8_t composite[N];
	unsigned count = 0;

	for (unsigned round = 0; round < 4; round++) {
		memset(composite, 0, N);
		for (unsigned i = 2; i < N; i++) {
			if (composite[i])
				continue;
			count++;
			for (unsigned k = 2 * i; k < N; k += i)
				composite[k] = 1;
		}
	}
	sink = count;
}

static void matrix(void)
{
	enum { N = 200 };
	static double a[N][N], b[N][N], c[N][N];

	for (unsigned i = 0; i < N * N; i++) {
		a[0][i] = i % 7;
		b[0][i] = i % 5;
	}
	for (unsigned round = 0; round < 8; round++)
		for (unsigned i = 0; i < N; i++)
			for (unsigned k = 0; k < N; k++)
				for (unsigned j = 0; j < N; j++)
					c[i][j] += a[i][k] * b[k][j];
	sink = (uint64_t)c[10][10];
}

static __attribute__((noinline)) unsigned fibonacci(unsigned n)
{
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static void calls(void)
{
	sink = fibonacci(34);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void sort(void)
{
	enum { N = 400000 };
	static uint32_t v[N];
	uint32_t x = 1;

	for (unsigned i = 0; i < N; i++)
		v[i] = x = x * 1664525 + 1013904223;
	qsort(v, N, sizeof(v[0]), compare);
	sink = v[N / 2];
}

static uint64_t op_add(uint64_t a)
{
	return a + 3;
}
static uint64_t op_xor(uint64_t a)
{
	return a ^ 0x55;
}
static uint64_t op_rot(uint64_t a)
{
	return a << 1 | a >> 63;
}
static uint64_t op_mul(uint64_t a)
{
	return a * 5;
}

static void indirect(void)
{
	static uint64_t (*const ops[])(uint64_t) = { op_add, op_xor, op_rot, op_mul };
	uint64_t a = 1;

	for (unsigned i = 0; i < 30000000; i++)
		a = ops[(a >> 3 ^ i) & 3](a);
	sink = a;
}

static void copy(void)
{
	enum { N = 4 << 20 };
	char *a = malloc(N), *b = malloc(N);

	memset(a, 1, N);
	for (unsigned i = 0; i < 200; i++)
		memcpy(i & 1 ? a : b, i & 1 ? b : a, N);
	sink = (uint64_t)b[100];
	free(a);
	free(b);
}

static void chase(void)
{
	enum { N = 1 << 20 };
	static uint32_t next[N];
	uint32_t at = 0;

	for (uint32_t i = 0; i < N; i++)
		next[i] = (i * 16807u + 12345) & (N - 1);
	for (unsigned i = 0; i < 20000000; i++)
		at = next[at];
	sink = at;
}

static void system_calls(void)
{
	for (unsigned i = 0; i < 1000000; i++)
		sink += (uint64_t)getppid();
}

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = { { "integer", integer }, { "sieve", sieve }, { "matrix", matrix },
	     { "calls", calls },     { "sort", sort },	 { "indirect", indirect },
	     { "copy", copy },	     { "chase", chase }, { "syscalls", system_calls } };

int main(void)
{
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct timespec a, b;

		clock_gettime(CLOCK_MONOTONIC, &a);
		rows[i].run();
		clock_gettime(CLOCK_MONOTONIC, &b);
		printf("ROW %s %lld\n", rows[i].name,
		       (long long)(b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec);
		fflush(stdout);
	}
	puts("ROWS DONE");
	return 0;
}
