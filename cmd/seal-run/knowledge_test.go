package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/settings"
)

// articlesFile writes n articles; those named in long have a passage that no
// context of the test's model takes.
func articlesFile(t *testing.T, path string, n int, long ...int) string {
	t.Helper()
	type question struct {
		Question string `json:"question"`
		Answer   string `json:"answer"`
	}
	type article struct {
		Title     string     `json:"title"`
		Context   string     `json:"context"`
		Questions []question `json:"questions"`
	}
	name := strings.TrimSuffix(filepath.Base(path), ".json")
	list := make([]article, n)
	for i := range list {
		list[i] = article{fmt.Sprint(name, i), fmt.Sprintf("%s is number %d.", name, i), []question{{"Which?", fmt.Sprint(i)}}}
	}
	for _, i := range long {
		list[i].Context = strings.Repeat("x", 400)
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, path, string(text))
}

// small are settings of a run of some steps.
var small = []string{"--progress", "none", "--set", "edits.max_tokens=6", "--set", "edits.per_article=2", "--set", "eval.max_tokens=2", "--set", "eval.resamples=100",
	"--set", "inner.epochs=1", "--set", "inner.rank=2", "--set", "inner.seeds=1", "--set", "outer.rounds=1", "--set", "outer.articles=2",
	"--set", "outer.epochs=1", "--set", "outer.rank=2"}

// refused runs the program and wants exit code 1, one message that holds want,
// and nothing else.
func refused(t *testing.T, want string, args ...string) {
	t.Helper()
	code, stdout, stderr := try("", append(args, "--quiet")...)
	if code != exitError {
		t.Errorf("exit code %d, want %d", code, exitError)
	}
	if !strings.Contains(stderr, want) {
		t.Errorf("says\n%swant %q", stderr, want)
	}
	if !strings.HasPrefix(stderr, "seal-run: ") || strings.Count(stderr, "\nseal-run: ") > 0 || strings.Contains(stderr, "goroutine ") || stdout != "" {
		t.Errorf("stderr %q, stdout %q", stderr, stdout)
	}
}

func TestBadInputOfRuns(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	in := func(name, text string) string { return write(t, path(name), text) }
	model := path("mini")
	must(t, "init", "--like", "mini", "--out", model, "--quiet")
	train, eval := articlesFile(t, path("t.json"), 2), articlesFile(t, path("e.json"), 2)
	out := path("out")
	of := func(m, train, eval string, more ...string) []string {
		return append([]string{"knowledge", "--model", m, "--train", train, "--eval", eval, "--out", out}, append(append([]string{}, small...), more...)...)
	}
	knowledge := func(more ...string) []string { return of(model, train, eval, more...) }
	demo := func(more ...string) []string { return append([]string{"demo", "--out", out}, more...) }

	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no model named", []string{"knowledge"}, "--model is missing"},
		{"no training articles named", []string{"knowledge", "--model", model}, "--train is missing"},
		{"no evaluation articles named", []string{"knowledge", "--model", model, "--train", train}, "--eval is missing"},
		{"no folder named", []string{"knowledge", "--model", model, "--train", train, "--eval", eval}, "--out is missing"},
		{"no model", of(path("none"), train, eval), path("none")},
		{"no training articles", of(model, path("none.json"), eval), "none.json"},
		{"no evaluation articles", of(model, train, path("none.json")), "none.json"},
		{"no edits", knowledge("--edits", path("none.jsonl")), "none.jsonl"},
		{"no settings", knowledge("--config", path("none.yaml")), "none.yaml"},
		{"no prompt", knowledge("--set", "edits.prompt="+path("none.txt")), "none.txt"},
		{"broken articles", of(model, in("b.json", "[\n{\"title\": \"a\",\n\"context\" \"b\"}]"), eval), "b.json: expected an array of articles {title, context, questions}: malformed JSON at line 3"},
		{"half the articles", of(model, train, in("h.json", read(t, eval)[:40])), "h.json: expected an array of articles"},
		{"no article", of(model, in("n.json", "[]"), eval), "n.json"},
		{"empty answer", of(model, train, in("a.json", `[{"title":"T","context":"C","questions":[{"question":"Q","answer":""}]}]`)), "a.json: article 0: field questions[0].answer is missing or empty"},
		{"broken edits", knowledge("--edits", in("b.jsonl", "{\"title\":\"e0\"")), "b.jsonl"},
		{"broken settings", knowledge("--config", in("b.yaml", "inner: {rank: 3")), "b.yaml"},
		{"unknown setting in a file", knowledge("--config", in("u.yaml", "inner:\n  rnak: 3\n")), `u.yaml:2:3: unknown setting "inner.rnak": did you mean inner.rank?`},
		{"unknown setting", knowledge("--set", "inner.rnak=3"), `seal-run: --set inner.rnak=3: unknown setting "inner.rnak": did you mean inner.rank?`},
		{"setting without group", knowledge("--set", "articles=3"), "did you mean outer.articles?"},
		{"no value", knowledge("--set", "inner.rank"), "seal-run: --set inner.rank: expected key=value"},
		{"rank 0", knowledge("--set", "inner.rank=0"), "seal-run: --set inner.rank=0: inner.rank: got 0, expected a whole number of at least 1"},
		{"more kept than written", knowledge("--set", "outer.keep=3"), "outer.keep: got 3, expected at most edits.per_article, which is 2"},
		{"article too long", of(model, train, articlesFile(t, path("l.json"), 2, 1)), "(l1): the self-edit prompt has"},
		{"article too long to train on", of(model, articlesFile(t, path("k.json"), 2, 0), eval), "(k0): the self-edit prompt has"},
		{"no article fits", of(model, train, articlesFile(t, path("j.json"), 2, 0, 1), "--set", "data.too_long=skip"), "none of the 2 evaluation articles fits into the model's context of 256 tokens"},
		{"no chat template", knowledge("--set", "model.prompts=chat"), "the tokenizer has no chat template"},
		{"too little memory", knowledge("--memory-limit", "1MiB"), "but the memory limit is 1.0 MiB"},
		{"unwritable folder", of(model, train, eval, "--out", filepath.Join(train, "x")), "t.json"},

		{"no run named", []string{"report"}, "got 0 folders, expected one: seal-run report DIR"},
		{"no run", []string{"report", path("none")}, "no finished run here (experiment.json is missing)"},
		{"broken run", []string{"report", filepath.Dir(in("broken/experiment.json", "{"))}, "experiment.json"},

		{"unknown setting of the demo", demo("--set", "inner.rnak=3"), `seal-run: --set inner.rnak=3: unknown setting "inner.rnak": did you mean inner.rank?`},
		{"rank 0 in the demo", demo("--set", "outer.rank=0"), "outer.rank: got 0"},
		{"no seeds", demo("--seeds", "0"), "--seeds 0, --passages 48, --permutations 1: expected at least 1"},
		{"no passages", demo("--passages", "0"), "--passages 0"},
		{"no permutations", demo("--permutations", "0"), "--permutations 0"},
		{"no model for the demo", demo("--model", path("none")), path("none")},
		{"unwritable folder of the demo", []string{"demo", "--out", filepath.Join(train, "x")}, "t.json"},
		{"too little memory for the demo", demo("--memory-limit", "1MiB"), "memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, c.want, c.args...)
			if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
				t.Errorf("left %v behind", entries)
			}
			_ = os.RemoveAll(out)
		})
	}
}

