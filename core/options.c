/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/options.h"

#include <inttypes.h>
#include <string.h>

#include <json-glib/json-glib.h>

#include "core/error.h"
#include "core/field.h"

static const struct option_row *find_option(const struct option_row *table, const char *name)
{
	for (; table->name || table->help; table++)
		if (table->name && !strcmp(table->name, name))
			return table;
	return NULL;
}

static bool unknown_option(const struct option_row *table, const char *given, GError **err)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const char *near;

	for (; table->name || table->help; table++)
		if (table->name)
			g_ptr_array_add(names, (gpointer)table->name);
	g_ptr_array_add(names, NULL);
	near = nearest_name(given + strspn(given, "-"), (const char *const *)names->pdata);
	if (near)
		return error(err, "%s: unknown option; did you mean '-%s'?", given, near);
	return error(err, "%s: unknown option; see -help", given);
}

bool options_parse(const struct option_row *table, int argc, char **argv, void *opaque,
		   GError **err)
{
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i], *arg = NULL;
		const struct option_row *o;

		if (name[0] != '-') {
			o = find_option(table, "");
			if (!o)
				return error(err, "'%s': not an option; see -help for all of them",
					     name);
			if (!o->handle(opaque, name, err))
				return false;
			continue;
		}
		name += name[1] == '-' ? 2 : 1;
		o = *name ? find_option(table, name) : NULL;
		if (!o)
			return unknown_option(table, argv[i], err);
		if (o->arg) {
			if (i + 1 >= argc)
				return error(err, "-%s: needs a value: -%s %s", o->name, o->name,
					     o->arg);
			arg = argv[++i];
		}
		if (!o->handle(opaque, arg, err))
			return false;
	}
	return true;
}

char *options_help(const struct option_row *table)
{
	GString *s = g_string_new(NULL);

	for (; table->name || table->help; table++) {
		if (!table->name) {
			g_string_append_printf(s, "\n%s\n", table->help);
			continue;
		}
		g_autofree char *left = g_strdup_printf(
			"%s%s%s%s", *table->name ? "-" : "", table->name,
			*table->name && table->arg ? " " : "", table->arg ? table->arg : "");

		if (strlen(left) > 30)
			g_string_append_printf(s, "  %s\n  %-30s %s\n", left, "", table->help);
		else
			g_string_append_printf(s, "  %-30s %s\n", left, table->help);
	}
	return g_string_free(s, FALSE);
}

/* Up to the next single comma; doubled commas become one. */
static char *next_item(const char **p)
{
	GString *s = g_string_new(NULL);

	for (; **p; (*p)++) {
		if (**p == ',') {
			if ((*p)[1] != ',')
				break;
			(*p)++;
		}
		g_string_append_c(s, **p);
	}
	if (**p == ',')
		(*p)++;
	return g_string_free(s, FALSE);
}

static void add_pair(struct optlist *l, char *key, char *value)
{
	g_ptr_array_add(l->keys, key);
	g_ptr_array_add(l->values, value);
}

struct optlist *optlist_parse(const char *option, const char *text, const char *first_key)
{
	struct optlist *l = g_new0(struct optlist, 1);
	bool first = true;

	l->option = g_strdup(option);
	l->keys = g_ptr_array_new_with_free_func(g_free);
	l->values = g_ptr_array_new_with_free_func(g_free);
	l->asked = g_ptr_array_new_with_free_func(g_free);
	l->used = g_hash_table_new(g_str_hash, g_str_equal);
	while (*text) {
		g_autofree char *item = next_item(&text);
		char *eq = strchr(item, '=');

		if (eq)
			add_pair(l, g_strndup(item, (gsize)(eq - item)), g_strdup(eq + 1));
		else if (first && first_key)
			add_pair(l, g_strdup(first_key), g_strdup(item));
		else if (g_str_has_prefix(item, "no") && strcmp(item, "nodelay") &&
			 strlen(item) > 2)
			add_pair(l, g_strdup(item + 2), g_strdup("off"));
		else if (*item)
			add_pair(l, g_strdup(item), g_strdup("on"));
		first = false;
	}
	return l;
}

