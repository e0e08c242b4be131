// Package mutate plants small defects in kernels, one at a time, to ask whether the
// tests and the sanitiser would notice: a barrier or wait left out or moved, an index or
// stride off by one, another mask, phase, stage count, operand order, predicate or
// width. It works on the intermediate form alone and runs nothing: that is the caller's
// part. It imports ptx only.
package mutate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/ptx"
)

// A Mutant is a module with one planted defect.
type Mutant struct {
	Kind   string // what was planted: "drop barrier", "index off by one"
	Kernel string
	Line   string // of Go that emitted the instruction: "mma.go:71"
	Before string // the instruction as it was
	After  string // and as it is; empty if it is gone
	Index  int    // of the instruction among the kernel's, from 0

	module *ptx.Module
	fn     *ptx.Func
	block  []int // path of indices to the block of the instruction
	at     int
	stmts  []ptx.Stmt // what stands there instead
	move   int        // 0, or where the instruction goes, relative to its place
}

// ID names the mutant within its module, for lists and seeds.
func (m *Mutant) ID() string {
	return fmt.Sprintf("%s %s: %s: %s => %s", m.Kernel, m.Line, m.Kind, m.Before, m.After)
}

// Module is the module with the defect. The original is not touched.
func (m *Mutant) Module() *ptx.Module {
	mod := *m.module
	mod.Decls = slices.Clone(mod.Decls)
	for i, d := range mod.Decls {
		if d == ptx.Decl(m.fn) {
			f := *m.fn
			f.Body = m.rebuild(f.Body, m.block)
			mod.Decls[i] = &f
		}
	}
	return &mod
}

func (m *Mutant) rebuild(b *ptx.Block, path []int) *ptx.Block {
	c := *b
	c.Stmts = slices.Clone(b.Stmts)
	switch {
	case len(path) > 0:
		c.Stmts[path[0]] = m.rebuild(c.Stmts[path[0]].(*ptx.Block), path[1:])
	case m.move > 0:
		s := c.Stmts[m.at]
		copy(c.Stmts[m.at:], c.Stmts[m.at+1:m.at+m.move+1])
		c.Stmts[m.at+m.move] = s
	case m.move < 0:
		s := c.Stmts[m.at]
		copy(c.Stmts[m.at+m.move+1:m.at+1], c.Stmts[m.at+m.move:m.at])
		c.Stmts[m.at+m.move] = s
	default:
		c.Stmts = slices.Replace(c.Stmts, m.at, m.at+1, m.stmts...)
	}
	return &c
}

// All lists the mutants of a module, in the order of its text.
func All(m *ptx.Module) []*Mutant {
	var all []*Mutant
	for _, d := range m.Decls {
		f, ok := d.(*ptx.Func)
		if !ok || f.Body == nil {
			continue
		}
		index := -1
		uses := usesOf(f)
		walk(f.Body, nil, func(b *ptx.Block, path []int, at int, in *ptx.Instr) {
			index++
			s := site{b: b, at: at, in: in, index: index, uses: uses, add: func(mu Mutant) {
				mu.module, mu.fn, mu.block, mu.at = m, f, path, at
				mu.Kernel, mu.Line, mu.Before, mu.Index = f.Name, in.Pos.GoLine(), in.String(), index
				if mu.Line == "" {
					mu.Line = fmt.Sprintf("line %d", in.Pos.Line)
				}
				for _, st := range mu.stmts {
					if x, ok := st.(*ptx.Instr); ok {
						mu.After = x.String()
					}
				}
				if mu.move != 0 {
					mu.After = fmt.Sprintf("moved by %+d", mu.move)
				}
				if mu.After != mu.Before { // as where a number becomes 0 that is 0
					all = append(all, &mu)
				}
			}}
			for _, op := range operators {
				op(&s)
			}
		})
	}
	return all
}

