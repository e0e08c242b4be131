package seal

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/settings"
)

// Lab is what every step of a run works with: the tokenizer and prompts that
// turn articles into tokens, the grader, the settings and the journal.
type Lab struct {
	Settings  settings.Settings
	Tokenizer *tokenizer.Tokenizer
	Prompts   Prompts
	Grader    Grader
	Run       *journal.Run
	domain    // what the tasks are; articles unless told otherwise
	// Progress, when not nil, is told how far a phase has come.
	Progress func(phase string, done, total int)

	context int // tokens the model can take
	end     EndOfText
	stop    []int32 // token ids that end a text
}

// NewLab prepares a lab for models of a configuration. Without a run, which may
// be set later, it can judge articles and nothing more.
func NewLab(s settings.Settings, tok *tokenizer.Tokenizer, c nn.Config, run *journal.Run) (*Lab, error) {
	l := &Lab{Settings: s, Tokenizer: tok, Run: run, Prompts: DefaultPrompts(), context: c.MaxPositions}
	l.domain = articles{l}
	if tok.VocabSize() > c.VocabSize {
		return nil, fmt.Errorf("the tokenizer has %d entries, the model's vocabulary %d: they do not belong together", tok.VocabSize(), c.VocabSize)
	}
	l.stop = append(l.stop, c.EOS...)
	if text, id, ok := tok.EOS(); ok {
		l.end = EndOfText{Text: text, ID: id}
		l.stop = append(l.stop, id)
	} else if len(c.EOS) > 0 {
		l.end = EndOfText{Text: tok.Token(c.EOS[0]), ID: c.EOS[0]}
	} else {
		return nil, fmt.Errorf("neither the tokenizer nor config.json names an end-of-text token (eos_token): training needs one")
	}
	for _, p := range []struct{ name, path string }{
		{s.Edits.Kind + "." + s.Model.Prompts + ".txt", s.Edits.Prompt},
		{"answer." + s.Model.Prompts + ".txt", s.Eval.Prompt},
		{"grade.chat.txt", s.Judge.Prompt},
	} {
		if p.path == "" {
			continue
		}
		if err := l.Prompts.Replace(p.name, p.path); err != nil {
			return nil, err
		}
	}
	if l.chat() && !tok.HasChat() {
		return nil, fmt.Errorf("model.prompts is chat, but the tokenizer has no chat template: use model.prompts=base, or a chat model")
	}
	var err error
	l.Grader, err = l.grader()
	return l, err
}

func (l *Lab) chat() bool { return l.Settings.Model.Prompts == "chat" }

func (l *Lab) progress(phase string, done, total int) {
	if l.Progress != nil {
		l.Progress(phase, done, total)
	}
}

// editPrompt returns the prompt that asks for a self-edit, as text and tokens.
func (l articles) editPrompt(a Article) (string, []int32, error) {
	v := Values{Title: a.Title, Context: a.Context}
	kind := Kind(l.Settings.Edits.Kind)
	return l.prompt(l.Prompts.EditBase[kind], l.Prompts.EditChat[kind], v)
}

// answerPrompt returns the prompt of a closed-book question.
func (l *Lab) answerPrompt(a Article, q Question) ([]int32, error) {
	_, ids, err := l.prompt(l.Prompts.AnswerBase, l.Prompts.AnswerChat, Values{Title: a.Title, Topic: a.Title, Question: q.Question})
	return ids, err
}

func (l *Lab) prompt(base string, chat ChatTemplate, v Values) (string, []int32, error) {
	if !l.chat() {
		text := Fill(base, v)
		return text, l.Tokenizer.Encode(text, true), nil
	}
	filled := chat.Fill(v)
	var messages []tokenizer.Message
	if filled.System != "" {
		messages = append(messages, tokenizer.Message{Role: "system", Content: filled.System})
	}
	messages = append(messages, tokenizer.Message{Role: "user", Content: filled.User})
	opts := tokenizer.ChatOptions{AddGenerationPrompt: true, DateString: chatDate}
	text, err := l.Tokenizer.ApplyChat(messages, opts)
	if err != nil {
		return "", nil, err
	}
	ids, err := l.Tokenizer.EncodeChat(messages, opts)
	return text, ids, err
}

