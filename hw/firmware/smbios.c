/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/firmware/smbios.h"

#include <string.h>

/* One structure: a formatted area, then its strings. */
struct structure {
	GByteArray *out;
	guint start;
	GPtrArray *strings;
};

static void begin(struct structure *s, GByteArray *out, uint8_t type, uint16_t handle)
{
	uint8_t head[4] = { type, 0, (uint8_t)handle, (uint8_t)(handle >> 8) };

	s->out = out;
	s->start = out->len;
	s->strings = g_ptr_array_new();
	g_byte_array_append(out, head, sizeof(head));
}

static void put(struct structure *s, uint64_t v, unsigned size)
{
	uint8_t b[8];

	store_le(b, v, size);
	g_byte_array_append(s->out, b, size);
}

/* A string's number: 1 and up, 0 for none. */
static void put_string(struct structure *s, const char *text)
{
	if (!text || !*text) {
		put(s, 0, 1);
		return;
	}
	g_ptr_array_add(s->strings, (gpointer)text);
	put(s, s->strings->len, 1);
}

static void end(struct structure *s)
{
	s->out->data[s->start + 1] = (uint8_t)(s->out->len - s->start);
	for (guint i = 0; i < s->strings->len; i++)
		g_byte_array_append(s->out, s->strings->pdata[i],
				    (guint)strlen(s->strings->pdata[i]) + 1);
	if (!s->strings->len)
		put(s, 0, 1);
	put(s, 0, 1);
	g_ptr_array_unref(s->strings);
}

#define MANUFACTURER "moa"
#define H_SYSTEM 0x100
#define H_CHASSIS 0x300
#define H_CPU 0x400
#define H_ARRAY 0x1000
#define H_DIMM 0x1100
#define H_MAP 0x1300
#define H_BOOT 0x2000
#define H_END 0x7f00

static void add_bios(GByteArray *out)
{
	struct structure s;

	begin(&s, out, 0, 0);
	put_string(&s, MANUFACTURER);
	put_string(&s, "0.1");
	put(&s, 0xe800, 2);
	put_string(&s, "04/01/2014");
	put(&s, 0, 1);
	put(&s, 0x08, 8); /* characteristics not supported */
	put(&s, 0, 1);
	put(&s, 0x14, 1); /* targeted content, virtual machine */
	put(&s, 0, 1);
	put(&s, 1, 1);
	put(&s, 0xffff, 2); /* no embedded controller */
	end(&s);
}

static void add_system(GByteArray *out, struct machine *m, const struct smbios_config *c)
{
	struct structure s;
	uint8_t u[16];

	/* The first three fields of the UUID are little-endian here (7.2.1). */
	memcpy(u, m->uuid, 16);
	for (int i = 0; i < 2; i++) {
		uint8_t t = u[i];

		u[i] = u[3 - i];
		u[3 - i] = t;
	}
	begin(&s, out, 1, H_SYSTEM);
	put_string(&s, MANUFACTURER);
	put_string(&s, c->product);
	put_string(&s, c->version);
	put_string(&s, NULL);
	g_byte_array_append(out, u, 4);
	put(&s, (uint16_t)(u[4] << 8 | u[5]), 2);
	put(&s, (uint16_t)(u[6] << 8 | u[7]), 2);
	g_byte_array_append(out, u + 8, 8);
	put(&s, 6, 1); /* woken by the power switch */
	put_string(&s, NULL);
	put_string(&s, NULL);
	end(&s);
}

static void add_chassis(GByteArray *out, const struct smbios_config *c)
{
	struct structure s;

	begin(&s, out, 3, H_CHASSIS);
	put_string(&s, MANUFACTURER);
	put(&s, 1, 1); /* other */
	put_string(&s, c->version);
	put_string(&s, NULL);
	put_string(&s, NULL);
	put(&s, 0x03030303, 4); /* boot-up, power, thermal: safe; security: none */
	put(&s, 0, 4);
	put(&s, 0, 1);
	put(&s, 0, 1);
	put(&s, 0, 1);
	put(&s, 0, 1);
	put_string(&s, NULL);
	end(&s);
}

static void add_cpu(GByteArray *out, const struct smbios_config *c, unsigned socket)
{
	struct structure s;
	g_autofree char *name = g_strdup_printf("CPU %u", socket);

	begin(&s, out, 4, (uint16_t)(H_CPU + socket));
	put_string(&s, name);
	put(&s, 3, 1); /* central processor */
	put(&s, 1, 1);
	put_string(&s, MANUFACTURER);
	put(&s, c->cpu_signature, 4);
	put(&s, c->cpu_features, 4);
	put_string(&s, c->version);
	put(&s, 0, 1);
	put(&s, 0, 2);
	put(&s, 2000, 2);
	put(&s, 2000, 2);
	put(&s, 0x41, 1); /* populated, enabled */
	put(&s, 1, 1);
	put(&s, 0xffff, 2); /* caches unknown */
	put(&s, 0xffff, 2);
	put(&s, 0xffff, 2);
	put_string(&s, NULL);
	put_string(&s, NULL);
	put_string(&s, NULL);
	put(&s, c->cores, 1);
	put(&s, c->cores, 1);
	put(&s, MIN_OF(c->cores * c->threads, 255u), 1);
	put(&s, 2, 2);
	put(&s, 1, 2);
	end(&s);
}

