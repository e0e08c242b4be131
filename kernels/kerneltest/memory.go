package kerneltest

import (
	"encoding/binary"
	"strings"

	"github.com/selkie-ml/selkie/kernels"
)

func testMemory(t *trial) {
	k := t.dev
	t.problems++
	base := k.Stats()
	k.ResetPeak()
	var mems []kernels.Mem
	var asked int64
	for _, n := range []int64{1, 0, 255, 256, 257, 1000, 1 << 20, 3<<20 + 1} {
		m, err := k.Alloc(n)
		if err != nil {
			t.Fatalf("Alloc(%d): %v", n, err)
		}
		if m.Size() < n {
			t.Errorf("Alloc(%d) gives %d bytes", n, m.Size())
		}
		mems, asked = append(mems, m), asked+n
	}
	if s := k.Stats(); s.InUse-base.InUse < asked || s.Peak < s.InUse {
		t.Errorf("after allocating %d bytes: %+v, before: %+v", asked, s, base)
	}
	// Allocations are apart: each keeps its own contents.
	for i, m := range mems {
		if n := int(m.Size()) / 4; n > 0 {
			k.Fill(kernels.FillArgs{Dst: kernels.Buffer{Mem: m, DType: kernels.F32}, N: n, Value: float32(i)})
		}
	}
	for i, m := range mems {
		b := kernels.Buffer{Mem: m, DType: kernels.F32}
		for _, at := range []int{0, int(m.Size())/4 - 1} {
			if at < 0 {
				continue
			}
			var got [4]byte
			if err := k.CopyOut(got[:], b.At(at)); err != nil {
				t.Fatalf("CopyOut: %v", err)
			}
			if v := decode(kernels.F32, binary.LittleEndian.Uint32(got[:])); v != float64(i) {
				t.Errorf("allocation %d of %d bytes holds %v at element %d, want %d", i, m.Size(), v, at, i)
			}
		}
	}
	for _, m := range mems {
		k.Free(m)
	}
	after := k.Stats()
	if after.InUse != base.InUse || after.Peak < base.InUse+asked {
		t.Errorf("after freeing all: %+v, before: %+v", after, base)
	}
	k.ResetPeak()
	if s := k.Stats(); s.Peak != s.InUse {
		t.Errorf("after ResetPeak: %+v", s)
	}
	k.Trim()
	if s := k.Stats(); s.Cached != 0 || s.InUse != after.InUse {
		t.Errorf("after Trim: %+v, before: %+v", s, after)
	}

	// The source of CopyIn may change as soon as it returns.
	src := make([]byte, 1<<16)
	m, err := k.Alloc(int64(len(src)))
	if err != nil {
		t.Fatalf("Alloc: %v", err)
	}
	b := kernels.Buffer{Mem: m, DType: kernels.F32}
	k.CopyIn(b, src)
	for i := range src {
		src[i] = 0xFF
	}
	if err := k.CopyOut(src, b); err != nil {
		t.Fatalf("CopyOut: %v", err)
	}
	for i, v := range src {
		if v != 0 {
			t.Errorf("CopyIn read its source after it returned: byte %d", i)
			break
		}
	}
	k.Free(m)
	testFreeBehindWork(t)
	if k.Name() == "" || !strings.HasPrefix(k.NumericsID(), k.Name()) {
		t.Errorf("name %q, numerics id %q: want an id that starts with the name", k.Name(), k.NumericsID())
	}
}

// testFreeBehindWork frees memory that enqueued work still reads, and uses it anew.
func testFreeBehindWork(t *trial) {
	const n = 1 << 18
	alloc := func() kernels.Buffer {
		m, err := t.dev.Alloc(4 * n)
		if err != nil {
			t.Fatalf("Alloc: %v", err)
		}
		return kernels.Buffer{Mem: m, DType: kernels.F32}
	}
	result := alloc()
	t.dev.Fill(kernels.FillArgs{Dst: result, N: n})
	for i := range 4 {
		part := alloc()
		t.dev.Fill(kernels.FillArgs{Dst: part, N: n, Value: float32(1 + i)})
		t.dev.Add(kernels.AddArgs{Dst: result, A: result, B: part, N: n})
		t.dev.Free(part.Mem)
	}
	out := make([]byte, 4*n)
	if err := t.dev.CopyOut(out, result); err != nil {
		t.Fatalf("CopyOut: %v", err)
	}
	for i := range n {
		if v := decode(kernels.F32, getBits(kernels.F32, out, i)); v != 10 {
			t.Errorf("memory was reused before the work that reads it was done: element %d is %v, want 10", i, v)
			break
		}
	}
	t.dev.Free(result.Mem)
}

// testMapHost reads weights in place, at the odd places where files have them.
func testMapHost(t *trial) {
	for _, dt := range t.opt.DTypes {
		const rows, in, out, skip = 3, 33, 5, 7
		x := t.floats("x", kernels.F32, rows*in, 1).per(in)
		w := t.floats("w", dt, out*in, 0.2)
		y := t.output("y", kernels.F32, rows*out).per(out)
		file := append(make([]byte, skip*dt.Size()), w.data...)
		mapped := t.dev.Stats().Mapped
		m, err := t.dev.MapHost(file)
		if err != nil {
			t.Errorf("MapHost: %v", err)
			return
		}
		t.check(&problem{op: "Linear", shape: "with mapped weights", rows: rows, arrays: []*array{y, x, w},
			call: func(c *call) {
				weight := c.at(w)
				if c.Backend == t.dev {
					weight = kernels.Buffer{Mem: m, DType: dt}.At(skip)
				}
				c.Linear(kernels.LinearArgs{Y: c.at(y), X: c.at(x), W: weight, Rows: c.rows, In: in, Out: out})
			}})
		t.dev.Free(m)
		if got := t.dev.Stats().Mapped; got != mapped {
			t.Errorf("%d bytes mapped after Free, %d before", got, mapped)
		}
	}
}
