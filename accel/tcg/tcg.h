/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator's run-time: what translated code, the thunks in host/thunks.S and the C code
 * behind them share. docs/accel-tcg.md tells the whole.
 *
 * Translated code keeps most guest registers in host registers of the same name, the guest's
 * arithmetic flags in the host's, and x87, MMX, SSE and AVX state in the host's own registers. What
 * else there is of a vCPU is in struct tcg_env, which GS points to. C code that runs while the
 * guest's vector registers are live is compiled to use general registers only (the Makefile says
 * which files), and calls anything else between tcg_outside_begin and tcg_outside_end.
 */
#pragma once

#include <setjmp.h>

#include "accel/tcg/frontend/x86/insn.h"
#include "accel/tcg/world.h"
#include "cpu/x86/cpu.h"

#define TLB_ENTRIES 4096
#define JUMP_CACHE_ENTRIES 16384

/*
 * A software TLB. tag[] holds the page's virtual address, or one that would be another entry's;
 * host[] where the page is. One for loads, one for stores: a page is in the second only while
 * writing it needs no more than writing it.
 */
struct tlb_table {
	uint64_t tag[TLB_ENTRIES];
	uint64_t host[TLB_ENTRIES];
};

/*
 * The low 32 bits of a table's address are PEXT's mask for the index, so that one register serves
 * for both. Where BEXTR is used, the register holds tcg_tlb_bias more, and its low 16 bits are the
 * control word for bits 12 to 23. Either way its low 32 bits are known, and are what exit_request
 * holds while nothing is asked for.
 */
#define TLB_ADDRESS_LOW UINT32_C(0x00fff000)
#define TLB_BEXTR_CONTROL 0x0c0c
extern bool tcg_pext_is_fast; /* set at the start */
#define TLB_BEXTR_BIAS (TLB_BEXTR_CONTROL - (int32_t)(TLB_ADDRESS_LOW & 0xffff))
static inline int32_t tcg_tlb_bias(void)
{
	return tcg_pext_is_fast ? 0 : TLB_BEXTR_BIAS;
}
static inline uint32_t tcg_exit_none(void)
{
	return TLB_ADDRESS_LOW + (uint32_t)tcg_tlb_bias();
}

/* What no address that looks at entry i can match: all 64-bit values are addresses. */
static inline uint64_t tlb_none(unsigned i)
{
	return i ? 0 : PAGE_SIZE_4K;
}

#define CROSSING 14u /* bytes before a page's end where an instruction begins that crosses it */

/* Empty entries hold what belongs elsewhere. */
struct jump_cache_entry {
	uint64_t rip, code;
};
static inline unsigned jump_cache_index(uint64_t rip)
{
	return (rip ^ rip >> PAGE_BITS) & (JUMP_CACHE_ENTRIES - 1);
}
static inline uint64_t jump_cache_none(unsigned i)
{
	return !i;
}

/*
 * Flags that no one reads unless an exception comes: an operation whose operands are still in the
 * guest's registers, from which they are made again.
 */
enum { FLAGS_SAVED_ALREADY, FLAGS_ADD, FLAGS_SUB, FLAGS_CMP, FLAGS_RESULT, FLAGS_TEST };
#define FLAGS_IMMEDIATE 31
struct flag_source {
	uint8_t kind, size;
	uint8_t dst, src; /* guest registers; src FLAGS_IMMEDIATE: the immediate */
	int32_t imm;
};

/*
 * env->cc: the arithmetic flags as LAHF and SETO AL leave them in AX; bit 9, EFLAGS' bit that is
 * always 1, is set then. Else it describes a flag_source, by one or two stores:
 *
 *	63        32 31     16 15  14  10 9 8     5 4   3 2    0
 *	[ immediate ][  imm16 ][w][ src ][0][ dst ][log2 ][ kind ]
 *
 * where w tells which of the immediates counts.
 */
