package ptx

import (
	"fmt"
	"strings"
)

// targetVersion is the first PTX ISA version that knows a target (PTX ISA, "Release
// Notes").
var targetVersion = map[int]Version{
	50: {4, 0}, 52: {4, 1}, 53: {4, 2}, 60: {5, 0}, 61: {5, 0}, 62: {5, 0}, 70: {6, 0}, 72: {6, 1},
	75: {6, 3}, 80: {7, 0}, 86: {7, 1}, 87: {7, 4}, 88: {9, 0}, 89: {7, 8}, 90: {7, 8},
	100: {8, 6}, 101: {8, 6}, 103: {8, 8}, 110: {9, 0}, 120: {8, 7}, 121: {8, 8},
}

// MinVersion is the first PTX ISA version that knows the target; false if none does.
func (t Target) MinVersion() (Version, bool) {
	v, ok := targetVersion[t.SM]
	switch {
	case !ok || t.Class == 'a' && t.SM < 90 || t.Class == 'f' && t.SM < 100:
		return v, false
	case t.Class == 'a' && t.SM == 90:
		v = Version{8, 0}
	case t.Class == 'f' && v.Less(Version{8, 8}):
		v = Version{8, 8}
	}
	return v, ok
}

// gpuFamily is the number shared by the capabilities that an f target runs on.
func gpuFamily(sm int) int {
	switch sm {
	case 100, 103:
		return 100
	case 101, 110:
		return 110
	case 120, 121:
		return 120
	}
	return sm
}

// RunsOn reports whether code for the target can be loaded on a GPU of this compute
// capability: a plain target on this one and every later, an f target in its family,
// an a target on this one alone.
func (t Target) RunsOn(cc int) bool {
	switch t.Class {
	case 'a':
		return cc == t.SM
	case 'f':
		return cc >= t.SM && gpuFamily(cc) == gpuFamily(t.SM)
	}
	return cc >= t.SM
}

// has reports whether the target has a feature of the architecture or family a.
func (t Target) has(a Target) bool {
	if a.Class == 'a' {
		return t.Class == 'a' && t.SM == a.SM
	}
	return t.Class != 0 && gpuFamily(t.SM) == gpuFamily(a.SM) && t.SM >= a.SM
}

// version is the least version with which the target meets the requirement; ok is
// false if none does.
func (r *Req) version(t Target) (v Version, ok bool) {
	v = r.Version
	if t.SM < r.SM {
		return v, false
	}
	if len(r.Arch) == 0 {
		return v, true
	}
	for _, a := range r.Arch {
		if t.has(a.Target) {
			w := v
			if w.Less(a.Version) {
				w = a.Version
			}
			if !ok || w.Less(v) {
				v, ok = w, true
			}
		}
	}
	return v, ok
}

// targets words which targets meet the requirement.
func (r *Req) targets() string {
	if len(r.Arch) == 0 {
		return fmt.Sprintf("sm_%d or later", r.SM)
	}
	names := make([]string, len(r.Arch))
	for i, a := range r.Arch {
		names[i] = a.Target.String()
	}
	return strings.Join(names, ", ")
}

// needs visits what the module needs, with where and a name for it.
func (m *Module) needs(visit func(r Req, pos Pos, what string)) {
	for _, d := range m.Decls {
		switch d := d.(type) {
		case *Directive:
			if d.Name == "alias" {
				visit(Req{Version: Version{6, 3}, SM: 30}, d.Pos, ".alias")
			}
		case *Var:
			d.needs(visit)
		case *Func:
			d.needs(visit)
		}
	}
}

func (v *Var) needs(visit func(Req, Pos, string)) {
	if v.Type == B128 {
		visit(Req{Version: Version{8, 3}, SM: 70}, v.Pos, "type .b128")
	}
	for _, a := range v.Attrs {
		switch {
		case strings.HasPrefix(a, ".managed"):
			visit(Req{Version: Version{4, 0}, SM: 30}, v.Pos, ".attribute(.managed)")
		case strings.HasPrefix(a, ".unified"):
			visit(Req{Version: Version{8, 2}, SM: 90}, v.Pos, ".attribute(.unified)")
		}
	}
}

// directiveReq is what performance and cluster directives need.
var directiveReq = map[string]Req{
	"reqnctapercluster":    {Version: Version{7, 8}, SM: 90},
	"explicitcluster":      {Version: Version{7, 8}, SM: 90},
	"maxclusterrank":       {Version: Version{7, 8}, SM: 90},
	"blocksareclusters":    {Version: Version{9, 0}, SM: 90},
	"abi_preserve":         {Version: Version{9, 0}, SM: 80},
	"abi_preserve_control": {Version: Version{9, 0}, SM: 80},
}

func (f *Func) needs(visit func(Req, Pos, string)) {
	for _, d := range f.Directives {
		if r, ok := directiveReq[d.Name]; ok {
			visit(r, d.Pos, "."+d.Name)
		}
	}
	if f.NoReturn {
		visit(Req{Version: Version{6, 4}, SM: 30}, f.Pos, ".noreturn")
	}
	if size := f.paramBytes(); f.Entry && size > 4096 {
		visit(Req{Version: Version{8, 1}, SM: 70}, f.Pos, fmt.Sprintf("parameters of %d bytes, more than 4096,", size))
	}
	if f.Body != nil {
		f.Body.needs(visit)
	}
}

func (b *Block) needs(visit func(Req, Pos, string)) {
	for _, s := range b.Stmts {
		switch s := s.(type) {
		case *Block:
			s.needs(visit)
		case *Var:
			s.needs(visit)
		case *RegDecl:
			if s.Type == B128 {
				visit(Req{Version: Version{8, 3}, SM: 70}, s.Pos, "type .b128")
			}
		case *Instr:
			s.needs(visit)
		}
	}
}

func (in *Instr) needs(visit func(Req, Pos, string)) {
	m := in.match
	if m == nil {
		return
	}
	some := func(r *Req) bool { return r.SM > 0 || r.Version.Major > 0 || r.Arch != nil }
	if some(&m.form.Req) {
		visit(m.form.Req, in.Pos, in.Opcode())
	}
	for i := range m.form.Slots {
		if s := m.sel[i]; s >= 0 {
			if v := &m.form.Slots[i].Values[s]; some(&v.Req) {
				visit(v.Req, in.Pos, fmt.Sprintf("modifier .%s of %s", v.Text, in.Op))
			}
		}
	}
	for i := range m.form.Args {
		if a := &m.form.Args[i]; some(&a.Req) && in.Operand(a.Name) != nil {
			visit(a.Req, in.Pos, fmt.Sprintf("operand %s of %s", a.Name, in.Opcode()))
		}
	}
	for _, o := range in.Args {
		if sp, ok := o.(Special); ok {
			if s := specialTable[sp.Name]; s != nil {
				visit(Req{Version: s.Version, SM: s.SM}, in.Pos, "special register %"+s.Name)
			}
		}
	}
}

// LowestVersion is the lowest PTX ISA version that has all that the module uses, for
// its target. Instructions must be resolved, as Parse and Resolve do.
func (m *Module) LowestVersion() Version {
	low, _ := m.Target.MinVersion()
	m.needs(func(r Req, _ Pos, _ string) {
		if v, ok := r.version(m.Target); ok && low.Less(v) {
			low = v
		}
	})
	return low
}
