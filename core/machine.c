/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine: run state, requests, reset, saving all of it. See machine.h. */
#include "core/machine.h"

#include <string.h>

#include "core/device.h"
#include "core/log.h"
#include "core/state.h"

#define MEM_SPACE_SIZE (UINT64_C(1) << 52) /* the architecture's largest physical address */
#define PORT_SPACE_SIZE 0x10000

void machine_init(struct machine *m)
{
	memset(m, 0, sizeof(*m));
	space_init(&m->mem, "memory", MEM_SPACE_SIZE);
	space_init(&m->ports, "I/O", PORT_SPACE_SIZE);
	m->ports.addr_mask = PORT_SPACE_SIZE - 1;
	for (int k = 0; k < CLOCK_KINDS; k++)
		clock_init(&m->clocks[k], (enum clock_kind)k);
	m->devices = g_ptr_array_new();
	m->buses = g_ptr_array_new();
	m->state = RUN_PRELAUNCH;
}

void machine_destroy(struct machine *m)
{
	/* One by one: listeners are told of regions that go while these are still there. */
	while (m->devices->len)
		device_free(m->devices->pdata[m->devices->len - 1]);
	g_ptr_array_unref(m->devices);
	g_ptr_array_unref(m->buses);
	space_destroy(&m->mem);
	space_destroy(&m->ports);
	while (m->blocks) {
		struct ram_block *b = m->blocks;

		m->blocks = b->next;
		ram_free(b);
	}
	for (int k = 0; k < CLOCK_KINDS; k++)
		clock_destroy(&m->clocks[k]);
	g_free(m->name);
	for (guint i = 0; m->boot && i < m->boot->len; i++)
		g_free(g_array_index(m->boot, struct boot_entry, i).path);
	g_clear_pointer(&m->boot, g_array_unref);
}

struct ram_block *machine_ram(struct machine *m, const char *name, uint64_t size, GError **err)
{
	struct ram_block *b;

	assert(!machine_find_ram(m, name));
	b = ram_new(name, size, err);
	if (b) {
		b->next = m->blocks;
		m->blocks = b;
	}
	return b;
}

struct ram_block *machine_find_ram(struct machine *m, const char *name)
{
	struct ram_block *b = m->blocks;

	while (b && strcmp(b->name, name))
		b = b->next;
	return b;
}

struct device *machine_find_device(struct machine *m, const char *id_or_type)
{
	for (guint i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];

		if ((d->id && !strcmp(d->id, id_or_type)) || !strcmp(d->info->name, id_or_type))
			return d;
	}
	return NULL;
}

struct bus *machine_find_bus(struct machine *m, const char *type, const char *name)
{
	for (guint i = 0; i < m->buses->len; i++) {
		struct bus *b = m->buses->pdata[i];

		if (!strcmp(b->type, type) && (!name || !strcmp(b->name, name)))
			return b;
	}
	return NULL;
}

bool machine_add_boot(struct machine *m, const char *device, int32_t index, char *path,
		      GError **err)
{
	struct boot_entry e = { index, path };
	guint at = 0;

	if (index < 0) {
		g_free(path);
		return true;
	}
	if (!m->boot)
		m->boot = g_array_new(FALSE, FALSE, sizeof(e));
	while (at < m->boot->len && g_array_index(m->boot, struct boot_entry, at).index < index)
		at++;
	if (at < m->boot->len && g_array_index(m->boot, struct boot_entry, at).index == index) {
		g_free(path);
		return error(err, "%s: bootindex=%d is taken by %s; give another", device, index,
			     g_array_index(m->boot, struct boot_entry, at).path);
	}
	g_array_insert_val(m->boot, at, e);
	return true;
}

const char *run_state_name(enum run_state s)
{
	static const char *const names[] = {
		[RUN_PRELAUNCH] = "prelaunch",
		[RUN_RUNNING] = "running",
		[RUN_PAUSED] = "paused",
		[RUN_SHUTDOWN] = "shutdown",
		[RUN_INTERNAL_ERROR] = "internal-error",
		[RUN_GUEST_PANICKED] = "guest-panicked",
		[RUN_DEBUG] = "debug",
		[RUN_IO_ERROR] = "io-error",
	};

	return names[s];
}

void machine_request(struct machine *m, unsigned request)
{
	__atomic_fetch_or(&m->requests, request, __ATOMIC_ACQ_REL);
	g_main_context_wakeup(m->context);
}

void machine_exit(struct machine *m, int code)
{
	m->exit_code = code;
	m->cause = CAUSE_GUEST_SHUTDOWN;
	machine_request(m, REQ_QUIT);
}

