/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The KVM engine, with the mailbox guest: state both ways, pending I/O, slots and dirty log,
 * read-only memory, coalesced writes, messages, irqfd and ioeventfd, MSRs, CPUID, NMI, the clock,
 * the save of a running machine. Every irqchip mode boots.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "accel/kvm/kvm.h"
#include "core/state.h"
#include "tests/lib/rig.h"

#define KVM(id)                                                                                    \
	static void body_##id(struct rig *r);                                                      \
	TEST(id)                                                                                   \
	{                                                                                          \
		struct rig *r = rig_new(RIG_KERNEL);                                               \
		body_##id(r);                                                                      \
		rig_free(r);                                                                       \
	}                                                                                          \
	static void body_##id(struct rig *r)

static struct x86_cpu *cpu0(struct rig *r)
{
	return r->pc->cpus[0];
}

KVM(registers_go_both_ways)
{
	struct x86_cpu *cpu = cpu0(r);
	uint64_t dr0;

	rig_in(r, 0x80, 1); /* the guest is in protected mode by now */
	machine_stop(&r->m, RUN_PAUSED);
	vcpu_sync(&cpu->vcpu, VS_ALL);
	CHECK_EQ(cpu->cr0 & 1, 1);
	CHECK_EQ(cpu->seg[SEG_CS].selector, 8);
	CHECK_EQ(cpu->seg[SEG_CS].rights & 0xffff, 0xc09b);
	CHECK_EQ(cpu->mp_state, MP_RUNNABLE);
	cpu->gpr[RBP] = 0x1234567;
	cpu->dr[0] = 0x8888;
	store_le(cpu->xsave + 160, 0x1122334455667788, 8);
	cpu->xsave[512] |= 2; /* XSTATE_BV: SSE is not in its initial state any more */
	vcpu_modified(&cpu->vcpu, VS_REGS | VS_DEBUG | VS_FPU);
	machine_start(&r->m);
	rig_in(r, 0x80, 1); /* it runs on, with our values */
	machine_stop(&r->m, RUN_PAUSED);
	vcpu_sync(&cpu->vcpu, VS_ALL);
	dr0 = cpu->dr[0];
	CHECK_EQ(cpu->gpr[RBP], 0x1234567);
	CHECK_EQ(dr0, 0x8888);
	CHECK_EQ(load_le(cpu->xsave + 160, 8), 0x1122334455667788);
}

KVM(a_stop_finishes_the_io_instruction)
{
	/* Stopped again and again inside the mailbox's IN loop: the guest must never lose a value.
	 */
	for (int i = 0; i < 300; i++) {
		machine_stop(&r->m, RUN_PAUSED);
		vcpu_sync(&cpu0(r)->vcpu, VS_ALL);
		machine_start(&r->m);
		rig_out(r, 0x80, (uint32_t)i & 0xff, 1);
		CHECK_EQ(rig_in(r, 0x80, 1), (uint32_t)i & 0xff);
	}
}

KVM(stop_and_cont_a_thousand_times)
{
	for (int i = 0; i < 1000; i++) {
		machine_stop(&r->m, RUN_PAUSED);
		machine_start(&r->m);
	}
	CHECK_EQ(rig_in(r, 0x92, 1), 2);
}

KVM(memory_and_dirty_log)
{
	struct ram_block *ram = machine_find_ram(&r->m, "pc.ram");
	uint32_t v = 7;

	rig_write(r, 0x300000, 0xdeadbeef, 4);
	CHECK_EQ(load_le(ram->host + 0x300000, 4), 0xdeadbeef);
	ram_track(&r->m.mem, ram, DIRTY_MIGRATION, true);
	ram_sync_dirty(&r->m.mem, ram);
	for (uint64_t off = 0; off < ram->size; off += 4096)
		ram_test_clear_dirty(ram, DIRTY_MIGRATION, off);
	rig_write(r, 0x345678 & ~3u, 1, 4);	 /* the guest's write */
	space_write(&r->m.mem, 0x456000, &v, 4); /* ours */
	ram_sync_dirty(&r->m.mem, ram);
	CHECK(ram_test_clear_dirty(ram, DIRTY_MIGRATION, 0x345000));
	CHECK(ram_test_clear_dirty(ram, DIRTY_MIGRATION, 0x456000));
	ram_sync_dirty(&r->m.mem, ram);
	CHECK(!ram_test_clear_dirty(ram, DIRTY_MIGRATION, 0x345000)); /* getting clears */
	CHECK(!ram_test_clear_dirty(ram, DIRTY_MIGRATION, 0x700000));
}