#define CC_SAVED BIT(9)
#define CC_WIDE BIT(15)
static inline uint32_t cc_describe(const struct flag_source *f)
{
	unsigned log2 = f->size == 1 ? 0 : f->size == 2 ? 1 : f->size == 4 ? 2 : 3;
	bool wide = f->src == FLAGS_IMMEDIATE && f->imm != (int16_t)f->imm;

	return f->kind | log2 << 3 | (uint32_t)f->dst << 5 | (uint32_t)f->src << 10 |
	       (wide ? CC_WIDE : (uint32_t)(uint16_t)f->imm << 16);
}
static inline struct flag_source cc_described(uint64_t cc)
{
	return (struct flag_source) {
		.kind = cc & 7,
		.size = (uint8_t)(1u << (cc >> 3 & 3)),
		.dst = cc >> 5 & 15,
		.src = cc >> 10 & 31,
		.imm = cc & CC_WIDE ? (int32_t)(cc >> 32) : (int16_t)(cc >> 16),
	};
}

/* Where translated code may leave it with an exception or enter C: an index into the cache's sites.
 */
struct site {
	uint32_t block;	 /* index of the block */
	uint16_t offset; /* of the instruction from the block's start */
	uint8_t length;	 /* of the instruction */
	uint8_t size;	 /* bytes accessed, up to 64 */
	/* Of the flags before it; kind 0: they are in env->cc. An indirect jump's imm is what it
	 * has moved the stack pointer by. */
	struct flag_source flags;
	uint8_t segment;
	bool read : 1, write : 1;
	bool aligned : 1;     /* must be */
	bool locked : 1;      /* LOCK, or XCHG */
	bool fpu_waits : 1;   /* a pending x87 exception comes first */
	bool ends : 1;	      /* the store is the instruction's last act */
	bool flags_after : 1; /* a store: the guest's flags are in the host's when it is done */
};
static_assert(sizeof(struct site) == 20, "there are hundreds of thousands");

/* With a site's number: the address is an offset in its segment, not checked yet. */
#define SITE_OFFSET BIT(31)

/* Which entries of a table are in use, so that forgetting them costs what filling them did. */
#define FILL_LOG 1024
struct fill_log {
	unsigned n; /* more than FILL_LOG: all may be */
	uint16_t entry[FILL_LOG];
};
static inline void fill_log_add(struct fill_log *l, unsigned entry)
{
	if (l->n < FILL_LOG)
		l->entry[l->n] = (uint16_t)entry;
	l->n += l->n <= FILL_LOG;
}

/* A bit for some of the pages. */
#define CODE_PAGE_BITS 16384
static inline unsigned code_page_bit(uint64_t va)
{
	return (va >> PAGE_BITS ^ va >> (2 * PAGE_BITS)) & (CODE_PAGE_BITS - 1);
}

struct tcg_env;
struct tcg_cache;

/* Nonzero: leave translated code; env->rip is where to go on. */
typedef int (*tcg_helper)(struct tcg_env *env, uint64_t arg);

enum tcg_access { ACCESS_LOAD, ACCESS_STORE, ACCESS_FETCH };

/* What a page table walk finds. */
struct tcg_page {
	uint8_t *host; /* NULL: not RAM */
	uint64_t phys;
	bool fast; /* may enter the TLB for this kind of access */
	bool global;
	uint64_t size; /* of the guest's page */
};

/* TLBs: supervisor accesses with and without SMAP's protection, and user accesses. */
enum { DATA_SUPERVISOR, DATA_USER, DATA_SUPERVISOR_AC };

#define SEG_SIZES 4 /* accesses of 1, 2, 4, 8 bytes */

/* MSRs that system calls use. */
enum { HOT_STAR, HOT_LSTAR, HOT_SFMASK, HOT_KERNEL_GS_BASE, HOT_TSC_AUX, HOT_MSRS };

struct tcg_env {
	/* The thunks know these by offset (host/offsets.h). */
	uint64_t gpr[GPRS];
	uint64_t rip;
	uint64_t cc; /* see CC_SAVED; C finds it saved but on its way from a block, tcg_cc_settle */
	uint64_t load_base, store_base;
	uint64_t jump_cache;
	uint64_t host_rsp;
	struct tcg_env *self;
	uint64_t slow_va;
	/*
	 * The stack of predicted returns while it is not in rsp, and where it is empty. A call
	 * pushes the guest's return address, then the host's; a return to that address is the
	 * host's RET 8.
	 */
	uint64_t ret_rsp, ret_base;
	uint64_t return_to; /* of a thunk */
	/* Counted execution (count.c): instructions that may still begin, and those of a block that
	 * were taken from them and are still to come while C runs. */
	int32_t budget;
	uint32_t ahead;
	uint32_t branch_site;  /* of the jump that is being looked up, plus 1; 0: not known */
	uint32_t exit_request; /* atomic; tcg_exit_none() until tcg_ask */
	uint32_t commit_site;

