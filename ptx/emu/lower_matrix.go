package emu

import (
	"sync/atomic"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/mma"
)

func init() {
	register(lowerLdmatrix, "ldmatrix", "stmatrix")
	register(lowerMovmatrix, "movmatrix")
	register(lowerWmma, "wmma")
}

// matrixOp is the aux of ldmatrix and stmatrix.
type matrixOp struct {
	memOp
	trans bool
	lanes uint32 // that give addresses of rows
	store bool
}

func lowerLdmatrix(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	lw.sync()
	m.has("aligned")
	if !m.has("m8n8") {
		lw.fail("only the shape .m8n8 is supported")
	}
	n := 1
	switch m.one("x1", "x2", "x4") {
	case "x2":
		n = 2
	case "x4":
		n = 4
	}
	o := &matrixOp{store: in.Op == "stmatrix", trans: m.has("trans")}
	space := m.space()
	if !m.has("b16") {
		lw.fail("only .b16 is supported")
	}
	lw.need(2)
	data, addr := in.Args[0], in.Args[1]
	if o.store {
		data, addr = addr, data
	}
	mem, _ := addr.(ptx.Mem)
	o.space, o.own = lw.memSpaceOf(space, mem)
	if o.space != spaceShared && o.space != spaceGeneric {
		lw.fail("the address must be in .shared")
	}
	o.lanes = fullMask >> (32 - 8*n)
	o.elem, o.count = 16, 1
	o.regs = lw.fragment(data, n, file32, !o.store, "of the matrices")
	if o.store {
		o.shadow = append([]int32(nil), lw.uses...)
	} else {
		o.shadow = append([]int32(nil), lw.sets...)
	}
	lw.address(addr, &o.memOp)
	flags := flagMemory
	if !o.store {
		flags |= flagSelfDef
	}
	lw.emitCollective(inst{run: runMatrix, aux: o, flags: flags, sink: useAddress}, &collOp{member: -1})
}

// runMatrix moves rows of 16 bytes: lanes 8q to 8q+7 give the addresses of matrix q.
func runMatrix(x *exec, in *inst) {
	o := in.aux.(*collOp).aux.(*matrixOp)
	x.wholeWarp(in)
	x.addresses(&o.memOp)
	var rows [warpSize][4]uint32
	def := uint32(fullMask)
	if o.store {
		mma.Stmatrix(&rows, x.regs(0, o.regs), o.trans)
		if x.san != nil {
			def = x.rowsDefined(o)
		}
	}
	rest := x.mask & o.lanes
	var loaded uint32
	for rest != 0 {
		acc := x.span(in, &o.memOp, 16, 16, &rest)
		if acc == nil {
			continue
		}
		mask := acc.mask
		if x.san != nil {
			acc.kind, acc.order, acc.scope, acc.async = accMatrixLoad, orderWeak, scopeNone, false
			if o.store {
				acc.kind = accMatrixStore
				acc.def[0] = def
			}
			mask = x.san.access(x, acc)
			loaded |= acc.def[0] & mask
		}
		for k := mask; k != 0; k &= k - 1 {
			i := firstLane(k)
			p := acc.seg.data[acc.off[i] : acc.off[i]+16]
			for w := range 4 {
				if o.store {
					le.PutUint32(p[4*w:], rows[i][w])
				} else {
					rows[i][w] = le.Uint32(p[4*w:])
				}
			}
		}
		if x.prof != nil {
			x.prof.access(x, in, acc)
		}
	}
	if o.store || x.stop == stopFault {
		return
	}
	d := x.regs(0, o.regs)
	if x.mask != fullMask {
		for i := range d {
			d[i] = &x.t32[i]
		}
	}
	mma.Ldmatrix(d, &rows, o.trans)
	if x.mask != fullMask {
		for i, s := range o.regs {
			x.mergeLanes(&x.r32[s], d[i])
		}
	}
	if x.san != nil {
		for q, s := range o.shadow {
			var got uint32
			for lane := range warpSize {
				a, b := 8*q+lane>>2, 8*q+lane>>2
				if o.trans {
					a, b = 8*q+2*(lane&3), 8*q+2*(lane&3)+1
				}
				got |= (loaded >> a) & (loaded >> b) & 1 << lane
			}
			s = x.f.fn.shadowOf(s)
			x.def[s] = x.def[s]&^x.mask | got&x.mask
		}
	}
}

