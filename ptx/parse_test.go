package ptx

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// everything holds each construct that a compiler may emit.
const everything = `
// comment
.version 8.3
.target sm_90a, debug
.address_size 64
/* a comment
   of two lines */
.file 1 "a \"b\".cu", 12, 34
.extern .func (.param .b32 r) printf_like(.param .b64 fmt, .param .align 8 .b8 rest[]);
.weak .func helper(.param .b64 a) ;
.func (.reg .u32 rv) inreg(.reg .u32 x, .reg .pred q)
{
	add.u32 rv, x, 0x10U;
	ret;
}
.func (.param .align 4 .b8 r[12]) stop() .noreturn .pragma "x";;
.alias aka, helper;
.global .align 4 .b8 bytes[3][2] = {{1, 2}, {3}, {4, 5}};
.global .v4 .f32 vec[2] = {{0f3F800000, 1.5, -2e-3, 1.}, {0d3FF0000000000000}};
.common .global .u32 shared_by_all;
.visible .shared .align 16 .b8 tile[128], tile2[4*8];
.extern .shared .align 16 .b8 dyn[];
.const .u64 table[] = {generic(bytes)+8, bytes, helper, 0};
.global .u8 masked[4] = {0xff(bytes), 0xFF00(generic(bytes)), 0xff0000(bytes+4), 07};
.global .attribute(.managed) .u32 m = (1 << 4 | 3) + (-7 / 2) * ~0 - (5 > 3 ? 1 : 2);
.global .texref tex;
.global .samplerref smp = { filter_mode = linear, addr_mode_0 = wrap };
.visible .entry _Z1kPf(
	.param .u64 .ptr .global .align 16 a,
	.param .align 64 .b8 map[128],
	.param .f32 f,
	.param .u8 flags
)
.maxntid 128, 1, 1
.minnctapersm 2
.reqnctapercluster 2
.explicitcluster
{
	.reg .pred %p<4>, q;
	.reg.b32 %r<10>;
	.reg .b16 %h<3>;
	.reg .f32 %f<9>;
	.reg .b64 %rd<8>, x1;
	.reg .v4 .f32 v;
	.reg .s64 %r_long$name_0;
	.local .align 8 .b8 depot[16];
	.shared .u32 counter;
	.pragma "nounroll";
	.loc 1 12 3
	.loc 1 13 5, function_name info + 4, inlined_at 1 2 3
	mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.y;
	mov.pred %p1, -1;
	mov.b32 %f1, {0, %h1};
	mov.b64 {%r3, _}, %rd1;
	mov.f32 %f2, 0f3f800000;
	mov.u64 %rd1, depot+-4;
	ld.param.u64 %rd2, [a+0];
	ld.global.f32 %f3, [ %rd2 + 0 ];
	ld.global.nc.v2.f32 {%f4, _}, [%rd2+-4];
	ld.v4.f32 v, [%rd2];
	add.f32 %f5, v.x, v.w;
	st.shared.b32 [counter], 1077936128;
	st.global.b32 [%rd2], 0f40400000;
	ld .global .b32 { %r3 }, [ %rd2 + 4 ];
	setp.lt.and.f32 %p1|%p2, %f3, 1.0, !q;
	shfl.sync.bfly.b32 %r4|%p3, %r3, 1, 31, -1;
	elect.sync _|q, -1;
	@!%p1 bra $L__end;
	{
		.reg .b32 %r<3>; .reg .pred q;
		$inner: setp.ne.b32 q, %r1, WARP_SZ;
		@q bra.uni $inner;
		{ .reg .b32 tmp; mov.b32 tmp, 0b101; }
	}
	$targets: .branchtargets
		$L1,
		$L__end;
	brx.idx %r3, $targets;
$L1:
	{
		.param .b64 p0; .param .b32 ret0;
		st.param.b64 [p0+0], %rd2;
		call.uni (ret0), printf_like, (p0, p0);
		call helper, (p0);
		proto: .callprototype (.param .b32 _) _ (.param .b64 _);
		call (ret0), %rd3, (p0), proto;
		some: .calltargets helper;
		call %rd3, (p0), some;
		call (%r3), inreg, (%r3, %p1);
	}
	cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%rd3, {%r3, 7}], [tile2];
	atom.global.gpu.acq_rel.add.u32 %r5, [%rd2], 1; // modifiers in Triton's order
	vadd4.u32.u32.u32 %r1.b0, %r2.b7610, %r3, %r4;
	vmad.s32.s32.s32 %r1, %r2.h0, -%r3.b1, %r4;
	fence.proxy.async.shared::cta;
	@%p1 trap;
$L__end:
	ret;
}
.section .debug_str { info: .b8 65, 0 .b32 $L__end }
`

