package mutate

import (
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/ptx"
)

// operators plant the defects, each of one family, at a site.
var operators = []func(*site){
	dropSync, moveSync, counts, index, stride, swizzle, mask, phase, order, predicate, width,
}

// dropSync leaves out a barrier, wait, fence, commit, arrival or initialisation.
func dropSync(s *site) {
	what := synchronises(s.in)
	if what == "" {
		return
	}
	if s.has("test_wait") || s.has("try_wait") {
		// The loop around it would read a predicate that nobody wrote; that the wait is
		// not waited for is the interesting defect.
		if br := s.next(); br != nil && br.Op == "bra" && br.Guard.Reg != nil {
			s.add(Mutant{Kind: "drop wait", stmts: []ptx.Stmt{
				&ptx.Instr{Op: "setp", Mods: []string{"eq", "u32"}, Args: []ptx.Operand{s.in.Args[0], immOf(0), immOf(0)}, Guard: s.in.Guard, Pos: s.in.Pos},
			}})
		}
		return
	}
	s.drop("drop " + what)
}

// next is the statement after, if it is an instruction.
func (s *site) next() *ptx.Instr {
	if s.at+1 < len(s.b.Stmts) {
		in, _ := s.b.Stmts[s.at+1].(*ptx.Instr)
		return in
	}
	return nil
}

// moveSync moves synchronisation past the nearest access before and after it, within
// its straight run of code.
func moveSync(s *site) {
	what := synchronises(s.in)
	if what == "" || s.has("try_wait") || s.has("test_wait") {
		return
	}
	for _, dir := range []int{-1, 1} {
		for n := 1; ; n++ {
			at := s.at + dir*n
			if at < 0 || at >= len(s.b.Stmts) {
				break
			}
			in, ok := s.b.Stmts[at].(*ptx.Instr)
			if !ok || in.Op == "bra" || in.Op == "ret" || in.Op == "exit" {
				break
			}
			if what == "mbarrier.init" && (in.Op == "mbarrier" || in.Op == "fence") {
				break // nobody sees the order among these
			}
			if touches(in) {
				s.add(Mutant{Kind: "move " + what, move: dir * n})
				break
			}
		}
	}
}

// counts changes how many groups a wait leaves pending, how many arrivals a barrier
// expects, how many bytes; and the number of stages that a ring counts to.
func counts(s *site) {
	last := len(s.in.Args) - 1
	if last < 0 {
		return
	}
	n, ok := imm(s.in.Args[last])
	if !ok {
		return
	}
	switch {
	case s.has("wait_group"):
		s.setArg("wait for one group fewer", last, immOf(n+1))
	case s.in.Op == "mbarrier" && s.has("init"):
		s.setArg("expect one arrival more", last, immOf(n+1))
		if n > 1 {
			s.setArg("expect one arrival fewer", last, immOf(n-1))
		}
	case s.in.Op == "mbarrier" && s.has("expect_tx"):
		s.setArg("expect more bytes", last, immOf(n+16))
		s.setArg("expect fewer bytes", last, immOf(n-16))
	case s.in.Op == "setp" && s.has("eq") && n > 1:
		s.setArg("one stage more", last, immOf(n+1))
		s.setArg("one stage fewer", last, immOf(n-1))
	case (s.in.Op == "bar" || s.in.Op == "barrier") && last == 1 && n > 32:
		s.setArg("fewer threads at the barrier", last, immOf(n-32))
	}
}

// index changes an address or a number by one element.
func index(s *site) {
	switch s.in.Op {
	case "ld", "st", "ldmatrix", "stmatrix", "atom", "red":
		if s.has("param") {
			return
		}
		for i, a := range s.in.Args {
			if m, ok := a.(ptx.Mem); ok {
				size := accessBytes(s.in)
				for _, d := range []int64{size, -size} {
					c := m
					c.Offset += d
					s.setArg("index off by one", i, c)
				}
			}
		}
	case "cp":
		for i, a := range s.in.Args {
			m, ok := a.(ptx.Mem)
			if !ok {
				continue
			}
			if len(m.Coords) > 0 {
				return // registers; their arithmetic is changed
			}
			c := m
			c.Offset += 16
			s.setArg("index off by one", i, c)
		}
	case "add", "sub":
		if n, ok := imm(s.in.Args[2]); ok && isInt(s.typ()) {
			s.setArg("index off by one", 2, immOf(n+1))
		}
	}
}

func isInt(t string) bool {
	return t != "" && (t[0] == 'u' || t[0] == 's' || t[0] == 'b' && t[1] != 'f')
}

