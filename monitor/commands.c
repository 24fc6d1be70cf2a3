/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of monitor commands, and those that are a few lines each. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "core/log.h"
#include "monitor/monitor.h"

static JsonNode *object_node(JsonObject *o)
{
	JsonNode *n = json_node_new(JSON_NODE_OBJECT);

	json_node_take_object(n, o);
	return n;
}

static JsonNode *array_node(JsonArray *a)
{
	JsonNode *n = json_node_new(JSON_NODE_ARRAY);

	json_node_take_array(n, a);
	return n;
}

static JsonNode *string_node(const char *s)
{
	JsonNode *n = json_node_new(JSON_NODE_VALUE);

	json_node_set_string(n, s);
	return n;
}

/* Text goes to people only; under QMP the result says it. */
#define say(c, ...)                                                                                \
	do {                                                                                       \
		if ((c)->text)                                                                     \
			g_string_append_printf((c)->text, __VA_ARGS__);                            \
	} while (0)

static bool cmd_stop(struct call *c, GError **err)
{
	(void)err;
	if (machine_running(c->machine))
		machine_stop(c->machine, RUN_PAUSED);
	return true;
}

static bool cmd_cont(struct call *c, GError **err)
{
	struct machine *m = c->machine;

	if (m->state == RUN_SHUTDOWN || m->state == RUN_INTERNAL_ERROR ||
	    m->state == RUN_GUEST_PANICKED)
		return error(
			err,
			"Resetting the Virtual Machine is required (state: %s): use system_reset",
			run_state_name(m->state));
	machine_start(m);
	return true;
}

static bool cmd_quit(struct call *c, GError **err)
{
	(void)err;
	c->machine->cause = CAUSE_HOST_QUIT;
	machine_request(c->machine, REQ_QUIT);
	return true;
}

static bool cmd_reset(struct call *c, GError **err)
{
	(void)err;
	c->machine->cause = CAUSE_HOST_QUIT;
	machine_request(c->machine, REQ_RESET);
	return true;
}

static bool cmd_powerdown(struct call *c, GError **err)
{
	(void)err;
	machine_request(c->machine, REQ_POWERDOWN);
	return true;
}

static bool cmd_nmi(struct call *c, GError **err)
{
	struct accel *a = machine_accel(c->machine);

	for (guint i = 0; a && i < a->vcpus->len; i++)
		if (!vcpu_inject_nmi(a->vcpus->pdata[i]))
			return error(err, "the engine cannot inject an NMI");
	return true;
}

static bool query_status(struct call *c, GError **err)
{
	JsonObject *o = json_object_new();

	(void)err;
	json_object_set_boolean_member(o, "running", machine_running(c->machine));
	json_object_set_boolean_member(o, "singlestep", FALSE);
	json_object_set_string_member(o, "status", run_state_name(c->machine->state));
	c->result = object_node(o);
	say(c, "VM status: %s", machine_running(c->machine) ? "running" : "paused");
	if (c->machine->state != RUN_RUNNING && c->machine->state != RUN_PAUSED)
		say(c, " (%s)", run_state_name(c->machine->state));
	say(c, "\n");
	return true;
}

static bool query_version(struct call *c, GError **err)
{
	JsonObject *o = json_object_new(), *n = json_object_new();
	g_auto(GStrv) parts = g_strsplit(MOA_VERSION, ".", 3);

	(void)err;
	json_object_set_int_member(n, "major", atoi(parts[0]));
	json_object_set_int_member(n, "minor", atoi(parts[1]));
	json_object_set_int_member(n, "micro", atoi(parts[2]));
	json_object_set_object_member(o, "qemu", n);
	json_object_set_string_member(o, "package", "moa " MOA_VERSION);
	c->result = object_node(o);
	say(c, "moa " MOA_VERSION "\n");
	return true;
}

static bool query_kvm(struct call *c, GError **err)
{
	JsonObject *o = json_object_new();
	struct accel *a = machine_accel(c->machine);

	(void)err;
	json_object_set_boolean_member(o, "enabled", a && !strcmp(a->ops->name, "kvm"));
	json_object_set_boolean_member(o, "present", access("/dev/kvm", R_OK | W_OK) == 0);
	c->result = object_node(o);
	return true;
}

