/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 9P2000.L over virtio: what a client may ask for, and what it may not reach. */
#include "fs/p9.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/lib/vdriver.h"

#define REQUEST VD_BUFFERS
#define REPLY (VD_BUFFERS + 0x10000)
#define ROOM 8192u

static char base[64]; /* `base`/in is the guest's, `base`/out is not */

static void add(struct rig *r, const char *model, bool read_only)
{
	g_autofree char *text = NULL;
	GError *err = NULL;

	strcpy(base, "/tmp/moa-9p-XXXXXX");
	CHECK(mkdtemp(base));
	text = g_strdup_printf(
		"mkdir -p %s/in/dir %s/out; echo secret >%s/out/secret; echo hello "
		">%s/in/file; ln -s ../out/secret %s/in/leak; ln -s ../out %s/in/away; "
		"mkfifo %s/in/pipe",
		base, base, base, base, base, base, base);
	CHECK(!system(text));
	g_free(text);
	text = g_strdup_printf("local,id=f,path=%s/in,security_model=%s,readonly=%s", base, model,
			       read_only ? "on" : "off");
	if (!folder_new("-fsdev", text, &err))
		test_skip("%s", err->message);
	device_add_global("virtio-9p-pci.fsdev=f", NULL);
	vd_disk = NULL;
	vd_add(r, "virtio-9p-pci", "mount_tag", "share");
	vd_start(r, 0, 1);
}

static void end(void)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", base);

	CHECK(!system(command));
}

/* A message is put together by numbers and strings. */
static uint8_t request[4096], answer[ROOM];
static size_t filled, read_at;

static void u(unsigned size, uint64_t value)
{
	store_le(request + filled, value, size);
	filled += size;
}

static void str(const char *text)
{
	u(2, strlen(text));
	memcpy(request + filled, text, strlen(text));
	filled += strlen(text);
}

static void begin(unsigned type)
{
	filled = 0;
	u(4, 0);
	u(1, type);
	u(2, 1);
}

static uint64_t g(unsigned size)
{
	uint64_t v = load_le(answer + read_at, size);

	read_at += size;
	return v;
}

/* Sends it; 0, or the error that came back. */
static unsigned send_message(struct rig *r)
{
	uint16_t before = vd_used(r, 0);

	store_le(request, filled, 4);
	vd_put_bytes(r, REQUEST, request, filled);
	vd_put_desc(r, vd_table(0), 0, REQUEST, (uint32_t)filled, VD_NEXT, 1);
	vd_put_desc(r, vd_table(0), 1, REPLY, ROOM, VD_WRITE, 0);
	vd_offer(r, 0, 0);
	for (unsigned i = 0; i < 5000 && vd_used(r, 0) == before; i++) {
		machine_unlock();
		g_usleep(200);
		machine_lock();
	}
	CHECK_EQ(vd_used(r, 0), (uint16_t)(before + 1));
	vd_get_bytes(r, REPLY, answer, ROOM);
	CHECK_EQ(load_le(answer, 4), vd_used_len(r, 0));
	CHECK_EQ(load_le(answer + 5, 2), 1);
	read_at = 7;
	if (answer[4] == 7)
		return (unsigned)g(4);
	CHECK_EQ(answer[4], request[4] + 1);
	return 0;
}

static void attach(struct rig *r)
{
	begin(100);
	u(4, 8192);
	str("9P2000.L");
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(g(4), 8192);
	CHECK_EQ(g(2), 8);
	begin(104);
	u(4, 0);
	u(4, UINT32_MAX);
	str("root");
	str("");
	u(4, 1000);
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(g(1), 0x80);
}

/* From fid 0 to `to`, along up to two names. */
static unsigned walk(struct rig *r, uint32_t to, const char *one, const char *two)
{
	begin(110);
	u(4, 0);
	u(4, to);
	u(2, two ? 2 : 1);
	str(one);
	if (two)
		str(two);
	return send_message(r);
}

static unsigned lopen(struct rig *r, uint32_t fid, uint32_t flags)
{
	begin(12);
	u(4, fid);
	u(4, flags);
	return send_message(r);
}

static unsigned clunk(struct rig *r, uint32_t fid)
{
	begin(120);
	u(4, fid);
	return send_message(r);
}

