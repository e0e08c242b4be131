package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	jinjaconfig "github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
)

// Message is one turn of a chat.
type Message struct {
	Role    string
	Content string
	// Extra are further fields a template may read, such as tool_calls; any
	// value that encoding/json takes. A "content" here replaces Content (lists
	// of parts, null). json.RawMessage keeps the order of keys for tojson.
	Extra map[string]any

	noContent bool
}

// UnmarshalJSON reads {"role": …, "content": …, …}.
func (m *Message) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("chat message: expected an object with \"role\" and \"content\": %w", err)
	}
	*m = Message{}
	if err := json.Unmarshal(fields["role"], &m.Role); err != nil || m.Role == "" {
		return errors.New("chat message: field \"role\" is missing or not a string")
	}
	delete(fields, "role")
	content, ok := fields["content"]
	m.noContent = !ok
	if ok && bytes.HasPrefix(content, []byte(`"`)) {
		if err := json.Unmarshal(content, &m.Content); err != nil {
			return err
		}
		delete(fields, "content")
	}
	for key, value := range fields {
		if m.Extra == nil {
			m.Extra = map[string]any{}
		}
		m.Extra[key] = value
	}
	return nil
}

// ChatOptions are the settings of ApplyChat.
type ChatOptions struct {
	// AddGenerationPrompt ends the text where the assistant's answer begins.
	AddGenerationPrompt bool
	// DateString is the template's date_string, such as "26 Jul 2024". Empty: not given.
	DateString string
	// Now is what strftime_now tells. Zero: templates have no clock, so that a
	// run does not depend on the day; those that ask whether there is one use
	// their own default, others fail.
	Now time.Time
	// Tools are JSON schemas: any value that encoding/json takes.
	Tools []any
	// Template names one of several templates; empty is HF's choice: tool_use
	// if there are Tools and it exists, else default.
	Template string
	// Vars are further variables of the template (HF's keyword arguments).
	Vars map[string]any
}

// ApplyChat renders messages with the model's own chat template. It fails if
// the model has none, if the template refuses the messages (raise_exception) or
// uses something that gonja, the Jinja implementation, does not know.
func (t *Tokenizer) ApplyChat(messages []Message, opts ChatOptions) (string, error) {
	if len(messages) == 0 {
		return "", errors.New("chat template: there are no messages; at least one is needed")
	}
	name, source, err := t.chat.choose(opts)
	if err != nil {
		return "", err
	}
	text, err := t.render(source, messages, opts)
	if err != nil {
		hint := ""
		if opts.Now.IsZero() && strings.Contains(source, "strftime_now") && !errors.As(err, new(*templateError)) {
			hint = "; the template reads the clock: set ChatOptions.Now or DateString"
		}
		return "", fmt.Errorf("chat template %q: %w%s", name, err, hint)
	}
	return text, nil
}

// EncodeChat returns the ids of ApplyChat's text. The template writes the
// special tokens itself, so none are added: there is no second BOS.
func (t *Tokenizer) EncodeChat(messages []Message, opts ChatOptions) ([]int32, error) {
	text, err := t.ApplyChat(messages, opts)
	if err != nil {
		return nil, err
	}
	return t.Encode(text, false), nil
}

// HasChat reports whether the model has a chat template.
func (t *Tokenizer) HasChat() bool { return len(t.chat.byName) > 0 }

// templates are the chat templates of a tokenizer, by name.
type templates struct {
	byName map[string]string
	file   []byte // chat_template.jinja
	parsed *sync.Map
}

func (c *templates) set(name, source string) {
	if c.byName == nil {
		c.byName, c.parsed = map[string]string{}, new(sync.Map)
	}
	c.byName[name] = source
}

// parse reads chat_template: a string, or a list of named templates.
func (c *templates) parse(raw json.RawMessage) error {
	if isNull(raw) {
		return nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		c.set("default", one)
		return nil
	}
	var list []struct{ Name, Template *string }
	if err := json.Unmarshal(raw, &list); err != nil {
		return errors.New("chat_template: expected a string or a list of {\"name\", \"template\"}")
	}
	for i, e := range list {
		if e.Name == nil || e.Template == nil {
			return fmt.Errorf("chat_template[%d]: expected \"name\" and \"template\"", i)
		}
		c.set(*e.Name, *e.Template)
	}
	return nil
}

