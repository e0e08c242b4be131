package emu_test

import (
	"bytes"
	"testing"

	"github.com/selkie-ml/selkie/ptx/emu"
)

// Lanes of a warp that take a lock one after the other, the holder leaving the loop
// before the others: without forward progress for every lane this never ends.
func TestSpinLockBetweenLanes(t *testing.T) {
	ok(t, module(".global .u32 lock; .global .u32 n;", `
SPIN:
	atom.global.cas.b32 %r1, [lock], 0, 1;
	setp.ne.u32 %p1, %r1, 0;
	@%p1 bra SPIN;
	membar.gl;
	ld.volatile.global.u32 %r2, [n];
	add.u32 %r2, %r2, 1;
	st.volatile.global.u32 [n], %r2;
	membar.gl;
	atom.global.exch.b32 %r1, [lock], 0;
	bar.sync 0;
	setp.ne.u32 %p1, %t, 0;
	@%p1 ret;
	ld.volatile.global.u32 %r0, [n];
	atom.global.max.u32 %r1, [%out], %r0;
`), 3, 64, 4, nil, func(t *testing.T, r result) {
		if r.u32(0) != 192 {
			t.Errorf("the lock let %d of 192 increments through", r.u32(0))
		}
	})
}

// One warp produces, others consume through a flag in shared memory.
func TestProducerConsumerWarps(t *testing.T) {
	ok(t, module(".shared .u32 flag; .shared .u32 data[32];", `
	setp.eq.u32 %p0, %t, 0;
	@%p0 st.shared.u32 [flag], 0;
	bar.sync 0;
	setp.ge.u32 %p1, %t, 32;
	@%p1 bra CONSUME;
	mov.u32 %r1, data; shl.b32 %r2, %t, 2; add.u32 %r1, %r1, %r2;
	mul.lo.u32 %r3, %t, 7;
	st.shared.u32 [%r1], %r3;
	bar.warp.sync -1;
	@%p0 st.release.cta.shared.u32 [flag], 1;
	ret;
CONSUME:
	ld.acquire.cta.shared.u32 %r4, [flag];
	setp.eq.u32 %p2, %r4, 0;
	@%p2 bra CONSUME;
	and.b32 %r5, %t, 31; shl.b32 %r5, %r5, 2; mov.u32 %r1, data; add.u32 %r1, %r1, %r5;
	ld.shared.u32 %r0, [%r1];
`+store), 1, 128, 512, nil, func(t *testing.T, r result) {
		for i := 32; i < 128; i++ {
			if r.u32(i) != uint32(i%32*7) {
				t.Errorf("thread %d read %d", i, r.u32(i))
			}
		}
	})
}

// A block waits for another through global memory, whichever begins first.
func TestBlocksWaitForEachOther(t *testing.T) {
	ok(t, module(".global .u32 arrived;", `
	setp.ne.u32 %p0, %t, 0;
	@%p0 bra DONE;
	atom.add.release.gpu.global.u32 %r1, [arrived], 1;
WAIT:
	ld.acquire.gpu.global.u32 %r2, [arrived];
	mov.u32 %r3, %nctaid.x;
	setp.lt.u32 %p1, %r2, %r3;
	@%p1 bra WAIT;
DONE:
	bar.sync 0;
	mov.u32 %r4, %ctaid.x; shl.b32 %r5, %r4, 2; cvt.u64.u32 %d1, %r5; add.u64 %d1, %out, %d1;
	@%p0 ret;
	st.global.u32 [%d1], %r2;
`), 40, 32, 160, nil, func(t *testing.T, r result) {
		for i := range 40 {
			if r.u32(i) < 40 {
				t.Errorf("block %d went on after %d arrivals", i, r.u32(i))
			}
		}
	})
}

// Lanes leave a loop at different times and meet behind it: a full mask works there.
func TestDivergentLoopReconverges(t *testing.T) {
	ok(t, kernel(`
	mov.u32 %r1, 0;
LOOP:
	add.u32 %r1, %r1, 1;
	and.b32 %r2, %t, 7;
	setp.le.u32 %p1, %r1, %r2;
	@%p1 bra LOOP;
	redux.sync.add.u32 %r0, %r1, -1;
`+store), 1, 64, 256, nil, func(t *testing.T, r result) {
		for i := range 64 {
			if r.u32(i) != 4*36 {
				t.Errorf("thread %d has the sum %d", i, r.u32(i))
			}
		}
	})
}

