package seal

import (
	"context"
	"errors"
	"math"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal/judge"
)

var errDiverged = errors.New("the update diverged")

// trainTokens tokenises a sequence of an inner update.
func (l *Lab) trainTokens(text string) Tokens {
	s := l.Settings.Inner
	return SequenceTokens(l.Tokenizer, text, s.EndMask, min(s.MaxTokens, l.context), l.end)
}

// remember adds to a step's training what shall keep earlier ones.
func (q *sequence) remember(ctx context.Context, t int, job *nn.Job) error {
	if t == 0 {
		return nil
	}
	if q.lab.keeps(KeepReplay) {
		q.replay(t, job)
	}
	if q.lab.keeps(KeepKL) {
		if err := q.ownSamples(ctx, t, job); err != nil {
			return err
		}
	}
	if q.lab.keeps(KeepOrthogonal) {
		job.Constrain = apartFrom(q.adapters)
	}
	return nil
}

// replay trains on sequences of earlier updates again, drawn without repetition.
func (q *sequence) replay(t int, job *nn.Job) {
	var earlier []Tokens
	for _, examples := range q.trained {
		earlier = append(earlier, examples...)
	}
	draw := philox.NewStream(q.lab.key(philox.PurposeShuffleInner, q.name(), t, "replay", 0, 0))
	n := min(len(earlier), int(math.Ceil(q.lab.Settings.Continual.Replay*float64(len(job.Examples)))))
	for _, i := range draw.Perm(len(earlier))[:n] {
		job.Examples = append(job.Examples, nn.Example{Tokens: earlier[i].IDs, Masked: earlier[i].Masked})
	}
}

// ownSamples adds a penalty for leaving the model as it is before the update:
// KL(before ‖ after) over texts that the model before the update writes. Its
// expectation over such texts is −log p(text) of the model after it, up to a
// constant, so training on them with a weight is its unbiased gradient. The texts
// begin with the titles of earlier passages: nothing but these is kept.
func (q *sequence) ownSamples(ctx context.Context, t int, job *nn.Job) error {
	l, s := q.lab, q.lab.Settings.Continual
	var requests []nn.Request
	for i, a := range q.articles[:t] {
		prompt := l.Tokenizer.Encode(a.Title+"\n", true)
		for k := range s.KLSamples {
			requests = append(requests, nn.Request{
				Prompt: prompt, MaxNew: min(longestSample, l.context-len(prompt)), Stop: l.stop, Adapter: nn.NoAdapter,
				Sampling: nn.Sampling{Temperature: 1, TopP: 1},
				Key:      l.key(philox.PurposeSampleAnswer, q.name(), t, "own samples", i, k).Key(),
			})
		}
	}
	done, err := q.generate(ctx, requests)
	if err != nil {
		return err
	}
	for i, d := range done {
		if len(d.Tokens) == 0 {
			continue
		}
		prompt := requests[i].Prompt
		ids := append(append([]int32{}, prompt...), d.Tokens...)
		if d.Finish == nn.FinishStop && ids[len(ids)-1] != l.end.ID {
			ids = append(ids, l.end.ID)
		}
		job.Examples = append(job.Examples, nn.Example{Tokens: ids, Masked: len(prompt), Weight: float32(s.KLWeight)})
	}
	return nil
}

// longestSample bounds a sample of the model before the update, in tokens.
const longestSample = 64

// apartFrom keeps an adapter apart from others (O-LoRA, Wang et al. 2023, as a
// constraint in place of its penalty): of every layer's A, the part within the
// span of the others' rows is taken away, so that the inputs that earlier updates
// read are not read again.
func apartFrom(others []*nn.Adapter) func(*nn.Adapter) {
	type place struct {
		layer int
		proj  nn.Projection
	}
	bases := map[place][][]float64{}
	for _, o := range others {
		if o == nil {
			continue
		}
		for layer := range o.Weights {
			for _, p := range o.Targets {
				at := place{layer, p}
				bases[at] = orthonormal(bases[at], rowsOf(o.Weights[layer][p].A, o.Rank))
			}
		}
	}
	return func(a *nn.Adapter) {
		for layer := range a.Weights {
			for _, p := range a.Targets {
				for _, row := range rowViews(a.Weights[layer][p].A, a.Rank) {
					takeAway(row, bases[place{layer, p}])
				}
			}
		}
	}
}

