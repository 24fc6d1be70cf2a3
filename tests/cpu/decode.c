/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x86 decoder against two oracles, over random byte strings: the bare CPU (which tells by the
 * kind and place of its fault whether an instruction is defined and how long it is; 64-bit mode)
 * and capstone (lengths and address operands in 16, 32 and 64-bit mode). MOA_DECODE_CASES sets how
 * many.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "accel/tcg/frontend/x86/insn.h"
#include "config.h"
#include "cpu/x86/cpu.h"
#include "tests/lib/host_cpu.h"
#include "tests/lib/test.h"

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>
#endif

#define MOST_BYTES 15

static long cases(long by_default)
{
	const char *s = getenv("MOA_DECODE_CASES"), *t = getenv("MOA_FUZZ_SEED");

	if (t)
		test_seed(strtoull(t, NULL, 0) * 0x9e3779b97f4a7c15u);

	return s ? atol(s) : by_default;
}

/* Half of the strings are noise, half look like instructions. */
static void make_bytes(uint8_t *b, bool wide)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x64, 0x65 };
	unsigned at = 0;
	uint64_t r = test_random();

	for (unsigned i = 0; i < MOST_BYTES; i++)
		b[i] = (uint8_t)(test_random() >> 32);
	if (r & 1)
		return;
	for (unsigned n = r >> 1 & 3; n > 1; n--)
		b[at++] = prefixes[test_random() >> 20 & 7];
	if (wide && r & 8)
		b[at++] = (uint8_t)(0x40 | (r >> 4 & 15));
	switch (r >> 8 & 7) {
	case 0:
	case 1:
		return;
	case 2:
	case 3:
		b[at] = 0x0f;
		return;
	case 4:
		b[at++] = 0x0f;
		b[at] = 0x38;
		return;
	case 5:
		b[at++] = 0x0f;
		b[at] = 0x3a;
		return;
	case 6:
		at = r >> 16 & 1;
		b[at] = 0xc5;
		b[at + 1] |= wide ? 0 : 0xc0;
		return;
	default:
		at = (r >> 16 & 7) == 0;
		b[at] = 0xc4;
		b[at + 1] = (uint8_t)((b[at + 1] & 0xe0) | (1 + (r >> 20) % 3) | (wide ? 0 : 0xc0));
	}
}

static char *hex(const uint8_t *b, unsigned n)
{
	static char text[64];

	for (unsigned i = 0; i < n; i++)
		sprintf(text + 3 * i, "%02x ", b[i]);
	return text;
}

static int differences;

/* Shows the first few of them all, then fails. */
static void differ(const uint8_t *b, const struct insn *in, const char *what)
{
	fprintf(stderr, "%s'%s', length %u: %s\n", hex(b, MOST_BYTES), in->row ? in->row->name : "",
		in->len, what);
	if (++differences == 20)
		test_fail(__FILE__, __LINE__, "too many differences");
}

/* The bare CPU. */

/* Every register holds this: not canonical, a wild selector, no system call's number. */
#define WILD UINT64_C(0x5a5a5a5a5a5affff)

static uint8_t *code_page; /* executable; nothing follows it */
static uint8_t stack[65536] __attribute__((aligned(4096)));
static sigjmp_buf back;
static volatile int caught;
static volatile bool fetch_fault, armed;
static uint8_t *start;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	greg_t *r = u->uc_mcontext.gregs;

	(void)info;
	if (!armed) {
		/* The signal that begins a run. */
		armed = true;
		for (int i = REG_R8; i <= REG_RCX; i++)
			r[i] = (greg_t)WILD;
		r[REG_RSP] = (greg_t)(stack + sizeof(stack) / 2);
		r[REG_RIP] = (greg_t)start;
		r[REG_EFL] = 0x302; /* TF and IF */
		return;
	}
	armed = false;
	caught = signal;
	fetch_fault = signal == SIGSEGV && r[REG_RIP] == (greg_t)start && r[REG_ERR] & 0x10 &&
		      r[REG_TRAPNO] == 14 && r[REG_CR2] == (greg_t)(code_page + 4096);
	siglongjmp(back, 1);
}

/* Runs one instruction of which the CPU may fetch n bytes; the signal it ends with. */
static int run_native(const uint8_t *bytes, unsigned n)
{
	start = code_page + 4096 - n;
	memset(stack, 0, sizeof(stack)); /* no POPF of what another left */
	memcpy(start, bytes, n);
	if (!sigsetjmp(back, 1))
		raise(SIGUSR1);
	return caught;
}

static void set_up_native(void)
{
	static uint8_t alternate[65536];
	stack_t ss = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	static const int signals[] = { SIGUSR1, SIGSEGV, SIGILL, SIGTRAP, SIGBUS, SIGFPE };

	code_page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(code_page != MAP_FAILED && munmap(code_page + 4096, 4096) == 0);
	sigaltstack(&ss, NULL);
	sigfillset(&sa.sa_mask);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &sa, NULL);
}

