/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory spaces: building and flattening the tree. Accesses through it are access.c. See memory.h.
 */
#include "core/memory.h"

#include <string.h>

#include "core/log.h"
#include "core/rcu.h"

#ifdef __SANITIZE_THREAD__
char rcu_order;
#endif

static void region_init(struct region *r, const char *name, enum region_kind kind, uint64_t size)
{
	memset(r, 0, sizeof(*r));
	r->name = name;
	r->kind = kind;
	r->size = size;
	r->enabled = true;
}

void region_init_group(struct region *r, const char *name, uint64_t size)
{
	region_init(r, name, REGION_GROUP, size);
	r->children = g_ptr_array_new();
}

void region_init_io(struct region *r, const char *name, uint64_t size, const struct region_ops *ops,
		    void *opaque, struct device *owner)
{
	region_init(r, name, REGION_IO, size);
	r->ops = *ops;
	r->opaque = opaque;
	r->owner = owner;
}

void region_init_ram(struct region *r, const char *name, struct ram_block *ram)
{
	region_init(r, name, REGION_RAM, ram->size);
	r->ram = ram;
}

void region_init_rom(struct region *r, const char *name, struct ram_block *ram,
		     const struct region_ops *ops, void *opaque, struct device *owner)
{
	region_init(r, name, REGION_ROM, ram->size);
	r->ram = ram;
	r->owner = owner;
	r->opaque = opaque;
	if (ops)
		r->ops = *ops;
}

void region_init_alias(struct region *r, const char *name, struct region *target, uint64_t off,
		       uint64_t size)
{
	region_init(r, name, REGION_ALIAS, size);
	r->target = target;
	r->target_off = off;
}

static struct space *space_of(const struct region *r)
{
	while (r->parent)
		r = r->parent;
	return r->space;
}

/* A region outside every space changes nothing. */
static void touched(const struct region *r)
{
	struct space *s = space_of(r);

	if (!s)
		return;
	space_begin(s);
	s->changed = true;
	space_commit(s);
}

void region_add(struct region *parent, uint64_t addr, int priority, struct region *child)
{
	guint i;

	assert(parent->kind == REGION_GROUP && !child->parent);
	child->parent = parent;
	child->addr = addr;
	child->priority = priority;
	/* By falling priority; among equals the newest first. */
	for (i = 0; i < parent->children->len; i++) {
		const struct region *other = parent->children->pdata[i];

		if (priority >= other->priority)
			break;
	}
	g_ptr_array_insert(parent->children, (gint)i, child);
	touched(child);
}

void region_remove(struct region *child)
{
	struct region *parent = child->parent;

	if (!parent)
		return;
	g_ptr_array_remove(parent->children, child);
	child->parent = NULL;
	touched(parent);
}

void region_destroy(struct region *r)
{
	region_remove(r);
	if (r->children) {
		while (r->children->len)
			region_remove(r->children->pdata[r->children->len - 1]);
		g_ptr_array_unref(r->children);
		r->children = NULL;
	}
}

void region_set_enabled(struct region *r, bool enabled)
{
	if (r->enabled == enabled)
		return;
	r->enabled = enabled;
	touched(r);
}

void region_set_addr(struct region *r, uint64_t addr)
{
	if (r->addr == addr)
		return;
	r->addr = addr;
	touched(r);
}

void region_set_rom_reads(struct region *r, bool by_handler)
{
	if (r->rom_handler_reads == by_handler)
		return;
	r->rom_handler_reads = by_handler;
	touched(r);
}

void region_set_read_only(struct region *r, bool read_only)
{
	if (r->read_only == read_only)
		return;
	r->read_only = read_only;
	touched(r);
}

/* Puts [start, end) of `range` into the holes of the view; what is there already has priority. */
static void fill_holes(GArray *view, uint64_t start, uint64_t end, const struct flat_range *range,
		       uint64_t range_start)
{
	guint i = 0;

	while (start < end) {
		struct flat_range *r, piece = *range;
		uint64_t stop = end;

		for (; i < view->len; i++) {
			r = &g_array_index(view, struct flat_range, i);
			if (r->start + r->size > start)
				break;
		}
		if (i < view->len) {
			r = &g_array_index(view, struct flat_range, i);
			if (r->start <= start) {
				start = r->start + r->size;
				continue;
			}
			stop = MIN_OF(stop, r->start);
		}
		piece.start = start;
		piece.size = stop - start;
		piece.off = range->off + (start - range_start);
		g_array_insert_val(view, i, piece);
		start = stop;
	}
}

#define DEEPEST_ALIAS 16

/*
 * Renders `r`, whose offset 0 lies at `base` (which may wrap below 0 for aliases), clipped to
 * [lo, hi).
 */
static void render(GArray *view, struct region *r, __int128 base, uint64_t lo, uint64_t hi,
		   bool read_only, unsigned depth)
{
	__int128 start = base, end = base + r->size;
	struct flat_range range;

	if (!r->enabled || depth > DEEPEST_ALIAS)
		return;
	start = MAX_OF(start, (__int128)lo);
	end = MIN_OF(end, (__int128)hi);
	if (start >= end)
		return;
	read_only |= r->read_only;
	switch (r->kind) {
	case REGION_GROUP:
		for (guint i = 0; i < r->children->len; i++) {
			struct region *c = r->children->pdata[i];

			render(view, c, base + c->addr, (uint64_t)start, (uint64_t)end, read_only,
			       depth + 1);
		}
		return;
	case REGION_ALIAS:
		render(view, r->target, base - r->target_off, (uint64_t)start, (uint64_t)end,
		       read_only, depth + 1);
		return;
	default:
		break;
	}
	range = (struct flat_range) {
		.region = r,
		.off = (uint64_t)(start - base),
		.read_only = read_only || r->kind == REGION_ROM,
		.direct_reads =
			r->kind == REGION_RAM || (r->kind == REGION_ROM && !r->rom_handler_reads),
	};
	fill_holes(view, (uint64_t)start, (uint64_t)end, &range, (uint64_t)start);
}

