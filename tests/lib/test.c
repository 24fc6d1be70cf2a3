/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_FAILED 1
#define EXIT_SKIPPED 77
#define TEST_SECONDS 300 /* longer than any should take on a busy machine */

static struct test *tests, **tail = &tests;
uint64_t test_random_state = 0x9e3779b97f4a7c15;

void test_register(struct test *t)
{
	*tail = t;
	tail = &t->next;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s:%d: ", file, line);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	_exit(EXIT_FAILED);
}

static int skip_pipe[2];

void test_skip(const char *fmt, ...)
{
	va_list ap;
	char text[200];
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (write(skip_pipe[1], text, (size_t)MIN_OF(n, (int)sizeof(text) - 1)) < 0)
		_exit(EXIT_FAILED);
	_exit(EXIT_SKIPPED);
}

void test_seed(uint64_t seed)
{
	test_random_state = seed ? seed : 1;
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!fnmatch(argv[i], name, 0))
			return true;
	return argc < 2;
}

static int run_one(const struct test *t)
{
	char why[200] = "";
	pid_t child;
	int status;
	ssize_t n;

	fflush(NULL);
	if (pipe(skip_pipe))
		abort();
	child = fork();
	if (child == 0) {
		alarm(TEST_SECONDS);
		t->run();
		fflush(NULL);
		_exit(0);
	}
	close(skip_pipe[1]);
	waitpid(child, &status, 0);
	n = read(skip_pipe[0], why, sizeof(why) - 1);
	close(skip_pipe[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		printf("ok %s\n", t->name);
		return 0;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED) {
		printf("SKIP %s: %.*s\n", t->name, (int)MAX_OF(n, 0), why);
		return 0;
	}
	if (WIFSIGNALED(status))
		printf("FAIL %s (signal %d)\n", t->name, WTERMSIG(status));
	else
		printf("FAIL %s\n", t->name);
	return 1;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (getenv("MOA_TEST_SEED"))
		test_seed(strtoull(getenv("MOA_TEST_SEED"), NULL, 0));
	for (const struct test *t = tests; t; t = t->next)
		if (wanted(t->name, argc, argv))
			failed |= run_one(t);
	return failed;
}
