package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/mma"
)

func init() {
	register(lowerMma, "mma")
}

// mmaOp is the aux of mma.sync and wmma.mma: the registers of the fragments.
type mmaOp struct {
	m          *mma.Inst
	d, a, b, c []int32
	wide       bool
	flops      int64
}

// shape takes the modifier mMnNkK.
func (lw *lowerer) shape() (m, n, k int) {
	for i, s := range lw.mods.list {
		if !lw.mods.taken[i] && len(s) > 3 && s[0] == 'm' && s[1] >= '0' && s[1] <= '9' {
			if c, _ := fmt.Sscanf(s, "m%dn%dk%d", &m, &n, &k); c >= 2 {
				lw.mods.taken[i] = true
				return m, n, k
			}
		}
	}
	lw.fail("the shape is missing")
	return 0, 0, 0
}

// fragment gives the slots of a fragment's registers.
func (lw *lowerer) fragment(op ptx.Operand, n int, f regFile, out bool, what string) []int32 {
	v, ok := op.(ptx.Vec)
	if !ok {
		v = ptx.Vec{op}
	}
	if len(v) != n {
		lw.fail("fragment %s has %d registers, %d are expected", what, len(v), n)
	}
	t := ptx.B32
	if f == file64 {
		t = ptx.B64
	}
	var s []int32
	for _, o := range v {
		if out {
			s = append(s, lw.out(o, t))
		} else {
			s = append(s, lw.in(o, t))
		}
	}
	return s
}

func lowerMma(lw *lowerer, in *ptx.Instr) {
	md := &lw.mods
	for _, s := range md.list {
		if s == "sp" || len(s) > 4 && s[:4] == "sp::" {
			lw.fail("sparse matrices are not supported")
		}
		if s == "block_scale" || len(s) > 6 && s[:6] == "kind::" {
			lw.fail(".%s is not supported", s)
		}
	}
	lw.sync()
	if !md.has("aligned") {
		lw.fail(".aligned is missing")
	}
	var s mma.Spec
	s.M, s.N, s.K = lw.shape()
	la, lb := md.one("row", "col"), md.one("row", "col")
	s.ColA, s.RowB = la == "col", lb == "row"
	s.Sat = md.has("satfinite")
	s.Rnd, _ = lw.rounding()
	bit := md.one("xor", "and")
	md.has("popc")
	s.And = bit == "and"
	s.D, s.A, s.B, s.C = md.typ(), md.typ(), md.typ(), md.typ()
	lw.emitMma(in, s)
}

// emitMma lowers d, a, b, c of a matrix instruction.
func (lw *lowerer) emitMma(in *ptx.Instr, s mma.Spec) {
	m, err := s.Compile(mma.ArchOf(lw.mod.dev.gpu.SM))
	if err != nil {
		lw.fail("%v", err)
	}
	lw.emitFragments(in, m, s)
}

func (lw *lowerer) emitFragments(in *ptx.Instr, m *mma.Inst, s mma.Spec) {
	lw.need(4)
	o := &mmaOp{m: m, wide: s.D == ptx.F64, flops: 2 * int64(s.M) * int64(s.N) * int64(s.K)}
	f := file32
	if o.wide {
		f = file64
	}
	args := in.Args
	o.a = lw.fragment(args[1], m.NA, f, false, "A")
	o.b = lw.fragment(args[2], m.NB, f, false, "B")
	o.c = lw.fragment(args[3], m.NC, f, false, "C")
	o.d = lw.fragment(args[0], m.ND, f, true, "D")
	lw.emitCollective(inst{run: runMma, aux: o, flags: flagTensor, sink: useTensor}, &collOp{member: -1})
}

// wholeWarp tells the sanitiser of matrix instructions that lanes which have
// exited do not execute.
func (x *exec) wholeWarp(in *inst) {
	if x.mask != fullMask && x.san != nil {
		x.san.diverged(x, in, x.mask, fullMask)
	}
}

func (x *exec) regs(k int, slots []int32) []*vec32 {
	r := x.frag[k][:0]
	for _, s := range slots {
		r = append(r, &x.r32[s])
	}
	x.frag[k] = r
	return r
}

func (x *exec) regs64(k int, slots []int32) []*vec64 {
	r := x.frag64[k][:0]
	for _, s := range slots {
		r = append(r, &x.r64[s])
	}
	x.frag64[k] = r
	return r
}

func runMma(x *exec, in *inst) {
	o := in.aux.(*collOp).aux.(*mmaOp)
	x.wholeWarp(in)
	if o.wide {
		d := x.regs64(0, o.d)
		if x.mask != fullMask {
			for i := range d {
				d[i] = &x.t64[i]
			}
		}
		o.m.DoF64(d, x.regs64(1, o.a), x.regs64(2, o.b), x.regs64(3, o.c))
		if x.mask != fullMask {
			for i, s := range o.d {
				x.mergeLanes64(&x.r64[s], d[i])
			}
		}
		return
	}
	d := x.regs(0, o.d)
	if x.mask != fullMask {
		for i := range d {
			d[i] = &x.t32[i]
		}
	}
	o.m.Do(d, x.regs(1, o.a), x.regs(2, o.b), x.regs(3, o.c))
	if x.mask != fullMask {
		for i, s := range o.d {
			x.mergeLanes(&x.r32[s], d[i])
		}
	}
}

func (x *exec) mergeLanes(d, s *vec32) {
	for m := x.mask; m != 0; m &= m - 1 {
		i := firstLane(m)
		d[i] = s[i]
	}
}

func (x *exec) mergeLanes64(d, s *vec64) {
	for m := x.mask; m != 0; m &= m - 1 {
		i := firstLane(m)
		d[i] = s[i]
	}
}
