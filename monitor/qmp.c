/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: framing, the capabilities handshake, dispatch, events, the schema. */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "monitor/monitor.h"

struct qmp {
	struct machine *machine;
	struct chr_front *out;
	bool pretty, negotiated;
	GString *in;
};

struct qmp *qmp_new(struct machine *m, struct chr_front *out, bool pretty)
{
	struct qmp *q = g_new0(struct qmp, 1);

	q->machine = m;
	q->out = out;
	q->pretty = pretty;
	q->in = g_string_new(NULL);
	return q;
}

void qmp_free(struct qmp *q)
{
	g_string_free(q->in, TRUE);
	g_free(q);
}

static void send_object(struct qmp *q, JsonObject *o)
{
	JsonNode *node = json_node_alloc();
	g_autofree char *text = NULL;

	json_node_init_object(node, o);
	text = json_to_string(node, q->pretty);
	chr_write(q->out, text, strlen(text));
	chr_write(q->out, "\r\n", 2);
	json_node_unref(node);
}

static JsonObject *version_object(void)
{
	JsonObject *v = json_object_new(), *n = json_object_new();
	g_auto(GStrv) parts = g_strsplit(MOA_VERSION, ".", 3);

	json_object_set_int_member(n, "major", atoi(parts[0]));
	json_object_set_int_member(n, "minor", parts[1] ? atoi(parts[1]) : 0);
	json_object_set_int_member(n, "micro", parts[1] && parts[2] ? atoi(parts[2]) : 0);
	json_object_set_object_member(v, "qemu", n);
	json_object_set_string_member(v, "package", "moa " MOA_VERSION);
	return v;
}

void qmp_greet(struct qmp *q)
{
	JsonObject *o = json_object_new(), *g = json_object_new();

	q->negotiated = false;
	g_string_truncate(q->in, 0);
	json_object_set_object_member(g, "version", version_object());
	json_object_set_array_member(g, "capabilities", json_array_new());
	json_object_set_object_member(o, "QMP", g);
	send_object(q, o);
	json_object_unref(o);
}

static void add_timestamp(JsonObject *o)
{
	JsonObject *t = json_object_new();
	int64_t ns = wall_clock_ns();

	json_object_set_int_member(t, "seconds", ns / NS_PER_SEC);
	json_object_set_int_member(t, "microseconds", ns % NS_PER_SEC / 1000);
	json_object_set_object_member(o, "timestamp", t);
}

void qmp_event(struct qmp *q, const char *event, const char *json_data)
{
	JsonObject *o;

	if (!q->negotiated)
		return;
	o = json_object_new();
	json_object_set_string_member(o, "event", event);
	if (json_data)
		json_object_set_member(o, "data", json_from_string(json_data, NULL));
	add_timestamp(o);
	send_object(q, o);
	json_object_unref(o);
}

static void send_error(struct qmp *q, const char *class, const char *desc, JsonNode *id)
{
	JsonObject *o = json_object_new(), *e = json_object_new();

	json_object_set_string_member(e, "class", class);
	json_object_set_string_member(e, "desc", desc);
	json_object_set_object_member(o, "error", e);
	if (id)
		json_object_set_member(o, "id", json_node_copy(id));
	send_object(q, o);
	json_object_unref(o);
}

static void send_result(struct qmp *q, JsonNode *result, JsonNode *id)
{
	JsonObject *o = json_object_new();

	if (result)
		json_object_set_member(o, "return", json_node_ref(result));
	else
		json_object_set_object_member(o, "return", json_object_new());
	if (id)
		json_object_set_member(o, "id", json_node_copy(id));
	send_object(q, o);
	json_object_unref(o);
}

static const struct command *find_command(const char *name)
{
	for (const struct command *c = monitor_commands; c->qmp || c->hmp; c++)
		if (c->qmp && !strcmp(c->qmp, name))
			return c;
	return NULL;
}

