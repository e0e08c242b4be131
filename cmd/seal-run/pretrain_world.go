package main

import (
	"context"
	"iter"
	"math"
	"strings"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/pretrain"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/world"
)

func init() {
	elementNames[int(world.GroupCount)] = func(i int) string { return strings.ReplaceAll(world.Group(i).String(), "-", "_") }
}

// worldTexts is the number of texts the demo's tokenizer is trained on.
const worldTexts = 6000

func worldTokenizerTexts(seed uint64) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range worldTexts {
			if !yield(world.TokenizerText(seed, i)) {
				return
			}
		}
	}
}

// worldSource gives the demo's documents as tokens.
type worldSource struct {
	world world.Settings
	tok   *tokenizer.Tokenizer
	end   int32
}

// Batch implements pretrain.Source.
func (s *worldSource) Batch(step int) ([]pretrain.Group, error) {
	phase := s.world.Phase(step)
	var groups []pretrain.Group
	for g := range world.GroupCount {
		if phase.Documents[g] > 0 {
			groups = append(groups, pretrain.Group{Name: g.String(), Weight: phase.Weights[g]})
		}
	}
	for _, d := range phase.Batch(s.world.WorldSeed, step) {
		for i := range groups {
			if groups[i].Name == d.Group.String() {
				groups[i].Documents = append(groups[i].Documents, s.document(d))
			}
		}
	}
	return groups, nil
}

// document marks the tokens whose first byte lies in a trained span.
func (s *worldSource) document(d world.Document) pretrain.Document {
	ids, offsets := s.tok.EncodeOffsets(d.Text, false)
	out := pretrain.Document{Tokens: ids, Train: make([]bool, len(ids))}
	for i, o := range offsets {
		for _, span := range d.Train {
			if span.Start <= o.Start && o.Start < span.End {
				out.Train[i] = true
			}
		}
	}
	if d.End {
		out.Tokens, out.Train = append(out.Tokens, s.end), append(out.Train, true)
	}
	return out
}

// firstWeights are a new model's first values: nn's, scaled as the recipe says.
func firstWeights(c nn.Config, shape world.Shape, seed uint64) func(string, []int) []float32 {
	c.InitRange = 0
	return func(name string, size []int) []float32 {
		w := c.RandomWeights(name, size, seed)
		scale := 1.0
		switch {
		case len(size) == 1:
		case name == "model.embed_tokens.weight":
			scale = shape.EmbeddingStd / 0.05
		default:
			scale = shape.InitStd
		}
		if scale != 1 {
			for i := range w {
				w[i] = float32(scale * float64(w[i]))
			}
		}
		return w
	}
}

// worldEvaluation measures what pretraining is for: closed-book answers about
// known people, and answers read off passages about people never seen.
func worldEvaluation(w world.Settings, tok *tokenizer.Tokenizer) func(context.Context, *nn.Model) (map[string]float64, error) {
	const people = 48
	return func(ctx context.Context, m *nn.Model) (map[string]float64, error) {
		var known, read []question
		for _, t := range world.Tasks(w.WorldSeed, world.Pretraining, 0, people) {
			for _, q := range t.Questions {
				known = append(known, question{seal.Fill(world.QuestionPrompt, seal.Values{Title: t.Title, Topic: t.Title, Question: q.Question}), q.Answer})
			}
		}
		for _, t := range world.Tasks(w.WorldSeed, world.Tuning, 0, people) {
			for line := range strings.SplitSeq(t.Oracle(world.QA, 0), "\n") {
				if i := strings.LastIndexByte(line, ' '); i > 0 {
					read = append(read, question{t.Title + "\n" + t.Passage + "\n" + line[:i], line[i+1:]})
				}
			}
		}
		out := map[string]float64{}
		for name, questions := range map[string][]question{"closed_book": known, "reading": read} {
			right, err := answerAll(ctx, m, tok, questions)
			if err != nil {
				return nil, err
			}
			out[name] = math.Round(1e4*float64(right)/float64(len(questions))) / 1e4
		}
		return out, nil
	}
}

type question struct{ prompt, answer string }

// answerAll counts the questions answered exactly by greedy decoding.
func answerAll(ctx context.Context, m *nn.Model, tok *tokenizer.Tokenizer, questions []question) (right int, err error) {
	g := nn.NewGenerator(m, nil, nn.GeneratorOptions{})
	defer g.Close()
	requests := make([]nn.Request, len(questions))
	for i, q := range questions {
		want := tok.Encode(" "+q.answer, false)
		requests[i] = nn.Request{Prompt: tok.Encode(q.prompt, false), MaxNew: len(want) + 1, Stop: m.Config.EOS, Adapter: nn.NoAdapter}
	}
	done, err := g.Run(ctx, requests)
	if err != nil {
		return 0, err
	}
	for i, c := range done {
		line, _, _ := strings.Cut(tok.Decode(c.Tokens, true), "\n")
		if line == " "+questions[i].answer {
			right++
		}
	}
	return right, nil
}
