package ptx

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Print writes the module as PTX text; Parse of it gives an equal module. The
// .version is the module's, or the lowest that works if the module states none.
func Print(w io.Writer, m *Module) error {
	_, err := w.Write(m.Append(nil))
	return err
}

// String is the module as PTX text.
func (m *Module) String() string { return string(m.Append(nil)) }

// Append adds the module's PTX text to buf.
func (m *Module) Append(buf []byte) []byte {
	p := &printer{b: buf}
	size := m.AddrSize
	if size == 0 {
		size = 64
	}
	v := m.Version
	if v == (Version{}) {
		v = m.LowestVersion()
	}
	p.printf(".version %s\n.target %s", v, m.Target)
	for _, o := range m.TargetOpts {
		p.str(", ", o)
	}
	p.printf("\n.address_size %d\n", size)
	for _, d := range m.Decls {
		p.str("\n")
		switch d := d.(type) {
		case *Var:
			p.variable(d, ";\n")
		case *Directive:
			p.directive(d)
		case *Func:
			p.function(d)
		}
	}
	return p.b
}

type printer struct {
	b      []byte
	indent int
}

func (p *printer) str(ss ...string) {
	for _, s := range ss {
		p.b = append(p.b, s...)
	}
}

func (p *printer) printf(format string, args ...any) { p.b = fmt.Appendf(p.b, format, args...) }
func (p *printer) int(v int64)                       { p.b = strconv.AppendInt(p.b, v, 10) }

func (p *printer) tabs() {
	for range p.indent {
		p.b = append(p.b, '\t')
	}
}

func (p *printer) directive(d *Directive) {
	if d.Name == "@@" {
		p.str(d.Text...)
		p.str("\n")
		return
	}
	p.str(".", d.Name)
	switch d.Name {
	case "pragma":
		for i, t := range d.Text {
			if i > 0 {
				p.str(",")
			}
			p.str(` "`, t, `"`)
		}
		p.str(";")
	case "file":
		p.printf(" %d \"%s\"", d.Args[0], d.Text[0])
		for _, a := range d.Args[1:] {
			p.printf(", %d", a)
		}
	case "section":
		p.str(" ", d.Text[0], " {", d.Text[1], "}")
	case "alias":
		p.str(" ", d.Text[0], ", ", d.Text[1], ";")
	case "loc":
		p.printf(" %d %d %d", d.Args[0], d.Args[1], d.Args[2])
		if len(d.Text) > 0 {
			p.printf(", function_name %s", d.Text[0])
			if d.Args[3] != 0 {
				p.printf("+%d", d.Args[3])
			}
		}
		if len(d.Args) > 4 {
			p.printf(", inlined_at %d %d %d", d.Args[4], d.Args[5], d.Args[6])
		}
	default:
		sep := " "
		for _, a := range d.Args {
			p.str(sep)
			p.int(a)
			sep = ", "
		}
		for _, t := range d.Text {
			p.str(sep, `"`, t, `"`)
			sep = ", "
		}
	}
	p.str("\n")
}

// variable prints without what precedes it on the line.
func (p *printer) variable(v *Var, end string) {
	if v.Linkage != Internal {
		p.str(v.Linkage.String(), " ")
	}
	p.str(".", v.Space.String())
	for _, a := range v.Attrs {
		p.str(" .attribute(", a, ")")
	}
	if v.Align > 0 {
		p.str(" .align ")
		p.int(int64(v.Align))
	}
	if v.Vec > 0 {
		p.str(" .v")
		p.int(int64(v.Vec))
	}
	p.str(" .", v.Type.String())
	if v.Ptr != nil {
		p.str(" .ptr")
		if v.Ptr.Space != NoSpace {
			p.str(" .", v.Ptr.Space.String())
		}
		if v.Ptr.Align > 0 {
			p.str(" .align ")
			p.int(int64(v.Ptr.Align))
		}
	}
	p.str(" ", v.Name)
	for _, d := range v.Dims {
		if d == Unsized {
			p.str("[]")
		} else {
			p.str("[")
			p.int(int64(d))
			p.str("]")
		}
	}
	if v.Opaque != "" {
		p.str(" = {", v.Opaque, "}")
	}
	if v.Init != nil {
		p.str(" = ")
		if strides := v.strides(); len(strides) == 0 && len(v.Init) == 1 {
			p.initItem(v.Init[0])
		} else {
			if len(strides) == 0 {
				strides = []int{1}
			}
			p.initList(v.Init, strides, 0)
		}
	}
	p.str(end)
}

