/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest's programs do: each row runs one kind of work for a fixed number of rounds and
 * prints its name and nanoseconds; arguments name the rows to run. Built statically; see
 * compute.py.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
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
		a[i / N][i % N] = i % 7;
		b[i / N][i % N] = i % 5;
	}
	for (unsigned round = 0; round < 20; round++)
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

static void branchy(void)
{
	uint32_t x = 1, a = 0, b = 0, c = 0;

	for (unsigned i = 0; i < 40000000; i++) {
		x = x * 1664525 + 1013904223;
		if (x >> 31)
			a += i;
		else if (x >> 30 & 1)
			b ^= a;
		else if ((x >> 28 & 3) == 1)
			c -= b;
		else
			a = (a << 1) + c;
	}
	sink = a + b + c;
}

static void hash(void)
{
	enum { N = 1 << 16 };
	static uint32_t key[N], value[N];
	uint32_t x = 1;

	for (unsigned i = 0; i < 40000000; i++) {
		uint32_t k, h;

		x = x * 1664525 + 1013904223;
		k = (x >> 8 & 0x7fff) | 1;
		for (h = k * 2654435761u >> 16; key[h] && key[h] != k; h = (h + 1) & (N - 1))
			;
		key[h] = k;
		value[h] += i;
	}
	sink = value[77];
}

/* A little machine of bytes. */
static void interpreter(void)
{
	static const uint8_t program[] = { 0, 3, 1, 5, 2, 4, 3, 1, 0, 7, 5, 2, 6, 4, 7 };
	uint64_t a = 1, b = 2, pc = 0;

	for (unsigned i = 0; i < 40000000; i++) {
		switch (program[pc++]) {
		case 0:
			a += b;
			break;
		case 1:
			b ^= a >> 3;
			break;
		case 2:
			a = a * 3 + 1;
			break;
		case 3:
			b = b << 7 | b >> 57;
			break;
		case 4:
			a -= 11;
			break;
		case 5:
			b += i;
			break;
		case 6:
			a ^= b;
			break;
		default:
			pc = 0;
			break;
		}
	}
	sink = a + b;
}

static void division(void)
{
	uint64_t x = UINT64_MAX, s = 0;

	for (unsigned i = 1; i < 20000000; i++) {
		s += x / i + (uint32_t)i % 13;
		x -= s & 0xffff;
	}
	sink = s;
}

static void float_code(void)
{
	float x = 0.5f, y = 0.25f, s = 0;

	for (unsigned i = 0; i < 40000000; i++) {
		x = x * 0.999f + y * 0.01f;
		y = y * 0.998f - x * 0.02f + 0.003f;
		s += x > y ? x : y;
	}
	sink = (uint64_t)s;
}

typedef float floats __attribute__((vector_size(32)));
static __attribute__((target("avx2,fma"))) void avx(void)
{
	static floats v[1024];
	floats s = { 0 };

	for (unsigned i = 0; i < 1024; i++)
		v[i] = (floats) { (float)i, 1, 2, 3, 4, 5, 6, 7 };
	for (unsigned round = 0; round < 60000; round++)
		for (unsigned i = 0; i < 1024; i++)
			s = s * 0.5f + v[i];
	sink = (uint64_t)s[3];
}

static void x87(void)
{
	long double x = 0.5L, s = 0;

	for (unsigned i = 0; i < 20000000; i++) {
		x = x * 1.0001L + 0.25L / (x + 1);
		s += x > 100 ? (x = 1) : x;
	}
	sink = (uint64_t)s;
}

static void string_instructions(void)
{
	static char a[65536], b[65536];

	for (unsigned i = 0; i < 30000; i++) {
		void *to = b, *from = a;
		size_t n = 1000 + i % 3000, m = n;

		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
		to = b;
		__asm__ volatile("rep stosq" : "+D"(to), "+c"(m) : "a"(i) : "memory");
		to = a;
		n = 1000;
		__asm__ volatile("repne scasb" : "+D"(to), "+c"(n) : "a"(1) : "memory", "cc");
	}
	sink = (uint64_t)b[50];
}

static void atomics(void)
{
	static uint64_t counter;
	uint64_t old;

	for (unsigned i = 0; i < 40000000; i++) {
		__atomic_fetch_add(&counter, i, __ATOMIC_SEQ_CST);
		old = i;
		__atomic_compare_exchange_n(&counter, &old, 5, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST);
	}
	sink = counter;
}

static void pipes(void)
{
	int there[2], back[2];
	char c = 1;

	if (pipe(there) || pipe(back))
		abort();
	if (fork() == 0) {
		while (read(there[0], &c, 1) == 1 && c)
			if (write(back[1], &c, 1) != 1)
				abort();
		_exit(0);
	}
	for (unsigned i = 0; i <= 20000; i++) {
		c = i < 20000;
		if (write(there[1], &c, 1) != 1 || (c && read(back[0], &c, 1) != 1))
			abort();
	}
	wait(NULL);
}

static void forks(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		if (fork() == 0)
			_exit(0);
		wait(NULL);
	}
}

static const char *self;
static void execs(void)
{
	for (unsigned i = 0; i < 300; i++) {
		if (vfork() == 0) {
			execl(self, self, "end", NULL);
			_exit(1);
		}
		wait(NULL);
	}
}

static void page_faults(void)
{
	enum { N = 16 << 20 };

	for (unsigned i = 0; i < 12; i++) {
		char *p = mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (unsigned k = 0; k < N; k += 4096)
			p[k] = 1;
		munmap(p, N);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
	{ "integer", integer },
	{ "branchy", branchy },
	{ "sort", sort },
	{ "hash", hash },
	{ "calls", calls },
	{ "indirect", indirect },
	{ "interpreter", interpreter },
	{ "division", division },
	{ "chase", chase },
	{ "sieve", sieve },
	{ "matrix", matrix },
	{ "float", float_code },
	{ "avx", avx },
	{ "x87", x87 },
	{ "copy", copy },
	{ "strings", string_instructions },
	{ "atomics", atomics },
	{ "syscalls", system_calls },
	{ "pipes", pipes },
	{ "fork", forks },
	{ "exec", execs },
	{ "faults", page_faults },
};

/* Whether a row is to run: all do if none is named. */
static bool wanted(const char *name, char **names)
{
	for (char **n = names; *n; n++)
		if (strcmp(*n, name) == 0)
			return true;
	return !*names;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "end") == 0)
		return 0; /* what `execs` starts */
	if (argc > 1 && strcmp(argv[1], "names") == 0) {
		for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			puts(rows[i].name);
		return 0;
	}
	self = argv[0];
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct timespec a, b;

		if (!wanted(rows[i].name, argv + 1))
			continue;
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