	uint64_t tmp[4];
	uint64_t seg_base[6];
	uint32_t seg_last[6][SEG_SIZES]; /* the last offset at which an access of that size fits */

	/* Where ranges of a group's operands are (frontend/x86/group.c). */
#define TCG_KEPT 4
	uint64_t kept[TCG_KEPT];
	/* Of a loop's copy (frontend/x86/rounds.c). */
#define TCG_STREAMS 8
	struct {
		uint64_t distance[TCG_STREAMS]; /* from guest addresses to the host's */
		uint64_t end;			/* of a register, where the rounds end */
		uint32_t left;			/* rounds, while they are counted */
	} rounds;

	/* A store in progress: where it went. */
	uint64_t commit_va;
	uint32_t commit_size;
	bool commit_bounced;
	void *commit_host; /* RAM that code was made from */
	uint8_t bounce[192] __attribute__((aligned(64)));

	/* From here on C only. */
	uint64_t eflags; /* all but the arithmetic flags */
	unsigned mode;	 /* MODE_ bits of the code that runs */
	struct x86_cpu *cpu;
	struct tcg_cache *cache;
	struct tcg_world *world;
	uint32_t place; /* PLACE_, atomic */
	bool exclusive; /* this vCPU stopped the others for the instruction it is in */
	/* The pages of linear addresses; does not return if the access faults. `system`: with a
	 * supervisor's rights whatever the CPL. */
	void (*walk)(struct tcg_env *env, uint64_t va, enum tcg_access access, bool system,
		     struct tcg_page *page);
	/* Physical accesses that are not RAM. */
	void (*io)(struct tcg_env *env, uint64_t phys, void *data, unsigned size, bool write);
	struct tlb_table *load_tlb, *store_tlb;
	unsigned user, data_level;	/* which of the tables below are in use */
	struct jump_cache_entry *jumps; /* the one in use */
	struct {
		struct jump_cache_entry *jumps;
		unsigned mode; /* that its entries are for */
		uint64_t cs_base;
		struct fill_log log[2]; /* of pages that are not global, and that are */
		uint64_t pages[CODE_PAGE_BITS / 64]; /* whose code has run, by hash */
		uint64_t ret_rsp, ret_base, ret_guard;
	} code[2]; /* CPL 0 to 2, and 3 */
	struct {
		struct tlb_table *tlb[2];  /* loads, stores */
		struct fill_log log[2][2]; /* of each: not global, global */
	} data[3];			   /* DATA_ */
	/* What large pages were looked up, in either half of the address space. */
	struct {
		uint64_t first, last; /* first above last: none */
	} large[2];
	uint8_t *device_code; /* copies of code that is not in RAM */
	void *ret_room;
	size_t ret_room_size;
	struct tcg *tcg;
	const char *unsupported; /* what the guest wants that there is not */
	bool nmi_masked, halted, smm;
	uint32_t last_range; /* of the memory map: where the last address was */
	/* What this vCPU sees of RAM instead of what the map has; size 0: nothing. */
	struct {
		uint64_t base, size;
		uint8_t *host;
	} smram;
	bool flush_wanted; /* atomic: the memory map changed */
	uint64_t features; /* FEAT_ bits that the guest's CPUID offers */
	uint64_t cr4_allowed, efer_allowed;
	uint32_t pkru;
	unsigned va_unused; /* upper bits of linear addresses: 16, or 7 */
	bool shadow; /* after STI and loads of SS: no interrupt before one more instruction */
	uint64_t tsc_offset;
	struct {
		bool on;
		unsigned shift; /* ns of an instruction, as a power of two */
		uint64_t end;	/* instructions executed when the budget is used up */
	} count;
	/* KVM's steal time: where in guest memory (0: nowhere), what of it was told, and when. */
	struct {
		uint64_t address, told_ns, tsc;
		int file;
	} steal;
	uint64_t *hot_msr[HOT_MSRS]; /* where cpu->msr_value has them */
	unsigned pauses;	     /* PAUSE instructions executed */
	/* The exception that ends the current instruction. */
	struct {
		unsigned vector;
		bool has_error;
		uint32_t error;
		uint64_t address; /* CR2 */
	} fault;
	struct {
		struct vcpu_debug wanted; /* by a debugger */
		/* DR0 to DR3 that are in force, by what they watch; tcg_debug_update. */
		unsigned code, data, io;
		unsigned hit;	/* those that the current instruction met */
		bool alone;	/* the next instruction is a block of its own */
		bool inject_bp; /* an INT3 was the guest's after all */
	} debug;
	void *escape[5]; /* __builtin_setjmp's */
	uint8_t fpu[X86_XSAVE_BYTES] __attribute__((aligned(64)));
};

