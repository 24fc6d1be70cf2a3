/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg: see fw_cfg.h. Not modelled: writable files; a write of the guest's is refused. */
#include "hw/firmware/fw_cfg.h"

#include <string.h>

#include "core/log.h"

#define DMA_ERROR BIT(0)
#define DMA_READ BIT(1)
#define DMA_SKIP BIT(2)
#define DMA_SELECT BIT(3)
#define DMA_WRITE BIT(4)
#define ID_TRADITIONAL BIT(0)
#define ID_DMA BIT(1)
#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */
#define INVALID_KEY 0xffff

#define D struct fw_cfg

static uint64_t load_be(const void *p, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v = v << 8 | ((const uint8_t *)p)[i];
	return v;
}

static void store_be(void *p, uint64_t v, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		((uint8_t *)p)[i] = (uint8_t)(v >> (8 * (size - 1 - i)));
}

static struct fw_cfg_item *item_of(struct fw_cfg *f, uint16_t key)
{
	uint16_t index = key & 0x3fff;

	if (key == INVALID_KEY)
		return NULL;
	if (key & FW_CFG_ARCH)
		return index < ARRAY_LEN(f->arch) ? &f->arch[index] : NULL;
	return index < ARRAY_LEN(f->items) ? &f->items[index] : NULL;
}

static void set_data(struct fw_cfg_item *i, const void *data, size_t len)
{
	g_free(i->data);
	i->data = g_memdup2(data, len);
	i->len = len;
}

void fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, size_t len)
{
	set_data(item_of(f, key), data, len);
}

void fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t v)
{
	uint8_t b[2];

	store_le(b, v, 2);
	fw_cfg_add(f, key, b, 2);
}

void fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t v)
{
	uint8_t b[4];

	store_le(b, v, 4);
	fw_cfg_add(f, key, b, 4);
}

void fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t v)
{
	uint8_t b[8];

	store_le(b, v, 8);
	fw_cfg_add(f, key, b, 8);
}

/* The directory: a big-endian count, then size, key, two zero bytes and name of each. */
static void write_directory(struct fw_cfg *f)
{
	size_t len = 4 + 64 * f->files;
	g_autofree uint8_t *dir = g_malloc0(len);

	store_be(dir, f->files, 4);
	for (unsigned i = 0; i < f->files; i++) {
		const struct fw_cfg_item *it = &f->items[FW_CFG_FILE_FIRST + i];
		uint8_t *e = dir + 4 + 64 * i;

		store_be(e, it->len, 4);
		store_be(e + 4, FW_CFG_FILE_FIRST + i, 2);
		memcpy(e + 8, it->name, sizeof(it->name));
	}
	fw_cfg_add(f, FW_CFG_FILE_DIR, dir, len);
}

static struct fw_cfg_item *find_file(struct fw_cfg *f, const char *name)
{
	for (unsigned i = 0; i < f->files; i++)
		if (!strcmp(f->items[FW_CFG_FILE_FIRST + i].name, name))
			return &f->items[FW_CFG_FILE_FIRST + i];
	return NULL;
}

void fw_cfg_set_file(struct fw_cfg *f, const char *name, const void *data, size_t len)
{
	struct fw_cfg_item *it = find_file(f, name);

	if (!it) {
		assert(f->files < FW_CFG_FILES && strlen(name) < sizeof(it->name));
		it = &f->items[FW_CFG_FILE_FIRST + f->files++];
		strcpy(it->name, name);
	}
	set_data(it, data, len);
	write_directory(f);
}

void fw_cfg_blob_free(void *blob)
{
	struct fw_cfg_blob *b = blob;

	g_free(b->name);
	g_free(b->data);
	g_free(b);
}

bool fw_cfg_add_blob(struct fw_cfg *f, const struct fw_cfg_blob *b, GError **err)
{
	if (find_file(f, b->name))
		return error(err, "-fw_cfg: name '%s' is taken; choose another", b->name);
	if (!*b->name || strlen(b->name) >= sizeof(f->items[0].name))
		return error(err, "-fw_cfg: name '%s' must have from 1 to %zu characters", b->name,
			     sizeof(f->items[0].name) - 1);
	if (f->files == FW_CFG_FILES)
		return error(err, "-fw_cfg: name '%s': there is no room for more than %d files",
			     b->name, FW_CFG_FILES);
	fw_cfg_set_file(f, b->name, b->data, b->len);
	return true;
}

void fw_cfg_on_select(struct fw_cfg *f, const char *name, void (*selected)(void *opaque),
		      void *opaque)
{
	struct fw_cfg_item *it = find_file(f, name);

	assert(it);
	it->selected = selected;
	it->opaque = opaque;
}

static void select_item(struct fw_cfg *f, uint16_t key)
{
	struct fw_cfg_item *it = item_of(f, key);

	f->offset = 0;
	f->current = it ? key : INVALID_KEY;
	if (it && it->selected)
		it->selected(it->opaque);
	TRACE(fw_cfg_select, "key 0x%x %s", key, it ? it->name : "(none)");
}

