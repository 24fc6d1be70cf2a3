/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MMX, SSE, AVX and the rest that works on vectors. */
/* clang-format off */
/* Legacy form with the destination as first source, VEX form with a source of its own. */
#define DUAL(n, op, ft, pfx, size, ...)                                                            \
	I(n, op, pfx, RW, FT(ft), OPS(Vdq, W##size), __VA_ARGS__),                                  \
	I(n, op, pfx, VEX, W1, FT(AVX), OPS(Vx, Hx, W##size), __VA_ARGS__)
/* Integer: 256 bits need AVX2. */
#define DUALI(n, op, ft, ...)                                                                      \
	I(n, op, P66, RW, FT(ft), OPS(Vdq, Wx), __VA_ARGS__),                                       \
	I(n, op, P66, VEX, W1, FT(AVX), AT(A_L1_AVX2), OPS(Vx, Hx, Wx), __VA_ARGS__)
/* The same with an MMX form. */
#define TRIPLE(n, op, mmx, ft, ...)                                                                \
	I(n, op, NP, RW, FT(mmx), OPS(Pq, Qq), __VA_ARGS__), DUALI(n, op, ft, __VA_ARGS__)
/* One operand in, one out. */
#define MOVE(n, op, ft, pfx, dst, src, ...)                                                        \
	I(n, op, pfx, W1, FT(ft), OPS(dst, src), __VA_ARGS__), I(n, op, pfx, VEX, W1, FT(AVX), OPS(dst, src), __VA_ARGS__)
#define MOVEI(n, op, ft, pfx, dst, src, ...)                                                       \
	I(n, op, pfx, W1, FT(ft), OPS(dst, src), __VA_ARGS__),                                      \
	I(n, op, pfx, VEX, W1, FT(AVX), AT(A_L1_AVX2), OPS(dst, src), __VA_ARGS__)
#define FLOAT4(n, op)                                                                              \
	DUAL(n "ps", op, SSE, NP, x, M0F), DUAL(n "pd", op, SSE2, P66, x, M0F),                     \
	DUAL(n "ss", op, SSE, PF3, d, M0F), DUAL(n "sd", op, SSE2, PF2, q, M0F)
#define FLOAT2(n, op) DUAL(n "ps", op, SSE, NP, x, M0F), DUAL(n "pd", op, SSE2, P66, x, M0F)

	MOVE("movups", 0x10, SSE, NP, Vx, Wx, M0F), MOVE("movupd", 0x10, SSE2, P66, Vx, Wx, M0F),
	MOVE("movss", 0x10, SSE, PF3, Vdq, Md, M0F, MEM), MOVE("movsd", 0x10, SSE2, PF2, Vdq, Mq, M0F, MEM),
	DUAL("movss", 0x10, SSE, PF3, d, M0F, REG), DUAL("movsd", 0x10, SSE2, PF2, q, M0F, REG),
	MOVE("movups", 0x11, SSE, NP, Wx, Vx, M0F), MOVE("movupd", 0x11, SSE2, P66, Wx, Vx, M0F),
	MOVE("movss", 0x11, SSE, PF3, Md, Vd, M0F, MEM), MOVE("movsd", 0x11, SSE2, PF2, Mq, Vq, M0F, MEM),
	I("movss", 0x11, PF3, M0F, REG, RW, FT(SSE), OPS(Ud, Vd)), I("movss", 0x11, PF3, M0F, REG, VEX, W1, FT(AVX), OPS(Ux, Hx, Vd)),
	I("movsd", 0x11, PF2, M0F, REG, RW, FT(SSE2), OPS(Uq, Vq)), I("movsd", 0x11, PF2, M0F, REG, VEX, W1, FT(AVX), OPS(Ux, Hx, Vq)),
	I("movhlps", 0x12, NP, M0F, REG, RW, FT(SSE), OPS(Vdq, Udq)), I("movhlps", 0x12, NP, M0F, REG, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Hdq, Udq)),
#define HALF(n, op, ft, pfx)                                                                       \
	I(n, op, pfx, M0F, MEM, RW, FT(ft), OPS(Vdq, Mq)), I(n, op, pfx, M0F, MEM, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Hdq, Mq)), \
	I(n, op + 1, pfx, M0F, MEM, W1, FT(ft), OPS(Mq, Vdq)), I(n, op + 1, pfx, M0F, MEM, VEX, LV(0), W1, FT(AVX), OPS(Mq, Vdq))
	HALF("movlps", 0x12, SSE, NP), HALF("movlpd", 0x12, SSE2, P66), HALF("movhps", 0x16, SSE, NP), HALF("movhpd", 0x16, SSE2, P66),
#undef HALF
	MOVE("movsldup", 0x12, SSE3, PF3, Vx, Wx, M0F), MOVE("movshdup", 0x16, SSE3, PF3, Vx, Wx, M0F),
	I("movddup", 0x12, PF2, M0F, W1, FT(SSE3), OPS(Vdq, Wq)), I("movddup", 0x12, PF2, M0F, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Wq)),
	I("movddup", 0x12, PF2, M0F, VEX, LV(1), W1, FT(AVX), OPS(Vqq, Wqq)),
	I("movlhps", 0x16, NP, M0F, REG, RW, FT(SSE), OPS(Vdq, Udq)), I("movlhps", 0x16, NP, M0F, REG, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Hdq, Udq)),
	FLOAT2("unpcklp", 0x14), FLOAT2("unpckhp", 0x15),
	MOVE("movaps", 0x28, SSE, NP, Vx, Wx, M0F), MOVE("movapd", 0x28, SSE2, P66, Vx, Wx, M0F),
	MOVE("movaps", 0x29, SSE, NP, Wx, Vx, M0F), MOVE("movapd", 0x29, SSE2, P66, Wx, Vx, M0F),
	I("cvtpi2ps", 0x2a, NP, M0F, RW, FT(SSE), OPS(Vdq, Qq)), I("cvtpi2pd", 0x2a, P66, M0F, W1, FT(SSE2), OPS(Vdq, Qq)),
	I("cvtsi2ss", 0x2a, PF3, M0F, RW, FT(SSE), OPS(Vdq, Ey)), I("cvtsi2ss", 0x2a, PF3, M0F, VEX, W1, FT(AVX), OPS(Vdq, Hdq, Ey)),
	I("cvtsi2sd", 0x2a, PF2, M0F, RW, FT(SSE2), OPS(Vdq, Ey)), I("cvtsi2sd", 0x2a, PF2, M0F, VEX, W1, FT(AVX), OPS(Vdq, Hdq, Ey)),
	MOVE("movntps", 0x2b, SSE, NP, Mx, Vx, M0F, MEM), MOVE("movntpd", 0x2b, SSE2, P66, Mx, Vx, M0F, MEM),
	I("cvttps2pi", 0x2c, NP, M0F, W1, FT(SSE), OPS(Pq, Wq)), I("cvttpd2pi", 0x2c, P66, M0F, W1, FT(SSE2), OPS(Pq, Wdq)),
	I("cvtps2pi", 0x2d, NP, M0F, W1, FT(SSE), OPS(Pq, Wq)), I("cvtpd2pi", 0x2d, P66, M0F, W1, FT(SSE2), OPS(Pq, Wdq)),
	MOVE("cvttss2si", 0x2c, SSE, PF3, Gy, Wd, M0F), MOVE("cvttsd2si", 0x2c, SSE2, PF2, Gy, Wq, M0F),
	MOVE("cvtss2si", 0x2d, SSE, PF3, Gy, Wd, M0F), MOVE("cvtsd2si", 0x2d, SSE2, PF2, Gy, Wq, M0F),