KVM(rom_is_read_only_and_pam_remaps)
{
	uint32_t first = rig_read(r, 0xfffff000, 4);

	rig_write(r, 0xfffff000, ~first, 4);
	CHECK_EQ(rig_read(r, 0xfffff000, 4), first);
	rig_write(r, 0xd0000, 0x55, 4);
	CHECK_EQ(rig_read(r, 0xd0000, 4), 0xffffffff);
	rig_pci_write(r, 0, 0, 0x5c, 0x03, 1);
	rig_write(r, 0xd0000, 0x55aa55aa, 4);
	CHECK_EQ(rig_read(r, 0xd0000, 4), 0x55aa55aa);
	rig_pci_write(r, 0, 0, 0x5c, 0x01, 1);
	rig_write(r, 0xd0000, 0, 4);
	CHECK_EQ(rig_read(r, 0xd0000, 4), 0x55aa55aa);
}

KVM(coalesced_port_writes_arrive_in_order)
{
	for (int i = 0; i < 500; i++)
		rig_out(r, 0x80, (uint32_t)i & 0xff, 1);
	CHECK_EQ(rig_in(r, 0x80, 1), 499 & 0xff);
}

KVM(slots_follow_what_is_laid_on_top)
{
	struct region *extra = g_new0(struct region, 1);
	struct ram_block *b = machine_ram(&r->m, "extra", 0x10000, NULL);

	region_init_ram(extra, "extra", b);
	region_add(&r->m.mem.root, 0x200000, 5, extra);
	rig_write(r, 0x200000, 0x99, 4);
	CHECK_EQ(b->host[0], 0x99);
	region_remove(extra);
	rig_write(r, 0x200000, 0x77, 4);
	CHECK_EQ(b->host[0], 0x99);
}

KVM(msi_and_irqfd_reach_the_local_apic)
{
	struct msi_message msg = { 0xfee00000, 0x61 };
	int fd = eventfd(0, EFD_CLOEXEC), handle;
	uint64_t one = 1;

	rig_write(r, LAPIC_BASE + 0xf0, 0x1ff, 4);
	space_write_le(&r->m.mem, 0xfee00000, 0x60, 4);
	CHECK_EQ(rig_read(r, LAPIC_BASE + 0x230, 4), 1);
	handle = r->accel->ops->msi_route_add(r->accel, &msg, fd);
	CHECK(handle >= 24);
	CHECK(write(fd, &one, 8) == 8);
	for (int i = 0; i < 100 && rig_read(r, LAPIC_BASE + 0x230, 4) != 3; i++)
		rig_step(r, 1000000);
	CHECK_EQ(rig_read(r, LAPIC_BASE + 0x230, 4), 3);
	msg.data = 0x62;
	r->accel->ops->msi_route_set(r->accel, handle, &msg);
	CHECK(write(fd, &one, 8) == 8);
	for (int i = 0; i < 100 && rig_read(r, LAPIC_BASE + 0x230, 4) != 7; i++)
		rig_step(r, 1000000);
	CHECK_EQ(rig_read(r, LAPIC_BASE + 0x230, 4), 7);
	r->accel->ops->msi_route_del(r->accel, handle, fd);
	/* The wires still work after the table was resent. */
	rig_write(r, 0xfec00000, 0x10 + 2 * 10, 4);
	rig_write(r, 0xfec00010, 0x63, 4);
	rig_gsi(r, 10, 1);
	CHECK_EQ(rig_read(r, LAPIC_BASE + 0x230, 4), 15);
	rig_gsi(r, 10, 0);
}