// chatDate stands in the prompts of templates that print a date, so that a run
// does not depend on the day.
const chatDate = "26 Jul 2024"

// generator returns one for a model with the run's bounds.
func (l *Lab) generator(m *nn.Model, pool *nn.AdapterPool) *nn.Generator {
	r := l.Settings.Run
	return nn.NewGenerator(m, pool, nn.GeneratorOptions{MaxSequences: r.MaxDecodes, MaxTokens: max(r.MaxBatchTokens, r.MaxDecodes)})
}

// key returns the stream of one thing drawn in this run. arm tells chains of
// models apart; it is empty for the main one.
func (l *Lab) key(purpose philox.Purpose, arm string, round int, item string, edit, inner int) philox.ID {
	if arm != "" {
		item = arm + "/" + item
	}
	return philox.ID{Seed: l.Settings.Run.Seed, Purpose: purpose, Round: round, Item: item, Edit: edit, Inner: inner}
}

// Edit is a self-edit as the model wrote it.
type Edit struct {
	Text   string          `json:"text"`
	Tokens int             `json:"tokens"`
	Finish nn.FinishReason `json:"finish"`
	Tries  int             `json:"tries,omitempty"` // texts sampled, where there was more than one
}

// SampleEdits has a model write n self-edits about each article, in phase
// "edits-ARM-ROUND" of the journal.
func (l *Lab) SampleEdits(ctx context.Context, phase, arm string, round int, m *nn.Model, articles []Article, n int) ([][]Edit, error) {
	s := l.Settings.Edits
	var requests []nn.Request
	var keys []string
	for _, a := range articles {
		_, ids, err := l.editPrompt(a)
		if err != nil {
			return nil, fmt.Errorf("article %s (%s): %w", a.ID, a.Title, err)
		}
		for e := range n {
			keys = append(keys, editKey(a, e))
			requests = append(requests, nn.Request{
				Prompt: ids, MaxNew: s.MaxTokens, Stop: l.stop, Adapter: nn.NoAdapter,
				Sampling: nn.Sampling{Temperature: s.Temperature, TopP: s.TopP, TopK: s.TopK},
				Key:      l.key(philox.PurposeSampleEdit, arm, round, a.ID, e, 0).Key(),
			})
		}
	}
	m.Device().Trim()
	gen := l.generator(m, nil)
	defer gen.Close()
	chunk := max(n, 4*l.Settings.Run.MaxDecodes)
	edits, err := inChunks(ctx, l, phase, keys, chunk, func(todo []int) ([]Edit, error) {
		part := make([]nn.Request, len(todo))
		for i, k := range todo {
			part[i] = requests[k]
		}
		out := make([]Edit, len(part))
		open := make([]int, len(part)) // those without an acceptable text
		for i := range open {
			open[i] = i
		}
		for try := 1; len(open) > 0; try++ {
			again := make([]nn.Request, len(open))
			for i, k := range open {
				again[i] = part[k]
				if try > 1 {
					a, e := articles[todo[k]/n], todo[k]%n
					again[i].Key = l.key(philox.PurposeSampleEdit, arm, round, a.ID, e, try-1).Key()
				}
			}
			done, err := gen.Run(ctx, again)
			if err != nil {
				return nil, err
			}
			var still []int
			for i, c := range done {
				k := open[i]
				if c.Finish == nn.FinishFailed {
					return nil, fmt.Errorf("%s: the model's logits are not numbers: its weights are damaged", keys[todo[k]])
				}
				out[k] = Edit{Text: l.Tokenizer.Decode(c.Tokens, true), Tokens: len(c.Tokens), Finish: c.Finish}
				if try > 1 {
					out[k].Tries = try
				}
				if try < l.tries() && !l.accepts(out[k].Text) {
					still = append(still, k)
				}
			}
			open = still
		}
		return out, nil
	})
	if err != nil {
		return nil, fmt.Errorf("sampling self-edits: %w", err)
	}
	byArticle := make([][]Edit, len(articles))
	for i := range articles {
		byArticle[i] = edits[i*n : (i+1)*n]
	}
	return byArticle, nil
}

