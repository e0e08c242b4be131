package emu_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// kernel wraps a body as .entry k(.param .u64 out, .param .u64 in), with registers
// of every type, %out and %in loaded, and %t = %tid.x.
func kernel(body string) string { return module("", body) }

func module(decls, body string) string {
	return ".version 8.7\n.target sm_90a\n.address_size 64\n" + decls + `
.visible .entry k(.param .u64 out, .param .u64 in) {
	.reg .pred %p<16>; .reg .b16 %h<32>; .reg .b32 %r<64>; .reg .b64 %d<64>; .reg .f32 %f<32>; .reg .f64 %e<32>; .reg .b128 %q<8>;
	.reg .b64 %out, %in; .reg .b32 %t;
	ld.param.u64 %out, [out]; ld.param.u64 %in, [in];
	mov.u32 %t, %tid.x;
` + body + "\n\tret;\n}\n"
}

type result struct {
	out []byte
	dev *emu.Device
	err error
}

func (r result) u32(i int) uint32 { return binary.LittleEndian.Uint32(r.out[4*i:]) }
func (r result) u64(i int) uint64 { return binary.LittleEndian.Uint64(r.out[8*i:]) }

// run executes a kernel made by kernel with so many threads of a block.
func run(t testing.TB, cfg emu.Config, text string, grid, block, outBytes int, in []byte) result {
	t.Helper()
	m, err := ptx.Parse("test.ptx", text)
	if err != nil {
		t.Fatal(err)
	}
	dev := emu.New(cfg)
	mod, err := dev.Load(m)
	if err != nil {
		t.Fatal(err)
	}
	out, err := dev.Alloc(outBytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Memset(out, 0, outBytes); err != nil {
		t.Fatal(err)
	}
	src := emu.Ptr(0)
	if len(in) > 0 {
		if src, err = dev.Alloc(len(in)); err != nil {
			t.Fatal(err)
		}
		if err := dev.CopyIn(src, in); err != nil {
			t.Fatal(err)
		}
	}
	r := result{out: make([]byte, outBytes), dev: dev}
	r.err = mod.Launch(emu.Launch{Kernel: "k", Grid: emu.Dim{grid}, Block: emu.Dim{block}}, out, src)
	if err := dev.CopyOut(r.out, out); err != nil {
		t.Fatal(err)
	}
	return r
}

// ok runs under several schedules and calls check for each.
func ok(t *testing.T, text string, grid, block, outBytes int, in []byte, check func(t *testing.T, r result)) {
	t.Helper()
	for _, s := range schedules {
		for _, checks := range []emu.Checks{0, emu.AllChecks} {
			cfg := s.cfg
			cfg.Checks = checks
			r := run(t, cfg, text, grid, block, outBytes, in)
			if r.err != nil {
				t.Fatalf("%s: %v", s.name, r.err)
			}
			for _, f := range r.dev.Findings() {
				t.Fatalf("%s: %v", s.name, f)
			}
			check(t, r)
			if t.Failed() {
				t.Fatalf("under schedule %s", s.name)
			}
		}
	}
}

// fails wants a launch to fail with a message that holds all words.
func fails(t *testing.T, cfg emu.Config, text string, block int, words ...string) {
	t.Helper()
	r := run(t, cfg, text, 1, block, 4096, nil)
	if r.err == nil {
		t.Fatalf("no error; expected one with %q", words)
	}
	var le *emu.LaunchError
	if !errors.As(r.err, &le) {
		t.Fatalf("error of type %T: %v", r.err, r.err)
	}
	for _, w := range words {
		if !strings.Contains(r.err.Error(), w) {
			t.Fatalf("error %q does not say %q", r.err, w)
		}
	}
}

// store writes a 32-bit register to out[%t].
const store = `
	mul.wide.u32 %d63, %t, 4; add.u64 %d63, %out, %d63; st.global.u32 [%d63], %r0;`

func TestUnknownInstructionFailsAtLoad(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"tex.1d.v4.f32.f32 {%f0,%f1,%f2,%f3}, [%d0, {%f4}];", "tex"},
		{"mov.b32 %r0, %pm99;", "pm99"},
	} {
		m, err := ptx.Parse("test.ptx", kernel(c.body))
		if err == nil {
			_, err = emu.New(emu.Config{}).Load(m)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "test.ptx:") {
			t.Errorf("%s: error %v, expected one that names %s and the line", c.body, err, c.want)
		}
	}
}

