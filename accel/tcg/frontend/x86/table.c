/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "accel/tcg/frontend/x86/insn.h"

#include "accel/tcg/frontend/x86/table.h"

const struct insn_row x86_rows[] = {
#include "accel/tcg/frontend/x86/table_base.h"
#include "accel/tcg/frontend/x86/table_x87.h"
#include "accel/tcg/frontend/x86/table_simd.h"
};
const unsigned x86_row_count = ARRAY_LEN(x86_rows);

#define ZSP (FLAG_Z | FLAG_S | FLAG_P)
#define ALL FLAGS_ALL

/* SDM volume 1, appendix A.2. `def` includes what is undefined: the old value does not survive. */
const struct flag_class x86_flag_class[FL_CLASSES] = {
	[FL_NONE] = { 0, 0, 0 },
	[FL_ARITH] = { ALL, 0, 0 },
	[FL_LOGIC] = { ALL, 0, FLAG_A },
	[FL_CARRY] = { ALL, FLAG_C, 0 },
	[FL_INC] = { ALL & ~FLAG_C, 0, 0 },
	[FL_SHIFT] = { ALL, 0, FLAG_A | FLAG_O },
	[FL_DSHIFT] = { ALL, 0, FLAG_A | FLAG_O },
	[FL_ROT] = { FLAG_C | FLAG_O, 0, FLAG_O },
	[FL_RCX] = { FLAG_C | FLAG_O, FLAG_C, FLAG_O },
	[FL_MUL] = { ALL, 0, ZSP | FLAG_A },
	[FL_DIV] = { ALL, 0, ALL },
	[FL_BT] = { ALL & ~FLAG_Z, 0, FLAG_O | FLAG_S | FLAG_A | FLAG_P },
	[FL_BSF] = { ALL, 0, ALL & ~FLAG_Z },
	[FL_ZCNT] = { ALL, 0, ALL & ~(FLAG_Z | FLAG_C) },
	[FL_BMI] = { ALL, 0, FLAG_A | FLAG_P | FLAG_S },
	[FL_POPCNT] = { ALL, 0, 0 },
	[FL_COMI] = { ALL, 0, 0 },
	[FL_STR] = { ALL, 0, 0 },
	[FL_CC] = { 0, ALL & ~FLAG_A, 0 },
	[FL_C_RW] = { FLAG_C, FLAG_C, 0 },
	[FL_C_W] = { FLAG_C, 0, 0 },
	[FL_ADCX] = { FLAG_C, FLAG_C, 0 },
	[FL_ADOX] = { FLAG_O, FLAG_O, 0 },
	[FL_Z_W] = { FLAG_Z, 0, 0 },
	[FL_RAND] = { ALL, 0, 0 },
	[FL_BCD] = { ALL, FLAG_C | FLAG_A, FLAG_O },
	[FL_BCD_A] = { ALL, FLAG_A, FLAG_O | ZSP },
	[FL_BCD_M] = { ALL, 0, FLAG_O | FLAG_A | FLAG_C },
	[FL_SAHF] = { ALL & ~FLAG_O, 0, 0 },
	[FL_LAHF] = { 0, ALL & ~FLAG_O, 0 },
	[FL_LOAD] = { ALL, 0, 0 },
	[FL_STORE] = { 0, ALL, 0 },
	[FL_FCMOV] = { 0, FLAG_C | FLAG_Z | FLAG_P, 0 },
	[FL_LOOPZ] = { 0, FLAG_Z, 0 },
};
