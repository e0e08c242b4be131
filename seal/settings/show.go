package settings

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Change is a setting that differs between two configurations.
type Change struct {
	Key      string // dotted
	Was, Now string // as YAML
}

func (c Change) String() string { return fmt.Sprintf("%s: %s → %s", c.Key, c.Was, c.Now) }

// Diff lists the settings that differ between a and b, in the order of the
// struct, with the free ones.
func Diff(a, b Settings) []Change {
	var changes []Change
	now := fields(&b)
	for i, f := range fields(&a) {
		if was, is := f.text(), now[i].text(); was != is {
			changes = append(changes, Change{f.key, was, is})
		}
	}
	return changes
}

// Free lists the keys that may change when a run is resumed: no result depends
// on them.
func Free() []string { return free[Settings]() }

func free[T any]() []string {
	var keys []string
	for _, f := range fields(new(T)) {
		if f.free {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// Description is what help says about one setting.
type Description struct {
	Key      string // dotted
	Default  string // as YAML
	Expected string // allowed values, in words
	Doc      string // one line, with unit and source
}

// Describe lists every setting, in the order of the struct.
func Describe() []Description { return describeAll(Default()) }

func describeAll[T any](s T) []Description {
	var list []Description
	for _, f := range fields(&s) {
		list = append(list, Description{f.key, f.text(), f.expected(), f.doc})
	}
	return list
}

// Help is Describe as text: a line per setting with its default, and what it
// means beneath.
func Help() string { return help(Describe()) }

func help(all []Description) string {
	var b strings.Builder
	width := 0
	for _, d := range all {
		width = max(width, len(d.Key))
	}
	for _, d := range all {
		fmt.Fprintf(&b, "  %-*s  %s\n      %s; %s\n", width, d.Key, d.Default, d.Doc, d.Expected)
	}
	return b.String()
}

// Marshal writes s as YAML, every setting in the order of the struct: the same
// settings always give the same bytes, and Parse reads them back.
func (s Settings) Marshal() []byte { return marshal(s) }

func marshal[T any](s T) []byte {
	var b bytes.Buffer
	group := ""
	for _, f := range fields(&s) {
		g, name, _ := strings.Cut(f.key, ".")
		if g != group {
			group = g
			fmt.Fprintf(&b, "%s:\n", g)
		}
		fmt.Fprintf(&b, "  %s: %s\n", name, f.text())
	}
	return b.Bytes()
}

// clone copies s with its lists.
func clone[T any](s *T) T {
	c := *s
	for _, f := range fields(&c) {
		if f.value.Kind() == reflect.Slice {
			f.value.Set(reflect.ValueOf(slices.Clone(f.value.Interface().([]string))))
		}
	}
	return c
}
