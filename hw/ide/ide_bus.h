/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where ide-hd and ide-cd plug in: one channel of a controller. A unit's state is the channel's;
 * the device only brings the drive.
 */
#pragma once

#include "hw/ide/ata.h"

struct ide_bus {
	struct bus bus;
	struct ata_channel *channel;
	unsigned units;	 /* 1, or 2: master and slave */
	unsigned number; /* of the channel or port at its controller, a PCI function */
};

/* The name is copied. */
void ide_bus_init(struct ide_bus *b, struct device *owner, struct ata_channel *channel,
		  unsigned units, unsigned number, const char *name);
void ide_bus_destroy(struct ide_bus *b);
