package examples

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// execute runs a kernel of one block on an output of n words that starts as zeros, under
// three schedules with every check on, and gives the output.
func execute(t *testing.T, mod *ptx.Module, threads, n int, shared int) []uint32 {
	t.Helper()
	var first []uint32
	for _, cfg := range schedules()[1:4] {
		cfg.Checks, cfg.Budget = emu.AllChecks, 1e6
		dev := emu.New(cfg)
		m, err := dev.Load(mod)
		if err != nil {
			t.Fatal(err)
		}
		p, err := dev.Alloc(4 * n)
		if err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, 4*n)
		if err := dev.CopyIn(p, raw); err != nil {
			t.Fatal(err)
		}
		if err := m.Launch(emu.Launch{Block: emu.Dim{threads}, Shared: shared}, p); err != nil {
			t.Fatalf("%v\n%s", err, mod)
		}
		if err := dev.CopyOut(raw, p); err != nil {
			t.Fatal(err)
		}
		if err := dev.Free(p); err != nil {
			t.Fatal(err)
		}
		for _, f := range dev.Findings() {
			t.Errorf("%v: %v", cfg.Schedule, f)
		}
		out := make([]uint32, n)
		for i := range out {
			out[i] = binary.LittleEndian.Uint32(raw[4*i:])
		}
		if first == nil {
			first = out
		} else if fmt.Sprint(first) != fmt.Sprint(out) {
			t.Errorf("%v: another result", cfg.Schedule)
		}
	}
	return first
}

func TestControlFlow(t *testing.T) {
	const n = 75
	mod := ptx.NewModule(sm75)
	mod.Const("odd", ptx.U32, 2, 0, ptx.InitU32(3, 1)...)
	f := mod.Func("triple_plus_one")
	arg := f.ParamU32("x")
	f.ReturnValue(f.MadLoU32(arg, f.LdU32(f.ConstVar("odd")), ptx.I(1)))

	k := mod.Entry("f")
	out := k.ParamGlobal("out")
	tid := k.TidX()
	store := func(i int, v ptx.InI32) { k.StU32(out.Elem(tid.Plus(i*n), ptx.U32), v) }
	// 0: steps of the Collatz sequence, by While, IfElse and a call.
	x, steps := k.VarU32(tid.Plus(1)), k.VarU32(ptx.I(0))
	k.While(func() ptx.RegPred { return k.SetpNeU32(x, ptx.I(1)) }, func() {
		k.IfElse(k.SetpEqU32(x.And(ptx.I(1)), ptx.I(0)), func() {
			k.ShrU32To(x, x, ptx.I(1))
		}, func() {
			ptx.Set(k, x, ptx.Call[ptx.RegU32](k, f, x))
		})
		k.AddU32To(steps, steps, ptx.I(1))
	})
	store(0, steps)
	// 1: the sum of -tid .. 10, without multiples of 3, up to the first above 7.
	sum := k.VarS32(ptx.I(0))
	k.ForS32(k.NegS32(tid), ptx.I(11), ptx.I(1), func(i ptx.RegS32) {
		k.Continue(k.SetpEqS32(k.RemS32(i, ptx.I(3)), ptx.I(0)))
		k.Break(k.SetpGtS32(i, ptx.I(7)))
		k.AddS32To(sum, sum, i)
	})
	store(1, sum)
	// 2: bits of tid counted by DoWhile, a guarded addition, and a local array.
	list := k.Local("list", ptx.U32, 8, 0)
	y, count := k.VarU32(tid), k.VarU32(ptx.I(0))
	k.DoWhile(func() ptx.RegPred {
		k.StU32(list.Elem(count.And(ptx.I(7)), ptx.U32), y)
		k.Guard(k.SetpNeU32(y.And(ptx.I(1)), ptx.I(0)), func() { k.AddU32To(count, count, ptx.I(1)) })
		k.ShrU32To(y, y, ptx.I(1))
		return k.SetpNeU32(y, ptx.I(0))
	})
	store(2, count.Add(k.LdU32(list).Shl(8)))
	// 3: index arithmetic.
	store(3, tid.Times(12).Plus(5).DivBy(8).Add(tid.Mod(10)).Sub(tid.CeilDivBy(7)).Xor(tid.Times(3)))
	got := execute(t, mod.Module(), n, 4*n, 0)
	for i := range n {
		steps := 0
		for x := i + 1; x != 1; steps++ {
			if x%2 == 0 {
				x /= 2
			} else {
				x = 3*x + 1
			}
		}
		sum := 0
		for j := -i; j < 11 && j <= 7 || j%3 == 0 && j < 11; j++ {
			if j%3 != 0 {
				sum += j
			}
		}
		count, last := 0, i
		for y := i; ; y /= 2 {
			if count == 0 {
				last = y
			}
			count += y & 1
			if y/2 == 0 {
				break
			}
		}
		want := []int{steps, sum, count + last<<8, ((12*i+5)/8 + i%10 - (i+6)/7) ^ 3*i}
		for j, w := range want {
			if g := got[j*n+i]; g != uint32(w) {
				t.Errorf("thread %d: result %d is %d, expected %d", i, j, int32(g), w)
			}
		}
	}
}

