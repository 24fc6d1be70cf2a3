/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Protection keys as Linux offers them: what a key denies is a fault that names it, in system calls
 * an error. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static sigjmp_buf after;
static volatile int code, key;
static int mine;
static unsigned rights;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	code = info->si_code;
	key = (int)info->si_pkey;
	siglongjmp(after, 1);
}

static void set(unsigned wanted)
{
	rights = wanted;
	pkey_set(mine, rights);
}

/* 0: it may; else the signal's code. Handlers begin with other rights, and are not returned from.
 */
static int try(volatile char *p, int write)
{
	code = 0;
	if (!sigsetjmp(after, 1)) {
		if (write)
			*p = 1;
		else
			(void)*p;
	}
	pkey_set(mine, rights);
	return code;
}

static void expect(const char *what, int is, int should)
{
	if (is != should) {
		printf("PKEYS FAILED %s: %d, not %d\n", what, is, should);
		exit(1);
	}
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd[2];

	mine = pkey_alloc(0, 0);
	if (mine < 0) {
		perror("PKEYS FAILED pkey_alloc");
		return 1;
	}
	sigaction(SIGSEGV, &sa, NULL);
	expect("pipe", pipe(fd), 0);
	expect("pkey_mprotect", pkey_mprotect(p, 4096, PROT_READ | PROT_WRITE, mine), 0);
	expect("a write", try(p, 1), 0);
	set(PKEY_DISABLE_WRITE);
	expect("a read, writes disabled", try(p, 0), 0);
	expect("a write, writes disabled", try(p, 1), SEGV_PKUERR);
	expect("the key", key, mine);
	expect("a system call's read", (int)write(fd[1], p, 1), 1);
	expect("a system call's write", (int)read(fd[0], p, 1), -1);
	expect("its error", errno, EFAULT);
	set(PKEY_DISABLE_ACCESS);
	expect("a read, access disabled", try(p, 0), SEGV_PKUERR);
	expect("another page", try(p + 4096, 1), 0);
	/* The register belongs to the thread: it survives others. */
	for (int i = 0; i < 50; i++)
		usleep(1000);
	expect("a read after others ran", try(p, 0), SEGV_PKUERR);
	set(0);
	expect("a write, all allowed", try(p, 1), 0);
	expect("mprotect", mprotect(p + 4096, 4096, PROT_READ), 0);
	expect("a write to read-only memory", try(p + 4096, 1), SEGV_ACCERR);
	puts("PKEYS OK");
	return 0;
}
