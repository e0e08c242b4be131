package world

import (
	"reflect"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
)

func testStream(item string, i int) *philox.Stream {
	return philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: item, Edit: i})
}

func TestEveryDrawRepeats(t *testing.T) {
	for i := range 20 {
		if a, b := NewTask(3, Tuning, i), NewTask(3, Tuning, i); !reflect.DeepEqual(a, b) {
			t.Fatalf("task %d: %+v, then %+v", i, a, b)
		}
		for g := Group(0); g < GroupCount; g++ {
			if a, b := NewDocument(3, g, 7, i), NewDocument(3, g, 7, i); !reflect.DeepEqual(a, b) {
				t.Fatalf("%v %d: %+v, then %+v", g, i, a, b)
			}
		}
	}
}

func TestEveryDrawDependsOnItsIdentity(t *testing.T) {
	base := NewTask(1, Tuning, 0).Passage
	for _, other := range []Task{NewTask(2, Tuning, 0), NewTask(1, Evaluation, 0), NewTask(1, Tuning, 1)} {
		if other.Passage == base {
			t.Errorf("%v %d in world %d has the passage of tuning 0 in world 1", other.split, other.index, other.seed)
		}
	}
	for g := Group(0); g < GroupCount; g++ {
		base := NewDocument(1, g, 0, 0).Text
		for _, other := range []Document{NewDocument(2, g, 0, 0), NewDocument(1, g, 1, 0), NewDocument(1, g, 0, 1)} {
			if other.Text == base {
				t.Errorf("%v: two documents are %q", g, base)
			}
		}
	}
}

// Names follow from the split by construction: this walks through many people
// of several worlds and keeps who was seen where.
func TestNamesAreDisjointBetweenSplits(t *testing.T) {
	seen := map[string]Split{}
	note := func(name string, s Split) {
		if other, ok := seen[name]; ok && other != s {
			t.Fatalf("%q occurs in %v and in %v", name, other, s)
		}
		seen[name] = s
		if SplitOf(name) != s {
			t.Fatalf("%q of %v belongs to %v", name, s, SplitOf(name))
		}
	}
	for seed := range uint64(3) {
		for s := Split(0); s < splitCount; s++ {
			for i := range 500 {
				p := NewPerson(seed, s, i)
				note(p.Title, s)
				note(p.Name, s)
			}
		}
	}
	inPretraining := func(text string) {
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \n.,?:-", r) }) {
			if s, ok := seen[word]; ok && s != Pretraining {
				t.Fatalf("the name %q of %v occurs in a pretraining text:\n%s", word, s, text)
			}
		}
	}
	for g := Group(0); g < GroupCount; g++ {
		for step := range 300 {
			inPretraining(NewDocument(1, g, step, 0).Text)
		}
	}
	for i := range 300 {
		inPretraining(TokenizerText(1, i))
	}
}

// A value must name its attribute: no word may be in two sets.
func TestValueSetsAreDisjointAndEqual(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range lexicon {
		if len(w.values) != 20 {
			t.Errorf("%d values from %s on, want 20", len(w.values), w.values[0])
		}
		for _, v := range w.values {
			if seen[v] {
				t.Errorf("%q occurs twice", v)
			}
			seen[v] = true
		}
	}
}

func TestPassageTellsEverythingOnceInItsOwnWords(t *testing.T) {
	for i := range 300 {
		task := NewTask(1, Evaluation, i)
		for a, v := range task.Person.Values {
			if n := strings.Count(task.Passage+" ", task.Person.clause(Attribute(a))); n != 1 {
				t.Fatalf("%q tells attribute %d (%s) %d times", task.Passage, a, v, n)
			}
		}
		if strings.Count(task.Passage, "\n") != 0 || strings.Count(task.Passage, ".") != 4 {
			t.Fatalf("%q is not one line of four sentences", task.Passage)
		}
	}
}

