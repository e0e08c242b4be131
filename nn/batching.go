package nn

import (
	"fmt"
	"slices"
)

// Continuous batching: which texts run, on which pages, and what a step computes.

// admit starts waiting texts while there is room. A text whose prompt another
// one is just computing waits for it.
func (g *Generator) admit() {
	waiting, begun := g.run.waiting, false
	still := waiting[:0]
	for i, s := range waiting {
		if len(g.run.active) >= g.opt.MaxSequences {
			still = append(still, waiting[i:]...)
			break
		}
		t := s.tail
		if !t.ready && slices.ContainsFunc(g.run.active, func(a *running) bool { return a.tail == t && a.cached < t.length }) {
			still = append(still, s)
			continue
		}
		if len(g.run.active) > 0 && g.cache.available() < pagesFor(len(s.tokens)+1)-len(t.pages) {
			still = append(still, waiting[i:]...)
			break
		}
		g.begin(s, t)
		g.run.active = append(g.run.active, s)
		begun = true
	}
	clear(waiting[len(still):])
	g.run.waiting = still
	if !begun {
		return
	}
	slices.SortStableFunc(g.run.active, func(a, b *running) int {
		if a.req.Adapter != b.req.Adapter {
			return a.req.Adapter - b.req.Adapter
		}
		return a.index - b.index
	})
}

// begin gives a text the cached beginning it can share.
func (g *Generator) begin(s *running, t *tail) {
	g.makeRoom(s)
	s.preempted = false
	if t.waiting > 0 && len(s.tokens) == len(s.req.Prompt) {
		t.waiting--
	}
	if t.ready {
		full := t.length / PageSize
		for _, p := range t.pages[:full] {
			g.cache.share(p)
			s.pages = append(s.pages, p)
		}
		s.cached = full * PageSize
		if t.length > s.cached {
			if p, ok := g.cache.clone(t.pages[full]); ok {
				s.pages = append(s.pages, p)
				s.cached = t.length
			}
		}
		if t.waiting == 0 {
			g.dropTail(t)
		}
	} else {
		// Full pages of the same beginning, at most up to the last token.
		for k := g.rootKey(s.req.Adapter); s.cached+PageSize < len(s.tokens); s.cached += PageSize {
			k = k.extend(s.tokens[s.cached : s.cached+PageSize])
			p, ok := g.cache.index[k]
			if !ok {
				break
			}
			g.cache.share(p)
			s.pages = append(s.pages, p)
		}
	}
	g.Stats.Shared += s.cached
	g.nameFullPages(s)
}

// makeRoom gives a text that begins arrays for all that it may become, so that no
// step has to.
func (g *Generator) makeRoom(s *running) {
	if s.logprobs != nil {
		return // preempted and back
	}
	most := min(len(s.req.Prompt)+s.req.MaxNew, g.model.Config.MaxPositions)
	s.tokens = append(make([]int32, 0, max(most, len(s.tokens))), s.tokens...)
	s.logprobs = make([]float32, 0, max(1, most-len(s.req.Prompt)))
	s.pages, s.keys = make([]int32, 0, pagesFor(most)), make([]pageKey, 0, pagesFor(most))
}

// nameFullPages publishes the pages of s that are full.
func (g *Generator) nameFullPages(s *running) {
	for n := len(s.keys); (n+1)*PageSize <= s.cached; n++ {
		k := g.rootKey(s.req.Adapter)
		if n > 0 {
			k = s.keys[n-1]
		}
		k = k.extend(s.tokens[n*PageSize : (n+1)*PageSize])
		s.keys = append(s.keys, k)
		g.cache.publish(s.pages[n], k)
	}
}

// part is what one step computes of one text.
type part struct {
	*running
	n int // tokens from cached on
}

// schedule chooses the tokens of the next step and gives them pages. Texts that
// sample come first; a text that finds no page makes the youngest one wait.
func (g *Generator) schedule() ([]part, error) {
	budget := g.opt.MaxTokens
	byAge := append(g.byAge[:0], g.run.active...)
	g.byAge = byAge
	slices.SortFunc(byAge, func(a, b *running) int {
		if pa, pb := len(a.tokens)-a.cached > 1, len(b.tokens)-b.cached > 1; pa != pb {
			if pa {
				return 1
			}
			return -1
		}
		return a.index - b.index
	})
	for _, s := range byAge {
		s.scheduled = 0
	}
	for _, s := range byAge {
		if budget == 0 {
			break
		}
		if s.preempted {
			continue // meanwhile
		}
		n := min(len(s.tokens)-s.cached, budget)
		for len(s.pages) < pagesFor(s.cached+n) {
			p, ok := g.cache.take()
			if ok {
				s.pages = append(s.pages, p)
				continue
			}
			if g.dropTails() {
				continue
			}
			victim := g.preempt()
			if victim == nil {
				return nil, fmt.Errorf("KV cache of %d pages is too small for a text of %d tokens: allow more memory", g.cache.Pages, len(s.tokens))
			}
			if victim == s {
				n = 0
				break
			}
		}
		s.scheduled = n
		budget -= n
	}
	g.parts = g.parts[:0]
	for _, s := range g.run.active {
		if s.scheduled > 0 {
			g.parts = append(g.parts, part{s, s.scheduled})
		}
	}
	return g.parts, nil
}

// preempt makes room: the youngest text gives up its pages and waits; it will be
// computed again, with the same bits. It returns nil when only one is left.
func (g *Generator) preempt() *running {
	if len(g.run.active) < 2 {
		return nil
	}
	youngest := slices.MaxFunc(g.run.active, func(a, b *running) int { return a.index - b.index })
	g.Stats.Preempted++
	g.drop(youngest)
	youngest.preempted = true
	g.run.active = slices.DeleteFunc(g.run.active, func(a *running) bool { return a == youngest })
	g.run.waiting = slices.Insert(g.run.waiting, 0, youngest)
	return youngest
}
