/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: one table of options, from which -help is generated, and the `a=b,c=d` lists
 * that many options take. Whoever reads a list asks for keys by name; optlist_finish then refuses
 * what nobody asked for and names the nearest key that somebody did.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"

struct option_row {
	const char *name; /* without the dash */
	const char *arg;  /* "[accel=]NAME[,...]"; NULL: takes none */
	const char *help;
	bool (*handle)(void *opaque, const char *arg, GError **err);
};

/*
 * A line without a name, arg and handler is a heading; one with the name "" takes what is not an
 * option.
 */
bool options_parse(const struct option_row *table, int argc, char **argv, void *opaque,
		   GError **err);
char *options_help(const struct option_row *table);

struct optlist {
	char *option; /* "-chardev", for messages */
	GPtrArray *keys, *values;
	GPtrArray *asked; /* every key asked for, used or not */
	GHashTable *used;
};

/*
 * Parses "value,key=value,flag,..."; the first item may stand for `first_key`. A doubled comma is a
 * comma in a value. A bare word after the first means key=on (QEMU's old spelling), "nokey"
 * key=off.
 */
struct optlist *optlist_parse(const char *option, const char *text, const char *first_key);
/* The same from a JSON object, when the text begins with a brace: {"a": {"b": true}} is a.b=on. */
struct optlist *optlist_parse_json(const char *option, const char *text, GError **err);
void optlist_free(struct optlist *l);
/* The last value given for key, or NULL. Owned by the list. */
const char *optlist_get(struct optlist *l, const char *key);
bool optlist_bool(struct optlist *l, const char *key, bool *value, GError **err);
bool optlist_uint(struct optlist *l, const char *key, uint64_t min, uint64_t max, uint64_t *value,
		  GError **err);
/* Whether the list's `key`, if given, can name something: a letter or _, then also digits, - and .
 */
bool optlist_name(struct optlist *l, const char *key, GError **err);
/* The index of the value in `names`, which stays as it is when the key is not given. */
bool optlist_enum(struct optlist *l, const char *key, const char *const *names, unsigned *value,
		  GError **err);
/* Refuses keys that nobody asked for, and an id= or node-name= that is no name. */
bool optlist_finish(struct optlist *l, GError **err);
