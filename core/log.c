/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs and trace points: see log.h. */
#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/device.h"
#include "core/error.h"
#include "core/lock.h"

uint32_t log_mask;

static struct lock log_lock = LOCK_INIT(RANK_LOG, "log");
static FILE *log_file;

static const struct {
	const char *name, *help;
} masks[] = {
#define X(id, name, help) { name, help },
	LOG_MASKS(X)
#undef X
};

static void emit(const char *prefix, const char *fmt, va_list ap)
{
	FILE *f;

	lock_take(&log_lock);
	f = log_file ? log_file : stderr;
	if (prefix)
		fprintf(f, "%s ", prefix);
	vfprintf(f, fmt, ap);
	fputc('\n', f);
	fflush(f);
	lock_release(&log_lock);
}

void log_write(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(NULL, fmt, ap);
	va_end(ap);
}

#define GUEST_LINES_PER_SECOND 10

void log_guest_at(struct log_limit *limit, const struct device *dev, const char *fmt, ...)
{
	int64_t now = monotonic_ns();
	g_autofree char *prefix = NULL;
	va_list ap;

	if (now - limit->since_ns > NS_PER_SEC) {
		limit->since_ns = now;
		limit->count = 0;
	}
	if (++limit->count > GUEST_LINES_PER_SECOND)
		return;
	prefix = g_strdup_printf("%s:", dev ? device_name(dev) : "guest");
	va_start(ap, fmt);
	emit(prefix, fmt, ap);
	va_end(ap);
}

bool log_set_mask(const char *names, GError **err)
{
	g_auto(GStrv) list = g_strsplit(names, ",", -1);
	const char *known[ARRAY_LEN(masks) + 1] = { NULL };

	for (size_t i = 0; i < ARRAY_LEN(masks); i++)
		known[i] = masks[i].name;
	for (char **n = list; *n; n++) {
		const char *near;
		size_t i;

		for (i = 0; i < ARRAY_LEN(masks) && strcmp(masks[i].name, *n); i++)
			;
		if (i < ARRAY_LEN(masks)) {
			log_mask |= BIT(i);
			continue;
		}
		near = nearest_name(*n, known);
		g_autofree char *all = g_strjoinv(", ", (char **)known);

		return near ? error(err, "-d: no log '%s'; did you mean '%s'?", *n, near)
			    : error(err, "-d: no log '%s'; there are: %s", *n, all);
	}
	return true;
}

char *log_help(void)
{
	GString *s = g_string_new(NULL);

	for (size_t i = 0; i < ARRAY_LEN(masks); i++)
		g_string_append_printf(s, "%-14s %s\n", masks[i].name, masks[i].help);
	return g_string_free(s, FALSE);
}

bool log_set_file(const char *path, GError **err)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return error(err, "-D: cannot write '%s': %s", path, strerror(errno));
	lock_take(&log_lock);
	if (log_file)
		fclose(log_file);
	log_file = f;
	lock_release(&log_lock);
	return true;
}

/* The bounds the linker gives the section; both weak, as a build may have no trace point. */
extern struct trace_point *const __start_moa_trace[] __attribute__((weak));
extern struct trace_point *const __stop_moa_trace[] __attribute__((weak));

void trace_write(const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(name, fmt, ap);
	va_end(ap);
}

static GPtrArray *trace_names(void)
{
	GPtrArray *names = g_ptr_array_new();

	for (struct trace_point *const *tp = __start_moa_trace; tp < __stop_moa_trace; tp++)
		g_ptr_array_add(names, (gpointer)(*tp)->name);
	g_ptr_array_add(names, NULL);
	return names;
}

bool trace_enable(const char *pattern, bool on, GError **err)
{
	g_autoptr(GPtrArray) names = NULL;
	const char *near;
	bool found = false;

	for (struct trace_point *const *tp = __start_moa_trace; tp < __stop_moa_trace; tp++) {
		if (g_pattern_match_simple(pattern, (*tp)->name)) {
			__atomic_store_n(&(*tp)->enabled, on, __ATOMIC_RELAXED);
			found = true;
		}
	}
	if (found)
		return true;
	names = trace_names();
	near = nearest_name(pattern, (const char *const *)names->pdata);
	if (near)
		return error(err, "-trace: no event '%s'; did you mean '%s'?", pattern, near);
	return error(err, "-trace: no event matches '%s'; see -trace help", pattern);
}

static int compare_points(const void *a, const void *b)
{
	return strcmp((*(struct trace_point *const *)a)->name,
		      (*(struct trace_point *const *)b)->name);
}

char *trace_help(void)
{
	GString *s = g_string_new(NULL);
	g_autoptr(GPtrArray) all = g_ptr_array_new();
	const char *last = "";

	for (struct trace_point *const *tp = __start_moa_trace; tp < __stop_moa_trace; tp++)
		g_ptr_array_add(all, *tp);
	g_ptr_array_sort(all, compare_points);
	for (guint i = 0; i < all->len; i++) {
		const struct trace_point *tp = all->pdata[i];

		if (strcmp(last, tp->name))
			g_string_append_printf(s, "%-24s %s\n", tp->name, tp->format);
		last = tp->name;
	}
	return g_string_free(s, FALSE);
}
