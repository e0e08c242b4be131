package emu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
)

// Dim is an extent in x, y and z; zero counts as one.
type Dim [3]int

func (d Dim) norm() [3]uint32 {
	var o [3]uint32
	for i, v := range d {
		o[i] = uint32(max(v, 1))
	}
	return o
}

func product(d [3]uint32) int { return int(d[0]) * int(d[1]) * int(d[2]) }

// A Launch says how to run a kernel.
type Launch struct {
	Kernel  string // name of the entry; may be empty where the module has one
	Grid    Dim    // blocks
	Block   Dim    // threads of a block
	Cluster Dim    // blocks of a cluster; zero: as the kernel says, or none
	Shared  int    // bytes of dynamic shared memory
}

// Bytes is an argument passed as it is: a struct by value, a tensor map.
type Bytes []byte

// Packed, as the only argument, is the block of all parameters as the kernel declares them,
// each at a multiple of its alignment.
type Packed []byte

// launch is a grid being run.
type launch struct {
	dev       *Device
	kernel    *fn
	layout    *kernelLayout
	table     *segmentTable
	params    *segment
	grid      [3]uint32
	block     [3]uint32
	cluster   [3]uint32
	clustered bool // explicitly
	dynamic   int
	number    int64
	nunits    int
	san       sanitizer
	prof      *launchProfile
	execs     []*exec

	mu       sync.Mutex
	findings []*Finding
}

// Launch runs a grid and returns when it has ended. Arguments are Ptr, integers and floats of the
// width of the parameter, and Bytes for aggregates. The error says why the grid could not run to
// its end: a fault, a trap, a deadlock, the budget. Findings of the sanitiser are no error.
func (mod *Module) Launch(l Launch, args ...any) error {
	d := mod.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	return mod.run(l, args)
}

func (mod *Module) run(spec Launch, args []any) error {
	d := mod.dev
	if spec.Kernel == "" {
		if ks := mod.Kernels(); len(ks) == 1 {
			spec.Kernel = ks[0]
		}
	}
	k := mod.fns[spec.Kernel]
	if k == nil || !k.src.Entry || k.src.Body == nil {
		return fmt.Errorf("emu: %s has no kernel %q; it has %v", fileName(mod.src), spec.Kernel, mod.Kernels())
	}
	l := &launch{dev: d, kernel: k, layout: k.layout, table: &d.table, grid: spec.Grid.norm(), block: spec.Block.norm(), cluster: spec.Cluster.norm(), dynamic: spec.Shared}
	if err := l.check(spec); err != nil {
		return err
	}
	p, err := packParams(k, args)
	if err != nil {
		return err
	}
	l.params = &segment{base: paramWindow, data: p, name: "parameters of " + k.name, space: spaceParam, readOnly: true}
	d.launches++
	l.number = d.launches
	if d.cfg.Checks != 0 {
		l.san = newWatch(l)
	}
	if d.cfg.Profile {
		l.prof = newLaunchProfile(l)
	}
	err = l.execute()
	for _, f := range l.findings {
		f.Launch, f.Kernel = l.number, k.name
		d.findings.add(f)
	}
	if l.prof != nil {
		d.profile = l.prof.merge(d.profile)
	}
	if err == nil {
		l.giveBack()
	}
	return err
}

