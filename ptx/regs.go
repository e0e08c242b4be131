package ptx

// Registers calls read and write for the registers of the instruction, the guard
// included; all is false where only an element of a vector register, or nothing under
// a false guard, is written. A register may be visited more than once. The
// instruction must be resolved.
func (in *Instr) Registers(read func(r *Register), write func(r *Register, all bool)) {
	if in.Guard.Reg != nil {
		read(in.Guard.Reg)
	}
	all := in.Guard.Reg == nil
	if in.Op == "call" {
		target := 0
		if len(in.Args) > 0 {
			if l, ok := in.Args[0].(List); ok {
				target = 1
				for _, o := range l {
					writes(o, all, read, write)
				}
			}
		}
		for _, o := range in.Args[target:] {
			reads(o, read)
		}
		return
	}
	if in.match == nil {
		return
	}
	places := in.match.form.Args
	var where []int
	if len(in.Args) != len(places) {
		where, _ = in.match.assign(in.Args, nil)
	}
	for i, o := range in.Args {
		p := i
		if where != nil {
			p = where[i]
		}
		a := &places[p]
		switch a.Dir {
		case In:
			reads(o, read)
		case InOut:
			reads(o, read)
			writes(o, all, read, write)
		case Out:
			writes(o, all, read, write)
		}
	}
}

func reads(o Operand, read func(*Register)) {
	switch o := o.(type) {
	case Reg:
		read(o.R)
	case Mem:
		reads(o.Base, read)
		if o.Sampler != nil {
			reads(o.Sampler, read)
		}
		for _, c := range o.Coords {
			reads(c, read)
		}
	case Vec:
		for _, e := range o {
			reads(e, read)
		}
	case List:
		for _, e := range o {
			reads(e, read)
		}
	case Pair:
		reads(o.A, read)
		reads(o.B, read)
	case Not:
		reads(o.X, read)
	case Neg:
		reads(o.X, read)
	}
}

func writes(o Operand, all bool, read func(*Register), write func(*Register, bool)) {
	switch o := o.(type) {
	case Reg:
		write(o.R, all && o.Elem == 0)
	case Vec:
		for _, e := range o {
			writes(e, all, read, write)
		}
	case Pair:
		writes(o.A, all, read, write)
		writes(o.B, all, read, write)
	default:
		reads(o, read)
	}
}

type regSet []uint64

func newRegSet(n int) regSet         { return make(regSet, (n+63)/64) }
func (b regSet) has(i int) bool      { return b[i/64]>>(i%64)&1 != 0 }
func (b regSet) set(i int)           { b[i/64] |= 1 << (i % 64) }
func (b regSet) clear(i int)         { b[i/64] &^= 1 << (i % 64) }
func (b regSet) copyFrom(src regSet) { copy(b, src) }

// or adds the members of src and reports whether any was new.
func (b regSet) or(src regSet) (changed bool) {
	for i, v := range src {
		if v&^b[i] != 0 {
			b[i] |= v
			changed = true
		}
	}
	return changed
}

// Liveness says which registers hold a value that is still to be read.
type Liveness struct {
	flow *Flow
	regs []*Register
	out  []regSet // at the end of each block
}

// Liveness analyses the function. Its instructions must be resolved.
func (fl *Flow) Liveness() *Liveness {
	n := len(fl.Func.Regs)
	l := &Liveness{flow: fl, regs: fl.Func.Regs, out: make([]regSet, len(fl.Blocks))}
	in := make([]regSet, len(fl.Blocks))
	for b := range fl.Blocks {
		l.out[b], in[b] = newRegSet(n), newRegSet(n)
	}
	live := newRegSet(n)
	for changed := true; changed; {
		changed = false
		for b := len(fl.Blocks) - 1; b >= 0; b-- {
			for _, s := range fl.Blocks[b].Succ {
				l.out[b].or(in[s])
			}
			live.copyFrom(l.out[b])
			for i := fl.Blocks[b].End - 1; i >= fl.Blocks[b].Start; i-- {
				fl.Instrs[i].liveBefore(live)
			}
			if in[b].or(live) {
				changed = true
			}
		}
	}
	return l
}

// liveBefore turns what is live behind the instruction into what is before it.
func (in *Instr) liveBefore(live regSet) {
	in.Registers(func(*Register) {}, func(r *Register, all bool) {
		if all {
			live.clear(r.ID)
		}
	})
	in.Registers(func(r *Register) { live.set(r.ID) }, func(*Register, bool) {})
}

// Pressure is how many registers are live at a point: 32-bit registers, a 64-bit value
// counting as two, and predicates.
type Pressure struct{ Regs, Preds int }

func (r *Register) units() int { return max(1, r.Vec) * max(1, r.Type.Bits()/32) }

