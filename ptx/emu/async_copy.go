package emu

import (
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
)

// cp.async: copies of 4, 8 or 16 bytes per lane, through the generic proxy.

// copyOp is the aux of cp.async.
type copyOp struct {
	dst, src memOp
	size     int
	srcSize  int32 // slot, or -1
	ignore   int32 // slot of a predicate, or -1
	not      uint32
}

func init() { register(lowerCp, "cp") }

func lowerCp(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	if !m.has("async") {
		lw.fail("cp.async or cp.reduce.async is expected")
	}
	reduce := m.has("reduce")
	if m.has("bulk") {
		lowerBulk(lw, in, reduce)
		return
	}
	if m.has("mbarrier") {
		lowerCopyArrive(lw, in)
		return
	}
	if lowerGroups(lw, in, func(w *warpAsync) *groups { return &w.copies }) {
		return
	}
	o := &copyOp{srcSize: -1, ignore: -1}
	cg := m.one("ca", "cg") == "cg"
	m.space()
	m.space()
	lw.cacheHints()
	args := in.Args
	if len(args) < 3 {
		lw.need(3)
	}
	size, ok := args[2].(ptx.Imm)
	if !ok || size.Bits != 4 && size.Bits != 8 && size.Bits != 16 || cg && size.Bits != 16 {
		lw.fail("the size must be the constant 4, 8 or 16, and 16 with .cg")
	}
	o.size = int(size.Bits)
	o.dst = memOp{space: spaceShared, own: true, elem: o.size, count: 1}
	o.src = memOp{space: spaceGlobal, elem: o.size, count: 1}
	lw.address(args[0], &o.dst)
	lw.address(args[1], &o.src)
	for _, a := range args[3:] {
		switch v := a.(type) {
		case ptx.Not:
			o.ignore, o.not = lw.inP(v)
		case ptx.Reg:
			switch s, _ := lw.regSlot(v); s.file {
			case fileP:
				o.ignore, o.not = lw.inP(v)
			case file32:
				o.srcSize = lw.in32(v, ptx.U32)
			default:
				lw.in64(v, ptx.B64)
			}
		case ptx.Imm:
			o.srcSize = lw.in32(v, ptx.U32)
		default:
			lw.fail("operand %s is not expected", operandString(a))
		}
	}
	lw.emit(inst{run: runCopy, aux: o, flags: flagMemory, sink: useAddress})
}

// lowerGroups lowers commit_group, wait_group and wait_all of cp.async and of bulk copies.
func lowerGroups(lw *lowerer, in *ptx.Instr, of func(*warpAsync) *groups) bool {
	m := &lw.mods
	switch m.one("commit_group", "wait_group", "wait_all") {
	case "commit_group":
		lw.need(0)
		lw.emit(inst{run: func(x *exec, in *inst) { of(x.w.asyncs()).commit(x.mask) }})
	case "wait_all":
		lw.need(0)
		lw.emit(inst{run: func(x *exec, in *inst) { of(x.w.asyncs()).wait(x.w, x.mask, 0, true, false) }})
	case "wait_group":
		reads := m.has("read")
		lw.need(1)
		n, ok := in.Args[0].(ptx.Imm)
		if !ok {
			lw.fail("the number of groups must be a constant")
		}
		lw.emit(inst{run: func(x *exec, in *inst) { of(x.w.asyncs()).wait(x.w, x.mask, int32(n.Bits), false, reads) }})
	default:
		return false
	}
	return true
}

