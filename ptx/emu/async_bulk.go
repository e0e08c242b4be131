package emu

import (
	"strings"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/async"
	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
)

// Bulk copies and tensor copies: one thread moves many bytes through the async proxy (PTX ISA,
// "Non-tensor bulk copy", "Tensor copy"). Completion is told to an mbarrier, or by bulk groups.

// bulkOp is the aux of cp.async.bulk and cp.reduce.async.bulk, tensor forms included.
type bulkOp struct {
	dst, src  memOp // shared or global memory; of tensor copies, the side in shared memory
	bar       memOp
	hasBar    bool
	size      int32 // slot; -1 for tensor copies
	mask      int32 // slot of the ctaMask, or -1
	tensor    memOp // address of the map
	coords    []int32
	load      bool // a tensor copy into shared memory
	prefetch  bool
	reduce    func(a, b uint64) uint64
	elem      int // bytes of an element of a reduction
	redName   string
	multicast bool
}

// lowerBulk lowers cp.async.bulk… and cp.reduce.async.bulk….
func lowerBulk(lw *lowerer, in *ptx.Instr, reduce bool) {
	m := &lw.mods
	if lowerGroups(lw, in, func(w *warpAsync) *groups { return &w.bulk }) {
		return
	}
	o := &bulkOp{size: -1, mask: -1}
	o.prefetch = m.has("prefetch")
	tensor := m.has("tensor")
	dims := 0
	if tensor {
		d := m.one("1d", "2d", "3d", "4d", "5d")
		if d == "" {
			lw.fail("the number of dimensions is missing")
		}
		dims = int(d[0] - '0')
	}
	if o.prefetch {
		m.has("L2")
		m.space()
		m.has("tile")
		m.has("L2::cache_hint")
		lw.emit(inst{run: runNop})
		return
	}
	to, from := m.space(), m.space()
	m.has("tile")
	for _, mode := range []string{"im2col", "im2col_no_offs", "im2col::w", "im2col::w::128", "tile::gather4", "tile::scatter4"} {
		if m.peek(mode) {
			lw.fail(".%s is not supported", mode)
		}
	}
	o.hasBar = m.has("mbarrier::complete_tx::bytes")
	if group := m.has("bulk_group"); group == o.hasBar {
		lw.fail("one of .mbarrier::complete_tx::bytes and .bulk_group is expected")
	}
	o.multicast = m.has("multicast::cluster")
	m.has("cta_group::1")
	hint := m.has("L2::cache_hint")
	if reduce {
		op := m.one("add", "min", "max", "inc", "dec", "and", "or", "xor")
		m.has("noftz")
		t := ptx.NoType
		if !tensor {
			t = m.typ()
		}
		o.setReduce(lw, op, t, tensor)
	}
	args := in.Args
	if hint && len(args) > 0 {
		lw.in64(args[len(args)-1], ptx.B64)
		args = args[:len(args)-1]
	}
	need := func(n int) {
		if len(args) < n {
			lw.fail("has %d operands, %d are expected", len(in.Args), n)
		}
	}
	space := func(s ptx.Space) (memSpace, bool) { return lw.memSpaceOf(s, ptx.Mem{}) }
	bar := func(a ptx.Operand, s ptx.Space) {
		o.bar.space, o.bar.own = space(s)
		o.bar.count32(8)
		lw.address(a, &o.bar)
	}
	if tensor {
		mapArg, memArg := 0, 1
		if to == ptx.Global {
			o.src.space, o.src.own = space(from)
		} else {
			o.load = true
			mapArg, memArg = 1, 0
			o.dst.space, o.dst.own = space(to)
		}
		need(2)
		mem, ok := args[mapArg].(ptx.Mem)
		if !ok || len(mem.Coords) != dims {
			lw.fail("%d coordinates are expected", dims)
		}
		for _, c := range mem.Coords {
			o.coords = append(o.coords, lw.in32(c, ptx.S32))
		}
		mem.Coords = nil
		o.tensor = memOp{space: spaceGeneric, elem: async.MapBytes, count: 1}
		lw.address(mem, &o.tensor)
		side := &o.src
		if o.load {
			side = &o.dst
		}
		side.elem, side.count = 16, 1
		lw.address(args[memArg], side)
		rest := args[2:]
		if o.hasBar {
			need(3)
			bar(args[2], to)
			rest = args[3:]
		}
		if o.multicast {
			if len(rest) == 0 {
				lw.fail("the mask of blocks is missing")
			}
			o.mask = lw.in32(rest[0], ptx.U16)
			rest = rest[1:]
		}
		if len(rest) != 0 {
			lw.fail("has %d operands too many", len(rest))
		}
	} else {
		need(3)
		o.dst.space, o.dst.own = space(to)
		o.src.space, o.src.own = space(from)
		o.dst.elem, o.dst.count, o.src.elem, o.src.count = 16, 1, 16, 1
		lw.address(args[0], &o.dst)
		lw.address(args[1], &o.src)
		o.size = lw.in32(args[2], ptx.U32)
		rest := args[3:]
		if o.hasBar {
			need(4)
			bar(args[3], to)
			rest = args[4:]
		}
		if o.multicast {
			if len(rest) == 0 {
				lw.fail("the mask of blocks is missing")
			}
			o.mask = lw.in32(rest[0], ptx.U16)
			rest = rest[1:]
		}
		if len(rest) != 0 {
			lw.fail("has %d operands too many", len(rest))
		}
	}
	flags := flagMemory
	if reduce && to == ptx.Global {
		flags |= flagOrdered
	}
	lw.emit(inst{run: runBulk, aux: o, flags: flags, sink: useSync})
}

