package nn

import (
	"context"
	"fmt"
	"slices"

	"github.com/selkie-ml/selkie/tensor"
)

// Sampling says how a token is chosen. The zero value is greedy.
type Sampling struct {
	Temperature float64 // 0: greedy
	TopP        float64 // smallest set of this probability; 0 or 1: off
	TopK        int     // this many likeliest; 0: off
}

// Validate reports settings that cannot be sampled with.
func (s Sampling) Validate() error {
	switch {
	case !(s.Temperature >= 0) || !finite(s.Temperature):
		return fmt.Errorf("temperature is %v: want 0 or more", s.Temperature)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return fmt.Errorf("top-p is %v: want 0 … 1", s.TopP)
	case s.TopK < 0:
		return fmt.Errorf("top-k is %d: want 0 or more", s.TopK)
	}
	return nil
}

// Request is one text to continue.
type Request struct {
	Prompt  []int32
	MaxNew  int // most tokens to generate
	Stop    []int32
	Adapter int // index in the generator's pool, or NoAdapter
	Sampling
	// Key of the draws; token i of the text uses counter i, whatever else runs.
	Key Key
	// Until, when not nil, ends the text when it returns true for the tokens
	// generated so far; see StopAtText.
	Until func(generated []int32) bool
}

// FinishReason tells why a text ended.
type FinishReason string

// Reasons to finish.
const (
	FinishStop   FinishReason = "stop"   // a stop token or Until
	FinishLength FinishReason = "length" // MaxNew, or the end of the context
	FinishFailed FinishReason = "failed" // logits were not numbers
)

// Completion is what a request gave.
type Completion struct {
	Tokens   []int32   // without the stop token
	LogProbs []float32 // of Tokens, at temperature 1
	Finish   FinishReason
}

// GeneratorOptions bound what is computed at once; they change no result.
type GeneratorOptions struct {
	MaxSequences int   // running at the same time; 0: 64
	MaxTokens    int   // computed per step; 0: 2048
	CacheBytes   int64 // of the KV cache; 0: what the requests need, at most 1 GiB
}

// Generator continues texts by continuous batching over a paged KV cache: a
// finished text leaves the batch and a waiting one joins, and texts with a
// common beginning share its pages.
type Generator struct {
	// Progress, when not nil, is called after every step with the number of
	// tokens sampled in it.
	Progress func(tokens int)
	// Stats counts what was done.
	Stats GeneratorStats

	model   *Model
	pool    *AdapterPool
	opt     GeneratorOptions
	cache   *kvCache
	version uint64 // of the weights the cache was computed with
	run     *generation

	// Of the step in work; the arrays serve every step.
	tape  *tensor.Tape
	pass  *pass  // of all rows
	last  wanted // of those that a token is drawn from
	byAge []*running
	parts []part
	rows  stepRows
	draws stepDraws
}

// GeneratorStats counts a generator's work.
type GeneratorStats struct {
	Computed  int // token positions run through the model
	Sampled   int // tokens drawn
	Shared    int // positions found in the cache instead
	Preempted int // times a running text gave up its pages
}

// NewGenerator returns a generator for a model and, unless nil, a pool of
// adapters.
func NewGenerator(m *Model, pool *AdapterPool, opt GeneratorOptions) *Generator {
	if opt.MaxSequences <= 0 {
		opt.MaxSequences = 64
	}
	if opt.MaxTokens <= 0 {
		opt.MaxTokens = 2048
	}
	opt.MaxTokens = max(opt.MaxTokens, opt.MaxSequences)
	return &Generator{
		model: m, pool: pool, opt: opt,
		tape: tensor.NewTape(m.dev, m.Compute, false), pass: m.newPass(pool), last: wanted{pass: m.newPass(pool)},
	}
}

// Close frees the KV cache.
func (g *Generator) Close() {
	if g.cache != nil {
		g.cache.Data.Free()
		g.cache = nil
	}
}

// running is a text in work.
type running struct {
	index     int
	req       *Request
	tail      *tail   // of its prompt
	tokens    []int32 // prompt and what was generated
	logprobs  []float32
	cached    int // positions whose keys and values are in pages
	pages     []int32
	keys      []pageKey // of the full pages, from the start
	scheduled int       // tokens that the step computes
	preempted bool
}

// generated returns the tokens after the prompt.
func (s *running) generated() []int32 {
	return s.tokens[len(s.req.Prompt):len(s.tokens):len(s.tokens)]
}

