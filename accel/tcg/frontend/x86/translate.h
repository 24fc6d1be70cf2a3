/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the x86 translator share. */
#pragma once

#include "accel/tcg/host/emit.h"
#include "accel/tcg/tcg.h"

#define ENV(member) mem_gs(offsetof(struct tcg_env, member))
#define ENV_GPR(n) mem_gs(offsetof(struct tcg_env, gpr) + 8u * (unsigned)(n))

/* Scratch registers and the TLBs' (see host/thunks.S). */
#define T0 HOST_R13
#define T1 HOST_R12
#define LOAD_TLB HOST_R15
#define STORE_TLB HOST_R14
#define GUEST_RSP HOST_R10

/* The register that the opcode names, with REX. */
static inline unsigned opcode_reg(const struct insn *in)
{
	return (in->opcode & 7) | (in->rex & INSN_REX_B ? 8u : 0);
}

/* Where the guest's arithmetic flags are. */
enum flags_at { FLAGS_HOST = 1, FLAGS_SAVED = 2, FLAGS_BOTH = 3 };

static_assert(BLOCK_INSNS <= 64, "a bit for each instruction");

struct tr;
/* Emits what an instruction does with the memory at [T0 + T1]; may be emitted twice. */
typedef void (*memory_op)(struct tr *t, const struct insn *in, int arg);

enum stub_kind {
	STUB_LOAD,
	STUB_STORE,
	STUB_EXIT,	/* to the block that `exit` leads to, not known yet */
	STUB_POLL,	/* somebody wants the vCPU to leave; on at `rip` */
	STUB_INDIRECT,	/* the jump cache does not have `rip` */
	STUB_CALL,	/* the same for a call, which returns to `after` */
	STUB_CALL_T0,	/* the same with T0 */
	STUB_JUMP,	/* the jump cache does not have T0 */
	STUB_RET,	/* a return to T0 that was not predicted */
	STUB_SAVE_EXIT, /* saves the flags if `save`, then goes to `rip` */
	STUB_FAR,	/* to `rip` on another page; saves the flags first if `save` */
	STUB_BUDGET,	/* no room for the block in the budget: leaves for `rip` */
	STUB_APART,	/* a group's check failed: on at `rip` with a check for each operand */
	STUB_ROUNDS,	/* the rest of a loop's rounds (rounds.c): the first `done` instructions */
};

/* new_stub sets the kind, jumps, done and the flags; the others are its kind's. A line of the
 * host's cache: blocks have many. */
struct stub {
	uint8_t kind;	   /* enum stub_kind */
	bool xored;	   /* T0 holds the address xor the tag */
	bool save;	   /* the flags first */
	bool described;	   /* so are the flags, at the jump */
	uint8_t cc;	   /* the condition of the jump back */
	uint8_t done;	   /* instructions of the block that were executed */
	uint8_t *jumps[2]; /* to the stub; NULL for none */
	uint8_t *after;
	union {
		uint8_t *retry;
		uint64_t rip;
		struct block_exit *exit;
	};
	union {
		struct { /* of accesses */
			memory_op op;
			const struct insn *in;
		};
		struct {			   /* of a group's checks */
			struct flag_source source; /* as in a site */
			int32_t moved; /* what the group has added to the stack pointer so far */
		};
	};
	int arg;
	uint32_t site;
};
static_assert(sizeof(struct stub) == 64, "a line");

/* An instruction has two at most, or a group's check, whose way out is another; exits more. */
#define MOST_STUBS (2 * BLOCK_INSNS + 32)

/* Conditional branches in a block; what follows them may never run, and a third costs an eighth of
 * all translating for no gain. Each has an exit, and the end has two. */
#define MOST_BRANCHES 2
static_assert(MOST_BRANCHES + 2 + BLOCK_INSNS <= BLOCK_EXITS, "exits of a block");

