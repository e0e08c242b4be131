package textdata_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/textdata"
	"github.com/selkie-ml/selkie/nn/tokenizer"
)

const chatTemplate = `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`

// chatTokenizer has a template in the style of ChatML.
func chatTokenizer(t testing.TB, template string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Bytes(300, "<|im_start|>", "<|im_end|>")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o666); err != nil {
		t.Fatal(err)
	}
	if tok, err = tokenizer.Load(dir); err != nil {
		t.Fatal(err)
	}
	return tok
}

// trained is the text of the tokens that bear loss, with | where others stand
// between them.
func trained(tok *tokenizer.Tokenizer, e nn.Example) string {
	var b strings.Builder
	gap := false
	for i, id := range e.Tokens {
		if i < max(1, e.Masked) || e.Train != nil && !e.Train[i] {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('|')
			gap = false
		}
		b.WriteString(tok.Decode([]int32{id}, false))
	}
	return b.String()
}

func TestForms(t *testing.T) {
	tok := chatTokenizer(t, chatTemplate)
	end, _ := tok.TokenID("<|im_end|>")
	chat := `{"messages":[{"role":"system","content":"S"},{"role":"user","content":"hi"},{"role":"assistant","content":"yo"},{"role":"user","content":"and?"},{"role":"assistant","content":"bye\n"}]}`
	for _, c := range []struct {
		line      string
		end       int32
		all       bool
		text, own string // all tokens; those that bear loss
	}{
		{`{"text":"abc","id":7}`, end, false, "abc<|im_end|>", "bc<|im_end|>"},
		{`{"text":"abc"}`, -1, false, "abc", "bc"},
		{`{"prompt":"Q: x","completion":" y"}`, end, false, "Q: x y<|im_end|>", " y<|im_end|>"},
		{`{"prompt":"Q: x","completion":" y"}`, end, true, "Q: x y<|im_end|>", ": x y<|im_end|>"},
		{chat, end, false,
			"<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n<|im_start|>user\nand?<|im_end|>\n<|im_start|>assistant\nbye\n<|im_end|>\n",
			"yo<|im_end|>|bye\n<|im_end|>"},
		{`{"messages":[{"role":"assistant","content":"a"}]}`, end, true, "<|im_start|>assistant\na<|im_end|>\n", "assistant\na<|im_end|>\n"},
	} {
		d, err := textdata.Parse("x", strings.NewReader("\n"+c.line+"\n"), tok, textdata.Options{End: c.end, AllTokens: c.all})
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		e := d.Examples[0]
		if got := tok.Decode(e.Tokens, false); got != c.text {
			t.Errorf("%s: text %q, want %q", c.line, got, c.text)
		}
		if got := trained(tok, e); got != c.own {
			t.Errorf("%s: loss on %q, want %q", c.line, got, c.own)
		}
		if len(d.Lines) != 1 || d.Lines[0] != 2 {
			t.Errorf("%s: lines %v", c.line, d.Lines)
		}
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	tok := chatTokenizer(t, chatTemplate)
	refuses := chatTokenizer(t, `{% for m in messages %}{% if loop.first and m.role != 'user' %}{{ raise_exception('user first') }}{% endif %}{{ m.content }}{% endfor %}`)
	counts := chatTokenizer(t, `{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}`)
	bare, err := tokenizer.Bytes(300)
	if err != nil {
		t.Fatal(err)
	}
	const good = `{"text":"good"}` + "\n"
	for _, c := range []struct {
		tok  *tokenizer.Tokenizer
		data string
		opt  textdata.Options
		want string
	}{
		{tok, "", textdata.Options{}, "data.jsonl: holds no records"},
		{tok, good + `{"text":"half`, textdata.Options{}, "data.jsonl:2: malformed JSON"},
		{tok, good + "\n" + `[1]`, textdata.Options{}, "data.jsonl:3: expected a JSON object, found a array"},
		{tok, good + `{"text":3}`, textdata.Options{}, "data.jsonl:2: field text: expected a JSON string"},
		{tok, good + `{}`, textdata.Options{}, `data.jsonl:2: expected exactly one of "text"`},
		{tok, `{"text":"a","prompt":"b","completion":"c"}`, textdata.Options{}, "data.jsonl:1: expected exactly one of"},
		{tok, `{"text":"  "}`, textdata.Options{}, `data.jsonl:1: field "text" is empty`},
		{tok, `{"prompt":"a"}`, textdata.Options{}, `data.jsonl:1: field "completion" is missing or empty`},
		{tok, `{"prompt":"","completion":"a"}`, textdata.Options{}, `data.jsonl:1: field "prompt" is missing or empty`},
		{tok, `{"messages":[]}`, textdata.Options{}, `data.jsonl:1: field "messages" is empty`},
		{tok, `{"messages":[{"content":"x"}]}`, textdata.Options{}, `field "role" is missing`},
		{tok, `{"messages":[{"role":"user","content":"x"}]}`, textdata.Options{}, `no message has the role "assistant"`},
		{tok, `{"messages":[{"role":"assistant","content":""}]}`, textdata.Options{}, "message 0: the assistant's content is empty"},
		{refuses, `{"messages":[{"role":"assistant","content":"x"}]}`, textdata.Options{}, "user first"},
		{counts, `{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}`, textdata.Options{}, "does not write turns one after another"},
		{bare, `{"messages":[{"role":"assistant","content":"x"}]}`, textdata.Options{}, "chat template"},
		{tok, good + `{"text":"abcdefghij"}`, textdata.Options{MaxTokens: 8}, "data.jsonl:2: 11 tokens, but at most 8"},
		{tok, `{"prompt":"abcdefghij","completion":"k"}`, textdata.Options{MaxTokens: 8, Cut: true}, "nothing to train on"},
		{tok, good + "{\"text\":\"\xff\"}", textdata.Options{}, "data.jsonl:2: not valid UTF-8"},
	} {
		_, err := textdata.Parse("data.jsonl", strings.NewReader(c.data), c.tok, c.opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.data, err, c.want)
		}
	}
	if _, err := textdata.Read(filepath.Join(t.TempDir(), "missing.jsonl"), tok, textdata.Options{}); err == nil || !strings.Contains(err.Error(), "missing.jsonl") {
		t.Error(err)
	}
}

