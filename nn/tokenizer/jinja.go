package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// jinja is gonja made to behave as the Jinja that HF sets up: Python's JSON,
// dictionaries in order, and the generation block.
var jinja = func() *exec.Environment {
	filters := exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters)
	must(filters.Replace("tojson", toJSON))
	blocks := exec.NewControlStructureSet(map[string]parser.ControlStructureParser{}).Update(builtins.ControlStructures)
	must(blocks.Register("generation", parseGeneration))
	methods := builtins.Methods
	methods.Dict = exec.NewMethodSet(dictMethods)
	strs := map[string]exec.Method[string]{}
	for _, name := range stringMethods {
		method, ok := builtins.Methods.Str.Get(name)
		if !ok {
			continue
		}
		strs[name] = func(s string, v *exec.Value, args *exec.VarArgs) (any, error) {
			out, err := method(s, v, args)
			parts := reflect.ValueOf(out)
			if err != nil || parts.Kind() != reflect.Slice {
				return out, err
			}
			list := make(pyList, parts.Len()) // split and its kin
			for i := range list {
				list[i] = parts.Index(i).String()
			}
			return list, nil
		}
	}
	methods.Str = exec.NewMethodSet(strs)
	return &exec.Environment{
		Context: exec.EmptyContext().Update(builtins.GlobalFunctions).Update(builtins.GlobalVariables),
		Filters: filters, Tests: builtins.Tests, ControlStructures: blocks, Methods: methods,
	}
}()

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// generation is {% generation %}…{% endgeneration %}, with which templates mark
// the assistant's words; it renders its body.
type generation struct {
	at   *tokens.Token
	body *nodes.Wrapper
}

func (g *generation) Position() *tokens.Token { return g.at }
func (g *generation) String() string          { return "generation" }

func (g *generation) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	return r.Inherit().ExecuteWrapper(g.body)
}

func parseGeneration(p *parser.Parser, args *parser.Parser) (nodes.ControlStructure, error) {
	g := &generation{at: p.Current()}
	body, _, err := p.WrapUntil("endgeneration")
	g.body = body
	return g, err
}

// pyList is a list whose negative indices work as Python's do (gonja's stop
// one short of the first element).
type pyList []any

// GetItem implements exec.ItemGetter.
func (l pyList) GetItem(key any) (*exec.Value, bool) {
	i, ok := key.(int)
	if i < 0 {
		i += len(l)
	}
	if !ok || i < 0 || i >= len(l) {
		return exec.AsValue(nil), false
	}
	return exec.ToValue(l[i]), true
}

// stringMethods are the methods of Python's str that templates may call.
var stringMethods = []string{
	"capitalize", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find", "format", "format_map",
	"index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric",
	"isprintable", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix",
	"removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines",
	"startswith", "strip", "swapcase", "title", "upper", "zfill",
}

// dictMethods are Python's, in the order of the keys: gonja's sort them.
var dictMethods = map[string]exec.Method[map[string]any]{
	"items": func(_ map[string]any, self *exec.Value, _ *exec.VarArgs) (any, error) {
		list := pyList{}
		for _, p := range pairs(self) {
			list = append(list, pyList{p.Key, p.Value})
		}
		return list, nil
	},
	"keys": func(_ map[string]any, self *exec.Value, _ *exec.VarArgs) (any, error) {
		list := pyList{}
		for _, p := range pairs(self) {
			list = append(list, p.Key)
		}
		return list, nil
	},
	"values": func(_ map[string]any, self *exec.Value, _ *exec.VarArgs) (any, error) {
		list := pyList{}
		for _, p := range pairs(self) {
			list = append(list, p.Value)
		}
		return list, nil
	},
	"get": func(_ map[string]any, self *exec.Value, args *exec.VarArgs) (any, error) {
		if len(args.Args) < 1 || len(args.Args) > 2 {
			return nil, errors.New("get: expected a key and perhaps a default")
		}
		for _, p := range pairs(self) {
			if p.Key.EqualValueTo(args.Args[0]) {
				return p.Value.Interface(), nil
			}
		}
		if len(args.Args) == 2 {
			return args.Args[1].Interface(), nil
		}
		return nil, nil
	},
}

// pairs lists a dictionary's entries: in order, or by key for a Go map.
func pairs(v *exec.Value) []*exec.Pair {
	switch d := v.Interface().(type) {
	case *exec.Dict:
		return d.Pairs
	case exec.Dict:
		return d.Pairs
	case map[string]any: // a namespace
		var out []*exec.Pair
		for _, k := range slices.Sorted(maps.Keys(d)) {
			out = append(out, pairOf(k, d[k]))
		}
		return out
	}
	return nil
}

func pairOf(key string, v any) *exec.Pair {
	return &exec.Pair{Key: exec.AsValue(key), Value: exec.AsValue(v)}
}

// plain turns a Go value into what templates read, by way of its JSON.
func plain(v any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return plainFrom(dec)
}

func plainFrom(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Number:
		if i, err := strconv.Atoi(v.String()); err == nil {
			return i, nil
		}
		return v.Float64()
	case json.Delim:
		if v == '[' {
			list := pyList{}
			for dec.More() {
				e, err := plainFrom(dec)
				if err != nil {
					return nil, err
				}
				list = append(list, e)
			}
			_, err := dec.Token()
			return list, err
		}
		dict := exec.NewDict()
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			value, err := plainFrom(dec)
			if err != nil {
				return nil, err
			}
			dict.Pairs = append(dict.Pairs, pairOf(key.(string), value))
		}
		_, err := dec.Token()
		return dict, err
	}
	return token, nil
}

