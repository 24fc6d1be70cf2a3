/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PIIX4 power management (290562, ACPI 6.4 chapter 4), resets and power-off. */
#include "tests/lib/rig.h"

#define BASE 0x600

static void map_pm(struct rig *r)
{
	rig_pci_write(r, 1, 3, 0x40, BASE | 1, 4);
	rig_pci_write(r, 1, 3, 0x80, 1, 1);
}

BENCH(pm_base_moves)
{
	CHECK_EQ(rig_in(r, BASE + 8, 4), 0xffffffff);
	map_pm(r);
	CHECK_EQ(rig_pci_read(r, 1, 3, 0x40, 4), BASE | 1);
	CHECK(rig_in(r, BASE + 8, 4) <= 0xffffff);
	rig_pci_write(r, 1, 3, 0x40, 0xb001, 4);
	CHECK_EQ(rig_in(r, BASE + 8, 4), 0xffffffff);
	CHECK(rig_in(r, 0xb008, 4) <= 0xffffff);
	rig_pci_write(r, 1, 3, 0x80, 0, 1);
	CHECK_EQ(rig_in(r, 0xb008, 4), 0xffffffff);
}

/* 24 bits at 3.579545 MHz (ACPI 4.8.3.3). */
BENCH(pm_timer)
{
	map_pm(r);
	CHECK_EQ(rig_in(r, BASE + 8, 4), 0);
	rig_step(r, NS_PER_SEC);
	CHECK_EQ(rig_in(r, BASE + 8, 4), 3579545);
	rig_step(r, 4 * NS_PER_SEC);
	CHECK_EQ(rig_in(r, BASE + 8, 4), 5 * 3579545 & 0xffffff);
}

static int sci;

static void see_sci(void *opaque, int n, int level)
{
	(void)opaque;
	(void)n;
	sci = level;
}

/* TMR_STS sets when bit 23 changes (4.8.3.1). */
BENCH(pm_timer_overflow)
{
	map_pm(r);
	irq_connect(&r->pc->pm->sci, (struct irq) { see_sci, NULL, 0 });
	rig_out(r, BASE + 2, 1, 2);
	rig_out(r, BASE + 4, 1, 2);
	rig_step(r, 2 * NS_PER_SEC);
	CHECK(!sci);
	rig_step(r, NS_PER_SEC / 2);
	CHECK(sci);
	CHECK_EQ(rig_in(r, BASE, 2), 1);
	rig_out(r, BASE, 1, 2);
	CHECK(!sci);
	rig_step(r, 5 * NS_PER_SEC / 2);
	CHECK(sci);
}

BENCH(pm_power_button)
{
	map_pm(r);
	irq_connect(&r->pc->pm->sci, (struct irq) { see_sci, NULL, 0 });
	rig_out(r, BASE + 2, 0x100, 2);
	machine_request(&r->m, REQ_POWERDOWN);
	CHECK(machine_handle_requests(&r->m));
	CHECK_EQ(rig_in(r, BASE, 2), 0x100);
	CHECK(!sci); /* SCI_EN is not set */
	outb(r, 0xb2, 0xf1);
	CHECK_EQ(rig_in(r, BASE + 4, 2), 1);
	CHECK(sci);
	rig_out(r, BASE, 0x100, 2);
	CHECK(!sci);
	outb(r, 0xb2, 0xf0);
	CHECK_EQ(rig_in(r, BASE + 4, 2), 0);
}

BENCH(pm_power_off)
{
	map_pm(r);
	rig_out(r, BASE + 4, 0x2000, 2); /* SLP_EN, type 0: S5 */
	CHECK(!machine_handle_requests(&r->m));
	CHECK(r->m.quit);
}

BENCH(pm_no_shutdown_stops_instead)
{
	r->m.no_shutdown = true;
	map_pm(r);
	rig_out(r, BASE + 4, 0x2000, 2);
	CHECK(machine_handle_requests(&r->m));
	CHECK_EQ(r->m.state, RUN_SHUTDOWN);
}

BENCH(pm_gpe_stores)
{
	outb(r, 0xafe2, 0xaa);
	outb(r, 0xafe3, 0x55);
	CHECK_EQ(rig_in(r, 0xafe2, 2), 0x55aa);
}

static bool resets(struct rig *r)
{
	unsigned req = r->m.requests;

	r->m.requests = 0;
	return req & REQ_RESET;
}

BENCH(resets_by_cf9_92_and_64)
{
	outb(r, 0xcf9, 0x02);
	CHECK(!resets(r));
	outb(r, 0xcf9, 0x06);
	CHECK(resets(r));
	CHECK_EQ(inb(r, 0xcf9), 0x02);
	outb(r, 0x92, 0x03);
	CHECK(resets(r));
	outb(r, 0x92, 0x03);
	CHECK(!resets(r)); /* only its rise */
	outb(r, 0x64, 0xfe);
	CHECK(resets(r));
	outb(r, 0x64, 0xd1);
	outb(r, 0x60, 0x02);
	CHECK(resets(r));
}

BENCH(no_reboot_ends)
{
	r->m.no_reboot = true;
	outb(r, 0xcf9, 0x06);
	CHECK(!machine_handle_requests(&r->m));
}

/* Reset clears what the guest set up. */
BENCH(reset_puts_everything_back)
{
	g_autoptr(GByteArray) before = g_byte_array_new(), after = g_byte_array_new();

	machine_save(&r->m, before);
	map_pm(r);
	outb(r, 0x43, 0x14);
	outb(r, 0x21, 0xff);
	rig_pci_write(r, 0, 0, 0x5a, 0x33, 1);
	outb(r, 0x3f9, 5);
	rig_write(r, LAPIC_BASE + 0xf0, 0x1ff, 4);
	rig_write(r, HPET_BASE + 0x10, 1, 4);
	outb(r, 0x64, 0x60);
	outb(r, 0x60, 0x65);
	machine_reset(&r->m);
	machine_save(&r->m, after);
	CHECK_EQ(after->len, before->len);
	CHECK(!memcmp(after->data, before->data, before->len));
}
