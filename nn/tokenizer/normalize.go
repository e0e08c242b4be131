package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// span is a stretch of text on its way to the model, with the place of its
// bytes in the original text.
type span struct {
	s    string
	base int      // original offset of s while off is nil
	off  []Offset // per byte of s, its original range; nil: the bytes are the original ones
}

func (p span) slice(i, j int) span {
	if p.off != nil {
		return span{p.s[i:j], p.base, p.off[i:j]}
	}
	return span{p.s[i:j], p.base + i, nil}
}

// origin returns the original range of bytes [i, j) of the span.
func (p span) origin(i, j int) Offset {
	if p.off == nil {
		return Offset{p.base + i, p.base + j}
	}
	if i >= j {
		return Offset{p.start(), p.start()}
	}
	o := p.off[i]
	for _, b := range p.off[i+1 : j] {
		o.End = max(o.End, b.End)
	}
	return o
}

func (p span) start() int {
	if len(p.off) > 0 {
		return p.off[0].Start
	}
	return p.base
}

// normalizer rewrites a span. Offsets are kept whether wanted or not: texts
// that a normaliser leaves alone pay nothing.
type normalizer interface{ normalize(span) span }

// rewriter builds the rewritten form of a span from left to right, sharing the
// source as long as nothing changes.
type rewriter struct {
	src     span
	done    int // bytes of src consumed
	changed bool
	out     []byte
	off     []Offset
}

// upTo copies the source's bytes up to i.
func (r *rewriter) upTo(i int) {
	if r.changed {
		r.out = append(r.out, r.src.s[r.done:i]...)
		for ; r.done < i; r.done++ {
			r.off = append(r.off, r.src.origin(r.done, r.done+1))
		}
	}
	r.done = i
}

// replace puts text in the place of bytes [i, j), which lie beyond what was consumed.
func (r *rewriter) replace(i, j int, text string) {
	if r.src.s[i:j] == text {
		r.upTo(j)
		return
	}
	if !r.changed {
		r.changed = true
		at := r.done
		r.done = 0
		r.upTo(at)
	}
	r.upTo(i)
	var o Offset
	switch {
	case i < j:
		o = r.src.origin(i, j)
	case i < len(r.src.s):
		o.Start = r.src.origin(i, i+1).Start
		o.End = o.Start
	default:
		o.Start = r.src.origin(0, len(r.src.s)).End
		o.End = o.Start
	}
	r.out = append(r.out, text...)
	for range len(text) {
		r.off = append(r.off, o)
	}
	r.done = j
}

func (r *rewriter) span() span {
	r.upTo(len(r.src.s))
	if !r.changed {
		return r.src
	}
	if r.off == nil {
		r.off = []Offset{}
	}
	return span{string(r.out), r.src.start(), r.off}
}

// validUTF8 replaces ill-formed UTF-8 by U+FFFD, one for each maximal subpart,
// as Python's errors="replace" and Rust's from_utf8_lossy do.
func validUTF8(p span) span {
	if utf8.ValidString(p.s) {
		return p
	}
	r := rewriter{src: p}
	for i := 0; i < len(p.s); {
		c, n := utf8.DecodeRuneInString(p.s[i:])
		if c == utf8.RuneError && n == 1 {
			n = illFormed(p.s[i:])
			r.replace(i, i+n, "\uFFFD")
		}
		i += n
	}
	return r.span()
}

// illFormed returns the length of the maximal subpart at the start of s, which
// does not begin with a well-formed character (Unicode 15, section 3.9, U+FFFD
// substitution of maximal subparts).
func illFormed(s string) int {
	lo, hi, n := byte(0x80), byte(0xBF), 0
	switch b := s[0]; {
	case b >= 0xC2 && b <= 0xDF:
		n = 1
	case b == 0xE0:
		lo, n = 0xA0, 2
	case b == 0xED:
		hi, n = 0x9F, 2
	case b >= 0xE1 && b <= 0xEF:
		n = 2
	case b == 0xF0:
		lo, n = 0x90, 3
	case b >= 0xF1 && b <= 0xF3:
		n = 3
	case b == 0xF4:
		hi, n = 0x8F, 3
	}
	i := 1
	for ; i <= n && i < len(s) && s[i] >= lo && s[i] <= hi; i++ {
		lo, hi = 0x80, 0xBF
	}
	return i
}

type sequenceNormalizer []normalizer

func (q sequenceNormalizer) normalize(p span) span {
	for _, n := range q {
		p = n.normalize(p)
	}
	return p
}

// prependNormalizer puts text before a non-empty span.
type prependNormalizer string

func (n prependNormalizer) normalize(p span) span {
	if p.s == "" {
		return p
	}
	r := rewriter{src: p}
	r.replace(0, 0, string(n))
	return r.span()
}

