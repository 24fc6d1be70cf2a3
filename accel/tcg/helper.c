/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What unprivileged instructions without a template do. General registers only. */
#include "accel/tcg/tcg.h"

#define DF BIT64(10)

int helper_raise(struct tcg_env *env, uint64_t vector)
{
	if (vector == 13)
		tcg_raise_error(env, 13, 0);
	tcg_raise(env, (unsigned)vector);
}

/* A vCPU that waits for another may keep it from its host CPU: after some rounds it makes room. */
#define PAUSES 50

int helper_pause(struct tcg_env *env, uint64_t arg)
{
	(void)arg;
	if (++env->pauses % PAUSES)
		__builtin_ia32_pause();
	else
		tcg_yield();
	return 0;
}

static uint64_t part(uint64_t v, unsigned size)
{
	return v & ones(size);
}

/* Adds to a register as an instruction with this address size does. */
static void add_reg(struct tcg_env *env, unsigned reg, unsigned size, int64_t by)
{
	uint64_t v = env->gpr[reg] + (uint64_t)by;

	if (size == 2)
		env->gpr[reg] = (env->gpr[reg] & ~UINT64_C(0xffff)) | (v & 0xffff);
	else
		env->gpr[reg] = part(v, size);
}

static void set_reg(struct tcg_env *env, unsigned reg, unsigned size, uint64_t v)
{
	if (size == 4)
		env->gpr[reg] = (uint32_t)v;
	else
		env->gpr[reg] = (env->gpr[reg] & ~ones(size)) | part(v, size);
}

/* The flags of a CMP, as env->cc has them. */
static uint64_t compare(uint64_t a, uint64_t b, unsigned size)
{
	uint64_t cc = 0;
	unsigned shift = 64 - 8 * size;
	uint8_t carry, zero, sign, overflow;
	uint64_t d = part(a - b, size);

	__asm__("cmp %5, %4; setc %0; setz %1; sets %2; seto %3"
		: "=r"(carry), "=r"(zero), "=r"(sign), "=r"(overflow)
		: "r"(a << shift), "r"(b << shift)
		: "cc");
	cc = (carry ? FLAG_C : 0) | (zero ? FLAG_Z : 0) | (sign ? FLAG_S : 0);
	cc |= __builtin_parity((unsigned)d & 0xff) ? 0 : FLAG_P;
	cc |= (a ^ b ^ d) & FLAG_A;
	return cc << 8 | CC_SAVED | overflow;
}

static uint64_t source(struct tcg_env *env, const union string_arg *a)
{
	return tcg_linear(env, a->segment, part(env->gpr[RSI], a->address_size), a->size, false);
}

static uint64_t destination(struct tcg_env *env, const union string_arg *a, bool write)
{
	return tcg_linear(env, SEG_ES, part(env->gpr[RDI], a->address_size), a->size, write);
}

static void string_once(struct tcg_env *env, const union string_arg *a, int64_t step, uint64_t *cc)
{
	uint64_t x, y;

	switch (a->kind) {
	case K_MOVS:
		x = tcg_load(env, source(env, a), a->size);
		tcg_store(env, destination(env, a, true), x, a->size);
		break;
	case K_STOS:
		tcg_store(env, destination(env, a, true), env->gpr[RAX], a->size);
		break;
	case K_LODS:
		x = tcg_load(env, source(env, a), a->size);
		set_reg(env, RAX, a->size, x);
		break;
	case K_CMPS:
		/* The order in which processors look. */
		y = tcg_load(env, destination(env, a, false), a->size);
		x = tcg_load(env, source(env, a), a->size);
		*cc = compare(x, y, a->size);
		break;
	default:
		y = tcg_load(env, destination(env, a, false), a->size);
		*cc = compare(part(env->gpr[RAX], a->size), y, a->size);
		break;
	}
	if (a->kind == K_MOVS || a->kind == K_LODS || a->kind == K_CMPS)
		add_reg(env, RSI, a->address_size, step);
	if (a->kind != K_LODS)
		add_reg(env, RDI, a->address_size, step);
}

/* Whether several can be done at once: addresses are as wide as they come and have no base. */
static bool chunk_possible(const struct tcg_env *env, const union string_arg *a, bool two,
			   uint64_t count)
{
	return count >= 4 && !(env->mode & MODE_STEP) &&
	       a->address_size == (env->mode & MODE_CODE64 ? 8 : 4) &&
	       mode_segment(env->mode, SEG_ES) == SEGMENT_FLAT &&
	       (!two || mode_segment(env->mode, a->segment) == SEGMENT_FLAT);
}

/*
 * REP MOVS and REP STOS upwards: as many as lie on one page of RAM at either side, by the host's
 * own instruction. Returns how many were done; 0 to do the next one alone.
 */