#define COMPARE(n, op, ft, pfx, size)                                                              \
	I(n, op, pfx, M0F, FL(COMI), FT(ft), OPS(Vdq, W##size)), I(n, op, pfx, M0F, VEX, FL(COMI), FT(AVX), OPS(Vdq, W##size))
	COMPARE("ucomiss", 0x2e, SSE, NP, d), COMPARE("ucomisd", 0x2e, SSE2, P66, q), COMPARE("comiss", 0x2f, SSE, NP, d), COMPARE("comisd", 0x2f, SSE2, P66, q),
#undef COMPARE
	MOVE("movmskps", 0x50, SSE, NP, Gy, Ux, M0F, REG), MOVE("movmskpd", 0x50, SSE2, P66, Gy, Ux, M0F, REG),
#define UNARY(n, op)                                                                               \
	MOVE(n "ps", op, SSE, NP, Vx, Wx, M0F), DUAL(n "ss", op, SSE, PF3, d, M0F)
	UNARY("sqrt", 0x51), MOVE("sqrtpd", 0x51, SSE2, P66, Vx, Wx, M0F), DUAL("sqrtsd", 0x51, SSE2, PF2, q, M0F),
	UNARY("rsqrt", 0x52), UNARY("rcp", 0x53),
#undef UNARY
	FLOAT2("andp", 0x54), FLOAT2("andnp", 0x55), FLOAT2("orp", 0x56), FLOAT2("xorp", 0x57),
	FLOAT4("add", 0x58), FLOAT4("mul", 0x59),
	MOVE("cvtps2pd", 0x5a, SSE2, NP, Vx, Wh, M0F), MOVE("cvtpd2ps", 0x5a, SSE2, P66, Vdq, Wx, M0F),
	DUAL("cvtss2sd", 0x5a, SSE2, PF3, d, M0F), DUAL("cvtsd2ss", 0x5a, SSE2, PF2, q, M0F),
	MOVE("cvtdq2ps", 0x5b, SSE2, NP, Vx, Wx, M0F), MOVE("cvtps2dq", 0x5b, SSE2, P66, Vx, Wx, M0F), MOVE("cvttps2dq", 0x5b, SSE2, PF3, Vx, Wx, M0F),
	FLOAT4("sub", 0x5c), FLOAT4("min", 0x5d), FLOAT4("div", 0x5e), FLOAT4("max", 0x5f),
#define UNPCKL(n, op)                                                                              \
	I(n, op, NP, M0F, RW, FT(MMX), OPS(Pq, Qd)), DUALI(n, op, SSE2, M0F)
	UNPCKL("punpcklbw", 0x60), UNPCKL("punpcklwd", 0x61), UNPCKL("punpckldq", 0x62),
#undef UNPCKL
	TRIPLE("packsswb", 0x63, MMX, SSE2, M0F), TRIPLE("pcmpgtb", 0x64, MMX, SSE2, M0F), TRIPLE("pcmpgtw", 0x65, MMX, SSE2, M0F),
	TRIPLE("pcmpgtd", 0x66, MMX, SSE2, M0F), TRIPLE("packuswb", 0x67, MMX, SSE2, M0F), TRIPLE("punpckhbw", 0x68, MMX, SSE2, M0F),
	TRIPLE("punpckhwd", 0x69, MMX, SSE2, M0F), TRIPLE("punpckhdq", 0x6a, MMX, SSE2, M0F), TRIPLE("packssdw", 0x6b, MMX, SSE2, M0F),
	DUALI("punpcklqdq", 0x6c, SSE2, M0F), DUALI("punpckhqdq", 0x6d, SSE2, M0F),
	I("movd", 0x6e, NP, M0F, W1, FT(MMX), OPS(Pq, Ey)), I("movd", 0x6e, P66, M0F, W1, FT(SSE2), OPS(Vdq, Ey)), I("movd", 0x6e, P66, M0F, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Ey)),
	I("movq", 0x6f, NP, M0F, W1, FT(MMX), OPS(Pq, Qq)), MOVE("movdqa", 0x6f, SSE2, P66, Vx, Wx, M0F), MOVE("movdqu", 0x6f, SSE2, PF3, Vx, Wx, M0F),
	I("pshufw", 0x70, NP, M0F, W1, FT(SSE), OPS(Pq, Qq, Ib)),
#define SHUF(n, pfx) I(n, 0x70, pfx, M0F, W1, FT(SSE2), OPS(Vdq, Wx, Ib)), I(n, 0x70, pfx, M0F, VEX, W1, FT(AVX), AT(A_L1_AVX2), OPS(Vx, Wx, Ib))
	SHUF("pshufd", P66), SHUF("pshufhw", PF3), SHUF("pshuflw", PF2),
#undef SHUF
#define SHIFTI(n, op, ext)                                                                         \
	I(n, op, X(ext), NP, M0F, REG, RW, FT(MMX), OPS(Nq, Ib)), I(n, op, X(ext), P66, M0F, REG, RW, FT(SSE2), OPS(Udq, Ib)), \
	I(n, op, X(ext), P66, M0F, REG, VEX, W1, FT(AVX), AT(A_L1_AVX2), OPS(Hx, Ux, Ib))
	SHIFTI("psrlw", 0x71, 2), SHIFTI("psraw", 0x71, 4), SHIFTI("psllw", 0x71, 6), SHIFTI("psrld", 0x72, 2), SHIFTI("psrad", 0x72, 4),
	SHIFTI("pslld", 0x72, 6), SHIFTI("psrlq", 0x73, 2), SHIFTI("psllq", 0x73, 6),
#undef SHIFTI
#define SHIFTB(n, ext)                                                                             \
	I(n, 0x73, X(ext), P66, M0F, REG, RW, FT(SSE2), OPS(Udq, Ib)), I(n, 0x73, X(ext), P66, M0F, REG, VEX, W1, FT(AVX), AT(A_L1_AVX2), OPS(Hx, Ux, Ib))
	SHIFTB("psrldq", 3), SHIFTB("pslldq", 7),
#undef SHIFTB
	TRIPLE("pcmpeqb", 0x74, MMX, SSE2, M0F), TRIPLE("pcmpeqw", 0x75, MMX, SSE2, M0F), TRIPLE("pcmpeqd", 0x76, MMX, SSE2, M0F),
	I("emms", 0x77, NP, M0F, FT(MMX)), I("zeroupper", 0x77, NP, M0F, VEX, K(VZERO), FT(AVX)),
#define HORIZONTAL(n, op) DUAL(n "pd", op, SSE3, P66, x, M0F), DUAL(n "ps", op, SSE3, PF2, x, M0F)
	HORIZONTAL("hadd", 0x7c), HORIZONTAL("hsub", 0x7d), HORIZONTAL("addsub", 0xd0),
#undef HORIZONTAL
	I("movd", 0x7e, NP, M0F, W1, FT(MMX), OPS(Ey, Pq)), I("movd", 0x7e, P66, M0F, W1, FT(SSE2), OPS(Ey, Vdq)), I("movd", 0x7e, P66, M0F, VEX, LV(0), W1, FT(AVX), OPS(Ey, Vdq)),
	I("movq", 0x7e, PF3, M0F, W1, FT(SSE2), OPS(Vdq, Wq)), I("movq", 0x7e, PF3, M0F, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Wq)),
	I("movq", 0x7f, NP, M0F, W1, FT(MMX), OPS(Qq, Pq)), MOVE("movdqa", 0x7f, SSE2, P66, Wx, Vx, M0F), MOVE("movdqu", 0x7f, SSE2, PF3, Wx, Vx, M0F),
	I("ldmxcsr", 0xae, M0F, NP, X(2), VEX, LV(0), K(LDMXCSR), FT(AVX), MEM, OPS(Md)), I("stmxcsr", 0xae, M0F, NP, X(3), VEX, LV(0), W1, K(STMXCSR), FT(AVX), MEM, OPS(Md)),
