package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/mma"
	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
)

// wgmma: products of a warpgroup, four warps, in the background (PTX ISA, "Asynchronous
// warpgroup-level matrix instructions"). Each warp issues its quarter; the product is done
// once all four have.

// wgmmaState is that of a warp.
type wgmmaState struct {
	ops     []*wgmmaIssue // not waited for
	commits int32
	issued  int  // products of the warp so far
	fenced  bool // wgmma.fence came before the first product
}

// A wgmmaIssue is one warp's part of a product.
type wgmmaIssue struct {
	in    *inst
	op    *wgmmaOp
	f     *frame
	group int32
	g     *wgmmaGroup
}

// A wgmmaGroup is a product that the warps of a warpgroup issue. It is one operation: when one warp has
// waited for it, all of its reads of shared memory are over, as kernels rely on in which one
// thread of the warpgroup tells that a buffer is free.
type wgmmaGroup struct {
	hb           *race.Async
	d, a         [4][]*mma.Reg
	descA, descB mma.Desc
	scale        bool
	warps        int
	done         bool
}

// wgmmaOp is the aux of wgmma.mma_async.
type wgmmaOp struct {
	m            *mma.Wgmma
	d, a         []int32
	shD, shA     []int32 // shadow numbers
	descA, descB int32
	shDesc       []int32
	scale        int32
	not          uint32
	shScale      []int32
	flops        int64
}

func init() { register(lowerWgmma, "wgmma") }

func lowerWgmma(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	what := m.one("fence", "commit_group", "wait_group", "mma_async")
	if m.peek("sp") {
		lw.fail("sparse matrices are not supported")
	}
	if !m.has("sync") || !m.has("aligned") {
		lw.fail(".sync.aligned is expected")
	}
	all := &collOp{member: -1}
	switch what {
	case "fence":
		lw.need(0)
		lw.emitCollective(inst{run: func(x *exec, in *inst) { x.w.asyncs().wgmma.fenced = true }}, all)
	case "commit_group":
		lw.need(0)
		lw.emitCollective(inst{run: func(x *exec, in *inst) { x.w.asyncs().wgmma.commits++ }}, all)
	case "wait_group":
		lw.need(1)
		n, ok := in.Args[0].(ptx.Imm)
		if !ok {
			lw.fail("the number of groups must be a constant")
		}
		lw.emitCollective(inst{imm: n.Bits, run: runWgmmaWait}, all)
	case "mma_async":
		lowerWgmmaMma(lw, in)
	default:
		lw.fail("fence, mma_async, commit_group or wait_group is expected")
	}
}

func lowerWgmmaMma(lw *lowerer, in *ptx.Instr) {
	md := &lw.mods
	var s mma.WgmmaSpec
	_, n, k := lw.shape()
	s.N = n
	s.D, s.A, s.B = md.typ(), md.typ(), md.typ()
	s.Sat = md.has("satfinite")
	md.has("and")
	md.has("popc")
	args := in.Args
	if len(args) < 4 {
		lw.need(4)
	}
	_, s.ARegs = args[1].(ptx.Vec)
	imm := func(i int) int64 {
		v, ok := args[i].(ptx.Imm)
		if !ok {
			lw.fail("operand %d must be a constant", i)
		}
		return int64(v.Bits)
	}
	at := 4
	if len(args) > at+1 {
		for i, neg := range []*bool{&s.NegA, &s.NegB} {
			switch imm(at + i) {
			case 1:
			case -1:
				*neg = true
			default:
				lw.fail("operand %d must be 1 or -1", at+i)
			}
		}
		at += 2
	}
	for _, t := range []*bool{&s.TransA, &s.TransB} {
		if t == &s.TransA && s.ARegs {
			continue
		}
		if len(args) > at {
			*t = imm(at) != 0
			at++
		}
	}
	if at != len(args) {
		lw.fail("has %d operands, %d are expected", len(args), at)
	}
	w, err := s.Compile()
	if err != nil {
		lw.fail("%v", err)
	}
	if k != w.K() {
		lw.fail("k is %d, the element type has %d", k, w.K())
	}
	o := &wgmmaOp{m: w, flops: 2 * 16 * int64(n) * int64(k)}
	noted := func(f func()) []int32 {
		n := len(lw.uses)
		f()
		return append([]int32(nil), lw.uses[n:]...)
	}
	o.shDesc = noted(func() { o.descB = lw.in64(args[2], ptx.B64) })
	if s.ARegs {
		o.shA = noted(func() { o.a = lw.fragment(args[1], w.NA, file32, false, "A") })
	} else {
		o.shDesc = append(o.shDesc, noted(func() { o.descA = lw.in64(args[1], ptx.B64) })...)
	}
	o.shScale = noted(func() { o.scale, o.not = lw.inP(args[3]) })
	sets := len(lw.sets)
	o.d = lw.fragment(args[0], w.ND, file32, true, "D")
	o.shD = append(o.shD, lw.sets[sets:]...)
	lw.uses, lw.sets = lw.uses[:0], lw.sets[:0]
	lw.emitCollective(inst{run: runWgmma, aux: o, flags: flagTensor | flagSelfDef}, &collOp{member: -1})
}

