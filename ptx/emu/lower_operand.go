package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// in32 gives the slot of an operand that is read as t, of at most 32 bits. Values
// of 8 and 16 bits are zero-extended in their slot.
func (lw *lowerer) in32(op ptx.Operand, t ptx.Type) int32 {
	switch v := op.(type) {
	case ptx.Reg:
		s, rt := lw.regSlot(v)
		if v.Sel != "" {
			lw.fail("the selector .%s is not allowed here", v.Sel)
		}
		switch s.file {
		case file32:
			lw.note(s)
			if b := t.Bits(); b < 32 && rt.Bits() > b {
				d := lw.temp(file32)
				mask := uint32(1)<<b - 1
				lw.helper(inst{run: runAnd32, d: d, a: s.i, b: lw.const32slot(mask)}, []int32{shadowOf(s)}, []int32{shadowOf(slot{file32, d})})
				return d
			}
			return s.i
		case file64:
			d := lw.temp(file32)
			lw.note(s)
			lw.helper(inst{run: runLow32, d: d, a: s.i, imm: 1<<t.Bits() - 1}, []int32{shadowOf(s)}, []int32{shadowOf(slot{file32, d})})
			return d
		}
		lw.fail("predicate %s is read as .%s", v.R.Name, t)
	case ptx.Imm:
		return lw.const32slot(uint32(immBits(v, t)))
	case ptx.Special:
		return lw.special(v, file32)
	case ptx.Sym:
		return lw.symbol(v, file32)
	case ptx.Sink:
		lw.fail("_ cannot be read")
	}
	lw.fail("operand %s is not supported where .%s is read", operandString(op), t)
	return 0
}

// in64 gives the slot of an operand that is read as t, of 64 bits.
func (lw *lowerer) in64(op ptx.Operand, t ptx.Type) int32 {
	switch v := op.(type) {
	case ptx.Reg:
		s, _ := lw.regSlot(v)
		if s.file == file64 {
			lw.note(s)
			return s.i
		}
		if s.file == file32 && v.R.Type.Bits() == 32 { // seen in 32-bit addresses of parameters
			d := lw.temp(file64)
			lw.note(s)
			lw.helper(inst{run: runZext64, d: d, a: s.i}, []int32{shadowOf(s)}, []int32{shadowOf(slot{file64, d})})
			return d
		}
		lw.fail("register %s of type .%s is read as .%s", v.R.Name, v.R.Type, t)
	case ptx.Imm:
		return lw.const64slot(immBits(v, t))
	case ptx.Special:
		return lw.special(v, file64)
	case ptx.Sym:
		return lw.symbol(v, file64)
	case ptx.Sink:
		lw.fail("_ cannot be read")
	}
	lw.fail("operand %s is not supported where .%s is read", operandString(op), t)
	return 0
}

// in gives the slot of an operand read as t, in the file that t has.
func (lw *lowerer) in(op ptx.Operand, t ptx.Type) int32 {
	switch fileOf(t) {
	case file32:
		return lw.in32(op, t)
	case file64:
		return lw.in64(op, t)
	}
	s, not := lw.inP(op)
	if not != 0 {
		lw.fail("a negated predicate is not supported here")
	}
	return s
}

// inP gives the slot of a predicate operand and the mask to xor with it.
func (lw *lowerer) inP(op ptx.Operand) (int32, uint32) {
	switch v := op.(type) {
	case ptx.Reg:
		s, t := lw.regSlot(v)
		if s.file != fileP {
			lw.fail("register %s is .%s, a predicate is expected", v.R.Name, t)
		}
		lw.note(s)
		return s.i, 0
	case ptx.Not:
		s, n := lw.inP(v.X)
		return s, n ^ fullMask
	case ptx.Imm:
		return lw.constP(v.Bits != 0), 0
	case ptx.Special:
		if v.Name == "is_explicit_cluster" {
			d := lw.temp(fileP)
			lw.helper(inst{run: runExplicitCluster, d: d}, nil, nil)
			return d, 0
		}
	}
	lw.fail("operand %s: a predicate is expected", operandString(op))
	return 0, 0
}