#define FLOATI(n, op, ft, pfx, size) \
	I(n, op, pfx, M0F, RW, FT(ft), OPS(Vdq, W##size, Ib)), I(n, op, pfx, M0F, VEX, W1, FT(AVX), OPS(Vx, Hx, W##size, Ib))
	FLOATI("cmpps", 0xc2, SSE, NP, x), FLOATI("cmppd", 0xc2, SSE2, P66, x), FLOATI("cmpss", 0xc2, SSE, PF3, d), FLOATI("cmpsd", 0xc2, SSE2, PF2, q),
	FLOATI("shufps", 0xc6, SSE, NP, x), FLOATI("shufpd", 0xc6, SSE2, P66, x),
#undef FLOATI
	I("pinsrw", 0xc4, NP, M0F, REG, RW, FT(SSE), OPS(Pq, Rd, Ib)), I("pinsrw", 0xc4, NP, M0F, MEM, RW, FT(SSE), OPS(Pq, Mw, Ib)),
	I("pinsrw", 0xc4, P66, M0F, REG, RW, FT(SSE2), OPS(Vdq, Rd, Ib)), I("pinsrw", 0xc4, P66, M0F, MEM, RW, FT(SSE2), OPS(Vdq, Mw, Ib)),
	I("pinsrw", 0xc4, P66, M0F, REG, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Hdq, Rd, Ib)), I("pinsrw", 0xc4, P66, M0F, MEM, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Hdq, Mw, Ib)),
	I("pextrw", 0xc5, NP, M0F, REG, W1, FT(SSE), OPS(Gy, Nq, Ib)), I("pextrw", 0xc5, P66, M0F, REG, W1, FT(SSE2), OPS(Gy, Udq, Ib)),
	I("pextrw", 0xc5, P66, M0F, REG, VEX, LV(0), W1, FT(AVX), OPS(Gy, Udq, Ib)),
