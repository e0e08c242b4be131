package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A GPU that is taken away in the middle ends a command with a message, and loses
// nothing that was saved: the same command goes on to the same bytes on such a GPU, and
// on the CPU only where that is accepted.
func TestLostGPU(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	model := path("mini")
	must(t, "init", "--like", "mini", "--out", model, "--quiet")
	data := write(t, path("d.jsonl"), strings.Repeat(`{"text":"the cat sat"}`+"\n", 3))
	articles := articlesFile(t, path("a.json"), 1)
	finetune := []string{"finetune", "--model", model, "--data", data, "--epochs", "1", "--batch", "1", "--checkpoint-every", "1"}
	for name, c := range map[string]struct {
		args  []string
		saved string // a file by then, with something in it
	}{
		"adapter": {append(finetune[:len(finetune):len(finetune)], "--rank", "2"), "training/checkpoint-*"},
		"full":    {append(finetune[:len(finetune):len(finetune)], "--full", "--dtype", "bfloat16", "--compute", "bf16"), "training/checkpoint-*"},
		"knowledge": {append([]string{"knowledge", "--model", model, "--train", articles, "--eval", articles}, append(small[:len(small):len(small)],
			"--set", "edits.max_tokens=2", "--set", "eval.max_tokens=1", "--set", "outer.articles=1")...), "rewards-1.jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			whole, lost, onCPU := filepath.Join(dir, "whole"), filepath.Join(dir, "lost"), filepath.Join(dir, "cpu")
			in := func(out, device string, more ...string) []string {
				return append(slices.Concat(c.args, []string{"--out", out, "--quiet", "--progress", "none", "--device", device}), more...)
			}
			must(t, in(whole, "emulated:unchecked")...)
			losses := 0
			for at := 300; ; at += 300 { // how many launches a run has is not for this test to know
				refused(t, "is lost to this process", in(lost, fmt.Sprintf("emulated:unchecked:lost@%d", at))...)
				losses++
				if t.Failed() {
					return
				}
				if files, err := filepath.Glob(filepath.Join(lost, c.saved)); err != nil {
					t.Fatal(err)
				} else if len(files) > 0 && read(t, files[0]) != "" {
					break
				}
			}
			t.Logf("lost %d times", losses)
			if err := os.CopyFS(onCPU, os.DirFS(lost)); err != nil {
				t.Fatal(err)
			}
			before := results(t, onCPU)
			refused(t, "--accept-numerics", in(onCPU, "cpu")...)
			for name, data := range results(t, onCPU) {
				if before[name] != data {
					t.Errorf("a refused command changed %s", name)
				}
			}
			must(t, in(onCPU, "cpu", "--accept-numerics")...)
			must(t, in(lost, "emulated:unchecked")...)
			sameResults(t, "after losing the GPU", lost, whole)
		})
	}
}

// Without a driver auto is the CPU, and says so; a run begun on a GPU does not move
// there unasked.
func TestAutoWithoutGPU(t *testing.T) {
	t.Setenv("SELKIE_LIBCUDA", filepath.Join(t.TempDir(), "libcuda.so.1"))
	dir := t.TempDir()
	model, out := filepath.Join(dir, "mini"), filepath.Join(dir, "out")
	must(t, "init", "--like", "mini", "--out", model, "--quiet")
	data := write(t, filepath.Join(dir, "d.jsonl"), `{"text":"the cat sat"}`+"\n")
	finetune := []string{"finetune", "--model", model, "--data", data, "--epochs", "1", "--rank", "2", "--progress", "none", "--out", out}
	refused(t, "is lost to this process", append(finetune, "--device", "emulated:unchecked:lost@1")...)
	refused(t, "--accept-numerics", append(finetune, "--device", "auto")...)
	if _, said := must(t, append(finetune, "--accept-numerics")...); !strings.Contains(said, "computing on the CPU: there is no NVIDIA GPU") {
		t.Errorf("says\n%s", said)
	}
	refused(t, "no NVIDIA driver", append(finetune, "--device", "cuda")...)
}
