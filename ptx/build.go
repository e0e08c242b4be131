package ptx

import (
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// ModuleBuilder collects the kernels, device functions and variables of a module
// that is written in Go.
type ModuleBuilder struct {
	m        *Module
	builders []*Builder
	names    map[string]bool
}

// NewModule starts a module for a target, as sm_80 or sm_90a. Its .version is the
// lowest that its instructions need.
func NewModule(target Target) *ModuleBuilder {
	return &ModuleBuilder{m: &Module{Target: target, AddrSize: 64}, names: map[string]bool{}}
}

// Target is the one given to NewModule.
func (m *ModuleBuilder) Target() Target { return m.m.Target }

func (m *ModuleBuilder) declare(name string) {
	if m.names[name] {
		panic(fmt.Sprintf("ptx: %s: the module already has a %q", authorLine(), name))
	}
	m.names[name] = true
}

// Entry starts a kernel.
func (m *ModuleBuilder) Entry(name string) *Builder {
	return m.start(&Func{Name: name, Entry: true, Linkage: Visible})
}

// Func starts a device function: Param methods declare its parameters, Return its
// results. See Call.
func (m *ModuleBuilder) Func(name string) *Builder {
	return m.start(&Func{Name: name})
}

func (m *ModuleBuilder) start(f *Func) *Builder {
	m.declare(f.Name)
	f.Body = &Block{}
	f.Pos = Pos{PC: authorPC()}
	k := &Builder{mod: m, f: f, cur: f.Body, count: map[string]int{}}
	m.m.Decls = append(m.m.Decls, f)
	m.builders = append(m.builders, k)
	return k
}

// Module finishes the module. The builders may not be used afterwards.
func (m *ModuleBuilder) Module() *Module {
	for _, k := range m.builders {
		k.finish()
		k.f.Body.resolve()
	}
	return m.m
}

// A Builder writes the body of a kernel or of a device function. Its methods named
// after instructions emit one, in the builder's current place; other helpers emit
// several and say so. Go loops unroll, Go functions are macros: whoever writes
//
//	y := k.FmaRnF32(x, w, bias)
//
// has emitted fma.rn.f32 into a new register y. The form k.FmaRnF32To(acc, x, w, acc)
// writes a register that exists, which is how loops carry values. Each instruction
// remembers the Go line outside of this package that asked for it.
//
// What does not compile in Go panics where it is written, with the instruction and
// the operand: a constant that does not fit, a register of another kernel or none.
type Builder struct {
	mod     *ModuleBuilder
	f       *Func
	cur     *Block
	regs    []*Register
	count   map[string]int // registers by prefix, labels by stem
	guard   Guard
	loops   []loop
	done    bool
	dynamic *SharedLayout
}

// Name is the kernel's or function's.
func (k *Builder) Name() string { return k.f.Name }

// Target is the module's.
func (k *Builder) Target() Target { return k.mod.m.Target }

func (k *Builder) newReg(t Type) reg {
	prefix, decl := declared(t)
	k.count[prefix]++
	r := &Register{Name: fmt.Sprintf("%s%d", prefix, k.count[prefix]), Type: decl, ID: len(k.regs)}
	k.regs = append(k.regs, r)
	return reg{r: r, k: k}
}

// finish declares the registers and numbers them in the order of the text.
func (k *Builder) finish() {
	if k.done {
		return
	}
	k.done = true
	if k.guard.Reg != nil || len(k.loops) > 0 {
		panic(fmt.Sprintf("ptx: %s: Module called inside a Guard or a loop", k.f.Name))
	}
	k.cur = k.f.Body
	if n := len(k.f.Body.Stmts); n == 0 || !isReturn(k.f.Body.Stmts[n-1]) {
		k.f.Body.Stmts = append(k.f.Body.Stmts, &Instr{Op: "ret", Pos: k.f.Pos})
	}
	var decls []Stmt
	for _, p := range slices.Sorted(mapKeys(k.count)) {
		if p[0] == '%' {
			_, t := prefixType(p)
			decls = append(decls, &RegDecl{Type: t, Names: []RegName{{Name: p, Count: k.count[p] + 1}}, Pos: k.f.Pos})
		}
	}
	k.f.Body.Stmts = append(decls, k.f.Body.Stmts...)
	k.f.Regs = nil
	number := func(r *Register) {
		if r != nil && (r.ID >= len(k.f.Regs) || k.f.Regs[r.ID] != r) {
			r.ID = len(k.f.Regs)
			k.f.Regs = append(k.f.Regs, r)
		}
	}
	eachInstr(k.f.Body, func(in *Instr) {
		number(in.Guard.Reg)
		for _, a := range in.Args {
			eachReg(a, number)
		}
	})
}

func eachInstr(b *Block, f func(*Instr)) {
	for _, s := range b.Stmts {
		switch s := s.(type) {
		case *Instr:
			f(s)
		case *Block:
			eachInstr(s, f)
		}
	}
}

func mapKeys(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func prefixType(p string) (string, Type) {
	switch p {
	case "%p":
		return p, Pred
	case "%h", "%rs":
		return p, B16
	case "%f", "%r":
		return p, B32
	case "%rq":
		return p, B128
	}
	return p, B64
}

func isReturn(s Stmt) bool {
	in, ok := s.(*Instr)
	return ok && in.Guard.Reg == nil && (in.Op == "ret" || in.Op == "exit" || in.Op == "trap")
}

// eachReg calls f for every register that an operand mentions, in order.
func eachReg(o Operand, f func(*Register)) {
	switch o := o.(type) {
	case Reg:
		f(o.R)
	case Mem:
		if o.Base != nil {
			eachReg(o.Base, f)
		}
		for _, c := range o.Coords {
			eachReg(c, f)
		}
	case Vec:
		for _, x := range o {
			eachReg(x, f)
		}
	case List:
		for _, x := range o {
			eachReg(x, f)
		}
	case Pair:
		eachReg(o.A, f)
		eachReg(o.B, f)
	case Not:
		eachReg(o.X, f)
	case Neg:
		eachReg(o.X, f)
	}
}

// Emit appends an instruction by its name, "ex2.approx.ftz.f32", with any operands
// of the intermediate form: for what has no typed method.
func (k *Builder) Emit(op string, args ...Operand) { k.emit(op, args...) }

func (k *Builder) emit(op string, args ...Operand) *Instr {
	name, rest, _ := strings.Cut(op, ".")
	in := &Instr{Guard: k.guard, Op: name, Args: args, Pos: Pos{PC: authorPC()}}
	if rest != "" {
		in.Mods = strings.Split(rest, ".")
	}
	if k.done {
		panic(fmt.Sprintf("ptx: %s: %s: the module of %s is finished", authorLine(), op, k.f.Name))
	}
	for i, a := range args {
		if why := k.bad(a); why != "" {
			panic(fmt.Sprintf("ptx: %s: %s: operand %d: %s", authorLine(), op, i+1, why))
		}
	}
	if err := in.Resolve(); err != nil {
		panic(fmt.Sprintf("ptx: %s: %v", authorLine(), err))
	}
	k.cur.Stmts = append(k.cur.Stmts, in)
	return in
}

// bad says what is wrong with an operand whatever the instruction, "" for nothing.
func (k *Builder) bad(a Operand) string {
	if a == nil {
		return "missing"
	}
	why := ""
	eachReg(a, func(r *Register) {
		switch {
		case r == nil:
			why = "a register that was never made (the zero value of its Go type)"
		case r.ID >= len(k.regs) || k.regs[r.ID] != r:
			why = fmt.Sprintf("register %s belongs to another kernel than %s", r.Name, k.f.Name)
		}
	})
	return why
}

// put emits an instruction on typed operands. Constants are fitted to t, the type that
// the instruction reads its operands as.
func (k *Builder) put(op string, t Type, args ...AnyOperand) *Instr {
	ops := make([]Operand, len(args))
	for i, a := range args {
		ops[i] = k.fit(op, i, t, a)
	}
	return k.emit(op, ops...)
}

// fit turns an operand into that of the intermediate form.
func (k *Builder) fit(op string, i int, t Type, a AnyOperand) Operand {
	if a == nil {
		panic(fmt.Sprintf("ptx: %s: %s: operand %d: missing", authorLine(), op, i+1))
	}
	switch c := a.(type) {
	case I:
		bits := t.Bits()
		if t == Pred || bits == 0 {
			bits = 32
		}
		if bits < 64 && (int64(c) >= 1<<bits || int64(c) < -1<<(bits-1)) {
			panic(fmt.Sprintf("ptx: %s: %s: operand %d: %d does not fit %d bits", authorLine(), op, i+1, int64(c), bits))
		}
	case F:
		if t == F32 {
			return Imm{Kind: ImmF32, Bits: uint64(math.Float32bits(float32(c)))}
		}
	}
	return a.op()
}

// fail panics at the author's line.
func (k *Builder) fail(what, format string, args ...any) {
	panic(fmt.Sprintf("ptx: %s: %s: %s", authorLine(), what, fmt.Sprintf(format, args...)))
}

// newLabel is a unique one that says what it is for: the text has no comments.
func (k *Builder) newLabel(stem string) string {
	k.count[stem]++
	return fmt.Sprintf("$%s_%d", stem, k.count[stem])
}

func (k *Builder) label(name string) {
	if k.guard.Reg != nil {
		k.fail(name, "control flow inside Guard; use If")
	}
	k.cur.Stmts = append(k.cur.Stmts, &Label{Name: name, Pos: Pos{PC: authorPC()}})
}

// ownFrame caches whether a return address lies in this package (tests excepted).
var ownFrame sync.Map // uintptr → bool

const ownPrefix = "github.com/selkie-ml/selkie/ptx."

func inThisPackage(pc uintptr) bool {
	if own, ok := ownFrame.Load(pc); ok {
		return own.(bool)
	}
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	own := strings.HasPrefix(f.Function, ownPrefix) && !strings.HasSuffix(f.File, "_test.go")
	ownFrame.Store(pc, own)
	return own
}

// authorPC is the return address of the nearest frame outside of this package: the
// line of the kernel's author, or of the macro's.
func authorPC() uintptr {
	for skip := 2; ; {
		var pcs [4]uintptr // it is near, as a rule
		n := runtime.Callers(skip, pcs[:])
		for _, pc := range pcs[:n] {
			if !inThisPackage(pc) {
				return pc
			}
		}
		if n < len(pcs) {
			return 0
		}
		skip += n
	}
}

func authorLine() string {
	pc := authorPC()
	if pc == 0 {
		return "?"
	}
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
}
