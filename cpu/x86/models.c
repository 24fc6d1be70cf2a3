/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPU models and the CPUID leaves made from them. Source: SDM 2 and APM 3, CPUID; KVM's cpuid
 * document.
 */
#include "cpu/x86/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/options.h"

struct x86_model {
	const char *name, *desc, *vendor, *model_id;
	unsigned family, model, stepping;
	uint32_t level, xlevel;
	const char *features; /* names; NULL: everything the host has */
};

#define I486 "fpu vme pse "
#define PENTIUM "fpu vme de pse tsc msr mce cx8 mmx "
#define PPRO                                                                                       \
	"fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "     \
	"fxsr sse sse2 "
#define NEHALEM PPRO "sse3 ssse3 cx16 sse4.1 sse4.2 popcnt lahf-lm syscall nx lm hypervisor "
#define HASWELL                                                                                    \
	NEHALEM "pclmulqdq fma pcid x2apic movbe tsc-deadline aes xsave avx f16c rdrand fsgsbase " \
		"bmi1 avx2 smep "                                                                  \
		"bmi2 erms invpcid abm rdtscp xsaveopt arat "

#define PENRYN PPRO "sse3 ssse3 cx16 sse4.1 lahf-lm syscall nx lm hypervisor "
#define WESTMERE NEHALEM "pclmulqdq aes arat "
#define SANDY_BRIDGE WESTMERE "x2apic tsc-deadline xsave avx rdtscp xsaveopt "
#define IVY_BRIDGE SANDY_BRIDGE "f16c rdrand fsgsbase smep erms "
#define BROADWELL HASWELL "rdseed adx smap 3dnowprefetch "
#define SKYLAKE BROADWELL "clflushopt xsavec xgetbv1 spec-ctrl "
#define OPTERON_G1 PPRO "sse3 syscall nx lm hypervisor "
#define EPYC                                                                                       \
	PPRO "sse3 pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 x2apic movbe popcnt aes xsave avx f16c " \
	     "rdrand hypervisor fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt sha-ni "   \
	     "xsaveopt xsavec xgetbv1 arat lahf-lm abm 3dnowprefetch syscall nx pdpe1gb rdtscp "   \
	     "lm "

static const struct x86_model models[] = {
	{ "qemu64", "the smallest 64-bit CPU that everything runs on (default)", "AuthenticAMD",
	  "QEMU Virtual CPU version 2.5+", 15, 107, 1, 13, 0x8000000a,
	  PPRO "sse3 cx16 hypervisor lahf-lm syscall nx lm 3dnowprefetch" },
	{ "kvm64", "a 64-bit CPU for KVM", "GenuineIntel", "Common KVM processor", 15, 6, 1, 13,
	  0x80000008, PPRO "sse3 cx16 hypervisor syscall nx lm" },
	{ "qemu32", "a 32-bit CPU", "GenuineIntel", "QEMU Virtual CPU version 2.5+", 6, 6, 3, 4,
	  0x80000004, PPRO "sse3 hypervisor" },
	{ "486", "Intel 486", "GenuineIntel", "", 4, 8, 0, 1, 0, I486 },
	{ "pentium", "Intel Pentium", "GenuineIntel", "", 5, 4, 3, 1, 0, PENTIUM },
	{ "Penryn", "Intel Core 2 Duo P9xxx", "GenuineIntel",
	  "Intel Core 2 Duo P9xxx (Penryn Class Core 2)", 6, 23, 3, 10, 0x80000008, PENRYN },
	{ "Nehalem", "Intel Core i7 9xx", "GenuineIntel",
	  "Intel Core i7 9xx (Nehalem Class Core i7)", 6, 26, 3, 11, 0x80000008, NEHALEM },
	{ "Westmere", "Intel Xeon E56xx/L56xx/X56xx", "GenuineIntel",
	  "Westmere E56xx/L56xx/X56xx (Nehalem-C)", 6, 44, 1, 11, 0x80000008, WESTMERE },
	{ "SandyBridge", "Intel Xeon E312xx", "GenuineIntel", "Intel Xeon E312xx (Sandy Bridge)", 6,
	  42, 1, 13, 0x80000008, SANDY_BRIDGE },
	{ "IvyBridge", "Intel Xeon E3-12xx v2", "GenuineIntel",
	  "Intel Xeon E3-12xx v2 (Ivy Bridge)", 6, 58, 9, 13, 0x80000008, IVY_BRIDGE },
	{ "Haswell-noTSX", "Intel Core, Haswell without TSX", "GenuineIntel",
	  "Intel Core Processor (Haswell, no TSX)", 6, 60, 1, 13, 0x80000008, HASWELL },
	{ "Broadwell-noTSX", "Intel Core, Broadwell without TSX", "GenuineIntel",
	  "Intel Core Processor (Broadwell, no TSX)", 6, 61, 2, 13, 0x80000008, BROADWELL },
	{ "Skylake-Client-noTSX-IBRS", "Intel Core, Skylake without TSX", "GenuineIntel",
	  "Intel Core Processor (Skylake, IBRS, no TSX)", 6, 94, 3, 13, 0x80000008, SKYLAKE },
	{ "Opteron_G1", "AMD Opteron 240", "AuthenticAMD", "AMD Opteron 240 (Gen 1 Class Opteron)",
	  15, 6, 1, 5, 0x80000008, OPTERON_G1 },
	{ "EPYC", "AMD EPYC", "AuthenticAMD", "AMD EPYC Processor", 23, 1, 2, 13, 0x8000001e,
	  EPYC },
	{ "EPYC-Rome", "AMD EPYC, second generation", "AuthenticAMD", "AMD EPYC-Rome Processor", 23,
	  49, 0, 13, 0x8000001e, EPYC "umip clwb rdpid " },
	{ "host", "everything this host's engine can give (KVM only)", NULL, NULL, 0, 0, 0, 0, 0,
	  NULL },
	{ "max", "everything the engine can give", NULL, NULL, 0, 0, 0, 0, 0, NULL },
};

