/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio SCSI host adapter. Source: Virtual I/O Device (VIRTIO) Version 1.2, 5.6. Not offered:
 * protection information, data both ways in one request, hot plugging of units.
 */
#include <string.h>

#include "core/log.h"
#include "hw/scsi/scsi.h"
#include "hw/virtio/virtio.h"

#define F_CHANGE 2

#define QUEUE_CONTROL 0
#define QUEUE_EVENT 1
#define QUEUE_REQUEST 2
#define MOST_QUEUES 16

#define DEFAULT_SENSE 96
#define DEFAULT_CDB 32
#define CONFIG_BYTES 36
#define CONFIG_SENSE_AT 20
#define CONFIG_CDB_AT 24

#define HEAD_BYTES 19	  /* LUN, tag, attributes; the CDB follows */
#define RESPONSE_BYTES 12 /* the sense data follow */
#define EVENT_BYTES 16

/* Responses (5.6.6.1, 5.6.6.2). */
#define S_OK 0
#define S_OVERRUN 1
#define S_ABORTED 2
#define S_BAD_TARGET 3
#define S_RESET 4
#define S_FAILURE 9
#define S_FUNCTION_SUCCEEDED 10
#define S_FUNCTION_REJECTED 11
#define S_INCORRECT_LUN 12

#define T_TMF 0
#define T_AN_QUERY 1
#define T_AN_SUBSCRIBE 2

enum {
	TMF_ABORT_TASK,
	TMF_ABORT_TASK_SET,
	TMF_CLEAR_ACA,
	TMF_CLEAR_TASK_SET,
	TMF_I_T_NEXUS_RESET,
	TMF_LOGICAL_UNIT_RESET,
	TMF_QUERY_TASK,
	TMF_QUERY_TASK_SET
};

#define EVENT_PARAM_CHANGE 3
#define EVENT_MISSED 0x80000000u

struct virtio_scsi {
	struct virtio_device vdev;
	uint16_t num_queues, queue_size; /* properties */
	char *iothread;

	uint32_t sense_size, cdb_size; /* the driver's choice */
	bool events_missed;

	bool kept_wait; /* a load's requests, which begin when the VM runs */
	struct scsi_bus bus;
	unsigned epoch;
	GQueue active; /* struct request */
};

struct request {
	struct scsi_request scsi;
	struct virtio_scsi *s;
	struct virtq_chain *chain;
	unsigned epoch;
	uint64_t tag;
	uint8_t lun[8];
	struct task *task; /* that waits for its end */
	struct iovec *iov;
};

/* A task management function that waits for requests to end. */
struct task {
	struct virtq_chain *chain;
	unsigned waits;
};

/* 5.6.6.1: 1, the target, a LUN in flat format. False: none of ours. */
static bool parse_lun(const uint8_t *lun, unsigned *target, unsigned *number)
{
	if (lun[0] != 1 || (lun[2] & 0xc0) == 0x80 || lun[2] & 0x3f)
		return false;
	*target = lun[1];
	*number = lun[3];
	return true;
}

static struct scsi_unit *find_unit(struct virtio_scsi *s, const uint8_t *lun, bool *target_exists)
{
	unsigned target, number;

	*target_exists = false;
	return parse_lun(lun, &target, &number) ? scsi_find(&s->bus, target, number, target_exists)
						: NULL;
}

/* Requests. */

static void end_task(struct task *t)
{
	uint8_t response = S_FUNCTION_SUCCEEDED;
	struct virtq *q = t->chain->q;

	virtq_write(t->chain, 0, &response, 1);
	virtq_push(q, t->chain, 1);
	virtq_notify(q);
	g_free(t);
}

static void free_request(struct request *r)
{
	g_queue_remove(&r->s->active, r);
	g_free(r->iov);
	g_free(r);
}