// The same shuffle stands in both sides of a branch, with one full mask.
func TestCollectiveAtTwoPlaces(t *testing.T) {
	ok(t, kernel(`
	and.b32 %r1, %t, 1;
	setp.eq.u32 %p1, %r1, 0;
	mul.lo.u32 %r2, %t, 3;
	@%p1 bra EVEN;
	add.u32 %r5, %r2, 1000;
	shfl.sync.bfly.b32 %r0, %r5, 1, 31, -1;
	bra JOIN;
EVEN:
	shfl.sync.bfly.b32 %r0, %r2, 1, 31, -1;
JOIN:
`+store), 1, 32, 128, nil, func(t *testing.T, r result) {
		for i := range 32 {
			want := uint32((i ^ 1) * 3)
			if i%2 == 0 {
				want += 1000
			}
			if r.u32(i) != want {
				t.Errorf("lane %d has %d, want %d", i, r.u32(i), want)
			}
		}
	})
}

// Recursion to a depth that differs by lane, through .param space.
func TestRecursion(t *testing.T) {
	ok(t, module(`
.func (.param .b32 ret) fib(.param .b32 n) {
	.reg .b32 %a<8>; .reg .pred %q; .param .b32 arg; .param .b32 res;
	ld.param.u32 %a0, [n];
	setp.lt.u32 %q, %a0, 2;
	@%q bra BASE;
	sub.u32 %a1, %a0, 1;
	st.param.b32 [arg], %a1;
	call (res), fib, (arg);
	ld.param.b32 %a2, [res];
	sub.u32 %a1, %a0, 2;
	st.param.b32 [arg], %a1;
	call (res), fib, (arg);
	ld.param.b32 %a3, [res];
	add.u32 %a0, %a2, %a3;
BASE:
	st.param.b32 [ret], %a0;
	ret;
}`, `
	.param .b32 x; .param .b32 y;
	and.b32 %r1, %t, 15;
	st.param.b32 [x], %r1;
	call (y), fib, (x);
	ld.param.b32 %r0, [y];
	redux.sync.add.u32 %r2, %r0, -1;
`+store+"st.global.u32 [%out+128], %r2;"), 1, 32, 132, nil, func(t *testing.T, r result) {
		sum := uint32(0)
		for i := range 32 {
			a, b := uint32(0), uint32(1)
			for range i % 16 {
				a, b = b, a+b
			}
			sum += a
			if r.u32(i) != a {
				t.Errorf("fib(%d) is %d, want %d", i%16, r.u32(i), a)
			}
		}
		if r.u32(32) != sum {
			t.Errorf("sum behind the calls is %d, want %d", r.u32(32), sum)
		}
	})
}

func TestIndirectCalls(t *testing.T) {
	ok(t, module(`
.func (.reg .b32 r) f0(.reg .b32 x) { add.u32 r, x, 100; ret; }
.func (.reg .b32 r) f1(.reg .b32 x) { mul.lo.u32 r, x, 3; ret; }
.func (.reg .b32 r) f2(.reg .b32 x) { not.b32 r, x; ret; }
.global .u64 table[3] = {f0, f1, f2};`, `
	rem.u32 %r1, %t, 3;
	mul.wide.u32 %d1, %r1, 8; mov.u64 %d2, table; add.u64 %d1, %d1, %d2;
	ld.global.u64 %d3, [%d1];
	proto: .callprototype (.reg .b32 _) _ (.reg .b32 _);
	call (%r0), %d3, (%t), proto;
	activemask.b32 %r4;
	bar.warp.sync -1;
`+store), 1, 64, 256, nil, func(t *testing.T, r result) {
		for i := range uint32(64) {
			want := [3]uint32{i + 100, i * 3, ^i}[i%3]
			if r.u32(int(i)) != want {
				t.Errorf("thread %d has %d, want %d", i, r.u32(int(i)), want)
			}
		}
	})
}

