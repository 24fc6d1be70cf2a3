/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logs (-d a,b -D file) and trace points (-trace pattern). Off costs one load and a predicted
 * branch. log_guest reports what the guest did wrong and is rate-limited by place, so that a
 * hostile guest cannot fill a disk.
 */
#pragma once

#include <glib.h>

#include "core/compiler.h"

/* clang-format off */
#define LOG_MASKS(X) \
	X(GUEST_ERRORS, "guest_errors", "what the guest does wrong: bad registers, widths, addresses") \
	X(UNIMP,        "unimp",        "accesses to things that moa does not model") \
	X(RESET,        "reset",        "resets of the machine and its vCPUs") \
	X(INT,          "int",          "interrupts handed to vCPUs") \
	X(IN_ASM,       "in_asm",       "the translator: guest code of every block made") \
	X(OP,           "op",           "the translator: what it knows of its instructions") \
	X(OUT_ASM,      "out_asm",      "the translator: the host code made of it") \
	X(EXEC,         "exec",         "the translator: every block before it runs (blocks are not linked then)") \
	X(MMU,          "mmu",          "the translator: page faults and what empties the TLB") \
	X(CPU,          "cpu",          "vCPU registers at every exit from the engine") \
	X(MEMORY,       "memory",       "changes of the memory map")
/* clang-format on */

enum log_mask {
#define X(id, name, help) LOG_BIT_##id,
	LOG_MASKS(X)
#undef X
};
#define LOG_M(id) BIT(LOG_BIT_##id)

extern uint32_t log_mask;

#define log_enabled(id) unlikely(log_mask &LOG_M(id))
/* log_printf(UNIMP, "format", ...) */
#define log_printf(id, ...)                                                                        \
	do {                                                                                       \
		if (log_enabled(id))                                                               \
			log_write(__VA_ARGS__);                                                    \
	} while (0)

struct device;
struct log_limit {
	int64_t since_ns;
	unsigned count;
};
#define log_guest(dev, ...)                                                                        \
	do {                                                                                       \
		static struct log_limit limit_;                                                    \
		if (log_enabled(GUEST_ERRORS))                                                     \
			log_guest_at(&limit_, (const struct device *)(dev), __VA_ARGS__);          \
	} while (0)

void log_write(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_guest_at(struct log_limit *limit, const struct device *dev, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* Sets the mask from "a,b" ("help" is the caller's); `-d help` text from log_help. */
bool log_set_mask(const char *names, GError **err);
char *log_help(void);
bool log_set_file(const char *path, GError **err);

/* Trace points register themselves in a linker section. */
struct trace_point {
	const char *name, *format;
	bool enabled;
};
#define TRACE(event, fmt, ...)                                                                     \
	do {                                                                                       \
		static struct trace_point tp_ = { #event, fmt, false };                            \
		static struct trace_point *const tpp_                                              \
			__attribute__((section("moa_trace"), used)) = &tp_;                        \
		(void)tpp_;                                                                        \
		if (unlikely(__atomic_load_n(&tp_.enabled, __ATOMIC_RELAXED)))                     \
			trace_write(#event, fmt, ##__VA_ARGS__);                                   \
	} while (0)
void trace_write(const char *name, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Enables the points that match a glob; refuses a pattern that matches none, naming the nearest. */
bool trace_enable(const char *pattern, bool on, GError **err);
/* Name and format of every point, sorted; free with g_free. */
char *trace_help(void);
