/* SPDX-License-Identifier: GPL-2.0-or-later */
/* moa: reads the command line, builds the machine, runs the loop. */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "cmd/moa/cmdline.h"
#include "cmd/moa/objects.h"
#include "core/loop.h"
#include "core/options.h"
#include "monitor/gdbstub/gdbstub.h"
#include "monitor/monitor.h"

static struct machine machine;
static struct vm_config config;
static struct accel *accel;
static struct pc *pc;
static int ready_pipe = -1; /* daemon: the parent waits at the other end */

static void mux_quit(void *opaque)
{
	(void)opaque;
	machine.cause = CAUSE_HOST_QUIT;
	machine_request(&machine, REQ_QUIT);
}

static gboolean end_signal(gpointer opaque)
{
	(void)opaque;
	machine.cause = CAUSE_HOST_SIGNAL;
	machine_request(&machine, REQ_QUIT);
	return G_SOURCE_CONTINUE;
}

static void watch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		GSource *s = g_unix_signal_source_new(signals[i]);

		g_source_set_callback(s, end_signal, NULL, NULL);
		g_source_attach(s, machine.context);
		g_source_unref(s);
	}
}

/* The parent leaves when the VM is ready; before KVM is opened, as a VM does not survive a fork. */
static bool go_to_background(GError **err)
{
	int fds[2];
	pid_t child;
	char status = 1;

	if (pipe2(fds, O_CLOEXEC))
		return error(err, "-daemonize: the host has no pipe: %s", strerror(errno));
	child = fork();
	if (child < 0)
		return error(err, "-daemonize: the host has no process: %s", strerror(errno));
	if (child == 0) {
		close(fds[0]);
		ready_pipe = fds[1];
		setsid();
		return true;
	}
	close(fds[1]);
	while (read(fds[0], &status, 1) < 0 && errno == EINTR)
		;
	_exit(status);
}

static void tell_parent(void)
{
	int null;

	if (ready_pipe < 0)
		return;
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close(null);
	if (chdir("/"))
		_exit(1);
	if (write(ready_pipe, "", 1) != 1)
		_exit(1);
	close(ready_pipe);
}

