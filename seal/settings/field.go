package settings

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// field is one setting: a leaf of Settings or Fewshot, found by reflection.
type field struct {
	key   string // dotted
	is    string // allowed values
	doc   string
	free  bool
	value reflect.Value
}

// fields lists every setting of s, a struct of groups, in its order.
func fields[T any](s *T) []field {
	return appendFields(nil, "", reflect.ValueOf(s).Elem())
}

func appendFields(to []field, prefix string, group reflect.Value) []field {
	for i := range group.NumField() {
		tag := group.Type().Field(i).Tag
		name, options, _ := strings.Cut(tag.Get("yaml"), ",")
		value := group.Field(i)
		switch {
		case options == "inline":
			to = appendFields(to, prefix, value)
		case value.Kind() == reflect.Struct:
			to = appendFields(to, prefix+name+".", value)
		default:
			to = append(to, field{prefix + name, tag.Get("is"), tag.Get("doc"), tag.Get("free") != "", value})
		}
	}
	return to
}

// setText reads a value written as text, as on a command line or as a plain
// scalar in a file.
func (f field) setText(text string) error {
	switch f.value.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil || (text != "true" && text != "false") {
			return f.wrong(strconv.Quote(text))
		}
		f.value.SetBool(b)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 0)
		if err != nil {
			return f.wrong(strconv.Quote(text))
		}
		f.value.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return f.wrong(strconv.Quote(text))
		}
		f.value.SetUint(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return f.wrong(strconv.Quote(text))
		}
		f.value.SetFloat(x)
	case reflect.String:
		f.value.SetString(text)
	case reflect.Slice:
		f.value.Set(reflect.ValueOf(splitList(text)))
	}
	return f.check()
}

// splitList cuts "a,b" or "[a, b]"; empty text is an empty list.
func splitList(text string) []string {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		text = text[1 : len(text)-1]
	}
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// check says whether the value is one of those allowed.
func (f field) check() error {
	switch f.value.Kind() {
	case reflect.Int:
		if !inInterval(float64(f.value.Int()), f.is) {
			return f.wrong(f.text())
		}
	case reflect.Float64:
		if !inInterval(f.value.Float(), f.is) {
			return f.wrong(f.text())
		}
	case reflect.String:
		if !utf8.ValidString(f.value.String()) || f.is != "" && !slices.Contains(strings.Split(strings.TrimPrefix(f.is, "|"), "|"), f.value.String()) {
			return f.wrong(f.text())
		}
	case reflect.Slice:
		list := f.value.Interface().([]string)
		// A leading bar allows the empty list.
		if f.is != "" && f.is[0] != '|' && len(list) == 0 {
			return f.wrong("an empty list")
		}
		for i, item := range list {
			if !utf8.ValidString(item) || item == "" || f.is != "" && !slices.Contains(strings.Split(strings.TrimPrefix(f.is, "|"), "|"), item) {
				return f.wrong(strconv.Quote(item))
			}
			if slices.Contains(list[:i], item) {
				return f.wrong(strconv.Quote(item) + " twice")
			}
		}
	}
	return nil
}

// inInterval reports whether x lies in an interval written like "(0,1]", with a
// missing bound for infinity. Infinity itself and NaN lie in none.
func inInterval(x float64, interval string) bool {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return false
	}
	low, high := bounds(interval)
	if low != "" {
		bound, _ := strconv.ParseFloat(low, 64)
		if x < bound || x == bound && interval[0] == '(' {
			return false
		}
	}
	if high != "" {
		bound, _ := strconv.ParseFloat(high, 64)
		if x > bound || x == bound && strings.HasSuffix(interval, ")") {
			return false
		}
	}
	return true
}

func bounds(interval string) (low, high string) {
	low, high, _ = strings.Cut(strings.Trim(interval, "[()]"), ",")
	return low, high
}

func (f field) wrong(got string) error {
	return fmt.Errorf("%s: got %s, expected %s", f.key, got, f.expected())
}

// expected says in words what the setting allows.
func (f field) expected() string {
	words := strings.ReplaceAll(f.is, "|", ", ")
	if i := strings.LastIndex(words, ", "); i >= 0 {
		words = words[:i] + " or" + words[i+1:]
	}
	switch f.value.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number" + f.limits()
	case reflect.Uint64:
		return "a whole number of at least 0"
	case reflect.Float64:
		return "a finite number" + f.limits()
	case reflect.Slice:
		if f.is == "" {
			return "a list of different non-empty texts"
		}
		return "a list of different ones of " + strings.ReplaceAll(strings.TrimPrefix(f.is, "|"), "|", ", ")
	}
	if f.is == "" {
		return "text in UTF-8"
	}
	return words
}

func (f field) limits() string {
	var parts []string
	low, high := bounds(f.is)
	if low != "" {
		parts = append(parts, map[byte]string{'(': "above ", '[': "of at least "}[f.is[0]]+low)
	}
	if high != "" {
		parts = append(parts, map[byte]string{')': "below ", ']': "at most "}[f.is[len(f.is)-1]]+high)
	}
	if len(parts) == 0 {
		return ""
	}
	return " " + strings.Join(parts, " and ")
}

// text writes the value as YAML that reads back as the same value.
func (f field) text() string {
	switch f.value.Kind() {
	case reflect.Float64:
		return strconv.FormatFloat(f.value.Float(), 'g', -1, 64)
	case reflect.String:
		return quote(f.value.String())
	case reflect.Slice:
		var items []string
		for _, item := range f.value.Interface().([]string) {
			items = append(items, quote(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprint(f.value.Interface())
}

// quote leaves plain words as they are and quotes everything that YAML might read
// as something else.
func quote(s string) string {
	plain := s != ""
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '/' || r == '_'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789.-", r)) {
			plain = false
		}
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null":
		plain = false
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}
