/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "core/device.h"
#include "tests/lib/test.h"

static struct machine m;
static char accesses[4096];

static uint64_t log_read(void *opaque, uint64_t off, unsigned size)
{
	char text[40];

	snprintf(text, sizeof(text), "%sr%u@%x ", (const char *)opaque, size, (unsigned)off);
	strcat(accesses, text);
	return 0x8877665544332211;
}

static void log_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	char text[60];

	snprintf(text, sizeof(text), "%sw%u@%x=%" PRIx64 " ", (const char *)opaque, size,
		 (unsigned)off, value);
	strcat(accesses, text);
}

static struct region *io(const char *name, uint64_t size, uint8_t min, uint8_t max)
{
	struct region_ops ops = { log_read, log_write, min, max };
	struct region *r = g_new0(struct region, 1);

	region_init_io(r, name, size, &ops, (void *)name, NULL);
	return r;
}

static void setup(void)
{
	machine_lock();
	machine_init(&m);
}

TEST(wide_and_unaligned_accesses_are_split)
{
	setup();
	region_add(&m.mem.root, 0x1000, 0, io("", 16, 1, 2));
	space_read_le(&m.mem, 0x1000, 8);
	CHECK_STR(accesses, "r2@0 r2@2 r2@4 r2@6 ");
	accesses[0] = 0;
	space_write_le(&m.mem, 0x1003, 0x44332211, 4);
	CHECK_STR(accesses, "w1@3=11 w2@4=3322 w1@6=44 ");
}

TEST(narrow_accesses_are_widened)
{
	setup();
	region_add(&m.mem.root, 0x1000, 0, io("", 16, 4, 4));
	CHECK_EQ(space_read_le(&m.mem, 0x1002, 1), 0x33);
	CHECK_EQ(space_read_le(&m.mem, 0x1001, 2), 0x3322);
	CHECK_STR(accesses, "r4@0 r4@0 r4@0 ");
	accesses[0] = 0;
	space_write_le(&m.mem, 0x1006, 0xabcd, 2);
	CHECK_STR(accesses, "w4@4=abcd0000 ");
}

TEST(nothing_reads_as_open_bus_and_swallows_writes)
{
	uint8_t b[4] = { 0 };

	setup();
	CHECK(!space_read(&m.mem, 0x123456789, b, 4));
	CHECK_EQ(load_le(b, 4), 0xffffffff);
	CHECK(!space_write(&m.mem, 0x123456789, b, 4));
	/* Ports wrap at 64 KiB. */
	region_add(&m.ports.root, 0, 0, io("", 2, 1, 1));
	space_read_le(&m.ports, 0xffff, 2);
	CHECK_STR(accesses, "r1@0 ");
}

TEST(a_port_access_goes_to_its_first_ports_device_whole)
{
	setup();
	region_add(&m.ports.root, 0xcf8, 0, io("conf", 4, 1, 4));
	region_add(&m.ports.root, 0xcf9, 1, io("rst", 1, 1, 1));
	space_write_le(&m.ports, 0xcf8, 0x80000000, 4);
	space_write_le(&m.ports, 0xcf9, 6, 1);
	CHECK_STR(accesses, "confw4@0=80000000 rstw1@0=6 ");
}

TEST(priorities_aliases_and_enables)
{
	struct ram_block *b;
	struct region ram, alias, *dev = io("d", 0x1000, 1, 8);

	setup();
	b = machine_ram(&m, "ram", 0x10000, NULL);
	region_init_ram(&ram, "ram", b);
	region_add(&m.mem.root, 0, 0, &ram);
	region_add(&m.mem.root, 0x4000, 1, dev);
	region_init_alias(&alias, "alias", &ram, 0x4000, 0x1000);
	region_add(&m.mem.root, 0x4000, 2, &alias);
	space_write_le(&m.mem, 0x4010, 0x55, 1);
	CHECK_EQ(b->host[0x4010], 0x55);
	region_set_enabled(&alias, false);
	space_write_le(&m.mem, 0x4010, 0x66, 1);
	CHECK_STR(accesses, "dw1@10=66 ");
	CHECK_EQ(b->host[0x4010], 0x55);
	region_set_enabled(&alias, true);
	region_set_read_only(&alias, true);
	space_write_le(&m.mem, 0x4010, 0x77, 1);
	CHECK_EQ(space_read_le(&m.mem, 0x4010, 1), 0x55);
	region_remove(&alias);
	region_set_addr(dev, 0x8000);
	CHECK_EQ(space_read_le(&m.mem, 0x4010, 1), 0x55);
}

TEST(rom_reads_directly_and_its_writes_go_to_the_handler)
{
	struct region_ops ops = { log_read, log_write, 1, 1 };
	struct region rom;
	struct ram_block *b;

	setup();
	b = machine_ram(&m, "rom", 0x1000, NULL);
	b->host[5] = 0x99;
	region_init_rom(&rom, "rom", b, &ops, "", NULL);
	region_add(&m.mem.root, 0xf000, 0, &rom);
	CHECK_EQ(space_read_le(&m.mem, 0xf005, 1), 0x99);
	space_write_le(&m.mem, 0xf005, 1, 1);
	CHECK_STR(accesses, "w1@5=1 ");
	region_set_rom_reads(&rom, true);
	CHECK_EQ(space_read_le(&m.mem, 0xf005, 1), 0x11);
	CHECK(space_write_rom(&m.mem, 0xf005, "x", 1) && b->host[5] == 'x');
}

