/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/monitor.h"
#include "tests/lib/test.h"

TEST(frames_end_at_the_closing_brace)
{
	static const struct {
		const char *text;
		long len;
	} cases[] = {
		{ "{}", 2 },
		{ "  {\"a\": {\"b\": [1, 2]}} {}", 22 },
		{ "{\"a\": \"}\"}x", 10 },
		{ "{\"a\": \"\\\"}\"}", 12 },
		{ "{", 0 },
		{ "{\"a\": \"", 0 },
		{ "", 0 },
		{ "x", -1 },
		{ "[1]", -1 },
		{ "{'a': '}'}", 10 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (qmp_frame(cases[i].text, strlen(cases[i].text)) != cases[i].len)
			test_fail(__FILE__, __LINE__, "'%s' gave %ld", cases[i].text,
				  qmp_frame(cases[i].text, strlen(cases[i].text)));
}

TEST(nesting_is_bounded)
{
	char deep[200];

	memset(deep, '{', sizeof(deep));
	CHECK_EQ(qmp_frame(deep, sizeof(deep)), -1);
}

static struct machine m;
static struct chardev *chr;

static char *talk(const char *text)
{
	static uint8_t buf[65536];
	size_t n;

	if (!chr) {
		machine_lock();
		machine_init(&m);
		m.context = g_main_context_default();
		chr = chr_new(NULL, "ringbuf,id=r,size=65536", NULL);
		CHECK(monitor_new(&m, chr, true, false, NULL));
	}
	if (text)
		chr_input(chr, (const uint8_t *)text, strlen(text));
	n = chr->ops->read_back(chr, buf, sizeof(buf) - 1);
	buf[n] = 0;
	return (char *)buf;
}

TEST(the_handshake_comes_first)
{
	CHECK_HAS(talk(NULL), "{\"QMP\":{\"version\"");
	CHECK_HAS(talk("{\"execute\": \"query-status\"}"), "Expecting capabilities negotiation");
	CHECK_HAS(talk("{\"execute\": \"qmp_capabilities\", \"id\": 7}"),
		  "{\"return\":{},\"id\":7}");
	CHECK_HAS(talk("{\"execute\": \"query-status\"}"), "\"status\":\"prelaunch\"");
	CHECK_HAS(talk("{\"execute\": \"qmp_capabilities\"}"), "already complete");
}

TEST(mistakes_get_errors_and_the_session_goes_on)
{
	talk("{\"execute\": \"qmp_capabilities\"}");
	CHECK_HAS(talk("{\"execute\": \"nope\", \"id\": \"x\"}"), "\"CommandNotFound\"");
	CHECK_HAS(talk("{\"execute\": 3}"), "lacks member 'execute'");
	CHECK_HAS(talk("{\"execute\": \"stop\", \"extra\": 1}"), "'extra' is unexpected");
	CHECK_HAS(talk("{\"execute\": \"stop\", \"arguments\": {\"a\": 1}}"),
		  "Parameter 'a' is unexpected");
	CHECK_HAS(talk("{\"execute\": \"ringbuf-read\", \"arguments\": {\"device\": \"r\"}}"),
		  "'size' is missing");
	CHECK_HAS(talk("{\"execute\": \"ringbuf-read\", \"arguments\": {\"device\": 1, \"size\": "
		       "1}}"),
		  "Invalid parameter type for 'device'");
	CHECK_HAS(talk("{\"execute\" \"stop\"}"), "JSON parse error");
	CHECK_HAS(talk("garbage"), "expecting an object");
	CHECK_HAS(talk("{'execute': 'query-name'}"), "{\"return\":{}}");
	CHECK_HAS(talk("{\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": "
		       "\"p 2*3\"}}"),
		  "\"0x6\\n\"");
}

TEST(pieces_and_several_at_once_are_understood)
{
	talk("{\"execute\": \"qmp_capabilities\"}");
	CHECK_STR(talk("{\"execute\":"), "");
	CHECK_HAS(talk("\"query-name\", \"id\": 1}{\"execute\":\"query-name\", \"id\": 2}"),
		  "\"id\":2");
}

TEST(the_schema_covers_every_command_and_event)
{
	g_autoptr(JsonNode) n = qmp_schema();
	g_autofree char *text = json_to_string(n, FALSE);

	for (const struct command *c = monitor_commands; c->qmp || c->hmp; c++) {
		g_autofree char *name = NULL;

		CHECK(c->help && *c->help && c->run);
		if (!c->qmp)
			continue;
		name = g_strdup_printf("{\"name\":\"%s\",\"meta-type\":\"command\"", c->qmp);
		CHECK_HAS(text, name);
	}
	for (const struct monitor_event *e = monitor_events; e->name; e++)
		CHECK_HAS(text, e->name);
}

TEST(every_type_the_schema_names_is_defined)
{
	g_autoptr(JsonNode) n = qmp_schema();
	JsonArray *a = json_node_get_array(n);
	g_autoptr(GHashTable) defined = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = 0; i < json_array_get_length(a); i++)
		g_hash_table_add(defined, (gpointer)json_object_get_string_member(
						  json_array_get_object_element(a, i), "name"));
	for (guint i = 0; i < json_array_get_length(a); i++) {
		JsonObject *o = json_array_get_object_element(a, i);
		static const char *const keys[] = { "arg-type", "ret-type", "element-type" };

		for (size_t k = 0; k < ARRAY_LEN(keys); k++)
			if (json_object_has_member(o, keys[k]) &&
			    !g_hash_table_contains(defined,
						   json_object_get_string_member(o, keys[k])))
				test_fail(__FILE__, __LINE__, "type '%s' is not defined",
					  json_object_get_string_member(o, keys[k]));
	}
}

TEST(random_bytes_never_stop_the_monitor)
{
	talk("{\"execute\": \"qmp_capabilities\"}");
	for (int i = 0; i < 20000; i++) {
		char text[41];
		static const char alphabet[] = "{}[]\"':,\\ axe01\n\t";

		for (int k = 0; k < 40; k++)
			text[k] = test_random() % 8
					  ? alphabet[test_random() % (sizeof(alphabet) - 1)]
					  : (char)(test_random() % 255 + 1);
		text[40] = 0;
		talk(text);
	}
	/* Closes whatever is open, then works. */
	talk("\"}}}}}}}}}}}}}}}}]]]]]]]x");
	for (int i = 0; i < 80 && !strstr(talk("}{\"execute\": \"query-name\"}"), "return"); i++)
		talk(i & 1 ? "\"" : "'}");
	CHECK_HAS(talk("{\"execute\": \"query-name\"}"), "return");
}