// initList prints the items of a braced list that begins with scalar number index.
func (p *printer) initList(items []InitItem, strides []int, index int) {
	p.str("{")
	sep := ""
	for len(items) > 0 {
		p.str(sep)
		sep = ", "
		if len(strides) == 1 {
			// A gap that only an assembled module can have reads as zeros.
			for ; index < items[0].Index; index++ {
				p.str("0, ")
			}
			p.initItem(items[0])
			items = items[1:]
			index++
			continue
		}
		n := 0
		for n < len(items) && items[n].Index < index+strides[0] {
			n++
		}
		p.initList(items[:n], strides[1:], index)
		items = items[n:]
		index += strides[0]
	}
	p.str("}")
}

func (p *printer) initItem(it InitItem) {
	if it.Mask != 0 {
		p.printf("0x%x(", it.Mask)
	}
	if s, ok := it.Value.(Sym); ok && it.Generic {
		p.str("generic(", s.Name, ")")
		p.offset(s.Offset)
	} else {
		p.operand(it.Value)
	}
	if it.Mask != 0 {
		p.str(")")
	}
}

func (p *printer) offset(n int64) {
	if n != 0 { // +-4 for a negative one: ptxas takes no minus there
		p.str("+")
		p.int(n)
	}
}

func (p *printer) params(vars []*Var, prefix, sep, end string) {
	p.str("(", prefix)
	for i, v := range vars {
		if i > 0 {
			p.str(",", sep)
		}
		p.variable(v, "")
	}
	p.str(end, ")")
}

func (p *printer) signature(f *Func, name string) {
	for _, a := range f.Attrs {
		p.str(" .attribute(", a, ")")
	}
	if f.Returns != nil {
		p.str(" ")
		p.params(f.Returns, "", " ", "")
	}
	if name != "" {
		p.str(" ", name)
	}
	switch {
	case len(f.Params) > 1:
		p.params(f.Params, "\n\t", "\n\t", "\n")
	case f.Params != nil:
		p.params(f.Params, "", "", "")
	}
	if f.NoReturn {
		p.str(" .noreturn")
	}
}

func (p *printer) function(f *Func) {
	if f.Linkage != Internal {
		p.str(f.Linkage.String(), " ")
	}
	if f.Entry {
		p.str(".entry")
	} else {
		p.str(".func")
	}
	p.signature(f, f.Name)
	p.funcDirectives(f)
	if f.Body == nil {
		p.str(";\n")
		return
	}
	p.str("\n")
	p.block(f.Body)
}

func (p *printer) funcDirectives(f *Func) {
	for i := range f.Directives {
		p.str("\n")
		p.directive(&f.Directives[i])
		p.b = p.b[:len(p.b)-1]
	}
}

func (p *printer) block(b *Block) {
	p.tabs()
	p.str("{\n")
	p.indent++
	for _, s := range b.Stmts {
		switch s := s.(type) {
		case *Label:
			p.str(s.Name, ":\n")
		case *Block:
			p.block(s)
		default:
			p.tabs()
			p.stmt(s)
			p.str("\n")
		}
	}
	p.indent--
	p.tabs()
	p.str("}\n")
}