char *x86_models_help(void)
{
	GString *s = g_string_new("Models:\n");

	for (size_t i = 0; i < ARRAY_LEN(models); i++)
		g_string_append_printf(s, "  %-26s %s\n", models[i].name, models[i].desc);
	g_string_append(s, "Features (+NAME, -NAME or NAME=on|off):\n ");
	for (const struct x86_feature *f = x86_features; f->name; f++)
		g_string_append_printf(s, " %s", f->name);
	g_string_append(s, "\nOther: enforce, check, kvm=on|off, tsc-frequency=HZ, vendor=, "
			   "model-id=, family=, "
			   "model=, stepping=\n");
	return g_string_free(s, FALSE);
}

static bool find_model(struct x86_cpu_config *c, const char *name, GError **err)
{
	const char *names[ARRAY_LEN(models) + 1] = { NULL }, *near;

	for (size_t i = 0; i < ARRAY_LEN(models); i++) {
		names[i] = models[i].name;
		if (!strcmp(models[i].name, name)) {
			c->model = &models[i];
			return true;
		}
	}
	near = nearest_name(name, names);
	if (near)
		return error(err, "-cpu: no model '%s'; did you mean '%s'?", name, near);
	g_autofree char *list = g_strjoinv(", ", (char **)names);

	return error(err, "-cpu: no model '%s'; there are: %s", name, list);
}

static bool add_feature(struct x86_cpu_config *c, const char *name, bool on, GError **err)
{
	const struct x86_feature *f = x86_feature_find(name);
	g_autoptr(GPtrArray) names = NULL;
	const char *near;

	if (f) {
		g_ptr_array_add(on ? c->plus : c->minus, (gpointer)f);
		g_ptr_array_remove(on ? c->minus : c->plus, (gpointer)f);
		return true;
	}
	names = g_ptr_array_new();
	for (f = x86_features; f->name; f++)
		g_ptr_array_add(names, (gpointer)f->name);
	g_ptr_array_add(names, NULL);
	near = nearest_name(name, (const char *const *)names->pdata);
	if (near)
		return error(err, "-cpu: no feature '%s'; did you mean '%s'?", name, near);
	return error(err, "-cpu: no feature '%s'; see -cpu help", name);
}

static bool parse_number(const char *key, const char *text, uint64_t max, int64_t *value,
			 GError **err)
{
	uint64_t v;

	if (!parse_size(text, 1, &v) || v > max)
		return error(err, "-cpu: '%s' takes a number up to %" G_GUINT64_FORMAT ", not '%s'",
			     key, max, text);
	*value = (int64_t)v;
	return true;
}

