package tokenizer

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// unicodeForm is one of the four Unicode normalisation forms.
type unicodeForm string

func (f unicodeForm) form() norm.Form {
	switch f {
	case "NFC":
		return norm.NFC
	case "NFD":
		return norm.NFD
	case "NFKC":
		return norm.NFKC
	}
	return norm.NFKD
}

func (f unicodeForm) normalize(p span) span {
	form := f.form()
	if form.IsNormalString(p.s) {
		return p
	}
	r := rewriter{src: p}
	for i := 0; i < len(p.s); {
		if c, n := utf8.DecodeRuneInString(p.s[i:]); inRanges(unnormalised, c) {
			i += n
			continue
		}
		j := i + segment(form, p.s[i:])
		r.replace(i, j, f.text(p.s[i:j]))
		i = j
	}
	return r.span()
}

// segment is the length of the shortest prefix of s that normalises on its own.
func segment(form norm.Form, s string) int {
	_, i := utf8.DecodeRuneInString(s)
	for i < len(s) && !form.PropertiesString(s[i:]).BoundaryBefore() {
		c, n := utf8.DecodeRuneInString(s[i:])
		if inRanges(unnormalised, c) {
			break
		}
		i += n
	}
	return i
}

// streamSafe is the longest run of non-starters that x/text normalises as the
// standard says; into longer ones it puts U+034F (UAX 15, stream-safe text).
const streamSafe = 30

// text normalises one segment.
func (f unicodeForm) text(s string) string {
	if utf8.RuneCountInString(s) < streamSafe {
		return f.form().String(s)
	}
	decompose := norm.NFD
	if f == "NFKC" || f == "NFKD" {
		decompose = norm.NFKD
	}
	var runes []rune
	for _, c := range s {
		runes = append(runes, []rune(decompose.String(string(c)))...)
	}
	for i := 0; i < len(runes); {
		j := i
		for j < len(runes) && combining(runes[j]) > 0 {
			j++
		}
		slices.SortStableFunc(runes[i:j], func(a, b rune) int { return int(combining(a)) - int(combining(b)) })
		i = j + 1
	}
	if f == "NFC" || f == "NFKC" {
		runes = compose(runes)
	}
	return string(runes)
}

// compose joins canonically ordered characters (UAX 15, D117).
func compose(runes []rune) []rune {
	out := runes[:0:0]
	starter, last := -1, uint8(0) // last: combining class of the last character kept after the starter
	for _, c := range runes {
		class := combining(c)
		if starter >= 0 && (starter == len(out)-1 || last < class) {
			if joined := []rune(norm.NFC.String(string(out[starter]) + string(c))); len(joined) == 1 {
				out[starter] = joined[0]
				continue
			}
		}
		out = append(out, c)
		last = class
		if class == 0 {
			starter = len(out) - 1
		}
	}
	return out
}

func combining(c rune) uint8 { return norm.NFD.PropertiesString(string(c)).CCC() }

// Character classes of the patterns. What is in none is 0.
const (
	classLetter  = 1 + iota // \p{L}
	classNumber             // \p{N}
	classSpace              // \s but line ends
	classNewline            // \r \n
)

// classes holds the class of every code point.
var classes = func() []uint8 {
	table := make([]uint8, unicode.MaxRune+1)
	fill := func(t *unicode.RangeTable, class uint8) {
		for _, r := range t.R16 {
			for c := uint32(r.Lo); c <= uint32(r.Hi); c += uint32(r.Stride) {
				table[c] = class
			}
		}
		for _, r := range t.R32 {
			for c := r.Lo; c <= r.Hi; c += r.Stride {
				table[c] = class
			}
		}
	}
	add := func(ranges [][2]rune, class uint8) {
		for _, r := range ranges {
			for c := r[0]; c <= r[1]; c++ {
				table[c] = class
			}
		}
	}
	fill(unicode.L, classLetter)
	fill(unicode.N, classNumber)
	add(additions["L"], classLetter)
	add(additions["N"], classNumber)
	fill(unicode.White_Space, classSpace)
	table['\r'], table['\n'] = classNewline, classNewline
	return table
}()
