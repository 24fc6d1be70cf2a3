/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: the list, the mux, the output queue. Backends are in their own files. */
#include "chardev/chardev.h"

#include <string.h>

#include "core/lock.h"
#include "core/options.h"

#define MOST_QUEUED (1u * MIB) /* output the host has not taken; more is dropped */

static GPtrArray *all;

static const struct chr_backend *const backends[] = {
	&chr_stdio, &chr_pty, &chr_file, &chr_socket, &chr_null, &chr_ringbuf,
};

static const char *const *backend_names(void)
{
	static const char *names[ARRAY_LEN(backends) + 1];

	for (size_t i = 0; i < ARRAY_LEN(backends); i++)
		names[i] = backends[i]->name;
	return names;
}

char *chr_help(void)
{
	GString *s = g_string_new(NULL);

	for (size_t i = 0; i < ARRAY_LEN(backends); i++)
		g_string_append_printf(s, "%-8s %s\n", backends[i]->name, backends[i]->help);
	return g_string_free(s, FALSE);
}

struct chardev *chr_find(const char *id)
{
	for (guint i = 0; all && i < all->len; i++) {
		struct chardev *c = all->pdata[i];

		if (!strcmp(c->id, id))
			return c;
	}
	return NULL;
}

void chr_foreach(void (*fn)(struct chardev *chr, void *opaque), void *opaque)
{
	for (guint i = 0; all && i < all->len; i++)
		fn(all->pdata[i], opaque);
}

static void chr_free(struct chardev *c)
{
	for (unsigned i = 0; i < c->nfronts; i++)
		c->fronts[i]->chr = NULL;
	if (c->ops && c->backend) {
		chr_flush(c);
		c->ops->close(c);
	}
	g_byte_array_unref(c->out);
	g_free(c->id);
	g_free(c);
}

void chr_free_all(void)
{
	while (all && all->len)
		chr_free(g_ptr_array_steal_index(all, all->len - 1));
	g_clear_pointer(&all, g_ptr_array_unref);
}

static struct chardev *open_list(GMainContext *context, struct optlist *l, GError **err)
{
	static unsigned anonymous;
	const char *type = optlist_get(l, "backend"), *id = optlist_get(l, "id");
	struct chardev *c = g_new0(struct chardev, 1);
	bool ok = true;

	c->context = context;
	c->out = g_byte_array_new();
	c->id = id ? g_strdup(id) : g_strdup_printf("chr%u", anonymous++);
	for (size_t i = 0; type && i < ARRAY_LEN(backends); i++)
		if (!strcmp(backends[i]->name, type))
			c->ops = backends[i];
	if (!c->ops) {
		g_autofree char *list = g_strjoinv(", ", (char **)backend_names());

		ok = error(err, "%s: unknown backend '%s'; there are: %s", l->option,
			   type ? type : "", list);
	} else if (chr_find(c->id)) {
		ok = error(err, "%s: id '%s' is taken by another chardev", l->option, c->id);
	}
	ok = ok && optlist_bool(l, "mux", &c->mux, err);
	/*
	 * Unknown keys are refused before anything is opened: each backend asks for all its keys
	 * first.
	 */
	ok = ok && c->ops->open(c, l, err);
	if (!ok) {
		chr_free(c);
		return NULL;
	}
	if (!all)
		all = g_ptr_array_new();
	g_ptr_array_add(all, c);
	return c;
}

struct chardev *chr_new(GMainContext *context, const char *text, GError **err)
{
	struct optlist *l = optlist_parse("-chardev", text, "backend");
	struct chardev *c = NULL;

	if (!optlist_get(l, "id"))
		error(err, "-chardev: '%s' needs an id: -chardev %s,id=NAME", text, text);
	else
		c = open_list(context, l, err);
	optlist_free(l);
	return c;
}