#define SHIFT(n, op)                                                                               \
	I(n, op, NP, M0F, RW, FT(MMX), OPS(Pq, Qq)), I(n, op, P66, M0F, RW, FT(SSE2), OPS(Vdq, Wdq)), \
	I(n, op, P66, M0F, VEX, W1, FT(AVX), AT(A_L1_AVX2), OPS(Vx, Hx, Wdq))
	SHIFT("psrlw", 0xd1), SHIFT("psrld", 0xd2), SHIFT("psrlq", 0xd3), SHIFT("psraw", 0xe1), SHIFT("psrad", 0xe2),
	SHIFT("psllw", 0xf1), SHIFT("pslld", 0xf2), SHIFT("psllq", 0xf3),
#undef SHIFT
	TRIPLE("paddq", 0xd4, SSE2, SSE2, M0F), TRIPLE("pmullw", 0xd5, MMX, SSE2, M0F),
	I("movq", 0xd6, P66, M0F, W1, FT(SSE2), OPS(Wq, Vdq)), I("movq", 0xd6, P66, M0F, VEX, LV(0), W1, FT(AVX), OPS(Wq, Vdq)),
	I("movq2dq", 0xd6, PF3, M0F, REG, W1, FT(SSE2), OPS(Vdq, Nq)), I("movdq2q", 0xd6, PF2, M0F, REG, W1, FT(SSE2), OPS(Pq, Udq)),
	I("pmovmskb", 0xd7, NP, M0F, REG, W1, FT(SSE), OPS(Gy, Nq)), I("pmovmskb", 0xd7, P66, M0F, REG, W1, FT(SSE2), OPS(Gy, Udq)),
	I("pmovmskb", 0xd7, P66, M0F, REG, VEX, W1, FT(AVX), AT(A_L1_AVX2), OPS(Gy, Ux)),
	TRIPLE("psubusb", 0xd8, MMX, SSE2, M0F), TRIPLE("psubusw", 0xd9, MMX, SSE2, M0F), TRIPLE("pminub", 0xda, SSE, SSE2, M0F), TRIPLE("pand", 0xdb, MMX, SSE2, M0F),
	TRIPLE("paddusb", 0xdc, MMX, SSE2, M0F), TRIPLE("paddusw", 0xdd, MMX, SSE2, M0F), TRIPLE("pmaxub", 0xde, SSE, SSE2, M0F), TRIPLE("pandn", 0xdf, MMX, SSE2, M0F),
	TRIPLE("pavgb", 0xe0, SSE, SSE2, M0F), TRIPLE("pavgw", 0xe3, SSE, SSE2, M0F), TRIPLE("pmulhuw", 0xe4, SSE, SSE2, M0F), TRIPLE("pmulhw", 0xe5, MMX, SSE2, M0F),
	MOVE("cvttpd2dq", 0xe6, SSE2, P66, Vdq, Wx, M0F), MOVE("cvtdq2pd", 0xe6, SSE2, PF3, Vx, Wh, M0F), MOVE("cvtpd2dq", 0xe6, SSE2, PF2, Vdq, Wx, M0F),
	I("movntq", 0xe7, NP, M0F, MEM, W1, FT(SSE), OPS(Mq, Pq)), MOVE("movntdq", 0xe7, SSE2, P66, Mx, Vx, M0F, MEM),
	TRIPLE("psubsb", 0xe8, MMX, SSE2, M0F), TRIPLE("psubsw", 0xe9, MMX, SSE2, M0F), TRIPLE("pminsw", 0xea, SSE, SSE2, M0F), TRIPLE("por", 0xeb, MMX, SSE2, M0F),
	TRIPLE("paddsb", 0xec, MMX, SSE2, M0F), TRIPLE("paddsw", 0xed, MMX, SSE2, M0F), TRIPLE("pmaxsw", 0xee, SSE, SSE2, M0F), TRIPLE("pxor", 0xef, MMX, SSE2, M0F),
	MOVE("lddqu", 0xf0, SSE3, PF2, Vx, Mx, M0F, MEM),
	TRIPLE("pmuludq", 0xf4, SSE2, SSE2, M0F), TRIPLE("pmaddwd", 0xf5, MMX, SSE2, M0F), TRIPLE("psadbw", 0xf6, SSE, SSE2, M0F),
	I("maskmovq", 0xf7, NP, M0F, REG, K(MASKMOV), FT(SSE), OPS(Pq, Nq)), I("maskmovdqu", 0xf7, P66, M0F, REG, K(MASKMOV), FT(SSE2), OPS(Vdq, Udq)),
	I("maskmovdqu", 0xf7, P66, M0F, REG, VEX, LV(0), K(MASKMOV), FT(AVX), OPS(Vdq, Udq)),
	TRIPLE("psubb", 0xf8, MMX, SSE2, M0F), TRIPLE("psubw", 0xf9, MMX, SSE2, M0F), TRIPLE("psubd", 0xfa, MMX, SSE2, M0F), TRIPLE("psubq", 0xfb, SSE2, SSE2, M0F),
	TRIPLE("paddb", 0xfc, MMX, SSE2, M0F), TRIPLE("paddw", 0xfd, MMX, SSE2, M0F), TRIPLE("paddd", 0xfe, MMX, SSE2, M0F),

	/* 0F 38 */
	TRIPLE("pshufb", 0x00, SSSE3, SSSE3, M38), TRIPLE("phaddw", 0x01, SSSE3, SSSE3, M38), TRIPLE("phaddd", 0x02, SSSE3, SSSE3, M38),
	TRIPLE("phaddsw", 0x03, SSSE3, SSSE3, M38), TRIPLE("pmaddubsw", 0x04, SSSE3, SSSE3, M38), TRIPLE("phsubw", 0x05, SSSE3, SSSE3, M38),
	TRIPLE("phsubd", 0x06, SSSE3, SSSE3, M38), TRIPLE("phsubsw", 0x07, SSSE3, SSSE3, M38), TRIPLE("psignb", 0x08, SSSE3, SSSE3, M38),
	TRIPLE("psignw", 0x09, SSSE3, SSSE3, M38), TRIPLE("psignd", 0x0a, SSSE3, SSSE3, M38), TRIPLE("pmulhrsw", 0x0b, SSSE3, SSSE3, M38),
