package gridworld

import (
	"fmt"
	"strings"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/arc"
)

// ChatTemplate is the demo model's, in Jinja.
const ChatTemplate = `{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`

// Special tokens of the demo's tokenizer; the last ends a turn.
var Special = []string{"<|system|>", "<|user|>", "<|assistant|>", EndOfTurn}

// EndOfTurn ends every message.
const EndOfTurn = "<|end|>"

// Prompts are the demo's: short, as its model has no use for words.
var Prompts = arc.Prompts{Edit: "Choose tools."}

// Group is a kind of pretraining document.
type Group int

// The kinds of pretraining documents.
const (
	Copies Group = iota // outputs equal to the inputs: where a cell is found
	Near                // single rules that leave most cells where they are
	Single              // all single rules
	Pairs               // pairs of rules
	Edits               // demonstrations and a random self-edit
	GroupCount
)

// String returns the group's name.
func (g Group) String() string {
	return [GroupCount]string{"copies", "near", "single", "pairs", "edits"}[g]
}

// Document is one training sequence as chat messages. Loss falls on the
// assistant's message and, in documents of tasks, on the outputs of all
// demonstrations but the first.
type Document struct {
	Group    Group
	Messages []tokenizer.Message
}

// The choices that a self-edit of pretraining is drawn from, all as often.
var (
	Rates  = []float64{0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03}
	Epochs = []float64{1, 2, 3, 4}
)

// DrawEdit draws a self-edit.
func DrawEdit(s *philox.Stream) arc.Edit {
	flip := func() bool { return s.IntN(2) == 1 }
	e := arc.Edit{
		Tools:    arc.Tools{Basic: flip(), Size: flip(), Chain: flip(), Repeat: flip()},
		Strategy: arc.AllTokens,
		LR:       Rates[s.IntN(len(Rates))],
		Epochs:   Epochs[s.IntN(len(Epochs))],
	}
	if flip() {
		e.Strategy = arc.OutputTokens
	}
	return e
}

// NewDocument returns a group's document number index of a step.
func NewDocument(seed uint64, g Group, step, index int) Document {
	s := philox.NewStream(philox.ID{
		Seed: seed, Purpose: philox.PurposePretrain, Round: step, Item: "grids " + g.String(), Edit: index,
	})
	length := 1
	if g == Pairs || g == Edits && s.IntN(2) == 1 {
		length = 2
	}
	families := Families(Pretraining, length)
	f := families[s.IntN(len(families))]
	for g == Near && (f.has(turning) || f.has(moving)) {
		f = families[s.IntN(len(families))]
	}
	switch g {
	case Edits:
		t := NewTask(f, 3, s)
		m := Prompts.EditMessages(t.Train)
		return Document{g, append(m, tokenizer.Message{Role: "assistant", Content: DrawEdit(s).JSON()})}
	case Copies:
		f = nil
	}
	return Document{g, Prompts.SolveMessages(NewTask(f, 2+s.IntN(2), s), true)}
}

// Span is a range of bytes [Start, End) of a text.
type Span struct{ Start, End int }

// Trained returns the spans of a document's text, as the chat template makes
// it, that bear loss.
func (d Document) Trained(text string) []Span {
	var spans []Span
	if d.Group != Edits {
		const arrow, end = " -> ", "]]#"
		for at, n := 0, 0; ; n++ {
			i := strings.Index(text[at:], arrow)
			if i < 0 {
				break
			}
			at += i + len(arrow) - 1 // the blank belongs to the grid's first token
			if n > 0 {
				spans = append(spans, Span{at, at + strings.Index(text[at:], end) + len(end)})
			}
		}
	}
	answer := strings.LastIndex(text, Special[2])
	if answer < 0 {
		panic(fmt.Sprintf("gridworld: no answer in %q", text))
	}
	return append(spans, Span{answer + len(Special[2]), len(text)})
}

// TokenizerText returns text number index of the corpus on which the tokenizer
// is trained.
func TokenizerText(seed uint64, index int) string {
	var b strings.Builder
	for _, g := range []Group{Single, Edits} {
		for _, m := range NewDocument(seed, g, -1, index).Messages {
			b.WriteString(strings.TrimSpace(m.Content) + Special[0])
		}
	}
	return b.String()
}
