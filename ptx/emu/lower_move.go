package emu

import (
	"slices"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

func init() {
	register(lowerMov, "mov")
	register(lowerSetp, "setp", "set")
	register(lowerSelp, "selp", "slct")
	register(lowerCvt, "cvt")
}

func lowerMov(lw *lowerer, in *ptx.Instr) {
	lw.need(2)
	t := lw.mods.typ()
	dst, src := in.Args[0], in.Args[1]
	if t == ptx.Pred {
		a, n := lw.inP(src)
		lw.emit(inst{a: a, d: lw.outP(dst), run: func(x *exec, in *inst) { x.setP(in.d, x.p[in.a]^n) }})
		return
	}
	if n := lw.mods.one("v2", "v4"); n != "" {
		lowerMovVector(lw, t, dst, src, int(n[1]-'0'))
		return
	}
	if v, ok := dst.(ptx.Vec); ok {
		lowerUnpack(lw, t, v, src)
		return
	}
	if v, ok := src.(ptx.Vec); ok {
		lowerPack(lw, t, dst, v)
		return
	}
	if d, ok := dst.(ptx.Reg); ok && d.R.Vec > 0 && d.Elem == 0 { // whole vectors
		s, ok := src.(ptx.Reg)
		if !ok || s.R.Vec != d.R.Vec {
			lw.fail("vectors of the same width are expected")
		}
		for i := range d.R.Vec {
			e := "xyzw"[i]
			a := lw.in(ptx.Reg{R: s.R, Elem: e}, t)
			run := runMov32
			if fileOf(t) == file64 {
				run = runMov64
			}
			lw.emit(inst{run: run, a: a, d: lw.out(ptx.Reg{R: d.R, Elem: e}, t)})
		}
		return
	}
	switch t.Bits() {
	case 128:
		lo, hi := lw.in128(src)
		d := lw.out128(dst)
		lw.emit(inst{a: lo, b: hi, d: d, run: func(x *exec, in *inst) {
			d0, d1, a, b := &x.r64[in.d], &x.r64[in.d+1], &x.r64[in.a], &x.r64[in.b]
			for m := x.mask; m != 0; m &= m - 1 {
				i := firstLane(m)
				d0[i], d1[i] = a[i], b[i]
			}
		}})
	case 64:
		lw.emit(inst{run: runMov64, a: lw.in64(src, t), d: lw.out64(dst, t)})
	case 8, 16, 32:
		lw.emit(inst{run: runMov32, a: lw.in32(src, t), d: lw.out32(dst, t)})
	default:
		lw.fail("type .%s is not known here", t)
	}
}

// lowerMovVector lowers mov.v2 and mov.v4: all elements are read before the first is written.
func lowerMovVector(lw *lowerer, t ptx.Type, dst, src ptx.Operand, n int) {
	elements := func(op ptx.Operand) (list []ptx.Operand) {
		switch v := op.(type) {
		case ptx.Vec:
			list = v
		case ptx.Reg:
			for i := range v.R.Vec {
				list = append(list, ptx.Reg{R: v.R, Elem: "xyzw"[i]})
			}
		}
		if len(list) != n {
			lw.fail("operand %s: a vector of %d is expected", operandString(op), n)
		}
		return list
	}
	d, s := elements(dst), elements(src)
	f, run := fileOf(t), runMov32
	if f == file64 {
		run = runMov64
	}
	var temps []int32
	for _, op := range s {
		a := lw.in(op, t)
		tmp := lw.temp(f)
		uses := slices.Clone(lw.uses)
		lw.uses = lw.uses[:0]
		lw.helper(inst{run: run, a: a, d: tmp}, uses, []int32{shadowOf(slot{f, tmp})})
		temps = append(temps, tmp)
	}
	for i, op := range d {
		lw.uses = append(lw.uses[:0], shadowOf(slot{f, temps[i]}))
		in := inst{run: run, a: temps[i], d: lw.out(op, t)}
		if i > 0 {
			in.flags |= flagHelper
		}
		lw.emit(in)
	}
}

func (lw *lowerer) in128(op ptx.Operand) (lo, hi int32) {
	switch v := op.(type) {
	case ptx.Reg:
		s, t := lw.regSlot(v)
		if t.Bits() != 128 {
			lw.fail("register %s is .%s, .b128 is expected", v.R.Name, t)
		}
		lw.note(s)
		lw.note(slot{file64, s.i + 1})
		return s.i, s.i + 1
	case ptx.Imm:
		return lw.const64slot(v.Bits), lw.const64slot(0)
	}
	lw.fail("operand %s: a .b128 register is expected", operandString(op))
	return 0, 0
}

// out128 gives the first of the two slots of a .b128 destination.
func (lw *lowerer) out128(op ptx.Operand) int32 {
	switch v := op.(type) {
	case ptx.Reg:
		s, t := lw.regSlot(v)
		if t.Bits() == 128 {
			lw.sets = append(lw.sets, shadowOf(s), shadowOf(slot{file64, s.i + 1}))
			return s.i
		}
	case ptx.Sink:
		return lw.newSlot(file64, 2, "temporary", true)
	}
	lw.fail("operand %s: a .b128 register is expected", operandString(op))
	return 0
}

// lowerPack lowers mov.b64 d, {a, b} and the like: the first element is the lowest.
func lowerPack(lw *lowerer, t ptx.Type, dst ptx.Operand, v ptx.Vec) {
	n := len(v)
	if n != 2 && n != 4 || t.Bits()/n < 8 {
		lw.fail("%d elements do not make .%s", n, t)
	}
	w := t.Bits() / n
	et := bitsType(w)
	if t.Bits() == 128 && n == 2 {
		a, b := lw.in64(v[0], ptx.B64), lw.in64(v[1], ptx.B64)
		lw.emit(inst{a: a, b: b, d: lw.out128(dst), run: func(x *exec, in *inst) {
			d0, d1, a, b := &x.r64[in.d], &x.r64[in.d+1], &x.r64[in.a], &x.r64[in.b]
			for m := x.mask; m != 0; m &= m - 1 {
				i := firstLane(m)
				d0[i], d1[i] = a[i], b[i]
			}
		}})
		return
	}
	var s []slot
	for _, o := range v {
		s = append(s, slot{fileOf(et), lw.in(o, et)})
	}
	if n == 2 && t.Bits() == 32 {
		lw.emit(inst{run: runPackB32, a: s[0].i, b: s[1].i, d: lw.out32(dst, t)})
		return
	}
	if n == 2 && t.Bits() == 64 {
		lw.emit(inst{run: runPackB64, a: s[0].i, b: s[1].i, d: lw.out64(dst, t)})
		return
	}
	var d []slot
	if t.Bits() == 128 {
		i := lw.out128(dst)
		d = []slot{{file64, i}, {file64, i + 1}}
	} else {
		d = []slot{{fileOf(t), lw.out(dst, t)}}
	}
	per := n / len(d)
	lw.emit(inst{run: lanes(func(x *exec, in *inst, i int) {
		for k, o := range d {
			var r uint64
			for e := range per {
				r |= x.get(s[k*per+e], i) << (e * w)
			}
			x.put(o, i, r)
		}
	})})
}

func bitsType(w int) ptx.Type {
	switch w {
	case 8:
		return ptx.B8
	case 16:
		return ptx.B16
	case 32:
		return ptx.B32
	}
	return ptx.B64
}

// lowerUnpack lowers mov.b64 {a, b}, s and the like.
func lowerUnpack(lw *lowerer, t ptx.Type, v ptx.Vec, src ptx.Operand) {
	n := len(v)
	if n != 2 && n != 4 || t.Bits()/n < 8 {
		lw.fail("%d elements do not make .%s", n, t)
	}
	w := t.Bits() / n
	et := bitsType(w)
	var s []slot
	if t.Bits() == 128 {
		lo, hi := lw.in128(src)
		s = []slot{{file64, lo}, {file64, hi}}
	} else {
		s = []slot{{fileOf(t), lw.in(src, t)}}
	}
	uses := append([]int32(nil), lw.uses...)
	// The source may be among the destinations, so that all are read first.
	var d []slot
	for _, o := range v {
		d = append(d, slot{fileOf(et), lw.out(o, et)})
	}
	lw.uses = uses
	per := n / len(s)
	mask := uint64(1)<<w - 1
	if w == 64 {
		mask = ^uint64(0)
	}
	lw.emit(inst{run: lanes(func(x *exec, in *inst, i int) {
		var r [2]uint64
		for k := range s {
			r[k] = x.get(s[k], i)
		}
		for e, o := range d {
			x.put(o, i, r[e/per]>>(e%per*w)&mask)
		}
	})})
}

// compareRuns are the comparisons with loops of their own.
var compareRuns = map[string][6]runFn{
	"s32": {runSetEqS32, runSetNeS32, runSetLtS32, runSetLeS32, runSetGtS32, runSetGeS32},
	"u32": {runSetEqS32, runSetNeS32, runSetLtU32, runSetLeU32, runSetGtU32, runSetGeU32},
	"f32": {runSetEqF32, nil, runSetLtF32, runSetLeF32, runSetGtF32, runSetGeF32},
	"s64": {runSetEqS64, runSetNeS64, runSetLtS64, runSetLeS64, runSetGtS64, runSetGeS64},
	"u64": {runSetEqS64, runSetNeS64, runSetLtU64, runSetLeU64, runSetGtU64, runSetGeU64},
	"f64": {runSetEqF64, nil, runSetLtF64, runSetLeF64, runSetGtF64, runSetGeF64},
}

func lowerSetp(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	name := ""
	for i, s := range m.list {
		if _, ok := num.CmpByName(s); ok {
			m.taken[i], name = true, s
			break
		}
	}
	cmp, ok := num.CmpByName(name)
	if !ok {
		lw.fail("a comparison is expected")
	}
	boolOp := m.one("and", "or", "xor")
	ftz := m.has("ftz")
	set := in.Op == "set"
	var dt ptx.Type
	if set {
		dt = m.typ()
	}
	t := m.typ()
	if set && (dt == ptx.F16x2 || dt == ptx.BF16x2) && t == ptx.NoType {
		t = dt
	}
	n := 3
	if boolOp != "" {
		n = 4
	}
	lw.need(n)
	args := in.Args
	a, b := lw.in(args[1], t), lw.in(args[2], t)
	var q int32
	var nq uint32
	if boolOp != "" {
		q, nq = lw.inP(args[3])
	}
	combine := func(x *exec, p uint32) uint32 {
		switch boolOp {
		case "and":
			return p & (x.p[q] ^ nq)
		case "or":
			return p | x.p[q] ^ nq
		case "xor":
			return p ^ x.p[q] ^ nq
		}
		return p
	}
	// The comparison itself, for all lanes.
	var compare func(x *exec, in *inst) (p, high uint32)
	packed := t == ptx.F16x2 || t == ptx.BF16x2
	et := t
	if t == ptx.F16x2 {
		et = ptx.F16
	} else if t == ptx.BF16x2 {
		et = ptx.BF16
	}
	f, err := num.Compare(cmp, et, ftz)
	if err != nil {
		lw.fail("%v", err)
	}
	wide := fileOf(t) == file64
	compare = func(x *exec, in *inst) (p, high uint32) {
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			var va, vb uint64
			if wide {
				va, vb = x.r64[in.a][i], x.r64[in.b][i]
			} else {
				va, vb = uint64(x.r32[in.a][i]), uint64(x.r32[in.b][i])
			}
			if packed {
				if f(va&0xffff, vb&0xffff) {
					p |= 1 << i
				}
				if f(va>>16, vb>>16) {
					high |= 1 << i
				}
			} else if f(va, vb) {
				p |= 1 << i
			}
		}
		return p, high
	}
	if set {
		lowerSet(lw, in, dt, t, packed, a, b, compare, combine)
		return
	}
	if pair, ok := args[0].(ptx.Pair); ok {
		d, e := lw.outP(pair.A), lw.outP(pair.B)
		lw.emit(inst{a: a, b: b, d: d, e: e, run: func(x *exec, in *inst) {
			p, high := compare(x, in)
			if packed {
				p, high = combine(x, p), combine(x, high)
			} else {
				p, high = combine(x, p), combine(x, ^p)
			}
			x.setP(in.d, p)
			x.setP(in.e, high)
		}})
		return
	}
	if packed {
		lw.fail("p|q is expected for packed types")
	}
	d := lw.outP(args[0])
	i := inst{a: a, b: b, d: d}
	key := t.String()
	if t.Kind() == ptx.KindBits || t.Kind() == ptx.KindUnsigned && t.Bits() == 16 {
		key = "u" + key[1:]
	}
	if key == "u16" {
		key = "u32" // zero-extended
	}
	k := map[num.Cmp]int{num.EQ: 0, num.NE: 1, num.LT: 2, num.LE: 3, num.GT: 4, num.GE: 5, num.LO: 2, num.LS: 3, num.HI: 4, num.HS: 5}
	if at, ok := k[cmp]; ok && boolOp == "" && !ftz {
		if runs, ok := compareRuns[key]; ok && runs[at] != nil {
			i.run = runs[at]
			lw.emit(i)
			return
		}
	}
	i.run = func(x *exec, in *inst) {
		p, _ := compare(x, in)
		x.setP(in.d, combine(x, p))
	}
	lw.emit(i)
}

