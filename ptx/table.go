package ptx

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The instruction table is text: isa/arith.txt describes its grammar.
//
//go:embed isa/*.txt
var isaText embed.FS

// Form is a row of the instruction table: a mnemonic with the modifiers and operands
// that it takes.
//
// A generator of typed methods ranges over Forms: each Slot that is neither Fixed nor
// a flag is a choice to name in the method or to pass; each Arg with the type that
// Arg.TypeIn gives for the chosen values, Arg.CountIn for vectors. An instruction made
// so is resolved by Instr.Resolve.
type Form struct {
	Op      string // mnemonic: "ld"
	Slots   []Slot // modifiers in the canonical order
	Args    []Arg
	Req     Req    // what the form as such needs
	Section string // of the PTX ISA: "9.7.9.8"
	Title   string // of the section
	Source  string // file and line of the table
}

// Slot is a place for a modifier.
type Slot struct {
	Name     string // "rnd", "type"; of a fixed modifier and of a flag its text
	Fixed    bool   // always there, one value
	Optional bool
	With     bool // there if and only if the slot before it is; Optional, too
	Values   []Value
}

// Flag reports whether the slot is one modifier that may be left out, as .ftz.
func (s *Slot) Flag() bool { return s.Optional && len(s.Values) == 1 && s.Values[0].Text == s.Name }

// Value is one modifier that a slot may hold.
type Value struct {
	Text  string // without the first dot: "f32", "L1::evict_last", "async.global"
	Type  Type   // the type that it names, or NoType
	Space Space  // the state space that it names, or NoSpace
	Req   Req    // what it needs beyond the form
	parts []string
}

// Req is what PTX ISA version and target something needs.
type Req struct {
	Version Version
	SM      int       // least compute capability, 90 for sm_90
	Arch    []ArchReq // if not empty, one of these is needed
}

// ArchReq is an architecture (class a) or a family (class f) that has a feature.
type ArchReq struct {
	Target  Target
	Version Version // least version for this target, if it differs
}

// Dir says whether an operand is read or written.
type Dir uint8

const (
	In Dir = iota
	Out
	InOut
)

// ArgKind is what may stand at an operand's place.
type ArgKind uint8

const (
	ArgValue   ArgKind = iota // a register; for In also a constant
	ArgImm                    // an integer constant
	ArgMem                    // an address in brackets
	ArgTensor                 // [map, {coordinates}]; of a texture with a sampler between
	ArgLabel                  // a label
	ArgTargets                // the label of a .branchtargets
	ArgCall                   // what call takes
)

// Arg is the place of an operand.
type Arg struct {
	Name      string
	Dir       Dir
	Kind      ArgKind
	Type      Type   // of an ArgValue, unless TypeSlot names the modifier that says
	TypeSlot  string // "" if Type holds
	Double    bool   // twice the width of the type
	Wide      bool   // the register may be wider than the type
	Sym       bool   // may be a variable's or function's address
	Sreg      bool   // may be a special register
	Sel       bool   // may select bytes of the register, as r.b0
	DestSel   bool   // must select bytes of the destination, or mask it
	Neg       bool   // may be -r
	Optional  bool
	Sink      bool // may be _
	Not       bool // may be !p
	Space     Space
	SpaceSlot string // "" if Space holds
	Pair      *Arg   // what follows |, nil for no pair
	Req       Req    // what it needs if it is there

	count     int    // 0: a scalar
	countSlot string // vec, or dim for im2col offsets
	countBy   []countCase
	countDiv  int // N of the shape / countDiv
}

type countCase struct {
	value string
	n     int
}

// Vector reports whether the operand is, or may be, a list in braces.
func (a *Arg) Vector() bool {
	return a.count > 0 || a.countSlot != "" || a.countBy != nil || a.countDiv > 0
}

type table struct {
	forms []*Form
	byOp  map[string][]*Form
}

var isa = sync.OnceValue(func() *table {
	t := &table{byOp: map[string][]*Form{}}
	for _, name := range []string{"arith", "data", "sync", "matrix", "texture"} {
		file := "isa/" + name + ".txt"
		text, err := isaText.ReadFile(file)
		if err == nil {
			err = t.read(file, string(text))
		}
		if err != nil {
			panic(err) // the table is part of the program
		}
	}
	return t
})

// Forms lists the instruction table in its order. The caller must not change it.
func Forms() []*Form { return isa().forms }

func (t *table) read(file, text string) error {
	macros := map[string]string{}
	section, title := "", ""
	for i, line := range strings.Split(text, "\n") {
		source := fmt.Sprintf("%s:%d", file, i+1)
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '=':
			section, title, _ = strings.Cut(strings.TrimSpace(line[1:]), " ")
			continue
		case line[0] == '$':
			name, values, ok := strings.Cut(line, " = ")
			if !ok {
				return fmt.Errorf("%s: a list is written $name = values", source)
			}
			values, err := expand(values, macros)
			if err != nil {
				return fmt.Errorf("%s: %w", source, err)
			}
			macros[name] = values
			continue
		}
		f := &Form{Section: section, Title: title, Source: source}
		if err := f.read(line, macros); err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		t.forms = append(t.forms, f)
		t.byOp[f.Op] = append(t.byOp[f.Op], f)
	}
	return nil
}