/* A translation in progress. */
struct tr {
	struct emit e;
	struct tcg_env *env;
	struct block *b;
	struct insn insn[BLOCK_INSNS];
	/* The block's bytes, with those before and after them on its page. */
	const uint8_t *bytes;
	size_t before, after;
	unsigned n, i;		/* instructions; the current one */
	unsigned operands;	/* in memory, of all */
	uint64_t rip, next_rip; /* of the current one */
	unsigned code_size, mode;
	enum flags_at flags;
	/* How the flags that the host holds came to be, if that can be found again; from
	 * instruction n. */
	struct flag_source source;
	unsigned source_insn;
	bool recover; /* sites tell it instead of finding them saved */
	/* T1 holds this guest register, which has no host register, until anything else is emitted
	 * than instructions that leave T1 alone. */
	unsigned held;
	const uint8_t *held_at;
	/* In a group (group.c) T0 stays, and the operand is so far from where it points. */
	bool grouped, joined; /* joined: T0 is the whole address, T1 is free */
	int32_t offset;
	/* In a loop's copy (rounds.c) the operand is there. */
	bool placed;
	struct host_mem operand;
	bool looped;	 /* the block has such a copy */
	bool cc_written; /* env->cc was, since this was false */
	bool ended, no_room;
	bool called;	/* the current instruction goes to C */
	uint8_t *start; /* of the code */
	const uint8_t *thunks;
	struct insn_place place[BLOCK_INSNS + 1];
	struct stub stub[MOST_STUBS];
	unsigned stubs;
	uint64_t neighbours; /* instructions whose operands may begin, or be in, a group */
};

/* Instruction i is the one that is emitted next. */
void set_place(struct tr *t, unsigned i);
static inline const uint8_t *thunk(const struct tr *t, unsigned n)
{
	return t->thunks + n * TCG_THUNK_SIZE;
}
/* The host register that holds a guest register, or HOST_NONE. */
int host_reg(unsigned guest);
/* Those that have none. */
unsigned registers_in_memory(void);

/* Saves the host's flags; destroys T1. */
void emit_save(struct emit *e);
/* The flags must be in memory from here on: something will destroy the host's. */
void save_flags(struct tr *t);
/* The flags must be in the host's register. */
void need_flags(struct tr *t);

/* Saved flags to the host's register; destroys T1. */
void restore_flags(struct emit *e);

/* The effective address of the memory operand, without its segment, plus `extra`, into `dst`; uses
 * T1. */
void effective_address(struct tr *t, const struct insn *in, int dst, int64_t extra);
/* T0, an offset in `segment`, becomes linear. Offsets past the limit go to the slow path. */
void add_segment(struct tr *t, unsigned segment, unsigned size, uint8_t **slow);
/* The tag of the entry that T1 is the index of. */
struct host_mem tlb_tag(int tlb);
/*
 * An access to the memory at offset T0 of a segment: checks it, then emits `op`. Flags that the
 * host holds must be saved before.
 */
void access_memory(struct tr *t, const struct insn *in, unsigned segment, unsigned size, bool read,
		   bool write, memory_op op, int arg);
/* The current instruction's template. */
void translate_template(struct tr *t, const struct insn *in);
/*
 * Emits the instruction itself with mapped registers, and memory at [T0 + T1] if it has some. With
 * `with_flags` the saved flags are fetched first.
 */
void template_op(struct tr *t, const struct insn *in, int with_flags);

/* The memory that was checked, while T0 and T1 are as the check left them, or the group did. */
static inline struct host_mem checked_memory(const struct tr *t)
{
	if (t->placed)
		return t->operand;
	return t->joined ? mem_at(T0, t->offset) : mem_index(T0, T1, 0, t->offset);
}
/* Emits the check of [T0, T0 + size): T0 and T1 together are then where it is. */
void check_access(struct tr *t, struct stub *s, int tlb, unsigned size);
/* T0, an offset in SS, is so far from the stack pointer. */
void stack_address(struct tr *t, int32_t disp);
void move_stack(struct tr *t, int32_t by);
unsigned stack_size(const struct tr *t);
/* What instructions do, by their rows. */
static inline bool may_fault_on_host(const struct insn *in)
{
	return in->info->host_faults;
}
int refused(const struct tr *t, const struct insn *in);
/* What is added to its memory operand's registers; all of the address where it has none. */
int64_t displacement(const struct insn *in, uint64_t next_rip);
/* Whether it is done by a copy of itself whose memory operand was checked before. */
bool can_copy(const struct insn *in);
void spend_live_flags(struct tr *t);
/* Before code that destroys the host's flags for its own purposes. */
static inline void spend_flags(struct tr *t)
{
	if (!t->recover && t->flags != FLAGS_SAVED)
		spend_live_flags(t);
}
/*
 * Whether the flags that the host holds are overwritten at `target`, on the block's page, before
 * anything but an exception can see them; then the block depends on the bytes there. describe_flags
 * tells in env->cc how they are found.
 */
