package ptx

import (
	"strings"
	"sync"
	"sync/atomic"
)

// opcode is a mnemonic with its modifiers, shared by the instructions of a module
// that are spelled alike.
type opcode struct {
	op    string
	mods  []string
	forms []*match // that the modifiers can mean
	err   error    // why there is none
}

// opcodeCache keeps what opcodes resolve to over modules. Its size is bounded: there
// are more spellings than a program can meet.
var (
	opcodeCache   sync.Map // string to *opcode
	opcodesCached atomic.Int32
)

const maxOpcodesCached = 4096

// block parses from { to }. The scope of a function's outermost block holds its
// parameters too, so it is made by the caller.
func (p *parser) block() *Block {
	p.depth++
	if p.depth > maxDepth {
		p.fail("scopes nest more than %d deep", maxDepth)
	}
	open := p.pos()
	p.next()
	b := &Block{}
	for !p.is('}') {
		if p.tok.kind == tokEOF {
			p.failAt(open, "{ is not closed by }")
		}
		// One recovery per error, not per statement: defer costs.
		depth, sc := p.depth, p.scope
		if err := catch(func() { p.statements(b) }); err != nil {
			p.report(err)
			p.depth, p.scope, p.args = depth, sc, p.args[:0]
			if len(p.errs) >= maxErrors {
				panic(bail{p.errs[len(p.errs)-1]})
			}
			for p.tok.kind != tokEOF && !p.is(';') && !p.is('}') {
				p.next()
			}
			p.accept(';')
		}
	}
	b.End = p.pos()
	p.next()
	p.depth--
	return b
}

func (p *parser) statements(b *Block) {
	for !p.is('}') && p.tok.kind != tokEOF {
		switch p.tok.kind {
		case tokIdent:
			if p.isLabel() {
				b.Stmts = append(b.Stmts, p.label())
			} else {
				b.Stmts = append(b.Stmts, p.instr(Guard{}, p.pos()))
			}
		case tokDot:
			p.directive(b)
		case tokPunct:
			switch p.tok.punct {
			case '@':
				pos := p.pos()
				b.Stmts = append(b.Stmts, p.instr(p.guardReg(), pos))
			case '{':
				p.push()
				inner := p.block()
				p.pop()
				b.Stmts = append(b.Stmts, inner)
			case ';':
				p.next()
			default:
				p.want("an instruction, a label, a directive or }")
			}
		default:
			p.want("an instruction, a label, a directive or }")
		}
	}
}

// isLabel looks behind the name at the current token for a colon.
func (p *parser) isLabel() bool {
	s, i := p.src, p.off
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	return i < len(s) && s[i] == ':'
}

func (p *parser) label() Stmt {
	pos, name := p.pos(), p.tok.text
	p.next() // the name
	p.next() // the colon
	if p.tok.kind != tokDot {
		return &Label{Name: name, Pos: pos}
	}
	switch p.tok.text {
	case "branchtargets":
		return &BranchTargets{Name: name, Labels: p.names("a label"), Pos: pos}
	case "calltargets":
		return &CallTargets{Name: name, Funcs: p.names("the name of a function"), Pos: pos}
	case "callprototype":
		p.next()
		proto := &Func{Pos: pos}
		if p.is('(') {
			proto.Returns = p.params()
		}
		if s := p.ident("_, which stands for the function"); s != "_" {
			p.fail("found %q, expected _, which stands for the function", s)
		}
		if p.is('(') {
			proto.Params = p.params()
		}
		p.funcDirectives(proto)
		p.expect(';', "after .callprototype")
		return &CallPrototype{Name: name, Proto: proto, Pos: pos}
	}
	return &Label{Name: name, Pos: pos}
}

func (p *parser) names(what string) (names []string) {
	p.next()
	for {
		names = append(names, p.ident(what))
		if !p.accept(',') {
			break
		}
	}
	p.expect(';', "after the list")
	return names
}

func (p *parser) directive(b *Block) {
	pos := p.pos()
	switch p.tok.text {
	case "reg":
		b.Stmts = append(b.Stmts, p.regDecl(pos))
	case "pragma":
		b.Stmts = append(b.Stmts, p.pragma(pos))
	case "loc":
		b.Stmts = append(b.Stmts, p.loc(pos))
	case "file":
		b.Stmts = append(b.Stmts, p.fileDirective(pos))
	case "section":
		b.Stmts = append(b.Stmts, p.section(pos))
	default:
		linkage := p.linkage()
		p.variables(linkage, pos, func(v *Var) { b.Stmts = append(b.Stmts, v) })
	}
}

