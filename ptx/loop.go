package ptx

type loop struct{ next, end string }

// Guard emits what f emits under a predicate: each instruction is skipped by the
// threads where p is false, without a branch. For a few instructions; no control flow
// inside. New registers written inside are undefined where p is false.
func (k *Builder) Guard(p RegPred, f func()) {
	if k.guard.Reg != nil {
		k.fail("Guard", "inside another Guard; combine the predicates")
	}
	k.pred("Guard", p)
	k.guard = Guard{Reg: p.r, Not: p.not}
	defer func() { k.guard = Guard{} }()
	f()
}

func (k *Builder) pred(what string, p RegPred) {
	if why := k.bad(Reg{R: p.r}); why != "" {
		k.fail(what, "predicate: %s", why)
	}
}

// branch emits @p bra to.
func (k *Builder) branch(p RegPred, to string) {
	if k.guard.Reg != nil {
		k.fail("bra "+to, "control flow inside Guard; use If")
	}
	k.pred("bra "+to, p)
	in := k.emit("bra", Sym{Name: to})
	in.Guard = Guard{Reg: p.r, Not: p.not}
}

func (k *Builder) jump(to string) {
	if k.guard.Reg != nil {
		k.fail("bra "+to, "control flow inside Guard; use If")
	}
	k.emit("bra", Sym{Name: to})
}

// If runs then where p holds.
func (k *Builder) If(p RegPred, then func()) {
	end := k.newLabel("endif")
	k.branch(p.Not(), end)
	then()
	k.label(end)
}

// IfElse runs then where p holds, and otherwise where it does not.
func (k *Builder) IfElse(p RegPred, then, otherwise func()) {
	other, end := k.newLabel("else"), k.newLabel("endif")
	k.branch(p.Not(), other)
	then()
	k.jump(end)
	k.label(other)
	otherwise()
	k.label(end)
}

// For runs body with i = lo, lo+step, … while i < hi (unsigned). It may run no time at
// all. Values are carried from turn to turn in registers made before the loop (see
// VarF32 and its like) and written inside by methods that end in To.
func (k *Builder) For(lo, hi, step InI32, body func(i RegU32)) {
	i := New[RegU32](k)
	k.put("mov.u32", U32, i, lo)
	k.counted("setp.ge.u32", "setp.lt.u32", "add.u32", U32, i, hi, step, func() { body(i) })
}

// ForS32 is For with a signed counter.
func (k *Builder) ForS32(lo, hi, step InI32, body func(i RegS32)) {
	i := New[RegS32](k)
	k.put("mov.s32", S32, i, lo)
	k.counted("setp.ge.s32", "setp.lt.s32", "add.s32", S32, i, hi, step, func() { body(i) })
}

// counted tests before the first turn and after each, one branch a turn.
func (k *Builder) counted(ge, lt, add string, t Type, i AnyReg, hi, step InI32, body func()) {
	top, next, end := k.newLabel("for"), k.newLabel("next"), k.newLabel("endfor")
	none := New[RegPred](k)
	k.put(ge, t, none, i, hi)
	k.branch(none, end)
	k.label(top)
	k.inLoop(loop{next, end}, body)
	k.label(next)
	k.put(add, t, i, i, step)
	again := New[RegPred](k)
	k.put(lt, t, again, i, hi)
	k.branch(again, top)
	k.label(end)
}

func (k *Builder) inLoop(l loop, body func()) {
	k.loops = append(k.loops, l)
	body()
	k.loops = k.loops[:len(k.loops)-1]
}

// While runs body as long as cond holds, which is evaluated before each turn.
func (k *Builder) While(cond func() RegPred, body func()) {
	top, end := k.newLabel("while"), k.newLabel("endwhile")
	k.label(top)
	k.branch(cond().Not(), end)
	k.inLoop(loop{top, end}, body)
	k.jump(top)
	k.label(end)
}

// DoWhile runs body, then again as long as the predicate that it gave holds.
func (k *Builder) DoWhile(body func() RegPred) {
	top, next, end := k.newLabel("do"), k.newLabel("next"), k.newLabel("enddo")
	k.label(top)
	var p RegPred
	k.inLoop(loop{next, end}, func() { p = body() })
	k.label(next)
	k.branch(p, top)
	k.label(end)
}

// Break leaves the innermost loop where p holds.
func (k *Builder) Break(p RegPred) { k.branch(p, k.innermost("Break").end) }

// Continue goes to the next turn of the innermost loop where p holds.
func (k *Builder) Continue(p RegPred) { k.branch(p, k.innermost("Continue").next) }

func (k *Builder) innermost(what string) loop {
	if len(k.loops) == 0 {
		k.fail(what, "outside of a loop")
	}
	return k.loops[len(k.loops)-1]
}

// Return ends the kernel for the threads where p holds. Threads of a block that wait
// at a barrier do not wait for those that returned, but .aligned instructions do not
// allow for them: return whole warps.
func (k *Builder) Return(p RegPred) {
	k.pred("ret", p)
	in := k.emit("ret")
	if k.guard.Reg != nil {
		k.fail("ret", "Return inside Guard; combine the predicates")
	}
	in.Guard = Guard{Reg: p.r, Not: p.not}
}

// VarU32 makes a register that starts as v: a variable for loops to carry.
func (k *Builder) VarU32(v InI32) RegU32 {
	d := New[RegU32](k)
	k.put("mov.u32", U32, d, v)
	return d
}

// VarS32 makes a register that starts as v: a variable for loops to carry.
func (k *Builder) VarS32(v InI32) RegS32 {
	d := New[RegS32](k)
	k.put("mov.s32", S32, d, v)
	return d
}

// VarB32 makes a register that starts as v: a variable for loops to carry.
func (k *Builder) VarB32(v InB32) RegB32 {
	d := New[RegB32](k)
	k.put("mov.b32", B32, d, v)
	return d
}

// VarU64 makes a register that starts as v: a variable for loops to carry.
func (k *Builder) VarU64(v InI64) RegU64 {
	d := New[RegU64](k)
	k.put("mov.u64", U64, d, v)
	return d
}

// VarF32 makes a register that starts as v: a variable for loops to carry.
func (k *Builder) VarF32(v InF32) RegF32 {
	d := New[RegF32](k)
	k.put("mov.f32", F32, d, v)
	return d
}

// VarF64 makes a register that starts as v: a variable for loops to carry.
func (k *Builder) VarF64(v InF64) RegF64 {
	d := New[RegF64](k)
	k.put("mov.f64", F64, d, v)
	return d
}

// VarsF32 makes n registers that start as v, as accumulators do.
func (k *Builder) VarsF32(n int, v InF32) []RegF32 {
	d := make([]RegF32, n)
	for i := range d {
		d[i] = k.VarF32(v)
	}
	return d
}

// VarsU32 makes n registers that start as v.
func (k *Builder) VarsU32(n int, v InI32) []RegU32 {
	d := make([]RegU32, n)
	for i := range d {
		d[i] = k.VarU32(v)
	}
	return d
}

// Set copies x to an existing register of the same type.
func Set[R AnyReg](k *Builder, d, x R) {
	t := d.Type()
	if t != Pred {
		_, t = declared(t)
	}
	k.put("mov."+t.String(), t, d, x)
}
