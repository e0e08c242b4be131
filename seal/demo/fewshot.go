package demo

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/arc/gridworld"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/tensor"
)

// Fewshot is the scale behind the README's table.
var Fewshot = Scale{Seeds: 3, Evaluation: 24, Permutations: 1}

// FewshotOracle is the self-edit of the oracle row, chosen by hand on reinforcement
// and tuning tasks.
var FewshotOracle = arc.Edit{Tools: arc.Tools{Chain: true}, Strategy: arc.OutputTokens, LR: 0.01, Epochs: 4}

// FewshotOptions of a demo that are no settings.
type FewshotOptions struct {
	Scale
	Device   *tensor.Device
	ModelDir string                        // a model of the grid tasks' pretraining; empty: the embedded one
	Split    gridworld.Split               // of the evaluation: gridworld.Evaluation, or gridworld.Tuning to choose settings on
	Adjust   func(*settings.Fewshot) error // changes settings; may be nil
	Progress func(seed int, phase string, done, total int)
	Say      func(string)
}

// FewshotResult is a finished few-shot demo.
type FewshotResult struct {
	Settings    settings.Fewshot // of the first seed
	Experiments []*seal.Experiment
}

// FewshotSettings returns what a few-shot demo of a scale runs with, seed by seed.
func FewshotSettings(scale Scale, seed int) settings.Fewshot {
	s := settings.DefaultFewshot()
	s.Edits.PerTask, s.Edits.EvalPerTask, s.Edits.Temperature, s.Edits.MaxTokens = 5, 2, 1, 80
	s.Edits.Shown = 3 // as in pretraining
	all := []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
	s.Inner.LeaveOut, s.Inner.Examples, s.Inner.MaxTokens, s.Inner.MaxSteps, s.Inner.WarmupSteps = 3, 24, 95, 60, 2
	s.Inner.Rank, s.Inner.Alpha, s.Inner.Targets = 8, 8, all
	s.Answer.LeaveOut, s.Answer.Permutations, s.Answer.MaxTokens, s.Answer.MaxNew = 3, 0, 120, 32
	s.Eval.Oracle, s.Eval.Controls, s.Eval.Permutations = FewshotOracle.JSON(), []string{"shuffled"}, scale.Permutations
	s.Outer.Rounds, s.Outer.Tasks, s.Outer.Contexts, s.Outer.SkipTied = 2, 20, "next", true
	s.Outer.Rank, s.Outer.Alpha, s.Outer.Targets = 16, 32, all
	s.Outer.LR, s.Outer.Epochs = 3e-3, 8
	s.Run.Seed = uint64(seed)
	s.Run.MaxAdapters, s.Run.MaxDecodes, s.Run.MaxBatchTokens = 64, 256, 2048 // batches that stay in the cache
	return s
}

// RunFewshot runs or goes on with a few-shot demo in a folder, one run folder
// per seed.
func RunFewshot(ctx context.Context, dir string, opt FewshotOptions) (*FewshotResult, error) {
	model, tok, fingerprint, err := loadFewshot(opt.Device, opt.ModelDir)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	result := &FewshotResult{}
	result.Settings, result.Experiments, err = eachSeed(opt.Seeds, func(seed int) settings.Fewshot { return FewshotSettings(opt.Scale, seed) }, opt.Adjust,
		func(seed int, s settings.Fewshot) (*seal.Experiment, error) {
			in := FewshotInputs(opt.Split, s, opt.Evaluation, seed)
			in.Model, in.Tokenizer = model, tok
			in.Fingerprints = map[string]string{"model": fingerprint, "world": fmt.Sprintf("%v %d", opt.Split, gridworld.Recipe.WorldSeed)}
			return seal.ExecuteFewshot(ctx, seedFolder(dir, seed), s, in, seedOptions(seed, opt.Say, opt.Progress))
		})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// FewshotInputs returns a seed's tasks and prompts. No two seeds share a task.
func FewshotInputs(split gridworld.Split, s settings.Fewshot, evaluation, seed int) seal.FewshotInputs {
	w := gridworld.Recipe.WorldSeed
	n := s.Outer.Tasks
	if s.Outer.Contexts == "next" {
		n *= s.Outer.Rounds
	}
	prompts := gridworld.Prompts
	return seal.FewshotInputs{
		Train:   gridworld.Tasks(w, gridworld.Reinforcement, seed*n, n),
		Eval:    gridworld.Tasks(w, split, seed*evaluation, evaluation),
		Prompts: &prompts,
	}
}

// loadFewshot opens a model of the grid tasks and tells which weights it has.
func loadFewshot(dev *tensor.Device, dir string) (*nn.Model, *tokenizer.Tokenizer, string, error) {
	if dir != "" {
		tok, err := tokenizer.Load(dir)
		if err != nil {
			return nil, nil, "", err
		}
		m, err := nn.Load(dev, dir, nn.LoadOptions{Float32: true})
		return m, tok, dir, err
	}
	m, tok, err := EmbeddedFewshot(dev)
	if err != nil {
		return nil, nil, "", err
	}
	weights, err := fewshotFiles.ReadFile("fewshot/model.safetensors")
	return m, tok, fmt.Sprintf("%x", sha256.Sum256(weights)), err
}
