/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/cpu_native.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "tests/lib/test.h"

struct case_state native_out;
extern uint64_t native_stack; /* this program's, while the case's is in use */
uint64_t native_stack;
static volatile bool native;
static void (*other_handler)(int signal, siginfo_t *info, void *context);
static sigjmp_buf native_done;

/*
 * IRET takes a program at its own level to any code segment, with any flags and stack: what the
 * kernel would do, without a signal. To a 16-bit stack it leaves bits 31 to 16 of the old stack
 * pointer, so the frame is mapped where those are the case's.
 */
struct way_in {
	uint64_t gpr[GPRS], rip, cs, flags, rsp, ss;
};
#define WAY_IN UINT64_C(0x512300000000) /* no 32-bit code gets there */
static __attribute__((noinline)) void enter_native(void)
{
	struct way_in *way = (void *)(WAY_IN | made.stack_half);

	memcpy(way->gpr, made.state.gpr, sizeof(way->gpr));
	way->rip = made.state.rip;
	way->cs = selectors[SEG_CS];
	way->flags = made.state.flags | (made.branches ? 0x100 : 0);
	way->rsp = made.state.gpr[RSP];
	way->ss = selectors[SEG_SS];
	native = true;
	__asm__ volatile("mov %%rsp, native_stack(%%rip)\n\t"
			 "mov %[es], %%es\n\tmov %[ds], %%ds\n\t"
			 "xrstor64 (%[fpu])\n\t"
			 "mov %[way], %%rsp\n\t"
			 "pop %%rax\n\tpop %%rcx\n\tpop %%rdx\n\tpop %%rbx\n\t"
			 "add $8, %%rsp\n\t"
			 "pop %%rbp\n\tpop %%rsi\n\tpop %%rdi\n\t"
			 "pop %%r8\n\tpop %%r9\n\tpop %%r10\n\tpop %%r11\n\t"
			 "pop %%r12\n\tpop %%r13\n\tpop %%r14\n\tpop %%r15\n\t"
			 "iretq"
			 :
			 : [es] "r"((int)selectors[SEG_ES]), [ds] "r"((int)selectors[SEG_DS]),
			   [fpu] "r"(made.state.fpu), [way] "r"(way), "a"(7), "d"(0)
			 : "memory");
	__builtin_unreachable();
}

static const int8_t context_reg[GPRS] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
					  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
					  REG_R12, REG_R13, REG_R14, REG_R15 };

static void on_signal(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	greg_t *r = u->uc_mcontext.gregs;
	uint8_t *fpu = (uint8_t *)u->uc_mcontext.fpregs;

	if (!native) {
		other_handler(signal, info, context);
		return;
	}
	native = false;
	__asm__ volatile("mov %%es, %0\n\tmov %%ds, %1"
			 : "=r"(native_out.segment[SEG_ES]), "=r"(native_out.segment[SEG_DS]));
	native_out.segment[SEG_CS] = (uint16_t)r[REG_CSGSFS];
	native_out.segment[SEG_SS] = (uint16_t)(r[REG_CSGSFS] >> 48);
	for (unsigned i = 0; i < GPRS; i++)
		native_out.gpr[i] = (uint64_t)r[context_reg[i]];
	native_out.rip = (uint64_t)r[REG_RIP];
	native_out.flags = (uint64_t)r[REG_EFL];
	memcpy(native_out.fpu, fpu, XSAVE_BYTES);
	native_out.vector = (int)r[REG_TRAPNO];
	native_out.address = (uint64_t)r[REG_CR2];
	native_out.error = (uint32_t)r[REG_ERR];
	siglongjmp(native_done, 1);
}

