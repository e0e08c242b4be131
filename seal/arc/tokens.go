package arc

import (
	"slices"

	"github.com/selkie-ml/selkie/nn/tokenizer"
)

// Tokens is a text to train on: the first Masked ids bear no loss.
type Tokens struct {
	IDs    []int32
	Masked int
}

// QuestionTokens returns the tokens of a task's prompt, which end where the
// answer begins. date is what chat templates with a date print.
func (p Prompts) QuestionTokens(tok *tokenizer.Tokenizer, t Task, date string) ([]int32, error) {
	return tok.EncodeChat(p.SolveMessages(t, false), tokenizer.ChatOptions{AddGenerationPrompt: true, DateString: date})
}

// TrainTokens returns the tokens of a task with its answer, up to the token
// that ends the turn, one of ends. With outputOnly all before the answer is
// masked.
func (p Prompts) TrainTokens(tok *tokenizer.Tokenizer, t Task, outputOnly bool, date string, ends []int32) (Tokens, error) {
	ids, err := tok.EncodeChat(p.SolveMessages(t, true), tokenizer.ChatOptions{DateString: date})
	if err != nil {
		return Tokens{}, err
	}
	last := len(ids)
	for last > 0 && !slices.Contains(ends, ids[last-1]) {
		last--
	}
	if last > 0 { // else the template ends turns with another token
		ids = ids[:last]
	}
	out := Tokens{IDs: ids}
	if outputOnly {
		prompt, err := p.QuestionTokens(tok, t, date)
		if err != nil {
			return Tokens{}, err
		}
		for out.Masked < min(len(prompt), len(ids)) && prompt[out.Masked] == ids[out.Masked] {
			out.Masked++
		}
	}
	return out, nil
}
