package examples

import "github.com/selkie-ml/selkie/ptx"

// WgmmaMatmul is c = a*bᵀ on Hopper: a [m][k], b [n][k] and c [m][n] in bf16, sums in
// f32. One warpgroup brings tiles by tensor copies (TMA), the others multiply them by
// wgmma; they hand stages to each other through mbarriers. With Cluster 2, two blocks
// that work on the same columns bring half of b's tile each and multicast it to both.
// k and n are multiples of 8. For sm_90a.
type WgmmaMatmul struct {
	BM      int // rows of a block's tile: 64 per multiplying warpgroup
	BN      int // columns, a multiple of 64 up to 256
	Stages  int
	Cluster int // blocks that share tiles of b: 1 or 2
}

// depth of a tile: a row of 64 bf16 is as wide as the 128-byte swizzle.
const wgmmaBK = 64

func (p WgmmaMatmul) groups() int { return p.BM / 64 }

func (p WgmmaMatmul) sizes() (a, b, c int) {
	return p.BM * wgmmaBK * 2, p.BN * wgmmaBK * 2, p.BM * p.BN * 2
}

// Launch is the launch for c of m rows and n columns.
func (p WgmmaMatmul) Launch(m, n int) Launch {
	a, b, c := p.sizes()
	return Launch{
		Grid:    [3]int{ceilDiv(ceilDiv(m, p.BM), p.Cluster) * p.Cluster, ceilDiv(n, p.BN), 1},
		Block:   [3]int{128 * (1 + p.groups()), 1, 1},
		Cluster: [3]int{p.Cluster, 1, 1},
		Shared:  p.Stages*(a+b) + c + 16*p.Stages,
	}
}

// Boxes are the rows and columns of the tensor maps' boxes, for a, b and c; all have
// 128-byte swizzles.
func (p WgmmaMatmul) Boxes() (a, b, c [2]int) {
	return [2]int{p.BM, wgmmaBK}, [2]int{p.BN / p.Cluster, wgmmaBK}, [2]int{64, 64}
}

// Module emits the kernel matmul_wgmma(a, b, c, k), the first three tensor maps.
func (p WgmmaMatmul) Module() *ptx.Module {
	mod := ptx.NewModule(sm90a)
	k := mod.Entry("matmul_wgmma")
	k.MaxThreads(128 * (1 + p.groups()))
	k.MinBlocks(1)
	a, b, c := k.ParamTensorMap("a"), k.ParamTensorMap("b"), k.ParamTensorMap("c")
	depth := k.ParamU32("k")

	bytesA, bytesB, bytesC := p.sizes()
	shared := k.DynamicShared(1024)
	stagesA := shared.Alloc(p.Stages*bytesA, 1024)
	stagesB := shared.Alloc(p.Stages*bytesB, 1024)
	tileC := shared.Alloc(bytesC, 1024)
	full, empty := shared.MBarriers(p.Stages), shared.MBarriers(p.Stages)

	tid := k.TidX()
	row0, col0 := k.CtaidX().Times(p.BM), k.CtaidY().Times(p.BN)
	tiles := depth.CeilDivBy(wgmmaBK)
	first := k.SetpEqU32(tid, ptx.I(0))
	k.If(first, func() {
		for s := range p.Stages {
			full.Nth(s).Init(k, 1)
			empty.Nth(s).Init(k, p.groups()*p.Cluster)
		}
		k.FenceMbarrierInit()
	})
	p.sync(k)

	k.IfElse(k.SetpLtU32(tid, ptx.I(128)), func() {
		k.SetMaxNRegDec(40)
		k.If(first, func() {
			stage := k.NewRing(p.Stages, 1)
			k.For(ptx.I(0), tiles, ptx.I(1), func(tile ptx.RegU32) {
				p.waitEmpty(k, stage.Barrier(empty), stage.Parity)
				bar := stage.Barrier(full)
				bar.ArriveExpectTx(k, ptx.I(bytesA+bytesB))
				k0 := tile.Times(wgmmaBK)
				k.TmaLoad(stage.Stage(stagesA, bytesA), a, bar.SharedPtr, k0, row0)
				p.loadB(k, stage.Stage(stagesB, bytesB), b, bar, k0, col0)
				stage.Advance()
			})
		})
	}, func() {
		k.SetMaxNRegInc(232)
		group := tid.DivBy(128).Plus(-1)
		acc := p.multiply(k, tiles, group, stagesA, stagesB, full, empty)
		p.store(k, acc, c, tileC, group, row0, col0)
	})
	if p.Cluster > 1 {
		k.ClusterSync() // others may still arrive at this block's barriers
	}
	return mod.Module()
}

// sync waits for the block, or for the cluster where its blocks meet.
func (p WgmmaMatmul) sync(k *ptx.Builder) {
	if p.Cluster > 1 {
		k.ClusterSync()
	} else {
		k.BarSync(0)
	}
}