func editKey(a Article, edit int) string { return fmt.Sprintf("%s/%03d", a.ID, edit) }

// inChunks computes the records of a phase that the journal does not have yet,
// a chunk of keys at a time, finishes the phase and returns all in the order of
// keys.
func inChunks[T any](ctx context.Context, l *Lab, phase string, keys []string, chunk int, compute func(todo []int) ([]T, error)) ([]T, error) {
	p, err := l.Run.Phase(phase)
	if err != nil {
		return nil, err
	}
	var todo []int
	for i, k := range keys {
		if !p.Done(k) {
			todo = append(todo, i)
		}
	}
	done, started := len(keys)-len(todo), time.Now()
	if done > 0 && done < len(keys) || p.Finished() {
		started = time.Time{} // what an earlier process did was not timed whole
	}
	l.progress(phase, done, len(keys))
	for len(todo) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := todo[:min(chunk, len(todo))]
		todo = todo[len(part):]
		results, err := compute(part)
		if err != nil {
			return nil, err
		}
		for i, r := range results {
			if err := p.Put(keys[part[i]], r); err != nil {
				return nil, err
			}
		}
		done += len(part)
		l.progress(phase, done, len(keys))
	}
	if err := p.Finish(keys); err != nil {
		return nil, err
	}
	if !started.IsZero() {
		if err := l.Run.Time(journal.Timing{Phase: phase, What: "whole phase", Seconds: time.Since(started).Seconds()}); err != nil {
			return nil, err
		}
	}
	out := make([]T, len(keys))
	for i, k := range keys {
		var ok bool
		if out[i], ok, err = journal.Get[T](p, k); err != nil || !ok {
			return nil, fmt.Errorf("phase %s: record %q is missing (%v)", phase, k, err)
		}
	}
	return out, nil
}

// cutAtStop trims an answer at the first of the stop texts.
func cutAtStop(text string, stops []string) string {
	for _, s := range stops {
		if i := strings.Index(text, s); s != "" && i >= 0 {
			text = text[:i]
		}
	}
	return text
}

// fitting returns the first n articles (0: all) whose prompts leave room in the
// model's context. Others on the way end the run or are left out, as the
// settings say.
func (l *Lab) fitting(articles []Article, n int, what string, say func(string)) ([]Article, error) {
	var out []Article
	seen := 0
	for _, a := range articles {
		if n > 0 && len(out) == n {
			break
		}
		seen++
		err := l.fits(a)
		if err == nil {
			out = append(out, a)
		} else if l.Settings.Data.TooLong == "error" {
			return nil, fmt.Errorf("%s article %s (%s): %w: shorten it, or leave such articles out by data.too_long=skip", what, a.ID, a.Title, err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("none of the %d %s articles fits into the model's context of %d tokens", len(articles), what, l.context)
	}
	if left := seen - len(out); left > 0 && say != nil {
		say(fmt.Sprintf("%d of the first %d %s articles are left out: their prompts do not fit into the model's context of %d tokens", left, seen, what, l.context))
	}
	return out, nil
}

// fits tells whether an article's prompts leave room for at least one token.
func (l articles) fits(a Article) error {
	if Kind(l.Settings.Edits.Kind) != KindNone {
		_, ids, err := l.editPrompt(a)
		if err != nil {
			return err
		}
		if len(ids) >= l.context {
			return fmt.Errorf("the self-edit prompt has %d tokens, which leaves no room in the model's context of %d", len(ids), l.context)
		}
	}
	for _, q := range a.Questions {
		ids, err := l.answerPrompt(a, q)
		if err != nil {
			return err
		}
		if len(ids) >= l.context {
			return fmt.Errorf("the prompt of the question %q has %d tokens, which leaves no room in the model's context of %d", q.Question, len(ids), l.context)
		}
	}
	return nil
}
