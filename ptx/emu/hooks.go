package emu

// This file is the border between execution and the sanitiser. Execution calls a
// sanitizer; nothing in the sanitiser is called where it is nil, so that checks
// switched off cost nothing. Every instruction has two ways to run: exec.loop, and
// exec.loopChecked, which also keeps the shadow of registers (frame.def).
//
// Who calls when. The methods are called by the goroutine that runs the unit (the
// cluster, or the block) of x; units run at the same time on several goroutines
// unless serial() says that they must not. State belongs in the san fields of
// segment, block, warp and unit, which execution never touches.
//
// The happens-before order that execution establishes is told through sync; that of
// asynchronous copies is known to async_*.go alone.

// A sanitizer watches one launch.
type sanitizer interface {
	// serial says that units must run one after the other.
	serial() bool

	// begin and end bracket the life of a block; its segments exist.
	begin(b *block)
	end(b *block)

	// access is told of every access of memory before it happens, once per segment that
	// the lanes touch. It returns the lanes that may go on; the others load zero
	// and store nothing. For loads it sets a.def, the lanes whose bytes are initialised, per
	// element; for stores a.def holds the lanes whose source register is defined.
	access(x *exec, a *access) uint32

	// after is told of the same access once it has happened, if it is strong: not
	// orderWeak, or atomic.
	after(x *exec, a *access)

	// fault is told of lanes whose address x.addr[lane] lies in no segment, of an access of
	// size bytes, before they are dropped. False ends the launch with an error.
	fault(x *exec, in *inst, lanes uint32, space memSpace, size int) bool

	// misaligned is the same for addresses that are no multiple of align.
	misaligned(x *exec, in *inst, lanes uint32, space memSpace, align int) bool

	// undefined is told of lanes in which an instruction uses a register that was never
	// written, in a way that shows. reg is its shadow number.
	undefined(x *exec, in *inst, lanes uint32, use undefinedUse, reg int32)

	// sync is told of every event that orders threads.
	sync(x *exec, in *inst, e *syncEvent)

	// diverged is told that an instruction which must be executed by all lanes of want
	// together was executed by have; no lane of the rest can come any more.
	diverged(x *exec, in *inst, have, want uint32)

	// badMask is told of a wrong mask of a .sync instruction: lanes execute it
	// without being named in their own mask.
	badMask(x *exec, in *inst, lanes uint32, mask uint32)

	// barrier is told of a misuse of bar and barrier, in words.
	barrier(x *exec, in *inst, problem string)

	// deadlock is told of the groups that wait, when none of a unit can run.
	deadlock(u *unit, waiting []*group)

	// exit is told of threads that end.
	exit(x *exec, in *inst, lanes uint32)
}

// An access is one instruction's touch of one segment.
type access struct {
	in    *inst
	mask  uint32
	space memSpace
	seg   *segment
	off   vec64 // byte offsets in seg.data; of lanes of mask only
	elem  int   // bytes of an element
	count int   // elements per lane: 2 for .v2
	kind  accessKind
	order memOrder
	scope memScope
	async bool // by the asynchronous proxy
	def   [16]uint32
}

// size is the number of bytes that a lane touches.
func (a *access) size() int { return a.elem * a.count }

type accessKind uint8

const (
	accLoad accessKind = iota
	accStore
	accAtomic    // read and write, returning the old value
	accReduction // read and write
	accMatrixLoad
	accMatrixStore
)

type memOrder uint8

const (
	orderWeak memOrder = iota
	orderVolatile
	orderRelaxed
	orderAcquire
	orderRelease
	orderAcqRel
	orderSeqCst
)

type memScope uint8

const (
	scopeNone memScope = iota
	scopeCTA
	scopeCluster
	scopeGPU
	scopeSys
)

// memSpace is where an address points once generic addresses are resolved.
type memSpace uint8

const (
	spaceGeneric memSpace = iota // only where the address is in no window
	spaceGlobal
	spaceConst
	spaceShared
	spaceLocal
	spaceParam // kernel parameters
)

func (s memSpace) String() string {
	return [...]string{"generic", "global", "const", "shared", "local", "param"}[s]
}

// undefinedUse is where an undefined register shows.
type undefinedUse uint8

const (
	useNone undefinedUse = iota
	useAddress
	useBranch // a guard or the index of brx.idx
	useStore  // told through access.def, not through undefined
	useTensor // an operand of a tensor-core instruction
	useSync   // an operand of a barrier or a mask
)

// A syncEvent orders the memory accesses of threads.
type syncEvent struct {
	kind  syncKind
	lanes uint32 // of x.w that take part now
	id    int    // barrier number
	order memOrder
	scope memScope
	proxy string // of fence.proxy: "async", "alias", "tensormap::generic", …; with state space as in "async.shared::cta"

	// For syncBarDone: who had arrived and who waits, by warp of the block.
	arrived, waiting []uint32
	block            *block
	unit             *unit
}

type syncKind uint8

const (
	syncBarArrive     syncKind = iota // lanes arrive at barrier id
	syncBarDone                       // barrier id completes: all arrived happen before all waiting. x.w is meaningless
	syncWarp                          // bar.warp.sync among lanes
	syncCollective                    // shfl.sync and the like: converges, orders no memory
	syncClusterArrive                 // barrier.cluster.arrive; order says release or relaxed
	syncClusterDone                   // all threads of the cluster have arrived
	syncClusterWait                   // lanes pass barrier.cluster.wait
	syncFence                         // membar, fence
	syncGridWait                      // griddepcontrol.wait
)