/* Mode word: what a block's code depends on besides its bytes and address. */
#define MODE_CODE16 0u
#define MODE_CODE32 BIT(0)
#define MODE_CODE64 BIT(1)
#define MODE_STACK32 BIT(2) /* SS.B */
#define MODE_CPL3 BIT(3)
#define MODE_PROTECTED BIT(4) /* CR0.PE and not V86 */
#define MODE_TS BIT(5)	      /* CR0.TS */
#define MODE_EM BIT(6)	      /* CR0.EM */
#define MODE_NO_SSE BIT(7)
#define MODE_NO_AVX BIT(8)
#define MODE_EARLY (MODE_NO_SSE | MODE_NO_AVX) /* as systems begin */
#define MODE_STEP BIT(9)		       /* TF, or a debugger's */
#define MODE_REFERENCE BIT(10)
#define MODE_V86 BIT(11)
#define MODE_COUNT BIT(12) /* counted execution */
#define MODE_APART BIT(13) /* of blocks only: each operand has a check of its own (group.c) */
/* Blocks that go back to C at every exit. */
#define MODE_ALONE (MODE_STEP | MODE_REFERENCE)
/* What does not follow from the vCPU's state. */
#define MODE_OURS (MODE_REFERENCE | MODE_STEP | MODE_COUNT)
#define MODE_SEG_SHIFT 16 /* two bits for each of ES to GS */
enum { SEGMENT_FLAT, SEGMENT_BASED, SEGMENT_SLOW };
static inline unsigned mode_segment(unsigned mode, unsigned seg)
{
	return mode >> (MODE_SEG_SHIFT + 2 * seg) & 3;
}

#define BLOCK_INSNS 64
#define BLOCK_EXITS (6 + BLOCK_INSNS) /* branches, and a way out of groups for each operand */

/*
 * A direct way out of a block, known by its name; places in the code cache by their distance from
 * its start.
 */
#define NO_BLOCK UINT32_MAX
#define NO_EXIT UINT32_MAX
struct block_exit {
	uint32_t from, to; /* blocks' indexes */
	uint32_t next;	   /* of those that lead to the same block */
	uint32_t jump;	   /* after the displacement of the jump, condition or call */
	uint32_t stub;
	int16_t target; /* from the rip of the block it leaves */
	bool apart;	/* leads to one in MODE_APART */
};
static_assert(sizeof(struct block_exit) == 24, "every block has some");

/* Where an instruction of a block is, in bytes from both starts; for host faults. */
struct insn_place {
	uint16_t host, guest;
};

/* `phys` is where its first byte is in host memory, which tells guest memory apart through all
 * aliases. */