void machine_event(struct machine *m, const char *event, const char *json_data)
{
	for (struct machine_listener *l = m->listeners; l; l = l->next)
		if (l->event)
			l->event(l->opaque, event, json_data);
}

void machine_listen(struct machine *m, struct machine_listener *l)
{
	l->next = m->listeners;
	m->listeners = l;
}

void machine_unlisten(struct machine *m, struct machine_listener *l)
{
	struct machine_listener **p = &m->listeners;

	while (*p && *p != l)
		p = &(*p)->next;
	if (*p)
		*p = l->next;
}

static void tell_run_changed(struct machine *m, bool running)
{
	for (guint i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];

		if (d->info->run_changed)
			d->info->run_changed(d, running);
	}
	for (struct machine_listener *l = m->listeners; l; l = l->next)
		if (l->run_changed)
			l->run_changed(l->opaque, running);
}

/* I/O threads look at it too. */
static void set_state(struct machine *m, enum run_state state)
{
	__atomic_store_n(&m->state, state, __ATOMIC_RELAXED);
}

void machine_start(struct machine *m)
{
	if (m->state == RUN_RUNNING)
		return;
	set_state(m, RUN_RUNNING);
	clock_run(vm_clock(m), true);
	tell_run_changed(m, true);
	machine_event(m, "RESUME", NULL);
	if (m->resume_vcpus)
		m->resume_vcpus(m);
}

void machine_stop(struct machine *m, enum run_state why)
{
	bool was = m->state == RUN_RUNNING;

	if (was) {
		if (m->pause_vcpus)
			m->pause_vcpus(m);
		clock_run(vm_clock(m), false);
	}
	set_state(m, why);
	if (was) {
		tell_run_changed(m, false);
		machine_event(m, "STOP", NULL);
	}
}

void machine_reset(struct machine *m)
{
	bool running = m->state == RUN_RUNNING;

	log_printf(RESET, "machine reset");
	if (running && m->pause_vcpus)
		m->pause_vcpus(m);
	space_begin(&m->mem);
	space_begin(&m->ports);
	for (guint i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];

		if (d->bus && d->bus->reset)
			d->bus->reset(d->bus, d);
		if (d->info->reset)
			d->info->reset(d);
	}
	for (guint i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];

		if (d->info->reset_lines)
			d->info->reset_lines(d);
	}
	space_commit(&m->ports);
	space_commit(&m->mem);
	for (struct machine_listener *l = m->listeners; l; l = l->next)
		if (l->reset)
			l->reset(l->opaque);
	if (running && m->resume_vcpus)
		m->resume_vcpus(m);
}

static const char *cause_name(enum shutdown_cause c)
{
	static const char *const names[] = {
		[CAUSE_NONE] = "none",
		[CAUSE_HOST_QUIT] = "host-qmp-quit",
		[CAUSE_HOST_SIGNAL] = "host-signal",
		[CAUSE_GUEST_SHUTDOWN] = "guest-shutdown",
		[CAUSE_GUEST_RESET] = "guest-reset",
		[CAUSE_GUEST_PANIC] = "guest-panic",
	};

	return names[c];
}

static bool shut_down(struct machine *m)
{
	g_autofree char *data = g_strdup_printf("{\"guest\": %s, \"reason\": \"%s\"}",
						m->cause >= CAUSE_GUEST_SHUTDOWN ? "true" : "false",
						cause_name(m->cause));

	if (m->no_shutdown) {
		machine_stop(m, RUN_SHUTDOWN);
		machine_event(m, "SHUTDOWN", data);
		return true;
	}
	machine_event(m, "SHUTDOWN", data);
	m->quit = true;
	return false;
}

