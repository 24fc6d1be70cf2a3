/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87. The register forms that manuals leave out but every processor has are there too. */
/* clang-format off */
#define FX(n, op, ...) I(n, op, AT(A_FPU), __VA_ARGS__)
#define FARITH(op, suffix, size)                                                                   \
	FX("fadd" suffix, op, X(0), MEM, OPS(size)), FX("fmul" suffix, op, X(1), MEM, OPS(size)),  \
	FX("fcom" suffix, op, X(2), MEM, OPS(size)), FX("fcomp" suffix, op, X(3), MEM, OPS(size)), \
	FX("fsub" suffix, op, X(4), MEM, OPS(size)), FX("fsubr" suffix, op, X(5), MEM, OPS(size)), \
	FX("fdiv" suffix, op, X(6), MEM, OPS(size)), FX("fdivr" suffix, op, X(7), MEM, OPS(size))
	FARITH(0xd8, "", Md), FARITH(0xda, "", Md), FARITH(0xdc, "", Mq), FARITH(0xde, "", Mw),
#undef FARITH
#define FR(n, op, ext) FX(n, op, X(ext), REG, OPS(Ft))
#define F0(n, op, ext, rm) FX(n, op, X(ext), RM(rm), REG)
	FR("fadd", 0xd8, 0), FR("fmul", 0xd8, 1), FR("fcom", 0xd8, 2), FR("fcomp", 0xd8, 3),
	FR("fsub", 0xd8, 4), FR("fsubr", 0xd8, 5), FR("fdiv", 0xd8, 6), FR("fdivr", 0xd8, 7),
	FX("fld", 0xd9, X(0), MEM, OPS(Md)), FX("fst", 0xd9, X(2), MEM, W1, OPS(Md)), FX("fstp", 0xd9, X(3), MEM, W1, OPS(Md)),
	FX("fldenv", 0xd9, X(4), MEM, K(FLDENV), OPS(Menv)), FX("fldcw", 0xd9, X(5), MEM, K(FLDCW), OPS(Mw)),
	FX("fnstenv", 0xd9, X(6), MEM, W1, K(FNSTENV), OPS(Menv)), FX("fnstcw", 0xd9, X(7), MEM, W1, OPS(Mw)),
	FR("fld", 0xd9, 0), FR("fxch", 0xd9, 1), F0("fnop", 0xd9, 2, 0), FR("fstp", 0xd9, 3),
	F0("fchs", 0xd9, 4, 0), F0("fabs", 0xd9, 4, 1), F0("ftst", 0xd9, 4, 4), F0("fxam", 0xd9, 4, 5),
	F0("fld1", 0xd9, 5, 0), F0("fldl2t", 0xd9, 5, 1), F0("fldl2e", 0xd9, 5, 2), F0("fldpi", 0xd9, 5, 3),
	F0("fldlg2", 0xd9, 5, 4), F0("fldln2", 0xd9, 5, 5), F0("fldz", 0xd9, 5, 6),
	F0("f2xm1", 0xd9, 6, 0), F0("fyl2x", 0xd9, 6, 1), F0("fptan", 0xd9, 6, 2), F0("fpatan", 0xd9, 6, 3),
	F0("fxtract", 0xd9, 6, 4), F0("fprem1", 0xd9, 6, 5), F0("fdecstp", 0xd9, 6, 6), F0("fincstp", 0xd9, 6, 7),
	F0("fprem", 0xd9, 7, 0), F0("fyl2xp1", 0xd9, 7, 1), F0("fsqrt", 0xd9, 7, 2), F0("fsincos", 0xd9, 7, 3),
	F0("frndint", 0xd9, 7, 4), F0("fscale", 0xd9, 7, 5), F0("fsin", 0xd9, 7, 6), F0("fcos", 0xd9, 7, 7),
#define FCMOV(n, op, ext) FX(n, op, X(ext), REG, FL(FCMOV), OPS(Ft))
	FCMOV("fcmovb", 0xda, 0), FCMOV("fcmove", 0xda, 1), FCMOV("fcmovbe", 0xda, 2), FCMOV("fcmovu", 0xda, 3),
	F0("fucompp", 0xda, 5, 1),
	FCMOV("fcmovnb", 0xdb, 0), FCMOV("fcmovne", 0xdb, 1), FCMOV("fcmovnbe", 0xdb, 2), FCMOV("fcmovnu", 0xdb, 3),
