// Command asm writes the assembly of package vec. Run it by go generate.
//
// Every function is written once, for both instruction sets; what it computes
// is said at its portable twin in package vec.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("amd64")
	fence()
	for _, s := range []isa{avx2, avx512} {
		dot(s)
		dotRows(s)
		axpyRows(s)
		sum(s)
		maximum(s)
		sumSquares(s)
		expSub(s)
		rmsNormSums(s)
		rmsNormWeightRows(s)
		rope(s)
		stream(s)
		groupMax(s)
		sumAtLeast(s)
		for _, h := range halves {
			h.write(s)
		}
		for _, e := range elementwise {
			e.write(s)
		}
		attention(s)
	}
	Generate()
}
