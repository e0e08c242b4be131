package ptx

import "fmt"

// Addresses carry their state space in their Go type. All are a register and a
// constant offset in bytes; Plus only changes the offset, and costs nothing.
type (
	// GlobalPtr is an address in .global.
	GlobalPtr struct{ addr }
	// ConstPtr is an address in .const.
	ConstPtr struct{ addr }
	// LocalPtr is an address in .local.
	LocalPtr struct{ addr }
	// GenericPtr is a generic address, or that of a tensor map.
	GenericPtr struct{ addr }
	// SharedPtr is a 32-bit address in .shared::cta, the block's own shared memory.
	SharedPtr struct{ addr }
	// ClusterPtr is a 32-bit address in .shared::cluster, the shared memory of any
	// block of the cluster. See MapaShared.
	ClusterPtr struct{ addr }
)

type addr struct {
	r   reg
	off int64
}

func (a addr) mem() Mem     { return Mem{Base: a.r.op(), Offset: a.off} }
func (a addr) at() addr     { return a }
func (a addr) op() Operand  { return a.mem() }
func (GlobalPtr) in() Space { return Global }
func (ConstPtr) in() Space  { return Const }
func (LocalPtr) in() Space  { return Local }

func (GenericPtr) in() Space { return NoSpace }
func (SharedPtr) in() Space  { return Shared }
func (ClusterPtr) in() Space { return SharedCluster }

func (GlobalPtr) canWrite()  {}
func (LocalPtr) canWrite()   {}
func (GenericPtr) canWrite() {}
func (SharedPtr) canWrite()  {}
func (ClusterPtr) canWrite() {}

func (GlobalPtr) canAtom()  {}
func (GenericPtr) canAtom() {}
func (SharedPtr) canAtom()  {}
func (ClusterPtr) canAtom() {}

type (
	// Address is an address in any space, which loads read.
	Address interface {
		AnyOperand
		mem() Mem
		in() Space
		at() addr
	}
	// WriteAddress is an address that stores may write.
	WriteAddress interface {
		Address
		canWrite()
	}
	// AtomAddress is an address of atomics and reductions.
	AtomAddress interface {
		WriteAddress
		canAtom()
	}
	// AnyShared is a SharedPtr or a ClusterPtr.
	AnyShared interface {
		AtomAddress
		isShared()
	}
)

func (SharedPtr) isShared()  {}
func (ClusterPtr) isShared() {}

func (a addr) plus(n int) addr {
	a.off += int64(n)
	return a
}

// Plus is the address n bytes further.
func (a GlobalPtr) Plus(n int) GlobalPtr   { return GlobalPtr{a.plus(n)} }
func (a ConstPtr) Plus(n int) ConstPtr     { return ConstPtr{a.plus(n)} }
func (a LocalPtr) Plus(n int) LocalPtr     { return LocalPtr{a.plus(n)} }
func (a GenericPtr) Plus(n int) GenericPtr { return GenericPtr{a.plus(n)} }
func (a SharedPtr) Plus(n int) SharedPtr   { return SharedPtr{a.plus(n)} }
func (a ClusterPtr) Plus(n int) ClusterPtr { return ClusterPtr{a.plus(n)} }

// AnyIndex is an integer register that Elem and At take: 32 bits, signed or unsigned
// as its type says, or 64 bits.
type AnyIndex interface {
	AnyReg
	isIndex()
}

func (RegU32) isIndex() {}
func (RegS32) isIndex() {}
func (RegU64) isIndex() {}
func (RegS64) isIndex() {}

// wide is base + i*size for 64-bit addresses.
func (a addr) wide(i AnyIndex, size int) addr {
	k := a.r.k
	if k == nil {
		panic(fmt.Sprintf("ptx: %s: an address that was never made (the zero value of its Go type)", authorLine()))
	}
	d := New[RegU64](k)
	switch i.Type() {
	case U32:
		k.put("mad.wide.u32", U32, d, i, I(size), a.r)
	case S32:
		k.put("mad.wide.s32", S32, d, i, I(size), a.r)
	case S64, U64:
		if size == 1 {
			k.put("add.s64", S64, d, i, a.r)
		} else {
			k.put("mad.lo.s64", S64, d, i, I(size), a.r)
		}
	}
	return addr{r: d.reg, off: a.off}
}

