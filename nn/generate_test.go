package nn

import (
	"testing"
)

// checkIdle checks that no page of the cache is in use.
func (g *Generator) checkIdle(t interface {
	Helper()
	Errorf(string, ...any)
}) {
	t.Helper()
	for p, n := range g.cache.refs {
		if n != 0 {
			t.Errorf("page %d has %d users after Run", p, n)
		}
	}
	if free := g.cache.available(); free != g.cache.Pages {
		t.Errorf("%d of %d pages are free after Run", free, g.cache.Pages)
	}
	if g.run != nil {
		t.Errorf("a run is still in work")
	}
}

var _ = testing.Short