// completion returns what became of a text.
func (s *running) completion(why FinishReason) Completion {
	return Completion{Tokens: append([]int32(nil), s.generated()...), LogProbs: append([]float32(nil), s.logprobs...), Finish: why}
}

// tail is the cached beginning that texts of the same prompt share: all of the
// prompt but its last token.
type tail struct {
	pages   []int32
	length  int
	waiting int  // requests that have yet to start from it
	ready   bool // computed
}

// generation is the state of one Run.
type generation struct {
	waiting []*running
	active  []*running // by adapter, then index
	tails   map[pageKey]*tail
	results []Completion
}

// Run continues all requests and returns their completions in order. Each
// depends on its own request and the weights alone.
func (g *Generator) Run(ctx context.Context, requests []Request) (_ []Completion, err error) {
	defer tensor.Recover(&err)
	if err := g.prepare(requests); err != nil {
		return nil, err
	}
	defer g.abandon()
	for len(g.run.waiting)+len(g.run.active) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.admit()
		if err := g.step(); err != nil {
			return nil, err
		}
	}
	return g.run.results, nil
}

// prepare checks requests, makes room, and queues them.
func (g *Generator) prepare(requests []Request) error {
	c := &g.model.Config
	run := &generation{tails: map[pageKey]*tail{}, results: make([]Completion, len(requests))}
	adapters := 0
	if g.pool != nil {
		adapters = g.pool.Len()
	}
	total, largest := 0, 0
	for i := range requests {
		r := &requests[i]
		if err := r.check(c, adapters); err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		if r.MaxNew == 0 {
			run.results[i] = Completion{Finish: FinishLength}
			continue
		}
		pages := pagesFor(min(len(r.Prompt)+r.MaxNew, c.MaxPositions))
		largest = max(largest, pages)
		total += pages
		key := g.rootKey(r.Adapter).extend(r.Prompt[:len(r.Prompt)-1])
		t := run.tails[key]
		if t == nil {
			t = &tail{length: len(r.Prompt) - 1}
			run.tails[key] = t
		}
		t.waiting++
		run.waiting = append(run.waiting, &running{index: i, req: r, tail: t, tokens: r.Prompt})
	}
	if total > 0 {
		if err := g.ensureCache(total, largest); err != nil {
			return err
		}
	}
	g.run = run
	return nil
}

func (r *Request) check(c *Config, adapters int) error {
	switch {
	case len(r.Prompt) == 0:
		return fmt.Errorf("the prompt has no tokens")
	case len(r.Prompt) > c.MaxPositions:
		return fmt.Errorf("prompt of %d tokens: the model's context is %d (max_position_embeddings)", len(r.Prompt), c.MaxPositions)
	case r.MaxNew < 0:
		return fmt.Errorf("%d new tokens: want 0 or more", r.MaxNew)
	case r.Adapter < NoAdapter || r.Adapter >= adapters:
		return fmt.Errorf("adapter %d: there are %d", r.Adapter, adapters)
	}
	for i, t := range r.Prompt {
		if t < 0 || int(t) >= c.VocabSize {
			return fmt.Errorf("token %d at position %d is outside the vocabulary of %d: is this the model's own tokenizer?", t, i, c.VocabSize)
		}
	}
	return r.Sampling.Validate()
}

func pagesFor(positions int) int { return (positions + PageSize - 1) / PageSize }

// ensureCache allocates the cache, or drops contents of older weights.
func (g *Generator) ensureCache(total, largest int) error {
	page := int64(g.model.Config.Layers*2*g.model.Config.KVHeads*PageSize*g.model.Config.HeadDim) * int64(g.model.Compute.Size())
	limit := g.opt.CacheBytes
	if limit == 0 {
		limit = 1 << 30
	}
	pages := int(min(limit/page, int64(total)))
	if pages < largest {
		if g.opt.CacheBytes > 0 {
			return fmt.Errorf("KV cache of %d bytes holds %d pages, but the longest request needs %d pages of %d bytes: allow more memory or fewer new tokens",
				g.opt.CacheBytes, pages, largest, page)
		}
		pages = largest
	}
	if g.cache != nil && g.cache.Pages < pages {
		g.Close()
	}
	if g.cache == nil {
		var err error
		if g.cache, err = newKVCache(g.model, pages); err != nil {
			return err
		}
	}
	if g.version != g.model.version {
		g.cache.clear()
		g.version = g.model.version
	}
	return nil
}