#define ABS(n, op) I(n, op, NP, M38, W1, FT(SSSE3), OPS(Pq, Qq)), MOVEI(n, op, SSSE3, P66, Vx, Wx, M38)
	ABS("pabsb", 0x1c), ABS("pabsw", 0x1d), ABS("pabsd", 0x1e),
#undef ABS
	I("vpermilps", 0x0c, P66, M38, VEX, WV(0), W1, FT(AVX), OPS(Vx, Hx, Wx)), I("vpermilpd", 0x0d, P66, M38, VEX, WV(0), W1, FT(AVX), OPS(Vx, Hx, Wx)),
	I("vtestps", 0x0e, P66, M38, VEX, WV(0), FL(STR), FT(AVX), OPS(Vx, Wx)), I("vtestpd", 0x0f, P66, M38, VEX, WV(0), FL(STR), FT(AVX), OPS(Vx, Wx)),
	I("pblendvb", 0x10, P66, M38, RW, FT(SSE41), OPS(Vdq, Wdq)), I("blendvps", 0x14, P66, M38, RW, FT(SSE41), OPS(Vdq, Wdq)), I("blendvpd", 0x15, P66, M38, RW, FT(SSE41), OPS(Vdq, Wdq)),
	I("vcvtph2ps", 0x13, P66, M38, VEX, WV(0), W1, FT(F16C), OPS(Vx, Wh)),
	I("vpermps", 0x16, P66, M38, VEX, WV(0), LV(1), W1, FT(AVX2), OPS(Vqq, Hqq, Wqq)),
	I("ptest", 0x17, P66, M38, FL(STR), FT(SSE41), OPS(Vdq, Wdq)), I("ptest", 0x17, P66, M38, VEX, FL(STR), FT(AVX), OPS(Vx, Wx)),
	I("vbroadcastss", 0x18, P66, M38, VEX, WV(0), MEM, W1, FT(AVX), OPS(Vx, Md)), I("vbroadcastss", 0x18, P66, M38, VEX, WV(0), REG, W1, FT(AVX2), OPS(Vx, Udq)),
	I("vbroadcastsd", 0x19, P66, M38, VEX, WV(0), LV(1), MEM, W1, FT(AVX), OPS(Vqq, Mq)), I("vbroadcastsd", 0x19, P66, M38, VEX, WV(0), LV(1), REG, W1, FT(AVX2), OPS(Vqq, Udq)),
	I("vbroadcastf128", 0x1a, P66, M38, VEX, WV(0), LV(1), MEM, W1, FT(AVX), OPS(Vqq, Mdq)),
