package host

import (
	"math"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
)

func TestSizeClass(t *testing.T) {
	last := -1
	for n := int64(1); n < 1<<16; n++ {
		class, size := sizeClass(n)
		if size < n || (n > 256 && float64(size) > 1.25*float64(n)+1) {
			t.Fatalf("sizeClass(%d) gives %d bytes", n, size)
		}
		if _, again := sizeClass(size); again != size {
			t.Fatalf("class of %d bytes is not its own: %d", size, again)
		}
		if class < last {
			t.Fatalf("class falls at %d", n)
		}
		last = class
	}
}

func TestArenaReusesAndPoisons(t *testing.T) {
	a := Arena{Poison: true, Limit: 1 << 20}
	m, err := a.Alloc(1000)
	if err != nil {
		t.Fatal(err)
	}
	x := F32(kernels.Buffer{Mem: m, DType: kernels.F32}, 4)
	if !math.IsNaN(float64(x[0])) {
		t.Errorf("fresh memory holds %v, want NaN", x[0])
	}
	x[0] = 1
	a.Free(m)
	m2, _ := a.Alloc(1020)
	if m2 != m {
		t.Error("memory of the same class was not reused")
	}
	if y := F32(kernels.Buffer{Mem: m2, DType: kernels.F32}, 1); !math.IsNaN(float64(y[0])) {
		t.Errorf("reused memory holds %v, want NaN", y[0])
	}
	if _, err := a.Alloc(1 << 20); err == nil {
		t.Error("the limit does not hold")
	}
	if s := a.Stats(); s.InUse != m2.Size() || s.Cached != 0 || s.Peak != s.InUse {
		t.Errorf("stats %+v", s)
	}
}

func TestMisusePanics(t *testing.T) {
	var a Arena
	m, _ := a.Alloc(256)
	for name, f := range map[string]func(){
		"beyond the end": func() { F32(kernels.Buffer{Mem: m, DType: kernels.F32}, 65) },
		"wrong type":     func() { F32(kernels.Buffer{Mem: m, DType: kernels.BF16}, 1) },
		"freed twice":    func() { m, _ := a.Alloc(1); a.Free(m); a.Free(m) },
		"used after free": func() {
			m, _ := a.Alloc(1)
			a.Free(m)
			F32(kernels.Buffer{Mem: m, DType: kernels.F32}, 1)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
