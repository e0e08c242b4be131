package kerneltest

import (
	"bytes"
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
)

// check solves a problem on ref and on the backend and compares: values, a
// second run in the same buffers, and the batch cut into several calls.
func (t *trial) check(p *problem) {
	t.Helper()
	if !t.within(p) {
		return
	}
	defer t.placed(p.op)()
	want, err := t.solve(t.ref, p, !p.exact, false)
	if err != nil {
		t.Fatalf("%v: ref: %v", p, err)
	}
	got, err := t.solve(t.dev, p, false, true)
	if err != nil {
		t.Errorf("%v: %v", p, err)
		return
	}
	for _, a := range p.arrays {
		if a == nil || a.role == input {
			continue
		}
		if err := t.compare(p, a, got[a], want[a]); err != nil {
			t.Errorf("%v: %v", p, err)
			return
		}
		if t.opt.Result != nil {
			if err := t.opt.Result(t.seen, a.name, got[a]); err != nil {
				t.Errorf("%v: %s: %v", p, a.name, err)
				return
			}
		}
	}
	if p.whole || p.units() < 2 {
		return
	}
	for range 2 {
		if err := t.cut(p, got); err != nil {
			t.Errorf("%v: %v", p, err)
			return
		}
	}
}

// placed lets where the arrays of a problem lie not depend on which problems were left out,
// until what it returns is called.
func (t *trial) placed(op string) (end func()) {
	if t.opt.Only == nil {
		return func() {}
	}
	rng := t.rng
	t.rng = philox.NewStream(philox.ID{Seed: t.opt.Seed, Purpose: philox.PurposeTest, Item: fmt.Sprint(op, t.seen)})
	return func() { t.rng = rng }
}

// within counts a problem and reports whether it is small enough to try.
func (t *trial) within(p *problem) bool {
	n := 0
	for _, a := range p.arrays {
		if a != nil && !a.sparse {
			n += a.len()
		}
	}
	if t.opt.Limit > 0 && n > t.opt.Limit {
		t.skipped++
		return false
	}
	return t.wanted()
}

// wanted counts a problem and reports whether it is to be tried.
func (t *trial) wanted() bool {
	t.seen++
	if t.opt.Only != nil && !t.opt.Only(t.seen) {
		return false
	}
	t.problems++
	return true
}

// solve makes one call for the whole problem, with twice a second one.
func (t *trial) solve(k kernels.Backend, p *problem, wide, twice bool) (map[*array][]byte, error) {
	c := t.stage(k, p, 0, p.units(), nil, wide)
	defer c.free(nil)
	first, err := c.run()
	if err != nil || !twice {
		return first, err
	}
	c.reload()
	second, err := c.run()
	if err != nil {
		return nil, fmt.Errorf("second run: %v", err)
	}
	for a := range first {
		if i := differ(a.dt, first[a], second[a]); i >= 0 {
			return nil, fmt.Errorf("a second run in the same buffers changes %s[%d] from %v to %v", a.name, i, at(a.dt, first[a], i), at(a.dt, second[a], i))
		}
	}
	return first, nil
}

// cut makes several calls for consecutive parts of the batch. Rows must come
// out, and shared sums end, with the bits of the single call.
func (t *trial) cut(p *problem, single map[*array][]byte) error {
	keep := map[*array]*region{}
	for _, a := range p.arrays {
		if a != nil && a.row == 0 {
			keep[a] = t.region(t.dev, a.name, a.dt, a.data)
		}
	}
	defer func() {
		for _, r := range keep {
			t.dev.Free(r.buf.Mem)
		}
	}()
	n := p.units()
	forced := 1 + t.rng.IntN(n-1) // one cut at least
	var last map[*array][]byte
	for lo := 0; lo < n; {
		hi := lo + 1
		for hi < n && hi != forced && t.rng.IntN(2) == 0 {
			hi++
		}
		c := t.stage(t.dev, p, lo, hi, keep, false)
		part, err := t.runPart(c, keep, single)
		if err != nil {
			return fmt.Errorf("units %d to %d in a call of their own: %v", lo, hi-1, err)
		}
		last, lo = part, hi
	}
	for a := range keep {
		if a.role == input {
			continue
		}
		if i := differ(a.dt, last[a], single[a]); i >= 0 {
			return fmt.Errorf("after several calls %s[%d] is %v, after a single one %v", a.name, i, at(a.dt, last[a], i), at(a.dt, single[a], i))
		}
	}
	return nil
}

