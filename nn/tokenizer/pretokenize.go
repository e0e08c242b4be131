package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// preTokenizer cuts a span into smaller ones, in order; it may rewrite them.
// first tells that the span starts where the text starts.
type preTokenizer interface {
	split(p span, first bool, out func(p span, first bool))
}

// byteLevelPre is ByteLevel. The mapping to the byte-level alphabet is left to
// the model, which works on raw bytes; hence it can only be the last step.
type byteLevelPre struct{ prefixSpace, words bool }

func (b byteLevelPre) split(p span, first bool, out func(span, bool)) {
	if b.prefixSpace && !strings.HasPrefix(p.s, " ") {
		p = prependNormalizer(" ").normalize(p)
	}
	if !b.words {
		out(p, first)
		return
	}
	scan(scanGPT2, p, first, out)
}

func scan(next scanner, p span, first bool, out func(span, bool)) {
	for i := 0; i < len(p.s); {
		n := next(p.s[i:])
		out(p.slice(i, i+n), first && i == 0)
		i += n
	}
}

// scanPre is Split with a pattern that has a scanner and behaviour Isolated.
type scanPre struct{ next scanner }

func (s scanPre) split(p span, first bool, out func(span, bool)) { scan(s.next, p, first, out) }

// splitPre cuts at what find finds. behaviour says what becomes of it.
type splitPre struct {
	find      func(s string, found func(i, j int))
	behaviour string
	invert    bool // what is found is kept, the rest are the delimiters
}

var behaviours = []string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}

type piece struct {
	i, j      int
	delimiter bool
}

func (c splitPre) split(p span, first bool, out func(span, bool)) {
	if p.s == "" {
		return
	}
	var pieces []piece
	add := func(i, j int, delimiter bool) {
		if i < j {
			pieces = append(pieces, piece{i, j, delimiter != c.invert})
		}
	}
	at := 0
	c.find(p.s, func(i, j int) {
		add(at, i, false)
		add(i, j, true)
		at = j
	})
	add(at, len(p.s), false)
	for _, q := range c.arrange(pieces) {
		out(p.slice(q.i, q.j), first && q.i == 0)
	}
}

// arrange applies the behaviour to the alternation of text and delimiters.
func (c splitPre) arrange(pieces []piece) []piece {
	if c.behaviour == "Isolated" {
		return pieces
	}
	var out []piece
	for k, q := range pieces {
		previous := k > 0 && len(out) > 0
		switch c.behaviour {
		case "Removed":
			if q.delimiter {
				continue
			}
		case "Contiguous":
			if previous && pieces[k-1].delimiter == q.delimiter {
				out[len(out)-1].j = q.j
				continue
			}
		case "MergedWithPrevious":
			if previous && q.delimiter && !pieces[k-1].delimiter {
				out[len(out)-1].j = q.j
				continue
			}
		case "MergedWithNext":
			if previous && !q.delimiter && pieces[k-1].delimiter {
				out[len(out)-1].j = q.j
				continue
			}
		}
		out = append(out, q)
	}
	return out
}

func eachRune(match func(rune) bool) func(string, func(i, j int)) {
	return func(s string, found func(i, j int)) {
		for i, c := range s {
			if match(c) {
				found(i, i+utf8.RuneLen(c))
			}
		}
	}
}

// metaspacePre writes spaces as the replacement and may put one in front.
type metaspacePre struct {
	replacement string
	scheme      string // always, first, never
	words       bool   // cut before each replacement
}

func (m metaspacePre) split(p span, first bool, out func(span, bool)) {
	p = replaceNormalizer{pattern{fixed: " "}, m.replacement}.normalize(p)
	if (m.scheme == "always" || m.scheme == "first" && first) && !strings.HasPrefix(p.s, m.replacement) {
		p = prependNormalizer(m.replacement).normalize(p)
	}
	if !m.words {
		out(p, first)
		return
	}
	splitPre{find: pattern{fixed: m.replacement}.matches, behaviour: "MergedWithNext"}.split(p, first, out)
}

// metaspaceJSON is Metaspace as pre-tokenizer and as decoder. Older files have
// add_prefix_space in place of prepend_scheme.
type metaspaceJSON struct {
	Type           string
	Replacement    string
	AddPrefixSpace *bool   `json:"add_prefix_space"`
	Scheme         *string `json:"prepend_scheme"`
	Split          *bool
	StrRep         *string `json:"str_rep"`
}

