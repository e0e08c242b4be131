package nn

import (
	"strings"

	"github.com/selkie-ml/selkie/nn/tokenizer"
)

// StopText ends generation at strings, which need not be whole tokens.
type StopText struct {
	tok   *tokenizer.Tokenizer
	stops []string
	most  int // bytes of the longest string
}

// StopAtText returns what ends a text at the first of several strings. Empty
// strings are ignored.
func StopAtText(tok *tokenizer.Tokenizer, stops ...string) *StopText {
	s := &StopText{tok: tok}
	for _, stop := range stops {
		if stop != "" {
			s.stops = append(s.stops, stop)
			s.most = max(s.most, len(stop))
		}
	}
	return s
}

// Until returns a new function for one Request's Until: it tells whether the text
// so far holds one of the strings. It is nil when there are none.
func (s *StopText) Until() func(generated []int32) bool {
	if len(s.stops) == 0 {
		return nil
	}
	stream := s.tok.NewStream()
	stream.SkipSpecial = true
	done := 0
	tail := "" // of the text before: a string may end in what a token adds
	return func(generated []int32) bool {
		for ; done < len(generated); done++ {
			tail += stream.Push(generated[done])
		}
		if s.cut(tail) >= 0 {
			return true
		}
		tail = tail[max(0, len(tail)-s.most+1):]
		return false
	}
}

// Trim returns the text of generated tokens up to the first of the strings.
func (s *StopText) Trim(generated []int32) string {
	text := s.tok.Decode(generated, true)
	if i := s.cut(text); i >= 0 {
		return text[:i]
	}
	return text
}

// cut returns where the first of the strings begins, −1 if there is none.
func (s *StopText) cut(text string) int {
	first := -1
	for _, stop := range s.stops {
		if i := strings.Index(text, stop); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first
}
