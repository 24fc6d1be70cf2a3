/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: the option table and a handler for each option. Spelling and defaults are
 * QEMU's.
 */
#include "cmd/moa/cmdline.h"
#include "cmd/moa/objects.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "chardev/chardev.h"
#include "config.h"
#include "core/log.h"
#include "core/options.h"
#include "fs/folder.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/loader.h"

#define MOST_RAM (UINT64_C(1) << 40)

/* Parses a list, hands it to `take`, and refuses what is left over. */
static bool with_list(struct vm_config *c, const char *option, const char *text, const char *first,
		      bool (*take)(struct vm_config *c, struct optlist *l, GError **err),
		      GError **err)
{
	struct optlist *l = optlist_parse(option, text, first);
	bool ok = take(c, l, err) && optlist_finish(l, err);

	optlist_free(l);
	return ok;
}

static const char *const irqchip_names[] = { "on", "split", "off", NULL };

static bool take_irqchip(struct vm_config *c, struct optlist *l, GError **err)
{
	const char *text = optlist_get(l, "kernel-irqchip");
	unsigned mode = c->accel.irqchip;

	if (!optlist_enum(l, "kernel-irqchip", irqchip_names, &mode, err))
		return false;
	c->accel.irqchip = (enum irqchip_mode)mode;
	c->accel.irqchip_given |= text != NULL;
	return true;
}

static const struct {
	const char *name, *desc;
} machines[] = {
	{ "pc", "Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-0.1)" },
	{ "pc-i440fx-0.1", "Standard PC (i440FX + PIIX, 1996) (default)" },
};

static bool find_machine(const char *name, GError **err)
{
	const char *names[ARRAY_LEN(machines) + 1] = { NULL }, *near;

	for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
		names[i] = machines[i].name;
		if (!strcmp(machines[i].name, name))
			return true;
	}
	near = nearest_name(name, names);
	if (near)
		return error(err, "-machine: no machine '%s'; did you mean '%s'?", name, near);
	return error(err, "-machine: no machine '%s'; there are: pc, pc-i440fx-0.1", name);
}

static bool take_smm(struct vm_config *c, struct optlist *l, GError **err)
{
	static const char *const names[] = { "auto", "on", "off", NULL };
	unsigned mode = c->pc.smm;

	if (!optlist_enum(l, "smm", names, &mode, err))
		return false;
	c->pc.smm = mode;
	return true;
}

static bool take_machine(struct vm_config *c, struct optlist *l, GError **err)
{
	const char *type = optlist_get(l, "type"), *accel = optlist_get(l, "accel");

	if (type && !find_machine(type, err))
		return false;
	if (accel) {
		g_free(c->accels);
		c->accels = g_strdup(accel);
	}
	return take_irqchip(c, l, err) && take_smm(c, l, err) &&
	       optlist_bool(l, "acpi", &c->pc.acpi, err) &&
	       optlist_bool(l, "hpet", &c->pc.hpet, err) &&
	       optlist_bool(l, "pit", &c->pc.pit, err) &&
	       optlist_bool(l, "i8042", &c->pc.i8042, err);
}

static bool opt_machine(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		printf("Supported machines are:\n");
		for (size_t i = 0; i < ARRAY_LEN(machines); i++)
			printf("%-20s %s\n", machines[i].name, machines[i].desc);
		printf("Options: accel=, kernel-irqchip=on|split|off, acpi=on|off, hpet=on|off, "
		       "pit=on|off, "
		       "i8042=on|off, smm=on|off|auto\n");
		c->done = true;
		return true;
	}
	return with_list(c, "-machine", arg, "type", take_machine, err);
}

/* In MiB, as QEMU has it. */
static bool take_tb_size(struct vm_config *c, struct optlist *l, GError **err)
{
	uint64_t mib = c->accel.tb_size / MIB;

	if (!optlist_uint(l, "tb-size", 1, 2047, &mib, err))
		return false;
	c->accel.tb_size = mib * MIB;
	return true;
}

/* The translator's plain mode, and what it is compared by. */
static bool take_mode(struct vm_config *c, struct optlist *l, GError **err)
{
	static const char *const names[] = { "fast", "reference", NULL };
	const char *digest = optlist_get(l, "digest");
	unsigned mode = c->accel.reference;

	if (!optlist_enum(l, "mode", names, &mode, err))
		return false;
	c->accel.reference = mode;
	if (digest) {
		g_free(c->digest);
		c->accel.digest = c->digest = g_strdup(digest);
	}
	return true;
}

static bool take_accel(struct vm_config *c, struct optlist *l, GError **err)
{
	const char *name = optlist_get(l, "accel");

	if (name) {
		char *all = c->accels ? g_strdup_printf("%s:%s", c->accels, name) : g_strdup(name);

		g_free(c->accels);
		c->accels = all;
	}
	return take_tb_size(c, l, err) && take_mode(c, l, err) && take_irqchip(c, l, err);
}

static bool take_icount(struct vm_config *c, struct optlist *l, GError **err)
{
	uint64_t shift = 0;
	bool sleep = true;

	if (!optlist_get(l, "shift"))
		return error(err, "-icount: say how long an instruction takes: shift=N for 2^N ns");
	if (!optlist_uint(l, "shift", 0, 10, &shift, err) || !optlist_bool(l, "sleep", &sleep, err))
		return false;
	if (sleep)
		return error(err,
			     "-icount: an idle guest's time does not pass at the host's rate; add "
			     "sleep=off");
	c->accel.count = true;
	c->accel.count_shift = (unsigned)shift;
	return true;
}