// expand replaces $names and ranges {8..256..8} in a list of values.
func expand(list string, macros map[string]string) (string, error) {
	var out []string
	for _, v := range strings.Split(list, ",") {
		if strings.HasPrefix(v, "$") {
			name, req, need := strings.Cut(v, "@")
			m, ok := macros[name]
			if !ok {
				return "", fmt.Errorf("no list %s", v)
			}
			v = m
			if need { // of every value
				v = strings.ReplaceAll(m, ",", "@"+req+",") + "@" + req
			}
		}
		pre, rest, ok := strings.Cut(v, "{")
		if !ok {
			out = append(out, v)
			continue
		}
		in, post, _ := strings.Cut(rest, "}")
		var lo, hi, step int
		if n, _ := fmt.Sscanf(in, "%d..%d..%d", &lo, &hi, &step); n != 3 || step < 1 {
			return "", fmt.Errorf("range {%s} is not {low..high..step}", in)
		}
		for ; lo <= hi; lo += step {
			out = append(out, pre+strconv.Itoa(lo)+post)
		}
	}
	return strings.Join(out, ","), nil
}

func (f *Form) read(line string, macros map[string]string) (err error) {
	cols := strings.Split(line, ";")
	if len(cols) < 2 || len(cols) > 3 {
		return fmt.Errorf("a form has two or three columns")
	}
	words := strings.Fields(cols[0])
	f.Op = words[0]
	for _, w := range words[1:] {
		s, err := readSlot(w, macros)
		if err != nil {
			return err
		}
		f.Slots = append(f.Slots, s)
	}
	if args := strings.TrimSpace(cols[1]); args != "" {
		for _, a := range strings.Split(args, ",") {
			arg, err := f.readPair(strings.TrimSpace(a))
			if err != nil {
				return err
			}
			f.Args = append(f.Args, arg)
		}
	}
	if len(cols) == 3 {
		v, sm, _ := strings.Cut(strings.TrimSpace(cols[2]), " ")
		f.Req, err = readReq(v, sm)
	}
	return err
}

func readSlot(w string, macros map[string]string) (s Slot, err error) {
	name, list, choice := strings.Cut(w, "=")
	if !choice {
		name, req, _ := strings.Cut(w, "@")
		list = w
		if n, ok := strings.CutSuffix(name, "?"); ok {
			s.Optional = true
			name = n
			list = name
			if req != "" {
				list += "@" + req
			}
		}
		s.Name, s.Fixed = name, !s.Optional
	} else {
		s.Name = name
		if n, ok := strings.CutSuffix(name, "?"); ok {
			s.Optional = true
			s.Name = n
		}
		if n, ok := strings.CutSuffix(name, "&"); ok {
			s.Optional, s.With = true, true
			s.Name = n
		}
	}
	list, err = expand(list, macros)
	if err != nil {
		return s, err
	}
	for _, v := range strings.Split(list, ",") {
		text, req, _ := strings.Cut(v, "@")
		val := Value{Text: text, parts: strings.Split(text, ".")}
		val.Type, _ = TypeByName(text)
		val.Space, _ = SpaceByName(text)
		ver, sm, _ := strings.Cut(req, "/")
		if val.Req, err = readReq(ver, sm); err != nil {
			return s, err
		}
		s.Values = append(s.Values, val)
	}
	return s, nil
}

func readVersion(s string) (Version, error) {
	major, minor, _ := strings.Cut(s, ".")
	v := Version{small(major), small(minor)}
	if v.Major < 0 || v.Minor < 0 {
		return v, fmt.Errorf("malformed version %q", s)
	}
	return v, nil
}

func readReq(ver, sm string) (r Req, err error) {
	if ver != "" {
		if r.Version, err = readVersion(ver); err != nil {
			return r, err
		}
	}
	if sm = strings.TrimSpace(sm); sm == "" {
		return r, nil
	}
	if n, err := strconv.Atoi(sm); err == nil {
		r.SM = n
		return r, nil
	}
	for _, a := range strings.Split(sm, "/") {
		name, v, _ := strings.Cut(a, "@")
		t, err := ParseTarget("sm_" + name)
		if err != nil {
			return r, err
		}
		req := ArchReq{Target: t}
		if v != "" {
			if req.Version, err = readVersion(v); err != nil {
				return r, err
			}
		}
		r.Arch = append(r.Arch, req)
	}
	return r, nil
}

