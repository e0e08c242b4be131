package emu

import (
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
	var rest []ptx.Operand // behind the addresses and the size
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
		rest = args[2:]
	} else {
		need(3)
		o.dst.space, o.dst.own = space(to)
		o.src.space, o.src.own = space(from)
		o.dst.elem, o.dst.count, o.src.elem, o.src.count = 16, 1, 16, 1
		lw.address(args[0], &o.dst)
		lw.address(args[1], &o.src)
		o.size = lw.in32(args[2], ptx.U32)
		rest = args[3:]
	}
	if o.hasBar {
		need(len(args) - len(rest) + 1)
		bar(rest[0], to)
		rest = rest[1:]
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
	x.barrierAccess(acc, race.Atomic, acc.seg != x.b.shared)
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
		if b != x.b {
			acc := access{in: in, mask: 1 << l, space: spaceShared, seg: b.shared, elem: 8, count: 1}
			acc.off[l] = m.off
			x.barrierAccess(&acc, race.Atomic, true)
		}
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
	} else if s, ok := x.san.(*watch); ok {
		s.visitAsync(x, t)
	}
	if t.now {
		op.perform()
		return
	}
	u.issue(op)
}
