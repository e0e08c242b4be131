package emu

import (
	"math/bits"
	"sync/atomic"

	"github.com/selkie-ml/selkie/ptx"
)

// warpSize is the number of lanes of a warp on every GPU.
const warpSize = 32

const fullMask = 1<<warpSize - 1

type (
	vec32 = [warpSize]uint32
	vec64 = [warpSize]uint64
)

// A unit is what one goroutine runs at a time: a cluster of blocks, or a block that
// is in none.
type unit struct {
	l      *launch
	index  int // position in the grid's order of units
	blocks []*block
	rng    rng
	sched  scheduler
	x      *exec
	alive  int // blocks that have not ended

	steps  int64 // warp-instructions executed: the clock of this unit
	nudges int   // times that nothing could run and waiting was cut short, without progress since
	done   bool
	err    error

	parked     *group // waits for its turn among units
	clusterBar clusterBarrier
	async      any // state of asynchronous copies, owned by async_*.go
	san        any // state of the sanitiser
}

// A block is a thread block (CTA).
type block struct {
	u      *unit
	idx    [3]uint32 // %ctaid
	linear int
	rank   int       // %cluster_ctarank
	dim    [3]uint32 // %ntid
	warps  []*warp
	shared *segment
	live   int // threads that have not exited
	bars   [16]barrier
	async  any // state of asynchronous copies, owned by async_*.go
	san    any // state of the sanitiser
}

// A warp holds 32 lanes that share registers laid out by lane.
type warp struct {
	b      *block
	id     int    // %warpid: position in the block
	exist  uint32 // lanes that are threads
	live   uint32 // lanes that have not exited
	groups []*group
	tid    [3]vec32
	local  *segment // 32 lanes of local memory, lane after lane
	stride int      // bytes of local memory per lane
	recs   []*rec   // points of reconvergence at which lanes wait

	root       *frame
	freeRecs   []*rec
	freeGroups []*group
	colls      []*collective // incomplete
	steps      int64
	tries      int64  // instructions by which a lane may be waiting for another: atomics, strong loads
	atBar      uint32 // lanes that arrived at the cluster barrier in its current phase
	inflight   bool   // wgmma uses registers: each instruction is checked for touching them
	async      any    // state of asynchronous copies, owned by async_*.go
	san        any    // state of the sanitiser
}

// A group is a set of lanes of a warp that execute together: one program counter,
// one stack of calls. Divergence splits groups, reconvergence unites them.
type group struct {
	w     *warp
	mask  uint32
	pc    int32
	f     *frame
	rec   *rec
	state groupState
	wait  waiter
	in    *inst // the instruction that the group waits at
	prio  uint32
}

type groupState uint8

const (
	ready   groupState = iota
	blocked            // waits for an event that makes it ready
	polling            // waits until wait.ready()
	gone
)

// A waiter is what a group that cannot go on waits for.
type waiter interface {
	// ready is asked by the scheduler; true lets the group execute its instruction again.
	ready() bool
	// describe says what is waited for, as "mbarrier at shared 0x40, phase 1".
	describe() string
}

// A rec is a point at which groups that diverged should meet again: the immediate
// post-dominator of the branch, or the return of a call. Lanes that arrive wait
// here, without a group. Waiting is soft: the scheduler may let them go on, so that
// lanes which spin until others act cannot block those others.
type rec struct {
	up      *rec
	f       *frame
	pc      int32
	want    uint32 // lanes still expected or already here
	arrived uint32
	listed  bool  // in warp.recs
	since   int64 // warp.steps at the last arrival
	tries   int64 // warp.tries at the last arrival
	call    bool  // the return of a call
}

// A frame holds the registers of one activation of a function, for the lanes that
// called it together.
type frame struct {
	fn    *fn
	r32   []vec32
	r64   []vec64
	p     []uint32 // predicates, a bit per lane
	def   []uint32 // lanes in which a register was written; by shadow number; nil without checks
	up    *frame
	ret   int32  // program counter in up
	lanes uint32 // that have not returned
	base  uint32 // of its local memory
	top   uint32 // of its local memory; alloca moves it
	call  *callSite
}

// An inst is a lowered instruction.
type inst struct {
	run           func(x *exec, in *inst)
	d, a, b, c, e int32 // register slots
	guard         int32 // slot of the guard predicate, or -1
	not           uint32
	flags         instFlags
	pc            int32
	imm           uint64
	aux           any
	src           *ptx.Instr
	key           *instKey // in profiles, once one has it

	uses, sets []int32 // shadow numbers of the registers read and written
	addr       []int32 // shadow numbers of the registers that hold addresses
	sink       undefinedUse
	counts     uint8 // 1: counts as an executed instruction
}

type instFlags uint16

const (
	flagJoin    instFlags = 1 << iota // groups may meet before it
	flagOrdered                       // other blocks see it: its order among blocks is fixed by the seed
	flagSelfDef                       // run itself records which lanes it wrote (loads)
	flagHelper                        // made by lowering: counts as no instruction
	flagMemory
	flagTensor
)

type stopReason uint8

const (
	stopNone    stopReason = iota
	stopYield              // the group goes on later
	stopBlocked            // the group waits
	stopGone               // the group is no more
	stopSwitch             // the frame or the program counter changed
	stopOrdered            // the unit waits for its turn among units
	stopFault              // the launch fails
)

// exec is the state of the goroutine that runs a unit: the group it executes now,
// unpacked for speed.
type exec struct {
	l      *launch
	u      *unit
	b      *block
	w      *warp
	g      *group
	f      *frame
	code   []inst
	r32    []vec32
	r64    []vec64
	p      []uint32
	def    []uint32
	pc     int32
	mask   uint32 // lanes that execute this instruction
	active uint32 // lanes of the group
	stop   stopReason

	parallel bool // other units run at the same time
	san      sanitizer
	err      error

	acc    access
	segs   [segCache]*segment // of global or constant memory, as instructions touched them last
	untold bool               // neither sanitiser nor profile wants to know of accesses
	frames [][]*frame         // to be used again, by function
	spare  []*block           // that have ended, whose memory is used again
	queue  []*group           // memory of the next unit's scheduler
	prof   *unitProfile

	turnStart int64 // warpInsts when this turn began

	warpTotal          atomic.Int64 // warpInsts, for others to read
	divergences        int64
	addr               vec64 // addresses of the instruction being executed
	threads, warpInsts int64
	t32                [16]vec32
	t64                [8]vec64
	frag               [4][]*vec32 // registers of fragments
	frag64             [4][]*vec64
}

func popcount(m uint32) int { return bits.OnesCount32(m) }

// firstLane is the lowest lane of a mask that is not empty.
func firstLane(m uint32) int { return bits.TrailingZeros32(m) & 31 }