// A run folder keeps to its settings and to one process, and is reported once it
// is finished.
func TestKnowledgeFolder(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	model, out := path("mini"), path("run")
	must(t, "init", "--like", "mini", "--out", model, "--quiet")
	train, eval := articlesFile(t, path("t.json"), 3, 1), articlesFile(t, path("e.json"), 3, 0)
	args := append([]string{"knowledge", "--model", model, "--train", train, "--eval", eval, "--out", out}, small...)
	with := func(more ...string) []string { return append(args[:len(args):len(args)], more...) }

	plan, _ := must(t, with("--dry-run", "--quiet")...)
	for _, want := range []string{"self-edits to sample", "updates to train", "optimiser steps", "tokens to train on", "KV cache", "tokens/s trained"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan lacks %q:\n%s", want, plan)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("planning made a folder")
	}

	// What the message about long articles advises works in the same folder.
	refused(t, "data.too_long=skip", args...)
	skip := with("--set", "data.too_long=skip")
	table, said := must(t, append(skip, "--json")...)
	if !strings.Contains(said, "1 of the first 3 evaluation articles are left out") || !strings.Contains(said, "1 of the first 3 training articles are left out") {
		t.Errorf("said %s", said)
	}
	var rows struct {
		Rows []struct {
			Name string
			N    int
		}
	}
	if err := json.Unmarshal([]byte(table), &rows); err != nil || len(rows.Rows) == 0 || rows.Rows[0].N != 2 {
		t.Errorf("%v: %s", err, table)
	}
	if again, _ := must(t, append(skip, "--json")...); again != table {
		t.Errorf("the same command again prints\n%s\nand not\n%s", again, table)
	}
	if err := os.Remove(filepath.Join(out, "report.html")); err != nil {
		t.Fatal(err)
	}
	if reported, _ := must(t, "report", out, "--json"); reported != table {
		t.Errorf("report prints\n%s\nand not\n%s", reported, table)
	}
	if page := read(t, filepath.Join(out, "report.html")); !strings.Contains(page, "<html") {
		t.Error("no page was written")
	}

	refused(t, "run holds a run with other settings (was → now):\n  inner.lr: 0.001 → 0.5\n", append(skip, "--set", "inner.lr=0.5")...)
	must(t, append(skip, "--set", "run.max_adapters=1", "--quiet")...) // changes no result
	articlesFile(t, train, 3)
	refused(t, "t.json", skip...)

	// The folder of a run in progress.
	busy := path("busy")
	run, err := journal.Open(busy, settings.Default().Marshal(), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, fmt.Sprintf("the run folder is in use: process %d holds %s", os.Getpid(), busy), with("--out", busy, "--set", "data.too_long=skip")...)
	refused(t, "no finished run here", "report", busy)
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
}