static bool opt_icount(void *opaque, const char *arg, GError **err)
{
	return with_list(opaque, "-icount", arg, "shift", take_icount, err);
}

static bool opt_perf_map(void *opaque, const char *arg, GError **err)
{
	(void)arg;
	(void)err;
	((struct vm_config *)opaque)->accel.perf_map = true;
	return true;
}

static bool opt_accel(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		printf("Engines in this build:\n");
		for (const struct accel_ops *const *o = accel_registry; *o; o++)
			printf("%-6s %s\n", (*o)->name, (*o)->desc);
		c->done = true;
		return true;
	}
	return with_list(c, "-accel", arg, "accel", take_accel, err);
}

static bool opt_enable_kvm(void *opaque, const char *arg, GError **err)
{
	(void)arg;
	return opt_accel(opaque, "kvm", err);
}

static bool opt_cpu(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		g_autofree char *text = x86_models_help();

		fputs(text, stdout);
		c->done = true;
		return true;
	}
	g_free(c->cpu);
	c->cpu = g_strdup(arg);
	return true;
}

/* What is not given follows from the rest; sockets take what is left over. */
static bool take_smp(struct vm_config *c, struct optlist *l, GError **err)
{
	uint64_t cpus = 0, max = 0, sockets = 0, cores = 0, threads = 0;

	if (!optlist_uint(l, "cpus", 1, PC_MAX_CPUS, &cpus, err) ||
	    !optlist_uint(l, "maxcpus", 1, PC_MAX_CPUS, &max, err) ||
	    !optlist_uint(l, "sockets", 1, PC_MAX_CPUS, &sockets, err) ||
	    !optlist_uint(l, "cores", 1, PC_MAX_CPUS, &cores, err) ||
	    !optlist_uint(l, "threads", 1, PC_MAX_CPUS, &threads, err))
		return false;
	threads = threads ? threads : 1;
	if (!cores)
		cores = sockets && (cpus || max) ? (max ? max : cpus) / (sockets * threads) : 1;
	cores = cores ? cores : 1;
	if (!sockets)
		sockets = cpus || max
				  ? ((max ? max : cpus) + cores * threads - 1) / (cores * threads)
				  : 1;
	max = max ? max : cpus ? cpus : sockets * cores * threads;
	cpus = cpus ? cpus : max;
	if (sockets * cores * threads != max)
		return error(err,
			     "-smp: sockets=%u * cores=%u * threads=%u are not maxcpus=%u: make "
			     "the product %u",
			     (unsigned)sockets, (unsigned)cores, (unsigned)threads, (unsigned)max,
			     (unsigned)max);
	if (cpus != max)
		return error(err,
			     "-smp: maxcpus=%u with cpus=%u needs CPU hotplug, which this moa does "
			     "not have yet: "
			     "leave maxcpus out",
			     (unsigned)max, (unsigned)cpus);
	c->pc.smp = (struct x86_topology) { (unsigned)cpus, (unsigned)sockets, (unsigned)cores,
					    (unsigned)threads, (unsigned)max };
	if (x86_apic_id(&c->pc.smp, (unsigned)cpus - 1) > 254)
		return error(err, "-smp: this topology needs APIC ids above 254: use fewer cores "
				  "or threads per socket");
	return true;
}

static bool opt_smp(void *opaque, const char *arg, GError **err)
{
	return with_list(opaque, "-smp", arg, "cpus", take_smp, err);
}

static bool take_memory(struct vm_config *c, struct optlist *l, GError **err)
{
	const char *text = optlist_get(l, "size");
	uint64_t size;

	if (!text)
		return error(err, "-m: needs a size, as in -m 256 or -m 2G");
	if (!parse_size(text, MIB, &size) || size < MIB || size > MOST_RAM)
		return error(err, "-m: '%s' is not a size from 1M to 1T; a bare number is in MiB",
			     text);
	c->pc.ram_size = align_up(size, 8192);
	return true;
}

static bool opt_memory(void *opaque, const char *arg, GError **err)
{
	return with_list(opaque, "-m", arg, "size", take_memory, err);
}

static bool keep(char **slot, const char **config, const char *arg)
{
	g_free(*slot);
	*slot = g_strdup(arg);
	*config = *slot;
	return true;
}

static bool opt_bios(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	return keep(&c->bios, &c->pc.bios, arg);
}

static bool opt_kernel(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	return keep(&c->kernel, &c->pc.kernel, arg);
}

static bool opt_initrd(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	return keep(&c->initrd, &c->pc.initrd, arg);
}

static bool opt_append(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	return keep(&c->append, &c->pc.append, arg);
}

static bool opt_firmware_dir(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	if (!strcmp(arg, "help")) {
		g_autofree char *text = firmware_search_path();

		printf("%s\n", text);
		c->done = true;
		return true;
	}
	firmware_add_dir(arg);
	return true;
}

