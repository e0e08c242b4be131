package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every example in the help of a command of the paper's experiments works, on files
// of the names it gives; settings that make it short are added.
func TestExamples(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"choices": []any{map[string]any{"message": map[string]string{"content": "yes"}}}})
	}))
	defer server.Close()
	sets := func(list ...string) (args []string) {
		for _, s := range list {
			args = append(args, "--set", s)
		}
		return args
	}
	passages := append([]string{"--quiet"}, small...)
	grids := sets("edits.per_task=1", "edits.tries=1", "edits.eval_per_task=1", "edits.max_tokens=4", "inner.examples=4", "inner.rank=2", "answer.max_new=4", "eval.resamples=100")
	for name, short := range map[string][]string{
		"knowledge": passages,
		"ablate":    passages,
		"continue":  tiny,
		"continual": append(sets("inner.batch_size=8"), tiny...),
		"fewshot":   append(append(grids, sets("edits.prompt=p.txt", "model.solve_prompt=p.txt")...), "--progress", "none", "--quiet"),
		"judge":     {"--quiet"},
		"demo fewshot": append(append([]string{"--seeds", "1", "--tasks", "2", "--progress", "none", "--quiet"},
			sets("outer.rounds=1", "outer.tasks=1", "outer.epochs=1", "inner.max_steps=4", "eval.controls=")...), grids[:4]...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			exampleFiles(t, name == "fewshot")
			c, _, err := newRoot(&app{}).Find(strings.Fields(name))
			if err != nil {
				t.Fatal(err)
			}
			lines := examples(c)
			if len(lines) < 2 {
				t.Errorf("%d examples", len(lines))
			}
			for _, line := range lines {
				words := strings.Fields(strings.ReplaceAll(line, "https://host/v1", server.URL))
				if key, value, ok := strings.Cut(words[0], "="); ok {
					t.Setenv(key, value)
					words = words[1:]
				}
				if words[0] != "seal-run" {
					t.Fatalf("%s: an example of another program", line)
				}
				if code, _, said := try("", append(words[1:], short...)...); code != 0 {
					t.Errorf("%s\nexit code %d, %s", line, code, said)
				}
			}
		})
	}
}

// examples are a command's, one a line.
func examples(c *cobra.Command) (lines []string) {
	for line := range strings.Lines(strings.ReplaceAll(c.Example, "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// exampleFiles makes the models and files that examples name; t.json and e.json are
// tasks or articles.
func exampleFiles(t *testing.T, tasks bool) {
	t.Helper()
	for _, dir := range []string{"DIR", "Qwen2.5-0.5B", "Llama-3.2-1B-Instruct"} {
		chatModel(t, dir)
	}
	const judged = `{"question": "q", "gold": "g", "answer": "g", "correct": true}` + "\n"
	write(t, "answers.jsonl", judged)
	write(t, "graded_answers.jsonl", judged)
	write(t, "oracle.json", tinyOracle)
	write(t, "p.txt", "?\n")
	for _, name := range []string{"train", "eval"} {
		challengesFile(t, name+".json", name, 2)
		if err := os.Rename(name+".json.solutions", name+"_solutions.json"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"t.json", "e.json", "squad_train.json", "squad_val.json"} {
		if tasks && len(name) == len("t.json") {
			challengesFile(t, name, strings.TrimSuffix(name, filepath.Ext(name)), 2)
			continue
		}
		articlesFile(t, name, 2)
	}
	if tasks {
		write(t, "s.json", strings.TrimSuffix(read(t, "t.json.solutions"), "}")+","+strings.TrimPrefix(read(t, "e.json.solutions"), "{"))
	}
	write(t, "gpt.jsonl", `{"title": "e0", "completions": ["A fact."]}`+"\n"+`{"title": "e1", "completions": ["Another."]}`+"\n")
}
