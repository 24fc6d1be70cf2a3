/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/monitor.h"
#include "tests/lib/test.h"

static struct machine m;

static uint64_t value(const char *text)
{
	uint64_t v = 0;
	GError *err = NULL;

	if (!eval_expression(&m, text, &v, &err))
		test_fail(__FILE__, __LINE__, "'%s': %s", text, err->message);
	return v;
}

static const char *refused(const char *text)
{
	uint64_t v;
	GError *err = NULL;

	CHECK(!eval_expression(&m, text, &v, &err));
	return err->message;
}

TEST(operators_bind_as_in_c)
{
	CHECK_EQ(value("2+3*4"), 14);
	CHECK_EQ(value("(2+3)*4"), 20);
	CHECK_EQ(value("1<<4|3&2^1"), 0x13);
	CHECK_EQ(value("-1"), UINT64_MAX);
	CHECK_EQ(value("~0xff & 0xfff"), 0xf00);
	CHECK_EQ(value("100/7%4"), 2);
	CHECK_EQ(value("1<<64"), 0);
}

TEST(mistakes_are_named)
{
	CHECK_HAS(refused("1/0"), "division by zero");
	CHECK_HAS(refused("(1"), "lacks a ')'");
	CHECK_HAS(refused("1 2"), "ends before");
	CHECK_HAS(refused("foo"), "'foo'");
	CHECK_HAS(refused("$rip"), "no vCPU");
	CHECK(refused("((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1"));
}

static const char *hmp(const char *line)
{
	static char *last;

	g_free(last);
	if (!m.devices) {
		machine_lock();
		machine_init(&m);
		m.context = g_main_context_default();
	}
	last = hmp_run_line(&m, NULL, line);
	return last;
}

TEST(hmp_lines)
{
	CHECK_HAS(hmp("help"), "system_reset");
	CHECK_HAS(hmp("help info"), "info registers");
	CHECK_HAS(hmp("info"), "info mtree");
	CHECK_HAS(hmp("info status"), "VM status: paused (prelaunch)");
	CHECK_HAS(hmp("inof status"), "unknown command");
	CHECK_HAS(hmp("info statu"), "did you mean 'info status'");
	CHECK_HAS(hmp("stop now"), "does not take 'now'");
	CHECK_HAS(hmp("x 0"), "no vCPU");
	CHECK_HAS(hmp("xp /2xb 0x1000"), "0000000000001000: 0xff 0xff");
	CHECK_HAS(hmp("xp /2xz 0"), "'z' is none of");
	CHECK_HAS(hmp("xp"), "'addr' is missing");
	CHECK_HAS(hmp("i /b 0x80"), "portb[0x0080] = 0xff");
	CHECK_HAS(hmp("o /g 1 2"), "1, 2 or 4 bytes");
	CHECK_HAS(hmp("print /d 0-5"), "-5");
	CHECK_HAS(hmp("info mtree -f"), "FlatView of 'memory'");
	CHECK_HAS(hmp("info name"), "\n");
	CHECK_STR(hmp(""), "");
}
