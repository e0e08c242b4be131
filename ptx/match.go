package ptx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// match is a form with the modifiers chosen: sel holds, for each slot, the index of
// the value, -1 for none. It is shared by instructions and never changed.
type match struct {
	form *Form
	sel  []int8
}

// Form is the row of the instruction table, nil before Resolve.
func (in *Instr) Form() *Form {
	if in.match == nil {
		return nil
	}
	return in.match.form
}

func (m *match) value(slot string) *Value {
	if m == nil {
		return nil
	}
	for i := range m.form.Slots {
		if s := &m.form.Slots[i]; s.Name == slot && m.sel[i] >= 0 {
			return &s.Values[m.sel[i]]
		}
	}
	return nil
}

// Mod is the modifier in the slot of this name, as written without its dot: Mod("rnd")
// is "rn". It is empty if the modifier was left out or the form has no such slot.
func (in *Instr) Mod(slot string) string {
	if v := in.match.value(slot); v != nil {
		return v.Text
	}
	return ""
}

// Has reports whether the slot of this name is filled; Has("ftz") tells of a flag.
func (in *Instr) Has(slot string) bool { return in.match.value(slot) != nil }

// Type is the type in the slot of this name, mostly "type", "dtype" or "atype".
func (in *Instr) Type(slot string) Type {
	if v := in.match.value(slot); v != nil {
		return v.Type
	}
	return NoType
}

// Space is the state space in the slot of this name, mostly "space"; NoSpace means
// generic addressing.
func (in *Instr) Space(slot string) Space {
	if v := in.match.value(slot); v != nil {
		return v.Space
	}
	return NoSpace
}

// Vec is the number of elements that .v2, .v4 or .v8 asks for, 1 without it.
func (in *Instr) Vec() int {
	for _, w := range [...]string{"vec", "v2", "v4", "v8"} {
		if v := in.match.value(w); v != nil {
			return int(v.Text[1] - '0')
		}
	}
	return 1
}

// Binding is an operand of an instruction at its place in the form.
type Binding struct {
	Arg   *Arg
	Op    Operand
	Type  Type  // of the value, or of each element of a vector; NoType for other kinds
	Count int   // elements of a vector, 0 for a scalar
	Space Space // of an address
}

// Bindings pairs the operands with the form's places; a pair d|p gives two. It is nil
// for an instruction that was not resolved.
func (in *Instr) Bindings() []Binding {
	if in.match == nil {
		return nil
	}
	where, _ := in.match.assign(in.Args, nil)
	var list []Binding
	for i, op := range in.Args {
		a := &in.match.form.Args[where[i]]
		if a.Pair != nil {
			if p, ok := op.(Pair); ok {
				list = append(list, in.match.bind(a, p.A), in.match.bind(a.Pair, p.B))
				continue
			}
		}
		if a.Kind == ArgCall {
			return nil
		}
		list = append(list, in.match.bind(a, op))
	}
	return list
}

// Operand is the operand at the place of this name, nil if it was left out.
func (in *Instr) Operand(name string) Operand {
	for _, b := range in.Bindings() {
		if b.Arg.Name == name {
			return b.Op
		}
	}
	return nil
}

func (m *match) bind(a *Arg, op Operand) Binding {
	return Binding{Arg: a, Op: op, Type: m.argType(a), Count: m.argCount(a), Space: m.argSpace(a)}
}

func (m *match) argType(a *Arg) Type {
	t := a.Type
	if a.TypeSlot != "" {
		if v := m.value(a.TypeSlot); v != nil {
			t = v.Type
		}
	}
	if a.Double {
		t = doubled[t]
	}
	if a.countBy != nil && t == F16 {
		t = F16x2 // fragments pack two halves
	}
	return t
}

var doubled = map[Type]Type{U16: U32, S16: S32, U32: U64, S32: S64}

func (m *match) argSpace(a *Arg) Space {
	if a.SpaceSlot != "" {
		if v := m.value(a.SpaceSlot); v != nil {
			return v.Space
		}
		return NoSpace
	}
	return a.Space
}