struct block {
	uint64_t rip, phys;
	uint32_t mode, index;
	uint16_t bytes, insns;
	/* Bytes on its first page, from `rip`, that it depends on: what it jumps to is looked at
	 * too. */
	int16_t look_first, look_end;
	uint8_t *code;
	uint32_t code_size, hot_size; /* the rest is out of line */
	uint8_t head; /* so much before `code` is where a dead block's entry jumps */
	uint8_t exits;
	uint8_t counted; /* instructions that it takes from the budget */
	bool dead;
	bool device;	       /* some of it is not in RAM */
	bool uses_fpu;	       /* it has instructions that CR0 and CR4 may refuse */
	const uint8_t *second; /* the page that its only instruction ends on, or NULL */
	uint32_t hash_next;    /* a block */
	uint32_t incoming;     /* an exit that leads here */
	/* Room for BLOCK_EXITS until it is finished; then its instructions' places follow. */
	struct block_exit *exit;
};
static_assert(sizeof(struct block) == 80, "there are tens of thousands");

/* Of the block's instructions, and of its end. */
static inline const struct insn_place *block_places(const struct block *b)
{
	return (const struct insn_place *)(const void *)(b->exit + b->exits);
}

enum tcg_translated {
	TRANSLATE_OK,
	TRANSLATE_FULL, /* no room left in the cache */
	TRANSLATE_MORE, /* the first instruction goes on after the bytes given */
};
/*
 * Translates up to `most` instructions from `bytes` on into `b`, whose rip, phys and mode are set.
 * `before` bytes of the same page lie before them.
 */
enum tcg_translated tcg_translate(struct tcg_env *env, struct block *b, const uint8_t *bytes,
				  size_t before, size_t n, unsigned most);
/* It leaves the vector registers alone (the Makefile finds out). */
extern const bool tcg_frontend_is_plain;

/* What happens in the code cache, counted under its lock since the start. */
#define TCG_COUNTERS(X)                                                                            \
	X(TRANSLATIONS, "blocks translated")                                                       \
	X(INSNS, "guest instructions in them")                                                     \
	X(GUEST_BYTES, "guest bytes in them")                                                      \
	X(HOST_BYTES, "host bytes made of them")                                                   \
	X(APART, "blocks made where a group's check failed")                                       \
	X(ROUNDS, "loops whose rounds share a check")                                              \
	X(LINKS, "links between blocks")                                                           \
	X(KILLS, "blocks killed by writes to their code")                                          \
	X(FLUSHES, "flushes of the whole buffer")                                                  \
	X(STOPS, "stops of all vCPUs for a new page of code")
enum {
#define X(id, name) TCG_COUNT_##id,
	TCG_COUNTERS(X)
#undef X
		TCG_COUNTS
};
struct tcg_stats {
	uint64_t size, used, blocks, sites;
	uint64_t count[TCG_COUNTS];
};

/* The code cache (cache.c). */
void tcg_count(struct tcg_cache *c, unsigned counter, uint64_t by);
void tcg_cache_stats(struct tcg_cache *c, struct tcg_stats *s);
struct tcg_cache *tcg_cache_new(size_t bytes, GError **err);
void tcg_cache_free(struct tcg_cache *c);
struct block *tcg_block_find(struct tcg_cache *c, uint64_t phys, uint64_t rip, unsigned mode);
/* A block to fill, its code where writing it is possible; NULL when the cache is full. */
struct block *tcg_block_begin(struct tcg_cache *c);
void tcg_block_finish(struct tcg_cache *c, struct block *b);
/* Keeps a copy of n of them. */
void tcg_block_places(struct tcg_cache *c, struct block *b, const struct insn_place *p, unsigned n);
/* Forgets everything; no vCPU may be inside. */
void tcg_cache_flush(struct tcg_cache *c);
/* The vCPUs that share it; its lock guards blocks, links and pages with code. */
struct tcg_world *tcg_cache_world(struct tcg_cache *c);
/* A jump cache in which nothing is found. */
struct jump_cache_entry *tcg_cache_no_jumps(const struct tcg_cache *c);
/* Counts the flushes. */
uint64_t tcg_cache_generation(const struct tcg_cache *c);
/* Whether all that asked since the last flush were early. Lock: the world's. */
bool tcg_cache_early(struct tcg_cache *c, bool early);
void tcg_block_kill(struct tcg_cache *c, struct block *b);
void tcg_link(struct tcg_cache *c, struct block_exit *x, struct block *to);
/* Where the code of a block is written, up to TCG_BLOCK_ROOM bytes; `tcg_code_run` gives its
 * executable address, tcg_code_offset its distance from the start of all. */
