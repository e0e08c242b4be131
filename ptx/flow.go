package ptx

import "fmt"

// Flow is the control-flow graph of a function. Its instructions are numbered in the
// order of the text, over all nested scopes.
type Flow struct {
	Func    *Func
	Instrs  []*Instr
	Blocks  []BasicBlock
	BlockOf []int // the block of each instruction

	scopes  []flowScope
	scopeOf []int   // the scope of each instruction
	targets [][]int // of branches: instruction numbers, len(Instrs) for the end
}

// BasicBlock is a run of instructions entered at the first and left at the last.
type BasicBlock struct {
	Start, End int   // instructions Start ≤ i < End
	Succ, Pred []int // blocks; Exit of the Flow is no block
	Exits      bool  // may leave the function: ret, exit, trap or the closing brace
}

type flowScope struct {
	up    int // -1 for the outermost
	names map[string]flowName
}

type flowName struct {
	def   any // *Label, *Var, *BranchTargets, *CallTargets, *CallPrototype
	instr int // of a label: the next instruction
	pos   Pos
}

// NewFlow builds the graph of a function with a body. The error is an ErrorList of
// labels that are undefined or defined twice.
func NewFlow(f *Func) (*Flow, error) {
	fl := &Flow{Func: f}
	var errs ErrorList
	if f.Body == nil {
		return nil, &Error{Pos: f.Pos, Msg: fmt.Sprintf("function %s has no body", f.Name)}
	}
	outer := fl.newScope(-1)
	for _, v := range append(append([]*Var(nil), f.Returns...), f.Params...) {
		if v.Name != "_" {
			fl.define(&errs, outer, v.Name, v, v.Pos)
		}
	}
	fl.collect(&errs, f.Body, outer)
	fl.findTargets(&errs)
	if len(errs) > 0 {
		return nil, errs
	}
	fl.split()
	return fl, nil
}

func (fl *Flow) newScope(up int) int {
	fl.scopes = append(fl.scopes, flowScope{up: up, names: map[string]flowName{}})
	return len(fl.scopes) - 1
}

func (fl *Flow) define(errs *ErrorList, scope int, name string, def any, pos Pos) {
	if old, ok := fl.scopes[scope].names[name]; ok {
		where := ""
		if s := old.pos.String(); s != "" {
			where = ", first on " + s
		}
		*errs = append(*errs, &Error{Pos: pos, Msg: fmt.Sprintf("%s is defined twice in this scope%s", name, where)})
		return
	}
	fl.scopes[scope].names[name] = flowName{def, len(fl.Instrs), pos}
}

func (fl *Flow) collect(errs *ErrorList, b *Block, scope int) {
	for _, s := range b.Stmts {
		switch s := s.(type) {
		case *Instr:
			fl.Instrs = append(fl.Instrs, s)
			fl.scopeOf = append(fl.scopeOf, scope)
		case *Label:
			fl.define(errs, scope, s.Name, s, s.Pos)
		case *Var:
			fl.define(errs, scope, s.Name, s, s.Pos)
		case *BranchTargets:
			fl.define(errs, scope, s.Name, s, s.Pos)
		case *CallTargets:
			fl.define(errs, scope, s.Name, s, s.Pos)
		case *CallPrototype:
			fl.define(errs, scope, s.Name, s, s.Pos)
		case *Block:
			fl.collect(errs, s, fl.newScope(scope))
		}
	}
}

func (fl *Flow) lookup(scope int, name string) (flowName, bool) {
	for ; scope >= 0; scope = fl.scopes[scope].up {
		if n, ok := fl.scopes[scope].names[name]; ok {
			return n, true
		}
	}
	return flowName{}, false
}

// Lookup finds what a name in instruction i means inside the function: a *Label, *Var,
// *BranchTargets, *CallTargets or *CallPrototype; nil if it is none of the function's.
func (fl *Flow) Lookup(i int, name string) any {
	n, _ := fl.lookup(fl.scopeOf[i], name)
	return n.def
}

func (fl *Flow) findTargets(errs *ErrorList) {
	fl.targets = make([][]int, len(fl.Instrs))
	for i, in := range fl.Instrs {
		if in.Op != "bra" && in.Op != "brx" || len(in.Args) == 0 {
			continue
		}
		s, ok := in.Args[len(in.Args)-1].(Sym)
		if !ok {
			continue
		}
		labels := []string{s.Name}
		scope := fl.scopeOf[i]
		pos := in.Pos
		if in.Op == "brx" {
			n, _ := fl.lookup(scope, s.Name)
			t, ok := n.def.(*BranchTargets)
			if !ok {
				*errs = append(*errs, &Error{Pos: pos, Msg: fmt.Sprintf("%s is no .branchtargets of this function", s.Name)})
				continue
			}
			labels, pos = t.Labels, t.Pos
		}
		for _, l := range labels {
			n, _ := fl.lookup(scope, l)
			if _, ok := n.def.(*Label); !ok {
				*errs = append(*errs, &Error{Pos: pos, Msg: fmt.Sprintf("label %s is not defined in this scope or around it", l)})
				continue
			}
			fl.targets[i] = append(fl.targets[i], n.instr)
		}
	}
}

