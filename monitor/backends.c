/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about drives and networks. Results are QEMU's, as far as moa has what they tell of. */
#include <string.h>

#include "block/drive.h"
#include "monitor/monitor.h"
#include "net/net.h"
#include "net/user.h"

static struct drive *find_drive(struct call *c, GError **err)
{
	const char *id = call_str(c, "device", "");
	struct drive *d = drive_find(id);

	if (!d)
		error(err, "Device '%s' not found: `info block` lists the drives", id);
	return d;
}

static JsonNode *array_result(JsonArray *a)
{
	JsonNode *n = json_node_new(JSON_NODE_ARRAY);

	json_node_take_array(n, a);
	return n;
}

static JsonObject *describe_image(const struct drive *d)
{
	JsonObject *o = json_object_new(), *image = json_object_new();
	struct block *b = d->block;

	json_object_set_string_member(o, "file", b->path);
	json_object_set_string_member(o, "drv", b->format->name);
	json_object_set_boolean_member(o, "ro", d->read_only);
	json_object_set_string_member(image, "filename", b->path);
	json_object_set_string_member(image, "format", b->format->name);
	json_object_set_int_member(image, "virtual-size", (gint64)b->size);
	if (b->backing_file) {
		json_object_set_string_member(o, "backing_file", b->backing->path);
		json_object_set_string_member(image, "backing-filename", b->backing_file);
	}
	json_object_set_object_member(o, "image", image);
	return o;
}

static void say_drive(struct call *c, struct drive *d)
{
	if (!c->text)
		return;
	if (d->block)
		g_string_append_printf(c->text, "%s: %s (%s%s)\n", d->id, d->block->path,
				       d->block->format->name, d->read_only ? ", read-only" : "");
	else
		g_string_append_printf(c->text, "%s: [not inserted]\n", d->id);
	if (d->user_name)
		g_string_append_printf(c->text, "    Attached to:      %s\n", d->user_name);
	if (d->removable)
		g_string_append_printf(c->text, "    Removable device: %slocked, tray %s\n",
				       drive_tray(d).locked ? "" : "not ",
				       drive_tray(d).open ? "open" : "closed");
	else
		g_string_append_printf(c->text, "    Cache mode:       %s%s\n",
				       d->writethrough ? "writethrough" : "writeback",
				       d->block && d->block->options.direct ? ", direct" : "");
	if (d->block && d->block->backing)
		g_string_append_printf(c->text, "    Backing file:     %s\n",
				       d->block->backing->path);
}

bool query_block(struct call *c, GError **err)
{
	JsonArray *list = json_array_new();
	struct drive *d;

	(void)err;
	for (unsigned i = 0; (d = drive_nth(i)); i++) {
		JsonObject *o = json_object_new();

		json_object_set_string_member(o, "device", d->id);
		if (d->user_name)
			json_object_set_string_member(o, "qdev", d->user_name);
		json_object_set_boolean_member(o, "locked", drive_tray(d).locked);
		json_object_set_boolean_member(o, "removable", d->removable);
		json_object_set_string_member(o, "type", "unknown");
		if (d->removable)
			json_object_set_boolean_member(o, "tray_open", drive_tray(d).open);
		else
			json_object_set_string_member(o, "io-status",
						      c->machine->state == RUN_IO_ERROR ? "failed"
											: "ok");
		if (d->block)
			json_object_set_object_member(o, "inserted", describe_image(d));
		json_array_add_object_element(list, o);
		say_drive(c, d);
	}
	c->result = array_result(list);
	return true;
}

bool query_iothreads(struct call *c, GError **err)
{
	JsonArray *list = json_array_new();
	struct iothread *t;

	(void)err;
	for (unsigned i = 0; (t = iothread_nth(i)); i++) {
		JsonObject *o = json_object_new();
		int tid = __atomic_load_n(&t->tid, __ATOMIC_ACQUIRE);

		json_object_set_string_member(o, "id", t->id);
		json_object_set_int_member(o, "thread-id", tid);
		json_array_add_object_element(list, o);
		if (c->text)
			g_string_append_printf(c->text, "%s:\n  thread_id=%d\n", t->id, tid);
	}
	c->result = array_result(list);
	return true;
}

