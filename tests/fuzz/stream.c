/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Untrusted input other than the guest's: saved state, QMP text, option lists, CPU models. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/options.h"
#include "core/state.h"
#include "monitor/monitor.h"
#include "tests/lib/workload.h"

static bool more(uint64_t i, uint64_t bounded)
{
	static time_t end;
	uint64_t seed;
	const char *text = getenv("MOA_FUZZ_SECONDS");

	if (!text)
		return i < bounded;
	if (!end) {
		end = time(NULL) + atoi(text);
		alarm((unsigned)atoi(text) + 300);
		seed = getenv("MOA_FUZZ_SEED") ? strtoull(getenv("MOA_FUZZ_SEED"), NULL, 0)
					       : (uint64_t)time(NULL);
		test_seed(seed);
		fprintf(stderr, "seed %" PRIu64 "\n", seed);
	}
	return time(NULL) < end;
}

TEST(saved_state)
{
	struct rig *r = rig_new_config(RIG_USER, workload_config);
	g_autoptr(GByteArray) good = g_byte_array_new();

	workload_add_devices(r);
	workload_run(r, 500);
	machine_save(&r->m, good);
	for (uint64_t i = 0; more(i, 300); i++) {
		g_autofree uint8_t *bad = g_memdup2(good->data, good->len);
		size_t len = test_random() % 4 ? good->len : test_random() % good->len;

		for (unsigned n = test_random() % 8; n; n--)
			bad[test_random() % good->len] ^= (uint8_t)(1u << test_random() % 8);
		if (!machine_load(&r->m, bad, len, NULL))
			machine_reset(&r->m);
		workload_run(r, 20);
	}
	rig_free(r);
}

static char *random_text(const char *const *words, size_t n)
{
	GString *s = g_string_new(NULL);

	for (unsigned i = test_random() % 12; i; i--) {
		if (test_random() % 5)
			g_string_append(s, words[test_random() % n]);
		else
			g_string_append_c(s, (char)(test_random() % 255 + 1));
	}
	return g_string_free(s, FALSE);
}

TEST(cpu_models)
{
	static const char *const words[] = { "qemu64",
					     "host",
					     ",",
					     "+",
					     "-",
					     "avx",
					     "=",
					     "on",
					     "enforce",
					     "vendor=",
					     "family=",
					     "999",
					     "tsc-frequency=",
					     "1G",
					     "model-id=" };

	for (uint64_t i = 0; more(i, 50000); i++) {
		g_autofree char *text = random_text(words, ARRAY_LEN(words));
		struct x86_cpu_config c = { 0 };
		static struct x86_cpu cpu;
		static const struct x86_topology t = { 1, 1, 1, 1, 1 };
		static const struct x86_host_cpuid none;

		if (x86_cpu_config_parse(&c, text, NULL)) {
			c.check = false;
			x86_cpuid_build(&cpu, &c, &t, &none, NULL);
		}
		x86_cpu_config_clear(&c);
	}
}

TEST(option_lists_and_hmp_lines)
{
	static const char *const words[] = { "info ",  "x ",	"/",	 "16",	"xb",
					     "0x1000", "p ",	"(",	 ")",	"<<",
					     "$rip",   "help ", "mtree", " -f", "registers",
					     "o ",     "i ",	"stop",	 ",",	"=" };
	static struct machine m;

	machine_lock();
	machine_init(&m);
	m.context = g_main_context_default();
	for (uint64_t i = 0; more(i, 50000); i++) {
		g_autofree char *text = random_text(words, ARRAY_LEN(words));
		struct optlist *l = optlist_parse("-x", text, "first");

		optlist_get(l, "first");
		optlist_finish(l, NULL);
		optlist_free(l);
		g_free(hmp_run_line(&m, NULL, text));
	}
}
