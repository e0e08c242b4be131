package emu_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// BenchmarkKernels reports thread-instructions per second of processor time, with one
// worker:
//
//	go test ./ptx/emu -run '^$' -bench Kernels
func BenchmarkKernels(b *testing.B) {
	// A 128x128x128 product in tiles of 64x64x16 (a thread sums 4x4), and a sum of 2^18.
	const n, elems = 128, 1 << 18
	kernels := []struct {
		name   string
		launch emu.Launch
		sizes  []int // bytes of the buffers
		args   []any
	}{
		{"matmul", emu.Launch{Grid: emu.Dim{2, 2}, Block: emu.Dim{256}}, []int{4 * n * n, 4 * n * n, 4 * n * n}, []any{uint32(n), uint32(n), uint32(n)}},
		{"reduction", emu.Launch{Grid: emu.Dim{16}, Block: emu.Dim{256}}, []int{4 * elems, 4 * 16}, []any{uint32(elems)}},
	}
	for _, kernel := range kernels {
		for _, c := range []struct {
			name   string
			checks emu.Checks
		}{{"unchecked", 0}, {"checked", emu.AllChecks}} {
			b.Run(kernel.name+"/"+c.name, func(b *testing.B) {
				dev := emu.New(emu.Config{GPU: emu.H100, Checks: c.checks, Workers: 1})
				m, err := ptx.ParseFile("testdata/" + kernel.name + ".ptx")
				if err != nil {
					b.Fatal(err)
				}
				mod, err := dev.Load(m)
				if err != nil {
					b.Fatal(err)
				}
				var args []any
				for _, size := range kernel.sizes {
					p, err := dev.Alloc(size)
					if err != nil {
						b.Fatal(err)
					}
					r := rand.New(rand.NewPCG(1, 2))
					var data []byte
					for len(data) < size {
						data = binary.LittleEndian.AppendUint32(data, math.Float32bits(r.Float32()-0.5))
					}
					if err := dev.CopyIn(p, data); err != nil {
						b.Fatal(err)
					}
					args = append(args, p)
				}
				args = append(args, kernel.args...)
				before := cpuTime()
				for b.Loop() {
					if err := mod.Launch(kernel.launch, args...); err != nil {
						b.Fatal(err)
					}
				}
				threads, warps := dev.Executed()
				cpu := (cpuTime() - before).Seconds()
				b.ReportMetric(float64(threads)/cpu/1e6, "Mthread-inst/cpu-s")
				b.ReportMetric(cpu*1e9/float64(warps), "cpu-ns/warp-inst")
				if f := dev.Findings(); len(f) > 0 {
					b.Fatalf("finding: %s", f[0])
				}
			})
		}
	}
}
