package race

import (
	"testing"
)

// bench is a block with one memory, in which a script of accesses runs.
type desk struct {
	t   *testing.T
	b   *Block
	m   *Memory
	loc Locations
	got []Conflict
}

func newDesk(t *testing.T, threads int) *desk {
	return &desk{t: t, b: NewBlock(3, 3, threads), m: NewMemory(1<<16, true)}
}

func linear(base, stride uint64) *[32]uint64 {
	var off [32]uint64
	for l := range off {
		off[l] = base + stride*uint64(l)
	}
	return &off
}

const all = ^uint32(0)

func (d *desk) op(w *Warp, kind Kind, mask uint32, off *[32]uint64, size int, site uint32) {
	d.m.Access(w, &Op{Kind: kind, Mask: mask, Off: off, Size: size, Site: site}, func(c *Conflict) { d.got = append(d.got, *c) })
}

func (d *desk) strong(w *Warp, kind Kind, o Order, s Scope, mask uint32, off *[32]uint64, site uint32) {
	d.loc.Before(w, d.m, kind, o, s, mask, off)
	d.m.Access(w, &Op{Kind: kind, Scope: s, Mask: mask, Off: off, Size: 4, Site: site}, func(c *Conflict) { d.got = append(d.got, *c) })
	d.loc.After(w, d.m, kind, o, s, mask, off)
}

func (d *desk) barrier() {
	var m Meeting
	for _, w := range d.b.Warps {
		m.Arrive(w, w.live, true)
	}
	m.Complete()
}

func (d *desk) syncWarp(w *Warp, mask uint32) {
	var m Meeting
	m.Arrive(w, mask, true)
	m.Complete()
}

// want checks and forgets the conflicts found.
func (d *desk) want(n int, what string) {
	d.t.Helper()
	if len(d.got) != n {
		d.t.Errorf("%s: %d conflicts, want %d: %+v", what, len(d.got), n, d.got)
	}
	d.got = nil
}

func TestBarrierOrders(t *testing.T) {
	d := newDesk(t, 64)
	a, b := d.b.Warps[0], d.b.Warps[1]
	d.op(a, Write, all, linear(0, 4), 4, 1)
	d.op(a, Read, all, linear(0, 4), 4, 2)
	d.want(0, "own bytes")
	d.barrier()
	d.op(b, Read, all, linear(0, 4), 4, 3)
	d.op(a, Read, all, linear(4, 4), 4, 3)
	d.want(0, "after the barrier")
	d.op(a, Write, all, linear(0, 4), 4, 4)
	if len(d.got) != 32 || d.got[0].Earlier.Site != 3 {
		t.Errorf("write after read: %d conflicts: %+v", len(d.got), d.got)
	}
	d.got = nil
	d.op(b, Read, all, linear(0, 4), 4, 5)
	d.want(32, "read after write without a barrier")
	d.barrier()
	d.op(b, Write, all, linear(0, 4), 4, 5)
	d.want(0, "after the second barrier")
}

func TestWithinWarp(t *testing.T) {
	d := newDesk(t, 64)
	w := d.b.Warps[0]
	d.op(w, Write, all, linear(0, 4), 4, 1)
	d.op(w, Read, all, linear(4, 4), 4, 2) // the neighbour's
	d.want(31, "no bar.warp.sync")
	d.syncWarp(w, all)
	d.op(w, Write, all, linear(512, 4), 4, 1)
	d.syncWarp(w, all)
	d.op(w, Read, all, linear(516, 4), 4, 2)
	d.want(0, "bar.warp.sync")
	d.syncWarp(w, 0xffff)
	d.op(w, Write, 0xff, linear(1024, 4), 4, 3)
	d.syncWarp(w, 0xffff)
	d.op(w, Read, 0xff<<8, linear(1024-32, 4), 4, 4)
	d.want(0, "half the warp, synchronised")
	d.op(w, Read, 0xff<<16, linear(1024-64, 4), 4, 5)
	d.want(8, "the other half is not")
}

func TestBytes(t *testing.T) {
	d := newDesk(t, 64)
	a, b := d.b.Warps[0], d.b.Warps[1]
	d.op(a, Write, all, linear(0, 2), 1, 1)
	d.op(b, Write, all, linear(1, 2), 1, 2)
	d.want(0, "interleaved bytes")
	d.op(b, Read, 1, linear(0, 4), 4, 3)
	d.want(1, "a word over bytes of both")
	d.op(b, Write, 1, linear(4096, 4), 4, 3)
	d.op(a, Read, 1, linear(4098, 4), 2, 3)
	d.want(1, "half of a word")
}