static uint8_t next_byte(struct fw_cfg *f)
{
	struct fw_cfg_item *it = item_of(f, f->current);

	if (!it || f->offset >= it->len)
		return 0;
	return it->data[f->offset++];
}

/* Copies up to len bytes to guest memory; past the item's end they are zero. */
static bool dma_copy(struct fw_cfg *f, uint64_t addr, uint32_t len)
{
	struct fw_cfg_item *it = item_of(f, f->current);
	static const uint8_t zeros[4096];
	bool ok = true;

	while (len && ok) {
		size_t left = it && f->offset < it->len ? it->len - f->offset : 0;
		size_t n = left ? MIN_OF(left, (size_t)len) : MIN_OF(sizeof(zeros), (size_t)len);

		ok = dma_write(f, addr, left ? it->data + f->offset : zeros, n);
		if (left)
			f->offset += (uint32_t)n;
		addr += n;
		len -= (uint32_t)n;
	}
	return ok;
}

static void run_dma(struct fw_cfg *f)
{
	uint64_t at = f->dma_address, target;
	uint32_t control, len;
	uint8_t request[16], result[4];
	bool ok = true;

	f->dma_address = 0;
	if (!dma_read(f, at, request, sizeof(request))) {
		log_guest(f, "DMA request at 0x%" G_GINT64_MODIFIER "x is not in memory", at);
		return;
	}
	control = (uint32_t)load_be(request, 4);
	len = (uint32_t)load_be(request + 4, 4);
	target = load_be(request + 8, 8);
	if (control & DMA_SELECT)
		select_item(f, (uint16_t)(control >> 16));
	if (control & DMA_READ) {
		ok = dma_copy(f, target, len);
	} else if (control & DMA_WRITE) {
		ok = false;
	} else if (control & DMA_SKIP) {
		struct fw_cfg_item *it = item_of(f, f->current);
		size_t left = it && f->offset < it->len ? it->len - f->offset : 0;

		f->offset += (uint32_t)MIN_OF(left, (size_t)len);
	}
	store_be(result, ok ? 0 : DMA_ERROR, 4);
	dma_write(f, at, result, sizeof(result));
}

static uint64_t ports_read(void *dev, uint64_t off, unsigned size)
{
	(void)size;
	return off == 1 ? next_byte(dev) : 0;
}

static void ports_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	/* The selector is 16 bits wide; bytes to the data port were writes once and are ignored. */
	if (off == 0 && size == 2)
		select_item(dev, (uint16_t)value);
}

/* Byte-swapped on this little-endian bus. The low half starts the transfer. */
static void dma_port_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct fw_cfg *f = dev;
	uint8_t b[8];

	store_le(b, value, size);
	if (size == 8)
		f->dma_address = load_be(b, 8);
	else if (off == 0)
		f->dma_address = load_be(b, 4) << 32;
	else
		f->dma_address |= load_be(b, 4);
	if (size == 8 || off == 4)
		run_dma(f);
}

static uint64_t dma_port_read(void *dev, uint64_t off, unsigned size)
{
	uint8_t b[8];

	(void)dev;
	store_be(b, DMA_SIGNATURE, 8);
	return load_le(b + off, size);
}

static bool fw_cfg_realize(void *dev, GError **err)
{
	(void)err;
	device_map(dev, 0, 0x510);
	device_map(dev, 1, 0x514);
	return true;
}

static void fw_cfg_unrealize(void *dev)
{
	struct fw_cfg *f = dev;

	for (size_t i = 0; i < ARRAY_LEN(f->items); i++)
		g_free(f->items[i].data);
	for (size_t i = 0; i < ARRAY_LEN(f->arch); i++)
		g_free(f->arch[i].data);
}

static void fw_cfg_reset(void *dev)
{
	struct fw_cfg *f = dev;

	f->current = FW_CFG_SIGNATURE;
	f->offset = 0;
	f->dma_address = 0;
}

static bool fw_cfg_loaded(void *dev, GError **err)
{
	struct fw_cfg *f = dev;

	(void)err;
	if (!item_of(f, f->current))
		f->current = INVALID_KEY;
	return true;
}

DEVICE(fw_cfg,
	.name = "fw_cfg_io",
	.desc = "firmware configuration",
	.board_only = true,
	.windows = WINDOWS({ "fwcfg", WIN_PIO, 2, 1, 2, ports_read, ports_write },
			   { "fwcfg.dma", WIN_PIO, 8, 4, 8, dma_port_read, dma_port_write }),
	.state = FIELDS(F(current), F(offset), F(dma_address)),
	.host = HOST(items, arch, files),
	.realize = fw_cfg_realize,
	.unrealize = fw_cfg_unrealize,
	.reset = fw_cfg_reset,
	.loaded = fw_cfg_loaded);

struct fw_cfg *fw_cfg_new(struct machine *m, GError **err)
{
	struct fw_cfg *f = device_new(m, &device_fw_cfg, NULL);
	uint8_t id[4];

	if (!device_realize(f, NULL, err))
		return NULL;
	fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4);
	store_le(id, ID_TRADITIONAL | ID_DMA, 4);
	fw_cfg_add(f, FW_CFG_ID, id, 4);
	write_directory(f);
	return f;
}