func (p *parser) regDecl(pos Pos) *RegDecl {
	head := p.varHead(Internal, pos)
	if head.Type.Kind() == KindOpaque {
		p.failAt(pos, "a register cannot have type .%s", head.Type)
	}
	d := &RegDecl{Type: head.Type, Vec: head.Vec, Pos: pos}
	for {
		at := p.pos()
		r := RegName{Name: p.ident("the name of a register")}
		if p.accept('<') {
			// Not a constant expression: > closes the count.
			var c Imm
			ok := p.tok.kind == tokNumber
			if ok {
				c, ok = number(p.tok.text)
			}
			if !ok || c.Kind > ImmUint || c.Bits == 0 || c.Bits > 1<<30 {
				p.want("how many registers, at least 1")
			}
			p.next()
			r.Count = int(c.Bits)
			p.expect('>', "after the count of registers")
		}
		p.declare(r.Name, r.Count, d.Type, d.Vec, at)
		d.Names = append(d.Names, r)
		if !p.accept(',') {
			break
		}
	}
	p.expect(';', "after .reg")
	return d
}

func (p *parser) guardReg() Guard {
	p.next()
	g := Guard{Not: p.accept('!')}
	if p.tok.kind != tokIdent {
		p.want("a predicate register after @")
	}
	o := p.register(p.tok.text)
	if o == nil {
		p.fail("register %s is not declared; .reg .pred %s; is expected before", p.tok, p.tok.text)
	}
	g.Reg = o.R
	if g.Reg.Type != Pred {
		p.fail("the guard %s is .%s, a .pred register is expected", g.Reg.Name, g.Reg.Type)
	}
	p.next()
	return g
}

// opcode reads mnemonic and modifiers from the current token on.
func (p *parser) opcode() *opcode {
	start := p.off - len(p.tok.text)
	end := p.off
	for end+1 < len(p.src) && p.src[end] == '.' && class[p.src[end+1]]&isWord != 0 {
		end = wordEnd(p.src, end+1)
	}
	p.off = end
	text := p.src[start:end]
	p.next()
	if p.tok.kind == tokDot { // blanks between modifiers
		for p.tok.kind == tokDot {
			text += "." + p.tok.text
			p.next()
		}
	}
	if o := p.opcodes[text]; o != nil {
		return o
	}
	if c, ok := opcodeCache.Load(text); ok {
		o := c.(*opcode)
		p.opcodes[text] = o
		return o
	}
	text = strings.Clone(text) // what is kept must not hold on to the whole module
	parts := strings.Split(text, ".")
	o := &opcode{op: parts[0]}
	if len(parts) > 1 {
		o.mods = parts[1:len(parts):len(parts)]
	}
	o.forms, o.err = candidates(o.op, o.mods)
	if o.err == nil && opcodesCached.Add(1) < maxOpcodesCached {
		opcodeCache.Store(text, o)
	}
	p.opcodes[text] = o
	return o
}

func (p *parser) instr(g Guard, pos Pos) *Instr {
	if p.tok.kind != tokIdent {
		p.want("an instruction")
	}
	if len(p.instrs) == 0 {
		p.instrs = make([]Instr, 128)
	}
	in := &p.instrs[0]
	p.instrs = p.instrs[1:]
	o := p.opcode()
	*in = Instr{Guard: g, Op: o.op, Mods: o.mods, Pos: pos}
	p.args = p.args[:0]
	call := o.op == "call"
	for !p.is(';') {
		var a Operand
		if call && p.is('(') {
			a = List(p.operands(')'))
		} else {
			a = p.operand()
		}
		p.args = append(p.args, a)
		if !p.accept(',') {
			break
		}
	}
	if !p.is(';') {
		p.want(`"," or ";" after the operand`)
	}
	if n := len(p.args); n > 0 {
		if n > len(p.slab) {
			p.slab = make([]Operand, max(512, n))
		}
		in.Args = p.slab[:n:n]
		p.slab = p.slab[n:]
		copy(in.Args, p.args)
	}
	if o.err != nil {
		p.failAt(pos, "%s", o.err)
	}
	if m := o.forms[0]; m.fits(in.Args) {
		in.match = m
	} else if err := in.choose(o.forms); err != nil {
		p.failAt(pos, "%s", err)
	}
	p.next()
	return in
}

// operands parses a list up to the closing character; the opening one is current.
func (p *parser) operands(close byte) []Operand {
	p.depth++
	if p.depth > maxDepth {
		p.fail("operands nest more than %d deep", maxDepth)
	}
	p.next()
	list := []Operand{}
	for !p.is(close) {
		list = append(list, p.operand())
		if !p.accept(',') {
			break
		}
	}
	p.expect(close, "after the list of operands")
	p.depth--
	return list
}

