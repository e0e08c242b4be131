package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// matcher finds added tokens in a text, leftmost first and the longest of those
// that start at one place. The zero matcher finds nothing.
type matcher struct {
	nodes []matchNode // a trie over bytes; node 0 is the root
	first [256]bool   // bytes some token starts with
}

type matchNode struct {
	next  map[byte]int32
	token *AddedToken
}

func (m *matcher) add(content string, token AddedToken) {
	if content == "" {
		return
	}
	if m.nodes == nil {
		m.nodes = []matchNode{{next: map[byte]int32{}}}
	}
	m.first[content[0]] = true
	at := int32(0)
	for i := range len(content) {
		to, ok := m.nodes[at].next[content[i]]
		if !ok {
			to = int32(len(m.nodes))
			m.nodes = append(m.nodes, matchNode{next: map[byte]int32{}})
			m.nodes[at].next[content[i]] = to
		}
		at = to
	}
	if m.nodes[at].token == nil {
		m.nodes[at].token = &token
	}
}

// find returns the first match in s at or after from.
func (m *matcher) find(s string, from int) (token *AddedToken, i, j int) {
	if m.nodes == nil {
		return nil, 0, 0
	}
	for i = from; i < len(s); i++ {
		if !m.first[s[i]] {
			continue
		}
		at := int32(0)
		for k := i; k < len(s); k++ {
			to, ok := m.nodes[at].next[s[k]]
			if !ok {
				break
			}
			if at = to; m.nodes[at].token != nil {
				token, j = m.nodes[at].token, k+1
			}
		}
		if token != nil {
			return token, i, j
		}
	}
	return nil, 0, 0
}

// cut calls out for the stretches of s in order: token is nil for text between
// added tokens.
func (m *matcher) cut(s string, out func(token *AddedToken, i, j int)) {
	done := 0
	for from := 0; ; {
		token, i, j := m.find(s, from)
		if token == nil {
			break
		}
		from = j
		if token.SingleWord {
			before, _ := utf8.DecodeLastRuneInString(s[:i])
			after, _ := utf8.DecodeRuneInString(s[j:])
			if i > 0 && isWord(before) || j < len(s) && isWord(after) {
				continue
			}
		}
		if token.LStrip {
			i = len(strings.TrimRightFunc(s[:i], isSpace))
		}
		if token.RStrip {
			j = len(s) - len(strings.TrimLeftFunc(s[j:], isSpace))
		}
		i = max(i, done) // white space that the previous token swallowed
		if done < i {
			out(nil, done, i)
		}
		out(token, i, j)
		done = j
	}
	if done < len(s) {
		out(nil, done, len(s))
	}
}
