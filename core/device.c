/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices: registry, properties, life cycle, windows, DMA. See device.h. */
#include "core/device.h"

#include <string.h>
#include <sys/uio.h>

#include "core/log.h"
#include "core/state.h"

const struct device_info *device_find(const char *name, GError **err)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const char *near;

	for (const struct device_info *const *d = device_registry; *d; d++) {
		if (!strcmp((*d)->name, name) || ((*d)->alias && !strcmp((*d)->alias, name)))
			return *d;
		if (!(*d)->board_only)
			g_ptr_array_add(names, (gpointer)(*d)->name);
	}
	g_ptr_array_add(names, NULL);
	near = nearest_name(name, (const char *const *)names->pdata);
	if (near)
		error(err, "-device: no device '%s'; did you mean '%s'?", name, near);
	else
		error(err, "-device: no device '%s'; see -device help", name);
	return NULL;
}

const char *device_name(const void *dev)
{
	const struct device *d = dev;

	return d->id ? d->id : d->info->name;
}

static bool bus_is_there(const struct machine *m, const char *name)
{
	for (guint i = 0; i < m->buses->len; i++)
		if (!strcmp(((struct bus *)m->buses->pdata[i])->name, name))
			return true;
	return false;
}

char *bus_name(const struct device *owner, const char *stem, unsigned n)
{
	if (owner->id)
		return g_strdup_printf("%s.%u", owner->id, n);
	for (unsigned i = 0;; i++) {
		char *name = g_strdup_printf("%s.%u", stem, i);

		if (!bus_is_there(owner->machine, name))
			return name;
		g_free(name);
	}
}

struct global {
	const struct device_info *info;
	char *prop, *value;
};
static GArray *globals;

bool device_add_global(const char *text, GError **err)
{
	const char *eq = strchr(text, '='), *dot = NULL;
	struct global g;

	/* The last dot before the equals sign: device names have dots too. */
	for (const char *p = text; eq && p < eq; p++)
		if (*p == '.')
			dot = p;
	if (!dot)
		return error(err, "-global: '%s' is not TYPE.PROPERTY=VALUE", text);
	g_autofree char *type = g_strndup(text, (gsize)(dot - text));
	g_autofree char *prop = g_strndup(dot + 1, (gsize)(eq - dot - 1));

	g.info = device_find(type, err);
	if (!g.info)
		return false;
	/* Tried out on a scratch struct, so that a bad value is refused here. */
	g_autofree void *scratch = g_malloc0(g.info->size);
	bool ok;

	props_init(g.info->props, scratch);
	ok = prop_set(g.info->props, scratch, type, prop, eq + 1, err);
	props_free(g.info->props, scratch);
	if (!ok)
		return false;
	g.prop = g_steal_pointer(&prop);
	g.value = g_strdup(eq + 1);
	if (!globals)
		globals = g_array_new(FALSE, FALSE, sizeof(g));
	g_array_append_val(globals, g);
	return true;
}

bool device_has_global(const struct device_info *info, const char *prop)
{
	for (guint i = 0; globals && i < globals->len; i++) {
		const struct global *g = &g_array_index(globals, struct global, i);

		if (g->info == info && !strcmp(g->prop, prop))
			return true;
	}
	return false;
}

static void apply_globals(struct device *d)
{
	for (guint i = 0; globals && i < globals->len; i++) {
		const struct global *g = &g_array_index(globals, struct global, i);

		if (g->info == d->info)
			prop_set(d->info->props, d, d->info->name, g->prop, g->value, NULL);
	}
}

/* Type and number among its type: the same board makes the same paths every time. */
static char *make_path(struct machine *m, const struct device_info *info)
{
	unsigned n = 0;

	for (guint i = 0; i < m->devices->len; i++)
		n += ((struct device *)m->devices->pdata[i])->info == info;
	return g_strdup_printf("%s[%u]", info->name, n);
}

void *device_new(struct machine *m, const struct device_info *info, const char *id)
{
	struct device *d = g_malloc0(info->size);

	d->info = info;
	d->machine = m;
	d->id = g_strdup(id);
	d->path = make_path(m, info);
	props_init(info->props, d);
	apply_globals(d);
	g_ptr_array_add(m->devices, d);
	return d;
}

bool device_set(void *dev, const char *prop, const char *value, GError **err)
{
	struct device *d = dev;

	return prop_set(d->info->props, d, device_name(d), prop, value, err);
}

void device_set_uint(void *dev, const char *prop, uint64_t value)
{
	struct device *d = dev;
	const struct field *f = field_find(d->info->props, prop);

	assert(f && !d->realized);
	field_put(f, d, 0, value);
}

static void init_windows(struct device *d)
{
	const struct window *w = d->info->windows;

	for (unsigned i = 0; w && w[i].name; i++) {
		struct region_ops ops = { w[i].read, w[i].write, w[i].min, w[i].max };

		assert(i < MOST_WINDOWS);
		region_init_io(&d->regions[i], w[i].name, w[i].size, &ops, d, d);
	}
}

bool device_realize(void *dev, struct bus *bus, GError **err)
{
	struct device *d = dev;

	init_windows(d);
	if (bus) {
		if (bus->attach && !bus->attach(bus, d, err))
			return false;
		d->bus = bus;
	}
	if (d->info->realize && !d->info->realize(d, err)) {
		if (bus && bus->detach)
			bus->detach(bus, d);
		d->bus = NULL;
		return false;
	}
	d->realized = true;
	return true;
}

