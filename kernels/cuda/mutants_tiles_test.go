package cuda

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// variantOrdeal is a row of the table on a case that fills its tile.
type variantOrdeal struct {
	variant
	of    TuneCase
	odd   int
	exact [][]byte // what ref says
	bits  [][]byte // of the kernel without mutants
	ran   map[kernel.Any]trace
	pinned
}

func (o *variantOrdeal) name() string { return fmt.Sprintf("%v by %v, odd %d", o.of, o.engine, o.odd) }

func (o *variantOrdeal) covers(m place) bool {
	return !m.rest && o.ran[m.Any].coverage[ran{m.line, reached}]
}

func (o *variantOrdeal) run(b *Backend, m place) error {
	if o.op == "loss_input" && o.odd%2 == 1 {
		b.lossBytes = 1 // the gradient goes on where the first chunk's part ended
	}
	p, err := newProblem(b, o.of, o.offset())
	if err != nil {
		return err
	}
	b.tuner = tuner{on: true, trying: &o.variant}
	got, err := p.results()
	if err != nil {
		return err
	}
	made := b.tuner.kernels(o.op)
	p.close()
	for r, want := range o.exact {
		if err := near(o.of, p.out[r].DType, got[r], want); err != nil {
			return fmt.Errorf("result %d: %w", r, err)
		}
		if m.Any != nil && !bytes.Equal(got[r], o.bits[r]) {
			return fmt.Errorf("result %d: %w", r, errBits)
		}
	}
	b.tuner.made = made
	did := ranSince(b)
	if m.Any != nil {
		if did != nil && did[m.Any].traffic != o.ran[m.Any].traffic {
			return errTraffic
		}
		return nil
	}
	o.ran, o.bits = did, got
	for k, c := range did {
		o.count(k, c)
	}
	for _, raw := range got {
		o.digest(raw)
	}
	return nil
}

// vector is how many elements of a row are copied at once at most.
func (v variant) vector() int {
	if v.engine == byMMA {
		return 8
	}
	return 4
}

func (v variant) loss() bool { return strings.HasPrefix(v.op, "loss") }

// fillings are the numbers of a row's cases, see filled: of a loss as many as there are
// tiles of a sum's terms in flight and elements of a vector in which the sum may end.
func (v variant) fillings() []int {
	switch {
	case v.tile.BM == 0:
		return []int{0, 1}
	case v.loss():
		var list []int
		for i := range 2 + v.tile.Stages*v.vector() {
			list = append(list, i)
		}
		return list
	case strings.HasPrefix(v.op, "linear"):
		return []int{0, 1, 2, 3, 4, 5, 6, 12, 16, 20}
	}
	return []int{0, 1, 2, 3, 4, 5, 12, 16}
}

// offset is how many elements behind an aligned address arrays begin. At 12 and 20 vectors
// of 4 floats fit and those of 8 halves do not.
func (o *variantOrdeal) offset() int {
	if o.loss() {
		return min(o.odd, 1)
	}
	return o.odd
}

// filled is a case of a row of whose product every direction has a full tile and a part
// of one, and more steps than stages; where warps share a sum, more chunks than warps.
func (v variant) filled(c TuneCase, odd int) TuneCase {
	t := v.tile
	if t.BM == 0 { // heads: the case has two blocks of rows
		if v.op == "attention" && v.engine == byMMA && odd == 0 {
			c.Parts = 1 // two blocks of keys and a part of one
		}
		return c
	}
	chunk := kernel.ChunkF32
	if v.engine == byMMA {
		chunk = kernel.ChunkMMA
	}
	m, n, rows := t.BM+5, t.BN+8+3*odd, 2*t.BM+13
	depth := max(2*chunk+40, (t.Stages+2)*t.BK+8)
	shared := v.split > 0 && v.op != "lora_gradient" // whose rows are shared, see below
	if shared {
		depth = (v.split+1)*chunk + 40
	}
	depth += odd
	switch {
	case odd == 1 && shared: // that ends with a tile
		depth = (v.split+1)*chunk + t.BK
	case odd == 1 && v.split == 0: // more rows of tiles than go together, see kernel.Linear
		m, depth = 9*t.BM+3, depth/2|1
	case v.loss() && odd > 1:
		i := odd - 2
		m = t.BM + 1 + 5*odd%32
		depth = i/v.vector()*t.BK + i%v.vector() + 1
		if v.op == "loss_logits" {
			n = 2 + 13*i // from so few columns on that a row has no logit above 0
		}
	case odd == 2:
		n, depth = t.BN+8, t.BK+6
	case odd == 3:
		depth = 2*t.BK + 7
	case odd == 4:
		depth = 6
	case odd == 5: // narrow, and a sum that ends in the first tile that is fetched while others are multiplied
		n, depth = 3, (t.Stages-1)*t.BK+6
	case odd == 6, odd == 20:
		depth = 0
	case odd == 12:
		depth |= 1
	case odd == 16:
		depth = t.BK + 8
	}
	if c.ragged {
		rows *= 2 // a part has a fourth
	}
	switch v.op {
	case "linear", "loss_logits":
		c.Rows, c.Out, c.In = m, n, depth
	case "linear_backward_input":
		c.Rows, c.In, c.Out = m, n, depth
	case "loss_input":
		c.Rows, c.In, c.Out = m, n, depth
		if odd%2 == 1 {
			c.Out += kernel.ChunkMMA // a chunk of the gradient, and then the rest, see run
		}
	case "linear_backward_weight":
		c.Out, c.In, c.Rows, c.Parts = m, n, depth+70, 2
	case "loss_weight":
		c.Out, c.In, c.Rows, c.Parts = m, n, depth+70, 2
	case "lora_down":
		c.Parts, c.Rows, c.Rank, c.In, c.Out = 2, rows, n, depth, depth
	case "lora_up":
		c.Parts, c.Rows, c.Rank, c.In, c.Out = 2, rows, 72+odd, n, n+odd
		if odd == 4 {
			c.Rank = 6 // a part of the first tile
		}
	case "lora_gradient":
		c.Parts, c.Rows, c.Rank, c.In, c.Out = 2, 2*depth+3, m, n, n
		switch odd {
		case 1: // the last round of the warps is full
			c.Rows = 2 * v.split * chunk
		case 5: // two chunks of each adapter, the second short
			c.Rows = 2*chunk + 19
		}
	}
	return c
}

// variantOrdeals are the smallest row of each op and engine, with and without a split sum.
func variantOrdeals() (list []*variantOrdeal) {
	least := map[string]variant{}
	var keys []string
	for _, v := range variants {
		key := fmt.Sprint(v.op, v.engine, v.split > 0, v.dim)
		size := func(v variant) int { return v.tile.BM*v.tile.BN + v.block.Rows }
		if old, ok := least[key]; !ok || size(v) < size(old) {
			if !ok {
				keys = append(keys, key)
			}
			least[key] = v
		}
	}
	for _, key := range keys {
		v := least[key]
		for _, c := range v.cases() {
			if c.DType == kernels.F16 {
				continue
			}
			for _, odd := range v.fillings() {
				c.ragged = c.lora() && (odd == 0 || odd == 1 && v.op != "lora_gradient")
				of := v.filled(c, odd)
				of.low = v.loss() && odd > 0 && of.In > 1 // else rows are no different
				list = append(list, &variantOrdeal{variant: v, of: of, odd: odd})
			}
		}
	}
	return list
}
