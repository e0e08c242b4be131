// Package num is the arithmetic of PTX on single registers: pure functions over
// the bits that a register holds, with no state and no allocation.
//
// Floating point (exactly rounded; NaN results are PTX's canonical NaN)
//
//	f32        Add32 Sub32 Mul32 Fma32 Div32 Rcp32 Sqrt32, and the RN forms AddRN32 …
//	f64        Add64 Sub64 Mul64 Fma64 Div64 Rcp64 Sqrt64
//	f16, bf16  AddF16 SubF16 MulF16 FmaF16, AddBF16 …; x2 forms over both halves
//	all        Min, Max (.NaN, .xorsign.abs), Abs, Neg, Compare, Testp, Copysign
//	approx     Ex2 Lg2 Rcp Rsqrt Sqrt Div Sin Cos Tanh, RcpApprox64 RsqrtApprox64
//
// Conversions: Converter compiles any cvt pair to one function; the usual pairs
// also have functions of their own (F16ToF32, F32ToBF16, …).
//
// Integers: division as a GPU divides, bit fields, funnel shifts, Lop3, Prmt,
// Dp4a, the scalar and SIMD video instructions.
//
// Warps: WarpAdd32, WarpMul32, WarpFma32 and others work on the 32 lanes of a
// register at once, under a lane mask; on amd64 in AVX-512 or AVX2.
//
// Section numbers in comments are those of the PTX ISA 9.1.
package num
