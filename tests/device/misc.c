/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small devices, and rules that hold for all. */
#include "chardev/chardev.h"
#include "tests/lib/rig.h"

static void *add(struct rig *r, const char *name, const char *prop, const char *value)
{
	struct device *d = device_new(&r->m, device_find(name, NULL), NULL);
	GError *err = NULL;

	if (prop)
		CHECK(device_set(d, prop, value, NULL));
	if (!device_realize(d, machine_find_bus(&r->m, "ISA", NULL), &err))
		test_fail(__FILE__, __LINE__, "%s", err->message);
	return d;
}

BENCH(debugcon_writes_and_reads_back)
{
	struct chardev *c = chr_new(NULL, "ringbuf,id=d", NULL);
	uint8_t text[8] = { 0 };

	add(r, "isa-debugcon", "chardev", "d");
	outb(r, 0xe9, 'h');
	outb(r, 0xe9, 'i');
	CHECK_EQ(inb(r, 0xe9), 0xe9);
	c->ops->read_back(c, text, 7);
	CHECK_STR((char *)text, "hi");
}

BENCH(debug_exit_ends_with_its_status)
{
	add(r, "isa-debug-exit", NULL, NULL);
	CHECK_EQ(inb(r, 0x501), 0);
	outb(r, 0x501, 0x10);
	CHECK_EQ(r->m.exit_code, 0x21);
	CHECK(!machine_handle_requests(&r->m));
}

BENCH(pvpanic_stops_the_machine)
{
	add(r, "pvpanic", NULL, NULL);
	CHECK_EQ(inb(r, 0x505), 3);
	outb(r, 0x505, 1);
	CHECK(machine_handle_requests(&r->m));
	CHECK_EQ(r->m.state, RUN_GUEST_PANICKED);
}

BENCH(port80_keeps_the_last_code)
{
	outb(r, 0x80, 0x42);
	CHECK_EQ(inb(r, 0x80), 0x42);
}

BENCH(port92_a20)
{
	CHECK_EQ(inb(r, 0x92) & 2, 2);
	outb(r, 0x92, 0);
	CHECK_EQ(inb(r, 0x92), 0);
}

/* The gate closes by either driver; what lies above the second MiB is left alone. */
BENCH(a20_closed_wraps_the_second_mib)
{
	rig_write(r, 0x500, 0x11111111, 4);
	rig_write(r, 0x100500, 0x22222222, 4);
	rig_write(r, 0x200500, 0x33333333, 4);
	outb(r, 0x92, 0);
	CHECK_EQ(rig_read(r, 0x100500, 4), 0x11111111);
	rig_write(r, 0x100500, 0x44444444, 4);
	CHECK_EQ(rig_read(r, 0x500, 4), 0x44444444);
	CHECK_EQ(rig_read(r, 0x200500, 4), 0x33333333);
	outb(r, 0x92, 2);
	CHECK_EQ(rig_read(r, 0x100500, 4), 0x22222222);
	outb(r, 0x64, 0xdd);
	CHECK_EQ(rig_read(r, 0x100500, 4), 0x44444444);
	outb(r, 0x64, 0xdf);
	CHECK_EQ(rig_read(r, 0x100500, 4), 0x22222222);
	outb(r, 0x64, 0xd1); /* write the output port */
	outb(r, 0x60, 0xcd);
	CHECK_EQ(rig_read(r, 0x1ffffc, 4), rig_read(r, 0xffffc, 4));
	machine_reset(&r->m);
	CHECK_EQ(rig_read(r, 0x100500, 4), 0x22222222);
}

BENCH(a20_is_saved)
{
	GByteArray *state = g_byte_array_new();

	rig_write(r, 0x500, 0x11111111, 4);
	rig_write(r, 0x100500, 0x22222222, 4);
	outb(r, 0x92, 0);
	machine_save(&r->m, state);
	machine_reset(&r->m);
	CHECK_EQ(rig_read(r, 0x100500, 4), 0x22222222);
	CHECK(machine_load(&r->m, state->data, state->len, NULL));
	CHECK_EQ(rig_read(r, 0x100500, 4), 0x11111111);
	g_byte_array_unref(state);
}

/* Every type describes itself, and no two have one name. */
TEST(registry_is_complete_and_sorted)
{
	const char *last = "";

	for (const struct device_info *const *d = device_registry; *d; d++) {
		CHECK((*d)->name && (*d)->desc && (*d)->size >= sizeof(struct device));
		CHECK(strcmp(last, (*d)->name) < 0);
		last = (*d)->name;
		for (const struct field *f = (*d)->props; f && !field_end(f); f++) {
			g_autofree char *text = prop_describe(f);

			CHECK(*text);
		}
		for (const struct window *w = (*d)->windows; w && w->name; w++)
			CHECK(w->size && w->max && w->min <= w->max && w->max <= 8);
	}
}

