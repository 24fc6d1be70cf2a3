/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors the host or the user can act on. One domain, no codes: nobody branches on a code, people
 * read the text. A text is one phrase: what was given, what was expected, what to do.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"

/* Sets *err (which may be NULL) and returns false, so that a caller can `return error(err, ...)`.
 */
bool error(GError **err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * The nearest of the NULL-terminated `names` to `word` by edit distance, or NULL when nothing is
 * close.
 */
const char *nearest_name(const char *word, const char *const *names);
