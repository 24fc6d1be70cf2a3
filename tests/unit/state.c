/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/error.h"
#include "core/state.h"
#include "tests/lib/test.h"

struct inner {
	uint16_t x;
	bool b;
};
#define D struct inner
static FIELD_TABLE(inner_table, NULL, F(x), F(b));
#undef D

struct outer {
	uint8_t a, array[4];
	int64_t s;
	struct inner in[2];
	struct timer t;
	uint32_t new_one;
};
#define D struct outer
static const struct field v2[] = { F(a),	  F(array),
				   F(s),	  FO(in, inner_table),
				   F(t),	  F(new_one, .since = 2),
				   GONE(old_one), { .type = FT_NONE } };

struct old_outer {
	uint8_t a, array[4];
	int64_t s;
	struct inner in[2];
	struct timer t;
	uint16_t old_one[3];
};
#undef D
#define D struct old_outer
static const struct field v1[] = { F(a),       F(array),	   F(s), FO(in, inner_table), F(t),
				   F(old_one), { .type = FT_NONE } };

static struct clock clock_;

static void no_fire(void *opaque, int64_t late_ns)
{
	(void)opaque;
	(void)late_ns;
}

static GByteArray *save(unsigned version, const struct field *fields, const void *obj)
{
	GByteArray *out = g_byte_array_new();

	state_begin(out);
	state_section(out, "thing[0]", "thing", version, fields, obj);
	state_end(out);
	return out;
}

static bool load(const void *data, size_t len, unsigned version, const struct field *fields,
		 void *obj, GError **err)
{
	struct state_reader r;
	struct state_section s;
	GError *local = NULL;
	bool ok = true;

	if (!state_open(&r, data, len, err))
		return false;
	while (ok && state_next(&r, &s, &local)) {
		ok = state_load(&s, version, fields, obj, &local);
		state_section_clear(&s);
	}
	if (local)
		g_propagate_error(err, local);
	return ok && !local;
}

static struct outer example(void)
{
	struct outer o = { .a = 1,
			   .array = { 2, 3, 4, 5 },
			   .s = -6,
			   .in = { { 7, true }, { 8, false } },
			   .new_one = 9 };

	return o;
}

static void prepare(struct outer *o)
{
	*o = example();
	timer_init(&o->t, &clock_, "t", no_fire, NULL);
}

static void make_clock(void)
{
	clock_init(&clock_, CLOCK_VM);
	clock_manual(&clock_, 0);
}

TEST(save_load_save_is_equal)
{
	struct outer a, b = { 0 };
	GByteArray *first, *second;

	make_clock();
	prepare(&a);
	timer_arm(&a.t, 12345);
	timer_init(&b.t, &clock_, "t", no_fire, NULL);
	first = save(2, v2, &a);
	CHECK(load(first->data, first->len, 2, v2, &b, NULL));
	CHECK_EQ(b.s, -6);
	CHECK_EQ(b.in[1].x, 8);
	CHECK(b.in[0].b);
	CHECK_EQ(b.t.deadline, 12345);
	second = save(2, v2, &b);
	CHECK(first->len == second->len && !memcmp(first->data, second->data, first->len));
}

TEST(an_old_section_loads_into_a_new_device)
{
	struct old_outer old = { .a = 42, .old_one = { 1, 2, 3 } };
	struct outer new;
	GByteArray *data;

	make_clock();
	timer_init(&old.t, &clock_, "t", no_fire, NULL);
	data = save(1, v1, &old);
	prepare(&new);
	CHECK(load(data->data, data->len, 2, v2, &new, NULL));
	CHECK_EQ(new.a, 42);
	CHECK_EQ(new.new_one, 9); /* as reset left it */
}

static const char *why_not(const GByteArray *data, unsigned version, const struct field *fields,
			   void *obj)
{
	GError *err = NULL;

	CHECK(!load(data->data, data->len, version, fields, obj, &err));
	return err->message;
}

TEST(mismatches_name_section_and_field)
{
	struct outer o;
	struct old_outer old = { 0 };
	GByteArray *data;

	make_clock();
	prepare(&o);
	timer_init(&old.t, &clock_, "t", no_fire, NULL);
	data = save(2, v2, &o);
	CHECK_HAS(why_not(data, 1, v2, &o), "version 2");
	CHECK_HAS(why_not(data, 2, v1, &old), "new_one");
	data = save(2, v1, &old);
	CHECK_HAS(why_not(data, 2, v2, &o), "'new_one': is missing");
}

TEST(a_cut_stream_is_refused_at_every_length)
{
	struct outer o;
	GByteArray *data;

	make_clock();
	prepare(&o);
	data = save(2, v2, &o);
	for (guint n = 0; n < data->len; n++) {
		GError *err = NULL;
		g_autofree void *copy = g_memdup2(data->data, n + 1);

		CHECK(!load(copy, n, 2, v2, &o, &err));
		CHECK(err && err->message[0]);
	}
	CHECK(load(data->data, data->len, 2, v2, &o, NULL));
}

TEST(a_damaged_stream_never_writes_outside)
{
	struct {
		uint64_t before;
		struct outer o;
		uint64_t after;
	} g = { .before = 0x5555, .after = 0x6666 };
	GByteArray *data;

	make_clock();
	prepare(&g.o);
	data = save(2, v2, &g.o);
	for (int round = 0; round < 200000; round++) {
		g_autofree uint8_t *copy = g_memdup2(data->data, data->len);
		g_autofree char *text = NULL;

		for (unsigned n = test_random() % 4 + 1; n; n--)
			copy[test_random() % data->len] = (uint8_t)test_random();
		load(copy, data->len, 2, v2, &g.o, NULL);
		text = state_print(copy, data->len, NULL);
	}
	CHECK(g.before == 0x5555 && g.after == 0x6666);
}

TEST(a_stream_prints_without_tables)
{
	struct outer o;
	GByteArray *data;
	g_autofree char *text = NULL;

	make_clock();
	prepare(&o);
	data = save(2, v2, &o);
	text = state_print(data->data, data->len, NULL);
	CHECK_HAS(text, "thing[0] (thing, version 2)");
	CHECK_HAS(text, "array (uint8) = 0x2 0x3 0x4 0x5");
	CHECK_HAS(text, "b (bool) = 0x1");
}

TEST(other_files_are_refused)
{
	GError *err = NULL;
	struct state_reader r;

	CHECK(!state_open(&r, "QFI\xfb....", 8, &err));
	CHECK_HAS(err->message, "MOASTATE");
}
