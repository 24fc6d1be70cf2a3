/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives of the command line: see drives.h. Spelling and defaults are QEMU's. */
#include "cmd/moa/drives.h"

#include <stdio.h>
#include <string.h>

#include "core/device.h"
#include "hw/block/fdc.h"
#include "hw/ide/piix_ide.h"

static const char *const interface_names[] = { "none", "ide", "virtio", "floppy", "pflash", NULL };
static const unsigned per_bus[IF_COUNT] = { [IF_IDE] = 2, [IF_FLOPPY] = 2 };

static void free_wish(void *wish)
{
	struct drive_wish *w = wish;

	g_free(w->id);
	g_free(w->file);
	g_free(w->format);
	g_free(w->serial);
	g_free(w->label);
	g_free(w);
}

static void free_file(void *node);

void drive_wishes_init(struct drive_wishes *w)
{
	w->all = g_ptr_array_new_with_free_func(free_wish);
	w->files = g_ptr_array_new_with_free_func(free_file);
}

void drive_wishes_clear(struct drive_wishes *w)
{
	g_ptr_array_unref(w->all);
	g_ptr_array_unref(w->files);
}

bool drive_interface(struct optlist *l, enum drive_interface *interface, GError **err)
{
	unsigned n = IF_IDE;

	if (!optlist_enum(l, "if", interface_names, &n, err))
		return false;
	*interface = (enum drive_interface)n;
	return true;
}

/* cache=MODE is short for three switches. */
static bool take_cache(struct optlist *l, struct drive_options *o, GError **err)
{
	static const char *const names[] = { "writeback",  "none",   "writethrough",
					     "directsync", "unsafe", NULL };
	static const struct {
		bool writethrough, direct, no_flush;
	} modes[] = { { false, false, false },
		      { false, true, false },
		      { true, false, false },
		      { true, true, false },
		      { false, false, true } };
	unsigned mode = 0;
	bool writeback;

	if (!optlist_enum(l, "cache", names, &mode, err))
		return false;
	writeback = !modes[mode].writethrough;
	o->block.direct = modes[mode].direct;
	o->block.no_flush = modes[mode].no_flush;
	if (!optlist_bool(l, "cache.writeback", &writeback, err) ||
	    !optlist_bool(l, "cache.direct", &o->block.direct, err) ||
	    !optlist_bool(l, "cache.no-flush", &o->block.no_flush, err))
		return false;
	o->writethrough = !writeback;
	return true;
}

static bool take_on_error(struct optlist *l, struct drive_options *o, GError **err)
{
	static const char *const names[] = { "report", "ignore", "enospc", "stop", NULL };
	unsigned read = ON_ERROR_REPORT, write = ON_ERROR_ENOSPC;

	if (!optlist_enum(l, "rerror", names, &read, err) ||
	    !optlist_enum(l, "werror", names, &write, err))
		return false;
	if (read == ON_ERROR_ENOSPC)
		return error(err, "-drive: rerror=enospc: reads do not run out of space; takes "
				  "report, ignore, stop");
	o->rerror = (enum drive_on_error)read;
	o->werror = (enum drive_on_error)write;
	return true;
}

static const char *const aio_names[] = { "threads", "io_uring", NULL };

static bool take_space(struct optlist *l, struct drive_options *o, GError **err)
{
	static const char *const discard[] = { "ignore", "off", "unmap", "on", NULL };
	static const char *const detect[] = { "off", "on", "unmap", NULL };
	unsigned d = 0, z = 0, a = 0;

	if (!optlist_enum(l, "discard", discard, &d, err) ||
	    !optlist_enum(l, "detect-zeroes", detect, &z, err) ||
	    !optlist_enum(l, "aio", aio_names, &a, err))
		return false;
	o->block.discard = d >= 2;
	o->detect_zeroes = z > 0;
	o->uring = a == 1;
	o->unmap_detected = z == 2;
	if (o->unmap_detected && !o->block.discard)
		return error(err, "-drive: detect-zeroes=unmap needs discard=unmap");
	return true;
}