static bool parse_item(struct x86_cpu_config *c, const char *item, GError **err)
{
	const char *eq = strchr(item, '=');
	g_autofree char *key = eq ? g_strndup(item, (gsize)(eq - item)) : g_strdup(item);
	const char *text = eq ? eq + 1 : "on";
	int64_t hz = 0;
	bool on;

	if (*item == '+' || *item == '-')
		return add_feature(c, item + 1, *item == '+', err);
	if (!strcmp(key, "vendor")) {
		if (strlen(text) != 12)
			return error(err, "-cpu: vendor '%s' must have 12 characters", text);
		g_free(c->vendor);
		c->vendor = g_strdup(text);
		return true;
	}
	if (!strcmp(key, "model-id")) {
		g_free(c->model_id);
		c->model_id = g_strndup(text, 48);
		return true;
	}
	if (!strcmp(key, "family"))
		return parse_number(key, text, 0xff + 0xf, &c->family, err);
	if (!strcmp(key, "model"))
		return parse_number(key, text, 0xff, &c->model_nr, err);
	if (!strcmp(key, "stepping"))
		return parse_number(key, text, 0xf, &c->stepping, err);
	if (!strcmp(key, "tsc-frequency") || !strcmp(key, "tsc-freq")) {
		if (!parse_number(key, text, 1000 * GIB, &hz, err))
			return false;
		c->tsc_khz = (uint64_t)hz / 1000;
		if (!c->tsc_khz)
			return error(err, "-cpu: tsc-frequency=%s is below 1000 Hz", text);
		return true;
	}
	if (!parse_bool(text, &on))
		return error(err, "-cpu: '%s' takes on or off, not '%s'", key, text);
	if (!strcmp(key, "enforce"))
		c->enforce = on;
	else if (!strcmp(key, "check"))
		c->check = on;
	else if (!strcmp(key, "kvm"))
		c->kvm = on;
	else
		return add_feature(c, key, on, err);
	return true;
}

bool x86_cpu_config_parse(struct x86_cpu_config *c, const char *text, GError **err)
{
	g_auto(GStrv) items = g_strsplit(text, ",", -1);

	*c = (struct x86_cpu_config) {
		.check = true, .kvm = true, .family = -1, .model_nr = -1, .stepping = -1
	};
	c->plus = g_ptr_array_new();
	c->minus = g_ptr_array_new();
	if (!items[0] || !find_model(c, items[0], err))
		return items[0] ? false : error(err, "-cpu: needs a model; see -cpu help");
	for (char **i = items + 1; *i; i++)
		if (!parse_item(c, *i, err))
			return false;
	return true;
}

void x86_cpu_config_clear(struct x86_cpu_config *c)
{
	g_clear_pointer(&c->plus, g_ptr_array_unref);
	g_clear_pointer(&c->minus, g_ptr_array_unref);
	g_clear_pointer(&c->model_id, g_free);
	g_clear_pointer(&c->vendor, g_free);
}

static unsigned bits_for(unsigned n)
{
	unsigned b = 0;

	while ((1u << b) < n)
		b++;
	return b;
}

uint32_t x86_apic_id(const struct x86_topology *t, unsigned index)
{
	unsigned thread = index % t->threads, core = index / t->threads % t->cores;
	unsigned socket = index / (t->threads * t->cores);
	unsigned tb = bits_for(t->threads), cb = bits_for(t->cores);

	return socket << (tb + cb) | core << tb | thread;
}

static const struct x86_cpuid *host_leaf(const struct x86_host_cpuid *h, uint32_t leaf,
					 uint32_t subleaf)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->leaves[i].leaf == leaf &&
		    (!h->leaves[i].indexed || h->leaves[i].subleaf == subleaf))
			return &h->leaves[i];
	return NULL;
}

static struct x86_cpuid *leaf_for(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	struct x86_cpuid *c;

	for (unsigned i = 0; i < cpu->ncpuid; i++) {
		c = &cpu->cpuid[i];
		if (c->leaf == leaf && (!c->indexed || c->subleaf == subleaf))
			return c;
	}
	assert(cpu->ncpuid < X86_MOST_CPUID);
	c = &cpu->cpuid[cpu->ncpuid++];
	/* Leaves with a significant index; SDM 2, CPUID. */
	*c = (struct x86_cpuid) { .leaf = leaf,
				  .subleaf = subleaf,
				  .indexed = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd ||
					     leaf == 0x8000001d };
	return c;
}

