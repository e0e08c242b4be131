package ptx_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"runtime"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
)

var sm80 = ptx.Target{SM: 80}

// line is the number of the caller's line, as messages give it.
func line() string {
	_, _, n, _ := runtime.Caller(1)
	return fmt.Sprintf("build_test.go:%d", n)
}

// macro stands for a helper of a kernel's author.
func macro(k *ptx.Builder, x ptx.RegF32) (ptx.RegF32, string) { return k.AddF32(x, x), line() }

func TestInstructionsRememberGoLines(t *testing.T) {
	m := ptx.NewModule(sm80)
	k := m.Entry("f")
	var want []string
	from := func(n int, at string) {
		for range n {
			want = append(want, at)
		}
	}
	p, at := k.ParamGlobal("p"), line()
	from(2, at) // ld.param and cvta
	x, at := k.LdF32(p), line()
	from(1, at)
	y, at := macro(k, x)
	from(1, at)                                                               // the line inside the macro
	k.If(k.SetpLtF32(y, ptx.F(1)), func() { k.StF32(p, y); from(3, line()) }) // setp, bra, st
	var got []string
	f := m.Module().Decls[0].(*ptx.Func)
	for _, s := range f.Body.Stmts {
		if in, ok := s.(*ptx.Instr); ok && in.Op != "ret" {
			got = append(got, in.Pos.GoLine())
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("instructions come from\n%v, expected\n%v", got, want)
	}
}

// TestMisusePanics: what Go's types let pass panics at the author's line, naming the
// instruction and the operand.
func TestMisusePanics(t *testing.T) {
	other := ptx.NewModule(sm80).Entry("other")
	for _, c := range []struct {
		name string
		do   func(k *ptx.Builder)
		want []string
	}{
		{"constant too large", func(k *ptx.Builder) { k.AddU32(k.TidX(), ptx.I(1<<32)) }, []string{"add.u32", "operand 3", "4294967296"}},
		{"constant too negative", func(k *ptx.Builder) { k.AddS32(k.TidX(), ptx.I(-1<<31-1)) }, []string{"add.s32", "operand 3"}},
		{"no register", func(k *ptx.Builder) { k.AddF32(ptx.RegF32{}, ptx.F(1)) }, []string{"add.f32", "operand 2", "never made"}},
		{"nil operand", func(k *ptx.Builder) { k.AddF32(nil, ptx.F(1)) }, []string{"add.f32", "operand 2", "missing"}},
		{"another kernel's register", func(k *ptx.Builder) { k.AddU32(other.TidX(), ptx.I(1)) }, []string{"add.u32", "operand 2", "another kernel than f"}},
		{"no address", func(k *ptx.Builder) { k.LdF32(ptx.GlobalPtr{}) }, []string{"ld.f32", "never made"}},
		{"branch in a guard", func(k *ptx.Builder) {
			p := k.SetpEqU32(k.TidX(), ptx.I(0))
			k.Guard(p, func() { k.If(p, func() {}) })
		}, []string{"inside Guard"}},
		{"break outside", func(k *ptx.Builder) { k.Break(k.SetpEqU32(k.TidX(), ptx.I(0))) }, []string{"Break", "outside of a loop"}},
		{"same parameter", func(k *ptx.Builder) { k.ParamU32("n"); k.ParamF32("n") }, []string{"n", "twice"}},
		{"unknown instruction", func(k *ptx.Builder) { k.Emit("frobnicate.f32") }, []string{"frobnicate"}},
		{"unknown modifier", func(k *ptx.Builder) { k.Emit("add.rn.u32", ptx.Sink{}) }, []string{"add.rn", "u32"}},
		{"wrong operand", func(k *ptx.Builder) { k.Emit("add.u32", ptx.Sink{}, ptx.Sink{}, ptx.Sink{}) }, []string{"add.u32", "operand"}},
		{"negated predicate", func(k *ptx.Builder) {
			p := k.SetpEqU32(k.TidX(), ptx.I(0))
			k.AndPred(p.Not(), p)
		}, []string{"and.pred", "!"}},
		{"barrier number", func(k *ptx.Builder) { k.BarSync(16) }, []string{"bar", "16"}},
		{"barrier count", func(k *ptx.Builder) { k.BarSyncThreads(1, 48) }, []string{"bar", "48", "multiple of 32"}},
		{"narrow rows", func(k *ptx.Builder) {
			ptx.SharedTile{Rows: 8, RowBytes: 64, Swizzle: ptx.Swizzle128}.ChunkOffset(k.TidX(), k.TidX())
		}, []string{"SharedTile", "64 bytes"}},
		{"width of wgmma", func(k *ptx.Builder) {
			k.Wgmma(ptx.WgmmaOp{N: 12, Type: ptx.WgmmaBF16}, nil, ptx.RegB64{}, ptx.RegB64{}, ptx.RegPred{})
		}, []string{"wgmma", "12"}},
		{"registers of wgmma", func(k *ptx.Builder) {
			k.Wgmma(ptx.WgmmaOp{N: 16, Type: ptx.WgmmaBF16}, k.VarsF32(4, ptx.F(0)), ptx.RegB64{}, ptx.RegB64{}, ptx.RegPred{})
		}, []string{"wgmma", "4 registers", "expected 8"}},
		{"copy that does not divide", func(k *ptx.Builder) {
			ptx.SharedTile{Rows: 8, RowBytes: 128}.Copy(k.TidX(), 96, k.TidY())
		}, []string{"96 threads"}},
		{"index of 64 bits", func(k *ptx.Builder) { k.Shared("s", ptx.F32, 4, 0).Elem(k.GlobalTimer(), ptx.F32) }, []string{"64 bits"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				got := fmt.Sprint(recover())
				for _, w := range append(c.want, "build_test.go:") {
					if !strings.Contains(got, w) {
						t.Errorf("panic %q does not say %q", got, w)
					}
				}
			}()
			c.do(ptx.NewModule(sm80).Entry("f"))
		})
	}
}

