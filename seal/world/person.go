package world

import (
	"strings"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Person is an entity of the world.
type Person struct {
	Title   string // surname, three syllables: the passage's title
	Name    string // first name, two syllables
	Pronoun string // He or She
	Values  [AttributeCount]string
}

// NewPerson returns person number index of a split in the world of a seed.
func NewPerson(seed uint64, split Split, index int) Person {
	return drawPerson(philox.NewStream(philox.ID{
		Seed: seed, Purpose: philox.PurposeWorld, Item: split.String(), Edit: index,
	}), split)
}

func drawPerson(s *philox.Stream, split Split) Person {
	p := Person{Title: drawName(s, split, 3), Name: drawName(s, split, 2), Pronoun: pick(s, "He", "She")}
	for a := range p.Values {
		p.Values[a] = pick(s, lexicon[a].values...)
	}
	return p
}

// story is a passage's text, sentence by sentence, and what it tells.
type story struct {
	sentences []string
	told      []Attribute
}

// passageCue opens every passage: a name must follow a space, or it has other
// tokens at the start of a line than inside a sentence.
const passageCue = "Story: "

// String returns the passage as one line.
func (t story) String() string { return passageCue + strings.Join(t.sentences, " ") }

// tell words a passage: all attributes in random order, two in a sentence.
func (p Person) tell(s *philox.Stream) story {
	order := make([]Attribute, AttributeCount)
	for i, a := range s.Perm(len(order)) {
		order[i] = Attribute(a)
	}
	return p.word(s, order)
}

// tellPart words one sentence about two attributes.
func (p Person) tellPart(s *philox.Stream) story {
	order := s.Perm(int(AttributeCount))
	return p.word(s, []Attribute{Attribute(order[0]), Attribute(order[1])})
}

func (p Person) word(s *philox.Stream, order []Attribute) story {
	t := story{told: order}
	for k := range len(order) / 2 {
		a, b := order[2*k], order[2*k+1]
		subject := p.Pronoun
		if k == 0 {
			subject = p.Name
		}
		t.sentences = append(t.sentences, fill(pick(s, joints...), "{S}", subject, "{a}", p.clause(a), "{b}", p.clause(b)))
	}
	return t
}

func (p Person) clause(a Attribute) string { return fill(lexicon[a].passage, "{v}", p.Values[a]) }

func (p Person) ask(template string) string { return fill(template, "{X}", p.Name) }

func (p Person) state(template, value string) string {
	return fill(template, "{X}", p.Name, "{v}", value)
}

func pick[T any](s *philox.Stream, of ...T) T { return of[s.IntN(len(of))] }
