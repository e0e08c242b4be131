package dry

import (
	"testing"

	"github.com/selkie-ml/selkie/kernels"
)

// pages is a backend that hands out memory by the hundred bytes.
type pages struct{ kernels.Backend }

func (pages) AllocSize(n int64) int64 { return (n + 99) / 100 * 100 }

func (pages) LoRABackwardScratch(a kernels.LoRABackwardArgs) int64 { return int64(a.Rows) }

func TestCounts(t *testing.T) {
	b := New(pages{})
	x, _ := b.Alloc(120)
	y, _ := b.Alloc(1)
	w, _ := b.MapHost(make([]byte, 7))
	if want := (kernels.MemStats{InUse: 300, Peak: 300, Mapped: 7}); b.Stats() != want || x.Size() != 200 {
		t.Errorf("%+v, want %+v", b.Stats(), want)
	}
	b.Free(x)
	b.Free(w)
	b.ResetPeak()
	if want := (kernels.MemStats{InUse: 100, Peak: 100}); b.Stats() != want {
		t.Errorf("%+v, want %+v", b.Stats(), want)
	}
	out := []byte{1, 2}
	if err := b.CopyOut(out, kernels.Buffer{Mem: y}); err != nil || out[0] != 0 || out[1] != 0 {
		t.Errorf("copied out %v, %v", out, err)
	}
	if n := b.LoRABackwardScratch(kernels.LoRABackwardArgs{Rows: 5}); n != 5 {
		t.Errorf("%d bytes of scratch, want those of the other backend", n)
	}
	defer func() {
		if recover() == nil {
			t.Error("freeing twice: no panic")
		}
	}()
	b.Free(x)
}