KVM(ioeventfd_takes_the_write)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t n;

	CHECK(r->accel->ops->ioeventfd(r->accel, true, 0x7000, 2, true, 0x1234, fd, true));
	rig_out(r, 0x7000, 0x1111, 2);
	CHECK(read(fd, &n, 8) < 0);
	rig_out(r, 0x7000, 0x1234, 2);
	CHECK(read(fd, &n, 8) == 8 && n == 1);
	CHECK(r->accel->ops->ioeventfd(r->accel, true, 0x7000, 2, true, 0x1234, fd, false));
	rig_out(r, 0x7000, 0x1234, 2);
	CHECK(read(fd, &n, 8) < 0);
}

KVM(nmi_is_injected)
{
	CHECK(vcpu_inject_nmi(&cpu0(r)->vcpu));
}

KVM(cpuid_and_msrs_are_the_models)
{
	struct x86_cpu *cpu = cpu0(r);
	uint64_t v;

	rig_in(r, 0x80, 1);
	machine_stop(&r->m, RUN_PAUSED);
	vcpu_sync(&cpu->vcpu, VS_ALL);
	CHECK(cpu->msr_count > 20);
	CHECK(x86_msr_find(cpu, 0x10, &v) && v > 0); /* the TSC runs */
	CHECK(x86_msr_find(cpu, 0x277, &v) && v == UINT64_C(0x0007040600070406));
	CHECK(cpu->tsc_khz > 1000);
	CHECK_EQ(x86_cpuid_find(cpu, 0x40000000, 0)->ebx, 0x4b4d564b);
}

/* Reset turns the paravirtual clock off: it must not write into the next system's memory. */
KVM(reset_zeroes_paravirtual_msrs)
{
	struct x86_cpu *cpu = cpu0(r);
	uint64_t v;

	machine_stop(&r->m, RUN_PAUSED);
	vcpu_sync(&cpu->vcpu, VS_ALL);
	if (!x86_msr_find(cpu, 0x4b564d01, &v))
		test_skip("this KVM has no kvmclock");
	x86_msr_set(cpu, 0x4b564d01, 0x5001);
	vcpu_modified(&cpu->vcpu, VS_MSRS | VS_FULL);
	machine_start(&r->m);
	rig_in(r, 0x80, 1);
	machine_stop(&r->m, RUN_PAUSED);
	vcpu_sync(&cpu->vcpu, VS_ALL);
	CHECK(x86_msr_find(cpu, 0x4b564d01, &v) && v == 0x5001);
	machine_reset(&r->m);
	machine_start(&r->m);
	rig_in(r, 0x80, 1);
	machine_stop(&r->m, RUN_PAUSED);
	vcpu_sync(&cpu->vcpu, VS_ALL);
	CHECK(x86_msr_find(cpu, 0x4b564d01, &v) && v == 0);
}

#define KVM_CPUID 0x40000000u
#define FEATURE_CLOCK BIT(0)
#define FEATURE_CLOCK2 BIT(3)
#define MSR_WALL_OLD 0x11
#define MSR_CLOCK_OLD 0x12
#define MSR_WALL 0x4b564d00
#define MSR_CLOCK 0x4b564d01

/* Bit numbers 0 and 3 of 4000_0001h say which MSRs there are. */
static uint32_t pv_features(struct rig *r)
{
	uint32_t last = rig_cpuid_eax(r, KVM_CPUID), features;

	CHECK_EQ(rig_cpuid_ebx(r, KVM_CPUID), 0x4b4d564b);
	/* Old hosts say 0 and mean 4000_0001h. */
	CHECK(last == 0 || last >= KVM_CPUID + 1);
	features = rig_cpuid_eax(r, KVM_CPUID + 1);
	if (!(features & FEATURE_CLOCK) || !(features & FEATURE_CLOCK2))
		test_skip("this KVM has no kvmclock");
	return features;
}

