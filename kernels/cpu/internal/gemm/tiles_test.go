package gemm

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Assembly finds the fields of a tilesCall where Go has them.
func TestAssemblyKnowsTheFields(t *testing.T) {
	source, err := os.ReadFile("_asm/tiles.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(source), "func field(")
	list, _, _ = strings.Cut(list, "} {")
	var names []string
	for _, m := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	var fields []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[tilesCall]()) {
		if f.Anonymous {
			continue
		}
		if f.Type.Size() != 8 {
			t.Errorf("%s is of %d bytes", f.Name, f.Type.Size())
		}
		fields = append(fields, f.Name)
	}
	if !slices.Equal(names, fields) {
		t.Errorf("_asm/tiles.go lists\n%v, the fields are\n%v", names, fields)
	}
}

// Where all rows are multiplied at once, in chunks, blocks and panels of every
// kind, they have the bits that they have a few at a time, b read in place.
func TestTilesOfManyRows(t *testing.T) {
	if !slices.Contains(vec.Levels(), vec.AMX.String()) {
		t.Skip("this processor has no tile registers (AMX)")
	}
	defer vec.ForceLevel(vec.AMX.String())()
	rng := rand.New(rand.NewPCG(41, 41))
	bits := func(n int) []uint16 {
		x := make([]uint16, n)
		for i := range x {
			x[i] = bf16Of(float32(rng.NormFloat64()))
		}
		return x
	}
	for _, s := range []struct{ m, n, k, pad int }{
		{150, 352, 1024, 0}, {97, 352, 1088, 0}, {97, 400, 1088, 32}, {80, 352, 2144, 0}, // tiles are kept while they are used
		{97, 352, 1100, 0}, {97, 350, 1087, 1}, {66, 40, 2100, 3}, // copied before
		{97, 320, 1088, 0}, {70, 33, 64, 0}, // never copied
		{1100, 70, 96, 0}, {70, 2500, 40, 0}, // several blocks
	} {
		for _, dst := range []Kind{KindF32, KindBF16, KindF16} {
			for _, accumulate := range []bool{false, true} {
				ld := s.k + s.pad
				a, w := bits(s.m*ld), bits(s.n*s.k)
				turned := make([]uint16, s.n*s.k)
				for j := range s.n {
					for l := range s.k {
						turned[l*s.n+j] = w[j*s.k+l]
					}
				}
				var bias []float32
				if rng.IntN(2) == 0 {
					bias = normals(rng, s.n)
				}
				old := Matrix{F32: normals(rng, s.m*s.n), Bits: bits(s.m * s.n), Kind: dst, Ld: s.n}
				if dst == KindF16 {
					for i := range old.Bits {
						old.Bits[i] = old.Bits[i]&0x8fff | 0x3000
					}
				}
				start := func() Matrix {
					d := old
					d.F32, d.Bits = slices.Clone(old.F32), slices.Clone(old.Bits)
					return d
				}
				few, many, rows := start(), start(), start()
				right := Matrix{Bits: w, Kind: KindBF16, Ld: s.k}
				for row := 0; row < s.m; row += 24 {
					part := few
					part.F32, part.Bits = few.F32[row*s.n:], few.Bits[row*s.n:]
					Product(nil, FormNT, part, Matrix{Bits: a[row*ld:], Kind: KindBF16, Ld: ld}, right, bias, min(24, s.m-row), s.n, s.k, accumulate)
				}
				left := Matrix{Bits: a, Kind: KindBF16, Ld: ld}
				Product(goroutines, FormNT, many, left, right, bias, s.m, s.n, s.k, accumulate)
				Product(nil, FormNN, rows, left, Matrix{Bits: turned, Kind: KindBF16, Ld: s.n}, bias, s.m, s.n, s.k, accumulate)
				what := fmt.Sprintf("%+v to %v, accumulate=%v, bias=%v", s, dst, accumulate, bias != nil)
				for form, got := range map[string]Matrix{"NT": many, "NN": rows} {
					if dst == KindF32 {
						equalBits(t, what+" "+form, got.F32, few.F32)
					} else if !slices.Equal(got.Bits, few.Bits) {
						t.Fatalf("%s %s differs", what, form)
					}
				}
			}
		}
	}
}
