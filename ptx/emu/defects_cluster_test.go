package emu_test

import (
	"fmt"
	"strings"

	"github.com/selkie-ml/selkie/ptx/emu"
)

const (
	// %r1 is the block's rank, %r2 that of the other of two; %r43 the other's word of s, %r44 its barrier.
	peer = sharedWord + `
		mov.u32 %r1, %cluster_ctarank; xor.b32 %r2, %r1, 1; mov.u32 %r45, bar;
		mapa.shared::cluster.u32 %r43, %r42, %r2; mapa.shared::cluster.u32 %r44, %r45, %r2;
`
	clusterSync = "barrier.cluster.arrive; barrier.cluster.wait;\n"
	waitBar     = "L: mbarrier.try_wait.parity.shared.b64 %p3, [%r45], 0; @!%p3 bra L;\n"
	first       = "setp.ne.u32 %p1, %t, 0; setp.eq.u32 %p2, %r1, 0;\n" // not thread 0; block 0
	// Block 0 multicasts 64 bytes to both; thread 0 of each has announced them.
	multicast = `
		@%p1 bra WAIT;
		mbarrier.arrive.expect_tx.shared.b64 _, [%r45], 64;
		mov.u16 %h1, 3;
		@%p2 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r40], [%in], 64, [%r45], %h1; //!
		WAIT:
`
)

// pipeline is a ring of two stages that both blocks fill by multicast and release in both, as libraries
// write it: a relaxed barrier in the beginning, none in the end, where the producer waits until
// all stages are released.
func pipeline(tiles int) string {
	var b strings.Builder
	wait := func(label, bar string, s, parity int) {
		fmt.Fprintf(&b, "%s: mbarrier.try_wait.parity.shared.b64 %%p3, [%s+%d], %d; @!%%p3 bra %s;\n", label, bar, 8*s, parity, label)
	}
	b.WriteString(`
		mov.u32 %r1, %cluster_ctarank; mov.u32 %r40, s; mov.u32 %r45, fulls; mov.u32 %r46, empties; mov.u16 %h1, 3;
		mapa.shared::cluster.u32 %r47, %r46, 0; mapa.shared::cluster.u32 %r48, %r46, 1;
		mul.wide.u32 %d1, %r1, 64; add.u64 %d1, %in, %d1; shl.b32 %r2, %r1, 6; add.u32 %r2, %r40, %r2;
		setp.ne.u32 %p1, %t, 0; @%p1 bra READY;
		mbarrier.init.shared.b64 [%r45], 1; mbarrier.init.shared.b64 [%r45+8], 1;
		mbarrier.init.shared.b64 [%r46], 2; mbarrier.init.shared.b64 [%r46+8], 2;
		fence.mbarrier_init.release.cluster;
		READY: barrier.cluster.arrive.relaxed; barrier.cluster.wait.acquire;
		setp.eq.u32 %p2, %t, 32; @%p2 bra CONSUMER; @%p1 bra END;
`)
	for i := range tiles {
		wait(fmt.Sprintf("E%d", i), "%r46", i%2, 1-i/2%2)
		fmt.Fprintf(&b, `
		mbarrier.arrive.expect_tx.shared.b64 _, [%%r45+%[1]d], 128;
		cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%%r2+%[2]d], [%%d1+%[3]d], 64, [%%r45+%[1]d], %%h1;
`, 8*(i%2), 128*(i%2), 128*i)
	}
	for i := tiles; i < tiles+2; i++ {
		b.WriteString("\t+ ")
		wait(fmt.Sprintf("E%d", i), "%r46", i%2, 1-i/2%2)
	}
	b.WriteString("bra END;\nCONSUMER:\n")
	for i := range tiles {
		wait(fmt.Sprintf("F%d", i), "%r45", i%2, i/2%2)
		fmt.Fprintf(&b, `
		ld.shared.v2.u32 {%%r3, %%r4}, [%%r40+%[2]d]; add.u32 %%r5, %%r3, %%r4; st.global.u32 [%%out+%[3]d], %%r5;
		mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%%r47+%[1]d]; //!
		mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%%r48+%[1]d]; //!
`, 8*(i%2), 128*(i%2)+56, 8*i)
	}
	return b.String() + end
}

