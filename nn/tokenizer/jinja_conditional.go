package tokenizer

import (
	"slices"
	"strings"
)

// rewriteConditionals rewrites a template's inline conditionals for gonja, which
// reads them only at the end of {{ … }} and {% set %} and not inside brackets:
//
//	(a if c else b)   becomes   ((((c) and [a]) or [b])[0])
//
// The list is never false, so exactly one of a and b is evaluated, as in Jinja.
func rewriteConditionals(source string) string {
	var out strings.Builder
	for source != "" {
		i := strings.IndexByte(source, '{')
		if i < 0 || i+1 == len(source) {
			break
		}
		out.WriteString(source[:i])
		source = source[i:]
		switch source[1] {
		case '#':
			n := len(source)
			if end := strings.Index(source, "#}"); end >= 0 {
				n = end + 2
			}
			out.WriteString(source[:n])
			source = source[n:]
		case '{', '%':
			end := closing(source)
			if end < 0 { // gonja will say what is wrong
				out.WriteString(source)
				return out.String()
			}
			body := source[2:end]
			word := strings.Trim(body, "-+ \t\n")
			if source[1] == '%' && strings.HasPrefix(word, "raw") {
				if stop := strings.Index(source, "endraw"); stop >= 0 {
					out.WriteString(source[:stop])
					source = source[stop:]
					continue
				}
			}
			out.WriteString(source[:2])
			out.WriteString(rewriteTag(body, source[1] == '{'))
			out.WriteString(source[end : end+2])
			source = source[end+2:]
		default:
			out.WriteByte('{')
			source = source[1:]
		}
	}
	out.WriteString(source)
	return out.String()
}

// closing finds the }} or %} of the tag at the start of source, past strings
// and brackets.
func closing(source string) int {
	depth := 0
	for i := 2; i+1 < len(source); {
		switch c := source[i]; {
		case c == '"' || c == '\'':
			i += quoted(source[i:])
			continue
		case depth == 0 && source[i+1] == '}' && (c == '%' && source[1] == '%' || c == '}' && source[1] == '{'):
			return i
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		}
		i++
	}
	return -1
}

// quoted is the length of the string literal at the start of s.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return len(s)
}

// rewriteTag rewrites what is between the delimiters of a tag. On the outer
// level conditionals are expressions of their own only in {{ }} and set.
func rewriteTag(body string, output bool) string {
	lead := body[:len(body)-len(strings.TrimLeft(body, "-+"))]
	tail := body[len(strings.TrimRight(body, "-+")):]
	if len(lead)+len(tail) > len(body) {
		return body
	}
	body = body[len(lead) : len(body)-len(tail)]
	if !output && !strings.HasPrefix(strings.TrimSpace(body), "set ") {
		return lead + rewriteBrackets(body) + tail
	}
	return lead + rewriteParts(body) + tail
}

// rewriteParts rewrites each part of a list of expressions or arguments.
func rewriteParts(s string) string {
	var out strings.Builder
	start := 0
	cut := func(end int) {
		out.WriteString(rewriteConditional(s[start:end]))
		if end < len(s) {
			out.WriteByte(s[end])
		}
		start = end + 1
	}
	eachOuter(s, func(i int) {
		switch c := s[i]; {
		case c == ',' || c == ':':
			cut(i)
		case c == '=' && (i == 0 || strings.IndexByte("=!<>", s[i-1]) < 0) && (i+1 == len(s) || s[i+1] != '='):
			cut(i) // name=value, set name = value
		}
	})
	cut(len(s))
	return out.String()
}

// rewriteConditional rewrites one expression.
func rewriteConditional(s string) string {
	condition, otherwise := -1, -1
	nested := 0
	eachOuter(s, func(i int) {
		switch {
		case wordAt(s, i, "if"):
			if condition < 0 {
				condition = i
			} else if otherwise < 0 {
				nested++
			}
		case wordAt(s, i, "else"):
			if nested > 0 {
				nested--
			} else if condition >= 0 && otherwise < 0 {
				otherwise = i
			}
		}
	})
	if condition < 0 || otherwise < 0 {
		return rewriteBrackets(s)
	}
	a := rewriteBrackets(s[:condition])
	c := rewriteConditional(s[condition+len("if") : otherwise])
	b := rewriteConditional(s[otherwise+len("else"):])
	return " ((((" + c + ") and [" + a + "]) or [" + b + "])[0]) "
}

// rewriteBrackets rewrites what is inside the outermost brackets of s.
func rewriteBrackets(s string) string {
	var out strings.Builder
	depth, from := 0, 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\'':
			i += quoted(s[i:])
			continue
		case strings.IndexByte("([{", c) >= 0:
			if depth++; depth == 1 {
				out.WriteString(s[from : i+1])
				from = i + 1
			}
		case strings.IndexByte(")]}", c) >= 0:
			if depth--; depth == 0 {
				out.WriteString(rewriteParts(s[from:i]))
				from = i
			}
		}
		i++
	}
	out.WriteString(s[from:])
	return out.String()
}

// eachOuter calls visit for the bytes of s outside of strings and brackets.
func eachOuter(s string, visit func(i int)) {
	depth := 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\'':
			i += quoted(s[i:])
			continue
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		case depth == 0:
			visit(i)
		}
		i++
	}
}

// wordAt reports whether s has the word at i, not as a part of a longer one.
func wordAt(s string, i int, word string) bool {
	if !strings.HasPrefix(s[i:], word) {
		return false
	}
	name := func(c byte) bool {
		return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	end := i + len(word)
	return !(i > 0 && name(s[i-1])) && !(end < len(s) && slices.ContainsFunc([]byte{s[end]}, name))
}