static void set_feature(struct x86_cpu *cpu, const struct x86_feature *f, bool on)
{
	uint32_t *reg = x86_cpuid_reg(leaf_for(cpu, f->leaf, f->subleaf), f->reg);

	*reg = on ? *reg | BIT(f->bit) : *reg & ~BIT(f->bit);
}

/* Bits that the machine itself gives, whatever the host's CPUID says of them. */
static uint32_t always_given(uint32_t leaf, enum cpuid_reg reg)
{
	if (leaf == 1 && reg == REG_ECX)
		return BIT(31); /* hypervisor */
	if (leaf == 1 && reg == REG_EDX)
		return BIT(28); /* HTT, from the topology */
	return 0;
}

/* Drops what the host cannot give; every feature word once. */
static bool filter_features(struct x86_cpu *cpu, const struct x86_cpu_config *c,
			    const struct x86_host_cpuid *host, GError **err)
{
	const struct x86_feature *last = NULL;
	g_autoptr(GString) missing = g_string_new(NULL);

	for (const struct x86_feature *f = x86_features; f->name; last = f, f++) {
		const struct x86_cpuid *h = host_leaf(host, f->leaf, f->subleaf);
		struct x86_cpuid *mine;
		uint32_t *reg, have = 0, lost;

		if (last && last->leaf == f->leaf && last->subleaf == f->subleaf &&
		    last->reg == f->reg)
			continue;
		mine = leaf_for(cpu, f->leaf, f->subleaf);
		if (h) {
			struct x86_cpuid copy = *h;

			have = *x86_cpuid_reg(&copy, f->reg);
		}
		if (f->leaf == 1 && f->reg == REG_ECX)
			have |= host->on_request;
		reg = x86_cpuid_reg(mine, f->reg);
		lost = *reg & ~(have | always_given(f->leaf, f->reg));
		if (!lost)
			continue;
		*reg &= ~lost;
		g_autofree char *names = x86_feature_names(f->leaf, f->subleaf, f->reg, lost);

		g_string_append_printf(missing, "%s%s", missing->len ? " " : "", names);
		if (cpu->vcpu.index == 0 && c->check && !c->enforce) {
			g_auto(GStrv) list = g_strsplit(names, " ", -1);

			for (char **n = list; *n; n++)
				g_printerr("moa: warning: this host cannot give CPU feature '%s' "
					   "(CPUID.%XH)\n",
					   *n, f->leaf);
		}
	}
	if (missing->len && c->enforce)
		return error(err, "-cpu %s,enforce: this host cannot give: %s", c->model->name,
			     missing->str);
	return true;
}

static void set_vendor(struct x86_cpu *cpu, const char *vendor, uint32_t level, uint32_t xlevel)
{
	struct x86_cpuid *c = leaf_for(cpu, 0, 0);

	c->eax = level;
	c->ebx = (uint32_t)load_le(vendor, 4);
	c->edx = (uint32_t)load_le(vendor + 4, 4);
	c->ecx = (uint32_t)load_le(vendor + 8, 4);
	if (xlevel) {
		struct x86_cpuid *x = leaf_for(cpu, 0x80000000, 0);
		uint32_t b = c->ebx, e = c->ecx, d = c->edx;

		x->eax = xlevel;
		x->ebx = b;
		x->ecx = e;
		x->edx = d;
	}
}

static uint32_t version_word(unsigned family, unsigned model, unsigned stepping)
{
	uint32_t v = stepping | (model & 0xf) << 4 | model >> 4 << 16;

	return family > 15 ? v | 15 << 8 | (family - 15) << 20 : v | family << 8;
}

static void set_brand(struct x86_cpu *cpu, const char *model_id)
{
	char brand[48] = { 0 };

	memcpy(brand, model_id, MIN_OF(strlen(model_id), sizeof(brand)));
	for (uint32_t i = 0; i < 3; i++) {
		struct x86_cpuid *c = leaf_for(cpu, 0x80000002 + i, 0);

		c->eax = (uint32_t)load_le(brand + 16 * i, 4);
		c->ebx = (uint32_t)load_le(brand + 16 * i + 4, 4);
		c->ecx = (uint32_t)load_le(brand + 16 * i + 8, 4);
		c->edx = (uint32_t)load_le(brand + 16 * i + 12, 4);
	}
}

