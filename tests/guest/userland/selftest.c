/* SPDX-License-Identifier: GPL-2.0-or-later */
/* glibc's string and math functions over many inputs; prints a sum of each one's results. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t sum;

static void add(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ ((const uint8_t *)p)[i]) * 0x100000001b3;
}

static void add_number(uint64_t v)
{
	add(&v, sizeof(v));
}

static void line(const char *name)
{
	printf("%s %016llx\n", name, (unsigned long long)sum);
	sum = 0xcbf29ce484222325;
}

static char a[8192], b[8192];

static void strings(void)
{
	for (int i = 0; i < 20000; i++) {
		size_t n = rnd() % 300, x = rnd() % 4000, y = rnd() % 4000;

		for (size_t k = 0; k < n; k++)
			a[x + k] = (char)('a' + rnd() % 3);
		a[x + n] = 0;
		memcpy(b + y, a + x, n + 1);
		if (n && rnd() % 2)
			b[y + rnd() % n] ^= (char)(rnd() % 4);
		add_number(strlen(a + x));
		add_number((uint64_t)(strcmp(a + x, b + y) < 0));
		add_number((uint64_t)(memcmp(a + x, b + y, n) > 0));
		add_number((uint64_t)(strchr(b + y, 'b') ? strchr(b + y, 'b') - b : -1));
		add_number((uint64_t)(strrchr(b + y, 'c') ? strrchr(b + y, 'c') - b : -1));
		add_number((uint64_t)(strstr(a + x, "abca") ? strstr(a + x, "abca") - a : -1));
		add_number(strspn(a + x, "ab"));
		add_number(strcspn(a + x, "c"));
		add_number(
			(uint64_t)(memchr(b, 'c', 5000) ? (char *)memchr(b, 'c', 5000) - b : -1));
		memmove(a + x + rnd() % 64, a + x, n);
		memset(b + rnd() % 4000, (int)rnd() % 5 + 'a', rnd() % 500);
	}
	add(a, sizeof(a));
	add(b, sizeof(b));
	line("strings");
}

static void doubles(void)
{
	static double (*const one[])(
		double) = { sin, cos,	 tan,	 asin,	acos, atan,  sinh,  cosh,      tanh,
			    exp, exp2,	 expm1,	 log,	log2, log10, log1p, sqrt,      cbrt,
			    erf, lgamma, tgamma, floor, ceil, trunc, rint,  nearbyint, round };
	static double (*const two[])(double, double) = { pow,	    atan2, hypot,     fmod,
							 remainder, fdim,  nextafter, copysign };

	for (int i = 0; i < 3000; i++) {
		double x = (double)(int64_t)rnd() / 1e17, y = (double)(int64_t)rnd() / 1e18;

		for (size_t k = 0; k < sizeof(one) / sizeof(*one); k++) {
			double v = one[k](k >= 3 && k < 5 ? y / 10 : x);

			if (v == v)
				add(&v, 8);
		}
		for (size_t k = 0; k < sizeof(two) / sizeof(*two); k++) {
			double v = two[k](x, y);

			if (v == v)
				add(&v, 8);
		}
		add_number((uint64_t)llrint(x));
		double f = fma(x, y, x);
		add(&f, 8);
	}
	line("doubles");
}

static void floats(void)
{
	for (int i = 0; i < 5000; i++) {
		float x = (float)(int32_t)rnd() / 1e8f, y = (float)(int32_t)rnd() / 1e9f;
		float v[] = { sinf(x),	      cosf(x),		 expf(x),
			      logf(fabsf(x)), powf(fabsf(x), y), sqrtf(fabsf(x)),
			      atan2f(x, y),   floorf(x),	 fmaf(x, y, x) };

		add(v, sizeof(v));
	}
	line("floats");
}

/* The x87's. */
static void long_doubles(void)
{
	for (int i = 0; i < 2000; i++) {
		long double x = (long double)(int64_t)rnd() / 1e17L, y = fabsl(x) + 0.5L;
		long double v[] = { sinl(x),   cosl(x),	  tanl(x),  atanl(x),	     expl(x),
				    logl(y),   log10l(y), sqrtl(y), powl(y, x / 50), fmodl(x, 1.7L),
				    floorl(x), rintl(x),  x * y,    x / y,	     x - y };
		char text[64];

		for (size_t k = 0; k < sizeof(v) / sizeof(*v); k++)
			if (v[k] == v[k])
				add(&v[k], 10);
		add(text, (size_t)snprintf(text, sizeof(text), "%.20Lg", x));
		v[0] = strtold(text, NULL);
		add(&v[0], 10);
	}
	line("long doubles");
}

static int compare(const void *p, const void *q)
{
	return *(const int *)p < *(const int *)q ? -1 : *(const int *)p > *(const int *)q;
}

static void integers(void)
{
	static int v[50000];
	char text[128];

	for (int i = 0; i < 50000; i++)
		v[i] = (int)rnd();
	qsort(v, 50000, sizeof(v[0]), compare);
	add(v, sizeof(v));
	for (int i = 0; i < 20000; i++) {
		unsigned __int128 p = (unsigned __int128)rnd() * rnd();
		uint64_t d = rnd() >> rnd() % 60 | 1;
		uint64_t q[] = { (uint64_t)(p / d),
				 (uint64_t)(p % d),
				 (uint64_t)p / d,
				 (uint64_t)((int64_t)p / (int64_t)d),
				 (uint64_t)__builtin_popcountll((uint64_t)p),
				 (uint64_t)__builtin_clzll((uint64_t)p | 1),
				 rnd() << (d & 63) };

		add(q, sizeof(q));
		add(text, (size_t)snprintf(text, sizeof(text), "%lld %x %o %.17g", (long long)q[0],
					   (unsigned)q[1], (unsigned)q[2], (double)(int64_t)q[3]));
	}
	line("integers");
}

int main(void)
{
	sum = 0xcbf29ce484222325;
	strings();
	doubles();
	floats();
	long_doubles();
	integers();
	return 0;
}
