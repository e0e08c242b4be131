package ptx

import (
	"fmt"
	"reflect"
)

// Diff says where two modules differ, empty if they are equal. Positions and the
// file's name do not count; registers are equal when they correspond throughout.
func Diff(a, b *Module) string {
	d := &differ{regs: map[*Register]*Register{}}
	x, y := *a, *b
	x.File, y.File = "", ""
	d.walk("module", reflect.ValueOf(x), reflect.ValueOf(y))
	return d.diff
}

type differ struct {
	regs map[*Register]*Register
	diff string
}

var (
	posType      = reflect.TypeFor[Pos]()
	registerType = reflect.TypeFor[*Register]()
	matchType    = reflect.TypeFor[*match]()
)

func (d *differ) say(path string, a, b reflect.Value) {
	if d.diff == "" {
		d.diff = fmt.Sprintf("%s: %v is not %v", path, a, b)
	}
}

func (d *differ) walk(path string, a, b reflect.Value) {
	if d.diff != "" {
		return
	}
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		d.say(path, a, b)
		return
	}
	if !a.IsValid() {
		return
	}
	switch a.Type() {
	case posType, matchType:
		return
	case registerType:
		d.register(path, a.Interface().(*Register), b.Interface().(*Register))
		return
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() != b.IsNil() {
			d.say(path, a, b)
		} else if !a.IsNil() {
			d.walk(path, a.Elem(), b.Elem())
		}
	case reflect.Slice:
		if a.Len() != b.Len() {
			d.say(path+" (length)", reflect.ValueOf(a.Len()), reflect.ValueOf(b.Len()))
			return
		}
		for i := range a.Len() {
			d.walk(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))
		}
	case reflect.Struct:
		for i := range a.NumField() {
			d.walk(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	default:
		if !a.Equal(b) {
			d.say(path, a, b)
		}
	}
}

func (d *differ) register(path string, a, b *Register) {
	if a == nil || b == nil {
		if a != b {
			d.say(path, reflect.ValueOf(a), reflect.ValueOf(b))
		}
		return
	}
	other, seen := d.regs[a]
	if *a != *b || seen && other != b {
		d.say(path, reflect.ValueOf(*a), reflect.ValueOf(*b))
	}
	d.regs[a] = b
}