// waitEmpty waits until a stage may be filled again, here and where it is multicast to.
func (p WgmmaMatmul) waitEmpty(k *ptx.Builder, bar ptx.MBarrier, parity ptx.RegU32) {
	if p.Cluster > 1 {
		bar.WaitCluster(k, parity)
	} else {
		bar.Wait(k, parity)
	}
}

// loadB copies a tile of b, or this block's share of it to all blocks of the cluster.
func (p WgmmaMatmul) loadB(k *ptx.Builder, dst ptx.SharedPtr, b ptx.TensorMap, bar ptx.MBarrier, k0, col0 ptx.RegU32) {
	if p.Cluster == 1 {
		k.TmaLoad(dst, b, bar.SharedPtr, k0, col0)
		return
	}
	share := p.BN / p.Cluster
	rank := k.ClusterCtaRank()
	mask := k.MovB16(ptx.I(1<<p.Cluster - 1))
	dst = dst.At(rank.Times(share * 2 * wgmmaBK))
	k.TmaLoadMulticast(dst, b, bar.SharedPtr, mask, k0, col0.Add(rank.Times(share)))
}

// multiply is a warpgroup's loop over tiles: its 64 rows of c, in f32.
func (p WgmmaMatmul) multiply(k *ptx.Builder, tiles, group ptx.RegU32, stagesA, stagesB ptx.SharedPtr, full, empty ptx.MBarrier) []ptx.RegF32 {
	bytesA, bytesB, _ := p.sizes()
	op := ptx.WgmmaOp{N: p.BN, Type: ptx.WgmmaBF16}
	acc := k.VarsF32(p.BN/2, ptx.F(0))
	always := k.SetpEqU32(ptx.I(0), ptx.I(0))
	rowsA := stagesA.At(group.Times(64 * wgmmaBK * 2))
	release := func(stage ptx.RegU32) {
		// One thread of the group arrives for all: wgmma's waiting is the group's.
		k.If(k.SetpEqU32(k.TidX().Mod(128), ptx.I(0)), func() {
			bar := empty.Index(stage)
			if p.Cluster == 1 {
				bar.Arrive(k)
				return
			}
			for rank := range p.Cluster {
				bar.ArriveRemote(k, ptx.I(rank))
			}
		})
	}
	use, last := k.NewRing(p.Stages, 0), k.VarU32(ptx.I(0))
	k.For(ptx.I(0), tiles, ptx.I(1), func(tile ptx.RegU32) {
		use.Barrier(full).Wait(k, use.Parity)
		descA := k.WgmmaDesc(use.Stage(rowsA, bytesA), ptx.Swizzle128, 0, 0)
		descB := k.WgmmaDesc(use.Stage(stagesB, bytesB), ptx.Swizzle128, 0, 0)
		k.WgmmaFence()
		for kk := 0; kk < wgmmaBK; kk += op.K() {
			k.Wgmma(op, acc, k.WgmmaDescPlus(descA, 2*kk), k.WgmmaDescPlus(descB, 2*kk), always)
		}
		k.WgmmaCommitGroup()
		// The tile before is multiplied: its stage may be filled again.
		k.WgmmaWaitGroup(1)
		k.If(k.SetpNeU32(tile, ptx.I(0)), func() { release(last) })
		ptx.Set(k, last, use.Index)
		use.Advance()
	})
	k.WgmmaWaitGroup(0)
	return acc
}

// store writes a warpgroup's rows of c: to shared memory by stmatrix, swizzled as the
// tensor map is, and from there by tensor copies of 64 columns.
func (p WgmmaMatmul) store(k *ptx.Builder, acc []ptx.RegF32, c ptx.TensorMap, tileC ptx.SharedPtr, group, row0, col0 ptx.RegU32) {
	tile := ptx.SharedTile{Rows: 64, RowBytes: 2 * p.BN, Swizzle: ptx.Swizzle128}
	base := tileC.At(group.Times(tile.Bytes()))
	thread := k.TidX().Mod(128)
	lane, warp := thread.Mod(32), thread.DivBy(32)
	at := tile.FragmentA(lane, warp.Times(16)).At(base)
	for j := 0; j < p.BN/8; j += 2 {
		var v [4]ptx.RegB32
		for i := range v {
			v[i] = k.PackBF16x2(acc[4*j+2*i], acc[4*j+2*i+1]).AsB32()
		}
		k.StmatrixX4(at.Plus(0, j), v)
	}
	k.FenceProxyAsync()
	p.groupSync(k, group)
	k.If(k.SetpEqU32(thread, ptx.I(0)), func() {
		row := row0.Add(group.Times(64))
		for panel := range p.BN / 64 {
			k.TmaStore(c, base.Plus(panel*64*128), col0.Plus(64*panel), row)
		}
		k.BulkCommitGroup()
		k.BulkWaitGroupRead(0)
	})
}

// groupSync is a barrier among the 128 threads of one multiplying warpgroup.
func (p WgmmaMatmul) groupSync(k *ptx.Builder, group ptx.RegU32) {
	for g := range p.groups() {
		k.If(k.SetpEqU32(group, ptx.I(g)), func() { k.BarSyncThreads(1+g, 128) })
	}
}
