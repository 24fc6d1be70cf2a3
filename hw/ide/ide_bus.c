/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks and CD-ROMs as devices of their own: see ide_bus.h. */
#include "hw/ide/ide_bus.h"

#include <string.h>

#include "hw/pci/pci.h"

#define AUTO_UNIT 0xff

struct ide_unit {
	struct device dev;
	char *drive, *serial, *model; /* properties */
	uint8_t unit;
	int32_t bootindex;
};

void ide_bus_init(struct ide_bus *b, struct device *owner, struct ata_channel *channel,
		  unsigned units, unsigned number, const char *name)
{
	b->bus = (struct bus) { .type = "IDE", .name = g_strdup(name), .owner = owner };
	b->channel = channel;
	b->units = units;
	b->number = number;
	g_ptr_array_add(owner->machine->buses, &b->bus);
}

void ide_bus_destroy(struct ide_bus *b)
{
	g_ptr_array_remove(b->bus.owner->machine->buses, &b->bus);
	g_clear_pointer(&b->bus.name, g_free);
}

static bool choose_unit(struct ide_unit *u, const struct ide_bus *b, GError **err)
{
	if (u->unit == AUTO_UNIT) {
		u->unit = 0;
		while (u->unit < b->units && b->channel->devices[u->unit].back)
			u->unit++;
		if (u->unit == b->units)
			return error(err, "%s: bus '%s' has no place left", device_name(u),
				     b->bus.name);
	}
	if (u->unit >= b->units)
		return error(err, "%s: unit=%u: bus '%s' has %u", device_name(u), u->unit,
			     b->bus.name, b->units);
	if (b->channel->devices[u->unit].back)
		return error(err, "%s: unit=%u of bus '%s' is taken", device_name(u), u->unit,
			     b->bus.name);
	return true;
}

static bool attach(struct ide_unit *u, bool cdrom, GError **err)
{
	struct ide_bus *b = container_of(u->dev.bus, struct ide_bus, bus);
	struct drive *d;
	struct ata_device *ata;

	if (!choose_unit(u, b, err))
		return false;
	d = drive_of_device(u, u->drive, cdrom, err);
	if (!d)
		return false;
	if (cdrom && !drive_become_cdrom(d, device_name(u), err))
		return false;
	if (d->cdrom && !cdrom)
		return error(err, "%s: drive '%s' is a CD-ROM: use ide-cd, or media=disk",
			     device_name(u), d->id);
	ata_attach(b->channel, u->unit, d);
	ata = &b->channel->devices[u->unit];
	if (u->serial)
		g_strlcpy(ata->serial, u->serial, sizeof(ata->serial));
	if (u->model)
		g_strlcpy(ata->model, u->model, sizeof(ata->model));
	return machine_add_boot(u->dev.machine, device_name(u), u->bootindex,
				pci_boot_path(b->bus.owner, b->units > 1 ? "ide" : "pci8086,2922",
					      "/drive@%x/disk@%x", b->number, u->unit),
				err);
}

static bool hd_realize(void *dev, GError **err)
{
	return attach(dev, false, err);
}

static bool cd_realize(void *dev, GError **err)
{
	return attach(dev, true, err);
}

#define D struct ide_unit
/* clang-format off */
#define UNIT_PROPS                                                                                 \
	F(drive, .help = "the drive's id"), F(serial, .help = "its serial number, 20 characters"),   \
	F(model, .help = "its model, 40 characters"),                                              \
	F(bootindex, .init = -1, .help = "place in the boot order, from 0"), \
	F(unit, .init = AUTO_UNIT, .help = "0 master, 1 slave; 255: the first that is free")
/* clang-format on */

DEVICE(ide_hd,
	.name = "ide-hd",
	.desc = "IDE or SATA disk",
	.bus = "IDE",
	.props = FIELDS(UNIT_PROPS),
	.state = FIELDS({ .type = FT_NONE }),
	.realize = hd_realize);

DEVICE(ide_cd,
	.name = "ide-cd",
	.desc = "IDE or SATA CD-ROM",
	.bus = "IDE",
	.props = FIELDS(UNIT_PROPS),
	.state = FIELDS({ .type = FT_NONE }),
	.realize = cd_realize);
