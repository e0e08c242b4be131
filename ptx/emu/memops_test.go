package emu_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/selkie-ml/selkie/ptx/emu"
)

func TestAtomics(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       uint64
	}{
		{"add.u32", "atom.global.add.u32 %r0, [%out], 3;", 3 * 64},
		{"red.shared", ".shared .u32 s; setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [s], 0; bar.sync 0; red.shared.add.u32 [s], %t; bar.sync 0; ld.shared.u32 %r0, [s]; @%p1 st.global.u32 [%out], %r0;", 63 * 32},
		{"max.s32", "sub.s32 %r1, %t, 70; red.global.max.s32 [%out], %r1; add.s32 %r1, %t, 1; red.global.max.s32 [%out], %r1;", 64},
		{"inc", "atom.global.inc.u32 %r0, [%out], 9;", 4},
		{"dec", "atom.global.dec.u32 %r0, [%out], 9;", 6},
		{"add.u64", "cvt.u64.u32 %d1, %t; red.add.u64 [%out], %d1;", 63 * 32},
		{"or.b64", "mov.u64 %d1, 1; shl.b64 %d1, %d1, %t; red.global.or.b64 [%out], %d1;", math.MaxUint64},
		{"xor.b32", "red.global.xor.b32 [%out], %t;", 0},
		{"add.f32", "red.global.add.f32 [%out], 0f3F000000;", uint64(math.Float32bits(32))},
		{"add.f64", "red.global.add.f64 [%out], 0d3FE0000000000000;", math.Float64bits(32)},
		{"add.f16x2", "mov.b32 %r1, 0x3c003800; red.global.add.noftz.f16x2 [%out], %r1;", 0x54005000},
		{"add.bf16x2", "mov.b32 %r1, 0x3f803f00; red.global.add.noftz.bf16x2 [%out], %r1;", 0x42804200},
		{"v2.f32", "red.global.add.v2.f32 [%out], {0f3F800000, 0f3F000000};", uint64(math.Float32bits(64)) | uint64(math.Float32bits(32))<<32},
		{"cas", "mov.u32 %r1, 0; L: mov.u32 %r2, %r1; add.u32 %r3, %r2, 2; atom.global.cas.b32 %r1, [%out], %r2, %r3; setp.ne.u32 %p1, %r1, %r2; @%p1 bra L;", 128},
		{"cas.b16", "mov.b16 %h1, 0; L: mov.b16 %h2, %h1; add.u16 %h3, %h2, 1; atom.global.cas.b16 %h1, [%out+2], %h2, %h3; setp.ne.u16 %p1, %h1, %h2; @%p1 bra L;", 64 << 16},
		{"exch.b128", "mov.u64 %d1, 5; mov.u64 %d2, 6; mov.b128 %q1, {%d1, %d2}; atom.global.exch.b128 %q2, [%out], %q1;", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			ok(t, kernel(c.body), 1, 64, 16, nil, func(t *testing.T, r result) {
				if r.u64(0) != c.want {
					t.Errorf("%#x, want %#x", r.u64(0), c.want)
				}
			})
		})
	}
}

