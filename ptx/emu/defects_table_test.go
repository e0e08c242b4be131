package emu_test

import "github.com/selkie-ml/selkie/ptx/emu"

// At is %d1 = base + 4*%t, for kernels in which every thread has its word.
const (
	outWord    = "mul.wide.u32 %d2, %t, 4; add.u64 %d1, %out, %d2;\n"
	inWord     = "mul.wide.u32 %d4, %t, 4; add.u64 %d3, %in, %d4;\n"
	sharedWord = "mov.u32 %r40, s; shl.b32 %r41, %t, 2; add.u32 %r42, %r40, %r41;\n"
	one        = "setp.ne.u32 %p15, %t, 0; @%p15 bra END;\n" // thread 0 alone goes on
	end        = "END:\n"
)

var defects = []defect{
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

	// Convergence and barriers.
	{name: "bar.sync by half of a warp", kind: emu.KindDivergence, body: `
		setp.lt.u32 %p1, %t, 16; @!%p1 bra WAIT;
		- bar.sync 0; //!
		bra END;
		WAIT: mov.u32 %r1, 1;
		- bar.sync 0; //!
		END:
		+ bar.sync 0;`},
	{name: "matrix product after lanes have exited", kind: emu.KindDivergence, body: `
		setp.eq.u32 %p1, %t, 31;
		- @%p1 exit;
		mov.u32 %r1, 0; mov.f32 %f1, 0f00000000;
		mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, {%r1, %r1, %r1, %r1}, {%r1, %r1}, {%f1, %f1, %f1, %f1}; //!`},
	{name: "a mask without the lane", kind: emu.KindMask, body: outWord + `
		- shfl.sync.bfly.b32 %r1, %t, 1, 0x1f, 0x7fffffff; //!
		+ shfl.sync.bfly.b32 %r1, %t, 1, 0x1f, -1;
		st.global.u32 [%d1], %r1;`},
	{name: "a vote whose mask is the other half", kind: emu.KindMask, body: outWord + `
		setp.lt.u32 %p1, %t, 16;
		- selp.u32 %r1, 0xfffe, 0xffff0000, %p1;
		+ selp.u32 %r1, 0xffff, 0xffff0000, %p1;
		vote.sync.ballot.b32 %r2, %p1, %r1; //!
		st.global.u32 [%d1], %r2;`},
	{name: "threads of a barrier no multiple of 32", kind: emu.KindBarrier, block: 64, body: `
		- mov.u32 %r1, 40;
		+ mov.u32 %r1, 64;
		barrier.sync 1, %r1; //!`},
	{name: "more threads than the block has", kind: emu.KindBarrier, block: 32, body: `
		- mov.u32 %r1, 64;
		+ mov.u32 %r1, 32;
		bar.arrive 1, %r1; //!
		bar.sync 2, 32;
		+ bar.sync 2, 32;`},
	{name: "different numbers of threads at one barrier", kind: emu.KindBarrier, also: emu.KindDeadlock, block: 96, body: `
		setp.ge.u32 %p1, %t, 32; @%p1 bra B;
		- bar.sync 1, 64; //!
		+ bar.sync 1, 96;
		bra END;
		B: bar.sync 1, 96; //!
		END:`},
	{name: "two barriers crosswise", kind: emu.KindDeadlock, block: 64, body: `
		setp.ge.u32 %p1, %t, 32; @%p1 bra B;
		bar.sync 1, 64; //!
		bar.sync 2, 64;
		bra END;
		- B: bar.sync 2, 64; //!
		- bar.sync 1, 64;
		+ B: bar.sync 1, 64;
		+ bar.sync 2, 64;
		END:`},
	{name: "an arrival is missing", kind: emu.KindDeadlock, block: 32, body: `
		mov.u32 %r1, bar; setp.ne.u32 %p1, %t, 0;
		- @!%p1 mbarrier.init.shared.b64 [%r1], 33;
		+ @!%p1 mbarrier.init.shared.b64 [%r1], 32;
		bar.sync 0;
		mbarrier.arrive.shared.b64 %d5, [%r1];
		L: mbarrier.try_wait.parity.shared.b64 %p3, [%r1], 0; //!
		@!%p3 bra L; //!`},
	{name: "cluster arrive twice", kind: emu.KindBarrier, grid: 2, cluster: 2, body: `
		barrier.cluster.arrive.aligned;
		- barrier.cluster.arrive.aligned; //!
		barrier.cluster.wait.aligned;`},

	// Asynchronous copies.
	{name: "load before cp.async.wait", kind: emu.KindUnfinished, body: sharedWord + inWord + outWord + `
		cp.async.ca.shared.global [%r42], [%d3], 4;
		cp.async.commit_group;
		+ cp.async.wait_group 0;
		ld.shared.u32 %r1, [%r42]; //!
		- cp.async.wait_group 0;
		st.global.u32 [%d1], %r1;`},
	{name: "wait for a group too few", kind: emu.KindUnfinished, body: sharedWord + inWord + outWord + `
		cp.async.ca.shared.global [%r42], [%d3], 4; cp.async.commit_group;
		cp.async.ca.shared.global [%r42+512], [%d3+512], 4; cp.async.commit_group;
		- cp.async.wait_group 1;
		+ cp.async.wait_group 0;
		ld.shared.u32 %r1, [%r42+512]; //!
		cp.async.wait_all;
		st.global.u32 [%d1], %r1;`},
	{name: "wait before the group is committed", kind: emu.KindUnfinished, body: sharedWord + inWord + outWord + `
		cp.async.ca.shared.global [%r42], [%d3], 4;
		+ cp.async.commit_group;
		cp.async.wait_group 0;
		ld.shared.u32 %r1, [%r42]; //!
		- cp.async.commit_group; cp.async.wait_group 0;
		st.global.u32 [%d1], %r1;`},
	{name: "no barrier after cp.async.wait", kind: emu.KindRace, also: emu.KindUnfinished, block: 64, body: sharedWord + inWord + outWord + `
		xor.b32 %r1, %r41, 128; add.u32 %r2, %r40, %r1;
		cp.async.ca.shared.global [%r42], [%d3], 4; //!
		cp.async.wait_all;
		- bar.warp.sync -1;
		+ bar.sync 0;
		setp.ge.u32 %p1, %t, 32;
		@!%p1 ld.shared.u32 %r3, [%r2]; //!`},
	{name: "two copies to the same bytes", kind: emu.KindUnfinished, body: sharedWord + inWord + `
		cp.async.ca.shared.global [%r42], [%d3], 4;
		- cp.async.ca.shared.global [%r42], [%d3+128], 4; //!
		+ cp.async.ca.shared.global [%r42+128], [%d3+128], 4;
		cp.async.wait_all;`},
	{name: "store to the destination of a copy", kind: emu.KindUnfinished, body: sharedWord + inWord + `
		cp.async.ca.shared.global [%r42], [%d3], 4;
		+ cp.async.wait_all;
		st.shared.u32 [%r42], 0; //!
		- cp.async.wait_all;`},
	{name: "exit before the copy is complete", kind: emu.KindAsync, body: sharedWord + inWord + `
		cp.async.ca.shared.global [%r42], [%d3], 4; //!
		cp.async.commit_group;
		+ cp.async.wait_group 0;`},
	{name: "src-size beyond cp-size", kind: emu.KindAsync, block: 1, body: `
		mov.u32 %r1, s;
		- mov.u32 %r2, 8;
		+ mov.u32 %r2, 2;
		cp.async.ca.shared.global [%r1], [%in], 4, %r2; //!
		cp.async.wait_all;`},
	{name: "cp.async.mbarrier.arrive not waited for", kind: emu.KindUnfinished, body: sharedWord + inWord + outWord + `
		mov.u32 %r1, bar; setp.ne.u32 %p1, %t, 0;
		@!%p1 mbarrier.init.shared.b64 [%r1], 32;
		bar.sync 0;
		cp.async.ca.shared.global [%r42], [%d3], 4;
		cp.async.mbarrier.arrive.noinc.shared.b64 [%r1];
		+ L: mbarrier.try_wait.parity.shared.b64 %p2, [%r1], 0; @!%p2 bra L;
		ld.shared.u32 %r3, [%r42]; //!
		- L: mbarrier.try_wait.parity.shared.b64 %p2, [%r1], 0; @!%p2 bra L;
		st.global.u32 [%d1], %r3;`},
	{name: "load before a bulk copy is complete", kind: emu.KindUnfinished, block: 1, body: `
		mov.u32 %r1, s; mov.u32 %r2, bar;
		mbarrier.init.shared.b64 [%r2], 1;
		mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 64;
		cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%in], 64, [%r2];
		+ L: mbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0; @!%p1 bra L;
		ld.shared.u32 %r3, [%r1+16]; //!
		- L: mbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0; @!%p1 bra L;
		st.global.u32 [%out], %r3;`},
	{name: "expect_tx of too many bytes", kind: emu.KindMBarrier, block: 1, body: `
		mov.u32 %r1, s; mov.u32 %r2, bar;
		mbarrier.init.shared.b64 [%r2], 1;
		- mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 128;
		+ mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 64;
		cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%in], 64, [%r2];
		L: mbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0; //!
		@!%p1 bra L; //!`},
	{name: "expect_tx of too few bytes", kind: emu.KindMBarrier, block: 1, body: `
		mov.u32 %r1, s; mov.u32 %r2, bar;
		mbarrier.init.shared.b64 [%r2], 1;
		- mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 32;
		+ mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 64;
		cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%in], 64, [%r2];
		L: mbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0; //!
		@!%p1 bra L; //!`},
	{name: "expect_tx is missing", kind: emu.KindMBarrier, block: 1, body: `
		mov.u32 %r1, s; mov.u32 %r2, bar;
		mbarrier.init.shared.b64 [%r2], 1; //!
		+ mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 64;
		cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%in], 64, [%r2];
		- mov.u32 %r4, 0; W: add.u32 %r4, %r4, 1; nanosleep.u32 1; setp.lt.u32 %p2, %r4, 400; @%p2 bra W;
		+ L: mbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0; @!%p1 bra L;`},
	{name: "no proxy fence before a bulk store", kind: emu.KindProxyFence, body: sharedWord + `
		st.shared.u32 [%r42], %t;
		+ fence.proxy.async.shared::cta;
		bar.sync 0;
		` + one + `
		cp.async.bulk.global.shared::cta.bulk_group [%out], [%r40], 128; //!
		cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
		END:`},
	{name: "proxy fence on the wrong side of the barrier", kind: emu.KindProxyFence, block: 64, body: sharedWord + `
		- fence.proxy.async.shared::cta;
		st.shared.u32 [%r42], %t;
		+ fence.proxy.async.shared::cta;
		bar.sync 0;
		` + one + `
		cp.async.bulk.global.shared::cta.bulk_group [%out], [%r40], 256; //!
		cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
		END:`},
	{name: "no barrier before a bulk store", kind: emu.KindRace, block: 64, body: sharedWord + `
		st.shared.u32 [%r42], %t; //!
		fence.proxy.async.shared::cta;
		+ bar.sync 0;
		` + one + `
		cp.async.bulk.global.shared::cta.bulk_group [%out], [%r40], 256; //!
		cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
		END:`},
	{name: "source overwritten before wait_group.read", kind: emu.KindUnfinished, block: 1, body: `
		mov.u32 %r1, s;
		st.shared.v4.u32 [%r1], {1, 2, 3, 4};
		fence.proxy.async.shared::cta;
		cp.async.bulk.global.shared::cta.bulk_group [%out], [%r1], 16;
		cp.async.bulk.commit_group;
		+ cp.async.bulk.wait_group.read 0;
		st.shared.u32 [%r1+4], 9; //!
		cp.async.bulk.wait_group 0;`},
	{name: "wait_group.read is no wait for the destination", kind: emu.KindUnfinished, block: 1, body: `
		mov.u32 %r1, s;
		st.shared.v4.u32 [%r1], {1, 2, 3, 4};
		fence.proxy.async.shared::cta;
		cp.async.bulk.global.shared::cta.bulk_group [%out], [%r1], 16;
		cp.async.bulk.commit_group;
		- cp.async.bulk.wait_group.read 0;
		+ cp.async.bulk.wait_group 0;
		ld.global.u32 %r2, [%out+4]; //!
		cp.async.bulk.wait_group 0;`},
	{name: "exit before a bulk store has read its source", kind: emu.KindAsync, block: 1, body: `
		mov.u32 %r1, s;
		st.shared.v4.u32 [%r1], {1, 2, 3, 4};
		fence.proxy.async.shared::cta;
		cp.async.bulk.global.shared::cta.bulk_group [%out], [%r1], 16; //!
		cp.async.bulk.commit_group;
		+ cp.async.bulk.wait_group.read 0;`},
	{name: "size of a bulk copy", kind: emu.KindAsync, block: 1, body: `
		mov.u32 %r1, s;
		st.shared.v4.u32 [%r1], {1, 2, 3, 4}; st.shared.v4.u32 [%r1+16], {1, 2, 3, 4};
		fence.proxy.async.shared::cta;
		- mov.u32 %r2, 24;
		+ mov.u32 %r2, 32;
		cp.async.bulk.global.shared::cta.bulk_group [%out], [%r1], %r2; //!
		cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;`},
	{name: "mbarrier initialised again", kind: emu.KindMBarrier, block: 1, body: `
		mov.u32 %r1, bar;
		mbarrier.init.shared.b64 [%r1], 1;
		mbarrier.arrive.shared.b64 %d1, [%r1];
		+ mbarrier.inval.shared.b64 [%r1];
		mbarrier.init.shared.b64 [%r1], 2; //!`},
	{name: "more arrivals than are pending", kind: emu.KindMBarrier, block: 1, body: `
		mov.u32 %r1, bar;
		mbarrier.init.shared.b64 [%r1], 2;
		mbarrier.arrive.shared.b64 %d1, [%r1], 1;
		- mbarrier.arrive.shared.b64 %d1, [%r1], 2; //!
		+ mbarrier.arrive.shared.b64 %d1, [%r1], 1;`},
	{name: "mbarrier after inval", kind: emu.KindMBarrier, block: 1, body: `
		mov.u32 %r1, bar;
		mbarrier.init.shared.b64 [%r1], 1;
		- mbarrier.inval.shared.b64 [%r1];
		mbarrier.arrive.shared.b64 %d1, [%r1]; //!
		+ mbarrier.inval.shared.b64 [%r1];`},
	{name: "mbarrier never initialised", kind: emu.KindMBarrier, block: 1, body: `
		mov.u32 %r1, bar;
		+ mbarrier.init.shared.b64 [%r1], 1;
		mbarrier.arrive.shared.b64 %d1, [%r1]; //!`},
	{name: "mbarrier overwritten", kind: emu.KindMBarrier, block: 1, body: `
		mov.u32 %r1, bar;
		mbarrier.init.shared.b64 [%r1], 1;
		- st.shared.u64 [%r1], 0;
		mbarrier.arrive.shared.b64 %d1, [%r1]; //!`},
	{name: "mbarrier of count 0", kind: emu.KindMBarrier, block: 1, body: `
		mov.u32 %r1, bar;
		- mov.u32 %r2, 0;
		+ mov.u32 %r2, 1;
		mbarrier.init.shared.b64 [%r1], %r2; //!`},
	{name: "mbarrier used before all know that it is initialised", kind: emu.KindRace, also: emu.KindMBarrier, block: 64, body: `
		mov.u32 %r1, bar; setp.ne.u32 %p1, %t, 0;
		@!%p1 mbarrier.init.shared.b64 [%r1], 64; //!
		+ bar.sync 0;
		mbarrier.arrive.shared.b64 %d1, [%r1]; //!`},
	{name: "leak", kind: emu.KindLeak, block: 1, leak: true, body: `
		st.global.u32 [%out], 1;`},

	// wgmma. Descriptors: K-major, no swizzle, 8 rows of 16 bytes in a core matrix.
	{name: "result read before wgmma.wait_group", kind: emu.KindWgmma, block: 128, body: wgmmaSetup + `
		wgmma.fence.sync.aligned;
		` + wgmmaMul + `
		wgmma.commit_group.sync.aligned;
		+ wgmma.wait_group.sync.aligned 0;
		add.f32 %f10, %f1, %f2; //!
		- wgmma.wait_group.sync.aligned 0;`},
	{name: "result written before wgmma.wait_group", kind: emu.KindWgmma, block: 128, body: wgmmaSetup + `
		wgmma.fence.sync.aligned;
		` + wgmmaMul + `
		wgmma.commit_group.sync.aligned;
		+ wgmma.wait_group.sync.aligned 0;
		mov.f32 %f3, 0f00000000; //!
		- wgmma.wait_group.sync.aligned 0;`},
	{name: "wgmma without fence", kind: emu.KindWgmma, block: 128, body: wgmmaSetup + `
		+ wgmma.fence.sync.aligned;
		` + wgmmaMul + ` //!
		wgmma.commit_group.sync.aligned;
		wgmma.wait_group.sync.aligned 0;`},
	{name: "exit before wgmma.wait_group", kind: emu.KindWgmma, block: 128, body: wgmmaSetup + `
		wgmma.fence.sync.aligned;
		` + wgmmaMul + ` //!
		wgmma.commit_group.sync.aligned;
		+ wgmma.wait_group.sync.aligned 0;`},
	{name: "operands overwritten before wgmma.wait_group", kind: emu.KindUnfinished, also: emu.KindRace, block: 128, body: wgmmaSetup + `
		wgmma.fence.sync.aligned;
		` + wgmmaMul + `
		wgmma.commit_group.sync.aligned;
		+ wgmma.wait_group.sync.aligned 0;
		+ bar.sync 0;
		shr.u32 %r20, %t, 5; and.b32 %r21, %t, 31; shl.b32 %r22, %r20, 9; shl.b32 %r21, %r21, 2; add.u32 %r22, %r22, %r21; add.u32 %r22, %r40, %r22;
		st.shared.u32 [%r22], 0; //!
		- wgmma.wait_group.sync.aligned 0;`},
	{name: "no proxy fence before wgmma", kind: emu.KindProxyFence, block: 128, body: wgmmaStore + `
		+ fence.proxy.async.shared::cta;
		bar.sync 0;
		` + wgmmaDesc + `
		wgmma.fence.sync.aligned;
		` + wgmmaMul + ` //!
		wgmma.commit_group.sync.aligned;
		wgmma.wait_group.sync.aligned 0;`},
	{name: "operand of wgmma never written", kind: emu.KindUninitialised, block: 128, body: `
		mov.u32 %r40, s; mov.u32 %r43, s2; shl.b32 %r41, %t, 4; add.u32 %r42, %r40, %r41; add.u32 %r44, %r43, %r41;
		st.shared.v4.u32 [%r42], {0, 0, 0, 0};
		+ st.shared.v4.u32 [%r44], {0, 0, 0, 0};
		fence.proxy.async.shared::cta;
		bar.sync 0;
		` + wgmmaDesc + `
		wgmma.fence.sync.aligned;
		` + wgmmaMul + ` //!
		wgmma.commit_group.sync.aligned;
		wgmma.wait_group.sync.aligned 0;`},
	{name: "one warp issues no product", kind: emu.KindDeadlock, block: 128, body: wgmmaSetup + `
		wgmma.fence.sync.aligned;
		- setp.ge.u32 %p9, %t, 96; @%p9 bra END;
		` + wgmmaMul + `
		wgmma.commit_group.sync.aligned;
		wgmma.wait_group.sync.aligned 0; //!
		END:`},
}

const (
	wgmmaStore = `
		mov.u32 %r40, s; mov.u32 %r43, s2; shl.b32 %r41, %t, 4; add.u32 %r42, %r40, %r41; add.u32 %r44, %r43, %r41;
		st.shared.v4.u32 [%r42], {0, 0, 0, 0}; st.shared.v4.u32 [%r44], {0, 0, 0, 0};
`
	// LBO 128: along k; SBO 256: from 8 rows to the next.
	wgmmaDesc = `
		shr.u32 %r45, %r40, 4; shr.u32 %r46, %r43, 4; cvt.u64.u32 %d40, %r45; cvt.u64.u32 %d41, %r46;
		or.b64 %d40, %d40, 0x1000080000; or.b64 %d41, %d41, 0x1000080000;
		mov.pred %p10, 0;
`
	wgmmaSetup = wgmmaStore + `
		fence.proxy.async.shared::cta;
		bar.sync 0;
` + wgmmaDesc
	wgmmaMul = `wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1, %f2, %f3, %f4}, %d40, %d41, %p10, 1, 1, 0, 0;`
)
