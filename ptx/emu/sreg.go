package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// special reads a special register into a temporary slot of the file.
func (lw *lowerer) special(v ptx.Special, f regFile) int32 {
	if v.Name == "clock64" || v.Name == "globaltimer" || v.Name == "gridid" || v.Name == "current_graph_exec" {
		if f == file32 {
			lw.fail("%%%s has 64 bits", v.Name)
		}
	}
	read := specialReader(v)
	if read == nil {
		lw.fail("special register %%%s is not supported", v.Name)
	}
	d := lw.temp(f)
	lw.helper(inst{d: d, run: func(x *exec, in *inst) {
		if f == file64 {
			d := &x.r64[in.d]
			for i := range d {
				d[i] = read(x, i)
			}
			return
		}
		d := &x.r32[in.d]
		for i := range d {
			d[i] = uint32(read(x, i))
		}
	}}, nil, []int32{shadowOf(slot{f, d})})
	return d
}

// specialReader gives what reads a special register for a lane (PTX ISA, "Special Registers").
func specialReader(v ptx.Special) func(x *exec, lane int) uint64 {
	e := 0
	switch v.Elem {
	case 'y':
		e = 1
	case 'z':
		e = 2
	case 'w':
		return func(*exec, int) uint64 { return 0 }
	}
	uniform := func(f func(x *exec) uint64) func(*exec, int) uint64 {
		return func(x *exec, _ int) uint64 { return f(x) }
	}
	c := func(n uint64) func(*exec, int) uint64 { return func(*exec, int) uint64 { return n } }
	switch v.Name {
	case "tid":
		return func(x *exec, lane int) uint64 { return uint64(x.w.tid[e][lane]) }
	case "ntid":
		return uniform(func(x *exec) uint64 { return uint64(x.l.block[e]) })
	case "ctaid":
		return uniform(func(x *exec) uint64 { return uint64(x.b.idx[e]) })
	case "nctaid":
		return uniform(func(x *exec) uint64 { return uint64(x.l.grid[e]) })
	case "laneid":
		return func(_ *exec, lane int) uint64 { return uint64(lane) }
	case "warpid":
		return uniform(func(x *exec) uint64 { return uint64(x.w.id) })
	case "nwarpid":
		return uniform(func(x *exec) uint64 { return 64 })
	case "smid":
		return uniform(func(x *exec) uint64 { return uint64(x.b.linear % x.l.dev.gpu.SMs) })
	case "nsmid":
		return uniform(func(x *exec) uint64 { return uint64(x.l.dev.gpu.SMs) })
	case "gridid":
		return uniform(func(x *exec) uint64 { return uint64(x.l.number) })
	case "clusterid":
		return uniform(func(x *exec) uint64 { return uint64(x.b.idx[e] / x.l.cluster[e]) })
	case "nclusterid":
		return uniform(func(x *exec) uint64 { return uint64(x.l.grid[e] / x.l.cluster[e]) })
	case "cluster_ctaid":
		return uniform(func(x *exec) uint64 { return uint64(x.b.idx[e] % x.l.cluster[e]) })
	case "cluster_nctaid":
		return uniform(func(x *exec) uint64 { return uint64(x.l.cluster[e]) })
	case "cluster_ctarank":
		return uniform(func(x *exec) uint64 { return uint64(x.b.rank) })
	case "cluster_nctarank":
		return uniform(func(x *exec) uint64 { return uint64(product(x.l.cluster)) })
	case "lanemask_eq":
		return func(_ *exec, lane int) uint64 { return 1 << lane }
	case "lanemask_le":
		return func(_ *exec, lane int) uint64 { return 2<<lane - 1 }
	case "lanemask_lt":
		return func(_ *exec, lane int) uint64 { return 1<<lane - 1 }
	case "lanemask_ge":
		return func(_ *exec, lane int) uint64 { return fullMask &^ (1<<lane - 1) }
	case "lanemask_gt":
		return func(_ *exec, lane int) uint64 { return fullMask &^ (2<<lane - 1) }
	case "clock", "clock64":
		return uniform(func(x *exec) uint64 { return uint64(x.now()) })
	case "clock_hi":
		return uniform(func(x *exec) uint64 { return uint64(x.now()) >> 32 })
	case "globaltimer", "globaltimer_lo":
		return uniform(func(x *exec) uint64 { return timerStart + uint64(x.now()) })
	case "globaltimer_hi":
		return uniform(func(x *exec) uint64 { return (timerStart + uint64(x.now())) >> 32 })
	case "total_smem_size":
		return uniform(func(x *exec) uint64 { return uint64(alignUp(x.l.layout.used+x.l.dynamic, 128)) })
	case "aggr_smem_size":
		return uniform(func(x *exec) uint64 { return uint64(alignUp(x.l.layout.used+x.l.dynamic, 128) + sharedStart) })
	case "dynamic_smem_size":
		return uniform(func(x *exec) uint64 { return uint64(x.l.dynamic) })
	case "reserved_smem_offset_begin", "reserved_smem_offset_0", "reserved_smem_offset_1":
		return c(0)
	case "reserved_smem_offset_end", "reserved_smem_offset_cap":
		return c(sharedStart)
	case "current_graph_exec":
		return c(0)
	}
	var n int
	if k, _ := fmt.Sscanf(v.Name, "envreg%d", &n); k == 1 {
		return c(0)
	}
	if k, _ := fmt.Sscanf(v.Name, "pm%d", &n); k == 1 {
		return c(0)
	}
	return nil
}

// timerStart is what %globaltimer begins with, in nanoseconds.
const timerStart = 1_000_000_000

// now is the clock of the unit: its warp-instructions so far, as if each took a cycle.
func (x *exec) now() int64 { return x.u.steps + x.warpInsts - x.turnStart }

func runExplicitCluster(x *exec, in *inst) {
	v := uint32(0)
	if x.l.clustered {
		v = fullMask
	}
	x.p[in.d] = v
}