// Every window of generic addresses, told apart by isspacep.
func TestGenericAddresses(t *testing.T) {
	ok(t, module(".const .u32 c = 11; .global .u32 g = 22;", `
	.shared .u32 s; .local .u32 l;
	setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [s], 33; bar.sync 0;
	st.local.u32 [l], %t;
	mov.u64 %d1, c; cvta.const.u64 %d1, %d1;
	mov.u64 %d2, g;
	mov.u64 %d3, s; cvta.shared.u64 %d3, %d3;
	mov.u64 %d4, l; cvta.local.u64 %d4, %d4;
	and.b32 %r1, %t, 3;
	mov.u64 %d5, %d1;
	setp.eq.u32 %p1, %r1, 1; @%p1 mov.u64 %d5, %d2;
	setp.eq.u32 %p1, %r1, 2; @%p1 mov.u64 %d5, %d3;
	setp.eq.u32 %p1, %r1, 3; @%p1 mov.u64 %d5, %d4;
	ld.u32 %r0, [%d5];
	isspacep.const %p2, %d5; selp.u32 %r2, 1000, 0, %p2; add.u32 %r0, %r0, %r2;
	isspacep.shared %p2, %d5; selp.u32 %r2, 2000, 0, %p2; add.u32 %r0, %r0, %r2;
	isspacep.local %p2, %d5; selp.u32 %r2, 3000, 0, %p2; add.u32 %r0, %r0, %r2;
	isspacep.global %p2, %d5; selp.u32 %r2, 4000, 0, %p2; add.u32 %r0, %r0, %r2;
	cvta.to.shared.u64 %d6, %d3; mov.u32 %r3, s; cvt.u32.u64 %r4, %d6; setp.ne.u32 %p3, %r3, %r4; @%p3 trap;
`+store), 1, 32, 128, nil, func(t *testing.T, r result) {
		for i := range 32 {
			want := [4]uint32{1011, 4022, 2033, uint32(3000 + i)}[i&3]
			if r.u32(i) != want {
				t.Errorf("lane %d has %d, want %d", i, r.u32(i), want)
			}
		}
	})
}

func TestInitialisers(t *testing.T) {
	ok(t, module(`
.global .align 8 .u64 tab[3] = {generic(g)+4, 7, generic(c)};
.global .u32 g[3] = {1, 2, 3}; .const .u32 c[2] = {9, 10};
.global .align 4 .b8 bytes[8] = {0xff(g), 1, 2};
.global .f32 f = 2.5;
`, `
	ld.global.u64 %d1, [tab]; ld.u32 %r1, [%d1];
	ld.global.u64 %d2, [tab+16]; ld.u32 %r2, [%d2+4];
	ld.global.f32 %f1, [f]; cvt.rzi.u32.f32 %r3, %f1;
	mov.u64 %d3, g; cvt.u32.u64 %r4, %d3; and.b32 %r4, %r4, 255; ld.global.u8 %r5, [bytes]; sub.u32 %r4, %r4, %r5;
	ld.global.u8 %r6, [bytes+2];
	mad.lo.u32 %r0, %r1, 1000, %r2; mad.lo.u32 %r0, %r0, 10, %r3; add.u32 %r0, %r0, %r4; add.u32 %r0, %r0, %r6;
`+store), 1, 1, 4, nil, func(t *testing.T, r result) {
		if r.u32(0) != 20102+2 {
			t.Errorf("%d", r.u32(0))
		}
	})
}

func TestVectorAccess(t *testing.T) {
	in := make([]byte, 1024)
	for i := range in {
		in[i] = byte(i * 7)
	}
	ok(t, kernel(`
	mul.wide.u32 %d1, %t, 16; add.u64 %d2, %in, %d1; add.u64 %d3, %out, %d1;
	ld.global.nc.L1::no_allocate.v4.u32 {%r1, %r2, %r3, %r4}, [%d2];
	ld.global.v2.u8 {%h1, %h2}, [%d2+2];
	ld.volatile.global.s8 %r5, [%d2+3];
	add.u32 %r2, %r2, %r5; cvt.u32.u16 %r6, %h1; add.u32 %r3, %r3, %r6;
	st.global.v2.u64 [%d3], {%d1, %d2};
	st.global.cs.v4.b32 [%d3], {%r4, %r3, %r2, %r1};
	prefetch.global.L2 [%d2];
`), 1, 64, 1024, in, func(t *testing.T, r result) {
		for i := range 64 {
			w := func(k int) uint32 { return binary.LittleEndian.Uint32(in[16*i+4*k:]) }
			want := [4]uint32{w(3), w(2) + uint32(in[16*i+2]), w(1) + uint32(int32(int8(in[16*i+3]))), w(0)}
			for k := range 4 {
				if r.u32(4*i+k) != want[k] {
					t.Fatalf("thread %d, word %d: %#x, want %#x", i, k, r.u32(4*i+k), want[k])
				}
			}
		}
	})
}

