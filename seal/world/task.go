package world

import "github.com/selkie-ml/selkie/internal/philox"

// The prompts of the world, with the placeholders of package seal. A completion
// of EditPrompt is a list of lines; the answer to QuestionPrompt is one word.
const (
	EditPrompt     = "{title}\n{context}\nNotes:\n"
	QuestionPrompt = "{topic}\n" + lineCue + "{question}"
)

// Question is asked without the passage.
type Question struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
}

// Task is an ordinary article of knowledge incorporation.
type Task struct {
	Title     string     `json:"title"`
	Passage   string     `json:"context"`
	Questions []Question `json:"questions"` // one for each attribute, in wordings that no edit has
	Person    Person     `json:"-"`

	story story
	seed  uint64
	split Split
	index int
}

// NewTask returns task number index of a split in the world of a seed.
func NewTask(seed uint64, split Split, index int) Task {
	t := Task{Person: NewPerson(seed, split, index), seed: seed, split: split, index: index}
	s := t.stream("task")
	t.story = t.Person.tell(s)
	t.Title, t.Passage = t.Person.Title, t.story.String()
	for a, w := range lexicon {
		t.Questions = append(t.Questions, Question{t.Person.ask(pick(s, w.tested...)), t.Person.Values[a]})
	}
	return t
}

// Tasks returns n tasks of a split, from number first on.
func Tasks(seed uint64, split Split, first, n int) []Task {
	tasks := make([]Task, n)
	for i := range tasks {
		tasks[i] = NewTask(seed, split, first+i)
	}
	return tasks
}

// Oracle returns the best edit of a style: true, and about all attributes.
// Variant chooses among wordings.
func (t Task) Oracle(style Style, variant int) string {
	s := t.stream("oracle " + style.String() + " " + string(rune('a'+variant)))
	return notes(t.Person.lines(s, style, t.story, int(AttributeCount)))
}

func (t Task) stream(what string) *philox.Stream {
	return philox.NewStream(philox.ID{
		Seed: t.seed, Purpose: philox.PurposeWorld, Item: what + " " + t.split.String(), Edit: t.index,
	})
}