static void respond(struct request *r, uint8_t response)
{
	struct virtq *q = r->chain->q;
	const struct scsi_request *c = &r->scsi;
	size_t moved = c->moved, head = RESPONSE_BYTES + r->s->sense_size;
	uint8_t b[RESPONSE_BYTES] = { 0 };
	size_t wanted = c->out_len + c->in_len;
	size_t sense = c->has_sense ? MIN_OF(sizeof(c->sense), (size_t)r->s->sense_size) : 0;
	struct task *task = r->task;

	store_le(b, sense, 4);
	store_le(b + 4, wanted > moved ? wanted - moved : 0, 4);
	b[10] = c->status;
	b[11] = response;
	virtq_write(r->chain, 0, b, sizeof(b));
	virtq_write(r->chain, sizeof(b), c->sense, sense);
	virtq_push(q, r->chain, head + (c->in_len ? moved : 0));
	virtq_notify(q);
	free_request(r);
	if (task && !--task->waits)
		end_task(task);
}

static void done(struct scsi_request *c)
{
	struct request *r = container_of(c, struct request, scsi);

	/* The device was reset meanwhile: the guest no longer knows of it. */
	if (r->epoch != r->s->epoch) {
		virtq_chain_free(r->chain);
		free_request(r);
		return;
	}
	if (c->status == SCSI_TASK_ABORTED)
		respond(r, S_RESET);
	else
		respond(r, c->overrun ? S_OVERRUN : S_OK);
}

static void start(void *dev, struct virtq_chain *c)
{
	struct virtio_scsi *s = dev;
	size_t head = HEAD_BYTES + s->cdb_size, response = RESPONSE_BYTES + s->sense_size;
	uint8_t b[HEAD_BYTES];
	struct scsi_unit *u;
	struct request *r;
	unsigned target = 0, lun = 0;
	bool exists;

	if (c->out_len < head || c->in_len < response) {
		virtio_break(&s->vdev, "a request without header or response");
		virtq_chain_free(c);
		return;
	}
	r = g_new0(struct request, 1);
	r->s = s;
	r->chain = c;
	r->epoch = s->epoch;
	g_queue_push_tail(&s->active, r);
	virtq_read(c, 0, b, sizeof(b));
	memcpy(r->lun, b, sizeof(r->lun));
	r->tag = load_le(b + 8, 8);
	virtq_read(c, HEAD_BYTES, r->scsi.cdb, MIN_OF(s->cdb_size, (uint32_t)SCSI_MOST_CDB));
	r->scsi.out_len = c->out_len - head;
	r->scsi.in_len = c->in_len - response;
	if (r->scsi.out_len && r->scsi.in_len) { /* only with VIRTIO_SCSI_F_INOUT */
		respond(r, S_FAILURE);
		return;
	}
	r->iov = g_new(struct iovec, c->nout + c->nin + 1);
	r->scsi.out = r->iov;
	r->scsi.nout = iov_part(c->iov, (int)c->nout, head, r->scsi.out_len, r->iov);
	r->scsi.in = r->iov + r->scsi.nout;
	r->scsi.nin = iov_part(c->iov + c->nout, (int)c->nin, response, r->scsi.in_len,
			       r->iov + r->scsi.nout);
	r->scsi.done = done;
	u = find_unit(s, r->lun, &exists);
	if (u)
		scsi_submit(u, &r->scsi);
	else if (exists && parse_lun(r->lun, &target, &lun))
		scsi_submit_nobody(&s->bus, target, &r->scsi);
	else
		respond(r, S_BAD_TARGET);
}

static void request_kicked(void *dev, struct virtq *q)
{
	(void)dev;
	virtq_take_all(q, start);
}

/* Task management (5.6.6.2). */

/* Which requests a function is about. */
static bool is_meant(const struct request *r, uint32_t function, const uint8_t *lun, uint64_t tag)
{
	if (function == TMF_I_T_NEXUS_RESET)
		return r->lun[1] == lun[1];
	if (memcmp(r->lun, lun, sizeof(r->lun)))
		return false;
	return (function != TMF_ABORT_TASK && function != TMF_QUERY_TASK) || r->tag == tag;
}

