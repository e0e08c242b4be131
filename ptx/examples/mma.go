package examples

import "github.com/selkie-ml/selkie/ptx"

// MMAMatmul is c = a*b on tensor cores by mma.sync: a [m][k] and b [k][n] in bf16, c
// [m][n] in f32. k and n are multiples of 8, so that rows are multiples of 16 bytes.
// Tiles of a and b are copied ahead by cp.async, swizzled so that ldmatrix reads
// without bank conflicts. From sm_80 on.
type MMAMatmul struct {
	BM, BN, BK     int // a block's tile of c, and how deep the tiles of a and b are
	WarpsM, WarpsN int // how the block's warps share its tile
	Stages         int // tiles in shared memory
}

func (p MMAMatmul) threads() int { return 32 * p.WarpsM * p.WarpsN }

// tiles is the layout of a stage: a's rows as wide as their swizzle, b's in panels.
func (p MMAMatmul) tiles() (a, b ptx.SharedTile) {
	return ptx.SharedTile{Rows: p.BM, RowBytes: 2 * p.BK, Swizzle: ptx.Swizzle(2 * p.BK)},
		ptx.SharedTile{Rows: p.BK, RowBytes: 2 * p.BN, Swizzle: ptx.Swizzle128}
}

// Launch is the launch for c of m rows and n columns.
func (p MMAMatmul) Launch(m, n int) Launch {
	a, b := p.tiles()
	return Launch{
		Grid:   [3]int{ceilDiv(n, p.BN), ceilDiv(m, p.BM), 1},
		Block:  [3]int{p.threads(), 1, 1},
		Shared: p.Stages * (a.Bytes() + b.Bytes()),
	}
}

// Module emits the kernel matmul_mma(a, b, c, m, n, k).
func (p MMAMatmul) Module() *ptx.Module {
	mod := ptx.NewModule(sm80)
	k := mod.Entry("matmul_mma")
	k.RequireThreads(p.threads())
	a, b, c := k.ParamGlobal("a"), k.ParamGlobal("b"), k.ParamGlobal("c")
	m, n, depth := k.ParamU32("m"), k.ParamU32("n"), k.ParamU32("k")

	tileA, tileB := p.tiles()
	stageBytes := tileA.Bytes() + tileB.Bytes()
	stages := k.DynamicShared(1024).Alloc(p.Stages*stageBytes, 1024)

	tid := k.TidX()
	lane, warp := tid.Mod(32), tid.DivBy(32)
	row0, col0 := k.CtaidY().Times(p.BM), k.CtaidX().Times(p.BN)
	wm, wn := p.BM/p.WarpsM, p.BN/p.WarpsN // a warp's tile
	warpRow, warpCol := warp.DivBy(p.WarpsN).Times(wm), warp.Mod(p.WarpsN).Times(wn)

	// Global to shared memory: the part outside of a and b is filled with zeros.
	copyA := tileA.Copy(tid, p.threads(), depth.Times(2))
	copyB := tileB.Copy(tid, p.threads(), n.Times(2))
	fromA := a.At(k.MulWideU32(row0, depth.Times(2)))
	fromB := b.Elem(col0, ptx.BF16)
	rowsA, chunksB := m.Sub(row0), n.Sub(col0).DivBy(8)
	load := func(tile ptx.RegU32, stage ptx.SharedPtr) {
		k0 := tile.Times(p.BK)
		left := depth.Sub(k0)
		copyA.Issue(stage, fromA.Elem(k0, ptx.BF16), rowsA, left.DivBy(8))
		copyB.Issue(stage.Plus(tileA.Bytes()), fromB.At(k.MulWideU32(k0, n.Times(2))), left, chunksB)
	}

	// Shared memory to registers to tensor cores.
	fragA := tileA.FragmentA(lane, warpRow)
	fragB := tileB.FragmentBTrans(lane, warpCol.DivBy(8))
	acc := make([][4]ptx.RegF32, wm/16*wn/8)
	for i := range acc {
		acc[i] = [4]ptx.RegF32(k.VarsF32(4, ptx.F(0)))
	}
	compute := func(_ ptx.RegU32, stage ptx.SharedPtr) {
		atA, atB := fragA.At(stage), fragB.At(stage.Plus(tileA.Bytes()))
		for kk := 0; kk < p.BK; kk += 16 {
			as := make([][4]ptx.RegB32, wm/16)
			for i := range as {
				as[i] = k.LdmatrixX4(atA.Plus(16*i, kk/8))
			}
			for j := 0; j < wn/8; j += 2 {
				bs := k.LdmatrixX4Trans(atB.Plus(kk, j))
				for i := range as {
					d := acc[i*wn/8+j:]
					k.MmaM16N8K16F32BF16BF16F32To(d[0], as[i], [2]ptx.RegB32{bs[0], bs[1]}, d[0])
					k.MmaM16N8K16F32BF16BF16F32To(d[1], as[i], [2]ptx.RegB32{bs[2], bs[3]}, d[1])
				}
			}
		}
	}

	pipeline := ptx.CpAsyncPipeline{Stages: p.Stages, Bytes: stageBytes, Base: stages}
	pipeline.Run(k, depth.CeilDivBy(p.BK), load, compute)

	// Registers to global memory: a lane holds pairs of row g and of row g+8.
	row := row0.Add(warpRow).Add(lane.DivBy(4))
	col := col0.Add(warpCol).Add(lane.Mod(4).Times(2))
	inCol := make([]ptx.RegPred, wn/8)
	for j := range inCol {
		inCol[j] = k.SetpLtU32(col.Plus(8*j), n)
	}
	for i := range wm / 16 {
		for half := range 2 {
			r := row.Plus(16*i + 8*half)
			to := c.At(k.MulWideU32(r, n.Times(4))).Elem(col, ptx.F32)
			inRow := k.SetpLtU32(r, m)
			for j := range wn / 8 {
				d := acc[i*wn/8+j]
				k.Guard(inRow.And(inCol[j]), func() {
					k.StV2F32(to.Plus(32*j), [2]ptx.RegF32{d[2*half], d[2*half+1]})
				})
			}
		}
	}
	return mod.Module()
}
