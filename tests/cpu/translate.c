/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator against the bare CPU: random unprivileged instructions with random registers,
 * flags, memory, x87, MXCSR and vector state run natively, translated, and in reference mode;
 * everything they leave behind must agree, faults and their addresses included. The code is 64-bit,
 * 32-bit and 16-bit, with flat segments and others. MOA_CASES sets how many, MOA_EACH how many of
 * each extension, MOA_FUZZ_SEED where to start; MOA_ROW and MOA_EXT take one instruction or some
 * extensions'.
 */
#include <stdlib.h>

#include "accel/tcg/frontend/x86/translate.h"
#include "tests/lib/cpu_native.h"
#include "tests/lib/host_cpu.h"
#include "tests/lib/test.h"

static uint8_t memory_at_start[SANDBOX_SIZE];

/* Translated runs. */

/* The pages at CODE; native runs have the same, but for how they end. */
static uint8_t guest_code[CODE_SIZE] __attribute__((aligned(4096)));
static struct tcg_env *env[2]; /* fast, reference */
static struct x86_cpu cpu = {
	.cr0 = CR0_PE | CR0_MP | CR0_NE,
	.cr4 = CR4_OSFXSR | CR4_OSXSAVE,
	.xcr0 = 7,
	.efer = EFER_LMA,
};
static uint8_t *guest_memory[2];

/* What follows on a page lies elsewhere. */
static uint8_t *guest_byte(unsigned k, uint64_t at)
{
	unsigned page = ((unsigned)(at >> 12) * 5 + 3 + k) % (SANDBOX_SIZE / 4096);

	return guest_memory[k] + 4096 * page + at % 4096;
}

static bool memory_is_same(unsigned k)
{
	for (unsigned i = 0; i < SANDBOX_SIZE; i += 4096)
		if (memcmp(guest_byte(k, i), (void *)(uintptr_t)(SANDBOX + i), 4096))
			return false;
	return true;
}

/* This process's own memory lies somewhere there: natively a wild address may meet it. */
#define OURS UINT64_C(0x100000000)
#define OURS_END (UINT64_C(1) << 47)
static bool meets_ours;

/* The guest's vector registers are live. */
static __attribute__((target("general-regs-only"))) void
walk(struct tcg_env *e, uint64_t va, enum tcg_access access, bool system, struct tcg_page *page)
{
	unsigned k = e == env[1];

	*page = (struct tcg_page) { .phys = va, .fast = true, .size = 4096 };
	if (va >= SANDBOX && va < SANDBOX + SANDBOX_SIZE) {
		page->host = guest_byte(k, va - SANDBOX);
		return;
	}
	if (va >= TABLES && va < TABLES + TABLES_SIZE && system) {
		page->host = case_tables + (va - TABLES);
		page->fast = false;
		return;
	}
	if (va >= CODE && va < CODE + CODE_SIZE && access != ACCESS_STORE) {
		page->host = guest_code + (va - CODE);
		return;
	}
	meets_ours |= va >= OURS && va < OURS_END;
	e->fault.address = va;
	tcg_raise_error(e, 14, access == ACCESS_STORE ? 2 : 0);
}

static void no_io(struct tcg_env *e, uint64_t phys, void *data, unsigned size, bool write)
{
	(void)e;
	(void)phys;
	(void)data;
	(void)size;
	(void)write;
	abort();
}

static __attribute__((noinline)) int execute(struct tcg_env *e, const void *before, void *after)
{
	int vector;

	tcg_fpu_load(before);
	vector = tcg_execute(e);
	tcg_fpu_save(after);
	__asm__ volatile("fninit; vzeroupper");
	return vector;
}

