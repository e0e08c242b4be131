package ptx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// similar suggests mnemonics one edit away.
func similar(op string) string {
	var near []string
	for name := range isa().byOp {
		if editDistance1(op, name) {
			near = append(near, name)
		}
	}
	if near == nil {
		return ""
	}
	slices.Sort(near)
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

func editDistance1(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	j := 0
	for j < len(a)-i && a[len(a)-1-j] == b[len(b)-1-j] {
		j++
	}
	return i+j >= len(b)-1 || len(a) == len(b) && i+j == len(a)-2 && a[i] == b[i+1] && a[i+1] == b[i]
}

// modifierError says which modifier is wrong and what could stand there.
func modifierError(op string, mods []string, forms []*Form, far int) error {
	allowed := []string{}
	for _, f := range forms {
		if _, n := matchForm(f, mods); n != far {
			continue
		}
		for _, v := range f.next(mods[:far]) {
			if !slices.Contains(allowed, v) {
				allowed = append(allowed, v)
			}
		}
	}
	so := op
	if far > 0 {
		so += "." + strings.Join(mods[:far], ".")
	}
	expected := "nothing more is expected"
	if len(allowed) > 0 {
		if n := len(allowed); n > 24 {
			allowed = append(allowed[:24], "...")
		}
		expected = "expected " + strings.Join(allowed, " ")
	}
	if far == len(mods) {
		return fmt.Errorf("%s is not complete: %s", clip(so), expected)
	}
	return fmt.Errorf("%s has no modifier %s here: %s", clip(so), strconv.Quote("."+clip(mods[far])), expected)
}

// next lists what may follow the modifiers, which are the beginning of the form's.
func (f *Form) next(mods []string) (out []string) {
	reached := map[int]bool{}
	steps := 0
	var walk func(slot, mod int)
	walk = func(slot, mod int) {
		if steps++; steps > 1000 {
			return
		}
		if mod == len(mods) {
			reached[slot] = true
		}
		if slot == len(f.Slots) {
			return
		}
		s := &f.Slots[slot]
		for i := range s.Values {
			if n := s.Values[i].at(mods[mod:]); n > 0 {
				walk(slot+1, mod+n)
			}
		}
		if s.Optional {
			walk(slot+1, mod)
		}
	}
	walk(0, 0)
	for slot := range f.Slots {
		if reached[slot] {
			for _, v := range f.Slots[slot].Values {
				out = append(out, "."+v.Text)
			}
		}
	}
	return out
}
