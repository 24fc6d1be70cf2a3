/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saved state: see state.h for the format. */
#include "core/state.h"

#include <inttypes.h>
#include <string.h>

#include "core/error.h"

static const char magic[8] = "MOASTATE";

/* Bytes of one element on the wire; the in-memory bool may differ, the wire's is one byte. */
static unsigned wire_size(enum field_type type)
{
	switch (type) {
	case FT_BOOL:
	case FT_U8:
	case FT_S8:
		return 1;
	case FT_U16:
	case FT_S16:
		return 2;
	case FT_U32:
	case FT_S32:
		return 4;
	case FT_U64:
	case FT_S64:
	case FT_TIMER:
		return 8;
	default:
		return 0;
	}
}

static void put(GByteArray *out, uint64_t v, unsigned size)
{
	uint8_t b[8];

	store_le(b, v, size);
	g_byte_array_append(out, b, size);
}

static void put_str(GByteArray *out, const char *s)
{
	size_t n = strlen(s);

	assert(n <= 255);
	put(out, n, 1);
	g_byte_array_append(out, (const uint8_t *)s, (guint)n);
}

void state_begin(GByteArray *out)
{
	g_byte_array_append(out, (const uint8_t *)magic, sizeof(magic));
	put(out, STATE_FORMAT, 4);
}

void state_end(GByteArray *out)
{
	put(out, 0, 1);
}

static void put_fields(GByteArray *out, const struct field *fields, const void *obj);

/* Reserves a u32 length and fills it in once what follows is written. */
static guint length_open(GByteArray *out)
{
	put(out, 0, 4);
	return out->len;
}

static void length_close(GByteArray *out, guint start)
{
	store_le(out->data + start - 4, out->len - start, 4);
}

static void put_field(GByteArray *out, const struct field *f, const void *obj)
{
	size_t count = field_count(f);

	put_str(out, f->name);
	put(out, f->type, 1);
	put(out, count, 4);
	for (size_t i = 0; i < count; i++) {
		if (f->type == FT_OBJ) {
			guint start = length_open(out);

			put_fields(out, f->sub->fields,
				   (const char *)obj + f->offset + i * f->sub->size);
			length_close(out, start);
		} else {
			put(out, field_get(f, obj, i), wire_size(f->type));
		}
	}
}

static void put_fields(GByteArray *out, const struct field *fields, const void *obj)
{
	for (const struct field *f = fields; f && !field_end(f); f++)
		if (f->type != FT_GONE)
			put_field(out, f, obj);
}

void state_section(GByteArray *out, const char *path, const char *type, unsigned version,
		   const struct field *fields, const void *obj)
{
	guint start;

	put(out, 1, 1);
	put_str(out, path);
	put_str(out, type);
	put(out, version, 4);
	start = length_open(out);
	put_fields(out, fields, obj);
	length_close(out, start);
}

static bool get(struct state_reader *r, unsigned size, uint64_t *v)
{
	if ((size_t)(r->end - r->p) < size)
		return false;
	*v = load_le(r->p, size);
	r->p += size;
	return true;
}

static bool get_bytes(struct state_reader *r, size_t len, const uint8_t **data)
{
	if ((size_t)(r->end - r->p) < len)
		return false;
	*data = r->p;
	r->p += len;
	return true;
}

/* A printable string of at most 255 bytes; free with g_free. */
static char *get_str(struct state_reader *r)
{
	uint64_t n;
	const uint8_t *data;

	if (!get(r, 1, &n) || !get_bytes(r, n, &data))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!g_ascii_isprint((char)data[i]))
			return NULL;
	return g_strndup((const char *)data, n);
}

bool state_open(struct state_reader *r, const void *data, size_t len, GError **err)
{
	const uint8_t *head;
	uint64_t format = 0;

	*r = (struct state_reader) { data, (const uint8_t *)data + len };
	if (len > STATE_MAX_BYTES)
		return error(err, "saved state: %zu bytes are more than the limit of %" PRIu64, len,
			     (uint64_t)STATE_MAX_BYTES);
	if (!get_bytes(r, sizeof(magic), &head) || memcmp(head, magic, sizeof(magic)))
		return error(err, "saved state: does not begin with MOASTATE: not a file of moa's");
	if (!get(r, 4, &format) || format != STATE_FORMAT)
		return error(err,
			     "saved state: format %" PRIu64 " is not %u, the one this moa reads",
			     format, STATE_FORMAT);
	return true;
}

bool state_next(struct state_reader *r, struct state_section *s, GError **err)
{
	uint64_t tag, version, len;

	memset(s, 0, sizeof(*s));
	if (!get(r, 1, &tag))
		return error(err, "saved state: ends without an end mark: the file is cut short");
	if (tag == 0)
		return false;
	if (tag != 1)
		return error(err, "saved state: %" PRIu64 " is not a section mark: damaged", tag);
	s->path = get_str(r);
	s->type = s->path ? get_str(r) : NULL;
	if (!s->type || !get(r, 4, &version) || !get(r, 4, &len) || !get_bytes(r, len, &s->data)) {
		state_section_clear(s);
		return error(err, "saved state: a section is cut short");
	}
	s->version = (uint32_t)version;
	s->len = len;
	return true;
}

void state_section_clear(struct state_section *s)
{
	g_clear_pointer(&s->path, g_free);
	g_clear_pointer(&s->type, g_free);
}

struct loader {
	const struct state_section *section;
	GError **err;
};

static bool load_error(const struct loader *l, const char *field, const char *what)
{
	return error(l->err, "saved state: section '%s' (%s), field '%s': %s", l->section->path,
		     l->section->type, field, what);
}

static bool load_fields(const struct loader *l, struct state_reader *r, const struct field *fields,
			void *obj);

