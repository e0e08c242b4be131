//go:build !ptxbootstrap

package ptx

// MBarrier is a barrier object of 8 bytes in shared memory, that counts arrivals and
// bytes of asynchronous copies. Its phases alternate in parity, the first is 0. (PTX ISA,
// "mbarrier"; sm_80, but for what names sm_90)
type MBarrier struct{ SharedPtr }

// MBarriers declares n barriers in static shared memory.
func (k *Builder) MBarriers(name string, n int) MBarrier {
	return MBarrier{k.Shared(name, B64, n, 8)}
}

// MBarriers takes n barriers from the layout.
func (l *SharedLayout) MBarriers(n int) MBarrier { return MBarrier{l.Alloc(8*n, 8)} }

// Nth is the barrier n places further.
func (b MBarrier) Nth(n int) MBarrier { return MBarrier{b.Plus(8 * n)} }

// Index is the barrier i places further.
func (b MBarrier) Index(i RegU32) MBarrier { return MBarrier{b.Elem(i, B64)} }

// Init makes the barrier expect count arrivals a phase. One thread does so, before all
// others are let in by a barrier of the block (or of the cluster, after
// FenceMbarrierInit, where others arrive).
func (b MBarrier) Init(k *Builder, count int) {
	k.emit("mbarrier.init.shared.b64", b.mem(), k.fit("mbarrier.init", 1, U32, I(count)))
}

// Inval ends the barrier's life: its memory may be used for something else.
func (b MBarrier) Inval(k *Builder) { k.emit("mbarrier.inval.shared.b64", b.mem()) }

// Arrive counts one arrival.
func (b MBarrier) Arrive(k *Builder) {
	d := New[RegB64](k)
	k.emit("mbarrier.arrive.shared.b64", d.op(), b.mem())
}

// ArriveExpectTx counts one arrival, and makes the phase wait for so many bytes of
// asynchronous copies. (sm_90)
func (b MBarrier) ArriveExpectTx(k *Builder, bytes InI32) {
	k.emit("mbarrier.arrive.expect_tx.shared.b64", Sink{}, b.mem(), k.fit("mbarrier.arrive.expect_tx", 2, U32, bytes))
}

// ExpectTx makes the phase wait for so many bytes more, without arriving. (sm_90)
func (b MBarrier) ExpectTx(k *Builder, bytes InI32) {
	k.emit("mbarrier.expect_tx.relaxed.cta.shared::cta.b64", b.mem(), k.fit("mbarrier.expect_tx", 1, U32, bytes))
}

// ArriveRemote counts an arrival at this barrier of another block of the cluster, in
// order after the thread's accesses. (sm_90)
func (b MBarrier) ArriveRemote(k *Builder, rank InI32) {
	k.emit("mbarrier.arrive.release.cluster.shared::cluster.b64", Sink{}, k.MapaShared(b.SharedPtr, rank).mem())
}

// CpAsyncArrive makes the barrier's phase complete only when all earlier cp.async of the
// thread have; it counts as one of the expected arrivals.
func (b MBarrier) CpAsyncArrive(k *Builder) {
	k.emit("cp.async.mbarrier.arrive.noinc.shared.b64", b.mem())
}

// TestWait is true if the phase of this parity is complete.
func (b MBarrier) TestWait(k *Builder, parity InI32) RegPred {
	p := New[RegPred](k)
	k.emit("mbarrier.test_wait.parity.shared.b64", p.op(), b.mem(), k.fit("mbarrier.test_wait.parity", 2, U32, parity))
	return p
}

// Wait waits for the phase of this parity to complete: a barrier just made lets parity 1
// pass at once. What others did before arriving, and the bytes of copies, are visible
// then. The wait is a loop, on try_wait where the target has it.
func (b MBarrier) Wait(k *Builder, parity InI32) {
	op := "mbarrier.test_wait.parity.shared.b64"
	if k.Target().SM >= 90 {
		op = "mbarrier.try_wait.parity.shared.b64"
	}
	b.wait(k, op, parity)
}

// WaitCluster is Wait where threads of other blocks arrive (see ArriveRemote). (sm_90)
func (b MBarrier) WaitCluster(k *Builder, parity InI32) {
	b.wait(k, "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64", parity)
}

func (b MBarrier) wait(k *Builder, op string, parity InI32) {
	again := k.newLabel("wait")
	k.label(again)
	p := New[RegPred](k)
	k.emit(op, p.op(), b.mem(), k.fit(op, 2, U32, parity))
	k.branch(p.Not(), again)
}

// FenceMbarrierInit makes initialised barriers visible to the cluster and to tensor
// copies; a barrier of the block or the cluster must follow. (sm_90)
func (k *Builder) FenceMbarrierInit() { k.emit("fence.mbarrier_init.release.cluster") }

// FenceProxyAsync orders the thread's writes to shared memory before what bulk copies
// and wgmma read of it. (PTX ISA, "membar, fence"; sm_90)
func (k *Builder) FenceProxyAsync() { k.emit("fence.proxy.async.shared::cta") }

// Ring walks the stages of a pipeline, with the parity that its barriers have there:
// each pass over all stages is one phase.
type Ring struct {
	k      *Builder
	stages int
	Index  RegU32 // the stage, from 0
	Parity RegU32 // of the phase to wait for
}

// NewRing starts at stage 0. A consumer waits for parity 0 first; a producer for 1,
// which barriers just made let pass.
func (k *Builder) NewRing(stages, parity int) *Ring {
	if stages < 1 || parity&^1 != 0 {
		k.fail("NewRing", "%d stages from parity %d", stages, parity)
	}
	return &Ring{k: k, stages: stages, Index: k.VarU32(I(0)), Parity: k.VarU32(I(parity))}
}

// Advance goes to the next stage, in the registers that hold the ring.
func (r *Ring) Advance() {
	k := r.k
	if r.stages == 1 {
		k.XorB32To(r.Parity, r.Parity, I(1))
		return
	}
	k.AddU32To(r.Index, r.Index, I(1))
	wrap := k.SetpEqU32(r.Index, I(r.stages))
	k.Guard(wrap, func() {
		k.MovU32To(r.Index, I(0))
		k.XorB32To(r.Parity, r.Parity, I(1))
	})
}

// Stage is base + Index*bytes.
func (r *Ring) Stage(base SharedPtr, bytes int) SharedPtr {
	if r.stages == 1 {
		return base
	}
	return SharedPtr{base.narrow(r.Index, bytes)}
}

// Barrier is the stage's barrier among those that start at b.
func (r *Ring) Barrier(b MBarrier) MBarrier {
	if r.stages == 1 {
		return b
	}
	return b.Index(r.Index)
}