func (o *bulkOp) setReduce(lw *lowerer, op string, t ptx.Type, tensor bool) {
	if op == "" {
		lw.fail("the operation is missing")
	}
	o.redName = op
	if tensor { // the type is the map's
		return
	}
	if o.reduce, o.elem = atomicFn(op, t, true), t.Size(); o.reduce == nil {
		lw.fail("reduction .%s of .%s does not exist", op, t)
	}
}

// reduceElems are the element types of tensor maps as atomics know them.
var reduceElems = map[async.ElemType]ptx.Type{
	async.ElemU32: ptx.U32, async.ElemS32: ptx.S32, async.ElemU64: ptx.U64, async.ElemS64: ptx.S64,
	async.ElemF16: ptx.F16, async.ElemBF16: ptx.BF16, async.ElemF32: ptx.F32, async.ElemF64: ptx.F64,
	async.ElemF32FTZ: ptx.F32, async.ElemTF32: ptx.F32, async.ElemTF32FTZ: ptx.F32,
}

func runBulk(x *exec, in *inst) {
	o := in.aux.(*bulkOp)
	if in.flags&flagOrdered != 0 && x.parallel {
		x.pc--
		x.stop = stopOrdered
		return
	}
	for m := x.mask; m != 0; m &= m - 1 {
		l := firstLane(m)
		if len(o.coords) > 0 {
			x.tensorCopy(in, o, l)
		} else {
			x.bulkCopy(in, o, l)
		}
		if x.stop == stopFault {
			return
		}
	}
}

// place finds n bytes at the address that lane l gives; nil where there are none, which is reported.
func (x *exec) place(in *inst, m *memOp, l, n, align int) *access {
	x.addresses(m)
	rest := uint32(1) << l
	acc := x.span(in, m, n, align, &rest)
	if acc == nil {
		return nil
	}
	c := *acc
	c.elem, c.count = n, 1
	return &c
}

// barrierOf finds the mbarrier that a copy completes at.
func (x *exec) barrierOf(in *inst, o *bulkOp, l int) (*block, *mbar) {
	acc := x.place(in, &o.bar, l, 8, 8)
	if acc == nil {
		return nil, nil
	}
	x.barrierAccess(acc, race.Atomic)
	return x.object(in, acc, l, "complete_tx")
}