func TestReductions(t *testing.T) {
	for _, warps := range []int{1, 2, 3, 4, 5, 8, 31, 32} {
		mod := ptx.NewModule(sm75)
		k := mod.Entry("f")
		out := k.ParamGlobal("out")
		tid := k.TidX()
		scratch := k.Shared("scratch", ptx.U32, warps, 0)
		add := func(a, b ptx.RegU32) ptx.RegU32 { return k.AddU32(a, b) }
		least := func(a, b ptx.RegU32) ptx.RegU32 { return k.MinU32(a, b) }
		x := tid.Mul(tid)
		total := ptx.BlockReduce(k, x, warps, k.VarU32(ptx.I(0)), scratch, false, add)
		first := ptx.BlockReduce(k, x.Plus(7), warps, k.VarU32(ptx.I(-1)), scratch, true, least)
		n := 32 * warps
		k.StU32(out.Elem(tid, ptx.U32), total)
		k.StU32(out.Elem(tid.Plus(n), ptx.U32), first)
		k.StU32(out.Elem(tid.Plus(2*n), ptx.U32), ptx.WarpReduce(k, tid, 8, add))
		got := execute(t, mod.Module(), n, 3*n, 0)
		want := 0
		for i := range n {
			want += i * i
		}
		for i := range n {
			if got[i] != uint32(want) || got[n+i] != 7 || got[2*n+i] != uint32(8*(i/8*8)+28) {
				t.Fatalf("%d warps, thread %d: %d, %d and %d", warps, i, got[i], got[n+i], got[2*n+i])
			}
		}
	}
}

// TestFragments reads a matrix whose elements are their positions, from tiles of every
// swizzle, by the three ways of placing lanes, and compares with the layouts of
// mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16").
func TestFragments(t *testing.T) {
	const rows = 32
	for _, tile := range []ptx.SharedTile{
		{Rows: rows, RowBytes: 64}, {Rows: rows, RowBytes: 64, Pitch: 80}, {Rows: rows, RowBytes: 64, Swizzle: ptx.Swizzle32},
		{Rows: rows, RowBytes: 64, Swizzle: ptx.Swizzle64}, {Rows: rows, RowBytes: 128, Swizzle: ptx.Swizzle128},
		{Rows: rows, RowBytes: 256, Swizzle: ptx.Swizzle128},
	} {
		mod := ptx.NewModule(sm75)
		k := mod.Entry("f")
		out := k.ParamGlobal("out")
		lane := k.TidX()
		at := k.DynamicShared(1024).Alloc(tile.Bytes(), 1024)
		cols := tile.RowBytes / 2
		for r := range rows {
			for c := 0; c < cols; c += 64 {
				k.If(k.SetpLtU32(lane, ptx.I(min(cols-c, 64)/2)), func() {
					// Two elements a lane, by the layout known in Go: row r, columns c+2l, c+2l+1.
					first := k.MovU32(ptx.I(r<<8 | c)).Add(lane.Times(2))
					v := first.Or(first.Plus(1).Shl(16))
					k.StU32(tile.Chunk(at, k.VarU32(ptx.I(r)), lane.DivBy(4).Plus(c/8)).Elem(lane.Mod(4), ptx.U32), v)
				})
			}
		}
		k.BarSync(0)
		zero := k.VarU32(ptx.I(0))
		n := 0
		put := func(regs [4]ptx.RegB32) {
			for _, r := range regs {
				k.StB32(out.Elem(lane.Plus(32*n), ptx.U32), r)
				n++
			}
		}
		const row, chunk = 16, 2 // of the fragment
		put(k.LdmatrixX4(tile.FragmentA(lane, zero).At(at).Plus(row, chunk)))
		put(k.LdmatrixX4(tile.FragmentB(lane, zero).At(at).Plus(row, chunk)))
		put(k.LdmatrixX4Trans(tile.FragmentBTrans(lane, zero).At(at).Plus(row, chunk)))
		m := mod.Module()
		got := execute(t, m, 32, 32*n, tile.Bytes())
		for l := range 32 {
			g, q := l/4, l%4
			pos := func(r, c int) uint32 { return uint32((row+r)<<8 | 8*chunk + c) }
			for j := range 4 {
				a := pos(g+8*(j&1), 2*q+8*(j>>1))
				b := pos(g+8*(j>>1), 2*q+8*(j&1))                                       // n, k
				bt := pos(2*q+8*(j&1), g+8*(j>>1)) | pos(2*q+8*(j&1)+1, g+8*(j>>1))<<16 // k, n
				for i, w := range []uint32{a | (a+1)<<16, b | (b+1)<<16, bt} {
					if v := got[32*(4*i+j)+l]; v != w {
						t.Fatalf("%v: %s register %d of lane %d is %#x, expected %#x", tile, []string{"A", "B", "B transposed"}[i], j, l, v, w)
					}
				}
			}
		}
	}
}