static unsigned count_meant(struct virtio_scsi *s, uint32_t function, const uint8_t *lun,
			    uint64_t tag)
{
	unsigned n = 0;

	for (GList *l = s->active.head; l; l = l->next)
		n += is_meant(l->data, function, lun, tag);
	return n;
}

static void answer_control(struct virtq_chain *c, const void *response, size_t len)
{
	struct virtq *q = c->q;

	virtq_write(c, 0, response, len);
	virtq_push(q, c, len);
	virtq_notify(q);
}

static void answer_task(struct virtq_chain *c, uint8_t response)
{
	answer_control(c, &response, 1);
}

/*
 * What is at work is let end, what waits for the VM to go on ends now; then the function has
 * succeeded.
 */
static void wait_for_meant(struct virtio_scsi *s, struct virtq_chain *c, uint32_t function,
			   const uint8_t *lun, uint64_t tag)
{
	struct task *t = g_new0(struct task, 1);

	t->chain = c;
	t->waits = 1;
	for (GList *l = s->active.head; l; l = l->next) {
		struct request *r = l->data;

		if (!r->task && is_meant(r, function, lun, tag)) {
			r->task = t;
			t->waits++;
		}
	}
	if (!--t->waits)
		end_task(t);
}

static void reset_target(struct virtio_scsi *s, unsigned target)
{
	for (guint i = 0; i < s->bus.units->len; i++) {
		struct scsi_unit *u = s->bus.units->pdata[i];

		if (scsi_target(u) == target)
			scsi_unit_reset(u);
	}
}

static void manage_task(struct virtio_scsi *s, struct virtq_chain *c, const uint8_t *b)
{
	uint32_t function = (uint32_t)load_le(b + 4, 4);
	const uint8_t *lun = b + 8;
	uint64_t tag = load_le(b + 16, 8);
	bool exists;
	struct scsi_unit *u = find_unit(s, lun, &exists);

	if (!u && !(exists && function == TMF_I_T_NEXUS_RESET)) {
		answer_task(c, exists ? S_INCORRECT_LUN : S_BAD_TARGET);
		return;
	}
	switch (function) {
	case TMF_LOGICAL_UNIT_RESET:
		scsi_unit_reset(u);
		wait_for_meant(s, c, function, lun, tag);
		break;
	case TMF_I_T_NEXUS_RESET:
		reset_target(s, lun[1]);
		wait_for_meant(s, c, function, lun, tag);
		break;
	case TMF_ABORT_TASK:
	case TMF_ABORT_TASK_SET:
	case TMF_CLEAR_TASK_SET:
		wait_for_meant(s, c, function, lun, tag);
		break;
	case TMF_QUERY_TASK:
	case TMF_QUERY_TASK_SET:
		answer_task(c, count_meant(s, function, lun, tag) ? S_FUNCTION_SUCCEEDED : S_OK);
		break;
	default:
		answer_task(c, S_FUNCTION_REJECTED);
	}
}

static void control(void *dev, struct virtq_chain *c)
{
	struct virtio_scsi *s = dev;
	uint8_t b[24], none[5] = { 0 };
	size_t have = virtq_read(c, 0, b, sizeof(b));
	uint32_t type = have >= 4 ? (uint32_t)load_le(b, 4) : UINT32_MAX;

	if (type == T_TMF && have == sizeof(b) && c->in_len >= 1) {
		manage_task(s, c, b);
	} else if ((type == T_AN_QUERY || type == T_AN_SUBSCRIBE) && have >= 16 && c->in_len >= 5) {
		answer_control(c, none, sizeof(none)); /* no asynchronous notifications */
	} else {
		virtio_break(&s->vdev, "a control request of type %u that makes no sense", type);
		virtq_chain_free(c);
	}
}

static void control_kicked(void *dev, struct virtq *q)
{
	(void)dev;
	virtq_take_all(q, control);
}

/* Events. */

