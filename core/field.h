/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Field tables: one description of a struct's members that serves saving, loading, printing,
 *properties and help. A table is written with the macro D naming the struct:
 *
 *	#define D struct serial
 *	.state = FIELDS(F(ier), F(lcr), F(fifo), F(thre, .since = 2), FT(timeout), FO(port,
 *port_table))
 *
 * F takes the name, offset, wire type and count from the member; a type that has no wire form does
 *not compile. On the wire a field is {name, type, count, little-endian data}, see core/state.h.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"
#include "core/clock.h"

enum field_type {
	FT_NONE, /* ends a table */
	FT_BOOL,
	FT_U8,
	FT_U16,
	FT_U32,
	FT_U64,
	FT_S8,
	FT_S16,
	FT_S32,
	FT_S64,
	FT_TIMER, /* struct timer: deadline in ns of its clock, -1 when idle */
	FT_OBJ,	  /* an embedded struct with its own table */
	FT_STR,	  /* char *, owned by the struct; properties only */
	FT_GONE,  /* was saved once: accepted and ignored on load */
	FT_TYPES
};

struct field_table;

struct field {
	const char *name;
	enum field_type type;
	unsigned since;		       /* first section version that carries it; 0 means 1 */
	size_t offset, size;	       /* of the whole member, in bytes */
	const struct field_table *sub; /* FT_OBJ */

	/* Only used by properties. */
	int64_t init;	      /* default */
	const char *init_str; /* default of an FT_STR */
	uint64_t min, max;    /* inclusive; max 0 means what the type holds */
	const char *const
		*values; /* names of an enumeration stored as its index, NULL-terminated */
	const char *help;
};

/* A struct's saved members, and by name those that belong to the host and are not saved. */
struct field_table {
	const char *struct_name;
	size_t size;
	const struct field *fields;
	const char *host; /* "a, b, c" */
};

/* clang-format off */
#define FIELD_WIRE(m) _Generic(&((D *)0)->m, \
	bool *: FT_BOOL, bool (*)[]: FT_BOOL, \
	uint8_t *: FT_U8, uint8_t (*)[]: FT_U8, int8_t *: FT_S8, int8_t (*)[]: FT_S8, \
	uint16_t *: FT_U16, uint16_t (*)[]: FT_U16, int16_t *: FT_S16, int16_t (*)[]: FT_S16, \
	uint32_t *: FT_U32, uint32_t (*)[]: FT_U32, int32_t *: FT_S32, int32_t (*)[]: FT_S32, \
	uint64_t *: FT_U64, uint64_t (*)[]: FT_U64, int64_t *: FT_S64, int64_t (*)[]: FT_S64, \
	struct timer *: FT_TIMER, struct timer (*)[]: FT_TIMER, char **: FT_STR)
/* clang-format on */

#define FIELD_PLACE(m) .name = #m, .offset = offsetof(D, m), .size = sizeof(((D *)0)->m)
#define F(m, ...)                                                                                  \
	{                                                                                          \
		FIELD_PLACE(m), .type = FIELD_WIRE(m), __VA_ARGS__                                 \
	}
#define FO(m, table, ...)                                                                          \
	{                                                                                          \
		FIELD_PLACE(m), .type = FT_OBJ, .sub = &(table), __VA_ARGS__                       \
	}
#define GONE(old_name, ...)                                                                        \
	{                                                                                          \
		.name = #old_name, .type = FT_GONE, __VA_ARGS__                                    \
	}
#define FIELDS(...) ((const struct field[]) { __VA_ARGS__, { .type = FT_NONE } })
#define HOST(...) #__VA_ARGS__
#define FIELD_STR(x) FIELD_STR_(x)
#define FIELD_STR_(x) #x
/* FIELD_TABLE(name, HOST(...) or NULL, F(...), ...); with D defined. */
#define FIELD_TABLE(ident, host_members, ...)                                                      \
	const struct field_table ident = { .struct_name = FIELD_STR(D),                            \
					   .size = sizeof(D),                                      \
					   .fields = FIELDS(__VA_ARGS__),                          \
					   .host = host_members }

static inline bool field_end(const struct field *f)
{
	return f->type == FT_NONE;
}

/* Bytes of one element as it lies in the struct; 0 for GONE. */
size_t field_elem_size(const struct field *f);
/* Number of elements: 1 for a scalar. */
size_t field_count(const struct field *f);
/* Name of a wire type for people: "u32". */
const char *field_type_name(enum field_type type);

/* One integer element, zero- or sign-extended to 64 bits. */
uint64_t field_get(const struct field *f, const void *obj, size_t index);
void field_put(const struct field *f, void *obj, size_t index, uint64_t value);

/* Gives every property in `props` its default. Strings are copied. */
void props_init(const struct field *props, void *obj);
void props_free(const struct field *props, void *obj);
/*
 * Sets property `name` from text. `owner` names the thing in the error: "isa-serial". Sizes take K,
 * M, G; numbers are decimal or 0x; booleans are on/off (also yes/no, true/false).
 */
bool prop_set(const struct field *props, void *obj, const char *owner, const char *name,
	      const char *text, GError **err);
/* The value as text that prop_set would take; free with g_free. */
char *prop_get(const struct field *f, const void *obj);
/* "uint16 (default 0x3f8): base port", for -device NAME,help; free with g_free. */
char *prop_describe(const struct field *f);
const struct field *field_find(const struct field *fields, const char *name);
bool parse_bool(const char *text, bool *value);
/* A number with an optional K, M, G or T suffix; `unit` is the factor of a bare number. */
bool parse_size(const char *text, uint64_t unit, uint64_t *value);
