// Package gemm is the CPU backend's float32 matrix product, in AVX-512 or AVX2
// assembly or plain Go. Weights may be stored as float32, bfloat16 or float16;
// 16-bit values are widened exactly and all arithmetic is float32.
//
// Sums are canonical. For one output element, k is cut into chunks of KC; each
// chunk's sum starts at +0 and takes its products in ascending k; chunk sums
// are added to the element in ascending order; the bias comes last:
//
//	e := dst[i,j] if accumulate, else the first chunk's sum itself
//	for each (further) chunk: e = e + Σ a[i,k]·b[k,j]
//	dst[i,j] = e + bias[j]
//
// So an element's bits depend on its own row and column and on the length of k
// alone: not on m and n, the neighbours, alignment, storage, packing, or how
// the work is spread over goroutines. AVX-512 and AVX2 add each product by a
// fused multiply-add and agree in every bit; the generic level rounds the
// product and the sum, and is a numerics class of its own ([vec.Level]).
//
// dst may not overlap the inputs. Elements outside its m×n are neither read nor
// written, and without accumulate it is not read at all. NaN and ±Inf propagate
// as in the loops.
//
// The package starts no goroutines: the caller passes its worker pool as a
// [Parallel], or nil to run in the calling goroutine. In the steady state a call
// allocates nothing. It may import vec and internal/half, and knows nothing of tensors or buffers.
package gemm

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

//go:generate sh -c "cd _asm && go run . -out ../zgemm_amd64.s -stubs ../zgemm_amd64.go -pkg gemm"

// KC is the number of products in a chunk. It is part of the numerics: another
// value gives other bits.
//
// 64 and not a longer chain: the error of a sum grows with its chain, and with
// 256 gradients were further from float64 than PyTorch's f32 (1.5e-6 against
// 1.1e-6 relative, on the golden models), with 64 nearer (1.0e-6).
const KC = 64

// Parallel is a pool of threads. Run does f(0) … f(n-1), in any order and on any of
// them, and returns when all are done.
type Parallel struct {
	Threads int
	Run     func(n int, f func(i int))
}

// Kind is the storage format of a Matrix.
type Kind uint8

const (
	KindF32 Kind = iota
	KindBF16
	KindF16
)

