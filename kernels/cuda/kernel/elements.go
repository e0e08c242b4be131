package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// elementThreads of a block of the kernels that take elements or rows one by one.
const elementThreads = 256

// elementUnroll is how often a thread takes vec neighbours, where elements are a matter
// of no row: eight elements, or two where each needs an access of its own.
func elementUnroll(vec int) int {
	if vec == 1 {
		return 2
	}
	return 8 / vec
}

// elements is the launch of a kernel whose threads take perThread elements each.
func elements(n, perThread int) Launch {
	return lines(CeilDiv(n, elementThreads*perThread), elementThreads)
}

// eachElement calls f for a thread's unroll times vec neighbours: all that f emits comes
// first, so that the loads are under way together, then what the functions emit that
// f gave. Where the array ends within a block's part, f is called for less at once.
func eachElement(k *ptx.Builder, n ptx.RegU32, vec, unroll int, f func(i ptx.RegU32, count int) func()) {
	stride := elementThreads * vec
	base := k.CtaidX().Times(stride * unroll)
	left, mine := n.Sub(base), k.TidX().Times(vec) // not base+mine, which may exceed 32 bits
	k.IfElse(k.SetpGeU32(left, ptx.I(stride*unroll)), func() {
		first := base.Add(mine)
		var finish []func()
		for u := range unroll {
			finish = append(finish, f(first.Plus(u*stride), vec))
		}
		for _, end := range finish {
			end()
		}
	}, func() {
		k.For(mine, left, ptx.I(stride), func(i ptx.RegU32) {
			if vec == 1 {
				f(base.Add(i), 1)()
				return
			}
			k.IfElse(k.SetpLeU32(i.Plus(vec), left), func() { f(base.Add(i), vec)() }, func() {
				k.For(i, left, ptx.I(1), func(j ptx.RegU32) { f(base.Add(j), 1)() })
			})
		})
	})
}

// maxGridY is the most blocks that a grid has in y.
const maxGridY = 65535

// rowsPerBlock is how many whole rows of so many items a block takes; at least one,
// whose items blocks in y share.
func rowsPerBlock(items int) int { return max(1, elementThreads/max(1, items)) }

// rowItems is the launch of a kernel that calls eachRowItem.
func rowItems(rows, items int) Launch {
	l := lines(CeilDiv(rows, rowsPerBlock(items)), elementThreads)
	l.Grid[1] = min(CeilDiv(items, 2*elementThreads), maxGridY)
	return l
}

// eachRowItem calls f for the items of rows that are a thread's. perBlock is rowsPerBlock.
func eachRowItem(k *ptx.Builder, rows, items, perBlock ptx.RegU32, f func(row, item ptx.RegU32)) {
	tid := k.TidX()
	local := k.DivU32(tid, items)
	row := k.MadLoU32(k.CtaidX(), perBlock, local)
	k.If(k.SetpLtU32(local, perBlock).And(k.SetpLtU32(row, rows)), func() {
		first := tid.Sub(local.Mul(items)).Add(k.CtaidY().Times(elementThreads))
		k.For(first, items, k.NctaidY().Times(elementThreads), func(i ptx.RegU32) { f(row, i) })
	})
}

// move copies 2, 4, 8 or 16 bytes: it reads, and what it gives writes.
func move(k *ptx.Builder, to, from ptx.GlobalPtr, bytes int) func() {
	switch bytes {
	case 2:
		v := k.LdB16(from)
		return func() { k.StB16(to, v) }
	case 4:
		v := k.LdB32(from)
		return func() { k.StB32(to, v) }
	case 8:
		v := k.LdV2B32(from)
		return func() { k.StV2B32(to, v) }
	case 16:
		v := k.LdV4B32(from)
		return func() { k.StV4B32(to, v) }
	}
	badCount(bytes)
	return nil
}

// convert copies neighbours from one storage to another; equal ones bit by bit.
func convert(k *ptx.Builder, to ptx.GlobalPtr, dst kernels.DType, from ptx.GlobalPtr, src kernels.DType, n int) func() {
	if dst == src {
		return move(k, to, from, n*src.Size())
	}
	x := loads(k, from, src, n)
	return func() { stores(k, to, dst, x) }
}
