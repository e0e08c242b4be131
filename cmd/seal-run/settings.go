package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Settings of a command are a struct. Their keys, in files and after --set, are
// the fields' names in lower case with underscores, joined by dots. Elements of
// a list have their number as a name, or their type's if it has a String method.

// leaf is one setting.
type leaf struct {
	key   string
	value reflect.Value
}

// leaves lists the settings within v, a pointer to a struct, in its order.
func leaves(v any) []leaf { return appendLeaves(nil, "", reflect.ValueOf(v).Elem()) }

func appendLeaves(list []leaf, key string, v reflect.Value) []leaf {
	prefix := ""
	if key != "" {
		prefix = key + "."
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := prefix + snake(v.Type().Field(i).Name)
			if v.Type().Field(i).Anonymous {
				name = key
			}
			list = appendLeaves(list, name, v.Field(i))
		}
		return list
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.String {
			break
		}
		for i := range v.Len() {
			list = appendLeaves(list, prefix+elementName(v, i), v.Index(i))
		}
		return list
	}
	return append(list, leaf{key, v})
}

// elementNames names the elements of arrays of that length.
var elementNames = map[int]func(int) string{}

func elementName(v reflect.Value, i int) string {
	if name := elementNames[v.Len()]; v.Kind() == reflect.Array && name != nil {
		return name(i)
	}
	return strconv.Itoa(i)
}

// snake writes a Go name in lower case: KVHeads becomes kv_heads.
func snake(name string) string {
	var b strings.Builder
	r := []rune(name)
	for i, c := range r {
		if i > 0 && unicode.IsUpper(c) && (unicode.IsLower(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// flat returns every setting as text.
func flat(v any) map[string]string {
	out := map[string]string{}
	for _, l := range leaves(v) {
		out[l.key] = fmt.Sprint(l.value.Interface())
	}
	return out
}

// setText reads a value written in a file or on the command line.
func (l leaf) setText(text string) error {
	text = strings.TrimSpace(text)
	bad := func(want string) error { return fmt.Errorf("%s: got %q, expected %s", l.key, text, want) }
	switch l.value.Kind() {
	case reflect.Int:
		n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
		if err != nil {
			return bad("a whole number")
		}
		l.value.SetInt(int64(n))
	case reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return bad("a whole number of at least 0")
		}
		l.value.SetUint(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || x-x != 0 {
			return bad("a finite number")
		}
		l.value.SetFloat(x)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return bad("true or false")
		}
		l.value.SetBool(b)
	case reflect.String:
		l.value.SetString(text)
	default:
		return bad("nothing: it cannot be set")
	}
	return nil
}

// assign reads key=value into v.
func assign(v any, assignment string) error {
	key, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return fmt.Errorf("--set %s: expected key=value", assignment)
	}
	l, err := find(v, strings.TrimSpace(key))
	if err == nil {
		err = l.setText(value)
	}
	if err != nil {
		return fmt.Errorf("--set %s: %w", assignment, err)
	}
	return nil
}

func find(v any, key string) (leaf, error) {
	all := leaves(v)
	best, distance := "", 1<<30
	for _, l := range all {
		if l.key == key {
			return l, nil
		}
		if d := min(editDistance(l.key, key), 1+editDistance(l.key[strings.LastIndexByte(l.key, '.')+1:], key)); d < distance {
			best, distance = l.key, d
		}
	}
	if distance <= max(2, len(key)/2) {
		return leaf{}, fmt.Errorf("unknown setting %q: did you mean %s?", key, best)
	}
	keys := make([]string, len(all))
	for i, l := range all {
		keys[i] = l.key
	}
	return leaf{}, fmt.Errorf("unknown setting %q: there are %s", key, strings.Join(keys, ", "))
}

// editDistance counts insertions, deletions and substitutions (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// readYAML overlays v, a pointer to a struct, with the settings in a YAML file.
func readYAML(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading settings: %w", err)
	}
	return parseYAML(path, data, v)
}

func parseYAML(name string, data []byte, v any) (err error) {
	// The parser is not ours, and a damaged file must never end in a panic.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: not valid YAML: %v", name, r)
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			p := syntax.GetToken().Position
			return fmt.Errorf("%s:%d:%d: not valid YAML: %s", name, p.Line, p.Column, syntax.GetMessage())
		}
		return fmt.Errorf("%s: not valid YAML: %w", name, err)
	}
	bodies := slices.DeleteFunc(slices.Clone(file.Docs), func(d *ast.DocumentNode) bool { return d.Body == nil })
	for i, d := range bodies {
		if i > 0 {
			return fmt.Errorf("%s: expected one YAML document, found a second", position(name, d.Body))
		}
		if err := readNode(name, v, "", d.Body); err != nil {
			return err
		}
	}
	return nil
}

// readNode assigns what stands under key.
func readNode(name string, v any, key string, node ast.Node) error {
	under := func(part string) string {
		if key == "" {
			return part
		}
		return key + "." + part
	}
	switch n := node.(type) {
	case *ast.NullNode:
		return nil
	case *ast.MappingNode:
		for _, entry := range n.Values {
			if err := readNode(name, v, under(entry.Key.String()), entry.Value); err != nil {
				return err
			}
		}
		return nil
	case *ast.SequenceNode:
		list := listAt(reflect.ValueOf(v).Elem(), key)
		if !list.IsValid() {
			return fmt.Errorf("%s: %s: got a list, expected a value or a group", position(name, node), key)
		}
		list.Set(reflect.MakeSlice(list.Type(), len(n.Values), len(n.Values)))
		for i, item := range n.Values {
			if err := readNode(name, v, under(strconv.Itoa(i)), item); err != nil {
				return err
			}
		}
		return nil
	}
	l, err := find(v, key)
	if err == nil {
		text := node.GetToken().Value
		if lit, ok := node.(*ast.LiteralNode); ok {
			text = lit.Value.Value
		}
		err = l.setText(text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", position(name, node), err)
	}
	return nil
}

// listAt finds the slice of a key, or an invalid value.
func listAt(v reflect.Value, key string) reflect.Value {
	for part := range strings.SplitSeq(key, ".") {
		if v.Kind() != reflect.Struct {
			return reflect.Value{}
		}
		next := reflect.Value{}
		for i := range v.NumField() {
			if snake(v.Type().Field(i).Name) == part {
				next = v.Field(i)
			}
		}
		if v = next; !v.IsValid() {
			return v
		}
	}
	if v.Kind() != reflect.Slice {
		return reflect.Value{}
	}
	return v
}

func position(name string, node ast.Node) string {
	p := node.GetToken().Position
	return fmt.Sprintf("%s:%d:%d", name, p.Line, p.Column)
}