static void run_command(struct qmp *q, const char *name, JsonObject *args, JsonNode *id)
{
	const struct command *cmd = find_command(name);
	g_autofree char *text = NULL;
	g_autoptr(GError) err = NULL;
	struct call c = { .machine = q->machine, .args = args };

	if (!strcmp(name, "qmp_capabilities")) {
		if (q->negotiated) {
			send_error(q, "CommandNotFound",
				   "Capabilities negotiation is already complete, command ignored",
				   id);
			return;
		}
		if (!call_check(cmd, args, &err)) {
			send_error(q, "GenericError", err->message, id);
			return;
		}
		q->negotiated = true;
		send_result(q, NULL, id);
		return;
	}
	if (!q->negotiated) {
		send_error(q, "CommandNotFound",
			   "Expecting capabilities negotiation with 'qmp_capabilities'", id);
		return;
	}
	if (!cmd) {
		text = g_strdup_printf("The command %s has not been found", name);
		send_error(q, "CommandNotFound", text, id);
		return;
	}
	if (!call_check(cmd, args, &err) || !cmd->run(&c, &err))
		send_error(q, "GenericError", err->message, id);
	else
		send_result(q, c.result, id);
	g_clear_pointer(&c.result, json_node_unref);
}

static void handle_object(struct qmp *q, JsonObject *o)
{
	g_autoptr(GList) members = json_object_get_members(o);
	JsonNode *id = json_object_get_member(o, "id"),
		 *exec = json_object_get_member(o, "execute");
	JsonNode *arguments = json_object_get_member(o, "arguments");
	JsonObject *args;

	for (GList *l = members; l; l = l->next) {
		if (g_strcmp0(l->data, "execute") && g_strcmp0(l->data, "arguments") &&
		    g_strcmp0(l->data, "id")) {
			g_autofree char *text = g_strdup_printf(
				"QMP input member '%s' is unexpected", (char *)l->data);

			send_error(q, "GenericError", text, id);
			return;
		}
	}
	if (!exec || !JSON_NODE_HOLDS_VALUE(exec) ||
	    json_node_get_value_type(exec) != G_TYPE_STRING) {
		send_error(q, "GenericError", "QMP input lacks member 'execute'", id);
		return;
	}
	if (arguments && !JSON_NODE_HOLDS_OBJECT(arguments)) {
		send_error(q, "GenericError", "QMP input member 'arguments' must be an object", id);
		return;
	}
	args = arguments ? json_object_ref(json_node_get_object(arguments)) : json_object_new();
	run_command(q, json_node_get_string(exec), args, id);
	json_object_unref(args);
}

static void handle_text(struct qmp *q, const char *text, size_t len)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	g_autoptr(GError) err = NULL;
	JsonNode *root;

	if (!json_parser_load_from_data(parser, text, (gssize)len, &err)) {
		send_error(q, "GenericError", "JSON parse error", NULL);
		return;
	}
	root = json_parser_get_root(parser);
	if (!root || !JSON_NODE_HOLDS_OBJECT(root))
		send_error(q, "GenericError", "QMP input must be a JSON object", NULL);
	else
		handle_object(q, json_node_get_object(root));
}

#define DEEPEST_NESTING 64

long qmp_frame(const char *text, size_t len)
{
	size_t i = 0;
	int depth = 0;
	char quote = 0;

	while (i < len && g_ascii_isspace(text[i]))
		i++;
	if (i == len)
		return 0;
	if (text[i] != '{')
		return -1;
	for (; i < len; i++) {
		if (quote) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == quote)
				quote = 0;
		} else if (text[i] == '"' || text[i] == '\'') {
			quote = text[i];
		} else if (text[i] == '{' || text[i] == '[') {
			if (++depth > DEEPEST_NESTING)
				return -1;
		} else if (text[i] == '}' || text[i] == ']') {
			if (--depth == 0)
				return (long)i + 1;
		}
	}
	return 0;
}

/* JSON wants double quotes; QMP has always taken single ones as well. */
static void normalise_quotes(char *text, size_t len)
{
	char quote = 0;

	for (size_t i = 0; i < len; i++) {
		if (quote) {
			if (text[i] == '\\') {
				i++;
			} else if (text[i] == quote) {
				if (quote == '\'')
					text[i] = '"';
				quote = 0;
			}
		} else if (text[i] == '"' || text[i] == '\'') {
			quote = text[i];
			text[i] = '"';
		}
	}
}

