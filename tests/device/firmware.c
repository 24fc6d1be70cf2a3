/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg, parallel flash, SMBIOS. */
#include <stdlib.h>
#include <unistd.h>

#include "hw/block/pflash.h"
#include "tests/lib/rig.h"

static void select_key(struct rig *r, uint16_t key)
{
	rig_out(r, 0x510, key, 2);
}

static void read_bytes(struct rig *r, void *buf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)buf)[i] = inb(r, 0x511);
}

BENCH(fw_cfg_signature_and_ends)
{
	char sig[5] = { 0 };

	select_key(r, 0);
	read_bytes(r, sig, 4);
	CHECK_STR(sig, "QEMU");
	CHECK_EQ(inb(r, 0x511), 0); /* past the end */
	select_key(r, 1);
	CHECK_EQ(inb(r, 0x511), 3);
	select_key(r, 0x1234);
	CHECK_EQ(inb(r, 0x511), 0);
	CHECK_EQ(rig_in(r, 0x514, 4), 0x554d4551); /* "QEMU CFG", big-endian */
}

/* The key and size of a file, from the directory. */
static bool find(struct rig *r, const char *name, uint16_t *key, uint32_t *size)
{
	uint8_t count[4], e[64];

	select_key(r, 0x19);
	read_bytes(r, count, 4);
	for (uint32_t i = 0; i < be32(count); i++) {
		read_bytes(r, e, 64);
		if (strcmp((char *)e + 8, name))
			continue;
		*size = be32(e);
		*key = (uint16_t)(e[4] << 8 | e[5]);
		return true;
	}
	return false;
}

BENCH(fw_cfg_files)
{
	uint16_t key;
	uint32_t size;
	uint8_t e[20];

	CHECK(find(r, "etc/e820", &key, &size));
	CHECK_EQ(size % 20, 0);
	select_key(r, key);
	read_bytes(r, e, 20);
	CHECK_EQ(load_le(e, 8), 0xfeffc000); /* KVM's pages */
	CHECK_EQ(load_le(e + 16, 4), 2);
	read_bytes(r, e, 20);
	CHECK_EQ(load_le(e + 8, 8), 16 * MIB);
	CHECK(find(r, "etc/acpi/rsdp", &key, &size) && size == 20);
	CHECK(find(r, "etc/table-loader", &key, &size) && size % 128 == 0);
	CHECK(find(r, "etc/smbios/smbios-tables", &key, &size) && size > 100);
}

static void request(struct rig *r, uint32_t control, uint32_t len, uint64_t target)
{
	uint8_t b[16];

	for (int i = 0; i < 4; i++) {
		b[i] = (uint8_t)(control >> (24 - 8 * i));
		b[4 + i] = (uint8_t)(len >> (24 - 8 * i));
	}
	for (int i = 0; i < 8; i++)
		b[8 + i] = (uint8_t)(target >> (56 - 8 * i));
	space_write(&r->m.mem, 0x3000, b, 16);
	rig_out(r, 0x514, 0, 4);
	rig_out(r, 0x518, 0x00300000, 4); /* 3000h, big-endian */
}

BENCH(fw_cfg_dma)
{
	request(r, 0 << 16 | 8 | 2, 6, 0x4000);
	CHECK_EQ(rig_read(r, 0x3000, 4), 0);
	CHECK_EQ(rig_read(r, 0x4000, 4), 0x554d4551);
	CHECK_EQ(rig_read(r, 0x4004, 2), 0); /* past the end: zeros */
	request(r, 0 << 16 | 8 | 4, 2, 0);   /* select and skip two */
	CHECK_EQ(inb(r, 0x511), 'M');
	request(r, 16, 4, 0x4000); /* writing is refused */
	CHECK_EQ(rig_read(r, 0x3000, 4), 0x01000000);
	request(r, 8 | 2, 4, UINT64_C(0x123456789000)); /* to nowhere */
	CHECK_EQ(rig_read(r, 0x3000, 4), 0x01000000);
	/* A request that is nowhere itself; its own register as target. */
	rig_out(r, 0x514, 0xffffffff, 4);
	rig_out(r, 0x518, 0xffffffff, 4);
	request(r, 8 | 2, 0xffffffff, 0);
}

/*
 * --- flash
 * ----------------------------------------------------------------------------------------
 */

static char path[] = "/tmp/moa-flash-XXXXXX";
#define FLASH (UINT64_C(0x100000000) - 0x20000)

static void with_flash(struct pc_config *c)
{
	static uint8_t image[0x20000];
	int fd = mkstemp(path);

	memset(image, 0xff, sizeof(image));
	image[0] = 0x5a;
	if (fd < 0 || write(fd, image, sizeof(image)) != sizeof(image))
		abort();
	close(fd);
	c->pflash[0].file = path;
}

static uint8_t flash(struct rig *r, uint64_t off)
{
	return (uint8_t)rig_read(r, FLASH + off, 1);
}

static void flash_set(struct rig *r, uint64_t off, uint8_t v)
{
	rig_write(r, FLASH + off, v, 1);
}

static uint8_t in_file(uint64_t off)
{
	FILE *f = fopen(path, "rb");
	int c;

	fseek(f, (long)off, SEEK_SET);
	c = fgetc(f);
	fclose(f);
	return (uint8_t)c;
}