func (l *launch) check(spec Launch) error {
	k := l.kernel
	bad := func(format string, args ...any) error {
		return fmt.Errorf("emu: launch of %s: "+format, append([]any{k.name}, args...)...)
	}
	for _, d := range []Dim{spec.Grid, spec.Block, spec.Cluster} {
		for _, v := range d {
			if v < 0 {
				return bad("negative extent in %v", d)
			}
		}
	}
	if n := product(l.block); n > 1024 || l.block[2] > 64 {
		return bad("block %v has %d threads; at most 1024 are allowed, 64 in z", l.block, n)
	}
	if l.grid[0] > math.MaxInt32 || l.grid[1] > 65535 || l.grid[2] > 65535 {
		return bad("grid %v is larger than 2147483647, 65535, 65535", l.grid)
	}
	if len(k.reqTid) > 0 {
		want := [3]uint32{1, 1, 1}
		for i, v := range k.reqTid {
			want[i] = uint32(v)
		}
		if want != l.block {
			return bad("block %v, but .reqntid demands %v", l.block, want)
		}
	}
	if len(k.maxTid) > 0 {
		n := 1
		for _, v := range k.maxTid {
			n *= int(v)
		}
		if product(l.block) > n {
			return bad("block %v has more threads than .maxntid allows: %d", l.block, n)
		}
	}
	l.clustered = spec.Cluster != Dim{}
	if len(k.reqCluster) > 0 {
		want := [3]uint32{1, 1, 1}
		for i, v := range k.reqCluster {
			want[i] = uint32(v)
		}
		if l.clustered && want != l.cluster {
			return bad("cluster %v, but .reqnctapercluster demands %v", l.cluster, want)
		}
		l.cluster, l.clustered = want, true
	}
	if n := product(l.cluster); n > 16 {
		return bad("cluster %v has %d blocks; at most 16 are allowed", l.cluster, n)
	}
	if l.clustered && product(l.cluster) > 1 && l.dev.gpu.SM < 90 {
		return bad("clusters need sm_90 or later; the device is %s", l.dev.gpu.Name)
	}
	for i := range l.grid {
		if l.grid[i]%l.cluster[i] != 0 {
			return bad("grid %v is no multiple of cluster %v", l.grid, l.cluster)
		}
	}
	if n := l.layout.used + l.dynamic; n > l.dev.gpu.SharedBytes {
		return bad("%d bytes of static and %d of dynamic shared memory are more than the %d of %s", l.layout.used, l.dynamic, l.dev.gpu.SharedBytes, l.dev.gpu.Name)
	}
	if l.dynamic < 0 {
		return bad("%d bytes of dynamic shared memory", l.dynamic)
	}
	l.nunits = product(l.grid) / product(l.cluster)
	return nil
}

// packParams lays out the arguments as the kernel declares its parameters.
func packParams(k *fn, args []any) ([]byte, error) {
	if len(args) == 1 {
		if b, ok := args[0].(Packed); ok {
			if len(b) != k.size {
				return nil, fmt.Errorf("emu: launch of %s with a block of %d bytes; its parameters take %d", k.name, len(b), k.size)
			}
			return slices.Clone(b), nil
		}
	}
	if len(args) != len(k.params) {
		return nil, fmt.Errorf("emu: launch of %s with %d arguments; it has %d parameters", k.name, len(args), len(k.params))
	}
	buf := make([]byte, k.size)
	for i, a := range args {
		p := k.params[i]
		b, err := argBytes(a)
		if err != nil {
			return nil, fmt.Errorf("emu: launch of %s: argument %d: %w", k.name, i, err)
		}
		if len(b) != p.size {
			return nil, fmt.Errorf("emu: launch of %s: argument %d is %T of %d bytes; parameter %s has %d", k.name, i, a, len(b), p.v.Name, p.size)
		}
		copy(buf[p.off:], b)
	}
	return buf, nil
}

func argBytes(a any) ([]byte, error) {
	switch v := a.(type) {
	case Bytes:
		return v, nil
	case []byte:
		return v, nil
	case nil:
		return make([]byte, 8), nil
	case Ptr:
		return binary.LittleEndian.AppendUint64(nil, uint64(v)), nil
	case int:
		return nil, errors.New("int has no fixed width; pass int32 or int64")
	case uint:
		return nil, errors.New("uint has no fixed width; pass uint32 or uint64")
	case bool:
		if v {
			return []byte{1}, nil
		}
		return []byte{0}, nil
	}
	switch reflect.TypeOf(a).Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Struct, reflect.Array:
		b, err := binary.Append(nil, binary.LittleEndian, a)
		if err != nil {
			return nil, fmt.Errorf("%T is not supported: %w", a, err)
		}
		return b, nil
	}
	return nil, fmt.Errorf("%T is not supported; pass Ptr, a number of fixed width, or Bytes", a)
}