func (f *Form) readPair(s string) (Arg, error) {
	first, second, pair := strings.Cut(s, "|")
	a, err := f.readArg(first)
	if err == nil && pair {
		var b Arg
		b, err = f.readArg(second)
		a.Pair = &b
	}
	return a, err
}

func (f *Form) readArg(s string) (a Arg, err error) {
	if s == "call" {
		return Arg{Name: "call", Kind: ArgCall}, nil
	}
	name, typ, ok := strings.Cut(s, ":")
	if !ok {
		return a, fmt.Errorf("operand %q is not name:type", s)
	}
	switch name[0] {
	case '>':
		a.Dir, name = Out, name[1:]
	case '*':
		a.Dir, name = InOut, name[1:]
	case '!':
		a.Not, name = true, name[1:]
	}
	if n, ok := strings.CutSuffix(name, "_"); ok {
		a.Sink, name = true, n
	}
	if n, ok := strings.CutSuffix(name, "?"); ok {
		a.Optional, name = true, n
	}
	a.Name = name
	if t, req, ok := strings.Cut(typ, "@"); ok {
		typ = t
		ver, sm, _ := strings.Cut(req, "/")
		if a.Req, err = readReq(ver, sm); err != nil {
			return a, err
		}
	}
	typ, count, vector := strings.Cut(typ, "*")
	if vector {
		if err := a.readCount(count); err != nil {
			return a, err
		}
	}
	typ, flags, _ := strings.Cut(typ, "+")
	if flags != "" || strings.HasSuffix(s, "+") || strings.Contains(s, "+*") {
		for _, fl := range strings.Split(flags, "+") {
			switch fl {
			case "":
				a.Wide = true
			case "sym":
				a.Sym = true
			case "sreg":
				a.Sreg = true
			case "sel":
				a.Sel = true
			case "dsel":
				a.DestSel = true
			case "neg":
				a.Neg = true
			default:
				return a, fmt.Errorf("operand %q has an unknown flag %s", s, fl)
			}
		}
	}
	switch {
	case typ == "imm":
		a.Kind = ArgImm
	case typ == "label":
		a.Kind = ArgLabel
	case typ == "targets":
		a.Kind = ArgTargets
	case typ == "tensor":
		a.Kind = ArgTensor
	case strings.HasPrefix(typ, "["):
		a.Kind = ArgMem
		space := strings.Trim(typ, "[]")
		if f.slot(space) >= 0 && !f.Slots[f.slot(space)].Fixed {
			a.SpaceSlot = space
		} else if sp, ok := SpaceByName(space); ok {
			a.Space = sp
		} else if space != "generic" {
			return a, fmt.Errorf("operand %q: no state space %s", s, space)
		}
	default:
		if t, ok := strings.CutPrefix(typ, "2"); ok {
			a.Double, typ = true, t
		}
		if i := f.slot(typ); i >= 0 && !f.Slots[i].Fixed {
			a.TypeSlot = typ
		} else if t, ok := TypeByName(typ); ok {
			a.Type = t
		} else {
			return a, fmt.Errorf("operand %q: no type or modifier %s", s, typ)
		}
	}
	return a, nil
}

func (a *Arg) readCount(s string) error {
	if n, err := strconv.Atoi(s); err == nil {
		a.count = n
		return nil
	}
	if s == "vec" || s == "im2col" {
		a.countSlot = s
		return nil
	}
	if d, ok := strings.CutPrefix(s, "n/"); ok {
		a.countDiv = small(d)
		return nil
	}
	for _, c := range strings.Split(s, "/") {
		v, n, ok := strings.Cut(c, ":")
		if !ok || small(n) < 1 {
			return fmt.Errorf("malformed count %q", s)
		}
		a.countBy = append(a.countBy, countCase{v, small(n)})
	}
	return nil
}

// slot is the index of the modifier of this name, -1 if there is none.
func (f *Form) slot(name string) int {
	return slices.IndexFunc(f.Slots, func(s Slot) bool { return s.Name == name })
}

// String is the form in the table's notation, readable like the PTX ISA:
// "ld{.weak}{.space}.type d, [a]".
func (f *Form) String() string {
	var b strings.Builder
	b.WriteString(f.Op)
	for _, s := range f.Slots {
		text := "." + s.Name
		if len(s.Values) == 1 {
			text = "." + s.Values[0].Text
		}
		if s.Optional {
			text = "{" + text + "}"
		}
		b.WriteString(text)
	}
	for i, a := range f.Args {
		sep := ", "
		if i == 0 {
			sep = " "
		}
		name := a.Name
		if a.Kind == ArgMem || a.Kind == ArgTensor {
			name = "[" + name + "]"
		}
		if a.Pair != nil {
			name += "|" + a.Pair.Name
		}
		if a.Optional {
			b.WriteString("{" + sep + name + "}")
		} else {
			b.WriteString(sep + name)
		}
	}
	return b.String()
}
