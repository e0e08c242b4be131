package ptx

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

type tokenKind uint8

const (
	tokEOF    tokenKind = iota
	tokIdent            // name, %name, $name, _
	tokDot              // .word or .word::word, text without the first dot
	tokNumber           // any literal, with its suffix
	tokString           // text without the quotes
	tokPunct            // one character
)

type token struct {
	kind      tokenKind
	punct     byte
	text      string
	line, col int
}

func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end of the text"
	case tokDot:
		return strconv.Quote("." + clip(t.text))
	case tokString:
		return "the string " + strconv.Quote(clip(t.text))
	}
	return strconv.Quote(clip(t.text))
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}

// Classes of bytes.
const (
	isSpace = 1 << iota
	isWord  // letters, digits, _
	isName  // isWord and $: what goes on an identifier
	isStart // what an identifier may start with
	isDigit
)

var class = func() (c [256]uint8) {
	for _, b := range " \t\r\n\v\f" {
		c[b] |= isSpace
	}
	for b := '0'; b <= '9'; b++ {
		c[b] |= isWord | isName | isDigit
	}
	for b := 'a'; b <= 'z'; b++ {
		c[b] |= isWord | isName | isStart
		c[b-32] |= isWord | isName | isStart
	}
	c['_'] |= isWord | isName | isStart
	c['$'] |= isName | isStart
	c['%'] |= isStart
	return c
}()

// lexer splits PTX text into tokens. It holds one token, tok; off is the byte
// after it.
type lexer struct {
	src       string
	file      string
	off       int
	line      int
	lineStart int
	tok       token
}

// bail carries an Error up to where parsing can go on.
type bail struct{ err *Error }

func (l *lexer) failAt(pos Pos, format string, args ...any) {
	panic(bail{&Error{File: l.file, Pos: pos, Msg: fmt.Sprintf(format, args...)}})
}

// fail reports at the current token.
func (l *lexer) fail(format string, args ...any) {
	l.failAt(l.pos(), format, args...)
}

// want reports that something else was expected than the current token.
func (l *lexer) want(what string) {
	l.fail("found %s, expected %s", l.tok, what)
}

func (l *lexer) pos() Pos { return Pos{Line: l.tok.line, Col: l.tok.col} }

// here is the position of off, for errors inside a token.
func (l *lexer) here() Pos { return Pos{Line: l.line, Col: l.off - l.lineStart + 1} }

// skipSpace passes blanks and comments.
func (l *lexer) skipSpace() {
	s := l.src
	for l.off < len(s) {
		switch c := s[l.off]; {
		case c == '\n':
			l.off++
			l.line++
			l.lineStart = l.off
		case class[c]&isSpace != 0:
			l.off++
		case c == '/' && l.off+1 < len(s) && s[l.off+1] == '/':
			if n := strings.IndexByte(s[l.off:], '\n'); n >= 0 {
				l.off += n
			} else {
				l.off = len(s)
			}
		case c == '/' && l.off+1 < len(s) && s[l.off+1] == '*':
			n := strings.Index(s[l.off+2:], "*/")
			if n < 0 {
				l.failAt(l.here(), "comment /* is not closed by */")
			}
			end := l.off + 2 + n + 2
			for i := l.off; i < end; i++ {
				if s[i] == '\n' {
					l.line++
					l.lineStart = i + 1
				}
			}
			l.off = end
		default:
			return
		}
	}
}

// next reads the next token into tok.
func (l *lexer) next() {
	l.skipSpace()
	t := &l.tok
	t.line, t.col = l.line, l.off-l.lineStart+1
	s, start := l.src, l.off
	if start >= len(s) {
		t.kind, t.punct, t.text = tokEOF, 0, ""
		return
	}
	c := s[start]
	t.punct = 0
	switch {
	case class[c]&isStart != 0:
		i := start + 1
		for i < len(s) && class[s[i]]&isName != 0 {
			i++
		}
		if i == start+1 && c == '%' { // the operator of constant expressions
			break
		}
		l.off = i
		t.kind, t.text = tokIdent, s[start:i]
		return
	case c == '.' && start+1 < len(s) && class[s[start+1]]&isWord != 0:
		l.off = wordEnd(s, start+1)
		t.kind, t.text = tokDot, s[start+1:l.off]
		return
	case class[c]&isDigit != 0:
		l.off = numberEnd(s, start)
		t.kind, t.text = tokNumber, s[start:l.off]
		return
	case c == '"':
		i := start + 1
		for i < len(s) && s[i] != '"' && s[i] != '\n' {
			if s[i] == '\\' && i+1 < len(s) && s[i+1] != '\n' {
				i++
			}
			i++
		}
		if i >= len(s) || s[i] != '"' {
			l.failAt(l.here(), "string is not closed on its line")
		}
		l.off = i + 1
		t.kind, t.text = tokString, s[start+1:i]
		return
	}
	l.off = start + 1
	t.kind, t.punct, t.text = tokPunct, c, s[start:start+1]
}