static void build_named(struct x86_cpu *cpu, const struct x86_cpu_config *c,
			const struct x86_host_cpuid *host)
{
	const struct x86_model *m = c->model;
	g_auto(GStrv) names = g_strsplit(m->features, " ", -1);

	set_vendor(cpu, c->vendor ? c->vendor : m->vendor, m->level, m->xlevel);
	leaf_for(cpu, 1, 0)->eax =
		version_word(c->family >= 0 ? (unsigned)c->family : m->family,
			     c->model_nr >= 0 ? (unsigned)c->model_nr : m->model,
			     c->stepping >= 0 ? (unsigned)c->stepping : m->stepping);
	for (char **n = names; *n; n++)
		if (**n)
			set_feature(cpu, x86_feature_find(*n), true);
	if (m->xlevel >= 0x80000004)
		set_brand(cpu, c->model_id ? c->model_id : m->model_id);
	if (m->xlevel >= 0x80000008) {
		const struct x86_cpuid *h = host_leaf(host, 0x80000008, 0);

		leaf_for(cpu, 0x80000008, 0)->eax =
			h ? h->eax & 0xffff : 0x3028; /* address widths */
	}
}

static void build_host(struct x86_cpu *cpu, const struct x86_cpu_config *c,
		       const struct x86_host_cpuid *host)
{
	for (unsigned i = 0; i < host->n && cpu->ncpuid < X86_MOST_CPUID - 16; i++)
		if ((host->leaves[i].leaf & 0xf0000000) != 0x40000000)
			cpu->cpuid[cpu->ncpuid++] = host->leaves[i];
	if (c->vendor) {
		const struct x86_cpuid *x = host_leaf(host, 0x80000000, 0);

		set_vendor(cpu, c->vendor, leaf_for(cpu, 0, 0)->eax, x ? x->eax : 0);
	}
	if (c->model_id)
		set_brand(cpu, c->model_id);
}

/* XSAVE's leaf is the host's for the components whose feature the guest has. */
static void build_xsave(struct x86_cpu *cpu, const struct x86_host_cpuid *host)
{
	const struct x86_cpuid *h = host_leaf(host, 0xd, 0), *h1 = host_leaf(host, 0xd, 1);
	struct x86_cpuid *c;
	uint32_t mask = 3, size = 576;

	for (unsigned i = 0; i < cpu->ncpuid; i++)
		if (cpu->cpuid[i].leaf == 0xd && cpu->cpuid[i].subleaf != 1)
			cpu->cpuid[i--] = cpu->cpuid[--cpu->ncpuid];
	if (!(leaf_for(cpu, 1, 0)->ecx & BIT(26)) || !h) {
		leaf_for(cpu, 0xd, 1)->eax = 0;
		return;
	}
	if (leaf_for(cpu, 1, 0)->ecx & BIT(28))
		mask |= BIT(2);
	if (leaf_for(cpu, 7, 0)->ebx & BIT(16))
		mask |= BIT(5) | BIT(6) | BIT(7);
	if (leaf_for(cpu, 7, 0)->ecx & BIT(3))
		mask |= BIT(9);
	mask &= h->eax;
	for (uint32_t i = 2; i < 32; i++) {
		const struct x86_cpuid *sub = mask & BIT(i) ? host_leaf(host, 0xd, i) : NULL;

		/* What does not fit our save area (AMX) is not offered. */
		if (!sub || sub->ebx + sub->eax > X86_XSAVE_BYTES) {
			mask &= ~BIT(i);
			continue;
		}
		c = leaf_for(cpu, 0xd, i);
		*c = *sub;
		size = MAX_OF(size, sub->eax + sub->ebx);
	}
	c = leaf_for(cpu, 0xd, 0);
	c->eax = mask;
	c->ebx = c->ecx = size;
	c->edx = 0;
	c = leaf_for(cpu, 0xd, 1);
	if (h1)
		c->eax &= h1->eax;
	c->ebx = size;
	c->ecx = c->edx = 0;
}

