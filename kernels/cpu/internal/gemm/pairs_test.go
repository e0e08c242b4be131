package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/internal/f32math"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

func bf16Of(x float32) uint16 { return uint16(math.Float32bits(x) >> 16) }

// flush is x, subnormals as zeros.
func flush(x float32) float32 {
	if b := math.Float32bits(x); b&0x7f800000 == 0 {
		return math.Float32frombits(b & (1 << 31))
	}
	return x
}

// pairElement is Product's specification of one element where a and b are bfloat16.
func pairElement(k int, a, b func(l int) float32, old float32, accumulate bool, bias *float32) float32 {
	if hasTiles() {
		return tilesElement(k, a, b, old, accumulate, bias)
	}
	e := old
	for k0 := 0; k0 < k; k0 += 2 * KC {
		s := float32(0)
		for l := k0; l < min(k, k0+2*KC); l += 2 {
			if l+1 < k {
				s = flush(f32math.FMA32(flush(a(l+1)), flush(b(l+1)), s))
			}
			s = flush(f32math.FMA32(flush(a(l)), flush(b(l)), s))
		}
		if accumulate || k0 > 0 {
			s = e + s
		}
		e = s
	}
	if bias != nil {
		e += *bias
	}
	return e
}

// tilesElement is the same where pairs are multiplied in tiles.
func tilesElement(k int, a, b func(l int) float32, old float32, accumulate bool, bias *float32) float32 {
	e := float32(0)
	if accumulate {
		e = flush(old)
	}
	for k0 := 0; k0 < k; k0 += 32 {
		first, second := float32(0), float32(0)
		for l := k0; l < min(k, k0+32); l += 2 {
			first = flush(f32math.FMA32(flush(a(l)), flush(b(l)), first))
			if l+1 < k {
				second = flush(f32math.FMA32(flush(a(l+1)), flush(b(l+1)), second))
			}
		}
		e = flush(e + flush(first+second))
	}
	if k == 0 && !accumulate {
		e = 0
	} else if k == 0 {
		e = old
	}
	if bias != nil {
		e += *bias
	}
	return e
}

// storages is a case of Product: what a, b and dst are stored as.
type storages struct {
	form       Form
	a, b, dst  Kind
	m, n, k    int
	accumulate bool
	bias       bool
	odd        int // added to leading dimensions and offsets
	special    bool
}