func TestParseEverything(t *testing.T) {
	m, err := Parse("all.ptx", everything)
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, m)
	if len(m.TargetOpts) != 1 || m.Target != (Target{90, 'a'}) {
		t.Errorf("target %v %v", m.Target, m.TargetOpts)
	}
	for _, d := range m.Decls {
		if v, ok := d.(*Var); ok && v.Name == "m" {
			want := int64((1<<4 | 3) + (-7/2)*^0 - 1)
			if got := int64(v.Init[0].Value.(Imm).Bits); got != want {
				t.Errorf("constant expression is %d, want %d", got, want)
			}
		}
		if f, ok := d.(*Func); ok && f.Entry {
			in := f.Body.Stmts[len(f.Body.Stmts)-1].(*Instr)
			if in.Op != "ret" || in.Pos.Line == 0 {
				t.Errorf("last instruction is %v on %v", in, in.Pos)
			}
			for i, r := range f.Regs {
				if r.ID != i {
					t.Errorf("register %s has ID %d at %d", r.Name, r.ID, i)
				}
			}
		}
	}
}

func TestParseTerminated(t *testing.T) {
	if _, err := Parse("", []byte(wrap("bar.sync 0;")+"\x00")); err != nil {
		t.Error(err)
	}
}

// A register belongs to the innermost scope that declares its name.
func TestParseScopes(t *testing.T) {
	m, err := Parse("", wrap(`
	.reg .b32 %r<3>, %r1<2>, a;
	mov.b32 %r1, a;
	mov.b32 %r10, a;
	{ .reg .b64 a; .reg .b16 %r<2>; mov.b64 a, 1; mov.b16 %r1, 2; mov.b32 %r2, 3; }
	mov.b32 a, %r1;`))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, m)
	var types []Type
	for _, r := range m.Decls[0].(*Func).Regs {
		types = append(types, r.Type)
	}
	want := []Type{B32, B32, B32, B64, B16, B32}
	if len(types) != len(want) {
		t.Fatalf("registers %v, want types %v", m.Decls[0].(*Func).Regs, want)
	}
	for i := range want {
		if types[i] != want[i] {
			t.Errorf("register %d is .%v, want .%v", i, types[i], want[i])
		}
	}
}

// wrap puts statements into a kernel; the first is on line 6.
func wrap(body string) string {
	return ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 p)\n{\n" + strings.TrimPrefix(body, "\n") + "\nret;\n}\n"
}