/* MONITOR's line is that of CLFLUSH; MWAIT has no sub-states to name. */
static void build_monitor(struct x86_cpu *cpu)
{
	struct x86_cpuid *c;

	if (!(leaf_for(cpu, 1, 0)->ecx & BIT(3)))
		return;
	c = leaf_for(cpu, 5, 0);
	c->eax = c->ebx = 64;
	c->ecx = BIT(0);
	c->edx = 0;
}

/* Linear addresses have 57 bits with LA57 only. */
static void limit_addresses(struct x86_cpu *cpu)
{
	const struct x86_cpuid *seven = x86_cpuid_find(cpu, 7, 0);
	struct x86_cpuid *c;

	if (!x86_cpuid_find(cpu, 0x80000008, 0) || (seven && seven->ecx & BIT(16)))
		return;
	c = leaf_for(cpu, 0x80000008, 0);
	if ((c->eax >> 8 & 0xff) > 48)
		c->eax = (c->eax & ~0xff00u) | 48 << 8;
}

/*
 * The caches of a processor whose own nobody tells: the same on every host, so that a VM can move.
 * Programs choose by them how they copy and how they cut their work.
 */
static const struct cache {
	uint8_t level, type; /* as leaf 4 has it: data, instructions, both */
	uint16_t kib;
	uint8_t ways, amd_ways; /* the latter as leaf 80000006h has it */
} caches[] = {
	{ 1, 1, 32, 8, 8 },
	{ 1, 2, 32, 8, 8 },
	{ 2, 3, 2048, 8, 6 },
	{ 3, 3, 16384, 16, 8 },
};
#define CACHE_LINE 64u

/* Leaves 4 and 8000001Dh (SDM volume 2, CPUID; APM volume 3, appendix E). */
static void build_cache_list(struct x86_cpu *cpu, uint32_t leaf, const struct x86_topology *t)
{
	unsigned tb = bits_for(t->threads), cb = bits_for(t->cores);

	for (uint32_t i = 0; i < ARRAY_LEN(caches); i++) {
		const struct cache *k = &caches[i];
		struct x86_cpuid *c = leaf_for(cpu, leaf, i);
		uint32_t sharing = (1u << (k->level == 3 ? tb + cb : tb)) - 1;

		c->eax = k->type | (uint32_t)k->level << 5 | BIT(8) | sharing << 14;
		if (leaf == 4)
			c->eax |= ((1u << cb) - 1) << 26;
		c->ebx = (CACHE_LINE - 1) | (k->ways - 1u) << 22;
		c->ecx = k->kib * 1024u / (CACHE_LINE * k->ways) - 1;
		c->edx = 0;
	}
	leaf_for(cpu, leaf, ARRAY_LEN(caches))->eax = 0; /* no more */
}

static void build_caches(struct x86_cpu *cpu, const struct x86_topology *t)
{
	const struct x86_cpuid *basic = leaf_for(cpu, 0, 0), *extended;
	uint32_t level = basic->eax, amd = CACHE_LINE | 1 << 8;
	struct x86_cpuid *c;

	if (basic->ebx == 0x756e6547) { /* "Genu" */
		if (level >= 2 && !x86_cpuid_find(cpu, 2, 0)) {
			c = leaf_for(cpu, 2, 0);
			c->eax = 1;
			c->ecx = 0x4d;	   /* L3: 16 MiB */
			c->edx = 0x2c307d; /* L2: 2 MiB; L1: 32 KiB each */
		}
		if (level >= 4 && !x86_cpuid_find(cpu, 4, 0))
			build_cache_list(cpu, 4, t);
		return;
	}
	extended = x86_cpuid_find(cpu, 0x80000000, 0);
	level = extended ? extended->eax : 0;
	if (level >= 0x80000005 && !x86_cpuid_find(cpu, 0x80000005, 0)) {
		c = leaf_for(cpu, 0x80000005, 0);
		c->eax = c->ebx = 0xff40ff40; /* TLBs: 64 entries, fully associative */
		c->ecx = caches[0].kib << 24 | (uint32_t)caches[0].amd_ways << 16 | amd;
		c->edx = caches[1].kib << 24 | (uint32_t)caches[1].amd_ways << 16 | amd;
	}
	if (level >= 0x80000006 && !x86_cpuid_find(cpu, 0x80000006, 0)) {
		c = leaf_for(cpu, 0x80000006, 0);
		c->eax = 0x42004200; /* TLBs of large pages: 512 entries, 4 ways */
		c->ebx = 0x64006400; /* of small ones: 1024 entries, 8 ways */
		c->ecx = (uint32_t)caches[2].kib << 16 | (uint32_t)caches[2].amd_ways << 12 | amd;
		c->edx = caches[3].kib / 512u << 18 | (uint32_t)caches[3].amd_ways << 12 | amd;
	}
	c = leaf_for(cpu, 0x80000001, 0);
	if (level >= 0x8000001d && c->ecx & BIT(22) && !x86_cpuid_find(cpu, 0x8000001d, 0))
		build_cache_list(cpu, 0x8000001d, t);
}

