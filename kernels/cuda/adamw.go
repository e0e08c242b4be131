package cuda

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// params finds the items of work of a parameter table, whose runs lie in the slabs. It
// returns where they are, in memory to be freed, and how many they may be.
func (b *Backend) params(op string, table kernels.Buffer, nparam, groups int, slabs ...kernels.Buffer) (_ kernels.Buffer, _ kernel.Layout, ok bool) {
	elements := int64(math.MaxInt32)
	for _, s := range slabs {
		elements = min(elements, (s.Mem.Size()-s.Offset)/int64(kernels.F32.Size()))
	}
	lay := kernel.LayoutOf(nparam, elements)
	if nparam == 0 {
		return kernels.Buffer{}, lay, false
	}
	work, ok := b.borrow(op, lay.Bytes())
	if !ok {
		return work, lay, false
	}
	var k kernel.ParamItems
	at, tag := b.refusals(op, fmt.Sprintf("table row %%d: group %%d, want one below %d whose run lies within the %d elements of the slab and overlaps no other", groups, elements))
	b.launch(op, k, k.Launch(), ptr(work), ptr(table), num(nparam), num(groups), num(int(elements)), num(lay.Items), at, tag)
	return work, lay, true
}

// GradNorm implements kernels.Backend.
func (b *Backend) GradNorm(a kernels.GradNormArgs) {
	const op = "GradNorm"
	work, lay, ok := b.params(op, a.Table, a.NParam, a.Groups, a.Grad)
	if !ok {
		return
	}
	defer b.Free(work.Mem)
	var items kernel.GradNormItems
	var sum kernel.GradNorm
	sums := work
	sums.Offset = lay.Sums()
	b.launch(op, items, items.Launch(lay.Items, b.info.SMs), ptr(sums), ptr(work), ptr(a.Table), ptr(a.Grad), num(a.NParam))
	b.launch(op, sum, sum.Launch(a.Groups), ptr(a.SumSquares), ptr(sums), ptr(work), ptr(a.Table), num(a.NParam))
}

// AdamW implements kernels.Backend.
func (b *Backend) AdamW(a kernels.AdamWArgs) {
	const op = "AdamW"
	work, lay, ok := b.params(op, a.Table, a.NParam, a.Groups, a.P, a.Grad, a.M, a.V)
	if !ok {
		return
	}
	defer b.Free(work.Mem)
	k := kernel.AdamW{Vec: vector(4, a.P, a.Grad, a.M, a.V) == 4}
	b.launch(op, k, k.Launch(lay.Items, b.info.SMs), ptr(a.P), ptr(a.Grad), ptr(a.M), ptr(a.V), ptr(a.SumSquares), ptr(a.Settings),
		ptr(work), ptr(a.Table), num(a.NParam))
}
