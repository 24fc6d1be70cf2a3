/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks of the command line: see nets.h. Spelling and defaults are QEMU's. */
#include "cmd/moa/nets.h"

#include <string.h>

#include "core/device.h"

/* Models and the devices that they are. The first is the default. */
static const struct {
	const char *model, *device;
} models[] = { { "e1000", "e1000" },
	       { "virtio-net-pci", "virtio-net-pci" },
	       { "virtio", "virtio-net-pci" } };

void net_wishes_init(struct net_wishes *w)
{
	w->netdevs = g_ptr_array_new_with_free_func(g_free);
	w->nics = g_ptr_array_new_with_free_func(g_free);
	w->old_nics = g_ptr_array_new_with_free_func(g_free);
	w->old_nets = g_ptr_array_new_with_free_func(g_free);
}

void net_wishes_clear(struct net_wishes *w)
{
	g_ptr_array_unref(w->netdevs);
	g_ptr_array_unref(w->nics);
	g_ptr_array_unref(w->old_nics);
	g_ptr_array_unref(w->old_nets);
}

char *net_models_help(void)
{
	GString *s = g_string_new("Models of cards:\n");

	for (size_t i = 0; i < ARRAY_LEN(models); i++)
		g_string_append_printf(s, "%s\n", models[i].model);
	return g_string_free(s, FALSE);
}

void net_wish_net(struct net_wishes *w, const char *text)
{
	bool nic = !strcmp(text, "nic") || g_str_has_prefix(text, "nic,");

	w->given = true;
	if (!strcmp(text, "none"))
		return;
	g_ptr_array_add(nic ? w->old_nics : w->old_nets, g_strdup(text));
}

static const char *device_of_model(const char *option, const char *model, GError **err)
{
	const char *names[ARRAY_LEN(models) + 1] = { NULL }, *near;
	g_autofree char *all = NULL;

	for (size_t i = 0; i < ARRAY_LEN(models); i++) {
		names[i] = models[i].model;
		if (!model || !strcmp(model, models[i].model))
			return models[i].device;
	}
	near = nearest_name(model, names);
	all = g_strjoinv(", ", (char **)names);
	error(err, "%s: no card model '%s'%s%s%s; there are: %s", option, model,
	      near ? "; did you mean '" : "", near ? near : "", near ? "'" : "", all);
	return NULL;
}

static bool make_card(struct machine *m, const char *option, const char *model, const char *mac,
		      const char *netdev, GError **err)
{
	const char *type = device_of_model(option, model, err);
	struct device *d;

	if (!type)
		return false;
	d = device_new(m, device_find(type, NULL), NULL);
	return (!mac || device_set(d, "mac", mac, err)) &&
	       (!netdev || device_set(d, "netdev", netdev, err)) &&
	       device_realize(d, machine_find_bus(m, "PCI", NULL), err);
}

/* What -nic says of the card and what of the network. */
static char *split_nic(const char *text, const char *id, char **model, char **mac)
{
	struct optlist *l = optlist_parse("-nic", text, "type");
	GString *network = g_string_new(NULL);
	bool has_id = false;

	for (guint i = 0; i < l->keys->len; i++) {
		const char *key = l->keys->pdata[i], *value = l->values->pdata[i];

		if (!strcmp(key, "model")) {
			g_free(*model);
			*model = g_strdup(value);
		} else if (!strcmp(key, "mac")) {
			g_free(*mac);
			*mac = g_strdup(value);
		} else {
			g_auto(GStrv) parts = g_strsplit(value, ",", -1);
			g_autofree char *escaped = g_strjoinv(",,", parts);

			has_id |= !strcmp(key, "id");
			g_string_append_printf(network, "%s%s=%s", network->len ? "," : "", key,
					       escaped);
		}
	}
	if (!has_id)
		g_string_append_printf(network, "%sid=%s", network->len ? "," : "", id);
	optlist_free(l);
	return g_string_free(network, FALSE);
}

static bool add_nic(struct machine *m, const char *text, unsigned n, GError **err)
{
	g_autofree char *id = g_strdup_printf("__nic%u", n), *model = NULL, *mac = NULL;
	g_autofree char *network = split_nic(text, id, &model, &mac);
	struct optlist *l = optlist_parse("-nic", network, "type");
	g_autofree char *name = g_strdup(optlist_get(l, "id"));

	optlist_free(l);
	return net_backend_new(m, "-nic", network, err) &&
	       make_card(m, "-nic", model, mac, name, err);
}

bool net_wishes_networks(struct net_wishes *w, struct machine *m, GError **err)
{
	for (guint i = 0; i < w->netdevs->len; i++)
		if (!net_backend_new(m, "-netdev", w->netdevs->pdata[i], err))
			return false;
	return true;
}

/* -net TYPE,...: a network under the name `id`. */
static bool add_old_net(struct machine *m, const char *text, const char *id, GError **err)
{
	g_autofree char *none = NULL, *mac = NULL;
	g_autofree char *network = split_nic(text, id, &none, &mac);

	return net_backend_new(m, "-net", network, err);
}

static bool add_old_nic(struct machine *m, const char *text, const char *network, GError **err)
{
	struct optlist *l = optlist_parse("-net nic", text, "type");
	const char *netdev = optlist_get(l, "netdev");
	bool ok = optlist_get(l, "type") &&
		  make_card(m, "-net nic", optlist_get(l, "model"), optlist_get(l, "macaddr"),
			    netdev ? netdev : network, err) &&
		  optlist_finish(l, err);

	optlist_free(l);
	return ok;
}

/* A port of hub 0, before the network `netdev` or for a card. */
static bool add_hub_port(struct machine *m, const char *id, const char *netdev, GError **err)
{
	g_autofree char *text = g_strdup_printf("hubport,id=%s,hubid=0%s%s", id,
						netdev ? ",netdev=" : "", netdev ? netdev : "");

	return net_backend_new(m, "-net", text, err);
}

/* One card and one network belong together; more of them meet at a hub. */
static bool add_old(struct net_wishes *w, struct machine *m, GError **err)
{
	bool hub = w->old_nets->len > 1 || w->old_nics->len > 1;

	for (guint i = 0; i < w->old_nets->len; i++) {
		g_autofree char *id = g_strdup_printf("__net%u", i);
		g_autofree char *port = g_strdup_printf("__hub0net%u", i);

		if (!add_old_net(m, w->old_nets->pdata[i], id, err) ||
		    (hub && !add_hub_port(m, port, id, err)))
			return false;
	}
	for (guint i = 0; i < w->old_nics->len; i++) {
		g_autofree char *port = g_strdup_printf("__hub0port%u", i);

		if (hub && !add_hub_port(m, port, NULL, err))
			return false;
		if (!add_old_nic(m, w->old_nics->pdata[i],
				 hub		    ? port
				 : w->old_nets->len ? "__net0"
						    : NULL,
				 err))
			return false;
	}
	return true;
}

bool net_wishes_cards(struct net_wishes *w, struct machine *m, bool defaults, GError **err)
{
	for (guint i = 0; i < w->nics->len; i++)
		if (strcmp(w->nics->pdata[i], "none") && !add_nic(m, w->nics->pdata[i], i, err))
			return false;
	if (!add_old(w, m, err))
		return false;
	return w->given || !defaults || add_nic(m, "user", 0, err);
}
