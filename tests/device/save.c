/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Save, load, save is byte-equal for every device, at random points of a random register workload;
 * a hostile stream is refused or leaves a machine that goes on.
 */
#include "chardev/chardev.h"
#include "core/state.h"
#include "tests/lib/rig.h"
#include "tests/lib/workload.h"

static GByteArray *save(struct rig *r)
{
	GByteArray *out = g_byte_array_new();

	machine_save(&r->m, out);
	return out;
}

static void load(struct rig *r, const GByteArray *a)
{
	GError *err = NULL;

	if (!machine_load(&r->m, a->data, a->len, &err))
		test_fail(__FILE__, __LINE__, "%s", err->message);
}

static void check_same(const GByteArray *a, const GByteArray *b, int point)
{
	g_autofree char *ta = NULL, *tb = NULL;

	if (a->len == b->len && !memcmp(a->data, b->data, a->len))
		return;
	ta = state_print(a->data, a->len, NULL);
	tb = state_print(b->data, b->len, NULL);
	g_auto(GStrv) la = g_strsplit(ta, "\n", -1), lb = g_strsplit(tb, "\n", -1);
	const char *section = "";

	for (char **x = la, **y = lb; *x && *y; x++, y++) {
		if (**x != ' ')
			section = *x;
		if (strcmp(*x, *y))
			test_fail(__FILE__, __LINE__, "point %d, %s: '%s' became '%s'", point,
				  section, *x, *y);
	}
	test_fail(__FILE__, __LINE__, "point %d: the streams differ", point);
}

TEST(save_load_save_is_equal_at_100_random_points)
{
	struct rig *r = rig_new_config(RIG_USER, workload_config);

	workload_add_devices(r);
	for (int point = 0; point < 100; point++) {
		GByteArray *first, *second;

		workload_run(r, 300 + test_random() % 300);
		first = save(r);
		/* Into the same machine after a reset, so that nothing survives by accident. */
		machine_reset(&r->m);
		r->m.requests = 0;
		load(r, first);
		second = save(r);
		check_same(first, second, point);
		g_byte_array_unref(first);
		g_byte_array_unref(second);
	}
	rig_free(r);
}

/* Two machines, one loaded from the other: the same accesses give the same answers from then on. */
TEST(a_loaded_machine_answers_like_its_twin)
{
	struct rig *a = rig_new_config(RIG_USER, workload_config), *b;
	GByteArray *state;

	workload_add_devices(a);
	workload_run(a, 3000);
	state = save(a);
	machine_unlock();
	chr_free_all();
	b = rig_new_config(RIG_USER, workload_config);
	workload_add_devices(b);
	/* The host clock is not part of the state: both start at the same. */
	for (int k = 0; k < CLOCK_KINDS; k++)
		clock_manual(&b->m.clocks[k], clock_ns(&a->m.clocks[k]));
	load(b, state);
	for (int i = 0; i < 20000; i++) {
		struct access x = workload_pick();
		uint64_t va = workload_do(a, &x), vb = workload_do(b, &x);

		if (va != vb)
			test_fail(__FILE__, __LINE__,
				  "access %d: %s 0x%" PRIx64 " size %u gave 0x%" PRIx64
				  " there and 0x%" PRIx64 " here",
				  i, x.pio ? "port" : "memory", x.addr, x.size, va, vb);
	}
	machine_unlock();
}

TEST(damaged_streams_leave_a_machine_that_goes_on)
{
	struct rig *r = rig_new_config(RIG_USER, workload_config);
	GByteArray *good;
	int refused = 0;

	workload_add_devices(r);
	workload_run(r, 1000);
	good = save(r);
	for (int round = 0; round < 300; round++) {
		g_autofree uint8_t *bad = g_memdup2(good->data, good->len);
		GError *err = NULL;

		for (unsigned n = test_random() % 20 + 1; n; n--)
			bad[test_random() % good->len] = (uint8_t)test_random();
		if (!machine_load(&r->m, bad, good->len, &err)) {
			CHECK(err && *err->message);
			g_error_free(err);
			refused++;
			machine_reset(&r->m);
		}
		r->m.requests = 0;
		workload_run(r, 50);
	}
	CHECK(refused > 0);
	machine_reset(&r->m);
	load(r, good);
	rig_free(r);
}

TEST(sections_of_other_machines_are_refused)
{
	struct rig *r = rig_new_config(RIG_USER, workload_config);
	g_autoptr(GByteArray) a = NULL;
	GError *err = NULL;
	uint8_t *p;

	a = save(r);
	p = memmem(a->data, a->len, "isa-pit[0]", 10);
	p[8] = '7';
	CHECK(!machine_load(&r->m, a->data, a->len, &err));
	CHECK_HAS(err->message, "'isa-pit[7]'");
	rig_free(r);
}

/* What a machine's reset leaves alone is checked even if the stream ends early. */
TEST(a_cut_stream_leaves_no_unchecked_clock)
{
	struct rig *r = rig_new(RIG_USER);
	g_autoptr(GByteArray) stream = g_byte_array_new();

	r->pc->rtc->base_sec = INT64_MIN;
	machine_save(&r->m, stream);
	CHECK(!machine_load(&r->m, stream->data, stream->len - 1, NULL));
	CHECK_EQ(r->pc->rtc->base_sec, 0);
	rig_free(r);
}
