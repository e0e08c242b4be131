package cuda

import (
	"errors"
	"fmt"
	"strings"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// ordeal is something that launches kernels and judges what comes out.
type ordeal interface {
	// run uses the backend. Without a mutant it notes what runs of which kernel; with one
	// it may leave out what does not run the mutant's line.
	run(b *Backend, m place) error
	// covers reports whether a place of a kernel is run.
	covers(place) bool
	name() string
	pins() *pinned
}

// place is where a mutant is: a kernel, and a line of its text. The zero place is none.
type place struct {
	kernel.Any
	line int
	rest bool // to be judged by those problems that do not judge a kernel at first
}

// budgets are warp-instructions of a launch: mutants that never end are stopped soon.
var budgets = []int64{1 << 19, 1 << 22}

// judge runs an ordeal on an emulated GPU of its own.
func judge(o prepared, s emu.Schedule, m place, emit func(kernel.Any) *ptx.Module) error {
	api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100, Schedule: s, Seed: 1, Checks: emu.AllChecks, Workers: 1, Budget: o.budget, Profile: m.Any == nil || s == emu.RoundRobin}})
	b, err := New(api, Options{Direct: true})
	if err != nil {
		return err
	}
	b.emit = emit
	b.tuner = tuner{on: true}
	if err := o.run(b, m); err != nil {
		return err
	}
	b.tuner = tuner{}
	err = b.Close()
	for _, f := range api.Emulator().Findings() {
		err = errors.Join(err, fmt.Errorf("the sanitiser found:\n%v", f))
	}
	return err
}

// trace is what a kernel did.
type trace struct {
	coverage
	traffic
	longest int64 // warp-instructions of a launch
}

// coverage is what ran of a kernel.
type coverage map[ran]bool

// traffic is what a kernel asked of the memories: accesses of warps, bytes of their threads,
// sectors of global memory, those that are not asked for again, passes through the banks of
// shared memory.
type traffic struct{ requests, bytes, sectors, distinct, passes int64 }

// brief is what is kept of a trace that tells nothing new: the lines that were reached, a bit each.
type brief struct {
	lines []uint64
	traffic
}

func (c trace) brief() brief {
	b := brief{traffic: c.traffic}
	for r := range c.coverage {
		if r.how != reached {
			continue
		}
		for len(b.lines) <= r.line/64 {
			b.lines = append(b.lines, 0)
		}
		b.lines[r.line/64] |= 1 << (r.line % 64)
	}
	return b
}

func (t *traffic) add(o traffic) {
	t.requests += o.requests
	t.bytes += o.bytes
	t.sectors += o.sectors
	t.distinct += o.distinct
	t.passes += o.passes
}

// What a mutant changed though results are right.
var (
	errBits    = errors.New("other bits than without the mutant")
	errTraffic = errors.New("other accesses of memory than without the mutant")
)

// ran says of a line of a kernel's text how it ran.
type ran struct {
	line int
	how  ranHow
}

type ranHow uint8

const (
	reached ranHow = iota // by a warp
	done                  // by a thread that its guard let
	parted                // by some threads of a warp and not by others
	often                 // by more warps, or by one more often: by 4, and those behind it by 16, 64 …
)

// ranSince tells what ran since it was last asked, by kernel; nil without a profile.
func ranSince(b *Backend) map[kernel.Any]trace {
	var all map[kernel.Any]trace
	if p := b.api.(*driver.Emulated).Emulator().TakeProfile(); p != nil {
		all = map[kernel.Any]trace{}
		for _, l := range b.tuner.made {
			c := trace{coverage: coverage{}}
			for _, k := range p.Kernels {
				if k.Kernel != l.Name() {
					continue
				}
				c.longest = max(c.longest, k.Longest)
				c.add(traffic{distinct: k.DRAMBytes / 32})
				for _, in := range k.Insts {
					c.coverage[ran{in.Line, reached}] = true
					for n, how := in.Warps/4, often; n > 0; n, how = n/4, how+1 {
						c.coverage[ran{in.Line, how}] = true
					}
					if in.Threads > 0 {
						c.coverage[ran{in.Line, done}] = true
					}
					if in.Threads < 32*in.Warps {
						c.coverage[ran{in.Line, parted}] = true
					}
					c.add(traffic{requests: in.Requests, bytes: in.Bytes, sectors: in.Sectors, passes: in.Wavefronts})
				}
			}
			all[l.Any] = c
		}
	}
	b.tuner.made = nil
	return all
}

// overlap are runs of parameters that lie on each other, more items than have room: what
// other backends take, and this one refuses.
type overlap struct {
	ran map[kernel.Any]trace
	pinned
}

func (o *overlap) name() string { return "runs on each other" }

func (o *overlap) covers(m place) bool {
	return !m.rest && o.ran[m.Any].coverage[ran{m.line, reached}]
}

func (o *overlap) run(b *Backend, m place) error {
	const n = kernel.RunBlock + 1 // two runs of two items each, where three have room
	p := &problem{b: b}
	a := kernels.GradNormArgs{SumSquares: p.random(kernels.F32, 1), Grad: p.random(kernels.F32, n), Table: p.ints(0, 0, n, 0, 0, 0, n, 0), NParam: 2, Groups: 1}
	if p.failed != nil {
		return p.failed
	}
	b.GradNorm(a)
	if err := b.Sync(); err == nil || !strings.Contains(err.Error(), "table row 1: group 0,") {
		return fmt.Errorf("the second of two equal runs should be refused: %v", err)
	}
	p.close()
	did := ranSince(b)
	if m.Any == nil {
		o.ran = did
		for k, c := range did {
			o.count(k, c)
		}
	} else if did != nil && did[m.Any].traffic != o.ran[m.Any].traffic {
		return errTraffic
	}
	return nil
}
