package ptx

import "slices"

// instr checks what the form alone does not say: names, addresses and the ranges of
// constants.
func (c *checker) instr(i int, in *Instr) {
	if in.Guard.Reg != nil && in.Guard.Reg.Type != Pred {
		c.errorf(in.Pos, "the guard %s of %s is .%s, a .pred register is expected", in.Guard.Reg.Name, in.Opcode(), in.Guard.Reg.Type)
	}
	if in.Op == "call" {
		c.call(i, in)
		return
	}
	for _, b := range in.Bindings() {
		switch o := b.Op.(type) {
		case Sym:
			if b.Arg.Kind == ArgValue {
				c.symbol(i, in, o.Name)
			}
		case Mem:
			c.address(i, in, b, o)
		case Vec:
			for _, e := range o {
				if s, ok := e.(Sym); ok {
					c.symbol(i, in, s.Name)
				}
			}
		}
	}
	c.constants(in)
}

// find is the definition of a name seen from instruction i, nil if there is none.
func (c *checker) find(i int, name string) any {
	if d := c.flow.Lookup(i, name); d != nil {
		return d
	}
	return c.names[name]
}

func (c *checker) symbol(i int, in *Instr, name string) {
	switch c.find(i, name).(type) {
	case *Var, *Func:
	case nil:
		c.errorf(in.Pos, "%s in %s is not defined; a variable or function is expected, or a register that is declared", name, in.Opcode())
	default:
		c.errorf(in.Pos, "%s in %s is a label, a variable or function is expected", name, in.Opcode())
	}
}

// accessBytes is the size of a memory access, 0 if the form does not say.
func accessBytes(in *Instr) int {
	switch in.Op {
	case "ld", "st", "atom", "red", "ldu":
		t := in.Type("type")
		if t == NoType {
			for _, s := range [...]string{"b128", "f32"} {
				if in.Has(s) {
					t, _ = TypeByName(s)
				}
			}
		}
		return t.Size() * in.Vec()
	case "mbarrier":
		return 8
	case "ldmatrix", "stmatrix":
		return 16
	}
	return 0
}

// takesNarrow are the instructions whose generic addresses ptxas takes from registers
// of 32 bits, too.
var takesNarrow = map[string]bool{"cp": true, "ldmatrix": true, "stmatrix": true, "wmma": true}

func (c *checker) address(i int, in *Instr, b Binding, m Mem) {
	switch base := m.Base.(type) {
	case Reg:
		if b.Arg.Kind != ArgMem {
			return
		}
		narrow := base.R.Type.Bits() == 32 && c.m.AddrSize != 32
		if narrow && (b.Space == NoSpace && !takesNarrow[in.Op] || b.Space == Global) {
			what := "a generic address"
			if b.Space == Global {
				what = "an address in .global"
			}
			c.errorf(in.Pos, "%s takes %s of 64 bits, %s has 32", in.Opcode(), what, base.R.Name)
		}
	case Imm:
		if b.Space == NoSpace || b.Space == Global {
			c.errorf(in.Pos, "the address %d of %s is a constant; a register or a variable is expected", int64(base.Bits), in.Opcode())
		}
	case Sym:
		d := c.find(i, base.Name)
		v, ok := d.(*Var)
		if !ok {
			if d == nil {
				c.errorf(in.Pos, "%s in %s is not defined; a variable or a register that is declared is expected", base.Name, in.Opcode())
			} else {
				c.errorf(in.Pos, "%s in %s is no variable", base.Name, in.Opcode())
			}
			return
		}
		if b.Space != NoSpace && !spaceHolds(b.Space, v.Space) {
			c.errorf(in.Pos, "%s accesses .%s, but %s is in .%s", in.Opcode(), b.Space, v.Name, v.Space)
			return
		}
		c.bounds(in, v, base.Offset+m.Offset)
	}
}

// bounds checks a constant address against its variable.
func (c *checker) bounds(in *Instr, v *Var, offset int64) {
	n := int64(accessBytes(in))
	if n == 0 {
		return
	}
	if size := int64(v.Size()); len(v.Dims) == 0 || v.Dims[0] != Unsized {
		if offset < 0 || offset+n > size {
			c.errorf(in.Pos, "%s accesses bytes %d to %d of %s, which has %d", in.Opcode(), offset, offset+n-1, v.Name, size)
			return
		}
	}
	if a := int64(v.Alignment()); a%n == 0 && offset%n != 0 {
		c.errorf(in.Pos, "%s at %s%+d is misaligned: its address must be a multiple of %d", in.Opcode(), v.Name, offset, n)
	}
}

// spaceHolds reports whether an access to space s may touch a variable of space v.
func spaceHolds(s, v Space) bool {
	switch s {
	case Shared, SharedCTA, SharedCluster:
		return v == Shared || v == SharedCTA || v == SharedCluster
	case Param, ParamEntry, ParamFunc:
		return v == Param
	}
	return s == v
}

