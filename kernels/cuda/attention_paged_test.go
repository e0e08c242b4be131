package cuda

import (
	"fmt"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// TestAttentionSplit tries attention over a KV cache whose keys are split over blocks: the
// same problems, and the same bits as attention over packed sequences.
func TestAttentionSplit(t *testing.T) {
	t.Parallel()
	limits := map[string]int{"AttentionPaged": 1 << 19, "PagedEqualsPrefill": 1 << 16} // the former's caches are large
	for i, schedule := range []emu.Schedule{emu.Adversarial, emu.RoundRobin, emu.Random} {
		parts := []int{5, 2, 3}[i]
		names := []string{"AttentionPaged", "PagedEqualsPrefill"}
		if schedule != emu.Adversarial {
			names = names[:1] // the other takes its time
		}
		for _, name := range names {
			t.Run(fmt.Sprintf("%s/%d parts", name, parts), func(t *testing.T) {
				api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100, Schedule: schedule, Seed: 1, Checks: emu.AllChecks}})
				b, err := New(api, Options{Poison: true, Direct: true})
				if err != nil {
					t.Fatal(err)
				}
				b.pagedParts, b.tuner = parts, tuner{on: true}
				if err := kerneltest.Try(name, b, kerneltest.Options{Seed: 9, SpreadNaN: true, Aligned: parts != 2, Limit: limits[name], DTypes: []kernels.DType{kernels.F32, kernels.BF16}}); err != nil {
					t.Error(err)
				}
				ran := map[string]bool{}
				for _, l := range b.tuner.made {
					switch k := l.Any.(type) {
					case kernel.AttentionPagedMMA:
						ran["mma"+fmt.Sprint(k.Step)] = true
					case kernel.Attention:
						ran["fma"+fmt.Sprint(k.Step)] = ran["fma"+fmt.Sprint(k.Step)] || k.Cached
					}
				}
				for _, step := range []kernel.PagedStep{kernel.PagedWhole, kernel.PagedTops, kernel.PagedParts} {
					for _, engine := range []string{"mma", "fma"} {
						if !ran[engine+fmt.Sprint(step)] {
							t.Errorf("step %d by %s did not run", step, engine)
						}
					}
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				for _, f := range api.Emulator().Findings() {
					t.Error(f)
				}
			})
		}
	}
}

// TestAttentionSplitChoice: long caches of few rows are split, so that blocks fill the GPU.
func TestAttentionSplitChoice(t *testing.T) {
	b, err := New(driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100}}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, c := range []struct {
		rows, pages int
		split       bool
	}{{1, 4, false}, {1, 64, true}, {8, 64, true}, {400, 64, false}} {
		const heads, kvHeads, dim = 14, 2, 64
		var own []kernels.Mem
		alloc := func(dt kernels.DType, n int) kernels.Buffer {
			m, err := b.Alloc(int64(n * dt.Size()))
			if err != nil {
				t.Fatal(err)
			}
			own = append(own, m)
			buf := kernels.Buffer{Mem: m, DType: dt}
			b.Fill(kernels.FillArgs{Dst: buf, N: n})
			return buf
		}
		a := kernels.AttentionPagedArgs{PagedShape: kernels.PagedShape{Cache: alloc(kernels.BF16, 2*kvHeads*kernels.PageSize*dim), PageTable: alloc(kernels.I32, c.pages), Pages: 1, Layers: 1,
			MaxPages: c.pages, NSeq: 1, KVHeads: kvHeads, HeadDim: dim}, O: alloc(kernels.BF16, c.rows*heads*dim), Q: alloc(kernels.BF16, c.rows*heads*dim),
			RowSeq: alloc(kernels.I32, c.rows), RowPos: alloc(kernels.I32, c.rows), Rows: c.rows, Heads: heads, Scale: 1}
		b.tuner = tuner{on: true}
		b.AttentionPaged(a)
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
		for _, m := range own {
			b.Free(m)
		}
		if split := len(b.tuner.made) == 4; split != c.split {
			t.Errorf("%d rows, up to %d pages: split %t, expected %t", c.rows, c.pages, split, c.split)
		}
	}
}