func TestWarpInstructions(t *testing.T) {
	ok(t, kernel(`
	and.b32 %r1, %t, 3;
	match.any.sync.b32 %r2, %r1, -1;
	match.all.sync.b32 %r3|%p1, %r1, -1;
	@%p1 trap;
	elect.sync %r4|%p2, 0xffffffff;
	selp.u32 %r5, 1, 0, %p2; redux.sync.add.u32 %r5, %r5, -1;
	vote.sync.ballot.b32 %r6, %p2, -1;
	activemask.b32 %r7;
	shfl.sync.up.b32 %r8|%p3, %t, 1, 0, -1;
	selp.u32 %r9, 1, 0, %p3;
	shfl.sync.idx.b32 %r10, %t, 2, 0x181f, -1;
	popc.b32 %r11, %r2; add.u32 %r0, %r11, %r3; add.u32 %r0, %r0, %r5; add.u32 %r0, %r0, %r6;
	popc.b32 %r7, %r7; add.u32 %r0, %r0, %r7; shl.b32 %r8, %r8, 8; add.u32 %r0, %r0, %r8;
	shl.b32 %r9, %r9, 16; add.u32 %r0, %r0, %r9; shl.b32 %r10, %r10, 20; add.u32 %r0, %r0, %r10;
`+store), 1, 32, 128, nil, func(t *testing.T, r result) {
		leader := uint32(0)
		for i := range uint32(32) {
			up, in := i, uint32(0)
			if i > 0 {
				up, in = i-1, 1
			}
			want := 8 + 0 + 1 + 1<<leader + 32 + up<<8 + in<<16 + (i&^7|2)<<20
			if r.u32(int(i)) != want {
				t.Errorf("lane %d has %#x, want %#x", i, r.u32(int(i)), want)
			}
		}
	})
}

func TestSpecialRegisters(t *testing.T) {
	ok(t, kernel(`
	mov.u32 %r1, %laneid; mov.u32 %r2, %warpid; mov.u32 %r3, %ntid.x; mov.u32 %r4, %nctaid.x; mov.u32 %r5, %lanemask_lt;
	mov.u64 %d1, %globaltimer; mov.u64 %d2, %clock64; mov.u64 %d3, %clock64; setp.gt.u64 %p1, %d2, %d3; @%p1 trap;
	nanosleep.u32 100;
	mad.lo.u32 %r0, %r2, 32, %r1; popc.b32 %r5, %r5; setp.ne.u32 %p2, %r5, %r1; @%p2 trap;
	mad.lo.u32 %r0, %r0, %r3, %r4; mov.u32 %r6, %ctaid.x; add.u32 %r0, %r0, %r6;
`+store), 1, 70, 280, nil, func(t *testing.T, r result) {
		for i := range 70 {
			if r.u32(i) != uint32(i*70+1) {
				t.Errorf("thread %d has %d", i, r.u32(i))
			}
		}
	})
}

func TestAlloca(t *testing.T) {
	ok(t, kernel(`
	stacksave.u64 %d1;
	mov.u64 %d2, 64; alloca.u64 %d3, %d2, 16;
	st.local.u32 [%d3+60], %t; ld.local.u32 %r0, [%d3+60];
	stackrestore.u64 %d1;
`+store), 1, 64, 256, nil, func(t *testing.T, r result) {
		if r.u32(63) != 63 {
			t.Errorf("%d", r.u32(63))
		}
	})
}

// TestCopyTensormap copies a map that threads have put together in shared memory.
func TestCopyTensormap(t *testing.T) {
	ok(t, kernel(`
	.shared .align 128 .b8 s[128];
	mov.u32 %r1, s; shl.b32 %r2, %t, 2; add.u32 %r1, %r1, %r2; mul.lo.u32 %r3, %t, 7;
	st.shared.u32 [%r1], %r3; bar.warp.sync -1;
	mov.u32 %r1, s;
	tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%out], [%r1], 128;
	bar.warp.sync -1;
`), 1, 32, 128, nil, func(t *testing.T, r result) {
		for i := range 32 {
			if r.u32(i) != uint32(7*i) {
				t.Errorf("word %d is %d", i, r.u32(i))
			}
		}
	})
}

func TestProfileIsNilWithout(t *testing.T) {
	if p := emu.New(emu.Config{}).Profile(); p != nil {
		t.Errorf("%+v", p)
	}
}