static bool take_pflash(struct vm_config *c, struct optlist *l, GError **err)
{
	const char *file = optlist_get(l, "file"), *format = optlist_get(l, "format");
	bool readonly = false;
	uint64_t unit = 0;

	if (!file)
		return error(err, "-drive if=pflash: needs file=PATH");
	if (format && strcmp(format, "raw"))
		return error(err, "-drive if=pflash: format '%s': only raw is read", format);
	if (!optlist_bool(l, "readonly", &readonly, err) ||
	    !optlist_bool(l, "read-only", &readonly, err))
		return false;
	while (unit < PC_PFLASH_UNITS && c->pc.pflash[unit].file)
		unit++;
	if (unit == PC_PFLASH_UNITS && !optlist_get(l, "unit"))
		return error(err,
			     "-drive if=pflash: the board has %d flash chips and all are given",
			     PC_PFLASH_UNITS);
	if (!optlist_uint(l, "unit", 0, PC_PFLASH_UNITS - 1, &unit, err))
		return false;
	if (c->pc.pflash[unit].file)
		return error(err, "-drive if=pflash: unit=%u is given twice", (unsigned)unit);
	c->pflash_file[unit] = g_strdup(file);
	c->pc.pflash[unit].file = c->pflash_file[unit];
	c->pc.pflash[unit].readonly = readonly;
	return true;
}

static bool take_drive(struct vm_config *c, struct optlist *l, GError **err)
{
	enum drive_interface interface;

	if (!drive_interface(l, &interface, err))
		return false;
	return interface == IF_PFLASH ? take_pflash(c, l, err)
				      : drive_wish_take(&c->drives, l, err);
}

static bool opt_disk_0(void *opaque, const char *arg, GError **err)
{
	return drive_wish_add(&((struct vm_config *)opaque)->drives, IF_IDE, arg, 0, false, err);
}

static bool opt_disk_1(void *opaque, const char *arg, GError **err)
{
	return drive_wish_add(&((struct vm_config *)opaque)->drives, IF_IDE, arg, 1, false, err);
}

static bool opt_disk_2(void *opaque, const char *arg, GError **err)
{
	return drive_wish_add(&((struct vm_config *)opaque)->drives, IF_IDE, arg, 2, false, err);
}

static bool opt_disk_3(void *opaque, const char *arg, GError **err)
{
	return drive_wish_add(&((struct vm_config *)opaque)->drives, IF_IDE, arg, 3, false, err);
}

static bool opt_cdrom(void *opaque, const char *arg, GError **err)
{
	return drive_wish_add(&((struct vm_config *)opaque)->drives, IF_IDE, arg, 2, true, err);
}

static bool opt_floppy_a(void *opaque, const char *arg, GError **err)
{
	return drive_wish_add(&((struct vm_config *)opaque)->drives, IF_FLOPPY, arg, 0, false, err);
}

static bool opt_floppy_b(void *opaque, const char *arg, GError **err)
{
	return drive_wish_add(&((struct vm_config *)opaque)->drives, IF_FLOPPY, arg, 1, false, err);
}

static bool opt_snapshot(void *opaque, const char *arg, GError **err)
{
	(void)arg;
	(void)err;
	((struct vm_config *)opaque)->snapshot = true;
	return true;
}

static bool opt_netdev(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		g_autofree char *text = net_backends_help();

		printf("Networks:\n%s", text);
		c->done = true;
		return true;
	}
	c->nets.given = true;
	g_ptr_array_add(c->nets.netdevs, g_strdup(arg));
	return true;
}

static bool opt_nic(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	if (!strcmp(arg, "help") || !strcmp(arg, "model=help")) {
		g_autofree char *text = net_models_help();

		fputs(text, stdout);
		c->done = true;
		return true;
	}
	c->nets.given = true;
	g_ptr_array_add(c->nets.nics, g_strdup(arg));
	return true;
}

static bool opt_net(void *opaque, const char *arg, GError **err)
{
	(void)err;
	net_wish_net(&((struct vm_config *)opaque)->nets, arg);
	return true;
}

static bool opt_object(void *opaque, const char *arg, GError **err)
{
	(void)err;
	if (!strcmp(arg, "help")) {
		g_autofree char *text = objects_help();

		fputs(text, stdout);
		((struct vm_config *)opaque)->done = true;
		return true;
	}
	g_ptr_array_add(((struct vm_config *)opaque)->objects, g_strdup(arg));
	return true;
}

static bool opt_blockdev(void *opaque, const char *arg, GError **err)
{
	return blockdev_take(&((struct vm_config *)opaque)->drives, arg, err);
}

static bool opt_drive(void *opaque, const char *arg, GError **err)
{
	return with_list(opaque, "-drive", arg, NULL, take_drive, err);
}

static void list_device(const struct device_info *d)
{
	printf("name \"%s\", bus %s%s%s%s, desc \"%s\"\n", d->name, d->bus ? d->bus : "System",
	       d->alias ? ", alias \"" : "", d->alias ? d->alias : "", d->alias ? "\"" : "",
	       d->desc);
}

static void list_devices(void)
{
	for (const struct device_info *const *d = device_registry; *d; d++)
		if (!(*d)->board_only)
			list_device(*d);
	printf("Part of the board, not for -device:\n");
	for (const struct device_info *const *d = device_registry; *d; d++)
		if ((*d)->board_only)
			list_device(*d);
}

static bool describe_device(const char *name, GError **err)
{
	const struct device_info *d = device_find(name, err);

	if (!d)
		return false;
	printf("%s: %s%s\n", d->name, d->desc, d->board_only ? " (part of the board)" : "");
	for (const struct field *f = d->props; f && !field_end(f); f++) {
		g_autofree char *text = prop_describe(f);

		printf("  %s=<%s>\n", f->name, text);
	}
	if (!d->props || field_end(d->props))
		printf("  takes no properties\n");
	return true;
}