func runCopy(x *exec, in *inst) {
	o := in.aux.(*copyOp)
	x.addresses(&o.dst)
	rest := x.mask
	var off vec64
	var ok uint32
	var seg *segment
	var dst access
	for rest != 0 {
		acc := x.span(in, &o.dst, o.size, o.size, &rest)
		if acc == nil {
			if x.stop == stopFault {
				return
			}
			continue
		}
		off, seg, ok = acc.off, acc.seg, acc.mask
		dst = *acc
	}
	if ok == 0 {
		return
	}
	var sizes [warpSize]uint8
	var reads uint32 // lanes that read anything
	for m := ok; m != 0; m &= m - 1 {
		i := firstLane(m)
		n := uint32(o.size)
		if o.srcSize >= 0 {
			if n = x.r32[o.srcSize][i]; n > uint32(o.size) {
				x.notice(in, 1<<i, KindAsync, "src-size %d is larger than cp-size %d", n, o.size)
				n = uint32(o.size)
			}
		}
		if o.ignore >= 0 && (x.p[o.ignore]^o.not)>>i&1 != 0 {
			n = 0
		}
		sizes[i] = uint8(n)
		if n > 0 {
			reads |= 1 << i
		}
	}
	wa := x.w.asyncs()
	issue := func(lanes uint32, src *segment, from *vec64) {
		for rest := lanes; rest != 0; {
			same := wa.copies.sameGroup(&rest)
			hb := &race.Async{}
			dst.mask = same
			same = x.asyncAccess(&dst, race.Write, hb)
			if same == 0 {
				continue
			}
			var at vec64
			if src != nil {
				at = *from
				if x.san != nil {
					for m := same; m != 0; m &= m - 1 {
						i := firstLane(m)
						x.copyInit(seg, off[i], src, at[i], uint64(sizes[i]))
					}
				}
			}
			to, n, size := off, sizes, o.size
			op := &asyncOp{in: in, w: x.w, lanes: same, hb: hb, move: func() {
				for m := same; m != 0; m &= m - 1 {
					i := firstLane(m)
					d := seg.data[to[i]:][:size]
					k := 0
					if src != nil {
						k = copy(d, src.data[at[i]:][:n[i]])
					}
					clear(d[k:])
				}
			}}
			wa.copies.add(op)
			x.u.issue(op)
		}
	}
	if zero := ok &^ reads; zero != 0 {
		issue(zero, nil, nil)
	}
	x.addresses(&o.src)
	for rest := reads; rest != 0; {
		acc := x.span(in, &o.src, o.size, o.size, &rest)
		if acc == nil {
			if x.stop == stopFault {
				return
			}
			continue
		}
		src := *acc
		// Nobody writes to the source of a copy in flight but by mistake, and the copy
		// may read at once: an ordinary read stands for it.
		src.mask = x.asyncAccess(&src, race.Read, nil)
		issue(src.mask, src.seg, &src.off)
		if x.prof != nil {
			x.prof.access(x, in, &src)
		}
	}
}

// lowerCopyArrive lowers cp.async.mbarrier.arrive: an arrival when all copies of the
// thread up to now are complete.
func lowerCopyArrive(lw *lowerer, in *ptx.Instr) {
	lw.need(1)
	m := &lw.mods
	o := &mbarOp{count: -1, d: -1, token: -1, what: "arrive"}
	if !m.has("arrive") {
		lw.fail("arrive is expected")
	}
	o.noinc = m.has("noinc")
	space := m.space()
	m.has("b64")
	mem, _ := in.Args[0].(ptx.Mem)
	o.space, o.own = lw.memSpaceOf(space, mem)
	o.count32(8)
	lw.address(in.Args[0], &o.memOp)
	lw.emit(inst{run: runCopyArrive, aux: o, flags: flagMemory, sink: useAddress})
}

func runCopyArrive(x *exec, in *inst) {
	o := in.aux.(*mbarOp)
	x.addresses(&o.memOp)
	for rest := x.mask; rest != 0; {
		acc := x.span(in, &o.memOp, 8, 8, &rest)
		if acc == nil {
			if x.stop == stopFault {
				return
			}
			continue
		}
		x.barrierAccess(acc, race.Atomic, false)
		for m := acc.mask; m != 0; {
			i := firstLane(m)
			var same uint32
			for k := m; k != 0; k &= k - 1 {
				if j := firstLane(k); acc.off[j] == acc.off[i] {
					same |= 1 << j
				}
			}
			m &^= same
			b, bar := x.object(in, acc, i, "cp.async.mbarrier.arrive")
			if bar == nil {
				if x.stop == stopFault {
					return
				}
				continue
			}
			if !o.noinc {
				for range popcount(same) {
					st, err := bar.state(acc.seg).Undo()
					if err != nil {
						x.notice(in, same, KindMBarrier, "%v", err)
						return
					}
					bar.set(acc.seg, st)
				}
			}
			x.arriveLater(in, b, bar, same)
		}
	}
}

// arriveLater issues the arrival of lanes after their copies.
func (x *exec) arriveLater(in *inst, b *block, bar *mbar, lanes uint32) {
	wa, w := x.w.asyncs(), x.w
	var before []*asyncOp
	for _, op := range wa.copies.ops {
		if op.lanes&lanes != 0 {
			before = append(before, op)
		}
	}
	u := x.u
	ww, checked := w.san.(*warpWatch)
	if checked {
		// What the thread did before it issued the arrival is ordered by it too.
		bar.meet.Arrive(ww.w, lanes, false)
	}
	u.issue(&asyncOp{in: in, w: w, lanes: lanes, move: func() {
		for _, op := range before {
			op.perform()
			op.hb.CompleteAt(bar.agent)
			bar.tx = true
		}
		if !bar.valid {
			return
		}
		for range popcount(lanes) {
			st, done, err := bar.state(b.shared).Arrive(1)
			if err != nil {
				u.x.b, u.x.w = b, w
				u.x.notice(in, lanes, KindMBarrier, "cp.async.mbarrier.arrive: %v", err)
				return
			}
			bar.set(b.shared, st)
			bar.settled(done, checked)
		}
		u.nudges = 0
	}})
}
