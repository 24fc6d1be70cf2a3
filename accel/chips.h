/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State of the chips that may live in the engine, as the hardware has it. The device embeds the
 * struct and saves it with its own field table; an engine that runs the chip fills and takes the
 * struct.
 */
#pragma once

#include "core/compiler.h"

enum chip_kind { CHIP_PIC, CHIP_IOAPIC, CHIP_LAPIC, CHIP_PIT };

/* One 8259A. Index 0 is the master. */
struct chip_pic {
	uint8_t last_irr; /* input lines, for edges */
	uint8_t irr, imr, isr;
	uint8_t priority_add; /* highest priority IRQ */
	uint8_t irq_base;
	bool read_isr, poll, special_mask;
	uint8_t init_state; /* the ICW expected next, 0 when ready */
	bool auto_eoi, rotate_on_auto_eoi, special_fully_nested, init4;
	uint8_t elcr, elcr_mask;
};

#define IOAPIC_PINS 24
struct chip_ioapic {
	uint64_t base;
	uint32_t ioregsel, id;
	uint32_t irr; /* input lines */
	uint64_t redirtbl[IOAPIC_PINS];
};

/* The 1 KiB register page of a local APIC: 64 registers of 16 bytes, 4 used. */
#define LAPIC_REGS_BYTES 1024
struct chip_lapic {
	uint8_t regs[LAPIC_REGS_BYTES];
};

#define PIT_CHANNELS 3
struct chip_pit_channel {
	uint32_t count; /* 1 to 65536: the reload value */
	uint16_t latched_count;
	uint8_t count_latched; /* bytes still to read */
	bool status_latched;
	uint8_t status;
	uint8_t read_state, write_state;
	uint8_t write_latch;
	uint8_t rw_mode, mode;
	bool bcd, gate;
	int64_t load_ns; /* VM clock when counting began */
	int64_t held_ns; /* how long it had counted when the gate stopped it; -1: it counts */
	bool counting;	 /* a count was written and the mode's trigger has come */
};

struct chip_pit {
	struct chip_pit_channel channels[PIT_CHANNELS];
	bool irq_disabled; /* the HPET has taken IRQ0 over */
};
