package emu_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
	"github.com/selkie-ml/selkie/ptx/examples"
)

// BenchmarkKernels reports thread-instructions per second of processor time, with one
// worker:
//
//	go test ./ptx/emu -run '^$' -bench Kernels
func BenchmarkKernels(b *testing.B) {
	matmul := examples.Matmul{BM: 64, BN: 64, BK: 16, TM: 4, TN: 4}
	sum := examples.Sum{Warps: 8}
	const m, n, k, elems = 128, 128, 128, 1 << 18
	kernels := []struct {
		name   string
		module *ptx.Module
		launch examples.Launch
		sizes  []int // bytes of the buffers
		args   []any
	}{
		{"matmul", matmul.Module(), matmul.Launch(m, n), []int{4 * m * k, 4 * k * n, 4 * m * n}, []any{uint32(m), uint32(n), uint32(k)}},
		{"reduction", sum.Module(), sum.Launch(16), []int{4 * elems, 4 * 16}, []any{uint32(elems)}},
	}
	for _, kernel := range kernels {
		for _, c := range []struct {
			name   string
			checks emu.Checks
		}{{"unchecked", 0}, {"checked", emu.AllChecks}} {
			b.Run(kernel.name+"/"+c.name, func(b *testing.B) {
				dev := emu.New(emu.Config{GPU: emu.H100, Checks: c.checks, Workers: 1})
				mod, err := dev.Load(kernel.module)
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
				l := emu.Launch{Grid: kernel.launch.Grid, Block: kernel.launch.Block, Shared: kernel.launch.Shared}
				before := cpuTime()
				for b.Loop() {
					if err := mod.Launch(l, args...); err != nil {
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
