package ptx

import (
	"errors"
	"strings"
	"testing"
)

func checkText(t *testing.T, text string) error {
	t.Helper()
	m, err := Parse("c.ptx", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return m.Check(Target{}, Version{})
}

func TestCheck(t *testing.T) {
	const regs = ".reg .pred p, q; .reg .b32 r<9>; .reg .f32 f<9>; .reg .b64 d<9>; .reg .b16 h<9>; .reg .b128 w;\n"
	module := func(v, target, decls, body string) string {
		return ".version " + v + "\n.target " + target + "\n.address_size 64\n" + decls + "\n.visible .entry k(.param .u64 p0)\n{\n" + body + "\nret;\n}\n"
	}
	k := func(body string) string {
		return module("8.0", "sm_90", "", strings.Replace(regs, " .reg .b128 w;", "", 1)+body)
	}
	tests := []struct {
		text string
		want []string // in the message; nil: nothing is wrong
	}{
		{k("mov.u32 r1, 1; add.s32 r2, r1, r1;"), nil},
		// Names.
		{k("bra L;"), []string{"c.ptx:8:1", "label L is not defined"}},
		{k("{ L: } bra L;"), []string{"label L is not defined"}},
		{k("L: L: bra L;"), []string{"L is defined twice", "line 8"}},
		{k("mov.u64 d1, nothing;"), []string{"nothing", "not defined"}},
		{k("ld.global.b32 r1, [nothing];"), []string{"nothing", "not defined"}},
		{k("call nothing;"), []string{"nothing", "no function"}},
		{k("T: .branchtargets L; mov.u32 r1, 0; brx.idx r1, L; L:"), []string{"L is no .branchtargets"}},
		{module("8.0", "sm_90", ".global .b32 x;\n.global .b32 x;", ""), []string{"c.ptx:5:14", "x is defined twice", "line 4"}},
		{module("8.0", "sm_90", ".extern .global .b32 x;\n.global .b32 x;", ""), nil},
		{module("8.0", "sm_90", ".func f();\n.func f() { ret; }", ""), nil},
		{module("8.0", "sm_90", ".func f() { ret; }\n.func f() { ret; }", ""), []string{"f is defined twice"}},
		{module("8.0", "sm_90", ".global .u64 x = y;", ""), []string{"y", "not defined"}},
		{module("8.0", "sm_90", ".global .u8 x = z; .global .u8 z;", ""), []string{"address of z does not fit"}},
		{module("8.0", "sm_90", ".global .u8 x[2] = {1, 2, 3};", ""), []string{"more than its 2"}},
		{module("8.0", "sm_90", ".shared .u8 x = 1;", ""), []string{"cannot be initialised"}},
		{module("8.0", "sm_90", ".func (.param .b32 r) f(.param .b32 a) { ret; }", "call f;"), []string{"passes 0 arguments", "takes 1"}},
		{module("8.0", "sm_90", ".func (.param .b32 r) f() { ret; }", "{ .param .b32 a; call (a), f; }"), nil},
		// Registers.
		{k("add.s32 r2, r1, r1;"), []string{"c.ptx:8:1", "register r1 is read by add.s32 but nothing has written it"}},
		{k("mov.pred p, 1; @p bra L; mov.u32 r1, 1; L: add.s32 r2, r1, r1;"), []string{"on some path"}},
		{k("mov.pred p, 1; @p mov.u32 r1, 1; add.s32 r2, r1, r1;"), nil},
		{k("mov.u32 r1, 1; L: setp.eq.s32 p, r1, 2; add.s32 r1, r1, 1; @p bra L;"), nil},
		{k("xor.b32 r1, r1, r1;"), nil},
		{k("@p mov.u32 r1, 1;"), []string{"register p is read"}},
		{module("8.0", "sm_90", ".func (.reg .u32 v) f(.reg .u32 x) { add.u32 v, x, 1; ret; }", ""), nil},
		// Addresses.
		{module("8.0", "sm_90", ".shared .align 16 .b8 s[32];", ".reg .b32 r<9>;\nld.shared.b32 r1, [s+28];"), nil},
		{module("8.0", "sm_90", ".shared .align 16 .b8 s[32];", ".reg .b32 r<9>;\nld.shared.b32 r1, [s+30];"), []string{"bytes 30 to 33 of s, which has 32"}},
		{module("8.0", "sm_90", ".shared .align 16 .b8 s[32];", ".reg .b32 r<9>;\nld.shared.b32 r1, [s+2];"), []string{"misaligned", "multiple of 4"}},
		{module("8.0", "sm_90", ".shared .align 16 .b8 s[32];", ".reg .b32 r<9>;\nld.global.b32 r1, [s];"), []string{"accesses .global", "s is in .shared"}},
		{k("mov.u32 r1, 0; ld.global.b32 r2, [r1];"), []string{"64 bits", "r1 has 32"}},
		{k("mov.u32 r1, 0; ld.shared.b32 r2, [r1];"), nil},
		{k("mov.u32 r1, 0; ldmatrix.sync.aligned.m8n8.x1.b16 {r2}, [r1];"), nil},
		{k("mov.u32 r1, 0; mbarrier.init.b64 [r1], 1;"), []string{"generic address of 64 bits"}},
		{k("ld.param.u64 d1, [p0+8];"), []string{"bytes 8 to 15 of p0, which has 8"}},
		{k("ld.global.b32 r2, [64];"), []string{"constant"}},
		// Constants.
		{k("bar.sync 16;"), []string{"a is 16, from 0 to 15"}},
		{k("bar.sync 1, 33;"), []string{"b is 33", "multiple of 32"}},
		{k("mov.u64 d1, 0; mov.u32 r1, 0; cp.async.cg.shared.global [r1], [d1], 8;"), []string{"cp_size is 8", "16"}},
		{k("mov.u64 d1, 0; mov.u32 r1, 0; cp.async.ca.shared.global [r1], [d1], 12;"), []string{"cp_size is 12"}},
		{k("mov.u64 d1, 0; mov.u32 r1, 0; cp.async.ca.shared.global [r1], [d1], 4, 8;"), []string{"src_size 8 is more"}},
		// Version and target.
		{module("7.0", "sm_80", "", "bar.sync 0; fence.proxy.async;"), []string{"c.ptx:7:13", "fence.proxy.async", "needs sm_90 or later, the target is sm_80"}},
		{module("7.8", "sm_90", "", "fence.proxy.async;"), []string{"needs PTX ISA 8.0", "states .version 7.8"}},
		{module("8.0", "sm_90", "", "wgmma.fence.sync.aligned;"), []string{"needs sm_90a", "state .target sm_90a"}},
		{module("8.0", "sm_100", "", ""), []string{"target sm_100 needs PTX ISA 8.6"}},
		{module("8.0", "sm_77", "", ""), []string{"unknown target sm_77"}},
		{module("7.8", "sm_90a", "", ""), []string{"sm_90a needs PTX ISA 8.0"}},
		{module("8.0", "sm_80", "", ".reg .b32 r; mov.u32 r, %cluster_ctarank;"), []string{"special register %cluster_ctarank needs sm_90"}},
		{module("7.0", "sm_80", "", ".reg .b64 d; mov.u64 d, 0; prefetch.global.L2::evict_last [d];"), []string{"7.4"}},
		{strings.Replace(module("8.0", "sm_80", "", ""), "\n{", "\n.maxclusterrank 4\n{", 1), []string{".maxclusterrank needs sm_90"}},
		// Limits.
		{strings.Replace(module("8.0", "sm_90", "", ""), ".param .u64 p0", ".param .b8 p0[4097]", 1), []string{"more than 4096", "8.1"}},
		{strings.Replace(module("8.1", "sm_90", "", ""), ".param .u64 p0", ".param .b8 p0[32765]", 1), []string{"at most 32764"}},
		{strings.Replace(module("8.1", "sm_90", "", ""), ".param .u64 p0", ".param .b8 p0[32764]", 1), nil},
		{module("8.0", "sm_90", ".shared .b8 s[49153];", ""), []string{"49153 bytes of shared memory", "49152"}},
		{strings.Replace(module("8.0", "sm_90", "", ""), "\n{", "\n.maxntid 1025\n{", 1), []string{"at most 1024"}},
		{strings.Replace(module("8.0", "sm_90", "", ""), "\n{", "\n.maxntid 128\n.reqntid 128\n{", 1), []string{"exclude"}},
		{strings.Replace(module("8.0", "sm_90", "", ""), "\n{", "\n.minnctapersm 2\n{", 1), []string{"needs .maxntid"}},
		{strings.Replace(module("8.0", "sm_90", "", ""), "\n{", "\n.maxnreg 300\n{", 1), []string{"255"}},
	}
	for _, tt := range tests {
		err := checkText(t, tt.text)
		if tt.want == nil {
			if err != nil {
				t.Errorf("%v\n%s", err, tt.text)
			}
			continue
		}
		if err == nil {
			t.Errorf("nothing is found, expected %q:\n%s", tt.want, tt.text)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v\nlacks %q:\n%s", err, w, tt.text)
			}
		}
	}
}

