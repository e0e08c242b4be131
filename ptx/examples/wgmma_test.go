package examples

import (
	"fmt"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
)

// wgmmaForm is a product of 64xN, K = 64, in one of the ways that operands can lie.
type wgmmaForm struct {
	n          int
	swizzle    ptx.Swizzle
	aInRegs    bool
	transposed bool // b is stored [k][n]
}

// problem is one warpgroup that copies an image of shared memory, multiplies and stores.
func (f wgmmaForm) problem() *problem {
	const m, depth = 64, 64
	a, b := integers(m*depth, 12), integers(f.n*depth, 13)
	span := int(f.swizzle)
	tile := func(rows, rowBytes int) ptx.SharedTile {
		if span == 0 {
			// Blocks of 8 rows of 16 bytes: panels of 16 bytes, one behind the other.
			return ptx.SharedTile{Rows: rows, RowBytes: rowBytes}
		}
		return ptx.SharedTile{Rows: rows, RowBytes: rowBytes, Swizzle: f.swizzle}
	}
	offset := func(t ptx.SharedTile, r, c int) int {
		if span == 0 {
			return c/16*t.Rows*16 + r*16 + c%16
		}
		return t.Offset(r, c)
	}
	ta, tb := tile(m, 2*depth), tile(f.n, 2*depth)
	if f.transposed {
		tb = tile(depth, 2*f.n)
	}
	image := make([]float64, (ta.Bytes()+tb.Bytes())/2)
	for r := range m {
		for c := range depth {
			image[offset(ta, r, 2*c)/2] = a[r*depth+c]
		}
	}
	for n := range f.n {
		for c := range depth {
			at := offset(tb, n, 2*c)
			if f.transposed {
				at = offset(tb, c, 2*n)
			}
			image[(ta.Bytes()+at)/2] = b[n*depth+c]
		}
	}

	mod := ptx.NewModule(sm90a)
	k := mod.Entry("f")
	k.RequireThreads(128)
	in, out := k.ParamGlobal("in"), k.ParamGlobal("out")
	tid := k.TidX()
	baseA := k.DynamicShared(1024).Alloc(ta.Bytes()+tb.Bytes(), 1024)
	baseB := baseA.Plus(ta.Bytes())
	k.For(tid, ptx.I((ta.Bytes()+tb.Bytes())/16), ptx.I(128), func(i ptx.RegU32) {
		k.StV4B32(baseA.At(i.Times(16)), k.LdV4B32(in.At(i.Times(16))))
	})
	k.FenceProxyAsync()
	k.BarSync(0)

	op := ptx.WgmmaOp{N: f.n, Type: ptx.WgmmaBF16, TransB: f.transposed}
	desc := func(base ptx.SharedPtr, t ptx.SharedTile, kk int) ptx.RegB64 {
		if span == 0 {
			return k.WgmmaDescPlus(k.WgmmaDesc(base, f.swizzle, 16*t.Rows, 128), kk/8*16*t.Rows)
		}
		// The K of one instruction is 32 bytes of a span; spans stand in panels.
		byteCol := 2 * kk
		return k.WgmmaDescPlus(k.WgmmaDesc(base, f.swizzle, 0, 0), byteCol/span*t.Rows*span+byteCol%span)
	}
	lane, warp := tid.Mod(32), tid.DivBy(32)
	acc := k.VarsF32(f.n/2, ptx.F(0))
	scale := k.SetpEqU32(ptx.I(0), ptx.I(0))
	var frags [][4]ptx.RegB32
	if f.aInRegs {
		lanes := ta.FragmentA(lane, warp.Times(16)).At(baseA)
		for kk := 0; kk < depth; kk += 16 {
			frags = append(frags, k.LdmatrixX4(lanes.Plus(0, kk/8)))
		}
	}
	k.WgmmaFence()
	for kk := 0; kk < depth; kk += 16 {
		db := desc(baseB, tb, kk)
		if f.transposed {
			db = k.WgmmaDescPlus(k.WgmmaDesc(baseB, f.swizzle, tb.Rows*span, 1024), kk*span)
		}
		if f.aInRegs {
			k.WgmmaA(op, acc, frags[kk/16], db, scale)
		} else {
			k.Wgmma(op, acc, desc(baseA, ta, kk), db, scale)
		}
	}
	k.WgmmaCommitGroup()
	k.WgmmaWaitGroup(0)
	row := warp.Times(16).Add(lane.DivBy(4))
	for i := 0; i < f.n/2; i += 2 {
		r := row.Plus(8 * (i / 2 % 2))
		to := out.Elem(r.Times(f.n).Add(lane.Mod(4).Times(2)).Plus(8*(i/4)), ptx.F32)
		k.StV2F32(to, [2]ptx.RegF32{acc[i], acc[i+1]})
	}
	return &problem{fmt.Sprintf("%+v", f), mod.Module(), Launch{Block: [3]int{128}, Shared: ta.Bytes() + tb.Bytes()},
		[]any{input(ptx.BF16, image), output(ptx.F32, product(a, b, m, f.n, depth, true), 0)}}
}

func TestWgmmaForms(t *testing.T) {
	for _, f := range []wgmmaForm{
		{n: 8, swizzle: ptx.SwizzleNone}, {n: 24, swizzle: ptx.Swizzle32}, {n: 40, swizzle: ptx.Swizzle64}, {n: 16, swizzle: ptx.Swizzle128},
		{n: 16, swizzle: ptx.Swizzle128, aInRegs: true}, {n: 64, swizzle: ptx.Swizzle128, transposed: true},
		{n: 128, swizzle: ptx.Swizzle128, transposed: true, aInRegs: true},
	} {
		p := f.problem()
		for _, cfg := range schedules()[1:4] {
			if err := p.run(p.module, cfg); err != nil {
				t.Errorf("%s, %v: %v", p.name, cfg.Schedule, err)
			}
		}
	}
}