/* A jump to it ends 64-bit code without a signal, which takes a third of a case's time. */
void native_end(void);
_Static_assert(offsetof(struct case_state, fpu) == 192, "native_end() stores there");
__asm__(".pushsection .text\n"
	"native_end:\n\t"
	"mov %rax, native_out(%rip)\n\tmov %rcx, native_out+8(%rip)\n\t"
	"mov %rdx, native_out+16(%rip)\n\tmov %rbx, native_out+24(%rip)\n\t"
	"mov %rsp, native_out+32(%rip)\n\tmov %rbp, native_out+40(%rip)\n\t"
	"mov %rsi, native_out+48(%rip)\n\tmov %rdi, native_out+56(%rip)\n\t"
	"mov %r8, native_out+64(%rip)\n\tmov %r9, native_out+72(%rip)\n\t"
	"mov %r10, native_out+80(%rip)\n\tmov %r11, native_out+88(%rip)\n\t"
	"mov %r12, native_out+96(%rip)\n\tmov %r13, native_out+104(%rip)\n\t"
	"mov %r14, native_out+112(%rip)\n\tmov %r15, native_out+120(%rip)\n\t"
	"mov native_stack(%rip), %rsp\n\tpushfq\n\tpop %rdi\n\tcld\n\t"
	"mov $7, %eax\n\txor %edx, %edx\n\txsave64 native_out+192(%rip)\n\t"
	"and $-16, %rsp\n\tcall native_ended\n"
	".popsection");

void native_ended(uint64_t flags);
void native_ended(uint64_t flags)
{
	static const uint32_t mxcsr = 0x1f80;

	native = false;
	__asm__ volatile("vzeroupper\n\tldmxcsr %2\n\tmov %%es, %0\n\tmov %%ds, %1"
			 : "=r"(native_out.segment[SEG_ES]), "=r"(native_out.segment[SEG_DS])
			 : "m"(mxcsr));
	native_out.segment[SEG_CS] = selectors[SEG_CS];
	native_out.segment[SEG_SS] = selectors[SEG_SS];
	native_out.flags = flags;
	native_out.rip = made.end;
	native_out.vector = AT_END;
	native_out.error = 0;
	siglongjmp(native_done, 1);
}

void native_run(void)
{
	if (!sigsetjmp(native_done, 0))
		enter_native();
	__asm__ volatile("mov %0, %%es\n\tmov %0, %%ds\n\tfninit\n\tcld" : : "r"(0));
}

static uint8_t *code; /* the pages at CODE, writable */

void native_take_code(const uint8_t *pages)
{
	static uint8_t jmp[14] = { 0xff, 0x25 }; /* jmp [rip + 0] */
	static unsigned last_end;
	unsigned start = (unsigned)(made.at - CODE), end = start + made.size;

	memcpy(code + last_end, pages + last_end, sizeof(jmp));
	memcpy(code + start, pages + start, made.size + 1);
	last_end = end;
	if (code_size() == 8 && !made.branches && !made.reads_ldt && !made.reads_code) {
		store_le(jmp + 6, (uintptr_t)native_end, 8);
		memcpy(code + end, jmp, sizeof(jmp));
	}
}

void native_set_up(void)
{
	static const int signals[] = { SIGSEGV, SIGILL, SIGTRAP, SIGBUS, SIGFPE };
	struct sigaction sa = { .sa_sigaction = on_signal,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER },
			 old;
	int fd = memfd_create("code", 0);

	CHECK(fd >= 0 && ftruncate(fd, CODE_SIZE) == 0);
	CHECK(mmap((void *)CODE, CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) ==
	      (void *)CODE);
	code = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(code != MAP_FAILED);
	CHECK(mmap((void *)SANDBOX, SANDBOX_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (void *)SANDBOX);
	fd = memfd_create("way-in", 0);
	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	for (unsigned i = 0; i < ARRAY_LEN(case_stack_halves); i++) {
		void *at = (void *)(WAY_IN | case_stack_halves[i]);

		CHECK(mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == at);
	}
	sigaction(SIGSEGV, NULL, &old);
	other_handler = old.sa_sigaction;
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &sa, NULL);
}