func TestCheckWarning(t *testing.T) {
	err := checkText(t, wrap(".reg .pred p; .reg .b32 r<3>;\nmov.pred p, 1; @p bra L; mov.u32 r1, 1; L: add.s32 r2, r1, r1;"))
	var l ErrorList
	if !errors.As(err, &l) || len(l) != 1 || !l[0].Warning {
		t.Fatalf("%v, want one warning", err)
	}
	if err := l.Fatal(); err != nil {
		t.Errorf("Fatal is %v, want nil", err)
	}
}

func TestLowestVersion(t *testing.T) {
	for _, tt := range []struct {
		target, body string
		want         Version
	}{
		{"sm_75", "", Version{6, 3}},
		{"sm_80", "", Version{7, 0}},
		{"sm_86", "", Version{7, 1}},
		{"sm_90", "", Version{7, 8}},
		{"sm_90", "fence.proxy.async;", Version{8, 0}},
		{"sm_90a", "wgmma.fence.sync.aligned;", Version{8, 0}},
		{"sm_75", ".reg .b128 x;", Version{8, 3}},
		{"sm_100a", "", Version{8, 6}},
		{"sm_100f", "setmaxnreg.inc.sync.aligned.u32 64;", Version{8, 8}},
		{"sm_120", "", Version{8, 7}},
	} {
		m, err := Parse("", strings.Replace(wrap(tt.body), "sm_90a", tt.target, 1))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.LowestVersion(); got != tt.want {
			t.Errorf("%s %q: %s, want %s", tt.target, tt.body, got, tt.want)
		}
		m.Version = Version{}
		if !strings.HasPrefix(m.String(), ".version "+tt.want.String()+"\n") {
			t.Errorf("%s %q prints %.20q", tt.target, tt.body, m.String())
		}
	}
}

func TestTargetRunsOn(t *testing.T) {
	for _, tt := range []struct {
		target string
		cc     int
		want   bool
	}{
		{"sm_80", 75, false}, {"sm_80", 80, true}, {"sm_80", 120, true},
		{"sm_90a", 90, true}, {"sm_90a", 100, false}, {"sm_90a", 120, false},
		{"sm_100f", 100, true}, {"sm_100f", 103, true}, {"sm_100f", 120, false},
		{"sm_120f", 121, true}, {"sm_103f", 100, false},
	} {
		target, err := ParseTarget(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		if got := target.RunsOn(tt.cc); got != tt.want {
			t.Errorf("%s on %d: %v", tt.target, tt.cc, got)
		}
	}
	for _, s := range []string{"", "sm_", "sm_8", "sm_80x", "sm_1000", "sm_a", "compute_80", "sm_-8", "sm_08"} {
		if got, err := ParseTarget(s); err == nil {
			t.Errorf("%q is %v, an error is expected", s, got)
		}
	}
}
