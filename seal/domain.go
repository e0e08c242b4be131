package seal

import (
	"context"

	"github.com/selkie-ml/selkie/nn"
)

// domain is what the outer loop, sampling and evaluation need to know of a kind
// of task. A task of any kind goes by the ID of its Article.
type domain interface {
	// fits tells whether a task's prompts leave room in the model's context.
	fits(Article) error
	// editPrompt returns the prompt that asks for a self-edit, as text and tokens.
	editPrompt(Article) (string, []int32, error)
	// accepts tells whether a text can be a self-edit; of others up to tries are
	// sampled.
	accepts(text string) bool
	tries() int
	// sequences returns what a trial trains on; see Trial.
	sequences(a Article, edit string) []string
	// testTogether is the inner loop for as many trials as run at once: update,
	// answer, grade.
	testTogether(ctx context.Context, m *nn.Model, trials []Trial) ([]Outcome, error)
	// keep chooses the self-edits that the model is finetuned on, best first.
	keep(arm string, round int, a Article, edits []Candidate) []int
}

// articles is the domain of knowledge incorporation: passages with questions.
type articles struct{ *Lab }

func (articles) accepts(string) bool { return true }
func (articles) tries() int          { return 1 }