func TestBarriers(t *testing.T) {
	// 4 warps: 0 and 1 produce and arrive, 2 and 3 wait, at barrier 1 with 128 threads.
	ok(t, module(".shared .u32 data[64];", `
	shl.b32 %r2, %t, 2; mov.u32 %r1, data;
	setp.ge.u32 %p1, %t, 64;
	@%p1 bra WAIT;
	add.u32 %r1, %r1, %r2;
	st.shared.u32 [%r1], %t;
	barrier.arrive 1, 128;
	ret;
WAIT:
	barrier.sync 1, 128;
	xor.b32 %r2, %r2, 0x1fc; add.u32 %r1, %r1, %r2;
	ld.shared.u32 %r0, [%r1];
`+store), 1, 128, 512, nil, func(t *testing.T, r result) {
		for i := 64; i < 128; i++ {
			if r.u32(i) != uint32(127-i) {
				t.Errorf("thread %d has %d", i, r.u32(i))
			}
		}
	})
	ok(t, kernel(`
	setp.lt.u32 %p1, %t, 40;
	barrier.red.popc.u32 %r0, 0, %p1;
	barrier.red.and.pred %p2, 0, %p1;
	barrier.red.or.pred %p3, 0, %p1;
	selp.u32 %r1, 100, 0, %p2; selp.u32 %r2, 1000, 0, %p3;
	add.u32 %r0, %r0, %r1; add.u32 %r0, %r0, %r2;
`+store), 1, 96, 384, nil, func(t *testing.T, r result) {
		for i := range 96 {
			if r.u32(i) != 1040 {
				t.Errorf("thread %d has %d", i, r.u32(i))
			}
		}
	})
	// A barrier waits for threads that live only.
	ok(t, kernel(`
	setp.ge.u32 %p1, %t, 32;
	@%p1 exit;
	bar.sync 0;
	mov.u32 %r0, 5;
`+store), 1, 96, 384, nil, func(t *testing.T, r result) {
		if r.u32(31) != 5 || r.u32(32) != 0 {
			t.Errorf("%d %d", r.u32(31), r.u32(32))
		}
	})
}

func TestDeadlock(t *testing.T) {
	text := kernel(`
	setp.ge.u32 %p1, %t, 32;
	@%p1 bra OTHER;
	barrier.sync 1, 64;
	ret;
OTHER:
	barrier.sync 2, 64;
`)
	fails(t, emu.Config{}, text, 64, "deadlock", "barrier 1", "barrier 2", "32 threads wait")
	fails(t, emu.Config{Schedule: emu.Adversarial}, text, 64, "deadlock")
}

// The order of atomics is decided by the seed alone, not by the number of workers.
func TestSameSeedSameResult(t *testing.T) {
	text := module(".global .u32 ticket;", `
	atom.global.add.u32 %r0, [ticket], 1;
	cvt.rn.f32.u32 %f0, %r0; rcp.rn.f32 %f1, %f0; 
	setp.eq.u32 %p0, %r0, 0; @%p0 mov.f32 %f1, 0f00000000;
	red.global.add.f32 [%out], %f1;
	mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mad.lo.u32 %t, %r1, %r2, %t; add.u32 %t, %t, 1;
`+store)
	different := false
	for _, s := range []emu.Schedule{emu.RoundRobin, emu.Random, emu.Adversarial} {
		var outs [][]byte
		for seed := range uint64(3) {
			var first []byte
			for _, workers := range []int{1, 1, 2, 5} {
				r := run(t, emu.Config{Schedule: s, Seed: seed, Workers: workers}, text, 23, 96, 4*(23*96+1), nil)
				if r.err != nil {
					t.Fatal(r.err)
				}
				if first == nil {
					first = r.out
				} else if !bytes.Equal(first, r.out) {
					t.Fatalf("%v, seed %d: another result with %d workers", s, seed, workers)
				}
			}
			outs = append(outs, first)
		}
		different = different || !bytes.Equal(outs[0], outs[1])
	}
	if !different {
		t.Error("no seed changes the order of atomics")
	}
}