#define DIMM_SIZE (16 * GIB)

static unsigned dimms(const struct smbios_config *c)
{
	return (unsigned)((c->ram_size + DIMM_SIZE - 1) / DIMM_SIZE);
}

static void add_array(GByteArray *out, const struct smbios_config *c)
{
	struct structure s;

	begin(&s, out, 16, H_ARRAY);
	put(&s, 1, 1);
	put(&s, 3, 1); /* system memory */
	put(&s, 6, 1); /* multi-bit ECC */
	put(&s, 0x80000000, 4);
	put(&s, 0xfffe, 2);
	put(&s, dimms(c), 2);
	put(&s, c->ram_size, 8);
	end(&s);
}

static void add_dimm(GByteArray *out, const struct smbios_config *c, unsigned n)
{
	struct structure s;
	uint64_t size = MIN_OF(DIMM_SIZE, c->ram_size - n * DIMM_SIZE);
	g_autofree char *locator = g_strdup_printf("DIMM %u", n);

	begin(&s, out, 17, (uint16_t)(H_DIMM + n));
	put(&s, H_ARRAY, 2);
	put(&s, 0xfffe, 2);
	put(&s, 0xffff, 2);
	put(&s, 0xffff, 2);
	put(&s, size / MIB, 2);
	put(&s, 9, 1); /* DIMM */
	put(&s, 0, 1);
	put_string(&s, locator);
	put_string(&s, NULL);
	put(&s, 7, 1); /* RAM */
	put(&s, 2, 2);
	put(&s, 0, 2);
	put_string(&s, MANUFACTURER);
	put_string(&s, NULL);
	put_string(&s, NULL);
	put_string(&s, NULL);
	put(&s, 0, 1);
	put(&s, 0, 4);
	put(&s, 0, 2);
	put(&s, 0, 6);
	end(&s);
}

static void add_map(GByteArray *out, unsigned n, uint64_t start, uint64_t size)
{
	struct structure s;

	begin(&s, out, 19, (uint16_t)(H_MAP + n));
	put(&s, UINT32_MAX, 4); /* the extended fields hold it */
	put(&s, UINT32_MAX, 4);
	put(&s, H_ARRAY, 2);
	put(&s, 1, 1);
	put(&s, start, 8);
	put(&s, start + size - 1, 8);
	end(&s);
}

static void add_rest(GByteArray *out)
{
	struct structure s;

	begin(&s, out, 32, H_BOOT);
	put(&s, 0, 6);
	put(&s, 0, 1);
	end(&s);
	begin(&s, out, 127, H_END);
	end(&s);
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

/* The entry point (5.2.1); firmware relocates the address and sums again. */
static void add_anchor(struct fw_cfg *f, const GByteArray *tables, unsigned count)
{
	uint8_t a[31] = { '_', 'S', 'M', '_' };

	a[5] = sizeof(a);
	a[6] = 2;
	a[7] = 8;
	store_le(a + 8, 256, 2);
	memcpy(a + 16, "_DMI_", 5);
	store_le(a + 22, tables->len, 2);
	store_le(a + 28, count, 2);
	a[30] = 0x28;
	a[21] = checksum(a + 16, 15);
	a[4] = checksum(a, sizeof(a));
	fw_cfg_set_file(f, "etc/smbios/smbios-anchor", a, sizeof(a));
}

void smbios_add(struct fw_cfg *f, struct machine *m, const struct smbios_config *c)
{
	g_autoptr(GByteArray) t = g_byte_array_new();
	unsigned count = 6, n = MIN_OF(dimms(c), 64u);

	add_bios(t);
	add_system(t, m, c);
	add_chassis(t, c);
	for (unsigned i = 0; i < c->sockets; i++, count++)
		add_cpu(t, c, i);
	add_array(t, c);
	for (unsigned i = 0; i < n; i++, count++)
		add_dimm(t, c, i);
	add_map(t, 0, 0, c->ram_below_4g);
	count++;
	if (c->ram_size > c->ram_below_4g) {
		add_map(t, 1, 4 * GIB, c->ram_size - c->ram_below_4g);
		count++;
	}
	add_rest(t);
	fw_cfg_set_file(f, "etc/smbios/smbios-tables", t->data, t->len);
	add_anchor(f, t, count);
}
