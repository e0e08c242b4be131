package emu

import "github.com/selkie-ml/selkie/ptx/emu/internal/async"

// A TensorMap describes a tensor in global memory and the box of it that a tensor copy moves, as
// cuTensorMapEncodeTiled does; dimension 0 is the innermost. Encode gives the 128 bytes that a
// kernel takes as a parameter (Bytes). Stride is in bytes, Box and Dim in elements.
type TensorMap = async.TensorMap

// TensorElem is the element type of a tensor map, numbered as CUtensorMapDataType.
type TensorElem = async.ElemType

// The element types.
const (
	ElemU8      = async.ElemU8
	ElemU16     = async.ElemU16
	ElemU32     = async.ElemU32
	ElemS32     = async.ElemS32
	ElemU64     = async.ElemU64
	ElemS64     = async.ElemS64
	ElemF16     = async.ElemF16
	ElemF32     = async.ElemF32
	ElemF64     = async.ElemF64
	ElemBF16    = async.ElemBF16
	ElemF32FTZ  = async.ElemF32FTZ
	ElemTF32    = async.ElemTF32
	ElemTF32FTZ = async.ElemTF32FTZ
)

// TensorSwizzle is the pattern in which a copy permutes 16-byte units in shared memory.
type TensorSwizzle = async.Swizzle

// The patterns.
const (
	SwizzleNone = async.SwizzleNone
	Swizzle32   = async.Swizzle32
	Swizzle64   = async.Swizzle64
	Swizzle128  = async.Swizzle128
)