func rowViews(a []float32, rank int) [][]float32 {
	n := len(a) / rank
	out := make([][]float32, rank)
	for i := range out {
		out[i] = a[i*n : (i+1)*n]
	}
	return out
}

func rowsOf(a []float32, rank int) [][]float64 {
	var out [][]float64
	for _, row := range rowViews(a, rank) {
		wide := make([]float64, len(row))
		for i, v := range row {
			wide[i] = float64(v)
		}
		out = append(out, wide)
	}
	return out
}

// orthonormal extends an orthonormal basis by rows, twice through Gram and
// Schmidt; rows within its span add nothing.
func orthonormal(basis, rows [][]float64) [][]float64 {
	for _, row := range rows {
		before := norm(row)
		for range 2 {
			for _, b := range basis {
				d := dot(row, b)
				for i := range row {
					row[i] -= d * b[i]
				}
			}
		}
		n := norm(row)
		if n <= 1e-6*before || len(basis) >= len(row)-1 {
			continue // a free direction is left for the next
		}
		for i := range row {
			row[i] /= n
		}
		basis = append(basis, row)
	}
	return basis
}

func takeAway(row []float32, basis [][]float64) {
	wide := make([]float64, len(row))
	for i, v := range row {
		wide[i] = float64(v)
	}
	for _, b := range basis {
		d := dot(wide, b)
		for i := range wide {
			wide[i] -= d * b[i]
		}
	}
	for i, v := range wide {
		row[i] = float32(v)
	}
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}

func norm(a []float64) float64 { return math.Sqrt(dot(a, a)) }

// askRouted asks every question with the adapter of the passage that it is
// likeliest about: of those seen so far, the one whose title and text share most
// of the question's telling words, each counted the more the fewer passages have
// it. A question that shares none is asked without an adapter.
func (q *sequence) askRouted(ctx context.Context, trials []Trial, outcomes []Outcome) ([]Outcome, error) {
	l := q.lab
	router := newRouter(q.articles[:len(trials)])
	// One trial per question, then put together again.
	var single []Trial
	var adapters []*nn.Adapter
	for _, t := range trials {
		for _, question := range t.Article.Questions {
			one := t.Article
			one.Questions = []Question{question}
			single = append(single, Trial{Article: one})
			var adapter *nn.Adapter
			if at := router.route(TopicQuestion(one.Title, question.Question)); at >= 0 {
				adapter = q.adapters[at]
			}
			adapters = append(adapters, adapter)
		}
	}
	parts := make([]Outcome, len(single))
	if err := l.answer(ctx, q.base, single, adapters, parts); err != nil {
		return nil, err
	}
	if err := l.grade(ctx, single, parts); err != nil {
		return nil, err
	}
	for i, t := range trials {
		for range t.Article.Questions {
			outcomes[i].Right = append(outcomes[i].Right, parts[0].Right...)
			answer := ""
			if len(parts[0].Answers) > 0 {
				answer = parts[0].Answers[0]
			}
			outcomes[i].Answers = append(outcomes[i].Answers, answer)
			parts = parts[1:]
		}
	}
	return outcomes, nil
}

// router chooses passages by words.
type router struct {
	words []map[string]bool // of each passage
	in    map[string]int    // passages that have a word
}

func newRouter(articles []Article) *router {
	r := &router{in: map[string]int{}}
	for _, a := range articles {
		set := map[string]bool{}
		for _, w := range judge.Words(a.Title + "\n" + a.Context) {
			set[w] = true
		}
		for w := range set {
			r.in[w]++
		}
		r.words = append(r.words, set)
	}
	return r
}

// route returns the passage of a question, −1 for none; the earlier of equals.
func (r *router) route(question string) int {
	best, most := -1, 0.0
	asked := judge.Words(question)
	for i, set := range r.words {
		sum := 0.0
		for _, w := range asked {
			if set[w] {
				sum += math.Log(float64(len(r.words)+1) / float64(r.in[w]))
			}
		}
		if sum > most {
			best, most = i, sum
		}
	}
	return best
}
