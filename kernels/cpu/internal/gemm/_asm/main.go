// Command asm writes the assembly of package gemm. Run it by go generate.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
)

func main() {
	// Packing and the AVX2 tiles need no more than AVX2, FMA3 and F16C.
	ConstraintExpr("amd64")
	for _, kind := range []storage{f32, bf16, f16} {
		packColumns8(kind)
		packRows(kind, avx2)
		packRows(kind, avx512)
	}
	packColumns16(f32)
	packColumns16(bf16)
	packRowPairs()
	packSteps()
	for _, set := range []isa{avx2, avx512, bf16Pairs} {
		for _, rows := range set.rows {
			for _, vecs := range []int{2, 1} {
				tile(set, rows, vecs)
			}
		}
	}
	streamTiles()
	fewAll()
	tilesAll()
	pass.Compile = pass.Concat(pass.Compile, pass.InstructionPass(encodeBF16), pass.InstructionPass(encodeAMX))
	Generate()
}

func name(format string, args ...any) string { return fmt.Sprintf(format, args...) }
