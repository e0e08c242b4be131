package seal

import (
	"embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is what a model is asked to write about a passage.
type Kind string

// The kinds of self-edit. KindNone asks for nothing: the passage alone is trained.
const (
	KindNone                 Kind = "none"
	KindImplications         Kind = "implications"
	KindImplicationsLong     Kind = "implications-long"
	KindImplicationsVeryLong Kind = "implications-very-long"
	KindRewrite              Kind = "rewrite"
	KindSelfQA               Kind = "self-qa"
)

// Kinds lists every kind, the default first.
func Kinds() []Kind {
	return []Kind{KindImplications, KindImplicationsLong, KindImplicationsVeryLong, KindRewrite, KindSelfQA, KindNone}
}

// ParseKind returns the kind of a name.
func ParseKind(name string) (Kind, error) {
	if k := Kind(name); slices.Contains(Kinds(), k) {
		return k, nil
	}
	return "", fmt.Errorf("unknown kind of self-edit %q: expected one of %v", name, Kinds())
}

// Values replace the placeholders of the same names in a template.
type Values struct {
	Title, Context  string // the passage: {title}, {context}
	Topic, Question string // the question: {topic} is the article's title, {question} see Fill
	Gold, Pred      string // the grading: the gold answer and the given one
	Edit            string // the self-edit to be scored: {edit}
}

// Fill replaces {title}, {context}, {topic}, {question}, {gold}, {pred} and {edit} in
// a single pass: braces within the values stay as they are, and so does every
// other brace of the template. The given answer is trimmed of white space, the
// rest is not. In a template without {topic}, a question with a topic stands as
// TopicQuestion writes it.
func Fill(template string, v Values) string {
	question := v.Question
	if v.Topic != "" && !strings.Contains(template, "{topic}") {
		question = TopicQuestion(v.Topic, v.Question)
	}
	return strings.NewReplacer(
		"{title}", v.Title, "{context}", v.Context,
		"{topic}", v.Topic, "{question}", question,
		"{gold}", v.Gold, "{pred}", strings.TrimSpace(v.Pred), "{edit}", strings.TrimSpace(v.Edit),
	).Replace(template)
}

// TopicQuestion writes a question so that it can be understood without the
// passage: "Topic: ", the title, a newline and the question.
func TopicQuestion(title, question string) string {
	return "Topic: " + title + "\n" + question
}

// ChatTemplate is a prompt for a chat model: contents of the system message
// (may be empty: none) and of the user's.
type ChatTemplate struct{ System, User string }

// Fill fills both messages.
func (c ChatTemplate) Fill(v Values) ChatTemplate {
	return ChatTemplate{Fill(c.System, v), Fill(c.User, v)}
}

// Prompts holds every prompt of the loop: for base models a text that ends in a
// cue, for chat models messages. KindNone has no prompt.
type Prompts struct {
	EditBase   map[Kind]string
	EditChat   map[Kind]ChatTemplate
	AnswerBase string
	AnswerChat ChatTemplate
	GradeChat  ChatTemplate
	RubricChat ChatTemplate
}

//go:embed prompts/*.txt
var promptFiles embed.FS

// DefaultPrompts returns the prompts that come with Selkie.
func DefaultPrompts() Prompts {
	var p Prompts
	for _, name := range PromptNames() {
		text, err := promptFiles.ReadFile("prompts/" + name)
		if err == nil {
			err = p.set(name, string(text))
		}
		if err != nil {
			panic("seal: embedded prompt: " + err.Error())
		}
	}
	return p
}

// PromptNames lists the prompts that can be replaced: KIND.base.txt and
// KIND.chat.txt for each kind, answer.base.txt, answer.chat.txt, grade.chat.txt,
// rubric.chat.txt.
func PromptNames() []string {
	names := []string{"answer.base.txt", "answer.chat.txt", "grade.chat.txt", "rubric.chat.txt"}
	for _, k := range Kinds() {
		if k != KindNone {
			names = append(names, string(k)+".base.txt", string(k)+".chat.txt")
		}
	}
	return names
}

// ReadPrompts returns the default prompts with those replaced that a folder
// holds under their names (see PromptNames).
func ReadPrompts(dir string) (Prompts, error) {
	p := DefaultPrompts()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return p, err // names the folder already
	}
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".txt" {
			continue
		}
		if err := p.Replace(e.Name(), filepath.Join(dir, e.Name())); err != nil {
			return p, err
		}
	}
	return p, nil
}

// Replace reads a prompt from a file. A base prompt is taken byte for byte (a
// cue may need to end without a newline). A chat prompt has a line "[user]" and
// the user's message after it, and before that may have a line "[system]" and
// the system message; both messages are trimmed. An error names the file and
// what it lacks.
func (p *Prompts) Replace(name, path string) error {
	if !slices.Contains(PromptNames(), name) {
		return fmt.Errorf("%s: unknown prompt %q: expected one of %s", path, name, strings.Join(PromptNames(), ", "))
	}
	text, err := readText(path)
	if err != nil {
		return err
	}
	if err := p.set(name, string(text)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// required says which placeholders a prompt cannot do without.
func required(subject string) []string {
	switch subject {
	case "answer":
		return []string{"{question}"}
	case "grade":
		return []string{"{question}", "{gold}", "{pred}"}
	case "rubric":
		return []string{"{context}", "{edit}"}
	}
	return []string{"{title}", "{context}"}
}

func (p *Prompts) set(name, text string) error {
	subject, form, _ := strings.Cut(strings.TrimSuffix(name, ".txt"), ".")
	for _, placeholder := range required(subject) {
		if !strings.Contains(text, placeholder) {
			return fmt.Errorf("the prompt %s lacks the placeholder %s", name, placeholder)
		}
	}
	if form == "base" {
		if subject == "answer" {
			p.AnswerBase = text
		} else {
			p.EditBase = with(p.EditBase, Kind(subject), text)
		}
		return nil
	}
	chat, err := parseChat(text)
	if err != nil {
		return err
	}
	switch subject {
	case "answer":
		p.AnswerChat = chat
	case "grade":
		p.GradeChat = chat
	case "rubric":
		p.RubricChat = chat
	default:
		p.EditChat = with(p.EditChat, Kind(subject), chat)
	}
	return nil
}

// with returns a copy of a map with one entry set, so that prompts copied by
// value stay apart.
func with[V any](m map[Kind]V, k Kind, v V) map[Kind]V {
	c := maps.Clone(m)
	if c == nil {
		c = map[Kind]V{}
	}
	c[k] = v
	return c
}

func parseChat(text string) (ChatTemplate, error) {
	var c ChatTemplate
	var into *string
	seenUser := false
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		switch {
		case strings.TrimSpace(line) == "[system]" && into == nil:
			into = &c.System
		case strings.TrimSpace(line) == "[user]" && !seenUser:
			into, seenUser = &c.User, true
		case into != nil:
			*into += line + "\n"
		case strings.TrimSpace(line) != "":
			return c, fmt.Errorf("line %d: expected a line [system] or [user] before any text", i+1)
		}
	}
	c.System, c.User = strings.TrimSpace(c.System), strings.TrimSpace(c.User)
	if c.User == "" {
		return c, fmt.Errorf("expected a line [user] followed by the user's message")
	}
	return c, nil
}
