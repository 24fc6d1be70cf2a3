/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests: TEST(name) { ... CHECK(...); }. Each runs in its own process, so that a crash is one
 * failure. A binary prints "ok NAME", "FAIL NAME" or "SKIP NAME: why"; tests/run adds them up.
 * Arguments are globs of names to run.
 */
#pragma once

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/compiler.h"

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};
void test_register(struct test *t);
void test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));
void test_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#define TEST_NAMED(id, text)                                                                       \
	static void test_##id(void);                                                               \
	static struct test entry_##id = { text, test_##id, NULL };                                 \
	__attribute__((constructor)) static void add_##id(void)                                    \
	{                                                                                          \
		test_register(&entry_##id);                                                        \
	}                                                                                          \
	static void test_##id(void)
#define TEST(id) TEST_NAMED(id, #id)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			test_fail(__FILE__, __LINE__, "%s", #cond);                                \
	} while (0)
#define CHECK_EQ(got, want)                                                                        \
	do {                                                                                       \
		uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want);                         \
		if (got_ != want_)                                                                 \
			test_fail(__FILE__, __LINE__, "%s is 0x%" PRIx64 ", not 0x%" PRIx64, #got, \
				  got_, want_);                                                    \
	} while (0)
#define CHECK_STR(got, want)                                                                       \
	do {                                                                                       \
		const char *got_ = (got), *want_ = (want);                                         \
		if (!got_ || strcmp(got_, want_))                                                  \
			test_fail(__FILE__, __LINE__, "%s is '%s', not '%s'", #got,                \
				  got_ ? got_ : "(null)", want_);                                  \
	} while (0)
#define CHECK_HAS(text, part)                                                                      \
	do {                                                                                       \
		const char *text_ = (text), *part_ = (part);                                       \
		if (!text_ || !strstr(text_, part_))                                               \
			test_fail(__FILE__, __LINE__, "'%s' is not in '%s'", part_,                \
				  text_ ? text_ : "(null)");                                       \
	} while (0)

extern uint64_t test_random_state;
/* A repeatable random stream, xorshift64*; the seed is MOA_TEST_SEED or fixed. */
static inline uint64_t test_random(void)
{
	test_random_state ^= test_random_state >> 12;
	test_random_state ^= test_random_state << 25;
	test_random_state ^= test_random_state >> 27;
	return test_random_state * UINT64_C(0x2545f4914f6cdd1d);
}
/* Below n, which is not 0. */
static inline uint32_t test_below(uint32_t n)
{
	return (uint32_t)(test_random() >> 33) % n;
}
void test_seed(uint64_t seed);