func (k Kind) String() string {
	switch k {
	case KindF32:
		return "f32"
	case KindBF16:
		return "bf16"
	case KindF16:
		return "f16"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Matrix is a row-major matrix whose rows start Ld elements apart. KindF32 uses
// F32, the others Bits.
type Matrix struct {
	F32  []float32
	Bits []uint16
	Kind Kind
	Ld   int
}

func (b *Matrix) len() int {
	if b.Kind == KindF32 {
		return len(b.F32)
	}
	return len(b.Bits)
}

// HasBF16 tells whether bfloat16 is multiplied as it is stored, at the level in use.
func HasBF16() bool { return pairKernels != nil && vec.Active() >= vec.AVX512BF16 }

// Product computes dst (+)= a·b (+ bias): dst [m,n], a [m,k], bias [n] or nil; b [n,k]
// in FormNT, [k,n] in FormNN. All three matrices may be in any storage: values of 16 bits
// are widened exactly, and a dst in 16 bits is rounded once, from the finished
// f32 sums.
//
// Where a and b are both bfloat16 and [HasBF16], products are not f32's: k is
// taken in pairs, KC pairs in a chunk, an odd last one with a zero, and each pair is
// added to its chunk's sum by VDPBF16PS, the second product first. That
// rounds to nearest even, and takes subnormal numbers and leaves subnormal sums as
// zeros. It is a numerics class of its own, with all that is said above of the rest.
//
// At level [vec.AMX] they are TDPBF16PS's, another class: a sum starts at +0, or at
// dst's element if accumulate. k is taken in chunks of 32, the last filled up with
// zeros; the even products of a chunk, and the odd ones, are each added up by fused
// multiply-adds from +0 on, the two sums are added, and that is added to the
// element. Subnormals are zeros at every step, whatever MXCSR says; the bias is added as above.
func Product(p *Parallel, form Form, dst, a, b Matrix, bias []float32, m, n, k int, accumulate bool) {
	multiply("Product", p, form, dst, a, b, bias, m, n, k, accumulate)
}

// NT computes dst (+)= a·bᵀ (+ bias): dst [m,n], a [m,k], b [n,k], bias [n] or nil.
//
//	dst[i*ldd+j] (+)= Σ_l a[i*lda+l] · b[j*ld+l] (+ bias[j])
func NT(p *Parallel, dst []float32, ldd int, a []float32, lda int, b Matrix, bias []float32, m, n, k int, accumulate bool) {
	multiply("NT", p, FormNT, Matrix{F32: dst, Ld: ldd}, Matrix{F32: a, Ld: lda}, b, bias, m, n, k, accumulate)
}

// NN computes dst (+)= a·b (+ bias): dst [m,n], a [m,k], b [k,n], bias [n] or nil.
//
//	dst[i*ldd+j] (+)= Σ_l a[i*lda+l] · b[l*ld+j] (+ bias[j])
func NN(p *Parallel, dst []float32, ldd int, a []float32, lda int, b Matrix, bias []float32, m, n, k int, accumulate bool) {
	multiply("NN", p, FormNN, Matrix{F32: dst, Ld: ldd}, Matrix{F32: a, Ld: lda}, b, bias, m, n, k, accumulate)
}

func multiply(op string, p *Parallel, form Form, dst, a, b Matrix, bias []float32, m, n, k int, accumulate bool) {
	must(op, "a", a.len(), m, k, a.Ld)
	if form == FormNT {
		must(op, "b", b.len(), n, k, b.Ld)
	} else {
		must(op, "b", b.len(), k, n, b.Ld)
	}
	j := newJob(op, dst, bias, m, n, accumulate)
	j.left(a)
	j.right(b, form, k)
	if j.pairs && hasTiles() {
		j.inTiles(p, k) // whatever the number of rows: other kernels have other bits
	} else if j.m <= fewRows && !j.pairs && (j.aKind != KindF32 || j.outKind != KindF32) {
		j.widened(p)
	} else {
		j.do(p)
	}
}

// TN computes dst (+)= aᵀ·b: dst [m,n], a [k,m], b [k,n].
//
//	dst[i*ldd+j] (+)= Σ_l a[l*lda+i] · b[l*ldb+j]
func TN(p *Parallel, dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, n, k int, accumulate bool) {
	j := gradient("TN", dst, ldd, a, lda, Matrix{F32: b, Ld: ldb}, m, n, k, accumulate)
	j.whole(k)
	j.do(p)
}

// TNSegments computes what this loop computes, bit for bit, while each part of
// dst is in cache: weight gradients of a packed batch, one segment a sequence.
//
//	for s := range len(starts)-1 {
//		l0, l1 := starts[s], starts[s+1]
//		TN(p, dst, ldd, a[l0*lda:], lda, b[l0*ldb:], ldb, m, n, l1-l0, accumulate || s > 0)
//	}
//
// starts ascends from any row to the row after the last; empty segments add nothing.
func TNSegments(p *Parallel, dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, n int, starts []int32, accumulate bool) {
	segments("TNSegments", p, dst, ldd, a, lda, Matrix{F32: b, Ld: ldb}, m, n, starts, accumulate)
}

// TNSegmentsOf is TNSegments for a b in any storage. Products are f32's.
func TNSegmentsOf(p *Parallel, dst []float32, ldd int, a []float32, lda int, b Matrix, m, n int, starts []int32, accumulate bool) {
	segments("TNSegmentsOf", p, dst, ldd, a, lda, b, m, n, starts, accumulate)
}

func segments(op string, p *Parallel, dst []float32, ldd int, a []float32, lda int, b Matrix, m, n int, starts []int32, accumulate bool) {
	k := 0
	for _, l := range starts {
		if int(l) < k {
			panic(fmt.Sprintf("gemm.%s: starts do not ascend from 0: %v", op, starts))
		}
		k = int(l)
	}
	j := gradient(op, dst, ldd, a, lda, b, m, n, k, accumulate)
	j.starts = starts
	j.do(p)
}

func gradient(op string, dst []float32, ldd int, a []float32, lda int, b Matrix, m, n, k int, accumulate bool) *job {
	must(op, "a", len(a), k, m, lda)
	must(op, "b", b.len(), k, n, b.Ld)
	j := newJob(op, Matrix{F32: dst, Ld: ldd}, nil, m, n, accumulate)
	j.a, j.as, j.ak = a, 1, lda
	j.b, j.form = b, FormNN
	return j
}

// must panics unless rows×cols elements with leading dimension ld lie within
// a slice of length have.
func must(op, name string, have, rows, cols, ld int) {
	if rows < 0 || cols < 0 || (rows > 1 && ld < cols) || (rows > 0 && cols > 0 && (rows-1)*ld+cols > have) {
		panic(fmt.Sprintf("gemm.%s: %s [%d, %d] with leading dimension %d does not fit in %d elements", op, name, rows, cols, ld, have))
	}
}
