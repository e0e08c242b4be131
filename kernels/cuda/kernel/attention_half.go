package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// AttentionHalf reports whether attention of these storages and this head dimension is
// a matter of tensor cores: what follows from them alone, so that every kernel that a
// row may meet does the same.
func AttentionHalf(q, kv kernels.DType, headDim int) bool {
	return MMA(q, kv) && headDim%16 == 0 && headDim <= 128
}

// halfTile is rows of dim 16-bit elements in shared memory, a chunk of 16 bytes apart
// beyond that, so that ldmatrix finds eight rows in different banks; and how threads,
// of which tid is one, copy them there.
type halfTile struct {
	k            *ptx.Builder
	dim, threads int
	aligned      bool // rows start at multiples of 16 bytes: copies are asynchronous
	shared       ptx.SharedTile
	tid          ptx.RegU32
	row, chunk   ptx.RegU32 // the thread's first, and its first chunk in each of its rows
	to           ptx.RegU32
}

func newHalfTile(k *ptx.Builder, tid ptx.RegU32, dim, rows, threads int, aligned bool) *halfTile {
	h := &halfTile{k: k, tid: tid, dim: dim, threads: threads, aligned: aligned, shared: ptx.SharedTile{Rows: rows, RowBytes: 2 * dim, Pitch: 2*dim + 16}}
	h.row, h.chunk = tid.DivBy(h.perRow()), tid.Mod(h.perRow())
	h.to = k.MadLoU32(h.row, ptx.I(h.shared.Pitch), h.chunk.Times(16))
	return h
}

func (h *halfTile) bytes() int { return h.shared.Bytes() }

// perRow is the threads that share a row: a power of two that divides its chunks.
func (h *halfTile) perRow() int {
	n := h.dim / 8
	return min(n&-n, h.threads)
}

// copy copies rows, stride elements apart, and zeros from row valid on. Copies of aligned
// rows are asynchronous; whoever wants them waits for the thread's and then for the others.
func (h *halfTile) copy(dst ptx.SharedPtr, src ptx.GlobalPtr, stride, valid ptx.RegU32) {
	k := h.k
	if !h.aligned {
		h.copyElements(dst, src, stride, valid)
		return
	}
	step := h.threads / h.perRow() // rows further, the same thread
	passes := CeilDiv(h.shared.Rows, step)
	together := min(passes, max(1, 8*h.perRow()*8/h.dim)) // 8 copies between branches
	from := src.At(k.MadWideU32(h.row, stride.Times(2), h.chunk.Times(16).U64()))
	to, fromStep := dst.At(h.to), k.MulWideU32(stride, ptx.I(2*step))
	pass := func(row ptx.RegU32, to ptx.SharedPtr, from ptx.GlobalPtr) {
		in := k.SetpLtU32(row, valid)
		at := k.SelpB64(from.Value(), src.Value(), in).AsU64().AsGlobal() // an address that exists
		size := k.SelpB32(ptx.I(16), ptx.I(0), in).AsU32()
		for c := 0; c < h.dim/8; c += h.perRow() {
			k.CpAsyncCGZfill(to.Plus(16*c), at.Plus(16*c), size)
		}
	}
	some := func(row ptx.RegU32, to ptx.SharedPtr, from ptx.GlobalPtr) ptx.GlobalPtr {
		for i := range together {
			pass(row.Plus(i*step), to.Plus(i*step*h.shared.Pitch), from)
			from = from.At(fromStep)
		}
		return from
	}
	switch {
	case step > h.shared.Rows:
		k.If(k.SetpLtU32(h.row, ptx.I(h.shared.Rows)), func() { pass(h.row, to, from) })
	case together == passes:
		some(h.row, to, from)
	default:
		at := k.VarU64(from.Value())
		k.For(ptx.I(0), ptx.I(passes*step), ptx.I(together*step), func(row ptx.RegU32) {
			k.MovU64To(at, some(row.Add(h.row), to.At(row.Times(h.shared.Pitch)), at.AsGlobal()).Value())
		})
	}
}

// copyElements is copy for rows that are not aligned, through registers.
func (h *halfTile) copyElements(dst ptx.SharedPtr, src ptx.GlobalPtr, stride, valid ptx.RegU32) {
	k := h.k
	per := h.dim / 8
	k.For(h.tid, ptx.I(h.shared.Rows*per), ptx.I(h.threads), func(u ptx.RegU32) {
		row, chunk := u.DivBy(per), u.Mod(per)
		from := src.At(k.MadWideU32(row, stride.Times(2), chunk.Times(16).U64()))
		var words [4]ptx.RegB32
		for i := range words {
			words[i] = k.VarB32(ptx.I(0))
		}
		k.If(k.SetpLtU32(row, valid), func() {
			for i := range words {
				k.MovB32To(words[i], pair(k, from.Plus(4*i), false))
			}
		})
		k.StV4B32(dst.At(k.MadLoU32(row, ptx.I(h.shared.Pitch), chunk.Times(16))), words)
	})
}

