/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Field tables as properties: see field.h. Saving and loading them is state.c. */
#include "core/field.h"

#include <inttypes.h>
#include <string.h>

#include "core/error.h"

static const struct {
	const char *name;
	uint8_t size;
	bool is_signed;
} wire[FT_TYPES] = {
	[FT_BOOL] = { "bool", sizeof(bool), false },
	[FT_U8] = { "uint8", 1, false },
	[FT_U16] = { "uint16", 2, false },
	[FT_U32] = { "uint32", 4, false },
	[FT_U64] = { "uint64", 8, false },
	[FT_S8] = { "int8", 1, true },
	[FT_S16] = { "int16", 2, true },
	[FT_S32] = { "int32", 4, true },
	[FT_S64] = { "int64", 8, true },
	[FT_TIMER] = { "timer", sizeof(struct timer), true },
	[FT_STR] = { "str", sizeof(char *), false },
	[FT_OBJ] = { "object", 0, false },
	[FT_GONE] = { "gone", 0, false },
};

const char *field_type_name(enum field_type type)
{
	return wire[type].name;
}

size_t field_elem_size(const struct field *f)
{
	return f->type == FT_OBJ ? f->sub->size : wire[f->type].size;
}

size_t field_count(const struct field *f)
{
	size_t elem = field_elem_size(f);

	return elem ? f->size / elem : 0;
}

uint64_t field_get(const struct field *f, const void *obj, size_t index)
{
	unsigned size = wire[f->type].size;
	const char *p = (const char *)obj + f->offset + index * size;
	uint64_t v = 0;

	if (f->type == FT_TIMER)
		return (uint64_t)((const struct timer *)(const void *)p)->deadline;
	memcpy(&v, p, size);
	if (wire[f->type].is_signed && size < 8)
		v = (uint64_t)((int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size));
	return v;
}

void field_put(const struct field *f, void *obj, size_t index, uint64_t value)
{
	unsigned size = wire[f->type].size;
	char *p = (char *)obj + f->offset + index * size;

	if (f->type == FT_TIMER) {
		struct timer *t = (struct timer *)(void *)p;

		if ((int64_t)value < 0)
			timer_cancel(t);
		else
			timer_arm(t, (int64_t)value);
	} else if (f->type == FT_BOOL) {
		*(bool *)p = value != 0;
	} else {
		memcpy(p, &value, size);
	}
}