func (m *match) argCount(a *Arg) int {
	switch {
	case a.count > 0:
		return a.count
	case a.countSlot == "vec":
		if v := m.value("vec"); v != nil {
			return int(v.Text[1] - '0')
		}
	case a.countSlot == "im2col":
		if v := m.value("dim"); v != nil {
			return int(v.Text[0]-'0') - 2
		}
	case a.countDiv > 0:
		if v := m.value("shape"); v != nil {
			return shapeN(v.Text) / a.countDiv
		}
	case a.countBy != nil:
		// The type's own modifier decides before others: dtype and ctype may differ.
		if v := m.value(a.TypeSlot); v != nil {
			if n := countOf(a, v.Text); n > 0 {
				return n
			}
		}
		for i, s := range m.sel {
			if s >= 0 {
				if n := countOf(a, m.form.Slots[i].Values[s].Text); n > 0 {
					return n
				}
			}
		}
	}
	return 0
}

func countOf(a *Arg, value string) int {
	for _, c := range a.countBy {
		if c.value == value {
			return c.n
		}
	}
	return 0
}

// shapeN is N of a shape mMnNkK.
func shapeN(shape string) int {
	i := strings.IndexByte(shape, 'n')
	n, _ := strconv.Atoi(shape[i+1 : strings.IndexByte(shape, 'k')])
	return n
}

// TypeIn is the type of the operand when the modifiers of the form are chosen as
// given: choice maps slot names to values, as {"type": "f32"}.
func (a *Arg) TypeIn(f *Form, choice map[string]string) Type { return f.choose(choice).argType(a) }

// CountIn is the length of the operand's vector for the chosen modifiers, 0 for a
// scalar.
func (a *Arg) CountIn(f *Form, choice map[string]string) int { return f.choose(choice).argCount(a) }

// SpaceIn is the state space of the address for the chosen modifiers.
func (a *Arg) SpaceIn(f *Form, choice map[string]string) Space { return f.choose(choice).argSpace(a) }

func (f *Form) choose(choice map[string]string) *match {
	m := &match{form: f, sel: make([]int8, len(f.Slots))}
	for i := range f.Slots {
		s := &f.Slots[i]
		m.sel[i] = -1
		if s.Fixed {
			m.sel[i] = 0
		}
		if want, ok := choice[s.Name]; ok {
			m.sel[i] = int8(slices.IndexFunc(s.Values, func(v Value) bool { return v.Text == want }))
		}
	}
	return m
}

// matchForm tries to read the modifiers as those of the form, in its order; failing
// that in any order, as ptxas allows. far is how many modifiers could be read.
func matchForm(f *Form, mods []string) (m *match, far int) {
	sel := make([]int8, len(f.Slots))
	var try func(slot, mod int) bool
	steps := 0
	try = func(slot, mod int) bool {
		far = max(far, mod)
		if steps++; steps > 1000 {
			return false
		}
		if slot == len(f.Slots) {
			return mod == len(mods)
		}
		s := &f.Slots[slot]
		skip := s.Optional
		if s.With {
			skip = sel[slot-1] < 0
		}
		for i := range s.Values {
			if s.With && skip {
				break
			}
			if n := s.Values[i].at(mods[mod:]); n > 0 {
				sel[slot] = int8(i)
				if try(slot+1, mod+n) {
					return true
				}
			}
		}
		sel[slot] = -1
		return skip && try(slot+1, mod)
	}
	if try(0, 0) {
		return &match{f, sel}, far
	}
	for i := range sel {
		sel[i] = -1
	}
	for mod := 0; mod < len(mods); {
		n := 0
		for slot := 0; slot < len(f.Slots) && n == 0; slot++ {
			if sel[slot] >= 0 {
				continue
			}
			for i := range f.Slots[slot].Values {
				if n = f.Slots[slot].Values[i].at(mods[mod:]); n > 0 {
					sel[slot] = int8(i)
					break
				}
			}
		}
		if n == 0 {
			return nil, far
		}
		mod += n
	}
	for i := range f.Slots {
		s := &f.Slots[i]
		if sel[i] < 0 && !s.Optional || s.With && (sel[i] < 0) != (sel[i-1] < 0) {
			return nil, far
		}
	}
	return &match{f, sel}, far
}

// at is how many modifiers at the start of mods the value takes; 0 if it is not there.
func (v *Value) at(mods []string) int {
	if len(v.parts) > len(mods) {
		return 0
	}
	for i, p := range v.parts {
		if mods[i] != p {
			return 0
		}
	}
	return len(v.parts)
}