func (c storages) check(t *testing.T, rng *rand.Rand) {
	t.Helper()
	value := func() float32 {
		if c.special {
			switch rng.IntN(40) {
			case 0:
				return float32(math.Inf(1 - 2*rng.IntN(2)))
			case 1:
				return nan
			case 2:
				return math.Float32frombits(uint32(rng.IntN(128)) << 16) // subnormal as bfloat16 too
			}
		}
		return float32(rng.NormFloat64())
	}
	make2 := func(kind Kind, rows, cols int) (Matrix, func(i, j int) float32) {
		ld := cols + c.odd
		x := make([]float32, max(0, (rows-1)*ld+cols)+c.odd)[c.odd:]
		bits := make([]uint16, len(x)+c.odd)[c.odd:]
		for i := range x {
			x[i] = value()
			switch bits[i] = bf16Of(x[i]); kind {
			case KindF16:
				bits[i] = bits[i]&0x8fff | 0x3000
				fallthrough
			case KindBF16:
				x[i] = widen1(bits[i], kind)
			}
		}
		at := func(i, j int) float32 { return x[i*ld+j] }
		if kind == KindF32 {
			return Matrix{F32: x, Ld: ld}, at
		}
		return Matrix{Bits: bits, Kind: kind, Ld: ld}, at
	}
	bRows, bCols := c.n, c.k
	if c.form == FormNN {
		bRows, bCols = c.k, c.n
	}
	a, aAt := make2(c.a, c.m, c.k)
	b, bAt := make2(c.b, bRows, bCols)
	dst, dstAt := make2(c.dst, c.m, c.n)
	var bias []float32
	if c.bias {
		bias = normals(rng, c.n)
	}
	for _, p := range []*Parallel{nil, goroutines} {
		got := dst
		got.F32, got.Bits = slices.Clone(dst.F32), slices.Clone(dst.Bits)
		Product(p, c.form, got, a, b, bias, c.m, c.n, c.k, c.accumulate)
		for i := range c.m {
			for j := range c.n {
				av := func(l int) float32 { return aAt(i, l) }
				bv := func(l int) float32 { return bAt(j, l) }
				if c.form == FormNN {
					bv = func(l int) float32 { return bAt(l, j) }
				}
				var bp *float32
				if bias != nil {
					bp = &bias[j]
				}
				spec := element
				if c.a == KindBF16 && c.b == KindBF16 && HasBF16() {
					spec = pairElement
				}
				want := spec(c.k, av, bv, dstAt(i, j), c.accumulate, bp)
				switch at := i*dst.Ld + j; c.dst {
				case KindF32:
					if g := got.F32[at]; math.Float32bits(g) != math.Float32bits(want) && !(g != g && want != want) {
						t.Fatalf("%+v: element (%d, %d) is %v, want %v", c, i, j, g, want)
					}
				default:
					w := make([]uint16, 1)
					if c.dst == KindBF16 {
						vec.NarrowBF16(w, []float32{want})
					} else {
						vec.NarrowF16(w, []float32{want})
					}
					if g := got.Bits[at]; g != w[0] && want == want {
						t.Fatalf("%+v: element (%d, %d) is %#04x, want %#04x", c, i, j, g, w[0])
					}
				}
			}
		}
		// Nothing outside m×n is written.
		for i := range max(len(got.F32), len(got.Bits)) {
			if i/dst.Ld < c.m && i%dst.Ld < c.n {
				continue
			}
			if got.F32 != nil && math.Float32bits(got.F32[i]) != math.Float32bits(dst.F32[i]) || got.Bits != nil && got.Bits[i] != dst.Bits[i] {
				t.Fatalf("%+v: element %d outside dst was overwritten", c, i)
			}
		}
	}
}

// Every combination of storages, sizes across tiles, panels, chunks and blocks.
func TestProductOfEveryStorage(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(31, 31))
		kinds := []Kind{KindF32, KindBF16, KindF16}
		i := 0
		for _, form := range []Form{FormNT, FormNN} {
			for _, a := range kinds {
				for _, b := range kinds {
					for _, dst := range kinds {
						for _, s := range [][3]int{{1, 17, 33}, {5, 70, 67}, {37, 33, 130}, {14, 9, 0}} {
							i++
							storages{form, a, b, dst, s[0], s[1], s[2], i%2 == 0, i%3 == 0, i % 4, i%5 == 0}.check(t, rng)
						}
					}
				}
			}
			// Pairs: every size, odd and even.
			for size := 1; size < 71; size++ {
				storages{form, KindBF16, KindBF16, KindF32, size, 19, 37, size%2 == 0, size%3 == 0, size % 3, false}.check(t, rng)
				storages{form, KindBF16, KindBF16, KindBF16, 7, size, 21, size%2 == 1, size%3 == 0, size % 2, false}.check(t, rng)
				storages{form, KindBF16, KindBF16, KindF32, 13, 34, 4 * size, size%2 == 0, false, size % 2, size%4 == 0}.check(t, rng)
				storages{form, KindBF16, KindBF16, KindF32, 3, 34, 4*size + 1, size%2 == 0, true, size % 3, false}.check(t, rng)
			}
			storages{form, KindBF16, KindBF16, KindF32, 1541, 137, 131, false, true, 1, false}.check(t, rng)
			storages{form, KindBF16, KindF32, KindBF16, 41, 137, 131, false, true, 1, false}.check(t, rng)
		}
		// Rows that are copied since they would push one another out of the cache.
		storages{FormNT, KindBF16, KindBF16, KindF32, 29, 33, 2048, false, false, 0, false}.check(t, rng)
		storages{FormNN, KindBF16, KindBF16, KindBF16, 29, 1024, 70, false, false, 0, false}.check(t, rng)
	})
}

