/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio entropy source, balloon and console (VIRTIO 1.2, 5.3 to 5.5). */
#include "chardev/chardev.h"
#include "core/state.h"
#include "tests/lib/vdriver.h"

#define BUFFER VD_BUFFERS

static void offer_in(struct rig *r, unsigned queue, uint16_t n, uint32_t addr, uint32_t len)
{
	vd_put_desc(r, vd_table(queue), n, addr, len, VD_WRITE, 0);
	vd_offer(r, queue, n);
}

static void offer_out(struct rig *r, unsigned queue, uint16_t n, uint32_t addr, uint32_t len)
{
	vd_put_desc(r, vd_table(queue), n, addr, len, 0, 0);
	vd_offer(r, queue, n);
}

BENCH(rng_fills_buffers_and_keeps_to_its_rate)
{
	uint8_t a[64], b[64];

	device_add_global("virtio-rng-pci.period=1000", NULL);
	vd_add(r, "virtio-rng-pci", "max-bytes", "100");
	vd_start(r, 0, 1);
	offer_in(r, 0, 0, BUFFER, 64);
	CHECK_EQ(vd_used(r, 0), 1);
	CHECK_EQ(vd_used_len(r, 0), 64);
	vd_get_bytes(r, BUFFER, a, 64);
	offer_in(r, 0, 1, BUFFER, 64);
	CHECK_EQ(vd_used_len(r, 0), 36); /* what is left of this second */
	offer_in(r, 0, 2, BUFFER, 64);
	CHECK_EQ(vd_used(r, 0), 2);
	rig_step(r, 999000000);
	CHECK_EQ(vd_used(r, 0), 2);
	rig_step(r, 2000000);
	CHECK_EQ(vd_used(r, 0), 3);
	vd_get_bytes(r, BUFFER, b, 64);
	CHECK(memcmp(a, b, 64));
}

static void balloon(struct rig *r, uint64_t features, unsigned queues)
{
	vd_add(r, "virtio-balloon-pci", "free-page-reporting", "on");
	vd_start(r, features, queues);
}

BENCH(balloon_takes_and_tells)
{
	uint64_t ram = machine_find_ram(&r->m, "pc.ram")->size;

	balloon(r, 0, 2);
	CHECK_EQ(rig_read(r, VD_CONFIG(0), 4), 0);
	r->m.balloon->set_target(r->m.balloon->opaque, ram - 16 * MIB);
	CHECK_EQ(rig_read(r, VD_CONFIG(0), 4), 4096);
	CHECK_EQ(rig_read(r, VD_MODERN + 0x1000, 1) & 2, 2); /* ISR: configuration */
	rig_write(r, 0x500000, 0x12345678, 4);
	rig_write(r, 0x501000, 0x12345678, 4);
	rig_write(r, BUFFER, 0x500, 4);
	rig_write(r, BUFFER + 4, 0xfffff000, 4); /* no memory: nothing happens */
	offer_out(r, 0, 0, BUFFER, 8);
	CHECK_EQ(vd_used(r, 0), 1);
	CHECK_EQ(rig_read(r, 0x500000, 4), 0);
	CHECK_EQ(rig_read(r, 0x501000, 4), 0x12345678);
	rig_write(r, VD_CONFIG(4), 1, 4);
	CHECK_EQ(r->m.balloon->actual(r->m.balloon->opaque), ram - 4096);
	offer_out(r, 1, 0, BUFFER, 4);
	CHECK_EQ(vd_used(r, 1), 1);
}

BENCH(balloon_takes_reported_pages)
{
	balloon(r, BIT64(1) | BIT64(5), 4);
	rig_write(r, 0x500000, 0x12345678, 4);
	rig_write(r, 0x5fff00, 0x12345678, 4);
	rig_write(r, 0x600000, 0x12345678, 4);
	offer_in(r, 3, 0, 0x500000, 0x100000);
	CHECK_EQ(rig_read(r, 0x500000, 4), 0);
	CHECK_EQ(rig_read(r, 0x5fff00, 4), 0);
	CHECK_EQ(rig_read(r, 0x600000, 4), 0x12345678);
	/* Half a page is left alone. */
	rig_write(r, 0x500800, 0x12345678, 4);
	offer_in(r, 3, 1, 0x500800, 0x800);
	CHECK_EQ(rig_read(r, 0x500800, 4), 0x12345678);
}

