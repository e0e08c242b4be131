// Package demo runs the knowledge loop on a small embedded model and the
// procedural world it was pretrained for. The world's tasks are ordinary
// articles and everything they run through is package seal's: only the model,
// the prompts and the settings come from here. It must not import tensor's
// backends or kernels.
package demo

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/seal/world"
	"github.com/selkie-ml/selkie/tensor"
)

// Scale is how much of the experiment a demo runs.
type Scale struct {
	Seeds        int // whole reinforcement runs
	Evaluation   int // passages or tasks each
	Permutations int // of the control
}

// Scales of the two demos: a few minutes, and the evidence behind the README.
var (
	Short = Scale{Seeds: 1, Evaluation: 48, Permutations: 1}
	Full  = Scale{Seeds: 3, Evaluation: 100, Permutations: 3}
)

// BestStyle is the style of the oracle row, the best on the tuning world.
const BestStyle = world.QA

const oracleRow = "oracle_style"

// Options of a demo that are no settings.
type Options struct {
	Scale
	Device   *tensor.Device
	ModelDir string                         // a model of the world's pretraining; empty: the embedded one
	Split    world.Split                    // of the evaluation: world.Evaluation, or world.Tuning to choose settings on
	Adjust   func(*settings.Settings) error // changes settings; may be nil
	Progress func(seed int, phase string, done, total int)
	Say      func(string)
}

// Result is a finished demo.
type Result struct {
	Settings    settings.Settings // of the first seed
	Experiments []*seal.Experiment
	Styles      []StyleShares
}

// Settings returns what a demo of a scale runs with, seed by seed.
func Settings(scale Scale, seed int) settings.Settings {
	r := world.Recipe
	s := settings.Default()
	s.Data.EvalArticles = scale.Evaluation
	s.Edits.PerArticle = r.Samples
	s.Edits.Temperature, s.Edits.TopP, s.Edits.MaxTokens = r.Sampling.Temperature, r.Sampling.TopP, r.Sampling.MaxTokens
	s.Edits.FileRow = oracleRow
	s.Inner.Finetune = finetune(s.Inner.Finetune, r.Inner)
	s.Inner.Seeds = 1
	s.Eval.MaxTokens, s.Eval.Grader, s.Eval.Permutations = 4, "exact", scale.Permutations
	s.Eval.Controls = []string{"passage_only_matched", "passage_only_steps", "shuffled"}
	s.Outer.Finetune = finetune(s.Outer.Finetune, r.Outer)
	s.Outer.Rounds, s.Outer.Articles, s.Outer.Contexts = r.Rounds, r.Passages, "next"
	s.Outer.Ties, s.Outer.SkipTied = "draw", true
	s.Run.Seed = uint64(seed)
	s.Run.MaxAdapters, s.Run.MaxDecodes, s.Run.MaxBatchTokens = 64, 256, 4096
	return s
}

func finetune(f settings.Finetune, u world.Update) settings.Finetune {
	f.Rank, f.Alpha, f.Targets = u.Rank, u.Alpha, u.Targets
	f.LR, f.Epochs, f.BatchSize, f.ClipNorm = u.LR, u.Epochs, u.Batch, u.Clip
	return f
}

// Run runs or goes on with a demo in a folder, one run folder per seed.
func Run(ctx context.Context, dir string, opt Options) (*Result, error) {
	model, tok, fingerprint, err := load(opt.Device, opt.ModelDir)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	result := &Result{}
	result.Settings, result.Experiments, err = eachSeed(opt.Seeds, func(seed int) settings.Settings { return Settings(opt.Scale, seed) }, opt.Adjust,
		func(seed int, s settings.Settings) (*seal.Experiment, error) {
			in := Inputs(opt.Split, s, seed)
			in.Model, in.Tokenizer = model, tok
			in.Fingerprints = map[string]string{"model": fingerprint, "world": fmt.Sprintf("%v %d", opt.Split, world.Recipe.WorldSeed)}
			return seal.Execute(ctx, seedFolder(dir, seed), s, in, seedOptions(seed, opt.Say, opt.Progress))
		})
	if err != nil {
		return nil, err
	}
	result.Styles = styleShares(result.Experiments, opt.Split)
	return result, nil
}

// Inputs returns a seed's articles, prompts and the oracle's self-edits. No two
// seeds share an article.
func Inputs(split world.Split, s settings.Settings, seed int) seal.Inputs {
	w := world.Recipe.WorldSeed
	n := s.Outer.Rounds * s.Outer.Articles
	train := world.Tasks(w, world.Reinforcement, seed*n, n)
	eval := world.Tasks(w, split, seed*s.Data.EvalArticles, s.Data.EvalArticles)
	in := seal.Inputs{Train: articles(train, seed*n), Eval: articles(eval, seed*s.Data.EvalArticles), Outside: map[string][]string{}}
	for i, t := range eval {
		in.Outside[in.Eval[i].ID] = []string{t.Oracle(BestStyle, 0)}
	}
	prompts := seal.DefaultPrompts()
	prompts.EditBase = map[seal.Kind]string{seal.Kind(s.Edits.Kind): world.EditPrompt}
	prompts.AnswerBase = world.QuestionPrompt
	in.Prompts = &prompts
	return in
}

func articles(tasks []world.Task, first int) []seal.Article {
	out := make([]seal.Article, len(tasks))
	for i, t := range tasks {
		out[i] = seal.Article{ID: seal.ItemID(first+i, t.Title, t.Passage), Title: t.Title, Context: t.Passage}
		for _, q := range t.Questions {
			out[i].Questions = append(out[i].Questions, seal.Question{Question: q.Question, Answer: q.Answer})
		}
	}
	return out
}

// load opens a model of the world and tells which weights it has.
func load(dev *tensor.Device, dir string) (*nn.Model, *tokenizer.Tokenizer, string, error) {
	if dir != "" {
		tok, err := tokenizer.Load(dir)
		if err != nil {
			return nil, nil, "", err
		}
		m, err := nn.Load(dev, dir, nn.LoadOptions{Float32: true})
		return m, tok, dir, err
	}
	m, tok, err := Embedded(dev)
	weights, _ := files.ReadFile("model/model.safetensors")
	return m, tok, fmt.Sprintf("%x", sha256.Sum256(weights)), err
}