// TestTypesDoNotCompile: snippets inside func(k *ptx.Builder), with values of all sorts.
func TestTypesDoNotCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("-short is set: this type-checks package ptx from source")
	}
	const head = `package p
import "github.com/selkie-ml/selkie/ptx"
func _(k *ptx.Builder, u ptx.RegU32, s ptx.RegS32, b ptx.RegB32, x ptx.RegF32, d ptx.RegF64, h ptx.RegBF16, hh ptx.RegBF16x2,
	w ptx.RegU64, p ptx.RegPred, g ptx.GlobalPtr, sh ptx.SharedPtr, cl ptx.ClusterPtr, c ptx.ConstPtr, acc [4]ptx.RegF32) {
`
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "source", nil)
	check := func(snippet string) error {
		f, err := parser.ParseFile(fset, "p.go", head+snippet+"\n}\n", 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&types.Config{Importer: imp}).Check("p", fset, []*ast.File{f}, nil)
		return err
	}
	for _, ok := range []string{
		"k.AddU32(u, s); k.AddU32(b, ptx.I(1)); k.AndB32(x, u); k.FmaRnF32(x, ptx.F(0.5), x)",
		"k.LdF32(g); k.LdF32(sh); k.LdF32(c); k.StF32(sh, x); k.AtomAddF32(cl, x); k.CpAsyncCG(sh, g)",
		"k.AddF32(b.AsF32(), x); k.FmaRnBF16x2(b.AsBF16x2(), hh, hh); k.AddF32To(x, x, x); k.ShlB32To(x, u, ptx.I(16))",
	} {
		if err := check(ok); err != nil {
			t.Fatalf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{
		"k.AddU32(u, x)", "k.AddF32(x, u)", "k.AddF32(x, b)", "k.AddF32(x, d)", "k.AddU32(u, w)", "k.AddU32(u, 4)",
		"k.AddU32(u, ptx.F(1))", "k.AddF32(x, ptx.I(1))", "k.FmaRnBF16x2(b, hh, hh)", "k.AddF32To(u, x, x)", "k.AddF32To(ptx.F(0), x, x)",
		"k.SelpF32(x, x, u)", "k.If(u, func() {})", "k.StF32(c, x)", "k.StF32(g, u)", "k.LdF32(u)", "k.LdF32(w)",
		"k.AtomAddF32(c, x)", "k.CpAsyncCG(g, sh)", "k.LdmatrixX4(g)", "k.LdmatrixX4(cl)", "k.MmaM16N8K16F32BF16BF16F32(acc, [2]ptx.RegB32{}, acc)",
		"ptx.ShflBfly(k, d, ptx.I(1))", "k.BarSync(u)", "k.StV4F32(g, [2]ptx.RegF32{x, x})", "k.CvtRnBF16x2F32(h, h)", "sh.Elem(x, ptx.F32)",
	} {
		if check(bad) == nil {
			t.Errorf("%s compiles", bad)
		}
	}
}

func TestText(t *testing.T) {
	m := ptx.NewModule(sm80)
	m.Const("table", ptx.F32, 2, 0, ptx.InitF32(1, 2)...)
	f := m.Func("twice")
	x := f.ParamF32("x")
	f.ReturnValue(f.AddF32(x, x))
	k := m.Entry("f")
	k.RequireThreads(64)
	p := k.ParamGlobal("p", ptx.PtrAlign(16))
	i := k.MadLoU32(k.CtaidX(), k.NtidX(), k.TidX())
	k.IfElse(k.SetpLtU32(i, ptx.I(10)), func() {
		v := k.LdV4F32(p.Elem(i, ptx.F32).Plus(16), ptx.NC, ptx.L1NoAllocate)
		k.StF32(p, ptx.Call[ptx.RegF32](k, f, v[0]))
	}, func() {
		k.Guard(k.SetpGtF32(k.LdF32(k.ConstVar("table").Plus(4)), ptx.F(0.5)).Not(), func() {
			k.StF32(p, ptx.F(1), ptx.Release(ptx.GPU))
		})
	})
	k.RedAddF32(p, ptx.F(2), ptx.Relaxed(ptx.GPU))
	got := m.Module().String()
	for _, want := range []string{
		".func (.param .b32 twice_result) twice", ".visible .entry f", ".reqntid 64", ".ptr .global .align 16",
		"mad.lo.u32 %r4, %r1, %r2, %r3;", "@!%p1 bra $else_1;", "mad.wide.u32 %rd3, %r4, 4, %rd2;",
		"ld.global.nc.L1::no_allocate.v4.f32 {%f1, %f2, %f3, %f4}, [%rd3+16];", "call (result1), twice, (arg1_0);",
		"ld.const.f32 %f6, [%rd4+4];", "@!%p2 st.release.gpu.global.f32 [%rd2], 0f3F800000;",
		"red.relaxed.gpu.global.add.f32 [%rd2], 0f40000000;", ".const .f32 table[2] = {",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestSwizzle(t *testing.T) {
	for _, c := range []struct {
		s    ptx.Swizzle
		mask int
	}{{ptx.SwizzleNone, 0}, {ptx.Swizzle32, 0x10}, {ptx.Swizzle64, 0x30}, {ptx.Swizzle128, 0x70}} {
		for a := range 4096 {
			if got, want := c.s.Apply(a), a^a>>3&c.mask; got != want {
				t.Fatalf("swizzle %d of %#x is %#x, expected %#x", c.s, a, got, want)
			}
		}
	}
	// A column of 16-byte chunks of 8 rows touches all 8 groups of banks; every byte has
	// a place of its own.
	for _, tile := range []ptx.SharedTile{{16, 128, ptx.Swizzle128, 0}, {16, 512, ptx.Swizzle128, 0}, {16, 64, ptx.Swizzle64, 0}, {8, 96, ptx.Swizzle32, 0}, {8, 48, 0, 80}} {
		seen := map[int]bool{}
		for r := range tile.Rows {
			for c := 0; c < tile.RowBytes; c += 16 {
				o := tile.Offset(r, c)
				if seen[o] || o < 0 || o >= tile.Bytes() || o%16 != 0 {
					t.Errorf("%v: offset %d of row %d, byte %d", tile, o, r, c)
				}
				seen[o] = true
			}
		}
		if tile.Swizzle < ptx.Swizzle128 {
			continue
		}
		banks := map[int]bool{}
		for r := range 8 {
			banks[tile.Offset(r, 0)/16%8] = true
		}
		if len(banks) != 8 {
			t.Errorf("%v: 8 rows touch %d groups of banks", tile, len(banks))
		}
	}
}
