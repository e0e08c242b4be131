package emu

import (
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/async"
	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
)

// tensorCopy moves a box between global and shared memory.
func (x *exec) tensorCopy(in *inst, o *bulkOp, l int) {
	mp := x.place(in, &o.tensor, l, async.MapBytes, async.MapAlign)
	if mp == nil {
		return
	}
	tm, err := async.Decode(mp.seg.data[mp.off[l]:])
	if err != nil {
		x.notice(in, 1<<l, KindAsync, "%v", err)
		if x.stop == stopNone {
			x.fail(in, l, err.Error())
		}
		return
	}
	if tm.Rank != len(o.coords) {
		x.notice(in, 1<<l, KindAsync, "%d coordinates for a tensor map of rank %d", len(o.coords), tm.Rank)
		return
	}
	coords := make([]int32, tm.Rank)
	for i, s := range o.coords {
		coords[i] = int32(x.r32[s][l])
	}
	n := tm.BoxBytes()
	side := &o.src
	if o.load {
		side = &o.dst
	}
	sh := x.place(in, side, l, n, 128)
	if sh == nil {
		return
	}
	oo := *o
	if o.redName != "" {
		oo.reduce, oo.elem = nil, tm.Elem.Bytes()
		if t, ok := reduceElems[tm.Elem]; ok {
			oo.reduce = atomicFn(o.redName, t, true)
		}
		if oo.reduce == nil {
			x.notice(in, 1<<l, KindAsync, "reduction %s of element type %d does not exist", o.redName, tm.Elem)
			return
		}
	}
	t := transfer{in: in, lane: l, bytes: uint32(n)}
	if o.hasBar {
		if t.b, t.bar = x.barrierOf(in, o, l); t.bar == nil {
			return
		}
	}
	if !o.multicast {
		x.box(&t, &oo, &tm, coords, sh)
		return
	}
	for r, b := range x.u.blocks {
		if x.r32[o.mask][l]>>r&1 != 0 {
			d := *sh
			d.seg = b.shared
			tt := t
			tt.b = b
			if tt.bar = x.sameBarrier(in, b, t.bar, l); tt.bar == nil {
				return
			}
			x.box(&tt, &oo, &tm, coords, &d)
		}
	}
}

// box issues the copy of a box to or from the shared memory that sh names.
func (x *exec) box(t *transfer, o *bulkOp, tm *TensorMap, coords []int32, sh *access) {
	t.begin(x)
	base := sh.off[t.lane]
	glob := access{in: t.in, space: spaceGlobal, mask: 1 << t.lane}
	part := *sh
	part.in, part.mask = t.in, 1<<t.lane
	fill := make([]byte, 16)
	tm.Fill(fill)
	tm.Runs(coords, func(r async.Run) {
		if !r.Inside && !o.load {
			return
		}
		// Swizzling permutes pieces of 16 bytes.
		for done := 0; done < r.Bytes; {
			k := r.Bytes - done
			at := base + uint64(r.Offset+done)
			if tm.Swizzle != SwizzleNone {
				k = min(k, 16-int(at&15))
				at = tm.Swizzle.Apply(at)
			}
			part.off[t.lane] = at
			if !r.Inside {
				dst := part
				x.part(t, o, &dst, nil, k)
				to := part.seg.data[at:][:k]
				f := fill
				t.moves = append(t.moves, func() {
					for i := range to {
						to[i] = f[i%16]
					}
				})
				done += k
				continue
			}
			a := r.Addr + uint64(done)
			if glob.seg == nil || a < glob.seg.base || a+uint64(k) > glob.seg.end() {
				glob.seg = x.l.table.find(a)
				if glob.seg == nil || a+uint64(k) > glob.seg.end() {
					glob.seg = nil
					x.addr[t.lane] = a
					rest := uint32(1) << t.lane
					x.faultLane(t.in, spaceGlobal, k, t.lane, &rest)
					done += k
					continue
				}
			}
			glob.off[t.lane] = a - glob.seg.base
			g, p := glob, part
			if o.load {
				x.part(t, o, &p, &g, k)
			} else {
				x.part(t, o, &g, &p, k)
			}
			done += k
		}
	})
	if x.stop != stopFault {
		t.end(x)
	}
}

