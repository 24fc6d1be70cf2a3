/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding firmware files and putting them where the processor starts. */
#pragma once

#include "core/device.h"

/* -L: searched before the built-in places, in the order given. */
void firmware_add_dir(const char *dir);
/*
 * The path of a firmware file: as given if it has a slash or exists, else the first hit in the
 * search path. NULL with *err naming every place looked at. Free with g_free.
 */
char *firmware_find(const char *name, GError **err);
char *firmware_search_path(void);
/*
 * Reads a whole file of a size from min to max that is a multiple of `step`; the error says what it
 * is.
 */
bool firmware_read(const char *what, const char *path, size_t min, size_t max, size_t step,
		   uint8_t **data, size_t *len, GError **err);
/*
 * Maps the image below 4 GiB and its last 128 KiB below 1 MiB. The regions live as long as the
 * machine.
 */
bool firmware_map_bios(struct machine *m, const char *path, GError **err);
/* The alias below 1 MiB for a flash region that ends at 4 GiB. */
void firmware_map_isa_alias(struct machine *m, struct region *flash);