static bool opt_device(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;
	g_auto(GStrv) parts = g_strsplit(arg, ",", 2);

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		list_devices();
		c->done = true;
		return true;
	}
	if (parts[0] && parts[1] && (!strcmp(parts[1], "help") || !strcmp(parts[1], "?"))) {
		c->done = true;
		return describe_device(parts[0], err);
	}
	g_ptr_array_add(c->devices, g_strdup(arg));
	return true;
}

static bool opt_fsdev(void *opaque, const char *arg, GError **err)
{
	(void)opaque;
	return folder_new("-fsdev", arg, err);
}

/* -virtfs is -fsdev and its device in one. */
static bool opt_virtfs(void *opaque, const char *arg, GError **err)
{
	static unsigned number;
	struct optlist *l = optlist_parse("-virtfs", arg, "fsdriver");
	g_autofree char *tag = g_strdup(optlist_get(l, "mount_tag"));
	g_autofree char *id = g_strdup(optlist_get(l, "id"));
	g_autofree char *folder = NULL, *device = NULL;
	GString *rest = g_string_new(NULL);
	bool ok;

	if (!id)
		id = g_strdup_printf("virtfs%u", number++);
	for (guint i = 0; i < l->keys->len; i++) {
		const char *key = l->keys->pdata[i];
		g_auto(GStrv) parts = g_strsplit(l->values->pdata[i], ",", -1);
		g_autofree char *value = g_strjoinv(",,", parts);

		if (strcmp(key, "mount_tag") && strcmp(key, "id"))
			g_string_append_printf(rest, "%s=%s,", key, value);
	}
	folder = g_strdup_printf("%sid=%s", rest->str, id);
	ok = tag ? folder_new("-virtfs", folder, err)
		 : error(err, "-virtfs: needs mount_tag=TAG, by which the guest mounts it");
	if (ok) {
		device = g_strdup_printf("virtio-9p-pci,fsdev=%s,mount_tag=%s", id, tag);
		ok = opt_device(opaque, device, err);
	}
	g_string_free(rest, TRUE);
	optlist_free(l);
	return ok;
}

static bool opt_global(void *opaque, const char *arg, GError **err)
{
	(void)opaque;
	return device_add_global(arg, err);
}

static bool opt_chardev(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		g_autofree char *text = chr_help();

		fputs(text, stdout);
		c->done = true;
		return true;
	}
	g_ptr_array_add(c->chardevs, g_strdup(arg));
	return true;
}

static bool opt_serial(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	if (c->serials->len == PC_SERIAL_PORTS)
		return error(err, "-serial: the PC has %d serial ports", PC_SERIAL_PORTS);
	g_ptr_array_add(c->serials, g_strdup(arg));
	return true;
}

static bool opt_monitor(void *opaque, const char *arg, GError **err)
{
	(void)err;
	g_ptr_array_add(((struct vm_config *)opaque)->monitors, g_strdup(arg));
	return true;
}

static bool opt_gdb(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	g_free(c->gdb);
	c->gdb = strcmp(arg, "none") ? g_strdup(arg) : NULL;
	return true;
}

static bool opt_gdb_default(void *opaque, const char *arg, GError **err)
{
	(void)arg;
	return opt_gdb(opaque, "tcp::1234", err);
}

static bool opt_qmp(void *opaque, const char *arg, GError **err)
{
	(void)err;
	g_ptr_array_add(((struct vm_config *)opaque)->qmps, g_strdup(arg));
	return true;
}

static bool opt_qmp_pretty(void *opaque, const char *arg, GError **err)
{
	((struct vm_config *)opaque)->qmp_pretty = true;
	return opt_qmp(opaque, arg, err);
}

static bool opt_mon(void *opaque, const char *arg, GError **err)
{
	(void)err;
	g_ptr_array_add(((struct vm_config *)opaque)->mons, g_strdup(arg));
	return true;
}

static bool opt_debugcon(void *opaque, const char *arg, GError **err)
{
	(void)err;
	g_ptr_array_add(((struct vm_config *)opaque)->debugcons, g_strdup(arg));
	return true;
}

static bool opt_display(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	if (!strcmp(arg, "help")) {
		printf("Available display backend types:\nnone\n");
		c->done = true;
		return true;
	}
	c->display_given = true;
	return !strcmp(arg, "none") ||
	       error(err, "-display: '%s': this moa has no display but none", arg);
}

static bool opt_nographic(void *opaque, const char *arg, GError **err)
{
	(void)arg;
	(void)err;
	((struct vm_config *)opaque)->nographic = true;
	return true;
}

#define FLAG(name)                                                                                 \
	static bool opt_##name(void *opaque, const char *arg, GError **err)                        \
	{                                                                                          \
		(void)arg;                                                                         \
		(void)err;                                                                         \
		((struct vm_config *)opaque)->name = true;                                         \
		return true;                                                                       \
	}
FLAG(nodefaults)
FLAG(no_reboot)
FLAG(no_shutdown)
FLAG(stopped)
FLAG(daemonize)

static bool take_name(struct vm_config *c, struct optlist *l, GError **err)
{
	const char *process = optlist_get(l, "process");
	bool threads; /* our threads have names anyway */

	g_free(c->name);
	c->name = g_strdup(optlist_get(l, "guest"));
	g_free(c->process_name);
	c->process_name = g_strdup(process);
	return optlist_bool(l, "debug-threads", &threads, err);
}

