package vec

import (
	"fmt"
	"unsafe"

	"github.com/selkie-ml/selkie/internal/f32math"
)

// Softmax turns a block of scores into weights of the online softmax (Milakov
// and Gimelshein 2018). Row r of len(n) rows, ld apart and w wide, has n[r]
// scores; m[r] is the largest scaled score of the blocks before it.
//
//	y     = scale·x[r][:n[r]]
//	m'    = Max(y) if that is > m[r], else m[r]
//	x[r]  = Exp32(y - m'), and +0 from n[r] to w
//	shift[r], sum[r], m[r] = m[r] - m', Sum(x[r][:n[r]]), m'
//
// w is a multiple of 16.
func Softmax(x []float32, ld, w int, n []int32, scale float32, m, shift, sum []float32) {
	mustMatch("Softmax", len(n), len(m), len(shift), len(sum))
	mustBlocks("Softmax", len(x), n, w, ld)
	if len(n) > 0 && w > 0 {
		softmax(x, ld, w/lanes, n, scale, m, shift, sum)
	}
}

// SoftmaxGrad turns a block of scores p and of products dp into weights and the
// gradients of scores, given each row's LogSumExp and δ:
//
//	p[r]  = Exp32(scale·p[r][:n[r]] - lse[r])
//	dp[r] = ((dp[r][:n[r]] - delta[r])·p[r])·scale
//
// and +0 from n[r] to w, a multiple of 16.
func SoftmaxGrad(p, dp []float32, ld, w int, n []int32, scale float32, lse, delta []float32) {
	mustMatch("SoftmaxGrad", len(n), len(lse), len(delta))
	mustBlocks("SoftmaxGrad", min(len(p), len(dp)), n, w, ld)
	if len(n) > 0 && w > 0 {
		softmaxGrad(p, dp, ld, w/lanes, n, scale, lse, delta)
	}
}

// ScaleRows sets x[r][i] = x[r][i]·c[r] + 0 in len(c) rows of d: no result is -0.
func ScaleRows(x []float32, ld, d int, c []float32) {
	mustRows("ScaleRows", len(x), len(c), d, ld)
	if len(c) > 0 && d > 0 {
		scaleRows(x, ld, d, c)
	}
}

// RowDots sets dst[r] = Dot(a[r], b[r]), for rows of d, ld apart.
func RowDots(dst, a, b []float32, ld, d int) {
	mustRows("RowDots", min(len(a), len(b)), len(dst), d, ld)
	if len(dst) > 0 && d > 0 {
		rowDots(dst, a, b, ld, d)
	}
}

// LogSumExp sets dst[i] = m[i] + Log32(l[i]).
func LogSumExp(dst, m, l []float32) {
	mustMatch("LogSumExp", len(dst), len(m), len(l))
	logSumExp(dst, m, l)
}

// Prefetch asks the processor to bring x into its cache. It computes nothing.
func Prefetch[T float32 | uint16](x []T) {
	if n := (len(x)*int(unsafe.Sizeof(T(0))) + 63) / 64; n > 0 {
		prefetch((*byte)(unsafe.Pointer(&x[0])), n)
	}
}

func mustBlocks(op string, have int, n []int32, w, ld int) {
	mustRows(op, have, len(n), w, ld)
	if w%lanes != 0 {
		panic(fmt.Sprintf("vec.%s: rows of %d, want a multiple of %d", op, w, lanes))
	}
}

func softmaxGeneric(x []float32, ld, w int, n []int32, scale float32, m, shift, sum []float32) {
	for r := range n {
		row := x[r*ld:][:w]
		y := row[:min(w, max(0, int(n[r])))]
		scaleGeneric(y, scale, y)
		top := m[r]
		if t := maxGeneric(y); t > top {
			top = t
		}
		sum[r] = expSubGeneric(y, y, top)
		clear(row[len(y):])
		shift[r], m[r] = m[r]-top, top
	}
}

func softmaxGradGeneric(p, dp []float32, ld, w int, n []int32, scale float32, lse, delta []float32) {
	for r := range n {
		p, dp := p[r*ld:][:w], dp[r*ld:][:w]
		valid := min(w, max(0, int(n[r])))
		for j := range valid {
			p[j] = f32math.Exp32(float32(scale*p[j]) - lse[r])
			dp[j] = (dp[j] - delta[r]) * p[j] * scale
		}
		clear(p[valid:])
		clear(dp[valid:])
	}
}

func scaleRowsGeneric(x []float32, ld, d int, c []float32) {
	for r, by := range c {
		row := x[r*ld:][:d]
		for i, v := range row {
			row[i] = float32(v*by) + 0
		}
	}
}

func rowDotsGeneric(dst, a, b []float32, ld, d int) {
	for r := range dst {
		dst[r] = dotGeneric(a[r*ld:][:d], b[r*ld:][:d])
	}
}

func logSumExpGeneric(dst, m, l []float32) {
	for i := range dst {
		dst[i] = m[i] + f32math.Log32(l[i])
	}
}