static bool query_cpus(struct call *c, GError **err)
{
	struct accel *a = machine_accel(c->machine);
	JsonArray *list = json_array_new();

	(void)err;
	for (guint i = 0; a && i < a->vcpus->len; i++) {
		struct vcpu *v = a->vcpus->pdata[i];
		JsonObject *o = json_object_new(), *props = json_object_new();

		json_object_set_int_member(o, "cpu-index", i);
		json_object_set_string_member(o, "qom-path", v->dev.path);
		json_object_set_int_member(o, "thread-id", v->tid);
		json_object_set_string_member(o, "target", "x86_64");
		json_object_set_int_member(props, "socket-id", i);
		json_object_set_object_member(o, "props", props);
		json_array_add_object_element(list, o);
		say(c, "%s CPU #%u: thread_id=%d\n", i ? " " : "*", i, v->tid);
	}
	c->result = array_node(list);
	return true;
}

static bool query_name(struct call *c, GError **err)
{
	JsonObject *o = json_object_new();

	(void)err;
	if (c->machine->name)
		json_object_set_string_member(o, "name", c->machine->name);
	c->result = object_node(o);
	say(c, "%s\n", c->machine->name ? c->machine->name : "");
	return true;
}

static bool query_uuid(struct call *c, GError **err)
{
	JsonObject *o = json_object_new();
	const uint8_t *u = c->machine->uuid;
	g_autofree char *text = g_strdup_printf(
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		u[15]);

	(void)err;
	json_object_set_string_member(o, "UUID", text);
	c->result = object_node(o);
	say(c, "%s\n", text);
	return true;
}

static void add_chardev(struct chardev *chr, void *opaque)
{
	struct call *c = opaque;
	JsonObject *o = json_object_new();
	g_autofree char *name = chr_describe(chr);

	json_object_set_string_member(o, "label", chr->id);
	json_object_set_string_member(o, "filename", name);
	json_object_set_boolean_member(o, "frontend-open", chr->nfronts != 0);
	json_array_add_object_element(json_node_get_array(c->result), o);
	say(c, "%s: filename=%s\n", chr->id, name);
}

static bool query_chardev(struct call *c, GError **err)
{
	(void)err;
	c->result = array_node(json_array_new());
	chr_foreach(add_chardev, c);
	return true;
}

static bool ringbuf_read(struct call *c, GError **err)
{
	const char *id = call_str(c, "device", "");
	int64_t size = call_int(c, "size", 0);
	struct chardev *chr = chr_find(id);
	g_autofree uint8_t *data = NULL;
	const char *format = call_str(c, "format", "utf8");
	size_t n;

	if (!chr)
		return error(err, "Device '%s' not found", id);
	if (!chr->ops->read_back)
		return error(err, "%s is not a ringbuf device", id);
	if (size <= 0 || size > (int64_t)(64 * MIB))
		return error(err, "size must be from 1 to %d", (int)(64 * MIB));
	if (strcmp(format, "utf8") && strcmp(format, "base64"))
		return error(err, "format '%s' is neither utf8 nor base64", format);
	data = g_malloc((size_t)size + 1);
	n = chr->ops->read_back(chr, data, (size_t)size);
	g_autofree char *text = strcmp(format, "utf8")
					? g_base64_encode(data, n)
					: g_utf8_make_valid((const char *)data, (gssize)n);

	c->result = string_node(text);
	say(c, "%s\n", text);
	return true;
}

static bool query_commands(struct call *c, GError **err)
{
	JsonArray *list = json_array_new();

	(void)err;
	for (const struct command *cmd = monitor_commands; cmd->qmp || cmd->hmp; cmd++) {
		JsonObject *o;

		if (!cmd->qmp)
			continue;
		o = json_object_new();
		json_object_set_string_member(o, "name", cmd->qmp);
		json_array_add_object_element(list, o);
	}
	c->result = array_node(list);
	return true;
}

static bool query_schema(struct call *c, GError **err)
{
	(void)err;
	c->result = qmp_schema();
	return true;
}

