package gemm

import (
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Products for grouped LoRA, inside a caller's own loops: one of the sides is
// only a rank wide, so that they are over before packing would have paid, and
// must keep up with memory. They run in the calling goroutine. The bits are
// those of NT, NN and TN.

// StreamInPlace computes dst (+)= a·b: dst [m,n], b [k,n] read where it stands.
// Element (i, l) of a is a[i*as + l*ak]: as, ak = lda, 1 for a [m,k], and 1, lda
// for a transposed [k,m]. It passes over b once for every dozen rows, which
// should find it in the L2 cache.
func StreamInPlace(dst []float32, ldd int, a []float32, as, ak int, b []float32, ldb int, m, n, k int, accumulate bool) {
	must("StreamInPlace", "dst", len(dst), m, n, ldd)
	must("StreamInPlace", "b", len(b), k, n, ldb)
	stream(dst, ldd, a, as, ak, b, ldb, m, n, k, accumulate, nil)
}

// StreamPack writes b [n,k] to dst, PanelFloats(n, k) long, as StreamPanels reads
// it: panels of columns, each over all of k, so that it goes along b's rows.
func StreamPack(dst, b []float32, ldb, n, k int) {
	must("StreamPack", "b", len(b), n, k, ldb)
	must("StreamPack", "dst", len(dst), 1, PanelFloats(n, k), PanelFloats(n, k))
	m := Matrix{F32: b, Ld: ldb}
	for n0 := 0; n0 < n; n0 += panel {
		packTransposed(dst[n0*k:], &m, n0, min(panel, n-n0), 0, k)
	}
}

// StreamPanels is StreamInPlace for a b packed by StreamPack. Along the way it
// brings as much of ahead into the cache as it has time for.
func StreamPanels(dst []float32, ldd int, a []float32, as, ak int, panels []float32, m, n, k int, accumulate bool, ahead []float32) {
	must("StreamPanels", "dst", len(dst), m, n, ldd)
	must("StreamPanels", "panels", len(panels), 1, PanelFloats(n, k), PanelFloats(n, k))
	stream(dst, ldd, a, as, ak, panels, 0, m, n, k, accumulate, ahead)
}

// streamFunc is a kernelFunc without bias that reads no more of b than cols.
// Along the way it asks for what the next tile needs: next… from where this
// tile's are, in elements.
type streamFunc func(k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, add bool, nextA, nextB, nextC int)

type streamKernel struct {
	rows         int
	wide, narrow streamFunc
}

// streamSet lists an instruction set's kernels, tallest first, the last of one row.
type streamSet struct {
	width int
	tall  []streamKernel
}

func (s *streamSet) forRows(rows int) *streamKernel {
	i := 0
	for s.tall[i].rows > rows {
		i++
	}
	return &s.tall[i]
}

// aliasedLd is the leading dimension of copied rows: an odd number of cache lines.
const aliasedLd = KC + 16

// stream goes along groups of rows. Leading dimension 0 says that b is in panels.
func stream(dst []float32, ldd int, a []float32, as, ak int, b []float32, ldb int, m, n, k int, accumulate bool, ahead []float32) {
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		if !accumulate {
			for i := range m {
				clear(dst[i*ldd:][:n])
			}
		}
		return
	}
	_ = a[(m-1)*as+(k-1)*ak]
	set := streamSets[min(vec.Active(), vec.AVX512)]
	var copied *scratch // rows that would push one another out of the L1 cache: see job.rowsOf
	if ak == 1 && aliased(as) && min(k, KC) >= 16 {
		copied = scratches.Get().(*scratch)
		defer scratches.Put(copied)
	}
	tiles, pace := 0, 1 // ahead is spread over the tiles
	if len(ahead) > 0 {
		all := ceil(m, set.tall[0].rows) * ceil(n, set.width) * ceil(k, KC)
		pace = max(1, all*min(k, KC)*panel/len(ahead))
	}
	for r := 0; r < m; {
		kern := set.forRows(m - r)
		for k0 := 0; k0 < k; k0 += KC {
			kc := min(KC, k-k0)
			ap, lda := &a[r*as+k0*ak], as
			if copied != nil && kern.rows >= 4 {
				lda = aliasedLd
				for i := range kern.rows {
					copy(copied.a[i*lda:i*lda+kc], a[(r+i)*as+k0:])
				}
				ap = &copied.a[0]
			}
			nextA := KC
			if as == 1 {
				nextA = 2*kern.rows - 1
			}
			for c := 0; c < n; c += set.width {
				at, ld, left := k0*ldb+c, ldb, n-c-set.width
				if ldb == 0 {
					at, ld = c/panel*panel*k+k0*panel+c%panel, panel
				}
				// The tile after this one: to the right, of the next chunk, of the next rows.
				nextB, nextC := set.width, set.width
				switch {
				case left > 0:
				case k0+kc < k:
					nextB, nextC = kc*ldb-c, -c
				default:
					nextB, nextC = -k0*ldb-c, kern.rows*ldd-c
				}
				if ldb == 0 {
					nextB = 8 * panel
				}
				if tiles++; len(ahead) > 0 && tiles%pace == 0 { // panel values for each of the kc products
					nextB = int(uintptr(unsafe.Pointer(&ahead[0]))-uintptr(unsafe.Pointer(&b[at]))) / 4
					ahead = ahead[min(len(ahead), kc*panel):]
				}
				f := kern.wide
				if left <= -set.width/2 {
					f = kern.narrow
				}
				f(kc, ap, lda, ak, &b[at], ld, &dst[r*ldd+c], ldd, min(set.width, n-c), accumulate || k0 > 0, nextA, nextB, nextC)
			}
		}
		r += kern.rows
	}
}

// genericStream is the streamFunc of one row in plain Go; see generic2.
func genericStream(k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, add bool, nextA, nextB, nextC int) {
	av := slice32(a, (k-1)*ak+1)
	bv := slice32(b, (k-1)*ldb+cols)
	var s [panel]float32
	j := 0
	for ; j+4 <= cols; j += 4 {
		var s0, s1, s2, s3 float32
		for l := range k {
			x, w := av[l*ak], (*[4]float32)(bv[l*ldb+j:])
			s0 += float32(x * w[0])
			s1 += float32(x * w[1])
			s2 += float32(x * w[2])
			s3 += float32(x * w[3])
		}
		*(*[4]float32)(s[j:]) = [4]float32{s0, s1, s2, s3}
	}
	for ; j < cols; j++ {
		for l := range k {
			s[j] += float32(av[l*ak] * bv[l*ldb+j])
		}
	}
	genericStore(s[:cols], c, nil, add)
}

var genericStreams = streamSet{width: panel, tall: []streamKernel{{1, genericStream, genericStream}}}