func TestParseErrors(t *testing.T) {
	const regs = ".reg .pred p; .reg .b32 r<9>; .reg .f32 f<9>; .reg .b64 d<9>; .reg .b16 h<9>;\n"
	in := func(s string) string { return wrap(regs + s) }
	tests := []struct {
		text string
		want []string // all in the message
	}{
		{"", []string{"x.ptx:1:1", "the end of the text", ".version"}},
		{".version 8", []string{"x.ptx:1:10", "a version such as 8.0"}},
		{".version 8.0\n.target compute_80", []string{"x.ptx:2:9", "compute_80", "sm_80"}},
		{".version 8.0\n.target sm_80\n.address_size 16", []string{"3:15", "64 or 32"}},
		{".version 8.0\n.target sm_80\n.entry k() {", []string{"3:12", "not closed"}},
		{".version 8.0\n.target sm_80\n.global .u32 x", []string{"the end of the text", `";"`}},
		{".version 8.0\n.target sm_80\n.global .q32 x;", []string{"3:9", ".q32", "a type"}},
		{".version 8.0\n.target sm_80\n.globl .b32 x;", []string{"3:1", ".globl"}},
		{".version 8.0\n.target sm_80\n/* never closed", []string{"3:1", "comment"}},
		{".version 8.0\n.target sm_80\n.global .b8 x[2] = {{1}};", []string{"nests deeper"}},
		{".version 8.0\n.target sm_80\n.global .b8 x[1<<50];", []string{"3:15", "out of range"}},
		{".version 8.0\n.target sm_80\n.global .align 3 .b8 x;", []string{"3:16", "power of two"}},
		{".version 8.0\n.target sm_80\n.entry k() .maxntid 1, 2, 3, 4 {}", []string{"4 arguments", "1 to 3"}},
		{in("frob.s32 r1, r2;"), []string{"x.ptx:7:1", `unknown instruction "frob"`}},
		{in("ad.s32 r1, r2, r3;"), []string{"did you mean", "add"}},
		{in("add.s32.foo r1, r2, r3;"), []string{"7:1", `".foo"`}},
		{in("add.rq.f32 f1, f2, f3;"), []string{`add has no modifier ".rq"`, ".rn", ".f32"}},
		{in("mul.s32 r1, r2, r3;"), []string{"mul has no modifier", ".hi", ".wide"}},
		{in("ld.global r1, [d1];"), []string{"ld.global is not complete", ".b32", ".v2"}},
		{in("add.s32 r1, r2;"), []string{"operand 3 (b) is missing", "add.type d, a, b"}},
		{in("add.s32 r1, r2, r3, r4;"), []string{"operand 4 (r4)", "too many"}},
		{in("add.s32 r1, f2, r3;"), []string{"operand 2 (a)", "register f2 of .f32", ".b32, .u32 or .s32"}},
		{in("add.s32 r1, d2, r3;"), []string{"operand 2 (a)", "register d2 of .b64"}},
		{in("add.s32 r1, r2, 0f3F800000;"), []string{"operand 3 (b)", "0f3F800000"}},
		{in("add.f32 f1, f2, 1;"), []string{"operand 3 (b)", "constant 1"}},
		{in("add.f16 h1, h2, 0x3C00;"), []string{"operand 3 (b)", "constant 15360", ".b16 or .f16"}},
		{in("ldmatrix.sync.aligned.m8n8.x1.shared.b16 r1, [r2];"), []string{"operand 1 (r)", "vector of 1"}},
		{in("mov.b64 d1, 0f3F800000;"), []string{"operand 2 (a)"}},
		{in("add.s32 5, r2, r3;"), []string{"operand 1 (d)", "constant 5", "a register"}},
		{in("st.global.b32 d1, r1;"), []string{"operand 1 (a)", "in brackets"}},
		{in("ld.global.v4.b32 {r1, r2}, [d1];"), []string{"vector of 2", "vector of 4"}},
		{in("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {f1,f2,f3,f4}, {r1,r2}, {r3,r4}, {f1,f2,f3,f4};"), []string{"operand 2 (a)", "vector of 4"}},
		{in("add.s32 r1, %tid.x, r2;"), []string{"operand 2 (a)", "special register %tid.x"}},
		{in("mov.u32 r1, %tid.q;"), []string{"no element .q"}},
		{in("mov.u32 r1, %foo;"), []string{"%foo", "not declared"}},
		{in("mov.u32 r1, 0f12;"), []string{"malformed number"}},
		{in("mov.u32 r1, 09;"), []string{"malformed number"}},
		{in("mov.u32 r1, 1/0;"), []string{"division by zero"}},
		{in("@q add.s32 r1, r2, r3;"), []string{`register "q" is not declared`}},
		{in("@r1 add.s32 r1, r2, r3;"), []string{"guard r1 is .b32"}},
		{in(".reg .b32 p;"), []string{"declared twice"}},
		{in(".reg .b32 z<0>;"), []string{"how many registers"}},
		{in("call f;"), nil}, // Check says that f is undefined
		{in("call r1, (r2);"), []string{"callprototype"}},
		{in("bra;"), []string{"operand 1 (target) is missing"}},
		{in("ld.global.b32 r1, [d1;"), []string{`"]"`}},
		{in("bra L + 4;"), []string{"label"}},
		{in("add.s32 r1, r2, r3"), []string{`expected "," or ";"`}},
		{in("cp.async.ca.shared.global.L2::cache_hint [r1], [d1], 16;"), []string{"cache_policy"}},
		{in("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [r1], [d1, {r2}], [r3];"), []string{"tensor map", "2 coordinates"}},
	}
	for _, tt := range tests {
		_, err := Parse("x.ptx", tt.text)
		if tt.want == nil {
			if err != nil {
				t.Errorf("%q: %v", tt.text, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%q parses, an error with %q is expected", tt.text, tt.want)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q:\n%v\nlacks %q", tt.text, err, w)
			}
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: error is no *Error", tt.text)
		}
	}
}