// rowsDefined gives, by the lane that holds the address, whether a row to be stored
// was written in all lanes that hold its elements.
func (x *exec) rowsDefined(o *matrixOp) uint32 {
	var def uint32
	for q, s := range o.shadow {
		have := x.def[x.f.fn.shadowOf(s)]
		for r := range 8 {
			need := uint32(0xf) << (4 * r)
			if o.trans {
				need = 0
				for c := range 8 {
					need |= 1 << (4*c + r/2)
				}
			}
			if have&need == need {
				def |= 1 << (8*q + r)
			}
		}
	}
	return def
}

func lowerMovmatrix(lw *lowerer, in *ptx.Instr) {
	lw.sync()
	for _, s := range []string{"aligned", "m8n8", "trans", "b16"} {
		if !lw.mods.has(s) {
			lw.fail(".%s is missing", s)
		}
	}
	lw.need(2)
	a := lw.in32(in.Args[1], ptx.B32)
	d := lw.out32(in.Args[0], ptx.B32)
	lw.emitCollective(inst{a: a, d: d, run: func(x *exec, in *inst) {
		x.wholeWarp(in)
		mma.Movmatrix(&x.t32[0], &x.r32[in.a])
		x.mergeLanes(&x.r32[in.d], &x.t32[0])
	}}, &collOp{member: -1})
}

// wmmaOp is the aux of wmma.load and wmma.store.
type wmmaOp struct {
	memOp
	frag  mma.Frag
	row   bool
	store bool
	wide  bool
	ldm   int32 // slot of the stride, -1: none
	plan  atomic.Pointer[wmmaPlan]
}

// wmmaPlan is the accesses of a fragment for a stride, by 32 lanes at a time.
type wmmaPlan struct {
	ldm   int
	steps []wmmaStep
}

type wmmaStep struct {
	reg, bit, size int
	off            [warpSize]int64
}

func lowerWmma(lw *lowerer, in *ptx.Instr) {
	md := &lw.mods
	switch md.one("load", "store", "mma") {
	case "mma":
		lowerWmmaMma(lw, in)
		return
	case "load":
	case "store":
		lowerWmmaMove(lw, in, true)
		return
	default:
		lw.fail("load, store or mma is expected")
	}
	lowerWmmaMove(lw, in, false)
}

func lowerWmmaMma(lw *lowerer, in *ptx.Instr) {
	md := &lw.mods
	bit := md.one("xor", "and")
	md.has("popc")
	lw.sync()
	md.has("aligned")
	la, lb := md.one("row", "col"), md.one("row", "col")
	var s mma.Spec
	s.M, s.N, s.K = lw.shape()
	s.Sat = md.has("satfinite")
	s.And = bit == "and"
	md.one("rn", "rz", "rm", "rp")
	var ts []ptx.Type
	for t := md.typ(); t != ptx.NoType; t = md.typ() {
		ts = append(ts, t)
	}
	switch len(ts) {
	case 2: // .dtype.ctype, of f16
		s.D, s.A, s.B, s.C = ts[0], ptx.F16, ptx.F16, ts[1]
	case 4:
		s.D, s.A, s.B, s.C = ts[0], ts[1], ts[2], ts[3]
	default:
		lw.fail("two or four types are expected")
	}
	// The layouts only say how fragments were loaded; here all are held alike.
	_, _ = la, lb
	m, err := s.CompileWmma(mma.ArchOf(lw.mod.dev.gpu.SM))
	if err != nil {
		lw.fail("%v", err)
	}
	lw.emitFragments(in, m, s)
}

