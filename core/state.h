/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state: a sequence of sections, each written from a field table.
 *
 *	stream   "MOASTATE" u32 format=1, sections, u8 0
 *	section  u8 1, str path, str type, u32 version, u32 length, fields[length bytes]
 *	field    str name, u8 wire type, u32 count, data (count elements, little-endian)
 *	object   data is count times { u32 length, fields[length bytes] }
 *	str      u8 length, bytes
 *
 * Self-describing: state_print needs no table. The loader treats its input as hostile: every length
 *is checked against what is left, a mismatch names section and field, and nothing is written past a
 *member.
 */
#pragma once

#include <glib.h>

#include "core/field.h"

#define STATE_FORMAT 1u
#define STATE_MAX_BYTES (64u * MIB) /* more than every device together; a loader's bound */

struct state_reader {
	const uint8_t *p, *end;
};

/* The writer is a GByteArray that grows. */
void state_begin(GByteArray *out);
void state_end(GByteArray *out);
void state_section(GByteArray *out, const char *path, const char *type, unsigned version,
		   const struct field *fields, const void *obj);

/*
 * state_open checks the header. state_next steps to the next section: false at the end of the
 * stream with *err unset, or on a malformed stream with *err set. The strings in `s` are owned by
 * it; free them with state_section_clear.
 */
struct state_section {
	char *path, *type;
	uint32_t version;
	const uint8_t *data;
	size_t len;
};
bool state_open(struct state_reader *r, const void *data, size_t len, GError **err);
bool state_next(struct state_reader *r, struct state_section *s, GError **err);
void state_section_clear(struct state_section *s);

/*
 * Loads a section into `obj`. Refuses a version above `version`, an unknown field, a changed type
 * or count, a missing field that the section's version should carry, and a field given twice. On
 * failure `obj` may be half written: the caller resets it.
 */
bool state_load(const struct state_section *s, unsigned version, const struct field *fields,
		void *obj, GError **err);

/* The stream as indented text, without tables; free with g_free. */
char *state_print(const void *data, size_t len, GError **err);
