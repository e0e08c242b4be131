package emu_test

import (
	"runtime"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// TestShadowMemory measures what the sanitiser keeps after kernels that touch all of two
// buffers: at most five bytes for each of theirs.
func TestShadowMemory(t *testing.T) {
	const n = 2 << 20 // bytes of each buffer
	for _, k := range []struct {
		name    string
		threads int // in all
		body    string
	}{
		{"words", n / 4, `
			shl.b32 %r2, %r1, 2; cvt.u64.u32 %d1, %r2; add.u64 %d2, %in, %d1; add.u64 %d3, %out, %d1;
			ld.global.u32 %r3, [%d2]; st.global.u32 [%d3], %r3;`},
		{"vectors", n / 16, `
			shl.b32 %r2, %r1, 4; cvt.u64.u32 %d1, %r2; add.u64 %d2, %in, %d1; add.u64 %d3, %out, %d1;
			ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%d2]; st.global.v4.u32 [%d3], {%r3, %r4, %r5, %r6};`},
		{"bytes", n, `
			cvt.u64.u32 %d1, %r1; add.u64 %d2, %in, %d1; add.u64 %d3, %out, %d1;
			ld.global.u8 %h1, [%d2]; st.global.u8 [%d3], %h1;`},
		{"columns", n / 4, `
			and.b32 %r3, %r1, 1023; shr.u32 %r4, %r1, 10; mad.lo.u32 %r5, %r3, 512, %r4;
			shl.b32 %r2, %r5, 2; cvt.u64.u32 %d1, %r2; add.u64 %d2, %in, %d1; add.u64 %d3, %out, %d1;
			ld.global.u32 %r3, [%d2]; st.global.u32 [%d3], %r3;`},
		{"scattered", n / 4, `
			mul.lo.u32 %r3, %r1, 40503; and.b32 %r3, %r3, 524287;
			shl.b32 %r2, %r3, 2; cvt.u64.u32 %d1, %r2; add.u64 %d2, %in, %d1; add.u64 %d3, %out, %d1;
			ld.global.u32 %r3, [%d2]; st.global.u32 [%d3], %r3;`},
	} {
		t.Run(k.name, func(t *testing.T) {
			heap := func(checks emu.Checks) int64 {
				m, err := ptx.Parse("shadow.ptx", kernel("mov.u32 %r10, %ctaid.x; mov.u32 %r11, %ntid.x; mad.lo.u32 %r1, %r10, %r11, %t;"+k.body))
				if err != nil {
					t.Fatal(err)
				}
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				dev := emu.New(emu.Config{Checks: checks})
				mod, err := dev.Load(m)
				if err != nil {
					t.Fatal(err)
				}
				out, _ := dev.Alloc(n)
				in, _ := dev.Alloc(n)
				if err := dev.Memset(in, 1, n); err != nil {
					t.Fatal(err)
				}
				if err := mod.Launch(emu.Launch{Kernel: "k", Grid: emu.Dim{k.threads / 256}, Block: emu.Dim{256}}, out, in); err != nil {
					t.Fatal(err)
				}
				if f := dev.Findings(); len(f) > 0 {
					t.Fatal(f[0])
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				runtime.KeepAlive(dev)
				return int64(after.HeapAlloc) - int64(before.HeapAlloc)
			}
			without := heap(0)
			with := heap(emu.AllChecks)
			per := float64(with-without) / (2 * n)
			t.Logf("%.2f bytes of shadow for a byte of memory", per)
			if per > 5 {
				t.Errorf("%.2f bytes of shadow for a byte of memory, at most 5 are wanted", per)
			}
		})
	}
}
