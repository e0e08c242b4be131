package ptx

// scope maps the names of the registers that a block declares.
type scope struct {
	up    *scope
	names map[string]*family
	regs  map[string]*family // with a count, by prefix
}

// family is one declarator: a register, or prefix<count> of them.
type family struct {
	typ   Type
	vec   int
	count int // 0: a single register
	few   []*regRef
	many  map[int]*regRef // those with a number so large that a slice would waste
}

// regRef is a register with its operand, made once.
type regRef struct {
	R     *Register
	boxed Operand
}

const fewRegs = 1 << 14

func (p *parser) push() { p.scope = &scope{up: p.scope} }
func (p *parser) pop()  { p.scope = p.scope.up }

// declare adds a declarator to the innermost scope.
func (p *parser) declare(name string, count int, t Type, vec int, pos Pos) *family {
	f := &family{typ: t, vec: vec, count: count}
	m := &p.scope.names
	if count > 0 {
		m = &p.scope.regs
	}
	if *m == nil {
		*m = map[string]*family{}
	}
	if (*m)[name] != nil {
		p.failAt(pos, "register %s is declared twice in this scope", name)
	}
	(*m)[name] = f
	return f
}

// register finds the register of this name, nil if none is declared.
func (p *parser) register(name string) *regRef {
	// Split into prefix and number, which has no leading zero.
	i := len(name)
	for i > 0 && class[name[i-1]]&isDigit != 0 {
		i--
	}
	n, ok := 0, i < len(name) && len(name)-i <= 9
	for j := i; ok && j < len(name); j++ {
		n = n*10 + int(name[j]-'0')
	}
	if i < len(name) && name[i] == '0' && len(name) > i+1 {
		// %r00 is not in %r<9>, but 0 is the number of %r0<9>: take the last zero run.
		for i < len(name)-1 && name[i] == '0' {
			i++
		}
	}
	for s := p.scope; s != nil; s = s.up {
		if f := s.names[name]; f != nil {
			return p.mention(f, 0, name)
		}
		if !ok || s.regs == nil {
			continue
		}
		if f := s.regs[name[:i]]; f != nil && n < f.count {
			return p.mention(f, n, name)
		}
		// A prefix may itself end in digits: %r1<4> declares %r10 to %r13.
		for k := i + 1; k < len(name); k++ {
			if name[k] == '0' && k+1 < len(name) {
				continue
			}
			m := 0
			for _, c := range []byte(name[k:]) {
				m = m*10 + int(c-'0')
			}
			if f := s.regs[name[:k]]; f != nil && m < f.count {
				return p.mention(f, m, name)
			}
		}
	}
	return nil
}

// mention gives register n of the family, making it at its first mention.
func (p *parser) mention(f *family, n int, name string) *regRef {
	if n < fewRegs {
		if n < len(f.few) {
			if r := f.few[n]; r != nil {
				return r
			}
		}
	} else if r := f.many[n]; r != nil {
		return r
	}
	r := &regRef{R: &Register{Name: name, Type: f.typ, Vec: f.vec, ID: len(p.fn.Regs)}}
	r.boxed = Reg{R: r.R}
	p.fn.Regs = append(p.fn.Regs, r.R)
	if n >= fewRegs {
		if f.many == nil {
			f.many = map[int]*regRef{}
		}
		f.many[n] = r
		return r
	}
	if n >= len(f.few) {
		grown := make([]*regRef, min(max(n+1, 2*len(f.few), 8), fewRegs))
		copy(grown, f.few)
		f.few = grown
	}
	f.few[n] = r
	return r
}