/* `fresh`: the code is not what it was in the last run. */
static void run_translated(unsigned k, bool step, bool fresh, struct case_state *out)
{
	static const uint32_t mxcsr = 0x1f80;
	struct tcg_env *e = env[k];

	tcg_env_enter_thread(e);
	if (fresh) {
		tcg_cache_flush(e->cache);
		tcg_jump_cache_flush(e, true);
		/* What is not in the TLB is another way out of the code's checks. */
		if (test_below(4) == 0)
			tcg_flush_translations(e, true);
	}
	memcpy(e->gpr, made.state.gpr, sizeof(e->gpr));
	e->rip = made.state.rip;
	tcg_set_flags(e, made.state.flags);
	e->mode = (step ? MODE_STEP : 0) | (k ? MODE_REFERENCE : 0);
	for (unsigned i = 0; i < 4; i++)
		cpu.seg[i] = segment_at(selectors[i]);
	tcg_update_mode(e);
	memset(out->fpu, 0, sizeof(out->fpu));
	out->vector = execute(e, made.state.fpu, out->fpu);
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	memcpy(out->gpr, e->gpr, sizeof(out->gpr));
	out->rip = e->rip;
	out->flags = tcg_flags(e);
	out->address = e->fault.address;
	out->error = e->fault.error;
	for (unsigned i = 0; i < 4; i++)
		out->segment[i] = cpu.seg[i].selector;
	if (out->vector == TCG_STEPPED)
		out->vector = 1; /* a step is a debug exception natively */
}

static void set_up(void)
{
	const char *s = getenv("MOA_FUZZ_SEED");

	test_seed((s ? strtoull(s, NULL, 0) : 1) * UINT64_C(0x9e3779b97f4a7c15) + 1);
	for (unsigned k = 0; k < 2; k++) {
		struct tcg_cache *c = tcg_cache_new(1 << 20, NULL);

		env[k] = tcg_env_new(c);
		env[k]->walk = walk;
		env[k]->cpu = &cpu;
		env[k]->io = no_io;
		guest_memory[k] = aligned_alloc(4096, SANDBOX_SIZE);
	}
	segments_set_up(&cpu);
	tcg_env_enter_thread(env[0]);
	native_set_up();
	list_neighbours();
	make_memory(memory_at_start);
}

/* Extensions. */

/* Names of extensions for MOA_EXT. Those that MOA_EACH finds short of cases come first. */
static const struct {
	const char *name;
	uint8_t feature;
} extensions[] = {
	{ "base", FEAT_BASE },	   { "x87", FEAT_FPU },	      { "cmov", FEAT_CMOV },
	{ "cx8", FEAT_CX8 },	   { "mmx", FEAT_MMX },	      { "fxsr", FEAT_FXSR },
	{ "sse", FEAT_SSE },	   { "sse2", FEAT_SSE2 },     { "sse3", FEAT_SSE3 },
	{ "ssse3", FEAT_SSSE3 },   { "sse4.1", FEAT_SSE41 },  { "sse4.2", FEAT_SSE42 },
	{ "aes", FEAT_AES },	   { "pclmul", FEAT_PCLMUL }, { "sha", FEAT_SHA },
	{ "avx", FEAT_AVX },	   { "avx2", FEAT_AVX2 },     { "fma", FEAT_FMA },
	{ "f16c", FEAT_F16C },	   { "vaes", FEAT_VAES },     { "vpclmulqdq", FEAT_VPCLMULQDQ },
	{ "gfni", FEAT_GFNI },	   { "bmi1", FEAT_BMI1 },     { "bmi2", FEAT_BMI2 },
	{ "adx", FEAT_ADX },	   { "lzcnt", FEAT_LZCNT },   { "popcnt", FEAT_POPCNT },
	{ "movbe", FEAT_MOVBE },   { "xsave", FEAT_XSAVE },   { "xsaveopt", FEAT_XSAVEOPT },
	{ "xsavec", FEAT_XSAVEC },
};

static unsigned extension_of(const struct insn_row *row)
{
	return row->feature == FEAT_BASE && row->attr & A_FPU ? FEAT_FPU : row->feature;
}

/* MOA_EACH: cases go on until every extension has had so many. */
static long wanted_of_each;
static long cases_of[ARRAY_LEN(extensions)];
static struct row_list rows_of[ARRAY_LEN(extensions)];
static unsigned lacking[ARRAY_LEN(extensions)], lacking_count;

static int fewer_cases(const void *a, const void *b)
{
	long one = cases_of[*(const unsigned *)a], other = cases_of[*(const unsigned *)b];

	return (one > other) - (one < other);
}