func lowerWmmaMove(lw *lowerer, in *ptx.Instr, store bool) {
	md := &lw.mods
	op := md.one("a", "b", "c", "d")
	if op == "" {
		lw.fail("the operand is missing")
	}
	lw.sync()
	md.has("aligned")
	o := &wmmaOp{row: md.one("row", "col") == "row", store: store, ldm: -1}
	m, n, k := lw.shape()
	space := md.space()
	t := md.typ()
	var err error
	if o.frag, err = mma.NewFrag(op[0], m, n, k, t); err != nil {
		lw.fail("%v", err)
	}
	args := in.Args
	if len(args) == 3 {
		o.ldm = lw.in32(args[2], ptx.U32)
	} else {
		lw.need(2)
	}
	data, addr := args[0], args[1]
	if store {
		data, addr = addr, data
	}
	mem, _ := addr.(ptx.Mem)
	o.space, o.own = lw.memSpaceOf(space, mem)
	f := file32
	if t == ptx.F64 {
		f, o.wide = file64, true
	}
	k0 := len(lw.uses)
	o.regs = lw.fragment(data, o.frag.Regs, f, !store, "of the matrix")
	if store {
		o.shadow = append([]int32(nil), lw.uses[k0:]...)
	} else {
		o.shadow = append([]int32(nil), lw.sets...)
	}
	lw.address(addr, &o.memOp)
	lw.emitCollective(inst{run: runWmmaMove, aux: o, flags: flagMemory, sink: useAddress}, &collOp{member: -1})
}

func (o *wmmaOp) planFor(ldm int) *wmmaPlan {
	if p := o.plan.Load(); p != nil && p.ldm == ldm {
		return p
	}
	p := &wmmaPlan{ldm: ldm}
	index := map[[2]int]int{}
	o.frag.Each(o.row, ldm, func(lane, reg, bit int, off int64, size int) {
		k, ok := index[[2]int{reg, bit}]
		if !ok {
			k = len(p.steps)
			index[[2]int{reg, bit}] = k
			p.steps = append(p.steps, wmmaStep{reg: reg, bit: bit, size: size})
		}
		p.steps[k].off[lane] = off
	})
	o.plan.Store(p)
	return p
}

func runWmmaMove(x *exec, in *inst) {
	o := in.aux.(*collOp).aux.(*wmmaOp)
	x.wholeWarp(in)
	first := firstLane(x.mask)
	ldm := o.frag.Cols
	if !o.row {
		ldm = o.frag.Rows
	}
	if o.ldm >= 0 {
		ldm = int(x.r32[o.ldm][first])
	}
	x.addresses(&o.memOp)
	base := x.addr
	p := o.planFor(ldm)
	if !o.store {
		for _, r := range o.regs {
			if o.wide {
				x.mergeLanes64(&x.r64[r], &vec64{})
			} else {
				x.mergeLanes(&x.r32[r], &vec32{})
			}
		}
	}
	for i := range p.steps {
		st := &p.steps[i]
		for l := range x.addr {
			x.addr[l] = base[l] + uint64(st.off[l])
		}
		m := o.memOp
		m.elem, m.count = st.size, 1
		rest := x.mask
		for rest != 0 {
			acc := x.span(in, &m, st.size, st.size, &rest)
			if acc == nil {
				continue
			}
			mask := acc.mask
			if o.store && acc.seg.readOnly {
				mask = x.refuseStore(in, acc)
			}
			if x.san != nil && mask != 0 {
				s := x.f.fn.shadowOf(o.shadow[st.reg])
				acc.kind, acc.order, acc.scope, acc.async = accMatrixLoad, orderWeak, scopeNone, false
				if o.store {
					acc.kind = accMatrixStore
					acc.def[0] = x.def[s]
				}
				mask = x.san.access(x, acc)
				if !o.store {
					x.def[s] &^= acc.mask &^ (acc.def[0] & mask)
				}
			}
			for k := mask; k != 0; k &= k - 1 {
				l := firstLane(k)
				b := acc.seg.data[acc.off[l] : acc.off[l]+uint64(st.size)]
				if o.store {
					var v uint64
					if o.wide {
						v = x.r64[o.regs[st.reg]][l]
					} else {
						v = uint64(x.r32[o.regs[st.reg]][l])
					}
					putBits(b, v>>st.bit)
					continue
				}
				var v uint64
				for e := len(b) - 1; e >= 0; e-- {
					v = v<<8 | uint64(b[e])
				}
				if o.wide {
					x.r64[o.regs[st.reg]][l] |= v << st.bit
				} else {
					x.r32[o.regs[st.reg]][l] |= uint32(v) << st.bit
				}
			}
			if x.prof != nil {
				x.prof.access(x, in, acc)
			}
		}
	}
}