/* bps=, bps_max=, iops_rd=... as QEMU's old and new spellings have them. */
static bool take_throttle(struct optlist *l, struct throttle *t, GError **err)
{
	static const char *const new_names[THROTTLES] = { "bps-total",	"bps-read",  "bps-write",
							  "iops-total", "iops-read", "iops-write" };

	for (unsigned i = 0; i < THROTTLES; i++) {
		g_autofree char *old_burst = g_strdup_printf("%s_max", throttle_names[i]);
		g_autofree char *name = g_strdup_printf("throttling.%s", new_names[i]);
		g_autofree char *burst = g_strdup_printf("throttling.%s-max", new_names[i]);

		if (!optlist_uint(l, throttle_names[i], 0, INT64_MAX, &t->rate[i], err) ||
		    !optlist_uint(l, name, 0, INT64_MAX, &t->rate[i], err) ||
		    !optlist_uint(l, old_burst, 0, INT64_MAX, &t->burst[i], err) ||
		    !optlist_uint(l, burst, 0, INT64_MAX, &t->burst[i], err))
			return false;
		if (t->burst[i] && t->burst[i] < t->rate[i])
			return error(err, "-drive: %s is less than %s: a burst is above the rate",
				     old_burst, throttle_names[i]);
	}
	if ((t->rate[BPS_TOTAL] && (t->rate[BPS_READ] || t->rate[BPS_WRITE])) ||
	    (t->rate[IOPS_TOTAL] && (t->rate[IOPS_READ] || t->rate[IOPS_WRITE])))
		return error(err, "-drive: a limit on both goes not with one on reads or writes");
	return true;
}

/* bus=, unit= and index= say the same in two ways. */
static bool take_place(struct optlist *l, struct drive_wish *w, GError **err)
{
	uint64_t index = 0, bus = 0, unit = 0, most = 63;
	bool has_index = optlist_get(l, "index"),
	     has_bus = optlist_get(l, "bus") || optlist_get(l, "unit");

	if (!optlist_uint(l, "index", 0, most, &index, err) ||
	    !optlist_uint(l, "bus", 0, most, &bus, err) ||
	    !optlist_uint(l, "unit", 0, per_bus[w->interface] ? per_bus[w->interface] - 1 : most,
			  &unit, err))
		return false;
	if (has_index && has_bus)
		return error(err,
			     "-drive: index= and bus=, unit= name the same place: leave one out");
	w->index = has_index ? (int)index
		   : has_bus ? (int)(bus * MAX_OF(per_bus[w->interface], 1u) + unit)
			     : -1;
	return true;
}

static bool is_taken(const struct drive_wishes *all, enum drive_interface interface, int index)
{
	for (guint i = 0; i < all->all->len; i++) {
		const struct drive_wish *w = all->all->pdata[i];

		if (w->interface == interface && w->index == index)
			return true;
	}
	return false;
}

/* The first index of an interface that nobody has. */
static int next_index(const struct drive_wishes *all, enum drive_interface interface)
{
	int n = 0;

	while (is_taken(all, interface, n))
		n++;
	return n;
}

static bool add_wish(struct drive_wishes *all, struct drive_wish *w, GError **err)
{
	if (w->index < 0)
		w->index = next_index(all, w->interface);
	if (w->interface != IF_NONE && is_taken(all, w->interface, w->index)) {
		error(err, "two drives at if=%s,index=%d: give one another index",
		      interface_names[w->interface], w->index);
		free_wish(w);
		return false;
	}
	/* QEMU's names: ide0-hd0, ide1-cd0, virtio0. */
	if (!w->id && w->interface == IF_IDE)
		w->id = g_strdup_printf("ide%d-%s%d", w->index / 2, w->options.cdrom ? "cd" : "hd",
					w->index % 2);
	else if (!w->id)
		w->id = g_strdup_printf("%s%d", interface_names[w->interface], w->index);
	w->label = g_strdup_printf("drive '%s'", w->id);
	w->options.id = w->id;
	w->options.file = w->file;
	w->options.serial = w->serial;
	w->options.block.format = w->format;
	w->options.block.label = w->label;
	g_ptr_array_add(all->all, w);
	return true;
}

bool drive_wish_take(struct drive_wishes *all, struct optlist *l, GError **err)
{
	static const char *const media[] = { "disk", "cdrom", NULL };
	struct drive_wish *w = g_new0(struct drive_wish, 1);
	struct drive_options *o = &w->options;
	unsigned medium = 0;

	w->id = g_strdup(optlist_get(l, "id"));
	w->file = g_strdup(optlist_get(l, "file"));
	w->format = g_strdup(optlist_get(l, "format"));
	w->serial = g_strdup(optlist_get(l, "serial"));
	if (!drive_interface(l, &w->interface, err) ||
	    !optlist_enum(l, "media", media, &medium, err) ||
	    !optlist_bool(l, "readonly", &o->block.read_only, err) ||
	    !optlist_bool(l, "read-only", &o->block.read_only, err) ||
	    !optlist_bool(l, "snapshot", &o->snapshot, err) || !take_cache(l, o, err) ||
	    !take_on_error(l, o, err) || !take_space(l, o, err) ||
	    !take_throttle(l, &o->throttle, err) || !take_place(l, w, err)) {
		free_wish(w);
		return false;
	}
	o->cdrom = medium == 1;
	o->block.read_only |= o->cdrom;
	o->removable = w->interface == IF_FLOPPY;
	if (w->interface == IF_NONE && !w->id) {
		free_wish(w);
		return error(err, "-drive if=none: needs id=ID, by which a -device can name it");
	}
	if (!w->file && !o->cdrom && !o->removable) {
		free_wish(w);
		return error(err, "-drive: needs file=FILE");
	}
	return add_wish(all, w, err);
}