static void send_event(struct virtio_scsi *s, uint32_t event, const struct scsi_unit *u,
		       uint32_t reason)
{
	struct virtq *q = &s->vdev.queues[QUEUE_EVENT];
	uint8_t b[EVENT_BYTES] = { 0 };
	struct virtq_chain *c;

	if (!virtio_is_started(&s->vdev) || !q->enabled)
		return;
	c = virtq_pop(q);
	if (!c) {
		s->events_missed = true;
		return;
	}
	if (c->in_len < sizeof(b)) {
		virtio_break(&s->vdev, "an event's buffer is too small");
		virtq_chain_free(c);
		return;
	}
	if (s->events_missed)
		event |= EVENT_MISSED;
	s->events_missed = false;
	store_le(b, event, 4);
	if (u) {
		b[4] = 1;
		b[5] = (uint8_t)scsi_target(u);
		b[6] = 0x40;
		b[7] = (uint8_t)scsi_lun(u);
	}
	store_le(b + 12, reason, 4);
	virtq_write(c, 0, b, sizeof(b));
	virtq_push(q, c, sizeof(b));
	virtq_notify(q);
}

static void event_kicked(void *dev, struct virtq *q)
{
	struct virtio_scsi *s = dev;

	(void)q;
	if (s->events_missed)
		send_event(s, 0, NULL, 0);
}

/* 5.6.6.3.2: additional sense code in the low byte, its qualifier in the next. */
static void unit_changed(void *adapter, struct scsi_unit *u, uint16_t asc)
{
	struct virtio_scsi *s = adapter;

	if (virtio_has(&s->vdev, F_CHANGE))
		send_event(s, EVENT_PARAM_CHANGE, u, (uint32_t)(asc >> 8) | (asc & 0xffu) << 8);
}

/* Configuration. */

static void get_config(void *dev, uint8_t *config)
{
	struct virtio_scsi *s = dev;

	store_le(config, s->num_queues, 4);
	store_le(config + 4, MIN_OF(s->queue_size, VIRTQ_MOST_DESCRIPTORS) - 2u, 4);
	store_le(config + 8, 0xffff, 4); /* sectors in a request */
	store_le(config + 12, 128, 4);	 /* commands a LUN */
	store_le(config + 16, EVENT_BYTES, 4);
	store_le(config + CONFIG_SENSE_AT, s->sense_size, 4);
	store_le(config + CONFIG_CDB_AT, s->cdb_size, 4);
	store_le(config + 30, SCSI_MOST_TARGETS - 1, 2);
	store_le(config + 32, SCSI_MOST_LUNS - 1, 4);
}

static void set_config(void *dev, const uint8_t *config, unsigned off, unsigned size)
{
	struct virtio_scsi *s = dev;
	uint32_t sense = (uint32_t)load_le(config + CONFIG_SENSE_AT, 4),
		 cdb = (uint32_t)load_le(config + CONFIG_CDB_AT, 4);

	(void)off;
	(void)size;
	if (sense > 65536 || cdb > 256) {
		virtio_break(&s->vdev, "sense_size %u or cdb_size %u makes no sense", sense, cdb);
		return;
	}
	s->sense_size = sense;
	s->cdb_size = cdb;
}

static void cancel_all(struct virtio_scsi *s)
{
	s->epoch++;
	scsi_each(&s->bus, scsi_cancel);
}

static void scsi_reset(void *dev)
{
	struct virtio_scsi *s = dev;

	for (GList *l = s->active.head; l; l = l->next) {
		struct request *r = l->data;

		/* Its function is forgotten with everything else. */
		if (r->task && !--r->task->waits) {
			virtq_chain_free(r->task->chain);
			g_free(r->task);
		}
		r->task = NULL;
	}
	cancel_all(s);
	s->sense_size = DEFAULT_SENSE;
	s->cdb_size = DEFAULT_CDB;
	s->events_missed = s->kept_wait = false;
}

static const struct virtio_info scsi_info = {
	.id = 8,
	.features = BIT64(F_CHANGE),
	.config_size = CONFIG_BYTES,
	.get_config = get_config,
	.set_config = set_config,
	.reset = scsi_reset,
};

static char *boot_path(void *adapter, unsigned target, unsigned lun)
{
	return pci_boot_path(adapter, "scsi", "/channel@0/disk@%x,%x", target, lun);
}