/* Those with the fewest first. */
static void find_lacking(void)
{
	lacking_count = 0;
	for (unsigned i = 0; i < ARRAY_LEN(extensions); i++)
		if (rows_of[i].count && cases_of[i] < wanted_of_each)
			lacking[lacking_count++] = i;
	qsort(lacking, lacking_count, sizeof(lacking[0]), fewer_cases);
}

static const struct insn_row *lacking_row(void)
{
	unsigned one = test_below(lacking_count), other = test_below(lacking_count);

	return one_of(&rows_of[lacking[MIN_OF(one, other)]]);
}

/* A case is one of every extension that it gets as far as to use. */
static void count_extensions(void)
{
	uint64_t end = native_out.rip + segment_base(SEG_CS), met = 0;

	for (unsigned i = 0; i < made.insns; i++)
		if (i == 0 || native_out.vector == AT_END || made.insn_at[i] <= end)
			met |= BIT64(extension_of(made.insn[i].row));
	for (unsigned i = 0; i < ARRAY_LEN(extensions); i++)
		cases_of[i] += met >> extensions[i].feature & 1;
}

/* Blocks made because a group's check failed. */
static uint64_t ways_out_of_groups(void)
{
	struct tcg_stats stats;

	tcg_cache_stats(env[0]->cache, &stats);
	return stats.count[TCG_COUNT_APART];
}

static void tell_extensions(void)
{
	printf("ways out of groups %" PRIu64 "\n", ways_out_of_groups());
	for (unsigned i = 0; i < ARRAY_LEN(extensions); i++)
		printf("%s %ld\n", extensions[i].name, cases_of[i]);
	fflush(stdout);
}

static struct row_list first_rows; /* what a case begins with */

static const struct insn_row *first_row(void)
{
	return lacking_count ? lacking_row() : one_of(&first_rows);
}

/* What comes behind others. */
static const struct insn_row *next_row(void)
{
	if (lacking_count && test_below(4))
		return lacking_row();
	return &x86_rows[test_below(x86_row_count)];
}

/* Comparing. */

static bool is_access_fault(int vector)
{
	return vector >= 12 && vector <= 14;
}

/*
 * AMD's gathers leave the mask's elements and the result's upper half as they were; an
 * interrupted REP shows the flags of its last comparison.
 */
static void neutral_after_amd_fault(struct case_state *s)
{
	for (unsigned i = 0; i < 16; i++) {
		if (made.gather_masks >> i & 1) {
			memset(s->fpu + 160 + 16 * i, 0, 16);
			memset(s->fpu + 576 + 16 * i, 0, 16);
		}
		if (made.gather_results >> i & 1)
			memset(s->fpu + 576 + 16 * i, 0, 16);
	}
	if (made.has_rep)
		s->flags = 0;
}

static void neutral(struct case_state *s)
{
	uint8_t *f = s->fpu;

	if (s->vector == 13 && s->rip == made.end)
		s->vector = AT_END;
	neutral_fpu(f);
	/* What 64-bit code alone can see. */
	for (unsigned i = 0; i < GPRS; i++)
		if (code_size() != 8 || s->segment[SEG_CS] != FLAT_CODE64)
			s->gpr[i] &= i < 8 ? UINT32_MAX : 0;
	/* AMD's REP cuts its registers to the address size when it gets somewhere. */
	for (unsigned i = 0; made.has_rep && host_is_amd() && i < GPRS; i++)
		if (i == RCX || i == RSI || i == RDI)
			s->gpr[i] &= UINT32_MAX;
	/* The host's way back to its kernel clears null selectors. */
	for (unsigned i = 0; i < ARRAY_LEN(s->segment); i++)
		s->segment[i] &= s->segment[i] < 4 ? 0 : 0xffff;
	/* IF, RF and the bits that a debugger's step sets are not the program's. */
	s->flags &= (FLAGS_ALL | 0x400) &
		    ~(uint64_t)(s->rip == made.end ? made.undefined : made.undefined_once);
	/* A store that faults may have done its other work already: MMX mode, VCVTPS2PH's
	 * exceptions. */
	if (is_access_fault(s->vector)) {
		if (made.has_mmx) {
			memset(f, 0, 6);
			memset(f + 32, 0, 128);
		}
		if (made.has_half)
			f[MXCSR] = 0;
		if (host_is_amd())
			neutral_after_amd_fault(s);
	}
}