// Units that are run together, in rounds: each runs until an instruction whose
// order among blocks matters, then those are executed one by one in an order
// given by the seed. So results do not depend on the number of workers.
const (
	firstResident = 16
	roundSteps    = 1 << 18 // warp-instructions
	shortRound    = 1 << 14
	patientRounds = 64 // in which no block ends, before more of them begin
)

func (l *launch) execute() error {
	workers := l.dev.cfg.Workers
	if l.san != nil && l.san.serial() {
		workers = 1
	}
	workers = min(workers, l.nunits)
	execs := make([]*exec, workers)
	for i := range execs {
		execs[i] = l.takeExec()
	}
	defer func() {
		for _, x := range execs {
			l.dev.threadInsts += x.threads
			l.dev.warpInsts += x.warpInsts
		}
		l.execs = execs
	}()
	r := newRNG(l.dev.cfg.Seed^0x5bf0, l.nunits)
	if !l.layout.ordered && l.nunits > 1 {
		return l.runIndependent(execs)
	}
	next, limit, fruitless := 0, firstResident, 0
	short := false
	var active []*unit
	for {
		for len(active) < limit && next < l.nunits {
			active = append(active, &unit{l: l, index: next})
			next++
		}
		if len(active) == 0 {
			return nil
		}
		alone := l.nunits == 1
		stops := make([]stopReason, len(active))
		step := func(x *exec, i int) {
			u := active[i]
			if u.x == nil {
				l.start(x, u)
			}
			x.adopt(u)
			x.parallel = !alone
			stops[i] = u.run(roundSteps)
		}
		// Rounds that stop soon are not worth waking others.
		before := l.total(execs)
		if workers == 1 || short {
			for i := range active {
				step(execs[0], i)
			}
		} else {
			l.each(execs, len(active), step)
		}
		short = l.total(execs)-before < shortRound
		for _, u := range active {
			if u.err != nil {
				return u.err
			}
		}
		if l.total(execs) > l.dev.cfg.Budget {
			return l.budgetError(active)
		}
		// The serial phase.
		order := make([]int, len(active))
		for i := range order {
			order[i] = i
		}
		if l.dev.cfg.Schedule != RoundRobin {
			for i := len(order) - 1; i > 0; i-- {
				j := r.intn(i + 1)
				order[i], order[j] = order[j], order[i]
			}
		}
		exhausted, finished := 0, 0
		for _, i := range order {
			u := active[i]
			switch stops[i] {
			case stopOrdered:
				x := execs[0]
				x.adopt(u)
				x.parallel = false
				u.runParked()
				if u.err != nil {
					return u.err
				}
			case stopYield:
				exhausted++
			case stopGone:
				finished++
			}
		}
		kept := active[:0]
		for _, u := range active {
			if !u.done {
				kept = append(kept, u)
			}
		}
		clear(active[len(kept):])
		active = kept
		// Blocks that run long may wait for one that has not begun.
		if fruitless++; finished > 0 {
			fruitless = 0
		}
		if exhausted > 0 || finished == len(stops) || fruitless == patientRounds {
			fruitless = 0
			limit = min(2*limit, l.nunits)
		}
	}
}

