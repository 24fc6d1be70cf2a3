/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flags. Between two instructions the guest's arithmetic flags are in the host's register, in
 * env->cc, or in both (t->flags). What destroys the host's saves them first; blocks begin and end
 * with them in env->cc. Because every access that may fault destroys them, env->cc is right
 * whenever an exception is raised.
 *
 * Flags that nobody will read unless there is an exception are not saved but described: within a
 * block by the sites of its accesses, at its exits by what env->cc holds.
 */
#include "accel/tcg/frontend/x86/translate.h"

void emit_save(struct emit *e)
{
	e_mov(e, 8, T1, HOST_RAX);
	e_byte(e, 0x9f); /* lahf */
	e_byte(e, 0x0f); /* seto al */
	e_byte(e, 0x90);
	e_byte(e, 0xc0);
	e_store(e, 2, ENV(cc), HOST_RAX);
	e_mov(e, 8, HOST_RAX, T1);
}

void save_flags(struct tr *t)
{
	if (t->flags & FLAGS_SAVED)
		return;
	emit_save(&t->e);
	t->cc_written = true;
	t->flags = FLAGS_BOTH;
}

void restore_flags(struct emit *e)
{
	e_mov(e, 8, T1, HOST_RAX);
	e_load(e, 2, HOST_RAX, ENV(cc)); /* as wide as it was stored */
	e_byte(e, 0x04);		 /* add al, 0x7f: O from bit 0 */
	e_byte(e, 0x7f);
	e_byte(e, 0x9e); /* sahf */
	e_mov(e, 8, HOST_RAX, T1);
}

void need_flags(struct tr *t)
{
	if (!(t->flags & FLAGS_HOST))
		restore_flags(&t->e);
	t->flags |= FLAGS_HOST;
}

/* The operation as a source of flags, if its operands stay known. */
static struct flag_source flag_source(const struct insn *in)
{
	static const uint8_t kinds[] = { FLAGS_ADD, FLAGS_RESULT, 0,	    0, FLAGS_RESULT,
					 FLAGS_SUB, FLAGS_RESULT, FLAGS_CMP };
	struct flag_source f = { .src = FLAGS_IMMEDIATE, .imm = (int32_t)in->imm };
	unsigned op = in->opcode, reg = in->reg4, rm = in->rm4;

	if (in->row->map != MAP_1 || in->vex || in->mem || in->row->kind != K_T)
		return f;
	f.size = op & 1 ? in->operand_size : 1;
	if (op < 0x40 && (op & 7) < 6) {
		f.kind = kinds[op >> 3];
		f.dst = (uint8_t)((op & 7) < 2 ? rm : (op & 7) < 4 ? reg : RAX);
		if ((op & 7) < 4)
			f.src = (uint8_t)((op & 7) < 2 ? reg : rm);
	} else if (op >= 0x80 && op <= 0x83) {
		f.kind = kinds[in->reg];
		f.dst = (uint8_t)rm;
	} else if (op == 0x84 || op == 0x85) {
		f.kind = FLAGS_TEST;
		f.dst = (uint8_t)rm;
		f.src = (uint8_t)reg;
	} else if (op == 0xa8 || op == 0xa9 || ((op == 0xf6 || op == 0xf7) && in->reg < 2)) {
		f.kind = FLAGS_TEST;
		f.dst = (uint8_t)(op < 0xf0 ? RAX : rm);
	} else {
		return f;
	}
	/* AH to BH are left out, and a sum with itself, whose carry is lost. */
	if (f.size == 1 && !in->has_rex && (f.dst >= 4 || (f.src != FLAGS_IMMEDIATE && f.src >= 4)))
		f.kind = 0;
	if ((f.kind == FLAGS_ADD || f.kind == FLAGS_SUB) && f.dst == f.src)
		f.kind = 0;
	return f;
}

/* What becomes of flags that are described by registers. */
struct flags_watch {
	unsigned watched, written; /* registers */
	bool over, dead;
};

