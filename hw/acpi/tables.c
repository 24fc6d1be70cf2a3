/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables: see tables.h. The DSDT is dsdt.asl, compiled by the build. */
#include "hw/acpi/tables.h"

#include <string.h>

#include "gen/dsdt.h"

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE "etc/acpi/rsdp"
#define LOADER_FILE "etc/table-loader"
#define SCI_IRQ 9
#define MOST_LINKS 16

/* A pointer field inside the tables that must hold another table's address. */
struct link {
	uint32_t at, target;
	uint8_t size;
};

struct builder {
	GByteArray *out;
	struct link links[MOST_LINKS];
	unsigned nlinks;
	uint32_t sums[MOST_LINKS]; /* starts of tables whose checksum byte must be made */
	unsigned nsums;
};

static void put(GByteArray *a, uint64_t v, unsigned size)
{
	uint8_t b[8];

	store_le(b, v, size);
	g_byte_array_append(a, b, size);
}

static void put_zeros(GByteArray *a, guint n)
{
	guint at = a->len;

	if (!n)
		return;
	g_byte_array_set_size(a, at + n);
	memset(a->data + at, 0, n);
}

/* The 36-byte header (5.2.6); the length is set by table_end, the checksum by the loader. */
static uint32_t table_begin(struct builder *b, const char *signature, uint8_t revision)
{
	uint32_t start;

	put_zeros(b->out, (guint)(align_up(b->out->len, 8) - b->out->len));
	start = b->out->len;
	g_byte_array_append(b->out, (const uint8_t *)signature, 4);
	put(b->out, 0, 4);
	put(b->out, revision, 1);
	put(b->out, 0, 1);
	g_byte_array_append(b->out, (const uint8_t *)"MOA   MOAPC   ", 14);
	put(b->out, 1, 4);
	g_byte_array_append(b->out, (const uint8_t *)"MOA ", 4);
	put(b->out, 1, 4);
	return start;
}

static void table_end(struct builder *b, uint32_t start)
{
	store_le(b->out->data + start + 4, b->out->len - start, 4);
	b->sums[b->nsums++] = start;
}

static void put_link(struct builder *b, uint32_t target, uint8_t size)
{
	b->links[b->nlinks++] = (struct link) { b->out->len, target, size };
	put(b->out, target, size);
}

/* Generic address structure (5.2.3.2) of an I/O port block; access size follows the width. */
static void put_gas(GByteArray *a, uint16_t port, uint8_t bits, uint8_t access)
{
	put(a, port ? 1 : 0, 1);
	put(a, port ? bits : 0, 1);
	put(a, 0, 1);
	put(a, port ? access : 0, 1);
	put(a, port, 8);
}

static uint32_t add_facs(struct builder *b)
{
	uint32_t start;

	put_zeros(b->out, (guint)(align_up(b->out->len, 64) - b->out->len));
	start = b->out->len;
	g_byte_array_append(b->out, (const uint8_t *)"FACS", 4);
	put(b->out, 64, 4);
	put_zeros(b->out, 56);
	return start;
}

/* Overwrites the integer of a Name in the DSDT, which dsdt.asl keeps 64 bits wide for this. */
static void set_name(uint8_t *aml, const char *name, uint64_t v)
{
	/* NameOp, the name, QWordPrefix. */
	uint8_t pattern[6] = { 0x08, 0, 0, 0, 0, 0x0e };
	uint8_t *at;

	memcpy(pattern + 1, name, 4);
	at = memmem(aml, sizeof(dsdt_aml), pattern, sizeof(pattern));
	assert(at);
	store_le(at + sizeof(pattern), v, 8);
}

static uint32_t add_dsdt(struct builder *b, const struct acpi_config *c)
{
	uint32_t start;

	put_zeros(b->out, (guint)(align_up(b->out->len, 8) - b->out->len));
	start = b->out->len;
	g_byte_array_append(b->out, dsdt_aml, sizeof(dsdt_aml));
	set_name(b->out->data + start, "PCS_", c->pci32_start);
	set_name(b->out->data + start, "PCE_", c->pci32_end);
	set_name(b->out->data + start, "PHS_", c->pci64_start);
	set_name(b->out->data + start, "PHE_", c->pci64_end);
	set_name(b->out->data + start, "HPEN", c->hpet);
	set_name(b->out->data + start, "KBCN", c->i8042);
	set_name(b->out->data + start, "FDCN", c->floppies);
	set_name(b->out->data + start, "COMS", c->com_ports);
	b->sums[b->nsums++] = start;
	return start;
}

