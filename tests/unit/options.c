/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chardev/chardev.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/options.h"
#include "tests/lib/test.h"

static const char *got;

static bool take(void *opaque, const char *arg, GError **err)
{
	(void)opaque;
	(void)err;
	got = arg ? arg : "(flag)";
	return true;
}

static const struct option_row table[] = {
	{ NULL, NULL, "Things:", NULL },
	{ "serial", "DEV", "a serial port", take },
	{ "S", NULL, "do not start", take },
	{ NULL, NULL, NULL, NULL },
};

static const char *refused(int argc, char **argv)
{
	GError *err = NULL;

	CHECK(!options_parse(table, argc, argv, NULL, &err));
	return err->message;
}

TEST(options_and_their_mistakes)
{
	char *good[] = { "moa", "-serial", "x", "--S" };
	char *typo[] = { "moa", "-seriel", "x" };
	char *lacks[] = { "moa", "-serial" };
	char *image[] = { "moa", "disk.img" };

	CHECK(options_parse(table, 4, good, NULL, NULL));
	CHECK_STR(got, "(flag)");
	CHECK_HAS(refused(3, typo), "did you mean '-serial'");
	CHECK_HAS(refused(2, lacks), "-serial DEV");
	CHECK_HAS(refused(2, image), "not an option");
}

TEST(help_comes_from_the_table)
{
	g_autofree char *text = options_help(table);

	CHECK_HAS(text, "-serial DEV");
	CHECK_HAS(text, "do not start");
}

TEST(lists_have_keys_flags_and_doubled_commas)
{
	struct optlist *l =
		optlist_parse("-x", "socket,id=a,path=/tmp/a,,b,server,nowait,size=2K", "backend");
	uint64_t size = 0;
	bool server = false, wait = true;

	CHECK_STR(optlist_get(l, "backend"), "socket");
	CHECK_STR(optlist_get(l, "path"), "/tmp/a,b");
	CHECK(optlist_bool(l, "server", &server, NULL) && server);
	CHECK(optlist_bool(l, "wait", &wait, NULL) && !wait);
	CHECK(optlist_uint(l, "size", 0, 4096, &size, NULL) && size == 2048);
	CHECK_STR(optlist_get(l, "id"), "a");
	CHECK(optlist_finish(l, NULL));
	optlist_free(l);
}

TEST(lists_refuse_what_nobody_asked_for)
{
	struct optlist *l = optlist_parse("-chardev", "socket,sever=on", "backend");
	GError *err = NULL;
	bool b;

	optlist_get(l, "backend");
	optlist_bool(l, "server", &b, NULL);
	CHECK(!optlist_finish(l, &err));
	CHECK_HAS(err->message, "did you mean 'server'");
	optlist_free(l);
}

TEST(log_names_are_checked)
{
	GError *err = NULL;

	CHECK(log_set_mask("guest_errors,unimp", NULL));
	CHECK(log_mask == (LOG_M(GUEST_ERRORS) | LOG_M(UNIMP)));
	CHECK(!log_set_mask("guest_error", &err));
	CHECK_HAS(err->message, "did you mean 'guest_errors'");
}

TEST(trace_points_switch_by_pattern)
{
	GError *err = NULL;

	for (int i = 0; i < 2; i++)
		TRACE(test_event, "%d", i);
	CHECK(trace_enable("test_*", true, NULL));
	g_autofree char *help = trace_help();

	CHECK_HAS(help, "test_event");
	CHECK(!trace_enable("tset_event", true, &err));
	CHECK_HAS(err->message, "did you mean 'test_event'");
}

/*
 * --- chardevs: a ring buffer as the host's side
 * ---------------------------------------------------
 */

static char received[2][64];
static unsigned events[2];

static size_t room(void *opaque)
{
	(void)opaque;
	return 8;
}

static void receive(void *opaque, const uint8_t *data, size_t len)
{
	strncat(opaque, (const char *)data, len);
}

static void event(void *opaque, enum chr_event e)
{
	events[opaque == received[1]] |= BIT(e);
}

TEST(a_ring_buffer_keeps_the_newest_bytes)
{
	struct chr_front f = { .opaque = received[0] };
	struct chardev *c;
	uint8_t buf[16];

	machine_lock();
	c = chr_new(NULL, "ringbuf,id=r,size=8", NULL);
	CHECK(chr_attach(c, &f, NULL));
	chr_write(&f, "0123456789ab", 12);
	CHECK_EQ(c->ops->read_back(c, buf, 16), 8);
	CHECK(!memcmp(buf, "456789ab", 8));
	chr_free_all();
}

TEST(a_second_user_needs_a_mux)
{
	struct chr_front a = { .opaque = received[0] }, b = { .opaque = received[1] };
	GError *err = NULL;
	struct chardev *c;

	machine_lock();
	c = chr_new(NULL, "null,id=n", NULL);
	CHECK(chr_attach(c, &a, NULL));
	CHECK(!chr_attach(c, &b, &err));
	CHECK_HAS(err->message, "mux=on");
	chr_free_all();
}

TEST(the_mux_switches_breaks_and_escapes)
{
	struct chr_front a = { room, receive, event, received[0], NULL, false };
	struct chr_front b = { room, receive, event, received[1], NULL, false };
	struct chardev *c;

	machine_lock();
	c = chr_new(NULL, "ringbuf,id=r,mux=on", NULL);
	CHECK(chr_attach(c, &a, NULL) && chr_attach(c, &b, NULL));
	chr_input(c, (const uint8_t *)"one\001ctwo\001\001\001c\001b3", 15);
	CHECK_STR(received[0], "one3");
	CHECK_STR(received[1], "two\001");
	CHECK(events[0] & BIT(CHR_BREAK) && events[0] & BIT(CHR_FOCUS_OUT) &&
	      events[0] & BIT(CHR_FOCUS_IN));
	CHECK(events[1] & BIT(CHR_FOCUS_IN) && !(events[1] & BIT(CHR_BREAK)));
	chr_free_all();
}

static const char *chardev_refused(const char *text)
{
	GError *err = NULL;

	CHECK(!chr_new(NULL, text, &err));
	return err->message;
}

TEST(chardevs_refuse_what_is_wrong)
{
	machine_lock();
	CHECK_HAS(chardev_refused("nul,id=a"), "unknown backend 'nul'");
	CHECK_HAS(chardev_refused("null"), "needs an id");
	CHECK_HAS(chardev_refused("ringbuf,id=a,size=1000"), "power of two");
	CHECK_HAS(chardev_refused("file,id=a"), "path=FILE");
	CHECK_HAS(chardev_refused("file,id=a,path=/nonexistent/x"), "'/nonexistent/x'");
	CHECK_HAS(chardev_refused("socket,id=a"), "path=FILE or host=HOST");
	CHECK_HAS(chardev_refused("null,id=a,pth=b"), "unknown key 'pth'");
}
