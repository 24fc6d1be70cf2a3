/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Libraries that are loaded late. */
#include "core/library.h"

#include <math.h>

#include "tests/lib/test.h"

#define FUNCTIONS(X) X(floor) X(hypot)
LIBRARY(maths, "libm.so.6");

TEST(a_library_is_loaded_when_asked_for)
{
	GError *err = NULL;

	CHECK(!lib.floor && !lib.hypot);
	CHECK(library_load(&maths, &err) && !err);
	CHECK(lib.floor(2.5) == 2 && lib.hypot(3, 4) == 5);
	CHECK(library_load(&maths, NULL));
}

TEST(a_missing_library_is_named_with_its_package)
{
	struct library l = { .file = "libmissing.so.3" };
	GError *err = NULL;

	CHECK(!library_load(&l, &err));
	CHECK(g_str_has_prefix(err->message, "libmissing.so.3: "));
	CHECK(g_str_has_suffix(err->message, "; install libmissing3"));
	g_error_free(err);
}

TEST(a_library_without_the_function_is_refused)
{
	static void *f;
	static const struct library_function functions[] = { { "there_is_no_such", &f } };
	struct library l = { .file = "libm.so.6", .functions = functions, .n = 1 };
	GError *err = NULL;

	CHECK(!library_load(&l, &err) && !l.loaded && !f);
	CHECK(strstr(err->message, "there_is_no_such"));
	g_error_free(err);
}
