package kernel

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Tile is how a block multiplies: its sums c[BM][BN] += Σ_k a[m][k]·b[n][k], in the
// order that ChunkF32 and ChunkMMA state. A line of an operand is a row of a, or a
// column of c for b. Kernels place the operands (see source) and use the sums.
//
// With one 16-bit storage for both, warps multiply by mma; otherwise operands are
// widened to f32 on their way to shared memory, and lanes multiply by fma.
type Tile struct {
	A, B             kernels.DType
	AcrossA, AcrossB bool // the operand is stored [k][line], not [line][k]
	VecA, VecB       bool // its rows are aligned and a multiple of VecElements long

	BM, BN, BK     int // a block's lines of a and of b, and the k of a stage
	WarpsM, WarpsN int // how the block's warps share its sums
	Stages         int // of shared memory, Stages-1 of which are being filled
}

// MMA reports whether a product of these storages is one of tensor cores.
func MMA(a, b kernels.DType) bool { return a == b && a != kernels.F32 }

// Mma reports whether warps multiply by mma.
func (t Tile) Mma() bool { return MMA(t.A, t.B) }

// VecElements is how many neighbours of an operand are copied at once, if they may.
func (t Tile) VecElements() int {
	if t.Mma() {
		return 8
	}
	return 4
}

// Threads of a block.
func (t Tile) Threads() int { return 32 * t.WarpsM * t.WarpsN }

// Shared is the bytes of shared memory that a block needs for its stages.
func (t Tile) Shared() int {
	a, b := t.layouts()
	return t.Stages * (a.Bytes() + b.Bytes())
}

// String is the tile as part of a kernel's name.
func (t Tile) String() string {
	stem := "fma"
	if t.Mma() {
		stem = "mma"
	}
	form := func(across, vec bool) string {
		s := "k"
		if across {
			s = "x"
		}
		if vec {
			s += "v"
		}
		return s
	}
	return name(stem, t.A, t.B, form(t.AcrossA, t.VecA), form(t.AcrossB, t.VecB), fmt.Sprintf("%dx%dx%d", t.BM, t.BN, t.BK),
		fmt.Sprintf("%dx%d", t.WarpsM, t.WarpsN), t.Stages)
}

// tileAlign is what the stages in shared memory must be aligned to.
const tileAlign = 1024

// layouts are the tiles of a and of b in a stage.
func (t Tile) layouts() (a, b ptx.SharedTile) {
	return t.layout(t.BM, t.AcrossA), t.layout(t.BN, t.AcrossB)
}

func (t Tile) layout(lines int, across bool) ptx.SharedTile {
	size := 16 / t.VecElements()
	switch {
	case !across:
		return ptx.SharedTile{Rows: lines, RowBytes: size * t.BK, Swizzle: ptx.Swizzle(min(size*t.BK, 128))}
	case t.Mma():
		return ptx.SharedTile{Rows: t.BK, RowBytes: size * lines, Swizzle: ptx.Swizzle(min(size*lines, 128))}
	}
	return ptx.SharedTile{Rows: t.BK, RowBytes: size * lines}
}

// source places an operand for a block.
type source struct {
	at     ptx.GlobalPtr // of the block's first line, k = 0
	stride ptx.RegU32    // elements from a line to the next, or from a k to the next (Across)
	lines  ptx.RegU32    // that there are from the first on; beyond, zeros
}

// product is a block's product under way.
type product struct {
	Tile
	k          *ptx.Builder
	stages     ptx.SharedPtr
	a, b       *copier
	acc, total []ptx.RegF32 // of the chunk, of all before; in the order of the engine
	engine     engine
	again      bool // add has been called, or is in a loop: the stages may still be read
}

// engine multiplies what a stage holds, and knows which sums a thread has.
type engine interface {
	count() int // sums of a thread
	// first reads ahead in the first stage, whose tiles lie at a and b.
	first(a, b ptx.SharedPtr)
	// turn multiplies a stage. Once it has read all of it, it calls next, which gives
	// the stage that comes after, to read ahead in before the last products.
	turn(a, b ptx.SharedPtr, acc []ptx.RegF32, next func() (a, b ptx.SharedPtr))
	sums(v []ptx.RegF32) sums
}

// begin prepares the product in a block whose stages lie at shared, Shared() bytes
// aligned to tileAlign. Totals start from zero; see sums to change that.
func (t Tile) begin(k *ptx.Builder, shared ptx.SharedPtr) *product {
	p := t.beginAs(k, shared, k.TidX())
	p.total = k.VarsF32(p.engine.count(), ptx.F(0))
	return p
}