#undef FCMOV
	FX("fild", 0xdb, X(0), MEM, OPS(Md)), FX("fisttp", 0xdb, X(1), MEM, W1, FT(SSE3), OPS(Md)),
	FX("fist", 0xdb, X(2), MEM, W1, OPS(Md)), FX("fistp", 0xdb, X(3), MEM, W1, OPS(Md)),
	FX("fld", 0xdb, X(5), MEM, OPS(Mt)), FX("fstp", 0xdb, X(7), MEM, W1, OPS(Mt)),
	FX("feni", 0xdb, X(4), RM(0), REG, K(SETPM)), FX("fdisi", 0xdb, X(4), RM(1), REG, K(SETPM)),
	F0("fnclex", 0xdb, 4, 2), F0("fninit", 0xdb, 4, 3), FX("fsetpm", 0xdb, X(4), RM(4), REG, K(SETPM)),
	FX("fucomi", 0xdb, X(5), REG, FL(COMI), OPS(Ft)), FX("fcomi", 0xdb, X(6), REG, FL(COMI), OPS(Ft)),
	FR("fadd", 0xdc, 0), FR("fmul", 0xdc, 1), FR("fcom", 0xdc, 2), FR("fcomp", 0xdc, 3),
	FR("fsubr", 0xdc, 4), FR("fsub", 0xdc, 5), FR("fdivr", 0xdc, 6), FR("fdiv", 0xdc, 7),
	FX("fld", 0xdd, X(0), MEM, OPS(Mq)), FX("fisttp", 0xdd, X(1), MEM, W1, FT(SSE3), OPS(Mq)),
	FX("fst", 0xdd, X(2), MEM, W1, OPS(Mq)), FX("fstp", 0xdd, X(3), MEM, W1, OPS(Mq)),
	FX("frstor", 0xdd, X(4), MEM, K(FRSTOR), OPS(Mfsv)), FX("fnsave", 0xdd, X(6), MEM, W1, K(FNSAVE), OPS(Mfsv)),
	FX("fnstsw", 0xdd, X(7), MEM, W1, OPS(Mw)),
	FR("ffree", 0xdd, 0), FR("fxch", 0xdd, 1), FR("fst", 0xdd, 2), FR("fstp", 0xdd, 3), FR("fucom", 0xdd, 4), FR("fucomp", 0xdd, 5),
	FR("faddp", 0xde, 0), FR("fmulp", 0xde, 1), FR("fcomp", 0xde, 2), F0("fcompp", 0xde, 3, 1),
	FR("fsubrp", 0xde, 4), FR("fsubp", 0xde, 5), FR("fdivrp", 0xde, 6), FR("fdivp", 0xde, 7),
	FX("fild", 0xdf, X(0), MEM, OPS(Mw)), FX("fisttp", 0xdf, X(1), MEM, W1, FT(SSE3), OPS(Mw)),
	FX("fist", 0xdf, X(2), MEM, W1, OPS(Mw)), FX("fistp", 0xdf, X(3), MEM, W1, OPS(Mw)),
	FX("fbld", 0xdf, X(4), MEM, OPS(Mt)), FX("fild", 0xdf, X(5), MEM, OPS(Mq)),
	FX("fbstp", 0xdf, X(6), MEM, W1, OPS(Mt)), FX("fistp", 0xdf, X(7), MEM, W1, OPS(Mq)),
	FR("ffreep", 0xdf, 0), FR("fxch", 0xdf, 1), FR("fstp", 0xdf, 2), FR("fstp", 0xdf, 3),
	FX("fnstsw", 0xdf, X(4), RM(0), REG, W1, OPS(KAw)),
	FX("fucomip", 0xdf, X(5), REG, FL(COMI), OPS(Ft)), FX("fcomip", 0xdf, X(6), REG, FL(COMI), OPS(Ft)),
#undef FR
#undef F0
#undef FX
