package cuda_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/ref"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// bf16Inputs gives the inputs of scripts/pytorch-bf16: n numbers of array id, in ±scale.
func bf16Inputs(id uint64, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		z := id + uint64(i+1)*0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		v := float32((float64(z>>40)*0x1p-23 - 1) * scale)
		x[i] = half.BF16ToFloat32(half.BF16FromFloat32(v))
	}
	return x
}

// desk holds the buffers of an op on a backend.
type desk struct {
	t    *testing.T
	b    kernels.Backend
	half kernels.DType // what is bf16 on the GPU, and f32 on ref, which then is exact
	own  []kernels.Mem
}

func (d *desk) alloc(dt kernels.DType, n int) kernels.Buffer {
	m, err := d.b.Alloc(int64(n * dt.Size()))
	if err != nil {
		d.t.Fatal(err)
	}
	d.own = append(d.own, m)
	return kernels.Buffer{Mem: m, DType: dt}
}

func (d *desk) put(dt kernels.DType, x []float32) kernels.Buffer {
	buf := d.alloc(dt, len(x))
	raw := make([]byte, 0, len(x)*dt.Size())
	for _, v := range x {
		if dt == kernels.BF16 {
			raw = binary.LittleEndian.AppendUint16(raw, half.BF16FromFloat32(v))
		} else {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
	}
	d.b.CopyIn(buf, raw)
	return buf
}

// bf16 and f32 put inputs that the op has as bf16, or as f32.
func (d *desk) bf16(id uint64, n int, scale float64) kernels.Buffer {
	return d.put(d.half, bf16Inputs(id, n, scale))
}
func (d *desk) f32(id uint64, n int, scale float64) kernels.Buffer {
	return d.put(kernels.F32, bf16Inputs(id, n, scale))
}
func (d *desk) zeros(n int) kernels.Buffer { return d.put(kernels.F32, make([]float32, n)) }
func (d *desk) ints(v ...int32) kernels.Buffer {
	buf := d.alloc(kernels.I32, len(v))
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(x))
	}
	d.b.CopyIn(buf, raw)
	return buf
}

func (d *desk) get(buf kernels.Buffer, n int) []float64 {
	raw := make([]byte, n*buf.DType.Size())
	if err := d.b.CopyOut(raw, buf); err != nil {
		d.t.Fatal(err)
	}
	out := make([]float64, n)
	for i := range out {
		if buf.DType == kernels.BF16 {
			out[i] = float64(half.BF16ToFloat32(binary.LittleEndian.Uint16(raw[2*i:])))
		} else {
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		}
	}
	return out
}

func (d *desk) free() {
	for _, m := range d.own {
		d.b.Free(m)
	}
}

// slack is what rounding to bf16 allows a result.
type slack struct{ abs, rel float64 }

// near compares results of order one.
func near(t *testing.T, got, want map[string][]float64, more map[string]slack) {
	t.Helper()
	for name, w := range want {
		for i, g := range got[name] {
			if !(math.Abs(g-w[i]) <= 3e-5+more[name].abs+(2e-5+more[name].rel)*math.Abs(w[i])) {
				t.Errorf("%s[%d] is %v, want %v", name, i, g, w[i])
				break
			}
		}
	}
}

// beside gives f a desk on an emulated GPU and one on ref. On the GPU no access of shared
// memory may have conflicts, and nothing be left.
func beside(t *testing.T, half kernels.DType, f func(gpu, exact *desk)) {
	t.Helper()
	api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100, Checks: emu.AllChecks, Profile: true}})
	b, err := cuda.New(api, cuda.Options{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	gpu, exact := &desk{t: t, b: b, half: half}, &desk{t: t, b: ref.New(), half: kernels.F32}
	f(gpu, exact)
	gpu.free()
	exact.free()
	noConflicts(t, api)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func noConflicts(t *testing.T, api *driver.Emulated) {
	t.Helper()
	for _, p := range api.Emulator().Profile().Kernels {
		extra, total := p.BankConflicts()
		t.Logf("%s: %d launches, %d conflicts in %d passes, %.1f sectors per request", p.Kernel, p.Launches, extra, total, p.SectorsPerRequest())
		if extra == 0 {
			continue
		}
		t.Errorf("%s: %d conflicts in %d passes through the banks of shared memory", p.Kernel, extra, total)
		for _, in := range p.Insts {
			if in.Wavefronts > in.Ideal {
				t.Logf("%s: %s: %d, ideally %d", in.GoLine, in.Text, in.Wavefronts, in.Ideal)
			}
		}
	}
}
