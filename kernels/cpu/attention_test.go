package cpu

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
	"github.com/selkie-ml/selkie/kernels/host"
)

// TestAttentionInPieces asks that sequences give the same bits however they are
// cut into items: one thread takes them whole, several share out blocks of keys
// and sum DQ from scratch, in more than one window where they are long.
func TestAttentionInPieces(t *testing.T) {
	for _, level := range []string{vec.Levels()[0], "generic"} {
		t.Run(level, func(t *testing.T) {
			defer vec.ForceLevel(level)()
			for _, c := range []struct {
				lengths      []int
				heads, kv, d int
				bad          int // a row with an Inf in v and k and a NaN in do, −1: none
			}{
				{[]int{9*kernels.KeyBlock + 5}, 2, 1, 16, -1},
				{[]int{65, 300, 1, 129}, 7, 1, 32, -1},
				{[]int{200, 64}, 4, 2, 80, -1},
				{[]int{20, 150}, 4, 2, 8, 100},
			} {
				if level == "generic" && c.d > 16 {
					continue // slow, and cut by the same code
				}
				var want []byte
				for _, threads := range []int{1, 2, 3, 8} {
					got := attentionBits(t, threads, c.lengths, c.heads, c.kv, c.d, c.bad)
					if threads == 1 {
						want = got
					} else if !bytes.Equal(got, want) {
						t.Errorf("sequences %v, %d/%d heads of %d: %d threads change bits", c.lengths, c.heads, c.kv, c.d, threads)
					}
				}
			}
		})
	}
}

// attentionBits returns all that attention computes, forward and backward.
func attentionBits(t *testing.T, threads int, lengths []int, heads, kv, d, bad int) []byte {
	m := newMaker(t, threads)
	starts, rows := []int32{0}, 0
	for _, n := range lengths {
		rows += n
		starts = append(starts, int32(rows))
	}
	nq, nkv := rows*heads*d, rows*kv*d
	q, k, v, do := m.f32(nq), m.f32(nkv), m.f32(nkv), m.f32(nq)
	if bad >= 0 {
		host.F32(k, nkv)[bad*kv*d+3] = float32(math.Inf(1))
		host.F32(v, nkv)[bad*kv*d+1] = float32(math.Inf(-1))
		host.F32(do, nq)[bad*heads*d+2] = float32(math.NaN())
	}
	f := kernels.AttentionArgs{O: m.mem(nq, kernels.F32), LSE: m.mem(rows*heads, kernels.F32), Q: q, K: k, V: v,
		Starts: m.ints(starts...), NSeq: len(lengths), Rows: rows, Heads: heads, KVHeads: kv, HeadDim: d, Scale: 0.25}
	b := kernels.AttentionBackwardArgs{DQ: m.mem(nq, kernels.F32), DK: m.mem(nkv, kernels.F32), DV: m.mem(nkv, kernels.F32), DO: do, O: f.O, LSE: f.LSE, Q: q, K: k, V: v,
		Starts: f.Starts, NSeq: f.NSeq, Rows: rows, Heads: heads, KVHeads: kv, HeadDim: d, Scale: 0.25}
	b.Scratch = m.mem(int(m.b.AttentionBackwardScratch(b)/4), kernels.F32)
	m.b.Attention(f)
	m.b.AttentionBackward(b)
	if err := m.b.Sync(); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, x := range []struct {
		b kernels.Buffer
		n int
	}{{f.O, nq}, {f.LSE, rows * heads}, {b.DQ, nq}, {b.DK, nkv}, {b.DV, nkv}} {
		for i, y := range host.F32(x.b, x.n) {
			if y != y { // a NaN's payload is its own affair
				host.F32(x.b, x.n)[i] = float32(math.NaN())
			}
		}
		all = append(all, host.Bytes(x.b, 4*x.n)...)
	}
	return all
}

// TestSharedPagesAreReadTogether asks that rows whose pages are the same make
// one item, whichever order they come in, and those of others do not.
func TestSharedPagesAreReadTogether(t *testing.T) {
	m := newMaker(t, 1)
	const pages, heads, kv, d = 3, 4, 2, 8
	table := []int32{0, 1, 2, 3, 4, 5, 0, 1, 6, 3, 4, 7, 0, 8, 9}
	seq, pos := []int32{0, 1, 2, 3, 4, -1}, []int32{130, 70, 140, 100, 190, 0}
	p := kernels.PagedShape{Cache: m.f32(10 * 2 * kv * kernels.PageSize * d), PageTable: m.ints(table...), Pages: 10, Layers: 1, MaxPages: pages, NSeq: 5, KVHeads: kv, HeadDim: d}
	o := m.f32(len(seq) * heads * d)
	m.b.AttentionPaged(kernels.AttentionPagedArgs{PagedShape: p, O: o, Q: m.f32(len(seq) * heads * d), RowSeq: m.ints(seq...), RowPos: m.ints(pos...), Rows: len(seq), Heads: heads, Scale: 1})
	if err := m.b.Sync(); err != nil {
		t.Fatal(err)
	}
	task := &m.b.ops.attention
	got := ""
	for _, it := range task.items {
		got += "|"
		for _, sp := range task.spans[it.lo:it.hi] {
			got += fmt.Sprint(sp.seq)
		}
	}
	if want := "|024|024|13|13"; got != want {
		t.Errorf("items are of the sequences %s, want %s", got, want)
	}
}
