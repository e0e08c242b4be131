package ptx

import (
	"fmt"
	"strings"
)

// fitResult says whether an operand may stand at a place, or why not.
type fitResult uint8

const (
	fitYes   fitResult = iota
	fitKind            // it is something else altogether
	fitType            // a register or constant of the wrong type
	fitCount           // a vector of the wrong length
)

// fit reports whether the operand may stand at the place.
func (m *match) fit(a *Arg, op Operand) fitResult {
	if a.Pair != nil {
		if p, ok := op.(Pair); ok {
			if r := m.fitOne(a, p.A); r != fitYes {
				return r
			}
			return m.fitOne(a.Pair, p.B)
		}
		if !a.Pair.Optional {
			return fitKind
		}
	}
	return m.fitOne(a, op)
}

func (m *match) fitOne(a *Arg, op Operand) fitResult {
	switch a.Kind {
	case ArgImm:
		if i, ok := op.(Imm); ok && i.Kind <= ImmUint {
			return fitYes
		}
		return fitKind
	case ArgMem:
		if mem, ok := op.(Mem); ok && mem.Coords == nil && mem.Sampler == nil {
			return fitBase(mem.Base)
		}
		return fitKind
	case ArgTensor:
		mem, ok := op.(Mem)
		if !ok || mem.Coords == nil || mem.Offset != 0 {
			return fitKind
		}
		if len(mem.Coords) != m.coords() {
			return fitCount
		}
		t := S32
		if v := m.value("geom"); v != nil {
			t = B32 // integers or floats, an array's index among them
		} else if mem.Sampler != nil {
			return fitKind
		}
		for _, c := range mem.Coords {
			if r := fitScalar(t, a, c); r != fitYes {
				return r
			}
		}
		return fitBase(mem.Base)
	case ArgLabel, ArgTargets:
		if s, ok := op.(Sym); ok && s.Offset == 0 {
			return fitYes
		}
		return fitKind
	}
	t, n := m.argType(a), m.argCount(a)
	v, isVec := op.(Vec)
	if n == 0 && isVec && len(v) == 1 && a.countSlot != "" {
		return fitScalar(t, a, v[0]) // Triton writes ld.b32 {r}, [a]
	}
	if n == 0 {
		return fitScalar(t, a, op)
	}
	if isVec {
		if len(v) != n {
			return fitCount
		}
		for _, e := range v {
			if r := fitScalar(t, a, e); r != fitYes {
				return r
			}
		}
		return fitYes
	}
	if r, ok := op.(Reg); ok && r.Elem == 0 && r.Sel == "" && r.R.Vec > 0 {
		switch {
		case r.R.Vec != n:
			return fitCount
		case !TypesAgree(r.R.Type, t, a.Wide):
			return fitType
		}
		return fitYes
	}
	return fitKind
}

// geomCoords is how many coordinates a texture's geometry takes; some are padding.
var geomCoords = map[string]int{"1d": 1, "2d": 2, "3d": 4, "a1d": 2, "a2d": 4, "cube": 4, "acube": 4}

// coords is how many coordinates a tensor or texture is accessed with.
func (m *match) coords() int {
	if v := m.value("dim"); v != nil {
		return int(v.Text[0] - '0')
	}
	if v := m.value("geom"); v != nil {
		return geomCoords[v.Text]
	}
	return 0
}

func fitBase(base Operand) fitResult {
	switch b := base.(type) {
	case Reg:
		if t := b.R.Type; b.R.Vec > 0 && b.Elem == 0 || b.Sel != "" || t.Bits() != 32 && t.Bits() != 64 || t.Kind() == KindFloat {
			return fitType
		}
		return fitYes
	case Sym:
		return fitYes
	case Imm:
		if b.Kind <= ImmUint {
			return fitYes
		}
	}
	return fitKind
}

