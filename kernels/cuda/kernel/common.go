package kernel

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// at returns the address of element i of an array of the storage type.
func at(p ptx.GlobalPtr, i ptx.AnyIndex, dt kernels.DType) ptx.GlobalPtr {
	return p.Elem(i, ptxType(dt))
}

// row returns the address of row i of a matrix with so many elements per row.
func row(k *ptx.Builder, p ptx.GlobalPtr, i, cols ptx.InI32, dt kernels.DType) ptx.GlobalPtr {
	return p.Elem(k.MulWideU32(i, cols), ptxType(dt))
}

// load reads one float of any storage.
func load(k *ptx.Builder, p ptx.GlobalPtr, dt kernels.DType) ptx.RegF32 {
	switch dt {
	case kernels.BF16:
		return k.WidenBF16(k.LdBF16(p))
	case kernels.F16:
		return k.CvtF32F16(k.LdF16(p))
	}
	return k.LdF32(p)
}

// store rounds to the storage, to nearest even, and writes.
func store(k *ptx.Builder, p ptx.GlobalPtr, dt kernels.DType, x ptx.InF32) {
	switch dt {
	case kernels.BF16:
		k.StBF16(p, k.CvtRnBF16F32(x))
	case kernels.F16:
		k.StF16(p, k.CvtRnF16F32(x))
	default:
		k.StF32(p, x)
	}
}

// exp returns e^x with an error of about 2 ulp: 2^n·2^f with f = x·log2(e) − n in
// two parts, so that large arguments lose nothing. 0 below −104, +Inf above 88.8.
func exp(k *ptx.Builder, x ptx.InF32) ptx.RegF32 {
	n := k.CvtRniF32F32(k.MulF32(x, ptx.F(math.Log2E)))
	// 2^n stays a normal number; what is left of large arguments goes to f.
	n = k.MaxF32(k.MinF32(n, ptx.F(127)), ptx.F(-126))
	const hi, lo = 0.693145751953125, 1.42860682030941723212e-6 // ln 2
	r := k.FmaRnF32(n, ptx.F(-lo), k.FmaRnF32(n, ptx.F(-hi), x))
	return k.MulF32(k.Ex2ApproxF32(k.MulF32(r, ptx.F(math.Log2E))), k.Ex2ApproxF32(n))
}

// faults is where a kernel reports data that it must refuse: two words that are all
// ones while nothing was refused. The first faulty launch owns them; of what it
// reports the lowest row stays.
type faults struct {
	k   *ptx.Builder
	at  ptx.GlobalPtr
	tag ptx.RegU32
}

// FaultBytes is the size of the record: u32 tag, u32 launch, u64 row·2^32 + value.
const FaultBytes = 16

// NoFault is what its words hold while nothing was refused.
const NoFault = math.MaxUint32

// newFaults declares the two parameters of a kernel that may refuse data.
func newFaults(k *ptx.Builder) faults {
	return faults{k, k.ParamGlobal("fault"), k.ParamU32("fault_tag")}
}

// report notes a row and a value of it where bad holds.
func (f faults) report(bad ptx.RegPred, row, value ptx.InB32) {
	k := f.k
	k.If(bad, func() {
		launch := k.UnpackB64B32x2(k.GridID())[0]
		owner := k.PackB64B32x2([2]ptx.RegB32{f.tag.AsB32(), launch}).AsU64()
		before := k.AtomCasB64(f.at, ptx.I(-1), owner).AsU64()
		k.If(k.SetpEqU64(before, ptx.I(-1)).Or(k.SetpEqU64(before, owner)), func() {
			key := k.PackB64B32x2([2]ptx.RegB32{k.VarB32(value), k.VarB32(row)})
			k.RedMinU64(f.at.Plus(8), key)
		})
	})
}

// loads reads n neighbours, whose address is aligned to all of them (at most 16 bytes), by one access.
func loads(k *ptx.Builder, p ptx.GlobalPtr, dt kernels.DType, n int) []ptx.RegF32 {
	if n == 1 {
		return []ptx.RegF32{load(k, p, dt)}
	}
	if dt == kernels.F32 {
		switch n {
		case 2:
			v := k.LdV2F32(p)
			return v[:]
		case 4:
			v := k.LdV4F32(p)
			return v[:]
		case 8:
			lo, hi := k.LdV4F32(p), k.LdV4F32(p.Plus(16))
			return append(lo[:], hi[:]...)
		}
	}
	var words []ptx.RegB32
	switch n {
	case 2:
		words = []ptx.RegB32{k.LdB32(p)}
	case 4:
		v := k.LdV2B32(p)
		words = v[:]
	case 8:
		v := k.LdV4B32(p)
		words = v[:]
	default:
		badCount(n)
	}
	var out []ptx.RegF32
	for _, w := range words {
		lo, hi := unpack(k, w, dt)
		out = append(out, lo, hi)
	}
	return out
}

// stores rounds and writes neighbours, as loads reads them.
func stores(k *ptx.Builder, p ptx.GlobalPtr, dt kernels.DType, x []ptx.RegF32) {
	n := len(x)
	if n == 1 {
		store(k, p, dt, x[0])
		return
	}
	if dt == kernels.F32 {
		switch n {
		case 2:
			k.StV2F32(p, [2]ptx.RegF32(x))
			return
		case 4:
			k.StV4F32(p, [4]ptx.RegF32(x))
			return
		case 8:
			k.StV4F32(p, [4]ptx.RegF32(x[:4]))
			k.StV4F32(p.Plus(16), [4]ptx.RegF32(x[4:]))
			return
		}
	}
	words := make([]ptx.RegB32, n/2)
	for i := range words {
		words[i] = pack(k, x[2*i], x[2*i+1], dt)
	}
	switch n {
	case 2:
		k.StB32(p, words[0])
	case 4:
		k.StV2B32(p, [2]ptx.RegB32(words))
	case 8:
		k.StV4B32(p, [4]ptx.RegB32(words))
	default:
		badCount(n)
	}
}

func badCount(n int) { panic(fmt.Sprintf("kernels/cuda/kernel: %d neighbours at once", n)) }

// unpack widens the two halves of a word of bf16 or f16.
func unpack(k *ptx.Builder, w ptx.RegB32, dt kernels.DType) (lo, hi ptx.RegF32) {
	if dt == kernels.BF16 {
		return k.UnpackBF16x2(w.AsBF16x2())
	}
	return k.UnpackF16x2(w.AsF16x2())
}

// pack rounds two numbers into a word of bf16 or f16.
func pack(k *ptx.Builder, lo, hi ptx.InF32, dt kernels.DType) ptx.RegB32 {
	if dt == kernels.BF16 {
		return k.PackBF16x2(lo, hi).AsB32()
	}
	return k.PackF16x2(lo, hi).AsB32()
}
