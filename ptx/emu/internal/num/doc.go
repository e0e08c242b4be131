// Package num is the arithmetic of PTX on single registers: pure functions over
// the bits that a register holds, with no state and no allocation.
//
// Floating point (exactly rounded; NaN results are PTX's canonical NaN)
//
//	f32        Add32 Sub32 Mul32 Fma32 Div32 Rcp32 Sqrt32, and the RN forms AddRN32 …
//	f64        Add64 Sub64 Mul64 Fma64 Div64 Rcp64 Sqrt64
//	f16, bf16  AddF16 SubF16 MulF16 FmaF16, AddBF16 …; Op16 for .ftz .sat .relu and x2
//	all        MinMax (.NaN, .xorsign.abs), Abs32, Neg32, Compare, Testp32, Copysign32
//	approx     Ex2 Lg2 RcpApprox Rsqrt SqrtApprox DivApprox DivFull Sin Cos Tanh,
//	           Ex2F16 TanhF16 …, RcpApprox64 RsqrtApproxFtz64 RsqrtApprox64
//
// Conversions: Cvt compiles any pair (Unary; Pair and Packed for x2 types); the usual
// ones also have functions of their own (F16ToF32, F32ToBF16, …).
//
// Integers: division as a GPU divides, MulHiS64 …, Bfe, Bfi, Bfind, Fns, Szext, Bmsk,
// ShfL, Lop3, Prmt, Dp4a, Dp2a; video instructions: Video, Vmad, SIMD.
//
// Warps: WarpAdd32, WarpSub32, WarpMul32 and WarpFma32 (and …Ftz) work on the 32 lanes
// of a register at once, under a lane mask; on amd64 in AVX-512 or AVX2 (see Vectors).
//
// Section numbers in comments are those of the PTX ISA 9.1.
package num