// runIndependent runs units in any order: nothing in the kernel makes it visible.
func (l *launch) runIndependent(execs []*exec) error {
	var next atomic.Int64
	var failed atomic.Int64
	failed.Store(int64(l.nunits))
	errs := make([]error, l.nunits)
	work := func(x *exec) {
		for {
			i := int(next.Add(1) - 1)
			if i >= l.nunits || int64(i) > failed.Load() {
				return
			}
			u := &unit{l: l, index: i}
			l.start(x, u)
			x.adopt(u)
			x.parallel = len(execs) > 1
			for {
				stop := u.run(roundSteps)
				if l.total(execs) > l.dev.cfg.Budget && stop == stopYield {
					u.err = l.budgetError([]*unit{u})
				}
				if u.err != nil {
					errs[i] = u.err
					for f := failed.Load(); int64(i) < f && !failed.CompareAndSwap(f, int64(i)); f = failed.Load() {
					}
					return
				}
				if stop == stopGone {
					break
				}
			}
		}
	}
	if len(execs) == 1 {
		work(execs[0])
	} else {
		var wg sync.WaitGroup
		for _, x := range execs {
			wg.Go(func() { work(x) })
		}
		wg.Wait()
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *launch) each(execs []*exec, n int, f func(x *exec, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for _, x := range execs {
		wg.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				f(x, i)
			}
		})
	}
	wg.Wait()
}

func (l *launch) total(execs []*exec) int64 {
	n := int64(0)
	for _, x := range execs {
		n += x.warpTotal.Load()
	}
	return n
}

func (l *launch) budgetError(active []*unit) error {
	u := active[0]
	for _, o := range active {
		if o.steps > u.steps {
			u = o
		}
	}
	e := &LaunchError{Kernel: l.kernel.name, File: l.kernel.mod.src.File,
		Msg: fmt.Sprintf("the budget of %d warp-instructions is spent: a loop without end? See Config.Budget", l.dev.cfg.Budget)}
	for _, b := range u.blocks {
		for _, w := range b.warps {
			for _, g := range w.groups {
				if g.state != gone && int(g.pc) < len(g.f.fn.code) {
					in := &g.f.fn.code[g.pc]
					e.Block, e.Thread, e.Pos, e.Instr = b.idx, w.thread(firstLane(g.mask)), in.src.Pos, instrString(in.src)
				}
			}
		}
	}
	return e
}

// takeExec gives an exec of an earlier launch, whose memory is used again, or a new one.
func (l *launch) takeExec() *exec {
	mod := l.kernel.mod
	x := &exec{}
	if n := len(mod.idle); n > 0 {
		x = mod.idle[n-1]
		mod.idle = mod.idle[:n-1]
		*x = exec{frames: x.frames, spare: x.spare, queue: x.queue}
	} else {
		x.frames = make([][]*frame, len(mod.byAddr))
	}
	x.l, x.san = l, l.san
	if l.prof != nil {
		x.prof = l.prof.newUnit(x)
	}
	x.untold = x.san == nil && x.prof == nil
	return x
}

// spareBlocks is how many blocks, and frames of a function, an exec keeps for later ones.
const spareBlocks = 16

// giveBack keeps the execs of a launch that ended well.
func (l *launch) giveBack() {
	for _, x := range l.execs {
		for i, fs := range x.frames {
			if most := spareBlocks * product(l.block) / warpSize; len(fs) > most {
				clear(fs[most:])
				x.frames[i] = fs[:most]
			}
		}
		*x = exec{frames: x.frames, spare: x.spare, queue: x.queue}
	}
	l.kernel.mod.idle = l.execs
}

// adopt makes x the exec of a unit.
func (x *exec) adopt(u *unit) {
	x.u, u.x = u, x
	x.err = nil
}

// start makes the blocks of a unit.
func (l *launch) start(x *exec, u *unit) {
	x.adopt(u)
	u.rng = newRNG(l.dev.cfg.Seed, u.index)
	u.sched.kind = l.dev.cfg.Schedule
	u.sched.ready, x.queue = x.queue[:0], nil
	per := [3]uint32{l.grid[0] / l.cluster[0], l.grid[1] / l.cluster[1], l.grid[2] / l.cluster[2]}
	i := uint32(u.index)
	cl := [3]uint32{i % per[0], i / per[0] % per[1], i / per[0] / per[1]}
	rank := 0
	for cz := range l.cluster[2] {
		for cy := range l.cluster[1] {
			for cx := range l.cluster[0] {
				idx := [3]uint32{cl[0]*l.cluster[0] + cx, cl[1]*l.cluster[1] + cy, cl[2]*l.cluster[2] + cz}
				b := x.takeBlock()
				b.u, b.idx, b.rank, b.linear = u, idx, rank, int(idx[0]+l.grid[0]*(idx[1]+l.grid[1]*idx[2]))
				rank++
				u.blocks = append(u.blocks, b)
			}
		}
	}
	for _, b := range u.blocks {
		l.startBlock(x, b)
	}
	u.alive = len(u.blocks)
}