static unsigned create(struct rig *r, uint32_t fid, const char *name, uint32_t flags)
{
	begin(110);
	u(4, 0);
	u(4, fid);
	u(2, 0);
	CHECK_EQ(send_message(r), 0);
	begin(14);
	u(4, fid);
	str(name);
	u(4, flags);
	u(4, 0644);
	u(4, 77);
	return send_message(r);
}

BENCH(p9_reads_writes_and_lists)
{
	add(r, "none", false);
	CHECK_EQ(rig_read(r, VD_CONFIG(0), 2), 5);
	CHECK_EQ(rig_read(r, VD_CONFIG(2), 4), 0x72616873);
	attach(r);
	CHECK_EQ(walk(r, 1, "file", NULL), 0);
	CHECK_EQ(lopen(r, 1, 0), 0);
	begin(116);
	u(4, 1);
	u(8, 1);
	u(4, 100);
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(g(4), 5);
	CHECK(!memcmp(answer + read_at, "ello\n", 5));
	CHECK_EQ(clunk(r, 1), 0);
	CHECK_EQ(clunk(r, 1), EBADF);
	CHECK_EQ(create(r, 2, "new", 0x42), 0);
	begin(118);
	u(4, 2);
	u(8, 2);
	u(4, 3);
	memcpy(request + filled, "abc", 3);
	filled += 3;
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(g(4), 3);
	begin(24);
	u(4, 2);
	u(8, 0x7ff);
	CHECK_EQ(send_message(r), 0);
	read_at += 8 + 13 + 4 + 4 + 4 + 8 + 8;
	CHECK_EQ(g(8), 5); /* size */
	/* The root's entries. */
	begin(110);
	u(4, 0);
	u(4, 3);
	u(2, 0);
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(lopen(r, 3, 0), 0);
	begin(40);
	u(4, 3);
	u(8, 0);
	u(4, 8000);
	CHECK_EQ(send_message(r), 0);
	{
		size_t end = g(4) + read_at;
		unsigned n = 0;

		while (read_at < end) {
			read_at += 13 + 8 + 1;
			read_at += g(2);
			n++;
		}
		CHECK_EQ(n, 8); /* . .. dir file leak away pipe new */
	}
	end();
}

BENCH(p9_stays_inside)
{
	add(r, "none", false);
	attach(r);
	CHECK_EQ(walk(r, 1, "..", NULL), 0); /* the root's parent is the root */
	CHECK_EQ(walk(r, 2, "..", "out"), 0);
	CHECK_EQ(g(2), 1); /* so far */
	CHECK_EQ(walk(r, 2, "../out", NULL), EINVAL);
	CHECK_EQ(walk(r, 2, "/etc", NULL), EINVAL);
	CHECK_EQ(walk(r, 2, "", NULL), EINVAL);
	/* Links are read, not followed. */
	CHECK_EQ(walk(r, 2, "away", "secret"), 0);
	CHECK_EQ(g(2), 1);
	CHECK_EQ(walk(r, 3, "leak", NULL), 0);
	CHECK(lopen(r, 3, 0));
	begin(22);
	u(4, 3);
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(g(2), strlen("../out/secret"));
	CHECK_EQ(create(r, 4, "../out/x", 0x42), EINVAL);
	CHECK(create(r, 5, "leak", 0x42));
	/* Truncating, changing and linking go to the link, or nowhere. */
	begin(26);
	u(4, 3);
	u(4, 8);
	for (unsigned i = 0; i < 3; i++)
		u(4, 0);
	u(8, 0);
	for (unsigned i = 0; i < 4; i++)
		u(8, 0);
	CHECK(send_message(r));
	/* A pipe is not opened: it could hold the thread for ever. */
	CHECK_EQ(walk(r, 6, "pipe", NULL), 0);
	CHECK_EQ(lopen(r, 6, 0), ENXIO);
	/* Out of a directory by rename. */
	begin(74);
	u(4, 0);
	str("file");
	u(4, 0);
	str("../out/file");
	CHECK_EQ(send_message(r), EINVAL);
	end();
}

BENCH(p9_read_only)
{
	add(r, "none", true);
	attach(r);
	CHECK_EQ(walk(r, 1, "file", NULL), 0);
	CHECK_EQ(lopen(r, 1, 2), EROFS);
	CHECK_EQ(lopen(r, 1, 0), 0);
	CHECK_EQ(create(r, 2, "new", 0x42), EROFS);
	begin(72);
	u(4, 0);
	str("d");
	u(4, 0755);
	u(4, 0);
	CHECK_EQ(send_message(r), EROFS);
	begin(76);
	u(4, 0);
	str("file");
	u(4, 0);
	CHECK_EQ(send_message(r), EROFS);
	end();
}

