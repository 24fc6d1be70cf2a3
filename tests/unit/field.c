/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/error.h"
#include "core/field.h"
#include "tests/lib/test.h"

struct thing {
	uint8_t small;
	uint16_t port;
	uint64_t size;
	int32_t signed_one;
	bool flag;
	uint32_t mode;
	char *text;
	uint8_t array[5];
};
#define D struct thing
static const char *const modes[] = { "red", "green", "blue", NULL };
static const struct field props[] = {
	F(small, .min = 3, .max = 32, .init = 3),
	F(port, .init = 0x3f8),
	F(size),
	F(signed_one),
	F(flag, .init = true),
	F(mode, .values = modes, .init = 1),
	F(text, .init_str = "hello"),
	{ .type = FT_NONE },
};

static struct thing t;

static char *refused(const char *name, const char *value)
{
	GError *err = NULL;

	CHECK(!prop_set(props, &t, "thing", name, value, &err));
	return err->message;
}

TEST(defaults_are_set)
{
	props_init(props, &t);
	CHECK_EQ(t.small, 3);
	CHECK_EQ(t.port, 0x3f8);
	CHECK(t.flag);
	CHECK_EQ(t.mode, 1);
	CHECK_STR(t.text, "hello");
	props_free(props, &t);
	CHECK(!t.text);
}

TEST(values_are_parsed_by_type)
{
	props_init(props, &t);
	CHECK(prop_set(props, &t, "thing", "port", "0x2f8", NULL) && t.port == 0x2f8);
	CHECK(prop_set(props, &t, "thing", "size", "3G", NULL) && t.size == 3 * GIB);
	CHECK(prop_set(props, &t, "thing", "signed_one", "-7", NULL) && t.signed_one == -7);
	CHECK(prop_set(props, &t, "thing", "flag", "off", NULL) && !t.flag);
	CHECK(prop_set(props, &t, "thing", "mode", "blue", NULL) && t.mode == 2);
	CHECK(prop_set(props, &t, "thing", "text", "a b", NULL));
	CHECK_STR(t.text, "a b");
}

TEST(bad_values_are_refused_with_what_is_valid)
{
	props_init(props, &t);
	CHECK_HAS(refused("port", "65536"), "0 to 65535");
	CHECK_HAS(refused("port", "12x"), "'12x'");
	CHECK_HAS(refused("port", ""), "''");
	CHECK_HAS(refused("small", "2"), "3 to 32");
	CHECK_HAS(refused("small", "33"), "3 to 32");
	CHECK_HAS(refused("flag", "maybe"), "on or off");
	CHECK_HAS(refused("mode", "pink"), "red, green, blue");
	CHECK_HAS(refused("prot", "1"), "did you mean 'port'");
	CHECK_HAS(refused("zzzzzz", "1"), "it takes: small, port");
	CHECK_HAS(refused("size", "99999999999T"), "takes a number");
}

TEST(texts_describe_and_read_back)
{
	for (const struct field *f = props; !field_end(f); f++) {
		g_autofree char *d = NULL, *v = NULL;

		props_init(props, &t);
		d = prop_describe(f);
		v = prop_get(f, &t);
		CHECK(*d);
		CHECK(prop_set(props, &t, "thing", f->name, v, NULL));
		g_autofree char *again = prop_get(f, &t);

		CHECK_STR(again, v);
	}
}

TEST(wire_types_come_from_members)
{
	static const struct field array = F(array);

	CHECK_EQ(array.type, FT_U8);
	CHECK_EQ(field_count(&array), 5);
	CHECK_EQ(array.offset, offsetof(struct thing, array));
	t.signed_one = -2;
	CHECK_EQ(field_get(&props[3], &t, 0), (uint64_t)-2);
}

TEST(sizes_have_suffixes)
{
	uint64_t v;

	CHECK(parse_size("256", MIB, &v) && v == 256 * MIB);
	CHECK(parse_size("2G", MIB, &v) && v == 2 * GIB);
	CHECK(parse_size("1k", 1, &v) && v == 1024);
	CHECK(parse_size("0xffffffffffffffff", 1, &v) && v == UINT64_MAX);
	CHECK(!parse_size("-1", 1, &v) && !parse_size("1GB", 1, &v) && !parse_size("x", 1, &v));
	CHECK(!parse_size("18446744073709551616", 1, &v));
}

TEST(nearest_name_is_near)
{
	static const char *const names[] = { "serial", "debugcon", "machine", NULL };

	CHECK_STR(nearest_name("seriel", names), "serial");
	CHECK_STR(nearest_name("machin", names), "machine");
	CHECK(!nearest_name("qqqqqqqq", names));
}
