package kernel

import (
	"github.com/selkie-ml/selkie/ptx"
)

// Fill is dst[i] = value, i < n; value is the element's bits. Vec neighbours are
// written at once.
type Fill struct {
	Bytes int // of an element
	Vec   int
}

const fillUnroll = 4

// Name implements Any.
func (p Fill) Name() string { return name("fill", p.Bytes, p.Vec) }

// Launch is the launch for n elements.
func (p Fill) Launch(n int) Launch { return elements(n, p.Vec*fillUnroll) }

// Emit implements Any: fill(dst, n, value).
func (p Fill) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	dst, n, value := k.ParamGlobal("dst"), k.ParamU32("n"), k.ParamU32("value")
	word, half := value.AsB32(), k.CvtU16U32(value)
	if p.Bytes == 2 {
		word = k.PackB32B16x2([2]ptx.RegB16{half.AsB16(), half.AsB16()})
	}
	eachElement(k, n, p.Vec, fillUnroll, func(i ptx.RegU32, count int) func() {
		to := dst.At(k.MulWideU32(i, ptx.I(p.Bytes)))
		return func() {
			switch p.Bytes * count {
			case 2:
				k.StU16(to, half)
			case 4:
				k.StB32(to, word)
			case 8:
				k.StV2B32(to, [2]ptx.RegB32{word, word})
			case 16:
				k.StV4B32(to, [4]ptx.RegB32{word, word, word, word})
			default:
				badCount(count)
			}
		}
	})
}
