package world

import (
	"strings"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Span is a range of bytes [Start, End) of a text.
type Span struct{ Start, End int }

// Document is one training sequence. A token bears loss if its first byte lies
// in a span of Train; with End set, one end-of-text token follows the text
// and bears loss.
type Document struct {
	Group Group
	Text  string
	Train []Span
	End   bool
}

// Group is a kind of pretraining document.
type Group int

// The kinds of pretraining documents. Passages and closed-book lines are about
// two disjoint sets of known people, the others about people never seen again.
const (
	Passages   Group = iota // a known person's passage, worded anew each time
	ClosedBook              // one line about a known person, by title alone
	Edits                   // a new person's passage, then notes in a random style; loss on the notes
	Readings                // a new person's passage, then facts about it; loss on the values alone
	Glances                 // a reading of one sentence
	GroupCount
)

var groupNames = [GroupCount]string{"passages", "closed-book", "edits", "readings", "glances"}

// String returns the group's name.
func (g Group) String() string { return groupNames[g] }

// KnownPeople is the size of each of the two sets of known people.
const KnownPeople = 48

// NewDocument returns a group's document number index of a step.
func NewDocument(seed uint64, g Group, step, index int) Document {
	s := philox.NewStream(philox.ID{
		Seed: seed, Purpose: philox.PurposePretrain, Round: step, Item: g.String(), Edit: index,
	})
	switch g {
	case Passages:
		p := NewPerson(seed, Pretraining, KnownPeople+s.IntN(KnownPeople))
		return whole(g, p.Title+"\n"+p.tell(s).String())
	case ClosedBook:
		p := NewPerson(seed, Pretraining, s.IntN(KnownPeople))
		return whole(g, p.Title+"\n"+lineCue+p.recall(s))
	case Edits:
		p := drawPerson(s, Pretraining)
		t := p.tell(s)
		prompt := fill(EditPrompt, "{title}", p.Title, "{context}", t.String())
		text := prompt + p.edit(s, Style(s.IntN(int(StyleCount))), t)
		return Document{g, text, []Span{{len(prompt), len(text)}}, true}
	case Readings:
		return reading(s, g, Person.tell)
	}
	return reading(s, g, Person.tellPart)
}

// whole is a document trained on from its first to its last token.
func whole(g Group, text string) Document {
	return Document{g, text, []Span{{0, len(text)}}, true}
}

// recall is one line about a known person. It is the only place in pretraining
// where the tested questions occur.
func (p Person) recall(s *philox.Stream) string {
	a := Attribute(s.IntN(int(AttributeCount)))
	w := lexicon[a]
	switch u := s.IntN(10); {
	case u < 6:
		questions := append(w.asked[:len(w.asked):len(w.asked)], w.tested...)
		return p.ask(pick(s, questions...)) + " " + p.Values[a]
	case u < 9:
		return p.state(pick(s, w.facts...), p.Values[a])
	}
	return p.state(w.inverted, p.Values[a])
}

// reading has a line for every attribute told, in another order: questions and
// statements of edits and, in a glance, as often the passage's own words.
func reading(s *philox.Stream, g Group, tell func(Person, *philox.Stream) story) Document {
	p := drawPerson(s, Pretraining)
	t := tell(p, s)
	d := Document{Group: g, Text: p.Title + "\n" + t.String()}
	for _, i := range s.Perm(len(t.told)) {
		a := t.told[i]
		w := lexicon[a]
		var line string
		switch u := s.IntN(10); {
		case g == Glances && u < 5:
			line = "{X} " + w.passage + "."
		case u < 8:
			line = pick(s, w.asked...) + " {v}"
		default:
			line = pick(s, w.facts...)
		}
		before, after, _ := strings.Cut(line, " {v}")
		d.add("\n"+lineCue+p.ask(before), false)
		d.add(" "+p.Values[a], true)
		d.add(after, false)
	}
	return d
}

func (d *Document) add(text string, train bool) {
	if train {
		d.Train = append(d.Train, Span{len(d.Text), len(d.Text) + len(text)})
	}
	d.Text += text
}

// TokenizerText returns text number index of the corpus on which a tokenizer
// is trained: an edit document, then a closed-book line, both about people
// who never return, so that no token is learnt for a known person's name.
func TokenizerText(seed uint64, index int) string {
	s := philox.NewStream(philox.ID{
		Seed: seed, Purpose: philox.PurposePretrain, Item: "tokenizer", Edit: index,
	})
	p := drawPerson(s, Pretraining)
	return NewDocument(seed, Edits, -1, index).Text + "\n" + lineCue + p.recall(s)
}
