package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Products of few rows read b, [n,k], once and as it is stored: each row of b is
// a column of the product, a vector holds one k of as many columns as it has
// lanes, and the transposition happens in registers, between load and
// multiplication. It is done in quarters: 16 bytes of every row, in four vectors
// whose lane l holds row 4·l+j, become four vectors of consecutive k (or pairs
// of them, in 16-bit storage) by eight unpack instructions.

// pairs is b in bfloat16 multiplied as it is, two products at a time.
var pairs = storage{"Pairs", "uint16", 4}

// fewHeights lists the numbers of rows that there are kernels for. The tallest
// keep their sums and what they transpose in registers.
func fewHeights(set isa, s storage) []int {
	switch {
	case set.lanes == 8:
		return []int{1, 2, 3, 4, 5, 6}
	case s == f16:
		return []int{1, 2, 3, 4, 5, 6, 7, 8, 10}
	}
	return []int{1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16}
}

func fewAll() {
	for _, set := range []isa{avx2, avx512} {
		for _, s := range []storage{f32, bf16, f16} {
			for _, rows := range fewHeights(set, s) {
				few(set, s, rows)
			}
		}
	}
	for _, rows := range fewHeights(avx512, pairs) {
		few(avx512, pairs, rows)
	}
}

// fewKernel is a kernel in the making.
type fewKernel struct {
	set  isa
	s    storage
	a    GPVirtual
	b    rowPointers
	high VecVirtual // mask of the second of two bfloat16
	acc  []VecVirtual
}

// quarterBytes is what a quarter takes of a row, quarterK how many k that is.
func (f *fewKernel) quarterBytes() int {
	if f.s == f16 {
		return 8
	}
	return 16
}

func (f *fewKernel) quarterK() int { return f.quarterBytes() / min(f.s.size, 4) }

func few(set isa, s storage, rows int) {
	f := &fewKernel{set: set, s: s}
	TEXT(name("few%s%s_%d", set.name, s.name, rows), NOSPLIT,
		"func(k int, a, b *byte, ldb int, c *float32, ldc, rows int, bias *float32, add bool, ahead int)")
	Pragma("noescape")
	Doc(name("few%s%s_%d is a fewFunc of up to %d rows and %d columns.", set.name, s.name, rows, rows, set.lanes))
	if s == bf16 {
		f.high = set.vec()
		ones := set.vec()
		if set.lanes == 16 {
			VPTERNLOGD(U8(0xff), ones, ones, ones)
		} else {
			VPCMPEQD(ones, ones, ones)
		}
		VPSLLD(U8(16), ones, f.high)
	}
	f.a = Load(Param("a"), GP64()).(GPVirtual)
	b := Load(Param("b"), GP64()).(GPVirtual)
	ldb := Load(Param("ldb"), GP64()).(GPVirtual)
	f.b = newRowPointers(b, ldb, set.lanes)
	ahead := Load(Param("ahead"), GP64())
	step := GP64()
	MOVQ(U32(64), step)
	TESTQ(ahead, ahead)
	CMOVQEQ(ahead, step)
	ADDQ(b, ahead)
	k, left := param("k"), GP64()

	Label("chunk")
	for range rows {
		v := set.vec()
		set.zero(v)
		f.acc = append(f.acc, v)
	}
	MOVQ(U32(64), left)
	CMPQ(left, k)
	CMOVQGT(k, left)
	SUBQ(left, k)

	Label("block")
	load := f.quarters
	if set.lanes == 16 {
		load = f.lines
		if rows > 10 {
			load = f.halves
		}
	}
	next := 0
	load(func(z [4]VecVirtual) {
		f.multiply(f.transpose(z), next*f.quarterK())
		next++
		lines := set.lanes * f.quarterBytes() / 64
		for range lines {
			PREFETCHT1(Mem{Base: ahead})
			ADDQ(step, ahead)
		}
	})
	for _, p := range f.b.base {
		ADDQ(U8(4*f.quarterBytes()), p)
	}
	ADDQ(U32(4*4*f.quarterK()), f.a)
	SUBQ(U8(4*f.quarterK()), left)
	JNZ(LabelRef("block"))
	if rows > 1 {
		ADDQ(U32((rows-1)*64*4), f.a)
	}
	f.finish(k)
	CMPQ(k, U8(0))
	JNE(LabelRef("chunk"))
	VZEROUPPER()
	RET()
}

// param is a parameter in its place on the stack.
func param(name string) Mem {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(fmt.Sprint(name, ": ", err))
	}
	return p.Addr
}

// lines loads whole cache lines, each once: rows a power of two apart fall into
// one set of the L1 cache, which holds eight lines, and would be pushed out
// between two quarters. A 4×4 transposition of 128-bit lanes gives the quarters.
func (f *fewKernel) lines(use func(z [4]VecVirtual)) {
	var quarter [4][4]VecVirtual
	for j := range 4 {
		var r, t [4]VecVirtual
		for l := range r {
			r[l], t[l] = ZMM(), ZMM()
			if f.s == f16 {
				VCVTPH2PS(f.b.at(4*l+j), r[l])
			} else {
				VMOVUPS(f.b.at(4*l+j), r[l])
			}
		}
		VSHUFF32X4(U8(0x44), r[1], r[0], t[0])
		VSHUFF32X4(U8(0xee), r[1], r[0], t[1])
		VSHUFF32X4(U8(0x44), r[3], r[2], t[2])
		VSHUFF32X4(U8(0xee), r[3], r[2], t[3])
		for q := range quarter {
			quarter[q][j] = ZMM()
			VSHUFF32X4(U8(0x88+0x55*(q%2)), t[q/2+2], t[q/2], quarter[q][j])
		}
	}
	for _, z := range quarter {
		use(z)
	}
}