static uint64_t string_chunk(struct tcg_env *env, const union string_arg *a, uint64_t count)
{
	uint64_t to, from = 0, n;
	void *dst, *src = NULL;

	if (!chunk_possible(env, a, a->kind == K_MOVS, count))
		return 0;
	n = count;
	/* The source's faults come first. */
	if (a->kind == K_MOVS) {
		from = source(env, a);
		n = MIN_OF(n, (PAGE_SIZE_4K - (from & 0xfff)) / a->size);
		if (!n)
			return 0;
		src = tcg_direct(env, from, (unsigned)n * a->size, ACCESS_LOAD);
		if (!src)
			return 0;
	}
	to = destination(env, a, true);
	n = MIN_OF(n, (PAGE_SIZE_4K - (to & 0xfff)) / a->size);
	if (!n)
		return 0;
	dst = tcg_direct(env, to, (unsigned)n * a->size, ACCESS_STORE);
	if (!dst)
		return 0;
	count = n;
#define REP(insn)                                                                                  \
	__asm__ volatile("rep " insn                                                               \
			 : "+D"(dst), "+S"(src), "+c"(n)                                           \
			 : "a"(env->gpr[RAX])                                                      \
			 : "memory")
	switch (a->size | (a->kind == K_MOVS ? 16 : 0)) {
	case 1:
		REP("stosb");
		break;
	case 2:
		REP("stosw");
		break;
	case 4:
		REP("stosl");
		break;
	case 8:
		REP("stosq");
		break;
	case 17:
		REP("movsb");
		break;
	case 18:
		REP("movsw");
		break;
	case 20:
		REP("movsl");
		break;
	default:
		REP("movsq");
		break;
	}
#undef REP
	return count;
}

/*
 * REP SCAS and REP CMPS upwards: as many as lie on one page of RAM at either side, until one ends
 * it, and its flags. How many; 0 to do the next one alone.
 */
static uint64_t scan_chunk(struct tcg_env *env, const union string_arg *a, uint64_t count,
			   uint64_t *cc)
{
	bool two = a->kind == K_CMPS;
	uint64_t at, n, flags = env->gpr[RAX];
	const void *dst, *src = NULL;

	if (!chunk_possible(env, a, two, count))
		return 0;
	at = destination(env, a, false);
	n = MIN_OF(count, (PAGE_SIZE_4K - (at & 0xfff)) / a->size);
	if (two)
		n = MIN_OF(n, (PAGE_SIZE_4K - (part(env->gpr[RSI], a->address_size) & 0xfff)) /
				      a->size);
	if (!n)
		return 0;
	dst = tcg_direct(env, at, (unsigned)n * a->size, ACCESS_LOAD);
	if (!dst)
		return 0;
	if (two) {
		src = tcg_direct(env, source(env, a), (unsigned)n * a->size, ACCESS_LOAD);
		if (!src)
			return 0;
	}
	count = n;
#define SCAN(insn)                                                                                 \
	__asm__ volatile(insn "; lahf; seto %%al"                                                  \
			 : "+D"(dst), "+S"(src), "+c"(n), "+a"(flags)                              \
			 :                                                                         \
			 : "memory", "cc")
#define SCAN_SIZE(key, letter)                                                                     \
	case key:                                                                                  \
		SCAN("repne scas" letter);                                                         \
		break;                                                                             \
	case key | 16:                                                                             \
		SCAN("repe scas" letter);                                                          \
		break;                                                                             \
	case key | 32:                                                                             \
		SCAN("repne cmps" letter);                                                         \
		break;                                                                             \
	case key | 48:                                                                             \
		SCAN("repe cmps" letter);                                                          \
		break
	switch (a->size | (a->rep == 0xf3 ? 16 : 0) | (two ? 32 : 0)) {
		SCAN_SIZE(1, "b");
		SCAN_SIZE(2, "w");
		SCAN_SIZE(4, "l");
		SCAN_SIZE(8, "q");
	}
#undef SCAN_SIZE
#undef SCAN
	*cc = flags & 0xffff;
	return count - n;
}

int helper_string(struct tcg_env *env, uint64_t word)
{
	union string_arg a = { .word = word };
	int64_t step = env->eflags & DF ? -(int64_t)a.size : a.size;
	/* Only an instruction that completes sets the flags. */
	uint64_t cc = env->cc;
	unsigned polls = 0;

	if (!a.rep) {
		string_once(env, &a, step, &cc);
		env->cc = cc;
		return 0;
	}
	/* The count is cut even if the first round faults or there is none, and so are fast
	 * strings' addresses. */
	if (a.address_size == 4)
		add_reg(env, RCX, 4, 0);
	if (a.address_size == 4 && (a.kind == K_MOVS || a.kind == K_STOS)) {
		add_reg(env, RDI, 4, 0);
		if (a.kind == K_MOVS)
			add_reg(env, RSI, 4, 0);
	}
	while (part(env->gpr[RCX], a.address_size)) {
		uint64_t done = 0;

		if (step > 0 && (a.kind == K_MOVS || a.kind == K_STOS))
			done = string_chunk(env, &a, part(env->gpr[RCX], a.address_size));
		else if (step > 0 && (a.kind == K_SCAS || a.kind == K_CMPS))
			done = scan_chunk(env, &a, part(env->gpr[RCX], a.address_size), &cc);
		if (done) {
			if (a.kind == K_MOVS || a.kind == K_CMPS)
				add_reg(env, RSI, a.address_size, (int64_t)done * step);
			add_reg(env, RDI, a.address_size, (int64_t)done * step);
		} else {
			string_once(env, &a, step, &cc);
			done = 1;
		}
		add_reg(env, RCX, a.address_size, -(int64_t)done);
		if ((a.kind == K_CMPS || a.kind == K_SCAS) &&
		    !!(cc >> 8 & FLAG_Z) != (a.rep == 0xf3))
			break;
		/* A step is one round. */
		if (env->mode & MODE_STEP && part(env->gpr[RCX], a.address_size)) {
			env->budget++; /* not done yet */
			return 1;
		}
		/* An interrupt may come between two rounds; the instruction begins again after it.
		 */
		if ((++polls & 63) == 0 && tcg_asked(env) && part(env->gpr[RCX], a.address_size)) {
			env->budget++;
			return 1;
		}
	}
	env->cc = cc;
	return 0;
}