static bool query_events(struct call *c, GError **err)
{
	JsonArray *list = json_array_new();

	(void)err;
	for (const struct monitor_event *e = monitor_events; e->name; e++) {
		JsonObject *o = json_object_new();

		json_object_set_string_member(o, "name", e->name);
		json_array_add_object_element(list, o);
	}
	c->result = array_node(list);
	return true;
}

static bool human_command(struct call *c, GError **err)
{
	g_autofree char *text = hmp_run_line(c->machine, c->mon, call_str(c, "command-line", ""));

	(void)err;
	c->result = string_node(text);
	return true;
}

/* The handshake itself is qmp.c's; the row is here so that the lists and the schema have it. */
static bool capabilities(struct call *c, GError **err)
{
	(void)c;
	return error(err, "qmp_capabilities is a QMP handshake");
}

static bool cmd_log(struct call *c, GError **err)
{
	return log_set_mask(call_str(c, "items", ""), err);
}

static bool cmd_trace(struct call *c, GError **err)
{
	return trace_enable(call_str(c, "name", ""),
			    strcmp(call_str(c, "option", "on"), "off") != 0, err);
}

const struct monitor_event monitor_events[] = {
	{ "STOP", "" },
	{ "RESUME", "" },
	{ "RESET", "guest:bool,reason:str" },
	{ "SHUTDOWN", "guest:bool,reason:str" },
	{ "POWERDOWN", "" },
	{ "GUEST_PANICKED", "action:str" },
	{ "GUEST_CRASHLOADED", "action:str" },
	{ "BALLOON_CHANGE", "actual:int" },
	{ "VSERPORT_CHANGE", "id:str,open:bool" },
	{ "DEVICE_TRAY_MOVED", "device:str,id:str,tray-open:bool" },
	{ "BLOCK_IO_ERROR", "device:str,operation:str,action:str,nospace:bool,reason:str" },
	{ NULL, NULL },
};