static void build_topology(struct x86_cpu *cpu, const struct x86_topology *t)
{
	unsigned tb = bits_for(t->threads), cb = bits_for(t->cores),
		 per_socket = t->threads * t->cores;
	struct x86_cpuid *c = leaf_for(cpu, 1, 0);

	c->ebx = (c->ebx & 0x0000ffff) | cpu->apic_id << 24 | (1u << (tb + cb)) << 16;
	if (c->edx & BIT(19))
		c->ebx = (c->ebx & 0xffff00ff) | 8 << 8; /* CLFLUSH line: 64 bytes */
	if (per_socket > 1)
		c->edx |= BIT(28);
	else
		c->edx &= ~BIT(28);
	if (leaf_for(cpu, 0, 0)->eax < 0xb)
		return;
	c = leaf_for(cpu, 0xb, 0);
	c->eax = tb;
	c->ebx = t->threads;
	c->ecx = 1 << 8;
	c->edx = cpu->apic_id;
	c = leaf_for(cpu, 0xb, 1);
	c->eax = tb + cb;
	c->ebx = per_socket;
	c->ecx = 2 << 8 | 1;
	c->edx = cpu->apic_id;
}

static const char kvm_signature[12] = "KVMKVMKVM\0\0";

static void build_paravirtual(struct x86_cpu *cpu, const struct x86_cpu_config *c,
			      const struct x86_host_cpuid *host)
{
	const struct x86_cpuid *h = host_leaf(host, 0x40000001, 0);
	struct x86_cpuid *s;

	if (!c->kvm || !host->paravirtual || !h)
		return;
	s = leaf_for(cpu, 0x40000000, 0);
	s->eax = 0x40000001;
	s->ebx = (uint32_t)load_le(kvm_signature, 4);
	s->ecx = (uint32_t)load_le(kvm_signature + 4, 4);
	s->edx = (uint32_t)load_le(kvm_signature + 8, 4);
	/* Bit 2 (MMU_OP) is long dead and never offered. */
	leaf_for(cpu, 0x40000001, 0)->eax = h->eax & ~BIT(2);
}

static int compare_leaves(const void *a, const void *b)
{
	const struct x86_cpuid *x = a, *y = b;

	if (x->leaf != y->leaf)
		return x->leaf < y->leaf ? -1 : 1;
	return x->subleaf < y->subleaf ? -1 : x->subleaf > y->subleaf;
}

bool x86_cpuid_build(struct x86_cpu *cpu, const struct x86_cpu_config *c,
		     const struct x86_topology *t, const struct x86_host_cpuid *host, GError **err)
{
	cpu->ncpuid = 0;
	if (c->model->features)
		build_named(cpu, c, host);
	else
		build_host(cpu, c, host);
	build_paravirtual(cpu, c, host);
	for (guint i = 0; i < c->plus->len; i++)
		set_feature(cpu, c->plus->pdata[i], true);
	for (guint i = 0; i < c->minus->len; i++)
		set_feature(cpu, c->minus->pdata[i], false);
	if (!filter_features(cpu, c, host, err))
		return false;
	build_xsave(cpu, host);
	limit_addresses(cpu);
	build_monitor(cpu);
	build_topology(cpu, t);
	build_caches(cpu, t);
	if (!c->kvm || !host->paravirtual)
		leaf_for(cpu, 0x40000001, 0)->eax = 0;
	qsort(cpu->cpuid, cpu->ncpuid, sizeof(cpu->cpuid[0]), compare_leaves);
	cpu->want_tsc_khz = c->tsc_khz;
	return true;
}