// candidates are the forms that the modifiers can mean, in the table's order.
func candidates(op string, mods []string) (list []*match, err error) {
	forms := isa().byOp[op]
	if forms == nil {
		return nil, fmt.Errorf("unknown instruction %s%s", strconv.Quote(clip(op)), similar(op))
	}
	far := 0
	for _, f := range forms {
		m, n := matchForm(f, mods)
		if m != nil {
			list = append(list, m)
		}
		far = max(far, n)
	}
	if list == nil {
		return nil, modifierError(op, mods, forms, far)
	}
	return list, nil
}

// Resolve finds the form of an instruction that was not made by Parse and checks its
// modifiers and operands against it.
func (in *Instr) Resolve() error {
	list, err := candidates(in.Op, in.Mods)
	if err != nil {
		return err
	}
	return in.choose(list)
}

// choose takes the first candidate whose operands fit.
func (in *Instr) choose(list []*match) error {
	for _, m := range list {
		if m.fits(in.Args) {
			in.match = m
			return nil
		}
	}
	// The complaint of the candidate that got furthest is the most helpful.
	var best *complaint
	for _, m := range list {
		var c complaint
		m.assign(in.Args, &c)
		if best == nil || c.arg > best.arg {
			best = &c
		}
	}
	return fmt.Errorf("%s: %s", in.Opcode(), best.msg)
}

type complaint struct {
	arg int // the operand, counted from 1; 0 before any
	msg string
}

func (c *complaint) set(arg int, format string, args ...any) {
	if c != nil && arg > c.arg {
		*c = complaint{arg, fmt.Sprintf(format, args...)}
	}
}

func (m *match) fits(args []Operand) bool {
	f := m.form
	if len(args) == len(f.Args) {
		ok := true
		for i := range args {
			a := &f.Args[i]
			if m.fit(a, args[i]) != fitYes || a.Optional && !m.wanted(a) {
				ok = false
				break
			}
		}
		if ok {
			return true
		}
	}
	_, ok := m.assign(args, nil)
	return ok
}

// argNeeds names the modifier that an optional operand belongs to: it is there if and
// only if the modifier is.
var argNeeds = map[string]string{"cache_policy": "level::cache_hint", "ctaMask": "multicast"}

// wanted reports whether an optional operand may stand there, as its modifier says.
func (m *match) wanted(a *Arg) bool {
	slot := argNeeds[a.Name]
	return slot == "" || m.form.slot(slot) < 0 || m.value(slot) != nil
}

// mayOmit reports whether an optional operand may be left out.
func (m *match) mayOmit(a *Arg) bool {
	if !a.Optional {
		return false
	}
	slot := argNeeds[a.Name]
	return slot == "" || m.value(slot) == nil
}

// assign finds the place of each operand, leaving out optional ones. A complaint, if
// asked for, is about the furthest operand that did not fit.
func (m *match) assign(args []Operand, c *complaint) (where []int, ok bool) {
	f := m.form
	if len(f.Args) == 1 && f.Args[0].Kind == ArgCall {
		if msg := callError(args); msg != "" {
			c.set(1, "%s", msg)
			return nil, false
		}
		return make([]int, len(args)), true
	}
	where = make([]int, len(args))
	var try func(place, arg int) bool
	try = func(place, arg int) bool {
		if place == len(f.Args) {
			if arg < len(args) {
				c.set(arg+1, "operand %d (%s) is one too many: %s is expected", arg+1, OperandString(args[arg]), f)
			}
			return arg == len(args)
		}
		a := &f.Args[place]
		if arg < len(args) && m.wanted(a) {
			if r := m.fit(a, args[arg]); r == fitYes {
				where[arg] = place
				if try(place+1, arg+1) {
					return true
				}
			} else {
				c.set(arg+1, "operand %d (%s) is %s, expected %s", arg+1, a.label(), describe(args[arg]), m.expected(a, r))
			}
		}
		if m.mayOmit(a) {
			return try(place+1, arg)
		}
		if arg == len(args) {
			c.set(arg+1, "operand %d (%s) is missing: %s is expected", arg+1, a.label(), f)
		}
		return false
	}
	return where, try(0, 0)
}

func (a *Arg) label() string {
	if a.Pair != nil {
		return a.Name + "|" + a.Pair.Name
	}
	return a.Name
}
