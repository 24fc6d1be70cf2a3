/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs cases on the bare CPU, in this process, until an exception or the code's end. */
#pragma once

#include "tests/lib/cpu_make.h"

/* What the last run left. */
extern struct case_state native_out;

/* Maps the sandbox and the code; takes the signals of a native run and leaves others where they
 * went. */
void native_set_up(void);
/* What was made: `pages` has it where it lies in CODE, and all that was there before. */
void native_take_code(const uint8_t *pages);
void native_run(void);