const struct field *field_find(const struct field *fields, const char *name)
{
	for (const struct field *f = fields; f && !field_end(f); f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

static char **str_of(const struct field *f, void *obj)
{
	return (char **)(void *)((char *)obj + f->offset);
}

void props_init(const struct field *props, void *obj)
{
	for (const struct field *f = props; f && !field_end(f); f++) {
		if (f->type == FT_STR)
			*str_of(f, obj) = g_strdup(f->init_str);
		else
			field_put(f, obj, 0, (uint64_t)f->init);
	}
}

void props_free(const struct field *props, void *obj)
{
	for (const struct field *f = props; f && !field_end(f); f++) {
		if (f->type == FT_STR) {
			g_free(*str_of(f, obj));
			*str_of(f, obj) = NULL;
		}
	}
}

bool parse_bool(const char *text, bool *value)
{
	static const char *const yes[] = { "on", "yes", "true", "y", NULL };
	static const char *const no[] = { "off", "no", "false", "n", NULL };

	*value = g_strv_contains(yes, text);
	return *value || g_strv_contains(no, text);
}

bool parse_size(const char *text, uint64_t unit, uint64_t *value)
{
	char *end;
	uint64_t v;
	unsigned __int128 product;

	if (!g_ascii_isdigit(*text))
		return false;
	v = g_ascii_strtoull(text, &end, 0);
	if (end == text || (v == G_MAXUINT64 && strncmp(text, "0xf", 3)))
		return false;
	if (*end) {
		static const char suffixes[] = "bkmgt";
		const char *s = strchr(suffixes, g_ascii_tolower(*end));

		if (!s || end[1])
			return false;
		unit = UINT64_C(1) << (10 * (s - suffixes));
	}
	product = (unsigned __int128)v * unit;
	*value = (uint64_t)product;
	return product <= UINT64_MAX;
}

static uint64_t type_max(const struct field *f)
{
	unsigned bits = 8 * wire[f->type].size - wire[f->type].is_signed;

	return f->max ? f->max : bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

static bool set_enum(const struct field *f, void *obj, const char *owner, const char *text,
		     GError **err)
{
	for (unsigned i = 0; f->values[i]; i++) {
		if (!strcmp(f->values[i], text)) {
			field_put(f, obj, 0, i);
			return true;
		}
	}
	g_autofree char *list = g_strjoinv(", ", (char **)f->values);

	return error(err, "%s: '%s' is not a value of property '%s'; it takes one of: %s", owner,
		     text, f->name, list);
}

static bool unknown_property(const struct field *props, const char *owner, const char *name,
			     GError **err)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const char *near;

	for (const struct field *f = props; f && !field_end(f); f++)
		g_ptr_array_add(names, (gpointer)f->name);
	if (!names->len)
		return error(err, "%s: has no property '%s'; it takes none", owner, name);
	g_ptr_array_add(names, NULL);
	near = nearest_name(name, (const char *const *)names->pdata);
	if (near)
		return error(err, "%s: has no property '%s'; did you mean '%s'?", owner, name,
			     near);
	g_autofree char *list = g_strjoinv(", ", (char **)names->pdata);

	return error(err, "%s: has no property '%s'; it takes: %s", owner, name, list);
}

bool prop_set(const struct field *props, void *obj, const char *owner, const char *name,
	      const char *text, GError **err)
{
	const struct field *f = field_find(props, name);
	uint64_t v, max;
	bool b;

	if (!f)
		return unknown_property(props, owner, name, err);
	if (f->type == FT_STR) {
		g_free(*str_of(f, obj));
		*str_of(f, obj) = g_strdup(text);
		return true;
	}
	if (f->values)
		return set_enum(f, obj, owner, text, err);
	if (f->type == FT_BOOL) {
		if (!parse_bool(text, &b))
			return error(err, "%s: property '%s' takes on or off, not '%s'", owner,
				     name, text);
		field_put(f, obj, 0, b);
		return true;
	}
	max = type_max(f);
	if (wire[f->type].is_signed && text[0] == '-') {
		if (!parse_size(text + 1, 1, &v) || v > max)
			return error(err, "%s: property '%s' takes a number, not '%s'", owner, name,
				     text);
		field_put(f, obj, 0, -v);
		return true;
	}
	if (!parse_size(text, 1, &v) || v < f->min || v > max)
		return error(err,
			     "%s: property '%s' takes a number from %" PRIu64 " to %" PRIu64
			     " (0x%" PRIx64 "), not '%s'",
			     owner, name, f->min, max, max, text);
	field_put(f, obj, 0, v);
	return true;
}

char *prop_get(const struct field *f, const void *obj)
{
	uint64_t v;

	if (f->type == FT_STR) {
		const char *s = *str_of(f, (void *)obj);

		return g_strdup(s ? s : "");
	}
	v = field_get(f, obj, 0);
	if (f->type == FT_BOOL)
		return g_strdup(v ? "on" : "off");
	if (f->values)
		return g_strdup(f->values[v]);
	if (wire[f->type].is_signed)
		return g_strdup_printf("%" PRId64, (int64_t)v);
	return g_strdup_printf(v > 9 ? "0x%" PRIx64 : "%" PRIu64, v);
}

char *prop_describe(const struct field *f)
{
	g_autoptr(GString) s = g_string_new(NULL);

	if (f->values) {
		g_autofree char *list = g_strjoinv("|", (char **)f->values);

		g_string_append(s, list);
		g_string_append_printf(s, " (default %s)", f->values[f->init]);
	} else if (f->type == FT_STR) {
		g_string_append(s, "str");
		if (f->init_str)
			g_string_append_printf(s, " (default %s)", f->init_str);
	} else if (f->type == FT_BOOL) {
		g_string_append_printf(s, "on|off (default %s)", f->init ? "on" : "off");
	} else {
		g_string_append(s, wire[f->type].name);
		if (f->init > 9)
			g_string_append_printf(s, " (default 0x%" PRIx64 ")", (uint64_t)f->init);
		else
			g_string_append_printf(s, " (default %" PRId64 ")", f->init);
		if (f->max || f->min)
			g_string_append_printf(s, " [%" PRIu64 "..%" PRIu64 "]", f->min,
					       type_max(f));
	}
	if (f->help)
		g_string_append_printf(s, ": %s", f->help);
	return g_strdup(s->str);
}