func fitScalar(t Type, a *Arg, op Operand) fitResult {
	switch op := op.(type) {
	case Reg:
		if op.R.Vec > 0 && op.Elem == 0 {
			return fitKind
		}
		if op.Sel != "" && !a.Sel && !a.DestSel {
			return fitKind
		}
		if !TypesAgree(op.R.Type, t, a.Wide) {
			return fitType
		}
		return fitYes
	case Imm:
		if a.Dir != In {
			return fitKind
		}
		if !immAgrees(op.Kind, t, a) {
			return fitType
		}
		return fitYes
	case Special:
		if !a.Sreg {
			return fitKind
		}
		return fitSpecial(op, t)
	case Sym:
		// The address of a variable or function, in a register wide enough or cut.
		if !a.Sym || t.Kind() == KindFloat || t.Kind() == KindPred || t.Bits() < 16 {
			return fitKind
		}
		return fitYes
	case Sink:
		if a.Sink {
			return fitYes
		}
	case Not:
		if r, ok := op.X.(Reg); ok && a.Not && r.R.Type == Pred {
			return fitYes
		}
	case Neg:
		if a.Neg {
			return fitScalar(t, a, op.X)
		}
	}
	return fitKind
}

func fitSpecial(op Special, t Type) fitResult {
	sp, ok := specialTable[op.Name]
	switch {
	case !ok || sp.Vector && op.Elem == 0 || !sp.Vector && op.Elem != 0:
		return fitKind
	case sp.Type == Pred || t == Pred:
		if sp.Type != t {
			return fitType
		}
	case t.Kind() == KindFloat || t.Bits() > sp.Type.Bits() || t.Bits() < 32 && sp.Type.Bits() == 64 || t.Bits() == 32 && sp.Type.Bits() == 64:
		return fitType
	}
	return fitYes
}

func immAgrees(k ImmKind, t Type, a *Arg) bool {
	switch t.Kind() {
	case KindFloat:
		// Half formats have no constants: mov.b16 brings their bits into a register.
		return k >= ImmF32 && (t == F32 || t == F64)
	case KindBits:
		return k <= ImmUint || k == ImmF32 && t == B32 || k == ImmF64 && t == B64
	}
	return k <= ImmUint
}

// TypesAgree reports whether a register of type reg may be an operand of an
// instruction of type ins (PTX ISA, "Type Checking of Instructions" and, for wide,
// "Operand Size Exceeding Instruction-Type Size").
func TypesAgree(reg, ins Type, wide bool) bool {
	if reg == ins {
		return true
	}
	r, i := reg.Kind(), ins.Kind()
	if r == KindPred || i == KindPred || r == KindNone || i == KindNone {
		return false
	}
	rb, ib := reg.Bits(), ins.Bits()
	if rb < ib || rb > ib && !wide {
		return false
	}
	switch i {
	case KindBits:
		return true
	case KindUnsigned, KindSigned:
		return r != KindFloat
	case KindFloat:
		return r == KindBits
	}
	return false
}

// expected words what the place takes.
func (m *match) expected(a *Arg, why fitResult) string {
	if a.Pair != nil && !a.Pair.Optional {
		first := *a
		first.Pair = nil
		return fmt.Sprintf("a pair %s|%s: %s and %s", a.Name, a.Pair.Name, m.expected(&first, why), m.expected(a.Pair, why))
	}
	switch a.Kind {
	case ArgImm:
		return "an integer constant"
	case ArgMem:
		if sp := m.argSpace(a); sp != NoSpace {
			return fmt.Sprintf("an address in .%s in brackets, from a .u32, .u64, .b32 or .b64 register or a variable", sp)
		}
		return "an address in brackets, from a .u64 or .b64 register or a variable"
	case ArgTensor:
		if m.value("geom") != nil {
			return fmt.Sprintf("[texture or surface, {%d coordinates}]", m.coords())
		}
		return fmt.Sprintf("[tensor map, {%d coordinates of .s32}]", m.coords())
	case ArgLabel:
		return "a label"
	case ArgTargets:
		return "the label of a .branchtargets"
	case ArgCall:
		return "the operands of a call"
	}
	t, n := m.argType(a), m.argCount(a)
	regs := registersFor(t, a.Wide)
	var what string
	switch {
	case n > 0:
		return fmt.Sprintf("a vector of %d in braces, each %s", n, regs)
	case a.Dir != In:
		what = "a register of " + regs
	case t == Pred:
		what = "a .pred register"
	case t.Kind() == KindFloat && t != F32 && t != F64:
		what = "a register of " + regs
	default:
		what = "a register of " + regs + " or a constant"
	}
	if a.Sym {
		what += " or a variable"
	}
	if a.Sink {
		what += " or _"
	}
	return what
}

