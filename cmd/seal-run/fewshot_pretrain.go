package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/pretrain"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/arc/gridworld"
)

// gridSettings are those of a pretraining on generated grid tasks.
type gridSettings struct {
	pretrainSettings
	Phases []gridworld.Phase
}

func defaultGridSettings() gridSettings {
	r := gridworld.Recipe
	return gridSettings{
		pretrainSettings{Seed: r.WorldSeed, Context: 512, Dtype: "bfloat16", Model: r.Model, Schedule: r.Schedule},
		slices.Clone(r.Phases),
	}
}

// gridPretraining fills in what the grid tasks have of their own.
func (a *app) gridPretraining(cfg *pretrain.Config, f pretrainFlags, s gridSettings) (*tokenizer.Tokenizer, error) {
	for i, p := range s.Phases {
		var counts []int
		for g := range gridworld.GroupCount {
			counts = append(counts, p.Documents.Of(g))
		}
		if p.Steps < 0 || slices.Min(counts) < 0 || slices.Max(counts) < 1 {
			return nil, fmt.Errorf("phases.%d: expected 0 or more steps and documents of at least one group", i)
		}
	}
	recipe := gridworld.Recipe
	recipe.WorldSeed, recipe.Model, recipe.Schedule, recipe.Phases = s.Seed, s.Model, s.Schedule, s.Phases
	tok, err := a.gridTokenizer(f, s)
	if err != nil {
		return nil, err
	}
	cfg.Settings["source"] = "world " + f.world
	cfg.Steps = recipe.Steps()
	if err := s.shape(cfg, tok); err != nil {
		return nil, err
	}
	cfg.Source = &gridSource{recipe, tok}
	cfg.Evaluate = gridEvaluation(recipe, tok)
	return tok, nil
}

// gridTokenizer loads the tokenizer of a begun run, or trains one and puts it
// into the folder with its chat template.
func (a *app) gridTokenizer(f pretrainFlags, s gridSettings) (*tokenizer.Tokenizer, error) {
	if f.tokenizer != "" {
		return nil, fmt.Errorf("--tokenizer %s: --world %s has a tokenizer of its own", f.tokenizer, f.world)
	}
	begun, err := pretrain.Begun(f.out)
	if err != nil {
		return nil, err
	}
	if !begun {
		const texts = 300 // the world has few words
		a.say("training a tokenizer of up to %d tokens", s.Model.Vocabulary)
		tok, err := tokenizer.Train(func(yield func(string) bool) {
			for i := range texts {
				if !yield(gridworld.TokenizerText(s.Seed, i)) {
					return
				}
			}
		}, tokenizer.TrainOptions{
			VocabSize: s.Model.Vocabulary, Special: gridworld.Special,
			EOS: gridworld.EndOfTurn, PAD: gridworld.EndOfTurn, Pattern: tokenizer.PatternGrids,
		})
		if err != nil {
			return nil, err
		}
		if err := tok.Save(f.out); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(f.out, "chat_template.jinja"), []byte(gridworld.ChatTemplate), 0o666); err != nil {
			return nil, err
		}
	}
	return tokenizer.Load(f.out)
}

// gridSource gives the world's documents as tokens.
type gridSource struct {
	world gridworld.Settings
	tok   *tokenizer.Tokenizer
}

// Batch implements pretrain.Source.
func (s *gridSource) Batch(step int) ([]pretrain.Group, error) {
	phase := s.world.Phase(step)
	var groups []pretrain.Group
	for g := range gridworld.GroupCount {
		if phase.Documents.Of(g) == 0 {
			continue
		}
		group := pretrain.Group{Name: g.String(), Weight: phase.Weights.Of(g)}
		for i := range phase.Documents.Of(g) {
			d, err := s.document(gridworld.NewDocument(s.world.WorldSeed, g, step, i))
			if err != nil {
				return nil, err
			}
			group.Documents = append(group.Documents, d)
		}
		groups = append(groups, group)
	}
	return groups, nil
}

// document marks the tokens whose first byte lies in a trained span.
func (s *gridSource) document(d gridworld.Document) (pretrain.Document, error) {
	text, err := s.tok.ApplyChat(d.Messages, tokenizer.ChatOptions{})
	if err != nil {
		return pretrain.Document{}, err
	}
	ids, offsets := s.tok.EncodeOffsets(text, false)
	out := pretrain.Document{Tokens: ids, Train: make([]bool, len(ids))}
	for i, o := range offsets {
		for _, span := range d.Trained(text) {
			if span.Start <= o.Start && o.Start < span.End {
				out.Train[i] = true
			}
		}
	}
	return out, nil
}

// gridEvaluation measures how often the test of a new task is answered right
// from two demonstrations: of single rules, of pretraining's pairs, and of the
// tuning tasks, whose pairs are new.
func gridEvaluation(w gridworld.Settings, tok *tokenizer.Tokenizer) func(context.Context, *nn.Model) (map[string]float64, error) {
	return func(ctx context.Context, m *nn.Model) (map[string]float64, error) {
		const tasks = 60
		out := map[string]float64{}
		for name, family := range map[string]func(int) (arc.Task, string){
			"single": func(i int) (arc.Task, string) { return newGridTask(w, 1, i), "single" },
			"pairs":  func(i int) (arc.Task, string) { return newGridTask(w, 2, i), "pairs" },
			"new_pairs": func(i int) (arc.Task, string) {
				return gridworld.Tasks(w.WorldSeed, gridworld.Tuning, i, 1)[0].Task(0), "tuning"
			},
		} {
			var requests []nn.Request
			var want []arc.Grid
			for i := range tasks {
				t, _ := family(i)
				t.Train = t.Train[:2]
				ids, err := tok.EncodeChat(gridworld.Prompts.SolveMessages(t, false), tokenizer.ChatOptions{AddGenerationPrompt: true})
				if err != nil {
					return nil, err
				}
				want = append(want, t.Test.Output)
				requests = append(requests, nn.Request{Prompt: ids, MaxNew: 40, Stop: m.Config.EOS, Adapter: nn.NoAdapter})
			}
			g := nn.NewGenerator(m, nil, nn.GeneratorOptions{})
			done, err := g.Run(ctx, requests)
			g.Close()
			if err != nil {
				return nil, err
			}
			right := 0.0
			for i, c := range done {
				if p, ok := arc.ReadAnswer(tok.Decode(c.Tokens, true), nil); ok && p.Output.Equal(want[i]) {
					right++
				}
			}
			out[name] = math.Round(1e4*right/tasks) / 1e4
		}
		return out, nil
	}
}

// newGridTask draws a task of pretraining's families that no document has.
func newGridTask(w gridworld.Settings, length, i int) arc.Task {
	families := gridworld.Families(gridworld.Pretraining, length)
	return gridworld.NewTask(families[i%len(families)], 2, philox.NewStream(philox.ID{
		Seed: w.WorldSeed, Purpose: philox.PurposeWorld, Item: "unseen", Round: length, Edit: i,
	}))
}