// narrow is base + i*size for 32-bit addresses.
func (a addr) narrow(i AnyIndex, size int) addr {
	k := a.r.k
	if k == nil {
		panic(fmt.Sprintf("ptx: %s: an address that was never made (the zero value of its Go type)", authorLine()))
	}
	d := New[RegU32](k)
	switch {
	case i.Type().Bits() != 32:
		k.fail("shared address", "index %s has 64 bits, shared addresses have 32", i.base().Name())
	case size == 1:
		k.put("add.u32", U32, d, i, a.r)
	default:
		k.put("mad.lo.u32", U32, d, i, I(size), a.r)
	}
	return addr{r: d.reg, off: a.off}
}

// Elem is the address of element i of an array of t that starts at a.
func (a GlobalPtr) Elem(i AnyIndex, t Type) GlobalPtr { return GlobalPtr{a.wide(i, t.Size())} }

// Elem is the address of element i of an array of t that starts at a.
func (a ConstPtr) Elem(i AnyIndex, t Type) ConstPtr { return ConstPtr{a.wide(i, t.Size())} }

// Elem is the address of element i of an array of t that starts at a.
func (a LocalPtr) Elem(i AnyIndex, t Type) LocalPtr { return LocalPtr{a.wide(i, t.Size())} }

// Elem is the address of element i of an array of t that starts at a.
func (a GenericPtr) Elem(i AnyIndex, t Type) GenericPtr { return GenericPtr{a.wide(i, t.Size())} }

// Elem is the address of element i of an array of t that starts at a.
func (a SharedPtr) Elem(i AnyIndex, t Type) SharedPtr { return SharedPtr{a.narrow(i, t.Size())} }

// Elem is the address of element i of an array of t that starts at a.
func (a ClusterPtr) Elem(i AnyIndex, t Type) ClusterPtr { return ClusterPtr{a.narrow(i, t.Size())} }

// At is the address i bytes further.
func (a GlobalPtr) At(i AnyIndex) GlobalPtr { return GlobalPtr{a.wide(i, 1)} }

// At is the address i bytes further.
func (a ConstPtr) At(i AnyIndex) ConstPtr { return ConstPtr{a.wide(i, 1)} }

// At is the address i bytes further.
func (a LocalPtr) At(i AnyIndex) LocalPtr { return LocalPtr{a.wide(i, 1)} }

// At is the address i bytes further.
func (a GenericPtr) At(i AnyIndex) GenericPtr { return GenericPtr{a.wide(i, 1)} }

// At is the address i bytes further.
func (a SharedPtr) At(i AnyIndex) SharedPtr { return SharedPtr{a.narrow(i, 1)} }

// At is the address i bytes further.
func (a ClusterPtr) At(i AnyIndex) ClusterPtr { return ClusterPtr{a.narrow(i, 1)} }

// value is an address as a register; it adds the offset if there is one.
func (a addr) value(t Type) reg {
	if a.off == 0 {
		return a.r
	}
	d := a.r.k.newReg(t)
	a.r.k.put("add.s"+fmt.Sprint(t.Bits()), t, d, a.r, I(a.off))
	return d
}

// Value is the address as a number of 64 bits. It emits an add if there is an offset.
func (a GlobalPtr) Value() RegU64 { return RegU64{reg64{a.value(U64)}} }

// Value is the address as a number of 64 bits. It emits an add if there is an offset.
func (a GenericPtr) Value() RegU64 { return RegU64{reg64{a.value(U64)}} }

// Value is the address as a number of 32 bits. It emits an add if there is an offset.
func (a SharedPtr) Value() RegU32 { return RegU32{reg32{a.value(U32)}} }

// Value is the address as a number of 32 bits. It emits an add if there is an offset.
func (a ClusterPtr) Value() RegU32 { return RegU32{reg32{a.value(U32)}} }

// AsGlobal reads a number as an address in .global.
func (x RegU64) AsGlobal() GlobalPtr { return GlobalPtr{addr{r: x.reg}} }

// AsGeneric reads a number as a generic address.
func (x RegU64) AsGeneric() GenericPtr { return GenericPtr{addr{r: x.reg}} }

// AsShared reads a number as an address in .shared::cta.
func (x RegU32) AsShared() SharedPtr { return SharedPtr{addr{r: x.reg}} }

// AsCluster reads a number as an address in .shared::cluster.
func (x RegU32) AsCluster() ClusterPtr { return ClusterPtr{addr{r: x.reg}} }

// AsCluster reads an address in the block's own shared memory as one in the cluster's
// window, which contains it. (PTX ISA, "Shared State Space")
func (a SharedPtr) AsCluster() ClusterPtr { return ClusterPtr(a) }

// Generic converts to a generic address (cvta.global).
func (a GlobalPtr) Generic() GenericPtr {
	d := New[RegU64](a.r.k)
	a.r.k.emit("cvta.global.u64", d.op(), a.Value().op())
	return d.AsGeneric()
}