func TestScattered(t *testing.T) {
	d := newDesk(t, 64)
	a, b := d.b.Warps[0], d.b.Warps[1]
	var off [32]uint64
	for l := range off {
		off[l] = uint64(l*l) * 64 % 4096 * 4
	}
	off[9] = off[3]
	d.op(a, Write, all&^(1<<9), &off, 4, 1)
	dup := map[uint64]int{}
	for l, o := range off {
		if l != 9 {
			dup[o]++
		}
	}
	clash := 0
	for _, n := range dup {
		clash += n - 1
	}
	d.want(clash, "lanes that store to the same place")
	d.op(b, Read, 1<<9, &off, 4, 2)
	d.want(1, "another warp reads")
}

func TestBenign(t *testing.T) {
	d := newDesk(t, 64)
	store := func(w *Warp, mask uint32, off *[32]uint64, v func(lane int) byte, old byte) {
		d.m.Access(w, &Op{Kind: Write, Mask: mask, Off: off, Size: 1, Site: 1,
			Value: func(l, _ int) byte { return v(l) }, Current: func(uint64) byte { return old }},
			func(c *Conflict) { d.got = append(d.got, *c) })
	}
	one := func(int) byte { return 1 }
	store(d.b.Warps[0], all, linear(64, 0), one, 0)
	d.want(0, "all lanes store the same value")
	store(d.b.Warps[1], all, linear(64, 0), one, 1)
	d.want(0, "another warp stores the value that is there")
	store(d.b.Warps[0], all, linear(64, 0), func(l int) byte { return byte(l) }, 1)
	if len(d.got) == 0 {
		t.Error("different values by one store were not found")
	}
}

func TestAtomics(t *testing.T) {
	d := newDesk(t, 96)
	a, b, c := d.b.Warps[0], d.b.Warps[1], d.b.Warps[2]
	for _, w := range d.b.Warps {
		d.strong(w, Atomic, Relaxed, GPU, all, linear(0, 0), 1)
	}
	d.want(0, "atomics among themselves")
	d.op(c, Read, 1, linear(0, 0), 4, 2)
	d.want(1, "a plain read beside atomics")
	d.barrier()
	d.op(c, Read, 1, linear(0, 0), 4, 2)
	d.want(0, "a plain read after a barrier")

	// st; fence; strong store of a flag — strong load; fence; ld.
	d.op(a, Write, 1, linear(512, 0), 4, 3)
	a.Fence(1, GPU)
	d.strong(a, Write, Relaxed, System, 1, linear(1024, 0), 4)
	d.strong(b, Read, Relaxed, System, 1, linear(1024, 0), 5)
	d.op(b, Read, 1, linear(512, 0), 4, 6)
	d.want(1, "no acquiring fence")
	b.Fence(1, GPU)
	d.op(b, Read, 1, linear(512, 0), 4, 6)
	d.want(0, "release and acquire by fences")

	d.op(a, Write, 1, linear(2048, 0), 4, 3)
	d.strong(a, Write, Release, GPU, 1, linear(3072, 0), 4)
	d.strong(c, Atomic, Acquire, GPU, 1, linear(3072, 0), 5)
	d.op(c, Read, 1, linear(2048, 0), 4, 6)
	d.want(0, "st.release, atom.acquire")
}

func TestScopes(t *testing.T) {
	d := newDesk(t, 32)
	a := d.b.Warps[0]
	b := NewBlock(4, 4, 32).Warps[0]
	d.op(a, Write, 1, linear(0, 0), 4, 1)
	a.Fence(1, CTA)
	d.strong(a, Atomic, Relaxed, GPU, 1, linear(64, 0), 2)
	d.strong(b, Atomic, Relaxed, GPU, 1, linear(64, 0), 3)
	b.Fence(1, GPU)
	d.op(b, Read, 1, linear(0, 0), 4, 4)
	d.want(1, "a fence of the block does not reach another")
	a.Fence(1, GPU)
	d.strong(a, Atomic, Relaxed, GPU, 1, linear(64, 0), 2)
	d.strong(b, Atomic, Relaxed, GPU, 1, linear(64, 0), 3)
	b.Fence(1, GPU)
	d.op(b, Read, 1, linear(0, 0), 4, 4)
	d.want(0, "a fence of the GPU does")
	d.strong(a, Atomic, Relaxed, CTA, 1, linear(128, 0), 5)
	d.strong(b, Atomic, Relaxed, CTA, 1, linear(128, 0), 6)
	d.want(1, "atomics of too narrow a scope")
}

