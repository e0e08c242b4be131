package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// resumable are the commands that work in a run folder, each with the arguments of a
// run of some steps and settings that change no result; --out is missing.
func resumable(t *testing.T) map[string]resumableCommand {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	model, chat := path("mini"), chatModel(t, path("chat"))
	must(t, "init", "--like", "mini", "--out", model, "--quiet")
	data := articlesFile(t, path("e.json"), 2)
	passages := func(command string, more ...string) []string {
		return append(append([]string{command, "--model", model, "--data", data}, tiny...), more...)
	}
	train, eval := challengesFile(t, path("t.json"), "t", 2), challengesFile(t, path("g.json"), "g", 2)
	fewshot := append(tinyFewshot(chat, train, eval, write(t, path("p.txt"), "?\n")), "--solutions", train+".solutions", "--solutions", eval+".solutions",
		"--oracle", tinyOracle, "--set", "eval.controls=shuffled")
	var answers []string
	for i := range 200 {
		answers = append(answers, fmt.Sprintf(`{"question": "q%d", "gold": "g", "answer": "%s"}`, i, strings.Repeat("a", 1+i%3)))
	}
	judge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		reply := "no"
		if bytes.Contains(body.Bytes(), []byte("aaa")) {
			reply = "yes"
		}
		time.Sleep(time.Millisecond)
		_ = json.NewEncoder(w).Encode(map[string]any{"choices": []any{map[string]any{"message": map[string]string{"content": reply}}}})
	}))
	t.Cleanup(judge.Close)
	alone := []string{"--set", "run.max_adapters=1", "--set", "run.max_decodes=1", "--set", "run.max_batch_tokens=1"}
	return map[string]resumableCommand{
		"fewshot":      {fewshot, alone},
		"continue":     {passages("continue"), alone},
		"continue-all": {passages("continue", "--set", "continue.train=all", "--set", "continue.checkpoint=1"), alone},
		"continual":    {passages("continual", "--compare", "none,replay+kl,routed"), alone},
		"ablate":       {append([]string{"ablate", "--model", model, "--train", data, "--eval", data, "--kinds", "rewrite,self-qa"}, small...), alone},
		"judge": {[]string{"judge", "--data", write(t, path("a.jsonl"), strings.Join(answers, "\n")), "--set", "eval.grader=endpoint",
			"--set", "judge.url=" + judge.URL, "--set", "judge.model=m"}, []string{"--set", "judge.concurrency=1"}},
	}
}

// resumableCommand is a command line, and what makes it work on one thing at a time.
type resumableCommand struct{ args, alone []string }

// in returns the command line in a folder.
func (c resumableCommand) in(dir string, more ...string) []string {
	return append(slices.Concat(c.args, []string{"--out", dir, "--quiet", "--progress", "none"}), more...)
}

// results returns what a run folder holds but logs, locks, pages with times, and free
// settings.
func results(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch d.Name() {
		case "journal.jsonl", "timings.jsonl", "report.html", "config.yaml", ".lock":
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		files[rel] = read(t, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sameResults wants the same files in two run folders.
func sameResults(t *testing.T, what, dir, whole string) {
	t.Helper()
	want, got := results(t, whole), results(t, dir)
	if len(want) == 0 {
		t.Errorf("%s: the undisturbed run left nothing", what)
	}
	for name, data := range want {
		if other, ok := got[name]; !ok || other != data {
			t.Errorf("%s: %s is missing or differs", what, name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s: %s should not be there", what, name)
	}
}

// Every command leaves the same bytes whatever runs together, and however often it is
// killed.
func TestKilledCommands(t *testing.T) {
	for name, c := range resumable(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			whole, alone, killed := filepath.Join(dir, "whole"), filepath.Join(dir, "alone"), filepath.Join(dir, "killed")
			must(t, c.in(whole)...)
			must(t, c.in(alone, c.alone...)...)
			sameResults(t, "one at a time", alone, whole)
			all, kills := records(whole), 0
			for i, at := range []int{1, all / 3, 2 * all / 3, all - 1} {
				args := c.in(killed)
				if i%2 == 1 {
					args = c.in(killed, c.alone...)
				}
				if killAt(t, killed, at, args) {
					kills++
				}
			}
			must(t, c.in(killed)...)
			sameResults(t, fmt.Sprintf("after %d kills", kills), killed, whole)
			if kills < 2 {
				t.Errorf("only %d kills among %d records", kills, all)
			}
		})
	}
}

// records counts the pieces of work that journals below a folder hold.
func records(dir string) (n int) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "journal.jsonl" {
			data, _ := os.ReadFile(path)
			n += bytes.Count(data, []byte("\n"))
		}
		return nil
	})
	return n
}

// killAt runs the program in a process of its own and kills it when its folder holds
// so many records; it tells whether the kill came before the end.
func killAt(t *testing.T, dir string, at int, args []string) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "SEAL_RUN_TEST_MAIN=1")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v: %s", err, said.String())
			}
			return false
		case <-time.After(time.Millisecond):
		}
		if records(dir) >= at {
			_ = cmd.Process.Kill()
			return <-ended != nil
		}
	}
}
