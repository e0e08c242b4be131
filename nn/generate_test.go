package nn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/tensor"
)

type tester interface {
	fataler
	Errorf(string, ...any)
}

// checkIdle checks that no page of the cache is in use.
func (g *Generator) checkIdle(t tester) {
	t.Helper()
	if g.run != nil {
		t.Errorf("a run is still in work")
	}
	if g.cache == nil {
		return
	}
	for p, n := range g.cache.refs {
		if n != 0 {
			t.Errorf("page %d has %d users after Run", p, n)
		}
	}
	if free := g.cache.available(); free != g.cache.Pages {
		t.Errorf("%d of %d pages are free after Run", free, g.cache.Pages)
	}
	named := 0
	for p, is := range g.cache.named {
		if is {
			named++
			if q, ok := g.cache.index[g.cache.key[p]]; !ok || int(q) != p {
				t.Errorf("page %d is not found by its key", p)
			}
		}
	}
	if len(g.cache.index) != named {
		t.Errorf("%d contents are known of %d pages", len(g.cache.index), named)
	}
}

// generate runs requests and checks that all pages are free afterwards.
func generate(t tester, g *Generator, requests []Request) []Completion {
	t.Helper()
	out, err := g.Run(context.Background(), requests)
	if err != nil {
		t.Fatal(err)
	}
	g.checkIdle(t)
	return out
}

// generateAlone runs one request on a generator of its own.
func generateAlone(t tester, m *Model, pool *AdapterPool, r Request) Completion {
	t.Helper()
	g := NewGenerator(m, pool, GeneratorOptions{})
	defer g.Close()
	return generate(t, g, []Request{r})[0]
}

func sameCompletion(t fataler, what string, got, want Completion) {
	t.Helper()
	if !slices.Equal(got.Tokens, want.Tokens) || got.Finish != want.Finish {
		t.Fatal(fmt.Sprintf("%s: %v (%s), want %v (%s)", what, got.Tokens, got.Finish, want.Tokens, want.Finish))
	}
	sameBits(t, what+": log-probabilities", got.LogProbs, want.LogProbs)
}

