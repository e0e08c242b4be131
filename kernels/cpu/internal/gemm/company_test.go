package gemm

import (
	"math"
	"math/rand/v2"
	"testing"
)

func normals(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// equalBits compares got with the beginning of want.
func equalBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// A row alone, in small company and among hundreds has the same bits, and so
// has a column.
func TestRowsKeepTheirBitsInAnyCompany(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 2))
		const m, n, k = 307, 131, 517
		a, w := normals(rng, m*k), normals(rng, n*k)
		all := make([]float32, m*n)
		NT(goroutines, all, n, a, k, Matrix{F32: w, Ld: k}, nil, m, n, k, false)
		for _, rows := range []int{1, 2, 3, 5, 8, 13, 64} {
			for row := 0; row+rows <= m; row += 43 {
				some := make([]float32, rows*n)
				NT(nil, some, n, a[row*k:], k, Matrix{F32: w, Ld: k}, nil, rows, n, k, false)
				equalBits(t, "some rows", some, all[row*n:])
			}
		}
		for _, col := range []int{0, 1, 31, 32, 77, 130} {
			column := make([]float32, m)
			NT(nil, column, 1, a, k, Matrix{F32: w[col*k:], Ld: k}, nil, m, 1, k, false)
			for i := range m {
				equalBits(t, "one column", column[i:i+1], all[i*n+col:])
			}
		}
	})
}

// Leading dimensions at which rows collide in the L1 cache take another way
// through the code.
func TestAliasedRowsKeepTheirBits(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 3))
		const m, n, k = 29, 70, 300
		w := normals(rng, n*k)
		tight := normals(rng, m*k)
		want := make([]float32, m*n)
		NT(nil, want, n, tight, k, Matrix{F32: w, Ld: k}, nil, m, n, k, false)
		for _, lda := range []int{512, 1024, 1536} {
			a := make([]float32, m*lda)
			for i := range m {
				copy(a[i*lda:], tight[i*k:(i+1)*k])
			}
			got := make([]float32, m*n)
			NT(nil, got, n, a, lda, Matrix{F32: w, Ld: k}, nil, m, n, k, false)
			equalBits(t, "aliased rows", got, want)
		}
	})
}

func TestSegmentsAreSuccessiveProducts(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 4))
		const m, n = 61, 150
		starts := []int32{3, 3, 4, 40, 40, 40 + KC, 41 + KC, 800, 800}
		k := int(starts[len(starts)-1])
		a, b := normals(rng, m*k), normals(rng, n*k)
		for _, accumulate := range []bool{false, true} {
			want := normals(rng, m*n)
			got := append([]float32(nil), want...)
			add := accumulate
			for s := 1; s < len(starts); s++ {
				l0, l1 := int(starts[s-1]), int(starts[s])
				if l0 < l1 {
					TN(nil, want, n, a[l0*m:], m, b[l0*n:], n, m, n, l1-l0, add)
					add = true
				}
			}
			TNSegments(goroutines, got, n, a, m, b, n, m, n, starts, accumulate)
			equalBits(t, "segments", got, want)
		}
		// No rows at all: zeros, or nothing.
		for _, starts := range [][]int32{nil, {5}, {5, 5}} {
			old := normals(rng, m*n)
			got := append([]float32(nil), old...)
			TNSegments(nil, got, n, a, m, b, n, m, n, starts, true)
			equalBits(t, "no segments, accumulated", got, old)
			TNSegments(nil, got, n, a, m, b, n, m, n, starts, false)
			equalBits(t, "no segments", got, make([]float32, m*n))
		}
	})
}

// NaN and ±Inf in one row or column reach that row or column and nothing else.
func TestSpecialValuesStayInTheirRow(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 5))
		const m, n, k = 27, 43, 29
		inf := float32(math.Inf(1))
		for _, bad := range []float32{nan, inf, -inf} {
			a, w := normals(rng, m*k), normals(rng, n*k)
			clean, dirty := make([]float32, m*n), make([]float32, m*n)
			NT(nil, clean, n, a, k, Matrix{F32: w, Ld: k}, nil, m, n, k, false)
			const row, col = 14, 33
			a[row*k+7], w[col*k+11] = bad, bad
			NT(nil, dirty, n, a, k, Matrix{F32: w, Ld: k}, nil, m, n, k, false)
			for i := range m {
				for j := range n {
					x := dirty[i*n+j]
					if i != row && j != col {
						equalBits(t, "untouched element", dirty[i*n+j:][:1], clean[i*n+j:][:1])
					} else if x-x == 0 {
						t.Fatalf("%v was lost: element (%d, %d) is %v", bad, i, j, x)
					}
				}
			}
			// Zero times infinity is NaN, whatever is zero.
			clear(a)
			NT(nil, dirty, n, a, k, Matrix{F32: w, Ld: k}, nil, m, n, k, false)
			if x := dirty[col]; x == x {
				t.Fatalf("0·%v gave %v, want NaN", bad, x)
			}
		}
	})
}

func TestAgainstFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(6, 6))
		const m, n, k = 37, 75, 1000
		a, w := normals(rng, m*k), normals(rng, n*k)
		got := make([]float32, m*n)
		NT(goroutines, got, n, a, k, Matrix{F32: w, Ld: k}, nil, m, n, k, false)
		for i := range m {
			for j := range n {
				want, size := 0.0, 0.0
				for l := range k {
					p := float64(a[i*k+l]) * float64(w[j*k+l])
					want += p
					size += math.Abs(p)
				}
				if e := math.Abs(float64(got[i*n+j]) - want); e > 1e-6*size {
					t.Fatalf("element (%d, %d) is %v, want %v: off by %.1e of Σ|a·b|", i, j, got[i*n+j], want, e/size)
				}
			}
		}
	})
}

