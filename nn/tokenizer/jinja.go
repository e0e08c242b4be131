package tokenizer

import (
	"bytes"
	"encoding/json"
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
	must(filters.Replace("items", func(e *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		if m, ok := in.Interface().(map[string]any); ok {
			return exec.AsValue(orderOf(e).items(m))
		}
		return exec.AsValue(fmt.Errorf("items: expected a mapping, found %s", in.String()))
	}))
	blocks := exec.NewControlStructureSet(map[string]parser.ControlStructureParser{}).Update(builtins.ControlStructures)
	must(blocks.Register("generation", parseGeneration))
	return &exec.Environment{
		Context: exec.EmptyContext().Update(builtins.GlobalFunctions).Update(builtins.GlobalVariables),
		Filters: filters, Tests: builtins.Tests, ControlStructures: blocks, Methods: builtins.Methods,
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

// keyOrder remembers the order of keys of the maps given to a template, by the
// map's address: gonja's methods want Go maps, Python's dictionaries are ordered.
type keyOrder map[uintptr][]string

// orderKey is a name no template can write.
const orderKey = "\x00order"

func orderOf(e *exec.Evaluator) keyOrder {
	v, _ := e.Environment.Context.Get(orderKey)
	order, _ := v.(keyOrder)
	return order
}

func (o keyOrder) note(m map[string]any, keys []string) { o[reflect.ValueOf(m).Pointer()] = keys }

func (o keyOrder) keys(m map[string]any) []string {
	var keys []string
	for _, k := range o[reflect.ValueOf(m).Pointer()] {
		if _, ok := m[k]; ok && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	if len(keys) == len(m) {
		return keys
	}
	return slices.Sorted(maps.Keys(m))
}

func (o keyOrder) items(m map[string]any) []any {
	var items []any
	for _, k := range o.keys(m) {
		items = append(items, []any{k, m[k]})
	}
	return items
}

// plain turns a Go value into what templates read, by way of its JSON.
func (o keyOrder) plain(v any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return o.decode(dec)
}

func (o keyOrder) decode(dec *json.Decoder) (any, error) {
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
			list := []any{}
			for dec.More() {
				e, err := o.decode(dec)
				if err != nil {
					return nil, err
				}
				list = append(list, e)
			}
			_, err := dec.Token()
			return list, err
		}
		m, keys := map[string]any{}, []string{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			if m[key.(string)], err = o.decode(dec); err != nil {
				return nil, err
			}
			keys = append(keys, key.(string))
		}
		o.note(m, keys)
		_, err := dec.Token()
		return m, err
	}
	return token, nil
}

// jsonStyle are the arguments of json.dumps that HF's tojson hands on.
type jsonStyle struct {
	ascii, sortKeys bool
	indent          string // of one level
	lines           bool
	item, key       string // separators
	order           keyOrder
}

// toJSON is the filter tojson as HF defines it: json.dumps with ensure_ascii false.
func toJSON(e *exec.Evaluator, in *exec.Value, args *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	s := jsonStyle{item: ", ", key: ": ", order: orderOf(e)}
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
	case map[string]any:
		keys := s.order.keys(v)
		if s.sortKeys {
			slices.Sort(keys)
		}
		return s.list(w, "{", "}", len(keys), depth, func(i int) error {
			out(s.quote(keys[i]) + s.key)
			return s.write(w, v[keys[i]], depth+1)
		})
	case exec.Dict:
		return s.write(w, &v, depth)
	case *exec.Dict:
		pairs := slices.Clone(v.Pairs)
		if s.sortKeys {
			slices.SortStableFunc(pairs, func(a, b *exec.Pair) int { return strings.Compare(a.Key.String(), b.Key.String()) })
		}
		return s.list(w, "{", "}", len(pairs), depth, func(i int) error {
			out(s.quote(pairs[i].Key.String()) + s.key)
			return s.write(w, pairs[i].Value, depth+1)
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
