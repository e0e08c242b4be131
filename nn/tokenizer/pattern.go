package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// scanner returns the length of the word at the start of s, which is not empty.
// The patterns below leave no gaps, so a scanner is all that splitting needs.
type scanner func(s string) int

// Patterns that the scanners in this file implement exactly.
const (
	// PatternGPT2 is the pattern of GPT-2, built into the ByteLevel pre-tokenizer.
	PatternGPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	// PatternLlama3 is the pattern of Llama 3: up to three digits a word.
	PatternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	// PatternQwen2 is the pattern of Qwen2: every digit a word of its own.
	PatternQwen2 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	// PatternGrids makes a word of every cell of a grid as NumPy prints it, of the break
	// between rows, of a decimal number and of a name such as use_size.
	PatternGrids = ` ?\p{N}+\.\p{N}+|\]\n \[| ?\p{N}| ?[\p{L}_]+| ?[^\s\p{L}\p{N}_]+|\s+`
)

var scanners = map[string]scanner{
	PatternGPT2:   scanGPT2,
	PatternLlama3: func(s string) int { return scanLlama(s, 3) },
	PatternQwen2:  func(s string) int { return scanLlama(s, 1) },
	PatternGrids:  scanGrids,
}

// next decodes the character at s[i:]; class is 255 at the end.
func next(s string, i int) (class uint8, n int) {
	if i >= len(s) {
		return 255, 0
	}
	if c := s[i]; c < utf8.RuneSelf {
		return classes[c], 1
	}
	c, n := utf8.DecodeRuneInString(s[i:])
	return classes[c], n
}

// run extends i over characters of one class, at most limit of them.
func run(s string, i int, class uint8, limit int) int {
	for ; limit != 0; limit-- {
		c, n := next(s, i)
		if c != class {
			break
		}
		i += n
	}
	return i
}

// contraction returns the length of 's 't 're 've 'm 'll 'd at the start of s, or 0.
func contraction(s string, fold bool) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	lower := func(c byte) byte {
		if fold && c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	a := lower(s[1])
	switch a {
	case 's', 't', 'm', 'd':
		return 2
	}
	if fold && strings.HasPrefix(s[1:], "ſ") { // folds to s
		return 1 + len("ſ")
	}
	if len(s) < 3 {
		return 0
	}
	b := lower(s[2])
	if (a == 'r' || a == 'v') && b == 'e' || a == 'l' && b == 'l' {
		return 3
	}
	return 0
}

// spaces is `\s+(?!\S)|\s+` with s[:end] the whole run of white space: all of it
// at the end of the text or when it is one character, else all but the last.
func spaces(s string, end int) int {
	if end == len(s) {
		return end
	}
	_, n := utf8.DecodeLastRuneInString(s[:end])
	if n == end {
		return end
	}
	return end - n
}

func scanGPT2(s string) int {
	if n := contraction(s, false); n > 0 {
		return n
	}
	first := 0
	if s[0] == ' ' {
		first = 1
	}
	switch class, n := next(s, first); class {
	case classLetter, classNumber, 0:
		return run(s, first+n, class, -1)
	}
	end := 0
	for {
		class, n := next(s, end)
		if class != classSpace && class != classNewline {
			return spaces(s, end)
		}
		end += n
	}
}

func scanLlama(s string, digits int) int {
	if n := contraction(s, true); n > 0 {
		return n
	}
	first, n := next(s, 0)
	second, m := next(s, n)
	switch {
	case first == classLetter:
		return run(s, n, classLetter, -1)
	case second == classLetter && (first == 0 || first == classSpace):
		return run(s, n+m, classLetter, -1)
	case first == classNumber:
		return run(s, n, classNumber, digits-1)
	case first == 0:
		return run(s, run(s, n, 0, -1), classNewline, -1)
	case s[0] == ' ' && second == 0:
		return run(s, run(s, n+m, 0, -1), classNewline, -1)
	}
	// White space: `\s*[\r\n]+` takes it up to its last line end.
	end, lastNewline := 0, 0
	for {
		class, n := next(s, end)
		if class == classNewline {
			lastNewline = end + n
		} else if class != classSpace {
			break
		}
		end += n
	}
	if lastNewline > 0 {
		return lastNewline
	}
	return spaces(s, end)
}