// Every 16-bit pattern, through the conversion and through the product 1·x.
func TestWideningIsExact(t *testing.T) {
	f16value := func(v uint16) float64 {
		e, f := int(v>>10&31), float64(v&1023)
		x := math.Ldexp(1024+f, e-25)
		switch {
		case e == 0:
			x = math.Ldexp(f, -24)
		case e == 31 && f == 0:
			x = math.Inf(1)
		case e == 31:
			x = math.NaN()
		}
		if v>>15 == 1 {
			x = -x
		}
		return x
	}
	bf16value := func(v uint16) float64 { return float64(math.Float32frombits(uint32(v) << 16)) }
	bits := make([]uint16, 1<<16)
	for i := range bits {
		bits[i] = uint16(i)
	}
	eachLevel(t, func(t *testing.T) {
		for kind, value := range map[Kind]func(uint16) float64{KindBF16: bf16value, KindF16: f16value} {
			wide := make([]float32, len(bits))
			widen(wide, bits, kind)
			product := make([]float32, len(bits))
			w := Matrix{Bits: bits, Kind: kind, Ld: 256}
			// The 256×256 matrix of all patterns, transposed by the identity.
			one := make([]float32, 256*256)
			for i := range 256 {
				one[i*256+i] = 1
			}
			NT(nil, product, 256, one, 256, w, nil, 256, 256, 256, false)
			finite := false
			for i := range bits {
				want := value(uint16(i))
				if got := float64(wide[i]); got != want && !(got != got && want != want) {
					t.Fatalf("%v %#04x widens to %v, want %v", kind, i, got, want)
				}
				// NaN or Inf in a row of w spoils that row's other products.
				if i%256 == 0 {
					finite = allFinite(bits[i:i+256], value)
				}
				if got := float64(product[i%256*256+i/256]); finite && got != want {
					t.Fatalf("1·%v %#04x is %v, want %v", kind, i, got, want)
				}
			}
		}
	})
}

func allFinite(row []uint16, value func(uint16) float64) bool {
	for _, v := range row {
		if x := value(v); x-x != 0 {
			return false
		}
	}
	return true
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties sync.Pool at random")
	}
	const m, n, k = 20, 70, 300
	a, w, y := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
	b := Matrix{F32: w, Ld: k}
	starts := []int32{0, 100, 300}
	eachLevel(t, func(t *testing.T) {
		got := testing.AllocsPerRun(50, func() {
			NT(inTurn, y, n, a, k, b, nil, m, n, k, false)
			TNSegments(inTurn, y, n, a, m, w, n, m, n, starts, true)
		})
		if got >= 1 {
			t.Errorf("%v allocations a call, want none", got)
		}
	})
}

func TestMisuseNamesOpAndShapes(t *testing.T) {
	x := make([]float32, 100)
	b := Matrix{F32: x, Ld: 10}
	for want, f := range map[string]func(){
		"gemm.NT: a [11, 10] with leading dimension 10 does not fit in 100 elements":  func() { NT(nil, x, 1, x, 10, b, nil, 11, 1, 10, false) },
		"gemm.NT: b [10, 11] with leading dimension 10 does not fit in 100 elements":  func() { NT(nil, x, 10, x, 11, b, nil, 1, 10, 11, false) },
		"gemm.NN: bias [100] does not match dst [1, 10]":                              func() { NN(nil, x, 10, x, 10, b, x, 1, 10, 10, false) },
		"gemm.TN: dst [10, 10] with leading dimension 9 does not fit in 100 elements": func() { TN(nil, x, 9, x, 10, x, 10, 10, 10, 10, false) },
		"gemm.TNSegments: starts do not ascend from 0: [0 5 4]":                       func() { TNSegments(nil, x, 10, x, 10, x, 10, 10, 10, []int32{0, 5, 4}, false) },
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			f()
		}()
	}
}

// However a product is cut, the blocks cover dst and keep within bounds; large ones are shared out.
func TestCut(t *testing.T) {
	threads := goroutines.Threads
	for _, m := range []int{1, 7, 12, 59, 60, 61, 239, 240, 241, 250, 1000, 3001} {
		for _, n := range []int{1, 31, 32, 33, 128, 129, 896, 4864} {
			for _, k := range []int{1, 50, 896, 4864} {
				j := &job{m: m, n: n, ak: 1}
				tasks := j.cut(goroutines, k)
				if tasks != j.rowBlocks*ceil(n, j.cols) || j.cols < n && j.cols%panel != 0 || j.rows > maxRows(l2) || j.rowBlocks*j.rows < m || (j.rowBlocks-1)*j.rows >= m {
					t.Errorf("m=%d n=%d k=%d: %d tasks, %d blocks of %d rows, %d columns each", m, n, k, tasks, j.rowBlocks, j.rows, j.cols)
				}
				if m*n*k > 1<<27 && m > 200 && tasks < threads {
					t.Errorf("m=%d n=%d k=%d: only %d tasks for %d threads", m, n, k, tasks, threads)
				}
				if alone := j.cut(nil, k); (m+12)*n*k <= 1<<19 && tasks > alone {
					t.Errorf("m=%d n=%d k=%d is cut to no purpose", m, n, k)
				}
			}
		}
	}
}
