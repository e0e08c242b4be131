package mutate_test

import (
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/mutate"
)

// unrolled adds x to n elements, and waits once.
func unrolled(n int) *ptx.Module {
	m := ptx.NewModule(ptx.Target{SM: 80})
	k := m.Entry("f")
	p := k.ParamGlobal("p")
	for i := range n {
		k.StF32(p.Plus(4*i), k.AddF32(k.LdF32(p.Plus(4*i)), ptx.F(1)))
	}
	k.BarSync(0)
	return m.Module()
}

// Copies of an instruction have few representatives, which stand for all; what is there
// once is tried itself; and heavier modules are taken first, of places that are reached.
func TestChoose(t *testing.T) {
	small, large := mutate.All(unrolled(1)), mutate.All(unrolled(200))
	everywhere := func(int, *mutate.Mutant) bool { return true }
	chosen := mutate.Choose([][]*mutate.Mutant{small, large}, []int{1, 2}, everywhere)
	stand, barriers := 0, 0
	for i, list := range chosen {
		for _, c := range list {
			stand += c.For
			if c.Kind == "drop barrier" && i == 1 {
				barriers++
			}
		}
	}
	if stand != len(small)+len(large) {
		t.Errorf("those chosen stand for %d, there are %d", stand, len(small)+len(large))
	}
	if n := len(chosen[1]); n == 0 || n > len(large)/10 {
		t.Errorf("%d of %d are tried", n, len(large))
	}
	if barriers != 1 {
		t.Errorf("the barrier is dropped %d times, expected once", barriers)
	}
	again := mutate.Choose([][]*mutate.Mutant{small, large}, []int{1, 2}, everywhere)
	for i := range chosen {
		for j := range chosen[i] {
			if chosen[i][j].Mutant != again[i][j].Mutant {
				t.Fatal("another choice the second time")
			}
		}
	}
	chosen = mutate.Choose([][]*mutate.Mutant{small, large}, []int{1, 2}, func(module int, _ *mutate.Mutant) bool { return module == 0 })
	if n := len(chosen[0]); n < len(small) {
		t.Errorf("%d of %d are tried where they are reached", n, len(small))
	}
}

func TestAbstract(t *testing.T) {
	for text, want := range map[string]string{
		"mad.lo.u32 %r325, %r320, 64, %r324;":         "mad.lo.u32 %r, %r, #, %r;",
		"@!%p106 bra $endif_15;":                      "@!%p bra $endif_;",
		"ld.global.u32 %r30, [%rd11+-4];":             "ld.global.u32 %r, [%rd+-#];",
		"mov.u32 %r1, %tid.x;":                        "mov.u32 %r, %tid.x;",
		"mul.f32 %f1, %f2, 0f3F800000;":               "mul.f32 %f, %f, #;",
		"ld.global.v4.f32 {%f5, %f6, %f7, %f8}, [%a]": "ld.global.v4.f32 {%f, %f, %f, %f}, [%a]",
	} {
		if got := mutate.Abstract(text); got != want {
			t.Errorf("%s: %s, expected %s", text, got, want)
		}
	}
}