// The claim that tests are worded as no edit is: over templates, and over what
// pretraining really shows.
func TestTestedWordingsOccurInNoEdit(t *testing.T) {
	tested := map[string]bool{}
	for _, w := range lexicon {
		for _, q := range w.tested {
			tested[q] = true
		}
	}
	if len(tested) != 2*int(AttributeCount) {
		t.Fatalf("%d tested wordings, want two for each attribute", len(tested))
	}
	in := func(text string) bool {
		for q := range tested {
			before, after, _ := strings.Cut(q, "{X}")
			for rest := text; ; {
				_, r, ok := strings.Cut(rest, before)
				if !ok {
					break
				}
				if _, tail, ok := strings.Cut(r, " "); ok && strings.HasPrefix(" "+tail, after) && after != "?" {
					return true
				}
				if name, _, ok := strings.Cut(r, "?"); ok && after == "?" && !strings.Contains(name, " ") {
					return true
				}
				rest = r
			}
		}
		return false
	}
	for _, g := range []Group{Passages, Edits, Readings, Glances} {
		for i := range 1000 {
			if d := NewDocument(1, g, i, 0); in(d.Text) {
				t.Fatalf("a tested wording occurs in %v:\n%s", g, d.Text)
			}
		}
	}
	for i := range 50 {
		task := NewTask(1, Evaluation, i)
		for style := Style(0); style < StyleCount; style++ {
			if e := task.Oracle(style, i); in(e) {
				t.Fatalf("a tested wording occurs in an edit of style %v:\n%s", style, e)
			}
		}
		for _, q := range task.Questions {
			if !in(q.Question) {
				t.Fatalf("%q is not recognised as a tested wording", q.Question)
			}
		}
	}
	known, seen := map[string]bool{}, map[string]bool{}
	for i := range KnownPeople {
		known[NewPerson(1, Pretraining, i).Title] = true
	}
	for i := range 5000 {
		d := NewDocument(1, ClosedBook, i, 0)
		title, line, _ := strings.Cut(d.Text, "\n")
		if !known[title] {
			t.Fatalf("%q is about nobody known", d.Text)
		}
		for q := range tested {
			before, after, _ := strings.Cut(q, "{X}")
			if strings.HasPrefix(line, lineCue+before) && strings.Contains(line, after) {
				seen[q] = true
			}
		}
	}
	if len(seen) != len(tested) {
		t.Errorf("closed-book lines teach %d of %d tested wordings", len(seen), len(tested))
	}
}

func TestKnownSetsAreDisjoint(t *testing.T) {
	closed := map[string]bool{}
	for i := range 2000 {
		title, _, _ := strings.Cut(NewDocument(1, ClosedBook, i, 0).Text, "\n")
		closed[title] = true
	}
	for i := range 2000 {
		title, _, _ := strings.Cut(NewDocument(1, Passages, i, 0).Text, "\n")
		if closed[title] {
			t.Fatalf("%s has both a passage and closed-book lines", title)
		}
	}
	if len(closed) != KnownPeople {
		t.Errorf("closed-book lines are about %d people, want %d", len(closed), KnownPeople)
	}
}

// Classify must invert generation for every style.
func TestClassifyInvertsGeneration(t *testing.T) {
	for style := Style(0); style < StyleCount; style++ {
		for i := range 200 {
			s := testStream("classify "+style.String(), i)
			p := drawPerson(s, Evaluation)
			story := p.tell(s)
			text := p.edit(s, style, story)
			n := Classify(text, p)
			lines := strings.Count(text, "\n") + 1
			if n.Style != style || n.Lines != lines || len(n.Share) != lines {
				t.Fatalf("%v reads as %v with %d lines:\n%s", style, n.Style, n.Lines, text)
			}
			for k, l := range n.Share {
				if l.Style != style {
					t.Fatalf("line %d of an edit of style %v reads as %v:\n%s", k, style, l.Style, text)
				}
			}
			stated, covered := 0, 0
			switch style {
			case QA, Facts, Inverted:
				stated, covered = lines, lines
			case Wrong:
				stated = lines
			}
			if n.Stated != stated || n.Covered != covered || (style != Wrong && n.Correct != stated) {
				t.Fatalf("%v: stated %d, covered %d, correct %d; want %d, %d:\n%s", style, n.Stated, n.Covered, n.Correct, stated, covered, text)
			}
		}
	}
}

func TestClassifyJudges(t *testing.T) {
	p := Person{Title: "Salati", Name: "Ponu", Pronoun: "She"}
	p.Values = [AttributeCount]string{"Sofia", "Leeds", "welder", "barber", "canary", "goose", "peas", "trout"}
	for _, c := range []struct {
		text                    string
		style                   Style
		stated, correct, covers int
	}{
		{"", None, 0, 0, 0},
		{"\n \n", None, 0, 0, 0},
		{"Ponu, Ponu, Ponu", Other, 0, 0, 0},
		{"- Ponu lives in Sofia.\n- Ponu lives in Sofia.", Facts, 2, 2, 1},
		{"- Ponu lives in Leeds.", Facts, 1, 0, 0},          // the birthplace
		{"- Pona lives in Sofia.", Facts, 1, 0, 0},          // somebody else
		{"- Where does Ponu live? Sofia", QA, 1, 1, 1},      //
		{"- Where does Ponu live?", Riddles, 0, 0, 0},       //
		{"- Sofia is the home of Ponu.", Inverted, 1, 1, 1}, //
		{"- Maybe Ponu lives in Sofia.", Wrong, 1, 1, 0},    // true, but not covered
		{"- She dwells at Sofia and owns a canary.", Copy, 0, 0, 0},
		{"Ponu lives in Sofia.", Facts, 1, 1, 1}, // without the cue
		{"- Ponu has a home.\n- Ponu lives in Sofia.\n- Ponu loves peas.", Facts, 2, 2, 2},
	} {
		n := Classify(c.text, p)
		if n.Style != c.style || n.Stated != c.stated || n.Correct != c.correct || n.Covered != c.covers {
			t.Errorf("%q: %v, stated %d, correct %d, covered %d; want %v, %d, %d, %d",
				c.text, n.Style, n.Stated, n.Correct, n.Covered, c.style, c.stated, c.correct, c.covers)
		}
	}
}