// rootKey is the key of an empty prefix.
func (g *Generator) rootKey(adapter int) pageKey {
	generation := uint64(0)
	if adapter != NoAdapter {
		generation = g.pool.generations[adapter]
	}
	return pageKey{}.extend([]int32{int32(g.model.version), int32(g.model.version >> 32), int32(adapter), int32(generation), int32(generation >> 32)})
}

// abandon releases the pages of texts that an error left unfinished.
func (g *Generator) abandon() {
	for _, s := range g.run.active {
		g.drop(s)
	}
	for _, t := range g.run.tails {
		g.dropTail(t)
	}
	g.run = nil
}

func (g *Generator) drop(s *running) {
	for _, p := range s.pages {
		g.cache.release(p)
	}
	s.pages, s.keys, s.cached = s.pages[:0], s.keys[:0], 0
}

func (g *Generator) dropTail(t *tail) {
	for _, p := range t.pages {
		g.cache.release(p)
	}
	t.pages, t.ready = nil, false
}

// dropTails gives up all kept prompts and tells whether there were any.
func (g *Generator) dropTails() (any bool) {
	for _, t := range g.run.tails {
		any = any || len(t.pages) > 0
		g.dropTail(t)
	}
	return any
}

// step runs the model once over the scheduled tokens and samples where a text's
// last token was among them.
func (g *Generator) step() error {
	parts, err := g.schedule()
	if err != nil {
		return err
	}
	if err := g.compute(parts); err != nil {
		return err
	}
	for _, p := range parts {
		p.cached += p.n
		g.nameFullPages(p.running)
		if t := p.tail; t.waiting > 0 && !t.ready && p.cached >= t.length && t.length > 0 {
			t.pages = slices.Clone(p.pages[:pagesFor(t.length)])
			for _, page := range t.pages {
				g.cache.share(page)
			}
			t.ready = true
		}
	}
	for i, s := range g.draws.texts {
		if why := g.accept(s, g.draws.ids[i], g.draws.logprobs[i]); why != "" {
			g.run.results[s.index] = s.completion(why)
			g.drop(s)
			g.run.active = slices.DeleteFunc(g.run.active, func(a *running) bool { return a == s })
		}
	}
	if g.Progress != nil {
		g.Progress(len(g.draws.texts))
	}
	return nil
}

// accept adds a sampled token to a text and tells why the text is finished, if
// it is.
func (g *Generator) accept(s *running, id int32, logprob float32) FinishReason {
	g.Stats.Sampled++
	switch {
	case id < 0:
		return FinishFailed
	case slices.Contains(s.req.Stop, id):
		return FinishStop
	}
	s.tokens = append(s.tokens, id)
	s.logprobs = append(s.logprobs, logprob)
	switch {
	case s.req.Until != nil && s.req.Until(s.generated()):
		return FinishStop
	case len(s.logprobs) >= s.req.MaxNew || len(s.tokens) >= g.model.Config.MaxPositions:
		return FinishLength
	}
	return ""
}

// compute runs the decoder over the parts' tokens and draws the next token of
// every text whose last token is among them.
func (g *Generator) compute(parts []part) (err error) {
	m, tp, ps, rows, draws := g.model, g.tape, g.pass, &g.rows, &g.draws
	rows.fill(parts)
	draws.fill(parts)
	g.Stats.Computed += len(rows.tokens)

	defer tensor.Recover(&err)
	defer tp.Free()
	tp.Compute = m.Compute
	ps.cache, ps.wanted = &g.cache.PagedCache, nil
	ps.rows = rows.begin(tp)
	if ps.rope, err = m.ropeFor(rows.longest); err != nil {
		return err
	}
	ps.adapters.bind(tp, rows.runs)
	if n := len(draws.texts); n > 0 && n < len(rows.tokens) {
		last := g.last.pass
		last.cache, last.rope, last.rows = ps.cache, ps.rope, draws.begin(tp, ps.rows.PageTable)
		last.adapters.bind(tp, draws.runs)
		g.last.index = tp.FromInt32s(draws.last, n)
		ps.wanted = &g.last
	}
	hidden := m.hidden(tp, tp.FromInt32s(rows.tokens, len(rows.tokens)), ps)
	if len(draws.texts) == 0 {
		return m.dev.Sync()
	}
	return draws.draw(tp, tensor.Logits(tp, hidden, m.head.computing()))
}