func accessBytes(in *ptx.Instr) int64 {
	if in.Op == "ldmatrix" || in.Op == "stmatrix" {
		return 16
	}
	t, _ := ptx.TypeByName(in.Mods[len(in.Mods)-1])
	return int64(max(t.Size(), 1))
}

// stride changes what an index is multiplied by.
func stride(s *site) {
	switch s.in.Op {
	case "mad", "mul":
		if !isInt(s.typ()) {
			return
		}
		if n, ok := imm(s.in.Args[2]); ok {
			s.setArg("another stride", 2, immOf(n+1))
			s.setArg("another stride", 2, immOf(2*n))
		}
	case "shl":
		if n, ok := imm(s.in.Args[2]); ok {
			s.setArg("another stride", 2, immOf(n+1))
			if n > 0 {
				s.setArg("another stride", 2, immOf(n-1))
			}
		}
	case "shr", "div":
		if n, ok := imm(s.in.Args[2]); ok && isInt(s.typ()) {
			s.setArg("another stride", 2, immOf(n+1))
			if n > 1 {
				s.setArg("another stride", 2, immOf(n-1))
			}
		}
	}
}

// swizzle leaves out an exclusive or of addresses, or changes the mode in a descriptor.
func swizzle(s *site) {
	switch s.in.Op {
	case "xor":
		if s.typ() != "b32" {
			return
		}
		if n, ok := imm(s.in.Args[2]); ok {
			if n == 1 {
				return // a phase
			}
			s.setArg("another swizzle", 2, immOf(n^16))
		}
		s.change("drop swizzle", func(in *ptx.Instr) {
			in.Op, in.Mods, in.Args = "mov", []string{"b32"}, in.Args[:2]
		})
	case "or":
		if n, ok := imm(s.in.Args[2]); ok && s.typ() == "b64" {
			s.setArg("another swizzle", 2, immOf(n^1<<62^-1<<63))
			s.setArg("another stride", 2, immOf(n+1<<32))
		}
	}
}

// mask changes masks of bits, of lanes and of blocks.
func mask(s *site) {
	switch s.in.Op {
	case "and":
		if n, ok := imm(s.in.Args[2]); ok && isInt(s.typ()) {
			s.setArg("another mask", 2, immOf(n>>1))
			s.setArg("another mask", 2, immOf(n<<1|1))
		}
	case "shfl":
		if n, ok := imm(s.in.Args[4]); ok {
			s.setArg("another mask", 4, immOf(n&^2))
		}
		if n, ok := imm(s.in.Args[2]); ok {
			other := n >> 1 // of a butterfly: one that it has, or skips
			if other == 0 {
				other = 2
			}
			s.setArg("another lane", 2, immOf(other))
		}
	case "mov":
		if n, ok := imm(s.in.Args[1]); ok && s.typ() == "b16" {
			s.setArg("another mask", 1, immOf(n>>1))
		}
	}
}

// phase changes parities: the first one, and its flip.
func phase(s *site) {
	switch s.in.Op {
	case "xor":
		if n, ok := imm(s.in.Args[2]); ok && n == 1 {
			s.drop("phase does not flip")
		}
	case "mov":
		if n, ok := imm(s.in.Args[1]); ok && (n == 0 || n == 1) && s.typ() == "u32" {
			s.setArg("another phase or start", 1, immOf(1-n))
		}
	}
}

// order swaps operands that are not alike.
func order(s *site) {
	a := s.in.Args
	swap := func(i, j int) {
		if a[i] != nil && a[j] != nil && !same(a[i], a[j]) {
			s.change("swapped operands", func(in *ptx.Instr) { in.Args[i], in.Args[j] = a[j], a[i] })
		}
	}
	switch s.in.Op {
	case "sub", "div", "rem", "shl", "shr":
		if _, ok := a[1].(ptx.Reg); ok {
			swap(1, 2)
		}
	case "cvt":
		if len(a) == 3 {
			swap(1, 2)
		}
	case "fma", "mad":
		if !s.has("wide") {
			swap(2, 3)
		}
	case "mma":
		b, ok := a[2].(ptx.Vec)
		if ok && len(b) == 2 {
			s.setArg("swapped operands", 2, ptx.Vec{b[1], b[0]})
		}
		if v, ok := a[1].(ptx.Vec); ok && len(v) == 4 {
			s.setArg("swapped operands", 1, ptx.Vec{v[0], v[2], v[1], v[3]})
		}
	case "wgmma":
		if s.has("mma_async") {
			swap(1, 2)
		}
	case "selp":
		swap(1, 2)
	case "st", "stmatrix", "ld", "ldmatrix":
		for i := range a {
			if v, ok := a[i].(ptx.Vec); ok && len(v) >= 2 {
				w := append(ptx.Vec{v[1], v[0]}, v[2:]...)
				s.setArg("swapped operands", i, w)
			}
		}
	case "cp":
		for i := range a {
			if m, ok := a[i].(ptx.Mem); ok && len(m.Coords) >= 2 {
				c := m
				c.Coords = append([]ptx.Operand{m.Coords[1], m.Coords[0]}, m.Coords[2:]...)
				s.setArg("swapped operands", i, c)
			}
		}
	}
}

