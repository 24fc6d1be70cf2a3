/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APIC, ours and the kernel's. Sections are those of Intel SDM 3, chapter 11. */
#include "tests/lib/rig.h"

#define REG(off) (LAPIC_BASE + (off))

static uint32_t get(struct rig *r, unsigned off)
{
	return rig_read(r, REG(off), 4);
}

static void set(struct rig *r, unsigned off, uint32_t v)
{
	rig_write(r, REG(off), v, 4);
}

static void enable(struct rig *r)
{
	outb(r, 0x21, 0xff); /* the PIC is not what is looked at */
	set(r, 0xf0, 0x1ff);
}

static struct lapic *bsp(struct rig *r)
{
	return r->pc->apics.lapics[0];
}

BOTH(lapic_reset_values)
{
	CHECK_EQ(get(r, 0x20), 0);
	CHECK_EQ(get(r, 0x30) & 0xff, 0x14);
	CHECK(get(r, 0x30) >> 16 >= 4);
	CHECK_EQ(get(r, 0x80), 0);
	CHECK_EQ(get(r, 0xd0), 0);
	CHECK_EQ(get(r, 0xe0), 0xffffffff);
	CHECK_EQ(get(r, 0xf0), 0xff);
	CHECK_EQ(get(r, 0x320), 0x10000);
	CHECK_EQ(get(r, 0x370), 0x10000);
	CHECK_EQ(get(r, 0x380), 0);
}

BOTH(lapic_writable_bits)
{
	enable(r);
	set(r, 0xd0, 0xffffffff);
	CHECK_EQ(get(r, 0xd0), 0xff000000);
	set(r, 0xe0, 0);
	CHECK_EQ(get(r, 0xe0), 0x0fffffff);
	set(r, 0x80, 0xffffffff);
	CHECK_EQ(get(r, 0x80), 0xff);
	CHECK_EQ(get(r, 0xa0), 0xff);
	set(r, 0x80, 0);
	set(r, 0x3e0, 0xffffffff);
	CHECK_EQ(get(r, 0x3e0), 0xb);
	set(r, 0x310, 0x12345678);
	CHECK_EQ(get(r, 0x310), 0x12000000);
}

/* 11.4.7.2: disabling by software masks the LVT. */
BOTH(lapic_software_disable_masks_the_lvt)
{
	enable(r);
	set(r, 0x320, 0x40);
	CHECK_EQ(get(r, 0x320), 0x40);
	set(r, 0xf0, 0xff);
	CHECK_EQ(get(r, 0x320), 0x10040);
	set(r, 0x320, 0x41);
	CHECK_EQ(get(r, 0x320), 0x10041);
}

/* 11.6.1: an IPI to self lands in IRR. */
BOTH(lapic_self_ipi)
{
	enable(r);
	set(r, 0x300, 0x40000 | 0x61);
	CHECK_EQ(get(r, 0x200 + 3 * 16), 1u << 1);
	CHECK_EQ(get(r, 0x300) & 0x1000, 0);
}

/* 11.5.3: illegal vectors are errors, told after a write to ESR. */
BOTH(lapic_illegal_vector)
{
	enable(r);
	set(r, 0x280, 0);
	set(r, 0x300, 0x40000 | 0x05);
	set(r, 0x280, 0);
	if (!rig_user(r) && !get(r, 0x280))
		test_skip("this kernel's APIC does not report send-illegal-vector");
	CHECK(get(r, 0x280) & 0x60);
}

/* 11.5.4: divider and counting down. */
BENCH(lapic_timer_one_shot)
{
	enable(r);
	set(r, 0x3e0, 0xb); /* by 1 */
	set(r, 0x320, 0x70);
	set(r, 0x380, 1000);
	rig_step(r, 400);
	CHECK_EQ(get(r, 0x390), 600);
	rig_step(r, 599);
	CHECK_EQ(rig_ack(r), -1);
	rig_step(r, 1);
	CHECK_EQ(get(r, 0x390), 0);
	CHECK_EQ(rig_ack(r), 0x70);
	set(r, 0xb0, 0);
	rig_step(r, 10000);
	CHECK_EQ(rig_ack(r), -1);
	for (unsigned code = 0; code < 8; code++) {
		static const unsigned divider[] = { 2, 4, 8, 16, 32, 64, 128, 1 };

		set(r, 0x3e0, (code & 3) | (code & 4) << 1);
		set(r, 0x380, 1000);
		rig_step(r, 100 * (int64_t)divider[code]);
		CHECK_EQ(get(r, 0x390), 900);
	}
}

