/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpu/x86/models.h"
#include "tests/lib/test.h"

/* A host with everything below AVX-512. */
static struct x86_cpuid leaves[] = {
	{ 0, 0, 0, 0x16, 0, 0, 0 },
	{ 1, 0, 0, 0x306c3, 0, 0xffffffff, 0xffffffff },
	{ 6, 0, 0, 4, 0, 0, 0 },
	{ 7, 0, 1, 0, 0x0fffffff & ~BIT(16), 0xffff, 0xffffffff },
	{ 0xd, 0, 1, 7, 832, 832, 0 },
	{ 0xd, 1, 1, 15, 832, 0, 0 },
	{ 0xd, 2, 1, 256, 576, 0, 0 },
	{ 0x40000001, 0, 0, 0x01007efb, 0, 0, 0 },
	{ 0x80000000, 0, 0, 0x80000008, 0, 0, 0 },
	{ 0x80000001, 0, 0, 0, 0, 0xffffffff, 0xffffffff },
	{ 0x80000007, 0, 0, 0, 0, 0, 0x100 },
	{ 0x80000008, 0, 0, 0x3027, 0, 0, 0 },
};
static struct x86_host_cpuid host = { ARRAY_LEN(leaves), leaves, true };
static struct x86_topology one = { 1, 1, 1, 1, 1 };
static struct x86_cpu cpu;

static void build(const char *text)
{
	struct x86_cpu_config c;
	GError *err = NULL;

	if (!x86_cpu_config_parse(&c, text, &err) || !x86_cpuid_build(&cpu, &c, &one, &host, &err))
		test_fail(__FILE__, __LINE__, "%s: %s", text, err->message);
}

static const char *refused(const char *text)
{
	struct x86_cpu_config c;
	GError *err = NULL;

	CHECK(!x86_cpu_config_parse(&c, text, &err) ||
	      !x86_cpuid_build(&cpu, &c, &one, &host, &err));
	return err->message;
}

static bool has(const char *feature)
{
	const struct x86_feature *f = x86_feature_find(feature);
	const struct x86_cpuid *l = x86_cpuid_find(&cpu, f->leaf, f->subleaf);
	struct x86_cpuid copy = l ? *l : (struct x86_cpuid) { 0 };

	return *x86_cpuid_reg(&copy, f->reg) & BIT(f->bit);
}

TEST(apic_ids_have_power_of_two_fields)
{
	struct x86_topology t = { 12, 2, 3, 2, 12 };

	CHECK_EQ(x86_apic_id(&t, 0), 0);
	CHECK_EQ(x86_apic_id(&t, 1), 1);
	CHECK_EQ(x86_apic_id(&t, 2), 2);
	CHECK_EQ(x86_apic_id(&t, 5), 5);
	CHECK_EQ(x86_apic_id(&t, 6), 8);
	CHECK_EQ(x86_apic_id(&t, 11), 13);
}

TEST(named_models_have_their_features_only)
{
	build("qemu64");
	CHECK(has("sse2") && has("cx16") && has("lm") && has("hypervisor") && !has("avx") &&
	      !has("monitor"));
	CHECK_EQ(x86_cpuid_find(&cpu, 0, 0)->ebx, 0x68747541); /* "Auth" */
	build("pentium");
	CHECK(has("mmx") && !has("sse") && !has("lm"));
	build("Haswell-noTSX");
	CHECK(has("avx2") && !has("rtm"));
	CHECK_EQ(x86_cpuid_find(&cpu, 0xd, 0)->eax, 7);
	CHECK_EQ(x86_cpuid_find(&cpu, 0xd, 0)->ebx, 832);
	CHECK_EQ(x86_cpuid_find(&cpu, 1, 0)->eax, 0x306c1);
}

TEST(plus_and_minus_and_paravirtual_bits)
{
	build("qemu64,+ssse3,-sse3,x2apic=on");
	CHECK(has("ssse3") && !has("sse3") && has("x2apic"));
	CHECK(has("kvmclock-new") && !(x86_cpuid_find(&cpu, 0x40000001, 0)->eax & 4));
	build("qemu64,kvm=off");
	CHECK(!x86_cpuid_find(&cpu, 0x40000000, 0));
	build("qemu64,-kvmclock,-kvm_asyncpf");
	CHECK(!has("kvmclock") && has("kvmclock-new") && !has("kvm-asyncpf"));
}

