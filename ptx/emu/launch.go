package emu

import (
	"fmt"
	"math"
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

// Check says what is wrong with a launch before it begins, as a driver does: extents,
// shared memory, arguments.
func (mod *Module) Check(l Launch, args ...any) error {
	_, err := mod.prepare(l, args)
	return err
}

func (mod *Module) prepare(spec Launch, args []any) (*launch, error) {
	d := mod.dev
	if spec.Kernel == "" {
		if ks := mod.Kernels(); len(ks) == 1 {
			spec.Kernel = ks[0]
		}
	}
	k := mod.fns[spec.Kernel]
	if k == nil || !k.src.Entry || k.src.Body == nil {
		return nil, fmt.Errorf("emu: %s has no kernel %q; it has %v", fileName(mod.src), spec.Kernel, mod.Kernels())
	}
	l := &launch{dev: d, kernel: k, layout: k.layout, table: &d.table, grid: spec.Grid.norm(), block: spec.Block.norm(), cluster: spec.Cluster.norm(), dynamic: spec.Shared}
	if err := l.check(spec); err != nil {
		return nil, err
	}
	p, err := packParams(k, args)
	if err != nil {
		return nil, err
	}
	l.params = &segment{base: paramWindow, data: p, name: "parameters of " + k.name, space: spaceParam, readOnly: true}
	return l, nil
}

func (mod *Module) run(spec Launch, args []any) error {
	d := mod.dev
	l, err := mod.prepare(spec, args)
	if err != nil {
		return err
	}
	k := l.kernel
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