#define TCG_BLOCK_ROOM 32768
uint8_t *tcg_code_room(struct tcg_cache *c);
uint8_t *tcg_code_run(struct tcg_cache *c, uint8_t *written);
uint32_t tcg_code_offset(const struct tcg_cache *c, const uint8_t *written);
/* How translated code names an exit, and the way back. */
uint32_t tcg_exit_name(const struct tcg_cache *c, const struct block_exit *x);
struct block_exit *tcg_exit_named(const struct tcg_cache *c, uint32_t name);
/* The thunks, as near to translated code as it is to itself: at the start of the cache. */
#define TCG_THUNKS(X)                                                                              \
	X(load)                                                                                    \
	X(store)                                                                                   \
	X(commit)                                                                                  \
	X(helper)                                                                                  \
	X(exit_direct) X(exit_indirect) X(exit_main) X(leave_to_t0) X(jump_miss) X(ret_miss)
enum {
#define X(name) THUNK_##name,
	TCG_THUNKS(X)
#undef X
		THUNKS
};
/* Where they are written, one after the other. */
#define TCG_THUNK_SIZE 16
const uint8_t *tcg_code_thunks(const struct tcg_cache *c);
/* The out-of-line copy of an instruction, for host faults in it: from `code` on it is site n's. */
void tcg_cold_add(struct tcg_cache *c, uint8_t *code, uint32_t site);
/* The instruction whose code `host_pc` is in: its block, and its rip. */
struct block *tcg_insn_of_code(struct tcg_cache *c, const void *host_pc, uint64_t *rip);
uint32_t tcg_site_new(struct tcg_cache *c, const struct site *s);
const struct site *tcg_site(struct tcg_cache *c, uint32_t n);
struct block *tcg_block(struct tcg_cache *c, uint32_t index);
struct block *tcg_block_of_code(struct tcg_cache *c, const void *host_pc);

/* The run-time (exec.c). NULL: there are too many already. */
struct tcg_env *tcg_env_new(struct tcg_cache *c);
void tcg_env_free(struct tcg_env *env);
/* Lets the others go on after an instruction that had to be alone. */
void tcg_end_exclusive(struct tcg_env *env);
/* Makes GS this thread's way to env, and host faults in translated code the guest's. */
void tcg_env_enter_thread(struct tcg_env *env);
/* Runs until an exception (its vector), an exit request (-1), or one of what TCG_ names above. The
 * guest's FPU state is live. */
int tcg_execute(struct tcg_env *env);
_Noreturn void tcg_raise(struct tcg_env *env, unsigned vector);
_Noreturn void tcg_raise_error(struct tcg_env *env, unsigned vector, uint32_t error);
/* Both levels' jump caches; `global`: code on global pages too. */
void tcg_jump_cache_flush(struct tcg_env *env, bool global);
void tcg_jump_cache_flush_page(struct tcg_env *env, uint64_t va);
/* Switches TLB and jump cache to user or supervisor; with `ac`, SMAP lets user pages through. */
void tcg_select(struct tcg_env *env, bool user, bool ac);
/* Forgets all translations of addresses; `global`: those of global pages too. */
void tcg_flush_translations(struct tcg_env *env, bool global);
/* As INVLPG: of one page, in jump caches too. */
void tcg_flush_page(struct tcg_env *env, uint64_t va);
/* A block's bytes lie at these host addresses. */
void tcg_block_part(struct tcg_cache *c, struct block *b, const void *host, size_t bytes);
/* Whether translated code was made from the page at this host address. */
bool tcg_page_has_code(struct tcg_cache *c, const void *host);
/* The same with the lock held. */
bool tcg_page_has_code_locked(struct tcg_cache *c, const void *host);
/*
 * RAM on one page was written otherwise than by translated code: what was made from it is
 * forgotten. After the write, so that no other vCPU makes code of the old bytes in between. Any
 * thread.
 */
void tcg_code_written(struct tcg_cache *c, const void *host, unsigned size);