func (p *printer) stmt(s Stmt) {
	switch s := s.(type) {
	case *Instr:
		p.instr(s)
	case *RegDecl:
		p.str(".reg")
		if s.Vec > 0 {
			p.str(" .v")
			p.int(int64(s.Vec))
		}
		p.str(" .", s.Type.String())
		for i, n := range s.Names {
			if i > 0 {
				p.str(",")
			}
			p.str(" ", n.Name)
			if n.Count > 0 {
				p.str("<")
				p.int(int64(n.Count))
				p.str(">")
			}
		}
		p.str(";")
	case *Var:
		p.variable(s, ";")
	case *Directive:
		p.directive(s)
		p.b = p.b[:len(p.b)-1]
	case *BranchTargets:
		p.str(s.Name, ": .branchtargets ", strings.Join(s.Labels, ", "), ";")
	case *CallTargets:
		p.str(s.Name, ": .calltargets ", strings.Join(s.Funcs, ", "), ";")
	case *CallPrototype:
		p.str(s.Name, ": .callprototype")
		p.signature(s.Proto, "_")
		p.funcDirectives(s.Proto)
		p.str(";")
	case *Label:
		p.str(s.Name, ":")
	}
}

// String is the instruction as PTX text, with its semicolon.
func (in *Instr) String() string {
	p := &printer{}
	p.instr(in)
	return string(p.b)
}

// Opcode is the mnemonic with its modifiers: "ld.global.v4.f32".
func (in *Instr) Opcode() string {
	if len(in.Mods) == 0 {
		return in.Op
	}
	return in.Op + "." + strings.Join(in.Mods, ".")
}

func (p *printer) instr(in *Instr) {
	if in.Guard.Reg != nil {
		p.str("@")
		if in.Guard.Not {
			p.str("!")
		}
		p.str(in.Guard.Reg.Name, " ")
	}
	p.str(in.Op)
	for _, m := range in.Mods {
		p.str(".", m)
	}
	for i, a := range in.Args {
		if i == 0 {
			p.str(" ")
		} else {
			p.str(", ")
		}
		p.operand(a)
	}
	p.str(";")
}

func (p *printer) operands(open string, list []Operand, close string) {
	p.str(open)
	for i, o := range list {
		if i > 0 {
			p.str(", ")
		}
		p.operand(o)
	}
	p.str(close)
}

// OperandString is an operand as PTX text.
func OperandString(o Operand) string {
	p := &printer{}
	p.operand(o)
	return string(p.b)
}

func (p *printer) operand(o Operand) {
	switch o := o.(type) {
	case Reg:
		p.str(o.R.Name)
		if o.Elem != 0 {
			p.b = append(p.b, '.', o.Elem)
		}
		if o.Sel != "" {
			p.str(".", o.Sel)
		}
	case Imm:
		p.imm(o)
	case Special:
		p.str("%", o.Name)
		if o.Elem != 0 {
			p.b = append(p.b, '.', o.Elem)
		}
	case Sym:
		p.str(o.Name)
		p.offset(o.Offset)
	case Mem:
		p.str("[")
		p.operand(o.Base)
		p.offset(o.Offset)
		if o.Sampler != nil {
			p.str(", ")
			p.operand(o.Sampler)
		}
		if o.Coords != nil {
			p.operands(", {", o.Coords, "}")
		}
		p.str("]")
	case Vec:
		p.operands("{", o, "}")
	case List:
		p.operands("(", o, ")")
	case Pair:
		p.operand(o.A)
		p.str("|")
		p.operand(o.B)
	case Not:
		p.str("!")
		p.operand(o.X)
	case Neg:
		p.str("-")
		p.operand(o.X)
	case Sink:
		p.str("_")
	case nil:
		p.str("<nil>")
	}
}

const hexDigits = "0123456789ABCDEF"

func (p *printer) imm(i Imm) {
	switch i.Kind {
	case ImmF32, ImmF64:
		digits := 8
		p.b = append(p.b, '0', 'f')
		if i.Kind == ImmF64 {
			digits = 16
			p.b[len(p.b)-1] = 'd'
		}
		for d := digits - 1; d >= 0; d-- {
			p.b = append(p.b, hexDigits[i.Bits>>(4*d)&15])
		}
	case ImmUint:
		p.b = strconv.AppendUint(p.b, i.Bits, 10)
		if i.Bits <= math.MaxInt64 { // a larger one is unsigned without the suffix
			p.b = append(p.b, 'U')
		}
	default:
		p.int(int64(i.Bits))
	}
}
