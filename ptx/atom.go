package ptx

// Atomics and reductions on memory: atom gives the old value, red does not. They are
// relaxed at the GPU's scope unless an option says otherwise. (PTX ISA, "atom", "red")

func (k *Builder) atom(op string, t Type, d AnyReg, a AtomAddress, opts []MemOpt, v ...AnyOperand) {
	k.address1("atom."+op, a)
	name := memOp("atom", a, opts, op, t.String())
	args := []Operand{d.op(), a.mem()}
	for i, x := range v {
		args = append(args, k.fit(name, i+2, t, x))
	}
	k.emit(name, args...)
}

func (k *Builder) red(op string, t Type, a AtomAddress, opts []MemOpt, v AnyOperand) {
	k.address1("red."+op, a)
	name := memOp("red", a, opts, op, t.String())
	k.emit(name, a.mem(), k.fit(name, 1, t, v))
}

// AtomAddU32 adds v and gives the old value.
func (k *Builder) AtomAddU32(a AtomAddress, v InI32, opts ...MemOpt) RegU32 {
	d := New[RegU32](k)
	k.atom("add", U32, d, a, opts, v)
	return d
}

// AtomAddU64 adds v and gives the old value.
func (k *Builder) AtomAddU64(a AtomAddress, v InI64, opts ...MemOpt) RegU64 {
	d := New[RegU64](k)
	k.atom("add", U64, d, a, opts, v)
	return d
}

// AtomAddF32 adds v and gives the old value.
func (k *Builder) AtomAddF32(a AtomAddress, v InF32, opts ...MemOpt) RegF32 {
	d := New[RegF32](k)
	k.atom("add", F32, d, a, opts, v)
	return d
}

// AtomExchB32 stores v and gives the old value.
func (k *Builder) AtomExchB32(a AtomAddress, v InB32, opts ...MemOpt) RegB32 {
	d := New[RegB32](k)
	k.atom("exch", B32, d, a, opts, v)
	return d
}

// AtomCasB32 stores v if the old value is old, and gives the old value.
func (k *Builder) AtomCasB32(a AtomAddress, old, v InB32, opts ...MemOpt) RegB32 {
	d := New[RegB32](k)
	k.atom("cas", B32, d, a, opts, old, v)
	return d
}

// AtomCasB64 stores v if the old value is old, and gives the old value.
func (k *Builder) AtomCasB64(a AtomAddress, old, v InB64, opts ...MemOpt) RegB64 {
	d := New[RegB64](k)
	k.atom("cas", B64, d, a, opts, old, v)
	return d
}

// AtomMinU32 stores the smaller and gives the old value.
func (k *Builder) AtomMinU32(a AtomAddress, v InI32, opts ...MemOpt) RegU32 {
	d := New[RegU32](k)
	k.atom("min", U32, d, a, opts, v)
	return d
}

// AtomMaxU32 stores the larger and gives the old value.
func (k *Builder) AtomMaxU32(a AtomAddress, v InI32, opts ...MemOpt) RegU32 {
	d := New[RegU32](k)
	k.atom("max", U32, d, a, opts, v)
	return d
}

// AtomMinS32 stores the smaller and gives the old value.
func (k *Builder) AtomMinS32(a AtomAddress, v InI32, opts ...MemOpt) RegS32 {
	d := New[RegS32](k)
	k.atom("min", S32, d, a, opts, v)
	return d
}

// AtomMaxS32 stores the larger and gives the old value.
func (k *Builder) AtomMaxS32(a AtomAddress, v InI32, opts ...MemOpt) RegS32 {
	d := New[RegS32](k)
	k.atom("max", S32, d, a, opts, v)
	return d
}

// AtomIncU32 stores old >= v ? 0 : old+1 and gives the old value.
func (k *Builder) AtomIncU32(a AtomAddress, v InI32, opts ...MemOpt) RegU32 {
	d := New[RegU32](k)
	k.atom("inc", U32, d, a, opts, v)
	return d
}

// AtomOrB32 sets bits and gives the old value.
func (k *Builder) AtomOrB32(a AtomAddress, v InB32, opts ...MemOpt) RegB32 {
	d := New[RegB32](k)
	k.atom("or", B32, d, a, opts, v)
	return d
}

// AtomAndB32 keeps bits and gives the old value.
func (k *Builder) AtomAndB32(a AtomAddress, v InB32, opts ...MemOpt) RegB32 {
	d := New[RegB32](k)
	k.atom("and", B32, d, a, opts, v)
	return d
}

// RedAddU32 adds v.
func (k *Builder) RedAddU32(a AtomAddress, v InI32, opts ...MemOpt) { k.red("add", U32, a, opts, v) }

// RedAddF32 adds v.
func (k *Builder) RedAddF32(a AtomAddress, v InF32, opts ...MemOpt) { k.red("add", F32, a, opts, v) }

// RedMaxU32 stores the larger.
func (k *Builder) RedMaxU32(a AtomAddress, v InI32, opts ...MemOpt) { k.red("max", U32, a, opts, v) }

// RedOrB32 sets bits.
func (k *Builder) RedOrB32(a AtomAddress, v InB32, opts ...MemOpt) { k.red("or", B32, a, opts, v) }
