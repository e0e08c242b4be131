package arc

import (
	_ "embed"
	"strings"

	"github.com/selkie-ml/selkie/nn/tokenizer"
)

// Prompts are the texts around grids.
type Prompts struct {
	Solve      string // before the demonstrations of a task to solve
	EditSystem string // system message when a self-edit is asked for
	Edit       string // what the self-edit is to be
}

//go:embed prompts/solve.txt
var solveText string

//go:embed prompts/edit-system.txt
var editSystemText string

//go:embed prompts/edit.txt
var editText string

// DefaultPrompts returns the project's own wording.
func DefaultPrompts() Prompts {
	return Prompts{Solve: solveText, EditSystem: strings.TrimSpace(editSystemText), Edit: strings.TrimSpace(editText)}
}

// answerEnd stands after every output grid.
const answerEnd = "#"

// SolveMessages returns a task as chat messages: the system message with
// instruction and demonstrations, the user's with the test input, and with
// answer the assistant's with its output.
func (p Prompts) SolveMessages(t Task, answer bool) []tokenizer.Message {
	var system strings.Builder
	system.WriteString(p.Solve)
	for _, d := range t.Train {
		system.WriteString(d.Input.String() + " -> " + d.Output.String() + answerEnd + "\n")
	}
	m := []tokenizer.Message{
		{Role: "system", Content: system.String()},
		{Role: "user", Content: t.Test.Input.String() + " -> "},
	}
	if answer {
		m = append(m, tokenizer.Message{Role: "assistant", Content: t.Test.Output.String() + answerEnd})
	}
	return m
}

// EditMessages returns the prompt for a self-edit about demonstrations.
func (p Prompts) EditMessages(train []Pair) []tokenizer.Message {
	var user strings.Builder
	for _, d := range train {
		user.WriteString("Input:\n" + d.Input.Rows() + "\n\nOutput:\n" + d.Output.Rows() + "\n\n")
	}
	user.WriteString("------\n\n" + p.Edit)
	return []tokenizer.Message{{Role: "system", Content: p.EditSystem}, {Role: "user", Content: user.String()}}
}