// numbers gives shadow numbers as frames use them.
func (f *fn) numbers(list []int32) []int32 {
	out := make([]int32, len(list))
	for i, s := range list {
		out[i] = f.shadowOf(s)
	}
	return out
}

func runWgmma(x *exec, in *inst) {
	o := in.aux.(*collOp).aux.(*wgmmaOp)
	wa := x.w.asyncs()
	st := &wa.wgmma
	x.wholeWarp(in)
	first := x.w.id &^ 3
	if first+4 > len(x.b.warps) {
		x.fail(in, firstLane(x.mask), fmt.Sprintf("warp %d belongs to no warpgroup of four warps: the block has %d", x.w.id, len(x.b.warps)))
		return
	}
	if !st.fenced {
		x.notice(in, x.mask, KindWgmma, "wgmma.fence is missing before the first wgmma.mma_async of the warp")
		st.fenced = true
	}
	l := firstLane(x.mask)
	scale := (x.p[o.scale]^o.not)>>l&1 != 0
	descB := mma.Desc(x.r64[o.descB][l])
	var descA mma.Desc
	if !o.m.ARegs {
		descA = mma.Desc(x.r64[o.descA][l])
	}
	is := &wgmmaIssue{in: in, op: o, f: x.f, group: st.commits}
	// The warps meet by the number of the product.
	b := x.b.asyncs()
	key := first<<20 | st.issued&(1<<20-1)
	st.issued++
	g := b.wg[key]
	if g == nil {
		g = &wgmmaGroup{hb: &race.Async{Proxy: true}, descA: descA, descB: descB, scale: scale}
		b.wg[key] = g
	} else if g.descA != descA || g.descB != descB || g.scale != scale {
		x.notice(in, x.mask, KindWgmma, "the warps of a warpgroup give different descriptors or scale-d")
	}
	if s, ok := x.san.(*watch); ok {
		s.wgmmaOperands(x, in, o, scale)
		s.wgmmaReads(x, in, o, descA, descB, g.hb)
	}
	q := x.w.id & 3
	for _, s := range o.d {
		g.d[q] = append(g.d[q], &x.r32[s])
	}
	for _, s := range o.a {
		g.a[q] = append(g.a[q], &x.r32[s])
	}
	is.g = g
	st.ops = append(st.ops, is)
	x.w.inflight = x.san != nil
	if g.warps++; g.warps < 4 {
		return
	}
	delete(b.wg, key)
	g.done = true
	for w := range g.d {
		if len(g.d[w]) != o.m.ND || o.m.ARegs && len(g.a[w]) != o.m.NA {
			x.notice(in, x.mask, KindWgmma, "the warps of a warpgroup issue different products")
			return
		}
	}
	if err := o.m.Do(&g.d, &g.a, descA, descB, x.b.shared.data, scale); err != nil {
		x.fail(in, l, err.Error())
	}
	x.u.nudges = 0
}

func runWgmmaWait(x *exec, in *inst) {
	st := &x.w.asyncs().wgmma
	n := int32(in.imm)
	for _, op := range st.ops {
		if op.group < st.commits-n && !op.g.done {
			x.block(in, &wgmmaWaiter{op, x.w}, true)
			return
		}
	}
	kept := st.ops[:0]
	for _, op := range st.ops {
		if op.group >= st.commits-n {
			kept = append(kept, op)
			continue
		}
		if ww, ok := x.w.san.(*warpWatch); ok {
			op.g.hb.Wait(ww.w, fullMask)
		}
	}
	clear(st.ops[len(kept):])
	st.ops = kept
	x.w.inflight = x.san != nil && len(kept) > 0
}

// A wgmmaWaiter waits for the other warps of the warpgroup to issue their part.
type wgmmaWaiter struct {
	op *wgmmaIssue
	w  *warp
}

func (w *wgmmaWaiter) ready() bool { return w.op.g.done }

func (w *wgmmaWaiter) describe() string {
	return fmt.Sprintf("a wgmma.mma_async that only %d of 4 warps of the warpgroup have issued", w.op.g.warps)
}

