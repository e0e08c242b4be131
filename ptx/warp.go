//go:build !ptxbootstrap

package ptx

// FullMask names all 32 lanes of a warp.
const FullMask = I(0xffffffff)

// AnyReg32 is any 32-bit register.
type AnyReg32 interface {
	RegB32 | RegU32 | RegS32 | RegF32 | RegF16x2 | RegBF16x2
	AnyReg
	isB32()
}

func shfl[R AnyReg32, P regPtr[R]](k *Builder, mode string, x R, b InI32, c InI32, mask InB32) R {
	d := New[R, P](k)
	k.put("shfl.sync."+mode+".b32", B32, d, x, b, c, mask)
	return d
}

// ShflBfly gives x of the lane whose number differs by the bits of mask; all 32 lanes
// take part. (PTX ISA, "shfl.sync")
func ShflBfly[R AnyReg32, P regPtr[R]](k *Builder, x R, mask InI32) R {
	return shfl[R, P](k, "bfly", x, mask, I(31), FullMask)
}

// ShflDown gives x of the lane n further, or of the lane itself beyond the end.
func ShflDown[R AnyReg32, P regPtr[R]](k *Builder, x R, n InI32) R {
	return shfl[R, P](k, "down", x, n, I(31), FullMask)
}

// ShflUp gives x of the lane n before, or of the lane itself before the start.
func ShflUp[R AnyReg32, P regPtr[R]](k *Builder, x R, n InI32) R {
	return shfl[R, P](k, "up", x, n, I(0), FullMask)
}

// ShflIdx gives x of a lane.
func ShflIdx[R AnyReg32, P regPtr[R]](k *Builder, x R, lane InI32) R {
	return shfl[R, P](k, "idx", x, lane, I(31), FullMask)
}

// VoteAll is true if p is in all lanes of the mask. (PTX ISA, "vote.sync")
func (k *Builder) VoteAll(p RegPred, mask InB32) RegPred {
	d := New[RegPred](k)
	k.put("vote.sync.all.pred", B32, d, p, mask)
	return d
}

// VoteAny is true if p is in any lane of the mask.
func (k *Builder) VoteAny(p RegPred, mask InB32) RegPred {
	d := New[RegPred](k)
	k.put("vote.sync.any.pred", B32, d, p, mask)
	return d
}

// Ballot gathers p of the lanes of the mask, a bit each.
func (k *Builder) Ballot(p RegPred, mask InB32) RegB32 {
	d := New[RegB32](k)
	k.put("vote.sync.ballot.b32", B32, d, p, mask)
	return d
}

// ActiveMask is the lanes that happen to execute together: of no use for synchronising.
func (k *Builder) ActiveMask() RegB32 {
	d := New[RegB32](k)
	k.put("activemask.b32", B32, d)
	return d
}

// WarpSync makes the lanes of the mask wait for each other, and orders their memory
// accesses. (bar.warp.sync)
func (k *Builder) WarpSync(mask InB32) { k.put("bar.warp.sync", B32, mask) }

// ElectOne is true in one lane of the converged warp. (PTX ISA, "elect.sync"; sm_90)
func (k *Builder) ElectOne() RegPred {
	p := New[RegPred](k)
	k.emit("elect.sync", Pair{A: Sink{}, B: p.op()}, FullMask.op())
	return p
}

// BarSync makes all threads of the block wait for each other at one of the barriers
// 0 to 15, and orders their memory accesses. (PTX ISA, "bar, barrier")
func (k *Builder) BarSync(barrier int) { k.put("bar.sync", U32, k.barrier(barrier)) }

// BarSyncThreads is BarSync among n threads of the block, whole warps.
func (k *Builder) BarSyncThreads(barrier, n int) {
	k.put("bar.sync", U32, k.barrier(barrier), k.threads(n))
}

// BarArrive counts the warp in at a barrier for n threads, without waiting.
func (k *Builder) BarArrive(barrier, n int) {
	k.put("bar.arrive", U32, k.barrier(barrier), k.threads(n))
}

func (k *Builder) barrier(n int) I {
	if n < 0 || n > 15 {
		k.fail("bar", "barrier %d, expected 0 to 15", n)
	}
	return I(n)
}

func (k *Builder) threads(n int) I {
	if n <= 0 || n%32 != 0 || n > 1024 {
		k.fail("bar", "%d threads, expected a multiple of 32 up to 1024", n)
	}
	return I(n)
}

// FenceAcqRel orders the thread's memory accesses for observers in scope. (PTX ISA,
// "membar, fence")
func (k *Builder) FenceAcqRel(s Scope) { k.emit("fence.acq_rel." + string(s)) }

// FenceSC is FenceAcqRel, and all such fences have one order.
func (k *Builder) FenceSC(s Scope) { k.emit("fence.sc." + string(s)) }

// WarpReduce combines x of groups of width neighbouring lanes (a power of two, 32 for
// all) so that each gets the result: width 32 takes 5 shuffles. The order is that of a
// butterfly, the same in every lane if combine is commutative.
func WarpReduce[R AnyReg32, P regPtr[R]](k *Builder, x R, width int, combine func(a, b R) R) R {
	if width < 1 || width > 32 || width&(width-1) != 0 {
		k.fail("WarpReduce", "width %d, expected a power of two up to 32", width)
	}
	for m := width / 2; m > 0; m /= 2 {
		x = combine(x, ShflBfly[R, P](k, x, I(m)))
	}
	return x
}

// BlockReduce combines x of all threads of a block of so many warps, and gives each
// the result. The order depends on nothing but the number of warps. scratch holds
// 4*warps bytes, which nobody else may touch until the next barrier after; identity is
// combine's neutral element. It waits at barrier 0 once, and once more first if again
// is true: needed where scratch may still be read from an earlier reduction.
func BlockReduce[R AnyReg32, P regPtr[R]](k *Builder, x R, warps int, identity R, scratch SharedPtr, again bool, combine func(a, b R) R) R {
	x = WarpReduce[R, P](k, x, 32, combine)
	if warps == 1 {
		return x
	}
	if warps < 1 || warps > 32 {
		k.fail("BlockReduce", "%d warps, expected 1 to 32", warps)
	}
	if again {
		k.BarSync(0)
	}
	tid := k.TidX()
	lane := tid.And(I(31))
	own := scratch.Elem(tid.Shr(5), B32)
	k.Guard(k.SetpEqU32(lane, I(0)), func() { st[AnyOperand](k, "b32", B32, own, nil, x) })
	k.BarSync(0)
	width := 1
	for width < warps {
		width *= 2
	}
	y := New[R, P](k)
	slot := lane.And(I(width - 1))
	from := scratch.Elem(slot, B32)
	if width == warps {
		k.emit("ld.shared.b32", AnyReg(y).op(), from.mem())
	} else {
		k.put("mov.b32", B32, y, identity)
		k.Guard(k.SetpLtU32(slot, I(warps)), func() {
			k.emit("ld.shared.b32", AnyReg(y).op(), from.mem())
		})
	}
	return WarpReduce[R, P](k, y, width, combine)
}