func TestAsync(t *testing.T) {
	d := newDesk(t, 64)
	a, b := d.b.Warps[0], d.b.Warps[1]
	issue := func(w *Warp, kind Kind, op *Async, off uint64) {
		d.m.Access(w, &Op{Kind: kind, Mask: all, Off: linear(off, 16), Size: 16, Site: 9, Async: op, Proxy: op.Proxy},
			func(c *Conflict) { d.got = append(d.got, *c) })
	}
	cp := &Async{}
	issue(a, Write, cp, 0)
	d.want(0, "issue")
	d.op(a, Read, all, linear(0, 16), 16, 2)
	if len(d.got) != 32 || d.got[0].Problem != Unfinished {
		t.Errorf("read before the wait: %+v", d.got)
	}
	d.got = nil
	cp.Wait(a, all)
	d.op(a, Read, all, linear(0, 16), 16, 2)
	d.want(0, "read after the wait")
	d.op(b, Read, all, linear(0, 16), 16, 2)
	d.want(32, "another warp before the barrier")
	d.barrier()
	d.op(b, Read, all, linear(0, 16), 16, 2)
	d.want(0, "another warp after the barrier")

	// A barrier tells of the copies of those lanes alone that waited.
	half := &Async{}
	issue(a, Write, half, 4096)
	half.Wait(a, all>>16)
	d.barrier()
	d.op(b, Read, all, linear(4096, 16), 16, 2)
	d.want(16, "half of the lanes waited")

	// A bulk copy that completes at an mbarrier.
	tma, g := &Async{Proxy: true}, NewAgent()
	d.barrier()
	issue(a, Write, tma, 8192)
	tma.CompleteAt(g)
	d.op(a, Read, all, linear(8192, 16), 16, 3)
	d.want(32, "issuer before its wait")
	phase := g.Clock()
	b.Acquire(all, phase)
	d.op(b, Read, all, linear(8192, 16), 16, 3)
	d.want(0, "waiter")

	// Generic writes must be made visible to the async proxy.
	d.op(a, Write, all, linear(16384, 16), 16, 4)
	d.barrier()
	st := &Async{Proxy: true}
	issue(b, Read, st, 16384)
	if len(d.got) != 32 || d.got[0].Problem != NoProxy {
		t.Errorf("no proxy fence: %+v", d.got)
	}
	d.got = nil
	d.barrier()
	d.op(a, Write, all, linear(20480, 16), 16, 4)
	a.ProxyFence(all)
	d.barrier()
	issue(b, Read, &Async{Proxy: true}, 20480)
	d.want(0, "proxy fence by the writer")
	d.op(a, Write, all, linear(24576, 16), 16, 4)
	d.barrier()
	b.ProxyFence(all)
	issue(b, Read, &Async{Proxy: true}, 24576)
	d.want(0, "proxy fence by the issuer")
}

func TestMeetings(t *testing.T) {
	d := newDesk(t, 128)
	w := d.b.Warps
	var m Meeting
	d.op(w[0], Write, all, linear(0, 4), 4, 1)
	m.Arrive(w[0], all, false)                   // bar.arrive
	d.op(w[0], Write, all, linear(128, 4), 4, 2) // after it
	m.Arrive(w[1], all, true)
	m.Complete()
	d.op(w[1], Read, all, linear(0, 4), 4, 3)
	d.want(0, "before bar.arrive")
	d.op(w[1], Read, all, linear(128, 4), 4, 4)
	d.want(32, "after bar.arrive")
	d.op(w[2], Read, all, linear(0, 4), 4, 5)
	d.want(32, "a warp that was not there")

	// Lane 0 of each of two warps arrives at an mbarrier.
	d.barrier()
	d.op(w[0], Write, 1, linear(512, 4), 4, 6)
	d.op(w[1], Write, 1, linear(516, 4), 4, 6)
	m.Arrive(w[0], 1, false)
	m.Arrive(w[1], 1, false)
	c := m.Complete()
	w[2].Acquire(all, c)
	d.op(w[2], Read, 3, linear(512, 4), 4, 7)
	d.want(0, "mbarrier")
	d.op(w[0], Read, 2, linear(508, 4), 4, 8) // lane 1 reads what lane 0 wrote
	d.want(1, "lane 1 did not wait")
}