// A row's pairs have the same bits alone and among others, however k is stored.
func TestPairsKeepTheirBitsInAnyCompany(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(32, 32))
		const m, n, k = 307, 131, 517
		bits := func(n int) []uint16 {
			x := make([]uint16, n)
			for i := range x {
				x[i] = bf16Of(float32(rng.NormFloat64()))
			}
			return x
		}
		a, w := bits(m*k), bits(n*k)
		wt := make([]uint16, n*k)
		for j := range n {
			for l := range k {
				wt[l*n+j] = w[j*k+l]
			}
		}
		mat := func(x []uint16, ld int) Matrix { return Matrix{Bits: x, Kind: KindBF16, Ld: ld} }
		all := make([]float32, m*n)
		Product(goroutines, FormNT, Matrix{F32: all, Ld: n}, mat(a, k), mat(w, k), nil, m, n, k, false)
		turned := make([]float32, m*n)
		Product(goroutines, FormNN, Matrix{F32: turned, Ld: n}, mat(a, k), mat(wt, n), nil, m, n, k, false)
		equalBits(t, "NN", turned, all)
		for _, rows := range []int{1, 2, 3, 5, 8, 13, 33, 64} {
			for row := 0; row+rows <= m; row += 43 {
				some := make([]float32, rows*n)
				Product(nil, FormNT, Matrix{F32: some, Ld: n}, mat(a[row*k:], k), mat(w, k), nil, rows, n, k, false)
				equalBits(t, "some rows", some, all[row*n:])
			}
		}
		for _, col := range []int{0, 1, 31, 32, 77, 130} {
			column := make([]float32, m)
			Product(nil, FormNT, Matrix{F32: column, Ld: 1}, mat(a, k), mat(w[col*k:], k), nil, m, 1, k, false)
			for i := range m {
				equalBits(t, "one column", column[i:i+1], all[i*n+col:])
			}
		}
	})
}

// Pairs are as near to float64 as f32 sums of their length are.
func TestPairsAgainstFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(33, 33))
		for _, k := range []int{1, 2, 127, 128, 1000, 4864} {
			const m, n = 12, 32
			a, b := make([]uint16, m*k), make([]uint16, n*k)
			for i := range a {
				a[i] = bf16Of(float32(rng.NormFloat64()))
			}
			for i := range b {
				b[i] = bf16Of(float32(rng.NormFloat64()))
			}
			got := make([]float32, m*n)
			Product(nil, FormNT, Matrix{F32: got, Ld: n}, Matrix{Bits: a, Kind: KindBF16, Ld: k}, Matrix{Bits: b, Kind: KindBF16, Ld: k}, nil, m, n, k, false)
			for i := range m {
				for j := range n {
					sum, size := 0.0, 0.0
					for l := range k {
						x := float64(widen1(a[i*k+l], KindBF16)) * float64(widen1(b[j*k+l], KindBF16))
						sum, size = sum+x, size+math.Abs(x)
					}
					// A chunk's chain of 2·KC roundings, then one a chunk.
					if bound := float64(min(k, 2*KC)+ceil(k, 2*KC)) * 0x1p-24 * size; math.Abs(float64(got[i*n+j])-sum) > bound {
						t.Fatalf("k=%d: (%d, %d) is %v, want %v ± %.2g", k, i, j, got[i*n+j], sum, bound)
					}
				}
			}
		}
	})
}

func TestGradientOfEveryStorage(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(34, 34))
		const m, n, k = 45, 70, 200
		starts := []int32{0, 64, 64, 101, 200}
		a := normals(rng, k*m)
		for _, kind := range []Kind{KindF32, KindBF16, KindF16} {
			b := newGuarded(k, n, n+1, 1)
			b.fill(rng)
			w := b.store(kind)
			got, want := normals(rng, m*n), make([]float32, m*n)
			copy(want, got)
			TNSegments(nil, want, n, a, m, b.slice(), n+1, m, n, starts, true)
			TNSegmentsOf(goroutines, got, n, a, m, w, m, n, starts, true)
			equalBits(t, fmt.Sprint(kind), got, want)
		}
	})
}
