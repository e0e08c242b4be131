package ptx

import (
	"fmt"
	"os"
	"strings"
)

// Parse reads a module from PTX text; name stands for the text in messages. The
// error is an ErrorList of what is wrong, each with its line and what was expected.
// A terminating NUL, which NVRTC and the driver use, is no part of the text.
// Parse resolves registers, each to the declaration of the innermost scope, and the
// form of every instruction; the rest, such as undefined labels, is for Check.
func Parse[T string | []byte](name string, text T) (*Module, error) {
	p := &parser{
		lexer:   lexer{src: strings.TrimRight(string(text), "\x00"), file: name, line: 1},
		opcodes: map[string]*opcode{},
	}
	m := &Module{File: name, AddrSize: 64}
	p.guard(func() { p.header(m) }, func() {})
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	for p.tok.kind != tokEOF && len(p.errs) < maxErrors {
		p.guard(func() {
			for p.tok.kind != tokEOF {
				p.moduleDecl(m)
			}
		}, p.skipDecl)
	}
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	return m, nil
}

// ParseFile reads a module from a .ptx file.
func ParseFile(path string) (*Module, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

type parser struct {
	lexer
	errs    ErrorList
	depth   int // of nested blocks, braces and expressions
	fn      *Func
	scope   *scope
	opcodes map[string]*opcode
	args    []Operand // of the instruction being parsed
	slab    []Operand // where argument lists are cut from
	instrs  []Instr   // where instructions are cut from
}

// guard runs f; when it fails the error is kept and recover finds a place to go on.
func (p *parser) guard(f, recover func()) {
	if err := catch(f); err != nil {
		p.report(err)
		p.depth = 0
		p.scope = nil
		for len(p.errs) < maxErrors {
			err := catch(recover)
			if err == nil {
				break
			}
			p.report(err)
			p.off = len(p.src) // the text cannot even be split into tokens
		}
	}
}

// report keeps an error once, however many levels it passes.
func (p *parser) report(err *Error) {
	if n := len(p.errs); n == 0 || p.errs[n-1] != err {
		p.errs = append(p.errs, err)
	}
}

func catch(f func()) (err *Error) {
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(bail)
			if !ok {
				panic(r)
			}
			err = b.err
		}
	}()
	f()
	return nil
}

// skipDecl goes to the next declaration: behind a ; or } that no brace encloses.
func (p *parser) skipDecl() {
	for depth := 0; p.tok.kind != tokEOF; p.next() {
		switch {
		case p.is('{'):
			depth++
		case p.is('}') && depth > 0:
			depth--
			fallthrough
		case p.is(';') && depth == 0:
			if depth == 0 {
				p.next()
				return
			}
		}
		if p.tok.kind == tokDot && (p.tok.text == "entry" || p.tok.text == "func") {
			return
		}
	}
}

func (p *parser) header(m *Module) {
	p.next()
	if !p.isDotWord("version") {
		p.want(".version, with which a module begins")
	}
	p.next()
	major, minor, ok := strings.Cut(p.tok.text, ".")
	v := Version{small(major), small(minor)}
	if p.tok.kind != tokNumber || !ok || v.Major < 1 || v.Minor < 0 {
		p.want("a version such as 8.0")
	}
	m.Version = v
	p.next()
	if !p.isDotWord("target") {
		p.want(".target after .version")
	}
	p.next()
	for first := true; ; first = false {
		pos := p.pos()
		s := p.ident("a target such as sm_80")
		if strings.HasPrefix(s, "sm_") || first {
			t, err := ParseTarget(s)
			if err != nil {
				p.failAt(pos, "%s", strings.TrimPrefix(err.Error(), "ptx: "))
			}
			m.Target = t
		} else {
			m.TargetOpts = append(m.TargetOpts, s)
		}
		if !p.accept(',') {
			break
		}
	}
	if p.isDotWord("address_size") {
		p.next()
		switch p.tok.text {
		case "32":
			m.AddrSize = 32
		case "64":
		default:
			p.want("the address size 64 or 32")
		}
		p.next()
	}
}