func (l *launch) startBlock(x *exec, b *block) {
	threads := product(l.block)
	b.live = threads
	if b.dim != l.block {
		b.warps = nil
		ws := make([]warp, (threads+warpSize-1)/warpSize)
		for i := range ws {
			w := &ws[i]
			w.id, w.exist = i, fullMask
			if n := threads - i*warpSize; n < warpSize {
				w.exist = 1<<n - 1
			}
			for lane := range warpSize {
				t := uint32(i*warpSize + lane)
				w.tid[0][lane] = t % l.block[0]
				w.tid[1][lane] = t / l.block[0] % l.block[1]
				w.tid[2][lane] = t / l.block[0] / l.block[1]
			}
			w.local = &segment{base: localWindow, space: spaceLocal}
			b.warps = append(b.warps, w)
		}
	}
	b.dim = l.block
	b.shared.reset(max(l.layout.static, l.layout.dynamic+l.dynamic))
	b.shared.base = uint64(b.rank) << rankShift
	for _, w := range b.warps {
		*w = warp{b: b, id: w.id, exist: w.exist, live: w.exist, tid: w.tid, local: w.local, stride: l.kernel.local,
			groups: w.groups[:0], recs: w.recs[:0], freeRecs: w.freeRecs, freeGroups: w.freeGroups, colls: w.colls[:0]}
		w.local.reset(w.stride * warpSize)
	}
	x.b = b
	if l.san != nil {
		l.san.begin(b)
	}
	for _, w := range b.warps {
		x.w = w
		f := x.newFrame(l.kernel, 0, w.exist)
		w.root = f
		b.u.sched.add(w.newGroup(w.exist, 0, f, nil))
	}
}

// finish gives back what a unit held.
func (u *unit) finish() {
	for _, b := range u.blocks {
		for _, w := range b.warps {
			u.x.freeFrame(w.root)
		}
		if len(u.x.spare) < spareBlocks {
			u.x.spare = append(u.x.spare, b)
		}
	}
	u.blocks = nil
	u.x.queue = u.sched.ready[:0]
}

// takeBlock gives a block that has ended, to be used again, or a new one.
func (x *exec) takeBlock() *block {
	n := len(x.spare)
	if n == 0 {
		return &block{shared: &segment{space: spaceShared}}
	}
	b := x.spare[n-1]
	x.spare = x.spare[:n-1]
	*b = block{dim: b.dim, warps: b.warps, shared: b.shared, bars: b.bars}
	for i := range b.bars {
		b.bars[i].active = false
	}
	return b
}

// reset gives a segment n bytes that nobody has written.
func (s *segment) reset(n int) {
	if cap(s.data) < n {
		s.data = make([]byte, n)
	}
	s.data, s.san = s.data[:n], nil
	fillPattern(s.data)
}

// runParked executes the instruction at which a unit waits for its turn.
func (u *unit) runParked() {
	x := u.x
	g := u.parked
	u.parked = nil
	x.enter(g)
	before := x.warpInsts
	if x.san != nil || x.prof != nil {
		x.loopChecked(1)
	} else {
		x.loop(1)
	}
	u.steps += x.warpInsts - before
	switch x.stop {
	case stopYield:
		x.leave()
		u.sched.again(u, g)
	case stopBlocked, stopOrdered:
		x.leave()
	case stopFault:
		u.err = x.err
	}
}