// jsonStyle are the arguments of json.dumps that HF's tojson hands on.
type jsonStyle struct {
	ascii, sortKeys bool
	indent          string // of one level
	lines           bool
	item, key       string // separators
}

// toJSON is the filter tojson as HF defines it: json.dumps with ensure_ascii false.
func toJSON(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	s := jsonStyle{item: ", ", key: ": "}
	names := []string{"ensure_ascii", "indent", "separators", "sort_keys"}
	given := map[string]*exec.Value{}
	for i, v := range args.Args {
		if i < len(names) {
			given[names[i]] = v
		}
	}
	for name, v := range args.KwArgs {
		if !slices.Contains(names, name) {
			return exec.AsValue(fmt.Errorf("tojson: argument %q is not supported; supported: %s", name, strings.Join(names, ", ")))
		}
		given[name] = v
	}
	if v := given["ensure_ascii"]; v != nil {
		s.ascii = v.IsTrue()
	}
	if v := given["sort_keys"]; v != nil {
		s.sortKeys = v.IsTrue()
	}
	if v := given["indent"]; v != nil && !v.IsNil() {
		s.lines, s.item = true, ","
		if v.IsString() {
			s.indent = v.String()
		} else {
			s.indent = strings.Repeat(" ", max(0, min(v.Integer(), 64)))
		}
	}
	if v := given["separators"]; v != nil && !v.IsNil() {
		if v.Len() != 2 {
			return exec.AsValue(fmt.Errorf("tojson: separators: expected two strings, found %s", v.String()))
		}
		s.item, s.key = v.Index(0).String(), v.Index(1).String()
	}
	var b strings.Builder
	if err := s.write(&b, in.Interface(), 0); err != nil {
		return exec.AsValue(fmt.Errorf("tojson: %w", err))
	}
	return exec.AsSafeValue(b.String())
}

func (s *jsonStyle) write(w io.StringWriter, v any, depth int) error {
	if depth > 1000 {
		return fmt.Errorf("the value is nested too deeply")
	}
	out := func(text string) { _, _ = w.WriteString(text) }
	switch v := v.(type) {
	case nil:
		out("null")
	case bool:
		out(strconv.FormatBool(v))
	case string:
		out(s.quote(v))
	case float64:
		out(pyFloat(v))
	case *exec.Value:
		return s.write(w, v.Interface(), depth)
	case map[string]any, exec.Dict, *exec.Dict:
		entries := slices.Clone(pairs(exec.AsValue(v)))
		if s.sortKeys {
			slices.SortStableFunc(entries, func(a, b *exec.Pair) int { return strings.Compare(a.Key.String(), b.Key.String()) })
		}
		return s.list(w, "{", "}", len(entries), depth, func(i int) error {
			out(s.quote(entries[i].Key.String()) + s.key)
			return s.write(w, entries[i].Value, depth+1)
		})
	default:
		r := reflect.ValueOf(v)
		switch r.Kind() {
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			out(strconv.FormatInt(r.Int(), 10))
		case reflect.Slice, reflect.Array:
			return s.list(w, "[", "]", r.Len(), depth, func(i int) error {
				return s.write(w, r.Index(i).Interface(), depth+1)
			})
		default:
			return fmt.Errorf("a value of type %T cannot be written as JSON", v)
		}
	}
	return nil
}

func (s *jsonStyle) list(w io.StringWriter, open, shut string, n, depth int, element func(int) error) error {
	out := func(text string) { _, _ = w.WriteString(text) }
	line := func(depth int) {
		if s.lines && n > 0 {
			out("\n" + strings.Repeat(s.indent, depth))
		}
	}
	out(open)
	for i := range n {
		if i > 0 {
			out(s.item)
		}
		line(depth + 1)
		if err := element(i); err != nil {
			return err
		}
	}
	line(depth)
	out(shut)
	return nil
}

// quote writes a string as Python's json does.
func (s *jsonStyle) quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case strings.ContainsRune("\n\r\t\b\f", c):
			b.WriteByte('\\')
			b.WriteByte("nrtbf"[strings.IndexRune("\n\r\t\b\f", c)])
		case c < 0x20 || s.ascii && c > 0x7E && c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		case s.ascii && c >= 0x10000:
			hi, lo := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// pyFloat is Python's repr of a float.
func pyFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strconv.FormatFloat(f, 'f', -1, 64), "+") + "inity"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// strftime formats a time by Python's directives.
func strftime(now time.Time, format string) (string, error) {
	layouts := map[string]string{
		"%d": "02", "%b": "Jan", "%B": "January", "%Y": "2006", "%y": "06", "%m": "01", "%H": "15", "%I": "03", "%M": "04",
		"%S": "05", "%p": "PM", "%a": "Mon", "%A": "Monday", "%j": "002", "%Z": "MST", "%z": "-0700",
		"%-d": "2", "%-m": "1", "%-I": "3", "%F": "2006-01-02", "%T": "15:04:05",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		n := 2
		if strings.HasPrefix(format[i:], "%-") {
			n = 3
		}
		directive := format[i:min(i+n, len(format))]
		layout, ok := layouts[directive]
		switch {
		case directive == "%%":
			b.WriteByte('%')
		case ok:
			b.WriteString(now.Format(layout))
		default:
			return "", fmt.Errorf("strftime_now: directive %q is not supported", directive)
		}
		i += n - 1
	}
	return b.String(), nil
}
