package emu_test

import (
	"bytes"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// TestDeviceCopy copies an allocation of which half was written: the other half stays
// uninitialised.
func TestDeviceCopy(t *testing.T) {
	dev := emu.New(emu.Config{Checks: emu.AllChecks})
	m, err := ptx.Parse("copy.ptx", kernel(`ld.global.u32 %r1, [%in]; st.global.u32 [%out], %r1;`))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := dev.Load(m)
	if err != nil {
		t.Fatal(err)
	}
	var p [3]emu.Ptr
	for i := range p {
		if p[i], err = dev.Alloc(512); err != nil {
			t.Fatal(err)
		}
	}
	want := bytes.Repeat([]byte{1, 2, 3, 4}, 64)
	if err := dev.CopyIn(p[0], want); err != nil {
		t.Fatal(err)
	}
	if err := dev.Copy(p[1], p[0], 512); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 256)
	if err := dev.CopyOut(got, p[1]); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i, at := range []emu.Ptr{252, 256} {
		if err := mod.Launch(emu.Launch{Block: emu.Dim{1}}, p[2], p[1]+at); err != nil {
			t.Fatal(err)
		}
		if f := dev.Findings(); len(f) != i || i > 0 && f[0].Kind != emu.KindUninitialised {
			t.Errorf("byte %d: %v", at, f)
		}
	}
	if err := dev.Copy(p[1]+4, p[0], 512); err == nil {
		t.Error("a copy over the end")
	}
	if err := dev.Free(p[0]); err != nil {
		t.Fatal(err)
	}
	if err := dev.Copy(p[1], p[0], 4); err == nil {
		t.Error("a copy of freed memory")
	}
}

// TestMemset fills sizes that are no powers of two.
func TestMemset(t *testing.T) {
	dev := emu.New(emu.Config{})
	p, err := dev.Alloc(300)
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Memset(p, 1, 300); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 2, 3, 77, 256, 299} {
		if err := dev.Memset(p, byte(n), n); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n+1)
		if err := dev.CopyOut(got, p); err != nil {
			t.Fatal(err)
		}
		if want := append(bytes.Repeat([]byte{byte(n)}, n), 1); !bytes.Equal(got, want) {
			t.Errorf("%d: %v", n, got)
		}
	}
}
