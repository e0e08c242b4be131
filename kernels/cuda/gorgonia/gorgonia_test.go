package gorgonia

import (
	"encoding/binary"
	"math"
	"runtime"
	"testing"

	"gorgonia.org/cu"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda"
)

// TestBackend computes on a context that the test holds.
func TestBackend(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	device, err := cu.GetDevice(0)
	if err != nil {
		t.Skip(err)
	}
	ctx, err := device.MakeContext(cu.SchedAuto)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cuda.New(New(device, ctx), cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", b.Info())
	const n = 1000
	m, err := b.Alloc(4 * n)
	if err != nil {
		t.Fatal(err)
	}
	x := kernels.Buffer{Mem: m, DType: kernels.F32}
	for range 5 { // from the second time on, a graph
		b.Fill(kernels.FillArgs{Dst: x, N: n, Value: 1})
		for range 5 {
			b.Add(kernels.AddArgs{Dst: x, A: x, B: x, N: n})
		}
		out := make([]byte, 4*n)
		if err := b.CopyOut(out, x); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if v := math.Float32frombits(binary.LittleEndian.Uint32(out[4*i:])); v != 32 {
				t.Fatalf("element %d is %v, want 32", i, v)
			}
		}
	}
	if s := b.LaunchStats(); s.Graphs == 0 {
		t.Errorf("no graph was launched: %+v", s)
	}
	if _, err := b.Alloc(1 << 50); err == nil {
		t.Error("a petabyte was allocated")
	} else {
		t.Log(err)
	}
	b.Free(m)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := ctx.Destroy(); err != nil {
		t.Error(err)
	}
}