BOTH(lapic_timer_counts_down)
{
	uint32_t first, second;

	enable(r);
	set(r, 0x3e0, 0xa); /* by 128 */
	set(r, 0x320, 0x10070);
	set(r, 0x380, 0xffffffff);
	first = get(r, 0x390);
	rig_step(r, 1000000);
	second = get(r, 0x390);
	CHECK(second < first && first - second >= 1000000 / 128 - 1);
	set(r, 0x380, 0);
	CHECK_EQ(get(r, 0x390), 0);
}

BENCH(lapic_timer_periodic)
{
	int n = 0;

	enable(r);
	set(r, 0x3e0, 0xb);
	set(r, 0x320, 0x20070);
	set(r, 0x380, 100000);
	for (int i = 0; i < 100; i++) {
		rig_step(r, 50000);
		if (rig_ack(r) == 0x70) {
			n++;
			set(r, 0xb0, 0);
		}
	}
	CHECK_EQ(n, 50);
}

/* 11.5.4.1: TSC-deadline mode. The bench's TSC runs at 1 GHz with the VM clock. */
BENCH(lapic_tsc_deadline)
{
	uint64_t v;

	enable(r);
	set(r, 0x320, 0x40070);
	set(r, 0x380, 1000);
	CHECK_EQ(get(r, 0x390), 0);
	CHECK(lapic_msr_write(bsp(r), 0x6e0, (uint64_t)clock_ns(vm_clock(&r->m)) + 5000));
	rig_step(r, 4999);
	CHECK_EQ(rig_ack(r), -1);
	rig_step(r, 1);
	CHECK_EQ(rig_ack(r), 0x70);
	CHECK(lapic_msr_read(bsp(r), 0x6e0, &v) && v == 0);
	/* Zero disarms; leaving the mode too. */
	lapic_msr_write(bsp(r), 0x6e0, (uint64_t)clock_ns(vm_clock(&r->m)) + 5000);
	lapic_msr_write(bsp(r), 0x6e0, 0);
	set(r, 0xb0, 0);
	rig_step(r, 10000);
	CHECK_EQ(rig_ack(r), -1);
}

/* 11.8.3: the task and processor priorities hold interrupts back. */
BENCH(lapic_priorities)
{
	enable(r);
	set(r, 0x80, 0x60);
	set(r, 0x300, 0x40000 | 0x6f);
	CHECK_EQ(rig_ack(r), -1);
	set(r, 0x300, 0x40000 | 0x71);
	CHECK_EQ(rig_ack(r), 0x71);
	CHECK_EQ(get(r, 0xa0), 0x70);
	set(r, 0x80, 0);
	CHECK_EQ(rig_ack(r), -1); /* 6Fh is below 71h in service */
	set(r, 0x300, 0x40000 | 0x82);
	CHECK_EQ(rig_ack(r), 0x82);
	set(r, 0xb0, 0);
	set(r, 0xb0, 0);
	CHECK_EQ(rig_ack(r), 0x6f);
}

/* 11.12: x2APIC mode by MSR, and the ways into and out of it. */
BENCH(lapic_x2apic_modes)
{
	struct lapic *d = bsp(r);
	uint64_t v;

	CHECK(!lapic_msr_read(d, 0x802, &v));
	CHECK(!lapic_set_base(d, LAPIC_BASE | APIC_BASE_EXTD));
	CHECK(lapic_set_base(d, LAPIC_BASE | APIC_BASE_ENABLE | APIC_BASE_EXTD | APIC_BASE_BSP));
	CHECK(lapic_msr_read(d, 0x802, &v) && v == 0);
	CHECK(lapic_msr_read(d, 0x80d, &v) && v == 1);
	CHECK(!lapic_msr_write(d, 0x802, 1) && !lapic_msr_write(d, 0x80d, 1));
	CHECK(!lapic_msr_read(d, 0x80e, &v) && !lapic_msr_read(d, 0x831, &v));
	CHECK(lapic_msr_write(d, 0x80f, 0x1ff));
	CHECK(lapic_msr_write(d, 0x83f, 0x91)); /* self IPI */
	CHECK_EQ(lapic_ack(d), 0x91);
	CHECK(!lapic_msr_write(d, 0x80b, 1)); /* EOI takes only 0 */
	CHECK(lapic_msr_write(d, 0x80b, 0));
	CHECK(!lapic_msr_write(d, 0x808, UINT64_C(1) << 32));
	CHECK(!lapic_set_base(d, LAPIC_BASE | APIC_BASE_ENABLE)); /* not straight back */
	CHECK(lapic_set_base(d, LAPIC_BASE));
	CHECK(lapic_set_base(d, LAPIC_BASE | APIC_BASE_ENABLE));
}