bool machine_handle_requests(struct machine *m)
{
	unsigned req = __atomic_exchange_n(&m->requests, 0, __ATOMIC_ACQ_REL);

	if (req & REQ_QUIT) {
		g_autofree char *data = g_strdup_printf(
			"{\"guest\": %s, \"reason\": \"%s\"}",
			m->cause >= CAUSE_GUEST_SHUTDOWN ? "true" : "false", cause_name(m->cause));

		machine_stop(m, RUN_SHUTDOWN);
		machine_event(m, "SHUTDOWN", data);
		m->quit = true;
		return false;
	}
	if (req & REQ_ERROR)
		machine_stop(m, RUN_INTERNAL_ERROR);
	if (req & REQ_PANIC)
		machine_stop(m, RUN_GUEST_PANICKED);
	if (req & REQ_STOP)
		machine_stop(m, RUN_PAUSED);
	if (req & REQ_IO_ERROR)
		machine_stop(m, RUN_IO_ERROR);
	if (req & REQ_POWERDOWN) {
		machine_event(m, "POWERDOWN", NULL);
		if (m->powerdown)
			m->powerdown(m->powerdown_opaque);
	}
	if (req & REQ_SHUTDOWN)
		return shut_down(m);
	if (req & REQ_RESET) {
		if (m->no_reboot) {
			m->cause = m->cause == CAUSE_NONE ? CAUSE_GUEST_RESET : m->cause;
			return shut_down(m);
		}
		machine_reset(m);
		machine_event(m, "RESET",
			      m->cause == CAUSE_HOST_QUIT
				      ? "{\"guest\": false, \"reason\": \"host-qmp-system-reset\"}"
				      : "{\"guest\": true, \"reason\": \"guest-reset\"}");
		m->cause = CAUSE_NONE;
		/* A VM that ended or failed may run again from reset. */
		if (m->state == RUN_SHUTDOWN || m->state == RUN_INTERNAL_ERROR ||
		    m->state == RUN_GUEST_PANICKED)
			set_state(m, RUN_PAUSED);
	}
	return true;
}

static const struct field clock_fields[] = {
	{ .name = "vm_ns", .type = FT_S64, .offset = 0, .size = sizeof(int64_t) },
	{ .type = FT_NONE }
};

void machine_save(struct machine *m, GByteArray *out)
{
	int64_t now = clock_ns(vm_clock(m));

	state_begin(out);
	state_section(out, "clock", "clock", 1, clock_fields, &now);
	for (guint i = 0; i < m->devices->len; i++)
		device_save(m->devices->pdata[i], out);
	state_end(out);
}

static bool load_clock(struct machine *m, const struct state_section *s, GError **err)
{
	int64_t now;

	if (!state_load(s, 1, clock_fields, &now, err))
		return false;
	if (now < 0 || now > FARTHEST_NS)
		return error(err, "saved state: section 'clock': time %" G_GINT64_FORMAT " is none",
			     now);
	clock_set(vm_clock(m), now);
	return true;
}

static bool load_section(struct machine *m, const struct state_section *s, bool *seen, GError **err)
{
	if (!strcmp(s->path, "clock"))
		return load_clock(m, s, err);
	for (guint i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];

		if (strcmp(d->path, s->path) || !d->info->state)
			continue;
		if (seen[i])
			return error(err, "saved state: section '%s' is given twice", s->path);
		seen[i] = true;
		return device_load(d, s, err);
	}
	return error(
		err,
		"saved state: section '%s' (%s) has no device here: start with the -machine and "
		"-device options of the machine that was saved",
		s->path, s->type);
}

/* Once more for those whose inputs were driven while the others loaded. */
static bool load_last(struct machine *m, const void *data, size_t len, GError **err)
{
	struct state_reader r;
	struct state_section s;
	bool ok = state_open(&r, data, len, err);

	while (ok && state_next(&r, &s, NULL)) {
		for (guint i = 0; ok && i < m->devices->len; i++) {
			struct device *d = m->devices->pdata[i];

			if (d->info->load_last && !strcmp(d->path, s.path))
				ok = device_load(d, &s, err) && device_loaded(d, err);
		}
		state_section_clear(&s);
	}
	return ok;
}

bool machine_load(struct machine *m, const void *data, size_t len, GError **err)
{
	g_autofree bool *seen = g_new0(bool, m->devices->len + 1);
	struct state_reader r;
	struct state_section s;
	GError *local = NULL;
	bool ok = true;

	if (!state_open(&r, data, len, err))
		return false;
	space_begin(&m->mem);
	space_begin(&m->ports);
	while (ok && state_next(&r, &s, &local)) {
		ok = load_section(m, &s, seen, &local);
		state_section_clear(&s);
	}
	/* After an error too: what a reset leaves alone (a clock's battery) must not stay
	 * unchecked. */
	for (guint i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];
		bool failed = !ok || local;

		if (d->info->state && !seen[i] && !failed)
			ok = error(&local, "saved state: has no section for device '%s'", d->path);
		else
			ok = device_loaded(d, failed ? NULL : &local) && ok;
	}
	ok = ok && !local && load_last(m, data, len, &local);
	space_commit(&m->ports);
	space_commit(&m->mem);
	if (local) {
		g_propagate_error(err, local);
		return false;
	}
	return ok;
}