/* -blockdev. */

struct file_node {
	char *name, *path;
	struct block_options options;
	bool uring;
	bool used;
};

static void free_file(void *node)
{
	struct file_node *f = node;

	g_free(f->name);
	g_free(f->path);
	g_free(f);
}

/* An NBD server's address as a URI. */
static char *nbd_path(struct optlist *l, const char *prefix, GError **err)
{
	static const char *const kinds[] = { "inet", "unix", NULL };
	g_autofree char *type_key = g_strdup_printf("%sserver.type", prefix);
	g_autofree char *host_key = g_strdup_printf("%sserver.host", prefix);
	g_autofree char *port_key = g_strdup_printf("%sserver.port", prefix);
	g_autofree char *path_key = g_strdup_printf("%sserver.path", prefix);
	g_autofree char *export_key = g_strdup_printf("%sexport", prefix);
	const char *host = optlist_get(l, host_key), *port = optlist_get(l, port_key),
		   *path = optlist_get(l, path_key), *name = optlist_get(l, export_key);
	g_autofree char *export = g_uri_escape_string(name ? name : "", NULL, FALSE);
	g_autofree char *socket = g_uri_escape_string(path ? path : "", "/", FALSE);
	unsigned kind = 0;

	if (!optlist_enum(l, type_key, kinds, &kind, err))
		return NULL;
	if (kind == 1 && path)
		return g_strdup_printf("nbd+unix:///%s?socket=%s", export, socket);
	if (kind == 0 && host && port)
		return g_strdup_printf("nbd://%s:%s/%s", host, port, export);
	error(err, "-blockdev: nbd needs %s=inet with .host and .port, or unix with .path",
	      type_key);
	return NULL;
}

/* What lies below a format: the keys begin with `prefix`. NULL with an error. */
static struct file_node *take_file(struct optlist *l, const char *prefix, const char *driver,
				   GError **err)
{
	g_autofree char *name_key = g_strdup_printf("%sfilename", prefix);
	g_autofree char *aio_key = g_strdup_printf("%saio", prefix);
	g_autofree char *locking_key = g_strdup_printf("%slocking", prefix);
	static const char *const locking[] = { "auto", "on", "off", NULL };
	const char *path = optlist_get(l, name_key);
	struct file_node *f = g_new0(struct file_node, 1);
	unsigned a = 0, lock = 0;

	if (!strcmp(driver, "nbd"))
		f->path = nbd_path(l, prefix, err);
	else if (path)
		f->path = g_strdup(path);
	else
		error(err, "-blockdev: driver=%s needs %s=FILE", driver, name_key);
	if (!f->path || !optlist_enum(l, aio_key, aio_names, &a, err) ||
	    !optlist_enum(l, locking_key, locking, &lock, err)) {
		free_file(f);
		return NULL;
	}
	f->options.share = lock == 2;
	f->uring = a == 1;
	return f;
}

static bool is_file_driver(const char *driver)
{
	return !strcmp(driver, "file") || !strcmp(driver, "host_device") || !strcmp(driver, "nbd");
}

static struct file_node *find_file(struct drive_wishes *all, const char *name)
{
	for (guint i = 0; i < all->files->len; i++) {
		struct file_node *f = all->files->pdata[i];

		if (f->name && !strcmp(f->name, name))
			return f;
	}
	return NULL;
}

static bool take_common(struct optlist *l, struct drive_options *o, bool *auto_read_only,
			GError **err)
{
	return optlist_bool(l, "read-only", &o->block.read_only, err) &&
	       optlist_bool(l, "auto-read-only", auto_read_only, err) && take_cache(l, o, err) &&
	       take_space(l, o, err);
}

/* A format over a file: a drive that only its name leads to. */
static bool add_node(struct drive_wishes *all, const char *name, const char *format,
		     const struct file_node *f, const struct drive_options *o, GError **err)
{
	struct drive_wish *w = g_new0(struct drive_wish, 1);

	w->interface = IF_NONE;
	w->index = -1;
	w->id = g_strdup(name);
	w->file = g_strdup(f->path);
	w->format = g_strdup(format);
	w->options = *o;
	w->options.werror = ON_ERROR_ENOSPC;
	w->options.block.share = f->options.share;
	w->options.block.direct |= f->options.direct;
	w->options.uring |= f->uring;
	return add_wish(all, w, err);
}