#define D struct virtio_scsi

static bool scsi_realize(void *dev, GError **err)
{
	struct virtio_scsi *s = dev;
	struct device *d = dev;
	g_autofree char *name = bus_name(dev, "scsi", 0);

	if (!virtio_queue_size_ok(s, s->queue_size, err) ||
	    !virtio_use_iothread(s, s->iothread, err))
		return false;
	g_queue_init(&s->active);
	scsi_bus_init(&s->bus, d, name);
	s->bus.iothread = s->vdev.iothread;
	s->bus.adapter = s;
	s->bus.changed = unit_changed;
	s->bus.boot_path = boot_path;
	s->bus.most_target = SCSI_MOST_TARGETS - 1;
	s->bus.most_lun = SCSI_MOST_LUNS - 1;
	virtio_init(s, &scsi_info, s->num_queues + 3u);
	virtio_add_queue(s, s->queue_size, control_kicked);
	virtio_add_queue(s, s->queue_size, event_kicked);
	for (unsigned i = 0; i < s->num_queues; i++)
		virtio_add_queue(s, s->queue_size, request_kicked);
	return true;
}

static void scsi_unrealize(void *dev)
{
	struct virtio_scsi *s = dev;

	virtio_reset(s);
	scsi_bus_destroy(&s->bus);
	virtio_destroy(s);
}

static void scsi_reset_device(void *dev)
{
	virtio_reset(dev);
}

/* The VM has stopped, so what is active waits for it. */
static void scsi_saving(void *dev)
{
	struct virtio_scsi *s = dev;

	if (s->kept_wait)
		return;
	virtio_keep_none(s);
	for (GList *l = s->active.head; l; l = l->next)
		virtio_keep(s, ((struct request *)l->data)->chain);
}

static bool scsi_loaded(void *dev, GError **err)
{
	struct virtio_scsi *s = dev;

	if (s->sense_size > 65536 || s->cdb_size > 256)
		return error(err, "saved state: '%s': sense_size or cdb_size makes no sense",
			     s->vdev.pci.dev.path);
	s->kept_wait = true;
	return virtio_loaded(dev, err);
}

/* Units load after their adapter, so what they had to do is begun when the VM runs. */
static void scsi_run_changed(void *dev, bool running)
{
	struct virtio_scsi *s = dev;
	g_autoptr(GError) e = NULL;

	if (!running || !s->kept_wait)
		return;
	iothread_lock(s->vdev.iothread);
	s->kept_wait = false;
	if (!virtio_kept(s, start, &e))
		virtio_break(&s->vdev, "%s", e->message);
	iothread_unlock(s->vdev.iothread);
}

static const struct pci_info scsi_pci = VIRTIO_PCI(0x1004, 0x0100, 8);

DEVICE(virtio_scsi,
	.name = "virtio-scsi-pci",
	.alias = "virtio-scsi",
	.desc = "virtio SCSI adapter",
	.bus = "PCI",
	.bus_info = &scsi_pci,
	.props = FIELDS({ .name = "num_queues", .type = FT_U16,
			  .offset = offsetof(D, num_queues), .size = 2, .init = 1, .min = 1,
			  .max = MOST_QUEUES, .help = "request queues" },
			{ .name = "virtqueue_size", .type = FT_U16,
			  .offset = offsetof(D, queue_size), .size = 2, .init = 256, .min = 4,
			  .max = VIRTQ_MOST_SIZE, .help = "descriptors in each" },
			F(iothread, .help = "the -object iothread that moves its data"),
			VIRTIO_PROPS),
	.state = FIELDS(FO(vdev, virtio_device_table), F(sense_size), F(cdb_size),
			F(events_missed)),
	.host = HOST(kept_wait, bus, epoch, active, num_queues, queue_size),
	.realize = scsi_realize,
	.unrealize = scsi_unrealize,
	.reset = scsi_reset_device,
	.saving = scsi_saving,
	.loaded = scsi_loaded,
	.run_changed = scsi_run_changed);