TEST(globals_set_defaults_and_are_checked)
{
	GError *err = NULL;

	CHECK(device_add_global("isa-debugcon.iobase=0x402", NULL));
	CHECK(device_has_global(device_find("isa-debugcon", NULL), "iobase"));
	CHECK(!device_add_global("isa-debugcon.iobas=1", &err));
	CHECK_HAS(err->message, "did you mean 'iobase'");
	g_clear_error(&err);
	CHECK(!device_add_global("isa-debugcn.iobase=1", &err));
	CHECK_HAS(err->message, "did you mean 'isa-debugcon'");
	g_clear_error(&err);
	CHECK(!device_add_global("x=1", &err));
	CHECK_HAS(err->message, "TYPE.PROPERTY=VALUE");
}

BENCH(pc_testdev_register_and_buffer)
{
	add(r, "pc-testdev", NULL, NULL);
	rig_out(r, 0xe0, 0x12345678, 4);
	CHECK_EQ(rig_in(r, 0xe0, 4), 0x12345678);
	CHECK_EQ(inb(r, 0xe1), 0x56);
	CHECK_EQ(rig_in(r, 0xe2, 2), 0x1234);
	outb(r, 0xe3, 0xaa);
	CHECK_EQ(rig_in(r, 0xe0, 4), 0xaa345678);
	rig_out(r, 0xe8, 0x11223344, 4); /* split into bytes */
	CHECK_EQ(rig_in(r, 0xe0, 4), 0x11223344);
	rig_write(r, 0xff000000, 0x01020304, 4);
	rig_write(r, 0xff00fffe, 0xbeef, 2);
	CHECK_EQ(rig_read(r, 0xff000001, 1), 3);
	CHECK_EQ(rig_read(r, 0xff00fffc, 4), 0xbeef0000);
	rig_out(r, 0xe4, 0x1000, 4); /* no engine: nothing to forget */
	machine_reset(&r->m);
	CHECK_EQ(rig_in(r, 0xe0, 4), 0);
}

BENCH(pc_testdev_drives_lines)
{
	add(r, "pc-testdev", NULL, NULL);
	outb(r, 0x4d0, 0x20); /* line 5 by level */
	outb(r, 0x20, 0x0a);  /* read IRR */
	outb(r, 0x2005, 1);
	CHECK_EQ(inb(r, 0x20) & 0x20, 0x20);
	CHECK_EQ(inb(r, 0x2005), 1);
	outb(r, 0x2005, 0);
	CHECK_EQ(inb(r, 0x20) & 0x20, 0);
	outb(r, 0x2000 + 20, 1); /* a line of the IOAPIC alone */
	CHECK_EQ(inb(r, 0x2000 + 20), 1);
	outb(r, 0x2000 + 20, 0);
}

static uint32_t read_bar(struct rig *r, bool io, unsigned off, unsigned size)
{
	return io ? rig_in(r, (uint16_t)(0xc000 + off), size) : rig_read(r, 0xe0000000 + off, size);
}

static void write_bar(struct rig *r, bool io, unsigned off, uint32_t v)
{
	if (io)
		outb(r, (uint16_t)(0xc000 + off), (uint8_t)v);
	else
		rig_write(r, 0xe0000000 + off, v, 1);
}

BENCH(pci_testdev_counts_what_matches)
{
	struct device *d = device_new(&r->m, device_find("pci-testdev", NULL), NULL);

	pci_set_devfn(d, 4, 0);
	CHECK(device_realize(d, &r->pc->host->bus.bus, NULL));
	machine_reset(&r->m);
	CHECK_EQ(rig_pci_read(r, 4, 0, 0, 4), 0x00051b36);
	rig_pci_write(r, 4, 0, 0x10, 0xe0000000, 4);
	rig_pci_write(r, 4, 0, 0x14, 0xc000, 4);
	rig_pci_write(r, 4, 0, 4, 3, 2);
	for (unsigned io = 0; io < 2; io++) {
		for (unsigned n = 0; n < 3; n++) {
			unsigned at;

			write_bar(r, io, 0, n);
			at = read_bar(r, io, 4, 4);
			CHECK_EQ(read_bar(r, io, 1, 1), 1);
			CHECK_EQ(at, (io ? 128 : 2048) + n);
			CHECK_EQ(read_bar(r, io, 12, 4), 0);
			CHECK_EQ(read_bar(r, io, 16, 1), io ? 'p' : 'm');
			write_bar(r, io, at, read_bar(r, io, 8, 1));
			write_bar(r, io, at, 0x77); /* counts where any value does */
			write_bar(r, io, at + 8, 0xfa);
			CHECK_EQ(read_bar(r, io, 12, 4), n == 1 ? 2 : 1);
		}
		write_bar(r, io, 0, 3);
		CHECK_EQ(read_bar(r, io, 1, 1), 0);
	}
}
