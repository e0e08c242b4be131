//go:build !ptxbootstrap

package ptx

// PackBF16x2 rounds two f32 to bf16, lo in the low half: cvt.rn.bf16x2.f32 takes the
// high one first. (sm_80)
func (k *Builder) PackBF16x2(lo, hi InF32) RegBF16x2 { return k.CvtRnBF16x2F32(hi, lo) }

// PackF16x2 rounds two f32 to f16, lo in the low half. (sm_80)
func (k *Builder) PackF16x2(lo, hi InF32) RegF16x2 { return k.CvtRnF16x2F32(hi, lo) }

// UnpackBF16x2 widens both halves to f32, exactly, by a shift and a mask.
func (k *Builder) UnpackBF16x2(x RegBF16x2) (lo, hi RegF32) {
	return k.ShlB32(x, I(16)).AsF32(), k.AndB32(x, I(0xffff0000)).AsF32()
}

// UnpackF16x2 widens both halves to f32, exactly.
func (k *Builder) UnpackF16x2(x RegF16x2) (lo, hi RegF32) {
	h := k.UnpackB32B16x2(x)
	return k.CvtF32F16(h[0].AsF16()), k.CvtF32F16(h[1].AsF16())
}

// WidenBF16 is a bf16 as f32, exactly; it needs no sm_90 as cvt does.
func (k *Builder) WidenBF16(x RegBF16) RegF32 {
	zero := k.MovB16(I(0))
	return k.PackB32B16x2([2]RegB16{zero, x.AsB16()}).AsF32()
}