static void cancel_timers(const struct field *fields, void *obj)
{
	for (const struct field *f = fields; f && !field_end(f); f++) {
		for (size_t i = 0; i < field_count(f); i++) {
			char *at = (char *)obj + f->offset + i * field_elem_size(f);

			if (f->type == FT_TIMER)
				timer_cancel((struct timer *)(void *)at);
			else if (f->type == FT_OBJ)
				cancel_timers(f->sub->fields, at);
		}
	}
}

void device_free(void *dev)
{
	struct device *d = dev;

	if (d->realized && d->info->unrealize)
		d->info->unrealize(d);
	cancel_timers(d->info->state, d);
	for (unsigned i = 0; i < MOST_WINDOWS; i++)
		region_destroy(&d->regions[i]);
	if (d->bus && d->bus->detach)
		d->bus->detach(d->bus, d);
	g_ptr_array_remove(d->machine->devices, d);
	props_free(d->info->props, d);
	g_free(d->id);
	g_free(d->path);
	g_free(d);
}

void device_map_priority(void *dev, unsigned window, uint64_t addr, int priority)
{
	struct device *d = dev;
	const struct window *w = &d->info->windows[window];
	struct space *s = w->kind == WIN_PIO ? &d->machine->ports : &d->machine->mem;

	region_add(&s->root, addr, priority, &d->regions[window]);
}

void device_map(void *dev, unsigned window, uint64_t addr)
{
	device_map_priority(dev, window, addr, 0);
}

static unsigned section_version(const struct device_info *info)
{
	return MAX_OF(info->version, 1u);
}

void device_save(struct device *d, GByteArray *out)
{
	if (!d->info->state)
		return;
	if (d->info->saving)
		d->info->saving(d);
	state_section(out, d->path, d->info->name, section_version(d->info), d->info->state, d);
}

bool device_load(struct device *d, const struct state_section *s, GError **err)
{
	if (strcmp(s->type, d->info->name))
		return error(err,
			     "saved state: section '%s' is a '%s', this machine has a '%s' there",
			     s->path, s->type, d->info->name);
	return state_load(s, section_version(d->info), d->info->state, d, err);
}

bool device_loaded(struct device *d, GError **err)
{
	if (d->bus && d->bus->loaded && !d->bus->loaded(d->bus, d, err))
		return false;
	return !d->info->loaded || d->info->loaded(d, err);
}

/* DMA under a lock that must not be held when another device's handler runs. */
static bool copy_ram(struct device *d, uint64_t addr, void *buf, size_t len, bool write)
{
	uint8_t *p = buf;

	while (len) {
		struct dma_map map;

		if (!dma_map(d, addr, len, write, &map))
			return false;
		memcpy(write ? map.host : p, write ? p : map.host, map.len);
		addr += map.len;
		p += map.len;
		len -= map.len;
		dma_unmap(&map, map.len);
	}
	return true;
}

static bool is_dma_off(const struct device *d)
{
	return __atomic_load_n(&d->dma_off, __ATOMIC_RELAXED);
}

bool dma_read(void *dev, uint64_t addr, void *buf, size_t len)
{
	struct device *d = dev;

	if (is_dma_off(d)) {
		memset(buf, 0xff, len);
		log_guest(d, "DMA read at 0x%" G_GINT64_MODIFIER "x with bus mastering off", addr);
		return false;
	}
	return d->dma_ram_only ? copy_ram(d, addr, buf, len, false)
			       : space_read(&d->machine->mem, addr, buf, len);
}

bool dma_write(void *dev, uint64_t addr, const void *buf, size_t len)
{
	struct device *d = dev;

	if (is_dma_off(d)) {
		log_guest(d, "DMA write at 0x%" G_GINT64_MODIFIER "x with bus mastering off", addr);
		return false;
	}
	return d->dma_ram_only ? copy_ram(d, addr, (void *)buf, len, true)
			       : space_write(&d->machine->mem, addr, buf, len);
}

bool dma_map(void *dev, uint64_t addr, size_t len, bool write, struct dma_map *map)
{
	struct device *d = dev;

	*map = (struct dma_map) { .len = len, .write = write };
	if (is_dma_off(d))
		return false;
	map->host =
		space_map(&d->machine->mem, addr, &map->len, write, &map->block, &map->block_off);
	return map->host != NULL;
}

void dma_unmap(struct dma_map *map, size_t written)
{
	if (map->host && map->write)
		ram_mark_dirty(map->block, map->block_off, MIN_OF(written, map->len));
	map->host = NULL;
}

void dma_list_start(struct dma_list *l, bool write)
{
	*l = (struct dma_list) { g_array_new(FALSE, FALSE, sizeof(struct dma_map)), 0, write };
}

bool dma_list_add(void *dev, struct dma_list *l, uint64_t addr, size_t len)
{
	while (len) {
		struct dma_map map;

		if (!dma_map(dev, addr, len, l->write, &map))
			return false;
		g_array_append_val(l->maps, map);
		l->len += map.len;
		addr += map.len;
		len -= map.len;
	}
	return true;
}

struct iovec *dma_list_iov(const struct dma_list *l, int *n)
{
	struct iovec *iov = g_new(struct iovec, l->maps->len + 1);

	*n = (int)l->maps->len;
	for (int i = 0; i < *n; i++) {
		const struct dma_map *map = &g_array_index(l->maps, struct dma_map, i);

		iov[i] = (struct iovec) { map->host, map->len };
	}
	return iov;
}

void dma_list_end(struct dma_list *l)
{
	if (!l->maps)
		return;
	for (guint i = 0; i < l->maps->len; i++) {
		struct dma_map *map = &g_array_index(l->maps, struct dma_map, i);

		dma_unmap(map, map->len);
	}
	g_clear_pointer(&l->maps, g_array_unref);
}