func lowerSet(lw *lowerer, in *ptx.Instr, dt, t ptx.Type, packed bool, a, b int32, compare func(x *exec, in *inst) (uint32, uint32), combine func(x *exec, p uint32) uint32) {
	var one, one2 uint32
	switch dt {
	case ptx.F32:
		one = 0x3f800000
	case ptx.F16:
		one = 0x3c00
	case ptx.BF16:
		one = 0x3f80
	case ptx.F16x2:
		one, one2 = 0x3c00, 0x3c000000
	case ptx.BF16x2:
		one, one2 = 0x3f80, 0x3f800000
	case ptx.U32, ptx.S32:
		one = fullMask
		if packed {
			one, one2 = 0xffff, 0xffff0000
		}
	case ptx.U16, ptx.S16:
		one = 0xffff
	default:
		lw.fail("type .%s is not known here", dt)
	}
	lw.emit(inst{a: a, b: b, d: lw.out32(in.Args[0], dt), run: func(x *exec, in *inst) {
		p, high := compare(x, in)
		p, high = combine(x, p), combine(x, high)
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			v := one & -(p >> i & 1)
			if one2 != 0 {
				v |= one2 & -(high >> i & 1)
			}
			x.r32[in.d][i] = v
		}
	}})
}

func lowerSelp(lw *lowerer, in *ptx.Instr) {
	lw.need(4)
	args := in.Args
	if in.Op == "slct" {
		ftz := lw.mods.has("ftz")
		t, ct := lw.mods.typ(), lw.mods.typ()
		a, b := lw.in(args[1], t), lw.in(args[2], t)
		c := lw.in32(args[3], ct)
		isF := ct == ptx.F32
		s := fileOf(t)
		lw.emit(inst{a: a, b: b, c: c, d: lw.out(args[0], t), run: lanes(func(x *exec, in *inst, i int) {
			v := x.r32[in.c][i]
			if isF && ftz {
				v = num.Ftz32(v)
			}
			ge := int32(v) >= 0 && !(isF && v > 0x7f800000) || isF && v == 1<<31
			k := in.b
			if ge {
				k = in.a
			}
			x.put(slot{s, in.d}, i, x.get(slot{s, k}, i))
		})})
		return
	}
	t := lw.mods.typ()
	a, b := lw.in(args[1], t), lw.in(args[2], t)
	p, n := lw.inP(args[3])
	run := runSelp32
	if fileOf(t) == file64 {
		run = runSelp64
	}
	lw.emit(inst{run: run, a: a, b: b, c: p, imm: uint64(n), d: lw.out(args[0], t)})
}