/* The guest's time as struct pvclock_vcpu_time_info at `at` says: shift first, then 32.32. */
static uint64_t pv_time(struct rig *r, uint32_t at)
{
	uint64_t tsc = rig_rdmsr(r, 0x10), base, since;
	int8_t shift = (int8_t)space_read_le(&r->m.mem, at + 28, 1);
	uint32_t mul = (uint32_t)space_read_le(&r->m.mem, at + 24, 4);

	CHECK_EQ(space_read_le(&r->m.mem, at, 4) & 1, 0);
	CHECK(space_read_le(&r->m.mem, at, 4) && mul);
	since = tsc - space_read_le(&r->m.mem, at + 8, 8);
	base = space_read_le(&r->m.mem, at + 16, 8);
	since = shift >= 0 ? since << shift : since >> -shift;
	return base + (uint64_t)((unsigned __int128)since * mul >> 32);
}

static void try_clock(struct rig *r, uint32_t clock, uint32_t wall)
{
	const uint32_t at = 0x5000, wall_at = 0x5100;
	uint64_t a, b, host, seconds;

	rig_wrmsr(r, clock, at | 1);
	a = pv_time(r, at);
	r->accel->ops->clock_get(r->accel, &host);
	b = pv_time(r, at);
	CHECK(a <= b && host + 100000000 > a && host < b + 100000000);
	rig_step(r, 20000000);
	CHECK(pv_time(r, at) >= b + 20000000);
	/* The wall clock is the time at which the guest's clock was 0. */
	rig_wrmsr(r, wall, wall_at);
	CHECK_EQ(space_read_le(&r->m.mem, wall_at, 4) & 1, 0);
	seconds = space_read_le(&r->m.mem, wall_at + 4, 4);
	CHECK(space_read_le(&r->m.mem, wall_at + 8, 4) < 1000000000);
	seconds += pv_time(r, at) / 1000000000;
	CHECK(seconds + 2 > (uint64_t)time(NULL) && seconds < (uint64_t)time(NULL) + 2);
	rig_wrmsr(r, clock, 0);
}

KVM(guest_reads_both_paravirtual_clocks)
{
	pv_features(r);
	try_clock(r, MSR_CLOCK_OLD, MSR_WALL_OLD);
	try_clock(r, MSR_CLOCK, MSR_WALL);
}

KVM(the_clock_stands_still_while_stopped)
{
	uint64_t a, b;
	int64_t vm;

	machine_stop(&r->m, RUN_PAUSED);
	vm = clock_ns(vm_clock(&r->m));
	r->accel->ops->clock_get(r->accel, &a);
	rig_step(r, 50000000);
	r->accel->ops->clock_get(r->accel, &b);
	CHECK_EQ(a, b);
	CHECK_EQ(clock_ns(vm_clock(&r->m)), vm);
	machine_start(&r->m);
	r->accel->ops->clock_get(r->accel, &b);
	CHECK(b >= a && b < a + 40000000);
}

/* A bad control register: the VM stops in internal-error, and everything else lives. */
KVM(a_failed_entry_stops_the_vm_only)
{
	struct x86_cpu *cpu = cpu0(r);

	machine_stop(&r->m, RUN_PAUSED);
	vcpu_sync(&cpu->vcpu, VS_ALL);
	cpu->rip = 0xdead0000; /* nothing is there: the emulator cannot fetch */
	cpu->seg[SEG_CS].base = 0;
	vcpu_modified(&cpu->vcpu, VS_REGS | VS_SREGS);
	machine_start(&r->m);
	for (int i = 0; i < 2000 && !__atomic_load_n(&r->m.requests, __ATOMIC_ACQUIRE); i++)
		rig_step(r, 1000000);
	if (!(__atomic_load_n(&r->m.requests, __ATOMIC_ACQUIRE) & (REQ_ERROR | REQ_RESET)))
		test_skip("this KVM goes on fetching from nowhere");
	if (__atomic_load_n(&r->m.requests, __ATOMIC_ACQUIRE) & REQ_RESET)
		test_skip("this KVM makes it a triple fault");
	CHECK(machine_handle_requests(&r->m));
	CHECK_EQ(r->m.state, RUN_INTERNAL_ERROR);
	machine_reset(&r->m);
	machine_start(&r->m);
	CHECK_EQ(rig_in(r, 0x92, 1), 2);
}