/* The next instruction after them; `told`: env->cc describes them, for faults of the host too. */
static void watch_flags(const struct insn *in, bool told, struct flags_watch *w)
{
	struct flag_class f = insn_flags(in);
	bool faults = may_fault_on_host(in);

	w->over = !in->info->plain || f.use || (faults && !told) || in->refused >= 0;
	/* POP to memory and PUSH from memory have two accesses, but change nothing between them. */
	if ((faults || insn_mem_bytes(in) || in->row->kind == K_PUSH || in->row->kind == K_POP) &&
	    w->written & w->watched)
		w->over = true;
	if (w->over)
		return;
	w->dead = f.def == FLAGS_ALL;
	w->over = f.def;
	w->written |= written_registers(in);
}

/* The flags that the host holds come from registers; those written since then. */
static bool described(const struct tr *t, struct flags_watch *w)
{
	const struct flag_source *f = &t->source;

	if (!f->kind || t->flags != FLAGS_HOST || t->mode & MODE_REFERENCE)
		return false;
	*w = (struct flags_watch) { .watched = BIT(f->dst) |
					       (f->src == FLAGS_IMMEDIATE ? 0 : BIT(f->src)) };
	for (unsigned j = t->source_insn + 1; j < t->i; j++) {
		if (!t->insn[j].info->plain && t->insn[j].row->kind != K_JCC)
			return false;
		w->written |= written_registers(&t->insn[j]);
	}
	return true;
}

/*
 * Whether the flags that the host holds now are overwritten before anything but an exception can
 * see them, and an exception finds their source intact until then.
 */
static bool recoverable(const struct tr *t)
{
	struct flags_watch w;

	if (!described(t, &w))
		return false;
	for (unsigned j = MAX_OF(t->i, t->source_insn + 1); j < t->n && !w.over; j++)
		watch_flags(&t->insn[j], false, &w);
	return w.dead;
}

/* The block's instruction that begins so far from its start, or t->n. */
static unsigned insn_at(const struct tr *t, int64_t at)
{
	unsigned i = 0;

	if (at < 0)
		return t->n;
	while (i < t->n && at > 0)
		at -= t->insn[i++].len;
	return at ? t->n : i;
}

/* Instructions of a jump's target that are looked at. */
#define LOOK_AHEAD 6

/* The same for what a jump to `target` leads to, on the block's page; then the block depends on
 * those bytes too. */
bool recoverable_at(struct tr *t, uint64_t target)
{
	int64_t at = (int64_t)(target - t->b->rip);
	struct flags_watch w;
	unsigned i;

	if (at < -(int64_t)t->before || !described(t, &w) || w.written & w.watched)
		return false;
	i = insn_at(t, at);
	for (unsigned n = 0; n < LOOK_AHEAD && !w.over; n++) {
		struct insn other;
		const struct insn *in = i < t->n ? &t->insn[i++] : &other;

		if (in == &other && (at >= (int64_t)t->after ||
				     decode_one(t, &other, t->bytes + at,
						(size_t)((int64_t)t->after - at)) != INSN_OK))
			return false;
		watch_flags(in, true, &w);
		at += in->len;
	}
	if (w.dead) {
		t->b->look_first =
			(int16_t)MIN_OF((int64_t)t->b->look_first, (int64_t)(target - t->b->rip));
		t->b->look_end = (int16_t)MAX_OF((int64_t)t->b->look_end, at);
	}
	return w.dead;
}

/* Instead of saving the flags: how they are found. The host's stay. */
void describe_flags(struct tr *t)
{
	uint32_t cc = cc_describe(&t->source);

	if (cc & CC_WIDE)
		e_store_imm(&t->e, 4, mem_gs(offsetof(struct tcg_env, cc) + 4), t->source.imm);
	e_store_imm(&t->e, 4, ENV(cc), (int32_t)cc);
}

void spend_live_flags(struct tr *t)
{
	if (recoverable(t)) {
		t->recover = true;
		return;
	}
	save_flags(t);
	t->flags = FLAGS_SAVED;
}

void set_flags(struct tr *t, const struct insn *in)
{
	t->flags = FLAGS_HOST;
	t->recover = false;
	t->source = flag_source(in);
	t->source_insn = t->i;
}