// checkAgainstLogits draws a completion's tokens again from the logits of one
// pass over its whole text.
func checkAgainstLogits(t tester, m *Model, pool *AdapterPool, r Request, c Completion) {
	t.Helper()
	if len(c.Tokens) == 0 {
		return
	}
	text := append(slices.Clone(r.Prompt), c.Tokens...)
	text = text[:len(text)-1] // the last is only drawn, never read
	all, err := m.Logits([]Sequence{NextToken(text, 0, 1, r.Adapter)}, pool)
	if err != nil {
		t.Fatal(err)
	}
	n, vocab := len(c.Tokens), m.Config.VocabSize
	var settings []float32
	var draws []int32
	for i := range n {
		settings = append(settings, float32(r.Temperature), float32(r.TopP), float32(r.TopK))
		if r.TopP == 0 {
			settings[len(settings)-2] = 1
		}
		draws = append(draws, int32(r.Key[0]), int32(r.Key[1]), int32(len(r.Prompt)+i))
	}
	put := func(x *tensor.Tensor, err error) *tensor.Tensor {
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	tp := tensor.NewTape(m.dev, tensor.F32, false)
	defer tp.Free()
	logits := tp.Own(put(m.dev.FromFloat32s(all[0][(len(r.Prompt)-1)*vocab:], n, vocab)))
	ids, logprobs := tensor.Sample(tp, logits, tp.Own(put(m.dev.FromFloat32s(settings, n, kernels.SampleColumns))), tp.Own(put(m.dev.FromInt32s(draws, n, kernels.DrawColumns))))
	got, err := ids.Int32s()
	if err != nil {
		t.Fatal(err)
	}
	lp, err := logprobs.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	sameCompletion(t, "from the logits of one pass", c, Completion{Tokens: got, LogProbs: lp, Finish: c.Finish})
}

func drawRequests(t *rapid.T, c Config, adapters int) []Request {
	var prompts [][]int32
	out := make([]Request, rapid.IntRange(1, 7).Draw(t, "requests"))
	for i := range out {
		r := &out[i]
		switch {
		case len(prompts) > 0 && rapid.Bool().Draw(t, "a prompt again"):
			r.Prompt = rapid.SampledFrom(prompts).Draw(t, "prompt")
		case len(prompts) > 0 && rapid.Bool().Draw(t, "a longer prompt"):
			r.Prompt = append(slices.Clone(rapid.SampledFrom(prompts).Draw(t, "beginning")), drawTokens(t, c)...)
		default:
			r.Prompt = drawTokens(t, c)
		}
		r.Prompt = r.Prompt[:min(len(r.Prompt), c.MaxPositions)]
		prompts = append(prompts, r.Prompt)
		r.Adapter = rapid.IntRange(NoAdapter, adapters-1).Draw(t, "adapter")
		r.MaxNew = rapid.OneOf(rapid.IntRange(0, 6), rapid.SampledFrom([]int{64, 70, 300})).Draw(t, "new")
		r.Sampling = rapid.SampledFrom([]Sampling{{}, {Temperature: 1}, {Temperature: 0.7, TopP: 0.9}, {Temperature: 1.3, TopK: 5}, {Temperature: 1, TopP: 0.5, TopK: 3}}).Draw(t, "sampling")
		r.Key = philox.Key{uint32(i), rapid.Uint32Range(0, 2).Draw(t, "key")}
		if rapid.Bool().Draw(t, "stops") {
			r.Stop = []int32{1, 2}
		}
	}
	return out
}

// pageBytes is the size of a cache page of a model.
func pageBytes(m *Model) int64 {
	c := m.Config
	return int64(c.Layers*2*c.KVHeads*kernels.PageSize*c.HeadDim) * int64(m.Compute.Size())
}

// TestGenerationCompany: a completion depends on its own request, whatever runs
// beside it, however the prompt is cut and however small the cache is, and has
// the bits of a single pass over the whole text.
func TestGenerationCompany(t *testing.T) {
	l := newLab(t)
	rapid.Check(t, func(t *rapid.T) {
		kind, compute := drawForm(t)
		m, other := l.model(drawPlace(t), kind, compute), l.model(drawPlace(t), kind, compute)
		adapters := []*Adapter{randomAdapter(m.Config, drawLoRA(t), "a"), randomAdapter(m.Config, drawLoRA(t), "b")}
		pool, otherPool := newPool(t, m, false, adapters...), newPool(t, other, false, adapters...)
		defer pool.Free()
		defer otherPool.Free()
		requests := drawRequests(t, m.Config, len(adapters))
		opt := GeneratorOptions{MaxSequences: rapid.IntRange(1, 5).Draw(t, "MaxSequences"), MaxTokens: rapid.IntRange(1, 300).Draw(t, "MaxTokens")}
		if rapid.Bool().Draw(t, "small cache") {
			largest := 1
			for _, r := range requests {
				largest = max(largest, pagesFor(min(len(r.Prompt)+r.MaxNew, m.Config.MaxPositions)))
			}
			opt.CacheBytes = pageBytes(m) * int64(largest+rapid.IntRange(0, 3).Draw(t, "more pages"))
		}
		g := NewGenerator(m, pool, opt)
		defer g.Close()
		together := generate(t, g, requests)
		again := generate(t, g, requests) // finds pages of before
		for i, r := range requests {
			alone := generateAlone(t, other, otherPool, r)
			sameCompletion(t, fmt.Sprintf("request %d", i), together[i], alone)
			sameCompletion(t, fmt.Sprintf("request %d the second time", i), again[i], alone)
			checkAgainstLogits(t, m, pool, r, alone)
		}
	})
}

func TestSamplesShareTheirPrompt(t *testing.T) {
	l := newLab(t)
	for _, place := range []string{"ref", "cpu 2"} {
		for _, n := range []int{2, 64, 65, 66, 150} {
			m := l.model(place, "qwen2", tensor.F32)
			requests := make([]Request, 6)
			for i := range requests {
				requests[i] = Request{Prompt: textOf(m.Config, n, 5), MaxNew: 5, Adapter: NoAdapter, Sampling: Sampling{Temperature: 1}, Key: philox.Key{uint32(i)}}
			}
			g := NewGenerator(m, nil, GeneratorOptions{MaxSequences: 4})
			out := generate(t, g, requests)
			different := false
			for i, r := range requests {
				sameCompletion(t, fmt.Sprintf("%s, prompt of %d, sample %d", place, n, i), out[i], generateAlone(t, m, nil, r))
				different = different || !slices.Equal(out[i].Tokens, out[0].Tokens)
			}
			if !different {
				t.Errorf("all samples are equal: nothing is proved")
			}
			// The prompt is computed once; each other text adds its last token.
			if want := (n - 1) * 5; g.Stats.Shared != want || g.Stats.Computed != n+5+6*4 || g.Stats.Sampled != 30 {
				t.Errorf("%s, prompt of %d: %+v, want %d positions shared", place, n, g.Stats, want)
			}
			g.Close()
		}
	}
}

func TestSmallCacheWaits(t *testing.T) {
	m := newLab(t).model("cpu 2", "llama", tensor.BF16)
	var requests []Request
	for i := range 5 {
		requests = append(requests, Request{
			Prompt: textOf(m.Config, 50+5*i, uint64(i)), MaxNew: 90, Adapter: NoAdapter, Sampling: Sampling{Temperature: 1, TopP: 0.95}, Key: philox.Key{uint32(i)},
		})
	}
	g := NewGenerator(m, nil, GeneratorOptions{CacheBytes: 4 * pageBytes(m)})
	defer g.Close()
	for i, c := range generate(t, g, requests) {
		sameCompletion(t, fmt.Sprintf("request %d", i), c, generateAlone(t, m, nil, requests[i]))
	}
	if g.Stats.Preempted == 0 || g.cache.Pages != 4 {
		t.Errorf("%+v with %d pages: no text had to give way", g.Stats, g.cache.Pages)
	}
	_, err := g.Run(t.Context(), []Request{{Prompt: textOf(m.Config, 200, 1), MaxNew: 56, Adapter: NoAdapter}})
	if err != nil {
		t.Errorf("a text of exactly 4 pages: %v", err)
	}
	g.opt.CacheBytes = 3 * pageBytes(m)
	_, err = g.Run(t.Context(), []Request{{Prompt: textOf(m.Config, 200, 1), MaxNew: 56, Adapter: NoAdapter}})
	wantError(t, "a text beyond the cache", err, "holds 3 pages", "needs 4 pages")
	g.checkIdle(t)
}

// TestCacheForgets: new contents of an adapter's place, an optimiser step, a
// loaded state: pages of before are not used again.
func TestCacheForgets(t *testing.T) {
	l := newLab(t)
	m := l.model("cpu 1", "llama", tensor.F32)
	lora := LoRAConfig{Rank: 2, Alpha: 8, Targets: []Projection{KProj, VProj, UpProj}}
	pool := newPool(t, m, true, randomAdapter(m.Config, lora, "a"), randomAdapter(m.Config, lora, "b"))
	defer pool.Free()
	tr := newTrainer(t, m, pool)
	defer tr.Close()
	prompt := textOf(m.Config, 140, 1)
	requests := []Request{{Prompt: prompt, MaxNew: 4}, {Prompt: prompt, MaxNew: 4, Adapter: 1}, {Prompt: prompt, MaxNew: 4, Adapter: NoAdapter}}
	g := NewGenerator(m, pool, GeneratorOptions{})
	defer g.Close()
	check := func(what string, shared int) {
		t.Helper()
		before := g.Stats.Shared
		out := generate(t, g, requests)
		for i, r := range requests {
			sameCompletion(t, fmt.Sprintf("%s: request %d", what, i), out[i], generateAlone(t, m, pool, r))
		}
		if got := g.Stats.Shared - before; got != shared {
			t.Errorf("%s: %d positions found in the cache, want %d", what, got, shared)
		}
	}
	state := filepath.Join(t.TempDir(), "state")
	if err := tr.SaveState(state); err != nil {
		t.Fatal(err)
	}
	check("at first", 0)
	check("again", 3*128)
	if err := pool.Set(0, randomAdapter(m.Config, lora, "c")); err != nil {
		t.Fatal(err)
	}
	check("after Set", 2*128)
	train := func(tr *Trainer, adapter int) {
		forwardBackward(t, tr, []Sequence{NextToken(prompt, 0, 1, adapter)})
		if _, err := tr.OptimStep([]Update{{LR: 0.1, AdamW: DefaultAdamW()}}); err != nil {
			t.Fatal(err)
		}
	}
	train(tr, 0)
	check("after a step of adapter 0", 2*128)
	if err := tr.LoadState(state); err != nil {
		t.Fatal(err)
	}
	check("after LoadState", 128)
	before := generateAlone(t, m, nil, requests[2])
	full, err := NewFullTrainer(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	train(full, NoAdapter)
	check("after a step of all parameters", 0)
	if after := generateAlone(t, m, nil, requests[2]); slices.Equal(after.LogProbs, before.LogProbs) {
		t.Error("training changed nothing: nothing is proved")
	}
}

func TestEndsOfTexts(t *testing.T) {
	l := newLab(t)
	for _, place := range []string{"ref", "cpu 2"} {
		m := l.model(place, "llama", tensor.F32)
		g := NewGenerator(m, nil, GeneratorOptions{})
		defer g.Close()
		for _, n := range []int{1, 2, 63, 64, 65, 128, 129, 255, 256} {
			prompt := textOf(m.Config, n, 3)
			run := func(change func(r *Request)) Completion {
				r := Request{Prompt: prompt, MaxNew: 8, Adapter: NoAdapter, Sampling: Sampling{Temperature: 1}}
				change(&r)
				c := generate(t, g, []Request{r})[0]
				if len(c.LogProbs) != len(c.Tokens) {
					t.Errorf("%d log-probabilities of %d tokens", len(c.LogProbs), len(c.Tokens))
				}
				checkAgainstLogits(t, m, nil, r, c)
				return c
			}
			want := func(what string, c Completion, n int, finish FinishReason) {
				t.Helper()
				if len(c.Tokens) != n || c.Finish != finish {
					t.Errorf("%s, prompt of %d, %s: %d tokens (%s), want %d (%s)", place, len(prompt), what, len(c.Tokens), c.Finish, n, finish)
				}
			}
			fits := min(8, max(1, 256-n)) // after a full context one more token is drawn, and never read
			all := run(func(r *Request) {})
			want("8 new", all, fits, FinishLength)
			want("none", run(func(r *Request) { r.MaxNew = 0 }), 0, FinishLength)
			want("one", run(func(r *Request) { r.MaxNew = 1 }), 1, FinishLength)
			stop := slices.Index(all.Tokens, all.Tokens[fits-1])
			want("a stop token", run(func(r *Request) { r.Stop = []int32{7777, all.Tokens[fits-1]} }), stop, FinishStop)
			calls := 0
			want("until", run(func(r *Request) {
				r.Until = func(generated []int32) bool {
					calls++
					if !slices.Equal(generated, all.Tokens[:calls]) {
						t.Errorf("Until was given %v, want %v", generated, all.Tokens[:calls])
					}
					return len(generated) == (fits+1)/2
				}
			}), (fits+1)/2, FinishStop)
			want("only likely", run(func(r *Request) { r.TopP = 1e-60 }), fits, FinishLength)
		}
		if out := generate(t, g, nil); len(out) != 0 {
			t.Errorf("no requests: %v", out)
		}
		small := NewGenerator(m, nil, GeneratorOptions{CacheBytes: 1, MaxSequences: -1, MaxTokens: -1})
		generate(t, small, nil)
		if c := generate(t, small, []Request{{Prompt: []int32{1}, Adapter: NoAdapter}}); c[0].Finish != FinishLength {
			t.Errorf("nothing asked for: %v", c)
		}
	}
}

func TestRequestRefusals(t *testing.T) {
	m := newLab(t).model("cpu 1", "llama", tensor.F32)
	pool := newPool(t, m, false, randomAdapter(m.Config, LoRAConfig{Rank: 1, Alpha: 1, Targets: AllProjections()}, "a"))
	defer pool.Free()
	g := NewGenerator(m, pool, GeneratorOptions{})
	defer g.Close()
	good := Request{Prompt: []int32{1, 2}, MaxNew: 3, Adapter: NoAdapter}
	for want, change := range map[string]func(r *Request){
		"the prompt has no tokens": func(r *Request) { r.Prompt = nil },
		"token 50 at position 1":   func(r *Request) { r.Prompt = []int32{1, 50} },
		"token -1 at position 0":   func(r *Request) { r.Prompt = []int32{-1} },
		"prompt of 257 tokens":     func(r *Request) { r.Prompt = make([]int32, 257) },
		"-1 new tokens":            func(r *Request) { r.MaxNew = -1 },
		"adapter 1: there are 1":   func(r *Request) { r.Adapter = 1 },
		"adapter -2":               func(r *Request) { r.Adapter = -2 },
		"temperature is NaN":       func(r *Request) { r.Temperature = math.NaN() },
		"temperature is -1":        func(r *Request) { r.Temperature = -1 },
		"top-p is 1.5":             func(r *Request) { r.TopP = 1.5 },
		"top-k is -1":              func(r *Request) { r.TopK = -1 },
	} {
		bad := good
		change(&bad)
		_, err := g.Run(t.Context(), []Request{good, bad})
		wantError(t, want, err, "request 1: ", want)
		g.checkIdle(t)
	}
	_, err := NewGenerator(m, nil, GeneratorOptions{}).Run(t.Context(), []Request{{Prompt: []int32{1}, MaxNew: 1}})
	wantError(t, "no pool", err, "adapter 0: there are 0")
}

// TestFailedTexts: logits that are not numbers end a text as failed, and only
// the text whose adapter makes them so.
func TestFailedTexts(t *testing.T) {
	l := newLab(t)
	for _, place := range []string{"ref", "cpu 2"} {
		m := l.model(place, "llama", tensor.F32)
		lora := LoRAConfig{Rank: 2, Alpha: 1, Targets: []Projection{OProj}}
		broken := randomAdapter(m.Config, lora, "b")
		broken.Weights[1][OProj].B[3] = float32(math.NaN())
		pool := newPool(t, m, false, randomAdapter(m.Config, lora, "a"), broken)
		defer pool.Free()
		g := NewGenerator(m, pool, GeneratorOptions{})
		defer g.Close()
		requests := []Request{{Prompt: textOf(m.Config, 70, 1), MaxNew: 5, Adapter: 0}, {Prompt: textOf(m.Config, 70, 1), MaxNew: 5, Adapter: 1}, {Prompt: textOf(m.Config, 3, 1), MaxNew: 5, Adapter: NoAdapter}}
		out := generate(t, g, requests)
		if out[1].Finish != FinishFailed || len(out[1].Tokens) != 0 {
			t.Errorf("%s: broken adapter: %+v", place, out[1])
		}
		for _, i := range []int{0, 2} {
			sameCompletion(t, fmt.Sprintf("%s: request %d", place, i), out[i], generateAlone(t, m, pool, requests[i]))
			if out[i].Finish != FinishLength {
				t.Errorf("%s: request %d: %+v", place, i, out[i])
			}
		}
	}
}

// TestInterrupted: a cancelled run and one that runs out of memory leave no page
// in use and the generator fit for another.
func TestInterrupted(t *testing.T) {
	m := newLab(t).model("cpu 1", "llama", tensor.F32)
	var requests []Request
	for i := range 4 {
		requests = append(requests, Request{Prompt: textOf(m.Config, 100, uint64(i/2)), MaxNew: 30, Adapter: NoAdapter})
	}
	g := NewGenerator(m, nil, GeneratorOptions{MaxSequences: 3})
	defer g.Close()
	want := generate(t, g, requests)
	for after := range 6 {
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		g.Progress = func(int) {
			if steps++; steps > after {
				cancel()
			}
		}
		g.model.version++ // compute all anew
		if _, err := g.Run(ctx, requests); !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled after %d steps: %v", after, err)
		}
		cancel()
		g.checkIdle(t)
		g.Progress = nil
		for i, c := range generate(t, g, requests) {
			sameCompletion(t, fmt.Sprintf("request %d after cancelling", i), c, want[i])
		}
	}
	// A panic of the caller's own passes, and leaves no page in use.
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("the caller's panic did not pass")
			}
		}()
		bad := slices.Clone(requests)
		bad[1].Until = func([]int32) bool { panic("mine") }
		g.Run(t.Context(), bad)
	}()
	g.checkIdle(t)
}