#define FADT_WBINVD BIT(0)
#define FADT_PROC_C1 BIT(2)
#define FADT_SLP_BUTTON BIT(5) /* there is none as a fixed feature */
#define FADT_RTC_S4 BIT(7)
#define FADT_RESET_REG BIT(10)

/* Revision 3, 244 bytes: what every ACPI 2.0 and later system reads (5.2.9). */
static uint32_t add_fadt(struct builder *b, const struct acpi_config *c, uint32_t facs,
			 uint32_t dsdt)
{
	uint32_t start = table_begin(b, "FACP", 3);
	GByteArray *a = b->out;
	uint16_t pm = piix4_pm_base(c->pm);

	put_link(b, facs, 4);
	put_link(b, dsdt, 4);
	put(a, 1, 1); /* reserved; was interrupt model */
	put(a, 0, 1); /* preferred profile: unspecified */
	put(a, SCI_IRQ, 2);
	put(a, APM_CONTROL_PORT, 4); /* SMI command port */
	put(a, ACPI_ENABLE_COMMAND, 1);
	put(a, ACPI_DISABLE_COMMAND, 1);
	put(a, 0, 1); /* S4BIOS */
	put(a, 0, 1); /* P-state control */
	put(a, pm, 4);
	put(a, 0, 4);
	put(a, pm ? pm + 4u : 0, 4);
	put(a, 0, 4);
	put(a, 0, 4);
	put(a, pm ? pm + 8u : 0, 4);
	put(a, GPE0_BASE, 4);
	put(a, 0, 4);
	put(a, 4, 1); /* PM1 event length */
	put(a, 2, 1);
	put(a, 0, 1);
	put(a, 4, 1);
	put(a, 4, 1); /* GPE0 */
	put(a, 0, 1);
	put(a, 0, 1);
	put(a, 0, 1);
	put(a, 0x0fff, 2); /* no C2 */
	put(a, 0x0fff, 2); /* no C3 */
	put(a, 0, 2);
	put(a, 0, 2);
	put(a, 0, 1);
	put(a, 0, 1);
	put(a, 0, 1);		     /* alarm day */
	put(a, 0, 1);		     /* alarm month */
	put(a, 0x32, 1);	     /* century */
	put(a, c->i8042 ? 3 : 1, 2); /* legacy devices, 8042 */
	put(a, 0, 1);
	put(a, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RTC_S4 | FADT_RESET_REG, 4);
	put_gas(a, 0xcf9, 8, 1);
	put(a, 0x0f, 1); /* full reset with a rising RCPU */
	put(a, 0, 2);
	put(a, 0, 1);
	put(a, 0, 8); /* X_FACS: the 32-bit one counts */
	put_link(b, dsdt, 8);
	put_gas(a, pm, 32, 2);
	put_gas(a, 0, 0, 0);
	put_gas(a, pm ? (uint16_t)(pm + 4) : 0, 16, 2);
	put_gas(a, 0, 0, 0);
	put_gas(a, 0, 0, 0);
	put_gas(a, pm ? (uint16_t)(pm + 8) : 0, 32, 3);
	put_gas(a, GPE0_BASE, 32, 1);
	put_gas(a, 0, 0, 0);
	table_end(b, start);
	return start;
}

static void put_override(GByteArray *a, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	put(a, 2, 1);
	put(a, 10, 1);
	put(a, 0, 1);
	put(a, irq, 1);
	put(a, gsi, 4);
	put(a, flags, 2);
}

static void put_processor(GByteArray *a, unsigned n, uint32_t apic_id)
{
	if (apic_id < 255) {
		put(a, 0, 1);
		put(a, 8, 1);
		put(a, n, 1);
		put(a, apic_id, 1);
		put(a, 1, 4);
	} else {
		put(a, 9, 1);
		put(a, 16, 1);
		put(a, 0, 2);
		put(a, apic_id, 4);
		put(a, 1, 4);
		put(a, n, 4);
	}
}

