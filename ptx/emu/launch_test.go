package emu_test

import (
	"fmt"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// BenchmarkLaunch is what a launch of a kernel that does almost nothing costs, with and without checks, by
// blocks of 256 threads:
//
//	go test ./ptx/emu -run '^$' -bench Launch
func BenchmarkLaunch(b *testing.B) {
	for _, c := range []struct {
		name   string
		checks emu.Checks
	}{{"unchecked", 0}, {"checked", emu.AllChecks}} {
		for _, grid := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", c.name, grid), func(b *testing.B) {
				dev := emu.New(emu.Config{Checks: c.checks})
				m, err := ptx.Parse("launch.ptx", kernel(`mul.wide.u32 %d2, %t, 4; add.u64 %d1, %out, %d2; mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 0; @%p1 st.global.u32 [%d1], %t;`))
				if err != nil {
					b.Fatal(err)
				}
				mod, err := dev.Load(m)
				if err != nil {
					b.Fatal(err)
				}
				p, err := dev.Alloc(1 << 20)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := mod.Launch(emu.Launch{Grid: emu.Dim{grid}, Block: emu.Dim{256}}, p, p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