func walk(b *ptx.Block, path []int, f func(*ptx.Block, []int, int, *ptx.Instr)) {
	for i, s := range b.Stmts {
		switch s := s.(type) {
		case *ptx.Instr:
			f(b, path, i, s)
		case *ptx.Block:
			walk(s, append(slices.Clone(path), i), f)
		}
	}
}

// site is an instruction to plant defects at.
type site struct {
	b     *ptx.Block
	at    int
	in    *ptx.Instr
	index int // among the function's
	uses  map[string][]int
	add   func(Mutant)
}

var register = regexp.MustCompile(`%[A-Za-z_]+[0-9]+`)

// usesOf lists by register the instructions of a function that name it.
func usesOf(f *ptx.Func) map[string][]int {
	uses := map[string][]int{}
	i := -1
	walk(f.Body, nil, func(_ *ptx.Block, _ []int, _ int, in *ptx.Instr) {
		i++
		for _, r := range register.FindAllString(in.String(), -1) {
			if l := uses[r]; len(l) == 0 || l[len(l)-1] != i {
				uses[r] = append(l, i)
			}
		}
	})
	return uses
}

// change plants a copy of the instruction that f has edited. The copy has its own
// modifiers and operands; those inside of vectors and addresses are shared.
func (s *site) change(kind string, f func(in *ptx.Instr)) {
	c := &ptx.Instr{Guard: s.in.Guard, Op: s.in.Op, Mods: slices.Clone(s.in.Mods), Args: slices.Clone(s.in.Args), Pos: s.in.Pos}
	f(c)
	s.add(Mutant{Kind: kind, stmts: []ptx.Stmt{c}})
}

func (s *site) drop(kind string) { s.add(Mutant{Kind: kind}) }

// setArg plants another operand.
func (s *site) setArg(kind string, i int, o ptx.Operand) {
	s.change(kind, func(in *ptx.Instr) { in.Args[i] = o })
}

func (s *site) has(mods ...string) bool {
	for _, m := range mods {
		if !slices.Contains(s.in.Mods, m) {
			return false
		}
	}
	return true
}

func (s *site) typ() string {
	if len(s.in.Mods) == 0 {
		return ""
	}
	return s.in.Mods[len(s.in.Mods)-1]
}

func imm(o ptx.Operand) (int64, bool) {
	i, ok := o.(ptx.Imm)
	return int64(i.Bits), ok && (i.Kind == ptx.ImmInt || i.Kind == ptx.ImmUint)
}

func immOf(v int64) ptx.Imm { return ptx.Imm{Kind: ptx.ImmInt, Bits: uint64(v)} }

// synchronises names what an instruction waits for or orders, "" if it does not.
func synchronises(in *ptx.Instr) string {
	mods := strings.Join(in.Mods, ".")
	switch in.Op {
	case "bar", "barrier":
		return "barrier"
	case "fence", "membar":
		return "fence"
	case "mbarrier":
		switch in.Mods[0] {
		case "init":
			return "mbarrier.init"
		case "arrive", "expect_tx", "arrive_drop":
			return "arrival"
		case "inval":
			return ""
		}
		return "wait"
	case "cp":
		switch {
		case strings.Contains(mods, "commit_group"):
			return "commit"
		case strings.Contains(mods, "wait_"):
			return "wait"
		case strings.Contains(mods, "mbarrier.arrive"):
			return "arrival"
		}
	case "wgmma":
		switch in.Mods[0] {
		case "fence":
			return "fence"
		case "commit_group":
			return "commit"
		case "wait_group":
			return "wait"
		}
	}
	return ""
}

// touches reports whether moving synchronisation past an instruction can matter.
func touches(in *ptx.Instr) bool {
	if synchronises(in) != "" {
		return true
	}
	switch in.Op {
	case "ld":
		return in.Mods[0] != "param"
	case "st", "atom", "red", "cp", "ldmatrix", "stmatrix", "wgmma", "mma":
		return true
	}
	return false
}
