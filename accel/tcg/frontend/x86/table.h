/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the rows of the table_*.h files are written. A row's fields default to "any" or "none". */
/* clang-format off */
#define I(n, op, ...) { .name = n, .opcode = op, __VA_ARGS__ }
#define OPS(...) .operand = { __VA_ARGS__ }
#define RW .access = ACC_RW
#define W1 .access = ACC_W
#define WW .access = ACC_WW
#define W2 .access = ACC_W2
#define NOACC .access = ACC_N
#define FL(x) .flags = FL_##x
#define AT(x) .attr = x
#define K(x) .kind = K_##x
#define X(n) .ext = 1 + (n)
#define RM(n) .rm = 1 + (n)
#define MEM .mod = MOD_MEM
#define REG .mod = MOD_REG
#define NP .prefix = PFX_NP
#define P66 .prefix = PFX_66
#define PF3 .prefix = PFX_F3
#define PF2 .prefix = PFX_F2
#define PNF .prefix = PFX_NF
#define FT(x) .feature = FEAT_##x
#define M0F .map = MAP_0F
#define M38 .map = MAP_0F38
#define M3A .map = MAP_0F3A
#define VEX .vex = 1
#define WV(n) .w = W_##n
#define LV(n) .l = L_##n

#define SIZES(place)                                                                                   \
	place##0 = OPERAND(place, 0), place##b = OPERAND(place, b), place##w = OPERAND(place, w), place##d = OPERAND(place, d),    \
	place##q = OPERAND(place, q), place##dq = OPERAND(place, dq), place##qq = OPERAND(place, qq), place##t = OPERAND(place, t), \
	place##v = OPERAND(place, v), place##y = OPERAND(place, y), place##z = OPERAND(place, z), place##x = OPERAND(place, x),    \
	place##h = OPERAND(place, h), place##k = OPERAND(place, k), place##e = OPERAND(place, e), place##g = OPERAND(place, g),    \
	place##s = OPERAND(place, s), place##p = OPERAND(place, p), place##a = OPERAND(place, a), place##env = OPERAND(place, env), \
	place##fsv = OPERAND(place, fsv), place##fx = OPERAND(place, fx), place##xs = OPERAND(place, xs), place##yy = OPERAND(place, yy)

enum {
	SIZES(E), SIZES(G), SIZES(M), SIZES(R), SIZES(B), SIZES(Z), SIZES(V), SIZES(W), SIZES(H),
	SIZES(U), SIZES(L), SIZES(P), SIZES(Q), SIZES(N), SIZES(S), SIZES(C), SIZES(D), SIZES(I),
	SIZES(SI), SIZES(J), SIZES(A), SIZES(O), SIZES(X), SIZES(Y), SIZES(F), SIZES(KA), SIZES(KC),
	SIZES(KD), ONE = OPERAND(ONE, b),
};
