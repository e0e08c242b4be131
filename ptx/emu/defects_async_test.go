package emu_test

import "github.com/selkie-ml/selkie/ptx/emu"

var asyncDefects = []defect{
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
	{name: "expect_tx is missing", kind: emu.KindMBarrier, also: emu.KindAsync, block: 1, body: `
		mov.u32 %r1, s; mov.u32 %r2, bar;
		mbarrier.init.shared.b64 [%r2], 1; //!
		+ mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 64;
		cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%in], 64, [%r2]; //!
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