/* The statistics' buffer is the device's until it wants new ones, also over a save. */
BENCH(balloon_statistics)
{
	GByteArray *saved = g_byte_array_new();
	uint64_t stats[BALLOON_STATS];
	GError *err = NULL;

	device_add_global("virtio-balloon-pci.guest-stats-polling-interval=2", NULL);
	balloon(r, BIT64(1), 3);
	rig_write(r, BUFFER, 4, 2);
	rig_write(r, BUFFER + 2, 123456, 4);
	rig_write(r, BUFFER + 6, 0, 4);
	rig_write(r, BUFFER + 10, 77, 2); /* a tag of the future */
	offer_out(r, 2, 0, BUFFER, 20);
	r->m.balloon->stats(r->m.balloon->opaque, stats);
	CHECK_EQ(stats[4], 123456);
	CHECK_EQ(stats[5], UINT64_MAX);
	CHECK_EQ(vd_used(r, 2), 0);
	machine_save(&r->m, saved);
	if (!machine_load(&r->m, saved->data, saved->len, &err))
		test_fail(__FILE__, __LINE__, "%s", err->message);
	rig_step(r, 2100000000);
	CHECK_EQ(vd_used(r, 2), 1);
	offer_out(r, 2, 0, BUFFER, 20);
	offer_out(r, 2, 1, BUFFER, 20);
	CHECK_EQ(vd_status(r) & VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET);
	g_byte_array_unref(saved);
}

/* A packed ring's place may be somebody else's by then: the chain is known by what it was. */
BENCH(balloon_statistics_of_a_packed_ring)
{
	const uint32_t d = vd_table(2);
	GByteArray *saved = g_byte_array_new();
	GError *err = NULL;

	device_add_global("virtio-balloon-pci.packed=on", NULL);
	device_add_global("virtio-balloon-pci.guest-stats-polling-interval=2", NULL);
	balloon(r, BIT64(1) | BIT64(VIRTIO_F_RING_PACKED), 3);
	vd_put_desc(r, d, 0, BUFFER, 10, 0, 0);
	vd_put_desc(r, d, 1, BUFFER + 10, 10, 0, 0);
	rig_write(r, d + 12, 7 | 0x81u << 16, 4); /* two descriptors, of buffer 7 */
	rig_write(r, d + 28, 7 | 0x80u << 16, 4);
	vd_kick(r, 2);
	machine_save(&r->m, saved);
	for (unsigned i = 0; i < 32; i += 4)
		rig_write(r, d + i, 0xffffffff, 4);
	if (!machine_load(&r->m, saved->data, saved->len, &err))
		test_fail(__FILE__, __LINE__, "%s", err->message);
	for (unsigned i = 0; i < 32; i += 4)
		rig_write(r, d + i, 0, 4);
	rig_step(r, 2100000000);
	CHECK_EQ(rig_read(r, d + 12, 4), 7 | 0x8080u << 16);
	/* The next place is the third. */
	vd_put_desc(r, d, 2, BUFFER, 20, 0, 0);
	rig_write(r, d + 44, 3 | 0x80u << 16, 4);
	vd_kick(r, 2);
	rig_step(r, 2100000000);
	CHECK_EQ(rig_read(r, d + 44, 4), 3 | 0x8080u << 16);
	g_byte_array_unref(saved);
}

