package nn

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/tensor"
)

// TestDataStories: a real small model tells its stories.
func TestDataStories(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata.Dir(t), "golden", "*", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	stories := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(strings.TrimSpace(string(data)), "[") {
			continue // a model of another kind
		}
		var cases []story
		if err := json.Unmarshal(data, &cases); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, device := range []string{"ref", "cpu"} {
			t.Run(device+"/"+filepath.Base(filepath.Dir(file)), func(t *testing.T) { tell(t, device, filepath.Dir(file), cases) })
		}
		stories += len(cases)
	}
	if stories == 0 {
		t.Error("no model with stories")
	}
	t.Logf("%d stories on ref and cpu", stories)
}

type story struct {
	Prompt    string  `json:"prompt"`
	PromptIDs []int32 `json:"prompt_ids"`
	GreedyIDs []int32 `json:"greedy_ids"`
	Text      string  `json:"text"`
	MeanNLL   float64 `json:"mean_nll"`
}

func tell(t *testing.T, device, dir string, cases []story) {
	dev, err := tensor.Open(device, tensor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	m, err := Load(dev, dir, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tok, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var requests []Request
	var texts []Sequence
	for _, c := range cases {
		requests = append(requests, Request{Prompt: c.PromptIDs, MaxNew: len(c.GreedyIDs), Adapter: NoAdapter})
		texts = append(texts, NextToken(slices.Concat(c.PromptIDs, c.GreedyIDs), 0, 1, NoAdapter))
	}
	g := NewGenerator(m, nil, GeneratorOptions{})
	defer g.Close()
	for i, out := range generate(t, g, requests) {
		if !slices.Equal(out.Tokens, cases[i].GreedyIDs) {
			t.Errorf("story %q: %v, want %v", cases[i].Prompt, out.Tokens, cases[i].GreedyIDs)
			continue
		}
		if text := tok.Decode(slices.Concat(cases[i].PromptIDs, out.Tokens), true); text != cases[i].Text {
			t.Errorf("story %q: %q, want %q", cases[i].Prompt, text, cases[i].Text)
		}
	}
	var logprobs []float32
	for _, s := range texts {
		logprobs = append(logprobs, make([]float32, len(s.Tokens))...)
	}
	scorer := &Trainer{model: m, pass: m.newPass(nil)}
	_, err = scorer.logProbs(tensor.NewTape(m.dev, m.Compute, false), texts, logprobs)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range texts {
		sum := 0.0
		for _, lp := range logprobs[:len(s.Tokens)] {
			sum -= float64(lp)
		}
		logprobs = logprobs[len(s.Tokens):]
		near(t, fmt.Sprintf("mean NLL of story %q", cases[i].Prompt), sum/float64(s.NumTargets()), cases[i].MeanNLL, 1e-4, 0)
	}
}