/* Owners, modes and special files are attributes of plain files. */
BENCH(p9_mapped_ownership)
{
	g_autofree char *path = NULL;
	uint8_t raw[4] = { 0 };

	add(r, "mapped-xattr", false);
	attach(r);
	CHECK_EQ(create(r, 1, "new", 0x42), 0);
	path = g_strdup_printf("%s/in/new", base);
	CHECK_EQ(getxattr(path, "user.virtfs.uid", raw, 4), 4);
	CHECK_EQ(load_le(raw, 4), 1000);
	CHECK_EQ(getxattr(path, "user.virtfs.gid", raw, 4), 4);
	CHECK_EQ(load_le(raw, 4), 77);
	begin(18); /* a character device */
	u(4, 0);
	str("null");
	u(4, 020666);
	u(4, 1);
	u(4, 3);
	u(4, 0);
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(walk(r, 2, "null", NULL), 0);
	begin(24);
	u(4, 2);
	u(8, 0x7ff);
	CHECK_EQ(send_message(r), 0);
	read_at += 8 + 13;
	CHECK_EQ(g(4), 020666);
	read_at += 4 + 4 + 8;
	CHECK_EQ(g(8), 0x103);
	begin(16);
	u(4, 0);
	str("link");
	str("/etc/passwd");
	u(4, 0);
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(g(1), 2);
	g_free(path);
	path = g_strdup_printf("%s/in/link", base);
	CHECK(g_file_test(path, G_FILE_TEST_IS_REGULAR) &&
	      !g_file_test(path, G_FILE_TEST_IS_SYMLINK));
	CHECK_EQ(walk(r, 3, "link", NULL), 0);
	begin(22);
	u(4, 3);
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(g(2), strlen("/etc/passwd"));
	/* The attributes themselves are not the guest's. */
	begin(30);
	u(4, 3);
	u(4, 9);
	str("user.virtfs.mode");
	CHECK_EQ(send_message(r), ENODATA);
	end();
}

/* Open files go on after a load, by their names. */
BENCH(p9_files_are_found_again_after_a_load)
{
	GByteArray *saved = g_byte_array_new();
	GError *err = NULL;

	add(r, "none", false);
	attach(r);
	CHECK_EQ(walk(r, 1, "file", NULL), 0);
	CHECK_EQ(lopen(r, 1, 2), 0);
	CHECK_EQ(walk(r, 2, "dir", NULL), 0);
	begin(74);
	u(4, 0);
	str("file");
	u(4, 2);
	str("moved");
	CHECK_EQ(send_message(r), 0);
	machine_save(&r->m, saved);
	if (!machine_load(&r->m, saved->data, saved->len, &err))
		test_fail(__FILE__, __LINE__, "%s", err->message);
	begin(116);
	u(4, 1);
	u(8, 0);
	u(4, 100);
	CHECK_EQ(send_message(r), 0);
	CHECK_EQ(g(4), 6);
	g_byte_array_unref(saved);
	end();
}

BENCH(p9_nonsense_is_answered)
{
	add(r, "none", false);
	begin(116);
	u(4, 1);
	CHECK_EQ(send_message(r), EPROTO); /* no session */
	attach(r);
	begin(99);
	CHECK_EQ(send_message(r), EOPNOTSUPP);
	begin(110); /* cut short */
	u(4, 0);
	CHECK_EQ(send_message(r), EPROTO);
	begin(110);
	u(4, 0);
	u(4, 1);
	u(2, 60000);
	CHECK_EQ(send_message(r), EPROTO);
	begin(118); /* more data than there is */
	u(4, 0);
	u(8, 0);
	u(4, UINT32_MAX);
	CHECK_EQ(send_message(r), EPROTO);
	/* No room for an answer. */
	vd_put_desc(r, vd_table(0), 0, REQUEST, 7, 0, 0);
	vd_offer(r, 0, 0);
	for (unsigned i = 0; i < 5000 && !(vd_status(r) & VIRTIO_STATUS_NEEDS_RESET); i++) {
		machine_unlock();
		g_usleep(200);
		machine_lock();
	}
	CHECK(vd_status(r) & VIRTIO_STATUS_NEEDS_RESET);
	end();
}