// wgmmaOperands checks the registers of a product when it is issued.
func (s *watch) wgmmaOperands(x *exec, in *inst, o *wgmmaOp, scale bool) {
	check := func(list []int32, use undefinedUse) {
		for _, n := range x.f.fn.numbers(list) {
			if bad := x.mask &^ x.def[n]; bad != 0 {
				s.undefined(x, in, bad, use, n)
			}
		}
	}
	check(o.shDesc, useAddress)
	check(o.shA, useTensor)
	check(o.shScale, useTensor)
	if scale {
		check(o.shD, useTensor)
	}
	for _, n := range x.f.fn.numbers(o.shD) {
		x.def[n] |= x.mask
	}
}

// wgmmaReads lets the happens-before engine see what the warp's part reads of shared memory.
func (s *watch) wgmmaReads(x *exec, in *inst, o *wgmmaOp, a, b mma.Desc, hb *race.Async) {
	acc := access{in: in, space: spaceShared, seg: x.b.shared, mask: 1, elem: 16, count: 1}
	i, q := 0, x.w.id&3
	lo, hi := uint64(0), uint64(0)
	flush := func() {
		if hi > lo {
			acc.off[0], acc.elem = lo, int(hi-lo)
			s.wgmmaRange(x, &acc, hb)
		}
	}
	o.m.EachRead(a, b, func(addr uint32) {
		k := i
		i++
		if !o.m.ARegs && !o.m.TransA && k < 128 && k/32 != q {
			return
		}
		if uint64(addr) == hi {
			hi += 16
			return
		}
		flush()
		lo, hi = uint64(addr), uint64(addr)+16
	})
	flush()
}

func (s *watch) wgmmaRange(x *exec, acc *access, hb *race.Async) {
	off, n := acc.off[0], uint64(acc.elem)
	if s.allowed != nil && !s.allowed.Has(off, n) {
		s.outside(x, acc, 1)
		return
	}
	sh := acc.seg.san.(*segShadow)
	if sh.init != nil {
		if at, missing := sh.init.First(off, n); missing {
			watchOf(x.w).uninit[0] = &origin{acc.in, acc.seg, at}
			s.undefinedMemory(x, acc, 1, "a matrix product reads")
		}
	}
	x.asyncAccess(acc, race.Read, hb)
}

// touched reports an instruction that uses registers of products which the warp has
// not waited for.
func (s *watch) touched(x *exec, in *inst, m uint32) {
	if s.checks&CheckAsync == 0 || in.flags&flagHelper != 0 && in.run == nil {
		return
	}
	a, ok := x.w.async.(*warpAsync)
	if !ok {
		return
	}
	if c, ok := in.aux.(*collOp); ok {
		if _, ok := c.aux.(*wgmmaOp); ok {
			return
		}
	}
	for _, op := range a.wgmma.ops {
		if op.f != x.f {
			continue
		}
		for _, list := range [][]int32{op.op.shD, op.op.shA} {
			d := len(list) > 0 && len(op.op.shD) > 0 && &list[0] == &op.op.shD[0]
			for _, n := range list {
				n = x.f.fn.shadowOf(n)
				verb := ""
				for _, u := range in.uses {
					if u == n && d {
						verb = "read"
					}
				}
				for _, u := range in.sets {
					if u == n {
						verb = "written"
					}
				}
				if verb == "" {
					continue
				}
				if f := s.find(x, in, m, KindWgmma, 0); f != nil {
					f.Message = fmt.Sprintf("%s is %s while a wgmma.mma_async uses it; wgmma.wait_group must come first", x.f.fn.names[n], verb)
					src := op.in.src
					f.Other = &Other{What: "matrix product", Line: src.Pos.Line, GoLine: src.Pos.GoLine(), Instr: instrString(src), Block: f.Block, Thread: f.Thread}
					s.keep(in, 0, f)
				}
				return
			}
		}
	}
}

func init() {
	register(lowerSetMaxNReg, "setmaxnreg")
}

// lowerSetMaxNReg lowers setmaxnreg, which changes nothing that a kernel can see.
func lowerSetMaxNReg(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	if m.one("inc", "dec") == "" || !m.has("sync") || !m.has("aligned") || !m.has("u32") {
		lw.fail(".inc or .dec, .sync.aligned.u32 are expected")
	}
	lw.need(1)
	v, ok := in.Args[0].(ptx.Imm)
	if !ok || v.Bits < 24 || v.Bits > 256 || v.Bits%8 != 0 {
		lw.fail("the number of registers must be a constant of 24 to 256, a multiple of 8")
	}
	lw.emitCollective(inst{run: runNop}, &collOp{member: -1})
}
