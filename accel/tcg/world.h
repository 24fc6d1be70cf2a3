/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several vCPUs over one code cache: world.c tells how. */
#pragma once

#include "core/compiler.h"

#define TCG_MOST_VCPUS 255

struct tcg_env;

struct tcg_world {
	uint32_t lock;	  /* of the code cache's tables */
	uint32_t stopper; /* held by the one that stopped the others; guards env[] */
	uint32_t stop;	  /* what is forbidden now */
	uint32_t moves;	  /* counts changes of place while the world is stopped */
	struct tcg_env *env[TCG_MOST_VCPUS];
	unsigned envs;
};

enum { PLACE_OUT, PLACE_RUNNING, PLACE_BLOCK, PLACE_BLOCK_OUT };

/* Held for short: nothing is waited for and nothing raised under it. */
void tcg_lock(struct tcg_world *w);
void tcg_unlock(struct tcg_world *w);
/* False: there are too many. */
bool tcg_world_add(struct tcg_world *w, struct tcg_env *env);
void tcg_world_remove(struct tcg_world *w, struct tcg_env *env);

/* OUT to RUNNING and back from wherever it is; going in waits while the world is stopped. */
void tcg_go_in(struct tcg_env *env);
void tcg_go_out(struct tcg_env *env);
/* For C that waits or goes to devices: to the place's outside, and back. */
void tcg_step_out(struct tcg_env *env);
void tcg_step_in(struct tcg_env *env);

/*
 * From RUNNING: nobody else touches guest memory (pages) or is in a block (all) until tcg_resume.
 * On the way others may have done the same: what was read before is to be read again.
 */
void tcg_stop_pages(struct tcg_env *env);
void tcg_stop_all(struct tcg_env *env);
/* From BLOCK, as tcg_stop_pages; false: somebody else is at it, leave the block first. */
bool tcg_try_stop_in_block(struct tcg_env *env);
void tcg_resume(struct tcg_env *env);
/* Lets another thread of the host run. */
void tcg_yield(void);
