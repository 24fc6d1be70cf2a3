/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpu/x86/features.h"

#include <string.h>

/* clang-format off */
#define W(l, s, r) l, s, REG_##r
const struct x86_feature x86_features[] = {
#define EDX1(n, b) { n, W(1, 0, EDX), b }
	EDX1("fpu", 0), EDX1("vme", 1), EDX1("de", 2), EDX1("pse", 3), EDX1("tsc", 4), EDX1("msr", 5),
	EDX1("pae", 6), EDX1("mce", 7), EDX1("cx8", 8), EDX1("apic", 9), EDX1("sep", 11), EDX1("mtrr", 12),
	EDX1("pge", 13), EDX1("mca", 14), EDX1("cmov", 15), EDX1("pat", 16), EDX1("pse36", 17),
	EDX1("pn", 18), EDX1("clflush", 19), EDX1("ds", 21), EDX1("acpi", 22), EDX1("mmx", 23),
	EDX1("fxsr", 24), EDX1("sse", 25), EDX1("sse2", 26), EDX1("ss", 27), EDX1("ht", 28), EDX1("tm", 29),
	EDX1("pbe", 31),
#define ECX1(n, b) { n, W(1, 0, ECX), b }
	ECX1("pni", 0), ECX1("sse3", 0), ECX1("pclmulqdq", 1), ECX1("dtes64", 2), ECX1("monitor", 3),
	ECX1("ds-cpl", 4), ECX1("vmx", 5), ECX1("smx", 6), ECX1("est", 7), ECX1("tm2", 8), ECX1("ssse3", 9),
	ECX1("cid", 10), ECX1("fma", 12), ECX1("cx16", 13), ECX1("xtpr", 14), ECX1("pdcm", 15),
	ECX1("pcid", 17), ECX1("dca", 18), ECX1("sse4.1", 19), ECX1("sse4.2", 20), ECX1("x2apic", 21),
	ECX1("movbe", 22), ECX1("popcnt", 23), ECX1("tsc-deadline", 24), ECX1("aes", 25), ECX1("xsave", 26),
	ECX1("avx", 28), ECX1("f16c", 29), ECX1("rdrand", 30), ECX1("hypervisor", 31),
#define EBX7(n, b) { n, W(7, 0, EBX), b }
	EBX7("fsgsbase", 0), EBX7("tsc-adjust", 1), EBX7("bmi1", 3), EBX7("hle", 4), EBX7("avx2", 5),
	EBX7("smep", 7), EBX7("bmi2", 8), EBX7("erms", 9), EBX7("invpcid", 10), EBX7("rtm", 11),
	EBX7("mpx", 14), EBX7("avx512f", 16), EBX7("avx512dq", 17), EBX7("rdseed", 18), EBX7("adx", 19),
	EBX7("smap", 20), EBX7("avx512ifma", 21), EBX7("clflushopt", 23), EBX7("clwb", 24),
	EBX7("avx512pf", 26), EBX7("avx512er", 27), EBX7("avx512cd", 28), EBX7("sha-ni", 29),
	EBX7("avx512bw", 30), EBX7("avx512vl", 31),
#define ECX7(n, b) { n, W(7, 0, ECX), b }
	ECX7("avx512vbmi", 1), ECX7("umip", 2), ECX7("pku", 3), ECX7("waitpkg", 5), ECX7("avx512vbmi2", 6),
	ECX7("gfni", 8), ECX7("vaes", 9), ECX7("vpclmulqdq", 10), ECX7("avx512vnni", 11),
	ECX7("avx512bitalg", 12), ECX7("avx512-vpopcntdq", 14), ECX7("la57", 16), ECX7("rdpid", 22),
	ECX7("bus-lock-detect", 24), ECX7("cldemote", 25), ECX7("movdiri", 27), ECX7("movdir64b", 28),
#define EDX7(n, b) { n, W(7, 0, EDX), b }
	EDX7("avx512-4vnniw", 2), EDX7("avx512-4fmaps", 3), EDX7("fsrm", 4), EDX7("avx512-vp2intersect", 8),
	EDX7("md-clear", 10), EDX7("serialize", 14), EDX7("tsx-ldtrk", 16), EDX7("amx-bf16", 22),
	EDX7("avx512-fp16", 23), EDX7("amx-tile", 24), EDX7("amx-int8", 25), EDX7("spec-ctrl", 26),
	EDX7("stibp", 27), EDX7("arch-capabilities", 29), EDX7("core-capability", 30), EDX7("ssbd", 31),
#define EAX7_1(n, b) { n, W(7, 1, EAX), b }
	EAX7_1("avx-vnni", 4), EAX7_1("avx512-bf16", 5), EAX7_1("fzrm", 10), EAX7_1("fsrs", 11),
	EAX7_1("fsrc", 12), EAX7_1("amx-fp16", 21), EAX7_1("avx-ifma", 23),
#define EDX7_2(n, b) { n, W(7, 2, EDX), b }
	EDX7_2("intel-psfd", 0), EDX7_2("ipred-ctrl", 1), EDX7_2("rrsba-ctrl", 2), EDX7_2("ddpd-u", 3),
	EDX7_2("bhi-ctrl", 4), EDX7_2("mcdt-no", 5),
#define EAXD_1(n, b) { n, W(0xd, 1, EAX), b }
	EAXD_1("xsaveopt", 0), EAXD_1("xsavec", 1), EAXD_1("xgetbv1", 2), EAXD_1("xsaves", 3),
#define EAX6(n, b) { n, W(6, 0, EAX), b }
	EAX6("arat", 2),
#define ECX81(n, b) { n, W(0x80000001, 0, ECX), b }
	ECX81("lahf-lm", 0), ECX81("cmp-legacy", 1), ECX81("svm", 2), ECX81("extapic", 3),
	ECX81("cr8legacy", 4), ECX81("abm", 5), ECX81("sse4a", 6), ECX81("misalignsse", 7),
	ECX81("3dnowprefetch", 8), ECX81("osvw", 9), ECX81("ibs", 10), ECX81("xop", 11), ECX81("skinit", 12),
	ECX81("wdt", 13), ECX81("lwp", 15), ECX81("fma4", 16), ECX81("tce", 17), ECX81("tbm", 21),
	ECX81("topoext", 22), ECX81("perfctr-core", 23),
#define EDX81(n, b) { n, W(0x80000001, 0, EDX), b }
	EDX81("syscall", 11), EDX81("mp", 19), EDX81("nx", 20), EDX81("mmxext", 22), EDX81("fxsr-opt", 25),
	EDX81("pdpe1gb", 26), EDX81("rdtscp", 27), EDX81("lm", 29), EDX81("3dnowext", 30), EDX81("3dnow", 31),
	{ "invtsc", W(0x80000007, 0, EDX), 8 },
#define EBX88(n, b) { n, W(0x80000008, 0, EBX), b }
	EBX88("clzero", 0), EBX88("xsaveerptr", 2), EBX88("wbnoinvd", 9), EBX88("ibpb", 12),
	EBX88("ibrs", 14), EBX88("amd-stibp", 15), EBX88("amd-ssbd", 24), EBX88("virt-ssbd", 25),
	EBX88("btc-no", 29),
#define EAX821(n, b) { n, W(0x80000021, 0, EAX), b }
	EAX821("no-nested-data-bp", 0), EAX821("lfence-always-serializing", 2),
	EAX821("null-sel-clr-base", 6), EAX821("auto-ibrs", 8), EAX821("srso-no", 29),
	{ "tsa-sq-no", W(0x80000021, 0, ECX), 1 }, { "tsa-l1-no", W(0x80000021, 0, ECX), 2 },
#define KVM1(n, b) { n, W(0x40000001, 0, EAX), b }
	KVM1("kvmclock", 0), KVM1("kvm-nopiodelay", 1), KVM1("kvmclock-new", 3), KVM1("kvm-asyncpf", 4),
	KVM1("kvm-steal-time", 5), KVM1("kvm-pv-eoi", 6), KVM1("kvm-pv-unhalt", 7),
	KVM1("kvm-pv-tlb-flush", 9), KVM1("kvm-asyncpf-vmexit", 10), KVM1("kvm-pv-ipi", 11),
	KVM1("kvm-poll-control", 12), KVM1("kvm-pv-sched-yield", 13), KVM1("kvm-asyncpf-int", 14),
	KVM1("kvm-msi-ext-dest-id", 15), KVM1("kvmclock-stable-bit", 24),
	{ NULL },
};
/* clang-format on */

static bool same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b))
			return false;
	return *a == *b;
}

const struct x86_feature *x86_feature_find(const char *name)
{
	for (const struct x86_feature *f = x86_features; f->name; f++)
		if (same_name(f->name, name))
			return f;
	return NULL;
}

uint32_t *x86_cpuid_reg(struct x86_cpuid *c, enum cpuid_reg reg)
{
	uint32_t *const regs[] = { &c->eax, &c->ebx, &c->ecx, &c->edx };

	return regs[reg];
}

char *x86_feature_names(uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg, uint32_t bits)
{
	GString *s = g_string_new(NULL);

	for (unsigned bit = 0; bit < 32; bit++) {
		const struct x86_feature *f = x86_features;

		if (!(bits & BIT(bit)))
			continue;
		while (f->name && !(f->leaf == leaf && f->subleaf == subleaf && f->reg == reg &&
				    f->bit == bit))
			f++;
		if (s->len)
			g_string_append_c(s, ' ');
		if (f->name)
			g_string_append(s, f->name);
		else
			g_string_append_printf(s, "bit %u", bit);
	}
	return g_string_free(s, FALSE);
}
