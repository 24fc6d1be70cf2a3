/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PC on the bench. RIG_USER has no engine: registers are reached directly, the test owns the
 * clocks and steps them, interrupts are seen at the 8259 pair and local APIC. RIG_KERNEL runs the
 * same board under KVM with the in-kernel irqchip; a small guest program does the accesses it is
 * told to, so the same test can look at the kernel's chips. Time passes there by itself.
 */
#pragma once

#include "block/drive.h"
#include "hw/board/pc.h"
#include "tests/lib/test.h"

enum rig_mode { RIG_USER, RIG_KERNEL, RIG_SPLIT, RIG_KVM_USER };

struct rig {
	struct machine m;
	struct pc *pc;
	struct accel *accel;
	enum rig_mode mode;
	struct mailbox *box;
};

/*
 * The machine lock is held by the test from here on. Skips the test where KVM is wanted and
 * missing.
 */
struct rig *rig_new(enum rig_mode mode);
struct rig *rig_new_config(enum rig_mode mode, void (*change)(struct pc_config *c));
void rig_free(struct rig *r);
static inline bool rig_user(const struct rig *r)
{
	return r->mode == RIG_USER;
}

uint32_t rig_in(struct rig *r, uint16_t port, unsigned size);
void rig_out(struct rig *r, uint16_t port, uint32_t value, unsigned size);
uint32_t rig_read(struct rig *r, uint64_t addr, unsigned size);
void rig_write(struct rig *r, uint64_t addr, uint32_t value, unsigned size);
static inline uint8_t inb(struct rig *r, uint16_t port)
{
	return (uint8_t)rig_in(r, port, 1);
}
static inline void outb(struct rig *r, uint16_t port, uint8_t v)
{
	rig_out(r, port, v, 1);
}
/* By the guest's own RDMSR, WRMSR (the upper half is 0) and CPUID; not on the bench. */
uint64_t rig_rdmsr(struct rig *r, uint32_t msr);
void rig_wrmsr(struct rig *r, uint32_t msr, uint32_t value);
uint32_t rig_cpuid_eax(struct rig *r, uint32_t leaf);
uint32_t rig_cpuid_ebx(struct rig *r, uint32_t leaf);
/* Lets time pass: exactly on the bench, at least that much under KVM. */
void rig_step(struct rig *r, int64_t ns);
void rig_gsi(struct rig *r, int gsi, int level);
/* The interrupt that the BSP would take now, or -1. Bench only. */
int rig_ack(struct rig *r);
uint32_t rig_pci_read(struct rig *r, unsigned slot, unsigned function, unsigned off, unsigned size);
void rig_pci_write(struct rig *r, unsigned slot, unsigned function, unsigned off, uint32_t v,
		   unsigned size);

/*
 * A raw disk whose sectors of 512 bytes begin with their number (32 bits) and repeat its low byte;
 * it has no name, so nothing is left of it.
 */
struct drive *rig_drive(struct rig *r, uint64_t size, bool writable, bool cdrom);

/* A test that runs on both: NAME.user and NAME.kernel. */
#define BOTH(id)                                                                                   \
	static void body_##id(struct rig *r);                                                      \
	TEST_NAMED(id##_user, #id ".user")                                                         \
	{                                                                                          \
		struct rig *r = rig_new(RIG_USER);                                                 \
		body_##id(r);                                                                      \
		rig_free(r);                                                                       \
	}                                                                                          \
	TEST_NAMED(id##_kernel, #id ".kernel")                                                     \
	{                                                                                          \
		struct rig *r = rig_new(RIG_KERNEL);                                               \
		body_##id(r);                                                                      \
		rig_free(r);                                                                       \
	}                                                                                          \
	static void body_##id(struct rig *r)
/* A test on the bench only. */
#define BENCH(id)                                                                                  \
	static void body_##id(struct rig *r);                                                      \
	TEST(id)                                                                                   \
	{                                                                                          \
		struct rig *r = rig_new(RIG_USER);                                                 \
		body_##id(r);                                                                      \
		rig_free(r);                                                                       \
	}                                                                                          \
	static void body_##id(struct rig *r)