// Parse goes on behind an error.
func TestParseManyErrors(t *testing.T) {
	_, err := Parse("x.ptx", wrap(".reg .b32 r<3>;\nfoo r1;\nadd.s32 r1, r2;\nmov.b32 r1, r2;\nbar.x;")+".global .q y;\n.entry z() { {nop; } }")
	l, ok := err.(ErrorList)
	if !ok || len(l) != 5 {
		t.Fatalf("%d errors, want 5:\n%v", len(l), err)
	}
	for i, line := range []int{7, 8, 10, 13, 14} {
		if l[i].Pos.Line != line {
			t.Errorf("error %d is on line %d, want %d: %v", i, l[i].Pos.Line, line, l[i])
		}
	}
}

// Deep nesting and huge counts are errors or cheap, never a crash.
func TestParseHostile(t *testing.T) {
	start := time.Now()
	for _, text := range []string{
		wrap(strings.Repeat("{", 100000)),
		wrap("mov.u32 r, " + strings.Repeat("(", 100000)),
		wrap("mov.u32 r, " + strings.Repeat("-", 100000)),
		wrap("mov.u32 r, " + strings.Repeat("{", 100000)),
		wrap(".reg .b32 r<1073741824>; mov.b32 r1073741823, 0;"),
		wrap(strings.Repeat("x.", 50000)),
		wrap("ld" + strings.Repeat(".global", 5000) + " r, [r];"),
		".version 8.0 .target sm_80 .global .b8 x[2]" + strings.Repeat("[2]", 100000) + ";",
		".version 8.0 .target sm_80 .global .b8 x = " + strings.Repeat("{", 100000),
		strings.Repeat("\"", 1000),
	} {
		if m, err := Parse("", text); err == nil {
			roundTrip(t, m)
		}
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(everything)
	f.Add(wrap(".reg .b32 %r<4>; .reg .f32 %f<4>; .reg .b64 %rd<4>; .reg .pred p;\nL: @p bra L;\nfma.rn.f32 %f1, %f2, 1.0, %f3;\nmul.wide.u32 %rd1, %r1, 4;"))
	f.Add(wrap("wgmma.fence.sync.aligned;"))
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse("fuzz", text)
		if err != nil {
			return
		}
		roundTrip(t, m)
		_ = m.Check(Target{}, Version{})
		for _, d := range m.Decls {
			if fn, ok := d.(*Func); ok && fn.Body != nil {
				if flow, err := NewFlow(fn); err == nil {
					flow.PostDominators()
					flow.Liveness().Max()
				}
			}
		}
	})
}