func scanGrids(s string) int {
	const rowBreak = "]\n ["
	if strings.HasPrefix(s, rowBreak) {
		return len(rowBreak)
	}
	first := 0
	if s[0] == ' ' {
		first = 1
	}
	class, n := next(s, first)
	switch {
	case class == classNumber:
		if whole := run(s, first+n, classNumber, -1); strings.HasPrefix(s[whole:], ".") {
			if end := run(s, whole+1, classNumber, -1); end > whole+1 {
				return end
			}
		}
		return first + n
	case class == classLetter || class == 0:
		ofName := func(i int, class uint8) bool { return class == classLetter || s[i] == '_' }
		want, end := ofName(first, class), first
		for (class == classLetter || class == 0) && ofName(end, class) == want {
			end += n
			class, n = next(s, end)
		}
		return end
	}
	end := 0
	for {
		class, n := next(s, end)
		if class != classSpace && class != classNewline {
			return end
		}
		end += n
	}
}

// compiled keeps expressions by source: regexp2 objects are safe to share.
var compiled sync.Map

// compilePattern compiles an expression of tokenizer.json, where HF uses
// Oniguruma. Only constructs that mean the same in regexp2 are let through.
func compilePattern(field, source string) (*regexp2.Regexp, error) {
	if e, ok := compiled.Load(source); ok {
		return e.(*regexp2.Regexp), nil
	}
	text, err := translatePattern(source)
	if err != nil {
		return nil, fmt.Errorf("%s: pattern %q: %w", field, source, err)
	}
	// Oniguruma folds ſ to s; regexp2 does not.
	text = strings.ReplaceAll(text, "(?i:'s|", "(?i:'s|'ſ|")
	e, err := regexp2.Compile(text, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("%s: pattern %q is not supported: %w", field, source, err)
	}
	compiled.Store(source, e)
	return e, nil
}

// maxPattern bounds the length of an expression.
const maxPattern = 4096

// translatePattern refuses what Oniguruma and regexp2 read differently and
// brings \p{…} to the same version of Unicode.
func translatePattern(source string) (string, error) {
	if len(source) > maxPattern {
		return "", fmt.Errorf("it is %d bytes long; at most %d are supported", len(source), maxPattern)
	}
	var out strings.Builder
	inClass := false
	for i := 0; i < len(source); i++ {
		rest, n := source[i:], 1
		switch c := source[i]; {
		case c == '\\':
			if len(rest) == 1 {
				return "", errors.New("it ends in a backslash")
			}
			e := rest[1]
			letter := e >= 'a' && e <= 'z' || e >= 'A' && e <= 'Z' || e >= '0' && e <= '9'
			if letter && !strings.ContainsRune("pPsSdDrntuxf", rune(e)) {
				return "", fmt.Errorf(`\%c at byte %d is not supported; supported are escaped punctuation and \p{…} \P{…} \s \S \d \D \r \n \t \f \u \x`, e, i)
			}
			n = 2
			if name, _, ok := strings.Cut(rest[2:], "}"); e == 'p' && ok && strings.HasPrefix(name, "{") && additions[name[1:]] != nil {
				out.WriteString(withAdditions(name[1:], inClass))
				i += len(`\p`+name+"}") - 1
				continue
			}
		case inClass && c == ']':
			inClass = false
		case inClass && (strings.HasPrefix(rest, "&&") || c == '['):
			return "", fmt.Errorf("nested sets and && at byte %d are not supported", i)
		case inClass:
		case c == '[':
			inClass = true
			if strings.HasPrefix(rest, "[^") {
				n = 2
			}
		case c == '^' || c == '$' || c == '.':
			return "", fmt.Errorf("%c at byte %d is not supported outside of a set", c, i)
		case strings.HasPrefix(rest, "(?"):
			ok := false
			for _, p := range []string{"(?:", "(?i:", "(?!", "(?=", "(?<!", "(?<="} {
				ok = ok || strings.HasPrefix(rest, p)
			}
			if !ok {
				return "", fmt.Errorf("group %.4q at byte %d is not supported; the groups (?: (?i: (?= (?! (?<= (?<! are supported", rest, i)
			}
		}
		out.WriteString(rest[:n])
		i += n - 1
	}
	return out.String(), nil
}

// regexpMatches calls found for each non-empty match, in bytes. regexp2 counts
// in characters; a failing match (its stack limit) counts as none.
func regexpMatches(e *regexp2.Regexp, s string, found func(i, j int)) {
	runes := []rune(s)
	at, chars := 0, 0 // byte offset of character number chars
	seek := func(to int) int {
		for ; chars < to; chars++ {
			at += utf8.RuneLen(runes[chars])
		}
		return at
	}
	m, err := e.FindRunesMatch(runes)
	for err == nil && m != nil {
		i := seek(m.Index)
		if j := seek(m.Index + m.Length); j > i {
			found(i, j)
		}
		m, err = e.FindNextMatch(m)
	}
}