func (t *trial) runPart(c *call, keep map[*array]*region, single map[*array][]byte) (map[*array][]byte, error) {
	defer c.free(keep)
	part, err := c.run()
	if err != nil {
		return nil, err
	}
	for a, got := range part {
		if a.row == 0 || a.role == input {
			continue
		}
		from, to := c.part(a)
		if i := differ(a.dt, got, single[a][from:to]); i >= 0 {
			return nil, fmt.Errorf("%s[%d] is %v, in the single call it was %v", a.name, i, at(a.dt, got, i), at(a.dt, single[a][from:to], i))
		}
	}
	return part, nil
}

// compare judges one array against ref's, which is f32 unless exact.
func (t *trial) compare(p *problem, a *array, got, want []byte) error {
	wantType := a.dt
	if !p.exact && a.dt.IsFloat() {
		wantType = kernels.F32
	}
	tol, stored := tolerances[p.op], storage(a.dt)
	factor := t.opt.Loose * max(1, p.loose)
	tol.abs = tol.abs*factor + stored.abs + a.slack
	tol.rel = tol.rel*factor + stored.rel
	bad, first, why := 0, -1, ""
	for i := range a.len() {
		g, w := getBits(a.dt, got, i), getBits(wantType, want, i)
		ok := false
		switch {
		case w == untouched(wantType):
			ok = g == untouched(a.dt)
		case a.dt == kernels.I32:
			ok = g == w
		case p.exact:
			ok = g == w || isNaN(a.dt, g) && isNaN(a.dt, w)
		case t.opt.SpreadNaN && p.starts != nil && isNaN(a.dt, g):
			ok = isNaN(wantType, w) || t.sequenceHasNaN(p, a, i, wantType, want)
		default:
			ok = tol.accepts(decode(a.dt, g), decode(wantType, w))
		}
		if !ok {
			if bad++; first < 0 {
				first, why = i, fmt.Sprintf("%v, want %v", at(a.dt, got, i), at(wantType, want, i))
			}
		}
	}
	if bad == 0 {
		return nil
	}
	if p.exact || a.dt == kernels.I32 {
		return fmt.Errorf("%s[%d] is %s; %d of %d elements differ", a.name, first, why, bad, a.len())
	}
	return fmt.Errorf("%s[%d] is %s; %d of %d elements differ by more than %.2g + %.2g·|want|", a.name, first, why, bad, a.len(), tol.abs, tol.rel)
}

// sequenceHasNaN reports whether ref has a NaN in the sequence of element i.
func (t *trial) sequenceHasNaN(p *problem, a *array, i int, dt kernels.DType, want []byte) bool {
	if a.row == 0 {
		return false
	}
	for s := range len(p.starts) - 1 {
		if lo, hi := int(p.starts[s])*a.row, int(p.starts[s+1])*a.row; i >= lo && i < hi {
			for j := lo; j < hi; j++ {
				if v := getBits(dt, want, j); isNaN(dt, v) {
					return true
				}
			}
		}
	}
	return false
}

func isNaN(dt kernels.DType, bits uint32) bool {
	return dt.IsFloat() && math.IsNaN(decode(dt, bits))
}

// differ returns the first element whose bits differ, or −1. NaN equals NaN
// whatever its payload, except the one that marks what was not written.
func differ(dt kernels.DType, x, y []byte) int {
	if bytes.Equal(x, y) {
		return -1
	}
	for i := range len(x) / dt.Size() {
		a, b := getBits(dt, x, i), getBits(dt, y, i)
		if a != b && !(isNaN(dt, a) && isNaN(dt, b) && a != untouched(dt) && b != untouched(dt)) {
			return i
		}
	}
	return -1
}

// at formats an element, telling what was never written.
func at(dt kernels.DType, data []byte, i int) string {
	v := getBits(dt, data, i)
	if v == untouched(dt) {
		return "not written"
	}
	return fmt.Sprint(decode(dt, v))
}
