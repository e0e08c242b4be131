package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tiny are settings of a run of some steps.
var tiny = []string{"--progress", "none", "--quiet", "--set", "edits.max_tokens=6", "--set", "eval.max_tokens=2", "--set", "eval.resamples=100",
	"--set", "inner.epochs=1", "--set", "inner.rank=2", "--set", "continual.sequences=1", "--set", "continual.length=2", "--set", "continue.edits=1"}

func TestBadInputOfPassages(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	model, out := path("mini"), path("out")
	must(t, "init", "--like", "mini", "--out", model, "--quiet")
	data := articlesFile(t, path("e.json"), 2)
	answers := write(t, path("a.jsonl"), `{"question": "q", "gold": "g", "answer": "a"}`+"\n")
	with := func(command string, more ...string) []string {
		return append(append([]string{command, "--model", model, "--data", data, "--out", out}, tiny...), more...)
	}
	judged := func(more ...string) []string {
		return append([]string{"judge", "--data", answers, "--out", out}, more...)
	}
	ablated := func(more ...string) []string {
		return append([]string{"ablate", "--model", model, "--train", data, "--eval", data, "--out", out}, more...)
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no model", []string{"continual", "--data", data, "--out", out}, "--model is missing: see seal-run continual --help"},
		{"no passages", []string{"continue", "--model", model, "--out", out}, "--data is missing: see seal-run continue --help"},
		{"no folder", []string{"continue", "--model", model, "--data", data}, "--out is missing"},
		{"no folder for the world", []string{"continual", "--world", "demo"}, "--out is missing"},
		{"another world", with("continual", "--world", "sea"), "--world sea: expected demo"},
		{"too few passages", with("continual", "--set", "continual.sequences=2"), "2 articles are too few: continual.sequences × continual.length needs 4"},
		{"unknown way", with("continual", "--set", "continual.keep=hope"), "continual.keep: got \"hope\", expected a list of different ones of replay, kl, orthogonal, routed"},
		{"unknown way compared", with("continual", "--compare", "none,hope"), "--compare none,hope: "},
		{"a way twice", with("continual", "--compare", "kl,kl"), "kl comes twice"},
		{"routed with others", with("continual", "--compare", "routed+kl"), "continual.keep: got routed with others"},
		{"no sequences", with("continual", "--set", "continual.sequences=0"), "continual.sequences: got 0"},
		{"broken passages", append(with("continue"), "--data", write(t, path("b.json"), "[{")), "b.json"},
		{"unknown training", with("continue", "--set", "continue.train=some"), "continue.train: got some, expected lora or all"},
		{"edits for others", with("continue", "--edits", write(t, path("x.jsonl"), `{"title": "x", "completions": ["y"]}`)), "x.jsonl: line 1"},
		{"endpoint without an address", with("continue", "--set", "eval.grader=endpoint"), "judge.url and judge.model"},
		{"endpoint of a wrong form", with("continue", "--set", "eval.grader=endpoint", "--set", "judge.url=host", "--set", "judge.model=m"), "judge.url: got \"host\", expected an address"},
		{"command that fails", with("continue", "--set", "eval.grader=command", "--set", "judge.command=exit 7"), "exit status 7"},
		{"too little memory", with("continual", "--memory-limit", "300KiB"), "but the memory limit is 300.0 KiB"},
		{"too little memory to continue", with("continue", "--set", "continue.train=all", "--memory-limit", "1MiB"), "but the memory limit is 1.0 MiB"},
		{"unknown kind", ablated("--kinds", "rewrite,poem"), "got \"poem\", expected different ones of"},
		{"a kind twice", ablated("--kinds", "rewrite,rewrite"), "got \"rewrite\""},
		{"a prompt for all kinds", ablated("--set", "edits.prompt="+answers), "edits.prompt and edits.file"},
		{"no answers", []string{"judge", "--out", out}, "--data is missing"},
		{"no folder for verdicts", []string{"judge", "--data", answers}, "--out is missing"},
		{"answers of a wrong form", append(judged(), "--data", write(t, path("w.jsonl"), "{\"question\": \"q\"}\n")), "w.jsonl:1: expected the fields question, gold and answer"},
		{"no JSON", append(judged(), "--data", write(t, path("n.jsonl"), "\n{\n")), "n.jsonl:2: expected {question, gold, answer, correct}"},
		{"a number for an answer", append(judged(), "--data", write(t, path("z.jsonl"), `{"question": "q", "gold": "g", "answer": 1}`)), "z.jsonl:1"},
		{"grading prompt without the answer", judged("--set", "judge.prompt="+write(t, path("p.txt"), "[user]\n{question} {gold}")), "lacks the placeholder {pred}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, c.want, c.args...)
			_ = os.RemoveAll(out)
		})
	}
}

