/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HMP: line editing, turning a line into a command's arguments, help. */
#include <string.h>

#include "config.h"
#include "monitor/monitor.h"

#define PROMPT "(moa) "
#define HISTORY 50

struct hmp {
	struct machine *machine;
	struct chr_front *out;
	GString *line;
	GPtrArray *history;
	guint at;	 /* in history; its length: the new line */
	unsigned escape; /* bytes of a cursor key seen */
};

struct hmp *hmp_new(struct machine *m, struct chr_front *out)
{
	struct hmp *h = g_new0(struct hmp, 1);

	h->machine = m;
	h->out = out;
	h->line = g_string_new(NULL);
	h->history = g_ptr_array_new_with_free_func(g_free);
	return h;
}

void hmp_free(struct hmp *h)
{
	g_string_free(h->line, TRUE);
	g_ptr_array_unref(h->history);
	g_free(h);
}

/* Terminals in raw mode want a carriage return with every line feed. */
static void print(struct hmp *h, const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_autofree char *joined = g_strjoinv("\r\n", lines);

	chr_write(h->out, joined, strlen(joined));
}

static void prompt(struct hmp *h)
{
	print(h, PROMPT);
	print(h, h->line->str);
}

void hmp_greet(struct hmp *h)
{
	print(h, "moa " MOA_VERSION " monitor - type 'help' for more information\n");
	g_string_truncate(h->line, 0);
	prompt(h);
}

/*
 * The command whose name the line begins with; the longest, so that "info x" is found before
 * "info".
 */
static const struct command *find_command(const char *line, const char **rest)
{
	const struct command *best = NULL;
	size_t best_len = 0;

	for (const struct command *c = monitor_commands; c->qmp || c->hmp; c++) {
		g_auto(GStrv) names = c->hmp ? g_strsplit(c->hmp, "|", -1) : NULL;

		for (char **n = names; n && *n; n++) {
			size_t len = strlen(*n);

			if (len <= best_len || strncmp(line, *n, len) ||
			    (line[len] && line[len] != ' ' && line[len] != '/'))
				continue;
			best = c;
			best_len = len;
		}
	}
	*rest = line + best_len;
	return best;
}

static bool put_argument(struct machine *m, JsonObject *args, const struct spec *s,
			 const char *word, GError **err)
{
	uint64_t v;
	bool b;

	if (!strcmp(s->type, "int")) {
		if (!eval_expression(m, word, &v, err))
			return false;
		json_object_set_int_member(args, s->name, (int64_t)v);
	} else if (!strcmp(s->type, "bool")) {
		/* A flag: -x, or on and off. */
		if (word[0] == '-')
			b = true;
		else if (!parse_bool(word, &b))
			return error(err, "'%s' takes on or off, not '%s'", s->name, word);
		json_object_set_boolean_member(args, s->name, b);
	} else {
		json_object_set_string_member(args, s->name, word);
	}
	return true;
}

static JsonObject *parse_arguments(struct machine *m, const struct command *cmd, const char *rest,
				   GError **err)
{
	JsonObject *args = json_object_new();
	const char *p = cmd->args;
	struct spec s;

	while (spec_next(&p, &s)) {
		g_autofree char *word = NULL;
		size_t len;

		rest += strspn(rest, " ");
		if (!*rest)
			break;
		/* A flag that is not there leaves the word to the next argument. */
		if (!strcmp(s.type, "bool") && s.optional && *rest != '-')
			continue;
		/* So does a format. */
		if (!strcmp(s.name, "fmt") && *rest != '/')
			continue;
		len = *p || !strcmp(s.type, "bool") ? strcspn(rest, " ") : strlen(rest);
		word = g_strndup(rest, len);
		rest += len;
		g_strchomp(word);
		if (!put_argument(m, args, &s, word, err)) {
			json_object_unref(args);
			return NULL;
		}
	}
	rest += strspn(rest, " ");
	if (*rest) {
		error(err, "'%s': does not take '%s'", cmd->hmp, rest);
		json_object_unref(args);
		return NULL;
	}
	return args;
}

/* A JSON result that has no text form of its own. */
static void print_result(JsonNode *result, GString *out)
{
	g_autofree char *text = NULL;

	if (!result ||
	    (JSON_NODE_HOLDS_ARRAY(result) && !json_array_get_length(json_node_get_array(result))))
		return;
	text = json_to_string(result, TRUE);
	g_string_append(out, text);
	g_string_append_c(out, '\n');
}

static void print_help(GString *out, const char *topic)
{
	bool info = topic && !strcmp(topic, "info"), found = false;

	for (const struct command *c = monitor_commands; c->qmp || c->hmp; c++) {
		g_autoptr(GString) usage = NULL;
		const char *p = c->args;
		struct spec s;

		if (!c->hmp || (topic && !info && strcmp(topic, c->hmp)))
			continue;
		if (g_str_has_prefix(c->hmp, "info ") != info && (!topic || info))
			continue;
		usage = g_string_new(c->hmp);
		while (spec_next(&p, &s))
			g_string_append_printf(usage, s.optional ? " [%s]" : " %s", s.name);
		g_string_append_printf(out, "%-32s -- %s\n", usage->str, c->help);
		found = true;
	}
	if (!topic)
		g_string_append(
			out, "info [what]                      -- show something; see 'help info'\n"
			     "help|? [command]                 -- this list\n");
	if (topic && !found)
		g_string_append_printf(out, "help: no command '%s'\n", topic);
}

static bool run_help(const char *line, GString *out)
{
	g_auto(GStrv) words = g_strsplit(line, " ", 2);

	if (strcmp(words[0], "help") && strcmp(words[0], "?") && strcmp(line, "info"))
		return false;
	if (!strcmp(line, "info"))
		print_help(out, "info");
	else
		print_help(out, words[1] && *g_strstrip(words[1]) ? words[1] : NULL);
	return true;
}