type replaceNormalizer struct {
	pattern pattern
	content string
}

func (n replaceNormalizer) normalize(p span) span {
	r := rewriter{src: p}
	n.pattern.matches(p.s, func(i, j int) { r.replace(i, j, n.content) })
	return r.span()
}

type lowercaseNormalizer struct{}

func (lowercaseNormalizer) normalize(p span) span {
	r := rewriter{src: p}
	for i, c := range p.s {
		r.replace(i, i+utf8.RuneLen(c), lowerRune(c))
	}
	return r.span()
}

type stripNormalizer struct{ left, right bool }

func (n stripNormalizer) normalize(p span) span {
	i, j := 0, len(p.s)
	if n.left {
		i = len(p.s) - len(strings.TrimLeftFunc(p.s, isSpace))
	}
	if n.right {
		j = max(i, len(strings.TrimRightFunc(p.s, isSpace)))
	}
	return p.slice(i, j)
}

var normalizerNames = []string{"Sequence", "NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace", "Lowercase", "Strip"}

func parseNormalizer(field string, raw json.RawMessage) (normalizer, error) {
	if isNull(raw) {
		return nil, nil
	}
	kind, err := typeOf(field, raw)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "NFC", "NFD", "NFKC", "NFKD":
		return unicodeForm(kind), component(field, raw, &struct{ Type string }{})
	case "Lowercase":
		return lowercaseNormalizer{}, component(field, raw, &struct{ Type string }{})
	case "Prepend":
		var c struct{ Type, Prepend string }
		err := component(field, raw, &c)
		return prependNormalizer(c.Prepend), err
	case "Strip":
		c := struct {
			Type  string
			Left  bool `json:"strip_left"`
			Right bool `json:"strip_right"`
		}{Left: true, Right: true}
		err := component(field, raw, &c)
		return stripNormalizer{c.Left, c.Right}, err
	case "Replace":
		p, content, err := parseReplace(field, raw)
		return replaceNormalizer{p, content}, err
	case "Sequence":
		var c struct {
			Type        string
			Normalizers []json.RawMessage
		}
		if err := component(field, raw, &c); err != nil {
			return nil, err
		}
		var q sequenceNormalizer
		for i, raw := range c.Normalizers {
			n, err := parseNormalizer(fmt.Sprintf("%s.normalizers[%d]", field, i), raw)
			if err != nil {
				return nil, err
			}
			if n == nil {
				return nil, fmt.Errorf("%s.normalizers[%d]: found null; expected a normalizer", field, i)
			}
			q = append(q, n)
		}
		return q, nil
	}
	return nil, unsupported(field+".type", kind, normalizerNames...)
}

// pattern is what Replace and Split look for: a fixed string or an expression.
type pattern struct {
	fixed string
	expr  *regexp2.Regexp
}

// matches calls found for each non-empty match of the pattern in s, in order.
func (p pattern) matches(s string, found func(i, j int)) {
	if p.expr != nil {
		regexpMatches(p.expr, s, found)
		return
	}
	for at := 0; ; {
		i := strings.Index(s[at:], p.fixed)
		if i < 0 {
			return
		}
		found(at+i, at+i+len(p.fixed))
		at += i + len(p.fixed)
	}
}

func parseReplace(field string, raw json.RawMessage) (pattern, string, error) {
	var c struct {
		Type    string
		Pattern json.RawMessage
		Content string
	}
	if err := component(field, raw, &c); err != nil {
		return pattern{}, "", err
	}
	text, isRegexp, err := parsePattern(field+".pattern", c.Pattern)
	if err != nil {
		return pattern{}, "", err
	}
	if !isRegexp {
		return pattern{fixed: text}, c.Content, nil
	}
	expr, err := compilePattern(field+".pattern.Regex", text)
	return pattern{expr: expr}, c.Content, err
}

// parsePattern reads {"String": "…"} or {"Regex": "…"}.
func parsePattern(field string, raw json.RawMessage) (text string, isRegexp bool, err error) {
	var c struct{ String, Regex *string }
	if isNull(raw) {
		return "", false, fmt.Errorf("%s is missing", field)
	}
	if err := component(field, raw, &c); err != nil {
		return "", false, err
	}
	switch {
	case (c.String == nil) == (c.Regex == nil):
		return "", false, fmt.Errorf("%s: expected either \"String\" or \"Regex\"", field)
	case c.Regex != nil:
		text, isRegexp = *c.Regex, true
	default:
		text = *c.String
	}
	if text == "" {
		return "", false, fmt.Errorf("%s is empty", field)
	}
	return text, isRegexp, nil
}