func parseMetaspace(field string, raw json.RawMessage) (metaspacePre, error) {
	var c metaspaceJSON
	if err := component(field, raw, &c); err != nil {
		return metaspacePre{}, err
	}
	m := metaspacePre{c.Replacement, "always", c.Split == nil || *c.Split}
	if utf8.RuneCountInString(c.Replacement) != 1 {
		return m, fmt.Errorf("%s.replacement: found %q; expected one character", field, c.Replacement)
	}
	noPrefix := c.AddPrefixSpace != nil && !*c.AddPrefixSpace
	switch {
	case c.Scheme != nil:
		m.scheme = *c.Scheme
		if m.scheme != "always" && m.scheme != "first" && m.scheme != "never" {
			return m, unsupported(field+".prepend_scheme", m.scheme, "always", "first", "never")
		}
		if noPrefix && m.scheme != "never" {
			return m, fmt.Errorf("%s: add_prefix_space is false but prepend_scheme is %q; expected \"never\"", field, m.scheme)
		}
	case noPrefix:
		m.scheme = "never"
	}
	return m, nil
}

var preTokenizerNames = []string{"Sequence", "ByteLevel", "Split", "Digits", "Metaspace", "WhitespaceSplit"}

func parsePreTokenizer(field string, raw json.RawMessage) ([]preTokenizer, error) {
	if isNull(raw) {
		return nil, nil
	}
	kind, err := typeOf(field, raw)
	if err != nil {
		return nil, err
	}
	one := func(p preTokenizer, err error) ([]preTokenizer, error) { return []preTokenizer{p}, err }
	switch kind {
	case "ByteLevel":
		c, err := parseByteLevel(field, raw)
		return one(byteLevelPre{c.AddPrefixSpace, c.UseRegex}, err)
	case "Metaspace":
		m, err := parseMetaspace(field, raw)
		return one(m, err)
	case "WhitespaceSplit":
		return one(splitPre{find: eachRune(isSpace), behaviour: "Removed"}, component(field, raw, &struct{ Type string }{}))
	case "Digits":
		var c struct {
			Type       string
			Individual bool `json:"individual_digits"`
		}
		err := component(field, raw, &c)
		p := splitPre{find: eachRune(isNumeric), behaviour: "Contiguous"}
		if c.Individual {
			p.behaviour = "Isolated"
		}
		return one(p, err)
	case "Split":
		p, err := parseSplit(field, raw)
		return one(p, err)
	case "Sequence":
		var c struct {
			Type          string
			PreTokenizers []json.RawMessage `json:"pretokenizers"`
		}
		if err := component(field, raw, &c); err != nil {
			return nil, err
		}
		var all []preTokenizer
		for i, raw := range c.PreTokenizers {
			name := fmt.Sprintf("%s.pretokenizers[%d]", field, i)
			p, err := parsePreTokenizer(name, raw)
			if err != nil {
				return nil, err
			}
			if p == nil {
				return nil, fmt.Errorf("%s: found null; expected a pre-tokenizer", name)
			}
			all = append(all, p...)
		}
		return all, nil
	}
	return nil, unsupported(field+".type", kind, preTokenizerNames...)
}

func checkBehaviour(field, name string) error {
	for _, b := range behaviours {
		if b == name {
			return nil
		}
	}
	return unsupported(field+".behavior", name, behaviours...)
}

func parseSplit(field string, raw json.RawMessage) (preTokenizer, error) {
	var c struct {
		Type     string
		Pattern  json.RawMessage
		Behavior string
		Invert   bool
	}
	if err := component(field, raw, &c); err != nil {
		return nil, err
	}
	if err := checkBehaviour(field, c.Behavior); err != nil {
		return nil, err
	}
	text, isRegexp, err := parsePattern(field+".pattern", c.Pattern)
	if err != nil {
		return nil, err
	}
	if !isRegexp {
		return splitPre{pattern{fixed: text}.matches, c.Behavior, c.Invert}, nil
	}
	// The scanners' patterns match everything: Isolated is all matches, and
	// inverting with Removed keeps them just so.
	if s := scanners[text]; s != nil && (c.Behavior == "Isolated" || c.Behavior == "Removed" && c.Invert) {
		return scanPre{s}, nil
	}
	expr, err := compilePattern(field+".pattern.Regex", text)
	return splitPre{pattern{expr: expr}.matches, c.Behavior, c.Invert}, err
}

type byteLevelJSON struct {
	Type           string
	AddPrefixSpace bool `json:"add_prefix_space"`
	TrimOffsets    bool `json:"trim_offsets"`
	UseRegex       bool `json:"use_regex"`
}

func parseByteLevel(field string, raw json.RawMessage) (byteLevelJSON, error) {
	c := byteLevelJSON{AddPrefixSpace: true, TrimOffsets: true, UseRegex: true}
	err := component(field, raw, &c)
	return c, err
}

// checkByteLevel reports whether the last step is ByteLevel and refuses it elsewhere.
func checkByteLevel(steps []preTokenizer) (bool, error) {
	for i, p := range steps {
		if _, ok := p.(byteLevelPre); ok {
			if i < len(steps)-1 {
				return false, fmt.Errorf("pre_tokenizer: ByteLevel is followed by another pre-tokenizer; it is only supported as the last one")
			}
			return true, nil
		}
	}
	return false, nil
}
