/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What QMP and HMP share: monitors on chardevs, argument specs, events. */
#include "monitor/monitor.h"

#include <string.h>

struct monitor {
	struct machine *machine;
	struct chr_front front;
	struct qmp *qmp; /* one of the two */
	struct hmp *hmp;
	struct machine_listener listener;
};

static GPtrArray *monitors;

static size_t front_room(void *opaque)
{
	(void)opaque;
	return 4096;
}

static void front_read(void *opaque, const uint8_t *data, size_t len)
{
	struct monitor *mon = opaque;

	if (mon->qmp)
		qmp_input(mon->qmp, data, len);
	else
		hmp_input(mon->hmp, data, len);
}

static void front_event(void *opaque, enum chr_event e)
{
	struct monitor *mon = opaque;

	if (mon->qmp) {
		if (e == CHR_OPENED)
			qmp_greet(mon->qmp);
	} else if (e == CHR_FOCUS_IN || (e == CHR_OPENED && !mon->front.chr->mux)) {
		hmp_greet(mon->hmp);
	}
}

static void machine_event_seen(void *opaque, const char *event, const char *json_data)
{
	struct monitor *mon = opaque;

	if (mon->qmp && mon->front.open)
		qmp_event(mon->qmp, event, json_data);
}

bool monitor_new(struct machine *m, struct chardev *chr, bool qmp, bool pretty, GError **err)
{
	struct monitor *mon = g_new0(struct monitor, 1);

	mon->machine = m;
	mon->front = (struct chr_front) { front_room, front_read, front_event, mon, NULL, false };
	if (qmp)
		mon->qmp = qmp_new(m, &mon->front, pretty);
	else
		mon->hmp = hmp_new(m, &mon->front);
	mon->listener = (struct machine_listener) { .event = machine_event_seen, .opaque = mon };
	machine_listen(m, &mon->listener);
	if (!monitors)
		monitors = g_ptr_array_new();
	g_ptr_array_add(monitors, mon);
	return chr_attach(chr, &mon->front, err);
}

void monitors_free(void)
{
	for (guint i = 0; monitors && i < monitors->len; i++) {
		struct monitor *mon = monitors->pdata[i];

		chr_detach(&mon->front);
		machine_unlisten(mon->machine, &mon->listener);
		if (mon->qmp)
			qmp_free(mon->qmp);
		if (mon->hmp)
			hmp_free(mon->hmp);
		g_free(mon);
	}
	g_clear_pointer(&monitors, g_ptr_array_unref);
}

bool spec_next(const char **p, struct spec *s)
{
	const char *colon, *end;
	size_t name_len;

	if (!*p || !**p)
		return false;
	colon = strchr(*p, ':');
	end = strchrnul(*p, ',');
	name_len = (size_t)(colon - *p);
	s->optional = colon[-1] == '?';
	if (s->optional)
		name_len--;
	g_strlcpy(s->name, *p, MIN_OF(name_len + 1, sizeof(s->name)));
	g_strlcpy(s->type, colon + 1, MIN_OF((size_t)(end - colon), sizeof(s->type)));
	*p = *end ? end + 1 : end;
	return true;
}

static bool type_matches(JsonNode *n, const char *type)
{
	GType t = JSON_NODE_HOLDS_VALUE(n) ? json_node_get_value_type(n) : 0;

	if (!strcmp(type, "str"))
		return t == G_TYPE_STRING;
	if (!strcmp(type, "int"))
		return t == G_TYPE_INT64;
	if (!strcmp(type, "bool"))
		return t == G_TYPE_BOOLEAN;
	if (type[0] == '[')
		return JSON_NODE_HOLDS_ARRAY(n);
	return true;
}

bool call_check(const struct command *cmd, JsonObject *args, GError **err)
{
	g_autoptr(GList) members = json_object_get_members(args);
	const char *p = cmd->args;
	struct spec s;

	while (spec_next(&p, &s)) {
		JsonNode *n = json_object_get_member(args, s.name);

		if (!n && !s.optional)
			return error(err, "Parameter '%s' is missing", s.name);
		if (n && !type_matches(n, s.type))
			return error(err, "Invalid parameter type for '%s', expected: %s", s.name,
				     s.type);
	}
	for (GList *l = members; l; l = l->next) {
		bool known = false;

		p = cmd->args;
		while (!known && spec_next(&p, &s))
			known = !strcmp(s.name, l->data);
		if (!known)
			return error(err, "Parameter '%s' is unexpected", (char *)l->data);
	}
	return true;
}

const char *call_str(struct call *c, const char *name, const char *fallback)
{
	return json_object_has_member(c->args, name) ? json_object_get_string_member(c->args, name)
						     : fallback;
}

int64_t call_int(struct call *c, const char *name, int64_t fallback)
{
	return json_object_has_member(c->args, name) ? json_object_get_int_member(c->args, name)
						     : fallback;
}

bool call_bool(struct call *c, const char *name, bool fallback)
{
	return json_object_has_member(c->args, name) ? json_object_get_boolean_member(c->args, name)
						     : fallback;
}
