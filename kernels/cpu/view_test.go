package cpu

import (
	"bytes"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// What goes past the caches has the bits of what does not, and stays within its
// bounds.
func TestPastTheCaches(t *testing.T) {
	m := newMaker(t, 2)
	defer func(from int) { pastFrom = from }(pastFrom)
	for _, rows := range []int{1, 3, 40} {
		for _, dim := range []int{2, 14, 34, 896} {
			n := rows * dim
			const front, behind = 3, 5
			mem := m.f32(front + n + behind)
			y := mem.At(front)
			x, w := m.f32(n), m.f32(dim)
			half := m.random(kernels.BF16, n, 1)
			index, cos := m.indices(rows, rows), m.f32(rows*dim/2)
			for name, run := range map[string]func(){
				"Copy": func() {
					m.b.Copy(kernels.CopyArgs{Dst: y, Src: x, Rows: rows, Cols: dim, DstStride: dim, SrcStride: dim})
				},
				"Copy from bf16": func() {
					m.b.Copy(kernels.CopyArgs{Dst: y, Src: half, Rows: 1, Cols: n, DstStride: n, SrcStride: n})
				},
				"Copy of columns": func() {
					m.b.Copy(kernels.CopyArgs{Dst: y, Src: x, Rows: rows, Cols: dim - 1, DstStride: dim, SrcStride: dim})
				},
				"Gather": func() {
					m.b.Gather(kernels.GatherArgs{Dst: y, Src: x, Index: index, Rows: rows, Cols: dim, SrcRows: rows})
				},
				"Embedding": func() {
					m.b.Embedding(kernels.EmbeddingArgs{Y: y, Table: half, IDs: index, Rows: rows, Dim: dim, Vocab: rows})
				},
				"RMSNorm": func() { m.b.RMSNorm(kernels.RMSNormArgs{Y: y, X: x, W: w, Rows: rows, Dim: dim, Eps: 1e-5}) },
				"RMSNormBackward": func() {
					m.b.RMSNormBackward(kernels.RMSNormBackwardArgs{DX: y, DY: x, X: x, W: w, Rows: rows, Dim: dim, Eps: 1e-5})
				},
				"Rope": func() {
					m.b.Rope(kernels.RopeArgs{Y: y, X: x, Positions: index, Cos: cos, Sin: cos, Rows: rows, Heads: 1, HeadDim: dim, MaxPos: rows})
				},
			} {
				result := func(from int) []byte {
					pastFrom = from
					m.b.Fill(kernels.FillArgs{Dst: mem, N: front + n + behind, Value: 7})
					run()
					if err := m.b.Sync(); err != nil {
						t.Fatal(err)
					}
					return bytes.Clone(host.Bytes(mem, 4*(front+n+behind)))
				}
				if past, plain := result(1), result(1<<62); !bytes.Equal(past, plain) {
					t.Errorf("%s of %d × %d: the bits differ", name, rows, dim)
				}
			}
		}
	}
}