static void unknown_command(const char *line, GString *out)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	g_autofree char *word =
		g_strndup(line, strcspn(line, g_str_has_prefix(line, "info ") ? "" : " "));
	const char *near;

	for (const struct command *c = monitor_commands; c->qmp || c->hmp; c++)
		if (c->hmp)
			g_ptr_array_add(names, (gpointer)c->hmp);
	g_ptr_array_add(names, NULL);
	near = nearest_name(word, (const char *const *)names->pdata);
	g_string_append_printf(out, "unknown command: '%s'", word);
	if (near)
		g_string_append_printf(out, "; did you mean '%s'?", near);
	g_string_append(out, "\n");
}

char *hmp_run_line(struct machine *m, struct monitor *mon, const char *line)
{
	GString *out = g_string_new(NULL);
	g_autofree char *copy = g_strstrip(g_strdup(line));
	g_autoptr(GError) err = NULL;
	const struct command *cmd;
	const char *rest;

	if (!*copy || run_help(copy, out))
		return g_string_free(out, FALSE);
	cmd = find_command(copy, &rest);
	if (!cmd) {
		unknown_command(copy, out);
	} else {
		struct call c = { .mon = mon, .machine = m, .text = out };

		c.args = parse_arguments(m, cmd, rest, &err);
		if (!c.args || !call_check(cmd, c.args, &err) || !cmd->run(&c, &err))
			g_string_append_printf(out, "Error: %s\n", err->message);
		else if (!out->len)
			print_result(c.result, out);
		g_clear_pointer(&c.result, json_node_unref);
		g_clear_pointer(&c.args, json_object_unref);
	}
	return g_string_free(out, FALSE);
}

static void run_entered(struct hmp *h)
{
	g_autofree char *line = g_strdup(h->line->str), *text = NULL;

	print(h, "\n");
	if (*line && (!h->history->len || strcmp(h->history->pdata[h->history->len - 1], line))) {
		g_ptr_array_add(h->history, g_strdup(line));
		if (h->history->len > HISTORY)
			g_ptr_array_remove_index(h->history, 0);
	}
	h->at = h->history->len;
	g_string_truncate(h->line, 0);
	text = hmp_run_line(h->machine, NULL, line);
	print(h, text);
	prompt(h);
}

static void redraw(struct hmp *h)
{
	chr_write(h->out, "\r\033[K", 4);
	prompt(h);
}

static void recall(struct hmp *h, bool up)
{
	if (up ? h->at == 0 : h->at >= h->history->len)
		return;
	h->at = up ? h->at - 1 : h->at + 1;
	g_string_assign(h->line, h->at < h->history->len ? h->history->pdata[h->at] : "");
	redraw(h);
}

/* Completes to what all candidates have in common, and lists them when there are several. */
static void complete(struct hmp *h)
{
	g_autoptr(GPtrArray) found = g_ptr_array_new();
	size_t common;

	for (const struct command *c = monitor_commands; c->qmp || c->hmp; c++)
		if (c->hmp && g_str_has_prefix(c->hmp, h->line->str))
			g_ptr_array_add(found, (gpointer)c->hmp);
	if (!found->len)
		return;
	common = strlen(found->pdata[0]);
	for (guint i = 1; i < found->len; i++) {
		const char *a = found->pdata[0], *b = found->pdata[i];
		size_t n = 0;

		while (n < common && a[n] == b[n])
			n++;
		common = n;
	}
	if (found->len > 1 && common == h->line->len) {
		g_ptr_array_add(found, NULL);
		g_autofree char *list = g_strjoinv("  ", (char **)found->pdata);

		print(h, "\n");
		print(h, list);
		print(h, "\n");
	}
	g_string_truncate(h->line, 0);
	g_string_append_len(h->line, found->pdata[0], (gssize)common);
	if (found->len == 1)
		g_string_append_c(h->line, ' ');
	redraw(h);
}

static void delete_word(struct hmp *h)
{
	while (h->line->len && h->line->str[h->line->len - 1] == ' ')
		g_string_truncate(h->line, h->line->len - 1);
	while (h->line->len && h->line->str[h->line->len - 1] != ' ')
		g_string_truncate(h->line, h->line->len - 1);
	redraw(h);
}

static void key(struct hmp *h, uint8_t c)
{
	if (h->escape) {
		/* ESC [ A and ESC [ B: cursor up and down. */
		if (h->escape == 1 && c == '[') {
			h->escape = 2;
			return;
		}
		if (h->escape == 2 && (c == 'A' || c == 'B'))
			recall(h, c == 'A');
		h->escape = 0;
		return;
	}
	switch (c) {
	case '\r':
	case '\n':
		run_entered(h);
		return;
	case 0x08:
	case 0x7f:
		if (h->line->len) {
			g_string_truncate(h->line, h->line->len - 1);
			chr_write(h->out, "\b \b", 3);
		}
		return;
	case 0x03: /* Ctrl-C */
	case 0x15: /* Ctrl-U */
		g_string_truncate(h->line, 0);
		redraw(h);
		return;
	case 0x17: /* Ctrl-W */
		delete_word(h);
		return;
	case 0x10: /* Ctrl-P, Ctrl-N */
	case 0x0e:
		recall(h, c == 0x10);
		return;
	case '\t':
		complete(h);
		return;
	case 0x1b:
		h->escape = 1;
		return;
	default:
		if (c < ' ' || h->line->len >= MONITOR_LONGEST_INPUT)
			return;
		g_string_append_c(h->line, (char)c);
		chr_write(h->out, &c, 1);
	}
}

void hmp_input(struct hmp *h, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		key(h, data[i]);
}