// planned wants the plan of a run, and no folder made.
func planned(t *testing.T, dir string, args ...string) {
	t.Helper()
	plan, _ := must(t, append(args, "--dry-run")...)
	for _, want := range []string{"self-edits to sample", "updates to train", "optimiser steps", "answers to give", "KV cache", "tokens/s trained"} {
		if !strings.Contains(plan, want) {
			t.Errorf("%v: the plan lacks %q:\n%s", args, want, plan)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%v: planning made a folder", args)
	}
}

// Each command runs, prints its table, leaves a report, and the same command
// again does nothing new.
func TestPassageCommands(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	model := path("mini")
	must(t, "init", "--like", "mini", "--out", model, "--quiet")
	data := articlesFile(t, path("e.json"), 2)
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"continual":     {[]string{"continual"}, []string{"first passage at the end", "Accuracy after each update: none"}},
		"compare":       {[]string{"continual", "--compare", "none,replay+kl,routed"}, []string{"replay+kl", "Accuracy after each update: routed"}},
		"continue":      {[]string{"continue"}, []string{"passage + base model's self-edits"}},
		"continue-all":  {[]string{"continue", "--set", "continue.train=all"}, []string{"passage + base model's self-edits"}},
		"continue-none": {[]string{"continue", "--set", "continue.edits=0"}, []string{"passage only"}},
	} {
		args := append(append(c.args, "--model", model, "--data", data, "--out", path(name)), tiny...)
		planned(t, path(name), args...)
		out, _ := must(t, args...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s prints\n%swithout %q", name, out, want)
			}
		}
		if page := read(t, filepath.Join(path(name), "report.html")); !strings.Contains(page, "<html") {
			t.Errorf("%s leaves no report", name)
		}
		if again, _ := must(t, args...); again != out {
			t.Errorf("%s again prints\n%s", name, again)
		}
		object, _ := must(t, append(args, "--json")...)
		if !json.Valid([]byte(object)) || strings.Count(object, "\n") != 1 {
			t.Errorf("%s --json prints %s", name, object)
		}
	}
	args := append([]string{"ablate", "--model", model, "--train", data, "--eval", data, "--out", path("ablate"), "--kinds", "rewrite,self-qa"}, small...)
	planned(t, path("ablate"), append(args, "--quiet")...)
	refused(t, "but the memory limit is 1.0 MiB", append(args, "--memory-limit", "1MiB")...)
	if out, _ := must(t, append(args, "--quiet")...); !strings.Contains(out, "self-qa") || !strings.Contains(out, "49.4") {
		t.Errorf("ablate prints\n%s", out)
	}
	if page := read(t, filepath.Join(path("ablate"), "rewrite", "report.html")); !strings.Contains(page, "<html") {
		t.Error("a kind leaves no report")
	}
}

func TestJudgeCommand(t *testing.T) {
	dir := t.TempDir()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("Authorization") != "Bearer k-1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"choices": [{"message": {"content": "yes"}}], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}`)
	}))
	defer server.Close()
	answers := write(t, filepath.Join(dir, "a.jsonl"),
		`{"question": "q", "gold": "g", "answer": "g", "correct": true}`+"\n"+`{"question": "q", "gold": "g", "answer": "h", "correct": false}`+"\n"+`{"question": "q", "gold": "g", "answer": " ", "correct": false}`+"\n")
	for _, grader := range []string{"match", "learned", "exact"} {
		out, _ := must(t, "judge", "--data", answers, "--out", filepath.Join(dir, grader), "--set", "eval.grader="+grader)
		if !strings.Contains(out, "1 of 3 answers right") || !strings.Contains(out, "agreement 100.00 %") {
			t.Errorf("%s prints %s", grader, out)
		}
	}
	t.Setenv("A_KEY", "k-2")
	args := []string{"judge", "--data", answers, "--out", filepath.Join(dir, "endpoint"), "--set", "eval.grader=endpoint", "--set", "judge.url=" + server.URL, "--set", "judge.model=m",
		"--set", "judge.key_env=A_KEY", "--set", "judge.price_in=1000000"}
	refused(t, "status 401 Unauthorized", args...)
	t.Setenv("A_KEY", "k-1")
	before := asked
	for range 2 {
		out, said := must(t, args...)
		if !strings.Contains(out, "2 of 3 answers right") || !strings.Contains(out, "2 replies for 14 prompt and 2 reply tokens, 14 at the prices set") || !strings.Contains(said, "judge: ") {
			t.Errorf("prints %s%s", out, said)
		}
	}
	if asked-before != 2 {
		t.Errorf("asked %d times, want 2", asked-before)
	}
}
