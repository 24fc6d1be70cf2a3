/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Libraries that few machines need, and that bring others along, are loaded by their first user:
 * the other machines start without them and without their memory.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"

/* `at` is the address of the pointer to it. */
struct library_function {
	const char *name;
	void *at;
};

struct library {
	const char *file; /* its soname, which configure found */
	const struct library_function *functions;
	size_t n;
	bool loaded;
};

/* Fills the pointers in; once it did, it does nothing. From any thread. The library stays. */
bool library_load(struct library *l, GError **err);

/* With FUNCTIONS(X), a list of X(name): struct library `id`, and `lib`, the pointers by name. */
#define LIBRARY(id, soname)                                                                        \
	static struct {                                                                            \
		FUNCTIONS(LIBRARY_POINTER)                                                         \
	} lib;                                                                                     \
	static struct library id = {                                                               \
		.file = (soname),                                                                  \
		.functions = (const struct library_function[]) { FUNCTIONS(LIBRARY_FUNCTION) },    \
		.n = sizeof(lib) / sizeof(void *),                                                 \
	}
#define LIBRARY_POINTER(name) __typeof__(name) *name;
#define LIBRARY_FUNCTION(name) { #name, &lib.name },