static unsigned debug_stops;

static void count_stop(void *opaque, struct vcpu *v)
{
	(void)opaque;
	(void)v;
	__atomic_fetch_add(&debug_stops, 1, __ATOMIC_SEQ_CST);
}

static bool debug_ok;

static void set_debug(struct vcpu *v, void *arg)
{
	debug_ok = v->accel->ops->vcpu_debug(v, arg);
}

/* A hardware breakpoint on the mailbox's loop, then steps from it. */
KVM(breakpoints_and_steps_stop_the_vcpu)
{
	struct x86_cpu *cpu = cpu0(r);
	struct vcpu_debug on = { .hardware = true, .dr7 = 0x402 }, off = { 0 };
	uint64_t pc;

	rig_in(r, 0x80, 1);
	r->accel->debug_stop = count_stop;
	machine_stop(&r->m, RUN_PAUSED);
	vcpu_sync(&cpu->vcpu, VS_ALL);
	on.dr[0] = pc = cpu->rip;
	vcpu_run_on(&cpu->vcpu, set_debug, &on);
	if (!debug_ok)
		test_skip("this KVM has no guest debugging");
	machine_start(&r->m);
	for (int i = 0; i < 1000 && !__atomic_load_n(&debug_stops, __ATOMIC_SEQ_CST); i++)
		rig_step(r, 1000000);
	if (!debug_stops)
		test_skip("this KVM does not stop at hardware breakpoints outside paging");
	machine_stop(&r->m, RUN_DEBUG);
	vcpu_sync(&cpu->vcpu, VS_REGS);
	CHECK_EQ(cpu->rip, pc);
	vcpu_run_on(&cpu->vcpu, set_debug, &off);
	machine_start(&r->m);
	CHECK_EQ(rig_in(r, 0x92, 1), 2);
}

static void save_and_check(struct rig *r)
{
	g_autoptr(GByteArray) a = g_byte_array_new(), b = g_byte_array_new();
	GError *err = NULL;

	machine_stop(&r->m, RUN_PAUSED);
	machine_save(&r->m, a);
	machine_reset(&r->m);
	if (!machine_load(&r->m, a->data, a->len, &err))
		test_fail(__FILE__, __LINE__, "%s", err->message);
	machine_save(&r->m, b);
	CHECK_EQ(a->len, b->len);
	if (memcmp(a->data, b->data, a->len)) {
		g_autofree char *ta = state_print(a->data, a->len, NULL),
				*tb = state_print(b->data, b->len, NULL);
		g_auto(GStrv) la = g_strsplit(ta, "\n", -1), lb = g_strsplit(tb, "\n", -1);

		for (char **x = la, **y = lb; *x && *y; x++, y++)
			if (strcmp(*x, *y))
				test_fail(__FILE__, __LINE__, "'%s' became '%s'", *x, *y);
	}
	machine_start(&r->m);
}

/* With random contents in the kernel's chips; the guest goes on where it was. */
KVM(save_load_save_of_a_running_machine)
{
	for (int i = 0; i < 20; i++) {
		outb(r, 0x43, 0x34);
		outb(r, 0x40, (uint8_t)test_random());
		outb(r, 0x40, 0x40);
		outb(r, 0x21, (uint8_t)test_random());
		rig_write(r, 0xfec00000, 0x10 + 2 * (uint32_t)(test_random() % 24), 4);
		rig_write(r, 0xfec00010, 0x10000 | (uint32_t)(test_random() & 0xff), 4);
		rig_out(r, 0x80, (uint32_t)i, 1);
		save_and_check(r);
		CHECK_EQ(rig_in(r, 0x80, 1), (uint32_t)i);
	}
}

