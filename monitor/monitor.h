/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitors: QMP (JSON, one object a message) and HMP (text, a line a command) over any chardev,
 * from one table of commands. A command is a function of JSON arguments that leaves a JSON result,
 * text, or both; HMP turns its line into the same arguments.
 *
 * Everything here runs on the main thread with the machine lock held.
 */
#pragma once

#include <json-glib/json-glib.h>

#include "accel/accel.h"
#include "chardev/chardev.h"
#include "core/device.h"

#define MONITOR_LONGEST_INPUT (1u * MIB) /* of one QMP object or HMP line */

struct call {
	struct monitor *mon;
	struct machine *machine;
	JsonObject *args;
	JsonNode *result; /* owned; NULL means an empty object */
	GString *text;	  /* what HMP prints; NULL under QMP */
};

struct command {
	const char *qmp; /* NULL: HMP only */
	const char *hmp; /* NULL: QMP only; "info x" for the info group */
	/*
	 * Arguments and result: "name:type" with types str, int, bool, any, [type]; "?" after the
	 * name makes it optional. HMP takes them in this order; the last str takes the rest of the
	 * line.
	 */
	const char *args, *ret;
	const char *help;
	bool (*run)(struct call *c, GError **err);
};

extern const struct command monitor_commands[]; /* ended by an empty row */
/* Events that may be sent, and the members of their data. */
extern const struct monitor_event {
	const char *name, *data;
} monitor_events[];

/* Makes a monitor on a chardev. The monitor lives as long as the process. */
bool monitor_new(struct machine *m, struct chardev *chr, bool qmp, bool pretty, GError **err);
void monitors_free(void);

/* hmp.c */
struct hmp;
struct hmp *hmp_new(struct machine *m, struct chr_front *out);
void hmp_free(struct hmp *h);
void hmp_greet(struct hmp *h);
void hmp_input(struct hmp *h, const uint8_t *data, size_t len);
/* Runs one line and returns what it printed; free with g_free. */
char *hmp_run_line(struct machine *m, struct monitor *mon, const char *line);

/* qmp.c */
struct qmp;
struct qmp *qmp_new(struct machine *m, struct chr_front *out, bool pretty);
void qmp_free(struct qmp *q);
void qmp_greet(struct qmp *q);
void qmp_input(struct qmp *q, const uint8_t *data, size_t len);
void qmp_event(struct qmp *q, const char *event, const char *json_data);
/*
 * Finds the end of the first JSON object in text: its length, 0 if more is needed, -1 if the text
 * cannot begin one.
 */
long qmp_frame(const char *text, size_t len);
JsonNode *qmp_schema(void);

/* Argument access; the types were checked against the table. */
const char *call_str(struct call *c, const char *name, const char *fallback);
int64_t call_int(struct call *c, const char *name, int64_t fallback);
bool call_bool(struct call *c, const char *name, bool fallback);
/* Checks args against the spec: unknown, missing and mistyped ones are refused by name. */
bool call_check(const struct command *cmd, JsonObject *args, GError **err);
/* Splits "name:type,..." ; each callback gets one member. */
struct spec {
	char name[40], type[16];
	bool optional;
};
bool spec_next(const char **p, struct spec *s);

/* info.c */
bool info_registers(struct call *c, GError **err);
bool info_mtree(struct call *c, GError **err);
bool info_qtree(struct call *c, GError **err);
bool info_pic(struct call *c, GError **err);
bool info_irq(struct call *c, GError **err);
bool info_lapic(struct call *c, GError **err);
bool info_clocks(struct call *c, GError **err);
bool info_kvm(struct call *c, GError **err);
bool info_exits(struct call *c, GError **err);
bool info_tlb(struct call *c, GError **err);
bool info_mem(struct call *c, GError **err);
bool info_jit(struct call *c, GError **err);
bool info_pci(struct call *c, GError **err);

/* backends.c */
bool query_block(struct call *c, GError **err);
bool query_blockstats(struct call *c, GError **err);
bool query_iothreads(struct call *c, GError **err);
bool query_balloon(struct call *c, GError **err);
bool cmd_balloon(struct call *c, GError **err);
bool cmd_block_resize(struct call *c, GError **err);
bool cmd_throttle(struct call *c, GError **err);
bool cmd_eject(struct call *c, GError **err);
bool cmd_change(struct call *c, GError **err);
bool info_network(struct call *c, GError **err);
bool cmd_set_link(struct call *c, GError **err);
bool cmd_hostfwd_add(struct call *c, GError **err);
bool cmd_hostfwd_remove(struct call *c, GError **err);
bool info_usernet(struct call *c, GError **err);

/* memory.c */
bool cmd_x(struct call *c, GError **err);
bool cmd_xp(struct call *c, GError **err);
bool cmd_p(struct call *c, GError **err);
bool cmd_i(struct call *c, GError **err);
bool cmd_o(struct call *c, GError **err);
/* Integers, $registers, + - * / % & | ^ ~ << >> ( ). */
bool eval_expression(struct machine *m, const char *text, uint64_t *value, GError **err);