/* What must not be run here: system calls, and what changes the base of this thread's data. */
static bool dangerous(const uint8_t *b)
{
	for (unsigned i = 0; i + 1 < MOST_BYTES; i++) {
		if (b[i] == 0xcd)
			return true;
		if (b[i] == 0x0f && (b[i + 1] == 0x05 || b[i + 1] == 0x34 || b[i + 1] == 0x07))
			return true;
		/* WRFSBASE and loads of FS, and the hypervisor's instructions. */
		if (b[i] == 0x0f && (b[i + 1] == 0xae || b[i + 1] == 0xa1 || b[i + 1] == 0xb4))
			return true;
		if (b[i] == 0x0f && b[i + 1] == 0x01)
			return true;
		if (b[i] == 0x8e && (b[i + 1] & 0x38) == 0x20)
			return true;
	}
	return false;
}

/* Instructions that the CPU at hand may have and the table leaves out. */
static bool beyond(const uint8_t *b, const struct insn *in)
{
	unsigned at = 0;

	while (at < 14 &&
	       (b[at] == 0x66 || b[at] == 0x67 || b[at] == 0xf2 || b[at] == 0xf3 || b[at] == 0x2e ||
		b[at] == 0x36 || b[at] == 0x26 || b[at] == 0x3e || b[at] == 0x64 || b[at] == 0x65 ||
		(b[at] & 0xf0) == 0x40 || b[at] == 0xf0))
		at++;
	if (b[at] == 0x62) /* EVEX */
		return true;
	if ((b[at] == 0xc6 || b[at] == 0xc7) && b[at + 1] == 0xf8) /* TSX */
		return true;
	if (b[at] == 0x0f && b[at + 1] == 0x38)
		/* GFNI, MOVDIRI, MOVDIR64B, ENQCMD, WRUSS, key locker */
		return b[at + 2] == 0xcf || b[at + 2] == 0xf9 || b[at + 2] == 0xf8 ||
		       b[at + 2] == 0xf5 || b[at + 2] == 0xf6 || (b[at + 2] & 0xf0) == 0xd0;
	if (b[at] == 0x0f && b[at + 1] == 0x3a)
		return b[at + 2] == 0xce || b[at + 2] == 0xcf || b[at + 2] == 0xf0;
	if (b[at] == 0x0f && b[at + 1] == 0xc7) /* XSAVEC's kin in registers: SENDUIPI and VMX */
		return true;
	if (in->vex) {
		unsigned map = b[at] == 0xc5 ? 1 : b[at + 1] & 31;
		unsigned op = in->opcode;

		if (map == 1) /* mask registers */
			return (op >= 0x41 && op <= 0x4b) || (op >= 0x90 && op <= 0x99);
		if (map == 2) /* AMX, VNNI, GFNI, VAES */
			return (op >= 0x49 && op <= 0x5e) || op == 0xcf ||
			       (op >= 0xdc && op <= 0xdf) || (op >= 0xe0 && op <= 0xef);
		if (map == 3) /* mask registers, GFNI, VPCLMUL */
			return (op >= 0x30 && op <= 0x33) || op == 0xce || op == 0xcf || op == 0x44;
	}
	return false;
}

static bool privileged_here(const struct insn *in)
{
	unsigned kind = in->row->kind;

	return in->row->attr & A_CPL0 || kind == K_RSM || kind == K_PKRU || kind == K_HYPERCALL ||
	       kind == K_SLDT || kind == K_STR || kind == K_MONITOR || kind == K_MWAIT ||
	       kind == K_AC;
}

TEST(lengths_and_validity_agree_with_the_bare_cpu)
{
	uint8_t b[MOST_BYTES + 1];
	bool amd = host_is_amd();
	long defined = 0;

	set_up_native();
	for (long n = cases(100000); n > 0; n--) {
		struct insn in;
		enum insn_result r;
		int s;

		make_bytes(b, true);
		if (dangerous(b))
			continue;
		r = x86_decode(&in, b, MOST_BYTES, 8);
		s = run_native(b, MOST_BYTES);
		if (r == INSN_TOO_LONG)
			continue;
		if (r == INSN_UNDEFINED) {
			/* A CPU may find what is undefined too long first. */
			if (s != SIGILL && !beyond(b, &in) && !(amd && amd_has(b)) &&
			    !(s == SIGSEGV && in.len > 5))
				differ(b, &in, "undefined, but the CPU runs it");
			continue;
		}
		if (amd && amd_differs(&in, 8))
			continue;
		if (s == SIGILL) {
			if (!privileged_here(&in) && !host_lacks(in.row->feature))
				differ(b, &in, "the CPU says it is undefined");
			continue;
		}
		defined++;
		run_native(b, in.len);
		if (fetch_fault)
			differ(b, &in, "the CPU reads more");
		if (in.len > 1) {
			run_native(b, in.len - 1u);
			if (!fetch_fault)
				differ(b, &in, "the CPU reads less");
		}
	}
	CHECK(defined > 0 && differences == 0);
}

