/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects of the command line: see objects.h. Spelling is QEMU's. */
#include "cmd/moa/objects.h"

#include <string.h>

#include "core/iothread.h"
#include "core/options.h"
#include "net/pcap.h"

static bool make_dump(struct optlist *l, GError **err)
{
	const char *id = optlist_get(l, "id"), *netdev = optlist_get(l, "netdev"),
		   *file = optlist_get(l, "file");
	uint64_t most = 65536;

	if (!id || !netdev || !file)
		return error(err, "-object filter-dump: needs id=ID, netdev=ID and file=FILE");
	return optlist_uint(l, "maxlen", 1, INT32_MAX, &most, err) && optlist_finish(l, err) &&
	       net_dump_new(id, netdev, file, most, err);
}

static bool make_iothread(struct optlist *l, GError **err)
{
	const char *id = optlist_get(l, "id");

	if (!id)
		return error(err, "-object iothread: needs id=ID");
	return optlist_finish(l, err) && iothread_new(id, err);
}

static const struct {
	const char *type, *help;
	bool early;
	bool (*make)(struct optlist *l, GError **err);
} types[] = {
	{ "filter-dump", "what passes a network, to a file: id=ID,netdev=ID,file=FILE[,maxlen=N]",
	  false, make_dump },
	{ "iothread",
	  "a thread that moves data of disks and networks, for a device's iothread=ID: id=ID", true,
	  make_iothread },
};

char *objects_help(void)
{
	GString *s = g_string_new("Objects:\n");

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		g_string_append_printf(s, "%s: %s\n", types[i].type, types[i].help);
	return g_string_free(s, FALSE);
}

static bool make(const char *text, bool early, GError **err)
{
	struct optlist *l = optlist_parse("-object", text, "qom-type");
	const char *type = optlist_get(l, "qom-type");
	bool ok = true, known = false;

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (!type || strcmp(type, types[i].type))
			continue;
		known = true;
		if (types[i].early == early)
			ok = types[i].make(l, err);
	}
	optlist_free(l);
	return known ? ok
		     : error(err, "-object: no type '%s'; there is: filter-dump, iothread",
			     type ? type : "");
}

bool objects_make(GPtrArray *texts, bool early, GError **err)
{
	for (guint i = 0; i < texts->len; i++)
		if (!make(texts->pdata[i], early, err))
			return false;
	return true;
}