func init() { register(lowerTensormap, "tensormap") }

// lowerTensormap lowers tensormap.replace and tensormap.cp_fenceproxy.
func lowerTensormap(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	if m.has("cp_fenceproxy") {
		lowerCopyTensormap(lw, in)
		return
	}
	if !m.has("replace") {
		lw.fail("tensormap.replace or .cp_fenceproxy is expected")
	}
	m.has("tile")
	field := m.one("global_address", "rank", "box_dim", "global_dim", "global_stride", "element_stride", "elemtype", "interleave_layout", "swizzle_mode", "swizzle_atomicity", "fill_mode")
	space := m.space()
	m.has("b1024")
	t := m.typ()
	if field == "" || len(in.Args) < 2 {
		lw.fail("a field, the address of a map and a value are expected")
	}
	o := &memOp{elem: async.MapBytes, count: 1}
	mem, _ := in.Args[0].(ptx.Mem)
	o.space, o.own = lw.memSpaceOf(space, mem)
	lw.address(in.Args[0], o)
	ord := int32(-1)
	if len(in.Args) == 3 {
		ord = lw.in32(in.Args[1], ptx.B32)
	}
	last := in.Args[len(in.Args)-1]
	v := slot{fileOf(t), lw.in(last, t)}
	lw.emit(inst{aux: o, flags: flagMemory, sink: useSync, run: func(x *exec, in *inst) {
		for k := x.mask; k != 0; k &= k - 1 {
			l := firstLane(k)
			acc := x.place(in, o, l, async.MapBytes, async.MapAlign)
			if acc == nil {
				continue
			}
			n := 0
			if ord >= 0 {
				n = int(x.r32[ord][l])
			}
			if err := async.Replace(acc.seg.data[acc.off[l]:], field, n, x.get(v, l)); err != nil {
				x.notice(in, 1<<l, KindAsync, "%v", err)
			}
		}
	}})
}

// lowerCopyTensormap lowers tensormap.cp_fenceproxy: a warp copies a map from shared to global
// memory, and releases it to the proxy of tensor maps (PTX ISA, "tensormap.cp_fenceproxy").
func lowerCopyTensormap(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	m.has("tensormap::generic")
	m.has("release")
	scope := lw.scope()
	to, from := m.space(), m.space()
	m.has("sync")
	if !m.has("aligned") {
		lw.fail(".aligned is missing")
	}
	lw.need(3)
	if n, ok := in.Args[2].(ptx.Imm); !ok || n.Bits != async.MapBytes {
		lw.fail("size %s; %d is expected", operandString(in.Args[2]), async.MapBytes)
	}
	dst, src := &memOp{elem: async.MapBytes, count: 1}, &memOp{elem: async.MapBytes, count: 1}
	dst.space, dst.own = lw.memSpaceOf(to, ptx.Mem{})
	src.space, src.own = lw.memSpaceOf(from, ptx.Mem{})
	lw.address(in.Args[0], dst)
	lw.address(in.Args[1], src)
	lw.emitCollective(inst{flags: flagMemory, sink: useSync, run: func(x *exec, in *inst) {
		l := firstLane(x.mask)
		s := x.place(in, src, l, async.MapBytes, async.MapAlign)
		if s == nil {
			return
		}
		d := x.place(in, dst, l, async.MapBytes, async.MapAlign)
		if d == nil || x.asyncAccess(s, race.Read, nil) == 0 || x.asyncAccess(d, race.Write, nil) == 0 {
			return
		}
		copy(d.seg.data[d.off[l]:][:async.MapBytes], s.seg.data[s.off[l]:])
		if x.san != nil {
			x.copyInit(d.seg, d.off[l], s.seg, s.off[l], async.MapBytes)
			x.san.sync(x, in, &syncEvent{kind: syncFence, lanes: x.mask, order: orderRelease, scope: scope})
		}
	}}, &collOp{member: -1})
}