// Each calls f for each instruction, last to first, with what is live before it and
// the sum of that.
func (l *Liveness) Each(f func(i int, live func(*Register) bool, p Pressure)) {
	live := newRegSet(len(l.regs))
	for b := len(l.flow.Blocks) - 1; b >= 0; b-- {
		blk := &l.flow.Blocks[b]
		live.copyFrom(l.out[b])
		for i := blk.End - 1; i >= blk.Start; i-- {
			l.flow.Instrs[i].liveBefore(live)
			f(i, func(r *Register) bool { return live.has(r.ID) }, l.pressure(live))
		}
	}
}

func (l *Liveness) pressure(live regSet) (p Pressure) {
	for i, r := range l.regs {
		if live.has(i) {
			if r.Type == Pred {
				p.Preds++
			} else {
				p.Regs += r.units()
			}
		}
	}
	return p
}

// At lists the registers that are live before instruction i.
func (l *Liveness) At(i int) (regs []*Register) {
	b := l.flow.BlockOf[i]
	live := newRegSet(len(l.regs))
	live.copyFrom(l.out[b])
	for j := l.flow.Blocks[b].End - 1; j >= i; j-- {
		l.flow.Instrs[j].liveBefore(live)
	}
	for id, r := range l.regs {
		if live.has(id) {
			regs = append(regs, r)
		}
	}
	return regs
}

// Max is the largest pressure and the instruction before which it is reached. ptxas
// reorders and splits, so its count differs; this one compares versions of a kernel.
func (l *Liveness) Max() (p Pressure, at int) {
	l.Each(func(i int, _ func(*Register) bool, q Pressure) {
		if q.Regs >= p.Regs {
			p.Regs, at = q.Regs, i
		}
		p.Preds = max(p.Preds, q.Preds)
	})
	return p, at
}

// unwritten calls report for reads of registers that on some path (sure: on every
// path) nothing has written. A write under a guard counts: what reads it is guarded
// alike, or does not care.
func (fl *Flow) unwritten(report func(i int, r *Register, sure bool)) {
	n := len(fl.Func.Regs)
	// may: not written on some path; must: on no path written.
	type state struct{ may, must regSet }
	in := make([]*state, len(fl.Blocks))
	entry := &state{newRegSet(n), newRegSet(n)}
	for i := range n {
		entry.may.set(i)
		entry.must.set(i)
	}
	for _, list := range [][]*Var{fl.Func.Params, fl.Func.Returns} {
		for _, v := range list {
			if v.Reg != nil {
				entry.may.clear(v.Reg.ID)
				entry.must.clear(v.Reg.ID)
			}
		}
	}
	if len(fl.Blocks) == 0 {
		return
	}
	in[0] = entry
	work := []int{0}
	cur := state{newRegSet(n), newRegSet(n)}
	for len(work) > 0 {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		cur.may.copyFrom(in[b].may)
		cur.must.copyFrom(in[b].must)
		for i := fl.Blocks[b].Start; i < fl.Blocks[b].End; i++ {
			fl.Instrs[i].Registers(func(*Register) {}, func(r *Register, _ bool) {
				cur.may.clear(r.ID)
				cur.must.clear(r.ID)
			})
		}
		for _, s := range fl.Blocks[b].Succ {
			if in[s] == nil {
				in[s] = &state{append(regSet(nil), cur.may...), append(regSet(nil), cur.must...)}
				work = append(work, s)
				continue
			}
			changed := in[s].may.or(cur.may)
			for w := range cur.must {
				if v := in[s].must[w] & cur.must[w]; v != in[s].must[w] {
					in[s].must[w] = v
					changed = true
				}
			}
			if changed {
				work = append(work, s)
			}
		}
	}
	told := newRegSet(n)
	for b := range fl.Blocks {
		if in[b] == nil {
			continue // never reached
		}
		cur = *in[b]
		for i := fl.Blocks[b].Start; i < fl.Blocks[b].End; i++ {
			in := fl.Instrs[i]
			if !in.accumulates() {
				in.Registers(func(r *Register) {
					if cur.may.has(r.ID) && !told.has(r.ID) && !in.ignores(r) {
						told.set(r.ID)
						report(i, r, cur.must.has(r.ID))
					}
				}, func(*Register, bool) {})
			}
			in.Registers(func(*Register) {}, func(r *Register, _ bool) {
				cur.may.clear(r.ID)
				cur.must.clear(r.ID)
			})
		}
	}
}

// accumulates reports whether the instruction reads its destination only if a
// predicate says so, as wgmma does.
func (in *Instr) accumulates() bool { return in.Op == "wgmma" }

// ignores reports whether the value of the register does not matter: xor r, a, a.
func (in *Instr) ignores(r *Register) bool {
	if in.Op != "xor" && in.Op != "sub" || len(in.Args) != 3 {
		return false
	}
	a, ok := in.Args[1].(Reg)
	return ok && in.Args[1] == in.Args[2] && a.R == r && in.Guard.Reg != r
}
