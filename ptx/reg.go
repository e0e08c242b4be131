package ptx

import (
	"fmt"
	"math"
)

// reg is what every typed register of a Builder holds. All are declared as .bN in
// PTX, where a register is bits: its Go type says how they are read, and As methods
// change that type without an instruction.
type reg struct {
	r *Register
	k *Builder
}

func (x reg) op() Operand { return Reg{R: x.r} }
func (x reg) base() reg   { return x }
func (x *reg) set(y reg)  { *x = y }

// Name is the register's name in PTX: "%r5". Empty for the zero value.
func (x reg) Name() string {
	if x.r == nil {
		return ""
	}
	return x.r.Name
}

type (
	reg16  struct{ reg }
	reg32  struct{ reg }
	reg64  struct{ reg }
	reg128 struct{ reg }
)

// The registers of a kernel, one Go type per way of reading the bits. The zero value
// is no register, and using it panics. RegB types are bits that nobody has read yet:
// integer instructions take them, floating-point ones want As first.
type (
	// RegPred is a predicate, or its negation (see Not).
	RegPred struct {
		reg
		not bool
	}
	RegB16    struct{ reg16 }
	RegU16    struct{ reg16 }
	RegS16    struct{ reg16 }
	RegF16    struct{ reg16 }
	RegBF16   struct{ reg16 }
	RegB32    struct{ reg32 }
	RegU32    struct{ reg32 }
	RegS32    struct{ reg32 }
	RegF32    struct{ reg32 }
	RegF16x2  struct{ reg32 } // the first element in the low half
	RegBF16x2 struct{ reg32 }
	RegB64    struct{ reg64 }
	RegU64    struct{ reg64 }
	RegS64    struct{ reg64 }
	RegF64    struct{ reg64 }
	RegF32x2  struct{ reg64 }
	RegB128   struct{ reg128 }
)

func (RegPred) Type() Type   { return Pred }
func (RegB16) Type() Type    { return B16 }
func (RegU16) Type() Type    { return U16 }
func (RegS16) Type() Type    { return S16 }
func (RegF16) Type() Type    { return F16 }
func (RegBF16) Type() Type   { return BF16 }
func (RegB32) Type() Type    { return B32 }
func (RegU32) Type() Type    { return U32 }
func (RegS32) Type() Type    { return S32 }
func (RegF32) Type() Type    { return F32 }
func (RegF16x2) Type() Type  { return F16x2 }
func (RegBF16x2) Type() Type { return BF16x2 }
func (RegB64) Type() Type    { return B64 }
func (RegU64) Type() Type    { return U64 }
func (RegS64) Type() Type    { return S64 }
func (RegF64) Type() Type    { return F64 }
func (RegF32x2) Type() Type  { return F32x2 }
func (RegB128) Type() Type   { return B128 }

// Not is the negation of a predicate. It costs nothing: guards, branches and the
// predicate operands of instructions take it as it is; nothing else does.
func (p RegPred) Not() RegPred {
	p.not = !p.not
	return p
}

func (p RegPred) op() Operand {
	if p.not {
		return Not{X: Reg{R: p.r}}
	}
	return Reg{R: p.r}
}

// I is an integer constant as an operand: k.AddU32(x, ptx.I(4)). It must fit the
// operand's width, as signed or as unsigned.
type I int64

// F is a floating-point constant as an operand: k.MulF32(x, ptx.F(0.5)). It is rounded
// to the operand's type. NaN and infinities are allowed.
type F float64

// op of a constant holds its full value; Builder.emit fits it to the instruction's type.
func (i I) op() Operand { return Imm{Kind: ImmInt, Bits: uint64(i)} }
func (f F) op() Operand { return Imm{Kind: ImmF64, Bits: math.Float64bits(float64(f))} }

// AnyOperand is a register or a constant.
type AnyOperand interface{ op() Operand }

// AnyReg is a register of any type.
type AnyReg interface {
	AnyOperand
	base() reg
	Type() Type
}

// What operands take. PTX lets integer registers of one size stand for each other,
// signed, unsigned or bits; floating-point types are told apart. (PTX ISA, "Operand
// Type Checking")
type (
	// InPred is a .pred operand.
	InPred interface {
		AnyOperand
		isPred()
	}
	// InB16 is a .b16 operand: any 16-bit register, or I.
	InB16 interface {
		AnyOperand
		isB16()
	}
	// InI16 is a .u16 or .s16 operand.
	InI16 interface {
		AnyOperand
		isI16()
	}
	// InF16 is an .f16 operand.
	InF16 interface {
		AnyOperand
		isF16()
	}
	// InBF16 is a .bf16 operand.
	InBF16 interface {
		AnyOperand
		isBF16()
	}
	// InB32 is a .b32 operand: any 32-bit register, or I.
	InB32 interface {
		AnyOperand
		isB32()
	}
	// InI32 is a .u32 or .s32 operand.
	InI32 interface {
		AnyOperand
		isI32()
	}
	// InF32 is an .f32 operand.
	InF32 interface {
		AnyOperand
		isF32()
	}
	// InF16x2 is an .f16x2 operand.
	InF16x2 interface {
		AnyOperand
		isF16x2()
	}
	// InBF16x2 is a .bf16x2 operand.
	InBF16x2 interface {
		AnyOperand
		isBF16x2()
	}
	// InB64 is a .b64 operand: any 64-bit register, or I.
	InB64 interface {
		AnyOperand
		isB64()
	}
	// InI64 is a .u64 or .s64 operand.
	InI64 interface {
		AnyOperand
		isI64()
	}
	// InF64 is an .f64 operand.
	InF64 interface {
		AnyOperand
		isF64()
	}
	// InF32x2 is an .f32x2 operand.
	InF32x2 interface {
		AnyOperand
		isF32x2()
	}
	// InB128 is a .b128 operand.
	InB128 interface {
		AnyOperand
		isB128()
	}
)

