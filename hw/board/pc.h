/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PC: what it is made from, and the parts a monitor or test asks for. */
#pragma once

#include "cpu/x86/models.h"
#include "hw/acpi/tables.h"
#include "hw/block/fdc.h"
#include "hw/dma/i8237.h"
#include "hw/input/i8042.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/intc/lines.h"
#include "hw/pci/i440fx.h"
#include "hw/pci/piix3.h"
#include "hw/timer/hpet.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"

#define PC_PFLASH_UNITS 2
#define PC_SERIAL_PORTS 4
#define PC_MAX_CPUS 255

struct pc_config {
	uint64_t ram_size;
	struct x86_topology smp;
	struct x86_cpu_config cpu;
	bool acpi, hpet, pit, i8042;
	enum { SMM_AUTO, SMM_ON, SMM_OFF } smm; /* auto: where the engine has it */
	const char *bios;			/* NULL: the default */
	const char *kernel, *initrd, *append;	/* a kernel is booted without firmware */
	struct {
		const char *file;
		bool readonly;
	} pflash[PC_PFLASH_UNITS];
	const char *serial[PC_SERIAL_PORTS]; /* chardev ids, NULL: no port */
	const char *boot_order;		     /* "cdn" */
	GPtrArray *fw_cfg;		     /* of struct fw_cfg_blob; may be NULL */
	bool boot_menu, nographic;
	unsigned rtc_clock; /* host, rt, vm */
	int64_t rtc_base;   /* seconds since 1970 */
	bool rtc_slew;
};

struct pc {
	struct machine *machine;
	struct pc_config config;
	uint64_t ram_below_4g, ram_above_4g;
	struct region ram, high_ram, low_alias;
	struct apic_bus apics;
	struct i8259_pair pics;
	struct ioapic *ioapic;
	struct irq_lines *lines;
	struct i440fx *host;
	struct piix3 *isa;
	struct piix_ide *ide;
	struct piix4_pm *pm;
	struct i8254 *pit;
	struct mc146818 *rtc;
	struct hpet *hpet;
	struct i8042 *kbd;
	struct i8237 *dma[2];
	struct fdc *fdc;
	struct fw_cfg *fw_cfg;
	struct acpi_config acpi;
	struct x86_cpu *cpus[PC_MAX_CPUS];
};

void pc_config_default(struct pc_config *c);
/* Builds the board into m. With an engine, its vCPU threads are started, paused. */
struct pc *pc_new(struct machine *m, const struct pc_config *c, GError **err);
/* After the machine's devices are gone. */
void pc_free(struct pc *pc);
/* Parts of pc_new that are not wiring. */
bool pc_add_memory(struct pc *pc, GError **err);
bool pc_add_firmware(struct pc *pc, GError **err);
bool pc_add_fw_cfg_files(struct pc *pc, GError **err);
/* Tells firmware of disks and of the order to boot in; once all devices are there. */
void pc_finish(struct pc *pc);
void pc_set_cmos(struct pc *pc);
/* After pc_add_fw_cfg_files: the tables come from there. */
bool pc_add_kernel(struct pc *pc, GError **err);
/* What a line's sources come to. A GSI: 0-15 ISA lines, 16-23 the I/O APIC's other pins. */
void pc_set_gsi(void *pc, int gsi, int level);
