/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prints what the build's devices say of their members, for scripts/check-fields:
 *	member STRUCT NAME	saved or a property
 *	host STRUCT NAME	declared host-side
 *	object STRUCT NAME SUB	saved by the table of struct SUB
 */
#include <stdio.h>

#include "core/device.h"

static void print_host(const char *owner, const char *list)
{
	g_auto(GStrv) names = g_strsplit(list ? list : "", ",", -1);

	for (char **n = names; *n; n++)
		if (*g_strstrip(*n))
			printf("host %s %s\n", owner, *n);
}

static void print_fields(const char *owner, const struct field *fields)
{
	for (const struct field *f = fields; f && !field_end(f); f++) {
		if (f->type == FT_GONE)
			continue;
		printf("member %s %s\n", owner, f->name);
		if (f->type == FT_OBJ) {
			printf("object %s %s %s\n", owner, f->name, f->sub->struct_name);
			print_host(f->sub->struct_name, f->sub->host);
			print_fields(f->sub->struct_name, f->sub->fields);
		}
	}
}

int main(void)
{
	for (const struct device_info *const *d = device_registry; *d; d++) {
		printf("device %s %s\n", (*d)->name, (*d)->struct_name);
		print_fields((*d)->struct_name, (*d)->props);
		print_fields((*d)->struct_name, (*d)->state);
		print_host((*d)->struct_name, (*d)->host);
	}
	return 0;
}
