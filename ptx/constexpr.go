package ptx

import "math"

// maxDepth bounds nested scopes, braces and parentheses, so that no text can
// exhaust the stack.
const maxDepth = 200

// constant parses a constant expression (PTX ISA, "Constant Expressions") and
// evaluates it: integers are 64 bits wide, signed unless an operand is unsigned.
func (p *parser) constant() Imm {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		p.fail("expression nests more than %d deep", maxDepth)
	}
	c := p.binary(0)
	if !p.accept('?') {
		return c
	}
	a := p.constant()
	p.expect(':', "of ?:")
	b := p.constant()
	if a.Kind == ImmUint || b.Kind == ImmUint {
		a, b = asUint(a), asUint(b)
	}
	if c.Bits != 0 {
		return a
	}
	return b
}

func asUint(i Imm) Imm {
	if i.Kind == ImmInt {
		i.Kind = ImmUint
	}
	return i
}

// binaryOp is the operator at the current token with its precedence; 0 for none.
func (p *parser) binaryOp() (op string, prec int) {
	if p.tok.kind != tokPunct {
		return "", 0
	}
	two := ""
	if p.off < len(p.src) {
		two = p.tok.text + p.src[p.off:p.off+1]
	}
	switch two {
	case "||":
		return two, 1
	case "&&":
		return two, 2
	case "==", "!=":
		return two, 6
	case "<=", ">=":
		return two, 7
	case "<<", ">>":
		return two, 8
	}
	switch p.tok.punct {
	case '|':
		return "|", 3
	case '^':
		return "^", 4
	case '&':
		return "&", 5
	case '<', '>':
		return p.tok.text, 7
	case '+', '-':
		return p.tok.text, 9
	case '*', '/', '%':
		return p.tok.text, 10
	}
	return "", 0
}

func (p *parser) binary(min int) Imm {
	a := p.unary()
	for {
		op, prec := p.binaryOp()
		if prec == 0 || prec <= min {
			return a
		}
		pos := p.pos()
		p.off += len(op) - 1
		p.next()
		b := p.binary(prec)
		if a.Kind > ImmUint || b.Kind > ImmUint {
			p.failAt(pos, "operator %s takes integers; write the floating-point value itself", op)
		}
		r, ok := evalBinary(op, a, b)
		if !ok {
			p.failAt(pos, "division by zero in a constant expression")
		}
		a = r
	}
}

func evalBinary(op string, a, b Imm) (Imm, bool) {
	kind := ImmInt
	if a.Kind == ImmUint || b.Kind == ImmUint {
		kind = ImmUint
	}
	x, y := a.Bits, b.Bits
	truth := func(t bool) (Imm, bool) {
		if t {
			return Imm{ImmInt, 1}, true
		}
		return Imm{ImmInt, 0}, true
	}
	less := func(x, y uint64) bool {
		if kind == ImmUint {
			return x < y
		}
		return int64(x) < int64(y)
	}
	switch op {
	case "||":
		return truth(x != 0 || y != 0)
	case "&&":
		return truth(x != 0 && y != 0)
	case "==":
		return truth(x == y)
	case "!=":
		return truth(x != y)
	case "<":
		return truth(less(x, y))
	case ">":
		return truth(less(y, x))
	case "<=":
		return truth(!less(y, x))
	case ">=":
		return truth(!less(x, y))
	case "|":
		return Imm{kind, x | y}, true
	case "^":
		return Imm{kind, x ^ y}, true
	case "&":
		return Imm{kind, x & y}, true
	case "<<":
		return Imm{a.Kind, x << (y & 63)}, true
	case ">>":
		if a.Kind == ImmUint {
			return Imm{a.Kind, x >> (y & 63)}, true
		}
		return Imm{a.Kind, uint64(int64(x) >> (y & 63))}, true
	case "+":
		return Imm{kind, x + y}, true
	case "-":
		return Imm{kind, x - y}, true
	case "*":
		return Imm{kind, x * y}, true
	}
	if y == 0 {
		return Imm{}, false
	}
	switch {
	case op == "/" && kind == ImmUint:
		return Imm{kind, x / y}, true
	case op == "/" && y == math.MaxUint64:
		return Imm{kind, -x}, true // the only quotient that can overflow
	case op == "/":
		return Imm{kind, uint64(int64(x) / int64(y))}, true
	case kind == ImmUint:
		return Imm{kind, x % y}, true
	case y == math.MaxUint64:
		return Imm{kind, 0}, true
	}
	return Imm{kind, uint64(int64(x) % int64(y))}, true
}

func (p *parser) unary() Imm {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		p.fail("expression nests more than %d deep", maxDepth)
	}
	t := p.tok
	switch {
	case t.kind == tokNumber:
		v, ok := number(t.text)
		if !ok {
			p.fail("malformed number %s: decimal, 0x, 0b, octal with an optional U, 0f with 8 or 0d with 16 hexadecimal digits, or a decimal fraction is expected", t)
		}
		p.next()
		return v
	case t.kind == tokIdent && t.text == "WARP_SZ":
		p.next()
		return Imm{ImmInt, 32}
	case p.accept('-'):
		v := p.unary()
		switch v.Kind {
		case ImmF32:
			v.Bits ^= 1 << 31
		case ImmF64:
			v.Bits ^= 1 << 63
		default:
			// A literal beyond 63 bits became unsigned; negated it is signed again.
			v.Bits = -v.Bits
		}
		return v
	case p.accept('+'):
		return p.unary()
	case p.accept('~'):
		v := p.integer(p.unary())
		v.Bits = ^v.Bits
		return v
	case p.accept('!'):
		v := p.integer(p.unary())
		if v.Bits == 0 {
			return Imm{ImmInt, 1}
		}
		return Imm{ImmInt, 0}
	case p.accept('('):
		if p.isDotWord("s64") || p.isDotWord("u64") {
			kind := ImmInt
			if p.tok.text == "u64" {
				kind = ImmUint
			}
			p.next()
			p.expect(')', "after the type of a cast")
			v := p.integer(p.unary())
			v.Kind = kind
			return v
		}
		v := p.constant()
		p.expect(')', "that closes the expression")
		return v
	}
	p.want("a constant")
	return Imm{}
}

func (p *parser) integer(v Imm) Imm {
	if v.Kind > ImmUint {
		p.fail("an integer is expected before %s, not a floating-point constant", p.tok)
	}
	return v
}

// intConst parses a constant expression that must be an integer.
func (p *parser) intConst() int64 { return int64(p.integer(p.constant()).Bits) }