func (c *checker) call(i int, in *Instr) {
	args := in.Args
	var rets, params List
	hasRets := false
	if l, ok := args[0].(List); ok {
		rets, args, hasRets = l, args[1:], true
	}
	target := args[0]
	args = args[1:]
	if len(args) > 0 {
		if l, ok := args[0].(List); ok {
			params, args = l, args[1:]
		}
	}
	var proto *Func
	if s, ok := target.(Sym); ok {
		switch d := c.find(i, s.Name).(type) {
		case *Func:
			proto = d
			if d.Entry {
				c.errorf(in.Pos, "call of %s, which is an .entry", s.Name)
			}
		default:
			c.errorf(in.Pos, "call of %s, which is no function of this module; declare it with .func or .extern .func", s.Name)
			return
		}
	} else if len(args) > 0 {
		s := args[0].(Sym)
		switch d := c.find(i, s.Name).(type) {
		case *CallPrototype:
			proto = d.Proto
		case *CallTargets:
			for _, name := range d.Funcs {
				f, ok := c.names[name].(*Func)
				if !ok {
					c.errorf(d.Pos, "%s in .calltargets is no function of this module", name)
					continue
				}
				proto = f
			}
		case *Var: // a table of functions
		default:
			c.errorf(in.Pos, "%s is neither a .callprototype nor a .calltargets", s.Name)
		}
	}
	for _, l := range []List{rets, params} {
		for _, o := range l {
			if s, ok := o.(Sym); ok {
				if v, ok := c.find(i, s.Name).(*Var); !ok || v.Space != Param {
					c.errorf(in.Pos, "%s is passed to a call but is no variable in .param", s.Name)
				}
			}
		}
	}
	if proto == nil {
		return
	}
	variadic := len(proto.Params) > 0 && slices.Equal(proto.Params[len(proto.Params)-1].Dims, []int{Unsized})
	if len(params) != len(proto.Params) && !(variadic && len(params) >= len(proto.Params)-1) {
		c.errorf(in.Pos, "the call passes %d arguments, the function takes %d", len(params), len(proto.Params))
	}
	if len(rets) != len(proto.Returns) && (hasRets || len(proto.Returns) > 0) {
		c.errorf(in.Pos, "the call takes %d results, the function returns %d", len(rets), len(proto.Returns))
	}
}

// rangeRule bounds a constant operand.
type rangeRule struct {
	op       string // mnemonic
	mod      string // a modifier that must be there, or ""
	arg      string
	min, max int64
	multiple int64 // 0: any
}

var rangeRules = []rangeRule{
	{"bar", "", "a", 0, 15, 0},
	{"barrier", "", "a", 0, 15, 0},
	{"bar", "", "b", 32, 1024, 32},
	{"barrier", "", "b", 32, 1024, 32},
	{"lop3", "", "lut", 0, 255, 0},
	{"setmaxnreg", "", "imm_reg_count", 24, 256, 8},
	{"cp", "cg", "cp_size", 16, 16, 0},
	{"cp", "wait_group", "n", 0, 1 << 30, 0},
	{"wgmma", "wait_group", "n", 0, 7, 0},
	{"cp", "bulk", "size", 16, 1<<20 - 16, 16},
	{"mbarrier", "init", "count", 1, 1<<20 - 1, 0},
	{"mbarrier", "", "tx_count", 0, 1<<20 - 1, 0},
	{"mbarrier", "parity", "phaseParity", 0, 1, 0},
	{"applypriority", "", "size", 128, 128, 0},
	{"discard", "", "size", 128, 128, 0},
	{"fence", "proxy", "size", 128, 128, 0},
	{"tensormap", "cp_fenceproxy", "size", 128, 128, 0},
	{"wgmma", "mma_async", "imm_trans_a", 0, 1, 0},
	{"wgmma", "mma_async", "imm_trans_b", 0, 1, 0},
	{"pmevent", "", "a", 0, 1<<16 - 1, 0},
	{"mma", "", "f", 0, 3, 0},
}

func (c *checker) constants(in *Instr) {
	var bound []Binding
	value := func(name string) (int64, bool) {
		if bound == nil {
			bound = in.Bindings()
		}
		for _, b := range bound {
			if i, ok := b.Op.(Imm); ok && b.Arg.Name == name && i.Kind <= ImmUint {
				return int64(i.Bits), true
			}
		}
		return 0, false
	}
	for _, r := range rangeRules {
		if r.op != in.Op || r.mod != "" && !slices.Contains(in.Mods, r.mod) {
			continue
		}
		v, ok := value(r.arg)
		if !ok {
			continue
		}
		switch {
		case (v < r.min || v > r.max) && r.min == r.max:
			c.errorf(in.Pos, "%s: %s is %d, it must be %d", in.Opcode(), r.arg, v, r.min)
		case v < r.min || v > r.max:
			c.errorf(in.Pos, "%s: %s is %d, from %d to %d is possible", in.Opcode(), r.arg, v, r.min, r.max)
		case r.multiple > 0 && v%r.multiple != 0:
			c.errorf(in.Pos, "%s: %s is %d, a multiple of %d is expected", in.Opcode(), r.arg, v, r.multiple)
		}
	}
	switch {
	case in.Op == "cp" && in.Has("ca"):
		if v, ok := value("cp_size"); ok && v != 4 && v != 8 && v != 16 {
			c.errorf(in.Pos, "%s: cp_size is %d; 4, 8 or 16 is possible", in.Opcode(), v)
		}
	case in.Op == "mbarrier" && in.Space("space") == SharedCluster && len(in.Args) > 1:
		if _, ok := in.Args[0].(Sink); !ok && !in.Has("expect_tx") || !ok && len(in.Args) > 2 {
			c.errorf(in.Pos, "%s: a barrier of another block returns no state; _ is expected", in.Opcode())
		}
	case in.Op == "wgmma":
		for _, name := range [...]string{"imm_scale_a", "imm_scale_b"} {
			if v, ok := value(name); ok && v != 1 && v != -1 {
				c.errorf(in.Pos, "%s: %s is %d; 1 or -1 is possible", in.Opcode(), name, v)
			}
		}
	}
	if n, ok := value("cp_size"); ok {
		if v, ok := value("src_size"); ok && v > n {
			c.errorf(in.Pos, "%s: src_size %d is more than cp_size %d", in.Opcode(), v, n)
		}
	}
}
