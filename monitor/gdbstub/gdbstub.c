/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/gdbstub/gdbstub.h"

#include <inttypes.h>
#include <string.h>

#include "accel/accel.h"
#include "core/loop.h"
#include "core/machine.h"
#include "monitor/monitor.h"

#define LONGEST_PACKET 16384u
#define SIGNAL_INT 2
#define SIGNAL_TRAP 5
#define HARDWARE_BREAKPOINTS 4
#define INT3 0xcc

/* By the numbers of Z packets. */
enum { BREAK_SOFTWARE, BREAK_HARDWARE, WATCH_WRITE, WATCH_READ, WATCH_ACCESS };

struct breakpoint {
	unsigned kind, length;
	uint64_t addr, phys; /* phys: where the INT3 is */
	uint8_t covered;     /* what it replaced */
};

enum input { WAIT_PACKET, IN_PACKET, IN_ESCAPE, CHECKSUM_HIGH, CHECKSUM_LOW };

struct gdb {
	struct machine *machine;
	struct chr_front front;
	struct machine_listener listener;
	bool connected, no_ack, physical, swbreak;
	bool running;  /* the client waits for a stop reply */
	bool stopping; /* this stub stops the machine itself */
	enum input input;
	uint8_t sum, wanted_sum;
	GString *packet, *last;
	unsigned thread; /* that register and memory packets mean, an index */
	unsigned stopped_thread, signal;
	GString *reason; /* of the last stop, as the reply tells it */
	GArray *breakpoints;
};

static struct gdb *gdb;

/* vCPUs. */

static struct accel *accel_of(struct gdb *g)
{
	return machine_accel(g->machine);
}

static struct x86_cpu *cpu_n(struct gdb *g, unsigned n)
{
	return n < accel_of(g)->vcpus->len ? accel_of(g)->vcpus->pdata[n] : NULL;
}

static struct x86_cpu *current(struct gdb *g)
{
	return cpu_n(g, g->thread);
}

/* Output. */

static void send(struct gdb *g, const char *data, size_t n)
{
	g_autoptr(GString) s = g_string_new("$");
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)data[i];

		if (c == '$' || c == '#' || c == '}' || c == '*') {
			g_string_append_c(s, '}');
			sum = (uint8_t)(sum + '}');
			c ^= 0x20;
		}
		g_string_append_c(s, (char)c);
		sum = (uint8_t)(sum + c);
	}
	g_string_append_printf(s, "#%02x", sum);
	g_string_truncate(g->last, 0);
	g_string_append_len(g->last, s->str, (gssize)s->len);
	chr_write(&g->front, s->str, s->len);
}

static void reply(struct gdb *g, const char *text)
{
	send(g, text, strlen(text));
}

static void append_hex(GString *s, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		g_string_append_printf(s, "%02x", bytes[i]);
}

static void send_stop(struct gdb *g)
{
	g_autoptr(GString) s = g_string_new(NULL);

	g_string_append_printf(s, "T%02xthread:%x;%s", g->signal, g->stopped_thread + 1,
			       g->reason->str);
	send(g, s->str, s->len);
}

/* Input. */

static bool hex_digit(char c, unsigned *v)
{
	if (!g_ascii_isxdigit(c))
		return false;
	*v = (unsigned)g_ascii_xdigit_value(c);
	return true;
}

/* A hexadecimal number; moves *p behind it. */
static bool take_number(const char **p, uint64_t *v)
{
	unsigned digit;
	bool any = false;

	for (*v = 0; hex_digit(**p, &digit); (*p)++) {
		*v = *v << 4 | digit;
		any = true;
	}
	return any;
}