// TestMBarrierRing: one warp copies tiles by cp.async, another doubles them, on sm_80,
// through a ring of mbarriers.
func TestMBarrierRing(t *testing.T) {
	const tiles, stages = 7, 3
	x := integers(32*tiles, 20)
	want := make([]float64, len(x))
	for i := range want {
		want[i] = 2 * x[i]
	}
	mod := ptx.NewModule(sm80)
	k := mod.Entry("f")
	in, out := k.ParamGlobal("in"), k.ParamGlobal("out")
	buf := k.Shared("buf", ptx.F32, 32*stages, 16)
	full, empty := k.MBarriers("full", stages), k.MBarriers("empty", stages)
	tid := k.TidX()
	lane := tid.Mod(32)
	k.If(k.SetpEqU32(tid, ptx.I(0)), func() {
		for s := range stages {
			full.Nth(s).Init(k, 32)
			empty.Nth(s).Init(k, 32)
		}
	})
	k.BarSync(0)
	each := func(parity int, f func(ring *ptx.Ring, at ptx.SharedPtr, i ptx.RegU32)) {
		ring := k.NewRing(stages, parity)
		k.For(ptx.I(0), ptx.I(tiles), ptx.I(1), func(tile ptx.RegU32) {
			f(ring, ring.Stage(buf, 128).Elem(lane, ptx.F32), tile.Times(32).Add(lane))
			ring.Advance()
		})
	}
	k.IfElse(k.SetpLtU32(tid, ptx.I(32)), func() {
		each(1, func(ring *ptx.Ring, at ptx.SharedPtr, i ptx.RegU32) {
			ring.Barrier(empty).Wait(k, ring.Parity)
			k.CpAsync(at, in.Elem(i, ptx.F32), 4)
			ring.Barrier(full).CpAsyncArrive(k)
		})
		k.CpAsyncWaitAll()
	}, func() {
		each(0, func(ring *ptx.Ring, at ptx.SharedPtr, i ptx.RegU32) {
			ring.Barrier(full).Wait(k, ring.Parity)
			v := k.LdF32(at)
			ring.Barrier(empty).Arrive(k)
			k.StF32(out.Elem(i, ptx.F32), k.AddF32(v, v))
		})
	})
	runAll(t, &problem{"ring", mod.Module(), Launch{Block: [3]int{64}}, []any{input(ptx.F32, x), output(ptx.F32, want, 0)}})
}

// TestBulkCopies: a block's data go through shared memory by bulk copies, one elected
// thread issuing them.
func TestBulkCopies(t *testing.T) {
	x := integers(256, 21)
	want := make([]float64, len(x))
	for i := range want {
		want[i] = x[i] + 1
	}
	mod := ptx.NewModule(sm90a)
	k := mod.Entry("f")
	in, out := k.ParamGlobal("in"), k.ParamGlobal("out")
	buf := k.Shared("buf", ptx.F32, 256, 128)
	bar := k.MBarriers("bar", 1)
	tid := k.TidX()
	k.If(k.SetpEqU32(tid, ptx.I(0)), func() {
		bar.Init(k, 1)
		k.FenceMbarrierInit()
	})
	k.BarSync(0)
	one := func(f func()) {
		k.If(k.SetpLtU32(tid, ptx.I(32)), func() { k.If(k.ElectOne(), f) })
	}
	one(func() {
		bar.ArriveExpectTx(k, ptx.I(1024))
		k.CpAsyncBulk(buf, in, ptx.I(1024), bar.SharedPtr)
	})
	bar.Wait(k, ptx.I(0))
	at := buf.Elem(tid.Times(4), ptx.F32)
	v := k.LdV4F32(at)
	for i := range v {
		v[i] = k.AddF32(v[i], ptx.F(1))
	}
	k.StV4F32(at, v)
	k.FenceProxyAsync()
	k.BarSync(0)
	one(func() {
		k.CpAsyncBulkStore(out, buf, ptx.I(1024))
		k.BulkCommitGroup()
		k.BulkWaitGroup(0)
	})
	runAll(t, &problem{"bulk", mod.Module(), Launch{Block: [3]int{64}}, []any{input(ptx.F32, x), output(ptx.F32, want, 0)}})
}

func runAll(t *testing.T, p *problem) {
	t.Helper()
	for _, cfg := range schedules() {
		if err := p.run(p.module, cfg); err != nil {
			t.Errorf("%s, %v %d: %v", p.name, cfg.Schedule, cfg.Seed, err)
		}
	}
}