static bool write_pidfile(GError **err)
{
	g_autofree char *text = g_strdup_printf("%d\n", getpid());
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd;

	if (!config.pidfile)
		return true;
	fd = open(config.pidfile, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return error(err, "-pidfile: cannot write '%s': %s", config.pidfile,
			     strerror(errno));
	/* Held until the process ends, and released by the kernel however it does. */
	if (fcntl(fd, F_SETLK, &lock)) {
		close(fd);
		return error(err, "-pidfile: '%s' belongs to another moa that is running",
			     config.pidfile);
	}
	if (ftruncate(fd, 0) || write(fd, text, strlen(text)) < 0)
		return error(err, "-pidfile: cannot write '%s': %s", config.pidfile,
			     strerror(errno));
	return true;
}

/* A chardev for an option's text; NULL without an error for "none". */
static struct chardev *console(const char *option, const char *text, const char *prefix, unsigned n,
			       GError **err)
{
	g_autofree char *id = g_strdup_printf("%s%u", prefix, n);
	struct chardev *chr;

	/* The terminal that serial port and monitor share is opened by whoever comes first. */
	if (!strcmp(text, "mon:stdio") && chr_find("mon-stdio"))
		return chr_find("mon-stdio");
	chr = chr_new_legacy(machine.context, option, text,
			     strcmp(text, "mon:stdio") ? id : "mon-stdio", err);
	if (chr)
		chr->quit = mux_quit;
	return chr;
}

static bool open_chardevs(GError **err)
{
	for (guint i = 0; i < config.chardevs->len; i++) {
		struct chardev *chr = chr_new(machine.context, config.chardevs->pdata[i], err);

		if (!chr)
			return false;
		chr->quit = mux_quit;
	}
	for (guint i = 0; i < config.serials->len; i++) {
		GError *local = NULL;
		struct chardev *chr =
			console("-serial", config.serials->pdata[i], "serial", i, &local);

		if (local) {
			g_propagate_error(err, local);
			return false;
		}
		if (chr)
			config.pc.serial[i] = config.serial_id[i] = g_strdup(chr->id);
	}
	return true;
}

static bool add_monitor(const char *option, const char *text, unsigned n, bool qmp, GError **err)
{
	GError *local = NULL;
	struct chardev *chr =
		console(option, text, qmp ? "compat_monitor_qmp" : "compat_monitor", n, &local);

	if (local) {
		g_propagate_error(err, local);
		return false;
	}
	return !chr || monitor_new(&machine, chr, qmp, config.qmp_pretty, err);
}

static bool add_mon(const char *text, GError **err)
{
	static const char *const modes[] = { "readline", "control", NULL };
	struct optlist *l = optlist_parse("-mon", text, "chardev");
	const char *id = optlist_get(l, "chardev");
	bool pretty = false, ok;
	unsigned mode = 0;

	ok = optlist_enum(l, "mode", modes, &mode, err) &&
	     optlist_bool(l, "pretty", &pretty, err) && optlist_finish(l, err);
	if (ok && (!id || !chr_find(id)))
		ok = error(err, "-mon: no chardev '%s'; make it with -chardev BACKEND,id=ID",
			   id ? id : "");
	ok = ok && monitor_new(&machine, chr_find(id), mode == 1, pretty, err);
	optlist_free(l);
	return ok;
}

static bool add_monitors(GError **err)
{
	/* A serial port on mon:stdio brings its monitor along. */
	bool have = false;

	for (guint i = 0; i < config.monitors->len; i++) {
		have |= !strcmp(config.monitors->pdata[i], "mon:stdio");
		if (!add_monitor("-monitor", config.monitors->pdata[i], i, false, err))
			return false;
	}
	if (!have && chr_find("mon-stdio") &&
	    !monitor_new(&machine, chr_find("mon-stdio"), false, false, err))
		return false;
	for (guint i = 0; i < config.qmps->len; i++)
		if (!add_monitor("-qmp", config.qmps->pdata[i], i, true, err))
			return false;
	for (guint i = 0; i < config.mons->len; i++)
		if (!add_mon(config.mons->pdata[i], err))
			return false;
	return true;
}

/* A socket listens, and nobody waits for it, unless the user says otherwise. */
static bool add_gdb(GError **err)
{
	bool is_socket = config.gdb && (g_str_has_prefix(config.gdb, "tcp:") ||
					g_str_has_prefix(config.gdb, "unix:"));
	g_autofree char *text = NULL;
	GError *local = NULL;
	struct chardev *chr;

	if (!config.gdb)
		return true;
	text = g_strdup_printf("%s%s", config.gdb,
			       is_socket && !strstr(config.gdb, "server") ? ",server=on,wait=off"
									  : "");
	chr = console("-gdb", text, "gdb", 0, &local);
	if (local)
		g_propagate_error(err, local);
	return chr && gdb_new(&machine, chr, err);
}

static bool add_debugcons(GError **err)
{
	for (guint i = 0; i < config.debugcons->len; i++) {
		GError *local = NULL;
		struct chardev *chr =
			console("-debugcon", config.debugcons->pdata[i], "debugcon", i, &local);
		struct device *d;

		if (local) {
			g_propagate_error(err, local);
			return false;
		}
		if (!chr)
			continue;
		d = device_new(&machine, device_find("isa-debugcon", NULL), NULL);
		/* Where SeaBIOS and OVMF log. */
		if (i == 0 && !device_has_global(d->info, "iobase"))
			device_set_uint(d, "iobase", 0x402);
		if (!device_set(d, "chardev", chr->id, err) ||
		    !device_realize(d, machine_find_bus(&machine, "ISA", NULL), err))
			return false;
	}
	return true;
}

static bool build(GError **err)
{
	machine.name = g_strdup(config.name);
	memcpy(machine.uuid, config.uuid, sizeof(machine.uuid));
	machine.uuid_set = config.uuid_set;
	machine.no_reboot = config.no_reboot;
	machine.no_shutdown = config.no_shutdown;
	if (config.process_name)
		prctl(PR_SET_NAME, config.process_name);
	for (int k = 0; k < CLOCK_KINDS; k++)
		if (!clock_attach(&machine.clocks[k], machine.context, err))
			return false;
	accel = accel_new(&machine, config.accels, &config.accel, err);
	if (!accel || !open_chardevs(err))
		return false;
	if (!config.cpu && !x86_cpu_config_parse(&config.pc.cpu, accel->ops->default_cpu, err))
		return false;
	if (config.drives.all->len)
		net_set_identity(((struct drive_wish *)config.drives.all->pdata[0])->file);
	if (!objects_make(config.objects, true, err) ||
	    !net_wishes_networks(&config.nets, &machine, err))
		return false;
	pc = pc_new(&machine, &config.pc, err);
	if (!pc || !add_debugcons(err) ||
	    !net_wishes_cards(&config.nets, &machine, !config.nodefaults, err) ||
	    !objects_make(config.objects, false, err) ||
	    !drive_wishes_fulfil(&config.drives, &machine, err) ||
	    !config_add_devices(&config, &machine, err) || !add_monitors(err) || !add_gdb(err))
		return false;
	pc_finish(pc);
	return true;
}

static int fail(GError *err)
{
	fprintf(stderr, "moa: %s\n", err->message);
	return 1;
}

static void take_down(void)
{
	if (accel)
		vcpus_stop_threads(accel);
	gdb_free();
	monitors_free();
	chr_free_all();
	iothreads_stop();
	machine_destroy(&machine);
	net_free_all();
	drives_free(&machine);
	iothreads_free();
}

int main(int argc, char **argv)
{
	GError *err = NULL;
	int code;

	if (!config_parse(&config, argc, argv, &err))
		return fail(err);
	if (config.done)
		return 0;
	if (config.daemonize && !go_to_background(&err))
		return fail(err);
	machine_lock();
	machine_init(&machine);
	machine.context = g_main_context_default();
	loop_adopt(machine.context);
	watch_signals();
	if (!build(&err) || !write_pidfile(&err)) {
		code = fail(err);
		/* Threads and half-built devices end with the process. */
		chr_free_all();
		exit(code);
	}
	machine_reset(&machine);
	if (!config.stopped)
		machine_start(&machine);
	tell_parent();
	loop_run(&machine);
	code = machine.exit_code;
	take_down();
	if (config.pidfile)
		unlink(config.pidfile);
	exit(code);
}