static bool load_object(const struct loader *l, struct state_reader *r, const struct field *f,
			void *obj)
{
	struct state_reader sub;
	const uint8_t *data;
	uint64_t len;

	if (!get(r, 4, &len) || !get_bytes(r, len, &data))
		return load_error(l, f->name, "object is cut short");
	sub = (struct state_reader) { data, data + len };
	return load_fields(l, &sub, f->sub->fields, obj);
}

static bool load_field(const struct loader *l, struct state_reader *r, const struct field *f,
		       void *obj)
{
	uint64_t type, count, v;

	if (!get(r, 1, &type) || !get(r, 4, &count))
		return load_error(l, f->name, "cut short");
	if (f->type == FT_GONE) {
		const uint8_t *data;

		if (type >= FT_TYPES || !wire_size(type))
			return load_error(l, f->name, "has an unknown wire type");
		if (!get_bytes(r, count * wire_size(type), &data))
			return load_error(l, f->name, "cut short");
		return true;
	}
	if (type != f->type)
		return load_error(l, f->name, "has another type than this moa's");
	if (count != field_count(f))
		return load_error(l, f->name, "has another number of elements than this moa's");
	for (size_t i = 0; i < count; i++) {
		if (f->type == FT_OBJ) {
			if (!load_object(l, r, f, (char *)obj + f->offset + i * f->sub->size))
				return false;
			continue;
		}
		if (!get(r, wire_size(f->type), &v))
			return load_error(l, f->name, "cut short");
		if (f->type == FT_BOOL && v > 1)
			return load_error(l, f->name, "is neither true nor false");
		if (f->type == FT_TIMER && (int64_t)v < -1)
			return load_error(l, f->name, "has a deadline before the clock began");
		field_put(f, obj, i, v);
	}
	return true;
}

#define MOST_FIELDS 256

static bool load_fields(const struct loader *l, struct state_reader *r, const struct field *fields,
			void *obj)
{
	bool seen[MOST_FIELDS] = { false };

	while (r->p < r->end) {
		g_autofree char *name = get_str(r);
		const struct field *f = name ? field_find(fields, name) : NULL;

		if (!name)
			return load_error(l, "?", "has a name that cannot be read");
		if (!f)
			return load_error(l, name, "is not known to this moa");
		assert(f - fields < MOST_FIELDS);
		if (seen[f - fields])
			return load_error(l, name, "is given twice");
		seen[f - fields] = true;
		if (!load_field(l, r, f, obj))
			return false;
	}
	for (const struct field *f = fields; f && !field_end(f); f++)
		if (f->type != FT_GONE && !seen[f - fields] &&
		    MAX_OF(f->since, 1u) <= l->section->version)
			return load_error(l, f->name, "is missing");
	return true;
}

bool state_load(const struct state_section *s, unsigned version, const struct field *fields,
		void *obj, GError **err)
{
	struct loader l = { s, err };
	struct state_reader r = { s->data, s->data + s->len };

	if (s->version > version || s->version == 0)
		return error(
			err,
			"saved state: section '%s' (%s) has version %u, this moa reads up to %u: "
			"load it with the moa that wrote it or a newer one",
			s->path, s->type, s->version, version);
	return load_fields(&l, &r, fields, obj);
}

#define DEEPEST_OBJECT 8
#define MOST_PRINTED 16 /* elements of one array */

static bool print_fields(GString *out, struct state_reader *r, unsigned depth, GError **err)
{
	while (r->p < r->end) {
		g_autofree char *name = get_str(r);
		uint64_t type, count, v;

		if (!name || !get(r, 1, &type) || !get(r, 4, &count) || type >= FT_TYPES)
			return error(err, "saved state: a field is damaged");
		g_string_append_printf(out, "%*s%s", (int)depth * 2, "", name);
		if (type == FT_OBJ) {
			g_string_append_c(out, '\n');
			for (uint64_t i = 0; i < count; i++) {
				const uint8_t *data;
				struct state_reader sub;

				if (depth > DEEPEST_OBJECT || !get(r, 4, &v) ||
				    !get_bytes(r, v, &data))
					return error(err, "saved state: object '%s' is damaged",
						     name);
				g_string_append_printf(out, "%*s[%" PRIu64 "]\n",
						       (int)depth * 2 + 1, "", i);
				sub = (struct state_reader) { data, data + v };
				if (!print_fields(out, &sub, depth + 2, err))
					return false;
			}
			continue;
		}
		if (!wire_size(type))
			return error(err, "saved state: field '%s' has an unknown wire type", name);
		g_string_append_printf(out, " (%s) =", field_type_name(type));
		for (uint64_t i = 0; i < count; i++) {
			if (!get(r, wire_size(type), &v))
				return error(err, "saved state: field '%s' is cut short", name);
			if (i < MOST_PRINTED)
				g_string_append_printf(out, " 0x%" PRIx64, v);
		}
		g_string_append(out, count > MOST_PRINTED ? " ...\n" : "\n");
	}
	return true;
}

char *state_print(const void *data, size_t len, GError **err)
{
	g_autoptr(GString) out = g_string_new(NULL);
	struct state_reader r;
	struct state_section s;
	GError *local = NULL;

	if (!state_open(&r, data, len, err))
		return NULL;
	while (state_next(&r, &s, &local)) {
		struct state_reader sub = { s.data, s.data + s.len };

		g_string_append_printf(out, "%s (%s, version %u)\n", s.path, s.type, s.version);
		print_fields(out, &sub, 1, &local);
		state_section_clear(&s);
		if (local)
			break;
	}
	if (local) {
		g_propagate_error(err, local);
		return NULL;
	}
	return g_strdup(out->str);
}
