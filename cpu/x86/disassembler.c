/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86 instructions as text: see disassembler.h. */
#include "cpu/x86/disassembler.h"

#include <inttypes.h>

#include "config.h"
#include "core/error.h"

#ifdef HAVE_CAPSTONE

#include <capstone/capstone.h>

#include "core/library.h"

#define FUNCTIONS(X) X(cs_open) X(cs_close) X(cs_disasm) X(cs_free)

LIBRARY(capstone, CAPSTONE_SONAME);

struct disassembler {
	csh handle;
};

struct disassembler *disassembler_new(unsigned code_size, GError **err)
{
	cs_mode mode = code_size == 8 ? CS_MODE_64 : code_size == 4 ? CS_MODE_32 : CS_MODE_16;
	struct disassembler *d;
	csh handle;

	if (!library_load(&capstone, err))
		return NULL;
	if (lib.cs_open(CS_ARCH_X86, mode, &handle) != CS_ERR_OK) {
		error(err, "capstone has no x86 disassembler");
		return NULL;
	}
	d = g_new(struct disassembler, 1);
	d->handle = handle;
	return d;
}

void disassembler_free(struct disassembler *d)
{
	lib.cs_close(&d->handle);
	g_free(d);
}

size_t disassemble(struct disassembler *d, const uint8_t *bytes, size_t n, uint64_t at,
		   GString *out)
{
	cs_insn *insn;
	size_t size = 1;

	if (lib.cs_disasm(d->handle, bytes, n, at, 1, &insn)) {
		g_string_append_printf(out, "0x%08" PRIx64 ":  %s %s\n", at, insn->mnemonic,
				       insn->op_str);
		size = insn->size;
		lib.cs_free(insn, 1);
	} else {
		g_string_append_printf(out, "0x%08" PRIx64 ":  .byte 0x%02x\n", at, bytes[0]);
	}
	return size;
}

#else

struct disassembler *disassembler_new(unsigned code_size, GError **err)
{
	(void)code_size;
	error(err, "this moa was built without capstone: configure it with --enable-capstone");
	return NULL;
}

void disassembler_free(struct disassembler *d)
{
	(void)d;
}

size_t disassemble(struct disassembler *d, const uint8_t *bytes, size_t n, uint64_t at,
		   GString *out)
{
	(void)d, (void)bytes, (void)n, (void)at, (void)out;
	return 1;
}

#endif