TEST(what_the_host_lacks_is_dropped_or_refused)
{
	leaves[3].ebx &= ~BIT(5); /* AVX2 */
	build("Haswell-noTSX,check=off");
	CHECK(!has("avx2") && has("avx"));
	CHECK_HAS(refused("Haswell-noTSX,enforce"), "avx2");
}

TEST(host_passes_everything_through)
{
	build("host");
	CHECK(has("avx2") && has("vmx"));
	CHECK_EQ(x86_cpuid_find(&cpu, 1, 0)->eax, 0x306c3);
	build("host,vendor=ABCDEFGHIJKL,model-id=My CPU");
	CHECK_EQ(x86_cpuid_find(&cpu, 0, 0)->ebx, 0x44434241);
	CHECK_EQ(x86_cpuid_find(&cpu, 0x80000002, 0)->eax, 0x4320794d);
}

TEST(mistakes_are_named)
{
	CHECK_HAS(refused("qemu46"), "did you mean 'qemu64'");
	CHECK_HAS(refused("qemu64,+sse5x"), "no feature 'sse5x'");
	CHECK_HAS(refused("qemu64,vendor=short"), "12 characters");
	CHECK_HAS(refused("qemu64,tsc-frequency=fast"), "tsc-frequency");
}

TEST(topology_is_in_leaf_1_and_b)
{
	struct x86_topology t = { 4, 1, 2, 2, 4 };
	struct x86_cpu_config c;

	x86_cpu_config_parse(&c, "qemu64", NULL);
	cpu.apic_id = 3;
	CHECK(x86_cpuid_build(&cpu, &c, &t, &host, NULL));
	CHECK_EQ(x86_cpuid_find(&cpu, 1, 0)->ebx >> 24, 3);
	CHECK_EQ(x86_cpuid_find(&cpu, 1, 0)->ebx >> 16 & 0xff, 4);
	CHECK(has("ht"));
	CHECK_EQ(x86_cpuid_find(&cpu, 0xb, 1)->ebx, 4);
}

/* A list's entry as bytes of cache, and how many threads share it. */
static uint64_t cache_bytes(uint32_t leaf, uint32_t i)
{
	const struct x86_cpuid *c = x86_cpuid_find(&cpu, leaf, i);

	CHECK(c != NULL);
	return ((uint64_t)(c->ebx >> 22) + 1) * ((c->ebx >> 12 & 0x3ff) + 1) *
	       ((c->ebx & 0xfff) + 1) * ((uint64_t)c->ecx + 1);
}

TEST(caches_are_told_where_the_host_tells_none)
{
	struct x86_topology t = { 8, 1, 4, 2, 8 };
	struct x86_cpu_config c;

	x86_cpu_config_parse(&c, "Skylake-Client-noTSX-IBRS", NULL);
	CHECK(x86_cpuid_build(&cpu, &c, &t, &host, NULL));
	CHECK_EQ(cache_bytes(4, 0), 32 << 10);
	CHECK_EQ(cache_bytes(4, 1), 32 << 10);
	CHECK_EQ(cache_bytes(4, 2), 2 << 20);
	CHECK_EQ(cache_bytes(4, 3), 16 << 20);
	CHECK_EQ(x86_cpuid_find(&cpu, 4, 4)->eax & 31, 0);
	CHECK_EQ(x86_cpuid_find(&cpu, 4, 0)->eax >> 14 & 0xfff, 1); /* the core's threads */
	CHECK_EQ(x86_cpuid_find(&cpu, 4, 3)->eax >> 14 & 0xfff, 7); /* the socket's */
	CHECK_EQ(x86_cpuid_find(&cpu, 4, 3)->eax >> 26, 3);
	build("EPYC");
	CHECK_EQ(x86_cpuid_find(&cpu, 0x80000005, 0)->ecx >> 24, 32);
	CHECK_EQ(x86_cpuid_find(&cpu, 0x80000006, 0)->ecx >> 16, 2048);
	CHECK_EQ(x86_cpuid_find(&cpu, 0x80000006, 0)->edx >> 18, 32);
	CHECK(!x86_cpuid_find(&cpu, 4, 0));
	build("pentium");
	CHECK(!x86_cpuid_find(&cpu, 2, 0) && !x86_cpuid_find(&cpu, 4, 0));
}