static void four_cpus(struct pc_config *c)
{
	c->smp = (struct x86_topology) { 4, 4, 1, 1, 4 };
}

static unsigned pending(struct rig *r, unsigned cpu, unsigned vector)
{
	const struct lapic *d = r->pc->apics.lapics[cpu];

	return load_le(d->s.regs + 0x200 + (vector >> 5) * 16, 4) >> (vector & 31) & 1;
}

TEST(lapic_ipi_destinations)
{
	struct rig *r = rig_new_config(RIG_USER, four_cpus);

	for (unsigned i = 0; i < 4; i++) {
		vcpu_set_current(&r->pc->cpus[i]->vcpu);
		set(r, 0xf0, 0x1ff);
		set(r, 0xd0, 1u << (24 + i));
	}
	vcpu_set_current(&r->pc->cpus[0]->vcpu);
	set(r, 0x310, 2u << 24);
	set(r, 0x300, 0x4041); /* physical, to 2 */
	CHECK(pending(r, 2, 0x41) && !pending(r, 0, 0x41) && !pending(r, 1, 0x41));
	set(r, 0x310, 0x0a000000);
	set(r, 0x300, 0x4842); /* logical flat, to 1 and 3 */
	CHECK(pending(r, 1, 0x42) && pending(r, 3, 0x42) && !pending(r, 2, 0x42));
	set(r, 0x300, 0x84043); /* all including self */
	for (unsigned i = 0; i < 4; i++)
		CHECK(pending(r, i, 0x43));
	set(r, 0x300, 0xc4044); /* all but self */
	CHECK(!pending(r, 0, 0x44) && pending(r, 1, 0x44) && pending(r, 3, 0x44));
	/* Lowest priority: one of those, with the least priority. */
	vcpu_set_current(&r->pc->cpus[1]->vcpu);
	set(r, 0x80, 0x20);
	vcpu_set_current(&r->pc->cpus[0]->vcpu);
	set(r, 0x310, 0x0a000000);
	set(r, 0x300, 0x4945);
	CHECK_EQ(pending(r, 3, 0x45) + pending(r, 1, 0x45), 1);
	/* Cluster model: DFR 0, cluster 1, members 1 and 2. */
	for (unsigned i = 0; i < 4; i++) {
		vcpu_set_current(&r->pc->cpus[i]->vcpu);
		set(r, 0xe0, 0x0fffffff);
		set(r, 0xd0, (i < 2 ? 0x10u : 0x20u) << 24 | 1u << (24 + i % 2));
	}
	set(r, 0x310, 0x13000000);
	set(r, 0x300, 0x4846);
	CHECK(pending(r, 0, 0x46) && pending(r, 1, 0x46) && !pending(r, 2, 0x46));
	/* INIT and SIPI post to the processor; a second SIPI is ignored. */
	set(r, 0x310, 3u << 24);
	set(r, 0x300, 0x4500);
	CHECK(r->pc->cpus[3]->vcpu.events & EV_INIT);
	set(r, 0x300, 0x4609);
	CHECK(r->pc->cpus[3]->vcpu.events & EV_SIPI);
	CHECK_EQ(r->pc->cpus[3]->vcpu.sipi_vector, 9);
	set(r, 0x300, 0x460a);
	CHECK_EQ(r->pc->cpus[3]->vcpu.sipi_vector, 9);
	/* A SIPI that comes before its INIT was taken is kept. */
	x86_cpu_init(r->pc->cpus[3]);
	CHECK(r->pc->cpus[3]->vcpu.events & EV_SIPI);
	CHECK_EQ(r->pc->cpus[3]->vcpu.sipi_vector, 9);
	set(r, 0x300, 0x4400);
	CHECK(r->pc->cpus[3]->vcpu.events & EV_NMI);
	rig_free(r);
}

