package ptx

import (
	"fmt"
)

// Check says what is wrong with a module for a target and a PTX ISA version; a zero
// Target or Version stands for the module's own. It covers undefined and doubly defined
// names, types, registers that are read though no path has written them, constant
// addresses that are misaligned or out of bounds, constant operands out of range, and
// what the target or the version lacks. The error is an ErrorList, each entry with the
// line of PTX and of Go where they are known.
//
// A register that is read though only some path to the read writes it is reported as a
// Warning: compilers may leave such reads behind, where the value does not matter.
// ErrorList.Fatal drops them.
func (m *Module) Check(t Target, v Version) error {
	c := newChecker(m, t, v)
	c.module()
	return c.errs.err()
}

type checker struct {
	m       *Module
	target  Target
	version Version
	errs    ErrorList
	names   map[string]any // of the module: *Var or *Func
	fn      *Func
	flow    *Flow
}

func newChecker(m *Module, t Target, v Version) *checker {
	if t == (Target{}) {
		t = m.Target
	}
	if v == (Version{}) {
		v = m.Version
	}
	c := &checker{m: m, target: t, version: v, names: map[string]any{}}
	if v == (Version{}) { // of an assembled module: the one that Print will state
		c.version = m.LowestVersion()
	}
	return c
}

func (c *checker) errorf(pos Pos, format string, args ...any) {
	if len(c.errs) < maxErrors {
		c.errs = append(c.errs, &Error{File: c.m.File, Pos: pos, Msg: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) module() {
	c.gate()
	for _, d := range c.m.Decls {
		switch d := d.(type) {
		case *Var:
			c.declare(d.Name, d, d.Pos)
			c.variable(d)
		case *Func:
			c.declare(d.Name, d, d.Pos)
		}
	}
	for _, d := range c.m.Decls {
		switch d := d.(type) {
		case *Var:
			c.initialiser(d)
		case *Directive:
			if d.Name == "alias" && len(d.Text) == 2 {
				if _, ok := c.names[d.Text[1]].(*Func); !ok {
					c.errorf(d.Pos, ".alias of %s, which is no function of this module", d.Text[1])
				}
				c.declare(d.Text[0], c.names[d.Text[1]], d.Pos)
			}
		}
	}
	for _, d := range c.m.Decls {
		if f, ok := d.(*Func); ok {
			c.function(f)
		}
	}
}

// gate compares what the module needs with target and version.
func (c *checker) gate() {
	low, ok := c.target.MinVersion()
	switch {
	case !ok:
		c.errorf(Pos{}, "unknown target %s", c.target)
		return
	case c.version.Less(low):
		c.errorf(Pos{}, "target %s needs PTX ISA %s, the module states .version %s", c.target, low, c.version)
	}
	if c.target != c.m.Target && c.m.Target.Class != 0 && c.target != (Target{c.m.Target.SM, c.m.Target.Class}) {
		c.errorf(Pos{}, "the module is for %s alone and cannot run on %s", c.m.Target, c.target)
	}
	c.m.needs(func(r Req, pos Pos, what string) {
		v, ok := r.version(c.target)
		if !ok {
			hint := ""
			if len(r.Arch) > 0 && c.target.Class == 0 {
				hint = fmt.Sprintf("; a target with a or f gives up running on other architectures, %s has the features of all", c.target)
				for _, a := range r.Arch {
					if a.Target.SM == c.target.SM {
						hint = fmt.Sprintf("; state .target %s, which runs on no other architecture", a.Target)
					}
				}
			}
			c.errorf(pos, "%s needs %s, the target is %s%s", what, r.targets(), c.target, hint)
		} else if c.version.Less(v) {
			c.errorf(pos, "%s needs PTX ISA %s, the module states .version %s", what, v, c.version)
		}
	})
}

// declare adds a name of the module. A function or a variable may be declared before it
// is defined.
func (c *checker) declare(name string, def any, pos Pos) {
	old, ok := c.names[name]
	if !ok {
		c.names[name] = def
		return
	}
	switch d := def.(type) {
	case *Func:
		if o, ok := old.(*Func); ok {
			if o.Body != nil && d.Body != nil {
				break
			}
			if o.Entry != d.Entry || len(o.Params) != len(d.Params) || len(o.Returns) != len(d.Returns) {
				c.errorf(pos, "%s is declared before with other parameters, %s", name, o.Pos)
				return
			}
			if d.Body != nil {
				c.names[name] = d
			}
			return
		}
	case *Var:
		if o, ok := old.(*Var); ok && (o.Linkage == Extern || d.Linkage == Extern || d.Linkage == Weak || d.Linkage == Common) {
			if o.Space != d.Space || o.Type != d.Type {
				c.errorf(pos, "%s is declared before as .%s .%s, %s", name, o.Space, o.Type, o.Pos)
			}
			if d.Linkage != Extern {
				c.names[name] = d
			}
			return
		}
	}
	where := ""
	switch o := old.(type) {
	case *Var:
		where = o.Pos.String()
	case *Func:
		where = o.Pos.String()
	}
	c.errorf(pos, "%s is defined twice, first on %s", name, where)
}

// Size is the bytes of the variable; an array without a size takes that of its
// initialiser, or 0.
func (v *Var) Size() int {
	n := v.Type.Size() * max(v.Vec, 1)
	for _, d := range v.Dims {
		if d == Unsized {
			d = 0
			if len(v.Init) > 0 {
				row := max(1, v.strides()[0])
				d = (v.Init[len(v.Init)-1].Index + row) / row
			}
		}
		n *= d
	}
	return n
}

// Alignment is the stated alignment in bytes, or the natural one.
func (v *Var) Alignment() int {
	if v.Align > 0 {
		return v.Align
	}
	return max(1, v.Type.Size()*max(v.Vec, 1))
}

func (c *checker) variable(v *Var) {
	if v.Type == Pred {
		c.errorf(v.Pos, "variable %s cannot be .pred; predicates are registers only", v.Name)
		return
	}
	natural := v.Type.Size() * max(v.Vec, 1)
	if v.Align > 0 && v.Align < natural && v.Align < v.Type.Size() {
		c.errorf(v.Pos, ".align %d of %s is less than the %d bytes of its type", v.Align, v.Name, v.Type.Size())
	}
	if v.Vec > 0 && v.Type.Bits()*v.Vec > 128 {
		c.errorf(v.Pos, "vector .v%d .%s of %s is longer than 128 bits", v.Vec, v.Type, v.Name)
	}
	if v.Init != nil && v.Space != Global && v.Space != Const {
		c.errorf(v.Pos, "%s in .%s cannot be initialised; only .global and .const can", v.Name, v.Space)
	}
	if len(v.Dims) > 0 && v.Dims[0] == Unsized && v.Init == nil && v.Linkage != Extern && v.Space != Param {
		c.errorf(v.Pos, "array %s has no size; .extern, a size or an initialiser is expected", v.Name)
	}
}

func (c *checker) initialiser(v *Var) {
	n := max(v.Vec, 1)
	for _, d := range v.Dims {
		n *= d // negative for an unsized array
	}
	for _, it := range v.Init {
		if n >= 0 && it.Index >= n {
			c.errorf(v.Pos, "the initialiser of %s has more than its %d elements", v.Name, n)
			return
		}
		switch val := it.Value.(type) {
		case Sym:
			if c.names[val.Name] == nil {
				c.errorf(v.Pos, "%s in the initialiser of %s is not defined", val.Name, v.Name)
			}
			if it.Mask == 0 && v.Type.Kind() != KindOpaque && v.Type.Size() < 4 {
				c.errorf(v.Pos, "the address of %s does not fit .%s of %s; 0xff(%s) takes one byte of it", val.Name, v.Type, v.Name, val.Name)
			}
		case Imm:
			if v.Type.Kind() != KindFloat && val.Kind > ImmUint && v.Type.Kind() != KindBits {
				c.errorf(v.Pos, "%s of .%s is initialised by the floating-point constant %s", v.Name, v.Type, OperandString(val))
			}
		}
	}
}

// paramBytes is the size of an entry's parameters with their alignment.
func (f *Func) paramBytes() int {
	n := 0
	for _, v := range f.Params {
		n = roundUp(n, v.Alignment()) + v.Size()
	}
	return n
}

func (c *checker) function(f *Func) {
	if size := f.paramBytes(); f.Entry && size > 32764 {
		c.errorf(f.Pos, "the parameters of %s take %d bytes; at most 32764 are possible", f.Name, size)
	}
	for _, v := range f.Params {
		if f.Entry && v.Space == RegSpace {
			c.errorf(v.Pos, "parameter %s of an .entry must be in .param", v.Name)
		}
		c.variable(v)
	}
	c.directives(f)
	if f.Body == nil {
		return
	}
	c.fn = f
	c.resolve(f.Body)
	flow, err := NewFlow(f)
	if err != nil {
		if l, ok := err.(ErrorList); ok {
			for _, e := range l {
				c.errorf(e.Pos, "%s", e.Msg)
			}
		}
		return
	}
	c.flow = flow
	c.registers(f.Body, c.paramRegisters(f))
	c.shared(f)
	for i, in := range flow.Instrs {
		if in.match != nil {
			c.instr(i, in)
		}
	}
	flow.unwritten(func(i int, r *Register, sure bool) {
		in := flow.Instrs[i]
		if sure {
			c.errorf(in.Pos, "register %s is read by %s but nothing has written it", r.Name, in.Opcode())
		} else if n := len(c.errs); n < maxErrors {
			c.errorf(in.Pos, "register %s is read by %s, but on some path nothing has written it", r.Name, in.Opcode())
			c.errs[n].Warning = true
		}
	})
}

// resolve finds the forms of instructions that have none yet. Afterwards a module is only read, so
// that several goroutines may check, print and load it. Check reports those without a form.
func (b *Block) resolve() {
	for _, s := range b.Stmts {
		switch s := s.(type) {
		case *Instr:
			if s.match == nil {
				_ = s.Resolve()
			}
		case *Block:
			s.resolve()
		}
	}
}

func (c *checker) resolve(b *Block) {
	for _, s := range b.Stmts {
		switch s := s.(type) {
		case *Instr:
			if s.match == nil {
				if err := s.Resolve(); err != nil {
					c.errorf(s.Pos, "%s", err)
				}
			}
		case *Block:
			c.resolve(s)
		case *Var:
			c.variable(s)
		}
	}
}

func (c *checker) directives(f *Func) {
	seen := map[string]*Directive{}
	for i := range f.Directives {
		d := &f.Directives[i]
		if seen[d.Name] != nil && d.Name != "pragma" {
			c.errorf(d.Pos, ".%s stands twice", d.Name)
		}
		seen[d.Name] = d
		if !f.Entry && d.Name != "noreturn" && d.Name != "pragma" && d.Name != "abi_preserve" && d.Name != "abi_preserve_control" {
			c.errorf(d.Pos, ".%s is for an .entry, %s is a .func", d.Name, f.Name)
		}
		product := int64(1)
		for _, a := range d.Args {
			if a < 1 || a > 1<<31 {
				c.errorf(d.Pos, ".%s %d is out of range", d.Name, a)
				return
			}
			product *= min(a, 1<<20)
		}
		switch d.Name {
		case "maxntid", "reqntid":
			if product > 1024 {
				c.errorf(d.Pos, ".%s asks for %d threads; a block has at most 1024", d.Name, product)
			}
		case "reqnctapercluster":
			if product > 16 {
				c.errorf(d.Pos, ".reqnctapercluster asks for %d blocks; a cluster has at most 8, or 16 where the GPU allows", product)
			}
		case "maxnreg":
			if product > 255 {
				c.errorf(d.Pos, ".maxnreg %d; a thread has at most 255 registers", product)
			}
		}
	}
	if seen["maxntid"] != nil && seen["reqntid"] != nil {
		c.errorf(f.Pos, ".maxntid and .reqntid exclude each other")
	}
	if d := seen["minnctapersm"]; d != nil && seen["maxntid"] == nil && seen["reqntid"] == nil {
		c.errorf(d.Pos, ".minnctapersm needs .maxntid or .reqntid")
	}
	if d := seen["blocksareclusters"]; d != nil && (seen["reqntid"] == nil || seen["reqnctapercluster"] == nil) {
		c.errorf(d.Pos, ".blocksareclusters needs .reqntid and .reqnctapercluster")
	}
}

// SharedBytes is the shared memory with a size that the module and the function's body
// declare, in bytes, aligned in the order of the text.
func (m *Module) SharedBytes(f *Func) int {
	n := 0
	add := func(v *Var) {
		if v.Space == Shared || v.Space == SharedCTA {
			n = roundUp(n, v.Alignment()) + v.Size()
		}
	}
	for _, d := range m.Decls {
		if v, ok := d.(*Var); ok {
			add(v)
		}
	}
	var walk func(b *Block)
	walk = func(b *Block) {
		for _, s := range b.Stmts {
			switch s := s.(type) {
			case *Var:
				add(s)
			case *Block:
				walk(s)
			}
		}
	}
	if f.Body != nil {
		walk(f.Body)
	}
	return n
}

func (c *checker) shared(f *Func) {
	if n := c.m.SharedBytes(f); f.Entry && n > StaticSharedLimit {
		c.errorf(f.Pos, "%s declares %d bytes of shared memory; at most %d can have a size, more is .extern .shared and given at launch", f.Name, n, StaticSharedLimit)
	}
}

// regScope holds the declarations of registers of a block.
type regScope struct {
	up    *regScope
	names map[string]Register // single ones and, by prefix, families
	count map[string]int
}

func (c *checker) paramRegisters(f *Func) *regScope {
	s := &regScope{names: map[string]Register{}, count: map[string]int{}}
	for _, list := range [][]*Var{f.Returns, f.Params} {
		for _, v := range list {
			if v.Space == RegSpace {
				s.names[v.Name] = Register{Type: v.Type, Vec: v.Vec}
			}
		}
	}
	return s
}

// registers checks that each register of the block's instructions is declared, in its
// scope, with its type: in an assembled module nothing has said so yet.
func (c *checker) registers(b *Block, s *regScope) {
	seen := map[*Register]bool{}
	mention := func(in *Instr) func(r *Register) {
		return func(r *Register) {
			if seen[r] {
				return
			}
			seen[r] = true
			switch d, ok := s.find(r.Name); {
			case !ok:
				c.errorf(in.Pos, "register %s is not declared", r.Name)
			case d.Type != r.Type || d.Vec != r.Vec:
				c.errorf(in.Pos, "register %s is .%s here, but declared .%s", r.Name, r.Type, d.Type)
			case r.ID >= len(c.fn.Regs) || c.fn.Regs[r.ID] != r:
				c.errorf(in.Pos, "register %s is not in the Regs of %s", r.Name, c.fn.Name)
			}
		}
	}
	for _, st := range b.Stmts {
		switch st := st.(type) {
		case *RegDecl:
			for _, n := range st.Names {
				if _, dup := s.names[n.Name]; dup && (s.count[n.Name] > 0) == (n.Count > 0) {
					c.errorf(st.Pos, "register %s is declared twice in this scope", n.Name)
				}
				s.names[n.Name] = Register{Type: st.Type, Vec: st.Vec}
				s.count[n.Name] = n.Count
			}
		case *Instr:
			f := mention(st)
			st.Registers(f, func(r *Register, _ bool) { f(r) })
		case *Block:
			c.registers(st, &regScope{up: s, names: map[string]Register{}, count: map[string]int{}})
		}
	}
}

func (s *regScope) find(name string) (Register, bool) {
	for ; s != nil; s = s.up {
		if r, ok := s.names[name]; ok && s.count[name] == 0 {
			return r, true
		}
		for i := len(name) - 1; i > 0 && class[name[i]]&isDigit != 0 && len(name)-i < 10; i-- {
			if name[i] == '0' && i+1 < len(name) {
				continue
			}
			n := 0
			for _, d := range []byte(name[i:]) {
				n = n*10 + int(d-'0')
			}
			if r, ok := s.names[name[:i]]; ok && n < s.count[name[:i]] {
				return r, true
			}
		}
	}
	return Register{}, false
}