static bool take_char(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static size_t take_bytes(const char *p, uint8_t *out, size_t most)
{
	size_t n = 0;
	unsigned high, low;

	while (n < most && hex_digit(p[0], &high) && hex_digit(p[1], &low)) {
		out[n++] = (uint8_t)(high << 4 | low);
		p += 2;
	}
	return n;
}

/* A thread number: 0 any, -1 all; else a vCPU's index plus 1. False if there is none such. */
static bool take_thread(struct gdb *g, const char **p, int64_t *thread)
{
	uint64_t v;

	if (take_char(p, '-')) {
		*thread = -1;
		return take_number(p, &v) && v == 1;
	}
	if (!take_number(p, &v) || v > accel_of(g)->vcpus->len)
		return false;
	*thread = (int64_t)v;
	return true;
}

/* Memory. */

static bool access_memory(struct gdb *g, uint64_t addr, uint8_t *buf, size_t len, bool write)
{
	struct space *mem = &g->machine->mem;

	while (len) {
		uint64_t pa = addr;
		size_t n = MIN_OF(len, PAGE_SIZE_4K - (addr & (PAGE_SIZE_4K - 1)));

		if (!g->physical && !x86_translate(current(g), addr, &pa))
			return false;
		if (!write)
			space_read(mem, pa, buf, n);
		else if (!space_write_rom(mem, pa, buf, n))
			space_write(mem, pa, buf, n);
		addr += n;
		buf += n;
		len -= n;
	}
	return true;
}

static void read_memory(struct gdb *g, const char *p)
{
	g_autoptr(GString) s = g_string_new(NULL);
	uint64_t addr, len;
	g_autofree uint8_t *buf = NULL;

	if (!take_number(&p, &addr) || !take_char(&p, ',') || !take_number(&p, &len) ||
	    len > LONGEST_PACKET / 2) {
		reply(g, "E22");
		return;
	}
	buf = g_malloc(len + 1);
	/* What can be read of it: gdb asks again for the rest. */
	while (len && !access_memory(g, addr, buf, len, false))
		len = len > 1 ? len / 2 : 0;
	append_hex(s, buf, len);
	reply(g, s->len ? s->str : "E14");
}

static void write_memory(struct gdb *g, const char *p, bool binary, size_t left)
{
	const char *start = p;
	uint64_t addr, len;
	g_autofree uint8_t *buf = NULL;

	if (!take_number(&p, &addr) || !take_char(&p, ',') || !take_number(&p, &len) ||
	    !take_char(&p, ':') || len > LONGEST_PACKET) {
		reply(g, "E22");
		return;
	}
	left -= (size_t)(p - start);
	buf = g_malloc(len + 1);
	if (binary ? left < len : take_bytes(p, buf, len) < len) {
		reply(g, "E22");
		return;
	}
	if (binary)
		memcpy(buf, p, len);
	reply(g, access_memory(g, addr, buf, len, true) ? "OK" : "E14");
}

/* Registers. */

static void read_registers(struct gdb *g)
{
	g_autoptr(GString) s = g_string_new(NULL);
	uint8_t value[16];
	unsigned size;

	for (unsigned n = 0; (size = gdb_register_get(current(g), n, value)); n++)
		append_hex(s, value, size);
	reply(g, s->str);
}

static void write_registers(struct gdb *g, const char *p)
{
	uint8_t value[16];
	unsigned size;

	for (unsigned n = 0; (size = gdb_register_get(current(g), n, value)); n++) {
		if (take_bytes(p, value, size) < size)
			break;
		gdb_register_put(current(g), n, value);
		p += 2 * size;
	}
	reply(g, "OK");
}

static void one_register(struct gdb *g, const char *p, bool write)
{
	g_autoptr(GString) s = g_string_new(NULL);
	uint8_t value[16];
	uint64_t n;
	unsigned size;

	if (!take_number(&p, &n) || n > UINT16_MAX ||
	    !(size = gdb_register_get(current(g), (unsigned)n, value)) ||
	    (write && (!take_char(&p, '=') || take_bytes(p, value, size) < size))) {
		reply(g, "E22");
		return;
	}
	if (write)
		gdb_register_put(current(g), (unsigned)n, value);
	append_hex(s, value, size);
	reply(g, write ? "OK" : s->str);
}

/* Breakpoints. */

static struct breakpoint *breakpoint_n(struct gdb *g, guint i)
{
	return &g_array_index(g->breakpoints, struct breakpoint, i);
}

static unsigned hardware_in_use(struct gdb *g)
{
	unsigned n = 0;

	for (guint i = 0; i < g->breakpoints->len; i++)
		n += breakpoint_n(g, i)->kind != BREAK_SOFTWARE;
	return n;
}

static bool insert(struct gdb *g, struct breakpoint *b)
{
	static const uint8_t int3 = INT3;

	if (b->kind != BREAK_SOFTWARE)
		/* The processor has no watch for reads alone; lengths as DR7 has them, aligned. */
		return b->kind != WATCH_READ && hardware_in_use(g) < HARDWARE_BREAKPOINTS &&
		       (b->kind == BREAK_HARDWARE ||
			((b->length == 1 || b->length == 2 || b->length == 4 || b->length == 8) &&
			 !(b->addr & (b->length - 1))));
	if (!x86_translate(current(g), b->addr, &b->phys))
		return false;
	space_read(&g->machine->mem, b->phys, &b->covered, 1);
	return space_write_rom(&g->machine->mem, b->phys, &int3, 1);
}

static void take_out(struct gdb *g, guint i)
{
	struct breakpoint *b = breakpoint_n(g, i);
	uint8_t now;

	if (b->kind == BREAK_SOFTWARE) {
		space_read(&g->machine->mem, b->phys, &now, 1);
		if (now == INT3)
			space_write_rom(&g->machine->mem, b->phys, &b->covered, 1);
	}
	g_array_remove_index(g->breakpoints, i);
}

static void change_breakpoint(struct gdb *g, const char *p, bool add)
{
	struct breakpoint b = { 0 };
	uint64_t kind, length;

	if (!take_number(&p, &kind) || kind > WATCH_ACCESS || !take_char(&p, ',') ||
	    !take_number(&p, &b.addr) || !take_char(&p, ',') || !take_number(&p, &length)) {
		reply(g, "E22");
		return;
	}
	b.kind = (unsigned)kind;
	b.length = (unsigned)length;
	for (guint i = 0; i < g->breakpoints->len; i++) {
		struct breakpoint *have = breakpoint_n(g, i);

		if (have->kind == b.kind && have->addr == b.addr && have->length == b.length) {
			if (!add)
				take_out(g, i);
			reply(g, "OK");
			return;
		}
	}
	if (!add) {
		reply(g, "OK");
		return;
	}
	if (!insert(g, &b)) {
		reply(g, "E22");
		return;
	}
	g_array_append_val(g->breakpoints, b);
	reply(g, "OK");
}

/* Running. */

static void set_debug(struct vcpu *v, void *arg)
{
	v->accel->ops->vcpu_debug(v, arg);
}

static void arm(struct gdb *g, struct vcpu *v, bool step)
{
	struct vcpu_debug d = { .step = step, .dr7 = 0x400 };
	unsigned n = 0;

	for (guint i = 0; i < g->breakpoints->len; i++) {
		static const uint8_t types[] = {
			[BREAK_HARDWARE] = 0, [WATCH_WRITE] = 1, [WATCH_ACCESS] = 3
		};
		static const uint8_t lengths[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
		const struct breakpoint *b = breakpoint_n(g, i);

		if (b->kind == BREAK_SOFTWARE) {
			d.software_breakpoints = true;
			continue;
		}
		d.hardware = true;
		d.dr[n] = b->addr;
		d.dr7 |= UINT64_C(2) << (2 * n) | (uint64_t)types[b->kind] << (16 + 4 * n);
		if (b->kind != BREAK_HARDWARE)
			d.dr7 |= (uint64_t)lengths[b->length] << (18 + 4 * n);
		n++;
	}
	vcpu_run_on(v, set_debug, &d);
}

enum action { HOLD, CONTINUE, STEP };

static void resume(struct gdb *g, const enum action *actions)
{
	GPtrArray *vcpus = accel_of(g)->vcpus;

	for (guint i = 0; i < vcpus->len; i++) {
		struct vcpu *v = vcpus->pdata[i];

		arm(g, v, actions[i] == STEP);
		vcpu_hold(v, actions[i] == HOLD);
	}
	g->running = true;
	machine_start(g->machine);
}

static void resume_all(struct gdb *g, bool step)
{
	enum action actions[256];

	for (unsigned i = 0; i < ARRAY_LEN(actions); i++)
		actions[i] = step ? (i == g->thread ? STEP : HOLD) : CONTINUE;
	resume(g, actions);
}

static void stop(struct gdb *g, enum run_state why)
{
	GPtrArray *vcpus = accel_of(g)->vcpus;

	g->stopping = true;
	machine_stop(g->machine, why);
	g->stopping = false;
	for (guint i = 0; i < vcpus->len; i++)
		vcpu_hold(vcpus->pdata[i], false);
}

/* "vCont;s:1;c": the first action that fits a thread is its. */
static void vcont(struct gdb *g, const char *p)
{
	enum action actions[256] = { HOLD };
	bool set[256] = { false };

	while (take_char(&p, ';')) {
		char what = *p ? *p++ : 0;
		int64_t thread = -1;
		uint64_t signal;

		if ((what == 'C' || what == 'S') && !take_number(&p, &signal))
			what = 0;
		if (take_char(&p, ':') && !take_thread(g, &p, &thread))
			what = 0;
		if (!strchr("cCsS", what) || !what) {
			reply(g, "E22");
			return;
		}
		for (unsigned i = 0; i < accel_of(g)->vcpus->len; i++) {
			if (set[i] || (thread > 0 && (unsigned)thread != i + 1) ||
			    (!thread && i != g->thread))
				continue;
			set[i] = true;
			actions[i] = what == 's' || what == 'S' ? STEP : CONTINUE;
		}
	}
	resume(g, actions);
}

static void forget_breakpoints(struct gdb *g)
{
	GPtrArray *vcpus = accel_of(g)->vcpus;
	struct vcpu_debug off = { 0 };

	while (g->breakpoints->len)
		take_out(g, g->breakpoints->len - 1);
	for (guint i = 0; i < vcpus->len; i++)
		vcpu_run_on(vcpus->pdata[i], set_debug, &off);
}

/* What the reply says of a stop: which watchpoint, or whose breakpoint. */
static void describe_stop(struct gdb *g, const struct vcpu_debug_exit *e)
{
	unsigned n = 0;

	g_string_truncate(g->reason, 0);
	if (e->vector == 3) {
		g_string_append(g->reason, g->swbreak ? "swbreak:;" : "");
		return;
	}
	for (guint i = 0; i < g->breakpoints->len; i++) {
		const struct breakpoint *b = breakpoint_n(g, i);

		if (b->kind == BREAK_SOFTWARE)
			continue;
		if (e->dr6 >> n++ & 1 && b->kind != BREAK_HARDWARE) {
			g_string_append_printf(g->reason, "%s:%" PRIx64 ";",
					       b->kind == WATCH_WRITE ? "watch" : "awatch",
					       b->addr);
			return;
		}
	}
}

static gboolean on_stop(gpointer opaque)
{
	struct vcpu *v = opaque;
	struct gdb *g = gdb;

	/* Another vCPU may have stopped the machine already: this one tells when it runs again. */
	if (!g || g->machine->state != RUN_RUNNING)
		return G_SOURCE_REMOVE;
	stop(g, RUN_DEBUG);
	g->thread = g->stopped_thread = v->index;
	g->signal = SIGNAL_TRAP;
	describe_stop(g, &v->debug_exit);
	if (g->running)
		send_stop(g);
	g->running = false;
	return G_SOURCE_REMOVE;
}

/* On the vCPU's thread. */
static void debug_stop(void *opaque, struct vcpu *v)
{
	loop_post(((struct gdb *)opaque)->machine->context, on_stop, v);
}

static bool debug_owns(void *opaque, struct vcpu *v, uint64_t linear)
{
	struct gdb *g = opaque;

	(void)v;
	for (guint i = 0; i < g->breakpoints->len; i++)
		if (breakpoint_n(g, i)->kind == BREAK_SOFTWARE &&
		    breakpoint_n(g, i)->addr == linear)
			return true;
	return false;
}

/* Not by a breakpoint: the client's or somebody else's wish. */
static void tell_interrupted(struct gdb *g)
{
	g->signal = SIGNAL_INT;
	g_string_truncate(g->reason, 0);
	g->running = false;
	send_stop(g);
}

static void interrupt(struct gdb *g)
{
	if (!g->running)
		return;
	stop(g, RUN_PAUSED);
	g->stopped_thread = g->thread;
	tell_interrupted(g);
}

/* Somebody else (a monitor) stopped the machine. */
static void run_changed(void *opaque, bool running)
{
	struct gdb *g = opaque;

	if (running || g->stopping || !g->running)
		return;
	tell_interrupted(g);
}

/* Queries. */

static void send_part(struct gdb *g, const char *text, const char *p)
{
	g_autoptr(GString) s = g_string_new(NULL);
	uint64_t at, n;
	size_t size = strlen(text);

	if (!take_number(&p, &at) || !take_char(&p, ',') || !take_number(&p, &n) || at > size) {
		reply(g, "E00");
		return;
	}
	n = MIN_OF(n, MIN_OF((uint64_t)size - at, LONGEST_PACKET / 2));
	g_string_append_c(s, at + n < size ? 'm' : 'l');
	g_string_append_len(s, text + at, (gssize)n);
	send(g, s->str, s->len);
}

static void list_threads(struct gdb *g)
{
	g_autoptr(GString) s = g_string_new("m");

	for (unsigned i = 0; i < accel_of(g)->vcpus->len; i++)
		g_string_append_printf(s, "%s%x", i ? "," : "", i + 1);
	reply(g, s->str);
}

static void thread_info(struct gdb *g, const char *p)
{
	g_autoptr(GString) s = g_string_new(NULL);
	g_autofree char *text = NULL;
	int64_t thread;

	if (!take_thread(g, &p, &thread) || thread < 1) {
		reply(g, "E22");
		return;
	}
	text = g_strdup_printf("CPU#%d [%s]", (int)thread - 1,
			       cpu_n(g, (unsigned)thread - 1)->vcpu.halted ? "halted" : "running");
	append_hex(s, (const uint8_t *)text, strlen(text));
	reply(g, s->str);
}

static void monitor_command(struct gdb *g, const char *p)
{
	g_autoptr(GString) s = g_string_new(NULL);
	g_autofree char *line = g_malloc0(strlen(p) / 2 + 1), *out = NULL;

	take_bytes(p, (uint8_t *)line, strlen(p) / 2);
	out = hmp_run_line(g->machine, NULL, line);
	append_hex(s, (const uint8_t *)out, MIN_OF(strlen(out), LONGEST_PACKET / 2 - 1));
	reply(g, s->len ? s->str : "OK");
}

static void query(struct gdb *g, const char *p)
{
	if (g_str_has_prefix(p, "qSupported")) {
		g->swbreak = strstr(p, "swbreak+") != NULL;
		reply(g, "PacketSize=4000;qXfer:features:read+;QStartNoAckMode+;vContSupported+;"
			 "swbreak+");
	} else if (g_str_has_prefix(p, "qXfer:features:read:target.xml:")) {
		send_part(g, gdb_target_xml, p + strlen("qXfer:features:read:target.xml:"));
	} else if (!strcmp(p, "qfThreadInfo")) {
		list_threads(g);
	} else if (!strcmp(p, "qsThreadInfo")) {
		reply(g, "l");
	} else if (g_str_has_prefix(p, "qThreadExtraInfo,")) {
		thread_info(g, p + strlen("qThreadExtraInfo,"));
	} else if (!strcmp(p, "qC")) {
		g_autofree char *text = g_strdup_printf("QC%x", g->thread + 1);

		reply(g, text);
	} else if (g_str_has_prefix(p, "qAttached")) {
		reply(g, "1");
	} else if (g_str_has_prefix(p, "qRcmd,")) {
		monitor_command(g, p + strlen("qRcmd,"));
	} else if (!strcmp(p, "qqemu.PhyMemMode")) {
		reply(g, g->physical ? "1" : "0");
	} else if (g_str_has_prefix(p, "Qqemu.PhyMemMode:")) {
		g->physical = p[strlen("Qqemu.PhyMemMode:")] == '1';
		reply(g, "OK");
	} else if (!strcmp(p, "QStartNoAckMode")) {
		reply(g, "OK");
		g->no_ack = true;
	} else {
		reply(g, "");
	}
}

static void select_thread(struct gdb *g, const char *p)
{
	char what = *p++;
	int64_t thread;

	if ((what != 'g' && what != 'c') || !take_thread(g, &p, &thread)) {
		reply(g, "E22");
		return;
	}
	if (thread > 0)
		g->thread = (unsigned)thread - 1;
	reply(g, "OK");
}

static void detach(struct gdb *g)
{
	forget_breakpoints(g);
	reply(g, "OK");
	g->running = false;
	machine_start(g->machine);
}

static void multi_letter(struct gdb *g, const char *p)
{
	if (!strcmp(p, "vCont?"))
		reply(g, "vCont;c;C;s;S");
	else if (g_str_has_prefix(p, "vCont;"))
		vcont(g, p + strlen("vCont"));
	else if (g_str_has_prefix(p, "vKill")) {
		reply(g, "OK");
		machine_request(g->machine, REQ_QUIT);
	} else
		reply(g, "");
}

static void continue_at(struct gdb *g, const char *p, bool step)
{
	uint64_t pc;

	if (take_number(&p, &pc)) {
		vcpu_sync(&current(g)->vcpu, VS_REGS);
		current(g)->rip = pc;
		vcpu_modified(&current(g)->vcpu, VS_REGS);
	}
	resume_all(g, step);
}

static void handle(struct gdb *g, const char *p, size_t n)
{
	int64_t thread;
	uint64_t signal;

	switch (*p) {
	case '?':
		send_stop(g);
		return;
	case 'g':
		read_registers(g);
		return;
	case 'G':
		write_registers(g, p + 1);
		return;
	case 'p':
	case 'P':
		one_register(g, p + 1, *p == 'P');
		return;
	case 'm':
		read_memory(g, p + 1);
		return;
	case 'M':
	case 'X':
		write_memory(g, p + 1, *p == 'X', n - 1);
		return;
	case 'c':
	case 's':
		continue_at(g, p + 1, *p == 's');
		return;
	case 'C':
	case 'S':
		p++;
		take_number(&p, &signal);
		take_char(&p, ';');
		continue_at(g, p, g->packet->str[0] == 'S');
		return;
	case 'Z':
	case 'z':
		change_breakpoint(g, p + 1, *p == 'Z');
		return;
	case 'H':
		select_thread(g, p + 1);
		return;
	case 'T':
		p++;
		reply(g, take_thread(g, &p, &thread) && thread > 0 ? "OK" : "E22");
		return;
	case 'D':
		detach(g);
		return;
	case 'k':
		machine_request(g->machine, REQ_QUIT);
		return;
	case 'v':
		multi_letter(g, p);
		return;
	case 'q':
	case 'Q':
		query(g, p);
		return;
	default:
		reply(g, "");
	}
}

static void packet_done(struct gdb *g)
{
	bool good = g->sum == g->wanted_sum;

	if (!g->no_ack)
		chr_write(&g->front, good ? "+" : "-", 1);
	if (good)
		handle(g, g->packet->str, g->packet->len);
}

static void input(struct gdb *g, uint8_t c)
{
	unsigned digit = 0;

	switch (g->input) {
	case WAIT_PACKET:
		if (c == '$') {
			g_string_truncate(g->packet, 0);
			g->sum = 0;
			g->input = IN_PACKET;
		} else if (c == 3) {
			interrupt(g);
		} else if (c == '-' && g->last->len) {
			chr_write(&g->front, g->last->str, g->last->len);
		}
		return;
	case IN_PACKET:
		if (c == '#') {
			g->input = CHECKSUM_HIGH;
			return;
		}
		g->sum = (uint8_t)(g->sum + c);
		if (c == '}')
			g->input = IN_ESCAPE;
		else if (g->packet->len < 2 * LONGEST_PACKET)
			g_string_append_c(g->packet, (char)c);
		return;
	case IN_ESCAPE:
		g->sum = (uint8_t)(g->sum + c);
		g_string_append_c(g->packet, (char)(c ^ 0x20));
		g->input = IN_PACKET;
		return;
	case CHECKSUM_HIGH:
		hex_digit((char)c, &digit);
		g->wanted_sum = (uint8_t)(digit << 4);
		g->input = CHECKSUM_LOW;
		return;
	case CHECKSUM_LOW:
		hex_digit((char)c, &digit);
		g->wanted_sum |= (uint8_t)digit;
		g->input = WAIT_PACKET;
		packet_done(g);
		return;
	}
}

static size_t front_can_read(void *opaque)
{
	(void)opaque;
	return 4096;
}

static void front_read(void *opaque, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		input(opaque, data[i]);
}

static void front_event(void *opaque, enum chr_event e)
{
	struct gdb *g = opaque;

	if (e == CHR_OPENED) {
		g->connected = true;
		g->no_ack = g->physical = g->swbreak = g->running = false;
		g->input = WAIT_PACKET;
		g->thread = g->stopped_thread = 0;
		g->signal = SIGNAL_TRAP;
		g_string_truncate(g->reason, 0);
		if (machine_running(g->machine))
			stop(g, RUN_PAUSED);
	} else if (e == CHR_CLOSED && g->connected) {
		/* Its INT3s would hit the guest. */
		bool was = machine_running(g->machine);

		g->connected = g->running = false;
		if (was)
			stop(g, RUN_PAUSED);
		forget_breakpoints(g);
		if (was)
			machine_start(g->machine);
	}
}

bool gdb_new(struct machine *m, struct chardev *chr, GError **err)
{
	struct accel *a = machine_accel(m);
	struct gdb *g;

	if (gdb)
		return error(err, "-gdb: there is one already; give it once");
	g = gdb = g_new0(struct gdb, 1);
	g->machine = m;
	g->packet = g_string_new(NULL);
	g->last = g_string_new(NULL);
	g->reason = g_string_new(NULL);
	g->breakpoints = g_array_new(FALSE, FALSE, sizeof(struct breakpoint));
	g->front = (struct chr_front) {
		.can_read = front_can_read, .read = front_read, .event = front_event, .opaque = g
	};
	g->listener = (struct machine_listener) { .run_changed = run_changed, .opaque = g };
	machine_listen(m, &g->listener);
	a->debug_stop = debug_stop;
	a->debug_owns = debug_owns;
	a->debug_opaque = g;
	return chr_attach(chr, &g->front, err);
}

void gdb_free(void)
{
	struct gdb *g = gdb;

	if (!g)
		return;
	if (g->connected && g->running) {
		g_autofree char *text = g_strdup_printf("W%02x", g->machine->exit_code & 0xff);

		reply(g, text);
	}
	gdb = NULL;
	chr_detach(&g->front);
	machine_unlisten(g->machine, &g->listener);
	g_string_free(g->packet, TRUE);
	g_string_free(g->last, TRUE);
	g_string_free(g->reason, TRUE);
	g_array_unref(g->breakpoints);
	g_free(g);
}