func (c *templates) choose(opts ChatOptions) (name, source string, err error) {
	name = opts.Template
	if name == "" {
		name = "default"
		if _, ok := c.byName["tool_use"]; ok && len(opts.Tools) > 0 {
			name = "tool_use"
		}
	}
	source, ok := c.byName[name]
	switch {
	case ok:
		return name, source, nil
	case len(c.byName) == 0:
		return "", "", fmt.Errorf("the tokenizer has no chat template: neither chat_template in %s nor %s; use a chat model's folder or plain text", configFile, templateFile)
	}
	return "", "", fmt.Errorf("chat template %q: not found; the model has %q", name, slices.Sorted(maps.Keys(c.byName)))
}

// templateError is what a template said with raise_exception.
type templateError struct{ message string }

func (e *templateError) Error() string { return "the template refused the messages: " + e.message }

func (t *Tokenizer) render(source string, messages []Message, opts ChatOptions) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("rendering failed: %v", r)
		}
	}()
	tpl, err := t.chat.compile(source)
	if err != nil {
		return "", err
	}
	vars := map[string]any{"add_generation_prompt": opts.AddGenerationPrompt, "documents": nil}
	for name, token := range map[string]tokenName{
		"bos_token": t.config.BOS, "eos_token": t.config.EOS, "pad_token": t.config.PAD, "unk_token": t.config.UNK,
	} {
		if token != "" {
			vars[name] = string(token)
		}
	}
	if opts.DateString != "" {
		vars["date_string"] = opts.DateString
	}
	var refusal error
	vars["raise_exception"] = func(message string) (string, error) {
		refusal = &templateError{message}
		return "", refusal
	}
	if !opts.Now.IsZero() {
		vars["strftime_now"] = func(format string) (string, error) { return strftime(opts.Now, format) }
	}
	turns := make(pyList, len(messages))
	for i, m := range messages {
		turn := exec.NewDict()
		turn.Pairs = append(turn.Pairs, pairOf("role", m.Role))
		if _, ok := m.Extra["content"]; !ok && !m.noContent {
			turn.Pairs = append(turn.Pairs, pairOf("content", m.Content))
		}
		for _, key := range slices.Sorted(maps.Keys(m.Extra)) {
			v, err := plain(m.Extra[key])
			if err != nil {
				return "", fmt.Errorf("messages[%d].%s: %w", i, key, err)
			}
			turn.Pairs = append(turn.Pairs, pairOf(key, v))
		}
		turns[i] = turn
	}
	vars["messages"] = turns
	vars["tools"] = nil
	if len(opts.Tools) > 0 {
		if vars["tools"], err = plain(opts.Tools); err != nil {
			return "", fmt.Errorf("tools: %w", err)
		}
	}
	for key, value := range opts.Vars {
		if vars[key], err = plain(value); err != nil {
			return "", fmt.Errorf("variable %s: %w", key, err)
		}
	}
	text, err = tpl.ExecuteToString(exec.NewContext(vars))
	if refusal != nil {
		return "", refusal
	}
	return text, err
}

// compile parses a template as HF configures Jinja and keeps the result.
func (c *templates) compile(source string) (*exec.Template, error) {
	if tpl, ok := c.parsed.Load(source); ok {
		return tpl.(*exec.Template), nil
	}
	cfg := jinjaconfig.New()
	cfg.TrimBlocks, cfg.LeftStripBlocks = true, true
	tpl, err := exec.NewTemplate(rootTemplate, cfg, rootOnly(rewriteConditionals(source)), jinja)
	if err != nil {
		return nil, err
	}
	c.parsed.Store(source, tpl)
	return tpl, nil
}

// rootOnly is a loader that knows one template: chat templates come from
// outside and must not read files.
type rootOnly string

const rootTemplate = "chat_template"

var _ loaders.Loader = rootOnly("")

func (r rootOnly) Read(name string) (io.Reader, error) {
	if name != rootTemplate {
		return nil, fmt.Errorf("a chat template cannot load another template (%q)", name)
	}
	return strings.NewReader(string(r)), nil
}
func (r rootOnly) Resolve(name string) (string, error)         { return name, nil }
func (r rootOnly) Inherit(from string) (loaders.Loader, error) { return r, nil }
