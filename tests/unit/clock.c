/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/clock.h"
#include "core/lock.h"
#include "tests/lib/test.h"

static char fired[64];
static int64_t lateness;
static struct clock c;
static struct timer a, b, d;

static void note(void *opaque, int64_t late_ns)
{
	strcat(fired, opaque);
	lateness = late_ns;
}

static void setup(void)
{
	clock_init(&c, CLOCK_VM);
	clock_manual(&c, 1000);
	timer_init(&a, &c, "a", note, "a");
	timer_init(&b, &c, "b", note, "b");
	timer_init(&d, &c, "d", note, "d");
}

TEST(timers_fire_in_order_of_deadline_then_of_arming)
{
	setup();
	timer_arm(&b, 2000);
	timer_arm(&a, 1500);
	timer_arm(&d, 2000);
	CHECK_EQ(clock_deadline(&c), 1500);
	clock_step(&c, 999);
	CHECK_STR(fired, "a");
	clock_step(&c, 1);
	CHECK_STR(fired, "abd");
	CHECK(!timer_pending(&a) && clock_deadline(&c) == -1);
	CHECK_EQ(clock_ns(&c), 2000);
}

TEST(timers_move_and_cancel)
{
	setup();
	timer_arm(&a, 1500);
	timer_arm(&a, 1700);
	timer_arm(&b, 1600);
	timer_cancel(&b);
	timer_cancel(&b);
	clock_step(&c, 1000);
	CHECK_STR(fired, "a");
}

static void again(void *opaque, int64_t late_ns)
{
	struct timer *t = opaque;

	(void)late_ns;
	strcat(fired, "x");
	if (strlen(fired) < 5)
		timer_arm(t, clock_ns(&c) + 100);
}

TEST(a_timer_may_arm_itself_and_sees_its_own_time)
{
	setup();
	timer_init(&a, &c, "again", again, &a);
	timer_arm(&a, 1100);
	clock_step(&c, 250);
	CHECK_STR(fired, "xx");
	clock_step(&c, 1000);
	CHECK_STR(fired, "xxxxx");
}

TEST(a_deadline_in_the_past_fires_and_tells_its_lateness)
{
	setup();
	timer_arm(&a, 400);
	clock_step(&c, 0);
	CHECK_STR(fired, "a");
	CHECK_EQ(lateness, 600);
}

TEST(vm_clock_stands_still_while_stopped)
{
	int64_t before;

	clock_init(&c, CLOCK_VM);
	CHECK_EQ(clock_ns(&c), 0);
	clock_run(&c, true);
	while (clock_ns(&c) == 0)
		;
	clock_run(&c, false);
	before = clock_ns(&c);
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(clock_ns(&c), before);
	clock_run(&c, true);
	CHECK(clock_ns(&c) >= before);
	clock_set(&c, 77 * NS_PER_SEC);
	CHECK(clock_ns(&c) >= 77 * NS_PER_SEC && clock_ns(&c) < 80 * NS_PER_SEC);
}

TEST(attached_clock_fires_from_the_loop)
{
	GMainContext *context = g_main_context_new();

	clock_init(&c, CLOCK_RT);
	timer_init(&a, &c, "a", note, "a");
	CHECK(clock_attach(&c, context, NULL));
	machine_lock();
	timer_arm(&a, clock_ns(&c) + 1000000);
	while (!fired[0])
		g_main_context_iteration(context, TRUE);
	CHECK_STR(fired, "a");
	clock_destroy(&c);
}