static uint32_t add_madt(struct builder *b, const struct acpi_config *c)
{
	uint32_t start = table_begin(b, "APIC", 3);
	GByteArray *a = b->out;

	put(a, 0xfee00000, 4);
	put(a, 1, 4); /* there are 8259s too */
	for (unsigned i = 0; i < c->cpus; i++)
		put_processor(a, i, c->apic_ids[i]);
	put(a, 1, 1);
	put(a, 12, 1);
	put(a, 0, 1); /* id */
	put(a, 0, 1);
	put(a, 0xfec00000, 4);
	put(a, 0, 4);
	put_override(a, 0, 2, 0);
	/* Lines that PCI devices and the SCI share are level, active high. */
	put_override(a, 5, 5, 0x0d);
	put_override(a, 9, 9, 0x0d);
	put_override(a, 10, 10, 0x0d);
	put_override(a, 11, 11, 0x0d);
	put(a, 4, 1); /* NMI on LINT1 of every processor */
	put(a, 6, 1);
	put(a, 0xff, 1);
	put(a, 0, 2);
	put(a, 1, 1);
	table_end(b, start);
	return start;
}

static uint32_t add_hpet(struct builder *b)
{
	uint32_t start = table_begin(b, "HPET", 1);
	GByteArray *a = b->out;

	put(a, 0x8086a201, 4); /* the capabilities register's low half */
	put(a, 0, 1);
	put(a, 64, 1);
	put(a, 0, 1);
	put(a, 0, 1);
	put(a, 0xfed00000, 8);
	put(a, 0, 1);
	put(a, 0, 2);
	put(a, 0, 1);
	table_end(b, start);
	return start;
}

/* the SSDT, in AML (chapter 20). */

/* PkgLength (20.2.4) of two bytes, enough for 4095, its own bytes included. */
static void aml_package_length(GByteArray *a, size_t body)
{
	size_t len = body + 2;

	assert(len < 4096);
	put(a, 0x40 | (len & 15), 1);
	put(a, len >> 4, 1);
}

/* Device (Cxxx) { Name (_HID, "ACPI0007") Name (_UID, n) } */
static void aml_processor(GByteArray *a, unsigned n)
{
	g_autoptr(GByteArray) body = g_byte_array_new();
	g_autofree char *name = g_strdup_printf("C%03X", n);

	g_byte_array_append(body, (const uint8_t *)name, 4);
	g_byte_array_append(body,
			    (const uint8_t *)"\x08_HID\x0d"
					     "ACPI0007",
			    15);
	put(body, 0x08, 1);
	g_byte_array_append(body, (const uint8_t *)"_UID", 4);
	put(body, 0x0b, 1); /* WordPrefix */
	put(body, n, 2);
	g_byte_array_append(a, (const uint8_t *)"\x5b\x82", 2); /* DeviceOp */
	aml_package_length(a, body->len);
	g_byte_array_append(a, body->data, body->len);
}

/* PkgLength of three bytes, for scopes: up to 1 MiB. */
static void aml_scope_sb(GByteArray *a, const GByteArray *body)
{
	size_t len = body->len + 5 + 3; /* "\_SB_" and the length itself */

	put(a, 0x10, 1); /* ScopeOp */
	put(a, 0x80 | (len & 15), 1);
	put(a, len >> 4 & 0xff, 1);
	put(a, len >> 12, 1);
	g_byte_array_append(a, (const uint8_t *)"\\_SB_", 5);
	g_byte_array_append(a, body->data, body->len);
}

static uint32_t add_ssdt(struct builder *b, const struct acpi_config *c)
{
	uint32_t start = table_begin(b, "SSDT", 2);
	g_autoptr(GByteArray) cpus = g_byte_array_new();

	for (unsigned i = 0; i < c->cpus; i++)
		aml_processor(cpus, i);
	aml_scope_sb(b->out, cpus);
	table_end(b, start);
	return start;
}

/* putting it together. */

static uint32_t build(struct builder *b, const struct acpi_config *c)
{
	uint32_t facs, dsdt, tables[4], start;
	unsigned n = 0;

	facs = add_facs(b);
	dsdt = add_dsdt(b, c);
	tables[n++] = add_fadt(b, c, facs, dsdt);
	tables[n++] = add_ssdt(b, c);
	tables[n++] = add_madt(b, c);
	if (c->hpet)
		tables[n++] = add_hpet(b);
	start = table_begin(b, "RSDT", 1);
	for (unsigned i = 0; i < n; i++)
		put_link(b, tables[i], 4);
	table_end(b, start);
	return start;
}

/* Revision 0: 20 bytes, the RSDT only (5.2.5.3). */
static void build_rsdp(GByteArray *a, uint32_t rsdt)
{
	g_byte_array_append(a, (const uint8_t *)"RSD PTR ", 8);
	put(a, 0, 1);
	g_byte_array_append(a, (const uint8_t *)"MOA   ", 6);
	put(a, 0, 1);
	put(a, rsdt, 4);
}

