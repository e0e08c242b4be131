package nn

import (
	"fmt"
	"slices"
)

// Continuous batching: which texts run, on which pages, and what a step computes.

// admit starts waiting texts while there is room. A text whose prompt another
// one is just computing waits for it.
func (g *Generator) admit() {
	var still []*running
	for i, s := range g.run.waiting {
		if len(g.run.active) >= g.opt.MaxSequences {
			still = append(still, g.run.waiting[i:]...)
			break
		}
		t := g.run.tails[s.tailKey]
		if !t.ready && slices.ContainsFunc(g.run.active, func(a *running) bool { return a.tailKey == s.tailKey && a.cached < t.length }) {
			still = append(still, s)
			continue
		}
		if len(g.run.active) > 0 && g.cache.available() < pagesFor(len(s.tokens)+1)-len(t.pages) {
			still = append(still, g.run.waiting[i:]...)
			break
		}
		g.begin(s, t)
		g.run.active = append(g.run.active, s)
	}
	g.run.waiting = still
	slices.SortStableFunc(g.run.active, func(a, b *running) int {
		if a.req.Adapter != b.req.Adapter {
			return a.req.Adapter - b.req.Adapter
		}
		return a.index - b.index
	})
}

// begin gives a text the cached beginning it can share.
func (g *Generator) begin(s *running, t *tail) {
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
	var parts []part
	byAge := slices.Clone(g.run.active)
	slices.SortFunc(byAge, func(a, b *running) int {
		if pa, pb := len(a.tokens)-a.cached > 1, len(b.tokens)-b.cached > 1; pa != pb {
			if pa {
				return 1
			}
			return -1
		}
		return a.index - b.index
	})
	scheduled := map[*running]int{}
	for _, s := range byAge {
		if budget == 0 {
			break
		}
		if !slices.Contains(g.run.active, s) {
			continue // preempted meanwhile
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
			victim := g.preempt(scheduled)
			if victim == nil {
				return nil, fmt.Errorf("KV cache of %d pages is too small for a text of %d tokens: allow more memory", g.cache.Pages, len(s.tokens))
			}
			if victim == s {
				n = 0
				break
			}
		}
		if n > 0 {
			scheduled[s] = n
			budget -= n
		}
	}
	for _, s := range g.run.active {
		if n := scheduled[s]; n > 0 {
			parts = append(parts, part{s, n})
		}
	}
	return parts, nil
}

// preempt makes room: the youngest text gives up its pages and waits; it will be
// computed again, with the same bits. It returns nil when only one is left.
func (g *Generator) preempt(scheduled map[*running]int) *running {
	if len(g.run.active) < 2 {
		return nil
	}
	youngest := slices.MaxFunc(g.run.active, func(a, b *running) int { return a.index - b.index })
	g.Stats.Preempted++
	g.drop(youngest)
	delete(scheduled, youngest)
	g.run.active = slices.DeleteFunc(g.run.active, func(a *running) bool { return a == youngest })
	g.run.waiting = append([]*running{youngest}, g.run.waiting...)
	return youngest
}
