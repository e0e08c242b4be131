// Package mma is the tensor core: fragment layouts and arithmetic of the matrix
// instructions of PTX, over the registers of a warp and bytes of shared memory.
//
//	Spec.Compile, Inst.Do, Inst.DoF64    mma.sync, wmma.mma (dense)
//	Layout                               which lane holds which element
//	LdmatrixRow, Ldmatrix, Stmatrix      ldmatrix, stmatrix; Movmatrix
//	Wmma                                 fragments of wmma.load and wmma.store
//	Desc, Swizzle, WgmmaSpec             wgmma.mma_async
//
// Registers are *[32]uint32, one word per lane ([32]uint64 for f64). Floating-point
// sums follow the model that Microsoft's MMA-Sim found bit-exact: products are exact;
// they and the accumulator are aligned to the largest exponent and cut off, toward
// zero, at F fraction bits; the sum is exact, then rounded once (to f32 toward zero,
// to f16 to nearest). How many products enter one sum, and F, depend on the generation.
// Section numbers are those of the PTX ISA 9.1.
package mma
