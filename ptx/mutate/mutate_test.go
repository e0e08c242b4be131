package mutate

import (
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
)

// TestMutants: each differs from the module, and the module stays as it is.
func TestMutants(t *testing.T) {
	mod := ptx.NewModule(ptx.Target{SM: 80})
	k := mod.Entry("f")
	p, n := k.ParamGlobal("p"), k.ParamU32("n")
	tile := k.Shared("tile", ptx.F32, 64, 16)
	tid := k.TidX()
	k.If(k.SetpLtU32(tid, n), func() { k.CpAsync(tile.Elem(tid, ptx.F32), p.Elem(tid.Times(4), ptx.F32), 16) })
	k.CpAsyncCommitGroup()
	k.CpAsyncWaitGroup(0)
	k.BarSync(0)
	v := k.LdV2F32(tile.Elem(tid.Xor(ptx.I(32)).And(ptx.I(62)), ptx.F32))
	k.Guard(k.SetpEqU32(tid, ptx.I(3)), func() { k.StF32(p.Elem(tid, ptx.F32), k.SubF32(v[0], v[1])) })
	m := mod.Module()
	before := m.String()
	kinds := map[string]bool{}
	for _, mu := range All(m) {
		kinds[mu.Kind] = true
		if mu.Module().String() == before {
			t.Errorf("%s changes nothing", mu.ID())
		}
		if !strings.HasPrefix(mu.ID(), "f mutate_test.go:") {
			t.Errorf("%s does not name its Go line", mu.ID())
		}
	}
	if m.String() != before {
		t.Error("the module itself was changed")
	}
	for _, kind := range []string{
		"drop barrier", "drop wait", "drop commit", "move barrier", "move commit", "wait for one group fewer", "one stage more",
		"index off by one", "another stride", "another swizzle", "drop swizzle", "another mask", "swapped operands",
		"negated predicate", "dropped predicate", "another comparison", "another width",
	} {
		if !kinds[kind] {
			t.Errorf("no mutant of the kind %q", kind)
		}
	}
}

// TestGuardOfNoUse: what is computed for the next instructions under the same guard alone
// needs no guard, and is not a place for a defect.
func TestGuardOfNoUse(t *testing.T) {
	mod := ptx.NewModule(ptx.Target{SM: 80})
	k := mod.Entry("f")
	p, x := k.ParamGlobal("p"), k.VarU32(ptx.I(0))
	k.Guard(k.SetpEqU32(k.TidX(), ptx.I(3)), func() {
		k.MovU32To(x, ptx.I(1))
		k.StU32(p, k.AddU32(k.TidX(), ptx.I(5)))
	})
	k.StU32(p.Plus(4), x)
	dropped := map[string]bool{}
	for _, mu := range All(mod.Module()) {
		if mu.Kind == "dropped predicate" {
			op, _, _ := strings.Cut(mu.After, " ")
			dropped[op+" "+mu.After[strings.LastIndexByte(mu.After, ' ')+1:]] = true
		}
	}
	for what, want := range map[string]bool{"mov.u32 1;": true, "add.u32 5;": false, "mov.u32 %tid.x;": false} {
		if dropped[what] != want {
			t.Errorf("the guard of %q is dropped: %t, expected %t", what, dropped[what], want)
		}
	}
	if len(dropped) != 2 {
		t.Errorf("guards dropped of %v, expected the move and the store", dropped)
	}
}