func (p *parser) operand() Operand {
	switch {
	case p.tok.kind == tokIdent:
		if p.tok.text == "WARP_SZ" {
			return p.constant()
		}
		a := p.nameOperand(true)
		if p.is('|') {
			p.next()
			if p.tok.kind != tokIdent {
				p.want("a register after |")
			}
			return Pair{A: a, B: p.nameOperand(true)}
		}
		return a
	case p.is('['):
		return p.mem()
	case p.is('{'):
		return Vec(p.operands('}'))
	case p.is('!'):
		// !p is a predicate; !0 a constant.
		save := p.lexer
		p.next()
		if p.tok.kind == tokIdent && p.tok.text != "WARP_SZ" {
			return Not{X: p.nameOperand(false)}
		}
		p.lexer = save
	case p.is('-'):
		save := p.lexer
		p.next()
		if p.tok.kind == tokIdent && p.tok.text != "WARP_SZ" {
			return Neg{X: p.nameOperand(false)}
		}
		p.lexer = save
	}
	return p.constant()
}

var sink Operand = Sink{}

// nameOperand parses a register, a special register or a symbol. Offsets are taken
// by symbols if allowed: [a+4] leaves its offset to the brackets.
func (p *parser) nameOperand(offset bool) Operand {
	name := p.tok.text
	if name == "_" {
		p.next()
		return sink
	}
	if r := p.register(name); r != nil {
		pos := p.pos()
		p.next()
		if p.tok.kind != tokDot {
			return r.boxed
		}
		return p.element(r.R, pos)
	}
	if name[0] == '%' {
		sp, ok := specialTable[name[1:]]
		if !ok {
			p.fail("register %s is not declared and is no special register", name)
		}
		pos := p.pos()
		p.next()
		s := Special{Name: sp.Name}
		if p.tok.kind == tokDot {
			e := p.tok.text
			if !sp.Vector || len(e) != 1 || e[0] < 'w' || e[0] > 'z' {
				p.failAt(pos, "special register %s has no element .%s", name, e)
			}
			s.Elem = e[0]
			p.next()
		}
		return s
	}
	p.next()
	s := Sym{Name: name}
	if offset {
		s.Offset = p.offset()
	}
	return s
}

// element parses what follows a register's name and a dot.
func (p *parser) element(r *Register, pos Pos) Operand {
	w := p.tok.text
	if r.Vec > 0 && len(w) == 1 {
		if i := strings.IndexByte("xyzwrgba", w[0]); i >= 0 && i&3 < r.Vec {
			p.next()
			return Reg{R: r, Elem: "xyzw"[i&3]}
		}
	}
	if r.Vec == 0 && len(w) >= 2 && len(w) <= 5 && (w[0] == 'b' || w[0] == 'h') && allDigits(w[1:]) {
		p.next()
		return Reg{R: r, Sel: w}
	}
	if r.Vec > 0 {
		p.failAt(pos, "vector register %s has %d elements, no .%s", r.Name, r.Vec, w)
	}
	p.failAt(pos, "register %s is no vector; it has no .%s", r.Name, w)
	return nil
}

// mem parses an address in brackets.
func (p *parser) mem() Operand {
	p.next()
	var m Mem
	if p.tok.kind == tokIdent && p.tok.text != "WARP_SZ" {
		m.Base = p.nameOperand(false)
		m.Offset = p.offset()
	} else {
		pos := p.pos()
		c := p.constant()
		if c.Kind > ImmUint {
			p.failAt(pos, "an address is an integer, not a floating-point constant")
		}
		m.Base = c
	}
	for p.accept(',') {
		switch {
		case p.is('{'):
			m.Coords = p.operands('}')
		case m.Sampler == nil && p.tok.kind == tokIdent:
			m.Sampler = p.nameOperand(false)
			if m.Sampler == sink {
				p.fail("a sampler or coordinates are expected in the address")
			}
			continue
		default:
			// A scalar coordinate of a one-dimensional texture.
			m.Coords = []Operand{p.operand()}
		}
		break
	}
	// A lone register after the base is the coordinate of a 1-D texture.
	if r, ok := m.Sampler.(Reg); ok && m.Coords == nil && r.R.Type.Bits() == 32 {
		m.Sampler, m.Coords = nil, []Operand{r}
	}
	p.expect(']', "after the address")
	return m
}