static bool same_range(const struct flat_range *a, const struct flat_range *b)
{
	return a->start == b->start && a->size == b->size && a->region == b->region &&
	       a->off == b->off && a->read_only == b->read_only &&
	       a->direct_reads == b->direct_reads;
}

static bool continues(const struct flat_range *a, const struct flat_range *b)
{
	return a->start + a->size == b->start && a->region == b->region &&
	       a->off + a->size == b->off && a->read_only == b->read_only &&
	       a->direct_reads == b->direct_reads;
}

static struct flat_view *flatten(struct space *s)
{
	GArray *a = g_array_new(FALSE, FALSE, sizeof(struct flat_range));
	struct flat_view *v = g_new0(struct flat_view, 1);

	render(a, &s->root, 0, 0, s->root.size, false, 0);
	v->ranges = (struct flat_range *)(void *)a->data;
	for (guint i = 0; i < a->len; i++) {
		struct flat_range *last = v->count ? &v->ranges[v->count - 1] : NULL;

		if (last && continues(last, &v->ranges[i]))
			last->size += v->ranges[i].size;
		else
			v->ranges[v->count++] = v->ranges[i];
	}
	g_array_free(a, FALSE);
	return v;
}

void flat_view_free(struct flat_view *v)
{
	if (!v)
		return;
	g_free(v->ranges);
	g_free(v);
}

struct flat_view *space_copy_view(struct space *s)
{
	struct flat_view *v, *copy = g_new0(struct flat_view, 1);

	rcu_begin();
	v = rcu_dereference(s->view);
	copy->count = v->count;
	copy->ranges = g_memdup2(v->ranges, v->count * sizeof(*v->ranges));
	rcu_end();
	return copy;
}

/*
 * Both views are sorted, so one pass finds what differs. Listeners hear every removal before the
 * first addition: a slot must be free before another takes its addresses.
 */
static void tell_differences(const struct flat_view *old, const struct flat_view *new,
			     struct space_listener *l, bool additions)
{
	size_t o = 0, n = 0;

	while (o < old->count || n < new->count) {
		const struct flat_range *a = o < old->count ? &old->ranges[o] : NULL;
		const struct flat_range *b = n < new->count ? &new->ranges[n] : NULL;

		if (a && b && same_range(a, b)) {
			o++;
			n++;
		} else if (a && (!b || a->start < b->start ||
				 (a->start == b->start && !same_range(a, b)))) {
			if (!additions && l->del)
				l->del(l, a);
			o++;
			if (b && a->start == b->start) {
				if (additions && l->add)
					l->add(l, b);
				n++;
			}
		} else {
			if (additions && l->add)
				l->add(l, b);
			n++;
		}
	}
}

static void tell_listener(const struct flat_view *old, const struct flat_view *new,
			  struct space_listener *l)
{
	if (l->begin)
		l->begin(l);
	tell_differences(old, new, l, false);
	tell_differences(old, new, l, true);
	if (l->commit)
		l->commit(l);
}

struct dead_view {
	struct rcu_head head;
	struct flat_view *view;
};

static void free_dead_view(struct rcu_head *head)
{
	struct dead_view *d = container_of(head, struct dead_view, head);

	rcu_deferred();
	flat_view_free(d->view);
	g_free(d);
}

static const struct flat_view empty_view;

void space_init(struct space *s, const char *name, uint64_t size)
{
	memset(s, 0, sizeof(*s));
	s->name = name;
	s->addr_mask = UINT64_MAX;
	s->open_bus = UINT64_MAX;
	region_init_group(&s->root, name, size);
	s->root.space = s;
	s->view = g_new0(struct flat_view, 1);
}

void space_destroy(struct space *s)
{
	s->listeners = NULL;
	region_destroy(&s->root);
	urcu_bp_synchronize_rcu();
	flat_view_free(s->view);
	s->view = NULL;
}

void space_begin(struct space *s)
{
	s->depth++;
}

void space_commit(struct space *s)
{
	struct flat_view *old = s->view, *new;
	struct dead_view *dead;

	assert(s->depth);
	if (--s->depth || !s->changed)
		return;
	s->changed = false;
	new = flatten(s);
	log_printf(MEMORY, "space '%s': %zu ranges, were %zu", s->name, new->count, old->count);
	rcu_assign_pointer(s->view, new);
	for (struct space_listener *l = s->listeners; l; l = l->next)
		tell_listener(old, new, l);
	dead = g_new0(struct dead_view, 1);
	dead->view = old;
	rcu_defer(&dead->head, free_dead_view);
}

void space_listen(struct space *s, struct space_listener *l)
{
	l->next = s->listeners;
	s->listeners = l;
	tell_listener(&empty_view, s->view, l);
}

void space_unlisten(struct space *s, struct space_listener *l)
{
	struct space_listener **p = &s->listeners;

	while (*p && *p != l)
		p = &(*p)->next;
	if (!*p)
		return;
	*p = l->next;
	tell_listener(s->view, &empty_view, l);
}