/* "tcp:host:port,server=on" to the list that -chardev would have got. */
static char *legacy_to_list(const char *text, GString *error_text)
{
	const char *rest = strchr(text, ':');
	g_autofree char *kind = rest ? g_strndup(text, (gsize)(rest - text)) : g_strdup(text);

	rest = rest ? rest + 1 : "";
	if (!strcmp(kind, "file"))
		return g_strdup_printf("file,path=%s", rest);
	if (!strcmp(kind, "unix"))
		return g_strdup_printf("socket,path=%s", rest);
	if (!strcmp(kind, "tcp") || !strcmp(kind, "telnet")) {
		const char *end = strchr(rest, ','), *colon;
		g_autofree char *address =
			end ? g_strndup(rest, (gsize)(end - rest)) : g_strdup(rest);

		colon = strrchr(address, ':');
		if (!colon) {
			g_string_printf(error_text, "'%s' needs host:port, as in %s:localhost:4444",
					text, kind);
			return NULL;
		}
		g_autofree char *host = g_strndup(address, (gsize)(colon - address));

		return g_strdup_printf(
			"socket,host=%s,port=%s%s%s", *host ? host : "localhost", colon + 1,
			*kind == 't' && kind[1] == 'e' ? ",telnet=on" : "", end ? end : "");
	}
	if (!strncmp(text, "stdio", 5) || !strncmp(text, "pty", 3) || !strncmp(text, "null", 4) ||
	    !strncmp(text, "ringbuf", 7))
		return g_strdup(text);
	g_string_printf(
		error_text,
		"unknown device '%s'; it takes stdio, mon:stdio, pty, file:PATH, tcp:HOST:PORT, "
		"telnet:HOST:PORT, unix:PATH, ringbuf, null, none or chardev:ID",
		text);
	return NULL;
}

struct chardev *chr_new_legacy(GMainContext *context, const char *option, const char *text,
			       const char *id, GError **err)
{
	g_autoptr(GString) error_text = g_string_new(NULL);
	g_autofree char *list = NULL, *full = NULL;
	bool mux = g_str_has_prefix(text, "mon:");
	struct optlist *l;
	struct chardev *c;

	if (!strcmp(text, "none"))
		return NULL;
	if (g_str_has_prefix(text, "chardev:")) {
		c = chr_find(text + 8);
		if (!c)
			error(err, "%s: no chardev '%s'; make it with -chardev BACKEND,id=%s",
			      option, text + 8, text + 8);
		return c;
	}
	list = legacy_to_list(mux ? text + 4 : text, error_text);
	if (!list) {
		error(err, "%s: %s", option, error_text->str);
		return NULL;
	}
	full = g_strdup_printf("%s,id=%s%s", list, id, mux ? ",mux=on" : "");
	l = optlist_parse(option, full, "backend");
	c = open_list(context, l, err);
	optlist_free(l);
	return c;
}

char *chr_describe(struct chardev *c)
{
	if (c->ops->describe)
		return c->ops->describe(c);
	return g_strdup(c->ops->name);
}

bool chr_attach(struct chardev *c, struct chr_front *front, GError **err)
{
	if (c->nfronts && !c->mux)
		return error(err, "chardev '%s': is in use already; give it mux=on to share it",
			     c->id);
	if (c->nfronts == ARRAY_LEN(c->fronts))
		return error(err, "chardev '%s': has %u users, more do not fit", c->id, c->nfronts);
	front->chr = c;
	front->open = c->connected;
	c->fronts[c->nfronts++] = front;
	/* The first user has the keyboard until Ctrl-A c: the guest's console, not the monitor. */
	if (c->connected && front->event)
		front->event(front->opaque, CHR_OPENED);
	chr_accept_input(front);
	return true;
}

void chr_detach(struct chr_front *front)
{
	struct chardev *c = front->chr;

	front->chr = NULL;
	if (!c)
		return;
	for (unsigned i = 0; i < c->nfronts; i++) {
		if (c->fronts[i] != front)
			continue;
		memmove(&c->fronts[i], &c->fronts[i + 1],
			(c->nfronts - i - 1) * sizeof(c->fronts[0]));
		c->nfronts--;
		break;
	}
	if (c->focus >= c->nfronts)
		c->focus = 0;
}

void chr_flush(struct chardev *c)
{
	while (c->out->len) {
		long n = c->ops->write(c, c->out->data, c->out->len);

		if (n < 0)
			n = c->out->len;
		if (n == 0)
			break;
		g_byte_array_remove_range(c->out, 0, (guint)n);
	}
	if (c->crowded && c->out->len <= MOST_QUEUED / 2) {
		c->crowded = false;
		for (unsigned i = 0; i < c->nfronts; i++)
			if (c->fronts[i]->can_write)
				c->fronts[i]->can_write(c->fronts[i]->opaque);
	}
}