bool query_blockstats(struct call *c, GError **err)
{
	static const struct {
		enum drive_op op;
		const char *bytes, *operations, *failed;
	} rows[] = { { DRIVE_READ, "rd_bytes", "rd_operations", "failed_rd_operations" },
		     { DRIVE_WRITE, "wr_bytes", "wr_operations", "failed_wr_operations" },
		     { DRIVE_FLUSH, NULL, "flush_operations", "failed_flush_operations" },
		     { DRIVE_DISCARD, "unmap_bytes", "unmap_operations",
		       "failed_unmap_operations" },
		     { DRIVE_ZERO, "zero_bytes", "zero_operations", "failed_zero_operations" } };
	JsonArray *list = json_array_new();
	struct drive *d;

	(void)err;
	for (unsigned i = 0; (d = drive_nth(i)); i++) {
		JsonObject *o = json_object_new(), *stats = json_object_new();
		struct drive_stats now = drive_get_stats(d);

		if (c->text)
			g_string_append_printf(c->text, "%s:", d->id);
		for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
			enum drive_op op = rows[k].op;

			if (rows[k].bytes)
				json_object_set_int_member(stats, rows[k].bytes,
							   (gint64)now.bytes[op]);
			json_object_set_int_member(stats, rows[k].operations, (gint64)now.ops[op]);
			json_object_set_int_member(stats, rows[k].failed, (gint64)now.failed[op]);
			if (c->text && rows[k].bytes)
				g_string_append_printf(c->text, " %s=%" G_GUINT64_FORMAT,
						       rows[k].bytes, now.bytes[op]);
			if (c->text)
				g_string_append_printf(c->text, " %s=%" G_GUINT64_FORMAT,
						       rows[k].operations, now.ops[op]);
		}
		if (c->text)
			g_string_append_c(c->text, '\n');
		json_object_set_string_member(o, "device", d->id);
		json_object_set_object_member(o, "stats", stats);
		json_array_add_object_element(list, o);
	}
	c->result = array_result(list);
	return true;
}

bool cmd_block_resize(struct call *c, GError **err)
{
	struct drive *d = find_drive(c, err);
	int64_t size = call_int(c, "size", 0);

	if (d && size <= 0)
		return error(err, "size %" G_GINT64_FORMAT ": takes bytes", size);
	return d && drive_resize(d, (uint64_t)size, err);
}

bool cmd_throttle(struct call *c, GError **err)
{
	struct drive *d = find_drive(c, err);
	struct throttle t = { 0 };

	if (!d)
		return false;
	for (unsigned i = 0; i < THROTTLES; i++) {
		int64_t v = call_int(c, throttle_names[i], 0);

		if (v < 0)
			return error(err, "%s: takes 0 (no limit) or more", throttle_names[i]);
		t.rate[i] = (uint64_t)v;
	}
	drive_set_throttle(d, &t);
	return true;
}

bool cmd_eject(struct call *c, GError **err)
{
	struct drive *d = find_drive(c, err);

	return d && drive_change_medium(d, NULL, NULL, call_bool(c, "force", false), err);
}

bool cmd_change(struct call *c, GError **err)
{
	struct drive *d = find_drive(c, err);

	return d && drive_change_medium(d, call_str(c, "filename", ""), call_str(c, "format", NULL),
					call_bool(c, "force", false), err);
}

