package ptx

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func flowOf(t *testing.T, body string) *Flow {
	t.Helper()
	m, err := Parse("", wrap(body))
	if err != nil {
		t.Fatal(err)
	}
	fl, err := NewFlow(m.Decls[0].(*Func))
	if err != nil {
		t.Fatal(err)
	}
	return fl
}

func TestFlow(t *testing.T) {
	fl := flowOf(t, `.reg .pred p; .reg .b32 r<9>;
	mov.u32 r1, 0;             // 0: block 0
	T: .branchtargets A, B, END;
	brx.idx r1, T;             // 1
A:	{ A: mov.u32 r2, 1;        // 2: block 1
	@p bra A; }                // 3
B:	@p exit;                   // 4: block 2
	bra END;                   // 5: block 3
	mov.u32 r3, 3;             // 6: block 4, unreachable
END:`) // 7: ret, block 5
	if got := fl.Targets(1); !slices.Equal(got, []int{2, 4, 7}) {
		t.Errorf("brx.idx jumps to %v", got)
	}
	if got := fl.Targets(3); !slices.Equal(got, []int{2}) {
		t.Errorf("the label A of the inner scope is at %v", got)
	}
	var succ []string
	for _, b := range fl.Blocks {
		succ = append(succ, fmt.Sprint(b.Succ))
	}
	if got, want := strings.Join(succ, " "), "[1 2 5] [1 2] [3] [5] [5] []"; got != want {
		t.Errorf("successors %s, want %s", got, want)
	}
	if got, want := fl.PostDominators(), []int{-1, 2, -1, 5, 5, -1}; !slices.Equal(got, want) {
		t.Errorf("post-dominators %v, want %v", got, want)
	}
	if _, ok := fl.Lookup(2, "T").(*BranchTargets); !ok {
		t.Errorf("T is %v inside the inner scope", fl.Lookup(2, "T"))
	}
	if v, ok := fl.Lookup(0, "p").(*Var); !ok || v.Space != Param {
		t.Errorf("the parameter is %v", fl.Lookup(0, "p"))
	}
}

// Post-dominators agree with their definition on random graphs: d post-dominates b if
// no path from b to the exit avoids d.
func TestPostDominatorsRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := 2 + rng.IntN(9)
		var b strings.Builder
		b.WriteString(".reg .pred p;\n")
		for i := range n {
			fmt.Fprintf(&b, "L%d: ", i)
			for range 1 + rng.IntN(2) {
				switch rng.IntN(5) {
				case 0:
					fmt.Fprintf(&b, "bra L%d;\n", rng.IntN(n))
				case 1, 2:
					fmt.Fprintf(&b, "@p bra L%d;\n", rng.IntN(n))
				case 3:
					b.WriteString("@p exit;\n")
				default:
					b.WriteString("bar.sync 0;\n")
				}
			}
		}
		fl := flowOf(t, b.String())
		avoids := func(from, without int) bool { // reaches the exit
			seen := make([]bool, len(fl.Blocks))
			var walk func(v int) bool
			walk = func(v int) bool {
				if v == without || seen[v] {
					return false
				}
				seen[v] = true
				if fl.Blocks[v].Exits {
					return true
				}
				return slices.ContainsFunc(fl.Blocks[v].Succ, walk)
			}
			return walk(from)
		}
		ipdom := fl.PostDominators()
		for v := range fl.Blocks {
			want := -1
			if avoids(v, -1) {
				var doms []int
				for d := range fl.Blocks {
					if d != v && !avoids(v, d) {
						doms = append(doms, d)
					}
				}
				for _, d := range doms { // the nearest is post-dominated by all others
					if !slices.ContainsFunc(doms, func(e int) bool { return e != d && avoids(d, e) }) {
						want = d
					}
				}
			}
			if ipdom[v] != want {
				t.Fatalf("block %d: %d, want %d\n%s", v, ipdom[v], want, b.String())
			}
		}
	}
}

func TestLiveness(t *testing.T) {
	fl := flowOf(t, `.reg .pred p; .reg .b32 r<9>; .reg .b64 d<3>; .reg .f32 f<3>;
	mov.u32 r1, 8;              // 0
	mov.u64 d1, 0;              // 1
L:	ld.global.b32 r2, [d1];     // 2
	add.u64 d1, d1, 4;          // 3
	add.u32 r1, r1, -1;         // 4
	@p mov.b32 r3, r2;          // 5: keeps an older r3
	setp.ne.u32 p, r1, 0;       // 6
	@p bra L;                   // 7
	st.global.b32 [d1], r3;     // 8`)
	l := fl.Liveness()
	for _, tt := range []struct {
		i    int
		want string
	}{
		{0, "r3 p"},
		{2, "r1 d1 r3 p"},
		{5, "r1 d1 r2 r3 p"},
		{8, "d1 r3"},
		{9, ""},
	} {
		var got []string
		for _, r := range l.At(tt.i) {
			got = append(got, r.Name)
		}
		want := strings.Fields(tt.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("before %d live are %v, want %v", tt.i, got, want)
		}
	}
	if p, at := l.Max(); p != (Pressure{5, 1}) || at < 3 || at > 5 {
		t.Errorf("largest pressure %+v at %d", p, at)
	}
}

