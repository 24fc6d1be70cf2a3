/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/error.h"

#include <string.h>

bool error(GError **err, const char *fmt, ...)
{
	static GQuark domain;
	va_list ap;

	if (!err)
		return false;
	if (!domain)
		domain = g_quark_from_static_string("moa");
	va_start(ap, fmt);
	*err = g_error_new_valist(domain, 0, fmt, ap);
	va_end(ap);
	return false;
}

#define LONGEST_NAME 64

static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[LONGEST_NAME + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > LONGEST_NAME || lb > LONGEST_NAME)
		return LONGEST_NAME;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned replace = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN_OF(MIN_OF(row[j] + 1, row[j - 1] + 1), replace);
		}
	}
	return row[lb];
}

const char *nearest_name(const char *word, const char *const *names)
{
	unsigned best = (unsigned)strlen(word) / 2 + 1;
	const char *found = NULL;

	for (; *names; names++) {
		unsigned d = edit_distance(word, *names);

		if (d < best) {
			best = d;
			found = *names;
		}
	}
	return found;
}