#ifdef HAVE_CAPSTONE

static int reg_number(csh cs, unsigned reg)
{
	static const char *const names[] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };
	const char *n = cs_reg_name(cs, reg);

	if (!n)
		return -1;
	if ((n[0] == 'x' || n[0] == 'y') && n[1] == 'm')
		return atoi(n + 3);
	if (n[0] == 'r' && n[1] >= '0' && n[1] <= '9')
		return atoi(n + 1);
	if (n[0] == 'r' || n[0] == 'e')
		n++;
	for (int i = 0; i < 8; i++)
		if (!strcmp(n, names[i]))
			return i;
	return -1;
}

/* What capstone 4 gets wrong or does not know, seen by the manuals and the bare CPU. */
static bool capstone_errs(const struct insn *in)
{
	const struct insn_row *row = in->row;
	unsigned kind = row->kind;

	/* Operand size prefixes on near branches and relative targets; AMD's rule and Intel's
	 * differ. */
	if (OPERAND_KIND(row->operand[0]) == OPK_J && in->opsize)
		return true;
	/* Prefixes that mean nothing, which it takes for parts of other instructions. */
	if (in->rep && row->prefix == PFX_ANY)
		return true;
	/* REX before RET and near branches: the bare CPU test tells. */
	if (in->has_rex && (kind == K_RET || OPERAND_KIND(row->operand[0]) == OPK_J))
		return true;
	return kind == K_NOP;
}

static void compare_with_capstone(csh cs, cs_insn *ci, const uint8_t *b, unsigned code_size)
{
	const uint8_t *at = b;
	size_t left = MOST_BYTES;
	uint64_t address = 0;
	struct insn in;
	const cs_x86_op *mem = NULL;

	if (x86_decode(&in, b, MOST_BYTES, code_size) != INSN_OK || capstone_errs(&in))
		return;
	/* What it does not know at all is the bare CPU's to judge. */
	if (!cs_disasm_iter(cs, &at, &left, &address, ci))
		return;
	if (ci->size != in.len) {
		fprintf(stderr, "capstone: %u bytes, %s %s; %u bit: ", ci->size, ci->mnemonic,
			ci->op_str, code_size * 8);
		differ(b, &in, "length");
		return;
	}
	for (unsigned i = 0; i < ci->detail->x86.op_count; i++)
		if (ci->detail->x86.operands[i].type == X86_OP_MEM)
			mem = &ci->detail->x86.operands[i];
	if (!mem || !in.has_modrm || !in.mem)
		return;
	if ((mem->mem.base != X86_REG_INVALID && mem->mem.base != X86_REG_RIP &&
	     mem->mem.base != X86_REG_EIP && reg_number(cs, mem->mem.base) != in.base) ||
	    (mem->mem.index != X86_REG_INVALID && mem->mem.index != X86_REG_RIZ &&
	     mem->mem.index != X86_REG_EIZ && reg_number(cs, mem->mem.index) != in.index) ||
	    (in.index >= 0 && mem->mem.scale != 1 << in.scale) ||
	    (uint16_t)mem->mem.disp != (uint16_t)in.disp) {
		fprintf(stderr, "capstone: %s %s; %u bit: ", ci->mnemonic, ci->op_str,
			code_size * 8);
		differ(b, &in, "address");
	}
}

static void try_capstone(cs_mode mode, unsigned code_size)
{
	uint8_t b[MOST_BYTES + 1];
	cs_insn *ci;
	csh cs;

	CHECK(cs_open(CS_ARCH_X86, mode, &cs) == CS_ERR_OK);
	cs_option(cs, CS_OPT_DETAIL, CS_OPT_ON);
	ci = cs_malloc(cs);
	for (long n = cases(100000); n > 0; n--) {
		make_bytes(b, code_size == 8);
		compare_with_capstone(cs, ci, b, code_size);
	}
	cs_free(ci, 1);
	cs_close(&cs);
	CHECK(differences == 0);
}

TEST(capstone_agrees_on_64_bit_code)
{
	try_capstone(CS_MODE_64, 8);
}

TEST(capstone_agrees_on_32_bit_code)
{
	try_capstone(CS_MODE_32, 4);
}

TEST(capstone_agrees_on_16_bit_code)
{
	try_capstone(CS_MODE_16, 2);
}

#endif