/* Leaves translated code soon; any thread. */
void tcg_ask(struct tcg_env *env);
static inline bool tcg_asked(const struct tcg_env *env)
{
	return __atomic_load_n(&env->exit_request, __ATOMIC_SEQ_CST) != tcg_exit_none();
}
void tcg_set_ahead(struct tcg_env *env, const struct block *b, uint64_t rip);
/* After a jump by C: whether what comes next concerns tcg_execute, or the next block just follows.
 */
int tcg_must_stop(const struct tcg_env *env);
/* What was asked for is going to be looked at. */
void tcg_answer(struct tcg_env *env);
/*
 * Anything may be called between these two; the guest's vector registers wait in env meanwhile, and
 * other vCPUs may change everything but the block that runs.
 */
void tcg_outside_begin(struct tcg_env *env);
/* The same for C that does not wait, and must not be disturbed. */
void tcg_c_begin(struct tcg_env *env);
void tcg_c_end(struct tcg_env *env);
/* Leaves translated code soon if an event waits that can be taken; for whoever lets interrupts in.
 */
void tcg_check_events(struct tcg_env *env);
void tcg_outside_end(struct tcg_env *env);
/* The same for who starts and stops executing. */
#define TCG_XSAVE_PARTS 7 /* x87, SSE and AVX; what the host lacks of them it ignores */
#define TCG_XSAVE_BYTES 832
/* PKRU is not the host's; in the standard format it stands where Intel's processors have it. */
#define XSAVE_PKRU_BIT BIT64(9)
#define XSAVE_PKRU 2688
#define XSAVE_PKRU_BYTES 8
void tcg_fpu_load(const void *area);
void tcg_fpu_save(void *area);
/* Takes a new value of PKRU: access to pages by their keys. */
void tcg_set_pkru(struct tcg_env *env, uint32_t v);
/* Bytes of an XSAVE area for these parts, in standard or compacted format. */
unsigned tcg_xsave_bytes(uint64_t parts, bool compact);
/* Raises #MF if an x87 exception is pending, as instructions that wait do. */
void tcg_fpu_wait(struct tcg_env *env);
/* Whether the host's MXCSR has bits that the guest's must not have: AMD's misaligned SSE. */
bool tcg_host_mxcsr_has_more(void);
/* After a save: what C code expects of the FPU. */
void tcg_fpu_for_c(void);

/* Debug registers (debug.c). */
void tcg_debug_update(struct tcg_env *env);
/* Whether an instruction breakpoint lies on the page, and which at the very address. */
bool tcg_debug_code_page(const struct tcg_env *env, uint64_t linear);
unsigned tcg_debug_code_hit(const struct tcg_env *env, uint64_t linear);
bool tcg_debug_data_page(const struct tcg_env *env, uint64_t va);
/* An access that is about to be made; may begin the instruction again. */
void tcg_debug_access(struct tcg_env *env, uint64_t va, unsigned size, bool write);
bool tcg_debug_io(struct tcg_env *env, uint16_t port, unsigned size);

/* Memory (tlb.c). */
/* Whether the address has as many significant bits as CR4.LA57 allows. */
static inline bool tcg_canonical(const struct tcg_env *env, uint64_t va)
{
	return (uint64_t)((int64_t)(va << env->va_unused) >> env->va_unused) == va;
}
/* ES to DS have none in 64-bit mode. */
static inline uint64_t tcg_segment_base(const struct tcg_env *env, unsigned segment)
{
	return env->mode & MODE_CODE64 && segment < SEG_FS ? 0 : env->seg_base[segment];
}
/* Segment and offset to linear address, with all checks; may raise. */
uint64_t tcg_linear(struct tcg_env *env, unsigned segment, uint64_t offset, unsigned size,
		    bool write);
/* Where [va, va + size) is, if it is RAM that this access may touch directly; else NULL. May raise.
 */