// Defects of clusters: barriers whose initialisation others cannot see (PTX ISA, "membar, fence":
// fence.mbarrier_init), and blocks that end while others use their shared memory.
var clusterDefects = []defect{
	{name: "multicast without fence.mbarrier_init", kind: emu.KindProxyFence, grid: 2, cluster: 2, body: peer + first + `
		@!%p1 mbarrier.init.shared.b64 [%r45], 1;
		+ @!%p1 fence.mbarrier_init.release.cluster;
		` + clusterSync + multicast + waitBar + clusterSync},
	{name: "multicast without fence.proxy.async", kind: emu.KindProxyFence, grid: 2, cluster: 2, body: peer + first + `
		@!%p1 mbarrier.init.shared.b64 [%r45], 1;
		+ @!%p1 fence.proxy.async;
		` + clusterSync + multicast + waitBar + clusterSync},
	{name: "fence before the initialisation", kind: emu.KindProxyFence, grid: 2, cluster: 2, body: peer + first + `
		- @!%p1 fence.mbarrier_init.release.cluster;
		@!%p1 mbarrier.init.shared.b64 [%r45], 1;
		+ @!%p1 fence.mbarrier_init.release.cluster;
		` + clusterSync + multicast + waitBar + clusterSync},
	{name: "fence by another thread than the one that initialised", kind: emu.KindProxyFence, block: 64, grid: 2, cluster: 2, body: peer + first + `
		setp.ne.u32 %p4, %t, 32;
		@!%p1 mbarrier.init.shared.b64 [%r45], 1;
		bar.sync 0;
		- @!%p4 fence.mbarrier_init.release.cluster;
		+ @!%p1 fence.mbarrier_init.release.cluster;
		` + clusterSync + multicast + waitBar + clusterSync},
	{name: "copy to another block, whose barrier is not fenced", kind: emu.KindProxyFence, grid: 2, cluster: 2, body: peer + first + `
		st.shared.u32 [%r42+512], %t;
		fence.proxy.async.shared::cta;
		@!%p1 mbarrier.init.shared.b64 [%r45], 1;
		+ @!%p1 fence.mbarrier_init.release.cluster;
		` + clusterSync + `
		@%p1 bra WAIT;
		mbarrier.arrive.expect_tx.shared.b64 _, [%r45], 128;
		mapa.shared::cluster.u32 %r46, %r40, %r2; add.u32 %r47, %r40, 512;
		cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r46], [%r47], 128, [%r44]; //!
		WAIT:
		` + waitBar + clusterSync},
	{name: "relaxed barrier of the cluster without fence.mbarrier_init", kind: emu.KindRace, grid: 2, cluster: 2, body: peer + first + `
		@!%p1 mbarrier.init.shared.b64 [%r45], 32; //!
		+ @!%p1 fence.mbarrier_init.release.cluster;
		bar.warp.sync -1;
		barrier.cluster.arrive.relaxed; barrier.cluster.wait;
		mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r44]; //!
		` + waitBar + clusterSync},
	{name: "fence.mbarrier_init is none for data", kind: emu.KindRace, grid: 2, cluster: 2, body: peer + first + outWord + `
		st.shared.u32 [%r42], %t; //!
		- fence.mbarrier_init.release.cluster;
		+ fence.acq_rel.cluster;
		barrier.cluster.arrive.relaxed; barrier.cluster.wait;
		ld.shared::cluster.u32 %r3, [%r43]; //!
		@%p2 st.global.u32 [%d1], %r3;
		` + clusterSync},

	{name: "fence.mbarrier_init is none for the source of a copy", kind: emu.KindProxyFence, body: sharedWord + `
		mov.u32 %r45, bar; mbarrier.init.shared.b64 [%r45], 1;
		st.shared.u32 [%r42], %t;
		- fence.mbarrier_init.release.cluster;
		+ fence.proxy.async.shared::cta;
		bar.sync 0;
		` + one + `
		cp.async.bulk.global.shared::cta.bulk_group [%out], [%r40], 128; //!
		cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
		END:`},

	{name: "a block is reached before it is known to have begun", kind: emu.KindLifetime, grid: 2, cluster: 2, body: peer + `
		+ barrier.cluster.arrive.relaxed; barrier.cluster.wait;
		st.shared::cluster.u32 [%r43], %t; //!
		` + clusterSync},

	{name: "a block ends before another's last load", kind: emu.KindLifetime, grid: 2, cluster: 2, body: peer + first + outWord + `
		st.shared.u32 [%r42], %t;
		` + clusterSync + `
		ld.shared::cluster.u32 %r3, [%r43]; //!
		@%p2 st.global.u32 [%d1], %r3;
		+ ` + clusterSync},
	{name: "a block ends before another's store", kind: emu.KindLifetime, grid: 2, cluster: 2, body: peer + `
		` + clusterSync + `
		st.shared::cluster.u32 [%r43], %t; //!
		+ ` + clusterSync},
	{name: "a block ends before another's atomic", kind: emu.KindLifetime, grid: 2, cluster: 2, body: peer + `
		st.shared.u32 [%r42], 0;
		` + clusterSync + `
		red.relaxed.cluster.shared::cluster.add.u32 [%r43], 1; //!
		+ ` + clusterSync},
	{name: "the cluster's last barrier comes before the access", kind: emu.KindLifetime, grid: 2, cluster: 2, body: peer + `
		` + clusterSync + `
		- barrier.cluster.arrive;
		st.shared::cluster.u32 [%r43], %t; //!
		+ barrier.cluster.arrive;
		barrier.cluster.wait;`},
	{name: "arrival at the cluster's last barrier without a wait", kind: emu.KindLifetime, grid: 2, cluster: 2, body: peer + `
		` + clusterSync + `
		st.shared::cluster.u32 [%r43], %t; //!
		barrier.cluster.arrive;
		+ barrier.cluster.wait;`},
	{name: "a block ends before another arrives at its barrier", kind: emu.KindLifetime, grid: 2, cluster: 2, body: peer + first + `
		@!%p1 mbarrier.init.shared.b64 [%r45], 32;
		@!%p1 fence.mbarrier_init.release.cluster;
		` + clusterSync + `
		mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r44]; //!
		+ ` + waitBar},
	{name: "a block waits for one of two arrivals", kind: emu.KindLifetime, grid: 2, cluster: 2, body: peer + first + `
		mov.u32 %r46, bar2; mapa.shared::cluster.u32 %r47, %r46, %r2;
		@!%p1 mbarrier.init.shared.b64 [%r45], 32;
		@!%p1 mbarrier.init.shared.b64 [%r46], 32;
		@!%p1 fence.mbarrier_init.release.cluster;
		` + clusterSync + `
		mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r44];
		` + waitBar + `
		mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r47]; //!
		+ M: mbarrier.try_wait.parity.shared.b64 %p3, [%r46], 0; @!%p3 bra M;`},
	{name: "a block ends before a multicast to it", kind: emu.KindLifetime, also: emu.KindMBarrier, grid: 2, cluster: 2, body: peer + first + `
		@!%p1 mbarrier.init.shared.b64 [%r45], 1; //!
		@!%p1 fence.mbarrier_init.release.cluster;
		` + clusterSync + multicast + `
		- @!%p2 bra END;
		` + waitBar + end},
	{name: "a block ends before st.async has come", kind: emu.KindLifetime, also: emu.KindMBarrier, grid: 2, cluster: 2, body: peer + first + `
		@!%p1 mbarrier.init.shared.b64 [%r45], 1; //!
		@!%p1 fence.mbarrier_init.release.cluster;
		@!%p1 mbarrier.arrive.expect_tx.shared.b64 _, [%r45], 128;
		` + clusterSync + `
		st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r43], %t, [%r44]; //!
		+ ` + waitBar},
	{name: "a pipeline over two blocks ends before its stages are released", kind: emu.KindLifetime, block: 64, grid: 2, cluster: 2,
		decls: ".shared .align 8 .b64 fulls[2];\n.shared .align 8 .b64 empties[2];\n", body: pipeline(5)},
	{name: "a block ends before a copy to it that completes at its barrier", kind: emu.KindAsync, block: 1, body: `
		mov.u32 %r1, s; mov.u32 %r2, bar;
		mbarrier.init.shared.b64 [%r2], 1;
		mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 64;
		cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%in], 64, [%r2]; //!
		- mov.u32 %r4, 0; W: add.u32 %r4, %r4, 1; nanosleep.u32 1; setp.lt.u32 %p2, %r4, 400; @%p2 bra W;
		+ L: mbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0; @!%p1 bra L;`},
}