static void write_out(struct chardev *c, const uint8_t *data, size_t len)
{
	if (c->out->len + len > MOST_QUEUED)
		return;
	g_byte_array_append(c->out, data, (guint)len);
	chr_flush(c);
	if (c->out->len && c->ops->want_write)
		c->ops->want_write(c);
}

void chr_write(struct chr_front *front, const void *data, size_t len)
{
	if (front->chr && len)
		write_out(front->chr, data, len);
}

bool chr_output_room(struct chr_front *front, size_t len)
{
	struct chardev *c = front->chr;

	if (!c || !c->out->len || c->out->len + len <= MOST_QUEUED)
		return true;
	c->crowded = true;
	return false;
}

/* Hands typed-ahead input to a mux's user as far as it takes it. */
static void deliver_typed(struct chr_front *f)
{
	while (f->ntyped && f->can_read && f->can_read(f->opaque)) {
		uint8_t c = f->typed[0];

		memmove(f->typed, f->typed + 1, --f->ntyped);
		f->read(f->opaque, &c, 1);
	}
}

void chr_accept_input(struct chr_front *front)
{
	deliver_typed(front);
	if (front->chr && front->chr->ops->accept_input)
		front->chr->ops->accept_input(front->chr);
}

static struct chr_front *focused(struct chardev *c)
{
	return c->nfronts ? c->fronts[c->focus] : NULL;
}

size_t chr_input_room(struct chardev *c)
{
	struct chr_front *f = focused(c);

	/* A mux always takes a byte at a time: its escape must work while the guest is stuck. */
	if (c->mux)
		return 1;
	return f && f->can_read ? f->can_read(f->opaque) : 0;
}

static void send_event(struct chr_front *f, enum chr_event e)
{
	if (f && f->event)
		f->event(f->opaque, e);
}

void chr_set_connected(struct chardev *c, bool connected)
{
	if (c->connected == connected)
		return;
	c->connected = connected;
	for (unsigned i = 0; i < c->nfronts; i++) {
		c->fronts[i]->open = connected;
		send_event(c->fronts[i], connected ? CHR_OPENED : CHR_CLOSED);
	}
}

#define MUX_ESCAPE 0x01 /* Ctrl-A */

static const char mux_help[] = "\r\n"
			       "Ctrl-A h  this help\r\n"
			       "Ctrl-A x  end the emulator\r\n"
			       "Ctrl-A b  send a break\r\n"
			       "Ctrl-A c  switch between console and monitor\r\n"
			       "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

/* The key after Ctrl-A; true if it is to be passed on. */
static bool mux_command(struct chardev *c, uint8_t key)
{
	switch (key) {
	case 'h':
	case '?':
		write_out(c, (const uint8_t *)mux_help, sizeof(mux_help) - 1);
		return false;
	case 'x':
		write_out(c, (const uint8_t *)"\r\nmoa: ended by Ctrl-A x\r\n", 25);
		if (c->quit)
			c->quit(c->quit_opaque);
		return false;
	case 'b':
		send_event(focused(c), CHR_BREAK);
		return false;
	case 'c':
		if (c->nfronts > 1) {
			send_event(focused(c), CHR_FOCUS_OUT);
			c->focus = (c->focus + 1) % c->nfronts;
			send_event(focused(c), CHR_FOCUS_IN);
		}
		return false;
	default:
		return key == MUX_ESCAPE;
	}
}

static void mux_input(struct chardev *c, uint8_t key)
{
	struct chr_front *f;

	if (!c->escape && key == MUX_ESCAPE) {
		c->escape = true;
		return;
	}
	if (c->escape) {
		c->escape = false;
		if (!mux_command(c, key))
			return;
	}
	f = focused(c);
	/* Beyond the buffer input is lost, as on a line without flow control. */
	if (f && f->read && f->ntyped < sizeof(f->typed)) {
		f->typed[f->ntyped++] = key;
		deliver_typed(f);
	}
}

void chr_input(struct chardev *c, const uint8_t *data, size_t len)
{
	struct chr_front *f = focused(c);

	if (!c->mux) {
		if (f && f->read)
			f->read(f->opaque, data, len);
		return;
	}
	for (size_t i = 0; i < len; i++)
		mux_input(c, data[i]);
}
