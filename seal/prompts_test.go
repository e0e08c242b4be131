package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type promptCase struct {
	Template string
	Args     struct{ Title, Context, Question, Gold, Pred string }
	Expected string
}

func TestDataPrompts(t *testing.T) {
	eachCase(t, "ki_prompts", func(c promptCase) check {
		d := diff(c.Expected, Fill(c.Template, Values{
			Title: c.Args.Title, Context: c.Args.Context, Question: c.Args.Question, Gold: c.Args.Gold, Pred: c.Args.Pred}))
		return check{d, d}
	})
}

func TestFill(t *testing.T) {
	v := Values{Title: "{context}", Context: "{title} {0} %s", Topic: "Oxygen", Question: "What {gold}?", Gold: "{pred}", Pred: " {question}\n"}
	for _, c := range []struct{ template, want string }{
		{"{title}|{context}|{gold}|{pred}", "{context}|{title} {0} %s|{pred}|{question}"},
		{"{question}", "Topic: Oxygen\nWhat {gold}?"},
		{"{topic}: {question}", "Oxygen: What {gold}?"},
		{`{"title": {unknown} {{title}}}`, `{"title": {unknown} {{context}}}`},
	} {
		if got := Fill(c.template, v); got != c.want {
			t.Errorf("Fill(%q) = %q, want %q", c.template, got, c.want)
		}
	}
}

func TestDefaultPrompts(t *testing.T) {
	p := DefaultPrompts()
	base, chat := map[string]Kind{}, map[ChatTemplate]Kind{}
	for _, k := range Kinds() {
		if k == KindNone {
			continue
		}
		if other, ok := base[p.EditBase[k]]; ok {
			t.Errorf("%s and %s have the same base prompt", k, other)
		}
		if other, ok := chat[p.EditChat[k]]; ok {
			t.Errorf("%s and %s have the same chat prompt", k, other)
		}
		base[p.EditBase[k]], chat[p.EditChat[k]] = k, k
		got := Fill(p.EditBase[k], Values{Title: "Oxygen", Context: "It burns."})
		if !strings.Contains(got, "Oxygen\nIt burns.\n\n") || strings.Contains(got, "{") {
			t.Errorf("base prompt of %s: %q", k, got)
		}
		// Text after the cue's blank would be tokenised otherwise than in training.
		if strings.HasSuffix(got, " ") {
			t.Errorf("base prompt of %s ends in a blank", k)
		}
		if got := p.EditChat[k].Fill(Values{Title: "Oxygen", Context: "It burns."}); got.User != "Oxygen\nIt burns." {
			t.Errorf("chat prompt of %s: %q", k, got.User)
		}
	}
	if got := Fill(p.AnswerBase, Values{Topic: "Oxygen", Question: "Does it burn?"}); !strings.Contains(got, "Topic: Oxygen\nDoes it burn?\n") {
		t.Errorf("answer prompt: %q", got)
	}
}

func TestReplacePrompt(t *testing.T) {
	for _, c := range []struct{ name, text, wantErr string }{
		{"rewrite.base.txt", "{title}\n{context}\nAgain:", ""},
		{"rewrite.base.txt", "{title}\nAgain:", "lacks the placeholder {context}"},
		{"rewrite.base.txt", " \n", "the file is empty"},
		{"grade.chat.txt", "[user]\n{question} {gold}", "lacks the placeholder {pred}"},
		{"grade.chat.txt", "[user]\r\n{question} {gold} {pred}\r\n", ""},
		{"answer.chat.txt", "Answer: {question}", "line 1: expected a line [system] or [user]"},
		{"answer.chat.txt", "[system]\n{question}", "expected a line [user]"},
		{"rewrites.txt", "{title}{context}", "unknown prompt"},
	} {
		path := filepath.Join(t.TempDir(), "p.txt")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		p := DefaultPrompts()
		err := p.Replace(c.name, path)
		switch {
		case c.wantErr == "" && err != nil:
			t.Errorf("%s %q: %v", c.name, c.text, err)
		case c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr) || !strings.Contains(err.Error(), path)):
			t.Errorf("%s %q: error %v, want the path and %q", c.name, c.text, err, c.wantErr)
		}
	}
}

func TestReadPrompts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"self-qa.base.txt": "{title}{context}Q:", "answer.chat.txt": "[system]\nBe brief.\n[user]\n{topic}? {question}\n", "notes.md": "mine",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadPrompts(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultPrompts()
	want.EditBase[KindSelfQA] = "{title}{context}Q:"
	want.AnswerChat = ChatTemplate{"Be brief.", "{topic}? {question}"}
	if d := diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if _, err := ReadPrompts(filepath.Join(dir, "absent")); err == nil {
		t.Error("no error for a missing folder")
	}
}
