package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Embedding implements kernels.Backend.
func (b *Backend) Embedding(a kernels.EmbeddingArgs) {
	t := &b.ops.gather
	*t = gatherTask{
		dst:   floats("Embedding", "Y", a.Y, a.Rows, a.Dim),
		src:   floats("Embedding", "Table", a.Table, a.Vocab, a.Dim),
		index: i32s("Embedding", "IDs", a.IDs, a.Rows),
		cols:  a.Dim,
	}
	t.dst = t.dst.output(t.src)
	if b.idsWithin("Embedding", t.index, a.Vocab) {
		b.pool.run("Embedding", t, a.Rows, rowGrain(a.Dim))
	}
}

// idsWithin reports whether all ids lie in 0…vocab-1, and keeps the error if not.
func (b *Backend) idsWithin(op string, ids []int32, vocab int) bool {
	for i, v := range ids {
		if v < 0 || int(v) >= vocab {
			b.Fail(op, "row %d has id %d, outside a vocabulary of %d", i, v, vocab)
			return false
		}
	}
	return true
}

// embeddingBackwardTask's items are the distinct ids, each with the chain of
// its rows.
type embeddingBackwardTask struct {
	dtable, dy []float32
	dim        int

	first []int32 // per distinct id: its first row
	next  []int32 // per row: the next row of the same id, -1: none
	ids   []int32
	seq   []int32 // per row: its sequence
	last  []int32 // per id: its latest row so far; -1 between calls
}

// EmbeddingBackward implements kernels.Backend.
func (b *Backend) EmbeddingBackward(a kernels.EmbeddingBackwardArgs) {
	const op = "EmbeddingBackward"
	t := &b.ops.embeddingBackward
	t.dtable = f32s(op, "DTable", a.DTable, a.Vocab, a.Dim)
	t.dy = f32s(op, "DY", a.DY, a.Rows, a.Dim)
	t.ids = i32s(op, "IDs", a.IDs, a.Rows)
	t.dim = a.Dim
	from, ok := b.starts(op, a.Starts, a.NSeq, a.Rows)
	if !ok || !b.idsWithin(op, t.ids, a.Vocab) {
		return
	}
	t.first = t.first[:0]
	t.next, t.seq = resize(t.next, a.Rows), resize(t.seq, a.Rows)
	for len(t.last) < a.Vocab {
		t.last = append(t.last, -1)
	}
	for s := range a.NSeq {
		for i := from[s]; i < from[s+1]; i++ {
			id := t.ids[i]
			if prev := t.last[id]; prev >= 0 {
				t.next[prev] = i
			} else {
				t.first = append(t.first, i)
			}
			t.last[id], t.next[i], t.seq[i] = i, -1, int32(s)
		}
	}
	for _, i := range t.first {
		t.last[t.ids[i]] = -1
	}
	b.pool.run(op, t, len(t.first), rowGrain(4*a.Dim))
}

func (t *embeddingBackwardTask) do(lo, hi int, w *worker) {
	sum := w.floats(t.dim)
	for _, row := range t.first[lo:hi] {
		grad := t.dtable[int(t.ids[row])*t.dim:][:t.dim]
		for i := row; i >= 0; {
			seq, of := t.seq[i], t.dy[int(i)*t.dim:][:t.dim] // the sequence's sum: often of one row
			for i = t.next[i]; i >= 0 && t.seq[i] == seq; i = t.next[i] {
				vec.Add(sum, of, t.dy[int(i)*t.dim:][:t.dim])
				of = sum
			}
			vec.Add(grad, grad, of)
		}
	}
}

// resize returns s with n elements of undefined contents.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}
