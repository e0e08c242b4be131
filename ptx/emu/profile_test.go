package emu_test

import (
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

func profileOf(t *testing.T, text string, block int) *emu.KernelProfile {
	t.Helper()
	r := run(t, emu.Config{Profile: true}, text, 1, block, 1<<16, make([]byte, 1<<16))
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.dev.Profile().Kernels[0]
}

func TestProfileSharedMemory(t *testing.T) {
	for _, c := range []struct {
		stride, passes int64
	}{{4, 1}, {8, 2}, {128, 32}, {132, 1}, {0, 1}, {64, 16}} {
		k := profileOf(t, module(".shared .b8 s[8192];", strings.ReplaceAll(`
	mov.u32 %r1, s; mad.lo.u32 %r1, %t, STRIDE, %r1;
	st.shared.u32 [%r1], %t;`, "STRIDE", itoa(c.stride))), 32)
		if _, total := k.BankConflicts(); total != c.passes {
			t.Errorf("stride %d: %d passes, want %d", c.stride, total, c.passes)
		}
	}
	// 16 bytes a lane take four passes, rows of 16 bytes at 16-byte strides have no conflict.
	k := profileOf(t, module(".shared .align 16 .b8 s[8192];", `
	mov.u32 %r1, s; mad.lo.u32 %r1, %t, 16, %r1; mov.u32 %r2, 0;
	st.shared.v4.u32 [%r1], {%r2, %r2, %r2, %r2};`), 32)
	if extra, total := k.BankConflicts(); extra != 0 || total != 4 {
		t.Errorf("st.v4: %d passes, %d by conflicts", total, extra)
	}
}

func itoa(n int64) string {
	if n == 0 {
		return "0"
	}
	s := ""
	for ; n > 0; n /= 10 {
		s = string(rune('0'+n%10)) + s
	}
	return s
}

func TestProfileGlobalMemory(t *testing.T) {
	for _, c := range []struct {
		stride  int64
		sectors float64
	}{{4, 4}, {32, 32}, {8, 8}, {0, 1}} {
		k := profileOf(t, kernel(strings.ReplaceAll(`
	mul.wide.u32 %d1, %t, STRIDE; add.u64 %d1, %d1, %in;
	ld.global.u32 %r1, [%d1];`, "STRIDE", itoa(c.stride))), 32)
		if s := k.SectorsPerRequest(); s != c.sectors {
			t.Errorf("stride %d: %v sectors, want %v", c.stride, s, c.sectors)
		}
		if k.Bytes["global load"] != 128 {
			t.Errorf("stride %d: %d bytes loaded", c.stride, k.Bytes["global load"])
		}
	}
}

func TestProfileCounts(t *testing.T) {
	k := profileOf(t, kernel(`
	setp.lt.u32 %p1, %t, 8;
	@%p1 bra A;
	mov.f32 %f1, 0f3f800000;
	fma.rn.f32 %f1, %f1, %f1, %f1;
A:
	bar.sync 0;`), 64)
	if k.Divergences != 1 || k.F32Flops != 2*56 {
		t.Errorf("%d divergences, %d operations", k.Divergences, k.F32Flops)
	}
	if k.Mix["bar"] != 2 || k.Mix["fma"] != 2 {
		t.Errorf("mix %v", k.Mix)
	}
	if e := k.Roofline(emu.H100); e == nil || e.Seconds <= 0 || e.Bound == "" {
		t.Errorf("roofline %+v", e)
	}
	if s := (&emu.Profile{Kernels: []*emu.KernelProfile{k}}).String(); !strings.Contains(s, "fma.rn.f32") {
		t.Errorf("no line for fma in\n%s", s)
	}
}

// TestProfileLaunches adds up launches of a kernel, each instruction in one place.
func TestProfileLaunches(t *testing.T) {
	m, err := ptx.Parse("test.ptx", kernel("mov.f32 %f1, 0f3f800000; fma.rn.f32 %f1, %f1, %f1, %f1;"))
	if err != nil {
		t.Fatal(err)
	}
	dev := emu.New(emu.Config{Profile: true})
	mod, err := dev.Load(m)
	if err != nil {
		t.Fatal(err)
	}
	warps := []int{1, 3, 2}
	for _, n := range warps {
		if err := mod.Launch(emu.Launch{Kernel: "k", Grid: emu.Dim{1}, Block: emu.Dim{32 * n}}, emu.Ptr(0), emu.Ptr(0)); err != nil {
			t.Fatal(err)
		}
	}
	k := dev.Profile().Kernels[0]
	if k.Launches != len(warps) || k.WarpInsts == 0 || k.Longest*6 != k.WarpInsts*3 {
		t.Errorf("%d launches of %d instructions by warps, the longest %d: want 3 of 6 parts", k.Launches, k.WarpInsts, k.Longest)
	}
	for _, in := range k.Insts {
		if in.Warps != 6 {
			t.Errorf("%s: %d warps, want 6", in.Text, in.Warps)
		}
	}
}