/* A device whose write handler stores to its own window by DMA. */
struct selfish {
	struct device dev;
	unsigned calls;
};
#define D struct selfish
static uint64_t selfish_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	((struct selfish *)dev)->calls++;
	return 0;
}
static void selfish_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
	struct selfish *s = dev;
	uint32_t v = 0;

	(void)off;
	(void)value;
	(void)size;
	if (++s->calls > 100)
		abort();
	dma_write(dev, 0x2000, &v, 4);
	dma_read(dev, 0x2000, &v, 4);
	CHECK_EQ(v, 0xffffffff);
}
static DEVICE(selfish, .name = "selfish",
	      .windows = WINDOWS({ "w", WIN_MMIO, 16, 4, 4, selfish_read, selfish_write }));

TEST(a_device_is_not_entered_from_its_own_dma)
{
	struct selfish *s;

	setup();
	s = device_new(&m, &device_selfish, NULL);
	CHECK(device_realize(s, NULL, NULL));
	device_map(s, 0, 0x2000);
	space_write_le(&m.mem, 0x2000, 1, 4);
	CHECK_EQ(s->calls, 1);
	space_write_le(&m.mem, 0x2000, 1, 4);
	CHECK_EQ(s->calls, 2);
}

TEST(dirty_bits_follow_ram_offsets_through_aliases)
{
	struct region ram, alias;
	struct ram_block *b;

	setup();
	b = machine_ram(&m, "ram", 0x10000, NULL);
	region_init_ram(&ram, "ram", b);
	region_add(&m.mem.root, 0, 0, &ram);
	region_init_alias(&alias, "alias", &ram, 0x3000, 0x2000);
	region_add(&m.mem.root, 0x100000, 0, &alias);
	space_write_le(&m.mem, 0x3000, 1, 1);
	ram_track(&m.mem, b, DIRTY_MIGRATION, true);
	for (unsigned p = 0; p < 16; p++)
		CHECK(ram_test_clear_dirty(b, DIRTY_MIGRATION, p * 4096));
	space_write_le(&m.mem, 0x101ffe, 0x11223344, 2);
	CHECK(ram_test_clear_dirty(b, DIRTY_MIGRATION, 0x4000));
	CHECK(!ram_test_clear_dirty(b, DIRTY_MIGRATION, 0x4000));
	CHECK(!ram_test_clear_dirty(b, DIRTY_MIGRATION, 0x3000));
	CHECK(!ram_test_clear_dirty(b, DIRTY_DISPLAY, 0x4000));
	ram_track(&m.mem, b, DIRTY_MIGRATION, false);
	space_write_le(&m.mem, 0x3000, 1, 1);
	CHECK(!ram_test_clear_dirty(b, DIRTY_MIGRATION, 0x3000));
}

/* A listener that keeps its own map: it must agree with the view after every change. */
#define PAGES 64
static const struct region *mirror[PAGES];
static bool mirror_ok = true;

static void mirror_add(struct space_listener *l, const struct flat_range *r)
{
	(void)l;
	for (uint64_t p = r->start; p < r->start + r->size; p++) {
		mirror_ok &= !mirror[p];
		mirror[p] = r->region;
	}
}

static void mirror_del(struct space_listener *l, const struct flat_range *r)
{
	(void)l;
	for (uint64_t p = r->start; p < r->start + r->size; p++) {
		mirror_ok &= mirror[p] == r->region;
		mirror[p] = NULL;
	}
}

/* The plain definition: the highest priority wins, among equals the newest. */
static const struct region *oracle(struct region *const *all, const unsigned *born, unsigned n,
				   uint64_t at)
{
	int best = -1;

	for (unsigned i = 0; i < n; i++) {
		const struct region *r = all[i];

		if (!r->parent || !r->enabled || at < r->addr || at >= r->addr + r->size)
			continue;
		if (best < 0 || r->priority > all[best]->priority ||
		    (r->priority == all[best]->priority && born[i] > born[best]))
			best = (int)i;
	}
	return best < 0 ? NULL : all[best];
}

TEST(the_flat_view_agrees_with_the_definition_under_random_changes)
{
	struct space s;
	struct space_listener l = { .add = mirror_add, .del = mirror_del };
	struct region *all[12];
	unsigned born[12] = { 0 }, now = 0;

	machine_lock();
	space_init(&s, "test", PAGES);
	space_listen(&s, &l);
	for (int i = 0; i < 12; i++)
		all[i] = io("r", 1 + test_random() % 20, 1, 8);
	for (int round = 0; round < 20000; round++) {
		unsigned i = test_random() % 12;
		struct flat_view *v;

		space_begin(&s);
		for (unsigned n = test_random() % 3 + 1; n; n--, i = test_random() % 12) {
			if (!all[i]->parent) {
				region_add(&s.root, test_random() % (PAGES - all[i]->size),
					   (int)(test_random() % 4), all[i]);
				born[i] = ++now;
			} else if (test_random() % 3 == 0) {
				region_remove(all[i]);
			} else if (test_random() % 2) {
				region_set_enabled(all[i], !all[i]->enabled);
			} else {
				region_set_addr(all[i], test_random() % (PAGES - all[i]->size));
			}
		}
		space_commit(&s);
		CHECK(mirror_ok);
		for (uint64_t at = 0; at < PAGES; at++)
			if (mirror[at] != oracle(all, born, 12, at))
				test_fail(__FILE__, __LINE__, "round %d: wrong region at %" PRIu64,
					  round, at);
		v = space_copy_view(&s);
		for (size_t k = 1; k < v->count; k++)
			CHECK(v->ranges[k].start >= v->ranges[k - 1].start + v->ranges[k - 1].size);
		flat_view_free(v);
	}
	space_unlisten(&s, &l);
	for (int p = 0; p < PAGES; p++)
		CHECK(!mirror[p]);
}
