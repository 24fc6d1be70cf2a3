/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects of the command line: -object. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/*
 * Makes those of `texts` that devices are made with (`early`), or those that need the networks and
 * cards to be there.
 */
bool objects_make(GPtrArray *texts, bool early, GError **err);
/* "filter-dump: what it does\n..." */
char *objects_help(void);