static bool opt_name(void *opaque, const char *arg, GError **err)
{
	return with_list(opaque, "-name", arg, "guest", take_name, err);
}

static bool opt_uuid(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;
	unsigned at = 0;

	for (const char *p = arg; *p && at < 32; p++) {
		int v = g_ascii_xdigit_value(*p);

		if (*p == '-')
			continue;
		if (v < 0)
			break;
		c->uuid[at / 2] = (uint8_t)(c->uuid[at / 2] << 4 | v);
		at++;
	}
	c->uuid_set = true;
	if (at != 32 || strlen(arg) != 36)
		return error(
			err,
			"-uuid: '%s' is not a UUID, as in 550e8400-e29b-41d4-a716-446655440000",
			arg);
	return true;
}

/* "2006-06-17T16:01:21" or "2006-06-17" */
static bool parse_date(const char *text, int64_t *sec)
{
	struct tm tm;
	const char *end;

	memset(&tm, 0, sizeof(tm));
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!end || *end) {
		memset(&tm, 0, sizeof(tm));
		end = strptime(text, "%Y-%m-%d", &tm);
	}
	*sec = timegm(&tm);
	return end && !*end;
}

static bool take_rtc(struct vm_config *c, struct optlist *l, GError **err)
{
	static const char *const clocks[] = { "host", "rt", "vm", NULL };
	static const char *const drift[] = { "none", "slew", NULL };
	const char *base = optlist_get(l, "base");
	unsigned fix = c->pc.rtc_slew;

	if (!optlist_enum(l, "clock", clocks, &c->pc.rtc_clock, err) ||
	    !optlist_enum(l, "driftfix", drift, &fix, err))
		return false;
	c->pc.rtc_slew = fix;
	if (base && !strcmp(base, "localtime")) {
		time_t now = wall_clock_ns() / NS_PER_SEC;
		struct tm tm;

		localtime_r(&now, &tm);
		c->pc.rtc_base = timegm(&tm);
	} else if (base && strcmp(base, "utc") && !parse_date(base, &c->pc.rtc_base)) {
		return error(
			err,
			"-rtc: base '%s' is not utc, localtime or a date like 2006-06-17T16:01:21",
			base);
	}
	return true;
}

static bool opt_rtc(void *opaque, const char *arg, GError **err)
{
	return with_list(opaque, "-rtc", arg, NULL, take_rtc, err);
}

static bool take_boot(struct vm_config *c, struct optlist *l, GError **err)
{
	const char *order = optlist_get(l, "order");

	for (const char *p = order; p && *p; p++)
		if (!strchr("abcdn", *p) || strchr(p + 1, *p))
			return error(err,
				     "-boot: order '%s': each of a b (floppy) c (disk) d (CD) n "
				     "(network) at most once",
				     order);
	if (order) {
		g_free(c->boot_order);
		c->boot_order = g_strdup(order);
		c->pc.boot_order = c->boot_order;
	}
	return optlist_bool(l, "menu", &c->pc.boot_menu, err);
}

static bool opt_boot(void *opaque, const char *arg, GError **err)
{
	return with_list(opaque, "-boot", arg, "order", take_boot, err);
}

#define MOST_FW_CFG (64 * MIB)
static bool take_fw_cfg(struct vm_config *c, struct optlist *l, GError **err)
{
	const char *name = optlist_get(l, "name"), *file = optlist_get(l, "file"),
		   *string = optlist_get(l, "string");
	struct fw_cfg_blob *b;

	if (!name || !file == !string)
		return error(err, "-fw_cfg: takes name=NAME and one of file=PATH and string=TEXT");
	if (!g_str_has_prefix(name, "opt/"))
		fprintf(stderr,
			"moa: -fw_cfg: name '%s': names outside opt/ are the firmware's own\n",
			name);
	b = g_new0(struct fw_cfg_blob, 1);
	g_ptr_array_add(c->fw_cfg, b);
	b->name = g_strdup(name);
	if (file)
		return firmware_read("-fw_cfg", file, 0, MOST_FW_CFG, 1, &b->data, &b->len, err);
	b->len = strlen(string);
	b->data = (uint8_t *)g_strdup(string);
	return true;
}

static bool opt_fw_cfg(void *opaque, const char *arg, GError **err)
{
	return with_list(opaque, "-fw_cfg", arg, "name", take_fw_cfg, err);
}

static bool opt_log(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		g_autofree char *text = log_help();

		fputs(text, stdout);
		c->done = true;
		return true;
	}
	return log_set_mask(arg, err);
}

static bool opt_log_file(void *opaque, const char *arg, GError **err)
{
	(void)opaque;
	return log_set_file(arg, err);
}

static bool opt_trace(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;
	struct optlist *l;
	const char *pattern;
	bool ok;

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		g_autofree char *text = trace_help();

		fputs(text, stdout);
		c->done = true;
		return true;
	}
	l = optlist_parse("-trace", arg, "enable");
	pattern = optlist_get(l, "enable");
	ok = optlist_finish(l, err) &&
	     (pattern ? trace_enable(pattern, true, err) : error(err, "-trace: needs a pattern"));
	optlist_free(l);
	return ok;
}