#define EXTEND(n, op)                                                                              \
	MOVEI(n "bw", op, SSE41, P66, Vx, Wh, M38), MOVEI(n "bd", op + 1, SSE41, P66, Vx, Wk, M38), MOVEI(n "bq", op + 2, SSE41, P66, Vx, We, M38), \
	MOVEI(n "wd", op + 3, SSE41, P66, Vx, Wh, M38), MOVEI(n "wq", op + 4, SSE41, P66, Vx, Wk, M38), MOVEI(n "dq", op + 5, SSE41, P66, Vx, Wh, M38)
	EXTEND("pmovsx", 0x20), EXTEND("pmovzx", 0x30),
#undef EXTEND
	DUALI("pmuldq", 0x28, SSE41, M38), DUALI("pcmpeqq", 0x29, SSE41, M38), MOVEI("movntdqa", 0x2a, SSE41, P66, Vx, Mx, M38, MEM), DUALI("packusdw", 0x2b, SSE41, M38),
	I("vmaskmovps", 0x2c, P66, M38, VEX, WV(0), MEM, W1, K(VMASKMOV), FT(AVX), OPS(Vx, Hx, Mx)), I("vmaskmovpd", 0x2d, P66, M38, VEX, WV(0), MEM, W1, K(VMASKMOV), FT(AVX), OPS(Vx, Hx, Mx)),
	I("vmaskmovps", 0x2e, P66, M38, VEX, WV(0), MEM, W1, K(VMASKMOV), FT(AVX), OPS(Mx, Hx, Vx)), I("vmaskmovpd", 0x2f, P66, M38, VEX, WV(0), MEM, W1, K(VMASKMOV), FT(AVX), OPS(Mx, Hx, Vx)),
	I("vpermd", 0x36, P66, M38, VEX, WV(0), LV(1), W1, FT(AVX2), OPS(Vqq, Hqq, Wqq)), DUALI("pcmpgtq", 0x37, SSE42, M38),
	DUALI("pminsb", 0x38, SSE41, M38), DUALI("pminsd", 0x39, SSE41, M38), DUALI("pminuw", 0x3a, SSE41, M38), DUALI("pminud", 0x3b, SSE41, M38),
	DUALI("pmaxsb", 0x3c, SSE41, M38), DUALI("pmaxsd", 0x3d, SSE41, M38), DUALI("pmaxuw", 0x3e, SSE41, M38), DUALI("pmaxud", 0x3f, SSE41, M38),
	DUALI("pmulld", 0x40, SSE41, M38), I("phminposuw", 0x41, P66, M38, W1, FT(SSE41), OPS(Vdq, Wdq)), I("phminposuw", 0x41, P66, M38, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Wdq)),
#define AVX2(n, op, w) I(n, op, P66, M38, VEX, WV(w), W1, FT(AVX2), OPS(Vx, Hx, Wx))
	AVX2("vpsrlvd", 0x45, 0), AVX2("vpsrlvq", 0x45, 1), AVX2("vpsravd", 0x46, 0), AVX2("vpsllvd", 0x47, 0), AVX2("vpsllvq", 0x47, 1),
#undef AVX2
	I("vpbroadcastd", 0x58, P66, M38, VEX, WV(0), W1, FT(AVX2), OPS(Vx, Wd)), I("vpbroadcastq", 0x59, P66, M38, VEX, WV(0), W1, FT(AVX2), OPS(Vx, Wq)),
	I("vbroadcasti128", 0x5a, P66, M38, VEX, WV(0), LV(1), MEM, W1, FT(AVX2), OPS(Vqq, Mdq)),
	I("vpbroadcastb", 0x78, P66, M38, VEX, WV(0), W1, FT(AVX2), OPS(Vx, Wb)), I("vpbroadcastw", 0x79, P66, M38, VEX, WV(0), W1, FT(AVX2), OPS(Vx, Ww)),
	I("vpmaskmov", 0x8c, P66, M38, VEX, MEM, W1, K(VMASKMOV), FT(AVX2), OPS(Vx, Hx, Mx)), I("vpmaskmov", 0x8e, P66, M38, VEX, MEM, W1, K(VMASKMOV), FT(AVX2), OPS(Mx, Hx, Vx)),
	I("vpgatherd", 0x90, P66, M38, VEX, MEM, RW, K(GATHER), FT(AVX2), OPS(Vx, M0, Hx)), I("vpgatherq", 0x91, P66, M38, VEX, MEM, RW, K(GATHER), FT(AVX2), OPS(Vx, M0, Hx)),
	I("vgatherd", 0x92, P66, M38, VEX, MEM, RW, K(GATHER), FT(AVX2), OPS(Vx, M0, Hx)), I("vgatherq", 0x93, P66, M38, VEX, MEM, RW, K(GATHER), FT(AVX2), OPS(Vx, M0, Hx)),
#define FMA1(n, op)                                                                                \
	I(n "ps", op, P66, M38, VEX, WV(0), RW, FT(FMA), OPS(Vx, Hx, Wx)), I(n "pd", op, P66, M38, VEX, WV(1), RW, FT(FMA), OPS(Vx, Hx, Wx))