func runSelp32(x *exec, in *inst) {
	d, a, b := &x.r32[in.d], &x.r32[in.a], &x.r32[in.b]
	p := x.p[in.c] ^ uint32(in.imm)
	if x.mask == fullMask {
		for i := range d {
			v := b[i]
			if p>>(i&31)&1 != 0 {
				v = a[i]
			}
			d[i] = v
		}
		return
	}
	for m := x.mask; m != 0; m &= m - 1 {
		i := firstLane(m)
		v := b[i]
		if p>>i&1 != 0 {
			v = a[i]
		}
		d[i] = v
	}
}

func runSelp64(x *exec, in *inst) {
	d, a, b := &x.r64[in.d], &x.r64[in.a], &x.r64[in.b]
	p := x.p[in.c] ^ uint32(in.imm)
	for m := x.mask; m != 0; m &= m - 1 {
		i := firstLane(m)
		v := b[i]
		if p>>i&1 != 0 {
			v = a[i]
		}
		d[i] = v
	}
}

func lowerCvt(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	c := num.Cvt{}
	if m.has("pack") {
		lowerCvtPack(lw, in)
		return
	}
	switch r := m.one("rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi", "rs"); r {
	case "rs":
		lw.fail("stochastic rounding is not supported")
	case "":
	default:
		if r[len(r)-1] == 'i' {
			c.Int = true
			r = r[:2]
		}
		c.Rnd = map[string]num.Rounding{"rn": num.RN, "rz": num.RZ, "rm": num.RM, "rp": num.RP, "rna": num.RNA}[r]
	}
	c.Relu, c.SatFinite, c.Ftz, c.Sat = m.has("relu"), m.has("satfinite"), m.has("ftz"), m.has("sat")
	// .relu may stand behind .satfinite or before it: taken by name.
	c.Dst, c.Src = m.typ(), m.typ()
	if c.Src == ptx.NoType {
		lw.fail("two types are expected")
	}
	args := in.Args
	out := func(op ptx.Operand) (slot, uint64) {
		r, ok := op.(ptx.Reg)
		if !ok {
			return slot{fileOf(c.Dst), lw.out(op, c.Dst)}, ^uint64(0)
		}
		s, t := lw.regSlot(r)
		if s.file == fileP || t.Bits() < c.Dst.Bits() {
			lw.fail("register %s of type .%s is too narrow for .%s", r.R.Name, t, c.Dst)
		}
		lw.sets = append(lw.sets, shadowOf(s))
		if t.Bits() >= 64 {
			return s, ^uint64(0)
		}
		return s, 1<<t.Bits() - 1
	}
	if len(args) == 3 {
		f, err := c.Pair()
		if err != nil {
			lw.fail("%v", err)
		}
		a, b := lw.in(args[1], c.Src), lw.in(args[2], c.Src)
		sf := fileOf(c.Src)
		d, mask := out(args[0])
		lw.emit(inst{run: lanes(func(x *exec, in *inst, i int) {
			x.put(d, i, f(x.get(slot{sf, a}, i), x.get(slot{sf, b}, i))&mask)
		})})
		return
	}
	lw.need(2)
	a := slot{fileOf(c.Src), lw.in(args[1], c.Src)}
	d, mask := out(args[0])
	plain := !c.Sat && !c.Int
	switch {
	case plain && c.Dst.Bits() == 64 && c.Src == ptx.U32 && d.file == file64 && c.Dst.Kind() != ptx.KindFloat:
		lw.emit(inst{run: runZext64, a: a.i, d: d.i})
		return
	case plain && c.Dst.Bits() == 64 && c.Src == ptx.S32 && d.file == file64 && c.Dst.Kind() != ptx.KindFloat:
		lw.emit(inst{run: runSext64, a: a.i, d: d.i})
		return
	case plain && c.Dst.Bits() == 32 && c.Src.Bits() == 64 && d.file == file32 && c.Src.Kind() != ptx.KindFloat && c.Dst.Kind() != ptx.KindFloat:
		lw.emit(inst{run: runLow32, a: a.i, d: d.i, imm: fullMask})
		return
	}
	var f func(x uint64) uint64
	var err error
	if b := c.Dst; b == ptx.F16x2 || b == ptx.BF16x2 || b == ptx.E4M3x2 || b == ptx.E5M2x2 {
		f, err = c.Packed()
	} else {
		f, err = c.Unary()
	}
	if err != nil {
		lw.fail("%v", err)
	}
	if a.file == file32 && d.file == file32 {
		m32 := uint32(mask)
		lw.emit(inst{a: a.i, d: d.i, run: map1(func(a uint32) uint32 { return uint32(f(uint64(a))) & m32 })})
		return
	}
	lw.emit(inst{run: lanes(func(x *exec, in *inst, i int) { x.put(d, i, f(x.get(a, i))&mask) })})
}

func lowerCvtPack(lw *lowerer, in *ptx.Instr) {
	lw.mods.has("sat")
	var t ptx.Type
	var w uint
	switch lw.mods.one("u2", "s2") { // which no register has
	case "u2":
		t, w = ptx.U8, 2
	case "s2":
		t, w = ptx.S8, 2
	default:
		t = lw.mods.typ()
		w = uint(t.Bits())
	}
	lw.mods.has("s32")
	lw.mods.has("b32")
	if len(in.Args) == 3 {
		lw.binary(ptx.S32, map2(func(a, b uint32) uint32 { return num.CvtPack(t, w, a, b, 0) }))
		return
	}
	lw.ternary(ptx.S32, map3(func(a, b, c uint32) uint32 { return num.CvtPack(t, w, a, b, c) }))
}