static bool opt_pidfile(void *opaque, const char *arg, GError **err)
{
	struct vm_config *c = opaque;

	(void)err;
	g_free(c->pidfile);
	c->pidfile = g_strdup(arg);
	return true;
}

static bool opt_version(void *opaque, const char *arg, GError **err)
{
	(void)arg;
	(void)err;
	printf("moa version " MOA_VERSION "\n");
	((struct vm_config *)opaque)->done = true;
	return true;
}

static bool opt_help(void *opaque, const char *arg, GError **err);

/* clang-format off */
static const struct option_row options[] = {
	{ NULL, NULL, "Machine:", NULL },
	{ "machine", "[type=]NAME[,...]", "the board; see -machine help", opt_machine },
	{ "M", "[type=]NAME[,...]", "the same", opt_machine },
	{ "accel", "[accel=]NAME[,tb-size=MIB][,mode=fast|reference][,digest=FILE]", "the engine, several in order of preference; see -accel help", opt_accel },
	{ "icount", "shift=N,sleep=off", "the translator's time goes by instructions, 2^N ns each", opt_icount },
	{ "perfmap", NULL, "tell perf the names of translated code, in /tmp/perf-PID.map", opt_perf_map },
	{ "enable-kvm", NULL, "-accel kvm", opt_enable_kvm },
	{ "cpu", "MODEL[,+F][,-F][,...]", "the CPU model; see -cpu help", opt_cpu },
	{ "smp", "[cpus=]N[,sockets=][,cores=][,threads=][,maxcpus=]", "the number of CPUs and their topology", opt_smp },
	{ "m", "[size=]N", "RAM in MiB, or with a suffix: 2G (default 128)", opt_memory },
	{ "device", "NAME[,PROP=VALUE...]", "add a device; see -device help and -device NAME,help", opt_device },
	{ "global", "TYPE.PROP=VALUE", "a default for every device of a type, the board's too", opt_global },
	{ "name", "NAME[,process=NAME]", "the VM's name", opt_name },
	{ "uuid", "UUID", "the VM's UUID", opt_uuid },
	{ "rtc", "[base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew]", "the real-time clock", opt_rtc },
	{ NULL, NULL, "Firmware and boot:", NULL },
	{ "bios", "FILE", "the firmware (default bios-256k.bin, SeaBIOS)", opt_bios },
	{ "kernel", "FILE", "boot this kernel: Linux bzImage, multiboot 1 and 2, PVH, ELF; a bzImage also by firmware that is named", opt_kernel },
	{ "initrd", "FILE", "its initial RAM disk", opt_initrd },
	{ "append", "TEXT", "its command line", opt_append },
	{ "L", "DIR", "search firmware here first; -L help prints the search path", opt_firmware_dir },
	{ "boot", "[order=]abcdn[,menu=on]", "boot order", opt_boot },
	{ "fw_cfg", "[name=]NAME,file=PATH|string=TEXT", "a file for the firmware or the guest, best named opt/...", opt_fw_cfg },
	{ NULL, NULL, "Disks:", NULL },
	{ "", "FILE", "the first disk, as -hda", opt_disk_0 },
	{ "hda", "FILE", "the first IDE disk; -hdb, -hdc, -hdd the others", opt_disk_0 },
	{ "hdb", "FILE", "the second", opt_disk_1 },
	{ "hdc", "FILE", "the third", opt_disk_2 },
	{ "hdd", "FILE", "the fourth", opt_disk_3 },
	{ "fda", "FILE", "the floppy disk in drive A", opt_floppy_a },
	{ "fdb", "FILE", "the one in drive B", opt_floppy_b },
	{ "cdrom", "FILE", "a CD-ROM, in the third's place", opt_cdrom },
	{ "drive", "file=FILE[,format=F][,if=ide|virtio|floppy|none|pflash][,id=ID][,media=disk|cdrom][,index=N][,readonly=on][,snapshot=on][,cache=MODE][,discard=unmap][,detect-zeroes=on][,rerror=A][,werror=A]", "a drive: an image and how to treat it", opt_drive },
	{ "blockdev", "driver=FORMAT,node-name=ID,file.driver=file|nbd,file.filename=FILE[,read-only=on][,cache.direct=on][,discard=unmap]", "an image for a device's drive=ID; also as JSON, and files and formats apart", opt_blockdev },
	{ "snapshot", NULL, "writes to disks are dropped at the end", opt_snapshot },
	{ "fsdev", "local,id=ID,path=DIR,security_model=none|passthrough|mapped-xattr[,readonly=on]", "a host folder, for -device virtio-9p-pci", opt_fsdev },
	{ "virtfs", "local,path=DIR,mount_tag=TAG,security_model=M[,readonly=on][,id=ID]", "the same with its device; the guest says mount -t 9p -o trans=virtio,version=9p2000.L TAG DIR", opt_virtfs },
	{ NULL, NULL, "Networks:", NULL },
	{ "nic", "[type=]user[,model=CARD][,mac=ADDR][,...]|none", "a card and its network; see -nic help", opt_nic },
	{ "netdev", "[type=]NAME,id=ID[,...]", "a network for a -device CARD,netdev=ID; see -netdev help", opt_netdev },
	{ "net", "nic[,model=CARD][,macaddr=ADDR]|user[,...]|none", "the old spelling of -nic", opt_net },
	{ "object", "TYPE,id=ID[,OPTION=VALUE]", "something beside devices: iothread, filter-dump (help)", opt_object },
	{ NULL, NULL, "Consoles:", NULL },
	{ "chardev", "BACKEND,id=ID[,...]", "a character device; see -chardev help", opt_chardev },
	{ "serial", "DEV", "a serial port on DEV: stdio, mon:stdio, pty, file:PATH, tcp:HOST:PORT, telnet:HOST:PORT, unix:PATH, null, none, chardev:ID", opt_serial },
	{ "debugcon", "DEV", "the firmware's debug port 0x402 on DEV", opt_debugcon },
	{ "monitor", "DEV", "a monitor for people on DEV", opt_monitor },
	{ "qmp", "DEV", "a monitor for programs (QMP) on DEV", opt_qmp },
	{ "qmp-pretty", "DEV", "the same, indented", opt_qmp_pretty },
	{ "mon", "[chardev=]ID[,mode=readline|control][,pretty=on]", "a monitor on a chardev", opt_mon },
	{ "display", "none", "the display", opt_display },
	{ "nographic", NULL, "serial port and monitor on the terminal; Ctrl-A h for help", opt_nographic },
	{ "nodefaults", NULL, "no default serial port, monitor, network card, CD-ROM and floppy drive", opt_nodefaults },
	{ NULL, NULL, "Running:", NULL },
	{ "S", NULL, "do not start; use the monitor's cont", opt_stopped },
	{ "gdb", "DEV", "wait for gdb on DEV: tcp::PORT, unix:PATH, chardev:ID, stdio", opt_gdb },
	{ "s", NULL, "the same as -gdb tcp::1234", opt_gdb_default },
	{ "no-reboot", NULL, "end instead of rebooting", opt_no_reboot },
	{ "no-shutdown", NULL, "stop instead of ending at shutdown", opt_no_shutdown },
	{ "daemonize", NULL, "go to the background once the VM is ready", opt_daemonize },
	{ "pidfile", "FILE", "write the process id", opt_pidfile },
	{ NULL, NULL, "Debugging:", NULL },
	{ "d", "ITEM[,...]", "logs; see -d help", opt_log },
	{ "D", "FILE", "logs and traces go here instead of stderr", opt_log_file },
	{ "trace", "[enable=]PATTERN", "trace points; see -trace help", opt_trace },
	{ "version", NULL, "the version", opt_version },
	{ "help", NULL, "this", opt_help },
	{ "h", NULL, "this", opt_help },
	{ NULL, NULL, NULL, NULL },
};
/* clang-format on */

