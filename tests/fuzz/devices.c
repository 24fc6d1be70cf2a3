/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest misbehaviour: any width, any address, any order, on any register, with DMA into the
 * devices' own windows. Bounded in `make check`, for MOA_FUZZ_SECONDS otherwise. A finding prints
 * its seed; run it again with MOA_FUZZ_SEED, then keep it as a device test.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/state.h"
#include "tests/lib/workload.h"

static double seconds_wanted(void)
{
	const char *text = getenv("MOA_FUZZ_SECONDS");

	return text ? atof(text) : 0;
}

static uint64_t fresh_seed(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_nsec << 20 ^ (uint64_t)ts.tv_sec;
}

#define BOUNDED_ACCESSES 3000000

static void fuzz(struct rig *r, struct access (*pick)(void))
{
	double limit = seconds_wanted();
	time_t end = time(NULL) + (time_t)limit;

	if (limit) {
		uint64_t seed = getenv("MOA_FUZZ_SEED") ? strtoull(getenv("MOA_FUZZ_SEED"), NULL, 0)
							: fresh_seed();

		alarm((unsigned)limit + 300);
		fprintf(stderr, "seed 0x%" PRIx64 "\n", seed);
		test_seed(seed);
	}
	for (uint64_t i = 0; limit ? time(NULL) < end : i < BOUNDED_ACCESSES; i++) {
		struct access x = pick();

		/* Seconds at a time would only be spent on timers. */
		x.step = MIN_OF(x.step, INT64_C(1000000));
		workload_do(r, &x);
		if (i % 5000 == 4999)
			machine_reset(&r->m);
	}
}

TEST(every_window_at_random)
{
	struct rig *r = rig_new_config(RIG_USER, workload_config);

	workload_add_devices(r);
	fuzz(r, workload_pick);
	rig_free(r);
}

/* One target per window: all accesses go to it. */
static const struct device *target;
static unsigned target_window;
static uint64_t target_base;
static bool target_pio;

static struct access pick_in_target(void)
{
	const struct window *w = &target->info->windows[target_window];
	struct access x = {
		.pio = target_pio,
		.addr = target_base + test_random() % w->size,
		.size = 1u << test_random() % (target_pio ? 3 : 4),
		.write = test_random() % 3,
		.value = test_random() >> test_random() % 64,
		.step = test_random() % 8 ? 0 : (int64_t)(test_random() % 2000000),
	};

	return x;
}

TEST(each_window_alone)
{
	struct rig *r = rig_new_config(RIG_USER, workload_config);

	workload_add_devices(r);
	for (guint i = 0; i < r->m.devices->len; i++) {
		target = r->m.devices->pdata[i];
		for (unsigned w = 0; target->info->windows && target->info->windows[w].name; w++) {
			const struct region *region = &target->regions[w];

			if (!region_mapped(region))
				continue;
			target_window = w;
			target_base = region->addr;
			target_pio = target->info->windows[w].kind == WIN_PIO;
			for (int n = 0; n < 50000; n++) {
				struct access x = pick_in_target();

				workload_do(r, &x);
			}
			machine_reset(&r->m);
			rig_pci_write(r, 1, 3, 0x40, 0x601, 4);
			rig_pci_write(r, 1, 3, 0x80, 1, 1);
		}
	}
	rig_free(r);
}

/* fw_cfg's DMA engine pointed at everything, itself included. */
static struct access pick_dma(void)
{
	static unsigned turn;
	struct access x = { .pio = true, .size = 4, .write = true };
	static const uint64_t targets[] = { 0x1000,	0xfee00000,  0xfec00000, 0xfed00000,
					    0xfffe0000, 0x100000000, 0xffffff };

	switch (turn++ % 3) {
	case 0: /* a request in RAM */
		x.pio = false;
		x.addr = 0x1000 + test_random() % 16;
		x.size = 8;
		x.value = test_random() % 4 ? test_random()
					    : __builtin_bswap64(targets[test_random() % 7]);
		break;
	case 1:
		x.addr = 0x514;
		x.value = test_random() % 8 ? 0 : test_random();
		break;
	default:
		x.addr = 0x518;
		x.value = __builtin_bswap32(
			(uint32_t)(test_random() % 4 ? 0x1000 : targets[test_random() % 7]));
	}
	return x;
}

TEST(dma_from_anywhere_to_anywhere)
{
	struct rig *r = rig_new_config(RIG_USER, workload_config);

	workload_add_devices(r);
	for (int i = 0; i < 3000; i++) {
		struct access x = pick_dma();

		/* The length is bounded, so that a copy of 4 GiB does not take the test's time. */
		if (!x.pio)
			space_write_le(&r->m.mem, 0x1004,
				       __builtin_bswap32((uint32_t)(test_random() % 70000)), 4);
		if (x.pio || (x.addr & 15) != 4)
			workload_do(r, &x);
		space_write_le(&r->m.mem, 0x1004,
			       __builtin_bswap32((uint32_t)(test_random() % 70000)), 4);
	}
	rig_free(r);
}
