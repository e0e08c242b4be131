// Package textdata reads finetuning data: JSON Lines of texts, prompts with
// completions, or chats. It imports nn and nn/tokenizer, and nothing of package
// seal.
package textdata

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
)

// Options say how records become examples.
type Options struct {
	// MaxTokens is the longest example, usually the model's context; 0: any.
	MaxTokens int
	// Cut shortens longer examples to MaxTokens; otherwise they are errors.
	Cut bool
	// End is the token that ends a text or a completion; −1: none. A chat ends as
	// its template says.
	End int32
	// AllTokens puts loss on prompts and on all turns of a chat, not only on
	// completions and on what the assistant says.
	AllTokens bool
}

// Dataset is what a file gave.
type Dataset struct {
	Examples []nn.Example
	Lines    []int // where each example stands, from 1
	Cut      int   // examples shortened to Options.MaxTokens
}

// record is a line: exactly one of its three forms.
//
//	{"text": "…"}
//	{"prompt": "…", "completion": "…"}
//	{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
type record struct {
	Text       *string             `json:"text"`
	Prompt     *string             `json:"prompt"`
	Completion *string             `json:"completion"`
	Messages   []tokenizer.Message `json:"messages"`
}

// Read reads a file of one record per line. Blank lines are skipped and other
// fields of a record ignored. Errors name file and line.
func Read(path string, tok *tokenizer.Tokenizer, opt Options) (*Dataset, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Parse(path, f, tok, opt)
}

// Parse is Read of an open file; name stands for it in errors.
func Parse(name string, r io.Reader, tok *tokenizer.Tokenizer, opt Options) (*Dataset, error) {
	d := &Dataset{}
	err := Lines(name, r, func(n int, line []byte) error {
		var rec record
		if err := decode(line, &rec); err != nil {
			return err
		}
		e, err := rec.example(tok, opt)
		if err != nil {
			return err
		}
		if opt.MaxTokens > 0 && len(e.Tokens) > opt.MaxTokens {
			if !opt.Cut {
				return fmt.Errorf("%d tokens, but at most %d are allowed: shorten the text, or have long ones cut", len(e.Tokens), opt.MaxTokens)
			}
			d.Cut++
			e.Tokens = e.Tokens[:opt.MaxTokens]
			if e.Train != nil {
				e.Train = e.Train[:opt.MaxTokens]
			}
		}
		if !trains(e) {
			return errors.New("nothing to train on: no token bears loss within the allowed length")
		}
		d.Examples, d.Lines = append(d.Examples, e), append(d.Lines, n)
		return nil
	})
	if err == nil && len(d.Examples) == 0 {
		err = fmt.Errorf("%s: holds no records: expected lines such as {\"text\": \"…\"}", name)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Lines calls f with every line that is not blank, numbered from 1, and puts
// name and number before its errors. Text must be UTF-8; a byte order mark is
// dropped.
func Lines(name string, r io.Reader, f func(n int, line []byte) error) error {
	lines := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s: %w", name, err)
		}
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if line := bytes.TrimSpace(line); len(line) > 0 {
			wrong := f(n, line)
			if !utf8.Valid(line) {
				wrong = errors.New("not valid UTF-8")
			}
			if wrong != nil {
				return fmt.Errorf("%s:%d: %w", name, n, wrong)
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

func decode(line []byte, rec *record) error {
	err := json.Unmarshal(line, rec)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("field %s: expected a JSON %s, found a %s", kind.Field, kind.Type.Kind(), kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("expected a JSON object, found a %s", kind.Value)
	case errors.As(err, new(*json.SyntaxError)):
		return fmt.Errorf("malformed JSON: %w", err)
	}
	return err
}

func (r record) example(tok *tokenizer.Tokenizer, opt Options) (nn.Example, error) {
	pair := r.Prompt != nil || r.Completion != nil
	forms := 0
	for _, is := range []bool{r.Text != nil, pair, r.Messages != nil} {
		if is {
			forms++
		}
	}
	if forms != 1 {
		return nn.Example{}, errors.New(`expected exactly one of "text", "prompt" with "completion", and "messages"`)
	}
	end := func(ids []int32) []int32 {
		if opt.End >= 0 {
			return append(ids, opt.End)
		}
		return ids
	}
	switch {
	case r.Text != nil:
		if strings.TrimSpace(*r.Text) == "" {
			return nn.Example{}, errors.New(`field "text" is empty`)
		}
		return nn.Example{Tokens: end(tok.Encode(*r.Text, true))}, nil
	case pair:
		for field, text := range map[string]*string{"prompt": r.Prompt, "completion": r.Completion} {
			if text == nil || strings.TrimSpace(*text) == "" {
				return nn.Example{}, fmt.Errorf("field %q is missing or empty", field)
			}
		}
		// Apart, as in generation: a token never spans both.
		ids := tok.Encode(*r.Prompt, true)
		e := nn.Example{Masked: len(ids)}
		if opt.AllTokens {
			e.Masked = 0
		}
		e.Tokens = end(append(ids, tok.Encode(*r.Completion, false)...))
		return e, nil
	}
	return chat(r.Messages, tok, opt)
}

// chat renders a conversation and finds what the assistant says in it: what the
// template adds to the conversation before, with the cue to answer, until the
// end of the turn.
func chat(messages []tokenizer.Message, tok *tokenizer.Tokenizer, opt Options) (nn.Example, error) {
	if len(messages) == 0 {
		return nn.Example{}, errors.New(`field "messages" is empty`)
	}
	text, err := tok.ApplyChat(messages, tokenizer.ChatOptions{})
	if err != nil {
		return nn.Example{}, err
	}
	ids, offsets := tok.EncodeOffsets(text, false)
	e := nn.Example{Tokens: ids}
	if opt.AllTokens {
		return e, nil
	}
	e.Train = make([]bool, len(ids))
	spoke := false
	for i, m := range messages {
		if m.Role != "assistant" {
			continue
		}
		spoke = true
		if strings.TrimSpace(m.Content) == "" && m.Extra == nil {
			return e, fmt.Errorf("message %d: the assistant's content is empty", i)
		}
		after, err := tok.ApplyChat(messages[:i+1], tokenizer.ChatOptions{})
		if err != nil {
			return e, fmt.Errorf("message %d: %w", i, err)
		}
		// No template renders a conversation without messages.
		before, _, found := strings.Cut(after, strings.TrimSpace(m.Content))
		if i > 0 {
			if before, err = tok.ApplyChat(messages[:i], tokenizer.ChatOptions{AddGenerationPrompt: true}); err != nil {
				return e, fmt.Errorf("message %d: %w", i, err)
			}
			found = strings.HasPrefix(after, before)
		}
		if !found || !strings.HasPrefix(text, after) {
			return e, fmt.Errorf("message %d: this model's chat template does not write turns one after another, so the assistant's cannot be told apart: train on all tokens", i)
		}
		from, to := len(before), len(strings.TrimRight(after, " \n"))
		for k, o := range offsets {
			e.Train[k] = e.Train[k] || from <= o.Start && o.Start < to
		}
	}
	if !spoke {
		return e, errors.New(`no message has the role "assistant"`)
	}
	return e, nil
}

// trains tells whether any token of an example bears loss.
func trains(e nn.Example) bool {
	for i := max(1, e.Masked); i < len(e.Tokens); i++ {
		if e.Train == nil || e.Train[i] {
			return true
		}
	}
	return false
}