static bool take_node(struct drive_wishes *all, struct optlist *l, GError **err)
{
	const char *driver = optlist_get(l, "driver"), *name = optlist_get(l, "node-name"),
		   *below = optlist_get(l, "file"), *below_driver;
	struct drive_options o = { 0 };
	bool auto_read_only = false;
	struct file_node *f;

	if (!driver || !name)
		return error(err, "-blockdev: needs driver=NAME and node-name=ID");
	if (!take_common(l, &o, &auto_read_only, err))
		return false;
	if (is_file_driver(driver)) {
		f = take_file(l, "", driver, err);
		if (!f)
			return false;
		f->name = g_strdup(name);
		f->options.direct = o.block.direct;
		f->options.read_only = o.block.read_only;
		g_ptr_array_add(all->files, f);
		return true;
	}
	if (!block_format_find(driver))
		return error(err,
			     "-blockdev: no driver '%s'; there are the files file, host_device, "
			     "nbd, and the formats of moa-img",
			     driver);
	if (below) {
		f = find_file(all, below);
		if (!f)
			return error(err, "-blockdev %s: file=%s: no such node; name it before",
				     name, below);
		f->used = true;
		return add_node(all, name, driver, f, &o, err);
	}
	below_driver = optlist_get(l, "file.driver");
	f = take_file(l, "file.", below_driver ? below_driver : "file", err);
	if (!f)
		return false;
	g_ptr_array_add(all->files, f);
	f->used = true;
	return add_node(all, name, driver, f, &o, err);
}

bool blockdev_take(struct drive_wishes *all, const char *text, GError **err)
{
	struct optlist *l = *text == '{' ? optlist_parse_json("-blockdev", text, err)
					 : optlist_parse("-blockdev", text, "driver");
	bool ok = l && take_node(all, l, err) && optlist_finish(l, err);

	optlist_free(l);
	return ok;
}

/* Files that no format was put over are raw disks under their own names. */
static bool take_bare_files(struct drive_wishes *all, GError **err)
{
	for (guint i = 0; i < all->files->len; i++) {
		struct file_node *f = all->files->pdata[i];
		struct drive_options o = { .block.read_only = f->options.read_only };

		if (!f->used && !add_node(all, f->name, "raw", f, &o, err))
			return false;
		f->used = true;
	}
	return true;
}

bool drive_wish_add(struct drive_wishes *all, enum drive_interface interface, const char *file,
		    int index, bool cdrom, GError **err)
{
	struct drive_wish *w = g_new0(struct drive_wish, 1);

	w->interface = interface;
	w->index = index;
	w->file = g_strdup(file);
	w->options.werror = ON_ERROR_ENOSPC;
	w->options.cdrom = w->options.block.read_only = cdrom;
	w->options.removable = interface == IF_FLOPPY;
	return add_wish(all, w, err);
}

bool drive_wishes_defaults(struct drive_wishes *all, bool cdrom, GError **err)
{
	if (cdrom && !is_taken(all, IF_IDE, 2) && !drive_wish_add(all, IF_IDE, NULL, 2, true, err))
		return false;
	return is_taken(all, IF_FLOPPY, 0) || drive_wish_add(all, IF_FLOPPY, NULL, 0, false, err);
}

static bool make_virtio(struct machine *m, struct drive *d, GError **err)
{
	struct device *dev = device_new(m, device_find("virtio-blk-pci", NULL), NULL);

	return device_set(dev, "drive", d->id, err) &&
	       device_realize(dev, machine_find_bus(m, "PCI", NULL), err);
}

static bool fulfil(struct drive_wish *w, struct machine *m, GError **err)
{
	struct drive *d;

	if (drive_find(w->id))
		return error(err, "-drive: id '%s' is taken", w->id);
	d = w->file ? drive_new(m, &w->options, err) : drive_new_empty(m, &w->options);
	if (!d)
		return false;
	switch (w->interface) {
	case IF_VIRTIO:
		return make_virtio(m, d, err);
	case IF_FLOPPY:
		return fdc_attach((struct fdc *)machine_find_device(m, "isa-fdc"),
				  (unsigned)w->index, d, err);
	case IF_IDE:
		return piix_ide_attach((struct piix_ide *)machine_find_device(m, "piix3-ide"),
				       (unsigned)w->index, d, err);
	default:
		return true;
	}
}

bool drive_wishes_fulfil(struct drive_wishes *all, struct machine *m, GError **err)
{
	if (!take_bare_files(all, err))
		return false;
	for (guint i = 0; i < all->all->len; i++)
		if (!fulfil(all->all->pdata[i], m, err))
			return false;
	return true;
}
