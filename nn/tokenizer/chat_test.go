package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// withTemplate is the minimal tokenizer with a chat template.
func withTemplate(t testing.TB, template string) *Tokenizer {
	t.Helper()
	cfg, err := json.Marshal(map[string]any{"bos_token": "<s>", "chat_template": template})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Parse([]byte(minimal), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

var hello = []Message{{Role: "user", Content: "ab"}}

func TestChatClock(t *testing.T) {
	tok := withTemplate(t, `{% if strftime_now is defined %}{{ strftime_now("%d %b %Y %-d %%") }}{% else %}no clock{% endif %}`)
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, c := range []struct {
		opts ChatOptions
		want string
	}{{ChatOptions{}, "no clock"}, {ChatOptions{Now: now}, "03 Feb 2031 3 %"}} {
		if got, err := tok.ApplyChat(hello, c.opts); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c.opts, got, err)
		}
	}
	tok = withTemplate(t, `{{ strftime_now("%d") }}`)
	if _, err := tok.ApplyChat(hello, ChatOptions{}); err == nil || !strings.Contains(err.Error(), "set ChatOptions.Now") {
		t.Errorf("a clock that is not there: %v", err)
	}
	if got, err := withTemplate(t, `{{ date_string }}`).ApplyChat(hello, ChatOptions{DateString: "26 Jul 2024"}); err != nil || got != "26 Jul 2024" {
		t.Errorf("date_string: %q, %v", got, err)
	}
}

func TestChatErrors(t *testing.T) {
	plain, err := Parse([]byte(minimal), nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tok      *Tokenizer
		messages []Message
		opts     ChatOptions
		want     string
	}{
		{plain, hello, ChatOptions{}, "has no chat template"},
		{withTemplate(t, "x"), nil, ChatOptions{}, "there are no messages"},
		{withTemplate(t, "x"), hello, ChatOptions{Template: "rag"}, `chat template "rag": not found; the model has ["default"]`},
		{withTemplate(t, "{% if %}"), hello, ChatOptions{}, `chat template "default": failed to parse`},
		{withTemplate(t, "{{ raise_exception('only ' ~ 'one') }}"), hello, ChatOptions{}, "the template refused the messages: only one"},
		{withTemplate(t, "{{ x | nosuch }}"), hello, ChatOptions{}, "nosuch"},
		{withTemplate(t, "{% include '"+secret+"' %}"), hello, ChatOptions{}, "cannot load another template"},
		{withTemplate(t, "x"), hello, ChatOptions{Vars: map[string]any{"f": func() {}}}, "variable f: "},
	} {
		if got, err := c.tok.ApplyChat(c.messages, c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %q, %v; want …%s…", got, err, c.want)
		}
	}
}

// A list of named templates; chat_template.jinja goes before the configuration's.
func TestChatTemplates(t *testing.T) {
	tok, err := Parse([]byte(minimal), []byte(`{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}, {"name": "rag", "template": "R"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	tools := []any{map[string]any{"name": "f"}}
	for _, c := range []struct {
		opts ChatOptions
		want string
	}{{ChatOptions{}, "D"}, {ChatOptions{Tools: tools}, "T"}, {ChatOptions{Template: "rag", Tools: tools}, "R"}} {
		if got, err := tok.ApplyChat(hello, c.opts); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c.opts, got, err)
		}
	}
	dir := t.TempDir()
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, templateFile), []byte("F{{ bos_token }}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if tok, err = Load(dir); err != nil {
		t.Fatal(err)
	}
	again := t.TempDir()
	if err := tok.Save(again); err != nil {
		t.Fatal(err)
	}
	if tok, err = Load(again); err != nil {
		t.Fatal(err)
	}
	if got, err := tok.ApplyChat(hello, ChatOptions{}); err != nil || got != "F" {
		t.Errorf("chat_template.jinja: %q, %v", got, err)
	}
}

func TestEncodeChatAddsNoBOS(t *testing.T) {
	tok := withTemplate(t, `{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}`)
	ids, err := tok.EncodeChat(hello, ChatOptions{})
	if err != nil || len(ids) != 2 || ids[0] != 3 || ids[1] != 2 {
		t.Errorf("ids %v, %v", ids, err)
	}
}

func TestConcurrentChat(t *testing.T) {
	tok := withTemplate(t, `{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ('a' if m.role == 'user' else 'b') ~ ns.n }}{% endfor %}`)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if got, err := tok.ApplyChat([]Message{{Role: "user"}, {Role: "system"}}, ChatOptions{}); err != nil || got != "a1b2" {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMessageJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"content": "x"}`: "role", `{"role": 3}`: "role", `[]`: "expected an object",
	} {
		var m Message
		if err := json.Unmarshal([]byte(in), &m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
}
