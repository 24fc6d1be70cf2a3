/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/firmware/loader.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"

#define ISA_ALIAS_SIZE (128 * KIB)
#define BIOS_MAX (16 * MIB)

static GPtrArray *dirs;

/* Where distributions put SeaBIOS and OVMF; ours first. */
static const char *const builtin_dirs[] = {
	MOA_DATADIR,	       "/usr/share/seabios",   "/usr/share/OVMF", "/usr/share/ovmf",
	"/usr/share/edk2/x64", "/usr/share/edk2/ovmf", "/usr/share/qemu", "/usr/share/qemu-kvm",
};

void firmware_add_dir(const char *dir)
{
	if (!dirs)
		dirs = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(dirs, g_strdup(dir));
}

static GPtrArray *search_path(void)
{
	GPtrArray *p = g_ptr_array_new();

	for (guint i = 0; dirs && i < dirs->len; i++)
		g_ptr_array_add(p, dirs->pdata[i]);
	for (size_t i = 0; i < ARRAY_LEN(builtin_dirs); i++)
		g_ptr_array_add(p, (gpointer)builtin_dirs[i]);
	g_ptr_array_add(p, NULL);
	return p;
}

char *firmware_search_path(void)
{
	g_autoptr(GPtrArray) p = search_path();

	return g_strjoinv("\n", (char **)p->pdata);
}

char *firmware_find(const char *name, GError **err)
{
	g_autoptr(GPtrArray) p = NULL;
	g_autofree char *places = NULL;

	if (strchr(name, '/') || g_file_test(name, G_FILE_TEST_EXISTS))
		return g_strdup(name);
	p = search_path();
	for (guint i = 0; p->pdata[i]; i++) {
		g_autofree char *path = g_build_filename(p->pdata[i], name, NULL);

		if (g_file_test(path, G_FILE_TEST_EXISTS))
			return g_steal_pointer(&path);
	}
	places = g_strjoinv(", ", (char **)p->pdata);
	error(err,
	      "firmware '%s' not found in %s: install seabios or ovmf, or name a directory with -L",
	      name, places);
	return NULL;
}

bool firmware_read(const char *what, const char *path, size_t min, size_t max, size_t step,
		   uint8_t **data, size_t *len, GError **err)
{
	struct stat st;
	char *text;
	gsize got;
	GError *local = NULL;

	if (stat(path, &st))
		return error(err, "%s: cannot read '%s': %s", what, path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error(err, "%s: '%s' is not a file", what, path);
	if ((uint64_t)st.st_size < min || (uint64_t)st.st_size > max || (uint64_t)st.st_size % step)
		return error(err,
			     "%s: '%s' has %" PRId64
			     " bytes; expected a multiple of %zu from %zu to %zu",
			     what, path, (int64_t)st.st_size, step, min, max);
	if (!g_file_get_contents(path, &text, &got, &local)) {
		error(err, "%s: cannot read '%s': %s", what, path, local->message);
		g_error_free(local);
		return false;
	}
	*data = (uint8_t *)text;
	*len = got;
	return true;
}

void firmware_map_isa_alias(struct machine *m, struct region *flash)
{
	uint64_t size = MIN_OF(flash->size, (uint64_t)ISA_ALIAS_SIZE);
	struct region *alias = g_new0(struct region, 1);

	region_init_alias(alias, "isa-bios", flash, flash->size - size, size);
	alias->read_only = true;
	region_add(&m->mem.root, MIB - size, 1, alias);
}

bool firmware_map_bios(struct machine *m, const char *path, GError **err)
{
	g_autofree uint8_t *data = NULL;
	struct region *rom;
	struct ram_block *block;
	size_t len;

	if (!firmware_read("-bios", path, 64 * KIB, BIOS_MAX, 64 * KIB, &data, &len, err))
		return false;
	block = machine_ram(m, "pc.bios", len, err);
	if (!block)
		return false;
	memcpy(block->host, data, len);
	rom = g_new0(struct region, 1);
	region_init_rom(rom, "pc.bios", block, NULL, NULL, NULL);
	region_add(&m->mem.root, 4 * GIB - len, 1, rom);
	firmware_map_isa_alias(m, rom);
	return true;
}