func TestExited(t *testing.T) {
	d := newDesk(t, 64)
	a, b := d.b.Warps[0], d.b.Warps[1]
	d.op(a, Write, all, linear(0, 4), 4, 1)
	a.Exit(all)
	d.syncWarp(b, all)
	d.op(b, Read, 1, linear(0, 4), 4, 2)
	d.want(1, "bar.warp.sync")
	m := Meeting{Barrier: true}
	m.Arrive(b, all, true)
	m.Complete()
	d.op(b, Read, all, linear(0, 4), 4, 2)
	d.want(0, "threads that ended count as arrived")
}

func TestReset(t *testing.T) {
	d := newDesk(t, 64)
	d.op(d.b.Warps[0], Write, all, linear(0, 4), 4, 1)
	d.m.Reset()
	d.op(d.b.Warps[1], Write, all, linear(0, 4), 4, 1)
	d.want(0, "a new launch")
}

// TestPalette fills a page with as many histories as it can hold, and more.
func TestPalette(t *testing.T) {
	d := newDesk(t, 64)
	for i := range 4000 {
		w := d.b.Warps[i%2]
		d.barrier()
		d.op(w, Write, 1<<(i%32), linear(uint64(i*37%256), 0), 1, uint32(i))
	}
	d.want(0, "separated by barriers")
	d.op(d.b.Warps[0], Read, 1, linear(uint64(3999*37%256), 0), 1, 9)
	d.want(1, "the last is still known")
}

func BenchmarkContiguous(b *testing.B) {
	blk := NewBlock(0, 0, 256)
	m := NewMemory(1<<16, false)
	var meet Meeting
	offs := make([]*[32]uint64, 8)
	for i := range offs {
		offs[i] = linear(uint64(i)*128, 4)
	}
	op := &Op{Mask: all, Size: 4}
	for i := 0; i < b.N; {
		for _, w := range blk.Warps {
			op.Kind, op.Site, op.Off = Write, 1, offs[w.Index]
			m.Access(w, op, nil)
			i++
		}
		for _, w := range blk.Warps {
			meet.Arrive(w, all, true)
		}
		meet.Complete()
		for _, w := range blk.Warps {
			op.Kind, op.Site = Read, 2
			for j := range offs {
				op.Off = offs[j]
				if m.Access(w, op, nil) != 0 {
					b.Fatal("race")
				}
				i++
			}
		}
		for _, w := range blk.Warps {
			meet.Arrive(w, all, true)
		}
		meet.Complete()
	}
}

func BenchmarkScatteredAtomics(b *testing.B) {
	blk := NewBlock(0, 0, 256)
	m := NewMemory(1<<16, false)
	var off [32]uint64
	for i := range b.N {
		for l := range off {
			off[l] = uint64((i*7+l*l*13)%256) * 4
		}
		m.Access(blk.Warps[i%8], &Op{Kind: Atomic, Scope: GPU, Mask: all, Size: 4, Off: &off, Site: 1}, nil)
	}
}

// TestScratch has a barrier forget what lies before it, and nothing else.
func TestScratch(t *testing.T) {
	d := newDesk(t, 64)
	d.b.Scratch(d.m)
	for i := range 10000 {
		for j, w := range d.b.Warps {
			d.op(w, Write, all, linear(uint64(128*((i+j)%2)), 4), 4, 1)
		}
		d.barrier()
		for j, w := range d.b.Warps {
			d.op(w, Read, all, linear(uint64(128*((i+j+1)%2)), 4), 4, 2)
		}
		d.barrier()
	}
	d.want(0, "separated by barriers")
	d.op(d.b.Warps[0], Write, all, linear(0, 4), 4, 3)
	d.op(d.b.Warps[1], Read, all, linear(64, 4), 4, 4)
	d.want(16, "no barrier")
}