void qmp_input(struct qmp *q, const uint8_t *data, size_t len)
{
	long n;

	g_string_append_len(q->in, (const char *)data, (gssize)len);
	while (q->in->len && (n = qmp_frame(q->in->str, q->in->len)) != 0) {
		if (n < 0 || q->in->len > MONITOR_LONGEST_INPUT) {
			send_error(q, "GenericError", "JSON parse error, expecting an object",
				   NULL);
			g_string_truncate(q->in, 0);
			return;
		}
		normalise_quotes(q->in->str, (size_t)n);
		handle_text(q, q->in->str, (size_t)n);
		g_string_erase(q->in, 0, n);
	}
	if (q->in->len > MONITOR_LONGEST_INPUT) {
		send_error(q, "GenericError", "JSON message is longer than 1 MiB", NULL);
		g_string_truncate(q->in, 0);
	}
}

/* the schema. */

static JsonObject *add_entity(JsonArray *a, const char *name, const char *meta)
{
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "name", name);
	json_object_set_string_member(o, "meta-type", meta);
	json_array_add_object_element(a, o);
	return o;
}

/* An object type with the members of a spec. */
static void add_object_type(JsonArray *a, const char *name, const char *spec)
{
	JsonObject *o = add_entity(a, name, "object");
	JsonArray *members = json_array_new();
	struct spec s;

	while (spec_next(&spec, &s)) {
		JsonObject *m = json_object_new();

		json_object_set_string_member(m, "name", s.name);
		json_object_set_string_member(m, "type", s.type);
		if (s.optional)
			json_object_set_null_member(m, "default");
		json_array_add_object_element(members, m);
	}
	json_object_set_array_member(o, "members", members);
}

/* The name of the type of a command's or event's members; adds it unless it is empty. */
static char *member_type(JsonArray *a, const char *owner, const char *suffix, const char *spec)
{
	char *name;

	if (!spec || !*spec)
		return g_strdup("q_empty");
	name = g_strdup_printf("%s-%s", owner, suffix);
	add_object_type(a, name, spec);
	return name;
}

/* "[a:int]" is a list of objects; "a:int" an object; "str" a builtin. */
static char *return_type(JsonArray *a, const struct command *c)
{
	g_autofree char *inner = NULL;
	char *element, *list;

	if (!c->ret || !*c->ret)
		return g_strdup("q_empty");
	if (!strchr(c->ret, ':'))
		return g_strdup(c->ret);
	if (c->ret[0] != '[')
		return member_type(a, c->qmp, "ret", c->ret);
	inner = g_strndup(c->ret + 1, strlen(c->ret) - 2);
	element = member_type(a, c->qmp, "ret", inner);
	list = g_strdup_printf("[%s]", element);
	json_object_set_string_member(add_entity(a, list, "array"), "element-type", element);
	g_free(element);
	return list;
}

JsonNode *qmp_schema(void)
{
	static const struct {
		const char *name, *json;
	} builtins[] = {
		{ "str", "string" }, { "int", "int" }, { "bool", "boolean" }, { "any", "value" }
	};
	JsonArray *a = json_array_new();
	JsonNode *node = json_node_new(JSON_NODE_ARRAY);

	for (size_t i = 0; i < ARRAY_LEN(builtins); i++)
		json_object_set_string_member(add_entity(a, builtins[i].name, "builtin"),
					      "json-type", builtins[i].json);
	json_object_set_string_member(add_entity(a, "[str]", "array"), "element-type", "str");
	add_object_type(a, "q_empty", NULL);
	for (const struct command *c = monitor_commands; c->qmp || c->hmp; c++) {
		g_autofree char *args = NULL, *ret = NULL;
		JsonObject *o;

		if (!c->qmp)
			continue;
		args = member_type(a, c->qmp, "arg", c->args);
		ret = return_type(a, c);
		o = add_entity(a, c->qmp, "command");
		json_object_set_string_member(o, "arg-type", args);
		json_object_set_string_member(o, "ret-type", ret);
		json_object_set_boolean_member(o, "allow-oob", FALSE);
	}
	for (const struct monitor_event *e = monitor_events; e->name; e++) {
		g_autofree char *data = member_type(a, e->name, "data", e->data);

		json_object_set_string_member(add_entity(a, e->name, "event"), "arg-type", data);
	}
	json_node_take_array(node, a);
	return node;
}