static int differences;
static bool quiet; /* they are counted, not told */

static void report(const struct case_state *got, const char *what, unsigned k)
{
	const char *which = k ? "reference mode" : "fast mode";
	const uint8_t *code = (const uint8_t *)(uintptr_t)made.at;

	differences++;
	if (quiet)
		return;
	fprintf(stderr, "%s: %s differs:", which, what);
	for (unsigned i = 0; i < made.insns; i++)
		fprintf(stderr, " %s", made.insn[i].row->name);
	fprintf(stderr, "; es %x cs %x ss %x ds %x (%x %x %x %x/%x %x %x %x); code",
		selectors[SEG_ES], selectors[SEG_CS], selectors[SEG_SS], selectors[SEG_DS],
		native_out.segment[SEG_ES], native_out.segment[SEG_CS], native_out.segment[SEG_SS],
		native_out.segment[SEG_DS], got->segment[SEG_ES], got->segment[SEG_CS],
		got->segment[SEG_SS], got->segment[SEG_DS]);
	for (unsigned i = 0; i < 24; i++)
		fprintf(stderr, " %02x", code[i]);
	fprintf(stderr,
		"\n  vector %d/%d error %x/%x rip %" PRIx64 "/%" PRIx64 " flags %" PRIx64
		"/%" PRIx64 " (from %" PRIx64 ") address %" PRIx64 "/%" PRIx64 "\n",
		native_out.vector, got->vector, native_out.error, got->error, native_out.rip,
		got->rip, native_out.flags, got->flags, made.state.flags, native_out.address,
		got->address);
	fprintf(stderr, "  from");
	for (unsigned i = 0; i < GPRS; i++)
		fprintf(stderr, " %" PRIx64, made.state.gpr[i]);
	fprintf(stderr, "\n");
	for (unsigned i = 0; i < GPRS; i++)
		if (got->gpr[i] != native_out.gpr[i])
			fprintf(stderr, "  gpr %u: %" PRIx64 "/%" PRIx64 " (from %" PRIx64 ")\n", i,
				native_out.gpr[i], got->gpr[i], made.state.gpr[i]);
	for (unsigned i = 0; i < XSAVE_BYTES; i++)
		if (got->fpu[i] != native_out.fpu[i]) {
			fprintf(stderr, "  fpu byte %u: %02x/%02x (from %02x)\n", i,
				native_out.fpu[i], got->fpu[i], made.state.fpu[i]);
			break;
		}
	for (unsigned i = 0; i < SANDBOX_SIZE; i++) {
		uint8_t bare = *(uint8_t *)(uintptr_t)(SANDBOX + i), ours = *guest_byte(k, i);

		if (bare != ours) {
			fprintf(stderr, "  memory %x: %02x/%02x\n", i, bare, ours);
			break;
		}
	}
	if (differences >= 12)
		test_fail(__FILE__, __LINE__, "too many differences");
}

/* Which of two reasons to fault comes first, or whether there is one, is the processor's choice. */
static bool either_way(const struct case_state *got)
{
	bool segments = got->vector == 12 || got->vector == 13 || native_out.vector == 12 ||
			native_out.vector == 13;

	if ((made.in_parts || made.has_byte_mask || made.any_address) && code_size() != 8 &&
	    segments)
		return true;
	/* AMD's segments end at 4 GiB, Intel's flat ones go round. */
	if (host_is_amd() && code_size() != 8 && segments && got->vector == 14 &&
	    (uint32_t)(got->address + 64) < 64)
		return true;
	/* AMD looks at an operand's second part, behind the canonical addresses, last. */
	if (host_is_amd() && made.in_parts && got->vector == 13 && native_out.vector == 14)
		return true;
	/* How much of its area an XSAVE touches that leaves parts out. */
	if (host_is_amd() && made.any_address && got->vector == 14 && got->rip != native_out.rip)
		return true;
	/* What a mask leaves out may lie behind AMD's segments. */
	if (host_is_amd() && made.has_mask && code_size() != 8 &&
	    (segments || got->vector == 14 || native_out.vector == 14))
		return true;
	return (made.any_address || made.has_mask) && is_access_fault(got->vector) &&
	       is_access_fault(native_out.vector) && segments;
}