func TestCut(t *testing.T) {
	tok := chatTokenizer(t, chatTemplate)
	data := `{"text":"abcdefghij"}` + "\n" + `{"messages":[{"role":"assistant","content":"abcdefghijklmnopq"}]}` + "\n" + `{"text":"ab"}`
	d, err := textdata.Parse("x", strings.NewReader(data), tok, textdata.Options{MaxTokens: 20, Cut: true})
	if err != nil {
		t.Fatal(err)
	}
	if d.Cut != 1 || len(d.Examples[1].Tokens) != 20 || len(d.Examples[1].Train) != 20 || len(d.Examples[0].Tokens) != 11 {
		t.Errorf("cut %d: %+v", d.Cut, d.Examples)
	}
}

// Whatever a file holds, reading it ends with examples that can be trained on,
// or an error that names a line.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a b"}`, `{"prompt":"a","completion":"b"}`, `{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}`,
		`{"text":"half`, `{"messages":[{"role":"assistant","content":null,"tool_calls":[{}]}]}`, "\ufeff{\"text\":\"x\"}\n\n[]", "\xff",
	} {
		f.Add(seed, 16, true)
	}
	tok := chatTokenizer(f, chatTemplate)
	f.Fuzz(func(t *testing.T, data string, most int, cut bool) {
		d, err := textdata.Parse("data.jsonl", strings.NewReader(data), tok, textdata.Options{MaxTokens: most, Cut: cut, End: 1})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "data.jsonl:") {
				t.Fatalf("%q: %v names no line", data, err)
			}
			return
		}
		for _, e := range d.Examples {
			if len(e.Tokens) == 0 || most > 0 && len(e.Tokens) > most || e.Train != nil && len(e.Train) != len(e.Tokens) || trained(tok, e) == "" {
				t.Fatalf("%q: %+v", data, e)
			}
		}
	})
}
