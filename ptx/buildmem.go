package ptx

import (
	"math"
	"strings"
)

func immF32(v float32) Imm { return Imm{Kind: ImmF32, Bits: uint64(math.Float32bits(v))} }

// A MemOpt refines a load, a store or an atomic: its order and scope, or its caching.
// (PTX ISA, "Cache Operators", "ld", "st")
type MemOpt struct {
	rank int // where its modifier stands: 1 before the space, 2 after it
	mod  string
}

var (
	// Volatile accesses are neither merged, moved nor left out.
	Volatile = MemOpt{1, "volatile"}
	// NC reads through the non-coherent cache: nobody may write the place during the kernel.
	NC = MemOpt{3, "nc"}

	CacheCA = MemOpt{2, "ca"} // at all levels
	CacheCG = MemOpt{2, "cg"} // in L2 only
	CacheCS = MemOpt{2, "cs"} // streaming: used once
	CacheLU = MemOpt{2, "lu"} // last use
	CacheCV = MemOpt{2, "cv"} // not at all
	CacheWB = MemOpt{2, "wb"} // stores: at all levels
	CacheWT = MemOpt{2, "wt"} // stores: through to memory

	L1EvictFirst  = MemOpt{4, "L1::evict_first"}
	L1EvictLast   = MemOpt{4, "L1::evict_last"}
	L1NoAllocate  = MemOpt{4, "L1::no_allocate"}
	L2Prefetch64  = MemOpt{5, "L2::64B"}
	L2Prefetch128 = MemOpt{5, "L2::128B"}
	L2Prefetch256 = MemOpt{5, "L2::256B"}
)

// Scope is who must see a memory operation in order. (PTX ISA, "Scope")
type Scope string

const (
	CTA     Scope = "cta"
	Cluster Scope = "cluster"
	GPU     Scope = "gpu"
	SYS     Scope = "sys"
)

// Relaxed makes an access strong at a scope, without ordering others.
func Relaxed(s Scope) MemOpt { return MemOpt{1, "relaxed." + string(s)} }

// Acquire orders later accesses after a load or an atomic.
func Acquire(s Scope) MemOpt { return MemOpt{1, "acquire." + string(s)} }

// Release orders earlier accesses before a store or an atomic.
func Release(s Scope) MemOpt { return MemOpt{1, "release." + string(s)} }

// AcqRel orders both ways around an atomic.
func AcqRel(s Scope) MemOpt { return MemOpt{1, "acq_rel." + string(s)} }

// memOp puts a memory instruction's name together.
func memOp(op string, a Address, opts []MemOpt, tail ...string) string {
	var b strings.Builder
	b.WriteString(op)
	for rank := 1; rank <= 5; rank++ {
		for _, o := range opts {
			if o.rank == rank {
				b.WriteString("." + o.mod)
			}
		}
		if s := a.in(); rank == 1 && s != NoSpace {
			b.WriteString("." + s.String())
		}
	}
	for _, t := range tail {
		if t != "" {
			b.WriteString("." + t)
		}
	}
	return b.String()
}

func (k *Builder) address1(op string, a Address) {
	if a == nil || a.at().r.r == nil {
		k.fail(op, "the address was never made (the zero value of its Go type)")
	}
}

// ld emits a load of n elements into new registers of type R.
func ld[R any, P interface {
	*R
	set(reg)
	op() Operand
	Type() Type
}](k *Builder, as string, n int, a Address, opts []MemOpt) []R {
	vec := ""
	if n > 1 {
		vec = "v" + string(rune('0'+n))
	}
	k.address1("ld."+as, a)
	d := make([]R, n)
	ops := make(Vec, n)
	for i := range d {
		P(&d[i]).set(k.newReg(P(&d[i]).Type()))
		ops[i] = P(&d[i]).op()
	}
	dst := Operand(ops)
	if n == 1 {
		dst = ops[0]
	}
	k.emit(memOp("ld", a, opts, vec, as), dst, a.mem())
	return d
}

func st[V AnyOperand](k *Builder, as string, t Type, a WriteAddress, opts []MemOpt, v ...V) {
	vec := ""
	if len(v) > 1 {
		vec = "v" + string(rune('0'+len(v)))
	}
	k.address1("st."+as, a)
	name := memOp("st", a, opts, vec, as)
	ops := make(Vec, len(v))
	for i := range v {
		ops[i] = k.fit(name, i+1, t, v[i])
	}
	src := Operand(ops)
	if len(v) == 1 {
		src = ops[0]
	}
	k.emit(name, a.mem(), src)
}
