/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACPI tables: sums, links, and what iasl makes of them. */
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/rig.h"

#define BASE 0x100000u

static GByteArray *linked(struct rig *r)
{
	GByteArray *out = g_byte_array_new();

	rig_pci_write(r, 1, 3, 0x40, 0x601, 4);
	acpi_link(&r->pc->acpi, BASE, out);
	return out;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

static const uint8_t *at(const GByteArray *a, uint64_t address)
{
	CHECK(address >= BASE && address < BASE + a->len);
	return a->data + (address - BASE);
}

static const uint8_t *table(const GByteArray *a, const char *signature)
{
	const uint8_t *rsdt = at(a, load_le(a->data + 16, 4));

	for (unsigned i = 36; i < load_le(rsdt + 4, 4); i += 4) {
		const uint8_t *t = at(a, load_le(rsdt + i, 4));

		CHECK_EQ(sum(t, load_le(t + 4, 4)), 0);
		if (!memcmp(t, signature, 4))
			return t;
	}
	test_fail(__FILE__, __LINE__, "no %s", signature);
}

BENCH(acpi_links_and_sums)
{
	GByteArray *a = linked(r);
	const uint8_t *fadt, *dsdt;

	CHECK(!memcmp(a->data, "RSD PTR ", 8) && sum(a->data, 20) == 0);
	fadt = table(a, "FACP");
	CHECK_EQ(load_le(fadt + 4, 4), 244);
	CHECK_EQ(load_le(fadt + 56, 4), 0x600); /* PM1a event block: the firmware's choice */
	CHECK_EQ(load_le(fadt + 76, 4), 0x608);
	CHECK_EQ(fadt[108], 0x32);
	dsdt = at(a, load_le(fadt + 40, 4));
	CHECK(!memcmp(dsdt, "DSDT", 4) && sum(dsdt, load_le(dsdt + 4, 4)) == 0);
	CHECK_EQ(load_le(fadt + 140, 8), load_le(fadt + 40, 4));
	CHECK_EQ(load_le(fadt + 36, 4) % 64, 0); /* FACS is aligned */
	table(a, "HPET");
}

static void three_cpus(struct pc_config *c)
{
	c->smp = (struct x86_topology) { 3, 3, 1, 1, 3 };
}

TEST(acpi_madt_lists_processors_and_overrides)
{
	struct rig *r = rig_new_config(RIG_USER, three_cpus);
	GByteArray *a = linked(r);
	const uint8_t *madt = table(a, "APIC");
	unsigned cpus = 0, ioapics = 0, overrides = 0;

	for (unsigned i = 44; i < load_le(madt + 4, 4); i += madt[i + 1]) {
		CHECK(madt[i + 1] >= 2);
		if (madt[i] == 0)
			CHECK_EQ(madt[i + 3], cpus++);
		ioapics += madt[i] == 1;
		overrides += madt[i] == 2;
	}
	CHECK_EQ(cpus, 3);
	CHECK_EQ(ioapics, 1);
	CHECK_EQ(overrides, 5);
	rig_free(r);
}

static void disassemble(const uint8_t *t, const char *name)
{
	char dir[] = "/tmp/moa-acpi-XXXXXX";
	g_autofree char *path = NULL, *command = NULL;
	FILE *f;

	if (!mkdtemp(dir))
		abort();
	path = g_strdup_printf("%s/%s.aml", dir, name);
	f = fopen(path, "wb");
	fwrite(t, 1, load_le(t + 4, 4), f);
	fclose(f);
	command = g_strdup_printf(
		"cd %s && iasl -d %s.aml >log 2>&1 && iasl -oa -p again %s.dsl >>log 2>&1; s=$?; "
		"[ $s = 0 ] || cat log; rm -rf %s; exit $s",
		dir, name, name, dir);
	CHECK_EQ(system(command), 0);
}

BENCH(acpi_iasl_reads_every_table)
{
	GByteArray *a = linked(r);
	static const char *const names[] = { "FACP", "SSDT", "APIC", "HPET" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		disassemble(table(a, names[i]), names[i]);
	disassemble(at(a, load_le(table(a, "FACP") + 40, 4)), "DSDT");
}