// Figures from the CUDA occupancy calculator.
func TestOccupancy(t *testing.T) {
	for _, tt := range []struct {
		cc, threads, regs, shared int
		blocks                    int
		limit                     string
	}{
		{80, 256, 32, 0, 8, "warps"},
		{80, 256, 64, 0, 4, "registers"},
		{80, 32, 16, 0, 32, "blocks"},
		{80, 128, 255, 0, 2, "registers"},
		{80, 128, 40, 48 << 10, 3, "shared memory"},
		{80, 128, 40, 163 << 10, 1, "shared memory"},
		{75, 256, 32, 0, 4, "warps"},
		{75, 256, 32, 32 << 10, 2, "shared memory"},
		{86, 1024, 32, 0, 1, "warps"},
		{89, 32, 16, 0, 24, "blocks"},
		{90, 384, 168, 200 << 10, 1, "registers"},
		{90, 128, 32, 227 << 10, 1, "shared memory"},
		{120, 128, 32, 99 << 10, 1, "shared memory"},
	} {
		sm, ok := LimitsOf(tt.cc)
		if !ok {
			t.Fatalf("no limits of %d", tt.cc)
		}
		o, err := sm.Occupancy(tt.threads, tt.regs, tt.shared)
		if err != nil || o.Blocks != tt.blocks || o.Limit != tt.limit {
			t.Errorf("%+v: %d blocks by %s (%v)", tt, o.Blocks, o.Limit, err)
		}
	}
	sm, _ := LimitsOf(120)
	for _, bad := range [][3]int{{1025, 32, 0}, {0, 32, 0}, {128, 256, 0}, {128, 32, 100 << 10}, {1024, 255, 0}} {
		if o, err := sm.Occupancy(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%v gives %+v, an error is expected", bad, o)
		}
	}
	if _, ok := LimitsOf(42); ok {
		t.Error("limits of compute capability 4.2")
	}
}

// Each form parses in its own notation, names its section, and states types that its
// operands can have.
func TestTable(t *testing.T) {
	ops := map[string]bool{}
	for _, f := range Forms() {
		ops[f.Op] = true
		if f.Section == "" || f.Title == "" {
			t.Errorf("%s: %s has no section", f.Source, f)
		}
		for _, m := range choices(f) {
			for i := range f.Args {
				a := &f.Args[i]
				if a.Kind == ArgValue && m.argType(a) == NoType {
					t.Errorf("%s: operand %s of %s has no type", f.Source, a.Name, f)
				}
				if (a.countBy != nil || a.countDiv > 0) && m.argCount(a) == 0 {
					t.Errorf("%s: operand %s of %s has no length for %v", f.Source, a.Name, f, m.sel)
				}
			}
		}
	}
	t.Logf("%d forms of %d mnemonics", len(Forms()), len(ops))
}

func TestBindings(t *testing.T) {
	fl := flowOf(t, `.reg .pred p; .reg .b32 r<9>; .reg .b64 d<9>; .reg .f32 f<9>; .reg .b16 h;
	ld.global.nc.L1::no_allocate.L2::cache_hint.v2.f32 {f1, f2}, [d1+8], d2;
	atom.global.gpu.acq_rel.add.u32 r1, [d1], 1;
	mad.wide.s32 d1, r1, r2, d3;
	bar.red.popc.u32 r1, 0, p;
	cvt.rn.ftz.f16.f32 h, f1;
	setp.lt.and.s32 p|_, r1, r2, !p;`)
	str := func(i int, name string) string {
		if o := fl.Instrs[i].Operand(name); o != nil {
			return OperandString(o)
		}
		return "-"
	}
	ld := fl.Instrs[0]
	if ld.Vec() != 2 || ld.Type("type") != F32 || ld.Space("space") != NoSpace || !ld.Has("nc") || ld.Has("cop") ||
		ld.Mod("level1::eviction_priority") != "L1::no_allocate" || str(0, "cache_policy") != "d2" || str(0, "a") != "[d1+8]" {
		t.Errorf("%s: %+v", ld, ld.Bindings())
	}
	atom := fl.Instrs[1]
	if atom.Mod("sem") != "acq_rel" || atom.Mod("scope") != "gpu" || atom.Space("space") != Global || atom.Mod("op") != "add" {
		t.Errorf("%s: sem %s", atom, atom.Mod("sem"))
	}
	if b := fl.Instrs[2].Bindings(); b[0].Type != S64 || b[1].Type != S32 || b[3].Type != S64 {
		t.Errorf("mad.wide: %+v", b)
	}
	if str(3, "b") != "-" || str(3, "c") != "p" || str(3, "a") != "0" {
		t.Errorf("bar.red: b %s, c %s", str(3, "b"), str(3, "c"))
	}
	if cvt := fl.Instrs[4]; cvt.Type("dtype") != F16 || cvt.Type("atype") != F32 || cvt.Mod("rnd") != "rn" || !cvt.Has("ftz") {
		t.Errorf("%s", cvt)
	}
	if str(5, "p") != "p" || str(5, "q") != "_" || str(5, "c") != "!p" {
		t.Errorf("setp: %s|%s %s", str(5, "p"), str(5, "q"), str(5, "c"))
	}
}