#define FMAS(n, op)                                                                                \
	I(n "ss", op, P66, M38, VEX, WV(0), RW, FT(FMA), OPS(Vdq, Hdq, Wd)), I(n "sd", op, P66, M38, VEX, WV(1), RW, FT(FMA), OPS(Vdq, Hdq, Wq))
#define FMA3(order, op)                                                                            \
	FMA1("vfmaddsub" order, op + 0x6), FMA1("vfmsubadd" order, op + 0x7), FMA1("vfmadd" order, op + 0x8), FMAS("vfmadd" order, op + 0x9), \
	FMA1("vfmsub" order, op + 0xa), FMAS("vfmsub" order, op + 0xb), FMA1("vfnmadd" order, op + 0xc), FMAS("vfnmadd" order, op + 0xd), \
	FMA1("vfnmsub" order, op + 0xe), FMAS("vfnmsub" order, op + 0xf)
	FMA3("132", 0x90), FMA3("213", 0xa0), FMA3("231", 0xb0),
#undef FMA1
#undef FMAS
#undef FMA3
	I("sha1nexte", 0xc8, NP, M38, RW, FT(SHA), OPS(Vdq, Wdq)), I("sha1msg1", 0xc9, NP, M38, RW, FT(SHA), OPS(Vdq, Wdq)), I("sha1msg2", 0xca, NP, M38, RW, FT(SHA), OPS(Vdq, Wdq)),
	I("sha256rnds2", 0xcb, NP, M38, RW, FT(SHA), OPS(Vdq, Wdq)), I("sha256msg1", 0xcc, NP, M38, RW, FT(SHA), OPS(Vdq, Wdq)), I("sha256msg2", 0xcd, NP, M38, RW, FT(SHA), OPS(Vdq, Wdq)),
	I("aesimc", 0xdb, P66, M38, W1, FT(AES), OPS(Vdq, Wdq)), I("aesimc", 0xdb, P66, M38, VEX, LV(0), W1, FT(AES), OPS(Vdq, Wdq)),
#define AESROUND(n, op) I(n, op, P66, M38, RW, FT(AES), OPS(Vdq, Wdq)), I(n, op, P66, M38, VEX, LV(0), W1, FT(AES), OPS(Vdq, Hdq, Wdq)), \
	I(n, op, P66, M38, VEX, LV(1), W1, FT(VAES), OPS(Vqq, Hqq, Wqq))
	AESROUND("aesenc", 0xdc), AESROUND("aesenclast", 0xdd), AESROUND("aesdec", 0xde), AESROUND("aesdeclast", 0xdf),
#undef AESROUND
	I("gf2p8mulb", 0xcf, P66, M38, RW, FT(GFNI), OPS(Vdq, Wdq)), I("gf2p8mulb", 0xcf, P66, M38, VEX, WV(0), LV(0), W1, FT(GFNI), OPS(Vdq, Hdq, Wdq)),
	I("gf2p8mulb", 0xcf, P66, M38, VEX, WV(0), LV(1), W1, FT(GFNI), OPS(Vqq, Hqq, Wqq)),

	/* 0F 3A */
	I("vpermq", 0x00, P66, M3A, VEX, WV(1), LV(1), W1, FT(AVX2), OPS(Vqq, Wqq, Ib)), I("vpermpd", 0x01, P66, M3A, VEX, WV(1), LV(1), W1, FT(AVX2), OPS(Vqq, Wqq, Ib)),
	I("vpblendd", 0x02, P66, M3A, VEX, WV(0), W1, FT(AVX2), OPS(Vx, Hx, Wx, Ib)),
	I("vpermilps", 0x04, P66, M3A, VEX, WV(0), W1, FT(AVX), OPS(Vx, Wx, Ib)), I("vpermilpd", 0x05, P66, M3A, VEX, WV(0), W1, FT(AVX), OPS(Vx, Wx, Ib)),
	I("vperm2f128", 0x06, P66, M3A, VEX, WV(0), LV(1), W1, FT(AVX), OPS(Vqq, Hqq, Wqq, Ib)),
#define ROUND(n, op) I(n, op, P66, M3A, W1, FT(SSE41), OPS(Vdq, Wx, Ib)), I(n, op, P66, M3A, VEX, W1, FT(AVX), OPS(Vx, Wx, Ib))
	ROUND("roundps", 0x08), ROUND("roundpd", 0x09),
