package kerneltest

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

// tolerance accepts got where |got − want| ≤ abs + rel·|want|.
type tolerance struct{ abs, rel float64 }

// tolerances state, per op, the error of float32 arithmetic against ref's
// float64 on the suite's problems, whose inputs are of order one. Ops that do
// no arithmetic are exact: they are absent here, and compared bit by bit.
var tolerances = map[string]tolerance{
	"Add":                  {0, 1e-7},
	"SwiGLU":               {1e-7, 2e-6},
	"SwiGLUBackward":       {1e-6, 4e-6},
	"EmbeddingBackward":    {2e-6, 2e-6},
	"RMSNorm":              {1e-6, 2e-6},
	"RMSNormBackward":      {1e-5, 1e-5},
	"Rope":                 {1e-6, 1e-6},
	"RopeBackward":         {1e-6, 1e-6},
	"Linear":               {1e-5, 1e-5},
	"LinearBackwardInput":  {1e-5, 1e-5},
	"LinearBackwardWeight": {2e-5, 1e-5},
	"LoRA":                 {1e-5, 1e-5},
	"LoRABackward":         {3e-5, 2e-5},
	"LoRAMerge":            {1e-5, 1e-5},
	"Attention":            {1e-5, 1e-5},
	"AttentionBackward":    {5e-5, 3e-5},
	"AttentionPaged":       {1e-5, 1e-5},
	"CrossEntropy":         {2e-5, 2e-5},
	"GradNorm":             {0, 2e-6},
	"AdamW":                {1e-7, 4e-6},
	"Sample":               {1e-5, 1e-5}, // of LogProb; ids are exact
}

// storage is the error of rounding once to a storage type: half a unit in the
// last place, absolute below the smallest normal number. Subnormal results in
// f32 and bf16 may be flushed to zero.
func storage(dt kernels.DType) tolerance {
	switch dt {
	case kernels.BF16:
		return tolerance{0x1p-126, 0x1p-8}
	case kernels.F16:
		return tolerance{0x1p-25, 0x1p-11}
	}
	return tolerance{0x1p-126, 0}
}

// accepts compares two numbers: NaN equals NaN, an infinity only itself.
func (tol tolerance) accepts(got, want float64) bool {
	if math.IsNaN(want) || math.IsNaN(got) {
		return math.IsNaN(want) && math.IsNaN(got)
	}
	if math.IsInf(want, 0) || math.IsInf(got, 0) {
		return got == want
	}
	return math.Abs(got-want) <= tol.abs+tol.rel*math.Abs(want)
}