bool info_network(struct call *c, GError **err)
{
	struct net_port *p;

	(void)err;
	for (unsigned i = 0; (p = net_nth(i)); i++) {
		g_autofree char *what = NULL;

		iothread_lock(p->iothread);
		what = p->ops && p->ops->describe ? p->ops->describe(p->opaque) : NULL;
		g_string_append_printf(
			c->text,
			"%s: %s%s, to %s: sent %" G_GUINT64_FORMAT " frames, %" G_GUINT64_FORMAT
			" bytes, %" G_GUINT64_FORMAT " dropped; %u wait for it\n",
			p->id, what ? what : "card", p->link_down ? ", link down" : "",
			p->peer ? p->peer->id : "nobody", p->sent.frames, p->sent.bytes,
			p->sent.dropped, g_queue_get_length(&p->queue));
		iothread_unlock(p->iothread);
	}
	return true;
}

static struct balloon *find_balloon(struct call *c, GError **err)
{
	if (!c->machine->balloon)
		error(err, "No balloon device: start moa with -device virtio-balloon-pci");
	return c->machine->balloon;
}

bool query_balloon(struct call *c, GError **err)
{
	static const char *const names[BALLOON_STATS] = {
		"stat-swap-in",		 "stat-swap-out",    "stat-major-faults",
		"stat-minor-faults",	 "stat-free-memory", "stat-total-memory",
		"stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc",
		"stat-htlb-pgfail"
	};
	struct balloon *b = find_balloon(c, err);
	JsonObject *o = json_object_new(), *told = json_object_new();
	uint64_t stats[BALLOON_STATS];

	if (!b) {
		json_object_unref(o);
		json_object_unref(told);
		return false;
	}
	json_object_set_int_member(o, "actual", (gint64)b->actual(b->opaque));
	b->stats(b->opaque, stats);
	if (c->text)
		g_string_append_printf(c->text, "balloon: actual=%" G_GUINT64_FORMAT,
				       b->actual(b->opaque) / MIB);
	for (unsigned i = 0; i < BALLOON_STATS; i++) {
		if (stats[i] == UINT64_MAX)
			continue;
		json_object_set_int_member(told, names[i], (gint64)stats[i]);
		if (c->text)
			g_string_append_printf(c->text, " %s=%" G_GUINT64_FORMAT,
					       names[i] + strlen("stat-"), stats[i]);
	}
	json_object_set_object_member(o, "stats", told);
	if (c->text)
		g_string_append_c(c->text, '\n');
	c->result = json_node_new(JSON_NODE_OBJECT);
	json_node_take_object(c->result, o);
	return true;
}

bool cmd_balloon(struct call *c, GError **err)
{
	struct balloon *b = find_balloon(c, err);
	int64_t value = call_int(c, "value", 0);

	if (!b)
		return false;
	/* HMP counts in MiB. */
	if (c->text)
		value = value > INT64_MAX / (int64_t)MIB ? -1 : value * (int64_t)MIB;
	if (value <= 0)
		return error(err, "value: takes how much memory the guest is to have, above 0");
	b->set_target(b->opaque, (uint64_t)value);
	return true;
}

/* "[NETDEV] RULE" */
static bool change_forward(struct call *c, GError **err,
			   bool (*change)(const char *netdev, const char *rule, GError **err))
{
	g_autofree char *text = g_strstrip(g_strdup(call_str(c, "rule", "")));
	char *rule = strrchr(text, ' ');

	if (!rule)
		return change(NULL, text, err);
	*rule++ = '\0';
	return change(g_strchomp(text), rule, err);
}

bool cmd_hostfwd_add(struct call *c, GError **err)
{
	return change_forward(c, err, net_user_forward);
}

bool cmd_hostfwd_remove(struct call *c, GError **err)
{
	return change_forward(c, err, net_user_forward_no_more);
}

bool info_usernet(struct call *c, GError **err)
{
	(void)err;
	net_user_print(c->text);
	return true;
}

bool cmd_set_link(struct call *c, GError **err)
{
	const char *name = call_str(c, "name", "");
	struct net_port *p = net_find(name);

	if (!p)
		return error(err, "Device '%s' not found: `info network` lists networks and cards",
			     name);
	iothread_lock(p->iothread);
	net_set_link(p, call_bool(c, "up", true));
	iothread_unlock(p->iothread);
	return true;
}
