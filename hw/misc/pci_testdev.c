/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci-testdev, for measuring and testing accesses to PCI devices. Memory BAR 0 and I/O BAR 1 begin
 * with a header; writing a number to its first byte selects a test, whose description is then read:
 *
 *	0  test		1  width of the access	4  offset at which to write	8  value to write
 *	12 count: the writes seen so far	16 name
 *
 * The tests are a plain write, one at an address where any value counts, and one where only the
 * given value does. Layout and numbers are those of QEMU's device of this name.
 */
#include <string.h>

#include "hw/pci/pci.h"

#define MEMORY_BYTES 2048
#define IO_BYTES 128
#define HEADER_BYTES 64
#define NO_TEST 0xff
#define MATCHING 0xfa
#define OTHER 0xce

struct pci_testdev {
	struct pci_device pci;
	uint8_t current; /* index into tests */
	uint32_t count;
	struct region memory, io;
};

static const struct test {
	const char *name;
	bool io, any_value;
} tests[] = {
	{ "mmio-no-eventfd", false, false },	    { "mmio-wildcard-eventfd", false, true },
	{ "mmio-datamatch-eventfd", false, false }, { "portio-no-eventfd", true, false },
	{ "portio-wildcard-eventfd", true, true },  { "portio-datamatch-eventfd", true, false },
};
#define TESTS_EACH 3

static unsigned bar_bytes(bool io)
{
	return io ? IO_BYTES : MEMORY_BYTES;
}

static unsigned test_offset(const struct pci_testdev *d)
{
	return bar_bytes(tests[d->current].io) + d->current % TESTS_EACH;
}

static uint64_t header_read(struct pci_testdev *d, bool io, uint64_t off, unsigned size)
{
	uint8_t header[HEADER_BYTES] = { 0 };
	const struct test *t;

	if (d->current == NO_TEST || off + size > sizeof(header))
		return 0;
	t = &tests[d->current];
	if (t->io != io)
		return 0;
	header[0] = d->current % TESTS_EACH;
	header[1] = 1;
	store_le(header + 4, test_offset(d), 4);
	header[8] = t->any_value ? OTHER : MATCHING;
	store_le(header + 12, d->count, 4);
	memcpy(header + 16, t->name, strlen(t->name) + 1);
	return load_le(header + off, size);
}

static void any_write(struct pci_testdev *d, bool io, uint64_t off, uint64_t value)
{
	if (off == 0) {
		d->current =
			value < TESTS_EACH ? (uint8_t)(value + (io ? TESTS_EACH : 0)) : NO_TEST;
		d->count = 0;
		return;
	}
	if (d->current == NO_TEST || tests[d->current].io != io || off != test_offset(d))
		return;
	if (tests[d->current].any_value || value == MATCHING)
		d->count++;
}

static uint64_t memory_read(void *opaque, uint64_t off, unsigned size)
{
	return header_read(opaque, false, off, size);
}

static void memory_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	(void)size;
	any_write(opaque, false, off, value);
}

static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
	return header_read(opaque, true, off, size);
}

static void io_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	(void)size;
	any_write(opaque, true, off, value);
}

#define D struct pci_testdev

static bool pci_testdev_realize(void *dev, GError **err)
{
	static const struct region_ops memory_ops = { memory_read, memory_write, 1, 4 },
				       io_ops = { io_read, io_write, 1, 4 };
	struct pci_testdev *d = dev;

	(void)err;
	region_init_io(&d->memory, "pci-testdev-mmio", 2 * MEMORY_BYTES, &memory_ops, d, dev);
	region_init_io(&d->io, "pci-testdev-portio", 2 * IO_BYTES, &io_ops, d, dev);
	pci_add_bar(d, 0, &d->memory, false, false, false);
	pci_add_bar(d, 1, &d->io, true, false, false);
	return true;
}

static void pci_testdev_reset(void *dev)
{
	struct pci_testdev *d = dev;

	d->current = NO_TEST;
	d->count = 0;
}

static bool pci_testdev_loaded(void *dev, GError **err)
{
	struct pci_testdev *d = dev;

	return d->current < ARRAY_LEN(tests) || d->current == NO_TEST ||
	       error(err, "%s: there is no test %u", device_name(dev), d->current);
}

static const struct pci_info pci_testdev_info = { .vendor = 0x1b36,
						  .device = 0x0005,
						  .class = 0x00ff,
						  .subsystem_vendor = 0x1af4,
						  .subsystem = 0x1100 };

DEVICE(pci_testdev,
	.name = "pci-testdev",
	.desc = "counts accesses for test kernels",
	.bus = "PCI",
	.bus_info = &pci_testdev_info,
	.state = FIELDS(FO(pci, pci_device_table), F(current), F(count)),
	.host = HOST(memory, io),
	.realize = pci_testdev_realize,
	.reset = pci_testdev_reset,
	.loaded = pci_testdev_loaded);