/* 11.11: a write of the message's data to its address. */
BENCH(lapic_msi)
{
	enable(r);
	space_write_le(&r->m.mem, 0xfee00000, 0x55, 4);
	CHECK_EQ(rig_ack(r), 0x55);
	set(r, 0xb0, 0);
	space_write_le(&r->m.mem, 0xfee01000, 0x56, 4); /* to APIC 1: there is none */
	CHECK_EQ(rig_ack(r), -1);
}

/* LINT0 as ExtINT: the PIC's vector comes through. */
BENCH(lapic_virtual_wire)
{
	outb(r, 0x20, 0x11);
	outb(r, 0x21, 0x30);
	outb(r, 0x21, 4);
	outb(r, 0x21, 1);
	enable(r);
	outb(r, 0x21, 0xef);
	rig_gsi(r, 4, 1);
	CHECK_EQ(rig_ack(r), 0x34);
	CHECK_EQ(rig_ack(r), -1);
	outb(r, 0x20, 0x20);
	rig_gsi(r, 4, 0);
	set(r, 0x350, 0x10700); /* masked: no more */
	rig_gsi(r, 4, 1);
	CHECK_EQ(rig_ack(r), -1);
}

/* Linux msr.rst, MSR_KVM_EOI_EN: the guest ends an interrupt by clearing a bit in its memory. */
#define EOI_WORD 0x5000
static int ack(struct rig *r)
{
	return bsp(r)->intc.ack(bsp(r));
}

static uint32_t eoi_word(struct rig *r)
{
	return (uint32_t)space_read_le(&r->m.mem, EOI_WORD, 4);
}

static void begin_pv_eoi(struct rig *r)
{
	enable(r);
	vcpu_set_current(bsp(r)->vcpu);
	space_write_le(&r->m.mem, EOI_WORD, 0, 4);
	bsp(r)->intc.pv_eoi(bsp(r), EOI_WORD);
}

BENCH(lapic_pv_eoi_is_taken)
{
	begin_pv_eoi(r);
	set(r, 0x300, 0x40000 | 0x61);
	CHECK_EQ(ack(r), 0x61);
	CHECK_EQ(eoi_word(r), 1);
	space_write_le(&r->m.mem, EOI_WORD, 0, 4);
	CHECK_EQ(get(r, 0x100 + 3 * 16), 0); /* ISR */
	set(r, 0x300, 0x40000 | 0x61);
	CHECK_EQ(ack(r), 0x61);
	bsp(r)->intc.pv_eoi(bsp(r), 0);
	vcpu_set_current(NULL);
}

/* The guest has not ended it when something else comes: it is asked to write the register. */
BENCH(lapic_pv_eoi_is_withdrawn)
{
	begin_pv_eoi(r);
	set(r, 0x300, 0x40000 | 0x61);
	CHECK_EQ(ack(r), 0x61);
	CHECK_EQ(eoi_word(r), 1);
	CHECK_EQ(get(r, 0x100 + 3 * 16), 1u << 1);
	CHECK_EQ(eoi_word(r), 0);
	set(r, 0xb0, 0);
	CHECK_EQ(get(r, 0x100 + 3 * 16), 0);
	vcpu_set_current(NULL);
}

/* Whoever waits behind it, or at the IOAPIC, must hear of its end. */
BENCH(lapic_pv_eoi_is_not_offered)
{
	begin_pv_eoi(r);
	set(r, 0x300, 0x40000 | 0x61);
	set(r, 0x300, 0x40000 | 0x41);
	CHECK_EQ(ack(r), 0x61);
	CHECK_EQ(eoi_word(r), 0);
	CHECK_EQ(ack(r), -1);
	set(r, 0xb0, 0);
	CHECK_EQ(ack(r), 0x41);
	CHECK_EQ(eoi_word(r), 1);
	/* A nested one: two are in service. */
	set(r, 0x300, 0x40000 | 0x71);
	CHECK_EQ(ack(r), 0x71);
	CHECK_EQ(eoi_word(r), 0);
	vcpu_set_current(NULL);
}
