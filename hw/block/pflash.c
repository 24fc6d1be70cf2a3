/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parallel NOR flash, Intel/Sharp extended command set, 8 bits wide. Source: JEDEC JESD68 (CFI),
 * Intel application note AP-646 (CFI), Intel 28F640J3 data sheet (290667). Reads of the array come
 * straight from host memory while no command is going on. Not modelled: suspend, individual block
 * locks (the command is accepted and does nothing), program time.
 *
 * Writes go to the file at once: a variable store survives a crash of the host's process.
 */
#include "hw/block/pflash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "hw/firmware/loader.h"

#define STATUS_READY BIT(7)
#define STATUS_ERASE_ERROR BIT(5)
#define STATUS_PROGRAM_ERROR BIT(4)
#define STATUS_LOCKED BIT(1)
#define ID_MANUFACTURER 0x89
#define ID_DEVICE 0x18
#define SECTOR_SIZE 4096u
#define BUFFER_SIZE 64u

#define D struct pflash

static void read_array(struct pflash *f)
{
	f->command = f->cycle = 0;
	region_set_rom_reads(&f->region, false);
}

static void enter(struct pflash *f, uint8_t command, uint8_t cycle)
{
	f->command = command;
	f->cycle = cycle;
	region_set_rom_reads(&f->region, true);
}

