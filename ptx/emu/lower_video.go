package emu

import (
	"strings"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

func init() {
	register(lowerVideo, "vadd", "vsub", "vabsdiff", "vmin", "vmax", "vshl", "vshr", "vset")
	register(lowerVmad, "vmad")
	for _, op := range []string{"vadd", "vsub", "vabsdiff", "vmin", "vmax", "vset", "vavrg"} {
		register(lowerSIMD, op+"2", op+"4")
	}
}

var videoOps = map[string]num.VideoOp{"vadd": num.VAdd, "vsub": num.VSub, "vabsdiff": num.VAbsDiff, "vmin": num.VMin, "vmax": num.VMax,
	"vshl": num.VShl, "vshr": num.VShr, "vset": num.VSet, "vavrg": num.VAvrg}

// selected splits an operand from its selector: r.b0, r.h1, r.b7610.
func selected(op ptx.Operand) (ptx.Operand, string) {
	if r, ok := op.(ptx.Reg); ok && r.Sel != "" {
		sel := r.Sel
		r.Sel = ""
		return r, sel
	}
	return op, ""
}

// videoIn notes a video operand: a part of a register, or a constant.
func (lw *lowerer) videoIn(op ptx.Operand) (int32, string) {
	o, sel := selected(op)
	return lw.in32(o, ptx.B32), sel
}

func (lw *lowerer) part(sel string) num.Part {
	p, ok := num.PartByName(sel)
	if !ok {
		lw.fail("selector .%s is not known", sel)
	}
	return p
}

// videoCmp takes the comparison of vset.
func (lw *lowerer) videoCmp() num.Cmp {
	c, ok := num.CmpByName(lw.mods.one("eq", "ne", "lt", "le", "gt", "ge"))
	if !ok {
		lw.fail("a comparison is expected")
	}
	return c
}

func lowerVideo(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	v := num.Video{Op: videoOps[in.Op]}
	signed := func() bool {
		t := m.typ()
		if t != ptx.U32 && t != ptx.S32 {
			lw.fail(".u32 or .s32 is expected")
		}
		return t == ptx.S32
	}
	if in.Op == "vset" {
		v.A, v.B = signed(), signed()
		v.Cmp = lw.videoCmp()
	} else {
		v.D, v.A, v.B = signed(), signed(), signed()
	}
	v.Sat = m.has("sat")
	v.Wrap = m.one("clamp", "wrap") == "wrap"
	args := in.Args
	n := 3
	switch m.one("add", "min", "max") {
	case "add":
		v.Op2, n = num.Op2Add, 4
	case "min":
		v.Op2, n = num.Op2Min, 4
	case "max":
		v.Op2, n = num.Op2Max, 4
	}
	dst, dsel := selected(args[0])
	if dsel != "" {
		v.Op2, n = num.Merge, 4
		v.DSel = lw.part(dsel)
	}
	lw.need(n)
	var i inst
	var sel string
	i.a, sel = lw.videoIn(args[1])
	v.ASel = lw.part(sel)
	i.b, sel = lw.videoIn(args[2])
	v.BSel = lw.part(sel)
	i.c = i.a
	if n == 4 {
		i.c = lw.in32(args[3], ptx.B32)
	}
	i.d = lw.out32(dst, ptx.B32)
	i.run = map3(v.Do)
	lw.emit(i)
}

func lowerVmad(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	lw.need(4)
	v := num.Vmad{}
	v.D, v.A, v.B = m.typ() == ptx.S32, m.typ() == ptx.S32, m.typ() == ptx.S32
	v.Sat = m.has("sat")
	v.PlusOne = m.has("po")
	switch m.one("shr7", "shr15") {
	case "shr7":
		v.Shift = 7
	case "shr15":
		v.Shift = 15
	}
	neg := func(op ptx.Operand) (ptx.Operand, bool) {
		if n, ok := op.(ptx.Neg); ok {
			return n.X, true
		}
		return op, false
	}
	a, na := neg(in.Args[1])
	b, nb := neg(in.Args[2])
	c, nc := neg(in.Args[3])
	if na && nb {
		lw.fail("only one of the factors can be negated")
	}
	v.NegProduct, v.NegC = na || nb, nc
	var i inst
	var sel string
	i.a, sel = lw.videoIn(a)
	v.ASel = lw.part(sel)
	i.b, sel = lw.videoIn(b)
	v.BSel = lw.part(sel)
	i.c = lw.in32(c, ptx.B32)
	i.d = lw.out32(in.Args[0], ptx.B32)
	i.run = map3(v.Do)
	lw.emit(i)
}

// lowerSIMD lowers the instructions on two halves or four bytes.
func lowerSIMD(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	lanes := int(in.Op[len(in.Op)-1] - '0')
	s := num.NewSIMD(videoOps[strings.TrimRight(in.Op, "24")], lanes)
	lw.need(4)
	if strings.HasPrefix(in.Op, "vset") {
		s.A, s.B = m.typ() == ptx.S32, m.typ() == ptx.S32
		s.Cmp = lw.videoCmp()
	} else {
		s.D, s.A, s.B = m.typ() == ptx.S32, m.typ() == ptx.S32, m.typ() == ptx.S32
	}
	s.Sat, s.Add = m.has("sat"), m.has("add")
	dst, mask := selected(in.Args[0])
	var err error
	check := func() {
		if err != nil {
			lw.fail("%v", err)
		}
	}
	if mask != "" {
		s.Mask, err = s.ParseMask(mask)
		check()
	}
	var i inst
	var sel string
	if i.a, sel = lw.videoIn(in.Args[1]); sel != "" {
		s.ASel, err = s.Select(sel)
		check()
	}
	if i.b, sel = lw.videoIn(in.Args[2]); sel != "" {
		s.BSel, err = s.Select(sel)
		check()
	}
	i.c = lw.in32(in.Args[3], ptx.B32)
	i.d = lw.out32(dst, ptx.B32)
	i.run = map3(s.Do)
	lw.emit(i)
}