static void add_json(struct optlist *l, const char *prefix, JsonNode *node)
{
	g_autoptr(GList) names = NULL;
	JsonObject *o;

	if (JSON_NODE_HOLDS_VALUE(node)) {
		GType type = json_node_get_value_type(node);

		add_pair(l, g_strdup(prefix),
			 type == G_TYPE_BOOLEAN
				 ? g_strdup(json_node_get_boolean(node) ? "on" : "off")
			 : type == G_TYPE_STRING
				 ? g_strdup(json_node_get_string(node))
				 : g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node)));
		return;
	}
	if (!JSON_NODE_HOLDS_OBJECT(node))
		return;
	o = json_node_get_object(node);
	names = json_object_get_members(o);
	for (GList *n = names; n; n = n->next) {
		g_autofree char *key = *prefix ? g_strdup_printf("%s.%s", prefix, (char *)n->data)
					       : g_strdup(n->data);

		add_json(l, key, json_object_get_member(o, n->data));
	}
}

struct optlist *optlist_parse_json(const char *option, const char *text, GError **err)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	struct optlist *l;

	if (!json_parser_load_from_data(parser, text, -1, err)) {
		g_prefix_error(err, "%s: ", option);
		return NULL;
	}
	l = optlist_parse(option, "", NULL);
	add_json(l, "", json_parser_get_root(parser));
	return l;
}

void optlist_free(struct optlist *l)
{
	if (!l)
		return;
	g_ptr_array_unref(l->keys);
	g_ptr_array_unref(l->values);
	g_ptr_array_unref(l->asked);
	g_hash_table_unref(l->used);
	g_free(l->option);
	g_free(l);
}

const char *optlist_get(struct optlist *l, const char *key)
{
	const char *found = NULL;

	g_ptr_array_add(l->asked, g_strdup(key));
	for (guint i = 0; i < l->keys->len; i++) {
		if (!strcmp(l->keys->pdata[i], key)) {
			found = l->values->pdata[i];
			g_hash_table_add(l->used, l->keys->pdata[i]);
		}
	}
	return found;
}

bool optlist_bool(struct optlist *l, const char *key, bool *value, GError **err)
{
	const char *text = optlist_get(l, key);

	if (text && !parse_bool(text, value))
		return error(err, "%s: '%s' takes on or off, not '%s'", l->option, key, text);
	return true;
}

bool optlist_uint(struct optlist *l, const char *key, uint64_t min, uint64_t max, uint64_t *value,
		  GError **err)
{
	const char *text = optlist_get(l, key);
	uint64_t v;

	if (!text)
		return true;
	if (!parse_size(text, 1, &v) || v < min || v > max)
		return error(err,
			     "%s: '%s' takes a number from %" PRIu64 " to %" PRIu64 ", not '%s'",
			     l->option, key, min, max, text);
	*value = v;
	return true;
}

bool optlist_enum(struct optlist *l, const char *key, const char *const *names, unsigned *value,
		  GError **err)
{
	const char *text = optlist_get(l, key);

	if (!text)
		return true;
	for (unsigned i = 0; names[i]; i++) {
		if (!strcmp(names[i], text)) {
			*value = i;
			return true;
		}
	}
	g_autofree char *list = g_strjoinv(", ", (char **)names);

	return error(err, "%s: '%s' is not a value of '%s'; it takes one of: %s", l->option, text,
		     key, list);
}

bool optlist_name(struct optlist *l, const char *key, GError **err)
{
	const char *name = optlist_get(l, key);
	size_t n = 0;

	while (name && (g_ascii_isalpha(name[n]) || name[n] == '_' ||
			(n && (g_ascii_isdigit(name[n]) || name[n] == '-' || name[n] == '.'))))
		n++;
	if (!name || (n && !name[n]))
		return true;
	return error(err,
		     "%s: %s='%s' is no name: it takes a letter or '_', then also digits, '-' and "
		     "'.'",
		     l->option, key, name);
}

bool optlist_finish(struct optlist *l, GError **err)
{
	for (guint i = 0; i < l->keys->len; i++) {
		const char *key = l->keys->pdata[i], *near;

		if (g_hash_table_contains(l->used, key))
			continue;
		g_ptr_array_add(l->asked, NULL);
		near = nearest_name(key, (const char *const *)l->asked->pdata);
		if (near)
			return error(err, "%s: unknown key '%s'; did you mean '%s'?", l->option,
				     key, near);
		g_autofree char *list = g_strjoinv(", ", (char **)l->asked->pdata);

		return error(err, "%s: unknown key '%s'; it takes: %s", l->option, key, list);
	}
	return optlist_name(l, "id", err) && optlist_name(l, "node-name", err);
}