// pair reads two neighbouring elements of 16 bits, at once if their address is even in
// elements.
func pair(k *ptx.Builder, at ptx.GlobalPtr, even bool) ptx.RegB32 {
	if even {
		return k.LdB32(at)
	}
	return k.PackB32B16x2([2]ptx.RegB16{k.LdB16(at), k.LdB16(at.Plus(2))})
}

// makeFinite replaces what is not finite by 0.
func (h *halfTile) makeFinite(tile ptx.SharedPtr, dt kernels.DType) {
	k := h.k
	per := h.dim / 2
	k.For(h.tid, ptx.I(h.shared.Rows*per), ptx.I(h.threads), func(u ptx.RegU32) {
		at := tile.At(k.MadLoU32(u.DivBy(per), ptx.I(h.shared.Pitch), u.Mod(per).Times(4)))
		word := k.LdB32(at)
		lo, hi := unpack(k, word, dt)
		keep := k.SelpB32(ptx.I(0xffff), ptx.I(0), k.TestpFiniteF32(lo))
		keep = k.OrB32(keep, k.SelpB32(ptx.I(0xffff0000), ptx.I(0), k.TestpFiniteF32(hi)))
		k.StB32(at, k.AndB32(word, keep))
	})
}

// halfRows is the part of a warp in a product of 16 rows: sums by 8 columns, of which a
// lane has columns 2t and 2t+1 in rows g and g+8, g = lane/4, t = lane%4.
type halfRows [][4]ptx.RegF32

func zeroRows(k *ptx.Builder, cols int) halfRows {
	r := make(halfRows, cols/8)
	for i := range r {
		r[i] = [4]ptx.RegF32(k.VarsF32(4, ptx.F(0)))
	}
	return r
}

// byRow lists a lane's sums of its two rows; column(i) is the place of the i-th of each,
// counted from 2t.
func (r halfRows) byRow() [][]ptx.RegF32 {
	rows := make([][]ptx.RegF32, 2)
	for _, d := range r {
		rows[0] = append(rows[0], d[0], d[1])
		rows[1] = append(rows[1], d[2], d[3])
	}
	return rows
}

func halfColumn(i int) int { return i/2*8 + i%2 }

// addProduct adds a·bᵀ, a in fragments of 16 k, b's rows in shared memory from a place on.
func (r halfRows) addProduct(k *ptx.Builder, dt kernels.DType, a func(kk int) [][4]ptx.RegB32, b []ptx.TileAt, terms [][2]int, depth int) {
	for kk := 0; kk < depth; kk += 16 {
		as := a(kk)
		for j := 0; j < len(r); j += 2 {
			bs := make([][4]ptx.RegB32, len(b))
			for i := range b {
				bs[i] = k.LdmatrixX4(b[i].Plus(8*j, kk/8))
			}
			for _, t := range terms {
				mma(k, dt, r[j], as[t[0]], [2]ptx.RegB32(bs[t[1]][:2]))
				mma(k, dt, r[j+1], as[t[0]], [2]ptx.RegB32(bs[t[1]][2:]))
			}
		}
	}
}

// weights are numbers of a warp's rows as operand A, in two parts whose sum they are to
// 16 bits and more: rounding to bf16 alone would be coarser than what f32 sums allow.
type weights [2][][4]ptx.RegB32 // [large and small part][16 k]

func splitWeights(k *ptx.Builder, dt kernels.DType, r halfRows) (w weights) {
	part := func(a, b ptx.RegF32) (large, small ptx.RegB32) {
		large = pack(k, a, b, dt)
		x, y := unpack(k, large, dt)
		return large, pack(k, k.SubF32(a, x), k.SubF32(b, y), dt)
	}
	for i := 0; i < len(r); i += 2 {
		var large, small [4]ptx.RegB32
		for j, v := range [4][2]ptx.RegF32{{r[i][0], r[i][1]}, {r[i][2], r[i][3]}, {r[i+1][0], r[i+1][1]}, {r[i+1][2], r[i+1][3]}} {
			large[j], small[j] = part(v[0], v[1])
		}
		w[0], w[1] = append(w[0], large), append(w[1], small)
	}
	return w
}

// times is Σ_k w[row][k]·b[k][col] for the 16 columns from col on, b's rows in shared memory; terms
// are the parts of w and of b to multiply.
func (w weights) times(k *ptx.Builder, dt kernels.DType, b []ptx.TileAt, terms [][2]int, col int) halfRows {
	part := zeroRows(k, 16)
	for i := range w[0] {
		bs := make([][4]ptx.RegB32, len(b))
		for j := range b {
			bs[j] = k.LdmatrixX4Trans(b[j].Plus(16*i, col/8))
		}
		for _, t := range terms {
			mma(k, dt, part[0], w[t[0]][i], [2]ptx.RegB32(bs[t[1]][:2]))
			mma(k, dt, part[1], w[t[0]][i], [2]ptx.RegB32(bs[t[1]][2:]))
		}
	}
	return part
}