func same(a, b ptx.Operand) bool {
	x, ok := a.(ptx.Reg)
	y, ok2 := b.(ptx.Reg)
	return ok && ok2 && x == y
}

var comparisons = map[string]string{"lt": "le", "le": "lt", "gt": "ge", "ge": "gt", "eq": "ne", "ne": "eq"}

// predicate negates or drops a guard, and moves comparisons by one.
func predicate(s *site) {
	if s.in.Guard.Reg != nil {
		s.change("negated predicate", func(in *ptx.Instr) { in.Guard.Not = !in.Guard.Not })
		if !s.guardOfNoUse() {
			s.change("dropped predicate", func(in *ptx.Instr) { in.Guard = ptx.Guard{} })
		}
	}
	switch s.in.Op {
	case "setp":
		if c, ok := comparisons[s.in.Mods[0]]; ok {
			s.change("another comparison", func(in *ptx.Instr) { in.Mods[0] = c })
		}
	case "and", "or":
		if s.typ() == "pred" {
			s.change("another predicate", func(in *ptx.Instr) {
				in.Op = map[string]string{"and": "or", "or": "and"}[in.Op]
			})
		}
	}
}

// computes lists instructions that do nothing but write their first operand.
var computes = map[string]bool{"add": true, "sub": true, "mul": true, "mad": true, "fma": true, "div": true, "and": true, "or": true, "xor": true, "not": true,
	"shl": true, "shr": true, "mov": true, "cvt": true, "selp": true, "min": true, "max": true, "neg": true, "setp": true, "ex2": true}

// guardOfNoUse reports whether nothing changes without the guard: what the instruction
// computes is read by the next ones alone, up to a branch, under the same guard.
func (s *site) guardOfNoUse() bool {
	if !computes[s.in.Op] {
		return false
	}
	same := map[int]bool{s.index: true} // instructions that may name the result
	guard := s.in.Guard.Reg.Name
	for i, st := range s.b.Stmts[s.at+1:] {
		in, ok := st.(*ptx.Instr)
		if !ok || in.Op == "bra" {
			break
		}
		if len(in.Args) > 0 && slices.Contains(named(in.Args[0]), guard) && computes[in.Op] {
			break
		}
		if in.Guard == s.in.Guard {
			same[s.index+1+i] = true
		}
	}
	written := named(s.in.Args[0])
	for _, r := range written {
		for _, i := range s.uses[r] {
			if !same[i] {
				return false
			}
		}
	}
	return written != nil
}

// named lists the registers of an operand that is one, or a vector of them.
func named(o ptx.Operand) (names []string) {
	switch o := o.(type) {
	case ptx.Reg:
		return []string{o.R.Name}
	case ptx.Vec:
		for _, e := range o {
			names = append(names, named(e)...)
		}
	}
	return names
}

// width halves what a load, a store or a copy moves.
func width(s *site) {
	switch s.in.Op {
	case "ld", "st":
		if s.has("param") {
			return
		}
		half := map[byte]string{'2': "b16", '6': "b8", '4': "b32"}
		t := s.typ()
		if h := half[t[len(t)-1]]; h != "" && (s.in.Op == "st" || t[0] != 'f') {
			s.change("another width", func(in *ptx.Instr) { in.Mods[len(in.Mods)-1] = h })
		}
	case "cp":
		if s.has("async", "ca") || s.has("async", "cg") {
			if n, ok := imm(s.in.Args[2]); ok && n == 16 {
				s.change("another width", func(in *ptx.Instr) {
					in.Args[2] = immOf(8)
					for i := range in.Mods {
						in.Mods[i] = strings.Replace(in.Mods[i], "cg", "ca", 1)
					}
				})
			}
		}
	case "cvt":
		if s.has("bf16x2") {
			s.change("another width", func(in *ptx.Instr) {
				for i := range in.Mods {
					in.Mods[i] = strings.Replace(in.Mods[i], "bf16x2", "f16x2", 1)
				}
			})
		}
	}
}