func TestTargetMustRunOnGPU(t *testing.T) {
	m, err := ptx.Parse("test.ptx", kernel(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		gpu *emu.GPU
		ok  bool
	}{{emu.H100, true}, {emu.A100, false}, {emu.RTX5090, false}, {emu.H200, true}} {
		if _, err := emu.New(emu.Config{GPU: c.gpu}).Load(m); (err == nil) != c.ok {
			t.Errorf("sm_90a on %s: %v", c.gpu.Name, err)
		}
	}
}

func TestArguments(t *testing.T) {
	m, err := ptx.Parse("test.ptx", kernel(""))
	if err != nil {
		t.Fatal(err)
	}
	dev := emu.New(emu.Config{})
	mod, err := dev.Load(m)
	if err != nil {
		t.Fatal(err)
	}
	l := emu.Launch{Kernel: "k"}
	for _, args := range [][]any{{}, {emu.Ptr(0)}, {emu.Ptr(0), int32(1)}, {emu.Ptr(0), 1}, {emu.Ptr(0), "x"}} {
		if mod.Launch(l, args...) == nil {
			t.Errorf("arguments %v were accepted", args)
		}
	}
	if err := mod.Launch(l, emu.Ptr(0), uint64(0)); err != nil {
		t.Error(err)
	}
	for _, bad := range []emu.Launch{{Kernel: "none"}, {Kernel: "k", Block: emu.Dim{1025}}, {Kernel: "k", Grid: emu.Dim{-1}}, {Kernel: "k", Cluster: emu.Dim{2}},
		{Kernel: "k", Shared: 1 << 20}} {
		if mod.Launch(bad, emu.Ptr(0), uint64(0)) == nil {
			t.Errorf("launch %+v was accepted", bad)
		}
	}
}

func TestMemory(t *testing.T) {
	dev := emu.New(emu.Config{})
	if _, err := dev.Alloc(0); err == nil {
		t.Error("Alloc(0) was accepted")
	}
	p, err := dev.Alloc(100)
	if err != nil || p%256 != 0 {
		t.Fatalf("Alloc: %x, %v", p, err)
	}
	if err := dev.CopyIn(p+99, []byte{1, 2}); err == nil {
		t.Error("CopyIn across the end was accepted")
	}
	if err := dev.CopyIn(p+98, []byte{1, 2}); err != nil {
		t.Error(err)
	}
	b := make([]byte, 2)
	if err := dev.CopyOut(b, p+98); err != nil || b[0] != 1 || b[1] != 2 {
		t.Errorf("CopyOut gives %v, %v", b, err)
	}
	if dev.Used() != 100 {
		t.Errorf("Used is %d", dev.Used())
	}
	if err := dev.Free(p + 1); err == nil {
		t.Error("Free of the middle was accepted")
	}
	if err := dev.Free(p); err != nil {
		t.Error(err)
	}
	if err := dev.Free(p); err == nil || !strings.Contains(err.Error(), "freed before") {
		t.Errorf("second Free: %v", err)
	}
	if err := dev.CopyOut(b, p); err == nil || !strings.Contains(err.Error(), "freed") {
		t.Errorf("CopyOut of freed memory: %v", err)
	}
}

func TestFaults(t *testing.T) {
	cfg := emu.Config{}
	fails(t, cfg, kernel("ld.global.u32 %r0, [%in];"), 1, "test.ptx:", "outside of any memory", "thread (0,0,0)")
	fails(t, cfg, kernel("mul.wide.u32 %d0, %t, 4; add.u64 %d0, %out, %d0; st.global.u32 [%d0+4088], %t;"), 8, "thread (2,0,0)", "1 bytes behind allocation 1")
	fails(t, cfg, kernel("st.global.u32 [%out+2], %t;"), 1, "misaligned")
	fails(t, cfg, kernel("trap;"), 1, "trap")
	fails(t, cfg, module(".const .u32 c = 1;", "mov.u64 %d0, c; cvta.const.u64 %d0, %d0; st.u32 [%d0], %t;"), 1, "read-only")
	fails(t, emu.Config{Budget: 10000}, kernel("L: bra L;"), 1, "budget", "bra")
	fails(t, cfg, kernel(".local .b8 a[16]; mov.u32 %r1, a; ld.local.u32 %r0, [%r1+16];"), 1, "local")
	fails(t, cfg, kernel("barrier.sync 16;"), 1, "barrier 16")
	fails(t, cfg, module(".func f() { call f, (); ret; }", "call f, ();"), 1, "stack", "recursion")
}

func TestPrintf(t *testing.T) {
	var out strings.Builder
	r := run(t, emu.Config{Stdout: &out, Checks: emu.AllChecks}, module(`
.extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);
.global .align 1 .b8 fmt[20] = {37, 100, 32, 37, 46, 50, 102, 32, 37, 115, 32, 37, 108, 108, 120, 37, 37, 10};
.global .align 1 .b8 str[3] = {104, 105};`, `
	.local .align 8 .b8 args[32]; .param .b64 p0; .param .b64 p1; .param .b32 ret;
	sub.s32 %r1, %t, 5; st.local.u32 [args], %r1;
	mov.f64 %e1, 0d3FF8000000000000; st.local.f64 [args+8], %e1;
	mov.u64 %d1, str; st.local.u64 [args+16], %d1; mov.u64 %d2, 0xabcdef0123; st.local.u64 [args+24], %d2;
	mov.u64 %d3, fmt; st.param.b64 [p0], %d3;
	mov.u64 %d4, args; cvta.local.u64 %d4, %d4; st.param.b64 [p1], %d4;
	call.uni (ret), vprintf, (p0, p1);
	ld.param.b32 %r0, [ret];`+store), 1, 2, 8, nil)
	if r.err != nil || len(r.dev.Findings()) > 0 {
		t.Fatal(r.err, r.dev.Findings())
	}
	if want := "-5 1.50 hi abcdef0123%\n-4 1.50 hi abcdef0123%\n"; out.String() != want || r.u32(0) != 4 {
		t.Errorf("%q, want %q; %d arguments", out.String(), want, r.u32(0))
	}
}