/* To the file, as far as it goes; a host error is the chip's program error. */
static bool store(struct pflash *f, uint64_t off, size_t len)
{
	ram_mark_dirty(f->array, off, len);
	while (f->fd >= 0 && len) {
		ssize_t n = pwrite(f->fd, f->array->host + off, len, (off_t)off);

		if (n <= 0) {
			if (n < 0 && errno == EINTR)
				continue;
			g_printerr("moa: %s: cannot write '%s': %s\n", device_name(f), f->file,
				   strerror(errno));
			return false;
		}
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool may_write(struct pflash *f, uint8_t error)
{
	if (!f->readonly)
		return true;
	f->status |= error | STATUS_LOCKED;
	return false;
}

/* Programming only clears bits. */
static void program(struct pflash *f, uint64_t off, const uint8_t *data, size_t len)
{
	if (!may_write(f, STATUS_PROGRAM_ERROR))
		return;
	for (size_t i = 0; i < len; i++)
		f->array->host[off + i] &= data[i];
	if (!store(f, off, len))
		f->status |= STATUS_PROGRAM_ERROR;
}

static void erase(struct pflash *f, uint64_t off)
{
	off = align_down(off, f->sector);
	if (!may_write(f, STATUS_ERASE_ERROR))
		return;
	memset(f->array->host + off, 0xff, f->sector);
	if (!store(f, off, f->sector))
		f->status |= STATUS_ERASE_ERROR;
}

/* The CFI query table (JESD68), for one erase region. */
static uint8_t query(const struct pflash *f, unsigned at)
{
	unsigned log2 = (unsigned)__builtin_ctzll(f->array->size);
	uint32_t blocks = (uint32_t)(f->array->size / f->sector);

	switch (at) {
	case 0x10:
		return 'Q';
	case 0x11:
		return 'R';
	case 0x12:
		return 'Y';
	case 0x13:
		return 1; /* Intel extended command set */
	case 0x15:
		return 0x31; /* extended table */
	case 0x1b:
		return 0x45; /* Vcc 4.5 to 5.5 V */
	case 0x1c:
		return 0x55;
	case 0x1f:
		return 7; /* 2^n us per byte */
	case 0x20:
		return 7; /* and buffer */
	case 0x21:
		return 0xa; /* 2^n ms per block */
	case 0x23:
	case 0x24:
	case 0x25:
		return 4; /* at most 2^n times that */
	case 0x27:
		return (uint8_t)log2;
	case 0x28:
		return 0; /* x8 */
	case 0x2a:
		return 6; /* 64-byte buffer */
	case 0x2c:
		return 1; /* erase regions */
	case 0x2d:
		return (uint8_t)(blocks - 1);
	case 0x2e:
		return (uint8_t)((blocks - 1) >> 8);
	case 0x2f:
		return (uint8_t)(f->sector >> 8);
	case 0x30:
		return (uint8_t)(f->sector >> 16);
	case 0x31:
		return 'P';
	case 0x32:
		return 'R';
	case 0x33:
		return 'I';
	case 0x34:
		return '1';
	case 0x35:
		return '0';
	default:
		return 0;
	}
}

static uint64_t flash_read(void *opaque, uint64_t off, unsigned size)
{
	struct pflash *f = opaque;

	(void)size;
	switch (f->command) {
	case 0:
		return f->array->host[off];
	case 0x90:
		switch (off & 0xff) {
		case 0:
			return ID_MANUFACTURER;
		case 1:
			return ID_DEVICE;
		default:
			return 0; /* block not locked */
		}
	case 0x98:
		return query(f, off & 0xff);
	default:
		return f->status;
	}
}

static void first_cycle(struct pflash *f, uint64_t off, uint8_t v)
{
	switch (v) {
	case 0x00:
	case 0xf0:
	case 0xff:
		read_array(f);
		return;
	case 0x10: /* program */
	case 0x40:
	case 0x20: /* erase */
	case 0x60: /* block lock */
		enter(f, v, 1);
		return;
	case 0x50:
		f->status = STATUS_READY;
		read_array(f);
		return;
	case 0x70:
	case 0x90:
	case 0x98:
		enter(f, v, 0);
		return;
	case 0xe8:
		f->status |= STATUS_READY;
		f->buffer_base = align_down(off, BUFFER_SIZE);
		enter(f, v, 1);
		return;
	default:
		log_guest(f, "command 0x%02x is not one of this flash's", v);
		read_array(f);
		return;
	}
}

static void buffer_cycle(struct pflash *f, uint64_t off, uint8_t v)
{
	switch (f->cycle) {
	case 1: /* count less one */
		if (v >= BUFFER_SIZE) {
			f->status |= STATUS_PROGRAM_ERROR;
			enter(f, 0x70, 0);
			return;
		}
		f->buffer_count = v + 1u;
		memset(f->buffer, 0xff, sizeof(f->buffer));
		f->cycle = 2;
		return;
	case 2:
		/* All of a buffer lies in one aligned stretch; elsewhere is an error. */
		if (align_down(off, BUFFER_SIZE) != f->buffer_base) {
			if (f->buffer_count && f->buffer[0] == 0xff && f->buffer_len == 0) {
				f->buffer_base = align_down(off, BUFFER_SIZE);
			} else {
				f->status |= STATUS_PROGRAM_ERROR;
				enter(f, 0x70, 0);
				return;
			}
		}
		f->buffer[off % BUFFER_SIZE] = v;
		f->buffer_len++;
		if (--f->buffer_count == 0)
			f->cycle = 3;
		return;
	default:
		f->buffer_len = 0;
		if (v == 0xd0)
			program(f, f->buffer_base, f->buffer, BUFFER_SIZE);
		else
			f->status |= STATUS_PROGRAM_ERROR | STATUS_ERASE_ERROR;
		f->status |= STATUS_READY;
		enter(f, 0x70, 0);
		return;
	}
}

static void flash_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct pflash *f = opaque;
	uint8_t v = (uint8_t)value;

	(void)size;
	if (!f->cycle) {
		first_cycle(f, off, v);
		return;
	}
	switch (f->command) {
	case 0x10:
	case 0x40:
		program(f, off, &v, 1);
		break;
	case 0x20:
		if (v == 0xd0)
			erase(f, off);
		else
			f->status |= STATUS_PROGRAM_ERROR | STATUS_ERASE_ERROR; /* bad sequence */
		break;
	case 0x60:
		if (v == 0xff) {
			read_array(f);
			return;
		}
		break;
	case 0xe8:
		buffer_cycle(f, off, v);
		return;
	default:
		break;
	}
	f->status |= STATUS_READY;
	enter(f, 0x70, 0);
}

static bool open_file(struct pflash *f, GError **err)
{
	g_autofree uint8_t *data = NULL;
	g_autofree char *what = g_strdup_printf("-drive if=pflash: '%s'", f->file);
	size_t len;

	if (!firmware_read(what, f->file, SECTOR_SIZE, 64 * MIB, SECTOR_SIZE, &data, &len, err))
		return false;
	f->array = machine_ram(f->dev.machine, f->dev.id, len, err);
	if (!f->array)
		return false;
	memcpy(f->array->host, data, len);
	f->sector = SECTOR_SIZE;
	f->fd = -1;
	if (f->readonly)
		return true;
	f->fd = open(f->file, O_WRONLY | O_CLOEXEC);
	if (f->fd < 0)
		return error(err,
			     "-drive if=pflash: cannot write '%s': %s: use a copy you may write, "
			     "or readonly=on",
			     f->file, strerror(errno));
	return true;
}

static bool flash_realize(void *dev, GError **err)
{
	static const struct region_ops ops = { flash_read, flash_write, 1, 1 };
	struct pflash *f = dev;

	if (!open_file(f, err))
		return false;
	region_init_rom(&f->region, f->dev.id, f->array, &ops, f, &f->dev);
	return true;
}

static void flash_unrealize(void *dev)
{
	struct pflash *f = dev;

	region_destroy(&f->region);
	if (f->fd >= 0)
		close(f->fd);
}

static void flash_reset(void *dev)
{
	struct pflash *f = dev;

	f->status = STATUS_READY;
	f->buffer_count = f->buffer_len = 0;
	f->buffer_base = 0;
	memset(f->buffer, 0xff, sizeof(f->buffer));
	read_array(f);
}

static bool flash_loaded(void *dev, GError **err)
{
	struct pflash *f = dev;

	if (f->buffer_base % BUFFER_SIZE || f->buffer_base >= f->array->size ||
	    f->buffer_count > BUFFER_SIZE || f->buffer_len > BUFFER_SIZE || f->cycle > 3)
		return error(err, "saved state: '%s': the write buffer is not inside the flash",
			     f->dev.path);
	region_set_rom_reads(&f->region, f->command != 0);
	return true;
}

DEVICE(pflash,
	.name = "cfi.pflash01",
	.desc = "parallel NOR flash, Intel command set",
	.board_only = true,
	.props = FIELDS(F(file), F(readonly)),
	.state = FIELDS(F(command), F(cycle), F(status), F(buffer_count), F(buffer_base),
			F(buffer_len), F(buffer)),
	.host = HOST(region, array, fd, sector),
	.realize = flash_realize,
	.unrealize = flash_unrealize,
	.reset = flash_reset,
	.loaded = flash_loaded);

struct pflash *pflash_new(struct machine *m, unsigned unit, const char *file, bool readonly,
			  uint64_t end, GError **err)
{
	g_autofree char *id = g_strdup_printf("system.flash%u", unit);
	struct pflash *f = device_new(m, &device_pflash, id);

	f->fd = -1;
	device_set(f, "file", file, NULL);
	device_set(f, "readonly", readonly ? "on" : "off", NULL);
	if (!device_realize(f, NULL, err))
		return NULL;
	region_add(&m->mem.root, end - f->region.size, 1, &f->region);
	return f;
}