void *tcg_direct(struct tcg_env *env, uint64_t va, unsigned size, enum tcg_access access);
void tcg_tlb_flush(struct tcg_env *env, bool global);
/* No store to the page of memory at this host address goes through directly any more. */
void tcg_tlb_unstore(struct tcg_env *env, const void *host);
/* Remembers large pages, whatever keeps a translation of theirs. */
void tcg_page_kept(struct tcg_env *env, uint64_t va, const struct tcg_page *page);
uint64_t tcg_load(struct tcg_env *env, uint64_t va, unsigned size);
void tcg_store(struct tcg_env *env, uint64_t va, uint64_t value, unsigned size);
/* Raises what a store there would. */
void tcg_probe_store(struct tcg_env *env, uint64_t va, unsigned size);
/* Called by the thunks. */
void *tcg_slow_load(struct tcg_env *env, uint64_t va, uint32_t site);
void *tcg_slow_store(struct tcg_env *env, uint64_t va, uint32_t site);
int tcg_slow_commit(struct tcg_env *env);
void *tcg_exit_direct(struct tcg_env *env, uint32_t exit);
void *tcg_exit_indirect(struct tcg_env *env, uint64_t rip);

/* host/thunks.S */
void tcg_enter(struct tcg_env *env, void *code);
#define X(name) extern char tcg_thunk_##name[];
TCG_THUNKS(X)
#undef X

/* Helpers of instructions without a template (helper.c). */
int helper_raise(struct tcg_env *env, uint64_t vector);
int helper_string(struct tcg_env *env, uint64_t arg);
int helper_pause(struct tcg_env *env, uint64_t arg);
/* Those that take a union insn_arg (segment.c, privileged.c, fpu.c). */
int helper_far(struct tcg_env *env, uint64_t arg);
int helper_system(struct tcg_env *env, uint64_t arg);
int helper_fpu(struct tcg_env *env, uint64_t arg);
/* The parts of the FPU state that are not in their initial state; as XGETBV 1 gives them. */
uint64_t tcg_xinuse(const struct tcg_env *env);
/* With a union vector_arg (vector.c). */
int helper_vector(struct tcg_env *env, uint64_t arg);

/* The flags of a description, from the registers that it names. */
void tcg_cc_recover(struct tcg_env *env, const struct flag_source *f);
static inline void tcg_cc_settle(struct tcg_env *env)
{
	if (!(env->cc & CC_SAVED)) {
		struct flag_source f = cc_described(env->cc);

		tcg_cc_recover(env, &f);
	}
}

static inline uint64_t tcg_flags(const struct tcg_env *env)
{
	return env->eflags | (env->cc >> 8 & (FLAGS_ALL & 0xff)) | (env->cc & 1) << 11;
}

static inline void tcg_set_flags(struct tcg_env *env, uint64_t flags)
{
	env->eflags = flags & ~(uint64_t)FLAGS_ALL;
	env->cc = (flags & (FLAGS_ALL & 0xff)) << 8 | CC_SAVED | (flags >> 11 & 1);
}

/* Vectors beyond the guest's: the engine cannot go on; the instruction begins again. */
#define TCG_UNSUPPORTED 256
#define TCG_AGAIN 257
#define TCG_DEBUGGER 258 /* its breakpoint */
#define TCG_TRAP 259	 /* debug registers met: env->debug.hit */
#define TCG_STEPPED 260	 /* one instruction, in MODE_STEP */
#define TCG_SHUTDOWN 261 /* as after a triple fault */

/* An instruction for a helper; the memory operand's offset, or a far pointer, is in env->tmp. */
union insn_arg {
	struct {
		uint8_t kind; /* K_ */
		uint8_t opcode;
		uint8_t reg : 4, rm : 4;
		uint8_t size; /* operand size in bytes */
		uint8_t segment : 4, mem : 1, rex_w : 1, ext : 2;
		uint8_t length : 4, last : 1; /* last: no other of its block follows */
		uint8_t rep;
		uint8_t address_size;
	};
	uint64_t word;
};

/* A masked move or a gather; the address, without a gather's index, is in env->tmp[0]. */
union vector_arg {
	struct {
		uint8_t kind, opcode;
		uint8_t reg : 4, rm : 4;
		uint8_t vvvv : 4, index : 4;
		uint8_t scale : 2, l : 1, w : 1, mmx : 1;
		uint8_t segment, address_size;
	};
	uint64_t word;
};

/* A string instruction, for helper_string. */
union string_arg {
	struct {
		uint8_t kind; /* K_MOVS... */
		uint8_t size, address_size, rep, segment, length;
	};
	uint64_t word;
};
