package ptx

import "strings"

// varHead is what the declarators of one variable declaration share.
func (p *parser) varHead(linkage Linkage, pos Pos) Var {
	v := Var{Linkage: linkage, Pos: pos}
	for p.tok.kind == tokDot {
		w := p.tok.text
		if s, ok := SpaceByName(w); ok && v.Space == NoSpace && s != SregSpace {
			v.Space = s
			p.next()
			continue
		}
		if v.Space == NoSpace && v.Type == NoType && w != "align" && w != "attribute" {
			if p.scope != nil {
				p.fail("unknown directive .%s; .reg, .param, .local, .shared, .pragma, .loc or another state space is expected in a function", w)
			}
			p.fail("unknown directive .%s; .entry, .func, .file, .section, .pragma, .alias or a state space (.global, .const, .shared, .local, .param, .reg) is expected", w)
		}
		if w != "attribute" && w != "align" && w != "v2" && w != "v4" && w != "ptr" {
			t, ok := TypeByName(w)
			if !ok || v.Type != NoType {
				p.fail("found .%s in a declaration, expected a type such as .b32, .align, .v2, .v4 or a name", w)
			}
			v.Type = t
			p.next()
			continue
		}
		p.next()
		switch w {
		case "align":
			v.Align = p.alignment()
		case "v2":
			v.Vec = 2
		case "v4":
			v.Vec = 4
		case "attribute":
			v.Attrs = append(v.Attrs, p.parens())
		case "ptr":
			v.Ptr = &PtrAttr{}
			for p.tok.kind == tokDot {
				if p.isDotWord("align") {
					p.next()
					v.Ptr.Align = p.alignment()
					continue
				}
				s, ok := SpaceByName(p.tok.text)
				if !ok {
					p.want("a state space or .align after .ptr")
				}
				v.Ptr.Space = s
				p.next()
			}
		}
	}
	if v.Space == NoSpace {
		p.want("a state space, such as .global")
	}
	if v.Type == NoType {
		p.want("a type, such as .b32")
	}
	return v
}

func (p *parser) alignment() int {
	pos := p.pos()
	n := p.intConst()
	if n <= 0 || n&(n-1) != 0 || n > 1<<30 {
		p.failAt(pos, "alignment %d is not a power of two", n)
	}
	return int(n)
}

// parens keeps a parenthesised text as it is, without the parentheses.
func (p *parser) parens() string {
	if !p.is('(') {
		p.want(`"("`)
	}
	pos, start := p.pos(), p.off
	depth := 0
	for {
		switch {
		case p.is('('):
			depth++
		case p.is(')'):
			depth--
		case p.tok.kind == tokEOF:
			p.failAt(pos, "( is not closed")
		}
		if depth == 0 {
			break
		}
		p.next()
	}
	s := p.src[start : p.off-1]
	p.next()
	return strings.TrimSpace(s)
}

// variables parses a declaration with its declarators up to the semicolon.
func (p *parser) variables(linkage Linkage, pos Pos, add func(*Var)) {
	head := p.varHead(linkage, pos)
	if head.Space == RegSpace {
		p.failAt(pos, "registers are declared inside functions, not at module scope")
	}
	for {
		v := head
		v.Pos = p.pos()
		v.Name = p.ident("the name of a variable")
		v.Dims = p.dims()
		if p.is('=') {
			p.initialiser(&v)
		}
		add(&v)
		if !p.accept(',') {
			break
		}
	}
	p.expect(';', "after the declaration")
}

func (p *parser) dims() (dims []int) {
	size := int64(1)
	for p.accept('[') {
		if p.accept(']') {
			if len(dims) > 0 {
				p.fail("only the first dimension of an array may be empty")
			}
			dims = append(dims, Unsized)
			continue
		}
		pos := p.pos()
		n := p.intConst()
		if n < 0 || n > 1<<40 {
			p.failAt(pos, "dimension %d is out of range", n)
		}
		if n > 0 {
			if size > (1<<40)/n {
				p.failAt(pos, "the array is too large")
			}
			size *= n
		}
		dims = append(dims, int(n))
		p.expect(']', "after the dimension")
		if len(dims) > maxDepth {
			p.fail("more than %d dimensions", maxDepth)
		}
	}
	return dims
}

// strides gives, for the nesting levels of an initialiser, how many scalars an
// element of that level takes. A vector type is one more level.
func (v *Var) strides() []int {
	dims := v.Dims
	if v.Vec > 0 {
		dims = append(append([]int(nil), dims...), v.Vec)
	}
	s := make([]int, len(dims))
	n := 1
	for i := len(dims) - 1; i >= 0; i-- {
		s[i] = n
		n *= max(dims[i], 1)
	}
	return s
}

func (p *parser) initialiser(v *Var) {
	p.next()
	if v.Type.Kind() == KindOpaque && p.is('{') {
		start := p.off
		for !p.is('}') {
			if p.tok.kind == tokEOF {
				p.want(`"}" after the initialiser`)
			}
			p.next()
		}
		v.Opaque = strings.TrimSpace(p.src[start : p.off-1])
		p.next()
		return
	}
	if !p.is('{') {
		v.Init = []InitItem{p.initItem(0)}
		return
	}
	strides := v.strides()
	if len(strides) == 0 { // a scalar in braces
		strides = []int{1}
	}
	p.initList(v, strides, 0)
	if v.Init == nil {
		v.Init = []InitItem{} // = {} is not the same as nothing
	}
}

// initList parses a braced list whose first element is scalar number index.
func (p *parser) initList(v *Var, strides []int, index int) {
	p.next()
	for !p.is('}') {
		if p.is('{') {
			if len(strides) < 2 {
				p.fail("the initialiser nests deeper than the array has dimensions")
			}
			p.initList(v, strides[1:], index)
			index += strides[0]
		} else {
			v.Init = append(v.Init, p.initItem(index))
			index++
		}
		if !p.accept(',') {
			break
		}
	}
	p.expect('}', "after the initialiser")
}

func (p *parser) initItem(index int) InitItem {
	it := InitItem{Index: index}
	if p.tok.kind == tokIdent && p.tok.text != "WARP_SZ" {
		p.initAddress(&it)
		return it
	}
	pos := p.pos()
	c := p.constant()
	if p.accept('(') { // 0xff00(sym): one byte of the address
		if c.Kind > ImmUint || c.Bits == 0 {
			p.failAt(pos, "the mask of an address is an integer such as 0xff, not zero")
		}
		it.Mask = c.Bits
		if p.tok.kind != tokIdent {
			p.want("the name of a variable or function")
		}
		p.initAddress(&it)
		p.expect(')', "after the masked address")
		return it
	}
	it.Value = c
	return it
}

func (p *parser) initAddress(it *InitItem) {
	name := p.ident("the name of a variable or function")
	if name == "generic" && p.is('(') {
		p.next()
		it.Generic = true
		name = p.ident("the name of a variable")
		p.expect(')', "after the name in generic()")
	}
	it.Value = Sym{Name: name, Offset: p.offset()}
}

// offset parses an optional +n, -n or +-n.
func (p *parser) offset() int64 {
	switch {
	case p.accept('+'):
		return p.intConst()
	case p.is('-'):
		return p.intConst()
	}
	return 0
}
