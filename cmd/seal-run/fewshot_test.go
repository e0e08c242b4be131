package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// challengesFile writes n tasks, and their solutions beside it.
func challengesFile(t *testing.T, path, name string, n int) string {
	t.Helper()
	var tasks, solutions []string
	for i := range n {
		tasks = append(tasks, fmt.Sprintf(`"%s%d": {"train": [{"input": [[1, %d]], "output": [[%d, 1]]}, {"input": [[2, %d]], "output": [[%d, 2]]}], "test": [{"input": [[3, %d]]}]}`, name, i, i, i, i, i, i))
		solutions = append(solutions, fmt.Sprintf(`"%s%d": [[[%d, 3]]]`, name, i, i))
	}
	write(t, path+".solutions", "{"+strings.Join(solutions, ",\n")+"}")
	return write(t, path, "{"+strings.Join(tasks, ",\n")+"}")
}

// chatModel makes a random model with a chat template.
func chatModel(t *testing.T, dir string) string {
	t.Helper()
	must(t, "init", "--like", "mini", "--out", dir, "--quiet")
	write(t, filepath.Join(dir, "chat_template.jinja"), `{% for m in messages %}{{ m.content | trim }}{{ eos_token }}{% endfor %}`)
	return dir
}

// tinyFewshot is a run of some steps, without solutions and --out.
func tinyFewshot(model, train, eval, prompt string) []string {
	return []string{"fewshot", "--model", model, "--train", train, "--eval", eval, "--set", "edits.prompt=" + prompt, "--set", "model.solve_prompt=" + prompt,
		"--set", "edits.per_task=1", "--set", "edits.eval_per_task=1", "--set", "edits.tries=2", "--set", "edits.max_tokens=4", "--set", "answer.max_new=4",
		"--set", "inner.examples=4", "--set", "inner.rank=2", "--set", "eval.resamples=100"}
}

const tinyOracle = `{"data_generation": {"use_basic_augmentations": true, "use_size_augmentations": false, "use_chain_augmentations": false, "use_repeat_augmentations": false}, "training": {"strategy": "train_using_all_tokens", "learning_rate": 0.001, "num_train_epochs": 1}}`

func TestFewshotFolder(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	model, out := chatModel(t, path("mini")), path("run")
	train, eval := challengesFile(t, path("t.json"), "t", 2), challengesFile(t, path("e.json"), "e", 2)
	prompt := write(t, path("p.txt"), "?\n")
	of := func(train, eval string, more ...string) []string {
		args := append(tinyFewshot(model, train, eval, prompt), "--solutions", path("t.json.solutions"), "--solutions", path("e.json.solutions"), "--out", out, "--progress", "none")
		return append(args, more...)
	}
	in := func(name, text string) string { return write(t, path(name), text) }
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no model named", []string{"fewshot"}, "--model is missing"},
		{"no tasks named", []string{"fewshot", "--model", model}, "--train is missing"},
		{"no folder named", []string{"fewshot", "--model", model, "--train", train, "--eval", eval}, "--out is missing"},
		{"no file", of(path("none.json"), eval), "none.json"},
		{"no solutions", of(train, challengesFile(t, path("x.json"), "x", 1)), "x.json: no solutions for task x0: give the file that belongs to the challenges (--solutions)"},
		{"no solutions file", of(train, eval, "--solutions", path("none.json")), "none.json"},
		{"a ragged grid", of(in("r.json", `{"r": {"train": [{"input": [[1, 2], [3]], "output": [[1]]}], "test": [{"input": [[1]]}]}}`), eval), "r.json: task r: train[0].input: row 1 has 1 colours"},
		{"no tests", of(train, in("n.json", `{"n": {"train": [{"input": [[1]], "output": [[1]]}]}}`)), "n.json: task n: field test is missing or empty"},
		{"broken", of(train, in("b.json", "{\n\"a\": {")), "b.json: malformed JSON at line 2"},
		{"a bad oracle", of(train, eval, "--oracle", "{}"), "eval.oracle: the self-edit has no object"},
		{"no oracle file", of(train, eval, "--oracle", path("none.json")), "none.json"},
		{"unknown setting", of(train, eval, "--set", "inner.rnak=3"), `unknown setting "inner.rnak": did you mean inner.rank?`},
		{"more kept than written", of(train, eval, "--set", "outer.keep=9"), "outer.keep: got 9"},
		{"too long", of(train, eval, "--set", "answer.max_tokens=5"), "no prompt has fewer than 5 tokens"},
		{"too little memory", of(train, eval, "--memory-limit", "1MiB"), "but the memory limit is 1.0 MiB"},
		{"no seeds", []string{"demo", "fewshot", "--seeds", "0"}, "--seeds 0, --tasks"},
		{"no model for the demo", []string{"demo", "fewshot", "--model", path("none"), "--out", out}, path("none")},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, c.want, c.args...)
			if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
				t.Errorf("left %v behind", entries)
			}
		})
	}

	plan, _ := must(t, of(train, eval, "--dry-run", "--quiet", "--oracle", tinyOracle)...)
	for _, want := range []string{"self-edits to sample      6", "updates to train", "KV cache"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan lacks %q:\n%s", want, plan)
		}
	}
	table, _ := must(t, of(train, eval, "--oracle", tinyOracle, "--json")...)
	for _, want := range []string{"in_context", "base_self_edits", "seal_round_1", "oracle"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q: %s", want, table)
		}
	}
	if again, _ := must(t, of(train, eval, "--oracle", tinyOracle, "--json")...); again != table {
		t.Errorf("the same command again prints\n%s\nand not\n%s", again, table)
	}
	if reported, _ := must(t, "report", out, "--json"); reported != table {
		t.Errorf("report prints\n%s\nand not\n%s", reported, table)
	}
	if page := read(t, filepath.Join(out, "report.html")); !strings.Contains(page, `<svg class="grid"`) {
		t.Error("the page draws no grids")
	}
	refused(t, "holds a run with other settings", of(train, eval, "--oracle", tinyOracle, "--set", "inner.rank=4")...)
	must(t, of(train, eval, "--oracle", tinyOracle, "--set", "run.max_adapters=1", "--quiet")...) // changes no result
}
