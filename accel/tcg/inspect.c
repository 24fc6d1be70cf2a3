/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at the translator: -d in_asm,op,out_asm, `info jit`, and a map of its code for perf. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "accel/tcg/inspect.h"
#include "core/error.h"
#include "core/log.h"
#include "cpu/x86/disassembler.h"

/* code_size: 2, 4, 8. Without a disassembler the bytes. */
static void list(GString *out, const uint8_t *bytes, size_t n, uint64_t at, unsigned code_size)
{
	struct disassembler *d = disassembler_new(code_size, NULL);

	for (size_t i = 0; d && i < n;)
		i += disassemble(d, bytes + i, n - i, at + i, out);
	if (d) {
		disassembler_free(d);
		return;
	}
	g_string_append_printf(out, "0x%08" PRIx64 ": ", at);
	for (size_t i = 0; i < n; i++)
		g_string_append_printf(out, " %02x", bytes[i]);
	g_string_append_c(out, '\n');
}

static const char *const kind_names[] = {
	[K_T] = "template",
	[K_NOP] = "nop",
	[K_UD] = "ud",
#define KIND(name) [K_##name] = #name,
#include "accel/tcg/frontend/x86/kinds.h"
#undef KIND
};

void tcg_log_block(const struct block *b, const uint8_t *bytes, const struct insn *insns,
		   unsigned n)
{
	unsigned code_size = b->mode & MODE_CODE64 ? 8 : b->mode & MODE_CODE32 ? 4 : 2;
	g_autoptr(GString) out = g_string_new(NULL);

	if (log_enabled(IN_ASM)) {
		g_string_append(out, "----------------\nIN:\n");
		list(out, bytes, b->bytes, b->rip, code_size);
	}
	if (log_enabled(OP)) {
		g_string_append(out, "OP:\n");
		for (unsigned i = 0; i < n; i++) {
			const struct insn *in = &insns[i];
			struct flag_class f = insn_flags(in);

			g_string_append_printf(
				out, " %04x: %-12s %-8s flags used %03x set %03x undefined %03x",
				block_places(b)[i].guest, in->row->name, kind_names[in->row->kind],
				f.use, f.def, f.undef);
			if (in->mem)
				g_string_append_printf(out, ", memory %u bytes%s%s",
						       insn_mem_bytes(in),
						       insn_mem_read(in) ? " read" : "",
						       insn_mem_written(in) ? " written" : "");
			g_string_append_c(out, '\n');
		}
	}
	if (log_enabled(OUT_ASM)) {
		g_string_append_printf(out, "OUT: [size=%u]\n", b->code_size);
		list(out, b->code, b->code_size, (uint64_t)(uintptr_t)b->code, 8);
	}
	if (out->len)
		log_write("%s", out->str);
}

/* perf's convention: START SIZE NAME, in hexadecimal, in a file by process id. */
FILE *tcg_perf_map;

bool tcg_perf_map_open(GError **err)
{
	g_autofree char *path = g_strdup_printf("/tmp/perf-%d.map", (int)getpid());

	tcg_perf_map = fopen(path, "we");
	return tcg_perf_map ||
	       error(err, "-perfmap: '%s' cannot be written: %s", path, g_strerror(errno));
}

void tcg_perf_map_add(const struct block *b)
{
	if (tcg_perf_map)
		fprintf(tcg_perf_map, "%lx %x guest_0x%" PRIx64 "\n",
			(unsigned long)(uintptr_t)b->code, b->code_size, b->rip);
}

void tcg_perf_map_close(void)
{
	if (tcg_perf_map)
		fclose(tcg_perf_map);
	tcg_perf_map = NULL;
}

void tcg_print_stats(const struct tcg_stats *s, GString *out)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = { { "code buffer, bytes", s->size },
		     { "code in use, bytes", s->used },
		     { "blocks", s->blocks },
		     { "sites", s->sites },
#define X(member, name) { name, s->count[TCG_COUNT_##member] },
		     TCG_COUNTERS(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		g_string_append_printf(out, "%-40s %" PRIu64 "\n", rows[i].name, rows[i].value);
}
