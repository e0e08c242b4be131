package kernels

// ParamColumns is the width of a row of a parameter table.
const ParamColumns = 4

// Param is a run of parameters: elements Offset…Offset+Count-1 of the slabs
// (values, gradients and both moments alike), belonging to a group (an adapter,
// or the whole model). Decay tells whether weight decay applies.
type Param struct {
	Group, Offset, Count int32
	Decay                bool
}

// AppendTo appends the run's row of the device table.
func (p Param) AppendTo(table []int32) []int32 {
	var decay int32
	if p.Decay {
		decay = 1
	}
	return append(table, p.Group, p.Offset, p.Count, decay)
}

// ParamAt reads row i of a device table.
func ParamAt(table []int32, i int) Param {
	r := table[i*ParamColumns : (i+1)*ParamColumns]
	return Param{r[0], r[1], r[2], r[3] != 0}
}

// Columns of a row of AdamW's settings, one row per group, all f32.
const (
	AdamLR      = iota // learning rate of this step
	AdamRate1          // 1 − beta1: how fast the first moment follows
	AdamRate2          // 1 − beta2, the second; beta2 itself would lose these digits
	AdamEps            // added to the root of the second moment
	AdamDecay          // decoupled weight decay
	AdamBias1          // 1 − beta1^t, t = 1 in the first step
	AdamBias2          // 1 − beta2^t
	AdamMaxNorm        // gradient clipping, ≤ 0: none
	AdamActive         // 0: the group is left alone
	AdamColumns
)

// GradNormArgs: for every table row in order, SumSquares[Group] += Σ Grad[e]²
// over its run; the sum of a run is taken in float64 over fixed blocks of 4096
// elements from its start, ascending. f32. A negative group is skipped.
type GradNormArgs struct {
	SumSquares, Grad Buffer
	Table            Buffer // i32 [NParam, ParamColumns]
	NParam, Groups   int
}

// AdamWArgs is one step of AdamW (Loshchilov and Hutter, 2019; PyTorch's
// formula) over every run of the table, with the settings s of its group:
//
//	c = MaxNorm > 0 ? min(1, MaxNorm/(√SumSquares + 1e-6)) : 1
//	g = c·Grad[e]
//	P[e] −= LR·Decay·P[e]                          where the run decays
//	M[e]  = (1−Rate1)·M[e] + Rate1·g
//	V[e]  = (1−Rate2)·V[e] + Rate2·g²
//	P[e] −= LR/Bias1·M[e]/(√V[e]/√Bias2 + Eps)
//
// and Grad[e] = 0 afterwards. A group that is inactive, or whose SumSquares is
// not finite, keeps P, M and V; its gradients are zeroed all the same.
// SumSquares comes from GradNorm over all the group's runs. All f32.
type AdamWArgs struct {
	P, Grad, M, V  Buffer
	SumSquares     Buffer // f32 [Groups]
	Settings       Buffer // f32 [Groups, AdamColumns]
	Table          Buffer // i32 [NParam, ParamColumns]
	NParam, Groups int
}