/*
 * Whole memories take long. A wrong store waits for the next look, which the last case of a batch
 * has anyway; the batch that is told aloud looks each time. Memories that may differ though nothing
 * is wrong are seen at once.
 */
static bool looks_at_memory(const struct case_state *got, unsigned n)
{
	if (!quiet || n % 32 == 31)
		return true;
	if (got->vector == AT_END && native_out.vector == AT_END)
		return false;
	return made.partial || meets_ours || either_way(got);
}

/* The n-th of a batch. False: the memories may differ, though nothing is wrong. */
static bool compare(struct case_state *got, unsigned k, unsigned n)
{
	bool same;

	neutral(got);
	same = !looks_at_memory(got, n) || memory_is_same(k);
	if (either_way(got) || (meets_ours && got->vector == 14 &&
				(native_out.vector != 14 || native_out.address != got->address)))
		return same;
	if (got->vector != native_out.vector || got->rip != native_out.rip)
		report(got, "how it ends", k);
	else if (got->vector == 14 && !made.any_address &&
		 (got->address ^ native_out.address) >> (made.has_mask ? 12 : 0))
		report(got, "the fault's address", k);
	else if (got->vector == 14 && !made.any_address && (got->error ^ native_out.error) & 2)
		report(got, "whether the fault is a store's", k);
	else if (got->vector >= 10 && got->vector <= 13 && got->error != native_out.error)
		report(got, "the error code", k);
	else if (memcmp(got->gpr, native_out.gpr, sizeof(got->gpr)))
		report(got, "a register", k);
	else if (memcmp(got->segment, native_out.segment, sizeof(got->segment)))
		report(got, "a selector", k);
	else if (got->flags != native_out.flags)
		report(got, "a flag", k);
	else if (memcmp(got->fpu, native_out.fpu, XSAVE_BYTES))
		report(got, "FPU state", k);
	else if (!(made.partial && is_access_fault(got->vector)) && !same)
		report(got, "memory", k);
	return same;
}

/* A case finds what the last one of its batch left, as long as all three agree on that. */
static bool memories_agree;

static void renew_memory(void)
{
	memcpy((void *)(uintptr_t)SANDBOX, memory_at_start, SANDBOX_SIZE);
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < SANDBOX_SIZE; i += 4096)
			memcpy(guest_byte(k, i), memory_at_start + i, 4096);
		tcg_flush_translations(env[k], true);
	}
	memories_agree = true;
}

/* Other cases may have written where selectors are: the host's own descriptors are not ours. */
static void renew_selectors(void)
{
	const uint8_t *from = memory_at_start + (SELECTORS - SANDBOX);

	memcpy((void *)(uintptr_t)SELECTORS, from, SELECTORS_SIZE);
	for (unsigned k = 0; k < 2; k++)
		memcpy(guest_byte(k, SELECTORS - SANDBOX), from, SELECTORS_SIZE);
}

/* The n-th of its batch. False: it was none. */
static bool run_state(unsigned n, bool fresh)
{
	struct case_state got;

	if (!memories_agree)
		renew_memory();
	if (made.reads_ldt)
		renew_selectors();
	if (restores_host_parts())
		return false;
	memories_agree = meets_ours = false;
	native_run();
	/* Misaligned SSE, which AMD's have and we do not offer. */
	if (load_le(native_out.fpu + MXCSR, 4) >> 16)
		return false;
	neutral(&native_out);
	/* A segment's end is found at the target, not at the jump. */
	if (made.branches && !made.reads_ldt && native_out.vector == 13 && code_size() != 8)
		return false;
	/* Whether MASKMOVDQU looks at what its mask leaves out is the processor's choice. */
	if (made.has_byte_mask && (native_out.vector == 13 || native_out.vector == 14))
		return false;
	memories_agree = true;
	for (unsigned i = 0; i < 2; i++) {
		unsigned k = (i ^ n) & 1; /* changing environments is a system call */

		run_translated(k, made.branches, fresh, &got);
		memories_agree &= compare(&got, k, n);
	}
	if (quiet)
		count_extensions();
	return true;
}