#undef ROUND
#define WITHI(n, op, ft, size, at)                                                                 \
	I(n, op, P66, M3A, RW, FT(ft), OPS(Vdq, W##size, Ib)), I(n, op, P66, M3A, VEX, W1, FT(AVX), AT(at), OPS(Vx, Hx, W##size, Ib))
	WITHI("roundss", 0x0a, SSE41, d, 0), WITHI("roundsd", 0x0b, SSE41, q, 0), WITHI("blendps", 0x0c, SSE41, x, 0), WITHI("blendpd", 0x0d, SSE41, x, 0),
	WITHI("pblendw", 0x0e, SSE41, x, A_L1_AVX2),
	I("palignr", 0x0f, NP, M3A, RW, FT(SSSE3), OPS(Pq, Qq, Ib)), WITHI("palignr", 0x0f, SSSE3, x, A_L1_AVX2),
#define EXTRACT(n, op, reg, mem)                                                                   \
	I(n, op, P66, M3A, REG, W1, FT(SSE41), OPS(reg, Vdq, Ib)), I(n, op, P66, M3A, REG, VEX, LV(0), W1, FT(AVX), OPS(reg, Vdq, Ib)), \
	I(n, op, P66, M3A, MEM, W1, FT(SSE41), OPS(mem, Vdq, Ib)), I(n, op, P66, M3A, MEM, VEX, LV(0), W1, FT(AVX), OPS(mem, Vdq, Ib))
	EXTRACT("pextrb", 0x14, Ry, Mb), EXTRACT("pextrw", 0x15, Ry, Mw), EXTRACT("pextrd", 0x16, Ry, My), EXTRACT("extractps", 0x17, Ry, Md),
#undef EXTRACT
	I("vinsertf128", 0x18, P66, M3A, VEX, WV(0), LV(1), W1, FT(AVX), OPS(Vqq, Hqq, Wdq, Ib)), I("vextractf128", 0x19, P66, M3A, VEX, WV(0), LV(1), W1, FT(AVX), OPS(Wdq, Vqq, Ib)),
	I("vcvtps2ph", 0x1d, P66, M3A, VEX, WV(0), W1, FT(F16C), OPS(Wh, Vx, Ib)),
#define INSERT(n, op, src, ...)                                                                    \
	I(n, op, P66, M3A, RW, FT(SSE41), OPS(Vdq, src, Ib), __VA_ARGS__), I(n, op, P66, M3A, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Hdq, src, Ib), __VA_ARGS__)
	INSERT("pinsrb", 0x20, Rd, REG), INSERT("pinsrb", 0x20, Mb, MEM), INSERT("insertps", 0x21, Udq, REG), INSERT("insertps", 0x21, Md, MEM),
	INSERT("pinsrd", 0x22, Ry, REG), INSERT("pinsrd", 0x22, My, MEM),
#undef INSERT
	I("vinserti128", 0x38, P66, M3A, VEX, WV(0), LV(1), W1, FT(AVX2), OPS(Vqq, Hqq, Wdq, Ib)), I("vextracti128", 0x39, P66, M3A, VEX, WV(0), LV(1), W1, FT(AVX2), OPS(Wdq, Vqq, Ib)),
	WITHI("dpps", 0x40, SSE41, x, 0), I("dppd", 0x41, P66, M3A, RW, FT(SSE41), OPS(Vdq, Wdq, Ib)), I("dppd", 0x41, P66, M3A, VEX, LV(0), W1, FT(AVX), OPS(Vdq, Hdq, Wdq, Ib)),
	WITHI("mpsadbw", 0x42, SSE41, x, A_L1_AVX2),
	I("pclmulqdq", 0x44, P66, M3A, RW, FT(PCLMUL), OPS(Vdq, Wdq, Ib)), I("pclmulqdq", 0x44, P66, M3A, VEX, LV(0), W1, FT(PCLMUL), OPS(Vdq, Hdq, Wdq, Ib)),
	I("pclmulqdq", 0x44, P66, M3A, VEX, LV(1), W1, FT(VPCLMULQDQ), OPS(Vqq, Hqq, Wqq, Ib)),
	I("vperm2i128", 0x46, P66, M3A, VEX, WV(0), LV(1), W1, FT(AVX2), OPS(Vqq, Hqq, Wqq, Ib)),
	I("vblendvps", 0x4a, P66, M3A, VEX, WV(0), W1, FT(AVX), OPS(Vx, Hx, Wx, Lx)), I("vblendvpd", 0x4b, P66, M3A, VEX, WV(0), W1, FT(AVX), OPS(Vx, Hx, Wx, Lx)),
	I("vpblendvb", 0x4c, P66, M3A, VEX, WV(0), W1, FT(AVX), AT(A_L1_AVX2), OPS(Vx, Hx, Wx, Lx)),
#define STRING(n, op) I(n, op, P66, M3A, FL(STR), FT(SSE42), OPS(Vdq, Wdq, Ib)), I(n, op, P66, M3A, VEX, LV(0), FL(STR), FT(AVX), OPS(Vdq, Wdq, Ib))
	STRING("pcmpestrm", 0x60), STRING("pcmpestri", 0x61), STRING("pcmpistrm", 0x62), STRING("pcmpistri", 0x63),
#undef STRING
	I("sha1rnds4", 0xcc, NP, M3A, RW, FT(SHA), OPS(Vdq, Wdq, Ib)),
#define AFFINE(n, op)                                                                              \
	I(n, op, P66, M3A, RW, FT(GFNI), OPS(Vdq, Wdq, Ib)), I(n, op, P66, M3A, VEX, WV(1), W1, FT(GFNI), OPS(Vx, Hx, Wx, Ib))
	AFFINE("gf2p8affineqb", 0xce), AFFINE("gf2p8affineinvqb", 0xcf),
#undef AFFINE
	I("aeskeygenassist", 0xdf, P66, M3A, W1, FT(AES), OPS(Vdq, Wdq, Ib)), I("aeskeygenassist", 0xdf, P66, M3A, VEX, LV(0), W1, FT(AES), OPS(Vdq, Wdq, Ib)),
#undef WITHI
#undef DUAL
#undef DUALI
#undef TRIPLE
#undef MOVE
#undef MOVEI
#undef FLOAT4
#undef FLOAT2