/* clang-format off */
const struct command monitor_commands[] = {
	{ "qmp_capabilities", NULL, "enable?:[str]", "", "the QMP handshake", capabilities },
	{ "stop", "stop", "", "", "stop the VM", cmd_stop },
	{ "cont", "cont|c", "", "", "let the VM run", cmd_cont },
	{ "quit", "quit|q", "", "", "end the emulator", cmd_quit },
	{ "system_reset", "system_reset", "", "", "reset the VM", cmd_reset },
	{ "system_powerdown", "system_powerdown", "", "", "press the power button", cmd_powerdown },
	{ "inject-nmi", "nmi", "", "", "send a non-maskable interrupt to every vCPU", cmd_nmi },
	{ "query-status", "info status", "", "running:bool,singlestep:bool,status:str", "whether the VM runs",
	  query_status },
	{ "query-version", "info version", "", "qemu:any,package:str", "moa's version", query_version },
	{ "query-kvm", NULL, "", "enabled:bool,present:bool", "whether KVM is used", query_kvm },
	{ "query-cpus-fast", "info cpus", "",
	  "[cpu-index:int,qom-path:str,thread-id:int,target:str,props:any]", "the vCPUs and their threads",
	  query_cpus },
	{ "query-name", "info name", "", "name?:str", "the VM's name", query_name },
	{ "query-uuid", "info uuid", "", "UUID:str", "the VM's UUID", query_uuid },
	{ "query-chardev", "info chardev", "", "[label:str,filename:str,frontend-open:bool]",
	  "character devices", query_chardev },
	{ "query-block", "info block", "", "[device:str,qdev?:str,locked:bool,removable:bool,type:str,inserted?:any,tray_open?:bool,io-status?:str]",
	  "drives and their images", query_block },
	{ "query-iothreads", "info iothreads", "", "[id:str,thread-id:int]", "I/O threads", query_iothreads },
	{ "query-blockstats", "info blockstats", "", "[device:str,stats:any]", "what drives have done", query_blockstats },
	{ "block_resize", "block_resize", "device:str,size:int", "", "make a drive larger", cmd_block_resize },
	{ "block_set_io_throttle", "block_set_io_throttle", "device:str,bps:int,bps_rd:int,bps_wr:int,iops:int,iops_rd:int,iops_wr:int", "", "limit what a drive does in a second; 0: no limit", cmd_throttle },
	{ "eject", "eject", "device:str,force?:bool", "", "take the disc out of a CD-ROM; -f: though it is locked", cmd_eject },
	{ "blockdev-change-medium", "change", "device:str,filename:str,format?:str,force?:bool", "", "put another disc in", cmd_change },
	{ "query-balloon", "info balloon", "", "actual:int,stats:any", "the balloon: what the guest has of its memory, and statistics",
	  query_balloon },
	{ "balloon", "balloon", "value:int", "", "how much of its memory the guest is to have; here in MiB", cmd_balloon },
	{ NULL, "info network", "", "", "networks, cards and their counters", info_network },
	{ NULL, "info usernet", "", "", "what goes through the user networks", info_usernet },
	{ NULL, "hostfwd_add", "rule:str", "", "[NETDEV] [tcp|udp]:[HOSTADDR]:PORT-[GUESTADDR]:PORT: forward a port of the host",
	  cmd_hostfwd_add },
	{ NULL, "hostfwd_remove", "rule:str", "", "[NETDEV] [tcp|udp]:[HOSTADDR]:PORT: forward it no more", cmd_hostfwd_remove },
	{ "set_link", "set_link", "name:str,up:bool", "", "plug a network or card in, or pull it", cmd_set_link },
	{ "ringbuf-read", "ringbuf_read", "device:str,size:int,format?:str", "str",
	  "take bytes out of a ringbuf chardev", ringbuf_read },
	{ "query-commands", NULL, "", "[name:str]", "the QMP commands", query_commands },
	{ "query-events", NULL, "", "[name:str]", "the QMP events", query_events },
	{ "query-qmp-schema", NULL, "", "any", "the QMP schema", query_schema },
	{ "human-monitor-command", NULL, "command-line:str,cpu-index?:int", "str", "run an HMP line",
	  human_command },
	{ NULL, "info registers", "all?:bool", "", "vCPU registers; -a: of all vCPUs", info_registers },
	{ NULL, "info mtree", "flat?:bool", "", "memory and port regions; -f: flattened", info_mtree },
	{ NULL, "info qtree", "", "", "the devices and their properties", info_qtree },
	{ NULL, "info pic", "", "", "interrupt controllers", info_pic },
	{ NULL, "info irq", "", "", "interrupt counts", info_irq },
	{ NULL, "info lapic", "", "", "local APICs", info_lapic },
	{ NULL, "info clocks", "", "", "clocks, timers and lost ticks", info_clocks },
	{ NULL, "info kvm", "", "", "KVM: use, capabilities", info_kvm },
	{ NULL, "info tlb", "", "", "the pages that the first vCPU's page tables map", info_tlb },
	{ NULL, "info mem", "", "", "the same in stretches of equal rights", info_mem },
	{ NULL, "info jit", "", "", "the translator's counters", info_jit },
	{ NULL, "info exits", "", "", "why vCPUs left the guest, counted", info_exits },
	{ NULL, "info pci", "", "", "PCI devices", info_pci },
	{ NULL, "x", "fmt?:str,addr:int", "", "dump virtual memory: x /16xw ADDR, x /4i $rip", cmd_x },
	{ NULL, "xp", "fmt?:str,addr:int", "", "dump physical memory", cmd_xp },
	{ NULL, "p|print", "fmt?:str,expr:str", "", "the value of an expression", cmd_p },
	{ NULL, "i", "fmt?:str,addr:int", "", "read a port: i /b ADDR", cmd_i },
	{ NULL, "o", "fmt?:str,addr:int,val:int", "", "write a port: o /b ADDR VALUE", cmd_o },
	{ NULL, "log", "items:str", "", "turn logs on, as -d does", cmd_log },
	{ NULL, "trace-event", "name:str,option?:str", "", "turn trace points on or off", cmd_trace },
	{ NULL, NULL, NULL, NULL, NULL, NULL },
};
/* clang-format on */