/* Most of the time goes into making and translating code: it gets several states. */
#define STATES 8

/* Cases of one code, the n-th and at most `left` of its batch; how many there were. */
static unsigned run_code(const struct insn_row *row, unsigned n, unsigned left)
{
	unsigned done = 0;

	if (!make_case(row, next_row, wanted_of_each != 0))
		return 0;
	memcpy(guest_code + (made.at - CODE), made.code, made.size + 1);
	native_take_code(guest_code);
	do {
		if (!run_state(n + done, done == 0))
			break;
		done++;
	} while (done < MIN_OF(STATES, left) && vary_state());
	return done;
}

/* A list of names as a mask by FEAT_; all if there is none. */
static uint64_t extensions_named(const char *names)
{
	char **list = g_strsplit(names ? names : "", ",", -1);
	uint64_t mask = names ? 0 : UINT64_MAX;

	for (char **name = list; *name; name++) {
		unsigned i = 0;

		while (i < ARRAY_LEN(extensions) && strcmp(*name, extensions[i].name) != 0)
			i++;
		if (i == ARRAY_LEN(extensions))
			test_fail(__FILE__, __LINE__, "MOA_EXT: %s is none of those tested", *name);
		mask |= BIT64(extensions[i].feature);
	}
	g_strfreev(list);
	return mask;
}

static void list_rows(const char *name, uint64_t features)
{
	for (unsigned i = 0; i < x86_row_count; i++) {
		const struct insn_row *row = &x86_rows[i];

		if (!(features >> extension_of(row) & 1) || (name && strcmp(name, row->name) != 0))
			continue;
		list_row(&first_rows, row);
		for (unsigned k = 0; k < ARRAY_LEN(extensions); k++)
			if (extension_of(row) == extensions[k].feature &&
			    !host_lacks(extensions[k].feature))
				list_row(&rows_of[k], row);
	}
	if (!first_rows.count)
		test_fail(__FILE__, __LINE__, "MOA_ROW, MOA_EXT: there is no such instruction");
}

#define BATCH 64

static void run_batch(void)
{
	renew_memory();
	_Static_assert(BATCH % 32 == 0, "the last case looks at memory");
	for (unsigned done = 0; done < BATCH;)
		done += run_code(first_row(), done, BATCH - done);
}

TEST(instructions_do_what_the_bare_cpu_does)
{
	const char *s = getenv("MOA_CASES"), *only = getenv("MOA_ROW"), *ext = getenv("MOA_EXT"),
		   *each = getenv("MOA_EACH"), *this = getenv("MOA_BATCH");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	test_skip("the sanitizer's memory lies where wild addresses should fault");
#endif
	long cases = s ? atol(s) : 400000, done = 0, unsteady = 0, wrong = 0;

	if (s || each)
		alarm(0); /* as long as it takes */
	if (this)
		cases = 1;
	wanted_of_each = each ? atol(each) : 0;
	make_loops = getenv("MOA_LOOPS") != NULL;
	make_neighbours = getenv("MOA_NEIGHBOURS") != NULL;
	set_up();
	list_rows(only, extensions_named(ext));
	for (; (each && !this) || done < cases; done += BATCH) {
		uint64_t batch = this ? strtoull(this, NULL, 0) : test_random();

		find_lacking();
		if (each && !lacking_count)
			break;
		if (each && done % (BATCH << 20) == 0)
			tell_extensions();
		test_seed(batch);
		quiet = true;
		run_batch();
		if (!differences)
			continue;
		/* Again, and aloud. A trap that the host once loses does not come again. */
		test_seed(batch);
		quiet = false;
		differences = 0;
		run_batch();
		unsteady += differences == 0;
		wrong += differences;
		if (differences)
			fprintf(stderr, "Once more: MOA_BATCH=%#" PRIx64 " and the rest alike\n",
				batch);
		differences = 0;
	}
	if (unsteady)
		fprintf(stderr, "%ld differences were not there the second time\n", unsteady);
	if (each)
		tell_extensions();
	CHECK(wrong == 0);
	CHECK(only || ext || done < 400000 || ways_out_of_groups() > 1000);
	if (each)
		printf("%ld cases in all\n", done);
}
