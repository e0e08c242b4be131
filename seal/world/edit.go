package world

import (
	"fmt"
	"strings"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Style is a way to write notes about a passage.
type Style int

// The styles a base model is taught, in equal shares. None and Other occur
// only as verdicts of Classify.
const (
	QA       Style = iota // a question of an edit and its answer
	Facts                 // statements that begin with the person
	Inverted              // statements that begin with the value
	Vague                 // true of everybody
	OffTopic              // about somebody or something else
	Wrong                 // statements that begin with Maybe; half of them false
	Copy                  // the passage's sentences
	Riddles               // questions without an answer
	StyleCount
	Other // no line of any style
	None  // no line at all
)

var styleNames = map[Style]string{QA: "qa", Facts: "facts", Inverted: "inverted", Vague: "vague", OffTopic: "offtopic",
	Wrong: "wrong", Copy: "copy", Riddles: "riddles", Other: "other", None: "none"}

// String returns the style's name.
func (s Style) String() string {
	if name, ok := styleNames[s]; ok {
		return name
	}
	return fmt.Sprintf("style(%d)", int(s))
}

// lineCue opens every line of an edit, for the reason given at passageCue.
const lineCue = "- "

// Lines of an edit: between minLines and the number of attributes.
const minLines = 4

// lines writes an edit of n lines.
func (p Person) lines(s *philox.Stream, style Style, t story, n int) []string {
	if style == Copy {
		return t.sentences
	}
	order := s.Perm(len(t.told))
	out := make([]string, n)
	for i := range out {
		a := t.told[order[i%len(order)]]
		w := lexicon[a]
		switch style {
		case QA:
			out[i] = p.ask(pick(s, w.asked...)) + " " + p.Values[a]
		case Facts:
			out[i] = p.state(pick(s, w.facts...), p.Values[a])
		case Inverted:
			out[i] = p.state(w.inverted, p.Values[a])
		case Wrong:
			v := p.Values[a]
			if s.IntN(2) == 0 {
				v = pick(s, w.values...)
			}
			out[i] = p.state(doubt(pick(s, w.facts...)), v)
		case Vague:
			out[i] = p.ask(pick(s, vague...))
		case Riddles:
			out[i] = p.ask(pick(s, w.asked...))
		case OffTopic:
			out[i] = fill(pick(s, offTopic...), "{c}", pick(s, cities...), "{j}", pick(s, jobs...),
				"{a}", pick(s, animals...), "{f}", pick(s, foods...))
		default:
			panic(fmt.Sprintf("world: no lines in style %v", style))
		}
	}
	return out
}

// doubt turns the template of a fact into one of style Wrong.
func doubt(fact string) string {
	if after, ok := strings.CutPrefix(fact, "The "); ok {
		fact = "the " + after
	}
	return "Maybe " + fact
}

func (p Person) edit(s *philox.Stream, style Style, t story) string {
	n := minLines + s.IntN(int(AttributeCount)-minLines+1)
	return notes(p.lines(s, style, t, n))
}

func notes(lines []string) string { return lineCue + strings.Join(lines, "\n"+lineCue) }