// beginAs prepares the product of the threads that tid counts, without totals.
func (t Tile) beginAs(k *ptx.Builder, shared ptx.SharedPtr, tid ptx.RegU32) *product {
	p := &product{Tile: t, k: k, stages: shared}
	if t.Mma() {
		p.engine = newMMA(k, t, tid)
	} else {
		p.engine = newFMA(k, t, tid)
	}
	la, lb := t.layouts()
	p.a = newCopier(k, t, t.A, t.AcrossA, t.VecA, la, tid, nil)
	p.b = newCopier(k, t, t.B, t.AcrossB, t.VecB, lb, tid, t.columnOrder())
	p.acc = k.VarsF32(p.engine.count(), ptx.F(0))
	return p
}

// chunk is how many k are one chain.
func (t Tile) chunk() int {
	n := ChunkF32
	if t.Mma() {
		n = ChunkMMA
	}
	if n%t.BK != 0 || t.Stages < 2 {
		panic(fmt.Sprintf("kernels/cuda/kernel: tile %v: chunks of %d k need a BK that divides them, and 2 stages or more", t, n))
	}
	return n
}

// sums are the thread's totals. Their registers are those of the product: a kernel may
// set them before it adds.
func (p *product) sums() sums { return p.engine.sums(p.total) }

// add adds Σ_k a·b over k < depth to the totals. All threads of the block take part;
// at least one line of each operand exists, unless depth is 0.
func (p *product) add(a, b source, depth ptx.RegU32) {
	k := p.k
	if p.again {
		k.BarSync(0) // the stages of the product before
	}
	p.again = true
	p.a.aim(a)
	p.b.aim(b)
	perChunk := p.chunk() / p.BK
	tiles := depth.CeilDivBy(p.BK)
	ring := p.ring(tiles, func(tile ptx.RegU32) ptx.RegU32 { return tile.Times(p.BK) }, depth, func() { k.BarSync(0) })
	k.For(ptx.I(0), tiles, ptx.I(1), func(tile ptx.RegU32) {
		ring.turn(tile)
		done := tile.Plus(1)
		end := k.SetpEqU32(done.And(ptx.I(perChunk-1)), ptx.I(0))
		k.If(end.Or(k.SetpEqU32(done, tiles)), func() {
			for i := range p.acc {
				k.AddF32To(p.total[i], p.total[i], p.acc[i])
				k.MovF32To(p.acc[i], ptx.F(0))
			}
		})
	})
}

// warp is the thread's warp among those of a tile.
func (t Tile) warp(k *ptx.Builder, tid ptx.RegU32) ptx.RegU32 {
	if t.Threads() == 32 {
		return k.VarU32(ptx.I(0))
	}
	return tid.DivBy(32)
}

// ring is the stages of a product while tiles go through them.
type ring struct {
	*product
	tiles     ptx.RegU32
	at        func(tile ptx.RegU32) ptx.RegU32 // its first k
	depth     ptx.RegU32
	sync      func()     // among the threads that share the stages
	use, fill ptx.RegU32 // offsets of the stages to use and to fill next
}

// ring starts to bring the first tiles.
func (p *product) ring(tiles ptx.RegU32, at func(tile ptx.RegU32) ptx.RegU32, depth ptx.RegU32, sync func()) *ring {
	k, ahead := p.k, p.Stages-1
	r := &ring{product: p, tiles: tiles, at: at, depth: depth, sync: sync}
	for s := range ahead {
		tile := k.VarU32(ptx.I(s))
		k.If(k.SetpLtU32(tile, tiles), func() {
			r.fetch(tile, p.stages.Plus(s*p.bytes()))
			r.put(p.stages.Plus(s * p.bytes()))
		})
		r.commit()
	}
	r.use, r.fill = k.VarU32(ptx.I(0)), k.VarU32(ptx.I(ahead*p.bytes()))
	k.If(k.SetpNeU32(tiles, ptx.I(0)), func() {
		r.arrive()
		r.engine.first(r.operands(p.stages))
	})
	return r
}

// arrive waits for the oldest tile under way and publishes it.
func (r *ring) arrive() {
	if r.async() {
		r.k.CpAsyncWaitGroup(r.Stages - 2)
	}
	r.sync()
}

