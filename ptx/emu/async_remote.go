package emu

import (
	"strings"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
)

// remoteOp is the aux of st.async and red.async.
type remoteOp struct {
	dst, bar memOp
	regs     []slot
	f        func(a, b uint64) uint64
	elem     int
}

// lowerRemote lowers st.async and red.async: stores to the shared memory of a
// block of the cluster that complete at an mbarrier there.
func lowerRemote(lw *lowerer, in *ptx.Instr, red bool) {
	m := &lw.mods
	o := &remoteOp{}
	m.has("async")
	m.one("weak", "relaxed")
	m.one("cluster", "gpu", "sys")
	space := m.space()
	if !m.has("mbarrier::complete_tx::bytes") {
		lw.fail(".mbarrier::complete_tx::bytes is expected")
	}
	n := lw.vectorWidth()
	op := ""
	if red {
		op = m.one("add", "min", "max", "inc", "dec", "and", "or", "xor")
	}
	t := m.typ()
	lw.need(3)
	if space == ptx.NoSpace {
		space = ptx.SharedCluster
	}
	o.dst.space, o.dst.own = lw.memSpaceOf(space, ptx.Mem{})
	o.bar.space, o.bar.own = o.dst.space, o.dst.own
	o.elem = t.Size()
	o.dst.elem, o.dst.count = o.elem, n
	o.bar.count32(8)
	if red {
		if o.f = atomicFn(op, t, true); o.f == nil {
			lw.fail("reduction .%s of .%s does not exist", op, t)
		}
	}
	list := ptx.Vec{in.Args[1]}
	if v, ok := in.Args[1].(ptx.Vec); ok {
		list = v
	}
	if len(list) != n {
		lw.fail("%d registers for %d elements", len(list), n)
	}
	for _, e := range list {
		o.regs = append(o.regs, slot{fileOf(t), lw.in(e, t)})
	}
	lw.address(in.Args[0], &o.dst)
	lw.address(in.Args[2], &o.bar)
	lw.emit(inst{aux: o, flags: flagMemory, sink: useSync, run: runRemote})
}

func runRemote(x *exec, in *inst) {
	o := in.aux.(*remoteOp)
	size := o.elem * len(o.regs)
	for k := x.mask; k != 0; k &= k - 1 {
		l := firstLane(k)
		dst := x.place(in, &o.dst, l, size, size)
		if dst == nil {
			continue
		}
		bar := x.place(in, &o.bar, l, 8, 8)
		if bar == nil {
			continue
		}
		x.barrierAccess(bar, race.Atomic, false)
		t := transfer{in: in, lane: l, bytes: uint32(size)}
		if t.b, t.bar = x.object(in, bar, l, strings.TrimSuffix(in.src.Op, ".async")+".async"); t.bar == nil {
			continue
		}
		t.begin(x)
		kind := race.Write
		if o.f != nil {
			kind = race.Atomic
		}
		if x.asyncAccess(dst, kind, t.hb) == 0 {
			continue
		}
		to := dst.seg.data[dst.off[l]:][:size]
		vals := make([]uint64, len(o.regs))
		for i, r := range o.regs {
			vals[i] = x.get(r, l)
		}
		f, es := o.f, o.elem
		t.moves = append(t.moves, func() {
			for i, v := range vals {
				p := to[i*es:][:es]
				if f != nil {
					v = f(getBits(p), v)
				}
				putBits(p, v)
			}
		})
		t.rd = nil
		t.end(x)
	}
}