/* One stream loads under either engine: a machine saved on the bench goes on under KVM. */
TEST(a_state_saved_without_an_engine_loads_under_kvm)
{
	struct rig *bench = rig_new(RIG_USER), *r;
	g_autoptr(GByteArray) a = g_byte_array_new();
	GError *err = NULL;

	outb(bench, 0x21, 0xa5);
	outb(bench, 0x43, 0x36);
	outb(bench, 0x40, 0x34);
	outb(bench, 0x40, 0x12);
	rig_write(bench, 0xfec00000, 0x13, 4);
	rig_write(bench, 0xfec00010, 0x5000000, 4);
	rig_write(bench, LAPIC_BASE + 0xf0, 0x1ff, 4);
	rig_write(bench, LAPIC_BASE + 0x80, 0x30, 4);
	machine_save(&bench->m, a);
	machine_unlock();
	r = rig_new(RIG_KERNEL);
	machine_stop(&r->m, RUN_PAUSED);
	if (!machine_load(&r->m, a->data, a->len, &err))
		test_fail(__FILE__, __LINE__, "%s", err->message);
	machine_start(&r->m);
	CHECK_EQ(inb(r, 0x21), 0xa5);
	outb(r, 0x43, 0xe2);
	CHECK_EQ(inb(r, 0x40) & 0x3f, 0x36);
	rig_write(r, 0xfec00000, 0x13, 4);
	CHECK_EQ(rig_read(r, 0xfec00010, 4), 0x5000000);
	CHECK_EQ(rig_read(r, LAPIC_BASE + 0x80, 4), 0x30);
	CHECK_EQ(rig_read(r, LAPIC_BASE + 0xf0, 4), 0x1ff);
	rig_free(r);
}

static void try_mode(enum rig_mode mode)
{
	struct rig *r = rig_new(mode);

	outb(r, 0x80, 0x5a);
	CHECK_EQ(inb(r, 0x80), 0x5a);
	CHECK_EQ(rig_read(r, LAPIC_BASE + 0x30, 4) & 0xff, 0x14);
	rig_write(r, 0xfec00000, 1, 4);
	CHECK_EQ(rig_read(r, 0xfec00010, 4) >> 16, 23);
	rig_free(r);
}

TEST(irqchip_split)
{
	try_mode(RIG_SPLIT);
}

TEST(irqchip_off)
{
	try_mode(RIG_KVM_USER);
}

TEST(save_load_save_with_a_userspace_irqchip)
{
	struct rig *r = rig_new(RIG_KVM_USER);

	for (int i = 0; i < 5; i++) {
		rig_out(r, 0x80, (uint32_t)i, 1);
		save_and_check(r);
		CHECK_EQ(rig_in(r, 0x80, 1), (uint32_t)i);
	}
	rig_free(r);
}

/*
 * The flat view never overlaps, so a listener is told of a range that does; in a child, which it
 * ends.
 */
TEST(overlapping_slots_are_named)
{
	char text[2048] = "";
	int fds[2], status;
	ssize_t n;
	pid_t child;

#ifdef __SANITIZE_THREAD__
	test_skip("ThreadSanitizer cannot make threads in a forked process");
#endif
	rig_free(rig_new(RIG_KERNEL)); /* skips without KVM */
	CHECK(pipe(fds) == 0);
	child = fork();
	if (!child) {
		struct rig *r;
		struct flat_view *view;

		dup2(fds[1], 2);
		close(fds[0]);
		r = rig_new(RIG_KERNEL);
		view = space_copy_view(&r->m.mem);
		for (size_t i = 0; i < view->count; i++) {
			struct region other = *view->ranges[i].region;
			struct flat_range range = view->ranges[i];

			if (other.kind != REGION_RAM || range.read_only)
				continue;
			other.name = "intruder";
			range.region = &other;
			range.start += range.size - 4096;
			range.size = 4096;
			r->m.mem.listeners->add(r->m.mem.listeners, &range);
		}
		_exit(0);
	}
	close(fds[1]);
	for (size_t at = 0; at < sizeof(text) - 1; at += (size_t)n) {
		n = read(fds[0], text + at, sizeof(text) - 1 - at);
		if (n <= 0)
			break;
	}
	close(fds[0]);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(strstr(text, "memory 'intruder' at 0x") && strstr(text, "overlaps '"));
	CHECK(strstr(text, "cannot map memory 'intruder'") && strstr(text, strerror(EEXIST)));
}
