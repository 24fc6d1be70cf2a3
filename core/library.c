/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Libraries loaded late: see library.h. */
#include "core/library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "core/error.h"

/* Nothing but the dynamic linker is called with it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool fill_in(const struct library *l, void *handle)
{
	for (size_t i = 0; i < l->n; i++) {
		void *f = dlsym(handle, l->functions[i].name);

		if (!f)
			return false;
		memcpy(l->functions[i].at, &f, sizeof(f));
	}
	return true;
}

/* Debian names a library's package by its soname. */
static void tell(const struct library *l, GError **err)
{
	g_auto(GStrv) part = g_strsplit(l->file, ".so.", 2);

	error(err, "%s; install %s%s", dlerror(), part[0], part[1] ? part[1] : "");
}

bool library_load(struct library *l, GError **err)
{
	pthread_mutex_lock(&lock);
	if (!l->loaded) {
		void *handle = dlopen(l->file, RTLD_NOW | RTLD_LOCAL);

		l->loaded = handle && fill_in(l, handle);
		if (!l->loaded)
			tell(l, err);
		if (!l->loaded && handle)
			dlclose(handle);
	}
	pthread_mutex_unlock(&lock);
	return l->loaded;
}