/* Loader commands: 128 bytes each, file names of 56. */
enum { CMD_ALLOCATE = 1, CMD_ADD_POINTER, CMD_ADD_CHECKSUM };

static void put_file(GByteArray *a, const char *name)
{
	char buf[56] = { 0 };

	strcpy(buf, name);
	g_byte_array_append(a, (const uint8_t *)buf, sizeof(buf));
}

static void pad_command(GByteArray *a)
{
	put_zeros(a, (guint)(align_up(a->len, 128) - a->len));
}

static void cmd_allocate(GByteArray *a, const char *file, uint32_t align, bool low)
{
	put(a, CMD_ALLOCATE, 4);
	put_file(a, file);
	put(a, align, 4);
	put(a, low ? 2 : 1, 1); /* the F segment, or high memory */
	pad_command(a);
}

static void cmd_pointer(GByteArray *a, const char *file, uint32_t at, uint8_t size)
{
	put(a, CMD_ADD_POINTER, 4);
	put_file(a, file);
	put_file(a, TABLES_FILE);
	put(a, at, 4);
	put(a, size, 1);
	pad_command(a);
}

static void cmd_checksum(GByteArray *a, const char *file, uint32_t at, uint32_t start, uint32_t len)
{
	put(a, CMD_ADD_CHECKSUM, 4);
	put_file(a, file);
	put(a, at, 4);
	put(a, start, 4);
	put(a, len, 4);
	pad_command(a);
}

static void publish(struct acpi_config *c)
{
	g_autoptr(GByteArray) tables = g_byte_array_new(), rsdp = g_byte_array_new(),
			      script = g_byte_array_new();
	struct builder b = { .out = tables };
	uint32_t rsdt = build(&b, c);

	build_rsdp(rsdp, rsdt);
	cmd_allocate(script, TABLES_FILE, 64, false);
	cmd_allocate(script, RSDP_FILE, 16, true);
	for (unsigned i = 0; i < b.nlinks; i++)
		cmd_pointer(script, TABLES_FILE, b.links[i].at, b.links[i].size);
	cmd_pointer(script, RSDP_FILE, 16, 4);
	for (unsigned i = 0; i < b.nsums; i++) {
		uint32_t len = (uint32_t)load_le(tables->data + b.sums[i] + 4, 4);

		/* The loader sums what is there, so the field itself must be zero. */
		tables->data[b.sums[i] + 9] = 0;
		cmd_checksum(script, TABLES_FILE, b.sums[i] + 9, b.sums[i], len);
	}
	cmd_checksum(script, RSDP_FILE, 8, 0, 20);
	fw_cfg_set_file(c->fw_cfg, TABLES_FILE, tables->data, tables->len);
	fw_cfg_set_file(c->fw_cfg, RSDP_FILE, rsdp->data, rsdp->len);
	fw_cfg_set_file(c->fw_cfg, LOADER_FILE, script->data, script->len);
}

/* The PM base is the firmware's choice, made before it asks for the tables. */
static void selected(void *opaque)
{
	publish(opaque);
}

void acpi_add_tables(struct acpi_config *c)
{
	publish(c);
	fw_cfg_on_select(c->fw_cfg, TABLES_FILE, selected, c);
	fw_cfg_on_select(c->fw_cfg, RSDP_FILE, selected, c);
	fw_cfg_on_select(c->fw_cfg, LOADER_FILE, selected, c);
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

#define RSDP_ROOM 64

void acpi_link(const struct acpi_config *c, uint64_t base, GByteArray *out)
{
	g_autoptr(GByteArray) tables = g_byte_array_new(), rsdp = g_byte_array_new();
	struct builder b = { .out = tables };
	uint32_t rsdt = build(&b, c);

	base += RSDP_ROOM;
	for (unsigned i = 0; i < b.nlinks; i++)
		store_le(tables->data + b.links[i].at, base + b.links[i].target, b.links[i].size);
	for (unsigned i = 0; i < b.nsums; i++) {
		uint8_t *t = tables->data + b.sums[i];

		t[9] = 0;
		t[9] = checksum(t, (size_t)load_le(t + 4, 4));
	}
	build_rsdp(rsdp, (uint32_t)(base + rsdt));
	rsdp->data[8] = checksum(rsdp->data, rsdp->len);
	put_zeros(rsdp, RSDP_ROOM - rsdp->len);
	g_byte_array_append(out, rsdp->data, rsdp->len);
	g_byte_array_append(out, tables->data, tables->len);
}