static bool opt_help(void *opaque, const char *arg, GError **err)
{
	g_autofree char *text = options_help(options);

	(void)arg;
	(void)err;
	printf("moa " MOA_VERSION ", a PC emulator\nUsage: moa [options]\n%s", text);
	((struct vm_config *)opaque)->done = true;
	return true;
}

/*
 * What nobody asked for otherwise: the terminal has the serial port and, behind Ctrl-A c, the
 * monitor.
 */
static void add_defaults(struct vm_config *c)
{
	/* There is no graphical display in this build, so without a -display the terminal is it. */
	bool terminal = c->nographic || !c->display_given;

	c->pc.nographic = c->nographic || terminal;
	if (c->nodefaults || c->serials->len || c->mons->len || c->qmps->len || c->debugcons->len)
		terminal = terminal && c->nographic && !c->nodefaults && !c->serials->len;
	if (!terminal) {
		/* COM1 is there for the guest even when nobody listens. */
		if (!c->nodefaults && !c->serials->len)
			g_ptr_array_add(c->serials, g_strdup("null"));
		return;
	}
	if (c->monitors->len) {
		g_ptr_array_add(c->serials, g_strdup("stdio"));
	} else {
		g_ptr_array_add(c->serials, g_strdup("mon:stdio"));
		g_ptr_array_add(c->monitors, g_strdup("mon:stdio"));
	}
}

/* A disk or CD-ROM that was given as a device may be meant for any place of the bus. */
static bool has_ide_device(const struct vm_config *c)
{
	bool found = false;

	for (guint i = 0; i < c->devices->len; i++) {
		struct optlist *l = optlist_parse("-device", c->devices->pdata[i], "driver");
		const char *driver = optlist_get(l, "driver");

		found |= driver && (g_str_has_prefix(driver, "ide-") || !strcmp(driver, "scsi-cd"));
		optlist_free(l);
	}
	return found;
}