// small converts up to three digits; -1 if s is anything else.
func small(s string) int {
	if len(s) == 0 || len(s) > 3 {
		return -1
	}
	n := 0
	for i := range len(s) {
		if class[s[i]]&isDigit == 0 {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

func (p *parser) moduleDecl(m *Module) {
	pos := p.pos()
	if p.accept(';') {
		return
	}
	if p.is('@') && strings.HasPrefix(p.src[p.off:], "@") {
		// Obsolete: @@DWARF lines.
		line, _, _ := strings.Cut(p.src[p.off-1:], "\n")
		p.off += len(line) - 1
		m.Decls = append(m.Decls, &Directive{Name: "@@", Text: []string{strings.TrimSpace(line)}, Pos: pos})
		p.next()
		return
	}
	if p.tok.kind != tokDot {
		p.want("a declaration, such as .entry, .func, .global or .const")
	}
	linkage := p.linkage()
	switch w := p.tok.text; w {
	case "entry", "func":
		p.next()
		m.Decls = append(m.Decls, p.function(w == "entry", linkage, pos))
		return
	case "file":
		m.Decls = append(m.Decls, p.fileDirective(pos))
		return
	case "section":
		m.Decls = append(m.Decls, p.section(pos))
		return
	case "pragma":
		m.Decls = append(m.Decls, p.pragma(pos))
		return
	case "alias":
		p.next()
		a := p.ident("the name of the alias")
		p.expect(',', "between alias and function")
		b := p.ident("the name of the aliased function")
		p.expect(';', "after .alias")
		m.Decls = append(m.Decls, &Directive{Name: "alias", Text: []string{a, b}, Pos: pos})
		return
	}
	p.variables(linkage, pos, func(v *Var) { m.Decls = append(m.Decls, v) })
}

func (p *parser) linkage() Linkage {
	for l := Visible; l <= Common; l++ {
		if p.tok.kind == tokDot && "."+p.tok.text == linkageNames[l] {
			p.next()
			if p.tok.kind != tokDot {
				p.want("a declaration after " + linkageNames[l])
			}
			return l
		}
	}
	return Internal
}

func (p *parser) pragma(pos Pos) *Directive {
	d := &Directive{Name: "pragma", Pos: pos}
	p.next()
	for {
		if p.tok.kind != tokString {
			p.want("a string after .pragma")
		}
		d.Text = append(d.Text, p.tok.text)
		p.next()
		if !p.accept(',') {
			break
		}
	}
	p.expect(';', "after .pragma")
	return d
}

// fileDirective is `.file 1 "name"` with an optional `, time, size`.
func (p *parser) fileDirective(pos Pos) *Directive {
	p.next()
	d := &Directive{Name: "file", Pos: pos, Args: []int64{p.intConst()}}
	if p.tok.kind != tokString {
		p.want("the name of the file as a string")
	}
	d.Text = []string{p.tok.text}
	p.next()
	for p.accept(',') {
		d.Args = append(d.Args, p.intConst())
	}
	return d
}

// section keeps the bytes of a debug section as they are.
func (p *parser) section(pos Pos) *Directive {
	p.next()
	name := p.tok.text
	if p.tok.kind != tokDot && p.tok.kind != tokIdent {
		p.want("the name of a section")
	}
	if p.tok.kind == tokDot {
		name = "." + name
	}
	p.next()
	if !p.is('{') {
		p.want(`"{" after the name of the section`)
	}
	start := p.off
	for p.next(); !p.is('}'); p.next() {
		if p.tok.kind == tokEOF {
			p.failAt(pos, "section %s is not closed by }", name)
		}
	}
	body := p.src[start : p.off-1]
	p.next()
	return &Directive{Name: "section", Text: []string{name, body}, Pos: pos}
}

// loc is `.loc file line col`, with `, function_name label + n, inlined_at f l c`.
func (p *parser) loc(pos Pos) *Directive {
	p.next()
	d := &Directive{Name: "loc", Pos: pos, Args: []int64{p.intConst(), p.intConst(), p.intConst()}}
	for p.accept(',') {
		switch w := p.ident("function_name or inlined_at"); w {
		case "function_name":
			d.Text = []string{p.ident("a label of the debug strings")}
			off := int64(0)
			if p.accept('+') {
				off = p.intConst()
			}
			d.Args = append(d.Args, off)
		case "inlined_at":
			if len(d.Text) == 0 {
				p.fail("function_name is expected before inlined_at")
			}
			d.Args = append(d.Args, p.intConst(), p.intConst(), p.intConst())
		default:
			p.fail("after .loc function_name or inlined_at is expected, not %q", w)
		}
	}
	return d
}

func (p *parser) function(entry bool, linkage Linkage, pos Pos) *Func {
	f := &Func{Entry: entry, Linkage: linkage, Pos: pos}
	p.fn, p.scope, p.depth = f, nil, 0
	p.funcAttrs(f)
	if p.is('(') {
		if entry {
			p.fail("an .entry returns nothing; its name is expected")
		}
		f.Returns = p.params()
	}
	f.Pos = p.pos()
	f.Name = p.ident("the name of the function")
	if p.is('(') {
		f.Params = p.params()
	}
	p.funcDirectives(f)
	if p.accept(';') {
		return f
	}
	if !p.is('{') {
		p.want(`";" or "{" after the header of the function`)
	}
	p.push()
	for _, v := range f.Returns {
		p.paramRegister(v)
	}
	for _, v := range f.Params {
		p.paramRegister(v)
	}
	f.Body = p.block()
	p.scope = nil
	p.fn = nil
	return f
}

func (p *parser) funcAttrs(f *Func) {
	for p.tok.kind == tokDot {
		switch p.tok.text {
		case "attribute":
			p.next()
			f.Attrs = append(f.Attrs, p.parens())
		case "noreturn":
			p.next()
			f.NoReturn = true
		default:
			p.want("the name of the function")
		}
	}
}

// paramRegister declares a parameter in the .reg space. It counts as mentioned.
func (p *parser) paramRegister(v *Var) {
	if v.Space != RegSpace {
		return
	}
	fam := p.declare(v.Name, 0, v.Type, v.Vec, v.Pos)
	v.Reg = p.mention(fam, 0, v.Name).R
}

func (p *parser) params() []*Var {
	p.next()
	vars := []*Var{}
	for !p.is(')') {
		v := p.varHead(Internal, p.pos())
		if v.Space != Param && v.Space != RegSpace {
			p.fail("a parameter is in .param or .reg, not in .%s", v.Space)
		}
		v.Pos = p.pos()
		v.Name = p.ident("the name of the parameter, or _")
		v.Dims = p.dims()
		vars = append(vars, &v)
		if !p.accept(',') {
			break
		}
	}
	p.expect(')', "after the parameters")
	return vars
}

func (p *parser) funcDirectives(f *Func) {
	for p.tok.kind == tokDot {
		d := Directive{Name: p.tok.text, Pos: p.pos()}
		switch d.Name {
		case "noreturn":
			f.NoReturn = true
			p.next()
			continue
		case "pragma":
			f.Directives = append(f.Directives, *p.pragma(d.Pos))
			continue
		case "attribute":
			p.next()
			f.Attrs = append(f.Attrs, p.parens())
			continue
		}
		if _, ok := funcDirectiveArgs[d.Name]; !ok {
			p.fail("unknown directive .%s of a function", d.Name)
		}
		p.next()
		for p.tok.kind == tokNumber || p.tok.kind == tokString || p.is('(') {
			if p.tok.kind == tokString {
				d.Text = append(d.Text, p.tok.text)
				p.next()
			} else {
				d.Args = append(d.Args, p.intConst())
			}
			if !p.accept(',') {
				break
			}
		}
		if want := funcDirectiveArgs[d.Name]; len(d.Args) < want[0] || len(d.Args) > want[1] {
			p.failAt(d.Pos, ".%s has %d arguments, expected %s", d.Name, len(d.Args), count(want))
		}
		f.Directives = append(f.Directives, d)
	}
}

// funcDirectiveArgs is the least and the largest number of arguments of the
// performance-tuning and cluster directives.
var funcDirectiveArgs = map[string][2]int{
	"maxnreg":              {1, 1},
	"maxntid":              {1, 3},
	"reqntid":              {1, 3},
	"minnctapersm":         {1, 1},
	"maxnctapersm":         {1, 1},
	"reqnctapercluster":    {1, 3},
	"explicitcluster":      {0, 0},
	"maxclusterrank":       {1, 1},
	"blocksareclusters":    {0, 0},
	"abi_preserve":         {1, 1},
	"abi_preserve_control": {1, 1},
}

func count(r [2]int) string {
	if r[0] == r[1] {
		return fmt.Sprint(r[0])
	}
	return fmt.Sprintf("%d to %d", r[0], r[1])
}