// turn multiplies a tile. The stage of the one before is filled meanwhile: all have
// read it to the end when the tile after it was published.
func (r *ring) turn(tile ptx.RegU32) {
	k := r.k
	ahead := tile.Plus(r.Stages - 1)
	more := k.SetpLtU32(ahead, r.tiles)
	k.If(more, func() { r.fetch(ahead, r.stages.At(r.fill)) })
	r.commit()
	a, b := r.operands(r.stages.At(r.use))
	r.engine.turn(a, b, r.acc, func() (a, b ptx.SharedPtr) {
		if r.a.staged != nil || r.b.staged != nil {
			k.If(more, func() { r.put(r.stages.At(r.fill)) })
		}
		r.arrive()
		ptx.Set(k, r.fill, r.use)
		after := r.use.Plus(r.bytes())
		after = k.SelpU32(ptx.I(0), after, k.SetpEqU32(after, ptx.I(r.Stages*r.bytes())))
		ptx.Set(k, r.use, k.SelpU32(after, r.use, k.SetpLtU32(tile.Plus(1), r.tiles))) // none after the last
		return r.operands(r.stages.At(r.use))
	})
}

// operands are the tiles of a stage.
func (r *ring) operands(stage ptx.SharedPtr) (a, b ptx.SharedPtr) {
	la, _ := r.layouts()
	return stage, stage.Plus(la.Bytes())
}

// bytes of a stage.
func (t Tile) bytes() int { return t.Shared() / t.Stages }

func (r *ring) fetch(tile ptx.RegU32, stage ptx.SharedPtr) {
	k0 := r.at(tile)
	left := r.depth.Sub(k0)
	a, b := r.operands(stage)
	r.a.fetch(k0, left, a)
	r.b.fetch(k0, left, b)
}

func (r *ring) put(stage ptx.SharedPtr) {
	a, b := r.operands(stage)
	r.a.put(a)
	r.b.put(b)
}

// async reports whether any operand is copied in the background.
func (p *product) async() bool { return p.a.async || p.b.async }

func (p *product) commit() {
	if p.async() {
		p.k.CpAsyncCommitGroup() // empty ones too: groups are counted from the newest
	}
}

// columnOrder is where line i of b's tile in shared memory comes from. A lane's sums
// are those of lines that lie apart; in this order they are neighbours in a row of c,
// and are stored together. Nil for operands stored across, whose lines stay as they are.
func (t Tile) columnOrder() func(i ptx.RegU32) ptx.RegU32 {
	if t.AcrossB {
		return nil
	}
	if t.Mma() {
		return mmaOrder(t)
	}
	return fmaOrder(t)
}

// run is neighbours in a row of a thread's sums: row and col count from sums' own.
type run struct {
	row, col int
	v        []ptx.RegF32
}

// sums are what a thread has of a block's sums.
type sums struct {
	row, col ptx.RegU32 // in the block's tile
	runs     []run      // row by row
}

// each calls atRow for every row of the thread that is one of the first rows of the
// tile, and what that gives for its runs, as far as they lie within cols: so many whole
// neighbours at once, of which cols is a multiple; 1 where rows may begin anywhere.
func (s sums) each(k *ptx.Builder, rows, cols ptx.RegU32, whole int, atRow func(row ptx.RegU32) func(col ptx.RegU32, v []ptx.RegF32)) {
	for i := 0; i < len(s.runs); {
		r := s.row.Plus(s.runs[i].row)
		j := i
		for j < len(s.runs) && s.runs[j].row == s.runs[i].row {
			j++
		}
		of := s.runs[i:j]
		i = j
		k.If(k.SetpLtU32(r, rows), func() {
			f := atRow(r)
			for _, run := range of {
				n := min(whole, len(run.v))
				for e := 0; e < len(run.v); e += n {
					c := s.col.Plus(run.col + e)
					k.If(k.SetpLtU32(c, cols), func() { f(c, run.v[e:][:n]) })
				}
			}
		})
	}
}

// wholeIf is for each: n where vec says that n neighbours may be accessed at once, or else 1.
func wholeIf(vec bool, n int) int {
	if vec {
		return n
	}
	return 1
}

// resume makes sums go on from what lies in memory, f32.
func resume(k *ptx.Builder, from ptx.GlobalPtr, sums []ptx.RegF32) {
	for i, old := range loads(k, from, kernels.F32, len(sums)) {
		ptx.Set(k, sums[i], old)
	}
}
