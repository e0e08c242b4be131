package emu_test

import (
	"slices"

	"github.com/selkie-ml/selkie/ptx/emu"
)

// At is %d1 = base + 4*%t, for kernels in which every thread has its word.
const (
	outWord    = "mul.wide.u32 %d2, %t, 4; add.u64 %d1, %out, %d2;\n"
	inWord     = "mul.wide.u32 %d4, %t, 4; add.u64 %d3, %in, %d4;\n"
	sharedWord = "mov.u32 %r40, s; shl.b32 %r41, %t, 2; add.u32 %r42, %r40, %r41;\n"
	one        = "setp.ne.u32 %p15, %t, 0; @%p15 bra END;\n" // thread 0 alone goes on
	end        = "END:\n"
)

// defects is the whole table; what waits and copies is in defects_async_test.go, what
// clusters do wrong in defects_cluster_test.go.
var defects = slices.Concat(memoryDefects, asyncDefects, clusterDefects)

var memoryDefects = []defect{
	// Bounds.
	{name: "store behind an allocation", kind: emu.KindOutOfBounds, block: 1, body: `
		- st.global.u32 [%out+4096], 1; //!
		+ st.global.u32 [%out+4092], 1;`},
	{name: "load before an allocation", kind: emu.KindOutOfBounds, block: 1, body: `
		- ld.global.u32 %r1, [%in+-4]; //!
		+ ld.global.u32 %r1, [%in];`},
	{name: "guard off by one", kind: emu.KindOutOfBounds, block: 1024, grid: 2, body: `
		mov.u32 %r1, %ctaid.x; mad.lo.u32 %r2, %r1, 1024, %t;
		- setp.gt.u32 %p1, %r2, 1024;
		+ setp.ge.u32 %p1, %r2, 1024;
		mul.wide.u32 %d1, %r2, 4; add.u64 %d2, %out, %d1;
		@!%p1 st.global.u32 [%d2], %r2; //!`},
	{name: "vector over the end", kind: emu.KindOutOfBounds, block: 1, in: 4104, body: `
		- ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%in+4096]; //!
		+ ld.global.v2.u32 {%r1, %r2}, [%in+4096];`},
	{name: "between shared variables", kind: emu.KindOutOfBounds, block: 1, body: `
		mov.u32 %r1, s; mov.u32 %r2, s2; st.shared.u32 [%r2], 0;
		- st.shared.u32 [%r1+4096], 1; //!
		+ st.shared.u32 [%r1+4092], 1;`},
	{name: "before shared memory", kind: emu.KindOutOfBounds, block: 1, body: `
		mov.u32 %r1, s;
		- st.shared.u32 [%r1+-4], 1; //!
		+ st.shared.u32 [%r1], 1;`},
	{name: "atomic behind an allocation", kind: emu.KindOutOfBounds, block: 1, body: `
		- red.global.add.u32 [%out+4096], 1; //!
		+ red.global.add.u32 [%out+4092], 1;`},
	{name: "behind local memory", kind: emu.KindOutOfBounds, block: 1, body: `
		.local .align 8 .b8 l[16];
		mov.u32 %r1, l;
		- st.local.u32 [%r1+1048576], 1; //!
		+ st.local.u32 [%r1+12], 1;`},
	{name: "behind dynamic shared memory", kind: emu.KindOutOfBounds, block: 64, shared: 128, body: `
		mov.u32 %r1, dyn; shl.b32 %r2, %t, 2; add.u32 %r3, %r1, %r2;
		setp.ge.u32 %p1, %t, 32;
		- st.shared.u32 [%r3], %t; //!
		+ @!%p1 st.shared.u32 [%r3], %t;`},
	{name: "source of cp.async behind an allocation", kind: emu.KindOutOfBounds, block: 1, body: `
		mov.u32 %r1, s;
		- cp.async.ca.shared.global [%r1], [%in+4096], 16; //!
		+ cp.async.ca.shared.global [%r1], [%in+4080], 16;
		cp.async.wait_all;`},
	{name: "bulk copy over the end of a variable", kind: emu.KindOutOfBounds, block: 1, body: `
		mov.u32 %r1, s; mov.u32 %r2, bar;
		mbarrier.init.shared.b64 [%r2], 1;
		- mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 64;
		- cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1+4064], [%in], 64, [%r2]; //!
		+ mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 32;
		+ cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1+4064], [%in], 32, [%r2];
		L: mbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0; @!%p1 bra L;`},
	{name: "row of ldmatrix behind a variable", kind: emu.KindOutOfBounds, body: sharedWord + `
		shl.b32 %r1, %t, 4; add.u32 %r2, %r40, %r1; mov.u32 %r9, s2; st.shared.u32 [%r9], 0;
		st.shared.v4.u32 [%r2], {%t, %t, %t, %t};
		bar.warp.sync -1;
		- add.u32 %r2, %r2, 3984;
		ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r3}, [%r2]; //!`},
	{name: "load of freed memory", kind: emu.KindUseAfterFree, block: 1, freed: true, body: `
		ld.global.u32 %r1, [%in]; //!`},
	{name: "atomic on freed memory", kind: emu.KindUseAfterFree, block: 1, freed: true, body: `
		red.global.add.u32 [%in+8], 1; //!`},

	// Alignment.
	{name: "misaligned 64-bit load", kind: emu.KindMisaligned, block: 1, body: `
		- ld.global.u64 %d1, [%in+4]; //!
		+ ld.global.u64 %d1, [%in+8];`},
	{name: "misaligned vector", kind: emu.KindMisaligned, block: 1, body: `
		- ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%in+8]; //!
		+ ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%in+16];`},
	{name: "misaligned shared store", kind: emu.KindMisaligned, block: 1, body: `
		mov.u32 %r1, s;
		- st.shared.u32 [%r1+2], 1; //!
		+ st.shared.u32 [%r1+4], 1;`},
	{name: "misaligned row of ldmatrix", kind: emu.KindMisaligned, body: sharedWord + `
		shl.b32 %r1, %t, 4; add.u32 %r2, %r40, %r1;
		st.shared.v4.u32 [%r2], {%t, %t, %t, %t};
		bar.warp.sync -1;
		- add.u32 %r2, %r2, 8;
		ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r3}, [%r2]; //!`},
	{name: "misaligned mbarrier", kind: emu.KindMisaligned, block: 1, body: `
		mov.u32 %r1, s;
		- mbarrier.init.shared.b64 [%r1+4], 1; //!
		+ mbarrier.init.shared.b64 [%r1+8], 1;`},
	{name: "misaligned cp.async", kind: emu.KindMisaligned, block: 1, body: `
		mov.u32 %r1, s;
		- cp.async.cg.shared.global [%r1], [%in+8], 16; //!
		+ cp.async.cg.shared.global [%r1], [%in+16], 16;
		cp.async.wait_all;`},
	{name: "misaligned atomic", kind: emu.KindMisaligned, block: 1, body: `
		- atom.global.add.u64 %d1, [%out+4], 1; //!
		+ atom.global.add.u64 %d1, [%out+8], 1;`},
	{name: "misaligned bulk copy", kind: emu.KindMisaligned, block: 1, body: `
		mov.u32 %r1, s;
		st.shared.v4.u32 [%r1], {0, 0, 0, 0}; st.shared.v4.u32 [%r1+16], {0, 0, 0, 0};
		fence.proxy.async.shared::cta;
		- cp.async.bulk.global.shared::cta.bulk_group [%out], [%r1+8], 16; //!
		+ cp.async.bulk.global.shared::cta.bulk_group [%out], [%r1+16], 16;
		cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;`},

	// Values that nobody wrote.
	{name: "store of a register never written", kind: emu.KindUninitialised, block: 1, body: `
		+ mov.u32 %r1, 5;
		st.global.u32 [%out], %r1; //!`},
	{name: "arithmetic on a register never written", kind: emu.KindUninitialised, block: 1, body: `
		+ mov.u32 %r1, 5;
		add.u32 %r2, %r1, 1; mul.lo.u32 %r3, %r2, 3;
		st.global.u32 [%out], %r3; //!`},
	{name: "address never written", kind: emu.KindUninitialised, block: 1, body: `
		mov.u64 %d1, %out;
		+ mov.u32 %r1, 0;
		and.b32 %r1, %r1, 0; cvt.u64.u32 %d2, %r1; add.u64 %d3, %d1, %d2;
		st.global.u32 [%d3], 1; //!`},
	{name: "guard never written", kind: emu.KindUninitialised, block: 1, body: `
		+ setp.eq.u32 %p1, %t, 0;
		@%p1 st.global.u32 [%out], 1; //!`},
	{name: "shared memory never written", kind: emu.KindUninitialised, body: sharedWord + outWord + `
		+ st.shared.u32 [%r42], %t;
		ld.shared.u32 %r1, [%r42];
		st.global.u32 [%d1], %r1; //!`},
	{name: "global memory never written", kind: emu.KindUninitialised, block: 1, blank: true, body: `
		ld.global.u32 %r1, [%in];
		st.global.u32 [%out], %r1; //!`},
	{name: "local memory never written", kind: emu.KindUninitialised, block: 1, body: `
		.local .align 8 .b8 l[16];
		mov.u32 %r1, l;
		- st.local.u32 [%r1], 1;
		+ st.local.u32 [%r1+4], 1;
		ld.local.u32 %r2, [%r1+4];
		st.global.u32 [%out], %r2; //!`},
	{name: "branch on shared memory never written", kind: emu.KindUninitialised, block: 1, body: `
		mov.u32 %r1, s;
		+ st.shared.u32 [%r1], 1;
		ld.shared.u32 %r2, [%r1]; setp.eq.u32 %p1, %r2, 7;
		@%p1 bra END; //!
		END:`},
	{name: "fragment never written", kind: emu.KindUninitialised, body: `
		mov.u32 %r1, 0; mov.u32 %r2, 0; mov.u32 %r3, 0;
		+ mov.u32 %r4, 0;
		mov.u32 %r5, 0; mov.u32 %r6, 0; mov.f32 %f1, 0f00000000;
		mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, {%f1, %f1, %f1, %f1}; //!`},
	{name: "one byte of a word never written", kind: emu.KindUninitialised, block: 1, body: `
		mov.u32 %r1, s; mov.u16 %h1, 1;
		st.shared.u8 [%r1], %h1; st.shared.u8 [%r1+1], %h1; st.shared.u8 [%r1+2], %h1;
		+ st.shared.u8 [%r1+3], %h1;
		ld.shared.u32 %r2, [%r1];
		st.global.u32 [%out], %r2; //!`},
	{name: "written by some lanes alone", kind: emu.KindUninitialised, body: outWord + `
		setp.lt.u32 %p1, %t, 16;
		@%p1 mov.u32 %r1, 1;
		+ @!%p1 mov.u32 %r1, 2;
		st.global.u32 [%d1], %r1; //!`},
	{name: "atomic on shared memory never written", kind: emu.KindUninitialised, block: 1, body: `
		mov.u32 %r1, s;
		+ st.shared.u32 [%r1], 0;
		red.shared.add.u32 [%r1], 1; //!`},
	{name: "operand of an atomic never written", kind: emu.KindUninitialised, block: 1, body: `
		+ mov.u32 %r1, 1;
		red.global.add.u32 [%out], %r1; //!`},
	{name: "shuffle of a register never written", kind: emu.KindUninitialised, body: outWord + `
		+ mov.u32 %r1, 1;
		shfl.sync.bfly.b32 %r2, %r1, 1, 0x1f, -1;
		st.global.u32 [%d1], %r2; //!`},
	{name: "a pointer that nobody wrote to shared memory", kind: emu.KindUninitialised, block: 1, body: `
		mov.u32 %r1, s;
		+ st.shared.u32 [%r1], 0;
		ld.shared.u32 %r2, [%r1]; and.b32 %r2, %r2, 12; cvt.u64.u32 %d1, %r2; add.u64 %d2, %out, %d1;
		st.global.u32 [%d2], 1; //!`},

	// Races.
	{name: "no barrier between store and load", kind: emu.KindRace, block: 64, body: sharedWord + outWord + `
		st.shared.u32 [%r42], 0;
		bar.sync 0;
		st.shared.u32 [%r42], %t; //!
		+ bar.sync 0;
		xor.b32 %r1, %r41, 128; add.u32 %r2, %r40, %r1;
		ld.shared.u32 %r3, [%r2]; //!
		st.global.u32 [%d1], %r3;`},
	{name: "no barrier before the buffer is used again", kind: emu.KindRace, block: 64, body: sharedWord + outWord + `
		mov.u32 %r10, 0;
		xor.b32 %r1, %r41, 128; add.u32 %r2, %r40, %r1;
		L: add.u32 %r11, %r10, %t;
		st.shared.u32 [%r42], %r11; //!
		bar.sync 0;
		ld.shared.u32 %r3, [%r2]; //!
		+ bar.sync 0;
		st.global.u32 [%d1], %r3;
		add.u32 %r10, %r10, 1; setp.lt.u32 %p1, %r10, 3; @%p1 bra L;`},
	{name: "two warps store to one word", kind: emu.KindRace, block: 64, body: `
		mov.u32 %r1, s; shr.u32 %r2, %t, 5;
		+ shl.b32 %r3, %r2, 2; add.u32 %r1, %r1, %r3;
		st.shared.u32 [%r1], %r2; //!`},
	{name: "lanes store different values to one word", kind: emu.KindRace, body: `
		- st.global.u32 [%out], %t; //!
		+ st.global.u32 [%out], 7;`},
	{name: "no bar.warp.sync", kind: emu.KindRace, body: sharedWord + outWord + `
		st.shared.u32 [%r42], %t; //!
		+ bar.warp.sync -1;
		xor.b32 %r1, %r41, 4; add.u32 %r2, %r40, %r1;
		ld.shared.u32 %r3, [%r2]; //!
		st.global.u32 [%d1], %r3;`},
	{name: "bar.warp.sync of half of the lanes", kind: emu.KindRace, body: sharedWord + outWord + `
		st.shared.u32 [%r42], %t; //!
		setp.lt.u32 %p1, %t, 16; selp.u32 %r9, 0xffff, 0xffff0000, %p1;
		- bar.warp.sync %r9;
		+ bar.warp.sync -1;
		xor.b32 %r1, %r41, 64; add.u32 %r2, %r40, %r1;
		ld.shared.u32 %r3, [%r2]; //!
		st.global.u32 [%d1], %r3;`},
	{name: "a shuffle orders no memory", kind: emu.KindRace, body: sharedWord + outWord + `
		st.shared.u32 [%r42], %t; //!
		shfl.sync.bfly.b32 %r5, %t, 1, 0x1f, -1;
		+ bar.warp.sync -1;
		shl.b32 %r5, %r5, 2; add.u32 %r2, %r40, %r5;
		ld.shared.u32 %r3, [%r2]; //!
		st.global.u32 [%d1], %r3;`},
	{name: "bytes of one word", kind: emu.KindRace, block: 64, body: `
		mov.u32 %r1, s; shr.u32 %r2, %t, 5;
		- shr.u32 %r2, %r2, 1;
		add.u32 %r1, %r1, %r2; cvt.u16.u32 %h1, %t; shr.u16 %h1, %h1, 5;
		st.shared.u8 [%r1], %h1; //!`},
	{name: "blocks share a word", kind: emu.KindRace, block: 1, grid: 2, body: `
		mov.u32 %r1, %ctaid.x; mul.wide.u32 %d1, %r1, 4;
		- mov.u64 %d1, 0;
		add.u64 %d2, %out, %d1;
		st.global.u32 [%d2], %r1; //!`},
	{name: "flag without a fence", kind: emu.KindRace, block: 1, grid: 2, body: `
		mov.u32 %r1, %ctaid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra USE;
		st.global.u32 [%out+512], 5; //!
		+ membar.gl;
		st.volatile.global.u32 [%out], 77;
		bra END;
		USE: ld.volatile.global.u32 %r2, [%out]; setp.ne.u32 %p2, %r2, 77; @%p2 bra USE;
		membar.gl;
		ld.global.u32 %r3, [%out+512]; //!
		st.global.u32 [%out+1024], %r3;
		END:`},
	{name: "no fence after a flag was seen", kind: emu.KindRace, block: 1, grid: 2, body: `
		mov.u32 %r1, %ctaid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra USE;
		st.global.u32 [%out+512], 5; //!
		membar.gl;
		st.volatile.global.u32 [%out], 77;
		bra END;
		USE: ld.volatile.global.u32 %r2, [%out]; setp.ne.u32 %p2, %r2, 77; @%p2 bra USE;
		+ membar.gl;
		ld.global.u32 %r3, [%out+512]; //!
		st.global.u32 [%out+1024], %r3;
		END:`},
	{name: "fence of too narrow a scope", kind: emu.KindRace, block: 1, grid: 2, body: `
		mov.u32 %r1, %ctaid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra USE;
		st.global.u32 [%out+512], 5; //!
		- membar.cta;
		+ membar.gl;
		st.volatile.global.u32 [%out], 77;
		bra END;
		USE: ld.volatile.global.u32 %r2, [%out]; setp.ne.u32 %p2, %r2, 77; @%p2 bra USE;
		membar.gl;
		ld.global.u32 %r3, [%out+512]; //!
		st.global.u32 [%out+1024], %r3;
		END:`},
	{name: "a plain flag", kind: emu.KindRace, block: 1, grid: 2, body: `
		mov.u32 %r1, %ctaid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra USE;
		- st.global.u32 [%out], 77; //!
		+ st.relaxed.gpu.global.u32 [%out], 77;
		bra END;
		- USE: ld.global.u32 %r2, [%out]; //!
		+ USE: ld.relaxed.gpu.global.u32 %r2, [%out];
		END:`},
	{name: "relaxed store instead of release", kind: emu.KindRace, block: 1, grid: 2, body: `
		mov.u32 %r1, %ctaid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra USE;
		st.global.u32 [%out+512], 5; //!
		- st.relaxed.gpu.global.u32 [%out], 77;
		+ st.release.gpu.global.u32 [%out], 77;
		bra END;
		USE: ld.acquire.gpu.global.u32 %r2, [%out]; setp.ne.u32 %p2, %r2, 77; @%p2 bra USE;
		ld.global.u32 %r3, [%out+512]; //!
		st.global.u32 [%out+1024], %r3;
		END:`},
	{name: "relaxed load instead of acquire", kind: emu.KindRace, block: 1, grid: 2, body: `
		mov.u32 %r1, %ctaid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra USE;
		st.global.u32 [%out+512], 5; //!
		st.release.gpu.global.u32 [%out], 77;
		bra END;
		- USE: ld.relaxed.gpu.global.u32 %r2, [%out]; setp.ne.u32 %p2, %r2, 77; @%p2 bra USE;
		+ USE: ld.acquire.gpu.global.u32 %r2, [%out]; setp.ne.u32 %p2, %r2, 77; @%p2 bra USE;
		ld.global.u32 %r3, [%out+512]; //!
		st.global.u32 [%out+1024], %r3;
		END:`},
	{name: "the last block without a fence", kind: emu.KindRace, block: 1, grid: 4, body: `
		mov.u32 %r1, %ctaid.x; mul.wide.u32 %d1, %r1, 4; add.u64 %d2, %out, %d1;
		st.global.u32 [%d2+512], %r1; //!
		+ membar.gl;
		atom.global.inc.u32 %r2, [%out], 3;
		setp.ne.u32 %p1, %r2, 3; @%p1 bra END;
		membar.gl;
		ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%out+512]; //!
		st.global.v4.u32 [%out+1024], {%r3, %r4, %r5, %r6};
		END:`},
	{name: "plain store beside atomics", kind: emu.KindRace, block: 64, body: `
		setp.ne.u32 %p1, %t, 40;
		- @!%p1 st.global.u32 [%out], 3; //!
		+ @!%p1 atom.global.exch.b32 %r1, [%out], 3;
		@%p1 red.global.add.u32 [%out], 1; //!`},
	{name: "atomics of the block's scope between blocks", kind: emu.KindRace, block: 1, grid: 2, body: `
		- red.relaxed.cta.global.add.u32 [%out], 1; //!
		+ red.relaxed.gpu.global.add.u32 [%out], 1;`},
	{name: "no barrier after atomics", kind: emu.KindRace, block: 64, body: sharedWord + outWord + `
		and.b32 %r1, %t, 3; shl.b32 %r1, %r1, 2; add.u32 %r2, %r40, %r1;
		setp.lt.u32 %p1, %t, 4; @%p1 st.shared.u32 [%r42], 0;
		bar.sync 0;
		red.shared.add.u32 [%r2], 1; //!
		+ bar.sync 0;
		ld.shared.u32 %r3, [%r2]; //!
		st.global.u32 [%d1], %r3;`},
	{name: "store after bar.arrive", kind: emu.KindRace, block: 64, body: sharedWord + outWord + `
		setp.ge.u32 %p1, %t, 32; @%p1 bra USE;
		- bar.arrive 1, 64;
		st.shared.u32 [%r42], %t; //!
		+ bar.arrive 1, 64;
		bra END;
		USE: bar.sync 1, 64;
		ld.shared.u32 %r3, [%r42+-128]; //!
		st.global.u32 [%d1], %r3;
		END:`},
	{name: "another barrier than the producers'", kind: emu.KindRace, block: 96, body: sharedWord + outWord + `
		st.shared.u32 [%r42], 0;
		bar.sync 0;
		setp.ge.u32 %p1, %t, 64; @%p1 bra USE;
		st.shared.u32 [%r42], %t; //!
		bar.sync 1, 64;
		+ bar.arrive 2, 96;
		bra END;
		USE:
		+ bar.sync 2, 96;
		ld.shared.u32 %r3, [%r42+-256]; //!
		st.global.u32 [%d1], %r3;
		END:`},
	{name: "remote shared memory without a cluster barrier", kind: emu.KindRace, grid: 2, cluster: 2, body: sharedWord + outWord + `
		mov.u32 %r1, %cluster_ctarank; xor.b32 %r2, %r1, 1;
		mapa.shared::cluster.u32 %r3, %r42, %r2;
		barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;
		st.shared::cluster.u32 [%r3], %t; //!
		+ barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;
		bar.sync 0;
		setp.ne.u32 %p1, %r1, 0; @%p1 bra SKIP;
		ld.shared.u32 %r4, [%r42]; //!
		SKIP: barrier.cluster.arrive; barrier.cluster.wait;`},
	{name: "cluster barrier with a relaxed arrive", kind: emu.KindRace, grid: 2, cluster: 2, body: sharedWord + outWord + `
		mov.u32 %r1, %cluster_ctarank; xor.b32 %r2, %r1, 1;
		mapa.shared::cluster.u32 %r3, %r42, %r2;
		barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;
		st.shared::cluster.u32 [%r3], %t; //!
		- barrier.cluster.arrive.relaxed.aligned;
		+ barrier.cluster.arrive.release.aligned;
		barrier.cluster.wait.aligned;
		ld.shared.u32 %r4, [%r42]; //!
		st.global.u32 [%d1], %r4;`},
	{name: "store after the arrival at an mbarrier", kind: emu.KindRace, block: 64, body: sharedWord + outWord + `
		mov.u32 %r1, bar; setp.ne.u32 %p1, %t, 0;
		@!%p1 mbarrier.init.shared.b64 [%r1], 32;
		bar.sync 0;
		setp.ge.u32 %p2, %t, 32; @%p2 bra USE;
		- mbarrier.arrive.shared.b64 %d5, [%r1];
		st.shared.u32 [%r42], %t; //!
		+ mbarrier.arrive.shared.b64 %d5, [%r1];
		bra END;
		USE: mbarrier.try_wait.parity.shared.b64 %p3, [%r1], 0; @!%p3 bra USE;
		ld.shared.u32 %r3, [%r42+-128]; //!
		st.global.u32 [%d1], %r3;
		END:`},
	{name: "mbarrier of the wrong parity", kind: emu.KindRace, block: 64, body: sharedWord + outWord + `
		mov.u32 %r1, bar; setp.ne.u32 %p1, %t, 0;
		@!%p1 mbarrier.init.shared.b64 [%r1], 32;
		bar.sync 0;
		setp.ge.u32 %p2, %t, 32; @%p2 bra USE;
		st.shared.u32 [%r42], %t; //!
		mbarrier.arrive.shared.b64 %d5, [%r1];
		bra END;
		- USE: mbarrier.test_wait.parity.shared.b64 %p3, [%r1], 1;
		+ USE: mbarrier.try_wait.parity.shared.b64 %p3, [%r1], 0; @!%p3 bra USE;
		ld.shared.u32 %r3, [%r42+-128]; //!
		END:`},
	{name: "no barrier after stmatrix", kind: emu.KindRace, block: 64, body: sharedWord + `
		shr.u32 %r1, %t, 5; and.b32 %r2, %t, 31; shl.b32 %r3, %r2, 4; shl.b32 %r4, %r1, 7; add.u32 %r5, %r40, %r3;
		and.b32 %r8, %r3, 127; add.u32 %r5, %r40, %r8; add.u32 %r6, %r5, %r4; xor.b32 %r4, %r4, 128; add.u32 %r7, %r5, %r4;
		stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r6], {%t}; //!
		+ bar.sync 0;
		ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r9}, [%r7]; //!`},
}