func TestStylesAreDrawnEqually(t *testing.T) {
	var count [Other + 2]int
	const n = 4000
	for i := range n {
		d := NewDocument(1, Edits, i, 0)
		s := philox.NewStream(philox.ID{Seed: 1, Purpose: philox.PurposePretrain, Round: i, Item: Edits.String()})
		count[Classify(d.Text[d.Train[0].Start:], drawPerson(s, Pretraining)).Style]++
	}
	for style := Style(0); style < StyleCount; style++ {
		if want := n / int(StyleCount); count[style] < want*8/10 || count[style] > want*12/10 {
			t.Errorf("style %v came %d times of %d", style, count[style], n)
		}
	}
}

func TestSpansHitWhatIsTrained(t *testing.T) {
	for _, g := range []Group{Readings, Glances} {
		for i := range 500 {
			s := philox.NewStream(philox.ID{Seed: 1, Purpose: philox.PurposePretrain, Round: i, Item: g.String()})
			p := drawPerson(s, Pretraining)
			d := NewDocument(1, g, i, 0)
			_, notes, _ := strings.Cut(d.Text, "\n"+lineCue)
			lines := strings.Split(notes, "\n"+lineCue)
			want := map[Group]int{Readings: 8, Glances: 2}[g]
			if len(d.Train) != want || len(lines) != want || d.End {
				t.Fatalf("%d spans and %d lines, want %d:\n%s", len(d.Train), len(lines), want, d.Text)
			}
			for k, span := range d.Train {
				v := d.Text[span.Start:span.End]
				if g == Glances && classifyLine(lines[k], p).Style == Other { // the passage's own words
					before, after, _ := strings.Cut(lines[k], v)
					passage, _, _ := strings.Cut(d.Text, "\n"+lineCue)
					if _, clause, _ := strings.Cut(before, " "); !strings.Contains(passage, clause+v) || after != "." {
						t.Fatalf("line %q of\n%s", lines[k], d.Text)
					}
					continue
				}
				if l := classifyLine(lines[k], p); v != " "+l.Value || !l.Correct {
					t.Fatalf("span %q of line %q, value %q of %+v", v, lines[k], l.Value, p)
				}
			}
		}
	}
	for i := range 100 {
		d := NewDocument(1, Edits, i, 0)
		if len(d.Train) != 1 || !d.End || !strings.HasSuffix(d.Text[:d.Train[0].Start], "\nNotes:\n") || d.Train[0].End != len(d.Text) {
			t.Fatalf("an edit is trained on %v of\n%s", d.Train, d.Text)
		}
		for _, g := range []Group{Passages, ClosedBook} {
			if d := NewDocument(1, g, i, 0); !d.End || !reflect.DeepEqual(d.Train, []Span{{0, len(d.Text)}}) {
				t.Fatalf("%v is trained on %v", g, d.Train)
			}
		}
	}
}

func TestOracleIsTrueAndComplete(t *testing.T) {
	for i := range 50 {
		task := NewTask(1, Tuning, i)
		for _, style := range []Style{QA, Facts, Inverted} {
			for variant := range 2 {
				if n := Classify(task.Oracle(style, variant), task.Person); n.Style != style || n.Covered != int(AttributeCount) || n.Lines != int(AttributeCount) {
					t.Errorf("%v oracle covers %d in %d lines of style %v", style, n.Covered, n.Lines, n.Style)
				}
			}
		}
		if got, want := task.Oracle(Copy, 0), notes(task.story.sentences); got != want {
			t.Errorf("copy: %q, want %q", got, want)
		}
		for a, q := range task.Questions {
			if q.Answer != task.Person.Values[a] || !strings.Contains(q.Question, task.Person.Name) {
				t.Errorf("question %d: %+v about %+v", a, q, task.Person)
			}
		}
	}
}

func TestPhasesFollowEachOther(t *testing.T) {
	r := Settings{Phases: []Phase{{Steps: 2, Documents: [GroupCount]int{Glances: 3}}, {Steps: 3, Documents: [GroupCount]int{Passages: 1, Edits: 2}}}}
	if r.Steps() != 5 {
		t.Fatalf("%d steps", r.Steps())
	}
	for step, want := range [][]Group{{Glances, Glances, Glances}, {Glances, Glances, Glances}, {Passages, Edits, Edits}, {Passages, Edits, Edits}, {Passages, Edits, Edits}} {
		var got []Group
		for _, d := range r.Phase(step).Batch(1, step) {
			got = append(got, d.Group)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("step %d: %v, want %v", step, got, want)
		}
	}
	for _, step := range []int{-1, 5} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("step %d has a phase", step)
				}
			}()
			r.Phase(step)
		}()
	}
}

func TestLearningRate(t *testing.T) {
	s := Schedule{LR: 2, MinLR: 0.1, Warmup: 4, Decay: 0.5}
	for step, want := range map[int]float64{0: 0.5, 3: 2, 10: 2, 15: 1, 19: 0.2} {
		if got := s.LearningRate(step, 20); got != want {
			t.Errorf("step %d: %v, want %v", step, got, want)
		}
	}
}