func (x *exec) bulkCopy(in *inst, o *bulkOp, l int) {
	n := int(x.r32[o.size][l])
	if n == 0 {
		return
	}
	if n%16 != 0 {
		x.notice(in, 1<<l, KindAsync, "a bulk copy of %d bytes; the size must be a multiple of 16", n)
		return
	}
	src := x.place(in, &o.src, l, n, 16)
	if src == nil {
		return
	}
	dst := x.place(in, &o.dst, l, n, 16)
	if dst == nil {
		return
	}
	t := transfer{in: in, lane: l, bytes: uint32(n)}
	if o.hasBar {
		if t.b, t.bar = x.barrierOf(in, o, l); t.bar == nil {
			return
		}
	}
	t.begin(x)
	dst.in, src.in = in, in
	if !o.multicast {
		x.part(&t, o, dst, src, n)
		t.end(x)
		return
	}
	for r, b := range x.u.blocks {
		if x.r32[o.mask][l]>>r&1 != 0 {
			d := *dst
			d.seg = b.shared
			tt := t
			tt.b = b
			if tt.bar = x.sameBarrier(in, b, t.bar, l); tt.bar == nil {
				return
			}
			tt.begin(x)
			x.part(&tt, o, &d, src, n)
			tt.end(x)
		}
	}
}

// sameBarrier is the mbarrier at the same offset in another block of the cluster.
func (x *exec) sameBarrier(in *inst, b *block, m *mbar, l int) *mbar {
	if o := b.asyncs().bars[m.off]; o != nil && o.valid {
		return o
	}
	x.notice(in, 1<<l, KindMBarrier, "multicast to block %d of the cluster, whose mbarrier at offset 0x%x is not initialised", b.rank, m.off)
	return nil
}

// A transfer is one copy being put together of parts.
type transfer struct {
	in     *inst
	lane   int
	bytes  uint32
	b      *block
	bar    *mbar
	hb, rd *race.Async
	moves  []func()
	now    bool // reductions in global memory happen in the order of units
}

func (t *transfer) begin(x *exec) {
	t.hb, t.rd = &race.Async{Proxy: true}, &race.Async{Proxy: true}
	t.moves = nil
}

// part adds n bytes to a transfer.
func (x *exec) part(t *transfer, o *bulkOp, dst, src *access, n int) {
	if src != nil {
		src.elem, src.count = n, 1
		if x.asyncAccess(src, race.Read, t.rd) == 0 {
			return
		}
	}
	dst.elem, dst.count = n, 1
	kind := race.Write
	hb := t.hb
	if o.reduce != nil {
		kind = race.Atomic
	}
	if x.asyncAccess(dst, kind, hb) == 0 {
		return
	}
	to := dst.seg.data[dst.off[t.lane]:][:n]
	if src == nil {
		return
	}
	from := src.seg.data[src.off[t.lane]:][:n]
	if x.san != nil {
		x.copyInit(dst.seg, dst.off[t.lane], src.seg, src.off[t.lane], uint64(n))
	}
	if o.reduce == nil {
		t.moves = append(t.moves, func() { copy(to, from) })
		return
	}
	f, es := o.reduce, o.elem
	t.now = t.now || dst.space == spaceGlobal
	t.moves = append(t.moves, func() {
		for i := 0; i+es <= n; i += es {
			putBits(to[i:i+es], f(getBits(to[i:i+es]), getBits(from[i:i+es])))
		}
	})
}

func getBits(b []byte) uint64 {
	var v uint64
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

// end issues the transfer.
func (t *transfer) end(x *exec) {
	in, u, w, b, bar, bytes := t.in, x.u, x.w, t.b, t.bar, t.bytes
	hb, rd, moves := t.hb, t.rd, t.moves
	op := &asyncOp{in: in, w: w, lanes: 1 << t.lane, hb: hb, reads: rd}
	lane := t.lane
	op.move = func() {
		for _, m := range moves {
			m()
		}
		if bar == nil {
			return
		}
		if err := b.completeTx(bar, bytes, hb, rd); err != nil {
			u.x.b, u.x.w = w.b, w
			u.x.notice(in, 1<<lane, KindMBarrier, "%v", err)
		}
		u.nudges = 0
	}
	if bar == nil {
		w.asyncs().bulk.add(op)
	}
	if t.now {
		op.perform()
		return
	}
	u.issue(op)
}

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

// lowerTensormap lowers tensormap.replace.
func lowerTensormap(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	if !m.has("replace") {
		lw.fail("tensormap.replace is expected")
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

func init() {
	register(lowerTensormap, "tensormap")
	lowerStAsync = func(lw *lowerer, in *ptx.Instr) { lowerRemote(lw, in, false) }
	lowerRedAsync = func(lw *lowerer, in *ptx.Instr) { lowerRemote(lw, in, true) }
}

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
		x.barrierAccess(bar, race.Atomic)
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