// out32 gives the slot to write a result of type t to. A wider register gets the
// result zero-extended, as moves and loads want it.
func (lw *lowerer) out32(op ptx.Operand, t ptx.Type) int32 {
	switch v := op.(type) {
	case ptx.Reg:
		s, rt := lw.regSlot(v)
		lw.sets = append(lw.sets, shadowOf(s))
		switch s.file {
		case file32:
			if t.Bits() > rt.Bits() && rt.Bits() < 32 {
				d, mask := s.i, lw.const32slot(1<<rt.Bits()-1)
				lw.post = append(lw.post, func() {
					lw.emit(inst{run: runAnd32, d: d, a: d, b: mask, flags: flagHelper})
				})
			}
			return s.i
		case file64:
			d := lw.temp(file32)
			lw.post = append(lw.post, func() {
				signed := uint64(0)
				if t.Kind() == ptx.KindSigned {
					signed = uint64(t.Bits())
				}
				lw.emit(inst{run: runWiden, d: s.i, a: d, imm: signed, flags: flagHelper})
			})
			return d
		}
		lw.fail("predicate %s is written as .%s", v.R.Name, t)
	case ptx.Sink:
		return lw.temp(file32)
	}
	lw.fail("operand %s: a register to write is expected", operandString(op))
	return 0
}

func (lw *lowerer) out64(op ptx.Operand, t ptx.Type) int32 {
	switch v := op.(type) {
	case ptx.Reg:
		s, rt := lw.regSlot(v)
		lw.sets = append(lw.sets, shadowOf(s))
		if s.file != file64 {
			lw.fail("register %s of type .%s is too narrow for a result of type .%s", v.R.Name, rt, t)
		}
		return s.i
	case ptx.Sink:
		return lw.temp(file64)
	}
	lw.fail("operand %s: a register to write is expected", operandString(op))
	return 0
}

func (lw *lowerer) outP(op ptx.Operand) int32 {
	switch v := op.(type) {
	case ptx.Reg:
		s, rt := lw.regSlot(v)
		if s.file != fileP {
			lw.fail("register %s is .%s, a predicate is expected", v.R.Name, rt)
		}
		lw.sets = append(lw.sets, shadowOf(s))
		return s.i
	case ptx.Sink:
		return lw.temp(fileP)
	}
	lw.fail("operand %s: a predicate to write is expected", operandString(op))
	return 0
}

func (lw *lowerer) out(op ptx.Operand, t ptx.Type) int32 {
	switch fileOf(t) {
	case file32:
		return lw.out32(op, t)
	case file64:
		return lw.out64(op, t)
	}
	return lw.outP(op)
}

// symbol gives a slot that holds the address of a symbol in its state space.
func (lw *lowerer) symbol(v ptx.Sym, f regFile) int32 {
	vr := lw.lookup(v.Name)
	if vr == nil {
		fn := lw.mod.fns[v.Name]
		if fn == nil || f != file64 {
			lw.fail("%s is not defined", v.Name)
		}
		lw.fn.takesAddr[fn] = true
		return lw.const64slot(fn.address() + uint64(v.Offset))
	}
	var a uint64
	var key string
	switch vr.kind {
	case varGlobal:
		a = vr.seg.base
	case varConst:
		a = vr.seg.base - constWindow
	case varEntryParam:
		a = uint64(vr.off)
	case varShared, varLocal:
		if vr.kind == varShared {
			key = fmt.Sprintf("%d shared %p %d", f, vr.sh, v.Offset)
			lw.fn.sharedUse[vr.sh] = true
		} else {
			key = fmt.Sprintf("%d local %d", f, int64(vr.off)+v.Offset)
		}
		if s, ok := lw.symSlot[key]; ok {
			return s
		}
		s := lw.newSlot(f, 1, v.Name, true)
		lw.symSlot[key] = s
		fx := fix{slot: s, wide: f == file64, off: v.Offset}
		if vr.kind == varShared {
			fx.shared = vr.sh
		} else {
			fx.local = true
			fx.off += int64(vr.off)
		}
		lw.fn.fixes = append(lw.fn.fixes, fx)
		return s
	}
	a += uint64(v.Offset)
	if f == file32 {
		if a>>32 != 0 {
			lw.fail("the address of %s does not fit into 32 bits", v.Name)
		}
		return lw.const32slot(uint32(a))
	}
	return lw.const64slot(a)
}

// operandString names an operand in messages.
func operandString(op ptx.Operand) string {
	switch v := op.(type) {
	case ptx.Reg:
		return v.R.Name
	case ptx.Imm:
		return "constant"
	case ptx.Special:
		return "%" + v.Name
	case ptx.Sym:
		return v.Name
	case ptx.Mem:
		return "[" + operandString(v.Base) + "]"
	case ptx.Vec:
		return "{…}"
	case ptx.Pair:
		return operandString(v.A) + "|" + operandString(v.B)
	case ptx.Not:
		return "!" + operandString(v.X)
	case ptx.Neg:
		return "-" + operandString(v.X)
	case ptx.Sink:
		return "_"
	}
	return fmt.Sprintf("%T", op)
}