// Targets lists where the branch at instruction i may jump, in the order of its
// .branchtargets: instruction numbers, len(Instrs) for the closing brace. It is nil for
// other instructions.
func (fl *Flow) Targets(i int) []int { return fl.targets[i] }

// ends reports whether control never goes from the instruction to the next one.
func (in *Instr) ends() bool {
	if in.Guard.Reg != nil {
		return false
	}
	switch in.Op {
	case "bra", "brx", "ret", "exit", "trap":
		return true
	}
	return false
}

// leaves reports whether the instruction may leave the function.
func (in *Instr) leaves() bool { return in.Op == "ret" || in.Op == "exit" || in.Op == "trap" }

func (fl *Flow) split() {
	n := len(fl.Instrs)
	leader := make([]bool, n+1)
	leader[0] = true
	for i, in := range fl.Instrs {
		for _, t := range fl.targets[i] {
			leader[t] = true
		}
		if fl.targets[i] != nil || in.leaves() {
			leader[i+1] = true
		}
	}
	fl.BlockOf = make([]int, n)
	for i := range n {
		if leader[i] {
			fl.Blocks = append(fl.Blocks, BasicBlock{Start: i})
		}
		b := len(fl.Blocks) - 1
		fl.BlockOf[i] = b
		fl.Blocks[b].End = i + 1
	}
	for b := range fl.Blocks {
		last := fl.Blocks[b].End - 1
		in := fl.Instrs[last]
		for _, t := range fl.targets[last] {
			fl.edge(b, t)
		}
		if in.leaves() {
			fl.Blocks[b].Exits = true
		}
		if !in.ends() {
			fl.edge(b, last+1)
		}
	}
}

func (fl *Flow) edge(from, instr int) {
	if instr == len(fl.Instrs) {
		fl.Blocks[from].Exits = true
		return
	}
	to := fl.BlockOf[instr]
	for _, s := range fl.Blocks[from].Succ {
		if s == to {
			return
		}
	}
	fl.Blocks[from].Succ = append(fl.Blocks[from].Succ, to)
	fl.Blocks[to].Pred = append(fl.Blocks[to].Pred, from)
}

// PostDominators gives the immediate post-dominator of each block: the first block
// that every path from its end to the exit passes, where threads that diverged can
// meet again. It is -1 where that is the exit, or where no path leads to the exit.
func (fl *Flow) PostDominators() []int {
	n := len(fl.Blocks)
	exit := n
	// Postorder over the reversed graph, from the exit.
	order := make([]int, n+1) // number of each node; 0: not reached
	var seq []int
	preds := func(v int) []int { return fl.Blocks[v].Pred }
	type frame struct{ node, next int }
	var exits []int
	for b := range fl.Blocks {
		if fl.Blocks[b].Exits {
			exits = append(exits, b)
		}
	}
	seen := make([]bool, n+1)
	stack := []frame{{exit, 0}}
	seen[exit] = true
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		next := exits
		if top.node != exit {
			next = preds(top.node)
		}
		if top.next < len(next) {
			v := next[top.next]
			top.next++
			if !seen[v] {
				seen[v] = true
				stack = append(stack, frame{v, 0})
			}
			continue
		}
		seq = append(seq, top.node)
		order[top.node] = len(seq)
		stack = stack[:len(stack)-1]
	}
	ipdom := make([]int, n+1)
	for i := range ipdom {
		ipdom[i] = -1
	}
	ipdom[exit] = exit
	meet := func(a, b int) int {
		for a != b {
			for order[a] < order[b] {
				a = ipdom[a]
			}
			for order[b] < order[a] {
				b = ipdom[b]
			}
		}
		return a
	}
	for changed := true; changed; {
		changed = false
		for i := len(seq) - 2; i >= 0; i-- {
			v := seq[i]
			d := -1
			if fl.Blocks[v].Exits {
				d = exit
			}
			for _, s := range fl.Blocks[v].Succ {
				if ipdom[s] >= 0 {
					if d < 0 {
						d = s
					} else {
						d = meet(d, s)
					}
				}
			}
			if d != ipdom[v] {
				ipdom[v], changed = d, true
			}
		}
	}
	for i, d := range ipdom {
		if d == exit {
			ipdom[i] = -1
		}
	}
	return ipdom[:n]
}
