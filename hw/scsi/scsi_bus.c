/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bus between an adapter and its units: see scsi.h. */
#include <string.h>

#include "hw/scsi/scsi.h"

#define OP_REQUEST_SENSE 0x03
#define OP_INQUIRY 0x12
#define OP_REPORT_LUNS 0xa0

struct scsi_unit *scsi_find(struct scsi_bus *b, unsigned target, unsigned lun, bool *target_exists)
{
	*target_exists = false;
	for (guint i = 0; i < b->units->len; i++) {
		struct scsi_unit *u = b->units->pdata[i];

		if (scsi_target(u) != target)
			continue;
		*target_exists = true;
		if (scsi_lun(u) == lun)
			return u;
	}
	return NULL;
}

void scsi_each(struct scsi_bus *b, void (*fn)(struct scsi_unit *u))
{
	for (guint i = 0; i < b->units->len; i++)
		fn(b->units->pdata[i]);
}

static bool attach(struct bus *bus, struct device *dev, GError **err)
{
	struct scsi_bus *b = container_of(bus, struct scsi_bus, bus);
	struct scsi_unit *u = (struct scsi_unit *)dev;
	guint at = 0;
	bool exists;

	scsi_choose_target(u, b);
	if (scsi_target(u) > b->most_target || scsi_lun(u) > b->most_lun)
		return error(err,
			     "%s: scsi-id=%u,lun=%u: bus '%s' has targets to %u and LUNs to %u",
			     device_name(dev), scsi_target(u), scsi_lun(u), bus->name,
			     b->most_target, b->most_lun);
	if (scsi_find(b, scsi_target(u), scsi_lun(u), &exists))
		return error(err,
			     "%s: scsi-id=%u,lun=%u is taken on bus '%s'; give another scsi-id=",
			     device_name(dev), scsi_target(u), scsi_lun(u), bus->name);
	while (at < b->units->len) {
		const struct scsi_unit *o = b->units->pdata[at];

		if (scsi_target(o) * SCSI_MOST_LUNS + scsi_lun(o) >
		    scsi_target(u) * SCSI_MOST_LUNS + scsi_lun(u))
			break;
		at++;
	}
	g_ptr_array_insert(b->units, (gint)at, u);
	return true;
}

static void detach(struct bus *bus, struct device *dev)
{
	g_ptr_array_remove(container_of(bus, struct scsi_bus, bus)->units, dev);
}

void scsi_bus_init(struct scsi_bus *b, struct device *owner, const char *name)
{
	b->bus = (struct bus) { .type = "SCSI",
				.name = g_strdup(name),
				.owner = owner,
				.attach = attach,
				.detach = detach };
	b->units = g_ptr_array_new();
	g_ptr_array_add(owner->machine->buses, &b->bus);
}

void scsi_bus_destroy(struct scsi_bus *b)
{
	g_ptr_array_remove(b->bus.owner->machine->buses, &b->bus);
	g_clear_pointer(&b->units, g_ptr_array_unref);
	g_clear_pointer(&b->bus.name, g_free);
}

/* SPC-4 6.33: single-level numbers. */
static void report_luns(struct scsi_bus *b, unsigned target, struct scsi_request *r)
{
	GByteArray *list = g_byte_array_new();
	uint8_t entry[8] = { 0 };
	uint32_t allocation = be32(r->cdb + 6);

	g_byte_array_append(list, entry, 8);
	for (guint i = 0; i < b->units->len; i++) {
		const struct scsi_unit *u = b->units->pdata[i];

		if (scsi_target(u) != target)
			continue;
		entry[1] = (uint8_t)scsi_lun(u);
		g_byte_array_append(list, entry, 8);
	}
	put_be32(list->data, list->len - 8);
	r->moved = iov_from(r->in, r->nin, 0, list->data, MIN_OF(list->len, allocation));
	g_byte_array_unref(list);
}

void scsi_submit_nobody(struct scsi_bus *b, unsigned target, struct scsi_request *r)
{
	static const uint8_t nobody[36] = { 0x7f, [4] = 31 }; /* SPC-4 6.4.2 */

	r->status = SCSI_GOOD;
	switch (r->cdb[0]) {
	case OP_REPORT_LUNS:
		report_luns(b, target, r);
		break;
	case OP_INQUIRY:
		r->moved = iov_from(r->in, r->nin, 0, nobody,
				    MIN_OF(sizeof(nobody), (size_t)be16(r->cdb + 3)));
		break;
	default:
		r->status = SCSI_CHECK_CONDITION;
		r->has_sense = true;
		memset(r->sense, 0, sizeof(r->sense));
		r->sense[0] = 0x70;
		r->sense[2] = SENSE_ILLEGAL_REQUEST;
		r->sense[7] = SCSI_SENSE_BYTES - 8;
		r->sense[12] = ASC_NO_SUCH_LUN >> 8;
		r->sense[13] = ASC_NO_SUCH_LUN & 0xff;
	}
	r->done(r);
}