// registersFor lists the types of registers that hold type t.
func registersFor(t Type, wide bool) string {
	var names []string
	for _, r := range [...]Type{Pred, B8, B16, B32, B64, B128, U8, U16, U32, U64, S8, S16, S32, S64, F16, F16x2, F32, F64} {
		if TypesAgree(r, t, false) {
			names = append(names, "."+r.String())
		}
	}
	s := strings.Join(names, ", ")
	if i := strings.LastIndex(s, ", "); i >= 0 {
		s = s[:i] + " or" + s[i+1:]
	}
	if wide && t.Bits() < 64 {
		s += " (or wider)"
	}
	return s
}

// describe words an operand for a message.
func describe(op Operand) string {
	s := OperandString(op)
	switch op := op.(type) {
	case Reg:
		if op.R.Vec > 0 && op.Elem == 0 {
			return fmt.Sprintf("the register %s of .v%d .%s", s, op.R.Vec, op.R.Type)
		}
		return fmt.Sprintf("the register %s of .%s", s, op.R.Type)
	case Imm:
		return "the constant " + s
	case Special:
		return "the special register " + s
	case Sym:
		return "the name " + s
	case Mem:
		return "the address " + s
	case Vec:
		types := ""
		for i, e := range op {
			if r, ok := e.(Reg); ok && (i == 0 || i == len(op)-1) {
				types = " of ." + r.R.Type.String()
			}
		}
		return fmt.Sprintf("the vector of %d%s", len(op), types)
	}
	return s
}

// callError says what is wrong with the operands of a call, empty if nothing is:
// call (ret), target, (args), prototype.
func callError(args []Operand) string {
	rest := args
	if len(rest) > 0 {
		if _, ok := rest[0].(List); ok {
			rest = rest[1:]
		}
	}
	if len(rest) == 0 {
		return "the function is missing: call (ret), function, (arguments) is expected"
	}
	direct := false
	switch t := rest[0].(type) {
	case Sym:
		direct = t.Offset == 0
	case Reg:
		if t.R.Type.Kind() == KindFloat || t.R.Type.Bits() != 64 && t.R.Type.Bits() != 32 {
			return fmt.Sprintf("the function is %s, a register of .u64 or .b64 is expected", describe(t))
		}
	default:
		return fmt.Sprintf("the function is %s, a name or a register is expected", describe(t))
	}
	rest = rest[1:]
	if len(rest) > 0 {
		if _, ok := rest[0].(List); ok {
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		if s, ok := rest[0].(Sym); !ok || s.Offset != 0 {
			return fmt.Sprintf("found %s, the label of a .callprototype or .calltargets is expected", describe(rest[0]))
		}
		rest = rest[1:]
	} else if !direct {
		return "a call through a register needs the label of its .callprototype or .calltargets as last operand"
	}
	if len(rest) > 0 {
		return fmt.Sprintf("%s is one operand too many", OperandString(rest[0]))
	}
	for _, a := range args {
		if l, ok := a.(List); ok {
			for _, e := range l {
				switch e.(type) {
				case Sym, Reg, Imm, Sink:
				default:
					return fmt.Sprintf("%s cannot be passed: the name of a .param variable, a register or a constant is expected", describe(e))
				}
			}
		}
	}
	return ""
}