// What destinations take, for the methods whose names end in To.
type (
	OutPred interface {
		InPred
		base() reg
	}
	OutB16 interface {
		InB16
		base() reg
	}
	OutI16 interface {
		InI16
		base() reg
	}
	OutF16 interface {
		InF16
		base() reg
	}
	OutBF16 interface {
		InBF16
		base() reg
	}
	OutB32 interface {
		InB32
		base() reg
	}
	OutI32 interface {
		InI32
		base() reg
	}
	OutF32 interface {
		InF32
		base() reg
	}
	OutF16x2 interface {
		InF16x2
		base() reg
	}
	OutBF16x2 interface {
		InBF16x2
		base() reg
	}
	OutB64 interface {
		InB64
		base() reg
	}
	OutI64 interface {
		InI64
		base() reg
	}
	OutF64 interface {
		InF64
		base() reg
	}
	OutF32x2 interface {
		InF32x2
		base() reg
	}
	OutB128 interface {
		InB128
		base() reg
	}
)

func (RegPred) isPred()     {}
func (reg16) isB16()        {}
func (RegB16) isI16()       {}
func (RegU16) isI16()       {}
func (RegS16) isI16()       {}
func (RegF16) isF16()       {}
func (RegBF16) isBF16()     {}
func (reg32) isB32()        {}
func (RegB32) isI32()       {}
func (RegU32) isI32()       {}
func (RegS32) isI32()       {}
func (RegF32) isF32()       {}
func (RegF16x2) isF16x2()   {}
func (RegBF16x2) isBF16x2() {}
func (reg64) isB64()        {}
func (RegB64) isI64()       {}
func (RegU64) isI64()       {}
func (RegS64) isI64()       {}
func (RegF64) isF64()       {}
func (RegF32x2) isF32x2()   {}
func (reg128) isB128()      {}

func (I) isB16() {}
func (I) isI16() {}
func (I) isB32() {}
func (I) isI32() {}
func (I) isB64() {}
func (I) isI64() {}
func (F) isF32() {}
func (F) isF64() {}

// As methods read the same register as another type of its size, without an
// instruction.

func (x reg16) AsB16() RegB16       { return RegB16{x} }
func (x reg16) AsU16() RegU16       { return RegU16{x} }
func (x reg16) AsS16() RegS16       { return RegS16{x} }
func (x reg16) AsF16() RegF16       { return RegF16{x} }
func (x reg16) AsBF16() RegBF16     { return RegBF16{x} }
func (x reg32) AsB32() RegB32       { return RegB32{x} }
func (x reg32) AsU32() RegU32       { return RegU32{x} }
func (x reg32) AsS32() RegS32       { return RegS32{x} }
func (x reg32) AsF32() RegF32       { return RegF32{x} }
func (x reg32) AsF16x2() RegF16x2   { return RegF16x2{x} }
func (x reg32) AsBF16x2() RegBF16x2 { return RegBF16x2{x} }
func (x reg64) AsB64() RegB64       { return RegB64{x} }
func (x reg64) AsU64() RegU64       { return RegU64{x} }
func (x reg64) AsS64() RegS64       { return RegS64{x} }
func (x reg64) AsF64() RegF64       { return RegF64{x} }
func (x reg64) AsF32x2() RegF32x2   { return RegF32x2{x} }

// declared gives the name prefix and the declared type of registers read as t.
func declared(t Type) (string, Type) {
	switch t {
	case Pred:
		return "%p", Pred
	case F16, BF16:
		return "%h", B16
	case F32:
		return "%f", B32
	case F64:
		return "%fd", B64
	}
	switch t.Bits() {
	case 16:
		return "%rs", B16
	case 32:
		return "%r", B32
	case 64:
		return "%rd", B64
	case 128:
		return "%rq", B128
	}
	panic(fmt.Sprintf("ptx: no register holds a %v", t))
}

// regPtr lets generic helpers make a register of the type that they were given.
type regPtr[R any] interface {
	*R
	set(reg)
	Type() Type
}

// New makes a register that nothing has been written to: ptx.New[ptx.RegF32](k).
func New[R any, P regPtr[R]](k *Builder) R {
	var r R
	P(&r).set(k.newReg(P(&r).Type()))
	return r
}