// halves loads half a line at a time, which takes fewer registers.
func (f *fewKernel) halves(use func(z [4]VecVirtual)) {
	for half := range 2 {
		var quarter [2][4]VecVirtual
		for j := range 4 {
			at := func(lane int) Mem { return f.b.at(4*lane + j).Offset(32 * half) }
			x, y := ZMM(), ZMM()
			VBROADCASTF64X4(at(0), x)
			VINSERTF64X4(U8(1), at(1), x, x)
			VBROADCASTF64X4(at(2), y)
			VINSERTF64X4(U8(1), at(3), y, y)
			for q := range quarter {
				quarter[q][j] = ZMM()
				VSHUFF32X4(U8(0x88+0x55*q), y, x, quarter[q][j])
			}
		}
		use(quarter[0])
		use(quarter[1])
	}
}

// quarters is the form for eight lanes.
func (f *fewKernel) quarters(use func(z [4]VecVirtual)) {
	for q := range 4 {
		var z [4]VecVirtual
		for j := range z {
			lo, hi := f.b.at(j).Offset(q*f.quarterBytes()), f.b.at(4+j).Offset(q*f.quarterBytes())
			z[j] = YMM()
			if f.s == f16 {
				x, y := XMM(), XMM()
				VCVTPH2PS(lo, x)
				VCVTPH2PS(hi, y)
				VINSERTF128(U8(1), y, x.AsY(), z[j])
			} else {
				VBROADCASTF128(lo, z[j])
				VINSERTF128(U8(1), hi, z[j], z[j])
			}
		}
		use(z)
	}
}

// transpose makes of row 4·l+j's k … k+3 in lane l of z[j] rows' k+i in o[i].
func (f *fewKernel) transpose(z [4]VecVirtual) (o [4]VecVirtual) {
	var t [4]VecVirtual
	for i := range t {
		t[i], o[i] = f.set.vec(), f.set.vec()
	}
	VUNPCKLPS(z[1], z[0], t[0])
	VUNPCKHPS(z[1], z[0], t[1])
	VUNPCKLPS(z[3], z[2], t[2])
	VUNPCKHPS(z[3], z[2], t[3])
	for i := range o {
		if i%2 == 0 {
			VUNPCKLPD(t[2+i/2], t[i/2], o[i])
		} else {
			VUNPCKHPD(t[2+i/2], t[i/2], o[i])
		}
	}
	return o
}

// multiply adds the products of a transposed quarter that begins at k of the block.
func (f *fewKernel) multiply(o [4]VecVirtual, k int) {
	for i, v := range o {
		if f.s != bf16 {
			f.add(v, k+i)
			continue
		}
		// The first of a pair is the lower half: in float32 it belongs above.
		even := f.set.vec()
		VPSLLD(U8(16), v, even)
		f.add(even, k+2*i)
		if f.set.lanes == 16 {
			VPANDD(f.high, v, v)
		} else {
			VPAND(f.high, v, v)
		}
		f.add(v, k+2*i+1)
	}
}

// add adds a[row][k]·v to every row's sum.
func (f *fewKernel) add(v VecVirtual, k int) {
	for row, acc := range f.acc {
		a := Mem{Base: f.a, Disp: 4 * (64*row + k)}
		switch {
		case f.set.lanes == 8:
			x := YMM()
			VBROADCASTSS(a, x)
			VFMADD231PS(v, x, acc)
		case f.s == pairs:
			VDPBF16PS_BCST(a, v, acc)
		default:
			VFMADD231PS_BCST(a, v, acc)
		}
	}
}

// finish adds a chunk's sums to c, or sets it, and after the last the bias.
func (f *fewKernel) finish(k Mem) {
	rows, add := param("rows"), param("add")
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(U8(2), ldc)
	each := func(do func(row int), end string) {
		for row := range f.acc {
			if row > 0 {
				CMPQ(rows, U8(row))
				JLE(LabelRef(end))
				ADDQ(ldc, c)
			}
			do(row)
		}
	}
	CMPB(add, U8(0))
	JEQ(LabelRef("bias"))
	each(func(row int) { VADDPS(Mem{Base: c}, f.acc[row], f.acc[row]) }, "bias")
	Label("bias")
	MOVB(U8(1), add)
	CMPQ(k, U8(0))
	JNE(LabelRef("store"))
	bias := Load(Param("bias"), GP64())
	TESTQ(bias, bias)
	JZ(LabelRef("store"))
	for _, v := range f.acc {
		VADDPS(Mem{Base: bias}, v, v)
	}
	Label("store")
	Load(Param("c"), c)
	each(func(row int) { VMOVUPS(f.acc[row], Mem{Base: c}) }, "stored")
	Label("stored")
}