// wordEnd is the end of a modifier that starts at i: word characters, and :: between
// them.
func wordEnd(s string, i int) int {
	for {
		for i < len(s) && class[s[i]]&isWord != 0 {
			i++
		}
		if i+2 >= len(s) || s[i] != ':' || s[i+1] != ':' || class[s[i+2]]&isWord == 0 {
			return i
		}
		i += 2
	}
}

// numberEnd is the end of the literal that starts at i with a digit.
func numberEnd(s string, i int) int {
	start := i
	for i < len(s) && class[s[i]]&isWord != 0 {
		i++
	}
	if strings.HasPrefix(s[start:i], "0x") || strings.HasPrefix(s[start:i], "0X") {
		return i
	}
	if i < len(s) && s[i] == '.' && allDigits(s[start:i]) {
		i++
		for i < len(s) && class[s[i]]&isWord != 0 {
			i++
		}
	}
	// The sign of an exponent.
	if i < len(s) && (s[i] == '+' || s[i] == '-') && (s[i-1] == 'e' || s[i-1] == 'E') &&
		i+1 < len(s) && class[s[i+1]]&isDigit != 0 && !strings.ContainsAny(s[start:i], "xXfFdD") {
		i++
		for i < len(s) && class[s[i]]&isWord != 0 {
			i++
		}
	}
	return i
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&isDigit == 0 {
			return false
		}
	}
	return len(s) > 0
}

func (l *lexer) is(c byte) bool { return l.tok.punct == c && l.tok.kind == tokPunct }

func (l *lexer) isDotWord(w string) bool { return l.tok.kind == tokDot && l.tok.text == w }

// accept passes the punctuation c if it is next.
func (l *lexer) accept(c byte) bool {
	if l.is(c) {
		l.next()
		return true
	}
	return false
}

// expect passes the punctuation c or fails.
func (l *lexer) expect(c byte, where string) {
	if !l.is(c) {
		l.want(fmt.Sprintf("%q %s", string(c), where))
	}
	l.next()
}

// ident passes a name.
func (l *lexer) ident(what string) string {
	if l.tok.kind != tokIdent {
		l.want(what)
	}
	s := l.tok.text
	l.next()
	return s
}

// number converts a literal (PTX ISA, "Constants").
func number(s string) (Imm, bool) {
	if len(s) > 2 && s[0] == '0' {
		switch s[1] {
		case 'f', 'F':
			v, err := strconv.ParseUint(s[2:], 16, 32)
			return Imm{ImmF32, v}, err == nil && len(s) == 10
		case 'd', 'D':
			v, err := strconv.ParseUint(s[2:], 16, 64)
			return Imm{ImmF64, v}, err == nil && len(s) == 18
		}
	}
	digits, kind := s, ImmInt
	if c := s[len(s)-1]; c == 'U' || c == 'u' {
		digits, kind = s[:len(s)-1], ImmUint
	}
	base := 10
	switch {
	case len(digits) > 2 && (digits[:2] == "0x" || digits[:2] == "0X"):
		digits, base = digits[2:], 16
	case len(digits) > 2 && (digits[:2] == "0b" || digits[:2] == "0B"):
		digits, base = digits[2:], 2
	case len(digits) > 1 && digits[0] == '0' && !strings.ContainsAny(digits, ".eE"):
		digits, base = digits[1:], 8
	}
	if v, err := strconv.ParseUint(digits, base, 64); err == nil {
		if v > math.MaxInt64 {
			kind = ImmUint
		}
		return Imm{kind, v}, true
	}
	if base != 10 || kind != ImmInt || !strings.ContainsAny(s, ".eE") || strings.ContainsAny(s, "_pPxXnN") {
		return Imm{}, false
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "."), 64)
	return Imm{ImmF64, math.Float64bits(v)}, err == nil
}