TEST(pflash_reads_identifies_programs_and_erases)
{
	struct rig *r = rig_new_config(RIG_USER, with_flash);

	CHECK_EQ(flash(r, 0), 0x5a);
	CHECK_EQ(rig_read(r, 0xe0000, 1), 0x5a); /* the alias below 1 MiB */
	flash_set(r, 0, 0x90);
	CHECK_EQ(flash(r, 0), 0x89);
	flash_set(r, 0, 0x98);
	CHECK_EQ(flash(r, 0x10), 'Q');
	CHECK_EQ(flash(r, 0x11), 'R');
	CHECK_EQ(flash(r, 0x12), 'Y');
	CHECK_EQ(1u << flash(r, 0x27), 0x20000);
	CHECK_EQ((flash(r, 0x2d) + 1) * (flash(r, 0x2f) << 8 | flash(r, 0x30) << 16), 0x20000);
	flash_set(r, 0, 0xff);
	CHECK_EQ(flash(r, 0), 0x5a);
	/* Program: only clears bits; the status says ready. */
	flash_set(r, 0x100, 0x40);
	flash_set(r, 0x100, 0xf0);
	CHECK_EQ(flash(r, 0), 0x80);
	flash_set(r, 0, 0xff);
	CHECK_EQ(flash(r, 0x100), 0xf0);
	flash_set(r, 0x100, 0x10);
	flash_set(r, 0x100, 0x3c);
	flash_set(r, 0, 0xff);
	CHECK_EQ(flash(r, 0x100), 0x30);
	CHECK_EQ(in_file(0x100), 0x30);
	/* Erase: a sector of ones, and no other. */
	flash_set(r, 0x1ff0, 0x40);
	flash_set(r, 0x1ff0, 0x11);
	flash_set(r, 0x123, 0x20);
	flash_set(r, 0x123, 0xd0);
	CHECK_EQ(flash(r, 0), 0x80);
	flash_set(r, 0, 0xff);
	CHECK_EQ(flash(r, 0x100), 0xff);
	CHECK_EQ(flash(r, 0), 0xff);
	CHECK_EQ(flash(r, 0x1ff0), 0x11);
	CHECK_EQ(in_file(0x100), 0xff);
	unlink(path);
	rig_free(r);
}

TEST(pflash_buffer_writes_and_errors)
{
	struct rig *r = rig_new_config(RIG_USER, with_flash);

	flash_set(r, 0x2000, 0xe8);
	CHECK_EQ(flash(r, 0x2000), 0x80);
	flash_set(r, 0x2000, 3);
	for (uint8_t i = 0; i < 4; i++)
		flash_set(r, 0x2008u + i, (uint8_t)(0x40 + i));
	flash_set(r, 0x2000, 0xd0);
	CHECK_EQ(flash(r, 0x2000), 0x80);
	flash_set(r, 0, 0xff);
	CHECK_EQ(rig_read(r, FLASH + 0x2008, 4), 0x43424140);
	CHECK_EQ(flash(r, 0x2007), 0xff);
	/* A count beyond the buffer. */
	flash_set(r, 0x2000, 0xe8);
	flash_set(r, 0x2000, 64);
	CHECK(flash(r, 0) & 0x10);
	flash_set(r, 0, 0x50); /* clear */
	flash_set(r, 0, 0x70);
	CHECK_EQ(flash(r, 0), 0x80);
	/* An erase that is not confirmed. */
	flash_set(r, 0, 0x20);
	flash_set(r, 0, 0x55);
	CHECK_EQ(flash(r, 0) & 0x30, 0x30);
	flash_set(r, 0, 0xff);
	CHECK_EQ(flash(r, 0), 0x5a);
	unlink(path);
	rig_free(r);
}

static void read_only_flash(struct pc_config *c)
{
	with_flash(c);
	c->pflash[0].readonly = true;
}

TEST(pflash_read_only_refuses)
{
	struct rig *r = rig_new_config(RIG_USER, read_only_flash);

	flash_set(r, 0x10, 0x40);
	flash_set(r, 0x10, 0);
	CHECK_EQ(flash(r, 0) & 0x12, 0x12);
	flash_set(r, 0, 0x50);
	flash_set(r, 0, 0x20);
	flash_set(r, 0, 0xd0);
	CHECK(flash(r, 0) & 0x20);
	flash_set(r, 0, 0xff);
	CHECK_EQ(flash(r, 0), 0x5a);
	CHECK_EQ(flash(r, 0x10), 0xff);
	CHECK_EQ(in_file(0x10), 0xff);
	unlink(path);
	rig_free(r);
}

/* The structures are well formed: lengths, strings, the end; the anchor's sums are zero. */
BENCH(smbios_tables_are_well_formed)
{
	uint16_t key;
	uint32_t size;
	g_autofree uint8_t *t = NULL;
	uint8_t anchor[31], sum = 0;
	unsigned n = 0, at = 0;

	CHECK(find(r, "etc/smbios/smbios-tables", &key, &size));
	t = g_malloc(size);
	select_key(r, key);
	read_bytes(r, t, size);
	for (;;) {
		uint8_t type = t[at], len = t[at + 1];

		CHECK(len >= 4 && at + len + 2 <= size);
		n++;
		at += len;
		while (t[at] || t[at + 1])
			CHECK(++at + 1 < size);
		at += 2;
		if (type == 127)
			break;
	}
	CHECK_EQ(at, size);
	CHECK(find(r, "etc/smbios/smbios-anchor", &key, &size));
	select_key(r, key);
	read_bytes(r, anchor, 31);
	for (int i = 0; i < 31; i++)
		sum = (uint8_t)(sum + anchor[i]);
	CHECK_EQ(sum, 0);
	CHECK_EQ(load_le(anchor + 28, 2), n);
}