/* A console at port 0, a named port at 1. */
static void serial(struct rig *r)
{
	struct device *d;

	CHECK(chr_new(NULL, "ringbuf,id=con", NULL));
	CHECK(chr_new(NULL, "ringbuf,id=port", NULL));
	vd_add(r, "virtio-serial-pci", NULL, NULL);
	d = device_new(&r->m, device_find("virtconsole", NULL), NULL);
	CHECK(device_set(d, "chardev", "con", NULL));
	CHECK(device_realize(d, machine_find_bus(&r->m, "virtio-serial-bus", NULL), NULL));
	d = device_new(&r->m, device_find("virtserialport", NULL), NULL);
	CHECK(device_set(d, "chardev", "port", NULL) && device_set(d, "name", "org.moa", NULL));
	CHECK(device_realize(d, machine_find_bus(&r->m, "virtio-serial-bus", NULL), NULL));
}

static void check_output(const char *id, const char *text)
{
	char b[64] = { 0 };
	struct chardev *c = chr_find(id);

	CHECK_EQ(c->ops->read_back(c, (uint8_t *)b, sizeof(b) - 1), strlen(text));
	CHECK_STR(b, text);
}

BENCH(console_without_ports)
{
	serial(r);
	vd_start(r, 0, 2);
	vd_put_bytes(r, BUFFER, "hello", 5);
	offer_out(r, 1, 0, BUFFER, 5);
	check_output("con", "hello");
	CHECK_EQ(chr_input_room(chr_find("con")), 0);
	offer_in(r, 0, 0, BUFFER, 16);
	CHECK(chr_input_room(chr_find("con")));
	chr_input(chr_find("con"), (const uint8_t *)"typed", 5);
	CHECK_EQ(vd_used_len(r, 0), 5);
	CHECK_EQ(rig_read(r, BUFFER, 4), 0x65707974);
	/* Before there is a driver. */
	rig_write(r, VD_CONFIG(8), '!', 4);
	check_output("con", "!");
}

static void send_control(struct rig *r, uint32_t port, uint16_t event, uint16_t value)
{
	rig_write(r, BUFFER, port, 4);
	rig_write(r, BUFFER + 4, event | (uint32_t)value << 16, 4);
	offer_out(r, 3, 0, BUFFER, 8);
}

/* The next control message, which must be this one. */
static void expect_control(struct rig *r, uint16_t n, uint32_t port, uint32_t event)
{
	CHECK_EQ(vd_used(r, 2), n);
	CHECK_EQ(rig_read(r, BUFFER + 0x1000, 4), port);
	CHECK_EQ(rig_read(r, BUFFER + 0x1004, 4), event);
	if (n < 12)
		offer_in(r, 2, 0, BUFFER + 0x1000, 64);
}

BENCH(console_ports_are_told_and_opened)
{
	char name[8] = { 0 };

	serial(r);
	vd_start(r, BIT64(1), 6);
	offer_in(r, 2, 0, BUFFER + 0x1000, 64);
	send_control(r, UINT32_MAX, 0, 1);
	expect_control(r, 1, 0, 1 | 1 << 16);
	expect_control(r, 2, 1, 1 | 1 << 16);
	send_control(r, 0, 3, 1);
	expect_control(r, 3, 0, 4 | 1 << 16); /* it is a console */
	expect_control(r, 4, 0, 6 | 1 << 16);
	send_control(r, 1, 3, 1);
	CHECK_EQ(vd_used(r, 2), 5);
	vd_get_bytes(r, BUFFER + 0x1008, name, 7);
	CHECK_STR(name, "org.moa");
	expect_control(r, 5, 1, 7 | 1 << 16);
	/* Input waits until the guest has opened the port. */
	offer_in(r, 4, 0, BUFFER + 0x2000, 64);
	CHECK_EQ(chr_input_room(chr_find("port")), 0);
	send_control(r, 1, 6, 1);
	CHECK(chr_input_room(chr_find("port")));
	vd_put_bytes(r, BUFFER + 0x3000, "ab", 2);
	offer_out(r, 5, 0, BUFFER + 0x3000, 2);
	check_output("port", "ab");
	send_control(r, 9, 6, 1); /* no such port */
	CHECK_EQ(vd_status(r), 15);
}