bool config_parse(struct vm_config *c, int argc, char **argv, GError **err)
{
	memset(c, 0, sizeof(*c));
	pc_config_default(&c->pc);
	c->pc.rtc_base = wall_clock_ns() / NS_PER_SEC;
	c->chardevs = g_ptr_array_new_with_free_func(g_free);
	c->serials = g_ptr_array_new_with_free_func(g_free);
	c->monitors = g_ptr_array_new_with_free_func(g_free);
	c->qmps = g_ptr_array_new_with_free_func(g_free);
	c->mons = g_ptr_array_new_with_free_func(g_free);
	c->debugcons = g_ptr_array_new_with_free_func(g_free);
	c->devices = g_ptr_array_new_with_free_func(g_free);
	c->objects = g_ptr_array_new_with_free_func(g_free);
	c->fw_cfg = g_ptr_array_new_with_free_func(fw_cfg_blob_free);
	drive_wishes_init(&c->drives);
	net_wishes_init(&c->nets);
	c->pc.fw_cfg = c->fw_cfg;
	if (!options_parse(options, argc, argv, c, err) || c->done)
		return c->done && !(err && *err);
	for (guint i = 0; c->snapshot && i < c->drives.all->len; i++)
		((struct drive_wish *)c->drives.all->pdata[i])->options.snapshot = true;
	c->accel.max_vcpus = c->pc.smp.max_cpus;
	c->accel.no_pit = !c->pc.pit;
	if (c->accel.digest && !c->accel.count)
		return error(err, "-accel tcg,digest=: runs differ in time; add -icount "
				  "shift=0,sleep=off");
	if (!c->kernel && (c->initrd || c->append))
		return error(err, "-%s is for a kernel: give one with -kernel",
			     c->initrd ? "initrd" : "append");
	if (c->pc.bios && c->pc.pflash[0].file)
		return error(
			err,
			"-bios and -drive if=pflash,unit=0 both give the firmware: leave one out");
	if (c->pc.pflash[1].file && !c->pc.pflash[0].file)
		return error(err, "-drive if=pflash,unit=1 holds variables: give the firmware "
				  "itself as unit=0");
	add_defaults(c);
	if (!c->nodefaults && !drive_wishes_defaults(&c->drives, !has_ide_device(c), err))
		return false;
	return !c->cpu || x86_cpu_config_parse(&c->pc.cpu, c->cpu, err);
}

void config_clear(struct vm_config *c)
{
	g_free(c->gdb);
	x86_cpu_config_clear(&c->pc.cpu);
	g_ptr_array_unref(c->chardevs);
	g_ptr_array_unref(c->serials);
	g_ptr_array_unref(c->monitors);
	g_ptr_array_unref(c->qmps);
	g_ptr_array_unref(c->mons);
	g_ptr_array_unref(c->debugcons);
	g_ptr_array_unref(c->devices);
	g_ptr_array_unref(c->objects);
	g_ptr_array_unref(c->fw_cfg);
	drive_wishes_clear(&c->drives);
	net_wishes_clear(&c->nets);
	g_free(c->accels);
	g_free(c->name);
	g_free(c->process_name);
	g_free(c->pidfile);
	g_free(c->cpu);
	g_free(c->digest);
	g_free(c->bios);
	g_free(c->kernel);
	g_free(c->initrd);
	g_free(c->append);
	g_free(c->boot_order);
	for (int i = 0; i < PC_PFLASH_UNITS; i++)
		g_free(c->pflash_file[i]);
	for (int i = 0; i < PC_SERIAL_PORTS; i++)
		g_free(c->serial_id[i]);
}

/* addr=SLOT or SLOT.FUNCTION, in hexadecimal as lspci prints it. */
static bool place_pci(void *dev, const char *addr, GError **err)
{
	char *end;
	uint64_t slot = g_ascii_strtoull(addr, &end, 16), function = 0;

	if (*end == '.')
		function = g_ascii_strtoull(end + 1, &end, 16);
	if (*end || slot >= PCI_SLOTS || function >= PCI_FUNCTIONS)
		return error(
			err,
			"%s: addr '%s' is not a PCI slot from 0 to 1f, as in addr=4 or addr=4.1",
			device_name(dev), addr);
	pci_set_devfn(dev, (unsigned)slot, (unsigned)function);
	return true;
}

static bool set_properties(struct machine *m, struct device *d, struct optlist *l, struct bus **bus,
			   GError **err)
{
	const char *bus_name = optlist_get(l, "bus");

	for (guint i = 0; i < l->keys->len; i++) {
		const char *key = l->keys->pdata[i], *value = l->values->pdata[i];

		if (!strcmp(key, "driver") || !strcmp(key, "id") || !strcmp(key, "bus"))
			continue;
		if (!strcmp(key, "addr") && d->info->bus && !strcmp(d->info->bus, "PCI")) {
			if (!place_pci(d, value, err))
				return false;
			continue;
		}
		if (!device_set(d, key, value, err))
			return false;
	}
	if (d->info->bus || bus_name) {
		*bus = machine_find_bus(m, d->info->bus ? d->info->bus : "System", bus_name);
		if (!*bus)
			return error(err, "-device %s: no %s bus '%s' in this machine",
				     d->info->name, d->info->bus, bus_name ? bus_name : "");
	}
	return true;
}

static bool add_device(struct machine *m, const char *text, GError **err)
{
	struct optlist *l = optlist_parse("-device", text, "driver");
	const char *driver = optlist_get(l, "driver"), *id = optlist_get(l, "id");
	const struct device_info *info = driver ? device_find(driver, err) : NULL;
	struct bus *bus = NULL;
	struct device *d;
	bool ok = false;

	if (!driver) {
		error(err, "-device: '%s' does not begin with a device's name", text);
	} else if (info && info->board_only) {
		error(err, "-device: '%s' is part of the board and cannot be added", driver);
	} else if (info && id && machine_find_device(m, id)) {
		error(err, "-device %s: id '%s' is taken", driver, id);
	} else if (info && optlist_name(l, "id", err)) {
		d = device_new(m, info, id);
		ok = set_properties(m, d, l, &bus, err) && device_realize(d, bus, err);
	}
	optlist_free(l);
	return ok;
}

bool config_add_devices(struct vm_config *c, struct machine *m, GError **err)
{
	for (guint i = 0; i < c->devices->len; i++)
		if (!add_device(m, c->devices->pdata[i], err))
			return false;
	return true;
}
