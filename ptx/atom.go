package ptx

// atom emits an atomic or a reduction (d nil). The address's space and the options come
// before the operation: atom.acq_rel.gpu.global.add.u32.
func (k *Builder) atom(op, rest string, t Type, d AnyOperand, a AtomAddress, opts []MemOpt, v ...AnyOperand) {
	k.address1(op+"."+rest, a)
	name := memOp(op, a, opts, rest)
	var args []Operand
	if d != nil {
		args = append(args, d.op())
	}
	args = append(args, a.mem())
	for _, x := range v {
		args = append(args, k.fit(name, len(args), t, x))
	}
	k.emit(name, args...)
}

// vector is a list of registers in braces, as an operand.
type vector Vec

func (v vector) op() Operand { return Vec(v) }

func vecOf[R AnyOperand](r []R) AnyOperand { return vector(vec(r)) }

// pair is d|p.
type pair struct{ a, b AnyOperand }

func (p pair) op() Operand { return Pair{A: p.a.op(), B: p.b.op()} }

func newAll[R any, P regPtr[R]](k *Builder, r []R) {
	for i := range r {
		r[i] = New[R, P](k)
	}
}