bool recoverable_at(struct tr *t, uint64_t target);
void describe_flags(struct tr *t);
/* The flags that an instruction reads, or leaves as they are, are in the host's register. */
static inline void flags_before(struct tr *t, const struct insn *in)
{
	struct flag_class f = insn_flags(in);

	if (f.use || (f.def && f.def != FLAGS_ALL))
		need_flags(t);
}
/* The instruction's flags are the host's after it. */
void set_flags(struct tr *t, const struct insn *in);
static inline void finish_flags(struct tr *t, const struct insn *in)
{
	if (insn_flags(in).def)
		set_flags(t, in);
}
/* The register of a PUSH or POP by its opcode or ModRM. */
unsigned pushed_register(const struct insn *in);
/* Memory operations: an immediate; a register (size << 8 | guest register); into T0. */
void op_store_imm(struct tr *t, const struct insn *in, int imm);
void op_store_reg(struct tr *t, const struct insn *in, int arg);
void op_load_t0(struct tr *t, const struct insn *in, int size);
/* Pushes a constant of the instruction's operand size. */
void push_value(struct tr *t, const struct insn *in, uint64_t v);
/* T1 holds the guest register here. Where other code may jump to, forget_held says that it does
 * not. */
static inline bool t1_holds(const struct tr *t, int guest)
{
	return t->held_at == t->e.at && (int)t->held == guest;
}
static inline void forget_held(struct tr *t)
{
	t->held_at = NULL;
}
/* Guest registers to and from host registers, whole. */
void get_reg(struct tr *t, int dst, unsigned guest);
void put_reg(struct tr *t, unsigned guest, unsigned size, int src);

void call_helper(struct tr *t, tcg_helper fn, uint64_t arg);
/* Counted execution: takes the block's instructions from the budget; gives those back that do not
 * run. */
void take_budget(struct tr *t);
/* After a call of C: leaves if C has asked for it, and ends the block. */
void go_on_counted(struct tr *t);
/* Ends the block: control goes to `target`, whose flags are saved. */
void go_to(struct tr *t, uint64_t target);
/* The same with the target in T0; `site`: the jump's, or NO_SITE. */
#define NO_SITE UINT32_MAX
void go_to_t0(struct tr *t, uint32_t site);
void raise_here(struct tr *t, unsigned vector);
bool keeps_lock(const struct tr *t, const struct insn *in);
struct stub *new_stub(struct tr *t, enum stub_kind kind);
uint32_t new_site(struct tr *t, unsigned segment, unsigned size, bool read, bool write,
		  bool aligned);
/* As x86_decode, in the block's mode. */
enum insn_result decode_one(struct tr *t, struct insn *in, const uint8_t *bytes, size_t n);
/* The current instruction's, an indirect jump that has added so much to the stack pointer. */
uint32_t branch_site(struct tr *t, int32_t moved);
/* Emits one instruction (translate.c), and what the block has out of line (flow.c). */
void translate_one(struct tr *t, const struct insn *in);
void translate_push(struct tr *t, const struct insn *in);
void translate_pop(struct tr *t, const struct insn *in);
void translate_leave(struct tr *t, const struct insn *in);
void translate_jcc(struct tr *t, const struct insn *in);
void translate_loop(struct tr *t, const struct insn *in);
void translate_call(struct tr *t, const struct insn *in);
void translate_call_r(struct tr *t, const struct insn *in);
void translate_ret(struct tr *t, const struct insn *in);
/* T0 = the target of an indirect jump or call. */
void load_target(struct tr *t, const struct insn *in);
/* Looks for groups among the block's instructions. */
void find_neighbours(struct tr *t);
/* Emits the group that begins here, at one of `neighbours`, if there is one; how many instructions.
 */
unsigned translate_group(struct tr *t);
/* Emits the way out where a check of its failed. */
void leave_group(struct tr *t, struct stub *s);
void emit_stubs(struct tr *t);
/*
 * The jump back to the block's beginning, if the block is a loop whose rounds need no checks;
 * `in_memory`: the flags are there too. The rest is out of line.
 */
bool translate_rounds(struct tr *t, unsigned cc, bool in_memory);
void emit_rounds(struct tr *t, const struct stub *s);
/* The jump, condition or call `cc` to another block on the page; `apart`: in MODE_APART. */
void exit_block(struct tr *t, uint64_t target, int cc, bool apart);
/* At an exit after `done` instructions: counted execution's others have not run. */
void give_back(struct tr *t, unsigned done);
/* The end of a way out to another block on the page; the flags are in env->cc. */
void jump_to_block(struct tr *t, uint64_t target);
static inline uint64_t mask_rip(unsigned size, uint64_t rip)
{
	return rip & ones(size);
}
